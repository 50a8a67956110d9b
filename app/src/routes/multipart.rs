//! `multipart/form-data` (RFC 7578), taken apart while it arrives: what is kept is one boundary's length of bytes.

/// Of the lines in front of a part.
const MAX_HEAD: usize = 4 * 1024;
/// RFC 2046, section 5.1.1.
const MAX_BOUNDARY: usize = 70;

#[derive(Debug, PartialEq, Eq)]
pub enum Event {
    /// A part begins.
    Part {
        name: String,
        /// What the sender calls the file; `None` for a field.
        file: Option<String>,
    },
    /// Some bytes of the part that began last.
    Data(Vec<u8>),
    /// That part is complete.
    PartEnd,
    /// Nothing that follows means anything.
    End,
}

/// What was sent is no form.
#[derive(Debug, PartialEq, Eq)]
pub struct Malformed;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Preamble,
    AfterBoundary,
    Head,
    Body,
    End,
}

/// Bytes go in by `feed`, events come out of `event` until it says that it needs more.
#[derive(Debug)]
pub struct Parser {
    /// `\r\n--` and the boundary.
    delimiter: Vec<u8>,
    buffer: Vec<u8>,
    state: State,
}

impl Parser {
    /// For the value of `Content-Type`. `None`: it is not this kind, or has no boundary.
    pub fn new(content_type: &str) -> Option<Self> {
        let (kind, parameters) = content_type.split_once(';')?;
        if !kind.trim().eq_ignore_ascii_case("multipart/form-data") {
            return None;
        }
        let boundary = parameter(parameters, "boundary")?;
        if boundary.is_empty() || boundary.len() > MAX_BOUNDARY || boundary.ends_with(' ') {
            return None;
        }
        Some(Self {
            delimiter: format!("\r\n--{boundary}").into_bytes(),
            // The first boundary has no line before it; so every one has.
            buffer: b"\r\n".to_vec(),
            state: State::Preamble,
        })
    }

    pub fn feed(&mut self, bytes: &[u8]) {
        if self.state != State::End {
            self.buffer.extend_from_slice(bytes);
        }
    }

    /// `Ok(None)`: more bytes are needed.
    pub fn event(&mut self) -> Result<Option<Event>, Malformed> {
        loop {
            match self.state {
                State::Preamble => match find(&self.buffer, &self.delimiter) {
                    Some(at) => {
                        self.buffer.drain(..at + self.delimiter.len());
                        self.state = State::AfterBoundary;
                    }
                    // No browser sends anything before the first boundary.
                    None if self.buffer.len() > MAX_HEAD => return Err(Malformed),
                    None => return Ok(None),
                },
                State::AfterBoundary => {
                    if self.buffer.starts_with(b"--") {
                        self.state = State::End;
                        self.buffer = Vec::new();
                        return Ok(Some(Event::End));
                    }
                    let Some(at) = find(&self.buffer, b"\r\n") else {
                        return if self.buffer.len() > MAX_HEAD {
                            Err(Malformed)
                        } else {
                            Ok(None)
                        };
                    };
                    // Padding is allowed, and nothing else.
                    if self.buffer[..at].iter().any(|byte| !matches!(byte, b' ' | b'\t')) {
                        return Err(Malformed);
                    }
                    self.buffer.drain(..at + 2);
                    self.state = State::Head;
                }
                State::Head => {
                    let Some(at) = find(&self.buffer, b"\r\n\r\n") else {
                        return if self.buffer.len() > MAX_HEAD {
                            Err(Malformed)
                        } else {
                            Ok(None)
                        };
                    };
                    let part = head(&self.buffer[..at])?;
                    self.buffer.drain(..at + 4);
                    self.state = State::Body;
                    return Ok(Some(part));
                }
                State::Body => return Ok(self.body()),
                State::End => return Ok(None),
            }
        }
    }

    fn body(&mut self) -> Option<Event> {
        match find(&self.buffer, &self.delimiter) {
            Some(0) => {
                self.buffer.drain(..self.delimiter.len());
                self.state = State::AfterBoundary;
                Some(Event::PartEnd)
            }
            Some(at) => Some(Event::Data(self.buffer.drain(..at).collect())),
            None => {
                // The end may be the beginning of a boundary.
                let safe = self.buffer.len().saturating_sub(self.delimiter.len() - 1);
                (safe > 0).then(|| Event::Data(self.buffer.drain(..safe).collect()))
            }
        }
    }
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    let first = *what.first()?;
    let mut from = 0;
    loop {
        let at = from + bytes.get(from..)?.iter().position(|byte| *byte == first)?;
        if bytes[at..].starts_with(what) {
            return Some(at);
        }
        from = at + 1;
    }
}

/// The lines in front of a part: only `Content-Disposition` counts.
fn head(bytes: &[u8]) -> Result<Event, Malformed> {
    let text = String::from_utf8_lossy(bytes);
    let disposition = text
        .split("\r\n")
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.trim().eq_ignore_ascii_case("content-disposition"));
    let (_, value) = disposition.ok_or(Malformed)?;
    let (kind, parameters) = value.split_once(';').ok_or(Malformed)?;
    if !kind.trim().eq_ignore_ascii_case("form-data") {
        return Err(Malformed);
    }
    Ok(Event::Part {
        name: parameter(parameters, "name").ok_or(Malformed)?,
        file: parameter(parameters, "filename"),
    })
}

/// One of `; name=value; name="value"`. Browsers write quotes as `%22`, other programs as `\"`.
fn parameter(text: &str, wanted: &str) -> Option<String> {
    let mut rest = text;
    loop {
        let (name, after) = rest.split_once('=')?;
        let name = name.trim_matches([' ', '\t', ';']);
        let mut value = String::new();
        rest = after.trim_start();
        if let Some(quoted) = rest.strip_prefix('"') {
            let mut chars = quoted.char_indices();
            rest = loop {
                match chars.next()? {
                    (at, '"') => break &quoted[at + 1..],
                    (at, '\\') if quoted[at + 1..].starts_with(['"', '\\']) => value.push(chars.next()?.1),
                    (_, c) => value.push(c),
                }
            };
        } else {
            let end = rest.find(';').unwrap_or(rest.len());
            value.push_str(rest[..end].trim());
            rest = &rest[end..];
        }
        if name.eq_ignore_ascii_case(wanted) {
            return Some(value);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const KIND: &str = "multipart/form-data; boundary=----x";
    const SENT: &[u8] = b"------x\r\nContent-Disposition: form-data; name=\"csrf\"\r\n\r\ntoken\r\n\
        ------x\r\ncontent-disposition: form-data; name=\"empty\"\r\n\r\n\r\n\
        ------x\r\nContent-Type: image/png\r\nContent-Disposition: form-data; filename=\"a\\\"; name=b.png\"; name=file\r\n\r\n\
        \r\n------\r\n\r\n------y\r\n------x \r\nContent-Disposition: form-data; name=\"last\"\r\n\r\n\
        \xff\r\n------x--\r\nepilogue ------x";

    type Part = (String, Option<String>, Vec<u8>);

    /// Name, file name and content of each part, with the input in pieces of `size`.
    fn parts(kind: &str, sent: &[u8], size: usize) -> Result<Vec<Part>, Malformed> {
        let mut parser = Parser::new(kind).unwrap();
        let mut parts = Vec::new();
        let mut ended = false;
        for piece in sent.chunks(size) {
            parser.feed(piece);
            while let Some(event) = parser.event()? {
                match event {
                    Event::Part { name, file } => parts.push((name, file, Vec::new())),
                    Event::Data(bytes) => parts.last_mut().unwrap().2.extend(bytes),
                    Event::PartEnd => {}
                    Event::End => ended = true,
                }
            }
            assert!(parser.buffer.len() <= size + MAX_HEAD);
        }
        if ended { Ok(parts) } else { Err(Malformed) }
    }

    #[test]
    fn the_pieces_in_which_it_arrives_do_not_matter() {
        let whole = parts(KIND, SENT, SENT.len()).unwrap();
        let short = |text: &str| text.to_owned();
        assert_eq!(
            whole,
            [
                (short("csrf"), None, b"token".to_vec()),
                (short("empty"), None, Vec::new()),
                (
                    short("file"),
                    Some(short("a\"; name=b.png")),
                    b"\r\n------\r\n\r\n------y".to_vec()
                ),
                (short("last"), None, b"\xff".to_vec()),
            ]
        );
        for size in 1..80 {
            assert_eq!(parts(KIND, SENT, size).unwrap(), whole, "{size}");
        }
    }

    #[test]
    fn kinds_and_boundaries() {
        for kind in [
            "application/x-www-form-urlencoded",
            "multipart/form-data",
            "multipart/form-data; boundary=",
            "multipart/mixed; boundary=x",
            &format!("multipart/form-data; boundary={}", "x".repeat(71)),
        ] {
            assert!(Parser::new(kind).is_none(), "{kind}");
        }
        let parser = Parser::new("Multipart/Form-Data; charset=utf-8; Boundary=\"a b\"").unwrap();
        assert_eq!(parser.delimiter, b"\r\n--a b");
    }

    #[test]
    fn what_is_no_form() {
        let end = SENT.windows(9).position(|bytes| bytes == b"------x--").unwrap() + 9;
        for length in 0..end {
            assert_eq!(parts(KIND, &SENT[..length], 7), Err(Malformed), "{length}");
        }
        for text in [
            "------xy\r\nContent-Disposition: form-data; name=a\r\n\r\n\r\n------x--".to_owned(),
            "------x\r\nContent-Type: text/plain\r\n\r\n\r\n------x--".to_owned(),
            "------x\r\nContent-Disposition: attachment; name=a\r\n\r\n\r\n------x--".to_owned(),
            "------x\r\nContent-Disposition: form-data; name=\"a\r\n\r\n\r\n------x--".to_owned(),
            format!("------x\r\n{}", "x".repeat(2 * MAX_HEAD)),
            "x".repeat(2 * MAX_HEAD),
        ] {
            assert_eq!(parts(KIND, text.as_bytes(), 50), Err(Malformed), "{text}");
        }
    }
}
