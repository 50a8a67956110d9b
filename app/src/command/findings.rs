//! What a command that looks for problems prints: a line for everything it looked at, for people and as JSON.

use crate::cli::{self, Failure, Outcome};
use crate::domain::json;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    Ok,
    /// It works; somebody should know.
    Warn,
    Fail,
}

impl Level {
    fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warn => "warn",
            Self::Fail => "FAIL",
        }
    }
}

#[derive(Debug)]
struct Finding {
    level: Level,
    /// What was looked at: `database`.
    subject: &'static str,
    text: String,
    /// The next step; empty where there is none.
    hint: &'static str,
}

/// Findings in the order in which they were made.
#[derive(Debug, Default)]
pub struct Findings(Vec<Finding>);

impl Findings {
    pub fn ok(&mut self, subject: &'static str, text: impl Into<String>) {
        self.push(Level::Ok, subject, text, "");
    }

    pub fn warn(&mut self, subject: &'static str, text: impl Into<String>, hint: &'static str) {
        self.push(Level::Warn, subject, text, hint);
    }

    pub fn fail(&mut self, subject: &'static str, text: impl Into<String>, hint: &'static str) {
        self.push(Level::Fail, subject, text, hint);
    }

    fn push(&mut self, level: Level, subject: &'static str, text: impl Into<String>, hint: &'static str) {
        self.0.push(Finding {
            level,
            subject,
            text: text.into(),
            hint,
        });
    }

    pub fn has(&self, level: Level) -> bool {
        self.0.iter().any(|finding| finding.level == level)
    }

    /// Prints everything. A failure makes the exit code 1.
    pub fn print(&self, as_json: bool) -> Result<Outcome, Failure> {
        cli::print(&if as_json { self.json() } else { self.text() })?;
        Ok(if self.has(Level::Fail) {
            Outcome::Findings
        } else {
            Outcome::Fine
        })
    }

    fn text(&self) -> String {
        let width = self.0.iter().map(|finding| finding.subject.len()).max().unwrap_or(0);
        let mut out = String::new();
        for finding in &self.0 {
            let (level, subject) = (finding.level.word(), finding.subject);
            out.push_str(&format!("{level:4}  {subject:width$}  {}\n", finding.text));
            if !finding.hint.is_empty() {
                out.push_str(&format!("      {:width$}  hint: {}\n", "", finding.hint));
            }
        }
        out
    }

    fn json(&self) -> String {
        let findings = json::array(self.0.iter().map(|finding| {
            let object = json::Object::new()
                .text("level", &finding.level.word().to_ascii_lowercase())
                .text("subject", finding.subject)
                .text("text", &finding.text);
            let hint = Some(finding.hint).filter(|hint| !hint.is_empty());
            object.maybe_text("hint", hint).end()
        }));
        let sound = !self.has(Level::Fail);
        json::Object::new()
            .bool("sound", sound)
            .raw("findings", &findings)
            .end()
            + "\n"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn for_people_and_for_programs() {
        let mut findings = Findings::default();
        findings.ok("disk", "7 MB free");
        findings.fail("database", "torn", "restore");
        assert_eq!(
            findings.text(),
            "ok    disk      7 MB free\nFAIL  database  torn\n                hint: restore\n"
        );
        assert_eq!(
            findings.json(),
            "{\"sound\":false,\"findings\":[{\"level\":\"ok\",\"subject\":\"disk\",\"text\":\"7 MB free\"},\
             {\"level\":\"fail\",\"subject\":\"database\",\"text\":\"torn\",\"hint\":\"restore\"}]}\n"
        );
    }
}
