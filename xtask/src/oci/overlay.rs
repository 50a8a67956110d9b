//! Which file of which layer a path shows, for images of others: names only, so that an image of any size fits.
//!
//! [`super::Tree`] holds contents and refuses what an image of ours may not have. Here a layer may go through a symbolic
//! link of a lower one; the names are kept as they are written, which is what a report shows.

use std::collections::{BTreeMap, HashMap};

/// How many symbolic links a path may lead through (the kernel's limit).
const LINKS: usize = 40;

/// What is at a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Node {
    /// A file, by a number that the caller gave it.
    File(usize),
    /// A directory.
    Directory,
    /// A symbolic link.
    Symlink(String),
    /// Something else.
    Other,
}

/// A change that a layer makes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Puts something there.
    Put(Node),
    /// Another name for what this layer has at that path.
    Link(String),
    /// Removes what lower layers have there.
    Whiteout,
    /// Empties the directory of what lower layers have in it.
    Opaque,
}

/// The names of a stack of layers.
#[derive(Clone, Debug, Default)]
pub struct Overlay {
    nodes: BTreeMap<String, Node>,
    names: HashMap<usize, usize>,
    hidden: BTreeMap<usize, usize>,
}

impl Overlay {
    /// Puts one more layer on top, numbered from 1 as people count them. Whiteouts act on lower layers alone, wherever in the
    /// layer they stand.
    pub fn apply(&mut self, layer: usize, changes: Vec<(String, Change)>) {
        for (path, change) in &changes {
            match change {
                Change::Whiteout => {
                    self.remove(path, layer);
                    self.remove_below(path, layer);
                }
                Change::Opaque => self.remove_below(path, layer),
                _ => {}
            }
        }
        for (path, change) in changes {
            match change {
                Change::Put(node) => self.put(path, node, layer),
                Change::Link(target) => {
                    let node = self.nodes.get(&target).cloned().unwrap_or(Node::Other);
                    self.put(path, node, layer);
                }
                Change::Whiteout | Change::Opaque => {}
            }
        }
    }

    fn put(&mut self, path: String, node: Node, layer: usize) {
        if let Node::File(number) = node {
            *self.names.entry(number).or_default() += 1;
        }
        if node != Node::Directory {
            self.remove_below(&path, layer);
        }
        self.remove(&path, layer);
        self.nodes.insert(path, node);
    }

    fn remove(&mut self, path: &str, layer: usize) {
        if let Some(Node::File(number)) = self.nodes.remove(path)
            && let Some(names) = self.names.get_mut(&number)
        {
            *names -= 1;
            if *names == 0 {
                self.hidden.insert(number, layer);
            }
        }
    }

    fn remove_below(&mut self, path: &str, layer: usize) {
        let inside = format!("{path}/");
        let below: Vec<String> = match path {
            "" => self.nodes.keys().cloned().collect(),
            _ => self
                .nodes
                .range(inside.clone()..)
                .map(|(path, _)| path)
                .take_while(|path| path.starts_with(&inside))
                .cloned()
                .collect(),
        };
        for path in below {
            self.remove(&path, layer);
        }
    }

    /// The layer that hides a file, when no name of it is left.
    pub fn hidden_by(&self, number: usize) -> Option<usize> {
        self.hidden.get(&number).copied()
    }

    /// What lies at exactly this path.
    pub fn get(&self, path: &str) -> Option<&Node> {
        self.nodes.get(path)
    }

    /// Whether the path is a directory, said or implied by what lies below it.
    pub fn is_directory(&self, path: &str) -> bool {
        match self.nodes.get(path) {
            Some(node) => *node == Node::Directory,
            None => {
                let inside = format!("{path}/");
                path.is_empty()
                    || self
                        .nodes
                        .range(inside.clone()..)
                        .next()
                        .is_some_and(|(found, _)| found.starts_with(&inside))
            }
        }
    }

    /// Follows symbolic links as a program inside the image would: absolute targets start at the root, `..` stops there. `None`
    /// for a loop. What does not exist is kept as it is.
    pub fn resolve(&self, path: &str) -> Option<String> {
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
            if let Some(Node::Symlink(target)) = self.nodes.get(&done.join("/")) {
                links += 1;
                if links > LINKS {
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

    fn put(path: &str, number: usize) -> (String, Change) {
        (path.to_owned(), Change::Put(Node::File(number)))
    }

    #[test]
    fn a_file_is_hidden_when_its_last_name_is_gone() {
        let mut overlay = Overlay::default();
        overlay.apply(
            1,
            vec![
                put("usr/lib/a", 0),
                ("usr/lib/b".to_owned(), Change::Link("usr/lib/a".to_owned())),
                put("usr/lib/c", 1),
                put("opt/d", 2),
            ],
        );
        // The whiteout stands after the file of its own layer, and does not act on it.
        overlay.apply(
            2,
            vec![
                put("usr/lib/a", 3),
                put("opt/e", 4),
                ("opt/e".to_owned(), Change::Whiteout),
            ],
        );
        assert_eq!((overlay.hidden_by(0), overlay.hidden_by(4)), (None, None));
        overlay.apply(3, vec![("usr/lib".to_owned(), Change::Opaque), put("opt", 5)]);
        assert_eq!(
            [0, 1, 2, 3, 4, 5].map(|file| overlay.hidden_by(file)),
            [Some(3), Some(3), Some(3), Some(3), Some(3), None]
        );
    }

    #[test]
    fn links_are_followed_and_loops_end() {
        let mut overlay = Overlay::default();
        let link = |path: &str, target: &str| (path.to_owned(), Change::Put(Node::Symlink(target.to_owned())));
        overlay.apply(
            1,
            vec![
                put("usr/bin/dash", 0),
                link("bin", "usr/bin"),
                link("usr/bin/sh", "/bin/dash"),
                link("loop", "loop"),
            ],
        );
        assert_eq!(overlay.resolve("/bin/sh").as_deref(), Some("usr/bin/dash"));
        assert_eq!(overlay.resolve("/../usr/./bin/sh").as_deref(), Some("usr/bin/dash"));
        assert_eq!(overlay.resolve("/loop"), None);
    }
}
