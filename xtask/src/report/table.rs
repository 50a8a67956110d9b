//! The report at a terminal, 80 columns wide if the names allow it.

use std::fmt::Write;

use super::{Change, Crates, Part, PartName, Report, ShareKind, State};
use crate::units::{bytes, instructions, seconds};

/// Columns of a terminal that nobody widened.
const WIDTH: usize = 80;
/// Shares and changes that are named.
const NAMED: usize = 4;

/// The report in words, columns and bars.
pub fn table(report: &Report) -> String {
    let mut text = totals(report);
    text.push('\n');
    text.push_str(&bars(report));
    text.push('\n');
    text.push_str(&deploys(report));
    text.push('\n');
    text.push_str(&largest(report));
    text.push_str(&since(report));
    text
}

fn totals(report: &Report) -> String {
    let mut rows = vec![row(["image", "platform", "pull", "update", "app", "base", "budget"])];
    for image in &report.images {
        rows.push(row([
            &image.image,
            &image.platform,
            &bytes(image.pull),
            &bytes(image.update),
            &bytes(image.app_size.compressed),
            &bytes(image.base_size.compressed),
            &image
                .share_of_budget()
                .map_or("-".to_owned(), |share| format!("{share} %")),
        ]));
    }
    columns(&rows, 2)
}

/// One bar an image: `#` is app, `=` is base, both as pulled, all on one scale.
fn bars(report: &Report) -> String {
    let most = report.images.iter().map(|image| image.pull).max().unwrap_or(1).max(1);
    let names = report
        .images
        .iter()
        .map(|image| image.image.chars().count())
        .max()
        .unwrap_or(0);
    let room = WIDTH.saturating_sub(names + 2).clamp(20, 64) as u64;
    // Rounded up, so that what is there is seen; at most a character too long for each part.
    let length = |size: u64| usize::try_from((size * (room - 2)).div_ceil(most)).unwrap_or(0);
    let mut text = String::new();
    for image in &report.images {
        let app = "#".repeat(length(image.app_size.compressed));
        let base = "=".repeat(length(image.base_size.compressed));
        let _ = writeln!(text, "{:<names$}  {app}{base}", plain(&image.image));
    }
    text.push_str("# app, = base, as pulled; update: what is pulled when only the app changed\n");
    text
}

fn deploys(report: &Report) -> String {
    let rate = report.bandwidth.to_string();
    let mut rows = vec![row([
        "on a Pi Zero W",
        &rate,
        "update",
        "unpacked",
        "written",
        "kept",
        "unpack work",
    ])];
    for image in &report.images {
        let work = image.deploy.unpack.as_ref();
        rows.push(row([
            &image.image,
            &seconds(image.deploy.first.seconds),
            &seconds(image.deploy.update.seconds),
            &bytes(image.unpacked()),
            &bytes(image.deploy.first.card.written),
            &bytes(image.deploy.first.card.overlay2),
            &work.map_or("not measured".to_owned(), |work| instructions(work.instructions)),
        ]));
    }
    let note = "written, kept: bytes on the SD card, by a model (overlay2 on ext4)\n";
    columns(&rows, 1) + note
}

/// What weighs most, in each image.
fn largest(report: &Report) -> String {
    let mut text = String::new();
    for image in &report.images {
        let list = |items: Vec<(String, u64)>| {
            let items = items
                .iter()
                .take(NAMED)
                .map(|(name, size)| format!("{name} {}", bytes(*size)));
            items.collect::<Vec<_>>().join(", ")
        };
        let base = image.shares.iter().filter(|share| share.part == PartName::Base);
        let packages: Vec<(String, u64)> = base
            .filter(|share| share.kind != ShareKind::Framing)
            .map(|share| (share.name.clone(), share.compressed))
            .collect();
        let mut lines = Vec::new();
        if !packages.is_empty() {
            lines.push(("base", list(packages)));
        }
        if let Some(program) = &image.program {
            let crates = match &program.crates {
                Crates::Known(pieces) => pieces.iter().map(|piece| (piece.name.clone(), piece.bytes)).collect(),
                Crates::Unknown(_) => Vec::new(),
            };
            if crates.is_empty() {
                let sections = program.sections.iter().map(|piece| (piece.name.clone(), piece.bytes));
                lines.push(("program", list(sections.collect())));
            } else {
                lines.push(("program", list(crates)));
            }
        }
        for (what, list) in lines {
            if !list.is_empty() {
                text.push_str(&wrapped(&plain(&format!("{}, {what}: {list}", image.image))));
            }
        }
    }
    text
}

/// What changed since an earlier report; what grew is marked.
fn since(report: &Report) -> String {
    let Some(difference) = &report.difference else {
        return String::new();
    };
    let mut text = format!("\nsince {}\n", plain(&difference.against));
    for image in &difference.images {
        let word = match image.state {
            State::Same => "the same bytes",
            State::Changed if image.changes.is_empty() => "another digest, the same sizes",
            State::Changed => "",
            State::New => "was not there",
            State::Gone => "is no longer there",
        };
        let _ = writeln!(
            text,
            "{}",
            plain(&format!("  {} ({}) {word}", image.image, image.platform)).trim_end()
        );
        let mut rows = Vec::new();
        for part in [Part::Total, Part::Share, Part::Section, Part::Crate] {
            let all: Vec<&Change> = image.changes.iter().filter(|change| change.part == part).collect();
            // What grew most comes first, what shrank most last: both ends are of interest, the middle is not.
            let cut = all.len() > 2 * NAMED;
            for (i, change) in all.iter().enumerate() {
                if cut && (NAMED..all.len() - NAMED).contains(&i) {
                    continue;
                }
                let kind = match part {
                    Part::Total => String::new(),
                    Part::Share => "pulled: ".to_owned(),
                    Part::Section => "section ".to_owned(),
                    Part::Crate => "crate ".to_owned(),
                };
                rows.push(row([
                    if change.growth() > 0 { "  +" } else { "   " },
                    &format!("{kind}{}", change.name),
                    &bytes(change.before),
                    &bytes(change.after),
                    &growth(change),
                ]));
            }
        }
        text.push_str(&columns(&rows, 2));
    }
    text
}

/// `+1.2 kB`, `-300 B`.
pub fn growth(change: &Change) -> String {
    let sign = if change.growth() < 0 { '-' } else { '+' };
    format!("{sign}{}", bytes(change.growth().unsigned_abs()))
}

fn row<const N: usize>(cells: [&str; N]) -> Vec<String> {
    cells.map(plain).to_vec()
}

/// Names come from files of others: what would steer a terminal is shown as unknown.
pub fn plain(text: &str) -> String {
    let steers = |c: char| c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    text.replace(steers, "\u{fffd}")
}

/// Columns two spaces apart: the first `left` of them to the left, figures to the right.
fn columns(rows: &[Vec<String>], left: usize) -> String {
    let mut text = String::new();
    let width = |i: usize| rows.iter().map(|row| row[i].chars().count()).max().unwrap_or(0);
    for row in rows {
        let cells = row.iter().enumerate().map(|(i, cell)| match i < left {
            true => format!("{cell:<w$}", w = width(i)),
            false => format!("{cell:>w$}", w = width(i)),
        });
        let line = cells.collect::<Vec<_>>().join("  ");
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// At commas, with the rest indented.
fn wrapped(line: &str) -> String {
    let mut text = String::new();
    let mut width = 0;
    for (i, word) in line.split_inclusive(", ").enumerate() {
        let long = word.trim_end().chars().count();
        if i > 0 && width + long > WIDTH {
            text.truncate(text.trim_end().len());
            text.push_str("\n    ");
            width = 4;
        }
        text.push_str(word);
        width += word.chars().count();
    }
    text + "\n"
}
