//! From a reference to digests, and to blobs in the cache.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use serde_json::Value;

use super::document::{ACCEPT, Descriptor, LONGEST, PlatformOf, agrees, choose};
use super::{Access, Document, Registry, Variants, refusal};
use crate::cx::Cx;
use crate::error::{Context, Error, Result};
use crate::http::{Checksum, HeaderValue, Request, StatusCode, Wanted, header};
use crate::oci::image::BaseImage;
use crate::oci::layer::{Layer, Limits};
use crate::oci::pick::Said;
use crate::oci::{Digest, Reference, media};
use crate::target::Platform;

/// Layers that are fetched at the same time: Docker's number.
const PARALLEL: usize = 3;
/// Longest configuration that is read.
const CONFIG: u64 = 4 << 20;
/// Largest layer that is fetched.
const LAYER: u64 = 4 << 30;
/// Most layers of an image: overlay2 takes 128.
const LAYERS: usize = 128;
/// Deepest nesting of indexes.
const DEPTH: usize = 4;

/// What a reference means for a platform, as digests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolved {
    /// The reference with the digest of what its tag names: an index, or a manifest where there is no index.
    pub reference: Reference,
    /// The index, if the reference names one.
    pub index: Option<Digest>,
    /// The manifest of the platform.
    pub manifest: Digest,
    /// The configuration.
    pub config: Digest,
    /// The platform that was asked for.
    pub platform: Platform,
    /// What the index says of the manifest (`linux/arm/v6`), if there is one.
    pub listed: Option<String>,
}

/// A layer in the cache.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PulledLayer {
    /// Its file; it was hashed when it came or was found.
    pub path: PathBuf,
    /// Its media type, as in the manifest.
    pub media_type: String,
    /// Its digest.
    pub digest: Digest,
    /// Its bytes.
    pub size: u64,
}

/// An image in the cache.
#[derive(Clone, Debug)]
pub struct Pulled {
    /// What was resolved.
    pub resolved: Resolved,
    /// The manifest, byte for byte.
    pub manifest: Vec<u8>,
    /// The configuration, byte for byte.
    pub config: Vec<u8>,
    /// The layers, lowest first.
    pub layers: Vec<PulledLayer>,
}

/// A manifest or index with its digest.
struct Fetched {
    digest: Digest,
    bytes: Vec<u8>,
    document: Document,
}

/// The chosen manifest of a reference.
struct Chosen {
    resolved: Resolved,
    listed: Option<PlatformOf>,
    manifest: Vec<u8>,
    config: Descriptor,
    layers: Vec<Descriptor>,
}

impl Registry {
    /// What `reference` means for `platform`. Nothing but manifests is fetched, and what the cache has is not fetched again: a
    /// digest that is there needs no network.
    pub fn resolve(&self, cx: &Cx, reference: &Reference, platform: Platform, variants: Variants) -> Result<Resolved> {
        Ok(self.choose(cx, reference, platform, variants)?.resolved)
    }

    /// The image that `reference` means for `platform`, with its layers in the cache.
    pub fn pull(&self, cx: &Cx, reference: &Reference, platform: Platform, variants: Variants) -> Result<Pulled> {
        let chosen = self.choose(cx, reference, platform, variants)?;
        let pinned = &chosen.resolved.reference;
        let named = || pinned.to_string();
        if chosen.layers.len() > LAYERS {
            return Err(Error::new(format!(
                "{pinned}: it has {} layers, at most {LAYERS} make sense",
                chosen.layers.len()
            )));
        }
        if let Some(layer) = chosen.layers.iter().find(|layer| !readable(&layer.media_type)) {
            let kind = crate::http::clean(&layer.media_type);
            return Err(Error::new(format!("{pinned}: layer {} is `{kind}`", layer.digest))
                .hint("layers of tar, tar+gzip and tar+zstd are read; those that a registry may not pass on, or that are encrypted, are not"));
        }
        let config = self.blob(cx, pinned, &chosen.config, "configuration", CONFIG)?;
        let config = std::fs::read(&config).context(|| format!("cannot read {}", config.display()))?;
        let says: PlatformOf =
            serde_json::from_slice(&config).context(|| format!("{pinned}: its configuration is malformed"))?;
        let whole = agrees(&says, chosen.listed.as_ref(), platform, variants).context(named)?;
        if !whole && let Some(listed) = &chosen.listed {
            cx.ui.note(&format!(
                "{pinned}: only the index says {listed}, the configuration has no variant"
            ));
        }
        let layers = self.layers(cx, pinned, &chosen.layers)?;
        Ok(Pulled {
            resolved: chosen.resolved,
            manifest: chosen.manifest,
            config,
            layers,
        })
    }

    /// What a reference names: an index or a manifest, with its digest. Nothing else is fetched.
    pub fn inspect(&self, cx: &Cx, reference: &Reference) -> Result<(Digest, Document)> {
        let found = self.document(cx, reference)?;
        Ok((found.digest, found.document))
    }

    /// The platform that the configuration of an image says; `None` for an index.
    pub fn platform(&self, cx: &Cx, reference: &Reference) -> Result<Option<Said>> {
        let Document::Manifest { config, .. } = self.document(cx, reference)?.document else {
            return Ok(None);
        };
        let path = self.blob(cx, reference, &config, "configuration", CONFIG)?;
        let bytes = std::fs::read(&path).context(|| format!("cannot read {}", path.display()))?;
        let said = serde_json::from_slice(&bytes);
        Ok(Some(
            said.context(|| format!("{reference}: its configuration is malformed"))?,
        ))
    }

    fn choose(&self, cx: &Cx, reference: &Reference, platform: Platform, variants: Variants) -> Result<Chosen> {
        let first = self.document(cx, reference)?;
        let pinned = reference.with_digest(first.digest);
        let named = || pinned.to_string();
        let (mut found, mut listed, mut index) = (first, None, None);
        for _ in 0..DEPTH {
            let entries = match found.document {
                Document::Manifest { config, layers } => {
                    let resolved = Resolved {
                        index,
                        manifest: found.digest,
                        config: config.digest,
                        platform,
                        listed: listed.as_ref().map(PlatformOf::to_string),
                        reference: pinned,
                    };
                    return Ok(Chosen {
                        resolved,
                        listed,
                        manifest: found.bytes,
                        config,
                        layers,
                    });
                }
                Document::Index(entries) => entries,
            };
            index.get_or_insert(found.digest);
            let entry = choose(&entries, platform, variants).context(named)?;
            listed.clone_from(&entry.platform);
            found = self.document(cx, &reference.with_digest(entry.digest))?;
            if found.bytes.len() as u64 != entry.size {
                let (is, says) = (found.bytes.len(), entry.size);
                return Err(Error::new(format!(
                    "{pinned}: {} has {is} bytes, the index says {says}",
                    entry.digest
                )));
            }
        }
        Err(Error::new(format!(
            "{pinned}: indexes are nested more than {DEPTH} deep"
        )))
    }

    /// A manifest or index, from the cache if its digest is known and it is there.
    fn document(&self, cx: &Cx, reference: &Reference) -> Result<Fetched> {
        if let Some(digest) = reference.digest() {
            return match cached(cx, reference, digest)? {
                Some(found) => Ok(found),
                None => self.fetch(cx, reference, digest),
            };
        }
        if cx.offline {
            return Err(Error::new(format!(
                "{reference} can mean anything tomorrow, and --offline forbids to ask"
            ))
            .hint("name it by digest (NAME@sha256:...): what is in the cache is found by that"));
        }
        // HEAD costs nothing where GET counts as a pull (Docker Hub), and the digest may be here already.
        let head = self.request(cx, reference, Request::head)?;
        let told = head
            .text_header("docker-content-digest")
            .and_then(|text| text.parse().ok());
        match (head.status(), told) {
            (StatusCode::OK, Some(digest)) => self.document(cx, &reference.with_digest(digest)),
            // No digest in the head, or no HEAD at all: the body says what it is.
            _ => {
                let (bytes, content_type) = self.body(cx, reference)?;
                keep(cx, reference, &bytes, content_type.as_deref())
            }
        }
    }

    fn fetch(&self, cx: &Cx, reference: &Reference, digest: Digest) -> Result<Fetched> {
        let (bytes, content_type) = self.body(cx, reference)?;
        let found = Digest::of(&bytes);
        if found != digest {
            return Err(Error::new(format!("{reference}: the registry sends {found} instead"))
                .hint("try again; if it stays so, the registry or a proxy before it is damaged or lies"));
        }
        keep(cx, reference, &bytes, content_type.as_deref())
    }

    fn request(
        &self,
        cx: &Cx,
        reference: &Reference,
        make: impl FnOnce(url::Url) -> Request,
    ) -> Result<crate::http::Response> {
        let url = self.url(cx, reference, &format!("manifests/{}", reference.target()))?;
        let mut request = make(url);
        for kind in ACCEPT {
            request = request.header(header::ACCEPT, HeaderValue::from_static(kind));
        }
        self.call(cx, reference, &[(reference, Access::Pull)], &request)
    }

    /// The bytes of a manifest, and what the registry calls them.
    fn body(&self, cx: &Cx, reference: &Reference) -> Result<(Vec<u8>, Option<String>)> {
        let mut broken = 0;
        loop {
            let response = self.request(cx, reference, Request::get)?;
            if response.status() != StatusCode::OK {
                return Err(refusal(response, reference));
            }
            let content_type = response.text_header("content-type").map(str::to_owned);
            let told: Option<Digest> = response
                .text_header("docker-content-digest")
                .and_then(|text| text.parse().ok());
            // A manifest is small; one that breaks off is fetched anew.
            let bytes = match response.into_bytes(LONGEST) {
                Ok(bytes) => bytes,
                Err(error) if broken == 2 => return Err(error),
                Err(_) => {
                    broken += 1;
                    continue;
                }
            };
            let found = Digest::of(&bytes);
            if let Some(told) = told
                && told != found
            {
                return Err(
                    Error::new(format!("{reference}: the registry says {told} and sends {found}"))
                        .hint("try again; if it stays so, the registry or a proxy before it is damaged or lies"),
                );
            }
            return Ok((bytes, content_type));
        }
    }

    fn blob(&self, cx: &Cx, reference: &Reference, blob: &Descriptor, what: &str, limit: u64) -> Result<PathBuf> {
        if blob.size > limit {
            return Err(Error::new(format!(
                "{reference}: its {what} {} has {} bytes, at most {limit} make sense",
                blob.digest, blob.size
            )));
        }
        let wanted = Wanted {
            checksum: Checksum::Sha256(blob.digest.hex()),
            size: Some(blob.size),
            limit,
            label: format!("{what} {}", blob.digest),
        };
        self.client
            .download_with(cx, &wanted, &mut |range| {
                let url = self.url(cx, reference, &format!("blobs/{}", blob.digest))?;
                let request = match range {
                    Some(range) => Request::get(url).header(header::RANGE, range),
                    None => Request::get(url),
                };
                let response = self.call(cx, reference, &[(reference, Access::Pull)], &request)?;
                match response.status() {
                    StatusCode::OK | StatusCode::PARTIAL_CONTENT | StatusCode::RANGE_NOT_SATISFIABLE => Ok(response),
                    _ => Err(refusal(response, reference)),
                }
            })
            .context(|| reference.to_string())
    }

    /// All layers, some at a time; the first error ends it.
    fn layers(&self, cx: &Cx, reference: &Reference, layers: &[Descriptor]) -> Result<Vec<PulledLayer>> {
        let (next, stop) = (AtomicUsize::new(0), AtomicBool::new(false));
        let done: Mutex<Vec<Option<Result<PathBuf>>>> = Mutex::new(layers.iter().map(|_| None).collect());
        let work = || {
            while !stop.load(Ordering::SeqCst) {
                let index = next.fetch_add(1, Ordering::SeqCst);
                let Some(layer) = layers.get(index) else { return };
                let result = self.blob(cx, reference, layer, "layer", LAYER);
                if result.is_err() {
                    stop.store(true, Ordering::SeqCst);
                }
                done.lock().unwrap_or_else(PoisonError::into_inner)[index] = Some(result);
            }
        };
        std::thread::scope(|scope| {
            for _ in 1..PARALLEL.min(layers.len()) {
                scope.spawn(work);
            }
            work();
        });
        let done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
        let mut pulled = Vec::new();
        let mut unfetched = None;
        for (layer, result) in layers.iter().zip(done) {
            match result {
                Some(result) => pulled.push(PulledLayer {
                    path: result?,
                    media_type: layer.media_type.clone(),
                    digest: layer.digest,
                    size: layer.size,
                }),
                None => unfetched = Some(layer.digest),
            }
        }
        match unfetched {
            // Cannot be without an error above; but if it were, half an image must not pass for one.
            Some(digest) => Err(Error::new(format!("{reference}: layer {digest} was not fetched"))),
            None => Ok(pulled),
        }
    }
}

fn readable(media_type: &str) -> bool {
    [
        media::LAYER_TAR,
        media::LAYER_GZIP,
        media::LAYER_ZSTD,
        media::DOCKER_LAYER_TAR,
        media::DOCKER_LAYER_GZIP,
        media::DOCKER_LAYER_ZSTD,
    ]
    .contains(&media_type)
}

fn cached(cx: &Cx, reference: &Reference, digest: Digest) -> Result<Option<Fetched>> {
    let Some(path) = cx.cache.get(&digest.hex())? else {
        return Ok(None);
    };
    let bytes = std::fs::read(&path).context(|| format!("cannot read {}", path.display()))?;
    let document = Document::parse(&bytes, None).context(|| reference.to_string())?;
    Ok(Some(Fetched {
        digest,
        bytes,
        document,
    }))
}

fn keep(cx: &Cx, reference: &Reference, bytes: &[u8], content_type: Option<&str>) -> Result<Fetched> {
    let document = Document::parse(bytes, content_type).context(|| reference.to_string())?;
    cx.cache.put_bytes(bytes)?;
    Ok(Fetched {
        digest: Digest::of(bytes),
        bytes: bytes.to_vec(),
        document,
    })
}

impl Pulled {
    /// The image as something to build on: its layers stay as they are, byte for byte, and are checked against the diff_ids of
    /// the configuration. Packages and glibc are left to who knows the distribution.
    pub fn to_base(&self, limits: &Limits) -> Result<BaseImage> {
        let reference = &self.resolved.reference;
        let malformed = |what: &str| Error::new(format!("{reference}: its configuration {what}"));
        let config: Value = serde_json::from_slice(&self.config).map_err(|_| malformed("is malformed"))?;
        let diff_ids: Vec<Digest> = config
            .pointer("/rootfs/diff_ids")
            .cloned()
            .and_then(|ids| serde_json::from_value(ids).ok())
            .ok_or_else(|| malformed("has no list of digests at rootfs.diff_ids"))?;
        if diff_ids.len() != self.layers.len() {
            return Err(malformed(&format!(
                "has {} diff_ids for {} layers",
                diff_ids.len(),
                self.layers.len()
            )));
        }
        let nothing = Vec::new();
        let history = config.get("history").and_then(Value::as_array).unwrap_or(&nothing);
        let steps: Vec<&Value> = history
            .iter()
            .filter(|step| step.get("empty_layer").and_then(Value::as_bool) != Some(true))
            .collect();
        let mut layers = Vec::new();
        for (index, (layer, diff_id)) in self.layers.iter().zip(&diff_ids).enumerate() {
            let step = steps.get(index).filter(|_| steps.len() == diff_ids.len());
            let created_by = step
                .and_then(|step| step.get("created_by")?.as_str())
                .unwrap_or_default();
            let blob = std::fs::read(&layer.path).context(|| format!("cannot read {}", layer.path.display()))?;
            let read = Layer::from_blob(blob, &layer.media_type, created_by, limits)
                .context(|| format!("{reference}: layer {}", layer.digest))?;
            // The file was whole when it was pulled; that may be a while ago.
            if read.digest() != layer.digest {
                return Err(Error::new(format!(
                    "{} is not layer {} any more",
                    layer.path.display(),
                    layer.digest
                )));
            }
            if read.diff_id() != *diff_id {
                let found = read.diff_id();
                return Err(Error::new(format!(
                    "{reference}: layer {} unpacks to {found}, the configuration says {diff_id}",
                    layer.digest
                )));
            }
            layers.push(read);
        }
        Ok(BaseImage {
            layers,
            config,
            origin: reference.to_string(),
            packages: Vec::new(),
            glibc: None,
        })
    }
}
