//! Which package a file of an image belongs to, by the image's own records: dpkg's and apk's.

use std::collections::{BTreeMap, HashMap};

/// Longest record that is read.
pub const LARGEST: u64 = 64 << 20;

/// Whether a path of an image is a record that [`Owners::read`] understands.
pub fn is_record(path: &str) -> bool {
    matches!(
        path,
        "var/lib/dpkg/status" | "lib/apk/db/installed" | "usr/lib/apk/db/installed"
    ) || path
        .strip_prefix("var/lib/dpkg/info/")
        .is_some_and(|name| name.ends_with(".list"))
        || path
            .strip_prefix("var/lib/dpkg/status.d/")
            .is_some_and(|name| !name.contains('/'))
}

/// Owners of files.
#[derive(Clone, Debug, Default)]
pub struct Owners {
    files: HashMap<String, String>,
    versions: BTreeMap<String, String>,
}

impl Owners {
    /// From the records of an image, by path; text that is not UTF-8 is passed over.
    pub fn read(records: &BTreeMap<String, Vec<u8>>) -> Owners {
        let mut owners = Owners::default();
        for (path, bytes) in records {
            let text = String::from_utf8_lossy(bytes);
            if let Some(name) = path.strip_prefix("var/lib/dpkg/info/") {
                // `libc6:armel.list` where several architectures may be installed.
                let name = name.trim_end_matches(".list").split(':').next().unwrap_or_default();
                for file in text.lines() {
                    owners
                        .files
                        .insert(file.trim_start_matches('/').to_owned(), name.to_owned());
                }
            } else if path.ends_with("apk/db/installed") {
                owners.apk(&text);
            } else if path.ends_with(".md5sums") {
                // Images without a dpkg (distroless) have `status.d/NAME` and `status.d/NAME.md5sums`.
                let name = path.rsplit('/').next().unwrap_or_default().trim_end_matches(".md5sums");
                for file in text.lines().filter_map(|line| line.split_once("  ")) {
                    owners
                        .files
                        .insert(file.1.trim_start_matches("./").to_owned(), name.to_owned());
                }
            } else {
                owners.status(&text);
            }
        }
        owners
    }

    /// deb822 stanzas with Package and Version.
    fn status(&mut self, text: &str) {
        let mut name = "";
        for line in text.lines() {
            if let Some(value) = line.strip_prefix("Package: ") {
                name = value.trim();
            } else if let Some(value) = line.strip_prefix("Version: ") {
                self.versions.insert(name.to_owned(), value.trim().to_owned());
            }
        }
    }

    /// `P:` name, `V:` version, `F:` directory, `R:` file in it.
    fn apk(&mut self, text: &str) {
        let (mut name, mut directory) = ("", "");
        for line in text.lines() {
            match line.split_once(':') {
                Some(("P", value)) => (name, directory) = (value, ""),
                Some(("V", value)) => drop(self.versions.insert(name.to_owned(), value.to_owned())),
                Some(("F", value)) => directory = value,
                Some(("R", value)) => {
                    let path = if directory.is_empty() {
                        value.to_owned()
                    } else {
                        format!("{directory}/{value}")
                    };
                    self.files.insert(path, name.to_owned());
                }
                _ => {}
            }
        }
    }

    /// `libc6 2.41-12` for a path of the image. Where `/lib` is a link to `usr/lib`, records may name either.
    pub fn of(&self, path: &str) -> Option<String> {
        let other = match path.strip_prefix("usr/") {
            Some(rest) => rest.to_owned(),
            None => format!("usr/{path}"),
        };
        let name = self.files.get(path).or_else(|| self.files.get(&other))?;
        Some(match self.versions.get(name) {
            Some(version) => format!("{name} {version}"),
            None => name.clone(),
        })
    }

    /// The version of a package.
    pub fn version(&self, package: &str) -> Option<&str> {
        self.versions.get(package).map(String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_of_dpkg_apk_and_distroless_are_read() {
        let records = [
            (
                "var/lib/dpkg/status",
                "Package: libc6\nStatus: install ok installed\nVersion: 2.41-12\n",
            ),
            ("var/lib/dpkg/info/libc6:armel.list", "/.\n/lib\n/lib/arm/libc.so.6\n"),
            (
                "lib/apk/db/installed",
                "C:Q1\nP:musl\nV:1.2.5-r1\nF:lib\nR:ld-musl-armhf.so.1\na:0:0:755\n\nP:none\n",
            ),
            ("var/lib/dpkg/status.d/tzdata", "Package: tzdata\nVersion: 2026a\n"),
            ("var/lib/dpkg/status.d/tzdata.md5sums", "0123  ./usr/share/zone\n"),
        ];
        assert!(records.iter().all(|(path, _)| is_record(path)));
        let records = records
            .map(|(path, text)| (path.to_owned(), text.as_bytes().to_vec()))
            .into();
        let owners = Owners::read(&records);
        assert_eq!(owners.of("usr/lib/arm/libc.so.6").as_deref(), Some("libc6 2.41-12"));
        assert_eq!(owners.of("lib/ld-musl-armhf.so.1").as_deref(), Some("musl 1.2.5-r1"));
        assert_eq!(owners.of("usr/share/zone").as_deref(), Some("tzdata 2026a"));
        assert_eq!(owners.of("usr/bin/other"), None);
        assert_eq!(owners.version("libc6"), Some("2.41-12"));
    }
}
