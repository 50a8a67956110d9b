//! A reader's browser and feed reader ask nobody but the blog, and the blog asks nobody at all.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Child, Command};

use serde_json::json;

use crate::app::{PASSWORD, TestApp, program, signal};
use crate::crawl::{BASE, Element, Page, crawl, elements, elements_of};
use crate::data::archives::{id, photo, script, tweet};
use crate::data::png;
use crate::http::Browser;
use crate::require::{require, works};
use crate::seed;

// -- who is asked by those who read --

/// An address of the blog: relative, or below its own.
fn is_own(address: &str) -> bool {
    let rest = address.strip_prefix(BASE);
    if rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['/', '?', '#'])) {
        return true;
    }
    let scheme = address.split(['/', '?', '#']).next().unwrap_or_default().contains(':');
    !scheme && !address.starts_with("//") && !address.contains('\\')
}

/// Whether the owner wrote this very address.
fn wrote(written: &str, address: &str) -> bool {
    written.split(ends_address).any(|word| word == address)
}

fn ends_address(c: char) -> bool {
    c.is_whitespace() || "()<>[]\"'=".contains(c)
}

/// Attributes whose text is only shown.
const SHOWN: &[&str] = &[
    "alt",
    "title",
    "value",
    "placeholder",
    "aria-label",
    "datetime",
    "label",
];

/// What is wrong with an element, if anything. `written` is what the owner wrote: the addresses in it may be followed by a
/// click, and by nothing else.
///
/// A click is `href` of `a`. What a feed calls `link`, `guid` or `external_url` is followed by a click, too. Every other
/// attribute that is or could be an address must be the blog's own; those that are only shown are not looked at.
fn leak(element: &Element, written: &str) -> Option<String> {
    let problem = |what: &str| Some(format!("{} in {}: {what}", element.name, element.path));
    let by_click = |address: &str| is_own(address) || wrote(written, address);
    let looks_like_address = |value: &str| value.contains("://") || value.trim_start().starts_with("//");
    if let Some(name) = element.name.strip_prefix("html:") {
        if matches!(
            name,
            "script" | "iframe" | "object" | "embed" | "base" | "style" | "svg" | "math" | "applet"
        ) {
            return problem("not an element of this blog");
        }
        for (attribute, value) in &element.attributes {
            let fine = match attribute.as_str() {
                "href" if name == "a" => {
                    let rel = element.attribute("rel").unwrap_or_default();
                    let in_feed = element.path.contains("/feed.");
                    // To the owner's own program for codes; it names no machine.
                    let code = element.path == "/admin/two-factor" && value.starts_with("otpauth://totp/");
                    is_own(value)
                        || code
                        || by_click(value) && (in_feed || rel.contains("noopener") && rel.contains("nofollow"))
                }
                "ping" | "style" | "http-equiv" | "background" | "manifest" => false,
                "href" | "src" | "srcset" | "action" | "formaction" | "poster" | "data" | "cite" | "imagesrcset"
                | "longdesc" | "profile" | "codebase" | "usemap" | "dynsrc" | "lowsrc" => is_own(value),
                "content" if element.attribute("name") == Some("description") => true,
                shown if SHOWN.contains(&shown) => true,
                _ => !looks_like_address(value),
            };
            if !fine {
                return problem(&format!("{attribute}={value}"));
            }
        }
        return None;
    }
    let text = element.text.trim();
    let is_address = looks_like_address(text) && !text.contains([' ', '\n', '<']);
    let fine = match element.name.as_str() {
        "json:version" => text == "https://jsonfeed.org/version/1.1",
        "xml:guid" => text.starts_with("urn:uuid:"),
        "xml:link" | "json:external_url" | "json:url" => by_click(text),
        _ => !is_address || is_own(text),
    };
    if !fine {
        return problem(text);
    }
    for (attribute, value) in &element.attributes {
        let link = element.name == "xml:link" && attribute == "href";
        let address = looks_like_address(value) || matches!(attribute.as_str(), "href" | "url" | "src" | "template");
        if address && !(is_own(value) || link && by_click(value)) {
            return problem(&format!("{attribute}={value}"));
        }
    }
    None
}

/// What is wrong with an answer beside its elements.
fn leak_beside(page: &Page, written: &str) -> Option<String> {
    for (name, value) in &page.head.headers {
        let fine = match name.as_str() {
            "location" => is_own(value),
            "refresh" | "link" | "report-to" | "nel" | "sourcemap" | "x-dns-prefetch-control" => false,
            "content-security-policy" => !value.contains("report"),
            _ => !value.contains("://"),
        };
        if !fine {
            return Some(format!("{}: {name}: {value}", page.path));
        }
    }
    if page.body.is_empty() {
        return None;
    }
    let lower = || page.text().to_lowercase();
    match page.kind() {
        "text/css" => ["url(", "@import", "image-set(", "src(", "//", "\\"]
            .into_iter()
            .find(|word| lower().contains(word))
            .map(|word| format!("{}: {word}", page.path)),
        "text/plain" | "application/json" => page
            .text()
            .split(ends_address)
            .find(|word| word.contains("://") && !is_own(word) && !wrote(written, word))
            .map(|word| format!("{}: {word}", page.path)),
        "text/html"
        | "application/atom+xml"
        | "application/rss+xml"
        | "application/feed+json"
        | "application/opensearchdescription+xml"
        | "image/png" => None,
        other => Some(format!("{}: nobody looks into {other}", page.path)),
    }
}

/// All problems of what was crawled; `None` without Python.
fn leaks(pages: &[Page], written: &str) -> Option<Vec<String>> {
    let elements = elements_of(pages)?;
    let inside = elements.iter().filter_map(|element| leak(element, written));
    let beside = pages.iter().filter_map(|page| leak_beside(page, written));
    Some(inside.chain(beside).collect())
}

fn judge_is_awake() {
    let html = [
        "<img src='https://x.example/p'>",
        "<img src='//x.example/p'>",
        "<img srcset='https://x.example/p 2x'>",
        "<a href='https://x.example/' rel='nofollow noopener'>",
        "<a href='https://x.example/written'>no rel</a>",
        "<a href='/' ping='https://x.example/'>",
        "<form action='https://x.example/'></form>",
        "<link rel=stylesheet href='https://x.example/s.css'>",
        "<link rel=dns-prefetch href='//x.example'>",
        "<meta http-equiv=refresh content='0'>",
        "<meta property=og:image content='https://x.example/p'>",
        "<p style='background:url(x)'>",
        "<video poster='http://x.example'></video>",
        "<p data-x='https://x.example'>",
        "<a href='javascript:x' rel='nofollow noopener'>",
    ];
    let feed = |inside: &str| format!("<feed xmlns='http://www.w3.org/2005/Atom'>{inside}</feed>");
    let mut pages: Vec<(String, &str, String)> =
        html.map(|text| (text.to_owned(), "text/html", text.to_owned())).into();
    for inside in [
        "<content type='html'>&lt;img src='https://x.example/p'&gt;</content>",
        "<logo>https://x.example/p</logo>",
        "<link href='https://x.example/p'/>",
        "<enclosure url='https://x.example/written'/>",
    ] {
        pages.push((inside.to_owned(), "application/atom+xml", feed(inside)));
    }
    let json = "{\"items\": [{\"image\": \"https://x.example/p\"}]}";
    pages.push((json.to_owned(), "application/feed+json", json.to_owned()));
    let texts = pages
        .iter()
        .map(|(path, kind, text)| (path.as_str(), *kind, text.as_str()));
    let found: Vec<_> = elements(texts)
        .unwrap()
        .iter()
        .filter_map(|element| leak(element, "https://x.example/written"))
        .collect();
    for (path, ..) in &pages {
        assert!(
            found.iter().any(|found| found.contains(path.as_str())),
            "{path} is let through"
        );
    }
}

// -- whom the program asks --

/// Runs a program so that its calls to the network are written to `file`. It is the child itself, the tracer is not.
fn traced(file: &Path, program: &Command) -> Command {
    let mut command = Command::new("strace");
    command
        .args(["-D", "-f", "-q", "--seccomp-bpf", "-e", "signal=none"])
        .args(["-e", "trace=%network,execve,execveat,io_uring_setup", "-o"])
        .arg(file)
        .arg(program.get_program())
        .args(program.get_args());
    if let Some(directory) = program.get_current_dir() {
        command.current_dir(directory);
    }
    for (name, _) in program.get_envs().filter(|(_, value)| value.is_none()) {
        command.env_remove(name);
    }
    command
}

fn can_trace() -> bool {
    let there = works(
        "strace",
        &["-f", "--seccomp-bpf", "-e", "trace=%network", "-o", "/dev/null", "true"],
    );
    require("strace, and leave to trace", there)
}

/// The calls of a process that has ended.
fn calls(file: &Path, child: u32) -> Vec<String> {
    // The tracer writes on for a moment.
    let child = child.to_string();
    // Short numbers are padded with blanks.
    let ends = |line: &str| {
        line.split_once(' ')
            .is_some_and(|(process, rest)| process == child && rest.trim_start().starts_with("+++ "))
    };
    for _ in 0..400 {
        let text = std::fs::read_to_string(file).unwrap_or_default();
        if text.lines().any(ends) {
            return text.lines().map(str::to_owned).collect();
        }
        std::thread::sleep(std::time::Duration::from_millis(25));
    }
    panic!("no end in {}", file.display());
}

/// What a process did that reaches somebody else: everything but to listen and to answer. `listeners` sockets are made.
fn outward(calls: &[String], listeners: usize) -> Vec<String> {
    let (mut sockets, mut programs) = (0, 0);
    let mut wrong = Vec::new();
    for line in calls {
        let call = line.split_once(' ').map_or("", |(_, call)| call.trim_start());
        let name = call.split('(').next().unwrap_or_default();
        let fine = match name {
            "socket" => {
                sockets += 1;
                true
            }
            "execve" => {
                programs += 1;
                true
            }
            // Between its own threads.
            "socketpair" => call.contains("AF_UNIX"),
            "bind" | "listen" | "accept4" | "getsockname" | "getpeername" | "setsockopt" | "getsockopt"
            | "recvfrom" | "shutdown" => true,
            // On a connection that somebody else made.
            "sendto" => call.contains(", NULL, 0)") || call.contains("<unfinished"),
            _ => call.starts_with("<... ") || call.starts_with("+++ "),
        };
        if !fine {
            wrong.push(line.clone());
        }
    }
    if sockets != listeners || programs != 1 {
        wrong.push(format!("{sockets} sockets and {programs} programs"));
    }
    wrong
}

/// Runs a command of the blog to its end.
fn run(directory: &Path, words: &[&str]) -> Vec<String> {
    let mut command = program();
    command.args(words).current_dir(directory);
    let file = directory.join("calls");
    let mut child: Child = traced(&file, &command)
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let status = child.wait().unwrap();
    assert!(status.code().is_some_and(|code| code < 2), "{words:?}: {status}");
    let calls = calls(&file, child.id());
    std::fs::remove_file(file).unwrap();
    calls
}

/// Writes, edits, sends a picture, previews, deletes.
fn work(owner: &mut Browser) {
    for body in [
        "see https://elsewhere.example/a and [this](https://elsewhere.example/b \"t\") #leak",
        "![a picture](https://elsewhere.example/pixel.png) ![](//elsewhere.example/p.png) <img src=https://elsewhere.example/c>",
        "> quote\n\n<https://elsewhere.example/d> mail@elsewhere.example",
    ] {
        crate::app::write(owner, body);
    }
    let form = owner.get("/admin/new");
    let (csrf, key) = (form.field("csrf"), form.field("key"));
    let fields = [
        ("csrf", csrf.as_str()),
        ("key", &key),
        ("body", "a picture"),
        ("alt0", "shown"),
    ];
    let posted = owner.upload("/admin/posts", &fields, &[("file", "p.png", &png(3))]);
    let path = posted.location().replace("/posts/", "/admin/posts/");
    let edit = [("csrf", csrf.as_str()), ("body", "edited https://elsewhere.example/e")];
    assert_eq!(owner.post(&format!("{path}/edit"), &edit).status, 303);
    let link = [
        ("csrf", csrf.as_str()),
        ("key", "00112233445566778899aabbccddeeff"),
        ("title", "A link"),
        ("link", "https://elsewhere.example/f"),
        ("body", "x"),
    ];
    assert_eq!(
        owner
            .post("/admin/posts", &[&link[..], &[("do", "preview")]].concat())
            .status,
        200
    );
    let away = owner
        .post("/admin/posts", &link)
        .location()
        .replace("/posts/", "/admin/posts/");
    assert_eq!(owner.post(&format!("{away}/delete"), &[("csrf", &csrf)]).status, 303);
    assert_eq!(owner.post(&format!("{away}/restore"), &[("csrf", &csrf)]).status, 303);
}

#[test]
fn nobody_else_is_asked_by_the_blog_or_its_readers() {
    if !can_trace() {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    seed::fill(&directory);
    let file = directory.path().join("calls");
    let options = [
        "--title",
        "On a small computer",
        "--base-url",
        BASE,
        "--listen",
        "127.0.0.2:0",
    ];
    let mut app = TestApp::start_as(traced(&file, &program()), directory, &options, Some(PASSWORD));
    let log = app.log_with("serves=readers");
    let line = log.lines().find(|line| line.contains("serves=readers")).unwrap();
    let reader = Browser {
        address: line
            .split_once("addr=")
            .unwrap()
            .1
            .split(' ')
            .next()
            .unwrap()
            .to_owned(),
        cookies: Vec::new(),
    };
    let mut owner = app.owner();
    work(&mut owner);

    let written = app.rows("SELECT group_concat(body || ' ' || coalesce(link, ''), ' ') AS value FROM posts");
    let start = ["/", "/nothing", "/search?q=rust", "/twtxt.txt", "/tags/leak/feed.json"];
    let for_readers = crawl(&reader, &start, |_| true);
    let for_owner = crawl(&owner, &["/", "/admin", "/admin/metrics"], |_| true);
    let with_content = for_readers
        .iter()
        .chain(&for_owner)
        .filter(|page| !page.body.is_empty());
    let kinds: BTreeSet<_> = with_content.map(|page| page.kind().to_owned()).collect();
    assert_eq!(kinds.len(), 9, "{kinds:?}");
    assert!(
        for_readers.len() > 60 && for_owner.len() > 100,
        "{} {}",
        for_readers.len(),
        for_owner.len()
    );
    assert!(for_readers.iter().all(|page| page.head.status < 500));
    for (what, pages) in [("readers", &for_readers), ("owner", &for_owner)] {
        let Some(found) = leaks(pages, &written) else { return };
        assert_eq!(found, [""; 0], "{what}");
    }
    judge_is_awake();

    signal(&app.child, "-TERM");
    assert!(app.child.wait().unwrap().success());
    let all = calls(&file, app.child.id());
    assert!(all.len() > 200, "the tracer saw little: {all:?}");
    assert_eq!(outward(&all, 2), [""; 0]);
    let place = app.directory.path();
    commands(place);

    // The tracer is awake: this command does ask somebody.
    let url = format!("http://{}/", reader.address);
    assert!(!outward(&run(place, &["health", "--url", &url]), 0).is_empty());
}

/// Data in and out.
fn commands(place: &Path) {
    let data = place.join("archive/data");
    std::fs::create_dir_all(data.join("tweets_media")).unwrap();
    let picture = json!({"extended_entities": {"media": [photo("https://t.co/p", "P.png", Some("x"))]},
        "entities": {"urls": [{"url": "https://t.co/u", "expanded_url": "https://elsewhere.example/g"}]}});
    let post = tweet(1, "x https://t.co/u https://t.co/p", picture);
    std::fs::write(data.join("tweets.js"), script("tweets", 0, &[post])).unwrap();
    std::fs::write(data.join(format!("tweets_media/{}-P.png", id(1))), png(9)).unwrap();
    for words in [
        &["import", "x-archive", "archive"][..],
        &["backup", "--to", "safe2"],
        &["restore", "safe2", "--database", "new.db"],
        &["export", "--format", "html", "--base-url", BASE, "mirror"],
        &["export", "--format", "jsonl", "lines"],
        &["import", "export", "lines", "--database", "other.db"],
        &["check"],
        &["doctor"],
        &["config"],
    ] {
        assert_eq!(outward(&run(place, words), 0), [""; 0], "{words:?}");
    }
}
