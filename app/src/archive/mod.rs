//! Trees of files that come from elsewhere or go there: a directory or a zip, read and written the same way.
//!
//! Reading trusts nothing: no name leads out of the tree, no symbolic link is followed, no zip unpacks to more than it
//! says. Writing leaves the whole or nothing, and the same content gives the same bytes.

mod tree;
mod unzip;
mod zip;

pub use tree::{SUMS, Tree, sync_parent};
pub use zip::Zip;

use std::collections::BTreeSet;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use crate::cli::Failure;
use unzip::Unzip;

/// A tree of files that is only read. Names have `/` between their parts and none in front.
#[derive(Debug)]
pub struct Archive {
    /// What it is called in messages.
    label: String,
    kind: Kind,
    /// Everything lies under this, as in zips that were packed with their directory; empty or with a `/` at the end.
    root: String,
}

#[derive(Debug)]
enum Kind {
    Directory(PathBuf),
    Zip(Unzip),
}

impl Archive {
    /// A directory or a zip.
    pub fn open(path: &Path) -> Result<Self, Failure> {
        let label = path.display().to_string();
        let meta = std::fs::metadata(path).map_err(|error| {
            Failure::usage(
                format!("cannot open {label}: {error}"),
                "name a directory or a zip file that can be read",
            )
        })?;
        let kind = if meta.is_dir() {
            Kind::Directory(path.to_owned())
        } else {
            let file = File::open(path).map_err(|error| Failure::usage(format!("cannot open {label}: {error}"), ""))?;
            Kind::Zip(Unzip::open(file).map_err(|error| {
                Failure::usage(
                    format!("{label}: {error}"),
                    "name the zip as it was downloaded, or a directory that it was unpacked into",
                )
            })?)
        };
        Ok(Self {
            label,
            kind,
            root: String::new(),
        })
    }

    /// A zip inside this archive, copied into `file`, which should have no name: from there it can be read in any order.
    /// It is as little trusted as one that was named, and zips inside of it stay what they are.
    pub fn inner(&self, name: &str, mut file: File) -> Result<Self, Failure> {
        let label = format!("{}: {name}", self.label);
        std::io::copy(&mut self.read(name)?, &mut file).map_err(|error| {
            Failure::usage(
                format!("cannot unpack {label}: {error}"),
                "there must be room for it beside the database while the import runs",
            )
        })?;
        let unzip = Unzip::open(file).map_err(|error| {
            Failure::usage(
                format!("{label}: {error}"),
                "download the archive again, or unpack it and take this file out",
            )
        })?;
        Ok(Self {
            label,
            kind: Kind::Zip(unzip),
            root: String::new(),
        })
    }

    /// What to do when what should be here is not: most of all when it was packed twice.
    pub fn hint_beside(&self, otherwise: &str) -> String {
        let files = self.files("").unwrap_or_default();
        let zip = files.iter().find(|name| is_zip(name));
        zip.map_or_else(
            || otherwise.to_owned(),
            |zip| format!("it has {zip} in it: unpack that one and name it; {otherwise}"),
        )
    }

    pub fn label(&self) -> &str {
        &self.label
    }

    /// Takes the directory in which one of `names` lies for the whole: the top, or one directory below it.
    pub fn enter(&mut self, names: &[&str]) -> Result<bool, Failure> {
        let mut places = vec![String::new()];
        places.extend(self.directories("")?.into_iter().map(|name| format!("{name}/")));
        for place in places {
            for name in names {
                if self.has(&format!("{place}{name}"))? {
                    self.root.push_str(&place);
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    /// The files directly in a directory (`data/`, or the empty name), sorted. An absent one has none.
    pub fn files(&self, directory: &str) -> Result<Vec<String>, Failure> {
        self.list(directory, true)
    }

    /// The directories directly in a directory, sorted.
    pub fn directories(&self, directory: &str) -> Result<Vec<String>, Failure> {
        self.list(directory, false)
    }

    fn list(&self, directory: &str, files: bool) -> Result<Vec<String>, Failure> {
        let directory = format!("{}{directory}", self.root);
        let mut found = BTreeSet::new();
        match &self.kind {
            Kind::Zip(zip) => {
                for name in zip.names_from(&directory) {
                    match name[directory.len()..].split_once('/') {
                        None if files => found.insert(name[directory.len()..].to_owned()),
                        Some((below, _)) if !files => found.insert(below.to_owned()),
                        _ => false,
                    };
                }
            }
            Kind::Directory(top) => {
                let path = top.join(&directory);
                let failed = |error| Failure::usage(format!("cannot read {}: {error}", path.display()), "");
                let entries = match std::fs::read_dir(&path) {
                    Ok(entries) => entries,
                    Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
                    Err(error) => return Err(failed(error)),
                };
                for entry in entries {
                    let entry = entry.map_err(failed)?;
                    let kind = entry.file_type().map_err(failed)?;
                    // Not UTF-8: nothing that an archive calls a file by.
                    let Ok(name) = entry.file_name().into_string() else {
                        continue;
                    };
                    if kind.is_symlink() {
                        return Err(self.symlink(&format!("{directory}{name}")));
                    }
                    if kind.is_file() == files && (files || kind.is_dir()) {
                        found.insert(name);
                    }
                }
            }
        }
        Ok(found.into_iter().collect())
    }

    pub fn has(&self, name: &str) -> Result<bool, Failure> {
        Ok(self.size(name)?.is_some())
    }

    /// In bytes, unpacked; `None` when there is no such file.
    pub fn size(&self, name: &str) -> Result<Option<u64>, Failure> {
        let name = format!("{}{name}", self.root);
        match &self.kind {
            Kind::Zip(zip) => Ok(zip.size(&name)),
            Kind::Directory(top) => {
                let Some(path) = self.below(top, &name)? else {
                    return Ok(None);
                };
                Ok(path
                    .metadata()
                    .ok()
                    .filter(|meta| meta.is_file())
                    .map(|meta| meta.len()))
            }
        }
    }

    /// Opens a file for reading from its beginning to its end.
    pub fn read(&self, name: &str) -> Result<Box<dyn Read + '_>, Failure> {
        let whole = format!("{}{name}", self.root);
        let failed = |error: std::io::Error| Failure::usage(format!("{}: cannot read {name}: {error}", self.label), "");
        match &self.kind {
            Kind::Zip(zip) => Ok(Box::new(zip.read(&whole).map_err(failed)?)),
            Kind::Directory(top) => match self.below(top, &whole)? {
                Some(path) => Ok(Box::new(File::open(path).map_err(failed)?)),
                None => Err(failed(std::io::ErrorKind::NotFound.into())),
            },
        }
    }

    /// The whole of a file that has at most `most` bytes.
    pub fn bytes(&self, name: &str, most: u64) -> Result<Vec<u8>, Failure> {
        let mut bytes = Vec::new();
        self.read(name)?
            .take(most + 1)
            .read_to_end(&mut bytes)
            .map_err(|error| Failure::usage(format!("{}: cannot read {name}: {error}", self.label), ""))?;
        if bytes.len() as u64 > most {
            return Err(Failure::usage(
                format!("{}: {name} has more than {most} bytes", self.label),
                "",
            ));
        }
        Ok(bytes)
    }

    /// The path of a file under `top`, if there is something. Neither it nor what leads to it may be a symbolic link.
    fn below(&self, top: &Path, name: &str) -> Result<Option<PathBuf>, Failure> {
        if !is_plain(name) {
            return Ok(None);
        }
        let mut path = top.to_owned();
        for part in name.split('/') {
            path.push(part);
            match std::fs::symlink_metadata(&path) {
                Ok(meta) if meta.is_symlink() => return Err(self.symlink(name)),
                Ok(_) => {}
                Err(_) => return Ok(None),
            }
        }
        Ok(Some(path))
    }

    fn symlink(&self, name: &str) -> Failure {
        Failure::usage(
            format!("{}: {name} is or lies behind a symbolic link", self.label),
            "put the file itself there: links could lead to anything on this machine",
        )
    }
}

/// Whether a name says that the file is a zip.
pub fn is_zip(name: &str) -> bool {
    name.len() > 4
        && name
            .get(name.len() - 4..)
            .is_some_and(|end| end.eq_ignore_ascii_case(".zip"))
}

/// Whether a name stays inside its tree on every system.
fn is_plain(name: &str) -> bool {
    let part = |part: &str| !part.is_empty() && part != "." && part != "..";
    name.split('/').all(part) && !name.contains(['\\', '\0']) && name.as_bytes().get(1) != Some(&b':')
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn names_that_stay_inside() {
        for name in ["a", "a/b.c", "日本/語", "..a/b.."] {
            assert!(is_plain(name), "{name}");
        }
        for name in ["", "/a", "a/../b", "..", "a//b", "a\\b", "c:/x", "./a", "a\0b", "a/"] {
            assert!(!is_plain(name), "{name}");
        }
    }

    #[test]
    fn a_directory_is_read_without_following_links() {
        let there = tempfile::tempdir().unwrap();
        let top = there.path();
        std::fs::create_dir_all(top.join("inner/data")).unwrap();
        std::fs::write(top.join("inner/data/a.js"), "x").unwrap();
        let mut archive = Archive::open(top).unwrap();
        assert!(!archive.enter(&["b.js"]).unwrap());
        assert!(archive.enter(&["data/b.js", "data/a.js"]).unwrap());
        assert_eq!(archive.files("data/").unwrap(), ["a.js"]);
        assert_eq!(archive.directories("").unwrap(), ["data"]);
        assert!(archive.files("none/").unwrap().is_empty());
        assert_eq!(archive.size("data/a.js").unwrap(), Some(1));
        assert_eq!(archive.size("data").unwrap(), None);
        assert_eq!(archive.size("../secret").unwrap(), None);
        assert!(archive.read("../secret").is_err());
        assert_eq!(archive.bytes("data/a.js", 1).unwrap(), b"x");
        assert!(archive.bytes("data/a.js", 0).is_err());

        symlink("/etc/passwd", top.join("inner/data/b.js")).unwrap();
        symlink("/etc", top.join("inner/etc")).unwrap();
        for name in ["data/b.js", "etc/passwd"] {
            let error = archive.read(name).err().unwrap();
            assert!(
                error.message.contains("symbolic link") && error.message.contains(name),
                "{error:?}"
            );
        }
        assert!(archive.files("data/").is_err());
        assert!(Archive::open(&top.join("none")).is_err());
    }
}
