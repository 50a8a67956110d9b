//! `GET` and `POST /admin/posts/{id}/edit`: an old post in the form, and what becomes of it.

use actix_web::http::StatusCode;
use actix_web::web;

use super::compose::{self, Other, Purpose, Sheet};
use super::fields::{self, Pressed};
use crate::auth::{Owner, OwnerUpload};
use crate::db::models::Attached;
use crate::db::queries::media;
use crate::db::queries::writing::{self, Current, Edit, Updated};
use crate::domain::Stamp;
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
    let mut sheet = Sheet::new(purpose(&current, current.version()), &typed);
    sheet.images = Images::of_post(attached(&state, id).await?);
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
    let version = form.get("version").map(ToOwned::to_owned);
    let shown = version.clone().unwrap_or_else(|| current.version());
    let mut sheet = Sheet::new(purpose(&current, shown), &typed);
    // A form without the fields for images says nothing about them.
    let speaks = form.get("images").is_some() || !uploads.is_empty();
    sheet.images = if speaks {
        Images::read(&state, &form, uploads, &owner.1.lang.words().media).await?
    } else {
        Images::of_post(attached(&state, id).await?)
    };
    let images = sheet.images.attached();
    if let Some(status) = super::images_first(&mut sheet, pressed, &owner) {
        return compose::show(status, &state, &owner, sheet);
    }
    let (content, date) = match fields::parse(&typed, pressed, current.post.date(), state.zone) {
        Ok(parsed) => parsed,
        Err(problems) => {
            sheet.problems = problems;
            return compose::show(StatusCode::UNPROCESSABLE_ENTITY, &state, &owner, sheet);
        }
    };
    if sheet.image_problem.is_some() {
        return compose::show(StatusCode::UNPROCESSABLE_ENTITY, &state, &owner, sheet);
    }
    if pressed == Pressed::Preview {
        sheet.preview = Some(content);
        return compose::show(StatusCode::OK, &state, &owner, sheet);
    }
    let edit = Edit {
        version,
        content,
        intent: pressed.intent(),
        date,
    };
    let updated = state
        .db
        .write(move |connection| {
            let updated = writing::update(connection, id.0, &edit, Stamp::now())?;
            if matches!(updated, Updated::Saved(_) | Updated::Same(_)) {
                media::replace(connection, id.0, &images, Stamp::now())?;
            }
            Ok(updated)
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
            sheet.purpose = purpose(&saved, saved.version());
            compose::show(StatusCode::CONFLICT, &state, &owner, sheet)
        }
        Updated::Refused(problem) => {
            sheet.problems = vec![problem];
            compose::show(StatusCode::UNPROCESSABLE_ENTITY, &state, &owner, sheet)
        }
        Updated::NotFound => Err(AppError::NotFound),
    }
}
