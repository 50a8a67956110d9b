//! The archive that X gives to its users on request.
//!
//! First everything is read once: what is damaged stops the import before anything is written. The posts are put aside
//! in a file without a name, because the archive has them from newest to oldest and a thread needs them the other way
//! round. Then they are imported from oldest to newest.

mod collect;
mod tweet;

use std::collections::HashMap;
use std::path::Path;

use serde_json::Value;

use super::incoming::Incoming;
use super::pictures::Pictures;
use super::spool;
use super::{BATCH, BatchError, NO_ALT, Target, markdown_text};
use crate::archive::{self, Archive};
use crate::cli::Failure;
use crate::db::queries::transfer::{self, MediaRow, Place};
use crate::domain::{Stamp, Visibility};
use collect::{Collected, Entry};
use tweet::{Media, Tweet};

/// As in the table `old_ids` and in the address `/old/x/{id}`.
pub const SOURCE: &str = "x";

/// What may be chosen.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// Posts of others that were passed on.
    pub retweets: bool,
    /// Answers to others.
    pub replies: bool,
    pub visibility: Visibility,
}

/// Where images lie, by vintage.
const MEDIA: [&str; 3] = ["data/tweets_media/", "data/tweet_media/", "tweet_media/"];

type Reason = (&'static str, &'static str);
const RETWEET: Reason = ("retweet", "reposts of others; --include-retweets takes them along");
const REPLY: Reason = (
    "reply",
    "replies to others, and what followed on them; --include-replies takes them along",
);
const OLDER: Reason = ("older-version", "older versions of posts that were edited later");
const EMPTY: Reason = (
    "empty",
    "posts with neither text nor an image that could be taken along",
);
const UNREADABLE: Reason = ("unreadable", "posts that lack what a post needs");
const TWICE: Reason = ("twice", "posts that the archive has twice");
const VIDEO: Reason = ("video", "videos and moving images: the text has a link to them instead");
const MISSING: Reason = (
    "missing-image",
    "images whose file is not in the archive: the text has a link to them instead",
);
const REFUSED: Reason = (
    "refused-image",
    "images that the blog does not take: the text has a link to them instead",
);
const CUT: Reason = ("cut", "long posts of which the archive has only the beginning");
const ORPHAN: Reason = (
    "orphan",
    "answers to own posts that are not in the archive: they stand alone now",
);
const CIRCLE: Reason = (
    "circle",
    "posts for a circle: imported as private, only the owner sees them",
);

/// What became of a post.
#[derive(Debug, Clone, Copy)]
enum Fate {
    Here(Place),
    /// A reply to somebody else, or what follows on one.
    LeftOut,
}

/// What every post is looked at with.
struct Import<'a> {
    archive: &'a Archive,
    /// Archives of 2018 and 2019 have their images in a zip of its own.
    albums: Vec<Album>,
    pictures: &'a Pictures,
    options: Options,
    all: Collected,
    /// Imported before.
    known: HashMap<u64, Place>,
}

/// A zip with images, and the directories in it where they lie.
struct Album {
    archive: Archive,
    places: Vec<String>,
}

fn albums(archive: &Archive, directory: &Path) -> Result<Vec<Album>, Failure> {
    let mut albums = Vec::new();
    for place in MEDIA {
        let files = archive.files(place)?;
        for name in files.iter().filter(|name| archive::is_zip(name)) {
            let file = spool::unnamed(directory).map_err(collect::spool_failed)?;
            let archive = archive.inner(&format!("{place}{name}"), file)?;
            let mut places = vec![String::new()];
            places.extend(archive.directories("")?.into_iter().map(|name| format!("{name}/")));
            albums.push(Album { archive, places });
        }
    }
    Ok(albums)
}

/// Imports the archive. `directory` is where the database lies; the file with the posts is put beside it.
pub fn run(
    archive: &mut Archive,
    target: &mut Target<'_>,
    pictures: &Pictures,
    options: Options,
    directory: &Path,
) -> Result<(), Failure> {
    let all = collect::collect(archive, target, options, directory)?;
    let mut fates: HashMap<u64, Fate> = HashMap::with_capacity(all.entries.len());
    let mut known: HashMap<u64, Place> = HashMap::new();
    transfer::all_old(target.connection, SOURCE, |id, place| {
        known.extend(id.parse::<u64>().map(|id| (id, place)));
    })
    .map_err(super::read_failed)?;
    let import = Import {
        albums: albums(archive, directory)?,
        archive,
        pictures,
        options,
        all,
        known,
    };
    let total = import.all.entries.len() as u64;
    let mut done = 0;
    for batch in import.all.entries.chunks(BATCH) {
        target.in_transaction(|target| {
            for entry in batch {
                import.one(target, entry, &mut fates)?;
            }
            Ok(())
        })?;
        done += batch.len() as u64;
        target.progress.at(done, total);
    }
    Ok(())
}

impl Import<'_> {
    /// Imports one post, or says why not.
    fn one(&self, target: &mut Target<'_>, entry: &Entry, fates: &mut HashMap<u64, Fate>) -> Result<(), BatchError> {
        let value = element(&self.all.spool, entry.slot)?;
        let tweet = Tweet::parse(&value).map_err(|error| Failure::fatal(error.to_string()))?;
        if tweet.replaced_by().is_some_and(|last| self.all.has(last)) {
            target.report.leave_out(OLDER, tweet.id);
            return Ok(());
        }
        let names: Vec<u64> = if tweet.versions.is_empty() {
            vec![tweet.id]
        } else {
            tweet.versions.clone()
        };
        if let Some(place) = self.known.get(&tweet.id) {
            target.report.already += 1;
            fates.extend(names.iter().map(|name| (*name, Fate::Here(*place))));
            return Ok(());
        }

        let parent = match (tweet.reply_to, tweet.reply_to_user.as_deref()) {
            (None, None) => None,
            (reply_to, user) => match reply_to.and_then(|id| fates.get(&id)) {
                Some(Fate::Here(place)) => Some(*place),
                Some(Fate::LeftOut) if !self.options.replies => return leave_out(target, &tweet, &names, fates),
                Some(Fate::LeftOut) => None,
                // Not there: own and deleted, or somebody else's.
                None if user.is_some_and(|user| self.all.owner.as_deref() == Some(user)) => {
                    target.report.note(ORPHAN, tweet.id);
                    None
                }
                None if self.options.replies => None,
                None => return leave_out(target, &tweet, &names, fates),
            },
        };

        let note = if tweet.is_cut { self.all.note_of(&tweet)? } else { None };
        if tweet.is_cut && note.is_none() {
            target.report.note(CUT, tweet.id);
        }
        let shown = self.images(target, &tweet)?;
        let gone: Vec<&Media> = shown.iter().map(|picture| picture.0).collect();
        let text = match &note {
            Some(note) => tweet.expand(&note.text, &note.links, &gone),
            None => tweet.expand(&tweet.text, &[], &gone),
        };
        let body = markdown_text::escape(&tidy(&text));
        if body.is_empty() && shown.is_empty() {
            target.report.leave_out(EMPTY, tweet.id);
            return Ok(());
        }
        let private = self.all.circle.binary_search(&tweet.id).is_ok();
        if private {
            target.report.note(CIRCLE, tweet.id);
        }
        let first = names.first().copied().unwrap_or(tweet.id);
        let published = if first == tweet.id { None } else { time_of_id(first) };
        let date = published.unwrap_or(tweet.created_at);
        let mut images = Vec::with_capacity(shown.len());
        for (media, row) in &shown {
            if media.alt.is_none() {
                target.report.note(NO_ALT, format!("{}-{}", tweet.id, media.file));
            }
            images.push((row.clone(), media.alt.clone().unwrap_or_default()));
        }
        let mut incoming = Incoming::note(body, date, target.now)?;
        incoming.row.visibility = if private {
            Visibility::Private
        } else {
            self.options.visibility
        };
        incoming.row.lang = tweet.lang.clone();
        incoming.row.edited_at = published.map(|_| tweet.created_at.0);
        incoming.row.reply_to = parent.map(|place| place.id);
        incoming.row.thread = parent.map(Place::root);
        incoming.images = images;
        incoming.names = names.iter().map(|name| (SOURCE.to_owned(), name.to_string())).collect();
        let place = incoming.insert(target)?;
        fates.extend(names.iter().map(|name| (*name, Fate::Here(place))));
        Ok(())
    }

    /// The images of a post that are taken along, each with what it is in the blog.
    fn images<'t>(&self, target: &mut Target<'_>, tweet: &'t Tweet) -> Result<Vec<(&'t Media, MediaRow)>, BatchError> {
        let mut shown = Vec::new();
        for media in &tweet.media {
            if media.kind != "photo" {
                target.report.leave_out(VIDEO, tweet.id);
                continue;
            }
            let file = format!("{}-{}", tweet.id, media.file);
            let Some((archive, name)) = self.image(&file)? else {
                target.report.leave_out(MISSING, file);
                continue;
            };
            match self.pictures.take(archive, &name, target.now)? {
                Ok(row) => shown.push((media, row)),
                Err(why) => target.report.leave_out(REFUSED, format!("{file}: {why}")),
            }
        }
        Ok(shown)
    }

    /// The archive that has this file, and its name there.
    fn image(&self, file: &str) -> Result<Option<(&Archive, String)>, Failure> {
        let own = MEDIA.iter().map(|place| (self.archive, *place));
        let inner = self.albums.iter();
        let inner = inner.flat_map(|album| album.places.iter().map(|place| (&album.archive, place.as_str())));
        for (archive, place) in own.chain(inner) {
            let name = format!("{place}{file}");
            if archive.has(&name)? {
                return Ok(Some((archive, name)));
            }
        }
        Ok(None)
    }
}

fn leave_out(
    target: &mut Target<'_>,
    tweet: &Tweet,
    names: &[u64],
    fates: &mut HashMap<u64, Fate>,
) -> Result<(), BatchError> {
    target.report.leave_out(REPLY, tweet.id);
    fates.extend(names.iter().map(|name| (*name, Fate::LeftOut)));
    Ok(())
}

fn element(spool: &super::spool::Spool, slot: super::spool::Slot) -> Result<Value, Failure> {
    let bytes = spool
        .read(slot)
        .map_err(|error| Failure::fatal(format!("cannot read back what was put aside: {error}")))?;
    serde_json::from_slice(&bytes).map_err(|error| Failure::fatal(format!("what was put aside is damaged: {error}")))
}

/// What a post's text may not have: control characters, which no feed can carry, and blank ends.
fn tidy(text: &str) -> String {
    let plain = |c: &char| matches!(c, '\n' | '\t') || !(c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}'));
    let text: String = text.chars().filter(plain).collect();
    text.trim().to_owned()
}

/// When an id was given out. Since November 2010 ids hold the milliseconds since 2010-11-04T01:42:54.657Z.
fn time_of_id(id: u64) -> Option<Stamp> {
    let millis = (id >> 22)
        .checked_add(1_288_834_974_657)
        .filter(|_| id > 30_000_000_000)?;
    i64::try_from(millis / 1000).ok().map(Stamp)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_tell_the_time() {
        let time = |id| time_of_id(id).map(Stamp::rfc3339);
        assert_eq!(time(1_050_118_621_198_921_728).as_deref(), Some("2018-10-10T20:19:24Z"));
        assert_eq!(time(20), None);
    }

    #[test]
    fn texts_lose_what_no_feed_can_carry() {
        assert_eq!(tidy(" a\u{0}\u{b}b\n "), "ab");
    }
}
