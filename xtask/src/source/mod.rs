//! Images and file trees to look into, wherever they are: a layout, an archive, an engine, a tar, a directory, a file.
//!
//! [`Source`] is what a command line says, [`open`] finds out what is there, and [`Opened`] gives it out piece by piece, so
//! that an image larger than this machine's memory can be looked through. Nothing is unpacked and nothing is believed: sizes,
//! digests and diff_ids are checked on the way. An image that shall become a base is loaded as a whole with [`Store::image`],
//! a root file system with [`Rootfs::layer`].

mod rootfs;
mod store;
pub mod stream;

use std::fmt;
use std::fs::{self, File};
use std::io::{BufWriter, Read, Write};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use crate::cx::Cx;
use crate::error::{Context, Error, Result};
use crate::oci::{ImageName, Reference};
use crate::publish::daemon::Daemon;
use crate::registry;
use crate::target::Platform;
use stream::{Compression, decompress};

pub use rootfs::Rootfs;
pub use store::Store;
pub use stream::{Bounds, Item, Kind};

/// The schemes, for messages.
pub const SCHEMES: &str = "oci:PATH, docker-archive:PATH, docker-daemon:NAME[:TAG], docker://REFERENCE, or the path of a tar, a directory or a file";
/// Longest file that is looked into as a whole: it is read into memory.
pub const LARGEST_FILE: u64 = 1 << 30;

/// Where something is, as it is written on a command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// `oci:PATH`: the directory of an image layout.
    OciLayout(String),
    /// `docker-archive:PATH`: what `docker save` writes, plain or compressed.
    DockerArchive(String),
    /// `docker-daemon:NAME[:TAG]`: in a running engine.
    DockerDaemon(ImageName),
    /// `docker://REFERENCE`: in a registry.
    Registry(Reference),
    /// A path without a scheme: the tar of a root file system, a directory, or one file. Which, its content tells.
    Path(String),
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Source::OciLayout(path) => write!(f, "oci:{path}"),
            Source::DockerArchive(path) => write!(f, "docker-archive:{path}"),
            Source::DockerDaemon(name) => write!(f, "docker-daemon:{name}"),
            Source::Registry(reference) => write!(f, "docker://{reference}"),
            Source::Path(path) => f.write_str(path),
        }
    }
}

impl FromStr for Source {
    type Err = String;

    /// A word of small letters and a colon is a scheme; a file of such a name is given as `./a:b`.
    fn from_str(text: &str) -> Result<Self, String> {
        let path = |path: &str| match path.is_empty() || path.contains('\0') {
            true => Err(format!("`{text}` needs a path after the colon")),
            false => Ok(path.to_owned()),
        };
        match text.split_once(':') {
            Some(("oci", rest)) => path(rest).map(Source::OciLayout),
            Some(("docker-archive", rest)) => path(rest).map(Source::DockerArchive),
            Some(("docker-daemon", rest)) => rest
                .parse()
                .map(Source::DockerDaemon)
                .map_err(|error: crate::oci::reference::ReferenceError| error.to_string()),
            Some(("docker", rest)) => match rest.strip_prefix("//") {
                Some(reference) => reference
                    .parse()
                    .map(Source::Registry)
                    .map_err(|error: crate::oci::reference::ReferenceError| error.to_string()),
                None => Err(format!(
                    "`{text}`: an image of a registry is written docker://NAME[:TAG]"
                )),
            },
            Some((scheme, _))
                if scheme.len() > 1 && scheme.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-') =>
            {
                Err(format!("unknown scheme `{scheme}:` in `{text}`: expected {SCHEMES}"))
            }
            _ if text.is_empty() => Err(format!("an empty path: expected {SCHEMES}")),
            _ => Ok(Source::Path(text.to_owned())),
        }
    }
}

/// What was found.
#[derive(Debug)]
pub enum Opened {
    /// One or more images.
    Images(Store),
    /// A file tree without a configuration.
    Rootfs(Rootfs),
    /// One file.
    File(PathBuf),
}

/// Opens a source. Relative paths are as `place` makes them: it is given what follows the scheme. Of an image in a registry
/// what is for `linux/arm/v6` is fetched, and nothing else.
pub fn open(cx: &Cx, source: &Source, place: &dyn Fn(&str) -> PathBuf) -> Result<Opened> {
    open_for(cx, source, Platform::ArmV6, place)
}

/// The same for another platform.
pub fn open_for(cx: &Cx, source: &Source, platform: Platform, place: &dyn Fn(&str) -> PathBuf) -> Result<Opened> {
    match source {
        Source::OciLayout(path) => Store::layout(&place(path))
            .hint("expected oci:PATH with the directory of an OCI image layout")
            .map(Opened::Images),
        Source::DockerArchive(path) => archive(cx, &place(path), source.to_string()).map(Opened::Images),
        Source::DockerDaemon(name) => daemon(cx, name, source.to_string()).map(Opened::Images),
        Source::Registry(reference) => {
            let pulled = registry::pull(cx, reference, platform)?;
            Store::pulled(&pulled, source.to_string()).map(Opened::Images)
        }
        Source::Path(path) => by_content(&place(path)),
    }
}

/// A compressed archive is unpacked to a temporary file in the cache, because blobs are read from where they lie.
fn archive(cx: &Cx, path: &Path, origin: String) -> Result<Store> {
    let cannot = || format!("cannot read {}", path.display());
    if fs::metadata(path).context(cannot)?.is_dir() {
        return Err(
            Error::new(format!("{} is a directory, and an archive is a file", path.display()))
                .hint("a directory with an image layout is named oci:PATH"),
        );
    }
    let mut file = File::open(path).context(cannot)?;
    if Compression::of(&start(&mut file).context(cannot)?) == Compression::Plain {
        return Store::archive(path.to_owned(), origin, None);
    }
    let dir = cx.cache.temp_dir()?;
    let tar = dir.path().join("archive.tar");
    let limit = Bounds::default().bytes;
    let mut out = BufWriter::new(File::create(&tar).context(|| format!("cannot write {}", tar.display()))?);
    let unpacked = decompress(File::open(path).context(cannot)?)
        .and_then(|reader| std::io::copy(&mut reader.take(limit + 1), &mut out))
        .context(|| format!("cannot unpack {}", path.display()))?;
    out.flush()
        .map_err(|error| crate::cache::full_disk(error, dir.path()))?;
    if unpacked > limit {
        return Err(Error::new(format!(
            "{} unpacks to more than {limit} bytes",
            path.display()
        )));
    }
    Store::archive(tar, origin, Some(dir))
}

/// The engine's own `docker save`, into a temporary file in the cache.
fn daemon(cx: &Cx, name: &ImageName, origin: String) -> Result<Store> {
    let daemon = Daemon::from_environment()?;
    let dir = cx.cache.temp_dir()?;
    let tar = dir.path().join("archive.tar");
    let mut out = BufWriter::new(File::create(&tar).context(|| format!("cannot write {}", tar.display()))?);
    daemon.save(&cx.ui, name, &mut out)?;
    out.flush()
        .map_err(|error| crate::cache::full_disk(error, dir.path()))?;
    Store::archive(tar, origin, Some(dir))
}

/// A path without a scheme. What is an image after all is not taken for a tree of files: its layers would not be looked into.
fn by_content(path: &Path) -> Result<Opened> {
    let shown = path.display();
    let cannot = || format!("cannot read {shown}");
    let data = fs::metadata(path)
        .context(cannot)
        .hint("is the path right? expected a tar, a directory or a file")?;
    if data.is_dir() {
        if path.join("oci-layout").is_file() {
            return Err(Error::new(format!("{shown} is an OCI image layout")).hint(format!("name it oci:{shown}")));
        }
        return Ok(Opened::Rootfs(Rootfs::Directory(path.to_owned())));
    }
    if !data.is_file() {
        return Err(Error::new(format!("{shown} is neither a file nor a directory")));
    }
    let mut file = File::open(path).context(cannot)?;
    let begin = start(&mut file).context(cannot)?;
    let compressed = Compression::of(&begin) != Compression::Plain;
    let tar = match compressed {
        false => begin,
        true => {
            let mut inside = Vec::new();
            decompress(File::open(path).context(cannot)?)
                .and_then(|reader| reader.take(512).read_to_end(&mut inside))
                .context(|| format!("cannot unpack {shown}"))?;
            inside
        }
    };
    if is_tar(&tar) {
        let rootfs = Rootfs::Tar(path.to_owned());
        if rootfs.is_image_archive()? {
            return Err(
                Error::new(format!("{shown} is an image archive")).hint(format!("name it docker-archive:{shown}"))
            );
        }
        return Ok(Opened::Rootfs(rootfs));
    }
    if compressed {
        return Err(
            Error::new(format!("{shown} is compressed, and what is inside is no tar"))
                .hint("unpack it, and name the file that is inside"),
        );
    }
    Ok(Opened::File(path.to_owned()))
}

/// ustar's and GNU's magic, or a header of before ustar whose checksum is right.
fn is_tar(block: &[u8]) -> bool {
    let Some(block) = block.get(..512) else { return false };
    if &block[257..262] == b"ustar" {
        return true;
    }
    let mut header = tar::Header::new_old();
    header.as_mut_bytes().copy_from_slice(block);
    let sum: u32 = block
        .iter()
        .enumerate()
        .map(|(at, byte)| if (148..156).contains(&at) { 32 } else { u32::from(*byte) })
        .sum();
    block[0] != 0 && header.cksum().is_ok_and(|claimed| claimed == sum)
}

/// The first block of a file, or as much as there is.
fn start(file: &mut File) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.take(512).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_is_read_and_written_alike() {
        for text in [
            "oci:target/images/x",
            "docker-archive:a.tar",
            "docker-daemon:blog:1",
            "a.tar.gz",
            "./oci:x",
            "/usr/lib",
            "C",
        ] {
            assert_eq!(text.parse::<Source>().unwrap().to_string(), text);
        }
        assert_eq!(
            "docker-daemon:blog".parse::<Source>().unwrap().to_string(),
            "docker-daemon:blog:latest"
        );
    }

    #[test]
    fn what_is_no_source_is_named() {
        for (text, said) in [
            ("oci:", "needs a path"),
            ("docker-archive:", "needs a path"),
            ("ftp://x/y", "unknown scheme `ftp:`"),
            ("containers-storage:x", "unknown scheme"),
            ("docker-daemon:Blog", "not an image name"),
            ("docker:blog", "docker://NAME"),
            ("docker://", "not"),
            ("", "an empty path"),
        ] {
            let error = text.parse::<Source>().unwrap_err();
            assert!(error.contains(said), "{text}: {error}");
        }
    }
}
