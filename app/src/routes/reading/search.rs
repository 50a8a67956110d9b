//! `GET /search?q=`: posts with all the words, from newest to oldest.

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, web};
use askama::Template;

use super::{PER_PAGE, before};
use crate::auth::Visitor;
use crate::db::models::Post;
use crate::db::queries::search::{self, Among};
use crate::domain::marks::{self, Piece};
use crate::domain::sought::Sought;
use crate::domain::{markup, percent};
use crate::routes::entry::{self, Moment};
use crate::routes::page::{self, Shell};
use crate::routes::{Answer, Form};
use crate::startup::AppState;
use crate::words::Lang;

/// Static pages among the results, before the posts.
const MOST_PAGES: i64 = 5;

#[derive(Template)]
#[template(path = "search.html")]
struct Search<'a> {
    shell: Shell<'a>,
    typed: &'a str,
    /// Something was looked for.
    asked: bool,
    hits: Vec<Hit>,
    older: Option<String>,
    is_first: bool,
    first: String,
}

/// A post that was found.
struct Hit {
    path: String,
    lang: String,
    title: Vec<Piece>,
    pieces: Vec<Piece>,
    published: Option<Moment>,
}

pub async fn search(request: HttpRequest, state: web::Data<AppState>, visitor: Visitor) -> Answer {
    let query = Form::parse(request.query_string().as_bytes());
    let typed = query.get("q").unwrap_or_default();
    let before = before(&request)?;
    let sought = Sought::parse(typed);
    let (mut pages, mut posts) = (Vec::new(), Vec::new());
    if let Some(sought) = sought.clone() {
        let limit = PER_PAGE as i64 + 1;
        (pages, posts) = state
            .db
            .read(move |connection| {
                let pages = match before {
                    None => search::find(connection, &sought, Among::Pages, None, MOST_PAGES)?,
                    Some(_) => Vec::new(),
                };
                Ok((pages, search::find(connection, &sought, Among::Listed, before, limit)?))
            })
            .await?;
    }
    let more = posts.len() > PER_PAGE;
    posts.truncate(PER_PAGE);
    let menu = super::menu(&state).await?;
    let mut shell = Shell::reading(&state, &visitor, menu);
    let words = format!("q={}", percent::encode(typed));
    let address = format!("/search?{words}");
    // As long as what a person types.
    shell.here = Some(match before {
        _ if typed.is_empty() || words.len() > 1000 => String::new(),
        None => words,
        Some(before) => format!("{words}&before={before}"),
    });
    let older = posts.last().filter(|_| more).map(Post::cursor);
    let hits = sought.as_ref().map_or_else(Vec::new, |sought| {
        pages
            .iter()
            .chain(&posts)
            .map(|post| hit(post, sought, &shell))
            .collect()
    });
    let page = Search {
        typed,
        asked: sought.is_some(),
        hits,
        older: older.map(|older| shell.to(&format!("{address}&before={older}"))),
        first: shell.to(&address),
        is_first: before.is_none(),
        shell,
    };
    let mut response = page::render(StatusCode::OK, &page)?;
    if visitor.0.is_none() {
        // "Back" to the results costs no second search.
        let value = actix_web::http::header::HeaderValue::from_static("private, max-age=60");
        response
            .headers_mut()
            .insert(actix_web::http::header::CACHE_CONTROL, value);
    }
    Ok(response)
}

fn hit(post: &Post, sought: &Sought, shell: &Shell<'_>) -> Hit {
    let plain = markup::plain(&post.body);
    let is_page = post.kind == crate::domain::Kind::Page;
    Hit {
        path: shell.to(&entry::path(
            post.id,
            &post.uuid,
            post.kind,
            post.visibility,
            post.slug.as_deref(),
        )),
        lang: post
            .lang
            .clone()
            .unwrap_or_else(|| Lang::guess(&post.body).code().to_owned()),
        title: post
            .title
            .as_deref()
            .map_or_else(Vec::new, |title| marks::excerpt(title, sought.wanted())),
        pieces: marks::excerpt(&plain, sought.wanted()),
        published: (!is_page).then(|| Moment::new(post.published_at(), shell.zone)),
    }
}
