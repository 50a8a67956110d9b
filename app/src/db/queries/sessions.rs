//! Signed-in browsers, by the hash of their token.

use diesel::prelude::*;
use diesel::sqlite::SqliteConnection;

use crate::db::schema::sessions;
use crate::domain::Stamp;

pub fn is_live(connection: &mut SqliteConnection, hash: &[u8], now: Stamp) -> QueryResult<bool> {
    let found = sessions::table
        .filter(sessions::token_hash.eq(hash).and(sessions::expires_at.gt(now.0)))
        .select(sessions::created_at)
        .first::<i64>(connection)
        .optional()?;
    Ok(found.is_some())
}

/// Starts a session and clears away those that have run out.
pub fn start(connection: &mut SqliteConnection, hash: &[u8], now: Stamp, until: Stamp) -> QueryResult<()> {
    diesel::delete(sessions::table.filter(sessions::expires_at.le(now.0))).execute(connection)?;
    diesel::insert_into(sessions::table)
        .values((
            sessions::token_hash.eq(hash),
            sessions::created_at.eq(now.0),
            sessions::seen_at.eq(now.0),
            sessions::expires_at.eq(until.0),
        ))
        .execute(connection)?;
    Ok(())
}

pub fn end(connection: &mut SqliteConnection, hash: &[u8]) -> QueryResult<()> {
    diesel::delete(sessions::table.filter(sessions::token_hash.eq(hash))).execute(connection)?;
    Ok(())
}
