//! Markdown files of other programs.

use serde_json::json;

use super::{Place, png};

#[test]
fn files_of_jekyll_and_hugo() {
    let place = Place::new();
    place.write(
        "site/_posts/2020-01-02-hello.md",
        "---\ntitle: Hello, *world*\ntags: [Rust, \"two words\", a&b]\n---\n\nText #more\r\nline\n",
    );
    place.write(
        "site/content/note.md",
        "+++\ndate = \"2021-02-03T04:05:06+09:00\"\n+++\nno title\n",
    );
    place.write(
        "site/content/draft.md",
        "---\ntitle: Not yet\ndraft: true\ndate: 2021-01-01\n---\nsoon",
    );
    place.write(
        "site/content/about.md",
        "---\ntitle: About\nlayout: page\ndate: 2021-01-01\n---\nme",
    );
    place.write("site/content/plain.md", "no head at all");
    place.write("site/content/empty.md", "---\ndate: 2021-01-01\n---\n\n");
    place.write(
        "site/content/with.md",
        "---\ndate: 2021-01-01\nimages: [img/a.png, img/b.png]\nalts: [\"a cat\"]\n---\npicture",
    );
    place.write("site/img/a.png", png(4));
    place.write("site/binary.md", [0xff, 0xfe, 0x00]);
    place.write("site/.git/x.md", "hidden");
    place.write("site/style.css", "no post");
    let report = place.json(&["import", "markdown", "site"]);
    assert_eq!(
        (&report["imported"], &report["images"]),
        (&json!(6), &json!(1)),
        "{report:#}"
    );
    let rows = place.sql(
        "SELECT kind || '|' || state || '|' || coalesce(title, '-') || '|' || coalesce(slug, '-') || '|' || \
         CASE body WHEN 'no head at all' THEN 'today' ELSE coalesce(published_at, '-') END || '|' || body AS value \
         FROM posts ORDER BY body",
    );
    assert_eq!(
        rows,
        [
            "article|published|Hello, *world*|-|1577923200|Text #more\nline",
            "page|published|About|about|1609459200|me",
            "note|published|-|-|today|no head at all",
            "note|published|-|-|1612292706|no title",
            "note|published|-|-|1609459200|picture",
            "article|draft|Not yet|-|-|soon",
        ]
    );
    assert_eq!(
        place.sql("SELECT folded AS value FROM tags ORDER BY folded"),
        ["more", "rust", "two_words"]
    );
    let reasons: Vec<_> = ["left_out", "noted"]
        .iter()
        .flat_map(|list| report[list].as_array().unwrap())
        .map(|thing| thing["reason"].as_str().unwrap())
        .collect();
    assert_eq!(reasons, ["not-text", "tag", "empty", "missing-image", "no-date"]);

    let again = place.json(&["import", "markdown", "site"]);
    assert_eq!((&again["imported"], &again["already"]), (&json!(0), &json!(6)));
}

#[test]
fn what_no_feed_can_carry_stays_outside() {
    let place = Place::new();
    place.write(
        "site/a.md",
        "---\ntitle: \"one\\u000C two\"\ndate: 2021-01-01\n---\nform\u{c}feed, none\u{fffe} and\u{1b}[31m red\u{7f}\rlast",
    );
    place.json(&["import", "markdown", "site"]);
    assert_eq!(
        place.sql("SELECT title || '|' || body AS value FROM posts"),
        ["one two|formfeed, none and[31m red\nlast"]
    );
}
