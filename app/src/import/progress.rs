//! How far long work has come, on standard error: at most one line a second, so that a log is not filled.

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

#[derive(Debug)]
pub struct Progress {
    /// What is being done: `importing`.
    verb: &'static str,
    last: Instant,
    every: Duration,
    terminal: bool,
    open: bool,
}

impl Progress {
    pub fn new(verb: &'static str) -> Self {
        let terminal = std::io::stderr().is_terminal();
        Self {
            verb,
            last: Instant::now(),
            every: Duration::from_secs(if terminal { 1 } else { 10 }),
            terminal,
            open: false,
        }
    }

    /// `done` of `total` things; 0 when nobody knows how many there will be.
    pub fn at(&mut self, done: u64, total: u64) {
        if self.last.elapsed() < self.every {
            return;
        }
        self.last = Instant::now();
        let of = if total > 0 {
            format!(" of {total}")
        } else {
            String::new()
        };
        let (before, after) = if self.terminal { ("\r", "") } else { ("", "\n") };
        // Nobody is left to tell when standard error is gone.
        let _ = write!(std::io::stderr(), "{before}{}: {done}{of}{after}", self.verb);
        self.open = self.terminal;
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.open {
            let _ = writeln!(std::io::stderr());
        }
    }
}
