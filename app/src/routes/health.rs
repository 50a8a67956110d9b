//! `GET /healthz`: whether the database answers, and what is not as it should be. It is well as long as people can read.

use actix_web::http::header;
use actix_web::{HttpResponse, web};

use crate::clock;
use crate::db::queries;
use crate::error::AppError;
use crate::listen::Audience;
use crate::startup::AppState;

pub async fn show(state: web::Data<AppState>) -> HttpResponse {
    // First, so that a look may be all that a blog needs which could not even begin.
    let condition = degraded(&state).await;
    let (mut response, text) = match state.db.read(queries::site::get).await {
        Ok(_) => (HttpResponse::Ok(), condition),
        Err(AppError::Unreadable) => {
            let text = condition.replacen("nothing is saved", "nothing can be read", 1);
            (HttpResponse::ServiceUnavailable(), text)
        }
        Err(error) => {
            tracing::error!(error = %error, "health check failed");
            (
                HttpResponse::ServiceUnavailable(),
                "the database does not answer\n".to_owned(),
            )
        }
    };
    response
        .insert_header((header::CONTENT_TYPE, "text/plain; charset=utf-8"))
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .body(text)
}

/// `ok`, or a line that says what is wrong. Readers are told that something is, not what.
async fn degraded(state: &AppState) -> String {
    if let Err(error) = state.db.recover().await {
        tracing::error!(error = %error, "cannot try whether changes are saved again");
    }
    let mut problems = Vec::new();
    if let Some(trouble) = state.db.trouble() {
        problems.push(format!("nothing is saved, {}", trouble.word()));
    }
    if let Some(seconds) = clock::behind() {
        problems.push(format!("the clock lags by {seconds} s or more"));
    }
    match (problems.is_empty(), state.audience) {
        (true, _) => "ok\n".to_owned(),
        (false, Audience::Readers) => "degraded\n".to_owned(),
        (false, Audience::Everybody) => format!("degraded: {}\n", problems.join("; ")),
    }
}
