//! Feeds: Atom, RSS, JSON Feed, twtxt, OpenSearch; judged by parsers that others wrote.

use serde_json::Value;

use crate::app::{TestApp, write};
use crate::{python, seed, xml};

fn texts(xml: &str, wanted: &str) -> Vec<String> {
    let elements = xml::elements(xml).into_iter();
    elements
        .filter(|(name, _)| name == wanted)
        .map(|(_, text)| text)
        .collect()
}

#[test]
fn it_is_valid_with_and_without_posts() {
    let app = TestApp::start_with(&["--title", "A & B <C>"]);
    let empty = app.reader().get("/feed.atom");
    assert_eq!(empty.status, 200);
    assert_eq!(
        empty.header("content-type"),
        Some("application/atom+xml; charset=utf-8")
    );
    assert_eq!(texts(&empty.body, "title"), ["A & B <C>"]);
    assert_eq!(texts(&empty.body, "name"), ["A & B <C>"]);
    assert_eq!(texts(&empty.body, "updated").len(), 1);
    let blog_id = texts(&empty.body, "id").pop().unwrap();
    assert!(blog_id.starts_with("urn:uuid:") && blog_id.len() == 45);

    let mut owner = app.owner();
    write(&mut owner, "first <one>\n\nmore & more");
    write(&mut owner, "second");
    let feed = app.reader().get("/feed.atom").body;
    assert_eq!(texts(&feed, "entry").len(), 2);
    assert_eq!(texts(&feed, "title"), ["A & B <C>", "second", "first <one>"]);
    let ids = texts(&feed, "id");
    assert_eq!(ids[0], blog_id, "the id of the blog never changes");
    assert!(ids.iter().all(|id| id.starts_with("urn:uuid:")));
    assert_eq!(ids.iter().collect::<std::collections::HashSet<_>>().len(), 3);
    assert_eq!(texts(&feed, "updated").len(), 3);
    for time in texts(&feed, "updated").iter().chain(&texts(&feed, "published")) {
        assert!(
            time.len() == 20 && time.ends_with('Z') && time.as_bytes()[10] == b'T',
            "{time}"
        );
    }
    assert_eq!(
        texts(&feed, "content")[1],
        "<p dir=\"auto\">first &lt;one&gt;</p>\n<p dir=\"auto\">more &amp; more</p>"
    );
    assert!(
        feed.contains("href=\"/posts/2\""),
        "without a base address links are relative"
    );
}

#[test]
fn unchanged_means_304() {
    let app = TestApp::start();
    let mut owner = app.owner();
    write(&mut owner, "first");
    let mut reader = app.reader();
    let tag = reader.get("/feed.atom").header("etag").unwrap().to_owned();
    let ask = |tag: &str| app.reader().send("GET", "/feed.atom", &[("If-None-Match", tag)], "");

    for sent in [tag.clone(), format!("W/{tag}"), format!("\"x\", {tag}"), "*".to_owned()] {
        let response = ask(&sent);
        assert_eq!(response.status, 304, "{sent}");
        assert!(response.body.is_empty());
        assert_eq!(response.header("etag"), Some(tag.as_str()));
    }
    assert_eq!(ask("\"x\"").status, 200);
    let csrf = owner.get("/admin/posts/1/edit").field("csrf");
    owner.post("/admin/posts/1/edit", &[("csrf", &csrf), ("body", "changed")]);
    assert_eq!(ask(&tag).status, 200, "an edit is a change");
}

#[test]
fn links_come_from_the_settings_never_from_the_request() {
    let app = TestApp::start_with(&["--base-url", "http://example.onion/"]);
    write(&mut app.owner(), "text");
    let ask = "GET /feed.atom HTTP/1.1\r\nHost: 127.0.0.7\r\nConnection: close\r\n\r\n";
    let feed = crate::http::raw(&app.address, ask.as_bytes()).body;
    assert!(feed.contains("href=\"http://example.onion/posts/1\""));
    assert!(feed.contains("rel=\"self\" type=\"application/atom+xml\" href=\"http://example.onion/feed.atom\""));
    assert!(!feed.contains("127.0.0.7"));
}

/// Feedparser says whether they are well-formed, atoma whether everything is there that a format demands.
const JUDGE: &str = "
import sys, json, base64, feedparser, atoma
out = {}
for name, body in json.load(sys.stdin).items():
    data = body.encode()
    if name.endswith('json'):
        feed = atoma.parse_json_feed(json.loads(body))
        out[name] = [len(feed.items), feed.title, [item.id_ for item in feed.items]]
        continue
    parsed = feedparser.parse(data)
    if parsed.bozo:
        raise SystemExit(name + ': ' + str(parsed.bozo_exception))
    if name.endswith('atom'):
        feed = atoma.parse_atom_bytes(data)
        out[name] = [len(feed.entries), feed.title.value, [entry.id_ for entry in feed.entries]]
    else:
        feed = atoma.parse_rss_bytes(data)
        out[name] = [len(feed.items), feed.title, [item.guid for item in feed.items]]
    links = [link for entry in parsed.entries for link in entry.links]
    assert all(link.href.startswith('http') for link in links), links
    assert all(entry.get('published_parsed') for entry in parsed.entries)
json.dump(out, sys.stdout)
";

fn judge(feeds: &[(&str, String)]) -> Option<Value> {
    let feeds: serde_json::Map<String, Value> = feeds
        .iter()
        .map(|(name, body)| ((*name).to_owned(), body.as_str().into()))
        .collect();
    let said = python::judge(JUDGE, &serde_json::to_string(&feeds).unwrap())?;
    Some(serde_json::from_str(&said).unwrap())
}

/// Grammars of Atom and RSS and a schema of JSON Feed, and what a grammar cannot say.
const RULES: &str = "
import sys, json, fastjsonschema
from lxml import etree
given = json.load(sys.stdin)
grammar = {kind: etree.RelaxNG(etree.fromstring(text.encode())) for kind, text in given['grammars'].items()}
schema = fastjsonschema.compile(json.loads(given['schema']))
atom = '{http://www.w3.org/2005/Atom}'
def problems(name, body):
    if name.endswith('json'):
        feed = json.loads(body)
        try: schema(feed)
        except fastjsonschema.JsonSchemaException as error: yield str(error)
        ids = [item.get('id') for item in feed.get('items', [])]
        if len(ids) != len(set(ids)): yield 'an id twice'
        return
    kind = name.split('.')[-1]
    tree = etree.fromstring(body.encode())
    if not grammar[kind].validate(tree): yield str(grammar[kind].error_log.last_error)
    if kind == 'rss':
        ids = [guid.text for guid in tree.iter('guid')]
    else:
        entries = tree.findall(atom + 'entry')
        ids = [entry.findtext(atom + 'id') for entry in entries]
        for entry in entries:
            # RFC 4287, 4.1.1, 4.1.2
            if tree.find(atom + 'author') is None and entry.find(atom + 'author') is None: yield 'no author'
            links = [link for link in entry.findall(atom + 'link') if link.get('rel', 'alternate') == 'alternate']
            if entry.find(atom + 'content') is None and not links: yield 'neither content nor link'
            which = [(link.get('type'), link.get('hreflang')) for link in links]
            if len(which) != len(set(which)): yield 'two alternates alike'
    if len(ids) != len(set(ids)): yield 'an id twice'
json.dump([[name, problem] for name, body in given['feeds'] for problem in problems(name, body)], sys.stdout)
";

/// Name (its end says what it is) and problem. `None` without Python.
fn problems(feeds: &[(&str, String)]) -> Option<Vec<(String, String)>> {
    let given = serde_json::json!({
        "grammars": {
            "atom": include_str!("../fixtures/schemas/atom.rng"),
            "rss": include_str!("../fixtures/schemas/rss.rng"),
        },
        "schema": include_str!("../fixtures/schemas/jsonfeed.json"),
        "feeds": feeds,
    });
    let said = python::judge_by_schema(RULES, &given.to_string())?;
    Some(serde_json::from_str(&said).unwrap())
}

fn follow_the_rules(feeds: &[(&str, String)]) {
    if let Some(problems) = problems(feeds) {
        assert!(problems.is_empty(), "{problems:?}");
    }
}

#[test]
fn what_breaks_the_rules_is_noticed() {
    let app = seed::start(&[]);
    let get = |path: &str| app.reader().get(path).body;
    let (atom, rss, json) = (get("/feed.atom"), get("/feed.rss"), get("/feed.json"));
    follow_the_rules(&[("atom", atom.clone()), ("rss", rss.clone()), ("json", json.clone())]);
    let cut = |text: &str, from: &str, to: &str| {
        let at = text.find(from).unwrap();
        let end = at + text[at..].find(to).unwrap() + to.len();
        format!("{}{}", &text[..at], &text[end..])
    };
    let broken = [
        ("atom", cut(&atom, "<id>", "</id>")),
        ("atom", cut(&atom, "<title>", "</title>")),
        ("atom", cut(&atom, "<updated>", "</updated>")),
        ("atom", cut(&atom, "<author>", "</author>")),
        ("atom", atom.replacen("<published>2026", "<published>26", 1)),
        ("atom", atom.replacen("Z</updated>", "</updated>", 1)),
        ("atom", atom.replacen("type=\"html\"", "type=\"markdown\"", 1)),
        ("atom", atom.replacen("<category term=", "<category name=", 1)),
        ("atom", atom.replacen("<entry", "<entrance/><entry", 1)),
        ("atom", atom.replacen("href=\"http:", "href=\"h ttp:", 1)),
        ("atom", atom.replacen("<id>urn:uuid:", "<id>", 1)),
        ("atom", atom.replacen("</entry>", "</entry><title>late</title>", 1)),
        ("rss", cut(&rss, "<link>", "</link>")),
        ("rss", rss.replacen("version=\"2.0\"", "version=\"3\"", 1)),
        ("rss", rss.replacen("<pubDate>", "<pubDate>the ", 1)),
        ("rss", rss.replacen("GMT</pubDate>", "JST</pubDate>", 1)),
        (
            "rss",
            rss.replacen("<description>", "<desc>", 2)
                .replacen("</description>", "</desc>", 2),
        ),
        ("json", json.replacen("/version/1.1", "/version/2", 1)),
        ("json", json.replacen("\"content_html\"", "\"content\"", 1)),
        ("json", json.replacen("\"title\"", "\"name\"", 1)),
        (
            "json",
            json.replacen("\"date_published\":\"", "\"date_published\":\"x", 1),
        ),
        ("json", json.replacen("\"url\":\"http", "\"url\":\"h ttp", 1)),
    ];
    for (n, (kind, text)) in broken.iter().enumerate() {
        let original = [("atom", &atom), ("rss", &rss), ("json", &json)];
        assert!(
            original.iter().all(|(_, original)| *original != text),
            "{n} is not broken"
        );
        let Some(found) = problems(&[(kind, text.clone())]) else {
            return;
        };
        assert!(!found.is_empty(), "{n} is let through: {kind}");
    }
}

/// Wherever a character comes from that XML cannot carry: from a form, from a program, as a number in the text, or from a
/// database that an older blog has written.
#[test]
fn no_feed_has_what_xml_cannot_carry() {
    let app = TestApp::start_with(&["--base-url", "http://example.onion"]);
    let mut owner = app.owner();
    let form = owner.get("/admin/new");
    let (csrf, key) = (form.field("csrf"), form.field("key"));
    let odd = "a\u{c}b\u{1b}\u{fffe}\u{0}c";
    let fields = [
        ("csrf", csrf.as_str()),
        ("key", &key),
        ("title", odd),
        ("body", "x&#12;y&#xb;z&#1; [l](https://e.example/&#12;) `&#12;`"),
        ("alt0", odd),
    ];
    let png = crate::data::png(1);
    assert_eq!(
        owner.upload("/admin/posts", &fields, &[("file", "a.png", &png)]).status,
        303
    );
    let client = crate::micropub::Client::new(&app, &["create", "media"]);
    let fields = [("content", "by a program"), ("mp-photo-alt", odd)];
    let answer = client.files("/micropub", &fields, &[("photo", "b.png", &crate::data::png(2))]);
    assert_eq!(answer.status, 201, "{}", answer.body);
    assert_eq!(
        app.rows("SELECT group_concat(DISTINCT hex(alt)) AS value FROM post_media"),
        "616263"
    );
    app.change(
        "UPDATE posts SET body = 'old' || char(12) || 'text' || char(65535), title = 'T' || char(8) WHERE id = 2",
    );
    app.change("UPDATE post_media SET alt = 'old' || char(27) WHERE post_id = 2");
    let mut texts = Vec::new();
    for (name, kind) in [("/feed.atom", "atom"), ("/feed.rss", "rss"), ("/feed.json", "json")] {
        let body = app.reader().get(name).body;
        assert!(
            body.contains("xyz") && body.contains("oldtext") && body.contains("abc"),
            "{body}"
        );
        texts.push((kind, body));
    }
    follow_the_rules(&texts);
}

/// Texts that a machine wrote (xorshift, the same in every run), of everything that has a meaning somewhere.
#[test]
fn whatever_is_written_the_feeds_are_valid() {
    let corpus: Vec<String> = serde_json::from_str(include_str!("../fixtures/xss.json")).unwrap();
    let odd = [
        "東京",
        "ﾗｽﾞﾊﾟｲ",
        "\u{202e}",
        "\u{fffe}",
        "\u{b}",
        "\u{0}",
        "\u{1f468}\u{200d}\u{1f469}",
        "e\u{301}",
        "]]>",
        "&",
        "\n\n",
        "#tag ",
        "\u{d}",
        "\u{2028}",
        "\u{10ffff}",
        "\u{85}",
    ];
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut roll = |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 11) as usize % below
    };
    let mut text = |most: usize| -> String {
        let pieces = (0..=roll(most)).map(|_| match roll(3) {
            0 => corpus[roll(corpus.len())].clone(),
            1 => odd[roll(odd.len())].to_owned(),
            _ => format!("word{} ", roll(1000)),
        });
        pieces.collect()
    };
    let directory = tempfile::tempdir().unwrap();
    let mut db = seed::open(&directory);
    // As forms let it in.
    let quote = |text: &str| {
        let text: String = text.chars().filter(|c| blog::domain::post_text::allowed(*c)).collect();
        format!("'{}'", text.replace('\'', "''"))
    };
    let mut statements = String::from("BEGIN;");
    for id in 1..=300 {
        let (kind, title, link) = match id % 3 {
            0 => ("note", "NULL".to_owned(), "NULL".to_owned()),
            1 => ("article", quote(&format!("T{}", text(3))), "NULL".to_owned()),
            _ => (
                "link",
                quote(&format!("T{}", text(3))),
                format!("'https://elsewhere.example/{id}?a=b&c=d'"),
            ),
        };
        let (body, edited) = (
            quote(&format!("x{}", text(12))),
            if id % 4 == 0 { "1700000900" } else { "NULL" },
        );
        statements.push_str(&format!(
            "INSERT INTO posts (id, uuid, kind, title, link, body, created_at, published_at, edited_at, lang) VALUES
             ({id}, '00000000-0000-4000-8000-{id:012}', '{kind}', {title}, {link}, {body}, 1700000000, {}, {edited}, 'ja');",
            1_700_000_000 + id * 7
        ));
    }
    diesel::connection::SimpleConnection::batch_execute(&mut db, &(statements + "COMMIT")).unwrap();
    drop(db);
    let options = ["--base-url", "http://example.onion", "--title", "]]> & <\"'> \u{1f600}"];
    let app = TestApp::start_in(directory, &options, None);
    let mut feeds = Vec::new();
    for kind in ["atom", "rss", "json"] {
        let mut path = format!("/feed.{kind}");
        loop {
            let body = app.reader().get(&path).body;
            let next = match kind {
                "json" => body.split("\"next_url\":\"").nth(1),
                _ => body
                    .split("rel=\"next\"")
                    .nth(1)
                    .and_then(|rest| rest.split("href=\"").nth(1)),
            };
            let next = next.map(|rest| rest.split('"').next().unwrap().replace("http://example.onion", ""));
            feeds.push((kind, body));
            match next {
                Some(next) => path = next,
                None => break,
            }
        }
    }
    assert!(feeds.len() >= 3 * 15, "{}", feeds.len());
    follow_the_rules(&feeds);
    // Nothing is lost on the way to the parsers that others wrote.
    let named: Vec<(String, String)> = feeds
        .iter()
        .enumerate()
        .map(|(n, (kind, body))| (format!("{n}.{kind}"), body.clone()))
        .collect();
    let named: Vec<(&str, String)> = named.iter().map(|(name, body)| (name.as_str(), body.clone())).collect();
    let Some(said) = judge(&named) else { return };
    for kind in ["atom", "rss", "json"] {
        let of_kind = said
            .as_object()
            .unwrap()
            .iter()
            .filter(|(name, _)| name.ends_with(kind));
        assert_eq!(
            of_kind.map(|(_, feed)| feed[0].as_u64().unwrap()).sum::<u64>(),
            300,
            "{kind}"
        );
    }
}

#[test]
fn all_formats_have_the_same_posts() {
    let app = seed::start(&[]);
    let get = |path: &str| app.reader().get(path).body;
    let feeds = [
        ("atom", get("/feed.atom")),
        ("rss", get("/feed.rss")),
        ("json", get("/feed.json")),
        ("tag.atom", get("/tags/rust/feed.atom")),
        ("tag.rss", get("/tags/rust/feed.rss")),
        ("tag.json", get("/tags/rust/feed.json")),
    ];
    follow_the_rules(&feeds);
    for body in [&feeds[0].1, &feeds[1].1, &feeds[2].1] {
        assert!(body.contains("http://example.onion/media/"), "addresses are whole");
        assert!(
            !body.contains("href=\\\"/") && !body.contains("href=&quot;/") && !body.contains("href=&#34;/"),
            "{body}"
        );
    }
    let Some(said) = judge(&feeds) else { return };
    for format in ["rss", "json"] {
        assert_eq!(said["atom"], said[format], "{said}");
        assert_eq!(said["tag.atom"], said[&format!("tag.{format}")]);
    }
    assert_eq!(said["atom"][0], 11);
    assert_eq!(said["tag.atom"][0], 2);
    assert_eq!(said["tag.atom"][1], "On a small computer #Rust");
}

#[test]
fn hostile_texts_stay_well_formed() {
    let app = TestApp::start_with(&["--base-url", "http://example.onion", "--title", "]]> & <\"'>"]);
    let mut owner = app.owner();
    for text in [
        "<script>alert(1)</script> ]]> <![CDATA[ & &amp; &#x0; \u{202e}x",
        "<!-- --> <?xml ?> <!DOCTYPE x> %3C \u{2028}\u{2029}\u{85}\u{7f}",
        "\u{1}\u{b}\u{1f}\u{fffe}\u{10ffff}\u{fdd0} text",
        "[x](javascript:alert(1)) ![a\"b](/x) `]]>` \"quoted\" 'single' #]]>tag #a&b",
        "\u{1f600}\u{200d}\u{1f600} ﷽ 𝕏 \u{e000}",
    ] {
        write(&mut owner, text);
    }
    let get = |path: &str| app.reader().get(path).body;
    let feeds = [
        ("atom", get("/feed.atom")),
        ("rss", get("/feed.rss")),
        ("json", get("/feed.json")),
    ];
    for (_, body) in &feeds[..2] {
        // The strict reader of these tests, too.
        let body = body
            .replace("xml:lang", "lang")
            .replace("xmlns:atom", "xmlns")
            .replace("atom:link", "link");
        xml::elements(&body);
    }
    follow_the_rules(&feeds);
    let Some(said) = judge(&feeds) else { return };
    assert_eq!(said["atom"][0], 5);
}

#[test]
fn older_posts_are_in_the_next_document() {
    let app = TestApp::start_with(&["--base-url", "http://example.onion"]);
    let mut owner = app.owner();
    for n in 0..45 {
        write(&mut owner, &format!("post {n}"));
    }
    for (start, ending) in [("/feed.json", "json"), ("/feed.atom", "atom"), ("/feed.rss", "rss")] {
        let (mut path, mut ids) = (start.to_owned(), Vec::new());
        for page in 0..4 {
            let body = app.reader().get(&path).body;
            ids.extend(
                body.split("urn:uuid:")
                    .skip(if ending == "atom" { 2 } else { 1 })
                    .map(|rest| rest[..36].to_owned()),
            );
            let next = match ending {
                "json" => body.split("\"next_url\":\"").nth(1),
                _ => body
                    .split("rel=\"next\"")
                    .nth(1)
                    .and_then(|rest| rest.split("href=\"").nth(1)),
            };
            let Some(next) = next else {
                assert_eq!(page, 2);
                break;
            };
            path = next
                .split('"')
                .next()
                .unwrap()
                .strip_prefix("http://example.onion")
                .unwrap()
                .to_owned();
        }
        ids.sort();
        ids.dedup();
        assert_eq!(ids.len(), 45, "{ending}");
    }
    assert_eq!(app.reader().get("/feed.atom?before=x").status, 404);
    assert_eq!(app.reader().get("/tags/none/feed.rss").status, 404);
}

#[test]
fn twtxt_has_a_line_for_each_post() {
    let app = seed::start(&[]);
    let response = app.reader().get("/twtxt.txt");
    assert_eq!(response.header("content-type"), Some("text/plain; charset=utf-8"));
    let mut times = Vec::new();
    for line in response.body.lines().filter(|line| !line.starts_with('#')) {
        let (time, text) = line.split_once('\t').unwrap();
        times.push(time.parse::<jiff::Timestamp>().unwrap());
        assert!(!text.is_empty());
    }
    assert_eq!(times.len(), 11);
    assert!(times.is_sorted_by(|a, b| a >= b));
    assert!(response.body.contains("今日から日本語でも書きます。\u{2028}よろしく"));
    assert!(
        response
            .body
            .contains("A blog in a drawer http://example.onion/posts/6\n")
    );
    assert!(
        response
            .body
            .starts_with("# nick = On_a_small_computer\n# url = http://example.onion/twtxt.txt\n")
    );
}

#[test]
fn browsers_learn_how_to_search() {
    let app = seed::start(&[]);
    assert!(app.reader().get("/").body.contains("rel=\"search\""));
    let description = app.reader().get("/opensearch.xml").body;
    let elements = xml::elements(&description);
    let short = &elements.iter().find(|(name, _)| name == "ShortName").unwrap().1;
    assert!(short.chars().count() <= 16, "{short}");
    assert!(description.contains("template=\"http://example.onion/search?q={searchTerms}\""));
    let alone = TestApp::start();
    assert_eq!(alone.reader().get("/opensearch.xml").status, 404);
    assert!(!alone.reader().get("/").body.contains("rel=\"search\""));
}
