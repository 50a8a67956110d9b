//! What a post was before its edits, and the way back.

use super::{compose, edit};
use crate::app::TestApp;

#[test]
fn versions_are_kept_compared_and_restored() {
    let app = TestApp::start();
    let mut owner = app.owner();
    compose(
        &mut owner,
        &[("title", "One"), ("body", "same\nold <line>\n#a"), ("tags", "kept")],
    )
    .location();
    assert!(owner.get("/admin/posts/1/history").body.contains("never changed"));
    edit(&mut owner, 1, &[("title", "Two"), ("body", "same\nnew line\n#b")]).location();
    edit(&mut owner, 1, &[("lang", "ja")]).location();
    assert_eq!(
        app.rows("SELECT count(*) AS value FROM revisions"),
        "1",
        "the text is what is kept"
    );

    let list = owner.get("/admin/posts/1/history").body;
    assert!(list.contains("href=\"/admin/posts/1/history/1\"") && list.contains("One"));
    let page = owner.get("/admin/posts/1/history/1");
    for part in [
        "<del>- Title: One</del>",
        "<ins>+ Title: Two</ins>",
        "<del>- old &#60;line&#62;</del>",
        "<ins>+ new line</ins>",
        "  same\n",
    ] {
        assert!(page.body.contains(part), "{part}: {}", page.body);
    }
    let (csrf, version) = (page.field("csrf"), page.field("version"));
    let fields = [("csrf", csrf.as_str()), ("version", version.as_str())];
    let restore = "/admin/posts/1/history/1/restore";
    assert_eq!(owner.post(restore, &fields).location(), "/posts/1");
    assert_eq!(owner.post(restore, &fields).location(), "/posts/1", "twice is once");
    let post = app.reader().get("/posts/1").body;
    assert!(post.contains("old &lt;line&gt;") && !post.contains("new line"));
    assert_eq!(
        app.rows("SELECT count(*) AS value FROM revisions"),
        "2",
        "the way back can be gone back"
    );
    assert_eq!(
        app.rows("SELECT group_concat(folded) AS value FROM (SELECT folded FROM tags ORDER BY 1)"),
        "a,kept"
    );
    assert_eq!(app.rows("SELECT lang AS value FROM posts"), "ja");

    // A page that was opened before another edit does not restore over it.
    edit(&mut owner, 1, &[("body", "newest")]).location();
    assert_eq!(owner.post(restore, &fields).location(), "/admin/posts/1/history/1");
    assert!(app.reader().get("/posts/1").body.contains("newest"));

    for path in [
        "/admin/posts/1/history/99",
        "/admin/posts/2/history/1",
        "/admin/posts/1/history/x",
        "/admin/posts/9/history",
    ] {
        assert_eq!(owner.get(path).status, 404, "{path}");
    }
}

#[test]
fn a_long_text_is_compared_in_bounded_time() {
    let app = TestApp::start();
    let mut owner = app.owner();
    let text = |step: usize| {
        (0..9000)
            .map(|line| format!("{}\n", line * step % 9973))
            .collect::<String>()
    };
    compose(&mut owner, &[("body", &text(7))]).location();
    edit(&mut owner, 1, &[("body", &text(5))]).location();
    assert_eq!(owner.get("/admin/posts/1/history/1").status, 200);
}
