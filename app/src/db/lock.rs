//! Who uses the database file: any number of programs that open it as a blog, or one that replaces it.
//!
//! It is a lock on the file itself (flock), which SQLite does not use; its own locks (fcntl) are another kind. A file
//! under this name can be locked and still be another one a moment later, so that is looked at, too.
//!
//! A lock is given up by unlocking, not by closing alone: it ends when the last copy of the handle is closed, and a process
//! that is being started has copies of all handles of its parent until it becomes another program.

use std::fs::{File, TryLockError};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::cli::Failure;

/// Held as long as it lives. It is to be dropped after the last connection: closing any handle of the file takes away
/// SQLite's locks on it.
#[derive(Debug)]
pub struct Lock(File);

impl Drop for Lock {
    fn drop(&mut self) {
        // Closing does the rest.
        let _ = self.0.unlock();
    }
}

impl Lock {
    /// `file`, locked for this one alone, without waiting. Fails while somebody else has it, and where files have no locks.
    pub fn of(file: File) -> Result<Self, TryLockError> {
        file.try_lock().map(|()| Self(file))
    }

    /// For using the database. Fails while it is being replaced.
    pub fn shared(path: &Path) -> Result<Self, Failure> {
        let busy = || {
            Failure::usage(
                format!(
                    "the database {} is being replaced by a backup at this moment",
                    path.display()
                ),
                "wait until `blog restore` is done",
            )
        };
        take(path, File::try_lock_shared, busy)
    }

    /// For replacing it. Fails while anybody uses it.
    pub fn exclusive(path: &Path) -> Result<Self, Failure> {
        let busy = || {
            Failure::usage(
                format!("the database {} is in use", path.display()),
                "stop the blog that serves it first",
            )
        };
        take(path, File::try_lock, busy)
    }
}

fn take(
    path: &Path,
    lock: impl Fn(&File) -> Result<(), TryLockError>,
    busy: impl Fn() -> Failure,
) -> Result<Lock, Failure> {
    let failed = |error: std::io::Error| {
        Failure::usage(
            format!("cannot lock the database {}: {error}", path.display()),
            "the file must be readable for the user that runs the blog",
        )
    };
    let file = File::open(path).map_err(failed)?;
    match lock(&file) {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Err(busy()),
        // Some network file systems have no locks. SQLite does not work there either, and says so itself.
        Err(TryLockError::Error(error)) => return Err(failed(error)),
    }
    let lock = Lock(file);
    let held = lock.0.metadata().map_err(failed)?;
    let named = std::fs::metadata(path).map_err(failed)?;
    if (held.dev(), held.ino()) != (named.dev(), named.ino()) {
        return Err(busy());
    }
    Ok(lock)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn many_users_or_one_that_replaces() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let path = file.path();
        let first = Lock::shared(path).unwrap();
        let second = Lock::shared(path).unwrap();
        assert!(Lock::exclusive(path).unwrap_err().message.contains("in use"));
        drop((first, second));
        let alone = Lock::exclusive(path).unwrap();
        assert!(Lock::shared(path).unwrap_err().message.contains("being replaced"));
        drop(alone);
        assert!(Lock::shared(path).is_ok());
        assert!(Lock::shared(Path::new("/none")).is_err());
    }

    #[test]
    fn a_copy_of_the_handle_holds_nothing() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let path = file.path();
        let alone = Lock::exclusive(path).unwrap();
        let _copy = alone.0.try_clone().unwrap();
        drop(alone);
        let alone = Lock::of(File::open(path).unwrap()).unwrap();
        assert!(Lock::of(File::open(path).unwrap()).is_err());
        let _copy = alone.0.try_clone().unwrap();
        drop(alone);
        assert!(Lock::exclusive(path).is_ok());
    }
}
