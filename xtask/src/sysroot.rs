//! Libraries of a sysroot that a program is linked with statically, in the place of bundled source: SQLite, of Debian's archive
//! or of a directory of the user's.
//!
//! Debian's armhf is ARMv7 (ArmHardFloatPort), so its `libsqlite3.a` is refused for a Zero by the audit; armel's is ARMv5T and
//! passes. Nothing of the package is run.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use crate::base::apt::{self, Request, resolve_exactly};
use crate::cache::{self, key_of};
use crate::cx::Cx;
use crate::deb::Deb;
use crate::error::{Context, Error, Result};
use crate::oci;
use crate::oci::layer::{Entry, EntryKind};
use crate::policy::DebianPolicy;
use crate::target::{Platform, Target};

/// The package with the static library.
const PACKAGE: &str = "libsqlite3-dev";
/// The library.
const ARCHIVE: &str = "libsqlite3.a";

/// A static SQLite.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sqlite {
    /// Where it is from, for people and for the image's label: `libsqlite3-dev 3.46.1-7 (armhf)`, or the path as given.
    pub origin: String,
    /// The `.a` file.
    pub archive: PathBuf,
    /// The package that it is of; `None` for one of the user's own.
    pub package: Option<Package>,
}

/// A package of Debian's archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Package {
    /// Name, version and architecture.
    pub package: oci::Package,
    /// `sha256:` and the digest of the .deb.
    pub digest: String,
}

/// A library in the place of the bundled source, as a program is linked with it.
#[derive(Clone, Debug)]
pub struct StandIn {
    library: Vec<u8>,
    glibc: Option<String>,
}

impl StandIn {
    /// `library` is the `.a` file, `glibc` the version that the program is linked with, where it is not our floor.
    pub fn new(library: Vec<u8>, glibc: Option<&str>) -> StandIn {
        StandIn {
            library,
            glibc: glibc.map(str::to_owned),
        }
    }

    /// Names both.
    pub fn key(&self) -> String {
        key_of([&self.library[..], self.glibc.as_deref().unwrap_or_default().as_bytes()])
    }

    /// Puts a copy of the library, and nothing else, where no other content ever was, and returns what cargo is to be told. The
    /// crate that links it is compiled again when the name of the directory changes, and by nothing else: cargo does not look at
    /// the library itself.
    ///
    /// # Errors
    /// When the copy cannot be written.
    pub fn stage(&self, cx: &Cx) -> Result<Vec<(&'static str, OsString)>> {
        let dir = cx.root.join("target/xtask/sqlite").join(self.key());
        let path = dir.join(ARCHIVE);
        fs::create_dir_all(&dir).context(|| format!("cannot create {}", dir.display()))?;
        if !fs::read(&path).is_ok_and(|there| there == self.library) {
            cache::write_with_mode(&path, &self.library, 0o644)?;
        }
        Ok(self.environment(&dir))
    }

    /// The same for a container: the library as entries of a tar that is unpacked at its root, and what cargo is told there.
    pub fn for_container(&self) -> (Vec<Entry>, Vec<(&'static str, OsString)>) {
        let dir = format!("run/sqlite/{}", self.key());
        let above = ["run", "run/sqlite", &dir].map(|path| Entry::directory(path, 0o755));
        let mut entries = above.to_vec();
        entries.push(Entry::new(
            format!("{dir}/{ARCHIVE}"),
            EntryKind::File(self.library.clone()),
            0o644,
        ));
        (entries, self.environment(&Path::new("/").join(dir)))
    }

    /// Variables for libsqlite3-sys' build script: link what is in that directory, statically, whatever the feature `bundled`
    /// says, and ask no pkg-config about this machine's SQLite. `XTASK_GLIBC` is for the linker.
    fn environment(&self, dir: &Path) -> Vec<(&'static str, OsString)> {
        let mut variables: Vec<(&'static str, OsString)> = vec![
            ("LIBSQLITE3_SYS_USE_PKG_CONFIG", "1".into()),
            ("SQLITE3_LIB_DIR", dir.into()),
            ("SQLITE3_STATIC", "1".into()),
            ("SQLITE3_NO_PKG_CONFIG", "1".into()),
            ("PKG_CONFIG_ALLOW_CROSS", "1".into()),
            ("PKG_CONFIG_LIBDIR", dir.join("pkgconfig").into()),
            ("PKG_CONFIG_PATH", "".into()),
        ];
        variables.extend(self.glibc.as_ref().map(|version| ("XTASK_GLIBC", version.into())));
        variables
    }
}

/// Debian's name for the architecture of a triple: the float ABI of the program decides, not the chip.
fn architecture(target: &Target) -> &'static str {
    match target.platform {
        Platform::ArmV6 | Platform::ArmV7 if target.triple.ends_with("hf") => "armhf",
        platform => platform.debian_architecture(),
    }
}

/// Debian's static SQLite for a triple: the newest of the release, remembered like the packages of a base.
///
/// # Errors
/// For musl, which Debian has no libraries for; without apt, the network or the package.
pub fn debian(cx: &Cx, policy: &DebianPolicy, target: &Target, mirror: Option<&str>, refresh: bool) -> Result<Sqlite> {
    if target.triple.contains("musl") {
        return Err(Error::new(format!(
            "--sqlite system: Debian's {ARCHIVE} was compiled for glibc, and {} is linked with musl",
            target.triple
        ))
        .hint("take `--base debian` or `--base raspbian`, or name a directory with one for musl: `--sqlite DIR`"));
    }
    let architecture = architecture(target);
    let packages = [PACKAGE.to_owned()];
    let request = Request {
        suite: &policy.suite,
        aliases: &policy.aliases,
        architecture,
        packages: &packages,
        omit: &[],
        mirror,
    };
    let resolution = resolve_exactly(cx, &request, &[], refresh)?;
    let package = resolution
        .packages
        .first()
        .context(|| format!("Debian {} has no {PACKAGE} for {architecture}", policy.suite))?;
    let origin = format!("{PACKAGE} {} ({architecture})", package.version);
    let tree = cx.cache.tree("sysroot-sqlite", &key_of([&package.sha256]), |dir| {
        let paths = apt::fetch(cx, &request, &resolution)?;
        let path = paths.first().context(|| format!("{PACKAGE} was not fetched"))?;
        let bytes = fs::read(path).context(|| format!("cannot read {}", path.display()))?;
        let deb = Deb::read(PACKAGE, &bytes)?;
        let library = deb
            .entries
            .iter()
            .find_map(|entry| match &entry.kind {
                EntryKind::File(bytes) if entry.path.rsplit('/').next() == Some(ARCHIVE) => Some(bytes),
                _ => None,
            })
            .context(|| format!("{origin} has no {ARCHIVE}"))?;
        let to = dir.join(ARCHIVE);
        fs::write(&to, library).context(|| format!("cannot write {}", to.display()))
    })?;
    Ok(Sqlite {
        origin,
        archive: tree.join(ARCHIVE),
        package: Some(Package {
            package: oci::Package {
                name: PACKAGE.to_owned(),
                version: package.version.clone(),
                architecture: architecture.to_owned(),
            },
            digest: format!("sha256:{}", package.sha256),
        }),
    })
}

/// The static SQLite of a directory: in it, or where a sysroot has its libraries.
///
/// # Errors
/// When there is none, or more than one in the sysroot's library directories.
pub fn own(dir: &Path) -> Result<Sqlite> {
    let given = dir.display().to_string();
    let dir = fs::canonicalize(dir).context(|| format!("--sqlite {given}: cannot find the directory"))?;
    let mut places = vec![dir.clone(), dir.join("lib"), dir.join("usr/lib")];
    for parent in ["lib", "usr/lib"] {
        // Debian's multiarch directories: usr/lib/TRIPLE.
        if let Ok(entries) = fs::read_dir(dir.join(parent)) {
            let mut found: Vec<PathBuf> = entries
                .filter_map(|entry| entry.ok().map(|entry| entry.path()))
                .collect();
            found.sort();
            places.extend(found);
        }
    }
    let mut found: Vec<PathBuf> = places
        .iter()
        .map(|place| place.join(ARCHIVE))
        .filter(|path| path.is_file())
        // `lib` is a link to `usr/lib` in merged systems.
        .filter_map(|path| fs::canonicalize(path).ok())
        .collect();
    found.dedup();
    found.sort();
    found.dedup();
    match &found[..] {
        [archive] => Ok(Sqlite {
            origin: given,
            archive: archive.clone(),
            package: None,
        }),
        [] => Err(Error::new(format!("--sqlite {given}: there is no {ARCHIVE} in it"))
            .hint("it is looked for there, in lib, usr/lib and usr/lib/TRIPLE")),
        [one, other, ..] => Err(Error::new(format!(
            "--sqlite {given}: it has two, {} and {}",
            one.display(),
            other.display()
        ))
        .hint("name the directory of the one that is meant")),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_float_abi_decides_the_architecture() {
        for (triple, expected) in [
            ("arm-unknown-linux-gnueabihf", "armhf"),
            ("arm-unknown-linux-gnueabi", "armel"),
            ("armv7-unknown-linux-gnueabihf", "armhf"),
            ("aarch64-unknown-linux-gnu", "arm64"),
            ("x86_64-unknown-linux-gnu", "amd64"),
        ] {
            assert_eq!(architecture(Target::from_triple(triple).unwrap()), expected);
        }
    }

    #[test]
    fn a_container_gets_the_library_where_cargo_is_told_to_look() {
        let library = StandIn::new(b"!<arch>\n".to_vec(), Some("2.41"));
        let (entries, variables) = library.for_container();
        let value = |name: &str| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.and_then(|(_, value)| value.to_str()).unwrap_or_default()
        };
        let path = format!("{}/{ARCHIVE}", value("SQLITE3_LIB_DIR").trim_start_matches('/'));
        assert!(
            entries
                .iter()
                .any(|entry| entry.path == path && matches!(&entry.kind, EntryKind::File(_)))
        );
        assert_eq!(value("XTASK_GLIBC"), "2.41");
        // Another glibc is another program, which cargo would not see by the library alone.
        let other = StandIn::new(b"!<arch>\n".to_vec(), None);
        assert_ne!(library.key(), other.key());
        assert!(other.for_container().1.iter().all(|(name, _)| *name != "XTASK_GLIBC"));
    }

    #[test]
    fn a_sysroot_has_one_library_or_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        assert!(own(root).unwrap_err().to_string().contains("no libsqlite3.a"));
        let multiarch = root.join("usr/lib/arm-linux-gnueabihf");
        fs::create_dir_all(&multiarch).unwrap();
        fs::write(multiarch.join(ARCHIVE), "!<arch>\n").unwrap();
        let found = own(root).unwrap();
        assert!(found.archive.ends_with("usr/lib/arm-linux-gnueabihf/libsqlite3.a"));
        assert_eq!(found.origin, root.display().to_string());
        fs::write(root.join(ARCHIVE), "!<arch>\n").unwrap();
        assert!(own(root).unwrap_err().to_string().contains("it has two"));
        assert!(
            own(&root.join("missing"))
                .unwrap_err()
                .to_string()
                .contains("cannot find")
        );
    }
}
