//! What the bases of 2018 weighed: the figures that this product began with, for comparison only.
//!
//! They are those of the talk "Rust, in use now" (Rust LT #2, 2018; connpass event 91177): compressed sizes of base images alone,
//! without any program, as Docker Hub displayed them for ARM, in whole megabytes. Nothing here was measured by this program.

/// One base of 2018.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reference {
    /// Its reference then.
    pub name: &'static str,
    /// Compressed bytes, rounded to a megabyte.
    pub pull: u64,
    /// What became of it on a Pi Zero.
    pub note: &'static str,
}

/// The bases, smallest first.
pub const REFERENCES: [Reference; 4] = [
    Reference {
        name: "arm32v6/alpine:latest",
        pull: 2_000_000,
        note: "musl",
    },
    Reference {
        name: "arm32v7/debian:stretch-slim",
        pull: 19_000_000,
        note: "ARMv7: did not run on a Zero",
    },
    Reference {
        name: "arm32v7/debian:stretch",
        pull: 42_000_000,
        note: "ARMv7: did not run on a Zero",
    },
    Reference {
        name: "resin/rpi-raspbian:stretch",
        pull: 53_000_000,
        note: "what ran then, with glibc",
    },
];
