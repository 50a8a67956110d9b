//! Where a base image of the user's own lies: the value of `--base-image`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::reference::ReferenceError;

/// An image, or a root file system, that somebody else made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Location {
    /// `oci:PATH`: an image layout.
    OciLayout(String),
    /// `docker-archive:PATH`: what `docker save` wrote.
    DockerArchive(String),
    /// `docker://REFERENCE`: an image of a registry.
    Registry(String),
    /// A path: a tar of a root file system, plain or compressed.
    RootFileSystem(String),
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Location::OciLayout(path) => write!(f, "oci:{path}"),
            Location::DockerArchive(path) => write!(f, "docker-archive:{path}"),
            Location::Registry(reference) => write!(f, "docker://{reference}"),
            Location::RootFileSystem(path) => f.write_str(path),
        }
    }
}

impl FromStr for Location {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let some = |path: &str| match path.is_empty() || path.contains('\0') {
            true => Err(ReferenceError::Path(text.to_owned())),
            false => Ok(path.to_owned()),
        };
        if let Some(reference) = text.strip_prefix("docker://") {
            return some(reference).map(Location::Registry);
        }
        match text.split_once(':') {
            Some(("oci", path)) => some(path).map(Location::OciLayout),
            Some(("docker-archive", path)) => some(path).map(Location::DockerArchive),
            // A word and a colon are a scheme that is not known, or a typing error; a path can begin with `./`.
            Some((scheme, _)) if scheme.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') => {
                Err(ReferenceError::BaseImage(text.to_owned()))
            }
            _ => some(text).map(Location::RootFileSystem),
        }
    }
}

impl TryFrom<String> for Location {
    type Error = ReferenceError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Location> for String {
    fn from(location: Location) -> String {
        location.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn locations_round_trip_and_typing_errors_are_told() {
        for (text, wanted) in [
            ("oci:a/b", Location::OciLayout("a/b".into())),
            ("docker-archive:a:b.tar", Location::DockerArchive("a:b.tar".into())),
            ("docker://me/a@sha256:0", Location::Registry("me/a@sha256:0".into())),
            (
                "a b/rootfs.tar.xz",
                Location::RootFileSystem("a b/rootfs.tar.xz".into()),
            ),
            ("./odd:name.tar", Location::RootFileSystem("./odd:name.tar".into())),
        ] {
            let location: Location = text.parse().unwrap();
            assert_eq!(location, wanted);
            assert_eq!(location.to_string(), text);
        }
        for wrong in [
            "",
            "oci:",
            "docker://",
            "ocí:x\0",
            "docker:me/a",
            "https://x/rootfs.tar",
        ] {
            assert!(wrong.parse::<Location>().is_err(), "{wrong}");
        }
        let error = "docker-daemon:x".parse::<Location>().unwrap_err().to_string();
        assert!(error.contains("docker-archive:PATH"), "{error}");
    }
}
