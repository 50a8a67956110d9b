//! Addresses that posts had elsewhere: `/old/{source}/{id}`, and `/{user}/status/{id}` as on X.

use actix_web::web;

use super::moved;
use super::post::path;
use crate::db::queries::reading;
use crate::domain::Visibility;
use crate::error::AppError;
use crate::routes::Answer;
use crate::startup::AppState;

/// What the import of an X archive calls its source.
const X: &str = "x";

pub async fn by_source(state: web::Data<AppState>, at: web::Path<(String, String)>) -> Answer {
    let (source, id) = at.into_inner();
    find(&state, source, id).await
}

pub async fn status(state: web::Data<AppState>, at: web::Path<(String, String)>) -> Answer {
    find(&state, X.to_owned(), at.into_inner().1).await
}

async fn find(state: &AppState, source: String, id: String) -> Answer {
    let post = state
        .db
        .read(move |connection| reading::by_old_id(connection, &source, &id))
        .await?
        .ok_or(AppError::NotFound)?;
    // Old numbers can be counted, too: only what is public is found by them.
    if !post.is_readable() || post.visibility != Visibility::Public {
        return Err(AppError::NotFound);
    }
    Ok(moved(&path(&post)))
}
