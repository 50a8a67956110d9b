//! What an import did, and what it left out and why: for people and as JSON.

use crate::domain::json;

/// How many of the things that were left out are named.
const FIRST: usize = 3;

#[derive(Debug, Default)]
pub struct Report {
    /// Nothing was written: it was only asked what would be.
    pub dry_run: bool,
    /// Posts found in the archive.
    pub read: u64,
    pub imported: u64,
    /// Imported before: nothing was done with them.
    pub already: u64,
    /// Images that came with the posts.
    pub images: u64,
    /// What is in the archive and not in the blog, by reason, in the order in which the reasons came up.
    pub left_out: Vec<LeftOut>,
    /// What was done otherwise than expected, by reason.
    pub noted: Vec<LeftOut>,
}

/// Things that share a reason.
#[derive(Debug, PartialEq, Eq)]
pub struct LeftOut {
    /// A word for programs: `retweet`.
    pub reason: &'static str,
    /// The same for people, and what to do about it.
    pub meaning: &'static str,
    pub count: u64,
    /// The first of them, by what the archive calls them.
    pub first: Vec<String>,
}

impl Report {
    pub fn leave_out(&mut self, reason: (&'static str, &'static str), what: impl ToString) {
        count(&mut self.left_out, reason, what);
    }

    pub fn note(&mut self, reason: (&'static str, &'static str), what: impl ToString) {
        count(&mut self.noted, reason, what);
    }

    pub fn json(&self) -> String {
        let list = |things: &[LeftOut]| {
            json::array(things.iter().map(|thing| {
                json::Object::new()
                    .text("reason", thing.reason)
                    .text("meaning", thing.meaning)
                    .number("count", thing.count)
                    .raw("first", &json::array(thing.first.iter().map(|name| json::text(name))))
                    .end()
            }))
        };
        let object = json::Object::new()
            .bool("dry_run", self.dry_run)
            .number("read", self.read)
            .number("imported", self.imported)
            .number("already", self.already)
            .number("images", self.images)
            .raw("left_out", &list(&self.left_out))
            .raw("noted", &list(&self.noted));
        object.end() + "\n"
    }
}

impl std::fmt::Display for Report {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let verb = if self.dry_run { "would be imported" } else { "imported" };
        writeln!(f, "{:>8}  posts in the archive", self.read)?;
        writeln!(f, "{:>8}  {verb}", self.imported)?;
        writeln!(f, "{:>8}  images with them", self.images)?;
        if self.already > 0 {
            writeln!(f, "{:>8}  were here already", self.already)?;
        }
        for (title, things) in [("Left out:", &self.left_out), ("Noted:", &self.noted)] {
            if things.is_empty() {
                continue;
            }
            writeln!(f, "{title}")?;
            for thing in things {
                let more = if thing.count > thing.first.len() as u64 {
                    ", ..."
                } else {
                    ""
                };
                writeln!(
                    f,
                    "{:>8}  {} ({}{more})",
                    thing.count,
                    thing.meaning,
                    thing.first.join(", ")
                )?;
            }
        }
        Ok(())
    }
}

fn count(things: &mut Vec<LeftOut>, (reason, meaning): (&'static str, &'static str), what: impl ToString) {
    let place = things.iter().position(|thing| thing.reason == reason);
    let place = place.unwrap_or_else(|| {
        things.push(LeftOut {
            reason,
            meaning,
            count: 0,
            first: Vec::new(),
        });
        things.len() - 1
    });
    let thing = &mut things[place];
    thing.count += 1;
    if thing.first.len() < FIRST {
        // It goes to a terminal, and came from a file.
        let what = what.to_string();
        thing.first.push(
            what.chars()
                .take(80)
                .map(|c| if c.is_control() { '?' } else { c })
                .collect(),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_are_counted_and_the_first_are_named() {
        let mut report = Report {
            read: 6,
            imported: 1,
            ..Report::default()
        };
        for id in 1..=4 {
            report.leave_out(("retweet", "posts of others"), id);
        }
        report.leave_out(("video", "no videos"), "9\u{1b}[31m");
        let text = report.to_string();
        assert!(text.contains("4  posts of others (1, 2, 3, ...)\n"), "{text}");
        assert!(text.contains("1  no videos (9?[31m)\n"), "{text}");
        assert!(
            report
                .json()
                .contains(r#"{"reason":"retweet","meaning":"posts of others","count":4,"first":["1","2","3"]}"#)
        );
    }
}
