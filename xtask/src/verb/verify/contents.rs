//! A store as the pure checks read it.

use std::io;

use crate::oci::Digest;
use crate::oci::layout::BlobStore;
use crate::source::Store;
use crate::source::stream::decompress;
use crate::verify::stored::Contents;

/// A store that is read and not believed.
pub(super) struct Read<'a>(pub &'a Store);

impl Contents for Read<'_> {
    fn index(&self) -> Vec<u8> {
        // It was read when the store was opened.
        self.0.index().unwrap_or_default()
    }

    fn read(&self, digest: &Digest) -> Result<Box<dyn io::Read + '_>, String> {
        self.0.read(digest)
    }

    fn unpack<'a>(&self, reader: Box<dyn io::Read + 'a>) -> io::Result<Box<dyn io::Read + 'a>> {
        decompress(reader)
    }
}
