//! A file tree that is no image: a tar, or a directory.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use super::stream::{Bounds, Compression, Item, Kind, decompress, walk_tar};
use crate::error::{Context, Error, Result};
use crate::oci::layer::{Layer, LayerBuilder, Limits, read_tar};
use crate::oci::media;

/// Where the tree is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rootfs {
    /// A tar, plain or compressed with gzip, xz or zstd.
    Tar(PathBuf),
    /// A directory of this machine.
    Directory(PathBuf),
}

impl Rootfs {
    /// Where it is.
    pub fn path(&self) -> &Path {
        match self {
            Rootfs::Tar(path) | Rootfs::Directory(path) => path,
        }
    }

    /// Hands out every entry: a tar in its own order, a directory sorted by name. Symbolic links of a directory are not followed.
    pub fn walk(&self, bounds: &Bounds, visit: &mut dyn FnMut(Item<'_>) -> Result<()>) -> Result<()> {
        match self {
            Rootfs::Tar(path) => {
                let name = path.display().to_string();
                let file = File::open(path).context(|| format!("cannot read {name}"))?;
                let mut tar = decompress(file).context(|| format!("cannot unpack {name}"))?;
                match walk_tar(&mut tar, &name, bounds, visit)? {
                    true => Ok(()),
                    false => Err(Error::new(format!("{name} is cut: the end of the tar is missing"))
                        .hint("fetch or make it again; `tar -cf` ends it properly")),
                }
            }
            Rootfs::Directory(path) => {
                let mut left = bounds.entries;
                walk_directory(path, "", &mut left, visit)
            }
        }
    }

    /// Whether a tar is what `docker save` writes, or a layout: it has their files at its root.
    pub(super) fn is_image_archive(&self) -> Result<bool> {
        // They may lie anywhere in the tar, but what is below `blobs` or a layer's name is large, and comes without others.
        const LOOKED_AT: u64 = 64;
        let Rootfs::Tar(path) = self else { return Ok(false) };
        let name = path.display().to_string();
        let file = File::open(path).context(|| format!("cannot read {name}"))?;
        let mut found = false;
        let mut count = 0;
        let mut tar = decompress(file).context(|| format!("cannot unpack {name}"))?;
        let end = walk_tar(&mut tar, &name, &Bounds::default(), &mut |item| {
            count += 1;
            found |= matches!(item.path.as_str(), "manifest.json" | "oci-layout") && matches!(item.kind, Kind::File(_));
            match found || count > LOOKED_AT {
                true => Err(Error::new("seen enough")),
                false => Ok(()),
            }
        });
        match end {
            Err(error) if !found && count <= LOOKED_AT => Err(error),
            _ => Ok(found),
        }
    }

    /// The tree as one layer for an image of ours, read into memory and checked as every layer. A tar in a compression that
    /// image layers may have stays byte for byte what it is; one in xz, and a directory, are packed anew, with times and
    /// owners of the tar (a directory's are not known: time `mtime`, everything root's, modes 0755 and 0644).
    pub fn layer(&self, mtime: u64, limits: &Limits) -> Result<Layer> {
        let name = self.path().display().to_string();
        let made_by = format!(
            "rootfs {}",
            self.path().file_name().unwrap_or_default().to_string_lossy()
        );
        let Rootfs::Tar(path) = self else {
            return self.pack(mtime, &made_by);
        };
        let mut bytes = Vec::new();
        File::open(path)
            .and_then(|file| file.take(limits.bytes + 1).read_to_end(&mut bytes))
            .context(|| format!("cannot read {name}"))?;
        if bytes.len() as u64 > limits.bytes {
            return Err(Error::new(format!("{name} is larger than {} bytes", limits.bytes)));
        }
        let media_type = match Compression::of(&bytes) {
            Compression::Plain => media::LAYER_TAR,
            Compression::Gzip => media::LAYER_GZIP,
            Compression::Zstd => media::LAYER_ZSTD,
            Compression::Xz => {
                let mut tar = Vec::new();
                decompress(&bytes[..])
                    .and_then(|reader| reader.take(limits.bytes + 1).read_to_end(&mut tar))
                    .context(|| format!("cannot unpack {name}"))?;
                if tar.len() as u64 > limits.bytes {
                    return Err(Error::new(format!(
                        "{name} unpacks to more than {} bytes",
                        limits.bytes
                    )));
                }
                let mut builder = LayerBuilder::new(mtime);
                for entry in read_tar(&tar, limits).context(|| name.clone())? {
                    builder.add(entry).context(|| name.clone())?;
                }
                return builder.finish(&made_by).context(|| name.clone());
            }
        };
        Layer::from_blob(bytes, media_type, made_by, limits).context(|| name.clone())
    }

    fn pack(&self, mtime: u64, made_by: &str) -> Result<Layer> {
        use std::os::unix::fs::PermissionsExt;
        let root = self.path().to_owned();
        let mut builder = LayerBuilder::new(mtime);
        self.walk(&Bounds::default(), &mut |item| {
            let entry = match item.kind {
                Kind::Directory => crate::oci::Entry::directory(item.path, 0o755),
                Kind::Symlink(target) => crate::oci::Entry::symlink(item.path, target),
                Kind::File(_) => {
                    let mode = fs::metadata(root.join(&item.path))?.permissions().mode();
                    let mut bytes = Vec::new();
                    item.content.read_to_end(&mut bytes)?;
                    crate::oci::Entry::file(item.path, bytes, if mode & 0o111 == 0 { 0o644 } else { 0o755 })
                }
                _ => return Err(Error::new(format!("{} cannot be part of an image", item.path))),
            };
            Ok(builder.add(entry)?)
        })?;
        Ok(builder.finish(made_by)?)
    }
}

fn walk_directory(
    dir: &Path,
    inside: &str,
    left: &mut u64,
    visit: &mut dyn FnMut(Item<'_>) -> Result<()>,
) -> Result<()> {
    let cannot = || format!("cannot read {}", dir.display());
    let mut names = fs::read_dir(dir)
        .context(cannot)?
        .map(|entry| entry.map(|entry| entry.file_name()))
        .collect::<std::io::Result<Vec<_>>>()
        .context(cannot)?;
    names.sort();
    for name in names {
        *left = left
            .checked_sub(1)
            .ok_or_else(|| Error::new(format!("{} has more files than any image", dir.display())))?;
        let place = dir.join(&name);
        let path = match inside {
            "" => name.to_string_lossy().into_owned(),
            inside => format!("{inside}/{}", name.to_string_lossy()),
        };
        let cannot = || format!("cannot read {}", place.display());
        let data = fs::symlink_metadata(&place).context(cannot)?;
        let mut nothing = std::io::empty();
        if data.is_dir() {
            visit(Item {
                path: path.clone(),
                kind: Kind::Directory,
                content: &mut nothing,
            })?;
            walk_directory(&place, &path, left, visit)?;
        } else if data.is_file() {
            let mut file = File::open(&place)
                .context(cannot)
                .hint("what cannot be read cannot be audited: run as a user who may, or name what you may read")?;
            visit(Item {
                path,
                kind: Kind::File(data.len()),
                content: &mut file,
            })?;
        } else {
            let kind = match data.is_symlink() {
                true => Kind::Symlink(fs::read_link(&place).context(cannot)?.to_string_lossy().into_owned()),
                false => Kind::Special,
            };
            visit(Item {
                path,
                kind,
                content: &mut nothing,
            })?;
        }
    }
    Ok(())
}
