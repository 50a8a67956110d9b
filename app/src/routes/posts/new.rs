//! `GET /posts/new`: an empty text box.

use actix_web::http::StatusCode;
use actix_web::{HttpResponse, web};

use super::Compose;
use crate::auth::Owner;
use crate::domain::{hex, random};
use crate::error::AppError;
use crate::routes::Answer;
use crate::routes::page::{self, Shell};
use crate::startup::AppState;

pub async fn new(state: web::Data<AppState>, owner: Owner) -> Answer {
    form(StatusCode::OK, &state, &owner, None, "", String::new())
}

/// The form, with the text and the key it had when it is shown again because of a problem.
pub fn form(
    status: StatusCode,
    state: &AppState,
    owner: &Owner,
    key: Option<[u8; 16]>,
    text: &str,
    problem: String,
) -> Result<HttpResponse, AppError> {
    let key = match key {
        Some(key) => key,
        None => random::bytes()?,
    };
    let compose = Compose {
        shell: Shell::owner(state, owner),
        heading: "Write a post",
        action: "/posts".to_owned(),
        button: "Post",
        csrf: owner.0.csrf(),
        key: hex::encode(&key),
        text,
        problem,
        cancel: "/".to_owned(),
    };
    page::render(status, &compose)
}
