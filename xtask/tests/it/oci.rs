//! Layers, Dockerfiles, images and layouts: golden digests, and input that means harm.

mod dockerfile;
pub mod image;
mod layer;
