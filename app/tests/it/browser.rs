//! The blog in a real browser, with JavaScript and without.

use crate::app::{PASSWORD, TestApp, write};
use crate::webdriver::Chromium;

#[test]
fn the_owner_signs_in_writes_and_signs_out_without_javascript() {
    let Some(mut browser) = Chromium::start(false) else {
        return;
    };
    let app = TestApp::start_with(&["--insecure-cookie"]);
    let at = |path: &str| format!("http://{}{path}", app.address);
    browser.open(&at("/login"));
    let field = browser.find("#password");
    browser.type_into(&field, PASSWORD);
    let button = browser.find("main button");
    browser.follow(&button);
    assert_eq!(browser.url(), at("/"));

    let write = browser.find("a[href='/admin/new']");
    browser.follow(&write);
    let field = browser.find("#body");
    browser.type_into(&field, "こんにちは from a browser");
    let button = browser.find("main button[value='publish']");
    browser.follow(&button);
    assert_eq!(browser.url(), at("/posts/1"));
    assert!(browser.title().contains("こんにちは from a browser"));

    let button = browser.find("header form button");
    browser.follow(&button);
    assert_eq!(browser.count("header form button"), 0);
}

/// What an owner does in a day: signs in, uploads, writes, edits, searches, takes an edit back, throws away and fetches
/// back, signs out. With a browser that runs scripts and one that does not there is no difference.
fn a_day(javascript: bool, lang: &str, published: &str) {
    let Some(mut browser) = Chromium::start(javascript) else {
        return;
    };
    let app = TestApp::start_with(&["--insecure-cookie", "--lang", lang]);
    let at = |path: &str| format!("http://{}{path}", app.address);
    let press = |browser: &mut Chromium, css: &str| {
        let element = browser.find(css);
        browser.follow(&element);
    };
    let fill = |browser: &mut Chromium, css: &str, text: &str| {
        let element = browser.find(css);
        browser.clear(&element);
        browser.type_into(&element, text);
    };
    let main = |browser: &mut Chromium| {
        let element = browser.find("main");
        browser.text(&element)
    };
    browser.open(&at("/login"));
    assert_eq!(browser.count(&format!("html[lang={lang}]")), 1);
    fill(&mut browser, "#password", PASSWORD);
    press(&mut browser, "main button");

    let image = app.directory.path().join("a.jpg");
    std::fs::write(&image, include_bytes!("../fixtures/images/baseline.jpg")).unwrap();
    browser.open(&at("/admin/new"));
    fill(&mut browser, "#body", "東京の午前 #tag");
    let file = browser.find("#file");
    browser.type_into(&file, image.to_str().unwrap());
    // Without words for the image the form comes back with everything that was typed, the image too.
    press(&mut browser, "button[value=publish]");
    assert_eq!(browser.count("[role=alert]"), 1);
    fill(&mut browser, "#alt1", "a small picture");
    press(&mut browser, "button[value=publish]");
    assert_eq!(browser.url(), at("/posts/1"));
    assert_eq!(browser.count("main img[alt='a small picture']"), 1);
    assert!(main(&mut browser).contains("東京の午前"));

    press(&mut browser, "main a[href='/admin/posts/1/edit']");
    fill(&mut browser, "#body", "東京の午後 #tag");
    press(&mut browser, "button[value=preview]");
    assert_eq!(browser.count(".preview"), 1);
    press(&mut browser, "button[value=publish]");
    assert!(main(&mut browser).contains("東京の午後"));
    browser.open(&at("/search"));
    fill(&mut browser, "input[name=q]", "午後");
    press(&mut browser, "main button");
    assert_eq!(browser.count("main mark"), 1);
    press(&mut browser, "main a[href='/posts/1']");

    browser.open(&at("/admin/posts/1/history"));
    press(&mut browser, "main .meta a");
    press(&mut browser, "main .actions button");
    assert_eq!(browser.count("[role=alert]"), 0);
    browser.open(&at("/posts/1"));
    assert!(main(&mut browser).contains("東京の午前"), "the edit is taken back");
    assert_eq!(browser.count("main img"), 1);

    browser.open(&at("/admin/posts/1/delete"));
    press(&mut browser, "button.danger");
    assert_eq!(browser.url(), at("/admin/trash"));
    assert_eq!(app.reader().get("/posts/1").status, 410);
    press(&mut browser, "main .items button");
    assert_eq!(browser.url(), at("/posts/1"));
    assert_eq!(app.reader().get("/posts/1").status, 200);
    browser.open(&at("/admin"));
    assert!(main(&mut browser).contains(published));

    press(&mut browser, "header form button");
    browser.open(&at("/admin"));
    assert_eq!(browser.url(), at("/login"));
}

#[test]
fn a_day_of_the_owner_without_javascript_in_japanese() {
    a_day(false, "ja", "公開");
}

#[test]
fn a_day_of_the_owner_with_javascript_in_english() {
    a_day(true, "en", "Published");
}

#[test]
fn javascript_is_really_off() {
    let Some(mut browser) = Chromium::start(false) else {
        return;
    };
    browser.open("data:text/html,<title>off</title><script>document.title='on'</script>");
    assert_eq!(browser.title(), "off");
    let Some(mut browser) = Chromium::start(true) else {
        return;
    };
    browser.open("data:text/html,<title>off</title><script>document.title='on'</script>");
    assert_eq!(browser.title(), "on");
}

#[test]
fn pages_fit_into_320_pixels_in_light_and_dark() {
    let Some(mut browser) = Chromium::start(true) else {
        return;
    };
    let app = TestApp::start();
    write(
        &mut app.owner(),
        &format!(
            "{} と 日本語の文章\n\nhttps://example.org/{}",
            "word".repeat(30),
            "x".repeat(200)
        ),
    );
    for path in ["/", "/posts/1", "/login", "/nothing"] {
        browser.open(&format!("http://{}{path}", app.address));
        for (width, dark) in [(320, false), (320, true), (1000, false), (1000, true)] {
            browser.resize(width, 900);
            browser.dark(dark);
            let paper = browser.run("return getComputedStyle(document.body).backgroundColor");
            assert_eq!(paper == "rgb(253, 252, 249)", !dark, "{paper}");
            let widths = browser.run("return [document.documentElement.scrollWidth, innerWidth]");
            assert_eq!(widths[0], widths[1], "{path} at {width}");
            let scheme = if dark { "dark" } else { "light" };
            browser.screenshot(&format!("{}-{width}-{scheme}", path.replace('/', "_")));
        }
    }
}
