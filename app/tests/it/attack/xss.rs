//! Scripts in every field: of forms, of programs, of settings, of addresses, of what is imported. A real browser says
//! whether any of it is more than text: its parser is asked for every element, and every page is let loose in it without
//! the policy that would stop scripts anyway.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::LazyLock;
use std::time::Duration;

use serde_json::{Value, json};

use crate::app::{PASSWORD, TestApp, program};
use crate::crawl::{BASE, crawl};
use crate::data::archives::{script, tweet};
use crate::data::png;
use crate::http::{Browser, encode};
use crate::micropub::Client;
use crate::webdriver::Chromium;

/// Texts that set `xss` if anybody takes them for more than text.
static CORPUS: LazyLock<Vec<String>> =
    LazyLock::new(|| serde_json::from_str(include_str!("../../fixtures/xss.json")).unwrap());

/// So many at once: of a page that closes early, the rest must not be hidden.
const TOGETHER: usize = 12;

/// Looks at one text as the browser reads it. Answers with what is active in it, and how many elements it has.
const JUDGE: &str = r#"
const known = new Set(("html head body title meta link header nav main footer section article aside h1 h2 h3 h4 h5 h6 p a "
    + "img form input textarea button label select option fieldset legend ul ol li dl dt dd table thead tbody tr th td "
    + "caption time span div strong em del ins mark code pre blockquote br hr small details summary figure figcaption b i "
    + "output data").split(" "));
const addresses = new Set(["href", "src", "action", "cite", "data", "poster"]);
const active = ["style", "srcdoc", "srcset", "formaction", "http-equiv", "background", "xlink:href", "ping", "autofocus"];
let count = 0;
const elements = (path, root) => {
    for (const element of root.querySelectorAll("*")) {
        count += 1;
        const problem = what => found.push(`${element.localName} of ${path}: ${what}`);
        if (element.namespaceURI != "http://www.w3.org/1999/xhtml" || !known.has(element.localName))
            problem("no element of this blog");
        for (const { name, value } of element.attributes) {
            if (name.startsWith("on") || active.includes(name) || /["'<=`]/.test(name)) problem(`${name}=${value}`);
            if (!addresses.has(name)) continue;
            const scheme = /^[a-z][a-z0-9+.-]*:/i.exec(value.replace(/[\s\x00-\x1f\x7f]/g, ""));
            const plain = !scheme || ["http:", "https:", "mailto:", "otpauth:"].includes(scheme[0].toLowerCase());
            if (!plain || /^\s*\/\//.test(value) || value.includes("\\")) problem(`${name}=${value}`);
        }
    }
};
const html = (path, text) => elements(path, new DOMParser().parseFromString(text, "text/html"));
const tree = (path, key, value) => {
    if (key == "content_html") html(path, value);
    else if (value && typeof value == "object") for (const name in value) tree(path, name, value[name]);
    if (["url", "external_url", "home_page_url"].includes(key) && !/^http:\/\/|^https:\/\//.test(value))
        found.push(`${key} of ${path}: ${value}`);
};
const found = [];
const look = (path, kind, text) => {
    if (kind == "text/html") return html(path, text);
    if (kind.endsWith("json")) return tree(path, "", JSON.parse(text));
    if (!kind.endsWith("xml")) return;
    const document = new DOMParser().parseFromString(text, "text/xml");
    if (document.querySelector("parsererror")) found.push(`${path}: ${document.querySelector("parsererror").textContent}`);
    for (const element of document.querySelectorAll("item > description, entry > content, entry > summary")) {
        count += 1;
        if (element.getAttribute("type") != "text") html(path, element.textContent);
    }
    for (const element of document.querySelectorAll("link")) {
        const address = element.getAttribute("href") ?? element.textContent;
        if (!/^https?:\/\//.test(address)) found.push(`link of ${path}: ${address}`);
    }
};
/// Whether anything runs when the text is a page of its own. Frames of a file have no policy.
const runs = async text => {
    const frame = document.createElement("iframe");
    frame.srcdoc = text;
    const loaded = new Promise(done => { frame.onload = done; });
    document.body.append(frame);
    await Promise.race([loaded, new Promise(done => setTimeout(done, 2000))]);
    await new Promise(done => setTimeout(done, 0));
    let ran = typeof window.xss != "undefined";
    try {
        const inner = frame.contentWindow;
        ran = ran || typeof inner.xss != "undefined" || inner.location.href != "about:srcdoc";
    } catch {
        // It has gone elsewhere.
        ran = true;
    }
    delete window.xss;
    frame.remove();
    return ran;
};
let ran = 0;
await Promise.all(PAGES.map(async ([path, kind, text], at) => {
    look(path, kind, text);
    if (kind == "text/html" && at % EVERY == 0 && await runs(text)) { ran += 1; found.push(`${path}: it runs`); }
}));
return { found, count, ran };
"#;

/// What is active in these pages (name, type, text); how many elements there are; how many pages did something. All are
/// taken apart; every so many are let loose, which takes longer.
fn judge(browser: &mut Chromium, pages: &[(&str, &str, &str)], every: usize) -> (Vec<String>, u64, u64) {
    let (mut found, mut count, mut ran) = (Vec::new(), 0, 0);
    for some in pages.chunks(20) {
        let script = JUDGE.replace("EVERY", &every.to_string());
        let script = script.replacen("PAGES", &serde_json::to_string(some).unwrap(), 1);
        let answer = browser.run(&format!("return (async () => {{ {script} }})()"));
        let problems = answer["found"].as_array().unwrap();
        found.extend(problems.iter().map(|problem| problem.as_str().unwrap().to_owned()));
        count += answer["count"].as_u64().unwrap();
        ran += answer["ran"].as_u64().unwrap();
    }
    (found, count, ran)
}

fn nothing_is_active(browser: &mut Chromium, what: &str, pages: &[(&str, &str, &str)], every: usize) {
    let (found, count, _) = judge(browser, pages, every);
    assert!(
        count > 10 * pages.len() as u64,
        "{what}: {count} elements of {} pages",
        pages.len()
    );
    assert_eq!(found, [""; 0], "{what}");
}

/// Pages that came back in place of what was asked for.
type Refused = Vec<(String, String)>;

/// The forms of the owner, each text in each field.
fn through_forms(owner: &mut Browser) -> Refused {
    let csrf = owner.get("/admin/new").field("csrf");
    let csrf = csrf.as_str();
    let mut refused = Vec::new();
    let mut number = 0;
    let mut key = || {
        number += 1;
        format!("{number:032x}")
    };
    for (n, texts) in CORPUS.chunks(TOGETHER).enumerate() {
        let (lines, line) = (texts.join("\n\n"), texts.join(" "));
        let title: String = line.chars().take(300).collect();
        let bytes = png(n as u8);
        let image = [("file", "p.png", &bytes[..])];
        let post = [("csrf", csrf), ("body", &lines), ("alt0", &lines), ("title", &title)];
        let made = owner.upload("/admin/posts", &[&post[..], &[("key", &key())]].concat(), &image);
        assert_eq!(made.status, 303, "{line:?}: {}", made.body);
        let link = format!("https://e.example/{}", line.replace(char::is_whitespace, "+"));
        let fields = [
            ("csrf", csrf),
            ("kind", "link"),
            ("link", &link),
            ("title", &title),
            ("body", &lines),
        ];
        let made = owner.post("/admin/posts", &[&fields[..], &[("key", &key())]].concat());
        refused.push((format!("link {line:?}"), made.body));
        let slug = format!("page-{n}");
        let fields = [
            ("csrf", csrf),
            ("kind", "page"),
            ("slug", &slug),
            ("title", &title),
            ("body", &lines),
        ];
        let made = owner.post("/admin/posts", &[&fields[..], &[("key", &key())]].concat());
        assert_eq!(made.status, 303, "{line:?}: {}", made.body);
        // What is no tag comes back with everything else.
        let other = key();
        let tags = [&post[..], &[("key", &other), ("tags", &line)]].concat();
        let answer = owner.upload("/admin/posts", &tags, &image);
        assert_eq!(answer.status, 422, "{line:?}: {}", answer.body);
        refused.push((format!("tags {line:?}"), answer.body));
        // A form of somebody else does so, too, with fields that nobody knows.
        let foreign = [
            ("csrf", &*line),
            ("key", &line),
            ("body", &lines),
            ("title", &line),
            (&line, &line),
        ];
        refused.push((format!("foreign {line:?}"), owner.post("/admin/posts", &foreign).body));
    }
    for (n, text) in CORPUS.iter().enumerate() {
        let odd = [
            "link",
            "slug",
            "lang",
            "date",
            "visibility",
            "reply_to",
            "kind",
            "pin",
            "version",
        ];
        let own = [("csrf", csrf), ("key", &key()), ("body", "x")];
        let answer = owner.post(
            "/admin/posts",
            &[&own[..], &odd.map(|name| (name, text.as_str()))].concat(),
        );
        assert_eq!(answer.status, 422, "{text:?}");
        refused.push((format!("all fields {text:?}"), answer.body));
        let file = text.replace(['"', '\n', '\r'], "%22");
        let answer = owner.upload("/admin/media", &[("csrf", csrf)], &[("file", &file, b"no image")]);
        refused.push((format!("file {text:?}"), answer.body));
        let scope = if n % 2 == 0 { "may-read" } else { "none" };
        let token = [
            ("csrf", csrf),
            ("key", &format!("{n:064x}")),
            ("name", text),
            (scope, "1"),
        ];
        refused.push((format!("token {text:?}"), owner.post("/admin/tokens", &token).body));
        refused.push((
            format!("search {text:?}"),
            owner.get(&format!("/search?q={}", encode(text))).body,
        ));
    }
    for text in CORPUS.iter().step_by(5) {
        for path in [
            "/tags/",
            "/",
            "/?lang=",
            "/?before=",
            "/u/",
            "/old/x/",
            "/admin/new?reply_to=",
            "/admin/posts/",
        ] {
            let answer = owner.get(&format!("{path}{}", encode(text)));
            refused.push((format!("{path} {text:?}"), answer.body));
        }
    }
    refused.retain(|(_, body)| !body.is_empty());
    refused
}

/// The same by programs.
fn through_micropub(app: &TestApp) {
    let client = Client::new(app, &["create", "media", "update"]);
    for (n, texts) in CORPUS.chunks(TOGETHER).enumerate() {
        let (lines, line) = (texts.join("\n\n"), texts.join(" "));
        let content = if n % 2 == 0 {
            json!(lines)
        } else {
            json!({"html": lines})
        };
        let name: String = line.chars().take(300).collect();
        let link = format!("https://e.example/{}", line.replace(char::is_whitespace, "+"));
        let properties = json!({"content": [content], "name": [name], "bookmark-of": [link]});
        let answer = client.json(&json!({"type": ["h-entry"], "properties": properties}));
        let made = if answer.status == 201 {
            answer
        } else {
            client.json(&json!({"type": ["h-entry"], "properties": {"content": [content], "name": [name]}}))
        };
        assert_eq!(made.status, 201, "{line:?}: {}", made.body);
        // Errors repeat what was sent, as JSON, which no browser takes for a page.
        let answer = client.json(&json!({"type": [line], "properties": {(line.clone()): [line], "category": [line]}}));
        assert_eq!(
            answer.header("content-type"),
            Some("application/json"),
            "{}",
            answer.body
        );
    }
    let fields = [("content", "x"), ("mp-photo-alt", &*CORPUS[5])];
    let answer = client.files(
        "/micropub",
        &fields,
        &[("photo", &CORPUS[0].replace('"', ""), &png(200))],
    );
    assert_eq!(answer.status, 201, "{}", answer.body);
}

/// Archives with each text in everything that is a text.
fn through_imports(place: &Path) {
    let escaped = |text: &str| text.replace('<', "&lt;").replace('>', "&gt;");
    let data = place.join("x/data");
    std::fs::create_dir_all(data.join("tweets_media")).unwrap();
    let x = CORPUS.iter().enumerate().rev();
    let x: Vec<Value> = x
        .map(|(n, text)| {
            let url =
                json!({"url": "https://t.co/u", "expanded_url": text, "display_url": text, "indices": ["0", "1"]});
            let media = json!({"type": "photo", "url": "https://t.co/m", "media_url_https": "https://m.example/P.png",
                "expanded_url": text, "ext_alt_text": text, "display_url": text});
            let id = crate::data::archives::id(n as u64);
            let name = format!("tweets_media/{id}-P.png");
            std::fs::write(data.join(name), png(n as u8)).unwrap();
            let more = json!({"lang": text, "source": text, "in_reply_to_screen_name": text,
                "entities": {"urls": [url], "hashtags": [{"text": text}],
                             "user_mentions": [{"name": text, "screen_name": text, "id_str": text}]},
                "extended_entities": {"media": [media]}});
            tweet(
                n as u64,
                &format!("{} {text} https://t.co/u https://t.co/m", escaped(text)),
                more,
            )
        })
        .collect();
    std::fs::write(data.join("tweets.js"), script("tweets", 0, &x)).unwrap();
    let account = json!({"account": {"accountId": "12345", "username": CORPUS[0], "accountDisplayName": CORPUS[0]}});
    std::fs::write(data.join("account.js"), script("account", 0, &[account])).unwrap();

    let public = "https://www.w3.org/ns/activitystreams#Public";
    let mastodon = CORPUS.iter().enumerate();
    let mastodon: Vec<Value> = mastodon
        .map(|(n, text)| {
            std::fs::create_dir_all(place.join("mastodon/files")).unwrap();
            std::fs::write(place.join(format!("mastodon/files/{n}.png")), png(n as u8)).unwrap();
            let tag = json!({"type": "Hashtag", "name": text, "href": text});
            let file = format!("/files/{n}.png");
            let attachment = json!({"type": "Document", "url": file, "name": text, "mediaType": "image/png"});
            let content = format!("{text}<p>{text}</p><a href=\"{text}\">{text}</a>");
            json!({"type": "Create", "to": [public], "object": {"type": "Note", "id": format!("https://m.example/{n}"),
                "published": "2023-01-01T00:00:00Z", "content": content, "summary": text, "contentMap": {text: text},
                "tag": [tag], "attachment": [attachment], "oneOf": [{"name": text}], "attributedTo": text, "url": text}})
        })
        .collect();
    let outbox = json!({"orderedItems": mastodon}).to_string();
    std::fs::write(place.join("mastodon/outbox.json"), outbox).unwrap();
    let actor = json!({"name": CORPUS[0], "preferredUsername": CORPUS[0], "summary": CORPUS[0]}).to_string();
    std::fs::write(place.join("mastodon/actor.json"), actor).unwrap();

    std::fs::create_dir_all(place.join("markdown/i")).unwrap();
    for (n, text) in CORPUS.iter().enumerate() {
        let title = json!(text.replace(|c: char| c.is_control(), " ")).to_string();
        std::fs::write(place.join(format!("markdown/i/{n}.png")), png(n as u8)).unwrap();
        let head = format!(
            "---\ntitle: {title}\ndescription: {title}\nauthor: {title}\ntags: [{title}]\nimages: [i/{n}.png]\n\
             alts: [{title}]\nlang: {title}\ndate: 2020-01-01\n---\n"
        );
        let content = format!("{head}{text}\n\n![{text}]({text})\n");
        std::fs::write(place.join(format!("markdown/{n}.md")), content).unwrap();
    }
    for (words, from) in [("x-archive", "x"), ("mastodon", "mastodon"), ("markdown", "markdown")] {
        let mut command = program();
        command.args(["import", words, from, "--json"]).current_dir(place);
        let output = command.output().unwrap();
        assert!(output.status.success(), "{output:?}");
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(report["imported"], CORPUS.len(), "{report:#}");
        assert_eq!(report["images"], CORPUS.len(), "{report:#}");
    }
}

/// The last number in an address.
fn number(path: &str) -> usize {
    let parts = path.split(|c: char| !c.is_ascii_digit());
    parts
        .filter_map(|part| part.parse().ok())
        .next_back()
        .unwrap_or_default()
}

#[test]
fn scripts_in_any_field_stay_text() {
    assert!(CORPUS.len() > 140);
    let Some(mut browser) = Chromium::start(true) else {
        return;
    };
    let title = CORPUS
        .iter()
        .filter(|text| text.starts_with(['<', '"', '\'', '-', ']']));
    let title: String = title
        .take(60)
        .map(|text| text.replace(|c: char| c.is_control(), " "))
        .collect();
    let directory = tempfile::tempdir().unwrap();
    let app = TestApp::start_in(directory, &["--title", &title, "--base-url", BASE], Some(PASSWORD));
    let place = app.directory.path();
    std::fs::write(place.join("bare.html"), "<!DOCTYPE html><title>bare</title><body>").unwrap();
    browser.open(&format!("file://{}", place.join("bare.html").display()));

    // The judge is awake: of the texts themselves it says so, and what runs in them runs.
    let bare: Vec<_> = CORPUS
        .iter()
        .map(|text| (text.as_str(), "text/html", text.as_str()))
        .collect();
    let (found, _, ran) = judge(&mut browser, &bare, 1);
    assert!(found.len() > 100 && ran > 40, "{} found, {ran} ran", found.len());

    let mut owner = app.owner();
    let refused = through_forms(&mut owner);
    through_micropub(&app);
    let own = number(app.rows("SELECT max(id) AS value FROM posts").as_str());
    let mirror = export(place);
    through_imports(place);
    let wanted = |path: &str| {
        let of_one = path.starts_with("/posts/") || path.starts_with("/admin/posts/");
        let few = ["/delete", "/purge", "/history"].iter().any(|word| path.contains(word));
        let of_tag = path.starts_with("/tags/") && (path.contains("/feed") || path.contains('?'));
        let old = path.starts_with("/20") && path.contains('?');
        let other = path.starts_with("/media/") || path.contains("lang=") || path.contains("reply_to=");
        !of_tag && !old && !other && (!of_one || number(path) <= if few { 2 } else { own })
    };
    let pages = crawl(
        &owner,
        &["/", "/admin", "/admin/media", "/admin/tokens", "/tags/tag/feed.atom"],
        wanted,
    );
    let kinds: BTreeSet<_> = pages.iter().map(|page| page.kind().to_owned()).collect();
    for kind in [
        "text/html",
        "application/feed+json",
        "application/rss+xml",
        "application/atom+xml",
    ] {
        assert!(kinds.contains(kind), "{kinds:?}");
    }
    assert!(pages.len() > 150, "{}", pages.len());
    for page in pages.iter().filter(|page| !page.body.is_empty()) {
        assert!(page.head.status < 500, "{}", page.path);
        let kind = page.head.header("content-type").unwrap_or_default();
        let exact = kind.ends_with("; charset=utf-8") || kind.contains("json");
        let nosniff = page.head.header("x-content-type-options") == Some("nosniff");
        assert!(exact && nosniff, "{}: {kind}", page.path);
    }
    let texts: Vec<_> = pages
        .iter()
        .map(|page| (page.path.as_str(), page.kind(), page.text()))
        .collect();
    nothing_is_active(&mut browser, "pages", &texts, 4);
    let refused: Vec<_> = refused
        .iter()
        .map(|(what, body)| (what.as_str(), "text/html", body.as_str()))
        .collect();
    assert!(refused.len() > 5 * CORPUS.len(), "{}", refused.len());
    nothing_is_active(&mut browser, "refused", &refused, 20);
    let mirror: Vec<_> = mirror
        .iter()
        .map(|(path, body)| (path.as_str(), "text/html", body.as_str()))
        .collect();
    assert!(mirror.len() > 30);
    nothing_is_active(&mut browser, "mirror", &mirror, 4);
    as_it_is_served(&mut browser, &app, &owner);
}

/// The pages of the mirror for readers; of single posts a few.
fn export(place: &Path) -> Vec<(String, String)> {
    let words = ["export", "--format", "html", "--base-url", BASE, "mirror"];
    let output = program().args(words).current_dir(place).output().unwrap();
    // The texts have links to what is not there, which is told.
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let mut pages = Vec::new();
    let mut todo = vec![place.join("mirror")];
    while let Some(directory) = todo.pop() {
        for entry in std::fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            let name = path.to_string_lossy().into_owned();
            if path.is_dir() {
                todo.push(path);
            } else if name.ends_with(".html") && (!name.contains("/posts/") || number(&name).is_multiple_of(5)) {
                pages.push((name, std::fs::read_to_string(&path).unwrap()));
            }
        }
    }
    pages
}

/// From the blog itself, with all it sends along but its policy.
fn as_it_is_served(browser: &mut Chromium, app: &TestApp, owner: &Browser) {
    browser.devtools("Page.setBypassCSP", &json!({"enabled": true}));
    let at = |path: &str| format!("http://{}{path}", app.address);
    browser.open(&at("/"));
    for (name, value) in &owner.cookies {
        let cookie = json!({"name": name, "value": value, "url": at("/"), "httpOnly": true});
        browser.devtools("Network.setCookie", &cookie);
    }
    let search = format!("/search?q={}", encode(&CORPUS[5]));
    for path in [
        "/",
        "/?lang=ja",
        "/admin",
        "/admin/tokens",
        "/admin/posts/1/edit",
        "/posts/1",
        "/tags",
        &search,
    ] {
        browser.open(&at(path));
        std::thread::sleep(Duration::from_millis(20));
        assert_eq!(browser.run("return typeof xss").as_str(), Some("undefined"), "{path}");
        assert_eq!(browser.url(), at(path));
    }
}
