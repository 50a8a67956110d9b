//! The owner's lists: what is not out yet, what is a page, what is in the trash.

use diesel::prelude::*;
use diesel::sqlite::SqliteConnection;

use crate::db::models::Post;
use crate::db::run::RunQueryDsl;
use crate::db::schema::posts;
use crate::domain::{Kind, State};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shelf {
    Drafts,
    Scheduled,
    /// Published posts of every visibility.
    Latest,
    Pages,
    Trash,
}

/// Posts from the last made to the first, those with a smaller number than `before`.
pub fn list(
    connection: &mut SqliteConnection,
    shelf: Shelf,
    before: Option<i64>,
    limit: i64,
) -> QueryResult<Vec<Post>> {
    let query = posts::table
        .filter(posts::id.lt(before.unwrap_or(i64::MAX)))
        .order(posts::id.desc())
        .limit(limit)
        .select(Post::as_select())
        .into_boxed::<diesel::sqlite::Sqlite>();
    let kept = posts::deleted_at.is_null();
    let query = match shelf {
        Shelf::Drafts => query.filter(kept.and(posts::state.eq(State::Draft))),
        Shelf::Scheduled => query.filter(kept.and(posts::state.eq(State::Scheduled))),
        Shelf::Latest => query.filter(
            kept.and(posts::state.eq(State::Published))
                .and(posts::kind.ne(Kind::Page)),
        ),
        Shelf::Pages => query.filter(kept.and(posts::kind.eq(Kind::Page))),
        Shelf::Trash => query.filter(posts::deleted_at.is_not_null()),
    };
    query.load(connection)
}

/// All posts and pages that are not in the trash, or those in one state, in the same order.
pub fn kept(
    connection: &mut SqliteConnection,
    state: Option<State>,
    before: Option<i64>,
    limit: i64,
) -> QueryResult<Vec<Post>> {
    let query = posts::table
        .filter(posts::id.lt(before.unwrap_or(i64::MAX)))
        .filter(posts::deleted_at.is_null())
        .order(posts::id.desc())
        .limit(limit)
        .select(Post::as_select())
        .into_boxed::<diesel::sqlite::Sqlite>();
    let query = match state {
        None => query,
        Some(state) => query.filter(posts::state.eq(state)),
    };
    query.load(connection)
}
