//! A new post, once per `Idempotency-Key` however often it is sent; without one, once in a few minutes.

use diesel::prelude::*;
use diesel::sqlite::SqliteConnection;
use sha2::{Digest, Sha256};

use super::address::Addresses;
use super::refusal::Refusal;
use super::{Outcome, created};
use crate::auth::bearer::Program;
use crate::db::models::Post;
use crate::db::queries::writing::{self, Created, Intent, NewPost};
use crate::db::queries::{media, posts};
use crate::domain::{Content, Kind, Stamp, post_text, random};
use crate::media::store::Hash;
use crate::micropub::{Invalid, Meaning, Properties};
use crate::routes::upload::{MAX_FILES, Upload};
use crate::startup::AppState;
use crate::words::Lang;

/// The same post from the same program within so many seconds is a request that was sent again. Up to twice as long,
/// because the clock is cut into pieces of this length.
const AGAIN_SECONDS: i64 = 600;

/// Stored, and why not; `already` are images that the post has without a text, which was decided before.
pub type Images = Vec<(Hash, String)>;

pub async fn create(
    state: &AppState,
    addresses: &Addresses,
    program: &Program,
    key: Option<Vec<u8>>,
    properties: &Properties,
    uploads: Vec<Upload>,
) -> Outcome {
    let mut meaning = Meaning::of(properties, state.zone)?;
    let images = images_of(addresses, &meaning, uploads, &[])?;
    // What can be said about the text alone is said before anything is looked up.
    meaning.content()?;
    let (names, program, uuid) = (
        addresses.clone(),
        program.id,
        random::uuid().map_err(crate::error::AppError::from)?,
    );
    let intent = if meaning.is_draft {
        Intent::Draft
    } else {
        Intent::Publish
    };
    let now = Stamp::now();
    let done = state
        .db
        .write(move |connection| {
            if let Some(url) = &meaning.in_reply_to {
                match continued(connection, &names, url)? {
                    Some(id) => meaning.typed.reply_to = id.to_string(),
                    None => return Ok(Err(not_ours())),
                }
            }
            let content = match meaning.content() {
                Ok(content) => content,
                Err(invalid) => return Ok(Err(invalid)),
            };
            if let Some(missing) = first_missing(connection, &images)? {
                return Ok(Err(missing));
            }
            let form_hash = hash(&content, meaning.is_draft, meaning.date, &images);
            let new = NewPost {
                key: key_of(connection, program, key.as_deref(), &form_hash, now)?,
                form_hash,
                uuid,
                content,
                intent,
                date: meaning.date,
            };
            let created = writing::create(connection, &new, now)?;
            if let Created::New { id, .. } = &created {
                media::attach(connection, *id, &images)?;
            }
            let id = match &created {
                Created::New { id, .. } => Some(*id),
                Created::Again(id) | Created::Other(id) => *id,
                Created::Refused(_) => None,
            };
            let post = id.map(|id| posts::find(connection, id)).transpose()?.flatten();
            Ok(Ok((created, post)))
        })
        .await?;
    let (done, post): (Created, Option<Post>) = done?;
    match done {
        Created::New { id, clock_behind } => {
            state.post_was_made(id, clock_behind);
        }
        Created::Again(_) => {}
        Created::Other(_) => return Err(Refusal::KeyUsed),
        Created::Refused(problem) => return Err(crate::micropub::meaning::refused(&[problem]).into()),
    }
    // None: it was posted, and the owner has thrown it away for good since.
    let post = post.ok_or_else(|| Refusal::invalid("this post was sent before, and its owner has deleted it"))?;
    Ok(created(&addresses.of_post(&post)))
}

fn not_ours() -> Invalid {
    Invalid::new("in-reply-to: there is no such post on this blog; it continues its own posts alone")
}

/// The post that a new one continues.
fn continued(connection: &mut SqliteConnection, addresses: &Addresses, url: &str) -> QueryResult<Option<i64>> {
    let found = addresses.post(connection, url)?;
    let fits = |post: &Post| post.deleted_at().is_none() && post.kind != Kind::Page;
    Ok(found.filter(fits).map(|post| post.id))
}

/// Those named by address, then those that came along; each with its text. `silent` are images whose owner has said that
/// they need none.
pub fn images_of(
    addresses: &Addresses,
    meaning: &Meaning,
    uploads: Vec<Upload>,
    silent: &[Hash],
) -> Result<Images, Invalid> {
    let words = &Lang::En.words().media;
    let mut images = Images::new();
    for photo in &meaning.photos {
        let hash = addresses.image(&photo.address).ok_or_else(|| {
            Invalid::new("photo: no image of this blog has this address; send it to the media endpoint first")
        })?;
        images.push((hash, photo.alt.clone().unwrap_or_default()));
    }
    let mut alts = meaning.more_alts.iter();
    for upload in uploads {
        let medium = upload
            .outcome
            .map_err(|refused| Invalid(format!("photo: {}", (words.refused)(&upload.name, &refused))))?;
        let alt = alts.next().map(|alt| post_text::alt(alt)).unwrap_or_default();
        images.push((medium.hash(), alt));
    }
    if images.len() > MAX_FILES {
        return Err(Invalid(format!("photo: a post has at most {MAX_FILES} images")));
    }
    for (n, (hash, alt)) in (1..).zip(&images) {
        if alt.is_empty() && !silent.contains(hash) {
            return Err(Invalid(format!(
                "photo: image {n} has no text. Send {{\"value\": ADDRESS, \"alt\": TEXT}}, or mp-photo-alt in a form, for \
                 those who do not see it"
            )));
        }
    }
    Ok(images)
}

/// The first image that is not stored.
pub fn first_missing(connection: &mut SqliteConnection, images: &Images) -> QueryResult<Option<Invalid>> {
    for (n, (hash, _)) in (1..).zip(images) {
        if media::find(connection, hash)?.is_none() {
            return Ok(Some(Invalid(format!("photo: image {n} is not stored here (any more)"))));
        }
    }
    Ok(None)
}

/// Of everything that was sent: the same post has the same.
fn hash(content: &Content, is_draft: bool, date: Option<Stamp>, images: &Images) -> [u8; 32] {
    let date = date.map_or(String::new(), |date| date.0.to_string());
    let mut hash = Sha256::new()
        .chain_update("micropub")
        .chain_update(content.hash())
        .chain_update([u8::from(is_draft), u8::try_from(date.len()).unwrap_or_default()])
        .chain_update(date);
    for (image, alt) in images {
        hash.update(image);
        hash.update((alt.len() as u64).to_le_bytes());
        hash.update(alt);
    }
    hash.finalize().into()
}

/// What `writing::create` knows a request by. Two programs never have the same.
fn key_of(
    connection: &mut SqliteConnection,
    program: i64,
    sent: Option<&[u8]>,
    hash: &[u8; 32],
    now: Stamp,
) -> QueryResult<[u8; 16]> {
    let key = |kind: &str, text: &[u8]| {
        let digest = Sha256::new()
            .chain_update(kind)
            .chain_update(program.to_le_bytes())
            .chain_update(text)
            .finalize();
        let mut key = [0; 16];
        key.copy_from_slice(&digest[..16]);
        key
    };
    if let Some(sent) = sent {
        return Ok(key("micropub key ", sent));
    }
    let piece = now.0.div_euclid(AGAIN_SECONDS);
    let of = |piece: i64| key("micropub again ", &[&hash[..], &piece.to_le_bytes()].concat());
    let before = of(piece - 1);
    Ok(if writing::knows_key(connection, &before)? {
        before
    } else {
        of(piece)
    })
}
