//! The command line: clap structs only. What a verb does is in `verb/`.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::oci::location::Location;
use crate::oci::reference::Destination;
use crate::plan::StdChoice;
use crate::policy::{BuilderChoice, SqliteChoice};
use crate::report::Bandwidth;
use crate::target::{Base, Platform};

mod boot;
mod ci;
mod push;
mod verify;

/// From source to an image that runs on a Raspberry Pi Zero.
#[derive(Debug, Parser)]
#[command(
    name = "cargo xtask",
    bin_name = "cargo xtask",
    version,
    max_term_width = 110,
    after_help = "\
Examples:
  cargo xtask image                                      the blog for linux/arm/v6, from scratch
  cargo xtask image --base scratch --base debian --load  two images, into the Docker daemon
  cargo xtask run                                        serve it here under an emulated ARM1176
  cargo xtask boot --check                               boot it on an emulated Pi Zero, and cut the power
  cargo xtask size                                       what each image costs

Exit status: 0 fine, 1 it ran and found problems, 2 it could not do the work."
)]
pub struct Cli {
    #[command(flatten)]
    pub global: Global,
    #[command(subcommand)]
    pub verb: Verb,
}

/// Options of every verb.
#[derive(Clone, Debug, Args)]
pub struct Global {
    /// Show every command that is run
    #[arg(short, long, global = true)]
    pub verbose: bool,
    /// Print nothing but results, warnings and errors
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub quiet: bool,
    /// Where fetched tools and packages are kept [default: raspi-image in the XDG cache home]
    #[arg(long, global = true, value_name = "DIR", env = "XTASK_CACHE_DIR")]
    pub cache_dir: Option<PathBuf>,
    /// Fetch nothing: use what the cache and cargo's own cache hold
    #[arg(long, global = true)]
    pub offline: bool,
}

/// The verbs.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Compile, audit, assemble and publish images
    Image(ImageArgs),
    /// Make images of all platforms and publish them in a registry: Docker Hub or any other
    Push(PushArgs),
    /// Compare what the images built so far cost
    Size(SizeArgs),
    /// Where bases come from: list, lock, update, verify, export
    #[command(subcommand)]
    Base(BaseVerb),
    /// The image that compiles with --builder docker, and its caches
    #[command(subcommand)]
    Builder(BuilderVerb),
    /// Serve an image under qemu-user, with the CPU of its platform
    Run(RunArgs),
    /// Boot an image on an emulated Raspberry Pi Zero, and cut its power
    Boot(BootArgs),
    /// Check every ELF file of an image, a file tree or a file against a platform
    Audit(AuditArgs),
    /// What a release consists of: version, tag, bases and their platforms
    Plan(PlanArgs),
    /// What the workflows run: lint, test, dist, checksums
    Ci(CiArgs),
    /// Check that an image is what it says, wherever it lies, and that its source still makes it
    Verify(VerifyArgs),
    /// Run all tests of the repository
    Test(TestArgs),
    /// Measure the pipeline against bare cargo, buildah and docker, as ratios within one run
    Bench(BenchArgs),
    /// Say what is there, what is missing and how it would be had; change nothing
    Doctor(DoctorArgs),
    /// Fetch the compiler and linker of all targets, so that plain `cargo build --target` works
    Setup,
    /// List or empty the cache directory
    #[command(subcommand)]
    Cache(CacheVerb),
}

/// `cargo xtask image`.
#[derive(Debug, Default, Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "\
DEST is oci:PATH (an image layout), docker-archive:PATH (what `docker load` and skopeo read), docker-daemon:NAME[:TAG], or
docker://REFERENCE (a registry; all platforms become one index). Each image is one line on stdout: its
destination and digest.

Examples:
  cargo xtask image --base debian --with busybox
  cargo xtask image --base alpine --base-image alpine-minirootfs-3.24.2-armhf.tar.gz
  cargo xtask image --platform linux/arm/v6 --platform linux/amd64 --to oci:/tmp/blog
  cargo xtask image --builder docker --base alpine
  cargo xtask image --base debian --platform linux/arm/v7 --sqlite system
  cargo xtask image --dry-run --json"
)]
pub struct ImageArgs {
    #[command(subcommand)]
    pub verb: Option<ImageVerb>,
    /// Base image: scratch, alpine, raspbian or debian [default: xtask.toml]
    #[arg(long = "base", value_name = "BASE")]
    pub bases: Vec<Base>,
    /// Platform: linux/arm/v6, linux/arm/v7, linux/arm64 or linux/amd64 [default: xtask.toml]
    #[arg(long = "platform", value_name = "PLATFORM")]
    pub platforms: Vec<Platform>,
    /// Where the image goes [default: oci:target/images/BASE-PLATFORM]
    #[arg(long = "to", value_name = "DEST")]
    pub destinations: Vec<Destination>,
    /// Load it into the Docker daemon as NAME:BASE-PLATFORM
    #[arg(long)]
    pub load: bool,
    /// Add a package, with what it depends on, to a base that has packages
    #[arg(long = "with", value_name = "PACKAGE")]
    pub with: Vec<String>,
    /// A base of your own for --base: oci:PATH, docker-archive:PATH, docker://REFERENCE, or a root file system's tar
    #[arg(long, value_name = "IMAGE", requires = "bases", conflicts_with_all = ["with", "refresh"])]
    pub base_image: Option<Location>,
    /// Where Rust's std comes from
    #[arg(long, value_enum)]
    pub std: Option<StdChoice>,
    /// Where the program is compiled [default: xtask.toml]
    #[arg(long, value_enum, env = "XTASK_BUILDER")]
    pub builder: Option<BuilderChoice>,
    /// SQLite: bundled, system (Debian's libsqlite3.a), or a directory with a libsqlite3.a [default: xtask.toml]
    #[arg(long, value_name = "bundled|system|DIR")]
    pub sqlite: Option<SqliteChoice>,
    /// Debian's mirror, when apt on this machine is not configured with one [env: XTASK_DEBIAN_MIRROR]
    #[arg(long, value_name = "URL")]
    pub debian_mirror: Option<String>,
    /// Take what the sources of the base have now, whatever docker/bases.lock says
    #[arg(long)]
    pub refresh: bool,
    /// Accept no finding: neither waivers of xtask.toml nor guards that were checked
    #[arg(long)]
    pub strict: bool,
    /// Print the plan and do nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Print JSON: the plan with --dry-run, else one object an image
    #[arg(long)]
    pub json: bool,
    /// The platforms are those of xtask.toml: what a base has no program for is left out
    #[arg(skip)]
    pub where_possible: bool,
}

/// Verbs about images that are there.
#[derive(Debug, Subcommand)]
pub enum ImageVerb {
    /// Say which image of an index each machine and engine would take
    Resolve(ResolveArgs),
}

/// `cargo xtask builder`.
#[derive(Debug, Subcommand)]
#[command(after_help = "\
The builder is the stage `builder` of docker/Dockerfile. `cargo xtask image --builder docker` makes it when it is missing or what
it is made of has changed, and compiles in a container of it. Which engine is meant is decided as docker decides it.

Examples:
  cargo xtask builder status
  cargo xtask builder build
  cargo xtask builder prune --all")]
pub enum BuilderVerb {
    /// What the engine has: builder images, caches, containers
    Status {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Make the builder image if it is missing, and say its name
    Build {
        /// Make it anew, whatever is there
        #[arg(long)]
        force: bool,
    },
    /// Remove builder images that this workspace no longer uses
    Prune {
        /// Also the one in use, and the caches: the next build starts from nothing
        #[arg(long)]
        all: bool,
    },
}

/// `cargo xtask size`.
#[derive(Debug, Default, Args)]
#[command(after_help = "\
The report says what a Pi pulls, first and when only the app changed; what base, packages, sections and crates have of it;
and what a deploy costs a Pi Zero W. Budgets are in xtask.toml; a figure over its budget is exit code 1.

Examples:
  cargo xtask size
  cargo xtask size --html target/size.html
  cargo xtask size --save before.json
  cargo xtask size --measure
  cargo xtask size --against before.json --bandwidth 5Mbit/s
  cargo xtask size oci:/tmp/blog --against oci:/tmp/blog-of-yesterday --json")]
pub struct SizeArgs {
    /// Images to compare: `oci:PATH`, `docker-archive:PATH` or `docker-daemon:NAME[:TAG]` [default: all in target/images]
    #[arg(value_name = "IMAGES")]
    pub layouts: Vec<String>,
    /// Print JSON: the whole report
    #[arg(long)]
    pub json: bool,
    /// Write the report as one HTML page that needs no network and no script
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
    /// Write the report as JSON, for a later --against
    #[arg(long, value_name = "FILE")]
    pub save: Option<PathBuf>,
    /// Show what changed since a saved report, or against images elsewhere
    #[arg(long, value_name = "FILE|IMAGES")]
    pub against: Option<String>,
    /// What the seconds are computed with
    #[arg(long, value_name = "RATE", default_value_t)]
    pub bandwidth: Bandwidth,
    /// Count the instructions that unpacking takes, on an emulated Pi Zero; what was counted once is known from then on
    #[arg(long)]
    pub measure: bool,
}

/// `cargo xtask run`.
#[derive(Debug, Args)]
#[command(after_help = "\
The image is the one that `cargo xtask image` made last for that base and platform; it is made first if there is none.
What the server stores stays in target/run/BASE-PLATFORM/data between runs.

Examples:
  cargo xtask run
  cargo xtask run --port 0 --env BLOG_TITLE=Notes
  cargo xtask run -- --version      another command of the image")]
pub struct RunArgs {
    /// Base of the image to run
    #[arg(long, default_value = "scratch")]
    pub base: Base,
    /// Platform of the image to run
    #[arg(long, default_value = "linux/arm/v6")]
    pub platform: Platform,
    /// Port on 127.0.0.1; 0 takes a free one
    #[arg(long, default_value_t = 8080)]
    pub port: u16,
    /// The owner's port on 127.0.0.1; 0 takes a free one [default: 8081, with --port 0 a free one]
    #[arg(long)]
    pub admin_port: Option<u16>,
    /// Directory for the image's volume
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// Start with an empty volume
    #[arg(long, conflicts_with = "data")]
    pub fresh: bool,
    /// Set a variable in the image's environment
    #[arg(long = "env", short = 'e', value_name = "NAME=VALUE")]
    pub env: Vec<String>,
    /// How the image's root becomes the program's root
    #[arg(long, value_enum, default_value = "auto")]
    pub isolation: Isolation,
    /// Seconds to wait for the first answer
    #[arg(long, default_value_t = 60, value_name = "SECONDS")]
    pub wait: u64,
    /// Arguments instead of the image's CMD
    #[arg(last = true, value_name = "ARGS")]
    pub args: Vec<String>,
}

/// `--isolation`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Isolation {
    /// chroot where the system allows it, else prefix
    Auto,
    /// The image's root is the root (user and mount namespace)
    Chroot,
    /// qemu looks libraries up in the image; the volume's path is replaced in environment and arguments
    Prefix,
}

pub use boot::BootArgs;
pub use ci::{CiArgs, CiStep, DistArgs, PlanArgs};
pub use push::{Engine, Host, PushArgs, ResolveArgs};
pub use verify::VerifyArgs;

/// `cargo xtask audit`.
#[derive(Debug, Args)]
#[command(after_help = "\
What is audited is any image, ours or not (oci:PATH, docker-archive:PATH, docker-daemon:NAME[:TAG], docker://REFERENCE), the
tar of a root file system (plain, gzip, xz, zstd), a directory, or a file. Every ELF file is found by its content, in every layer and in `ar`
archives too. Without arguments: all images in target/images.

Examples:
  cargo xtask audit
  cargo xtask audit target/arm-unknown-linux-musleabihf/release/blog
  cargo xtask audit --platform linux/arm/v6 /usr/bin/some-program
--compare holds two programs, two images or two file trees against each other instead, and says all that differs: of images
manifest, configuration, layers, every tar header and every content; of programs headers, build attributes, .comment, sections,
symbols where they were kept, paths in strings, and the first byte with its section. Exit code 0 when they are equal.

  cargo xtask audit oci:target/images/scratch-armv6 --strict
  cargo xtask audit docker-daemon:nginx:1 --json
  cargo xtask audit rootfs.tar.xz --sarif findings.sarif
  cargo xtask audit --compare oci:target/images/scratch-armv6 docker-daemon:blog:scratch-armv6
  cargo xtask audit --compare old/blog target/arm-unknown-linux-musleabihf/release/blog --json")]
pub struct AuditArgs {
    /// `oci:PATH`, `docker-archive:PATH`, `docker-daemon:NAME[:TAG]`, `docker://REFERENCE`, or the path of a tar, a directory or a file
    #[arg(value_name = "SOURCE")]
    pub inputs: Vec<String>,
    /// Platform to hold it against [default: what an image's configuration says; linux/arm/v6 for all else]
    #[arg(long)]
    pub platform: Option<Platform>,
    /// Show the code of a crate, a part of the tool chain or a function that the platform lacks, in the program compiled last
    #[arg(long, value_name = "SYMBOL|CRATE", conflicts_with_all = ["inputs", "sarif"])]
    pub explain: Option<String>,
    /// Accept nothing: ignore the waivers of xtask.toml and guards that were checked
    #[arg(long)]
    pub strict: bool,
    /// Threads [default: one a processor]
    /// Show what two programs, images or file trees have differently
    #[arg(long, num_args = 2, value_names = ["A", "B"], conflicts_with_all = ["inputs", "explain", "sarif", "strict", "jobs"])]
    pub compare: Vec<String>,
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    pub jobs: Option<u16>,
    /// Also write the findings as SARIF 2.1.0
    #[arg(long, value_name = "FILE")]
    pub sarif: Option<PathBuf>,
    /// Print JSON: one object for each image, tree or file
    #[arg(long)]
    pub json: bool,
}

/// `cargo xtask test`.
#[derive(Debug, Args)]
#[command(after_help = "\
What a test needs and this machine lacks is said and skipped; XTASK_REQUIRE_ALL=1 turns every skip into a failure.

Examples:
  cargo xtask test
  cargo xtask test --only clippy --only blog
  cargo xtask test --only xtask -- audit::")]
pub struct TestArgs {
    /// Run this step only (may be repeated)
    #[arg(long, value_enum, value_name = "STEP")]
    pub only: Vec<TestStep>,
    /// Arguments for the test programs
    #[arg(last = true, value_name = "ARGS")]
    pub args: Vec<String>,
}

/// A step of `cargo xtask test`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum TestStep {
    /// cargo fmt --check
    Fmt,
    /// cargo clippy with warnings denied
    Clippy,
    /// cargo doc without warnings
    Doc,
    /// cargo deny: licences, sources, banned crates
    Deny,
    /// Tests of the blog
    Blog,
    /// Tests of the pipeline
    Xtask,
}

/// `cargo xtask bench`.
#[derive(Debug, Args)]
#[command(after_help = "\
Nothing is asserted: the exit code is 0 whatever the figures are. The first run compiles a copy of the workspace in
target/bench, which takes minutes.

Examples:
  cargo xtask bench --runs 3
  cargo xtask bench --only noop --only serve --json
  cargo xtask bench --only blog --only pi --runs 3")]
pub struct BenchArgs {
    /// Print JSON, with every single measurement
    #[arg(long)]
    pub json: bool,
    /// Runs of each measurement; medians are reported
    #[arg(long, default_value_t = 5, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub runs: u16,
    /// Measure this only (may be repeated)
    #[arg(long, value_enum, value_name = "WHAT")]
    pub only: Vec<BenchPart>,
}

/// A part of `cargo xtask bench`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum BenchPart {
    /// An image when nothing has changed, against bare cargo
    Noop,
    /// An image after a one-line edit, against bare cargo
    Edit,
    /// The same two through the builder container, against docker build
    Docker,
    /// Assembly and compression, against buildah and docker
    Assemble,
    /// What a second push sends, against skopeo and docker
    Push,
    /// What a Pi pulls
    Size,
    /// The audit of an image down to the instruction, against llvm-objdump
    Audit,
    /// Memory and first answer under emulation
    Serve,
    /// The blog with 50,000 posts on this machine: answers a second of processor time against actix-web's hello, memory, bytes
    Blog,
    /// The same two on the emulated Pi Zero: instructions for an answer, memory, first answer
    Pi,
}

/// `cargo xtask doctor`.
#[derive(Debug, Args)]
#[command(after_help = "\
With --toolchain it audits what a tool chain puts into every program: start files, libgcc or compiler_rt, libc, std.

Examples:
  cargo xtask doctor
  cargo xtask doctor --toolchain arm-unknown-linux-musleabihf
  cargo xtask doctor --toolchain arm-linux-gnueabihf --platform linux/arm/v7
  cargo xtask doctor --toolchain /opt/cross --json")]
pub struct DoctorArgs {
    /// A triple of this product, a GNU compiler or the prefix of its name, or a directory with one
    #[arg(long, value_name = "TOOLCHAIN")]
    pub toolchain: Option<String>,
    /// Platform to hold it against [default: the triple's; linux/arm/v6 for a GNU compiler for arm]
    #[arg(long, requires = "toolchain")]
    pub platform: Option<Platform>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// `cargo xtask base`.
#[derive(Debug, Subcommand)]
#[command(after_help = "\
docker/bases.toml has the sources of each base, docker/bases.lock what they gave. A build takes what is locked, and writes
nothing there.

Examples:
  cargo xtask base list
  cargo xtask base lock raspbian
  cargo xtask base update --dry-run
  cargo xtask base verify debian --platform linux/arm/v6
  cargo xtask base export raspbian oci:target/bases/raspbian")]
pub enum BaseVerb {
    /// Bases, their sources and platforms: locked or not, of which day, what a Pi pulls
    List {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Write what is missing in docker/bases.lock, from the first source that works here
    Lock(BaseSelection),
    /// Ask the locked sources anew, show what is different, and write it to docker/bases.lock
    Update {
        #[command(flatten)]
        selection: BaseSelection,
        /// Show what is different, and write nothing
        #[arg(long)]
        dry_run: bool,
    },
    /// Get or make each locked base again, and compare it with docker/bases.lock
    Verify {
        #[command(flatten)]
        selection: BaseSelection,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Write a base as an image layout, an archive for `docker load`, or a root file system
    Export {
        /// alpine, raspbian or debian
        #[arg(value_name = "BASE")]
        base: Base,
        /// oci:PATH, docker-archive:PATH, or a file PATH.tar or PATH.tar.gz
        #[arg(value_name = "DEST")]
        to: String,
        /// Platform of the base
        #[arg(long, value_name = "PLATFORM", default_value = "linux/arm/v6")]
        platform: Platform,
        /// Debian's mirror, as for `image`
        #[arg(long, value_name = "URL")]
        debian_mirror: Option<String>,
    },
}

/// Which bases and platforms.
#[derive(Clone, Debug, Default, Args)]
pub struct BaseSelection {
    /// Bases [default: all]
    #[arg(value_name = "BASE")]
    pub bases: Vec<Base>,
    /// Platforms [default: those that are locked; for a base that is not locked, those of xtask.toml]
    #[arg(long = "platform", value_name = "PLATFORM")]
    pub platforms: Vec<Platform>,
    /// Only this source, as `cargo xtask base list` names it
    #[arg(long, value_name = "SOURCE")]
    pub source: Option<String>,
    /// Debian's mirror, as for `image`
    #[arg(long, value_name = "URL")]
    pub debian_mirror: Option<String>,
}

/// `cargo xtask cache`.
#[derive(Debug, Subcommand)]
pub enum CacheVerb {
    /// What is kept, with sizes
    List {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Delete everything that can be fetched or made again; refused while another run uses it
    Prune {
        /// Delete only what was not used for this many days
        #[arg(long, value_name = "DAYS")]
        older_than: Option<u64>,
    },
}
