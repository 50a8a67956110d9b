//! The `raspbian` base: Raspbian's own packages, or Debian's glibc compiled as Raspbian compiles it.

mod rebuild;

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

/// Debian's glibc and libgcc_s, compiled for ARMv6 with hard float from their source packages. `mirror` is a mirror of Debian
/// instead of the host's.
pub fn rebuild(cx: &Cx, policy: &RaspbianPolicy, mirror: Option<&str>, want: Want<'_>) -> Result<Found> {
    rebuild::rebuild(cx, &policy.rebuild, mirror, want)
}
