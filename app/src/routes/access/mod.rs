//! The owner's pages about access: sessions, tokens of programs, the second factor.

pub mod metrics;
pub mod sessions;
pub mod status;
pub mod tokens;
pub mod two_factor;

use crate::domain::{Stamp, Zone};

/// A moment as the tables show it; what there is none of is an empty text.
fn moment(stamp: Option<Stamp>, zone: Zone) -> String {
    stamp.map_or(String::new(), |stamp| zone.human(stamp))
}
