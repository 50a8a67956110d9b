//! `POST /posts`: posts what was written, once per form however often it is sent.

use actix_web::http::StatusCode;
use actix_web::web;
use sha2::{Digest, Sha256};

use super::new;
use crate::auth::OwnerForm;
use crate::db::queries::posts::{self, Created, NewPost};
use crate::domain::{PostText, Stamp, hex, random};
use crate::error::AppError;
use crate::routes::Answer;
use crate::routes::page;
use crate::startup::AppState;

pub async fn create(state: web::Data<AppState>, sent: OwnerForm) -> Answer {
    let OwnerForm { owner, form } = sent;
    let key = form
        .get("key")
        .and_then(hex::decode::<16>)
        .ok_or(AppError::BadRequest)?;
    let typed = form.get("body").unwrap_or_default();
    let text = match PostText::parse(typed) {
        Ok(text) => text,
        Err(problem) => {
            let status = StatusCode::UNPROCESSABLE_ENTITY;
            return new::form(status, &state, &owner, Some(key), typed, problem.to_string());
        }
    };
    let post = NewPost {
        key,
        uuid: random::uuid()?,
        body: text.as_str().to_owned(),
        body_hash: Sha256::digest(text.as_str()).into(),
    };
    match state
        .db
        .write(move |connection| posts::create(connection, &post, Stamp::now()))
        .await?
    {
        Created::New { id, clock_behind } => {
            if clock_behind {
                tracing::warn!(
                    post = id,
                    "the clock is behind the newest post; the post got that post's time"
                );
            }
            Ok(page::redirect(&format!("/posts/{id}")))
        }
        Created::Again(Some(id)) => Ok(page::redirect(&format!("/posts/{id}"))),
        Created::Again(None) => Ok(page::redirect("/")),
        Created::OtherText => {
            let problem = "This form was posted before, with another text. Press Post to make a second post of it.";
            new::form(StatusCode::CONFLICT, &state, &owner, None, typed, problem.to_owned())
        }
    }
}
