//! Whole posts in and out: what import and export need, and nothing that a page does.

use diesel::connection::DefaultLoadingMode;
use diesel::prelude::*;
use diesel::sqlite::SqliteConnection;

use crate::db::run::RunQueryDsl;
use crate::db::schema::{media, old_ids, post_media, post_tags, posts, revisions, site, tags};
use crate::domain::{Kind, State, Visibility};

/// A row of `posts`, all of it but its number.
#[derive(Debug, Clone, PartialEq, Insertable, Queryable, Selectable)]
// The same statement whatever is missing, so that SQLite prepares it once.
#[diesel(table_name = posts, treat_none_as_default_value = false, check_for_backend(diesel::sqlite::Sqlite))]
pub struct PostRow {
    pub uuid: String,
    pub kind: Kind,
    pub state: State,
    pub visibility: Visibility,
    pub title: Option<String>,
    pub slug: Option<String>,
    pub link: Option<String>,
    pub lang: Option<String>,
    pub body: String,
    pub created_at: i64,
    pub published_at: Option<i64>,
    pub edited_at: Option<i64>,
    pub deleted_at: Option<i64>,
    pub pinned_at: Option<i64>,
    pub reply_to: Option<i64>,
    pub thread: Option<i64>,
}

/// What a post was before an edit.
#[derive(Debug, Clone, PartialEq, Queryable)]
pub struct RevisionRow {
    pub title: Option<String>,
    pub link: Option<String>,
    pub body: String,
    pub replaced_at: i64,
}

/// A row of `media` without its number.
#[derive(Debug, Clone, PartialEq, Queryable, Insertable, Selectable)]
#[diesel(table_name = media, check_for_backend(diesel::sqlite::Sqlite))]
pub struct MediaRow {
    pub sha256: Vec<u8>,
    pub mime: String,
    pub width: i64,
    pub height: i64,
    pub bytes: i64,
    pub created_at: i64,
}

/// A post with everything that hangs on it.
#[derive(Debug, Clone, PartialEq)]
pub struct WholePost {
    pub id: i64,
    pub row: PostRow,
    /// Folded names, sorted.
    pub tags: Vec<String>,
    /// Hash, media type and description, in order.
    pub images: Vec<(Vec<u8>, String, String)>,
    /// Source and name there, sorted.
    pub old_ids: Vec<(String, String)>,
    /// From oldest to newest.
    pub revisions: Vec<RevisionRow>,
}

/// Where a post stands: its number, and the first post of its thread if it is in one and not the first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    pub id: i64,
    pub thread: Option<i64>,
}

impl Place {
    /// The thread that an answer to this post belongs to.
    pub fn root(self) -> i64 {
        self.thread.unwrap_or(self.id)
    }
}

/// With this number, or with the next one.
pub fn insert(connection: &mut SqliteConnection, row: &PostRow, id: Option<i64>) -> QueryResult<i64> {
    let insert = diesel::insert_into(posts::table);
    match id {
        Some(id) => insert.values((posts::id.eq(id), row)).execute(connection).map(|_| id),
        None => insert.values(row).returning(posts::id).get_result(connection),
    }
}

/// Says which post this one answers.
pub fn set_thread(
    connection: &mut SqliteConnection,
    id: i64,
    reply_to: Option<i64>,
    thread: Option<i64>,
) -> QueryResult<()> {
    diesel::update(posts::table.find(id))
        .set((posts::reply_to.eq(reply_to), posts::thread.eq(thread)))
        .execute(connection)
        .map(|_| ())
}

/// Puts a tag on a post, once.
pub fn tag(connection: &mut SqliteConnection, post: i64, tag: i64) -> QueryResult<()> {
    diesel::insert_or_ignore_into(post_tags::table)
        .values((post_tags::post_id.eq(post), post_tags::tag_id.eq(tag)))
        .execute(connection)
        .map(|_| ())
}

/// The number of the tag with this folded name. A tag that is there keeps its name.
pub fn make_tag(connection: &mut SqliteConnection, folded: &str, name: &str) -> QueryResult<i64> {
    diesel::insert_or_ignore_into(tags::table)
        .values((tags::folded.eq(folded), tags::name.eq(name)))
        .execute(connection)?;
    tags::table
        .filter(tags::folded.eq(folded))
        .select(tags::id)
        .first(connection)
}

/// The number of the image with this hash, which is made a row if there is none.
pub fn make_media(connection: &mut SqliteConnection, row: &MediaRow) -> QueryResult<i64> {
    diesel::insert_or_ignore_into(media::table)
        .values(row)
        .execute(connection)?;
    media::table
        .filter(media::sha256.eq(&row.sha256))
        .select(media::id)
        .first(connection)
}

pub fn attach(connection: &mut SqliteConnection, post: i64, position: i64, image: i64, alt: &str) -> QueryResult<()> {
    diesel::insert_into(post_media::table)
        .values((
            post_media::post_id.eq(post),
            post_media::position.eq(position),
            post_media::media_id.eq(image),
            post_media::alt.eq(alt),
        ))
        .execute(connection)
        .map(|_| ())
}

pub fn add_revision(connection: &mut SqliteConnection, post: i64, revision: &RevisionRow) -> QueryResult<()> {
    diesel::insert_into(revisions::table)
        .values((
            revisions::post_id.eq(post),
            revisions::title.eq(&revision.title),
            revisions::link.eq(&revision.link),
            revisions::body.eq(&revision.body),
            revisions::replaced_at.eq(revision.replaced_at),
        ))
        .execute(connection)
        .map(|_| ())
}

pub fn find_old(connection: &mut SqliteConnection, source: &str, old_id: &str) -> QueryResult<Option<Place>> {
    old_ids::table
        .inner_join(posts::table)
        .filter(old_ids::source.eq(source))
        .filter(old_ids::old_id.eq(old_id))
        .select((posts::id, posts::thread))
        .first(connection)
        .optional()
        .map(|found| found.map(|(id, thread)| Place { id, thread }))
}

/// All posts that came from `source`: what they were called there, and where they stand.
pub fn all_old(
    connection: &mut SqliteConnection,
    source: &str,
    mut each: impl FnMut(String, Place),
) -> QueryResult<()> {
    let query = old_ids::table
        .inner_join(posts::table)
        .filter(old_ids::source.eq(source))
        .select((old_ids::old_id, posts::id, posts::thread));
    // One row at a time: an archive has a hundred thousand.
    let rows = diesel::RunQueryDsl::load_iter::<(String, i64, Option<i64>), DefaultLoadingMode>(query, connection)?;
    for row in rows {
        let (old_id, id, thread) = row?;
        each(old_id, Place { id, thread });
    }
    Ok(())
}

pub fn find_uuid(connection: &mut SqliteConnection, uuid: &str) -> QueryResult<Option<Place>> {
    posts::table
        .filter(posts::uuid.eq(uuid))
        .select((posts::id, posts::thread))
        .first(connection)
        .optional()
        .map(|found| found.map(|(id, thread)| Place { id, thread }))
}

pub fn has_id(connection: &mut SqliteConnection, id: i64) -> QueryResult<bool> {
    diesel::select(diesel::dsl::exists(posts::table.find(id))).get_result(connection)
}

pub fn has_slug(connection: &mut SqliteConnection, slug: &str) -> QueryResult<bool> {
    diesel::select(diesel::dsl::exists(posts::table.filter(posts::slug.eq(slug)))).get_result(connection)
}

/// Remembers what a post was called elsewhere. A name that is taken stays with its post.
pub fn remember(connection: &mut SqliteConnection, source: &str, old_id: &str, post: i64) -> QueryResult<()> {
    diesel::insert_or_ignore_into(old_ids::table)
        .values((
            old_ids::source.eq(source),
            old_ids::old_id.eq(old_id),
            old_ids::post_id.eq(post),
        ))
        .execute(connection)
        .map(|_| ())
}

/// Whether nothing was ever written here: then an export may bring its name along.
pub fn is_empty(connection: &mut SqliteConnection) -> QueryResult<bool> {
    let any: i64 = posts::table.count().get_result(connection)?;
    Ok(any == 0)
}

/// Gives the blog the name of the one that was exported.
pub fn rename_site(connection: &mut SqliteConnection, uuid: &str, created_at: i64) -> QueryResult<()> {
    diesel::update(site::table)
        .set((site::uuid.eq(uuid), site::created_at.eq(created_at)))
        .execute(connection)
        .map(|_| ())
}

/// Name and date of the blog.
pub fn site(connection: &mut SqliteConnection) -> QueryResult<(String, i64)> {
    site::table.select((site::uuid, site::created_at)).first(connection)
}

pub fn count(connection: &mut SqliteConnection) -> QueryResult<i64> {
    posts::table.count().get_result(connection)
}

/// Posts with a number above `after`, in order, with all that hangs on them.
pub fn posts_after(connection: &mut SqliteConnection, after: i64, limit: i64) -> QueryResult<Vec<WholePost>> {
    let rows: Vec<(i64, PostRow)> = posts::table
        .filter(posts::id.gt(after))
        .order(posts::id)
        .limit(limit)
        .select((posts::id, PostRow::as_select()))
        .load(connection)?;
    rows.into_iter().map(|(id, row)| whole(connection, id, row)).collect()
}

fn whole(connection: &mut SqliteConnection, id: i64, row: PostRow) -> QueryResult<WholePost> {
    Ok(WholePost {
        id,
        row,
        tags: post_tags::table
            .inner_join(tags::table)
            .filter(post_tags::post_id.eq(id))
            .order(tags::folded)
            .select(tags::folded)
            .load(connection)?,
        images: post_media::table
            .inner_join(media::table)
            .filter(post_media::post_id.eq(id))
            .order(post_media::position)
            .select((media::sha256, media::mime, post_media::alt))
            .load(connection)?,
        old_ids: old_ids::table
            .filter(old_ids::post_id.eq(id))
            .order((old_ids::source, old_ids::old_id))
            .select((old_ids::source, old_ids::old_id))
            .load(connection)?,
        revisions: revisions::table
            .filter(revisions::post_id.eq(id))
            .order(revisions::id)
            .select((
                revisions::title,
                revisions::link,
                revisions::body,
                revisions::replaced_at,
            ))
            .load(connection)?,
    })
}

/// All tags: folded name and name, in the order in which they were made.
pub fn all_tags(connection: &mut SqliteConnection) -> QueryResult<Vec<(String, String)>> {
    tags::table
        .order(tags::id)
        .select((tags::folded, tags::name))
        .load(connection)
}

/// Images with a number above `after`, in order.
pub fn media_after(connection: &mut SqliteConnection, after: i64, limit: i64) -> QueryResult<Vec<(i64, MediaRow)>> {
    media::table
        .filter(media::id.gt(after))
        .order(media::id)
        .limit(limit)
        .select((media::id, MediaRow::as_select()))
        .load(connection)
}
