//! A one-person mini blog: plain HTML pages and an Atom feed from one SQLite file.
//!
//! `cli` reads the command line, `command` has one module a command, `startup` runs the server,
//! `envelope` is around every answer, `routes` answers requests, `domain` holds the values that are valid once they exist,
//! `micropub` says what programs mean that post, `words` is the interface in each of its languages,
//! `db` is the only module that talks to SQLite, `auth` decides who may write.

pub mod archive;
pub mod auth;
pub mod backup;
pub mod cli;
pub mod clock;
pub mod command;
pub mod db;
pub mod domain;
pub mod envelope;
pub mod error;
pub mod export;
pub mod headers;
pub mod hosts;
pub mod import;
pub mod listen;
pub mod media;
pub mod metrics;
pub mod micropub;
pub mod page_cache;
pub mod routes;
pub mod schedule;
pub mod settings;
pub mod startup;
pub mod telemetry;
pub mod words;
