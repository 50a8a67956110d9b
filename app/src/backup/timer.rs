//! Backups while the blog runs: one when the newest is older than asked for, then one every so often.

use std::path::PathBuf;
use std::time::Duration;

use super::{Plan, list, run};
use crate::cli::Failure;
use crate::domain::Stamp;
use crate::settings::Settings;

/// After the start the blog answers readers first; and a program that is started again and again makes no backup each
/// time.
const FIRST: Duration = Duration::from_secs(60);
/// After a failure.
const AGAIN: Duration = Duration::from_secs(15 * 60);

/// How long to wait for the next backup, `every` after the newest one. A newest one that lies in the future is one that
/// was made before the clock was lost: it counts as none.
pub fn wait(newest: Option<Stamp>, now: Stamp, every: Duration) -> Duration {
    let age = newest.and_then(|newest| u64::try_from(now.0 - newest.0).ok());
    match age {
        Some(age) => every.saturating_sub(Duration::from_secs(age)).max(FIRST),
        None => FIRST,
    }
}

/// Makes one backup and tells the log. Answers with how long to wait for the next.
pub fn tick(plan: &Plan, every: Duration) -> Duration {
    match run(plan, Stamp::now()) {
        Ok(made) => {
            for problem in &made.problems {
                tracing::warn!(problem = problem.as_str(), "the backup lacks an image");
            }
            let path = made.path.display().to_string();
            tracing::info!(
                path = path.as_str(),
                posts = made.posts,
                images = made.images,
                "backup made and restored"
            );
            every
        }
        Err(Failure { message, hint, .. }) => {
            tracing::error!(error = message.as_str(), hint = hint.as_str(), "no backup was made");
            AGAIN.min(every)
        }
    }
}

/// Starts making backups, if that is asked for, on a thread that ends with the process. What it leaves behind then, the
/// next backup removes.
pub fn start(settings: &Settings) {
    let Some(to) = settings.backup.to.clone() else {
        return;
    };
    let plan = Plan {
        media: settings.media.directory.clone(),
        database: PathBuf::from(&settings.database),
        to,
        keep: settings.backup.keep,
    };
    let every = settings.backup.every;
    let place = plan.to.display().to_string();
    tracing::info!(to = place.as_str(), keep = plan.keep, "backups are planned");
    std::thread::spawn(move || {
        let mut wait = first(&plan, every);
        loop {
            std::thread::sleep(wait);
            wait = tick(&plan, every);
        }
    });
}

/// How long until the first one.
pub fn first(plan: &Plan, every: Duration) -> Duration {
    let newest = list(&plan.to)
        .ok()
        .and_then(|all| all.last().map(|backup| backup.made_at));
    wait(newest, Stamp::now(), every)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_one_is_due_when_the_newest_is_old_enough() {
        let day = Duration::from_secs(86_400);
        let at = |newest| wait(newest, Stamp(100_000), day).as_secs();
        assert_eq!(at(None), 60);
        assert_eq!(at(Some(Stamp(100_000 - 86_400))), 60);
        assert_eq!(at(Some(Stamp(100_000 - 3_600))), 82_800);
        assert_eq!(at(Some(Stamp(200_000))), 60, "the clock lags");
    }
}
