//! What files may be called, how long they may be, and what must not be in any.

use serde::Deserialize;

use super::{Offence, none, read, repository};

/// Lines of a file that somebody still reads as a whole.
const LONGEST: usize = 800;

/// Names that say nothing of what is inside, so everything ends up there.
const EMPTY_NAMES: &[&str] = &[
    "util", "utils", "helper", "helpers", "manager", "managers", "common", "misc",
];

fn length(file: &str, text: &str) -> Option<Offence> {
    let lines = text.lines().count();
    let message = format!("{lines} lines, at most {LONGEST}: split it where it has two subjects");
    (lines > LONGEST).then(|| Offence::new(file, LONGEST + 1, message))
}

fn name(file: &str) -> Option<Offence> {
    let module = file
        .strip_suffix(".rs")?
        .split('/')
        .find(|part| EMPTY_NAMES.contains(part))?;
    Some(Offence::new(
        file,
        1,
        format!("`{module}` says nothing: name it after what it does"),
    ))
}

/// What must not be written down: where somebody's files are, and where packages come from (cargo, rustup, pip and apt know,
/// as they are configured). Put together from parts, because this file is checked too.
fn forbidden() -> Vec<(String, &'static str)> {
    const MACHINE: &str = "an absolute path of one machine: make it relative, or ask the environment";
    const REGISTRY: &str =
        "the host of a package registry: leave it to cargo, rustup, pip or apt as they are configured";
    let mut words = Vec::new();
    for (from, to) in [("/ho", "me/"), ("/root", "/."), ("/Us", "ers/"), ("C:\\", "Users")] {
        words.push((format!("{from}{to}"), MACHINE));
    }
    for (owner, top) in [
        ("crates", "io"),
        ("static.rust-lang", "org"),
        ("pypi", "org"),
        ("pythonhosted", "org"),
        ("npmjs", "org"),
        ("deb.debian", "org"),
        ("ftp.debian", "org"),
        ("security.debian", "org"),
        ("archive.debian", "org"),
        ("snapshot.debian", "org"),
        ("archive.ubuntu", "com"),
        ("ports.ubuntu", "com"),
        ("registry-1.docker", "io"),
        ("proxy.golang", "org"),
    ] {
        words.push((format!("{owner}.{top}"), REGISTRY));
    }
    words
}

fn words(file: &str, text: &str) -> Vec<Offence> {
    // cargo writes the name of its default registry there.
    if file.ends_with("Cargo.lock") {
        return Vec::new();
    }
    let forbidden = forbidden();
    let mut offences = Vec::new();
    for (index, line) in text.lines().enumerate() {
        for (word, why) in &forbidden {
            if line.contains(word) {
                offences.push(Offence::new(file, index + 1, format!("`{word}` is {why}")));
            }
        }
    }
    offences
}

#[derive(Deserialize)]
struct Manifest {
    workspace: Option<Workspace>,
    lints: Option<Lints>,
}

#[derive(Deserialize)]
struct Workspace {
    members: Vec<String>,
}

#[derive(Deserialize)]
struct Lints {
    workspace: Option<bool>,
}

fn inherits(file: &str, text: &str) -> Option<Offence> {
    let manifest: Manifest = toml::from_str(text).unwrap_or_else(|error| panic!("{file}: {error}"));
    let inherited = manifest.lints.and_then(|lints| lints.workspace) == Some(true);
    let message = "the lints of the workspace do not apply here: add `[lints]` with `workspace = true`";
    (!inherited).then(|| Offence::new(file, text.lines().count(), message))
}

#[test]
fn files_are_short_and_named_after_what_they_do() {
    let Some(files) = repository() else { return };
    let rust = files.iter().filter(|(file, _)| file.ends_with(".rs"));
    none(
        &rust
            .flat_map(|(file, text)| length(file, text).into_iter().chain(name(file)))
            .collect::<Vec<_>>(),
    );
}

#[test]
fn no_file_names_a_machine_or_a_registry() {
    let Some(files) = repository() else { return };
    none(
        &files
            .iter()
            .flat_map(|(file, text)| words(file, text))
            .collect::<Vec<_>>(),
    );
}

#[test]
fn every_member_inherits_the_lints() {
    let root: Manifest = toml::from_str(&read("Cargo.toml")).unwrap();
    let members = root.workspace.expect("the root Cargo.toml is a workspace").members;
    assert!(
        !members.iter().any(|member| member.contains('*')),
        "members are listed one by one: {members:?}"
    );
    let manifests = members.iter().map(|member| format!("{member}/Cargo.toml"));
    none(
        &manifests
            .filter_map(|file| inherits(&file, &read(&file)))
            .collect::<Vec<_>>(),
    );
}

#[test]
fn bad_files_are_found() {
    assert!(length("a.rs", &"x\n".repeat(LONGEST)).is_none());
    assert_eq!(length("a.rs", &"x\n".repeat(LONGEST + 1)).unwrap().line, LONGEST + 1);
    assert!(name("xtask/src/utils.rs").is_some());
    assert!(name("xtask/src/helper/mod.rs").is_some());
    assert!(name("xtask/src/utilities.md").is_none());
    for (word, _) in forbidden() {
        assert_eq!(words("a.md", &format!("good\nsee {word}x")).len(), 1, "{word}");
        assert!(words("Cargo.lock", &word).is_empty());
    }
    assert!(inherits("a/Cargo.toml", "[package]\nname = 'a'\n").is_some());
    assert!(inherits("a/Cargo.toml", "[lints]\nworkspace = true\n").is_none());
}
