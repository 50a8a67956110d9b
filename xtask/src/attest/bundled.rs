//! Sources of others that a crate carries along and compiles: a database of crates does not know their versions.

use serde::{Deserialize, Serialize};

use crate::culprit::graph::Named;
use crate::oci::Package;

/// How such sources are known, and where they say their version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Known {
    /// The crate that has them.
    pub package: &'static str,
    /// The feature without which the system's own is linked.
    pub feature: &'static str,
    /// A file with the version, below the crate's directory.
    pub file: &'static str,
    /// `#define` of the version in it.
    pub define: &'static str,
    /// Whose they are.
    pub name: &'static str,
    /// Their licence, by its SPDX identifier.
    pub licence: &'static str,
    /// Vendor and product in the CPE dictionary.
    pub cpe: &'static str,
}

/// What is known. A crate with compiled C that is not here is named in the SBOM with its objects, and without their version.
pub const KNOWN: [Known; 1] = [Known {
    package: "libsqlite3-sys",
    feature: "bundled",
    file: "sqlite3/sqlite3.h",
    define: "SQLITE_VERSION",
    name: "sqlite",
    licence: "blessing",
    cpe: "sqlite:sqlite",
}];

/// Sources that were compiled into the program.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Bundled {
    /// `sqlite`.
    pub name: String,
    /// Its version.
    pub version: String,
    /// SPDX identifier.
    pub licence: String,
    /// CPE 2.3.
    pub cpe: String,
    /// The crate that has it.
    pub of: Named,
    /// The library that was linked in the place of the source, if one was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub library: Option<Library>,
}

/// A static library of somebody else's.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Library {
    /// Where it is from: `Debian trixie libsqlite3-dev 3.46.1-7 (armhf)`.
    pub origin: String,
    /// Its version, as it says itself.
    pub version: String,
    /// Its package URL.
    pub purl: String,
    /// The package that it is of, and the digest of that.
    #[serde(skip)]
    pub package: Option<(Package, String)>,
    /// `sha256:` and the digest of the library.
    pub digest: String,
}

impl Known {
    /// What a crate of this version links when a library stands in for the source that it carries.
    pub fn linked(&self, version: &str, library: &Library) -> Bundled {
        Bundled {
            name: self.name.to_owned(),
            version: library.version.clone(),
            licence: self.licence.to_owned(),
            cpe: self.cpe_of(&library.version),
            of: (self.package.to_owned(), version.to_owned()),
            library: Some(library.clone()),
        }
    }

    fn cpe_of(&self, version: &str) -> String {
        format!("cpe:2.3:a:{}:{version}:*:*:*:*:*:*:*", self.cpe)
    }

    /// What a crate of this version has, by the text of [`Known::file`]; `None` when that does not say a version.
    pub fn read(&self, version: &str, text: &str) -> Option<Bundled> {
        let found = text.lines().find_map(|line| {
            let rest = line.strip_prefix("#define")?.trim_start().strip_prefix(self.define)?;
            rest.trim().strip_prefix('"')?.strip_suffix('"')
        })?;
        let plain = !found.is_empty() && found.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'.');
        plain.then(|| Bundled {
            name: self.name.to_owned(),
            version: found.to_owned(),
            licence: self.licence.to_owned(),
            cpe: self.cpe_of(found),
            of: (self.package.to_owned(), version.to_owned()),
            library: None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_read_from_the_header_and_from_nothing_that_looks_like_it() {
        let text =
            "/* SQLITE_VERSION */\n#define SQLITE_VERSION_NUMBER 3053002\n#define SQLITE_VERSION        \"3.53.2\"\n";
        let found = KNOWN[0].read("0.38.1", text).unwrap();
        assert_eq!(found.version, "3.53.2");
        assert_eq!(found.cpe, "cpe:2.3:a:sqlite:sqlite:3.53.2:*:*:*:*:*:*:*");
        let library = Library {
            origin: "somewhere".to_owned(),
            version: "3.46.1".to_owned(),
            purl: "pkg:generic/sqlite@3.46.1".to_owned(),
            package: None,
            digest: String::new(),
        };
        let other = KNOWN[0].linked("0.38.1", &library);
        assert_eq!((&other.of, other.library.as_ref()), (&found.of, Some(&library)));
        assert_eq!(other.cpe, "cpe:2.3:a:sqlite:sqlite:3.46.1:*:*:*:*:*:*:*");
        assert_eq!(
            KNOWN[0]
                .read("0.38.1", "#define SQLITE_VERSION \"3 or so\"\n")
                .map(|found| found.version),
            None
        );
        assert_eq!(KNOWN[0].read("0.38.1", ""), None);
    }
}
