//! Search: the folded text of every post, kept in step, and the posts that have what is sought.

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Text};
use diesel::sqlite::{Sqlite, SqliteConnection};

use super::reading::{LISTED, MENU};
use crate::db::models::Post;
use crate::db::run::RunQueryDsl;
use crate::db::schema::{post_media, post_tags, posts, search_stale, search_texts, tags};
use crate::domain::Cursor;
use crate::domain::fold::fold;
use crate::domain::markup;
use crate::domain::sought::Sought;

/// Brings the texts of at most `most` posts up to date. How many there were; fewer than `most` means that is all.
///
/// `Db::write` calls it in every transaction. Whoever writes posts without it (an import) calls it, too, now and then
/// and before the end.
pub fn refresh(connection: &mut SqliteConnection, most: i64) -> QueryResult<usize> {
    let ids: Vec<i64> = search_stale::table
        .select(search_stale::post_id)
        .limit(most)
        .load(connection)?;
    for id in &ids {
        if let Some(text) = text_of(connection, *id)? {
            diesel::insert_into(search_texts::table)
                .values((search_texts::post_id.eq(id), search_texts::text.eq(&text)))
                .on_conflict(search_texts::post_id)
                .do_update()
                .set(search_texts::text.eq(&text))
                .execute(connection)?;
        }
        diesel::delete(search_stale::table.find(id)).execute(connection)?;
    }
    Ok(ids.len())
}

/// Everything anew, when index and texts disagree; `refresh` has to follow until nothing is left.
pub fn rebuild(connection: &mut SqliteConnection) -> QueryResult<()> {
    connection.batch_execute(
        // The index first: what the trigger takes out of it must be in it.
        "INSERT INTO search_index (search_index) VALUES ('rebuild');
         DELETE FROM search_texts;
         INSERT INTO search_stale SELECT id FROM posts WHERE true ON CONFLICT DO NOTHING;",
    )
}

/// What is wrong with the index, if anything: for `blog check`. The hint is to rebuild.
pub fn check(connection: &mut SqliteConnection) -> QueryResult<Option<String>> {
    let behind: i64 = posts::table
        .left_join(search_texts::table)
        .filter(search_texts::post_id.is_null())
        .count()
        .get_result(connection)?;
    if behind > 0 {
        return Ok(Some(format!("{behind} posts are not in the search index")));
    }
    // Compares every trigram with the texts.
    match diesel::sql_query("INSERT INTO search_index (search_index, rank) VALUES ('integrity-check', 1)")
        .execute(connection)
    {
        Ok(_) => Ok(None),
        Err(diesel::result::Error::DatabaseError(_, cause)) => {
            Ok(Some(format!("the search index is damaged: {}", cause.message())))
        }
        Err(other) => Err(other),
    }
}

fn text_of(connection: &mut SqliteConnection, id: i64) -> QueryResult<Option<String>> {
    let row = posts::table
        .find(id)
        .select((posts::title, posts::body, posts::link))
        .first::<(Option<String>, String, Option<String>)>(connection)
        .optional()?;
    let Some((title, body, link)) = row else {
        return Ok(None);
    };
    let alts: Vec<String> = post_media::table
        .filter(post_media::post_id.eq(id))
        .order(post_media::position)
        .select(post_media::alt)
        .load(connection)?;
    let names: Vec<String> = post_tags::table
        .inner_join(tags::table)
        .filter(post_tags::post_id.eq(id))
        .select(tags::folded)
        .load(connection)?;
    let mut text = title.unwrap_or_default();
    let plain = markup::plain(&body);
    for part in [plain].into_iter().chain(alts).chain(link).chain(names) {
        text.push('\n');
        text.push_str(&part);
    }
    // Words that a line break parts are next to each other on the page.
    Ok(Some(fold(&text).split_whitespace().collect::<Vec<_>>().join(" ")))
}

/// Which posts are looked through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Among {
    /// What is in lists.
    Listed,
    /// The static pages.
    Pages,
}

/// Posts that have everything sought, from newest to oldest, after `before`.
pub fn find(
    connection: &mut SqliteConnection,
    sought: &Sought,
    among: Among,
    before: Option<Cursor>,
    limit: i64,
) -> QueryResult<Vec<Post>> {
    let expression = sought.expression();
    // CROSS JOIN keeps the order: the index first where it can answer, else newest posts first, until there are enough. Of the
    // few static pages each is looked at: no index of posts is any help where all of them are to be passed over.
    let mut sql = String::from("SELECT posts.id AS id FROM ");
    sql.push_str(match (among, &expression) {
        (Among::Listed, Some(_)) => "search_index CROSS JOIN posts ON posts.id = search_index.rowid",
        (Among::Listed, None) => "posts",
        (Among::Pages, Some(_)) => {
            "posts INDEXED BY posts_menu CROSS JOIN search_index ON search_index.rowid = posts.id"
        }
        (Among::Pages, None) => "posts INDEXED BY posts_menu",
    });
    sql.push_str(" CROSS JOIN search_texts ON search_texts.post_id = posts.id WHERE ");
    sql.push_str(match among {
        Among::Listed => LISTED,
        Among::Pages => MENU,
    });
    if expression.is_some() {
        sql.push_str(" AND search_index MATCH ?");
    }
    for term in sought.scanned() {
        let not = if term.excluded { "NOT " } else { "" };
        sql.push_str(&format!(" AND {not}instr(search_texts.text, ?)"));
    }
    sql.push_str(
        " AND posts.published_at <= ? AND (posts.published_at < ? OR posts.id < ?) \
         ORDER BY posts.published_at DESC, posts.id DESC LIMIT ?",
    );
    let mut query = diesel::sql_query(sql).into_boxed::<Sqlite>();
    if let Some(expression) = expression {
        query = query.bind::<Text, _>(expression);
    }
    for term in sought.scanned() {
        query = query.bind::<Text, _>(&term.text);
    }
    let (time, id) = before.map_or((i64::MAX, i64::MAX), |before| (before.published_at.0, before.id));
    let ids: Vec<Found> = query
        .bind::<BigInt, _>(time)
        .bind::<BigInt, _>(time)
        .bind::<BigInt, _>(id)
        .bind::<BigInt, _>(limit)
        .load(connection)?;
    let ids: Vec<i64> = ids.into_iter().map(|found| found.id).collect();
    let mut found = posts::table
        .filter(posts::id.eq_any(&ids))
        .select(Post::as_select())
        .load(connection)?;
    found.sort_by_key(|post| ids.iter().position(|id| *id == post.id));
    Ok(found)
}

#[derive(QueryableByName)]
struct Found {
    #[diesel(sql_type = BigInt)]
    id: i64,
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn database(bodies: &[&str]) -> SqliteConnection {
        let mut connection = SqliteConnection::establish(":memory:").unwrap();
        connection
            .batch_execute("PRAGMA foreign_keys = ON; PRAGMA trusted_schema = OFF")
            .unwrap();
        crate::db::migrate::run(&mut connection, ":memory:").unwrap();
        for (n, body) in (1_i64..).zip(bodies) {
            add(&mut connection, n, body);
        }
        refresh(&mut connection, 1000).unwrap();
        connection
    }

    fn add(connection: &mut SqliteConnection, id: i64, body: &str) {
        diesel::insert_into(posts::table)
            .values((
                posts::id.eq(id),
                posts::uuid.eq(crate::domain::random::uuid().unwrap()),
                posts::body.eq(body),
                posts::created_at.eq(id),
                posts::published_at.eq(id),
            ))
            .execute(connection)
            .unwrap();
    }

    fn ids(connection: &mut SqliteConnection, typed: &str) -> Vec<i64> {
        let sought = Sought::parse(typed).unwrap();
        let found = find(connection, &sought, Among::Listed, None, 100).unwrap();
        found.iter().map(|post| post.id).collect()
    }

    #[test]
    fn finds_what_people_look_for() {
        let db = &mut database(&[
            "東京タワーの午後",
            "Ｒｕｓｔで書いた",
            "ﾗｽﾞﾊﾟｲを買った",
            "Programming in rust, and in **bo**ld",
            "午後の紅茶 100%_x",
            "#タグ付き",
        ]);
        assert_eq!(ids(db, "東京"), [1]);
        assert_eq!(ids(db, "午後"), [5, 1]);
        assert_eq!(ids(db, "Ｒｕｓｔ"), [4, 2]);
        assert_eq!(ids(db, "ﾗｽﾞﾊﾟｲ"), [3]);
        assert_eq!(ids(db, "ラズパイ"), [3]);
        assert_eq!(ids(db, "gramm"), [4], "a part of a word");
        assert_eq!(ids(db, "bold"), [4], "marks are not in the way");
        assert_eq!(ids(db, "rust 午"), [0i64; 0]);
        assert_eq!(ids(db, "rust で"), [2]);
        assert_eq!(ids(db, "rust -programming"), [2]);
        assert_eq!(ids(db, "午後 -東京"), [5]);
        assert_eq!(ids(db, "午後 -東京タワー"), [5]);
        assert_eq!(ids(db, "100%_"), [5], "nothing is a wildcard");
        assert_eq!(ids(db, "100x"), [0i64; 0]);
        assert_eq!(ids(db, "\"東京 午後\""), [0i64; 0]);
        assert_eq!(ids(db, "タグ"), [6]);
    }

    #[test]
    fn the_index_follows_every_change() {
        let db = &mut database(&["alpha", "beta"]);
        diesel::update(posts::table.find(1))
            .set(posts::body.eq("gamma"))
            .execute(db)
            .unwrap();
        assert_eq!(refresh(db, 1000).unwrap(), 1);
        assert_eq!((ids(db, "alpha"), ids(db, "gamma")), (vec![], vec![1]));

        diesel::update(posts::table.find(1))
            .set(posts::deleted_at.eq(9))
            .execute(db)
            .unwrap();
        assert_eq!(refresh(db, 1000).unwrap(), 0, "the trash changes no text");
        assert_eq!(ids(db, "gamma"), [0i64; 0]);
        diesel::update(posts::table.find(1))
            .set(posts::deleted_at.eq(None::<i64>))
            .execute(db)
            .unwrap();
        assert_eq!(ids(db, "gamma"), [1]);

        diesel::delete(posts::table.find(1)).execute(db).unwrap();
        assert_eq!(ids(db, "gamma"), [0i64; 0]);
        db.batch_execute(
            "INSERT INTO tags VALUES (1, 'delta', 'Delta'); INSERT INTO post_tags VALUES (2, 1);
             INSERT INTO media VALUES (1, zeroblob(32), 'image/png', 1, 1, 1, 1);
             INSERT INTO post_media VALUES (2, 0, 1, 'an Epsilon');",
        )
        .unwrap();
        assert_eq!(refresh(db, 1000).unwrap(), 1);
        assert_eq!((ids(db, "delta"), ids(db, "epsilon")), (vec![2], vec![2]));
        assert_eq!(check(db).unwrap(), None);
    }

    #[test]
    fn what_readers_may_not_list_is_not_found() {
        let db = &mut database(&["secret", "secret", "secret", "secret"]);
        db.batch_execute(
            "UPDATE posts SET state = 'draft' WHERE id = 1; UPDATE posts SET visibility = 'unlisted' WHERE id = 2;
             UPDATE posts SET visibility = 'private' WHERE id = 3;",
        )
        .unwrap();
        assert_eq!((ids(db, "secret"), ids(db, "se")), (vec![4], vec![4]));
    }

    #[test]
    fn static_pages_are_found_by_the_index_and_by_scanning() {
        let db = &mut database(&["secret page", "secret post", "other page", "gone page"]);
        db.batch_execute(
            "UPDATE posts SET kind = 'page', title = 'About', slug = 'about-' || id WHERE id <> 2;
             UPDATE posts SET deleted_at = 9 WHERE id = 4;",
        )
        .unwrap();
        refresh(db, 1000).unwrap();
        let mut pages = |typed: &str| -> Vec<i64> {
            let found = find(db, &Sought::parse(typed).unwrap(), Among::Pages, None, 5).unwrap();
            found.iter().map(|post| post.id).collect()
        };
        assert_eq!((pages("secret"), pages("se")), (vec![1], vec![1]));
        assert_eq!((pages("page"), pages("ab")), (vec![3, 1], vec![3, 1]));
        assert_eq!((pages("page -secret"), pages("page se")), (vec![3], vec![1]));
        assert_eq!(ids(db, "secret"), [2]);
    }

    #[test]
    fn damage_is_noticed_and_mended() {
        let db = &mut database(&["alpha", "beta"]);
        db.batch_execute("INSERT INTO search_index (search_index) VALUES ('delete-all')")
            .unwrap();
        assert!(check(db).unwrap().unwrap().contains("damaged"));
        rebuild(db).unwrap();
        assert!(check(db).unwrap().unwrap().contains("2 posts"));
        while refresh(db, 1).unwrap() > 0 {}
        assert_eq!(check(db).unwrap(), None);
        assert_eq!(ids(db, "alpha"), [1]);
    }

    /// Whatever stands in a text, in whatever spelling, every piece of it is found.
    #[test]
    fn every_piece_of_every_text_is_found() {
        let alphabet: Vec<char> = "aBzＡｚ東京午後かがカガｶﾞﾊﾟー①é\u{301}\u{3099}ßİΣς한%_*^(){}:;'\\/<&😀"
            .chars()
            .collect();
        let mut state = 0x2545_f491_4f6c_dd1d_u64;
        let mut random = |most: usize| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            usize::try_from(state % most as u64).unwrap()
        };
        let texts: Vec<String> = (0..40)
            .map(|_| (0..3 + random(30)).map(|_| alphabet[random(alphabet.len())]).collect())
            .collect();
        let db = &mut database(&[]);
        for (id, text) in (1_i64..).zip(&texts) {
            // As a title: the text of a post has marks, which are not looked for.
            add(db, id, "x");
            let title = posts::title.eq(text);
            diesel::update(posts::table.find(id)).set(title).execute(db).unwrap();
        }
        refresh(db, 1000).unwrap();
        for (id, text) in (1_i64..).zip(&texts) {
            let folded: Vec<char> = fold(text).chars().collect();
            for _ in 0..15 {
                let from = random(folded.len());
                let piece: String = folded[from..].iter().take(1 + random(6)).collect();
                // A piece that begins with a mark of its own folds into another text when it stands alone.
                if fold(&piece) == piece && Sought::parse(&piece).is_some_and(|sought| sought.terms().len() == 1) {
                    assert!(ids(db, &piece).contains(&id), "{piece:?} in {text:?}");
                }
            }
        }
        assert_eq!(check(db).unwrap(), None);
    }

    #[test]
    fn pages_meet_without_gap_or_overlap() {
        let db = &mut database(&["abc"; 7]);
        db.batch_execute("UPDATE posts SET published_at = published_at / 3")
            .unwrap();
        for typed in ["abc", "ab"] {
            let sought = Sought::parse(typed).unwrap();
            let (mut seen, mut before) = (Vec::new(), None);
            for _ in 0..10 {
                let page = find(db, &sought, Among::Listed, before, 2).unwrap();
                let Some(last) = page.last() else { break };
                before = Some(last.cursor());
                seen.extend(page.iter().map(|post| post.id));
            }
            assert_eq!(seen, [7, 6, 5, 4, 3, 2, 1], "{typed}");
        }
    }
}
