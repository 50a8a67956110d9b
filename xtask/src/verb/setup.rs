//! `cargo xtask setup`: the compiler and linker of all targets, for people who call cargo themselves.

use crate::cx::Cx;
use crate::error::Result;
use crate::toolchain::zig;
use crate::verb::{Outcome, policy};

/// Fetches zig and writes the scripts in .tools/.
pub fn run(cx: &Cx) -> Result<Outcome> {
    let zig = zig::provision(cx, &policy(cx)?)?;
    cx.ui.step(
        "Ready",
        &format!(
            "zig {} in {}, scripts in {}/",
            zig.version,
            zig.zig.display(),
            zig::SCRIPTS
        ),
    );
    Ok(Outcome::Fine)
}
