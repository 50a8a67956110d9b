//! Where the blog listens: addresses and sockets in the file system, bound and cleared away.

use std::fs;
use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use crate::cli::Failure;

/// A place to listen at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Listen {
    Off,
    Tcp(SocketAddr),
    Unix(PathBuf),
}

impl std::fmt::Display for Listen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Off => f.write_str("off"),
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// Whom a listener is for, and with that which addresses it has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Audience {
    /// Reading alone; no cookie is read or set.
    Readers,
    /// Reading, signing in and writing.
    Everybody,
}

impl Audience {
    /// For the log.
    pub fn word(self) -> &'static str {
        match self {
            Self::Readers => "readers",
            Self::Everybody => "everybody",
        }
    }
}

/// A listener, ready to be given to a server.
#[derive(Debug)]
pub enum Bound {
    Tcp(TcpListener),
    Unix(UnixListener, SocketFile),
}

/// The name of a socket in the file system. It goes when this does, unless somebody else's socket has the name by then.
#[derive(Debug)]
pub struct SocketFile {
    path: PathBuf,
    /// Device and inode.
    identity: (u64, u64),
}

impl SocketFile {
    /// `unix:PATH`
    pub fn place(&self) -> String {
        Listen::Unix(self.path.clone()).to_string()
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if fs::symlink_metadata(&self.path).is_ok_and(|found| (found.dev(), found.ino()) == self.identity) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Listens there; `mode` is for sockets in the file system. `None` when it is off.
///
/// # Errors
/// A place that is taken, forbidden or not of this machine; a file at the path that is not a socket. `key` names the
/// setting for the hint.
pub fn bind(listen: &Listen, mode: u32, key: &str) -> Result<Option<Bound>, Failure> {
    match listen {
        Listen::Off => Ok(None),
        Listen::Tcp(address) => TcpListener::bind(address)
            .map(|listener| Some(Bound::Tcp(listener)))
            .map_err(|error| {
                let rest = match error.kind() {
                    ErrorKind::AddrInUse => "another program listens there; choose a port",
                    ErrorKind::PermissionDenied => "ports below 1024 need rights; choose one",
                    _ => "choose an address of this machine",
                };
                failed(listen, &error, &format!("{rest} with --{key}"))
            }),
        Listen::Unix(path) => {
            clear(path).map_err(|error| failed(listen, &error, &format!("choose another path with --{key}")))?;
            let hint = "its directory has to be there, and writable for the user that runs the blog";
            let bound = UnixListener::bind(path).and_then(|listener| {
                fs::set_permissions(path, fs::Permissions::from_mode(mode))?;
                let found = fs::symlink_metadata(path)?;
                let file = SocketFile {
                    path: path.clone(),
                    identity: (found.dev(), found.ino()),
                };
                Ok(Some(Bound::Unix(listener, file)))
            });
            bound.map_err(|error| failed(listen, &error, hint))
        }
    }
}

fn failed(listen: &Listen, error: &io::Error, hint: &str) -> Failure {
    Failure::usage(format!("cannot listen on {listen}: {error}"), hint)
}

/// Removes a socket that a killed blog left behind. One that answers, and anything that is not a socket, stays.
fn clear(path: &Path) -> io::Result<()> {
    let found = match fs::symlink_metadata(path) {
        Ok(found) => found,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    if !found.file_type().is_socket() {
        return Err(io::Error::new(
            ErrorKind::AlreadyExists,
            "there is a file, and it is not a socket",
        ));
    }
    match UnixStream::connect(path) {
        Ok(_) => Err(io::Error::new(ErrorKind::AddrInUse, "another program listens there")),
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => fs::remove_file(path),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_socket_has_its_mode_and_goes_with_its_owner() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("s");
        let listen = Listen::Unix(path.clone());
        let bound = bind(&listen, 0o660, "listen").unwrap().unwrap();
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o660);
        // One that answers is left alone.
        let failure = bind(&listen, 0o660, "listen").unwrap_err();
        assert!(failure.message.contains("another program"), "{failure:?}");
        drop(bound);
        assert!(!path.exists());
    }

    #[test]
    fn what_a_killed_blog_left_is_replaced_and_other_files_are_not() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("s");
        let listen = Listen::Unix(path.clone());
        drop(UnixListener::bind(&path).unwrap());
        assert!(path.exists(), "std leaves it");
        let old = bind(&listen, 0o600, "listen").unwrap().unwrap();
        // Somebody else's socket under the name is not removed.
        fs::remove_file(&path).unwrap();
        let _other = UnixListener::bind(&path).unwrap();
        drop(old);
        assert!(path.exists());

        fs::remove_file(&path).unwrap();
        fs::write(&path, "precious").unwrap();
        let failure = bind(&listen, 0o600, "admin-listen").unwrap_err();
        assert!(failure.message.contains("not a socket") && failure.hint.contains("--admin-listen"));
        assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
    }
}
