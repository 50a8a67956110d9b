//! The stylesheet, inside the program, at an address made of its content: it may be kept for ever. Compressed once.

use std::sync::LazyLock;

use actix_web::{HttpRequest, web};
use sha2::{Digest, Sha256};

use super::Answer;
use crate::domain::hex;
use crate::error::AppError;
use crate::page_cache::Page;

const STYLE: &str = include_str!("../../static/style.css");

static PATH: LazyLock<String> = LazyLock::new(|| {
    let hash = Sha256::digest(STYLE);
    format!("/style-{}.css", hex::encode(&hash[..8]))
});

static PAGE: LazyLock<Page> = LazyLock::new(|| Page::lasting("text/css; charset=utf-8", STYLE));

pub fn path() -> &'static str {
    &PATH
}

/// `GET /style-{hash}.css`
pub async fn show(request: HttpRequest, hash: web::Path<String>) -> Answer {
    if format!("/style-{hash}.css") != path() {
        return Err(AppError::NotFound);
    }
    Ok(PAGE.answer(&request))
}
