//! Large archives: in bounded memory, and whole after a kill.

use std::fs::File;
use std::io::{BufWriter, Read};
use std::process::Stdio;
use std::time::Duration;

use serde_json::json;

use super::Place;
use super::archives::{ME, id, tweet};

/// The text of an archive with `count` posts, newest first, a piece at a time: every tenth is an answer to an own one,
/// every second one a reply to somebody else, every eleventh a repost. Everything is read, kept in mind and put in order;
/// the half that stays is what the search index takes its time for.
struct Posts {
    left: u64,
    piece: Vec<u8>,
    at: usize,
    /// A post of `tweets.js` up to and after what differs.
    parts: (String, String, String),
}

impl Posts {
    fn new(count: u64) -> Self {
        let whole = tweet(
            0,
            "TEXT",
            json!({"id_str": "ID", "created_at": "Wed Oct 10 20:19:24 +0000 2018", "id": "0"}),
        )
        .to_string();
        let (first, rest) = whole.split_once("TEXT").unwrap();
        let (second, third) = rest.split_once("\"ID\"").unwrap();
        Self {
            left: count,
            piece: b"window.YTD.tweets.part0 = [".to_vec(),
            at: 0,
            parts: (first.to_owned(), second.to_owned(), third.to_owned()),
        }
    }

    fn one(&self, n: u64) -> String {
        let (first, second, third) = &self.parts;
        let text = match n {
            n if n % 11 == 5 => "RT @other: not mine".to_owned(),
            n => format!("{n} 東京で勉強会 #tag{}", n % 50),
        };
        let mut post = format!("{first}{text}{second}\"{}\"{third}", id(n));
        let to = match n % 10 {
            1 => Some((id(n - 1), ME)),
            3..=7 => Some((77, "999")),
            _ => None,
        };
        if let Some((to, user)) = to {
            let answer = format!(",\"in_reply_to_status_id_str\":\"{to}\",\"in_reply_to_user_id_str\":\"{user}\"}}}}");
            post.truncate(post.len() - 2);
            post.push_str(&answer);
        }
        post
    }
}

impl Read for Posts {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        if self.at == self.piece.len() {
            self.at = 0;
            self.piece.clear();
            for _ in 0..200.min(self.left) {
                self.left -= 1;
                let end = if self.left == 0 { "]" } else { ",\n" };
                let post = self.one(self.left);
                self.piece.extend(post.as_bytes());
                self.piece.extend(end.as_bytes());
            }
        }
        let count = (&self.piece[self.at..]).read(buffer)?;
        self.at += count;
        Ok(count)
    }
}

fn archive(place: &Place, count: u64) {
    let file = BufWriter::new(File::create(place.path("archive.zip")).unwrap());
    let mut zip = blog::archive::Zip::new(file);
    zip.add("data/tweets.js", &mut Posts::new(count), true).unwrap();
    let account = format!("window.YTD.account.part0 = [{{\"account\": {{\"accountId\": \"{ME}\"}}}}]");
    zip.add("data/account.js", &mut account.as_bytes(), true).unwrap();
    zip.finish().unwrap();
}

/// How many of the posts are reposts or replies to somebody else.
fn left_out(count: u64) -> u64 {
    (0..count)
        .filter(|n| n % 11 == 5 || (3..=7).contains(&(n % 10)))
        .count() as u64
}

/// The most memory that the process has had, in KiB.
fn peak(process: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

#[test]
fn a_hundred_thousand_posts_in_bounded_memory() {
    const COUNT: u64 = 100_000;
    let place = Place::new();
    archive(&place, COUNT);
    let mut child = place
        .command(&["import", "x-archive", "archive.zip", "--json"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut most = 0;
    let status = loop {
        most = most.max(peak(child.id()).unwrap_or_default());
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        std::thread::sleep(Duration::from_millis(20));
    };
    assert!(status.success());
    let mut text = String::new();
    child.stdout.unwrap().read_to_string(&mut text).unwrap();
    let report: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(report["read"], COUNT);
    assert_eq!(report["imported"], COUNT - left_out(COUNT));
    // Of which the database and the program itself are half; a hundred thousand posts in memory would be 100 MB.
    assert!((5_000..40 << 10).contains(&most), "{most} KiB");
    assert_eq!(
        place.sql(
            "SELECT count(*) || ' ' || count(reply_to) || ' ' || count(DISTINCT published_at) AS value FROM posts"
        ),
        [format!(
            "{} {} {}",
            COUNT - left_out(COUNT),
            place.sql("SELECT count(*) || '' AS value FROM posts WHERE thread IS NOT NULL")[0],
            1
        )]
    );
}

#[test]
fn a_killed_import_goes_on_where_it_was() {
    const COUNT: u64 = 5_000;
    let place = Place::new();
    archive(&place, COUNT);
    place.json(&["import", "x-archive", "archive.zip", "--dry-run"]);
    let posts = |place: &Place| -> u64 {
        place.sql("SELECT count(*) || '' AS value FROM posts")[0]
            .parse()
            .unwrap()
    };
    let mut killed = 0;
    for round in 1..=3_u64 {
        let mut child = place
            .command(&["import", "x-archive", "archive.zip"])
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        // As soon as there is more than after the last round.
        let before = killed;
        loop {
            let there = place.database().exists()
                && !place
                    .sql("SELECT name AS value FROM sqlite_schema WHERE name = 'old_ids'")
                    .is_empty();
            if there {
                killed = posts(&place);
            }
            if killed > before + 100 * round || child.try_wait().unwrap().is_some() {
                break;
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        child.kill().unwrap();
        child.wait().unwrap();
    }
    let before = posts(&place);
    assert!(
        before > 0 && before < COUNT - left_out(COUNT),
        "killed in the middle: {before}"
    );
    let report = place.json(&["import", "x-archive", "archive.zip"]);
    assert_eq!(report["already"], before);
    assert_eq!(posts(&place), COUNT - left_out(COUNT));
    // The same as in one go.
    let whole = Place::new();
    std::fs::rename(place.path("archive.zip"), whole.path("archive.zip")).unwrap();
    whole.json(&["import", "x-archive", "archive.zip"]);
    let content = "SELECT old_id || ' ' || coalesce(reply_to, 0) || ' ' || coalesce(thread, 0) || body AS value \
                   FROM posts JOIN old_ids ON post_id = posts.id ORDER BY old_id";
    assert!(place.sql(content) == whole.sql(content));
    let left: Vec<_> = std::fs::read_dir(place.directory.path())
        .unwrap()
        .map(|e| e.unwrap().file_name())
        .collect();
    assert!(
        left.iter().all(|name| name.to_string_lossy().starts_with("blog.db")),
        "{left:?}"
    );
}
