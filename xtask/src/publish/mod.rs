//! Sinks for images: a directory, an archive, a daemon. What is published is the image's own bytes, never a new encoding.

pub mod archive;
pub mod attestations;
pub mod daemon;
pub mod layout;
