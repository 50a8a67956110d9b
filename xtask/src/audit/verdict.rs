//! The result of looking through a whole image, tree or file: for machines as JSON, for people as one line a file, and as
//! the record that stays with an image.

use std::collections::BTreeSet;
use std::sync::OnceLock;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::report::{Check, Depth, Finding, Outcome, Report, escape};
use crate::target::Platform;

macro_rules! rules {
    ($($path:literal,)*) => {
        /// Everything that decides a verdict, so that one that is kept can be told from one that would be made now: path from this
        /// directory, and text. A test says which file is missing.
        pub const RULES: &[(&str, &str)] = &[$(($path, include_str!($path)),)*];
    };
}

rules! {
    "accuse.rs",
    "checks.rs",
    "code.rs",
    "glibc.rs",
    "mod.rs",
    "packages.rs",
    "parts.rs",
    "report.rs",
    "sarif.rs",
    "verdict.rs",
    "waive.rs",
    "../culprit/graph.rs",
    "../culprit/guard.rs",
    "../culprit/list.rs",
    "../culprit/map.rs",
    "../culprit/mod.rs",
    "../culprit/name.rs",
    "../culprit/origin.rs",
    "../culprit/reach.rs",
    "../culprit/unwind.rs",
    "../../machine-code/src/elf/arm.rs",
    "../../machine-code/src/elf/code.rs",
    "../../machine-code/src/elf/dynamic.rs",
    "../../machine-code/src/elf/mod.rs",
    "../../machine-code/src/elf/object_file.rs",
    "../../machine-code/src/elf/sections.rs",
    "../../machine-code/src/elf/segments.rs",
    "../../machine-code/src/elf/strip.rs",
    "../../machine-code/src/isa/mod.rs",
    "../../machine-code/src/isa/decode/arm.rs",
    "../../machine-code/src/isa/decode/feature.rs",
    "../../machine-code/src/isa/decode/mod.rs",
    "../../machine-code/src/isa/decode/row.rs",
    "../../machine-code/src/isa/decode/thumb.rs",
    "../../machine-code/src/isa/decode/unconditional.rs",
    "../../machine-code/src/isa/decode/vfp.rs",
    "../../machine-code/src/isa/walk/flow.rs",
    "../../machine-code/src/isa/walk/gaps.rs",
    "../../machine-code/src/isa/walk/judge.rs",
    "../../machine-code/src/isa/walk/jumps.rs",
    "../../machine-code/src/isa/walk/mod.rs",
    "../../machine-code/src/isa/walk/registers.rs",
    "../../machine-code/src/isa/walk/step.rs",
    "../target.rs",
}

/// Names the rules of this program: 16 hex digits of the SHA-256 of the source that makes them, and of `Cargo.lock`, because
/// libraries read the files.
pub fn rules_version() -> &'static str {
    static VERSION: OnceLock<String> = OnceLock::new();
    VERSION.get_or_init(|| {
        let mut hash = Sha256::new();
        for text in RULES
            .iter()
            .map(|(_, text)| *text)
            .chain([include_str!("../../../Cargo.lock")])
        {
            hash.update((text.len() as u64).to_le_bytes());
            hash.update(text.as_bytes());
        }
        let hex: String = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        hex[..16].to_owned()
    })
}

/// One ELF file, or one member of an archive, where it was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Audited {
    /// Path inside the image or tree, without the first `/`.
    pub path: String,
    /// The member of an `ar` archive.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub member: Option<String>,
    /// The layer, counted from 1; 0 where there are no layers.
    pub layer: usize,
    /// The later layer that hides or removes it. An engine pulls it all the same, and a container does not see it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hidden_by: Option<usize>,
    /// Package and version, by the image's own records.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub package: Option<String>,
    /// Whether it is what the image starts.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub program: bool,
    /// What was checked.
    pub report: Report,
}

/// All that was looked at under one name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subject {
    /// What was named: `docker-daemon:blog:1`, `rootfs.tar`.
    pub source: String,
    /// The image's name, when it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Digest of the manifest; `None` for what is no image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub manifest: Option<String>,
    /// What it was held against.
    pub platform: Platform,
    /// Layers, lowest first, by digest.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub layers: Vec<String>,
    /// What was checked of the image as a whole.
    pub checks: Vec<Check>,
    /// What is wrong with the image as a whole.
    pub findings: Vec<Finding>,
    /// Every ELF file.
    pub files: Vec<Audited>,
}

impl Subject {
    /// An image or tree of which nothing is known yet.
    pub fn new(source: String, platform: Platform) -> Subject {
        Subject {
            source,
            name: None,
            manifest: None,
            platform,
            layers: Vec::new(),
            checks: Vec::new(),
            findings: Vec::new(),
            files: Vec::new(),
        }
    }

    /// Adds a check of the whole, with its finding when it failed.
    pub fn check(&mut self, passed: bool, rule: super::Rule, found: String, expected: &str, hint: &str) {
        if !passed {
            self.findings.push(Finding {
                rule,
                found: found.clone(),
                expected: expected.to_owned(),
                hint: hint.to_owned(),
            });
        }
        self.checks.push(Check {
            rule,
            outcome: if passed { Outcome::Passed } else { Outcome::Failed },
            found,
            expected: Some(expected.to_owned()),
            waived: None,
        });
    }

    /// Findings of the whole and of all files.
    pub fn count(&self) -> usize {
        self.findings.len() + self.files.iter().map(|file| file.report.findings.len()).sum::<usize>()
    }

    /// Whether nothing was found.
    pub fn passed(&self) -> bool {
        self.count() == 0
    }

    /// For people: one line for what is clean, all there is to say of what is not.
    pub fn text(&self) -> String {
        let mut text = escape(&self.source);
        if let Some(name) = &self.name {
            text.push_str(&format!(": {}", escape(name)));
        }
        text.push_str(&format!(": {}", self.platform));
        if let Some(manifest) = &self.manifest {
            text.push_str(&format!(", {manifest}"));
        }
        text.push('\n');
        for check in &self.checks {
            let mark = match check.outcome {
                Outcome::Passed => "ok  ",
                Outcome::Failed => "FAIL",
                Outcome::Noted => "-   ",
                Outcome::Waived => "wvd ",
            };
            text.push_str(&format!("  {mark}  {}: {}", check.rule.title(), escape(&check.found)));
            if let (Outcome::Failed, Some(expected)) = (check.outcome, &check.expected) {
                text.push_str(&format!(", expected {}", escape(expected)));
            }
            text.push('\n');
        }
        for file in self.files.iter().filter(|file| file.report.passed()) {
            text.push_str(&file.line());
        }
        for file in self.files.iter().filter(|file| !file.report.passed()) {
            text.push_str(&format!("\n{}", file.line()));
            text.push_str(&file.report.text());
        }
        for finding in &self.findings {
            let (found, expected) = (escape(&finding.found), escape(&finding.expected));
            text.push_str(&format!(
                "{}: {}: {found}, expected {expected}\n",
                finding.rule,
                finding.rule.title()
            ));
            text.push_str(&format!("hint: {}\n", escape(&finding.hint)));
        }
        text.push_str(&self.summary());
        text
    }

    /// `3 files, 1 finding in 1 of them (headers and build attributes; ...)`.
    fn summary(&self) -> String {
        let plural = |count: usize, word: &str| format!("{count} {word}{}", if count == 1 { "" } else { "s" });
        let found = match self.count() {
            0 => "no findings".to_owned(),
            count => plural(count, "finding"),
        };
        let waived = self
            .files
            .iter()
            .flat_map(|file| &file.report.checks)
            .filter(|check| check.outcome == Outcome::Waived);
        let mut text = format!("{}, {found}", plural(self.files.len(), "ELF file"));
        match waived.count() {
            0 => {}
            count => text.push_str(&format!(", {count} waived")),
        }
        let hidden = self.files.iter().filter(|file| file.hidden_by.is_some()).count();
        if hidden > 0 {
            text.push_str(&format!(", {hidden} hidden by later layers"));
        }
        let depths: BTreeSet<String> = self.files.iter().map(|file| file.report.depth.to_string()).collect();
        if !depths.is_empty() {
            text.push_str(&format!(" ({})", depths.into_iter().collect::<Vec<_>>().join("; ")));
        }
        text.push('\n');
        text
    }

    /// The record that stays with an image.
    pub fn verdict(&self) -> Verdict {
        let file = |file: &Audited| {
            let waived = |check: &&Check| check.outcome == Outcome::Waived;
            let waiver = |check: &Check| Waived {
                rule: check.rule.id().to_owned(),
                found: check.found.clone(),
                reason: check.waived.clone().unwrap_or_default(),
            };
            FileVerdict {
                path: file.path.clone(),
                member: file.member.clone(),
                layer: file.layer,
                hidden_by: file.hidden_by,
                package: file.package.clone(),
                program: file.program,
                digest: file.report.digest.clone(),
                size: file.report.size,
                depth: file.report.depth,
                checks: file.report.checks.len(),
                findings: file.report.findings.len(),
                waived: file.report.checks.iter().filter(waived).map(waiver).collect(),
            }
        };
        Verdict {
            tool: concat!("xtask ", env!("CARGO_PKG_VERSION")).to_owned(),
            rules: rules_version().to_owned(),
            platform: self.platform,
            layers: self.layers.clone(),
            findings: self.count(),
            files: self.files.iter().map(file).collect(),
        }
    }
}

impl Audited {
    /// `  ok    usr/lib/libc.so.6  layer 1, libc6 2.41-12, 2 waived`.
    fn line(&self) -> String {
        let mark = if self.report.passed() { "ok  " } else { "FAIL" };
        let mut facts = Vec::new();
        if self.layer > 0 {
            facts.push(format!("layer {}", self.layer));
        }
        if let Some(layer) = self.hidden_by {
            facts.push(format!("hidden by layer {layer}"));
        }
        if let Some(package) = &self.package {
            facts.push(escape(package));
        }
        if self.program {
            facts.push(match &self.report.triple {
                Some(triple) => format!("what the image starts ({triple})"),
                None => "what the image starts".to_owned(),
            });
        }
        let waived = self
            .report
            .checks
            .iter()
            .filter(|check| check.outcome == Outcome::Waived)
            .count();
        if waived > 0 {
            facts.push(format!("{waived} waived"));
        }
        format!("  {mark}  {}  {}", escape(&self.report.file), facts.join(", "))
            .trim_end()
            .to_owned()
            + "\n"
    }
}

/// What is kept beside an image: small, the same for the same image and rules, without a clock.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdict {
    /// Program and version.
    pub tool: String,
    /// [`rules_version`].
    pub rules: String,
    /// What the image was held against.
    pub platform: Platform,
    /// Layers, lowest first, by digest.
    pub layers: Vec<String>,
    /// Findings; 0 for an image that was written.
    pub findings: usize,
    /// Every ELF file, in the order of layers and paths.
    pub files: Vec<FileVerdict>,
}

/// One file of a [`Verdict`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileVerdict {
    /// Path inside the image.
    pub path: String,
    /// Member of an archive.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub member: Option<String>,
    /// The layer, counted from 1.
    pub layer: usize,
    /// The later layer that hides it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hidden_by: Option<usize>,
    /// Its package.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub package: Option<String>,
    /// Whether it is what the image starts.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub program: bool,
    /// `sha256:` of its bytes.
    pub digest: String,
    /// Bytes.
    pub size: u64,
    /// How deep it was looked into.
    pub depth: Depth,
    /// How many checks were made.
    pub checks: usize,
    /// How many failed.
    pub findings: usize,
    /// Which waivers were needed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub waived: Vec<Waived>,
}

/// A waiver that was needed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Waived {
    /// Identifier of the rule.
    pub rule: String,
    /// What was found.
    pub found: String,
    /// Why it is harmless, as the policy says.
    pub reason: String,
}
