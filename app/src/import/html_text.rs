//! The HTML that Mastodon keeps its posts in, as Markdown. It knows the few elements that such posts have (its
//! sanitiser lets no others through); of all others the text stays.

use super::markdown_text::escape;

/// Markdown for a piece of HTML.
pub fn markdown(html: &str) -> String {
    let mut out = Writer::default();
    let mut rest = html;
    while !rest.is_empty() {
        let Some(at) = rest.find('<') else {
            out.text(&decode(rest));
            break;
        };
        out.text(&decode(&rest[..at]));
        let Some(end) = rest[at..].find('>') else {
            out.text(&decode(&rest[at..]));
            break;
        };
        out.tag(&rest[at + 1..at + end]);
        rest = &rest[at + end + 1..];
    }
    out.finish()
}

#[derive(Default)]
struct Writer {
    out: String,
    /// Text of the paragraph under way, escaped as a whole when it ends, because escapes depend on the line.
    plain: String,
    link: Option<Link>,
    /// Lists: the number of the next item, 0 for bullets.
    lists: Vec<u32>,
    quotes: usize,
    pre: bool,
}

struct Link {
    href: String,
    text: String,
    /// A hashtag or the name of somebody.
    is_name: bool,
}

impl Writer {
    fn text(&mut self, text: &str) {
        let text = if self.pre {
            text.to_owned()
        } else {
            text.replace('\n', " ")
        };
        match &mut self.link {
            Some(link) => link.text.push_str(&text),
            None => self.plain.push_str(&text),
        }
    }

    /// Marks, which are not escaped.
    fn mark(&mut self, mark: &str) {
        if let Some(link) = &mut self.link {
            link.text.push_str(mark);
            return;
        }
        self.flush();
        self.out.push_str(mark);
    }

    fn flush(&mut self) {
        let plain = std::mem::take(&mut self.plain);
        self.out.push_str(&if self.pre { plain } else { escape(&plain) });
    }

    fn new_line(&mut self) {
        self.flush();
        let kept = self.out.trim_end_matches(' ').len();
        self.out.truncate(kept);
        self.out.push('\n');
        self.out.push_str(&"> ".repeat(self.quotes));
    }

    /// Ends the line and leaves an empty one, once.
    fn block(&mut self) {
        self.flush();
        // Lines with nothing but the marks of quotes are made anew. A `>` of the text has its escape in front.
        loop {
            let text = self.out.trim_end_matches([' ', '\n']);
            let start = text.rfind('\n').map_or(0, |end| end + 1);
            let marks = text.len() > start && text[start..].chars().all(|c| matches!(c, '>' | ' '));
            let kept = if marks { start } else { text.len() };
            self.out.truncate(kept);
            if !marks {
                break;
            }
        }
        if self.out.is_empty() {
            self.out = "> ".repeat(self.quotes);
        } else {
            self.new_line();
            self.new_line();
        }
    }

    fn tag(&mut self, tag: &str) {
        let (closing, tag) = match tag.strip_prefix('/') {
            Some(tag) => (true, tag),
            None => (false, tag),
        };
        let name = tag
            .split([' ', '/', '\n', '\t'])
            .next()
            .unwrap_or_default()
            .to_ascii_lowercase();
        match (name.as_str(), closing) {
            ("br", _) => {
                if let Some(link) = &mut self.link {
                    link.text.push(' ');
                } else {
                    self.new_line();
                }
            }
            ("p" | "h1" | "h2" | "h3" | "h4" | "h5" | "h6" | "div", _) if self.lists.is_empty() => self.block(),
            ("strong" | "b", _) => self.mark("**"),
            ("em" | "i", _) => self.mark("*"),
            ("del" | "s", _) => self.mark("~~"),
            ("code", _) if !self.pre => self.mark("`"),
            ("pre", false) => {
                self.block();
                self.out.push_str("```\n");
                self.pre = true;
            }
            ("pre", true) => {
                self.flush();
                self.out.push_str("\n```");
                self.pre = false;
                self.block();
            }
            ("blockquote", false) => {
                self.quotes += 1;
                self.block();
            }
            ("blockquote", true) => {
                self.flush();
                self.quotes = self.quotes.saturating_sub(1);
                self.block();
            }
            ("ul", false) => {
                self.block();
                self.lists.push(0);
            }
            ("ol", false) => {
                self.block();
                self.lists.push(1);
            }
            ("ul" | "ol", true) => {
                self.flush();
                self.lists.pop();
                self.block();
            }
            ("li", false) => self.item(),
            ("a", false) => {
                self.end_link();
                let class = attribute(tag, "class").unwrap_or_default();
                self.link = Some(Link {
                    href: attribute(tag, "href").unwrap_or_default(),
                    text: String::new(),
                    is_name: class.split(' ').any(|word| matches!(word, "mention" | "hashtag")),
                });
            }
            ("a", true) => self.end_link(),
            _ => {}
        }
    }

    fn item(&mut self) {
        self.flush();
        if !self.out.is_empty() && !self.out.ends_with('\n') {
            self.new_line();
        }
        let depth = self.lists.len().saturating_sub(1);
        self.out.push_str(&"   ".repeat(depth));
        match self.lists.last_mut() {
            Some(number) if *number > 0 => {
                self.out.push_str(&format!("{number}. "));
                *number += 1;
            }
            _ => self.out.push_str("- "),
        }
    }

    fn end_link(&mut self) {
        let Some(link) = self.link.take() else {
            return;
        };
        let text = link.text.trim();
        // Mastodon shows an address shortened; the address itself is what was written.
        let bare = link.href.split_once("://").is_some_and(|(_, address)| {
            let shown = text.split_once("://").map_or(text, |(_, shown)| shown);
            let shown = shown.trim_end_matches(['…', '/']);
            !shown.is_empty()
                && address
                    .trim_start_matches("www.")
                    .starts_with(shown.trim_start_matches("www."))
        });
        let safe = link.href.starts_with("https://") || link.href.starts_with("http://");
        if link.is_name && text.starts_with('#') || !safe {
            self.plain.push_str(text);
        } else if bare {
            self.plain.push_str(&link.href);
        } else {
            self.flush();
            let href = link.href.replace('(', "%28").replace(')', "%29").replace(' ', "%20");
            self.out.push_str(&format!("[{}]({href})", escape(text)));
        }
    }

    fn finish(mut self) -> String {
        self.end_link();
        self.flush();
        let lines: Vec<&str> = self.out.lines().map(str::trim_end).collect();
        lines.join("\n").trim().to_owned()
    }
}

/// The value of an attribute in quotes.
fn attribute(tag: &str, name: &str) -> Option<String> {
    let mut rest = tag;
    while let Some(at) = rest.find(name) {
        let before = rest[..at].chars().next_back();
        let behind = rest[at + name.len()..].trim_start();
        rest = &rest[at + name.len()..];
        if !before.is_some_and(char::is_whitespace) {
            continue;
        }
        let Some(value) = behind.strip_prefix('=').map(str::trim_start) else {
            continue;
        };
        let quote = value.chars().next().filter(|c| matches!(c, '"' | '\''))?;
        return value[1..].split(quote).next().map(decode);
    }
    None
}

/// Character references, once.
pub fn decode(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('&') {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        let end = rest.find(';').filter(|end| *end <= 10);
        let found = end.and_then(|end| Some((reference(&rest[1..end])?, end + 1)));
        match found {
            Some((c, length)) => {
                out.push(c);
                rest = &rest[length..];
            }
            None => {
                out.push('&');
                rest = &rest[1..];
            }
        }
    }
    out.push_str(rest);
    out
}

fn reference(name: &str) -> Option<char> {
    if let Some(number) = name.strip_prefix('#') {
        let code = match number.strip_prefix(['x', 'X']) {
            Some(digits) => u32::from_str_radix(digits, 16).ok()?,
            None => number.parse().ok()?,
        };
        return char::from_u32(code);
    }
    match name {
        "amp" => Some('&'),
        "lt" => Some('<'),
        "gt" => Some('>'),
        "quot" => Some('"'),
        "apos" => Some('\''),
        "nbsp" => Some('\u{a0}'),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn posts_of_mastodon() {
        for (html, text) in [
            (
                "<p>one<br>two</p><p>three &amp; &lt;b&gt;</p>",
                "one\ntwo\n\nthree & \\<b>",
            ),
            (
                "<p><a href=\"https://m.example/tags/x\" class=\"mention hashtag\" rel=\"tag\">#<span>x_y</span></a> t</p>",
                "#x_y t",
            ),
            (
                "<p><span class=\"h-card\"><a href=\"https://m.example/@me\" class=\"u-url mention\">@<span>me</span></a></span></p>",
                "[@me](https://m.example/@me)",
            ),
            (
                "<p>see <a href=\"https://www.example.com/a/very/long_path\"><span class=\"invisible\">https://www.</span>\
                 <span class=\"ellipsis\">example.com/a/ve</span><span class=\"invisible\">ry/long_path</span></a>!</p>",
                "see https://www.example.com/a/very/long_path!",
            ),
            (
                "<p><a href=\"https://a.b/(c)\">a *text*</a></p>",
                "[a \\*text\\*](https://a.b/%28c%29)",
            ),
            ("<p><a href=\"javascript:alert(1)\">x</a></p>", "x"),
            (
                "<p><strong>b</strong> <em>i</em> <del>d</del> <code>c</code></p>",
                "**b** *i* ~~d~~ `c`",
            ),
            ("<blockquote><p>q<br>r</p></blockquote><p>s</p>", "> q\n> r\n\ns"),
            (
                "<ul><li>a</li><li>b</li></ul><ol><li>c</li><li>d</li></ol>",
                "- a\n- b\n\n1. c\n2. d",
            ),
            ("<p>* not a list</p>", "\\* not a list"),
            ("no <paragraph", "no \\<paragraph"),
            ("<pre><code>a\n  *b*</code></pre>", "```\na\n  *b*\n```"),
        ] {
            assert_eq!(markdown(html), text, "{html}");
        }
    }
}
