//! `cargo xtask verify`: whether an image is what it says, wherever it lies, and whether its source still makes it.

mod contents;
mod rebuild;

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Serialize;

use crate::attest::PROVENANCE;
use crate::attest::manifest::{IN_TOTO, SPDX_JSON};
use crate::audit::verdict::Subject;
use crate::cli::VerifyArgs;
use crate::cx::Cx;
use crate::error::{Context, Error, Result};
use crate::oci::claims::Claim;
use crate::oci::layout::Descriptor;
use crate::oci::{Digest, Reference};
use crate::policy::Policy;
use crate::publish::attestations;
use crate::registry::Registry;
use crate::source::{self, Opened, Source, Store};
use crate::target::Platform;
use crate::verb::audit::image::{self, How, TRIPLE};
use crate::verb::{Outcome, audit, place, policy};
use crate::verify::attached::{Seen, complete, document, verdict};
use crate::verify::stored::{About, Found, check, referrer};
use crate::verify::{Report, Rule};
use contents::Read;
use rebuild::Rebuilt;

/// All that was found out about one source.
#[derive(Debug, Serialize)]
struct Verified {
    /// What was looked at, and what is wrong.
    #[serde(flatten)]
    report: Report,
    /// The audit of each image.
    audits: Vec<Subject>,
    /// What became of a rebuild of each, with `--rebuild`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    rebuilt: Vec<Rebuilt>,
}

/// An opened source, and where documents about its images are besides its index.
struct Place {
    store: Store,
    beside: Beside,
}

enum Beside {
    /// Files in a directory.
    Directory(PathBuf),
    /// Referrers in a registry.
    Referrers(BTreeMap<Digest, Vec<Descriptor>>),
    /// An engine keeps images and nothing about them.
    Nothing,
}

/// Prints what was found; exit code 1 when something is wrong.
///
/// # Errors
///
/// When a source cannot be opened, or an image cannot be rebuilt by anybody.
pub fn run(cx: &Cx, args: &VerifyArgs) -> Result<Outcome> {
    let policy = policy(cx)?;
    let mut inputs = args.inputs.clone();
    if inputs.is_empty() {
        inputs = audit::built(cx);
        if inputs.is_empty() {
            return Err(Error::new("there is no image in target/images to verify")
                .hint("make one: `cargo xtask image`, or name one: `cargo xtask verify NAME:TAG`"));
        }
    }
    let sources = inputs.iter().map(|input| meant(input)).collect::<Result<Vec<_>>>()?;
    let verified = sources
        .iter()
        .map(|source| one(cx, args, &policy, source))
        .collect::<Result<Vec<_>>>()?;
    if args.json {
        cx.ui.result(&serde_json::to_string_pretty(&verified)?);
    } else {
        let texts: Vec<String> = verified
            .iter()
            .map(|verified| verified.report.text().trim_end().to_owned())
            .collect();
        cx.ui.result(&texts.join("\n\n"));
    }
    Ok(match verified.iter().all(|verified| verified.report.passed()) {
        true => Outcome::Fine,
        false => Outcome::Findings,
    })
}

/// What an argument names: a source with its scheme, else an image of a registry.
fn meant(text: &str) -> Result<Source> {
    let schemes = ["oci:", "docker-archive:", "docker-daemon:", "docker://"];
    if schemes.iter().any(|scheme| text.starts_with(scheme)) {
        return text.parse().map_err(Error::new);
    }
    let hint = format!(
        "expected NAME[:TAG] or NAME@DIGEST of a registry, or {}",
        source::SCHEMES
    );
    if std::path::Path::new(text).exists() {
        return Err(
            Error::new(format!("{text} is a path, and its kind is not said")).hint(format!(
                "a layout is named oci:{text}, an archive docker-archive:{text}"
            )),
        );
    }
    let reference: Reference = text
        .parse()
        .map_err(|error: crate::oci::reference::ReferenceError| Error::new(error.to_string()))
        .hint(&hint)?;
    Ok(Source::Registry(reference))
}

fn open(cx: &Cx, source: &Source) -> Result<Place> {
    if let Source::Registry(reference) = source {
        let whole = Registry::from_environment().whole(cx, reference, &[SPDX_JSON, IN_TOTO])?;
        let descriptors = |list: &Vec<serde_json::Value>| {
            list.iter()
                .filter_map(|entry| serde_json::from_value(entry.clone()).ok())
                .collect()
        };
        let referrers = whole
            .referrers
            .iter()
            .map(|(image, list)| (*image, descriptors(list)))
            .collect();
        return Ok(Place {
            store: Store::whole(whole, source.to_string()),
            beside: Beside::Referrers(referrers),
        });
    }
    let beside = match source {
        Source::OciLayout(path) => Beside::Directory(place(cx, path).join(attestations::DIRECTORY)),
        Source::DockerArchive(path) => Beside::Directory(attestations::beside(&place(cx, path))),
        _ => Beside::Nothing,
    };
    match source::open(cx, source, Platform::ArmV6, &|path| place(cx, path))? {
        Opened::Images(store) => Ok(Place { store, beside }),
        Opened::Rootfs(_) | Opened::File(_) => {
            Err(Error::new(format!("{source} is no image")).hint("`cargo xtask audit` looks into trees and files"))
        }
    }
}

fn one(cx: &Cx, args: &VerifyArgs, policy: &Policy, source: &Source) -> Result<Verified> {
    cx.ui.step("Verifying", &source.to_string());
    let Place { store, beside } = open(cx, source)?;
    let mut report = Report::new(source.to_string());
    let stored = check(&Read(&store), &mut report);
    if stored.images.is_empty() && report.passed() {
        return Err(Error::new(format!("there is no image in {source}")).hint("make one: `cargo xtask image`"));
    }
    let mut verified = Verified {
        report,
        audits: Vec::new(),
        rebuilt: Vec::new(),
    };
    for found in &stored.images {
        let seen = attested(cx, found, &stored.about, &store, &beside, &mut verified.report)?;
        audited(cx, args, policy, source, &store, found, &seen, &mut verified)?;
        if args.rebuild {
            rebuilt(cx, &store, found, &seen, &mut verified)?;
        }
    }
    Ok(verified)
}

/// A name for messages.
fn titled(claim: &Claim) -> String {
    format!("image {} ({})", claim.manifest.digest, claim.said)
}

/// Everything that is said about one image.
fn attested(
    cx: &Cx,
    found: &Found,
    about: &[About],
    store: &Store,
    beside: &Beside,
    report: &mut Report,
) -> Result<Seen> {
    let claim = &found.claim;
    let image = claim.manifest.digest;
    let mut seen = Seen::default();
    for about in about.iter().filter(|about| about.subject == image) {
        for (kind, bytes) in &about.statements {
            document(
                &format!("{}, {kind}", about.object),
                kind,
                bytes,
                claim,
                &mut seen,
                report,
            );
        }
    }
    match beside {
        Beside::Directory(dir) => {
            let found = attestations::read(dir, image)?;
            for (name, kind, bytes) in [
                ("SBOM", SPDX_JSON, found.spdx),
                ("provenance", PROVENANCE, found.provenance),
            ] {
                if let Some(bytes) = bytes {
                    document(&format!("{name} of {image}"), kind, &bytes, claim, &mut seen, report);
                }
            }
        }
        Beside::Referrers(lists) => {
            for descriptor in lists.get(&image).into_iter().flatten() {
                if let Some(about) = referrer(&Read(store), descriptor, image, report) {
                    for (kind, bytes) in &about.statements {
                        document(
                            &format!("{}, {kind}", about.object),
                            kind,
                            bytes,
                            claim,
                            &mut seen,
                            report,
                        );
                    }
                }
            }
        }
        Beside::Nothing => {
            if claim.label(TRIPLE).is_some() {
                cx.ui
                    .note("an engine keeps neither SBOM nor provenance, so neither was asked for");
            }
            return Ok(seen);
        }
    }
    if claim.label(TRIPLE).is_some() {
        complete(&titled(claim), &seen, report);
    }
    Ok(seen)
}

/// The audit of one image, and whether the verdict that was attested is on the same files.
#[allow(clippy::too_many_arguments)]
fn audited(
    cx: &Cx,
    args: &VerifyArgs,
    policy: &Policy,
    source: &Source,
    store: &Store,
    found: &Found,
    seen: &Seen,
    verified: &mut Verified,
) -> Result<()> {
    let claim = &found.claim;
    let title = titled(claim);
    if !found.whole {
        // What is damaged is among the findings; of the rest nothing can be said.
        verified.report.look(
            &format!("audit of {title}"),
            "not made: the image is damaged",
            usize::MAX,
        );
        return Ok(());
    }
    let Some(platform) = claim.platform else {
        cx.ui.warn(&format!(
            "{source}: not audited: {title} is for no platform that this product knows"
        ));
        return Ok(());
    };
    let how = How {
        policy,
        strict: args.strict,
        jobs: std::thread::available_parallelism().map_or(1, usize::from),
        memory: None,
    };
    let subject = image::image(cx, store, &source.to_string(), claim, platform, &how)?;
    let report = &mut verified.report;
    let before = report.findings.len();
    for finding in &subject.findings {
        let found = format!("{}: {}", finding.rule.title(), finding.found);
        report.find(Rule::Audit, &title, found, finding.expected.as_str(), &finding.hint);
    }
    for file in &subject.files {
        for finding in &file.report.findings {
            let found = format!("{}: {}", finding.rule.title(), finding.found);
            let object = format!("{title}: /{}", file.path);
            report.find(Rule::Audit, &object, found, finding.expected.as_str(), &finding.hint);
        }
    }
    if let Some(attested) = &seen.verdict {
        verdict(&title, attested, &subject.files, report);
    }
    report.look(
        &format!("audit of {title}"),
        format!("{} ELF files", subject.files.len()),
        before,
    );
    verified.audits.push(subject);
    Ok(())
}

fn rebuilt(cx: &Cx, store: &Store, found: &Found, seen: &Seen, verified: &mut Verified) -> Result<()> {
    let title = titled(&found.claim);
    if !found.whole {
        verified.report.look(
            &format!("rebuild of {title}"),
            "not made: the image is damaged",
            usize::MAX,
        );
        return Ok(());
    }
    let rebuilt =
        rebuild::rebuild(cx, store, &found.claim, seen.asked.as_ref()).context(|| format!("cannot rebuild {title}"))?;
    let report = &mut verified.report;
    let before = report.findings.len();
    if let Some(difference) = &rebuilt.difference {
        report.find(
            Rule::Rebuild,
            &format!("{title}: {}", difference.place),
            format!("{}: {}", difference.field, difference.found),
            format!("{}, as a build of {} has it", difference.rebuilt, rebuilt.revision),
            "the image is not what this revision makes: was it changed afterwards, or made with another tool chain (the labels \
             xtask.rustc, xtask.zig and xtask.base say with which)?",
        );
    }
    report.look(
        &format!("rebuild of {title}"),
        format!("{} gives {}", rebuilt.revision, rebuilt.digest),
        before,
    );
    verified.rebuilt.push(rebuilt);
    Ok(())
}
