//! What programs do to posts that are there, and what they can ask.

use serde_json::json;

use super::{Client, PNG, error, made};
use crate::app::{TestApp, write};

#[test]
fn a_post_is_changed_and_the_rest_of_it_stays() {
    let app = TestApp::start();
    let client = Client::new(&app, &["create", "update", "media"]);
    let image = made(&app, &client.files("/micropub/media", &[], &[("file", "a.png", PNG)]));
    let new = json!({"properties": {
        "name": ["Title"], "content": ["text #inside"], "category": ["one", "two"],
        "published": ["2020-01-02T03:04:05Z"], "photo": [{"value": image, "alt": "words"}],
    }});
    assert_eq!(made(&app, &client.json(&new)), "/posts/1");
    let url = format!("http://{}/posts/1", app.address);
    let update = |changes: serde_json::Value| {
        let mut request = json!({"action": "update", "url": url});
        for (name, value) in changes.as_object().unwrap() {
            request[name] = value.clone();
        }
        client.json(&request)
    };
    assert_eq!(
        update(json!({"replace": {"content": ["new #inside"]}, "add": {"category": ["three"]}})).status,
        204
    );
    let source = client.get(&format!("q=source&url={url}"));
    assert_eq!(source["type"], json!(["h-entry"]));
    let properties = &source["properties"];
    assert_eq!(properties["content"], json!(["new #inside"]));
    assert_eq!(properties["name"], json!(["Title"]));
    assert_eq!(properties["published"], json!(["2020-01-02T03:04:05Z"]));
    assert_eq!(properties["category"], json!(["inside", "one", "three", "two"]));
    assert_eq!(properties["photo"][0]["alt"], "words");
    assert_eq!(properties["url"], json!([url]));
    assert_eq!(
        app.rows("SELECT count(*) AS value FROM revisions"),
        "1",
        "an edit has a history"
    );

    assert_eq!(update(json!({"delete": {"category": ["one"]}})).status, 204);
    assert_eq!(update(json!({"delete": ["photo", "name"]})).status, 204);
    let few = client.get(&format!(
        "q=source&url={url}&properties[]=category&properties[]=photo&properties[]=name"
    ));
    assert_eq!(few, json!({"properties": {"category": ["inside", "three", "two"]}}));
    assert_eq!(app.rows("SELECT kind AS value FROM posts"), "note");

    // Another address is told.
    let moved = update(json!({"replace": {"visibility": ["unlisted"]}}));
    let unlisted = made(&app, &moved);
    assert!(unlisted.starts_with("/u/"), "{unlisted}");
    let back =
        json!({"action": "update", "url": unlisted, "replace": {"visibility": ["public"], "post-status": ["draft"]}});
    assert_eq!(made(&app, &client.json(&back)), "/posts/1");
    assert_eq!(app.rows("SELECT state AS value FROM posts"), "draft");
    assert_eq!(app.reader().get("/posts/1").status, 404);

    for wrong in [
        json!({"replace": {"content": ["a", "b"]}}),
        json!({"replace": {"content": []}}),
        json!({"add": {"bookmark-of": ["javascript:alert(1)"]}}),
        json!({"replace": {"in-reply-to": ["/posts/1"]}}),
        json!({"add": {"photo": [image]}}),
    ] {
        assert_eq!(error(&update(wrong.clone())).0, 400, "{wrong}");
    }
    assert_eq!(app.rows("SELECT body AS value FROM posts"), "new #inside");
}

#[test]
fn into_the_trash_and_out_again() {
    let app = TestApp::start();
    write(&mut app.owner(), "a post");
    let client = Client::new(&app, &["delete"]);
    let url = format!("http://{}/posts/1", app.address);
    let delete = [("action", "delete"), ("url", url.as_str())];
    assert_eq!(client.form(&delete).status, 204);
    assert_eq!(app.reader().get("/posts/1").status, 410);
    assert_eq!(client.form(&delete).status, 204, "twice is once");
    assert_eq!(client.json(&json!({"action": "undelete", "url": url})).status, 204);
    assert_eq!(app.reader().get("/posts/1").status, 200);
    for url in [
        "http://example.org/posts/1",
        "/posts/7",
        "/posts/1x",
        "//posts/1",
        "/media/1",
        "",
        "posts/1",
    ] {
        let answer = client.form(&[("action", "delete"), ("url", url)]);
        assert_eq!(error(&answer).0, 400, "{url}");
    }
    assert_eq!(app.reader().get("/posts/1").status, 200);
}

#[test]
fn what_programs_ask() {
    let app = TestApp::start_with(&["--base-url", "http://reader.onion", "--admin-url", "http://owner.onion"]);
    write(&mut app.owner(), "#東京 and #Rust");
    let client = Client::new(&app, &["create"]);
    let config = client.get("q=config");
    assert_eq!(config["media-endpoint"], "http://owner.onion/micropub/media");
    assert_eq!(config["syndicate-to"], json!([]));
    assert_eq!(config["channels"][1]["uid"], "pages");
    assert_eq!(client.get("q=syndicate-to"), json!({"syndicate-to": []}));
    assert_eq!(client.get("q=category"), json!({"categories": ["Rust", "東京"]}));
    let answer = client.form(&[("content", "x")]);
    assert_eq!(answer.header("location"), Some("http://reader.onion/posts/2"));
    // What only the owner reads takes a token that may.
    let source = client.send("GET", "/micropub?q=source&url=/posts/2", &[], b"");
    assert_eq!(error(&source).0, 403);
    let reader = Client::new(&app, &["read"]);
    let post = reader.get("q=source&url=http://reader.onion/posts/2");
    assert_eq!(post["properties"]["content"], json!(["x"]));
    for query in ["", "q=", "q=all", "q=source&url=/posts/9"] {
        let answer = reader.send("GET", &format!("/micropub?{query}"), &[], b"");
        assert_eq!(error(&answer).0, 400, "{query}");
    }
}

/// The list of a program that edits: drafts and private posts, a page at a time, nothing of the trash.
#[test]
fn a_program_lists_what_there_is() {
    let app = TestApp::start();
    let client = Client::new(&app, &["create", "delete", "read"]);
    for n in 1..=5 {
        let status = if n == 3 { "draft" } else { "published" };
        let visibility = if n == 4 { "private" } else { "public" };
        let fields = [
            ("content", format!("number {n} #tag")),
            ("post-status", status.to_owned()),
            ("visibility", visibility.to_owned()),
        ];
        let fields: Vec<_> = fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
        assert_eq!(client.form(&fields).status, 201);
    }
    client.form(&[
        ("h", "entry"),
        ("content", "a page"),
        ("name", "About"),
        ("mp-channel", "pages"),
        ("mp-slug", "about"),
    ]);
    client.form(&[("h", "entry"), ("content", "and on"), ("in-reply-to", "/posts/5")]);
    assert_eq!(client.form(&[("action", "delete"), ("url", "/posts/2")]).status, 204);
    let texts = |list: &serde_json::Value| -> Vec<String> {
        let items = list["items"].as_array().unwrap().iter();
        items
            .map(|item| item["properties"]["content"][0].as_str().unwrap().to_owned())
            .collect()
    };
    let all = client.get("q=source");
    assert_eq!(
        texts(&all),
        [
            "and on",
            "a page",
            "number 5 #tag",
            "number 4 #tag",
            "number 3 #tag",
            "number 1 #tag"
        ]
    );
    assert_eq!(all["paging"], json!({}));
    let item = &all["items"][0];
    assert_eq!(item["type"], json!(["h-entry"]));
    assert_eq!(
        item["properties"]["in-reply-to"][0],
        format!("http://{}/posts/5", app.address)
    );
    assert_eq!(item["properties"]["url"][0], format!("http://{}/posts/7", app.address));
    assert_eq!(all["items"][4]["properties"]["post-status"], json!(["draft"]));
    assert_eq!(all["items"][3]["properties"]["visibility"], json!(["private"]));

    // A page at a time; what is made meanwhile moves nothing.
    let (mut seen, mut after) = (Vec::new(), String::new());
    loop {
        let page = client.get(&format!("q=source&limit=2{after}"));
        assert!(page["items"].as_array().unwrap().len() <= 2);
        seen.extend(texts(&page));
        client.form(&[("content", &format!("later {}", seen.len()))]);
        match page["paging"]["after"].as_str() {
            Some(next) => after = format!("&after={next}"),
            None => break,
        }
    }
    assert_eq!(seen, texts(&all));
    assert_eq!(texts(&client.get("q=source&post-status=draft")), ["number 3 #tag"]);
    assert_eq!(texts(&client.get("q=source&post-status=scheduled")), [""; 0]);
    let published = texts(&client.get("q=source&post-status=published&limit=1000"));
    assert!(published.contains(&"a page".to_owned()) && !published.contains(&"number 3 #tag".to_owned()));
    let some = client.get("q=source&limit=1&properties[]=category&properties[]=url&after=6");
    let properties = json!({"category": ["tag"], "url": [format!("http://{}/posts/5", app.address)]});
    assert_eq!(
        some,
        json!({"items": [{"properties": properties}], "paging": {"after": "5"}})
    );
    assert_eq!(client.get("q=source&after=1"), json!({"items": [], "paging": {}}));

    for query in [
        "limit=0",
        "limit=-1",
        "limit=x",
        "after=0",
        "after=http://x",
        "post-status=gone",
    ] {
        let answer = client.send("GET", &format!("/micropub?q=source&{query}"), &[], b"");
        let (status, kind, words) = error(&answer);
        assert_eq!((status, kind.as_str()), (400, "invalid_request"), "{query}");
        assert!(words.contains(query.split('=').next().unwrap()), "{words}");
    }
    let poster = Client::new(&app, &["create"]);
    assert_eq!(error(&poster.send("GET", "/micropub?q=source", &[], b"")).0, 403);
}
