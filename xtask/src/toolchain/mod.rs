//! Tools that the work needs: found, or fetched once into the cache; never installed system-wide.

pub mod closure;
pub mod debs;
pub mod pip;
pub mod rust_std;
pub mod zig;
