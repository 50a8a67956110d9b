//! The text of a post: tidied, never empty, never too long.

/// In bytes. A form may carry 256 KiB, and Japanese text grows threefold on its way, so this much always arrives.
pub const MAX_BYTES: usize = 64 * 1024;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PostText(String);

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PostTextError {
    #[error("Write something first: the post is empty.")]
    Empty,
    #[error("The post is too long: it may have 65,536 bytes (about 21,000 Japanese characters).")]
    TooLong,
}

impl PostText {
    pub fn parse(typed: &str) -> Result<Self, PostTextError> {
        let text: String = typed.replace("\r\n", "\n").replace('\r', "\n");
        let text: String = text.chars().filter(|c| allowed(*c)).collect();
        let text = text.trim_end().trim_start_matches(['\n', '\u{feff}']);
        // Leading blank lines go, leading spaces of the first line of text stay.
        let start = text
            .char_indices()
            .find(|(_, c)| !c.is_whitespace())
            .map_or(0, |(first, _)| text[..first].rfind('\n').map_or(0, |line| line + 1));
        let text = &text[start..];
        if text.is_empty() {
            return Err(PostTextError::Empty);
        }
        if text.len() > MAX_BYTES {
            return Err(PostTextError::TooLong);
        }
        Ok(Self(text.to_owned()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// What stands for an image that cannot be seen: without what no text may have, and without blank ends.
pub fn alt(typed: &str) -> String {
    let plain: String = typed.chars().filter(|c| allowed(*c)).collect();
    plain.trim().to_owned()
}

/// What XML 1.0 can carry. One form feed in one post would make the whole feed unreadable.
pub fn allowed(c: char) -> bool {
    matches!(c, '\n' | '\t') || !(c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}'))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn tidy(typed: &str) -> String {
        PostText::parse(typed).unwrap().as_str().to_owned()
    }

    #[test]
    fn tidies() {
        assert_eq!(tidy("a\r\nb\rc\n"), "a\nb\nc");
        assert_eq!(tidy("\n \n  a  \n\n"), "  a");
        assert_eq!(tidy("a\u{0}\u{c}\u{1b}b\u{ffff}"), "ab");
        assert_eq!(tidy("\u{feff}a\tb"), "a\tb");
    }

    #[test]
    fn words_for_images() {
        assert_eq!(alt(" a\u{c}b\u{0}\nc \u{1b}"), "ab\nc");
        assert_eq!(alt("\u{c} \u{7f}"), "");
    }

    #[test]
    fn refuses_nothing_and_too_much() {
        for empty in ["", " \r\n\t", "\u{0}", "\u{3000}"] {
            assert_eq!(PostText::parse(empty), Err(PostTextError::Empty), "{empty:?}");
        }
        assert_eq!(tidy(&"a".repeat(MAX_BYTES)).len(), MAX_BYTES);
        assert_eq!(PostText::parse(&"a".repeat(MAX_BYTES + 1)), Err(PostTextError::TooLong));
    }
}
