//! The one row that says which blog this is.

use diesel::prelude::*;
use diesel::sqlite::SqliteConnection;

use crate::db::models::Site;
use crate::db::run::RunQueryDsl;
use crate::db::schema::site;
use crate::domain::Stamp;

pub fn get(connection: &mut SqliteConnection) -> QueryResult<Site> {
    site::table.select(Site::as_select()).first(connection)
}

/// Names the blog, once.
pub fn create(connection: &mut SqliteConnection, uuid: &str, now: Stamp) -> QueryResult<()> {
    diesel::insert_or_ignore_into(site::table)
        .values((site::id.eq(1), site::uuid.eq(uuid), site::created_at.eq(now.0)))
        .execute(connection)?;
    Ok(())
}
