//! What goes wrong, as `{"error", "error_description"}` (Micropub, section 3.8; RFC 6750, section 3.1).

use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderValue};
use actix_web::{HttpResponse, ResponseError};

use super::{Outcome, json};
use crate::auth::bearer::Denied;
use crate::domain::json::Object;
use crate::error::AppError;
use crate::micropub::Invalid;
use crate::routes::Answer;

#[derive(Debug)]
pub enum Refusal {
    Denied(Denied),
    Invalid(Invalid),
    /// A kind of body that nobody here reads.
    Kind,
    /// This `Idempotency-Key` was sent before, with another post.
    KeyUsed,
    App(AppError),
}

impl Refusal {
    pub fn invalid(text: impl Into<String>) -> Self {
        Self::Invalid(Invalid::new(text))
    }

    fn response(self) -> HttpResponse {
        let invalid = "invalid_request";
        let (status, error, text, extra) = match self {
            Self::Invalid(Invalid(text)) => (StatusCode::BAD_REQUEST, invalid, text, None),
            Self::Kind => (
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                invalid,
                "send application/x-www-form-urlencoded, multipart/form-data or application/json".to_owned(),
                None,
            ),
            Self::KeyUsed => (
                StatusCode::UNPROCESSABLE_ENTITY,
                invalid,
                "this Idempotency-Key was sent before, with another post: use a new one".to_owned(),
                None,
            ),
            Self::Denied(Denied::NoToken) => (
                StatusCode::UNAUTHORIZED,
                "unauthorized",
                "send a token as \"Authorization: Bearer\"; its owner makes one at /admin/tokens".to_owned(),
                Some((header::WWW_AUTHENTICATE, "Bearer".to_owned())),
            ),
            Self::Denied(Denied::Unknown) => (
                StatusCode::UNAUTHORIZED,
                "invalid_token",
                "the token is unknown, revoked or has run out; its owner makes one at /admin/tokens".to_owned(),
                Some((header::WWW_AUTHENTICATE, "Bearer error=\"invalid_token\"".to_owned())),
            ),
            Self::Denied(Denied::TooMany(seconds)) => (
                StatusCode::TOO_MANY_REQUESTS,
                "invalid_token",
                format!("too many unknown tokens; try again in {seconds} s"),
                Some((header::RETRY_AFTER, seconds.to_string())),
            ),
            Self::Denied(Denied::Scope(scope)) => {
                let word = scope.word();
                let body = Object::new()
                    .text("error", "insufficient_scope")
                    .text(
                        "error_description",
                        &format!("the token does not allow this: it lacks {word}"),
                    )
                    .text("scope", word)
                    .end();
                let mut response = json(StatusCode::FORBIDDEN, body);
                let challenge = format!("Bearer error=\"insufficient_scope\", scope=\"{word}\"");
                if let Ok(value) = HeaderValue::from_str(&challenge) {
                    response.headers_mut().insert(header::WWW_AUTHENTICATE, value);
                }
                return response;
            }
            Self::Denied(Denied::Internal(error)) | Self::App(error) => return of_app(&error),
        };
        let body = Object::new()
            .text("error", error)
            .text("error_description", &text)
            .end();
        let mut response = json(status, body);
        if let Some((name, Ok(value))) = extra.map(|(name, value)| (name, HeaderValue::from_str(&value))) {
            response.headers_mut().insert(name, value);
        }
        response
    }
}

/// The errors that pages know, for programs. The cause of a 500 goes to the log only.
fn of_app(error: &AppError) -> HttpResponse {
    if let AppError::Internal(cause) = error {
        tracing::error!(error = %cause, "request failed");
    }
    let (word, text) = match error {
        AppError::Internal(_) => (
            "server_error",
            "something is wrong here; the log of the blog says what".to_owned(),
        ),
        AppError::ReadOnly | AppError::Unreadable => ("temporarily_unavailable", error.to_string()),
        AppError::TooLarge => ("invalid_request", "more was sent than the blog accepts".to_owned()),
        _ => ("invalid_request", error.to_string()),
    };
    let body = Object::new().text("error", word).text("error_description", &text).end();
    let mut response = json(error.status_code(), body);
    error.add_headers(&mut response);
    response
}

/// Refusals are answers, too.
pub fn answer(outcome: Outcome) -> Answer {
    Ok(outcome.unwrap_or_else(Refusal::response))
}

impl From<AppError> for Refusal {
    fn from(error: AppError) -> Self {
        Self::App(error)
    }
}

impl From<Denied> for Refusal {
    fn from(denied: Denied) -> Self {
        Self::Denied(denied)
    }
}

impl From<Invalid> for Refusal {
    fn from(invalid: Invalid) -> Self {
        Self::Invalid(invalid)
    }
}
