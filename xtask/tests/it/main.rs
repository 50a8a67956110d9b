//! The integration tests of xtask: one binary, one file a room.
#![allow(clippy::unwrap_used)]

mod oci;
mod publish;
mod require;
