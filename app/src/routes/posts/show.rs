//! `GET /posts/{id}`: one post.

use actix_web::web;
use askama::Template;

use super::PostId;
use crate::auth::Visitor;
use crate::db::queries;
use crate::error::AppError;
use crate::routes::Answer;
use crate::routes::page::{self, Entry, Shell};
use crate::startup::AppState;

#[derive(Template)]
#[template(path = "post.html")]
struct PostPage<'a> {
    shell: Shell<'a>,
    entry: Entry,
}

pub async fn show(state: web::Data<AppState>, id: PostId, visitor: Visitor) -> Answer {
    let post = state
        .db
        .read(move |connection| queries::posts::find(connection, id.0))
        .await?;
    let post = post.ok_or(AppError::NotFound)?;
    let owner = visitor.0.as_ref();
    let page = PostPage {
        shell: Shell::visitor(&state, &visitor),
        entry: Entry::from(&post),
    };
    page::render_public(&page, owner)
}
