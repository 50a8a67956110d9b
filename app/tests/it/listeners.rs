//! Two listeners, sockets in the file system, and the names that the blog answers to.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::Duration;

use blog::routes::table::{READING, WRITING};

use crate::app::{PASSWORD, TestApp, login, program, signal, write};
use crate::http::{self, Browser, Response, raw};

/// The blog with a listener for readers and one for the owner.
pub fn two() -> (TestApp, Browser) {
    let app = TestApp::start_with(&["--listen", "127.0.0.2:0"]);
    let reader = reader_of(&app);
    (app, reader)
}

/// Somebody at the listener for readers.
pub fn reader_of(app: &TestApp) -> Browser {
    let log = app.log_with("serves=readers");
    let line = log.lines().find(|line| line.contains("serves=readers")).unwrap();
    let address = line.split_once("addr=").unwrap().1.split(' ').next().unwrap();
    Browser {
        address: address.to_owned(),
        cookies: Vec::new(),
    }
}

/// Made, kept, and kept under what was asked for: readers cannot tell.
#[test]
fn what_is_asked_for_again_and_again_is_the_same_answer() {
    let (app, mut reader) = two();
    let mut owner = app.owner();
    write(&mut owner, "one #tag");
    write(&mut owner, &"many words ".repeat(200));
    let headers = |response: &Response| {
        let mut headers = response.headers.clone();
        headers.retain(|(name, _)| !name.eq_ignore_ascii_case("date"));
        headers.sort();
        headers
    };
    let paths = [
        "/",
        "/posts/1",
        "/posts/2",
        "/tags",
        "/tags/tag",
        "/archive",
        "/feed.atom",
        "/feed.rss",
        "/feed.json",
        "/twtxt.txt",
        "/nothing",
    ];
    for language in ["en", "ja"] {
        for path in paths {
            let language = ("Accept-Language", language);
            let answers: Vec<Response> = (0..3).map(|_| reader.send("GET", path, &[language], "")).collect();
            for answer in &answers[1..] {
                assert_eq!(answer.status, answers[0].status, "{path}");
                assert_eq!(headers(answer), headers(&answers[0]), "{path}");
                assert_eq!(answer.body, answers[0].body, "{path}");
            }
            if path == "/nothing" {
                assert_eq!(answers[0].status, 404);
                continue;
            }
            let tag = answers[2].header("etag").unwrap();
            let again = reader.send("GET", path, &[language, ("If-None-Match", tag)], "");
            assert_eq!((again.status, again.body.as_str()), (304, ""), "{path}");
            assert_eq!(again.header("etag"), Some(tag));
            assert!(again.header("content-security-policy").is_some(), "{path}");
            let head = reader.send("HEAD", path, &[language], "");
            assert_eq!(headers(&head), headers(&answers[0]), "{path}");
        }
    }
    let ja = reader.send("GET", "/", &[("Accept-Language", "ja")], "");
    assert!(ja.body.contains("<html lang=\"ja\">"));
    assert!(reader.get("/?lang=en").body.contains("<html lang=\"en\">"));
    let request = "GET / HTTP/1.1\r\nHost: 127.0.0.2\r\nAccept-Encoding: gzip\r\nConnection: close\r\n\r\n";
    let bytes = http::exchange(&reader.address, request.as_bytes());
    let (head, body) = http::split(&bytes);
    assert_eq!(head.header("content-encoding"), Some("gzip"));
    assert_eq!(body[..2], [0x1f, 0x8b]);
    write(&mut owner, "three");
    assert!(reader.get("/").body.contains("three"));
    // Also at another name, where nothing is answered.
    let elsewhere = raw(
        &reader.address,
        b"GET / HTTP/1.1\r\nHost: elsewhere.example\r\nConnection: close\r\n\r\n",
    );
    assert_eq!(elsewhere.status, 421);
}

/// A pattern of the table with something in every place.
fn filled(pattern: &str) -> String {
    let mut path = String::new();
    let mut rest = pattern;
    while let Some((before, after)) = rest.split_once('{') {
        path.push_str(before);
        path.push('1');
        rest = after.split_once('}').unwrap().1;
    }
    path + rest
}

#[test]
fn to_readers_the_owners_addresses_do_not_exist() {
    let (app, mut reader) = two();
    let mut owner = app.owner();
    write(&mut owner, "for readers");
    // So that there is an older version to ask for.
    let csrf = owner.get("/admin/new").field("csrf");
    let edited = owner.post("/admin/posts/1/edit", &[("csrf", &csrf), ("body", "for all readers")]);
    assert_eq!(edited.location(), "/posts/1");
    assert!(WRITING.len() >= 6 && READING.len() >= 5);
    for route in WRITING {
        let path = filled(route.path);
        let shared = READING.iter().any(|reading| filled(reading.path) == path);
        // With the owner's own cookie and form, too.
        reader.cookies = owner.cookies.clone();
        let csrf = owner.get("/admin/new").field("csrf");
        if !shared || route.get.is_none() {
            assert!([404, 405].contains(&reader.get(&path).status), "GET {path}");
        }
        if !shared {
            let response = reader.get(&path);
            assert_eq!(response.status, 404, "GET {path}");
            let response = reader.post(&path, &[("csrf", &csrf), ("body", "forged"), ("password", PASSWORD)]);
            assert!(
                [404, 405].contains(&response.status),
                "POST {path}: {}",
                response.status
            );
            assert_eq!(response.header("set-cookie"), None, "{path}");
        }
        assert_ne!(owner.get(&path).status, 404, "the owner's listener has GET {path}");
    }
}

#[test]
fn readers_get_no_cookie_and_their_cookies_are_not_read() {
    let (app, mut reader) = two();
    let mut owner = app.owner();
    let post = write(&mut owner, "the same for all");
    for path in ["/", &post, "/feed.atom", "/nothing", "/posts?x", "/healthz", "/login"] {
        reader.cookies.clear();
        let plain = reader.get(path);
        reader.cookies = owner.cookies.clone();
        let with_cookie = reader.get(path);
        assert_eq!(plain.body, with_cookie.body, "{path}");
        for response in [plain, with_cookie] {
            assert_eq!(response.header("set-cookie"), None, "{path}");
            assert!(
                !response
                    .header("vary")
                    .unwrap_or_default()
                    .to_lowercase()
                    .contains("cookie"),
                "{path}"
            );
            for words in ["Sign in", "Sign out", "/login", "/admin", "csrf"] {
                assert!(!response.body.contains(words), "{path} has {words}");
            }
        }
    }
    assert!(
        owner.get("/").body.contains("Sign out"),
        "the owner's listener knows the owner"
    );
}

fn host(app: &TestApp, host: &str) -> Response {
    let request = format!("GET / HTTP/1.1\r\n{host}Connection: close\r\n\r\n");
    raw(&app.address, request.as_bytes())
}

#[test]
fn a_name_that_is_not_ours_is_refused() {
    let app = TestApp::start_with(&[
        "--base-url",
        "http://abcdef.onion/",
        "--admin-url",
        "http://ghijkl.onion",
        "--hosts",
        "pi.lan, blog.lan",
    ]);
    for known in [
        "abcdef.onion",
        "ghijkl.onion:80",
        "PI.lan",
        "blog.lan:8080",
        "localhost",
        "10.0.0.7",
        "[::1]:80",
    ] {
        assert_eq!(host(&app, &format!("Host: {known}\r\n")).status, 200, "{known}");
    }
    for unknown in [
        "Host: evil.example\r\n",
        "Host: abcdef.onion.evil.example\r\n",
        "Host: \r\n",
        "Host: abcdef.onion\r\nHost: evil.example\r\n",
        "",
    ] {
        let response = host(&app, unknown);
        assert!(
            [400, 421].contains(&response.status),
            "{unknown:?}: {}",
            response.status
        );
        assert!(!response.body.contains("evil"), "{}", response.body);
    }
    let response = host(&app, "Host: evil.example\r\n");
    assert_eq!(response.status, 421);
    assert!(response.body.contains("BLOG_HOSTS"));
    assert!(response.header("content-security-policy").is_some());
    let absolute = b"GET http://evil.example/ HTTP/1.1\r\nHost: abcdef.onion\r\nConnection: close\r\n\r\n";
    assert_eq!(raw(&app.address, absolute).status, 421);
}

/// Starts the blog on sockets and waits until both are there.
fn on_sockets(directory: &Path) -> Child {
    let mut child = program()
        .arg("--database")
        .arg(directory.join("blog.db"))
        .arg(format!("--listen=unix:{}", directory.join("public").display()))
        .arg(format!("--admin-listen=unix:{}", directory.join("admin").display()))
        .args(["--socket-mode", "600"])
        .env("BLOG_OWNER_PASSWORD", PASSWORD)
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let listening = lines
        .by_ref()
        .map_while(Result::ok)
        .filter(|line| line.contains("msg=listening"));
    assert_eq!(listening.take(2).count(), 2);
    std::thread::spawn(move || lines.for_each(drop));
    child
}

fn ask(socket: &Path, path: &str) -> Response {
    let mut stream = UnixStream::connect(socket).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    )
    .unwrap();
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).unwrap();
    http::parse(&bytes)
}

#[test]
fn sockets_in_the_file_system() {
    let directory = tempfile::tempdir().unwrap();
    let (public, admin) = (directory.path().join("public"), directory.path().join("admin"));
    let mut child = on_sockets(directory.path());
    for socket in [&public, &admin] {
        let found = std::fs::symlink_metadata(socket).unwrap();
        assert!(found.file_type().is_socket());
        assert_eq!(found.permissions().mode() & 0o777, 0o600);
        assert_eq!(ask(socket, "/").status, 200);
    }
    assert_eq!(ask(&public, "/login").status, 404);
    assert_eq!(ask(&admin, "/login").status, 200);

    let places = [
        format!("--listen=unix:{}", public.display()),
        format!("--admin-listen=unix:{}", admin.display()),
    ];
    let health = |json: &[&str]| program().arg("health").args(&places).args(json).output().unwrap();
    let output = health(&["--json"]);
    assert!(output.status.success(), "{output:?}");
    let said: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(said["places"].as_array().unwrap().len(), 2);
    assert_eq!(said["well"], true);

    // A second blog does not take the sockets away from the first.
    let second = program()
        .args(&places)
        .arg("--database")
        .arg(directory.path().join("other.db"))
        .output()
        .unwrap();
    assert_eq!(second.status.code(), Some(2), "{second:?}");
    assert!(String::from_utf8_lossy(&second.stderr).contains("another program listens there"));
    assert_eq!(ask(&public, "/").status, 200);

    // Killed, it leaves them; started again, it takes them over; stopped, it clears them away.
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(public.exists() && admin.exists());
    assert_eq!(health(&[]).status.code(), Some(1));
    let mut child = on_sockets(directory.path());
    assert_eq!(ask(&admin, "/healthz").status, 200);
    signal(&child, "-TERM");
    assert!(child.wait().unwrap().success());
    assert!(!public.exists() && !admin.exists());
}

#[test]
fn hanging_up_does_not_stop_it_and_stopping_ends_both() {
    let (mut app, mut reader) = two();
    signal(&app.child, "-HUP");
    let mut owner = app.reader();
    assert_eq!(login(&mut owner, PASSWORD).location(), "/");
    assert_eq!(reader.get("/").status, 200);
    assert!(app.terminate().success());
    assert!(std::net::TcpStream::connect(&reader.address).is_err());
    assert!(std::net::TcpStream::connect(&app.address).is_err());
}
