//! What somebody searches for: words that must all be there, phrases in quotes, and words that must not.

use super::fold::fold;

/// More would only make the search slow.
const MOST_TERMS: usize = 8;
const MOST_CHARACTERS: usize = 200;
/// The index knows every three characters in a row; shorter terms are looked for in the text itself.
const INDEXED: usize = 3;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Term {
    /// Folded.
    pub text: String,
    /// It must not be there.
    pub excluded: bool,
}

impl Term {
    pub fn is_indexed(&self) -> bool {
        self.text.chars().count() >= INDEXED
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sought(Vec<Term>);

impl Sought {
    /// None when there is nothing to look for: no word, or only words that must not be there.
    pub fn parse(typed: &str) -> Option<Self> {
        // What cannot be seen cannot be looked for, and FTS5 stops at a zero.
        let visible = |c: char| if c.is_control() { ' ' } else { c };
        let typed: String = typed.chars().map(visible).take(MOST_CHARACTERS).collect();
        let mut terms: Vec<Term> = Vec::new();
        let mut rest = typed.as_str();
        while terms.len() < MOST_TERMS {
            rest = rest.trim_start();
            if rest.is_empty() {
                break;
            }
            let dash = rest
                .strip_prefix(['-', '－'])
                .filter(|after| !after.starts_with(char::is_whitespace));
            let (excluded, body) = dash.map_or((false, rest), |after| (true, after));
            let quoted = body.strip_prefix(QUOTES);
            let (text, after) = match quoted {
                Some(inner) => inner.split_once(QUOTES).unwrap_or((inner, "")),
                None => body.split_at(body.find(char::is_whitespace).unwrap_or(body.len())),
            };
            // A quote inside a word would be looked for as it stands.
            let text = fold(text).split_whitespace().collect::<Vec<_>>().join(" ");
            let term = Term { text, excluded };
            if !term.text.is_empty() && !terms.contains(&term) {
                terms.push(term);
            }
            rest = after;
        }
        terms.iter().any(|term| !term.excluded).then_some(Self(terms))
    }

    pub fn terms(&self) -> &[Term] {
        &self.0
    }

    /// The words to mark in what was found.
    pub fn wanted(&self) -> impl Iterator<Item = &str> {
        self.0
            .iter()
            .filter(|term| !term.excluded)
            .map(|term| term.text.as_str())
    }

    /// The part that the index answers, in the language of FTS5: every term a quoted string, so nothing in it is an
    /// operator. None when all words are too short.
    pub fn expression(&self) -> Option<String> {
        let quoted = |term: &Term| format!("\"{}\"", term.text.replace('"', "\"\""));
        let some = |excluded: bool| {
            let terms = self
                .0
                .iter()
                .filter(move |term| term.is_indexed() && term.excluded == excluded);
            terms.map(quoted).collect::<Vec<_>>()
        };
        let wanted = some(false);
        if wanted.is_empty() {
            return None;
        }
        let mut expression = wanted.join(" AND ");
        for term in some(true) {
            expression = format!("({expression}) NOT {term}");
        }
        Some(expression)
    }

    /// The terms that [`Self::expression`] leaves out.
    pub fn scanned(&self) -> impl Iterator<Item = &Term> {
        let indexed = self.expression().is_some();
        self.0.iter().filter(move |term| !(indexed && term.is_indexed()))
    }
}

const QUOTES: [char; 7] = ['"', '“', '”', '＂', '「', '」', '〝'];

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn terms(typed: &str) -> Vec<(String, bool)> {
        let sought = Sought::parse(typed).unwrap();
        sought.0.into_iter().map(|term| (term.text, term.excluded)).collect()
    }

    fn is(text: &str) -> (String, bool) {
        (text.to_owned(), false)
    }

    fn not(text: &str) -> (String, bool) {
        (text.to_owned(), true)
    }

    #[test]
    fn words_phrases_and_exclusions() {
        assert_eq!(terms(" Ｒｕｓｔ　東京 "), [is("rust"), is("東京")]);
        assert_eq!(terms("\"big  Cat\" -dog"), [is("big cat"), not("dog")]);
        assert_eq!(terms("「猫 と 犬」 -\"a b\""), [is("猫 と 犬"), not("a b")]);
        assert_eq!(terms("\"open end"), [is("open end")]);
        assert_eq!(terms("a a A"), [is("a")]);
        assert_eq!(terms("a\u{0}b"), [is("a"), is("b")]);
        assert_eq!(terms("e-mail - x"), [is("e-mail"), is("-"), is("x")]);
    }

    #[test]
    fn nothing_to_look_for() {
        for typed in ["", " 　", "-a", "\"\"", "-\"\""] {
            assert_eq!(Sought::parse(typed), None, "{typed}");
        }
    }

    #[test]
    fn nothing_typed_is_an_operator() {
        let expression = |typed: &str| Sought::parse(typed).unwrap().expression();
        assert_eq!(
            expression("foo OR bar* NEAR(x").unwrap(),
            "\"foo\" AND \"bar*\" AND \"near(x\""
        );
        assert_eq!(expression("a\"b\"cde").unwrap(), "\"a\"\"b\"\"cde\"");
        assert_eq!(expression("rust -java").unwrap(), "(\"rust\") NOT \"java\"");
        assert_eq!(expression("東京 -java"), None);
        assert_eq!(expression("text:abc").unwrap(), "\"text:abc\"");
    }

    #[test]
    fn short_words_are_scanned_for() {
        let scanned = |typed: &str| -> Vec<String> {
            let sought = Sought::parse(typed).unwrap();
            sought.scanned().map(|term| term.text.clone()).collect()
        };
        assert_eq!(scanned("rust 東京 -no"), ["東京", "no"]);
        assert_eq!(
            scanned("東京 -java"),
            ["東京", "java"],
            "the index answers nothing without a word that must be there"
        );
    }

    #[test]
    fn much_is_cut() {
        assert_eq!(terms(&"ab ".repeat(500)).len(), 1);
        let many: String = (0..50).map(|n| format!("w{n} ")).collect();
        assert_eq!(terms(&many).len(), MOST_TERMS);
    }
}
