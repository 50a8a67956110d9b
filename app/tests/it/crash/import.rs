//! `blog import`, into a blog and into none yet.

use std::path::{Path, PathBuf};
use std::process::Output;

use blog::db::Db;
use serde_json::json;
use tempfile::TempDir;

use super::{Disk, Fault, Found, at, choose, copy, nothing_is_left_over, try_all};
use crate::app::program;
use crate::data::archives::{answer, answer_to_other, id, photo, script, tweet};
use crate::data::png;

/// Posts of the first transaction that come in, and of the second. Those between are replies to others: they are read,
/// and left out, and fill the first one up (`import::BATCH`).
const FIRST: u64 = 12;
const SECOND: u64 = 6;
const BETWEEN: u64 = blog::import::BATCH as u64 - FIRST;

/// An archive, a blog that is there before, and what is there afterwards.
struct Template {
    work: TempDir,
    archive: PathBuf,
    before: u64,
    whole: String,
}

const CONTENT: &str =
    "SELECT old_id || ' ' || coalesce(reply_to, 0) || ' ' || coalesce(thread, 0) || ' ' || body || ' ' ||
    coalesce((SELECT group_concat(hex(sha256) || alt) FROM post_media JOIN media ON media.id = media_id
              WHERE post_media.post_id = posts.id), '') AS value
    FROM posts JOIN old_ids ON old_ids.post_id = posts.id ORDER BY old_id";

fn archive(directory: &Path) {
    let data = directory.join("data");
    std::fs::create_dir_all(data.join("tweets_media")).unwrap();
    let mut posts = Vec::new();
    for n in 0..FIRST + BETWEEN + SECOND {
        posts.push(match n {
            2 | 5 => {
                let file = format!("P{n}.png");
                std::fs::write(data.join(format!("tweets_media/{}-{file}", id(n))), png(n as u8)).unwrap();
                let picture = photo("https://t.co/p", &file, Some("what it shows"));
                tweet(
                    n,
                    &format!("post {n} https://t.co/p"),
                    json!({"extended_entities": {"media": [picture]}}),
                )
            }
            n if n == 4 || n == FIRST + BETWEEN => answer(n, &format!("post {n} #tag"), 3),
            n if (FIRST..FIRST + BETWEEN).contains(&n) => answer_to_other(n, "yes"),
            n => tweet(n, &format!("post {n} 東京 #tag{n}"), json!({})),
        });
    }
    posts.reverse();
    std::fs::write(data.join("tweets.js"), script("tweets", 0, &posts)).unwrap();
}

fn blog(directory: &Path, words: &[&str]) -> Output {
    let output = program().args(words).current_dir(directory).output().unwrap();
    assert!(output.status.success(), "{words:?}: {output:?}");
    output
}

impl Template {
    /// `there`: whether there is a blog before.
    fn new(there: bool) -> Self {
        let work = tempfile::tempdir().unwrap();
        let (place, archive) = (work.path().join("blog"), work.path().join("archive"));
        self::archive(&archive);
        std::fs::create_dir(&place).unwrap();
        if there {
            let one = work.path().join("one");
            std::fs::create_dir_all(one.join("data")).unwrap();
            let before = script("tweets", 0, &[tweet(9000, "before", json!({}))]);
            std::fs::write(one.join("data/tweets.js"), before).unwrap();
            blog(&place, &["import", "x-archive", one.to_str().unwrap()]);
        }
        let whole = work.path().join("whole");
        copy(&place, &whole);
        blog(&whole, &["import", "x-archive", archive.to_str().unwrap()]);
        let mut found = Found::open(&whole.join("blog.db"));
        let before = u64::from(there);
        assert_eq!(
            found.number("SELECT count(*) AS value FROM posts"),
            before + FIRST + SECOND
        );
        Self {
            archive,
            before,
            whole: found.text(CONTENT),
            work,
        }
    }

    /// Imports, dies at `step` and imports again.
    fn point(&self, disk: Disk, step: u64) -> (bool, Vec<u8>) {
        let work = tempfile::tempdir().unwrap();
        let place = work.path().join("blog");
        copy(&self.work.path().join("blog"), &place);
        let fault = Fault::new(&place, work.path(), disk, step).unwrap();
        let words = ["import", "x-archive", self.archive.to_str().unwrap(), "--json"];
        let (died, output) = fault.run(&words);
        let database = place.join("blog.db");
        let there = at(disk, step, "after the import", || {
            drop(Db::open(database.to_str().unwrap()).unwrap());
            let mut found = Found::open(&database);
            found.has_its_images();
            let count = found.number("SELECT count(*) AS value FROM posts") - self.before;
            // Whole transactions, and all of them once the report was printed.
            let done = output.stdout.ends_with(b"}\n");
            assert!(
                if done {
                    count == FIRST + SECOND
                } else {
                    [0, FIRST, FIRST + SECOND].contains(&count)
                },
                "{count} posts, report: {done}"
            );
            for content in found.text(CONTENT).split('|').filter(|content| !content.is_empty()) {
                assert!(self.whole.contains(content), "{content}");
            }
            count
        });
        let again = blog(&place, &words);
        at(disk, step, "imported again", || {
            let report: serde_json::Value = serde_json::from_slice(&again.stdout).unwrap();
            assert_eq!(
                (&report["already"], &report["imported"]),
                (&json!(there), &json!(FIRST + SECOND - there))
            );
            let mut found = Found::open(&database);
            assert_eq!(found.text(CONTENT), self.whole);
            found.has_its_images();
            let images = std::fs::read_dir(place.join("blog.db.media")).unwrap().count();
            assert_eq!((images, found.number("SELECT count(*) AS value FROM media")), (2, 2));
            nothing_is_left_over(&place.join("blog.db.media"));
            // What was put aside has no name.
            for entry in std::fs::read_dir(&place).unwrap() {
                let name = entry.unwrap().file_name().into_string().unwrap();
                assert!(name.starts_with("blog.db"), "{name}");
            }
        });
        (died, fault.letters())
    }
}

fn dies(there: bool, stride: usize, least: u64) {
    if super::library().is_none() {
        return;
    }
    let template = Template::new(there);
    // Step 0 never comes: a run that nothing happens to.
    let (died, letters) = template.point(Disk::Keeps, 0);
    assert!(!died);
    let points = choose(&letters, stride);
    let died = try_all(&points, |disk, step| template.point(disk, step).0);
    assert!(
        died >= least && died == points.len() as u64,
        "{died} of {}",
        points.len()
    );
}

#[test]
fn an_import_dies_at_every_write_step() {
    dies(true, 4, 200);
}

#[test]
fn an_import_into_no_blog_yet_dies_at_every_write_step() {
    dies(false, 16, 100);
}
