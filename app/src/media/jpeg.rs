//! JPEG (ITU-T T.81, JFIF): keeps frame, tables and scans; of the application segments, what changes how it looks.

use std::io::{Read, Seek, Write};

use super::exif::Orientation;
use super::source::Source;
use super::{Failed, Format, Limits, Picture, Refused, check_size, icc};

const SOI: u8 = 0xd8;
const EOI: u8 = 0xd9;
const SOS: u8 = 0xda;
const DQT: u8 = 0xdb;
const DHT: u8 = 0xc4;
const DRI: u8 = 0xdd;
const COM: u8 = 0xfe;

/// Decoders do work for the whole picture in every scan. Real progressive files have about ten.
const MAX_SCANS: u32 = 100;
/// Tables before the first scan; a file has about one kilobyte of them.
const MAX_TABLES: usize = 64 * 1024;

/// What is gathered before the first scan.
#[derive(Debug, Default)]
struct Head {
    jfif: bool,
    /// The colour transform of Adobe's segment.
    adobe: Option<u8>,
    exif: Option<Orientation>,
    icc: Profile,
    /// Tables and the frame, as they will be written.
    tables: Vec<u8>,
    frame: Option<Frame>,
}

#[derive(Debug)]
struct Frame {
    width: u16,
    height: u16,
    components: Vec<u8>,
}

/// A colour profile arrives in numbered pieces.
#[derive(Debug, Default)]
struct Profile {
    bytes: Vec<u8>,
    pieces: u8,
    /// Pieces that are missing, repeated or too large: there is no profile then.
    broken: bool,
}

pub fn clean<R: Read + Seek, W: Write>(
    source: &mut Source<R>,
    out: &mut W,
    limits: &Limits,
) -> Result<Picture, Failed> {
    if source.array()? != [0xff, SOI] {
        return Failed::damaged("no start of image");
    }
    let mut head = Head::default();
    while marker(source).and_then(|marker| head.read(source, marker, limits))? {}
    let orientation = head.exif.unwrap_or(Orientation::UPRIGHT);
    head.write(out)?;
    let frame = head.frame.ok_or(Refused::Damaged("a scan without a frame"))?;

    // The first scan's marker has been read.
    let mut scans = 0;
    let mut next = SOS;
    loop {
        next = match next {
            SOS => {
                scans += 1;
                if scans > MAX_SCANS {
                    return Failed::damaged("too many scans");
                }
                let header = segment(source)?;
                check_scan(&header, &frame)?;
                put(out, SOS, &header)?;
                scan(source, out)?
            }
            DQT | DHT | DRI => {
                let tables = segment(source)?;
                check_tables(next, &tables)?;
                put(out, next, &tables)?;
                marker(source)?
            }
            COM | 0xe0..=0xef => {
                segment(source)?;
                marker(source)?
            }
            EOI => break,
            _ => return Failed::damaged("an unexpected marker after a scan"),
        };
    }
    out.write_all(&[0xff, EOI])?;

    let (width, height) = (u32::from(frame.width), u32::from(frame.height));
    let (width, height) = if orientation.swaps_sides() {
        (height, width)
    } else {
        (width, height)
    };
    let format = Format::Jpeg;
    Ok(Picture { format, width, height })
}

impl Head {
    /// Reads one segment. False at the first scan, whose header is not read yet.
    fn read<R: Read + Seek>(&mut self, source: &mut Source<R>, marker: u8, limits: &Limits) -> Result<bool, Failed> {
        match marker {
            SOS => return Ok(false),
            DQT | DHT | DRI => {
                let tables = segment(source)?;
                check_tables(marker, &tables)?;
                self.keep(marker, &tables)?;
            }
            // Baseline, extended and progressive, Huffman-coded.
            0xc0..=0xc2 => {
                let header = segment(source)?;
                if self.frame.is_some() {
                    return Failed::damaged("two frames");
                }
                self.frame = Some(Frame::parse(&header, limits)?);
                self.keep(marker, &header)?;
            }
            0xc3 | 0xc5..=0xc7 | 0xc9..=0xcb | 0xcd..=0xcf => {
                return Err(Refused::Unsupported("a lossless, hierarchical or arithmetic JPEG").into());
            }
            0xe0 => self.jfif |= segment(source)?.starts_with(b"JFIF\0"),
            0xe1 => {
                let data = segment(source)?;
                let tiff = data.strip_prefix(b"Exif\0").and_then(|rest| rest.get(1..));
                if let Some(tiff) = tiff.filter(|_| self.exif.is_none()) {
                    self.exif = Some(Orientation::read(tiff));
                }
            }
            0xe2 => self.icc.read(&segment(source)?),
            0xee => {
                let data = segment(source)?;
                if let (true, Some(transform @ 0..=2)) = (data.starts_with(b"Adobe"), data.get(11)) {
                    self.adobe = Some(*transform);
                }
            }
            COM | 0xe3..=0xed | 0xef => drop(segment(source)?),
            EOI => return Failed::damaged("no scan"),
            SOI => return Failed::damaged("an image within the image"),
            _ => return Failed::damaged("an unknown marker"),
        }
        Ok(true)
    }

    fn keep(&mut self, marker: u8, data: &[u8]) -> Result<(), Failed> {
        if self.tables.len() + data.len() > MAX_TABLES {
            return Failed::damaged("too many tables");
        }
        put(&mut self.tables, marker, data)
    }

    fn write<W: Write>(&self, out: &mut W) -> Result<(), Failed> {
        out.write_all(&[0xff, SOI])?;
        if self.jfif {
            // Version 1.1, square pixels, no thumbnail: what its presence says is that the colours are YCbCr.
            put(out, 0xe0, b"JFIF\0\x01\x01\0\0\x01\0\x01\0\0")?;
        }
        if let Some(tiff) = self.exif.and_then(Orientation::write) {
            put(out, 0xe1, &[b"Exif\0\0", tiff.as_slice()].concat())?;
        }
        if let Some(transform) = self.adobe {
            put(out, 0xee, &[b"Adobe\0\x64\0\0\0\0", [transform].as_slice()].concat())?;
        }
        let profile = self.icc.whole().and_then(icc::rebuild);
        if let Some(profile) = profile.filter(|profile| profile.len() <= 65_000) {
            put(out, 0xe2, &[b"ICC_PROFILE\0\x01\x01", profile.as_slice()].concat())?;
        }
        Ok(out.write_all(&self.tables)?)
    }
}

impl Profile {
    fn read(&mut self, segment: &[u8]) {
        let Some([number, of, data @ ..]) = segment.strip_prefix(b"ICC_PROFILE\0") else {
            return;
        };
        self.broken |= *number != self.pieces.wrapping_add(1) || number > of;
        self.broken |= self.bytes.len() + data.len() > icc::MAX_BYTES;
        if !self.broken {
            self.bytes.extend_from_slice(data);
            self.pieces = *number;
        }
    }

    fn whole(&self) -> Option<&[u8]> {
        (!self.broken && self.pieces > 0).then_some(self.bytes.as_slice())
    }
}

impl Frame {
    /// T.81, B.2.2.
    fn parse(header: &[u8], limits: &Limits) -> Result<Self, Failed> {
        let [precision, h1, h0, w1, w0, count, components @ ..] = header else {
            return Failed::damaged("a short frame");
        };
        let (height, width) = (u16::from_be_bytes([*h1, *h0]), u16::from_be_bytes([*w1, *w0]));
        check_size(width.into(), height.into(), limits)?;
        if *precision != 8 {
            return Err(Refused::Unsupported("more than 8 bits for each colour").into());
        }
        if !matches!(count, 1 | 3 | 4) || components.len() != 3 * usize::from(*count) {
            return Failed::damaged("a frame with an odd number of colours");
        }
        for component in components.chunks_exact(3) {
            let (across, down) = (component[1] >> 4, component[1] & 15);
            if !(1..=4).contains(&across) || !(1..=4).contains(&down) || component[2] > 3 {
                return Failed::damaged("a frame with impossible sampling");
            }
        }
        Ok(Self {
            width,
            height,
            components: components.iter().step_by(3).copied().collect(),
        })
    }
}

/// T.81, B.2.3.
fn check_scan(header: &[u8], frame: &Frame) -> Result<(), Failed> {
    let Some((count, rest)) = header.split_first() else {
        return Failed::damaged("a short scan");
    };
    let count = usize::from(*count);
    if !(1..=4).contains(&count) || rest.len() != 2 * count + 3 {
        return Failed::damaged("a scan of the wrong length");
    }
    let known = |pair: &[u8]| frame.components.contains(&pair[0]) && pair[1] >> 4 <= 3 && pair[1] & 15 <= 3;
    if !rest[..2 * count].chunks_exact(2).all(known) {
        return Failed::damaged("a scan of colours that the frame does not have");
    }
    // Spectral selection and successive approximation.
    let [from, to, bits] = [rest[2 * count], rest[2 * count + 1], rest[2 * count + 2]];
    if from > to || to > 63 || bits >> 4 > 13 || bits & 15 > 13 {
        return Failed::damaged("a scan with impossible parameters");
    }
    Ok(())
}

/// Tables fill their segment to the last byte: nothing can hide behind them.
fn check_tables(marker: u8, data: &[u8]) -> Result<(), Failed> {
    let mut rest = data;
    if marker == DRI {
        return if data.len() == 2 {
            Ok(())
        } else {
            Failed::damaged("a restart interval of the wrong length")
        };
    }
    while let [first, after @ ..] = rest {
        let (class, id) = (first >> 4, first & 15);
        if class > 1 || id > 3 {
            return Failed::damaged("a table with an impossible number");
        }
        let length = match marker {
            DQT => 64 * (1 + usize::from(class)),
            _ => {
                let counts = after.get(..16).ok_or(Refused::Damaged("a short table"))?;
                let symbols: usize = counts.iter().map(|count| usize::from(*count)).sum();
                if symbols > 256 {
                    return Failed::damaged("a table with too many symbols");
                }
                16 + symbols
            }
        };
        rest = after.get(length..).ok_or(Refused::Damaged("a short table"))?;
    }
    Ok(())
}

/// The next marker; any number of fill bytes may stand before it.
fn marker<R: Read + Seek>(source: &mut Source<R>) -> Result<u8, Failed> {
    if source.byte()? != 0xff {
        return Failed::damaged("bytes between segments");
    }
    loop {
        match source.byte()? {
            0xff => {}
            0 => return Failed::damaged("bytes between segments"),
            marker => return Ok(marker),
        }
    }
}

/// What the segment after a marker holds, without its length.
fn segment<R: Read + Seek>(source: &mut Source<R>) -> Result<Vec<u8>, Failed> {
    let length = usize::from(u16::from_be_bytes(source.array()?));
    match length.checked_sub(2) {
        Some(length) => source.bytes(length),
        None => Failed::damaged("a segment shorter than its length"),
    }
}

fn put<W: Write>(out: &mut W, marker: u8, data: &[u8]) -> Result<(), Failed> {
    let length = u16::try_from(data.len() + 2).map_err(|_| Refused::Damaged("a segment that is too long"))?;
    out.write_all(&[0xff, marker])?;
    out.write_all(&length.to_be_bytes())?;
    Ok(out.write_all(data)?)
}

/// Copies entropy-coded data with its restart markers, and gives the marker that ends it.
fn scan<R: Read + Seek, W: Write>(source: &mut Source<R>, out: &mut W) -> Result<u8, Failed> {
    loop {
        let bytes = source.buffered()?;
        let Some(at) = bytes.iter().position(|byte| *byte == 0xff) else {
            out.write_all(bytes)?;
            let count = bytes.len();
            source.consume(count);
            continue;
        };
        out.write_all(&bytes[..at])?;
        source.consume(at + 1);
        let mut next = source.byte()?;
        while next == 0xff {
            next = source.byte()?;
        }
        match next {
            0 | 0xd0..=0xd7 => out.write_all(&[0xff, next])?,
            marker => return Ok(marker),
        }
    }
}
