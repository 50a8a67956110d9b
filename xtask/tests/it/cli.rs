//! The program as its user sees it: exit code, stdout, the message and the next step; in a workspace of the test's own, which has
//! this repository's settings and a server of one line.

use std::fs;
use std::path::{Path, PathBuf};

use xtask::shell::{Command, Output, Shell};

mod audit_whole;
mod audits;
mod bases;
mod builder;
mod cache;
mod compares;
mod input;
mod places;
mod provision;
mod push;
mod sizes;
mod sqlite;
pub mod stops;
mod triples;
pub mod whole;
mod workflows;

/// Settings that are the repository's own.
const COPIED: [&str; 7] = [
    "xtask.toml",
    "rust-toolchain.toml",
    ".cargo/config.toml",
    "docker/Dockerfile",
    "docker/bases.toml",
    "docker/rootfs/etc/passwd",
    "docker/rootfs/etc/group",
];

/// Files that are the fixture's own.
const WRITTEN: [(&str, &str); 4] = [
    (
        "Cargo.toml",
        "[workspace]\nmembers = [\"app\"]\nresolver = \"3\"\n\n[workspace.package]\nversion = \"1.2.3\"\n\n\
         [profile.release]\nopt-level = 1\npanic = \"abort\"\nstrip = \"symbols\"\n",
    ),
    (
        "app/Cargo.toml",
        "[package]\nname = \"blog\"\nversion.workspace = true\nedition = \"2024\"\n",
    ),
    (
        "app/src/main.rs",
        "//! A server that does not serve.\nfn main() {\n    println!(\"ok\");\n}\n",
    ),
    (
        "Cargo.lock",
        "version = 4\n\n[[package]]\nname = \"blog\"\nversion = \"1.2.3\"\n",
    ),
];

/// A small workspace with the repository's settings.
pub struct Workspace {
    pub root: PathBuf,
    /// Removes it.
    _temp: Option<tempfile::TempDir>,
}

impl Workspace {
    /// In a temporary directory.
    pub fn new() -> Self {
        let temp = tempfile::tempdir().unwrap();
        let root = fs::canonicalize(temp.path()).unwrap().join("workspace");
        Workspace::at(root, Some(temp))
    }

    /// In a directory that may hold one already: what is there and equal keeps its time, so that cargo has nothing to do.
    fn at(root: PathBuf, temp: Option<tempfile::TempDir>) -> Self {
        Workspace::with(root, temp, &[])
    }

    /// The same with other files, which stand in for those of their names.
    pub fn at_with(root: PathBuf, files: &[(&str, &str)]) -> Self {
        Workspace::with(root, None, files)
    }

    fn with(root: PathBuf, temp: Option<tempfile::TempDir>, files: &[(&str, &str)]) -> Self {
        let workspace = Workspace { root, _temp: temp };
        for path in COPIED {
            let repository = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
            workspace.write(path, &fs::read_to_string(repository.join(path)).unwrap());
        }
        let own = WRITTEN
            .iter()
            .filter(|(path, _)| files.iter().all(|(other, _)| path != other));
        for (path, text) in own.chain(files) {
            workspace.write(path, text);
        }
        workspace
    }

    /// A path in it, or beside it (`../bin`).
    pub fn path(&self, path: &str) -> PathBuf {
        match path.strip_prefix("../") {
            Some(beside) => self.root.parent().unwrap().join(beside),
            None => self.root.join(path),
        }
    }

    fn read(&self, path: &str) -> String {
        fs::read_to_string(self.path(path)).unwrap()
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.path(path);
        if fs::read_to_string(&path).is_ok_and(|old| old == text) {
            return;
        }
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// Replaces `from`, which must be there, in a file.
    fn edit(&self, path: &str, from: &str, to: &str) {
        let text = self.read(path);
        assert!(text.contains(from), "{path} has no `{from}`");
        self.write(path, &text.replacen(from, to, 1));
    }

    /// Another budget for the base scratch, in the place of what xtask.toml says.
    fn set_budget(&self, budget: &str) {
        let text = self.read("xtask.toml");
        let (before, table) = text.split_once("\n[budget]\nscratch = ").unwrap();
        let (_, after) = table.split_once('\n').unwrap();
        self.write(
            "xtask.toml",
            &format!("{before}\n[budget]\nscratch = {budget}\n{after}"),
        );
    }

    /// `cargo xtask ARGS`, with a cache of its own beside the workspace, offline, and without what the caller's environment says.
    pub fn xtask(&self, args: &[&str]) -> Command {
        xtask(&self.root, args)
            .env("XTASK_CACHE_DIR", self.path("../cache"))
            .arg("--offline")
    }

    /// `text` with the paths of this machine replaced.
    fn plain(&self, text: &str) -> String {
        let outside = self.root.parent().unwrap().display().to_string();
        text.replace(&self.root.display().to_string(), "[workspace]")
            .replace(&outside, "[outside]")
    }

    /// Runs what must be refused: exit code 2 and nothing on stdout. Returns stderr.
    #[track_caller]
    pub fn refused(&self, args: &[&str]) -> String {
        self.plain(&refused(&self.xtask(args)))
    }
}

/// The program in `dir`.
pub fn xtask(dir: &Path, args: &[&str]) -> Command {
    Shell::default()
        .command(env!("CARGO_BIN_EXE_xtask"))
        .args(args)
        .current_dir(dir)
        .env_remove("SOURCE_DATE_EPOCH")
        .env_remove("DOCKER_HOST")
        .env("XTASK_BUILDER", "host")
        // The directories above may be somebody's repository.
        .env("GIT_CEILING_DIRECTORIES", dir.parent().unwrap_or(dir))
        .env("LC_ALL", "C")
}

/// How the run ended; a panic or a signal is none of the three ways.
#[track_caller]
pub fn code(output: &Output) -> i32 {
    let code = output.status.code();
    assert!(
        matches!(code, Some(0..=2)),
        "{:?}\n{}\n{}",
        output.status,
        output.text(),
        output.error_text()
    );
    code.unwrap()
}

#[track_caller]
fn refused(command: &Command) -> String {
    let output = command.output().unwrap();
    assert_eq!(code(&output), 2, "{}\n{}", output.text(), output.error_text());
    assert_eq!(output.text(), "", "stdout is for results");
    output.error_text()
}

#[track_caller]
fn fine(command: &Command) -> String {
    let output = command.output().unwrap();
    assert_eq!(code(&output), 0, "{}\n{}", output.text(), output.error_text());
    output.text()
}

/// Every path below `dir` with what it is: type, size, time and content. Empty when there is no such directory.
fn snapshot(dir: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut todo = vec![dir.to_owned()];
    while let Some(path) = todo.pop() {
        let Ok(data) = path.symlink_metadata() else { continue };
        let content = if data.is_file() {
            fs::read(&path).unwrap()
        } else {
            Vec::new()
        };
        found.push(format!(
            "{} {:?} {:?} {}",
            path.display(),
            data.file_type(),
            data.modified().unwrap(),
            xtask::oci::Digest::of(&content)
        ));
        if data.is_dir() {
            todo.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        }
    }
    found.sort();
    found
}

/// An executable file.
fn script(path: &Path, text: &str) {
    use std::os::unix::fs::PermissionsExt;
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}
