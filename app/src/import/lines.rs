//! JSON Lines, one at a time: a line is bounded, and an error names its number.

use std::io::{BufRead, BufReader, Read};

use serde_json::Value;

use super::elements::MOST_BYTES;

#[derive(Debug)]
pub struct Lines<R> {
    input: BufReader<R>,
    name: String,
    number: u64,
}

impl<R: Read> Lines<R> {
    pub fn new(input: R, name: &str) -> Self {
        Self {
            input: BufReader::with_capacity(64 << 10, input),
            name: name.to_owned(),
            number: 0,
        }
    }

    /// The next line that is not blank, parsed; `None` at the end. `Err` is a sentence that names file and line.
    pub fn next_value(&mut self) -> Result<Option<Value>, String> {
        let mut line = Vec::new();
        loop {
            line.clear();
            self.number += 1;
            let most = MOST_BYTES as u64 + 1;
            let count = self.input.by_ref().take(most).read_until(b'\n', &mut line);
            match count {
                Err(error) => return Err(self.said(&format!("cannot be read: {error}"))),
                Ok(0) => return Ok(None),
                Ok(_) if line.len() > MOST_BYTES => {
                    return Err(self.said(&format!("has more than {} MiB", MOST_BYTES >> 20)));
                }
                Ok(_) if line.trim_ascii().is_empty() => {}
                Ok(_) => break,
            }
        }
        serde_json::from_slice(&line)
            .map(Some)
            .map_err(|error| self.said(&error.to_string()))
    }

    /// A sentence about the line that was read last.
    pub fn said(&self, problem: &str) -> String {
        format!("{}, line {}: {problem}", self.name, self.number)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn lines_and_where_they_are_wrong() {
        let mut lines = Lines::new(&b"{\"a\":1}\n\n{\"a\":2}"[..], "f");
        assert_eq!(lines.next_value().unwrap().unwrap()["a"], 1);
        assert_eq!(lines.next_value().unwrap().unwrap()["a"], 2);
        assert_eq!(lines.next_value(), Ok(None));
        let mut lines = Lines::new(&b"1\n{\"a\":"[..], "f");
        lines.next_value().unwrap();
        assert!(lines.next_value().unwrap_err().starts_with("f, line 2: "));
        let endless = std::io::repeat(b'x');
        assert!(
            Lines::new(endless, "f")
                .next_value()
                .unwrap_err()
                .contains("more than 8 MiB")
        );
    }
}
