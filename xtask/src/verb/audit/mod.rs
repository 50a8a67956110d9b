//! `cargo xtask audit`: images, file trees and files against a platform.

pub mod assembled;
mod compare;
pub mod image;
pub mod look;

use std::fs;
use std::path::{Path, PathBuf};

use crate::audit::accuse::CodePolicy;
use crate::audit::parts::parts;
use crate::audit::sarif::sarif;
use crate::audit::verdict::{Audited, Subject};
use crate::audit::{Report, inspect_file_with};
use crate::cache::write_atomically;
use crate::cli::AuditArgs;
use crate::compile::Record;
use crate::cx::Cx;
use crate::error::{Context, Error, Result};
use crate::oci::claims::Claim;
use crate::plan::image_tag;
use crate::policy::Policy;
use crate::source::{self, Bounds, LARGEST_FILE, Opened, Rootfs, Source, Store};
use crate::target::{Base, Platform};
use crate::verb::{Outcome, explain, place, policy};
use image::How;
use look::{Settings, look};

/// What a file or a tree is held against when nothing is said.
const DEFAULT: Platform = Platform::ArmV6;

/// Prints what was found; exit code 1 when there is a finding.
pub fn run(cx: &Cx, args: &AuditArgs) -> Result<Outcome> {
    match &args.compare[..] {
        [] => {}
        [a, b] => return compare::run(cx, a, b, args.platform, args.json),
        _ => return Err(Error::new("--compare is given more than once").hint("it compares two: `--compare A B`")),
    }
    let policy = policy(cx)?;
    if let Some(what) = &args.explain {
        return explain::run(cx, &policy, what, args.platform.unwrap_or(DEFAULT), args.json);
    }
    let mut inputs = args.inputs.clone();
    if inputs.is_empty() {
        inputs = built(cx);
        if inputs.is_empty() {
            return Err(Error::new("there is no image in target/images to audit")
                .hint("make one: `cargo xtask image`, or name a FILE"));
        }
    }
    let sources = inputs
        .iter()
        .map(|input| input.parse::<Source>().map_err(Error::new))
        .collect::<Result<Vec<_>>>()?;
    let mut subjects = Vec::new();
    for source in &sources {
        subjects.extend(one(cx, args, &policy, source)?);
    }
    if let Some(path) = &args.sarif {
        let text = serde_json::to_vec_pretty(&sarif(&subjects))?;
        write_atomically(&in_a_directory(path), &text)?;
    }
    if args.json {
        cx.ui.result(&serde_json::to_string_pretty(&subjects)?);
    } else {
        let texts: Vec<String> = subjects
            .iter()
            .map(|subject| text(subject).trim_end().to_owned())
            .collect();
        cx.ui.result(&texts.join("\n\n"));
    }
    Ok(match subjects.iter().all(Subject::passed) {
        true => Outcome::Fine,
        false => Outcome::Findings,
    })
}

/// A path whose parent can be named.
fn in_a_directory(path: &Path) -> PathBuf {
    match path.parent() {
        Some(parent) if parent.as_os_str().is_empty() => Path::new(".").join(path),
        _ => path.to_owned(),
    }
}

/// Who names one file wants to know all about it.
fn text(subject: &Subject) -> String {
    match &subject.files[..] {
        [file] if subject.manifest.is_none() && file.path == subject.source => file.report.text(),
        _ => subject.text(),
    }
}

/// The layouts that `cargo xtask image` makes by default and that are there.
pub fn built(cx: &Cx) -> Vec<String> {
    let mut found = Vec::new();
    for base in Base::ALL {
        for platform in Platform::ALL {
            let dir = cx.root.join("target/images").join(image_tag(base, platform));
            if dir.join("index.json").is_file() {
                found.push(format!("oci:{}", dir.display()));
            }
        }
    }
    found
}

fn jobs(args: &AuditArgs) -> usize {
    let all = || std::thread::available_parallelism().map_or(1, usize::from);
    args.jobs.map_or_else(all, |jobs| usize::from(jobs).max(1))
}

fn one(cx: &Cx, args: &AuditArgs, policy: &Policy, source: &Source) -> Result<Vec<Subject>> {
    let platform = args.platform.unwrap_or(DEFAULT);
    match source::open(cx, source, platform, &|path| place(cx, path))? {
        Opened::Images(store) => {
            let how = How {
                policy,
                strict: args.strict,
                jobs: jobs(args),
                memory: None,
            };
            let chosen = choose(cx, &store, source, args.platform)?;
            chosen
                .iter()
                .map(|(claim, platform)| image::image(cx, &store, &source.to_string(), claim, *platform, &how))
                .collect()
        }
        Opened::Rootfs(rootfs) => Ok(vec![tree(policy, &rootfs, source, platform, args)?]),
        Opened::File(path) => Ok(vec![file(cx, policy, &path, source, platform, args.strict)?]),
    }
}

/// Which images are looked at, and what each is held against: its own configuration, or `--platform`.
fn choose(cx: &Cx, store: &Store, source: &Source, wanted: Option<Platform>) -> Result<Vec<(Claim, Platform)>> {
    let claims = store.claims()?;
    if claims.images.is_empty() {
        let skipped = match claims.skipped.is_empty() {
            true => String::new(),
            false => format!(": {}", claims.skipped.join("; ")),
        };
        return Err(Error::new(format!("there is no image in {source}{skipped}"))
            .hint("make one: `cargo xtask image`, or name another layout"));
    }
    for skipped in &claims.skipped {
        cx.ui.warn(&format!("{source}: not audited: {skipped}"));
    }
    let there: Vec<String> = claims
        .images
        .iter()
        .map(|claim| format!("{} ({})", claim.title(), claim.said))
        .collect();
    let there = there.join(", ");
    let Some(wanted) = wanted else {
        let (known, unknown): (Vec<_>, Vec<_>) = claims.images.into_iter().partition(|claim| claim.platform.is_some());
        if known.is_empty() {
            return Err(Error::new(format!(
                "{source} has no image for a platform that this product knows; there are: {there}"
            ))
            .hint("`--platform linux/arm/v6` holds an image for an older ARM against that chip"));
        }
        for claim in unknown {
            cx.ui.warn(&format!(
                "{source}: not audited: {} is for {}",
                claim.title(),
                claim.said
            ));
        }
        return Ok(known
            .into_iter()
            .filter_map(|claim| claim.platform.map(|platform| (claim, platform)))
            .collect());
    };
    let single = claims.images.len() == 1;
    let fits = |claim: &Claim| {
        let architecture = claim.config["architecture"].as_str();
        claim.platform == Some(wanted) || (single && architecture == Some(wanted.architecture()))
    };
    let chosen: Vec<_> = claims
        .images
        .into_iter()
        .filter(fits)
        .map(|claim| (claim, wanted))
        .collect();
    if chosen.is_empty() {
        return Err(
            Error::new(format!("{source} has no image for {wanted}; there are: {there}"))
                .hint("leave `--platform` out to hold every image against its own platform"),
        );
    }
    Ok(chosen)
}

/// A tar or a directory.
fn tree(policy: &Policy, rootfs: &Rootfs, source: &Source, platform: Platform, args: &AuditArgs) -> Result<Subject> {
    let settings = Settings {
        platform,
        float_abi: None,
        prefix: String::new(),
        given: true,
        waivers: &|_| Vec::new(),
        code: &|_| CodePolicy {
            strict: args.strict,
            allowed: policy.allowed(platform),
            ..CodePolicy::default()
        },
        memory: None,
        jobs: jobs(args),
    };
    let looked = look(&settings, |gather| {
        rootfs.walk(&Bounds::default(), &mut |item| gather.take(0, item))
    })?;
    if looked.files.is_empty() {
        return Err(Error::new(format!("there is no ELF file in {source}"))
            .hint("name a root file system, or a directory with programs or libraries"));
    }
    let owners = crate::audit::packages::Owners::read(&looked.records);
    let mut subject = Subject::new(source.to_string(), platform);
    subject.files = looked.files;
    for file in &mut subject.files {
        file.package = owners.of(&file.path);
    }
    Ok(subject)
}

/// A file says nothing of the image it is meant for, so only what the platform can execute is judged. Of one that was compiled
/// here it is known where the code comes from, and the policy's waivers for code are for it. What it allows on a platform is of the
/// chips, whoever made the file.
fn file(cx: &Cx, policy: &Policy, path: &Path, source: &Source, platform: Platform, strict: bool) -> Result<Subject> {
    let cannot = || format!("cannot read {}", path.display());
    let size = fs::metadata(path).context(cannot)?.len();
    if size > LARGEST_FILE {
        return Err(Error::new(format!(
            "{} has more than {LARGEST_FILE} bytes",
            path.display()
        )));
    }
    let bytes = fs::read(path).context(cannot)?;
    let mut code = CodePolicy {
        strict,
        allowed: policy.allowed(platform),
        ..CodePolicy::default()
    };
    if let Some(record) = Record::find(cx, &bytes)? {
        code.evidence = record.evidence(cx, &bytes);
        code.waivers = policy.code_waivers(platform);
    }
    let name = path.display().to_string();
    let mut subject = Subject::new(source.to_string(), platform);
    let mut add = |member: Option<&str>, report| {
        subject.files.push(Audited {
            path: source.to_string(),
            member: member.map(str::to_owned),
            layer: 0,
            hidden_by: None,
            package: None,
            program: false,
            report,
        });
    };
    match parts(&bytes) {
        Err(reason) => add(None, Report::unreadable(&name, &bytes, platform, reason)),
        Ok(parts) => {
            for part in &parts {
                let name = part.member.map_or(name.clone(), |member| format!("{name}({member})"));
                add(part.member, inspect_file_with(part.bytes, &name, platform, &code));
            }
            if parts.is_empty() && bytes.starts_with(b"!<arch>") {
                let reason = "an ar archive without machine code".to_owned();
                add(None, Report::unreadable(&name, &bytes, platform, reason));
            } else if parts.is_empty() {
                add(None, inspect_file_with(&bytes, &name, platform, &code));
            }
        }
    }
    Ok(subject)
}
