//! `POST /micropub/media`: one image, stored for a post to come. Its text is asked for when a post shows it.

use actix_web::{HttpRequest, web};

use super::address::Addresses;
use super::refusal::{self, Refusal};
use super::{Outcome, created};
use crate::auth::bearer;
use crate::auth::scope::Scope;
use crate::routes::Answer;
use crate::routes::upload;
use crate::startup::AppState;
use crate::words::Lang;

pub async fn post(request: HttpRequest, state: web::Data<AppState>, payload: web::Payload) -> Answer {
    refusal::answer(store(&request, &state, payload).await)
}

async fn store(request: &HttpRequest, state: &AppState, payload: web::Payload) -> Outcome {
    bearer::program_of(request, None).await?.needs(Scope::Media)?;
    if !upload::is_multipart(request) {
        return Err(Refusal::invalid("send multipart/form-data with one part named file"));
    }
    let (_, uploads) = upload::receive(request, payload, Box::new(|_| true)).await?;
    let mut uploads = uploads.into_iter();
    let (Some(upload), None) = (uploads.next(), uploads.next()) else {
        return Err(Refusal::invalid("send one image, in a part named file"));
    };
    let words = &Lang::En.words().media;
    let medium = upload
        .outcome
        .map_err(|refused| Refusal::invalid(format!("file: {}", (words.refused)(&upload.name, &refused))))?;
    // The same image again is the same address: nothing is stored twice.
    Ok(created(&Addresses::of(request, state).public(&medium.path())))
}
