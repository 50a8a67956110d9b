//! Posts: writing, editing and deleting it.

pub mod confirm_delete;
pub mod create;
pub mod delete;
pub mod edit;
pub mod new;
pub mod update;

use std::future::{Ready, ready};

use actix_web::dev::Payload;
use actix_web::{FromRequest, HttpRequest};
use askama::Template;

use super::page::Shell;
use crate::error::AppError;

/// The number in `/posts/{id}`. Anything that is not the one spelling of a number is no address of a post.
#[derive(Debug, Clone, Copy)]
pub struct PostId(pub i64);

impl FromRequest for PostId {
    type Error = AppError;
    type Future = Ready<Result<Self, AppError>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let text = request.match_info().get("id").unwrap_or_default();
        let id = text.parse::<i64>().ok().filter(|id| *id > 0 && id.to_string() == text);
        ready(id.map(Self).ok_or(AppError::NotFound))
    }
}

/// The page with the text box, for a new post and for an old one.
#[derive(Template)]
#[template(path = "compose.html")]
struct Compose<'a> {
    shell: Shell<'a>,
    heading: &'a str,
    action: String,
    button: &'a str,
    csrf: String,
    /// Empty when editing: sending an edit twice does no harm.
    key: String,
    text: &'a str,
    problem: String,
    cancel: String,
}
