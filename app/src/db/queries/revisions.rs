//! What posts were before their edits.

use diesel::prelude::*;
use diesel::sqlite::SqliteConnection;

use crate::db::models::Revision;
use crate::db::run::RunQueryDsl;
use crate::db::schema::revisions;

/// From the latest to the first, those with a smaller number than `before`.
pub fn list(
    connection: &mut SqliteConnection,
    post: i64,
    before: Option<i64>,
    limit: i64,
) -> QueryResult<Vec<Revision>> {
    revisions::table
        .filter(revisions::post_id.eq(post))
        .filter(revisions::id.lt(before.unwrap_or(i64::MAX)))
        .order(revisions::id.desc())
        .limit(limit)
        .select(Revision::as_select())
        .load(connection)
}

pub fn find(connection: &mut SqliteConnection, post: i64, id: i64) -> QueryResult<Option<Revision>> {
    revisions::table
        .find(id)
        .filter(revisions::post_id.eq(post))
        .select(Revision::as_select())
        .first(connection)
        .optional()
}
