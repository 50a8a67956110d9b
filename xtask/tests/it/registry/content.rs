//! What a registry of a test holds: small images of every kind.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Value, json};
use xtask::oci::layer::write_tar;
use xtask::oci::{Digest, Entry, canonical_json, layout, media};

/// Blobs and manifests by digest, and tags.
#[derive(Clone, Default)]
pub struct Content {
    pub blobs: BTreeMap<Digest, Vec<u8>>,
    /// With their media types.
    pub manifests: BTreeMap<Digest, (String, Vec<u8>)>,
    pub tags: BTreeMap<String, Digest>,
}

/// A tar with one file.
pub fn tar(name: &str, bytes: &[u8]) -> Vec<u8> {
    write_tar(&[Entry::file(name, bytes, 0o644)], Vec::new()).unwrap()
}

fn compress(tar: &[u8], media_type: &str) -> Vec<u8> {
    match media_type {
        media::LAYER_TAR | media::DOCKER_LAYER_TAR => tar.to_vec(),
        media::LAYER_ZSTD | media::DOCKER_LAYER_ZSTD => {
            ruzstd::encoding::compress_to_vec(tar, ruzstd::encoding::CompressionLevel::Fastest)
        }
        _ => {
            let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            std::io::Write::write_all(&mut gzip, tar).unwrap();
            gzip.finish().unwrap()
        }
    }
}

impl Content {
    fn blob(&mut self, bytes: Vec<u8>, media_type: &str) -> Value {
        let digest = Digest::of(&bytes);
        let descriptor = json!({"mediaType": media_type, "digest": digest.to_string(), "size": bytes.len()});
        self.blobs.insert(digest, bytes);
        descriptor
    }

    pub fn manifest(&mut self, value: &Value, media_type: &str) -> Digest {
        let bytes = canonical_json(value);
        let digest = Digest::of(&bytes);
        self.manifests.insert(digest, (media_type.to_owned(), bytes));
        digest
    }

    /// An image for `os/architecture[/variant]`; each layer is a tar and a media type.
    pub fn image(&mut self, platform: &str, layers: &[(Vec<u8>, &str)]) -> Digest {
        let docker = layers
            .iter()
            .any(|(_, kind)| kind.starts_with("application/vnd.docker"));
        let (manifest_type, config_type) = match docker {
            true => (media::DOCKER_MANIFEST, media::DOCKER_CONFIG),
            false => (media::MANIFEST, media::CONFIG),
        };
        let diff_ids: Vec<String> = layers.iter().map(|(tar, _)| Digest::of(tar).to_string()).collect();
        let history: Vec<Value> = (0..layers.len())
            .map(|n| json!({"created_by": format!("step {n}")}))
            .collect();
        let mut config = platform_json(platform);
        config["rootfs"] = json!({"type": "layers", "diff_ids": diff_ids});
        config["history"] = history.into();
        config["config"] = json!({"Env": ["A=b"]});
        let config = self.blob(canonical_json(&config), config_type);
        let layers: Vec<Value> = layers
            .iter()
            .map(|(tar, kind)| self.blob(compress(tar, kind), kind))
            .collect();
        let manifest = json!({"schemaVersion": 2, "mediaType": manifest_type, "config": config, "layers": layers});
        self.manifest(&manifest, manifest_type)
    }

    /// An index of manifests with their platforms.
    pub fn index(&mut self, images: &[(Digest, &str)]) -> Digest {
        let docker = images
            .iter()
            .any(|(digest, _)| self.manifests[digest].0 == media::DOCKER_MANIFEST);
        let kind = if docker { media::DOCKER_INDEX } else { media::INDEX };
        let entry = |(digest, platform): &(Digest, &str)| {
            let (media_type, bytes) = &self.manifests[digest];
            let digest = digest.to_string();
            json!({"mediaType": media_type, "digest": digest, "size": bytes.len(), "platform": platform_json(platform)})
        };
        let manifests: Vec<Value> = images.iter().map(entry).collect();
        self.manifest(
            &json!({"schemaVersion": 2, "mediaType": kind, "manifests": manifests}),
            kind,
        )
    }

    pub fn tag(&mut self, tag: &str, digest: Digest) {
        self.tags.insert(tag.to_owned(), digest);
    }

    /// Small images for v6, v7 and arm64 under `latest`, with a big layer under the small one. Returns the index.
    pub fn usual(&mut self) -> Digest {
        let big = tar("big", &crate::http::noise(300_000));
        let mut images = Vec::new();
        for platform in ["linux/amd64", "linux/arm/v7", "linux/arm/v6", "linux/arm64/v8"] {
            let small = tar("etc/platform", platform.as_bytes());
            let layers = [(big.clone(), media::LAYER_GZIP), (small, media::LAYER_GZIP)];
            images.push((self.image(platform, &layers), platform));
        }
        let index = self.index(&images);
        self.tag("latest", index);
        index
    }

    /// Writes it as an image layout with this one name in it, for other tools to read.
    pub fn write_layout(&self, dir: &Path, root: Digest) {
        let blobs = dir.join("blobs/sha256");
        std::fs::create_dir_all(&blobs).unwrap();
        for (digest, bytes) in &self.blobs {
            std::fs::write(blobs.join(digest.hex()), bytes).unwrap();
        }
        for (digest, (_, bytes)) in &self.manifests {
            std::fs::write(blobs.join(digest.hex()), bytes).unwrap();
        }
        let (media_type, bytes) = &self.manifests[&root];
        let descriptor = json!({"mediaType": media_type, "digest": root.to_string(), "size": bytes.len()});
        std::fs::write(dir.join("index.json"), layout::index_json(vec![descriptor])).unwrap();
        std::fs::write(dir.join("oci-layout"), layout::marker()).unwrap();
    }
}

fn platform_json(platform: &str) -> Value {
    let parts: Vec<&str> = platform.split('/').collect();
    let mut value = json!({"os": parts[0], "architecture": parts[1]});
    if let Some(variant) = parts.get(2) {
        value["variant"] = (*variant).into();
    }
    value
}
