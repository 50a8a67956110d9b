//! The commands: one module each, and one row in [`COMMANDS`]. A module owns what its command does; the command line is
//! read by `cli` alone.

pub mod backup;
pub mod check;
pub mod config;
pub mod doctor;
pub mod export;
pub mod findings;
pub mod health;
pub mod import;
pub mod owner;
pub mod serve;

use crate::cli::{Failure, Invocation, Outcome};

/// A command of the program, as the command line and `--help` know it.
#[derive(Debug)]
pub struct Command {
    /// As typed, words with single spaces: `owner set`.
    pub name: &'static str,
    /// One line for the list of commands.
    pub summary: &'static str,
    /// What more there is to say, in its own `--help`; may be empty.
    pub about: &'static str,
    pub operands: Operands,
    /// Options of its own. Those of `settings::TABLE`, `--config` and `--json` are not among them.
    pub options: &'static [Opt],
    /// Whether `--json` gives the result as JSON.
    pub json: bool,
    /// Command lines for `--help`; a test parses each.
    pub examples: &'static [&'static str],
    pub run: fn(&Invocation) -> Result<Outcome, Failure>,
}

/// What may stand behind a command's name.
#[derive(Debug)]
pub struct Operands {
    /// For the line of usage: `FILE...`.
    pub usage: &'static str,
    /// At least and at most so many.
    pub count: (usize, usize),
}

impl Operands {
    pub const NONE: Self = Self {
        usage: "",
        count: (0, 0),
    };
}

/// An option of one command.
#[derive(Debug)]
pub struct Opt {
    /// Without the dashes. The same name takes a value in all commands or in none.
    pub long: &'static str,
    /// What its value is called; empty when it takes none.
    pub value: &'static str,
    pub meaning: &'static str,
}

/// Every command, in the order of `--help`.
pub const COMMANDS: &[Command] = &[
    serve::COMMAND,
    owner::SET,
    owner::RESET,
    health::COMMAND,
    config::COMMAND,
    import::X_ARCHIVE,
    import::MASTODON,
    import::MARKDOWN,
    import::EXPORT,
    export::COMMAND,
    backup::BACKUP,
    backup::RESTORE,
    check::COMMAND,
    doctor::COMMAND,
];
