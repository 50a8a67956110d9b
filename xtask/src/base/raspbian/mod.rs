//! The `raspbian` base: Raspbian's own packages, or Debian's glibc compiled as Raspbian compiles it.

use super::found::{Found, Want};
use crate::cx::Cx;
use crate::error::{Error, Result};
use crate::policy::RaspbianPolicy;

/// Raspbian's packages, from the first of `mirrors` (URLs below which `dists` lies) that serves them.
pub fn archive(_cx: &Cx, mirrors: &[String], policy: &RaspbianPolicy, _want: Want<'_>) -> Result<Found> {
    Err(Error::new(format!(
        "{} of {} cannot be read yet",
        policy.suite,
        mirrors.join(", ")
    )))
}

/// Debian's glibc and libgcc_s, compiled for ARMv6 with hard float from their source packages.
pub fn rebuild(_cx: &Cx, policy: &RaspbianPolicy, _want: Want<'_>) -> Result<Found> {
    Err(Error::new(format!("{} cannot be compiled yet", policy.suite)))
}
