//! SARIF 2.1.0 (OASIS): findings for code hosts and editors.

use serde_json::{Value, json};

use super::report::{Finding, Rule};
use super::verdict::{Audited, Subject, rules_version};

const SCHEMA: &str = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json";

/// One run with all findings. A file without findings is an artifact without a result.
pub fn sarif(subjects: &[Subject]) -> Value {
    let rules: Vec<Value> = Rule::ALL
        .iter()
        .map(|rule| json!({"id": rule.id(), "name": name(*rule), "shortDescription": {"text": rule.title()}}))
        .collect();
    let mut artifacts = Vec::new();
    let mut results = Vec::new();
    for subject in subjects {
        let image = artifacts.len();
        artifacts.push(
            json!({"location": {"uri": uri(&subject.source)}, "description": {"text": subject.platform.to_string()}}),
        );
        for finding in &subject.findings {
            results.push(result(finding, image, &uri(&subject.source), &subject.source, 0));
        }
        for file in &subject.files {
            let index = artifacts.len();
            let place = place(file);
            let mut artifact = json!({
                "location": {"uri": uri(&place)},
                "length": file.report.size,
                "parentIndex": image,
                "roles": ["analysisTarget"],
            });
            if let Some(hex) = file.report.digest.strip_prefix("sha256:") {
                artifact["hashes"] = json!({"sha-256": hex});
            }
            artifacts.push(artifact);
            for finding in &file.report.findings {
                results.push(result(finding, index, &uri(&place), &file.report.file, file.layer));
            }
        }
    }
    json!({
        "$schema": SCHEMA,
        "version": "2.1.0",
        "runs": [{
            "tool": {"driver": {
                "name": "cargo xtask audit",
                "version": env!("CARGO_PKG_VERSION"),
                "semanticVersion": env!("CARGO_PKG_VERSION"),
                "properties": {"rules": rules_version()},
                "rules": rules,
            }},
            "artifacts": artifacts,
            "columnKind": "unicodeCodePoints",
            "results": results,
        }],
    })
}

fn place(file: &Audited) -> String {
    match &file.member {
        Some(member) => format!("{}({member})", file.path),
        None => file.path.clone(),
    }
}

fn result(finding: &Finding, artifact: usize, uri: &str, file: &str, layer: usize) -> Value {
    let index = Rule::ALL.iter().position(|rule| *rule == finding.rule);
    let text = format!(
        "{file}: {}: {}, expected {}. {}",
        finding.rule.title(),
        finding.found,
        finding.expected,
        finding.hint
    );
    json!({
        "ruleId": finding.rule.id(),
        "ruleIndex": index,
        "level": "error",
        "kind": "fail",
        "message": {"text": text},
        "locations": [{"physicalLocation": {"artifactLocation": {"uri": uri, "index": artifact}}}],
        // What a code host recognises a finding by from one run to the next.
        "partialFingerprints": {"finding/v1": format!("{layer}/{uri}/{}/{}", finding.rule.id(), finding.found)},
    })
}

/// `arm.cpu-arch` -> `ArmCpuArch`: SARIF wants names in Pascal case.
fn name(rule: Rule) -> String {
    let word = |word: &str| {
        let mut chars = word.chars();
        let first = chars.next().map(|first| first.to_ascii_uppercase());
        first.into_iter().chain(chars).collect::<String>()
    };
    rule.id().split(['.', '-']).map(word).collect()
}

/// A relative reference (RFC 3986): what is no unreserved character or `/` is escaped, `:` too, which would make a scheme of
/// what is before it.
fn uri(path: &str) -> String {
    let mut out = String::new();
    for byte in path.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' => out.push(char::from(byte)),
            other => out.push_str(&format!("%{other:02X}")),
        }
    }
    out
}
