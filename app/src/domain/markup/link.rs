//! Addresses in texts: bare ones that become links, and what a link may lead to.

/// The first bare link in `text` at or after `from`: where it begins and ends.
pub fn find(text: &str, mut from: usize) -> Option<(usize, usize)> {
    let begin = from;
    while let Some(found) = text[from..].find("://") {
        let colon = from + found;
        from = colon + 3;
        let Some(start) = scheme_start(text, colon).filter(|start| *start >= begin) else {
            continue;
        };
        let length = length(&text[from..]);
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
fn length(text: &str) -> usize {
    let bytes = text.as_bytes();
    let starts_like_a_host = bytes
        .first()
        .is_some_and(|byte| byte.is_ascii_alphanumeric() || *byte == b'[');
    if !starts_like_a_host {
        return 0;
    }
    // ASCII only: in Japanese text the next word follows a link without a space.
    let mut length = bytes.iter().position(|byte| !is_plain(*byte)).unwrap_or(bytes.len());
    let count = |wanted: u8| bytes[..length].iter().filter(|byte| **byte == wanted).count();
    let mut round = count(b')').saturating_sub(count(b'('));
    let mut square = count(b']').saturating_sub(count(b'['));
    // What ends the sentence does not belong to the link, nor does a bracket that opened before it.
    while let Some(last) = length.checked_sub(1) {
        match bytes[last] {
            b'.' | b',' | b';' | b':' | b'!' | b'?' | b'\'' | b'*' | b'_' | b'~' => {}
            b')' if round > 0 => round -= 1,
            b']' if square > 0 => square -= 1,
            _ => break,
        }
        length = last;
    }
    length
}

/// What RFC 3986 lets an address consist of.
fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~:/?#[]@!$&'()*+,;=%".contains(&byte)
}

/// Where a link leads. Not yet escaped for HTML, but plain ASCII without quotes, brackets and spaces.
#[derive(Debug, PartialEq, Eq)]
pub enum Target {
    /// `http:` or `https:`.
    Web(String),
    Mail(String),
    /// On this blog, from its root: begins with `/`.
    Here(String),
    /// A place on the same page: begins with `#`.
    Place(String),
}

impl Target {
    /// None for every scheme but those three, in whatever spelling, and for `//host`.
    pub fn parse(typed: &str) -> Option<Self> {
        let typed = typed.trim_matches(|c: char| c.is_whitespace() || c.is_control());
        let mut url = String::with_capacity(typed.len());
        for byte in typed.bytes() {
            if is_plain(byte) {
                url.push(char::from(byte));
            } else {
                url.push_str(&format!("%{byte:02X}"));
            }
        }
        if url.starts_with('#') {
            return Some(Self::Place(url));
        }
        let scheme_end = url.find([':', '/', '?', '#']).filter(|at| url[*at..].starts_with(':'));
        match scheme_end {
            Some(colon) => {
                let (scheme, rest) = (url[..colon].to_ascii_lowercase(), &url[colon + 1..]);
                match scheme.as_str() {
                    "http" | "https" => (rest.strip_prefix("//"))
                        .filter(|host| !host.is_empty() && !host.starts_with('/'))
                        .map(|_| Self::Web(url.clone())),
                    "mailto" => (!rest.is_empty()).then_some(Self::Mail(url)),
                    _ => None,
                }
            }
            // An address without a host would inherit ours, one with two slashes is another host's.
            None if url.starts_with("//") => None,
            None if url.starts_with('/') => Some(Self::Here(url)),
            None if url.is_empty() => None,
            // The same text stands on many pages, so what is relative is so to the root.
            None => Some(Self::Here(format!("/{url}"))),
        }
    }
}

/// True for the address of an image of this blog: `/media/` and a SHA-256.
pub fn is_own_image(path: &str) -> bool {
    let Some((hash, kind)) = path.strip_prefix("/media/").and_then(|name| name.split_once('.')) else {
        return false;
    };
    let is_hash = hash.len() == 64 && hash.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
    is_hash && matches!(kind, "jpg" | "png" | "webp")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets() {
        use Target::{Here, Mail, Place, Web};
        for (typed, target) in [
            ("https://a.b/c?d=e&f#g", Some(Web("https://a.b/c?d=e&f#g".to_owned()))),
            ("HTTP://A.B", Some(Web("HTTP://A.B".to_owned()))),
            ("https://a.b/\"><b>", Some(Web("https://a.b/%22%3E%3Cb%3E".to_owned()))),
            ("https://例.jp/", Some(Web("https://%E4%BE%8B.jp/".to_owned()))),
            ("mailto:a@b.c", Some(Mail("mailto:a@b.c".to_owned()))),
            ("/posts/1", Some(Here("/posts/1".to_owned()))),
            ("about", Some(Here("/about".to_owned()))),
            ("?q=a:b", Some(Here("/?q=a:b".to_owned()))),
            ("#x", Some(Place("#x".to_owned()))),
            ("/\\evil.example", Some(Here("/%5Cevil.example".to_owned()))),
        ] {
            assert_eq!(Target::parse(typed), target, "{typed}");
        }
        for refused in [
            "",
            " ",
            "javascript:alert(1)",
            "JaVaScRiPt:alert(1)",
            "\u{1}javascript:alert(1)",
            "java\tscript:alert(1)",
            "java\nscript:alert(1)",
            "javascript\u{a0}:alert(1)",
            "data:text/html,x",
            "vbscript:x",
            "blob:x",
            "file:///etc/passwd",
            "//evil.example",
            " //evil.example",
            "http:/a",
            "http:a",
            "http:///a",
            "mailto:",
            ":x",
            "view-source:http://a",
        ] {
            assert_eq!(Target::parse(refused), None, "{refused:?}");
        }
    }

    #[test]
    fn own_images() {
        let hash = "0123456789abcdef".repeat(4);
        assert!(is_own_image(&format!("/media/{hash}.jpg")));
        for bad in [
            format!("/media/{hash}.svg"),
            format!("/media/{hash}.jpg?x"),
            format!("/media/../{hash}.jpg"),
            format!("/media/{}.png", &hash[1..]),
            format!("/media/{}.png", hash.to_uppercase()),
            format!("//media/{hash}.jpg"),
        ] {
            assert!(!is_own_image(&bad), "{bad}");
        }
    }
}
