//! PNG (third edition): keeps the critical chunks and what the colours depend on. Every CRC is checked.

use std::io::{Read, Seek, Write};

use super::exif::Orientation;
use super::source::Source;
use super::{Failed, Format, Limits, Picture, Refused, check_size};
use crate::domain::crc::Crc;

pub const SIGNATURE: &[u8; 8] = b"\x89PNG\r\n\x1a\n";

/// An eXIf chunk that is larger is not looked at.
const MAX_EXIF: u64 = 64 * 1024;

/// What has been seen, as far as order and lengths depend on it.
#[derive(Debug)]
struct Seen {
    header: Header,
    palette: usize,
    ancillary: Vec<[u8; 4]>,
    data: Data,
    orientation: Option<Orientation>,
}

#[derive(Debug, Clone, Copy)]
struct Header {
    width: u32,
    height: u32,
    depth: u8,
    colour: u8,
}

/// Image data is one run of chunks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Data {
    None,
    Within,
    Over,
}

pub fn clean<R: Read + Seek, W: Write>(
    source: &mut Source<R>,
    out: &mut W,
    limits: &Limits,
) -> Result<Picture, Failed> {
    if source.array()? != *SIGNATURE {
        return Failed::damaged("no signature");
    }
    let (length, kind) = next(source)?;
    if (length, &kind) != (13, b"IHDR") {
        return Failed::damaged("the header is not first");
    }
    let header = take(source, length, kind)?;
    let mut seen = Seen {
        header: Header::parse(&header, limits)?,
        palette: 0,
        ancillary: Vec::new(),
        data: Data::None,
        orientation: None,
    };
    out.write_all(SIGNATURE)?;
    put(out, kind, &header)?;

    // The first two bytes of all image data.
    let mut zlib: Vec<u8> = Vec::new();
    loop {
        let (length, kind) = next(source)?;
        if seen.data == Data::Within && &kind != b"IDAT" {
            seen.data = Data::Over;
        }
        match &kind {
            b"IDAT" => {
                if seen.data == Data::Over {
                    return Failed::damaged("image data in two places");
                }
                if seen.header.colour == 3 && seen.palette == 0 {
                    return Failed::damaged("no palette");
                }
                seen.data = Data::Within;
                out.write_all(&u32::try_from(length).unwrap_or_default().to_be_bytes())?;
                out.write_all(&kind)?;
                let crc = checked(source, length, kind, |bytes| {
                    let missing = 2 - zlib.len().min(2);
                    zlib.extend(bytes.iter().take(missing));
                    Ok(out.write_all(bytes)?)
                })?;
                out.write_all(&crc.to_be_bytes())?;
            }
            b"IEND" => {
                if length != 0 {
                    return Failed::damaged("an end with something in it");
                }
                take(source, length, kind)?;
                break;
            }
            b"acTL" | b"fcTL" | b"fdAT" => return Err(Refused::Animated.into()),
            b"PLTE" | b"tRNS" | b"gAMA" | b"cHRM" | b"sRGB" | b"sBIT" | b"cICP" => {
                if length > 768 {
                    return Failed::damaged("a chunk of the wrong length");
                }
                let data = take(source, length, kind)?;
                if seen.keeps(kind, &data)? {
                    put(out, kind, &data)?;
                }
            }
            b"eXIf" if length <= MAX_EXIF => {
                let data = take(source, length, kind)?;
                // A JPEG's marker may stand before it by mistake; browsers look past it.
                let orientation = Orientation::read(data.strip_prefix(b"Exif\0\0").unwrap_or(&data));
                if seen.orientation.is_none() {
                    seen.orientation = Some(orientation);
                    if let Some(tiff) = orientation.write() {
                        put(out, kind, &tiff)?;
                    }
                }
            }
            // A lower-case first letter: decoders can do without.
            [first, ..] if first.is_ascii_lowercase() => drop(checked(source, length, kind, |_| Ok(()))?),
            _ => return Failed::damaged("an unknown critical chunk"),
        }
    }
    // RFC 1950: deflate, a check of these two bytes, no preset dictionary.
    match zlib.as_slice() {
        [method, flags] if method & 15 == 8 && u16::from_be_bytes([*method, *flags]) % 31 == 0 && flags & 32 == 0 => {}
        _ => return Failed::damaged("no image data"),
    }
    put(out, *b"IEND", &[])?;

    let Header { width, height, .. } = seen.header;
    let swapped = seen.orientation.is_some_and(Orientation::swaps_sides);
    let (width, height) = if swapped { (height, width) } else { (width, height) };
    let format = Format::Png;
    Ok(Picture { format, width, height })
}

impl Header {
    fn parse(data: &[u8], limits: &Limits) -> Result<Self, Failed> {
        let [w3, w2, w1, w0, h3, h2, h1, h0, depth, colour, method, filter, interlace] = *data else {
            return Failed::damaged("a header of the wrong length");
        };
        let (width, height) = (
            u32::from_be_bytes([w3, w2, w1, w0]),
            u32::from_be_bytes([h3, h2, h1, h0]),
        );
        check_size(width, height, limits)?;
        let possible = match colour {
            0 => matches!(depth, 1 | 2 | 4 | 8 | 16),
            3 => matches!(depth, 1 | 2 | 4 | 8),
            2 | 4 | 6 => matches!(depth, 8 | 16),
            _ => false,
        };
        if !possible || method != 0 || filter != 0 || interlace > 1 {
            return Failed::damaged("a header with impossible values");
        }
        Ok(Self {
            width,
            height,
            depth,
            colour,
        })
    }
}

impl Seen {
    /// Whether a short chunk is written again. Palette and transparency must be right; of what only tunes the colours,
    /// what is not right is dropped.
    fn keeps(&mut self, kind: [u8; 4], data: &[u8]) -> Result<bool, Failed> {
        let Header { depth, colour, .. } = self.header;
        let early = self.data == Data::None;
        let fits = match &kind {
            b"PLTE" => {
                let entries = data.len() / 3;
                let room = if colour == 3 { 1 << depth } else { 256 };
                let right = data.len().is_multiple_of(3) && (1..=room).contains(&entries) && !matches!(colour, 0 | 4);
                if !right || !early || self.palette > 0 {
                    return Failed::damaged("a palette that does not fit");
                }
                self.palette = entries;
                return Ok(true);
            }
            b"tRNS" => {
                let right = match colour {
                    0 => data.len() == 2,
                    2 => data.len() == 6,
                    3 => (1..=self.palette).contains(&data.len()),
                    _ => false,
                };
                if !right || !early || self.ancillary.contains(&kind) {
                    return Failed::damaged("transparency that does not fit");
                }
                self.ancillary.push(kind);
                return Ok(true);
            }
            b"gAMA" => data.len() == 4,
            b"cHRM" => data.len() == 32,
            b"sRGB" => matches!(data, [0..=3]),
            b"cICP" => data.len() == 4,
            b"sBIT" => {
                let depth = if colour == 3 { 8 } else { depth };
                let channels = [1, 0, 3, 3, 2, 0, 4][usize::from(colour)];
                data.len() == channels && data.iter().all(|bits| (1..=depth).contains(bits))
            }
            _ => false,
        };
        // They stand before palette and data.
        let keep = fits && early && self.palette == 0 && !self.ancillary.contains(&kind);
        if keep {
            self.ancillary.push(kind);
        }
        Ok(keep)
    }
}

/// Length and kind of the next chunk.
fn next<R: Read + Seek>(source: &mut Source<R>) -> Result<(u64, [u8; 4]), Failed> {
    let length = u32::from_be_bytes(source.array()?);
    let kind: [u8; 4] = source.array()?;
    if length > 0x7fff_ffff || !kind.iter().all(u8::is_ascii_alphabetic) {
        return Failed::damaged("bytes that are no chunk");
    }
    Ok((length.into(), kind))
}

/// Hands what a chunk holds to `each`, and gives its CRC when that is right.
fn checked<R: Read + Seek>(
    source: &mut Source<R>,
    length: u64,
    kind: [u8; 4],
    mut each: impl FnMut(&[u8]) -> Result<(), Failed>,
) -> Result<u32, Failed> {
    let mut crc = Crc::new();
    crc.add(&kind);
    source.pass(length, |bytes| {
        crc.add(bytes);
        each(bytes)
    })?;
    if u32::from_be_bytes(source.array()?) != crc.value() {
        return Failed::damaged("a chunk with a wrong check sum");
    }
    Ok(crc.value())
}

fn take<R: Read + Seek>(source: &mut Source<R>, length: u64, kind: [u8; 4]) -> Result<Vec<u8>, Failed> {
    let mut data = Vec::new();
    checked(source, length, kind, |bytes| {
        data.extend_from_slice(bytes);
        Ok(())
    })?;
    Ok(data)
}

fn put<W: Write>(out: &mut W, kind: [u8; 4], data: &[u8]) -> Result<(), Failed> {
    let mut crc = Crc::new();
    crc.add(&kind);
    crc.add(data);
    out.write_all(&u32::try_from(data.len()).unwrap_or_default().to_be_bytes())?;
    out.write_all(&kind)?;
    out.write_all(data)?;
    Ok(out.write_all(&crc.value().to_be_bytes())?)
}
