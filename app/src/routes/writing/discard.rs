//! `GET` and `POST /admin/posts/{id}/delete`: into the trash. Asks first, because without scripts nothing else could.

use actix_web::http::StatusCode;
use actix_web::web;
use askama::Template;

use super::edit::load;
use super::shelf::Item;
use crate::auth::{Owner, OwnerForm};
use crate::db::models::Post;
use crate::db::queries::trash;
use crate::domain::{Stamp, markup};
use crate::error::AppError;
use crate::routes::Answer;
use crate::routes::page::{self, Shell};
use crate::routes::posts::PostId;
use crate::startup::AppState;
use crate::words::Writing;

/// A question about one post, with the post and one button.
#[derive(Debug, Template)]
#[template(path = "admin/confirm.html")]
pub struct Confirm<'a> {
    pub shell: Shell<'a>,
    pub words: &'static Writing,
    pub csrf: String,
    pub question: &'static str,
    pub explanation: &'static str,
    pub action: String,
    pub button: &'static str,
    pub cancel: String,
    pub item: Item,
    /// Safe HTML.
    pub html: String,
}

/// What is asked about a post.
#[derive(Debug)]
pub struct Question {
    pub question: &'static str,
    pub explanation: &'static str,
    /// What is done to it: the last part of an address.
    pub action: &'static str,
    pub button: &'static str,
}

impl Confirm<'_> {
    pub fn page(state: &AppState, owner: &Owner, post: &Post, ask: fn(&Writing) -> Question) -> Answer {
        let shell = Shell::owner(state, owner);
        let words = &shell.words.writing;
        let asked = ask(words);
        let page = Confirm {
            words,
            csrf: owner.0.csrf(),
            question: asked.question,
            explanation: asked.explanation,
            action: format!("/admin/posts/{}/{}", post.id, asked.action),
            button: asked.button,
            cancel: super::address_of(post),
            item: Item::new(post, &shell),
            html: markup::html_at(&post.body, markup::Place::PAGE),
            shell,
        };
        page::render(StatusCode::OK, &page)
    }
}

pub async fn ask(state: web::Data<AppState>, id: PostId, owner: Owner) -> Answer {
    let post = load(&state, id).await?.post;
    Confirm::page(&state, &owner, &post, |words| Question {
        question: words.delete_question,
        explanation: words.delete_explanation,
        action: "delete",
        button: words.delete,
    })
}

/// A post that is in the trash already is what was asked for: a form sent twice ends in the same place.
pub async fn discard(state: web::Data<AppState>, id: PostId, _checked: OwnerForm) -> Answer {
    let found = state
        .db
        .write(move |connection| trash::discard(connection, id.0, Stamp::now()))
        .await?;
    if found {
        Ok(page::redirect("/admin/trash"))
    } else {
        Err(AppError::NotFound)
    }
}
