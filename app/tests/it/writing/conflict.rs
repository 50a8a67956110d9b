//! The same form twice, and two forms for one post: nothing is posted twice, nothing is overwritten unseen.

use super::{compose, edit, input, text};
use crate::app::TestApp;

#[test]
fn two_tabs_do_not_overwrite_each_other() {
    let app = TestApp::start();
    let mut owner = app.owner();
    compose(&mut owner, &[("body", "original")]).location();
    let first = owner.get("/admin/posts/1/edit");
    let second = owner.get("/admin/posts/1/edit");
    let send = |owner: &mut crate::http::Browser, page: &crate::http::Response, body: &str| {
        let (csrf, version, date) = (page.field("csrf"), page.field("version"), input(page, "date"));
        let fields = [
            ("csrf", csrf.as_str()),
            ("version", version.as_str()),
            ("date", date.as_str()),
            ("body", body),
        ];
        owner.post("/admin/posts/1/edit", &fields)
    };
    assert_eq!(send(&mut owner, &first, "from the first tab").location(), "/posts/1");
    assert_eq!(
        send(&mut owner, &first, "from the first tab").location(),
        "/posts/1",
        "sent twice"
    );
    assert_eq!(app.rows("SELECT count(*) AS value FROM revisions"), "1");

    let conflict = send(&mut owner, &second, "from the second tab");
    assert_eq!(conflict.status, 409);
    assert_eq!(text(&conflict), "from the second tab");
    assert!(conflict.body.contains(">from the first tab</pre>"), "{}", conflict.body);
    assert!(
        app.reader().get("/posts/1").body.contains("from the first tab"),
        "nothing was overwritten"
    );

    // Having seen it, the owner may decide for the second.
    assert_eq!(
        send(&mut owner, &conflict, "from the second tab").location(),
        "/posts/1"
    );
    assert!(app.reader().get("/posts/1").body.contains("from the second tab"));
    assert_eq!(app.rows("SELECT count(*) AS value FROM revisions"), "2");
}

#[test]
fn a_form_with_other_fields_shows_what_is_there() {
    let app = TestApp::start();
    let mut owner = app.owner();
    let form = owner.get("/admin/new");
    let (csrf, key) = (form.field("csrf"), form.field("key"));
    let own = [("csrf", csrf.as_str()), ("key", key.as_str())];
    let send = |owner: &mut crate::http::Browser, fields: &[(&str, &str)]| {
        owner.post("/admin/posts", &[&own, fields].concat())
    };
    assert_eq!(
        send(&mut owner, &[("body", "one"), ("title", "")]).location(),
        "/posts/1"
    );
    let conflict = send(&mut owner, &[("body", "one"), ("title", "a title")]);
    assert_eq!(conflict.status, 409);
    assert!(conflict.body.contains(">one</pre>") && conflict.body.contains("href=\"/posts/1\""));
    assert_eq!(input(&conflict, "title"), "a title");
    assert_ne!(conflict.field("key"), key);
    assert_eq!(app.rows("SELECT count(*) AS value FROM posts"), "1");
}

#[test]
fn a_draft_that_is_published_twice_is_published_once() {
    let app = TestApp::start();
    let mut owner = app.owner();
    assert_eq!(
        compose(&mut owner, &[("do", "draft"), ("title", "only a title")]).location(),
        "/admin/drafts"
    );
    assert!(!app.reader().get("/").body.contains("only a title"));
    assert_eq!(app.reader().get("/posts/1").status, 404, "a draft has no page yet");
    let form = owner.get("/admin/posts/1/edit");
    let (csrf, version) = (form.field("csrf"), form.field("version"));
    let fields = [
        ("csrf", csrf.as_str()),
        ("version", version.as_str()),
        ("title", "only a title"),
        ("body", "and a text"),
    ];
    assert_eq!(owner.post("/admin/posts/1/edit", &fields).location(), "/posts/1");
    assert_eq!(owner.post("/admin/posts/1/edit", &fields).location(), "/posts/1");
    assert_eq!(
        app.rows("SELECT ifnull(edited_at, 'never') AS value FROM posts"),
        "never",
        "readers saw no other text"
    );

    assert_eq!(edit(&mut owner, 1, &[("do", "draft")]).location(), "/admin/drafts");
    assert!(!app.reader().get("/").body.contains("and a text"), "back to the drafts");
    assert!(owner.get("/admin/drafts").body.contains("only a title"));
}
