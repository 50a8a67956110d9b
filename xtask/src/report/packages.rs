//! Which package a file of an image belongs to, as the package databases inside the image say.
//!
//! dpkg: `var/lib/dpkg/status` with `info/*.list`, or `status.d/*` with `*.md5sums` as images without dpkg have them. apk:
//! `installed`, in either of its two places. What no database names belongs to none.

use std::collections::BTreeMap;

use crate::oci::Tree;
use crate::oci::layer::EntryKind;

const STATUS: &str = "var/lib/dpkg/status";
const STATUS_D: &str = "var/lib/dpkg/status.d/";
const INFO: &str = "var/lib/dpkg/info/";
/// apk-tools 3 moved it below `usr` (Alpine 3.22 and later, on merged-/usr systems).
const APK: [&str; 2] = ["lib/apk/db/installed", "usr/lib/apk/db/installed"];

/// Name and version of an installed package.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Installed {
    /// Name: `libc6`.
    pub name: String,
    /// Version: `2.41-12`.
    pub version: String,
}

/// The packages of a tree and the files they own.
#[derive(Clone, Debug, Default)]
pub struct Owners {
    packages: Vec<Installed>,
    by_path: BTreeMap<String, usize>,
}

impl Owners {
    /// Reads the databases of a tree. A line that makes no sense names no file.
    pub fn of(tree: &Tree) -> Owners {
        let mut owners = Owners::default();
        owners.dpkg(tree);
        for path in APK {
            if let Some(text) = text(tree, path) {
                owners.apk(tree, &text);
            }
        }
        owners
    }

    /// The package that a path belongs to.
    pub fn owner(&self, path: &str) -> Option<&Installed> {
        self.by_path.get(path).map(|index| &self.packages[*index])
    }

    fn add(&mut self, name: &str, version: &str) -> usize {
        self.packages.push(Installed {
            name: name.to_owned(),
            version: version.to_owned(),
        });
        self.packages.len() - 1
    }

    /// A file, as the database spells it; directories are shared by many packages and belong to none.
    fn own(&mut self, tree: &Tree, path: &str, package: usize) {
        let Some(path) = tree.resolve(path, false) else { return };
        if tree.get(&path).is_some_and(|entry| entry.kind != EntryKind::Directory) {
            self.by_path.entry(path).or_insert(package);
        }
    }

    fn dpkg(&mut self, tree: &Tree) {
        for stanza in text(tree, STATUS).unwrap_or_default().split("\n\n") {
            let field = |name| field(stanza, name);
            let (Some(name), Some(version)) = (field("Package"), field("Version")) else {
                continue;
            };
            if !field("Status").is_none_or(|status| status.ends_with(" installed")) {
                continue;
            }
            let package = self.add(name, version);
            let architecture = field("Architecture").unwrap_or_default();
            for stem in [format!("{INFO}{name}"), format!("{INFO}{name}:{architecture}")] {
                for path in text(tree, &format!("{stem}.list")).unwrap_or_default().lines() {
                    self.own(tree, path, package);
                }
                // What dpkg and the maintainer scripts keep about the package.
                for kind in [
                    "list",
                    "md5sums",
                    "conffiles",
                    "preinst",
                    "postinst",
                    "prerm",
                    "postrm",
                    "triggers",
                    "symbols",
                    "shlibs",
                ] {
                    self.own(tree, &format!("{stem}.{kind}"), package);
                }
            }
        }
        let stanzas: Vec<(String, String)> = tree
            .entries()
            .filter_map(|entry| Some((entry.path.strip_prefix(STATUS_D)?, &entry.path)))
            .filter(|(name, _)| !name.contains('/') && !name.ends_with(".md5sums"))
            .filter_map(|(_, path)| Some((path.clone(), text(tree, path)?)))
            .collect();
        for (path, stanza) in stanzas {
            let (Some(name), Some(version)) = (field(&stanza, "Package"), field(&stanza, "Version")) else {
                continue;
            };
            let package = self.add(name, version);
            let sums = format!("{path}.md5sums");
            for line in text(tree, &sums).unwrap_or_default().lines() {
                if let Some((_, file)) = line.split_once("  ") {
                    self.own(tree, file, package);
                }
            }
            self.own(tree, &path, package);
            self.own(tree, &sums, package);
        }
    }

    fn apk(&mut self, tree: &Tree, installed: &str) {
        for stanza in installed.split("\n\n") {
            let line = |key: &str| stanza.lines().find_map(|line| line.strip_prefix(key));
            let (Some(name), Some(version)) = (line("P:"), line("V:")) else {
                continue;
            };
            let package = self.add(name, version);
            let mut directory = "";
            for line in stanza.lines() {
                if let Some(path) = line.strip_prefix("F:") {
                    directory = path;
                } else if let Some(file) = line.strip_prefix("R:") {
                    self.own(tree, &format!("{directory}/{file}"), package);
                }
            }
        }
    }
}

fn field<'a>(stanza: &'a str, name: &str) -> Option<&'a str> {
    stanza
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(':').map(str::trim))
}

fn text(tree: &Tree, path: &str) -> Option<String> {
    let path = tree.resolve(path, true)?;
    match &tree.get(&path)?.kind {
        EntryKind::File(bytes) => Some(String::from_utf8_lossy(bytes).into_owned()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oci::layer::Entry;

    fn owners(entries: Vec<Entry>) -> Owners {
        let mut tree = Tree::default();
        tree.apply(entries).unwrap();
        Owners::of(&tree)
    }

    fn name<'a>(owners: &'a Owners, path: &str) -> Option<&'a str> {
        owners.owner(path).map(|package| package.name.as_str())
    }

    #[test]
    fn dpkg_names_files_by_list_and_through_links_of_directories() {
        let status = "Package: libc6\nStatus: install ok installed\nArchitecture: armel\nVersion: 2.41-12\n\n\
                      Package: gone\nStatus: deinstall ok config-files\nVersion: 1\n";
        let owners = owners(vec![
            Entry::file("etc/other", "x", 0o644),
            Entry::symlink("lib", "usr/lib"),
            Entry::directory("usr/lib", 0o755),
            Entry::file("usr/lib/libc.so.6", "x", 0o644),
            Entry::file(
                "var/lib/dpkg/info/libc6:armel.list",
                "/.\n/lib\n/lib/libc.so.6\n/usr/lib\n",
                0o644,
            ),
            Entry::file("var/lib/dpkg/status", status, 0o644),
        ]);
        assert_eq!(owners.packages.len(), 1);
        assert_eq!(name(&owners, "usr/lib/libc.so.6"), Some("libc6"));
        assert_eq!(name(&owners, "var/lib/dpkg/info/libc6:armel.list"), Some("libc6"));
        assert_eq!((name(&owners, "usr/lib"), name(&owners, "etc/other")), (None, None));
        assert_eq!(
            name(&owners, "lib"),
            Some("libc6"),
            "the link itself is a file of the package"
        );
    }

    #[test]
    fn images_without_dpkg_are_read_by_their_md5sums() {
        let owners = owners(vec![
            Entry::file("etc/protocols", "x", 0o644),
            Entry::file(
                "var/lib/dpkg/status.d/netbase",
                "Package: netbase\nVersion: 6.5\n",
                0o644,
            ),
            Entry::file(
                "var/lib/dpkg/status.d/netbase.md5sums",
                "0123  etc/protocols\nnonsense\n",
                0o644,
            ),
        ]);
        assert_eq!(
            owners.packages,
            [Installed {
                name: "netbase".into(),
                version: "6.5".into()
            }]
        );
        for path in [
            "etc/protocols",
            "var/lib/dpkg/status.d/netbase",
            "var/lib/dpkg/status.d/netbase.md5sums",
        ] {
            assert_eq!(name(&owners, path), Some("netbase"), "{path}");
        }
    }

    #[test]
    fn apk_names_directories_once_and_files_below_them() {
        let installed = "C:Q1x\nP:musl\nV:1.2.5-r10\nF:lib\nR:ld-musl-armhf.so.1\na:0:0:755\nR:libc.musl-armhf.so.1\n\n\
                         P:busybox\nV:1.37.0-r12\nF:bin\nR:busybox\nF:\nR:at-the-root\n";
        for place in APK {
            let owners = owners(vec![
                Entry::file("at-the-root", "x", 0o644),
                Entry::file("bin/busybox", "x", 0o755),
                Entry::file("lib/ld-musl-armhf.so.1", "x", 0o755),
                Entry::symlink("lib/libc.musl-armhf.so.1", "ld-musl-armhf.so.1"),
                Entry::file(place, installed, 0o644),
            ]);
            assert_eq!(name(&owners, "lib/ld-musl-armhf.so.1"), Some("musl"));
            assert_eq!(name(&owners, "lib/libc.musl-armhf.so.1"), Some("musl"));
            assert_eq!(name(&owners, "bin/busybox"), Some("busybox"));
            assert_eq!(name(&owners, "at-the-root"), Some("busybox"));
        }
    }
}
