//! What readers see: lists of posts, one post with its thread, tags, static pages. Every list uses an index, and a test
//! asks SQLite whether it does.

use diesel::expression::{AppearsOnTable, Expression, SelectableExpression, ValidGrouping, is_aggregate};
use diesel::prelude::*;
use diesel::query_builder::{AstPass, QueryFragment, QueryId};
use diesel::sql_types::{BigInt, Bool, Text};
use diesel::sqlite::{Sqlite, SqliteConnection};

use super::media;
use crate::db::models::{Attached, Post};
use crate::db::run::RunQueryDsl;
use crate::db::schema::{old_ids, post_tags, posts, tags};
use crate::domain::{Cursor, Kind, Stamp, State, Visibility};

/// What anybody may find in a list: term by term the condition of the index `posts_listed`, or SQLite cannot use it.
pub const LISTED: &str = "posts.state = 'published' AND posts.visibility = 'public' AND posts.deleted_at IS NULL \
                          AND posts.kind <> 'page'";
/// The static pages that anybody may find: the condition of the index `posts_menu`.
pub const MENU: &str = "posts.kind = 'page' AND posts.state = 'published' AND posts.visibility = 'public' \
                        AND posts.deleted_at IS NULL";

/// More posts in one thread are not shown on one page.
const LONGEST_THREAD: i64 = 500;
const MOST_PINS: i64 = 10;
const MOST_IN_MENU: i64 = 20;

/// A condition in SQL. Unlike `diesel::dsl::sql` it keeps a statement cacheable: SQLite compiles it once.
macro_rules! condition {
    ($name:ident, $sql:expr) => {
        #[derive(Debug, Clone, Copy, QueryId)]
        pub struct $name;

        impl Expression for $name {
            type SqlType = Bool;
        }
        impl QueryFragment<Sqlite> for $name {
            fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Sqlite>) -> QueryResult<()> {
                out.push_sql($sql);
                Ok(())
            }
        }
        impl<QS> SelectableExpression<QS> for $name {}
        impl<QS> AppearsOnTable<QS> for $name {}
        impl ValidGrouping<()> for $name {
            type IsAggregate = is_aggregate::No;
        }
    };
}
condition!(Listed, LISTED);
condition!(Menu, MENU);

/// A span of time: from its first second to the first one after it.
#[derive(Debug, Clone, Copy)]
pub struct Span {
    pub from: Stamp,
    pub until: Stamp,
}

impl Span {
    pub const ALWAYS: Self = Self {
        from: Stamp(i64::MIN),
        until: Stamp(i64::MAX),
    };

    /// Where a page of posts in this span begins, at most at `before`.
    fn start(self, before: Option<Cursor>) -> Cursor {
        let end = Cursor {
            published_at: self.until,
            // No id is smaller: nothing of the second after the span is shown.
            id: if self.until == Self::ALWAYS.until { i64::MAX } else { 0 },
        };
        match before {
            Some(before) if before.published_at < end.published_at => before,
            _ => end,
        }
    }
}

/// Listed posts from newest to oldest. The place is a value, not a count, so new posts shift nothing.
pub fn page(
    connection: &mut SqliteConnection,
    span: Span,
    before: Option<Cursor>,
    limit: i64,
) -> QueryResult<Vec<Post>> {
    let start = span.start(before);
    posts::table
        .filter(Listed)
        // The first half alone lets SQLite start inside the index.
        .filter(posts::published_at.le(start.published_at.0))
        .filter(posts::published_at.lt(start.published_at.0).or(posts::id.lt(start.id)))
        .filter(posts::published_at.ge(span.from.0))
        .order((posts::published_at.desc(), posts::id.desc()))
        .limit(limit)
        .select(Post::as_select())
        .load(connection)
}

/// Listed posts with a tag.
pub fn tagged(
    connection: &mut SqliteConnection,
    tag: i64,
    before: Option<Cursor>,
    limit: i64,
) -> QueryResult<Vec<Post>> {
    let start = Span::ALWAYS.start(before);
    posts::table
        .inner_join(post_tags::table)
        .filter(post_tags::tag_id.eq(tag))
        .filter(Listed)
        .filter(posts::published_at.le(start.published_at.0))
        .filter(posts::published_at.lt(start.published_at.0).or(posts::id.lt(start.id)))
        .order((posts::published_at.desc(), posts::id.desc()))
        .limit(limit)
        .select(Post::as_select())
        .load(connection)
}

/// The listed posts right after and right before one, as lists have them: newer, older.
pub fn beside(connection: &mut SqliteConnection, at: Cursor) -> QueryResult<(Option<Post>, Option<Post>)> {
    let newer = posts::table
        .filter(Listed)
        .filter(posts::published_at.ge(at.published_at.0))
        .filter(posts::published_at.gt(at.published_at.0).or(posts::id.gt(at.id)))
        .order((posts::published_at.asc(), posts::id.asc()))
        .select(Post::as_select())
        .first(connection)
        .optional()?;
    let older = page(connection, Span::ALWAYS, Some(at), 1)?.pop();
    Ok((newer, older))
}

/// The pinned posts, the one pinned last first.
pub fn pinned(connection: &mut SqliteConnection) -> QueryResult<Vec<Post>> {
    posts::table
        .filter(Listed)
        // Not `is_not_null`: a range is what makes SQLite take the small index of pinned posts.
        .filter(posts::pinned_at.gt(i64::MIN))
        .order((posts::pinned_at.desc(), posts::id.desc()))
        .limit(MOST_PINS)
        .select(Post::as_select())
        .load(connection)
}

/// A static page in the menu.
#[derive(Debug, Clone, Queryable)]
pub struct MenuItem {
    pub title: String,
    pub slug: String,
}

pub fn menu(connection: &mut SqliteConnection) -> QueryResult<Vec<MenuItem>> {
    let rows: Vec<(Option<String>, Option<String>)> = posts::table
        .filter(Menu)
        .order(posts::title)
        .limit(MOST_IN_MENU)
        .select((posts::title, posts::slug))
        .load(connection)?;
    let item = |(title, slug): (Option<String>, Option<String>)| {
        Some(MenuItem {
            title: title?,
            slug: slug?,
        })
    };
    Ok(rows.into_iter().filter_map(item).collect())
}

pub fn by_uuid(connection: &mut SqliteConnection, uuid: &str) -> QueryResult<Option<Post>> {
    let found = posts::table.filter(posts::uuid.eq(uuid)).select(Post::as_select());
    found.first(connection).optional()
}

pub fn by_slug(connection: &mut SqliteConnection, slug: &str) -> QueryResult<Option<Post>> {
    let found = posts::table.filter(posts::slug.eq(slug)).select(Post::as_select());
    found.first(connection).optional()
}

/// The post that had this id elsewhere.
pub fn by_old_id(connection: &mut SqliteConnection, source: &str, old_id: &str) -> QueryResult<Option<Post>> {
    old_ids::table
        .inner_join(posts::table)
        .filter(old_ids::source.eq(source).and(old_ids::old_id.eq(old_id)))
        .select(Post::as_select())
        .first(connection)
        .optional()
}

/// The thread that a post belongs to, from its first post on; only the post itself when there is none. `unlisted`:
/// unlisted posts are in it, too, which only pages may show that are unlisted themselves.
pub fn thread(connection: &mut SqliteConnection, post: &Post, unlisted: bool) -> QueryResult<Vec<Post>> {
    let first = post.thread.unwrap_or(post.id);
    let visible = if unlisted {
        vec![Visibility::Public, Visibility::Unlisted]
    } else {
        vec![Visibility::Public]
    };
    posts::table
        .filter(posts::id.eq(first).or(posts::thread.eq(first)))
        .filter(posts::state.eq(State::Published))
        .filter(posts::deleted_at.is_null())
        .filter(posts::kind.ne(Kind::Page))
        .filter(posts::visibility.eq_any(visible))
        .order((posts::published_at, posts::id))
        .limit(LONGEST_THREAD)
        .select(Post::as_select())
        .load(connection)
}

/// A tag with the number of listed posts that have it.
#[derive(Debug, Clone, QueryableByName)]
pub struct TagCount {
    #[diesel(sql_type = Text)]
    pub folded: String,
    #[diesel(sql_type = Text)]
    pub name: String,
    #[diesel(sql_type = BigInt)]
    pub posts: i64,
}

/// All tags of listed posts, in the order of their folded names.
pub fn tag_counts(connection: &mut SqliteConnection, limit: i64) -> QueryResult<Vec<TagCount>> {
    diesel::sql_query(format!(
        "SELECT tags.folded, tags.name, count(*) AS posts FROM tags \
         JOIN post_tags ON post_tags.tag_id = tags.id JOIN posts ON posts.id = post_tags.post_id \
         WHERE {LISTED} GROUP BY tags.id ORDER BY tags.folded LIMIT ?"
    ))
    .bind::<BigInt, _>(limit)
    .load(connection)
}

/// Number and shown name of a tag.
pub fn tag(connection: &mut SqliteConnection, folded: &str) -> QueryResult<Option<(i64, String)>> {
    let found = tags::table
        .filter(tags::folded.eq(folded))
        .select((tags::id, tags::name));
    found.first(connection).optional()
}

/// A tag of a post.
#[derive(Debug, Clone)]
pub struct TagName {
    pub folded: String,
    pub name: String,
}

/// A post with all that is shown of it.
#[derive(Debug, Clone)]
pub struct Shown {
    pub post: Post,
    pub tags: Vec<TagName>,
    pub images: Vec<Attached>,
    /// It is one of several posts of a thread.
    pub in_thread: bool,
}

/// Adds tags, images and threads: three queries, however many posts there are.
pub fn shown(connection: &mut SqliteConnection, posts: Vec<Post>) -> QueryResult<Vec<Shown>> {
    if posts.is_empty() {
        return Ok(Vec::new());
    }
    let ids: Vec<i64> = posts.iter().map(|post| post.id).collect();
    let named: Vec<(i64, String, String)> = post_tags::table
        .inner_join(tags::table)
        .filter(post_tags::post_id.eq_any(&ids))
        .order(tags::folded)
        .select((post_tags::post_id, tags::folded, tags::name))
        .load(connection)?;
    let images = media::of_posts(connection, &ids)?;
    let answered: Vec<Option<i64>> = posts::table
        .filter(posts::thread.eq_any(&ids))
        .filter(Listed)
        .select(posts::thread)
        .distinct()
        .load(connection)?;
    Ok(posts
        .into_iter()
        .map(|post| Shown {
            tags: named
                .iter()
                .filter(|(id, ..)| *id == post.id)
                .map(|(_, folded, name)| TagName {
                    folded: folded.clone(),
                    name: name.clone(),
                })
                .collect(),
            images: images
                .iter()
                .filter(|(id, _)| *id == post.id)
                .map(|(_, image)| image.clone())
                .collect(),
            in_thread: post.thread.is_some_and(|first| first != post.id) || answered.contains(&Some(post.id)),
            post,
        })
        .collect())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use diesel::connection::SimpleConnection;

    use super::*;
    use crate::db::queries::archive;

    fn database() -> SqliteConnection {
        let mut connection = SqliteConnection::establish(":memory:").unwrap();
        connection.batch_execute("PRAGMA foreign_keys = ON").unwrap();
        crate::db::migrate::run(&mut connection, ":memory:").unwrap();
        connection
    }

    fn add(connection: &mut SqliteConnection, id: i64, columns: &str, values: &str) {
        connection
            .batch_execute(&format!(
                "INSERT INTO posts (id, uuid, body, created_at, published_at {columns})
                 VALUES ({id}, '{}', 'text', {id}, {id} {values})",
                crate::domain::random::uuid().unwrap()
            ))
            .unwrap();
    }

    fn ids(posts: &[Post]) -> Vec<i64> {
        posts.iter().map(|post| post.id).collect()
    }

    #[test]
    fn lists_have_what_anybody_may_see() {
        let db = &mut database();
        add(db, 1, "", "");
        add(db, 2, ", visibility", ", 'unlisted'");
        add(db, 3, ", visibility", ", 'private'");
        add(db, 4, ", state", ", 'draft'");
        add(db, 5, ", state", ", 'scheduled'");
        add(db, 6, ", deleted_at", ", 9");
        add(db, 7, ", kind, title, slug", ", 'page', 'About', 'about'");
        add(db, 8, ", kind, title, pinned_at", ", 'article', 'Title', 5");
        assert_eq!(ids(&page(db, Span::ALWAYS, None, 100).unwrap()), [8, 1]);
        assert_eq!(ids(&pinned(db).unwrap()), [8]);
        assert_eq!(menu(db).unwrap().len(), 1);
        assert_eq!(by_slug(db, "about").unwrap().unwrap().id, 7);
        db.batch_execute("UPDATE posts SET pinned_at = 6 WHERE id IN (2, 3, 4, 5, 6)")
            .unwrap();
        assert_eq!(ids(&pinned(db).unwrap()), [8]);
        db.batch_execute("INSERT INTO tags VALUES (1, 'x', 'X'); INSERT INTO post_tags SELECT id, 1 FROM posts")
            .unwrap();
        assert_eq!(ids(&tagged(db, 1, None, 100).unwrap()), [8, 1]);
        let counts = tag_counts(db, 100).unwrap();
        assert_eq!((counts.len(), counts[0].posts, counts[0].name.as_str()), (1, 2, "X"));
        assert_eq!(tag(db, "x").unwrap(), Some((1, "X".to_owned())));
        assert_eq!(tag(db, "X").unwrap(), None);
    }

    #[test]
    fn a_span_begins_and_ends_on_the_second() {
        let db = &mut database();
        for id in 1..=9 {
            add(db, id, "", "");
        }
        let span = Span {
            from: Stamp(3),
            until: Stamp(7),
        };
        let first = page(db, span, None, 2).unwrap();
        assert_eq!(ids(&first), [6, 5]);
        assert_eq!(ids(&page(db, span, Some(first[1].cursor()), 9).unwrap()), [4, 3]);
        assert_eq!(
            archive::days(db, span, 0)
                .unwrap()
                .iter()
                .map(|day| day.posts)
                .sum::<i64>(),
            4
        );
        assert_eq!(archive::neighbours(db, span).unwrap(), (Some(Stamp(2)), Some(Stamp(7))));
        assert_eq!(archive::neighbours(db, Span::ALWAYS).unwrap(), (None, None));
    }

    #[test]
    fn a_thread_is_whole_from_each_of_its_posts() {
        let db = &mut database();
        add(db, 1, "", "");
        add(db, 2, ", thread, reply_to", ", 1, 1");
        add(db, 3, ", thread, reply_to, visibility", ", 1, 2, 'unlisted'");
        add(db, 4, ", thread, reply_to, state", ", 1, 3, 'draft'");
        add(db, 5, "", "");
        for id in [1, 2] {
            let post = crate::db::queries::posts::find(db, id).unwrap().unwrap();
            assert_eq!(ids(&thread(db, &post, false).unwrap()), [1, 2]);
            assert_eq!(ids(&thread(db, &post, true).unwrap()), [1, 2, 3]);
        }
        let listed = page(db, Span::ALWAYS, None, 100).unwrap();
        let shown = shown(db, listed).unwrap();
        let flags: Vec<_> = shown.iter().map(|shown| (shown.post.id, shown.in_thread)).collect();
        assert_eq!(flags, [(5, false), (2, true), (1, true)]);
    }

    #[derive(QueryableByName)]
    struct Plan {
        #[diesel(sql_type = Text)]
        detail: String,
    }

    /// How SQLite would answer a query, with a blog full of posts behind it.
    fn plan<Q: QueryFragment<Sqlite>>(connection: &mut SqliteConnection, query: &Q) -> String {
        let debug = diesel::debug_query::<Sqlite, _>(query).to_string();
        let (sql, _) = debug.rsplit_once(" -- binds").unwrap();
        // Unbound parameters are NULL, which changes no plan.
        let steps: Vec<Plan> = diesel::sql_query(format!("EXPLAIN QUERY PLAN {sql}"))
            .load(connection)
            .unwrap();
        steps.into_iter().map(|step| step.detail + "\n").collect()
    }

    #[test]
    fn every_list_uses_an_index() {
        let db = &mut database();
        let start = Cursor {
            published_at: Stamp(5),
            id: 5,
        };
        let listed = posts::table
            .filter(Listed)
            .filter(posts::published_at.le(start.published_at.0))
            .filter(posts::published_at.lt(start.published_at.0).or(posts::id.lt(start.id)))
            .filter(posts::published_at.ge(0))
            .order((posts::published_at.desc(), posts::id.desc()))
            .limit(20)
            .select(Post::as_select());
        assert_eq!(
            plan(db, &listed),
            "SEARCH posts USING INDEX posts_listed (published_at>? AND published_at<?)\n"
        );
        let pinned = posts::table
            .filter(Listed)
            .filter(posts::pinned_at.gt(i64::MIN))
            .order((posts::pinned_at.desc(), posts::id.desc()))
            .select(Post::as_select());
        assert!(
            plan(db, &pinned).starts_with("SEARCH posts USING INDEX posts_pinned (pinned_at>?)"),
            "{}",
            plan(db, &pinned)
        );
        let menu = posts::table
            .filter(Menu)
            .order(posts::title)
            .select((posts::title, posts::slug));
        assert_eq!(plan(db, &menu), "SCAN posts USING INDEX posts_menu\n");
        let tagged = posts::table
            .inner_join(post_tags::table)
            .filter(post_tags::tag_id.eq(1))
            .filter(Listed)
            .order((posts::published_at.desc(), posts::id.desc()))
            .select(Post::as_select());
        let tagged = plan(db, &tagged);
        assert!(
            tagged.contains("post_tags USING COVERING INDEX post_tags_tag (tag_id=?)"),
            "{tagged}"
        );
        assert!(tagged.contains("posts USING INTEGER PRIMARY KEY (rowid=?)"), "{tagged}");
        let thread = posts::table
            .filter(posts::id.eq(1).or(posts::thread.eq(1)))
            .filter(posts::state.eq(State::Published))
            .order((posts::published_at, posts::id))
            .select(Post::as_select());
        let thread = plan(db, &thread);
        assert!(
            thread.contains("USING INDEX posts_thread") && !thread.contains("SCAN"),
            "{thread}"
        );
    }
}
