//! Pushing: blobs first, then manifests by digest, then the index, the tags last of all (distribution-spec, "Pushing").
//!
//! A blob that is there is not sent. One that another repository of the registry has is mounted. Small ones go in one PUT, large
//! ones in PATCHes ([`upload`]); how far they came is in a [`Journal`], so that the next process goes on from there. [`survey`]
//! says beforehand what would be done.

mod content;
mod journal;
mod referrers;
mod survey;
mod tags;
mod upload;

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

pub use content::Content;
pub use journal::Journal;
pub(super) use referrers::list_of;
pub use survey::{Action, Planned, Quota};
pub use tags::Listing;
pub use upload::Sent;

use super::document::PlatformOf;
use super::{Access, Registry, refusal};
use crate::cx::Cx;
use crate::error::{Context, Error, Result};
use crate::http::{Body, HeaderValue, Method, Request, Response, StatusCode, header};
use crate::oci::image::{Blob, Form, Image, ImageIndex};
use crate::oci::{Digest, DigestReference, Reference, media};
use crate::ui::bytes;

/// Bytes of one PATCH, and the most that goes in one PUT.
const CHUNK: usize = 8 << 20;
/// Blobs that are sent at the same time.
const PARALLEL: usize = 3;
/// Redirects of one upload request that are followed.
const REDIRECTS: usize = 5;

/// A push into one repository.
#[derive(Debug)]
pub struct Push<'a> {
    registry: &'a Registry,
    cx: &'a Cx,
    to: &'a Reference,
    mounts: Vec<Reference>,
    journal: Option<Journal>,
    chunk: usize,
    sent: Arc<AtomicU64>,
    requests: AtomicU64,
    referrers: Mutex<Option<bool>>,
}

/// What a push has cost so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Cost {
    /// Bytes of blobs and documents that were sent, those that were sent again included.
    pub bytes: u64,
    /// Requests to the registry, those for tokens not counted.
    pub requests: u64,
}

/// What became of a tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tagged {
    /// It named this already.
    Same,
    /// It is new.
    New,
    /// It named something else.
    Moved(Digest),
}

impl Registry {
    /// A push into the repository of `to`.
    pub fn push_to<'a>(&'a self, cx: &'a Cx, to: &'a Reference) -> Push<'a> {
        Push {
            registry: self,
            cx,
            to,
            mounts: Vec::new(),
            journal: None,
            chunk: CHUNK,
            sent: Arc::default(),
            requests: AtomicU64::new(0),
            referrers: Mutex::new(None),
        }
    }
}

impl Push<'_> {
    /// Repositories that may have blobs already. Those of other registries are of no use here and are left out.
    #[must_use]
    pub fn mounting(mut self, from: impl IntoIterator<Item = Reference>) -> Self {
        for from in from {
            let other = from.repository() != self.to.repository();
            let known = self.mounts.iter().any(|mount| mount.repository() == from.repository());
            if from.registry() == self.to.registry() && other && !known {
                self.mounts.push(from);
            }
        }
        self
    }

    /// Keeps how far large blobs came.
    #[must_use]
    pub fn journal(mut self, journal: Journal) -> Self {
        self.journal = Some(journal);
        self
    }

    /// Bytes of one PATCH, and the most that goes in one PUT: 8 MiB if it is not said.
    #[must_use]
    pub fn chunk(mut self, bytes: usize) -> Self {
        self.chunk = bytes.max(1);
        self
    }

    /// What it has cost so far.
    pub fn cost(&self) -> Cost {
        Cost {
            bytes: self.sent.load(Ordering::SeqCst),
            requests: self.requests.load(Ordering::SeqCst),
        }
    }

    /// An image: its layers, its configuration, its manifest, and the tag if the reference has one.
    pub fn image(&self, image: &Image) -> Result<DigestReference> {
        self.blobs(&Content::of_image(image))?;
        self.image_manifest(image)?;
        self.finish(image.manifest())
    }

    /// An index with all its images and what is attached to them, and the tag if the reference has one.
    pub fn index(&self, index: &ImageIndex) -> Result<DigestReference> {
        self.blobs(&Content::of_indexes([index]))?;
        self.documents(index)?;
        self.finish(index.blob())
    }

    fn finish(&self, document: &Blob) -> Result<DigestReference> {
        if let Some(tag) = self.to.tag() {
            self.tag(tag, document)?;
        }
        Ok(DigestReference {
            name: self.to.name(),
            digest: document.digest(),
        })
    }

    /// Blobs, some at a time. The first error ends it; what is under way is finished or kept in the journal.
    pub fn blobs(&self, contents: &[Content]) -> Result<Vec<Sent>> {
        let (next, stop) = (AtomicUsize::new(0), AtomicBool::new(false));
        let done: Mutex<Vec<Option<Result<Sent>>>> = Mutex::new(contents.iter().map(|_| None).collect());
        let work = || {
            while !stop.load(Ordering::SeqCst) {
                let at = next.fetch_add(1, Ordering::SeqCst);
                let Some(content) = contents.get(at) else { return };
                let result = self.blob(content);
                match &result {
                    Ok(sent) => self.told(content, *sent),
                    Err(_) => stop.store(true, Ordering::SeqCst),
                }
                done.lock().unwrap_or_else(PoisonError::into_inner)[at] = Some(result);
            }
        };
        std::thread::scope(|scope| {
            for _ in 1..PARALLEL.min(contents.len()) {
                scope.spawn(work);
            }
            work();
        });
        let done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
        let mut all = Vec::new();
        let mut unsent = None;
        for (content, result) in contents.iter().zip(done) {
            match result {
                Some(result) => all.push(result?),
                None => unsent = Some(content.digest()),
            }
        }
        match unsent {
            // Cannot be without an error above; but if it were, half an image must not get a manifest.
            Some(digest) => Err(Error::new(format!("{}: blob {digest} was not sent", self.to.name()))),
            None => Ok(all),
        }
    }

    fn told(&self, content: &Content, sent: Sent) {
        let verb = match sent {
            Sent::Present => "Present",
            Sent::Mounted => "Mounted",
            Sent::Uploaded => "Uploaded",
        };
        let text = format!(
            "{} {} ({})",
            content.label(),
            short(content.digest()),
            bytes(content.size())
        );
        self.cx.ui.step(verb, &text);
    }

    /// The documents of an index, whose blobs are there: manifests of images and of what is attached to them, then the index
    /// itself, all by digest. Referrers go along with their blobs, and into the list of a tag where the registry has no list.
    /// Everything is read back.
    pub fn documents(&self, index: &ImageIndex) -> Result<()> {
        index.images().iter().try_for_each(|image| self.image_manifest(image))?;
        let attestations = index.attached().iter();
        for attached in attestations.filter(|attached| attached.form() == Form::Attestation) {
            self.manifest(attached.manifest())?;
        }
        self.refer(index)?;
        self.manifest(index.blob()).map(drop)
    }

    /// The manifest of an image, whose blobs are there; its configuration is read back, too, and must be for its platform.
    pub fn image_manifest(&self, image: &Image) -> Result<()> {
        if self.manifest(image.manifest())? == Sent::Present {
            return Ok(());
        }
        let config = image.config();
        let url = self
            .registry
            .url(self.cx, self.to, &format!("blobs/{}", config.digest()))?;
        let response = self.send(None, &Request::get(url))?;
        if response.status() != StatusCode::OK {
            return Err(refusal(response, self.to));
        }
        let found = response.into_bytes(config.bytes().len() as u64 + 1024)?;
        let wrong = |found: String| {
            Error::new(format!(
                "{}: the configuration of {} was pushed, and the registry has {found}",
                self.to.name(),
                image.platform()
            ))
            .hint("no tag was set; if it stays so, the registry is damaged")
        };
        if Digest::of(&found) != config.digest() {
            return Err(wrong(Digest::of(&found).to_string()));
        }
        let says: PlatformOf = serde_json::from_slice(&found).context(|| self.to.name())?;
        let platform = image.platform();
        let same = says.os == platform.os()
            && says.architecture == platform.architecture()
            && says.variant == platform.variant().unwrap_or_default();
        match same {
            true => Ok(()),
            false => Err(wrong(format!("one for {says}"))),
        }
    }

    /// A document by digest: not sent if it is there, read back if it was sent.
    pub fn manifest(&self, document: &Blob) -> Result<Sent> {
        let there = self.to.with_digest(document.digest());
        if self.named(&there)? == Some(document.digest()) {
            return Ok(Sent::Present);
        }
        self.put(&there, document)?;
        let found = self.read_back(&there, document)?;
        self.must_be(&there, document, found)?;
        Ok(Sent::Uploaded)
    }

    /// Makes a tag name a document that is there by digest.
    pub fn tag(&self, tag: &str, document: &Blob) -> Result<Tagged> {
        let tagged = self.to.with_tag(tag).context(|| self.to.to_string())?;
        let before = self.named(&tagged)?;
        if before == Some(document.digest()) {
            return Ok(Tagged::Same);
        }
        self.put(&tagged, document)?;
        // A HEAD is no pull for who counts pulls; who gives no digest in it is read from.
        let found = match self.named(&tagged)? {
            Some(digest) => Some(digest),
            None => self.read_back(&tagged, document)?,
        };
        self.must_be(&tagged, document, found)?;
        Ok(before.map_or(Tagged::New, Tagged::Moved))
    }

    /// What a tag or digest names, as far as a HEAD tells: `None` if there is nothing, or no digest in the answer.
    pub fn named(&self, reference: &Reference) -> Result<Option<Digest>> {
        let url = self
            .registry
            .url(self.cx, reference, &format!("manifests/{}", reference.target()))?;
        let response = self.send(None, &accepting(Request::head(url)))?;
        match response.status() {
            StatusCode::OK => Ok(told(&response)),
            StatusCode::NOT_FOUND => Ok(None),
            // Some know no HEAD here. What is wrong will be said when something is sent.
            StatusCode::METHOD_NOT_ALLOWED => Ok(None),
            _ => Err(denied(response, self.to)),
        }
    }

    fn put(&self, reference: &Reference, document: &Blob) -> Result<()> {
        let url = self
            .registry
            .url(self.cx, reference, &format!("manifests/{}", reference.target()))?;
        let request = Request::new(Method::PUT, url)
            .header(header::CONTENT_TYPE, HeaderValue::from_str(document.media_type())?)
            .body(Body::Bytes(Arc::from(document.bytes())));
        self.count(document.bytes().len());
        let response = self.send(None, &request)?;
        if !matches!(
            response.status(),
            StatusCode::CREATED | StatusCode::OK | StatusCode::ACCEPTED | StatusCode::NO_CONTENT
        ) {
            return Err(denied(response, reference));
        }
        match told(&response) {
            Some(other) if other != document.digest() => self.must_be(reference, document, Some(other)),
            _ => Ok(()),
        }
    }

    /// Bytes of a document that is sent.
    fn count(&self, bytes: usize) {
        self.sent.fetch_add(bytes as u64, Ordering::SeqCst);
    }

    fn read_back(&self, reference: &Reference, document: &Blob) -> Result<Option<Digest>> {
        let url = self
            .registry
            .url(self.cx, reference, &format!("manifests/{}", reference.target()))?;
        let response = self.send(None, &accepting(Request::get(url)))?;
        match response.status() {
            StatusCode::OK => {
                let bytes = response.into_bytes(document.bytes().len() as u64 + 1024)?;
                Ok(Some(Digest::of(&bytes)))
            }
            StatusCode::NOT_FOUND => Ok(None),
            _ => Err(denied(response, reference)),
        }
    }

    fn must_be(&self, reference: &Reference, document: &Blob, found: Option<Digest>) -> Result<()> {
        let digest = document.digest();
        if found == Some(digest) {
            return Ok(());
        }
        let found = found.map_or("nothing".to_owned(), |found| found.to_string());
        Err(Error::new(format!(
            "{reference}: {digest} was pushed, and the registry has {found}"
        ))
        .hint("somebody else may have pushed at the same time; try again"))
    }

    /// Sends what writes, or asks before writing: with the token for writing from the first request on, or there would be two.
    /// 307 and 308 are followed, with the body (RFC 9110, 15.4.8); another host gets no credentials.
    fn send(&self, from: Option<&Reference>, request: &Request) -> Result<Response> {
        let mut access = vec![(self.to, Access::Push)];
        access.extend(from.map(|from| (from, Access::Pull)));
        let mut request = request.clone();
        for _ in 0..REDIRECTS {
            self.requests.fetch_add(1, Ordering::SeqCst);
            let response = self.registry.call(self.cx, self.to, &access, &request)?;
            if !matches!(response.status().as_u16(), 307 | 308) {
                return Ok(response);
            }
            let nowhere = || format!("{} redirects to no address", crate::http::shown(response.url()));
            request = request.redirected(upload::location(&response)?.context(nowhere)?)?;
        }
        Err(Error::new(format!(
            "{} redirects more than {REDIRECTS} times",
            crate::http::shown(request.url())
        )))
    }
}

/// `sha256:` and the first twelve digits: enough to tell blobs apart in a list.
pub(super) fn short(digest: Digest) -> String {
    digest.to_string().chars().take(19).collect()
}

fn told(response: &Response) -> Option<Digest> {
    response.text_header("docker-content-digest")?.parse().ok()
}

fn accepting(mut request: Request) -> Request {
    for kind in [
        media::INDEX,
        media::MANIFEST,
        media::DOCKER_INDEX,
        media::DOCKER_MANIFEST,
    ] {
        request = request.header(header::ACCEPT, HeaderValue::from_static(kind));
    }
    request
}

/// What a registry's "no" to a push means.
fn denied(response: Response, to: &Reference) -> Error {
    let (name, registry) = (to.name(), to.registry());
    let status = response.status();
    let error = refusal::answered(response);
    match status {
        StatusCode::UNAUTHORIZED => error
            .context(format!("{registry} does not let you push to {name}"))
            .hint(format!(
                "log in with `docker login {registry}`, or set XTASK_REGISTRY_USER and XTASK_REGISTRY_PASSWORD"
            )),
        StatusCode::FORBIDDEN => error
            .context(format!("you may not push to {name}"))
            .hint("the repository must be yours or your team's, and an access token must have the right to write"),
        StatusCode::NOT_FOUND => error
            .context(format!("there is no repository {name}"))
            .hint("check the name; some registries want a repository to be created before the first push"),
        StatusCode::METHOD_NOT_ALLOWED => error
            .context(format!("{registry} takes no push: it is read-only"))
            .hint("a mirror or a registry under maintenance: push to the one that it is a copy of"),
        StatusCode::PAYLOAD_TOO_LARGE => error
            .context(format!("{registry} does not take this much in one request"))
            .hint("a proxy before the registry may have a limit of its own (client_max_body_size of nginx)"),
        StatusCode::INSUFFICIENT_STORAGE => error
            .context(format!("{registry} has no space left"))
            .hint("free some space there, and push again: what it has is not sent twice"),
        StatusCode::BAD_REQUEST => error.context(format!("{name} is refused")),
        _ => error.context(format!("cannot push to {name}")),
    }
}
