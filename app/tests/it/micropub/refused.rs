//! What is refused, with which status, and in words that a program can show.

use serde_json::json;

use super::{Client, FORM, PNG, error, token};
use crate::app::TestApp;
use crate::http::MULTIPART;

#[test]
fn without_the_right_token_nothing_happens() {
    let app = TestApp::start();
    let mut client = Client::new(&app, &["media"]);
    let media = client.token.clone();
    client.token = String::new();
    let answer = client.form(&[("content", "x")]);
    assert_eq!(answer.header("www-authenticate"), Some("Bearer"));
    assert_eq!((error(&answer).0, error(&answer).1.as_str()), (401, "unauthorized"));
    assert_eq!(error(&client.json(&json!({"properties": {"content": ["x"]}}))).0, 401);
    assert_eq!(
        error(&client.files("/micropub/media", &[], &[("file", "a.png", PNG)])).0,
        401
    );
    assert_eq!(error(&client.send("GET", "/micropub?q=config", &[], b"")).0, 401);

    client.token = format!("blog_{}", "0".repeat(64));
    let answer = client.form(&[("content", "x")]);
    assert_eq!((error(&answer).0, error(&answer).1.as_str()), (401, "invalid_token"));
    // Many wrong ones must wait; the right one never does.
    let mut last = answer;
    for _ in 0..10 {
        last = client.form(&[("content", "x")]);
    }
    assert_eq!(last.status, 429);
    assert!(last.header("retry-after").is_some());

    client.token = media.clone();
    let answer = client.form(&[("content", "x")]);
    let (status, word, text) = error(&answer);
    assert_eq!((status, word.as_str()), (403, "insufficient_scope"));
    assert!(
        text.contains("create") && answer.body.contains("\"scope\":\"create\""),
        "{}",
        answer.body
    );
    let update = json!({"action": "update", "url": "/posts/1", "delete": ["name"]});
    assert_eq!(error(&client.json(&update)).0, 403);
    for action in ["delete", "undelete"] {
        assert_eq!(error(&client.form(&[("action", action), ("url", "/posts/1")])).0, 403);
    }
    // The owner's cookie is no token: another site cannot post with the owner's browser.
    let mut owner = app.owner();
    assert_eq!(owner.post("/micropub", &[("content", "x")]).status, 401);
    // Who may post may not therefore store images.
    client.token = token(&mut owner, &["create"]);
    let text = [("content", "x"), ("mp-photo-alt", "a")];
    let answer = client.files("/micropub", &text, &[("photo", "a.png", PNG)]);
    assert!(answer.body.contains("\"scope\":\"media\""), "{}", answer.body);
    assert_eq!(
        error(&client.files("/micropub/media", &[], &[("file", "a.png", PNG)])).0,
        403
    );
    assert_eq!(app.rows("SELECT count(*) AS value FROM posts"), "0");
    assert_eq!(app.rows("SELECT count(*) AS value FROM media"), "0");

    // A revoked token is an unknown one, and that of another program is still good.
    let other = token(&mut owner, &["create"]);
    let page = owner.get("/admin/tokens");
    let fields = [("csrf", page.field("csrf")), ("token", "2".to_owned())];
    let fields = fields.each_ref().map(|(name, value)| (*name, value.as_str()));
    owner.post("/admin/tokens/revoke", &fields).location();
    assert_eq!(
        client.form(&[("content", "x")]).status,
        429,
        "the pause for unknown tokens goes on"
    );
    client.token = other;
    assert_eq!(client.form(&[("content", "x")]).status, 201);
}

#[test]
fn what_is_too_large_or_no_request() {
    let app = TestApp::start();
    let client = Client::new(&app, &["create", "media"]);
    let kinds = [
        ("text/plain", "x", 415),
        ("application/json", "{", 400),
        ("application/json", "[1]", 400),
        (FORM, "h=event&content=x", 400),
        (FORM, "h=entry", 400),
        (FORM, "content=x&in-reply-to=https%3A%2F%2Fexample.org%2F1", 400),
        (FORM, "content=x&in-reply-to=%2Fposts%2F99", 400),
        (FORM, "content=x&visibility=friends", 400),
        (FORM, "content=x&published=soon", 400),
        (FORM, "content=x&category=%3Cb%3E", 400),
        (MULTIPART, "no boundary", 400),
    ];
    for (kind, body, status) in kinds {
        let answer = client.send("POST", "/micropub", &[("Content-Type", kind)], body.as_bytes());
        let (found, word, text) = error(&answer);
        assert_eq!(
            (found, word.as_str()),
            (status, "invalid_request"),
            "{kind} {body}: {text}"
        );
        assert!(!text.is_empty());
    }
    let large = "x".repeat(1_000_000);
    let form = format!("content={large}");
    let object = json!({"properties": {"content": [large]}}).to_string();
    for (kind, body) in [(FORM, &form), ("application/json", &object)] {
        let answer = client.send("POST", "/micropub", &[("Content-Type", kind)], body.as_bytes());
        assert_eq!(error(&answer).0, 413, "{kind}");
    }
    let answer = client.files("/micropub", &[("content", &large)], &[]);
    assert_eq!(error(&answer).0, 413);
    let (status, _, text) = error(&client.form(&[("content", &"x".repeat(70_000))]));
    assert!(status == 400 && text.starts_with("content: "), "{text}");
    assert_eq!(app.rows("SELECT count(*) AS value FROM posts"), "0");
}
