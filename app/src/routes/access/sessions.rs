//! `GET /admin/sessions`: browsers that are signed in. `POST /admin/sessions/revoke`: one of them, or all others, are
//! not any more.

use actix_web::http::StatusCode;
use actix_web::web;
use askama::Template;

use super::moment;
use crate::auth::{Owner, OwnerForm};
use crate::db::queries::sessions;
use crate::domain::Stamp;
use crate::error::AppError;
use crate::routes::Answer;
use crate::routes::page::{self, Shell};
use crate::startup::AppState;

#[derive(Template)]
#[template(path = "admin/sessions.html")]
struct Sessions<'a> {
    shell: Shell<'a>,
    csrf: String,
    rows: Vec<Row>,
}

struct Row {
    id: i64,
    label: String,
    since: String,
    seen: String,
    until: String,
    is_this: bool,
}

pub async fn list(state: web::Data<AppState>, owner: Owner) -> Answer {
    let hash = owner.0.hash();
    let (rows, this) = state
        .db
        .read(move |connection| {
            let this = sessions::id_of(connection, &hash)?;
            Ok((sessions::list(connection, Stamp::now())?, this))
        })
        .await?;
    let shell = Shell::owner(&state, &owner);
    let zone = shell.zone;
    let row = |session: sessions::Session| Row {
        id: session.id,
        since: moment(Some(session.created_at()), zone),
        seen: moment(Some(session.seen_at()), zone),
        until: moment(Some(session.expires_at()), zone),
        is_this: Some(session.id) == this,
        label: session.label,
    };
    let page = Sessions {
        csrf: owner.0.csrf(),
        rows: rows.into_iter().map(row).collect(),
        shell,
    };
    page::render(StatusCode::OK, &page)
}

pub async fn revoke(state: web::Data<AppState>, sent: OwnerForm) -> Answer {
    let hash = sent.owner.0.hash();
    let which = sent.form.get("session").unwrap_or_default();
    let id = match which {
        "others" => None,
        id => Some(id.parse::<i64>().map_err(|_| AppError::BadRequest)?),
    };
    state
        .db
        .write(move |connection| match id {
            Some(id) => sessions::revoke(connection, id),
            None => sessions::revoke_others(connection, &hash),
        })
        .await?;
    tracing::info!("sessions revoked");
    Ok(page::redirect("/admin/sessions"))
}
