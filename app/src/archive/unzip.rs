//! Reading a zip (PKWARE APPNOTE 6.3): stored and deflated files, zip64, nothing else. The list of files is in memory,
//! their content never is.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufReader, Error, ErrorKind, Read, Result};
use std::os::unix::fs::FileExt;

use flate2::read::DeflateDecoder;

use super::is_plain;
use crate::domain::crc::Crc;

/// The list is held in memory. No archive of one person has more.
const MOST_FILES: u64 = 1_000_000;
/// Deflate cannot do better than 1032 to 1; text of archives reaches 30.
const MOST_RATIO: u64 = 200;
/// Below this size any ratio is harmless.
const SMALL: u64 = 64 << 20;

#[derive(Debug)]
pub struct Unzip {
    file: File,
    entries: BTreeMap<String, Entry>,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    header: u64,
    packed: u64,
    size: u64,
    crc: u32,
    deflated: bool,
}

impl Unzip {
    /// Reads the list of files. Refuses names that lead elsewhere, links, encryption, and what unpacks to far more.
    pub fn open(file: File) -> Result<Self> {
        let length = file.metadata()?.len();
        let (count, at, bytes) = find_list(&file, length)?;
        if count > MOST_FILES {
            return bad(format!("the zip lists {count} files, more than {MOST_FILES}"));
        }
        let mut entries = BTreeMap::new();
        let mut list = BufReader::new(Part {
            file: &file,
            at,
            end: at.checked_add(bytes).filter(|end| *end <= length).ok_or_else(damaged)?,
        });
        for _ in 0..count {
            if let Some((name, entry)) = read_entry(&mut list)?
                && let Some(_) = entries.insert(name.clone(), entry)
            {
                return bad(format!("the zip has {name:?} twice"));
            }
        }
        // What stands behind the last file is one more that nobody would see, or no list at all.
        if list.read(&mut [0])? != 0 {
            return bad(format!(
                "the list of the zip is longer than the {count} files that it speaks of"
            ));
        }
        // Many small files are a bomb as well as a large one.
        let unpacked = entries
            .values()
            .fold(0, |sum: u64, entry| sum.saturating_add(entry.size));
        if unpacked > SMALL && unpacked / MOST_RATIO > length {
            return bad(format!("the zip unpacks from {length} to {unpacked} bytes: a zip bomb"));
        }
        // Files that share their bytes are how a small zip becomes a large one.
        let mut places: Vec<(u64, u64)> = entries.values().map(|e| (e.header, e.packed)).collect();
        places.sort_unstable();
        let apart = |pair: &[(u64, u64)]| pair[0].0.saturating_add(30).saturating_add(pair[0].1) <= pair[1].0;
        if !places.windows(2).all(apart)
            || places
                .last()
                .is_some_and(|(at, packed)| at.saturating_add(*packed) > length)
        {
            return bad("files in the zip overlap: it is damaged or a zip bomb".to_owned());
        }
        Ok(Self { file, entries })
    }

    /// All names that begin with `prefix`, sorted.
    pub fn names_from<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = &'a str> {
        let names = self.entries.range(prefix.to_owned()..).map(|(name, _)| name.as_str());
        names.take_while(move |name| name.starts_with(prefix))
    }

    pub fn size(&self, name: &str) -> Option<u64> {
        self.entries.get(name).map(|entry| entry.size)
    }

    pub fn read(&self, name: &str) -> Result<impl Read + '_> {
        let entry = self.entries.get(name).ok_or(ErrorKind::NotFound)?;
        let mut header = [0; 30];
        self.file.read_exact_at(&mut header, entry.header)?;
        if header[..4] != *b"PK\x03\x04" {
            return Err(damaged());
        }
        // The lengths here may differ from those in the list.
        let start = entry.header + 30 + u64::from(u16_at(&header, 26)?) + u64::from(u16_at(&header, 28)?);
        let packed = Part {
            file: &self.file,
            at: start,
            end: start.checked_add(entry.packed).ok_or_else(damaged)?,
        };
        Ok(Checked {
            inner: if entry.deflated {
                Content::Deflated(DeflateDecoder::new(packed))
            } else {
                Content::Stored(packed)
            },
            crc: Crc::new(),
            left: entry.size,
            expected: entry.crc,
        })
    }
}

/// Number of files, where their list begins, its length.
fn find_list(file: &File, length: u64) -> Result<(u64, u64, u64)> {
    // The record at the end is 22 bytes and a comment of at most 65,535.
    let tail_at = length.saturating_sub(22 + 65_535);
    let mut tail = vec![0; usize::try_from(length - tail_at).map_err(|_| damaged())?];
    file.read_exact_at(&mut tail, tail_at)?;
    let found = tail.windows(4).rposition(|four| four == b"PK\x05\x06");
    let Some(at) = found.filter(|at| at + 22 <= tail.len()) else {
        return bad("is neither a directory nor a zip".to_owned());
    };
    let end = &tail[at..];
    let (count, bytes, start) = (u16_at(end, 10)?, u32_at(end, 12)?, u32_at(end, 16)?);
    if count != u16::MAX && bytes != u32::MAX && start != u32::MAX {
        return Ok((u64::from(count), u64::from(start), u64::from(bytes)));
    }
    let locator = at.checked_sub(20).map(|at| &tail[at..at + 20]).ok_or_else(damaged)?;
    if locator[..4] != *b"PK\x06\x07" {
        return Err(damaged());
    }
    let mut record = [0; 56];
    file.read_exact_at(&mut record, u64_at(locator, 8)?)?;
    if record[..4] != *b"PK\x06\x06" {
        return Err(damaged());
    }
    Ok((u64_at(&record, 32)?, u64_at(&record, 48)?, u64_at(&record, 40)?))
}

/// One row of the list; `None` for a directory.
fn read_entry(list: &mut impl Read) -> Result<Option<(String, Entry)>> {
    let mut fixed = [0; 46];
    list.read_exact(&mut fixed).map_err(too_short)?;
    if fixed[..4] != *b"PK\x01\x02" {
        return Err(damaged());
    }
    let mut take = |length: u16| -> Result<Vec<u8>> {
        let mut bytes = vec![0; usize::from(length)];
        list.read_exact(&mut bytes).map_err(too_short)?;
        Ok(bytes)
    };
    let name = take(u16_at(&fixed, 28)?)?;
    let extra = take(u16_at(&fixed, 30)?)?;
    take(u16_at(&fixed, 32)?)?;
    let Ok(name) = String::from_utf8(name) else {
        return bad("a name in the zip is not UTF-8".to_owned());
    };
    let directory = name.ends_with('/');
    if !is_plain(name.strip_suffix('/').unwrap_or(&name)) {
        return bad(format!("the zip has a file {name:?}, whose name leads out of it"));
    }
    // The upper half of the attributes is the mode of Unix: 0o120000 is a symbolic link.
    if u32_at(&fixed, 38)? >> 16 & 0o170_000 == 0o120_000 {
        return bad(format!("{name:?} in the zip is a symbolic link"));
    }
    let method = u16_at(&fixed, 10)?;
    if u16_at(&fixed, 8)? & 1 != 0 {
        return bad(format!("{name:?} in the zip is encrypted"));
    }
    if !matches!(method, 0 | 8) {
        return bad(format!(
            "{name:?} in the zip is packed by method {method}; only 0 and 8 (deflate) are read"
        ));
    }
    let mut wide = [
        u64::from(u32_at(&fixed, 24)?),
        u64::from(u32_at(&fixed, 20)?),
        u64::from(u32_at(&fixed, 42)?),
    ];
    widen(&extra, &mut wide)?;
    let [size, packed, header] = wide;
    if directory {
        return Ok(None);
    }
    if size > SMALL && size / MOST_RATIO > packed {
        return bad(format!(
            "{name:?} in the zip unpacks from {packed} to {size} bytes: a zip bomb"
        ));
    }
    Ok(Some((
        name,
        Entry {
            header,
            packed,
            size,
            crc: u32_at(&fixed, 16)?,
            deflated: method == 8,
        },
    )))
}

/// Size, packed size and place that do not fit in 32 bits stand in the extra field 1, in this order.
fn widen(extra: &[u8], values: &mut [u64; 3]) -> Result<()> {
    let mut rest = extra;
    while rest.len() >= 4 {
        let (id, length) = (u16_at(rest, 0)?, usize::from(u16_at(rest, 2)?));
        let field = rest.get(4..4 + length).ok_or_else(damaged)?;
        if id == 1 {
            let mut at = 0;
            for value in values.iter_mut().filter(|value| **value == u64::from(u32::MAX)) {
                *value = u64_at(field, at)?;
                at += 8;
            }
        }
        rest = &rest[4 + length..];
    }
    Ok(())
}

/// A stretch of a file, read without moving anybody else's place in it.
struct Part<'a> {
    file: &'a File,
    at: u64,
    end: u64,
}

impl Read for Part<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        let left = usize::try_from(self.end - self.at).unwrap_or(usize::MAX);
        let most = buffer.len().min(left);
        let count = self.file.read_at(&mut buffer[..most], self.at)?;
        self.at += count as u64;
        Ok(count)
    }
}

enum Content<'a> {
    Stored(Part<'a>),
    Deflated(DeflateDecoder<Part<'a>>),
}

/// Exactly as many bytes as the list says, with its check sum, or an error.
struct Checked<'a> {
    inner: Content<'a>,
    crc: Crc,
    left: u64,
    expected: u32,
}

impl Read for Checked<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        let count = match &mut self.inner {
            Content::Stored(part) => part.read(buffer)?,
            Content::Deflated(decoder) => decoder.read(buffer)?,
        };
        self.crc.add(&buffer[..count]);
        match self.left.checked_sub(count as u64) {
            None => return bad("a file in the zip is longer than the zip says".to_owned()),
            Some(left) => self.left = left,
        }
        if count == 0 && (self.left > 0 || self.crc.value() != self.expected) {
            return bad("a file in the zip is damaged: length or check sum is wrong".to_owned());
        }
        Ok(count)
    }
}

fn u16_at(bytes: &[u8], at: usize) -> Result<u16> {
    let two = bytes.get(at..at + 2).and_then(|two| two.try_into().ok());
    two.map(u16::from_le_bytes).ok_or_else(damaged)
}

fn u32_at(bytes: &[u8], at: usize) -> Result<u32> {
    let four = bytes.get(at..at + 4).and_then(|four| four.try_into().ok());
    four.map(u32::from_le_bytes).ok_or_else(damaged)
}

fn u64_at(bytes: &[u8], at: usize) -> Result<u64> {
    let eight = bytes.get(at..at + 8).and_then(|eight| eight.try_into().ok());
    eight.map(u64::from_le_bytes).ok_or_else(damaged)
}

fn too_short(error: Error) -> Error {
    match error.kind() {
        ErrorKind::UnexpectedEof => Error::new(
            ErrorKind::InvalidData,
            "the zip lists fewer files than it speaks of: it is damaged or was not downloaded whole",
        ),
        _ => error,
    }
}

fn damaged() -> Error {
    Error::new(ErrorKind::InvalidData, "the zip is damaged or was not downloaded whole")
}

fn bad<T>(message: String) -> Result<T> {
    Err(Error::new(ErrorKind::InvalidData, message))
}
