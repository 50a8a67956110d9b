//! The stylesheet, inside the program, at an address made of its content: it may be kept for ever.

use std::sync::LazyLock;

use actix_web::http::header;
use actix_web::{HttpResponse, web};
use sha2::{Digest, Sha256};

use super::Answer;
use crate::domain::hex;
use crate::error::AppError;

const STYLE: &str = include_str!("../../static/style.css");

static PATH: LazyLock<String> = LazyLock::new(|| {
    let hash = Sha256::digest(STYLE);
    format!("/style-{}.css", hex::encode(&hash[..8]))
});

pub fn path() -> &'static str {
    &PATH
}

/// `GET /style-{hash}.css`
pub async fn show(hash: web::Path<String>) -> Answer {
    if format!("/style-{hash}.css") != path() {
        return Err(AppError::NotFound);
    }
    Ok(HttpResponse::Ok()
        .insert_header((header::CONTENT_TYPE, "text/css; charset=utf-8"))
        .insert_header((header::CACHE_CONTROL, "public, max-age=31536000, immutable"))
        .body(STYLE))
}
