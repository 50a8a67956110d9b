//! `cargo xtask size`: what each image costs, and whether it stays in its budget.

use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::cli::SizeArgs;
use crate::cx::Cx;
use crate::error::{Error, Result};
use crate::oci::Layer;
use crate::oci::layer::Limits;
use crate::oci::layout::{list_images, load_image};
use crate::policy::Policy;
use crate::publish::layout;
use crate::target::Base;
use crate::ui::bytes;
use crate::verb::{Outcome, audit, place, policy};

/// The figures of one image, in bytes.
#[derive(Clone, Debug, Serialize)]
struct Row {
    image: String,
    platform: String,
    /// The program, as it lies in the image.
    binary: u64,
    /// The app layer as pulled, and unpacked.
    app_compressed: u64,
    app_unpacked: u64,
    /// The base's layers as pulled, and unpacked.
    base_compressed: u64,
    base_unpacked: u64,
    /// Manifest, configuration and all layers: what a Pi without any of it pulls.
    pull: u64,
    /// What a Pi that has the base pulls when only the app changed.
    update: u64,
    budget: Option<u64>,
}

impl Row {
    /// Share of the budget in per cent, rounded up, so that 100 is never over.
    fn share(&self) -> Option<u64> {
        self.budget.map(|budget| (self.pull * 100).div_ceil(budget.max(1)))
    }

    fn over(&self) -> bool {
        self.budget.is_some_and(|budget| self.pull > budget)
    }
}

/// Prints the table; exit code 1 when an image is over its budget.
pub fn run(cx: &Cx, args: &SizeArgs) -> Result<Outcome> {
    let policy = policy(cx)?;
    let given = if args.layouts.is_empty() {
        audit::built(cx)
    } else {
        args.layouts.clone()
    };
    if given.is_empty() {
        return Err(Error::new("there is no image in target/images").hint("make one: `cargo xtask image`"));
    }
    let mut rows = Vec::new();
    for text in &given {
        let dir = text.strip_prefix("oci:").ok_or_else(|| {
            Error::new(format!("`{text}`: expected oci:PATH"))
                .hint("for example: cargo xtask size oci:target/images/scratch-armv6")
        })?;
        rows.extend(measure(&place(cx, dir), &policy)?);
    }
    if args.json {
        cx.ui.result(&serde_json::to_string_pretty(&rows)?);
    } else {
        cx.ui.result(table(&rows).trim_end());
    }
    for row in rows.iter().filter(|row| row.over()) {
        let budget = row.budget.unwrap_or_default();
        cx.ui.warn(&format!(
            "{} is {} over its budget of {} (xtask.toml, [budget])",
            row.image,
            bytes(row.pull - budget),
            bytes(budget)
        ));
    }
    Ok(if rows.iter().any(Row::over) {
        Outcome::Findings
    } else {
        Outcome::Fine
    })
}

fn measure(dir: &Path, policy: &Policy) -> Result<Vec<Row>> {
    let store = layout::open(dir)?;
    let limits = Limits::default();
    let mut rows = Vec::new();
    for listed in list_images(&store)? {
        let Some(platform) = listed.platform else { continue };
        let name = listed
            .name
            .clone()
            .unwrap_or_else(|| listed.manifest.digest.to_string());
        let image = load_image(&store, listed.name.as_deref(), platform, &limits)?;
        let sum = |layers: &[Layer], size: fn(&Layer) -> u64| layers.iter().map(size).sum::<u64>();
        let config = image.config_json();
        let program = config["config"]["Entrypoint"][0]
            .as_str()
            .unwrap_or_default()
            .trim_start_matches('/')
            .to_owned();
        let mut binary = 0;
        for layer in image.app_layers() {
            for entry in layer.entries(&limits)? {
                if let (crate::oci::EntryKind::File(content), true) = (&entry.kind, entry.path == program) {
                    binary = content.len() as u64;
                }
            }
        }
        let app = sum(image.app_layers(), Layer::size);
        let json = (image.config().bytes().len() + image.manifest().bytes().len()) as u64;
        let base = Base::ALL
            .into_iter()
            .find(|base| name.split('-').next() == Some(base.name()));
        rows.push(Row {
            image: name,
            platform: platform.to_string(),
            binary,
            app_compressed: app,
            app_unpacked: sum(image.app_layers(), Layer::unpacked_size),
            base_compressed: sum(image.base_layers(), Layer::size),
            base_unpacked: sum(image.base_layers(), Layer::unpacked_size),
            pull: image.pull_size(),
            update: app + json,
            budget: base.and_then(|base| policy.budget.get(&base).copied()),
        });
    }
    if rows.is_empty() {
        return Err(Error::new(format!(
            "there is no image in {}",
            PathBuf::from(dir).display()
        )));
    }
    Ok(rows)
}

/// Columns, then a bar an image: `#` is app, `=` is base, both as pulled, all bars on one scale.
fn table(rows: &[Row]) -> String {
    let head = [
        "image", "platform", "pull", "app", "base", "unpacked", "update", "budget",
    ];
    let cells: Vec<[String; 8]> = rows
        .iter()
        .map(|row| {
            [
                row.image.clone(),
                row.platform.clone(),
                bytes(row.pull),
                bytes(row.app_compressed),
                bytes(row.base_compressed),
                bytes(row.app_unpacked + row.base_unpacked),
                bytes(row.update),
                row.share().map_or("-".to_owned(), |share| format!("{share} %")),
            ]
        })
        .collect();
    let width = |i: usize| {
        cells
            .iter()
            .map(|row| row[i].len())
            .chain([head[i].len()])
            .max()
            .unwrap_or(0)
    };
    let line = |row: [&str; 8]| {
        let mut text = format!("{:<a$}  {:<b$}", row[0], row[1], a = width(0), b = width(1));
        for (i, cell) in row.iter().enumerate().skip(2) {
            text.push_str(&format!("  {cell:>w$}", w = width(i)));
        }
        text + "\n"
    };
    let mut text = line(head);
    for row in &cells {
        text.push_str(&line(row.each_ref().map(String::as_str)));
    }
    let most = rows.iter().map(|row| row.pull).max().unwrap_or(1).max(1);
    text.push('\n');
    for row in rows {
        let length = |size: u64| usize::try_from((size * 60).div_ceil(most)).unwrap_or(60);
        let bar = format!(
            "{}{}",
            "#".repeat(length(row.app_compressed)),
            "=".repeat(if row.base_compressed == 0 {
                0
            } else {
                length(row.base_compressed)
            })
        );
        text.push_str(&format!("{:<w$}  {bar}\n", row.image, w = width(0)));
    }
    text.push_str("\n# app, = base, as pulled; update: what is pulled when only the app changed; unpacked: bytes of the files in it\n");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(image: &str, app: u64, base: u64, budget: u64) -> Row {
        Row {
            image: image.to_owned(),
            platform: "linux/arm/v6".to_owned(),
            binary: 2 * app,
            app_compressed: app,
            app_unpacked: 2 * app,
            base_compressed: base,
            base_unpacked: 3 * base,
            pull: app + base + 2_000,
            update: app + 2_000,
            budget: Some(budget),
        }
    }

    #[test]
    fn the_table_reads_at_a_glance() {
        let rows = [
            row("scratch-armv6", 880_000, 0, 1_000_000),
            row("debian-armv6", 830_000, 1_590_000, 2_000_000),
        ];
        insta::assert_snapshot!(table(&rows), @r"
        image          platform          pull       app     base  unpacked    update  budget
        scratch-armv6  linux/arm/v6  882.0 kB  880.0 kB      0 B   1.76 MB  882.0 kB    89 %
        debian-armv6   linux/arm/v6   2.42 MB  830.0 kB  1.59 MB   6.43 MB  832.0 kB   122 %

        scratch-armv6  ######################
        debian-armv6   #####################========================================

        # app, = base, as pulled; update: what is pulled when only the app changed; unpacked: bytes of the files in it
        ");
        assert!(rows[1].over() && !rows[0].over());
    }
}
