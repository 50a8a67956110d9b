//! From the text of a post to safe HTML: paragraphs, line breaks and bare links, nothing else.

/// Safe to put into a page as it is: every character of the text is escaped here.
pub fn html(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + text.len() / 8 + 32);
    let mut open = false;
    for line in text.split('\n') {
        if line.trim().is_empty() {
            if open {
                out.push_str("</p>\n");
                open = false;
            }
            continue;
        }
        // `dir=auto` keeps text that runs right to left, or tries to, inside its own paragraph.
        out.push_str(if open { "<br>\n" } else { "<p dir=\"auto\">" });
        open = true;
        write_line(&mut out, line);
    }
    if open {
        out.push_str("</p>");
    }
    out
}

/// The first line of the text, cut to `most` characters, for titles: notes have none of their own.
pub fn excerpt(text: &str, most: usize) -> String {
    let line = text
        .lines()
        .map(str::trim)
        .find(|line| !line.is_empty())
        .unwrap_or_default();
    match line.char_indices().nth(most) {
        None => line.to_owned(),
        Some((cut, _)) => format!("{}…", line[..cut].trim_end()),
    }
}

fn write_line(out: &mut String, line: &str) {
    let mut rest = line;
    while let Some((start, end)) = find_link(rest) {
        let url = &rest[start..end];
        escape(out, &rest[..start]);
        out.push_str("<a href=\"");
        escape(out, url);
        out.push_str("\" rel=\"nofollow noopener\">");
        escape(out, url);
        out.push_str("</a>");
        rest = &rest[end..];
    }
    escape(out, rest);
}

fn escape(out: &mut String, text: &str) {
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
}

/// Where the first link lies.
fn find_link(text: &str) -> Option<(usize, usize)> {
    let mut from = 0;
    while let Some(found) = text[from..].find("://") {
        let colon = from + found;
        from = colon + 3;
        let Some(start) = scheme_start(text, colon) else {
            continue;
        };
        let length = link_length(&text[from..]);
        if length > 0 {
            return Some((start, from + length));
        }
    }
    None
}

/// Where `http` or `https` begins, if that is the word before the colon.
fn scheme_start(text: &str, colon: usize) -> Option<usize> {
    let bytes = text.as_bytes();
    [5, 4].into_iter().find_map(|length| {
        let start = colon.checked_sub(length)?;
        let word = &bytes[start..colon];
        let known = word.eq_ignore_ascii_case(b"https") || word.eq_ignore_ascii_case(b"http");
        // "xhttp://" is some other scheme. Japanese text needs no space before a link, so only ASCII counts.
        let inside_word = start > 0 && (bytes[start - 1].is_ascii_alphanumeric() || b"+-.".contains(&bytes[start - 1]));
        (known && !inside_word).then_some(start)
    })
}

/// How much of the text after `://` belongs to the link; 0 when there is no host.
fn link_length(text: &str) -> usize {
    let bytes = text.as_bytes();
    // ASCII only: in Japanese text the next word follows a link without a space.
    let mut length = bytes
        .iter()
        .position(|byte| !(byte.is_ascii_alphanumeric() || b"-._~:/?#[]@!$&'()*+,;=%".contains(byte)))
        .unwrap_or(bytes.len());
    // What ends the sentence does not belong to the link, nor does a bracket that opened before it.
    while let Some(last) = length.checked_sub(1) {
        let link = &bytes[..length];
        let count = |wanted: u8| link.iter().filter(|byte| **byte == wanted).count();
        let drop = match bytes[last] {
            b'.' | b',' | b';' | b':' | b'!' | b'?' | b'\'' | b'*' => true,
            b')' => count(b')') > count(b'('),
            b']' => count(b']') > count(b'['),
            _ => false,
        };
        if !drop {
            break;
        }
        length = last;
    }
    let starts_like_a_host = bytes
        .first()
        .is_some_and(|byte| byte.is_ascii_alphanumeric() || *byte == b'[');
    if starts_like_a_host { length } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(text: &str) -> String {
        let mut out = String::new();
        write_line(&mut out, text);
        out
    }

    fn link(url: &str) -> String {
        format!("<a href=\"{url}\" rel=\"nofollow noopener\">{url}</a>")
    }

    #[test]
    fn paragraphs_and_breaks() {
        assert_eq!(
            html("a\nb\n\n \nc"),
            "<p dir=\"auto\">a<br>\nb</p>\n<p dir=\"auto\">c</p>"
        );
        assert_eq!(html("one"), "<p dir=\"auto\">one</p>");
    }

    #[test]
    fn everything_is_escaped() {
        assert_eq!(line("<b>&\"'"), "&lt;b&gt;&amp;&quot;&#39;");
        assert_eq!(line("&lt;"), "&amp;lt;");
    }

    #[test]
    fn links() {
        assert_eq!(line("see http://a.b/c."), format!("see {}.", link("http://a.b/c")));
        assert_eq!(line("(https://a.b/c_(d))"), format!("({})", link("https://a.b/c_(d)")));
        assert_eq!(line("見て https://a.b/を"), format!("見て {}を", link("https://a.b/")));
        assert_eq!(line("見てhttps://a.b。次"), format!("見て{}。次", link("https://a.b")));
        assert_eq!(line("HTTPS://A.B"), link("HTTPS://A.B"));
        assert_eq!(line("http://[::1]:80/"), link("http://[::1]:80/"));
        assert_eq!(
            line("https://a http://b"),
            format!("{} {}", link("https://a"), link("http://b"))
        );
        assert_eq!(line("http://a.b/?x=1&y='2'"), {
            let url = "http://a.b/?x=1&amp;y=&#39;2";
            format!("{}&#39;", link(url))
        });
    }

    #[test]
    fn not_links() {
        for text in [
            "http://",
            "https://。",
            "xhttp://a.b",
            "javascript://a",
            "://a",
            "ftp://a",
            "http:/a",
            "http://./",
        ] {
            assert!(!line(text).contains("<a"), "{text}");
        }
    }

    #[test]
    fn a_link_cannot_leave_its_attribute() {
        for text in [
            "http://a.b/\"onmouseover=alert(1)",
            "http://a.b/'onmouseover='x",
            "http://a.b/<script>alert(1)</script>",
            "http://a.b/>x",
            "http://a.b/\u{202e}x",
            "http://a.b/`x",
        ] {
            let out = line(text);
            assert!(!out.contains("<script"), "{out}");
            assert_eq!(out.matches('"').count(), 4, "{out}");
            assert_eq!(out.matches('<').count(), 2, "{out}");
        }
    }

    #[test]
    fn excerpts() {
        assert_eq!(excerpt("\n  one \ntwo", 60), "one");
        assert_eq!(excerpt("ああああ", 3), "あああ…");
        assert_eq!(excerpt("あああ", 3), "あああ");
    }
}
