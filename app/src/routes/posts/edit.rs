//! `GET /posts/{id}/edit`: the text box with an old post in it.

use actix_web::http::StatusCode;
use actix_web::{HttpResponse, web};

use super::{Compose, PostId};
use crate::auth::Owner;
use crate::db::queries;
use crate::error::AppError;
use crate::routes::Answer;
use crate::routes::page::{self, Shell};
use crate::startup::AppState;

pub async fn edit(state: web::Data<AppState>, id: PostId, owner: Owner) -> Answer {
    let post = state
        .db
        .read(move |connection| queries::posts::find(connection, id.0))
        .await?;
    let post = post.ok_or(AppError::NotFound)?;
    form(StatusCode::OK, &state, &owner, id, &post.body, String::new())
}

pub fn form(
    status: StatusCode,
    state: &AppState,
    owner: &Owner,
    id: PostId,
    text: &str,
    problem: String,
) -> Result<HttpResponse, AppError> {
    let compose = Compose {
        shell: Shell::owner(state, owner),
        heading: "Edit the post",
        action: format!("/posts/{}/edit", id.0),
        button: "Save",
        csrf: owner.0.csrf(),
        key: String::new(),
        text,
        problem,
        cancel: format!("/posts/{}", id.0),
    };
    page::render(status, &compose)
}
