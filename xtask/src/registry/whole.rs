//! Everything that a reference leads to, as the registry sends it now.
//!
//! [`Registry::pull`] takes from the cache what it has by digest, and stops at the first lie. Here the question is what lies in
//! the registry, so nothing is taken from the cache, nothing is put there, and what is wrong or missing is kept as it is.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Write};
use std::path::PathBuf;

use serde::Deserialize;
use serde_json::{Value, json};

use super::document::{ACCEPT, LONGEST};
use super::push::list_of;
use super::{Access, Registry, refusal};
use crate::attest::manifest::referrers_tag;
use crate::cx::Cx;
use crate::error::{Context, Error, Result};
use crate::http::{HeaderValue, Request, Response, StatusCode, header};
use crate::oci::{Digest, Reference, media};

/// Most manifests and indexes that are fetched.
const DOCUMENTS: usize = 1024;
/// Largest blob that is fetched.
const BLOB: u64 = 4 << 30;

/// Documents and blobs, each as it came or why it did not.
#[derive(Debug)]
pub struct Whole {
    /// The reference with the digest of what was found.
    pub reference: Reference,
    /// The descriptor of what the reference names, as an index would have it.
    pub root: Value,
    /// Manifests and indexes, by the digest that they were asked by.
    pub documents: BTreeMap<Digest, std::result::Result<Vec<u8>, String>>,
    /// Files with the other blobs, by the digest that they were asked by.
    pub blobs: BTreeMap<Digest, std::result::Result<PathBuf, String>>,
    /// The referrers of each image, as descriptors.
    pub referrers: BTreeMap<Digest, Vec<Value>>,
    /// Has the files until it is dropped.
    pub dir: tempfile::TempDir,
}

#[derive(Deserialize)]
struct Part {
    digest: Digest,
    size: u64,
    #[serde(default)]
    annotations: BTreeMap<String, Value>,
}

#[derive(Default, Deserialize)]
struct Parts {
    #[serde(default)]
    manifests: Vec<Part>,
    config: Option<Part>,
    #[serde(default)]
    layers: Vec<Part>,
}

impl Registry {
    /// Fetches everything that `reference` leads to: all platforms, what is attached in the index, and referrers of the kinds in
    /// `wanted`.
    ///
    /// # Errors
    ///
    /// When the reference names nothing, or the registry does not answer at all. What is missing below is no error here.
    pub fn whole(&self, cx: &Cx, reference: &Reference, wanted: &[&str]) -> Result<Whole> {
        let (bytes, kind) = self.raw(cx, reference)?;
        let digest = reference.digest().unwrap_or_else(|| Digest::of(&bytes));
        let own: Value = serde_json::from_slice(&bytes).unwrap_or_default();
        let kind = kind.or_else(|| own["mediaType"].as_str().map(str::to_owned));
        let kind = kind.unwrap_or_else(|| match own["manifests"].is_array() {
            true => media::INDEX.to_owned(),
            false => media::MANIFEST.to_owned(),
        });
        let mut whole = Whole {
            reference: reference.with_digest(digest),
            root: json!({"mediaType": kind, "digest": digest.to_string(), "size": bytes.len()}),
            documents: BTreeMap::new(),
            blobs: BTreeMap::new(),
            referrers: BTreeMap::new(),
            dir: cx.cache.temp_dir()?,
        };
        let mut images = Vec::new();
        let mut todo = vec![(digest, Ok(bytes), true)];
        while let Some((digest, bytes, image)) = todo.pop() {
            if whole.documents.contains_key(&digest) || whole.documents.len() >= DOCUMENTS {
                continue;
            }
            let parts: Parts = match &bytes {
                Ok(bytes) => serde_json::from_slice(bytes).unwrap_or_default(),
                Err(_) => Parts::default(),
            };
            whole.documents.insert(digest, bytes);
            if image && parts.config.is_some() {
                images.push(digest);
            }
            for part in parts.manifests {
                let image = !part.annotations.contains_key(crate::oci::image::REFERENCE_TYPE);
                todo.push((part.digest, self.below(cx, reference, part.digest), image));
            }
            for part in parts.config.iter().chain(&parts.layers) {
                self.part(cx, reference, part, &mut whole);
            }
        }
        for image in images {
            let found = self.referrers(cx, reference, image)?;
            let found: Vec<Value> = found
                .into_iter()
                .filter(|entry| {
                    entry["artifactType"]
                        .as_str()
                        .is_some_and(|kind| wanted.contains(&kind))
                })
                .collect();
            for part in found
                .iter()
                .filter_map(|entry| serde_json::from_value::<Part>(entry.clone()).ok())
            {
                let bytes = self.below(cx, reference, part.digest);
                if let Ok(bytes) = &bytes {
                    let parts: Parts = serde_json::from_slice(bytes).unwrap_or_default();
                    for part in parts.config.iter().chain(&parts.layers) {
                        self.part(cx, reference, part, &mut whole);
                    }
                }
                whole.documents.insert(part.digest, bytes);
            }
            whole.referrers.insert(image, found);
        }
        Ok(whole)
    }

    /// What refers to a manifest: by the API of distribution-spec 1.1, else by its tag schema. Nothing when there is neither.
    ///
    /// # Errors
    ///
    /// When the registry refuses, or answers with something else than a list.
    pub fn referrers(&self, cx: &Cx, reference: &Reference, subject: Digest) -> Result<Vec<Value>> {
        let url = self.url(cx, reference, &format!("referrers/{subject}"))?;
        let request = Request::get(url).header(header::ACCEPT, HeaderValue::from_static(media::INDEX));
        let response = self.call(cx, reference, &[(reference, Access::Pull)], &request)?;
        if let Some(entries) = list_of(response, reference)? {
            return Ok(entries);
        }
        let tagged = reference
            .with_tag(&referrers_tag(subject))
            .context(|| reference.to_string())?;
        let response = self.get(cx, &tagged)?;
        let bytes = match response.status() {
            StatusCode::OK => response.into_bytes(LONGEST)?,
            StatusCode::NOT_FOUND => return Ok(Vec::new()),
            _ => return Err(refusal(response, reference)),
        };
        let mut list: Value =
            serde_json::from_slice(&bytes).context(|| format!("{reference}: its list of referrers is malformed"))?;
        match list.get_mut("manifests").map(Value::take) {
            Some(Value::Array(entries)) => Ok(entries),
            _ => Err(Error::new(format!("{reference}: its list of referrers is no index"))),
        }
    }

    fn get(&self, cx: &Cx, reference: &Reference) -> Result<Response> {
        let url = self.url(cx, reference, &format!("manifests/{}", reference.target()))?;
        let mut request = Request::get(url);
        for kind in ACCEPT {
            request = request.header(header::ACCEPT, HeaderValue::from_static(kind));
        }
        self.call(cx, reference, &[(reference, Access::Pull)], &request)
    }

    /// A manifest as it is sent, whatever digest that has, and what the registry calls it.
    fn raw(&self, cx: &Cx, reference: &Reference) -> Result<(Vec<u8>, Option<String>)> {
        let mut tries = self.client.tries();
        loop {
            let response = self.get(cx, reference)?;
            if response.status() != StatusCode::OK {
                return Err(refusal(response, reference));
            }
            let kind = response
                .text_header("content-type")
                .map(|kind| kind.split(';').next().unwrap_or(kind).to_owned());
            match response.into_bytes(LONGEST) {
                Ok(bytes) => return Ok((bytes, kind)),
                Err(error) => tries.pause(&self.client, cx, error, None)?,
            }
        }
    }

    fn below(&self, cx: &Cx, reference: &Reference, digest: Digest) -> std::result::Result<Vec<u8>, String> {
        let found = self.raw(cx, &reference.with_digest(digest));
        found.map(|(bytes, _)| bytes).map_err(|error| error.to_string())
    }

    fn part(&self, cx: &Cx, reference: &Reference, part: &Part, whole: &mut Whole) {
        if whole.blobs.contains_key(&part.digest) {
            return;
        }
        let path = whole.dir.path().join(part.digest.hex());
        let fetched = self.fetch_raw(cx, reference, part, &path);
        whole
            .blobs
            .insert(part.digest, fetched.map(|()| path).map_err(|error| error.to_string()));
    }

    /// One byte more than a blob should have is kept, so that it shows.
    fn fetch_raw(&self, cx: &Cx, reference: &Reference, part: &Part, path: &std::path::Path) -> Result<()> {
        if part.size > BLOB {
            return Err(Error::new(format!(
                "it has {} bytes, at most {BLOB} are fetched",
                part.size
            )));
        }
        cx.ui
            .step("Fetching", &format!("{} ({} bytes)", part.digest, part.size));
        let mut tries = self.client.tries();
        loop {
            let url = self.url(cx, reference, &format!("blobs/{}", part.digest))?;
            let response = self.call(cx, reference, &[(reference, Access::Pull)], &Request::get(url))?;
            if response.status() != StatusCode::OK {
                return Err(refusal(response, reference));
            }
            let cannot = || format!("cannot write {}", path.display());
            let mut file = File::create(path).context(cannot)?;
            let copied = std::io::copy(&mut response.into_reader().take(part.size.saturating_add(1)), &mut file);
            match copied {
                Ok(_) => return file.flush().context(cannot),
                Err(error) => tries.pause(&self.client, cx, Error::from(error), None)?,
            }
        }
    }
}
