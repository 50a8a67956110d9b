//! The log: one logfmt line per event on standard error, written by hand because the usual crate is large.
//!
//! Handing a line to the kernel costs the Pi as much as sending a page. So lines about requests wait a moment for others
//! and go out together; whatever else happens goes out at once, with what waited before it.

use std::fmt::{self, Write as _};
use std::io::Write as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

use crate::domain::time::Stamp;

/// Of events about single requests.
pub const REQUEST: &str = "blog::request";

/// How long a line about a request waits for others.
const MOMENT: Duration = Duration::from_millis(100);
/// Bytes of lines that wait at most.
const MOST_WAITING: usize = 8 * 1024;

/// Lines that wait.
static WAITING: Mutex<Vec<u8>> = Mutex::new(Vec::new());
/// Told when the first line begins to wait.
static FIRST: Condvar = Condvar::new();
/// Whether there is somebody who writes what waits.
static HAS_WRITER: AtomicBool = AtomicBool::new(false);

fn waiting() -> MutexGuard<'static, Vec<u8>> {
    WAITING.lock().unwrap_or_else(PoisonError::into_inner)
}

/// In one write, so that lines do not mix with those of others. A log that cannot be written is not fatal.
fn write_out(lines: &mut Vec<u8>) {
    if !lines.is_empty() {
        let _ = std::io::stderr().write_all(lines);
        lines.clear();
    }
}

fn write_again_and_again() {
    loop {
        let mut lines = waiting();
        while lines.is_empty() {
            lines = FIRST.wait(lines).unwrap_or_else(PoisonError::into_inner);
        }
        drop(lines);
        std::thread::sleep(MOMENT);
        write_out(&mut waiting());
    }
}

struct Logfmt;

/// The log, from its start to its end, at which nothing waits any more.
#[derive(Debug)]
pub struct Log(());

/// Starts the log. A second call changes nothing.
pub fn start() -> Log {
    if tracing::subscriber::set_global_default(Logfmt).is_ok() {
        let writer = std::thread::Builder::new()
            .name("log".to_owned())
            .spawn(write_again_and_again);
        HAS_WRITER.store(writer.is_ok(), Ordering::Relaxed);
    }
    Log(())
}

impl Drop for Log {
    fn drop(&mut self) {
        // Before the lock is taken: whoever has it later waits for nobody.
        HAS_WRITER.store(false, Ordering::Relaxed);
        write_out(&mut waiting());
    }
}

impl Subscriber for Logfmt {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        // The server's own crates speak at "info" about workers and sockets; only their warnings matter here.
        let most = if metadata.target().starts_with("blog") {
            Level::INFO
        } else {
            Level::WARN
        };
        metadata.is_event() && *metadata.level() <= most
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(LevelFilter::INFO)
    }

    fn event(&self, event: &Event<'_>) {
        let level = match *event.metadata().level() {
            Level::ERROR => "error",
            Level::WARN => "warn",
            _ => "info",
        };
        let mut line = Line(format!("ts={} level={level}", Stamp::now_with_millis()));
        event.record(&mut line);
        line.0.push('\n');
        let mut lines = waiting();
        let is_first = lines.is_empty();
        lines.extend_from_slice(line.0.as_bytes());
        let may_wait = event.metadata().target() == REQUEST && HAS_WRITER.load(Ordering::Relaxed);
        if !may_wait || lines.len() > MOST_WAITING {
            write_out(&mut lines);
        } else if is_first {
            FIRST.notify_one();
        }
    }

    // Spans are not used.
    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }
    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

struct Line(String);

impl Line {
    fn pair(&mut self, key: &str, value: &str) {
        let key = if key == "message" { "msg" } else { key };
        self.0.push(' ');
        self.0.push_str(key);
        self.0.push('=');
        let bare = |c: char| !(c.is_whitespace() || c.is_control() || matches!(c, '"' | '=' | '\\'));
        if !value.is_empty() && value.chars().all(bare) {
            self.0.push_str(value);
            return;
        }
        self.0.push('"');
        for c in value.chars() {
            match c {
                '"' | '\\' => {
                    self.0.push('\\');
                    self.0.push(c);
                }
                '\n' => self.0.push_str("\\n"),
                // Whatever a client sent, it cannot start a line of its own or steer a terminal.
                c if c.is_control() => {
                    let _ = write!(self.0, "\\u{:04x}", u32::from(c));
                }
                c => self.0.push(c),
            }
        }
        self.0.push('"');
    }
}

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.pair(field.name(), &format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.pair(field.name(), value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_cannot_break_the_line() {
        let mut line = Line(String::new());
        line.pair("message", "two words");
        line.pair("path", "/a\nts=1 \"x\" \u{1b}[31m");
        line.pair("n", "7");
        assert_eq!(
            line.0,
            " msg=\"two words\" path=\"/a\\nts=1 \\\"x\\\" \\u001b[31m\" n=7"
        );
    }
}
