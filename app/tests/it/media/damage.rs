//! Cut, flipped, spliced and invented files: never a panic, and what passes has been understood to its last byte.

use std::collections::BTreeMap;
use std::io::Cursor;

use blog::media::{Failed, Limits, Refused, sanitise};

use super::{clean, crc};

/// The small images of `fixtures/images`, made by `fixtures/images.py small`.
fn images() -> BTreeMap<String, Vec<u8>> {
    let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/images");
    let entries = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let images: BTreeMap<_, _> = entries
        .map(|path| {
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            (name, std::fs::read(path).unwrap())
        })
        .collect();
    assert_eq!(images.len(), 6);
    images
}

fn has_secret(bytes: &[u8]) -> bool {
    bytes.windows(6).any(|bytes| bytes == b"SECRET")
}

/// What comes out goes in again and comes out the same: nothing in it is there by accident.
fn settled(bytes: &[u8], what: &str) -> Option<Vec<u8>> {
    let (_, out) = clean(bytes).ok()?;
    let (_, again) = clean(&out).unwrap_or_else(|error| panic!("{what}: its own output is refused: {error}"));
    assert!(again == out, "{what}: its own output changes");
    Some(out)
}

#[test]
fn no_part_of_an_image_is_an_image() {
    for (name, bytes) in images() {
        for length in 0..bytes.len() {
            assert!(clean(&bytes[..length]).is_err(), "{name}, {length} bytes");
        }
        assert!(!has_secret(&clean(&bytes).unwrap().1), "{name}");
    }
}

#[test]
fn one_wrong_bit() {
    for (name, bytes) in images() {
        let mut passed = 0;
        for bit in 0..bytes.len() * 8 {
            let mut damaged = bytes.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            if let Some(out) = settled(&damaged, &format!("{name}, bit {bit}")) {
                assert!(!has_secret(&out), "{name}, bit {bit}");
                passed += 1;
            }
        }
        // Every chunk of a PNG has a check sum, also those that are dropped.
        if name.ends_with(".png") {
            assert_eq!(passed, 0, "{name}");
        }
    }
}

/// The same numbers in every run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, below: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % below as u64) as usize
    }
}

#[test]
fn pieces_moved_doubled_lost_and_invented() {
    let images: Vec<_> = images().into_iter().collect();
    let mut dice = Dice(0x0123_4567_89ab_cdef);
    let mut passed = 0;
    for round in 0..10_000 {
        let (name, bytes) = &images[dice.roll(images.len())];
        let mut bytes = bytes.clone();
        for _ in 0..=dice.roll(4) {
            let at = dice.roll(bytes.len());
            let length = dice.roll(bytes.len() - at).min(1 + dice.roll(40));
            let piece = bytes[at..at + length].to_vec();
            match dice.roll(6) {
                0 => bytes[at] = dice.roll(256) as u8,
                1 => drop(bytes.drain(at..at + length)),
                2 => drop(bytes.splice(at..at, piece)),
                3 => {
                    let to = dice.roll(bytes.len());
                    bytes.splice(to..to, piece);
                }
                4 => bytes.extend_from_slice(&piece),
                // Lengths are where it hurts.
                _ => bytes[at..].iter_mut().take(4).for_each(|byte| *byte = 0xff),
            }
            if bytes.is_empty() {
                bytes.push(0);
            }
        }
        passed += usize::from(settled(&bytes, &format!("{name}, round {round}")).is_some());
    }
    assert!(passed > 300, "the damage is so large that nothing is tested: {passed}");
}

#[test]
fn what_follows_an_image_is_not_taken_along() {
    for (name, bytes) in images() {
        let (_, alone) = clean(&bytes).unwrap();
        let tails: [&[u8]; 4] = [
            b"<html><script>alert(1)</script>",
            b"PK\x03\x04GIFAR",
            b"\xff\xd8\xff\xe0",
            &bytes,
        ];
        for tail in tails {
            let (_, out) = clean(&[bytes.as_slice(), tail].concat()).unwrap();
            assert!(out == alone, "{name}");
        }
    }
}

#[test]
fn other_files_that_would_like_to_be_images() {
    for bytes in [
        &b"GIF89a/*<svg onload=alert(1)>*/=1;"[..],
        b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>",
        b"\xff\xd8\xff\xfe\x00\x1e<script>alert(1)</script>\xff\xd9",
        b"\xff\xd8\xff\xd9",
        b"\x89PNG\r\n\x1a\n<script>alert(1)</script>",
        b"RIFF\x20\0\0\0WEBPVP8 \x14\0\0\0<script>alert(1)</sc>",
        b"%PDF-1.7\xff\xd8\xff\xe0",
        b"PK\x03\x04",
        b"",
    ] {
        let mut out = Vec::new();
        assert!(
            sanitise(Cursor::new(bytes), &mut out, &Limits::default()).is_err(),
            "{bytes:?}"
        );
    }
}

#[test]
fn sizes_are_refused_by_the_header_alone() {
    let refusal = |bytes: &[u8], limits: &Limits| match sanitise(Cursor::new(bytes), &mut Vec::new(), limits) {
        Err(Failed::Refused(refused)) => refused,
        other => panic!("{other:?}"),
    };
    let few = Limits {
        pixels: 39,
        ..Limits::default()
    };
    let short = Limits {
        bytes: 100,
        ..Limits::default()
    };
    for (name, bytes) in images() {
        let refused = refusal(&bytes, &few);
        assert!(
            matches!(
                refused,
                Refused::TooManyPixels {
                    width: 8,
                    height: 5,
                    limit: 39
                }
            ),
            "{name}: {refused:?}"
        );
        let is = bytes.len() as u64;
        assert_eq!(refusal(&bytes, &short), Refused::TooManyBytes { bytes: is, limit: 100 });
    }
    // A bomb: 30,000 x 30,000 pixels in a few bytes, of which nothing but the header is there.
    let mut png = images()["palette.png"][..33].to_vec();
    png[16..24].copy_from_slice(&[0, 0, 0x75, 0x30, 0, 0, 0x75, 0x30]);
    let sum = crc(&png[12..29]);
    png[29..33].copy_from_slice(&sum.to_be_bytes());
    assert!(matches!(
        refusal(&png, &Limits::default()),
        Refused::TooManyPixels { .. }
    ));
}
