//! `GET /admin/tokens`: what programs may do. `POST /admin/tokens`: a new one. `POST /admin/tokens/revoke`.

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::web;
use askama::Template;

use super::moment;
use crate::auth::bearer::ApiKey;
use crate::auth::scope::{Scope, Scopes};
use crate::auth::session::Token;
use crate::auth::{Owner, OwnerForm};
use crate::db::queries::tokens::{self, NewToken};
use crate::domain::Stamp;
use crate::error::AppError;
use crate::routes::Answer;
use crate::routes::page::{self, Shell};
use crate::startup::AppState;

/// In characters.
const LONGEST_NAME: usize = 80;
const DAY: i64 = 24 * 3600;

#[derive(Template)]
#[template(path = "admin/tokens.html")]
struct Tokens<'a> {
    shell: Shell<'a>,
    csrf: String,
    /// Becomes the token: the form sent twice makes one.
    key: String,
    problem: &'a str,
    name: &'a str,
    scopes: Vec<Choice>,
    rows: Vec<Row>,
}

struct Choice {
    word: &'static str,
    meaning: &'static str,
    ticked: bool,
}

struct Row {
    id: i64,
    name: String,
    scopes: String,
    since: String,
    used: String,
    until: String,
}

#[derive(Template)]
#[template(path = "admin/token_made.html")]
struct Made<'a> {
    shell: Shell<'a>,
    name: &'a str,
    token: String,
}

pub async fn list(state: web::Data<AppState>, owner: Owner) -> Answer {
    form(StatusCode::OK, &state, &owner, "", "", &Scopes::parse("create")).await
}

async fn form(
    status: StatusCode,
    state: &AppState,
    owner: &Owner,
    problem: &str,
    name: &str,
    ticked: &Scopes,
) -> Result<HttpResponse, AppError> {
    let rows = state.db.read(tokens::list).await?;
    let shell = Shell::owner(state, owner);
    let zone = shell.zone;
    let row = |token: tokens::ApiToken| Row {
        id: token.id,
        since: moment(Some(token.created_at()), zone),
        used: moment(token.used_at(), zone),
        until: moment(token.expires_at(), zone),
        name: token.name,
        scopes: token.scopes,
    };
    let choices = Scope::ALL.iter().zip(shell.words.access.scopes);
    let page = Tokens {
        csrf: owner.0.csrf(),
        key: Token::generate()?.reveal(),
        problem,
        name,
        scopes: choices
            .map(|(scope, meaning)| Choice {
                word: scope.word(),
                meaning,
                ticked: ticked.has(*scope),
            })
            .collect(),
        rows: rows.into_iter().map(row).collect(),
        shell,
    };
    page::render(status, &page)
}

pub async fn create(state: web::Data<AppState>, sent: OwnerForm) -> Answer {
    let OwnerForm { owner, form: sent } = sent;
    let words = &owner.1.lang.words().access;
    let key = sent.get("key").and_then(Token::parse).ok_or(AppError::BadRequest)?;
    let name: String = sent
        .get("name")
        .unwrap_or_default()
        .trim()
        .chars()
        .take(LONGEST_NAME)
        .collect();
    let ticked: Vec<_> = Scope::ALL
        .iter()
        .filter(|scope| sent.get(&format!("may-{}", scope.word())).is_some())
        .map(|scope| scope.word())
        .collect();
    let scopes = Scopes::parse(&ticked.join(" "));
    let problem = if name.is_empty() || name.chars().any(char::is_control) {
        words.token_needs_name
    } else if scopes.is_empty() {
        words.token_needs_scope
    } else {
        ""
    };
    if !problem.is_empty() {
        return form(
            StatusCode::UNPROCESSABLE_ENTITY,
            &state,
            &owner,
            problem,
            &name,
            &scopes,
        )
        .await;
    }
    let now = Stamp::now();
    let expires_at = match sent.get("life") {
        Some("30") => Some(Stamp(now.0 + 30 * DAY)),
        Some("365") => Some(Stamp(now.0 + 365 * DAY)),
        _ => None,
    };
    let api_key = ApiKey::of(&key);
    let new = NewToken {
        hash: api_key.hash(),
        name: name.clone(),
        scopes: scopes.text(),
        expires_at,
    };
    if !state
        .db
        .write(move |connection| tokens::create(connection, &new, now))
        .await?
    {
        let problem = words.too_many_tokens;
        return form(StatusCode::CONFLICT, &state, &owner, problem, &name, &scopes).await;
    }
    tracing::info!(scopes = scopes.text(), "token made");
    let page = Made {
        shell: Shell::owner(&state, &owner),
        name: &name,
        token: api_key.reveal(),
    };
    page::render(StatusCode::OK, &page)
}

pub async fn revoke(state: web::Data<AppState>, sent: OwnerForm) -> Answer {
    let id = sent.form.get("token").and_then(|id| id.parse::<i64>().ok());
    let id = id.ok_or(AppError::BadRequest)?;
    state.db.write(move |connection| tokens::revoke(connection, id)).await?;
    tracing::info!("token revoked");
    Ok(page::redirect("/admin/tokens"))
}
