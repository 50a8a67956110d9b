//! What can go wrong while answering, and the page that says so. The cause of a 500 goes to the log only.

use std::fmt;

use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderValue};
use actix_web::{HttpResponse, ResponseError};
use askama::Template;

use crate::domain::random::NoRandom;
use crate::routes::page::{self, Shell};

#[derive(Debug)]
pub enum AppError {
    NotFound,
    BadRequest,
    WrongMethod {
        allowed: &'static str,
    },
    TooLarge,
    NotAForm,
    TooSlow,
    /// A page for the owner, asked for by somebody else.
    SignInFirst,
    /// A form of the owner's whose session is over. The text typed goes back.
    SignedOut {
        text: String,
    },
    /// A form that did not come from one of our pages. The text typed goes back.
    NotOurForm {
        text: String,
    },
    TooManyLogins {
        seconds: u64,
    },
    /// Somebody's password is being checked at this moment.
    LoginBusy,
    Internal(Box<dyn std::error::Error + Send + Sync>),
}

impl AppError {
    fn words(&self) -> (StatusCode, &'static str, &'static str) {
        match self {
            Self::NotFound => (
                StatusCode::NOT_FOUND,
                "Not found",
                "There is no such page. The post may have been deleted.",
            ),
            Self::BadRequest => (StatusCode::BAD_REQUEST, "Bad request", "The request could not be read."),
            Self::WrongMethod { .. } => (
                StatusCode::METHOD_NOT_ALLOWED,
                "Not possible here",
                "This address does not answer that kind of request.",
            ),
            Self::TooLarge => (
                StatusCode::PAYLOAD_TOO_LARGE,
                "Too large",
                "More was sent than the blog accepts. Go back and make the text shorter.",
            ),
            Self::NotAForm => (
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "Not a form",
                "The blog reads forms sent by its own pages.",
            ),
            Self::TooSlow => (
                StatusCode::REQUEST_TIMEOUT,
                "Too slow",
                "The form did not arrive in time. Go back and send it again: it will not be posted twice.",
            ),
            Self::SignInFirst => (StatusCode::SEE_OTHER, "Sign in first", "This page is for the owner."),
            Self::SignedOut { .. } => (
                StatusCode::FORBIDDEN,
                "You are signed out",
                "Nothing was changed. Sign in, then send the form again.",
            ),
            Self::NotOurForm { .. } => (
                StatusCode::FORBIDDEN,
                "The form has expired",
                "Nothing was changed. Load the page with the form again, then send it.",
            ),
            Self::TooManyLogins { .. } => (
                StatusCode::TOO_MANY_REQUESTS,
                "Wait a little",
                "There were several wrong passwords. Wait half a minute, then try again.",
            ),
            Self::LoginBusy => (
                StatusCode::TOO_MANY_REQUESTS,
                "Wait a little",
                "Another password is being checked right now. Try again in a second.",
            ),
            Self::Internal(_) => (
                StatusCode::INTERNAL_SERVER_ERROR,
                "Something went wrong",
                "The blog could not do that. The reason is in its log.",
            ),
        }
    }

    /// The page for this error, in the look of the blog.
    pub fn page(&self, shell: Shell<'_>) -> HttpResponse {
        let (status, heading, explanation) = self.words();
        let text = match self {
            Self::SignedOut { text } | Self::NotOurForm { text } => text.as_str(),
            _ => "",
        };
        let sign_in = matches!(self, Self::SignedOut { .. });
        let body = ErrorPage {
            shell,
            heading,
            explanation,
            text,
            sign_in,
        }
        .render()
        .unwrap_or_default();
        let mut response = page::respond(status, body);
        self.add_headers(&mut response);
        response
    }

    fn add_headers(&self, response: &mut HttpResponse) {
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
            Self::LoginBusy => {
                headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
            }
            // What is left of the body will not be read, so the connection cannot go on.
            Self::TooLarge | Self::TooSlow => {
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
    text: &'a str,
    sign_in: bool,
}

impl fmt::Display for AppError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Internal(cause) => cause.fmt(f),
            other => f.write_str(other.words().1),
        }
    }
}

impl ResponseError for AppError {
    fn status_code(&self) -> StatusCode {
        self.words().0
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
