//! SBOM and provenance as files beside images that are files: `HEX.spdx.json` and `HEX.provenance.json`, by the digest of the
//! manifest.
//!
//! They are no entries of `index.json`, and no members of an archive: engines older than OCI 1.1 take an entry for one more
//! image, and tools that copy a layout without being told a name want exactly one. In a registry, an index has them.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use crate::attest::Attestation;
use crate::cache::{full_disk, write_if_changed};
use crate::error::{Context, Result};
use crate::oci::Digest;
use crate::oci::claims::claims;
use crate::publish::layout;

/// The directory, in that of a layout.
pub const DIRECTORY: &str = "attestations";
const SPDX: &str = "spdx.json";
const PROVENANCE: &str = "provenance.json";
/// Longest document that is read.
const LONGEST: u64 = 64 << 20;

/// Where the documents on the images of an archive are: `PATH.attestations`.
pub fn beside(archive: &Path) -> PathBuf {
    let mut path = archive.as_os_str().to_owned();
    path.push(".");
    path.push(DIRECTORY);
    PathBuf::from(path)
}

/// Keeps documents in the directory of a layout; those on images that it no longer has are dropped.
///
/// # Errors
///
/// When the disk is full, or the layout cannot be read.
pub fn write_for_layout(dir: &Path, images: &[(Digest, &Attestation)]) -> Result<()> {
    // What somebody else put there and is damaged is no reason to drop anything.
    let there = claims(&layout::open(dir)?).ok();
    let keep = there.map(|there| there.images.iter().map(|image| image.manifest.digest).collect());
    write(&dir.join(DIRECTORY), images, keep.as_ref())
}

/// Keeps documents beside an archive, which was written whole: nothing else is kept.
///
/// # Errors
///
/// When the disk is full.
pub fn write_for_archive(path: &Path, images: &[(Digest, &Attestation)]) -> Result<()> {
    let keep = images.iter().map(|(digest, _)| *digest).collect();
    write(&beside(path), images, Some(&keep))
}

fn write(dir: &Path, images: &[(Digest, &Attestation)], keep: Option<&BTreeSet<Digest>>) -> Result<()> {
    fs::create_dir_all(dir).map_err(|error| full_disk(error, dir))?;
    for (digest, attestation) in images {
        let documents = [(SPDX, &attestation.spdx), (PROVENANCE, &attestation.provenance)];
        for (kind, document) in documents {
            write_if_changed(&dir.join(format!("{}.{kind}", digest.hex())), document, 0o644)?;
        }
    }
    let Some(keep) = keep else { return Ok(()) };
    for entry in fs::read_dir(dir)
        .context(|| format!("cannot read {}", dir.display()))?
        .flatten()
    {
        let name = entry.file_name().to_string_lossy().into_owned();
        let hex = name
            .strip_suffix(&format!(".{SPDX}"))
            .or_else(|| name.strip_suffix(&format!(".{PROVENANCE}")));
        let digest: Option<Digest> = hex.and_then(|hex| format!("sha256:{hex}").parse().ok());
        if digest.is_some_and(|digest| !keep.contains(&digest)) {
            fs::remove_file(entry.path()).context(|| format!("cannot remove {}", entry.path().display()))?;
        }
    }
    Ok(())
}

/// The documents on an image, each if it is there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Documents {
    /// The SPDX document.
    pub spdx: Option<Vec<u8>>,
    /// The statement with the provenance.
    pub provenance: Option<Vec<u8>>,
}

/// The documents on an image in `dir`.
///
/// # Errors
///
/// When one that is there cannot be read.
pub fn read(dir: &Path, digest: Digest) -> Result<Documents> {
    let read = |kind: &str| -> Result<Option<Vec<u8>>> {
        let path = dir.join(format!("{}.{kind}", digest.hex()));
        match fs::metadata(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).context(|| format!("cannot read {}", path.display())),
            Ok(data) if data.len() > LONGEST => Err(crate::error::Error::new(format!(
                "{} has {} bytes, at most {LONGEST} make sense",
                path.display(),
                data.len()
            ))),
            Ok(_) => fs::read(&path)
                .map(Some)
                .context(|| format!("cannot read {}", path.display())),
        }
    };
    Ok(Documents {
        spdx: read(SPDX)?,
        provenance: read(PROVENANCE)?,
    })
}
