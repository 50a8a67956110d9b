//! `GET /admin/two-factor`: the second factor, on or off. `POST` turns it on, off, or makes new recovery codes; each
//! takes the password, so that a browser that was left open is not enough.

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::web;
use askama::Template;

use crate::auth::check::{self, Typed};
use crate::auth::totp::{self, Secret};
use crate::auth::{Owner, OwnerForm};
use crate::db::queries::second_factor;
use crate::domain::Stamp;
use crate::error::AppError;
use crate::routes::Answer;
use crate::routes::page::{self, Shell};
use crate::startup::AppState;

const RECOVERY_CODES: usize = 10;

#[derive(Template)]
#[template(path = "admin/two_factor.html")]
struct TwoFactor<'a> {
    shell: Shell<'a>,
    csrf: String,
    problem: &'a str,
    /// Of a second factor to be turned on; empty when it is on.
    secret: String,
    uri: String,
    codes_left: i64,
}

#[derive(Template)]
#[template(path = "admin/recovery_codes.html")]
struct Codes<'a> {
    shell: Shell<'a>,
    codes: Vec<String>,
}

pub async fn show(state: web::Data<AppState>, owner: Owner) -> Answer {
    form(StatusCode::OK, &state, &owner, "", None).await
}

async fn form(
    status: StatusCode,
    state: &AppState,
    owner: &Owner,
    problem: &str,
    secret: Option<Secret>,
) -> Result<HttpResponse, AppError> {
    let (is_on, codes_left) = state
        .db
        .read(|connection| {
            let is_on = second_factor::get(connection)?.is_some();
            Ok((is_on, second_factor::recovery_codes_left(connection)?))
        })
        .await?;
    let secret = match secret {
        _ if is_on => None,
        Some(secret) => Some(secret),
        None => Some(Secret::generate()?),
    };
    let page = TwoFactor {
        shell: Shell::owner(state, owner),
        csrf: owner.0.csrf(),
        problem,
        uri: secret.as_ref().map_or(String::new(), |secret| secret.uri(&state.title)),
        secret: secret.map_or(String::new(), |secret| secret.base32()),
        codes_left,
    };
    page::render(status, &page)
}

pub async fn change(state: web::Data<AppState>, sent: OwnerForm) -> Answer {
    let OwnerForm { owner, form: sent } = sent;
    let words = &owner.1.lang.words().access;
    let field = |name: &str| sent.get(name).unwrap_or_default().to_owned();
    let typed = Typed {
        password: field("password"),
        code: field("code"),
    };
    let wrong = |secret| form(StatusCode::FORBIDDEN, &state, &owner, words.wrong_with_code, secret);
    match field("do").as_str() {
        "on" => {
            let secret = Secret::parse(&field("secret")).ok_or(AppError::BadRequest)?;
            if state.db.read(second_factor::get).await?.is_some() {
                // The form sent twice: it is on, and its recovery codes were shown.
                return Ok(page::redirect("/admin/two-factor"));
            }
            let step = secret.check(&typed.code, Stamp::now(), 0);
            if !check::is_owner(&state, typed).await? {
                return wrong(Some(secret)).await;
            }
            let Some(step) = step else {
                return wrong(Some(secret)).await;
            };
            let codes = recovery_codes()?;
            let hashes: Vec<_> = codes.iter().map(|code| check::recovery_hash(code)).collect();
            state
                .db
                .write(move |connection| second_factor::enable(connection, secret.bytes(), step, &hashes, Stamp::now()))
                .await?;
            tracing::info!("second factor turned on");
            show_codes(&state, &owner, codes)
        }
        "off" => {
            if !check::is_owner(&state, typed).await? {
                return wrong(None).await;
            }
            state.db.write(second_factor::disable).await?;
            tracing::info!("second factor turned off");
            Ok(page::redirect("/admin/two-factor"))
        }
        "codes" => {
            if !check::is_owner(&state, typed).await? {
                return wrong(None).await;
            }
            let codes = recovery_codes()?;
            let hashes: Vec<_> = codes.iter().map(|code| check::recovery_hash(code)).collect();
            state
                .db
                .write(move |connection| second_factor::replace_recovery_codes(connection, &hashes, Stamp::now()))
                .await?;
            tracing::info!("new recovery codes");
            show_codes(&state, &owner, codes)
        }
        _ => Err(AppError::BadRequest),
    }
}

fn show_codes(state: &AppState, owner: &Owner, codes: Vec<String>) -> Answer {
    let page = Codes {
        shell: Shell::owner(state, owner),
        codes,
    };
    page::render(StatusCode::OK, &page)
}

fn recovery_codes() -> Result<Vec<String>, AppError> {
    let codes = (0..RECOVERY_CODES).map(|_| totp::recovery_code());
    Ok(codes.collect::<Result<_, _>>()?)
}
