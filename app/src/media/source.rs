//! Reading an image piece by piece: every read may meet the end of the file, and says so.

use std::io::{BufRead, BufReader, Read, Seek, SeekFrom, Write};

use super::{Failed, Refused};

/// The file that is taken apart.
#[derive(Debug)]
pub struct Source<R>(BufReader<R>);

impl<R: Read + Seek> Source<R> {
    pub fn new(input: R) -> Self {
        Self(BufReader::with_capacity(16 * 1024, input))
    }

    /// The bytes at hand, at least one.
    pub fn buffered(&mut self) -> Result<&[u8], Failed> {
        let bytes = self.0.fill_buf()?;
        if bytes.is_empty() {
            return Err(Refused::Truncated.into());
        }
        Ok(bytes)
    }

    /// Goes on by `count` of the bytes at hand.
    pub fn consume(&mut self, count: usize) {
        self.0.consume(count);
    }

    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], Failed> {
        let mut bytes = [0; N];
        self.fill(&mut bytes)?;
        Ok(bytes)
    }

    pub fn byte(&mut self) -> Result<u8, Failed> {
        self.array::<1>().map(|[byte]| byte)
    }

    /// `length` bytes. Callers bound it: it is what a file claims.
    pub fn bytes(&mut self, length: usize) -> Result<Vec<u8>, Failed> {
        let mut bytes = vec![0; length];
        self.fill(&mut bytes)?;
        Ok(bytes)
    }

    fn fill(&mut self, bytes: &mut [u8]) -> Result<(), Failed> {
        self.0.read_exact(bytes).map_err(|error| match error.kind() {
            std::io::ErrorKind::UnexpectedEof => Refused::Truncated.into(),
            _ => Failed::Io(error),
        })
    }

    /// Hands the next `length` bytes to `each`, in pieces.
    pub fn pass(&mut self, length: u64, mut each: impl FnMut(&[u8]) -> Result<(), Failed>) -> Result<(), Failed> {
        let mut left = length;
        while left > 0 {
            let bytes = self.buffered()?;
            let count = usize::try_from(left).map_or(bytes.len(), |left| left.min(bytes.len()));
            each(&bytes[..count])?;
            self.consume(count);
            left -= count as u64;
        }
        Ok(())
    }

    pub fn copy<W: Write>(&mut self, length: u64, out: &mut W) -> Result<(), Failed> {
        self.pass(length, |bytes| Ok(out.write_all(bytes)?))
    }

    /// Reads over `length` bytes: to jump would not notice that the file ends before.
    pub fn skip(&mut self, length: u64) -> Result<(), Failed> {
        self.pass(length, |_| Ok(()))
    }

    pub fn seek(&mut self, at: u64) -> Result<(), Failed> {
        self.0.seek(SeekFrom::Start(at))?;
        Ok(())
    }
}
