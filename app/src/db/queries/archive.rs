//! The archive: how many posts each day has, and what lies before and after a span of time.

use diesel::prelude::*;
use diesel::sql_types::BigInt;
use diesel::sqlite::SqliteConnection;

use super::reading::{LISTED, Listed, Span};
use crate::db::run::RunQueryDsl;
use crate::db::schema::posts;
use crate::domain::Stamp;

#[derive(Debug, Clone, Copy, QueryableByName)]
pub struct Day {
    /// Days since 1970-01-01, in the zone that was asked for.
    #[diesel(sql_type = BigInt)]
    pub day: i64,
    #[diesel(sql_type = BigInt)]
    pub posts: i64,
}

/// The days with listed posts, from the newest on. `offset`: seconds that the zone is before UTC. Answered from the
/// index `posts_listed` alone, without a look at the posts.
pub fn days(connection: &mut SqliteConnection, span: Span, offset: i64) -> QueryResult<Vec<Day>> {
    diesel::sql_query(format!(
        "SELECT (posts.published_at + ?) / 86400 AS day, count(*) AS posts FROM posts \
         WHERE {LISTED} AND posts.published_at >= ? AND posts.published_at < ? GROUP BY 1 ORDER BY 1 DESC"
    ))
    .bind::<BigInt, _>(offset)
    .bind::<BigInt, _>(span.from.0)
    .bind::<BigInt, _>(span.until.0)
    .load(connection)
}

/// When the last post before the span and the first one after it were published.
pub fn neighbours(connection: &mut SqliteConnection, span: Span) -> QueryResult<(Option<Stamp>, Option<Stamp>)> {
    let before: Option<Option<i64>> = posts::table
        .filter(Listed)
        .filter(posts::published_at.lt(span.from.0))
        .order(posts::published_at.desc())
        .select(posts::published_at)
        .first(connection)
        .optional()?;
    let after: Option<Option<i64>> = posts::table
        .filter(Listed)
        .filter(posts::published_at.ge(span.until.0))
        .order(posts::published_at.asc())
        .select(posts::published_at)
        .first(connection)
        .optional()?;
    Ok((before.flatten().map(Stamp), after.flatten().map(Stamp)))
}
