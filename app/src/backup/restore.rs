//! `blog restore`: a backup becomes the blog. The database that was there is kept under another name.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use diesel::connection::SimpleConnection;

use super::names::{self, Backup};
use super::{Partial, copy, prove};
use crate::archive::sync_parent;
use crate::cli::Failure;
use crate::db::connection;
use crate::db::lock::Lock;
use crate::domain::Stamp;

#[derive(Debug)]
pub struct Restored {
    /// The backup that was taken.
    pub from: PathBuf,
    pub posts: i64,
    pub images: u64,
    /// Where the database that was there is now.
    pub aside: Option<PathBuf>,
    /// Images that the backup does not have.
    pub problems: Vec<String>,
}

/// `from` is a backup's `.db` file, any other copy of a blog's database, or a place for backups, of which the newest is
/// taken. Nothing changes until everything was seen to work.
pub fn restore(from: &Path, database: &Path, media: &Path, now: Stamp) -> Result<Restored, Failure> {
    let (source, listed) = choose(from)?;
    if let Some(backup) = &listed {
        check_hash(backup)?;
    }
    let place = database.parent().filter(|parent| !parent.as_os_str().is_empty());
    let place = place.unwrap_or(Path::new("."));
    if !place.is_dir() {
        return Err(Failure::usage(
            format!(
                "cannot restore to {}: there is no directory {}",
                database.display(),
                place.display()
            ),
            "make the directory, or choose another file with --database or BLOG_DATABASE",
        ));
    }
    let failed = |error: io::Error| super::cannot_write(database, &error);
    let there = database.exists();
    let lock = if there { Some(Lock::exclusive(database)?) } else { None };
    let proof = prove(&source, place)?;

    let mut problems = Vec::new();
    let mut images = 0;
    let store = source.parent().unwrap_or(Path::new(".")).join(names::MEDIA);
    if !proof.images.is_empty() {
        super::make_directory(media).map_err(failed)?;
    }
    for image in &proof.images {
        match copy::image(image, &store, media)? {
            None => images += 1,
            Some(problem) => problems.push(problem),
        }
    }

    let new = Partial(beside(database, "restoring"));
    copy::whole_copy(&source, &new.0).map_err(failed)?;
    let aside = if there { Some(set_aside(database, now)?) } else { None };
    // What belongs to a database that is not there any more would be read as part of the new one.
    for suffix in ["-wal", "-shm"] {
        match fs::remove_file(with(database, suffix)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
            _ => {}
        }
    }
    fs::rename(&new.0, database)
        .and_then(|()| sync_parent(database))
        .map_err(failed)?;
    drop(lock);
    Ok(Restored {
        from: source,
        posts: proof.count("posts"),
        images,
        aside,
        problems,
    })
}

fn choose(from: &Path) -> Result<(PathBuf, Option<Backup>), Failure> {
    if from.is_dir() {
        let newest = names::list(from)?.pop().ok_or_else(|| {
            Failure::usage(
                format!("{} has no backup in it", from.display()),
                "name a directory that `blog backup --to` wrote to, or a file",
            )
        })?;
        return Ok((newest.database(), Some(newest)));
    }
    if !from.is_file() {
        return Err(Failure::usage(
            format!("there is no backup {}", from.display()),
            "name a .db file or the directory that holds the backups",
        ));
    }
    let place = from.parent().filter(|parent| !parent.as_os_str().is_empty());
    let listed = names::list(place.unwrap_or(Path::new(".")))?;
    let own = listed
        .into_iter()
        .find(|backup| backup.database().file_name() == from.file_name());
    Ok((from.to_owned(), own))
}

fn check_hash(backup: &Backup) -> Result<(), Failure> {
    let path = backup.database();
    let name = format!("{}.db", backup.name);
    let expected = backup.files()?.into_iter().find(|(_, file)| *file == name);
    let found = names::hash(&path).map_err(|error| {
        Failure::usage(
            format!("cannot read {}: {error}", path.display()),
            "choose another backup",
        )
    })?;
    if expected.is_none_or(|(hash, _)| hash != found) {
        return Err(Failure::usage(
            format!(
                "{} is damaged: it has another hash than when it was made",
                path.display()
            ),
            "name an older backup; nothing was changed",
        ));
    }
    Ok(())
}

/// Gives the database another name as well, with everything in it that was committed. The caller then replaces it.
fn set_aside(database: &Path, now: Stamp) -> Result<PathBuf, Failure> {
    let failed = |error: io::Error| super::cannot_write(database, &error);
    let time = now.rfc3339().replace(['-', ':'], "");
    let mut aside = beside(database, &format!("before-restore-{time}"));
    let mut count = 1;
    while aside.exists() {
        count += 1;
        aside = beside(database, &format!("before-restore-{time}-{count}"));
    }
    // Into the one file, if it is sound enough for that; else its log goes along.
    let path = database.to_string_lossy().into_owned();
    if with(database, "-wal").exists()
        && let Ok(mut open) = connection::writer(&path)
    {
        let _ = open.batch_execute("PRAGMA wal_checkpoint(TRUNCATE)");
    }
    fs::hard_link(database, &aside)
        .or_else(|_| copy::whole_copy(database, &aside))
        .map_err(failed)?;
    let log = with(database, "-wal");
    if log.metadata().is_ok_and(|meta| meta.len() > 0) {
        fs::rename(&log, with(&aside, "-wal")).map_err(failed)?;
    }
    sync_parent(&aside).map_err(failed)?;
    Ok(aside)
}

/// `blog.db` becomes `blog.db.word`.
fn beside(path: &Path, word: &str) -> PathBuf {
    with(path, &format!(".{word}"))
}

fn with(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}
