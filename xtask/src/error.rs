//! The one error of the effectful half: what failed, on which object, and what to do next (`hint:` line).

use std::fmt;

/// Result of everything that may fail for the user to read.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An error with the chain of what was being done, outermost first, and at most one next step.
///
/// Every `Error` ends the process with exit code 2 (it could not do the work). Findings are not errors: they are results.
#[derive(Debug)]
pub struct Error {
    messages: Vec<String>,
    hint: Option<String>,
}

impl Error {
    /// `message` names the object, the command or the redacted URL.
    pub fn new(message: impl Into<String>) -> Self {
        Error {
            messages: vec![message.into()],
            hint: None,
        }
    }

    /// Puts what was being done in front.
    #[must_use]
    pub fn context(mut self, message: impl Into<String>) -> Self {
        self.messages.insert(0, message.into());
        self
    }

    /// Adds the next step, unless a deeper layer, which knows more, has already given one.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint.get_or_insert(hint.into());
        self
    }

    /// The next step, if any.
    pub fn next_step(&self) -> Option<&str> {
        self.hint.as_deref()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.messages.join(": "))
    }
}

// `Error` itself does not implement `std::error::Error`, so that this blanket conversion is possible (as in anyhow).
impl<E: std::error::Error> From<E> for Error {
    fn from(error: E) -> Self {
        let mut messages = vec![error.to_string()];
        let mut source = error.source();
        while let Some(inner) = source {
            let text = inner.to_string();
            // Many libraries print their source as well: say it once.
            if !messages.iter().any(|message| message.contains(&text)) {
                messages.push(text);
            }
            source = inner.source();
        }
        Error { messages, hint: None }
    }
}

/// `.context(...)` and `.hint(...)` on results and options.
pub trait Context<T> {
    /// Names what was being done. The closure form keeps the success path free of formatting.
    fn context<M: Into<String>>(self, message: impl FnOnce() -> M) -> Result<T>;
    /// Adds the next step.
    fn hint(self, hint: &str) -> Result<T>;
}

impl<T, E: Into<Error>> Context<T> for std::result::Result<T, E> {
    fn context<M: Into<String>>(self, message: impl FnOnce() -> M) -> Result<T> {
        self.map_err(|error| error.into().context(message()))
    }

    fn hint(self, hint: &str) -> Result<T> {
        self.map_err(|error| error.into().hint(hint))
    }
}

impl<T> Context<T> for Option<T> {
    fn context<M: Into<String>>(self, message: impl FnOnce() -> M) -> Result<T> {
        self.ok_or_else(|| Error::new(message()))
    }

    fn hint(self, hint: &str) -> Result<T> {
        self.ok_or_else(|| Error::new("nothing there").hint(hint))
    }
}

/// Takes the credentials out of every URL in a text that ends up in a message.
pub fn redact(text: &str) -> String {
    let mut clean = String::new();
    let mut rest = text;
    while let Some(at) = rest.find("://") {
        let (before, after) = rest.split_at(at + 3);
        clean.push_str(before);
        let end = after
            .find(|c: char| c == '/' || c.is_whitespace() || c == '\'' || c == '"')
            .unwrap_or(after.len());
        let host = match after[..end].rfind('@') {
            Some(sign) => &after[sign + 1..],
            None => after,
        };
        rest = host;
    }
    clean.push_str(rest);
    clean
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_chain_reads_from_outside_in_and_the_deepest_hint_wins() {
        let inner: Result<(), std::io::Error> = Err(std::io::Error::other("disk on fire"));
        let Err(error) = inner
            .context(|| "cannot write x")
            .hint("buy a new disk")
            .hint("try again")
        else {
            panic!("an error was expected");
        };
        assert_eq!(error.to_string(), "cannot write x: disk on fire");
        assert_eq!(error.next_step(), Some("buy a new disk"));
    }

    #[test]
    fn credentials_are_taken_out_of_every_url() {
        assert_eq!(
            redact("E: http://user:se@cret@mirror.example/debian and https://x@y/z, http://plain.example"),
            "E: http://mirror.example/debian and https://y/z, http://plain.example"
        );
        assert_eq!(redact("no url"), "no url");
    }
}
