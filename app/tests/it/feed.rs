//! Feeds: Atom, RSS, JSON Feed, twtxt, OpenSearch; judged by parsers that others wrote.

use serde_json::Value;

use crate::app::{TestApp, write};
use crate::{python, seed, xml};

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
    let csrf = owner.get("/admin/posts/1/edit").field("csrf");
    owner.post("/admin/posts/1/edit", &[("csrf", &csrf), ("body", "changed")]);
    assert_eq!(ask(&tag).status, 200, "an edit is a change");
}

#[test]
fn links_come_from_the_settings_never_from_the_request() {
    let app = TestApp::start_with(&["--base-url", "http://example.onion/"]);
    write(&mut app.owner(), "text");
    let ask = "GET /feed.atom HTTP/1.1\r\nHost: 127.0.0.7\r\nConnection: close\r\n\r\n";
    let feed = crate::http::raw(&app.address, ask.as_bytes()).body;
    assert!(feed.contains("href=\"http://example.onion/posts/1\""));
    assert!(feed.contains("rel=\"self\" type=\"application/atom+xml\" href=\"http://example.onion/feed.atom\""));
    assert!(!feed.contains("127.0.0.7"));
}

/// Feedparser says whether they are well-formed, atoma whether everything is there that a format demands.
const JUDGE: &str = "
import sys, json, base64, feedparser, atoma
out = {}
for name, body in json.load(sys.stdin).items():
    data = body.encode()
    if name.endswith('json'):
        feed = atoma.parse_json_feed(json.loads(body))
        out[name] = [len(feed.items), feed.title, [item.id_ for item in feed.items]]
        continue
    parsed = feedparser.parse(data)
    if parsed.bozo:
        raise SystemExit(name + ': ' + str(parsed.bozo_exception))
    if name.endswith('atom'):
        feed = atoma.parse_atom_bytes(data)
        out[name] = [len(feed.entries), feed.title.value, [entry.id_ for entry in feed.entries]]
    else:
        feed = atoma.parse_rss_bytes(data)
        out[name] = [len(feed.items), feed.title, [item.guid for item in feed.items]]
    links = [link for entry in parsed.entries for link in entry.links]
    assert all(link.href.startswith('http') for link in links), links
    assert all(entry.get('published_parsed') for entry in parsed.entries)
json.dump(out, sys.stdout)
";

fn judge(feeds: &[(&str, String)]) -> Option<Value> {
    let feeds: serde_json::Map<String, Value> = feeds
        .iter()
        .map(|(name, body)| ((*name).to_owned(), body.as_str().into()))
        .collect();
    let said = python::judge(JUDGE, &serde_json::to_string(&feeds).unwrap())?;
    Some(serde_json::from_str(&said).unwrap())
}

/// JSON Feed 1.1, word by word: what must be there, and of what type everything is.
fn check_json_feed(text: &str) {
    let feed: Value = serde_json::from_str(text).unwrap();
    let is_url = |value: &Value| value.as_str().is_some_and(|url| url.starts_with("http"));
    assert_eq!(feed["version"], "https://jsonfeed.org/version/1.1");
    assert!(feed["title"].is_string());
    for key in ["home_page_url", "feed_url", "next_url"] {
        assert!(feed[key].is_null() || is_url(&feed[key]), "{key}");
    }
    for author in feed["authors"].as_array().unwrap() {
        assert!(author["name"].is_string() && is_url(&author["url"]));
    }
    for item in feed["items"].as_array().unwrap() {
        assert!(item["id"].as_str().unwrap().starts_with("urn:uuid:"));
        assert!(item["content_html"].is_string() || item["content_text"].is_string());
        for key in ["url", "external_url", "image"] {
            assert!(item[key].is_null() || is_url(&item[key]), "{key}: {item}");
        }
        for key in ["date_published", "date_modified"] {
            let time = item[key].as_str();
            assert!(
                time.is_none_or(|time| time.parse::<jiff::Timestamp>().is_ok()),
                "{key}: {item}"
            );
        }
        assert!(item["tags"].as_array().into_iter().flatten().all(Value::is_string));
        let known = [
            "id",
            "url",
            "external_url",
            "title",
            "content_html",
            "image",
            "date_published",
            "date_modified",
            "tags",
            "language",
        ];
        assert!(
            item.as_object()
                .unwrap()
                .keys()
                .all(|key| known.contains(&key.as_str()))
        );
    }
}

#[test]
fn all_formats_have_the_same_posts() {
    let app = seed::start(&[]);
    let get = |path: &str| app.reader().get(path).body;
    let feeds = [
        ("atom", get("/feed.atom")),
        ("rss", get("/feed.rss")),
        ("json", get("/feed.json")),
        ("tag.atom", get("/tags/rust/feed.atom")),
        ("tag.rss", get("/tags/rust/feed.rss")),
        ("tag.json", get("/tags/rust/feed.json")),
    ];
    check_json_feed(&feeds[2].1);
    check_json_feed(&feeds[5].1);
    for body in [&feeds[0].1, &feeds[1].1, &feeds[2].1] {
        assert!(body.contains("http://example.onion/media/"), "addresses are whole");
        assert!(
            !body.contains("href=\\\"/") && !body.contains("href=&quot;/") && !body.contains("href=&#34;/"),
            "{body}"
        );
    }
    let Some(said) = judge(&feeds) else { return };
    for format in ["rss", "json"] {
        assert_eq!(said["atom"], said[format], "{said}");
        assert_eq!(said["tag.atom"], said[&format!("tag.{format}")]);
    }
    assert_eq!(said["atom"][0], 11);
    assert_eq!(said["tag.atom"][0], 2);
    assert_eq!(said["tag.atom"][1], "On a small computer #Rust");
}

#[test]
fn hostile_texts_stay_well_formed() {
    let app = TestApp::start_with(&["--base-url", "http://example.onion", "--title", "]]> & <\"'>"]);
    let mut owner = app.owner();
    for text in [
        "<script>alert(1)</script> ]]> <![CDATA[ & &amp; &#x0; \u{202e}x",
        "<!-- --> <?xml ?> <!DOCTYPE x> %3C \u{2028}\u{2029}\u{85}\u{7f}",
        "\u{1}\u{b}\u{1f}\u{fffe}\u{10ffff}\u{fdd0} text",
        "[x](javascript:alert(1)) ![a\"b](/x) `]]>` \"quoted\" 'single' #]]>tag #a&b",
        "\u{1f600}\u{200d}\u{1f600} ﷽ 𝕏 \u{e000}",
    ] {
        write(&mut owner, text);
    }
    let get = |path: &str| app.reader().get(path).body;
    let feeds = [
        ("atom", get("/feed.atom")),
        ("rss", get("/feed.rss")),
        ("json", get("/feed.json")),
    ];
    for (_, body) in &feeds[..2] {
        // The strict reader of these tests, too.
        let body = body
            .replace("xml:lang", "lang")
            .replace("xmlns:atom", "xmlns")
            .replace("atom:link", "link");
        xml::elements(&body);
    }
    check_json_feed(&feeds[2].1);
    let Some(said) = judge(&feeds) else { return };
    assert_eq!(said["atom"][0], 5);
}

#[test]
fn older_posts_are_in_the_next_document() {
    let app = TestApp::start_with(&["--base-url", "http://example.onion"]);
    let mut owner = app.owner();
    for n in 0..45 {
        write(&mut owner, &format!("post {n}"));
    }
    for (start, ending) in [("/feed.json", "json"), ("/feed.atom", "atom"), ("/feed.rss", "rss")] {
        let (mut path, mut ids) = (start.to_owned(), Vec::new());
        for page in 0..4 {
            let body = app.reader().get(&path).body;
            ids.extend(
                body.split("urn:uuid:")
                    .skip(if ending == "atom" { 2 } else { 1 })
                    .map(|rest| rest[..36].to_owned()),
            );
            let next = match ending {
                "json" => body.split("\"next_url\":\"").nth(1),
                _ => body
                    .split("rel=\"next\"")
                    .nth(1)
                    .and_then(|rest| rest.split("href=\"").nth(1)),
            };
            let Some(next) = next else {
                assert_eq!(page, 2);
                break;
            };
            path = next
                .split('"')
                .next()
                .unwrap()
                .strip_prefix("http://example.onion")
                .unwrap()
                .to_owned();
        }
        ids.sort();
        ids.dedup();
        assert_eq!(ids.len(), 45, "{ending}");
    }
    assert_eq!(app.reader().get("/feed.atom?before=x").status, 404);
    assert_eq!(app.reader().get("/tags/none/feed.rss").status, 404);
}

#[test]
fn twtxt_has_a_line_for_each_post() {
    let app = seed::start(&[]);
    let response = app.reader().get("/twtxt.txt");
    assert_eq!(response.header("content-type"), Some("text/plain; charset=utf-8"));
    let mut times = Vec::new();
    for line in response.body.lines().filter(|line| !line.starts_with('#')) {
        let (time, text) = line.split_once('\t').unwrap();
        times.push(time.parse::<jiff::Timestamp>().unwrap());
        assert!(!text.is_empty());
    }
    assert_eq!(times.len(), 11);
    assert!(times.is_sorted_by(|a, b| a >= b));
    assert!(response.body.contains("今日から日本語でも書きます。\u{2028}よろしく"));
    assert!(
        response
            .body
            .contains("A blog in a drawer http://example.onion/posts/6\n")
    );
    assert!(
        response
            .body
            .starts_with("# nick = On_a_small_computer\n# url = http://example.onion/twtxt.txt\n")
    );
}

#[test]
fn browsers_learn_how_to_search() {
    let app = seed::start(&[]);
    assert!(app.reader().get("/").body.contains("rel=\"search\""));
    let description = app.reader().get("/opensearch.xml").body;
    let elements = xml::elements(&description);
    let short = &elements.iter().find(|(name, _)| name == "ShortName").unwrap().1;
    assert!(short.chars().count() <= 16, "{short}");
    assert!(description.contains("template=\"http://example.onion/search?q={searchTerms}\""));
    let alone = TestApp::start();
    assert_eq!(alone.reader().get("/opensearch.xml").status, 404);
    assert!(!alone.reader().get("/").body.contains("rel=\"search\""));
}
