//! The mirror: what readers see, as files that lead to one another.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::json;

use super::archives::{answer, id, photo, script, tweet};
use super::{Place, execute, png};

fn filled() -> Place {
    let place = Place::new();
    let picture = json!({"extended_entities": {"media": [photo("https://t.co/p", "A.png", Some("a cat"))]}});
    // More than a page of the front page holds.
    let mut posts: Vec<_> = (10..60)
        .rev()
        .map(|n| tweet(n, &format!("post number {n}"), json!({})))
        .collect();
    posts.extend([
        answer(4, "an answer", 3),
        tweet(3, "a picture https://t.co/p", picture),
        tweet(2, "日本語 #ラズパイ https://else.example/a?b=1&c=2", json!({})),
        tweet(1, "one", json!({})),
    ]);
    place.write("archive/data/tweets.js", script("tweets", 0, &posts));
    place.write(&format!("archive/data/tweets_media/{}-A.png", id(3)), png(1));
    place.json(&["import", "x-archive", "archive"]);
    execute(
        &place.database(),
        "UPDATE posts SET visibility = 'private', body = 'SECRET private' WHERE body = 'post number 20';
         UPDATE posts SET visibility = 'unlisted', body = 'SECRET unlisted' WHERE body = 'post number 21';
         UPDATE posts SET deleted_at = 1, body = 'SECRET deleted' WHERE body = 'post number 22';
         UPDATE posts SET state = 'draft', body = 'SECRET draft' WHERE body = 'post number 23'",
    );
    place
}

fn files(top: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let (mut stack, mut files) = (vec![top.to_owned()], BTreeMap::new());
    while let Some(path) = stack.pop() {
        if path.is_dir() {
            stack.extend(std::fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        } else {
            files.insert(
                path.strip_prefix(top).unwrap().to_owned(),
                std::fs::read(&path).unwrap(),
            );
        }
    }
    files
}

/// The values of an attribute in a page.
fn values<'a>(page: &'a str, attribute: &str) -> Vec<&'a str> {
    let start = format!(" {attribute}=\"");
    page.split(&start)
        .skip(1)
        .map(|rest| rest.split('"').next().unwrap())
        .collect()
}

fn decoded(link: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = link.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let hex = [rest.next().unwrap(), rest.next().unwrap()];
            bytes.push(u8::from_str_radix(std::str::from_utf8(&hex).unwrap(), 16).unwrap());
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).unwrap()
}

#[test]
fn every_link_leads_to_a_file_and_nothing_hidden_is_there() {
    let place = filled();
    let out = place.json(&["export", "--format", "html", "mirror", "--base-url", "http://abc.onion"]);
    assert_eq!(out["problems"], json!([]), "{out:#}");
    assert_eq!(out["images"], 1);
    let files = files(&place.path("mirror"));
    let mut pages = 0;
    for (name, bytes) in &files {
        assert!(!bytes.windows(6).any(|part| part == b"SECRET"), "{}", name.display());
        if name.extension().is_none_or(|extension| extension != "html") {
            continue;
        }
        pages += 1;
        let page = std::str::from_utf8(bytes).unwrap();
        for link in values(page, "href").into_iter().chain(values(page, "src")) {
            if link.starts_with("https://else.example/") || link.starts_with('#') {
                continue;
            }
            assert!(
                !link.starts_with(['/', '?']) && !link.contains("://"),
                "{}: {link}",
                name.display()
            );
            let path = place
                .path("mirror")
                .join(name)
                .parent()
                .unwrap()
                .join(decoded(link.split('#').next().unwrap()));
            assert!(path.is_file(), "{}: {link}", name.display());
        }
        assert!(
            !page.contains("href=\"/login\"") && !page.contains("action=\"/"),
            "{}",
            name.display()
        );
    }
    // 54 posts but the four hidden ones, and lists of them.
    assert!(pages > 50, "{pages}");
    let has = |name: &str| files.contains_key(Path::new(name));
    for name in [
        "index.html",
        "posts/1.html",
        "tags/ラズパイ.html",
        "feed.atom",
        "SHA256SUMS",
    ] {
        assert!(has(name), "{name}: {:?}", files.keys());
    }
    assert!(files.keys().any(|name| name.starts_with("media")));
    #[allow(clippy::disallowed_methods)]
    let checked = std::process::Command::new("sha256sum")
        .args(["--check", "--strict", "--quiet", "SHA256SUMS"])
        .current_dir(place.path("mirror"))
        .output()
        .unwrap();
    assert!(checked.status.success(), "{checked:?}");

    // The same blog, the same bytes; and nothing else is left behind.
    place.json(&[
        "export",
        "--format",
        "html",
        "again.zip",
        "--base-url",
        "http://abc.onion",
    ]);
    let again = place.json(&["export", "--format", "html", "again", "--base-url", "http://abc.onion"]);
    assert_eq!(again["sha256sums"], out["sha256sums"]);
    let left = std::fs::read_dir(place.directory.path())
        .unwrap()
        .map(|e| e.unwrap().file_name());
    assert!(left.into_iter().all(|name| !name.to_string_lossy().starts_with('.')));
}
