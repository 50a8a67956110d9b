//! `cargo xtask ci`: what the workflows run, step by step, on a laptop as well.

mod dist;
mod lint;
mod sums;

use crate::cli::{CiArgs, CiStep, DistArgs, TestArgs};
use crate::cx::Cx;
use crate::error::Result;
use crate::policy::BuilderChoice;
use crate::verb::{Outcome, policy, test};

/// Runs one step, or all of them for a change: the later ones also after an earlier one has failed.
pub fn run(cx: &Cx, args: &CiArgs) -> Result<Outcome> {
    if let Some(step) = &args.step {
        return run_step(cx, step, args.builder);
    }
    let policy = policy(cx)?;
    let steps = [
        ("lint", CiStep::Lint),
        ("test", CiStep::Test),
        (
            "dist",
            CiStep::Dist(DistArgs {
                bases: policy.defaults.bases,
                out: cx.root.join("target/dist"),
                no_boot: false,
            }),
        ),
    ];
    let mut failed = Vec::new();
    for (name, step) in &steps {
        cx.ui.step("Running", &format!("cargo xtask ci {name}"));
        match run_step(cx, step, args.builder) {
            Ok(Outcome::Fine) => {}
            Ok(Outcome::Findings) => failed.push(*name),
            Err(error) => {
                cx.ui.error(&error);
                failed.push(*name);
            }
        }
    }
    if failed.is_empty() {
        return Ok(Outcome::Fine);
    }
    cx.ui.warn(&format!("failed: {}", failed.join(", ")));
    Ok(Outcome::Findings)
}

fn run_step(cx: &Cx, step: &CiStep, builder: Option<BuilderChoice>) -> Result<Outcome> {
    match step {
        CiStep::Lint => lint::run(cx),
        CiStep::Test => test::run(
            cx,
            &TestArgs {
                only: Vec::new(),
                args: Vec::new(),
            },
        ),
        CiStep::Dist(args) => dist::run(cx, args, builder),
        CiStep::Checksums { dir } => sums::collect(cx, dir),
    }
}
