//! The archive that Mastodon gives to its users: `outbox.json` (ActivityStreams 2.0) and the files of its media.

use std::collections::{HashMap, HashSet};

use serde_json::Value;

use super::elements::{ElementError, Elements};
use super::html_text;
use super::incoming::Incoming;
use super::pictures::Pictures;
use super::{BATCH, BatchError, NO_ALT, Target};
use crate::archive::Archive;
use crate::cli::Failure;
use crate::db::queries::transfer::Place;
use crate::domain::calendar;
use crate::domain::{Stamp, Visibility};

/// As in the table `old_ids`: the id there is the address of the post.
pub const SOURCE: &str = "mastodon";
const OUTBOX: &str = "outbox.json";
const PUBLIC: &str = "https://www.w3.org/ns/activitystreams#Public";

#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// Answers to others.
    pub replies: bool,
}

type Reason = (&'static str, &'static str);
const BOOST: Reason = ("boost", "posts of others that were boosted");
const REPLY: Reason = (
    "reply",
    "replies to others, and what followed on them; --include-replies takes them along",
);
const UNREADABLE: Reason = ("unreadable", "posts that lack what a post needs");
const EMPTY: Reason = (
    "empty",
    "posts with neither text nor an image that could be taken along",
);
const MEDIA: Reason = (
    "media",
    "attachments that are no image the blog takes, or whose file is not in the archive",
);
const POLL: Reason = ("poll", "polls: imported as text with their options");
const WARNING: Reason = ("warning", "content warnings: they are the first line of the post now");
const PRIVATE: Reason = (
    "private",
    "posts that were not for everybody: imported as private, only the owner sees them",
);

/// A post of the outbox, put aside.
struct Entry {
    published: i64,
    /// Place in the outbox: two posts of one second stay in order.
    order: usize,
    value: Vec<u8>,
}

/// Imports the archive. `directory` is where the database lies.
pub fn run(
    archive: &mut Archive,
    target: &mut Target<'_>,
    pictures: &Pictures,
    options: Options,
    directory: &std::path::Path,
) -> Result<(), Failure> {
    if !archive.enter(&[OUTBOX])? {
        return Err(Failure::usage(
            format!("{} is no archive of Mastodon: it has no {OUTBOX}", archive.label()),
            &archive.hint_beside("unpack the .tar.gz and name the directory that has outbox.json in it"),
        ));
    }
    let failed = |error: ElementError| {
        Failure::usage(
            format!("{}: {error}", archive.label()),
            "nothing was imported; download the archive again",
        )
    };
    let put_aside = |error: std::io::Error| Failure::usage(format!("cannot put posts aside: {error}"), "make room");
    let mut spool = super::spool::Spool::create(directory).map_err(put_aside)?;
    let mut entries = Vec::new();
    let mut own = HashSet::new();
    let input = archive.read(OUTBOX)?;
    let mut items = Elements::of_key(input, OUTBOX, "orderedItems").map_err(failed)?;
    while let Some(item) = items.next_value().map_err(failed)? {
        target.report.read += 1;
        target.progress.at(target.report.read, 0);
        let Some(object) = item.get("object").filter(|object| object.is_object()) else {
            target.report.leave_out(BOOST, text(&item, "id").unwrap_or("?"));
            continue;
        };
        let time = text(object, "published").or_else(|| text(&item, "published"));
        let time = time.and_then(calendar::parse);
        let (Some(id), Some(time)) = (text(object, "id"), time) else {
            target.report.leave_out(UNREADABLE, text(&item, "id").unwrap_or("?"));
            continue;
        };
        own.insert(id.to_owned());
        let slot = spool.push(items.bytes()).map_err(put_aside)?;
        entries.push((time, entries.len(), slot));
    }
    spool.flush().map_err(put_aside)?;
    entries.sort_by_key(|(time, order, _)| (*time, *order));

    let mut fates: HashMap<String, Option<Place>> = HashMap::new();
    let total = entries.len() as u64;
    for (number, batch) in entries.chunks(BATCH).enumerate() {
        let batch = batch.iter().map(|(published, order, slot)| {
            spool.read(*slot).map(|value| Entry {
                published: *published,
                order: *order,
                value,
            })
        });
        let batch = batch.collect::<Result<Vec<_>, _>>().map_err(put_aside)?;
        target.in_transaction(|target| {
            for entry in &batch {
                one(archive, target, pictures, options, entry, &own, &mut fates)?;
            }
            Ok(())
        })?;
        target.progress.at((number * BATCH) as u64, total);
    }
    Ok(())
}

fn one(
    archive: &Archive,
    target: &mut Target<'_>,
    pictures: &Pictures,
    options: Options,
    entry: &Entry,
    own: &HashSet<String>,
    fates: &mut HashMap<String, Option<Place>>,
) -> Result<(), BatchError> {
    let item: Value = serde_json::from_slice(&entry.value)
        .map_err(|error| Failure::fatal(format!("post {} cannot be read back: {error}", entry.order)))?;
    let object = item.get("object").unwrap_or(&Value::Null);
    let id = text(object, "id").unwrap_or_default();
    if let Some(place) = target.known(SOURCE, id)? {
        target.report.already += 1;
        fates.insert(id.to_owned(), Some(place));
        return Ok(());
    }
    let parent = match text(object, "inReplyTo") {
        None => None,
        Some(parent) => match fates.get(parent) {
            Some(Some(place)) => Some(*place),
            // Answered was somebody else, or something that was left out.
            _ if !options.replies && !own.contains(parent) || matches!(fates.get(parent), Some(None)) => {
                target.report.leave_out(REPLY, id);
                fates.insert(id.to_owned(), None);
                return Ok(());
            }
            _ => None,
        },
    };

    let mut body = html_text::markdown(text(object, "content").unwrap_or_default());
    let options_of_poll: Vec<&str> = ["oneOf", "anyOf"]
        .iter()
        .flat_map(|key| list(object, key))
        .filter_map(|option| text(option, "name"))
        .collect();
    if !options_of_poll.is_empty() {
        target.report.note(POLL, id);
        body.push('\n');
        for option in options_of_poll {
            body.push_str(&format!("\n- {}", super::markdown_text::escape(option)));
        }
    }
    if let Some(warning) = text(object, "summary").filter(|warning| !warning.trim().is_empty()) {
        target.report.note(WARNING, id);
        let warning = super::markdown_text::escape(&warning.trim().replace('\n', " "));
        body = format!("**{warning}**\n\n{body}");
    }
    let mut images = Vec::new();
    for attachment in list(object, "attachment") {
        let name = text(attachment, "url").unwrap_or_default().trim_start_matches('/');
        match pictures.take(archive, name, target.now)? {
            Ok(image) => {
                let alt = text(attachment, "name").unwrap_or_default().to_owned();
                if alt.is_empty() {
                    target.report.note(NO_ALT, name);
                }
                images.push((image, alt));
            }
            Err(why) => target.report.leave_out(MEDIA, format!("{name}: {why}")),
        }
    }
    if body.trim().is_empty() && images.is_empty() {
        target.report.leave_out(EMPTY, id);
        return Ok(());
    }
    let visibility = visibility(&item);
    if visibility == Visibility::Private {
        target.report.note(PRIVATE, id);
    }
    let lang = object
        .get("contentMap")
        .and_then(Value::as_object)
        .and_then(|map| map.keys().next());
    let mut incoming = Incoming::note(body.trim().to_owned(), Stamp(entry.published), target.now)?;
    incoming.row.visibility = visibility;
    incoming.row.lang = lang.filter(|lang| lang.len() <= 12).cloned();
    incoming.row.reply_to = parent.map(|place| place.id);
    incoming.row.thread = parent.map(Place::root);
    incoming.images = images;
    incoming.names.push((SOURCE.to_owned(), id.to_owned()));
    let place = incoming.insert(target)?;
    fates.insert(id.to_owned(), Some(place));
    Ok(())
}

/// By whom it was for.
fn visibility(item: &Value) -> Visibility {
    let has = |key: &str| {
        let value = item
            .get(key)
            .or_else(|| item.get("object").and_then(|object| object.get(key)));
        match value {
            Some(Value::String(one)) => one == PUBLIC || one == "as:Public",
            Some(Value::Array(all)) => all.iter().any(|one| one == PUBLIC || one == "as:Public"),
            _ => false,
        }
    };
    match (has("to"), has("cc")) {
        (true, _) => Visibility::Public,
        (false, true) => Visibility::Unlisted,
        _ => Visibility::Private,
    }
}

fn text<'a>(value: &'a Value, key: &str) -> Option<&'a str> {
    value.get(key).and_then(Value::as_str)
}

fn list<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value.get(key).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}
