//! `cargo xtask audit`: ELF files, or the program of an image, against a platform.

use std::fs;
use std::path::Path;

use crate::audit::{Expectation, Report, audit, inspect, inspect_file};
use crate::cli::AuditArgs;
use crate::cx::Cx;
use crate::elf::is_elf;
use crate::error::{Context, Error, Result};
use crate::oci::layer::{EntryKind, Limits};
use crate::oci::layout::{list_images, load_image};
use crate::plan::image_tag;
use crate::policy::Policy;
use crate::publish::layout;
use crate::target::{Base, Platform};
use crate::verb::{Outcome, place, policy};

/// Prints a report for every file; exit code 1 when any has a finding.
pub fn run(cx: &Cx, args: &AuditArgs) -> Result<Outcome> {
    let policy = policy(cx)?;
    let mut reports = Vec::new();
    let mut inputs = args.inputs.clone();
    if inputs.is_empty() {
        inputs = built(cx);
        if inputs.is_empty() {
            return Err(Error::new("there is no image in target/images to audit")
                .hint("make one: `cargo xtask image`, or name a FILE"));
        }
    }
    for input in &inputs {
        match input.strip_prefix("oci:") {
            Some(dir) => reports.extend(image(&policy, &place(cx, dir))?),
            None => reports.push(file(Path::new(input), args.platform)?),
        }
    }
    if args.json {
        cx.ui.result(&serde_json::to_string_pretty(&reports)?);
    } else {
        let texts: Vec<String> = reports
            .iter()
            .map(|report| report.text().trim_end().to_owned())
            .collect();
        cx.ui.result(&texts.join("\n\n"));
    }
    Ok(if reports.iter().all(Report::passed) {
        Outcome::Fine
    } else {
        Outcome::Findings
    })
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

/// A file says nothing of the image it is meant for, so only what the platform can execute is judged.
fn file(path: &Path, platform: Platform) -> Result<Report> {
    let bytes = fs::read(path).context(|| format!("cannot read {}", path.display()))?;
    Ok(inspect_file(&bytes, &path.display().to_string(), platform))
}

/// Every ELF file of every image of a layout. The program that is started is held against the whole policy, when
/// the labels say which triple it was compiled for; the others against the platform.
fn image(policy: &Policy, dir: &Path) -> Result<Vec<Report>> {
    let store = layout::open(dir).hint("expected oci:PATH with the directory of an OCI image layout")?;
    let limits = Limits::default();
    let mut reports = Vec::new();
    for listed in list_images(&store)? {
        let name = listed.name.as_deref().unwrap_or("unnamed");
        let Some(platform) = listed.platform else {
            return Err(Error::new(format!(
                "{}: {name} is for a platform that this product does not know",
                dir.display()
            )));
        };
        let image = load_image(&store, listed.name.as_deref(), platform, &limits)?;
        let config = image.config_json();
        let program = config["config"]["Entrypoint"][0]
            .as_str()
            .unwrap_or_default()
            .trim_start_matches('/')
            .to_owned();
        let label = |key: &str| config["config"]["Labels"][key].as_str().map(str::to_owned);
        let base = Base::ALL.into_iter().find(|base| name.starts_with(base.name()));
        let packages = label("xtask.base.packages").unwrap_or_default();
        let glibc = packages
            .split(' ')
            .find_map(|package| package.strip_prefix("libc6="))
            .map(str::to_owned);
        for layer in image.layers() {
            for entry in layer.entries(&limits)? {
                let EntryKind::File(bytes) = &entry.kind else { continue };
                if !is_elf(bytes) {
                    continue;
                }
                let file = format!("{name}/{}", entry.path);
                let target = label("xtask.binary.triple")
                    .as_deref()
                    .and_then(crate::target::Target::from_triple);
                match (entry.path == program, base, target) {
                    (true, Some(base), Some(target)) => {
                        let expectation = Expectation {
                            file,
                            platform,
                            target,
                            needed_allowed: policy.needed(base).to_vec(),
                            glibc: glibc.clone(),
                            waivers: policy.waivers(target.triple),
                        };
                        reports.push(match audit(bytes.clone(), &expectation) {
                            Ok(binary) => binary.report().clone(),
                            Err(report) => *report,
                        });
                    }
                    _ => reports.push(inspect(bytes, &file, platform, None)),
                }
            }
        }
    }
    Ok(reports)
}
