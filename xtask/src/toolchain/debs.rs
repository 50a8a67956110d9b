//! Single packages of the host's own distribution, unpacked into the cache: no root, nothing installed, no script run.
//!
//! This is how qemu-user, pip's wheel, bubblewrap and Debian's archive keys come to machines that lack them. apt fetches and
//! verifies, exactly as the host is configured.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::base::apt::redact;
use crate::base::deb::Deb;
use crate::cache::key_of;
use crate::cx::Cx;
use crate::error::{Context, Error, Result};
use crate::oci::layer::{Entry, EntryKind};

/// Which file was fetched for a package.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Fetched {
    sha256: String,
    version: String,
}

/// The first of `candidates` (package, path of the wanted file) that this host's archive has, with that file; returns the
/// path of the unpacked file. Distributions name and cut packages differently: qemu's static programs are in
/// `qemu-user-static` or in `qemu-user`.
pub fn fetch_first(cx: &Cx, candidates: &[(&str, &str)]) -> Result<PathBuf> {
    let mut failures = Vec::new();
    let mut hint = None;
    for (package, path) in candidates {
        match fetch(cx, package, &[path]) {
            Ok(tree) => return Ok(tree.join(path.trim_start_matches('/'))),
            Err(error) => {
                hint = hint.or(error.next_step().map(str::to_owned));
                failures.push(error.to_string());
            }
        }
    }
    Err(Error::new(failures.join("; ")).hint(hint.unwrap_or_else(|| {
        let names: Vec<&str> = candidates.iter().map(|(package, _)| *package).collect();
        format!("install {} with your package manager", names.join(" or "))
    })))
}

/// One package of the host's archive, unpacked; returns the tree. `want_paths` must be in it.
///
/// Without `apt-get`, offline with a cold cache, or when the package lacks a path: an error that says what to install.
pub fn fetch(cx: &Cx, package: &str, want_paths: &[&str]) -> Result<PathBuf> {
    let key = key_of(["1", package]);
    let _lock = cx.cache.lock(&format!("deb-{package}"))?;
    let known = cx.cache.record::<Fetched>("deb", &key);
    let fetched = match known {
        Some(known) if tree_of(cx, package, &known).is_some() || cx.cache.get(&known.sha256)?.is_some() => known,
        _ => {
            if cx.offline {
                return Err(Error::new(format!(
                    "the package {package} is not in the cache, and this run is offline"
                ))
                .hint("run once without --offline"));
            }
            let fetched = download(cx, package)?;
            cx.cache.put_record("deb", &key, &fetched)?;
            fetched
        }
    };
    let tree = match tree_of(cx, package, &fetched) {
        Some(tree) => tree,
        None => {
            let path = cx
                .cache
                .get(&fetched.sha256)?
                .context(|| format!("{package} vanished from the cache"))?;
            let bytes = fs::read(&path).context(|| format!("cannot read {}", path.display()))?;
            let deb = Deb::read(package, &bytes)?;
            cx.cache.tree(&format!("deb-{package}"), &fetched.sha256[..24], |dir| {
                unpack(&deb.entries, dir)
            })?
        }
    };
    for path in want_paths {
        // Not `exists`: a link may point at another package's file.
        if tree.join(path.trim_start_matches('/')).symlink_metadata().is_err() {
            return Err(
                Error::new(format!("the package {package} {} has no {path}", fetched.version)).hint(format!(
                    "install a program that provides {path} with your package manager"
                )),
            );
        }
    }
    Ok(tree)
}

fn tree_of(cx: &Cx, package: &str, fetched: &Fetched) -> Option<PathBuf> {
    cx.cache.has_tree(&format!("deb-{package}"), &fetched.sha256[..24])
}

fn download(cx: &Cx, package: &str) -> Result<Fetched> {
    let work = cx.cache.temp_dir()?;
    let apt = |options: &[String], verb: &[&str]| {
        cx.shell
            .command("apt-get")
            .args(["-qq", "-o", "APT::Sandbox::User="])
            .args(options)
            .args(verb)
            .current_dir(work.path())
            .env("LC_ALL", "C.UTF-8")
            .output()
    };
    cx.ui.step("Fetching", &format!("the package {package}"));
    let get = ["download", package];
    let mut output = apt(&[], &get)
        .context(|| format!("the package {package} is needed and only apt can fetch it"))
        .hint(&format!(
            "install {package}, or what your distribution calls it, with your package manager"
        ))?;
    if !output.status.success() {
        // No lists, as in a fresh container, or lists so old that the mirror has moved on: fetch them, but privately.
        let root = work.path().display();
        for name in ["lists/partial", "archives/partial"] {
            fs::create_dir_all(work.path().join(name))?;
        }
        let mut private = Vec::new();
        for (name, value) in [
            ("Dir::State::lists", format!("{root}/lists")),
            ("Dir::Cache", format!("{root}")),
            ("Dir::Cache::archives", format!("{root}/archives")),
            ("Debug::NoLocking", "true".to_owned()),
        ] {
            private.extend(["-o".to_owned(), format!("{name}={value}")]);
        }
        // One third-party source that fails is not ours to complain about: the download decides.
        apt(&private, &["update"])?;
        output = apt(&private, &get)?;
    }
    if !output.status.success() {
        let text = output.error_text();
        let lines: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("E: ")).collect();
        return Err(Error::new(format!(
            "apt cannot fetch the package {package}: {}",
            redact(&lines.join("; "))
        ))
        .hint(format!(
            "install {package}, or what your distribution calls it, with your package manager"
        )));
    }
    let file = fs::read_dir(work.path())?
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .find(|path| path.extension().is_some_and(|extension| extension == "deb"))
        .context(|| format!("apt fetched no file for {package}"))?;
    let bytes = fs::read(&file).context(|| format!("cannot read {}", file.display()))?;
    let deb = Deb::read(package, &bytes)?;
    let (sha256, _) = cx.cache.put_file(&file, None)?;
    Ok(Fetched {
        sha256,
        version: deb.field("Version").unwrap_or_default(),
    })
}

/// Writes the entries below `dir`, as the current user, without set-ID bits, never through a link.
fn unpack(entries: &[Entry], dir: &Path) -> Result<()> {
    for entry in entries {
        let path = dir.join(&entry.path);
        let failed = || format!("cannot unpack {}", path.display());
        if let Some(parent) = path.parent() {
            for ancestor in parent.ancestors().take_while(|ancestor| *ancestor != dir) {
                if ancestor.is_symlink() {
                    return Err(Error::new(format!("{} lies below a symbolic link", entry.path)));
                }
            }
            fs::create_dir_all(parent).context(failed)?;
        }
        match &entry.kind {
            EntryKind::File(bytes) => {
                fs::write(&path, bytes).context(failed)?;
                let mode = if entry.mode & 0o111 == 0 { 0o644 } else { 0o755 };
                fs::set_permissions(&path, fs::Permissions::from_mode(mode)).context(failed)?;
            }
            EntryKind::Directory => fs::create_dir_all(&path).context(failed)?,
            EntryKind::Symlink(target) => symlink(target, &path).context(failed)?,
            EntryKind::Hardlink(target) => fs::hard_link(dir.join(target), &path).context(failed)?,
            EntryKind::Whiteout | EntryKind::OpaqueDirectory => {
                return Err(Error::new(format!(
                    "{} is a whiteout, which no package has",
                    entry.path
                )));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_is_unpacked_without_set_id_bits_and_never_through_a_link() {
        let dir = tempfile::tempdir().unwrap();
        let entries = [
            Entry::file("usr/bin/su", "x", 0o4755),
            Entry::symlink("usr/sbin", "bin"),
            Entry::new("usr/bin/sudo", EntryKind::Hardlink("usr/bin/su".into()), 0o755),
        ];
        unpack(&entries, dir.path()).unwrap();
        let mode = fs::metadata(dir.path().join("usr/bin/sudo"))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o7777, 0o755);
        let error = unpack(&[Entry::file("usr/sbin/x", "x", 0o644)], dir.path()).unwrap_err();
        assert!(error.to_string().contains("below a symbolic link"), "{error}");
    }
}
