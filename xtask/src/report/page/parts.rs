//! Bars, escaping, and the tables of many rows.

use std::fmt::Write;

use super::{figures, open_table, row};
use crate::report::table;
use crate::report::{Change, Division, ImageSize, Part, PartName, Piece, Report, Share, ShareKind, State};
use crate::units::{self, bytes};

/// Rows that are shown at once; the others open below them.
const ROWS: usize = 12;
/// One part in so many of the whole is shown at once.
const LEAST: u64 = 200;

/// Heads of a table of changes.
const CHANGES: [&str; 4] = ["What", "Then", "Now", "Growth"];

/// Text from outside, for element content and quoted attributes.
pub fn escape(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    // Controls have no place in HTML, and those that turn the direction of text none in a name.
    for c in table::plain(text).chars() {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            c => safe.push(c),
        }
    }
    safe
}

/// A figure and its unit on one line.
pub fn tight(text: &str) -> String {
    text.replace(' ', "\u{a0}")
}

/// Bytes for people.
pub fn size(count: u64) -> String {
    tight(&bytes(count))
}

/// Seconds for people.
pub fn seconds(count: f64) -> String {
    tight(&escape(&units::seconds(count)))
}

/// Instructions for people.
pub fn instructions(count: u64) -> String {
    tight(&units::instructions(count))
}

/// A stacked bar, its parts in per cent of the largest.
#[derive(Clone, Debug)]
pub struct Bar {
    most: u64,
    parts: Vec<(&'static str, u64)>,
}

impl Bar {
    /// A bar on a scale that ends at `most`.
    pub fn new(most: u64) -> Bar {
        Bar {
            most: most.max(1),
            parts: Vec::new(),
        }
    }

    /// The app's part.
    pub fn app(self, size: u64) -> Bar {
        self.part("app", size)
    }

    /// The base's part.
    pub fn base(self, size: u64) -> Bar {
        self.part("base", size)
    }

    /// History.
    pub fn past(self, size: u64) -> Bar {
        self.part("past", size)
    }

    fn part(mut self, class: &'static str, size: u64) -> Bar {
        if size > 0 {
            self.parts.push((class, size));
        }
        self
    }

    /// Writes it; in whole hundredths of a per cent, so that no machine's arithmetic shows.
    pub fn write(&self, html: &mut String) {
        html.push_str("<div>");
        for (class, size) in &self.parts {
            let hundredths = u128::from(*size) * 10_000 / u128::from(self.most);
            let _ = write!(
                html,
                "<i class=\"{class}\" style=\"width:{}.{:02}%\"></i>",
                hundredths / 100,
                hundredths % 100
            );
        }
        html.push_str("</div>");
    }
}

/// A table of many rows: those that matter, and the others in what can be opened. `weigh` says what a row is of the whole.
fn long<T>(
    html: &mut String,
    title: &str,
    heads: &[&str],
    items: &[T],
    weigh: &dyn Fn(&T) -> u64,
    write: &dyn Fn(&mut String, &T),
) {
    let _ = writeln!(html, "<h3>{title}</h3>");
    let whole: u64 = items.iter().map(weigh).sum();
    let matter = items
        .iter()
        .take_while(|item| weigh(item).saturating_mul(LEAST) >= whole)
        .count();
    let shown = matter.clamp(1, ROWS).min(items.len());
    // One row more is no longer than the line that would hide it.
    let shown = if items.len() <= shown + 1 { items.len() } else { shown };
    let body = |html: &mut String, caption: &str, items: &[T]| {
        open_table(html, caption, heads);
        items.iter().for_each(|item| write(html, item));
        html.push_str("</tbody>\n</table>\n");
    };
    body(html, title, &items[..shown]);
    if shown < items.len() {
        let _ = writeln!(html, "<details>\n<summary>{} more</summary>", items.len() - shown);
        body(html, &format!("{title}, the rest"), &items[shown..]);
        html.push_str("</details>\n");
    }
}

/// What the bytes of an image's layers are for.
pub fn shares_of(html: &mut String, image: &ImageSize) {
    for (part, title) in [
        (PartName::Base, "Packages and files of the base"),
        (PartName::App, "Files of the app"),
    ] {
        let shares: Vec<&Share> = image.shares.iter().filter(|share| share.part == part).collect();
        if shares.is_empty() {
            continue;
        }
        let most = shares.iter().map(|share| share.compressed).max().unwrap_or(0);
        let heads = ["What", "Pulled", "Unpacked", "Entries"];
        let weigh = |share: &&Share| share.compressed;
        long(html, title, &heads, &shares, &weigh, &|html, share| {
            let kind = match (share.kind, &share.version) {
                (ShareKind::Package, Some(version)) => format!(" <small>{}</small>", escape(version)),
                (ShareKind::Files, _) if part == PartName::Base => " <small>files of no package</small>".to_owned(),
                _ => String::new(),
            };
            let bar = Bar::new(most);
            let bar = match part {
                PartName::App => bar.app(share.compressed),
                PartName::Base => bar.base(share.compressed),
            };
            let cells = [size(share.compressed), size(share.unpacked), share.entries.to_string()];
            row(html, &heads, &format!("{}{kind}", escape(&share.name)), &cells, &bar);
        });
    }
    if image
        .layers
        .iter()
        .any(|layer| layer.division == Division::Proportional)
    {
        html.push_str(
            "<p class=\"note\">A layer of it is compressed with zstd: what its files take was divided by size.</p>\n",
        );
    }
}

/// Sections or crates.
pub fn pieces(html: &mut String, title: &str, what: &str, pieces: &[Piece]) {
    let most = pieces.iter().map(|piece| piece.bytes).max().unwrap_or(0);
    let heads = [what, "In the file", "Pulled"];
    long(html, title, &heads, pieces, &|piece| piece.bytes, &|html, piece| {
        let cells = [size(piece.bytes), size(piece.compressed)];
        row(
            html,
            &heads,
            &escape(&piece.name),
            &cells,
            &Bar::new(most).app(piece.bytes),
        );
    });
}

/// What changed since an earlier report.
pub fn since(html: &mut String, report: &Report) {
    let Some(difference) = &report.difference else { return };
    let _ = writeln!(html, "<section>\n<h2>Since {}</h2>", escape(&difference.against));
    for image in &difference.images {
        let name = format!("{} <small>{}</small>", escape(&image.image), escape(&image.platform));
        let word = match image.state {
            State::Same => "The same bytes.",
            State::New => "It was not there.",
            State::Gone => "It is no longer there.",
            State::Changed if image.changes.is_empty() => "Another digest, the same sizes.",
            State::Changed => {
                // All are of interest here, up to the number of rows.
                long(html, &name, &CHANGES, &image.changes, &|_| 1, &changed);
                continue;
            }
        };
        let _ = writeln!(html, "<h3>{name}</h3>\n<p>{word}</p>");
    }
    html.push_str("</section>\n");
}

fn changed(html: &mut String, change: &Change) {
    let kind = match change.part {
        Part::Total => "",
        Part::Share => " <small>of the pull</small>",
        Part::Section => " <small>section</small>",
        Part::Crate => " <small>crate</small>",
    };
    let (class, mark) = match change.growth() > 0 {
        true => ("grew", "▲"),
        false => ("shrank", "▼"),
    };
    let cells = [
        size(change.before),
        size(change.after),
        format!(
            "<span class=\"{class}\">{mark} {}</span>",
            tight(&table::growth(change))
        ),
    ];
    figures(html, &CHANGES, &format!("{}{kind}", escape(&change.name)), &cells);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_from_outside_stays_text() {
        assert_eq!(
            escape("<a href=\"x\" b='y'>&amp;"),
            "&lt;a href=&quot;x&quot; b=&#39;y&#39;&gt;&amp;amp;"
        );
        assert_eq!(escape("a\0b\u{202e}c\n"), "a\u{fffd}b\u{fffd}c\u{fffd}");
    }

    #[test]
    fn bars_end_at_the_largest() {
        let mut html = String::new();
        Bar::new(3).app(1).base(2).past(0).write(&mut html);
        assert_eq!(
            html,
            "<div><i class=\"app\" style=\"width:33.33%\"></i><i class=\"base\" style=\"width:66.66%\"></i></div>"
        );
        html.clear();
        Bar::new(0).app(0).write(&mut html);
        assert_eq!(html, "<div></div>");
    }
}
