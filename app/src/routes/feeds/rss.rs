//! RSS 2.0 (RSS Advisory Board, 2.0.11): `/feed.rss`, `/tags/{tag}/feed.rss`.

use actix_web::{HttpRequest, web};
use askama::Template;

use super::Feed;
use crate::error::AppError;
use crate::routes::Answer;
use crate::startup::AppState;

const TYPE: &str = "application/rss+xml; charset=utf-8";

#[derive(Template)]
#[template(path = "feed.rss.xml")]
struct Rss<'a> {
    feed: &'a Feed<'a>,
}

pub async fn all(request: HttpRequest, state: web::Data<AppState>) -> Answer {
    super::answer(&request, &state, None, TYPE, render).await
}

pub async fn tagged(request: HttpRequest, state: web::Data<AppState>, tag: web::Path<String>) -> Answer {
    super::answer(&request, &state, Some(tag.into_inner()), TYPE, render).await
}

fn render(feed: &Feed<'_>) -> Result<String, AppError> {
    Ok(Rss { feed }.render()?)
}
