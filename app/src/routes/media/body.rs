//! A file as the body of a response, read in small pieces: however large it is, it takes little memory.

use std::fs::File;
use std::future::Future;
use std::io::{self, Read};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use actix_web::body::{BodySize, MessageBody};
use actix_web::error::BlockingError;
use actix_web::web::{self, Bytes};

const PIECE: usize = 32 * 1024;

type Reading = Pin<Box<dyn Future<Output = Result<io::Result<(File, Vec<u8>)>, BlockingError>>>>;

/// Exactly `left` bytes of a file.
pub struct FileBody {
    left: u64,
    file: Option<File>,
    reading: Option<Reading>,
}

impl std::fmt::Debug for FileBody {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FileBody").field("left", &self.left).finish()
    }
}

impl FileBody {
    pub fn new(file: File, length: u64) -> Self {
        Self {
            left: length,
            file: Some(file),
            reading: None,
        }
    }
}

impl MessageBody for FileBody {
    type Error = Box<dyn std::error::Error>;

    fn size(&self) -> BodySize {
        BodySize::Sized(self.left)
    }

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, Self::Error>>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        let piece = usize::try_from(self.left).unwrap_or(PIECE).min(PIECE);
        let this = &mut *self;
        if let Some(mut file) = this.file.take() {
            // Off the event loop: an SD card may take its time.
            this.reading = Some(Box::pin(web::block(move || {
                let mut bytes = vec![0; piece];
                file.read_exact(&mut bytes)?;
                Ok((file, bytes))
            })));
        }
        let Some(reading) = this.reading.as_mut() else {
            return Poll::Ready(None);
        };
        let answer = ready!(reading.as_mut().poll(context));
        this.reading = None;
        match answer {
            Ok(Ok((file, bytes))) => {
                this.left -= bytes.len() as u64;
                this.file = Some(file);
                Poll::Ready(Some(Ok(bytes.into())))
            }
            // The connection is closed: the reader sees that bytes are missing.
            Ok(Err(error)) => Poll::Ready(Some(Err(error.into()))),
            Err(error) => Poll::Ready(Some(Err(error.into()))),
        }
    }
}
