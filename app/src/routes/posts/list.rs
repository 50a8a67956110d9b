//! `GET /`: posts from newest to oldest, a page at a time.

use actix_web::{HttpRequest, web};
use askama::Template;

use crate::auth::Visitor;
use crate::db::queries;
use crate::domain::Cursor;
use crate::error::AppError;
use crate::routes::page::{self, Entry, Shell};
use crate::routes::{Answer, Form};
use crate::startup::AppState;

const PER_PAGE: usize = 20;

#[derive(Template)]
#[template(path = "list.html")]
struct List<'a> {
    shell: Shell<'a>,
    entries: Vec<Entry>,
    /// Where the next page begins.
    older: Option<Cursor>,
    is_first: bool,
}

pub async fn list(request: HttpRequest, state: web::Data<AppState>, visitor: Visitor) -> Answer {
    let before = match Form::parse(request.query_string().as_bytes()).get("before") {
        None => None,
        Some(text) => Some(Cursor::parse(text).ok_or(AppError::NotFound)?),
    };
    // One more than shown, to know whether there are older ones.
    let limit = PER_PAGE as i64 + 1;
    let mut posts = state
        .db
        .read(move |connection| queries::posts::page(connection, before, limit))
        .await?;
    let more = posts.len() > PER_PAGE;
    posts.truncate(PER_PAGE);
    let owner = visitor.0.as_ref();
    let page = List {
        shell: Shell::visitor(&state, &visitor),
        older: posts.last().filter(|_| more).map(|post| post.cursor()),
        entries: posts.iter().map(Entry::from).collect(),
        is_first: before.is_none(),
    };
    page::render_public(&page, owner)
}
