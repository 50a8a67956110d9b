//! `POST /posts/{id}/delete`: deletes the post.

use actix_web::web;

use super::PostId;
use crate::auth::OwnerForm;
use crate::db::queries::posts;
use crate::routes::Answer;
use crate::routes::page;
use crate::startup::AppState;

/// A post that is gone already is what was asked for: a form sent twice ends in the same place.
pub async fn delete(state: web::Data<AppState>, id: PostId, _checked: OwnerForm) -> Answer {
    state
        .db
        .write(move |connection| posts::delete(connection, id.0))
        .await?;
    Ok(page::redirect("/"))
}
