//! Two tars, entry by entry and field by field.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;

use super::program::contents;
use super::{Difference, Kind, NOT_THERE, around, difference, first, only};
use crate::oci::layer::{parse_pax, until_nul};

/// Which fields of a header count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Headers {
    /// All of them: the tars are what is compared.
    All,
    /// Those that say what is in the tree: neither owners nor times, which a directory of this machine has of its own.
    Tree,
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

/// Every difference of two tars, in the order of their entries. An entry is compared with the one of its path; of a path that
/// stands more than once, the first with the first.
pub fn tars(place: &str, a: &[u8], b: &[u8], what: Headers) -> Vec<Difference> {
    let (ours, theirs) = (members(a), members(b));
    let (known, others) = (by_path(&ours, what), by_path(&theirs, what));
    // With the place in the tar, so that the first difference is the first in it.
    let mut found: Vec<(usize, Difference)> = Vec::new();
    for (key, at) in &known {
        let x = &ours[*at];
        let Some(y) = others.get(key).map(|at| &theirs[*at]) else {
            found.push((*at, only(Kind::Entry, place, x.path.clone(), true)));
            continue;
        };
        let place = format!("{place}, {}", x.path);
        let differences = member(&place, x, y, what);
        found.extend(differences.into_iter().map(|difference| (*at, difference)));
    }
    for (key, at) in &others {
        if !known.contains_key(key) {
            found.push((*at, only(Kind::Entry, place, theirs[*at].path.clone(), false)));
        }
    }
    if what == Headers::All {
        found.extend(order(place, &ours, &theirs, &known, &others));
    }
    found.sort_by_key(|(at, _)| *at);
    if found.is_empty() && what == Headers::All && a != b {
        let at = first(a, b);
        let field = format!("offset {at:#x} of the tar, between its entries");
        found.push((0, difference(Kind::Content, place, field, around(a, at), around(b, at))));
    }
    found.into_iter().map(|(_, difference)| difference).collect()
}

/// A path, and how many entries of it came before.
type Key = (String, usize);

fn by_path(members: &[Member], what: Headers) -> BTreeMap<Key, usize> {
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    let mut found = BTreeMap::new();
    for (at, member) in members.iter().enumerate() {
        let path = match what {
            Headers::All => member.path.as_str(),
            // `tar -C DIR .` writes them so, and a directory has no entry for itself.
            Headers::Tree => member.path.trim_start_matches("./"),
        };
        if what == Headers::Tree && matches!(path, "" | ".") {
            continue;
        }
        let nth = seen.entry(path.to_owned()).or_default();
        found.insert((path.to_owned(), *nth), at);
        *nth += 1;
    }
    found
}

/// The first place from which on the entries that both have come in another order.
fn order(
    place: &str,
    ours: &[Member],
    theirs: &[Member],
    known: &BTreeMap<Key, usize>,
    others: &BTreeMap<Key, usize>,
) -> Option<(usize, Difference)> {
    let mut pairs: Vec<(usize, usize)> = known
        .iter()
        .filter_map(|(key, at)| others.get(key).map(|other| (*at, *other)))
        .collect();
    pairs.sort_unstable();
    let mut sorted: Vec<usize> = pairs.iter().map(|(_, other)| *other).collect();
    sorted.sort_unstable();
    let (wrong, (at, _)) = pairs
        .iter()
        .enumerate()
        .find(|(nth, (_, other))| sorted[*nth] != *other)?;
    let (x, y) = (&ours[*at], &theirs[sorted[wrong]]);
    let found = difference(
        Kind::Entry,
        place,
        "order of the entries",
        x.path.clone(),
        y.path.clone(),
    );
    Some((*at, found))
}

/// Every difference of two entries of the same path.
fn member(place: &str, x: &Member, y: &Member, what: Headers) -> Vec<Difference> {
    let mut found = headers(place, x, y, what);
    if x.content != y.content {
        found.extend(contents(place, &x.content, &y.content));
    }
    let raw = (x.header.as_bytes(), y.header.as_bytes());
    if found.is_empty() && what == Headers::All && raw.0 != raw.1 {
        let at = first(raw.0, raw.1);
        let field = format!("byte {at} of the tar header");
        found.push(difference(
            Kind::TarHeader,
            place,
            field,
            around(raw.0, at),
            around(raw.1, at),
        ));
    }
    found
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

/// Fields that say what is in a tree.
const OF_THE_TREE: [&str; 5] = ["typeflag", "mode", "linkname", "devmajor", "devminor"];

fn headers(place: &str, a: &Member, b: &Member, what: Headers) -> Vec<Difference> {
    let mut found = Vec::new();
    let (x, y) = (a.header.as_bytes(), b.header.as_bytes());
    for (name, range, number) in FIELDS {
        if what == Headers::Tree && !OF_THE_TREE.contains(&name) {
            continue;
        }
        let (x, y) = (&x[range.clone()], &y[range]);
        let shown = |field: &[u8]| match number {
            true => octal(name, field),
            false => text(field),
        };
        // A number may be written with more zeros, which is another byte and the same tree.
        let same = x == y || what == Headers::Tree && (shown(x) == shown(y) || is_regular(name, x, y));
        if !same {
            let field = format!("{name} in the tar header");
            found.push(difference(Kind::TarHeader, place, field, shown(x), shown(y)));
        }
    }
    let keys: BTreeSet<&String> = a.extended.iter().chain(&b.extended).map(|(key, _)| key).collect();
    for key in keys {
        if what == Headers::Tree && !(key == "linkpath" || key.starts_with("SCHILY.xattr.")) {
            continue;
        }
        let value = |member: &Member| {
            let mut records = member.extended.iter();
            records.find(|(other, _)| other == key).map(|(_, value)| text(value))
        };
        let (x, y) = (value(a), value(b));
        if x != y {
            let shown = |value: Option<String>| value.unwrap_or_else(|| NOT_THERE.to_owned());
            let field = format!("{key} in the PAX header");
            found.push(difference(Kind::TarHeader, place, field, shown(x), shown(y)));
        }
    }
    found
}

/// Whether both are the two spellings of a regular file: `0`, and NUL of before ustar.
fn is_regular(name: &str, x: &[u8], y: &[u8]) -> bool {
    name == "typeflag" && [x, y].iter().all(|flag| matches!(flag, [0 | b'0']))
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oci::layer::{Entry, write_tar};

    fn tar(entries: &[Entry]) -> Vec<u8> {
        write_tar(entries, Vec::new()).unwrap()
    }

    fn shown(a: &[Entry], b: &[Entry]) -> String {
        let found = tars("layer 1", &tar(a), &tar(b), Headers::All);
        let lines = found
            .iter()
            .map(|found| format!("{}: {}: {} / {}", found.place, found.field, found.a, found.b));
        lines.collect::<Vec<_>>().join("\n")
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
    fn every_difference_is_told_in_the_order_of_the_entries() {
        let a = [
            Entry::file("b", "1", 0o644),
            Entry::file("a", "1", 0o644),
            Entry::file("only", "", 0o644),
        ];
        let b = [
            Entry::file("b", "1", 0o600).owned_by(7, 0),
            Entry::file("a", "2", 0o644),
            Entry::file("new", "", 0o644),
        ];
        let wanted = "layer 1, b: mode in the tar header: 0644 / 0600\nlayer 1, b: uid in the tar header: 0 / 7\n\
                      layer 1, a: content at offset 0x0: 31 (1 bytes in all) / 32 (1 bytes in all)\n\
                      layer 1: only: there / not there\nlayer 1: new: not there / there";
        assert_eq!(shown(&a, &b), wanted);
        assert_eq!(
            shown(&[a[0].clone(), a[1].clone()], &[a[1].clone(), a[0].clone()]),
            "layer 1: order of the entries: b / a"
        );
        // A path that stands twice is two entries.
        assert_eq!(
            shown(&a[..1], &[a[0].clone(), a[0].clone()]),
            "layer 1: b: not there / there"
        );
    }

    #[test]
    fn a_tree_has_neither_owners_nor_times() {
        let mut other = Entry::file("./b", "1", 0o644).owned_by(7, 7);
        other.mtime = 9;
        let (a, b) = (tar(&[Entry::file("b", "1", 0o644)]), tar(&[other]));
        assert_eq!(tars("tree", &a, &b, Headers::Tree), []);
        let found = tars("tree", &a, &tar(&[Entry::symlink("b", "c")]), Headers::Tree);
        let fields: Vec<&str> = found.iter().map(|found| found.field.as_str()).collect();
        assert_eq!(fields[..2], ["typeflag in the tar header", "mode in the tar header"]);
    }
}
