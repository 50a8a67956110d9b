//! `GET /login`: asks for the password.

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};
use askama::Template;

use crate::auth::session::{LOGIN_COOKIE, LOGIN_LIFE_SECONDS, Token};
use crate::auth::{Visitor, cookie, csrf};
use crate::db::queries;
use crate::error::AppError;
use crate::routes::Answer;
use crate::routes::page::{self, Shell};
use crate::startup::AppState;
use crate::words::Choice;

#[derive(Template)]
#[template(path = "login.html")]
struct Login<'a> {
    shell: Shell<'a>,
    csrf: String,
    problem: &'a str,
    has_owner: bool,
    has_second_factor: bool,
}

pub async fn login_form(request: HttpRequest, state: web::Data<AppState>, visitor: Visitor) -> Answer {
    if visitor.0.is_some() {
        return Ok(page::redirect("/"));
    }
    form(StatusCode::OK, &state, visitor.1, token_of(&request), Problem::None).await
}

/// Why the form is shown again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Problem {
    None,
    Expired,
    Wrong,
}

/// The login form has a token too, bound to a cookie of its own: nobody can sign a reader in unasked.
pub fn token_of(request: &HttpRequest) -> Option<Token> {
    cookie::read(request, LOGIN_COOKIE).and_then(Token::parse)
}

pub async fn form(
    status: StatusCode,
    state: &AppState,
    choice: Choice,
    known: Option<Token>,
    problem: Problem,
) -> Result<HttpResponse, AppError> {
    let (has_owner, has_second_factor) = state
        .db
        .read(|connection| {
            let owner = queries::owner::password_hash(connection)?;
            Ok((owner.is_some(), queries::second_factor::get(connection)?.is_some()))
        })
        .await?;
    // The token a browser has is kept, so that two open login pages both work.
    let token = match known {
        Some(token) => token,
        None => Token::generate()?,
    };
    let words = &choice.lang.words().access;
    let page = Login {
        problem: match problem {
            Problem::None => "",
            Problem::Expired => words.expired,
            Problem::Wrong if has_second_factor => words.wrong_with_code,
            Problem::Wrong => words.wrong,
        },
        shell: Shell::new(state, None, choice),
        csrf: token.csrf(),
        has_owner,
        has_second_factor,
    };
    let mut response = page::render(status, &page)?;
    let cookie = cookie::write(LOGIN_COOKIE, &token.reveal(), LOGIN_LIFE_SECONDS, state.secure_cookie);
    page::set_cookie(&mut response, &cookie)?;
    Ok(response)
}

/// True when this browser asked for the form it sends.
pub fn is_ours(request: &HttpRequest, token: Option<Token>, sent: Option<&str>) -> bool {
    token.is_some_and(|token| csrf::is_ours(request, &token.csrf(), sent))
}
