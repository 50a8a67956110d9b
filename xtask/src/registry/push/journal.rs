//! How far uploads have come, on disk: a push whose process died goes on where the registry had got to.
//!
//! One file for each upload. It is a hint and nothing more: the registry is asked how much it has, and a blob is whole when the
//! registry has computed its digest. A file that cannot be read, or is about another blob, counts as none.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::cache::{full_disk, key_of, write_with_mode};
use crate::error::{Context, Error, Result};
use crate::oci::{Digest, Reference};

/// Version of the files.
const SCHEMA: u32 = 1;
/// Longest file that is read.
const LONGEST: u64 = 64 << 10;

/// A directory with one file for each upload that is under way.
#[derive(Clone, Debug)]
pub struct Journal {
    dir: PathBuf,
}

/// An upload under way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    schema: u32,
    /// `docker.io/me/blog`.
    pub repository: String,
    /// The blob.
    pub digest: Digest,
    /// All its bytes.
    pub size: u64,
    /// Where the registry wants the rest.
    pub url: String,
    /// Bytes that the registry has acknowledged.
    pub acknowledged: u64,
}

impl Journal {
    /// In this directory, which need not be there yet.
    pub fn at(dir: impl Into<PathBuf>) -> Self {
        Journal { dir: dir.into() }
    }

    fn path(&self, repository: &str, digest: Digest) -> PathBuf {
        self.dir
            .join(format!("{}.json", key_of([repository, &digest.to_string()])))
    }

    /// The upload of this very blob into this repository, if one is under way.
    pub fn get(&self, to: &Reference, digest: Digest, size: u64) -> Option<Entry> {
        let path = self.path(&to.name(), digest);
        if std::fs::metadata(&path).ok()?.len() > LONGEST {
            return None;
        }
        let entry: Entry = serde_json::from_slice(&std::fs::read(&path).ok()?).ok()?;
        let same = entry.schema == SCHEMA
            && entry.repository == to.name()
            && entry.digest == digest
            && entry.size == size
            && entry.acknowledged <= size;
        same.then_some(entry)
    }

    /// Notes what was acknowledged. The address may hold the registry's own state, so the file is for its owner alone.
    pub fn put(&self, to: &Reference, digest: Digest, size: u64, url: &url::Url, acknowledged: u64) -> Result<()> {
        let entry = Entry {
            schema: SCHEMA,
            repository: to.name(),
            digest,
            size,
            url: url.to_string(),
            acknowledged,
        };
        make(&self.dir)?;
        let text = serde_json::to_vec(&entry).context(|| "cannot write the journal of a push")?;
        write_with_mode(&self.path(&to.name(), digest), &text, 0o600)
    }

    /// The upload is done, or lost.
    pub fn forget(&self, to: &Reference, digest: Digest) -> Result<()> {
        let path = self.path(&to.name(), digest);
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(Error::from(error).context(format!("cannot remove {}", path.display())))
            }
            _ => Ok(()),
        }
    }
}

fn make(dir: &Path) -> Result<()> {
    std::fs::create_dir_all(dir).map_err(|error| full_disk(error, dir))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_for_one_blob_of_one_repository() {
        let temp = tempfile::tempdir().unwrap();
        let journal = Journal::at(temp.path().join("push"));
        let (here, there): (Reference, Reference) =
            ("localhost:5000/a".parse().unwrap(), "localhost:5000/b".parse().unwrap());
        let (one, other) = (Digest::of(b"1"), Digest::of(b"2"));
        let url = url::Url::parse("http://localhost:5000/up?_state=s3cret").unwrap();
        assert_eq!(journal.get(&here, one, 9), None);
        journal.forget(&here, one).unwrap();
        journal.put(&here, one, 9, &url, 5).unwrap();
        let entry = journal.get(&here, one, 9).unwrap();
        assert_eq!((entry.acknowledged, entry.url.as_str()), (5, url.as_str()));
        assert_eq!(journal.get(&there, one, 9), None);
        assert_eq!(journal.get(&here, other, 9), None);
        assert_eq!(journal.get(&here, one, 8), None, "another size is another blob");
        let path = journal.path(&here.name(), one);
        let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&path).unwrap().permissions());
        assert_eq!(mode & 0o777, 0o600);
        // What a killed editor or a hostile neighbour leaves is no entry.
        for text in ["", "{}", "[1]", r#"{"schema":1}"#] {
            std::fs::write(&path, text).unwrap();
            assert_eq!(journal.get(&here, one, 9), None, "{text}");
        }
        // The file of one blob under the name of another.
        journal.put(&here, other, 9, &url, 5).unwrap();
        std::fs::rename(journal.path(&here.name(), other), &path).unwrap();
        assert_eq!(journal.get(&here, one, 9), None);
        journal.forget(&here, one).unwrap();
        assert!(!path.exists());
    }
}
