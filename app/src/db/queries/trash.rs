//! The trash: what is deleted stays for a while, and then goes for good.

use diesel::prelude::*;
use diesel::sqlite::SqliteConnection;

use crate::db::run::RunQueryDsl;
use crate::db::schema::{post_tags, posts, tags};
use crate::domain::Stamp;

/// How long the trash keeps a post.
pub const KEPT_SECONDS: i64 = 30 * 24 * 3600;

/// Into the trash; the date of a second time does not count. False when there is no such post.
pub fn discard(connection: &mut SqliteConnection, id: i64, now: Stamp) -> QueryResult<bool> {
    let post = posts::table.find(id);
    if post.select(posts::id).first::<i64>(connection).optional()?.is_none() {
        return Ok(false);
    }
    diesel::update(posts::table.find(id).filter(posts::deleted_at.is_null()))
        .set(posts::deleted_at.eq(now.0))
        .execute(connection)?;
    Ok(true)
}

/// Out of the trash, as it was. False when there is no such post.
pub fn restore(connection: &mut SqliteConnection, id: i64) -> QueryResult<bool> {
    let none: Option<i64> = None;
    let changed = diesel::update(posts::table.find(id))
        .set(posts::deleted_at.eq(none))
        .execute(connection)?;
    Ok(changed > 0)
}

/// For good, with its versions and its tags. Only what is in the trash: False for everything else.
pub fn purge(connection: &mut SqliteConnection, id: i64) -> QueryResult<bool> {
    let gone = diesel::delete(posts::table.find(id).filter(posts::deleted_at.is_not_null())).execute(connection)?;
    drop_unused_tags(connection)?;
    Ok(gone > 0)
}

/// Purges what has been in the trash for too long. How many went.
pub fn purge_old(connection: &mut SqliteConnection, now: Stamp) -> QueryResult<usize> {
    let gone = diesel::delete(posts::table.filter(posts::deleted_at.lt(now.0 - KEPT_SECONDS))).execute(connection)?;
    if gone > 0 {
        drop_unused_tags(connection)?;
    }
    Ok(gone)
}

/// True when `purge_old` would find something.
pub fn has_old(connection: &mut SqliteConnection, now: Stamp) -> QueryResult<bool> {
    let old = posts::table.filter(posts::deleted_at.lt(now.0 - KEPT_SECONDS));
    Ok(old.select(posts::id).first::<i64>(connection).optional()?.is_some())
}

fn drop_unused_tags(connection: &mut SqliteConnection) -> QueryResult<()> {
    let used = post_tags::table.select(post_tags::tag_id);
    diesel::delete(tags::table.filter(tags::id.ne_all(used))).execute(connection)?;
    Ok(())
}
