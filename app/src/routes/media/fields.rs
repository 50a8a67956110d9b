//! The images of a form that writes a post: fields in, fields out, and what is wrong with them.
//!
//! A chosen file is stored the moment it arrives, so it outlives every other mistake in the form: the form comes back
//! with its name in a hidden field. `templates/images.html` has the fields, `image1`, `alt1` and so on.

use crate::db::models::{Attached, Medium};
use crate::db::queries;
use crate::domain::post_text;
use crate::error::AppError;
use crate::media::store::{Hash, parse_name};
use crate::routes::Form;
use crate::routes::upload::{MAX_FILES, Upload};
use crate::startup::AppState;
use crate::words;

/// Images of one post.
pub const MOST: usize = MAX_FILES;

#[derive(Debug, Default)]
pub struct Images {
    pub items: Vec<Item>,
    /// Files that were not taken, in the words of the page.
    refused: Vec<String>,
    too_many: bool,
}

#[derive(Debug)]
pub struct Item {
    /// "Image 1", once the form is shown.
    pub label: String,
    pub medium: Medium,
    /// As typed.
    pub alt: String,
    pub decorative: bool,
}

impl Images {
    /// For the form that edits a post.
    pub fn of_post(attached: Vec<Attached>) -> Self {
        let item = |Attached { alt, medium }| Item {
            label: String::new(),
            decorative: alt.is_empty(),
            medium,
            alt,
        };
        Self {
            items: attached.into_iter().map(item).collect(),
            ..Self::default()
        }
    }

    /// What a form had, in the order that was asked for, without what was removed, and the new ones behind.
    pub async fn read(
        state: &AppState,
        form: &Form,
        uploads: Vec<Upload>,
        words: &words::Media,
    ) -> Result<Self, AppError> {
        let field = |name: &str, n: usize| form.get(&format!("{name}{n}"));
        let text = |name: &str, n: usize| post_text::alt(field(name, n).unwrap_or_default());
        let mut wanted: Vec<(usize, usize, Hash)> = (1..=MOST)
            .filter(|n| field("drop", *n).is_none())
            .filter_map(|n| {
                let (hash, _) = parse_name(field("image", n)?)?;
                let place = field("order", n).and_then(|place| place.trim().parse().ok());
                Some((place.unwrap_or(n), n, hash))
            })
            .collect();
        // Who moves the third image to the first place means: before the first.
        wanted.sort_by_key(|(place, n, _)| (*place, *place >= *n, *n));

        let found = state
            .db
            .read(move |connection| {
                let find = |(_, n, hash): (usize, usize, Hash)| Ok((n, queries::media::find(connection, &hash)?));
                wanted.into_iter().map(find).collect::<diesel::QueryResult<Vec<_>>>()
            })
            .await?;
        let mut images = Self::default();
        for (n, medium) in found {
            // Deleted meanwhile, in another window: it is not in the form any more, and the owner sees that.
            let Some(medium) = medium else { continue };
            images.items.push(Item {
                label: String::new(),
                medium,
                alt: text("alt", n),
                decorative: field("plain", n).is_some(),
            });
        }

        let alone = uploads.len() == 1;
        for upload in uploads {
            match upload.outcome {
                Err(refused) => images.refused.push((words.refused)(&upload.name, &refused)),
                // The same image twice is one image.
                Ok(medium) if images.items.iter().any(|item| item.medium.id == medium.id) => {}
                Ok(_) if images.items.len() >= MOST => images.too_many = true,
                Ok(medium) => images.items.push(Item {
                    label: String::new(),
                    medium,
                    alt: if alone { text("alt", 0) } else { String::new() },
                    decorative: alone && field("plain", 0).is_some(),
                }),
            }
        }
        Ok(images)
    }

    /// Files that were not taken.
    pub fn refusals(&self, words: &words::Media) -> Option<String> {
        let mut problems = self.refused.clone();
        if self.too_many {
            problems.push((words.too_many)(MOST));
        }
        (!problems.is_empty()).then(|| problems.join(" "))
    }

    /// What keeps the post from being written, as far as images go.
    pub fn problem(&self, words: &words::Media) -> Option<String> {
        let silent = |item: &Item| item.alt.is_empty() && !item.decorative;
        let silent = (1..).zip(&self.items).filter(|(_, item)| silent(item));
        let mut problems: Vec<String> = self.refusals(words).into_iter().collect();
        problems.extend(silent.map(|(n, _)| (words.needs_alt)(n)));
        (!problems.is_empty()).then(|| problems.join(" "))
    }

    /// For `queries::media::attach`, once there is no problem.
    pub fn attached(&self) -> Vec<(Hash, String)> {
        let alt = |item: &Item| {
            if item.decorative {
                String::new()
            } else {
                item.alt.clone()
            }
        };
        self.items.iter().map(|item| (item.medium.hash(), alt(item))).collect()
    }

    pub fn has_room(&self) -> bool {
        self.items.len() < MOST
    }
}
