//! The first pass over an X archive: which files are there, whose it is, every post and every long text put aside.

use std::collections::HashMap;
use std::io::Read;
use std::path::Path;

use serde_json::Value;

use super::tweet::{Note, Tweet};
use super::{Options, RETWEET, TWICE, UNREADABLE};
use crate::archive::Archive;
use crate::cli::Failure;
use crate::domain::Stamp;
use crate::import::Target;
use crate::import::elements::{ElementError, Elements};
use crate::import::spool::{Slot, Spool};

/// What is in an archive and no post of its owner's timeline: the file's name begins so, and why it stays there.
const NOT_POSTS: [(&str, (&str, &str)); 6] = [
    (
        "deleted-tweet",
        ("deleted", "files with deleted posts: deleted stays deleted"),
    ),
    ("community-tweet", ("community", "files with posts in communities")),
    ("direct-message", ("messages", "files with private messages")),
    ("like", ("likes", "files with likes")),
    ("article", ("articles", "files with articles of X")),
    ("grok-chat", ("chats", "files with chats")),
];

/// A post that was put aside.
#[derive(Debug, Clone, Copy)]
pub struct Entry {
    pub id: u64,
    /// Its first version: an edited post stands where it was first written.
    first: u64,
    pub slot: Slot,
}

/// The whole archive, as far as it is held in memory: some 30 bytes for a post.
#[derive(Debug)]
pub struct Collected {
    /// From oldest to newest.
    pub entries: Vec<Entry>,
    pub spool: Spool,
    /// The number of the account, as text.
    pub owner: Option<String>,
    /// Posts that were for a few people, sorted.
    pub circle: Vec<u64>,
    ids: Vec<u64>,
    notes: HashMap<u64, Slot>,
    notes_by_time: HashMap<i64, Vec<Slot>>,
}

impl Collected {
    pub fn has(&self, id: u64) -> bool {
        self.ids.binary_search(&id).is_ok()
    }

    /// The long text of a post whose own is cut: by the number of the post, or by time and beginning.
    pub fn note_of(&self, tweet: &Tweet) -> Result<Option<Note>, Failure> {
        if let Some(slot) = self.notes.get(&tweet.id) {
            return Ok(Note::parse(&super::element(&self.spool, *slot)?));
        }
        // The two clocks may disagree by a second.
        for time in [0, 1, -1].map(|shift| tweet.created_at.0 + shift) {
            for slot in self.notes_by_time.get(&time).into_iter().flatten() {
                let note = Note::parse(&super::element(&self.spool, *slot)?);
                if let Some(note) = note.filter(|note| note.continues(&tweet.text)) {
                    return Ok(Some(note));
                }
            }
        }
        Ok(None)
    }
}

pub fn collect(
    archive: &mut Archive,
    target: &mut Target<'_>,
    options: Options,
    directory: &Path,
) -> Result<Collected, Failure> {
    // In 2018 the file was called tweet.js and lay at the top.
    let found = archive.enter(&["data/tweets.js", "data/tweet.js", "data/tweets-part0.js", "tweet.js"])?;
    if !found {
        return Err(Failure::usage(
            format!("{} is no archive of X: it has no data/tweets.js", archive.label()),
            &archive
                .hint_beside("name the zip as it was downloaded, or the directory that has `Your archive.html` in it"),
        ));
    }
    let place = if archive.files("data/")?.is_empty() {
        ""
    } else {
        "data/"
    };
    let files = archive.files(place)?;
    for name in &files {
        for (prefix, reason) in NOT_POSTS {
            if name.starts_with(prefix) && name.ends_with(".js") {
                target.report.leave_out(reason, format!("{place}{name}"));
            }
        }
    }
    let named = |stems: &[&str]| -> Vec<String> {
        let fits = |name: &&String| stems.iter().any(|stem| is_part(name, stem));
        let mut names: Vec<String> = files.iter().filter(fits).cloned().collect();
        // part10 comes after part9.
        names.sort_by_key(|name| (name.len(), name.clone()));
        names.iter().map(|name| format!("{place}{name}")).collect()
    };

    let spool = Spool::create(directory).map_err(spool_failed)?;
    let mut all = Collected {
        entries: Vec::new(),
        spool,
        owner: owner(archive, &format!("{place}account.js"))?,
        circle: Vec::new(),
        ids: Vec::new(),
        notes: HashMap::new(),
        notes_by_time: HashMap::new(),
    };
    let mut asked: Vec<(u64, String)> = Vec::new();
    for name in named(&["tweets", "tweet"]) {
        each(archive, &name, |value, bytes, began| {
            target.report.read += 1;
            target.progress.at(target.report.read, 0);
            match Tweet::parse(&value) {
                Err(error) => target
                    .report
                    .leave_out(UNREADABLE, format!("{name}, byte {began}: {error}")),
                Ok(tweet) if tweet.is_retweet() && !options.retweets => target.report.leave_out(RETWEET, tweet.id),
                Ok(tweet) => {
                    if let (Some(id), Some(user)) = (tweet.reply_to, tweet.reply_to_user) {
                        remember_asked(&mut asked, id, user);
                    }
                    all.entries.push(Entry {
                        id: tweet.id,
                        first: tweet.versions.first().copied().unwrap_or(tweet.id),
                        slot: all.spool.push(bytes).map_err(spool_failed)?,
                    });
                }
            }
            Ok(())
        })?;
    }
    for name in named(&["note-tweet", "note-tweets"]) {
        each(archive, &name, |value, bytes, _| {
            let Some(note) = Note::parse(&value) else {
                return Ok(());
            };
            let slot = all.spool.push(bytes).map_err(spool_failed)?;
            if let Some(id) = note.tweet {
                all.notes.insert(id, slot);
            }
            if let Some(Stamp(time)) = note.created_at {
                all.notes_by_time.entry(time).or_default().push(slot);
            }
            Ok(())
        })?;
    }
    for name in named(&["twitter-circle-tweet"]) {
        each(archive, &name, |value, _, _| {
            all.circle.extend(Tweet::parse(&value).map(|tweet| tweet.id));
            Ok(())
        })?;
    }
    all.circle.sort_unstable();
    all.spool.flush().map_err(spool_failed)?;

    // Stable, so that of two the one that came first stays.
    all.entries.sort_by_key(|entry| entry.id);
    all.entries.dedup_by(|second, first| {
        let same = second.id == first.id;
        if same {
            target.report.leave_out(TWICE, second.id);
        }
        same
    });
    all.ids = all.entries.iter().map(|entry| entry.id).collect();
    all.entries.sort_by_key(|entry| (entry.first, entry.id));
    if all.owner.is_none() {
        // Whoever wrote what was answered, if that is in the archive, is the owner.
        let own = asked.iter().find(|(id, _)| all.has(*id));
        all.owner = own.map(|(_, user)| user.clone());
    }
    Ok(all)
}

/// One candidate for each user is enough to find the owner among them, and they are few.
fn remember_asked(asked: &mut Vec<(u64, String)>, id: u64, user: String) {
    const MOST: usize = 10_000;
    if asked.len() < MOST {
        asked.push((id, user));
    }
}

/// `stem.js`, `stem-part3.js`, `stem_part3.js`.
fn is_part(name: &str, stem: &str) -> bool {
    let Some(rest) = name.strip_suffix(".js").and_then(|name| name.strip_prefix(stem)) else {
        return false;
    };
    let number = rest.strip_prefix("-part").or_else(|| rest.strip_prefix("_part"));
    rest.is_empty() || number.is_some_and(|number| !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit()))
}

/// `accountId` of `account.js`.
fn owner(archive: &Archive, name: &str) -> Result<Option<String>, Failure> {
    if !archive.has(name)? {
        return Ok(None);
    }
    let mut id = None;
    each(archive, name, |value, _, _| {
        let account = value.get("account").unwrap_or(&value);
        id = account.get("accountId").and_then(Value::as_str).map(str::to_owned);
        Ok(())
    })?;
    Ok(id)
}

/// Every element of an array: parsed, as it stands, and the byte where it begins.
fn each(
    archive: &Archive,
    name: &str,
    mut what: impl FnMut(Value, &[u8], u64) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let failed = |error: ElementError| {
        Failure::usage(
            format!("{}: {error}", archive.label()),
            "nothing was imported; download the archive again, or mend this file",
        )
    };
    let input: Box<dyn Read + '_> = archive.read(name)?;
    let mut elements = Elements::of_script(input, name).map_err(failed)?;
    while let Some(value) = elements.next_value().map_err(failed)? {
        what(value, elements.bytes(), elements.began())?;
    }
    Ok(())
}

pub fn spool_failed(error: std::io::Error) -> Failure {
    Failure::usage(
        format!("cannot put posts aside beside the database: {error}"),
        "the import needs as much room there as the archive's tweets.js has",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_a_file() {
        for (name, stem, fits) in [
            ("tweets.js", "tweets", true),
            ("tweets-part1.js", "tweets", true),
            ("tweets_part12.js", "tweets", true),
            ("tweets-part.js", "tweets", false),
            ("tweet-headers.js", "tweet", false),
            ("tweets.json", "tweets", false),
        ] {
            assert_eq!(is_part(name, stem), fits, "{name}");
        }
    }
}
