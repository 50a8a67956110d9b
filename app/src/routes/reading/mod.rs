//! Pages for readers: lists, posts, tags, the archive, search. What anybody would get is kept until something changes.

pub mod archive;
pub mod front;
pub mod old;
pub mod post;
pub mod search;
pub mod tags;

use std::sync::Arc;

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};
use askama::Template;

use super::entry::Entry;
use super::page::{self, Shell};
use super::{Answer, Form};
use crate::auth::Visitor;
use crate::db::models::Post;
use crate::db::queries::reading::{self, MenuItem, Shown};
use crate::domain::{Cursor, Stamp};
use crate::error::AppError;
use crate::page_cache::Page;
use crate::startup::AppState;
use crate::words::Preference;

/// Posts on one page of a list.
const PER_PAGE: usize = 20;

/// Where a page of a list begins: after the post that `before` names.
fn before(request: &HttpRequest) -> Result<Option<Cursor>, AppError> {
    match Form::parse(request.query_string().as_bytes()).get("before") {
        None => Ok(None),
        Some(text) => Cursor::parse(text).map(Some).ok_or(AppError::NotFound),
    }
}

/// A page as it was made: its HTML, and when what it shows was changed last.
struct Made {
    html: String,
    modified: Option<Stamp>,
}

/// Answers with a page. For readers it is made once and kept until something changes; the owner's has the owner's token
/// in it and is made anew. `key`: what the page depends on besides language and listener; nothing of a request that
/// the page does not depend on may be in it, or a reader could fill the cache with the same page.
async fn answer<F>(request: &HttpRequest, state: &AppState, visitor: &Visitor, key: String, make: F) -> Answer
where
    F: AsyncFnOnce(Arc<Vec<MenuItem>>) -> Result<Made, AppError>,
{
    if visitor.0.is_some() {
        let made = make(menu(state).await?).await?;
        return Ok(page::respond(StatusCode::OK, made.html));
    }
    let key = full_key(visitor, &key);
    let generation = state.db.generation().await?;
    if let Some(kept) = state.pages.get(generation, &key, request) {
        return Ok(kept.answer(request));
    }
    let made = make(menu(state).await?).await?;
    let by_language = state.lang == Preference::Auto;
    // Compressing takes longer than a look into the database.
    let page = web::block(move || Page::new("text/html; charset=utf-8", made.html, made.modified, by_language)).await?;
    let page = Arc::new(page);
    state.pages.put(generation, key, page.clone());
    Ok(page.answer(request))
}

/// The answer if it is there already: then nothing needs to be looked up to make its key.
async fn kept(
    request: &HttpRequest,
    state: &AppState,
    visitor: &Visitor,
    key: &str,
) -> Result<Option<HttpResponse>, AppError> {
    if visitor.0.is_some() {
        return Ok(None);
    }
    let generation = state.db.generation().await?;
    let kept = state.pages.get(generation, &full_key(visitor, key), request);
    Ok(kept.map(|page| page.answer(request)))
}

fn full_key(visitor: &Visitor, key: &str) -> String {
    let choice = visitor.1;
    format!("{key} {} {}", choice.lang.code(), choice.asked)
}

/// The key of a page of a list.
fn key_from(path: &str, before: Option<Cursor>) -> String {
    before.map_or_else(|| path.to_owned(), |before| format!("{path}?before={before}"))
}

/// The static pages; a blog has a handful of them.
async fn menu(state: &AppState) -> Result<Arc<Vec<MenuItem>>, AppError> {
    Ok(Arc::new(state.db.read(reading::menu).await?))
}

/// The time of the newest change among some posts.
fn newest(posts: &[Shown]) -> Option<Stamp> {
    posts.iter().map(|shown| shown.post.updated_at()).max()
}

/// Part of a list, and where the next part begins.
struct Part {
    posts: Vec<Shown>,
    older: Option<Cursor>,
}

impl Part {
    /// `posts`: one more than a page has, if there are so many.
    fn new(connection: &mut diesel::SqliteConnection, mut posts: Vec<Post>) -> diesel::QueryResult<Self> {
        let more = posts.len() > PER_PAGE;
        posts.truncate(PER_PAGE);
        let older = posts.last().filter(|_| more).map(Post::cursor);
        Ok(Self {
            posts: reading::shown(connection, posts)?,
            older,
        })
    }
}

/// A list of posts with what stands above it.
#[derive(Template)]
#[template(path = "list.html")]
struct List<'a> {
    shell: Shell<'a>,
    /// The heading; the front page has the name of the blog.
    heading: Option<String>,
    /// The title of the page in the browser.
    title: String,
    /// Where this list has a feed: `/tags/rust`; empty for the whole blog.
    feeds: String,
    /// Narrower parts of the archive: label, address, number of posts.
    parts: Vec<archive::Period>,
    earlier: Option<archive::Period>,
    later: Option<archive::Period>,
    wider: Option<archive::Period>,
    entries: Vec<Entry>,
    /// Where the next page begins.
    older: Option<String>,
    /// The address of the first page.
    first: String,
    is_first: bool,
}

impl List<'_> {
    fn has_pages(&self) -> bool {
        self.older.is_some() || !self.is_first
    }
}

fn render(template: &impl Template, modified: Option<Stamp>) -> Result<Made, AppError> {
    Ok(Made {
        html: template.render()?,
        modified,
    })
}

/// For addresses that have moved for good.
fn moved(to: &str) -> HttpResponse {
    HttpResponse::MovedPermanently()
        .insert_header((actix_web::http::header::LOCATION, to))
        .finish()
}
