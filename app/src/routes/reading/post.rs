//! One post: `/posts/{id}`, `/u/{uuid}` for unlisted ones, `/{slug}` for static pages; each with its whole thread.

use actix_web::{HttpRequest, web};
use askama::Template;

use super::{moved, newest, render};
use crate::auth::Visitor;
use crate::db::models::Post;
use crate::db::queries::{posts, reading};
use crate::domain::{Kind, State, Visibility, markup};
use crate::error::AppError;
use crate::routes::Answer;
use crate::routes::entry::{self, Entry};
use crate::routes::page::Shell;
use crate::routes::posts::PostId;
use crate::startup::AppState;

/// In characters, of a post that is named beside another.
const LABEL: usize = 40;

#[derive(Template)]
#[template(path = "post.html")]
struct PostPage<'a> {
    shell: Shell<'a>,
    /// The thread, or the post alone.
    entries: Vec<Entry>,
    /// The label of the post that was asked for.
    title: String,
    /// Its place in `entries`.
    at: usize,
    /// Of the posts in lists, those next to this one.
    newer: Option<Beside>,
    older: Option<Beside>,
}

/// Where "newer" or "older" leads.
struct Beside {
    path: String,
    /// Its title, or how it begins; empty when it is an image alone.
    label: String,
    lang: String,
}

impl Beside {
    fn of(post: &Post) -> Self {
        let label = match &post.title {
            Some(title) => title.clone(),
            None => markup::excerpt(&post.body, LABEL),
        };
        Self {
            path: path(post),
            lang: entry::language(post),
            label,
        }
    }
}

/// `GET /posts/{id}`
pub async fn by_id(request: HttpRequest, state: web::Data<AppState>, id: PostId, visitor: Visitor) -> Answer {
    if let Some(kept) = super::kept(&request, &state, &visitor, &format!("/posts/{}", id.0)).await? {
        return Ok(kept);
    }
    let post = state.db.read(move |connection| posts::find(connection, id.0)).await?;
    let post = readable(post, &visitor)?;
    // Numbers can be counted: an unlisted post must not be found by its number.
    if post.visibility == Visibility::Unlisted && visitor.0.is_none() {
        return Err(AppError::NotFound);
    }
    if post.kind == Kind::Page && post.is_readable() {
        return Ok(moved(&path(&post)));
    }
    show(request, state, visitor, post).await
}

/// `GET /u/{uuid}`
pub async fn by_uuid(
    request: HttpRequest,
    state: web::Data<AppState>,
    uuid: web::Path<String>,
    visitor: Visitor,
) -> Answer {
    let uuid = uuid.into_inner();
    if let Some(kept) = super::kept(&request, &state, &visitor, &format!("/u/{uuid}")).await? {
        return Ok(kept);
    }
    let post = state
        .db
        .read(move |connection| reading::by_uuid(connection, &uuid))
        .await?;
    let post = readable(post, &visitor)?;
    // It was unlisted when the link was made, and is public now.
    if post.visibility == Visibility::Public {
        return Ok(moved(&path(&post)));
    }
    show(request, state, visitor, post).await
}

/// `GET /{slug}`
pub async fn by_slug(
    request: HttpRequest,
    state: web::Data<AppState>,
    slug: web::Path<String>,
    visitor: Visitor,
) -> Answer {
    let slug = slug.into_inner();
    if let Some(kept) = super::kept(&request, &state, &visitor, &format!("/{slug}")).await? {
        return Ok(kept);
    }
    let post = state
        .db
        .read(move |connection| reading::by_slug(connection, &slug))
        .await?;
    let post = readable(post, &visitor)?;
    if post.kind != Kind::Page || post.visibility == Visibility::Unlisted && visitor.0.is_none() {
        return Err(AppError::NotFound);
    }
    show(request, state, visitor, post).await
}

/// The post if this visitor may see it. What was public once and is in the trash is gone, all else was never there.
fn readable(post: Option<Post>, visitor: &Visitor) -> Result<Post, AppError> {
    let post = post.ok_or(AppError::NotFound)?;
    if post.deleted_at().is_some() {
        return Err(match (post.state, post.visibility) {
            (State::Published, Visibility::Public) => AppError::Gone,
            _ => AppError::NotFound,
        });
    }
    if post.is_readable() || visitor.0.is_some() {
        Ok(post)
    } else {
        Err(AppError::NotFound)
    }
}

pub fn path(post: &Post) -> String {
    entry::path(post.id, &post.uuid, post.kind, post.visibility, post.slug.as_deref())
}

async fn show(request: HttpRequest, state: web::Data<AppState>, visitor: Visitor, post: Post) -> Answer {
    let key = path(&post);
    super::answer(&request, &state, &visitor, key, async |menu| {
        let id = post.id;
        let unlisted = post.visibility != Visibility::Public;
        let (thread, newer, older) = state
            .db
            .read(move |connection| {
                let is_listed = post.state == State::Published
                    && post.visibility == Visibility::Public
                    && post.deleted_at().is_none()
                    && post.kind != Kind::Page;
                let (newer, older) = if is_listed {
                    reading::beside(connection, post.cursor())?
                } else {
                    (None, None)
                };
                let mut thread = reading::thread(connection, &post, unlisted)?;
                // A page, and what only the owner sees, stand alone.
                if thread.iter().all(|other| other.id != post.id) {
                    thread = vec![post];
                }
                Ok((reading::shown(connection, thread)?, newer, older))
            })
            .await?;
        // The page changes with its neighbours, too.
        let beside = newer.iter().chain(&older).map(Post::updated_at).max();
        let modified = newest(&thread).max(beside);
        let alone = thread.len() == 1;
        let entries: Vec<Entry> = thread
            .into_iter()
            .map(|shown| {
                if shown.post.id == id {
                    let mut entry = Entry::whole(shown, state.zone);
                    entry.current = !alone;
                    return entry;
                }
                Entry::among(shown, state.zone)
            })
            .collect();
        let at = entries.iter().position(|entry| entry.id == id).unwrap_or_default();
        let page = PostPage {
            title: entries.get(at).map(|entry| entry.label.clone()).unwrap_or_default(),
            at,
            newer: newer.as_ref().map(Beside::of),
            older: older.as_ref().map(Beside::of),
            entries,
            shell: Shell::reading(&state, &visitor, menu),
        };
        render(&page, modified)
    })
    .await
}
