//! Tags: `#ラズパイ` in a text, `ラズパイ` in a list, one folded spelling in addresses.

use super::fold::fold;
use super::percent;

/// In characters of the folded name.
const LONGEST: usize = 60;

/// A tag, as it was written and as it is compared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tag {
    /// As written, without the sign.
    pub name: String,
    /// NFKC, lower case: letters, digits, `_` and `・` only, so it needs no care in an address but percent signs.
    pub folded: String,
}

impl Tag {
    /// From what stands after the sign. Digits alone are a number, not a tag.
    pub fn parse(name: &str) -> Option<Self> {
        let folded = fold(name);
        let fits = folded.chars().count() <= LONGEST && folded.chars().all(is_word);
        (fits && folded.chars().any(char::is_alphabetic)).then(|| Self {
            name: name.to_owned(),
            folded,
        })
    }

    /// A list as people type it into a field: with or without signs, between spaces or commas. `Err` is the first
    /// word that is no tag.
    pub fn parse_list(typed: &str) -> Result<Vec<Self>, String> {
        let mut tags = Vec::new();
        for word in typed.split(|c: char| c.is_whitespace() || matches!(c, ',' | '、' | '，')) {
            let name = word.strip_prefix(['#', '＃']).unwrap_or(word);
            if !name.is_empty() {
                push(&mut tags, Self::parse(name).ok_or_else(|| word.to_owned())?);
            }
        }
        Ok(tags)
    }

    /// `/tags/...`, percent-encoded.
    pub fn path(&self) -> String {
        path(&self.folded)
    }
}

/// The address of the tag with this folded name.
pub fn path(folded: &str) -> String {
    format!("/tags/{}", percent::encode_but(folded, b"_"))
}

/// Adds a tag unless it is there in some spelling.
pub fn push(tags: &mut Vec<Tag>, tag: Tag) {
    if tags.iter().all(|known| known.folded != tag.folded) {
        tags.push(tag);
    }
}

/// The first hashtag in `text` at or after `from`: where it begins (at the sign), where it ends, and the tag.
pub fn find(text: &str, from: usize) -> Option<(usize, usize, Tag)> {
    let mut before = text[..from].chars().next_back();
    let mut rest = text[from..].char_indices();
    while let Some((at, c)) = rest.next() {
        // Inside a word, an address or a character reference the sign is no tag's.
        let starts =
            matches!(c, '#' | '＃') && !before.is_some_and(|c| is_word(c) || matches!(c, '&' | '/' | '#' | '＃'));
        before = Some(c);
        if !starts {
            continue;
        }
        let start = from + at;
        let name_at = start + c.len_utf8();
        let name = text[name_at..].split(|c| !is_word(c)).next().unwrap_or_default();
        let name = name.trim_end_matches('・');
        if let Some(tag) = Tag::parse(name) {
            return Some((start, name_at + name.len(), tag));
        }
        // Past the word that was none, so that no word is read twice.
        let skip = name.len();
        while rest
            .clone()
            .next()
            .is_some_and(|(next, _)| next < name_at - from + skip)
        {
            before = rest.next().map(|(_, c)| c);
        }
    }
    None
}

/// Letters and digits of any script, their marks, and the two signs that words are joined with.
fn is_word(c: char) -> bool {
    c.is_alphanumeric()
        || matches!(
            c,
            '_' | '＿' | '・' | '･' | '\u{3099}' | '\u{309a}' | '\u{300}'..='\u{36f}'
        )
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn all(text: &str) -> Vec<String> {
        let (mut from, mut found) = (0, Vec::new());
        while let Some((_, end, tag)) = find(text, from) {
            found.push(tag.folded);
            from = end;
        }
        found
    }

    #[test]
    fn found_in_text() {
        assert_eq!(
            all("#ラズパイ と #rust_lang、＃Ｒｕｓｔ。"),
            ["ラズパイ", "rust_lang", "rust"]
        );
        assert_eq!(all("(#a) #b, #c-d 「#e」 #ﾗｽﾞﾊﾟｲ"), ["a", "b", "c", "e", "ラズパイ"]);
        assert_eq!(all("#2026年 #x・ #カタカナ・タグ"), ["2026年", "x", "カタカナ・タグ"]);
        assert_eq!(all("#か\u{3099}"), ["が"]);
        assert_eq!(all("#a#b"), ["a"]);
    }

    #[test]
    fn not_tags() {
        for text in [
            "#",
            "# a",
            "#1",
            "#12_3",
            "a#b",
            "今日は#ラズパイ",
            "&#x41;",
            "/#a",
            "##a",
            "＃＃a",
        ] {
            assert_eq!(all(text), [""; 0], "{text}");
        }
        assert_eq!(all(&format!("#{}", "x".repeat(61))), [""; 0]);
        assert_eq!(all(&format!("#{} #y", "x".repeat(61))), ["y"]);
    }

    #[test]
    fn lists_and_addresses() {
        let tags = Tag::parse_list(" #Rust, rust　ラズパイ、c_1 ").unwrap();
        let names: Vec<_> = tags.iter().map(|tag| tag.name.as_str()).collect();
        assert_eq!(names, ["Rust", "ラズパイ", "c_1"]);
        assert_eq!(tags[2].path(), "/tags/c_1");
        assert_eq!(Tag::parse("あ").unwrap().path(), "/tags/%E3%81%82");
        assert_eq!(Tag::parse_list("a <b>"), Err("<b>".to_owned()));
        assert_eq!(Tag::parse_list("../x"), Err("../x".to_owned()));
    }

    /// Whatever is a tag has a folded name that is the same tag.
    #[test]
    fn a_folded_name_is_a_tag() {
        for c in (0..=0x0003_ffff).filter_map(char::from_u32) {
            if let Some(tag) = Tag::parse(&c.to_string()) {
                assert_eq!(Tag::parse(&tag.folded).map(|tag| tag.folded), Some(tag.folded), "{c:?}");
            }
        }
    }
}
