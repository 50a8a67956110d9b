//! Forms of other sites, addresses that lead elsewhere, lines inside headers, requests that are too large or no requests.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use blog::routes::table::{READING, Route, WRITING};

use crate::app::{PASSWORD, TestApp, write};
use crate::crawl::BASE;
use crate::data::png;
use crate::http::{Browser, MULTIPART, Response, encode, exchange, multipart, parse, raw};
use crate::seed;

/// Everything that a forged form could have changed.
const STATE: &str = "SELECT (SELECT group_concat(id || body || coalesce(title, '') || coalesce(pinned_at, '') || coalesce(deleted_at, '')) FROM posts)
    || (SELECT count(*) FROM media) || ' ' || (SELECT count(*) FROM sessions) || ' ' || (SELECT count(*) FROM api_tokens)
    || ' ' || (SELECT count(*) FROM revisions) AS value";

/// The addresses that take forms of the owner, with a post in the place of what stands in braces. Programs bring tokens of
/// their own to theirs.
fn forms() -> Vec<String> {
    let routes = WRITING.iter().chain(READING).filter(|route| route.post.is_some());
    let paths = routes.map(|route| filled(route, "1"));
    paths.filter(|path| !path.contains("micropub")).collect()
}

fn filled(route: &Route, with: &str) -> String {
    let parts = route
        .path
        .split('/')
        .map(|part| match (part.find('{'), part.rfind('}')) {
            (Some(start), Some(end)) => format!("{}{with}{}", &part[..start], &part[end + 1..]),
            _ => part.to_owned(),
        });
    parts.collect::<Vec<_>>().join("/")
}

/// Sends a form both ways: as browsers send text, and as they send files.
fn both_ways(owner: &mut Browser, path: &str, header: (&str, &str), fields: &[(&str, &str)]) -> [Response; 2] {
    let text = owner.post_with(path, &[header], fields);
    let body = multipart(fields, &[("file", "p.png", &png(1))]);
    let files = owner.send_bytes("POST", path, &[("Content-Type", MULTIPART), header], &body);
    [text, files]
}

#[test]
fn a_form_of_another_site_changes_nothing() {
    let app = TestApp::start_with(&["--base-url", BASE]);
    let mut owner = app.owner();
    write(&mut owner, "untouched");
    let csrf = owner.get("/admin/new").field("csrf");
    let login = app.reader().get("/login").field("csrf");
    let before = app.rows(STATE);
    let paths = forms();
    assert!(paths.len() > 14 && paths.contains(&"/login".to_owned()), "{paths:?}");
    for path in &paths {
        let fields = |token| {
            [
                ("csrf", token),
                ("key", "00112233445566778899aabbccddeeff"),
                ("body", "forged"),
                ("pin", "1"),
                ("session", "others"),
                ("password", PASSWORD),
            ]
        };
        let right = if path == "/login" {
            login.as_str()
        } else {
            csrf.as_str()
        };
        for (header, value, token) in [
            ("Origin", "http://evil.example", right),
            ("Origin", "https://example.onion", right),
            ("Origin", "http://example.onion.evil.example", right),
            ("Origin", "http://example.onion:81", right),
            ("Origin", "file://", right),
            ("Origin", "", right),
            ("Sec-Fetch-Site", "cross-site", right),
            ("Origin", "null", "x"),
            ("Origin", BASE, "x"),
            ("Origin", BASE, ""),
        ] {
            for answer in both_ways(&mut owner, path, (header, value), &fields(token)) {
                // A form with files is none to those that take none.
                assert!(
                    matches!(answer.status, 403 | 415),
                    "{path}, {header}: {value}, {token}: {}",
                    answer.status
                );
                let cookie = answer.header("set-cookie").unwrap_or_default();
                assert!(!cookie.contains("blog_session"), "{path}: {cookie}");
            }
        }
    }
    assert_eq!(app.rows(STATE), before);

    // "null" says nothing: the token decides. The one that signs out comes last.
    for path in paths
        .iter()
        .filter(|path| !["/login", "/logout"].contains(&path.as_str()))
    {
        for origin in ["null", BASE] {
            let answer = owner.post_with(path, &[("Origin", origin)], &[("csrf", &csrf), ("pin", "1")]);
            assert!(!answer.body.contains("The form has expired"), "{path}, {origin}");
        }
    }
    assert_eq!(
        owner
            .post_with("/logout", &[("Origin", "null")], &[("csrf", &csrf)])
            .status,
        303
    );
    assert_eq!(owner.get("/admin").location(), "/login");
}

#[test]
fn no_address_leads_out_of_the_blog() {
    let app = seed::start(&[]);
    let owner = app.owner();
    let long = "x".repeat(4000);
    let ways = [
        "..",
        "../../blog.db",
        "..%2f..%2fblog.db",
        "%2e%2e%2f%2e%2e%2fetc%2fpasswd",
        "%252e%252e%252fblog.db",
        "..%5c..%5cblog.db",
        "..%c0%afblog.db",
        "%c0%ae%c0%ae%c0%afblog.db",
        "....%2f%2fblog.db",
        "%2fetc%2fpasswd",
        "/etc/passwd",
        "blog.db",
        "blog.db%00.png",
        ".%00./blog.db",
        "new-0000",
        "-1",
        "99999999999999999999",
        "1;drop table posts",
        "1%20or%201=1",
        "%27%20or%20%271",
        "1e3",
        "%ff",
        "%",
        "%0d%0aX-Injected:%201",
        &long,
    ];
    let mut asked = 0;
    for route in READING.iter().chain(WRITING).filter(|route| route.path.contains('{')) {
        for way in ways {
            let path = filled(route, way);
            for (method, browser) in [("GET", &owner), ("GET", &app.reader()), ("POST", &owner)] {
                let request = format!(
                    "{method} {} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\nCookie: {}\r\nContent-Length: 0\r\n\
                     Content-Type: application/x-www-form-urlencoded\r\n\r\n",
                    path.replace(' ', "%20"),
                    browser.cookie_header()
                );
                let bytes = exchange(&app.address, request.as_bytes());
                let text = String::from_utf8_lossy(&bytes);
                let status: u16 = text.split(' ').nth(1).unwrap().parse().unwrap();
                assert!(
                    matches!(status, 301 | 303 | 400 | 403 | 404 | 405 | 410),
                    "{method} {path}: {status}"
                );
                assert!(!text.contains("SQLite format") && !text.contains("root:"), "{path}");
                assert!(!text.to_lowercase().contains("\nx-injected"), "{path}: {text}");
                asked += 1;
            }
        }
    }
    assert!(asked > 1000, "{asked}");
    assert_eq!(app.reader().get("/").status, 200);
}

#[test]
fn no_field_makes_a_header() {
    let app = TestApp::start_with(&["--base-url", BASE, "--title", "T"]);
    let mut owner = app.owner();
    let csrf = owner.get("/admin/new").field("csrf");
    let line = "a\r\nX-Injected: 1\r\n\r\n<script>";
    let mut answers = Vec::new();
    for (n, name) in [
        "title", "tags", "slug", "lang", "link", "date", "body", "do", "key", "csrf",
    ]
    .iter()
    .enumerate()
    {
        let key = format!("{n:032x}");
        let own = [("csrf", csrf.as_str()), ("key", &key), ("body", "x")];
        let mut fields: Vec<_> = own.into_iter().filter(|(known, _)| known != name).collect();
        fields.push((name, line));
        answers.push(owner.post("/admin/posts", &fields));
    }
    // Redirects carry tags and numbers.
    for path in [
        "/tags/",
        "/old/x/",
        "/u/",
        "/posts/",
        "/x/status/",
        "/",
        "/search?q=",
        "/?lang=",
        "/?before=",
    ] {
        answers.push(owner.get(&format!("{path}{}", encode(line))));
        // A tag that is spelled otherwise is redirected.
        answers.push(owner.get(&format!("{path}{}", encode("Ａ\r\nX-Injected: 1"))));
    }
    write(&mut owner, "#Ａ");
    answers.push(owner.get(&format!("/tags/{}", encode("Ａ"))));
    assert_eq!(answers.last().unwrap().status, 301);
    for name in [
        "p.png\r\nX-Injected: 1",
        "p.png\"; filename=\"/etc/passwd",
        "../../p.png",
        "p\0.png",
        "/etc/p.png",
    ] {
        answers.push(owner.upload("/admin/media", &[("csrf", &csrf)], &[("file", name, &png(1))]));
    }
    let listed = owner.get("/admin/media");
    let image = listed
        .body
        .split("/media/")
        .nth(1)
        .unwrap_or_else(|| panic!("no image: {}", listed.body))
        .split('"')
        .next()
        .unwrap()
        .to_owned();
    let shown = exchange(
        &app.address,
        format!(
            "GET /media/{image} HTTP/1.1\r\nHost: 127.0.0.1\r\nCookie: blog_session={}\r\nConnection: close\r\n\r\n",
            owner.cookie("blog_session").unwrap()
        )
        .as_bytes(),
    );
    let shown = crate::http::split(&shown).0;
    assert_eq!((shown.status, shown.header("content-type")), (200, Some("image/png")));
    answers.extend([listed, shown]);
    for answer in &answers {
        assert!(answer.status < 500, "{answer:?}");
        for (name, value) in &answer.headers {
            assert!(name != "x-injected" && !value.contains(['\r', '\n']), "{name}: {value}");
        }
    }
    // Nothing was stored under a name of somebody else.
    let media = app.directory.path().join("blog.db.media");
    let names: Vec<_> = std::fs::read_dir(media)
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(names, [image.as_str()]);
}

/// Sends bytes, and says what came back, if anything did.
fn status(app: &TestApp, request: &[u8]) -> Option<u16> {
    let mut stream = TcpStream::connect(&app.address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let _ = stream.write_all(request);
    let _ = stream.shutdown(std::net::Shutdown::Write);
    let mut bytes = Vec::new();
    let _ = stream.read_to_end(&mut bytes);
    if bytes.is_empty() {
        return None;
    }
    assert_eq!(
        bytes.windows(9).filter(|nine| nine == b"HTTP/1.1 ").count(),
        1,
        "{}",
        String::from_utf8_lossy(&bytes)
    );
    Some(parse(&bytes).status)
}

#[test]
fn what_is_no_request_is_refused_and_hurts_nobody() {
    let app = TestApp::start();
    let mut owner = app.owner();
    write(&mut owner, "here");
    let refused = |what: &str, request: String| {
        let status = status(&app, request.as_bytes());
        assert!(
            status
                .is_none_or(|status| matches!(status, 400 | 403 | 404 | 405 | 408 | 411 | 413 | 414 | 415 | 421 | 431)),
            "{what}: {status:?}"
        );
        assert_eq!(app.reader().get("/").status, 200, "after {what}");
    };
    let host = "Host: 127.0.0.1\r\nConnection: close\r\n";
    let form = format!("{host}Content-Type: application/x-www-form-urlencoded\r\n");
    refused(
        "a long address",
        format!("GET /{} HTTP/1.1\r\n{host}\r\n", "x".repeat(200_000)),
    );
    refused(
        "a long query",
        format!("GET /nothing?{} HTTP/1.1\r\n{host}\r\n", "x".repeat(200_000)),
    );
    refused(
        "a long header",
        format!("GET / HTTP/1.1\r\n{host}X: {}\r\n\r\n", "x".repeat(200_000)),
    );
    refused(
        "many headers",
        format!("GET / HTTP/1.1\r\n{host}{}\r\n", "X: y\r\n".repeat(2_000)),
    );
    refused(
        "headers without end",
        format!("GET / HTTP/1.1\r\n{host}{}", "X: y\r\n".repeat(50_000)),
    );
    refused(
        "two lengths",
        format!("POST /login HTTP/1.1\r\n{form}Content-Length: 1\r\nContent-Length: 2\r\n\r\nab"),
    );
    refused(
        "length and chunks",
        format!(
            "POST /login HTTP/1.1\r\n{form}Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET / HTTP/1.1\r\n{host}\r\n"
        ),
    );
    for length in ["-1", "+1", "1 1", "0x1", "99999999999999999999", "ab"] {
        refused(
            length,
            format!("POST /login HTTP/1.1\r\n{form}Content-Length: {length}\r\n\r\nab"),
        );
    }
    refused(
        "odd chunks",
        format!("POST /login HTTP/1.1\r\n{form}Transfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\nx\r\n0\r\n\r\n"),
    );
    refused(
        "unknown coding",
        format!("POST /login HTTP/1.1\r\n{form}Transfer-Encoding: x, chunked\r\n\r\n0\r\n\r\n"),
    );
    refused("a folded header", format!("GET / HTTP/1.1\r\n{host}X: a\r\n b\r\n\r\n"));
    refused("a name with a blank", format!("GET / HTTP/1.1\r\n{host}X : a\r\n\r\n"));
    refused("a nul", format!("GET / HTTP/1.1\r\n{host}X: a\0b\r\n\r\n"));
    refused("no request", "hello\r\n\r\n".to_owned());
    refused("another protocol", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_owned());
    refused("a tunnel", format!("CONNECT evil.example:80 HTTP/1.1\r\n{host}\r\n"));
    refused("a proxy", format!("GET http://evil.example/ HTTP/1.1\r\n{host}\r\n"));

    // More fields and parts than any form has.
    let csrf = owner.get("/admin/new").field("csrf");
    let many: Vec<_> = (0..30_000).map(|n| format!("a{n}=")).collect();
    let cookie = format!("blog_session={}", owner.cookie("blog_session").unwrap());
    let head = [("Content-Type", "application/x-www-form-urlencoded")];
    let late = owner.send(
        "POST",
        "/admin/posts",
        &head,
        &format!("{}&csrf={csrf}&body=x", many.join("&")),
    );
    assert_eq!(late.status, 403, "what comes after the first fields is not read");
    let fields: Vec<(&str, &str)> = vec![("a", ""); 2_000];
    let parts = owner.upload("/admin/media", &fields, &[]);
    assert_eq!(parts.status, 413);
    let image = png(1);
    let files: Vec<(&str, &str, &[u8])> = vec![("file", "p.png", &image); 50];
    assert_eq!(owner.upload("/admin/media", &[("csrf", &csrf)], &files).status, 413);
    let announced = format!(
        "POST /admin/media HTTP/1.1\r\n{host}Content-Type: {MULTIPART}\r\nCookie: {cookie}\r\nContent-Length: 99999999999\r\n\r\n"
    );
    assert_eq!(raw(&app.address, announced.as_bytes()).status, 413, "before it is sent");
    let left: Vec<_> = std::fs::read_dir(app.directory.path().join("blog.db.media"))
        .unwrap()
        .collect();
    assert!(left.len() <= 1, "{left:?}");
    assert_eq!(app.rows("SELECT count(*) AS value FROM posts"), "1");
}
