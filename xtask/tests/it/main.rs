//! The integration tests of xtask: one binary, one file a room.
#![allow(clippy::unwrap_used)]

mod audit;
mod base;
mod chain;
mod cli;
mod deny;
mod http;
mod isa;
mod oci;
mod publish;
mod registry;
mod require;
mod run;
mod tidy;
