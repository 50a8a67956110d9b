//! What feed readers get: Atom, RSS and JSON Feed of the whole blog and of each tag, twtxt, and how to search.
//!
//! Ids are made of uuids, so a new address of the blog delivers nothing anew. Addresses come from the settings, never
//! from the request.

pub mod atom;
pub mod json;
pub mod opensearch;
pub mod rss;
pub mod twtxt;

use std::sync::Arc;

use actix_web::{HttpRequest, web};

use super::Answer;
use crate::db::queries::reading::{self, Shown, Span};
use crate::db::queries::site;
use crate::domain::fold::fold;
use crate::domain::markup::{self, Place};
use crate::domain::post_text::allowed;
use crate::domain::{Cursor, Stamp, Zone, tag};
use crate::error::AppError;
use crate::page_cache::Page;
use crate::routes::entry::Entry;
use crate::routes::form::Form;
use crate::startup::AppState;

/// Posts in one document of a feed; older ones are in the next one (RFC 5005, section 3).
const ENTRIES: usize = 20;

/// A feed, whatever its format.
#[derive(Debug)]
struct Feed<'a> {
    /// The name of the blog.
    site: &'a str,
    /// With the tag, if it is the feed of one.
    title: String,
    /// The configured address without a slash at its end, or nothing.
    base: &'a str,
    /// `urn:uuid:` and the like, the same for ever.
    id: String,
    /// The page it is the feed of.
    home: String,
    /// Its own address, without the host and the ending: `/feed`, `/tags/rust/feed`.
    path: String,
    /// Where this document begins.
    before: Option<Cursor>,
    older: Option<Cursor>,
    updated: Stamp,
    items: Vec<Item>,
}

#[derive(Debug)]
struct Item {
    entry: Entry,
    published: Stamp,
    updated: Stamp,
    /// HTML with addresses that are whole if the blog knows its own, images included.
    html: String,
}

impl Feed<'_> {
    /// The address of this document in a format, or of the one after it.
    fn at(&self, ending: &str, before: Option<Cursor>) -> String {
        let place = before.map_or_else(String::new, |before| format!("?before={before}"));
        format!("{}{}.{ending}{place}", self.base, self.path)
    }

    fn this(&self, ending: &str) -> String {
        self.at(ending, self.before)
    }

    fn next(&self, ending: &str) -> Option<String> {
        self.older.map(|older| self.at(ending, Some(older)))
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }
}

impl Item {
    fn new(shown: Shown, zone: Zone, base: &str) -> Self {
        let (published, updated) = (shown.post.published_at(), shown.post.updated_at());
        let path = super::reading::post::path(&shown.post);
        let mut html = markup::html_at(&shown.post.body, Place::feed(base, &path));
        for image in &shown.images {
            html.push_str(&format!(
                "\n<p><img src=\"{base}{}\" alt=\"{}\" width=\"{}\" height=\"{}\"></p>",
                image.medium.path(),
                escape(&image.alt),
                image.medium.width,
                image.medium.height
            ));
        }
        let mut entry = Entry::new(shown, zone, String::new(), 2);
        if let Some(link) = &entry.link {
            let address = escape(&link.address);
            html = format!("<p><a href=\"{address}\">{address}</a></p>\n{html}");
        }
        // The base is checked when the settings are read, so nothing in it needs an escape; the rest was escaped above.
        entry.html.clear();
        Self {
            entry,
            published,
            updated,
            html,
        }
    }

    /// Atom and RSS want a title; notes have none of their own.
    fn title(&self) -> &str {
        &self.entry.label
    }

    fn id(&self) -> String {
        format!("urn:uuid:{}", self.entry.uuid)
    }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

/// Makes a feed, or sends the one that was made before. `tag`: from the address, or nothing for the whole blog.
async fn answer<F>(
    request: &HttpRequest,
    state: &AppState,
    tag: Option<String>,
    content_type: &'static str,
    render: F,
) -> Answer
where
    F: FnOnce(&Feed<'_>) -> Result<String, AppError>,
{
    let before = match Form::parse(request.query_string().as_bytes()).get("before") {
        None => None,
        Some(text) => Some(Cursor::parse(text).ok_or(AppError::NotFound)?),
    };
    let place = before.map_or_else(String::new, |before| before.to_string());
    // However the tag was written.
    let folded = tag.as_deref().map(fold).unwrap_or_default();
    let key = format!("{content_type} {folded} {place}");
    let generation = state.db.generation().await?;
    if let Some(kept) = state.pages.get(generation, &key, request) {
        return Ok(kept.answer(request));
    }
    let feed = gather(state, tag, before).await?;
    let mut body = render(&feed)?;
    // Whatever way a text came in: one character that XML cannot carry, and no reader reads any of it.
    body.retain(allowed);
    let modified = feed.updated;
    let page = web::block(move || Page::new(content_type, body, Some(modified), false)).await?;
    let page = Arc::new(page);
    state.pages.put(generation, key, page.clone());
    Ok(page.answer(request))
}

async fn gather(state: &AppState, tag: Option<String>, before: Option<Cursor>) -> Result<Feed<'_>, AppError> {
    let folded = tag.as_deref().map(fold);
    let wanted = folded.clone();
    let limit = ENTRIES as i64 + 1;
    let (site, name, mut posts) = state
        .db
        .read(move |connection| {
            let site = site::get(connection)?;
            let Some(folded) = wanted else {
                let posts = reading::page(connection, Span::ALWAYS, before, limit)?;
                return Ok((site, None, reading::shown(connection, posts)?));
            };
            let found = reading::tag(connection, &folded)?;
            let posts = match &found {
                Some((id, _)) => reading::tagged(connection, *id, before, limit)?,
                None => Vec::new(),
            };
            Ok((site, found.map(|(_, name)| name), reading::shown(connection, posts)?))
        })
        .await?;
    if folded.is_some() && (name.is_none() || posts.is_empty() && before.is_none()) {
        return Err(AppError::NotFound);
    }
    let more = posts.len() > ENTRIES;
    posts.truncate(ENTRIES);
    let older = posts.last().filter(|_| more).map(|shown| shown.post.cursor());
    let updated = posts.iter().map(|shown| shown.post.updated_at()).max();
    let home = folded.as_deref().map_or_else(|| "/".to_owned(), tag::path);
    Ok(Feed {
        site: &state.title,
        title: name
            .as_ref()
            .map_or_else(|| state.title.clone(), |name| format!("{} #{name}", state.title)),
        base: &state.base_url,
        id: match &folded {
            None => format!("urn:uuid:{}", site.uuid),
            // RFC 4151 would want a domain; the fragment of the blog's own id is as lasting (RFC 8141, 2.3.3).
            Some(_) => format!("urn:uuid:{}#{}", site.uuid, home.trim_start_matches("/tags/")),
        },
        path: match folded {
            None => "/feed".to_owned(),
            Some(_) => format!("{home}/feed"),
        },
        home,
        before,
        older,
        updated: updated.unwrap_or(site.created_at()),
        items: posts
            .into_iter()
            .map(|shown| Item::new(shown, state.zone, &state.base_url))
            .collect(),
    })
}
