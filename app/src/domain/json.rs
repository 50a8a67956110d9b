//! JSON as the program writes it: members in the order in which they are given, so that the same content is the same
//! bytes. Reading is serde_json's.

/// A string with its quotes.
pub fn text(value: &str) -> String {
    let mut out = String::with_capacity(value.len() + 2);
    out.push('"');
    for c in value.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            // U+2028 and U+2029 end a line in older JavaScript.
            c if c < ' ' || matches!(c, '\u{7f}' | '\u{2028}' | '\u{2029}') => {
                out.push_str(&format!("\\u{:04x}", u32::from(c)));
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// An array of values that are JSON already.
pub fn array(values: impl IntoIterator<Item = String>) -> String {
    let values: Vec<String> = values.into_iter().collect();
    format!("[{}]", values.join(","))
}

/// An object, member by member.
#[derive(Debug, Default)]
pub struct Object(String);

impl Object {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn text(self, key: &str, value: &str) -> Self {
        self.raw(key, &text(value))
    }

    /// Left out when there is none.
    pub fn maybe_text(self, key: &str, value: Option<&str>) -> Self {
        match value {
            Some(value) => self.text(key, value),
            None => self,
        }
    }

    pub fn number(self, key: &str, value: impl std::fmt::Display) -> Self {
        self.raw(key, &value.to_string())
    }

    /// Left out when there is none.
    pub fn maybe_number(self, key: &str, value: Option<impl std::fmt::Display>) -> Self {
        match value {
            Some(value) => self.number(key, value),
            None => self,
        }
    }

    pub fn bool(self, key: &str, value: bool) -> Self {
        self.raw(key, if value { "true" } else { "false" })
    }

    /// A value that is JSON already.
    pub fn raw(mut self, key: &str, value: &str) -> Self {
        self.0.push(if self.0.is_empty() { '{' } else { ',' });
        self.0.push_str(&text(key));
        self.0.push(':');
        self.0.push_str(value);
        self
    }

    pub fn end(mut self) -> String {
        if self.0.is_empty() {
            self.0.push('{');
        }
        self.0.push('}');
        self.0
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_parser_reads_back_what_was_written() {
        let odd = "\"\\\u{0}\u{1f}\n\r\t\u{7f}\u{2028}/é日𝄞";
        let written = Object::new()
            .text(odd, odd)
            .number("n", -3)
            .bool("b", true)
            .maybe_text("none", None)
            .raw("list", &array([text("a"), Object::new().end()]))
            .end();
        let value: serde_json::Value = serde_json::from_str(&written).unwrap();
        assert_eq!(value[odd], odd);
        assert_eq!(value["n"], -3);
        assert_eq!(value["list"][0], "a");
        assert!(value.get("none").is_none());
        assert!(!written.contains('\u{2028}'));
    }
}
