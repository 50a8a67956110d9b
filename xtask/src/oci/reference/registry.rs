//! References to images in registries, read as Docker reads them (distribution/reference, normalize.go).

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::{ReferenceError, valid_component, valid_host, valid_tag};
use crate::oci::Digest;

/// Docker Hub's name in references.
pub const HUB: &str = "docker.io";

/// `[REGISTRY/]REPOSITORY[:TAG][@DIGEST]` with everything that Docker leaves out put in: `alpine` is
/// `docker.io/library/alpine:latest`. With tag and digest, the digest counts and the tag is for people.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Reference {
    registry: String,
    repository: String,
    tag: Option<String>,
    digest: Option<Digest>,
}

impl Reference {
    /// Host, with port if one was given: `docker.io`, `localhost:5000`.
    pub fn registry(&self) -> &str {
        &self.registry
    }

    /// Path in the registry: `library/alpine`.
    pub fn repository(&self) -> &str {
        &self.repository
    }

    /// The tag, if one was given or, without a digest, `latest`.
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// The digest, if one was given.
    pub fn digest(&self) -> Option<Digest> {
        self.digest
    }

    /// What a registry is asked for: the digest, else the tag.
    pub fn target(&self) -> String {
        match (&self.digest, &self.tag) {
            (Some(digest), _) => digest.to_string(),
            (None, tag) => tag.clone().unwrap_or_else(|| "latest".to_owned()),
        }
    }

    /// The same repository and tag, pinned.
    #[must_use]
    pub fn with_digest(&self, digest: Digest) -> Self {
        Reference {
            digest: Some(digest),
            ..self.clone()
        }
    }

    /// The same repository under another tag.
    pub fn with_tag(&self, tag: &str) -> Result<Self, ReferenceError> {
        if !valid_tag(tag) {
            return Err(ReferenceError::Tag(tag.to_owned()));
        }
        Ok(Reference {
            tag: Some(tag.to_owned()),
            digest: None,
            ..self.clone()
        })
    }

    /// Registry and repository: `docker.io/library/alpine`.
    pub fn name(&self) -> String {
        format!("{}/{}", self.registry, self.repository)
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.registry, self.repository)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        if let Some(digest) = &self.digest {
            write!(f, "@{digest}")?;
        }
        Ok(())
    }
}

impl FromStr for Reference {
    type Err = ReferenceError;

    /// `docker://` in front is allowed, as other tools write it.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || ReferenceError::Name(text.to_owned());
        let rest = text.strip_prefix("docker://").unwrap_or(text);
        let (rest, digest) = match rest.split_once('@') {
            Some((rest, digest)) => {
                let digest = digest.parse().map_err(|_| ReferenceError::Digest(text.to_owned()))?;
                (rest, Some(digest))
            }
            None => (rest, None),
        };
        let (name, tag) = match rest.rsplit_once(':') {
            // A colon before a slash belongs to a port.
            Some((name, tag)) if !tag.contains('/') => (name, Some(tag)),
            _ => (rest, None),
        };
        if let Some(tag) = tag
            && !valid_tag(tag)
        {
            return Err(ReferenceError::Tag(tag.to_owned()));
        }
        // splitDockerDomain: a first part with a dot, a colon or a capital, or `localhost`, is a host.
        let host = |part: &str| {
            part == "localhost" || part.contains(['.', ':']) || part.bytes().any(|byte| byte.is_ascii_uppercase())
        };
        let (registry, path) = match name.split_once('/') {
            Some((first, path)) if host(first) => (first, path),
            _ => (HUB, name),
        };
        let registry = if registry == "index.docker.io" { HUB } else { registry };
        let path = match registry == HUB && !path.contains('/') {
            true => format!("library/{path}"),
            false => path.to_owned(),
        };
        // Without a registry, 64 hex digits would be an image ID.
        let id =
            !name.contains('/') && name.len() == 64 && name.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        let long = registry.len() + 1 + path.len() > 255;
        if id || long || !valid_authority(registry) || !path.split('/').all(valid_component) {
            return Err(wrong());
        }
        let tag = match (tag, digest) {
            (None, None) => Some("latest".to_owned()),
            (tag, _) => tag.map(str::to_owned),
        };
        Ok(Reference {
            registry: registry.to_owned(),
            repository: path,
            tag,
            digest,
        })
    }
}

/// A host, also an IPv6 address in brackets, with a port that exists.
fn valid_authority(text: &str) -> bool {
    let port = |port: &str| port.parse::<u16>().is_ok_and(|number| number > 0);
    if let Some(rest) = text.strip_prefix('[') {
        let Some((address, after)) = rest.split_once(']') else {
            return false;
        };
        let address = address.len() > 1 && address.bytes().all(|byte| byte == b':' || byte.is_ascii_hexdigit());
        return address && (after.is_empty() || after.strip_prefix(':').is_some_and(port));
    }
    valid_host(text) && text.split_once(':').is_none_or(|(_, number)| port(number))
}

impl TryFrom<String> for Reference {
    type Error = ReferenceError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Reference> for String {
    fn from(reference: Reference) -> String {
        reference.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn references_are_completed_as_docker_does_it() {
        for (text, full) in [
            ("alpine", "docker.io/library/alpine:latest".to_owned()),
            ("alpine:3.22", "docker.io/library/alpine:3.22".to_owned()),
            ("docker://alpine", "docker.io/library/alpine:latest".to_owned()),
            ("me/blog", "docker.io/me/blog:latest".to_owned()),
            ("docker.io/alpine", "docker.io/library/alpine:latest".to_owned()),
            (
                "index.docker.io/library/alpine",
                "docker.io/library/alpine:latest".to_owned(),
            ),
            ("localhost/a", "localhost/a:latest".to_owned()),
            ("localhost:5000/a/b:c", "localhost:5000/a/b:c".to_owned()),
            ("[::1]:5000/a", "[::1]:5000/a:latest".to_owned()),
            ("ghcr.io/Me/x", String::new()),
            ("Host/a", "Host/a:latest".to_owned()),
            ("a__b/c--d/e.f", "docker.io/a__b/c--d/e.f:latest".to_owned()),
            (
                &format!("alpine@{DIGEST}"),
                format!("docker.io/library/alpine@{DIGEST}"),
            ),
            (
                &format!("alpine:3@{DIGEST}"),
                format!("docker.io/library/alpine:3@{DIGEST}"),
            ),
        ] {
            let parsed = text.parse::<Reference>();
            match full.is_empty() {
                true => assert!(parsed.is_err(), "{text}"),
                false => {
                    let parsed = parsed.unwrap();
                    assert_eq!(parsed.to_string(), full, "{text}");
                    assert_eq!(full.parse::<Reference>().unwrap(), parsed);
                }
            }
        }
    }

    #[test]
    fn what_docker_refuses_is_refused() {
        for wrong in [
            "",
            ":",
            "@",
            "/a",
            "a/",
            "a//b",
            "Alpine",
            "a:",
            "a:-x",
            "a b",
            "a:b:c",
            "a@b",
            "a@sha256:00",
            "a..b",
            "a___b",
            "-a",
            "a-",
            "host:0/a",
            "host:99999/a",
            "host:/a",
            "host:x/a",
            "[::1/a",
            "[::1]x/a",
            "[]/a",
            "ü",
            "docker://",
            "https://host/a",
            "a.b",
            "../a",
        ] {
            let parsed = wrong.parse::<Reference>();
            // `a.b` alone is a repository of the Hub.
            assert_eq!(parsed.is_ok(), wrong == "a.b", "{wrong}: {parsed:?}");
        }
        assert!(
            "a".repeat(64).parse::<Reference>().is_err(),
            "an image ID is no reference"
        );
        assert!(
            "a".repeat(237).parse::<Reference>().is_ok(),
            "docker.io/library/ and 237 are 255"
        );
        assert!("a".repeat(238).parse::<Reference>().is_err());
        assert!(format!("a:{}", "t".repeat(129)).parse::<Reference>().is_err());
        let sha512 = format!("alpine@sha512:{}", "0".repeat(128))
            .parse::<Reference>()
            .unwrap_err();
        assert!(sha512.to_string().contains("sha256"), "{sha512}");
    }

    #[test]
    fn a_digest_counts_more_than_a_tag() {
        let reference: Reference = "alpine:3".parse().unwrap();
        assert_eq!(reference.target(), "3");
        let pinned = reference.with_digest(DIGEST.parse().unwrap());
        assert_eq!(pinned.target(), DIGEST);
        assert_eq!(pinned.tag(), Some("3"));
        assert_eq!(pinned.with_tag("4").unwrap().to_string(), "docker.io/library/alpine:4");
        assert!(pinned.with_tag("a b").is_err());
    }
}
