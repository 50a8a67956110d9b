//! Addresses of the blog as files of a tree that opens without a server: what each address is called there, and pages
//! whose links lead from file to file.

use crate::domain::percent;

/// Addresses that need a server: nothing in the mirror leads there.
const NEED_A_SERVER: [&str; 7] = [
    "/login",
    "/logout",
    "/search",
    "/opensearch.xml",
    "/healthz",
    "/admin",
    "/micropub",
];

/// What an address of this blog is without what is only said in passing: the place in the page. `None` for addresses
/// elsewhere and for those that need a server. `here` is the address of the page that the link stands on.
pub fn internal(link: &str, here: &str, base_url: &str) -> Option<String> {
    let link = link.split('#').next().unwrap_or_default();
    let path = if let Some(rest) = link
        .strip_prefix(base_url)
        .filter(|rest| !base_url.is_empty() && rest.starts_with('/'))
    {
        rest.to_owned()
    } else if link.starts_with('/') && !link.starts_with("//") {
        link.to_owned()
    } else if link.starts_with('?') {
        format!("{}{link}", here.split('?').next().unwrap_or_default())
    } else {
        return None;
    };
    let (plain, query) = path.split_once('?').unwrap_or((&path, ""));
    let served = NEED_A_SERVER
        .iter()
        .any(|name| plain == *name || plain.starts_with(&format!("{name}/")));
    // The mirror has one language: that of the settings.
    let other_language = query.split('&').any(|pair| pair.starts_with("lang="));
    (!served && !other_language).then_some(path)
}

/// The file for an address: `/` is `index.html`, `/posts/7` is `posts/7.html`, `/?before=x` is `index-before-x.html`.
/// What has the ending of a file keeps it.
pub fn file(address: &str) -> String {
    let (path, query) = address.split_once('?').unwrap_or((address, ""));
    let mut name = decoded(path.trim_matches('/'));
    if name.is_empty() {
        name.push_str("index");
    }
    if !query.is_empty() {
        name.push('-');
        let plain = |c: char| if c.is_ascii_alphanumeric() { c } else { '-' };
        name.extend(decoded(query).chars().map(plain));
    }
    let last = name.rsplit('/').next().unwrap_or_default();
    let ending = last.rsplit_once('.').map(|(_, ending)| ending);
    let known = ["css", "atom", "rss", "json", "txt", "xml", "jpg", "png", "webp", "html"];
    if !ending.is_some_and(|ending| known.contains(&ending)) {
        name.push_str(".html");
    }
    name
}

/// A page with its links leading to files. `found` is told every address that the page needs.
pub fn rewrite(html: &str, here: &str, base_url: &str, mut found: impl FnMut(String)) -> String {
    let depth = file(here).matches('/').count();
    let up = "../".repeat(depth);
    let mut out = String::with_capacity(html.len() + 256);
    let mut rest = html;
    while let Some(start) = rest.find('<') {
        let Some(length) = rest[start..].find('>') else { break };
        out.push_str(&rest[..start]);
        let tag = &rest[start..=start + length];
        out.push_str(&tag_with_files(tag, here, base_url, &up, &mut found));
        rest = &rest[start + length + 1..];
    }
    out.push_str(rest);
    out
}

fn tag_with_files(tag: &str, here: &str, base_url: &str, up: &str, found: &mut impl FnMut(String)) -> String {
    let mut out = String::with_capacity(tag.len() + 16);
    let mut rest = tag;
    loop {
        let next = [" href=\"", " src=\""]
            .iter()
            .filter_map(|name| rest.find(name).map(|at| (at, name.len())))
            .min();
        let Some((at, length)) = next else { break };
        let value_at = at + length;
        let Some(end) = rest[value_at..].find('"') else { break };
        let value = &rest[value_at..value_at + end];
        let behind = &rest[value_at + end + 1..];
        let plain = unescaped(value);
        let outside = !(plain.starts_with(['/', '?']) || !base_url.is_empty() && plain.starts_with(base_url));
        match internal(&plain, here, base_url) {
            Some(address) => {
                let place = plain
                    .split_once('#')
                    .map_or(String::new(), |(_, place)| format!("#{place}"));
                out.push_str(&rest[..value_at]);
                out.push_str(&escaped(&format!("{up}{}{place}", encoded(&file(&address)))));
                out.push('"');
                found(address);
            }
            // A place in this page, an address elsewhere.
            None if outside => out.push_str(&rest[..=value_at + end]),
            // Without an address a link is text.
            None => out.push_str(&rest[..at]),
        }
        rest = behind;
    }
    out.push_str(rest);
    out
}

/// The references that pages have in addresses.
fn unescaped(text: &str) -> String {
    text.replace("&#38;", "&")
        .replace("&amp;", "&")
        .replace("&#39;", "'")
        .replace("&#34;", "\"")
        .replace("&quot;", "\"")
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('"', "&quot;").replace('<', "&lt;")
}

/// `%E3%81%82` becomes あ; what is no text stays as it is.
fn decoded(text: &str) -> String {
    // A name of a file: nothing that leads elsewhere.
    let name = String::from_utf8(percent::decode(text.as_bytes())).unwrap_or_else(|_| text.to_owned());
    let parts: Vec<&str> = name
        .split('/')
        .filter(|part| !matches!(*part, "" | "." | ".."))
        .collect();
    parts.join("/").replace(['\0', '\\'], "-")
}

/// A file's name as a link.
fn encoded(name: &str) -> String {
    percent::encode_but(name, b"-._~/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_files() {
        for (address, name) in [
            ("/", "index.html"),
            ("/?before=15-7", "index-before-15-7.html"),
            ("/posts/12", "posts/12.html"),
            ("/tags/%E3%81%82", "tags/あ.html"),
            ("/tags/a/feed.atom", "tags/a/feed.atom"),
            ("/2018/10", "2018/10.html"),
            ("/style-ab.css", "style-ab.css"),
            ("/%2e%2e/%2e%2e/etc/passwd", "etc/passwd.html"),
        ] {
            assert_eq!(file(address), name, "{address}");
        }
    }

    #[test]
    fn links_lead_from_file_to_file() {
        let mut found = Vec::new();
        let html = "<a class=\"x\" href=\"/posts/1#p1\">1 < 2</a><img src=\"/media/ab.png\" alt=\" href=&quot;/no\">\
                    <a href=\"https://a.example/\">a</a><a href=\"#main\">m</a><a href=\"/login\">in</a>\
                    <a href=\"?lang=ja\" lang=\"ja\">ja</a><a href=\"/tags/%E3%81%82?before=1&#38;x=2\">t</a>\
                    <a href=\"http://b.onion/\" hidden>me</a> href=\"/text\"";
        let out = rewrite(html, "/tags/a", "http://b.onion", |address| found.push(address));
        assert_eq!(
            out,
            "<a class=\"x\" href=\"../posts/1.html#p1\">1 < 2</a><img src=\"../media/ab.png\" alt=\" href=&quot;/no\">\
             <a href=\"https://a.example/\">a</a><a href=\"#main\">m</a><a>in</a><a lang=\"ja\">ja</a>\
             <a href=\"../tags/%E3%81%82-before-1-x-2.html\">t</a><a href=\"../index.html\" hidden>me</a> href=\"/text\""
        );
        assert_eq!(
            found,
            ["/posts/1", "/media/ab.png", "/tags/%E3%81%82?before=1&x=2", "/"]
        );
    }
}
