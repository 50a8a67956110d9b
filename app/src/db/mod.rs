//! The database: one connection that writes, two that only read, none of them on the event loop.

pub mod connection;
pub mod features;
pub mod lock;
pub mod migrate;
pub mod models;
pub mod queries;
pub mod run;
pub mod schema;
mod start;
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
    readers: Mutex<Readers>,
    returned: Condvar,
    /// `None`: when the program started, the disk took nothing, and it has not since.
    writer: Mutex<Option<SqliteConnection>>,
    path: String,
    /// What kept the last change from being written.
    trouble: Mutex<Option<Trouble>>,
    generation: AtomicU64,
    /// When a reader last looked for changes by other programs, in seconds since 1970.
    looked: AtomicI64,
    // Last: see there. More than one after a start on a full disk.
    locks: Mutex<Vec<Lock>>,
}

struct Readers {
    free: Vec<Reader>,
    /// How many there are, with those at work.
    all: usize,
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
    fn new(connection: SqliteConnection) -> Self {
        Self { connection, version: 0 }
    }

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
    /// Opens the file, or makes it, and brings it up to date. Where the disk takes nothing, only as much as can be read is
    /// opened; see [`Self::trouble`] and [`Self::recover`].
    pub fn open(path: &str) -> Result<Self, Failure> {
        let opened = start::open(path)?;
        Ok(Self(Arc::new(Inner {
            readers: Mutex::new(Readers {
                all: opened.readers.len(),
                free: opened.readers,
            }),
            returned: Condvar::new(),
            writer: Mutex::new(opened.writer),
            path: path.to_owned(),
            trouble: Mutex::new(opened.trouble),
            generation: AtomicU64::new(1),
            looked: AtomicI64::new(0),
            locks: Mutex::new(vec![opened.lock]),
        })))
    }

    /// Makes up for what could not be done at the start. Nobody reads meanwhile.
    fn open_at_last(&self) -> Result<SqliteConnection, AppError> {
        let mut readers = lock(&self.0.readers);
        while readers.free.len() < readers.all {
            readers = self.0.returned.wait(readers).unwrap_or_else(PoisonError::into_inner);
        }
        let opened = match start::whole(&self.0.path) {
            Ok(opened) => opened,
            Err(failure) => {
                if let Some(trouble) = start::trouble(&self.0.path) {
                    *lock(&self.0.trouble) = Some(trouble);
                    return Err(AppError::ReadOnly);
                }
                return Err(AppError::Internal(failure.message.into()));
            }
        };
        lock(&self.0.locks).push(opened.lock);
        readers.all = opened.readers.len();
        readers.free = opened.readers;
        self.0.returned.notify_all();
        tracing::info!("the database is open for changes");
        opened.writer.ok_or(AppError::ReadOnly)
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
            let mut reader = db.take_reader().ok_or(AppError::Unreadable)?;
            let answer = db.look(&mut reader).and_then(|()| job(&mut reader.connection));
            db.give_back(reader);
            Ok(answer?)
        });
        answer.await?
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
        let mut place = lock(&self.0.writer);
        let writer = match place.take() {
            Some(writer) => place.insert(writer),
            None => place.insert(self.open_at_last()?),
        };
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
                    *place = Some(anew);
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
        web::block(move || db.recover_now()).await?
    }

    /// The same, for a thread that may wait.
    pub fn recover_now(&self) -> Result<(), AppError> {
        // The smallest of changes may fit where no post does.
        if let Err(error) = has_room(&self.0.path)
            && Trouble::of_file(&error).is_some()
        {
            self.file_error(error);
            return Ok(());
        }
        let tried = self.change(|connection| {
            diesel::update(schema::site::table)
                .set(schema::site::created_at.eq(schema::site::created_at))
                .execute(connection)
        });
        match tried {
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
        let newest = self.read_now(|connection| {
            schema::posts::table
                .filter(schema::posts::state.eq(State::Published))
                .select(diesel::dsl::max(schema::posts::published_at))
                .first::<Option<i64>>(connection)
        })?;
        Ok(newest.flatten().map(Stamp))
    }

    /// Turns the second factor off. False when it was off.
    pub fn disable_second_factor(&self) -> Result<bool, Failure> {
        self.change(queries::second_factor::disable)
            .map_err(|error| self.failed("cannot turn the second factor off", &error))
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
        self.change(|connection| queries::owner::set(connection, hash, Stamp::now()))
            .map_err(|error| self.failed("cannot set the password", &error))
    }

    /// `None`: it cannot be said, because nothing can be read.
    pub fn has_owner(&self) -> Result<Option<bool>, Failure> {
        self.read_now(|connection| Ok(queries::owner::password_hash(connection)?.is_some()))
    }

    /// For commands and the start. `None`: nothing can be read, because the disk took nothing at the start.
    fn read_now<T>(&self, query: impl FnOnce(&mut SqliteConnection) -> QueryResult<T>) -> Result<Option<T>, Failure> {
        let Some(mut reader) = self.take_reader() else {
            return Ok(None);
        };
        let answer = query(&mut reader.connection);
        self.give_back(reader);
        answer
            .map(Some)
            .map_err(|error| Failure::fatal(format!("cannot read the database: {error}")))
    }

    fn failed(&self, what: &str, error: &AppError) -> Failure {
        match self.trouble() {
            Some(trouble) => Failure::fatal(format!("{what}: {}", trouble.word())),
            None => Failure::fatal(format!("{what}: {error}")),
        }
    }

    /// Moves everything from the write-ahead log into the file, so that the file alone is the blog.
    pub fn checkpoint(&self) -> QueryResult<()> {
        match &mut *lock(&self.0.writer) {
            Some(writer) => writer.batch_execute("PRAGMA wal_checkpoint(TRUNCATE)"),
            None => Ok(()),
        }
    }

    /// `None`: there is no reader at all.
    fn take_reader(&self) -> Option<Reader> {
        let mut readers = lock(&self.0.readers);
        while readers.all > 0 {
            if let Some(reader) = readers.free.pop() {
                return Some(reader);
            }
            readers = self.0.returned.wait(readers).unwrap_or_else(PoisonError::into_inner);
        }
        None
    }

    fn give_back(&self, reader: Reader) {
        lock(&self.0.readers).free.push(reader);
        // All: somebody may wait until every reader is there.
        self.0.returned.notify_all();
    }
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
