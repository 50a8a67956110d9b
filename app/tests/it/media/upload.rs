//! Sending images: the list of all that are stored, what is refused and how, and what is left on the disk.

use std::io::{Read, Write};
use std::net::TcpStream;

use crate::app::{TestApp, write};
use crate::http::{Browser, MULTIPART, multipart, parse, raw};

const PNG: &[u8] = include_bytes!("../../fixtures/images/rgba.png");
const JPEG: &[u8] = include_bytes!("../../fixtures/images/baseline.jpg");
const WEBP: &[u8] = include_bytes!("../../fixtures/images/lossy.webp");

fn stored(app: &TestApp) -> Vec<String> {
    let entries = std::fs::read_dir(app.directory.path().join("blog.db.media")).unwrap();
    let mut names: Vec<_> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

fn token(owner: &mut Browser) -> String {
    owner.get("/admin/media").field("csrf")
}

#[test]
fn images_are_stored_listed_and_deleted() {
    let app = TestApp::start();
    let mut owner = app.owner();
    let csrf = token(&mut owner);
    let files: [(&str, &str, &[u8]); 3] = [
        ("file", "a.png", PNG),
        ("file", "C:\\Users\\me\\b.jpeg", JPEG),
        ("file", "no-name", WEBP),
    ];
    let page = owner.upload("/admin/media", &[("csrf", &csrf)], &files);
    assert_eq!(page.status, 200, "{}", page.body);
    assert!(page.body.contains("3 images are stored"));
    assert_eq!(page.body.matches("in no post").count(), 3);
    // 5 x 8: it lies on its side.
    assert_eq!(page.body.matches("5 × 8").count(), 3, "{}", page.body);
    let names = stored(&app);
    assert_eq!(names.len(), 3);

    // The same again is the same.
    let page = owner.upload("/admin/media", &[("csrf", &csrf)], &files[..2]);
    assert_eq!(page.body.matches("in no post").count(), 3);
    assert_eq!(stored(&app), names);

    for name in &names {
        let image = format!("/media/{name}");
        assert_eq!(app.reader().get(&image).status, 404, "no post shows it");
        let gone = owner.post("/admin/media/delete", &[("csrf", &csrf), ("image", name)]);
        assert_eq!(gone.location(), "/admin/media");
        assert_eq!(owner.get(&image).status, 404);
    }
    assert!(stored(&app).is_empty());
    // Sent twice: it is gone, which is what was asked for.
    let again = owner.post("/admin/media/delete", &[("csrf", &csrf), ("image", &names[0])]);
    assert_eq!(again.location(), "/admin/media");
    assert!(owner.get("/admin/media").body.contains("There are no images yet"));
}

#[test]
fn what_is_refused_is_told_and_leaves_nothing() {
    let app = TestApp::start_with(&["--image-bytes", "16K"]);
    let mut owner = app.owner();
    let csrf = token(&mut owner);
    let large = [PNG, &[0; 16 * 1024]].concat();
    let files: [(&str, &str, &[u8]); 6] = [
        ("file", "dance.gif", b"GIF89a"),
        ("file", "IMG_1.HEIC", b"\0\0\0\x18ftypheic"),
        (
            "file",
            "<b>x.svg",
            b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>",
        ),
        ("file", "half.png", &PNG[..100]),
        ("file", "large.png", &large),
        ("file", "empty.png", b""),
    ];
    let page = owner.upload("/admin/media", &[("csrf", &csrf)], &files);
    assert_eq!(page.status, 422);
    for text in [
        "dance.gif was not taken: it is a GIF file",
        "IMG_1.HEIC was not taken: it is a HEIC file",
        "x.svg was not taken: it is a SVG file",
        "half.png was not taken: it ends too early",
        "large.png was not taken: it has 17 KiB. 16 KiB are the most",
        "empty.png was not taken: it is empty",
    ] {
        assert!(page.body.contains(text), "{text}: {}", page.body);
    }
    assert!(!page.body.contains("<b>x.svg"));
    assert!(page.body.contains("There are no images yet"));
    assert!(stored(&app).is_empty());

    // Good ones beside them are kept.
    let page = owner.upload("/admin/media", &[("csrf", &csrf)], &[files[0], ("file", "a.png", PNG)]);
    assert_eq!(page.status, 422);
    assert!(page.body.contains("1 image is stored") && page.body.contains("dance.gif"));
    assert_eq!(stored(&app).len(), 1);
    let page = owner.upload("/admin/media", &[("csrf", &csrf)], &[("file", "", b"")]);
    assert!(page.body.contains("No file was chosen"), "{}", page.body);
}

#[test]
fn pixels_are_capped_by_a_setting() {
    let app = TestApp::start_with(&["--image-megapixels", "1", "--lang", "ja"]);
    let mut owner = app.owner();
    let csrf = token(&mut owner);
    let mut png = PNG.to_vec();
    png[16..24].copy_from_slice(&[0, 0, 4, 0, 0, 0, 4, 0]);
    let sum = super::crc(&png[12..29]);
    png[29..33].copy_from_slice(&sum.to_be_bytes());
    let page = owner.upload("/admin/media", &[("csrf", &csrf)], &[("file", "big.png", &png)]);
    assert!(page.body.contains("1024 × 1024 ピクセル"), "{}", page.body);
}

#[test]
fn files_of_others_are_not_stored() {
    let app = TestApp::start();
    let mut owner = app.owner();
    let csrf = token(&mut owner);
    let file = [("file", "a.png", PNG)];
    assert_eq!(
        app.reader().upload("/admin/media", &[("csrf", &csrf)], &file).status,
        403
    );
    assert_eq!(owner.upload("/admin/media", &[("csrf", "wrong")], &file).status, 403);
    assert_eq!(owner.upload("/admin/media", &[], &file).status, 403);
    let body = multipart(&[("csrf", &csrf)], &file);
    let from_elsewhere = [("Content-Type", MULTIPART), ("Origin", "http://evil.example")];
    assert_eq!(
        owner.send_bytes("POST", "/admin/media", &from_elsewhere, &body).status,
        403
    );
    // A token behind the file comes too late for it.
    let late = [
        &multipart(&[], &file)[..multipart(&[], &file).len() - b"------blogtest7MA4YWxkTrZu0gW--\r\n".len()],
        &multipart(&[("csrf", &csrf)], &[]),
    ]
    .concat();
    assert_eq!(
        owner
            .send_bytes("POST", "/admin/media", &[("Content-Type", MULTIPART)], &late)
            .status,
        400
    );
    assert!(stored(&app).is_empty());
    assert_eq!(app.reader().get("/admin/media").location(), "/login");
}

#[test]
fn an_image_in_use_stays() {
    let app = TestApp::start();
    let mut owner = app.owner();
    let csrf = token(&mut owner);
    write(&mut owner, "text");
    owner.upload("/admin/media", &[("csrf", &csrf)], &[("file", "a.png", PNG)]);
    let name = stored(&app).remove(0);
    let mut connection = blog::db::connection::writer(app.database().to_str().unwrap()).unwrap();
    let (hash, _) = blog::media::store::parse_name(&name).unwrap();
    blog::db::queries::media::attach(&mut connection, 1, &[(hash, String::new())]).unwrap();
    let page = owner.get("/admin/media");
    assert!(
        page.body.contains("in 1 post") && !page.body.contains("/admin/media/delete"),
        "{}",
        page.body
    );
    let refused = owner.post("/admin/media/delete", &[("csrf", &csrf), ("image", &name)]);
    assert_eq!(refused.status, 409);
    assert_eq!(app.reader().get("/").status, 200);
    assert_eq!(stored(&app), [name]);
}

#[test]
fn broken_forms_end_and_leave_nothing() {
    let app = TestApp::start_with(&["--image-bytes", "16K", "--form-bytes", "16K"]);
    let mut owner = app.owner();
    let csrf = token(&mut owner);
    let good = multipart(&[("csrf", &csrf)], &[("file", "a.png", PNG)]);
    let kind = [("Content-Type", MULTIPART)];
    let mut post =
        |headers: &[(&str, &str)], body: &[u8]| owner.send_bytes("POST", "/admin/media", headers, body).status;

    for length in [0, 1, 40, 120, good.len() - 300, good.len() - 20, good.len() - 5] {
        assert_eq!(post(&kind, &good[..length]), 400, "{length}");
    }
    assert_eq!(post(&[("Content-Type", "multipart/form-data")], &good), 415);
    assert_eq!(
        post(&[("Content-Type", "multipart/form-data; boundary=other")], &good),
        400
    );
    let text = "x".repeat(17 * 1024);
    assert_eq!(post(&kind, &multipart(&[("csrf", &csrf), ("body", &text)], &[])), 413);
    let many: Vec<_> = (0..9).map(|_| ("file", "a.png", PNG)).collect();
    assert_eq!(post(&kind, &multipart(&[("csrf", &csrf)], &many)), 413);
    let fields: Vec<_> = (0..129).map(|_| ("a", "b")).collect();
    assert_eq!(post(&kind, &multipart(&fields, &[])), 413);
    let huge = vec![0; 400 * 1024];
    assert_eq!(
        post(&kind, &multipart(&[("csrf", &csrf)], &[("file", "a.png", &huge)])),
        413
    );

    // Nobody has to say how much it will be.
    let cookie = owner.cookie("blog_session").unwrap();
    let head = format!(
        "POST /admin/media HTTP/1.1\r\nHost: {}\r\nCookie: blog_session={cookie}\r\nContent-Type: {MULTIPART}\r\n\
         Connection: close\r\n",
        app.address
    );
    let chunk = format!("{:x}\r\n", huge.len()).into_bytes();
    let start = multipart(&[("csrf", &csrf)], &[("file", "a.png", b"")]);
    // Without the end of the file and of the form.
    let start = &start[..start.len() - "\r\n------blogtest7MA4YWxkTrZu0gW--\r\n".len()];
    let first = [format!("{:x}\r\n", start.len()).as_bytes(), start, b"\r\n"].concat();
    let chunked = [
        head.as_bytes(),
        b"Transfer-Encoding: chunked\r\n\r\n",
        &first,
        &chunk,
        &huge,
        b"\r\n0\r\n\r\n",
    ]
    .concat();
    assert_eq!(raw(&app.address, &chunked).status, 413);

    // A connection that breaks in the middle of a file.
    let mut stream = TcpStream::connect(&app.address).unwrap();
    let request = format!("{head}Content-Length: {}\r\n\r\n", good.len());
    stream.write_all(request.as_bytes()).unwrap();
    stream.write_all(&good[..good.len() - 200]).unwrap();
    drop(stream);

    let names: Vec<_> = stored(&app)
        .into_iter()
        .filter(|name| name.starts_with("new-"))
        .collect();
    assert!(names.is_empty(), "{names:?}");
    // And it still works.
    let mut stream = TcpStream::connect(&app.address).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    for piece in good.chunks(64) {
        stream.write_all(piece).unwrap();
    }
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    assert_eq!(parse(&answer).status, 200);
}
