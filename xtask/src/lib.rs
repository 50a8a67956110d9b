//! The pipeline behind `cargo xtask`: from source to an image that runs on a Raspberry Pi Zero. See ARCHITECTURE.md.

pub mod attest;
pub mod audit;
pub mod base;
pub mod boot;
pub mod builder;
pub mod cache;
pub mod cli;
pub mod compile;
pub mod context;
pub mod culprit;
pub mod cx;
pub mod deb;
pub mod engine;
pub mod error;
pub mod http;
pub mod oci;
pub mod plan;
pub mod policy;
pub mod publish;
pub mod registry;
pub mod release;
pub mod report;
pub mod run;
pub mod shell;
pub mod source;
pub mod sysroot;
pub mod target;
pub mod toolchain;
pub mod ui;
pub mod units;
pub mod verb;
pub mod verify;
pub mod workspace;

pub use machine_code::{elf, isa};
