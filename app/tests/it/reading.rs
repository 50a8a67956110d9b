//! What readers see: pages of posts, one post, the stylesheet, errors.

use crate::app::{TestApp, write};

#[test]
fn an_empty_blog_says_how_to_begin() {
    let app = TestApp::start_with(&["--title", "My <Blog>"]);
    let page = app.reader().get("/");
    assert_eq!(page.status, 200);
    assert!(page.body.contains("There are no posts yet"));
    assert!(page.body.contains("href=\"/login\""));
    assert!(page.body.contains("<html lang=\"en\">"));
    assert!(page.body.contains("My &#60;Blog&#62;"));
    assert!(!page.body.contains("<Blog>"));
    assert_eq!(page.header("set-cookie"), None, "readers get no cookie");
}

#[test]
fn pages_go_back_in_time_and_stay_put() {
    let app = TestApp::start();
    let mut owner = app.owner();
    for n in 1..=45 {
        write(&mut owner, &format!("post number {n}."));
    }
    let mut reader = app.reader();
    let numbers = |body: &str| -> Vec<u32> {
        body.split("post number ")
            .skip(1)
            .map(|part| part.split('.').next().unwrap().parse().unwrap())
            .collect()
    };
    let older = |body: &str| {
        let (before, _) = body.split_once("\">Older posts").unwrap();
        before.rsplit_once("href=\"").unwrap().1.to_owned()
    };

    let first = reader.get("/");
    assert_eq!(numbers(&first.body), (26..=45).rev().collect::<Vec<_>>());
    assert!(!first.body.contains("Newest posts"));

    let link = older(&first.body);
    // A new post and the deletion of the post the link names change nothing behind the link.
    write(&mut owner, "post number 46.");
    let gone = reader.get("/posts/26");
    assert_eq!(gone.status, 200);
    let csrf = owner.get("/admin/posts/26/delete").field("csrf");
    owner.post("/admin/posts/26/delete", &[("csrf", &csrf)]);
    let second = reader.get(&link);
    assert_eq!(numbers(&second.body), (6..=25).rev().collect::<Vec<_>>());
    assert!(second.body.contains("Newest posts"));

    let last = reader.get(&older(&second.body));
    assert_eq!(numbers(&last.body), (1..=5).rev().collect::<Vec<_>>());
    assert!(!last.body.contains("Older posts"));
    assert_eq!(reader.get("/?before=nonsense").status, 404);
    assert!(reader.get("/?before=0-1").body.contains("no older posts"));
}

#[test]
fn a_post_has_its_own_page_with_microformats() {
    let app = TestApp::start();
    let path = write(
        &mut app.owner(),
        "こんにちは 世界\nsecond line\n\nhttps://example.org/?a=1&b=2.",
    );
    let page = app.reader().get(&path);
    assert_eq!(page.status, 200);
    for part in [
        "<title>こんにちは 世界 – Blog</title>",
        "class=\"h-entry\"",
        "class=\"e-content\"",
        "class=\"dt-published\" datetime=\"20",
        "class=\"u-url\" href=\"/posts/1\"",
        "こんにちは 世界<br>\nsecond line</p>",
        "<a href=\"https://example.org/?a=1&amp;b=2\" rel=\"nofollow noopener\">",
    ] {
        assert!(page.body.contains(part), "{part} is not in {}", page.body);
    }
    assert!(!page.body.contains("/edit"), "readers see no owner's links");
    for path in [
        "/posts/2",
        "/posts/01",
        "/posts/+1",
        "/posts/x",
        "/posts/-1",
        "/posts/99999999999999999999",
    ] {
        assert_eq!(app.reader().get(path).status, 404, "{path}");
    }
}

#[test]
fn every_page_is_built_for_everybody() {
    let app = TestApp::start();
    let mut owner = app.owner();
    write(&mut owner, "text");
    let (mut reader, mut pages) = (app.reader(), Vec::new());
    for path in ["/", "/posts/1", "/login", "/nothing"] {
        pages.push(reader.get(path));
    }
    for path in [
        "/",
        "/posts/1",
        "/admin/new",
        "/admin/posts/1/edit",
        "/admin/posts/1/delete",
    ] {
        pages.push(owner.get(path));
    }
    for page in pages {
        let body = page.body;
        assert!(body.starts_with("<!DOCTYPE html>\n<html lang=\"en\">"));
        assert_eq!(body.matches("<h1").count(), 1, "{body}");
        assert_eq!(body.matches("<main id=\"main\">").count(), 1);
        assert!(body.contains("<a class=\"skip\" href=\"#main\">"));
        assert!(!body.contains("<script") && !body.contains("style=\""));
        let inputs = [
            "<textarea",
            "type=\"password\"",
            "type=\"text\"",
            "type=\"file\"",
            "<select",
        ]
        .iter()
        .map(|field| body.matches(field).count())
        .sum::<usize>();
        assert_eq!(body.matches("<label for=").count(), inputs, "{body}");
        // Nothing on a page is fetched from anywhere else.
        for part in body.split(" src=\"").skip(1).chain(body.split("<link ").skip(1)) {
            assert!(!part.split('>').next().unwrap().contains("//"), "{part}");
        }
    }
}

#[test]
fn pages_with_the_owners_token_are_kept_nowhere() {
    let app = TestApp::start();
    let mut owner = app.owner();
    write(&mut owner, "text");
    for path in ["/", "/posts/1"] {
        assert_eq!(app.reader().get(path).header("cache-control"), Some("no-cache"));
        let vary = app.reader().get(path).header("vary").unwrap().to_owned();
        assert_eq!(vary, "accept-encoding, accept-language");
    }
    for path in [
        "/",
        "/posts/1",
        "/admin/new",
        "/admin/posts/1/edit",
        "/admin/posts/1/delete",
        "/nothing",
    ] {
        assert_eq!(owner.get(path).header("cache-control"), Some("no-store"), "{path}");
    }
}

/// Otherwise anybody could empty what is kept, by asking for one page under many addresses.
#[test]
fn what_is_no_parameter_of_a_page_makes_no_other_page() {
    let app = TestApp::start();
    let mut owner = app.owner();
    write(&mut owner, "text #Tag");
    let date = owner.get("/posts/1").body;
    let date = date.split("datetime=\"").nth(1).unwrap()[..10].replace('-', "/");
    let mut reader = app.reader();
    let mut same = |path: &str, other: &str| {
        let (one, two) = (reader.get(path), reader.get(other));
        assert_eq!((one.status, two.status), (200, 200), "{other}");
        assert_eq!(one.body, two.body, "{other}");
        assert_eq!(one.header("etag"), two.header("etag"), "{other}");
    };
    for path in [
        "/",
        "/posts/1",
        "/tags",
        "/tags/tag",
        "/archive",
        "/feed.atom",
        "/tags/tag/feed.rss",
    ] {
        for unknown in [
            "x=1",
            "x",
            "&&",
            "utm_source=feed&x=%22",
            "q=text",
            "lang=xx",
            "Before=0-1",
        ] {
            same(path, &format!("{path}?{unknown}"));
        }
    }
    let day = format!("/{date}");
    same(&day, &format!("{day}?x=1"));
    same("/?before=99999999999-1", "/?x=1&before=099999999999-01&before=1-1");
    same("/?lang=ja", "/?a=b&lang=ja&lang=en");
    same("/posts/1", "/posts/1?before=0-1");
    same("/tags/tag/feed.atom", "/tags/TAG/feed.atom");
    same("/search?q=te+xt", "/search?x=1&q=te%20xt");
    // What is one is carried to the other language.
    let links = |body: &str| -> Vec<String> {
        let links = body.split("href=\"?").skip(1);
        links.map(|link| link.split('"').next().unwrap().to_owned()).collect()
    };
    assert_eq!(links(&reader.get("/?x=1").body), ["lang=ja"]);
    assert_eq!(links(&reader.get("/?before=5-1&x=1").body), ["before=5-1&#38;lang=ja"]);
    let found = reader.get("/search?x=1&before=99999999999-1&q=te+xt").body;
    assert_eq!(links(&found), ["q=te%20xt&#38;before=99999999999-1&#38;lang=ja"]);
}

#[test]
fn the_stylesheet_may_be_kept_for_ever() {
    let app = TestApp::start();
    let mut reader = app.reader();
    let page = reader.get("/");
    let path = page
        .body
        .split("rel=\"stylesheet\" href=\"")
        .nth(1)
        .unwrap()
        .split('"')
        .next()
        .unwrap();
    let style = reader.get(path);
    assert_eq!(style.status, 200);
    assert_eq!(style.header("content-type"), Some("text/css; charset=utf-8"));
    assert!(style.header("cache-control").unwrap().contains("immutable"));
    assert!(style.body.contains("prefers-color-scheme: dark"));
    assert!(!style.body.contains("url(") && !style.body.contains("@import"));
    assert_eq!(reader.get("/style-0000000000000000.css").status, 404);
}

#[test]
fn a_post_leads_to_those_beside_it() {
    let app = TestApp::start();
    let mut owner = app.owner();
    for text in ["the first", "二番目の投稿 #tag", "the third"] {
        crate::app::write(&mut owner, text);
    }
    let first = app.reader().get("/posts/1").body;
    assert!(
        first.contains("rel=\"prev\" href=\"/posts/2\"") && !first.contains("rel=\"next\""),
        "{first}"
    );
    assert!(first.contains("<span lang=\"ja\" dir=\"auto\">二番目"), "{first}");
    let second = app.reader().get("/posts/2?lang=en").body;
    assert!(second.contains("rel=\"prev\" href=\"/posts/3?lang=en\""), "{second}");
    assert!(second.contains("rel=\"next\" href=\"/posts/1?lang=en\""), "{second}");
    // What is not in lists is not beside anything, and nothing is beside it.
    app.change("UPDATE posts SET visibility = 'unlisted' WHERE id = 2");
    let uuid = app.rows("SELECT uuid AS value FROM posts WHERE id = 2");
    assert!(!app.reader().get(&format!("/u/{uuid}")).body.contains("rel=\"prev\""));
    assert!(
        app.reader()
            .get("/posts/1?lang=en")
            .body
            .contains("rel=\"prev\" href=\"/posts/3?lang=en\"")
    );
}

#[test]
fn headings_have_no_gaps() {
    let app = TestApp::start();
    let mut owner = app.owner();
    crate::app::write(&mut owner, "## in a note\n\n#### deeper");
    let levels = |path: &str| {
        let page = app.reader().get(path).body;
        let main = page.split("<body>").nth(1).unwrap();
        let found = main.split("<h").skip(1).filter_map(|rest| rest[..1].parse::<u8>().ok());
        found.collect::<Vec<_>>()
    };
    assert_eq!(levels("/"), [1, 2, 3]);
    assert_eq!(levels("/posts/1"), [1, 2, 3]);
}
