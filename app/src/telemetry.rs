//! The log: one logfmt line per event on standard error, written by hand because the usual crate is large.

use std::fmt::{self, Write as _};
use std::io::Write as _;

use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

use crate::domain::time::Stamp;

struct Logfmt;

/// Starts the log. A second call changes nothing.
pub fn start() {
    let _ = tracing::subscriber::set_global_default(Logfmt);
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
        // One write, so that lines from two threads do not mix. A log that cannot be written is not fatal.
        let _ = std::io::stderr().write_all(line.0.as_bytes());
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
