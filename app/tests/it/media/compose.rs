//! Images of a post: chosen in its form, described, moved, removed; and what becomes of them when the form comes back.

use crate::app::TestApp;
use crate::http::{Browser, Response};

const PNG: &[u8] = include_bytes!("../../fixtures/images/rgba.png");
const JPEG: &[u8] = include_bytes!("../../fixtures/images/baseline.jpg");

/// The form's hidden fields, then these.
fn send(owner: &mut Browser, form: &Response, path: &str, fields: &[(&str, &str)], files: &[&[u8]]) -> Response {
    let mut all = vec![("csrf".to_owned(), form.field("csrf"))];
    for name in ["key", "version", "images", "image1", "image2"] {
        if form.body.contains(&format!("name=\"{name}\" value=\"")) {
            all.push((name.to_owned(), form.field(name)));
        }
    }
    let all: Vec<_> = all
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    let files: Vec<_> = files.iter().map(|bytes| ("file", "IMG 1.png", *bytes)).collect();
    owner.upload(path, &[&all, fields].concat(), &files)
}

#[test]
fn a_post_with_an_image_in_one_step() {
    let app = TestApp::start();
    let mut owner = app.owner();
    let form = owner.get("/admin/new");
    let fields = [("body", "seen today"), ("alt0", "a \"red\" <house>")];
    let posted = send(&mut owner, &form, "/admin/posts", &fields, &[PNG]);
    assert_eq!(posted.location(), "/posts/1");
    let page = app.reader().get("/posts/1");
    assert!(
        page.body.contains("alt=\"a &#34;red&#34; &#60;house&#62;\""),
        "{}",
        page.body
    );
    assert!(page.body.contains("width=\"5\" height=\"8\""), "{}", page.body);
    let image = page.body.split("src=\"").nth(1).unwrap().split('"').next().unwrap();
    assert!(image.starts_with("/media/"), "{image}");
    assert_eq!(app.reader().send("HEAD", image, &[], "").status, 200);
    assert!(app.reader().get("/feed.atom").body.contains(image));
    // Sent again over a slow line: still one post.
    assert_eq!(
        send(&mut owner, &form, "/admin/posts", &fields, &[PNG]).location(),
        "/posts/1"
    );
    assert_eq!(app.rows("SELECT count(*) AS value FROM posts"), "1");
    assert_eq!(app.rows("SELECT count(*) AS value FROM media"), "1");
    // Other words for the image are another form.
    let other = [("body", "seen today"), ("alt0", "a house")];
    assert_eq!(send(&mut owner, &form, "/admin/posts", &other, &[PNG]).status, 409);
}

#[test]
fn an_image_survives_a_form_with_mistakes() {
    let app = TestApp::start();
    let mut owner = app.owner();
    let form = owner.get("/admin/new");
    let back = send(&mut owner, &form, "/admin/posts", &[("body", "text")], &[PNG]);
    assert_eq!(back.status, 422);
    assert!(back.body.contains("Image 1: write what it shows"), "{}", back.body);
    assert!(back.body.contains("href=\"#file\"") && back.body.contains("text</textarea>"));
    assert_eq!(app.rows("SELECT count(*) AS value FROM posts"), "0");
    let preview = owner.send("HEAD", &format!("/media/{}", back.field("image1")), &[], "");
    assert_eq!(preview.status, 200);

    // Without sending the file again; a second one beside it, and a GIF.
    let fields = [("body", ""), ("alt1", "the first")];
    let back = send(&mut owner, &back, "/admin/posts", &fields, &[JPEG, b"GIF89a"]);
    assert_eq!(back.status, 422);
    assert!(
        back.body.contains("IMG 1.png was not taken: it is a GIF"),
        "{}",
        back.body
    );
    assert!(back.body.contains("the first</textarea>"));
    let (first, second) = (back.field("image1"), back.field("image2"));
    assert!(first.ends_with(".png") && second.ends_with(".jpg"));

    let fields = [
        ("body", "text"),
        ("alt1", "the first"),
        ("plain2", "1"),
        ("order2", "1"),
    ];
    let posted = send(&mut owner, &back, "/admin/posts", &fields, &[]);
    assert_eq!(posted.location(), "/posts/1");
    let page = app.reader().get("/posts/1").body;
    let (jpeg, png) = (page.find(&second).unwrap(), page.find(&first).unwrap());
    assert!(jpeg < png, "the second was moved to the front");
    assert!(page.contains("alt=\"\"") && page.contains("alt=\"the first\""));
}

#[test]
fn images_can_be_added_before_posting() {
    let app = TestApp::start();
    let mut owner = app.owner();
    let form = owner.get("/admin/new");
    let back = send(
        &mut owner,
        &form,
        "/admin/posts",
        &[("body", "half a tho"), ("do", "images")],
        &[PNG, JPEG],
    );
    assert_eq!(back.status, 200);
    assert!(
        back.body.contains("half a tho</textarea>") && !back.body.contains("role=\"alert\""),
        "{}",
        back.body
    );
    assert!(!back.field("image2").is_empty());
    assert_eq!(back.field("key"), form.field("key"));
    assert_eq!(app.rows("SELECT count(*) AS value FROM posts"), "0");
}

#[test]
fn an_edit_changes_images() {
    let app = TestApp::start();
    let mut owner = app.owner();
    let form = owner.get("/admin/new");
    let fields = [("body", "text"), ("do", "images")];
    let back = send(&mut owner, &form, "/admin/posts", &fields, &[PNG, JPEG]);
    let fields = [("body", "text"), ("alt1", "one"), ("alt2", "two")];
    send(&mut owner, &back, "/admin/posts", &fields, &[]).location();

    let edit = "/admin/posts/1/edit";
    let form = owner.get(edit);
    let fields = [("body", "text"), ("alt1", "one"), ("alt2", "two"), ("drop1", "1")];
    send(&mut owner, &form, edit, &fields, &[]).location();
    let page = app.reader().get("/posts/1").body;
    assert!(page.contains("alt=\"two\"") && !page.contains("alt=\"one\""), "{page}");
    assert_eq!(app.rows("SELECT edited_at IS NOT NULL AS value FROM posts"), "1");
    // The image is not lost, only in no post.
    assert!(owner.get("/admin/media").body.contains("in no post"));

    // The same again is no edit; a form that says nothing of images leaves them.
    app.change("UPDATE posts SET edited_at = NULL");
    let form = owner.get(edit);
    send(&mut owner, &form, edit, &[("body", "text"), ("alt1", "two")], &[]).location();
    let (csrf, version) = (form.field("csrf"), form.field("version"));
    owner
        .post(edit, &[("csrf", &csrf), ("version", &version), ("body", "text")])
        .location();
    assert_eq!(app.rows("SELECT edited_at IS NULL AS value FROM posts"), "1");
    assert!(app.reader().get("/posts/1").body.contains("alt=\"two\""));
}

/// Two windows with the same post: the second does not undo what the first did to the images.
#[test]
fn another_window_has_changed_the_images() {
    let app = TestApp::start();
    let mut owner = app.owner();
    let form = owner.get("/admin/new");
    let fields = [("body", "text"), ("do", "images")];
    let back = send(&mut owner, &form, "/admin/posts", &fields, &[PNG, JPEG]);
    let fields = [("body", "text"), ("alt1", "one"), ("alt2", "two")];
    send(&mut owner, &back, "/admin/posts", &fields, &[]).location();

    let edit = "/admin/posts/1/edit";
    let (first, second) = (owner.get(edit), owner.get(edit));
    let fields = [("body", "text"), ("alt1", "another"), ("alt2", "two")];
    send(&mut owner, &first, edit, &fields, &[]).location();
    // The same form again is no conflict: it is what is saved.
    send(&mut owner, &first, edit, &fields, &[]).location();
    let stale = [("body", "new text"), ("alt1", "one"), ("alt2", "two"), ("drop2", "1")];
    let conflict = send(&mut owner, &second, edit, &stale, &[]);
    assert_eq!(conflict.status, 409, "{}", conflict.body);
    assert!(conflict.body.contains("new text</textarea>"), "{}", conflict.body);
    assert_eq!(
        app.rows("SELECT group_concat(alt) AS value FROM post_media"),
        "another,two"
    );
    assert_eq!(app.rows("SELECT body AS value FROM posts"), "text");
    // Who saves now has seen it.
    let fields = [("body", "new text"), ("alt1", "one")];
    send(&mut owner, &conflict, edit, &fields, &[]).location();
    assert_eq!(app.rows("SELECT group_concat(alt) AS value FROM post_media"), "one");
}
