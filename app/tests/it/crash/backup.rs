//! `blog backup`, while an older backup has to go for it, and into a new place; and `blog restore`.

use std::path::{Path, PathBuf};

use blog::backup::{self, Plan, list, restore};
use blog::domain::Stamp;
use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel::sqlite::SqliteConnection;
use serde_json::json;
use tempfile::TempDir;

use super::{Disk, Fault, Found, at, choose, copy, try_all};
use crate::app::program;
use crate::data::archives::{id, photo, script, tweet};
use crate::data::png;

const BODIES: &str = "SELECT body AS value FROM posts ORDER BY id";
const OLD: &str = "one|two";
const NEW: &str = "one, edited|two|three";

/// A blog whose last change is in its log only, and a place with a backup from before that change.
struct Template(TempDir);

impl Template {
    fn new() -> Self {
        let work = tempfile::tempdir().unwrap();
        let place = work.path().join("made");
        let import = |name: &str, posts: &[serde_json::Value], image: u64| {
            let data = work.path().join(name).join("data");
            std::fs::create_dir_all(data.join("tweets_media")).unwrap();
            std::fs::write(data.join("tweets.js"), script("tweets", 0, posts)).unwrap();
            let picture = png(image as u8);
            std::fs::write(data.join(format!("tweets_media/{}-P.png", id(image))), picture).unwrap();
            let path = work.path().join(name);
            let words = ["import", "x-archive", path.to_str().unwrap()];
            let output = program().args(words).current_dir(&place).output().unwrap();
            assert!(output.status.success(), "{output:?}");
        };
        let picture = json!({"extended_entities": {"media": [photo("https://t.co/p", "P.png", Some("seen"))]}});
        std::fs::create_dir(&place).unwrap();
        let two = tweet(2, "two https://t.co/p", picture.clone());
        import("first", &[two, tweet(1, "one", json!({}))], 2);
        let plan = plan(&place);
        backup::run(&plan, Stamp(1_700_000_000)).unwrap();
        import("second", &[tweet(3, "three https://t.co/p", picture)], 3);
        let mut open = SqliteConnection::establish(plan.database.to_str().unwrap()).unwrap();
        open.batch_execute("UPDATE posts SET body = 'one, edited' WHERE body = 'one'")
            .unwrap();
        copy(&place, &work.path().join("blog"));
        drop(open);
        let log = work.path().join("blog/blog.db-wal").metadata().unwrap();
        assert!(log.len() > 0);
        let _ = std::fs::remove_file(work.path().join("blog/blog.db-shm"));
        Self(work)
    }

    /// A copy to break.
    fn copy(&self) -> (TempDir, PathBuf) {
        let work = tempfile::tempdir().unwrap();
        let place = work.path().join("blog");
        copy(&self.0.path().join("blog"), &place);
        (work, place)
    }
}

fn plan(place: &Path) -> Plan {
    Plan {
        database: place.join("blog.db"),
        media: place.join("blog.db.media"),
        to: place.join("safe"),
        keep: 1,
    }
}

/// The posts of a database.
fn bodies(database: &Path) -> String {
    Found::open(database).text(BODIES)
}

/// Restores the newest backup into a directory of its own: the posts that come back, with their images.
fn restored(safe: &Path) -> String {
    let new = tempfile::tempdir().unwrap();
    let database = new.path().join("blog.db");
    let done = restore(safe, &database, &new.path().join("blog.db.media"), Stamp::now());
    let done = done.unwrap_or_else(|failure| panic!("{failure:?}"));
    assert_eq!(done.problems, [""; 0]);
    let mut found = Found::open(&database);
    found.has_its_images();
    found.text(BODIES)
}

/// What no backup has after the next one was made.
fn nothing_by_half(safe: &Path) {
    let entries = std::fs::read_dir(safe).unwrap();
    let mut names: Vec<_> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert!(
        names.len() == 3 && names[0].ends_with(".db") && names[1].ends_with(".sha256") && names[2] == "media",
        "{names:?}"
    );
}

fn a_backup(template: &Template, to: &str, disk: Disk, step: u64) -> (bool, Vec<u8>) {
    let (work, place) = template.copy();
    let fault = Fault::new(&place, work.path(), disk, step).unwrap();
    let (died, output) = fault.run(&["backup", "--to", to, "--keep", "1", "--json"]);
    let done = output.stdout.ends_with(b"}\n");
    let plan = Plan {
        to: place.join(to),
        ..plan(&place)
    };
    at(disk, step, &format!("after the backup, reported: {done}"), || {
        assert_eq!(bodies(&plan.database), NEW);
        Found::open(&plan.database).has_its_images();
        // What counts as a backup is one.
        let listed = list(&plan.to).unwrap();
        for one in &listed {
            for (hash, name) in one.files().unwrap() {
                assert_eq!(backup::hash(&plan.to.join(&name)).unwrap(), hash, "{name}");
            }
        }
        match listed.len() {
            0 => assert!(to != "safe" && !done, "no backup is left"),
            _ => {
                let posts = restored(&plan.to);
                assert!(posts == NEW || posts == OLD && !done, "{posts}");
            }
        }
    });
    at(disk, step, "the next backup", || {
        let made = backup::run(&plan, Stamp::now()).unwrap();
        assert_eq!(made.problems, [""; 0]);
        assert_eq!(restored(&plan.to), NEW);
        nothing_by_half(&plan.to);
    });
    (died, fault.letters())
}

fn a_restore(template: &Template, disk: Disk, step: u64) -> (bool, Vec<u8>) {
    let (work, place) = template.copy();
    let fault = Fault::new(&place, work.path(), disk, step).unwrap();
    let (died, output) = fault.run(&["restore", "safe", "--json"]);
    let done = output.stdout.ends_with(b"}\n");
    let plan = plan(&place);
    at(disk, step, &format!("after the restore, reported: {done}"), || {
        // The one or the other, and what was there is there, perhaps under another name.
        let posts = bodies(&plan.database);
        assert!(posts == OLD || posts == NEW && !done, "{posts}");
        let aside = std::fs::read_dir(&place).unwrap().map(|entry| entry.unwrap().path());
        let is_database = |path: &PathBuf| {
            let name = path.to_string_lossy();
            name.contains("before-restore") && !name.ends_with("-wal") && !name.ends_with("-shm")
        };
        let kept = aside.filter(is_database).any(|path| bodies(&path) == NEW);
        assert!(kept || posts == NEW, "what was there is lost");
        Found::open(&plan.database).has_its_images();
    });
    at(disk, step, "restored again", || {
        restore(&plan.to, &plan.database, &plan.media, Stamp::now()).unwrap();
        assert_eq!(bodies(&plan.database), OLD);
        assert_eq!(restored(&plan.to), OLD);
    });
    (died, fault.letters())
}

fn dies(stride: usize, least: u64, point: impl Fn(&Template, Disk, u64) -> (bool, Vec<u8>) + Sync) {
    if super::library().is_none() {
        return;
    }
    let template = Template::new();
    // Step 0 never comes: a run that nothing happens to.
    let (died, letters) = point(&template, Disk::Keeps, 0);
    assert!(!died);
    let points = choose(&letters, stride);
    let died = try_all(&points, |disk, step| point(&template, disk, step).0);
    assert!(
        died >= least && died == points.len() as u64,
        "{died} of {}",
        points.len()
    );
}

#[test]
fn a_backup_dies_at_every_write_step() {
    dies(2, 200, |template, disk, step| a_backup(template, "safe", disk, step));
}

#[test]
fn the_first_backup_dies_at_every_write_step() {
    dies(4, 100, |template, disk, step| {
        a_backup(template, "new/place", disk, step)
    });
}

#[test]
fn a_restore_dies_at_every_write_step() {
    dies(2, 100, a_restore);
}
