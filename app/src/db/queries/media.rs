//! Images: the row of each, which posts show it, and whether readers may see it.

use diesel::dsl::{exists, select};
use diesel::prelude::*;
use diesel::sqlite::SqliteConnection;

use crate::db::models::{Attached, Medium};
use crate::db::run::RunQueryDsl;
use crate::db::schema::{media, post_media, posts};
use crate::domain::{Stamp, State, Visibility};
use crate::media::store::{Hash, Ready};

/// The row of an image, made when it is not there. The file gets its name in the same transaction (`Store::publish`).
pub fn insert(connection: &mut SqliteConnection, ready: &Ready, now: Stamp) -> QueryResult<Medium> {
    diesel::insert_or_ignore_into(media::table)
        .values((
            media::sha256.eq(ready.hash.as_slice()),
            media::mime.eq(ready.picture.format.mime()),
            media::width.eq(i64::from(ready.picture.width)),
            media::height.eq(i64::from(ready.picture.height)),
            media::bytes.eq(i64::try_from(ready.bytes).unwrap_or(i64::MAX)),
            media::created_at.eq(now.0),
        ))
        .execute(connection)?;
    find(connection, &ready.hash)?.ok_or(diesel::result::Error::NotFound)
}

pub fn find(connection: &mut SqliteConnection, hash: &Hash) -> QueryResult<Option<Medium>> {
    media::table
        .filter(media::sha256.eq(hash.as_slice()))
        .select(Medium::as_select())
        .first(connection)
        .optional()
}

/// Whether a post that readers may see shows it.
pub fn is_readable(connection: &mut SqliteConnection, id: i64) -> QueryResult<bool> {
    let shown = post_media::table
        .inner_join(posts::table)
        .filter(post_media::media_id.eq(id))
        .filter(posts::state.eq(State::Published))
        .filter(posts::visibility.ne(Visibility::Private))
        .filter(posts::deleted_at.is_null());
    select(exists(shown)).get_result(connection)
}

/// The images of some posts, by post and in their order.
pub fn of_posts(connection: &mut SqliteConnection, ids: &[i64]) -> QueryResult<Vec<(i64, Attached)>> {
    post_media::table
        .inner_join(media::table)
        .filter(post_media::post_id.eq_any(ids))
        .order((post_media::post_id, post_media::position))
        .select((post_media::post_id, Attached::as_select()))
        .load(connection)
}

pub fn of_post(connection: &mut SqliteConnection, id: i64) -> QueryResult<Vec<Attached>> {
    let attached = of_posts(connection, &[id])?;
    Ok(attached.into_iter().map(|(_, attached)| attached).collect())
}

/// Makes these the images of a post: hash and alternative text of each, in order.
/// `Err(NotFound)` when one of them is not stored; the transaction must not be committed then.
pub fn attach(connection: &mut SqliteConnection, post: i64, images: &[(Hash, String)]) -> QueryResult<()> {
    diesel::delete(post_media::table.filter(post_media::post_id.eq(post))).execute(connection)?;
    for (position, (hash, alt)) in (0_i64..).zip(images) {
        let medium = find(connection, hash)?.ok_or(diesel::result::Error::NotFound)?;
        super::transfer::attach(connection, post, position, medium.id, alt)?;
    }
    Ok(())
}

/// Whether a post that shows `attached` shows these, in this order and with these words.
pub fn are(attached: &[Attached], images: &[(Hash, String)]) -> bool {
    let same = |(image, (hash, alt)): (&Attached, &(Hash, String))| image.medium.hash() == *hash && image.alt == *alt;
    attached.len() == images.len() && attached.iter().zip(images).all(same)
}

/// The same for an edit. Other images than before are an edit, which readers of feeds are told of.
pub fn replace(connection: &mut SqliteConnection, post: i64, images: &[(Hash, String)], now: Stamp) -> QueryResult<()> {
    if are(&of_post(connection, post)?, images) {
        return Ok(());
    }
    attach(connection, post, images)?;
    let found = super::posts::find(connection, post)?;
    if let Some(post) = found.filter(|post| post.state == State::Published) {
        diesel::update(posts::table.find(post.id))
            .set(posts::edited_at.eq(now.max(post.updated_at()).0))
            .execute(connection)?;
    }
    Ok(())
}

/// Images from the newest on, each with the number of posts that show it. `before` is the last of the page before.
pub fn page(connection: &mut SqliteConnection, before: Option<i64>, limit: i64) -> QueryResult<Vec<(Medium, i64)>> {
    let images = media::table
        .filter(media::id.lt(before.unwrap_or(i64::MAX)))
        .order(media::id.desc())
        .limit(limit)
        .select(Medium::as_select())
        .load(connection)?;
    let ids: Vec<i64> = images.iter().map(|medium| medium.id).collect();
    let used: Vec<(i64, i64)> = post_media::table
        .filter(post_media::media_id.eq_any(ids))
        .group_by(post_media::media_id)
        .select((
            post_media::media_id,
            diesel::dsl::count(post_media::post_id).aggregate_distinct(),
        ))
        .load(connection)?;
    let count = |id| used.iter().find(|(used, _)| *used == id).map_or(0, |(_, count)| *count);
    Ok(images
        .into_iter()
        .map(|medium| (count(medium.id), medium))
        .map(|(n, m)| (m, n))
        .collect())
}

/// Takes the row of an image away when no post shows it, not even one in the trash. False: it is in use, or not there.
pub fn delete_unused(connection: &mut SqliteConnection, hash: &Hash) -> QueryResult<bool> {
    let used = post_media::table.filter(post_media::media_id.eq(media::id));
    let unused = media::table
        .filter(media::sha256.eq(hash.as_slice()))
        .filter(diesel::dsl::not(exists(used)));
    Ok(diesel::delete(unused).execute(connection)? > 0)
}
