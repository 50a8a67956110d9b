//! The pipeline behind `cargo xtask`: from source to an image that runs on a Raspberry Pi Zero. See ARCHITECTURE.md.

pub mod audit;
pub mod base;
pub mod boot;
pub mod cache;
pub mod cli;
pub mod compile;
pub mod context;
pub mod cx;
pub mod deb;
pub mod elf;
pub mod error;
pub mod http;
pub mod isa;
pub mod oci;
pub mod plan;
pub mod policy;
pub mod publish;
pub mod run;
pub mod shell;
pub mod target;
pub mod toolchain;
pub mod ui;
pub mod verb;
pub mod workspace;
