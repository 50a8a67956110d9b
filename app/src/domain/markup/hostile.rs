//! Texts that try to break out: whatever goes in, what comes out is well-formed and on the list.

#![allow(clippy::unwrap_used)]

use crate::domain::chance::Chance;

use super::{Place, excerpt, html, html_at, plain, tags};

/// A text of such pieces.
fn text(chance: &mut Chance) -> String {
    (0..=chance.below(24)).map(|_| chance.of(SCRAPS)).collect()
}

const SCRAPS: &[&str] = &[
    "*",
    "**",
    "_",
    "~",
    "~~",
    "`",
    "``",
    "```\n",
    "~~~\n",
    "[",
    "]",
    "(",
    ")",
    "![",
    "](",
    "](/",
    "]: ",
    "<",
    ">",
    "\"",
    "'",
    "\\",
    "&",
    "&#106;",
    "&colon;",
    "&lt;",
    "&#0;",
    "&NewLine;",
    "\n",
    "\n\n",
    "\n> ",
    "\n- ",
    "\n1. ",
    "\n    ",
    "\t",
    "\n# ",
    "\n---\n",
    "\n===\n",
    "|",
    "|-|-|\n",
    "|a|b|\n",
    "#",
    "＃",
    "#tag",
    "#ラズ_パイ",
    "http://",
    "https://a.b/",
    "://",
    "javascript:",
    "JaVaScRiPt:alert(1)",
    "data:text/html,",
    "<script>alert(1)</script>",
    "<img src=x onerror=y>",
    "<!--",
    "-->",
    "<![CDATA[",
    "<?",
    "]]>",
    "</p>",
    "<https://a.b>",
    "<a@b.c>",
    "<javascript:x>",
    "//evil.example",
    "/media/0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef.png",
    "a",
    "あ",
    "「",
    "」",
    "。",
    " ",
    "\u{3000}",
    "\u{202e}",
    "\u{fdd0}",
    "\u{fdd3}",
    "\u{fdef}",
    "\u{ffff}",
    "\u{0}",
    "\u{1b}",
    "\u{feff}",
    "\r",
    "onclick=",
    "=",
    "{{",
    "%}",
];

/// Element, the attributes it may have, and whether it is never closed.
const ALLOWED: &[(&str, &[&str], bool)] = &[
    ("p", &["dir"], false),
    ("br", &[], true),
    ("hr", &[], true),
    ("em", &[], false),
    ("strong", &[], false),
    ("del", &[], false),
    ("code", &[], false),
    ("pre", &[], false),
    ("blockquote", &[], false),
    ("ul", &[], false),
    ("ol", &["start"], false),
    ("li", &["dir"], false),
    ("h2", &["dir"], false),
    ("h3", &["dir"], false),
    ("h4", &["dir"], false),
    ("h5", &["dir"], false),
    ("h6", &["dir"], false),
    ("a", &["href", "rel"], false),
    ("img", &["src", "alt", "loading"], true),
    ("table", &[], false),
    ("thead", &[], false),
    ("tbody", &[], false),
    ("tr", &[], false),
    ("th", &["class", "dir"], false),
    ("td", &["class", "dir"], false),
];

/// Reads HTML far more strictly than a browser would, and panics at whatever is not on the list.
fn check(out: &str, text: &str) {
    let mut open: Vec<&str> = Vec::new();
    let mut rest = out;
    loop {
        let (before, tag) = match rest.split_once('<') {
            Some((before, tag)) => (before, Some(tag)),
            None => (rest, None),
        };
        check_text(before, text);
        let Some(tag) = tag else { break };
        let (tag, after) = tag.split_once('>').unwrap_or_else(|| panic!("{text:?}: {out}"));
        rest = after;
        if let Some(name) = tag.strip_prefix('/') {
            assert_eq!(open.pop(), Some(name), "{text:?}: {out}");
            continue;
        }
        let (name, attributes) = tag.split_once(' ').unwrap_or((tag, ""));
        let (_, known, void) = ALLOWED
            .iter()
            .find(|(allowed, ..)| *allowed == name)
            .unwrap_or_else(|| panic!("<{tag}> from {text:?}"));
        let mut attributes = attributes;
        while !attributes.is_empty() {
            let (attribute, value) = attributes
                .split_once("=\"")
                .unwrap_or_else(|| panic!("<{tag}> from {text:?}"));
            let (value, more) = value.split_once('"').unwrap_or_else(|| panic!("<{tag}> from {text:?}"));
            assert!(known.contains(&attribute), "<{tag}> from {text:?}");
            check_value(attribute, value, text);
            attributes = more.trim_start();
        }
        if name == "a" {
            assert!(!open.contains(&"a"), "a link in a link from {text:?}: {out}");
        }
        if matches!(name, "p" | "h2" | "h3" | "h4" | "h5" | "h6" | "pre") {
            assert!(
                !open.iter().any(|open| matches!(*open, "p" | "a" | "em")),
                "<{tag}> from {text:?}: {out}"
            );
        }
        if name == "li" {
            assert!(matches!(open.last(), Some(&("ul" | "ol"))), "{text:?}: {out}");
        }
        if !void {
            open.push(name);
        }
        assert!(open.len() < 64, "{text:?} goes deep");
    }
    assert!(open.is_empty(), "{text:?} leaves {open:?} open: {out}");
}

fn check_text(shown: &str, text: &str) {
    assert!(!shown.contains(['"', '\'', '>']), "{shown:?} from {text:?}");
    for reference in shown.split('&').skip(1) {
        let known = ["amp;", "lt;", "gt;", "quot;", "#39;"];
        assert!(
            known.iter().any(|known| reference.starts_with(known)),
            "&{reference} from {text:?}"
        );
    }
}

fn check_value(attribute: &str, value: &str, text: &str) {
    check_text(value, text);
    let fits = match attribute {
        "href" => {
            let lower = value.to_ascii_lowercase();
            let rooted = value.starts_with('/') && !value.starts_with("//") && !value.starts_with("/\\");
            let known = ["http://", "https://", "mailto:", "#"];
            value.is_ascii() && (rooted || known.iter().any(|known| lower.starts_with(known)))
        }
        "src" => value.starts_with("/media/"),
        "dir" => value == "auto",
        "rel" => value == "nofollow noopener",
        "class" => matches!(value, "right" | "center"),
        "loading" => value == "lazy",
        "start" => value.parse::<u64>().is_ok(),
        _ => true,
    };
    assert!(fits, "{attribute}={value:?} from {text:?}");
}

#[test]
fn nothing_but_what_is_allowed_comes_out() {
    let mut chance = Chance::seeded();
    for _ in 0..4_000 {
        let text = text(&mut chance);
        check(&html(&text), &text);
        check(&html_at(&text, Place::PAGE), &text);
        let short = excerpt(&text, 20);
        assert!(
            short.chars().count() <= 21 && !short.contains('\n'),
            "{text:?}: {short:?}"
        );
        assert!(!plain(&text).contains('\u{fdd3}'), "{text:?}");
        // Every tag that is linked is a tag of the post, and the other way round.
        let out = html(&text);
        let mut linked: Vec<_> = out
            .split("<a href=\"/tags/")
            .skip(1)
            .map(|part| part.split('"').next().unwrap())
            .collect();
        linked.sort_unstable();
        linked.dedup();
        let mut found: Vec<_> = tags(&text)
            .iter()
            .map(|tag| tag.path()["/tags/".len()..].to_owned())
            .collect();
        found.sort_unstable();
        assert_eq!(linked, found, "{text:?}: {out}");
    }
}

/// Each of these is 64 KiB. What takes more than linear time would be noticed here: the test would not end.
#[test]
fn long_texts_end() {
    const LONG: usize = 64 * 1024;
    for scrap in [
        "[",
        "]",
        "![",
        "[](",
        "[a](",
        ">",
        "> ",
        "*",
        "**",
        "*a ",
        "_a_",
        "~~",
        "~",
        "`",
        "` ``",
        "<",
        "<a",
        "<!--",
        "<?",
        "#",
        "#a ",
        "＃",
        "http://",
        "http://.",
        "http://a)",
        "http://a ",
        "a@b.c",
        "<a@b.c>",
        "&",
        "&#",
        "\\",
        "- ",
        "1. ",
        "- a\n",
        "> - ",
        "|",
        "|-",
        "(",
        ")",
        "\n",
        "a\n",
        "```",
        "~~~\n",
        "\t",
        "    a\n",
        "#1",
        "*「",
        "あ",
        "[a]: b\n",
        "[a][",
        "![](",
        "***a",
        "**「」",
        "**あ",
    ] {
        let text = scrap.repeat(LONG / scrap.len());
        let out = html(&text);
        check(&out, scrap);
        assert!(out.len() < 64 * LONG, "{scrap:?}: {}", out.len());
        tags(&text);
    }
    let columns = LONG / 8;
    let table = format!(
        "{}|\n{}|\n{}",
        "|a".repeat(columns),
        "|-".repeat(columns),
        "|\n".repeat(columns)
    );
    let out = html(&table);
    check(&out, "a wide table");
    assert!(out.len() < 128 * LONG, "{}", out.len());
    let deep = (0..200)
        .map(|depth| format!("{}- a\n", " ".repeat(2 * depth)))
        .collect::<String>();
    check(&html(&deep), "a deep list");
}
