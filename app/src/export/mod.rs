//! The whole blog in forms that outlive this program: JSON Lines, Markdown files, and pages that open without a server.
//!
//! Everything is read in one transaction, so an export shows one moment, and in a fixed order, so that the same blog
//! gives the same bytes. What signs somebody in (password, sessions, tokens) is never in it.

pub mod front_matter;
pub mod html;
pub mod jsonl;
pub mod links;
pub mod markdown;

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use diesel::Connection as _;
use diesel::sqlite::SqliteConnection;

use crate::archive::Tree;
use crate::cli::Failure;
use crate::db::queries::transfer;
use crate::domain::hex;
use crate::import::progress::Progress;

/// Posts that are read at once.
const PAGE: i64 = 100;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    Markdown,
    Jsonl,
    Html,
}

impl Format {
    pub fn parse(word: &str) -> Option<Self> {
        match word {
            "markdown" => Some(Self::Markdown),
            "jsonl" => Some(Self::Jsonl),
            "html" => Some(Self::Html),
            _ => None,
        }
    }
}

/// What an export wrote.
#[derive(Debug, Default)]
pub struct Exported {
    pub posts: u64,
    pub images: u64,
    pub files: u64,
    pub bytes: u64,
    /// Hash of `SHA256SUMS`, which stands for everything.
    pub sums: [u8; 32],
    /// Images whose file is missing or damaged. The export has all the rest.
    pub problems: Vec<String>,
}

/// Writes everything as JSON Lines or Markdown; pages are made by `html::run`.
pub fn run(
    connection: &mut SqliteConnection,
    media: &Path,
    to: &Path,
    format: Format,
    progress: &mut Progress,
) -> Result<Exported, Failure> {
    let mut tree = Tree::create(to)?;
    let mut out = Exported::default();
    connection
        .transaction(|connection| {
            match format {
                Format::Markdown => markdown::write(connection, &mut tree, &mut out, progress)?,
                _ => jsonl::write(connection, &mut tree, &mut out, progress)?,
            }
            images(connection, media, &mut tree, &mut out, progress)
        })
        .map_err(|error| match error {
            ExportError::Database(error) => Failure::fatal(format!("cannot read the database: {error}")),
            ExportError::Other(failure) => failure,
        })?;
    (out.files, out.bytes) = (tree.files, tree.bytes);
    out.sums = tree.finish()?;
    Ok(out)
}

/// Why an export stops.
#[derive(Debug)]
pub enum ExportError {
    Database(diesel::result::Error),
    Other(Failure),
}

impl From<diesel::result::Error> for ExportError {
    fn from(error: diesel::result::Error) -> Self {
        Self::Database(error)
    }
}

impl From<Failure> for ExportError {
    fn from(failure: Failure) -> Self {
        Self::Other(failure)
    }
}

/// The file of an image, below the export's top: `media/HASH.jpg`.
pub fn image_name(sha256: &[u8], mime: &str) -> String {
    let extension = match mime {
        "image/jpeg" => "jpg",
        "image/png" => "png",
        _ => "webp",
    };
    format!("media/{}.{extension}", hex::encode(sha256))
}

/// Every image file, under its hash. One that is not what its name says is left out and told.
fn images(
    connection: &mut SqliteConnection,
    media: &Path,
    tree: &mut Tree,
    out: &mut Exported,
    progress: &mut Progress,
) -> Result<(), ExportError> {
    let mut last = 0;
    loop {
        let rows = transfer::media_after(connection, last, PAGE)?;
        let Some((end, _)) = rows.last() else {
            return Ok(());
        };
        last = *end;
        for (_, row) in &rows {
            let name = image_name(&row.sha256, &row.mime);
            let path = media.join(name.trim_start_matches("media/"));
            match crate::backup::hash(&path) {
                Ok(hash) if hash.as_slice() == row.sha256 => {}
                Ok(_) => {
                    out.problems.push(format!("the image {} is damaged", path.display()));
                    continue;
                }
                Err(error) => {
                    out.problems
                        .push(format!("the image {} cannot be read: {error}", path.display()));
                    continue;
                }
            }
            let mut file = File::open(&path)
                .map_err(|error| Failure::fatal(format!("cannot read {}: {error}", path.display())))?;
            tree.add(&name, &mut file, false)?;
            out.images += 1;
            progress.at(out.images, 0);
        }
    }
}

/// Reads from a source that makes its bytes piece by piece. `next` gives an empty piece at the end.
struct Pieces<F> {
    next: F,
    piece: Vec<u8>,
    at: usize,
}

impl<F: FnMut() -> io::Result<Vec<u8>>> Pieces<F> {
    fn new(next: F) -> Self {
        Self {
            next,
            piece: Vec::new(),
            at: 0,
        }
    }
}

impl<F: FnMut() -> io::Result<Vec<u8>>> Read for Pieces<F> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.at == self.piece.len() {
            self.piece = (self.next)()?;
            self.at = 0;
        }
        let count = (&self.piece[self.at..]).read(buffer)?;
        self.at += count;
        Ok(count)
    }
}
