//! Images in files: a layout as a directory, or an archive as one tar in which the blobs are found once and then read in place.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::json;

use super::stream::{Bounds, Compression, Item, decompress, walk_tar};
use crate::error::{Context, Error, Result};
use crate::oci::archive::named;
use crate::oci::claims::{Claim, Claims, claims};
use crate::oci::digest::DigestReader;
use crate::oci::image::Blob;
use crate::oci::layer::Limits;
use crate::oci::layout::{BlobStore, CONTAINERD_NAME, index_json, load_image};
use crate::oci::{Digest, Image, ImageName, canonical_json, media};
use crate::publish::layout;
use crate::registry::{Pulled, Whole};
use crate::target::Platform;

/// Longest index, manifest or configuration that is kept in memory.
const JSON: u64 = 4 << 20;
/// Most members that an archive may have.
const MEMBERS: usize = 100_000;

/// Where a blob's bytes are.
#[derive(Clone, Debug)]
enum Place {
    /// A whole file.
    File(PathBuf),
    /// Part of the archive.
    Part { offset: u64, size: u64 },
    /// Made here: manifests of an archive that has none.
    Made(Vec<u8>),
    /// Named, and not to be had: why.
    Absent(String),
}

/// Images that can be listed, looked through layer by layer, and loaded. It implements [`BlobStore`], so that
/// [`crate::oci::layout::list_images`] and [`load_image`] read from it as from a layout; their blobs are the very bytes that lie there.
#[derive(Debug)]
pub struct Store {
    origin: String,
    index: Vec<u8>,
    blobs: Blobs,
    /// Keeps a tar that was fetched or unpacked until the store is dropped.
    _temporary: Option<tempfile::TempDir>,
}

#[derive(Debug)]
enum Blobs {
    Layout(PathBuf),
    Archive {
        tar: PathBuf,
        places: BTreeMap<Digest, Place>,
    },
}

impl Store {
    /// A layout as a directory.
    pub(super) fn layout(dir: &Path) -> Result<Store> {
        let open = layout::open(dir)?;
        let index = open
            .index()
            .map_err(Error::new)
            .context(|| format!("oci:{}: cannot read index.json", dir.display()))?;
        Ok(Store {
            origin: open.origin(),
            index,
            blobs: Blobs::Layout(dir.to_owned()),
            _temporary: None,
        })
    }

    /// An archive as `docker save` writes it, old (`manifest.json`) or new (also `index.json`); `tar` is not compressed.
    pub(super) fn archive(tar: PathBuf, origin: String, temporary: Option<tempfile::TempDir>) -> Result<Store> {
        let members = Members::read(&tar, &origin)?;
        let (index, places) = match members.file("index.json") {
            Some(index) => (members.json(index, "index.json")?, members.by_digest()),
            None => members.of_docker()?,
        };
        Ok(Store {
            origin,
            index,
            blobs: Blobs::Archive { tar, places },
            _temporary: temporary,
        })
    }

    /// An image that was pulled: its layers lie in the cache.
    pub(super) fn pulled(pulled: &Pulled, origin: String) -> Result<Store> {
        let resolved = &pulled.resolved;
        let manifest = Blob::new(pulled.manifest.clone(), media::MANIFEST);
        let mut descriptor = manifest.descriptor();
        // What the registry's index says of the manifest is a claim like any other.
        if let Some(listed) = &resolved.listed {
            let mut parts = listed.splitn(3, '/');
            for key in ["os", "architecture", "variant"] {
                if let Some(part) = parts.next() {
                    descriptor["platform"][key] = part.into();
                }
            }
        }
        descriptor["annotations"][CONTAINERD_NAME] = resolved.reference.to_string().into();
        let mut places: BTreeMap<Digest, Place> = pulled
            .layers
            .iter()
            .map(|layer| (layer.digest, Place::File(layer.path.clone())))
            .collect();
        places.insert(resolved.manifest, Place::Made(pulled.manifest.clone()));
        places.insert(resolved.config, Place::Made(pulled.config.clone()));
        Ok(Store {
            origin,
            index: index_json(vec![descriptor]),
            // There is no tar: every blob is a file of its own, or in memory.
            blobs: Blobs::Archive {
                tar: PathBuf::new(),
                places,
            },
            _temporary: None,
        })
    }

    /// Everything that a registry has under a reference, as it came. It stays as long as the store does.
    pub fn whole(whole: Whole, origin: String) -> Store {
        let mut root = whole.root;
        root["annotations"][CONTAINERD_NAME] = whole.reference.to_string().into();
        let documents = whole
            .documents
            .into_iter()
            .map(|(digest, found)| (digest, found.map_or_else(Place::Absent, Place::Made)));
        let blobs = whole
            .blobs
            .into_iter()
            .map(|(digest, found)| (digest, found.map_or_else(Place::Absent, Place::File)));
        Store {
            origin,
            index: index_json(vec![root]),
            blobs: Blobs::Archive {
                tar: PathBuf::new(),
                places: documents.chain(blobs).collect(),
            },
            _temporary: Some(whole.dir),
        }
    }

    /// What the index and the configurations say, contradictions included.
    pub fn claims(&self) -> Result<Claims> {
        Ok(claims(self)?)
    }

    /// The image for a platform, all of it in memory and checked; `name` (a tag or a whole name) decides between several. The
    /// layers are the blobs as they lie there.
    pub fn image(&self, name: Option<&str>, platform: Platform) -> Result<Image> {
        Ok(load_image(self, name, platform, &Limits::default())?)
    }

    /// Hands out every entry of one layer, lowest is 0, and checks the blob's size and digest, and the diff_id, on the way. Nothing
    /// that `visit` was given may be believed before this returns.
    pub fn walk_layer(
        &self,
        claim: &Claim,
        layer: usize,
        bounds: &Bounds,
        visit: &mut dyn FnMut(Item<'_>) -> Result<()>,
    ) -> Result<()> {
        let at = || Error::new(format!("{}: {} has no layer {layer}", self.origin, claim.title()));
        let descriptor = claim.layers.get(layer).ok_or_else(at)?;
        let diff_id = claim.diff_ids.get(layer).ok_or_else(at)?;
        let name = format!("{}: layer {}", self.origin, descriptor.digest);
        let wrong = |reason: String| {
            Error::new(format!("{name}: {reason}")).hint("the image is damaged: fetch or make it again")
        };
        let reader = self
            .read(&descriptor.digest)
            .map_err(|reason| wrong(format!("cannot read it: {reason}")))?;
        // One byte more than it should have shows that it is too long.
        let mut blob = DigestReader::new(reader.take(descriptor.size.saturating_add(1)));
        let mut tar = DigestReader::new(decompress(&mut blob).context(|| name.clone())?);
        walk_tar(&mut tar, &name, bounds, visit)?;
        let (found, _) = tar.finish();
        std::io::copy(&mut blob, &mut std::io::sink()).context(|| name.clone())?;
        let (digest, size) = blob.finish();
        if size != descriptor.size {
            return Err(wrong(format!(
                "its size is not {}, as its descriptor says",
                descriptor.size
            )));
        }
        if digest != descriptor.digest {
            return Err(wrong(format!("its content is {digest}")));
        }
        if found != *diff_id {
            return Err(wrong(format!(
                "it unpacks to {found}, the configuration says {diff_id}"
            )));
        }
        Ok(())
    }

    /// The bytes of a blob, unchecked.
    ///
    /// # Errors
    ///
    /// Why there are none.
    pub fn read(&self, digest: &Digest) -> Result<Box<dyn Read>, String> {
        let open = |path: &Path| {
            File::open(path).map_err(|error| match error.kind() {
                std::io::ErrorKind::NotFound => format!("{} does not exist", path.display()),
                _ => error.to_string(),
            })
        };
        match &self.blobs {
            Blobs::Layout(dir) => {
                let path = dir.join("blobs/sha256").join(digest.hex());
                Ok(Box::new(open(&path)?))
            }
            Blobs::Archive { tar, places } => match places.get(digest) {
                None => Err("it is not there".to_owned()),
                Some(Place::Absent(reason)) => Err(reason.clone()),
                Some(Place::File(path)) => Ok(Box::new(open(path)?)),
                Some(Place::Made(bytes)) => Ok(Box::new(std::io::Cursor::new(bytes.clone()))),
                Some(Place::Part { offset, size }) => {
                    let mut file = open(tar)?;
                    file.seek(SeekFrom::Start(*offset)).map_err(|error| error.to_string())?;
                    Ok(Box::new(file.take(*size)))
                }
            },
        }
    }
}

impl BlobStore for Store {
    fn origin(&self) -> String {
        self.origin.clone()
    }

    fn index(&self) -> Result<Vec<u8>, String> {
        Ok(self.index.clone())
    }

    fn blob(&self, digest: &Digest, size: u64) -> Result<Vec<u8>, String> {
        let mut bytes = Vec::new();
        self.read(digest)?
            .take(size.saturating_add(1))
            .read_to_end(&mut bytes)
            .map_err(|error| error.to_string())?;
        Ok(bytes)
    }
}

/// The members of an archive by path, with where they lie.
struct Members<'a> {
    tar: &'a Path,
    origin: &'a str,
    files: BTreeMap<String, (u64, u64)>,
    links: BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct DockerImage {
    config: String,
    repo_tags: Option<Vec<String>>,
    layers: Vec<String>,
}

impl<'a> Members<'a> {
    fn read(tar: &'a Path, origin: &'a str) -> Result<Members<'a>> {
        let mut members = Members {
            tar,
            origin,
            files: BTreeMap::new(),
            links: BTreeMap::new(),
        };
        let file = File::open(tar).context(|| format!("cannot read {origin}"))?;
        let damaged = |error: &dyn std::fmt::Display| {
            Error::new(format!("{origin}: damaged archive: {error}"))
                .hint("an image archive is what `docker save` writes: make or fetch it again")
        };
        let length = file.metadata().context(|| format!("cannot read {origin}"))?.len();
        let mut archive = tar::Archive::new(BufReader::new(file));
        let mut path: Option<String> = None;
        for item in archive.entries_with_seek().map_err(|error| damaged(&error))?.raw(true) {
            let mut item = item.map_err(|error| damaged(&error))?;
            if members.files.len() + members.links.len() >= MEMBERS {
                return Err(damaged(&format!("it has more than {MEMBERS} members")));
            }
            let (offset, size) = (item.raw_file_position(), item.size());
            if offset.checked_add(size).is_none_or(|end| end > length) {
                return Err(damaged(&"it is cut: a member is longer than what follows"));
            }
            let kind = item.header().entry_type();
            if matches!(kind, tar::EntryType::GNULongName | tar::EntryType::XHeader) && size <= JSON {
                let mut data = Vec::new();
                item.read_to_end(&mut data).map_err(|error| damaged(&error))?;
                path = match kind {
                    tar::EntryType::GNULongName => Some(crate::oci::layer::until_nul(data)),
                    _ => crate::oci::layer::parse_pax(&data).and_then(|pax| pax.get("path").cloned()),
                }
                .map(|path| String::from_utf8_lossy(&path).into_owned());
                continue;
            }
            let own = || String::from_utf8_lossy(&item.header().path_bytes()).into_owned();
            let path = path.take().unwrap_or_else(own);
            let path = path.trim_start_matches("./").trim_end_matches('/').to_owned();
            match kind {
                tar::EntryType::Symlink | tar::EntryType::Link => {
                    let target = item.header().link_name_bytes().unwrap_or_default();
                    let target = String::from_utf8_lossy(&target).into_owned();
                    let above = match (kind, path.rsplit_once('/')) {
                        (tar::EntryType::Symlink, Some((above, _))) => above,
                        _ => "",
                    };
                    members.links.insert(path.clone(), join(above, &target));
                }
                _ => drop(members.files.insert(path, (offset, size))),
            }
        }
        Ok(members)
    }

    /// A file by path. Docker before 25 wrote equal layers once, and symbolic links to it (`../ID/layer.tar`).
    fn file(&self, path: &str) -> Option<(u64, u64)> {
        let mut path = path;
        for _ in 0..4 {
            match self.files.get(path) {
                Some(place) => return Some(*place),
                None => path = self.links.get(path)?,
            }
        }
        None
    }

    fn open(&self, (offset, size): (u64, u64)) -> Result<impl Read + use<>> {
        let mut file = File::open(self.tar).context(|| format!("cannot read {}", self.origin))?;
        file.seek(SeekFrom::Start(offset))
            .context(|| format!("cannot read {}", self.origin))?;
        Ok(file.take(size))
    }

    fn malformed(&self, object: &str, reason: impl std::fmt::Display) -> Error {
        Error::new(format!("{}: {object}: {reason}", self.origin))
            .hint("an image archive is what `docker save` writes: make or fetch it again")
    }

    fn json(&self, place: (u64, u64), object: &str) -> Result<Vec<u8>> {
        if place.1 > JSON {
            return Err(self.malformed(object, format!("it has {} bytes, at most {JSON} make sense", place.1)));
        }
        let mut bytes = Vec::new();
        self.open(place)?
            .read_to_end(&mut bytes)
            .context(|| format!("{}: cannot read {object}", self.origin))?;
        Ok(bytes)
    }

    fn by_digest(&self) -> BTreeMap<Digest, Place> {
        let digest = |path: &str| format!("sha256:{}", path.strip_prefix("blobs/sha256/")?).parse().ok();
        let place = |(path, (offset, size)): (&String, &(u64, u64))| {
            let (offset, size) = (*offset, *size);
            Some((digest(path)?, Place::Part { offset, size }))
        };
        self.files.iter().filter_map(place).collect()
    }

    /// From `manifest.json` alone: manifests are made, and layers digested once, because nothing names them by digest.
    fn of_docker(&self) -> Result<(Vec<u8>, BTreeMap<Digest, Place>)> {
        let manifest = self.file("manifest.json").ok_or_else(|| {
            Error::new(format!("{} has neither index.json nor manifest.json", self.origin))
                .hint("an image archive is what `docker save` writes; a root file system is given as PATH.tar, without a scheme")
        })?;
        let manifest = self.json(manifest, "manifest.json")?;
        let images: Vec<DockerImage> =
            serde_json::from_slice(&manifest).map_err(|error| self.malformed("manifest.json", error))?;
        let mut places = BTreeMap::new();
        let mut manifests = Vec::new();
        for image in images {
            let get = |path: &str| {
                let missing = || {
                    self.malformed(
                        "manifest.json",
                        format!("it names {path}, which the archive does not have"),
                    )
                };
                self.file(path).ok_or_else(missing)
            };
            let config = Blob::new(self.json(get(&image.config)?, &image.config)?, media::CONFIG);
            let mut layers = Vec::new();
            for path in &image.layers {
                let (offset, size) = get(path)?;
                let mut start = Vec::new();
                let mut layer = DigestReader::new(self.open((offset, size))?);
                layer
                    .by_ref()
                    .take(8)
                    .read_to_end(&mut start)
                    .and_then(|_| std::io::copy(&mut layer, &mut std::io::sink()))
                    .context(|| format!("{}: cannot read {path}", self.origin))?;
                let media_type = match Compression::of(&start) {
                    Compression::Gzip => media::LAYER_GZIP,
                    Compression::Zstd => media::LAYER_ZSTD,
                    _ => media::LAYER_TAR,
                };
                let (digest, _) = layer.finish();
                layers.push(json!({"mediaType": media_type, "digest": digest.to_string(), "size": size}));
                places.insert(digest, Place::Part { offset, size });
            }
            let manifest = json!({
                "schemaVersion": 2, "mediaType": media::MANIFEST, "config": config.descriptor(), "layers": layers,
            });
            let manifest = Blob::new(canonical_json(&manifest), media::MANIFEST);
            let names: Vec<ImageName> = image
                .repo_tags
                .unwrap_or_default()
                .iter()
                .map(|name| name.parse().map_err(|error| self.malformed("manifest.json", error)))
                .collect::<Result<_>>()?;
            if names.is_empty() {
                manifests.push(manifest.descriptor());
            }
            manifests.extend(names.iter().map(|name| named(manifest.descriptor(), name)));
            for blob in [config, manifest] {
                places.insert(blob.digest(), Place::Made(blob.bytes().to_vec()));
            }
        }
        Ok((index_json(manifests), places))
    }
}

/// A relative link from a directory of the archive; `..` stops at its root.
fn join(above: &str, target: &str) -> String {
    let mut parts: Vec<&str> = above.split('/').filter(|part| !part.is_empty()).collect();
    for part in target.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    parts.join("/")
}
