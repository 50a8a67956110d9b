//! The cache directory: everything that was fetched or derived, shared between clones, safe to delete.
//!
//! Layout: `sha256/<hex>` fetched files by content; `tree/<name>/<key>` unpacked trees, complete or absent;
//! `record/<kind>/<key>.json` small decisions; `lock/` files that keep parallel runs apart; `tmp/` work in progress;
//! `work/<name>/<key>` long work that is taken up again; `zig/` what zig keeps for itself; `damaged/` blobs that were found to be. Everything appears under its final name by
//! rename and leaves it by rename, so a killed run leaves nothing that a later run would trust.
//!
//! A run that takes anything from the cache holds `lock/in-use` together with others until it ends; who deletes holds it alone.

use std::fs::{self, File, TryLockError};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use serde::Serialize;
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};

use crate::error::{Context, Error, Result};

/// A cache rooted at one directory.
#[derive(Clone, Debug)]
pub struct Cache {
    root: PathBuf,
    /// `lock/in-use`, from the first use on.
    held: Arc<Mutex<Option<File>>>,
}

/// The file that every run holds while it uses the cache.
const IN_USE: &str = "in-use";
/// Uses are noted once in this time.
const NOTED: Duration = Duration::from_secs(3600);

/// One thing in the cache, for `cargo xtask cache list`.
#[derive(Clone, Debug, Serialize)]
pub struct CacheEntry {
    /// `blob`, `tree`, `record`, or `work` for what other programs and earlier accidents left.
    pub kind: &'static str,
    /// Content hash, `name/key`, or `kind/key`.
    pub name: String,
    /// Bytes on disk.
    pub size: u64,
    /// When it was last used, as far as is known.
    #[serde(skip)]
    pub used: Option<SystemTime>,
    /// Absolute path.
    pub path: PathBuf,
}

/// Keeps other runs out of one tree or record; released when dropped.
#[derive(Debug)]
pub struct CacheLock(#[allow(dead_code)] File);

impl Cache {
    /// A cache at `root`; nothing is created until something is stored.
    pub fn at(root: impl Into<PathBuf>) -> Self {
        Cache {
            root: root.into(),
            held: Arc::default(),
        }
    }

    /// `$XDG_CACHE_HOME/raspi-image`, else `~/.cache/raspi-image`.
    pub fn default_root() -> Result<PathBuf> {
        let base = std::env::var_os("XDG_CACHE_HOME")
            .map(PathBuf::from)
            .filter(|path| path.is_absolute());
        base.or_else(|| std::env::home_dir().map(|home| home.join(".cache")))
            .map(|base| base.join("raspi-image"))
            .context(|| "cannot tell where the cache directory belongs: neither XDG_CACHE_HOME nor HOME is set")
            .hint("name one with --cache-dir DIR")
    }

    /// The root directory.
    pub fn root(&self) -> &Path {
        &self.root
    }

    fn directory(&self, name: &str) -> Result<PathBuf> {
        let dir = self.root.join(name);
        fs::create_dir_all(&dir)
            .context(|| format!("cannot create the cache directory {}", dir.display()))
            .hint("choose a writable one with --cache-dir DIR")?;
        Ok(dir)
    }

    fn make(&self, name: &str) -> Result<PathBuf> {
        self.hold(true)?;
        self.directory(name)
    }

    /// Keeps [`Cache::alone`] out until this run ends. Looking (`create` is false) makes no file.
    fn hold(&self, create: bool) -> Result<()> {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        if held.is_some() {
            return Ok(());
        }
        let path = self.root.join("lock").join(IN_USE);
        let file = if create {
            self.directory("lock")?;
            File::create(&path).context(|| format!("cannot create {}", path.display()))?
        } else {
            match File::open(&path) {
                Ok(file) => file,
                Err(_) => return Ok(()),
            }
        };
        file.lock_shared()
            .context(|| format!("cannot lock {}", path.display()))?;
        *held = Some(file);
        Ok(())
    }

    /// The cache for one who deletes: fails while any run uses it, and none can start to until the lock is dropped.
    pub fn alone(&self) -> Result<CacheLock> {
        let path = self.directory("lock")?.join(IN_USE);
        let file = File::create(&path).context(|| format!("cannot create {}", path.display()))?;
        match file.try_lock() {
            Ok(()) => Ok(CacheLock(file)),
            Err(TryLockError::WouldBlock) => Err(Error::new(format!(
                "another run uses the cache {}",
                self.root.display()
            ))
            .hint("nothing was deleted; run it again when that run has ended")),
            Err(TryLockError::Error(error)) => {
                Err(Error::from(error).context(format!("cannot lock {}", path.display())))
            }
        }
    }

    /// Notes that `path` is of use, for `prune --older-than`. Access times will not do: they are coarse or off on many
    /// systems, and for a directory they tell who listed it.
    pub fn used(&self, path: &Path) {
        let old = |data: fs::Metadata| {
            data.modified()
                .is_ok_and(|time| time.elapsed().is_ok_and(|age| age > NOTED))
        };
        if fs::metadata(path).is_ok_and(old)
            && let Ok(file) = File::open(path)
        {
            // A cache that belongs to somebody else is used all the same.
            let _ = file.set_modified(SystemTime::now());
        }
    }

    /// Takes an entry away: first its name, then, at leisure, its content.
    pub fn remove(&self, path: &Path) -> Result<()> {
        let failed = || format!("cannot delete {}", path.display());
        let aside = tempfile::TempDir::new_in(self.directory("tmp")?).context(failed)?;
        fs::rename(path, aside.path().join("gone")).context(failed)?;
        aside.close().context(failed)
    }

    /// A directory for long work, which a later run takes up where a killed one ended: `work/NAME/KEY`. Whoever uses it keeps
    /// others out, and removes it when the work is done.
    pub fn work(&self, name: &str, key: &str) -> Result<PathBuf> {
        self.make(&format!("work/{name}/{key}"))
    }

    /// A new temporary directory on the same file system, removed when dropped.
    pub fn temp_dir(&self) -> Result<tempfile::TempDir> {
        let dir = self.make("tmp")?;
        tempfile::TempDir::new_in(&dir).context(|| format!("cannot create a directory in {}", dir.display()))
    }

    /// The file with this SHA-256 (hex), if it is there and still whole. A damaged one is set aside, never used.
    pub fn get(&self, sha256: &str) -> Result<Option<PathBuf>> {
        self.hold(false)?;
        let path = self.root.join("sha256").join(sha256);
        if !path.is_file() {
            return Ok(None);
        }
        let found = hash_file(&path)?;
        if found == sha256 {
            self.used(&path);
            return Ok(Some(path));
        }
        let aside = self.make("damaged")?.join(format!("{sha256}-{}", &found[..8]));
        fs::rename(&path, &aside).context(|| format!("cannot set aside the damaged cache file {}", path.display()))?;
        Ok(None)
    }

    /// Stores a copy of `file`; `expected` is the SHA-256 (hex) it must have.
    pub fn put_file(&self, file: &Path, expected: Option<&str>) -> Result<(String, PathBuf)> {
        let mut source = File::open(file).context(|| format!("cannot read {}", file.display()))?;
        let temp = self.make("tmp")?;
        let mut copy =
            tempfile::NamedTempFile::new_in(&temp).context(|| format!("cannot write in {}", temp.display()))?;
        let mut hash = Sha256::new();
        let mut buffer = vec![0; 1 << 16];
        loop {
            let count = source
                .read(&mut buffer)
                .context(|| format!("cannot read {}", file.display()))?;
            if count == 0 {
                break;
            }
            hash.update(&buffer[..count]);
            copy.write_all(&buffer[..count])
                .map_err(|error| full_disk(error, &temp))?;
        }
        let found = hex(&hash.finalize());
        if let Some(expected) = expected
            && expected != found
        {
            return Err(
                Error::new(format!("{}: sha256 is {found}, expected {expected}", file.display())).hint(
                    "the download was damaged or replaced; try again, and distrust the mirror if it happens twice",
                ),
            );
        }
        copy.as_file().sync_all().map_err(|error| full_disk(error, &temp))?;
        let path = self.make("sha256")?.join(&found);
        copy.persist(&path)
            .context(|| format!("cannot store {}", path.display()))?;
        Ok((found, path))
    }

    /// Stores bytes; returns their SHA-256 (hex) and path.
    pub fn put_bytes(&self, bytes: &[u8]) -> Result<(String, PathBuf)> {
        let name = hex(&Sha256::digest(bytes));
        let dir = self.make("sha256")?;
        let path = dir.join(&name);
        write_atomically(&path, bytes)?;
        Ok((name, path))
    }

    /// Where something that is being fetched grows, so that a later run can go on with it: a file in `tmp/` that has this name
    /// for as long as nobody sweeps. It may be there, whole, half or wrong: trust it when its content was checked.
    pub fn partial(&self, name: &str) -> Result<PathBuf> {
        Ok(self.make("tmp")?.join(format!("partial-{name}")))
    }

    /// Takes in a file that lies in the cache's own `tmp/` and was found to have this SHA-256 (hex): it is renamed, not copied.
    pub fn adopt(&self, file: &Path, sha256: &str) -> Result<PathBuf> {
        let path = self.make("sha256")?.join(sha256);
        fs::rename(file, &path).context(|| format!("cannot store {}", path.display()))?;
        Ok(path)
    }

    /// An unpacked tree: made by `fill` in a temporary directory, then renamed. `key` is a digest of everything it depends on.
    pub fn tree(&self, name: &str, key: &str, fill: impl FnOnce(&Path) -> Result<()>) -> Result<PathBuf> {
        if let Some(path) = self.has_tree(name, key) {
            self.used(&path);
            return Ok(path);
        }
        let path = self.root.join("tree").join(name).join(key);
        let _lock = self.lock(&format!("tree-{name}-{key}"))?;
        if path.is_dir() {
            return Ok(path);
        }
        let work = self.temp_dir()?;
        fill(work.path())?;
        // One call for all the files: after a power cut the name must not lead to empty ones.
        File::open(work.path())
            .and_then(|dir| Ok(rustix::fs::syncfs(dir)?))
            .map_err(|error| full_disk(error, work.path()))?;
        self.make(&format!("tree/{name}"))?;
        let work = work.keep();
        fs::rename(&work, &path).context(|| format!("cannot move {} to {}", work.display(), path.display()))?;
        Ok(path)
    }

    /// Whether a tree is there already.
    pub fn has_tree(&self, name: &str, key: &str) -> Option<PathBuf> {
        // Without the lock (a file system that has none) the tree is still what it is.
        let _ = self.hold(false);
        Some(self.root.join("tree").join(name).join(key)).filter(|path| path.is_dir())
    }

    /// A decision made earlier. One that cannot be read counts as absent.
    pub fn record<T: DeserializeOwned>(&self, kind: &str, key: &str) -> Option<T> {
        let text = fs::read(self.root.join("record").join(kind).join(format!("{key}.json"))).ok()?;
        serde_json::from_slice(&text).ok()
    }

    /// Keeps a decision.
    pub fn put_record<T: Serialize>(&self, kind: &str, key: &str, value: &T) -> Result<()> {
        let dir = self.make(&format!("record/{kind}"))?;
        write_atomically(&dir.join(format!("{key}.json")), &serde_json::to_vec_pretty(value)?)
    }

    /// Waits until no other run holds the lock `name`.
    pub fn lock(&self, name: &str) -> Result<CacheLock> {
        let path = self.make("lock")?.join(name.replace('/', "-"));
        let file = File::create(&path).context(|| format!("cannot create {}", path.display()))?;
        file.lock().context(|| format!("cannot lock {}", path.display()))?;
        Ok(CacheLock(file))
    }

    /// Deletes what nobody can want while the cache is held [`Cache::alone`]: work in progress, locks, directories without
    /// entries. Returns the bytes.
    pub fn sweep(&self) -> Result<u64> {
        let mut freed = 0;
        for path in children(&self.root.join("tmp"))? {
            freed += size_of(&path);
            let gone = match path.is_dir() {
                true => fs::remove_dir_all(&path),
                false => fs::remove_file(&path),
            };
            gone.context(|| format!("cannot delete {}", path.display()))?;
        }
        for path in children(&self.root.join("lock"))? {
            if file_name(&path) != IN_USE {
                fs::remove_file(&path).context(|| format!("cannot delete {}", path.display()))?;
            }
        }
        for group in ["tree", "record", "work"] {
            for path in children(&self.root.join(group))? {
                // Fails, as it should, when there is something in it.
                let _ = fs::remove_dir(&path);
            }
        }
        Ok(freed)
    }

    /// Everything in the cache, sorted by kind and name.
    pub fn entries(&self) -> Result<Vec<CacheEntry>> {
        let mut entries = Vec::new();
        let mut add = |kind, name, path: PathBuf, used| {
            entries.push(CacheEntry {
                kind,
                name,
                size: size_of(&path),
                used,
                path,
            });
        };
        for path in children(&self.root.join("sha256"))? {
            add("blob", file_name(&path), path.clone(), modified(&path));
        }
        for kind in ["tree", "record", "work"] {
            let groups = match kind {
                "work" => {
                    let mut groups = children(&self.root.join(kind))?;
                    groups.extend(["damaged", "zig"].map(|name| self.root.join(name)));
                    groups
                }
                kind => children(&self.root.join(kind))?,
            };
            for group in groups {
                for path in children(&group)? {
                    let name = format!("{}/{}", file_name(&group), file_name(&path));
                    let used = match kind {
                        "tree" => modified(&path),
                        "record" => modified(&path).max(accessed(&path)),
                        _ => newest(&path),
                    };
                    add(kind, name, path, used);
                }
            }
        }
        Ok(entries)
    }
}

/// Writes a file so that a reader sees all of it or none: temporary file, fsync, rename.
pub fn write_atomically(path: &Path, bytes: &[u8]) -> Result<()> {
    write_with_mode(path, bytes, 0o644)
}

/// The same for a file of another mode, which it has before it has its name.
pub fn write_with_mode(path: &Path, bytes: &[u8], mode: u32) -> Result<()> {
    let dir = path
        .parent()
        .context(|| format!("{} has no directory", path.display()))?;
    let mut temp = tempfile::NamedTempFile::new_in(dir).context(|| format!("cannot write in {}", dir.display()))?;
    temp.write_all(bytes).map_err(|error| full_disk(error, dir))?;
    temp.as_file().sync_all().map_err(|error| full_disk(error, dir))?;
    use std::os::unix::fs::PermissionsExt;
    temp.as_file()
        .set_permissions(fs::Permissions::from_mode(mode))
        .context(|| format!("cannot chmod {}", path.display()))?;
    temp.persist(path)
        .context(|| format!("cannot store {}", path.display()))?;
    Ok(())
}

/// The same, unless the file is there already with these bytes and this mode: what has its name was synced before it got it, and
/// the disk need not be waited for again.
pub fn write_if_changed(path: &Path, bytes: &[u8], mode: u32) -> Result<()> {
    use std::os::unix::fs::PermissionsExt;
    let is_it = |data: fs::Metadata| {
        data.is_file() && data.len() == bytes.len() as u64 && data.permissions().mode() & 0o7777 == mode
    };
    if fs::symlink_metadata(path).is_ok_and(is_it) && fs::read(path).is_ok_and(|found| found == bytes) {
        return Ok(());
    }
    write_with_mode(path, bytes, mode)
}

/// Names the directory and the next step when the disk is full.
pub fn full_disk(error: std::io::Error, dir: &Path) -> Error {
    use std::io::ErrorKind::{QuotaExceeded, StorageFull};
    let full = matches!(error.kind(), StorageFull | QuotaExceeded);
    let error = Error::from(error).context(format!("cannot write in {}", dir.display()));
    if full {
        error.hint("the disk is full: free some space (`cargo xtask cache prune` helps) and run again")
    } else {
        error
    }
}

/// SHA-256 of a file, in hex.
pub fn hash_file(path: &Path) -> Result<String> {
    let mut file = File::open(path).context(|| format!("cannot read {}", path.display()))?;
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 1 << 16];
    loop {
        let count = file
            .read(&mut buffer)
            .context(|| format!("cannot read {}", path.display()))?;
        if count == 0 {
            return Ok(hex(&hash.finalize()));
        }
        hash.update(&buffer[..count]);
    }
}

/// Lower-case hex.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        use std::fmt::Write;
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// A short key from the parts that a tree or record depends on.
pub fn key_of<S: AsRef<[u8]>>(parts: impl IntoIterator<Item = S>) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        // Length first, so that ("ab","c") and ("a","bc") differ.
        hash.update((part.as_ref().len() as u64).to_le_bytes());
        hash.update(part.as_ref());
    }
    hex(&hash.finalize())[..24].to_owned()
}

fn children(dir: &Path) -> Result<Vec<PathBuf>> {
    if !dir.is_dir() {
        return Ok(Vec::new());
    }
    let mut paths = fs::read_dir(dir)
        .context(|| format!("cannot read {}", dir.display()))?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<std::io::Result<Vec<_>>>()?;
    paths.sort();
    Ok(paths)
}

fn file_name(path: &Path) -> String {
    path.file_name()
        .map(|name| name.to_string_lossy().into_owned())
        .unwrap_or_default()
}

fn modified(path: &Path) -> Option<SystemTime> {
    fs::symlink_metadata(path).and_then(|data| data.modified()).ok()
}

fn accessed(path: &Path) -> Option<SystemTime> {
    fs::symlink_metadata(path).and_then(|data| data.accessed()).ok()
}

/// The last change in a whole tree: nobody notes the use of what other programs keep.
fn newest(path: &Path) -> Option<SystemTime> {
    let below = match fs::symlink_metadata(path) {
        Ok(data) if data.is_dir() => children(path).unwrap_or_default(),
        _ => Vec::new(),
    };
    below
        .iter()
        .filter_map(|child| newest(child))
        .chain(modified(path))
        .max()
}

fn size_of(path: &Path) -> u64 {
    match fs::symlink_metadata(path) {
        Ok(data) if data.is_dir() => children(path)
            .unwrap_or_default()
            .iter()
            .map(|child| size_of(child))
            .sum(),
        Ok(data) => data.len(),
        Err(_) => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_damaged_blob_is_noticed_and_set_aside() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::at(dir.path());
        let (name, path) = cache.put_bytes(b"whole").unwrap();
        assert_eq!(cache.get(&name).unwrap(), Some(path.clone()));
        fs::write(&path, b"whale").unwrap();
        assert_eq!(cache.get(&name).unwrap(), None);
        assert!(!path.exists(), "a damaged file must not keep its name");
    }

    #[test]
    fn a_tree_is_complete_or_absent() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::at(dir.path());
        let failed = cache.tree("tool", "k", |work| {
            fs::write(work.join("half"), b"")?;
            Err(Error::new("interrupted"))
        });
        assert!(failed.is_err());
        assert!(cache.has_tree("tool", "k").is_none());
        let path = cache
            .tree("tool", "k", |work| Ok(fs::write(work.join("all"), b"")?))
            .unwrap();
        assert!(path.join("all").is_file() && !path.join("half").exists());
    }

    #[test]
    fn a_wrong_checksum_names_both() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("f");
        fs::write(&file, b"x").unwrap();
        let error = Cache::at(dir.path().join("c"))
            .put_file(&file, Some("00"))
            .unwrap_err()
            .to_string();
        assert!(error.contains("expected 00") && error.contains("2d711642"), "{error}");
    }

    #[test]
    fn who_deletes_is_alone() {
        let dir = tempfile::tempdir().unwrap();
        let user = Cache::at(dir.path());
        user.put_bytes(b"x").unwrap();
        let error = Cache::at(dir.path()).alone().unwrap_err();
        assert!(error.to_string().contains("another run uses the cache"), "{error}");
        drop(user);
        let alone = Cache::at(dir.path()).alone().unwrap();
        assert!(Cache::at(dir.path()).alone().is_err());
        drop(alone);
        // Looking at what is not there makes nothing.
        let none = dir.path().join("none");
        assert!(Cache::at(&none).has_tree("tool", "k").is_none());
        assert_eq!(Cache::at(&none).get("00").unwrap(), None);
        assert!(!none.exists());
    }

    #[test]
    fn use_is_noted_and_listing_is_not_use() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::at(dir.path());
        let path = cache
            .tree("tool", "k", |work| Ok(fs::write(work.join("f"), b"")?))
            .unwrap();
        let old = SystemTime::now() - Duration::from_secs(90 * 86_400);
        File::open(&path).unwrap().set_modified(old).unwrap();
        let used = || cache.entries().unwrap()[0].used.unwrap().elapsed().unwrap().as_secs() / 86_400;
        assert_eq!((used(), used()), (90, 90));
        cache.tree("tool", "k", |_| Err(Error::new("it is there"))).unwrap();
        assert_eq!(used(), 0);
    }

    #[test]
    fn what_did_not_change_is_not_written() {
        use std::os::unix::fs::{MetadataExt, PermissionsExt};
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        let is = || fs::metadata(&path).unwrap();
        write_if_changed(&path, b"one", 0o644).unwrap();
        let first = is().ino();
        // A new file gets another number while the old one is held open.
        let _held = File::open(&path).unwrap();
        write_if_changed(&path, b"one", 0o644).unwrap();
        assert_eq!(is().ino(), first);
        write_if_changed(&path, b"two", 0o644).unwrap();
        assert_ne!(is().ino(), first);
        assert_eq!(fs::read(&path).unwrap(), b"two");
        write_if_changed(&path, b"two", 0o600).unwrap();
        assert_eq!(is().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn keys_do_not_run_together() {
        assert_ne!(key_of(["ab", "c"]), key_of(["a", "bc"]));
    }
}
