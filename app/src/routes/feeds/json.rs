//! JSON Feed 1.1 (<https://www.jsonfeed.org/version/1.1/>): `/feed.json`, `/tags/{tag}/feed.json`.

use actix_web::{HttpRequest, web};
use serde_json::{Map, Value, json};

use super::{Feed, Item};
use crate::error::AppError;
use crate::routes::Answer;
use crate::startup::AppState;

const TYPE: &str = "application/feed+json";
const ENDING: &str = "json";

pub async fn all(request: HttpRequest, state: web::Data<AppState>) -> Answer {
    super::answer(&request, &state, None, TYPE, render).await
}

pub async fn tagged(request: HttpRequest, state: web::Data<AppState>, tag: web::Path<String>) -> Answer {
    super::answer(&request, &state, Some(tag.into_inner()), TYPE, render).await
}

fn render(feed: &Feed<'_>) -> Result<String, AppError> {
    let mut document = json!({
        "version": "https://jsonfeed.org/version/1.1",
        "title": feed.title,
        "home_page_url": feed.url(&feed.home),
        "feed_url": feed.this(ENDING),
        "authors": [{ "name": feed.site, "url": feed.url("/") }],
        "items": feed.items.iter().map(|item| object(feed, item)).collect::<Vec<_>>(),
    });
    if let Some(next) = feed.next(ENDING) {
        document["next_url"] = next.into();
    }
    Ok(document.to_string())
}

fn object(feed: &Feed<'_>, item: &Item) -> Value {
    let entry = &item.entry;
    let mut object = Map::new();
    let mut set = |key: &str, value: Value| object.insert(key.to_owned(), value);
    set("id", item.id().into());
    set("url", feed.url(&entry.path).into());
    if let Some(title) = &entry.title {
        set("title", title.as_str().into());
    }
    if let Some(link) = &entry.link {
        set("external_url", link.address.as_str().into());
    }
    set("content_html", item.html.as_str().into());
    set("date_published", item.published.rfc3339().into());
    if item.updated != item.published {
        set("date_modified", item.updated.rfc3339().into());
    }
    set("language", entry.lang.as_str().into());
    if let Some(image) = entry.images.first() {
        set("image", feed.url(&image.medium.path()).into());
    }
    if !entry.tags.is_empty() {
        set("tags", entry.tags.iter().map(|tag| tag.name.as_str()).collect());
    }
    Value::Object(object)
}
