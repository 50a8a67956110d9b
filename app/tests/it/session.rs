//! Signing in and out, and everything that must not be possible without.

use crate::app::{PASSWORD, TestApp, login, write};

const OWNER_PAGES: &[&str] = &["/admin/new", "/admin/posts/1/edit", "/admin/posts/1/delete"];
const OWNER_FORMS: &[&str] = &[
    "/admin/posts",
    "/admin/posts/1/edit",
    "/admin/posts/1/delete",
    "/logout",
];

#[test]
fn only_the_right_password_signs_in() {
    let app = TestApp::start();
    let mut browser = app.reader();
    let wrong = login(&mut browser, "wrong horse battery staple");
    assert_eq!(wrong.status, 403);
    assert!(wrong.body.contains("That is not the password"));
    assert_eq!(browser.cookie("blog_session"), None);
    assert_eq!(browser.get("/admin/new").location(), "/login");

    let right = login(&mut browser, PASSWORD);
    assert_eq!(right.location(), "/");
    let cookie = right
        .headers
        .iter()
        .find(|(_, value)| value.starts_with("blog_session="))
        .unwrap();
    for attribute in [
        "; Path=/",
        "; HttpOnly",
        "; SameSite=Strict",
        "; Secure",
        "; Max-Age=2592000",
    ] {
        assert!(cookie.1.contains(attribute), "{cookie:?}");
    }
    assert!(browser.get("/").body.contains("Sign out"));
    assert_eq!(browser.get("/login").location(), "/");
    assert!(!app.log_with("signed in").contains("horse"), "no password in the log");
}

#[test]
fn the_cookie_is_insecure_only_on_request() {
    let app = TestApp::start_with(&["--insecure-cookie"]);
    let response = login(&mut app.reader(), PASSWORD);
    assert_eq!(response.status, 303);
    assert!(response.headers.iter().all(|(_, value)| !value.contains("Secure")));
}

#[test]
fn readers_cannot_change_anything() {
    let app = TestApp::start();
    write(&mut app.owner(), "untouched");
    let mut reader = app.reader();
    for path in OWNER_PAGES {
        assert_eq!(reader.get(path).location(), "/login", "{path}");
    }
    for path in OWNER_FORMS {
        let response = reader.post(
            path,
            &[("csrf", "x"), ("body", "typed <text>"), ("key", &"0".repeat(32))],
        );
        assert_eq!(response.status, 403, "{path}");
        assert!(
            response.body.contains("typed &#60;text&#62;"),
            "the text typed is not lost"
        );
    }
    assert!(reader.get("/").body.contains("untouched"));
}

#[test]
fn a_form_needs_its_token_and_the_right_origin() {
    let app = TestApp::start();
    let mut owner = app.owner();
    write(&mut owner, "untouched");
    let form = owner.get("/admin/new");
    let (csrf, key) = (form.field("csrf"), form.field("key"));
    let other = app.owner().get("/admin/new").field("csrf");
    assert_ne!(csrf, other, "each session has its own");

    for path in OWNER_FORMS {
        for token in ["", "x", other.as_str()] {
            let response = owner.post(path, &[("csrf", token), ("key", &key), ("body", "forged")]);
            assert_eq!(response.status, 403, "{path} took {token:?}");
        }
        assert_eq!(
            owner.post(path, &[("key", &key), ("body", "forged")]).status,
            403,
            "{path}"
        );
        for header in [("Origin", "http://evil.example"), ("Sec-Fetch-Site", "cross-site")] {
            let fields = [("csrf", csrf.as_str()), ("key", key.as_str()), ("body", "forged")];
            assert_eq!(
                owner.post_with(path, &[header], &fields).status,
                403,
                "{path} {header:?}"
            );
        }
    }
    assert!(owner.get("/").body.contains("untouched"));

    // "null" says nothing, our own address is right: with the token both pass.
    let origin = format!("http://{}", app.address);
    for header in [("Origin", "null"), ("Origin", origin.as_str())] {
        let fields = [("csrf", csrf.as_str()), ("key", key.as_str()), ("body", "mine")];
        assert_eq!(
            owner.post_with("/admin/posts", &[header], &fields).location(),
            "/posts/2"
        );
    }
}

#[test]
fn a_form_sent_to_the_base_url_is_ours() {
    let app = TestApp::start_with(&["--base-url", "https://blog.example/"]);
    let mut owner = app.owner();
    let form = owner.get("/admin/new");
    let (csrf, key) = (form.field("csrf"), form.field("key"));
    let fields = [
        ("csrf", csrf.as_str()),
        ("key", key.as_str()),
        ("body", "by way of a proxy"),
    ];
    let elsewhere = [("Origin", "https://blog.example.evil")];
    assert_eq!(owner.post_with("/admin/posts", &elsewhere, &fields).status, 403);
    let ours = [("Origin", "https://blog.example")];
    assert_eq!(owner.post_with("/admin/posts", &ours, &fields).location(), "/posts/1");
}

#[test]
fn the_login_form_is_bound_to_its_browser() {
    let app = TestApp::start();
    let csrf = app.reader().get("/login").field("csrf");
    // The token without the cookie it belongs to: somebody else's form.
    let mut victim = app.reader();
    let response = victim.post("/login", &[("csrf", &csrf), ("password", PASSWORD)]);
    assert_eq!(response.status, 403);
    assert_eq!(victim.cookie("blog_session"), None);
}

#[test]
fn a_session_planted_before_the_login_is_worth_nothing() {
    let app = TestApp::start();
    let planted = "ab".repeat(32);
    let mut browser = app.reader();
    browser.cookies.push(("blog_session".to_owned(), planted.clone()));
    assert_eq!(login(&mut browser, PASSWORD).location(), "/");
    assert_ne!(browser.cookie("blog_session").unwrap(), planted);

    let mut attacker = app.reader();
    attacker.cookies.push(("blog_session".to_owned(), planted));
    assert_eq!(attacker.get("/admin/new").location(), "/login");
}

#[test]
fn signing_out_and_in_again_ends_the_old_session() {
    let app = TestApp::start();
    let mut owner = app.owner();
    let mut copy = owner.clone();
    let csrf = owner.get("/").field("csrf");
    let response = owner.post("/logout", &[("csrf", &csrf)]);
    assert_eq!(response.location(), "/");
    assert_eq!(owner.cookie("blog_session"), None);
    assert_eq!(copy.get("/admin/new").location(), "/login", "the token itself is dead");

    // The database holds no token that a browser could use.
    let owner = app.owner();
    let token = owner.cookie("blog_session").unwrap();
    let bytes: Vec<u8> = (0..32)
        .map(|at| u8::from_str_radix(&token[at * 2..at * 2 + 2], 16).unwrap())
        .collect();
    let files = std::fs::read_dir(app.directory.path())
        .unwrap()
        .map(|file| file.unwrap().path());
    for file in files.filter(|path| path.is_file()) {
        let content = std::fs::read(file).unwrap();
        assert!(!content.windows(32).any(|window| window == bytes));
        assert!(!content.windows(64).any(|window| window == token.as_bytes()));
    }
}

#[test]
fn guessing_is_slowed_down_for_everybody_but_the_signed_in() {
    let app = TestApp::start();
    let mut owner = app.owner();
    let mut attacker = app.reader();
    let mut refused = None;
    for _ in 0..5 {
        let response = login(&mut attacker, "wrong horse battery staple");
        if response.status == 429 {
            refused = Some(response);
            break;
        }
        assert_eq!(response.status, 403);
    }
    let refused = refused.expect("never slowed down");
    assert!(refused.header("retry-after").unwrap().parse::<u64>().unwrap() >= 1);
    assert_eq!(
        login(&mut app.reader(), PASSWORD).status,
        429,
        "a new browser changes nothing"
    );
    assert_eq!(write(&mut owner, "still here"), "/posts/1");
}

#[test]
fn nobody_signs_in_before_a_password_is_set() {
    let app = TestApp::start_in(tempfile::tempdir().unwrap(), &[], None);
    assert!(app.log().contains("blog owner set"));
    let mut browser = app.reader();
    assert!(browser.get("/login").body.contains("blog owner set"));
    assert_eq!(login(&mut browser, "").status, 403);
    assert_eq!(login(&mut browser, PASSWORD).status, 403);
}
