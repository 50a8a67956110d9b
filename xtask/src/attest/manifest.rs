//! Where attestations lie so that tools find them.
//!
//! BuildKit's way (docs/attestations/attestation-storage.md there): a manifest for the platform `unknown/unknown` in the same
//! index, which names the image's manifest in an annotation. OCI's way (image-spec 1.1, `subject`): a manifest of its own for
//! each document, which a registry lists as a referrer of the image's manifest, or that a tag lists where the registry does not.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{Attestation, PROVENANCE, SPDX};
use crate::oci::image::{Attached, Blob, Form};
use crate::oci::{Digest, canonical_json, media};

/// Media type of an in-toto statement.
pub const IN_TOTO: &str = "application/vnd.in-toto+json";
/// Artifact type of an SPDX document on its own.
pub const SPDX_JSON: &str = "application/spdx+json";
/// Configuration of what needs none (image-spec, "Guidance for an Empty Descriptor").
pub const EMPTY: &str = "application/vnd.oci.empty.v1+json";
/// Annotation of a layer that is a statement.
pub const PREDICATE: &str = "in-toto.io/predicate-type";
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
    let mut blobs = vec![config];
    blobs.extend(layers.into_iter().map(|(_, blob)| blob));
    Attached::new(Form::Attestation, image, manifest, blobs).map_err(|error| error.to_string())
}

/// One referrer for each document: the SBOM as it is, and the provenance as a statement. `image` is the image's manifest.
///
/// # Errors
///
/// None that can occur: what is made here is whole.
pub fn referrers(attestation: &Attestation, image: &Blob) -> Result<Vec<Attached>, String> {
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
                "subject": image.descriptor(),
                "annotations": annotations,
            });
            let manifest = Blob::new(canonical_json(&manifest), media::MANIFEST);
            Attached::new(Form::Referrer, image.digest(), manifest, vec![empty, document])
                .map_err(|error| error.to_string())
        })
        .collect()
}

/// The tag under which a registry without the referrers API keeps the list (distribution-spec, "Referrers Tag Schema").
pub fn referrers_tag(subject: Digest) -> String {
    format!("sha256-{}", subject.hex())
}

/// The list of referrers with these added. What others put there stays; one of the same digest is there once. A list that has
/// them all stays as it is, byte for byte.
///
/// # Errors
///
/// When what is there is no index: then it is somebody else's, and is not replaced.
pub fn with_referrers(existing: Option<&[u8]>, added: &[Attached]) -> Result<Blob, String> {
    let mut index: Value = match existing {
        None => json!({"schemaVersion": 2, "mediaType": media::INDEX, "manifests": []}),
        Some(bytes) => serde_json::from_slice(bytes).map_err(|error| error.to_string())?,
    };
    let Some(Value::Array(manifests)) = index.get_mut("manifests") else {
        return Err("it has no list of manifests".to_owned());
    };
    let known: BTreeSet<String> = manifests.iter().map(|entry| entry["digest"].to_string()).collect();
    let before = manifests.len();
    let new = added.iter().map(|attached| listed(attached.manifest()));
    manifests.extend(new.filter(|entry| !known.contains(&entry["digest"].to_string())));
    let bytes = match existing {
        // Not even its spaces change.
        Some(bytes) if manifests.len() == before => bytes.to_vec(),
        _ => canonical_json(&index),
    };
    Ok(Blob::new(bytes, media::INDEX))
}

/// The entry of a referrer in such a list: with its artifact type and annotations, as the registry's API would have it.
fn listed(manifest: &Blob) -> Value {
    let mut entry = manifest.descriptor();
    let document: Value = serde_json::from_slice(manifest.bytes()).unwrap_or_default();
    for key in ["artifactType", "annotations"] {
        if !document[key].is_null() {
            entry[key] = document[key].clone();
        }
    }
    entry
}
