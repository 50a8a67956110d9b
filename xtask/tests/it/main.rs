//! The integration tests of xtask: one binary, one file a room.
#![allow(clippy::unwrap_used)]

mod audit;
mod base;
mod boot;
mod chain;
mod cli;
mod isa;
mod oci;
mod publish;
mod require;
mod run;
mod tidy;
