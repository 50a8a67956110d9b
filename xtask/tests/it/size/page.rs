//! The table and the page of a fixed report.

use html5ever::parse_document;
use html5ever::tendril::TendrilSink;
use markup5ever_rcdom::{Handle, NodeData, RcDom};
use xtask::report::{Report, page, table};

pub fn fixed() -> Report {
    Report::from_json(include_bytes!("report.json")).unwrap()
}

#[test]
fn the_table_reads_at_a_glance() {
    let mut report = fixed();
    // The name of the third is for the page.
    report.images.truncate(2);
    let text = table(&report);
    insta::assert_snapshot!(text);
    let wide = text
        .lines()
        .take_while(|line| !line.starts_with("since"))
        .find(|line| line.chars().count() > 80);
    assert_eq!(wide, None, "it fits a terminal");
}

#[test]
fn names_do_not_steer_a_terminal() {
    let mut report = fixed();
    report.images[0].image = "a\u{1b}[2Jb\nc\r".to_owned();
    let text = table(&report);
    assert!(
        !text.contains(['\u{1b}', '\r', '\u{202e}']) && text.contains("a\u{fffd}[2Jb\u{fffd}c"),
        "{text}"
    );
}

#[test]
fn the_page_of_a_fixed_report_is_a_constant() {
    insta::assert_snapshot!(page(&fixed()));
}

/// Name and attributes of an element.
type Visit<'a> = dyn FnMut(&str, &[(String, String)]) + 'a;

/// Elements, in the order of the document.
fn walk(node: &Handle, visit: &mut Visit<'_>) {
    if let NodeData::Element { name, attrs, .. } = &node.data {
        let attrs = attrs.borrow();
        let attrs: Vec<(String, String)> = attrs
            .iter()
            .map(|attr| (attr.name.local.to_string(), attr.value.to_string()))
            .collect();
        visit(&name.local, &attrs);
    }
    for child in node.children.borrow().iter() {
        walk(child, visit);
    }
}

fn text(node: &Handle) -> String {
    match &node.data {
        NodeData::Text { contents } => contents.borrow().to_string(),
        _ => node.children.borrow().iter().map(text).collect(),
    }
}

#[test]
fn the_page_is_well_formed_and_asks_for_nothing() {
    let mut empty = fixed();
    empty.images.clear();
    empty.difference = None;
    for report in [fixed(), empty] {
        let html = page(&report);
        let dom = parse_document(RcDom::default(), Default::default()).one(html.as_str());
        assert!(dom.errors.borrow().is_empty(), "{:?}", dom.errors.borrow());
        let mut seen = std::collections::BTreeSet::new();
        let (mut tables, mut captions) = (0, 0);
        walk(&dom.document, &mut |name, attrs| {
            seen.insert(name.to_owned());
            tables += usize::from(name == "table");
            captions += usize::from(name == "caption");
            for (key, value) in attrs {
                let fetched =
                    ["src", "href", "srcset", "data", "action", "poster", "background"].contains(&key.as_str());
                assert!(
                    !fetched && !key.starts_with("on") && !value.contains("url("),
                    "<{name} {key}={value:?}>"
                );
            }
        });
        for active in [
            "script", "link", "iframe", "img", "object", "embed", "form", "base", "svg",
        ] {
            assert!(!seen.contains(active), "<{active}>");
        }
        assert_eq!(tables, captions, "every table says what it is");
        assert!(
            !html.contains("url(") && !html.contains("@import") && !html.contains("http:") && !html.contains("https:")
        );
    }
}

#[test]
fn what_comes_from_outside_is_text() {
    let html = page(&fixed());
    let dom = parse_document(RcDom::default(), Default::default()).one(html.as_str());
    let text = text(&dom.document);
    for hostile in [
        "<script>alert(1)</script>",
        "<b>sha256:odd</b> &amp;",
        "Debian <trixie> & \"friends\"",
        "before & <after>.json",
    ] {
        assert!(text.contains(hostile), "{hostile} is shown as it is");
    }
    assert!(!html.contains('\u{202e}'), "nothing turns the text around");
}
