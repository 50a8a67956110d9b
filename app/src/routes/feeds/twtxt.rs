//! `GET /twtxt.txt`: the newest posts, one a line (<https://twtxt.readthedocs.io/en/latest/user/twtxtfile.html>).

use std::fmt::Write;
use std::sync::Arc;

use actix_web::{HttpRequest, web};

use crate::db::queries::reading::{self, Span};
use crate::domain::markup;
use crate::page_cache::Page;
use crate::routes::Answer;
use crate::startup::AppState;

const TYPE: &str = "text/plain; charset=utf-8";
const POSTS: i64 = 100;
/// In characters; the rest is behind the link.
const LENGTH: usize = 280;

pub async fn show(request: HttpRequest, state: web::Data<AppState>) -> Answer {
    let generation = state.db.generation().await?;
    if let Some(kept) = state.pages.get(generation, "twtxt", &request) {
        return Ok(kept.answer(&request));
    }
    let posts = state
        .db
        .read(|connection| reading::page(connection, Span::ALWAYS, None, POSTS))
        .await?;
    let base = &state.base_url;
    let mut out = format!(
        "# nick = {}\n",
        one_line(&state.title).replace(char::is_whitespace, "_")
    );
    if !base.is_empty() {
        let _ = writeln!(out, "# url = {base}/twtxt.txt");
    }
    let modified = posts.iter().map(|post| post.updated_at()).max();
    for post in &posts {
        let (text, whole) = text(post.title.as_deref(), &post.body);
        let _ = write!(out, "{}\t{text}", post.published_at().rfc3339());
        if let Some(link) = &post.link {
            let _ = write!(out, " {}", one_line(link));
        }
        if !whole && !base.is_empty() {
            let _ = write!(out, " {base}/posts/{}", post.id);
        }
        out.push('\n');
    }
    let page = web::block(move || Page::new(TYPE, out, modified, false)).await?;
    let page = Arc::new(page);
    state.pages.put(generation, "twtxt".to_owned(), page.clone());
    Ok(page.answer(&request))
}

/// A post in one line, and whether that is all of it.
fn text(title: Option<&str>, body: &str) -> (String, bool) {
    if let Some(title) = title {
        return (one_line(title), false);
    }
    let text = one_line(&markup::plain(body));
    match text.char_indices().nth(LENGTH) {
        None => (text, true),
        Some((cut, _)) => (format!("{}…", &text[..cut]), false),
    }
}

/// A line break is U+2028, as other programs for twtxt write it.
fn one_line(text: &str) -> String {
    text.trim().replace('\t', " ").replace(['\n', '\r'], "\u{2028}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_post_is_one_line() {
        assert_eq!(text(None, "**a**\nb"), ("a\u{2028}b".to_owned(), true));
        assert_eq!(text(Some("Title"), "text"), ("Title".to_owned(), false));
        let (long, whole) = text(None, &"あ".repeat(300));
        assert_eq!((long.chars().count(), whole), (281, false));
    }
}
