//! `GET /healthz`: whether the database answers.

use actix_web::http::header;
use actix_web::{HttpResponse, web};

use crate::db::queries;
use crate::startup::AppState;

pub async fn show(state: web::Data<AppState>) -> HttpResponse {
    let (mut response, text) = match state.db.read(queries::site::get).await {
        Ok(_) => (HttpResponse::Ok(), "ok\n"),
        Err(error) => {
            tracing::error!(error = %error, "health check failed");
            (HttpResponse::ServiceUnavailable(), "the database does not answer\n")
        }
    };
    response
        .insert_header((header::CONTENT_TYPE, "text/plain; charset=utf-8"))
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .body(text)
}
