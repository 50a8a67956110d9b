//! The file with settings: one `key = value` a line. Lines that begin with `#`, and blank ones, say nothing; quotes
//! around a value are taken off. Every such file whose values are in quotes is TOML, too; a reader of all of TOML would
//! be larger than what there is to read.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use super::TABLE;
use crate::cli::Failure;

/// A setting in the file.
#[derive(Debug, PartialEq, Eq)]
pub struct Line {
    pub path: String,
    /// From 1.
    pub number: usize,
    pub key: String,
    pub value: String,
}

const LARGEST: u64 = 64 * 1024;

/// Reads the file.
///
/// # Errors
/// A file that cannot be read; a line that is no `key = value`, a key that is no setting, or one that is there twice.
pub fn read(path: &Path) -> Result<Vec<Line>, Failure> {
    let shown = path.display().to_string();
    let mut text = String::new();
    File::open(path)
        .and_then(|file| file.take(LARGEST + 1).read_to_string(&mut text))
        .map_err(|error| {
            Failure::usage(
                format!("cannot read the settings in {shown}: {error}"),
                "--config or BLOG_CONFIG names the file; it has to be readable for the user that runs the blog",
            )
        })?;
    if text.len() as u64 > LARGEST {
        return Err(Failure::usage(
            format!("{shown} is too large for a file with settings"),
            "",
        ));
    }
    parse(&shown, &text)
}

fn parse(path: &str, text: &str) -> Result<Vec<Line>, Failure> {
    let mut lines: Vec<Line> = Vec::new();
    for (at, line) in text.trim_start_matches('\u{feff}').lines().enumerate() {
        let number = at + 1;
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let wrong = |message: String, hint: &str| Err(Failure::usage(format!("{path}:{number}: {message}"), hint));
        let Some((key, value)) = line.split_once('=') else {
            return wrong(
                format!("`{line}` is no setting"),
                "write `key = value`, as in `title = Notes`",
            );
        };
        let (key, value) = (key.trim(), value.trim());
        if TABLE.iter().all(|setting| setting.key != key) {
            return wrong(format!("there is no setting `{key}`"), &nearest(key));
        }
        if let Some(first) = lines.iter().find(|line| line.key == key) {
            return wrong(
                format!("`{key}` is in line {} already", first.number),
                "leave one of them out",
            );
        }
        let inner = value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
        let inner = inner.or_else(|| value.strip_prefix('\'').and_then(|rest| rest.strip_suffix('\'')));
        lines.push(Line {
            path: path.to_owned(),
            number,
            key: key.to_owned(),
            value: inner.unwrap_or(value).to_owned(),
        });
    }
    Ok(lines)
}

/// A setting that was perhaps meant.
fn nearest(key: &str) -> String {
    let plain = key.to_ascii_lowercase().replace('_', "-");
    let plain = plain.strip_prefix("blog-").unwrap_or(&plain);
    let close = TABLE.iter().find(|setting| setting.key == plain);
    match close {
        Some(setting) => format!("write `{}`", setting.key),
        None => "`blog config` lists all settings".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn keys_and_values() {
        let text =
            "\u{feff}# a comment\r\n\r\n  title = \"Notes # of mine = yours\"  \r\ndatabase='/data/b.db'\nlisten=off\n";
        let lines = parse("f", text).unwrap();
        let short: Vec<_> = lines
            .iter()
            .map(|line| (line.number, line.key.as_str(), line.value.as_str()))
            .collect();
        assert_eq!(
            short,
            [
                (3, "title", "Notes # of mine = yours"),
                (4, "database", "/data/b.db"),
                (5, "listen", "off")
            ]
        );
    }

    #[test]
    fn mistakes_have_their_line() {
        for (text, said, hint) in [
            ("\ntitel = x", "f:2: there is no setting `titel`", "blog config"),
            ("BLOG_TITLE=x", "f:1: there is no setting `BLOG_TITLE`", "write `title`"),
            ("base_url = x", "f:1", "write `base-url`"),
            ("title", "f:1: `title` is no setting", "key = value"),
            (
                "title = a\n\ntitle = b",
                "f:3: `title` is in line 1 already",
                "leave one",
            ),
        ] {
            let failure = parse("f", text).unwrap_err();
            assert!(
                failure.message.contains(said) && failure.hint.contains(hint),
                "{failure:?}"
            );
        }
    }
}
