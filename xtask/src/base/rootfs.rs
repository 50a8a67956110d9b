//! From unpacked packages to one file system tree. Pure.
//!
//! No maintainer script is run. What the scripts of the packages in use would have done, and a server needs, is done
//! here, and this is the whole list:
//!
//! * `/usr` is merged: `/bin`, `/lib`, `/sbin` (and `/lib64`) are the links that `base-files` ships; a package that still
//!   ships files in `/lib` has them in `/usr/lib`.
//! * `base-files`: `/mnt`, `/srv`, `/opt`, `/media`, `/usr/local/*`, `/run/lock`, `/var/run -> /run`,
//!   `/var/lock -> /run/lock`, `/etc/dpkg/origins/default`. Not: shell profiles, `/var/mail`, login records.
//! * `base-passwd`: `/etc/passwd` and `/etc/group` with `root` and `nobody`, neither with a shell.
//! * `libc-bin`: `/etc/nsswitch.conf`. Not `ld.so.cache`: Debian's loader knows its own directories.
//! * `ca-certificates`: `/etc/ssl/certs/ca-certificates.crt`. Not the directory of hash links, which only OpenSSL reads.
//! * `tzdata`: `/etc/localtime -> UTC` and `/etc/timezone`.
//! * `dpkg`: `/var/lib/dpkg/status.d/PACKAGE` and `PACKAGE.md5sums`, where scanners look for packages of an image without
//!   dpkg (as distroless images have them).

use std::collections::{BTreeMap, BTreeSet};

use super::exclude::Excludes;
use crate::deb::Deb;
use crate::error::{Context, Error, Result};
use crate::oci::layer::{Entry, EntryKind};

/// Changes whenever the same packages give another tree.
pub const RULES_VERSION: &str = "1";

/// A tree with the package of each path.
#[derive(Clone, Debug, Default)]
pub struct Rootfs {
    entries: BTreeMap<String, Entry>,
    owners: BTreeMap<String, String>,
}

impl Rootfs {
    /// Unpacks packages (name, content) over each other as dpkg would, adds what their scripts would have made, and leaves
    /// out what is excluded.
    pub fn assemble(packages: &[(String, Deb)], excludes: &Excludes) -> Result<Rootfs> {
        let mut tree = Rootfs::default();
        let merged = merged_directories(packages);
        for (name, deb) in packages {
            for entry in &deb.entries {
                tree.unpack(name, canonical(entry, &merged))?;
            }
        }
        tree.configure()?;
        tree.exclude(excludes);
        tree.register(packages)?;
        Ok(tree)
    }

    /// Entries by path.
    pub fn entries(&self) -> &BTreeMap<String, Entry> {
        &self.entries
    }

    /// The package of each file and link that came out of one.
    pub fn owners(&self) -> &BTreeMap<String, String> {
        &self.owners
    }

    /// The latest time in the tree: that of everything made here, so that the layer depends on its packages alone and
    /// stays the same, and already pulled, when only the application changes.
    pub fn latest(&self) -> u64 {
        self.entries.values().map(|entry| entry.mtime).max().unwrap_or(0)
    }

    fn unpack(&mut self, package: &str, entry: Entry) -> Result<()> {
        if let Some(first) = self.entries.get(&entry.path) {
            let owner = self
                .owners
                .get(&entry.path)
                .map_or("an earlier package", String::as_str);
            return match (&first.kind, &entry.kind) {
                // dpkg leaves a directory as it is, and takes a link to a directory for one.
                (EntryKind::Directory | EntryKind::Symlink(_), EntryKind::Directory) => Ok(()),
                (first, second) if first == second => Ok(()),
                _ => Err(
                    Error::new(format!("{}: both {owner} and {package} have it", entry.path))
                        .hint("choose packages that do not conflict"),
                ),
            };
        }
        if entry.kind != EntryKind::Directory {
            self.owners.insert(entry.path.clone(), package.to_owned());
        }
        self.entries.insert(entry.path.clone(), entry);
        Ok(())
    }

    fn has(&self, path: &str) -> bool {
        self.entries.contains_key(path)
    }

    /// Adds something that a maintainer script would have made, unless a package ships it.
    fn make(&mut self, mut entry: Entry, mtime: u64) {
        entry.mtime = mtime;
        self.entries.entry(entry.path.clone()).or_insert(entry);
    }

    fn configure(&mut self) -> Result<()> {
        let mtime = self.latest();
        if self.has("etc/dpkg/origins/debian") {
            self.make(Entry::symlink("etc/dpkg/origins/default", "debian"), mtime);
        }
        for path in ["mnt", "srv", "opt", "media", "usr/local"] {
            self.make(Entry::directory(path, 0o755), mtime);
        }
        for name in ["bin", "etc", "lib", "sbin", "share"] {
            self.make(Entry::directory(format!("usr/local/{name}"), 0o755), mtime);
        }
        self.make(Entry::directory("run/lock", 0o1777), mtime);
        for (path, target) in [("var/run", "/run"), ("var/lock", "/run/lock")] {
            let inside = format!("{path}/");
            if !self.entries.keys().any(|path| path.starts_with(&inside)) {
                self.entries.remove(path);
                self.make(Entry::symlink(path, target), mtime);
            }
        }
        for name in ["lib32", "lib64", "libo32", "libx32"] {
            if self.has(&format!("usr/{name}")) {
                self.make(Entry::symlink(name, format!("usr/{name}")), mtime);
            }
        }
        self.make(Entry::file("etc/passwd", PASSWD, 0o644), mtime);
        self.make(Entry::file("etc/group", GROUP, 0o644), mtime);
        self.make(Entry::file("etc/nsswitch.conf", NSSWITCH, 0o644), mtime);
        let bundle = self.certificates()?;
        if !bundle.is_empty() {
            self.make(Entry::file("etc/ssl/certs/ca-certificates.crt", bundle, 0o644), mtime);
        }
        if self.has("usr/share/zoneinfo/Etc/UTC") {
            self.make(Entry::symlink("etc/localtime", "/usr/share/zoneinfo/Etc/UTC"), mtime);
            self.make(Entry::file("etc/timezone", "Etc/UTC\n", 0o644), mtime);
        }
        Ok(())
    }

    /// All certificates in one file, in the order of update-ca-certificates: sorted by name, each ending in a newline.
    fn certificates(&self) -> Result<Vec<u8>> {
        let mut bundle = Vec::new();
        for (path, entry) in &self.entries {
            if !path.starts_with("usr/share/ca-certificates/") || !path.ends_with(".crt") {
                continue;
            }
            let EntryKind::File(bytes) = &entry.kind else {
                continue;
            };
            if !bytes.starts_with(b"-----BEGIN CERTIFICATE-----") {
                return Err(Error::new(format!("{path} is not a certificate in PEM")));
            }
            bundle.extend_from_slice(bytes);
            if !bytes.ends_with(b"\n") {
                bundle.push(b'\n');
            }
        }
        Ok(bundle)
    }

    /// Removes what is excluded, and the directories that are empty because of it.
    fn exclude(&mut self, excludes: &Excludes) {
        let mut touched = BTreeSet::new();
        let mut kept = BTreeSet::new();
        self.entries.retain(|path, entry| {
            let out = excludes.excludes(path);
            let parents = path.match_indices('/').map(|(at, _)| path[..at].to_owned());
            if entry.kind == EntryKind::Directory {
                if out {
                    touched.insert(path.clone());
                }
                return true;
            }
            if out { &mut touched } else { &mut kept }.extend(parents);
            !out
        });
        self.entries
            .retain(|path, entry| entry.kind != EntryKind::Directory || kept.contains(path) || !touched.contains(path));
        self.owners.retain(|path, _| self.entries.contains_key(path));
    }

    /// Writes down what the tree consists of.
    fn register(&mut self, packages: &[(String, Deb)]) -> Result<()> {
        let mtime = self.latest();
        for (name, deb) in packages {
            let stanza = format!("{}\n", deb.control.trim_end());
            let path = format!("var/lib/dpkg/status.d/{name}");
            self.make(Entry::file(path.clone(), stanza, 0o644), mtime);
            let sums: String = deb
                .md5sums
                .iter()
                .flat_map(|text| text.lines())
                .filter(|line| line.split_once("  ").is_some_and(|(_, path)| self.has(path)))
                .flat_map(|line| [line, "\n"])
                .collect();
            self.make(Entry::file(format!("{path}.md5sums"), sums, 0o644), mtime);
        }
        let missing = self.entries.values().find_map(|entry| match &entry.kind {
            EntryKind::Hardlink(target) if !self.has(target) => Some((entry.path.clone(), target.clone())),
            _ => None,
        });
        match missing {
            Some((path, target)) => Err(Error::new(format!(
                "{path} is a hard link to {target}, which is excluded"
            )))
            .hint("exclude both or none, in [base.debian] of xtask.toml"),
            None => Ok(()),
        }
    }
}

/// Top-level links into `/usr`, as `base-files` ships them: `lib` -> `usr/lib`.
fn merged_directories(packages: &[(String, Deb)]) -> BTreeMap<String, String> {
    packages
        .iter()
        .flat_map(|(_, deb)| &deb.entries)
        .filter_map(|entry| match &entry.kind {
            EntryKind::Symlink(target) if !entry.path.contains('/') && *target == format!("usr/{}", entry.path) => {
                Some((entry.path.clone(), target.clone()))
            }
            _ => None,
        })
        .collect()
}

fn canonical(entry: &Entry, merged: &BTreeMap<String, String>) -> Entry {
    let place = |path: &str| match path.split_once('/') {
        Some((top, rest)) => merged
            .get(top)
            .map_or_else(|| path.to_owned(), |real| format!("{real}/{rest}")),
        None => path.to_owned(),
    };
    let mut entry = entry.clone();
    entry.path = match (&entry.kind, merged.get(&entry.path)) {
        (EntryKind::Directory, Some(real)) => real.clone(),
        _ => place(&entry.path),
    };
    if let EntryKind::Hardlink(target) = &mut entry.kind {
        *target = place(target);
    }
    entry
}

const PASSWD: &str = "root:x:0:0:root:/root:/usr/sbin/nologin\n\
                      nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n";
const GROUP: &str = "root:x:0:\nnogroup:x:65534:\n";
/// libc-bin's, without the databases that nothing here has.
const NSSWITCH: &str = "passwd: files\ngroup: files\nshadow: files\n\nhosts: files dns\nnetworks: files\n\n\
                        protocols: files\nservices: files\nethers: files\nrpc: files\n";

/// The upstream version of a Debian version: `2.41` of `2.41-12+deb13u4`.
pub fn upstream_version(version: &str) -> &str {
    let version = version.split_once(':').map_or(version, |(_, version)| version);
    version.rsplit_once('-').map_or(version, |(upstream, _)| upstream)
}

/// Finds `libc6` among packages and gives glibc's version.
pub fn glibc_version<'a>(packages: impl IntoIterator<Item = (&'a str, &'a str)>) -> Result<String> {
    packages
        .into_iter()
        .find(|(name, _)| *name == "libc6")
        .map(|(_, version)| upstream_version(version).to_owned())
        .context(|| "the base has no libc6, so nothing linked against glibc can run on it")
        .hint("add libc6 to `packages` in [base.debian] of xtask.toml")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn deb(entries: Vec<Entry>, md5sums: &str) -> Deb {
        Deb {
            control: "Package: x\nVersion: 1\n\n".to_owned(),
            md5sums: Some(md5sums.to_owned()),
            entries,
        }
    }

    fn base_files() -> (String, Deb) {
        let entries = vec![
            Entry::directory("usr/lib", 0o755),
            Entry::directory("var/run", 0o755),
            Entry::directory("tmp", 0o1777),
            Entry::symlink("lib", "usr/lib"),
        ];
        ("base-files".to_owned(), deb(entries, ""))
    }

    #[test]
    fn a_package_that_ignores_the_merged_usr_lands_in_it() {
        let old = deb(
            vec![
                Entry::directory("lib", 0o755),
                Entry::file("lib/ld.so", "elf", 0o755),
                Entry::new("lib/again", EntryKind::Hardlink("lib/ld.so".into()), 0o755),
            ],
            "",
        );
        let tree = Rootfs::assemble(&[base_files(), ("old".into(), old)], &Excludes::default()).unwrap();
        assert_eq!(tree.entries()["lib"].kind, EntryKind::Symlink("usr/lib".into()));
        assert_eq!(tree.owners()["usr/lib/ld.so"], "old");
        assert_eq!(
            tree.entries()["usr/lib/again"].kind,
            EntryKind::Hardlink("usr/lib/ld.so".into())
        );
        assert_eq!(tree.entries()["var/run"].kind, EntryKind::Symlink("/run".into()));
        assert_eq!(tree.entries()["tmp"].mode, 0o1777);
    }

    #[test]
    fn two_packages_with_one_file_are_an_error_that_names_both() {
        let one = ("one".to_owned(), deb(vec![Entry::file("etc/x", "1", 0o644)], ""));
        let two = ("two".to_owned(), deb(vec![Entry::file("etc/x", "2", 0o644)], ""));
        let error = Rootfs::assemble(&[one, two], &Excludes::default()).unwrap_err();
        assert_eq!(error.to_string(), "etc/x: both one and two have it");
    }

    #[test]
    fn exclusion_takes_emptied_directories_along_and_the_register_names_only_what_is_there() {
        let entries = vec![
            Entry::directory("usr", 0o755),
            Entry::directory("usr/share", 0o755),
            Entry::directory("usr/share/man", 0o755),
            Entry::directory("usr/share/man/man1", 0o755),
            Entry::file("usr/share/man/man1/x.1", "man", 0o644),
            Entry::directory("usr/share/empty", 0o755),
            Entry::file("usr/x", "x", 0o644),
        ];
        let package = deb(entries, "0123  usr/x\n4567  usr/share/man/man1/x.1\n");
        let excludes = Excludes::new(&["usr/share/man/**".to_owned()], &[]);
        let tree = Rootfs::assemble(&[("x".into(), package)], &excludes).unwrap();
        assert!(!tree.has("usr/share/man") && !tree.has("usr/share/man/man1"));
        assert!(tree.has("usr/share/empty"), "a directory that was always empty stays");
        assert_eq!(
            tree.entries()["var/lib/dpkg/status.d/x.md5sums"].kind,
            EntryKind::File(b"0123  usr/x\n".to_vec())
        );
        assert_eq!(
            tree.entries()["var/lib/dpkg/status.d/x"].kind,
            EntryKind::File(b"Package: x\nVersion: 1\n".to_vec())
        );
    }

    #[test]
    fn certificates_are_joined_in_order_with_newlines_between() {
        let pem = "-----BEGIN CERTIFICATE-----\n";
        let entries = vec![
            Entry::file("usr/share/ca-certificates/mozilla/B.crt", format!("{pem}b\n"), 0o644),
            Entry::file("usr/share/ca-certificates/mozilla/A.crt", format!("{pem}a"), 0o644),
        ];
        let excludes = Excludes::new(&["usr/share/ca-certificates/**".to_owned()], &[]);
        let tree = Rootfs::assemble(&[("ca".into(), deb(entries, ""))], &excludes).unwrap();
        assert_eq!(
            tree.entries()["etc/ssl/certs/ca-certificates.crt"].kind,
            EntryKind::File(format!("{pem}a\n{pem}b\n").into_bytes())
        );
    }

    #[test]
    fn versions_lose_epoch_and_revision() {
        assert_eq!(upstream_version("2.41-12+deb13u4"), "2.41");
        assert_eq!(upstream_version("1:2.3-rc1-4"), "2.3-rc1");
        assert_eq!(upstream_version("6.5"), "6.5");
        assert!(
            glibc_version([("zlib1g", "1")])
                .unwrap_err()
                .to_string()
                .contains("libc6")
        );
    }
}
