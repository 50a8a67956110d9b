//! `POST /admin/media/delete`: deletes an image that no post shows.

use actix_web::http::StatusCode;
use actix_web::web;

use super::list;
use crate::auth::OwnerForm;
use crate::db::queries;
use crate::error::AppError;
use crate::media::store::parse_name;
use crate::routes::{Answer, page};
use crate::startup::AppState;

pub async fn delete(state: web::Data<AppState>, sent: OwnerForm) -> Answer {
    let OwnerForm { owner, form } = sent;
    let (hash, format) = form.get("image").and_then(parse_name).ok_or(AppError::BadRequest)?;
    let deleted = state
        .db
        .write(move |connection| {
            let there = queries::media::find(connection, &hash)?.is_some();
            Ok(!there || queries::media::delete_unused(connection, &hash)?)
        })
        .await?;
    if !deleted {
        let problem = owner.1.lang.words().media.in_use.to_owned();
        return list::page(StatusCode::CONFLICT, &state, &owner, None, problem, String::new()).await;
    }
    // The row is gone for good; only now the file. Among writers again: an upload of the same image waits, or has won.
    let store = state.media.clone();
    let removed = state
        .db
        .write(move |connection| match queries::media::find(connection, &hash)? {
            None => Ok(store.remove(&hash, format)),
            Some(_) => Ok(Ok(())),
        });
    if let Err(error) = removed.await? {
        tracing::warn!(error = %error, "the file of a deleted image stays; `blog check` finds it");
    }
    Ok(page::redirect("/admin/media"))
}
