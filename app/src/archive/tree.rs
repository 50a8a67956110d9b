//! Writing a tree of files, into a directory or a zip. It has another name until it is whole, and `SHA256SUMS` has the
//! hash of every file in it, in the form that `sha256sum -c` reads.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::zip::Zip;
use crate::cli::Failure;
use crate::domain::hex;

/// The list of hashes, written last.
pub const SUMS: &str = "SHA256SUMS";

#[derive(Debug)]
pub struct Tree {
    target: PathBuf,
    /// Where it grows. Removed unless it is finished.
    partial: PathBuf,
    kind: Kind,
    sums: Vec<(String, [u8; 32])>,
    /// Files and bytes so far.
    pub files: u64,
    pub bytes: u64,
}

#[derive(Debug)]
enum Kind {
    Directory,
    Zip(Box<Zip<BufWriter<File>>>),
    Done,
}

impl Tree {
    /// `NAME.zip` is a zip, anything else a directory. Neither may be there already.
    pub fn create(target: &Path) -> Result<Self, Failure> {
        let taken = fs::symlink_metadata(target).is_ok();
        let empty = fs::read_dir(target).is_ok_and(|mut entries| entries.next().is_none());
        if taken && !empty {
            return Err(Failure::usage(
                format!("{} is there already", target.display()),
                "name one that is not there yet: nothing is overwritten",
            ));
        }
        let name = target.file_name().map(|name| name.to_string_lossy().into_owned());
        let name = name.ok_or_else(|| Failure::usage(format!("{} has no name", target.display()), ""))?;
        let partial = target.with_file_name(format!(".{name}.partial-export"));
        // What an earlier run left behind when it was killed.
        let _ = fs::remove_dir_all(&partial);
        let _ = fs::remove_file(&partial);
        let failed = |error: io::Error| {
            Failure::usage(
                format!("cannot write {}: {error}", target.display()),
                "choose a place that can be written to",
            )
        };
        let is_zip = target
            .extension()
            .is_some_and(|extension| extension.eq_ignore_ascii_case("zip"));
        let kind = if is_zip {
            let mut options = OpenOptions::new();
            let file = options
                .write(true)
                .create_new(true)
                .mode(0o600)
                .open(&partial)
                .map_err(failed)?;
            Kind::Zip(Box::new(Zip::new(BufWriter::with_capacity(64 << 10, file))))
        } else {
            fs::create_dir(&partial).map_err(failed)?;
            Kind::Directory
        };
        Ok(Self {
            target: target.to_owned(),
            partial,
            kind,
            sums: Vec::new(),
            files: 0,
            bytes: 0,
        })
    }

    /// Adds a file and answers with its hash. `packed`: worth compressing.
    pub fn add(&mut self, name: &str, content: &mut dyn Read, packed: bool) -> Result<[u8; 32], Failure> {
        let mut content = Hashed {
            content,
            hash: Sha256::new(),
            bytes: 0,
        };
        self.write(name, &mut content, packed)
            .map_err(|error| self.failed(name, &error))?;
        let hash: [u8; 32] = content.hash.finalize().into();
        self.sums.push((name.to_owned(), hash));
        self.files += 1;
        self.bytes += content.bytes;
        Ok(hash)
    }

    fn write(&mut self, name: &str, content: &mut dyn Read, packed: bool) -> io::Result<()> {
        match &mut self.kind {
            Kind::Zip(zip) => zip.add(name, content, packed),
            Kind::Directory => {
                let path = self.partial.join(name);
                if let Some(parent) = path.parent() {
                    fs::create_dir_all(parent)?;
                }
                let mut file = OpenOptions::new().write(true).create_new(true).open(&path)?;
                io::copy(content, &mut file)?;
                file.sync_all()
            }
            Kind::Done => Err(io::ErrorKind::Other.into()),
        }
    }

    /// Writes the hashes, gives the tree its name, and answers with the hash of `SHA256SUMS`, which stands for the whole.
    pub fn finish(mut self) -> Result<[u8; 32], Failure> {
        let mut sums = std::mem::take(&mut self.sums);
        sums.sort();
        let text: String = sums
            .iter()
            .map(|(name, hash)| format!("{}  {name}\n", hex::encode(hash)))
            .collect();
        self.write(SUMS, &mut text.as_bytes(), true)
            .map_err(|error| self.failed(SUMS, &error))?;
        let done = match std::mem::replace(&mut self.kind, Kind::Done) {
            Kind::Zip(zip) => zip
                .finish()
                .and_then(|out| out.into_inner().map_err(io::IntoInnerError::into_error))
                .and_then(|file| file.sync_all()),
            _ => sync_directories(&self.partial),
        };
        done.and_then(|()| fs::rename(&self.partial, &self.target))
            .and_then(|()| sync_parent(&self.target))
            .map_err(|error| self.failed("", &error))?;
        Ok(Sha256::digest(text.as_bytes()).into())
    }

    fn failed(&self, name: &str, error: &io::Error) -> Failure {
        let place = self.target.join(name);
        let hint = match error.kind() {
            io::ErrorKind::StorageFull => "nothing was left behind; make room, or write to another disk",
            _ => "nothing was left behind",
        };
        Failure::usage(format!("cannot write {}: {error}", place.display()), hint)
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        // After a rename there is nothing under this name.
        let _ = fs::remove_dir_all(&self.partial);
        let _ = fs::remove_file(&self.partial);
    }
}

/// So that the names are on the disk, not only what they name.
fn sync_directories(directory: &Path) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            sync_directories(&entry.path())?;
        }
    }
    File::open(directory)?.sync_all()
}

/// Makes a rename in the directory of `path` durable.
pub fn sync_parent(path: &Path) -> io::Result<()> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    File::open(parent.unwrap_or(Path::new(".")))?.sync_all()
}

struct Hashed<'a> {
    content: &'a mut dyn Read,
    hash: Sha256,
    bytes: u64,
}

impl Read for Hashed<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.content.read(buffer)?;
        self.hash.update(&buffer[..count]);
        self.bytes += count as u64;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn whole_or_nothing() {
        let place = tempfile::tempdir().unwrap();
        for name in ["tree", "tree.zip"] {
            let target = place.path().join(name);
            let mut tree = Tree::create(&target).unwrap();
            tree.add("a/b", &mut &b"x"[..], true).unwrap();
            drop(tree);
            assert_eq!(fs::read_dir(place.path()).unwrap().count(), 0, "{name}");

            // A killed run leaves a part behind; the next one begins anew.
            std::mem::forget(Tree::create(&target).unwrap());
            let mut tree = Tree::create(&target).unwrap();
            tree.add("b", &mut &b"x"[..], true).unwrap();
            tree.add("a/b", &mut &b"y"[..], false).unwrap();
            tree.finish().unwrap();
            let left: Vec<_> = fs::read_dir(place.path())
                .unwrap()
                .map(|e| e.unwrap().file_name())
                .collect();
            assert_eq!(left, [name]);
            let error = Tree::create(&target).unwrap_err();
            assert!(error.message.contains("there already"), "{error:?}");
            let archive = crate::archive::Archive::open(&target).unwrap();
            let sums = String::from_utf8(archive.bytes(SUMS, 1000).unwrap()).unwrap();
            let x = "2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881";
            assert!(
                sums.ends_with(&format!("{x}  b\n")) && sums.contains("  a/b\n"),
                "{sums}"
            );
            let _ = fs::remove_file(&target);
            let _ = fs::remove_dir_all(&target);
        }
    }
}
