//! Pushing: blobs first, then manifests by digest, then the index, the tag last of all (distribution-spec, "Pushing").
//!
//! A blob that is there is not sent. One that another repository of the registry has is mounted. Small ones go in one PUT, large
//! ones in PATCHes; after a failure the registry is asked how much it has, and that much is not sent again.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use url::Url;

use super::{Access, Registry, refusal};
use crate::cx::Cx;
use crate::error::{Context, Error, Result};
use crate::http::{Body, HeaderValue, Method, Request, Response, StatusCode, header, shown};
use crate::oci::image::{Blob, Image, ImageIndex};
use crate::oci::{Digest, DigestReference, Reference, media};

/// Bytes of one PATCH, and the most that goes in one PUT.
const CHUNK: usize = 8 << 20;
/// Largest chunk that is sent because a registry wants it (`OCI-Chunk-Min-Length`).
const LARGEST: usize = 256 << 20;
/// Blobs that are sent at the same time.
const PARALLEL: usize = 3;

/// What became of a blob.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent {
    /// The repository had it.
    Present,
    /// Another repository of the registry had it.
    Mounted,
    /// It was uploaded.
    Uploaded,
}

/// How an upload goes on.
enum Step {
    /// The registry has this much, and wants the rest here.
    At(Url, usize),
    /// It has all of it.
    Done,
    /// It knows nothing of this upload any more.
    Lost,
    /// It says no, and will say it again.
    Refused(Error),
}

impl Registry {
    /// Pushes an image: its layers, its configuration, its manifest, and the tag of `reference` if it has one.
    pub fn push_image(
        &self,
        cx: &Cx,
        reference: &Reference,
        image: &Image,
        from: Option<&Reference>,
    ) -> Result<DigestReference> {
        self.push_parts(cx, reference, image, from)?;
        self.finish(cx, reference, image.manifest())
    }

    /// Pushes all images of an index and what is attached to them, then the index, then the tag.
    pub fn push_index(
        &self,
        cx: &Cx,
        reference: &Reference,
        index: &ImageIndex,
        from: Option<&Reference>,
    ) -> Result<DigestReference> {
        for image in index.images() {
            self.push_parts(cx, reference, image, from)?;
        }
        for attached in index.attached() {
            for blob in attached.blobs() {
                self.push_blob(cx, reference, blob.digest(), &Arc::from(blob.bytes()), None)?;
            }
            let manifest = attached.manifest();
            self.push_manifest(cx, &reference.with_digest(manifest.digest()), manifest)?;
        }
        self.finish(cx, reference, index.blob())
    }

    /// The blobs of an image, some at a time, and its manifest by digest.
    fn push_parts(&self, cx: &Cx, reference: &Reference, image: &Image, from: Option<&Reference>) -> Result<()> {
        let config: Arc<[u8]> = Arc::from(image.config().bytes());
        let layers = image
            .layers()
            .iter()
            .map(|layer| (layer.digest(), Arc::clone(layer.blob())));
        let mut blobs: Vec<(Digest, Arc<[u8]>)> = layers.chain([(image.config().digest(), config)]).collect();
        blobs.sort_by_key(|(digest, _)| *digest);
        blobs.dedup_by_key(|(digest, _)| *digest);
        let (next, failed) = (AtomicUsize::new(0), Mutex::new(None));
        let lock = || failed.lock().unwrap_or_else(PoisonError::into_inner);
        let work = || {
            while let Some((digest, bytes)) = blobs.get(next.fetch_add(1, Ordering::SeqCst)) {
                if lock().is_some() {
                    return;
                }
                if let Err(error) = self.push_blob(cx, reference, *digest, bytes, from) {
                    lock().get_or_insert(error);
                }
            }
        };
        std::thread::scope(|scope| {
            for _ in 1..PARALLEL.min(blobs.len()) {
                scope.spawn(work);
            }
            work();
        });
        if let Some(error) = lock().take() {
            return Err(error);
        }
        self.push_manifest(cx, &reference.with_digest(image.manifest().digest()), image.manifest())
    }

    /// The last document: by digest, and once it is there, under the tag.
    fn finish(&self, cx: &Cx, reference: &Reference, document: &Blob) -> Result<DigestReference> {
        self.push_manifest(cx, &reference.with_digest(document.digest()), document)?;
        if let Some(tag) = reference.tag() {
            let tagged = reference.with_tag(tag).context(|| reference.to_string())?;
            self.push_manifest(cx, &tagged, document)?;
        }
        Ok(DigestReference {
            name: reference.name(),
            digest: document.digest(),
        })
    }

    /// Puts a blob into a repository, which does not have it twice for it. `from` is a repository of the same registry that may
    /// have it already.
    pub fn push_blob(
        &self,
        cx: &Cx,
        reference: &Reference,
        digest: Digest,
        bytes: &Arc<[u8]>,
        from: Option<&Reference>,
    ) -> Result<Sent> {
        let from =
            from.filter(|from| from.registry() == reference.registry() && from.repository() != reference.repository());
        if self.has_blob(cx, reference, digest, bytes.len())? {
            return Ok(Sent::Present);
        }
        let mut tries = self.client.tries();
        loop {
            let (step, mut chunk) = self.begin(cx, reference, digest, from)?;
            let mut step = match step {
                Step::Done => return Ok(Sent::Mounted),
                step => step,
            };
            if bytes.len() <= CHUNK && bytes.len() <= chunk {
                chunk = bytes.len().max(1);
            }
            loop {
                step = match step {
                    Step::Lost => break,
                    Step::Refused(error) => return Err(error),
                    Step::Done => {
                        if self.has_blob(cx, reference, digest, bytes.len())? {
                            return Ok(Sent::Uploaded);
                        }
                        return Err(Error::new(format!(
                            "{}: the registry took blob {digest} and does not have it",
                            reference.name()
                        ))
                        .hint("try again; if it stays so, the registry is damaged"));
                    }
                    Step::At(url, at) => {
                        let end = at.saturating_add(chunk).min(bytes.len());
                        // All of it in one request, or the rest after what was sent in pieces.
                        let last = at == bytes.len() || at == 0 && end == bytes.len();
                        let result = match last {
                            true => self.close(cx, reference, &url, digest, &bytes[at..]),
                            false => self.patch(cx, reference, &url, at, &bytes[at..end]),
                        };
                        match result {
                            Ok(step) => {
                                if matches!(&step, Step::At(_, now) if *now > at) {
                                    tries.progress();
                                }
                                step
                            }
                            Err(error) => {
                                // Whether it can be gone on with is what the registry says now, not what failed before.
                                tries.pause(&self.client, cx, error)?;
                                self.progress(cx, reference, &url, bytes.len())?
                            }
                        }
                    }
                };
            }
            // Uploads run out; what was sent is gone with it. It may also have been complete.
            if self.has_blob(cx, reference, digest, bytes.len())? {
                return Ok(Sent::Uploaded);
            }
            let lost = format!("{}: the registry lost the upload of {digest}", reference.name());
            tries.pause(&self.client, cx, Error::new(lost))?;
        }
    }

    /// Whether a repository has a blob, of this many bytes.
    pub fn has_blob(&self, cx: &Cx, reference: &Reference, digest: Digest, size: usize) -> Result<bool> {
        let url = self.url(cx, reference, &format!("blobs/{digest}"))?;
        let response = self.write(cx, reference, None, &Request::head(url))?;
        match response.status() {
            StatusCode::OK => match response.content_length() {
                Some(length) if length != size as u64 => Err(Error::new(format!(
                    "{} has {digest} with {length} bytes, and it has {size}",
                    reference.name()
                ))),
                _ => Ok(true),
            },
            StatusCode::NOT_FOUND => Ok(false),
            _ => Err(refusal(response, reference)),
        }
    }

    /// Writing needs the token for it from the first request on, or there would be two.
    fn write(&self, cx: &Cx, reference: &Reference, from: Option<&Reference>, request: &Request) -> Result<Response> {
        let mut access = vec![(reference, Access::Push)];
        access.extend(from.map(|from| (from, Access::Pull)));
        self.call(cx, reference, &access, request)
    }

    /// Asks for an upload, or for a mount. Done means that it was mounted. With the size that chunks should have.
    fn begin(&self, cx: &Cx, reference: &Reference, digest: Digest, from: Option<&Reference>) -> Result<(Step, usize)> {
        let mut url = self.url(cx, reference, "blobs/uploads/")?;
        if let Some(from) = from {
            url.query_pairs_mut()
                .append_pair("mount", &digest.to_string())
                .append_pair("from", from.repository());
        }
        // Begun twice, one of the two is forgotten by the registry after a while.
        let request = Request::new(Method::POST, url)
            .body(Body::Bytes(Arc::from([])))
            .repeatable();
        let response = self.write(cx, reference, from, &request)?;
        match response.status() {
            StatusCode::CREATED => Ok((Step::Done, CHUNK)),
            StatusCode::ACCEPTED => {
                let least = response
                    .text_header("oci-chunk-min-length")
                    .and_then(|text| text.parse().ok());
                let chunk = least.unwrap_or(0).clamp(CHUNK, LARGEST);
                let named = || format!("{} begins an upload and does not say where", shown(response.url()));
                Ok((Step::At(location(&response)?.context(named)?, 0), chunk))
            }
            _ => Err(refusal(response, reference)),
        }
    }

    fn patch(&self, cx: &Cx, reference: &Reference, url: &Url, at: usize, bytes: &[u8]) -> Result<Step> {
        let range = format!("{at}-{}", at + bytes.len() - 1);
        let request = Request::new(Method::PATCH, url.clone())
            .header(header::CONTENT_RANGE, HeaderValue::from_str(&range)?)
            .header(
                header::CONTENT_TYPE,
                HeaderValue::from_static("application/octet-stream"),
            )
            .body(Body::Bytes(Arc::from(bytes)));
        let response = self.write(cx, reference, None, &request)?;
        match response.status() {
            StatusCode::CREATED => Ok(Step::Done),
            StatusCode::ACCEPTED | StatusCode::NO_CONTENT => {
                let next = location(&response)?.unwrap_or_else(|| url.clone());
                // It may have taken less than it was sent, never more.
                let have = acknowledged(&response)?.unwrap_or(at + bytes.len());
                match have <= at + bytes.len() {
                    true => Ok(Step::At(next, have)),
                    false => Err(Error::new(format!(
                        "{} says that it has {have} bytes of {}",
                        shown(url),
                        at + bytes.len()
                    ))),
                }
            }
            StatusCode::NOT_FOUND => Ok(Step::Lost),
            status if is_final(status) => Ok(Step::Refused(refusal(response, reference))),
            _ => Err(refusal(response, reference)),
        }
    }

    fn close(&self, cx: &Cx, reference: &Reference, url: &Url, digest: Digest, bytes: &[u8]) -> Result<Step> {
        let mut closing = url.clone();
        closing.query_pairs_mut().append_pair("digest", &digest.to_string());
        let request = Request::new(Method::PUT, closing)
            .header(
                header::CONTENT_TYPE,
                HeaderValue::from_static("application/octet-stream"),
            )
            .body(Body::Bytes(Arc::from(bytes)))
            .once();
        let response = self.write(cx, reference, None, &request)?;
        match response.status() {
            StatusCode::CREATED | StatusCode::NO_CONTENT | StatusCode::OK => Ok(Step::Done),
            StatusCode::NOT_FOUND => Ok(Step::Lost),
            status if is_final(status) => Ok(Step::Refused(refusal(response, reference))),
            _ => Err(refusal(response, reference)),
        }
    }

    /// How much of an upload the registry has.
    fn progress(&self, cx: &Cx, reference: &Reference, url: &Url, size: usize) -> Result<Step> {
        let response = self.write(cx, reference, None, &Request::get(url.clone()))?;
        match response.status() {
            StatusCode::NO_CONTENT | StatusCode::OK | StatusCode::ACCEPTED => {
                let next = location(&response)?.unwrap_or_else(|| url.clone());
                match acknowledged(&response)?.unwrap_or(0) {
                    have if have <= size => Ok(Step::At(next, have)),
                    // More than there is can only be something else.
                    _ => Ok(Step::Lost),
                }
            }
            // Gone, or a registry that does not tell: from the start.
            _ => Ok(Step::Lost),
        }
    }

    /// PUTs a manifest or an index, and reads it back: what is named must be what was sent.
    pub fn push_manifest(&self, cx: &Cx, reference: &Reference, document: &Blob) -> Result<()> {
        let digest = document.digest();
        let url = self.url(cx, reference, &format!("manifests/{}", reference.target()))?;
        let request = Request::new(Method::PUT, url.clone())
            .header(header::CONTENT_TYPE, HeaderValue::from_str(document.media_type())?)
            .body(Body::Bytes(Arc::from(document.bytes())));
        let response = self.write(cx, reference, None, &request)?;
        if !matches!(
            response.status(),
            StatusCode::CREATED | StatusCode::OK | StatusCode::ACCEPTED | StatusCode::NO_CONTENT
        ) {
            return Err(refusal(response, reference));
        }
        let mut request = Request::get(url);
        for kind in [
            media::INDEX,
            media::MANIFEST,
            media::DOCKER_INDEX,
            media::DOCKER_MANIFEST,
        ] {
            request = request.header(header::ACCEPT, HeaderValue::from_static(kind));
        }
        let response = self.write(cx, reference, None, &request)?;
        let found = match response.status() {
            StatusCode::OK => Some(Digest::of(&response.into_bytes(document.bytes().len() as u64 + 1024)?)),
            StatusCode::NOT_FOUND => None,
            _ => return Err(refusal(response, reference)),
        };
        match found {
            Some(found) if found == digest => Ok(()),
            found => {
                let found = found.map_or("nothing".to_owned(), |found| found.to_string());
                Err(Error::new(format!(
                    "{reference}: {digest} was pushed, and the registry has {found}"
                ))
                .hint("somebody else may have pushed at the same time; try again"))
            }
        }
    }
}

/// An answer that no waiting changes. 408 and 429 pass, 416 means that we disagree on how much is there.
fn is_final(status: StatusCode) -> bool {
    status.is_client_error()
        && !matches!(
            status,
            StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS | StatusCode::RANGE_NOT_SATISFIABLE
        )
}

/// `Location`, which may be relative. Nothing that began by HTTPS goes on without.
fn location(response: &Response) -> Result<Option<Url>> {
    let Some(text) = response.text_header("location") else {
        return Ok(None);
    };
    let named = || format!("{} goes on at no address", shown(response.url()));
    let url = response.url().join(text).context(named)?;
    match (url.scheme(), response.url().scheme()) {
        ("https", _) | ("http", "http") if url.host().is_some() => Ok(Some(url)),
        _ => Err(Error::new(named())),
    }
}

/// `Range: 0-99` means 100 bytes; `0-0` is what registries say of none, and of one.
fn acknowledged(response: &Response) -> Result<Option<usize>> {
    let Some(text) = response.text_header("range") else {
        return Ok(None);
    };
    let end = text
        .trim()
        .trim_start_matches("bytes=")
        .strip_prefix("0-")
        .and_then(|end| end.parse::<usize>().ok());
    match end {
        // One byte sent twice does no harm where offsets are checked, and no chunk is that short.
        Some(0) => Ok(Some(0)),
        Some(end) => Ok(Some(end + 1)),
        None => Err(Error::new(format!(
            "{} says that it has the range `{}`",
            shown(response.url()),
            crate::http::clean(text)
        ))),
    }
}
