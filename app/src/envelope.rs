//! What is around every answer: the check of the host, errors as pages, headers, the line in the log.

use std::time::Instant;

use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::{self, HeaderValue};
use actix_web::http::{Method, StatusCode};
use actix_web::middleware::Next;
use actix_web::{Error, HttpRequest, HttpResponse};

use crate::error::AppError;
use crate::headers::add_headers;
use crate::listen::Audience;
use crate::routes::page::Shell;
use crate::startup::{AppState, choice, state};
use crate::telemetry;

/// After a form the owner goes on in the language of its page.
fn carry_language(response: &mut ServiceResponse<BoxBody>) {
    if response.status() != StatusCode::SEE_OTHER {
        return;
    }
    let choice = choice(response.request());
    if !choice.asked {
        return;
    }
    let location = response.headers().get(header::LOCATION);
    let Some(path) = location
        .and_then(|to| to.to_str().ok())
        .filter(|to| to.starts_with('/'))
    else {
        return;
    };
    let mark = if path.contains('?') { '&' } else { '?' };
    let to = format!("{path}{mark}lang={}", choice.lang.code());
    if let Ok(to) = HeaderValue::from_str(&to) {
        response.headers_mut().insert(header::LOCATION, to);
    }
}

/// The line in the log and the count.
fn note(state: &AppState, method: &Method, path: &str, status: StatusCode, started: Instant) {
    state.metrics.count(status.as_u16());
    // The image's health check asks twice a minute; only a failure is news.
    if !state.log_requests || path == "/healthz" && status.is_success() {
        return;
    }
    let millis = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
    // No address of the reader, no query, no agent: what is not written cannot be asked for.
    telemetry::request(method.as_str(), path, status.as_u16(), millis);
}

/// What this reader has asked for before, if it is kept and nothing has changed: then no handler needs to find out which page it
/// is, nor who asks.
async fn again(request: &HttpRequest) -> Option<HttpResponse> {
    if request.method() != Method::GET {
        return None;
    }
    let state = state(request).ok()?;
    // What cannot be read is told by the handler, as a page.
    let generation = state.db.generation().await.ok()?;
    let page = state.pages.again(generation, request)?;
    Some(page.answer(request))
}

/// Around every handler.
pub async fn around(
    mut request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let started = Instant::now();
    // Copies: routing needs the request to itself, so no clone of it may be held meanwhile.
    let method = request.method().clone();
    let path = request.path().to_owned();
    let (readers, known) = {
        let state = state(request.request())?;
        let known = state.hosts.allow(request.headers(), request.request().uri());
        (state.audience == Audience::Readers, known)
    };
    if readers
        && known
        && let Some(response) = again(request.request()).await
    {
        note(state(request.request())?, &method, &path, response.status(), started);
        return Ok(request.into_response(response));
    }
    if readers {
        // What is not there cannot be read: readers are the same to every handler.
        request.headers_mut().remove(header::COOKIE);
        request.headers_mut().remove(header::AUTHORIZATION);
    }

    let mut response = if known {
        next.call(request).await?.map_into_boxed_body()
    } else {
        request.error_response(AppError::UnknownHost).map_into_boxed_body()
    };
    if let Some(error) = response.response().error() {
        let internal = AppError::Internal("not an error of this program".into());
        let error = error.as_error::<AppError>().unwrap_or(&internal);
        if let AppError::Internal(cause) = error {
            tracing::error!(error = %cause, "request failed");
        }
        let page = error.page(Shell::new(state(response.request())?, None, choice(response.request())));
        response = response.into_response(page);
    }
    carry_language(&mut response);
    let headers = response.headers_mut();
    add_headers(headers);
    if readers {
        headers.remove(header::SET_COOKIE);
        // Handlers say that pages differ by cookie; here they do not.
        if headers.get(header::VARY).is_some_and(|value| value == "cookie") {
            headers.remove(header::VARY);
        }
    }

    note(state(response.request())?, &method, &path, response.status(), started);
    Ok(response)
}
