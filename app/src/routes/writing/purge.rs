//! `GET` and `POST /admin/posts/{id}/purge`: out of the trash for good.

use actix_web::web;

use super::discard::{Confirm, Question};
use crate::auth::{Owner, OwnerForm};
use crate::db::queries::{posts, trash};
use crate::error::AppError;
use crate::routes::Answer;
use crate::routes::page;
use crate::routes::posts::PostId;
use crate::startup::AppState;

pub async fn ask(state: web::Data<AppState>, id: PostId, owner: Owner) -> Answer {
    let post = state.db.read(move |connection| posts::find(connection, id.0)).await?;
    let post = post.ok_or(AppError::NotFound)?;
    if post.deleted_at().is_none() {
        // First things first.
        return Ok(page::redirect(&format!("/admin/posts/{}/delete", post.id)));
    }
    Confirm::page(&state, &owner, &post, |words| Question {
        question: words.purge_question,
        explanation: words.purge_explanation,
        action: "purge",
        button: words.purge,
    })
}

/// What is gone already is what was asked for; what is not in the trash stays.
pub async fn purge(state: web::Data<AppState>, id: PostId, _checked: OwnerForm) -> Answer {
    let stays = state
        .db
        .write(move |connection| {
            let gone = trash::purge(connection, id.0)?;
            Ok(!gone && posts::find(connection, id.0)?.is_some())
        })
        .await?;
    if stays {
        Err(AppError::NotFound)
    } else {
        Ok(page::redirect("/admin/trash"))
    }
}
