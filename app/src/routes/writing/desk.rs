//! `GET /admin`: the owner's desk: a text box, and what is under way.

use actix_web::http::StatusCode;
use actix_web::web;
use askama::Template;

use super::shelf::Item;
use crate::auth::Owner;
use crate::db::queries::shelves::{Shelf, list};
use crate::domain::{hex, random};
use crate::routes::Answer;
use crate::routes::page::{self, Shell};
use crate::startup::AppState;
use crate::words::Writing;

const FEW: i64 = 5;
const LATEST: i64 = 10;

#[derive(Template)]
#[template(path = "admin/desk.html")]
struct Desk<'a> {
    shell: Shell<'a>,
    words: &'static Writing,
    csrf: String,
    key: String,
    drafts: Vec<Item>,
    scheduled: Vec<Item>,
    latest: Vec<Item>,
}

pub async fn desk(state: web::Data<AppState>, owner: Owner) -> Answer {
    let (drafts, scheduled, latest) = state
        .db
        .read(|connection| {
            Ok((
                list(connection, Shelf::Drafts, None, FEW)?,
                list(connection, Shelf::Scheduled, None, FEW)?,
                list(connection, Shelf::Latest, None, LATEST)?,
            ))
        })
        .await?;
    let shell = Shell::owner(&state, &owner);
    let items = |posts: &[_]| posts.iter().map(|post| Item::new(post, &shell)).collect();
    let page = Desk {
        words: &shell.words.writing,
        csrf: owner.0.csrf(),
        key: hex::encode(&random::bytes::<16>()?),
        drafts: items(&drafts),
        scheduled: items(&scheduled),
        latest: items(&latest),
        shell,
    };
    page::render(StatusCode::OK, &page)
}
