//! What the audit checks of an ELF: pure, from bytes and an expectation to a report.
//!
//! Fail closed: what cannot be read, is not known or is not said is a finding. All findings are collected, so that one run
//! shows all there is to repair. A [`Binary`] exists only for bytes without findings.

pub mod accuse;
mod checks;
pub mod code;
mod glibc;
pub mod packages;
pub mod parts;
mod report;
pub mod sarif;
pub mod verdict;
pub mod waive;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::culprit::list::Culprit;
use crate::elf::strip::{Keep, same_code, strip};
use crate::target::{FloatAbi, Platform, Target};
use accuse::CodePolicy;
use checks::{Checks, Origin};
use code::Code;

pub use report::{Check, Depth, Finding, Outcome, Report, Rule};

/// What a program must be in order to go into an image.
#[derive(Clone, Debug)]
pub struct Expectation {
    /// Name of the file in the report.
    pub file: String,
    /// The platform of the image.
    pub platform: Platform,
    /// The row of the target that was compiled for.
    pub target: &'static Target,
    /// Libraries that the base has: names of `DT_NEEDED`, in which `*` stands for any characters except `/`.
    pub needed_allowed: Vec<String>,
    /// Version of the base's glibc: `2.41`, or the version of the package (`2.41-12+deb13u1`). `None` when it has none.
    pub glibc: Option<String>,
    /// Findings that the policy explains away for this target.
    pub waivers: Vec<Waiver>,
}

/// A finding that is known to be harmless: `[[audit.waivers]]` of xtask.toml.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Waiver {
    /// Identifier of the rule: `arm.simd`.
    pub rule: String,
    /// What the file has, exactly as the report words it.
    pub found: String,
    /// Why it is harmless.
    pub reason: String,
}

/// A program that passed the audit, with the very bytes that were audited.
#[derive(Debug)]
pub struct Binary {
    bytes: Vec<u8>,
    report: Report,
}

impl Binary {
    /// The audited bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// What was checked; without findings.
    pub fn report(&self) -> &Report {
        &self.report
    }

    /// `sha256:` and the digest of the bytes in hexadecimal.
    pub fn digest(&self) -> &str {
        &self.report.digest
    }
}

impl Binary {
    /// Who brought what: how it got into the program can be filled in later, since cargo has to be asked for that.
    pub fn culprits_mut(&mut self) -> &mut [Culprit] {
        &mut self.report.culprits
    }

    /// The program of a report that was kept: the linked program's shipped bytes are those in which the same rules found nothing.
    /// `None` when the report is of another program, or has findings.
    pub fn remembered(linked: &[u8], report: Report) -> Option<Binary> {
        let audited = report.audited.as_ref()?;
        if !report.passed() || digest_of(linked) != *audited {
            return None;
        }
        let bytes = strip(linked, Keep::Nothing).ok()?;
        (digest_of(&bytes) == report.digest).then_some(Binary { bytes, report })
    }

    /// The same program without names, as it is shipped: every loaded byte is shown to be the same as in what was audited.
    /// The report is of the shipped bytes then, and says what was audited.
    ///
    /// # Errors
    ///
    /// The report with one finding more, when names cannot be taken away or something else went with them.
    pub fn stripped(self) -> Result<Binary, Box<Report>> {
        let shipped = strip(&self.bytes, Keep::Nothing);
        let same = shipped
            .as_ref()
            .map_err(Clone::clone)
            .and_then(|shipped| same_code(&self.bytes, shipped));
        let mut report = self.report;
        let (passed, found) = match &same {
            Ok(true) => (true, "every loaded byte is that of what was audited".to_owned()),
            Ok(false) => (false, "other loaded bytes than what was audited".to_owned()),
            Err(error) => (false, error.to_string()),
        };
        let (rule, expected) = (Rule::SameCode, "the same code without names");
        if !passed {
            report.findings.push(Finding {
                rule,
                found: found.clone(),
                expected: expected.to_owned(),
                hint: "the file is laid out as no linker known here does it".to_owned(),
            });
        }
        report.checks.push(Check {
            rule,
            outcome: if passed { Outcome::Passed } else { Outcome::Failed },
            found,
            expected: Some(expected.to_owned()),
            waived: None,
        });
        match shipped {
            Ok(bytes) if passed => {
                report.audited = Some(std::mem::replace(&mut report.digest, digest_of(&bytes)));
                report.size = bytes.len() as u64;
                Ok(Binary { bytes, report })
            }
            _ => Err(Box::new(report)),
        }
    }
}

fn digest_of(bytes: &[u8]) -> String {
    let hex: String = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}")
}

/// Audits a program that is to go into an image. The error is the report with all findings.
pub fn audit(bytes: Vec<u8>, expectation: &Expectation) -> Result<Binary, Box<Report>> {
    audit_with(bytes, expectation, &CodePolicy::default())
}

/// The same, with what is known of the program's code and what the policy says to it.
pub fn audit_with(bytes: Vec<u8>, expectation: &Expectation, policy: &CodePolicy) -> Result<Binary, Box<Report>> {
    let mut checks = Checks::new(expectation.platform, Origin::Compiled);
    let (mut code, mut culprits) = (None, Vec::new());
    if let Some(elf) = checks.readable(&bytes) {
        checks.target(expectation.target);
        checks.identity(&elf);
        checks.program(&elf);
        checks.arm(&elf, expectation.target.float_abi);
        checks.linking(&elf, expectation);
        checks.hardening(&elf);
        code = checks.code(&bytes, &elf);
        culprits = code
            .as_ref()
            .map_or_else(Vec::new, |code| checks.accuse(&bytes, code, policy));
    }
    checks.waive(&expectation.waivers);
    let triple = Some(expectation.target.triple.to_owned());
    let report = conclude(
        &bytes,
        &expectation.file,
        expectation.platform,
        triple,
        checks,
        code,
        culprits,
    );
    if report.findings.is_empty() {
        Ok(Binary { bytes, report })
    } else {
        Err(Box::new(report))
    }
}

/// Looks at any ELF file of a base image: program, shared library or object file. Only whether the platform can execute it
/// is checked, not how it is linked. `float_abi` is that of the base; with `None` either will do on 32-bit ARM, as long as
/// flags and attributes agree. `waivers` are those of the policy for this file.
pub fn inspect(
    bytes: &[u8],
    file: &str,
    platform: Platform,
    float_abi: Option<FloatAbi>,
    waivers: &[Waiver],
) -> Report {
    inspect_with(bytes, file, platform, float_abi, waivers, &CodePolicy::default())
}

/// The same, with what is known of the file's code and what the policy says to it.
pub fn inspect_with(
    bytes: &[u8],
    file: &str,
    platform: Platform,
    float_abi: Option<FloatAbi>,
    waivers: &[Waiver],
    policy: &CodePolicy,
) -> Report {
    judge(bytes, file, platform, float_abi, Origin::Base, waivers, policy)
}

/// The same for a file of which nothing is known.
pub fn inspect_file(bytes: &[u8], file: &str, platform: Platform) -> Report {
    inspect_file_with(bytes, file, platform, &CodePolicy::default())
}

/// The same, with what is known of the file's code and what the policy says to it.
pub fn inspect_file_with(bytes: &[u8], file: &str, platform: Platform, policy: &CodePolicy) -> Report {
    judge(bytes, file, platform, None, Origin::Given, &[], policy)
}

/// A member of a static library that is to be linked: the float ABI has to fit as well.
pub fn inspect_member(
    bytes: &[u8],
    file: &str,
    platform: Platform,
    float_abi: Option<FloatAbi>,
    policy: &CodePolicy,
) -> Report {
    judge(bytes, file, platform, float_abi, Origin::Given, &[], policy)
}

fn judge(
    bytes: &[u8],
    file: &str,
    platform: Platform,
    float_abi: Option<FloatAbi>,
    origin: Origin,
    waivers: &[Waiver],
    policy: &CodePolicy,
) -> Report {
    let mut checks = Checks::new(platform, origin);
    let (mut code, mut culprits) = (None, Vec::new());
    if let Some(elf) = checks.readable(bytes) {
        checks.identity(&elf);
        checks.arm(&elf, float_abi);
        code = checks.code(bytes, &elf);
        culprits = code
            .as_ref()
            .map_or_else(Vec::new, |code| checks.accuse(bytes, code, policy));
    }
    checks.waive(waivers);
    conclude(bytes, file, platform, None, checks, code, culprits)
}

fn conclude(
    bytes: &[u8],
    file: &str,
    platform: Platform,
    triple: Option<String>,
    checks: Checks,
    code: Option<Code>,
    culprits: Vec<Culprit>,
) -> Report {
    let (checks, findings) = checks.finish();
    Report {
        file: file.to_owned(),
        size: bytes.len() as u64,
        digest: digest_of(bytes),
        audited: None,
        platform,
        triple,
        depth: if code.is_some() {
            Depth::Instructions
        } else {
            Depth::Tags
        },
        checks,
        findings,
        code,
        culprits,
    }
}
