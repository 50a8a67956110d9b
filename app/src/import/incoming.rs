//! A post on its way in: the row, and what hangs on it.

use super::{BatchError, Target};
use crate::cli::Failure;
use crate::db::queries::transfer::{self, MediaRow, Place, PostRow};
use crate::domain::post_text::allowed;
use crate::domain::tag::{self, Tag};
use crate::domain::{Kind, Stamp, State, Visibility, markup, random};

#[derive(Debug)]
pub struct Incoming {
    /// The number it is to have, which must be free; else the next one.
    pub id: Option<i64>,
    pub row: PostRow,
    /// Besides the hashtags in the text.
    pub tags: Vec<Tag>,
    /// With their descriptions.
    pub images: Vec<(MediaRow, String)>,
    /// What it was called: source and name there.
    pub names: Vec<(String, String)>,
}

impl Incoming {
    /// A public note of that day.
    pub fn note(body: String, published_at: Stamp, now: Stamp) -> Result<Self, Failure> {
        Ok(Self {
            id: None,
            row: PostRow {
                uuid: random::uuid().map_err(|error| Failure::fatal(error.to_string()))?,
                kind: Kind::Note,
                state: State::Published,
                visibility: Visibility::Public,
                title: None,
                slug: None,
                link: None,
                lang: None,
                body,
                created_at: now.0,
                published_at: Some(published_at.0),
                edited_at: None,
                deleted_at: None,
                pinned_at: None,
                reply_to: None,
                thread: None,
            },
            tags: Vec::new(),
            images: Vec::new(),
            names: Vec::new(),
        })
    }

    /// Writes everything and counts it; on a dry run it only counts.
    pub fn insert(mut self, target: &mut Target<'_>) -> Result<Place, BatchError> {
        self.make_readable();
        target.report.imported += 1;
        target.report.images += self.images.len() as u64;
        if target.dry_run {
            return Ok(Place { id: 0, thread: None });
        }
        let id = transfer::insert(target.connection, &self.row, self.id)?;
        let mut tags = markup::tags(&self.row.body);
        for other in self.tags {
            tag::push(&mut tags, other);
        }
        for tag in &tags {
            target.tag(id, &tag.folded, &tag.name)?;
        }
        let connection = &mut *target.connection;
        for (position, (image, alt)) in (0..).zip(&self.images) {
            let number = transfer::make_media(connection, image)?;
            transfer::attach(connection, id, position, number, alt)?;
        }
        for (source, name) in &self.names {
            transfer::remember(connection, source, name, id)?;
        }
        Ok(Place {
            id,
            thread: self.row.thread,
        })
    }

    /// Takes away what the form takes away, too: files of others have form feeds and worse, and no XML can carry those.
    fn make_readable(&mut self) {
        if self.row.body.contains('\r') {
            self.row.body = self.row.body.replace("\r\n", "\n").replace('\r', "\n");
        }
        let alts = self.images.iter_mut().map(|(_, alt)| alt);
        for text in [&mut self.row.body].into_iter().chain(&mut self.row.title).chain(alts) {
            text.retain(allowed);
        }
        // An article must be called something.
        if let Some(title) = self.row.title.as_mut().filter(|title| title.is_empty()) {
            title.push(char::REPLACEMENT_CHARACTER);
        }
    }
}
