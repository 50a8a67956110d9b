//! A text without its marks, for titles, previews and search results; and the tags in it.

use pulldown_cmark::{Tag as Mark, TagEnd};

use super::events::{Part, walk};
use super::prepare::ESCAPED_HASH;
use crate::domain::tag::{self, Tag};

/// The words without the marks; a line for each line, paragraph and item.
pub fn plain(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    walk(text, |part| match part {
        Part::Text(text) => out.push_str(&text.replace(ESCAPED_HASH, "#")),
        Part::Code(code) => out.push_str(&code),
        Part::End(TagEnd::TableCell) => out.push(' '),
        Part::Break | Part::Rule => new_line(&mut out),
        Part::Start(mark) if is_block(&mark) => new_line(&mut out),
        Part::End(
            TagEnd::Paragraph
            | TagEnd::Heading(_)
            | TagEnd::Item
            | TagEnd::CodeBlock
            | TagEnd::TableHead
            | TagEnd::TableRow,
        ) => new_line(&mut out),
        _ => {}
    });
    out.truncate(out.trim_end().len());
    out
}

fn is_block(mark: &Mark<'_>) -> bool {
    matches!(
        mark,
        Mark::Paragraph | Mark::Heading { .. } | Mark::Item | Mark::CodeBlock(_)
    )
}

fn new_line(out: &mut String) {
    let kept = out.trim_end_matches(' ').len();
    out.truncate(kept);
    if !out.is_empty() && !out.ends_with('\n') {
        out.push('\n');
    }
}

/// The first line of the text without its marks, cut to `most` characters, for titles: notes have none of their own.
pub fn excerpt(text: &str, most: usize) -> String {
    let plain = plain(text);
    // A text of marks alone is named by them.
    let mut lines = plain.lines().chain(text.lines()).map(str::trim);
    let line = lines.find(|line| !line.is_empty()).unwrap_or_default();
    match line.char_indices().nth(most) {
        None => line.to_owned(),
        Some((cut, _)) => format!("{}…", line[..cut].trim_end()),
    }
}

/// The hashtags of the text, each once, in the order in which they come; those in code and links are none.
pub fn tags(text: &str) -> Vec<Tag> {
    let (mut tags, mut links, mut in_code) = (Vec::new(), 0_usize, false);
    walk(text, |part| match part {
        Part::Start(Mark::Link { .. } | Mark::Image { .. }) => links += 1,
        Part::End(TagEnd::Link | TagEnd::Image) => links = links.saturating_sub(1),
        Part::Start(Mark::CodeBlock(_)) => in_code = true,
        Part::End(TagEnd::CodeBlock) => in_code = false,
        Part::Text(text) if links == 0 && !in_code => add_from(&text, &mut tags),
        _ => {}
    });
    tags
}

fn add_from(text: &str, tags: &mut Vec<Tag>) {
    let mut link = super::link::find(text, 0);
    let mut from = 0;
    while let Some((start, end, found)) = tag::find(text, from) {
        from = end;
        while let Some((_, link_end)) = link.filter(|(_, link_end)| *link_end <= start) {
            link = super::link::find(text, link_end);
        }
        if link.is_none_or(|(link_start, _)| start < link_start) {
            tag::push(tags, found);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn excerpts() {
        assert_eq!(excerpt("\n  one \ntwo", 60), "one");
        assert_eq!(excerpt("ああああ", 3), "あああ…");
        assert_eq!(excerpt("あああ", 3), "あああ");
        assert_eq!(excerpt("# **a** [b](c)\n\nd", 60), "a b");
        assert_eq!(excerpt("---", 60), "---");
        assert_eq!(excerpt("", 60), "");
    }

    #[test]
    fn without_marks() {
        assert_eq!(plain("- a\n- `b`\n\n> c\nd\n\n![e](f) \\#g"), "a\nb\nc\nd\ne #g");
        assert_eq!(plain("|a|b|\n|-|-|\n|c|d|"), "a b\nc d");
        assert_eq!(plain("```\nx\n  y\n```\nz"), "x\n  y\nz");
    }

    #[test]
    fn tags_in_order_and_once() {
        let names = |text: &str| -> Vec<String> { tags(text).into_iter().map(|tag| tag.name).collect() };
        assert_eq!(names("#b *#a* ＃Ｂ\n# #c\n- #d"), ["b", "a", "c", "d"]);
        assert_eq!(names("`#a` [#b](c) \\#d https://e.f/#g ![#h](i) \n\n    #j"), [""; 0]);
        assert_eq!(names("https://e.f/#g #x"), ["x"]);
    }
}
