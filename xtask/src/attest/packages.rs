//! What a base says of itself: its distribution, and the licences that its package manager knows.

use std::collections::BTreeMap;

use crate::oci::layer::{EntryKind, Layer, LayerError, Limits};

/// A distribution, by its os-release.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Distribution {
    /// `ID`: `debian`, `alpine`. Empty when there is no os-release.
    pub id: String,
    /// `VERSION_ID`; empty when it has none.
    pub version: String,
    /// Licences by package, where the records of the package manager have them (apk's do, dpkg's do not).
    pub licences: BTreeMap<String, String>,
}

impl Distribution {
    /// Reads the records in these layers, lowest first.
    ///
    /// # Errors
    ///
    /// For a layer that cannot be read.
    pub fn read(layers: &[Layer]) -> Result<Distribution, LayerError> {
        let mut found: BTreeMap<&str, Vec<u8>> = BTreeMap::new();
        for layer in layers {
            for entry in layer.entries(&Limits::default())? {
                let known = [
                    "etc/os-release",
                    "usr/lib/os-release",
                    "lib/apk/db/installed",
                    "usr/lib/apk/db/installed",
                ];
                let Some(path) = known.into_iter().find(|path| *path == entry.path) else {
                    continue;
                };
                // A link in etc/ leads to usr/lib/, which is looked at anyway.
                if let EntryKind::File(bytes) = entry.kind {
                    found.insert(path, bytes);
                }
            }
        }
        let text = |paths: [&str; 2]| {
            let bytes = paths.iter().find_map(|path| found.get(path));
            bytes.map_or_else(String::new, |bytes| String::from_utf8_lossy(bytes).into_owned())
        };
        let mut distribution = Distribution::default();
        distribution.os_release(&text(["etc/os-release", "usr/lib/os-release"]));
        distribution.apk(&text(["lib/apk/db/installed", "usr/lib/apk/db/installed"]));
        Ok(distribution)
    }

    /// `KEY=value`, or `KEY="value"`.
    fn os_release(&mut self, text: &str) {
        for (key, value) in text.lines().filter_map(|line| line.split_once('=')) {
            let value = value.trim().trim_matches(['"', '\'']).to_owned();
            match key.trim() {
                "ID" => self.id = value,
                "VERSION_ID" => self.version = value,
                _ => {}
            }
        }
    }

    /// `P:` name, `L:` licence.
    fn apk(&mut self, text: &str) {
        let mut name = "";
        for line in text.lines() {
            match line.split_once(':') {
                Some(("P", value)) => name = value,
                Some(("L", value)) => drop(self.licences.insert(name.to_owned(), value.to_owned())),
                _ => {}
            }
        }
    }

    /// The type of its packages in package URLs.
    pub fn kind(&self) -> &'static str {
        match self.id.as_str() {
            "alpine" | "wolfi" | "chainguard" => "apk",
            _ => "deb",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oci::layer::{Entry, LayerBuilder};

    #[test]
    fn the_records_of_a_base_are_read_and_later_layers_win() {
        let layer = |entries: Vec<Entry>| {
            let mut builder = LayerBuilder::new(0);
            entries.into_iter().for_each(|entry| builder.add(entry).unwrap());
            builder.finish("x").unwrap()
        };
        let layers = [
            layer(vec![
                Entry::directory("etc", 0o755),
                Entry::file("etc/os-release", "NAME=x\nID=alpine\nVERSION_ID=3.23\n", 0o644),
            ]),
            layer(vec![
                Entry::directory("etc", 0o755),
                Entry::file("etc/os-release", "ID=\"alpine\"\nVERSION_ID='3.24.2'\n", 0o644),
                Entry::directory("lib", 0o755),
                Entry::directory("lib/apk", 0o755),
                Entry::directory("lib/apk/db", 0o755),
                Entry::file("lib/apk/db/installed", "P:musl\nV:1\nL:MIT\n\nP:zlib\nL:Zlib\n", 0o644),
            ]),
        ];
        let found = Distribution::read(&layers).unwrap();
        assert_eq!(
            (found.id.as_str(), found.version.as_str(), found.kind()),
            ("alpine", "3.24.2", "apk")
        );
        assert_eq!(found.licences["zlib"], "Zlib");
        assert_eq!(Distribution::read(&[]).unwrap(), Distribution::default());
    }
}
