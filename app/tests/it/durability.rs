//! What was acknowledged is kept, and stopping is orderly.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::app::{PASSWORD, TestApp, login, signal, write};
use crate::http;

#[test]
fn an_acknowledged_post_survives_a_kill() {
    let mut app = TestApp::start();
    for n in 1..=3 {
        let mut owner = app.reader();
        assert_eq!(login(&mut owner, PASSWORD).status, 303, "the password survives too");
        let path = write(&mut owner, &format!("acknowledged {n}"));
        app = app.kill_and_restart();
        assert!(app.reader().get(&path).body.contains(&format!("acknowledged {n}")));
    }
    assert_eq!(app.reader().get("/").body.matches("acknowledged").count(), 3);
}

#[test]
fn a_session_survives_a_restart() {
    let app = TestApp::start();
    let mut owner = app.owner();
    let app = app.kill_and_restart();
    owner.address = app.address.clone();
    assert_eq!(write(&mut owner, "still signed in"), "/posts/1");
}

#[test]
fn a_stop_signal_leaves_one_tidy_file() {
    for name in ["-TERM", "-INT"] {
        let mut app = TestApp::start();
        write(&mut app.owner(), "text");
        // A browser that keeps its connection open does not delay the stop.
        let mut idle = TcpStream::connect(&app.address).unwrap();
        idle.write_all(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n").unwrap();
        assert!(idle.read(&mut [0; 64]).unwrap() > 0);
        let started = Instant::now();
        signal(&app.child, name);
        assert!(app.child.wait().unwrap().success());
        assert!(started.elapsed() < Duration::from_secs(4), "{:?}", started.elapsed());
        let mut files: Vec<_> = std::fs::read_dir(app.directory.path())
            .unwrap()
            .map(|f| f.unwrap().file_name())
            .collect();
        files.sort();
        assert_eq!(files, ["blog.db", "blog.db.media"], "the write-ahead log is merged");
    }
}

#[test]
fn a_request_under_way_is_finished() {
    let mut app = TestApp::start();
    let mut owner = app.owner();
    let form = owner.get("/admin/new");
    let body = format!("csrf={}&key={}&body=under+way", form.field("csrf"), form.field("key"));
    let cookie = owner.cookie("blog_session").unwrap();
    let (first, rest) = body.split_at(40);

    let mut stream = TcpStream::connect(&app.address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let head = format!(
        "POST /admin/posts HTTP/1.1\r\nHost: 127.0.0.1\r\nCookie: blog_session={cookie}\r\nContent-Length: {}\r\n\
         Content-Type: application/x-www-form-urlencoded\r\n\r\n{first}",
        body.len()
    );
    stream.write_all(head.as_bytes()).unwrap();
    std::thread::sleep(Duration::from_millis(300));
    signal(&app.child, "-TERM");
    std::thread::sleep(Duration::from_millis(300));
    stream.write_all(rest.as_bytes()).unwrap();
    let mut bytes = Vec::new();
    let _ = stream.read_to_end(&mut bytes);
    assert_eq!(http::parse(&bytes).location(), "/posts/1");
    assert!(app.child.wait().unwrap().success());

    let app = app.kill_and_restart();
    assert!(app.reader().get("/posts/1").body.contains("under way"));
}
