//! What two images, file trees or programs have differently, as deep as it can be named: a member of the configuration, a field
//! of a tar header, a section or a symbol of a program.
//!
//! Layers come before the configuration, and that before the manifest: a layer that differs makes all of them differ.

mod json;
mod program;
mod tar;
pub mod text;

use serde::{Deserialize, Serialize};

pub use self::tar::{Headers, tars};
pub use program::programs;

use crate::oci::Image;
use crate::oci::layer::{Layer, Limits, decompress};

/// What kind of thing differs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// An image, a layer or an entry of a tar that only one has, or the order of them.
    Entry,
    /// A field of a tar or PAX header.
    TarHeader,
    /// The first byte of a file or blob that differs.
    Content,
    /// A field of the ELF header, the program headers or the dynamic segment.
    Elf,
    /// A build attribute of 32-bit ARM.
    Attribute,
    /// What compilers and linkers left in `.comment`.
    Comment,
    /// A section of a program.
    Section,
    /// A symbol of a program.
    Symbol,
    /// A path in the strings of a program.
    Path,
    /// A member of the configuration.
    Configuration,
    /// A member of the manifest.
    Manifest,
}

/// One difference of two things, `a` and `b`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Difference {
    /// What kind of thing differs.
    pub kind: Kind,
    /// `layer 2, usr/local/bin/blog`, `configuration`.
    pub place: String,
    /// `mode in the tar header`, `offset 0x1f4 in .text (address 0x101f4)`, `/config/User`.
    pub field: String,
    /// What the one has.
    pub a: String,
    /// What the other has.
    pub b: String,
}

fn difference(
    kind: Kind,
    place: impl Into<String>,
    field: impl Into<String>,
    a: impl Into<String>,
    b: impl Into<String>,
) -> Difference {
    Difference {
        kind,
        place: place.into(),
        field: field.into(),
        a: a.into(),
        b: b.into(),
    }
}

/// What stands for a thing that only the other one has.
pub const NOT_THERE: &str = "not there";
const THERE: &str = "there";

/// Something that only one of two has.
pub fn only(kind: Kind, place: impl Into<String>, field: impl Into<String>, in_a: bool) -> Difference {
    match in_a {
        true => difference(kind, place, field, THERE, NOT_THERE),
        false => difference(kind, place, field, NOT_THERE, THERE),
    }
}

/// The first difference of two images; `None` when every byte is the same.
pub fn compare(a: &Image, b: &Image) -> Option<Difference> {
    images(a, b).into_iter().next()
}

/// Every difference of two images; none when every byte is the same.
pub fn images(a: &Image, b: &Image) -> Vec<Difference> {
    if a.manifest() == b.manifest() {
        return Vec::new();
    }
    let mut found = Vec::new();
    layers(a.layers(), b.layers(), &mut found);
    let documents = [
        (Kind::Configuration, "configuration", a.config(), b.config()),
        (Kind::Manifest, "manifest", a.manifest(), b.manifest()),
    ];
    for (kind, place, a, b) in documents {
        json::documents(kind, place, a.bytes(), b.bytes(), &mut found);
    }
    found
}

/// Layers are compared with the one of the same place, counted from below up to the first difference, and from above for the rest:
/// a layer that was put between leaves all others in pairs.
fn layers(ours: &[Layer], theirs: &[Layer], found: &mut Vec<Difference>) {
    let least = ours.len().min(theirs.len());
    let same = |(a, b): &(&Layer, &Layer)| a.diff_id() == b.diff_id();
    let below = ours.iter().zip(theirs).take_while(same).count();
    let above = ours.iter().rev().zip(theirs.iter().rev());
    let above = match ours.len() == theirs.len() {
        true => 0,
        false => above.take(least - below).take_while(same).count(),
    };
    let mut pairs: Vec<(usize, Option<&Layer>, Option<&Layer>)> = Vec::new();
    let middle = (ours.len() - above).max(theirs.len() - above);
    for number in 0..middle {
        let inside = |layers: &[Layer]| number < layers.len() - above;
        let a = ours.get(number).filter(|_| inside(ours));
        let b = theirs.get(number).filter(|_| inside(theirs));
        pairs.push((number + 1, a, b));
    }
    for back in (1..=above).rev() {
        let number = ours.len() - back;
        pairs.push((number + 1, Some(&ours[number]), Some(&theirs[theirs.len() - back])));
    }
    for (number, a, b) in pairs {
        let place = format!("layer {number}");
        match (a, b) {
            (Some(a), Some(b)) => layer(&place, a, b, found),
            (Some(only), None) => found.push(difference(Kind::Entry, place, "the layer", size(only), NOT_THERE)),
            (None, Some(only)) => found.push(difference(Kind::Entry, place, "the layer", NOT_THERE, size(only))),
            (None, None) => {}
        }
    }
}

fn size(layer: &Layer) -> String {
    format!("{} bytes, {}", layer.size(), layer.media_type())
}

fn layer(place: &str, a: &Layer, b: &Layer, found: &mut Vec<Difference>) {
    if a.digest() == b.digest() {
        return;
    }
    if a.diff_id() == b.diff_id() {
        let field = format!(
            "the same tar, and another blob from offset {:#x} on",
            first(a.blob(), b.blob())
        );
        found.push(difference(Kind::Content, place, field, size(a), size(b)));
        return;
    }
    let limits = Limits::default();
    let unpack = |layer: &Layer| {
        decompress(layer.blob(), layer.media_type(), &limits).map_err(|error| format!("cannot be unpacked: {error}"))
    };
    match (unpack(a), unpack(b)) {
        (Ok(a), Ok(b)) => found.extend(tars(place, &a, &b, Headers::All)),
        (a, b) => {
            let shown =
                |tar: Result<Vec<u8>, String>| tar.map_or_else(|reason| reason, |tar| format!("{} bytes", tar.len()));
            found.push(difference(Kind::Content, place, "the tar", shown(a), shown(b)));
        }
    }
}

fn first(a: &[u8], b: &[u8]) -> usize {
    let same = a.iter().zip(b).position(|(x, y)| x != y);
    same.unwrap_or_else(|| a.len().min(b.len()))
}

/// Eight bytes from a place on, in hex.
fn around(bytes: &[u8], at: usize) -> String {
    match bytes.get(at..) {
        None | Some([]) => "its end".to_owned(),
        Some(rest) => {
            let hex: Vec<String> = rest.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
            hex.join(" ")
        }
    }
}
