//! Who may know whom, and what only one room does.

use std::collections::{BTreeMap, BTreeSet};

use super::rust::{CodePath, Source};
use super::{Offence, none, sources};

/// What each room (top-level module of xtask/src or xtask/machine-code/src) may import from others. `room::Item` allows that item and nothing else.
/// A room that is missing here may not exist: say first whom it may know.
#[rustfmt::skip]
const IMPORTS: &[(&str, &str)] = &[
    ("attest", "audit::verdict culprit oci"),
    ("audit", "culprit elf isa target"),
    ("base", "audit cache cx deb elf error http oci policy publish registry shell source target toolchain ui"),
    ("boot", "base cache cx deb elf error oci policy run shell target toolchain ui"),
    ("builder", "base cache compile context cx deb engine error oci plan policy shell sysroot ui"),
    ("cache", "error"),
    ("cli", "oci plan::StdChoice policy::BuilderChoice policy::SqliteChoice report::Bandwidth target"),
    ("compile", "attest cache culprit cx elf error plan shell target toolchain"),
    ("context", "oci"),
    ("culprit", "elf isa target"),
    ("cx", "cache shell ui"),
    ("deb", "error oci"),
    ("elf", ""),
    ("engine", "error shell"),
    ("error", ""),
    ("http", "cache cx error ui"),
    ("isa", "elf"),
    ("main", "cache cli cx error shell ui verb workspace"),
    ("oci", "target"),
    ("plan", "oci policy target workspace::Facts"),
    ("policy", "audit target"),
    ("publish", "attest cache engine error oci ui"),
    ("registry", "attest cache cx error http oci target ui"),
    ("release", "policy target"),
    ("report", "elf oci policy units"),
    ("run", "cache cx error oci publish shell target toolchain ui"),
    ("shell", "error ui"),
    ("source", "cache cx error oci publish registry target"),
    ("sysroot", "base cache cx deb error oci policy target"),
    ("target", "isa"),
    ("toolchain", "cache cx deb error oci plan policy shell target ui"),
    ("ui", "error units"),
    ("units", ""),
    ("verify", "attest audit culprit elf oci"),
    // The verbs put the rooms together, so they know all of them.
    (
        "verb",
        "attest audit base boot builder cache cli compile context culprit cx deb elf engine error http isa oci plan \
         policy publish registry release report run shell source sysroot target toolchain ui units verify workspace",
    ),
    ("workspace", "error shell"),
];

/// Rooms that turn values into values. They can be tested without a machine, and a plan made by them is made without touching one.
const PURE: &[&str] = &[
    "attest", "audit", "culprit", "deb", "elf", "error", "isa", "oci", "plan", "policy", "release", "report", "target",
    "units", "verify",
];

/// What a pure room may not name: paths, and macros and methods as [`Source::paths`] writes them.
const EFFECTS: &[(&str, &str)] = &[
    ("std::fs", "the file system"),
    ("std::path", "the file system (a path inside an image is a string)"),
    ("std::env", "the environment"),
    ("std::process", "processes"),
    ("std::net", "the network"),
    ("std::os", "the operating system"),
    ("std::thread", "threads"),
    ("std::io::stdin", "standard input"),
    ("std::io::stdout", "standard output"),
    ("std::io::stderr", "standard error"),
    ("std::time::SystemTime", "the clock"),
    ("std::time::Instant", "the clock"),
    ("SystemTime", "the clock"),
    ("Instant", "the clock"),
    ("UNIX_EPOCH", "the clock"),
    ("File::open", "the file system"),
    ("File::create", "the file system"),
    ("TcpStream", "the network"),
    ("TcpListener", "the network"),
    ("UdpSocket", "the network"),
    ("UnixStream", "the network"),
    ("Command::new", "processes"),
    (".exists", "the file system"),
    (".try_exists", "the file system"),
    (".metadata", "the file system"),
    (".symlink_metadata", "the file system"),
    (".canonicalize", "the file system"),
    (".read_dir", "the file system"),
    (".read_link", "the file system"),
    ("bollard", "the Docker daemon"),
    ("indicatif", "the terminal"),
    ("rustix", "the operating system"),
    ("signal_hook", "signals"),
    ("tempfile", "the file system"),
    ("tokio", "the network"),
    ("xshell", "processes"),
];

/// The path below `src` of either crate.
fn inside(file: &str) -> Option<&str> {
    ["xtask/src/", "xtask/machine-code/src/"]
        .into_iter()
        .find_map(|crate_of_rooms| file.strip_prefix(crate_of_rooms))
}

/// `xtask/src/oci/layer/mod.rs` is in `oci`; `xtask/src/lib.rs`, which only lists the rooms, is in none.
fn room(file: &str) -> Option<&str> {
    let inside = inside(file)?;
    let name = inside.split('/').next()?.trim_end_matches(".rs");
    (name != "lib").then_some(name)
}

/// How many modules lie between the crate's root and this file: 1 for `cache.rs` and `oci/mod.rs`, 2 for `oci/digest.rs`.
fn depth(file: &str) -> usize {
    let inside = inside(file).unwrap_or(file);
    inside.split('/').filter(|part| *part != "mod.rs").count()
}

/// The path from the crate's root (`oci::layer::Entry`), if this one is in the crate and leads out of its module.
fn in_crate(path: &CodePath, depth: usize) -> Option<&[String]> {
    let segments = &path.segments;
    match segments.first().map(String::as_str) {
        Some("crate" | "xtask") => Some(&segments[1..]),
        Some("super") => {
            let ups = segments.iter().take_while(|segment| *segment == "super").count();
            (ups >= depth).then(|| &segments[ups..])
        }
        _ => None,
    }
}

fn imports(file: &str, source: &Source, table: &[(&str, &str)]) -> Vec<Offence> {
    let Some(room) = room(file) else { return Vec::new() };
    let Some((_, allowed)) = table.iter().find(|(name, _)| *name == room) else {
        let message =
            format!("the room `{room}` is not in IMPORTS of xtask/tests/it/tidy/rooms.rs: say there whom it may know");
        return vec![Offence::new(file, 1, message)];
    };
    let mut offences = Vec::new();
    for path in source.paths() {
        let Some(inside) = in_crate(&path, depth(file)) else {
            continue;
        };
        let Some(other) = inside
            .first()
            .filter(|other| *other != room && table.iter().any(|(name, _)| name == other))
        else {
            continue;
        };
        let item = inside.get(1).map(|item| format!("{other}::{item}"));
        if !allowed
            .split_whitespace()
            .any(|allowed| allowed == other || Some(allowed) == item.as_deref())
        {
            let list = if allowed.is_empty() {
                "no other room".to_owned()
            } else {
                allowed.split_whitespace().collect::<Vec<_>>().join(", ")
            };
            let message = format!(
                "{room} names {}, and it may know {list}: take what it needs as an argument, or move the shared type down",
                inside.join("::")
            );
            offences.push(Offence::new(file, path.line, message));
        }
    }
    offences
}

fn effects(file: &str, source: &Source) -> Vec<Offence> {
    let mut offences = Vec::new();
    for path in source.paths() {
        let effect = EFFECTS.iter().find(|(name, _)| path.starts_with(name));
        if let Some((_, what)) = effect {
            let message = format!(
                "`{}` is {what}, and {} is pure: let the caller do it and pass the value",
                path.segments.join("::"),
                room(file).unwrap_or_default()
            );
            offences.push(Offence::new(file, path.line, message));
        }
    }
    offences
}

/// Things that one room does for all.
fn monopolies(file: &str, source: &Source) -> Vec<Offence> {
    const HARMLESS: &[&str] = &["ExitCode", "ExitStatus", "Stdio"];
    let mut offences = Vec::new();
    let mut add = |line, message: String| offences.push(Offence::new(file, line, message));
    for path in source.paths() {
        let name = path.segments.join("::");
        if path.starts_with("std::process")
            && file != "xtask/src/shell.rs"
            && !path
                .segments
                .get(2)
                .is_some_and(|item| HARMLESS.contains(&item.as_str()))
        {
            add(
                path.line,
                format!("`{name}`: only shell.rs starts and ends processes; use `cx.shell.command(..)`"),
            );
        }
        let prints = ["println", "eprintln", "print", "eprint", "dbg"]
            .iter()
            .any(|name| path.starts_with(&format!("{name}::!")));
        if prints && file != "xtask/src/ui.rs" {
            add(
                path.line,
                format!("`{}!`: only ui.rs prints; use `cx.ui`", path.segments[0]),
            );
        }
    }
    for (line, text) in source.strings() {
        if matches!(text.as_str(), "cargo" | "CARGO") && room(file) != Some("compile") {
            add(
                *line,
                "only `compile` starts cargo; use `compile::cargo(cx)`".to_owned(),
            );
        }
    }
    offences
}

#[test]
fn rooms_import_only_what_they_may_know() {
    let offences = sources()
        .iter()
        .flat_map(|(file, text)| imports(file, &Source::new(text), IMPORTS))
        .collect::<Vec<_>>();
    none(&offences);
}

#[test]
fn pure_rooms_have_no_effects() {
    let sources = sources();
    for pure in PURE {
        assert!(
            sources.iter().any(|(file, _)| room(file) == Some(pure)),
            "there is no room {pure}: correct PURE"
        );
    }
    let pure = sources
        .iter()
        .filter(|(file, _)| room(file).is_some_and(|room| PURE.contains(&room)));
    none(
        &pure
            .flat_map(|(file, text)| effects(file, &Source::new(text)))
            .collect::<Vec<_>>(),
    );
}

#[test]
fn processes_prints_and_cargo_have_one_room_each() {
    none(
        &sources()
            .iter()
            .flat_map(|(file, text)| monopolies(file, &Source::new(text)))
            .collect::<Vec<_>>(),
    );
}

/// The table itself: nothing imports `verb` but `main`, pure rooms lean on pure rooms, and no two rooms lean on each other.
#[test]
fn the_table_of_imports_has_a_direction() {
    let table: BTreeMap<&str, BTreeSet<&str>> = IMPORTS
        .iter()
        .map(|(room, allowed)| {
            (
                *room,
                allowed
                    .split_whitespace()
                    .map(|item| item.split("::").next().unwrap())
                    .collect(),
            )
        })
        .collect();
    assert_eq!(table.len(), IMPORTS.len(), "a room is listed twice");
    for (room, allowed) in &table {
        for other in allowed {
            assert!(table.contains_key(other), "{room} may know {other}, which is no room");
            assert!(*other != "verb" || *room == "main", "{room} may know verb");
        }
        if PURE.contains(room) {
            // `Facts` is a plain struct that the plan carries.
            let impure: Vec<&&str> = allowed
                .iter()
                .filter(|other| !PURE.contains(other) && **other != "workspace")
                .collect();
            assert!(impure.is_empty(), "{room} is pure and may know {impure:?}");
        }
    }
    // Take away what knows nobody that is left, until nothing is left or the rest goes in circles.
    let mut left = table;
    while let Some(room) = left
        .iter()
        .find(|(_, knows)| knows.iter().all(|other| !left.contains_key(other)))
        .map(|(room, _)| *room)
    {
        left.remove(room);
    }
    assert!(
        left.is_empty(),
        "these rooms know each other in circles: {:?}",
        left.keys()
    );
}

#[test]
fn bad_rooms_are_found() {
    let table: &[(&str, &str)] = &[
        ("elf", ""),
        ("engine", "error shell"),
        ("oci", "target"),
        ("plan", "workspace::Facts"),
        ("target", ""),
        ("workspace", ""),
    ];
    let check = |file: &str, text: &str| {
        let source = Source::new(text);
        let all = [
            imports(file, &source, table),
            effects(file, &source),
            monopolies(file, &source),
        ]
        .concat();
        all.iter().map(|offence| offence.line).collect::<Vec<_>>()
    };
    let good = "use crate::target::A;\nuse super::digest::B;\n// std::fs\n#[cfg(test)]\nmod tests { use std::fs; use crate::elf::C; }\n";
    assert!(check("xtask/src/oci/layer.rs", good).is_empty());
    assert_eq!(
        check(
            "xtask/src/plan.rs",
            "use crate::workspace::Facts;\nuse crate::workspace::facts;"
        ),
        [2]
    );
    for bad in [
        "use crate::elf::A;",
        "use super::super::elf::A;",
        "use crate::{target::B, elf::A};",
        "fn f() { crate::elf::g() }",
        "use std::fs;",
        "use std::{collections::BTreeMap, time::Instant};",
        "fn f() { std::env::var(a) }",
        "fn f(p: &P) -> bool { p.exists() }",
        "fn f() { println!() }",
        "fn f() { std::process::exit(1) }",
        "fn f() { command(\"cargo\") }",
    ] {
        assert!(!check("xtask/src/oci/layer.rs", bad).is_empty(), "{bad} was not found");
    }
    assert_eq!(
        check("xtask/src/cellar/mod.rs", "").len(),
        1,
        "a room that nobody declared"
    );
    assert_eq!(check("xtask/src/target.rs", "use super::elf;"), [1]);
}
