//! `cargo xtask run`: serves the image that was made last, made first if there is none.

use crate::cli::{ImageArgs, Isolation, RunArgs};
use crate::cx::Cx;
use crate::error::{Error, Result};
use crate::plan::image_tag;
use crate::policy::{BuilderChoice, ImagePolicy};
use crate::run::{self, ImageSource, RunOptions, Service};
use crate::target::{Base, Platform};
use crate::verb::{Outcome, image, policy};

/// Runs the verb.
pub fn run(cx: &Cx, args: &RunArgs) -> Result<Outcome> {
    let options = options(cx, args)?;
    if !make_if_missing(cx, args.base, args.platform)? {
        return Ok(Outcome::Findings);
    }
    run::run(cx, &image_source(cx, args.base, args.platform)?, &options)?;
    Ok(Outcome::Fine)
}

/// Makes the image if there is none in target/images; false when the audit refused it.
pub fn make_if_missing(cx: &Cx, base: Base, platform: Platform) -> Result<bool> {
    let tag = image_tag(base, platform);
    if cx.root.join("target/images").join(&tag).join("index.json").is_file() {
        return Ok(true);
    }
    cx.ui.note(&format!("there is no image {tag} yet: making it"));
    let wanted = ImageArgs {
        bases: vec![base],
        platforms: vec![platform],
        builder: Some(BuilderChoice::Host),
        ..ImageArgs::default()
    };
    let policy = policy(cx)?;
    let compiler = crate::toolchain::rust_std::Detected::default();
    let plan = image::resolve(cx, &wanted, &policy, &compiler)?;
    Ok(image::make(cx, &wanted, &policy, &plan, &compiler)?.is_some())
}

/// The image that `cargo xtask image` wrote to target/images.
pub fn image_source(cx: &Cx, base: Base, platform: Platform) -> Result<ImageSource> {
    let tag = image_tag(base, platform);
    ImageSource::from_layout(&cx.root.join("target/images").join(&tag), Some(&tag), base, platform).map_err(|error| {
        error.hint(format!(
            "make it: `cargo xtask image --base {base} --platform {platform}`"
        ))
    })
}

fn options(cx: &Cx, args: &RunArgs) -> Result<RunOptions> {
    let policy = policy(cx)?;
    Ok(RunOptions {
        service: service(&policy.image),
        port: args.port,
        admin_port: args.admin_port.unwrap_or(if args.port == 0 {
            0
        } else {
            policy.image.admin_port.unwrap_or(0)
        }),
        isolation: match args.isolation {
            Isolation::Auto => run::Isolation::Auto,
            Isolation::Chroot => run::Isolation::Chroot,
            Isolation::Prefix => run::Isolation::Prefix,
        },
        data: args.data.clone(),
        fresh: args.fresh,
        env: environment(&args.env)?,
        args: args.args.clone(),
        wait: std::time::Duration::from_secs(args.wait),
        echo: true,
    })
}

/// How the server is reached.
pub fn service(image: &ImagePolicy) -> Service {
    Service {
        port: image.port,
        admin_port: image.admin_port,
        volume: image.volume.clone(),
        ready: image.ready.clone(),
    }
}

/// `--env`.
pub fn environment(texts: &[String]) -> Result<Vec<(String, String)>> {
    let pairs = texts.iter().map(|text| {
        let (name, value) = text.split_once('=').ok_or_else(|| {
            Error::new(format!("--env {text}: expected NAME=VALUE")).hint("quote the whole: --env 'NAME=a value'")
        })?;
        Ok((name.to_owned(), value.to_owned()))
    });
    pairs.collect()
}
