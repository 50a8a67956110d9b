//! The blog as its readers and its owner meet it: the real program on a free port, spoken to over TCP.
#![allow(clippy::unwrap_used)]
// The ban is for the pipeline, whose commands go through its shell; here the program itself is what is tested.
#![allow(clippy::disallowed_methods)]

mod access;
mod app;
mod attack;
mod browser;
mod cli;
mod crash;
mod crawl;
mod data;
mod durability;
mod feed;
mod full_disk;
mod http;
mod leak;
mod limits;
mod listeners;
mod look;
mod media;
mod micropub;
mod public;
mod python;
mod reading;
mod require;
mod seed;
mod session;
mod snapshot;
mod webdriver;
mod writing;
mod xml;
