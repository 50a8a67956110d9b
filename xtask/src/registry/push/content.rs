//! Blobs that a repository shall have, and where their bytes are.

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use super::super::{Access, Registry, refusal};
use crate::cx::Cx;
use crate::error::{Error, Result};
use crate::http::{HeaderValue, Request, StatusCode, header};
use crate::oci::image::{Blob, Image, ImageIndex};
use crate::oci::{Digest, Reference};

/// A blob that a repository shall have.
#[derive(Clone, Debug)]
pub struct Content {
    digest: Digest,
    size: u64,
    label: String,
    place: Place,
}

#[derive(Clone, Debug)]
enum Place {
    Here(Arc<[u8]>),
    /// In another repository: read piece by piece while it is sent on, and never stored.
    There {
        repository: Box<Reference>,
        /// All of it, if that registry gives no parts.
        whole: Arc<Mutex<Option<Arc<[u8]>>>>,
    },
}

impl Content {
    /// Bytes in memory. `label` is for people: `layer of linux/arm/v6`.
    pub fn new(bytes: Arc<[u8]>, digest: Digest, label: impl Into<String>) -> Self {
        Content {
            digest,
            size: bytes.len() as u64,
            label: label.into(),
            place: Place::Here(bytes),
        }
    }

    /// A blob of another repository, of any registry.
    pub fn of_repository(repository: &Reference, digest: Digest, size: u64, label: impl Into<String>) -> Self {
        Content {
            digest,
            size,
            label: label.into(),
            place: Place::There {
                repository: Box::new(repository.clone()),
                whole: Arc::default(),
            },
        }
    }

    /// A document, a configuration.
    pub fn of_blob(blob: &Blob, label: impl Into<String>) -> Self {
        Content::new(Arc::from(blob.bytes()), blob.digest(), label)
    }

    /// Layers and configuration of an image.
    pub fn of_image(image: &Image) -> Vec<Content> {
        let platform = image.platform();
        let layer = |what: &str, layer: &crate::oci::Layer| {
            Content::new(
                Arc::clone(layer.blob()),
                layer.digest(),
                format!("{what} layer of {platform}"),
            )
        };
        let base = image.base_layers().iter().map(|one| layer("base", one));
        let app = image.app_layers().iter().map(|one| layer("app", one));
        let config = Content::of_blob(image.config(), format!("configuration of {platform}"));
        base.chain(app).chain([config]).collect()
    }

    /// All that the documents of indexes name, each blob once. Referrers are left out: not every registry wants them.
    pub fn of_indexes<'a>(indexes: impl IntoIterator<Item = &'a ImageIndex>) -> Vec<Content> {
        let mut contents = Vec::new();
        for index in indexes {
            contents.extend(index.images().iter().flat_map(Content::of_image));
            for attached in index.attached() {
                if attached.form() == crate::oci::image::Form::Attestation {
                    contents.extend(
                        attached
                            .blobs()
                            .iter()
                            .map(|blob| Content::of_blob(blob, "attestation")),
                    );
                }
            }
        }
        let mut seen = BTreeSet::new();
        contents.retain(|content: &Content| seen.insert(content.digest));
        contents
    }

    /// SHA-256.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// Bytes.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// What it is, for people.
    pub fn label(&self) -> &str {
        &self.label
    }

    /// The repository that has it, if it is not here.
    pub(super) fn repository(&self) -> Option<&Reference> {
        match &self.place {
            Place::Here(_) => None,
            Place::There { repository, .. } => Some(repository),
        }
    }

    /// Some of its bytes: those that hold them, and where they are in there.
    pub(super) fn part(&self, registry: &Registry, cx: &Cx, range: Range<usize>) -> Result<(Arc<[u8]>, Range<usize>)> {
        let (repository, whole) = match &self.place {
            Place::Here(bytes) => return Ok((Arc::clone(bytes), range)),
            Place::There { repository, whole } => (repository, whole),
        };
        let mut whole = whole.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(bytes) = &*whole {
            return Ok((Arc::clone(bytes), range));
        }
        if range.is_empty() {
            return Ok((Arc::from([]), 0..0));
        }
        let short = |got: usize| {
            Error::new(format!(
                "{}: bytes {range:?} of blob {} are {got} bytes long",
                repository.name(),
                self.digest
            ))
        };
        let mut tries = registry.client.tries();
        loop {
            let url = registry.url(cx, repository, &format!("blobs/{}", self.digest))?;
            let wanted = format!("bytes={}-{}", range.start, range.end - 1);
            let request = Request::get(url).header(header::RANGE, HeaderValue::from_str(&wanted)?);
            let response = registry.call(cx, repository, &[(repository, Access::Pull)], &request)?;
            let (partial, limit) = match response.status() {
                StatusCode::PARTIAL_CONTENT => (true, range.len() as u64),
                StatusCode::OK => (false, self.size),
                _ => return Err(refusal(response, repository)),
            };
            let bytes: Arc<[u8]> = match response.into_bytes(limit) {
                Ok(bytes) => bytes.into(),
                // The head came, the body broke off.
                Err(error) => {
                    tries.pause(&registry.client, cx, error, None)?;
                    continue;
                }
            };
            if bytes.len() as u64 != limit {
                return Err(short(bytes.len()));
            }
            if partial {
                let length = bytes.len();
                return Ok((bytes, 0..length));
            }
            *whole = Some(Arc::clone(&bytes));
            return Ok((bytes, range));
        }
    }
}
