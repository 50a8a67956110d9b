//! What readers get and what they do not: addresses, lists, languages, caching, sizes.

use crate::app::{TestApp, write};
use crate::http::Response;
use crate::{python, require, seed};

fn get(app: &TestApp, path: &str) -> Response {
    app.reader().get(path)
}

#[test]
fn secrets_are_on_no_page() {
    let app = seed::start(&[]);
    let mut seen = vec!["/".to_owned()];
    let mut at = 0;
    // Every page that links lead to, and every feed.
    while let Some(path) = seen.get(at).cloned() {
        at += 1;
        let page = get(&app, &path);
        assert!(page.status == 200, "{path}: {}", page.status);
        for secret in [
            "secretprivate",
            "secretdraft",
            "secretgone",
            "secretnever",
            "address only",
            seed::UNLISTED,
        ] {
            assert!(!page.body.contains(secret), "{secret} is on {path}");
        }
        assert_eq!(page.header("set-cookie").filter(|_| path != "/login"), None, "{path}");
        for part in page.body.split("href=\"").skip(1) {
            let link = part
                .split(['"', '#'])
                .next()
                .unwrap()
                .replace("&amp;", "&")
                .replace("&#38;", "&");
            let link = link.strip_prefix("http://example.onion").unwrap_or(&link).to_owned();
            // For programs, which bring a token.
            let is_page = link.starts_with('/') && link != "/micropub";
            if is_page && !link.contains("lang=") && !seen.contains(&link) {
                seen.push(link);
            }
        }
    }
    assert!(seen.len() > 25, "{seen:?}");
    for path in [
        "/search?q=secret",
        "/search?q=se",
        "/tags/secret",
        "/tags/secret/feed.atom",
        "/twtxt.txt",
    ] {
        assert!(!get(&app, path).body.contains("secretprivate"), "{path}");
    }
}

#[test]
fn each_post_has_one_address() {
    let app = seed::start(&[]);
    let status = |path: &str| get(&app, path).status;
    let moved = |path: &str| {
        let page = get(&app, path);
        assert_eq!(page.status, 301, "{path}");
        page.header("location").unwrap().to_owned()
    };
    assert_eq!(status("/posts/12"), 404, "an unlisted post is not found by counting");
    assert_eq!(status(&format!("/u/{}", seed::UNLISTED)), 200);
    assert_eq!(status("/posts/13"), 404);
    assert_eq!(status("/u/00000000-0000-4000-8000-000000000013"), 404);
    assert_eq!(status("/posts/14"), 404);
    assert_eq!(status("/posts/15"), 410, "it was public");
    assert_eq!(status("/posts/17"), 404, "it never was");
    assert_eq!(moved("/posts/16"), "/about");
    assert_eq!(moved("/u/00000000-0000-4000-8000-000000000001"), "/posts/1");
    assert_eq!(moved("/old/x/1234567890"), "/posts/1");
    assert_eq!(moved("/somebody/status/1234567890"), "/posts/1");
    assert_eq!(status("/old/x/666"), 404, "private");
    assert_eq!(
        moved("/tags/%EF%BE%97%EF%BD%BD%EF%BE%9E%EF%BE%8A%EF%BE%9F%EF%BD%B2"),
        "/tags/%E3%83%A9%E3%82%BA%E3%83%91%E3%82%A4"
    );
    assert_eq!(moved("/tags/RUST"), "/tags/rust");
    for path in [
        "/tags/none",
        "/tags/secret",
        "/2020",
        "/2026/13",
        "/2026/02/30",
        "/0000",
        "/99999",
        "/about/",
        "/u/x",
    ] {
        assert_eq!(status(path), 404, "{path}");
    }
}

#[test]
fn pins_come_first_and_once() {
    let app = seed::start(&[]);
    let page = get(&app, "/").body;
    assert_eq!(page.matches("This blog moved").count(), 1);
    let pin = page.find("This blog moved").unwrap();
    assert!(pin < page.find("今日から").unwrap());
    assert!(page[..pin].contains("class=\"h-entry pinned\"") && page[..pin].contains("Pinned"));
    let ja = get(&app, "/?lang=ja").body;
    assert!(ja.contains("固定された投稿") && ja.contains("<html lang=\"ja\">"));
    let month = get(&app, "/2026/07").body;
    assert_eq!(month.matches("This blog moved").count(), 1);
}

#[test]
fn the_archive_is_in_the_zone_of_the_blog() {
    // 2026-07-05T14:03Z is still the fifth in Japan, and the sixth further east.
    let app = seed::start(&["--utc-offset", "+14:00"]);
    assert!(get(&app, "/2026/07/06").body.contains("今日から"));
    let day = get(&app, "/2026/07/06").body;
    assert!(day.contains("rel=\"prev\" href=\"/2026/07/04\""), "{day}");
    assert!(!day.contains("rel=\"next\""));
    let archive = get(&app, "/archive").body;
    assert!(
        archive.contains("href=\"/2026/07\">July 2026</a> <span>4</span>"),
        "{archive}"
    );
    assert!(archive.contains("href=\"/2025\">2025</a> <span class=\"count\">1</span>"));
    assert!(
        get(&app, "/posts/11")
            .body
            .contains("datetime=\"2026-07-06T04:03:00+14:00\"")
    );
}

#[test]
fn the_language_is_asked_for_or_chosen() {
    let app = seed::start(&[]);
    let accept = |accept: &str, path: &str| app.reader().send("GET", path, &[("Accept-Language", accept)], "");
    assert!(accept("ja,en;q=0.5", "/").body.contains("アーカイブ"));
    assert!(accept("ja,en;q=0.5", "/?lang=en").body.contains("Archive"));
    let chosen = accept("en", "/?lang=ja");
    assert!(chosen.body.contains("href=\"/tags?lang=ja\""));
    assert!(chosen.header("vary").unwrap().contains("accept-language"));
    assert!(accept("ja", "/nothing").body.contains("ページがありません"));
    let fixed = seed::start(&["--lang", "ja"]);
    let page = fixed.reader().send("GET", "/", &[("Accept-Language", "en")], "");
    assert!(page.body.contains("アーカイブ"));
    assert_eq!(page.header("vary"), Some("accept-encoding"));
    // Posts say their own language where it is another one.
    assert!(page.body.contains("lang=\"en\">"));
}

#[test]
fn search_pages_meet_and_show_what_was_found() {
    let app = TestApp::start();
    let mut owner = app.owner();
    for n in 1..=25 {
        write(&mut owner, &format!("午後 number {n}."));
    }
    let first = get(&app, "/search?q=%E5%8D%88%E5%BE%8C").body;
    assert_eq!(first.matches("<mark>午後</mark>").count(), 20);
    let older = first
        .split("rel=\"next\" href=\"")
        .nth(1)
        .unwrap()
        .split('"')
        .next()
        .unwrap();
    let second = get(&app, &older.replace("&#38;", "&")).body;
    assert_eq!(second.matches("<mark>午後</mark>").count(), 5);
    // The index follows an edit at once.
    let csrf = owner.get("/admin/posts/1/edit").field("csrf");
    owner.post("/admin/posts/1/edit", &[("csrf", &csrf), ("body", "朝 number 1.")]);
    assert!(get(&app, "/search?q=%E6%9C%9D").body.contains("<mark>朝</mark>"));
    let hostile = get(&app, "/search?q=%3Cscript%3Ealert(1)%3C%2Fscript%3E%22+AND+NEAR(%00");
    assert_eq!(hostile.status, 200);
    assert!(!hostile.body.contains("<script"));
}

#[test]
fn nothing_new_is_not_sent_again() {
    let app = seed::start(&[]);
    for path in [
        "/",
        "/posts/1",
        "/tags",
        "/archive",
        "/2026",
        "/about",
        "/feed.atom",
        "/feed.rss",
        "/feed.json",
        "/twtxt.txt",
    ] {
        let page = get(&app, path);
        let tag = page.header("etag").unwrap_or_else(|| panic!("{path}")).to_owned();
        let again = app.reader().send("GET", path, &[("If-None-Match", &tag)], "");
        assert_eq!((again.status, again.body.len()), (304, 0), "{path}");
        if let Some(modified) = page.header("last-modified") {
            let again = app.reader().send("GET", path, &[("If-Modified-Since", modified)], "");
            assert_eq!(again.status, 304, "{path}");
        }
    }
    let feed = get(&app, "/feed.atom");
    assert_eq!(feed.header("last-modified"), Some("Sun, 05 Jul 2026 14:03:00 GMT"));
    let tag = get(&app, "/").header("etag").unwrap().to_owned();
    write(&mut app.owner(), "something new");
    let again = app.reader().send("GET", "/", &[("If-None-Match", &tag)], "");
    assert_eq!(again.status, 200);
    assert!(again.body.contains("something new"));
}

/// A change by another program shows within a second or so.
#[test]
fn other_programs_may_write() {
    let app = seed::start(&[]);
    assert!(get(&app, "/").body.contains("今日から"));
    let mut db = diesel::Connection::establish(app.database().to_str().unwrap()).unwrap();
    let connection: &mut diesel::SqliteConnection = &mut db;
    diesel::connection::SimpleConnection::batch_execute(connection, "UPDATE posts SET body = 'by hand' WHERE id = 11")
        .unwrap();
    for _ in 0..100 {
        if get(&app, "/").body.contains("by hand") {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    panic!("the change does not show");
}

/// Bytes of an answer as it travels, compressed and with its head, and the text in it.
fn compressed(app: &TestApp, path: &str) -> (usize, String) {
    use std::io::{Read, Write};
    let mut stream = std::net::TcpStream::connect(&app.address).unwrap();
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: {}\r\nAccept-Encoding: gzip\r\nConnection: close\r\n\r\n",
        app.address
    );
    stream.write_all(request.as_bytes()).unwrap();
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).unwrap();
    let head = bytes.windows(4).position(|four| four == b"\r\n\r\n").unwrap() + 4;
    let mut text = String::new();
    flate2::read::GzDecoder::new(&bytes[head..])
        .read_to_string(&mut text)
        .unwrap();
    (bytes.len(), text)
}

/// Bytes of a page as it travels, with its head. It brings one stylesheet along, and nothing else is asked for.
fn page_bytes(app: &TestApp, path: &str) -> usize {
    let (bytes, html) = compressed(app, path);
    assert!(html.ends_with("</html>") || html.ends_with("</html>\n"), "{path}");
    assert_eq!(html.matches("<link rel=\"stylesheet\"").count(), 1);
    for other in [
        "<script",
        "<img",
        "<iframe",
        "<object",
        "<embed",
        "<audio",
        "<video",
        "<source",
        " style=",
        "<style",
        "rel=\"icon\"",
        "rel=\"preload\"",
        "http-equiv",
    ] {
        assert!(!html.contains(other), "{path} has {other}");
    }
    bytes
}

#[test]
fn pages_stay_within_their_budgets() {
    let app = TestApp::start();
    let mut owner = app.owner();
    // Full pages of long notes, no two of them alike.
    for n in 0..21_u32 {
        let words: Vec<String> = (0..45_u32)
            .map(|k| format!("{:x}", (n * 977 + k * 7919) % 65_521))
            .collect();
        write(&mut owner, &format!("{} 日本語の文章その{n} #tag{n}", words.join(" ")));
    }
    let front = page_bytes(&app, "/");
    assert!(front <= 12_000, "front page: {front} bytes");
    let post = page_bytes(&app, "/posts/1");
    assert!(post <= 3_000, "post: {post} bytes");
    let archive = page_bytes(&app, "/archive");
    assert!(archive <= 3_000, "archive: {archive} bytes");
    let page = get(&app, "/").body;
    let style = page
        .split("rel=\"stylesheet\" href=\"")
        .nth(1)
        .unwrap()
        .split('"')
        .next()
        .unwrap();
    let (style, text) = compressed(&app, style);
    assert!(style <= 4_000, "stylesheet: {style} bytes");
    assert!(!text.contains("url(") && !text.contains("@import"));
}

#[test]
fn a_browser_of_text_shows_everything() {
    let Some(w3m) = require::program(&["w3m"]) else { return };
    let app = seed::start(&[]);
    let dump = |path: &str| {
        let output = std::process::Command::new(&w3m)
            .args(["-dump", "-cols", "72", "-O", "UTF-8"])
            .arg(format!("http://{}{path}", app.address))
            .env_remove("http_proxy")
            .env("HOME", app.directory.path())
            .output()
            .unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    crate::snapshot::check("w3m-front", &dump("/"));
    crate::snapshot::check("w3m-thread", &dump("/posts/4"));
}

/// html5lib reports what the parser of the HTML standard calls a parse error.
#[test]
fn every_page_is_valid_html() {
    let script = "
import sys, json, html5lib
pages = json.load(sys.stdin)
for path, body in pages:
    parser = html5lib.HTMLParser(strict=False)
    parser.parse(body)
    for place, code, data in parser.errors:
        print(path, place, code, data)
";
    let app = seed::start(&[]);
    let mut owner = app.owner();
    let mut pages: Vec<(String, String)> = Vec::new();
    for path in [
        "/",
        "/?lang=ja",
        "/posts/4",
        "/posts/6",
        "/posts/7",
        "/posts/10",
        "/about",
        "/tags",
        "/tags/rust",
        "/archive",
        "/2026",
        "/2026/07/05",
        "/search?q=rust",
        "/search?q=%22%3C",
        "/login",
        "/nothing",
        "/admin",
        "/admin/new",
        "/admin/new?reply_to=4",
        "/admin/posts/6/edit",
        "/admin/posts/10/edit",
        "/admin/posts/6/delete",
        "/admin/posts/15/purge",
        "/admin/posts/11/history",
        "/admin/drafts",
        "/admin/scheduled",
        "/admin/pages",
        "/admin/trash",
        "/admin/media",
        "/admin/sessions",
        "/admin/tokens",
        "/admin/two-factor",
        "/admin/status",
    ] {
        pages.push((path.to_owned(), get(&app, path).body));
        let page = owner.get(path);
        if page.status != 303 {
            pages.push((format!("owner {path}"), page.body));
        }
    }
    let Some(said) = python::judge(script, &serde_json::to_string(&pages).unwrap()) else {
        return;
    };
    assert_eq!(said, "");
    // The judge is awake.
    let wrong = serde_json::to_string(&[("wrong", "<!DOCTYPE html><p><table><b></table>")]).unwrap();
    assert!(python::judge(script, &wrong).unwrap().contains("wrong"));
}

#[test]
fn microformats_say_what_the_posts_are() {
    let script = "
import sys, json, mf2py
out = []
for path, body in json.load(sys.stdin):
    parsed = mf2py.parse(doc=body, url='http://example.onion' + path)
    out.append([path, parsed['items']])
json.dump(out, sys.stdout)
";
    let app = seed::start(&[]);
    let pages: Vec<_> = ["/", "/posts/8", "/posts/4", "/posts/7", "/posts/10", "/posts/6"]
        .map(|path| (path, get(&app, path).body))
        .into();
    let Some(said) = python::judge(script, &serde_json::to_string(&pages).unwrap()) else {
        return;
    };
    let parsed: serde_json::Value = serde_json::from_str(&said).unwrap();
    let items = |page: usize| -> Vec<serde_json::Value> {
        let (cards, items): (Vec<_>, Vec<_>) = parsed[page][1]
            .as_array()
            .unwrap()
            .iter()
            .cloned()
            .partition(|item| item["type"][0] == "h-card");
        // The name of the blog, at the top of every page, is its author's card.
        assert_eq!(cards[0]["properties"]["name"][0], "On a small computer");
        assert_eq!(cards[0]["properties"]["url"][0], "http://example.onion/");
        items
    };

    let feed = &items(0)[0];
    assert_eq!(feed["type"][0], "h-feed");
    assert_eq!(feed["properties"]["name"][0], "On a small computer");
    assert_eq!(feed["properties"]["author"][0], "http://example.onion/");
    let entries = feed["children"].as_array().unwrap();
    assert_eq!(entries.len(), 11);
    for entry in entries {
        assert_eq!(entry["type"][0], "h-entry");
        let properties = &entry["properties"];
        assert!(
            properties["url"][0]
                .as_str()
                .unwrap()
                .starts_with("http://example.onion/posts/"),
            "{entry}"
        );
        assert!(properties["published"][0].as_str().unwrap().contains('T'));
        // A name that a parser makes up of the whole text would say that a note has a title.
        let title = properties.get("name");
        let is_note = properties["url"][0] != "http://example.onion/posts/6"
            && properties["url"][0] != "http://example.onion/posts/7";
        assert_eq!(title.is_none(), is_note, "{entry}");
    }
    let note = &items(1)[0]["properties"];
    assert_eq!(note["category"], serde_json::json!(["Rust", "ラズパイ"]));
    assert!(note["content"][0]["value"].as_str().unwrap().contains("ﾗｽﾞﾊﾟｲでＲｕｓｔ"));
    assert_eq!(note["updated"][0], "2026-07-02T13:46:40Z");
    assert_eq!(note["author"][0], "http://example.onion/");
    assert_eq!(items(2)[0]["children"].as_array().unwrap().len(), 3, "the thread");
    assert_eq!(
        items(3)[0]["properties"]["bookmark-of"][0],
        "https://www.rust-lang.org/learn"
    );
    let photo = &items(4)[0]["properties"]["photo"][0];
    assert!(
        photo["value"]
            .as_str()
            .unwrap()
            .starts_with("http://example.onion/media/")
    );
    assert!(photo["alt"].as_str().unwrap().starts_with("A low sun"));
    assert_eq!(items(5)[0]["properties"]["name"][0], "A blog in a drawer");
}
