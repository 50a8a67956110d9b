//! Docker archives: one tar that every engine from 20.10 on can load.
//!
//! It is an OCI image layout with a `manifest.json` that points into its blobs, which is what `docker save` writes since 25.0.
//! Graph-driver stores read `manifest.json` alone (and take gzip layers at any path); the containerd store reads `index.json`.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Value, json};

use super::image::{Blob, Image};
use super::layer::{Entry, EntryKind, LayerError, Limits, decompress, read_tar, write_tar};
use super::layout::{BlobStore, CONTAINERD_NAME, LayoutError, REF_NAME, index_json, marker};
use super::reference::ImageName;
use super::{Digest, canonical_json, media};

/// The archive as bytes, the same for the same images. An engine tags each image as named; of two with one name it keeps the last.
pub fn archive(images: &[(&ImageName, &Image)]) -> Result<Vec<u8>, LayerError> {
    let mut files: BTreeMap<String, Entry> = BTreeMap::new();
    let mut add = |path: String, bytes: Vec<u8>| {
        files.insert(path.clone(), Entry::file(path, bytes, 0o644));
    };
    let mut manifests = Vec::new();
    let mut docker = Vec::new();
    for (name, image) in images {
        for (digest, bytes) in image.blobs() {
            add(path_of(&digest), bytes.to_vec());
        }
        manifests.push(named(image.descriptor(), name));
        let layers: Vec<String> = image.layers().iter().map(|layer| path_of(&layer.digest())).collect();
        docker.push(json!({
            "Config": path_of(&image.config().digest()),
            "RepoTags": [name.to_string()],
            "Layers": layers,
        }));
    }
    add("oci-layout".to_owned(), marker());
    add("index.json".to_owned(), index_json(manifests));
    add("manifest.json".to_owned(), canonical_json(&Value::Array(docker)));
    for directory in ["blobs", "blobs/sha256"] {
        files.insert(directory.to_owned(), Entry::directory(directory, 0o755));
    }
    write_tar(files.values(), Vec::new())
}

/// Both names on a descriptor: podman and skopeo read the first, containerd and engines on it the second.
pub fn named(mut descriptor: Value, name: &ImageName) -> Value {
    descriptor["annotations"] = json!({REF_NAME: name.tag(), CONTAINERD_NAME: name.canonical()});
    descriptor
}

fn path_of(digest: &Digest) -> String {
    format!("blobs/sha256/{}", digest.hex())
}

/// An archive that was read: ours, or any that `docker save` wrote.
#[derive(Clone, Debug)]
pub struct Archive {
    origin: String,
    index: Vec<u8>,
    blobs: BTreeMap<Digest, Vec<u8>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct DockerImage {
    config: String,
    repo_tags: Option<Vec<String>>,
    layers: Vec<String>,
}

impl Archive {
    /// Reads a tar, plain or in gzip. Without an `index.json`, as before Docker 25, one is made from `manifest.json`.
    /// `origin` names the archive in messages.
    pub fn read(bytes: &[u8], origin: &str, limits: &Limits) -> Result<Archive, LayoutError> {
        let failed = |object: &str, reason: String| LayoutError::Malformed {
            origin: origin.to_owned(),
            object: object.to_owned(),
            reason,
        };
        let entries = match bytes.starts_with(&[0x1f, 0x8b]) {
            true => decompress(bytes, media::LAYER_GZIP, limits).and_then(|tar| read_tar(&tar, limits)),
            false => read_tar(bytes, limits),
        };
        let entries = entries.map_err(|error| failed("the archive", error.to_string()))?;
        let files: BTreeMap<String, EntryKind> = entries.into_iter().map(|entry| (entry.path, entry.kind)).collect();
        let file = |path: &str| find(&files, path);
        let mut archive = Archive {
            origin: origin.to_owned(),
            index: Vec::new(),
            blobs: BTreeMap::new(),
        };
        if let Some(index) = file("index.json") {
            archive.index = index.to_vec();
            for (path, kind) in files {
                let hex = path.strip_prefix("blobs/sha256/").map(|hex| format!("sha256:{hex}"));
                if let (Some(Ok(digest)), EntryKind::File(bytes)) = (hex.map(|hex| hex.parse()), kind) {
                    archive.blobs.insert(digest, bytes);
                }
            }
            return Ok(archive);
        }
        let Some(manifest) = file("manifest.json") else {
            return Err(failed(
                "the archive",
                "it has neither index.json nor manifest.json".to_owned(),
            ));
        };
        let images: Vec<DockerImage> =
            serde_json::from_slice(manifest).map_err(|error| failed("manifest.json", error.to_string()))?;
        let mut manifests = Vec::new();
        for image in images {
            let get = |path: &str| {
                file(path).ok_or_else(|| {
                    failed(
                        "manifest.json",
                        format!("it names {path}, which the archive does not have"),
                    )
                })
            };
            let config = Blob::new(get(&image.config)?.to_vec(), media::CONFIG);
            let mut layers = Vec::new();
            for path in &image.layers {
                let bytes = get(path)?;
                let media_type = match bytes {
                    [0x1f, 0x8b, ..] => media::LAYER_GZIP,
                    [0x28, 0xb5, 0x2f, 0xfd, ..] => media::LAYER_ZSTD,
                    _ => media::LAYER_TAR,
                };
                let layer = Blob::new(bytes.to_vec(), media_type);
                layers.push(layer.descriptor());
                archive.keep(layer);
            }
            let manifest = json!({
                "schemaVersion": 2, "mediaType": media::MANIFEST, "config": config.descriptor(), "layers": layers,
            });
            let manifest = Blob::new(canonical_json(&manifest), media::MANIFEST);
            let names: Vec<ImageName> = image
                .repo_tags
                .unwrap_or_default()
                .iter()
                .map(|name| {
                    name.parse::<ImageName>()
                        .map_err(|error| failed("manifest.json", error.to_string()))
                })
                .collect::<Result<_, _>>()?;
            if names.is_empty() {
                manifests.push(manifest.descriptor());
            }
            manifests.extend(names.iter().map(|name| named(manifest.descriptor(), name)));
            archive.keep(config);
            archive.keep(manifest);
        }
        archive.index = index_json(manifests);
        Ok(archive)
    }

    fn keep(&mut self, blob: Blob) {
        self.blobs.insert(blob.digest(), blob.bytes().to_vec());
    }
}

/// A file by path. Docker before 25 wrote equal layers once, and symbolic links to it (`../ID/layer.tar`).
fn find<'a>(files: &'a BTreeMap<String, EntryKind>, path: &str) -> Option<&'a [u8]> {
    let mut path = path.to_owned();
    for _ in 0..4 {
        match files.get(&path)? {
            EntryKind::File(bytes) => return Some(bytes),
            EntryKind::Hardlink(target) => path.clone_from(target),
            EntryKind::Symlink(target) if !target.starts_with('/') => {
                let mut parts: Vec<&str> = path.split('/').collect();
                parts.pop();
                for part in target.split('/') {
                    match part {
                        "" | "." => {}
                        ".." => drop(parts.pop()),
                        part => parts.push(part),
                    }
                }
                path = parts.join("/");
            }
            _ => return None,
        }
    }
    None
}

impl BlobStore for Archive {
    fn origin(&self) -> String {
        self.origin.clone()
    }

    fn index(&self) -> Result<Vec<u8>, String> {
        Ok(self.index.clone())
    }

    fn blob(&self, digest: &Digest, _size: u64) -> Result<Vec<u8>, String> {
        let found = self.blobs.get(digest).cloned();
        found.ok_or_else(|| "the archive does not have it".to_owned())
    }
}
