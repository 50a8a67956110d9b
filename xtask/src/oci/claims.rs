//! What a layout says of its images, taken down as it is said: index entry and configuration may disagree, and a manifest
//! may be missing. [`super::layout::list_images`] refuses such a layout; an audit has to say what is wrong with it.

use serde::Deserialize;
use serde_json::Value;

use super::image::REFERENCE_TYPE;
use super::layout::{
    BlobStore, CONTAINERD_NAME, DEPTH, Descriptor, LayoutError, REF_NAME, malformed, platform_of, read_json, shown,
};
use super::{Digest, media};
use crate::target::Platform;

/// Most images that one layout may list: Docker's largest official indexes have some thirty.
const IMAGES: usize = 1024;
/// Most layers of one image: engines stop at 127.
const LAYERS: usize = 1024;

/// One image of a layout, in its own words.
#[derive(Clone, Debug)]
pub struct Claim {
    /// The whole name (`io.containerd.image.name`), else the tag, else nothing.
    pub name: Option<String>,
    /// The tag (`org.opencontainers.image.ref.name`), its own.
    pub tag: Option<String>,
    /// The manifest; its digest was checked.
    pub manifest: Descriptor,
    /// `platform` of the index entry: `linux/arm/v6`. `None` when the entry gives none.
    pub entry: Option<String>,
    /// The platform of the configuration, in words: `linux/arm`.
    pub said: String,
    /// The same as a platform of this product, `arm` without a variant taken for v7; `None` for one that it does not know.
    pub platform: Option<Platform>,
    /// The configuration; its digest was checked.
    pub config: Value,
    /// SHA-256 of the configuration.
    pub config_digest: Digest,
    /// Layers, lowest first. Their blobs were not looked at.
    pub layers: Vec<Descriptor>,
    /// `rootfs.diff_ids`, as many as there are layers.
    pub diff_ids: Vec<Digest>,
}

/// All images of a layout.
#[derive(Clone, Debug, Default)]
pub struct Claims {
    /// In the order of the index, each manifest once.
    pub images: Vec<Claim>,
    /// What is listed and is no image, or is not there, one sentence each. An engine on containerd saves an index of which
    /// it has only some manifests.
    pub skipped: Vec<String>,
}

impl Claim {
    /// A name for messages: the image's own, else its digest.
    pub fn title(&self) -> String {
        self.name.clone().unwrap_or_else(|| self.manifest.digest.to_string())
    }

    /// `config.Labels[key]`.
    pub fn label(&self, key: &str) -> Option<&str> {
        self.config["config"]["Labels"][key].as_str()
    }
}

#[derive(Deserialize)]
struct Index {
    #[serde(default)]
    manifests: Vec<Descriptor>,
}

#[derive(Deserialize)]
struct Manifest {
    config: Descriptor,
    layers: Vec<Descriptor>,
}

/// Lists the images. Fails when `index.json`, or a blob that is there, cannot be read as what it is said to be.
pub fn claims(store: &dyn BlobStore) -> Result<Claims, LayoutError> {
    let bytes = store.index().map_err(|reason| LayoutError::Read {
        origin: store.origin(),
        object: "index.json".to_owned(),
        reason,
    })?;
    let mut claims = Claims::default();
    list(store, "index.json", &bytes, None, 0, &mut claims)?;
    Ok(claims)
}

fn list(
    store: &dyn BlobStore,
    object: &str,
    bytes: &[u8],
    above: Option<&str>,
    depth: usize,
    claims: &mut Claims,
) -> Result<(), LayoutError> {
    let index: Index = serde_json::from_slice(bytes).map_err(|error| malformed(store, object, error))?;
    for descriptor in index.manifests {
        if descriptor.annotations.contains_key(REFERENCE_TYPE) {
            continue;
        }
        if claims.images.len() + claims.skipped.len() >= IMAGES {
            return Err(malformed(store, object, format!("it lists more than {IMAGES} images")));
        }
        let named = descriptor.annotations.get(CONTAINERD_NAME);
        let name = named.or_else(|| descriptor.annotations.get(REF_NAME)).cloned();
        let name = name.or_else(|| above.map(str::to_owned));
        let name = name.as_deref();
        match descriptor.media_type.as_str() {
            media::INDEX | media::DOCKER_INDEX => {
                if depth >= DEPTH {
                    return Err(malformed(
                        store,
                        object,
                        format!("indexes are nested more than {DEPTH} deep"),
                    ));
                }
                match read_json(store, "index", &descriptor) {
                    Ok(bytes) => {
                        let object = format!("index {}", descriptor.digest);
                        list(store, &object, &bytes, name, depth + 1, claims)?;
                    }
                    Err(LayoutError::Read { reason, .. }) => claims.skipped.push(absent(&descriptor, &reason)),
                    Err(error) => return Err(error),
                }
            }
            media::MANIFEST | media::DOCKER_MANIFEST => one(store, name, descriptor, claims)?,
            other => claims
                .skipped
                .push(format!("{}: `{other}` is no image", descriptor.digest)),
        }
    }
    Ok(())
}

fn absent(descriptor: &Descriptor, reason: &str) -> String {
    let platform = descriptor.platform.as_ref().map(shown);
    let platform = platform.map_or(String::new(), |platform| format!(" for {platform}"));
    format!("{}{platform} is listed, but not there: {reason}", descriptor.digest)
}

fn one(
    store: &dyn BlobStore,
    name: Option<&str>,
    descriptor: Descriptor,
    claims: &mut Claims,
) -> Result<(), LayoutError> {
    // A manifest under several names is one image.
    if claims
        .images
        .iter()
        .any(|image| image.manifest.digest == descriptor.digest)
    {
        return Ok(());
    }
    let bytes = match read_json(store, "manifest", &descriptor) {
        Ok(bytes) => bytes,
        Err(LayoutError::Read { reason, .. }) => {
            claims.skipped.push(absent(&descriptor, &reason));
            return Ok(());
        }
        Err(error) => return Err(error),
    };
    let object = format!("manifest {}", descriptor.digest);
    let manifest: Manifest =
        serde_json::from_slice(&bytes).map_err(|error| malformed(store, object.as_str(), error))?;
    if !matches!(
        manifest.config.media_type.as_str(),
        media::CONFIG | media::DOCKER_CONFIG
    ) {
        let kind = &manifest.config.media_type;
        claims
            .skipped
            .push(format!("{object}: its configuration is `{kind}`, so it is no image"));
        return Ok(());
    }
    if manifest.layers.len() > LAYERS {
        return Err(malformed(store, object, format!("it has more than {LAYERS} layers")));
    }
    let object = format!("configuration {}", manifest.config.digest);
    let bytes = read_json(store, "configuration", &manifest.config)?;
    let config: Value = serde_json::from_slice(&bytes).map_err(|error| malformed(store, object.as_str(), error))?;
    let diff_ids: Vec<Digest> = config
        .pointer("/rootfs/diff_ids")
        .cloned()
        .and_then(|ids| serde_json::from_value(ids).ok())
        .ok_or_else(|| malformed(store, object.as_str(), "it has no list of digests at rootfs.diff_ids"))?;
    if diff_ids.len() != manifest.layers.len() {
        let counts = format!("{} diff_ids for {} layers", diff_ids.len(), manifest.layers.len());
        return Err(malformed(store, object, counts));
    }
    claims.images.push(Claim {
        name: name.map(str::to_owned),
        tag: descriptor.annotations.get(REF_NAME).cloned(),
        entry: descriptor.platform.as_ref().map(shown),
        manifest: descriptor,
        said: shown(&config),
        platform: platform_of(&config),
        config,
        config_digest: manifest.config.digest,
        layers: manifest.layers,
        diff_ids,
    });
    Ok(())
}
