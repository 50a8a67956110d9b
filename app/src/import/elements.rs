//! The elements of a JSON array that is too large to be held: one at a time, as bytes, with their place in the file.
//!
//! Archives are arrays of hundreds of megabytes, some of them with `window.YTD.tweets.part0 = ` in front and a `;`
//! behind. Only where an element ends is found here; what is inside is for the JSON parser (RFC 8259).

use std::io::{BufRead, BufReader, Read};

use serde_json::Value;

/// An element larger than this is damage or malice: the longest post with all that X says about it has some 100 kB.
pub const MOST_BYTES: usize = 8 << 20;

/// Why a file cannot be read on. `name` is the file, `at` the byte in it, counted from 0.
#[derive(Debug, thiserror::Error)]
pub enum ElementError {
    #[error("cannot read {name}: {error}")]
    Read { name: String, error: std::io::Error },
    #[error("{name}: byte {at}: {problem}")]
    Malformed { name: String, at: u64, problem: String },
}

/// Reads one array. Errors name the file as it was called here.
#[derive(Debug)]
pub struct Elements<R> {
    input: BufReader<R>,
    name: String,
    /// Bytes read so far.
    at: u64,
    /// The element that was read last, and where it began.
    element: Vec<u8>,
    began: u64,
    first: bool,
    done: bool,
    /// The array is the value of a key, so more may follow it.
    inside_object: bool,
}

impl<R: Read> Elements<R> {
    /// The array that the file is, with or without an assignment in front.
    pub fn of_script(input: R, name: &str) -> Result<Self, ElementError> {
        let mut elements = Self::new(input, name);
        // `window.YTD.tweets.part0 =`: a name, nothing that could be an element.
        for _ in 0..4096 {
            match elements.byte()? {
                Some(b'[') => return Ok(elements),
                Some(b'{' | b'"') => return Err(elements.malformed("expected `[`, the beginning of an array")),
                Some(_) => {}
                None => return Err(elements.malformed("the file ends before an array begins")),
            }
        }
        Err(elements.malformed("there is no array at the beginning of this file"))
    }

    /// The array that is the value of `key` in the object that the file is.
    pub fn of_key(input: R, name: &str, key: &str) -> Result<Self, ElementError> {
        let mut elements = Self::new(input, name);
        elements.inside_object = true;
        if elements.after_space()? != Some(b'{') {
            return Err(elements.malformed("expected `{`, the beginning of an object"));
        }
        loop {
            match elements.after_space()? {
                Some(b'"') => {}
                Some(b',') => continue,
                Some(b'}') | None => return Err(elements.malformed(&format!("there is no \"{key}\" in this file"))),
                Some(_) => return Err(elements.malformed("expected the name of a member")),
            }
            elements.element.clear();
            elements.string()?;
            let found = elements.element == format!("{key}\"").as_bytes();
            if elements.after_space()? != Some(b':') {
                return Err(elements.malformed("expected `:`"));
            }
            let next = elements.after_space()?;
            if found {
                return match next {
                    Some(b'[') => Ok(elements),
                    _ => Err(elements.malformed(&format!("\"{key}\" is not an array"))),
                };
            }
            let Some(byte) = next else {
                return Err(elements.malformed("the file ends in the middle"));
            };
            elements.element.clear();
            elements.value(byte)?;
        }
    }

    fn new(input: R, name: &str) -> Self {
        Self {
            input: BufReader::with_capacity(64 << 10, input),
            name: name.to_owned(),
            at: 0,
            element: Vec::new(),
            began: 0,
            first: true,
            done: false,
            inside_object: false,
        }
    }

    /// The next element as it stands in the file; `None` after the last one.
    pub fn next_bytes(&mut self) -> Result<Option<&[u8]>, ElementError> {
        if self.done {
            return Ok(None);
        }
        let mut byte = self.after_space()?;
        if byte == Some(b']') {
            self.finish()?;
            return Ok(None);
        }
        if !self.first {
            if byte != Some(b',') {
                return Err(self.malformed("expected `,` or `]` after an element"));
            }
            byte = self.after_space()?;
        }
        self.first = false;
        let Some(byte) = byte else {
            return Err(self.malformed("the file ends in the middle of its array"));
        };
        self.element.clear();
        self.began = self.at - 1;
        self.value(byte)?;
        Ok(Some(&self.element))
    }

    /// The next element, parsed.
    pub fn next_value(&mut self) -> Result<Option<Value>, ElementError> {
        if self.next_bytes()?.is_none() {
            return Ok(None);
        }
        match serde_json::from_slice(&self.element) {
            Ok(value) => Ok(Some(value)),
            Err(error) => Err(ElementError::Malformed {
                name: self.name.clone(),
                at: self.began + offset(&self.element, &error),
                problem: format!("{} in the element that begins at byte {}", plain(&error), self.began),
            }),
        }
    }

    /// The element that was read last, as it stands in the file.
    pub fn bytes(&self) -> &[u8] {
        &self.element
    }

    /// Where the element that was read last begins.
    pub fn began(&self) -> u64 {
        self.began
    }

    fn finish(&mut self) -> Result<(), ElementError> {
        self.done = true;
        if self.inside_object {
            return Ok(());
        }
        loop {
            match self.after_space()? {
                None => return Ok(()),
                Some(b';') => {}
                Some(_) => return Err(self.malformed("something follows the array")),
            }
        }
    }

    /// Appends the value that begins with `byte` to `element`.
    fn value(&mut self, byte: u8) -> Result<(), ElementError> {
        match byte {
            b'"' => {
                self.element.push(byte);
                self.string()
            }
            b'{' | b'[' => {
                self.element.push(byte);
                self.nested()
            }
            b'-' | b'0'..=b'9' | b't' | b'f' | b'n' => {
                self.element.push(byte);
                while let Some(next) = self.peek()? {
                    if !(next.is_ascii_alphanumeric() || b"+-.".contains(&next)) {
                        break;
                    }
                    self.byte()?;
                    self.push(next)?;
                }
                Ok(())
            }
            _ => Err(self.malformed("expected a value")),
        }
    }

    /// The rest of an object or array, the bracket that opens it being there already. Whole runs are copied at once.
    fn nested(&mut self) -> Result<(), ElementError> {
        let (mut depth, mut in_string, mut escaped) = (1_u32, false, false);
        loop {
            let Self {
                input, element, name, ..
            } = self;
            let chunk = input.fill_buf().map_err(|error| ElementError::Read {
                name: name.clone(),
                error,
            })?;
            if chunk.is_empty() {
                let problem = format!(
                    "the file ends in the middle of the element that begins at byte {}",
                    self.began
                );
                return Err(self.malformed(&problem));
            }
            let mut used = 0;
            for byte in chunk {
                used += 1;
                if in_string {
                    match byte {
                        _ if escaped => escaped = false,
                        b'\\' => escaped = true,
                        b'"' => in_string = false,
                        _ => {}
                    }
                    continue;
                }
                match byte {
                    b'"' => in_string = true,
                    b'{' | b'[' => depth += 1,
                    b'}' | b']' => depth -= 1,
                    _ => {}
                }
                if depth == 0 {
                    break;
                }
            }
            element.extend_from_slice(&chunk[..used]);
            input.consume(used);
            self.at += used as u64;
            if self.element.len() > MOST_BYTES {
                return Err(self.too_large());
            }
            if depth == 0 {
                return Ok(());
            }
        }
    }

    /// The rest of a string with the quote that ends it.
    fn string(&mut self) -> Result<(), ElementError> {
        let mut escaped = false;
        loop {
            let Some(byte) = self.byte()? else {
                return Err(self.malformed("the file ends in the middle of a string"));
            };
            self.push(byte)?;
            match byte {
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                b'"' => return Ok(()),
                _ => {}
            }
        }
    }

    fn push(&mut self, byte: u8) -> Result<(), ElementError> {
        if self.element.len() >= MOST_BYTES {
            return Err(self.too_large());
        }
        self.element.push(byte);
        Ok(())
    }

    fn too_large(&self) -> ElementError {
        let began = self.began;
        self.malformed(&format!(
            "the element that begins at byte {began} has more than {} MiB",
            MOST_BYTES >> 20
        ))
    }

    fn peek(&mut self) -> Result<Option<u8>, ElementError> {
        match self.input.fill_buf() {
            Ok(chunk) => Ok(chunk.first().copied()),
            Err(error) => Err(ElementError::Read {
                name: self.name.clone(),
                error,
            }),
        }
    }

    fn byte(&mut self) -> Result<Option<u8>, ElementError> {
        let byte = self.peek()?;
        if byte.is_some() {
            self.input.consume(1);
            self.at += 1;
        }
        Ok(byte)
    }

    fn after_space(&mut self) -> Result<Option<u8>, ElementError> {
        loop {
            match self.byte()? {
                // A mark of the byte order stands in front of files that Windows programs have touched.
                Some(b' ' | b'\t' | b'\r' | b'\n') => {}
                Some(0xef | 0xbb | 0xbf) if self.at <= 3 => {}
                other => return Ok(other),
            }
        }
    }

    fn malformed(&self, problem: &str) -> ElementError {
        ElementError::Malformed {
            name: self.name.clone(),
            at: self.at.saturating_sub(1),
            problem: problem.to_owned(),
        }
    }
}

/// Where in `text` the parser stopped: it counts lines and columns from 1.
fn offset(text: &[u8], error: &serde_json::Error) -> u64 {
    let mut lines = text.split_inclusive(|byte| *byte == b'\n');
    let before: usize = lines
        .by_ref()
        .take(error.line().saturating_sub(1))
        .map(<[u8]>::len)
        .sum();
    (before + error.column().saturating_sub(1)) as u64
}

/// The parser's words without its own line and column, which are those of the element.
fn plain(error: &serde_json::Error) -> String {
    let text = error.to_string();
    match text.rfind(" at line ") {
        Some(cut) => text[..cut].to_owned(),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn script(text: &str) -> Result<Vec<Value>, String> {
        all(Elements::of_script(text.as_bytes(), "f"))
    }

    fn all(elements: Result<Elements<&[u8]>, ElementError>) -> Result<Vec<Value>, String> {
        let mut elements = elements.map_err(|error| error.to_string())?;
        let mut values = Vec::new();
        while let Some(value) = elements.next_value().map_err(|error| error.to_string())? {
            values.push(value);
        }
        Ok(values)
    }

    #[test]
    fn arrays_with_and_without_an_assignment() {
        for text in [
            "window.YTD.tweets.part0 = [1,{\"a\":\"]}\\\"\"},[2] , \"x,\"];\n",
            "[1,{\"a\":\"]}\\\"\"},[2],\"x,\"]",
            "\u{feff}[ 1 ,\r\n{\"a\":\"]}\\\"\"}\t,[2],\"x,\" ]  ;",
        ] {
            let values = script(text).unwrap();
            assert_eq!(values.len(), 4, "{text}");
            assert_eq!(values[1]["a"], "]}\"");
            assert_eq!(values[3], "x,");
        }
        assert!(script("x = []").unwrap().is_empty());
    }

    #[test]
    fn damage_is_named_with_its_place() {
        for (text, says) in [
            (
                "x = [{\"a\":1},{\"a\":tru}]",
                "f: byte 21: expected ident in the element that begins at byte 13",
            ),
            ("[1 2]", "f: byte 3: expected `,` or `]`"),
            ("[1,", "ends in the middle"),
            ("[{\"a\": [1, 2}", "of the element that begins at byte 1"),
            (
                "[{\"a\": \"",
                "f: byte 7: the file ends in the middle of the element that begins at byte 1",
            ),
            ("[1]x", "f: byte 3: something follows"),
            ("[1,]", "f: byte 3: expected a value"),
            ("{\"a\":1}", "f: byte 0: expected `[`"),
            ("", "ends before"),
        ] {
            let error = script(text).unwrap_err();
            assert!(error.contains(says), "{text}: {error}");
        }
        assert!(script(&" ".repeat(9999)).unwrap_err().contains("no array"));
    }

    #[test]
    fn an_element_without_an_end_is_refused_before_it_fills_the_memory() {
        let endless = std::io::Read::chain(&b"[{\"a\":\""[..], std::io::repeat(b'x'));
        let mut elements = Elements::of_script(endless, "f").unwrap();
        let error = elements.next_value().unwrap_err().to_string();
        assert!(error.contains("more than 8 MiB"), "{error}");
        let endless = std::io::Read::chain(&b"[\""[..], std::io::repeat(b'x'));
        assert!(Elements::of_script(endless, "f").unwrap().next_value().is_err());
        let endless = std::io::Read::chain(&b"[1"[..], std::io::repeat(b'1'));
        assert!(Elements::of_script(endless, "f").unwrap().next_value().is_err());
    }

    #[test]
    fn an_array_under_a_key() {
        let text = "{\"@context\": [\"orderedItems\", {\"orderedItems\": 1}], \"n\": 2, \"orderedItems\": [1, {\"a\": 2}], \"z\": 0}";
        let of = |text: &'static str| all(Elements::of_key(text.as_bytes(), "f", "orderedItems"));
        let values = all(Elements::of_key(text.as_bytes(), "f", "orderedItems")).unwrap();
        assert_eq!(values[1]["a"], 2);
        assert!(of("{\"a\": 1}").unwrap_err().contains("no \"orderedItems\""));
        assert!(of("{\"orderedItems\": 1}").unwrap_err().contains("not an array"));
        assert!(of("[]").unwrap_err().contains("expected `{`"));
    }

    #[test]
    fn depth_is_bounded_by_the_parser() {
        let deep = format!("[{}{}]", "[".repeat(5000), "]".repeat(5000));
        assert!(script(&deep).unwrap_err().contains("recursion"), "deep");
    }
}
