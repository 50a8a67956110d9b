//! Scheduled posts, and when the next of them is due.

use diesel::prelude::*;
use diesel::sqlite::SqliteConnection;

use super::writing::latest_moment;
use crate::db::run::RunQueryDsl;
use crate::db::schema::posts;
use crate::domain::{Stamp, State};

/// The date of the next scheduled post.
pub fn next(connection: &mut SqliteConnection) -> QueryResult<Option<Stamp>> {
    let next = posts::table
        .filter(posts::state.eq(State::Scheduled).and(posts::deleted_at.is_null()))
        .select(diesel::dsl::min(posts::published_at))
        .first::<Option<i64>>(connection)?;
    Ok(next.map(Stamp))
}

/// Publishes what is due, by the clock or because a later post is out. How many there were.
pub fn publish(connection: &mut SqliteConnection, now: Stamp) -> QueryResult<usize> {
    let latest = latest_moment(connection, now)?;
    diesel::update(posts::table)
        .filter(posts::state.eq(State::Scheduled))
        .filter(posts::deleted_at.is_null())
        .filter(posts::published_at.le(latest.0))
        .set(posts::state.eq(State::Published))
        .execute(connection)
}
