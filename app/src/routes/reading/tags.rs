//! `GET /tags`: every tag; `GET /tags/{tag}`: the posts that have one.

use actix_web::{HttpRequest, web};
use askama::Template;

use super::{List, Part, before, key_from, moved, newest, render};
use crate::auth::Visitor;
use crate::db::queries::reading::{self, TagCount};
use crate::domain::fold::fold;
use crate::domain::tag;
use crate::error::AppError;
use crate::routes::Answer;
use crate::routes::entry::Entry;
use crate::routes::page::Shell;
use crate::startup::AppState;

/// On the page of all tags.
const MOST_TAGS: i64 = 2000;

#[derive(Template)]
#[template(path = "tags.html")]
struct Tags<'a> {
    shell: Shell<'a>,
    tags: Vec<TagCount>,
}

impl Tags<'_> {
    fn path(&self, tag: &TagCount) -> String {
        self.shell.to(&tag::path(&tag.folded))
    }
}

pub async fn all(request: HttpRequest, state: web::Data<AppState>, visitor: Visitor) -> Answer {
    super::answer(&request, &state, &visitor, "/tags".to_owned(), async |menu| {
        let tags = state
            .db
            .read(|connection| reading::tag_counts(connection, MOST_TAGS))
            .await?;
        let shell = Shell::reading(&state, &visitor, menu);
        render(&Tags { shell, tags }, None)
    })
    .await
}

pub async fn one(
    request: HttpRequest,
    state: web::Data<AppState>,
    typed: web::Path<String>,
    visitor: Visitor,
) -> Answer {
    let folded = fold(&typed);
    if folded != *typed {
        return Ok(moved(&tag::path(&folded)));
    }
    let before = before(&request)?;
    let path = tag::path(&folded);
    super::answer(&request, &state, &visitor, key_from(&path, before), async |menu| {
        let limit = super::PER_PAGE as i64 + 1;
        let found = state
            .db
            .read(move |connection| {
                let Some((id, name)) = reading::tag(connection, &folded)? else {
                    return Ok(None);
                };
                let posts = reading::tagged(connection, id, before, limit)?;
                Ok(Some((name, Part::new(connection, posts)?)))
            })
            .await?;
        // A tag that only drafts have does not exist for readers.
        let (name, part) = found
            .filter(|(_, part)| !part.posts.is_empty() || before.is_some())
            .ok_or(AppError::NotFound)?;
        let modified = newest(&part.posts);
        let shell = Shell::reading(&state, &visitor, menu).from(before);
        let list = List {
            heading: Some(format!("{} #{name}", shell.words.reading.tagged)),
            title: format!("#{name} – {}", shell.site),
            feeds: path.clone(),
            parts: Vec::new(),
            earlier: None,
            later: None,
            wider: None,
            entries: part
                .posts
                .into_iter()
                .map(|shown| Entry::listed(shown, state.zone))
                .collect(),
            older: part.older.map(|older| shell.to(&format!("{path}?before={older}"))),
            first: shell.to(&path),
            is_first: before.is_none(),
            shell,
        };
        render(&list, modified)
    })
    .await
}
