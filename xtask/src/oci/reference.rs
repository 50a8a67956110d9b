//! Names of images and the places that they are published to.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::Digest;

mod registry;

pub use registry::{HUB, Reference};

/// `NAME:TAG` in Docker's grammar (distribution/reference), without a digest.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ImageName {
    name: String,
    tag: String,
}

/// Why a text is not what it should be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReferenceError {
    /// A bad repository name.
    #[error(
        "`{0}` is not an image name: expected lower-case letters, digits and single `.`, `_`, `-` inside, parts separated by `/`"
    )]
    Name(String),
    /// A bad tag.
    #[error("`{0}` is not a tag: expected at most 128 letters, digits, `_`, `.` and `-`, not starting with `.` or `-`")]
    Tag(String),
    /// A digest where a tag belongs.
    #[error("`{0}` names a digest: an image that is being made has none yet; write NAME:TAG")]
    HasDigest(String),
    /// What follows `@` is no digest that is understood.
    #[error("`{0}` names no digest after the `@`: expected `sha256:` and 64 lower-case hex digits")]
    Digest(String),
    /// A destination without a known scheme.
    #[error(
        "unknown destination `{0}`: expected oci:PATH, docker-archive:PATH, docker-daemon:NAME[:TAG] or docker://REFERENCE"
    )]
    Scheme(String),
    /// A base image of a kind that is not known.
    #[error(
        "unknown base image `{0}`: expected oci:PATH, docker-archive:PATH, docker://REFERENCE, or the path of a root file \
         system's tar (./NAME if it has a colon)"
    )]
    BaseImage(String),
    /// A destination without a path.
    #[error("`{0}` needs a path after the colon")]
    Path(String),
}

impl ImageName {
    /// Checks both against Docker's grammar.
    pub fn new(name: &str, tag: &str) -> Result<Self, ReferenceError> {
        let mut parts: Vec<&str> = name.split('/').collect();
        // The first part is a host when it has a dot, a port or is localhost (distribution/reference, splitDockerDomain).
        let host = parts.len() > 1 && is_host(parts[0]);
        if host && !valid_host(parts.remove(0)) {
            return Err(ReferenceError::Name(name.to_owned()));
        }
        if name.len() > 255 || !parts.iter().all(|part| valid_component(part)) {
            return Err(ReferenceError::Name(name.to_owned()));
        }
        if !valid_tag(tag) {
            return Err(ReferenceError::Tag(tag.to_owned()));
        }
        Ok(ImageName {
            name: name.to_owned(),
            tag: tag.to_owned(),
        })
    }

    /// The repository: `blog`, `ghcr.io/me/blog`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The tag.
    pub fn tag(&self) -> &str {
        &self.tag
    }

    /// With host and namespace, as containerd wants it: `docker.io/library/blog:latest`.
    pub fn canonical(&self) -> String {
        match self.name.split_once('/') {
            Some((host, _)) if is_host(host) => self.to_string(),
            Some(_) => format!("docker.io/{self}"),
            None => format!("docker.io/library/{self}"),
        }
    }
}

/// `[\w][\w.-]{0,127}`
fn valid_tag(tag: &str) -> bool {
    let word = |byte: u8| byte == b'_' || byte.is_ascii_alphanumeric();
    let bytes = tag.as_bytes();
    (1..=128).contains(&tag.len())
        && word(bytes[0])
        && bytes.iter().all(|&byte| word(byte) || byte == b'.' || byte == b'-')
}

/// Whether a text could be a tag.
pub fn is_tag(text: &str) -> bool {
    valid_tag(text)
}

fn is_host(part: &str) -> bool {
    part == "localhost" || part.contains(['.', ':'])
}

fn valid_host(host: &str) -> bool {
    let (host, port) = host.split_once(':').unwrap_or((host, "0"));
    let label = |label: &str| {
        !label.is_empty()
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|byte| byte == b'-' || byte.is_ascii_alphanumeric())
    };
    !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()) && host.split('.').all(label)
}

/// `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*`
fn valid_component(part: &str) -> bool {
    let plain = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = part.as_bytes();
    let ends = bytes.first().is_some_and(plain) && bytes.last().is_some_and(plain);
    ends && bytes
        .split(plain)
        .all(|between| matches!(between, b"" | b"." | b"_" | b"__") || between.iter().all(|&byte| byte == b'-'))
}

impl fmt::Display for ImageName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.name, self.tag)
    }
}

impl FromStr for ImageName {
    type Err = ReferenceError;

    /// Without a tag it is `latest`, as everywhere in Docker.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.contains('@') {
            return Err(ReferenceError::HasDigest(text.to_owned()));
        }
        match text.rsplit_once(':') {
            Some((name, tag)) if !tag.contains('/') => ImageName::new(name, tag),
            _ => ImageName::new(text, "latest"),
        }
    }
}

impl TryFrom<String> for ImageName {
    type Error = ReferenceError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<ImageName> for String {
    fn from(name: ImageName) -> String {
        name.to_string()
    }
}

/// Where images go. One flag that says it all, so that flags cannot contradict each other.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Destination {
    /// `oci:PATH`: a directory with an OCI image layout, new or added to.
    OciLayout(String),
    /// `docker-archive:PATH`: one file for `docker load`, any engine from 20.10 on.
    DockerArchive(String),
    /// `docker-daemon:NAME[:TAG]`: loaded into a running engine.
    DockerDaemon(ImageName),
    /// `docker://[REGISTRY/]REPOSITORY[:TAG]`: pushed.
    Registry(Reference),
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Destination::OciLayout(path) => write!(f, "oci:{path}"),
            Destination::DockerArchive(path) => write!(f, "docker-archive:{path}"),
            Destination::DockerDaemon(name) => write!(f, "docker-daemon:{name}"),
            Destination::Registry(reference) => write!(f, "docker://{reference}"),
        }
    }
}

impl FromStr for Destination {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let path = |path: &str| match path.is_empty() || path.contains('\0') {
            true => Err(ReferenceError::Path(text.to_owned())),
            false => Ok(path.to_owned()),
        };
        match text.split_once(':') {
            Some(("oci", rest)) => path(rest).map(Destination::OciLayout),
            Some(("docker-archive", rest)) => path(rest).map(Destination::DockerArchive),
            Some(("docker-daemon", rest)) => rest.parse().map(Destination::DockerDaemon),
            Some(("docker", rest)) if rest.starts_with("//") => {
                let reference: Reference = rest[2..].parse()?;
                match reference.digest() {
                    Some(_) => Err(ReferenceError::HasDigest(text.to_owned())),
                    None => Ok(Destination::Registry(reference)),
                }
            }
            _ => Err(ReferenceError::Scheme(text.to_owned())),
        }
    }
}

impl TryFrom<String> for Destination {
    type Error = ReferenceError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Destination> for String {
    fn from(destination: Destination) -> String {
        destination.to_string()
    }
}

/// What publishing returns: a name that cannot move, `blog@sha256:...`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DigestReference {
    /// The repository, without a tag.
    pub name: String,
    /// The manifest or index.
    pub digest: Digest,
}

impl fmt::Display for DigestReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.name, self.digest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_dockers_grammar() {
        for (text, canonical) in [
            ("blog", "docker.io/library/blog:latest"),
            ("me/blog:1.0-armv6", "docker.io/me/blog:1.0-armv6"),
            ("localhost:5000/a/b_c:x", "localhost:5000/a/b_c:x"),
            ("ghcr.io/me/b--c", "ghcr.io/me/b--c:latest"),
            ("localhost/a", "localhost/a:latest"),
        ] {
            assert_eq!(text.parse::<ImageName>().unwrap().canonical(), canonical);
        }
        for wrong in [
            "",
            ":",
            "Blog",
            "a//b",
            "a/",
            "/a",
            "a:",
            "a:-x",
            "a:b c",
            "-a",
            "a-",
            "a..b",
            "a___b",
            "a._b",
            "a:b:c/d:",
            "a@sha256:00",
            "a b",
            "ü",
            "host.:x/a",
            "a:tag/b",
            "-h.de/a",
        ] {
            assert!(wrong.parse::<ImageName>().is_err(), "{wrong}");
        }
        assert!(ImageName::new(&"a".repeat(256), "t").is_err());
        assert!(ImageName::new("a", &"t".repeat(129)).is_err());
    }

    #[test]
    fn destinations_round_trip_and_errors_list_the_known() {
        for text in [
            "oci:target/images",
            "docker-archive:a b:c.tar",
            "docker-daemon:blog:1",
            "docker://localhost:5000/me/blog:1",
        ] {
            assert_eq!(text.parse::<Destination>().unwrap().to_string(), text);
        }
        let error = |text: &str| text.parse::<Destination>().unwrap_err().to_string();
        assert!(error("docker:me/blog").contains("expected oci:PATH, docker-archive:PATH, docker-daemon:NAME"));
        let digest = Digest::of(b"");
        assert!(error(&format!("docker://me/blog@{digest}")).contains("has none yet"));
        assert!(error("docker://Me/blog!").contains("not an image name"));
        assert!(error("images").contains("unknown destination `images`"));
        assert!(error("oci:").contains("needs a path"));
        assert!(error("docker-daemon:").contains("not an image name"));
        assert!(error("docker-daemon:Blog").contains("`Blog` is not an image name"));
    }
}
