//! The events of pulldown-cmark as the writers of HTML and of plain text want them: text whole, signs restored.

use pulldown_cmark::{CowStr, Event, Options, Parser, Tag, TagEnd};

use super::prepare::{ESCAPED_HASH, prepare, restore};

/// A part of a text.
#[derive(Debug)]
pub enum Part<'a> {
    Start(Tag<'a>),
    End(TagEnd),
    /// Between two other parts there is one `Text` at most.
    Text(String),
    Code(String),
    Break,
    Rule,
}

pub fn walk(text: &str, mut each: impl FnMut(Part<'_>)) {
    let prepared = prepare(text);
    let options = Options::ENABLE_STRIKETHROUGH | Options::ENABLE_TABLES;
    let mut pending = String::new();
    let mut in_code_block = false;
    for event in Parser::new_ext(&prepared, options) {
        let part = match event {
            // Raw HTML is text. `prepare` leaves none but after a bracket.
            Event::Text(text) | Event::Html(text) | Event::InlineHtml(text) => {
                pending.push_str(&text);
                continue;
            }
            Event::Start(Tag::HtmlBlock) => Part::Start(Tag::Paragraph),
            Event::End(TagEnd::HtmlBlock) => Part::End(TagEnd::Paragraph),
            Event::Start(tag) => Part::Start(tag),
            Event::End(tag) => Part::End(tag),
            Event::Code(code) => Part::Code(restore(&code, "\\#")),
            Event::SoftBreak | Event::HardBreak => Part::Break,
            Event::Rule => Part::Rule,
            // Of extensions that are not switched on.
            Event::InlineMath(_) | Event::DisplayMath(_) | Event::FootnoteReference(_) | Event::TaskListMarker(_) => {
                continue;
            }
        };
        if !pending.is_empty() {
            let hash = if in_code_block { "\\#" } else { ESCAPED_HASH };
            each(Part::Text(restore(&pending, hash)));
            pending.clear();
        }
        match part {
            Part::Start(Tag::CodeBlock(_)) => in_code_block = true,
            Part::End(TagEnd::CodeBlock) => in_code_block = false,
            _ => {}
        }
        each(part);
    }
    if !pending.is_empty() {
        each(Part::Text(restore(&pending, ESCAPED_HASH)));
    }
}

/// An address as it was written.
pub fn address(typed: &CowStr<'_>) -> String {
    restore(typed, "#")
}
