//! `GET /posts/{id}/delete`: asks before deleting, because without scripts nothing else could.

use actix_web::http::StatusCode;
use actix_web::web;
use askama::Template;

use super::PostId;
use crate::auth::Owner;
use crate::db::queries;
use crate::error::AppError;
use crate::routes::Answer;
use crate::routes::page::{self, Entry, Shell};
use crate::startup::AppState;

#[derive(Template)]
#[template(path = "delete.html")]
struct ConfirmDelete<'a> {
    shell: Shell<'a>,
    csrf: String,
    entry: Entry,
}

pub async fn confirm_delete(state: web::Data<AppState>, id: PostId, owner: Owner) -> Answer {
    let post = state
        .db
        .read(move |connection| queries::posts::find(connection, id.0))
        .await?;
    let post = post.ok_or(AppError::NotFound)?;
    let page = ConfirmDelete {
        shell: Shell::owner(&state, &owner),
        csrf: owner.0.csrf(),
        entry: Entry::from(&post),
    };
    page::render(StatusCode::OK, &page)
}
