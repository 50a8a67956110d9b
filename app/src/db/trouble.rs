//! Why the database cannot be written, as long as it cannot. Reading goes on meanwhile.

use diesel::result::Error;

/// The kind of trouble.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// SQLITE_FULL, or no more quota.
    Full,
    /// SQLITE_IOERR: the card, most likely.
    Io,
    /// SQLITE_READONLY, SQLITE_CANTOPEN: the file system was mounted read-only, which Linux does after errors.
    ReadOnly,
}

impl Trouble {
    /// For the log and for the health check.
    pub fn word(self) -> &'static str {
        match self {
            Self::Full => "the disk is full",
            Self::Io => "the disk reports errors",
            Self::ReadOnly => "the disk is read-only",
        }
    }

    /// What an error of a change says about the disk; nothing for errors of any other kind.
    pub fn of(error: &Error) -> Option<Self> {
        match error {
            Error::RollbackErrorOnCommit {
                rollback_error,
                commit_error,
            } => Self::of(commit_error).or_else(|| Self::of(rollback_error)),
            // SQLite has taken the transaction back itself, which it does for these errors only.
            Error::BrokenTransactionManager => Some(Self::Io),
            Error::DatabaseError(_, info) => Self::of_message(info.message()),
            _ => None,
        }
    }

    /// The same of a file that is no database: an image. Nothing for errors of any other kind.
    pub fn of_file(error: &std::io::Error) -> Option<Self> {
        use rustix::io::Errno;
        match Errno::from_io_error(error)? {
            // EFBIG: no file of this process may grow further (RLIMIT_FSIZE).
            Errno::NOSPC | Errno::DQUOT | Errno::FBIG => Some(Self::Full),
            Errno::IO => Some(Self::Io),
            Errno::ROFS => Some(Self::ReadOnly),
            _ => None,
        }
    }

    /// diesel passes on SQLite's words and not its numbers (sqlite3ErrStr in main.c).
    fn of_message(message: &str) -> Option<Self> {
        let known = [
            ("database or disk is full", Self::Full),
            ("disk I/O error", Self::Io),
            ("attempt to write a readonly database", Self::ReadOnly),
            ("unable to open database file", Self::ReadOnly),
            ("no transaction is active", Self::Io),
        ];
        let found = known.iter().find(|(words, _)| message.contains(words));
        found.map(|(_, trouble)| *trouble)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use diesel::result::DatabaseErrorKind;

    fn error(message: &str) -> Error {
        Error::DatabaseError(DatabaseErrorKind::Unknown, Box::new(message.to_owned()))
    }

    #[test]
    fn files_have_the_same_troubles() {
        let of = |number| Trouble::of_file(&std::io::Error::from_raw_os_error(number));
        // As in errno.h of Linux.
        for (number, trouble) in [
            (28, Trouble::Full),
            (122, Trouble::Full),
            (5, Trouble::Io),
            (30, Trouble::ReadOnly),
        ] {
            assert_eq!(of(number), Some(trouble));
        }
        assert_eq!(of(2), None);
        assert_eq!(Trouble::of_file(&std::io::Error::other("no number")), None);
    }

    #[test]
    fn only_what_the_disk_did() {
        assert_eq!(Trouble::of(&error("database or disk is full")), Some(Trouble::Full));
        let both = Error::RollbackErrorOnCommit {
            rollback_error: Box::new(error("cannot rollback - no transaction is active")),
            commit_error: Box::new(error("database or disk is full")),
        };
        assert_eq!(Trouble::of(&both), Some(Trouble::Full));
        assert_eq!(Trouble::of(&error("UNIQUE constraint failed: posts.slug")), None);
        assert_eq!(Trouble::of(&Error::NotFound), None);
    }
}
