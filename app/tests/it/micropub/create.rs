//! New posts of every kind, in the three forms that they may be sent in.

use serde_json::json;

use super::{Client, JPEG, PNG, error, made};
use crate::app::TestApp;
use crate::http::encode;
use crate::require::{require, works};

#[test]
fn notes_articles_links_threads_and_pages() {
    let app = TestApp::start();
    let client = Client::new(&app, &["create"]);
    let note = client.form(&[
        ("h", "entry"),
        ("content", "from *curl*"),
        ("category[]", "a"),
        ("category[]", "two words"),
    ]);
    assert_eq!(made(&app, &note), "/posts/1");
    let page = app.reader().get("/posts/1").body;
    assert!(
        page.contains("from <em>curl</em>") && page.contains("/tags/two_words"),
        "{page}"
    );

    let article = json!({"type": ["h-entry"], "properties": {
        "name": ["A title"], "content": [{"html": "<p>from <b>HTML</b></p>"}], "mp-slug": ["ignored-for-posts"],
    }});
    assert_eq!(made(&app, &client.json(&article)), "/posts/2");
    let page = app.reader().get("/posts/2").body;
    assert!(
        page.contains("A title") && page.contains("from <strong>HTML</strong>"),
        "{page}"
    );

    let link = client.form(&[("bookmark-of", "https://example.org/x"), ("content", "worth reading")]);
    assert_eq!(made(&app, &link), "/posts/3");
    assert!(app.reader().get("/posts/3").body.contains("u-bookmark-of"));

    let first = format!("http://{}/posts/1", app.address);
    let next = json!({"properties": {"content": ["the second"], "in-reply-to": [first]}});
    assert_eq!(made(&app, &client.json(&next)), "/posts/4");
    assert_eq!(app.rows("SELECT thread AS value FROM posts WHERE id = 4"), "1");

    let about = [
        ("name", "About"),
        ("content", "me"),
        ("mp-channel", "pages"),
        ("mp-slug", "about"),
    ];
    assert_eq!(made(&app, &client.form(&about)), "/about");
    assert_eq!(app.reader().get("/about").status, 200);
    let again = [
        ("name", "Other"),
        ("content", "me"),
        ("mp-channel", "pages"),
        ("mp-slug", "about"),
    ];
    let (status, _, text) = error(&client.form(&again));
    assert!(status == 400 && text.starts_with("mp-slug: "), "{text}");
}

#[test]
fn dates_drafts_and_visibilities() {
    let app = TestApp::start();
    let client = Client::new(&app, &["create"]);
    let old = [("content", "old"), ("published", "2019-03-01T12:00:00+09:00")];
    made(&app, &client.form(&old));
    assert_eq!(app.rows("SELECT published_at AS value FROM posts"), "1551409200");
    made(
        &app,
        &client.form(&[("content", "later"), ("published", "2999-01-01T00:00:00Z")]),
    );
    made(&app, &client.form(&[("content", "draft"), ("post-status", "draft")]));
    let unlisted = made(
        &app,
        &client.form(&[("content", "for some"), ("visibility", "unlisted")]),
    );
    assert!(unlisted.starts_with("/u/"), "{unlisted}");
    assert_eq!(app.reader().get(&unlisted).status, 200);
    made(&app, &client.form(&[("content", "for me"), ("visibility", "private")]));
    assert_eq!(
        app.rows("SELECT group_concat(state || ' ' || visibility, ',') AS value FROM posts"),
        "published public,scheduled public,draft public,published unlisted,published private"
    );
    let front = app.reader().get("/").body;
    assert!(!front.contains("for me") && !front.contains("later") && !front.contains("draft"));
}

#[test]
fn images_come_with_their_text_or_not_at_all() {
    let app = TestApp::start();
    let client = Client::new(&app, &["create", "media"]);
    let stored = client.files("/micropub/media", &[], &[("file", "a.png", PNG)]);
    let image = made(&app, &stored);
    assert!(image.starts_with("/media/"), "{image}");
    let again = client.files("/micropub/media", &[], &[("file", "b.png", PNG)]);
    assert_eq!(made(&app, &again), image, "the same image is the same address");

    let address = format!("http://{}{image}", app.address);
    let with = json!({"properties": {"content": ["x"], "photo": [{"value": address, "alt": "a \"house\""}]}});
    assert_eq!(made(&app, &client.json(&with)), "/posts/1");
    assert!(app.reader().get("/posts/1").body.contains("alt=\"a &#34;house&#34;\""));

    let files: [(&str, &str, &[u8]); 2] = [("photo[]", "1.jpg", JPEG), ("photo[]", "2.png", PNG)];
    let fields = [
        ("h", "entry"),
        ("content", "two"),
        ("mp-photo-alt[]", "one"),
        ("mp-photo-alt[]", "two"),
    ];
    assert_eq!(made(&app, &client.files("/micropub", &fields, &files)), "/posts/2");
    let page = app.reader().get("/posts/2").body;
    assert!(page.find("alt=\"one\"").unwrap() < page.find("alt=\"two\"").unwrap());

    // Without words for those who do not see it, nothing is posted.
    for answer in [
        client.files("/micropub", &[("content", "x")], &[("photo", "1.jpg", JPEG)]),
        client.files("/micropub", &[("content", "x"), ("mp-photo-alt[]", "one")], &files),
        client.json(&json!({"properties": {"content": ["x"], "photo": [address]}})),
        client.json(&json!({"properties": {"content": ["x"], "photo": [{"value": address, "alt": " "}]}})),
    ] {
        let (status, word, text) = error(&answer);
        assert_eq!((status, word.as_str()), (400, "invalid_request"));
        assert!(text.contains("has no text") && text.contains("mp-photo-alt"), "{text}");
    }
    // Nor with one that is elsewhere, not stored, or no image.
    for photo in [
        "https://example.org/a.png",
        "/media/x.png",
        &format!("/media/{}.png", "0".repeat(64)),
    ] {
        let answer = client.json(&json!({"properties": {"content": ["x"], "photo": [{"value": photo, "alt": "a"}]}}));
        assert_eq!(error(&answer).0, 400, "{photo}");
    }
    let text = [("content", "x"), ("mp-photo-alt", "a")];
    assert_eq!(
        error(&client.files("/micropub", &text, &[("photo", "a.svg", b"<svg/>")])).0,
        400
    );
    assert_eq!(
        error(&client.files("/micropub/media", &[], &[("file", "a.svg", b"<svg/>")])).0,
        400
    );
    assert_eq!(error(&client.files("/micropub/media", &[], &[])).0, 400);
    assert_eq!(app.rows("SELECT count(*) AS value FROM posts"), "2");
}

/// A line that is slow or breaks makes programs send again.
#[test]
fn what_is_sent_again_is_posted_once() {
    let app = TestApp::start();
    let client = Client::new(&app, &["create"]);
    let keyed = |key: &str, text: &str| {
        let headers = [("Content-Type", super::FORM), ("Idempotency-Key", key)];
        client.send("POST", "/micropub", &headers, format!("content={text}").as_bytes())
    };
    assert_eq!(made(&app, &keyed("k1", "a")), "/posts/1");
    assert_eq!(made(&app, &keyed("k1", "a")), "/posts/1");
    assert_eq!(made(&app, &keyed("k2", "a")), "/posts/2", "another key is another post");
    let (status, _, text) = error(&keyed("k1", "b"));
    assert!(status == 422 && text.contains("Idempotency-Key"), "{text}");
    // Another program's keys are its own.
    let other = Client::new(&app, &["create"]);
    let headers = [("Content-Type", super::FORM), ("Idempotency-Key", "k1")];
    assert_eq!(
        made(&app, &other.send("POST", "/micropub", &headers, b"content=c")),
        "/posts/3"
    );
    // Without a key: the same within minutes is the same, however it is spelt.
    assert_eq!(made(&app, &client.form(&[("content", "d")])), "/posts/4");
    let same = json!({"type": ["h-entry"], "properties": {"content": ["d"]}});
    assert_eq!(made(&app, &client.json(&same)), "/posts/4");
    assert_eq!(made(&app, &client.form(&[("content", "e")])), "/posts/5");
    assert_eq!(app.rows("SELECT count(*) AS value FROM posts"), "5");
}

#[test]
fn a_form_may_carry_the_token_in_a_field() {
    let app = TestApp::start();
    let mut client = Client::new(&app, &["create"]);
    let token = std::mem::take(&mut client.token);
    let answer = client.form(&[("access_token", &token), ("h", "entry"), ("content", "x")]);
    assert_eq!(made(&app, &answer), "/posts/1");
    assert!(!app.rows("SELECT body AS value FROM posts").contains(&token));
    // Both ways at once are one too many (RFC 6750, section 2).
    let body = format!("access_token={}&content=y", encode(&token));
    client.token = token;
    let both = client.send("POST", "/micropub", &[("Content-Type", super::FORM)], body.as_bytes());
    assert_eq!(error(&both).0, 401);
}

/// The commands of the README, as a shell runs them.
#[test]
fn the_readme_posts_with_curl() {
    if !require("curl", works("curl", &["--version"])) {
        return;
    }
    let readme = include_str!("../../../../README.md");
    let mut script = String::from("set -eu\n");
    let blocks = readme.split("```sh\n").skip(1);
    let blocks = blocks.map(|block| block.split("```").next().unwrap());
    script.extend(blocks.filter(|block| block.contains("/micropub")));
    assert!(
        script.matches("curl").count() >= 4,
        "the README shows how to post: {script}"
    );
    let app = TestApp::start();
    let client = Client::new(&app, &["create", "update", "delete", "media", "read"]);
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("cat.jpg"), JPEG).unwrap();
    let script = script
        .replace("blog_0123456789abcdef", &client.token)
        .replace("http://127.0.0.1:8081", &format!("http://{}", app.address));
    let run = std::process::Command::new("sh")
        .args(["-c", &script])
        .current_dir(directory.path())
        .stdin(std::process::Stdio::null())
        .env("no_proxy", "127.0.0.1")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&run.stdout);
    assert!(
        run.status.success(),
        "{said}{}\n{script}",
        String::from_utf8_lossy(&run.stderr)
    );
    assert!(said.contains("/posts/1"), "{said}");
    assert_eq!(app.rows("SELECT count(*) AS value FROM post_media"), "1", "{said}");
}

/// Programs are not for readers: their listener has no such address and does not speak of it.
#[test]
fn it_is_advertised_to_the_owner_alone() {
    let (app, mut reader) = crate::listeners::two();
    let link = "<link rel=\"micropub\" href=\"/micropub\">";
    assert!(app.reader().get("/").body.contains(link));
    assert!(!reader.get("/").body.contains("micropub"));
    assert_eq!(reader.get("/micropub?q=config").status, 404);
    let token = Client::new(&app, &["create"]).token;
    let answer = reader.post_with(
        "/micropub",
        &[("Authorization", &format!("Bearer {token}"))],
        &[("content", "x")],
    );
    // What is there is a place for static pages, and nobody posts to those.
    assert_eq!((answer.status, answer.header("allow")), (405, Some("GET, HEAD")));
    assert_eq!(app.rows("SELECT count(*) AS value FROM posts"), "0");
    // No program is asked for what is not there.
    let other = app.reader().send("PUT", "/micropub", &[], "");
    assert_eq!((other.status, other.header("allow")), (405, Some("GET, HEAD, POST")));
}
