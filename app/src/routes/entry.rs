//! A post as pages and feeds show it.

use crate::db::models::{Attached, Post};
use crate::db::queries::reading::Shown;
use crate::domain::markup::{self, Place};
use crate::domain::{Kind, Stamp, Visibility, Zone, tag};
use crate::words::Lang;

/// In characters, of an article in a list.
const EXCERPT: usize = 280;
/// In characters, of what stands for a title.
const LABEL: usize = 60;

/// A post, ready to be put into a template.
#[derive(Debug)]
pub struct Entry {
    pub id: i64,
    pub uuid: String,
    pub kind: Kind,
    /// Where readers find it: `/posts/1`, `/u/{uuid}` or `/{slug}`.
    pub path: String,
    /// Its own title; notes have none.
    pub title: Option<String>,
    /// The title, or the beginning of the text.
    pub label: String,
    /// BCP 47.
    pub lang: String,
    /// Safe HTML; empty when only an excerpt is shown.
    pub html: String,
    pub excerpt: Option<String>,
    pub link: Option<Bookmark>,
    pub images: Vec<Attached>,
    pub tags: Vec<TagLink>,
    pub published: Moment,
    pub edited: Option<Moment>,
    pub visibility: Visibility,
    pub pinned: bool,
    pub in_thread: bool,
    /// The level of its heading.
    pub level: u8,
    /// It is the post that this page is about, among others of its thread.
    pub current: bool,
}

/// Where a link post leads.
#[derive(Debug)]
pub struct Bookmark {
    pub address: String,
    /// The host, so that readers see where they would go.
    pub host: String,
}

impl Bookmark {
    /// Anything but the web is not linked to, whoever wrote it into the database.
    fn parse(address: &str) -> Option<Self> {
        let rest = address
            .strip_prefix("https://")
            .or_else(|| address.strip_prefix("http://"))?;
        let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
        let host = host.rsplit('@').next().unwrap_or_default();
        Some(Self {
            address: address.to_owned(),
            host: host.strip_prefix("www.").unwrap_or(host).to_owned(),
        })
    }
}

#[derive(Debug)]
pub struct TagLink {
    pub name: String,
    pub path: String,
    /// The text has a link to it already.
    pub in_text: bool,
}

#[derive(Debug)]
pub struct Moment {
    pub machine: String,
    /// With the zone.
    pub human: String,
    /// Without it, for lists: the foot of every page names the zone.
    pub short: String,
}

impl Moment {
    pub fn new(stamp: Stamp, zone: Zone) -> Self {
        Self {
            machine: zone.machine(stamp),
            human: zone.human(stamp),
            short: zone.field(stamp).replace('T', " "),
        }
    }
}

impl Entry {
    /// On the page of the post itself, below its title.
    pub fn whole(shown: Shown, zone: Zone) -> Self {
        let html = markup::html_at(&shown.post.body, Place::PAGE);
        Self::new(shown, zone, html, 1)
    }

    /// In a list: articles are cut short, everything else is whole.
    pub fn listed(shown: Shown, zone: Zone) -> Self {
        if shown.post.kind == Kind::Article {
            let excerpt = cut(&shown.post.body, EXCERPT);
            let mut entry = Self::new(shown, zone, String::new(), 2);
            entry.excerpt = Some(excerpt);
            return entry;
        }
        Self::among(shown, zone)
    }

    /// Whole, among others.
    pub fn among(shown: Shown, zone: Zone) -> Self {
        let html = markup::html_at(&shown.post.body, Place::listed(shown.post.title.is_some()));
        Self::new(shown, zone, html, 2)
    }

    pub fn new(shown: Shown, zone: Zone, html: String, level: u8) -> Self {
        let post = shown.post;
        let tags = shown.tags.into_iter().map(|tag| {
            let path = tag::path(&tag.folded);
            TagLink {
                in_text: html.contains(&format!("href=\"{path}\"")),
                name: tag.name,
                path,
            }
        });
        Self {
            tags: tags.collect(),
            id: post.id,
            path: path(post.id, &post.uuid, post.kind, post.visibility, post.slug.as_deref()),
            label: post.title.clone().unwrap_or_else(|| label(&post.body, &shown.images)),
            lang: language(&post),
            kind: post.kind,
            html,
            excerpt: None,
            link: post.link.as_deref().and_then(Bookmark::parse),
            images: shown.images,
            published: Moment::new(post.published_at(), zone),
            edited: post.edited_at().map(|edited| Moment::new(edited, zone)),
            visibility: post.visibility,
            pinned: post.is_pinned(),
            in_thread: shown.in_thread,
            level,
            current: false,
            title: post.title,
            uuid: post.uuid,
        }
    }

    pub fn is_unlisted(&self) -> bool {
        self.visibility == Visibility::Unlisted
    }

    pub fn is_private(&self) -> bool {
        self.visibility == Visibility::Private
    }
}

/// What a post is written in: what its owner said, or what it looks like.
pub fn language(post: &Post) -> String {
    post.lang.clone().unwrap_or_else(|| {
        Lang::guess(&format!("{}{}", post.title.as_deref().unwrap_or_default(), post.body))
            .code()
            .to_owned()
    })
}

/// Where readers find a post. A private one has an address, too, which answers the owner alone.
pub fn path(id: i64, uuid: &str, kind: Kind, visibility: Visibility, slug: Option<&str>) -> String {
    match (visibility, kind, slug) {
        (Visibility::Unlisted, ..) => format!("/u/{uuid}"),
        (_, Kind::Page, Some(slug)) => format!("/{slug}"),
        _ => format!("/posts/{id}"),
    }
}

/// What a post without a title is called in titles of pages and for assistive programs.
fn label(body: &str, images: &[Attached]) -> String {
    let label = markup::excerpt(body, LABEL);
    if label.is_empty() {
        return images.first().map(|image| image.alt.clone()).unwrap_or_default();
    }
    label
}

/// The beginning of a text without marks: its first paragraph, or several where that is only a few words.
fn cut(body: &str, most: usize) -> String {
    let plain = markup::plain(body);
    let mut line = String::new();
    for part in plain.lines().map(str::trim).filter(|part| !part.is_empty()) {
        if line.chars().count() > most / 4 {
            break;
        }
        line.push_str(if line.is_empty() { "" } else { " " });
        line.push_str(part);
    }
    match line.char_indices().nth(most) {
        None => line,
        Some((at, _)) => format!("{}…", line[..at].trim_end()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn bookmarks_lead_to_the_web_alone() {
        let host = |address: &str| Bookmark::parse(address).map(|bookmark| bookmark.host);
        assert_eq!(host("https://www.example.org/a?b").as_deref(), Some("example.org"));
        assert_eq!(
            host("http://example.org@evil.example:80/").as_deref(),
            Some("evil.example:80")
        );
        assert_eq!(host("javascript:alert(1)"), None);
        assert_eq!(host("//example.org"), None);
    }

    #[test]
    fn addresses() {
        let of = |visibility, kind, slug| path(7, "uuid", kind, visibility, slug);
        assert_eq!(of(Visibility::Public, Kind::Note, None), "/posts/7");
        assert_eq!(of(Visibility::Unlisted, Kind::Page, Some("about")), "/u/uuid");
        assert_eq!(of(Visibility::Public, Kind::Page, Some("about")), "/about");
        assert_eq!(of(Visibility::Private, Kind::Note, None), "/posts/7");
    }

    #[test]
    fn excerpts_are_one_line_of_words() {
        assert_eq!(cut("# One\n\n**two** three", 100), "One two three");
        assert_eq!(cut("あいう えお", 4), "あいう…");
    }
}
