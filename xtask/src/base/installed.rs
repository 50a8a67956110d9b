//! What a root file system says of its packages: Alpine's `installed`, dpkg's `status`, and `status.d` of images without dpkg.
//! Pure. It is for names in messages and labels; what it does not understand is left out, and nothing is decided by it.

use std::collections::BTreeMap;

use crate::oci::image::Package;
use crate::oci::layer::EntryKind;
use crate::oci::tree::Tree;

/// Since Alpine 3.23 the second, with a link from the first.
const ALPINE: [&str; 2] = ["lib/apk/db/installed", "usr/lib/apk/db/installed"];
const DPKG: &str = "var/lib/dpkg/status";
const DPKG_LISTS: &str = "var/lib/dpkg/info/";
const DPKG_PARTS: &str = "var/lib/dpkg/status.d/";

/// The packages, sorted, and the package of each file that is there.
pub fn installed(tree: &Tree) -> (Vec<Package>, BTreeMap<String, String>) {
    let mut found = Installed {
        tree,
        packages: Vec::new(),
        owners: BTreeMap::new(),
    };
    if let Some(text) = ALPINE.iter().find_map(|path| found.text(path)) {
        found.alpine(&text);
    }
    if let Some(text) = found.text(DPKG) {
        found.dpkg(&text);
    }
    for entry in tree.entries() {
        let (list, end) = match (entry.path.strip_prefix(DPKG_LISTS), entry.path.strip_prefix(DPKG_PARTS)) {
            (Some(name), _) => (name, ".list"),
            (_, Some(name)) => (name, ".md5sums"),
            _ => continue,
        };
        let EntryKind::File(content) = &entry.kind else {
            continue;
        };
        let content = String::from_utf8_lossy(content);
        match list.strip_suffix(end) {
            Some(package) => {
                let package = package.split(':').next().unwrap_or(package);
                for line in content.lines() {
                    let path = line.split_once("  ").map_or(line, |(_, path)| path);
                    found.own(package, path);
                }
            }
            None if end == ".md5sums" => found.dpkg(&content),
            None => {}
        }
    }
    found.packages.sort();
    found.packages.dedup();
    (found.packages, found.owners)
}

struct Installed<'a> {
    tree: &'a Tree,
    packages: Vec<Package>,
    owners: BTreeMap<String, String>,
}

impl Installed<'_> {
    fn text(&self, path: &str) -> Option<String> {
        let path = self.tree.resolve(path, true)?;
        match &self.tree.get(&path)?.kind {
            EntryKind::File(bytes) => Some(String::from_utf8_lossy(bytes).into_owned()),
            _ => None,
        }
    }

    /// Notes the owner of a file or link, under the path where it lies: packages from before the merged /usr say /lib.
    fn own(&mut self, package: &str, path: &str) {
        let Some(path) = self.tree.resolve(path.trim_start_matches('/'), false) else {
            return;
        };
        if self
            .tree
            .get(&path)
            .is_some_and(|entry| entry.kind != EntryKind::Directory)
        {
            self.owners.entry(path).or_insert_with(|| package.to_owned());
        }
    }

    /// apk-tools' database: a stanza a package, `P` name, `V` version, `A` architecture, `F` directory, `R` file in it.
    fn alpine(&mut self, text: &str) {
        for stanza in text.split("\n\n") {
            let field = |key: &str| {
                stanza
                    .lines()
                    .find_map(|line| line.strip_prefix(key))
                    .map(str::to_owned)
            };
            let (Some(name), Some(version)) = (field("P:"), field("V:")) else {
                continue;
            };
            let mut directory = "";
            for line in stanza.lines() {
                if let Some(path) = line.strip_prefix("F:") {
                    directory = path;
                } else if let Some(file) = line.strip_prefix("R:") {
                    self.own(&name, &format!("{directory}/{file}"));
                }
            }
            self.packages.push(Package {
                name,
                version,
                architecture: field("A:").unwrap_or_default(),
            });
        }
    }

    fn dpkg(&mut self, text: &str) {
        for stanza in text.split("\n\n") {
            let field = |key: &str| {
                let value = stanza
                    .lines()
                    .find_map(|line| line.strip_prefix(key)?.strip_prefix(':'));
                value.map(|value| value.trim().to_owned())
            };
            let there = field("Status").is_none_or(|status| status.ends_with(" installed"));
            if let (Some(name), Some(version), true) = (field("Package"), field("Version"), there) {
                self.packages.push(Package {
                    name,
                    version,
                    architecture: field("Architecture").unwrap_or_default(),
                });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oci::layer::Entry;

    fn tree(files: &[(&str, &str)]) -> Tree {
        let mut tree = Tree::default();
        tree.insert(Entry::directory("usr/lib", 0o755)).unwrap();
        tree.insert(Entry::symlink("lib", "usr/lib")).unwrap();
        for (path, content) in files {
            tree.insert(Entry::file(*path, *content, 0o644)).unwrap();
        }
        tree
    }

    #[test]
    fn alpines_database() {
        let text = "C:Q1abc=\nP:musl\nV:1.2.5-r21\nA:armhf\nF:lib\nR:ld-musl-armhf.so.1\na:0:0:755\n\nP:busybox\nV:1.37.0-r30\n\
                    A:armhf\nF:bin\nR:busybox\nR:gone\n\n";
        let tree = tree(&[
            ("usr/lib/apk/db/installed", text),
            ("usr/lib/ld-musl-armhf.so.1", "elf"),
            ("bin/busybox", "elf"),
        ]);
        let (packages, owners) = installed(&tree);
        let names: Vec<String> = packages
            .iter()
            .map(|package| format!("{} {} {}", package.name, package.version, package.architecture))
            .collect();
        assert_eq!(names, ["busybox 1.37.0-r30 armhf", "musl 1.2.5-r21 armhf"]);
        assert_eq!(owners["usr/lib/ld-musl-armhf.so.1"], "musl");
        assert_eq!(owners["bin/busybox"], "busybox");
        assert_eq!(owners.len(), 2);
    }

    #[test]
    fn dpkgs_database_and_the_one_of_images_without_dpkg() {
        let status = "Package: libc6\nStatus: install ok installed\nArchitecture: armhf\nVersion: 2.41-12\n\n\
                      Package: gone\nStatus: deinstall ok config-files\nVersion: 1\n\n";
        let (packages, owners) = installed(&tree(&[
            ("var/lib/dpkg/status", status),
            ("var/lib/dpkg/info/libc6:armhf.list", "/.\n/lib\n/lib/libc.so.6\n"),
            (
                "var/lib/dpkg/status.d/netbase",
                "Package: netbase\nVersion: 6.5\nArchitecture: all\n",
            ),
            ("var/lib/dpkg/status.d/netbase.md5sums", "0123  etc/services\n"),
            ("usr/lib/libc.so.6", "elf"),
            ("etc/services", "x"),
        ]));
        let names: Vec<&str> = packages.iter().map(|package| package.name.as_str()).collect();
        assert_eq!(names, ["libc6", "netbase"]);
        assert_eq!(owners["usr/lib/libc.so.6"], "libc6");
        assert_eq!(owners["etc/services"], "netbase");
    }

    #[test]
    fn nonsense_has_no_packages() {
        let (packages, owners) = installed(&tree(&[
            ("usr/lib/apk/db/installed", "R:x\n\nP:\n\u{0}"),
            ("var/lib/dpkg/status", "Package: x\n"),
        ]));
        assert!(packages.is_empty() && owners.is_empty());
    }
}
