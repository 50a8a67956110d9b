//! The first thing that two images have differently, as deep as it can be named: a member of the configuration, a field of a
//! tar header, a section of a program.
//!
//! Layers come before the configuration, and that before the manifest: a layer that differs makes all of them differ.

use std::collections::BTreeSet;
use std::io::Read;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::elf::is_elf;
use crate::elf::sections::sections;
use crate::oci::Image;
use crate::oci::layer::{Limits, decompress, parse_pax, until_nul};

/// Where two images part.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Difference {
    /// `layer 2, usr/local/bin/blog`, `configuration`.
    pub place: String,
    /// `mode in the tar header`, `offset 0x1f4 in .text (address 0x101f4)`, `/config/User`.
    pub field: String,
    /// What the image has.
    pub found: String,
    /// What the rebuilt one has.
    pub rebuilt: String,
}

fn difference(
    place: impl Into<String>,
    field: impl Into<String>,
    found: impl Into<String>,
    rebuilt: impl Into<String>,
) -> Difference {
    Difference {
        place: place.into(),
        field: field.into(),
        found: found.into(),
        rebuilt: rebuilt.into(),
    }
}

/// The first difference of two images; `None` when every byte is the same.
pub fn compare(image: &Image, rebuilt: &Image) -> Option<Difference> {
    if image.manifest() == rebuilt.manifest() {
        return None;
    }
    let (ours, theirs) = (image.layers(), rebuilt.layers());
    for (number, (a, b)) in ours.iter().zip(theirs).enumerate() {
        if a.digest() == b.digest() {
            continue;
        }
        let place = format!("layer {}", number + 1);
        if a.diff_id() == b.diff_id() {
            let at = first(a.blob(), b.blob());
            let what = |size: u64| format!("{size} bytes of the same tar, compressed");
            return Some(difference(
                place,
                format!("offset {at:#x} of the blob"),
                what(a.size()),
                what(b.size()),
            ));
        }
        let limits = Limits::default();
        let unpack = |blob: &[u8], kind: &str| decompress(blob, kind, &limits).map_err(|error| error.to_string());
        return Some(
            match (unpack(a.blob(), a.media_type()), unpack(b.blob(), b.media_type())) {
                (Ok(a), Ok(b)) => tars(&place, &a, &b),
                (a, b) => {
                    let shown = |tar: Result<Vec<u8>, String>| {
                        tar.map_or_else(|reason| reason, |tar| format!("{} bytes", tar.len()))
                    };
                    difference(place, "the tar", shown(a), shown(b))
                }
            },
        );
    }
    if ours.len() != theirs.len() {
        return Some(difference(
            "manifest",
            "layers",
            ours.len().to_string(),
            theirs.len().to_string(),
        ));
    }
    let documents = [
        ("configuration", image.config().bytes(), rebuilt.config().bytes()),
        ("manifest", image.manifest().bytes(), rebuilt.manifest().bytes()),
    ];
    let found = documents.into_iter().find(|(_, a, b)| a != b);
    found.map(|(place, a, b)| json(place, a, b))
}

fn json(place: &str, a: &[u8], b: &[u8]) -> Difference {
    let parse = |bytes: &[u8]| serde_json::from_slice::<Value>(bytes).ok();
    if let (Some(x), Some(y)) = (parse(a), parse(b))
        && let Some((path, x, y)) = pointer("", &x, &y)
    {
        return difference(place, path, x, y);
    }
    let at = first(a, b);
    difference(
        place,
        format!("offset {at:#x}: the same JSON, written otherwise"),
        around(a, at),
        around(b, at),
    )
}

/// The first member that differs, by its JSON pointer, keys in order.
fn pointer(path: &str, a: &Value, b: &Value) -> Option<(String, String, String)> {
    let shown = |value: Option<&Value>| value.map_or_else(|| "not there".to_owned(), Value::to_string);
    match (a, b) {
        (Value::Object(x), Value::Object(y)) => {
            let keys: BTreeSet<&String> = x.keys().chain(y.keys()).collect();
            keys.into_iter().find_map(|key| {
                let path = format!("{path}/{}", key.replace('~', "~0").replace('/', "~1"));
                match (x.get(key), y.get(key)) {
                    (Some(x), Some(y)) => pointer(&path, x, y),
                    (x, y) => Some((path, shown(x), shown(y))),
                }
            })
        }
        (Value::Array(x), Value::Array(y)) => (0..x.len().max(y.len())).find_map(|index| {
            let path = format!("{path}/{index}");
            match (x.get(index), y.get(index)) {
                (Some(x), Some(y)) => pointer(&path, x, y),
                (x, y) => Some((path, shown(x), shown(y))),
            }
        }),
        _ if a == b => None,
        _ => Some((path.to_owned(), shown(Some(a)), shown(Some(b)))),
    }
}

/// One member of a tar, with the headers in front that describe it.
struct Member {
    path: String,
    header: tar::Header,
    /// PAX records and long names, by keyword.
    extended: Vec<(String, Vec<u8>)>,
    content: Vec<u8>,
}

/// A field of the ustar header, by name, place and how it is written.
const FIELDS: [(&str, std::ops::Range<usize>, bool); 14] = [
    ("typeflag", 156..157, false),
    ("mode", 100..108, true),
    ("uid", 108..116, true),
    ("gid", 116..124, true),
    ("mtime", 136..148, true),
    ("linkname", 157..257, false),
    ("uname", 265..297, false),
    ("gname", 297..329, false),
    ("devmajor", 329..337, true),
    ("devminor", 337..345, true),
    ("name", 0..100, false),
    ("prefix", 345..500, false),
    ("magic and version", 257..265, false),
    ("padding", 500..512, false),
];

fn tars(place: &str, a: &[u8], b: &[u8]) -> Difference {
    let (ours, theirs) = (members(a), members(b));
    let known = |members: &[Member]| {
        members
            .iter()
            .map(|member| member.path.clone())
            .collect::<BTreeSet<_>>()
    };
    let (all, others) = (known(&ours), known(&theirs));
    for (x, y) in ours.iter().zip(&theirs) {
        if x.path != y.path {
            return match (others.contains(&x.path), all.contains(&y.path)) {
                (false, _) => difference(place, x.path.clone(), "there", "not there"),
                (_, false) => difference(place, y.path.clone(), "not there", "there"),
                _ => difference(place, "order of the entries", x.path.clone(), y.path.clone()),
            };
        }
        let place = format!("{place}, {}", x.path);
        if let Some(found) = headers(&place, x, y) {
            return found;
        }
        if x.content != y.content {
            return content(&place, &x.content, &y.content);
        }
        let raw = (x.header.as_bytes(), y.header.as_bytes());
        if raw.0 != raw.1 {
            let at = first(raw.0, raw.1);
            return difference(
                place,
                format!("byte {at} of the tar header"),
                around(raw.0, at),
                around(raw.1, at),
            );
        }
    }
    match (ours.get(theirs.len()), theirs.get(ours.len())) {
        (Some(more), _) => difference(place, more.path.clone(), "there", "not there"),
        (_, Some(more)) => difference(place, more.path.clone(), "not there", "there"),
        _ => {
            let at = first(a, b);
            difference(
                place,
                format!("offset {at:#x} of the tar, between its entries"),
                around(a, at),
                around(b, at),
            )
        }
    }
}

/// As many members as can be read.
fn members(tar: &[u8]) -> Vec<Member> {
    let mut found = Vec::new();
    let mut archive = tar::Archive::new(tar);
    let Ok(entries) = archive.entries() else { return found };
    let mut extended: Vec<(String, Vec<u8>)> = Vec::new();
    for entry in entries.raw(true) {
        let Ok(mut entry) = entry else { break };
        let mut content = Vec::new();
        if entry.read_to_end(&mut content).is_err() {
            break;
        }
        match entry.header().entry_type() {
            tar::EntryType::XHeader => match parse_pax(&content) {
                Some(records) => extended.extend(records),
                None => extended.push(("PAX header".to_owned(), content)),
            },
            tar::EntryType::GNULongName => extended.push(("path".to_owned(), until_nul(content))),
            tar::EntryType::GNULongLink => extended.push(("linkpath".to_owned(), until_nul(content))),
            _ => {
                let long = extended
                    .iter()
                    .find(|(key, _)| key == "path")
                    .map(|(_, path)| path.clone());
                let path = long.unwrap_or_else(|| entry.path_bytes().into_owned());
                found.push(Member {
                    path: String::from_utf8_lossy(&path).trim_end_matches('/').to_owned(),
                    header: entry.header().clone(),
                    extended: std::mem::take(&mut extended),
                    content,
                });
            }
        }
    }
    found
}

fn headers(place: &str, a: &Member, b: &Member) -> Option<Difference> {
    let (x, y) = (a.header.as_bytes(), b.header.as_bytes());
    for (name, range, number) in FIELDS {
        let (x, y) = (&x[range.clone()], &y[range]);
        if x != y {
            let shown = |field: &[u8]| match number {
                true => octal(name, field),
                false => text(field),
            };
            return Some(difference(
                place,
                format!("{name} in the tar header"),
                shown(x),
                shown(y),
            ));
        }
    }
    let keys: BTreeSet<&String> = a.extended.iter().chain(&b.extended).map(|(key, _)| key).collect();
    keys.into_iter().find_map(|key| {
        let value = |member: &Member| {
            member
                .extended
                .iter()
                .find(|(other, _)| other == key)
                .map(|(_, value)| text(value))
        };
        let (x, y) = (value(a), value(b));
        let shown = |value: Option<String>| value.unwrap_or_else(|| "not there".to_owned());
        (x != y).then(|| difference(place, format!("{key} in the PAX header"), shown(x), shown(y)))
    })
}

/// `0644`, and times as seconds too.
fn octal(name: &str, field: &[u8]) -> String {
    let digits = text(field);
    match u64::from_str_radix(digits.trim(), 8) {
        Ok(value) if name == "mode" => format!("{value:04o}"),
        Ok(value) => value.to_string(),
        Err(_) => digits,
    }
}

fn text(field: &[u8]) -> String {
    let end = field.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    match field[..end].escape_ascii().to_string() {
        empty if empty.is_empty() => "nothing".to_owned(),
        text => text,
    }
}

/// The first byte of a file's content that differs, by its section where it is a program.
fn content(place: &str, a: &[u8], b: &[u8]) -> Difference {
    let at = first(a, b);
    let section = is_elf(a).then(|| sections(a).ok()).flatten().and_then(|sections| {
        let offset = at as u64;
        let inside = |section: &&crate::elf::sections::Section| {
            (section.offset..section.offset + section.size).contains(&offset)
        };
        let section = sections.iter().find(inside)?;
        Some(match section.address {
            0 => format!(" in {}", section.name),
            address => format!(
                " in {} (address {:#x})",
                section.name,
                address + (offset - section.offset)
            ),
        })
    });
    let section = section.unwrap_or_else(|| {
        if is_elf(a) {
            " in headers or padding".to_owned()
        } else {
            String::new()
        }
    });
    let shown = |bytes: &[u8]| format!("{} ({} bytes in all)", around(bytes, at), bytes.len());
    difference(place, format!("content at offset {at:#x}{section}"), shown(a), shown(b))
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oci::layer::{Entry, write_tar};

    fn tar(entries: &[Entry]) -> Vec<u8> {
        write_tar(entries, Vec::new()).unwrap()
    }

    fn shown(a: &[Entry], b: &[Entry]) -> String {
        let found = tars("layer 1", &tar(a), &tar(b));
        format!("{}: {}: {} / {}", found.place, found.field, found.found, found.rebuilt)
    }

    #[test]
    fn a_tar_header_is_named_with_its_field_and_both_values() {
        let base = || vec![Entry::directory("etc", 0o755), Entry::file("etc/passwd", "root", 0o644)];
        let with = |change: &dyn Fn(&mut Entry)| {
            let mut entries = base();
            change(&mut entries[1]);
            entries
        };
        let cases: [(Vec<Entry>, &str); 6] = [
            (
                with(&|entry| entry.mode = 0o600),
                "layer 1, etc/passwd: mode in the tar header: 0644 / 0600",
            ),
            (
                with(&|entry| entry.uid = 65532),
                "layer 1, etc/passwd: uid in the tar header: 0 / 65532",
            ),
            (
                with(&|entry| entry.mtime = 7),
                "layer 1, etc/passwd: mtime in the tar header: 0 / 7",
            ),
            (
                with(&|entry| drop(entry.xattrs.insert("user.x".to_owned(), b"1".to_vec()))),
                "layer 1, etc/passwd: SCHILY.xattr.user.x in the PAX header: not there / 1",
            ),
            (
                with(&|entry| *entry = Entry::file("etc/passwd", "rood", 0o644)),
                "layer 1, etc/passwd: content at offset 0x3: 74 (4 bytes in all) / 64 (4 bytes in all)",
            ),
            (
                with(&|entry| *entry = Entry::file("etc/passwd", "roo", 0o644)),
                "layer 1, etc/passwd: content at offset 0x3: 74 (4 bytes in all) / its end (3 bytes in all)",
            ),
        ];
        for (changed, wanted) in cases {
            assert_eq!(shown(&base(), &changed), wanted);
        }
        let more = [base(), vec![Entry::file("usr", "", 0o644)]].concat();
        assert_eq!(shown(&base(), &more), "layer 1: usr: not there / there");
        let other = vec![
            Entry::directory("etc", 0o755),
            Entry::file("etc/hosts", "", 0o644),
            base().remove(1),
        ];
        assert_eq!(shown(&base(), &other), "layer 1: etc/hosts: not there / there");
    }

    #[test]
    fn json_is_compared_by_its_members() {
        let found = json(
            "configuration",
            br#"{"a":{"b/c":[1,2]},"z":1}"#,
            br#"{"a":{"b/c":[1,3]},"z":2}"#,
        );
        assert_eq!(
            (found.field.as_str(), found.found.as_str(), found.rebuilt.as_str()),
            ("/a/b~1c/1", "2", "3")
        );
        let found = json("configuration", br#"{"a":1}"#, br#"{}"#);
        assert_eq!((found.field.as_str(), found.rebuilt.as_str()), ("/a", "not there"));
        assert!(
            json("x", br#"{"a":1}"#, br#"{"a": 1}"#)
                .field
                .contains("written otherwise")
        );
    }

    #[test]
    fn a_byte_of_a_program_is_named_by_its_section() {
        let program = include_bytes!("../../tests/fixtures/responder/responder-armv6").to_vec();
        let text = sections(&program)
            .unwrap()
            .into_iter()
            .find(|section| section.name == ".text")
            .unwrap();
        let mut other = program.clone();
        other[usize::try_from(text.offset).unwrap() + 4] ^= 1;
        let found = content("layer 1, responder", &program, &other);
        let wanted = format!(
            "content at offset {:#x} in .text (address {:#x})",
            text.offset + 4,
            text.address + 4
        );
        assert_eq!(found.field, wanted);
    }
}
