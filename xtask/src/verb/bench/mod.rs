//! `cargo xtask bench`: the pipeline against what one would do without it, as ratios within one run on one machine.
//!
//! Nothing is asserted: figures of a busy machine fail nobody's build. What is compared gets the same inputs and warm caches,
//! and is measured in turn. What is not installed is called absent.

mod assemble;
mod audit;
mod blog;
mod build;
mod docker;
mod figures;
mod machine;
mod push;
mod serve;

use std::time::Instant;

use serde::Serialize;

use crate::cli::{BenchArgs, BenchPart, ImageArgs};
use crate::cx::Cx;
use crate::error::{Error, Result};
use crate::oci::Image;
use crate::oci::layer::Limits;
use crate::oci::layout::load_image;
use crate::plan::image_tag;
use crate::policy::BuilderChoice;
use crate::publish::layout;
use crate::target::{Base, Platform};
use crate::toolchain::rust_std::{Compiler, Detected};
use crate::ui::Ui;
use crate::verb::{Outcome, image, policy};
use figures::{Goal, Row, Samples, Unit, table};
use machine::Machine;

/// The platform that is measured: the one that this product is about.
const PLATFORM: Platform = Platform::ArmV6;
/// Below the workspace: everything that measuring leaves behind.
const DIR: &str = "target/bench";

#[derive(Serialize)]
struct Report {
    machine: Machine,
    runs: u16,
    rows: Vec<Row>,
}

/// Measures, and prints a table or JSON.
pub fn run(cx: &Cx, args: &BenchArgs) -> Result<Outcome> {
    let machine = Machine::detect(&Compiler::detect(cx)?);
    let wanted = |part| args.only.is_empty() || args.only.contains(&part);
    let mut rows = Vec::new();
    if wanted(BenchPart::Noop) {
        rows.push(build::noop(cx, args.runs)?);
    }
    if wanted(BenchPart::Edit) {
        rows.push(build::edit(cx, args.runs)?);
    }
    if wanted(BenchPart::Docker) {
        rows.extend(docker::measure(cx, args.runs)?);
    }
    if wanted(BenchPart::Assemble) {
        rows.extend(assemble::measure(cx, args.runs)?);
    }
    if wanted(BenchPart::Push) {
        rows.extend(push::measure(cx)?);
    }
    if wanted(BenchPart::Size) {
        rows.extend([(Base::Scratch, 1e6), (Base::Debian, 6e6)].map(|(base, goal)| size(cx, base, goal)));
    }
    if wanted(BenchPart::Audit) {
        rows.extend(audit::measure(cx, args.runs)?);
    }
    if wanted(BenchPart::Serve) {
        rows.extend(serve::measure(cx, args.runs));
    }
    if wanted(BenchPart::Blog) {
        rows.extend(blog::on_this_machine(cx, args.runs));
    }
    if wanted(BenchPart::Pi) {
        rows.extend(blog::on_the_pi(cx));
    }
    if args.json {
        let report = Report {
            machine,
            runs: args.runs,
            rows,
        };
        cx.ui.result(&serde_json::to_string_pretty(&report)?);
    } else {
        let runs = format!("medians of {}", args.runs);
        cx.ui
            .result(&format!("{}\n{runs}\n\n{}", machine.text(), table(&rows).trim_end()));
    }
    Ok(Outcome::Fine)
}

/// Seconds that `work` takes.
fn timed(work: impl FnOnce() -> Result<()>) -> Result<f64> {
    let start = Instant::now();
    work()?;
    Ok(start.elapsed().as_secs_f64())
}

/// The image in target/images, made first if there is none.
fn made(cx: &Cx, base: Base) -> Result<Image> {
    let tag = image_tag(base, PLATFORM);
    let dir = cx.root.join("target/images").join(&tag);
    if !dir.join("index.json").is_file() {
        cx.ui.note(&format!("there is no image {tag} yet: making it"));
        let wanted = ImageArgs {
            bases: vec![base],
            platforms: vec![PLATFORM],
            builder: Some(BuilderChoice::Host),
            ..ImageArgs::default()
        };
        let (policy, compiler) = (policy(cx)?, Detected::default());
        let plan = image::resolve(cx, &wanted, &policy, &compiler)?;
        if image::make(cx, &wanted, &policy, &plan, &compiler)?.is_none() {
            return Err(Error::new(format!("the audit refused the program for {tag}")));
        }
    }
    Ok(load_image(
        &layout::open(&dir)?,
        Some(&tag),
        PLATFORM,
        &Limits::default(),
    )?)
}

/// What an engine without any of the image pulls.
fn size(cx: &Cx, base: Base, goal: f64) -> Row {
    let (bytes, note) = match made(cx, base) {
        Ok(image) => (
            vec![image.pull_size() as f64],
            "manifest, configuration and all layers".to_owned(),
        ),
        Err(error) => (Vec::new(), error.to_string()),
    };
    let what = format!("{base}: pull");
    Row::new(
        what,
        Unit::Bytes,
        Samples::new(bytes),
        None,
        Some(Goal::Limit(goal)),
        note,
    )
}

/// The same effects for a workspace somewhere else.
fn elsewhere(cx: &Cx, root: std::path::PathBuf) -> Cx {
    Cx {
        shell: cx.shell.clone(),
        ui: Ui::new(cx.ui.verbosity()),
        cache: cx.cache.clone(),
        root,
        offline: cx.offline,
    }
}
