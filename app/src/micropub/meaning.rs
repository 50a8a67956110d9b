//! What the properties mean for this blog. Those it does not know are ignored, as section 3.3 asks; those that it knows
//! and cannot follow are refused.

use serde_json::Value;

use super::{Invalid, Properties};
use crate::domain::calendar;
use crate::domain::{Content, Problem, Stamp, Typed, Visibility, Zone, post_text};
use crate::import::html_text;

/// The channel whose posts are static pages. Only those have an address that can be chosen.
pub const PAGES: &str = "pages";
/// The channel of everything else.
pub const POSTS: &str = "posts";
/// Until the end of the year 9999: feeds and the archive have no others.
const LAST: i64 = 253_402_300_799;

#[derive(Debug)]
pub struct Meaning {
    /// `reply_to` and `lang` are empty.
    pub typed: Typed,
    pub is_draft: bool,
    pub date: Option<Stamp>,
    /// The address of the post that this one continues.
    pub in_reply_to: Option<String>,
    pub photos: Vec<Photo>,
    /// Alternative texts behind those of `photos`: for the files that come with a form.
    pub more_alts: Vec<String>,
}

/// An image that is stored already.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Photo {
    pub address: String,
    pub alt: Option<String>,
}

impl Meaning {
    /// # Errors
    /// The first property that the blog knows and cannot follow. The text itself is looked at by [`Content::parse`].
    pub fn of(properties: &Properties, zone: Zone) -> Result<Self, Invalid> {
        let visibility = properties.text("visibility")?;
        if !visibility.is_empty() && Visibility::parse(visibility).is_none() {
            return Err(Invalid::new("visibility is public, unlisted or private"));
        }
        let is_draft = match properties.text("post-status")? {
            "draft" => true,
            // "scheduled" is what q=source says of a date that is to come.
            "" | "published" | "scheduled" => false,
            _ => return Err(Invalid::new("post-status is published or draft")),
        };
        let slug = match properties.text("mp-channel")? {
            "" | POSTS => "",
            PAGES => match properties.text("mp-slug")? {
                "" => return Err(Invalid::new("a static page needs mp-slug, its address")),
                slug => slug,
            },
            other => return Err(Invalid(format!("there is no channel {}", cut(other)))),
        };
        let date = match properties.text("published")? {
            "" => None,
            text => Some(date(text, zone).ok_or_else(|| Invalid::new("published is no date (ISO 8601)"))?),
        };
        let (photos, more_alts) = photos(properties)?;
        Ok(Self {
            typed: Typed {
                title: properties.text("name")?.to_owned(),
                link: properties.text("bookmark-of")?.to_owned(),
                slug: slug.to_owned(),
                tags: tags(properties.all("category"))?,
                visibility: visibility.to_owned(),
                body: content(properties)?,
                ..Typed::default()
            },
            is_draft,
            date,
            in_reply_to: Some(properties.text("in-reply-to")?)
                .filter(|address| !address.is_empty())
                .map(ToOwned::to_owned),
            photos,
            more_alts,
        })
    }

    /// The post, as valid as the form would have made it.
    ///
    /// # Errors
    /// All that is wrong with it, in one sentence each.
    pub fn content(&self) -> Result<Content, Invalid> {
        Content::parse(&self.typed, self.is_draft).map_err(|problems| refused(&problems))
    }
}

/// What is wrong, by the names of Micropub.
pub fn refused(problems: &[Problem]) -> Invalid {
    let words = &crate::words::Lang::En.words().writing;
    let sentence = |problem: &Problem| {
        let property = match problem.field() {
            "body" => "content",
            "title" => "name",
            "link" => "bookmark-of",
            "slug" => "mp-slug",
            "tags" => "category",
            "date" => "published",
            "reply_to" => "in-reply-to",
            other => other,
        };
        format!("{property}: {}", words.problem(problem))
    };
    Invalid(problems.iter().map(sentence).collect::<Vec<_>>().join(" "))
}

/// `["text"]`, or `[{"html": "<p>text</p>"}]`, which becomes Markdown; anything that is not in it is lost.
fn content(properties: &Properties) -> Result<String, Invalid> {
    let bad = || Invalid::new("content takes a text, or an object with html or value");
    match properties.one("content")? {
        None => Ok(String::new()),
        Some(Value::String(text)) => Ok(text.clone()),
        Some(Value::Object(object)) => match (object.get("html"), object.get("value")) {
            (Some(Value::String(html)), _) => Ok(html_text::markdown(html)),
            (None, Some(Value::String(text))) => Ok(text.clone()),
            _ => Err(bad()),
        },
        Some(_) => Err(bad()),
    }
}

/// For the field of the form. A tag is one word here: spaces in it become `_`.
fn tags(values: &[Value]) -> Result<String, Invalid> {
    let word = |value: &Value| {
        let text = value.as_str()?;
        let words = text.split(|c: char| c.is_whitespace() || matches!(c, ',' | '、' | '，'));
        Some(words.filter(|word| !word.is_empty()).collect::<Vec<_>>().join("_"))
    };
    let words: Option<Vec<String>> = values.iter().map(word).collect();
    let words = words.ok_or_else(|| Invalid::new("category takes texts"))?;
    Ok(words.join(" "))
}

/// With its distance from UTC, or as a time in the zone of the blog.
fn date(text: &str, zone: Zone) -> Option<Stamp> {
    let date = match calendar::parse(text.trim()) {
        Some(date) => Stamp(date),
        None => zone.parse_field(text.trim())?,
    };
    (0..=LAST).contains(&date.0).then_some(date)
}

/// `{"value": ADDRESS, "alt": TEXT}`, or an address and its text at the same place in `mp-photo-alt`.
fn photos(properties: &Properties) -> Result<(Vec<Photo>, Vec<String>), Invalid> {
    let bad = || Invalid::new("photo takes addresses of images that are stored here, each with its text: {value, alt}");
    let alts: Option<Vec<String>> = properties
        .all("mp-photo-alt")
        .iter()
        .map(|value| value.as_str().map(ToOwned::to_owned))
        .collect();
    let mut alts = alts
        .ok_or_else(|| Invalid::new("mp-photo-alt takes texts"))?
        .into_iter();
    let mut photos = Vec::new();
    for value in properties.all("photo") {
        let (address, own) = match value {
            Value::String(address) => (address.clone(), None),
            Value::Object(object) => {
                let address = object.get("value").and_then(Value::as_str).ok_or_else(bad)?;
                let alt = match object.get("alt") {
                    None => None,
                    Some(alt) => Some(alt.as_str().ok_or_else(bad)?.to_owned()),
                };
                (address.to_owned(), alt)
            }
            _ => return Err(bad()),
        };
        let alt = own.or_else(|| alts.next()).map(|alt| post_text::alt(&alt));
        photos.push(Photo { address, alt });
    }
    Ok((photos, alts.collect()))
}

fn cut(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(60).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::domain::Kind;

    fn of(json: serde_json::Value) -> Result<Meaning, Invalid> {
        let Value::Object(object) = json else {
            panic!("no object")
        };
        Meaning::of(&Properties::of_object(object), Zone::parse("+09:00").unwrap())
    }

    #[test]
    fn kinds_of_posts() {
        let kind = |json| of(json).unwrap().content().unwrap().kind;
        assert_eq!(kind(serde_json::json!({"content": ["x"]})), Kind::Note);
        assert_eq!(
            kind(serde_json::json!({"content": ["x"], "name": ["T"], "mp-slug": ["t"]})),
            Kind::Article
        );
        assert_eq!(
            kind(serde_json::json!({"bookmark-of": ["https://a.example/"]})),
            Kind::Link
        );
        let page = serde_json::json!({"content": ["x"], "name": ["T"], "mp-channel": ["pages"], "mp-slug": ["t"]});
        assert_eq!(kind(page), Kind::Page);
    }

    #[test]
    fn values() {
        let meaning = of(serde_json::json!({
            "content": [{"html": "<p>a <strong>b</strong></p>"}],
            "category": ["two words", "#東京"],
            "published": ["2026-07-05T23:03:20+09:00"],
            "photo": ["/media/1", {"value": "/media/2", "alt": " own "}, "/media/3"],
            "mp-photo-alt": ["one", "three", "four"],
            "unknown": [{"deep": [1]}],
        }))
        .unwrap();
        assert_eq!(meaning.typed.body.trim(), "a **b**");
        assert_eq!(meaning.typed.tags, "two_words #東京");
        assert_eq!(meaning.date, Some(Stamp(1_783_260_200)));
        let alts: Vec<_> = meaning.photos.iter().map(|photo| photo.alt.as_deref()).collect();
        assert_eq!(alts, [Some("one"), Some("own"), Some("three")]);
        assert_eq!(meaning.more_alts, ["four"]);
        let local = of(serde_json::json!({"content": ["x"], "published": ["2026-07-05 23:03:20"]})).unwrap();
        assert_eq!(local.date, meaning.date);
    }

    #[test]
    fn what_cannot_be_followed_is_refused() {
        for bad in [
            serde_json::json!({"content": ["a", "b"]}),
            serde_json::json!({"content": [{"video": "x"}]}),
            serde_json::json!({"content": [7]}),
            serde_json::json!({"visibility": ["friends"]}),
            serde_json::json!({"post-status": ["lost"]}),
            serde_json::json!({"published": ["soon"]}),
            serde_json::json!({"published": ["-000001-01-01T00:00:00Z"]}),
            serde_json::json!({"mp-channel": ["pages"]}),
            serde_json::json!({"mp-channel": ["other"]}),
            serde_json::json!({"category": [{"a": 1}]}),
            serde_json::json!({"photo": [["x"]]}),
            serde_json::json!({"photo": [{"alt": "x"}]}),
            serde_json::json!({"name": [{"html": "x"}]}),
        ] {
            assert!(of(bad.clone()).is_err(), "{bad}");
        }
        let empty = of(serde_json::json!({})).unwrap().content().unwrap_err();
        assert!(empty.0.starts_with("content: "), "{empty:?}");
        let link = of(serde_json::json!({"bookmark-of": ["javascript:alert(1)"]})).unwrap();
        assert!(link.content().unwrap_err().0.starts_with("bookmark-of: "));
    }
}
