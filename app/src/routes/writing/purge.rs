//! `GET` and `POST /admin/posts/{id}/purge`: out of the trash for good.

use actix_web::http::StatusCode;
use actix_web::web;

use super::discard::Confirm;
use super::shelf::Item;
use crate::auth::{Owner, OwnerForm};
use crate::db::queries::{posts, trash};
use crate::domain::markup;
use crate::error::AppError;
use crate::routes::Answer;
use crate::routes::page::{self, Shell};
use crate::routes::posts::PostId;
use crate::startup::AppState;

pub async fn ask(state: web::Data<AppState>, id: PostId, owner: Owner) -> Answer {
    let post = state.db.read(move |connection| posts::find(connection, id.0)).await?;
    let post = post.ok_or(AppError::NotFound)?;
    if post.deleted_at().is_none() {
        // First things first.
        return Ok(page::redirect(&format!("/admin/posts/{}/delete", post.id)));
    }
    let shell = Shell::owner(&state, &owner);
    let words = &shell.words.writing;
    let page = Confirm {
        words,
        csrf: owner.0.csrf(),
        question: words.purge_question,
        explanation: words.purge_explanation,
        action: format!("/admin/posts/{}/purge", post.id),
        button: words.purge,
        cancel: "/admin/trash".to_owned(),
        item: Item::new(&post, &shell),
        html: markup::html(&post.body),
        shell,
    };
    page::render(StatusCode::OK, &page)
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
