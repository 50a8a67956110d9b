//! `GET /`: pinned posts, then posts from newest to oldest, a page at a time.

use actix_web::{HttpRequest, web};

use super::{List, Part, before, key_from, newest, render};
use crate::auth::Visitor;
use crate::db::queries::reading::{self, Span};
use crate::routes::Answer;
use crate::routes::entry::Entry;
use crate::routes::page::Shell;
use crate::startup::AppState;

pub async fn front(request: HttpRequest, state: web::Data<AppState>, visitor: Visitor) -> Answer {
    let before = before(&request)?;
    super::answer(&request, &state, &visitor, key_from("/", before), async |menu| {
        let limit = super::PER_PAGE as i64 + 1;
        let (pinned, part) = state
            .db
            .read(move |connection| {
                let pinned = match before {
                    None => reading::pinned(connection)?,
                    Some(_) => Vec::new(),
                };
                let posts = reading::page(connection, Span::ALWAYS, before, limit)?;
                Ok((reading::shown(connection, pinned)?, Part::new(connection, posts)?))
            })
            .await?;
        let modified = newest(&pinned).max(newest(&part.posts));
        let on_top: Vec<i64> = pinned.iter().map(|shown| shown.post.id).collect();
        // On the page that begins with the pins each post is shown once; later ones have every post at its time.
        let rest = part.posts.into_iter().filter(|shown| !on_top.contains(&shown.post.id));
        let listed = |shown| Entry::listed(shown, state.zone);
        let mut entries: Vec<Entry> = pinned.into_iter().map(listed).collect();
        entries.extend(rest.map(listed).map(|entry| Entry { pinned: false, ..entry }));
        let shell = Shell::reading(&state, &visitor, menu).from(before);
        let list = List {
            heading: None,
            title: shell.site.to_owned(),
            feeds: String::new(),
            parts: Vec::new(),
            earlier: None,
            later: None,
            wider: None,
            entries,
            older: part.older.map(|older| shell.to(&format!("/?before={older}"))),
            first: shell.to("/"),
            is_first: before.is_none(),
            shell,
        };
        render(&list, modified)
    })
    .await
}
