//! Images: taken apart and put together again, stored, sent and served.

mod clean;
mod damage;

use std::io::Cursor;

use blog::media::{Failed, Limits, Picture, sanitise};

/// The picture without anything else.
pub fn clean(bytes: &[u8]) -> Result<(Picture, Vec<u8>), Failed> {
    let mut out = Vec::new();
    let picture = sanitise(Cursor::new(bytes), &mut out, &Limits::default())?;
    Ok((picture, out))
}
