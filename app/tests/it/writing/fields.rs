//! Every field of the form: what it makes of a post, what is refused, and that nothing typed is lost.

use super::{compose, edit, input, text};
use crate::app::TestApp;

#[test]
fn the_form_for_a_note_is_a_box_and_a_button() {
    let app = TestApp::start();
    let mut owner = app.owner();
    let desk = owner.get("/admin");
    assert_eq!(desk.status, 200);
    let (csrf, key) = (desk.field("csrf"), desk.field("key"));
    let fields = [
        ("csrf", csrf.as_str()),
        ("key", key.as_str()),
        ("body", "from the desk"),
    ];
    assert_eq!(owner.post("/admin/posts", &fields).location(), "/posts/1");
    assert!(owner.get("/admin").body.contains("from the desk"));
    let form = owner.get("/admin/new");
    assert!(form.body.contains("<details>"), "the rest is folded away");
    let taken = owner.get("/admin/posts/1/edit");
    assert!(taken.body.contains("<details>"), "a note has nothing more to show");
}

#[test]
fn the_fields_make_the_kind() {
    let app = TestApp::start();
    let mut owner = app.owner();
    let article = compose(
        &mut owner,
        &[
            ("title", "A <title>"),
            ("body", "# Part\n\ntext"),
            ("tags", "ラズパイ, Rust"),
        ],
    );
    assert_eq!(article.location(), "/posts/1");
    let form = owner.get("/admin/posts/1/edit");
    assert_eq!(input(&form, "title"), "A &#60;title&#62;");
    assert_eq!(input(&form, "tags"), "Rust ラズパイ");
    assert!(form.body.contains("<details open>"));

    assert_eq!(
        compose(&mut owner, &[("link", "https://a.b/c"), ("body", "")]).location(),
        "/posts/2"
    );
    assert_eq!(input(&owner.get("/admin/posts/2/edit"), "link"), "https://a.b/c");

    let page = compose(
        &mut owner,
        &[("title", "About"), ("slug", "about"), ("body", "page-text")],
    );
    assert_eq!(page.location(), "/about");
    assert!(owner.get("/admin/pages").body.contains("About"));
    assert!(
        !app.reader().get("/").body.contains("page-text"),
        "a page is in no list"
    );

    let unlisted = compose(&mut owner, &[("body", "for some"), ("visibility", "unlisted")]);
    assert!(unlisted.location().starts_with("/u/"));
    assert_eq!(
        compose(&mut owner, &[("body", "for me"), ("visibility", "private")]).location(),
        "/posts/5"
    );
    let front = app.reader().get("/").body;
    assert!(!front.contains("for some") && !front.contains("for me"));
    assert!(owner.get("/admin").body.contains("unlisted</span>"));
}

#[test]
fn everything_wrong_is_told_at_once_and_everything_typed_comes_back() {
    let app = TestApp::start();
    let mut owner = app.owner();
    let typed = [
        ("title", "t".repeat(301)),
        ("link", "javascript:alert(1)".to_owned()),
        ("slug", "About Me".to_owned()),
        ("tags", "good <bad>".to_owned()),
        ("lang", "klingon or so".to_owned()),
        ("date", "next Tuesday".to_owned()),
        ("visibility", "private".to_owned()),
        ("body", "あ".repeat(22_000)),
    ];
    let fields: Vec<_> = typed.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let page = compose(&mut owner, &fields);
    assert_eq!(page.status, 422);
    for field in ["title", "link", "slug", "tags", "lang", "date", "body"] {
        assert!(
            page.body.contains(&format!("<li><a href=\"#{field}\">")),
            "{field} is not told"
        );
        let tag = page
            .body
            .split(&format!("id=\"{field}\""))
            .nth(1)
            .unwrap()
            .split('>')
            .next()
            .unwrap();
        assert!(
            tag.contains("aria-invalid=\"true\"") && tag.contains("-help problem\""),
            "{tag}"
        );
    }
    for (name, value) in &typed[..6] {
        assert_eq!(
            input(&page, name),
            value.replace('<', "&#60;").replace('>', "&#62;"),
            "{name}"
        );
    }
    assert_eq!(text(&page), typed[7].1);
    assert!(page.body.contains("value=\"private\" selected"));
    assert!(page.body.contains("<details open>"));
    assert!(app.reader().get("/").body.contains("no posts yet"));
}

#[test]
fn addresses_of_pages_are_unique_and_not_the_blogs() {
    let app = TestApp::start();
    let mut owner = app.owner();
    let mut page = |slug: &str| compose(&mut owner, &[("title", "T"), ("slug", slug), ("body", "x")]);
    assert_eq!(page("about").location(), "/about");
    for (slug, why) in [
        ("about", "Another page has"),
        ("admin", "The blog itself"),
        ("2026", "The blog itself"),
        ("a/b", "lower-case"),
    ] {
        let refused = page(slug);
        assert_eq!(refused.status, 422, "{slug}");
        assert!(refused.body.contains(why), "{slug}: {}", refused.body);
    }
    let taken = compose(&mut owner, &[("title", "T"), ("slug", "other"), ("body", "x")]);
    assert_eq!(taken.location(), "/other");
    assert_eq!(edit(&mut owner, 2, &[("slug", "about")]).status, 422);
    assert_eq!(edit(&mut owner, 2, &[("slug", "third")]).location(), "/third");
}

#[test]
fn a_preview_saves_nothing_and_loses_nothing() {
    let app = TestApp::start();
    let mut owner = app.owner();
    let page = compose(
        &mut owner,
        &[
            ("do", "preview"),
            ("title", "T"),
            ("body", "**bold** <b>\n#tag"),
            ("tags", "more"),
            ("date", "2020-01-02 03:04"),
        ],
    );
    assert_eq!(page.status, 200);
    for part in [
        "<strong>bold</strong> &lt;b&gt;<br>",
        "href=\"/tags/tag\"",
        "<strong>T</strong>",
    ] {
        assert!(page.body.contains(part), "{part}");
    }
    assert_eq!(text(&page), "**bold** &#60;b&#62;\n#tag");
    assert_eq!(
        (input(&page, "tags"), input(&page, "date")),
        ("more".to_owned(), "2020-01-02 03:04".to_owned())
    );
    assert!(owner.get("/").body.contains("no posts yet"));
    // The form on that page is the same form still: it posts once.
    let (csrf, key) = (page.field("csrf"), page.field("key"));
    let fields = [("csrf", csrf.as_str()), ("key", key.as_str()), ("body", "now")];
    assert_eq!(owner.post("/admin/posts", &fields).location(), "/posts/1");

    let page = edit(&mut owner, 1, &[("do", "preview"), ("body", "*changed*")]);
    assert!(page.body.contains("<em>changed</em>") && text(&page) == "*changed*");
    assert!(owner.get("/posts/1").body.contains("now</p>"));
}

#[test]
fn hostile_text_in_any_field_stays_text() {
    let app = TestApp::start();
    let mut owner = app.owner();
    let nasty = "\"><script>alert(1)</script><img src=x onerror=y>'";
    for field in [
        "title",
        "link",
        "slug",
        "tags",
        "lang",
        "date",
        "visibility",
        "reply_to",
        "body",
        "do",
    ] {
        let mut fields = vec![(field, nasty)];
        if field != "body" {
            fields.push(("body", "text"));
        }
        let mut pages = vec![compose(&mut owner, &fields).body];
        fields.push(("do", "preview"));
        pages.push(compose(&mut owner, &fields).body);
        for path in [
            "/admin",
            "/admin/drafts",
            "/",
            "/admin/posts/1/edit",
            "/admin/posts/1/delete",
            "/admin/posts/1/history",
        ] {
            pages.push(owner.get(path).body);
        }
        for page in pages {
            assert!(!page.contains("<script") && !page.contains("<img"), "{field}: {page}");
        }
    }
}

#[test]
fn threads_are_continued() {
    let app = TestApp::start();
    let mut owner = app.owner();
    compose(&mut owner, &[("body", "first")]).location();
    let form = owner.get("/admin/new?reply_to=1");
    assert!(form.body.contains("Continue the thread") && form.body.contains("first"));
    let (csrf, key) = (form.field("csrf"), form.field("key"));
    assert_eq!(form.field("reply_to"), "1");
    let fields = [
        ("csrf", csrf.as_str()),
        ("key", key.as_str()),
        ("reply_to", "1"),
        ("body", "second"),
    ];
    assert_eq!(owner.post("/admin/posts", &fields).location(), "/posts/2");
    assert_eq!(
        compose(&mut owner, &[("reply_to", "2"), ("body", "third")]).location(),
        "/posts/3"
    );
    assert_eq!(
        app.rows("SELECT group_concat(id || ':' || thread || ':' || ifnull(reply_to, 0)) AS value FROM posts"),
        "1:1:0,2:1:1,3:1:2"
    );
    // An edit leaves the thread as it is.
    assert_eq!(
        edit(&mut owner, 2, &[("body", "second, better")]).location(),
        "/posts/2"
    );
    assert_eq!(
        app.rows("SELECT thread || ':' || reply_to AS value FROM posts WHERE id = 2"),
        "1:1"
    );

    for gone in ["99", "x", "-1"] {
        assert_eq!(owner.get(&format!("/admin/new?reply_to={gone}")).status, 404);
        let refused = compose(&mut owner, &[("reply_to", gone), ("body", "lost?")]);
        assert_eq!(refused.status, 422);
        assert_eq!(text(&refused), "lost?");
    }
}

#[test]
fn tags_are_kept_once_in_every_spelling() {
    let app = TestApp::start();
    let mut owner = app.owner();
    compose(
        &mut owner,
        &[("body", "#Ｒｕｓｔ #rust #ﾗｽﾞﾊﾟｲ"), ("tags", "RUST beside")],
    )
    .location();
    let tags = "SELECT group_concat(folded) AS value FROM (SELECT folded FROM tags ORDER BY folded)";
    assert_eq!(app.rows(tags), "beside,rust,ラズパイ");
    assert_eq!(input(&owner.get("/admin/posts/1/edit"), "tags"), "beside");
    edit(&mut owner, 1, &[("body", "#new")]).location();
    assert_eq!(app.rows(tags), "beside,new", "what no post has is gone");
}
