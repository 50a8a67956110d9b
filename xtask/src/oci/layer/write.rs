//! Writing layers.

use std::collections::BTreeMap;
use std::io::Write;

use flate2::{Compression, GzBuilder};
use tar::{EntryType, Header};

use super::{Entry, EntryKind, Layer, LayerError, Limits, parents};
use crate::oci::digest::{Digest, DigestWriter};
use crate::oci::media;

/// Measured on the blog for ARMv6 (1.68 MB): level 9 takes 0.2 s and saves 2.9 % over level 6 (0.06 s) on every pull.
const LEVEL: u32 = 9;
/// Largest uid and gid that ustar's octal fields hold; PAX says the rest.
const USTAR_ID: u64 = 0o7_777_777;
/// Largest mtime that ustar's octal field holds.
const USTAR_MTIME: u64 = 0o77_777_777_777;

/// Looks up the blob that was made of the tar with this diff_id before.
pub type Compressed<'a> = &'a dyn Fn(&Digest) -> Option<Vec<u8>>;

/// Collects entries, checks them, and writes one layer.
#[derive(Clone, Debug)]
pub struct LayerBuilder {
    mtime: u64,
    entries: BTreeMap<String, Entry>,
}

impl LayerBuilder {
    /// `mtime` (SOURCE_DATE_EPOCH) is the time of directories that no entry describes, and the latest time that any entry keeps.
    pub fn new(mtime: u64) -> Self {
        LayerBuilder {
            mtime,
            entries: BTreeMap::new(),
        }
    }

    /// Adds one entry. The same entry twice is one entry, and so are directories that differ only in their time (the earlier
    /// one stays); anything else at the same path is an error, and so is anything below what is not a directory.
    pub fn add(&mut self, mut entry: Entry) -> Result<(), LayerError> {
        check_path(&entry.path)?;
        entry.mode &= 0o7777;
        entry.mtime = entry.mtime.min(self.mtime);
        for parent in parents(&entry.path) {
            if let Some(above) = self.entries.get(parent)
                && above.kind != EntryKind::Directory
            {
                return Err(below(&entry.path, above));
            }
        }
        match &entry.kind {
            EntryKind::Directory => {}
            EntryKind::Hardlink(target) => check_path(target)?,
            EntryKind::Symlink(target) => check_symlink(&entry.path, target)?,
            EntryKind::Whiteout | EntryKind::OpaqueDirectory => {
                return Err(LayerError::Kind {
                    path: entry.path,
                    kind: "a whiteout".to_owned(),
                });
            }
            EntryKind::File(_) => {}
        }
        if entry.kind != EntryKind::Directory {
            let inside = format!("{}/", entry.path);
            if let Some((below_it, _)) = self
                .entries
                .range(inside.clone()..)
                .next()
                .filter(|(path, _)| path.starts_with(&inside))
            {
                return Err(below(below_it, &entry));
            }
        }
        if let Some(first) = self.entries.get_mut(&entry.path) {
            let earlier = first.mtime.min(entry.mtime);
            let time = entry.mtime;
            entry.mtime = first.mtime;
            if *first == entry && (first.kind == EntryKind::Directory || first.mtime == time) {
                first.mtime = earlier;
                return Ok(());
            }
            return Err(LayerError::Duplicate {
                path: entry.path.clone(),
                first: describe(first),
                second: describe(&entry),
            });
        }
        self.entries.insert(entry.path.clone(), entry);
        Ok(())
    }

    /// Adds a directory of root's, mode 0755, for every parent that no entry describes.
    fn add_parents(&mut self) {
        let missing: Vec<String> = self
            .entries
            .keys()
            .flat_map(|path| parents(path))
            .filter(|parent| !self.entries.contains_key(*parent))
            .map(str::to_owned)
            .collect();
        for path in missing {
            let mut directory = Entry::directory(path.clone(), 0o755);
            directory.mtime = self.mtime;
            self.entries.insert(path, directory);
        }
    }

    /// Makes the first name of each hard-linked file carry the bytes, because a link must follow what it names.
    fn order_hard_links(&mut self) -> Result<(), LayerError> {
        let mut groups: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for entry in self.entries.values() {
            let EntryKind::Hardlink(target) = &entry.kind else {
                continue;
            };
            match self.entries.get(target).map(|entry| &entry.kind) {
                Some(EntryKind::File(_)) => groups.entry(target.clone()).or_default().push(entry.path.clone()),
                Some(_) => {
                    return Err(link(
                        entry,
                        target,
                        "a hard link must name a file, not a link or a directory",
                    ));
                }
                None => return Err(link(entry, target, "a hard link must name a file of the same layer")),
            }
        }
        for (file, mut names) in groups {
            names.push(file.clone());
            names.sort();
            let Some(original) = self.entries.get(&file).cloned() else {
                continue;
            };
            for (index, name) in names.iter().enumerate() {
                let mut entry = original.clone();
                entry.path.clone_from(name);
                if index > 0 {
                    entry.kind = EntryKind::Hardlink(names[0].clone());
                }
                self.entries.insert(name.clone(), entry);
            }
        }
        Ok(())
    }

    /// Whether nothing was added.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Writes the layer.
    pub fn finish(self, created_by: impl Into<String>) -> Result<Layer, LayerError> {
        self.finish_with(created_by, &|_| None)
    }

    /// Writes the layer, unless `compressed` has the blob that was written for this diff_id before: compressing is most of the
    /// work. What it gives is read and must have the diff_id; anything else is compressed anew.
    pub fn finish_with(
        mut self,
        created_by: impl Into<String>,
        compressed: Compressed<'_>,
    ) -> Result<Layer, LayerError> {
        self.add_parents();
        self.order_hard_links()?;
        let created_by = created_by.into();
        let (diff_id, tar) = write_tar(self.entries.values(), DigestWriter::new(Vec::new()))?.finish();
        if let Some(blob) = compressed(&diff_id)
            && let Ok(layer) = Layer::from_blob(blob, media::LAYER_GZIP, created_by.clone(), &Limits::default())
            && layer.diff_id == diff_id
        {
            return Ok(Layer {
                tar: Some(tar.into()),
                ..layer
            });
        }
        let (digest, blob) = compress(&tar)?;
        let unpacked_size = self
            .entries
            .values()
            .map(|entry| match &entry.kind {
                EntryKind::File(bytes) => bytes.len() as u64,
                _ => 0,
            })
            .sum();
        Ok(Layer {
            media_type: media::LAYER_GZIP.to_owned(),
            digest,
            diff_id,
            unpacked_size,
            blob: blob.into(),
            tar: Some(tar.into()),
            created_by,
        })
    }
}

/// The one way in which layers are compressed.
pub(super) fn compress(tar: &[u8]) -> Result<(Digest, Vec<u8>), LayerError> {
    let failed = |reason: std::io::Error| LayerError::Tar {
        place: "while writing".to_owned(),
        reason: reason.to_string(),
    };
    let blob = DigestWriter::new(Vec::new());
    let mut gzip = GzBuilder::new()
        .mtime(0)
        .operating_system(255)
        .write(blob, Compression::new(LEVEL));
    gzip.write_all(tar).map_err(failed)?;
    Ok(gzip.finish().map_err(failed)?.finish())
}

/// Writes a tar of these entries, in this order, and gives the writer back.
pub fn write_tar<'a, W: Write>(entries: impl IntoIterator<Item = &'a Entry>, out: W) -> Result<W, LayerError> {
    let mut tar = tar::Builder::new(out);
    let mut place = String::new();
    let result = entries.into_iter().try_for_each(|entry| {
        place.clone_from(&entry.path);
        append(&mut tar, entry)
    });
    result.and_then(|()| tar.into_inner()).map_err(|error| LayerError::Tar {
        place: format!("at {place}"),
        reason: error.to_string(),
    })
}

fn append<W: Write>(tar: &mut tar::Builder<W>, entry: &Entry) -> std::io::Result<()> {
    let (kind, target, bytes): (_, &str, &[u8]) = match &entry.kind {
        EntryKind::File(bytes) => (EntryType::Regular, "", bytes),
        EntryKind::Directory => (EntryType::Directory, "", &[]),
        EntryKind::Symlink(target) => (EntryType::Symlink, target, &[]),
        EntryKind::Hardlink(target) => (EntryType::Link, target, &[]),
        EntryKind::Whiteout | EntryKind::OpaqueDirectory => {
            return Err(std::io::Error::other(format!("{}: a whiteout", entry.path)));
        }
    };
    let mut path = entry.path.clone();
    if kind == EntryType::Directory {
        path.push('/');
    }
    let mut extensions: Vec<(String, Vec<u8>)> = Vec::new();
    let mut header = Header::new_ustar();
    if !place(&mut header, &path) {
        extensions.push(("path".to_owned(), path.clone().into_bytes()));
        put(&mut header.as_old_mut().name, cut(&path, 100));
    }
    put(&mut header.as_old_mut().linkname, cut(target, 100));
    if target.len() > 100 || !target.is_ascii() {
        extensions.push(("linkpath".to_owned(), target.as_bytes().to_vec()));
    }
    let mut number = |key: &str, value: u64, largest: u64| {
        if value > largest {
            extensions.push((key.to_owned(), value.to_string().into_bytes()));
            return 0;
        }
        value
    };
    header.set_uid(number("uid", entry.uid, USTAR_ID));
    header.set_gid(number("gid", entry.gid, USTAR_ID));
    header.set_mtime(number("mtime", entry.mtime, USTAR_MTIME));
    for (name, value) in &entry.xattrs {
        extensions.push((format!("SCHILY.xattr.{name}"), value.clone()));
    }
    extensions.sort();
    tar.append_pax_extensions(extensions.iter().map(|(key, value)| (key.as_str(), value.as_slice())))?;
    header.set_entry_type(kind);
    header.set_mode(entry.mode);
    header.set_size(bytes.len() as u64);
    header.set_cksum();
    tar.append(&header, bytes)
}

/// Puts an ASCII path of at most 100 bytes, or 155 + `/` + 100, into the ustar fields.
fn place(header: &mut Header, path: &str) -> bool {
    let Some(fields) = header.as_ustar_mut().filter(|_| path.is_ascii()) else {
        return false;
    };
    if path.len() <= 100 {
        put(&mut fields.name, path.as_bytes());
        return true;
    }
    let split = path
        .match_indices('/')
        .map(|(at, _)| at)
        .find(|at| *at <= 155 && path.len() - at - 1 <= 100 && path.len() - at > 1 && *at > 0);
    if let Some(at) = split {
        put(&mut fields.prefix, &path.as_bytes()[..at]);
        put(&mut fields.name, &path.as_bytes()[at + 1..]);
    }
    split.is_some()
}

fn put(field: &mut [u8], bytes: &[u8]) {
    field.fill(0);
    field[..bytes.len()].copy_from_slice(bytes);
}

/// At most `length` bytes, whole characters only.
fn cut(text: &str, length: usize) -> &[u8] {
    &text.as_bytes()[..text.floor_char_boundary(length)]
}

/// Refuses what could mean another place than it says.
pub(super) fn check_path(path: &str) -> Result<(), LayerError> {
    let wrong = |reason| {
        Err(LayerError::Path {
            path: path.to_owned(),
            reason,
        })
    };
    if path.is_empty() {
        return wrong("a path must not be empty");
    }
    if path.starts_with('/') {
        return wrong("a path must be relative to the root of the image");
    }
    if path.contains('\0') {
        return wrong("a path must not contain NUL");
    }
    for part in path.split('/') {
        match part {
            "" => return wrong("a path must not have empty components"),
            "." => return wrong("a path must not contain `.`"),
            ".." => return wrong("a path must not contain `..`"),
            _ if part.starts_with(".wh.") => return wrong("names that start with `.wh.` delete files of lower layers"),
            _ => {}
        }
    }
    Ok(())
}

/// A relative target must stay inside the root; an absolute one starts there.
pub(super) fn check_symlink(path: &str, target: &str) -> Result<(), LayerError> {
    let wrong = |reason| {
        Err(LayerError::Link {
            path: path.to_owned(),
            target: target.to_owned(),
            reason,
        })
    };
    if target.is_empty() || target.contains('\0') {
        return wrong("the target must not be empty or contain NUL");
    }
    let mut depth = if target.starts_with('/') {
        0
    } else {
        path.matches('/').count() as i64
    };
    for part in target.split('/') {
        match part {
            "" | "." => {}
            ".." => depth -= 1,
            _ => depth += 1,
        }
        if depth < 0 {
            return wrong("it leads out of the root of the image");
        }
    }
    Ok(())
}

fn below(path: &str, parent: &Entry) -> LayerError {
    LayerError::BelowNonDirectory {
        path: path.to_owned(),
        parent: parent.path.clone(),
        what: parent.kind.describe(),
    }
}

fn link(entry: &Entry, target: &str, reason: &'static str) -> LayerError {
    LayerError::Link {
        path: entry.path.clone(),
        target: target.to_owned(),
        reason,
    }
}

fn describe(entry: &Entry) -> String {
    format!(
        "{} (mode {:04o}, owner {}:{})",
        entry.kind.describe(),
        entry.mode,
        entry.uid,
        entry.gid
    )
}
