//! One spelling for what readers take to be the same: ｒｕｓｔ, Rust and RUST; ﾗｽﾞﾊﾟｲ and ラズパイ.

mod nfkc;

use nfkc::nfkc;

/// NFKC (Unicode Standard Annex 15) and lower case. Folding what is folded changes nothing.
pub fn fold(text: &str) -> String {
    if text.is_ascii() {
        return text.to_ascii_lowercase();
    }
    // Once more at the end: the lower case of `İ` is two characters, which may compose with what follows.
    let lower: String = nfkc(text).chars().flat_map(char::to_lowercase).collect();
    nfkc(&lower)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::chance::Chance;

    #[test]
    fn what_looks_alike_is_alike() {
        for (a, b) in [
            ("Ｒｕｓｔ", "rust"),
            ("ﾗｽﾞﾊﾟｲ", "ラズパイ"),
            ("か\u{3099}", "が"),
            ("①", "1"),
            ("ÉTÉ", "e\u{301}te\u{301}"),
            ("ΣΊΣΥΦΟΣ", "σίσυφοσ"),
        ] {
            assert_eq!(fold(a), fold(b), "{a} {b}");
        }
        assert_ne!(fold("か"), fold("が"));
    }

    #[test]
    fn folding_twice_is_folding_once() {
        for c in (0..=0x0003_ffff).filter_map(char::from_u32) {
            let once = fold(&c.to_string());
            assert_eq!(fold(&once), once, "{c:?}");
        }
    }

    /// Texts that a machine wrote: letters that have other widths and cases, marks that
    /// compose, kana, Hangul, and any other character.
    fn texts() -> impl Iterator<Item = String> {
        const PARTS: [&str; 20] = [
            "a",
            "Ｂ",
            "ｃ",
            "É",
            "e\u{301}",
            "ﾗ",
            "ﾊﾟ",
            "が",
            "か\u{3099}",
            "カ\u{3099}",
            "①",
            "㍿",
            "İ",
            "ß",
            "ΑΣ",
            "가",
            "ᄀ",
            "\u{301}",
            "\u{323}",
            " ",
        ];
        let mut chance = Chance::seeded();
        (0..20_000).map(move |_| {
            let pieces = (0..=chance.below(8)).map(|_| match chance.below(4) {
                0 => char::from_u32(u32::try_from(chance.below(0x0002_0000)).unwrap())
                    .unwrap_or('x')
                    .to_string(),
                _ => chance.of(&PARTS).to_owned(),
            });
            pieces.collect()
        })
    }

    #[test]
    fn whatever_is_folded_stays_folded() {
        for text in texts() {
            let once = fold(&text);
            assert_eq!(fold(&once), once, "{}", text.escape_unicode());
        }
    }

    #[test]
    fn what_is_one_text_to_unicode_is_one_text_folded() {
        use unicode_normalization::UnicodeNormalization;
        for text in texts() {
            let folded = fold(&text);
            let spellings: [String; 4] = [
                text.nfc().collect(),
                text.nfd().collect(),
                text.nfkc().collect(),
                text.nfkd().collect(),
            ];
            for spelling in spellings {
                assert_eq!(fold(&spelling), folded, "{}", text.escape_unicode());
            }
            // Where no mark can compose over the seam, a whole is folded as its parts are: a part of a word is found.
            assert_eq!(fold(&format!("{text} {text}")), format!("{folded} {folded}"));
        }
    }

    #[test]
    fn width_and_case_do_not_count() {
        for text in texts() {
            let wide: String = text
                .chars()
                .map(|c| match c {
                    '!'..='~' => char::from_u32(u32::from(c) + 0xfee0).unwrap(),
                    _ => c,
                })
                .collect();
            assert_eq!(fold(&wide), fold(&text), "{}", text.escape_unicode());
            let upper = text.to_ascii_uppercase();
            assert_eq!(fold(&upper), fold(&text), "{}", text.escape_unicode());
        }
    }
}
