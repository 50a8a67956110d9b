//! Parts of a text to HTML. What is not written here does not exist.

use pulldown_cmark::{Alignment, HeadingLevel, LinkType, Tag, TagEnd};

use super::Place;
use super::events::{Part, address, walk};
use super::link::{self, Target};
use super::prepare::{ESCAPED_HASH, is_noncharacter};
use crate::domain::post_text::allowed;
use crate::domain::tag;

/// Lists and quotes inside each other, and marks inside each other. Deeper ones are text.
const DEEPEST: usize = 12;

/// For a list of posts on one of the blog's pages.
pub fn html(text: &str) -> String {
    html_at(text, Place::LIST)
}

/// Safe to put into a page as it is: every character of the text is escaped here.
pub fn html_at(text: &str, place: Place<'_>) -> String {
    let mut writer = Writer {
        out: String::with_capacity(text.len() + text.len() / 4 + 32),
        place,
        open: Vec::new(),
        blocks: 0,
        marks: 0,
        in_link: false,
        alt: None,
        aligned: Vec::new(),
        cell: 0,
        outline: Vec::new(),
    };
    walk(text, |part| writer.part(part));
    writer.out.truncate(writer.out.trim_end().len());
    writer.out
}

/// How an open element ends.
enum Open {
    Tag(&'static str),
    Heading(u8),
    Block(&'static str),
    Mark(&'static str),
    Link,
    /// Too deep, or not allowed: nothing was written.
    Nothing,
}

struct Writer<'a> {
    out: String,
    place: Place<'a>,
    open: Vec<Open>,
    blocks: usize,
    marks: usize,
    in_link: bool,
    /// Inside an image: its address and the text so far, and how many images are inside it.
    alt: Option<(String, String, usize)>,
    aligned: Vec<Alignment>,
    cell: usize,
    /// The levels of the headings, as typed, that the text is under.
    outline: Vec<HeadingLevel>,
}

impl Writer<'_> {
    fn part(&mut self, part: Part<'_>) {
        if self.alt.is_some() {
            return self.inside_image(part);
        }
        match part {
            Part::Start(tag) => self.start(tag),
            Part::End(tag) => self.end(tag),
            Part::Text(text) if self.in_link || self.in_code_block() => self.escape_text(&text),
            Part::Text(text) => self.text(&text),
            Part::Code(code) => {
                self.out.push_str("<code>");
                escape(&mut self.out, &code);
                self.out.push_str("</code>");
            }
            Part::Break => self.out.push_str("<br>\n"),
            Part::Rule => self.out.push_str("<hr>\n"),
        }
    }

    fn in_code_block(&self) -> bool {
        matches!(self.open.last(), Some(Open::Tag("</code></pre>\n")))
    }

    fn start(&mut self, tag: Tag<'_>) {
        let open = match tag {
            // `dir=auto` keeps text that runs right to left, or tries to, inside its own paragraph.
            Tag::Paragraph => self.tag("<p dir=\"auto\">", "</p>\n"),
            Tag::Heading { level, .. } => {
                let level = self.heading(level);
                self.out.push_str(&format!("<h{level} dir=\"auto\">"));
                Open::Heading(level)
            }
            Tag::BlockQuote(_) => self.block("<blockquote>\n", "</blockquote>\n"),
            Tag::List(None) => self.block("<ul>\n", "</ul>\n"),
            Tag::List(Some(1)) => self.block("<ol>\n", "</ol>\n"),
            Tag::List(Some(first)) => self.block(&format!("<ol start=\"{first}\">\n"), "</ol>\n"),
            Tag::Item if matches!(self.open.last(), Some(Open::Nothing)) => {
                self.out.push_str("<br>\n");
                Open::Nothing
            }
            Tag::Item => self.tag("<li dir=\"auto\">", "</li>\n"),
            Tag::CodeBlock(_) => self.tag("<pre><code>", "</code></pre>\n"),
            Tag::Table(aligned) => {
                self.aligned = aligned;
                self.tag("<table>\n", "</tbody>\n</table>\n")
            }
            Tag::TableHead => {
                self.cell = 0;
                self.tag("<thead>\n<tr>\n", "</tr>\n</thead>\n<tbody>\n")
            }
            Tag::TableRow => {
                self.cell = 0;
                self.tag("<tr>\n", "</tr>\n")
            }
            Tag::TableCell => self.table_cell(),
            Tag::Emphasis => self.mark("<em>", "</em>"),
            Tag::Strong => self.mark("<strong>", "</strong>"),
            Tag::Strikethrough => self.mark("<del>", "</del>"),
            Tag::Link {
                link_type, dest_url, ..
            } => {
                let mut typed = address(&dest_url);
                if link_type == LinkType::Email {
                    typed.insert_str(0, "mailto:");
                }
                self.link(&typed)
            }
            Tag::Image { dest_url, .. } => {
                self.alt = Some((address(&dest_url), String::new(), 0));
                return;
            }
            _ => Open::Nothing,
        };
        self.open.push(open);
    }

    fn end(&mut self, _: TagEnd) {
        match self.open.pop() {
            Some(Open::Tag(end)) => self.out.push_str(end),
            Some(Open::Heading(level)) => self.out.push_str(&format!("</h{level}>\n")),
            Some(Open::Block(end)) => {
                self.blocks -= 1;
                self.out.push_str(end);
            }
            Some(Open::Mark(end)) => {
                self.marks -= 1;
                self.out.push_str(end);
            }
            Some(Open::Link) => {
                self.in_link = false;
                self.out.push_str("</a>");
            }
            Some(Open::Nothing) | None => {}
        }
    }

    /// A heading is one level below the one that it is under, however many signs its author chose: whoever goes from
    /// heading to heading finds no gap, also where a text begins with `##`.
    fn heading(&mut self, typed: HeadingLevel) -> u8 {
        while self.outline.pop_if(|above| *above >= typed).is_some() {}
        self.outline.push(typed);
        let below = u8::try_from(self.outline.len() - 1).unwrap_or(u8::MAX);
        self.place.heading.saturating_add(below).min(6)
    }

    fn tag(&mut self, start: &str, end: &'static str) -> Open {
        self.out.push_str(start);
        Open::Tag(end)
    }

    fn block(&mut self, start: &str, end: &'static str) -> Open {
        if self.blocks >= DEEPEST {
            return Open::Nothing;
        }
        self.blocks += 1;
        self.out.push_str(start);
        Open::Block(end)
    }

    fn mark(&mut self, start: &str, end: &'static str) -> Open {
        if self.marks >= DEEPEST {
            return Open::Nothing;
        }
        self.marks += 1;
        self.out.push_str(start);
        Open::Mark(end)
    }

    fn table_cell(&mut self) -> Open {
        let head = self
            .open
            .iter()
            .any(|open| matches!(open, Open::Tag(end) if end.contains("</thead>")));
        let class = match self.aligned.get(self.cell) {
            Some(Alignment::Right) => " class=\"right\"",
            Some(Alignment::Center) => " class=\"center\"",
            _ => "",
        };
        self.cell += 1;
        let name = if head { "th" } else { "td" };
        self.out.push_str(&format!("<{name}{class} dir=\"auto\">"));
        Open::Tag(if head { "</th>\n" } else { "</td>\n" })
    }

    fn link(&mut self, typed: &str) -> Open {
        match Target::parse(typed) {
            Some(target) if !self.in_link => {
                self.start_link(&target);
                self.in_link = true;
                Open::Link
            }
            _ => Open::Nothing,
        }
    }

    fn start_link(&mut self, target: &Target) {
        self.out.push_str("<a href=\"");
        let end = match target {
            Target::Web(url) => {
                escape(&mut self.out, url);
                "\" rel=\"nofollow noopener\">"
            }
            Target::Mail(url) => {
                escape(&mut self.out, url);
                "\">"
            }
            Target::Here(path) => {
                escape(&mut self.out, self.place.base);
                escape(&mut self.out, path);
                "\">"
            }
            Target::Place(fragment) => {
                if !self.place.base.is_empty() {
                    escape(&mut self.out, self.place.base);
                    escape(&mut self.out, self.place.permalink);
                }
                escape(&mut self.out, fragment);
                "\">"
            }
        };
        self.out.push_str(end);
    }

    fn inside_image(&mut self, part: Part<'_>) {
        let Some((_, alt, depth)) = &mut self.alt else { return };
        match part {
            Part::Start(Tag::Image { .. }) => *depth += 1,
            Part::End(TagEnd::Image) if *depth > 0 => *depth -= 1,
            Part::End(TagEnd::Image) => self.image(),
            Part::Text(text) => alt.push_str(&text.replace(ESCAPED_HASH, "#")),
            Part::Code(code) => alt.push_str(&code),
            Part::Break => alt.push(' '),
            _ => {}
        }
    }

    /// One of our own as an image, any other as a link: reading a page asks nobody else for anything.
    fn image(&mut self) {
        let Some((typed, alt, _)) = self.alt.take() else { return };
        if link::is_own_image(&typed) {
            self.out.push_str("<img src=\"");
            escape(&mut self.out, self.place.base);
            escape(&mut self.out, &typed);
            self.out.push_str("\" alt=\"");
            escape(&mut self.out, &alt);
            self.out.push_str("\" loading=\"lazy\">");
            return;
        }
        let shown = if alt.trim().is_empty() { &typed } else { &alt };
        match Target::parse(&typed) {
            Some(target) if !self.in_link => {
                self.start_link(&target);
                escape(&mut self.out, shown);
                self.out.push_str("</a>");
            }
            _ => escape(&mut self.out, shown),
        }
    }

    /// Text with its bare links and hashtags.
    fn text(&mut self, text: &str) {
        let mut at = 0;
        let mut link = link::find(text, 0);
        let mut found = tag::find(text, 0);
        loop {
            let link_at = link.map_or(usize::MAX, |(start, _)| start);
            let tag_at = found.as_ref().map_or(usize::MAX, |(start, ..)| *start);
            let end = if link_at < tag_at {
                let Some((start, end)) = link else { break };
                self.escape_text(&text[at..start]);
                self.start_link(&Target::Web(text[start..end].to_owned()));
                escape(&mut self.out, &text[start..end]);
                end
            } else {
                let Some((start, end, tag)) = &found else { break };
                self.escape_text(&text[at..*start]);
                self.start_link(&Target::Here(tag.path()));
                escape(&mut self.out, &text[*start..*end]);
                *end
            };
            self.out.push_str("</a>");
            at = end;
            if link.is_some_and(|(start, _)| start < at) {
                link = link::find(text, at);
            }
            if found.as_ref().is_some_and(|(start, ..)| *start < at) {
                found = tag::find(text, at);
            }
        }
        self.escape_text(&text[at..]);
    }

    fn escape_text(&mut self, text: &str) {
        if text.contains(ESCAPED_HASH) {
            escape(&mut self.out, &text.replace(ESCAPED_HASH, "#"));
        } else {
            escape(&mut self.out, text);
        }
    }
}

/// The first heading of the text becomes `first`, and nothing is deeper than h6.
fn escape(out: &mut String, text: &str) {
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            // No text may have one; what XML cannot carry does not get into a feed.
            // A number may stand for it, too: `&#12;`.
            c if is_noncharacter(c) || !allowed(c) => {}
            c => out.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of one paragraph, without the paragraph.
    fn line(text: &str) -> String {
        let out = html(text);
        let inside = out
            .strip_prefix("<p dir=\"auto\">")
            .and_then(|out| out.strip_suffix("</p>"));
        inside.map_or(out.clone(), ToOwned::to_owned)
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
        assert_eq!(line("a  \nb\\\nc"), "a<br>\nb<br>\nc");
        assert_eq!(html(""), "");
    }

    #[test]
    fn everything_is_escaped() {
        assert_eq!(line("<b>&\"'"), "&lt;b&gt;&amp;&quot;&#39;");
        assert_eq!(line("&lt;b&gt;"), "&lt;b&gt;");
        assert_eq!(line("<b>**x**</b>"), "&lt;b&gt;<strong>x</strong>&lt;/b&gt;");
        assert_eq!(line("`<b>` [a](<b>)"), "<code>&lt;b&gt;</code> <a href=\"/b\">a</a>");
        assert_eq!(line("(<script>x"), "(&lt;script&gt;x");
        assert_eq!(
            html("<div>\n*a*\n\nb"),
            "<p dir=\"auto\">&lt;div&gt;<br>\n<em>a</em></p>\n<p dir=\"auto\">b</p>"
        );
    }

    #[test]
    fn bare_links() {
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
        assert_eq!(line("https://a.b/_c_/*d*/~e~f"), link("https://a.b/_c_/*d*/~e~f"));
        assert_eq!(
            line("**https://a.b/**です"),
            format!("<strong>{}</strong>です", link("https://a.b/"))
        );
        assert_eq!(line("https://a.b/#x"), link("https://a.b/#x"));
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
            "`http://a.b`",
            "[x](javascript:alert(1))",
            "[x](&#106;avascript:alert(1))",
            "[x](java&#10;script:alert(1))",
            "[x](JAVASCRIPT&colon;alert(1))",
            "<javascript:alert(1)>",
            "![x](data:image/png;base64,AAAA)",
            "[x](//evil.example)",
            "[x]: javascript:alert(1)\n\n[x]",
        ] {
            assert!(!html(text).contains("<a"), "{text}: {}", html(text));
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
            "[a](<http://a.b/\"onclick=\"x>)",
            "[a](http://a.b/ \"title\\\" onclick=x\")",
        ] {
            let out = line(text);
            assert!(!out.contains("<script"), "{out}");
            assert_eq!(out.matches('"').count(), 4, "{out}");
            assert_eq!(out.matches('<').count(), 2, "{out}");
        }
    }

    #[test]
    fn links() {
        assert_eq!(line("[a *b*](/posts/1)"), "<a href=\"/posts/1\">a <em>b</em></a>");
        assert_eq!(line("[a](b)"), "<a href=\"/b\">a</a>");
        assert_eq!(
            line("[a](#b) [c](mailto:d@e.f)"),
            "<a href=\"#b\">a</a> <a href=\"mailto:d@e.f\">c</a>"
        );
        assert_eq!(line("<d@e.f>"), "<a href=\"mailto:d@e.f\">d@e.f</a>");
        assert_eq!(line("<https://a.b/_c_>"), link("https://a.b/_c_"));
        assert_eq!(
            line("[https://a.b](https://c.d)"),
            "<a href=\"https://c.d\" rel=\"nofollow noopener\">https://a.b</a>"
        );
        assert_eq!(line("[#a](/b)"), "<a href=\"/b\">#a</a>");
    }

    #[test]
    fn in_a_feed_addresses_are_whole() {
        let place = Place::feed("http://x.onion", "/posts/7");
        let out = html_at("#a [b](/c) [d](#e) https://f.g", place);
        for href in [
            "http://x.onion/tags/a",
            "http://x.onion/c",
            "http://x.onion/posts/7#e",
            "https://f.g",
        ] {
            assert!(out.contains(&format!("<a href=\"{href}\"")), "{out}");
        }
        let image = format!("![x](/media/{}.png)", "0".repeat(64));
        assert!(html_at(&image, place).contains("src=\"http://x.onion/media/0"));
    }

    #[test]
    fn hashtags() {
        assert_eq!(line("#ラズ"), "<a href=\"/tags/%E3%83%A9%E3%82%BA\">#ラズ</a>");
        assert_eq!(
            line("*#rust_lang*"),
            "<em><a href=\"/tags/rust_lang\">#rust_lang</a></em>"
        );
        assert_eq!(line("＃Ｒust、#_a_b_"), {
            "<a href=\"/tags/rust\">＃Ｒust</a>、<a href=\"/tags/_a_b_\">#_a_b_</a>"
        });
        assert_eq!(
            line("\\#a `#b` `\\#c` \\\\#d"),
            "#a <code>#b</code> <code>\\#c</code> \\<a href=\"/tags/d\">#d</a>"
        );
        assert_eq!(
            html("```\n#a https://b.c\n```"),
            "<pre><code>#a https://b.c\n</code></pre>"
        );
    }

    #[test]
    fn marks() {
        assert_eq!(
            line("*a* **b** ~~c~~ `d`"),
            "<em>a</em> <strong>b</strong> <del>c</del> <code>d</code>"
        );
        assert_eq!(line("10~20、30~40"), "10~20、30~40");
        assert_eq!(line("snake_case_name \\*a\\*"), "snake_case_name *a*");
        // Plain CommonMark leaves these as they are, because of the punctuation.
        assert_eq!(line("**「これ」**も"), "<strong>「これ」</strong>も");
        assert_eq!(line("これは**重要。**です"), "これは<strong>重要。</strong>です");
        assert_eq!(
            line("**a(b)**を、*「c」*と"),
            "<strong>a(b)</strong>を、<em>「c」</em>と"
        );
        assert_eq!(line("〜~~（旧）~~新"), "〜<del>（旧）</del>新");
    }

    #[test]
    fn blocks() {
        assert_eq!(html("# a\n## b\n###### c\n## d"), {
            "<h3 dir=\"auto\">a</h3>\n<h4 dir=\"auto\">b</h4>\n<h5 dir=\"auto\">c</h5>\n<h4 dir=\"auto\">d</h4>"
        });
        // Whoever begins with `##`, as in a file that has a title above, gets no gap below the title.
        assert_eq!(html_at("## a\n### b\n## c\n# d", Place::PAGE), {
            "<h2 dir=\"auto\">a</h2>\n<h3 dir=\"auto\">b</h3>\n<h2 dir=\"auto\">c</h2>\n<h2 dir=\"auto\">d</h2>"
        });
        assert!(html_at("# a", Place::PAGE).starts_with("<h2 "));
        assert_eq!(
            html("> a\n> b"),
            "<blockquote>\n<p dir=\"auto\">a<br>\nb</p>\n</blockquote>"
        );
        assert_eq!(
            html("- a\n- b"),
            "<ul>\n<li dir=\"auto\">a</li>\n<li dir=\"auto\">b</li>\n</ul>"
        );
        assert_eq!(html("3. a"), "<ol start=\"3\">\n<li dir=\"auto\">a</li>\n</ol>");
        assert_eq!(
            html("a\n\n---\n\nb"),
            "<p dir=\"auto\">a</p>\n<hr>\n<p dir=\"auto\">b</p>"
        );
        let table = html("|a|b|\n|-|-:|\n|c|d|");
        assert!(
            table.starts_with("<table>\n<thead>\n<tr>\n<th dir=\"auto\">a</th>"),
            "{table}"
        );
        assert!(table.contains("<td class=\"right\" dir=\"auto\">d</td>"), "{table}");
    }

    #[test]
    fn images() {
        let hash = "0123456789abcdef".repeat(4);
        assert_eq!(
            line(&format!("![a \"b\"](/media/{hash}.webp)")),
            format!("<img src=\"/media/{hash}.webp\" alt=\"a &quot;b&quot;\" loading=\"lazy\">")
        );
        assert_eq!(
            line("![a *b*](https://c.d/e.png)"),
            "<a href=\"https://c.d/e.png\" rel=\"nofollow noopener\">a b</a>"
        );
        assert_eq!(line("[![a](https://c.d/e.png)](/f)"), "<a href=\"/f\">a</a>");
    }
}
