//! The blog as its readers and its owner meet it: the real program on a free port, spoken to over TCP.
#![allow(clippy::unwrap_used)]

mod app;
mod cli;
mod durability;
mod feed;
mod http;
mod limits;
mod posts;
mod reading;
mod session;
mod xml;
