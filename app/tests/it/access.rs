//! The second factor, sessions and tokens, as their owner meets them.

use blog::auth::totp::Secret;
use blog::domain::Stamp;

use crate::app::{PASSWORD, TestApp, login, program};
use crate::http::{Browser, Response};

fn login_with(browser: &mut Browser, code: &str) -> Response {
    let csrf = browser.get("/login").field("csrf");
    browser.post("/login", &[("csrf", &csrf), ("password", PASSWORD), ("code", code)])
}

/// Turns the second factor on; answers with the secret and the recovery codes.
fn turn_on(owner: &mut Browser) -> (Secret, Vec<String>) {
    let page = owner.get("/admin/two-factor");
    assert_eq!(page.status, 200);
    let (csrf, text) = (page.field("csrf"), page.field("secret"));
    assert!(page.body.contains("otpauth://totp/"));
    let secret = Secret::parse(&text).unwrap();
    let mut send = |code: &str, password: &str| {
        let fields = [
            ("csrf", csrf.as_str()),
            ("do", "on"),
            ("secret", &text),
            ("code", code),
            ("password", password),
        ];
        owner.post("/admin/two-factor", &fields)
    };
    assert_eq!(send("000000x", PASSWORD).status, 403, "a wrong code turns nothing on");
    let code = secret.code_at(Stamp::now());
    assert_eq!(send(&code, "not the password").status, 403);
    let done = send(&code, PASSWORD);
    assert_eq!(done.status, 200, "{}", done.body);
    let codes = done.body.split("<code class=\"secret\">").skip(1);
    let codes: Vec<_> = codes.map(|rest| rest.split('<').next().unwrap().to_owned()).collect();
    assert_eq!(codes.len(), 10);
    (secret, codes)
}

#[test]
fn the_second_factor() {
    let app = TestApp::start();
    let mut owner = app.owner();
    let (secret, codes) = turn_on(&mut owner);
    assert_eq!(
        login(&mut app.reader(), PASSWORD).status,
        403,
        "the password alone is not enough"
    );
    // The code that turned it on was used by that.
    let now = Stamp::now();
    assert_eq!(login_with(&mut app.reader(), &secret.code_at(now)).status, 403);
    let next = secret.code_at(Stamp(now.0 + 30));
    assert_eq!(login_with(&mut app.reader(), &next).location(), "/");
    assert_eq!(login_with(&mut app.reader(), &next).status, 403, "a code works once");
    assert_eq!(login_with(&mut app.reader(), &codes[3].to_uppercase()).location(), "/");
    assert_eq!(
        login_with(&mut app.reader(), &codes[3]).status,
        403,
        "so does a recovery code"
    );

    let output = program()
        .args(["owner", "reset-two-factor", "--database"])
        .arg(app.database())
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    assert_eq!(login(&mut app.reader(), PASSWORD).status, 303);
}

#[test]
fn sessions_are_listed_and_revoked() {
    let app = TestApp::start();
    let (mut one, mut two, mut three) = (app.owner(), app.owner(), app.owner());
    let page = one.get("/admin/sessions");
    assert_eq!(page.body.matches("name=\"session\"").count(), 4, "{}", page.body);
    assert_eq!(page.body.matches("(this one)").count(), 1);
    assert!(!page.body.contains(&two.cookie("blog_session").unwrap()));
    let csrf = page.field("csrf");
    let fields = [("csrf", csrf.as_str()), ("session", "2")];
    assert_eq!(
        one.post("/admin/sessions/revoke", &fields).location(),
        "/admin/sessions"
    );
    assert_eq!(two.get("/admin/sessions").location(), "/login");
    assert_eq!(three.get("/admin/sessions").status, 200);
    let fields = [("csrf", csrf.as_str()), ("session", "others")];
    assert_eq!(
        one.post("/admin/sessions/revoke", &fields).location(),
        "/admin/sessions"
    );
    assert_eq!(three.get("/admin/sessions").location(), "/login");
    assert_eq!(one.get("/admin/sessions").status, 200);
    assert_eq!(
        one.post("/admin/sessions/revoke", &[("csrf", "x"), ("session", "1")])
            .status,
        403
    );
}

fn make_token(owner: &mut Browser, scope: &str) -> String {
    let page = owner.get("/admin/tokens");
    let (csrf, key) = (page.field("csrf"), page.field("key"));
    let may = format!("may-{scope}");
    let fields = [
        ("csrf", csrf.as_str()),
        ("key", &key),
        ("name", "a <program>"),
        (may.as_str(), "1"),
        ("life", "30"),
    ];
    let made = owner.post("/admin/tokens", &fields);
    assert_eq!(made.status, 200, "{}", made.body);
    let token = |page: &Response| {
        let rest = page.body.split("<code class=\"secret\">").nth(1).unwrap();
        rest.split('<').next().unwrap().to_owned()
    };
    // Sent again, the form makes no second one.
    assert_eq!(token(&owner.post("/admin/tokens", &fields)), token(&made));
    token(&made)
}

#[test]
fn tokens_allow_what_is_ticked_until_they_are_revoked() {
    let app = TestApp::start();
    let mut owner = app.owner();
    let page = owner.get("/admin/tokens");
    let (csrf, key) = (page.field("csrf"), page.field("key"));
    for fields in [
        [
            ("csrf", csrf.as_str()),
            ("key", key.as_str()),
            ("name", "x"),
            ("life", ""),
        ],
        [
            ("csrf", csrf.as_str()),
            ("key", key.as_str()),
            ("name", " "),
            ("may-read", "1"),
        ],
    ] {
        assert_eq!(owner.post("/admin/tokens", &fields).status, 422);
    }
    let (read, create) = (make_token(&mut owner, "read"), make_token(&mut owner, "create"));
    let list = owner.get("/admin/tokens").body;
    assert!(list.contains("a &#60;program&#62;") && !list.contains(&read), "{list}");

    let metrics = |token: &str| {
        let header = format!("Bearer {token}");
        app.reader()
            .send("GET", "/admin/metrics", &[("Authorization", &header)], "")
    };
    let figures = metrics(&read);
    assert_eq!(figures.status, 200);
    for line in [
        "blog_posts{state=\"published\"} 0",
        "blog_tokens 2",
        "blog_sessions 1",
        "blog_read_only 0",
    ] {
        assert!(
            figures.body.lines().any(|found| found == line),
            "{line}: {}",
            figures.body
        );
    }
    assert_eq!(metrics(&create).status, 403);
    for _ in 0..6 {
        assert_eq!(metrics("blog_00").status, 403);
    }
    assert_eq!(metrics(&read).status, 200, "wrong tokens do not hold up a right one");
    assert_eq!(app.reader().get("/admin/metrics").location(), "/login");
    assert!(owner.get("/admin/status").body.contains("Running for"));

    let page = owner.get("/admin/tokens");
    let fields = [("csrf", page.field("csrf")), ("token", "1".to_owned())];
    let fields = fields.each_ref().map(|(name, value)| (*name, value.as_str()));
    assert_eq!(owner.post("/admin/tokens/revoke", &fields).location(), "/admin/tokens");
    assert_eq!(metrics(&read).status, 403);
}

#[test]
fn another_cost_of_passwords_holds_from_the_next_sign_in_on() {
    let mut app = TestApp::start();
    let hash = "SELECT password_hash AS value FROM owner";
    assert!(app.rows(hash).contains("$m=1024,t=1,p=1$"), "{}", app.rows(hash));
    let signed_in = app.owner();
    app.terminate();
    let directory = std::mem::replace(&mut app.directory, tempfile::tempdir().unwrap());
    let app = TestApp::start_in(directory, &["--password-cost", "2M:3"], None);
    assert_eq!(login(&mut app.reader(), "not the password").status, 403);
    assert!(app.rows(hash).contains("$m=1024,"), "a wrong password changes nothing");
    app.owner();
    assert!(app.rows(hash).contains("$m=2048,t=3,p=1$"), "{}", app.rows(hash));
    let mut before = Browser {
        address: app.address.clone(),
        ..signed_in
    };
    assert_eq!(before.get("/admin").status, 200, "nobody is signed out by it");
    app.owner();
}

#[test]
fn a_clock_that_lags_behind_the_newest_post_is_not_believed() {
    use diesel::connection::SimpleConnection;
    use diesel::prelude::*;
    let mut app = TestApp::start();
    crate::app::write(&mut app.owner(), "the first");
    app.terminate();
    let later = Stamp::now().0 + 400_000;
    let path = app.database();
    diesel::sqlite::SqliteConnection::establish(path.to_str().unwrap())
        .unwrap()
        .batch_execute(&format!("UPDATE posts SET published_at = {later}"))
        .unwrap();
    let directory = std::mem::replace(&mut app.directory, tempfile::tempdir().unwrap());
    let app = TestApp::start_in(directory, &[], None);
    assert!(
        app.log().contains("the clock of this machine is behind"),
        "{}",
        app.log()
    );
    let health = app.reader().get("/healthz");
    assert_eq!(health.status, 200);
    assert!(health.body.starts_with("degraded: the clock lags"), "{}", health.body);
    let mut owner = app.owner();
    assert!(owner.get("/admin/status").body.contains("clock is wrong"));
}
