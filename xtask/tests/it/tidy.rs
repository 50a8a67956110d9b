//! The rules of the repository as tests: which room may know which, what a file may be called, what must not be in one.
//!
//! Every test looks at the whole repository and prints every offence with its place and how to mend it. The rules are functions
//! from text to offences, so that each is also shown a bad sample: a rule that cannot fail checks nothing.

use std::fmt;
use std::path::{Path, PathBuf};

use super::require::require;

mod documents;
mod files;
mod rooms;
mod rust;
mod settings;

/// A place that breaks a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Offence {
    file: String,
    line: usize,
    message: String,
}

impl Offence {
    fn new(file: &str, line: usize, message: impl Into<String>) -> Self {
        Offence {
            file: file.to_owned(),
            line,
            message: message.into(),
        }
    }
}

impl fmt::Display for Offence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.file, self.line, self.message)
    }
}

/// Fails with every offence, one a line.
#[track_caller]
fn none(offences: &[Offence]) {
    let lines: Vec<String> = offences.iter().map(ToString::to_string).collect();
    assert!(
        lines.is_empty(),
        "{} against the rules of this repository:\n{}\n",
        lines.len(),
        lines.join("\n")
    );
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Every file of the repository that is text, with its content: what git tracks, and what it would track. `None` outside git.
fn repository() -> Option<Vec<(String, String)>> {
    let list = ["ls-files", "-z", "--cached", "--others", "--exclude-standard"];
    let listed = xtask::shell::Shell::default()
        .command("git")
        .args(list)
        .current_dir(root())
        .read();
    if !require("git, and a clone of the repository", listed.is_ok()) {
        return None;
    }
    let mut files = Vec::new();
    for name in listed.unwrap().split('\0').filter(|name| !name.is_empty()) {
        // Deleted and not committed yet, or no text.
        if let Ok(text) = std::fs::read_to_string(root().join(name)) {
            files.push((name.to_owned(), text));
        }
    }
    assert!(
        files.iter().any(|(name, _)| name == "xtask.toml"),
        "git lists something else than this repository"
    );
    Some(files)
}

/// The source files of xtask below xtask/src, and of the crate with two of its rooms, by path from the root of the repository.
fn sources() -> Vec<(String, String)> {
    fn walk(dir: &Path, name: &str, found: &mut Vec<(String, String)>) {
        for entry in std::fs::read_dir(dir).unwrap() {
            let entry = entry.unwrap();
            let name = format!("{name}/{}", entry.file_name().to_string_lossy());
            if entry.file_type().unwrap().is_dir() {
                walk(&entry.path(), &name, found);
            } else if name.ends_with(".rs") {
                found.push((name, std::fs::read_to_string(entry.path()).unwrap()));
            }
        }
    }
    let mut found = Vec::new();
    for crate_of_rooms in ["xtask/src", "xtask/machine-code/src"] {
        walk(&root().join(crate_of_rooms), crate_of_rooms, &mut found);
    }
    found.sort();
    assert!(found.len() > 20, "only {} source files found", found.len());
    found
}
