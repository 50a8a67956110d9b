//! Walking through a tar of any size, entry by entry, without keeping it.
//!
//! [`crate::oci::layer::read_tar`] decides what may become part of an image of ours, and refuses the rest. Here others'
//! images are looked at, so nothing is refused for its name or kind: a device is passed by, and a file is handed out
//! whatever it is called. What is refused is what would leave bytes unseen: damage, sparse files, and more than the limits.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read};

use lzma_rust2::XzReader;
use ruzstd::decoding::errors::{FrameDecoderError, ReadFrameHeaderError};
use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};
use tar::EntryType;

use crate::error::{Error, Result};
use crate::oci::layer::{parse_pax, until_nul};

/// How much is read before the source is refused. None of it is kept in memory at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Bytes of one uncompressed tar.
    pub bytes: u64,
    /// Entries of one tar or directory.
    pub entries: u64,
    /// Bytes of one name or PAX header.
    pub header: u64,
}

impl Default for Bounds {
    /// The largest images on Docker Hub have layers of some ten gigabytes.
    fn default() -> Self {
        Bounds {
            bytes: 64 << 30,
            entries: 4_000_000,
            header: 1 << 20,
        }
    }
}

/// What an entry is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A regular file with this many bytes.
    File(u64),
    /// A directory.
    Directory,
    /// A symbolic link and its target, as written.
    Symlink(String),
    /// Another name for an earlier file.
    Hardlink(String),
    /// Removes this path from the layers below.
    Whiteout,
    /// Empties this directory of what the layers below put there.
    OpaqueDirectory,
    /// A device, a pipe or a socket.
    Special,
}

/// One entry. `content` gives the bytes of a file, and nothing for all else; what is not read is skipped.
pub struct Item<'a> {
    /// Relative to the root, without `.` and empty components. A name that is not UTF-8 has U+FFFD in it, and `..` and a
    /// leading `/` are left out: this is a name for a report, not a place to write to.
    pub path: String,
    /// What it is.
    pub kind: Kind,
    /// Its bytes.
    pub content: &'a mut dyn Read,
}

impl std::fmt::Debug for Item<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Item({:?}, {:?})", self.path, self.kind)
    }
}

/// What a compressed stream was recognised by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// None.
    Plain,
    /// gzip, several members too.
    Gzip,
    /// xz, several streams too.
    Xz,
    /// zstd, several frames too.
    Zstd,
}

impl Compression {
    /// By the first bytes. Engines go by them as well, and not by the media type.
    pub fn of(start: &[u8]) -> Compression {
        match start {
            [0x1f, 0x8b, ..] => Compression::Gzip,
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Compression::Xz,
            // A stream may begin with a skippable frame (RFC 8878, 3.1.2).
            [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Compression::Zstd,
            _ => Compression::Plain,
        }
    }
}

/// Memory that an xz stream may ask for, in KiB: `xz -9` needs 65 MiB.
const XZ_MEMORY: u32 = 256 << 10;

/// The bytes inside, whatever they are compressed with.
pub fn decompress<'a>(inner: impl Read + 'a) -> std::io::Result<Box<dyn Read + 'a>> {
    let mut inner = BufReader::with_capacity(1 << 16, inner);
    let compression = Compression::of(inner.fill_buf()?);
    Ok(match compression {
        Compression::Plain => Box::new(inner),
        Compression::Gzip => Box::new(flate2::bufread::MultiGzDecoder::new(inner)),
        Compression::Xz => Box::new(XzReader::new_mem_limit(inner, true, XZ_MEMORY)),
        Compression::Zstd => Box::new(Zstd {
            inner,
            decoder: FrameDecoder::new(),
            inside: false,
        }),
    })
}

/// zstd frames one after the other; the library reads one at a time.
struct Zstd<R> {
    inner: R,
    decoder: FrameDecoder,
    inside: bool,
}

impl<R: BufRead> Read for Zstd<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        loop {
            if !self.inside {
                if self.inner.fill_buf()?.is_empty() {
                    return Ok(0);
                }
                match self.decoder.init(&mut self.inner) {
                    Ok(()) => self.inside = true,
                    Err(FrameDecoderError::ReadFrameHeaderError(ReadFrameHeaderError::SkipFrame {
                        length, ..
                    })) => {
                        let skipped =
                            std::io::copy(&mut (&mut self.inner).take(u64::from(length)), &mut std::io::sink())?;
                        if skipped != u64::from(length) {
                            return Err(std::io::Error::other(
                                "a skippable zstd frame is longer than what follows",
                            ));
                        }
                        continue;
                    }
                    Err(error) => return Err(std::io::Error::other(error)),
                }
            }
            while self.decoder.can_collect() == 0 && !self.decoder.is_finished() {
                self.decoder
                    .decode_blocks(&mut self.inner, BlockDecodingStrategy::UptoBlocks(1))
                    .map_err(std::io::Error::other)?;
            }
            let count = self.decoder.read(buffer)?;
            if count > 0 {
                return Ok(count);
            }
            self.inside = false;
        }
    }
}

/// Fails when more than `left` bytes come, instead of ending as `Read::take` does: an end would be taken for the end.
struct Bounded<R> {
    inner: R,
    left: u64,
    /// How many zeros came last.
    zeros: u64,
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.left = self
            .left
            .checked_sub(count as u64)
            .ok_or_else(|| std::io::Error::other("it unpacks to more than the limit"))?;
        let zeros = buffer[..count].iter().rev().take_while(|byte| **byte == 0).count();
        self.zeros = zeros as u64 + if zeros == count { self.zeros } else { 0 };
        Ok(count)
    }
}

/// What precedes an entry and describes it.
#[derive(Default)]
struct Extensions {
    path: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    pax: Option<BTreeMap<String, Vec<u8>>>,
}

/// Hands out every entry of an uncompressed tar, in its order, and reads the tar to the end of its stream. `name` is for
/// messages. An error of `visit` ends the walk. Returns whether the tar ended with the zeros that mark its end (POSIX: 1024
/// bytes); without them, and without a digest, nobody knows what was cut off.
pub fn walk_tar(
    tar: &mut dyn Read,
    name: &str,
    bounds: &Bounds,
    visit: &mut dyn FnMut(Item<'_>) -> Result<()>,
) -> Result<bool> {
    let mut tar = Bounded {
        inner: tar,
        left: bounds.bytes,
        zeros: 0,
    };
    let mut archive = tar::Archive::new(&mut tar);
    let mut last = "at its start".to_owned();
    let damaged = |last: &str, reason: &dyn std::fmt::Display| {
        Error::new(format!("{name}: damaged tar {last}: {reason}")).hint("fetch or make it again")
    };
    let mut extensions = Extensions::default();
    let mut headers = 0;
    for item in archive.entries().map_err(|error| damaged(&last, &error))?.raw(true) {
        let mut item = item.map_err(|error| damaged(&last, &error))?;
        headers += 1;
        if headers > bounds.entries.saturating_mul(4) {
            return Err(damaged(&last, &"it has more entries than any image"));
        }
        let size = item.size();
        let kind = item.header().entry_type();
        if matches!(
            kind,
            EntryType::XGlobalHeader | EntryType::XHeader | EntryType::GNULongName | EntryType::GNULongLink
        ) {
            if size > bounds.header {
                return Err(damaged(&last, &format!("a header of {size} bytes")));
            }
            let mut data = Vec::new();
            item.read_to_end(&mut data).map_err(|error| damaged(&last, &error))?;
            if data.len() as u64 != size {
                return Err(damaged(&last, &"it ends in a header"));
            }
            match kind {
                EntryType::XHeader => {
                    let pax = parse_pax(&data).ok_or_else(|| damaged(&last, &"a PAX header is malformed"))?;
                    extensions.pax = Some(pax);
                }
                EntryType::GNULongName => extensions.path = Some(until_nul(data)),
                EntryType::GNULongLink => extensions.link = Some(until_nul(data)),
                _ => {}
            }
            continue;
        }
        let Extensions { path, link, pax } = std::mem::take(&mut extensions);
        let pax = pax.unwrap_or_default();
        let path = pax.get("path").cloned().or(path);
        let path = path.unwrap_or_else(|| item.header().path_bytes().into_owned());
        let slash = path.ends_with(b"/");
        let path = plain(&path);
        last = format!("after {path}");
        let sparse = kind == EntryType::GNUSparse || pax.keys().any(|key| key.starts_with("GNU.sparse."));
        let longer = pax
            .get("size")
            .is_some_and(|claimed| claimed != size.to_string().as_bytes());
        if sparse || longer {
            let what = if sparse {
                "a sparse file"
            } else {
                "a file whose PAX header has another size"
            };
            return Err(
                Error::new(format!("{name}: {path} is {what}, which cannot be looked into"))
                    .hint("make the tar anew without --sparse"),
            );
        }
        let link = pax.get("linkpath").cloned().or(link);
        let link = link.unwrap_or_else(|| item.header().link_name_bytes().unwrap_or_default().into_owned());
        let kind = match kind {
            EntryType::Directory => Kind::Directory,
            EntryType::Symlink => Kind::Symlink(String::from_utf8_lossy(&link).into_owned()),
            EntryType::Link => Kind::Hardlink(plain(&link)),
            EntryType::Char | EntryType::Block | EntryType::Fifo => Kind::Special,
            // Before ustar, a directory was a file whose name ends in a slash.
            _ if slash && size == 0 => Kind::Directory,
            // POSIX: a type that is not known is to be taken for a regular file.
            _ => Kind::File(size),
        };
        let (path, kind) = whiteout(path, kind);
        let mut nothing = std::io::empty();
        let mut counted = Counted {
            inner: &mut item,
            count: 0,
        };
        let content: &mut dyn Read = match kind {
            Kind::File(_) => &mut counted,
            _ => &mut nothing,
        };
        visit(Item { path, kind, content })?;
        // A tar that is cut must not look like one that is short.
        if size > 0 {
            std::io::copy(&mut counted, &mut std::io::sink()).map_err(|error| damaged(&last, &error))?;
            if counted.count != size {
                return Err(damaged(
                    &last,
                    &format!("it claims {size} bytes, but only {} follow", counted.count),
                ));
            }
        }
    }
    std::io::copy(&mut tar, &mut std::io::sink()).map_err(|error| damaged(&last, &error))?;
    Ok(tar.zeros >= 1024)
}

struct Counted<'a> {
    inner: &'a mut dyn Read,
    count: u64,
}

impl Read for Counted<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.count += count as u64;
        Ok(count)
    }
}

/// `./usr//lib/x` and `/usr/lib/x` are `usr/lib/x`.
fn plain(name: &[u8]) -> String {
    let text = String::from_utf8_lossy(name);
    let parts: Vec<&str> = text
        .split('/')
        .filter(|part| !matches!(*part, "" | "." | ".."))
        .collect();
    parts.join("/")
}

/// The names that the image specification gives a meaning.
fn whiteout(path: String, kind: Kind) -> (String, Kind) {
    let (above, last) = path.rsplit_once('/').unwrap_or(("", &path));
    match last.strip_prefix(".wh.") {
        Some(".wh..opq") => (above.to_owned(), Kind::OpaqueDirectory),
        // Docker's own, of aufs: `.wh..wh.plnk`.
        Some(other) if other.is_empty() || other.starts_with(".wh.") => (path, kind),
        // One with content is no whiteout that anybody writes: it stays a file, and is looked at.
        Some(removed) if kind == Kind::File(0) => match above {
            "" => (removed.to_owned(), Kind::Whiteout),
            above => (format!("{above}/{removed}"), Kind::Whiteout),
        },
        _ => (path, kind),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(tar: &[u8]) -> Result<Vec<String>> {
        let mut found = Vec::new();
        walk_tar(&mut &tar[..], "t", &Bounds::default(), &mut |item| {
            let mut bytes = Vec::new();
            item.content.read_to_end(&mut bytes)?;
            found.push(format!("{} {:?} {}", item.path, item.kind, bytes.len()));
            Ok(())
        })?;
        Ok(found)
    }

    fn tar() -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        let mut add = |path: &str, kind: EntryType, link: &str, bytes: &[u8]| {
            let mut header = tar::Header::new_gnu();
            header.set_entry_type(kind);
            header.set_mode(0o644);
            header.set_size(bytes.len() as u64);
            match link {
                "" => builder.append_data(&mut header, path, bytes).unwrap(),
                link => builder.append_link(&mut header, path, link).unwrap(),
            }
        };
        add("./a/", EntryType::Directory, "", b"");
        add("a//f", EntryType::Regular, "", b"four");
        add("a/h", EntryType::Link, "a/f", b"");
        add("a/.wh.gone", EntryType::Regular, "", b"");
        add("a/.wh..wh..opq", EntryType::Regular, "", b"");
        add("a/.wh.full", EntryType::Regular, "", b"x");
        add("a/s", EntryType::Symlink, "../f", b"");
        add("dev", EntryType::Char, "", b"");
        add(&("d/".repeat(60) + "long"), EntryType::Regular, "", &[7; 1000]);
        builder.into_inner().unwrap()
    }

    #[test]
    fn entries_are_handed_out_with_their_content() {
        let found = listed(&tar()).unwrap();
        assert_eq!(found[..2], ["a Directory 0", "a/f File(4) 4"]);
        assert!(found.contains(&"a/s Symlink(\"../f\") 0".to_owned()), "{found:?}");
        assert!(found.contains(&"a/.wh.full File(1) 1".to_owned()), "{found:?}");
        assert!(found.contains(&"dev Special 0".to_owned()), "{found:?}");
        assert!(found.contains(&"a/h Hardlink(\"a/f\") 0".to_owned()), "{found:?}");
        assert!(found.contains(&"a/gone Whiteout 0".to_owned()), "{found:?}");
        assert!(found.contains(&"a OpaqueDirectory 0".to_owned()), "{found:?}");
        assert!(found.last().unwrap().ends_with("long File(1000) 1000"), "{found:?}");
    }

    #[test]
    fn what_is_cut_or_bent_is_an_error_and_never_a_short_list() {
        let tar = tar();
        for end in (1..tar.len() - 1024).step_by(97) {
            let whole = walk_tar(&mut &tar[..end], "t", &Bounds::default(), &mut |_| Ok(()));
            assert!(!whole.unwrap_or(false), "cut at {end}");
        }
        assert!(walk_tar(&mut &tar[..], "t", &Bounds::default(), &mut |_| Ok(())).unwrap());
        let bounds = Bounds {
            bytes: 2048,
            ..Bounds::default()
        };
        assert!(walk_tar(&mut &tar[..], "t", &bounds, &mut |_| Ok(())).is_err());
    }

    #[test]
    fn every_compression_is_read_by_content_and_to_its_last_member() {
        use std::io::Write;
        let gzip = |bytes: &[u8]| {
            let mut writer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            writer.write_all(bytes).unwrap();
            writer.finish().unwrap()
        };
        let zstd = |bytes: &[u8]| ruzstd::encoding::compress_to_vec(bytes, ruzstd::encoding::CompressionLevel::Fastest);
        let mut skippable = vec![0x50, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 1, 2, 3];
        skippable.extend(zstd(b"one"));
        for (whole, parts) in [
            ([gzip(b"one"), gzip(b"two")].concat(), "onetwo"),
            ([zstd(b"one"), zstd(b"two")].concat(), "onetwo"),
            (skippable, "one"),
            (b"onetwo".to_vec(), "onetwo"),
        ] {
            let mut text = String::new();
            decompress(&whole[..]).unwrap().read_to_string(&mut text).unwrap();
            assert_eq!(text, parts);
        }
        let mut cut = zstd(b"one");
        cut.pop();
        assert!(decompress(&cut[..]).unwrap().read_to_end(&mut Vec::new()).is_err());
    }
}
