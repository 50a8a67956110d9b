//! `GET /admin/drafts`, `/admin/scheduled`, `/admin/pages`, `/admin/trash`: the owner's lists.

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, web};
use askama::Template;

use crate::auth::Owner;
use crate::db::models::Post;
use crate::db::queries::shelves::{Shelf, list};
use crate::db::queries::trash::KEPT_SECONDS;
use crate::domain::{Kind, Stamp, State, Visibility, markup};
use crate::error::AppError;
use crate::routes::page::{self, Shell};
use crate::routes::{Answer, Form};
use crate::startup::AppState;
use crate::words::Writing;

const PER_PAGE: usize = 30;

/// A post in one of the owner's lists.
#[derive(Debug)]
pub struct Item {
    pub id: i64,
    pub title: String,
    /// Where to read it; empty when it is not out.
    pub address: String,
    /// What readers cannot know: not public, pinned, a page.
    pub marks: Vec<&'static str>,
    /// Of the date: published, due, begun or deleted.
    pub said: &'static str,
    pub date: String,
    pub machine: String,
    pub is_pinned: bool,
    pub can_pin: bool,
    pub is_deleted: bool,
    /// When the trash lets go of it.
    pub until: String,
}

impl Item {
    pub fn new(post: &Post, shell: &Shell<'_>) -> Self {
        let words = &shell.words.writing;
        let title = post.title.clone().unwrap_or_else(|| markup::excerpt(&post.body, 80));
        let title = if title.is_empty() {
            post.link.clone().unwrap_or_default()
        } else {
            title
        };
        let mut marks = Vec::new();
        match post.visibility {
            Visibility::Public => {}
            Visibility::Unlisted => marks.push(words.unlisted_mark),
            Visibility::Private => marks.push(words.private_mark),
        }
        if post.kind == Kind::Page {
            marks.push(words.page_mark);
        }
        if post.is_pinned() {
            marks.push(words.pinned);
        }
        let (said, date) = match (post.deleted_at(), post.state, post.date()) {
            (Some(deleted), ..) => (words.deleted, deleted),
            (None, State::Scheduled, Some(due)) => (words.due, due),
            (None, State::Published, Some(date)) => (words.published, date),
            _ => (words.begun, post.created_at()),
        };
        let is_out = post.state == State::Published && post.deleted_at().is_none();
        Self {
            id: post.id,
            title: if title.is_empty() {
                words.untitled.to_owned()
            } else {
                title
            },
            address: if is_out { super::address_of(post) } else { String::new() },
            marks,
            said,
            date: shell.zone.human(date),
            machine: shell.zone.machine(date),
            is_pinned: post.is_pinned(),
            can_pin: is_out && post.kind != Kind::Page,
            is_deleted: post.deleted_at().is_some(),
            until: post.deleted_at().map_or(String::new(), |deleted| {
                shell.zone.human(Stamp(deleted.0 + KEPT_SECONDS))
            }),
        }
    }
}

#[derive(Template)]
#[template(path = "admin/shelf.html")]
struct ShelfPage<'a> {
    shell: Shell<'a>,
    words: &'static Writing,
    csrf: String,
    heading: &'static str,
    explanation: &'static str,
    items: Vec<Item>,
    /// The address of the next page.
    older: Option<String>,
}

pub async fn drafts(request: HttpRequest, state: web::Data<AppState>, owner: Owner) -> Answer {
    show(&request, &state, &owner, Shelf::Drafts).await
}

pub async fn scheduled(request: HttpRequest, state: web::Data<AppState>, owner: Owner) -> Answer {
    show(&request, &state, &owner, Shelf::Scheduled).await
}

pub async fn pages(request: HttpRequest, state: web::Data<AppState>, owner: Owner) -> Answer {
    show(&request, &state, &owner, Shelf::Pages).await
}

pub async fn trash(request: HttpRequest, state: web::Data<AppState>, owner: Owner) -> Answer {
    show(&request, &state, &owner, Shelf::Trash).await
}

async fn show(request: &HttpRequest, state: &AppState, owner: &Owner, shelf: Shelf) -> Answer {
    let query = Form::parse(request.query_string().as_bytes());
    let before = match query.get("before") {
        None => None,
        Some(number) => Some(number.parse::<i64>().map_err(|_| AppError::NotFound)?),
    };
    let limit = PER_PAGE as i64 + 1;
    let mut posts = state
        .db
        .read(move |connection| list(connection, shelf, before, limit))
        .await?;
    let more = posts.len() > PER_PAGE;
    posts.truncate(PER_PAGE);
    let shell = Shell::owner(state, owner);
    let words = &shell.words.writing;
    let (heading, explanation) = match shelf {
        Shelf::Drafts | Shelf::Latest => (words.drafts, words.drafts_help),
        Shelf::Scheduled => (words.scheduled, words.scheduled_help),
        Shelf::Pages => (words.pages, words.pages_help),
        Shelf::Trash => (words.trash, words.trash_help),
    };
    let last = posts.last().map(|post| post.id).filter(|_| more);
    let page = ShelfPage {
        words,
        csrf: owner.0.csrf(),
        heading,
        explanation,
        items: posts.iter().map(|post| Item::new(post, &shell)).collect(),
        older: last.map(|id| format!("{}?before={id}", request.path())),
        shell,
    };
    page::render(StatusCode::OK, &page)
}
