//! Whether SBOM and provenance are there, and about the image that they are attached to.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::{Report, Rule};
use crate::attest::check::{self, Facts};
use crate::attest::manifest::SPDX_JSON;
use crate::attest::{PROVENANCE, SPDX};
use crate::audit::verdict::{Audited, Verdict};
use crate::oci::claims::Claim;

const ANEW: &str = "it was made for another image, or changed afterwards: `cargo xtask image` and `cargo xtask push` make both together";

/// What one document is about, and whether it is right.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    kinds: BTreeSet<String>,
    /// The verdict in the provenance, if it has one of ours.
    pub verdict: Option<Verdict>,
    /// `externalParameters` of the provenance, if it is one of ours.
    pub asked: Option<Value>,
}

/// Checks one document about an image. `kind` is what its annotation, its media type or its name says it is.
pub fn document(object: &str, kind: &str, bytes: &[u8], claim: &Claim, seen: &mut Seen, report: &mut Report) {
    let before = report.findings.len();
    let layers: Vec<_> = claim.layers.iter().map(|layer| layer.digest).collect();
    let facts = Facts {
        manifest: claim.manifest.digest,
        config: claim.config_digest,
        layers: &layers,
        diff_ids: &claim.diff_ids,
        platform: &claim.said,
        revision: claim
            .label("org.opencontainers.image.revision")
            .filter(|text| !text.is_empty()),
    };
    let value: Value = match serde_json::from_slice(bytes) {
        Ok(value) => value,
        Err(error) => {
            report.find(Rule::Document, object, error.to_string(), "JSON", ANEW);
            return;
        }
    };
    // A document on its own says itself what it is; a statement says it in `predicateType`.
    let (kind, problems) = match (kind, value["predicateType"].as_str()) {
        (SPDX_JSON, _) => (SPDX, check::spdx(&value, &facts)),
        (SPDX, None) if value["spdxVersion"].is_string() => (SPDX, check::spdx(&value, &facts)),
        (SPDX | PROVENANCE, _) => (kind, check::statement(&value, kind, &facts)),
        (_, Some(said)) => (said, check::statement(&value, said, &facts)),
        _ => (kind, Vec::new()),
    };
    for problem in problems {
        report.find(Rule::Subject, object, problem.found, problem.expected, ANEW);
    }
    seen.kinds.insert(kind.to_owned());
    if kind == PROVENANCE && check::ours(&value["predicate"]) {
        seen.verdict = check::verdict(&value["predicate"]).ok();
        seen.asked = Some(value["predicate"]["buildDefinition"]["externalParameters"].clone());
    }
    let packages = match kind {
        SPDX => [&value, &value["predicate"]]
            .into_iter()
            .find_map(|value| value["packages"].as_array()),
        _ => None,
    };
    let found = match packages {
        Some(packages) => format!("{kind}, {} packages", packages.len()),
        None => kind.to_owned(),
    };
    report.look(object, found, before);
}

/// An image of ours has both.
pub fn complete(object: &str, seen: &Seen, report: &mut Report) {
    for (kind, name) in [(SPDX, "SBOM"), (PROVENANCE, "provenance")] {
        if !seen.kinds.contains(kind) {
            report.find(
                Rule::Attested,
                object,
                format!("no {name}"),
                kind,
                "it was taken away, or the image was made before there was one: make and push it again",
            );
        }
    }
}

/// Whether the verdict that was attested is on the very files that are there now.
pub fn verdict(object: &str, verdict: &Verdict, files: &[Audited], report: &mut Report) {
    let key = |path: &str, member: &Option<String>, layer: usize| (layer, path.to_owned(), member.clone());
    let said: BTreeMap<_, &str> = verdict
        .files
        .iter()
        .map(|file| (key(&file.path, &file.member, file.layer), file.digest.as_str()))
        .collect();
    let found: BTreeMap<_, &str> = files
        .iter()
        // A program that is found by its name alone is in the list twice.
        .filter(|file| file.layer > 0)
        .map(|file| (key(&file.path, &file.member, file.layer), file.report.digest.as_str()))
        .collect();
    let hint = "the verdict is on another image: `cargo xtask audit` judges this one";
    for key in said.keys().chain(found.keys()).collect::<BTreeSet<_>>() {
        let (was, is) = (said.get(key), found.get(key));
        if was != is {
            let shown = |digest: Option<&&str>| digest.map_or("not there".to_owned(), |digest| (*digest).to_owned());
            let file = format!("{object}: /{}", key.1);
            report.find(
                Rule::Verdict,
                &file,
                shown(is),
                format!("{}, as was audited", shown(was)),
                hint,
            );
        }
    }
}
