//! `POST /posts/{id}/edit`: saves the new text; the date of the post stays.

use actix_web::http::StatusCode;
use actix_web::web;

use super::{PostId, edit};
use crate::auth::OwnerForm;
use crate::db::queries::posts;
use crate::domain::{PostText, Stamp};
use crate::error::AppError;
use crate::routes::Answer;
use crate::routes::page;
use crate::startup::AppState;

pub async fn update(state: web::Data<AppState>, id: PostId, sent: OwnerForm) -> Answer {
    let OwnerForm { owner, form } = sent;
    let typed = form.get("body").unwrap_or_default();
    let text = match PostText::parse(typed) {
        Ok(text) => text,
        Err(problem) => {
            let status = StatusCode::UNPROCESSABLE_ENTITY;
            return edit::form(status, &state, &owner, id, typed, problem.to_string());
        }
    };
    let change = move |connection: &mut _| posts::update(connection, id.0, text.as_str(), Stamp::now());
    if state.db.write(change).await? {
        Ok(page::redirect(&format!("/posts/{}", id.0)))
    } else {
        Err(AppError::NotFound)
    }
}
