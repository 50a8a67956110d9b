//! Two programs: where their bytes part, and what of header, sections, symbols and strings is different.

use std::collections::{BTreeMap, BTreeSet};

use super::{Difference, Kind, NOT_THERE, around, difference, first, only};
use crate::culprit::name::readable;
use crate::elf::arm::{Attributes, Value, tag_name};
use crate::elf::sections::{Section, Symbol, sections, symbols};
use crate::elf::segments::segments;
use crate::elf::{Elf, ElfError, is_elf};

/// Longest path that is taken out of a program's strings.
const LONGEST: usize = 256;

/// Every difference of two ELF files, the first byte before all else.
///
/// # Errors
/// When one of the two cannot be read as ELF; `true` says that it is the first.
pub fn programs(place: &str, a: &[u8], b: &[u8]) -> Result<Vec<Difference>, (bool, ElfError)> {
    let (x, y) = (
        Facts::read(a).map_err(|error| (true, error))?,
        Facts::read(b).map_err(|error| (false, error))?,
    );
    if a == b {
        return Ok(Vec::new());
    }
    let mut found = vec![byte(place, a, b)];
    fields(Kind::Elf, place, &x.fields, &y.fields, &mut found);
    fields(Kind::Attribute, place, &x.attributes, &y.attributes, &mut found);
    lines(Kind::Comment, place, ".comment", &x.comment, &y.comment, &mut found);
    sections_of(place, (a, &x.sections), (b, &y.sections), &mut found);
    symbols_of(place, &x.symbols, &y.symbols, &mut found);
    lines(Kind::Path, place, "path in a string", &x.paths, &y.paths, &mut found);
    Ok(found)
}

/// Every difference of two files' content: of two programs as [`programs`] says, else the first byte.
pub(super) fn contents(place: &str, a: &[u8], b: &[u8]) -> Vec<Difference> {
    if is_elf(a)
        && is_elf(b)
        && let Ok(found) = programs(place, a, b)
    {
        return found;
    }
    vec![byte(place, a, b)]
}

/// The first byte of a file's content that differs, by its section where it is a program.
fn byte(place: &str, a: &[u8], b: &[u8]) -> Difference {
    let at = first(a, b);
    let section = is_elf(a).then(|| sections(a).ok()).flatten().and_then(|sections| {
        let offset = at as u64;
        let inside = |section: &&Section| (section.offset..section.offset + section.size).contains(&offset);
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
    let field = format!("content at offset {at:#x}{section}");
    difference(Kind::Content, place, field, shown(a), shown(b))
}

/// What is compared of one file.
struct Facts {
    fields: BTreeMap<String, String>,
    attributes: BTreeMap<String, String>,
    comment: BTreeSet<String>,
    sections: Vec<Section>,
    symbols: Vec<Symbol>,
    paths: BTreeSet<String>,
}

impl Facts {
    fn read(bytes: &[u8]) -> Result<Self, ElfError> {
        let elf = Elf::parse(bytes)?;
        let sections = sections(bytes)?;
        let comment = sections.iter().filter(|section| section.name == ".comment");
        let comment = comment
            .flat_map(|section| content(bytes, section).split(|byte| *byte == 0))
            .filter(|line| !line.is_empty())
            .map(|line| line.escape_ascii().to_string())
            .collect();
        Ok(Facts {
            fields: header(bytes, &elf)?,
            attributes: elf.attributes.as_ref().map(attributes).unwrap_or_default(),
            comment,
            symbols: symbols(bytes)?,
            paths: paths(bytes),
            sections,
        })
    }
}

fn content<'a>(bytes: &'a [u8], section: &Section) -> &'a [u8] {
    let range = usize::try_from(section.offset)
        .ok()
        .zip(usize::try_from(section.size).ok());
    range
        .and_then(|(offset, size)| bytes.get(offset..offset.checked_add(size)?))
        .unwrap_or_default()
}

/// What the kernel and the loader read, in words.
fn header(bytes: &[u8], elf: &Elf) -> Result<BTreeMap<String, String>, ElfError> {
    let (entry, table) = segments(bytes)?;
    let list = |values: &[String]| values.join(", ");
    let versions: Vec<String> = elf
        .version_needs
        .iter()
        .map(|(library, versions)| {
            let versions: Vec<&str> = versions.iter().map(String::as_str).collect();
            format!("{library} ({})", versions.join(", "))
        })
        .collect();
    let loaded: Vec<String> = elf
        .loaded
        .iter()
        .map(|loaded| format!("{} {}", loaded.tag, loaded.name))
        .collect();
    let mut fields: BTreeMap<String, String> = [
        ("class", format!("{} bits", elf.class)),
        ("data encoding", format!("{:?}", elf.encoding).to_lowercase()),
        ("OS ABI", elf.os_abi.to_string()),
        ("e_type", format!("{:?}", elf.kind).to_lowercase()),
        ("e_machine", elf.machine.to_string()),
        ("e_flags", format!("{:#x}", elf.flags)),
        ("e_entry", format!("{entry:#x}")),
        ("PT_INTERP", elf.interpreter.clone().unwrap_or_default()),
        ("DT_NEEDED", list(&elf.needed)),
        ("libraries loaded otherwise", list(&loaded)),
        ("DT_SONAME", elf.soname.clone().unwrap_or_default()),
        ("DT_RPATH", list(&elf.rpath)),
        ("DT_RUNPATH", list(&elf.runpath)),
        ("position-independent program", elf.pie.to_string()),
        ("versions needed", list(&versions)),
        ("build ID", elf.build_id.clone().unwrap_or_default()),
    ]
    .into_iter()
    .filter(|(_, value)| !value.is_empty())
    .map(|(name, value)| (name.to_owned(), value))
    .collect();
    let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
    for segment in &table {
        let nth = seen.entry(segment.kind.as_str()).or_default();
        *nth += 1;
        let value = format!(
            "{} {:#x} bytes at {:#x}, {:#x} in memory, from offset {:#x}",
            segment.flags, segment.file_size, segment.address, segment.memory_size, segment.offset
        );
        fields.insert(format!("program header {} {nth}", segment.kind), value);
    }
    Ok(fields)
}

/// By tag. Each of several scopes is a name of its own.
fn attributes(attributes: &Attributes) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    for (nth, group) in attributes.groups.iter().enumerate() {
        for (tag, value) in &group.attributes {
            let scope = match nth {
                0 => String::new(),
                nth => format!(" of scope {}", nth + 1),
            };
            let value = match value {
                Value::Number(number) => number.to_string(),
                Value::Text(text) => text.clone(),
                Value::Compatibility(flag, text) => format!("{flag} {text}"),
            };
            found.insert(format!("{}{scope}", tag_name(*tag)), value);
        }
    }
    if !attributes.vendors.is_empty() {
        found.insert("subsections of vendors".to_owned(), attributes.vendors.join(", "));
    }
    found
}

/// Paths of at least two levels in what can be read of a file: a linker puts strings one behind the other without an end, so
/// that one may have the beginning of the next.
fn paths(bytes: &[u8]) -> BTreeSet<String> {
    let of_a_path = |byte: &u8| byte.is_ascii_alphanumeric() || b"/._-+~@".contains(byte);
    let words = bytes.split(|byte| !of_a_path(byte));
    let path = |word: &[u8]| {
        let slash = word.iter().position(|byte| *byte == b'/')?;
        let path = &word[slash..(slash + LONGEST).min(word.len())];
        let levels = path.split(|byte| *byte == b'/').filter(|level| level.len() > 1).count();
        (levels >= 2).then(|| String::from_utf8_lossy(path).into_owned())
    };
    words.filter(|word| word.len() >= 6).filter_map(path).collect()
}

/// Named values that one has and the other has not, or has with another value.
fn fields(
    kind: Kind,
    place: &str,
    a: &BTreeMap<String, String>,
    b: &BTreeMap<String, String>,
    found: &mut Vec<Difference>,
) {
    let names: BTreeSet<&String> = a.keys().chain(b.keys()).collect();
    for name in names {
        let (x, y) = (a.get(name), b.get(name));
        if x != y {
            let shown = |value: Option<&String>| value.map_or_else(|| NOT_THERE.to_owned(), Clone::clone);
            found.push(difference(kind, place, name.clone(), shown(x), shown(y)));
        }
    }
}

/// Lines that only one has. One each is a pair.
fn lines(kind: Kind, place: &str, what: &str, a: &BTreeSet<String>, b: &BTreeSet<String>, found: &mut Vec<Difference>) {
    let (x, y): (Vec<&String>, Vec<&String>) = (a.difference(b).collect(), b.difference(a).collect());
    if let ([x], [y]) = (&x[..], &y[..]) {
        found.push(difference(kind, place, what, x.as_str(), y.as_str()));
        return;
    }
    for (list, in_a) in [(x, true), (y, false)] {
        found.extend(
            list.iter()
                .map(|line| only(kind, place, format!("{what}: {line}"), in_a)),
        );
    }
}

/// Sections in the order of the file, by name; of a name that stands more than once, the first with the first.
fn sections_of(place: &str, a: (&[u8], &[Section]), b: (&[u8], &[Section]), found: &mut Vec<Difference>) {
    fn named(sections: &[Section]) -> Vec<((&str, usize), &Section)> {
        let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
        let mut named = Vec::new();
        for section in sections {
            let nth = seen.entry(section.name.as_str()).or_default();
            named.push(((section.name.as_str(), *nth), section));
            *nth += 1;
        }
        named
    }
    let (x, y) = (named(a.1), named(b.1));
    let others: BTreeMap<_, _> = y.iter().copied().collect();
    let known: BTreeSet<_> = x.iter().map(|(key, _)| *key).collect();
    for (key, section) in x {
        let field = format!("section {}", section.name);
        let Some(other) = others.get(&key) else {
            found.push(difference(Kind::Section, place, field, size(section), NOT_THERE));
            continue;
        };
        let (ours, theirs) = (content(a.0, section), content(b.0, other));
        if section.address != other.address || section.size != other.size {
            found.push(difference(Kind::Section, place, field, size(section), size(other)));
        } else if ours != theirs {
            let at = first(ours, theirs);
            let bytes = ours.iter().zip(theirs).filter(|(x, y)| x != y).count();
            let field = format!("{field}, {bytes} of {} bytes, the first at {at:#x} in it", section.size);
            found.push(difference(
                Kind::Section,
                place,
                field,
                around(ours, at),
                around(theirs, at),
            ));
        }
    }
    for (key, section) in y {
        if !known.contains(&key) {
            let field = format!("section {}", section.name);
            found.push(difference(Kind::Section, place, field, NOT_THERE, size(section)));
        }
    }
}

fn size(section: &Section) -> String {
    match section.address {
        0 => format!("{:#x} bytes", section.size),
        address => format!("{:#x} bytes at {address:#x}", section.size),
    }
}

/// Symbols by the name that people read, with their sizes. Where all that differs is the place, their number is enough: what is
/// longer moves all that follows.
fn symbols_of(place: &str, a: &[Symbol], b: &[Symbol], found: &mut Vec<Difference>) {
    if a.is_empty() != b.is_empty() {
        let shown = |symbols: &[Symbol]| match symbols.len() {
            0 => "none: it was stripped".to_owned(),
            count => count.to_string(),
        };
        found.push(difference(Kind::Symbol, place, "symbols", shown(a), shown(b)));
        return;
    }
    fn named(symbols: &[Symbol]) -> BTreeMap<String, (Vec<u64>, Vec<u64>)> {
        let mut named: BTreeMap<String, (Vec<u64>, Vec<u64>)> = BTreeMap::new();
        for symbol in symbols {
            let (sizes, addresses) = named.entry(readable(&symbol.name)).or_default();
            sizes.push(symbol.size);
            addresses.push(symbol.address);
        }
        for (sizes, _) in named.values_mut() {
            sizes.sort_unstable();
        }
        named
    }
    let (x, y) = (named(a), named(b));
    let mut moved = 0;
    let names: BTreeSet<&String> = x.keys().chain(y.keys()).collect();
    for name in names {
        match (x.get(name), y.get(name)) {
            (Some((sizes, addresses)), Some((others, elsewhere))) if sizes == others => {
                moved += usize::from(addresses != elsewhere);
            }
            (ours, theirs) => {
                let shown = |symbols: Option<&(Vec<u64>, Vec<u64>)>| match symbols {
                    None => NOT_THERE.to_owned(),
                    Some((sizes, _)) => {
                        let sizes: Vec<String> = sizes.iter().map(u64::to_string).collect();
                        format!("{} bytes", sizes.join(" and "))
                    }
                };
                let field = format!("symbol {name}");
                found.push(difference(Kind::Symbol, place, field, shown(ours), shown(theirs)));
            }
        }
    }
    if moved > 0 {
        let field = "symbols of the same name and size";
        found.push(difference(
            Kind::Symbol,
            place,
            field,
            "at their addresses",
            format!("{moved} of them elsewhere"),
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_byte_of_a_program_is_named_by_its_section() {
        let program = include_bytes!("../../../tests/fixtures/responder/responder-armv6").to_vec();
        let text = sections(&program)
            .unwrap()
            .into_iter()
            .find(|section| section.name == ".text")
            .unwrap();
        let mut other = program.clone();
        other[usize::try_from(text.offset).unwrap() + 4] ^= 1;
        let found = contents("layer 1, responder", &program, &other);
        let wanted = format!(
            "content at offset {:#x} in .text (address {:#x})",
            text.offset + 4,
            text.address + 4
        );
        assert_eq!(found[0].field, wanted);
        assert_eq!(
            found[1].field,
            format!("section .text, 1 of {} bytes, the first at 0x4 in it", text.size)
        );
        assert_eq!(found.len(), 2);
        // What is no whole ELF file is still compared, byte by byte.
        let found = contents("file", &program[..60], &program[..50]);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].b, "its end (50 bytes in all)");
        assert!(matches!(programs("file", &program, &program[..50]), Err((false, _))));
        // Of two that are equal, too, nothing is said that was not read.
        assert!(programs("file", b"text", b"text").is_err());
    }

    #[test]
    fn paths_are_taken_out_of_strings_that_have_no_end() {
        let found = paths(b"\0src/db/mod.rs\0called on a None/rust/library/core.rs\0/etc\0//\0 a/b /made/by/x.rs");
        let found: Vec<&str> = found.iter().map(String::as_str).collect();
        assert_eq!(found, ["/db/mod.rs", "/made/by/x.rs", "/rust/library/core.rs"]);
    }
}
