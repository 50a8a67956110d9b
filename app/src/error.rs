//! What can go wrong while answering, and the page that says so. The cause of a 500 goes to the log only.

use std::fmt;

use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderValue};
use actix_web::{HttpResponse, ResponseError};
use askama::Template;

use crate::domain::random::NoRandom;
use crate::routes::page::{self, Shell};
use crate::words::{Errors, Lang, errors};

#[derive(Debug)]
pub enum AppError {
    /// Asked for under a name that is not this blog's.
    UnknownHost,
    /// The disk is full or broken; reading goes on.
    ReadOnly,
    /// The disk was full or broken when the program started, so that not even reading could begin.
    Unreadable,
    /// A program whose token is not good enough.
    TokenRefused,
    NotFound,
    /// It was public, and the owner has deleted it.
    Gone,
    BadRequest,
    WrongMethod {
        allowed: &'static str,
    },
    TooLarge,
    NotAForm,
    TooSlow,
    /// A page for the owner, asked for by somebody else.
    SignInFirst,
    /// A form of the owner's whose session is over. What was typed goes back.
    SignedOut(GivenBack),
    /// A form that did not come from one of our pages, or from one of another session. What was typed goes back.
    NotOurForm(GivenBack),
    TooManyLogins {
        seconds: u64,
    },
    /// Somebody's password is being checked at this moment.
    LoginBusy,
    Internal(Box<dyn std::error::Error + Send + Sync>),
}

/// A form that was not taken, in full. Sent again after signing in, it is taken.
#[derive(Debug, Default)]
pub struct GivenBack {
    /// The text of the post.
    pub text: String,
    /// Where the form goes; empty when it is not to be sent again.
    pub action: String,
    /// Of the session that there is; empty when there is none.
    pub csrf: String,
    /// All the other fields.
    pub fields: Vec<(String, String)>,
}

impl AppError {
    fn words(&self, words: &Errors) -> (StatusCode, errors::Text) {
        match self {
            Self::Gone => (StatusCode::GONE, words.gone),
            Self::ReadOnly => (StatusCode::SERVICE_UNAVAILABLE, words.read_only),
            Self::Unreadable => (StatusCode::SERVICE_UNAVAILABLE, words.unreadable),
            Self::TokenRefused => (StatusCode::FORBIDDEN, words.token_refused),
            Self::UnknownHost => (StatusCode::MISDIRECTED_REQUEST, words.unknown_host),
            Self::NotFound => (StatusCode::NOT_FOUND, words.not_found),
            Self::BadRequest => (StatusCode::BAD_REQUEST, words.bad_request),
            Self::WrongMethod { .. } => (StatusCode::METHOD_NOT_ALLOWED, words.wrong_method),
            Self::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, words.too_large),
            Self::NotAForm => (StatusCode::UNSUPPORTED_MEDIA_TYPE, words.not_a_form),
            Self::TooSlow => (StatusCode::REQUEST_TIMEOUT, words.too_slow),
            Self::SignInFirst => (StatusCode::SEE_OTHER, words.sign_in_first),
            Self::SignedOut(_) => (StatusCode::FORBIDDEN, words.signed_out),
            Self::NotOurForm(_) => (StatusCode::FORBIDDEN, words.not_our_form),
            Self::TooManyLogins { .. } => (StatusCode::TOO_MANY_REQUESTS, words.too_many_logins),
            Self::LoginBusy => (StatusCode::TOO_MANY_REQUESTS, words.login_busy),
            Self::Internal(_) => (StatusCode::INTERNAL_SERVER_ERROR, words.internal),
        }
    }

    /// The page for this error, in the look of the blog.
    pub fn page(&self, shell: Shell<'_>) -> HttpResponse {
        let (status, (heading, explanation)) = self.words(&shell.words.errors);
        let nothing = GivenBack::default();
        let typed = match self {
            Self::SignedOut(typed) | Self::NotOurForm(typed) => typed,
            _ => &nothing,
        };
        let sign_in = matches!(self, Self::SignedOut(_));
        let body = ErrorPage {
            shell,
            heading,
            explanation,
            typed,
            sign_in,
        }
        .render()
        .unwrap_or_default();
        let mut response = page::respond(status, body);
        self.add_headers(&mut response);
        response
    }

    /// Those that go with the error, whatever its body is.
    pub fn add_headers(&self, response: &mut HttpResponse) {
        let headers = response.headers_mut();
        match self {
            Self::SignInFirst => {
                headers.insert(header::LOCATION, HeaderValue::from_static("/login"));
            }
            Self::WrongMethod { allowed } => {
                headers.insert(header::ALLOW, HeaderValue::from_static(allowed));
            }
            Self::TooManyLogins { seconds } => {
                headers.insert(header::RETRY_AFTER, HeaderValue::from(*seconds));
            }
            Self::ReadOnly | Self::Unreadable => {
                headers.insert(header::RETRY_AFTER, HeaderValue::from_static("60"));
            }
            Self::LoginBusy => {
                headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
            }
            // What is left of the body will not be read, so the connection cannot go on.
            Self::TooLarge | Self::TooSlow | Self::UnknownHost => {
                headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
            }
            _ => {}
        }
    }
}

#[derive(Template)]
#[template(path = "error.html")]
struct ErrorPage<'a> {
    shell: Shell<'a>,
    heading: &'a str,
    explanation: &'a str,
    typed: &'a GivenBack,
    sign_in: bool,
}

impl fmt::Display for AppError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Internal(cause) => cause.fmt(f),
            other => f.write_str(other.words(&Lang::En.words().errors).1.0),
        }
    }
}

impl ResponseError for AppError {
    fn status_code(&self) -> StatusCode {
        self.words(&Lang::En.words().errors).0
    }

    /// The bare status. `startup::finish` puts the page around it, because only there the blog's name is known.
    fn error_response(&self) -> HttpResponse {
        HttpResponse::new(self.status_code())
    }
}

impl From<diesel::result::Error> for AppError {
    fn from(error: diesel::result::Error) -> Self {
        Self::Internal(Box::new(error))
    }
}

impl From<actix_web::error::BlockingError> for AppError {
    fn from(error: actix_web::error::BlockingError) -> Self {
        Self::Internal(Box::new(error))
    }
}

impl From<askama::Error> for AppError {
    fn from(error: askama::Error) -> Self {
        Self::Internal(Box::new(error))
    }
}

impl From<NoRandom> for AppError {
    fn from(error: NoRandom) -> Self {
        Self::Internal(Box::new(error))
    }
}
