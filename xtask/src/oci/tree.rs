//! The file system that a stack of layers makes: whiteouts applied, later layers over earlier ones.

use std::collections::BTreeMap;

use super::layer::{Entry, EntryKind, Layer, LayerError, Limits, parents};

/// How many symbolic links a path may lead through (the kernel's limit).
const LINKS: usize = 40;

/// A file system tree by path, sorted bytewise. Hard links of the layers are files of their own here, so that replacing one name
/// leaves the other alone, as it does in an engine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tree {
    entries: BTreeMap<String, Entry>,
}

impl Tree {
    /// The tree of these layers, lowest first.
    pub fn from_layers<'a>(layers: impl IntoIterator<Item = &'a Layer>, limits: &Limits) -> Result<Tree, LayerError> {
        let mut tree = Tree::default();
        for layer in layers {
            tree.apply(layer.entries(limits)?)?;
        }
        Ok(tree)
    }

    /// Puts one more layer on top.
    pub fn apply(&mut self, layer: Vec<Entry>) -> Result<(), LayerError> {
        for entry in &layer {
            match entry.kind {
                EntryKind::Whiteout => self.remove(&entry.path),
                EntryKind::OpaqueDirectory => self.remove_below(&entry.path),
                _ => {}
            }
        }
        for mut entry in layer {
            match &entry.kind {
                EntryKind::Whiteout | EntryKind::OpaqueDirectory => continue,
                // The reader made sure that it names a file of this layer, which has just been put here.
                EntryKind::Hardlink(target) => {
                    if let Some(file) = self.get(target) {
                        entry.kind = file.kind.clone();
                    }
                }
                _ => {}
            }
            self.insert(entry)?;
        }
        Ok(())
    }

    /// Puts one entry in place of what was there. A directory keeps its content when a directory takes its place.
    pub fn insert(&mut self, entry: Entry) -> Result<(), LayerError> {
        for parent in parents(&entry.path) {
            if let Some(above) = self.entries.get(parent)
                && above.kind != EntryKind::Directory
            {
                return Err(LayerError::BelowNonDirectory {
                    path: entry.path.clone(),
                    parent: parent.to_owned(),
                    what: above.kind.describe(),
                });
            }
        }
        if entry.kind != EntryKind::Directory {
            self.remove_below(&entry.path);
        }
        self.entries.insert(entry.path.clone(), entry);
        Ok(())
    }

    fn remove(&mut self, path: &str) {
        self.entries.remove(path);
        self.remove_below(path);
    }

    fn remove_below(&mut self, path: &str) {
        let inside = format!("{path}/");
        let below: Vec<String> = self
            .entries
            .range(inside.clone()..)
            .map(|(path, _)| path)
            .take_while(|path| path.starts_with(&inside))
            .cloned()
            .collect();
        for path in below {
            self.entries.remove(&path);
        }
    }

    /// What lies at exactly this path.
    pub fn get(&self, path: &str) -> Option<&Entry> {
        self.entries.get(path)
    }

    /// Everything, sorted bytewise by path, so that directories come before their content.
    pub fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.entries.values()
    }

    /// Whether the path is a directory: described, implied by what lies below it, or the root (`""`).
    pub fn is_directory(&self, path: &str) -> bool {
        match self.entries.get(path) {
            Some(entry) => entry.kind == EntryKind::Directory,
            None => {
                let inside = format!("{path}/");
                path.is_empty()
                    || self
                        .entries
                        .range(inside.clone()..)
                        .next()
                        .is_some_and(|(found, _)| found.starts_with(&inside))
            }
        }
    }

    /// Follows the symbolic links of a path as a program inside the image would: absolute targets start at the root, `..` stops
    /// there. What does not exist is kept as it is. With `last`, the last component is followed as well. `None` for a loop.
    pub fn resolve(&self, path: &str, last: bool) -> Option<String> {
        let mut todo: Vec<String> = path.split('/').rev().map(str::to_owned).collect();
        let mut done: Vec<String> = Vec::new();
        let mut links = 0;
        while let Some(part) = todo.pop() {
            match part.as_str() {
                "" | "." => continue,
                ".." => {
                    done.pop();
                    continue;
                }
                _ => done.push(part),
            }
            let more = todo.iter().any(|part| !matches!(part.as_str(), "" | "."));
            if !(last || more) {
                continue;
            }
            if let Some(EntryKind::Symlink(target)) = self.entries.get(&done.join("/")).map(|entry| &entry.kind) {
                links += 1;
                if links > LINKS || todo.len() > 4096 {
                    return None;
                }
                done.pop();
                if target.starts_with('/') {
                    done.clear();
                }
                todo.extend(target.split('/').rev().map(str::to_owned));
            }
        }
        Some(done.join("/"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(entries: Vec<Entry>) -> Tree {
        let mut tree = Tree::default();
        tree.apply(entries).unwrap();
        tree
    }

    #[test]
    fn upper_layers_replace_remove_and_empty() {
        let mut tree = tree(vec![
            Entry::directory("d", 0o700),
            Entry::file("d/a", "a", 0o644),
            Entry::file("d/sub/b", "b", 0o644),
            Entry::directory("e", 0o755),
            Entry::file("e/c", "c", 0o644),
            Entry::file("f", "f", 0o644),
            Entry::new("g", EntryKind::Hardlink("f".to_owned()), 0o644),
        ]);
        tree.apply(vec![
            Entry::file("e/new", "n", 0o644),
            Entry::new("e", EntryKind::OpaqueDirectory, 0),
            Entry::new("d/sub", EntryKind::Whiteout, 0),
            Entry::file("f", "changed", 0o644),
        ])
        .unwrap();
        let paths: Vec<&str> = tree.entries().map(|entry| entry.path.as_str()).collect();
        assert_eq!(paths, ["d", "d/a", "e", "e/new", "f", "g"]);
        assert_eq!(tree.get("g").unwrap().kind, EntryKind::File(b"f".to_vec()));
        tree.apply(vec![Entry::file("d", "now a file", 0o644)]).unwrap();
        assert!(tree.get("d/a").is_none());
        assert!(tree.apply(vec![Entry::file("d/x", "", 0o644)]).is_err());
    }

    #[test]
    fn links_are_followed_as_inside_the_image() {
        let tree = tree(vec![
            Entry::symlink("lib", "usr/lib"),
            Entry::symlink("var/run", "/run"),
            Entry::symlink("usr/lib/x", "../share/x"),
            Entry::symlink("usr/out", "/../../etc"),
            Entry::symlink("loop", "loop/a"),
            Entry::directory("run", 0o755),
        ]);
        let resolve = |path| tree.resolve(path, true);
        assert_eq!(resolve("lib/a").as_deref(), Some("usr/lib/a"));
        assert_eq!(resolve("var/run/a/../b/").as_deref(), Some("run/b"));
        assert_eq!(resolve("lib/x/y").as_deref(), Some("usr/share/x/y"));
        assert_eq!(resolve("usr/out/passwd").as_deref(), Some("etc/passwd"));
        assert_eq!(resolve("lib").as_deref(), Some("usr/lib"));
        assert_eq!(tree.resolve("lib", false).as_deref(), Some("lib"));
        assert_eq!(resolve("loop"), None);
        assert_eq!(resolve("").as_deref(), Some(""));
        assert!(tree.is_directory("") && tree.is_directory("usr") && !tree.is_directory("lib"));
    }
}
