//! Reading image layouts and archives without trusting them: sizes, digests, platforms and diff_ids are all checked.

use serde::Deserialize;
use serde_json::{Value, json};

use super::image::{APP_LAYER, Blob, Image, REFERENCE_TYPE};
use super::layer::{Layer, LayerError, Limits};
use super::{Digest, media};
use crate::target::Platform;

/// Longest index, manifest or configuration that is read.
const JSON: u64 = 4 << 20;
/// Deepest nesting of indexes.
pub const DEPTH: usize = 4;

/// `org.opencontainers.image.ref.name`: the tag.
pub const REF_NAME: &str = "org.opencontainers.image.ref.name";
/// `io.containerd.image.name`: the whole name, for containerd and engines on it.
pub const CONTAINERD_NAME: &str = "io.containerd.image.name";

/// The file `oci-layout`.
pub fn marker() -> Vec<u8> {
    br#"{"imageLayoutVersion":"1.0.0"}"#.to_vec()
}

/// An `index.json` with these manifest descriptors.
pub fn index_json(manifests: Vec<Value>) -> Vec<u8> {
    super::canonical_json(&json!({"schemaVersion": 2, "mediaType": media::INDEX, "manifests": manifests}))
}

/// Something that has an index and blobs by digest: a directory, an archive, a test.
pub trait BlobStore {
    /// Where it is, for messages: `oci:target/images`.
    fn origin(&self) -> String;
    /// `index.json`.
    fn index(&self) -> Result<Vec<u8>, String>;
    /// A blob that should have `size` bytes; a longer one need not be read to its end. The caller checks size and digest.
    fn blob(&self, digest: &Digest, size: u64) -> Result<Vec<u8>, String>;
}

/// Why a layout cannot be read. Every message names the object.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LayoutError {
    /// The store has no such object, or cannot read it.
    #[error("{origin}: cannot read {object}: {reason}")]
    Read {
        /// The store.
        origin: String,
        /// `index.json` or a digest.
        object: String,
        /// Why.
        reason: String,
    },
    /// An object that is not what its name says.
    #[error("{origin}: the blob {digest} is damaged: {reason}")]
    Damaged {
        /// The store.
        origin: String,
        /// Its name.
        digest: Digest,
        /// What was found.
        reason: String,
    },
    /// JSON that makes no sense.
    #[error("{origin}: {object} is malformed: {reason}")]
    Malformed {
        /// The store.
        origin: String,
        /// `index.json`, `manifest sha256:...`.
        object: String,
        /// What is wrong.
        reason: String,
    },
    /// Nothing fits.
    #[error("{origin}: no image for {wanted}; there are: {found}")]
    Missing {
        /// The store.
        origin: String,
        /// Platform and name.
        wanted: String,
        /// What there is.
        found: String,
    },
    /// Several fit.
    #[error("{origin}: several images for {wanted}: {found}; name one")]
    Ambiguous {
        /// The store.
        origin: String,
        /// Platform and name.
        wanted: String,
        /// What fits.
        found: String,
    },
    /// A layer that cannot be read.
    #[error("{origin}: layer {digest}: {error}")]
    Layer {
        /// The store.
        origin: String,
        /// The layer.
        digest: Digest,
        /// Why.
        error: Box<LayerError>,
    },
}

/// A descriptor, as far as it is used here.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// Media type; Docker leaves it out of old indexes.
    #[serde(default)]
    pub media_type: String,
    /// SHA-256.
    pub digest: Digest,
    /// Bytes.
    pub size: u64,
    /// `platform` of an index entry, as it is.
    #[serde(default)]
    pub platform: Option<Value>,
    /// Annotations.
    #[serde(default)]
    pub annotations: std::collections::BTreeMap<String, String>,
}

/// One image that a layout lists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// The tag (`org.opencontainers.image.ref.name`), its own or that of the index around it.
    pub name: Option<String>,
    /// The whole name (`io.containerd.image.name`), if it is given.
    pub full_name: Option<String>,
    /// The platform of the configuration; `None` for one that this product does not know.
    pub platform: Option<Platform>,
    /// The manifest.
    pub manifest: Descriptor,
}

#[derive(Deserialize)]
struct Index {
    #[serde(default, rename = "schemaVersion")]
    schema_version: u32,
    manifests: Vec<Descriptor>,
}

#[derive(Deserialize)]
struct Manifest {
    #[serde(default, rename = "schemaVersion")]
    schema_version: u32,
    config: Descriptor,
    layers: Vec<Descriptor>,
}

/// Reads one blob and checks size and digest.
pub fn read_blob(store: &dyn BlobStore, digest: &Digest, size: u64) -> Result<Vec<u8>, LayoutError> {
    let bytes = store.blob(digest, size).map_err(|reason| LayoutError::Read {
        origin: store.origin(),
        object: digest.to_string(),
        reason,
    })?;
    let damaged = |reason| LayoutError::Damaged {
        origin: store.origin(),
        digest: *digest,
        reason,
    };
    if bytes.len() as u64 != size {
        return Err(damaged(format!(
            "it has {} bytes, its descriptor says {size}",
            bytes.len()
        )));
    }
    let found = Digest::of(&bytes);
    if found != *digest {
        return Err(damaged(format!("its content is {found}")));
    }
    Ok(bytes)
}

pub(super) fn read_json(store: &dyn BlobStore, what: &str, descriptor: &Descriptor) -> Result<Vec<u8>, LayoutError> {
    if descriptor.size > JSON {
        return Err(malformed(
            store,
            format!("{what} {}", descriptor.digest),
            format!("it has {} bytes, at most {JSON} make sense", descriptor.size),
        ));
    }
    read_blob(store, &descriptor.digest, descriptor.size)
}

pub(super) fn malformed(store: &dyn BlobStore, object: impl Into<String>, reason: impl ToString) -> LayoutError {
    LayoutError::Malformed {
        origin: store.origin(),
        object: object.into(),
        reason: reason.to_string(),
    }
}

/// The images of a layout, in the order of its index, nested indexes opened. Attestations are left out.
pub fn list_images(store: &dyn BlobStore) -> Result<Vec<Listed>, LayoutError> {
    let bytes = store.index().map_err(|reason| LayoutError::Read {
        origin: store.origin(),
        object: "index.json".to_owned(),
        reason,
    })?;
    let mut found = Vec::new();
    list(store, "index.json", &bytes, (None, None), 0, &mut found)?;
    Ok(found)
}

fn list(
    store: &dyn BlobStore,
    object: &str,
    bytes: &[u8],
    names: (Option<&String>, Option<&String>),
    depth: usize,
    found: &mut Vec<Listed>,
) -> Result<(), LayoutError> {
    let index: Index = serde_json::from_slice(bytes).map_err(|error| malformed(store, object, error))?;
    if index.schema_version != 2 {
        return Err(malformed(store, object, "its schemaVersion is not 2"));
    }
    for descriptor in index.manifests {
        let name = descriptor.annotations.get(REF_NAME).or(names.0);
        let full_name = descriptor.annotations.get(CONTAINERD_NAME).or(names.1);
        if descriptor.annotations.contains_key(REFERENCE_TYPE) {
            continue;
        }
        match descriptor.media_type.as_str() {
            media::INDEX | media::DOCKER_INDEX => {
                if depth >= DEPTH {
                    return Err(malformed(
                        store,
                        object,
                        format!("indexes are nested more than {DEPTH} deep"),
                    ));
                }
                let bytes = read_json(store, "index", &descriptor)?;
                let object = format!("index {}", descriptor.digest);
                list(store, &object, &bytes, (name, full_name), depth + 1, found)?;
            }
            media::MANIFEST | media::DOCKER_MANIFEST => {
                let manifest = read_manifest(store, &descriptor)?;
                let config = read_config(store, &manifest)?;
                let platform = platform_of(&config);
                if let Some(claimed) = &descriptor.platform
                    && platform_of(claimed) != platform
                {
                    let object = format!("{object}, entry {}", descriptor.digest);
                    return Err(malformed(
                        store,
                        object,
                        format!("it says {}, the configuration {}", shown(claimed), shown(&config)),
                    ));
                }
                found.push(Listed {
                    name: name.cloned(),
                    full_name: full_name.cloned(),
                    platform,
                    manifest: descriptor,
                });
            }
            other => {
                return Err(malformed(
                    store,
                    object,
                    format!("`{other}` is not the media type of an image or index"),
                ));
            }
        }
    }
    Ok(())
}

fn read_manifest(store: &dyn BlobStore, descriptor: &Descriptor) -> Result<Manifest, LayoutError> {
    let object = || format!("manifest {}", descriptor.digest);
    let bytes = read_json(store, "manifest", descriptor)?;
    let manifest: Manifest = serde_json::from_slice(&bytes).map_err(|error| malformed(store, object(), error))?;
    if manifest.schema_version != 2 {
        return Err(malformed(store, object(), "its schemaVersion is not 2"));
    }
    Ok(manifest)
}

fn read_config(store: &dyn BlobStore, manifest: &Manifest) -> Result<Value, LayoutError> {
    let bytes = read_json(store, "configuration", &manifest.config)?;
    let object = format!("configuration {}", manifest.config.digest);
    serde_json::from_slice(&bytes).map_err(|error| malformed(store, object, error))
}

/// Docker's reading: an arm without a variant is v7, arm64's v8 may be left out.
pub fn platform_of(value: &Value) -> Option<Platform> {
    let text = shown(value);
    match text.as_str() {
        "linux/arm" => Some(Platform::ArmV7),
        text => text.parse().ok(),
    }
}

/// `os/architecture/variant` as a document has it; what it leaves out is empty.
pub fn shown(value: &Value) -> String {
    let text = |key: &str| value.get(key).and_then(Value::as_str).unwrap_or_default();
    let mut out = format!("{}/{}", text("os"), text("architecture"));
    if !text("variant").is_empty() {
        out = format!("{out}/{}", text("variant"));
    }
    out
}

/// Loads and checks the image for a platform; `name` (a tag or a whole name) decides between several.
pub fn load_image(
    store: &dyn BlobStore,
    name: Option<&str>,
    platform: Platform,
    limits: &Limits,
) -> Result<Image, LayoutError> {
    let images = list_images(store)?;
    let describe = |images: &[&Listed]| {
        let line = |image: &&Listed| {
            let name = image.name.as_deref().unwrap_or("(unnamed)");
            let platform = image.platform.map(|platform| platform.to_string());
            format!("{name} ({})", platform.as_deref().unwrap_or("another platform"))
        };
        match images {
            [] => "none".to_owned(),
            images => images.iter().map(line).collect::<Vec<_>>().join(", "),
        }
    };
    let wanted = match name {
        Some(name) => format!("{platform} named {name}"),
        None => platform.to_string(),
    };
    let mut fits: Vec<&Listed> = images
        .iter()
        .filter(|image| image.platform == Some(platform))
        .filter(|image| name.is_none() || image.name.as_deref() == name || image.full_name.as_deref() == name)
        .collect();
    fits.dedup_by_key(|image| image.manifest.digest);
    match fits[..] {
        [image] => load(store, &image.manifest, platform, limits),
        [] => Err(LayoutError::Missing {
            origin: store.origin(),
            wanted,
            found: describe(&images.iter().collect::<Vec<_>>()),
        }),
        _ => Err(LayoutError::Ambiguous {
            origin: store.origin(),
            wanted,
            found: describe(&fits),
        }),
    }
}

/// Loads and checks the image of one manifest that [`list_images`] found, whatever else the layout lists.
pub fn load(
    store: &dyn BlobStore,
    descriptor: &Descriptor,
    platform: Platform,
    limits: &Limits,
) -> Result<Image, LayoutError> {
    let manifest = read_manifest(store, descriptor)?;
    let config = read_config(store, &manifest)?;
    let object = || format!("configuration {}", manifest.config.digest);
    let diff_ids: Vec<Digest> = config
        .pointer("/rootfs/diff_ids")
        .cloned()
        .and_then(|ids| serde_json::from_value(ids).ok())
        .ok_or_else(|| malformed(store, object(), "it has no list of digests at rootfs.diff_ids"))?;
    if diff_ids.len() != manifest.layers.len() {
        let counts = format!("{} diff_ids for {} layers", diff_ids.len(), manifest.layers.len());
        return Err(malformed(store, object(), counts));
    }
    let nothing = Vec::new();
    let history = config.get("history").and_then(Value::as_array).unwrap_or(&nothing);
    let steps: Vec<&Value> = history
        .iter()
        .filter(|step| step.get("empty_layer").and_then(Value::as_bool) != Some(true))
        .collect();
    let text = |index: usize, key: &str| -> &str {
        let step = steps.get(index).filter(|_| steps.len() == diff_ids.len());
        step.and_then(|step| step.get(key)?.as_str()).unwrap_or_default()
    };
    let mut layers = Vec::new();
    for (index, (layer, diff_id)) in manifest.layers.iter().zip(&diff_ids).enumerate() {
        let failed = |error| LayoutError::Layer {
            origin: store.origin(),
            digest: layer.digest,
            error: Box::new(error),
        };
        if layer.size > limits.bytes {
            return Err(failed(LayerError::Limit {
                place: "layer".to_owned(),
                what: "the size of the blob",
                limit: limits.bytes,
            }));
        }
        let bytes = read_blob(store, &layer.digest, layer.size)?;
        let read = Layer::from_blob(bytes, &layer.media_type, text(index, "created_by"), limits).map_err(failed)?;
        if read.diff_id() != *diff_id {
            return Err(malformed(
                store,
                object(),
                format!(
                    "layer {} unpacks to {}, it says {diff_id}",
                    layer.digest,
                    read.diff_id()
                ),
            ));
        }
        layers.push(read);
    }
    let base_layers = (0..layers.len())
        .find(|index| text(*index, "comment") == APP_LAYER)
        .unwrap_or(layers.len());
    let config = Blob::new(
        read_json(store, "configuration", &manifest.config)?,
        &manifest.config.media_type,
    );
    let bytes = read_json(store, "manifest", descriptor)?;
    let manifest = Blob::new(bytes, &descriptor.media_type);
    Ok(Image::from_parts(platform, config, manifest, layers, base_layers))
}
