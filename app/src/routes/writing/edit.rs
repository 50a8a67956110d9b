//! `GET` and `POST /admin/posts/{id}/edit`: an old post in the form, and what becomes of it.

use actix_web::http::StatusCode;
use actix_web::web;
use sha2::{Digest, Sha256};

use super::compose::{self, Other, Purpose, Sheet};
use super::fields::{self, Pressed};
use crate::auth::{Owner, OwnerUpload};
use crate::db::models::Attached;
use crate::db::queries::media;
use crate::db::queries::writing::{self, Current, Edit, Updated};
use crate::domain::{Stamp, hex};
use crate::error::AppError;
use crate::routes::Answer;
use crate::routes::media::Images;
use crate::routes::page;
use crate::routes::posts::PostId;
use crate::startup::AppState;

/// A post that is not in the trash.
pub async fn load(state: &AppState, id: PostId) -> Result<Current, AppError> {
    let current = state.db.read(move |connection| Current::load(connection, id.0)).await?;
    current
        .filter(|current| current.post.deleted_at().is_none())
        .ok_or(AppError::NotFound)
}

/// Of text, dates and images: a form that was shown before any of them changed is one that has not seen the change.
fn version(current: &Current, images: &[Attached]) -> String {
    let mut hash = Sha256::new();
    for image in images {
        hash.update(image.medium.hash());
        hash.update((image.alt.len() as u64).to_le_bytes());
        hash.update(&image.alt);
    }
    let images: [u8; 32] = hash.finalize().into();
    format!("{}.{}", current.version(), hex::encode(&images[..6]))
}

fn purpose(current: &Current, version: String) -> Purpose {
    Purpose::Edit {
        id: current.post.id,
        state: current.post.state,
        version,
        cancel: super::address_of(&current.post),
    }
}

pub async fn edit(state: web::Data<AppState>, id: PostId, owner: Owner) -> Answer {
    let current = load(&state, id).await?;
    let typed = fields::of_post(&current, state.zone);
    let images = attached(&state, id).await?;
    let mut sheet = Sheet::new(purpose(&current, version(&current, &images)), &typed);
    sheet.images = Images::of_post(images);
    compose::show(StatusCode::OK, &state, &owner, sheet)
}

async fn attached(state: &AppState, id: PostId) -> Result<Vec<Attached>, AppError> {
    state.db.read(move |connection| media::of_post(connection, id.0)).await
}

pub async fn update(state: web::Data<AppState>, id: PostId, sent: OwnerUpload) -> Answer {
    let OwnerUpload { owner, form, uploads } = sent;
    let current = load(&state, id).await?;
    let (typed, pressed) = (fields::typed(&form), Pressed::of(&form));
    // A program may leave it out, and means the post as it is now.
    let sent = form.get("version").map(ToOwned::to_owned);
    let before = attached(&state, id).await?;
    let shown = sent.clone().unwrap_or_else(|| version(&current, &before));
    let mut sheet = Sheet::new(purpose(&current, shown), &typed);
    // A form without the fields for images says nothing about them.
    let speaks = form.get("images").is_some() || !uploads.is_empty();
    sheet.images = if speaks {
        Images::read(&state, &form, uploads, &owner.1.lang.words().media).await?
    } else {
        Images::of_post(before)
    };
    let images = sheet.images.attached();
    if let Some(status) = super::images_first(&mut sheet, pressed, &owner) {
        return compose::show(status, &state, &owner, sheet);
    }
    let parsed = fields::parse(&typed, pressed, current.post.date(), state.zone);
    let (content, date) = match super::accepted(&mut sheet, parsed, pressed) {
        Ok(accepted) => accepted,
        Err(status) => return compose::show(status, &state, &owner, sheet),
    };
    let text_version = sent.as_deref().and_then(|sent| sent.split('.').next());
    let edit = Edit {
        version: text_version.map(ToOwned::to_owned),
        content,
        intent: pressed.intent(),
        date,
    };
    let (updated, now) = state
        .db
        .write(move |connection| {
            // Another window has changed the images, to others than this form has.
            if speaks && let Some((_, seen)) = sent.as_deref().and_then(|sent| sent.split_once('.')) {
                let now = media::of_post(connection, id.0)?;
                let Some(current) = Current::load(connection, id.0)? else {
                    return Ok((Updated::NotFound, now));
                };
                let unseen = !version(&current, &now).ends_with(seen);
                if unseen && !media::are(&now, &images) {
                    return Ok((Updated::Conflict(Box::new(current)), now));
                }
            }
            let updated = writing::update(connection, id.0, &edit, Stamp::now())?;
            if matches!(updated, Updated::Saved(_) | Updated::Same(_)) {
                media::replace(connection, id.0, &images, Stamp::now())?;
            }
            Ok((updated, media::of_post(connection, id.0)?))
        })
        .await?;
    match updated {
        Updated::Saved(post) => {
            state.schedule.notify_one();
            Ok(page::redirect(&super::address_of(&post)))
        }
        Updated::Same(post) => Ok(page::redirect(&super::address_of(&post))),
        Updated::Conflict(saved) => {
            sheet.other = Some(Other::of(&saved.post));
            sheet.notice = owner.1.lang.words().writing.saved_meanwhile;
            // With the version that was just shown: saving now is a decision.
            sheet.purpose = purpose(&saved, version(&saved, &now));
            compose::show(StatusCode::CONFLICT, &state, &owner, sheet)
        }
        Updated::Refused(problem) => {
            sheet.problems = vec![problem];
            compose::show(StatusCode::UNPROCESSABLE_ENTITY, &state, &owner, sheet)
        }
        Updated::NotFound => Err(AppError::NotFound),
    }
}
