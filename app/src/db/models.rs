//! Rows, as the rest of the program reads them.

use diesel::prelude::*;

use super::schema::{media, post_media, posts, revisions, site};
use crate::domain::hex;
use crate::domain::{Cursor, Kind, Stamp, State, Visibility};
use crate::media::Format;
use crate::media::store::Hash;

/// A whole row of `posts`.
#[derive(Debug, Clone, Queryable, Selectable)]
#[diesel(table_name = posts, check_for_backend(diesel::sqlite::Sqlite))]
pub struct Post {
    pub id: i64,
    pub uuid: String,
    pub kind: Kind,
    pub state: State,
    pub visibility: Visibility,
    pub title: Option<String>,
    pub slug: Option<String>,
    pub link: Option<String>,
    pub lang: Option<String>,
    pub body: String,
    created_at: i64,
    published_at: Option<i64>,
    edited_at: Option<i64>,
    deleted_at: Option<i64>,
    pinned_at: Option<i64>,
    pub reply_to: Option<i64>,
    pub thread: Option<i64>,
}

impl Post {
    /// What the row has: the date that readers see or will see. A draft may have none.
    pub fn date(&self) -> Option<Stamp> {
        self.published_at.map(Stamp)
    }

    /// When the row was made.
    pub fn created_at(&self) -> Stamp {
        Stamp(self.created_at)
    }

    /// The date that readers see; of a draft, when it was begun.
    pub fn published_at(&self) -> Stamp {
        Stamp(self.published_at.unwrap_or(self.created_at))
    }

    pub fn edited_at(&self) -> Option<Stamp> {
        self.edited_at.map(Stamp)
    }

    pub fn updated_at(&self) -> Stamp {
        self.edited_at()
            .map_or(self.published_at(), |edited| edited.max(self.published_at()))
    }

    pub fn deleted_at(&self) -> Option<Stamp> {
        self.deleted_at.map(Stamp)
    }

    pub fn is_pinned(&self) -> bool {
        self.pinned_at.is_some()
    }

    /// Whether anybody may read it, at the address that goes with its visibility.
    pub fn is_readable(&self) -> bool {
        self.state == State::Published && self.visibility != Visibility::Private && self.deleted_at.is_none()
    }

    pub fn cursor(&self) -> Cursor {
        Cursor {
            published_at: self.published_at(),
            id: self.id,
        }
    }
}

/// What a post was before an edit.
#[derive(Debug, Clone, Queryable, Selectable)]
#[diesel(table_name = revisions, check_for_backend(diesel::sqlite::Sqlite))]
pub struct Revision {
    pub id: i64,
    pub post_id: i64,
    pub title: Option<String>,
    pub link: Option<String>,
    pub body: String,
    replaced_at: i64,
}

impl Revision {
    /// The time of the edit.
    pub fn replaced_at(&self) -> Stamp {
        Stamp(self.replaced_at)
    }
}

#[derive(Debug, Clone, Queryable, Selectable)]
#[diesel(table_name = site, check_for_backend(diesel::sqlite::Sqlite))]
pub struct Site {
    pub uuid: String,
    created_at: i64,
}

impl Site {
    pub fn created_at(&self) -> Stamp {
        Stamp(self.created_at)
    }
}

/// A row of `media`: an image that is stored.
#[derive(Debug, Clone, Queryable, Selectable)]
#[diesel(table_name = media, check_for_backend(diesel::sqlite::Sqlite))]
pub struct Medium {
    pub id: i64,
    sha256: Vec<u8>,
    mime: String,
    /// Width and height as seen, in pixels.
    pub width: i64,
    pub height: i64,
    /// Of the file.
    pub bytes: i64,
    created_at: i64,
}

impl Medium {
    /// The table holds 32 bytes and nothing else.
    pub fn hash(&self) -> Hash {
        self.sha256.as_slice().try_into().unwrap_or_default()
    }

    pub fn format(&self) -> Format {
        Format::of_mime(&self.mime).unwrap_or(Format::Jpeg)
    }

    pub fn created_at(&self) -> Stamp {
        Stamp(self.created_at)
    }

    /// The name of its file, which is the end of its address, too.
    pub fn name(&self) -> String {
        format!("{}.{}", hex::encode(&self.sha256), self.format().extension())
    }

    /// The first few letters of its name: enough for people.
    pub fn short_name(&self) -> String {
        let extension = self.format().extension();
        format!("{}….{extension}", hex::encode(self.sha256.get(..6).unwrap_or_default()))
    }

    pub fn kib(&self) -> u64 {
        self.bytes.unsigned_abs().div_ceil(1024)
    }

    /// `/media/{name}`
    pub fn path(&self) -> String {
        format!("/media/{}", self.name())
    }
}

/// An image of a post.
#[derive(Debug, Clone, Queryable, Selectable)]
#[diesel(table_name = post_media, check_for_backend(diesel::sqlite::Sqlite))]
pub struct Attached {
    /// What is said in place of the image; empty for a decoration.
    pub alt: String,
    #[diesel(embed)]
    pub medium: Medium,
}
