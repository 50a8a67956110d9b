//! `cargo xtask boot`.

use clap::Args;

use crate::target::{Base, Platform};

/// `cargo xtask boot`.
#[derive(Debug, Args)]
#[command(after_help = "\
The image is the one that `cargo xtask image` made last for that base; it is made first if there is none. The board is QEMU's
raspi0 (ARM1176, 512 MB) with Debian's kernel for it; both are fetched into the cache when they are missing. The image's
volumes are on an SD card, target/boot/BASE-PLATFORM/card.img, which stays. Nothing goes out to the network.

--check takes a card of its own, signs in and posts through the forms of the blog, cuts the power as soon as the post is
acknowledged, boots again and looks for the post.

Exit status: 0 fine; 1 the image does not run on the Pi Zero, does not answer, or has lost the post; 2 there is no such machine.

Examples:
  cargo xtask boot
  cargo xtask boot --base debian --check
  cargo xtask boot --port 0 --fresh -e BLOG_TITLE=Notes
  cargo xtask boot --check --json")]
pub struct BootArgs {
    /// Base of the image to boot
    #[arg(long, default_value = "scratch")]
    pub base: Base,
    /// Platform of the image to boot: a Pi Zero is linux/arm/v6
    #[arg(long, default_value = "linux/arm/v6")]
    pub platform: Platform,
    /// Post, cut the power, boot again and find the post
    #[arg(long, conflicts_with_all = ["fresh", "args"])]
    pub check: bool,
    /// Port on 127.0.0.1; 0 takes a free one [default: 8080, with --check a free one]
    #[arg(long)]
    pub port: Option<u16>,
    /// The owner's port on 127.0.0.1; 0 takes a free one [default: 8081, where --port is free a free one]
    #[arg(long)]
    pub admin_port: Option<u16>,
    /// Start with an empty SD card
    #[arg(long)]
    pub fresh: bool,
    /// Set a variable in the image's environment
    #[arg(long = "env", short = 'e', value_name = "NAME=VALUE")]
    pub env: Vec<String>,
    /// Seconds to wait for the first answer, from switching on
    #[arg(long, default_value_t = 180, value_name = "SECONDS")]
    pub wait: u64,
    /// Debian's mirror, when apt on this machine is not configured with one [env: XTASK_DEBIAN_MIRROR]
    #[arg(long, value_name = "URL")]
    pub debian_mirror: Option<String>,
    /// Take the newest kernel instead of the one taken last
    #[arg(long)]
    pub refresh: bool,
    /// Print all figures as JSON
    #[arg(long)]
    pub json: bool,
    /// Arguments instead of the image's CMD
    #[arg(last = true, value_name = "ARGS")]
    pub args: Vec<String>,
}
