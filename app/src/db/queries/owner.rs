//! The owner's password hash.

use diesel::prelude::*;
use diesel::sqlite::SqliteConnection;

use crate::db::run::RunQueryDsl;
use crate::db::schema::{owner, sessions};
use crate::domain::Stamp;

pub fn password_hash(connection: &mut SqliteConnection) -> QueryResult<Option<String>> {
    owner::table.select(owner::password_hash).first(connection).optional()
}

/// Keeps the same password in a newer kind of hash.
pub fn renew(connection: &mut SqliteConnection, hash: &str) -> QueryResult<()> {
    diesel::update(owner::table)
        .set(owner::password_hash.eq(hash))
        .execute(connection)?;
    Ok(())
}

/// Sets the password and ends every session: whoever knew the old one is out.
pub fn set(connection: &mut SqliteConnection, hash: &str, now: Stamp) -> QueryResult<()> {
    // An update where there is a row: the second factor stays what it is.
    diesel::insert_into(owner::table)
        .values((
            owner::id.eq(1),
            owner::password_hash.eq(hash),
            owner::changed_at.eq(now.0),
        ))
        .on_conflict(owner::id)
        .do_update()
        .set((owner::password_hash.eq(hash), owner::changed_at.eq(now.0)))
        .execute(connection)?;
    diesel::delete(sessions::table).execute(connection)?;
    Ok(())
}
