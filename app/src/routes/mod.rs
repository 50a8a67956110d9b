//! Answers to requests: one verb per file. `table` lists which address leads where.

pub mod access;
pub mod entry;
pub mod feeds;
pub mod form;
pub mod health;
pub mod media;
pub mod micropub;
pub mod multipart;
pub mod page;
pub mod posts;
pub mod reading;
pub mod session;
pub mod style;
pub mod table;
pub mod upload;
pub mod writing;

pub use form::Form;

use actix_web::HttpResponse;

use crate::error::AppError;

type Answer = Result<HttpResponse, AppError>;

pub async fn not_found() -> Answer {
    Err(AppError::NotFound)
}
