//! OCI image-spec: digests, layers, images, layouts, references, and the final stage of a Dockerfile. Pure: bytes in, bytes out.

pub mod archive;
pub mod claims;
pub mod digest;
pub mod dockerfile;
pub mod image;
pub mod layer;
pub mod layout;
pub mod location;
pub mod overlay;
pub mod pick;
pub mod reference;
pub mod time;
pub mod tree;

pub use digest::Digest;
pub use image::{BaseImage, Image, ImageIndex, Package, assemble};
pub use layer::{Entry, EntryKind, Layer, LayerBuilder};
pub use location::Location;
pub use reference::{Destination, DigestReference, ImageName, Reference};
pub use tree::Tree;

/// Media types of the OCI image specification, and Docker's equal ones where they are read.
pub mod media {
    /// Image index.
    pub const INDEX: &str = "application/vnd.oci.image.index.v1+json";
    /// Image manifest.
    pub const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
    /// Image configuration.
    pub const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
    /// Layer, tar.
    pub const LAYER_TAR: &str = "application/vnd.oci.image.layer.v1.tar";
    /// Layer, tar in gzip: what is written, because engines before 23.0 read nothing newer.
    pub const LAYER_GZIP: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
    /// Layer, tar in zstd: read only.
    pub const LAYER_ZSTD: &str = "application/vnd.oci.image.layer.v1.tar+zstd";
    /// Docker's manifest list.
    pub const DOCKER_INDEX: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
    /// Docker's manifest.
    pub const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
    /// Docker's configuration.
    pub const DOCKER_CONFIG: &str = "application/vnd.docker.container.image.v1+json";
    /// Docker's layer, tar in gzip.
    pub const DOCKER_LAYER_GZIP: &str = "application/vnd.docker.image.rootfs.diff.tar.gzip";
    /// Docker's layer, tar in zstd: read only.
    pub const DOCKER_LAYER_ZSTD: &str = "application/vnd.docker.image.rootfs.diff.tar.zstd";
    /// Docker's layer, tar.
    pub const DOCKER_LAYER_TAR: &str = "application/vnd.docker.image.rootfs.diff.tar";
}

/// JSON with sorted keys and no spaces, whatever features `serde_json` was built with: the bytes decide a digest.
pub fn canonical_json(value: &serde_json::Value) -> Vec<u8> {
    fn write(value: &serde_json::Value, out: &mut String) {
        match value {
            serde_json::Value::Object(map) => {
                let mut keys: Vec<&String> = map.keys().collect();
                keys.sort();
                out.push('{');
                for (index, key) in keys.into_iter().enumerate() {
                    if index > 0 {
                        out.push(',');
                    }
                    out.push_str(&serde_json::Value::from(key.as_str()).to_string());
                    out.push(':');
                    write(&map[key], out);
                }
                out.push('}');
            }
            serde_json::Value::Array(items) => {
                out.push('[');
                for (index, item) in items.iter().enumerate() {
                    if index > 0 {
                        out.push(',');
                    }
                    write(item, out);
                }
                out.push(']');
            }
            simple => out.push_str(&simple.to_string()),
        }
    }
    let mut out = String::new();
    write(value, &mut out);
    out.into_bytes()
}
