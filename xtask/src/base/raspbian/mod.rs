//! The `raspbian` base: Raspbian's own packages, or Debian's glibc compiled as Raspbian compiles it.
//!
//! * `archive`: Raspbian's archive. `openpgp` checks who signed it, `index` reads what was signed and chooses packages.
//! * `rebuild`: where that archive cannot be reached.

mod archive;
mod index;
mod openpgp;
mod rebuild;

pub use archive::{Source, archive};
pub use rebuild::rebuild;
