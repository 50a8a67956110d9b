//! What changed since an earlier report.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::{Crates, ImageSize, PartName, Report, ShareKind};

/// Two reports compared.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Difference {
    /// What it was compared with, as it was named.
    pub against: String,
    /// In the order of the report; those that are gone at the end.
    pub images: Vec<ImageDifference>,
}

/// What became of an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// The same digest.
    Same,
    /// Another digest.
    Changed,
    /// It was not there.
    New,
    /// It is no longer there.
    Gone,
}

/// One image. Images are the same when name and platform are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageDifference {
    /// Its name.
    pub image: String,
    /// Its platform.
    pub platform: String,
    /// What became of it.
    pub state: State,
    /// Everything whose figure changed: first the totals, then what grew most.
    pub changes: Vec<Change>,
}

/// What a figure counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Part {
    /// The image: `pull`, `update` or `unpacked`.
    Total,
    /// What a package or files take of the pull.
    Share,
    /// Bytes of an ELF section of the program.
    Section,
    /// Bytes of a crate in the program.
    Crate,
}

/// One figure, before and now. Absent is 0.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// What it counts.
    pub part: Part,
    /// Of what.
    pub name: String,
    /// Bytes then.
    pub before: u64,
    /// Bytes now.
    pub after: u64,
}

impl Change {
    /// Bytes more, or fewer.
    pub fn growth(&self) -> i64 {
        let bytes = |size: u64| i64::try_from(size).unwrap_or(i64::MAX);
        bytes(self.after) - bytes(self.before)
    }
}

/// What a decompressor reads ahead differs from build to build: a share that differs by less did not change.
const NOISE: u64 = 16;

/// Compares what is now with what was then. Images that are gone are named when `gone` says so: when not all of what there
/// is was measured, their absence says nothing.
pub fn compare(now: &Report, then: &Report, against: &str, gone: bool) -> Difference {
    let key = |image: &ImageSize| (image.image.clone(), image.platform.clone());
    let old: BTreeMap<_, &ImageSize> = then.images.iter().map(|image| (key(image), image)).collect();
    let there: BTreeSet<_> = now.images.iter().map(key).collect();
    let difference = |image: &ImageSize, state, changes| ImageDifference {
        image: image.image.clone(),
        platform: image.platform.clone(),
        state,
        changes,
    };
    let mut images: Vec<ImageDifference> = now
        .images
        .iter()
        .map(|image| match old.get(&key(image)) {
            None => difference(image, State::New, Vec::new()),
            Some(before) if before.digest == image.digest => difference(image, State::Same, Vec::new()),
            Some(before) => difference(image, State::Changed, changes(before, image)),
        })
        .collect();
    let missing = old.iter().filter(|(key, _)| gone && !there.contains(*key));
    images.extend(missing.map(|(_, image)| difference(image, State::Gone, Vec::new())));
    Difference {
        against: against.to_owned(),
        images,
    }
}

type Figures = BTreeMap<(Part, String), u64>;

/// Shares of the base and of the app that have one name are one figure, unless they are the rest of both.
fn figures(image: &ImageSize) -> Figures {
    let mut figures = Figures::new();
    for share in &image.shares {
        let name = match share.kind {
            ShareKind::Package | ShareKind::Files => share.name.clone(),
            ShareKind::Links | ShareKind::Framing if share.part == PartName::Base => format!("base: {}", share.name),
            ShareKind::Links | ShareKind::Framing => format!("app: {}", share.name),
        };
        *figures.entry((Part::Share, name)).or_default() += share.compressed;
    }
    for section in image.program.iter().flat_map(|program| &program.sections) {
        *figures.entry((Part::Section, section.name.clone())).or_default() += section.bytes;
    }
    figures
}

fn crates(image: &ImageSize) -> Option<Figures> {
    match &image.program.as_ref()?.crates {
        Crates::Known(pieces) => Some(
            pieces
                .iter()
                .map(|piece| ((Part::Crate, piece.name.clone()), piece.bytes))
                .collect(),
        ),
        Crates::Unknown(_) => None,
    }
}

fn changes(before: &ImageSize, after: &ImageSize) -> Vec<Change> {
    let totals = |image: &ImageSize| {
        [
            ("pull", image.pull),
            ("update", image.update),
            ("unpacked", image.unpacked()),
        ]
    };
    let mut all: Vec<Change> = totals(before)
        .into_iter()
        .zip(totals(after))
        .map(|((name, before), (_, after))| Change {
            part: Part::Total,
            name: name.to_owned(),
            before,
            after,
        })
        .collect();
    let (mut old, mut new) = (figures(before), figures(after));
    // Where one side does not know its crates, that is no growth of any.
    if let (Some(before), Some(after)) = (crates(before), crates(after)) {
        old.extend(before);
        new.extend(after);
    }
    let mut parts: Vec<Change> = old
        .keys()
        .chain(new.keys())
        .collect::<BTreeSet<_>>()
        .into_iter()
        .map(|key| Change {
            part: key.0,
            name: key.1.clone(),
            before: old.get(key).copied().unwrap_or(0),
            after: new.get(key).copied().unwrap_or(0),
        })
        .collect();
    parts.retain(|change| {
        let both = change.before > 0 && change.after > 0;
        !(change.part == Part::Share && both && change.before.abs_diff(change.after) <= NOISE)
    });
    parts.sort_by(|a, b| (b.growth(), a.part, &a.name).cmp(&(a.growth(), b.part, &b.name)));
    all.extend(parts);
    all.retain(|change| change.before != change.after);
    all
}
