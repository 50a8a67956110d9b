//! What becomes of a post: changed, into the trash, out of it again.

use actix_web::http::StatusCode;

use super::address::Addresses;
use super::create::{first_missing, images_of};
use super::query::properties_of;
use super::refusal::Refusal;
use super::{Outcome, created, empty};
use crate::db::queries::writing::{self, Current, Edit, Intent, Updated};
use crate::db::queries::{media, trash};
use crate::domain::Stamp;
use crate::media::store::Hash;
use crate::micropub::meaning::refused;
use crate::micropub::{Changes, Invalid, Meaning};
use crate::startup::AppState;

fn no_such_post() -> Invalid {
    Invalid::new("url: there is no such post on this blog")
}

/// Reads, changes and writes in one transaction.
pub async fn update(state: &AppState, addresses: &Addresses, url: &str, changes: Changes) -> Outcome {
    if changes.touches("in-reply-to") {
        return Err(Refusal::invalid("in-reply-to: a post stays where it is in its thread"));
    }
    let (names, url, zone) = (addresses.clone(), url.to_owned(), state.zone);
    let updated = state
        .db
        .write(move |connection| {
            let found = names.post(connection, &url)?;
            let Some(post) = found.filter(|post| post.deleted_at().is_none()) else {
                return Ok(Err(no_such_post()));
            };
            let before = names.of_post(&post);
            let Some(current) = Current::load(connection, post.id)? else {
                return Ok(Err(no_such_post()));
            };
            let attached = media::of_post(connection, post.id)?;
            let silent: Vec<Hash> = attached
                .iter()
                .filter(|image| image.alt.is_empty())
                .map(|image| image.medium.hash())
                .collect();
            let mut properties = properties_of(&current, &attached, &names, false);
            changes.apply(&mut properties);
            let prepared = Meaning::of(&properties, zone).and_then(|mut meaning| {
                meaning.typed.lang = current.content.lang.clone().unwrap_or_default();
                let images = images_of(&names, &meaning, Vec::new(), &silent)?;
                Ok((meaning.content()?, images, meaning))
            });
            let (content, images, meaning) = match prepared {
                Ok(prepared) => prepared,
                Err(invalid) => return Ok(Err(invalid)),
            };
            if let Some(missing) = first_missing(connection, &images)? {
                return Ok(Err(missing));
            }
            let edit = Edit {
                version: None,
                content,
                intent: if meaning.is_draft {
                    Intent::Draft
                } else {
                    Intent::Publish
                },
                date: meaning.date,
            };
            let now = Stamp::now();
            match writing::update(connection, post.id, &edit, now)? {
                Updated::Saved(post) | Updated::Same(post) => {
                    media::replace(connection, post.id, &images, now)?;
                    Ok(Ok((before, post)))
                }
                Updated::Refused(problem) => Ok(Err(refused(&[problem]))),
                // The version is not asked for, and the post was there a moment ago.
                Updated::Conflict(_) | Updated::NotFound => Ok(Err(no_such_post())),
            }
        })
        .await?;
    let (before, post) = updated?;
    state.schedule.notify_one();
    let after = addresses.of_post(&post);
    Ok(if after == before {
        empty(StatusCode::NO_CONTENT)
    } else {
        created(&after)
    })
}

/// Into the trash. What is there already is what was asked for.
pub async fn discard(state: &AppState, addresses: &Addresses, url: &str) -> Outcome {
    let (names, url) = (addresses.clone(), url.to_owned());
    let found = state
        .db
        .write(move |connection| match names.post(connection, &url)? {
            Some(post) => trash::discard(connection, post.id, Stamp::now()),
            None => Ok(false),
        })
        .await?;
    if found {
        Ok(empty(StatusCode::NO_CONTENT))
    } else {
        Err(no_such_post().into())
    }
}

/// Out of the trash, as it was.
pub async fn restore(state: &AppState, addresses: &Addresses, url: &str) -> Outcome {
    let (names, url) = (addresses.clone(), url.to_owned());
    let found = state
        .db
        .write(move |connection| match names.post(connection, &url)? {
            Some(post) => trash::restore(connection, post.id),
            None => Ok(false),
        })
        .await?;
    if !found {
        return Err(no_such_post().into());
    }
    // What was scheduled may be due by now.
    state.schedule.notify_one();
    Ok(empty(StatusCode::NO_CONTENT))
}
