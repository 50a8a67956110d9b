//! `GET /admin/metrics`: figures for the owner, in the text format of Prometheus. A program may ask with a token that
//! allows reading.

use actix_web::http::header;
use actix_web::{FromRequest, HttpRequest, HttpResponse, web};

use crate::auth::Owner;
use crate::auth::bearer;
use crate::auth::scope::Scope;
use crate::backup;
use crate::clock;
use crate::db::queries::counts::{self, Counts};
use crate::domain::Stamp;
use crate::error::AppError;
use crate::metrics::resident_bytes;
use crate::routes::Answer;
use crate::startup::AppState;

pub async fn show(request: HttpRequest, state: web::Data<AppState>) -> Answer {
    if request.headers().contains_key(header::AUTHORIZATION) {
        let program = bearer::program_of(&request, None).await;
        let allowed = program.and_then(|program| program.needs(Scope::Read));
        allowed.map_err(|_| AppError::TokenRefused)?;
    } else {
        Owner::extract(&request).await?;
    }
    let figures = Figures::collect(&state).await?;
    Ok(HttpResponse::Ok()
        .insert_header((header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8"))
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .body(figures.text()))
}

/// Everything that is known at one moment.
#[derive(Debug)]
pub struct Figures {
    pub counts: Counts,
    pub database_bytes: u64,
    pub responses: Vec<(usize, u64)>,
    pub uptime_seconds: u64,
    /// None where the kernel does not say.
    pub resident_bytes: Option<u64>,
    pub clock_behind_seconds: i64,
    pub is_read_only: bool,
    /// When the newest backup was made; `None` where there is none, or none is asked for.
    pub last_backup: Option<Stamp>,
}

impl Figures {
    pub async fn collect(state: &AppState) -> Result<Self, AppError> {
        let counts = state.db.read(counts::all).await?;
        let db = state.db.clone();
        let backups = state.backups.clone();
        let newest = move || Some(backup::list(&backups?).ok()?.last()?.made_at);
        let (database_bytes, last_backup) = web::block(move || (db.bytes(), newest())).await?;
        Ok(Self {
            counts,
            database_bytes,
            responses: state.metrics.responses().collect(),
            uptime_seconds: state.metrics.uptime_seconds(),
            resident_bytes: resident_bytes(),
            clock_behind_seconds: clock::behind().unwrap_or(0),
            is_read_only: state.db.trouble().is_some(),
            last_backup,
        })
    }

    /// <https://prometheus.io/docs/instrumenting/exposition_formats/>
    pub fn text(&self) -> String {
        let mut text = String::new();
        let mut family = |name: &str, kind: &str, help: &str, samples: &[(String, u64)]| {
            text.push_str(&format!("# HELP {name} {help}\n# TYPE {name} {kind}\n"));
            for (labels, value) in samples {
                text.push_str(&format!("{name}{labels} {value}\n"));
            }
        };
        let one = |value: u64| [(String::new(), value)];
        let number = |value: i64| u64::try_from(value).unwrap_or_default();
        let counts = &self.counts;
        let posts = [
            ("published", counts.published),
            ("draft", counts.drafts),
            ("scheduled", counts.scheduled),
            ("trash", counts.trash),
        ]
        .map(|(state, count)| (format!("{{state=\"{state}\"}}"), number(count)));
        family("blog_posts", "gauge", "Posts by state.", &posts);
        family(
            "blog_sessions",
            "gauge",
            "Browsers signed in.",
            &one(number(counts.sessions)),
        );
        family(
            "blog_tokens",
            "gauge",
            "Tokens of programs.",
            &one(number(counts.tokens)),
        );
        family("blog_images", "gauge", "Images stored.", &one(number(counts.images)));
        family(
            "blog_image_bytes",
            "gauge",
            "Bytes of images stored.",
            &one(number(counts.image_bytes)),
        );
        family(
            "blog_database_bytes",
            "gauge",
            "Bytes of the database and its log.",
            &one(self.database_bytes),
        );
        let responses: Vec<_> = self
            .responses
            .iter()
            .map(|(class, count)| (format!("{{class=\"{class}xx\"}}"), *count))
            .collect();
        family(
            "blog_responses_total",
            "counter",
            "Responses by class of status.",
            &responses,
        );
        family(
            "blog_uptime_seconds",
            "gauge",
            "Seconds since the start.",
            &one(self.uptime_seconds),
        );
        if let Some(bytes) = self.resident_bytes {
            family("blog_resident_bytes", "gauge", "Resident memory.", &one(bytes));
        }
        let behind = one(number(self.clock_behind_seconds));
        family(
            "blog_clock_behind_seconds",
            "gauge",
            "How far the clock is known to lag.",
            &behind,
        );
        let read_only = one(u64::from(self.is_read_only));
        family("blog_read_only", "gauge", "1 while nothing can be written.", &read_only);
        if let Some(made) = self.last_backup {
            let made = one(number(made.0));
            family(
                "blog_last_backup_timestamp_seconds",
                "gauge",
                "When the newest backup was made, in seconds since 1970.",
                &made,
            );
        }
        text
    }
}
