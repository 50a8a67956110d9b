//! The media directory: one file for each image, named by the SHA-256 of what is in it. Only this module touches it.
//!
//! A file is there before the row in `media` that names it: bytes and fsync under a temporary name, then, inside the
//! transaction that inserts the row, rename and fsync of the directory. So a row without its file cannot be, and a file
//! without its row is left over from a crash, hurts nobody, and is found by `orphans`.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, BufWriter, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::{Failed, Format, Limits, Picture, sanitise};
use crate::cli::Failure;
use crate::domain::{hex, random};

/// Temporary names begin so; no name of an image does.
const TEMPORARY: &str = "new-";

/// The SHA-256 of an image as it is stored: its name.
pub type Hash = [u8; 32];

#[derive(Debug, Clone)]
pub struct Store {
    directory: PathBuf,
    pub limits: Limits,
}

/// An image that is on the disk without a name of its own. Dropping it removes it.
#[derive(Debug)]
pub struct Ready {
    pub hash: Hash,
    pub picture: Picture,
    /// Of the file as it is stored.
    pub bytes: u64,
    path: PathBuf,
    /// Locked, so that nobody takes it for one that a crash left behind.
    _file: File,
}

impl Drop for Ready {
    fn drop(&mut self) {
        // It is not there any more when it was published.
        let _ = fs::remove_file(&self.path);
    }
}

fn is_out_of_room(error: &io::Error) -> bool {
    use io::ErrorKind::{QuotaExceeded, ReadOnlyFilesystem, StorageFull};
    matches!(error.kind(), StorageFull | QuotaExceeded | ReadOnlyFilesystem)
}

impl Store {
    /// Where images lie when nobody says otherwise: beside the database.
    pub fn beside(database: &str) -> PathBuf {
        PathBuf::from(format!("{database}.media"))
    }

    /// Makes the directory when it is not there, for its user alone, and clears away what crashes left.
    pub fn open(directory: &Path, limits: Limits) -> Result<Self, Failure> {
        let store = Self {
            directory: directory.to_owned(),
            limits,
        };
        match store.prepare() {
            Ok(()) => Ok(store),
            // Until there is room there are no images, and the directory is made with the first one.
            Err(error) if is_out_of_room(&error) => {
                tracing::error!(error = %error, "cannot prepare the media directory {}", directory.display());
                Ok(store)
            }
            Err(error) => Err(Failure::usage(
                format!("cannot use the media directory {}: {error}", directory.display()),
                "it must be readable and writable for the user that runs the blog",
            )),
        }
    }

    fn prepare(&self) -> io::Result<()> {
        match DirBuilder::new().mode(0o700).create(&self.directory) {
            Ok(()) => sync_directory(self.directory.parent().filter(|parent| !parent.as_os_str().is_empty()))?,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
        for entry in fs::read_dir(&self.directory)? {
            let entry = entry?;
            if entry.file_name().to_string_lossy().starts_with(TEMPORARY) {
                // Another process may be writing it at this moment.
                match File::open(entry.path())?.try_lock() {
                    Ok(()) => fs::remove_file(entry.path())?,
                    Err(TryLockError::WouldBlock) => {}
                    Err(TryLockError::Error(error)) => return Err(error),
                }
            }
        }
        Ok(())
    }

    /// A file without a name for bytes as they arrive: whatever happens, nobody finds the metadata that is still in it.
    pub fn incoming(&self) -> io::Result<File> {
        let (path, file) = self.temporary()?;
        fs::remove_file(path)?;
        Ok(file)
    }

    fn temporary(&self) -> io::Result<(PathBuf, File)> {
        let name = hex::encode(&random::bytes::<16>().map_err(io::Error::other)?);
        let path = self.directory.join(format!("{TEMPORARY}{name}"));
        let mut options = OpenOptions::new();
        options.read(true).write(true).create_new(true).mode(0o600);
        let file = match options.open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.prepare()?;
                options.open(&path)
            }
            opened => opened,
        }?;
        file.try_lock()?;
        Ok((path, file))
    }

    /// Takes everything but the picture away and puts the rest on the disk.
    pub fn clean<R: Read + Seek>(&self, input: R) -> Result<Ready, Failed> {
        let (path, file) = self.temporary()?;
        // From here on the file goes away when anything fails.
        let mut ready = Ready {
            hash: [0; 32],
            picture: Picture {
                format: Format::Jpeg,
                width: 0,
                height: 0,
            },
            bytes: 0,
            path,
            _file: file.try_clone()?,
        };
        let mut out = Hashing {
            file: BufWriter::with_capacity(64 * 1024, file),
            digest: Sha256::new(),
            bytes: 0,
        };
        ready.picture = sanitise(input, &mut out, &self.limits)?;
        ready.hash = out.digest.finalize().into();
        ready.bytes = out.bytes;
        let file = out.file.into_inner().map_err(io::IntoInnerError::into_error)?;
        file.sync_all()?;
        Ok(ready)
    }

    /// Gives it its name, for good. Call it inside the transaction that inserts the row: only one writer at a time can
    /// then add or remove a name. The same image again replaces itself.
    pub fn publish(&self, ready: &Ready) -> io::Result<()> {
        fs::rename(&ready.path, self.path(&ready.hash, ready.picture.format))?;
        sync_directory(Some(&self.directory))
    }

    pub fn file(&self, hash: &Hash, format: Format) -> io::Result<File> {
        File::open(self.path(hash, format))
    }

    /// Takes a name away. Call it inside a transaction that has made sure that no row has it.
    pub fn remove(&self, hash: &Hash, format: Format) -> io::Result<()> {
        match fs::remove_file(self.path(hash, format)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => sync_directory(Some(&self.directory)),
        }
    }

    pub fn path(&self, hash: &Hash, format: Format) -> PathBuf {
        self.directory
            .join(format!("{}.{}", hex::encode(hash), format.extension()))
    }

    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// The images in the directory that `known` does not know, and names that are none of ours.
    pub fn orphans(&self, mut known: impl FnMut(&Hash, Format) -> bool) -> io::Result<Vec<PathBuf>> {
        let mut orphans = Vec::new();
        for entry in fs::read_dir(&self.directory)? {
            let path = entry?.path();
            let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
            let name = name.unwrap_or_default();
            let ours = parse_name(&name).is_some_and(|(hash, format)| known(&hash, format));
            if !ours && !name.starts_with(TEMPORARY) {
                orphans.push(path);
            }
        }
        orphans.sort();
        Ok(orphans)
    }

    /// Whether the file holds what its name says. `None`: it is not there.
    pub fn verify(&self, hash: &Hash, format: Format) -> io::Result<Option<bool>> {
        let mut file = match self.file(hash, format) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            other => other?,
        };
        file.seek(SeekFrom::Start(0))?;
        let mut digest = Sha256::new();
        let mut buffer = vec![0; 64 * 1024];
        loop {
            match file.read(&mut buffer)? {
                0 => break,
                count => digest.update(&buffer[..count]),
            }
        }
        Ok(Some(<Hash>::from(digest.finalize()) == *hash))
    }
}

/// `{64 hexadecimal digits}.{jpg|png|webp}`, spelt exactly so.
pub fn parse_name(name: &str) -> Option<(Hash, Format)> {
    let (hash, extension) = name.split_once('.')?;
    Some((hex::decode(hash)?, Format::of_extension(extension)?))
}

/// Counts and hashes what goes by.
struct Hashing {
    file: BufWriter<File>,
    digest: Sha256,
    bytes: u64,
}

impl Write for Hashing {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.file.write(bytes)?;
        self.digest.update(&bytes[..count]);
        self.bytes += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

fn sync_directory(directory: Option<&Path>) -> io::Result<()> {
    File::open(directory.unwrap_or(Path::new(".")))?.sync_all()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::io::Cursor;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    const PNG: &[u8] = include_bytes!("../../tests/fixtures/images/palette.png");

    fn names(store: &Store) -> Vec<String> {
        let entries = fs::read_dir(store.directory()).unwrap();
        entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect()
    }

    fn store() -> (tempfile::TempDir, Store) {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(&directory.path().join("media"), Limits::default()).unwrap();
        (directory, store)
    }

    #[test]
    fn an_image_is_named_by_its_bytes() {
        let (_directory, store) = store();
        let ready = store.clean(Cursor::new(PNG)).unwrap();
        store.publish(&ready).unwrap();
        store.publish(&store.clean(Cursor::new(PNG)).unwrap()).unwrap();
        let stored = fs::read(store.path(&ready.hash, Format::Png)).unwrap();
        assert_eq!(<Hash>::from(Sha256::digest(&stored)), ready.hash);
        assert_eq!(stored.len() as u64, ready.bytes);
        assert_eq!(names(&store), [format!("{}.png", hex::encode(&ready.hash))]);
        assert_eq!(store.verify(&ready.hash, Format::Png).unwrap(), Some(true));
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&store.path(&ready.hash, Format::Png)), 0o600);
        assert_eq!(mode(store.directory()), 0o700);

        fs::write(store.path(&ready.hash, Format::Png), "other").unwrap();
        assert_eq!(store.verify(&ready.hash, Format::Png).unwrap(), Some(false));
        store.remove(&ready.hash, Format::Png).unwrap();
        store.remove(&ready.hash, Format::Png).unwrap();
        assert_eq!(store.verify(&ready.hash, Format::Png).unwrap(), None);
    }

    #[test]
    fn what_is_refused_or_given_up_leaves_nothing() {
        let (_directory, store) = store();
        assert!(store.clean(Cursor::new(&PNG[..50])).is_err());
        drop(store.clean(Cursor::new(PNG)).unwrap());
        store.incoming().unwrap().write_all(b"GPS").unwrap();
        assert_eq!(names(&store), [""; 0]);
    }

    #[test]
    fn only_what_a_crash_left_is_cleared_away() {
        let (_directory, store) = store();
        let busy = store.clean(Cursor::new(PNG)).unwrap();
        fs::write(store.directory().join("new-1"), "left").unwrap();
        let again = Store::open(store.directory(), Limits::default()).unwrap();
        assert_eq!(names(&store).len(), 1);
        again.publish(&busy).unwrap();
        fs::write(store.directory().join("notes.txt"), "").unwrap();
        let orphans = |known: bool| again.orphans(|_, _| known).unwrap().len();
        assert_eq!((orphans(true), orphans(false)), (1, 2));
    }

    #[test]
    fn only_our_names_are_names() {
        let name = format!("{}.webp", "0a".repeat(32));
        assert_eq!(parse_name(&name), Some(([10; 32], Format::WebP)));
        for wrong in [
            "",
            "0a.png",
            "../x.png",
            &name.to_uppercase(),
            &format!("{name}.png"),
            &name[1..],
        ] {
            assert_eq!(parse_name(wrong), None, "{wrong}");
        }
    }
}
