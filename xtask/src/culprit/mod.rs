//! Whose code is it: from an address in a program to the object, the crate or the part of the tool chain that it comes
//! from, and how that got in. Pure: the evidence (the linker's map, cargo's messages, its graph of packages) is collected by
//! `compile`.

pub mod graph;
pub mod guard;
pub mod list;
pub mod map;
pub mod name;
pub mod origin;
pub mod reach;
pub mod unwind;
