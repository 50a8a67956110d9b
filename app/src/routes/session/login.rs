//! `POST /login`: checks the password and starts a session.

use std::time::Instant;

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, web};

use super::login_form;
use crate::auth::session::{COOKIE, LIFE_SECONDS, LOGIN_COOKIE, Token};
use crate::auth::throttle::Refused;
use crate::auth::{cookie, password};
use crate::db::queries::{owner, sessions};
use crate::domain::Stamp;
use crate::error::AppError;
use crate::routes::page;
use crate::routes::{Answer, Form};
use crate::startup::{AppState, choice};

pub async fn login(request: HttpRequest, state: web::Data<AppState>, form: Form) -> Answer {
    let choice = choice(&request);
    let known = login_form::token_of(&request);
    if !login_form::is_ours(&request, known, form.get("csrf")) {
        let problem = "The page had expired, or the browser keeps no cookies. Please try again.";
        return login_form::form(StatusCode::FORBIDDEN, &state, choice, None, problem).await;
    }
    let permit = state.throttle.admit(Instant::now()).map_err(|refused| match refused {
        Refused::Pause(wait) => AppError::TooManyLogins {
            seconds: wait.as_secs() + 1,
        },
        Refused::Busy => AppError::LoginBusy,
    })?;

    let hash = state.db.read(owner::password_hash).await?;
    let typed = form.take("password");
    // The permit goes along: if the browser hangs up, the check runs on and still counts as the one.
    let (right, permit) = web::block(move || {
        let right = password::verify(&typed, hash.as_deref());
        if right {
            permit.was_right();
        } else {
            permit.was_wrong(Instant::now());
        }
        (right, permit)
    })
    .await?;
    drop(permit);
    if !right {
        tracing::warn!("wrong password");
        return login_form::form(
            StatusCode::FORBIDDEN,
            &state,
            choice,
            known,
            "That is not the password.",
        )
        .await;
    }

    // Always a new token, whatever the browser brought along; the session it replaces ends.
    let token = Token::generate()?;
    let old = cookie::read(&request, COOKIE).and_then(Token::parse);
    state
        .db
        .write(move |connection| {
            let now = Stamp::now();
            if let Some(old) = old {
                sessions::end(connection, &old.hash())?;
            }
            sessions::start(connection, &token.hash(), now, Stamp(now.0 + LIFE_SECONDS))
        })
        .await?;
    tracing::info!("signed in");
    let mut response = page::redirect("/");
    let secure = state.secure_cookie;
    page::set_cookie(
        &mut response,
        &cookie::write(COOKIE, &token.reveal(), LIFE_SECONDS, secure),
    )?;
    page::set_cookie(&mut response, &cookie::write(LOGIN_COOKIE, "", 0, secure))?;
    Ok(response)
}
