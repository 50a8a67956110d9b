//! A one-person mini blog: plain HTML pages and an Atom feed from one SQLite file.

pub mod domain;
