//! Which language a reader gets: what the address asks for, else what the owner set, else what the browser asks for.
//!
//! `?lang=` is carried from page to page by the links, so the choice needs no cookie. It exists because Tor Browser
//! asks for English, whoever reads.

use super::Lang;

/// `BLOG_LANG`: `auto`, or one language for all who do not choose.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Preference {
    #[default]
    Auto,
    Always(Lang),
}

impl Preference {
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "auto" => Some(Self::Auto),
            code => Lang::ALL.into_iter().find(|lang| lang.code() == code).map(Self::Always),
        }
    }

    pub fn word(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Always(lang) => lang.code(),
        }
    }
}

/// The language of one answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Choice {
    pub lang: Lang,
    /// The address asked for it, so the links on the page ask for it again.
    pub asked: bool,
}

impl Choice {
    /// `asked`: the value of `lang` in the address; `accept`: the header `Accept-Language` (RFC 9110, 12.5.4).
    pub fn new(preference: Preference, asked: Option<&str>, accept: Option<&str>) -> Self {
        if let Some(lang) = asked.and_then(Lang::parse) {
            return Self { lang, asked: true };
        }
        let lang = match preference {
            Preference::Always(lang) => lang,
            Preference::Auto => accept.and_then(preferred).unwrap_or(Lang::En),
        };
        Self { lang, asked: false }
    }

    /// For what is answered without a request at hand.
    pub fn default_of(preference: Preference) -> Self {
        Self::new(preference, None, None)
    }
}

/// The language with the highest weight; of equals the first.
fn preferred(accept: &str) -> Option<Lang> {
    let mut best: Option<(u32, Lang)> = None;
    for item in accept.split(',').take(32) {
        let mut parts = item.split(';');
        let Some(lang) = parts.next().and_then(|tag| Lang::parse(tag.trim())) else {
            continue;
        };
        let weight = parts
            .find_map(|part| part.trim().strip_prefix("q="))
            .map_or(1000, thousandths);
        if weight > 0 && best.is_none_or(|(most, _)| weight > most) {
            best = Some((weight, lang));
        }
    }
    best.map(|(_, lang)| lang)
}

/// `0.8` is 800; what is no weight counts as none.
fn thousandths(text: &str) -> u32 {
    let (whole, fraction) = text.trim().split_once('.').unwrap_or((text.trim(), ""));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if fraction.len() > 3 || !digits(fraction) {
        return 0;
    }
    match whole {
        "1" => 1000,
        "0" => format!("{fraction:0<3}").parse().unwrap_or(0),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn auto(accept: &str) -> &'static str {
        Choice::new(Preference::Auto, None, Some(accept)).lang.code()
    }

    #[test]
    fn the_browser_is_asked() {
        assert_eq!(auto("ja"), "ja");
        assert_eq!(auto("en-US,en;q=0.5"), "en");
        assert_eq!(auto("de, ja;q=0.3, en;q=0.2"), "ja");
        assert_eq!(auto("ja;q=0.3, en;q=0.31"), "en");
        assert_eq!(auto("ja;q=0, *"), "en");
        assert_eq!(auto("ja;q=x"), "en");
        assert_eq!(auto("ja;q=0.9999"), "en");
        assert_eq!(auto(""), "en");
    }

    #[test]
    fn the_address_wins_and_is_carried_on() {
        let choice = Choice::new(Preference::Always(Lang::En), Some("ja"), Some("en"));
        assert_eq!((choice.lang, choice.asked), (Lang::Ja, true));
        let choice = Choice::new(Preference::Always(Lang::Ja), Some("tlh"), Some("en"));
        assert_eq!((choice.lang, choice.asked), (Lang::Ja, false));
    }

    #[test]
    fn settings_by_name() {
        for word in ["auto", "en", "ja"] {
            assert_eq!(Preference::parse(word).map(Preference::word), Some(word));
        }
        assert_eq!(Preference::parse("fr"), None);
    }
}
