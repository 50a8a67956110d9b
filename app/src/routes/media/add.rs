//! `POST /admin/media`: stores images that no post shows yet.

use actix_web::http::StatusCode;
use actix_web::web;

use super::list;
use crate::auth::OwnerUpload;
use crate::routes::Answer;
use crate::startup::AppState;

pub async fn add(state: web::Data<AppState>, sent: OwnerUpload) -> Answer {
    let OwnerUpload { owner, uploads, .. } = sent;
    let words = &owner.1.lang.words().media;
    let refused: Vec<String> = uploads
        .iter()
        .filter_map(|upload| Some((words.refused)(&upload.name, upload.outcome.as_ref().err()?)))
        .collect();
    let stored = uploads.len() - refused.len();
    let problem = if uploads.is_empty() {
        words.nothing_chosen.to_owned()
    } else {
        refused.join(" ")
    };
    let done = if stored > 0 {
        (words.added)(stored)
    } else {
        String::new()
    };
    // No redirect: sent again, the same images are the same images.
    let status = if problem.is_empty() {
        StatusCode::OK
    } else {
        StatusCode::UNPROCESSABLE_ENTITY
    };
    list::page(status, &state, &owner, None, problem, done).await
}
