//! Whose code it is: real links, a real crate with NEON in it.

mod story;
mod strip;
