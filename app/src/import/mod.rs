//! Bringing posts in from elsewhere: archives of X and Mastodon, Markdown files, and the blog's own export.
//!
//! Every import reads what it is given piece by piece, writes in transactions of some hundred posts, and remembers what
//! each post was called (`old_ids`). So it may be killed and run again, or run twice: nothing comes twice.

pub mod elements;
pub mod html_text;
pub mod incoming;
pub mod lines;
pub mod markdown;
pub mod markdown_text;
pub mod mastodon;
pub mod own;
pub mod pictures;
pub mod progress;
pub mod report;
pub mod spool;
pub mod x;

use std::collections::HashMap;

use diesel::sqlite::SqliteConnection;

use crate::cli::Failure;
use crate::db::queries::{search, transfer};
use crate::domain::Stamp;
use progress::Progress;
use report::Report;

/// Posts in one transaction: enough that the card is not asked to sync for every one, few enough that a kill loses
/// little.
pub const BATCH: usize = 250;

/// No description can be made up.
pub const NO_ALT: (&str, &str) = (
    "no-alt",
    "images without a description: they count as decoration until they get one",
);

/// Where the posts go, and what goes with every import.
pub struct Target<'a> {
    pub connection: &'a mut SqliteConnection,
    pub now: Stamp,
    /// Count and check, write nothing.
    pub dry_run: bool,
    pub report: Report,
    pub progress: &'a mut Progress,
    /// Numbers of tags by folded name, as far as they have been asked for.
    pub tags: HashMap<String, i64>,
}

impl std::fmt::Debug for Target<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Target")
    }
}

impl Target<'_> {
    /// The post that was called `old_id` at `source`: its number and that of its thread.
    pub fn known(&mut self, source: &str, old_id: &str) -> Result<Option<transfer::Place>, Failure> {
        transfer::find_old(self.connection, source, old_id).map_err(read_failed)
    }

    /// Puts a tag on a post, and makes it if there is none with this folded name.
    pub fn tag(&mut self, post: i64, folded: &str, name: &str) -> Result<(), BatchError> {
        let tag = match self.tags.get(folded) {
            Some(tag) => *tag,
            None => {
                let tag = transfer::make_tag(self.connection, folded, name)?;
                self.tags.insert(folded.to_owned(), tag);
                tag
            }
        };
        Ok(transfer::tag(self.connection, post, tag)?)
    }

    /// Runs `batch` in one transaction; in none when nothing is to be written. What the report counted meanwhile stays.
    pub fn in_transaction(
        &mut self,
        batch: impl FnOnce(&mut Target<'_>) -> Result<(), BatchError>,
    ) -> Result<(), Failure> {
        let done = if self.dry_run {
            batch(self)
        } else {
            let Target {
                connection,
                report,
                progress,
                now,
                dry_run,
                tags,
            } = self;
            connection.immediate_transaction(|connection| {
                let mut inner = Target {
                    connection,
                    report: std::mem::take(report),
                    progress,
                    now: *now,
                    dry_run: *dry_run,
                    tags: std::mem::take(tags),
                };
                let done = batch(&mut inner).and_then(|()| {
                    // What is imported is found at once.
                    search::refresh(inner.connection, i64::MAX)?;
                    Ok(())
                });
                *report = inner.report;
                // What was made in a transaction that fails is not there.
                if done.is_ok() {
                    *tags = inner.tags;
                }
                done
            })
        };
        done.map_err(|error| match error {
            BatchError::Database(error) => write_failed(error),
            BatchError::Other(failure) => failure,
        })
    }
}

/// The database could not be asked.
pub fn read_failed(error: diesel::result::Error) -> Failure {
    Failure::fatal(format!("cannot read the database: {error}"))
}

/// The database refused a change. What was committed before stays, and the next run goes on from there.
pub fn write_failed(error: diesel::result::Error) -> Failure {
    Failure::usage(
        format!("cannot write to the database: {error}"),
        "what was imported so far is kept; run the same command again to go on",
    )
}

/// What may end a transaction.
#[derive(Debug)]
pub enum BatchError {
    Database(diesel::result::Error),
    Other(Failure),
}

impl From<diesel::result::Error> for BatchError {
    fn from(error: diesel::result::Error) -> Self {
        Self::Database(error)
    }
}

impl From<Failure> for BatchError {
    fn from(failure: Failure) -> Self {
        Self::Other(failure)
    }
}
