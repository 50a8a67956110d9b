//! One file a verb of the command line.

use std::fs;
use std::path::{Path, PathBuf};

use crate::cx::Cx;
use crate::error::{Context, Error, Result};
use crate::policy::Policy;

pub mod attested;
pub mod audit;
pub mod base;
pub mod bench;
pub mod boot;
pub mod builder;
pub mod cache;
pub mod ci;
pub mod code;
pub mod doctor;
pub mod explain;
pub mod image;
pub mod plan;
pub mod push;
pub mod run;
pub mod setup;
pub mod size;
pub mod test;
pub mod toolchain;
pub mod verify;

/// How a verb ended when it could do its work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Exit code 0.
    Fine,
    /// Exit code 1: it ran and found problems.
    Findings,
}

/// A path of the command line: relative to where the user stands; but one below target/images, as `cargo xtask image`
/// prints it, is relative to the workspace, from wherever it is given back.
pub fn place(cx: &Cx, path: &str) -> PathBuf {
    let path = Path::new(path);
    if path.starts_with("target/images") {
        cx.root.join(path)
    } else {
        path.to_owned()
    }
}

/// Reads xtask.toml.
pub fn policy(cx: &Cx) -> Result<Policy> {
    let path = cx.root.join("xtask.toml");
    let text = fs::read_to_string(&path).context(|| format!("cannot read {}", path.display()))?;
    Policy::parse(&text).map_err(|error| {
        Error::new(format!("xtask.toml: {}", error.trim_end()))
            .hint("its comments say what each key means; `git diff xtask.toml` shows what changed here")
    })
}
