//! A note, from the text box to the page and back.

use super::input;
use crate::app::{TestApp, write};
use crate::http::Browser;

const NASTY: &[&str] = &[
    "<script>alert(1)</script>",
    "</textarea><script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "\"><svg onload=alert(1)>",
    "' onmouseover='alert(1)",
    "javascript:alert(1)",
    "http://a.b/\"onclick=alert(1)",
    "http://a.b/'><script>alert(1)</script>",
    "https://a.b/?x=<script>alert(1)</script>&y=1",
    "&lt;script&gt;alert(1)&lt;/script&gt;",
    "]]><script>alert(1)</script>",
    "<!-- --><!DOCTYPE x [<!ENTITY y \"z\">]>&y;",
    "{{ 7*7 }} {% include \"x\" %}",
    "\u{0}\u{b}\u{1b}[31m\u{ffff}\u{fffe}<b>",
    "\u{202e}<b>evil</b>",
    "[x](javascript:alert(1))",
    "![x](https://evil.example/x.png)",
    "<https://a.b/\"onclick=alert(1)>",
    "[x](data:text/html;base64,PHNjcmlwdD4=)",
];

#[test]
fn text_is_only_ever_text() {
    let app = TestApp::start();
    let mut owner = app.owner();
    for text in NASTY {
        let path = write(&mut owner, text);
        let pages = [
            owner.get(&path).body,
            owner.get(&format!("/admin{path}/edit")).body,
            owner.get(&format!("/admin{path}/delete")).body,
            app.reader().get("/").body,
        ];
        for page in pages {
            let lower = page.to_lowercase();
            for tag in ["<script", "<img", "<svg", "<b>", "<!--", "<!entity"] {
                assert!(!lower.contains(tag), "{text:?} put {tag} into {page}");
            }
            assert_eq!(page.matches("</textarea>").count(), page.matches("<textarea").count());
            // Every attribute of every tag is one that a template or the link writer put there.
            for tag in page.split('<').skip(1).map(|part| part.split('>').next().unwrap()) {
                assert!(tag.matches('"').count() % 2 == 0, "{text:?} broke <{tag}>");
                assert!(
                    !tag.split('"').step_by(2).any(|part| part.contains(" on")),
                    "{text:?} in <{tag}>"
                );
                assert!(!tag.contains("href=\"javascript"), "{tag}");
            }
        }
    }
    let feed = app.reader().get("/feed.atom").body;
    let contents: Vec<_> = crate::xml::elements(&feed)
        .into_iter()
        .filter(|(name, _)| name == "content")
        .collect();
    assert_eq!(contents.len(), NASTY.len());
    for (_, html) in contents {
        assert!(
            !html.contains("<script") && !html.contains("<b>") && !html.contains("<svg"),
            "{html}"
        );
    }
}

#[test]
fn one_form_posts_once() {
    let app = TestApp::start();
    let mut owner = app.owner();
    let form = owner.get("/admin/new");
    let (csrf, key) = (form.field("csrf"), form.field("key"));
    let fields = [("csrf", csrf.as_str()), ("key", key.as_str()), ("body", "only once")];
    let first = owner.post("/admin/posts", &fields).location().to_owned();
    // Eight impatient clicks at once.
    let threads: Vec<_> = (0..8)
        .map(|_| {
            let (mut owner, csrf, key) = (owner.clone(), csrf.clone(), key.clone());
            std::thread::spawn(move || {
                let fields = [("csrf", csrf.as_str()), ("key", key.as_str()), ("body", "only once")];
                owner.post("/admin/posts", &fields).location().to_owned()
            })
        })
        .collect();
    for thread in threads {
        assert_eq!(thread.join().unwrap(), first);
    }
    assert_eq!(owner.get("/").body.matches("only once<").count(), 1);

    // Another text with the same key is not lost, and not posted unasked.
    let fields = [
        ("csrf", csrf.as_str()),
        ("key", key.as_str()),
        ("body", "something else"),
    ];
    let again = owner.post("/admin/posts", &fields);
    assert_eq!(again.status, 409);
    assert!(again.body.contains("something else"));
    assert_ne!(again.field("key"), key);
    assert!(!owner.get("/").body.contains("something else"));

    // Sent again after the post was deleted, it stays deleted.
    owner.post(&format!("/admin{first}/delete"), &[("csrf", &csrf)]);
    let fields = [("csrf", csrf.as_str()), ("key", key.as_str()), ("body", "only once")];
    assert_eq!(owner.post("/admin/posts", &fields).location(), "/admin/trash");
    assert!(!owner.get("/").body.contains("only once"));
    owner.post(&format!("/admin{first}/purge"), &[("csrf", &csrf)]);
    assert_eq!(owner.post("/admin/posts", &fields).location(), "/");
    assert!(!owner.get("/admin/trash").body.contains("only once"));
    let bad = [("csrf", csrf.as_str()), ("key", "1234"), ("body", "x")];
    assert_eq!(owner.post("/admin/posts", &bad).status, 400);
}

#[test]
fn an_edit_keeps_the_date_and_says_so() {
    let app = TestApp::start();
    let mut owner = app.owner();
    let path = write(&mut owner, "before");
    let date = |body: &str| body.split("dt-published\" datetime=\"").nth(1).unwrap()[..20].to_owned();
    let published = date(&owner.get(&path).body);

    let edit = format!("/admin{path}/edit");
    let form = owner.get(&edit);
    assert!(form.body.contains(">\nbefore</textarea>"));
    let save = |owner: &mut Browser, text: &str| {
        let form = owner.get(&edit);
        let (csrf, version) = (form.field("csrf"), form.field("version"));
        let date = input(&form, "date");
        let fields = [
            ("csrf", csrf.as_str()),
            ("version", version.as_str()),
            ("date", date.as_str()),
            ("body", text),
        ];
        owner.post(&edit, &fields)
    };
    assert_eq!(save(&mut owner, "before").location(), path);
    assert!(!owner.get(&path).body.contains("edited"), "nothing was changed");
    assert_eq!(save(&mut owner, "after").location(), path);
    let page = app.reader().get(&path).body;
    assert!(
        page.contains("after</p>") && page.contains("edited <time class=\"dt-updated\""),
        "{page}"
    );
    assert_eq!(date(&page), published);

    let empty = save(&mut owner, "  ");
    assert_eq!(empty.status, 422);
    assert!(empty.body.contains("the post is empty") && empty.body.contains("aria-describedby=\"body-help problem\""));
    let csrf = form.field("csrf");
    assert_eq!(owner.get("/admin/posts/99/edit").status, 404);
    assert_eq!(
        owner
            .post("/admin/posts/99/edit", &[("csrf", &csrf), ("body", "x")])
            .status,
        404
    );
}

#[test]
fn deleting_asks_first() {
    let app = TestApp::start();
    let mut owner = app.owner();
    let path = write(&mut owner, "short-lived");
    let delete = format!("/admin{path}/delete");
    let ask = owner.get(&delete);
    assert!(ask.body.contains("Delete this post?") && ask.body.contains("short-lived"));
    assert_eq!(owner.get(&path).status, 200, "asking deletes nothing");
    let csrf = ask.field("csrf");
    assert_eq!(owner.post(&delete, &[("csrf", &csrf)]).location(), "/admin/trash");
    assert!(!app.reader().get("/").body.contains("short-lived"));
    assert_eq!(
        owner.post(&delete, &[("csrf", &csrf)]).location(),
        "/admin/trash",
        "twice does no harm"
    );
    assert_eq!(write(&mut owner, "next"), "/posts/2", "the address is not used again");
}

#[test]
fn a_text_that_is_too_long_comes_back() {
    let app = TestApp::start();
    let mut owner = app.owner();
    let form = owner.get("/admin/new");
    let (csrf, key) = (form.field("csrf"), form.field("key"));
    let long = "あ".repeat(22_000);
    let response = owner.post("/admin/posts", &[("csrf", &csrf), ("key", &key), ("body", &long)]);
    assert_eq!(response.status, 422);
    assert!(response.body.contains("The post is too long"));
    assert!(response.body.contains(&long), "what was typed is still there");
    assert_eq!(response.field("key"), key);

    let fits = "あ".repeat(21_000);
    let response = owner.post("/admin/posts", &[("csrf", &csrf), ("key", &key), ("body", &fits)]);
    assert_eq!(response.location(), "/posts/1");
}

/// Whoever chose a language by the address keeps it on every page of the owner's and behind every form.
#[test]
fn the_language_of_the_address_goes_along() {
    let app = TestApp::start();
    let mut owner = app.owner();
    let form = owner.get("/admin/new?lang=ja");
    assert!(form.body.contains("<html lang=\"ja\">"));
    let (csrf, key) = (form.field("csrf"), form.field("key"));
    let fields = [("csrf", csrf.as_str()), ("key", &key), ("body", "text")];
    assert_eq!(
        owner.post("/admin/posts?lang=ja", &fields).location(),
        "/posts/1?lang=ja"
    );
    for path in [
        "/admin",
        "/admin/new",
        "/admin/new?reply_to=1",
        "/admin/drafts",
        "/admin/scheduled",
        "/admin/pages",
        "/admin/trash",
        "/admin/media",
        "/admin/sessions",
        "/admin/tokens",
        "/admin/two-factor",
        "/admin/status",
        "/admin/posts/1/edit",
        "/admin/posts/1/delete",
        "/admin/posts/1/history",
    ] {
        let mark = if path.contains('?') { '&' } else { '?' };
        let page = owner.get(&format!("{path}{mark}lang=ja")).body;
        assert!(page.contains("<html lang=\"ja\">"), "{path}");
        let links = ["href=\"/", "action=\"/"].map(|start| page.split(start).skip(1));
        for link in links.into_iter().flatten() {
            let link = link.split('"').next().unwrap();
            let fixed = ["style-", "feed.", "twtxt.txt", "micropub", "opensearch.xml"];
            if fixed.iter().all(|start| !link.starts_with(start)) {
                assert!(link.contains("lang=ja"), "{path} leads to /{link}");
            }
        }
    }
    assert_eq!(app.reader().get("/admin?lang=ja").location(), "/login?lang=ja");
    assert_eq!(app.reader().get("/admin").location(), "/login");
}

#[test]
fn the_desk_leads_to_who_may_write() {
    let app = TestApp::start();
    let desk = app.owner().get("/admin").body;
    for place in ["sessions", "tokens", "two-factor", "status"] {
        assert!(desk.contains(&format!("href=\"/admin/{place}\"")), "{place}: {desk}");
    }
}
