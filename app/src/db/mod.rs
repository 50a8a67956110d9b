//! The database: one connection that writes, two that only read, none of them on the event loop.

pub mod connection;
pub mod features;
pub mod lock;
pub mod migrate;
pub mod models;
pub mod queries;
pub mod run;
pub mod schema;
mod trouble;

pub use trouble::Trouble;

use std::any::Any;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use actix_web::web;
use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel::sqlite::SqliteConnection;

use crate::cli::Failure;
use crate::domain::{Stamp, State, random};
use crate::error::AppError;
use lock::Lock;

/// Two, so that one slow page does not hold up the other reader.
const READERS: usize = 2;
/// Posts whose text for the search is made anew in one transaction.
const SEARCH_BATCH: i64 = 100;
/// In bytes: after a full disk this much must be free before the blog calls itself well.
const ROOM: u64 = 256 << 10;

#[derive(Clone)]
pub struct Db(Arc<Inner>);

struct Inner {
    // Readers first: fields drop in order, and the last connection to close removes the WAL file.
    readers: Mutex<Vec<Reader>>,
    returned: Condvar,
    writer: Mutex<SqliteConnection>,
    path: String,
    /// What kept the last change from being written.
    trouble: Mutex<Option<Trouble>>,
    generation: AtomicU64,
    /// When a reader last looked for changes by other programs, in seconds since 1970.
    looked: AtomicI64,
    // Last: see there.
    _lock: Lock,
}

/// What a query answered, of whatever type. With it and [`Job`] a task of the runtime is made once, and not for each query.
type Answer = Box<dyn Any + Send>;
type Job = Box<dyn FnOnce(&mut SqliteConnection) -> QueryResult<Answer> + Send>;

fn unpack<T: 'static>(answer: Answer) -> Result<T, AppError> {
    let answer = answer.downcast::<T>();
    answer.map_or_else(
        |_| Err(AppError::Internal("an answer of another type".into())),
        |answer| Ok(*answer),
    )
}

struct Reader {
    connection: SqliteConnection,
    /// SQLite's counter of what other connections changed, as this one saw it last.
    version: i64,
}

#[derive(QueryableByName)]
struct Version {
    #[diesel(sql_type = diesel::sql_types::BigInt)]
    data_version: i64,
}

impl Reader {
    /// Whether another connection, of this program or another one, has changed something since.
    fn notices_change(&mut self) -> QueryResult<bool> {
        let version = diesel::sql_query("PRAGMA data_version")
            .get_result::<Version>(&mut self.connection)?
            .data_version;
        Ok(std::mem::replace(&mut self.version, version) != version)
    }
}

impl std::fmt::Debug for Db {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Db")
    }
}

impl Db {
    /// Opens the file, or makes it, and brings it up to date.
    pub fn open(path: &str) -> Result<Self, Failure> {
        let Alone {
            connection: mut writer,
            lock,
        } = Alone::open(path)?;
        catch_up(&mut writer)
            .map_err(|error| Failure::fatal(format!("cannot write the search index of {path}: {error}")))?;
        let lock = match lock {
            Some(lock) => lock,
            None => Lock::shared(path.as_ref())?,
        };
        let readers = (0..READERS)
            .map(|_| connection::reader(path).map(|connection| Reader { connection, version: 0 }))
            .collect::<Result<_, _>>()?;
        Ok(Self(Arc::new(Inner {
            readers: Mutex::new(readers),
            returned: Condvar::new(),
            writer: Mutex::new(writer),
            path: path.to_owned(),
            trouble: Mutex::new(None),
            generation: AtomicU64::new(1),
            looked: AtomicI64::new(0),
            _lock: lock,
        })))
    }

    /// Runs a query on a connection that cannot write.
    pub async fn read<T, Q>(&self, query: Q) -> Result<T, AppError>
    where
        T: Send + 'static,
        Q: FnOnce(&mut SqliteConnection) -> QueryResult<T> + Send + 'static,
    {
        let job = Box::new(move |connection: &mut SqliteConnection| Ok(Box::new(query(connection)?) as Answer));
        unpack(self.read_job(job).await?)
    }

    async fn read_job(&self, job: Job) -> Result<Answer, AppError> {
        let db = self.clone();
        let answer = web::block(move || {
            let mut reader = db.take_reader();
            let answer = db.look(&mut reader).and_then(|()| job(&mut reader.connection));
            lock(&db.0.readers).push(reader);
            db.0.returned.notify_one();
            answer
        });
        Ok(answer.await??)
    }

    /// Runs a change in one transaction. It is on the disk when this returns.
    ///
    /// # Errors
    /// [`AppError::ReadOnly`] when the disk is full or broken; the next change tries again.
    pub async fn write<T, Q>(&self, change: Q) -> Result<T, AppError>
    where
        T: Send + 'static,
        Q: FnOnce(&mut SqliteConnection) -> QueryResult<T> + Send + 'static,
    {
        let job = Box::new(move |connection: &mut SqliteConnection| Ok(Box::new(change(connection)?) as Answer));
        unpack(self.write_job(job).await?)
    }

    async fn write_job(&self, job: Job) -> Result<Answer, AppError> {
        let db = self.clone();
        // Immediate: a transaction that starts by reading could not become a writer when another one was quicker.
        let answer = web::block(move || {
            let answer = db.change(|connection| {
                let answer = job(connection)?;
                queries::search::refresh(connection, SEARCH_BATCH)?;
                Ok(answer)
            });
            db.0.generation.fetch_add(1, Ordering::SeqCst);
            answer
        });
        answer.await?
    }

    fn change<T>(&self, change: impl FnOnce(&mut SqliteConnection) -> QueryResult<T>) -> Result<T, AppError> {
        let mut writer = lock(&self.0.writer);
        let answer = writer.immediate_transaction(change);
        let trouble = answer.as_ref().err().and_then(Trouble::of);
        let before = std::mem::replace(&mut *lock(&self.0.trouble), trouble);
        match (trouble, answer) {
            (None, answer) => {
                if before.is_some() && answer.is_ok() {
                    tracing::info!("changes are saved again");
                }
                Ok(answer?)
            }
            (Some(trouble), answer) => {
                if before != Some(trouble) {
                    let error = answer.err().map(|error| error.to_string()).unwrap_or_default();
                    tracing::error!(error, "{}: nothing is saved, reading goes on", trouble.word());
                }
                // SQLite may have ended the transaction by itself, and diesel gives up a connection that did.
                if let Ok(anew) = connection::writer(&self.0.path) {
                    *writer = anew;
                }
                Err(AppError::ReadOnly)
            }
        }
    }

    /// What an error of a file beside the database means: that nothing can be saved, if the disk did it. As long as that
    /// is so, every look at the blog's health tries whether it is over.
    pub fn file_error(&self, error: std::io::Error) -> AppError {
        let Some(trouble) = Trouble::of_file(&error) else {
            return AppError::Internal(Box::new(error));
        };
        let before = lock(&self.0.trouble).replace(trouble);
        if before != Some(trouble) {
            tracing::error!(error = %error, "{}: an image was not saved, reading goes on", trouble.word());
        }
        AppError::ReadOnly
    }

    /// What keeps changes from being saved, if the last one was not.
    pub fn trouble(&self) -> Option<Trouble> {
        *lock(&self.0.trouble)
    }

    /// While nothing can be saved, tries whether that is over.
    pub async fn recover(&self) -> Result<(), AppError> {
        if self.trouble().is_none() {
            return Ok(());
        }
        let db = self.clone();
        let tried = web::block(move || {
            // The smallest of changes may fit where no post does.
            if let Err(error) = has_room(&db.0.path)
                && Trouble::of_file(&error).is_some()
            {
                return Err(db.file_error(error));
            }
            db.change(|connection| {
                diesel::update(schema::site::table)
                    .set(schema::site::created_at.eq(schema::site::created_at))
                    .execute(connection)
            })
        });
        match tried.await? {
            Ok(_) | Err(AppError::ReadOnly) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// The file and its write-ahead log, in bytes.
    pub fn bytes(&self) -> u64 {
        let length = |path: &str| std::fs::metadata(path).map_or(0, |found| found.len());
        length(&self.0.path) + length(&format!("{}-wal", self.0.path))
    }

    /// The latest date of a published post.
    pub fn newest_post(&self) -> Result<Option<Stamp>, Failure> {
        let newest = schema::posts::table
            .filter(schema::posts::state.eq(State::Published))
            .select(diesel::dsl::max(schema::posts::published_at))
            .first::<Option<i64>>(&mut *lock(&self.0.writer));
        newest
            .map(|newest| newest.map(Stamp))
            .map_err(|error| Failure::fatal(format!("cannot read the database: {error}")))
    }

    /// Turns the second factor off. False when it was off.
    pub fn disable_second_factor(&self) -> Result<bool, Failure> {
        lock(&self.0.writer)
            .immediate_transaction(queries::second_factor::disable)
            .map_err(|error| Failure::fatal(format!("cannot turn the second factor off: {error}")))
    }

    /// A number that is another one after every change. What other programs write is noticed within a second.
    pub async fn generation(&self) -> Result<u64, AppError> {
        if self.0.looked.load(Ordering::Relaxed) != Stamp::now().0 {
            self.read(|_| Ok(())).await?;
        }
        Ok(self.0.generation.load(Ordering::SeqCst))
    }

    fn look(&self, reader: &mut Reader) -> QueryResult<()> {
        if reader.notices_change()? {
            self.0.generation.fetch_add(1, Ordering::SeqCst);
        }
        self.0.looked.store(Stamp::now().0, Ordering::Relaxed);
        Ok(())
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

    fn take_reader(&self) -> Reader {
        let mut readers = lock(&self.0.readers);
        loop {
            if let Some(reader) = readers.pop() {
                return reader;
            }
            readers = self.0.returned.wait(readers).unwrap_or_else(PoisonError::into_inner);
        }
    }
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

/// One connection, for a command that has the work to itself.
pub struct Alone {
    connection: SqliteConnection,
    /// After the connection: see there.
    lock: Option<Lock>,
}

impl std::fmt::Debug for Alone {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Alone")
    }
}

impl Alone {
    /// Opens the file, or makes it, and brings it up to date.
    pub fn open(path: &str) -> Result<Self, Failure> {
        let file = std::path::Path::new(path);
        // Before the file is opened, so that it is not replaced in between.
        let lock = if file.exists() { Some(Lock::shared(file)?) } else { None };
        let mut writer = connection::writer(path)?;
        let lock = lock.map_or_else(|| Lock::shared(file), Ok)?;
        prepare(&mut writer, path)?;
        Ok(Self {
            connection: writer,
            lock: Some(lock),
        })
    }

    /// Opens a file that must be there.
    pub fn existing(path: &str) -> Result<Self, Failure> {
        if !std::path::Path::new(path).is_file() {
            return Err(Failure::usage(
                format!("there is no database {path}"),
                "name it with --database or BLOG_DATABASE",
            ));
        }
        Self::open(path)
    }

    /// A blog that is gone in the end: for trying what a command would do.
    pub fn in_memory() -> Result<Self, Failure> {
        let mut connection =
            SqliteConnection::establish(":memory:").map_err(|error| Failure::fatal(error.to_string()))?;
        prepare(&mut connection, "in memory")?;
        Ok(Self { connection, lock: None })
    }

    pub fn connection(&mut self) -> &mut SqliteConnection {
        &mut self.connection
    }
}

/// Brings a database up to date and names the blog, once.
fn prepare(connection: &mut SqliteConnection, path: &str) -> Result<(), Failure> {
    migrate::run(connection, path)?;
    let uuid = random::uuid().map_err(|error| Failure::fatal(error.to_string()))?;
    queries::site::create(connection, &uuid, Stamp::now())
        .map_err(|error| Failure::fatal(format!("cannot write to the database {path}: {error}")))
}

/// Whether the disk of the database has room for a few posts. What is taken is given back at once; nothing is written.
fn has_room(path: &str) -> std::io::Result<()> {
    use rustix::fs::{FallocateFlags, fallocate};
    use rustix::io::Errno;
    let path = format!("{path}.room");
    let file = std::fs::File::create(&path)?;
    std::fs::remove_file(&path)?;
    match fallocate(&file, FallocateFlags::empty(), 0, ROOM) {
        // Not every file system can say.
        Ok(()) | Err(Errno::OPNOTSUPP | Errno::NOSYS) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// A panic elsewhere leaves a connection usable: SQLite rolls back what was not committed.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
