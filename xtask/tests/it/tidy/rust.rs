//! Just enough of Rust's syntax to tell code from comments, strings and tests, and to find the paths in it.

/// A source file without its comments and without what is compiled for tests only. Line numbers stay.
#[derive(Debug)]
pub struct Source {
    code: String,
    strings: Vec<(usize, String)>,
}

/// A path in the code, segment by segment, `use` trees spelled out: `use std::{fs, io::Read}` is two.
#[derive(Debug, PartialEq, Eq)]
pub struct CodePath {
    pub line: usize,
    pub segments: Vec<String>,
}

impl CodePath {
    pub fn starts_with(&self, path: &str) -> bool {
        let wanted: Vec<&str> = path.split("::").collect();
        self.segments.len() >= wanted.len() && self.segments.iter().zip(wanted).all(|(have, want)| have == want)
    }
}

impl Source {
    pub fn new(text: &str) -> Self {
        let (code, strings) = blank(text);
        let code = without_tests(code);
        let lines: Vec<&str> = code.lines().collect();
        // A string is kept as a lone quote in the code; where that is gone, the string was in a test.
        let strings = strings
            .into_iter()
            .filter(|(line, column, _)| {
                lines
                    .get(line - 1)
                    .is_some_and(|text| text.chars().nth(*column) == Some('"'))
            })
            .map(|(line, _, text)| (line, text))
            .collect();
        Source { code, strings }
    }

    /// The string literals, as they are written, with their lines.
    pub fn strings(&self) -> &[(usize, String)] {
        &self.strings
    }

    /// All paths, and single names with what follows them: macros as `name!`, methods as `.name`.
    pub fn paths(&self) -> Vec<CodePath> {
        let tokens = tokens(&self.code);
        let mut found = Vec::new();
        let mut at = 0;
        while at < tokens.len() {
            if tokens[at].text == "use" {
                at = use_tree(&tokens, at + 1, &[], &mut found);
            } else if tokens[at].is_name() {
                let line = tokens[at].line;
                let method = at > 0 && tokens[at - 1].text == ".";
                let mut segments = vec![tokens[at].text.clone()];
                while at + 2 < tokens.len() && tokens[at + 1].text == "::" && tokens[at + 2].is_name() {
                    segments.push(tokens[at + 2].text.clone());
                    at += 2;
                }
                let next = tokens.get(at + 1).map_or("", |token| &token.text);
                if method && segments.len() == 1 {
                    segments[0].insert(0, '.');
                } else if next == "!" {
                    segments.push("!".to_owned());
                }
                found.push(CodePath { line, segments });
                at += 1;
            } else {
                at += 1;
            }
        }
        found
    }
}

#[derive(Debug)]
struct Token {
    line: usize,
    text: String,
}

impl Token {
    fn is_name(&self) -> bool {
        self.text.starts_with(|c: char| c.is_alphabetic() || c == '_')
    }
}

fn tokens(code: &str) -> Vec<Token> {
    let mut found: Vec<Token> = Vec::new();
    for (index, text) in code.lines().enumerate() {
        let line = index + 1;
        let mut rest = text.trim_start();
        while let Some(first) = rest.chars().next() {
            let name = |c: char| c.is_alphanumeric() || c == '_';
            let length = match first {
                c if name(c) => rest.find(|c| !name(c)).unwrap_or(rest.len()),
                ':' if rest.starts_with("::") => 2,
                c => c.len_utf8(),
            };
            found.push(Token {
                line,
                text: rest[..length].to_owned(),
            });
            rest = rest[length..].trim_start();
        }
    }
    found
}

/// Reads one tree of a `use` item from `at`, prefixed with `before`; returns where it ends.
fn use_tree(tokens: &[Token], mut at: usize, before: &[String], found: &mut Vec<CodePath>) -> usize {
    let mut segments = before.to_vec();
    let mut line = tokens.get(at).map_or(0, |token| token.line);
    while let Some(token) = tokens.get(at) {
        match token.text.as_str() {
            "::" => at += 1,
            "{" => {
                at += 1;
                while tokens.get(at).is_some_and(|token| token.text != "}") {
                    at = use_tree(tokens, at, &segments, found);
                    if tokens.get(at).is_some_and(|token| token.text == ",") {
                        at += 1;
                    }
                }
                return at + 1;
            }
            // A bound of the kind `impl Trait + use<'a>` is no import.
            "<" => return at,
            "as" => at += 2,
            "," | "}" | ";" => break,
            text => {
                line = token.line;
                segments.push(text.to_owned());
                at += 1;
            }
        }
    }
    if segments.len() > before.len() {
        found.push(CodePath { line, segments });
    }
    at
}

/// The code with comments gone and every string reduced to one quote; the strings with line and column of that quote.
fn blank(text: &str) -> (String, Vec<(usize, usize, String)>) {
    let chars: Vec<char> = text.chars().collect();
    let at = |index: usize| chars.get(index).copied().unwrap_or('\0');
    let mut code = String::new();
    let mut strings = Vec::new();
    let mut index = 0;
    let newlines = |from: usize, to: usize| "\n".repeat(chars[from..to].iter().filter(|c| **c == '\n').count());
    while index < chars.len() {
        let begin = index;
        let in_word = index > 0 && (at(index - 1).is_alphanumeric() || at(index - 1) == '_');
        if at(index) == '/' && at(index + 1) == '/' {
            while index < chars.len() && at(index) != '\n' {
                index += 1;
            }
        } else if at(index) == '/' && at(index + 1) == '*' {
            let mut depth = 0;
            loop {
                match (at(index), at(index + 1)) {
                    ('/', '*') => (depth, index) = (depth + 1, index + 2),
                    ('*', '/') => (depth, index) = (depth - 1, index + 2),
                    _ => index += 1,
                }
                if depth == 0 || index >= chars.len() {
                    break;
                }
            }
            index = index.min(chars.len());
            code.push(' ');
            code.push_str(&newlines(begin, index));
        } else if let Some((open, hashes)) = (!in_word).then(|| string_start(&chars, index)).flatten() {
            index = open + 1;
            while index < chars.len() {
                let closes = at(index) == '"' && (0..hashes.unwrap_or(0)).all(|n| at(index + 1 + n) == '#');
                if closes {
                    break;
                }
                index += if hashes.is_none() && at(index) == '\\' { 2 } else { 1 };
            }
            let end = index.min(chars.len());
            let column = code.len() - code.rfind('\n').map_or(0, |newline| newline + 1);
            let column = code[code.len() - column..].chars().count();
            let line = code.matches('\n').count() + 1;
            strings.push((line, column, chars[open + 1..end].iter().collect()));
            code.push('"');
            code.push_str(&newlines(open, end));
            index = (end + 1 + hashes.unwrap_or(0)).min(chars.len());
        } else if at(index) == '\'' && (at(index + 1) == '\\' || at(index + 2) == '\'') {
            index += if at(index + 1) == '\\' { 3 } else { 2 };
            while index < chars.len() && at(index) != '\'' {
                index += 1;
            }
            index = (index + 1).min(chars.len());
            code.push(' ');
        } else {
            code.push(at(index));
            index += 1;
        }
    }
    (code, strings)
}

/// Where the quote of a string that starts at `index` is, and how many `#` a raw one has.
fn string_start(chars: &[char], mut index: usize) -> Option<(usize, Option<usize>)> {
    if chars[index] == '"' {
        return Some((index, None));
    }
    if matches!(chars[index], 'b' | 'c') {
        index += 1;
        if chars.get(index) == Some(&'"') {
            return Some((index, None));
        }
    }
    if chars.get(index) != Some(&'r') {
        return None;
    }
    let hashes = chars[index + 1..].iter().take_while(|c| **c == '#').count();
    let open = index + 1 + hashes;
    (chars.get(open) == Some(&'"')).then_some((open, Some(hashes)))
}

/// Blanks every item under `#[cfg(test)]`. `code` has no comments or strings any more, so braces can be counted.
fn without_tests(code: String) -> String {
    const ATTRIBUTE: &str = "#[cfg(test)]";
    let mut kept = String::new();
    let mut rest = code.as_str();
    while let Some(at) = rest.find(ATTRIBUTE) {
        kept.push_str(&rest[..at]);
        let item = &rest[at..];
        let mut depth = 0;
        let mut end = item.len();
        for (index, c) in item.char_indices().skip(ATTRIBUTE.len()) {
            match c {
                '{' => depth += 1,
                '}' => depth -= 1,
                _ => {}
            }
            if depth == 0 && matches!(c, '}' | ';') {
                end = index + 1;
                break;
            }
        }
        kept.extend(item[..end].chars().map(|c| if c == '\n' { '\n' } else { ' ' }));
        rest = &item[end..];
    }
    kept + rest
}

fn spelled(text: &str) -> Vec<(usize, String)> {
    Source::new(text)
        .paths()
        .into_iter()
        .map(|path| (path.line, path.segments.join("::")))
        .collect()
}

#[test]
fn comments_strings_and_tests_are_no_code() {
    let text = r##"
// std::fs::a
/* std::fs /* nested */ std::fs */ let b = "std::fs \" still"; // c
let d = r#"std::env " "#; let e = '"'; let f: &'static str = b"g";
let h = '\'';
#[cfg(test)]
mod tests {
    fn f() { "std::net"; if x { std::net::y() } }
}
std::i::j();
"##;
    let source = Source::new(text);
    let all = spelled(text);
    assert!(all.contains(&(10, "std::i::j".to_owned())), "{all:?}");
    assert!(
        !all.iter()
            .any(|(_, path)| path.starts_with("std::") && path != "std::i::j"),
        "{all:?}"
    );
    let strings: Vec<&str> = source.strings().iter().map(|(_, text)| text.as_str()).collect();
    assert_eq!(strings, ["std::fs \\\" still", "std::env \" ", "g"]);
    assert_eq!(source.strings()[1].0, 4);
}

#[test]
fn use_trees_are_spelled_out() {
    let text = "use std::{fs, io::{self, Read as _}};\npub use crate::a::b as c;\nfn f(x: impl T + use<>) { x.exists(); p!(d::e(1)) }";
    let all = spelled(text);
    for (line, path) in [
        (1, "std::fs"),
        (1, "std::io::self"),
        (1, "std::io::Read"),
        (2, "crate::a::b"),
        (3, ".exists"),
        (3, "p::!"),
        (3, "d::e"),
    ] {
        assert!(all.contains(&(line, path.to_owned())), "{path} in {all:?}");
    }
}
