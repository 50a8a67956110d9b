//! Backups: made while the blog runs, proven, rotated, restored; and damaged ones that are noticed.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::json;

use super::archives::{id, photo, script, tweet};
use super::{Place, execute, png, sql};
use crate::app::{PASSWORD, TestApp, program, write};

/// A blog with three posts and a picture.
fn filled() -> Place {
    let place = Place::new();
    let picture = json!({"extended_entities": {"media": [photo("https://t.co/p", "A.png", Some("a cat"))]}});
    let posts = [
        tweet(3, "three", json!({})),
        tweet(2, "two https://t.co/p", picture),
        tweet(1, "one", json!({})),
    ];
    place.write("archive/data/tweets.js", script("tweets", 0, &posts));
    place.write(&format!("archive/data/tweets_media/{}-A.png", id(2)), png(7));
    place.json(&["import", "x-archive", "archive"]);
    place
}

fn names(directory: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(directory).unwrap();
    let mut names: Vec<String> = entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn bodies(database: &Path) -> Vec<String> {
    sql(database, "SELECT body AS value FROM posts ORDER BY id")
}

#[test]
fn there_and_back() {
    let place = filled();
    let made = place.json(&["backup", "--to", "safe"]);
    assert_eq!(
        (&made["posts"], &made["images"], &made["problems"]),
        (&json!(3), &json!(1), &json!([]))
    );
    let path = PathBuf::from(made["path"].as_str().unwrap());
    let path = place.directory.path().join(path);
    assert_eq!(bodies(&path), ["one", "two", "three"]);
    // Other programs can check it.
    let sums = path.with_extension("sha256");
    #[allow(clippy::disallowed_methods)]
    let checked = std::process::Command::new("sha256sum")
        .args(["--check", "--strict", "--quiet"])
        .arg(&sums)
        .current_dir(place.path("safe"))
        .output()
        .unwrap();
    assert!(checked.status.success(), "{checked:?}");
    assert_eq!(std::fs::read_to_string(&sums).unwrap().lines().count(), 2);

    // Everything is lost; a new card, an empty directory.
    let new = Place::new();
    let from = place.path("safe");
    let done = new.json(&["restore", from.to_str().unwrap()]);
    assert_eq!(
        (&done["posts"], &done["images"], done.get("aside")),
        (&json!(3), &json!(1), None)
    );
    assert_eq!(bodies(&new.database()), ["one", "two", "three"]);
    assert_eq!(names(&new.path("blog.db.media")), names(&place.path("blog.db.media")));

    // A change that is regretted.
    execute(&place.database(), "UPDATE posts SET body = 'regretted'");
    let done = place.json(&["restore", path.to_str().unwrap()]);
    let aside = PathBuf::from(done["aside"].as_str().unwrap());
    assert_eq!(bodies(&place.database()), ["one", "two", "three"]);
    assert_eq!(bodies(&aside), ["regretted", "regretted", "regretted"]);
    let app = TestApp::start_in(place.directory, &[], None);
    assert!(app.reader().get("/").body.contains("three"));
}

#[test]
fn what_was_not_yet_in_the_file_is_set_aside_too() {
    let place = filled();
    place.json(&["backup", "--to", "safe"]);
    // A process that was killed leaves its last posts in the write-ahead log.
    let directory = place.directory;
    let mut app = TestApp::start_in(directory, &[], Some(PASSWORD));
    write(&mut app.owner(), "in the log");
    app.child.kill().unwrap();
    app.child.wait().unwrap();
    let place = Place {
        directory: std::mem::replace(&mut app.directory, tempfile::tempdir().unwrap()),
    };
    assert!(place.path("blog.db-wal").metadata().unwrap().len() > 0);
    let done = place.json(&["restore", "safe"]);
    assert!(
        bodies(Path::new(&place.path("blog.db")))
            .iter()
            .all(|body| body != "in the log")
    );
    let aside = place.path(
        Path::new(done["aside"].as_str().unwrap())
            .file_name()
            .unwrap()
            .to_str()
            .unwrap(),
    );
    assert!(bodies(&aside).contains(&"in the log".to_owned()));
}

#[test]
fn the_newest_are_kept() {
    let place = filled();
    for round in 1..=4 {
        execute(
            &place.database(),
            &format!("UPDATE posts SET body = 'round {round}' WHERE id = 1"),
        );
        place.json(&["backup", "--to", "safe", "--keep", "2"]);
    }
    let files = names(&place.path("safe"));
    assert_eq!(files.len(), 5, "{files:?}");
    assert!(
        files[0].starts_with("blog-000003-") && files[2].starts_with("blog-000004-"),
        "{files:?}"
    );
    // The image went from the blog and stays in the backups; then the last backup that has it goes.
    execute(
        &place.database(),
        "PRAGMA foreign_keys = ON; DELETE FROM post_media; DELETE FROM media",
    );
    place.json(&["backup", "--to", "safe", "--keep", "2"]);
    assert_eq!(names(&place.path("safe/media")).len(), 1);
    place.json(&["backup", "--to", "safe", "--keep", "2"]);
    assert_eq!(names(&place.path("safe/media")).len(), 0);
    // What was killed is swept away, what is not ours is left.
    std::fs::write(place.path("safe/blog-000099-20260101T000000Z.db"), "half").unwrap();
    std::fs::write(place.path("safe/notes.txt"), "mine").unwrap();
    place.json(&["backup", "--to", "safe", "--keep", "2"]);
    let files = names(&place.path("safe"));
    assert!(
        files.contains(&"notes.txt".to_owned()) && !files.iter().any(|name| name.contains("000099")),
        "{files:?}"
    );
}

/// Ends a writer also when an assertion fails: the scope waits for it.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// What `backup` did not take while somebody wrote: "the copy has 16 rows in ..., the database 6 to 15" (2026-11-26).
#[test]
fn rows_that_come_and_go_meanwhile_are_no_damage() {
    use diesel::connection::SimpleConnection;
    use diesel::prelude::*;
    let place = filled();
    let mut other = diesel::SqliteConnection::establish(place.database().to_str().unwrap()).unwrap();
    other.batch_execute("PRAGMA busy_timeout = 60000").unwrap();
    let stop = AtomicBool::new(false);
    let rounds = std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let mut rounds = 0;
            while !stop.load(Ordering::Relaxed) {
                // Another number of rows each time, up and down.
                let rows = 1 + rounds * 37 % 61;
                other
                    .batch_execute(&format!(
                        "BEGIN IMMEDIATE; DELETE FROM sessions; \
                         WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < {rows}) \
                         INSERT INTO sessions (token_hash, created_at, seen_at, expires_at) \
                         SELECT randomblob(32), 1, 1, 1 FROM n; COMMIT"
                    ))
                    .unwrap();
                std::thread::sleep(Duration::from_millis(1));
                rounds += 1;
            }
            rounds
        });
        let ended = Stop(&stop);
        for _ in 0..10 {
            place.json(&["backup", "--to", "safe", "--keep", "99"]);
        }
        drop(ended);
        writer.join().unwrap()
    });
    assert!(rounds > 10, "{rounds}");
    let made = names(&place.path("safe"));
    assert_eq!(made.len(), 21, "ten backups, nothing of what was thrown away: {made:?}");
}

#[test]
fn a_running_blog_is_copied_and_not_replaced() {
    let place = filled();
    let app = TestApp::start_in(place.directory, &[], Some(PASSWORD));
    let place = |words: &[&str]| {
        program()
            .args(words)
            .arg("--database")
            .arg(app.database())
            .current_dir(app.directory.path())
            .output()
            .unwrap()
    };
    let stop = AtomicBool::new(false);
    let (tell, begun) = std::sync::mpsc::channel();
    let written = std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let mut owner = app.owner();
            let mut count = 0;
            while !stop.load(Ordering::Relaxed) {
                write(&mut owner, &format!("under load {count}"));
                count += 1;
                let _ = tell.send(());
            }
            count
        });
        let ended = Stop(&stop);
        begun.recv_timeout(Duration::from_secs(120)).unwrap();
        for _ in 0..3 {
            let output = place(&["backup", "--to", "safe", "--json"]);
            assert!(output.status.success(), "{output:?}");
        }
        drop(ended);
        writer.join().unwrap()
    });
    assert!(written > 0);
    let safe = app.directory.path().join("safe");
    let made: Vec<_> = names(&safe).into_iter().filter(|name| name.ends_with(".db")).collect();
    assert_eq!(made.len(), 3);
    let posts = |name: &String| bodies(&safe.join(name)).len();
    assert!(posts(&made[0]) <= posts(&made[2]) && posts(&made[2]) <= written + 3);

    let refused = place(&["restore", "safe"]);
    assert_eq!(refused.status.code(), Some(2));
    let said = String::from_utf8(refused.stderr).unwrap();
    assert!(
        said.contains("is in use") && said.contains("\nhint: stop the blog"),
        "{said}"
    );
    assert!(app.reader().get("/").status == 200);
}

#[test]
fn a_damaged_backup_is_noticed_and_changes_nothing() {
    let place = filled();
    let made = place.json(&["backup", "--to", "safe"]);
    let path = place.path(made["path"].as_str().unwrap());
    let good = std::fs::read(&path).unwrap();
    let before = bodies(&place.database());
    for at in [100, good.len() / 2, good.len() - 10] {
        let mut bad = good.clone();
        bad[at] ^= 0xff;
        std::fs::write(&path, bad).unwrap();
        let said = place.blog(&["restore", "safe"]);
        assert_eq!(said.code, 2, "{said:?}");
        assert!(
            said.err.contains("is damaged") && said.err.contains("\nhint: "),
            "{said:?}"
        );
    }
    // Without its list of hashes the file itself must be sound.
    let mut torn = good.clone();
    torn[4096..8192].fill(0xee);
    std::fs::write(place.path("torn.db"), torn).unwrap();
    let said = place.blog(&["restore", "torn.db"]);
    assert_eq!(said.code, 2, "{said:?}");
    assert!(said.err.contains("cannot be restored"), "{said:?}");
    std::fs::write(
        place.path("other.db"),
        "not a database, only some text that is long enough",
    )
    .unwrap();
    for (path, says) in [
        ("other.db", "cannot be restored"),
        ("none", "there is no backup"),
        ("archive", "no backup in it"),
    ] {
        let said = place.blog(&["restore", path]);
        assert_eq!(said.code, 2, "{said:?}");
        assert!(said.err.contains(says) && said.err.contains("\nhint: "), "{said:?}");
    }
    assert_eq!(bodies(&place.database()), before);
    assert!(
        names(place.directory.path())
            .iter()
            .all(|name| !name.contains("before-restore") && !name.contains("proof"))
    );

    // A picture that rotted in the blog is told; one that rotted in the backup is made good.
    std::fs::write(&path, &good).unwrap();
    let image = names(&place.path("safe/media")).remove(0);
    let (kept, live) = (
        place.path("safe/media").join(&image),
        place.path("blog.db.media").join(&image),
    );
    let bytes = std::fs::read(&live).unwrap();
    std::fs::remove_file(&kept).unwrap();
    std::fs::write(&kept, "rotten").unwrap();
    place.json(&["backup", "--to", "safe"]);
    assert_eq!(std::fs::read(&kept).unwrap(), bytes);
    std::fs::remove_file(&kept).unwrap();
    std::fs::remove_file(&live).unwrap();
    std::fs::write(&live, "rotten").unwrap();
    let said = place.blog(&["backup", "--to", "safe", "--json"]);
    assert_eq!(said.code, 1, "{said:?}");
    assert!(said.out.contains("is damaged"), "{said:?}");
}

#[test]
fn a_full_disk_leaves_nothing_behind() {
    let place = filled();
    execute(
        &place.database(),
        "INSERT INTO posts (uuid, body, created_at, published_at) \
         VALUES ('0b1d9d2e-3f9a-4c39-8f6c-0d7c6a3e5f10', hex(zeroblob(400000)), 1, 1)",
    );
    // No file may have more than 200 KiB: what a full disk does, for this process alone.
    let program = env!("CARGO_BIN_EXE_blog");
    #[allow(clippy::disallowed_methods)]
    let output = std::process::Command::new("sh")
        .args(["-c", "trap '' XFSZ; ulimit -f 400; exec \"$0\" \"$@\"", program])
        .args(["backup", "--to", "safe", "--database", "blog.db"])
        .current_dir(place.directory.path())
        .output()
        .unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("safe") && said.contains("\nhint: "), "{said}");
    assert_eq!(names(&place.path("safe")), ["media"]);
    place.json(&["backup", "--to", "safe"]);
}

#[test]
fn the_running_blog_makes_backups_by_itself() {
    let place = filled();
    let safe = place.path("safe");
    let plan = blog::backup::Plan {
        database: place.database(),
        media: blog::media::Store::beside(place.database().to_str().unwrap()),
        to: safe.clone(),
        keep: 2,
    };
    let every = Duration::from_secs(3600);
    let made = || names(&safe).iter().filter(|name| name.ends_with(".sha256")).count();
    assert_eq!(blog::backup::timer::first(&plan, every), Duration::from_secs(60));
    for count in [1, 2, 2] {
        assert_eq!(blog::backup::timer::tick(&plan, every), every);
        assert_eq!(made(), count, "the oldest go");
    }
    assert!(blog::backup::timer::first(&plan, every) > Duration::from_secs(3500));

    let directory = safe.to_str().unwrap();
    let app = TestApp::start_in(place.directory, &["--backup-dir", directory], Some(PASSWORD));
    app.log_with("backups are planned");
    let mut owner = app.owner();
    let figures = owner.get("/admin/metrics").body;
    let seconds = figures.split("\nblog_last_backup_timestamp_seconds ").nth(1).unwrap();
    let seconds: i64 = seconds.lines().next().unwrap().parse().unwrap();
    let age = blog::domain::Stamp::now().0 - seconds;
    assert!((0..600).contains(&age), "{age}");
    assert!(
        owner
            .get("/admin/status")
            .body
            .contains(&blog::domain::Stamp(seconds).human())
    );
    let without = TestApp::start();
    let mut owner = without.owner();
    assert!(!owner.get("/admin/metrics").body.contains("blog_last_backup"));
    assert!(owner.get("/admin/status").body.contains("the blog makes none"));
}

#[test]
fn bad_input_is_named() {
    let place = Place::new();
    for (words, says) in [
        (&["backup"][..], "--to"),
        (&["backup", "--to", "safe"], "there is no database"),
        (&["backup", "--to", "safe", "--keep", "0"], "--keep"),
        (&["restore"], "PATH"),
        (&["backup", "--backup-every", "soon"], "soon"),
    ] {
        let said = place.blog(words);
        assert_eq!(said.code, 2, "{words:?}: {said:?}");
        assert!(said.err.contains(says), "{words:?}: {said:?}");
    }
    assert!(!place.database().exists() && !place.path("safe").exists());
}
