//! Opening the database for the server, also when its disk takes nothing.
//!
//! SQLite cannot even read a database in WAL mode without making two files beside it. When there is no room for them, the
//! database alone is read, as it was when the last program closed it, and the rest is made up for when there is room.

use diesel::prelude::*;
use diesel::sqlite::SqliteConnection;

use super::lock::Lock;
use super::migrate::{self, Standing};
use super::trouble::Trouble;
use super::{Alone, READERS, Reader, SEARCH_BATCH, connection, has_room, queries};
use crate::cli::Failure;

/// All that the server has of its database.
pub struct Opened {
    /// `None`: nothing can be written.
    pub writer: Option<SqliteConnection>,
    /// None at all: nothing can be read, either.
    pub readers: Vec<Reader>,
    /// What keeps changes from being saved, as far as that is known.
    pub trouble: Option<Trouble>,
    pub lock: Lock,
}

/// What the disk has against writing.
pub fn trouble(path: &str) -> Option<Trouble> {
    has_room(path).err().and_then(|error| Trouble::of_file(&error))
}

/// Everything, or as much as the disk lets.
pub fn open(path: &str) -> Result<Opened, Failure> {
    match whole(path) {
        Ok(opened) => {
            let trouble = trouble(path);
            if let Some(trouble) = trouble {
                tracing::error!("{}: nothing is saved until there is room again", trouble.word());
            }
            Ok(Opened { trouble, ..opened })
        }
        Err(failure) => match trouble(path) {
            Some(trouble) => only_reading(path, failure, trouble),
            None => Err(failure),
        },
    }
}

/// Opens the file, or makes it, and brings it up to date.
pub fn whole(path: &str) -> Result<Opened, Failure> {
    let Alone {
        connection: mut writer,
        lock,
    } = Alone::open(path)?;
    catch_up(&mut writer)
        .map_err(|error| Failure::fatal(format!("cannot write the search index of {path}: {error}")))?;
    let lock = lock.map_or_else(|| Lock::shared(path.as_ref()), Ok)?;
    let readers = (0..READERS)
        .map(|_| connection::reader(path).map(Reader::new))
        .collect::<Result<_, _>>()?;
    Ok(Opened {
        writer: Some(writer),
        readers,
        trouble: None,
        lock,
    })
}

/// `failure`: why not all could be opened. It stays the answer where the disk is not to blame.
fn only_reading(path: &str, failure: Failure, trouble: Trouble) -> Result<Opened, Failure> {
    // Not even an empty file, perhaps; then there is nothing that could be served.
    let Ok(lock) = Lock::shared(path.as_ref()) else {
        return Err(failure);
    };
    let readers = match unchanging(path) {
        Found::Blog(readers) => readers,
        Found::Nothing => Vec::new(),
        Found::Foreign => return Err(failure),
    };
    tracing::error!(
        error = failure.message,
        reading = !readers.is_empty(),
        "{}: nothing is saved until there is room again",
        trouble.word()
    );
    Ok(Opened {
        writer: None,
        readers,
        trouble: Some(trouble),
        lock,
    })
}

enum Found {
    /// With the tables that this program knows.
    Blog(Vec<Reader>),
    /// Nothing that can be read now.
    Nothing,
    Foreign,
}

/// Connections that take the file for one that nobody changes. What is only in the log they do not see, so there must be
/// nothing in it.
fn unchanging(path: &str) -> Found {
    let log = std::fs::metadata(format!("{path}-wal")).map_or(0, |found| found.len());
    let is_empty = std::fs::metadata(path).map_or(0, |found| found.len()) == 0;
    if log > 0 || is_empty {
        return Found::Nothing;
    }
    let mut readers = Vec::new();
    for _ in 0..READERS {
        let Ok(mut connection) = connection::unchanging(path) else {
            return Found::Nothing;
        };
        match connection::application_id(&mut connection) {
            Ok(connection::APPLICATION_ID) => {}
            Ok(_) => return Found::Foreign,
            Err(_) => return Found::Nothing,
        }
        match migrate::standing(&mut connection) {
            Ok(Standing::Current) => readers.push(Reader::new(connection)),
            Ok(Standing::Ahead(_)) => return Found::Foreign,
            Ok(Standing::Behind(_)) | Err(_) => return Found::Nothing,
        }
    }
    Found::Blog(readers)
}

/// What was written without the program, or before it could search, goes into the index now.
fn catch_up(writer: &mut SqliteConnection) -> QueryResult<()> {
    let mut posts = 0;
    loop {
        let some = writer.immediate_transaction(|connection| queries::search::refresh(connection, SEARCH_BATCH))?;
        posts += some;
        if some < usize::try_from(SEARCH_BATCH).unwrap_or_default() {
            break;
        }
        if posts % 10_000 == 0 {
            tracing::info!(posts, "filling the search index");
        }
    }
    Ok(())
}
