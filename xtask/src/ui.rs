//! The only module that prints. Results go to stdout, everything else to stderr.

use std::io::{IsTerminal, Write};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use crate::error::{Error, Result};
pub use crate::units::bytes;

/// How talkative the run is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verbosity {
    /// `-q`: errors and results only.
    Quiet,
    /// The default.
    Normal,
    /// `-v`: also every command that is run.
    Verbose,
}

/// Where messages go. Cheap to share by reference.
#[derive(Debug)]
pub struct Ui {
    verbosity: Verbosity,
    color: bool,
    terminal: bool,
    /// Bars that grow at the same time are drawn below each other.
    bars: MultiProgress,
    /// Why a result could not be written.
    lost: Mutex<Option<std::io::Error>>,
}

#[allow(clippy::print_stdout, clippy::print_stderr)]
impl Ui {
    /// Colour and bars only on a terminal, and never with `NO_COLOR` (no-color.org).
    pub fn new(verbosity: Verbosity) -> Self {
        let terminal = std::io::stderr().is_terminal();
        let color = terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        Ui {
            verbosity,
            color,
            terminal,
            bars: MultiProgress::new(),
            lost: Mutex::default(),
        }
    }

    /// The verbosity asked for.
    pub fn verbosity(&self) -> Verbosity {
        self.verbosity
    }

    /// Whether only results, warnings and errors are wanted.
    pub fn is_quiet(&self) -> bool {
        self.verbosity == Verbosity::Quiet
    }

    /// Whether stderr is a terminal.
    pub fn is_terminal(&self) -> bool {
        self.terminal
    }

    fn paint(&self, code: &str, text: &str) -> String {
        if self.color {
            format!("\x1b[{code}m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    }

    /// A step of the work, in cargo's style: `    Packing blog (2.0 MB)`.
    pub fn step(&self, verb: &str, message: &str) {
        if self.verbosity > Verbosity::Quiet {
            self.line(&format!("{} {message}", self.paint("1;32", &format!("{verb:>12}"))));
        }
    }

    /// A line above the bars that are being drawn.
    fn line(&self, line: &str) {
        match self.terminal {
            true => self.bars.suspend(|| eprintln!("{line}")),
            false => eprintln!("{line}"),
        }
    }

    /// Something that was decided or noticed.
    pub fn note(&self, message: &str) {
        if self.verbosity > Verbosity::Quiet {
            self.line(&format!("{} {message}", self.paint("1;36", "note:")));
        }
    }

    /// Something that the user may want to change.
    pub fn warn(&self, message: &str) {
        self.line(&format!("{} {message}", self.paint("1;33", "warning:")));
    }

    /// What something says on its way, if all of it is wanted (`-v`).
    pub fn detail(&self, line: &str) {
        if self.verbosity == Verbosity::Verbose {
            eprintln!("{line}");
        }
    }

    /// A command that is about to run; shown with `-v`.
    pub fn command(&self, line: &str) {
        if self.verbosity == Verbosity::Verbose {
            eprintln!("{} {line}", self.paint("2", "$"));
        }
    }

    /// The error that ends the run, with its next step.
    pub fn error(&self, error: &Error) {
        eprintln!("{} {error}", self.paint("1;31", "error:"));
        if let Some(hint) = error.next_step() {
            eprintln!("{} {hint}", self.paint("1;36", "hint:"));
        }
    }

    /// Plain text for people on stderr (a report of findings, say).
    pub fn text(&self, text: &str) {
        eprint!("{text}");
    }

    /// A line of the result, on stdout. A closed pipe (`| head`) is not an error; what else keeps a line from being written
    /// is told by [`Ui::finish`].
    pub fn result(&self, line: &str) {
        let mut out = std::io::stdout().lock();
        if let Err(error) = writeln!(out, "{line}").and_then(|()| out.flush())
            && error.kind() != std::io::ErrorKind::BrokenPipe
        {
            self.lost
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .get_or_insert(error);
        }
    }

    /// Fails when a result was lost, to a full disk say: it is all that a caller goes by.
    pub fn finish(&self) -> Result<()> {
        match self.lost.lock().unwrap_or_else(PoisonError::into_inner).take() {
            None => Ok(()),
            Some(error) => Err(Error::from(error)
                .context("cannot write the result to stdout")
                .hint("the work itself was done; run again with another stdout")),
        }
    }

    /// A bar for `total` bytes; hidden when stderr is not a terminal or the run is quiet.
    pub fn bytes_bar(&self, label: &str, total: u64) -> ProgressBar {
        if !self.terminal || self.verbosity == Verbosity::Quiet {
            return ProgressBar::hidden();
        }
        let bar = self.bars.add(ProgressBar::new(total));
        if let Ok(style) =
            ProgressStyle::with_template("{prefix:>12.bold.green} {bar:30} {decimal_bytes}/{decimal_total_bytes} {msg}")
        {
            bar.set_style(style);
        }
        bar.set_prefix(label.to_owned());
        bar
    }

    /// A spinner for work of unknown length; a plain step line when stderr is not a terminal.
    pub fn spinner(&self, verb: &str, message: &str) -> ProgressBar {
        if !self.terminal || self.verbosity == Verbosity::Quiet {
            self.step(verb, message);
            return ProgressBar::hidden();
        }
        let bar = ProgressBar::new_spinner();
        if let Ok(style) = ProgressStyle::with_template("{prefix:>12.bold.green} {msg} {elapsed} {spinner}") {
            bar.set_style(style);
        }
        bar.set_prefix(verb.to_owned());
        bar.set_message(message.to_owned());
        bar.enable_steady_tick(Duration::from_millis(120));
        bar
    }
}
