//! A program of the host's distribution together with the libraries that this host lacks, unpacked into the cache: no root,
//! nothing installed, no script run.
//!
//! apt says what would have to be installed besides what is there, fetches it and verifies it. So the tree is good for this
//! host alone, and for as long as the host keeps its libraries: who uses it tries it first.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::debs;
use crate::cache::key_of;
use crate::cx::Cx;
use crate::deb::Deb;
use crate::error::{Context, Error, Result, redact};

/// One package of the closure.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Member {
    name: String,
    version: String,
    sha256: String,
}

/// A program that is not installed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program {
    /// Its file.
    pub path: PathBuf,
    /// `LD_LIBRARY_PATH` that it needs; empty when the host has all its libraries.
    pub libraries: OsString,
}

/// `path` of `package`, with what the package depends on and this host lacks. `works` tries the program; when it does not
/// start, everything is asked for and unpacked anew, once.
///
/// # Errors
/// No `apt-get`, offline with a cold cache, a package that cannot be had, a program that does not start: all name what to
/// install.
pub fn fetch(cx: &Cx, package: &str, path: &str, works: impl Fn(&Program) -> Result<()>) -> Result<Program> {
    let path = path.trim_start_matches('/');
    let name = format!("closure-{package}");
    let _lock = cx.cache.lock(&name)?;
    if let Some(program) = known(cx, package, path) {
        if works(&program).is_ok() {
            return Ok(program);
        }
        cx.ui.warn(&format!(
            "{} was fetched for other libraries than this machine has now; fetching it anew",
            program.path.display()
        ));
        if let Some(tree) = tree_of(cx, package) {
            cx.cache.remove(&tree)?;
        }
    }
    if cx.offline {
        return Err(Error::new(format!(
            "{package} is neither installed nor in the cache, and this run is offline"
        ))
        .hint("run once without --offline"));
    }
    let advice = format!("install {package}, or what your distribution calls it, with your package manager");
    let (members, debs) = download(cx, package).map_err(|error| error.hint(advice.as_str()))?;
    let tree = cx.cache.tree(&name, &tree_key(&members), |dir| {
        for deb in debs {
            debs::unpack(&wanted(deb, path), dir)?;
        }
        Ok(())
    })?;
    cx.cache.put_record("closure", &record_key(package), &members)?;
    let program = program(&tree, path);
    works(&program).map_err(|error| {
        error
            .context(format!("{package} was fetched and does not start"))
            .hint(advice)
    })?;
    Ok(program)
}

/// What [`fetch`] returns when it has nothing to do; the program is not tried.
pub fn known(cx: &Cx, package: &str, path: &str) -> Option<Program> {
    let tree = tree_of(cx, package)?;
    let program = program(&tree, path.trim_start_matches('/'));
    program.path.is_file().then_some(program)
}

fn tree_of(cx: &Cx, package: &str) -> Option<PathBuf> {
    let members = cx.cache.record::<Vec<Member>>("closure", &record_key(package))?;
    let tree = cx.cache.has_tree(&format!("closure-{package}"), &tree_key(&members))?;
    cx.cache.used(&tree);
    Some(tree)
}

/// Whoever shares the cache may have another release, with other libraries.
fn record_key(package: &str) -> String {
    let os_release = fs::read_to_string("/etc/os-release").unwrap_or_default();
    let mut parts = vec!["1", package, std::env::consts::ARCH];
    parts.extend(
        os_release
            .lines()
            .filter(|line| line.starts_with("ID=") || line.starts_with("VERSION_ID=")),
    );
    key_of(parts)
}

fn tree_key(members: &[Member]) -> String {
    key_of(members.iter().map(|member| member.sha256.as_str()))
}

/// The program, all libraries, and the licences.
fn wanted(deb: Deb, path: &str) -> Vec<crate::oci::layer::Entry> {
    let kept = |entry: &crate::oci::layer::Entry| {
        let at = entry.path.as_str();
        at == path
            || at.starts_with("usr/lib/")
            || at.starts_with("lib/")
            || (at.starts_with("usr/share/doc/") && at.ends_with("/copyright"))
    };
    deb.entries.into_iter().filter(kept).collect()
}

fn program(tree: &Path, path: &str) -> Program {
    let mut directories = Vec::new();
    for parent in ["lib", "usr/lib"] {
        let inside = fs::read_dir(tree.join(parent)).into_iter().flatten().flatten();
        directories.extend(inside.map(|entry| entry.path()).filter(|path| has_libraries(path)));
    }
    directories.sort();
    Program {
        path: tree.join(path),
        libraries: std::env::join_paths(directories).unwrap_or_default(),
    }
}

fn has_libraries(directory: &Path) -> bool {
    let names = fs::read_dir(directory).into_iter().flatten().flatten();
    names
        .map(|entry| entry.file_name())
        .any(|name| name.to_string_lossy().contains(".so."))
}

/// What apt would install, as it is configured here; the host's own state is read and never changed.
fn download(cx: &Cx, package: &str) -> Result<(Vec<Member>, Vec<Deb>)> {
    if cx.shell.which("apt-get").is_none() {
        return Err(Error::new(format!(
            "{package} is needed, only apt can fetch it, and `apt-get` is not in PATH"
        )));
    }
    cx.ui.step("Fetching", &format!("{package} and the libraries it needs"));
    let work = cx.cache.temp_dir()?;
    let archives = work.path().join("archives");
    for name in ["archives/partial", "lists/partial"] {
        fs::create_dir_all(work.path().join(name))?;
    }
    let root = work.path().display();
    let apt = |private_lists: bool, words: &[&str]| {
        let mut command = cx
            .shell
            .command("apt-get")
            .args(["-qq", "-y", "-o", "APT::Sandbox::User=", "-o", "Debug::NoLocking=true"])
            .args(["-o", &format!("Dir::Cache={root}")])
            .args(["-o", &format!("Dir::Cache::archives={root}/archives")]);
        if private_lists {
            command = command.args(["-o", &format!("Dir::State::lists={root}/lists")]);
        }
        command
            .args(words)
            .current_dir(work.path())
            .env("LC_ALL", "C.UTF-8")
            .output()
    };
    let install = ["install", "--download-only", "--no-install-recommends", package];
    let mut output = apt(false, &install)?;
    if !output.status.success() {
        // No lists, as in a fresh container, or lists so old that the mirror has moved on. One third-party source that
        // fails is not ours to complain about: the download decides.
        apt(true, &["update"])?;
        output = apt(true, &install)?;
    }
    if !output.status.success() {
        let text = output.error_text();
        let lines: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("E: ")).collect();
        return Err(Error::new(format!(
            "apt cannot fetch {package}: {}",
            redact(&lines.join("; "))
        )));
    }
    let mut files: Vec<PathBuf> = fs::read_dir(&archives)?
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "deb"))
        .collect();
    files.sort();
    let mut members = Vec::new();
    let mut debs = Vec::new();
    for file in files {
        let bytes = fs::read(&file).context(|| format!("cannot read {}", file.display()))?;
        let shown = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let deb = Deb::read(&shown, &bytes)?;
        members.push(Member {
            name: deb.field("Package").unwrap_or_default(),
            version: deb.field("Version").unwrap_or_default(),
            sha256: crate::cache::hash_file(&file)?,
        });
        debs.push(deb);
    }
    if !members.iter().any(|member| member.name == package) {
        return Err(Error::new(format!(
            "apt takes {package} for installed, and it is not in PATH"
        )));
    }
    Ok((members, debs))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oci::layer::Entry;

    #[test]
    fn a_program_comes_with_its_libraries_and_nothing_else() {
        let deb = Deb {
            control: String::new(),
            md5sums: None,
            entries: vec![
                Entry::file("usr/bin/wanted", "x", 0o755),
                Entry::file("usr/bin/other", "x", 0o755),
                Entry::file("usr/lib/triple/libx.so.1", "x", 0o644),
                Entry::file("usr/share/doc/x/copyright", "x", 0o644),
                Entry::file("usr/share/doc/x/changelog", "x", 0o644),
                Entry::file("etc/x.conf", "x", 0o644),
            ],
        };
        let dir = tempfile::tempdir().unwrap();
        debs::unpack(&wanted(deb, "usr/bin/wanted"), dir.path()).unwrap();
        for (path, there) in [
            ("usr/bin/wanted", true),
            ("usr/bin/other", false),
            ("usr/share/doc/x/copyright", true),
            ("usr/share/doc/x/changelog", false),
            ("etc/x.conf", false),
        ] {
            assert_eq!(dir.path().join(path).exists(), there, "{path}");
        }
        let program = program(dir.path(), "usr/bin/wanted");
        assert_eq!(program.path, dir.path().join("usr/bin/wanted"));
        assert_eq!(program.libraries, dir.path().join("usr/lib/triple").into_os_string());
    }
}
