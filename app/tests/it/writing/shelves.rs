//! The trash, pins, and the owner's lists.

use super::{compose, edit};
use crate::app::{TestApp, write};

#[test]
fn what_is_in_the_trash_can_be_had_back_or_goes_for_good() {
    let app = TestApp::start();
    let mut owner = app.owner();
    write(&mut owner, "to be missed #tag");
    let csrf = owner.get("/admin/posts/1/delete").field("csrf");
    let token = [("csrf", csrf.as_str())];
    assert_eq!(
        owner.get("/admin/posts/1/purge").location(),
        "/admin/posts/1/delete",
        "not before it is in the trash"
    );
    assert_eq!(owner.post("/admin/posts/1/purge", &token).status, 404);
    owner.post("/admin/posts/1/delete", &token).location();
    assert!(!app.reader().get("/").body.contains("to be missed"));
    assert_eq!(
        owner.get("/admin/posts/1/edit").status,
        404,
        "what is in the trash is not edited"
    );
    assert!(owner.get("/admin/trash").body.contains("to be missed"));

    assert_eq!(owner.post("/admin/posts/1/restore", &token).location(), "/posts/1");
    assert!(app.reader().get("/").body.contains("to be missed"));

    owner.post("/admin/posts/1/delete", &token).location();
    assert!(owner.get("/admin/posts/1/purge").body.contains("for good"));
    assert_eq!(owner.post("/admin/posts/1/purge", &token).location(), "/admin/trash");
    assert_eq!(
        owner.post("/admin/posts/1/purge", &token).location(),
        "/admin/trash",
        "twice is once"
    );
    assert_eq!(owner.post("/admin/posts/1/restore", &token).status, 404);
    assert_eq!(
        app.rows("SELECT (SELECT count(*) FROM posts) || (SELECT count(*) FROM tags) AS value"),
        "00"
    );
    assert_eq!(owner.post("/admin/posts/9/delete", &token).status, 404);
}

#[test]
fn pins_are_set_and_taken_out() {
    let app = TestApp::start();
    let mut owner = app.owner();
    write(&mut owner, "important");
    let csrf = owner.get("/admin").field("csrf");
    let mut pin = |id: i64, pin: &str| owner.post(&format!("/admin/posts/{id}/pin"), &[("csrf", &csrf), ("pin", pin)]);
    assert_eq!(pin(1, "1").location(), "/admin");
    assert_eq!(app.rows("SELECT count(pinned_at) AS value FROM posts"), "1");
    assert_eq!(pin(1, "0").location(), "/admin");
    assert_eq!(app.rows("SELECT count(pinned_at) AS value FROM posts"), "0");
    assert_eq!(pin(1, "").status, 400);
    assert_eq!(pin(9, "1").status, 404);
}

#[test]
fn lists_are_read_a_page_at_a_time() {
    let app = TestApp::start();
    let mut owner = app.owner();
    for n in 0..31 {
        assert_eq!(
            compose(&mut owner, &[("do", "draft"), ("body", &format!("draft-{n}-"))]).location(),
            "/admin/drafts"
        );
    }
    let first = owner.get("/admin/drafts").body;
    assert!(first.contains("draft-30-") && first.contains("draft-1-") && !first.contains("draft-0-"));
    let next = first
        .split("rel=\"next\" href=\"")
        .nth(1)
        .unwrap()
        .split('"')
        .next()
        .unwrap();
    let last = owner.get(next).body;
    assert!(last.contains("draft-0-") && !last.contains("draft-1-") && !last.contains("rel=\"next\""));
    assert_eq!(owner.get("/admin/drafts?before=x").status, 404);
    // A draft that is thrown away is a draft no more.
    let csrf = owner.get("/admin").field("csrf");
    owner.post("/admin/posts/31/delete", &[("csrf", &csrf)]).location();
    assert!(!owner.get("/admin/drafts").body.contains("draft-30-"));
    assert_eq!(edit(&mut owner, 30, &[("do", "publish")]).location(), "/posts/30");
}

#[test]
fn both_languages_have_every_page() {
    let app = TestApp::start();
    let mut owner = app.owner();
    write(&mut owner, "first");
    edit(&mut owner, 1, &[("body", "second")]).location();
    let (mut english, mut japanese) = (String::new(), String::new());
    for path in [
        "/admin",
        "/admin/new",
        "/admin/drafts",
        "/admin/scheduled",
        "/admin/pages",
        "/admin/trash",
        "/admin/posts/1/edit",
        "/admin/posts/1/delete",
        "/admin/posts/1/history",
        "/admin/posts/1/history/1",
    ] {
        english.push_str(&owner.get(path).body);
        let page = owner.get(&format!("{path}?lang=ja"));
        assert_eq!(page.status, 200, "{path}");
        assert!(page.body.contains("<html lang=\"ja\">"), "{path}");
        assert_eq!(page.body.matches("<h1").count(), 1, "{path}");
        japanese.push_str(&page.body);
    }
    for (en, ja) in [
        ("Write a post", "投稿を書く"),
        ("Nothing here.", "何もありません。"),
        ("Restore this version", "この版に戻す"),
    ] {
        assert!(english.contains(en) && !english.contains(ja), "{en}");
        assert!(japanese.contains(ja) && !japanese.contains(en), "{ja}");
    }
}
