//! A directory on the host that holds the files of an image: every path is looked up *inside* it, as the container
//! would see it. Symbolic links of the image are resolved by this module and never by the kernel, so no link, whatever
//! it says, leads out of the directory (an absolute link and `..` above the top stay at the top, as after chroot).

use std::io::Write;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, Timespec, Timestamps};
use rustix::io::Errno;

use crate::error::{Context, Error, Result};

/// As Linux: more links than this in one path are a loop.
const MOST_LINKS: usize = 40;

/// What to do about a directory that is not there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Absent {
    /// Make it, mode 0755.
    Create,
    /// Report that the path is absent.
    Report,
}

/// A place inside the tree: an open directory and where it truly is, free of links.
#[derive(Debug)]
pub(super) struct Place {
    directory: OwnedFd,
    names: Vec<String>,
}

/// The root directory of an unpacked image.
#[derive(Debug)]
pub(super) struct Tree {
    root: OwnedFd,
    path: PathBuf,
}

impl Place {
    /// Path below the root, without leading `/`; empty for the root itself.
    pub(super) fn path(&self) -> String {
        self.names.join("/")
    }

    fn at(&self, name: &str) -> String {
        let mut names = self.names.clone();
        names.push(name.to_owned());
        names.join("/")
    }
}

impl Tree {
    /// Opens an existing directory.
    pub(super) fn open(path: &Path) -> Result<Tree> {
        let root = rustix::fs::openat(CWD, path, directory_flags(), Mode::empty())
            .context(|| format!("cannot open the directory {}", path.display()))?;
        Ok(Tree {
            root,
            path: path.to_owned(),
        })
    }

    /// Its path on the host.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Looks a directory up. `Ok(None)` when something on the way is absent and may not be created.
    ///
    /// # Errors
    /// A component that is neither a directory nor a link to one, a loop of links, or what the host says.
    pub(super) fn directory(&self, path: &str, absent: Absent) -> Result<Option<Place>> {
        let mut pending: Vec<String> = components(path);
        let mut names: Vec<String> = Vec::new();
        let mut open: Vec<OwnedFd> = Vec::new();
        let mut links = 0;
        while let Some(name) = pending.pop() {
            if name == ".." {
                names.pop();
                open.pop();
                continue;
            }
            let here = open.last().map_or(self.root.as_fd(), AsFd::as_fd);
            let mut found = rustix::fs::openat(here, &name, directory_flags(), Mode::empty());
            if matches!(found, Err(Errno::NOENT)) {
                if absent == Absent::Report {
                    return Ok(None);
                }
                rustix::fs::mkdirat(here, &name, Mode::from_raw_mode(0o755))
                    .context(|| format!("cannot make the directory {name} of {path}"))?;
                found = rustix::fs::openat(here, &name, directory_flags(), Mode::empty());
            }
            match found {
                Ok(directory) => {
                    open.push(directory);
                    names.push(name);
                }
                Err(Errno::NOTDIR | Errno::LOOP) => {
                    let Some(target) = link_target(here, &name)? else {
                        return Err(Error::new(format!("{path}: {name} is not a directory")));
                    };
                    links += 1;
                    if links > MOST_LINKS {
                        return Err(Error::new(format!("{path}: too many symbolic links")));
                    }
                    if target.starts_with('/') {
                        names.clear();
                        open.clear();
                    }
                    pending.extend(components(&target));
                }
                Err(error) => return Err(Error::from(error).context(format!("{path}: cannot open {name}"))),
            }
        }
        let directory = match open.pop() {
            Some(directory) => directory,
            None => self.root.try_clone()?,
        };
        Ok(Some(Place { directory, names }))
    }

    /// The directory that holds `path` and the last name of `path`.
    fn parent<'p>(&self, path: &'p str, absent: Absent) -> Result<Option<(Place, &'p str)>> {
        let (parent, name) = path.rsplit_once('/').unwrap_or(("", path));
        if name.is_empty() || name == "." || name == ".." || name.contains('\0') {
            return Err(Error::new(format!("`{path}` does not name a file")));
        }
        Ok(self.directory(parent, absent)?.map(|place| (place, name)))
    }

    /// The directory that holds `path`, made when absent, and the last name of `path`.
    fn parent_made<'p>(&self, path: &'p str) -> Result<(Place, &'p str)> {
        self.parent(path, Absent::Create)?
            .context(|| format!("`{path}` has no directory"))
    }

    /// Where the file that `path` leads to truly is, links resolved: path below the root. `None` when it is absent.
    pub(super) fn resolve(&self, path: &str) -> Result<Option<String>> {
        let mut path = path.to_owned();
        for _ in 0..MOST_LINKS {
            let Some((place, name)) = self.parent(&path, Absent::Report)? else {
                return Ok(None);
            };
            match file_type(place.directory.as_fd(), name)? {
                None => return Ok(None),
                Some(FileType::Symlink) => {
                    let target = link_target(place.directory.as_fd(), name)?.unwrap_or_default();
                    path = if target.starts_with('/') {
                        target
                    } else {
                        format!("{}/{target}", place.path())
                    };
                }
                Some(_) => return Ok(Some(place.at(name))),
            }
        }
        Err(Error::new(format!("{path}: too many symbolic links")))
    }

    /// Makes a directory, or keeps the one that is there; anything else of that name is replaced. Returns its true path.
    pub(super) fn make_directory(&self, path: &str) -> Result<String> {
        let (place, name) = self.parent_made(path)?;
        if file_type(place.directory.as_fd(), name)? != Some(FileType::Directory) {
            self.remove_at(&place, name)?;
            rustix::fs::mkdirat(&place.directory, name, Mode::from_raw_mode(0o755)).context(|| cannot("make", path))?;
        }
        Ok(place.at(name))
    }

    /// Writes a file in the place of whatever has that name. `mode` is taken as it is.
    pub(super) fn write_file(&self, path: &str, bytes: &[u8], mode: u32, mtime: u64) -> Result<()> {
        let (place, name) = self.parent_made(path)?;
        self.remove_at(&place, name)?;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&place.directory, name, flags, Mode::from_raw_mode(0o600))
            .context(|| cannot("create", path))?;
        let mut file = std::fs::File::from(file);
        file.write_all(bytes)
            .map_err(|error| crate::cache::full_disk(error, &self.path))
            .context(|| cannot("write", path))?;
        rustix::fs::fchmod(&file, Mode::from_raw_mode(mode)).context(|| cannot("chmod", path))?;
        rustix::fs::futimens(&file, &times(mtime)).context(|| cannot("set the time of", path))
    }

    /// Makes a symbolic link in the place of whatever has that name; where it leads is not looked at.
    pub(super) fn write_symlink(&self, path: &str, target: &str, mtime: u64) -> Result<()> {
        let (place, name) = self.parent_made(path)?;
        self.remove_at(&place, name)?;
        rustix::fs::symlinkat(target, &place.directory, name).context(|| cannot("link", path))?;
        rustix::fs::utimensat(&place.directory, name, &times(mtime), AtFlags::SYMLINK_NOFOLLOW)
            .context(|| cannot("set the time of", path))
    }

    /// Makes another name for a file of the tree. A link is linked itself, not what it leads to.
    pub(super) fn write_hard_link(&self, path: &str, target: &str) -> Result<()> {
        let missing = || format!("{path} is a hard link to {target}, which the image does not have");
        let (from, original) = self.parent(target, Absent::Report)?.context(missing)?;
        let (place, name) = self.parent_made(path)?;
        match file_type(from.directory.as_fd(), original)? {
            None => return Err(Error::new(missing())),
            Some(FileType::Directory) => {
                return Err(Error::new(format!("{path} is a hard link to the directory {target}")));
            }
            Some(_) if from.at(original) == place.at(name) => return Ok(()),
            Some(_) => {}
        }
        self.remove_at(&place, name)?;
        rustix::fs::linkat(&from.directory, original, &place.directory, name, AtFlags::empty())
            .context(|| cannot("link", path))
    }

    /// Mode and time of a directory that was made before, by the true path that `make_directory` returned. Nothing
    /// happens when it has since been replaced by something else.
    pub(super) fn set_directory(&self, path: &str, mode: u32, mtime: u64) -> Result<()> {
        let Some((place, name)) = self.parent(path, Absent::Report)? else {
            return Ok(());
        };
        if file_type(place.directory.as_fd(), name)? != Some(FileType::Directory) {
            return Ok(());
        }
        // Not a link, and nobody else writes here: chmod(2) by name is safe, and the only way without reopening.
        rustix::fs::chmodat(&place.directory, name, Mode::from_raw_mode(mode), AtFlags::empty())
            .context(|| cannot("chmod", path))?;
        rustix::fs::utimensat(&place.directory, name, &times(mtime), AtFlags::SYMLINK_NOFOLLOW)
            .context(|| cannot("set the time of", path))
    }

    /// Removes a path and all below it, if it is there.
    pub(super) fn remove(&self, path: &str) -> Result<()> {
        match self.parent(path, Absent::Report)? {
            Some((place, name)) => self.remove_at(&place, name),
            None => Ok(()),
        }
    }

    /// Removes all that a directory holds, if it is there.
    pub(super) fn empty(&self, path: &str) -> Result<()> {
        let Some(place) = self.directory(path, Absent::Report)? else {
            return Ok(());
        };
        let host = self.path.join(place.path());
        for entry in std::fs::read_dir(&host).context(|| cannot("read", path))? {
            let name = entry?.file_name();
            let name = name
                .to_str()
                .context(|| format!("{path} holds a name that is not UTF-8"))?;
            self.remove_at(&place, name)?;
        }
        Ok(())
    }

    fn remove_at(&self, place: &Place, name: &str) -> Result<()> {
        let result = match file_type(place.directory.as_fd(), name)? {
            None => Ok(()),
            // The path is free of links, and remove_dir_all follows none below it.
            Some(FileType::Directory) => std::fs::remove_dir_all(self.path.join(place.at(name))),
            Some(_) => rustix::fs::unlinkat(&place.directory, name, AtFlags::empty()).map_err(Into::into),
        };
        result.context(|| cannot("remove", &place.at(name)))
    }

    /// Waits until all that was written is on the disk.
    pub(super) fn sync(&self) -> Result<()> {
        let readable = std::fs::File::open(&self.path)?;
        rustix::fs::syncfs(&readable).context(|| format!("cannot write {} to the disk", self.path.display()))
    }
}

fn directory_flags() -> OFlags {
    OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC
}

/// Components, last first, without empty ones and `.`.
fn components(path: &str) -> Vec<String> {
    let parts = path.split('/').rev();
    parts
        .filter(|part| !part.is_empty() && *part != ".")
        .map(str::to_owned)
        .collect()
}

fn link_target(at: BorrowedFd<'_>, name: &str) -> Result<Option<String>> {
    match rustix::fs::readlinkat(at, name, Vec::new()) {
        Ok(target) => {
            let target = target.into_string();
            Ok(Some(
                target.context(|| format!("{name} links to a name that is not UTF-8"))?,
            ))
        }
        Err(Errno::INVAL) => Ok(None),
        Err(error) => Err(Error::from(error).context(format!("cannot read the link {name}"))),
    }
}

fn file_type(at: BorrowedFd<'_>, name: &str) -> Result<Option<FileType>> {
    match rustix::fs::statat(at, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(status) => Ok(Some(FileType::from_raw_mode(status.st_mode))),
        Err(Errno::NOENT) => Ok(None),
        Err(error) => Err(Error::from(error).context(format!("cannot look at {name}"))),
    }
}

fn times(mtime: u64) -> Timestamps {
    let time = Timespec {
        tv_sec: i64::try_from(mtime).unwrap_or(0),
        tv_nsec: 0,
    };
    Timestamps {
        last_access: time,
        last_modification: time,
    }
}

fn cannot(verb: &str, path: &str) -> String {
    format!("cannot {verb} {path}")
}
