//! What happens without being asked for: scheduled posts come out, and the trash empties itself.

use std::time::Duration;

use actix_web::rt::time::timeout;
use diesel::prelude::*;
use diesel::sqlite::SqliteConnection;
use tokio::sync::Notify;

use crate::db::Db;
use crate::db::queries::{due, trash};
use crate::domain::Stamp;
use crate::error::AppError;

/// In seconds. A clock that is set while we sleep is noticed after so long.
const LONGEST_SLEEP: i64 = 60;

/// Runs for as long as the server does. `changed` is called when a post was given a date.
pub async fn run(db: Db, changed: std::sync::Arc<Notify>) {
    loop {
        let seconds = match round(&db).await {
            Ok(seconds) => seconds,
            // A full disk, say. It is tried again, and nothing is lost meanwhile.
            Err(error) => {
                tracing::warn!(error = %error, "scheduled posts could not be looked after");
                LONGEST_SLEEP
            }
        };
        let sleep = Duration::from_secs(u64::try_from(seconds).unwrap_or(1));
        // Woken or not: the next round looks at everything.
        let _ = timeout(sleep, changed.notified()).await;
    }
}

/// One look at what is due. How many seconds it is to the next.
async fn round(db: &Db) -> Result<i64, AppError> {
    let now = Stamp::now();
    let (next, old) = db
        .read(move |connection| Ok((due::next(connection)?, trash::has_old(connection, now)?)))
        .await?;
    // Reading first: a round that finds nothing does not touch the disk.
    if next.is_some() || old {
        let (published, purged) = db.write(move |connection| act(connection, now, next, old)).await?;
        if published > 0 {
            tracing::info!(posts = published, "published what was scheduled");
        }
        if purged > 0 {
            tracing::info!(posts = purged, "purged what was in the trash for 30 days");
        }
    }
    let next = db.read(due::next).await?;
    Ok(next.map_or(LONGEST_SLEEP, |next| (next.0 - Stamp::now().0).clamp(1, LONGEST_SLEEP)))
}

fn act(connection: &mut SqliteConnection, now: Stamp, next: Option<Stamp>, old: bool) -> QueryResult<(usize, usize)> {
    let published = if next.is_some() {
        due::publish(connection, now)?
    } else {
        0
    };
    let purged = if old { trash::purge_old(connection, now)? } else { 0 };
    Ok((published, purged))
}
