//! Posts: pages of them, one of them, and every change to them.

use diesel::expression::SqlLiteral;
use diesel::prelude::*;
use diesel::sql_types::Bool;
use diesel::sqlite::SqliteConnection;

use crate::db::models::Post;
use crate::db::schema::{compose_keys, posts};
use crate::domain::{Cursor, Stamp, State};

/// How long a sent form is remembered; nobody presses "back" after that.
const KEY_LIFE_SECONDS: i64 = 90 * 24 * 3600;

/// Listed posts from newest to oldest, after `before`. The place is a value, not a count, so new posts shift nothing.
pub fn page(connection: &mut SqliteConnection, before: Option<Cursor>, limit: i64) -> QueryResult<Vec<Post>> {
    let end = before.unwrap_or(Cursor {
        published_at: Stamp(i64::MAX),
        id: i64::MAX,
    });
    let time = end.published_at.0;
    posts::table
        .filter(listed())
        // The first half alone lets SQLite start inside the index.
        .filter(posts::published_at.le(time))
        .filter(posts::published_at.lt(time).or(posts::id.lt(end.id)))
        .order((posts::published_at.desc(), posts::id.desc()))
        .limit(limit)
        .select(Post::as_select())
        .load(connection)
}

/// What anybody may find in a list. Word for word the condition of the index `posts_listed`, or SQLite cannot use it.
pub fn listed() -> SqlLiteral<Bool> {
    diesel::dsl::sql("state = 'published' AND visibility = 'public' AND deleted_at IS NULL AND kind <> 'page'")
}

pub fn find(connection: &mut SqliteConnection, id: i64) -> QueryResult<Option<Post>> {
    posts::table
        .find(id)
        .select(Post::as_select())
        .first(connection)
        .optional()
}

/// A compose form, as sent.
#[derive(Debug)]
pub struct NewPost {
    pub key: [u8; 16],
    pub uuid: String,
    pub body: String,
    pub body_hash: [u8; 32],
}

#[derive(Debug, PartialEq, Eq)]
pub enum Created {
    /// `clock_behind`: the clock was earlier than the newest post.
    New { id: i64, clock_behind: bool },
    /// This form was sent before with the same text. `None`: its post is deleted by now.
    Again(Option<i64>),
    /// This form was sent before with another text, which must not be lost.
    OtherText,
}

/// Posts once per form: the key and the post are written in the caller's one transaction.
pub fn create(connection: &mut SqliteConnection, new: &NewPost, now: Stamp) -> QueryResult<Created> {
    let earlier = compose_keys::table
        .find(new.key.as_slice())
        .select((compose_keys::body_hash, compose_keys::post_id))
        .first::<(Vec<u8>, Option<i64>)>(connection)
        .optional()?;
    if let Some((hash, id)) = earlier {
        return Ok(if hash == new.body_hash {
            Created::Again(id)
        } else {
            Created::OtherText
        });
    }

    // The Pi has no clock that runs without power: after a cut it may lag. Order matters more than the hour.
    let newest = posts::table
        .filter(posts::state.eq(State::Published))
        .select(diesel::dsl::max(posts::published_at))
        .first::<Option<i64>>(connection)?;
    let published_at = newest.map_or(now.0, |newest| newest.max(now.0));
    let id = diesel::insert_into(posts::table)
        .values((
            posts::uuid.eq(&new.uuid),
            posts::body.eq(&new.body),
            posts::created_at.eq(now.0),
            posts::published_at.eq(published_at),
        ))
        .returning(posts::id)
        .get_result::<i64>(connection)?;
    diesel::delete(compose_keys::table.filter(compose_keys::created_at.lt(now.0 - KEY_LIFE_SECONDS)))
        .execute(connection)?;
    diesel::insert_into(compose_keys::table)
        .values((
            compose_keys::key.eq(new.key.as_slice()),
            compose_keys::body_hash.eq(new.body_hash.as_slice()),
            compose_keys::post_id.eq(id),
            compose_keys::created_at.eq(now.0),
        ))
        .execute(connection)?;
    Ok(Created::New {
        id,
        clock_behind: published_at > now.0,
    })
}

/// False when there is no such post. The same text again changes nothing, so it is not "edited".
pub fn update(connection: &mut SqliteConnection, id: i64, body: &str, now: Stamp) -> QueryResult<bool> {
    let Some(post) = find(connection, id)? else {
        return Ok(false);
    };
    if post.body != body {
        let edited_at = now.max(post.updated_at());
        diesel::update(posts::table.find(id))
            .set((posts::body.eq(body), posts::edited_at.eq(edited_at.0)))
            .execute(connection)?;
    }
    Ok(true)
}

pub fn delete(connection: &mut SqliteConnection, id: i64) -> QueryResult<bool> {
    Ok(diesel::delete(posts::table.find(id)).execute(connection)? > 0)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::domain::random;

    fn database() -> SqliteConnection {
        let mut connection = SqliteConnection::establish(":memory:").unwrap();
        crate::db::migrate::run(&mut connection, ":memory:").unwrap();
        connection
    }

    fn new(key: u8, body: &str) -> NewPost {
        NewPost {
            key: [key; 16],
            uuid: random::uuid().unwrap(),
            body: body.to_owned(),
            body_hash: [body.len() as u8; 32],
        }
    }

    fn post(connection: &mut SqliteConnection, key: u8, now: i64) -> i64 {
        match create(connection, &new(key, "text"), Stamp(now)).unwrap() {
            Created::New { id, .. } => id,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn pages_meet_without_gap_or_overlap_even_within_one_second() {
        let db = &mut database();
        for key in 0..7 {
            post(db, key, 1000 + i64::from(key) / 3);
        }
        let (mut seen, mut before) = (Vec::new(), None);
        // Bounded, so that a page that begins where it should end fails and does not hang.
        for _ in 0..10 {
            let page = page(db, before, 2).unwrap();
            let Some(last) = page.last() else { break };
            before = Some(last.cursor());
            seen.extend(page.iter().map(|post| post.id));
        }
        assert_eq!(seen, [7, 6, 5, 4, 3, 2, 1]);
    }

    #[test]
    fn one_form_posts_once() {
        let db = &mut database();
        let id = post(db, 1, 1000);
        assert_eq!(
            create(db, &new(1, "text"), Stamp(1001)).unwrap(),
            Created::Again(Some(id))
        );
        assert_eq!(
            create(db, &new(1, "other text"), Stamp(1001)).unwrap(),
            Created::OtherText
        );
        assert!(delete(db, id).unwrap());
        assert_eq!(create(db, &new(1, "text"), Stamp(1002)).unwrap(), Created::Again(None));
        assert_eq!(post(db, 2, 1003), id + 1, "ids are not used twice");
    }

    #[test]
    fn a_lagging_clock_does_not_reorder_posts() {
        let db = &mut database();
        post(db, 1, 5000);
        let created = create(db, &new(2, "text"), Stamp(10)).unwrap();
        assert_eq!(
            created,
            Created::New {
                id: 2,
                clock_behind: true
            }
        );
        assert_eq!(find(db, 2).unwrap().unwrap().published_at(), Stamp(5000));
        assert!(update(db, 2, "new", Stamp(20)).unwrap());
        assert_eq!(find(db, 2).unwrap().unwrap().edited_at(), Some(Stamp(5000)));
    }

    #[test]
    fn an_unchanged_text_is_not_edited() {
        let db = &mut database();
        let id = post(db, 1, 1000);
        assert!(update(db, id, "text", Stamp(2000)).unwrap());
        assert_eq!(find(db, id).unwrap().unwrap().edited_at(), None);
        assert!(!update(db, 99, "text", Stamp(2000)).unwrap());
        assert!(!delete(db, 99).unwrap());
    }
}
