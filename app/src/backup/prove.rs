//! A backup is a backup once it was restored: it is put into a directory of its own, opened as the blog opens its
//! database, and looked at.

use std::fs::{self, DirBuilder};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use crate::cli::Failure;
use crate::db::queries::{integrity, reading};
use crate::db::{connection, migrate};
use crate::domain::{hex, random};

/// What was seen in a backup that works.
#[derive(Debug)]
pub struct Proof {
    /// Rows of every table.
    counts: Vec<(String, i64)>,
    pub images: Vec<Image>,
}

/// An image that a database knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    pub sha256: [u8; 32],
    /// In the media directory.
    pub file: String,
}

impl Image {
    /// From its row; `None` for a row that no image can have.
    pub fn of(row: &integrity::Image) -> Option<Self> {
        let sha256: [u8; 32] = row.sha256.as_slice().try_into().ok()?;
        let extension = match row.mime.as_str() {
            "image/jpeg" => "jpg",
            "image/png" => "png",
            "image/webp" => "webp",
            _ => return None,
        };
        Some(Self {
            sha256,
            file: format!("{}.{extension}", hex::encode(&sha256)),
        })
    }
}

impl Proof {
    pub fn count(&self, table: &str) -> i64 {
        let found = self.counts.iter().find(|(name, _)| name == table);
        found.map_or(0, |(_, count)| *count)
    }

    /// Whether the copy has as many rows as its source had: table, least, most.
    pub fn compare(&self, source: &[(String, i64, i64)]) -> Result<(), Failure> {
        for (table, least, most) in source {
            let count = self.count(table);
            // The list of migrations may have grown by those that the restored copy was brought up to date with.
            if !(*least..=*most).contains(&count) && table != "__diesel_schema_migrations" {
                return Err(Failure::usage(
                    format!("the copy has {count} rows in {table}, the database {least} to {most}"),
                    "nothing was kept of it; try again, and look at `blog check`",
                ));
            }
        }
        Ok(())
    }
}

/// Restores `database` into a new directory in `place`, opens it there and reads it. Removes that directory again.
pub fn prove(database: &Path, place: &Path) -> Result<Proof, Failure> {
    let shown = database.display();
    let token = random::bytes::<8>().map_err(|error| Failure::fatal(error.to_string()))?;
    let directory = Directory(place.join(format!(".proof-{}", hex::encode(&token))));
    let copy = directory.0.join("blog.db");
    DirBuilder::new()
        .mode(0o700)
        .create(&directory.0)
        .and_then(|()| fs::copy(database, &copy).map(|_| ()))
        .map_err(|error| super::cannot_write(place, &error))?;

    let path = copy.to_string_lossy().into_owned();
    let bad = |problem: String| {
        Failure::usage(
            format!("{shown} cannot be restored: {problem}"),
            "it is not used; `blog check` tells whether the database itself is sound",
        )
    };
    // What a restored blog does first.
    let mut opened = connection::writer(&path).map_err(|failure| bad(failure.message))?;
    let asked = |error: diesel::result::Error| bad(error.to_string());
    let damage = integrity::damage(&mut opened).map_err(asked)?;
    if let Some(first) = damage.first() {
        return Err(bad(format!("integrity_check says: {first}")));
    }
    if let Some(first) = integrity::dangling(&mut opened).map_err(asked)?.first() {
        return Err(bad(first.clone()));
    }
    migrate::run(&mut opened, &path).map_err(|failure| bad(failure.message))?;
    reading::page(&mut opened, reading::Span::ALWAYS, None, 20).map_err(asked)?;
    let counts = integrity::counts(&mut opened).map_err(asked)?;
    let mut images = Vec::new();
    let mut last = 0;
    loop {
        let rows = integrity::images(&mut opened, last, 500).map_err(asked)?;
        let Some(end) = rows.last() else { break };
        last = end.id;
        images.extend(rows.iter().filter_map(Image::of));
    }
    Ok(Proof { counts, images })
}

/// A directory that goes away with everything in it.
struct Directory(PathBuf);

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
