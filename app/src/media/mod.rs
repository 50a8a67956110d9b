//! Images: what is accepted, and how everything that is not the picture is taken out of it.
//!
//! Nothing is ever decoded. A file is taken apart into its segments or chunks, those on a short list are written anew,
//! all others are left behind; what does not parse is refused. Width and height come from headers, before anything else
//! is looked at, so no size that a file claims costs memory.

mod exif;
mod icc;
mod jpeg;
mod png;
mod source;
pub mod store;
mod webp;

use std::io::{self, Read, Seek, SeekFrom, Write};

pub use store::Store;

use source::Source;

/// The kinds of images that every browser shows and that cannot hold a script.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Format {
    Jpeg,
    Png,
    WebP,
}

impl Format {
    pub const ALL: [Self; 3] = [Self::Jpeg, Self::Png, Self::WebP];

    /// The media type, as in the table `media` and in `Content-Type`.
    pub fn mime(self) -> &'static str {
        match self {
            Self::Jpeg => "image/jpeg",
            Self::Png => "image/png",
            Self::WebP => "image/webp",
        }
    }

    /// The end of the file's name, without a dot.
    pub fn extension(self) -> &'static str {
        match self {
            Self::Jpeg => "jpg",
            Self::Png => "png",
            Self::WebP => "webp",
        }
    }

    pub fn of_mime(mime: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|format| format.mime() == mime)
    }

    pub fn of_extension(extension: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|format| format.extension() == extension)
    }
}

/// What is too much.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Of the file as it was sent.
    pub bytes: u64,
    /// Width times height: a reader's browser needs four bytes for each.
    pub pixels: u64,
}

impl Default for Limits {
    /// 10 MiB; 50 megapixels, as much as telephones make.
    fn default() -> Self {
        Self {
            bytes: 10 << 20,
            pixels: 50_000_000,
        }
    }
}

/// What is known of an image without decoding it. Width and height are those seen, after turning by its orientation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Picture {
    pub format: Format,
    pub width: u32,
    pub height: u32,
}

/// Why an image is not taken. `Display` is English; pages have their own words for it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    #[error("it is empty")]
    Empty,
    #[error("it is no JPEG, PNG or WebP image")]
    Unknown,
    /// Some other kind of picture, by name.
    #[error("it is a {0} file; JPEG, PNG and WebP are accepted")]
    Other(&'static str),
    #[error("it is animated; still images are accepted")]
    Animated,
    #[error("it has {bytes} bytes; at most {limit} are accepted")]
    TooManyBytes { bytes: u64, limit: u64 },
    #[error("it is {width} x {height} pixels; at most {limit} in all are accepted")]
    TooManyPixels { width: u32, height: u32, limit: u64 },
    #[error("it ends too early")]
    Truncated,
    /// Where the file departs from its format.
    #[error("it is damaged: {0}")]
    Damaged(&'static str),
    /// Correct, but not what browsers show.
    #[error("browsers do not show it: {0}")]
    Unsupported(&'static str),
}

#[derive(Debug, thiserror::Error)]
pub enum Failed {
    #[error(transparent)]
    Refused(#[from] Refused),
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl Failed {
    fn damaged<T>(what: &'static str) -> Result<T, Self> {
        Err(Self::Refused(Refused::Damaged(what)))
    }
}

/// Writes the picture in `input` to `out` without anything else. When this fails, what was written is worth nothing.
pub fn sanitise<R: Read + Seek, W: Write>(mut input: R, out: &mut W, limits: &Limits) -> Result<Picture, Failed> {
    let bytes = input.seek(SeekFrom::End(0))?;
    if bytes > limits.bytes {
        let limit = limits.bytes;
        return Err(Refused::TooManyBytes { bytes, limit }.into());
    }
    input.seek(SeekFrom::Start(0))?;
    let mut start = Vec::new();
    input.by_ref().take(32).read_to_end(&mut start)?;
    input.seek(SeekFrom::Start(0))?;
    let mut source = Source::new(input);
    match sniff(&start)? {
        Format::Jpeg => jpeg::clean(&mut source, out, limits),
        Format::Png => png::clean(&mut source, out, limits),
        Format::WebP => webp::clean(&mut source, out, limits),
    }
}

/// By its first bytes; what the file is called and what the browser says of it count for nothing.
fn sniff(start: &[u8]) -> Result<Format, Refused> {
    let at = |from: usize, text: &[u8]| start.get(from..).is_some_and(|rest| rest.starts_with(text));
    // SVG is text and may hold scripts; it may begin with any of these.
    let text: String = start.iter().map(|byte| char::from(byte.to_ascii_lowercase())).collect();
    let text = text.trim_start_matches("ï»¿").trim_start();
    if start.is_empty() {
        Err(Refused::Empty)
    } else if at(0, b"\xff\xd8\xff") {
        Ok(Format::Jpeg)
    } else if at(0, png::SIGNATURE) {
        Ok(Format::Png)
    } else if at(0, b"RIFF") && at(8, b"WEBP") {
        Ok(Format::WebP)
    } else if at(0, b"GIF8") {
        Err(Refused::Other("GIF"))
    } else if at(4, b"ftyphei") || at(4, b"ftyphev") || at(4, b"ftypmif1") || at(4, b"ftypmsf1") {
        Err(Refused::Other("HEIC"))
    } else if at(4, b"ftypavi") {
        Err(Refused::Other("AVIF"))
    } else if at(0, b"\xff\x0a") || at(4, b"JXL ") {
        Err(Refused::Other("JPEG XL"))
    } else if at(4, b"jP  ") || at(0, b"\xff\x4f\xff\x51") {
        Err(Refused::Other("JPEG 2000"))
    } else if at(0, b"II*\0") || at(0, b"MM\0*") {
        Err(Refused::Other("TIFF"))
    } else if at(0, b"BM") {
        Err(Refused::Other("BMP"))
    } else if at(0, b"%PDF") {
        Err(Refused::Other("PDF"))
    } else if text.starts_with("<svg") || text.starts_with("<?xml") || text.starts_with("<!doctype svg") {
        Err(Refused::Other("SVG"))
    } else {
        Err(Refused::Unknown)
    }
}

/// Refuses sizes of nothing and of too much.
fn check_size(width: u32, height: u32, limits: &Limits) -> Result<(), Failed> {
    if width == 0 || height == 0 {
        return Failed::damaged("a width or height of nothing");
    }
    // Longer sides than JPEG has are a trap for decoders, even when the image is one pixel high.
    let side = u32::from(u16::MAX);
    let limit = limits.pixels;
    if width > side || height > side || u64::from(width) * u64::from(height) > limit {
        return Err(Refused::TooManyPixels { width, height, limit }.into());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn kinds_by_their_first_bytes() {
        assert_eq!(sniff(b"\xff\xd8\xff\xe0"), Ok(Format::Jpeg));
        assert_eq!(sniff(b"\x89PNG\r\n\x1a\n"), Ok(Format::Png));
        assert_eq!(sniff(b"RIFF\x04\0\0\0WEBP"), Ok(Format::WebP));
        for (start, name) in [
            (&b"GIF89a"[..], "GIF"),
            (b"\0\0\0\x18ftypheic", "HEIC"),
            (b"\0\0\0\x18ftypavif", "AVIF"),
            (b"\xef\xbb\xbf  <SVG xmlns", "SVG"),
            (b"<?xml version='1.0'?>", "SVG"),
            (b"II*\0", "TIFF"),
            (b"BM", "BMP"),
        ] {
            assert_eq!(sniff(start), Err(Refused::Other(name)));
        }
        assert_eq!(sniff(b""), Err(Refused::Empty));
        assert_eq!(sniff(b"RIFF\x04\0\0\0WAVE"), Err(Refused::Unknown));
        assert_eq!(sniff(b" \xff\xd8\xff"), Err(Refused::Unknown));
        assert_eq!(sniff(b"<html>"), Err(Refused::Unknown));
    }

    #[test]
    fn words_and_back() {
        for format in Format::ALL {
            assert_eq!(Format::of_mime(format.mime()), Some(format));
            assert_eq!(Format::of_extension(format.extension()), Some(format));
        }
        assert_eq!(Format::of_extension("JPG"), None);
        assert_eq!(Format::of_mime("image/svg+xml"), None);
    }

    #[test]
    fn sizes_are_bounded_before_they_are_multiplied_out() {
        let limits = Limits { bytes: 0, pixels: 100 };
        assert!(check_size(10, 10, &limits).is_ok());
        for (width, height) in [(0, 1), (1, 0), (10, 11), (u32::MAX, u32::MAX), (65_536, 1)] {
            assert!(check_size(width, height, &limits).is_err(), "{width} x {height}");
        }
    }
}
