//! Whether an image that is somewhere is what it says, and what a rebuilt one has differently. Pure: bytes come from a
//! [`stored::Contents`], and everything that is wrong is collected.

pub mod attached;
pub mod compare;
pub mod stored;

use std::fmt;

use serde::{Deserialize, Serialize};

/// What is checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Rule {
    /// A blob that is named is there.
    #[serde(rename = "blob.present")]
    Present,
    /// It has as many bytes as its descriptor says.
    #[serde(rename = "blob.size")]
    Size,
    /// Its content has its digest.
    #[serde(rename = "blob.digest")]
    Digest,
    /// A document is what its media type says, and can be read.
    #[serde(rename = "document")]
    Document,
    /// A layer unpacks to what the configuration says.
    #[serde(rename = "layer.diff-id")]
    DiffId,
    /// Manifest and configuration fit together.
    #[serde(rename = "image.config")]
    Config,
    /// An index has each platform once, and what is no image behind the images.
    #[serde(rename = "index.order")]
    Order,
    /// SBOM and provenance are there.
    #[serde(rename = "attestation.present")]
    Attested,
    /// They are about this image.
    #[serde(rename = "attestation.subject")]
    Subject,
    /// The verdict in the provenance is on these files.
    #[serde(rename = "attestation.verdict")]
    Verdict,
    /// The audit: platforms that agree, and every ELF file.
    #[serde(rename = "audit")]
    Audit,
    /// A build of the labelled revision gives the same image.
    #[serde(rename = "rebuild")]
    Rebuild,
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Rule::Present => "blob.present",
            Rule::Size => "blob.size",
            Rule::Digest => "blob.digest",
            Rule::Document => "document",
            Rule::DiffId => "layer.diff-id",
            Rule::Config => "image.config",
            Rule::Order => "index.order",
            Rule::Attested => "attestation.present",
            Rule::Subject => "attestation.subject",
            Rule::Verdict => "attestation.verdict",
            Rule::Audit => "audit",
            Rule::Rebuild => "rebuild",
        })
    }
}

/// One thing that was looked at: all of it passed, or what did not is among the findings.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Looked {
    /// `manifest sha256:...`, `layer sha256:...`.
    pub object: String,
    /// What was seen: `1234 bytes, unpacks to sha256:...`.
    pub found: String,
    /// Whether nothing was wrong with it.
    pub passed: bool,
}

/// Something that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// Which check.
    pub rule: Rule,
    /// Of what.
    pub object: String,
    /// What is there.
    pub found: String,
    /// What should be.
    pub expected: String,
    /// The next step.
    pub hint: String,
}

/// Everything that was found out about one source.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// As it was named.
    pub source: String,
    /// In the order in which it was looked at.
    pub looked: Vec<Looked>,
    /// All that is wrong.
    pub findings: Vec<Finding>,
}

impl Report {
    /// Nothing is known yet.
    pub fn new(source: String) -> Report {
        Report {
            source,
            ..Report::default()
        }
    }

    /// Adds a finding.
    pub fn find(
        &mut self,
        rule: Rule,
        object: &str,
        found: impl Into<String>,
        expected: impl Into<String>,
        hint: &str,
    ) {
        self.findings.push(Finding {
            rule,
            object: object.to_owned(),
            found: found.into(),
            expected: expected.into(),
            hint: hint.to_owned(),
        });
    }

    /// Notes that something was looked at; it passed when nothing was added since `before` findings.
    pub fn look(&mut self, object: &str, found: impl Into<String>, before: usize) {
        self.looked.push(Looked {
            object: object.to_owned(),
            found: found.into(),
            passed: self.findings.len() == before,
        });
    }

    /// Whether nothing is wrong.
    pub fn passed(&self) -> bool {
        self.findings.is_empty()
    }

    /// For people: a line for each thing, then the findings with their next steps. Text of others is escaped.
    pub fn text(&self) -> String {
        let mut text = format!("{}\n", escape(&self.source));
        for looked in &self.looked {
            let mark = if looked.passed { "ok  " } else { "FAIL" };
            text.push_str(&format!(
                "  {mark}  {}: {}\n",
                escape(&looked.object),
                escape(&looked.found)
            ));
        }
        for finding in &self.findings {
            text.push_str(&format!(
                "{}: {}: {}, expected {}\n",
                finding.rule,
                escape(&finding.object),
                escape(&finding.found),
                escape(&finding.expected)
            ));
            text.push_str(&format!("hint: {}\n", escape(&finding.hint)));
        }
        text.push_str(&match self.findings.len() {
            0 => "nothing is wrong\n".to_owned(),
            1 => "1 finding\n".to_owned(),
            count => format!("{count} findings\n"),
        });
        text
    }
}

/// Control characters as `\n`, `\u{1b}`.
fn escape(text: &str) -> String {
    let escaped = |c: char| match c.is_control() {
        true => c.escape_default().to_string(),
        false => c.to_string(),
    };
    text.chars().map(escaped).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_says_what_was_looked_at_and_all_that_is_wrong() {
        let mut report = Report::new("oci:x".to_owned());
        report.look("index.json", "1 image", 0);
        report.find(Rule::Size, "layer a\u{1b}[2J", "3 bytes", "4", "push it again");
        report.look("layer a", "3 bytes", 0);
        insta::assert_snapshot!(report.text(), @r"
        oci:x
          ok    index.json: 1 image
          FAIL  layer a: 3 bytes
        blob.size: layer a\u{1b}[2J: 3 bytes, expected 4
        hint: push it again
        1 finding
        ");
        assert_eq!(serde_json::to_value(Rule::DiffId).unwrap(), Rule::DiffId.to_string());
    }
}
