//! `GET` and `POST /admin/posts/{id}/edit`: an old post in the form, and what becomes of it.

use actix_web::http::StatusCode;
use actix_web::web;

use super::compose::{self, Other, Purpose, Sheet};
use super::fields::{self, Pressed};
use crate::auth::{Owner, OwnerForm};
use crate::db::queries::writing::{self, Current, Edit, Updated};
use crate::domain::Stamp;
use crate::error::AppError;
use crate::routes::Answer;
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
    let sheet = Sheet::new(purpose(&current, current.version()), &typed);
    compose::show(StatusCode::OK, &state, &owner, sheet)
}

pub async fn update(state: web::Data<AppState>, id: PostId, sent: OwnerForm) -> Answer {
    let OwnerForm { owner, form } = sent;
    let current = load(&state, id).await?;
    let (typed, pressed) = (fields::typed(&form), Pressed::of(&form));
    // A program may leave it out, and means the post as it is now.
    let version = form.get("version").map(ToOwned::to_owned);
    let shown = version.clone().unwrap_or_else(|| current.version());
    let mut sheet = Sheet::new(purpose(&current, shown), &typed);
    let (content, date) = match fields::parse(&typed, pressed, current.post.date(), state.zone) {
        Ok(parsed) => parsed,
        Err(problems) => {
            sheet.problems = problems;
            return compose::show(StatusCode::UNPROCESSABLE_ENTITY, &state, &owner, sheet);
        }
    };
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
        .write(move |connection| writing::update(connection, id.0, &edit, Stamp::now()))
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
