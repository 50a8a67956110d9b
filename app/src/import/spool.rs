//! Elements put aside in a file, because they come in another order than they are needed in and are too many for the
//! memory. The file has no name: whatever happens, it is gone when the program is.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

use crate::domain::{hex, random};

/// The name that the file has for a moment begins so.
const TEMPORARY: &str = ".import-";

/// Removes what imports left that were killed just then.
fn sweep(directory: &Path) -> io::Result<()> {
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with(TEMPORARY)
            && File::open(entry.path()).is_ok_and(|file| file.try_lock().is_ok())
        {
            remove(&entry.path())?;
        }
    }
    Ok(())
}

/// Another import may have been quicker.
fn remove(path: &Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// A file without a name, to be read and written.
pub fn unnamed(directory: &Path) -> io::Result<File> {
    let name = random::bytes::<8>().map_err(|error| io::Error::other(error.to_string()))?;
    let path = directory.join(format!("{TEMPORARY}{}", hex::encode(&name)));
    let mut options = OpenOptions::new();
    let file = options
        .read(true)
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&path)?;
    // For a moment it has a name. Locked, so that no other import takes it for left over.
    file.try_lock()?;
    remove(&path)?;
    Ok(file)
}

#[derive(Debug)]
pub struct Spool {
    file: File,
    length: u64,
    buffer: Vec<u8>,
}

/// Where an element lies.
#[derive(Debug, Clone, Copy)]
pub struct Slot {
    at: u64,
    length: u32,
}

impl Spool {
    /// In `directory`, which has room for what will be imported anyway.
    pub fn create(directory: &Path) -> io::Result<Self> {
        sweep(directory)?;
        Ok(Self {
            file: unnamed(directory)?,
            length: 0,
            buffer: Vec::new(),
        })
    }

    pub fn push(&mut self, bytes: &[u8]) -> io::Result<Slot> {
        let length = u32::try_from(bytes.len()).map_err(|_| io::Error::other("an element is too large"))?;
        let slot = Slot {
            at: self.length,
            length,
        };
        self.buffer.extend_from_slice(bytes);
        self.length += u64::from(length);
        if self.buffer.len() > 256 << 10 {
            self.flush()?;
        }
        Ok(slot)
    }

    pub fn flush(&mut self) -> io::Result<()> {
        self.file.write_all(&self.buffer)?;
        self.buffer.clear();
        Ok(())
    }

    /// What was pushed; call `flush` before the first time.
    pub fn read(&self, slot: Slot) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; slot.length as usize];
        self.file.read_exact_at(&mut bytes, slot.at)?;
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn comes_back_and_has_no_name() {
        let directory = tempfile::tempdir().unwrap();
        let mut spool = Spool::create(directory.path()).unwrap();
        let slots: Vec<Slot> = (0..100_u32)
            .map(|n| spool.push(&vec![n as u8; 10_000]).unwrap())
            .collect();
        spool.flush().unwrap();
        assert_eq!(spool.read(slots[77]).unwrap(), vec![77; 10_000]);
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
    }
}
