//! The owner's second factor: the secret, the last step that was used, and recovery codes.

use diesel::prelude::*;
use diesel::sqlite::SqliteConnection;

use crate::db::run::RunQueryDsl;
use crate::db::schema::{owner, recovery_codes};
use crate::domain::Stamp;

/// The secret with the last step that was used; nothing while there is no second factor.
pub fn get(connection: &mut SqliteConnection) -> QueryResult<Option<(Vec<u8>, i64)>> {
    let row = owner::table
        .select((owner::totp_secret, owner::totp_step))
        .first::<(Option<Vec<u8>>, i64)>(connection)
        .optional()?;
    Ok(row.and_then(|(secret, step)| Some((secret?, step))))
}

/// False when the step was used in the meantime: two requests with one code are one login.
pub fn use_step(connection: &mut SqliteConnection, step: i64) -> QueryResult<bool> {
    let changed = diesel::update(owner::table.filter(owner::totp_step.lt(step)))
        .set(owner::totp_step.eq(step))
        .execute(connection)?;
    Ok(changed > 0)
}

/// False when there is no such code (any more).
pub fn use_recovery_code(connection: &mut SqliteConnection, hash: &[u8]) -> QueryResult<bool> {
    Ok(diesel::delete(recovery_codes::table.find(hash)).execute(connection)? > 0)
}

pub fn recovery_codes_left(connection: &mut SqliteConnection) -> QueryResult<i64> {
    recovery_codes::table.count().get_result(connection)
}

/// Turns it on, with the step of the code that showed that the phone has the secret.
pub fn enable(
    connection: &mut SqliteConnection,
    secret: &[u8],
    step: i64,
    codes: &[[u8; 32]],
    now: Stamp,
) -> QueryResult<()> {
    diesel::update(owner::table)
        .set((owner::totp_secret.eq(Some(secret)), owner::totp_step.eq(step)))
        .execute(connection)?;
    replace_recovery_codes(connection, codes, now)
}

pub fn replace_recovery_codes(connection: &mut SqliteConnection, codes: &[[u8; 32]], now: Stamp) -> QueryResult<()> {
    diesel::delete(recovery_codes::table).execute(connection)?;
    for code in codes {
        diesel::insert_into(recovery_codes::table)
            .values((
                recovery_codes::code_hash.eq(code.as_slice()),
                recovery_codes::created_at.eq(now.0),
            ))
            .execute(connection)?;
    }
    Ok(())
}

/// False when it was off.
pub fn disable(connection: &mut SqliteConnection) -> QueryResult<bool> {
    diesel::delete(recovery_codes::table).execute(connection)?;
    let none: Option<Vec<u8>> = None;
    let changed = diesel::update(owner::table.filter(owner::totp_secret.is_not_null()))
        .set((owner::totp_secret.eq(none), owner::totp_step.eq(0)))
        .execute(connection)?;
    Ok(changed > 0)
}
