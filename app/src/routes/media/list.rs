//! `GET /admin/media`: every image that is stored, and in how many posts.

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, web};
use askama::Template;

use crate::auth::Owner;
use crate::db::models::Medium;
use crate::db::queries;
use crate::error::AppError;
use crate::routes::page::{self, Shell};
use crate::routes::{Answer, Form};
use crate::startup::AppState;

const PAGE: i64 = 50;

#[derive(Template)]
#[template(path = "media.html")]
struct List<'a> {
    shell: Shell<'a>,
    csrf: String,
    images: Vec<Row>,
    /// Where the next page begins.
    older: Option<i64>,
    problem: String,
    done: String,
}

struct Row {
    medium: Medium,
    used: bool,
    uses: String,
}

pub async fn list(request: HttpRequest, state: web::Data<AppState>, owner: Owner) -> Answer {
    let query = Form::parse(request.query_string().as_bytes());
    let before = match query.get("before") {
        Some(before) => Some(before.parse().map_err(|_| AppError::NotFound)?),
        None => None,
    };
    page(StatusCode::OK, &state, &owner, before, String::new(), String::new()).await
}

/// The page, with a word on what was done, or why not.
pub async fn page(
    status: StatusCode,
    state: &AppState,
    owner: &Owner,
    before: Option<i64>,
    problem: String,
    done: String,
) -> Answer {
    let mut images = state
        .db
        .read(move |connection| queries::media::page(connection, before, PAGE + 1))
        .await?;
    let size = usize::try_from(PAGE).unwrap_or(images.len());
    let more = images.len() > size;
    images.truncate(size);
    let shell = Shell::owner(state, owner);
    let row = |(medium, uses): (Medium, i64)| Row {
        medium,
        used: uses > 0,
        uses: (shell.words.media.uses)(uses),
    };
    let list = List {
        csrf: owner.0.csrf(),
        older: images.last().filter(|_| more).map(|(medium, _)| medium.id),
        images: images.into_iter().map(row).collect(),
        shell,
        problem,
        done,
    };
    page::render(status, &list)
}
