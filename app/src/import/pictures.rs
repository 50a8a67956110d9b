//! Images that come with an import: they go through the same hands as those that are uploaded, so nothing gets in that
//! is not a picture and nothing stays in that is not seen.

use std::io::{self, Cursor};

use crate::archive::Archive;
use crate::cli::Failure;
use crate::db::queries::transfer::MediaRow;
use crate::domain::Stamp;
use crate::media::{Failed, Limits, Store, sanitise};
use crate::settings::Media;

/// Takes images in.
#[derive(Debug)]
pub struct Pictures {
    /// `None`: they are looked at, and none is kept.
    store: Option<Store>,
    limits: Limits,
}

impl Pictures {
    pub fn new(settings: &Media, dry_run: bool) -> Result<Self, Failure> {
        Ok(Self {
            store: if dry_run { None } else { Some(settings.open()?) },
            limits: settings.limits,
        })
    }

    /// Takes a file of the archive in. The inner `Err` says why it is no image for the blog. Called inside the
    /// transaction that inserts the row.
    pub fn take(&self, archive: &Archive, name: &str, now: Stamp) -> Result<Result<MediaRow, String>, Failure> {
        let Some(size) = archive.size(name)? else {
            return Ok(Err("there is no such file".to_owned()));
        };
        if size > self.limits.bytes {
            return Ok(Err(format!(
                "it has {size} bytes; at most {} are accepted",
                self.limits.bytes
            )));
        }
        let bytes = archive.bytes(name, self.limits.bytes)?;
        let input = Cursor::new(&bytes);
        let taken = match &self.store {
            None => sanitise(input, &mut io::sink(), &self.limits).map(|picture| ([0; 32], picture, size)),
            Some(store) => store.clean(input).and_then(|ready| {
                store.publish(&ready)?;
                Ok((ready.hash, ready.picture, ready.bytes))
            }),
        };
        match taken {
            Ok((hash, picture, bytes)) => Ok(Ok(MediaRow {
                sha256: hash.to_vec(),
                mime: picture.format.mime().to_owned(),
                width: i64::from(picture.width),
                height: i64::from(picture.height),
                bytes: i64::try_from(bytes).unwrap_or(i64::MAX),
                created_at: now.0,
            })),
            Err(Failed::Refused(why)) => Ok(Err(why.to_string())),
            Err(Failed::Io(error)) => {
                let hint = match error.kind() {
                    io::ErrorKind::StorageFull => "what was imported so far is kept; make room and run it again",
                    _ => "the media directory must be writable for the user that runs the blog",
                };
                Err(Failure::usage(format!("cannot store the image {name}: {error}"), hint))
            }
        }
    }
}
