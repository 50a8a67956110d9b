//! Budgets: what exceeds one, and what made it grow.

use std::fmt::Write;

use serde::{Deserialize, Serialize};

use super::table::plain;
use super::{Crates, Difference, ImageSize, Part};
use crate::policy::Budget;
use crate::units::bytes;

/// How many reasons a message names.
const REASONS: usize = 3;

/// A figure over its budget, or a budget that could not be checked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Breach {
    /// The image.
    pub image: String,
    /// Its platform.
    pub platform: String,
    /// The key in `[budget]`: `pull`, `app`, `crates.diesel`.
    pub key: String,
    /// The figure; none when the image has nothing of that name, or it is not known.
    pub size: Option<u64>,
    /// What it may be.
    pub budget: u64,
    /// A sentence that says so, and what grew most or weighs most.
    pub message: String,
}

/// Holds an image against a budget. Fails closed: a budget for what is not there is a breach, like one that is exceeded.
pub fn check(image: &ImageSize, budget: &Budget, difference: Option<&Difference>) -> Vec<Breach> {
    let mut breaches = Vec::new();
    let mut hold = |key: String, limit: u64, size: Result<u64, String>, part: Part, inside: &dyn Fn(&str) -> bool| {
        let message = match &size {
            Ok(size) if *size <= limit => return,
            Ok(size) => {
                // The budget for the whole is the one that everybody knows; it needs no key.
                let what = match key.as_str() {
                    "pull" => format!("{} is", image.image),
                    key => format!("{}: {key} is", image.image),
                };
                let over = bytes(size - limit);
                let limit = bytes(limit);
                format!(
                    "{what} {over} over its budget of {limit} (xtask.toml, [budget]){}",
                    reasons(image, difference, part, inside)
                )
            }
            Err(reason) => format!(
                "{}: the budget for {key} cannot be checked: {reason} (xtask.toml, [budget])",
                image.image
            ),
        };
        breaches.push(Breach {
            image: image.image.clone(),
            platform: image.platform.clone(),
            key,
            size: size.ok(),
            budget: limit,
            message: plain(&message),
        });
    };
    let all = |_: &str| true;
    hold("pull".to_owned(), budget.pull, Ok(image.pull), Part::Share, &all);
    let parts = [
        ("app", budget.app, image.app_size.compressed),
        ("base", budget.base, image.base_size.compressed),
        ("unpacked", budget.unpacked, image.unpacked()),
    ];
    for (key, limit, size) in parts {
        if let Some(limit) = limit {
            let of_part = |name: &str| match key {
                "unpacked" => true,
                key => image.shares.iter().any(|share| {
                    let part = if share.part == super::PartName::App {
                        "app"
                    } else {
                        "base"
                    };
                    share.name == name && part == key
                }),
            };
            hold(key.to_owned(), limit, Ok(size), Part::Share, &of_part);
        }
    }
    if let Some(limit) = budget.program {
        let size = image.program.as_ref().map(|program| program.bytes);
        hold(
            "program".to_owned(),
            limit,
            size.ok_or("the image has no program".to_owned()),
            Part::Crate,
            &all,
        );
    }
    for (name, limit) in &budget.packages {
        let found = image
            .shares
            .iter()
            .filter(|share| share.version.is_some() && share.name == *name);
        let sizes: Vec<u64> = found.map(|share| share.compressed).collect();
        let size = match sizes[..] {
            [] => Err(format!("there is no package {name} in the image")),
            _ => Ok(sizes.iter().sum()),
        };
        hold(format!("packages.{name}"), *limit, size, Part::Share, &|other| {
            other == name
        });
    }
    for (name, limit) in &budget.crates {
        let size = match image.program.as_ref().map(|program| &program.crates) {
            None => Err("the image has no program".to_owned()),
            Some(Crates::Unknown(reason)) => Err(reason.clone()),
            Some(Crates::Known(pieces)) => pieces
                .iter()
                .find(|piece| piece.name == *name)
                .map(|piece| piece.bytes)
                .ok_or_else(|| format!("nothing of a crate {name} is in the program")),
        };
        hold(format!("crates.{name}"), *limit, size, Part::Crate, &|other| {
            other == name
        });
    }
    breaches
}

/// What grew most since the earlier report; without one, or when nothing grew, what weighs most.
fn reasons(image: &ImageSize, difference: Option<&Difference>, part: Part, inside: &dyn Fn(&str) -> bool) -> String {
    let mut text = String::new();
    let same = |other: &&super::ImageDifference| other.image == image.image && other.platform == image.platform;
    if let Some(difference) = difference
        && let Some(found) = difference.images.iter().find(same)
    {
        let grown = found
            .changes
            .iter()
            .filter(|change| change.part == part && change.growth() > 0 && inside(&change.name))
            .take(REASONS);
        let grown: Vec<String> = grown
            .map(|change| format!("{} by {}", change.name, bytes(change.growth().unsigned_abs())))
            .collect();
        if !grown.is_empty() {
            let _ = write!(text, "; since {} grew {}", difference.against, grown.join(", "));
            return text;
        }
    }
    let mut largest: Vec<(&str, u64)> = match (part, image.program.as_ref().map(|program| &program.crates)) {
        (Part::Crate, Some(Crates::Known(pieces))) => pieces.iter().map(|piece| (&*piece.name, piece.bytes)).collect(),
        (Part::Crate, _) => Vec::new(),
        _ => image
            .shares
            .iter()
            .map(|share| (&*share.name, share.compressed))
            .collect(),
    };
    largest.retain(|(name, _)| inside(name));
    largest.sort_by(|a, b| (b.1, a.0).cmp(&(a.1, b.0)));
    // One thing that is itself over needs no list of itself.
    if largest.len() > 1 {
        let largest: Vec<String> = largest
            .iter()
            .take(REASONS)
            .map(|(name, size)| format!("{name} {}", bytes(*size)))
            .collect();
        let _ = write!(text, "; largest: {}", largest.join(", "));
    }
    text
}
