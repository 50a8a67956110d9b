//! `GET /admin/status`: how the blog is, for its owner.

use actix_web::http::StatusCode;
use actix_web::web;
use askama::Template;

use super::metrics::Figures;
use crate::auth::Owner;
use crate::routes::Answer;
use crate::routes::page::{self, Shell};
use crate::startup::AppState;

#[derive(Template)]
#[template(path = "admin/status.html")]
struct Status<'a> {
    shell: Shell<'a>,
    warnings: Vec<String>,
    rows: Vec<(&'static str, String)>,
}

pub async fn show(state: web::Data<AppState>, owner: Owner) -> Answer {
    // Whoever looks here wants to know whether it is over.
    state.db.recover().await?;
    let figures = Figures::collect(&state).await?;
    let shell = Shell::owner(&state, &owner);
    let words = &shell.words.access;
    let mut warnings = Vec::new();
    if figures.is_read_only {
        warnings.push(words.read_only.to_owned());
    }
    if figures.clock_behind_seconds > 0 {
        warnings.push(format!(
            "{} {} h",
            words.clock_behind,
            figures.clock_behind_seconds / 3600 + 1
        ));
    }
    let counts = &figures.counts;
    let responses: Vec<_> = figures
        .responses
        .iter()
        .map(|(class, count)| format!("{class}xx: {count}"))
        .collect();
    let uptime = figures.uptime_seconds;
    let rows = vec![
        (words.published, counts.published.to_string()),
        (words.drafts, counts.drafts.to_string()),
        (words.scheduled, counts.scheduled.to_string()),
        (words.trash, counts.trash.to_string()),
        (
            words.images,
            format!("{} ({})", counts.images, megabytes(counts.image_bytes)),
        ),
        (
            words.database,
            megabytes(i64::try_from(figures.database_bytes).unwrap_or(i64::MAX)),
        ),
        (
            words.last_backup,
            match (&state.backups, figures.last_backup) {
                (None, _) => words.no_backups.to_owned(),
                (Some(_), None) => words.never.to_owned(),
                (Some(_), made) => super::moment(made, shell.zone),
            },
        ),
        (words.responses, responses.join(", ")),
        (
            words.running_for,
            format!(
                "{} d {} h {} min",
                uptime / 86_400,
                uptime / 3600 % 24,
                uptime / 60 % 60
            ),
        ),
        (
            words.memory,
            figures.resident_bytes.map_or(String::from("?"), |bytes| {
                megabytes(i64::try_from(bytes).unwrap_or(i64::MAX))
            }),
        ),
        (words.version, env!("CARGO_PKG_VERSION").to_owned()),
    ];
    let page = Status { warnings, rows, shell };
    page::render(StatusCode::OK, &page)
}

/// In powers of ten, with one digit behind the point.
fn megabytes(bytes: i64) -> String {
    let tenths = bytes / 100_000;
    format!("{}.{} MB", tenths / 10, tenths % 10)
}
