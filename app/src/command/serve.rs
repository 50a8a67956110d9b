//! `blog serve`: the blog itself, until a signal asks it to stop.

use super::{Command, Operands};
use crate::cli::Outcome;
use crate::startup;

pub const COMMAND: Command = Command {
    name: "serve",
    summary: "serve the blog (the default)",
    about: "",
    operands: Operands::NONE,
    options: &[],
    json: false,
    examples: &[
        "blog serve --listen 127.0.0.1:8080 --database ./blog.db",
        "BLOG_TITLE=Notes blog serve --insecure-cookie",
        "blog serve --config /etc/blog.conf",
    ],
    run: |invocation| startup::serve(invocation.settings()?).map(|()| Outcome::Fine),
};
