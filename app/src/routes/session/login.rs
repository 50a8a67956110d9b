//! `POST /login`: checks password and code, and starts a session.

use actix_web::http::{StatusCode, header};
use actix_web::{HttpRequest, web};

use super::login_form::{self, Problem};
use crate::auth::check::{self, Typed};
use crate::auth::session::{COOKIE, LIFE_SECONDS, LOGIN_COOKIE, Token};
use crate::auth::{cookie, device};
use crate::db::queries::sessions::{self, NewSession};
use crate::domain::Stamp;
use crate::routes::page;
use crate::routes::{Answer, Form};
use crate::startup::{AppState, choice};

pub async fn login(request: HttpRequest, state: web::Data<AppState>, form: Form) -> Answer {
    let choice = choice(&request);
    let known = login_form::token_of(&request);
    if !login_form::is_ours(&request, known, form.get("csrf")) {
        return login_form::form(StatusCode::FORBIDDEN, &state, choice, None, Problem::Expired).await;
    }
    let field = |name: &str| form.get(name).unwrap_or_default().to_owned();
    let typed = Typed {
        password: field("password"),
        code: field("code"),
    };
    if !check::is_owner(&state, typed).await? {
        tracing::warn!("wrong password or code");
        return login_form::form(StatusCode::FORBIDDEN, &state, choice, known, Problem::Wrong).await;
    }

    // Always a new token, whatever the browser brought along; the session it replaces ends.
    let token = Token::generate()?;
    let agent = request.headers().get(header::USER_AGENT);
    let label = device::name(agent.and_then(|agent| agent.to_str().ok()).unwrap_or_default());
    let old = cookie::read(&request, COOKIE).and_then(Token::parse);
    state
        .db
        .write(move |connection| {
            let now = Stamp::now();
            if let Some(old) = old {
                sessions::end(connection, &old.hash())?;
            }
            let new = NewSession {
                hash: token.hash(),
                label,
                until: Stamp(now.0 + LIFE_SECONDS),
            };
            sessions::start(connection, &new, now)
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
