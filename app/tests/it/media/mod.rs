//! Images: taken apart and put together again, stored, sent and served.

mod clean;
mod compose;
mod damage;
mod serve;
mod upload;

use std::io::Cursor;

use blog::media::{Failed, Limits, Picture, sanitise};

/// The picture without anything else.
pub fn clean(bytes: &[u8]) -> Result<(Picture, Vec<u8>), Failed> {
    let mut out = Vec::new();
    let picture = sanitise(Cursor::new(bytes), &mut out, &Limits::default())?;
    Ok((picture, out))
}

/// Bit by bit, so that it shares nothing with the table of the program.
pub fn crc(bytes: &[u8]) -> u32 {
    let mut value = u32::MAX;
    for byte in bytes {
        value ^= u32::from(*byte);
        for _ in 0..8 {
            value = if value & 1 == 1 {
                value >> 1 ^ 0xedb8_8320
            } else {
                value >> 1
            };
        }
    }
    !value
}

/// A chunk of a PNG with the right check sum.
pub fn chunk(kind: &[u8; 4], data: &[u8]) -> Vec<u8> {
    let inner = [kind.as_slice(), data].concat();
    let length = (data.len() as u32).to_be_bytes();
    [&length, inner.as_slice(), &crc(&inner).to_be_bytes()].concat()
}
