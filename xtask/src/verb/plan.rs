//! `cargo xtask plan`: what a release consists of, for people and for the workflows' matrix.

use crate::cli::PlanArgs;
use crate::cx::Cx;
use crate::error::{Error, Result};
use crate::policy::Policy;
use crate::release::{self, Release};
use crate::verb::{Outcome, policy};
use crate::workspace;

/// Runs the verb. Exit code 1 when `--tag` is not the tag of the workspace's version.
pub fn run(cx: &Cx, args: &PlanArgs) -> Result<Outcome> {
    let release = resolve(cx, &policy(cx)?)?;
    if let Some(refusal) = args.tag.as_deref().and_then(|tag| release.refuse(tag)) {
        cx.ui.warn(&refusal);
        cx.ui
            .note("set `version` in the root Cargo.toml, commit, and tag that commit");
        return Ok(Outcome::Findings);
    }
    if args.json {
        // One line: it becomes the value of an output, `name=value`.
        cx.ui.result(&serde_json::to_string(&release)?);
    } else {
        cx.ui.result(release.text().trim_end());
    }
    Ok(Outcome::Fine)
}

/// The release of the workspace as it is.
pub fn resolve(cx: &Cx, policy: &Policy) -> Result<Release> {
    let facts = workspace::facts(&cx.shell, &cx.root, None)?;
    release::resolve(&policy.release, &facts.version).map_err(Error::new)
}
