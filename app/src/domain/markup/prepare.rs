//! What is done to a text before CommonMark reads it, so that notes mean what their writers think they mean.
//!
//! Signs that must not act as marks are replaced by noncharacters (Unicode, section 23.7), which no text may contain;
//! `restore` puts them back. CommonMark takes a noncharacter for a letter.

use super::link;
use crate::domain::tag;

/// Each sign and its stand-in: `FIRST` plus its place.
const SIGNS: [char; 5] = ['_', '*', '~', '#', '<'];
const FIRST: u32 = 0xfdd0;

/// Stands for a `#` that is no hashtag's.
pub const ESCAPED_HASH: &str = "\u{fdd3}";

/// Stands for nothing: a letter between punctuation and a mark.
const JOINER: char = '\u{fdd5}';

fn stand_in(sign: char) -> Option<char> {
    let place = SIGNS.iter().position(|known| *known == sign)?;
    char::from_u32(FIRST + u32::try_from(place).ok()?)
}

/// True for the 32 noncharacters of which some stand for signs here. No text keeps one.
pub fn is_noncharacter(c: char) -> bool {
    ('\u{fdd0}'..='\u{fdef}').contains(&c)
}

/// * No mark inside a bare link or a hashtag: `https://a.b/_c_` and `#rust_lang` stay whole.
/// * One `~` strikes nothing through: 10~20 is a range.
/// * `<` is a sign like any other, except in `<https://...>`, `<a@b.c>` and `](<...>)`: there is no raw HTML.
/// * Punctuation beside `*` and `~` does not keep them from being marks in Japanese: **「これ」**も.
/// * `\#` is no hashtag.
pub fn prepare(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 16);
    let mut spans = Spans::new(text);
    let mut chars = text.char_indices().peekable();
    let mut before = '\n';
    while let Some((at, c)) = chars.next() {
        let next = chars.peek().map_or('\n', |(_, c)| *c);
        let inside = spans.contain(at);
        match c {
            c if is_noncharacter(c) => continue,
            '\\' if next == '#' => {
                chars.next();
                out.push_str(ESCAPED_HASH);
                before = '#';
                continue;
            }
            '\\' if next == '\\' => {
                chars.next();
                // The second is spoken for, so it is not taken for the start of another pair.
                out.push_str("\\\\");
                before = 'a';
                continue;
            }
            '_' | '*' | '~' if inside => out.extend(stand_in(c)),
            '~' if before != '~' && next != '~' => out.extend(stand_in(c)),
            '*' | '~' if before != c => {
                let mut run = String::from(c);
                while chars.next_if(|(_, next)| *next == c).is_some() {
                    run.push(c);
                }
                let after = chars.peek().map_or('\n', |(_, c)| *c);
                push_run(&mut out, before, &run, after);
            }
            '<' if before != '(' && !opens_an_address(&text[at + 1..]) => out.extend(stand_in(c)),
            c => out.push(c),
        }
        before = c;
    }
    out
}

/// CommonMark lets `**` end after 」 only before a space or more punctuation, which Japanese does not put there.
fn push_run(out: &mut String, before: char, run: &str, after: char) {
    let is_japanese = |c: char| c >= '\u{2e80}';
    let is_punctuation = |c: char| !c.is_alphanumeric() && !c.is_whitespace() && c != '\\';
    let between = !before.is_whitespace() && !after.is_whitespace() && (is_japanese(before) || is_japanese(after));
    if between && is_punctuation(before) {
        out.push(JOINER);
    }
    out.push_str(run);
    if between && is_punctuation(after) {
        out.push(JOINER);
    }
}

/// The signs again, with `escaped_hash` where `\#` was written.
pub fn restore(text: &str, escaped_hash: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if !is_noncharacter(c) {
            out.push(c);
            continue;
        }
        let place = usize::try_from(u32::from(c) - FIRST).unwrap_or_default();
        match SIGNS.get(place) {
            Some('#') => out.push_str(escaped_hash),
            sign => out.extend(sign),
        }
    }
    out
}

/// True for what follows the `<` of `<https://...>` or `<a@b.c>`.
fn opens_an_address(rest: &str) -> bool {
    let address = rest
        .split_once(|c: char| c == '>' || c == '<' || c.is_whitespace())
        .map_or("", |(address, _)| address);
    let closed = rest[address.len()..].starts_with('>');
    let starts = |scheme: &str| {
        let head = address.as_bytes().get(..scheme.len());
        head.is_some_and(|head| head.eq_ignore_ascii_case(scheme.as_bytes()))
    };
    closed && (starts("https://") || starts("http://") || starts("mailto:") || address.contains('@'))
}

/// Bare links and hashtags, in order, found as they are come to.
struct Spans<'a> {
    text: &'a str,
    link: Option<(usize, usize)>,
    tag: Option<(usize, usize)>,
}

impl<'a> Spans<'a> {
    fn new(text: &'a str) -> Self {
        Self {
            text,
            link: link::find(text, 0),
            tag: tag::find(text, 0).map(|(start, end, _)| (start, end)),
        }
    }

    /// Asked with growing positions.
    fn contain(&mut self, at: usize) -> bool {
        while let Some((_, end)) = self.link.filter(|(_, end)| *end <= at) {
            self.link = link::find(self.text, end);
        }
        while let Some((_, end)) = self.tag.filter(|(_, end)| *end <= at) {
            self.tag = tag::find(self.text, end).map(|(start, end, _)| (start, end));
        }
        let holds = |span: Option<(usize, usize)>| span.is_some_and(|(start, end)| start <= at && at < end);
        holds(self.link) || holds(self.tag)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_lost() {
        for text in [
            "a_b*c~d#e<f",
            "**「x」**、",
            "https://a.b/_c_*d* #x_y",
            "<https://a.b> <b> a@b",
            "\\# \\\\# \\",
        ] {
            let there = prepare(text);
            assert_eq!(restore(&there, "\\#"), text);
        }
    }

    #[test]
    fn noncharacters_do_not_get_in() {
        assert_eq!(prepare("a\u{fdd4}b\u{fdef}"), "ab");
    }
}
