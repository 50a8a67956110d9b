//! `cargo xtask plan` and `cargo xtask ci`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use crate::policy::BuilderChoice;
use crate::target::Base;

/// `cargo xtask plan`.
#[derive(Debug, Args)]
#[command(after_help = "\
The release is version, tag, and one row for each base with its platforms; `[release]` of xtask.toml says which. With --json
it is one line: the workflows take their matrix from it.

Examples:
  cargo xtask plan
  cargo xtask plan --json
  cargo xtask plan --tag v0.1.0")]
pub struct PlanArgs {
    /// A git tag, which must name the version of the workspace: exit code 1 when it does not
    #[arg(long, value_name = "TAG")]
    pub tag: Option<String>,
    /// Print JSON, on one line
    #[arg(long)]
    pub json: bool,
}

/// `cargo xtask ci`.
#[derive(Debug, Args)]
#[command(after_help = "\
Without a step: lint, then test, then dist of the default bases. All of them run, also after one has failed.

Examples:
  cargo xtask ci
  cargo xtask ci lint
  cargo xtask ci dist --base alpine --out target/dist
  cargo xtask ci checksums target/dist")]
pub struct CiArgs {
    #[command(subcommand)]
    pub step: Option<CiStep>,
    /// Where images are compiled [default: xtask.toml]
    #[arg(long, value_enum, env = "XTASK_BUILDER", global = true)]
    pub builder: Option<BuilderChoice>,
}

/// A step of the workflows.
#[derive(Debug, Subcommand)]
pub enum CiStep {
    /// The workflows themselves, by actionlint and zizmor
    Lint,
    /// Every test, as `cargo xtask test`
    Test,
    /// Images of all platforms of a release, audited; archives for `docker load`; boot check; size report; checksums
    Dist(DistArgs),
    /// Compare every file of a directory with the lists that `dist` wrote, and write SHA256SUMS
    Checksums {
        /// Directory with what one or several runs of `dist` wrote
        #[arg(value_name = "DIR")]
        dir: PathBuf,
    },
}

/// `cargo xtask ci dist`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  cargo xtask ci dist --base scratch --base debian
  cargo xtask ci dist --base alpine --out target/dist --no-boot

Written for each base: an archive for every platform, what the audit found in it, the size report as JSON and as a page, and
VERSION-BASE.sha256. In GitHub Actions the sizes go into the summary of the job, too.")]
pub struct DistArgs {
    /// Bases [default: those of `[release]` in xtask.toml]
    #[arg(long = "base", value_name = "BASE")]
    pub bases: Vec<Base>,
    /// Where the files go; nothing else may be there
    #[arg(long, value_name = "DIR", default_value = "target/dist")]
    pub out: PathBuf,
    /// Leave out the emulated Pi Zero
    #[arg(long)]
    pub no_boot: bool,
}
