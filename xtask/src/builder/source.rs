//! The source that is sent to the engine: what neither .dockerignore nor git leaves out, as a tar without times and owners, so that
//! equal source is equal bytes.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::path::Path;

use super::ignore::Ignore;
use crate::context;
use crate::cx::Cx;
use crate::error::{Context, Error, Result};
use crate::oci::Digest;
use crate::oci::digest::DigestWriter;
use crate::oci::layer::{Entry, EntryKind, write_tar};

/// Entries below `context/`, sorted, and what names their content.
#[derive(Clone, Debug)]
pub struct Source {
    /// What is sent.
    pub entries: Vec<Entry>,
    /// Digest of paths, modes and contents.
    pub digest: Digest,
}

impl Source {
    /// Reads the workspace.
    ///
    /// # Errors
    /// When a file cannot be read, or nothing is left to be sent.
    pub fn read(cx: &Cx) -> Result<Source> {
        let ignore = match fs::read_to_string(cx.root.join(".dockerignore")) {
            Ok(text) => Ignore::parse(&text),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ignore::default(),
            Err(error) => return Err(Error::from(error).context("cannot read .dockerignore")),
        };
        let names = match known_to_git(cx) {
            Some(names) => names,
            None => walk(&cx.root, &ignore)?,
        };
        let mut sieve = ignore.sieve();
        let mut entries = vec![Entry::directory("context", 0o755)];
        let mut directories: BTreeSet<&str> = BTreeSet::new();
        for name in names.iter().filter(|name| !sieve.excludes(name)) {
            let file = context::file(&cx.root.join(name)).map_err(|error| Error::new(format!("{name}: {error}")))?;
            // A file that git knows and somebody deleted, or a repository in this one.
            let Some((kind, mode)) = file else {
                continue;
            };
            directories.extend(name.match_indices('/').map(|(at, _)| &name[..at]));
            entries.push(Entry::new(format!("context/{name}"), kind, mode));
        }
        entries.extend(
            directories
                .into_iter()
                .map(|path| Entry::directory(format!("context/{path}"), 0o755)),
        );
        if !entries.iter().any(|entry| entry.path == "context/Cargo.toml") {
            return Err(
                Error::new("the source has no Cargo.toml, so the builder would have nothing to compile")
                    .hint("does .dockerignore or .gitignore leave it out?"),
            );
        }
        entries.sort_by(|a, b| a.path.cmp(&b.path));
        let digest = digest(&entries)?;
        Ok(Source { entries, digest })
    }
}

/// Names what the tar of these entries would say, without writing it.
fn digest(entries: &[Entry]) -> Result<Digest> {
    let mut out = DigestWriter::new(std::io::sink());
    for entry in entries {
        let (kind, bytes): (_, &[u8]) = match &entry.kind {
            EntryKind::File(bytes) => ("file", bytes),
            EntryKind::Symlink(target) => ("link", target.as_bytes()),
            _ => ("other", &[]),
        };
        // No path has a NUL; the length says where the content ends.
        let head = format!("{}\0{kind} {:o} {}\0", entry.path, entry.mode, bytes.len());
        out.write_all(head.as_bytes())?;
        out.write_all(bytes)?;
    }
    Ok(out.finish().0)
}

/// A tar of entries.
pub fn tar(entries: &[Entry]) -> Result<Vec<u8>> {
    Ok(write_tar(entries, Vec::new())?)
}

/// A file for a tar, with the directories above it.
pub fn with_parents(path: &str, bytes: Vec<u8>, mode: u32) -> Vec<Entry> {
    let mut entries: Vec<Entry> = path
        .match_indices('/')
        .map(|(at, _)| Entry::directory(&path[..at], 0o755))
        .collect();
    entries.push(Entry::new(path, EntryKind::File(bytes), mode));
    entries
}

/// Tracked files, and new ones that are not ignored; `None` where git does not answer.
fn known_to_git(cx: &Cx) -> Option<Vec<String>> {
    let list = cx
        .shell
        .command("git")
        .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
        .current_dir(&cx.root)
        .read()
        .ok()?;
    let names: Vec<String> = list
        .split('\0')
        .filter(|name| !name.is_empty())
        .map(str::to_owned)
        .collect();
    // A workspace inside somebody's repository that ignores it.
    names.iter().any(|name| name == "Cargo.toml").then_some(names)
}

fn walk(root: &Path, ignore: &Ignore) -> Result<Vec<String>> {
    let mut found = Vec::new();
    let mut todo = vec![String::new()];
    while let Some(below) = todo.pop() {
        let dir = root.join(&below);
        for entry in fs::read_dir(&dir).context(|| format!("cannot read {}", dir.display()))? {
            let entry = entry?;
            let name = entry
                .file_name()
                .into_string()
                .map_err(|name| Error::new(format!("{name:?} in {} is not UTF-8", dir.display())))?;
            let path = if below.is_empty() {
                name
            } else {
                format!("{below}/{name}")
            };
            if !entry.file_type()?.is_dir() {
                found.push(path);
            } else if path != ".git" && path != "target" && !ignore.prunes(&path) {
                todo.push(path);
            }
        }
    }
    Ok(found)
}
