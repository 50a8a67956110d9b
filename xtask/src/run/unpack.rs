//! Layers -> a directory that qemu-user can run from.
//!
//! What the layers say is kept as far as an unprivileged user can keep it: owners are the caller, set-user-id and
//! set-group-id bits and extended attributes are dropped, and the owner may always read files and enter directories
//! (else nobody could run, reuse or remove the tree).

use std::collections::BTreeMap;
use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};

use super::ReadLayer;
use super::tree::{Absent, Tree};
use crate::error::{Context, Error, Result};
use crate::oci::layer::{Entry, EntryKind};

/// An unpacked image; others may use it as well, but nobody removes it as long as this lives.
#[derive(Debug)]
pub struct Rootfs {
    /// Absolute path of the root directory.
    pub path: PathBuf,
    /// Whether it was there already.
    pub reused: bool,
    _lock: Lock,
}

/// A lock on a directory. Given back in so many words: merely closing the file would leave it with any process that
/// another thread is just about to start.
#[derive(Debug)]
pub(super) struct Lock(pub(super) File);

impl Drop for Lock {
    fn drop(&mut self) {
        let _ = self.0.unlock();
    }
}

/// Unpacks into `parent/rootfs-<12 digits of the manifest's digest>`, or returns the one that is there. Trees of other
/// digests in `parent` that nobody runs are removed.
///
/// `layers`, bottom first, are not read when the tree is there. `directories` and (empty) `files` are made when the image
/// lacks them: mount points and the working directory. `fresh` unpacks anew.
///
/// # Errors
/// An entry with an absolute path, with `.` or `..`, below a file, or that links to nothing; what the disk says.
pub fn unpack(
    parent: &Path,
    manifest: &str,
    layers: &[ReadLayer],
    directories: &[&str],
    files: &[&str],
    fresh: bool,
) -> Result<Rootfs> {
    fs::create_dir_all(parent).context(|| format!("cannot create {}", parent.display()))?;
    let guard = Lock(File::create(parent.join("lock")).context(|| format!("cannot write in {}", parent.display()))?);
    guard.0.lock().context(|| format!("cannot lock {}", parent.display()))?;
    let hex = manifest.strip_prefix("sha256:").unwrap_or(manifest);
    let name = format!("rootfs-{}", hex.get(..12).unwrap_or(hex));
    remove_unused(parent, |found| {
        (found != name || fresh) && found.starts_with("rootfs-") || found.starts_with(".unpack-")
    })?;
    let path = parent.join(&name);
    if path.is_dir() {
        if fresh {
            return Err(Error::new(format!("{} is in use by another run", path.display()))
                .hint("stop the other `cargo xtask run`, or leave out --fresh"));
        }
        return hold(path, true);
    }
    let work = tempfile::Builder::new()
        .prefix(".unpack-")
        .tempdir_in(parent)
        .context(|| format!("cannot create a directory in {}", parent.display()))?;
    let tree = Tree::open(work.path())?;
    let mut modes = BTreeMap::new();
    for (index, read) in layers.iter().enumerate() {
        read()
            .and_then(|entries| apply(&tree, &entries, &mut modes))
            .context(|| format!("layer {} of {}", index + 1, layers.len()))?;
    }
    for directory in directories {
        tree.directory(directory, Absent::Create)
            .context(|| format!("cannot make {directory}, which the image runs with"))?;
    }
    for file in files {
        if tree.resolve(file)?.is_none() {
            tree.write_file(file, b"", 0o755, 0)?;
        }
    }
    for (directory, (mode, mtime)) in modes.iter().rev() {
        tree.set_directory(directory, *mode, *mtime)?;
    }
    // tempfile makes the directory 0700; inside a namespace other users may have to pass.
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(work.path(), fs::Permissions::from_mode(0o755))?;
    tree.sync()?;
    fs::rename(work.path(), &path).context(|| format!("cannot move {} to {name}", work.path().display()))?;
    // Renamed: there is nothing left to remove.
    let _ = work.keep();
    hold(path, false)
}

fn hold(path: PathBuf, reused: bool) -> Result<Rootfs> {
    let lock = File::open(&path).context(|| format!("cannot open {}", path.display()))?;
    lock.lock_shared()
        .context(|| format!("cannot lock {}", path.display()))?;
    Ok(Rootfs {
        path,
        reused,
        _lock: Lock(lock),
    })
}

/// Removes the directories that `doomed` names, except those in use.
fn remove_unused(parent: &Path, doomed: impl Fn(&str) -> bool) -> Result<()> {
    for entry in fs::read_dir(parent).context(|| format!("cannot read {}", parent.display()))? {
        let entry = entry?;
        if !entry.file_name().to_str().is_some_and(&doomed) || !entry.file_type()?.is_dir() {
            continue;
        }
        let path = entry.path();
        let lock = Lock(File::open(&path).context(|| format!("cannot open {}", path.display()))?);
        match lock.0.try_lock() {
            Err(TryLockError::WouldBlock) => {}
            Ok(()) | Err(TryLockError::Error(_)) => {
                fs::remove_dir_all(&path).context(|| format!("cannot remove {}", path.display()))?;
            }
        }
    }
    Ok(())
}

/// One layer on top of what is there. `modes` collects what directories get in the end: as long as files are written
/// into them, they must be writable.
fn apply(tree: &Tree, entries: &[Entry], modes: &mut BTreeMap<String, (u32, u64)>) -> Result<()> {
    for entry in entries {
        // Only the root itself has no name, and only emptying it makes sense.
        if !(entry.kind == EntryKind::OpaqueDirectory && entry.path.is_empty()) {
            check_path(&entry.path)?;
        }
    }
    // A whiteout hides what is below this layer, never what the layer itself brings, wherever in the tar it stands.
    for entry in entries {
        match &entry.kind {
            EntryKind::Whiteout => tree.remove(&entry.path)?,
            EntryKind::OpaqueDirectory => tree.empty(&entry.path)?,
            _ => {}
        }
    }
    for entry in entries {
        let mode = entry.mode & 0o1777;
        match &entry.kind {
            EntryKind::Whiteout | EntryKind::OpaqueDirectory => {}
            EntryKind::Directory => {
                let path = tree.make_directory(&entry.path)?;
                modes.insert(path, (mode | 0o700, entry.mtime));
            }
            EntryKind::File(bytes) => tree.write_file(&entry.path, bytes, mode | 0o400, entry.mtime)?,
            EntryKind::Symlink(target) => tree.write_symlink(&entry.path, target, entry.mtime)?,
            EntryKind::Hardlink(target) => {
                check_path(target)?;
                tree.write_hard_link(&entry.path, target)?;
            }
        }
    }
    Ok(())
}

fn check_path(path: &str) -> Result<()> {
    let bad = |part: &str| part.is_empty() || part == "." || part == ".." || part.contains('\0');
    if path.split('/').any(bad) {
        return Err(Error::new(format!(
            "`{}` is not a path inside the image",
            path.escape_debug()
        )));
    }
    Ok(())
}
