//! `POST /admin/posts/{id}/pin`: to the top of the front page (`pin=1`), or down again (`pin=0`).

use actix_web::web;

use crate::auth::OwnerForm;
use crate::db::queries::writing;
use crate::domain::Stamp;
use crate::error::AppError;
use crate::routes::Answer;
use crate::routes::page;
use crate::routes::posts::PostId;
use crate::startup::AppState;

pub async fn pin(state: web::Data<AppState>, id: PostId, sent: OwnerForm) -> Answer {
    let pinned = match sent.form.get("pin") {
        Some("1") => true,
        Some("0") => false,
        _ => return Err(AppError::BadRequest),
    };
    let found = state
        .db
        .write(move |connection| writing::set_pinned(connection, id.0, pinned, Stamp::now()))
        .await?;
    if !found {
        return Err(AppError::NotFound);
    }
    Ok(page::redirect("/admin"))
}
