//! What refers to an image: documents of their own, which the registry lists (distribution-spec 1.1, "Listing Referrers"), or a
//! tag where the registry does not ("Referrers Tag Schema").

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, PoisonError};

use serde_json::Value;

use super::{Action, Content, Planned, Push, accepting, denied};
use crate::attest::manifest::{referrers_tag, with_referrers};
use crate::error::{Context, Error, Result};
use crate::http::{Body, HeaderValue, Method, Request, Response, StatusCode, header};
use crate::oci::image::{Attached, Blob, Form, ImageIndex};
use crate::oci::{Digest, Reference, media};
use crate::registry::document::LONGEST;

/// How often a list is written that others write at the same time.
const LISTINGS: usize = 5;

/// The list in the answer to `referrers/DIGEST`; `None` where the registry has no such API. Some have it not and answer 200 with a
/// page, or 400, 405, 406, 501.
pub(in crate::registry) fn list_of(response: Response, to: &Reference) -> Result<Option<Vec<Value>>> {
    match response.status() {
        StatusCode::OK => {
            let list: Option<Value> = serde_json::from_slice(&response.into_bytes(LONGEST)?).ok();
            match list.as_ref().and_then(|list| list.get("manifests")) {
                Some(Value::Array(entries)) => Ok(Some(entries.clone())),
                _ => Ok(None),
            }
        }
        StatusCode::NOT_FOUND
        | StatusCode::BAD_REQUEST
        | StatusCode::METHOD_NOT_ALLOWED
        | StatusCode::NOT_ACCEPTABLE
        | StatusCode::NOT_IMPLEMENTED => Ok(None),
        _ => Err(denied(response, to)),
    }
}

/// The referrers of each image of an index.
fn by_subject(index: &ImageIndex) -> BTreeMap<Digest, Vec<Attached>> {
    let mut all: BTreeMap<Digest, Vec<Attached>> = BTreeMap::new();
    let referrers = index.attached().iter();
    for referrer in referrers.filter(|attached| attached.form() == Form::Referrer) {
        all.entry(referrer.subject()).or_default().push(referrer.clone());
    }
    all
}

/// Their blobs, each once.
fn blobs<'a>(referrers: impl Iterator<Item = &'a Attached>) -> Vec<Content> {
    let mut seen = BTreeSet::new();
    let all = referrers.flat_map(Attached::blobs);
    let once = all.filter(|blob| seen.insert(blob.digest()));
    once.map(|blob| Content::of_blob(blob, "referrer")).collect()
}

impl Push<'_> {
    /// Referrers of the images of an index, whose manifests are there.
    pub(super) fn refer(&self, index: &ImageIndex) -> Result<()> {
        let all = by_subject(index);
        self.blobs(&blobs(all.values().flatten()))?;
        for (subject, referrers) in &all {
            for referrer in referrers {
                self.manifest(referrer.manifest())?;
            }
            if !self.has_referrers(*subject)? {
                self.list_referrers(*subject, referrers)?;
            }
        }
        Ok(())
    }

    /// Whether the registry lists referrers itself. It is asked once.
    fn has_referrers(&self, subject: Digest) -> Result<bool> {
        let mut known = self.referrers.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = *known {
            return Ok(known);
        }
        let url = self.registry.url(self.cx, self.to, &format!("referrers/{subject}"))?;
        let request = Request::get(url).header(header::ACCEPT, HeaderValue::from_static(media::INDEX));
        let has = list_of(self.send(None, &request)?, self.to)?.is_some();
        if !has {
            let name = self.to.registry();
            self.cx.ui.note(&format!(
                "{name} has no referrers API: tags `sha256-DIGEST` list what is attached to each image"
            ));
        }
        *known = Some(has);
        Ok(has)
    }

    /// Adds referrers of one image, whose manifests are there, to the list that a tag keeps. What others put into the list stays:
    /// a list that somebody else has changed in between is read again, where the registry knows `If-Match` before it is
    /// overwritten, and where ours is missing afterwards it is added again.
    ///
    /// # Errors
    ///
    /// When the registry refuses, has something else than a list under that tag, or others write it all the time.
    pub fn list_referrers(&self, subject: Digest, added: &[Attached]) -> Result<()> {
        let tagged = self.list_tag(subject)?;
        for _ in 0..LISTINGS {
            let (existing, etag) = self.listed(&tagged)?;
            let list = extended(&tagged, existing.as_deref(), added)?;
            if existing.as_deref() == Some(list.bytes()) {
                return Ok(());
            }
            let url = self
                .registry
                .url(self.cx, &tagged, &format!("manifests/{}", tagged.target()))?;
            let mut request = Request::new(Method::PUT, url)
                .header(header::CONTENT_TYPE, HeaderValue::from_static(media::INDEX))
                .body(Body::Bytes(Arc::from(list.bytes())));
            if let Some(etag) = etag {
                request = request.header(header::IF_MATCH, HeaderValue::from_str(&etag)?);
            }
            self.count(list.bytes().len());
            let response = self.send(None, &request)?;
            match response.status() {
                // Somebody was quicker.
                StatusCode::PRECONDITION_FAILED => {}
                StatusCode::CREATED | StatusCode::OK | StatusCode::ACCEPTED | StatusCode::NO_CONTENT => {}
                _ => return Err(denied(response, &tagged)),
            }
        }
        Err(Error::new(format!(
            "{tagged}: the list of referrers was written {LISTINGS} times, and what was added is not in it"
        ))
        .hint("somebody else may have pushed at the same time; try again"))
    }

    fn list_tag(&self, subject: Digest) -> Result<Reference> {
        self.to
            .with_tag(&referrers_tag(subject))
            .context(|| self.to.to_string())
    }

    /// The list under a tag, and its ETag if that is a strong one (RFC 9110, 13.1.1: only those count for If-Match).
    fn listed(&self, tagged: &Reference) -> Result<(Option<Vec<u8>>, Option<String>)> {
        let url = self
            .registry
            .url(self.cx, tagged, &format!("manifests/{}", tagged.target()))?;
        let response = self.send(None, &accepting(Request::get(url)))?;
        match response.status() {
            StatusCode::OK => {
                let etag = response.text_header("etag").filter(|etag| etag.starts_with('"'));
                let etag = etag.map(str::to_owned);
                Ok((Some(response.into_bytes(LONGEST)?), etag))
            }
            StatusCode::NOT_FOUND => Ok((None, None)),
            _ => Err(denied(response, tagged)),
        }
    }

    /// What would be done with referrers, and how many requests it takes to know whether the registry lists them.
    pub fn survey_referrers<'a>(
        &self,
        indexes: impl IntoIterator<Item = &'a ImageIndex>,
    ) -> Result<(Vec<Planned>, u64)> {
        let indexes: Vec<&ImageIndex> = indexes.into_iter().collect();
        // By then these are there.
        let before = Content::of_indexes(indexes.iter().copied());
        let mut sent: BTreeSet<Digest> = before.iter().map(Content::digest).collect();
        let (mut planned, mut asked) = (Vec::new(), 0);
        for index in indexes {
            let all = by_subject(index);
            for content in blobs(all.values().flatten()) {
                let mut one = self.survey_blob(&content)?;
                if !sent.insert(content.digest()) {
                    (one.action, one.send, one.requests) = (Action::Present, 0, 1);
                }
                planned.push(one);
            }
            for (subject, referrers) in &all {
                for referrer in referrers {
                    planned.push(self.survey_document(referrer.manifest(), "referrer", 1)?);
                }
                asked = 1;
                if !self.has_referrers(*subject)? {
                    planned.push(self.survey_list(*subject, referrers)?);
                }
            }
        }
        Ok((planned, asked))
    }

    fn survey_list(&self, subject: Digest, referrers: &[Attached]) -> Result<Planned> {
        let tagged = self.list_tag(subject)?;
        let (existing, _) = self.listed(&tagged)?;
        let list = extended(&tagged, existing.as_deref(), referrers)?;
        let size = list.bytes().len() as u64;
        // Read; or read, written, and read again.
        let (action, send, requests) = match existing.as_deref() == Some(list.bytes()) {
            true => (Action::Present, 0, 1),
            false => (Action::Upload, size, 3),
        };
        Ok(Planned {
            label: "list of referrers".to_owned(),
            digest: list.digest(),
            size,
            action,
            send,
            requests,
        })
    }
}

fn extended(tagged: &Reference, existing: Option<&[u8]>, added: &[Attached]) -> Result<Blob> {
    with_referrers(existing, added).map_err(|reason| {
        Error::new(format!("{tagged} is no list of referrers: {reason}"))
            .hint("tags of this form belong to the distribution specification: move what is there")
    })
}
