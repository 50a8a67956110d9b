//! Many connections that say little, or do not listen: the time that each of them has is bounded, and so the others get
//! their turn. The owner's listener has connections of its own.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::app::{TestApp, write};
use crate::http::{Browser, MULTIPART};

/// Connections of each listener.
const CONNECTIONS: usize = 6;

/// A blog whose patience is a second, with an address for readers.
fn impatient() -> (TestApp, Browser) {
    let app = TestApp::start_with(&[
        "--listen",
        "127.0.0.2:0",
        "--connections",
        "6",
        "--header-time",
        "1",
        "--body-time",
        "1",
        "--keep-alive",
        "1",
    ]);
    let log = app.log_with("serves=readers");
    let line = log.lines().find(|line| line.contains("serves=readers")).unwrap();
    let address = line.split_once("addr=").unwrap().1.split(' ').next().unwrap();
    let reader = Browser {
        address: address.to_owned(),
        cookies: Vec::new(),
    };
    (app, reader)
}

fn connect(address: &str) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    stream
}

/// Goes on sending a byte at a time until the other side ends it; what it said.
fn drip(mut stream: TcpStream) -> String {
    stream.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    let (started, mut said) = (Instant::now(), Vec::new());
    loop {
        assert!(started.elapsed() < Duration::from_secs(60), "it waits for ever");
        let sent = stream.write_all(b"x");
        let mut buffer = [0; 4096];
        match stream.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => said.extend_from_slice(&buffer[..count]),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) && sent.is_ok() => {}
            Err(_) => break,
        }
    }
    String::from_utf8_lossy(&said).into_owned()
}

#[test]
fn slow_heads_end_and_others_are_served() {
    let (app, mut reader) = impatient();
    write(&mut app.owner(), "served");
    let slow: Vec<_> = (0..3 * CONNECTIONS)
        .map(|n| {
            let mut stream = connect(&reader.address);
            let part = ["", "GET / HTTP/1.1\r\n", "GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX: "][n % 3];
            stream.write_all(part.as_bytes()).unwrap();
            stream
        })
        .collect();
    // The owner has connections of her own, and a reader gets her turn.
    assert!(app.reader().get("/").body.contains("served"));
    assert!(reader.get("/").body.contains("served"));
    for stream in slow {
        let said = drip(stream);
        assert!(said.is_empty() || said.starts_with("HTTP/1.1 408 "), "{said}");
    }
}

#[test]
fn slow_bodies_end_and_others_are_served() {
    let (app, _) = impatient();
    let mut owner = app.owner();
    write(&mut owner, "served");
    let cookie = format!("blog_session={}", owner.cookie("blog_session").unwrap());
    let csrf = owner.get("/admin/new").field("csrf");
    let part =
        |name: &str| format!("------blogtest7MA4YWxkTrZu0gW\r\nContent-Disposition: form-data; name={name}\r\n\r\n");
    let form = "application/x-www-form-urlencoded";
    let slow: Vec<_> = [
        ("/login", form, "csrf=".to_owned()),
        ("/admin/posts", form, format!("csrf={csrf}&body=")),
        ("/admin/posts", MULTIPART, format!("{}{csrf}\r\n{}", part("\"csrf\""), part("\"body\""))),
        ("/admin/media", MULTIPART, format!("{}{csrf}\r\n{}", part("\"csrf\""), part("\"file\"; filename=\"p.png\""))),
        // Not the owner, and so never one.
        ("/admin/media", MULTIPART, part("\"file\"; filename=\"p.png\"")),
        ("/admin/media", MULTIPART, "------blogtest7MA4YWxkTrZu0gW".to_owned()),
    ]
    .into_iter()
    .map(|(path, kind, body)| {
        let mut stream = connect(&app.address);
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nCookie: {cookie}\r\nContent-Type: {kind}\r\nContent-Length: 100000\r\n\r\n"
        );
        stream.write_all(format!("{head}{body}").as_bytes()).unwrap();
        (path, kind, stream)
    })
    .collect();
    assert_eq!(slow.len(), CONNECTIONS);
    // All connections are taken, and end.
    let mut threads = Vec::new();
    for (path, kind, stream) in slow {
        threads.push(std::thread::spawn(move || (path, kind, drip(stream))));
    }
    assert!(app.reader().get("/").body.contains("served"));
    for thread in threads {
        let (path, kind, said) = thread.join().unwrap();
        assert!(said.starts_with("HTTP/1.1 408 "), "{path} {kind}: {said}");
    }
    assert_eq!(app.rows("SELECT count(*) AS value FROM posts"), "1");
    assert_eq!(
        std::fs::read_dir(app.directory.path().join("blog.db.media"))
            .unwrap()
            .count(),
        0
    );
}

#[test]
fn who_does_not_listen_is_not_spoken_to_for_ever() {
    let (app, mut reader) = impatient();
    let mut owner = app.owner();
    for n in 0..20 {
        write(&mut owner, &format!("{n} {}", "served ".repeat(1_000)));
    }
    let deaf: Vec<_> = (0..CONNECTIONS)
        .map(|_| {
            let mut stream = connect(&reader.address);
            stream.set_write_timeout(Some(Duration::from_millis(500))).unwrap();
            // Until nothing goes in any more.
            let request = "GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".repeat(1_000);
            while stream.write_all(request.as_bytes()).is_ok() {}
            stream
        })
        .collect();
    assert!(reader.get("/").body.contains("served"));
    assert!(app.reader().get("/").body.contains("served"));
    drop(deaf);
}

#[test]
fn idle_connections_make_room() {
    let (app, mut reader) = impatient();
    write(&mut app.owner(), "served");
    let idle: Vec<_> = (0..CONNECTIONS)
        .map(|_| {
            let mut stream = connect(&reader.address);
            stream.write_all(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n").unwrap();
            assert!(stream.read(&mut [0; 64]).unwrap() > 0);
            stream
        })
        .collect();
    assert!(reader.get("/").body.contains("served"));
    drop(idle);
}
