//! Signed-in browsers, by the hash of their token.

use diesel::prelude::*;
use diesel::sqlite::SqliteConnection;

use crate::db::run::RunQueryDsl;
use crate::db::schema::sessions;
use crate::domain::Stamp;

/// A session as it is listed.
#[derive(Debug, Clone, Queryable, Selectable)]
#[diesel(table_name = sessions, check_for_backend(diesel::sqlite::Sqlite))]
pub struct Session {
    pub id: i64,
    pub label: String,
    created_at: i64,
    seen_at: i64,
    expires_at: i64,
}

impl Session {
    pub fn created_at(&self) -> Stamp {
        Stamp(self.created_at)
    }

    /// To the hour.
    pub fn seen_at(&self) -> Stamp {
        Stamp(self.seen_at)
    }

    pub fn expires_at(&self) -> Stamp {
        Stamp(self.expires_at)
    }
}

/// When a live session was seen last; nothing when there is no such session (any more).
pub fn seen(connection: &mut SqliteConnection, hash: &[u8], now: Stamp) -> QueryResult<Option<Stamp>> {
    let found = sessions::table
        .filter(sessions::token_hash.eq(hash).and(sessions::expires_at.gt(now.0)))
        .select(sessions::seen_at)
        .first::<i64>(connection)
        .optional()?;
    Ok(found.map(Stamp))
}

/// Notes that it was seen.
pub fn touch(connection: &mut SqliteConnection, hash: &[u8], now: Stamp) -> QueryResult<()> {
    diesel::update(sessions::table.filter(sessions::token_hash.eq(hash)))
        .set(sessions::seen_at.eq(now.0))
        .execute(connection)?;
    Ok(())
}

/// A session to be started.
#[derive(Debug)]
pub struct NewSession {
    pub hash: [u8; 32],
    pub label: String,
    pub until: Stamp,
}

/// Starts a session and clears away those that have run out.
pub fn start(connection: &mut SqliteConnection, new: &NewSession, now: Stamp) -> QueryResult<()> {
    diesel::delete(sessions::table.filter(sessions::expires_at.le(now.0))).execute(connection)?;
    diesel::insert_into(sessions::table)
        .values((
            sessions::token_hash.eq(new.hash.as_slice()),
            sessions::label.eq(&new.label),
            sessions::created_at.eq(now.0),
            sessions::seen_at.eq(now.0),
            sessions::expires_at.eq(new.until.0),
        ))
        .execute(connection)?;
    Ok(())
}

pub fn end(connection: &mut SqliteConnection, hash: &[u8]) -> QueryResult<()> {
    diesel::delete(sessions::table.filter(sessions::token_hash.eq(hash))).execute(connection)?;
    Ok(())
}

/// Live ones, the latest first.
pub fn list(connection: &mut SqliteConnection, now: Stamp) -> QueryResult<Vec<Session>> {
    sessions::table
        .filter(sessions::expires_at.gt(now.0))
        .order((sessions::seen_at.desc(), sessions::id.desc()))
        .limit(200)
        .select(Session::as_select())
        .load(connection)
}

pub fn id_of(connection: &mut SqliteConnection, hash: &[u8]) -> QueryResult<Option<i64>> {
    let found = sessions::table
        .filter(sessions::token_hash.eq(hash))
        .select(sessions::id);
    found.first(connection).optional()
}

pub fn revoke(connection: &mut SqliteConnection, id: i64) -> QueryResult<()> {
    diesel::delete(sessions::table.find(id)).execute(connection)?;
    Ok(())
}

/// All but the one with this hash.
pub fn revoke_others(connection: &mut SqliteConnection, hash: &[u8]) -> QueryResult<()> {
    diesel::delete(sessions::table.filter(sessions::token_hash.ne(hash))).execute(connection)?;
    Ok(())
}
