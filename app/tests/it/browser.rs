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
    browser.click(&button);
    assert_eq!(browser.url(), at("/"));

    let write = browser.find("a[href='/admin/new']");
    browser.click(&write);
    let field = browser.find("#body");
    browser.type_into(&field, "こんにちは from a browser");
    let button = browser.find("main button[value='publish']");
    browser.click(&button);
    assert_eq!(browser.url(), at("/posts/1"));
    assert!(browser.title().contains("こんにちは from a browser"));

    let button = browser.find("header form button");
    browser.click(&button);
    assert_eq!(browser.count("header form button"), 0);
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
