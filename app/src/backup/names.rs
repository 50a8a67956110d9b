//! What lies in a place for backups: names, order, hashes, and what has to go.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::archive::sync_parent;
use crate::cli::Failure;
use crate::domain::{Stamp, calendar, hex};

/// The images of all backups.
pub const MEDIA: &str = "media";

/// One backup. Only what has its list of hashes is one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backup {
    directory: PathBuf,
    pub number: u64,
    /// Without an extension: `blog-000012-20260705T140300Z`.
    pub name: String,
    pub made_at: Stamp,
}

impl Backup {
    pub fn new(directory: &Path, number: u64, made_at: Stamp) -> Self {
        let time = made_at.rfc3339().replace(['-', ':'], "");
        Self {
            directory: directory.to_owned(),
            number,
            name: format!("blog-{number:06}-{time}"),
            made_at,
        }
    }

    fn parse(directory: &Path, file: &str) -> Option<Self> {
        let name = file.strip_suffix(".sha256")?;
        let (number, time) = name.strip_prefix("blog-")?.split_once('-')?;
        let part = |range| time.get(range);
        let time = format!(
            "{}-{}-{}:{}:{}",
            part(0..4)?,
            part(4..6)?,
            part(6..11)?,
            part(11..13)?,
            part(13..16)?
        );
        let made_at = Stamp(calendar::parse(&time)?);
        let backup = Self::new(directory, number.parse().ok()?, made_at);
        (backup.name == name).then_some(backup)
    }

    pub fn database(&self) -> PathBuf {
        self.directory.join(format!("{}.db", self.name))
    }

    /// In the form of `sha256sum`.
    pub fn sums(&self) -> PathBuf {
        self.directory.join(format!("{}.sha256", self.name))
    }

    /// Hash and name of every file that belongs to it.
    pub fn files(&self) -> Result<Vec<([u8; 32], String)>, Failure> {
        let path = self.sums();
        let bad = |problem: &str| Failure::usage(format!("{}: {problem}", path.display()), "choose another backup");
        let text = fs::read_to_string(&path).map_err(|error| bad(&error.to_string()))?;
        let line = |line: &str| {
            let (hash, name) = line.split_once("  ")?;
            Some((hex::decode(hash)?, name.to_owned()))
        };
        let files = text.lines().map(line).collect::<Option<Vec<_>>>();
        files
            .filter(|files| !files.is_empty())
            .ok_or_else(|| bad("is no list of hashes"))
    }
}

/// The backups in a directory, oldest first; none if it is not there.
pub fn list(directory: &Path) -> Result<Vec<Backup>, Failure> {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => {
            return Err(Failure::usage(
                format!("cannot read {}: {error}", directory.display()),
                "",
            ));
        }
    };
    let names = entries
        .flatten()
        .filter_map(|entry| entry.file_name().into_string().ok());
    let mut backups: Vec<Backup> = names.filter_map(|name| Backup::parse(directory, &name)).collect();
    backups.sort_by_key(|backup| backup.number);
    Ok(backups)
}

/// Removes what a killed backup left behind: parts, and a database that never got its list of hashes.
pub fn sweep(directory: &Path) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let Ok(name) = entry?.file_name().into_string() else {
            continue;
        };
        let path = directory.join(&name);
        let unlisted = name.starts_with("blog-") && name.ends_with(".db") && !path.with_extension("sha256").exists();
        // Also SQLite's journal of a part.
        if name.starts_with("blog-") && name.contains(".partial") || unlisted {
            fs::remove_file(&path)?;
        }
        if name.starts_with(".proof-") {
            fs::remove_dir_all(&path)?;
        }
    }
    Ok(())
}

/// Keeps the newest `keep` backups and the images that any of them has. Answers with what went.
pub fn rotate(directory: &Path, keep: usize) -> Result<Vec<String>, Failure> {
    let failed = |error: io::Error| Failure::usage(format!("cannot tidy up {}: {error}", directory.display()), "");
    let all = list(directory)?;
    let (old, kept) = all.split_at(all.len().saturating_sub(keep.max(1)));
    for backup in old {
        // The list first: what has none is no backup, even if the power goes now.
        fs::remove_file(backup.sums()).map_err(failed)?;
        sync_parent(&backup.sums()).map_err(failed)?;
        match fs::remove_file(backup.database()) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
            _ => {}
        }
    }
    if !old.is_empty() {
        let mut needed = HashSet::new();
        for backup in kept {
            needed.extend(backup.files()?.into_iter().map(|(_, name)| name));
        }
        for entry in fs::read_dir(directory.join(MEDIA)).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let name = format!("{MEDIA}/{}", entry.file_name().to_string_lossy());
            if !needed.contains(&name) {
                fs::remove_file(entry.path()).map_err(failed)?;
            }
        }
    }
    Ok(old.iter().map(|backup| format!("{}.db", backup.name)).collect())
}

/// SHA-256 of a file, read piece by piece.
pub fn hash(path: &Path) -> io::Result<[u8; 32]> {
    let mut hash = Sha256::new();
    let mut file = File::open(path)?;
    let mut buffer = vec![0; 64 << 10];
    loop {
        let count = io::Read::read(&mut file, &mut buffer)?;
        if count == 0 {
            return Ok(hash.finalize().into());
        }
        hash.update(&buffer[..count]);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn names_and_back() {
        let backup = Backup::new(Path::new("/b"), 12, Stamp(1_783_260_180));
        assert_eq!(backup.name, "blog-000012-20260705T140300Z");
        assert_eq!(
            Backup::parse(Path::new("/b"), "blog-000012-20260705T140300Z.sha256"),
            Some(backup)
        );
        for name in [
            "blog-000012-20260705T140300Z.db",
            "blog-12-20260705T140300Z.sha256",
            "blog-000012-2026é705T140300Z.sha256",
            "notes.sha256",
        ] {
            assert_eq!(Backup::parse(Path::new("/b"), name), None, "{name}");
        }
    }

    #[test]
    fn the_oldest_go_and_their_images_with_them() {
        let place = tempfile::tempdir().unwrap();
        let at = place.path();
        fs::create_dir(at.join(MEDIA)).unwrap();
        // The clock went back between the first and the second.
        for (number, time, images) in [(1, 5000, "aa bb"), (2, 1000, "bb"), (3, 2000, "bb cc")] {
            let backup = Backup::new(at, number, Stamp(time));
            fs::write(backup.database(), "x").unwrap();
            let mut sums = format!("{}  {}.db\n", hex::encode(&[1; 32]), backup.name);
            for image in images.split(' ') {
                fs::write(at.join(MEDIA).join(image), "x").unwrap();
                sums.push_str(&format!("{}  {MEDIA}/{image}\n", hex::encode(&[2; 32])));
            }
            fs::write(backup.sums(), sums).unwrap();
        }
        fs::write(
            at.join("blog-000009-19700101T000000Z.db"),
            "killed before it was listed",
        )
        .unwrap();
        for left in [
            "blog-000004-19700101T000000Z.partial",
            "blog-000004-19700101T000000Z.partial-journal",
        ] {
            fs::write(at.join(left), "killed in the middle").unwrap();
        }
        fs::write(at.join("notes.txt"), "not ours").unwrap();
        sweep(at).unwrap();
        assert_eq!(rotate(at, 2).unwrap(), ["blog-000001-19700101T012320Z.db"]);
        let left: Vec<u64> = list(at).unwrap().iter().map(|backup| backup.number).collect();
        assert_eq!(left, [2, 3]);
        let mut images: Vec<_> = fs::read_dir(at.join(MEDIA))
            .unwrap()
            .map(|e| e.unwrap().file_name())
            .collect();
        images.sort();
        assert_eq!(images, ["bb", "cc"]);
        assert!(at.join("notes.txt").exists());
        assert_eq!(fs::read_dir(at).unwrap().count(), 2 * 2 + 2);
        assert!(rotate(at, 0).unwrap().len() == 1, "one always stays");
    }
}
