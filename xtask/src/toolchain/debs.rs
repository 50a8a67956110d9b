//! Single packages of the host's own distribution, unpacked into the cache: no root, nothing installed, no script run.
//!
//! This is how qemu-user, pip's wheel and Debian's archive keys come to machines that lack them. apt fetches and
//! verifies, exactly as the host is configured.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::cache::key_of;
use crate::cx::Cx;
use crate::deb::Deb;
use crate::error::{Context, Error, Result, redact};
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

/// One package of the host's archive, unpacked; returns the tree. With `want_paths`, only those files are unpacked (a package
/// such as qemu's has dozens of programs of which one is wanted), with what they link to and the licence.
///
/// Without `apt-get`, offline with a cold cache, or when the package lacks a path: an error that says what to install.
pub fn fetch(cx: &Cx, package: &str, want_paths: &[&str]) -> Result<PathBuf> {
    let wanted: Vec<&str> = want_paths.iter().map(|path| path.trim_start_matches('/')).collect();
    let name = format!("deb-{package}");
    let record = record_key(package);
    let tree_key = |fetched: &Fetched| tree_key(fetched, &wanted);
    let _lock = cx.cache.lock(&name)?;
    let known = cx.cache.record::<Fetched>("deb", &record);
    if let Some(tree) = known
        .as_ref()
        .and_then(|known| cx.cache.has_tree(&name, &tree_key(known)))
    {
        if wanted.iter().all(|path| tree.join(path).exists()) {
            cx.cache.used(&tree);
            return Ok(tree);
        }
        // Somebody deleted a part of it.
        cx.cache.remove(&tree)?;
    }
    let stored = match known {
        Some(known) => cx.cache.get(&known.sha256)?.map(|path| (known, path)),
        None => None,
    };
    let (fetched, deb) = match stored {
        Some((known, path)) => {
            let bytes = fs::read(&path).context(|| format!("cannot read {}", path.display()))?;
            (known, Deb::read(package, &bytes)?)
        }
        None if cx.offline => {
            return Err(Error::new(format!(
                "the package {package} is not in the cache, and this run is offline"
            ))
            .hint("run once without --offline"));
        }
        None => {
            let (fetched, deb) = download(cx, package)?;
            cx.cache.put_record("deb", &record, &fetched)?;
            (fetched, deb)
        }
    };
    cx.cache.tree(&name, &tree_key(&fetched), |dir| {
        unpack(&select(package, deb.entries, &wanted), dir)?;
        for path in &wanted {
            // `exists` follows links: one that leads to another package's file is of no use here.
            if !dir.join(path).exists() {
                return Err(
                    Error::new(format!("the package {package} {} has no {path}", fetched.version)).hint(format!(
                        "install a program that provides {path} with your package manager"
                    )),
                );
            }
        }
        Ok(())
    })
}

/// The entries at and below the wanted paths, what they link to, and the package's licence; all when nothing in particular is
/// wanted.
fn select(package: &str, entries: Vec<Entry>, wanted: &[&str]) -> Vec<Entry> {
    if wanted.is_empty() {
        return entries;
    }
    let below = |entry: &&Entry| {
        let mut at = Some(entry.path.as_str());
        while let Some(path) = at {
            if wanted.contains(&path) {
                return true;
            }
            at = path.rsplit_once('/').map(|(parent, _)| parent);
        }
        false
    };
    let mut paths: BTreeSet<String> = entries.iter().filter(below).map(|entry| entry.path.clone()).collect();
    paths.insert(format!("usr/share/doc/{package}/copyright"));
    loop {
        let more: Vec<String> = entries
            .iter()
            .filter(|entry| paths.contains(&entry.path))
            .filter_map(|entry| match &entry.kind {
                EntryKind::Hardlink(target) => Some(target.clone()),
                EntryKind::Symlink(target) => Some(beside(&entry.path, target)),
                _ => None,
            })
            .filter(|target| !paths.contains(target))
            .collect();
        if more.is_empty() {
            break;
        }
        paths.extend(more);
    }
    let mut entries = entries;
    entries.retain(|entry| paths.contains(&entry.path));
    entries
}

/// Where a symbolic link leads: `usr/bin/a` and `../lib/b` give `usr/lib/b`.
fn beside(link: &str, target: &str) -> String {
    let mut parts: Vec<&str> = match target.strip_prefix('/') {
        Some(_) => Vec::new(),
        None => link.split('/').collect(),
    };
    parts.pop();
    for part in target.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            name => parts.push(name),
        }
    }
    parts.join("/")
}

/// The newest version that the host's apt can verify.
fn download(cx: &Cx, package: &str) -> Result<(Fetched, Deb)> {
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
    if cx.shell.which("apt-get").is_none() {
        return Err(Error::new(format!(
            "the package {package} is needed, only apt can fetch it, and `apt-get` is not in PATH"
        ))
        .hint(format!(
            "install {package}, or what your distribution calls it, with your package manager"
        )));
    }
    let mut output = apt(&[], &get)?;
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
    let version = deb.field("Version").unwrap_or_default();
    Ok((Fetched { sha256, version }, deb))
}

/// Writes the entries below `dir`, as the current user, without set-ID bits, never through a link.
pub(super) fn unpack(entries: &[Entry], dir: &Path) -> Result<()> {
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

/// What [`fetch`] returns when it has nothing to do.
pub fn cached(cx: &Cx, package: &str, want_paths: &[&str]) -> Option<PathBuf> {
    let wanted: Vec<&str> = want_paths.iter().map(|path| path.trim_start_matches('/')).collect();
    let fetched = cx.cache.record::<Fetched>("deb", &record_key(package))?;
    cx.cache
        .has_tree(&format!("deb-{package}"), &tree_key(&fetched, &wanted))
}

/// Two machines may share the cache (a home on a network): what one's archive has is not what the other's has.
fn record_key(package: &str) -> String {
    let os_release = fs::read_to_string("/etc/os-release").unwrap_or_default();
    let os_id = os_release.lines().find(|line| line.starts_with("ID="));
    key_of(["2", package, std::env::consts::ARCH, os_id.unwrap_or_default()])
}

fn tree_key(fetched: &Fetched, wanted: &[&str]) -> String {
    let mut parts = vec![fetched.sha256.as_str()];
    parts.extend(wanted);
    key_of(parts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_wanted_is_taken_with_what_it_links_to() {
        let entries = vec![
            Entry::file("usr/bin/qemu-x86_64", "x", 0o755),
            Entry::file("usr/lib/qemu/arm", "x", 0o755),
            Entry::symlink("usr/bin/qemu-arm", "../lib/qemu/arm"),
            Entry::symlink("usr/bin/qemu-arm-static", "qemu-arm"),
            Entry::file("usr/share/doc/qemu/copyright", "x", 0o644),
        ];
        let names = |wanted: &[&str]| -> Vec<String> {
            let found = select("qemu", entries.clone(), wanted);
            found.into_iter().map(|entry| entry.path).collect()
        };
        let expected = [
            "usr/lib/qemu/arm",
            "usr/bin/qemu-arm",
            "usr/bin/qemu-arm-static",
            "usr/share/doc/qemu/copyright",
        ];
        assert_eq!(names(&["usr/bin/qemu-arm-static"]), expected);
        let expected = ["usr/lib/qemu/arm", "usr/share/doc/qemu/copyright"];
        assert_eq!(names(&["usr/lib/qemu"]), expected, "all of a directory");
        assert_eq!(names(&["usr/lib/qem"]), expected[1..]);
        assert_eq!(names(&[]).len(), 5);
    }

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
