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
use crate::oci::layer::EntryKind;
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

/// The library where the linker takes it from.
#[derive(Clone, Debug)]
pub struct Staged {
    dir: PathBuf,
    glibc: Option<String>,
}

impl Staged {
    /// Puts a copy of the library, and nothing else, where no other content ever was. The crate that links it is compiled again
    /// when the name of the directory changes, and by nothing else: cargo does not look at the library itself. `glibc` is the
    /// version that the program is linked with.
    ///
    /// # Errors
    /// When the copy cannot be written.
    pub fn new(cx: &Cx, library: &[u8], glibc: Option<&str>) -> Result<Staged> {
        let key = key_of([library, glibc.unwrap_or_default().as_bytes()]);
        let dir = cx.root.join("target/xtask/sqlite").join(key);
        let path = dir.join(ARCHIVE);
        fs::create_dir_all(&dir).context(|| format!("cannot create {}", dir.display()))?;
        if !fs::read(&path).is_ok_and(|there| there == library) {
            cache::write_with_mode(&path, library, 0o644)?;
        }
        Ok(Staged {
            dir,
            glibc: glibc.map(str::to_owned),
        })
    }

    /// Variables for libsqlite3-sys' build script: link what is in that directory, statically, whatever the feature `bundled`
    /// says, and ask no pkg-config about this machine's SQLite. `XTASK_GLIBC` is for the linker.
    pub fn environment(&self) -> Vec<(&'static str, OsString)> {
        let mut variables: Vec<(&'static str, OsString)> = vec![
            ("LIBSQLITE3_SYS_USE_PKG_CONFIG", "1".into()),
            ("SQLITE3_LIB_DIR", self.dir.clone().into()),
            ("SQLITE3_STATIC", "1".into()),
            ("SQLITE3_NO_PKG_CONFIG", "1".into()),
            ("PKG_CONFIG_ALLOW_CROSS", "1".into()),
            ("PKG_CONFIG_LIBDIR", self.dir.join("pkgconfig").into()),
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
