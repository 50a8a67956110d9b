//! Writing a zip in one pass, to anything that takes bytes. Times and attributes are constants, so that the same files
//! give the same zip.

use std::io::{self, Read, Write};

use flate2::Compression;
use flate2::write::DeflateEncoder;

use crate::domain::crc::Crc;

/// 1980-01-01, the first day that the format knows.
const DATE: u16 = 1 << 5 | 1;
/// Sizes follow the content (bit 3), the name is UTF-8 (bit 11).
const FLAGS: u16 = 1 << 3 | 1 << 11;
/// Zip64.
const NEEDS: u16 = 45;
/// Made on Unix, a plain file that its owner may write.
const MADE_BY: u16 = 3 << 8 | NEEDS;
const MODE: u32 = 0o100_644 << 16;

#[derive(Debug)]
pub struct Zip<W: Write> {
    out: Count<W>,
    entries: Vec<Entry>,
}

#[derive(Debug)]
struct Entry {
    name: String,
    header: u64,
    packed: u64,
    size: u64,
    crc: u32,
    method: u16,
}

impl<W: Write> Zip<W> {
    pub fn new(out: W) -> Self {
        Self {
            out: Count { out, written: 0 },
            entries: Vec::new(),
        }
    }

    /// Adds a file. `packed` is for text; images are stored as they are.
    pub fn add(&mut self, name: &str, content: &mut dyn Read, packed: bool) -> io::Result<()> {
        let header = self.out.written;
        let method = if packed { 8 } else { 0 };
        let mut head = Vec::new();
        head.extend(b"PK\x03\x04");
        for value in [NEEDS, FLAGS, method, 0, DATE] {
            head.extend(value.to_le_bytes());
        }
        // Check sum and sizes come later; all ones and the extra field announce that the sizes will have 64 bits.
        head.extend(0_u32.to_le_bytes());
        head.extend([0xff; 8]);
        head.extend(length(name)?.to_le_bytes());
        head.extend(20_u16.to_le_bytes());
        head.extend(name.as_bytes());
        head.extend([1, 0, 16, 0]);
        head.extend([0; 16]);
        self.out.write_all(&head)?;

        let start = self.out.written;
        let mut crc = Crc::new();
        let size = if packed {
            let mut encoder = DeflateEncoder::new(&mut self.out, Compression::new(6));
            let size = copy(content, &mut encoder, &mut crc)?;
            encoder.finish()?;
            size
        } else {
            copy(content, &mut self.out, &mut crc)?
        };
        let entry = Entry {
            name: name.to_owned(),
            header,
            packed: self.out.written - start,
            size,
            crc: crc.value(),
            method,
        };
        let mut tail = Vec::new();
        tail.extend(b"PK\x07\x08");
        tail.extend(entry.crc.to_le_bytes());
        tail.extend(entry.packed.to_le_bytes());
        tail.extend(entry.size.to_le_bytes());
        self.out.write_all(&tail)?;
        self.entries.push(entry);
        Ok(())
    }

    /// Writes the list of files and gives back what was written to.
    pub fn finish(mut self) -> io::Result<W> {
        let start = self.out.written;
        for entry in &self.entries {
            let mut row = Vec::new();
            row.extend(b"PK\x01\x02");
            for value in [MADE_BY, NEEDS, FLAGS, entry.method, 0, DATE] {
                row.extend(value.to_le_bytes());
            }
            row.extend(entry.crc.to_le_bytes());
            row.extend([0xff; 8]);
            row.extend(length(&entry.name)?.to_le_bytes());
            row.extend(28_u16.to_le_bytes());
            row.extend([0; 6]);
            row.extend(MODE.to_le_bytes());
            row.extend([0xff; 4]);
            row.extend(entry.name.as_bytes());
            row.extend([1, 0, 24, 0]);
            for value in [entry.size, entry.packed, entry.header] {
                row.extend(value.to_le_bytes());
            }
            self.out.write_all(&row)?;
        }
        let (end, count) = (self.out.written, self.entries.len() as u64);
        let mut tail = Vec::new();
        tail.extend(b"PK\x06\x06");
        tail.extend(44_u64.to_le_bytes());
        tail.extend(MADE_BY.to_le_bytes());
        tail.extend(NEEDS.to_le_bytes());
        tail.extend([0; 8]);
        for value in [count, count, end - start, start] {
            tail.extend(value.to_le_bytes());
        }
        tail.extend(b"PK\x06\x07");
        tail.extend(0_u32.to_le_bytes());
        tail.extend(end.to_le_bytes());
        tail.extend(1_u32.to_le_bytes());
        tail.extend(b"PK\x05\x06");
        tail.extend([0; 4]);
        // All ones: see the 64-bit record.
        tail.extend([0xff; 12]);
        tail.extend([0; 2]);
        self.out.write_all(&tail)?;
        self.out.flush()?;
        Ok(self.out.out)
    }
}

fn length(name: &str) -> io::Result<u16> {
    u16::try_from(name.len()).map_err(|_| io::Error::new(io::ErrorKind::InvalidInput, "a name is too long for a zip"))
}

fn copy(content: &mut dyn Read, out: &mut impl Write, crc: &mut Crc) -> io::Result<u64> {
    let mut buffer = vec![0; 64 << 10];
    let mut size = 0;
    loop {
        let count = content.read(&mut buffer)?;
        if count == 0 {
            return Ok(size);
        }
        crc.add(&buffer[..count]);
        out.write_all(&buffer[..count])?;
        size += count as u64;
    }
}

/// Knows how far it has come: the output need not be a file.
#[derive(Debug)]
struct Count<W> {
    out: W,
    written: u64,
}

impl<W: Write> Write for Count<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.out.write(bytes)?;
        self.written += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::io::Seek;
    use std::process::Command;

    use super::*;
    use crate::archive::unzip::Unzip;

    fn made(files: &[(&str, &[u8], bool)]) -> Vec<u8> {
        let mut zip = Zip::new(Vec::new());
        for (name, bytes, packed) in files {
            zip.add(name, &mut &**bytes, *packed).unwrap();
        }
        zip.finish().unwrap()
    }

    fn opened(bytes: &[u8]) -> io::Result<Unzip> {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        file.rewind().unwrap();
        Unzip::open(file)
    }

    fn read(zip: &Unzip, name: &str) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        zip.read(name)?.read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    fn refused(bytes: &[u8]) -> String {
        opened(bytes).err().map(|error| error.to_string()).unwrap_or_default()
    }

    /// The zip with `from` replaced by `to` wherever it stands.
    fn patched(zip: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
        let mut out = zip.to_vec();
        let places: Vec<usize> = zip
            .windows(from.len())
            .enumerate()
            .filter(|(_, w)| *w == from)
            .map(|(at, _)| at)
            .collect();
        assert!(!places.is_empty());
        for at in places {
            out[at..at + to.len()].copy_from_slice(to);
        }
        out
    }

    #[test]
    fn round_trip_and_same_bytes() {
        let text = "長い text ".repeat(10_000);
        let files: [(&str, &[u8], bool); 3] = [
            ("a/b.md", text.as_bytes(), true),
            ("é.jpg", b"\xff\xd8", false),
            ("empty", b"", true),
        ];
        let bytes = made(&files);
        assert_eq!(made(&files), bytes);
        assert!(bytes.len() < text.len() / 20);
        let zip = opened(&bytes).unwrap();
        for (name, content, _) in files {
            assert_eq!(read(&zip, name).unwrap(), content, "{name}");
            assert_eq!(zip.size(name), Some(content.len() as u64));
        }
        assert_eq!(zip.names_from("").collect::<Vec<_>>(), ["a/b.md", "empty", "é.jpg"]);
        assert_eq!(zip.names_from("a/").count(), 1);
        assert!(zip.read("none").is_err());
    }

    #[test]
    fn another_program_reads_it() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("x.zip");
        std::fs::write(
            &path,
            made(&[("d/a.txt", b"hello hello hello hello", true), ("b", b"raw", false)]),
        )
        .unwrap();
        #[allow(clippy::disallowed_methods, reason = "the ban is for the pipeline")]
        let python = Command::new("python3")
            .args(["-c", "import sys, zipfile; z = zipfile.ZipFile(sys.argv[1]); print(z.testzip(), z.read('d/a.txt'), z.read('b'))"])
            .arg(&path)
            .output();
        // Without Python the round trip above has to do.
        if let Ok(output) = python {
            assert_eq!(
                String::from_utf8(output.stdout).unwrap(),
                "None b'hello hello hello hello' b'raw'\n"
            );
        }
    }

    #[test]
    fn damage_is_noticed_when_it_is_read() {
        let bytes = made(&[("a", b"some text that is stored", false)]);
        let zip = opened(&patched(&bytes, b"some", b"sand")).unwrap();
        assert!(read(&zip, "a").unwrap_err().to_string().contains("damaged"));
        for cut in [0, 1, 21, bytes.len() / 2, bytes.len() - 1] {
            assert!(!refused(&bytes[..cut]).is_empty(), "{cut}");
        }
        for at in 0..bytes.len() {
            let mut other = bytes.clone();
            other[at] ^= 0x41;
            // No panic, and never another content.
            if let Ok(zip) = opened(&other)
                && let Ok(content) = read(&zip, "a")
            {
                assert_eq!(content, b"some text that is stored", "byte {at}");
            }
        }
    }

    #[test]
    fn names_that_lead_elsewhere_and_links_are_refused() {
        let bytes = made(&[("aa/bb", b"x", false)]);
        for name in [b"../bb", b"/a/bb", b"a//bb", b"a\\\\bb", b"a/../"] {
            let said = refused(&patched(&bytes, b"aa/bb", name));
            assert!(said.contains("leads out"), "{name:?}: {said}");
        }
        assert!(
            refused(&patched(
                &bytes,
                &MODE.to_le_bytes(),
                &(0o120_777_u32 << 16).to_le_bytes()
            ))
            .contains("symbolic link")
        );
        let twice = made(&[("aa", b"x", false), ("ab", b"x", false)]);
        assert!(refused(&patched(&twice, b"ab", b"aa")).contains("twice"));
    }

    #[test]
    fn lists_that_lie_about_their_length_are_refused() {
        let bytes = made(&[("aa", b"xyz", false), ("bb", b"xyz", false)]);
        let record = bytes.windows(4).rposition(|four| four == b"PK\x06\x06").unwrap();
        let counted = |count: u64| {
            let mut other = bytes.clone();
            for at in [24, 32] {
                other[record + at..record + at + 8].copy_from_slice(&count.to_le_bytes());
            }
            refused(&other)
        };
        assert_eq!(counted(2), "");
        for (count, words) in [
            (0, "longer than the 0 files"),
            (1, "longer than the 1 files"),
            (3, "fewer files"),
            (999_999, "fewer files"),
            (1_000_001, "more than 1000000"),
            (u64::MAX, "more than 1000000"),
        ] {
            assert!(counted(count).contains(words), "{count}: {}", counted(count));
        }
    }

    #[test]
    fn bombs_are_refused() {
        struct Zeros(u64);
        impl Read for Zeros {
            fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
                let count = buffer.len().min(usize::try_from(self.0).unwrap());
                buffer[..count].fill(0);
                self.0 -= count as u64;
                Ok(count)
            }
        }
        let mut zip = Zip::new(Vec::new());
        zip.add("zeros", &mut Zeros(65 << 20), true).unwrap();
        assert!(refused(&zip.finish().unwrap()).contains("zip bomb"));

        // Two names for the same bytes.
        let bytes = made(&[("aa", b"xyz", false), ("bb", b"xyz", false)]);
        let second = bytes.windows(4).rposition(|four| four == b"PK\x03\x04").unwrap() as u64;
        assert!(refused(&patched(&bytes, &second.to_le_bytes(), &0_u64.to_le_bytes())).contains("overlap"));

        // Many small files: none of them is one alone.
        let mut zip = Zip::new(Vec::new());
        for n in 0..5 {
            zip.add(&n.to_string(), &mut Zeros(60 << 20), true).unwrap();
        }
        assert!(refused(&zip.finish().unwrap()).contains("the zip unpacks from"));

        // A file that is longer than it says.
        let text = [b'x'; 4000];
        let bytes = made(&[("a", &text, true)]);
        let zip = opened(&patched(&bytes, &4000_u64.to_le_bytes(), &40_u64.to_le_bytes())).unwrap();
        assert!(read(&zip, "a").unwrap_err().to_string().contains("longer"));
    }
}
