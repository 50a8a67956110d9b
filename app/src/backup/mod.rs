//! Copies of the whole blog that were seen to work, and the way back.
//!
//! A place for backups holds, for every backup, `blog-NUMBER-TIME.db` and `blog-NUMBER-TIME.sha256`, and one `media`
//! directory for the images of all of them. The list of hashes is written last: what has none is no backup. The number
//! counts up, because the clock of a Pi may not.

mod copy;
mod names;
mod prove;
mod restore;
pub mod timer;

pub use names::{Backup, hash, list};
pub use prove::{Image, Proof, prove};
pub use restore::{Restored, restore};

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use diesel::sqlite::SqliteConnection;

use crate::archive::sync_parent;
use crate::cli::Failure;
use crate::db::queries::integrity;
use crate::db::{connection, lock::Lock};
use crate::domain::{Stamp, hex};

/// What to copy, where to, and how many to keep.
#[derive(Debug, Clone)]
pub struct Plan {
    pub database: PathBuf,
    pub media: PathBuf,
    pub to: PathBuf,
    /// At least one.
    pub keep: usize,
}

/// A backup that was made.
#[derive(Debug)]
pub struct Made {
    pub path: PathBuf,
    /// Of the database.
    pub bytes: u64,
    pub posts: i64,
    pub images: u64,
    /// Backups that had to go, by file name.
    pub removed: Vec<String>,
    /// What is wrong with the blog itself: images that are missing or damaged. The backup has all the rest.
    pub problems: Vec<String>,
}

/// Makes a backup, restores it beside the others, looks at it, and only then gives it its name.
pub fn run(plan: &Plan, now: Stamp) -> Result<Made, Failure> {
    if !plan.database.is_file() {
        return Err(Failure::usage(
            format!("there is no database {}", plan.database.display()),
            "name it with --database or BLOG_DATABASE",
        ));
    }
    let failed = |error: io::Error| cannot_write(&plan.to, &error);
    let media = plan.to.join(names::MEDIA);
    make_directory(&media).map_err(failed)?;
    let _alone = alone(&plan.to)?;
    names::sweep(&plan.to).map_err(failed)?;

    let earlier = list(&plan.to)?;
    let number = earlier.last().map_or(0, |backup| backup.number) + 1;
    let backup = names::Backup::new(&plan.to, number, now);
    let partial = Partial(plan.to.join(format!("{}.partial", backup.name)));

    let _lock = Lock::shared(&plan.database)?;
    let database = plan.database.to_string_lossy().into_owned();
    // Not a reader: VACUUM is no query to SQLite, even where it writes elsewhere.
    let mut source = connection::writer(&database)?;
    let proof = copy_proven(&mut source, &database, &partial.0, &plan.to)?;
    drop(source);
    let mut problems = Vec::new();
    let mut sums = vec![(names::hash(&partial.0).map_err(failed)?, format!("{}.db", backup.name))];
    for image in &proof.images {
        match copy::image(image, &plan.media, &media)? {
            None => sums.push((image.sha256, format!("{}/{}", names::MEDIA, image.file))),
            Some(problem) => problems.push(problem),
        }
    }

    let bytes = partial.0.metadata().map_err(failed)?.len();
    fs::rename(&partial.0, backup.database()).map_err(failed)?;
    let lines: String = sums
        .iter()
        .map(|(hash, name)| format!("{}  {name}\n", hex::encode(hash)))
        .collect();
    write_whole(&backup.sums(), lines.as_bytes()).map_err(failed)?;
    let removed = names::rotate(&plan.to, plan.keep)?;
    Ok(Made {
        path: backup.database(),
        bytes,
        posts: proof.count("posts"),
        images: sums.len() as u64 - 1,
        removed,
        problems,
    })
}

/// Copies that are made before writers have to wait for one.
const FREE_COPIES: u32 = 2;

/// Copies while others write, and proves the copy. Where somebody adds and deletes rows at that very moment, the numbers
/// before and after say nothing of those between, and the copy is made again: the last time writers wait for it.
fn copy_proven(source: &mut SqliteConnection, database: &str, to: &Path, place: &Path) -> Result<Proof, Failure> {
    let mut copies = 0;
    loop {
        let alone = (copies == FREE_COPIES).then(|| without_writers(database)).transpose()?;
        let copied = copy_database(source, to)?;
        drop(alone);
        let proof = prove(to, place)?;
        match proof.compare(&copied.counts) {
            Ok(()) => return Ok(proof),
            Err(failure) if !copied.others_wrote || copies == FREE_COPIES => return Err(failure),
            Err(_) => fs::remove_file(to).map_err(|error| cannot_write(to, &error))?,
        }
        copies += 1;
    }
}

/// Nobody else writes as long as this connection is there.
fn without_writers(database: &str) -> Result<SqliteConnection, Failure> {
    let mut alone = connection::writer(database)?;
    integrity::hold_writers(&mut alone).map_err(|error| {
        Failure::usage(
            format!("cannot copy {database}, others write to it all the time: {error}"),
            "nothing was left behind; try again",
        )
    })?;
    Ok(alone)
}

/// What the source was when it was copied.
struct Copied {
    /// Rows of every table before and after: its name, the smaller number, the larger one.
    counts: Vec<(String, i64, i64)>,
    /// Whether another connection changed the source meanwhile.
    others_wrote: bool,
}

/// To the disk, as a file that is its owner's alone.
fn copy_database(source: &mut SqliteConnection, to: &Path) -> Result<Copied, Failure> {
    let failed = |error: diesel::result::Error| {
        let text = error.to_string();
        let hint = if text.contains("full") {
            "nothing was left behind; make room, or choose another place with --to or BLOG_BACKUP_DIR"
        } else {
            "nothing was left behind; `blog check` tells whether the database is sound"
        };
        Failure::usage(format!("cannot copy the database to {}: {text}", to.display()), hint)
    };
    let version = integrity::data_version(source).map_err(failed)?;
    let before = integrity::counts(source).map_err(failed)?;
    // SQLite makes the file with the usual mode. An empty file is taken as none.
    let mut options = OpenOptions::new();
    options
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(to)
        .map_err(|error| cannot_write(to, &error))?;
    integrity::copy_into(source, &to.to_string_lossy()).map_err(failed)?;
    let after = integrity::counts(source).map_err(failed)?;
    let others_wrote = integrity::data_version(source).map_err(failed)? != version;
    File::open(to)
        .and_then(|file| file.sync_all())
        .map_err(|error| cannot_write(to, &error))?;
    let both = before.into_iter().zip(after);
    let counts = both.map(|((name, before), (_, after))| (name, before.min(after), before.max(after)));
    Ok(Copied {
        counts: counts.collect(),
        others_wrote,
    })
}

/// One backup at a time: a second one finds the place locked.
fn alone(to: &Path) -> Result<Lock, Failure> {
    let directory = File::open(to).map_err(|error| cannot_write(to, &error))?;
    Lock::of(directory).map_err(|error| match error {
        TryLockError::WouldBlock => Failure::usage(
            format!("another backup to {} is under way", to.display()),
            "wait until it is done",
        ),
        TryLockError::Error(error) => cannot_write(to, &error),
    })
}

/// With everything above it. A directory is on the disk once the one that it stands in was synced.
fn make_directory(path: &Path) -> io::Result<()> {
    let above = path.ancestors();
    let missing: Vec<&Path> = above
        .take_while(|above| !above.as_os_str().is_empty() && !above.exists())
        .collect();
    DirBuilder::new().recursive(true).mode(0o700).create(path)?;
    missing.into_iter().try_for_each(sync_parent)
}

fn cannot_write(place: &Path, error: &io::Error) -> Failure {
    let hint = match error.kind() {
        io::ErrorKind::StorageFull => "nothing was left behind; make room, or choose another place",
        _ => "choose a place that can be written to, with --to or BLOG_BACKUP_DIR",
    };
    Failure::usage(format!("cannot write to {}: {error}", place.display()), hint)
}

/// A file that is there whole or not at all.
fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let partial = Partial(path.with_extension("partial"));
    let mut options = OpenOptions::new();
    let mut file = options
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&partial.0)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&partial.0, path)?;
    sync_parent(path)
}

/// A file that goes away unless it was renamed.
#[derive(Debug)]
struct Partial(PathBuf);

impl Drop for Partial {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}
