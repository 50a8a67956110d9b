//! What the owner decides about a post: as typed into fields, and as one value that is valid once it exists.

use sha2::{Digest, Sha256};

use super::markup;
use super::post_text::{PostText, PostTextError, allowed};
use super::{Kind, Tag, Visibility, tag};

/// In characters.
const LONGEST_TITLE: usize = 300;
/// In bytes.
const LONGEST_LINK: usize = 2048;
const LONGEST_SLUG: usize = 80;
const MOST_TAGS: usize = 50;

/// First parts of addresses that a page cannot have.
const RESERVED: &[&str] = &[
    "admin", "archive", "feed", "feeds", "healthz", "login", "logout", "media", "metrics", "micropub", "old", "page",
    "pages", "posts", "search", "static", "status", "style", "tags", "u",
];

/// The fields of a form, as they were typed. What is wrong with them is given back in them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Typed {
    pub title: String,
    pub link: String,
    pub slug: String,
    pub tags: String,
    pub lang: String,
    pub visibility: String,
    pub date: String,
    pub reply_to: String,
    pub body: String,
}

/// A post but for its dates and its number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Content {
    pub kind: Kind,
    pub visibility: Visibility,
    pub title: Option<String>,
    pub slug: Option<String>,
    pub link: Option<String>,
    pub lang: Option<String>,
    pub body: String,
    /// Those of the field and those in the text.
    pub tags: Vec<Tag>,
    pub reply_to: Option<i64>,
}

/// What keeps a form from becoming a post.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Problem {
    Empty,
    TooLong,
    TitleTooLong,
    TitleMissing,
    BadLink,
    BadSlug,
    ReservedSlug(String),
    /// Another page has it.
    SlugTaken(String),
    BadTag(String),
    TooManyTags,
    BadLang,
    BadDate,
    /// The post that this one would continue is gone.
    NoSuchPost,
}

impl Problem {
    /// The name of the field that it is about.
    pub fn field(&self) -> &'static str {
        match self {
            Self::Empty | Self::TooLong => "body",
            Self::TitleTooLong | Self::TitleMissing => "title",
            Self::BadLink => "link",
            Self::BadSlug | Self::ReservedSlug(_) | Self::SlugTaken(_) => "slug",
            Self::BadTag(_) | Self::TooManyTags => "tags",
            Self::BadLang => "lang",
            Self::BadDate => "date",
            Self::NoSuchPost => "reply_to",
        }
    }
}

impl Content {
    /// The fields say what kind of post it is: one with an address of its own is a page, one that links elsewhere a
    /// link, one with a title an article, any other a note. A draft may lack what a post must have.
    pub fn parse(typed: &Typed, is_draft: bool) -> Result<Self, Vec<Problem>> {
        let mut problems = Vec::new();
        let title = line(&typed.title);
        if title.chars().count() > LONGEST_TITLE {
            problems.push(Problem::TitleTooLong);
        }
        let mut link = line(&typed.link);
        if !link.is_empty() {
            match web_link(&link) {
                Some(plain) => link = plain,
                None => problems.push(Problem::BadLink),
            }
        }
        let slug = line(&typed.slug);
        if !slug.is_empty() {
            problems.extend(check_slug(&slug).err());
        }
        let lang = line(&typed.lang);
        if !lang.is_empty() && !is_language_tag(&lang) {
            problems.push(Problem::BadLang);
        }
        let body = match PostText::parse(&typed.body) {
            Ok(text) => text.as_str().to_owned(),
            Err(PostTextError::TooLong) => {
                problems.push(Problem::TooLong);
                String::new()
            }
            // A link may stand for itself, and a draft may be a title so far.
            Err(PostTextError::Empty) => {
                if link.is_empty() && (!is_draft || title.is_empty()) {
                    problems.push(Problem::Empty);
                }
                String::new()
            }
        };
        let mut tags = markup::tags(&body);
        match Tag::parse_list(&typed.tags) {
            Ok(more) => more.into_iter().for_each(|tag| tag::push(&mut tags, tag)),
            Err(word) => problems.push(Problem::BadTag(word)),
        }
        if tags.len() > MOST_TAGS {
            problems.push(Problem::TooManyTags);
        }
        let (title, link, slug, lang) = (filled(title), filled(link), filled(slug), filled(lang));
        let kind = Self::kind_of(title.as_deref(), link.as_deref(), slug.as_deref());
        if kind == Kind::Page && title.is_none() && !is_draft {
            problems.push(Problem::TitleMissing);
        }
        if !problems.is_empty() {
            return Err(problems);
        }
        Ok(Self {
            kind,
            visibility: Visibility::parse(&typed.visibility).unwrap_or(Visibility::Public),
            title,
            slug,
            link,
            lang,
            body,
            tags,
            reply_to: typed.reply_to.parse().ok().filter(|_| kind != Kind::Page),
        })
    }

    pub fn kind_of(title: Option<&str>, link: Option<&str>, slug: Option<&str>) -> Kind {
        match (title, link, slug) {
            (_, _, Some(_)) => Kind::Page,
            (_, Some(_), None) => Kind::Link,
            (Some(_), None, None) => Kind::Article,
            (None, None, None) => Kind::Note,
        }
    }

    /// Tags that are not in the text, for the field.
    pub fn tags_beside(body: &str, tags: &[Tag]) -> String {
        let inside = markup::tags(body);
        let beside = tags
            .iter()
            .filter(|tag| inside.iter().all(|known| known.folded != tag.folded));
        beside.map(|tag| tag.name.as_str()).collect::<Vec<_>>().join(" ")
    }

    /// The text is another one than `old`: its tags come in the place of those of the old one, those of the field stay.
    pub fn retag(&mut self, old: &str) {
        let inside = markup::tags(old);
        let had = std::mem::replace(&mut self.tags, markup::tags(&self.body));
        for tag in had {
            if inside.iter().all(|known| known.folded != tag.folded) {
                tag::push(&mut self.tags, tag);
            }
        }
    }

    /// A hash of everything in it: two are the same when their hashes are.
    pub fn hash(&self) -> [u8; 32] {
        let mut tags: Vec<_> = self.tags.iter().map(|tag| tag.folded.as_str()).collect();
        tags.sort_unstable();
        let tags = tags.join(" ");
        let reply_to = self.reply_to.map(|id| id.to_string());
        let parts = [
            Some(self.kind.word()),
            Some(self.visibility.word()),
            self.title.as_deref(),
            self.slug.as_deref(),
            self.link.as_deref(),
            self.lang.as_deref(),
            Some(&self.body),
            Some(&tags),
            reply_to.as_deref(),
        ];
        let mut hash = Sha256::new();
        for part in parts {
            // With its length, so that no two lists of parts give the same bytes.
            let length = part.map_or(u64::MAX, |part| part.len() as u64);
            hash.update(length.to_le_bytes());
            hash.update(part.unwrap_or_default());
        }
        hash.finalize().into()
    }
}

/// One line: no control characters, single spaces, none around.
fn line(typed: &str) -> String {
    let plain: String = typed.chars().filter(|c| allowed(*c) || c.is_whitespace()).collect();
    plain.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn filled(text: String) -> Option<String> {
    (!text.is_empty()).then_some(text)
}

/// `http:` or `https:` and a host, with percent signs for what an address cannot have.
pub fn web_link(text: &str) -> Option<String> {
    let plain = markup::web_address(text).filter(|plain| plain.len() <= LONGEST_LINK);
    plain.filter(|_| !text.contains(char::is_whitespace))
}

/// Lower case letters, digits and single hyphens between them; not a word or a year that addresses begin with.
pub fn check_slug(slug: &str) -> Result<(), Problem> {
    let word = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    if slug.len() > LONGEST_SLUG || !slug.split('-').all(word) {
        return Err(Problem::BadSlug);
    }
    if RESERVED.contains(&slug) || slug.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(Problem::ReservedSlug(slug.to_owned()));
    }
    Ok(())
}

/// The shape of BCP 47: `ja`, `en-GB`, `zh-Hant-TW`.
fn is_language_tag(text: &str) -> bool {
    let mut parts = text.split('-');
    let first = parts.next().unwrap_or_default();
    let letters = first.bytes().all(|byte| byte.is_ascii_alphabetic());
    let rest = |part: &str| (1..=8).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_alphanumeric());
    text.len() <= 35 && (2..=3).contains(&first.len()) && letters && parts.all(rest)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn typed(change: impl FnOnce(&mut Typed)) -> Typed {
        let mut typed = Typed {
            body: "text #a".to_owned(),
            ..Typed::default()
        };
        change(&mut typed);
        typed
    }

    fn content(change: impl FnOnce(&mut Typed)) -> Content {
        Content::parse(&typed(change), false).unwrap()
    }

    fn problems(change: impl FnOnce(&mut Typed)) -> Vec<Problem> {
        Content::parse(&typed(change), false).unwrap_err()
    }

    #[test]
    fn the_fields_say_what_it_is() {
        assert_eq!(content(|_| {}).kind, Kind::Note);
        assert_eq!(content(|typed| typed.title = "T".to_owned()).kind, Kind::Article);
        assert_eq!(content(|typed| typed.link = "https://a.b".to_owned()).kind, Kind::Link);
        let page = content(|typed| (typed.slug, typed.title) = ("about-me".to_owned(), "T".to_owned()));
        assert_eq!((page.kind, page.slug.as_deref()), (Kind::Page, Some("about-me")));
    }

    #[test]
    fn every_problem_is_told_at_once() {
        let all = problems(|typed| {
            *typed = Typed {
                title: "x".repeat(301),
                link: "javascript:alert(1)".to_owned(),
                slug: "Über uns".to_owned(),
                tags: "a <b>".to_owned(),
                lang: "english please".to_owned(),
                ..Typed::default()
            }
        });
        let fields: Vec<_> = all.iter().map(Problem::field).collect();
        assert_eq!(fields, ["title", "link", "slug", "lang", "tags"], "{all:?}");
        assert_eq!(problems(|typed| typed.body = " \n".to_owned()), [Problem::Empty]);
        assert_eq!(problems(|typed| typed.body = "x".repeat(65_537)), [Problem::TooLong]);
        assert_eq!(
            problems(|typed| typed.slug = "about".to_owned()),
            [Problem::TitleMissing]
        );
    }

    #[test]
    fn slugs() {
        for good in ["about", "about-me", "2026-in-review", "a"] {
            assert_eq!(check_slug(good), Ok(()), "{good}");
        }
        for bad in [
            "About",
            "a b",
            "-a",
            "a-",
            "a--b",
            "a/b",
            "a.xml",
            "ä",
            "..",
            &"a".repeat(81),
        ] {
            assert_eq!(check_slug(bad), Err(Problem::BadSlug), "{bad}");
        }
        for reserved in ["admin", "2026", "feed", "7"] {
            assert_eq!(check_slug(reserved), Err(Problem::ReservedSlug(reserved.to_owned())));
        }
    }

    #[test]
    fn a_draft_may_be_unfinished() {
        let draft = typed(|typed| (typed.body, typed.title) = (String::new(), "T".to_owned()));
        assert_eq!(Content::parse(&draft, true).unwrap().title.as_deref(), Some("T"));
        assert_eq!(Content::parse(&draft, false), Err(vec![Problem::Empty]));
        assert_eq!(Content::parse(&Typed::default(), true), Err(vec![Problem::Empty]));
    }

    #[test]
    fn tags_of_the_text_and_of_the_field() {
        let both = content(|typed| typed.tags = "B, ａ".to_owned());
        let folded: Vec<_> = both.tags.iter().map(|tag| tag.folded.as_str()).collect();
        assert_eq!(folded, ["a", "b"]);
        assert_eq!(Content::tags_beside(&both.body, &both.tags), "B");
    }

    #[test]
    fn one_line_is_one_line() {
        assert_eq!(
            content(|typed| typed.title = " a\r\n\u{1b}\tb\u{2028}c ".to_owned())
                .title
                .as_deref(),
            Some("a b c")
        );
        assert_eq!(
            content(|typed| typed.lang = "zh-Hant-TW".to_owned()).lang.as_deref(),
            Some("zh-Hant-TW")
        );
    }

    #[test]
    fn the_hash_tells_fields_apart() {
        let a = content(|typed| typed.title = "x".to_owned());
        let mut b = a.clone();
        assert_eq!(a.hash(), b.hash());
        b.body.push('x');
        assert_ne!(a.hash(), b.hash());
        (b.body, b.title) = (a.body.clone(), None);
        assert_ne!(a.hash(), b.hash());
    }
}
