//! Dates: to come, past, and what happens by itself.

use super::{compose, edit, input};
use crate::app::{TestApp, write};

/// `2026-07-05 23:03:10`, so many seconds from now, in UTC.
fn in_seconds(seconds: i64) -> String {
    let text = blog::domain::Stamp(blog::domain::Stamp::now().0 + seconds).rfc3339();
    text.trim_end_matches('Z').replace('T', " ")
}

#[test]
fn a_scheduled_post_comes_out_by_itself() {
    let app = TestApp::start();
    let mut owner = app.owner();
    let later = compose(&mut owner, &[("body", "much later"), ("date", &in_seconds(100_000))]);
    assert_eq!(later.location(), "/admin/scheduled");
    let soon = compose(&mut owner, &[("body", "quite soon"), ("date", &in_seconds(3))]);
    assert_eq!(soon.location(), "/admin/scheduled");
    assert!(owner.get("/admin/scheduled").body.contains("much later"));
    assert!(!app.reader().get("/").body.contains("much later"));

    app.log_with("published what was scheduled");
    let front = app.reader().get("/").body;
    assert!(front.contains("quite soon") && !front.contains("much later"));

    // Its date brought forward, or taken away, it is out at once.
    assert_eq!(edit(&mut owner, 1, &[("date", "")]).location(), "/posts/1");
    assert!(app.reader().get("/").body.contains("much later"));
}

#[test]
fn what_was_due_while_the_blog_was_off_is_published_at_the_start() {
    let app = TestApp::start();
    let mut owner = app.owner();
    compose(&mut owner, &[("body", "due meanwhile"), ("date", &in_seconds(1000))]).location();
    app.change("UPDATE posts SET published_at = published_at - 2000");
    let app = app.kill_and_restart();
    app.log_with("published what was scheduled");
    assert!(app.reader().get("/").body.contains("due meanwhile"));
}

#[test]
fn a_post_is_dated_back_and_keeps_its_seconds() {
    let app = TestApp::start();
    let mut owner = app.owner();
    write(&mut owner, "today");
    assert_eq!(
        compose(&mut owner, &[("body", "long ago"), ("date", "2009-03-04 05:06:07")]).location(),
        "/posts/2"
    );
    let page = app.reader().get("/posts/2").body;
    assert!(page.contains("datetime=\"2009-03-04T05:06:07Z\""), "{page}");
    let front = app.reader().get("/").body;
    assert!(front.find("today").unwrap() < front.find("long ago").unwrap());

    let form = owner.get("/admin/posts/2/edit");
    assert_eq!(input(&form, "date"), "2009-03-04 05:06");
    edit(&mut owner, 2, &[("body", "long, long ago")]).location();
    let page = app.reader().get("/posts/2").body;
    assert!(
        page.contains("datetime=\"2009-03-04T05:06:07Z\""),
        "an edit leaves the date alone"
    );
    edit(&mut owner, 2, &[("date", "2010-01-01")]).location();
    assert!(
        app.reader()
            .get("/posts/2")
            .body
            .contains("datetime=\"2010-01-01T00:00:00Z\"")
    );
}

#[test]
fn dates_are_read_in_the_zone_of_the_blog() {
    let app = TestApp::start_with(&["--utc-offset", "+09:00"]);
    let mut owner = app.owner();
    assert!(owner.get("/admin/new").body.contains("UTC+09:00"));
    compose(&mut owner, &[("body", "midnight"), ("date", "2010-01-01 00:00")]).location();
    assert_eq!(app.rows("SELECT published_at AS value FROM posts"), "1262271600");
    assert_eq!(input(&owner.get("/admin/posts/1/edit"), "date"), "2010-01-01 00:00");
}

#[test]
fn the_trash_empties_itself_after_thirty_days() {
    let app = TestApp::start();
    let mut owner = app.owner();
    for text in ["old", "recent"] {
        write(&mut owner, text);
    }
    let csrf = owner.get("/admin").field("csrf");
    for id in [1, 2] {
        owner
            .post(&format!("/admin/posts/{id}/delete"), &[("csrf", &csrf)])
            .location();
    }
    app.change("UPDATE posts SET deleted_at = deleted_at - 31 * 86400 WHERE id = 1");
    app.change("UPDATE posts SET deleted_at = deleted_at - 29 * 86400 WHERE id = 2");
    let app = app.kill_and_restart();
    app.log_with("purged what was in the trash");
    assert_eq!(app.rows("SELECT group_concat(id) AS value FROM posts"), "2");
}

#[test]
fn with_a_clock_that_lags_order_is_kept() {
    let app = TestApp::start();
    let mut owner = app.owner();
    write(&mut owner, "from the future");
    app.change("UPDATE posts SET published_at = published_at + 5000, created_at = created_at + 5000");
    assert_eq!(write(&mut owner, "and after it"), "/posts/2");
    app.log_with("the clock is behind the newest post");
    assert_eq!(app.rows("SELECT count(DISTINCT published_at) AS value FROM posts"), "1");
    // What is dated before the newest post is no date to come, whatever the clock says.
    assert_eq!(
        compose(&mut owner, &[("body", "x"), ("date", &in_seconds(4000))]).location(),
        "/posts/3"
    );
}
