//! Where attestations lie so that tools find them.
//!
//! BuildKit's way (docs/attestations/attestation-storage.md there): a manifest for the platform `unknown/unknown` in the same
//! index, which names the image's manifest in an annotation. OCI's way (image-spec 1.1, `subject`): a manifest of its own for
//! each document, which a registry lists as a referrer of the image's manifest, or that a tag lists where the registry does not.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{Attestation, PROVENANCE, SPDX};
use crate::oci::image::Blob;
use crate::oci::{Digest, canonical_json, media};

/// Media type of an in-toto statement.
pub const IN_TOTO: &str = "application/vnd.in-toto+json";
/// Artifact type of an SPDX document on its own.
pub const SPDX_JSON: &str = "application/spdx+json";
/// Configuration of what needs none (image-spec, "Guidance for an Empty Descriptor").
pub const EMPTY: &str = "application/vnd.oci.empty.v1+json";
/// Annotation of a layer that is a statement.
pub const PREDICATE: &str = "in-toto.io/predicate-type";
/// Annotation of an index entry: what it is instead of an image.
pub const TYPE: &str = "vnd.docker.reference.type";
/// Its one value that has a meaning.
pub const ATTESTATION: &str = "attestation-manifest";
/// Annotation of an index entry: the manifest that it is about.
pub const REFERENCE: &str = "vnd.docker.reference.digest";

/// A manifest and what it names.
#[derive(Clone, Debug)]
pub struct Attached {
    /// The manifest.
    pub manifest: Blob,
    /// Configuration and layers.
    pub blobs: Vec<Blob>,
    /// Its entry in an index.
    pub descriptor: Value,
}

/// The attestation manifest of BuildKit for the image with this manifest.
///
/// # Errors
///
/// When the attestation is not one of [`super::attest()`].
pub fn attached(attestation: &Attestation, image: Digest) -> Result<Attached, String> {
    let layers: Vec<(&str, Blob)> = attestation
        .statements()?
        .into_iter()
        .map(|(kind, bytes)| (kind, Blob::new(bytes, IN_TOTO)))
        .collect();
    let diff_ids: Vec<String> = layers.iter().map(|(_, blob)| blob.digest().to_string()).collect();
    let config = json!({
        "architecture": "unknown",
        "os": "unknown",
        "config": {},
        "rootfs": {"type": "layers", "diff_ids": diff_ids},
    });
    let config = Blob::new(canonical_json(&config), media::CONFIG);
    let descriptors: Vec<Value> = layers
        .iter()
        .map(|(kind, blob)| {
            let mut descriptor = blob.descriptor();
            descriptor["annotations"] = json!({PREDICATE: kind});
            descriptor
        })
        .collect();
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": media::MANIFEST,
        "config": config.descriptor(),
        "layers": descriptors,
    });
    let manifest = Blob::new(canonical_json(&manifest), media::MANIFEST);
    let mut descriptor = manifest.descriptor();
    descriptor["platform"] = json!({"architecture": "unknown", "os": "unknown"});
    descriptor["annotations"] = json!({TYPE: ATTESTATION, REFERENCE: image.to_string()});
    let mut blobs = vec![config];
    blobs.extend(layers.into_iter().map(|(_, blob)| blob));
    Ok(Attached {
        manifest,
        blobs,
        descriptor,
    })
}

/// One referrer for each document: the SBOM as it is, and the provenance as a statement. `subject` is the descriptor of the
/// image's manifest.
pub fn referrers(attestation: &Attestation, subject: &Value) -> Vec<Attached> {
    let documents = [
        (SPDX_JSON, SPDX, &attestation.spdx),
        (IN_TOTO, PROVENANCE, &attestation.provenance),
    ];
    documents
        .into_iter()
        .map(|(kind, predicate, bytes)| {
            let empty = Blob::new(b"{}".to_vec(), EMPTY);
            let document = Blob::new(bytes.clone(), kind);
            let annotations = json!({PREDICATE: predicate});
            let mut layer = document.descriptor();
            layer["annotations"] = annotations.clone();
            let manifest = json!({
                "schemaVersion": 2,
                "mediaType": media::MANIFEST,
                "artifactType": kind,
                "config": empty.descriptor(),
                "layers": [layer],
                "subject": {
                    "mediaType": subject["mediaType"], "digest": subject["digest"], "size": subject["size"],
                },
                "annotations": annotations,
            });
            let manifest = Blob::new(canonical_json(&manifest), media::MANIFEST);
            let mut descriptor = manifest.descriptor();
            descriptor["artifactType"] = kind.into();
            descriptor["annotations"] = annotations;
            Attached {
                manifest,
                blobs: vec![empty, document],
                descriptor,
            }
        })
        .collect()
}

/// The tag under which a registry without the referrers API keeps the list (distribution-spec, "Referrers Tag Schema").
pub fn referrers_tag(subject: Digest) -> String {
    format!("sha256-{}", subject.hex())
}

/// The list of referrers with these added. What others put there stays; one of the same digest is there once.
///
/// # Errors
///
/// When what is there is no index: then it is somebody else's, and is not replaced.
pub fn with_referrers(existing: Option<&[u8]>, added: &[Attached]) -> Result<Blob, String> {
    let mut manifests: Vec<Value> = match existing {
        None => Vec::new(),
        Some(bytes) => {
            let mut index: Value = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
            match index["manifests"].take() {
                Value::Array(manifests) => manifests,
                _ => return Err("it has no list of manifests".to_owned()),
            }
        }
    };
    let known: BTreeSet<String> = manifests.iter().map(|entry| entry["digest"].to_string()).collect();
    let new = added.iter().map(|attached| &attached.descriptor);
    manifests.extend(
        new.filter(|entry| !known.contains(&entry["digest"].to_string()))
            .cloned(),
    );
    let index = json!({"schemaVersion": 2, "mediaType": media::INDEX, "manifests": manifests});
    Ok(Blob::new(canonical_json(&index), media::INDEX))
}
