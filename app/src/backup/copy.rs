//! Images on their way between the blog and its backups: by hard link where both are on one file system, else by copy.

use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use super::prove::Image;
use super::{Partial, cannot_write, names};
use crate::archive::sync_parent;
use crate::cli::Failure;

/// Sees to it that `to` has the image with the right content. `Some`: it cannot be had, and why.
pub fn image(image: &Image, from: &Path, to: &Path) -> Result<Option<String>, Failure> {
    let (source, target) = (from.join(&image.file), to.join(&image.file));
    let sound = |path: &Path| names::hash(path).is_ok_and(|hash| hash == image.sha256);
    if sound(&target) {
        return Ok(None);
    }
    match names::hash(&source) {
        Ok(hash) if hash == image.sha256 => {}
        Ok(_) => return Ok(Some(format!("the image {} is damaged", source.display()))),
        Err(error) => return Ok(Some(format!("the image {} cannot be read: {error}", source.display()))),
    }
    // Damaged or absent: what is there goes.
    match fs::remove_file(&target) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(cannot_write(&target, &error)),
        _ => {}
    }
    if fs::hard_link(&source, &target).is_ok() {
        sync_parent(&target).map_err(|error| cannot_write(&target, &error))?;
        return Ok(None);
    }
    whole_copy(&source, &target).map_err(|error| cannot_write(&target, &error))?;
    if !sound(&target) {
        let _ = fs::remove_file(&target);
        return Ok(Some(format!(
            "the image {} changed while it was copied",
            source.display()
        )));
    }
    Ok(None)
}

/// Copies a file so that it is there whole or not at all.
pub fn whole_copy(source: &Path, target: &Path) -> io::Result<()> {
    let mut name = target.as_os_str().to_owned();
    name.push(".partial");
    let partial = Partial(name.into());
    let mut from = fs::File::open(source)?;
    let mut options = OpenOptions::new();
    let mut file = options
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&partial.0)?;
    io::copy(&mut from, &mut file)?;
    file.sync_all()?;
    fs::rename(&partial.0, target)?;
    sync_parent(target)
}
