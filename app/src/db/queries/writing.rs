//! Every change to what is written: new posts, edits with the version they replace, pins. Each function belongs into one
//! transaction of the caller's.

use diesel::prelude::*;
use diesel::sqlite::SqliteConnection;

use super::posts::find;
use super::transfer::{self, PostRow, RevisionRow};
use crate::db::models::Post;
use crate::db::run::RunQueryDsl;
use crate::db::schema::{compose_keys, post_tags, posts, tags};
use crate::domain::{Content, Kind, Problem, Stamp, State, Tag};

/// How long a sent form is remembered; nobody presses "back" after that.
const KEY_LIFE_SECONDS: i64 = 90 * 24 * 3600;

/// A post with all its dates, for `insert`.
#[derive(Debug, Clone)]
pub struct FullPost {
    pub uuid: String,
    pub content: Content,
    pub state: State,
    pub created_at: Stamp,
    pub published_at: Option<Stamp>,
    pub edited_at: Option<Stamp>,
    pub deleted_at: Option<Stamp>,
    pub pinned_at: Option<Stamp>,
}

/// Writes a post as it is, with its tags and its place in a thread. No clock is asked: for imports, and for `create`.
pub fn insert(connection: &mut SqliteConnection, new: &FullPost) -> QueryResult<i64> {
    let content = &new.content;
    let thread = content.reply_to.map(|id| thread_of(connection, id)).transpose()?;
    let seconds = |stamp: Option<Stamp>| stamp.map(|stamp| stamp.0);
    let row = PostRow {
        uuid: new.uuid.clone(),
        kind: content.kind,
        state: new.state,
        visibility: content.visibility,
        title: content.title.clone(),
        slug: content.slug.clone(),
        link: content.link.clone(),
        lang: content.lang.clone(),
        body: content.body.clone(),
        created_at: new.created_at.0,
        published_at: seconds(new.published_at),
        edited_at: seconds(new.edited_at),
        deleted_at: seconds(new.deleted_at),
        pinned_at: seconds(new.pinned_at),
        reply_to: content.reply_to,
        thread,
    };
    let id = transfer::insert(connection, &row, None)?;
    set_tags(connection, id, &content.tags)?;
    Ok(id)
}

/// The thread that an answer to `id` belongs to. The first answer makes its post the head of one.
fn thread_of(connection: &mut SqliteConnection, id: i64) -> QueryResult<i64> {
    let known = posts::table
        .find(id)
        .select(posts::thread)
        .first::<Option<i64>>(connection)?;
    if let Some(thread) = known {
        return Ok(thread);
    }
    diesel::update(posts::table.find(id))
        .set(posts::thread.eq(id))
        .execute(connection)?;
    Ok(id)
}

/// What the owner pressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Intent {
    Draft,
    /// At once, or at the date given: a date to come makes it scheduled, one that is past dates it back.
    Publish,
}

/// The latest moment that is known to have been: the clock's, or the newest post's if the clock lags behind it. The Pi
/// has no clock that runs without power. Order matters more than the hour.
pub fn latest_moment(connection: &mut SqliteConnection, now: Stamp) -> QueryResult<Stamp> {
    let newest = posts::table
        .filter(posts::state.eq(State::Published))
        .select(diesel::dsl::max(posts::published_at))
        .first::<Option<i64>>(connection)?;
    Ok(newest.map_or(now, |newest| now.max(Stamp(newest))))
}

/// State and date of what is published now or at `date`.
fn place(intent: Intent, date: Option<Stamp>, latest: Stamp) -> (State, Option<Stamp>) {
    match (intent, date) {
        (Intent::Draft, date) => (State::Draft, date),
        (Intent::Publish, None) => (State::Published, Some(latest)),
        (Intent::Publish, Some(date)) if date > latest => (State::Scheduled, Some(date)),
        (Intent::Publish, Some(date)) => (State::Published, Some(date)),
    }
}

/// A form with a new post, as sent.
#[derive(Debug)]
pub struct NewPost {
    pub key: [u8; 16],
    /// Of all fields of the form.
    pub form_hash: [u8; 32],
    pub uuid: String,
    pub content: Content,
    pub intent: Intent,
    pub date: Option<Stamp>,
}

#[derive(Debug, PartialEq, Eq)]
pub enum Created {
    /// `clock_behind`: the clock was earlier than the newest post.
    New {
        id: i64,
        clock_behind: bool,
    },
    /// This form was sent before with the same fields. `None`: its post is purged by now.
    Again(Option<i64>),
    /// This form was sent before with other fields, which must not be lost.
    Other(Option<i64>),
    Refused(Problem),
}

/// Posts once per form: the key and the post are written in the caller's one transaction.
pub fn create(connection: &mut SqliteConnection, new: &NewPost, now: Stamp) -> QueryResult<Created> {
    let earlier = compose_keys::table
        .find(new.key.as_slice())
        .select((compose_keys::body_hash, compose_keys::post_id))
        .first::<(Vec<u8>, Option<i64>)>(connection)
        .optional()?;
    if let Some((hash, id)) = earlier {
        return Ok(if hash == new.form_hash {
            Created::Again(id)
        } else {
            Created::Other(id)
        });
    }
    if let Some(problem) = refusal(connection, None, &new.content)? {
        return Ok(Created::Refused(problem));
    }
    let latest = latest_moment(connection, now)?;
    let (state, published_at) = place(new.intent, new.date, latest);
    let post = FullPost {
        uuid: new.uuid.clone(),
        content: new.content.clone(),
        state,
        created_at: now,
        published_at,
        edited_at: None,
        deleted_at: None,
        pinned_at: None,
    };
    let id = insert(connection, &post)?;
    diesel::delete(compose_keys::table.filter(compose_keys::created_at.lt(now.0 - KEY_LIFE_SECONDS)))
        .execute(connection)?;
    diesel::insert_into(compose_keys::table)
        .values((
            compose_keys::key.eq(new.key.as_slice()),
            compose_keys::body_hash.eq(new.form_hash.as_slice()),
            compose_keys::post_id.eq(id),
            compose_keys::created_at.eq(now.0),
        ))
        .execute(connection)?;
    Ok(Created::New {
        id,
        clock_behind: state == State::Published && new.date.is_none() && latest > now,
    })
}

/// Whether something was posted under this key.
pub fn knows_key(connection: &mut SqliteConnection, key: &[u8; 16]) -> QueryResult<bool> {
    let found = compose_keys::table
        .find(key.as_slice())
        .select(compose_keys::created_at);
    Ok(found.first::<i64>(connection).optional()?.is_some())
}

/// What the other rows forbid.
fn refusal(connection: &mut SqliteConnection, id: Option<i64>, content: &Content) -> QueryResult<Option<Problem>> {
    if let Some(slug) = &content.slug {
        let owner = posts::table.filter(posts::slug.eq(slug)).select(posts::id);
        let owner = owner.first::<i64>(connection).optional()?;
        if owner.is_some() && owner != id {
            return Ok(Some(Problem::SlugTaken(slug.clone())));
        }
    }
    if let Some(before) = content.reply_to {
        let found = posts::table
            .find(before)
            .filter(posts::kind.ne(Kind::Page))
            .select(posts::id);
        if found.first::<i64>(connection).optional()?.is_none() || Some(before) == id {
            return Ok(Some(Problem::NoSuchPost));
        }
    }
    Ok(None)
}

/// What a post says now, with its tags.
pub fn content_of(connection: &mut SqliteConnection, post: &Post) -> QueryResult<Content> {
    Ok(Content {
        kind: post.kind,
        visibility: post.visibility,
        title: post.title.clone(),
        slug: post.slug.clone(),
        link: post.link.clone(),
        lang: post.lang.clone(),
        body: post.body.clone(),
        tags: tags_of(connection, post.id)?,
        reply_to: post.reply_to,
    })
}

/// In the order of their names.
pub fn tags_of(connection: &mut SqliteConnection, id: i64) -> QueryResult<Vec<Tag>> {
    let rows = post_tags::table
        .inner_join(tags::table)
        .filter(post_tags::post_id.eq(id))
        .order(tags::folded)
        .select((tags::name, tags::folded))
        .load::<(String, String)>(connection)?;
    Ok(rows.into_iter().map(|(name, folded)| Tag { name, folded }).collect())
}

/// A post as it stands, and a number that changes whenever it is saved differently.
#[derive(Debug, Clone)]
pub struct Current {
    pub post: Post,
    pub content: Content,
}

impl Current {
    pub fn load(connection: &mut SqliteConnection, id: i64) -> QueryResult<Option<Self>> {
        let Some(post) = find(connection, id)? else {
            return Ok(None);
        };
        let content = content_of(connection, &post)?;
        Ok(Some(Self { post, content }))
    }

    /// For the hidden field of a form: whoever saves over a version that they have not seen is told.
    pub fn version(&self) -> String {
        version(&self.content, self.post.state, self.post.date())
    }
}

fn version(content: &Content, state: State, date: Option<Stamp>) -> String {
    let hash = crate::domain::hex::encode(&content.hash()[..12]);
    let date = date.map_or(String::new(), |date| date.0.to_string());
    format!("{hash}-{}-{date}", state.word())
}

/// An edit, as sent.
#[derive(Debug)]
pub struct Edit {
    /// Of the post that the form showed. None: whatever it is now.
    pub version: Option<String>,
    pub content: Content,
    pub intent: Intent,
    /// None: what is published keeps its date, what is not gets the present.
    pub date: Option<Stamp>,
}

#[derive(Debug)]
pub enum Updated {
    Saved(Post),
    /// Nothing differs: the same form again, or no change was made.
    Same(Post),
    /// Somebody (another tab) has saved it since.
    Conflict(Box<Current>),
    Refused(Problem),
    NotFound,
}

/// Saves an edit and keeps what it replaces. A post in the trash is not edited.
pub fn update(connection: &mut SqliteConnection, id: i64, edit: &Edit, now: Stamp) -> QueryResult<Updated> {
    let Some(current) = Current::load(connection, id)? else {
        return Ok(Updated::NotFound);
    };
    let (post, old) = (&current.post, &current.content);
    if post.deleted_at().is_some() {
        return Ok(Updated::NotFound);
    }
    // A form does not move a post to another place of its thread.
    let content = Content {
        reply_to: old.reply_to,
        ..edit.content.clone()
    };
    let latest = latest_moment(connection, now)?;
    let date = match (edit.intent, edit.date) {
        (Intent::Publish, None) if post.state == State::Published => post.date(),
        (_, date) => date,
    };
    let (state, published_at) =
        if post.state == State::Published && date == post.date() && edit.intent == Intent::Publish {
            (State::Published, date)
        } else {
            place(edit.intent, date, latest)
        };
    let before = current.version();
    // The form sent twice finds here what it wrote itself.
    if version(&content, state, published_at) == before {
        return Ok(Updated::Same(current.post));
    }
    if edit.version.as_ref().is_some_and(|version| *version != before) {
        return Ok(Updated::Conflict(Box::new(current)));
    }
    if let Some(problem) = refusal(connection, Some(id), &content)? {
        return Ok(Updated::Refused(problem));
    }

    let rewritten = (&content.title, &content.link, &content.body) != (&old.title, &old.link, &old.body);
    let moment = latest.max(post.updated_at());
    if rewritten {
        let replaced = RevisionRow {
            title: old.title.clone(),
            link: old.link.clone(),
            body: old.body.clone(),
            replaced_at: moment.0,
        };
        transfer::add_revision(connection, id, &replaced)?;
    }
    // Readers have seen only what was published before.
    let edited_at = if rewritten && post.state == State::Published && state == State::Published {
        Some(moment)
    } else {
        post.edited_at()
    };
    let saved = diesel::update(posts::table.find(id))
        .set((
            (
                posts::kind.eq(content.kind),
                posts::state.eq(state),
                posts::visibility.eq(content.visibility),
                posts::title.eq(&content.title),
                posts::slug.eq(&content.slug),
                posts::link.eq(&content.link),
                posts::lang.eq(&content.lang),
                posts::body.eq(&content.body),
            ),
            (
                posts::published_at.eq(published_at.map(|date| date.0)),
                posts::edited_at.eq(edited_at.map(|date| date.0)),
            ),
        ))
        .returning(Post::as_returning())
        .get_result::<Post>(connection)?;
    if content.tags != old.tags {
        set_tags(connection, id, &content.tags)?;
    }
    Ok(Updated::Saved(saved))
}

/// Makes these the tags of the post; a tag that no post has any more goes.
pub fn set_tags(connection: &mut SqliteConnection, id: i64, wanted: &[Tag]) -> QueryResult<()> {
    let had = post_tags::table
        .filter(post_tags::post_id.eq(id))
        .select(post_tags::tag_id)
        .load::<i64>(connection)?;
    diesel::delete(post_tags::table.filter(post_tags::post_id.eq(id))).execute(connection)?;
    for tag in wanted {
        let tag_id = transfer::make_tag(connection, &tag.folded, &tag.name)?;
        transfer::tag(connection, id, tag_id)?;
    }
    for tag_id in had {
        drop_unused(connection, tag_id)?;
    }
    Ok(())
}

fn drop_unused(connection: &mut SqliteConnection, tag_id: i64) -> QueryResult<()> {
    let used = post_tags::table
        .filter(post_tags::tag_id.eq(tag_id))
        .select(post_tags::post_id);
    if used.first::<i64>(connection).optional()?.is_none() {
        diesel::delete(tags::table.find(tag_id)).execute(connection)?;
    }
    Ok(())
}

/// Pins a post to the front page, or takes the pin out. False when there is no such post.
pub fn set_pinned(connection: &mut SqliteConnection, id: i64, pinned: bool, now: Stamp) -> QueryResult<bool> {
    let at = pinned.then_some(now.0);
    let changed = diesel::update(posts::table.find(id).filter(posts::deleted_at.is_null()))
        .filter(posts::kind.ne(Kind::Page))
        .set(posts::pinned_at.eq(at))
        .execute(connection)?;
    Ok(changed > 0)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::db::queries::{due, trash};
    use crate::domain::{Typed, random};

    fn database() -> SqliteConnection {
        let mut connection = SqliteConnection::establish(":memory:").unwrap();
        crate::db::migrate::run(&mut connection, ":memory:").unwrap();
        connection
    }

    fn content(body: &str) -> Content {
        let typed = Typed {
            body: body.to_owned(),
            ..Typed::default()
        };
        Content::parse(&typed, false).unwrap()
    }

    fn new(key: u8, body: &str) -> NewPost {
        NewPost {
            key: [key; 16],
            form_hash: [u8::try_from(body.len()).unwrap(); 32],
            uuid: random::uuid().unwrap(),
            content: content(body),
            intent: Intent::Publish,
            date: None,
        }
    }

    fn post(connection: &mut SqliteConnection, key: u8, now: i64) -> i64 {
        match create(connection, &new(key, "text"), Stamp(now)).unwrap() {
            Created::New { id, .. } => id,
            other => panic!("{other:?}"),
        }
    }

    fn edit(body: &str) -> Edit {
        Edit {
            version: None,
            content: content(body),
            intent: Intent::Publish,
            date: None,
        }
    }

    #[test]
    fn one_form_posts_once() {
        let db = &mut database();
        let id = post(db, 1, 1000);
        let again = create(db, &new(1, "text"), Stamp(1001)).unwrap();
        assert_eq!(again, Created::Again(Some(id)));
        let other = create(db, &new(1, "other text"), Stamp(1001)).unwrap();
        assert_eq!(other, Created::Other(Some(id)));
        assert!(!trash::purge(db, id).unwrap(), "only out of the trash");
        assert!(trash::discard(db, id, Stamp(1002)).unwrap());
        assert!(trash::purge(db, id).unwrap());
        assert_eq!(create(db, &new(1, "text"), Stamp(1002)).unwrap(), Created::Again(None));
        assert_eq!(post(db, 2, 1003), id + 1, "ids are not used twice");
    }

    #[test]
    fn a_lagging_clock_does_not_reorder_posts() {
        let db = &mut database();
        post(db, 1, 5000);
        let created = create(db, &new(2, "text"), Stamp(10)).unwrap();
        assert_eq!(
            created,
            Created::New {
                id: 2,
                clock_behind: true
            }
        );
        assert_eq!(find(db, 2).unwrap().unwrap().published_at(), Stamp(5000));
        let Updated::Saved(post) = update(db, 2, &edit("new"), Stamp(20)).unwrap() else {
            panic!("not saved");
        };
        assert_eq!(
            (post.edited_at(), post.published_at()),
            (Some(Stamp(5000)), Stamp(5000))
        );
    }

    #[test]
    fn an_unchanged_text_is_not_edited() {
        let db = &mut database();
        let id = post(db, 1, 1000);
        assert!(matches!(
            update(db, id, &edit("text"), Stamp(2000)).unwrap(),
            Updated::Same(_)
        ));
        assert_eq!(find(db, id).unwrap().unwrap().edited_at(), None);
        assert!(matches!(
            update(db, 99, &edit("text"), Stamp(2000)).unwrap(),
            Updated::NotFound
        ));
    }

    #[test]
    fn what_is_due_comes_out_once_and_in_order() {
        let db = &mut database();
        let later = |key: u8, date: i64| NewPost {
            date: Some(Stamp(date)),
            ..new(key, "text")
        };
        for (key, date) in [(1, 3000), (2, 2000), (3, 9000)] {
            create(db, &later(key, date), Stamp(1000)).unwrap();
        }
        assert_eq!(due::next(db).unwrap(), Some(Stamp(2000)));
        assert_eq!(due::publish(db, Stamp(1999)).unwrap(), 0);
        assert_eq!(due::publish(db, Stamp(2000)).unwrap(), 1);
        // A clock that fell behind has seen 2000 all the same.
        assert_eq!(due::publish(db, Stamp(5)).unwrap(), 0);
        assert_eq!(due::publish(db, Stamp(3500)).unwrap(), 1);
        assert_eq!(due::next(db).unwrap(), Some(Stamp(9000)));
        trash::discard(db, 3, Stamp(3600)).unwrap();
        assert_eq!(due::publish(db, Stamp(9999)).unwrap(), 0, "not from the trash");
        assert_eq!(due::next(db).unwrap(), None);
        let dates: Vec<_> = [1, 2]
            .map(|id| find(db, id).unwrap().unwrap().published_at().0)
            .to_vec();
        assert_eq!(dates, [3000, 2000]);
    }

    #[test]
    fn a_post_is_inserted_as_it_is() {
        let db = &mut database();
        let mut full = FullPost {
            uuid: random::uuid().unwrap(),
            content: content("old #tag"),
            state: State::Published,
            created_at: Stamp(10),
            published_at: Some(Stamp(5)),
            edited_at: Some(Stamp(7)),
            deleted_at: None,
            pinned_at: Some(Stamp(8)),
        };
        let first = insert(db, &full).unwrap();
        full.uuid = random::uuid().unwrap();
        full.content.reply_to = Some(first);
        let second = insert(db, &full).unwrap();
        let row = find(db, first).unwrap().unwrap();
        assert_eq!(
            (row.published_at(), row.edited_at(), row.thread),
            (Stamp(5), Some(Stamp(7)), Some(first))
        );
        assert_eq!(find(db, second).unwrap().unwrap().thread, Some(first));
        assert_eq!(tags_of(db, second).unwrap()[0].folded, "tag");
    }
}
