//! What every response carries, and what is refused.

use crate::app::TestApp;
use crate::http::{Browser, Response, raw};

fn has_the_headers(response: &Response, what: &str) {
    assert_eq!(
        response.header("content-security-policy"),
        Some(
            "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; \
             frame-ancestors 'none'"
        ),
        "{what}"
    );
    assert_eq!(response.header("x-content-type-options"), Some("nosniff"), "{what}");
    assert_eq!(response.header("referrer-policy"), Some("same-origin"), "{what}");
    assert!(
        response.header("content-type").is_some() || response.body.is_empty(),
        "{what}"
    );
}

#[test]
fn every_response_has_the_headers() {
    let app = TestApp::start();
    let mut reader = app.reader();
    let tag = reader.get("/feed.atom").header("etag").unwrap().to_owned();
    let mut expect = |method: &str, path: &str, headers: &[(&str, &str)], body: &str, status: u16| {
        let response = reader.send(method, path, headers, body);
        assert_eq!(response.status, status, "{method} {path}: {}", response.body);
        has_the_headers(&response, &format!("{method} {path}"));
    };
    let form = [("Content-Type", "application/x-www-form-urlencoded")];
    for path in ["/", "/login", "/feed.atom", "/healthz"] {
        expect("GET", path, &[], "", 200);
        expect("HEAD", path, &[], "", 200);
    }
    expect("GET", "/admin/new", &[], "", 303);
    expect("GET", "/feed.atom", &[("If-None-Match", &tag)], "", 304);
    for path in [
        "/nothing",
        "/posts/7",
        "/style-x.css",
        "/%00",
        "/posts/%ff",
        "/?before=x",
    ] {
        expect("GET", path, &[], "", 404);
    }
    expect("POST", "/", &form, "", 405);
    expect("DELETE", "/posts/1", &[], "", 405);
    expect("GET", "/logout", &[], "", 405);
    expect("POST", "/admin/posts", &form, "csrf=x", 403);
    expect("POST", "/login", &[("Content-Type", "application/json")], "{}", 415);
    expect("POST", "/login", &[], "", 415);
}

#[test]
fn more_than_a_form_may_hold_is_413() {
    let app = TestApp::start();
    let mut browser = app.reader();
    let body = format!("body={}", "x".repeat(256 * 1024));
    let form = [("Content-Type", "application/x-www-form-urlencoded")];
    let response = browser.send("POST", "/admin/posts", &form, &body);
    assert_eq!(response.status, 413);
    has_the_headers(&response, "announced");
    assert!(response.body.contains("Too large"));

    // Nor without saying how much it will be.
    let chunk = format!("4000\r\n{}\r\n", "x".repeat(0x4000));
    let request = format!(
        "POST /admin/posts HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/x-www-form-urlencoded\r\n\
         Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n{}0\r\n\r\n",
        chunk.repeat(17)
    );
    let response = raw(&app.address, request.as_bytes());
    assert_eq!(response.status, 413);
    has_the_headers(&response, "chunked");
}

#[test]
fn a_500_tells_the_reader_nothing() {
    let app = TestApp::start();
    break_database(&app);
    let response = app.reader().get("/");
    assert_eq!(response.status, 500);
    has_the_headers(&response, "500");
    assert!(response.body.contains("Something went wrong"));
    for secret in ["posts.", "no such table", "SQL", "blog.db", "diesel"] {
        assert!(!response.body.contains(secret), "{}", response.body);
    }
    app.log_with("no such table");
    assert_eq!(app.reader().get("/healthz").status, 503);
}

/// Takes the tables away under the running program.
fn break_database(app: &TestApp) {
    use diesel::connection::SimpleConnection;
    use diesel::prelude::*;
    let path = app.database();
    let mut connection = diesel::sqlite::SqliteConnection::establish(path.to_str().unwrap()).unwrap();
    connection
        .batch_execute("PRAGMA foreign_keys = OFF; DROP TABLE compose_keys; DROP TABLE posts; DROP TABLE site")
        .unwrap();
}

#[test]
fn the_405_page_names_what_is_allowed() {
    let app = TestApp::start();
    let mut browser: Browser = app.reader();
    let response = browser.send("DELETE", "/admin/posts/1/edit", &[], "");
    assert_eq!(response.header("allow"), Some("GET, HEAD, POST"));
}

#[test]
fn the_log_names_no_reader() {
    let app = TestApp::start();
    let agent = [("User-Agent", "Secret/1.0"), ("Referer", "http://secret.example/")];
    app.reader().send("GET", "/?before=1-1", &agent, "");
    let log = app.log_with("msg=request");
    let line = log.lines().find(|line| line.contains("msg=request")).unwrap();
    assert!(
        line.starts_with("ts=20") && line.contains(" method=GET path=/ status=200 ms="),
        "{line}"
    );
    assert!(
        !log.contains("Secret") && !log.contains("secret") && !log.contains("before"),
        "{log}"
    );
    assert!(!line.contains("127.0.0.1"), "{line}");
}

/// They wait a moment for each other, so a stop in that moment must not take any with it.
#[test]
fn a_stop_loses_no_line_about_an_answer_and_their_order_stays() {
    let mut app = TestApp::start();
    let mut reader = app.reader();
    let paths: Vec<_> = (0..40).map(|n| format!("/nothing-{n}")).collect();
    for path in &paths {
        assert_eq!(reader.get(path).status, 404);
    }
    assert!(app.terminate().success());
    let log = app.log_with("msg=stopped");
    let written: Vec<_> = log
        .lines()
        .filter_map(|line| line.split_once(" path=")?.1.split_once(" status=404 ms="))
        .map(|(path, _)| path)
        .collect();
    assert_eq!(written, paths);
    assert!(
        log.find("path=/nothing-39").unwrap() < log.find("msg=stopping").unwrap(),
        "{log}"
    );
}

#[test]
fn the_log_may_be_without_a_line_for_each_answer() {
    let mut app = TestApp::start_with(&["--log", "events"]);
    assert_eq!(app.reader().get("/").status, 200);
    app.terminate();
    let log = app.log_with("msg=stopped");
    assert!(log.contains("msg=listening") && !log.contains("msg=request"), "{log}");
}
