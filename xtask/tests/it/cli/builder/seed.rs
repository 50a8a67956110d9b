//! What zig made on the host, for the builder in a container: its C libraries take a minute of processor time for each triple.
//!
//! zig knows by content what it made before, but for musl and libunwind, whose flags name the place of zig. Other tests use both
//! caches meanwhile. A file that changes its size while `docker cp` reads it ends that with "unexpected EOF" (2026-11-26), and what
//! a container is reading must not be replaced. So a copy is made of what zig is done with, and every piece of it goes into the volume
//! with one rename, unless there is one of that name.

use std::fs::{self, File};
use std::io;
use std::path::Path;

use xtask::builder::LABEL;
use xtask::shell::Shell;

use super::super::Workspace;
use super::repository;
use super::story::status;
use crate::chain;

/// The directories of zig's caches. The manifests (`h`) come last into the volume and first out of the host's cache: they name what
/// lies in the others.
const PARTS: [&str; 5] = ["global/b", "global/o", "local/o", "global/h", "local/h"];

pub fn seed() {
    let copy = tempfile::tempdir().unwrap();
    take(&chain::cache_dir().join("zig"), copy.path()).unwrap();
    let shell = Shell::default();
    let docker = |args: &[&str]| shell.command("docker").args(args).read().unwrap();
    let status = status(&Workspace {
        root: repository().to_owned(),
        _temp: None,
    });
    let image = status["image"].as_str().unwrap();
    let (name, _) = image.rsplit_once(':').unwrap();
    let volume = format!("{name}-zig");
    // As the builder makes it.
    docker(&["volume", "create", "--label", &format!("{LABEL}={name}"), &volume]);
    let place = copy.path().file_name().unwrap().to_str().unwrap();
    let script = format!(
        "set -e; cd /cache/zig; for part in {}; do mkdir -p \"$part\"; \
         find \"{place}/$part\" -mindepth 1 -maxdepth 1 -exec mv --update=none --target-directory=\"$part\" {{}} +; done; rm -r \"{place}\"",
        PARTS.join(" ")
    );
    let mount = format!("{volume}:/cache/zig");
    let create = [
        "create",
        "--rm",
        "--network",
        "none",
        "--volume",
        &mount,
        "--entrypoint",
        "sh",
        image,
        "-c",
        &script,
    ];
    let container = docker(&create);
    let container = container.trim();
    docker(&[
        "cp",
        &copy.path().display().to_string(),
        &format!("{container}:/cache/zig"),
    ]);
    docker(&["start", "--attach", container]);
}

/// Copies what zig is done with. zig holds a lock on a manifest for as long as it makes what that is of.
fn take(from: &Path, to: &Path) -> io::Result<()> {
    PARTS
        .into_iter()
        .rev()
        .try_for_each(|part| copy(&from.join(part), &to.join(part)))
}

fn copy(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in unless_gone(fs::read_dir(from))?.into_iter().flatten() {
        let entry = entry?;
        let to = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &to)?;
        } else if let Some(mut file) = unless_gone(File::open(entry.path()))?
            && file.try_lock_shared().is_ok()
        {
            io::copy(&mut file, &mut File::create(to)?)?;
        }
    }
    Ok(())
}

/// What zig makes anew it removes first.
fn unless_gone<T>(found: io::Result<T>) -> io::Result<Option<T>> {
    match found {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        found => found.map(Some),
    }
}

#[test]
fn what_zig_is_at_work_on_is_left_out() {
    let temp = tempfile::tempdir().unwrap();
    let (from, to) = (temp.path().join("from"), temp.path().join("to"));
    let write = |name: &str| {
        let path = from.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, name).unwrap();
        path
    };
    write("global/h/done.txt");
    write("global/o/made/memcpy.o");
    write("global/tmp/half/memcpy.o");
    let held = File::open(write("global/h/held.txt")).unwrap();
    held.lock().unwrap();
    take(&from, &to).unwrap();
    let read = |name: &str| fs::read_to_string(to.join(name)).ok();
    for name in ["global/h/done.txt", "global/o/made/memcpy.o"] {
        assert_eq!(read(name).as_deref(), Some(name));
    }
    for name in ["global/h/held.txt", "global/tmp/half/memcpy.o"] {
        assert_eq!(read(name), None);
    }
    held.unlock().unwrap();
    take(&from, &temp.path().join("later")).unwrap();
    assert!(temp.path().join("later/global/h/held.txt").is_file());
}
