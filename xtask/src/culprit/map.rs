//! The linker's map: which object every address of a program comes from.
//!
//! LLD prints it for `--print-map`, which zig passes on: a table with the columns VMA, LMA, Size, Align, and three levels of
//! indentation for output section, input section and symbol (lld/ELF/MapFile.cpp). An input section reads
//! `libring-1f.rlib(chacha-armv4-linux32.o):(.text)`.

use object::Endianness;
use object::elf;
use object::read::elf::{FileHeader, SectionHeader};

/// A piece of the program and where it comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    /// First address.
    pub start: u64,
    /// The address behind it.
    pub end: u64,
    /// The file that was linked: an object, or an archive. `<internal>` is what the linker makes itself.
    pub file: String,
    /// The member of the archive.
    pub member: Option<String>,
    /// Name of its section.
    pub section: String,
}

/// A whole map, by address.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LinkMap {
    pieces: Vec<Piece>,
    sections: Vec<(String, u64, u64)>,
}

impl LinkMap {
    /// Reads what LLD printed. Lines that are not of the table are left out; whether the rest belongs to a program is for
    /// [`LinkMap::is_of`] to say.
    pub fn parse(text: &str) -> LinkMap {
        let mut map = LinkMap::default();
        let mut loaded = false;
        for line in text.lines() {
            let Some((address, size, rest)) = columns(line) else {
                continue;
            };
            let depth = rest.len() - rest.trim_start_matches(' ').len();
            match depth {
                0 => {
                    // What is not loaded has no address; its pieces all begin at 0.
                    loaded = address > 0;
                    if loaded {
                        map.sections.push((rest.to_owned(), address, size));
                    }
                }
                8 if loaded && size > 0 => map.pieces.extend(piece(address, size, rest.trim_start())),
                _ => {}
            }
        }
        map.pieces.sort_by_key(|piece| (piece.start, piece.end));
        map
    }

    /// Whether the map is of this very program: the same sections with code, at the same addresses and of the same sizes. A
    /// map of another link would accuse the wrong.
    pub fn is_of(&self, bytes: &[u8]) -> bool {
        let sections = match bytes.get(4) {
            Some(1) => sections::<elf::FileHeader32<Endianness>>(bytes),
            Some(2) => sections::<elf::FileHeader64<Endianness>>(bytes),
            _ => None,
        };
        let Some(sections) = sections else { return false };
        let listed = |wanted: &(String, u64, u64)| self.sections.contains(wanted);
        !self.pieces.is_empty() && !sections.is_empty() && sections.iter().all(listed)
    }

    /// The piece at an address.
    pub fn at(&self, address: u64) -> Option<&Piece> {
        let behind = self.pieces.partition_point(|piece| piece.start <= address);
        // Pieces do not overlap, but one without bytes may begin where another does.
        self.pieces[..behind]
            .iter()
            .rev()
            .take(4)
            .find(|piece| address < piece.end)
    }

    /// All pieces, by address.
    pub fn pieces(&self) -> &[Piece] {
        &self.pieces
    }
}

/// VMA, size, and what stands behind the alignment.
fn columns(line: &str) -> Option<(u64, u64, &str)> {
    let mut rest = line;
    let mut numbers = [0; 4];
    for (index, number) in numbers.iter_mut().enumerate() {
        rest = rest.trim_start_matches(' ');
        let (word, behind) = rest.split_once(' ')?;
        // The alignment alone is decimal; nothing needs its value.
        *number = u64::from_str_radix(word, if index == 3 { 10 } else { 16 }).ok()?;
        rest = behind;
    }
    Some((numbers[0], numbers[2], rest))
}

fn piece(start: u64, size: u64, text: &str) -> Option<Piece> {
    let (place, section) = text.strip_suffix(')')?.rsplit_once(":(")?;
    let archive = [".rlib(", ".a("]
        .iter()
        .filter_map(|mark| place.find(mark).map(|at| at + mark.len() - 1))
        .min();
    let (file, member) = match (archive, place.strip_suffix(')')) {
        (Some(at), Some(closed)) => (&place[..at], Some(closed[at + 1..].to_owned())),
        _ => (place, None),
    };
    Some(Piece {
        start,
        end: start.checked_add(size)?,
        file: file.to_owned(),
        member,
        section: section.to_owned(),
    })
}

/// Name, address and size of every section with code.
fn sections<H: FileHeader<Endian = Endianness>>(bytes: &[u8]) -> Option<Vec<(String, u64, u64)>> {
    let header = H::parse(bytes).ok()?;
    let endian = header.endian().ok()?;
    let table = header.sections(endian, bytes).ok()?;
    let mut found = Vec::new();
    for section in table.iter() {
        if section.sh_flags(endian).contains(elf::SHF_EXECINSTR) {
            let name = String::from_utf8_lossy(table.section_name(endian, section).ok()?).into_owned();
            found.push((name, section.sh_addr(endian).into(), section.sh_size(endian).into()));
        }
    }
    Some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
     VMA      LMA     Size Align Out     In      Symbol
   10154    10154       10     4 .ARM.exidx
   10154    10154       10     4         <internal>:(.ARM.exidx)
   47c68    47c68      100     8 .text
   47c68    47c68       40     4         /t/deps/blog-07.blog.ca-cgu.0.rcgu.o:(.text.main)
   47c68    47c68        0     1                 $a
   47c68    47c68       40     1                 blog::main
   47ca8    47ca8       40     4         /t/deps/rustcX/libring-1f.rlib(5b-chacha-armv4-linux32.o):(.text)
   47ce8    47ce8       80     4         /z/o/0a/libc.a(/z/o/ff/atomics.o):(.text)
       0        0       80     1 .comment
       0        0       80     1         <internal>:(.comment)
";

    #[test]
    fn an_address_has_one_object() {
        let map = LinkMap::parse(TEXT);
        assert_eq!(map.pieces().len(), 4);
        let at = |address| {
            map.at(address)
                .map(|piece| (piece.file.as_str(), piece.member.as_deref()))
        };
        assert_eq!(at(0x47c68), Some(("/t/deps/blog-07.blog.ca-cgu.0.rcgu.o", None)));
        let ring = Some(("/t/deps/rustcX/libring-1f.rlib", Some("5b-chacha-armv4-linux32.o")));
        assert_eq!((at(0x47ca8), at(0x47ce7)), (ring, ring));
        assert_eq!(at(0x47ce8), Some(("/z/o/0a/libc.a", Some("/z/o/ff/atomics.o"))));
        assert_eq!((at(0x47d68), at(0)), (None, None));
    }

    #[test]
    fn what_is_no_map_has_no_pieces() {
        for text in [
            "",
            "zig: error",
            "1 2 3",
            "ffffffffffffffff 0 ffffffffffffffff 1         x:(y)",
        ] {
            assert!(LinkMap::parse(text).pieces().is_empty(), "{text}");
        }
        assert!(!LinkMap::default().is_of(b"\x7fELF\x01"));
    }
}
