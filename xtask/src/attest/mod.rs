//! What is said of an image besides the image: what it is made of (SPDX), and how it was made (SLSA provenance).
//!
//! [`Run`] has the facts of a run, [`attest()`] makes the two documents of them, and [`manifest`] puts these where tools look
//! for them. No clock and no chance is in any of it: the same run gives the same bytes.
//!
//! SPDX and not CycloneDX, because it is what BuildKit's own scanner writes and what `docker buildx imagetools inspect` and
//! Docker Scout read from an index; syft, grype and Trivy read both. What is in the image stands in the SBOM. What only took
//! part in making it (procedural macros, build scripts, compilers) stands in the provenance: a scanner of the SBOM would
//! otherwise report what nobody gets.

pub mod bundled;
pub mod check;
pub mod crates;
pub mod manifest;
pub mod packages;
mod provenance;
pub mod purl;
mod spdx;

use serde_json::{Value, json};

use crate::audit::verdict::Verdict;
use crate::oci::image::{Image, Package};
use crate::oci::{ImageName, canonical_json};
use crates::Crates;
use packages::Distribution;

/// `_type` of every statement.
pub const STATEMENT: &str = "https://in-toto.io/Statement/v1";
/// Predicate type of an SPDX document, as BuildKit names it.
pub const SPDX: &str = "https://spdx.dev/Document";
/// Predicate type of the provenance.
pub const PROVENANCE: &str = "https://slsa.dev/provenance/v1";
/// `buildType` of the provenance; docs/attestations.md says what its parameters mean.
pub const BUILD_TYPE: &str = "urn:xtask:image:v1";

/// Something that took part in a build, by name and digest.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Material {
    /// What its source calls it: `libc6`.
    pub name: String,
    /// Its version; empty where it has none.
    pub version: String,
    /// The distribution's word for the architecture; empty where it has none.
    pub architecture: String,
    /// `sha256:` or `sha512:` and hex.
    pub digest: String,
}

/// What the user asked for, as far as it decides the image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// `scratch`, `debian`.
    pub base: String,
    /// `linux/arm/v6`.
    pub platform: String,
    /// Packages on top of the base's own (`--with`).
    pub with: Vec<String>,
    /// `--base-image`, by the kind of place alone: a path of this machine is nobody's business.
    pub base_image: Option<String>,
    /// `auto`, `prebuilt` or `source`.
    pub std: String,
    /// cargo's package.
    pub package: String,
    /// Its program.
    pub binary: String,
    /// cargo's profile.
    pub profile: String,
    /// SOURCE_DATE_EPOCH.
    pub source_date_epoch: u64,
    /// `host`.
    pub builder: String,
    /// `system`, or `own` for a library of the user's; `None` for the source that the crate carries.
    pub sqlite: Option<String>,
}

/// The source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// Version of the workspace.
    pub version: String,
    /// Git commit, with `-dirty` behind it when files differed from it; `None` outside git.
    pub revision: Option<String>,
    /// `repository` of the package's manifest.
    pub repository: Option<String>,
}

/// The base.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Base {
    /// For people: `Debian trixie armel, 9 packages`.
    pub origin: String,
    /// Its packages.
    pub packages: Vec<Package>,
    /// What its os-release and its package manager say.
    pub distribution: Distribution,
    /// What it was made of.
    pub inputs: Vec<Material>,
    /// Packages whose libraries the program loads when it starts.
    pub loaded: Vec<String>,
}

/// A tool that is pinned by the digests of its wheels, one for each kind of host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wheel {
    /// Its name on the package index.
    pub name: String,
    /// Its version.
    pub version: String,
    /// SHA-256 in hex of those that are accepted.
    pub sha256: Vec<String>,
}

/// The tool chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tools {
    /// `rustc 1.95.0 (59807616e 2026-04-14)`.
    pub rustc: String,
    /// `prebuilt` or `source`.
    pub std: String,
    /// zig, and what is between it and rustc.
    pub wheels: Vec<Wheel>,
}

/// All that is known of how an image was made.
#[derive(Clone, Copy, Debug)]
pub struct Run<'a> {
    /// Its name.
    pub name: &'a ImageName,
    /// The image.
    pub image: &'a Image,
    /// What was asked for.
    pub asked: &'a Asked,
    /// Of which source.
    pub source: &'a Source,
    /// On which base.
    pub base: &'a Base,
    /// With which tools.
    pub tools: &'a Tools,
    /// What the program is made of.
    pub crates: &'a Crates,
    /// What the audit said.
    pub verdict: &'a Verdict,
}

/// The documents of one image, as bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attestation {
    /// The SPDX document, as it is given to a scanner.
    pub spdx: Vec<u8>,
    /// The in-toto statement with the provenance.
    pub provenance: Vec<u8>,
}

/// Makes both documents.
pub fn attest(run: &Run<'_>) -> Attestation {
    let provenance = provenance::predicate(run);
    let subject = purl::image(run.name, run.image);
    Attestation {
        spdx: canonical_json(&spdx::document(run)),
        provenance: canonical_json(&statement(&subject, &hex(run.image), PROVENANCE, provenance)),
    }
}

impl Attestation {
    /// The in-toto statements, with their predicate types: the SBOM first.
    ///
    /// # Errors
    ///
    /// When the SPDX document is not one of [`attest()`]: the statement needs the image that it describes.
    pub fn statements(&self) -> Result<[(&'static str, Vec<u8>); 2], String> {
        let document: Value = serde_json::from_slice(&self.spdx).map_err(|error| error.to_string())?;
        let (name, digest) = check::described(&document).ok_or("it describes no image by its digest")?;
        let spdx = canonical_json(&statement(&name, &digest, SPDX, document));
        Ok([(SPDX, spdx), (PROVENANCE, self.provenance.clone())])
    }
}

/// An in-toto statement about the manifest with this SHA-256.
fn statement(name: &str, sha256: &str, kind: &str, predicate: Value) -> Value {
    json!({
        "_type": STATEMENT,
        "subject": [{"name": name, "digest": {"sha256": sha256}}],
        "predicateType": kind,
        "predicate": predicate,
    })
}

fn hex(image: &Image) -> String {
    image.manifest().digest().hex()
}
