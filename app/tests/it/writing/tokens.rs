//! Every form needs the token of its session, whatever it does.

use blog::routes::table::{READING, WRITING};

use crate::app::{TestApp, write};

/// Walks over the table of routes itself, so no form can be forgotten.
#[test]
fn no_address_takes_a_form_without_its_token() {
    let app = TestApp::start();
    let mut owner = app.owner();
    write(&mut owner, "untouched");
    let other = app.owner().get("/admin/new").field("csrf");
    let mut seen = 0;
    for route in WRITING.iter().chain(READING).filter(|route| route.post.is_some()) {
        // Whatever stands in braces: the first post, its first version, or anything.
        let path: String = route
            .path
            .split('/')
            .map(|part| if part.starts_with('{') { "1" } else { part })
            .collect::<Vec<_>>()
            .join("/");
        // Its form is bound to another cookie; programs bring a token of their own.
        if matches!(path.as_str(), "/login" | "/micropub" | "/micropub/media") {
            continue;
        }
        for token in ["", "x", other.as_str()] {
            let fields = [
                ("csrf", token),
                ("key", "00112233445566778899aabbccddeeff"),
                ("pin", "1"),
                ("body", "forged"),
            ];
            let answer = owner.post(&path, &fields);
            assert_eq!(answer.status, 403, "{path} took the token {token:?}");
        }
        let nobody = app
            .reader()
            .post(&path, &[("csrf", other.as_str()), ("body", "forged")]);
        assert_eq!(nobody.status, 403, "{path} took a form of nobody");
        seen += 1;
    }
    assert!(seen >= 8, "{seen}");
    assert_eq!(
        app.rows("SELECT group_concat(body || ifnull(pinned_at, '') || ifnull(deleted_at, '')) AS value FROM posts"),
        "untouched"
    );
}

#[test]
fn every_page_of_the_owner_is_for_the_owner() {
    let app = TestApp::start();
    for route in WRITING
        .iter()
        .filter(|route| route.path.starts_with("/admin") && route.get.is_some())
    {
        let path = route.path.replace("{id}", "1").replace("{revision}", "1");
        let answer = app.reader().get(&path);
        assert_eq!(answer.location(), "/login", "{path}");
    }
}

/// A static page must not lie where the blog itself answers.
#[test]
fn no_page_can_have_an_address_of_the_blog() {
    for route in WRITING.iter().chain(READING) {
        let first = route.path.split('/').nth(1).unwrap_or_default();
        if !first.is_empty() && !first.contains(['{', '.']) {
            assert!(blog::domain::content::check_slug(first).is_err(), "/{first}");
        }
    }
}
