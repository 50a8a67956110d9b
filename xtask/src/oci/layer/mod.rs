//! Layers: entries in, one gzip blob out, the same bytes on every machine; and back again without trusting the blob.
//!
//! What decides the bytes is all here: order (bytewise by path), headers (ustar, PAX only where ustar cannot say it),
//! numeric owners with empty names, one pinned gzip backend (flate2 over zlib-rs) at level 9 with mtime 0 and OS 255.

mod read;
mod sparse;
mod write;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

pub use read::{Limits, decompress, read_entries, read_tar};
pub(crate) use read::{parse_pax, until_nul};
pub use sparse::without_sparse;
pub use write::{Compressed, LayerBuilder, write_tar};

use super::{Digest, media};

/// One object of a file system tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Relative, UTF-8, without `.`, `..`, empty components or a trailing `/`: `usr/local/bin/blog`.
    pub path: String,
    /// What it is, with its content.
    pub kind: EntryKind,
    /// Permission bits, at most 0o7777.
    pub mode: u32,
    /// Numeric owner.
    pub uid: u64,
    /// Numeric group.
    pub gid: u64,
    /// Seconds since the epoch.
    pub mtime: u64,
    /// Extended attributes by full name (`security.capability`).
    pub xattrs: BTreeMap<String, Vec<u8>>,
}

/// What an entry is. Devices and pipes are refused where they are read.
#[derive(Clone, PartialEq, Eq)]
pub enum EntryKind {
    /// A regular file and its bytes.
    File(Vec<u8>),
    /// A directory.
    Directory,
    /// A symbolic link and its target, as written.
    Symlink(String),
    /// Another name for an earlier file of the same layer, by path.
    Hardlink(String),
    /// Removes this path from the layers below (`.wh.NAME` in the tar).
    Whiteout,
    /// Empties this directory of what the layers below put there (`.wh..wh..opq` in the tar).
    OpaqueDirectory,
}

impl fmt::Debug for EntryKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            EntryKind::File(bytes) => write!(f, "File({} bytes)", bytes.len()),
            EntryKind::Directory => f.write_str("Directory"),
            EntryKind::Symlink(target) => write!(f, "Symlink({target:?})"),
            EntryKind::Hardlink(target) => write!(f, "Hardlink({target:?})"),
            EntryKind::Whiteout => f.write_str("Whiteout"),
            EntryKind::OpaqueDirectory => f.write_str("OpaqueDirectory"),
        }
    }
}

impl Entry {
    /// An entry of root's with time 0 and no attributes.
    pub fn new(path: impl Into<String>, kind: EntryKind, mode: u32) -> Self {
        Entry {
            path: path.into(),
            kind,
            mode,
            uid: 0,
            gid: 0,
            mtime: 0,
            xattrs: BTreeMap::new(),
        }
    }

    /// A file of root's.
    pub fn file(path: impl Into<String>, bytes: impl Into<Vec<u8>>, mode: u32) -> Self {
        Entry::new(path, EntryKind::File(bytes.into()), mode)
    }

    /// A directory of root's.
    pub fn directory(path: impl Into<String>, mode: u32) -> Self {
        Entry::new(path, EntryKind::Directory, mode)
    }

    /// A symbolic link of root's.
    pub fn symlink(path: impl Into<String>, target: impl Into<String>) -> Self {
        Entry::new(path, EntryKind::Symlink(target.into()), 0o777)
    }

    /// The same entry with another owner.
    #[must_use]
    pub fn owned_by(mut self, uid: u64, gid: u64) -> Self {
        (self.uid, self.gid) = (uid, gid);
        self
    }
}

/// Why a layer cannot be made or read. Every message names the entry.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LayerError {
    /// A path that is not relative, plain and inside the root.
    #[error("{path:?}: {reason}")]
    Path {
        /// The path as found.
        path: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// Two different things at one path.
    #[error("{path}: comes twice, as {first} and as {second}")]
    Duplicate {
        /// The path.
        path: String,
        /// What came first.
        first: String,
        /// What came second.
        second: String,
    },
    /// Something inside what is not a directory.
    #[error("{path}: lies below {parent}, which is {what}")]
    BelowNonDirectory {
        /// The path.
        path: String,
        /// The parent.
        parent: String,
        /// What the parent is.
        what: String,
    },
    /// A link that leaves the root or names nothing.
    #[error("{path}: link to {target:?}: {reason}")]
    Link {
        /// Path of the link.
        path: String,
        /// Its target.
        target: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A kind of object that has no place in an image.
    #[error("{path}: {kind} cannot be part of an image")]
    Kind {
        /// The path.
        path: String,
        /// What it is.
        kind: String,
    },
    /// The tar structure is damaged.
    #[error("damaged tar {place}: {reason}")]
    Tar {
        /// Where: `after ENTRY`, `at ENTRY` or `at the start`.
        place: String,
        /// What is wrong.
        reason: String,
    },
    /// More than the limits allow.
    #[error("{place}: {what} exceeds the limit of {limit}")]
    Limit {
        /// Which entry or blob.
        place: String,
        /// What is too much.
        what: &'static str,
        /// The limit.
        limit: u64,
    },
    /// The compression is damaged.
    #[error("cannot decompress the layer ({media_type}): {reason}")]
    Compression {
        /// Media type that was believed.
        media_type: String,
        /// What the decoder said.
        reason: String,
    },
    /// Not a layer at all.
    #[error("`{media_type}` is not the media type of a layer that can be read (tar, tar+gzip, tar+zstd)")]
    MediaType {
        /// What was given.
        media_type: String,
    },
}

/// A finished layer: a compressed tar with its digests. Only [`LayerBuilder::finish`] and [`Layer::from_blob`] make one,
/// so digest, diff_id and bytes always agree.
#[derive(Clone)]
pub struct Layer {
    media_type: String,
    digest: Digest,
    diff_id: Digest,
    unpacked_size: u64,
    blob: Arc<[u8]>,
    /// The tar, where it was at hand when the layer was made: what is packed here is looked into once more.
    tar: Option<Arc<[u8]>>,
    created_by: String,
}

impl fmt::Debug for Layer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Layer")
            .field("digest", &self.digest)
            .field("size", &self.blob.len())
            .field("diff_id", &self.diff_id)
            .field("created_by", &self.created_by)
            .finish_non_exhaustive()
    }
}

impl Layer {
    /// A layer that somebody else made. The blob stays as it is; its entries are checked, so that what is packed on top of it
    /// or unpacked from it later cannot surprise.
    pub fn from_blob(
        blob: impl Into<Arc<[u8]>>,
        media_type: &str,
        created_by: impl Into<String>,
        limits: &Limits,
    ) -> Result<Layer, LayerError> {
        let blob = blob.into();
        let tar = decompress(&blob, media_type, limits)?;
        let unpacked_size = file_bytes(&read_tar(&tar, limits)?);
        Ok(Layer {
            media_type: media_type.to_owned(),
            digest: Digest::of(&blob),
            diff_id: Digest::of(&tar),
            unpacked_size,
            blob,
            tar: None,
            created_by: created_by.into(),
        })
    }

    /// A layer of a tar that somebody else made, compressed here; the tar stays as it is. Checked as by [`Layer::from_blob`].
    pub fn from_tar(tar: &[u8], created_by: impl Into<String>, limits: &Limits) -> Result<Layer, LayerError> {
        let unpacked_size = file_bytes(&read_tar(tar, limits)?);
        let (digest, blob) = write::compress(tar)?;
        Ok(Layer {
            media_type: media::LAYER_GZIP.to_owned(),
            digest,
            diff_id: Digest::of(tar),
            unpacked_size,
            blob: blob.into(),
            tar: None,
            created_by: created_by.into(),
        })
    }

    /// Media type of the blob; always one of [`media`]'s layers.
    pub fn media_type(&self) -> &str {
        &self.media_type
    }

    /// The OCI media type for the same bytes: manifests do not mix families.
    pub fn oci_media_type(&self) -> &str {
        match self.media_type.as_str() {
            media::DOCKER_LAYER_GZIP => media::LAYER_GZIP,
            media::DOCKER_LAYER_TAR => media::LAYER_TAR,
            media::DOCKER_LAYER_ZSTD => media::LAYER_ZSTD,
            other => other,
        }
    }

    /// SHA-256 of the blob as stored and pulled.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// Bytes of the blob: what a Pi pulls.
    pub fn size(&self) -> u64 {
        self.blob.len() as u64
    }

    /// SHA-256 of the uncompressed tar (`rootfs.diff_ids`).
    pub fn diff_id(&self) -> Digest {
        self.diff_id
    }

    /// Bytes of all regular files, hard links counted once: what the layer takes on disk, without the file system's own overhead.
    pub fn unpacked_size(&self) -> u64 {
        self.unpacked_size
    }

    /// The compressed tar.
    pub fn blob(&self) -> &Arc<[u8]> {
        &self.blob
    }

    /// What made it, for the history.
    pub fn created_by(&self) -> &str {
        &self.created_by
    }

    /// What is in it.
    pub fn entries(&self, limits: &Limits) -> Result<Vec<Entry>, LayerError> {
        match &self.tar {
            Some(tar) => read_tar(tar, limits),
            None => read_entries(&self.blob, &self.media_type, limits),
        }
    }
}

fn file_bytes(entries: &[Entry]) -> u64 {
    entries
        .iter()
        .map(|entry| match &entry.kind {
            EntryKind::File(bytes) => bytes.len() as u64,
            _ => 0,
        })
        .sum()
}

/// `a/b/c` -> `a/b`, `a`: parents from the inside out, without the root.
pub(crate) fn parents(path: &str) -> impl Iterator<Item = &str> {
    path.rmatch_indices('/').map(|(at, _)| &path[..at])
}

impl EntryKind {
    /// For messages: `a file of 12 bytes`.
    pub fn describe(&self) -> String {
        match self {
            EntryKind::File(bytes) => format!("a file of {} bytes", bytes.len()),
            EntryKind::Directory => "a directory".to_owned(),
            EntryKind::Symlink(target) => format!("a symbolic link to {target}"),
            EntryKind::Hardlink(target) => format!("a hard link to {target}"),
            EntryKind::Whiteout => "a whiteout".to_owned(),
            EntryKind::OpaqueDirectory => "an opaque whiteout".to_owned(),
        }
    }
}
