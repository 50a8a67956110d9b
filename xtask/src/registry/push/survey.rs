//! What a push would do, before the first byte: asked with HEADs alone, which no registry counts as pulls.

use serde::Serialize;

use super::{Access, Content, Push, accepting, short};
use crate::error::Result;
use crate::http::Request;
use crate::oci::image::Blob;
use crate::oci::reference::HUB;
use crate::oci::{Digest, Reference};

/// The repository whose HEAD tells how many pulls are left on Docker Hub (docs.docker.com, "Pull usage and limits").
const PREVIEW: &str = "docker.io/ratelimitpreview/test:latest";

/// What would be done with a blob or a document.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Action {
    /// Nothing: it is there.
    Present,
    /// It is mounted from this repository.
    Mount(String),
    /// An upload of an earlier process goes on at this byte.
    Resume(u64),
    /// It is uploaded.
    Upload,
}

/// A blob or a document, and what would be done with it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Planned {
    /// What it is.
    pub label: String,
    /// Its digest.
    pub digest: Digest,
    /// All its bytes.
    pub size: u64,
    /// What would be done.
    pub action: Action,
    /// Bytes that would be sent.
    pub send: u64,
    /// Requests that it would take.
    pub requests: u64,
}

/// Pulls that a registry allows, and how many are left.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Quota {
    /// In one window.
    pub limit: u64,
    /// Left now.
    pub remaining: u64,
    /// Seconds of a window.
    pub window: u64,
}

impl Planned {
    /// One line: `upload   app layer of linux/arm/v6 sha256:... 887.9 kB, 4 requests`.
    pub fn line(&self) -> String {
        let action = match &self.action {
            Action::Present => "exists".to_owned(),
            Action::Mount(_) => "mount".to_owned(),
            Action::Resume(_) => "resume".to_owned(),
            Action::Upload => "upload".to_owned(),
        };
        let more = match &self.action {
            Action::Mount(from) => format!(" from {from}"),
            Action::Resume(at) => format!(" from byte {at}"),
            _ => String::new(),
        };
        let (size, send) = (crate::ui::bytes(self.size), crate::ui::bytes(self.send));
        let requests = match self.requests {
            1 => "1 request".to_owned(),
            count => format!("{count} requests"),
        };
        let (label, digest) = (&self.label, short(self.digest));
        format!("{action:<7} {label} {digest} ({size}){more}: {send} to send, {requests}")
    }
}

impl Push<'_> {
    /// What would be done with blobs.
    pub fn survey(&self, contents: &[Content]) -> Result<Vec<Planned>> {
        contents.iter().map(|content| self.survey_blob(content)).collect()
    }

    pub(super) fn survey_blob(&self, content: &Content) -> Result<Planned> {
        let (size, chunk) = (content.size(), self.chunk as u64);
        let patches = |bytes: u64| if size > chunk { bytes.div_ceil(chunk) } else { 0 };
        let journal = self.journal.as_ref().filter(|_| size > chunk);
        let begun = journal.and_then(|journal| journal.get(self.to, content.digest(), size));
        let begun = begun.filter(|entry| entry.acknowledged > 0);
        let (action, send, requests) = if self.has(self.to, content)? {
            (Action::Present, 0, 1)
        } else if let Some(entry) = begun {
            let rest = size - entry.acknowledged;
            // HEAD, how far it is, the rest, the end, HEAD.
            (Action::Resume(entry.acknowledged), rest, 4 + patches(rest))
        } else {
            let from = self.mountable(content);
            match from.filter(|from| self.has(from, content).unwrap_or(false)) {
                Some(from) => (Action::Mount(from.name()), 0, 2),
                // HEAD, POST, the pieces, PUT, HEAD.
                None => (Action::Upload, size, 4 + patches(size)),
            }
        };
        Ok(Planned {
            label: content.label().to_owned(),
            digest: content.digest(),
            size,
            action,
            send,
            requests,
        })
    }

    /// What would be done with a document by digest; `reads` is how many requests read back what belongs to it.
    pub fn survey_document(&self, document: &Blob, label: &str, reads: u64) -> Result<Planned> {
        let size = document.bytes().len() as u64;
        let there = self.named(&self.to.with_digest(document.digest()))? == Some(document.digest());
        let (action, send, requests) = match there {
            true => (Action::Present, 0, 1),
            false => (Action::Upload, size, 2 + reads),
        };
        Ok(Planned {
            label: label.to_owned(),
            digest: document.digest(),
            size,
            action,
            send,
            requests,
        })
    }

    /// How many pulls are left, where the registry tells: Docker Hub by a repository that is there for the question, others, if
    /// they do, in any answer. A HEAD is no pull.
    pub fn quota(&self) -> Result<Option<Quota>> {
        let asked: Reference = match self.to.registry() {
            HUB => PREVIEW.parse()?,
            _ => self.to.clone(),
        };
        let url = self
            .registry
            .url(self.cx, &asked, &format!("manifests/{}", asked.target()))?;
        let request = accepting(Request::head(url));
        let response = self
            .registry
            .call(self.cx, &asked, &[(&asked, Access::Pull)], &request)?;
        let header = |name: &str| response.text_header(name);
        Ok(quota(header("ratelimit-limit"), header("ratelimit-remaining")))
    }
}

/// `100;w=21600` and `76;w=21600`.
fn quota(limit: Option<&str>, remaining: Option<&str>) -> Option<Quota> {
    let read = |text: &str| {
        let mut parts = text.split(';').map(str::trim);
        let count: u64 = parts.next()?.parse().ok()?;
        let window = parts.find_map(|part| part.strip_prefix("w=")?.parse().ok());
        Some((count, window.unwrap_or(0)))
    };
    let ((limit, window), (remaining, _)) = (read(limit?)?, read(remaining?)?);
    Some(Quota {
        limit,
        remaining,
        window,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_quota_is_read_where_it_is_told() {
        let told = quota(Some("100;w=21600"), Some("76;w=21600")).unwrap();
        assert_eq!((told.limit, told.remaining, told.window), (100, 76, 21600));
        assert_eq!(quota(Some("200"), Some("1")).unwrap().window, 0);
        for (limit, remaining) in [
            (None, None),
            (Some("100"), None),
            (Some("many"), Some("1")),
            (Some(""), Some("")),
        ] {
            assert_eq!(quota(limit, remaining), None);
        }
    }
}
