//! `cargo xtask push` and `cargo xtask image resolve`.

use clap::Args;

use crate::policy::{BuilderChoice, SqliteChoice};
use crate::target::{Base, Platform};

/// `cargo xtask push`.
#[derive(Debug, Default, Args)]
#[command(after_help = "\
Each base becomes one index of all platforms. Tags are made of the version: 1.2.3-BASE, 1.2-BASE,
1-BASE and BASE, for the default base also 1.2.3, 1.2, 1 and latest; 1.2.3-BASE-armv6 for single
images. Pre-releases move no tag, and none moves back to an older version. What is there is not sent,
a push that was broken off goes on where it was, and tags are set last. One line an index on stdout:
NAME:TAG@DIGEST.

Credentials are those of `docker login` or `podman login`, or of the variables XTASK_REGISTRY_USER
and XTASK_REGISTRY_PASSWORD.

Examples:
  cargo xtask push --repository docker.io/me/blog
  cargo xtask push --base scratch --base alpine --repository docker.io/me/blog --dry-run
  cargo xtask push --platform linux/arm/v6 --repository localhost:5000/blog --tag test --allow-dirty")]
pub struct PushArgs {
    /// Base image: scratch, alpine, raspbian or debian [default: xtask.toml]
    #[arg(long = "base", value_name = "BASE")]
    pub bases: Vec<Base>,
    /// Platform: linux/arm/v6, linux/arm/v7, linux/arm64 or linux/amd64 [default: xtask.toml]
    #[arg(long = "platform", value_name = "PLATFORM")]
    pub platforms: Vec<Platform>,
    /// Where the images go, without a tag [default: xtask.toml]
    #[arg(long = "repository", value_name = "REPOSITORY")]
    pub repositories: Vec<String>,
    /// A tag in the place of those that the version gives; -BASE is added where there are several bases
    #[arg(long = "tag", value_name = "TAG")]
    pub tags: Vec<String>,
    /// Move tags such as `latest` also where the repository has a newer release that they stand for
    #[arg(long)]
    pub move_back: bool,
    /// SQLite: bundled, system (Debian's libsqlite3.a), or a directory with a libsqlite3.a [default: xtask.toml]
    #[arg(long, value_name = "bundled|system|DIR")]
    pub sqlite: Option<SqliteChoice>,
    /// Publish although files differ from the commit that the images name
    #[arg(long)]
    pub allow_dirty: bool,
    /// Where the program is compiled [default: xtask.toml]
    #[arg(long, value_enum, env = "XTASK_BUILDER")]
    pub builder: Option<BuilderChoice>,
    /// Make the images, and say what would be sent; send nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// `cargo xtask image resolve`.
#[derive(Debug, Args)]
#[command(after_help = "\
It asks for documents only, and pulls nothing. Exit code 1: a machine would be given a program that it
cannot run, or one that --host names would be given nothing.

Examples:
  cargo xtask image resolve docker.io/me/blog:latest
  cargo xtask image resolve alpine --host pi-zero
  cargo xtask image resolve oci:target/images/scratch-armv6 --host pi-zero --engine 19.03")]
pub struct ResolveArgs {
    /// `[docker://]REFERENCE`, or `oci:PATH`
    #[arg(value_name = "REF")]
    pub reference: String,
    /// Machine that pulls [default: all]
    #[arg(long = "host", value_enum, value_name = "HOST")]
    pub hosts: Vec<Host>,
    /// Docker Engine that pulls, by its version [default: all]
    #[arg(long = "engine", value_enum, value_name = "ENGINE")]
    pub engines: Vec<Engine>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

pub use crate::oci::pick::{Engine, Host};
