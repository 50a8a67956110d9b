//! `/admin/posts/{id}/history`: what a post was before its edits, what changed since, and the way back.

use std::future::{Ready, ready};
use std::time::{Duration, Instant};

use actix_web::dev::Payload;
use actix_web::http::StatusCode;
use actix_web::{FromRequest, HttpRequest, web};
use askama::Template;
use similar::{Algorithm, DiffOp, capture_diff_slices_deadline};

use super::edit::load;
use crate::auth::{Owner, OwnerForm};
use crate::db::models::{Post, Revision};
use crate::db::queries::revisions;
use crate::db::queries::writing::{self, Edit, Intent, Updated};
use crate::domain::{Content, Stamp, State, markup};
use crate::error::AppError;
use crate::routes::page::{self, Shell};
use crate::routes::posts::PostId;
use crate::routes::{Answer, Form};
use crate::startup::AppState;
use crate::words::Writing;

const PER_PAGE: usize = 30;
/// Unchanged lines around a change.
const CONTEXT: usize = 3;
/// After this a difference may be longer than it need be.
const PATIENCE: Duration = Duration::from_secs(1);

/// The number of a version in an address.
#[derive(Debug, Clone, Copy)]
pub struct RevisionId(i64);

impl FromRequest for RevisionId {
    type Error = AppError;
    type Future = Ready<Result<Self, AppError>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let text = request.match_info().get("revision").unwrap_or_default();
        ready(text.parse().map(Self).map_err(|_| AppError::NotFound))
    }
}

#[derive(Template)]
#[template(path = "admin/history.html")]
struct History<'a> {
    shell: Shell<'a>,
    words: &'static Writing,
    id: i64,
    title: String,
    versions: Vec<Version>,
    older: Option<i64>,
}

struct Version {
    id: i64,
    excerpt: String,
    date: String,
    machine: String,
}

pub async fn list(request: HttpRequest, state: web::Data<AppState>, id: PostId, owner: Owner) -> Answer {
    let post = load(&state, id).await?.post;
    let query = Form::parse(request.query_string().as_bytes());
    let before = query.get("before").and_then(|number| number.parse::<i64>().ok());
    let limit = PER_PAGE as i64 + 1;
    let mut rows = state
        .db
        .read(move |connection| revisions::list(connection, id.0, before, limit))
        .await?;
    let more = rows.len() > PER_PAGE;
    rows.truncate(PER_PAGE);
    let shell = Shell::owner(&state, &owner);
    let version = |row: &Revision| Version {
        id: row.id,
        excerpt: row.title.clone().unwrap_or_else(|| markup::excerpt(&row.body, 80)),
        date: shell.zone.human(row.replaced_at()),
        machine: shell.zone.machine(row.replaced_at()),
    };
    let page = History {
        words: &shell.words.writing,
        id: id.0,
        title: title_of(&post),
        versions: rows.iter().map(version).collect(),
        older: rows.last().map(|row| row.id).filter(|_| more),
        shell,
    };
    page::render(StatusCode::OK, &page)
}

fn title_of(post: &Post) -> String {
    post.title.clone().unwrap_or_else(|| markup::excerpt(&post.body, 80))
}

#[derive(Template)]
#[template(path = "admin/revision.html")]
struct RevisionPage<'a> {
    shell: Shell<'a>,
    words: &'static Writing,
    csrf: String,
    version: String,
    id: i64,
    revision: i64,
    title: String,
    date: String,
    lines: Vec<Line>,
    text: String,
}

/// A line of the difference.
#[derive(Debug, PartialEq, Eq)]
enum Line {
    Same(String),
    /// In the old version alone.
    Old(String),
    /// In the post as it is now.
    New(String),
    /// Unchanged lines that are not shown.
    Skipped(usize),
}

pub async fn show(state: web::Data<AppState>, id: PostId, number: RevisionId, owner: Owner) -> Answer {
    let current = load(&state, id).await?;
    let row = find(&state, id, number).await?;
    let shell = Shell::owner(&state, &owner);
    let words = &shell.words.writing;
    let old = as_text(&row.title, &row.link, &row.body, words);
    let new = as_text(&current.post.title, &current.post.link, &current.post.body, words);
    let lines = web::block(move || difference(&old, &new)).await?;
    let page = RevisionPage {
        words,
        csrf: owner.0.csrf(),
        version: current.version(),
        id: id.0,
        revision: number.0,
        title: title_of(&current.post),
        date: shell.zone.human(row.replaced_at()),
        lines,
        text: row.body,
        shell,
    };
    page::render(StatusCode::OK, &page)
}

async fn find(state: &AppState, id: PostId, number: RevisionId) -> Result<Revision, AppError> {
    let row = state
        .db
        .read(move |connection| revisions::find(connection, id.0, number.0))
        .await?;
    row.ok_or(AppError::NotFound)
}

/// What is kept of a version, as lines.
fn as_text(title: &Option<String>, link: &Option<String>, body: &str, words: &Writing) -> String {
    let mut text = String::new();
    for (name, value) in [(words.title, title), (words.link, link)] {
        if let Some(value) = value {
            text.push_str(&format!("{name}: {value}\n"));
        }
    }
    text + body
}

fn difference(old: &str, new: &str) -> Vec<Line> {
    let (old, new): (Vec<_>, Vec<_>) = (old.lines().collect(), new.lines().collect());
    let deadline = Some(Instant::now() + PATIENCE);
    let steps = capture_diff_slices_deadline(Algorithm::Myers, &old, &new, deadline);
    let mut lines = Vec::new();
    let owned = |from: &[&str], wrap: fn(String) -> Line| -> Vec<Line> {
        from.iter().map(|line| wrap((*line).to_owned())).collect()
    };
    for (at, step) in steps.iter().enumerate() {
        let (was, is) = (&old[step.old_range()], &new[step.new_range()]);
        if !matches!(step, DiffOp::Equal { .. }) {
            lines.extend(owned(was, Line::Old));
            lines.extend(owned(is, Line::New));
            continue;
        }
        // Of what is unchanged, only what lies beside a change.
        let head = if at == 0 { 0 } else { CONTEXT };
        let tail = if at + 1 == steps.len() { 0 } else { CONTEXT };
        if is.len() <= head + tail + 1 {
            lines.extend(owned(is, Line::Same));
        } else {
            lines.extend(owned(&is[..head], Line::Same));
            lines.push(Line::Skipped(is.len() - head - tail));
            lines.extend(owned(&is[is.len() - tail..], Line::Same));
        }
    }
    lines
}

/// `POST /admin/posts/{id}/history/{revision}/restore`: an edit like any other, so it can be undone as well.
pub async fn restore(state: web::Data<AppState>, id: PostId, number: RevisionId, sent: OwnerForm) -> Answer {
    let current = load(&state, id).await?;
    let row = find(&state, id, number).await?;
    let slug = current.content.slug.clone();
    let mut content = Content {
        kind: Content::kind_of(row.title.as_deref(), row.link.as_deref(), slug.as_deref()),
        title: row.title,
        link: row.link,
        body: row.body,
        ..current.content.clone()
    };
    // A page without its title would be none.
    content.title = content
        .title
        .or_else(|| current.content.title.clone().filter(|_| slug.is_some()));
    content.retag(&current.content.body);
    let edit = Edit {
        version: sent.form.get("version").map(ToOwned::to_owned),
        content,
        intent: if current.post.state == State::Draft {
            Intent::Draft
        } else {
            Intent::Publish
        },
        date: current.post.date(),
    };
    let updated = state
        .db
        .write(move |connection| writing::update(connection, id.0, &edit, Stamp::now()))
        .await?;
    match updated {
        Updated::Saved(post) | Updated::Same(post) => Ok(page::redirect(&super::address_of(&post))),
        // Somebody saved it since: the difference as it is now, to decide anew.
        Updated::Conflict(_) => Ok(page::redirect(&format!("/admin/posts/{}/history/{}", id.0, number.0))),
        Updated::Refused(_) | Updated::NotFound => Err(AppError::NotFound),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences() {
        let same = |text: &str| Line::Same(text.to_owned());
        let (old, new) = (
            |text: &str| Line::Old(text.to_owned()),
            |text: &str| Line::New(text.to_owned()),
        );
        assert_eq!(
            difference("a\nb\nc", "a\nx\nc"),
            [same("a"), old("b"), new("x"), same("c")]
        );
        assert_eq!(difference("", "a"), [new("a")]);
        let long = "1\n2\n3\n4\n5\n6\n7\n8\n9\n";
        assert_eq!(
            difference(&format!("{long}a"), &format!("{long}b")),
            [Line::Skipped(6), same("7"), same("8"), same("9"), old("a"), new("b")]
        );
        assert_eq!(difference(long, long), [Line::Skipped(9)]);
    }
}
