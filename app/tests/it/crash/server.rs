//! The server, while its owner writes, edits, sends images, deletes and restores.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use blog::db::Db;
use tempfile::TempDir;

use super::{DISKS, Disk, Fault, Found, at, choose, copy, nothing_is_left_over, try_all};
use crate::app::{TestApp, program, signal, write};
use crate::http::{MULTIPART, encode, multipart, split};

const PNG: &[u8] = include_bytes!("../../fixtures/images/rgba.png");
const JPEG: &[u8] = include_bytes!("../../fixtures/images/baseline.jpg");

/// A blog with a signed-in owner and two posts, from which every run starts.
struct Template {
    directory: TempDir,
    cookie: String,
    csrf: String,
}

fn template() -> &'static Template {
    static TEMPLATE: OnceLock<Template> = OnceLock::new();
    TEMPLATE.get_or_init(|| {
        let mut app = TestApp::start();
        let mut owner = app.owner();
        assert_eq!(write(&mut owner, "before 1"), "/posts/1");
        assert_eq!(write(&mut owner, "before 2"), "/posts/2");
        let csrf = owner.get("/admin/new").field("csrf");
        let cookie = owner.cookie("blog_session").unwrap();
        assert!(app.terminate().success());
        let directory = std::mem::replace(&mut app.directory, tempfile::tempdir().unwrap());
        Template {
            directory,
            cookie,
            csrf,
        }
    })
}

/// What the owner does, one request each.
const REQUESTS: usize = 8;

/// The nth request: address, `Content-Type`, body. The same one every time, so that it can be sent again.
fn request(n: usize, csrf: &str) -> (String, &'static str, Vec<u8>) {
    let key = format!("{n:032x}");
    let form = |path: &str, fields: &[(&str, &str)]| {
        let fields = [&[("csrf", csrf)], fields].concat();
        let body: Vec<_> = fields
            .iter()
            .map(|(name, value)| format!("{name}={}", encode(value)))
            .collect();
        (
            path.to_owned(),
            "application/x-www-form-urlencoded",
            body.join("&").into_bytes(),
        )
    };
    match n {
        0 => form("/admin/posts", &[("key", &key), ("body", "after 3 #tag")]),
        1 => {
            let body = multipart(&[("csrf", csrf)], &[("file", "a.png", PNG), ("file", "b.jpg", JPEG)]);
            ("/admin/media".to_owned(), MULTIPART, body)
        }
        2 => {
            let fields = [
                ("csrf", csrf),
                ("key", &key),
                ("body", "after 4"),
                ("alt0", "what it shows"),
            ];
            (
                "/admin/posts".to_owned(),
                MULTIPART,
                multipart(&fields, &[("file", "a.png", PNG)]),
            )
        }
        3 => form("/admin/posts/1/edit", &[("body", "edited 1 #tag")]),
        4 => form("/admin/posts/2/delete", &[]),
        5 => form("/admin/posts/2/restore", &[]),
        6 => form("/admin/posts/1/pin", &[("pin", "1")]),
        7 => form("/admin/posts", &[("key", &key), ("body", "a draft"), ("do", "draft")]),
        _ => panic!("no request {n}"),
    }
}

/// What is there once `done` requests are acknowledged: bodies by id, images of post 4, and the rows of `media`.
fn check(database: &Path, done: usize, whole: bool) {
    let mut found = Found::open(database);
    let mut is = |what: &str, number: usize, query: &str, before: &str, after: &str| {
        let value = found.text(query);
        // The one that was under way may have happened or not.
        let (may_before, may_after) = (done <= number, whole && done >= number || done > number);
        assert!(
            may_before && value == before || may_after && value == after,
            "{what} after {done} requests: {value:?}"
        );
    };
    let post = |id: u32| format!("SELECT body AS value FROM posts WHERE id = {id} AND deleted_at IS NULL");
    is("post 1", 3, &post(1), "before 1", "edited 1 #tag");
    is(
        "post 3",
        0,
        "SELECT body AS value FROM posts WHERE body LIKE 'after 3%'",
        "",
        "after 3 #tag",
    );
    is(
        "post 4",
        2,
        "SELECT body AS value FROM posts WHERE body = 'after 4'",
        "",
        "after 4",
    );
    let alt = "SELECT alt AS value FROM post_media JOIN posts ON post_id = id WHERE body = 'after 4'";
    is("its image", 2, alt, "", "what it shows");
    is(
        "the draft",
        7,
        "SELECT body AS value FROM posts WHERE state = 'draft'",
        "",
        "a draft",
    );
    is(
        "the pin",
        6,
        "SELECT id AS value FROM posts WHERE pinned_at IS NOT NULL",
        "",
        "1",
    );
    let revisions = "SELECT body AS value FROM revisions";
    is("what was before the edit", 3, revisions, "", "before 1");
    match done {
        0..4 => is("post 2", 4, &post(2), "before 2", "before 2"),
        4 => is("post 2", 4, &post(2), "before 2", ""),
        _ => is("post 2", 5, &post(2), "", "before 2"),
    }
    // Two files of one form: each is there or not.
    let images = found.number("SELECT count(*) AS value FROM media");
    assert!(
        if done > 1 { images == 2 } else { images <= 2 },
        "{images} images after {done} requests"
    );
    found.has_its_images();
}

fn spawn(mut command: Command, directory: &Path) -> (Child, Option<String>) {
    let child = command
        .arg("--database")
        .arg(directory.join("blog.db"))
        .args(["--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"])
        .stdin(Stdio::null())
        .stderr(Stdio::piped())
        .spawn();
    let mut child = child.unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let address = loop {
        match lines.next() {
            Some(Ok(line)) => {
                if let Some((_, address)) = line.split_once("msg=listening addr=") {
                    break Some(address.split(' ').next().unwrap().to_owned());
                }
            }
            _ => break None,
        }
    };
    std::thread::spawn(move || lines.for_each(drop));
    (child, address)
}

/// `None`: it died before it had answered.
fn exchange(address: &str, request: &[u8]) -> Option<Vec<u8>> {
    let mut stream = TcpStream::connect(address).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    stream.write_all(request).ok()?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).ok()?;
    answer.starts_with(b"HTTP/1.1 ").then_some(answer)
}

/// Sends request `n`. True: it was acknowledged.
fn send(address: &str, n: usize) -> bool {
    let Template { cookie, csrf, .. } = template();
    let (path, kind, body) = request(n, csrf);
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nCookie: blog_session={cookie}\r\n\
         Content-Type: {kind}\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    let Some(answer) = exchange(address, &[head.as_bytes(), &body].concat()) else {
        return false;
    };
    let (response, body) = split(&answer);
    // A deletion that had happened: there is nothing to delete any more; and so with what came back.
    let again = response.status == 404 && matches!(n, 4 | 5);
    assert!(
        again || matches!(response.status, 200 | 303),
        "request {n}: {} {}",
        response.status,
        String::from_utf8_lossy(body)
    );
    true
}

/// Runs until the program dies at `step`, and says whether it came to that, and what steps it made. `again`: then it is
/// started once more.
fn point(disk: Disk, step: u64, again: bool) -> (bool, Vec<u8>) {
    let work = tempfile::tempdir().unwrap();
    let directory = work.path().join("blog");
    copy(template().directory.path(), &directory);
    let fault = Fault::new(&directory, work.path(), disk, step).unwrap();
    let (mut child, address) = spawn(fault.program(), &directory);
    let mut done = 0;
    if let Some(address) = &address {
        while done < REQUESTS && send(address, done) {
            done += 1;
        }
    }
    if done == REQUESTS {
        // The orderly stop writes, too: it moves everything into the one file.
        signal(&child, "-TERM");
    }
    let status = child.wait().unwrap();
    let died = std::os::unix::process::ExitStatusExt::signal(&status) == Some(9);
    assert!(
        died || done == REQUESTS && status.success(),
        "step {step}: {status} after {done} requests"
    );
    assert_eq!(died, fault.steps() == step, "step {step}");
    fault.after();
    let letters = fault.letters();
    let database = directory.join("blog.db");
    let when = format!("after {done} requests");
    if again {
        // It starts, takes what was sent once more, and all is as if nothing had been.
        let (mut child, address) = spawn(program(), &directory);
        let address = address.unwrap_or_else(|| panic!("{disk:?}, step {step}: it does not start again"));
        at(disk, step, &when, || check(&database, done, true));
        for n in done..REQUESTS {
            assert!(send(&address, n), "{disk:?}, step {step}, request {n} again");
        }
        signal(&child, "-TERM");
        assert!(child.wait().unwrap().success());
        at(disk, step, "in the end", || check(&database, REQUESTS, false));
    } else {
        // What it does first when it starts.
        drop(Db::open(database.to_str().unwrap()).unwrap());
        at(disk, step, &when, || check(&database, done, true));
    }
    nothing_is_left_over(&directory.join("blog.db.media"));
    (died, letters)
}

#[test]
fn the_server_dies_at_every_write_step() {
    if super::library().is_none() {
        return;
    }
    // Step 0 never comes: a run that nothing happens to.
    let (died, letters) = point(Disk::Keeps, 0, true);
    assert!(!died);
    let points = choose(&letters, 1);
    let died = try_all(&points, |disk, step| {
        // Each step on one of the disks.
        let again = DISKS[(step % DISKS.len() as u64) as usize] == disk;
        point(disk, step, again).0
    });
    // Two threads do not always come in the same order, so the last steps may be missed.
    assert!(
        died >= 500 && died + 50 >= points.len() as u64,
        "only {died} points of {}",
        points.len()
    );
}
