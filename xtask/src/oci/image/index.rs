//! Images of several platforms under one name, and what is attached to them.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::{Blob, Image};
use crate::oci::{Digest, canonical_json, media};
use crate::target::Platform;

/// Annotation of an entry that is no image: what it is instead (BuildKit, attestation-storage.md).
pub const REFERENCE_TYPE: &str = "vnd.docker.reference.type";
/// Annotation of such an entry: the manifest that it is about.
pub const REFERENCE_DIGEST: &str = "vnd.docker.reference.digest";
/// The value of [`REFERENCE_TYPE`] for SBOM and provenance.
const ATTESTATION: &str = "attestation-manifest";

/// Why images, and what is attached to them, do not make an index.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IndexError {
    /// No image at all.
    #[error("an image index needs at least one image")]
    Empty,
    /// Two images for one platform.
    #[error("two images for {0} in one index: an engine would take either")]
    Twice(Platform),
    /// Something attached to what is not there.
    #[error("{manifest} is attached to {subject}, which is no image of this index")]
    Subject {
        /// The attached manifest.
        manifest: Digest,
        /// What it is about.
        subject: Digest,
    },
    /// An attached manifest that is not whole.
    #[error("the attached manifest {manifest} {reason}")]
    Attached {
        /// The attached manifest.
        manifest: Digest,
        /// What is wrong with it.
        reason: String,
    },
}

/// How an attached manifest is found from its image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Form {
    /// An entry of the same index, behind all images, with the platform unknown/unknown and two annotations, as BuildKit does it.
    Attestation,
    /// A manifest whose `subject` is the image's (image-spec 1.1, manifest.md); a registry with the referrers API lists it. It
    /// is in no index.
    Referrer,
}

/// A manifest that is about one image and is none itself: SBOM, provenance. [`Attached::new`] makes one, so that its blobs are
/// those that it names.
#[derive(Clone, Debug)]
pub struct Attached {
    form: Form,
    subject: Digest,
    manifest: Blob,
    blobs: Vec<Blob>,
}

impl Attached {
    /// `subject` is the digest of the image's manifest ([`Image::manifest`]); `blobs` are what `manifest` names as its
    /// configuration and layers, all of them and nothing else, in any order.
    ///
    /// # Errors
    /// When the manifest names other blobs, or a [`Form::Referrer`] another `subject`.
    pub fn new(form: Form, subject: Digest, manifest: Blob, blobs: Vec<Blob>) -> Result<Self, IndexError> {
        let wrong = |reason: String| IndexError::Attached {
            manifest: manifest.digest(),
            reason,
        };
        let document: Value =
            serde_json::from_slice(manifest.bytes()).map_err(|error| wrong(format!("is no JSON: {error}")))?;
        let layers = document["layers"].as_array().map_or(&[][..], Vec::as_slice);
        let mut named: Vec<&Value> = layers.iter().chain([&document["config"]]).collect();
        for blob in &blobs {
            let ours = blob.descriptor();
            let same = |theirs: &Value| {
                ["mediaType", "digest", "size"]
                    .iter()
                    .all(|key| theirs[key] == ours[key])
            };
            let before = named.len();
            named.retain(|theirs| !same(theirs));
            if named.len() == before {
                return Err(wrong(format!("does not name the blob {}", blob.digest())));
            }
        }
        if let Some(missing) = named.first() {
            return Err(wrong(format!(
                "names {}, which is not given with it",
                missing["digest"]
            )));
        }
        let about = document["subject"]["digest"].as_str();
        if form == Form::Referrer && about != Some(subject.to_string().as_str()) {
            return Err(wrong(format!("has another subject than {subject}")));
        }
        Ok(Attached {
            form,
            subject,
            manifest,
            blobs,
        })
    }

    /// How it is found.
    pub fn form(&self) -> Form {
        self.form
    }

    /// The manifest of the image that it is about.
    pub fn subject(&self) -> Digest {
        self.subject
    }

    /// The manifest.
    pub fn manifest(&self) -> &Blob {
        &self.manifest
    }

    /// What the manifest names.
    pub fn blobs(&self) -> &[Blob] {
        &self.blobs
    }

    /// The entry of an index.
    fn descriptor(&self) -> Value {
        let mut descriptor = self.manifest.descriptor();
        descriptor["platform"] = json!({"architecture": "unknown", "os": "unknown"});
        descriptor["annotations"] = json!({REFERENCE_TYPE: ATTESTATION, REFERENCE_DIGEST: self.subject.to_string()});
        descriptor
    }
}

/// Images of several platforms under one name, in the order of [`Platform`]: `linux/arm/v6` comes first, because engines before
/// 18.06 take the first entry for `arm`. Attestations come behind all images.
#[derive(Clone, Debug)]
pub struct ImageIndex {
    images: Vec<Image>,
    attached: Vec<Attached>,
    blob: Blob,
}

impl ImageIndex {
    /// At least one image, and each platform once.
    pub fn new(images: Vec<Image>) -> Result<Self, IndexError> {
        ImageIndex::with_attached(images, Vec::new())
    }

    /// The same with what is attached to the images. Same images and same attachments, whatever their order, are the same bytes.
    pub fn with_attached(mut images: Vec<Image>, mut attached: Vec<Attached>) -> Result<Self, IndexError> {
        if images.is_empty() {
            return Err(IndexError::Empty);
        }
        images.sort_by_key(Image::platform);
        let mut seen = BTreeSet::new();
        if let Some(image) = images.iter().find(|image| !seen.insert(image.platform())) {
            return Err(IndexError::Twice(image.platform()));
        }
        let places = images
            .iter()
            .enumerate()
            .map(|(at, image)| (image.manifest().digest(), at));
        let places: BTreeMap<Digest, usize> = places.collect();
        if let Some(stray) = attached.iter().find(|attached| !places.contains_key(&attached.subject)) {
            return Err(IndexError::Subject {
                manifest: stray.manifest.digest(),
                subject: stray.subject,
            });
        }
        attached.sort_by_key(|attached| (attached.form, places[&attached.subject], attached.manifest.digest()));
        let listed = attached.iter().filter(|attached| attached.form == Form::Attestation);
        let entries = images
            .iter()
            .map(Image::descriptor)
            .chain(listed.map(Attached::descriptor));
        let index = json!({
            "schemaVersion": 2,
            "mediaType": media::INDEX,
            "manifests": entries.collect::<Vec<_>>(),
        });
        let blob = Blob::new(canonical_json(&index), media::INDEX);
        Ok(ImageIndex { images, attached, blob })
    }

    /// The images, in index order.
    pub fn images(&self) -> &[Image] {
        &self.images
    }

    /// What is attached to them, in the order of the images: entries of the index first, referrers after them.
    pub fn attached(&self) -> &[Attached] {
        &self.attached
    }

    /// The index document.
    pub fn blob(&self) -> &Blob {
        &self.blob
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_attached_is_whole() {
        let subject = Digest::of(b"image");
        let (config, layer) = (Blob::new(b"{}".to_vec(), "c"), Blob::new(b"sbom".to_vec(), "l"));
        let manifest = |about: &str| {
            let document = json!({
                "schemaVersion": 2,
                "config": config.descriptor(),
                "layers": [layer.descriptor()],
                "subject": {"digest": about},
            });
            Blob::new(canonical_json(&document), media::MANIFEST)
        };
        let right = manifest(&subject.to_string());
        let make = |form, manifest: &Blob, blobs: &[&Blob]| {
            let blobs = blobs.iter().map(|blob| (*blob).clone()).collect();
            Attached::new(form, subject, manifest.clone(), blobs).map_err(|error| error.to_string())
        };
        assert!(make(Form::Attestation, &right, &[&layer, &config]).is_ok());
        assert!(make(Form::Referrer, &right, &[&config, &layer]).is_ok());
        for (form, manifest, blobs, said) in [
            (Form::Attestation, &right, &[&config][..], "which is not given with it"),
            (
                Form::Attestation,
                &right,
                &[&config, &layer, &right],
                "does not name the blob",
            ),
            (
                Form::Referrer,
                &manifest("sha256:0"),
                &[&config, &layer],
                "another subject",
            ),
            (Form::Attestation, &Blob::new(b"x".to_vec(), "m"), &[], "is no JSON"),
        ] {
            let error = make(form, manifest, blobs).unwrap_err();
            assert!(error.contains(said), "{error}");
        }
    }
}
