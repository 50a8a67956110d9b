//! A strict little XML reader: enough to say whether the feed is well-formed and what its elements hold.

/// Every element with its text, in order of their ends. Panics on anything that is not well-formed.
pub fn elements(xml: &str) -> Vec<(String, String)> {
    let mut rest = xml
        .strip_prefix("<?xml version=\"1.0\" encoding=\"utf-8\"?>\n")
        .expect("no declaration");
    let mut open: Vec<(String, String)> = Vec::new();
    let mut done = Vec::new();
    while let Some(at) = rest.find('<') {
        let text = unescape(&rest[..at]);
        match open.last_mut() {
            Some((_, inner)) => inner.push_str(&text),
            None => assert!(text.trim().is_empty(), "text outside the root: {text}"),
        }
        let end = at + rest[at..].find('>').expect("a tag does not end");
        let tag = &rest[at + 1..end];
        rest = &rest[end + 1..];
        if let Some(name) = tag.strip_prefix('/') {
            let (opened, text) = open.pop().expect("an end without a start");
            assert_eq!(opened, name);
            done.push((opened, text));
            continue;
        }
        assert!(!tag.contains('<'), "`<` inside a tag: {tag}");
        let (tag, closed) = match tag.strip_suffix('/') {
            Some(tag) => (tag, true),
            None => (tag, false),
        };
        let (name, attributes) = tag.split_once(' ').unwrap_or((tag, ""));
        assert!(name.chars().all(|c| c.is_ascii_alphanumeric()), "odd name: {name}");
        assert!(attributes.matches('"').count() % 2 == 0, "odd attributes: {attributes}");
        unescape(attributes);
        if closed {
            done.push((name.to_owned(), attributes.to_owned()));
        } else {
            open.push((name.to_owned(), String::new()));
        }
    }
    assert!(open.is_empty(), "left open: {open:?}");
    assert!(rest.trim().is_empty(), "after the root: {rest}");
    done
}

fn unescape(text: &str) -> String {
    for c in text.chars() {
        let valid = matches!(c, '\t' | '\n' | '\r') || c >= ' ' && c != '\u{fffe}' && c != '\u{ffff}';
        assert!(valid, "not a character of XML: {c:?}");
    }
    let mut out = String::new();
    let mut parts = text.split('&');
    out.push_str(parts.next().unwrap());
    for part in parts {
        let (name, rest) = part.split_once(';').expect("a bare ampersand");
        out.push(match name {
            "amp" => '&',
            "lt" => '<',
            "gt" => '>',
            "quot" => '"',
            "apos" => '\'',
            number => {
                let number = number.strip_prefix('#').expect("an unknown entity").parse().unwrap();
                char::from_u32(number).unwrap()
            }
        });
        out.push_str(rest);
    }
    out
}
