//! Differences for people.

use std::fmt::Write;

use super::{Difference, Kind};

/// Differences of one kind at one place that are written out; the rest are counted.
const SHOWN: usize = 12;
/// Longest value that is written out.
const LONGEST: usize = 160;

/// One line a difference, below the place that it is at: `field: a / b`.
pub fn text(differences: &[Difference]) -> String {
    let mut out = String::new();
    let mut last: Option<&str> = None;
    let mut rest = differences;
    while let Some(found) = rest.first() {
        let same = |other: &&Difference| (other.kind, &other.place) == (found.kind, &found.place);
        let (group, others) = rest.split_at(rest.iter().take_while(same).count());
        if last != Some(found.place.as_str()) {
            let _ = writeln!(out, "{}", found.place);
            last = Some(&found.place);
        }
        let shown = if group.len() > SHOWN + 1 { SHOWN } else { group.len() };
        for found in &group[..shown] {
            let _ = writeln!(out, "  {}: {} / {}", cut(&found.field), cut(&found.a), cut(&found.b));
        }
        if shown < group.len() {
            let what = match found.kind {
                Kind::Entry => "entries",
                Kind::TarHeader => "fields of tar headers",
                Kind::Content => "contents",
                Kind::Elf => "fields of headers",
                Kind::Attribute => "build attributes",
                Kind::Comment => "lines of .comment",
                Kind::Section => "sections",
                Kind::Symbol => "symbols",
                Kind::Path => "paths in strings",
                Kind::Configuration => "members of the configuration",
                Kind::Manifest => "members of the manifest",
            };
            let _ = writeln!(out, "  and {} more {what}: --json has them all", group.len() - shown);
        }
        rest = others;
    }
    out
}

fn cut(text: &str) -> String {
    match text.char_indices().nth(LONGEST) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_of_a_kind_are_counted_and_one_too_many_is_not() {
        let found = |kind, count: usize| -> Vec<Difference> {
            (0..count)
                .map(|number| super::super::only(kind, "blog", format!("symbol f{number}"), true))
                .collect()
        };
        let all = text(&found(Kind::Symbol, SHOWN + 1));
        assert_eq!(all.lines().count(), SHOWN + 2, "{all}");
        let text = text(&[found(Kind::Symbol, 40), found(Kind::Path, 1)].concat());
        assert!(text.starts_with("blog\n  symbol f0: there / not there\n"), "{text}");
        assert!(
            text.contains("\n  and 28 more symbols: --json has them all\n"),
            "{text}"
        );
        assert_eq!(text.lines().count(), SHOWN + 3, "{text}");
        assert_eq!(cut(&"ä".repeat(LONGEST + 1)).chars().count(), LONGEST + 1);
    }
}
