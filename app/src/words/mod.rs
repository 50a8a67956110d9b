//! The words of the interface, in every language it has: one file for each area, one constant for each language.
//!
//! A field that one language lacks does not compile, so no page is half translated.

pub mod access;
pub mod choice;
pub mod errors;
mod media;
mod reading;
mod writing;

pub use access::Access;
pub use choice::{Choice, Preference};
pub use errors::Errors;
pub use media::Media;
pub use reading::Reading;
pub use writing::Writing;

/// A language of the interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lang {
    En,
    Ja,
}

impl Lang {
    pub const ALL: [Self; 2] = [Self::En, Self::Ja];

    /// The tag of BCP 47, for `lang` and `hreflang`.
    pub fn code(self) -> &'static str {
        match self {
            Self::En => "en",
            Self::Ja => "ja",
        }
    }

    /// What the language calls itself.
    pub fn name(self) -> &'static str {
        match self {
            Self::En => "English",
            Self::Ja => "日本語",
        }
    }

    /// Takes `ja`, and `ja-JP` as well.
    pub fn parse(tag: &str) -> Option<Self> {
        let language = tag.split('-').next().unwrap_or_default();
        Self::ALL
            .into_iter()
            .find(|lang| language.eq_ignore_ascii_case(lang.code()))
    }

    pub fn words(self) -> &'static Words {
        match self {
            Self::En => &EN,
            Self::Ja => &JA,
        }
    }

    /// What a post is written in, when its author does not say: Japanese when it has kana, else English.
    pub fn guess(text: &str) -> Self {
        let kana = |c: char| matches!(c, '\u{3041}'..='\u{30ff}' | '\u{ff66}'..='\u{ff9f}');
        if text.chars().any(kana) { Self::Ja } else { Self::En }
    }
}

/// Every word there is, by area.
#[derive(Debug)]
pub struct Words {
    pub reading: Reading,
    pub access: Access,
    pub errors: Errors,
    pub writing: Writing,
    pub media: Media,
}

static EN: Words = Words {
    reading: reading::EN,
    access: access::EN,
    errors: errors::EN,
    writing: writing::EN,
    media: media::EN,
};

static JA: Words = Words {
    reading: reading::JA,
    access: access::JA,
    errors: errors::JA,
    writing: writing::JA,
    media: media::JA,
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn languages_by_their_tags() {
        assert_eq!(Lang::parse("ja-JP"), Some(Lang::Ja));
        assert_eq!(Lang::parse("EN"), Some(Lang::En));
        assert_eq!(Lang::parse("jav"), None);
        assert_eq!(Lang::parse(""), None);
    }

    #[test]
    fn kana_make_a_text_japanese() {
        assert_eq!(Lang::guess("Rust で書いた"), Lang::Ja);
        assert_eq!(Lang::guess("ﾗｽﾞﾊﾟｲ"), Lang::Ja);
        assert_eq!(Lang::guess("Tokyo (東京)"), Lang::En);
    }
}
