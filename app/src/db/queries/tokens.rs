//! Tokens of programs, by the hash of what they send.

use diesel::prelude::*;
use diesel::sqlite::SqliteConnection;

use crate::db::run::RunQueryDsl;
use crate::db::schema::api_tokens;
use crate::domain::Stamp;

/// A token as it is listed.
#[derive(Debug, Clone, Queryable, Selectable)]
#[diesel(table_name = api_tokens, check_for_backend(diesel::sqlite::Sqlite))]
pub struct ApiToken {
    pub id: i64,
    pub name: String,
    pub scopes: String,
    created_at: i64,
    used_at: Option<i64>,
    expires_at: Option<i64>,
}

impl ApiToken {
    pub fn created_at(&self) -> Stamp {
        Stamp(self.created_at)
    }

    /// To the hour.
    pub fn used_at(&self) -> Option<Stamp> {
        self.used_at.map(Stamp)
    }

    pub fn expires_at(&self) -> Option<Stamp> {
        self.expires_at.map(Stamp)
    }
}

/// More would be a mistake, and the page lists them all.
pub const MOST: i64 = 100;

pub fn list(connection: &mut SqliteConnection) -> QueryResult<Vec<ApiToken>> {
    api_tokens::table
        .order(api_tokens::id.desc())
        .limit(MOST)
        .select(ApiToken::as_select())
        .load(connection)
}

/// The token that has this hash, unless it has run out.
pub fn find(connection: &mut SqliteConnection, hash: &[u8], now: Stamp) -> QueryResult<Option<ApiToken>> {
    let alive = api_tokens::expires_at.is_null().or(api_tokens::expires_at.gt(now.0));
    api_tokens::table
        .filter(api_tokens::token_hash.eq(hash))
        .filter(alive)
        .select(ApiToken::as_select())
        .first(connection)
        .optional()
}

/// A token to be made.
#[derive(Debug)]
pub struct NewToken {
    pub hash: [u8; 32],
    pub name: String,
    pub scopes: String,
    pub expires_at: Option<Stamp>,
}

/// False when there are too many. The same form sent again adds nothing: its token has the same hash.
pub fn create(connection: &mut SqliteConnection, new: &NewToken, now: Stamp) -> QueryResult<bool> {
    if api_tokens::table.count().get_result::<i64>(connection)? >= MOST {
        return Ok(false);
    }
    diesel::insert_or_ignore_into(api_tokens::table)
        .values((
            api_tokens::token_hash.eq(new.hash.as_slice()),
            api_tokens::name.eq(&new.name),
            api_tokens::scopes.eq(&new.scopes),
            api_tokens::created_at.eq(now.0),
            api_tokens::expires_at.eq(new.expires_at.map(|at| at.0)),
        ))
        .execute(connection)?;
    Ok(true)
}

pub fn revoke(connection: &mut SqliteConnection, id: i64) -> QueryResult<()> {
    diesel::delete(api_tokens::table.find(id)).execute(connection)?;
    Ok(())
}

/// Notes that it was used.
pub fn touch(connection: &mut SqliteConnection, id: i64, now: Stamp) -> QueryResult<()> {
    diesel::update(api_tokens::table.find(id))
        .set(api_tokens::used_at.eq(now.0))
        .execute(connection)?;
    Ok(())
}
