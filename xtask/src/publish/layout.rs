//! OCI image layouts as directories.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::cache::{full_disk, write_atomically, write_if_changed};
use crate::error::{Context, Error, Result};
use crate::oci::archive::named;
use crate::oci::layout::{BlobStore, REF_NAME, index_json, marker};
use crate::oci::{Digest, DigestReference, Image, ImageIndex, ImageName, canonical_json};

/// Longest `index.json` and `oci-layout` that are read.
const JSON: u64 = 4 << 20;

/// A layout that exists, for reading.
#[derive(Clone, Debug)]
pub struct LayoutDir {
    dir: PathBuf,
}

/// Opens a layout.
pub fn open(dir: &Path) -> Result<LayoutDir> {
    check_marker(dir)?;
    Ok(LayoutDir { dir: dir.to_owned() })
}

/// Whether `dir` could be written to as a layout: it is new, empty or a layout. Changes nothing.
pub fn check(dir: &Path) -> Result<()> {
    let shown = dir.display();
    match fs::metadata(dir) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => writable(dir),
        Err(error) => Err(Error::from(error)
            .context(format!("cannot look at {shown}"))
            .hint("choose another path")),
        Ok(data) if !data.is_dir() => Err(Error::new(format!("{shown} is a file, not a directory"))
            .hint("choose another path, or docker-archive:PATH for a single file")),
        Ok(_) if dir.join("oci-layout").exists() => check_marker(dir).and_then(|()| writable(dir)),
        Ok(_) => {
            // A killed run leaves at most a temporary file before the marker.
            for entry in fs::read_dir(dir).context(|| format!("cannot read {shown}"))? {
                let name = entry.context(|| format!("cannot read {shown}"))?.file_name();
                if !name.to_string_lossy().starts_with(".tmp") {
                    return Err(Error::new(format!("{shown} exists and is not an OCI image layout"))
                        .hint("choose a new or empty directory; nothing in it was changed"));
                }
            }
            writable(dir)
        }
    }
}

/// Whether a file could be made in `dir`, or `dir` itself where it is not there yet. What is tried has no name and
/// leaves nothing, not even another time of the directory.
pub(super) fn writable(dir: &Path) -> Result<()> {
    let mut there = std::path::absolute(dir).context(|| format!("cannot tell what {} is", dir.display()))?;
    while fs::metadata(&there).is_err_and(|error| error.kind() == std::io::ErrorKind::NotFound) && there.pop() {}
    tempfile::tempfile_in(&there)
        .context(|| format!("cannot write in {}", there.display()))
        .hint("choose a path where you may write")?;
    Ok(())
}

impl LayoutDir {
    /// The directory.
    pub fn path(&self) -> &Path {
        &self.dir
    }
}

impl BlobStore for LayoutDir {
    fn origin(&self) -> String {
        format!("oci:{}", self.dir.display())
    }

    fn index(&self) -> Result<Vec<u8>, String> {
        read_at_most(&self.dir.join("index.json"), JSON).map_err(|error| error.to_string())
    }

    fn blob(&self, digest: &Digest, size: u64) -> Result<Vec<u8>, String> {
        let path = blob_path(&self.dir, digest);
        // One byte more than it should have shows that it is too long.
        read_at_most(&path, size.saturating_add(1)).map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => format!("{} does not exist", path.display()),
            _ => error.to_string(),
        })
    }
}

/// Writes images under their names into a new or existing layout. A name that is there already moves to the new image; all else
/// in the layout stays. `index.json` is written last, so a reader finds either the old images or all of the new ones.
pub fn write(dir: &Path, images: &[(&ImageName, &Image)]) -> Result<Vec<DigestReference>> {
    let mut descriptors = Vec::new();
    let mut references = Vec::new();
    let mut writer = Writer::open(dir)?;
    for (name, image) in images {
        writer.blobs(image)?;
        descriptors.push(named(image.descriptor(), name));
        references.push(reference(name, image.manifest().digest()));
    }
    writer.finish(descriptors)?;
    Ok(references)
}

/// Writes images of several platforms under one name, with all that is attached to them: the index becomes a blob, and the name
/// points to it.
pub fn write_index(dir: &Path, name: &ImageName, index: &ImageIndex) -> Result<DigestReference> {
    let mut writer = Writer::open(dir)?;
    for image in index.images() {
        writer.blobs(image)?;
    }
    for attached in index.attached() {
        for blob in attached.blobs().iter().chain([attached.manifest()]) {
            writer.blob(&blob.digest(), blob.bytes())?;
        }
    }
    writer.blob(&index.blob().digest(), index.blob().bytes())?;
    writer.finish(vec![named(index.blob().descriptor(), name)])?;
    Ok(reference(name, index.blob().digest()))
}

/// The file of a layout that keeps what the audit found, by digest of the manifest. The image specification lets a layout have
/// files of its own; this one is copied with the directory, and tools that copy image by image leave it behind.
pub const AUDIT: &str = "audit.json";

/// Keeps verdicts beside the images that they are on; those on images that the layout no longer has are dropped. Written after the
/// images: an image without a verdict is one that nobody vouches for.
pub fn write_audit(dir: &Path, verdicts: &[(Digest, Value)]) -> Result<()> {
    let writer = Writer::open(dir)?;
    let path = dir.join(AUDIT);
    let old = read_at_most(&path, JSON).ok();
    let old = old.and_then(|bytes| serde_json::from_slice::<Value>(&bytes).ok());
    let images = old.and_then(|mut old| old.get_mut("images").map(Value::take));
    let mut images = match images {
        Some(Value::Object(images)) => images,
        // Whatever it is, it vouches for nothing.
        _ => serde_json::Map::new(),
    };
    for (digest, verdict) in verdicts {
        images.insert(digest.to_string(), verdict.clone());
    }
    let index = read_at_most(&dir.join("index.json"), JSON).context(|| format!("cannot read {}", dir.display()))?;
    let there: Vec<Value> = existing(&index).map_err(Error::new)?;
    images.retain(|digest, _| there.iter().any(|manifest| manifest["digest"] == digest.as_str()));
    let text = canonical_json(&json!({"schema": 1, "images": images}));
    write_if_changed(&path, &text, 0o644)?;
    drop(writer);
    Ok(())
}

fn reference(name: &ImageName, digest: Digest) -> DigestReference {
    DigestReference {
        name: name.name().to_owned(),
        digest,
    }
}

struct Writer {
    dir: PathBuf,
    /// Keeps other writers out while it is open.
    _lock: File,
}

impl Writer {
    fn open(dir: &Path) -> Result<Writer> {
        check(dir)?;
        if !dir.join("oci-layout").exists() {
            fs::create_dir_all(dir).map_err(|error| full_disk(error, dir))?;
            write_atomically(&dir.join("oci-layout"), &marker())?;
        }
        let blobs = dir.join("blobs").join("sha256");
        fs::create_dir_all(&blobs).map_err(|error| full_disk(error, &blobs))?;
        let marker = dir.join("oci-layout");
        let lock = File::open(&marker).context(|| format!("cannot open {}", marker.display()))?;
        lock.lock().context(|| format!("cannot lock {}", marker.display()))?;
        // Only who holds the lock writes blobs, so what is unfinished here is of a run that was killed.
        for entry in fs::read_dir(&blobs)
            .context(|| format!("cannot read {}", blobs.display()))?
            .flatten()
        {
            if entry.file_name().to_string_lossy().starts_with(".tmp") {
                let _ = fs::remove_file(entry.path());
            }
        }
        Ok(Writer {
            dir: dir.to_owned(),
            _lock: lock,
        })
    }

    fn blobs(&mut self, image: &Image) -> Result<()> {
        image.blobs().try_for_each(|(digest, bytes)| self.blob(&digest, bytes))
    }

    /// A blob that is there and whole is kept: it may be shared by hard links or with other tools.
    fn blob(&mut self, digest: &Digest, bytes: &[u8]) -> Result<()> {
        let path = blob_path(&self.dir, digest);
        let same = fs::metadata(&path).is_ok_and(|data| data.len() == bytes.len() as u64)
            && fs::read(&path).is_ok_and(|found| found == bytes);
        if same {
            return Ok(());
        }
        write_atomically(&path, bytes)
    }

    fn finish(self, descriptors: Vec<Value>) -> Result<()> {
        let path = self.dir.join("index.json");
        let mut manifests = match read_at_most(&path, JSON) {
            Ok(bytes) => existing(&bytes).map_err(|reason| {
                Error::new(format!("{} is malformed: {reason}", path.display()))
                    .hint("choose a new directory; nothing in this one was changed but blobs added")
            })?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(Error::from(error).context(format!("cannot read {}", path.display()))),
        };
        let name = |descriptor: &Value| descriptor["annotations"][REF_NAME].as_str().map(str::to_owned);
        for descriptor in descriptors {
            manifests.retain(|old| name(old) != name(&descriptor));
            manifests.push(descriptor);
        }
        // The order of publishing must not show.
        manifests.sort_by_cached_key(|descriptor| (name(descriptor), descriptor["digest"].to_string()));
        write_if_changed(&path, &index_json(manifests), 0o644)
    }
}

fn existing(bytes: &[u8]) -> Result<Vec<Value>, String> {
    let mut index: Value = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
    match index.get_mut("manifests").map(Value::take) {
        Some(Value::Array(manifests)) => Ok(manifests),
        _ => Err("it has no list of manifests".to_owned()),
    }
}

fn check_marker(dir: &Path) -> Result<()> {
    let path = dir.join("oci-layout");
    let none = || {
        Error::new(format!("{} is not an OCI image layout", dir.display()))
            .hint("a layout has the files oci-layout and index.json; `cargo xtask image` makes one")
    };
    let bytes = read_at_most(&path, JSON).map_err(|_| none())?;
    let value: Value = serde_json::from_slice(&bytes).map_err(|_| none())?;
    match value.get("imageLayoutVersion").and_then(Value::as_str) {
        Some(version) if version.starts_with("1.") => Ok(()),
        Some(version) => Err(Error::new(format!(
            "{}: image layout version {version} is not 1.x",
            path.display()
        ))),
        None => Err(none()),
    }
}

fn blob_path(dir: &Path, digest: &Digest) -> PathBuf {
    dir.join("blobs").join("sha256").join(digest.hex())
}

fn read_at_most(path: &Path, limit: u64) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(limit).read_to_end(&mut bytes)?;
    Ok(bytes)
}
