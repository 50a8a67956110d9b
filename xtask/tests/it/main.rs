//! The integration tests of xtask: one binary, one file a room.
#![allow(clippy::unwrap_used)]

mod audit;
mod base;
mod base_alpine;
mod base_own;
mod chain;
mod cli;
mod culprit;
mod deny;
mod engine;
mod http;
mod isa;
mod oci;
mod publish;
mod registry;
mod require;
mod run;
mod size;
mod tidy;
