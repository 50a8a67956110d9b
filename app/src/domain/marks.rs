//! A piece of a text around the words that were searched for, with those words marked.

use super::fold::fold;

/// Characters before the first hit, and in all.
const BEFORE: usize = 40;
const LENGTH: usize = 200;

/// A part of the text as it was written. `hit`: it is one of the words.
#[derive(Debug, PartialEq, Eq)]
pub struct Piece {
    pub hit: bool,
    pub text: String,
}

/// `words` are folded, the text is not: ﾗｽﾞﾊﾟｲ is marked for ラズパイ.
pub fn excerpt<'a>(text: &str, words: impl Iterator<Item = &'a str>) -> Vec<Piece> {
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let folded = Folded::new(&text);
    let mut hits: Vec<(usize, usize)> = words.flat_map(|word| folded.find(word)).collect();
    hits.sort_unstable();

    // Where the piece begins and ends, at whole characters.
    let first = hits.first().map_or(0, |hit| hit.0);
    let start = text[..first]
        .char_indices()
        .rev()
        .nth(BEFORE - 1)
        .map_or(0, |(at, _)| at);
    let end = text[start..]
        .char_indices()
        .nth(LENGTH)
        .map_or(text.len(), |(at, _)| start + at);

    let mut pieces = Vec::new();
    let mut push = |hit: bool, text: String| {
        if !text.is_empty() {
            pieces.push(Piece { hit, text });
        }
    };
    let mut at = start;
    if start > 0 {
        push(false, "…".to_owned());
    }
    for (from, to) in hits {
        let (from, to) = (from.max(at), to.min(end));
        if from >= to {
            continue;
        }
        push(false, text[at..from].to_owned());
        push(true, text[from..to].to_owned());
        at = to;
    }
    push(false, text[at..end].to_owned());
    if end < text.len() {
        push(false, "…".to_owned());
    }
    pieces
}

/// A folded text that knows where each byte of it comes from.
struct Folded {
    text: String,
    /// For every byte of `text` the clusters begin and end in the original.
    from: Vec<(usize, usize)>,
}

impl Folded {
    fn new(original: &str) -> Self {
        let (mut text, mut from) = (
            String::with_capacity(original.len()),
            Vec::with_capacity(original.len()),
        );
        let mut start = 0;
        while start < original.len() {
            let mut characters = original[start..].char_indices().skip(1);
            let end = characters
                .find(|(_, c)| !is_attached(*c))
                .map_or(original.len(), |(at, _)| start + at);
            let part = fold(&original[start..end]);
            from.extend(std::iter::repeat_n((start, end), part.len()));
            text.push_str(&part);
            start = end;
        }
        Self { text, from }
    }

    fn find<'a>(&'a self, word: &'a str) -> impl Iterator<Item = (usize, usize)> + 'a {
        let found = (!word.is_empty()).then(|| self.text.match_indices(word));
        found.into_iter().flatten().filter_map(|(at, word)| {
            let last = at + word.len() - 1;
            Some((self.from.get(at)?.0, self.from.get(last)?.1))
        })
    }
}

/// Characters that belong to the one before: combining marks, and the sound marks of half-width kana.
fn is_attached(c: char) -> bool {
    matches!(c, '\u{300}'..='\u{36f}' | '\u{3099}' | '\u{309a}' | '\u{ff9e}' | '\u{ff9f}' | '\u{200d}' | '\u{fe00}'..='\u{fe0f}')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str, words: &[&str]) -> String {
        let pieces = excerpt(text, words.iter().copied());
        pieces
            .iter()
            .map(|piece| {
                if piece.hit {
                    format!("[{}]", piece.text)
                } else {
                    piece.text.clone()
                }
            })
            .collect()
    }

    #[test]
    fn hits_are_marked_as_they_were_written() {
        assert_eq!(shown("今日は東京へ", &["東京"]), "今日は[東京]へ");
        assert_eq!(shown("Ｒｕｓｔ and RUST", &["rust"]), "[Ｒｕｓｔ] and [RUST]");
        assert_eq!(shown("新しいﾗｽﾞﾊﾟｲが", &["ラズパイ"]), "新しい[ﾗｽﾞﾊﾟｲ]が");
        assert_eq!(shown("か\u{3099}く", &["が"]), "[か\u{3099}]く");
        assert_eq!(shown("abcabc", &["bca", "ab"]), "[ab][ca][b]c");
        assert_eq!(shown("nothing here", &["zzz"]), "nothing here");
    }

    #[test]
    fn a_long_text_is_cut_around_the_first_hit() {
        let text = format!("{} 東京 {}", "あ".repeat(300), "い".repeat(300));
        let shown = shown(&text, &["東京"]);
        assert!(shown.starts_with("…あ") && shown.ends_with("い…"), "{shown}");
        assert!(shown.contains("[東京]"));
        assert!(shown.chars().count() < 210);
    }

    /// Folding cluster by cluster gives what folding the whole gives, or hits would be marked beside their words.
    #[test]
    fn clusters_fold_like_the_whole() {
        for text in [
            "Ｒｕｓｔで ﾗｽﾞﾊﾟｲ を動かす ①",
            "か\u{3099} é e\u{301} İ ΣΊΣΥΦΟΣ ﬁ",
            "한국어 中文 ｱｲｳﾞ",
        ] {
            assert_eq!(Folded::new(text).text, fold(text), "{text}");
        }
    }
}
