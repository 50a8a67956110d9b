//! Reading layers that somebody else made: every length, name and link is taken for a lie until it is checked.

use std::collections::{BTreeMap, HashMap};
use std::io::Read;

use ruzstd::decoding::errors::{FrameDecoderError, ReadFrameHeaderError};
use tar::EntryType;

use super::write::check_symlink;
use super::{Entry, EntryKind, LayerError, parents};
use crate::oci::media;

/// How much a layer may unpack to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of the uncompressed tar.
    pub bytes: u64,
    /// Number of entries.
    pub entries: u64,
    /// Bytes of one path or link target.
    pub path: u64,
}

impl Default for Limits {
    /// A whole Debian has some 10,000 entries and 150 MB.
    fn default() -> Self {
        Limits {
            bytes: 1 << 30,
            entries: 200_000,
            path: 4096,
        }
    }
}

/// The tar inside a layer blob.
pub fn decompress(blob: &[u8], media_type: &str, limits: &Limits) -> Result<Vec<u8>, LayerError> {
    let failed = |reason: String| LayerError::Compression {
        media_type: media_type.to_owned(),
        reason,
    };
    let mut tar = Vec::new();
    let within = |length: usize| {
        if length as u64 > limits.bytes {
            return Err(LayerError::Limit {
                place: "layer".to_owned(),
                what: "the size of the unpacked tar",
                limit: limits.bytes,
            });
        }
        Ok(())
    };
    match media_type {
        media::LAYER_TAR | media::DOCKER_LAYER_TAR => {
            within(blob.len())?;
            tar.extend_from_slice(blob);
        }
        media::LAYER_GZIP | media::DOCKER_LAYER_GZIP => {
            flate2::read::MultiGzDecoder::new(blob)
                .take(limits.bytes.saturating_add(1))
                .read_to_end(&mut tar)
                .map_err(|error| failed(error.to_string()))?;
            within(tar.len())?;
        }
        media::LAYER_ZSTD | media::DOCKER_LAYER_ZSTD => {
            let mut rest = blob;
            if rest.is_empty() {
                return Err(failed("the blob is empty".to_owned()));
            }
            while !rest.is_empty() {
                match ruzstd::decoding::StreamingDecoder::new(&mut rest) {
                    Ok(decoder) => {
                        let room = limits.bytes.saturating_add(1).saturating_sub(tar.len() as u64);
                        decoder
                            .take(room)
                            .read_to_end(&mut tar)
                            .map_err(|error| failed(error.to_string()))?;
                        within(tar.len())?;
                    }
                    Err(FrameDecoderError::ReadFrameHeaderError(ReadFrameHeaderError::SkipFrame {
                        length, ..
                    })) => {
                        rest = rest
                            .get(length as usize..)
                            .ok_or_else(|| failed("a skippable frame is longer than the blob".to_owned()))?;
                    }
                    Err(error) => return Err(failed(error.to_string())),
                }
            }
        }
        other => {
            return Err(LayerError::MediaType {
                media_type: other.to_owned(),
            });
        }
    }
    Ok(tar)
}

/// The entries of a layer blob, in the order of the tar.
pub fn read_entries(blob: &[u8], media_type: &str, limits: &Limits) -> Result<Vec<Entry>, LayerError> {
    read_tar(&decompress(blob, media_type, limits)?, limits)
}

/// What precedes an entry and describes it.
#[derive(Default)]
struct Extensions {
    path: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    pax: Option<BTreeMap<String, Vec<u8>>>,
}

/// The entries of an uncompressed tar, in its order. Global PAX headers and an entry for the root itself are skipped.
pub fn read_tar(tar: &[u8], limits: &Limits) -> Result<Vec<Entry>, LayerError> {
    let mut reader = Reader {
        limits,
        entries: Vec::new(),
        seen: HashMap::new(),
    };
    let mut archive = tar::Archive::new(tar);
    let raw = archive
        .entries()
        .map_err(|error| reader.damaged(error.to_string()))?
        .raw(true);
    let mut extensions = Extensions::default();
    let mut headers = 0;
    for item in raw {
        let mut item = item.map_err(|error| reader.damaged(error.to_string()))?;
        headers += 1;
        // Each entry has at most three headers of its own: two long names and one PAX header.
        if headers > limits.entries.saturating_mul(4) {
            return Err(LayerError::Limit {
                place: reader.place(),
                what: "the number of headers",
                limit: limits.entries,
            });
        }
        let size = item.size();
        let mut data = Vec::new();
        item.read_to_end(&mut data)
            .map_err(|error| reader.damaged(error.to_string()))?;
        if data.len() as u64 != size {
            return Err(reader.damaged(format!("an entry claims {size} bytes, but only {} follow", data.len())));
        }
        match item.header().entry_type() {
            EntryType::XGlobalHeader => {}
            EntryType::XHeader => {
                let pax = parse_pax(&data).ok_or_else(|| reader.damaged("a PAX header is malformed".to_owned()))?;
                if extensions.pax.replace(pax).is_some() {
                    return Err(reader.damaged("two PAX headers describe one entry".to_owned()));
                }
            }
            EntryType::GNULongName => {
                if extensions.path.replace(until_nul(data)).is_some() {
                    return Err(reader.damaged("two long names describe one entry".to_owned()));
                }
            }
            EntryType::GNULongLink => {
                if extensions.link.replace(until_nul(data)).is_some() {
                    return Err(reader.damaged("two long links describe one entry".to_owned()));
                }
            }
            _ => reader.entry(item.header(), data, std::mem::take(&mut extensions))?,
        }
    }
    if extensions.path.is_some() || extensions.link.is_some() || extensions.pax.is_some() {
        return Err(reader.damaged("it ends after the description of an entry".to_owned()));
    }
    Ok(reader.entries)
}

struct Reader<'a> {
    limits: &'a Limits,
    entries: Vec<Entry>,
    /// Index of the entry at each path.
    seen: HashMap<String, usize>,
}

impl Reader<'_> {
    fn place(&self) -> String {
        match self.entries.last() {
            Some(last) => format!("after {}", last.path),
            None => "at the start".to_owned(),
        }
    }

    fn damaged(&self, reason: String) -> LayerError {
        LayerError::Tar {
            place: self.place(),
            reason,
        }
    }

    fn entry(&mut self, header: &tar::Header, data: Vec<u8>, mut extensions: Extensions) -> Result<(), LayerError> {
        let pax = extensions.pax.take().unwrap_or_default();
        let name = pax
            .get("path")
            .cloned()
            .or(extensions.path)
            .unwrap_or_else(|| header.path_bytes().into_owned());
        let name = self.text(name)?;
        let Some((path, whiteout)) = clean(&name)? else {
            return Ok(());
        };
        let at = |reason: String| LayerError::Tar {
            place: format!("at {path}"),
            reason,
        };
        if self.entries.len() as u64 >= self.limits.entries {
            return Err(LayerError::Limit {
                place: path,
                what: "the number of entries",
                limit: self.limits.entries,
            });
        }
        if let Some(claimed) = number(&pax, "size").map_err(&at)?
            && claimed != data.len() as u64
        {
            return Err(at(format!(
                "its PAX header claims {claimed} bytes, its ustar header {}",
                data.len()
            )));
        }
        if let Some(key) = pax.keys().find(|key| key.starts_with("GNU.sparse.")) {
            return Err(LayerError::Kind {
                path,
                kind: format!("a sparse file ({key})"),
            });
        }
        let damaged = |error: std::io::Error| at(error.to_string());
        let link = match pax.get("linkpath").cloned().or(extensions.link) {
            Some(link) => Some(link),
            None => header.link_name_bytes().map(|bytes| bytes.into_owned()),
        };
        let kind = match (whiteout, header.entry_type()) {
            (Some(kind), EntryType::Regular) => kind,
            (Some(_), other) => {
                return Err(LayerError::Kind {
                    path,
                    kind: format!("a whiteout that is not a file but {other:?}"),
                });
            }
            (None, EntryType::Regular | EntryType::Continuous) if name.ends_with('/') && data.is_empty() => {
                // Before ustar, a directory was a file whose name ends in a slash.
                EntryKind::Directory
            }
            (None, EntryType::Regular | EntryType::Continuous) => EntryKind::File(data),
            (None, EntryType::Directory) => EntryKind::Directory,
            (None, EntryType::Symlink) => {
                let target = self.text(link.unwrap_or_default())?;
                check_symlink(&path, &target)?;
                EntryKind::Symlink(target)
            }
            (None, EntryType::Link) => self.hard_link(&path, link.unwrap_or_default())?,
            (None, other) => {
                let kind = match other {
                    EntryType::Char => "a character device".to_owned(),
                    EntryType::Block => "a block device".to_owned(),
                    EntryType::Fifo => "a named pipe".to_owned(),
                    EntryType::GNUSparse => "a sparse file".to_owned(),
                    other => format!("an entry of unknown type {:?}", other.as_byte() as char),
                };
                return Err(LayerError::Kind { path, kind });
            }
        };
        self.fits(&path, &kind)?;
        let xattrs = pax
            .iter()
            .filter_map(|(key, value)| Some((key.strip_prefix("SCHILY.xattr.")?.to_owned(), value.clone())))
            .collect();
        let entry = Entry {
            kind,
            mode: header.mode().map_err(damaged)? & 0o7777,
            uid: pick(number(&pax, "uid").map_err(&at)?, || header.uid()).map_err(damaged)?,
            gid: pick(number(&pax, "gid").map_err(&at)?, || header.gid()).map_err(damaged)?,
            mtime: pick(time(&pax).map_err(&at)?, || header.mtime()).map_err(damaged)?,
            xattrs,
            path,
        };
        // An opaque marker and the directory it empties share a path.
        if entry.kind != EntryKind::OpaqueDirectory {
            match self.seen.get(&entry.path) {
                Some(&index) => {
                    self.entries[index] = entry;
                    return Ok(());
                }
                None => {
                    self.seen.insert(entry.path.clone(), self.entries.len());
                }
            }
        }
        self.entries.push(entry);
        Ok(())
    }

    /// The path must be new (directories may be described again), and all above it must be directories.
    fn fits(&self, path: &str, kind: &EntryKind) -> Result<(), LayerError> {
        for parent in parents(path) {
            if let Some(&index) = self.seen.get(parent)
                && !matches!(self.entries[index].kind, EntryKind::Directory)
            {
                return Err(LayerError::BelowNonDirectory {
                    path: path.to_owned(),
                    parent: parent.to_owned(),
                    what: self.entries[index].kind.describe(),
                });
            }
        }
        if let Some(&index) = self.seen.get(path)
            && *kind != EntryKind::OpaqueDirectory
        {
            let first = &self.entries[index].kind;
            if !(*first == EntryKind::Directory && *kind == EntryKind::Directory) {
                return Err(LayerError::Duplicate {
                    path: path.to_owned(),
                    first: first.describe(),
                    second: kind.describe(),
                });
            }
        }
        Ok(())
    }

    fn hard_link(&self, path: &str, target: Vec<u8>) -> Result<EntryKind, LayerError> {
        let target = self.text(target)?;
        let wrong = |reason| LayerError::Link {
            path: path.to_owned(),
            target: target.clone(),
            reason,
        };
        let (file, _) = clean(&target)?.ok_or_else(|| wrong("a hard link must name an earlier file"))?;
        match self.seen.get(&file).map(|&index| &self.entries[index].kind) {
            Some(EntryKind::File(_)) => Ok(EntryKind::Hardlink(file)),
            // A link to a link is a link to the file.
            Some(EntryKind::Hardlink(first)) => Ok(EntryKind::Hardlink(first.clone())),
            Some(_) => Err(wrong("a hard link must name a file, not a link or a directory")),
            None => Err(wrong("a hard link must name an earlier file of the same layer")),
        }
    }

    fn text(&self, bytes: Vec<u8>) -> Result<String, LayerError> {
        if bytes.len() as u64 > self.limits.path {
            return Err(LayerError::Limit {
                place: String::from_utf8_lossy(&bytes[..40.min(bytes.len())]).into_owned() + "...",
                what: "the length of the name",
                limit: self.limits.path,
            });
        }
        String::from_utf8(bytes).map_err(|error| LayerError::Path {
            path: String::from_utf8_lossy(error.as_bytes()).into_owned(),
            reason: "the name is not UTF-8",
        })
    }
}

/// `./a//b/` -> `a/b`; whiteout names become what they remove. `None` for the root itself.
fn clean(name: &str) -> Result<Option<(String, Option<EntryKind>)>, LayerError> {
    let wrong = |reason| LayerError::Path {
        path: name.to_owned(),
        reason,
    };
    if name.is_empty() {
        return Err(wrong("a path must not be empty"));
    }
    if name.starts_with('/') {
        return Err(wrong("a path must be relative to the root of the image"));
    }
    if name.contains('\0') {
        return Err(wrong("a path must not contain NUL"));
    }
    let parts: Vec<&str> = name.split('/').filter(|part| !matches!(*part, "" | ".")).collect();
    if parts.contains(&"..") {
        return Err(wrong("a path must not contain `..`"));
    }
    let Some((last, above)) = parts.split_last() else {
        return Ok(None);
    };
    if above.iter().any(|part| part.starts_with(".wh.")) {
        return Err(wrong("a whiteout is not a directory"));
    }
    let Some(removed) = last.strip_prefix(".wh.") else {
        return Ok(Some((parts.join("/"), None)));
    };
    match removed {
        ".wh..opq" if above.is_empty() => Err(wrong("an opaque whiteout of the root would empty the image")),
        ".wh..opq" => Ok(Some((above.join("/"), Some(EntryKind::OpaqueDirectory)))),
        "" | "." | ".." => Err(wrong("a whiteout must name what it removes")),
        _ if removed.starts_with(".wh.") => Err(wrong("names that start with `.wh..wh.` are reserved")),
        _ => {
            let mut path = above.join("/");
            if !path.is_empty() {
                path.push('/');
            }
            Ok(Some((path + removed, Some(EntryKind::Whiteout))))
        }
    }
}

/// PAX records, `LENGTH KEY=VALUE\n`, by their lengths: values may hold newlines. The last of equal keys counts.
pub(crate) fn parse_pax(mut data: &[u8]) -> Option<BTreeMap<String, Vec<u8>>> {
    let mut records = BTreeMap::new();
    while !data.is_empty() {
        let space = data.iter().take(20).position(|&byte| byte == b' ')?;
        let digits = std::str::from_utf8(&data[..space]).ok()?;
        if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let length: usize = digits.parse().ok()?;
        let record = data.get(space + 1..length)?.strip_suffix(b"\n")?;
        data = &data[length..];
        let equals = record.iter().position(|&byte| byte == b'=')?;
        let key = String::from_utf8(record[..equals].to_vec()).ok()?;
        if key.is_empty() {
            return None;
        }
        records.insert(key, record[equals + 1..].to_vec());
    }
    Some(records)
}

pub(crate) fn until_nul(mut bytes: Vec<u8>) -> Vec<u8> {
    let end = bytes.iter().position(|&byte| byte == 0).unwrap_or(bytes.len());
    bytes.truncate(end);
    bytes
}

fn number(pax: &BTreeMap<String, Vec<u8>>, key: &str) -> Result<Option<u64>, String> {
    let Some(value) = pax.get(key) else {
        return Ok(None);
    };
    let number = std::str::from_utf8(value).ok().and_then(|text| text.parse().ok());
    number
        .map(Some)
        .ok_or_else(|| format!("its PAX `{key}` is not a number: {:?}", String::from_utf8_lossy(value)))
}

/// `mtime=1700000000.25`: whole seconds. Times before 1970 count as 1970.
fn time(pax: &BTreeMap<String, Vec<u8>>) -> Result<Option<u64>, String> {
    let Some(value) = pax.get("mtime") else {
        return Ok(None);
    };
    let wrong = || format!("its PAX `mtime` is not a time: {:?}", String::from_utf8_lossy(value));
    let text = std::str::from_utf8(value).map_err(|_| wrong())?;
    if text.starts_with('-') {
        return Ok(Some(0));
    }
    let seconds = text.split('.').next().unwrap_or_default();
    seconds.parse().map(Some).map_err(|_| wrong())
}

fn pick(value: Option<u64>, otherwise: impl FnOnce() -> std::io::Result<u64>) -> std::io::Result<u64> {
    value.map_or_else(otherwise, Ok)
}
