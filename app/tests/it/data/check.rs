//! `blog check` and `blog doctor`: what is sound is called so, and each fault is found.

use std::os::unix::fs::PermissionsExt;

use serde_json::{Value, json};

use super::archives::{id, photo, script, tweet};
use super::{Place, execute, png};

fn filled() -> Place {
    let place = Place::new();
    let picture = json!({"extended_entities": {"media": [photo("https://t.co/p", "A.png", Some("a cat"))]}});
    let posts = [tweet(2, "two https://t.co/p", picture), tweet(1, "one", json!({}))];
    place.write("archive/data/tweets.js", script("tweets", 0, &posts));
    place.write(&format!("archive/data/tweets_media/{}-A.png", id(2)), png(7));
    place.json(&["import", "x-archive", "archive"]);
    place
}

/// Exit code, and the findings that are not "ok" as `level subject: text`.
fn problems(place: &Place, words: &[&str]) -> (i32, Vec<String>) {
    let said = place.blog(&[words, &["--json"]].concat());
    let report: Value = serde_json::from_str(&said.out).unwrap_or_else(|_| panic!("{said:?}"));
    let text = |finding: &Value, key: &str| finding[key].as_str().unwrap().to_owned();
    let findings = report["findings"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|finding| finding["level"] != "ok");
    let lines = findings.map(|f| format!("{} {}: {}", text(f, "level"), text(f, "subject"), text(f, "text")));
    (said.code, lines.collect())
}

fn only(place: &Place, words: &[&str], code: i32, says: &str) {
    let (found, lines) = problems(place, words);
    assert_eq!(found, code, "{lines:?}");
    assert!(lines.len() == 1 && lines[0].contains(says), "{says}: {lines:?}");
}

#[test]
fn a_sound_blog_is_called_sound() {
    let place = filled();
    let said = place.blog(&["check"]);
    assert_eq!(said.code, 0, "{said:?}");
    assert_eq!(
        said.out.lines().count(),
        said.out.matches("ok    ").count(),
        "{}",
        said.out
    );
    for subject in ["database", "references", "schema", "images      1 are"] {
        assert!(said.out.contains(subject), "{}", said.out);
    }
}

#[test]
fn damage_is_found() {
    let place = filled();
    execute(
        &place.database(),
        "PRAGMA foreign_keys = OFF; INSERT INTO post_tags VALUES (1, 99)",
    );
    only(
        &place,
        &["check"],
        1,
        "fail references: post_tags refers to 1 rows of tags",
    );

    let place = filled();
    execute(
        &place.database(),
        "DROP INDEX posts_thread; CREATE TABLE cats (name TEXT)",
    );
    let (code, lines) = problems(&place, &["check"]);
    assert_eq!(code, 1);
    assert!(
        lines[0].contains("index posts_thread") && lines[0].contains("table cats (not of this program)"),
        "{lines:?}"
    );

    let place = filled();
    execute(&place.database(), "PRAGMA user_version = 99");
    only(&place, &["check"], 1, "user_version is 99");

    let place = filled();
    execute(&place.database(), "PRAGMA application_id = 7");
    let (code, lines) = problems(&place, &["check"]);
    assert_eq!(code, 1);
    assert!(lines[0].contains("some other program"), "{lines:?}");

    let place = filled();
    execute(
        &place.database(),
        "INSERT INTO __diesel_schema_migrations (version) VALUES ('9999')",
    );
    only(&place, &["check"], 1, "newer blog (it has migration 9999)");

    // A page of the file is overwritten.
    let place = filled();
    execute(&place.database(), "PRAGMA wal_checkpoint(TRUNCATE)");
    let mut bytes = std::fs::read(place.database()).unwrap();
    let end = bytes.len();
    bytes[end - 4096..].fill(0x55);
    std::fs::write(place.database(), bytes).unwrap();
    let (code, lines) = problems(&place, &["check"]);
    assert_eq!(code, 1, "{lines:?}");
    assert!(
        lines.iter().any(|line| line.starts_with("fail database: ")),
        "{lines:?}"
    );
}

#[test]
fn images_are_compared_with_their_names() {
    let place = filled();
    let media = place.path("blog.db.media");
    let image = std::fs::read_dir(&media).unwrap().next().unwrap().unwrap().path();
    let good = std::fs::read(&image).unwrap();
    std::fs::write(&image, "rotten").unwrap();
    only(&place, &["check"], 1, "is damaged");
    std::fs::remove_file(&image).unwrap();
    only(&place, &["check"], 1, "cannot be read");
    std::fs::write(&image, good).unwrap();

    // What an upload that was killed left, and what somebody put there.
    let orphan = media.join(format!("{}.png", "ab".repeat(32)));
    std::fs::write(&orphan, "x").unwrap();
    std::fs::write(media.join("holiday.txt"), "mine").unwrap();
    let (code, lines) = problems(&place, &["check"]);
    assert_eq!((code, lines.len()), (0, 2), "{lines:?}");
    assert!(
        lines[0].contains("belongs to no post") && lines[1].contains("holiday.txt is none"),
        "{lines:?}"
    );
    only(&place, &["check", "--repair"], 0, "holiday.txt is none");
    assert!(!orphan.exists() && media.join("holiday.txt").exists() && image.exists());
}

#[test]
fn check_needs_a_database() {
    let place = Place::new();
    let said = place.blog(&["check"]);
    assert_eq!(said.code, 2);
    assert!(
        said.err.contains("there is no database") && said.err.contains("\nhint: "),
        "{said:?}"
    );
    assert!(!place.database().exists());
}

#[test]
fn the_doctor_sees_the_place_and_changes_nothing() {
    let place = filled();
    let before: Vec<_> = std::fs::read_dir(place.directory.path())
        .unwrap()
        .map(|e| e.unwrap().file_name())
        .collect();
    let said = place.blog(&["doctor", "--base-url", "http://abc.onion"]);
    assert_eq!(said.code, 0, "{said:?}");
    for line in [
        "ok    settings",
        "ok    database",
        "ok    disk",
        "ok    clock",
        "ok    network",
        "warn  backup",
        "warn  owner",
    ] {
        assert!(said.out.contains(line), "{line}: {}", said.out);
    }
    let after: Vec<_> = std::fs::read_dir(place.directory.path())
        .unwrap()
        .map(|e| e.unwrap().file_name())
        .collect();
    assert_eq!(before.len(), after.len());

    let has = |words: &[&str], code: i32, says: &str| {
        let (found, lines) = problems(&place, &[&["doctor"], words].concat());
        assert_eq!(found, code, "{lines:?}");
        assert!(lines.iter().any(|line| line.contains(says)), "{says}: {lines:?}");
    };
    has(&[], 0, "warn network: the blog does not know its own address");
    has(&["--insecure-cookie"], 0, "plain http");
    std::fs::set_permissions(place.database(), std::fs::Permissions::from_mode(0o644)).unwrap();
    has(&[], 0, "mode 644");
    execute(
        &place.database(),
        "UPDATE posts SET published_at = 4000000000 WHERE id = 1",
    );
    has(&[], 0, "warn clock: ");
    has(&["--backup-dir", "safe"], 0, "there is none in safe yet");
    place.json(&["backup", "--to", "safe"]);
    has(&["--backup-dir", "safe"], 0, "the same disk");
    // A backup of last year.
    let names: Vec<_> = std::fs::read_dir(place.path("safe"))
        .unwrap()
        .map(|e| e.unwrap().path())
        .collect();
    for path in names.iter().filter(|path| path.is_file()) {
        let extension = path.extension().unwrap().to_str().unwrap();
        std::fs::rename(
            path,
            place.path(&format!("safe/blog-000001-20250101T000000Z.{extension}")),
        )
        .unwrap();
    }
    has(&["--backup-dir", "safe"], 1, "it should be newer");
    execute(&place.database(), "DROP TABLE posts");
    has(&[], 1, "fail database");
}
