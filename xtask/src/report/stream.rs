//! Where the bytes of a layer's blob go: which entry of the tar each byte was spent on.
//!
//! gzip: the stream is decompressed up to the end of each entry, and what the decompressor had read by then is the cost of all
//! before it. So compression across files is counted where it happened, and the costs of all entries add up to the blob. A
//! decompressor reads up to eight bytes ahead, and the Huffman tables of a block count for the entry in which it begins: that is
//! how exact a single figure is. zstd's decoder shows no such position, so there a blob is divided by the entries' sizes.

use std::ops::Range;

use flate2::{Decompress, FlushDecompress, Status};
use serde::{Deserialize, Serialize};
use tar::EntryType;

use crate::oci::media;

/// How the bytes of a blob were divided.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Division {
    /// By the position in the compressed stream (gzip), or not compressed at all.
    Stream,
    /// By size, as if everything compressed equally well (zstd).
    Proportional,
}

/// Why a layer that was already read and checked could not be divided.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("cannot tell where the bytes of a layer go: {0}")]
pub struct StreamError(pub String);

/// One entry's place in the tar.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Extent {
    /// Path as in [`crate::oci::Entry`]; empty for the root itself. A whiteout keeps its `.wh.` name.
    pub path: String,
    /// What it is.
    pub kind: ExtentKind,
    /// The content.
    pub data: Range<u64>,
    /// End of the entry: headers, content and padding lie between the end of the one before and this.
    pub end: u64,
}

/// What an entry is, as far as space is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExtentKind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link with a target of so many bytes.
    Symlink(u64),
    /// A hard link, or anything else without content of its own.
    Other,
}

/// The entries of an uncompressed tar, in its order. The tar was checked by [`crate::oci::layer::read_tar`] before.
pub fn extents(tar: &[u8]) -> Result<Vec<Extent>, StreamError> {
    let failed = |error: std::io::Error| StreamError(error.to_string());
    let mut found = Vec::new();
    for entry in tar::Archive::new(tar).entries().map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let start = entry.raw_file_position();
        let (size, kind) = match entry.header().entry_type() {
            EntryType::Regular | EntryType::Continuous if entry.path_bytes().ends_with(b"/") && entry.size() == 0 => {
                (0, ExtentKind::Directory)
            }
            EntryType::Regular | EntryType::Continuous => (entry.size(), ExtentKind::File),
            EntryType::Directory => (0, ExtentKind::Directory),
            EntryType::Symlink => {
                let target = entry.link_name_bytes().map_or(0, |target| target.len() as u64);
                (0, ExtentKind::Symlink(target))
            }
            _ => (entry.size(), ExtentKind::Other),
        };
        let path = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        let parts: Vec<&str> = path.split('/').filter(|part| !matches!(*part, "" | ".")).collect();
        found.push(Extent {
            path: parts.join("/"),
            kind,
            data: start..start.saturating_add(size),
            end: start.saturating_add(size).div_ceil(512).saturating_mul(512),
        });
    }
    Ok(found)
}

/// How many bytes of the blob were read when the uncompressed stream had reached each of `ends`, which must ascend and lie in it.
pub fn positions(
    blob: &[u8],
    media_type: &str,
    length: u64,
    ends: &[u64],
) -> Result<(Vec<u64>, Division), StreamError> {
    debug_assert!(ends.is_sorted(), "positions are asked for in order");
    match media_type {
        media::LAYER_TAR | media::DOCKER_LAYER_TAR => Ok((ends.to_vec(), Division::Stream)),
        media::LAYER_GZIP | media::DOCKER_LAYER_GZIP => Ok((gzip_positions(blob, ends)?, Division::Stream)),
        _ => {
            let part = |end: &u64| u128::from(*end) * blob.len() as u128 / u128::from(length.max(1));
            let parts = ends.iter().map(|end| part(end) as u64);
            Ok((parts.collect(), Division::Proportional))
        }
    }
}

fn gzip_positions(blob: &[u8], ends: &[u64]) -> Result<Vec<u64>, StreamError> {
    let mut buffer = vec![0; 1 << 16];
    let mut member = Decompress::new_gzip(15);
    let mut over = false;
    let (mut read, mut written) = (0_usize, 0_u64);
    let mut found = Vec::with_capacity(ends.len());
    for &end in ends {
        while written < end {
            if over {
                // gzip files may be joined; the next one follows at once.
                member = Decompress::new_gzip(15);
            }
            let room = usize::try_from(end - written).unwrap_or(usize::MAX).min(buffer.len());
            let (before_in, before_out) = (member.total_in(), member.total_out());
            let status = member
                .decompress(&blob[read..], &mut buffer[..room], FlushDecompress::None)
                .map_err(|error| StreamError(error.to_string()))?;
            let (more_in, more_out) = (member.total_in() - before_in, member.total_out() - before_out);
            read += more_in as usize;
            written += more_out;
            over = status == Status::StreamEnd;
            if !over && more_in == 0 && more_out == 0 {
                return Err(StreamError("the compressed stream ends too early".to_owned()));
            }
        }
        found.push(read as u64);
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;
    use crate::oci::layer::{Entry, Limits, decompress, write_tar};

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    /// Bytes that do not compress, without a source of randomness.
    fn noise(length: usize) -> Vec<u8> {
        let mut state = 1_u32;
        let mut next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        };
        (0..length).map(|_| next()).collect()
    }

    #[test]
    fn what_compresses_well_costs_little_and_noise_costs_its_size() {
        let entries = [
            Entry::file("a", vec![b'a'; 100_000], 0o644),
            Entry::file("b", noise(50_000), 0o644),
            Entry::file("c", vec![b'c'; 100_000], 0o644),
        ];
        let tar = write_tar(&entries, Vec::new()).unwrap();
        let blob = gzip(&tar);
        let extents = extents(&tar).unwrap();
        assert_eq!(
            extents.iter().map(|extent| extent.path.as_str()).collect::<Vec<_>>(),
            ["a", "b", "c"]
        );
        let ends: Vec<u64> = extents.iter().map(|extent| extent.end).collect();
        let (found, division) = positions(&blob, media::LAYER_GZIP, tar.len() as u64, &ends).unwrap();
        assert_eq!(division, Division::Stream);
        let cost = |i: usize| found[i] - if i == 0 { 0 } else { found[i - 1] };
        assert!(cost(0) < 1_000 && cost(2) < 1_000, "{found:?}");
        assert!((50_000..51_000).contains(&cost(1)), "{found:?}");
        assert!(
            found[2] <= blob.len() as u64 && blob.len() as u64 - found[2] < 100,
            "{found:?} of {}",
            blob.len()
        );
    }

    #[test]
    fn joined_gzip_files_are_one_stream() {
        let tar = write_tar(&[Entry::file("a", noise(3_000), 0o644)], Vec::new()).unwrap();
        let mut blob = gzip(&tar[..1_000]);
        let first = blob.len() as u64;
        blob.extend(gzip(&tar[1_000..]));
        assert_eq!(decompress(&blob, media::LAYER_GZIP, &Limits::default()).unwrap(), tar);
        let length = tar.len() as u64;
        let (found, _) = positions(&blob, media::LAYER_GZIP, length, &[1_000, length]).unwrap();
        assert!(
            found[0] <= first && found[1] > first && found[1] <= blob.len() as u64,
            "{found:?}"
        );
    }

    #[test]
    fn a_stream_that_ends_too_early_is_an_error() {
        let blob = gzip(b"four");
        assert!(positions(&blob, media::LAYER_GZIP, 5, &[5]).is_err());
        assert!(positions(&blob[..8], media::LAYER_GZIP, 4, &[4]).is_err());
    }

    #[test]
    fn an_uncompressed_tar_costs_what_it_is_and_zstd_is_divided_by_size() {
        assert_eq!(
            positions(b"....", media::LAYER_TAR, 4, &[1, 4]),
            Ok((vec![1, 4], Division::Stream))
        );
        let half = positions(b"..", media::LAYER_ZSTD, 4, &[2, 4]);
        assert_eq!(half, Ok((vec![1, 2], Division::Proportional)));
    }
}
