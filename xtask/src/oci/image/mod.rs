//! Images: base layers untouched, one layer on top, and a configuration and manifest that agree with them.

mod assemble;
mod config;
mod copy;
mod index;

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

pub use assemble::{AssembleError, assemble, assemble_with};
pub use copy::{CopySource, MemoryFiles, SourceFile};
pub use index::{Attached, Form, ImageIndex, IndexError, REFERENCE_DIGEST, REFERENCE_TYPE};

use super::Digest;
use super::layer::Layer;
use crate::target::Platform;

/// The comment that marks the history entry of the app layer: everything below it is base.
pub(super) const APP_LAYER: &str = "app layer";

/// Bytes with their digest and media type.
#[derive(Clone, PartialEq, Eq)]
pub struct Blob {
    bytes: Vec<u8>,
    digest: Digest,
    media_type: String,
}

impl Blob {
    /// Digests the bytes.
    pub fn new(bytes: Vec<u8>, media_type: impl Into<String>) -> Self {
        Blob {
            digest: Digest::of(&bytes),
            bytes,
            media_type: media_type.into(),
        }
    }

    /// The bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// SHA-256 of the bytes.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// Media type.
    pub fn media_type(&self) -> &str {
        &self.media_type
    }

    /// The OCI descriptor: `{mediaType, digest, size}`.
    pub fn descriptor(&self) -> Value {
        json!({"mediaType": self.media_type, "digest": self.digest.to_string(), "size": self.bytes.len()})
    }
}

impl fmt::Debug for Blob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Blob({}, {} bytes, {})",
            self.media_type,
            self.bytes.len(),
            self.digest
        )
    }
}

/// A package that a base image has, as its package manager names it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Package {
    /// Name: `libc6`.
    pub name: String,
    /// Version: `2.41-12`.
    pub version: String,
    /// The distribution's architecture: `armel`.
    pub architecture: String,
}

/// What an image is built on.
#[derive(Clone, Debug)]
pub struct BaseImage {
    /// Layers, lowest first.
    pub layers: Vec<Layer>,
    /// The whole configuration JSON of the base, or `{}`.
    pub config: Value,
    /// Where it came from, for people: `scratch`, an archive, a path.
    pub origin: String,
    /// The packages in it, if known.
    pub packages: Vec<Package>,
    /// The version of its glibc (`2.41`), if it has one.
    pub glibc: Option<String>,
}

impl BaseImage {
    /// Nothing at all. Like Docker's, it sets PATH and the working directory.
    pub fn scratch() -> Self {
        let path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
        BaseImage {
            layers: Vec::new(),
            config: json!({"config": {"Env": [path], "WorkingDir": "/"}}),
            origin: "scratch".to_owned(),
            packages: Vec::new(),
            glibc: None,
        }
    }
}

/// A finished image of one platform. [`assemble()`] makes one, and [`super::layout`] reads one; either way manifest, configuration
/// and layers agree.
#[derive(Clone, Debug)]
pub struct Image {
    platform: Platform,
    config: Blob,
    manifest: Blob,
    layers: Vec<Layer>,
    base_layers: usize,
}

impl Image {
    /// Puts checked parts together.
    pub(super) fn from_parts(
        platform: Platform,
        config: Blob,
        manifest: Blob,
        layers: Vec<Layer>,
        base_layers: usize,
    ) -> Self {
        Image {
            platform,
            config,
            manifest,
            layers,
            base_layers,
        }
    }

    /// The platform, as in the configuration.
    pub fn platform(&self) -> Platform {
        self.platform
    }

    /// The configuration; its digest is the image ID of graph-driver stores.
    pub fn config(&self) -> &Blob {
        &self.config
    }

    /// The configuration, parsed.
    pub fn config_json(&self) -> Value {
        serde_json::from_slice(self.config.bytes()).unwrap_or_default()
    }

    /// The manifest; its digest is what a reference by digest names.
    pub fn manifest(&self) -> &Blob {
        &self.manifest
    }

    /// All layers, lowest first.
    pub fn layers(&self) -> &[Layer] {
        &self.layers
    }

    /// The layers of the base.
    pub fn base_layers(&self) -> &[Layer] {
        &self.layers[..self.base_layers]
    }

    /// The layers on top of the base: one, in an image of ours.
    pub fn app_layers(&self) -> &[Layer] {
        &self.layers[self.base_layers..]
    }

    /// Bytes that an engine without any of it pulls: manifest, configuration and layers.
    pub fn pull_size(&self) -> u64 {
        let json = self.manifest.bytes().len() + self.config.bytes().len();
        json as u64 + self.layers.iter().map(Layer::size).sum::<u64>()
    }

    /// All blobs, the manifest last, so that what is named is there before what names it.
    pub fn blobs(&self) -> impl Iterator<Item = (Digest, &[u8])> {
        let layers = self.layers.iter().map(|layer| (layer.digest(), &layer.blob()[..]));
        let json = [&self.config, &self.manifest];
        layers.chain(json.into_iter().map(|blob| (blob.digest(), blob.bytes())))
    }

    /// The descriptor of the manifest with its platform.
    pub fn descriptor(&self) -> Value {
        let mut descriptor = self.manifest.descriptor();
        descriptor["platform"] = platform_json(self.platform);
        descriptor
    }
}

/// `{architecture, os, variant?}` as in descriptors and configurations.
pub(super) fn platform_json(platform: Platform) -> Value {
    let mut value = json!({"architecture": platform.architecture(), "os": platform.os()});
    if let Some(variant) = platform.variant() {
        value["variant"] = variant.into();
    }
    value
}
