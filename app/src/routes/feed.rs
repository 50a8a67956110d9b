//! `GET /feed.atom`: the newest posts for feed readers.

use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse, web};
use askama::Template;
use sha2::{Digest, Sha256};

use super::Answer;
use super::page::Entry;
use crate::db::queries;
use crate::domain::hex;
use crate::startup::AppState;

const ENTRIES: i64 = 20;

#[derive(Template)]
#[template(path = "feed.xml")]
struct Feed<'a> {
    title: &'a str,
    /// Empty, or the configured address; never what a request claims.
    base: &'a str,
    uuid: &'a str,
    updated: &'a str,
    entries: &'a [Entry],
}

pub async fn show(request: HttpRequest, state: web::Data<AppState>) -> Answer {
    let (site, posts) = state
        .db
        .read(|connection| {
            let site = queries::site::get(connection)?;
            Ok((site, queries::posts::page(connection, None, ENTRIES)?))
        })
        .await?;
    let updated = posts
        .iter()
        .map(|post| post.updated_at())
        .max()
        .unwrap_or(site.created_at());
    let feed = Feed {
        title: &state.title,
        base: &state.base_url,
        uuid: &site.uuid,
        updated: &updated.rfc3339(),
        entries: &posts.iter().map(Entry::from).collect::<Vec<_>>(),
    };
    let body = feed.render()?;

    // A hash of what would be sent: right after an edit, a deletion and a change of title too.
    let tag = format!("\"{}\"", hex::encode(&Sha256::digest(&body)[..8]));
    let known = request.headers().get_all(header::IF_NONE_MATCH).any(|value| {
        value.to_str().is_ok_and(|value| {
            let mut tags = value.split(',').map(|tag| tag.trim());
            tags.any(|sent| sent == "*" || sent.strip_prefix("W/").unwrap_or(sent) == tag)
        })
    });
    let mut response = if known {
        HttpResponse::NotModified()
    } else {
        HttpResponse::Ok()
    };
    response
        .insert_header((header::ETAG, tag))
        .insert_header((header::CACHE_CONTROL, "no-cache"))
        .insert_header((header::CONTENT_TYPE, "application/atom+xml; charset=utf-8"));
    Ok(if known { response.finish() } else { response.body(body) })
}
