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
}
