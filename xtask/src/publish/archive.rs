//! Docker archives as files.

use std::fs::{self, File};
use std::io::Read;
use std::path::Path;

use serde_json::{Value, json};

use crate::cache::{full_disk, write_atomically};
use crate::error::{Context, Error, Result};
use crate::oci::archive::{Archive, archive};
use crate::oci::layer::Limits;
use crate::oci::{Digest, DigestReference, Image, ImageName, canonical_json};
use crate::publish::layout::writable;

/// Opens an archive, plain or in gzip: ours, or any that `docker save` wrote.
pub fn open(path: &Path) -> Result<Archive> {
    let limits = Limits::default();
    let read = || -> std::io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        File::open(path)?.take(limits.bytes + 1).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    let bytes = read().context(|| format!("cannot read {}", path.display()))?;
    if bytes.len() as u64 > limits.bytes {
        return Err(Error::new(format!(
            "{} is larger than {} bytes, which no image archive for this product is",
            path.display(),
            limits.bytes
        )));
    }
    let origin = format!("docker-archive:{}", path.display());
    Ok(Archive::read(&bytes, &origin, &limits)?)
}

/// Whether an archive could be written to `path`: nothing is there, or an archive. Changes nothing.
pub fn check(path: &Path) -> Result<()> {
    let shown = path.display();
    match fs::metadata(path) {
        Ok(data) if data.is_dir() => Err(Error::new(format!("{shown} is a directory, and an archive is a file"))
            .hint("name a file, or write a directory with oci:PATH")),
        Ok(data) if !data.is_file() => {
            Err(Error::new(format!("{shown} is not a file")).hint("name a file that does not exist yet"))
        }
        Ok(_) => {
            open(path).map_err(|_| {
                Error::new(format!("{shown} exists and is not an image archive"))
                    .hint("choose another path, or delete the file; it was not changed")
            })?;
            writable(directory(path)?)
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => writable(directory(path)?),
        Err(error) => Err(Error::from(error)
            .context(format!("cannot look at {shown}"))
            .hint("choose another path")),
    }
}

/// Where the file lies.
fn directory(path: &Path) -> Result<&Path> {
    match path.parent() {
        Some(dir) if dir.as_os_str().is_empty() => Ok(Path::new(".")),
        Some(dir) => Ok(dir),
        None => Err(Error::new(format!("{} names no file", path.display()))),
    }
}

/// Writes one archive with all images, all at once. An archive that is there is replaced, any other file is not.
pub fn write(path: &Path, images: &[(&ImageName, &Image)]) -> Result<Vec<DigestReference>> {
    check(path)?;
    let shown = path.display();
    let dir = directory(path)?;
    fs::create_dir_all(dir).map_err(|error| full_disk(error, dir))?;
    let bytes = archive(images)?;
    let file = path.file_name().context(|| format!("{shown} names no file"))?;
    write_atomically(&dir.join(file), &bytes)?;
    let reference = |(name, image): &(&ImageName, &Image)| DigestReference {
        name: name.name().to_owned(),
        digest: image.manifest().digest(),
    };
    Ok(images.iter().map(reference).collect())
}

/// Keeps verdicts on the images of an archive beside it, in `PATH.audit.json`: in the archive an engine would refuse or ignore them.
pub fn write_audit(path: &Path, verdicts: &[(Digest, Value)]) -> Result<()> {
    let images: serde_json::Map<String, Value> = verdicts
        .iter()
        .map(|(digest, verdict)| (digest.to_string(), verdict.clone()))
        .collect();
    let file = path
        .file_name()
        .context(|| format!("{} names no file", path.display()))?;
    let name = format!("{}.audit.json", file.to_string_lossy());
    write_atomically(
        &directory(path)?.join(name),
        &canonical_json(&json!({"schema": 1, "images": images})),
    )
}
