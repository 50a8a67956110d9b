//! The head of a Markdown file: `key: value` between two lines of `---` (YAML, as Jekyll and Hugo write it) or
//! `key = value` between `+++` (TOML, as Hugo writes it, too). Read is the part of both that such files use: words,
//! quoted strings, lists on one line or one item a line. Anything deeper is skipped.

/// Keys with their values, in order.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct FrontMatter(pub Vec<(String, Value)>);

#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    Text(String),
    List(Vec<String>),
}

impl FrontMatter {
    /// Takes a text apart into its head and its body. Without a head everything is body.
    pub fn split(text: &str) -> (Self, &str) {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        for (fence, sign) in [("---", ':'), ("+++", '=')] {
            let Some(rest) = text.strip_prefix(fence).and_then(after_line_end) else {
                continue;
            };
            let mut at = 0;
            for line in rest.split_inclusive('\n') {
                if line.trim_end() == fence {
                    let body = &rest[at + line.len()..];
                    return (Self::parse(&rest[..at], sign), body);
                }
                at += line.len();
            }
        }
        (Self::default(), text)
    }

    fn parse(head: &str, sign: char) -> Self {
        let mut entries: Vec<(String, Value)> = Vec::new();
        for line in head.lines() {
            let item = line.trim_start();
            if let Some(item) = item.strip_prefix("- ")
                && let Some((_, value)) = entries.last_mut()
            {
                if *value == Value::Text(String::new()) {
                    *value = Value::List(Vec::new());
                }
                if let Value::List(items) = value {
                    items.push(scalar(item.trim()));
                }
                continue;
            }
            // Indented lines belong to something nested, `#` begins a remark, `[x]` a table of TOML.
            if item.len() < line.len() || item.starts_with(['#', '[']) {
                continue;
            }
            let Some((key, value)) = item.split_once(sign) else {
                continue;
            };
            let value = value.trim();
            let value = match value.strip_prefix('[').and_then(|value| value.strip_suffix(']')) {
                Some(items) => Value::List(split_list(items)),
                None => Value::Text(scalar(value)),
            };
            entries.push((scalar(key.trim()).to_ascii_lowercase(), value));
        }
        Self(entries)
    }

    /// The text under a key; of a list the first. Empty ones count as absent.
    pub fn text(&self, key: &str) -> Option<&str> {
        let found = self.0.iter().find(|(name, _)| name == key);
        let text = found.and_then(|(_, value)| match value {
            Value::Text(text) => Some(text.as_str()),
            Value::List(items) => items.first().map(String::as_str),
        });
        text.filter(|text| !text.is_empty())
    }

    /// The list under a key. A text is a list of its words between commas.
    pub fn list(&self, key: &str) -> Vec<String> {
        match self.0.iter().find(|(name, _)| name == key) {
            Some((_, Value::List(items))) => items.clone(),
            Some((_, Value::Text(text))) => split_list(text),
            None => Vec::new(),
        }
    }

    pub fn is_true(&self, key: &str) -> bool {
        matches!(self.text(key), Some("true" | "True" | "yes" | "1"))
    }

    pub fn push_text(&mut self, key: &str, value: &str) {
        self.0.push((key.to_owned(), Value::Text(value.to_owned())));
    }

    pub fn maybe_text(&mut self, key: &str, value: Option<&str>) {
        if let Some(value) = value {
            self.push_text(key, value);
        }
    }

    /// Left out when it is empty.
    pub fn push_list(&mut self, key: &str, items: Vec<String>) {
        if !items.is_empty() {
            self.0.push((key.to_owned(), Value::List(items)));
        }
    }

    /// YAML, with the fences.
    pub fn write(&self) -> String {
        let mut out = String::from("---\n");
        for (key, value) in &self.0 {
            out.push_str(key);
            out.push_str(": ");
            match value {
                Value::Text(text) => out.push_str(&written(text)),
                Value::List(items) => {
                    let items: Vec<String> = items.iter().map(|item| quoted(item)).collect();
                    out.push_str(&format!("[{}]", items.join(", ")));
                }
            }
            out.push('\n');
        }
        out.push_str("---\n");
        out
    }
}

fn after_line_end(text: &str) -> Option<&str> {
    text.trim_start_matches([' ', '\t', '\r']).strip_prefix('\n')
}

/// Words that YAML takes for what they are; everything else in quotes.
fn written(text: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b':' | b'+');
    let word = !text.is_empty() && text.bytes().all(plain) && !text.ends_with(':');
    if word { text.to_owned() } else { quoted(text) }
}

/// Double quotes with the escapes that YAML and JSON share.
fn quoted(text: &str) -> String {
    crate::domain::json::text(text)
}

/// A value without its quotes.
fn scalar(text: &str) -> String {
    if text.starts_with('"') {
        return double_quoted(text).0;
    }
    if let Some(inside) = text.strip_prefix('\'') {
        let inside = inside.rfind('\'').map_or(inside, |end| &inside[..end]);
        return inside.replace("''", "'");
    }
    // A remark needs a space in front: `#` alone may belong to a tag.
    text.split(" #").next().unwrap_or_default().trim_end().to_owned()
}

/// The string that `text` begins with, and how many bytes it took.
fn double_quoted(text: &str) -> (String, usize) {
    let mut out = String::new();
    let mut chars = text.char_indices().skip(1);
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return (out, at + 1),
            '\\' => match chars.next().map(|(_, c)| c) {
                Some('n') => out.push('\n'),
                Some('t') => out.push('\t'),
                Some('r') => out.push('\r'),
                Some('u') => {
                    let digits: String = chars.by_ref().take(4).map(|(_, c)| c).collect();
                    let code = u32::from_str_radix(&digits, 16).ok();
                    out.extend(code.and_then(char::from_u32));
                }
                Some(c) => out.push(c),
                None => {}
            },
            c => out.push(c),
        }
    }
    (out, text.len())
}

/// `a, "b, c", 'd'`.
fn split_list(text: &str) -> Vec<String> {
    let mut items = Vec::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        let length = if rest.starts_with('"') {
            double_quoted(rest).1
        } else if let Some(inside) = rest.strip_prefix('\'') {
            inside.find('\'').map_or(rest.len(), |end| end + 2)
        } else {
            rest.find(',').unwrap_or(rest.len())
        };
        let item = scalar(rest[..length].trim());
        if !item.is_empty() || rest.starts_with(['"', '\'']) {
            items.push(item);
        }
        let behind = &rest[length..];
        rest = behind.find(',').map_or("", |comma| behind[comma + 1..].trim_start());
    }
    items
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        let mut head = FrontMatter::default();
        for (key, text) in [
            ("a", "plain"),
            ("b", "with: colon # and \"quotes\" \\ 'more'\nand a line"),
            ("c", "2026-07-05T14:03:00Z"),
            ("d", "日本語"),
            ("e", "- x"),
            ("f", "true"),
            ("g", "end:"),
        ] {
            head.push_text(key, text);
        }
        head.push_list(
            "list",
            vec!["a, b".to_owned(), "\"".to_owned(), String::new(), "#x".to_owned()],
        );
        let text = format!("{}\nbody\n---\nmore\n", head.write());
        let (read, body) = FrontMatter::split(&text);
        assert_eq!(read, head);
        assert_eq!(body, "\nbody\n---\nmore\n");
    }

    #[test]
    fn as_jekyll_and_hugo_write_it() {
        let (head, body) = FrontMatter::split(
            "---\r\nTitle: It's 'fine' # remark\ndate: 2020-01-02 03:04:05 +0900\ntags:\n  - one\n  - \"two, b\"\n\
             categories: [a, 'b c']\nauthor:\n  name: x\ndraft: true\nempty:\n---\r\nbody",
        );
        assert_eq!(head.text("title"), Some("It's 'fine'"));
        assert_eq!(head.text("date"), Some("2020-01-02 03:04:05 +0900"));
        assert_eq!(head.list("tags"), ["one", "two, b"]);
        assert_eq!(head.list("categories"), ["a", "b c"]);
        assert!(head.is_true("draft"));
        assert_eq!((head.text("empty"), head.text("name"), body), (None, None, "body"));

        let (head, body) = FrontMatter::split("+++\ntitle = \"a = b\"\ntags = [\"x\", \"y\"]\n[extra]\n+++\ntext");
        assert_eq!((head.text("title"), body), (Some("a = b"), "text"));
        assert_eq!(head.list("tags"), ["x", "y"]);
    }

    #[test]
    fn no_head() {
        for text in ["text", "--- text\n---\n", "---\nnever ends\n", ""] {
            assert_eq!(FrontMatter::split(text), (FrontMatter::default(), text));
        }
    }
}
