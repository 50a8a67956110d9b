//! The fields of the form for posts: what was sent, what it means, and what a post looks like in them.

use sha2::{Digest, Sha256};

use crate::db::queries::writing::{Current, Intent};
use crate::domain::{Content, Problem, Stamp, State, Typed, Zone};
use crate::media::store::Hash;
use crate::routes::Form;

/// The button that was pressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pressed {
    Publish,
    Draft,
    Preview,
    /// Only store the images that were chosen, and give the form back.
    Images,
}

impl Pressed {
    /// A form sent by the enter key, or by a program, may name no button.
    pub fn of(form: &Form) -> Self {
        match form.get("do") {
            Some("draft") => Self::Draft,
            Some("preview") => Self::Preview,
            Some("images") => Self::Images,
            _ => Self::Publish,
        }
    }

    pub fn intent(self) -> Intent {
        if self == Self::Draft {
            Intent::Draft
        } else {
            Intent::Publish
        }
    }
}

pub fn typed(form: &Form) -> Typed {
    let field = |name: &str| form.get(name).unwrap_or_default().to_owned();
    Typed {
        title: field("title"),
        link: field("link"),
        slug: field("slug"),
        tags: field("tags"),
        lang: field("lang"),
        visibility: field("visibility"),
        date: field("date"),
        reply_to: field("reply_to"),
        body: field("body"),
    }
}

/// What stands in the fields when a post is edited.
pub fn of_post(current: &Current, zone: Zone) -> Typed {
    let Current { post, content } = current;
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    Typed {
        title: text(&content.title),
        link: text(&content.link),
        slug: text(&content.slug),
        tags: Content::tags_beside(&content.body, &content.tags),
        lang: text(&content.lang),
        visibility: content.visibility.word().to_owned(),
        date: post.date().map_or(String::new(), |date| written(date, zone)),
        reply_to: String::new(),
        body: content.body.clone(),
    }
}

/// `2026-07-05 23:03`.
pub fn written(date: Stamp, zone: Zone) -> String {
    zone.field(date).replace('T', " ")
}

/// The post and its date; or everything that is wrong. `known` is the date that the form showed: a date that was left
/// alone keeps its seconds.
pub fn parse(
    typed: &Typed,
    pressed: Pressed,
    known: Option<Stamp>,
    zone: Zone,
) -> Result<(Content, Option<Stamp>), Vec<Problem>> {
    let text = typed.date.trim();
    let date = match known.filter(|known| written(*known, zone) == text) {
        Some(known) => Ok(Some(known)),
        None if text.is_empty() => Ok(None),
        // Years with four digits: feeds and the archive have no others.
        None => match zone
            .parse_field(text)
            .filter(|date| (0..=253_402_300_799).contains(&date.0))
        {
            Some(date) => Ok(Some(date)),
            None => Err(Problem::BadDate),
        },
    };
    let is_draft = pressed == Pressed::Draft;
    match (Content::parse(typed, is_draft), date) {
        (Ok(content), Ok(date)) => Ok((content, date)),
        (Ok(_), Err(problem)) => Err(vec![problem]),
        (Err(problems), Ok(_)) => Err(problems),
        (Err(mut problems), Err(problem)) => {
            problems.push(problem);
            Err(problems)
        }
    }
}

/// Of all fields but the two that belong to the page, and of the images: the same form sent again has the same.
pub fn hash(form: &Form, images: &[(Hash, String)]) -> [u8; 32] {
    let mut fields: Vec<_> = form
        .fields()
        .filter(|(name, _)| !matches!(*name, "csrf" | "key"))
        .collect();
    fields.sort_unstable();
    let mut hash = Sha256::new();
    for (name, value) in fields {
        for part in [name, value] {
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part);
        }
    }
    for (image, alt) in images {
        hash.update(image);
        hash.update(alt);
    }
    hash.finalize().into()
}

/// True when a field besides the text says something, so that it has to be in sight.
pub fn has_more(typed: &Typed, state: Option<State>) -> bool {
    let Typed {
        title,
        link,
        slug,
        tags,
        lang,
        visibility,
        date,
        ..
    } = typed;
    let usual = visibility.is_empty() || visibility == "public";
    // What is published has a date, which says nothing new.
    let dated = !date.is_empty() && state != Some(State::Published);
    dated || !usual || [title, link, slug, tags, lang].iter().any(|field| !field.is_empty())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn date(text: &str, known: Option<Stamp>) -> Result<Option<Stamp>, Vec<Problem>> {
        let typed = Typed {
            body: "x".to_owned(),
            date: text.to_owned(),
            ..Typed::default()
        };
        let zone = Zone::parse("+09:00").unwrap();
        parse(&typed, Pressed::Publish, known, zone).map(|(_, date)| date)
    }

    #[test]
    fn dates() {
        let noon = Stamp(1_783_260_180);
        assert_eq!(date(" ", None), Ok(None));
        assert_eq!(date("2026-07-05 23:03", None), Ok(Some(noon)));
        assert_eq!(date("2026-07-05T23:03", None), Ok(Some(noon)));
        assert_eq!(date("2026-07-05 23:03:20", None), Ok(Some(Stamp(noon.0 + 20))));
        assert_eq!(date("2026-07-05", None), Ok(Some(Stamp(noon.0 - 23 * 3600 - 180))));
        let exact = Some(Stamp(noon.0 + 42));
        assert_eq!(date("2026-07-05 23:03", exact), Ok(exact), "the seconds stay");
        for bad in [
            "tomorrow",
            "2026-02-30 10:00",
            "2026-7-5",
            "23:03",
            "-001000-01-01",
            "<b>",
        ] {
            assert_eq!(date(bad, None), Err(vec![Problem::BadDate]), "{bad}");
        }
    }

    #[test]
    fn the_same_form_has_the_same_hash() {
        let of = |text: &str| hash(&Form::parse(text.as_bytes()), &[]);
        assert_eq!(of("csrf=1&key=2&a=b&c=d"), of("c=d&a=b&key=3"));
        assert_ne!(of("a=b"), of("a=bc"));
        assert_ne!(of("a=b&c=d"), of("a=bc&=d"));
    }
}
