//! Exports: whole, the same bytes for the same blog, and the way back.

use serde_json::json;

use super::archives::{answer, id, photo, script, tweet};
use super::{Place, execute, png};

/// A blog with one of everything.
fn filled() -> Place {
    let place = Place::new();
    let pictures = json!({"extended_entities": {"media": [photo("https://t.co/p", "A.png", Some("a \"cat\"")), photo("https://t.co/p", "B.png", None)]}});
    let posts = [
        answer(4, "an answer", 3),
        tweet(3, "two pictures https://t.co/p", pictures),
        tweet(2, "日本語 #ラズパイ #Rust", json!({})),
        tweet(1, "---\ntitle: not a head\n---\n\"quotes\" \\ & <b>", json!({})),
    ];
    place.write("archive/data/tweets.js", script("tweets", 0, &posts));
    place.write(&format!("archive/data/tweets_media/{}-A.png", id(3)), png(1));
    place.write(&format!("archive/data/tweets_media/{}-B.png", id(3)), png(2));
    place.json(&["import", "x-archive", "archive"]);
    let uuid = |n: u32| format!("0b1d9d2e-3f9a-4c39-8f6c-0d7c6a3e5f{n:02}");
    execute(
        &place.database(),
        &format!(
            "INSERT INTO posts (id, uuid, kind, state, visibility, title, slug, link, lang, body, created_at, published_at, \
                                edited_at, deleted_at, pinned_at, reply_to, thread) VALUES \
             (20, '{}', 'article', 'published', 'public', 'A title: with ''signs''', NULL, NULL, 'en', 'Text\n\n* list', 100, 200, 300, NULL, 400, NULL, NULL), \
             (21, '{}', 'page', 'published', 'unlisted', 'About', 'about', NULL, NULL, 'me', 100, 200, NULL, NULL, NULL, NULL, NULL), \
             (22, '{}', 'link', 'published', 'private', NULL, NULL, 'https://a.example/?q=\"1\"', NULL, 'look', 100, 200, NULL, NULL, NULL, 20, 20), \
             (23, '{}', 'note', 'draft', 'public', NULL, NULL, NULL, NULL, '', 100, NULL, NULL, NULL, NULL, NULL, NULL), \
             (24, '{}', 'note', 'scheduled', 'public', NULL, NULL, NULL, NULL, 'later', 100, 9999999999, NULL, NULL, NULL, NULL, NULL), \
             (30, '{}', 'note', 'published', 'public', NULL, NULL, NULL, NULL, 'thrown away', 100, 200, NULL, 500, NULL, NULL, NULL); \
             INSERT INTO revisions (post_id, title, link, body, replaced_at) VALUES \
             (20, 'An earlier title', NULL, 'Earlier', 250), (20, NULL, 'https://x.example/', 'Later', 300); \
             INSERT INTO old_ids VALUES ('blog', '7', 20); \
             INSERT INTO tags (folded, name) VALUES ('unused', 'Unused')",
            uuid(1),
            uuid(2),
            uuid(3),
            uuid(4),
            uuid(5),
            uuid(6)
        ),
    );
    place
}

/// The columns of a table, but for those that count up by themselves.
fn columns(place: &Place, table: &str) -> Vec<String> {
    place.sql(&format!("SELECT name AS value FROM pragma_table_info('{table}')"))
}

/// Every row of a table, as text.
fn rows(place: &Place, table: &str, without: &[&str]) -> Vec<String> {
    let columns: Vec<String> = columns(place, table)
        .iter()
        .filter(|name| !without.contains(&name.as_str()))
        .map(|name| format!("coalesce(quote(\"{name}\"), '')"))
        .collect();
    place.sql(&format!(
        "SELECT {} AS value FROM \"{table}\" ORDER BY 1",
        columns.join(" || '|' || ")
    ))
}

/// What an export does not have, and why.
const NOT_EXPORTED: [&str; 6] = [
    "__diesel_schema_migrations",
    "owner",
    "sessions",
    "api_tokens",
    "recovery_codes",
    "compose_keys",
];

fn tables(place: &Place) -> Vec<String> {
    place.sql(
        "SELECT name AS value FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' \
         AND name NOT LIKE 'search%' ORDER BY name",
    )
}

#[test]
fn json_lines_bring_everything_back() {
    let place = filled();
    let out = place.json(&["export", "whole.zip"]);
    assert_eq!(
        (&out["posts"], &out["images"], &out["problems"]),
        (&json!(10), &json!(2), &json!([]))
    );

    let new = Place::new();
    let path = place.path("whole.zip");
    let report = new.json(&["import", "export", path.to_str().unwrap()]);
    assert_eq!(
        (&report["imported"], &report["images"]),
        (&json!(10), &json!(2)),
        "{report:#}"
    );
    let mut compared = 0;
    for table in tables(&place) {
        if NOT_EXPORTED.contains(&table.as_str()) {
            continue;
        }
        // Numbers that nothing refers to from outside: of tags, images and revisions, and what refers to them.
        let without: &[&str] = match table.as_str() {
            "tags" | "media" | "revisions" => &["id"],
            "post_tags" => &["tag_id"],
            "post_media" => &["media_id"],
            _ => &[],
        };
        assert_eq!(rows(&new, &table, without), rows(&place, &table, without), "{table}");
        compared += 1;
    }
    assert!(compared >= 8, "{compared}");
    let joined = "SELECT post_id || folded || name AS value FROM post_tags JOIN tags ON tags.id = tag_id ORDER BY 1";
    assert_eq!(new.sql(joined), place.sql(joined));
    let joined = "SELECT post_id || position || hex(sha256) || alt AS value FROM post_media JOIN media ON media.id = media_id ORDER BY 1";
    assert_eq!(new.sql(joined), place.sql(joined));

    // And out again: the same bytes.
    let again = new.json(&["export", "again.zip"]);
    assert_eq!(again["sha256sums"], out["sha256sums"]);
    assert!(std::fs::read(new.path("again.zip")).unwrap() == std::fs::read(&path).unwrap());
    // Twice gives nothing more.
    let report = new.json(&["import", "export", path.to_str().unwrap()]);
    assert_eq!((&report["imported"], &report["already"]), (&json!(0), &json!(10)));
}

#[test]
fn into_a_blog_that_has_posts_they_are_added() {
    let place = filled();
    place.json(&["export", "whole"]);
    let other = Place::new();
    other.write(
        "a/data/tweets.js",
        script("tweets", 0, &[tweet(9, "was here first", json!({}))]),
    );
    other.json(&["import", "x-archive", "a"]);
    let name = other.sql("SELECT uuid AS value FROM site");
    let path = place.path("whole");
    let report = other.json(&["import", "export", path.to_str().unwrap()]);
    assert_eq!(report["imported"], 10);
    assert_eq!(
        other.sql("SELECT uuid AS value FROM site"),
        name,
        "it keeps its own name"
    );
    assert_eq!(
        other.sql("SELECT body AS value FROM posts WHERE id = 1"),
        ["was here first"]
    );
    let thread =
        "SELECT (SELECT body FROM posts p WHERE p.id = posts.reply_to) AS value FROM posts WHERE body = 'an answer'";
    assert_eq!(other.sql(thread), ["two pictures"]);
}

#[test]
fn markdown_and_back() {
    let place = filled();
    for to in ["export", "export.zip"] {
        let out = place.json(&["export", "--format", "markdown", to]);
        assert_eq!((&out["posts"], &out["images"]), (&json!(10), &json!(2)));
        let new = Place::new();
        let path = place.path(to);
        let report = new.json(&["import", "markdown", path.to_str().unwrap()]);
        assert_eq!(
            (&report["imported"], &report["left_out"]),
            (&json!(10), &json!([])),
            "{report:#}"
        );
        for table in ["site", "posts", "old_ids"] {
            assert_eq!(rows(&new, table, &[]), rows(&place, table, &[]), "{table}");
        }
        let joined =
            "SELECT post_id || folded || name AS value FROM post_tags JOIN tags ON tags.id = tag_id ORDER BY 1";
        assert_eq!(new.sql(joined), place.sql(joined));
        let joined = "SELECT post_id || position || hex(sha256) || alt AS value FROM post_media JOIN media ON media.id = media_id ORDER BY 1";
        assert_eq!(new.sql(joined), place.sql(joined));
    }
    let text = std::fs::read_to_string(place.path("export/posts/1970/1970-01-01-000020.md")).unwrap();
    assert!(
        text.starts_with("---\ntitle: \"A title: with 'signs'\"\ndate: 1970-01-01T00:03:20Z\n"),
        "{text}"
    );
    assert!(text.ends_with("---\n\nText\n\n* list\n"), "{text}");
    assert!(place.path("export/pages/000021.md").exists() && place.path("export/drafts/000023.md").exists());
    assert!(place.path("export/trash/000030.md").exists());
    #[allow(clippy::disallowed_methods)]
    let checked = std::process::Command::new("sha256sum")
        .args(["--check", "--strict", "--quiet", "SHA256SUMS"])
        .current_dir(place.path("export"))
        .output()
        .unwrap();
    assert!(checked.status.success(), "{checked:?}");
    let files = std::fs::read_to_string(place.path("export/SHA256SUMS"))
        .unwrap()
        .lines()
        .count();
    assert_eq!(files, 10 + 2 + 1);
}

#[test]
fn secrets_are_in_no_export() {
    let place = filled();
    execute(
        &place.database(),
        "INSERT INTO owner (id, password_hash, changed_at) VALUES (1, 'SECRET-HASH', 1)",
    );
    for format in ["jsonl", "markdown"] {
        place.json(&["export", "--format", format, format]);
        let mut stack = vec![place.path(format)];
        while let Some(path) = stack.pop() {
            if path.is_dir() {
                stack.extend(std::fs::read_dir(&path).unwrap().map(|e| e.unwrap().path()));
            } else {
                let bytes = std::fs::read(&path).unwrap();
                assert!(
                    !bytes.windows(11).any(|part| part == b"SECRET-HASH"),
                    "{}",
                    path.display()
                );
            }
        }
    }
}

#[test]
fn bad_input_and_damage_are_named() {
    let place = filled();
    place.write("there/file", "x");
    for (words, says) in [
        (&["export"][..], "PATH"),
        (&["export", "there"], "there already"),
        (&["export", "--format", "pdf", "x"], "pdf"),
        (&["export", "none/below"], "none/below"),
        (&["import", "export", "archive"], "blog.jsonl"),
        (&["import", "markdown", "safe"], "safe"),
    ] {
        let said = place.blog(words);
        assert_eq!(said.code, 2, "{words:?}: {said:?}");
        assert!(
            said.err.contains(says) && said.err.contains("\nhint: "),
            "{words:?}: {said:?}"
        );
    }
    assert_eq!(std::fs::read_to_string(place.path("there/file")).unwrap(), "x");

    place.json(&["export", "whole"]);
    let lines = std::fs::read_to_string(place.path("whole/blog.jsonl")).unwrap();
    let count = lines.lines().count();
    for (text, says) in [
        (
            lines.replace("\"format\":1", "\"format\":2"),
            "line 1: was written by a newer blog",
        ),
        (lines.replace("\"kind\":\"page\"", "\"kind\":\"poem\""), "is no post"),
        (lines[..lines.len() - 20].to_owned(), &*format!("line {count}: ")),
        (String::new(), "is empty"),
    ] {
        let new = Place::new();
        new.write("whole/blog.jsonl", text);
        let said = new.blog(&["import", "export", "whole"]);
        assert_eq!(said.code, 2, "{said:?}");
        assert!(said.err.contains(says) && said.err.contains("\nhint: "), "{said:?}");
        assert_eq!(new.sql("SELECT count(*) || '' AS value FROM posts"), ["0"]);
    }
    // A missing image is told and the rest is exported.
    let image = std::fs::read_dir(place.path("blog.db.media"))
        .unwrap()
        .next()
        .unwrap()
        .unwrap()
        .path();
    std::fs::remove_file(image).unwrap();
    let said = place.blog(&["export", "rest", "--json"]);
    assert_eq!(said.code, 1, "{said:?}");
    assert!(said.out.contains("cannot be read"), "{said:?}");
}
