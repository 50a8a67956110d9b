//! `COPY`: from a source into a tree, as Docker does it.

use std::collections::{BTreeMap, BTreeSet};

use crate::oci::dockerfile::Copy;
use crate::oci::layer::{Compressed, Entry, EntryKind, Layer, LayerBuilder, LayerError, parents};
use crate::oci::tree::Tree;

use super::assemble::AssembleError;

/// One object that a `COPY` source names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceFile {
    /// Relative to the source that was asked for; empty for the source itself.
    pub path: String,
    /// File, directory or symbolic link.
    pub kind: EntryKind,
    /// Permission bits. Only "executable or not" counts: the rest is an accident of the checkout.
    pub mode: u32,
}

/// Where `COPY` takes files from: the build context and the stages or named contexts of `--from`.
pub trait CopySource {
    /// What `source` (relative, normalised, empty for all of it) names in `from` (`None` is the build context): one file with an
    /// empty path, or a directory with an empty path and all below it, in any order. The error says why there is nothing, in
    /// words that follow "COPY SOURCE: ".
    fn files(&self, from: Option<&str>, source: &str) -> Result<Vec<SourceFile>, String>;
}

/// Files in memory as a [`CopySource`]: the virtual stage `compile`, and tests.
#[derive(Clone, Debug, Default)]
pub struct MemoryFiles {
    files: BTreeMap<(Option<String>, String), (EntryKind, u32)>,
}

impl MemoryFiles {
    /// Adds an object to the context `from`. Directories above it need not be added.
    #[must_use]
    pub fn with(mut self, from: Option<&str>, path: &str, kind: EntryKind, mode: u32) -> Self {
        let path = path.trim_matches('/').to_owned();
        self.files.insert((from.map(str::to_owned), path), (kind, mode));
        self
    }

    /// Whether anything was added for this context.
    pub fn knows(&self, from: Option<&str>) -> bool {
        self.files.keys().any(|(context, _)| context.as_deref() == from)
    }
}

impl CopySource for MemoryFiles {
    fn files(&self, from: Option<&str>, source: &str) -> Result<Vec<SourceFile>, String> {
        let inside = if source.is_empty() {
            String::new()
        } else {
            format!("{source}/")
        };
        let mut found: Vec<SourceFile> = Vec::new();
        for ((context, path), (kind, mode)) in &self.files {
            let below = path.strip_prefix(&inside).filter(|below| !below.is_empty());
            let relative = if path == source { Some("") } else { below };
            if let Some(relative) = relative.filter(|_| context.as_deref() == from) {
                found.push(SourceFile {
                    path: relative.to_owned(),
                    kind: kind.clone(),
                    mode: *mode,
                });
            }
        }
        if found.is_empty() {
            return Err(match from {
                Some(from) if !self.knows(Some(from)) => format!("there is no stage or build context `{from}`"),
                Some(from) => format!("`{from}` has no such file"),
                None => "the build context has no such file".to_owned(),
            });
        }
        // The directories that nobody added: all above what was found, and the source itself.
        let above = |file: &SourceFile| parents(&file.path).map(str::to_owned).collect::<Vec<_>>();
        let mut implied: BTreeSet<String> = found.iter().flat_map(above).collect();
        implied.insert(String::new());
        for file in &found {
            implied.remove(&file.path);
        }
        found.extend(implied.into_iter().map(|path| SourceFile {
            path,
            kind: EntryKind::Directory,
            mode: 0o755,
        }));
        Ok(found)
    }
}

/// The tree of the image while it grows, and what our layer adds to it.
#[derive(Debug)]
pub(super) struct Placer {
    tree: Tree,
    added: BTreeMap<String, Entry>,
    time: u64,
}

impl Placer {
    pub(super) fn new(tree: Tree, time: u64) -> Self {
        Placer {
            tree,
            added: BTreeMap::new(),
            time,
        }
    }

    pub(super) fn tree(&self) -> &Tree {
        &self.tree
    }

    /// One layer of all that was added.
    pub(super) fn finish(self, created_by: String, compressed: Compressed<'_>) -> Result<Option<Layer>, LayerError> {
        if self.added.is_empty() {
            return Ok(None);
        }
        let mut builder = LayerBuilder::new(self.time);
        for entry in self.added.into_values() {
            builder.add(entry)?;
        }
        builder.finish_with(created_by, compressed).map(Some)
    }

    /// Carries out one `COPY`.
    pub(super) fn copy(&mut self, copy: &Copy, source: &dyn CopySource) -> Result<(), AssembleError> {
        for path in &copy.sources {
            let fail = |message: String| AssembleError::Copy {
                line: copy.line,
                path: match &copy.from {
                    Some(from) => format!("--from={from} {path}"),
                    None => path.clone(),
                },
                message,
            };
            let mut files = source.files(copy.from.as_deref(), path).map_err(&fail)?;
            files.sort_by(|a, b| a.path.cmp(&b.path));
            let Some(root) = files.first().filter(|file| file.path.is_empty()) else {
                return Err(fail("the source has no such file".to_owned()));
            };
            let directory = root.kind == EntryKind::Directory;
            if !directory && files.len() > 1 {
                return Err(fail("the source is a file and has files below it".to_owned()));
            }
            let mut target = self
                .tree
                .resolve(&copy.destination, true)
                .ok_or_else(|| fail(format!("{}: too many symbolic links", copy.destination)))?;
            let into = copy.destination.ends_with('/') || self.tree.is_directory(&target);
            if !directory && into {
                let name = path.rsplit('/').next().unwrap_or_default();
                target = if target.is_empty() {
                    name.to_owned()
                } else {
                    format!("{target}/{name}")
                };
            }
            for file in files {
                self.place(copy, &target, file).map_err(&fail)?;
            }
        }
        Ok(())
    }

    fn place(&mut self, copy: &Copy, target: &str, file: SourceFile) -> Result<(), String> {
        let whole = match (target, file.path.as_str()) {
            ("", path) => path.to_owned(),
            (target, "") => target.to_owned(),
            (target, path) => format!("{target}/{path}"),
        };
        let directory = file.kind == EntryKind::Directory;
        // A directory goes through a link to a directory (`/lib` of a merged /usr), a file takes the link's place.
        let path = self
            .tree
            .resolve(&whole, directory)
            .ok_or_else(|| format!("/{whole}: too many symbolic links"))?;
        if path.is_empty() {
            return Ok(());
        }
        self.open_parents(&path, copy.chown)?;
        let here = self.tree.get(&path);
        let exists = here.is_some_and(|entry| entry.kind == EntryKind::Directory);
        if here.is_some() && exists != directory {
            let what = here.map(|entry| entry.kind.describe()).unwrap_or_default();
            return Err(format!(
                "cannot put {} at /{path}, which is {what}",
                file.kind.describe()
            ));
        }
        let plain = match &file.kind {
            EntryKind::Symlink(_) => 0o777,
            EntryKind::File(_) if file.mode & 0o111 == 0 => 0o644,
            EntryKind::File(_) | EntryKind::Directory => 0o755,
            other => return Err(format!("/{path}: {} cannot be copied", other.describe())),
        };
        let mode = copy.chmod.filter(|_| plain != 0o777).unwrap_or(plain);
        let (uid, gid) = copy.chown.unwrap_or((0, 0));
        // What an image already has as a directory keeps its mode and owner (/tmp stays 1777), unless the flags say otherwise;
        // the destination itself keeps them in any case.
        if exists && (file.path.is_empty() || (copy.chown.is_none() && copy.chmod.is_none())) {
            return self.keep(&path);
        }
        let mut entry = Entry::new(path, file.kind, mode).owned_by(uid, gid);
        entry.mtime = self.time;
        self.put(entry)
    }

    /// The directories above `path`: those of the image as they are, missing ones new and of the owner that `--chown` names.
    fn open_parents(&mut self, path: &str, owner: Option<(u64, u64)>) -> Result<(), String> {
        let above: Vec<String> = parents(path).map(str::to_owned).collect();
        for parent in above.into_iter().rev() {
            if self.tree.get(&parent).is_some() {
                self.keep(&parent)?;
                continue;
            }
            let (uid, gid) = match owner {
                Some(owner) if !self.tree.is_directory(&parent) => owner,
                _ => (0, 0),
            };
            let mut directory = Entry::directory(parent, 0o755).owned_by(uid, gid);
            directory.mtime = self.time;
            self.put(directory)?;
        }
        Ok(())
    }

    /// Repeats a directory of the image in our layer, so that the layer says the same about it as those below.
    fn keep(&mut self, path: &str) -> Result<(), String> {
        if let Some(entry) = self.tree.get(path)
            && !self.added.contains_key(path)
        {
            self.added.insert(path.to_owned(), entry.clone());
        }
        Ok(())
    }

    fn put(&mut self, entry: Entry) -> Result<(), String> {
        self.tree.insert(entry.clone()).map_err(|error| error.to_string())?;
        self.added.insert(entry.path.clone(), entry);
        Ok(())
    }
}
