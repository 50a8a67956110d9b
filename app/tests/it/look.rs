//! How the pages look and work in a browser: they fit, they can be read, and every control has a name.

use serde_json::Value;

use crate::app::{PASSWORD, TestApp};
use crate::python;
use crate::seed;
use crate::webdriver::Chromium;

/// Every kind of page that readers see.
const PAGES: &[(&str, &str)] = &[
    ("front", "/"),
    ("front-ja", "/?lang=ja"),
    ("older", "/?before=1783000000-1"),
    ("note", "/posts/11"),
    ("thread", "/posts/4"),
    ("article", "/posts/6"),
    ("link", "/posts/7"),
    ("image", "/posts/10"),
    ("page", "/about"),
    ("tags", "/tags"),
    ("tag", "/tags/rust"),
    ("archive", "/archive"),
    ("year", "/2026"),
    ("month-ja", "/2026/06?lang=ja"),
    ("day", "/2026/07/05"),
    ("search", "/search"),
    ("found-ja", "/search?q=%E5%8D%88%E5%BE%8C&lang=ja"),
    ("found-none", "/search?q=zzzzzz"),
    ("gone", "/posts/15"),
    ("missing", "/nothing"),
];

/// A person looks at these after a change of the style.
const LOOKED_AT: &[&str] = &[
    "front", "front-ja", "thread", "article", "archive", "month-ja", "found-ja",
];

/// Every kind of page that the owner sees.
const OWNER: &[(&str, &str)] = &[
    ("desk", "/admin"),
    ("new", "/admin/new"),
    ("continue", "/admin/new?reply_to=4"),
    ("edit-article", "/admin/posts/6/edit"),
    ("edit-image", "/admin/posts/10/edit"),
    ("edit-page", "/admin/posts/16/edit"),
    ("drafts", "/admin/drafts"),
    ("scheduled", "/admin/scheduled"),
    ("pages", "/admin/pages"),
    ("trash", "/admin/trash"),
    ("delete", "/admin/posts/6/delete"),
    ("purge", "/admin/posts/15/purge"),
    ("history", "/admin/posts/11/history"),
    ("version", "/admin/posts/11/history/1"),
    ("images", "/admin/media"),
    ("sessions", "/admin/sessions"),
    ("tokens", "/admin/tokens"),
    ("two-factor", "/admin/two-factor"),
    ("status", "/admin/status"),
    ("owner-front", "/"),
    ("owner-article", "/posts/6"),
];

fn at(app: &TestApp, path: &str) -> String {
    format!("http://{}{path}", app.address)
}

/// Whether the page fits into its window; a picture of it for people.
fn fits(browser: &mut Chromium, name: &str, dark: bool, keep: bool) {
    browser.dark(dark);
    for width in [320, 1000] {
        browser.resize(width, 900);
        let widths = browser.run("return [document.documentElement.scrollWidth, innerWidth]");
        assert_eq!(widths[0], widths[1], "{name} at {width}");
        if keep {
            let scheme = if dark { "dark" } else { "light" };
            browser.screenshot(&format!("{name}-{width}-{scheme}"));
        }
    }
}

/// What axe finds on the page that is open.
fn judge(browser: &mut Chromium, axe: &str, name: &str) {
    browser.run(axe);
    let result = browser.run(
        "return axe.run(document, { runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'] })",
    );
    let problems: Vec<&Value> = result["violations"].as_array().unwrap().iter().collect();
    let said: Vec<String> = problems
        .iter()
        .map(|problem| format!("{}: {}\n{}", problem["id"], problem["help"], problem["nodes"]))
        .collect();
    assert!(said.is_empty(), "{name}\n{}", said.join("\n"));
    assert!(
        result["passes"].as_array().unwrap().len() > 15,
        "{name}: axe has looked at the page"
    );
}

/// A blog with something on each of the owner's pages, and its owner signed in.
fn signed_in(browser: &mut Chromium) -> TestApp {
    let app = seed::start(&["--utc-offset", "+09:00", "--insecure-cookie"]);
    app.change(
        "INSERT INTO revisions (post_id, body, replaced_at) VALUES (11, '今日から書きます。', 1783260000);
         UPDATE posts SET state = 'scheduled', published_at = 4102444800 WHERE id = 12;
         INSERT INTO api_tokens (token_hash, name, scopes, created_at)
             VALUES (zeroblob(32), 'a shell on the laptop', 'create media', 1783260000);",
    );
    browser.open(&at(&app, "/login"));
    let field = browser.find("#password");
    browser.type_into(&field, PASSWORD);
    let button = browser.find("main button");
    browser.follow(&button);
    app
}

#[test]
fn every_page_of_the_owner_fits_and_passes_axe() {
    let Some(axe) = python::axe() else { return };
    let Some(mut browser) = Chromium::start(true) else {
        return;
    };
    let app = seed::start(&["--insecure-cookie"]);
    browser.open(&at(&app, "/login"));
    for dark in [false, true] {
        fits(&mut browser, "login", dark, true);
        judge(&mut browser, &axe, "login");
    }
    let app = signed_in(&mut browser);
    for (name, path) in OWNER {
        browser.open(&at(&app, path));
        for dark in [false, true] {
            fits(&mut browser, name, dark, true);
            judge(&mut browser, &axe, path);
        }
        let mark = if path.contains('?') { '&' } else { '?' };
        browser.open(&at(&app, &format!("{path}{mark}lang=ja")));
        fits(&mut browser, &format!("{name}-ja"), false, true);
        judge(&mut browser, &axe, &format!("{path} in Japanese"));
    }
}

/// The same for those who do not see the pages that they write with.
#[test]
fn assistive_programs_get_the_same_tree_of_the_owners_pages() {
    let Some(mut browser) = Chromium::start(true) else {
        return;
    };
    let app = signed_in(&mut browser);
    // What is another one in every run: figures, times, secrets.
    for (name, path) in OWNER
        .iter()
        .filter(|(name, _)| !["status", "sessions", "two-factor"].contains(name))
    {
        browser.open(&at(&app, path));
        let tree = browser.accessibility().replace(&app.address, "ADDRESS");
        crate::snapshot::check(&format!("tree-owner-{name}"), &without_content_of_files(&tree));
    }
}

/// Names of images are hashes, and how small a compressor made one depends on the compressor that cargo's features chose.
fn without_content_of_files(tree: &str) -> String {
    let lines = tree.lines().map(|line| {
        if let Some((before, _)) = line.split_once("….png") {
            let hash = before.rfind('"').map_or(0, |quote| quote + 1);
            return format!("{}HASH….png\"\n", &before[..hash]);
        }
        match (line.split_once(" KiB, "), line.rsplit_once(", in ")) {
            (Some((before, _)), Some((_, posts))) => {
                let size = before.rfind(' ').map_or(0, |blank| blank + 1);
                format!("{}N KiB, in {posts}\n", &before[..size])
            }
            _ => format!("{line}\n"),
        }
    });
    lines.collect()
}

#[test]
fn every_page_fits_and_passes_axe_in_light_and_dark() {
    let Some(axe) = python::axe() else { return };
    let Some(mut browser) = Chromium::start(true) else {
        return;
    };
    let app = seed::start(&["--utc-offset", "+09:00"]);
    for (name, path) in PAGES {
        browser.open(&at(&app, path));
        for dark in [false, true] {
            fits(&mut browser, name, dark, LOOKED_AT.contains(name));
            judge(&mut browser, &axe, path);
        }
    }
    browser.open(&at(&app, "/posts/6"));
    browser.print();
    browser.screenshot("article-print");
    let hidden = browser.run("return getComputedStyle(document.querySelector('.menu')).display");
    assert_eq!(hidden, "none", "paper has no links to press");
}

/// What assistive programs are told, page by page. A change is read like a change of code.
#[test]
fn assistive_programs_get_the_same_tree() {
    let Some(mut browser) = Chromium::start(true) else {
        return;
    };
    let app = seed::start(&["--utc-offset", "+09:00"]);
    for (name, path) in PAGES {
        browser.open(&at(&app, path));
        let tree = browser.accessibility().replace(&app.address, "ADDRESS");
        crate::snapshot::check(&format!("tree-{name}"), &tree);
    }
}

#[test]
fn readers_search_and_choose_a_language_without_javascript() {
    let Some(mut browser) = Chromium::start(false) else {
        return;
    };
    let app = seed::start(&[]);
    browser.open(&at(&app, "/"));
    let link = browser.link("日本語");
    browser.follow(&link);
    assert_eq!(browser.url(), at(&app, "/?lang=ja"));
    let link = browser.link("検索");
    browser.follow(&link);
    assert_eq!(browser.url(), at(&app, "/search?lang=ja"), "the language is carried on");
    let field = browser.find("#q");
    browser.type_into(&field, "ラズパイ -東京");
    let button = browser.find("main button");
    browser.follow(&button);
    assert!(browser.url().ends_with("&lang=ja"));
    let mark = browser.find("mark");
    assert_eq!(browser.text(&mark), "ﾗｽﾞﾊﾟｲ");
    let hit = browser.find(".hits a");
    browser.follow(&hit);
    assert_eq!(browser.url(), at(&app, "/posts/8?lang=ja"));
    let link = browser.link("English");
    browser.follow(&link);
    assert_eq!(browser.url(), at(&app, "/posts/8?lang=en"));
    browser.back();
    browser.reload();
    assert_eq!(browser.url(), at(&app, "/posts/8?lang=ja"));
    let title = browser.find("header .site a");
    assert_eq!(browser.attribute(&title, "href").as_deref(), Some("/?lang=ja"));
}
