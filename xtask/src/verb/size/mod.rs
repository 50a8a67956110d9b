//! `cargo xtask size`: what each image costs, what changed, and whether it stays in its budget.

mod crates;

use std::fs::File;
use std::io::Read;
use std::path::Path;

use crate::boot::{KernelOptions, unpack};
use crate::cache::write_atomically;
use crate::cli::SizeArgs;
use crate::cx::Cx;
use crate::error::{Context, Error, Result};
use crate::oci::Layer;
use crate::oci::layer::Limits;
use crate::oci::layout::{BlobStore, list_images, load};
use crate::oci::media;
use crate::policy::{Budget, Policy};
use crate::report::{Bandwidth, Report, Subject, Unpack, check, compare, measure, page, table};
use crate::source::{Opened, Source, open};
use crate::target::{Base, Platform};
use crate::verb::{Outcome, audit, place, policy};

/// Longest saved report that is read.
const REPORT: u64 = 64 << 20;

/// Prints the report; exit code 1 when a figure is over its budget.
pub fn run(cx: &Cx, args: &SizeArgs) -> Result<Outcome> {
    let policy = policy(cx)?;
    let given = if args.layouts.is_empty() {
        audit::built(cx)
    } else {
        args.layouts.clone()
    };
    if given.is_empty() {
        return Err(Error::new("there is no image in target/images").hint("make one: `cargo xtask image`"));
    }
    // What can be wrong without measuring is found before measuring.
    let then = args
        .against
        .as_ref()
        .map(|against| earlier(cx, &policy, against, args.bandwidth))
        .transpose()?;
    for file in [&args.html, &args.save].into_iter().flatten() {
        writable(file)?;
    }
    let mut report = read(cx, &policy, &given, args.bandwidth, args.measure)?;
    if let (Some(then), Some(against)) = (&then, &args.against) {
        report.difference = Some(compare(&report, then, against, args.layouts.is_empty()));
    }
    for image in &report.images {
        if let Some(budget) = budget(&policy, image.base.as_deref()) {
            report.over.extend(check(image, budget, report.difference.as_ref()));
        }
    }
    if let Some(file) = &args.save {
        // Without the difference: what is saved are figures, and the next one compares them itself.
        let saved = Report {
            difference: None,
            ..report.clone()
        };
        write_atomically(&here(file)?, saved.to_json()?.as_bytes())?;
        cx.ui.step("Saved", &file.display().to_string());
    }
    if let Some(file) = &args.html {
        write_atomically(&here(file)?, page(&report).as_bytes())?;
        cx.ui.step("Written", &file.display().to_string());
    }
    if args.json {
        cx.ui.result(report.to_json()?.trim_end());
    } else {
        cx.ui.result(table(&report).trim_end());
    }
    for breach in &report.over {
        cx.ui.warn(&breach.message);
    }
    Ok(if report.over.is_empty() {
        Outcome::Fine
    } else {
        Outcome::Findings
    })
}

/// The images of layouts, measured.
fn read(cx: &Cx, policy: &Policy, layouts: &[String], bandwidth: Bandwidth, count: bool) -> Result<Report> {
    let mut images = Vec::new();
    for text in layouts {
        let source: Source = text.parse().map_err(Error::new)?;
        // A path without a scheme is a file or a tree of files, and neither has a configuration.
        let opened = match source {
            Source::Path(_) => None,
            _ => Some(open(cx, &source, Platform::ArmV6, &|path| place(cx, path))?),
        };
        let Some(Opened::Images(store)) = opened else {
            return Err(Error::new(format!(
                "`{text}`: expected oci:PATH, docker-archive:PATH or docker-daemon:NAME"
            ))
            .hint("for example: cargo xtask size oci:target/images/scratch-armv6"));
        };
        let limits = Limits::default();
        let before = images.len();
        for listed in list_images(&store)? {
            let digest = listed.manifest.digest;
            let name = listed.name.clone().unwrap_or_else(|| digest.to_string());
            let Some(platform) = listed.platform else {
                cx.ui.warn(&format!(
                    "{name} is left out: it is for a platform that this product does not know"
                ));
                continue;
            };
            let image = load(&store, &listed.manifest, platform, &limits)?;
            if image
                .layers()
                .iter()
                .any(|layer| layer.oci_media_type() == media::LAYER_TAR)
            {
                cx.ui.warn(&format!(
                    "{name} has layers that are not compressed: a registry would send it smaller than what is shown"
                ));
            }
            let base = Base::ALL
                .into_iter()
                .find(|base| name.split('-').next() == Some(base.name()));
            let base = base.map(|base| base.name().to_owned());
            let subject = Subject {
                budget: budget(policy, base.as_deref()).map(|budget| budget.pull),
                name: name.clone(),
                image: &image,
                base,
            };
            let config = image.config_json();
            let attribute = |path: &str, program: &[u8]| crates::attribute(cx, policy, &config, path, program);
            let measured = measure(&subject, bandwidth, &attribute, &limits);
            let mut measured = measured.context(|| format!("cannot measure {name} in {}", store.origin()))?;
            // A Zero unpacks images for ARMv6; what later chips need for theirs is not known.
            if platform == Platform::ArmV6 {
                let unknown = |layer: &&Layer| layer.oci_media_type() != media::LAYER_GZIP;
                let instructions = match image.layers().iter().find(unknown) {
                    Some(layer) if count => {
                        cx.ui.warn(&format!(
                            "{name}: not counted: its layer {} is no gzip, and only gzip is counted",
                            layer.digest()
                        ));
                        None
                    }
                    None if count => Some(unpack::work(
                        cx,
                        &policy.boot,
                        KernelOptions::default(),
                        image.layers(),
                    )?),
                    _ => unpack::known(cx, &policy.boot, image.layers()),
                };
                measured.deploy.unpack = instructions.map(|instructions| Unpack {
                    instructions,
                    method: unpack::METHOD.to_owned(),
                });
            }
            images.push(measured);
        }
        if images.len() == before {
            return Err(Error::new(format!("there is no image in {}", store.origin()))
                .hint("make one: `cargo xtask image`, or name another layout"));
        }
    }
    Ok(Report::new(bandwidth, images))
}

fn budget<'a>(policy: &'a Policy, base: Option<&str>) -> Option<&'a Budget> {
    let base = Base::ALL.into_iter().find(|known| Some(known.name()) == base)?;
    policy.budget.get(&base)
}

/// What `--against` names: a saved report, or images by a scheme.
fn earlier(cx: &Cx, policy: &Policy, against: &str, bandwidth: Bandwidth) -> Result<Report> {
    if against.contains(':') && !Path::new(against).exists() {
        return read(cx, policy, &[against.to_owned()], bandwidth, false);
    }
    let mut text = Vec::new();
    File::open(against)
        .and_then(|file| file.take(REPORT + 1).read_to_end(&mut text))
        .context(|| format!("cannot read {against}"))
        .hint("--against takes a file that `cargo xtask size --save FILE` wrote, or oci:PATH")?;
    if text.len() as u64 > REPORT {
        return Err(Error::new(format!("{against} is longer than any report")));
    }
    Report::from_json(&text).map_err(|reason| {
        Error::new(format!("{against}: {reason}"))
            .hint("write it anew with `cargo xtask size --save FILE`, or compare with oci:PATH")
    })
}

/// Absolute, so that it has a directory.
fn here(file: &Path) -> Result<std::path::PathBuf> {
    std::path::absolute(file).context(|| format!("cannot tell where {} is", file.display()))
}

/// Whether a file could be written there; changes nothing.
fn writable(file: &Path) -> Result<()> {
    let path = here(file)?;
    if path.is_dir() {
        return Err(Error::new(format!("{} is a directory", file.display())).hint("name a file in it"));
    }
    let dir = path
        .parent()
        .context(|| format!("{} has no directory", file.display()))?;
    tempfile::tempfile_in(dir)
        .context(|| format!("cannot write {}", file.display()))
        .hint("choose a path where you may write; its directory must be there")?;
    Ok(())
}
