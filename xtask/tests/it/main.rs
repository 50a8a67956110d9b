//! The integration tests of xtask: one binary, one file a room.
#![allow(clippy::unwrap_used)]

mod attest;
mod audit;
mod base;
mod base_alpine;
mod base_own;
mod base_registry;
mod boot;
mod chain;
mod cli;
mod culprit;
mod deny;
mod engine;
mod http;
mod isa;
mod oci;
mod publish;
mod raspbian;
mod registry;
mod require;
mod run;
mod size;
mod tidy;
mod verify;
