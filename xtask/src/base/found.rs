//! What a source of a base is asked for, and what it gives.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::oci::image::Package;
use crate::oci::layer::Layer;

/// One thing that a base is made of, pinned: a package, a source package, an archive file, an image.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Input {
    /// What its source calls it: `libc6`, `alpine-minirootfs`, `docker.io/library/alpine`.
    pub name: String,
    /// Its version: `2.41-12+deb13u4`, `3.24.2`, a tag.
    pub version: String,
    /// The distribution's word: `armel`, `all`, `source`.
    pub architecture: String,
    /// Which of several archives has it (`main`, `security`), for sources that have more than one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub archive: Option<String>,
    /// Where it lies at its source: a path below the archive's URL, a file name.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub file: String,
    /// `sha256:` or `sha512:` and hex, as the source's signed or pinned index says it.
    pub digest: String,
    /// Bytes.
    pub size: u64,
}

/// Which versions a source shall give.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Want<'a> {
    /// Those that it gave last, as the cache remembers; else the newest. For what is not locked.
    Last,
    /// The newest: the source is asked again.
    Newest,
    /// These and no others. A source that no longer has one of them fails, and says which version it has instead.
    Locked(&'a [Input]),
}

/// A base as one source gave it.
#[derive(Clone, Debug)]
pub struct Found {
    /// Layers, lowest first. Those that somebody else made are untouched.
    pub layers: Vec<Layer>,
    /// The whole configuration JSON: `{"config": {"Env": [...]}}`.
    pub config: Value,
    /// For people, and for the label `xtask.base`: `Debian trixie armel, 9 packages`. It says plainly whose binaries these are.
    pub origin: String,
    /// What is in it, sorted by name.
    pub packages: Vec<Package>,
    /// The package of each file and link.
    pub owners: BTreeMap<String, String>,
    /// Upstream version of its glibc (`2.41`), if it has one.
    pub glibc: Option<String>,
    /// All that it was made of, sorted: [`Want::Locked`] with these gives the same layers, on any machine.
    pub inputs: Vec<Input>,
    /// The day (`2026-09-12`, UTC) of which these inputs are, as the source says: of a signed release, a release file, an
    /// image. Not the day of the run.
    pub date: String,
}
