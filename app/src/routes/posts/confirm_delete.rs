//! `GET /posts/{id}/delete`: asks before deleting, because without scripts nothing else could.

use actix_web::http::StatusCode;
use actix_web::web;
use askama::Template;

use super::PostId;
use crate::auth::Owner;
use crate::db::queries;
use crate::error::AppError;
use crate::routes::Answer;
use crate::routes::entry::Entry;
use crate::routes::page::{self, Shell};
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
        .read(move |connection| {
            let post = queries::posts::find(connection, id.0)?;
            queries::reading::shown(connection, post.into_iter().collect())
        })
        .await?;
    let shown = post.into_iter().next().ok_or(AppError::NotFound)?;
    let page = ConfirmDelete {
        shell: Shell::owner(&state, &owner),
        csrf: owner.0.csrf(),
        entry: Entry::whole(shown, state.zone),
    };
    page::render(StatusCode::OK, &page)
}
