//! The size report: figures in, JSON, a terminal table and one HTML page out. Pure.
//!
//! [`Report`] is the one truth. It is what `cargo xtask size --json` prints and `--save` keeps; the table and the page show
//! nothing that is not in it. All sizes are bytes. The format is [`SCHEMA`] in [`VERSION`]: fields may be added within a version,
//! and readers ignore those they do not know; a field that goes or changes its meaning makes a new version.

mod budget;
mod deploy;
mod difference;
pub mod history;
mod measure;
mod packages;
mod page;
mod program;
mod stream;
mod table;

use serde::{Deserialize, Serialize};

pub use budget::{Breach, check};
pub use deploy::{Bandwidth, Card, Deploy, Pull, Unpack};
pub use difference::{Change, Difference, ImageDifference, Part, State, compare};
pub use measure::{MeasureError, Subject, measure};
pub use page::page;
pub use program::{Attribution, Owned};
pub use stream::Division;
pub use table::table;

/// `schema` of every report.
pub const SCHEMA: &str = "raspi-image-size";
/// `version` that is written and read.
pub const VERSION: u32 = 1;

/// What images cost.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Always [`SCHEMA`].
    pub schema: String,
    /// Always [`VERSION`].
    pub version: u32,
    /// What the seconds are computed with.
    pub bandwidth: Bandwidth,
    /// The images, what is pulled least first.
    pub images: Vec<ImageSize>,
    /// Against what was named with `--against`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub difference: Option<Difference>,
    /// Budgets that are exceeded; the exit code is then 1.
    #[serde(default)]
    pub over: Vec<Breach>,
}

/// The figures of one image.
///
/// `pull` is `documents` and the `compressed` of all `layers`. The `compressed` of all `shares` of a part add up to that of the
/// part, and so do their `unpacked`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ImageSize {
    /// Its name in the layout (the tag), or the digest.
    pub image: String,
    /// `linux/arm/v6`.
    pub platform: String,
    /// Digest of the manifest.
    pub digest: String,
    /// The base's name, when the image's name begins with it.
    pub base: Option<String>,
    /// Where the base came from, as the image says.
    pub origin: Option<String>,
    /// Version and revision of the source, as the image says.
    pub source: Option<String>,
    /// Bytes that an engine without any of it pulls: manifest, configuration and layers.
    pub pull: u64,
    /// Bytes to pull when only the app changed: manifest, configuration and the app's layers.
    pub update: u64,
    /// Manifest and configuration.
    pub documents: u64,
    /// The layers of the base; all of them when nothing marks where the app begins.
    pub base_size: PartSize,
    /// The layers on top of it.
    pub app_size: PartSize,
    /// `[budget]` for `pull`.
    pub budget: Option<u64>,
    /// Lowest first.
    pub layers: Vec<LayerSize>,
    /// What the bytes of the layers are for, the largest first.
    pub shares: Vec<Share>,
    /// The program that an engine starts, if it is a file.
    pub program: Option<Program>,
    /// What it costs on a Pi.
    pub deploy: Deploy,
}

/// Which layers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PartName {
    /// Those of the base.
    Base,
    /// Those on top of it.
    App,
}

/// Layers together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartSize {
    /// As pulled.
    pub compressed: u64,
    /// Content of the files.
    pub unpacked: u64,
}

/// One layer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LayerSize {
    /// Digest of the blob.
    pub digest: String,
    /// Digest of the tar.
    pub diff_id: String,
    /// Whose it is.
    pub part: PartName,
    /// As pulled.
    pub compressed: u64,
    /// Content of the files, hard links counted once.
    pub unpacked: u64,
    /// Regular files.
    pub files: u64,
    /// How `compressed` was divided among the shares.
    pub division: Division,
}

/// What a share consists of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ShareKind {
    /// The files of a package.
    Package,
    /// Files that no package owns: one file of the app, or a directory of the base.
    Files,
    /// Directories and links that no package owns.
    Links,
    /// The end of the tar, head and end of the compressed stream.
    Framing,
}

/// What bytes of layers are for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Share {
    /// In whose layers.
    pub part: PartName,
    /// What it is.
    pub kind: ShareKind,
    /// Package, path, or a word for the rest.
    pub name: String,
    /// Version of the package.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Entries in the tar.
    pub entries: u64,
    /// As pulled.
    pub compressed: u64,
    /// Content of the files.
    pub unpacked: u64,
}

/// The program. The `bytes` of all `sections` add up to its own, and so do those of all `crates`, if they are known.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Program {
    /// Path in the image.
    pub path: String,
    /// Size of the file.
    pub bytes: u64,
    /// What of its layer's blob it takes.
    pub compressed: u64,
    /// ELF sections, the largest first; empty when it is no ELF file.
    pub sections: Vec<Piece>,
    /// Which crates its code came from.
    pub crates: Crates,
}

/// Crate shares, or why they are not known.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Crates {
    /// The largest first. Names in parentheses are bytes that no symbol names.
    Known(Vec<Piece>),
    /// Why not.
    Unknown(String),
}

/// A part of the program.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Piece {
    /// Section or crate.
    pub name: String,
    /// Bytes in the file.
    pub bytes: u64,
    /// What of the layer's blob they take.
    pub compressed: u64,
}

impl Report {
    /// Sorts the images: what is pulled least first.
    pub fn new(bandwidth: Bandwidth, mut images: Vec<ImageSize>) -> Report {
        images.sort_by(|a, b| (a.pull, &a.image, &a.platform).cmp(&(b.pull, &b.image, &b.platform)));
        Report {
            schema: SCHEMA.to_owned(),
            version: VERSION,
            bandwidth,
            images,
            difference: None,
            over: Vec::new(),
        }
    }

    /// Reads what [`Report::to_json`] wrote. The error says what is wrong with it.
    pub fn from_json(text: &[u8]) -> Result<Report, String> {
        #[derive(Deserialize)]
        struct Head {
            schema: Option<String>,
            version: Option<u32>,
        }
        let head: Head = serde_json::from_slice(text).map_err(|error| error.to_string())?;
        if head.schema.as_deref() != Some(SCHEMA) {
            return Err(format!("it is no size report: its `schema` is not `{SCHEMA}`"));
        }
        if head.version != Some(VERSION) {
            let found = head.version.map_or("missing".to_owned(), |version| version.to_string());
            return Err(format!("its version is {found}, and this program reads {VERSION}"));
        }
        serde_json::from_slice(text).map_err(|error| error.to_string())
    }

    /// JSON for people and programs, with a final newline.
    pub fn to_json(&self) -> Result<String, serde_json::Error> {
        serde_json::to_string_pretty(self).map(|text| text + "\n")
    }
}

impl ImageSize {
    /// Content of all files of all layers.
    pub fn unpacked(&self) -> u64 {
        self.base_size.unpacked + self.app_size.unpacked
    }

    /// Share of the budget in per cent, rounded up, so that 100 is never over.
    pub fn share_of_budget(&self) -> Option<u64> {
        self.budget.map(|budget| (self.pull * 100).div_ceil(budget.max(1)))
    }
}
