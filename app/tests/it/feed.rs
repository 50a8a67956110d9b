//! The Atom feed.

use crate::app::{TestApp, write};
use crate::xml;

fn texts(xml: &str, wanted: &str) -> Vec<String> {
    let elements = xml::elements(xml).into_iter();
    elements
        .filter(|(name, _)| name == wanted)
        .map(|(_, text)| text)
        .collect()
}

#[test]
fn it_is_valid_with_and_without_posts() {
    let app = TestApp::start_with(&["--title", "A & B <C>"]);
    let empty = app.reader().get("/feed.atom");
    assert_eq!(empty.status, 200);
    assert_eq!(
        empty.header("content-type"),
        Some("application/atom+xml; charset=utf-8")
    );
    assert_eq!(texts(&empty.body, "title"), ["A & B <C>"]);
    assert_eq!(texts(&empty.body, "name"), ["A & B <C>"]);
    assert_eq!(texts(&empty.body, "updated").len(), 1);
    let blog_id = texts(&empty.body, "id").pop().unwrap();
    assert!(blog_id.starts_with("urn:uuid:") && blog_id.len() == 45);

    let mut owner = app.owner();
    write(&mut owner, "first <one>\n\nmore & more");
    write(&mut owner, "second");
    let feed = app.reader().get("/feed.atom").body;
    assert_eq!(texts(&feed, "entry").len(), 2);
    assert_eq!(texts(&feed, "title"), ["A & B <C>", "second", "first <one>"]);
    let ids = texts(&feed, "id");
    assert_eq!(ids[0], blog_id, "the id of the blog never changes");
    assert!(ids.iter().all(|id| id.starts_with("urn:uuid:")));
    assert_eq!(ids.iter().collect::<std::collections::HashSet<_>>().len(), 3);
    assert_eq!(texts(&feed, "updated").len(), 3);
    for time in texts(&feed, "updated").iter().chain(&texts(&feed, "published")) {
        assert!(
            time.len() == 20 && time.ends_with('Z') && time.as_bytes()[10] == b'T',
            "{time}"
        );
    }
    assert_eq!(
        texts(&feed, "content")[1],
        "<p dir=\"auto\">first &lt;one&gt;</p>\n<p dir=\"auto\">more &amp; more</p>"
    );
    assert!(
        feed.contains("href=\"/posts/2\""),
        "without a base address links are relative"
    );
}

#[test]
fn unchanged_means_304() {
    let app = TestApp::start();
    let mut owner = app.owner();
    write(&mut owner, "first");
    let mut reader = app.reader();
    let tag = reader.get("/feed.atom").header("etag").unwrap().to_owned();
    let ask = |tag: &str| app.reader().send("GET", "/feed.atom", &[("If-None-Match", tag)], "");

    for sent in [tag.clone(), format!("W/{tag}"), format!("\"x\", {tag}"), "*".to_owned()] {
        let response = ask(&sent);
        assert_eq!(response.status, 304, "{sent}");
        assert!(response.body.is_empty());
        assert_eq!(response.header("etag"), Some(tag.as_str()));
    }
    assert_eq!(ask("\"x\"").status, 200);
    let csrf = owner.get("/posts/1/edit").field("csrf");
    owner.post("/posts/1/edit", &[("csrf", &csrf), ("body", "changed")]);
    assert_eq!(ask(&tag).status, 200, "an edit is a change");
}

#[test]
fn links_come_from_the_settings_never_from_the_request() {
    let app = TestApp::start_with(&["--base-url", "http://example.onion/"]);
    write(&mut app.owner(), "text");
    let ask = "GET /feed.atom HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n";
    let feed = crate::http::raw(&app.address, ask.as_bytes()).body;
    assert!(feed.contains("href=\"http://example.onion/posts/1\""));
    assert!(feed.contains("rel=\"self\" type=\"application/atom+xml\" href=\"http://example.onion/feed.atom\""));
    assert!(!feed.contains("evil"));
}
