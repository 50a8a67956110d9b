//! The database: one connection that writes, two that only read, none of them on the event loop.

pub mod connection;
pub mod migrate;
pub mod models;
pub mod queries;
pub mod schema;

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use actix_web::web;
use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel::sqlite::SqliteConnection;

use crate::cli::Failure;
use crate::domain::{Stamp, random};
use crate::error::AppError;

/// Two, so that one slow page does not hold up the other reader.
const READERS: usize = 2;

#[derive(Clone)]
pub struct Db(Arc<Inner>);

struct Inner {
    // Readers first: fields drop in order, and the last connection to close removes the WAL file.
    readers: Mutex<Vec<SqliteConnection>>,
    returned: Condvar,
    writer: Mutex<SqliteConnection>,
}

impl std::fmt::Debug for Db {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Db")
    }
}

impl Db {
    /// Opens the file, or makes it, and brings it up to date.
    pub fn open(path: &str) -> Result<Self, Failure> {
        let mut writer = connection::writer(path)?;
        migrate::run(&mut writer, path)?;
        let uuid = random::uuid().map_err(|error| Failure::fatal(error.to_string()))?;
        queries::site::create(&mut writer, &uuid, Stamp::now())
            .map_err(|error| Failure::fatal(format!("cannot write to the database {path}: {error}")))?;
        let readers = (0..READERS)
            .map(|_| connection::reader(path))
            .collect::<Result<_, _>>()?;
        Ok(Self(Arc::new(Inner {
            readers: Mutex::new(readers),
            returned: Condvar::new(),
            writer: Mutex::new(writer),
        })))
    }

    /// Runs a query on a connection that cannot write.
    pub async fn read<T, Q>(&self, query: Q) -> Result<T, AppError>
    where
        T: Send + 'static,
        Q: FnOnce(&mut SqliteConnection) -> QueryResult<T> + Send + 'static,
    {
        let db = self.clone();
        let answer = web::block(move || {
            let mut reader = db.take_reader();
            let answer = query(&mut reader);
            lock(&db.0.readers).push(reader);
            db.0.returned.notify_one();
            answer
        });
        Ok(answer.await??)
    }

    /// Runs a change in one transaction. It is on the disk when this returns.
    pub async fn write<T, Q>(&self, change: Q) -> Result<T, AppError>
    where
        T: Send + 'static,
        Q: FnOnce(&mut SqliteConnection) -> QueryResult<T> + Send + 'static,
    {
        let db = self.clone();
        // Immediate: a transaction that starts by reading could not become a writer when another one was quicker.
        let answer = web::block(move || lock(&db.0.writer).immediate_transaction(change));
        Ok(answer.await??)
    }

    pub fn set_owner(&self, hash: &str) -> Result<(), Failure> {
        lock(&self.0.writer)
            .immediate_transaction(|connection| queries::owner::set(connection, hash, Stamp::now()))
            .map_err(|error| Failure::fatal(format!("cannot set the password: {error}")))
    }

    pub fn has_owner(&self) -> Result<bool, Failure> {
        queries::owner::password_hash(&mut lock(&self.0.writer))
            .map(|hash| hash.is_some())
            .map_err(|error| Failure::fatal(format!("cannot read the database: {error}")))
    }

    /// Moves everything from the write-ahead log into the file, so that the file alone is the blog.
    pub fn checkpoint(&self) -> QueryResult<()> {
        lock(&self.0.writer).batch_execute("PRAGMA wal_checkpoint(TRUNCATE)")
    }

    fn take_reader(&self) -> SqliteConnection {
        let mut readers = lock(&self.0.readers);
        loop {
            if let Some(reader) = readers.pop() {
                return reader;
            }
            readers = self.0.returned.wait(readers).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

/// A panic elsewhere leaves a connection usable: SQLite rolls back what was not committed.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
