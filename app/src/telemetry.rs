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

use crate::clock;
use crate::domain::calendar::Civil;

/// How long a line about a request waits for others.
const MOMENT: Duration = Duration::from_millis(100);
/// Bytes of lines that wait at most.
const MOST_WAITING: usize = 8 * 1024;

/// Lines that wait.
static WAITING: Mutex<Vec<u8>> = Mutex::new(Vec::new());
/// The second of the last line, and how it is written: most lines are of the same second.
static SECOND: Mutex<(i64, String)> = Mutex::new((i64::MIN, String::new()));
/// Told when the first line begins to wait.
static FIRST: Condvar = Condvar::new();
/// Commands besides `serve` have no log.
static HAS_STARTED: AtomicBool = AtomicBool::new(false);
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

/// The line about an answer. It is written without the events of `tracing`, which took as long as finding the page.
pub fn request(method: &str, path: &str, status: u16, millis: u64) {
    if !HAS_STARTED.load(Ordering::Relaxed) {
        return;
    }
    let mut line = Line::begin("info");
    line.pair("message", "request");
    line.pair("method", method);
    line.pair("path", path);
    line.0.push_str(" status=");
    line.number(status.into(), 1);
    line.0.push_str(" ms=");
    line.number(millis, 1);
    line.0.push('\n');
    send(&line.0, true);
}

/// `may_wait`: for others, and then it goes out with them.
fn send(line: &str, may_wait: bool) {
    let mut lines = waiting();
    let is_first = lines.is_empty();
    lines.extend_from_slice(line.as_bytes());
    let may_wait = may_wait && HAS_WRITER.load(Ordering::Relaxed);
    if !may_wait || lines.len() > MOST_WAITING {
        write_out(&mut lines);
    } else if is_first {
        FIRST.notify_one();
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
        HAS_STARTED.store(true, Ordering::Relaxed);
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
        let mut line = Line::begin(level);
        event.record(&mut line);
        line.0.push('\n');
        send(&line.0, false);
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
    /// The current time, by the machine's clock in UTC, and the level.
    fn begin(level: &str) -> Self {
        let now = clock::machine_millis();
        let second = now.div_euclid(1000);
        let mut line = Self(String::with_capacity(160));
        line.0.push_str("ts=");
        {
            let mut last = SECOND.lock().unwrap_or_else(PoisonError::into_inner);
            if last.0 != second {
                *last = (second, Civil::of(second).to_string());
            }
            line.0.push_str(&last.1);
        }
        line.0.push('.');
        line.number(now.rem_euclid(1000).unsigned_abs(), 3);
        line.0.push_str("Z level=");
        line.0.push_str(level);
        line
    }

    /// With zeros in front, if it has fewer digits.
    fn number(&mut self, number: u64, digits: u32) {
        let mut place = 10_u64.pow(digits.saturating_sub(1));
        while number / place >= 10 {
            place *= 10;
        }
        while place > 0 {
            let digit = u8::try_from(number / place % 10).unwrap_or_default();
            self.0.push(char::from(b'0' + digit));
            place /= 10;
        }
    }

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
    fn numbers_are_as_they_are_formatted() {
        for n in (0..2000).chain([9_999, 10_000, u64::MAX / 10]) {
            let mut line = Line(String::new());
            line.number(n, 3);
            line.0.push(' ');
            line.number(n, 1);
            assert_eq!(line.0, format!("{n:03} {n}"));
        }
    }

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
