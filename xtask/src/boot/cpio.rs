//! The archive that Linux unpacks into its first file system: "newc", as the kernel's buffer-format.rst describes it. Pure.
//!
//! Same entries, same bytes: inode numbers are the order of the entries, and whoever writes it is not in it. Extended
//! attributes have no place in the format.

use crate::oci::layer::{Entry, EntryKind};

/// An archive being written.
#[derive(Debug, Default)]
pub(super) struct Cpio {
    bytes: Vec<u8>,
    inode: u32,
}

const REGULAR: u32 = 0o100_000;
const DIRECTORY: u32 = 0o040_000;
const SYMLINK: u32 = 0o120_000;
const CHARACTER: u32 = 0o020_000;

impl Cpio {
    /// An object of an image, at `prefix` + its path. Hard links and whiteouts are resolved before (`oci::tree`).
    ///
    /// # Errors
    /// What 32 bits cannot say, named.
    pub(super) fn entry(&mut self, prefix: &str, entry: &Entry) -> Result<(), String> {
        let number = |value: u64, what: &str| {
            u32::try_from(value).map_err(|_| format!("/{}: its {what} {value} does not fit into 32 bits", entry.path))
        };
        let (kind, data) = match &entry.kind {
            EntryKind::File(bytes) => (REGULAR, bytes.as_slice()),
            EntryKind::Directory => (DIRECTORY, &[][..]),
            EntryKind::Symlink(target) => (SYMLINK, target.as_bytes()),
            other => return Err(format!("/{}: {other:?} cannot be put into a cpio archive", entry.path)),
        };
        let owner = (number(entry.uid, "owner")?, number(entry.gid, "group")?);
        let mtime = number(entry.mtime, "time")?;
        number(data.len() as u64, "size")?;
        self.record(
            &format!("{prefix}{}", entry.path),
            kind | entry.mode,
            owner,
            mtime,
            data,
            (0, 0),
        );
        Ok(())
    }

    /// A directory of root's.
    pub(super) fn directory(&mut self, path: &str, mode: u32) {
        self.record(path, DIRECTORY | mode, (0, 0), 0, b"", (0, 0));
    }

    /// A file of root's.
    pub(super) fn file(&mut self, path: &str, bytes: &[u8], mode: u32) {
        self.record(path, REGULAR | mode, (0, 0), 0, bytes, (0, 0));
    }

    /// A character device of root's.
    pub(super) fn device(&mut self, path: &str, mode: u32, major: u32, minor: u32) {
        self.record(path, CHARACTER | mode, (0, 0), 0, b"", (major, minor));
    }

    /// The finished archive.
    pub(super) fn finish(mut self) -> Vec<u8> {
        self.inode = u32::MAX;
        self.record("TRAILER!!!", 0, (0, 0), 0, b"", (0, 0));
        self.bytes.resize(self.bytes.len().next_multiple_of(512), 0);
        self.bytes
    }

    fn record(&mut self, path: &str, mode: u32, owner: (u32, u32), mtime: u32, data: &[u8], device: (u32, u32)) {
        self.inode = self.inode.wrapping_add(1);
        let links = if mode & 0o170_000 == DIRECTORY { 2 } else { 1 };
        let fields = [
            self.inode,
            mode,
            owner.0,
            owner.1,
            links,
            mtime,
            data.len() as u32,
            0,
            0,
            device.0,
            device.1,
            path.len() as u32 + 1,
            0,
        ];
        self.bytes.extend_from_slice(b"070701");
        for field in fields {
            self.bytes.extend_from_slice(format!("{field:08X}").as_bytes());
        }
        self.bytes.extend_from_slice(path.as_bytes());
        self.bytes.push(0);
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
        self.bytes.extend_from_slice(data);
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn field(record: &[u8], index: usize) -> u32 {
        let at = 6 + index * 8;
        u32::from_str_radix(std::str::from_utf8(&record[at..at + 8]).unwrap(), 16).unwrap()
    }

    #[test]
    fn a_record_says_what_the_entry_says() {
        let mut cpio = Cpio::default();
        cpio.entry("image/", &Entry::file("bin/su", "abcde", 0o4755).owned_by(3, 70_000))
            .unwrap();
        cpio.entry("image/", &Entry::symlink("lib", "usr/lib")).unwrap();
        cpio.device("dev/console", 0o600, 5, 1);
        let bytes = cpio.finish();
        assert_eq!(bytes.len() % 512, 0);
        assert_eq!(
            (field(&bytes, 1), field(&bytes, 2), field(&bytes, 3)),
            (0o104_755, 3, 70_000)
        );
        assert_eq!((field(&bytes, 6), field(&bytes, 11)), (5, 13));
        assert_eq!(&bytes[110..123], b"image/bin/su\0");
        // Header and name end on a multiple of four, and so does the content.
        assert_eq!(&bytes[124..129], b"abcde");
        let link = &bytes[132..];
        assert_eq!((&link[..6], field(link, 1)), (&b"070701"[..], 0o120_777));
        let device = &link[(110 + 10 + 7_usize).next_multiple_of(4)..];
        assert_eq!(
            (field(device, 1), field(device, 9), field(device, 10)),
            (0o020_600, 5, 1)
        );
    }

    #[test]
    fn what_does_not_fit_is_an_error() {
        let entry = Entry::file("x", "", 0o644).owned_by(1 << 32, 0);
        assert!(Cpio::default().entry("", &entry).unwrap_err().contains("owner"));
        let entry = Entry::new("x", EntryKind::Whiteout, 0);
        assert!(Cpio::default().entry("", &entry).is_err());
    }
}
