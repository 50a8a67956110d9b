//! Forms with files: fields are read as usual, each file is cleaned and stored as it arrives.

use std::fs::File;
use std::io::{Seek, SeekFrom, Write};
use std::pin::Pin;
use std::time::{Duration, Instant};

use actix_web::http::header;
use actix_web::rt::time::timeout;
use actix_web::web::{self, Bytes};
use actix_web::{HttpMessage, HttpRequest};
use futures_core::Stream;

use super::Form;
use super::multipart::{Event, Malformed, Parser};
use crate::db::models::Medium;
use crate::db::queries;
use crate::domain::Stamp;
use crate::error::AppError;
use crate::media::{Failed, Refused};
use crate::startup::{AppState, state};

/// Files in one form.
pub const MAX_FILES: usize = 8;
/// Fields in one form.
const MAX_FIELDS: usize = 128;
/// A file is written in pieces of at least this size: each piece is one trip to another thread.
const PIECE: usize = 128 * 1024;
/// What a slow circuit brings at least, in bytes a second: less is somebody who holds a connection.
const SLOWEST: u64 = 2048;

/// A file of a form: stored, or why not.
#[derive(Debug)]
pub struct Upload {
    /// What the sender calls it, for messages only.
    pub name: String,
    pub outcome: Result<Medium, Refused>,
}

/// Whether the files of a form are to be stored; asked once, with the fields that stand before the first file.
pub type Gate<'a> = Box<dyn Fn(&Form) -> bool + 'a>;

/// Whether the request says that it is such a form.
pub fn is_multipart(request: &HttpRequest) -> bool {
    request.content_type().eq_ignore_ascii_case("multipart/form-data")
}

/// Reads the whole form. Files are stored when `gate` lets them; else they are read over, so that the caller can answer
/// with what was typed.
///
/// # Errors
/// `NotAForm`, `BadRequest`, `TooLarge`, `TooSlow`; `ReadOnly` when the disk does not take a file.
pub async fn receive(
    request: &HttpRequest,
    payload: web::Payload,
    gate: Gate<'_>,
) -> Result<(Form, Vec<Upload>), AppError> {
    let kind = request
        .headers()
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok());
    let parser = kind.and_then(Parser::new).ok_or(AppError::NotAForm)?;
    let state = state(request)?;
    // Room for every file, and for one that is too large to be noticed as such.
    let room = state.limits.form_bytes as u64 + (MAX_FILES as u64 + 1) * state.media.limits.bytes;
    let announced = request.headers().get(header::CONTENT_LENGTH);
    let announced = announced.and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if announced.is_some_and(|announced| announced > room) {
        return Err(AppError::TooLarge);
    }
    let receiver = Receiver {
        state,
        gate,
        room,
        text: state.limits.form_bytes,
        form: Form::default(),
        uploads: Vec::new(),
        part: Part::Ignored,
        open: None,
    };
    receiver.run(parser, payload).await
}

struct Receiver<'a> {
    state: &'a AppState,
    gate: Gate<'a>,
    /// Bytes that may still arrive, in all and in fields.
    room: u64,
    text: usize,
    form: Form,
    uploads: Vec<Upload>,
    part: Part,
    /// What the gate said.
    open: Option<bool>,
}

/// Where the bytes of the present part go.
enum Part {
    Field { name: String, value: Vec<u8> },
    File(Incoming),
    Ignored,
}

struct Incoming {
    name: String,
    file: File,
    bytes: u64,
    /// Not written yet.
    pending: Vec<u8>,
}

impl Receiver<'_> {
    async fn run(mut self, mut parser: Parser, mut payload: web::Payload) -> Result<(Form, Vec<Upload>), AppError> {
        let malformed = |Malformed| AppError::BadRequest;
        // A circuit may be silent for as long as a form may take, and in all for that and what its bytes need.
        let (patience, started) = (self.state.limits.body_time, Instant::now());
        let mut received = 0;
        loop {
            while let Some(event) = parser.event().map_err(malformed)? {
                match event {
                    Event::Part { name, file } => self.begin(name, file).await?,
                    Event::Data(bytes) => self.take(bytes).await?,
                    Event::PartEnd => self.finish().await?,
                    // Fields that open the gate after the files would lose them silently.
                    Event::End if self.open == Some(false) && (self.gate)(&self.form) => {
                        return Err(AppError::BadRequest);
                    }
                    Event::End => return Ok((self.form, self.uploads)),
                }
            }
            let end = patience + Duration::from_secs(received / SLOWEST);
            let left = end.saturating_sub(started.elapsed()).min(patience);
            let bytes = match timeout(left, piece(&mut payload)).await {
                Ok(Some(Ok(bytes))) => bytes,
                // It ends before its last boundary.
                Ok(Some(Err(_)) | None) => return Err(AppError::BadRequest),
                Err(_) => return Err(AppError::TooSlow),
            };
            received += bytes.len() as u64;
            self.room = self.room.checked_sub(bytes.len() as u64).ok_or(AppError::TooLarge)?;
            parser.feed(&bytes);
        }
    }

    async fn begin(&mut self, name: String, file: Option<String>) -> Result<(), AppError> {
        self.part = match file {
            None => {
                if self.form.len() >= MAX_FIELDS {
                    return Err(AppError::TooLarge);
                }
                let value = Vec::new();
                Part::Field { name, value }
            }
            // A file field that was left empty.
            Some(name) if name.is_empty() => Part::Ignored,
            Some(name) => {
                let open = *self.open.get_or_insert_with(|| (self.gate)(&self.form));
                if self.uploads.len() >= MAX_FILES {
                    return Err(AppError::TooLarge);
                }
                if open {
                    let store = self.state.media.clone();
                    Part::File(Incoming {
                        name: shown(&name),
                        file: web::block(move || store.incoming())
                            .await?
                            .map_err(|error| self.state.db.file_error(error))?,
                        bytes: 0,
                        pending: Vec::new(),
                    })
                } else {
                    Part::Ignored
                }
            }
        };
        Ok(())
    }

    async fn take(&mut self, bytes: Vec<u8>) -> Result<(), AppError> {
        match &mut self.part {
            Part::Ignored => {}
            Part::Field { value, .. } => {
                self.text = self.text.checked_sub(bytes.len()).ok_or(AppError::TooLarge)?;
                value.extend(bytes);
            }
            Part::File(incoming) => {
                incoming.bytes += bytes.len() as u64;
                // What is over the limit is counted and thrown away.
                if incoming.bytes <= self.state.media.limits.bytes {
                    incoming.pending.extend(bytes);
                    if incoming.pending.len() >= PIECE {
                        incoming.write(self.state).await?;
                    }
                }
            }
        }
        Ok(())
    }

    async fn finish(&mut self) -> Result<(), AppError> {
        match std::mem::replace(&mut self.part, Part::Ignored) {
            Part::Ignored => {}
            Part::Field { name, value } => self.form.push(name, String::from_utf8_lossy(&value).into_owned()),
            Part::File(mut incoming) => {
                let limit = self.state.media.limits.bytes;
                let outcome = if incoming.bytes > limit {
                    let bytes = incoming.bytes;
                    Err(Refused::TooManyBytes { bytes, limit })
                } else {
                    incoming.write(self.state).await?;
                    keep(self.state, incoming.file).await?
                };
                let name = incoming.name;
                self.uploads.push(Upload { name, outcome });
            }
        }
        Ok(())
    }
}

impl Incoming {
    async fn write(&mut self, state: &AppState) -> Result<(), AppError> {
        let failed = |error| state.db.file_error(error);
        let mut file = self.file.try_clone().map_err(failed)?;
        let bytes = std::mem::take(&mut self.pending);
        web::block(move || file.write_all(&bytes)).await?.map_err(failed)
    }
}

/// Cleans the image in `file`, gives it its name, and makes its row. Nothing is left of one that is refused.
///
/// # Errors
/// `ReadOnly`, when the disk or the database does not take it.
pub async fn keep(state: &AppState, mut file: File) -> Result<Result<Medium, Refused>, AppError> {
    let store = state.media.clone();
    let cleaned = web::block(move || {
        file.seek(SeekFrom::Start(0))?;
        store.clean(file)
    });
    let ready = match cleaned.await? {
        Ok(ready) => ready,
        Err(Failed::Refused(refused)) => return Ok(Err(refused)),
        Err(Failed::Io(error)) => return Err(state.db.file_error(error)),
    };
    let store = state.media.clone();
    let stored = state.db.write(move |connection| match store.publish(&ready) {
        Ok(()) => queries::media::insert(connection, &ready, Stamp::now()).map(Ok),
        Err(error) => Ok(Err(error)),
    });
    stored.await?.map(Ok).map_err(|error| state.db.file_error(error))
}

/// The next bytes of the body.
async fn piece(payload: &mut web::Payload) -> Option<Result<Bytes, actix_web::error::PayloadError>> {
    std::future::poll_fn(|context| Pin::new(&mut *payload).poll_next(context)).await
}

/// The last part of what a file is called, not longer than a line.
fn shown(name: &str) -> String {
    let name = name.rsplit(['/', '\\']).next().unwrap_or_default();
    name.chars().filter(|c| !c.is_control()).take(80).collect()
}
