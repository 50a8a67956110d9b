//! The number of a post in an address.

use std::future::{Ready, ready};

use actix_web::dev::Payload;
use actix_web::{FromRequest, HttpRequest};

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
