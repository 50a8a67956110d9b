//! Whether documents are about the image that they lie with. They are read as anybody's: nothing in them is believed.

use base64::Engine;
use serde_json::Value;

use super::{PROVENANCE, SPDX, STATEMENT};
use crate::audit::verdict::Verdict;
use crate::oci::Digest;

/// Name of the by-product that is the verdict of the audit.
pub const AUDIT: &str = "audit.json";

/// What the image itself says.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// Digest of the manifest.
    pub manifest: Digest,
    /// Digest of the configuration.
    pub config: Digest,
    /// Digests of the layers, lowest first.
    pub layers: &'a [Digest],
    /// Their diff_ids.
    pub diff_ids: &'a [Digest],
    /// The platform of the configuration, in words.
    pub platform: &'a str,
    /// The label `org.opencontainers.image.revision`.
    pub revision: Option<&'a str>,
}

/// Something that a document says and the image does not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// What the document has.
    pub found: String,
    /// What it should have.
    pub expected: String,
}

fn problem(found: impl Into<String>, expected: impl Into<String>) -> Problem {
    Problem {
        found: found.into(),
        expected: expected.into(),
    }
}

/// Name and SHA-256 of the image that an SPDX document describes.
pub fn described(document: &Value) -> Option<(String, String)> {
    let relationships = document["relationships"].as_array()?;
    let describes = |relationship: &&Value| {
        relationship["relationshipType"] == "DESCRIBES" && relationship["spdxElementId"] == document["SPDXID"]
    };
    let target = &relationships.iter().find(describes)?["relatedSpdxElement"];
    let packages = document["packages"].as_array()?;
    let package = packages.iter().find(|package| package["SPDXID"] == *target)?;
    let checksums = package["checksums"].as_array()?;
    let sha256 = checksums.iter().find(|checksum| checksum["algorithm"] == "SHA256")?;
    let name = package["externalRefs"][0]["referenceLocator"].as_str();
    let name = name.or_else(|| package["name"].as_str())?;
    Some((name.to_owned(), sha256["checksumValue"].as_str()?.to_owned()))
}

/// What is wrong with an SPDX document about this image.
pub fn spdx(document: &Value, facts: &Facts<'_>) -> Vec<Problem> {
    let mut problems = Vec::new();
    let version = document["spdxVersion"].as_str().unwrap_or_default();
    if !version.starts_with("SPDX-2.") {
        problems.push(problem(format!("spdxVersion is `{version}`"), "an SPDX 2 document"));
    }
    let wanted = facts.manifest.hex();
    match described(document) {
        Some((_, digest)) if digest == wanted => {}
        Some((_, digest)) => problems.push(problem(
            format!("it describes sha256:{digest}"),
            format!("sha256:{wanted}"),
        )),
        None => problems.push(problem(
            "it describes no image by its digest",
            format!("sha256:{wanted}"),
        )),
    }
    problems
}

/// What is wrong with a statement about this image. `kind` is what its annotation says it is.
pub fn statement(statement: &Value, kind: &str, facts: &Facts<'_>) -> Vec<Problem> {
    let mut problems = Vec::new();
    let text = |key: &str| statement[key].as_str().unwrap_or_default();
    if text("_type") != STATEMENT && text("_type") != "https://in-toto.io/Statement/v0.1" {
        problems.push(problem(format!("_type is `{}`", text("_type")), STATEMENT));
    }
    if text("predicateType") != kind {
        problems.push(problem(format!("predicateType is `{}`", text("predicateType")), kind));
    }
    let wanted = facts.manifest.hex();
    let subjects: Vec<&str> = statement["subject"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|subject| subject["digest"]["sha256"].as_str())
        .collect();
    if !subjects.contains(&wanted.as_str()) {
        let found = match subjects[..] {
            [] => "its subject has no digest".to_owned(),
            _ => format!("its subject is sha256:{}", subjects.join(", sha256:")),
        };
        problems.push(problem(found, format!("sha256:{wanted}")));
    }
    let predicate = &statement["predicate"];
    problems.extend(match kind {
        SPDX => spdx(predicate, facts),
        PROVENANCE => provenance(predicate, facts),
        _ => Vec::new(),
    });
    problems
}

/// What is wrong with the provenance. One of another builder has other by-products, of which nothing is asked.
fn provenance(predicate: &Value, facts: &Facts<'_>) -> Vec<Problem> {
    let mut problems = Vec::new();
    let definition = &predicate["buildDefinition"];
    if !definition["buildType"].is_string() || !predicate["runDetails"]["builder"]["id"].is_string() {
        problems.push(problem("it lacks buildType or builder.id", "SLSA provenance v1"));
    }
    if !ours(predicate) {
        return problems;
    }
    let asked = &definition["externalParameters"];
    let platform = asked["platform"].as_str().unwrap_or_default();
    if platform != facts.platform {
        problems.push(problem(
            format!("it was made for {platform}"),
            format!("what the configuration says: {}", facts.platform),
        ));
    }
    let revision = asked["source"]["revision"].as_str();
    if revision.unwrap_or_default() != facts.revision.unwrap_or_default() {
        problems.push(problem(
            format!("it is of revision {}", revision.unwrap_or("unknown")),
            format!("the label of the image: {}", facts.revision.unwrap_or("none")),
        ));
    }
    let products = |prefix: &str| -> Vec<&Value> {
        let all = predicate["runDetails"]["byproducts"].as_array();
        let named = |value: &&Value| value["name"].as_str().is_some_and(|name| name.starts_with(prefix));
        all.into_iter().flatten().filter(named).collect()
    };
    let sha256 = |value: &Value| format!("sha256:{}", value["digest"]["sha256"].as_str().unwrap_or_default());
    let list = |digests: &[Digest]| digests.iter().map(Digest::to_string).collect::<Vec<_>>().join(", ");
    let checks = [
        (
            "config",
            products("config").into_iter().map(sha256).collect::<Vec<_>>(),
            facts.config.to_string(),
        ),
        (
            "layers",
            products("layer ").into_iter().map(sha256).collect(),
            list(facts.layers),
        ),
        (
            "diff_ids",
            products("layer ")
                .into_iter()
                .map(|value| value["annotations"]["diffId"].as_str().unwrap_or_default().to_owned())
                .collect(),
            list(facts.diff_ids),
        ),
    ];
    for (what, found, expected) in checks {
        let found = found.join(", ");
        if found != expected {
            problems.push(problem(format!("its {what}: {found}"), expected));
        }
    }
    match verdict(predicate) {
        Ok(verdict) if verdict.findings > 0 => {
            problems.push(problem(format!("the audit had {} findings", verdict.findings), "none"));
        }
        Ok(_) => {}
        Err(reason) => problems.push(problem(format!("{AUDIT}: {reason}"), "the verdict of the audit")),
    }
    problems
}

/// Whether a provenance is one of this product.
pub fn ours(predicate: &Value) -> bool {
    predicate["buildDefinition"]["buildType"] == super::BUILD_TYPE
}

/// The verdict of the audit in a provenance of ours.
///
/// # Errors
///
/// When it is not there, or not what its own digest says.
pub fn verdict(predicate: &Value) -> Result<Verdict, String> {
    let all = predicate["runDetails"]["byproducts"].as_array();
    let found = all.into_iter().flatten().find(|value| value["name"] == AUDIT);
    let found = found.ok_or("it is not among the by-products")?;
    let content = found["content"].as_str().ok_or("it has no content")?;
    let bytes = base64::engine::general_purpose::STANDARD
        .decode(content)
        .map_err(|error| error.to_string())?;
    let (is, says) = (Digest::of(&bytes).hex(), found["digest"]["sha256"].as_str());
    if says != Some(&is) {
        return Err(format!("its content is sha256:{is}, its digest says otherwise"));
    }
    serde_json::from_slice(&bytes).map_err(|error| error.to_string())
}
