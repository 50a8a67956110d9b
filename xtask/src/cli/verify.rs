//! `cargo xtask verify`.

use clap::Args;

/// `cargo xtask verify`.
#[derive(Debug, Default, Args)]
#[command(after_help = "\
IMAGE is NAME[:TAG] or NAME@DIGEST of a registry, oci:PATH (an image layout), docker-archive:PATH, or docker-daemon:NAME[:TAG].
Everything is read again: every blob's digest and size, what layers unpack to, whether index, configuration, label and code
name one platform, every ELF file, and whether SBOM and provenance are about this image. All findings are told.

--rebuild builds the revision that the image's label names, in a git worktree in the cache, with the pipeline of that
revision, and shows the first difference: a field of a tar header, a section of the program, a member of the configuration.

Examples:
  cargo xtask verify                                  the images in target/images
  cargo xtask verify docker.io/USER/blog:1.2.3        all platforms of a pushed image
  cargo xtask verify oci:target/images/scratch-armv6 --rebuild
  cargo xtask verify --json docker-archive:blog.tar

Exit status: 0 nothing is wrong, 1 findings, 2 it could not be read, or nobody could build it again.")]
pub struct VerifyArgs {
    /// What to verify [default: the layouts in target/images]
    #[arg(value_name = "IMAGE")]
    pub inputs: Vec<String>,
    /// Build the labelled revision and show the first difference
    #[arg(long)]
    pub rebuild: bool,
    /// Accept no finding of the audit: neither waivers of xtask.toml nor guards that were checked
    #[arg(long)]
    pub strict: bool,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}
