//! WebP (RFC 9649): keeps the bitstream, transparency and a colour profile, and writes the container anew.

use std::io::{Read, Seek, Write};

use super::exif::Orientation;
use super::source::Source;
use super::{Failed, Format, Limits, Picture, Refused, check_size, icc};

/// A file has five chunks at most that mean something.
const MAX_CHUNKS: usize = 64;
/// An EXIF chunk that is larger is not looked at.
const MAX_EXIF: u64 = 64 * 1024;

/// Where a chunk's content lies in the file.
#[derive(Debug, Clone, Copy)]
struct Chunk {
    at: u64,
    length: u64,
}

/// The bitstream: `VP8 ` (lossy) or `VP8L` (lossless).
#[derive(Debug, Clone, Copy)]
struct Image {
    kind: [u8; 4],
    chunk: Chunk,
    width: u32,
    height: u32,
    alpha: bool,
}

#[derive(Debug, Default)]
struct Found {
    canvas: Option<(u32, u32)>,
    image: Option<Image>,
    alpha: Option<Chunk>,
    profile: Option<Vec<u8>>,
    orientation: Option<Orientation>,
}

pub fn clean<R: Read + Seek, W: Write>(
    source: &mut Source<R>,
    out: &mut W,
    limits: &Limits,
) -> Result<Picture, Failed> {
    let found = find(source, limits)?;
    let image = found.image.ok_or(Refused::Damaged("no image"))?;
    if found.canvas.is_some_and(|canvas| canvas != (image.width, image.height)) {
        return Failed::damaged("a canvas of another size than the image");
    }
    // A lossless bitstream has its own transparency.
    let alpha = found.alpha.filter(|_| &image.kind == b"VP8 ");
    let exif = found.orientation.and_then(Orientation::write);
    let profile = found.profile.filter(|_| found.canvas.is_some());

    // Sizes first: they stand in front. An extended header only where something needs it.
    let extended = alpha.is_some() || exif.is_some() || profile.is_some();
    let padded = |length: u64| 8 + length + length % 2;
    let mut size = 4 + padded(image.chunk.length);
    size += alpha.map_or(0, |chunk| padded(chunk.length));
    size += exif.map_or(0, |tiff| padded(tiff.len() as u64));
    size += profile.as_ref().map_or(0, |profile| padded(profile.len() as u64));
    size += if extended { padded(10) } else { 0 };
    out.write_all(b"RIFF")?;
    out.write_all(&length_bytes(size)?)?;
    out.write_all(b"WEBP")?;
    if extended {
        let mut header = [0; 10];
        header[0] = u8::from(profile.is_some()) << 5
            | u8::from(alpha.is_some() || image.alpha) << 4
            | u8::from(exif.is_some()) << 3;
        header[4..7].copy_from_slice(&(image.width - 1).to_le_bytes()[..3]);
        header[7..10].copy_from_slice(&(image.height - 1).to_le_bytes()[..3]);
        put(out, *b"VP8X", &header)?;
    }
    if let Some(profile) = &profile {
        put(out, *b"ICCP", profile)?;
    }
    if let Some(chunk) = alpha {
        copy(source, out, *b"ALPH", chunk)?;
    }
    copy(source, out, image.kind, image.chunk)?;
    if let Some(tiff) = &exif {
        put(out, *b"EXIF", tiff)?;
    }

    let swapped = found.orientation.is_some_and(Orientation::swaps_sides);
    let (width, height) = if swapped {
        (image.height, image.width)
    } else {
        (image.width, image.height)
    };
    let format = Format::WebP;
    Ok(Picture { format, width, height })
}

/// Walks over the chunks and notes what will be kept.
fn find<R: Read + Seek>(source: &mut Source<R>, limits: &Limits) -> Result<Found, Failed> {
    let [_, _, _, _, s0, s1, s2, s3, _, _, _, _] = source.array()?;
    let size = u64::from(u32::from_le_bytes([s0, s1, s2, s3]));
    if size % 2 != 0 || size < 12 {
        return Failed::damaged("an impossible size");
    }
    let end = size + 8;
    let mut found = Found::default();
    let mut at = 12;
    for number in 0.. {
        if at == end {
            break;
        }
        if number == MAX_CHUNKS || at + 8 > end {
            return Failed::damaged("bytes that are no chunk");
        }
        let kind: [u8; 4] = source.array()?;
        let chunk = Chunk {
            at: at + 8,
            length: u32::from_le_bytes(source.array()?).into(),
        };
        at = chunk.at + chunk.length + chunk.length % 2;
        if at > end {
            return Err(Refused::Truncated.into());
        }
        let rest = found.read(source, kind, chunk, limits)?;
        source.skip(rest + chunk.length % 2)?;
    }
    Ok(found)
}

impl Found {
    /// Looks at one chunk; gives how many of its bytes were not read.
    fn read<R: Read + Seek>(
        &mut self,
        source: &mut Source<R>,
        kind: [u8; 4],
        chunk: Chunk,
        limits: &Limits,
    ) -> Result<u64, Failed> {
        let first = self.canvas.is_none() && self.image.is_none();
        let Chunk { length, .. } = chunk;
        let mut read = 0;
        match &kind {
            b"VP8X" => {
                if length != 10 || !first {
                    return Failed::damaged("an extended header that does not fit");
                }
                let [flags, _, _, _, w0, w1, w2, h0, h1, h2] = source.array()?;
                if flags & 2 != 0 {
                    return Err(Refused::Animated.into());
                }
                let width = u32::from_le_bytes([w0, w1, w2, 0]) + 1;
                let height = u32::from_le_bytes([h0, h1, h2, 0]) + 1;
                check_size(width, height, limits)?;
                self.canvas = Some((width, height));
                read = 10;
            }
            b"VP8 " | b"VP8L" => {
                if self.image.is_some() {
                    return Failed::damaged("two images");
                }
                if length < 10 {
                    return Failed::damaged("a short image");
                }
                let head = source.array::<10>()?;
                let (width, height, alpha) = if &kind == b"VP8 " {
                    lossy(&head, length)?
                } else {
                    lossless(&head)?
                };
                check_size(width, height, limits)?;
                self.image = Some(Image {
                    kind,
                    chunk,
                    width,
                    height,
                    alpha,
                });
                read = 10;
            }
            b"ANIM" | b"ANMF" => return Err(Refused::Animated.into()),
            _ if first => return Failed::damaged("the image is not first"),
            b"ALPH" => {
                if self.image.is_some() || self.alpha.is_some() || length < 2 {
                    return Failed::damaged("transparency that does not fit");
                }
                // Two reserved bits, preprocessing, filter, compression (0 or 1).
                let flags = source.byte()?;
                if flags & 3 > 1 {
                    return Failed::damaged("transparency of an unknown kind");
                }
                self.alpha = Some(chunk);
                read = 1;
            }
            b"ICCP" if length <= icc::MAX_BYTES as u64 && self.image.is_none() => {
                let profile = source.bytes(usize::try_from(length).unwrap_or_default())?;
                self.profile = icc::rebuild(&profile);
                read = length;
            }
            b"EXIF" if length <= MAX_EXIF && self.orientation.is_none() => {
                let tiff = source.bytes(usize::try_from(length).unwrap_or_default())?;
                // Some programs put a JPEG's marker before it.
                self.orientation = Some(Orientation::read(tiff.strip_prefix(b"Exif\0\0").unwrap_or(&tiff)));
                read = length;
            }
            _ => {}
        }
        Ok(length - read)
    }
}

/// RFC 6386, section 9.1: a key frame that is shown, its start code, 14 bits for each side.
fn lossy(head: &[u8; 10], length: u64) -> Result<(u32, u32, bool), Failed> {
    let tag = u32::from_le_bytes([head[0], head[1], head[2], 0]);
    let first_partition = u64::from(tag >> 5);
    let shown_key_frame = tag & 1 == 0 && tag >> 4 & 1 == 1;
    if !shown_key_frame || head[3..6] != [0x9d, 0x01, 0x2a] || first_partition + 10 > length {
        return Failed::damaged("a bitstream that does not begin as one");
    }
    let side = |low: u8, high: u8| u32::from(u16::from_le_bytes([low, high]) & 0x3fff);
    Ok((side(head[6], head[7]), side(head[8], head[9]), false))
}

/// RFC 9649, section 3.4: the signature, 14 bits for each side less one, whether there is transparency, version 0.
fn lossless(head: &[u8; 10]) -> Result<(u32, u32, bool), Failed> {
    let bits = u32::from_le_bytes([head[1], head[2], head[3], head[4]]);
    if head[0] != 0x2f || bits >> 29 != 0 {
        return Failed::damaged("a bitstream that does not begin as one");
    }
    Ok(((bits & 0x3fff) + 1, (bits >> 14 & 0x3fff) + 1, bits >> 28 & 1 == 1))
}

fn length_bytes(length: u64) -> Result<[u8; 4], Failed> {
    u32::try_from(length)
        .map(u32::to_le_bytes)
        .map_err(|_| Refused::Damaged("an impossible size").into())
}

fn put<W: Write>(out: &mut W, kind: [u8; 4], data: &[u8]) -> Result<(), Failed> {
    out.write_all(&kind)?;
    out.write_all(&length_bytes(data.len() as u64)?)?;
    out.write_all(data)?;
    Ok(out.write_all(&[0; 1][..data.len() % 2])?)
}

fn copy<R: Read + Seek, W: Write>(
    source: &mut Source<R>,
    out: &mut W,
    kind: [u8; 4],
    chunk: Chunk,
) -> Result<(), Failed> {
    out.write_all(&kind)?;
    out.write_all(&length_bytes(chunk.length)?)?;
    source.seek(chunk.at)?;
    source.copy(chunk.length, out)?;
    Ok(out.write_all(&[0; 1][..usize::from(chunk.length % 2 == 1)])?)
}
