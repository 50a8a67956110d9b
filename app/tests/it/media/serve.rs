//! `GET /media/{name}`: whom an image is shown to, and as what.

use std::io::Cursor;

use blog::db::connection;
use blog::db::queries::media;
use blog::domain::{Stamp, hex};
use blog::media::store::Hash;
use blog::media::{Format, Limits, Store};
use diesel::connection::SimpleConnection;

use crate::app::{TestApp, write};
use crate::http::{Browser, Response, exchange, split};

const PNG: &[u8] = include_bytes!("../../fixtures/images/palette.png");

/// Stores an image under the running program and attaches it to post 1.
fn image(app: &TestApp, bytes: &[u8]) -> (Hash, Vec<u8>) {
    let path = app.database();
    let path = path.to_str().unwrap();
    let store = Store::open(&Store::beside(path), Limits::default()).unwrap();
    let ready = store.clean(Cursor::new(bytes)).unwrap();
    store.publish(&ready).unwrap();
    let mut connection = connection::writer(path).unwrap();
    media::insert(&mut connection, &ready, Stamp(1000)).unwrap();
    media::attach(&mut connection, 1, &[(ready.hash, "alt".to_owned())]).unwrap();
    let stored = std::fs::read(store.path(&ready.hash, ready.picture.format)).unwrap();
    (ready.hash, stored)
}

fn sql(app: &TestApp, text: &str) {
    let mut connection = connection::writer(app.database().to_str().unwrap()).unwrap();
    connection.batch_execute(text).unwrap();
}

fn get(browser: &Browser, path: &str, headers: &str) -> (Response, Vec<u8>) {
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\nCookie: {}\r\n{headers}\r\n",
        browser.address,
        browser.cookie_header()
    );
    let answer = exchange(&browser.address, request.as_bytes());
    let (head, body) = split(&answer);
    (head, body.to_vec())
}

#[test]
fn an_image_is_data_and_may_be_kept() {
    let app = TestApp::start();
    write(&mut app.owner(), "with an image");
    let (hash, stored) = image(&app, PNG);
    let path = format!("/media/{}.png", hex::encode(&hash));
    let (response, body) = get(&app.reader(), &path, "");
    assert_eq!(response.status, 200);
    assert_eq!(body, stored);
    for (name, value) in [
        ("content-type", "image/png"),
        ("content-security-policy", "default-src 'none'; sandbox"),
        ("x-content-type-options", "nosniff"),
        ("cross-origin-resource-policy", "same-origin"),
        ("cache-control", "public, max-age=31536000, immutable"),
    ] {
        assert_eq!(response.header(name), Some(value), "{name}");
    }
    let length = stored.len().to_string();
    assert_eq!(response.header("content-length"), Some(length.as_str()));
    let tag = response.header("etag").unwrap().to_owned();
    for sent in [tag.clone(), format!("\"x\", W/{tag}"), "*".to_owned()] {
        let (response, body) = get(&app.reader(), &path, &format!("If-None-Match: {sent}\r\n"));
        assert_eq!((response.status, body.len()), (304, 0), "{sent}");
        assert_eq!(response.header("etag"), Some(tag.as_str()));
    }
    assert_eq!(get(&app.reader(), &path, "If-None-Match: \"x\"\r\n").0.status, 200);
    let head = app.reader().send("HEAD", &path, &[], "");
    assert_eq!((head.status, head.body.as_str()), (200, ""));
    assert_eq!(head.header("content-length"), Some(length.as_str()));
}

#[test]
fn a_large_image_arrives_whole() {
    let app = TestApp::start();
    write(&mut app.owner(), "with an image");
    // 300 kB of comment would be dropped; of image data nothing is.
    let mut png = PNG.to_vec();
    let at = png.windows(4).position(|four| four == b"IEND").unwrap() - 4;
    let data: Vec<u8> = (0..300_000_u32).map(|n| (n * 7 % 251) as u8).collect();
    png.splice(at..at, super::chunk(b"IDAT", &data));
    let (hash, stored) = image(&app, &png);
    assert!(stored.len() > 300_000);
    let (response, body) = get(&app.reader(), &format!("/media/{}.png", hex::encode(&hash)), "");
    assert_eq!(response.status, 200);
    assert!(body == stored, "{} of {} bytes", body.len(), stored.len());
}

#[test]
fn images_of_hidden_posts_are_for_the_owner() {
    let app = TestApp::start();
    let mut owner = app.owner();
    write(&mut owner, "with an image");
    let (hash, _) = image(&app, PNG);
    let path = format!("/media/{}.png", hex::encode(&hash));
    let (reader, owner) = (app.reader(), owner);
    for (change, readers) in [
        ("visibility = 'unlisted'", 200),
        ("visibility = 'private'", 404),
        ("visibility = 'public', state = 'draft'", 404),
        ("state = 'scheduled'", 404),
        ("state = 'published', deleted_at = 2000", 404),
        ("deleted_at = NULL", 200),
    ] {
        sql(&app, &format!("UPDATE posts SET {change}"));
        assert_eq!(get(&reader, &path, "").0.status, readers, "{change}");
        // A cache that kept it before is not told that it is the same.
        let status = if readers == 200 { 304 } else { 404 };
        assert_eq!(get(&reader, &path, "If-None-Match: *\r\n").0.status, status, "{change}");
        let (response, body) = get(&owner, &path, "");
        assert_eq!(response.status, 200, "{change}");
        assert!(body.starts_with(b"\x89PNG"));
        let kept = response.header("cache-control").unwrap();
        assert_eq!(kept.contains("public"), readers == 200, "{change}: {kept}");
    }
    sql(&app, "DELETE FROM post_media");
    assert_eq!(get(&reader, &path, "").0.status, 404);
    assert_eq!(get(&owner, &path, "").0.status, 200);
}

#[test]
fn no_other_name_leads_to_a_file() {
    let app = TestApp::start();
    write(&mut app.owner(), "with an image");
    let (hash, _) = image(&app, PNG);
    let name = hex::encode(&hash);
    std::fs::write(Store::beside(app.database().to_str().unwrap()).join("x.png"), "secret").unwrap();
    for path in [
        format!("/media/{name}.jpg"),
        format!("/media/{name}.PNG"),
        format!("/media/{}.png", name.to_uppercase()),
        format!("/media/{name}"),
        format!("/media/{name}.png/"),
        format!("/media/./{name}.png/.."),
        format!("/media/{}.png", "0".repeat(64)),
        "/media/x.png".to_owned(),
        "/media/..%2fblog.db".to_owned(),
        "/media/../blog.db".to_owned(),
        "/media/%2e%2e/blog.db".to_owned(),
        "/media/%00".to_owned(),
        "/media/".to_owned(),
    ] {
        assert_eq!(get(&app.reader(), &path, "").0.status, 404, "{path}");
    }
    // A row whose file is gone is a mistake worth a line in the log.
    let store = Store::open(&Store::beside(app.database().to_str().unwrap()), Limits::default()).unwrap();
    store.remove(&hash, Format::Png).unwrap();
    assert_eq!(get(&app.reader(), &format!("/media/{name}.png"), "").0.status, 500);
}
