//! The SD card: an image file with one ext4 file system, kept between runs.
//!
//! ext4 with a journal is what Raspberry Pi OS has, and what decides whether a power cut is survived. mke2fs makes it without
//! root: the one of this host, else the one that apt fetches. What is on it is up to the guest, who owns it.

use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};

use crate::cx::Cx;
use crate::error::{Context, Error, Result};
use crate::toolchain::closure::{self, Program};

/// Where mke2fs is when PATH does not say: sbin is root's.
const PLACES: [&str; 3] = ["/usr/sbin/mke2fs", "/sbin/mke2fs", "/usr/local/sbin/mke2fs"];
const PACKAGE: (&str, &str) = ("e2fsprogs", "usr/sbin/mke2fs");

const FEATURES: &str = "none,has_journal,ext_attr,resize_inode,dir_index,filetype,extent,64bit,flex_bg,sparse_super,\
                        large_file,huge_file,dir_nlink,extra_isize,metadata_csum";

/// The mke2fs of this machine; nothing is fetched.
pub fn mke2fs_installed(cx: &Cx) -> Option<PathBuf> {
    let places = PLACES.iter().map(PathBuf::from).find(|path| path.is_file());
    cx.shell.which("mke2fs").or(places)
}

/// What was fetched before.
pub fn mke2fs_cached(cx: &Cx) -> Option<PathBuf> {
    closure::known(cx, PACKAGE.0, PACKAGE.1).map(|program| program.path)
}

fn mke2fs(cx: &Cx) -> Result<Program> {
    if let Some(path) = mke2fs_installed(cx) {
        return Ok(Program {
            path,
            libraries: Default::default(),
        });
    }
    closure::fetch(cx, PACKAGE.0, PACKAGE.1, |program| {
        cx.shell
            .command(&program.path)
            .arg("-V")
            .env("LD_LIBRARY_PATH", &program.libraries)
            .read()
            .map(|_| ())
    })
}

/// A card that one machine uses; given back when dropped.
#[derive(Debug)]
pub(super) struct Card {
    path: PathBuf,
    lock: File,
}

impl Drop for Card {
    fn drop(&mut self) {
        let _ = self.lock.unlock();
    }
}

impl Card {
    /// The card at `path`, made when it is not there, is of another size, or `fresh` asks for a new one.
    ///
    /// # Errors
    /// Another machine uses it; no mke2fs; what the disk says.
    pub(super) fn open(cx: &Cx, path: &Path, mib: u64, fresh: bool) -> Result<Card> {
        let lock_path = path.with_extension("lock");
        let lock = File::create(&lock_path).context(|| format!("cannot write {}", lock_path.display()))?;
        if let Err(TryLockError::WouldBlock) = lock.try_lock() {
            return Err(
                Error::new(format!("another machine uses the SD card {}", cx.show(path)))
                    .hint("stop the other `cargo xtask boot`"),
            );
        }
        let size = mib << 20;
        let there = path.metadata().is_ok_and(|data| data.len() == size);
        if fresh || !there {
            format(cx, path, size)?;
        }
        Ok(Card {
            path: path.to_owned(),
            lock,
        })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

/// Writes a new file system beside the old one and puts it in its place.
fn format(cx: &Cx, path: &Path, size: u64) -> Result<()> {
    let program = mke2fs(cx)?;
    let parent = path
        .parent()
        .context(|| format!("{} has no directory", path.display()))?;
    let file = tempfile::Builder::new()
        .prefix(".card-")
        .tempfile_in(parent)
        .context(|| format!("cannot write in {}", parent.display()))?;
    file.as_file().set_len(size)?;
    let mut command = cx.shell.command(&program.path);
    if !program.libraries.is_empty() {
        command = command.env("LD_LIBRARY_PATH", &program.libraries);
    }
    // Nothing is left for the guest to initialise in the background: it would be in the figures.
    command
        .args(["-q", "-F", "-t", "ext4", "-L", "pi", "-m", "0"])
        .args(["-E", "lazy_itable_init=0,lazy_journal_init=0,root_owner=0:0"])
        // Raspberry Pi OS' features, whatever this host's mke2fs.conf prefers or its mke2fs has learnt since.
        .args(["-b", "4096", "-I", "256", "-O", FEATURES])
        .arg(file.path())
        .env("MKE2FS_CONFIG", "/dev/null")
        .output()
        .and_then(|output| match output.status.success() {
            true => Ok(()),
            false => Err(Error::new(format!("mke2fs failed: {}", output.error_text().trim()))),
        })
        .context(|| format!("cannot make the SD card {}", cx.show(path)))?;
    file.as_file()
        .sync_all()
        .context(|| format!("cannot write {}", path.display()))?;
    file.persist(path)
        .map_err(|error| error.error)
        .context(|| format!("cannot write {}", path.display()))?;
    fs::File::open(parent)?
        .sync_all()
        .context(|| format!("cannot write {}", parent.display()))
}
