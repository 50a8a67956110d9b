//! `GET /opensearch.xml`: tells browsers how to search here (OpenSearch 1.1).

use actix_web::http::header;
use actix_web::{HttpResponse, web};
use askama::Template;

use crate::error::AppError;
use crate::routes::Answer;
use crate::startup::AppState;

#[derive(Template)]
#[template(path = "opensearch.xml")]
struct Description<'a> {
    /// At most 16 characters, says the specification.
    short: String,
    site: &'a str,
    base: &'a str,
}

/// Browsers want whole addresses, so there is nothing to say without a configured one.
pub async fn show(state: web::Data<AppState>) -> Answer {
    if state.base_url.is_empty() {
        return Err(AppError::NotFound);
    }
    let description = Description {
        short: state.title.chars().take(16).collect(),
        site: &state.title,
        base: &state.base_url,
    };
    Ok(HttpResponse::Ok()
        .insert_header((
            header::CONTENT_TYPE,
            "application/opensearchdescription+xml; charset=utf-8",
        ))
        .insert_header((header::CACHE_CONTROL, "public, max-age=86400"))
        .body(description.render()?))
}
