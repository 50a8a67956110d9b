//! Taking away what nobody executes: names, debug information, comments.
//!
//! Everything up to the end of the last segment stays where it is, byte for byte; behind it come the sections that are kept
//! although no segment has them, their names, and new section headers. Only three fields of the ELF header change:
//! `e_shoff`, `e_shnum` and `e_shstrndx`. [`same_code`] says whether two files are the same to a loader.

use object::Endianness;
use object::elf;
use object::read::elf::{FileHeader, ProgramHeader, SectionHeader};

use super::{ElfError, MAX_ENTRIES};

/// What stays besides what is loaded and the build attributes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// The symbol table: for looking at the code.
    Names,
    /// Nothing: for shipping.
    Nothing,
}

/// The file without what [`Keep`] does not name. Stripping twice is stripping once.
///
/// # Errors
///
/// For what is not a linked program or library, for headers that lie outside of the file, and for a file that has what is
/// to be taken away among what is loaded.
pub fn strip(bytes: &[u8], keep: Keep) -> Result<Vec<u8>, ElfError> {
    match bytes.get(4) {
        Some(1) => rewrite::<elf::FileHeader32<Endianness>>(bytes, keep, &CLASS32),
        Some(2) => rewrite::<elf::FileHeader64<Endianness>>(bytes, keep, &CLASS64),
        _ => Err(ElfError::Header),
    }
}

/// Whether a loader makes the same of both files: equal headers (but for where the section headers are), and equal bytes in
/// every segment of every type.
///
/// # Errors
///
/// For headers or segments that lie outside of a file.
pub fn same_code(one: &[u8], other: &[u8]) -> Result<bool, ElfError> {
    match (one.get(4), other.get(4)) {
        (Some(1), Some(1)) => compare::<elf::FileHeader32<Endianness>>(one, other, &CLASS32),
        (Some(2), Some(2)) => compare::<elf::FileHeader64<Endianness>>(one, other, &CLASS64),
        (Some(1 | 2), Some(1 | 2)) => Ok(false),
        _ => Err(ElfError::Header),
    }
}

/// Where the fields are that are written, and how wide an offset is. From the figures of the ELF specification.
struct Class {
    header: usize,
    word: usize,
    e_shoff: usize,
    e_shnum: usize,
    e_shstrndx: usize,
    section: usize,
    sh_offset: usize,
    sh_size: usize,
    sh_link: usize,
    sh_info: usize,
    symbol: usize,
    st_shndx: usize,
}

const CLASS32: Class = Class {
    header: 52,
    word: 4,
    e_shoff: 32,
    e_shnum: 48,
    e_shstrndx: 50,
    section: 40,
    sh_offset: 16,
    sh_size: 20,
    sh_link: 24,
    sh_info: 28,
    symbol: 16,
    st_shndx: 14,
};

const CLASS64: Class = Class {
    header: 64,
    word: 8,
    e_shoff: 40,
    e_shnum: 60,
    e_shstrndx: 62,
    section: 64,
    sh_offset: 24,
    sh_size: 32,
    sh_link: 40,
    sh_info: 44,
    symbol: 24,
    st_shndx: 6,
};

/// Writes integers as the file has them.
#[derive(Clone, Copy)]
struct Order(Endianness);

impl Order {
    /// `value` in `at..at + width`. The callers have made room.
    fn put(self, bytes: &mut [u8], at: usize, width: usize, value: u64) {
        let Some(place) = bytes.get_mut(at..at + width) else {
            return;
        };
        match self.0 {
            Endianness::Little => place.copy_from_slice(&value.to_le_bytes()[..width]),
            Endianness::Big => place.copy_from_slice(&value.to_be_bytes()[8 - width..]),
        }
    }

    fn half(self, bytes: &[u8], at: usize) -> u16 {
        let pair: [u8; 2] = bytes
            .get(at..at + 2)
            .and_then(|pair| pair.try_into().ok())
            .unwrap_or_default();
        match self.0 {
            Endianness::Little => u16::from_le_bytes(pair),
            Endianness::Big => u16::from_be_bytes(pair),
        }
    }
}

fn outside(what: &'static str) -> ElfError {
    ElfError::invalid(what, "lies outside of the file")
}

/// The end of what is loaded: headers and every segment.
fn loaded_end<H: FileHeader<Endian = Endianness>>(bytes: &[u8], class: &Class) -> Result<usize, ElfError> {
    let (header, endian) = open::<H>(bytes)?;
    let segments = header
        .program_headers(endian, bytes)
        .map_err(|error| ElfError::invalid("program headers", error.to_string()))?;
    if segments.is_empty() {
        return Err(ElfError::invalid(
            "program headers",
            "there are none: nothing is loaded",
        ));
    }
    let table: u64 = header.e_phoff(endian).into();
    let mut end = class.header as u64;
    end = end.max(
        table
            .checked_add(segments.len() as u64 * u64::from(header.e_phentsize(endian)))
            .ok_or_else(|| outside("program headers"))?,
    );
    for segment in segments {
        let (offset, size): (u64, u64) = (segment.p_offset(endian).into(), segment.p_filesz(endian).into());
        if size > 0 {
            end = end.max(offset.checked_add(size).ok_or_else(|| outside("a segment"))?);
        }
    }
    let end = usize::try_from(end).map_err(|_| outside("a segment"))?;
    if end > bytes.len() {
        return Err(outside("a segment"));
    }
    Ok(end)
}

fn open<H: FileHeader<Endian = Endianness>>(bytes: &[u8]) -> Result<(&H, Endianness), ElfError> {
    let header = H::parse(bytes).map_err(|_| ElfError::Header)?;
    let endian = header.endian().map_err(|_| ElfError::Header)?;
    match header.e_type(endian) {
        elf::ET_EXEC | elf::ET_DYN => Ok((header, endian)),
        _ => Err(ElfError::invalid("e_type", "only what is linked can be stripped")),
    }
}

/// What becomes of a section.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// Stays where it is.
    Loaded,
    /// Moves behind what is loaded.
    Moved,
    Gone,
}

fn rewrite<H: FileHeader<Endian = Endianness>>(bytes: &[u8], keep: Keep, class: &Class) -> Result<Vec<u8>, ElfError> {
    let (header, endian) = open::<H>(bytes)?;
    let order = Order(endian);
    let end = loaded_end::<H>(bytes, class)?;
    let sections = header
        .sections(endian, bytes)
        .map_err(|error| ElfError::invalid("section headers", error.to_string()))?;
    if sections.len() > MAX_ENTRIES {
        return Err(ElfError::invalid("section headers", "there are too many"));
    }
    let named = names_of(&sections, endian);
    let fates: Vec<Fate> = sections
        .iter()
        .enumerate()
        .map(|(index, section)| {
            let kind = section.sh_type(endian);
            if section.sh_flags(endian).contains(elf::SHF_ALLOC) {
                Fate::Loaded
            } else if index == 0 {
                Fate::Gone
            } else if kind == elf::SHT_ARM_ATTRIBUTES || (keep == Keep::Names && named.contains(&index)) {
                Fate::Moved
            } else {
                Fate::Gone
            }
        })
        .collect();
    // The first header is the empty one; that of the names is the last.
    let mut index_of = vec![0usize; sections.len()];
    let mut next = 1;
    for (index, fate) in fates.iter().enumerate() {
        if *fate != Fate::Gone {
            index_of[index] = next;
            next += 1;
        }
    }

    let mut out = bytes[..end].to_vec();
    let mut headers = vec![0u8; class.section];
    let mut titles: Vec<&[u8]> = Vec::new();
    for (index, section) in sections.iter().enumerate() {
        if fates[index] == Fate::Gone {
            let (offset, size): (u64, u64) = (section.sh_offset(endian).into(), section.sh_size(endian).into());
            let empty = index == 0 || section.sh_type(endian) == elf::SHT_NOBITS || size == 0;
            if !empty && offset < end as u64 {
                return Err(ElfError::invalid(
                    "sections",
                    "what is to be taken away lies among what is loaded",
                ));
            }
            continue;
        }
        let start = headers.len();
        headers.extend_from_slice(raw_header(header, endian, bytes, index, class)?);
        let name = sections
            .section_name(endian, section)
            .map_err(|_| ElfError::invalid("section names", "one lies outside of the table"))?;
        titles.push(name);
        let link = usize::try_from(section.sh_link(endian)).unwrap_or(usize::MAX);
        order.put(
            &mut headers,
            start + class.sh_link,
            4,
            index_of.get(link).copied().unwrap_or(0) as u64,
        );
        let kind = section.sh_type(endian);
        let info_is_section =
            matches!(kind, elf::SHT_REL | elf::SHT_RELA) || section.sh_flags(endian).contains(elf::SHF_INFO_LINK);
        if info_is_section {
            let info = usize::try_from(section.sh_info(endian)).unwrap_or(usize::MAX);
            let info = index_of.get(info).copied().unwrap_or(0);
            order.put(&mut headers, start + class.sh_info, 4, info as u64);
        }
        if fates[index] == Fate::Loaded {
            let (offset, size): (u64, u64) = (section.sh_offset(endian).into(), section.sh_size(endian).into());
            let inside = offset.checked_add(size).is_some_and(|past| past <= end as u64);
            if kind != elf::SHT_NOBITS && !inside {
                return Err(ElfError::invalid(
                    "sections",
                    "one is to be loaded, and no segment has it",
                ));
            }
            continue;
        }
        let data = section.data(endian, bytes).map_err(|_| outside("a section"))?;
        let moved = if kind == elf::SHT_SYMTAB {
            let (symbols, locals) = symbols(data, &fates, &index_of, order, class);
            order.put(&mut headers, start + class.sh_info, 4, locals);
            symbols
        } else {
            data.to_vec()
        };
        while !out.len().is_multiple_of(class.word) {
            out.push(0);
        }
        order.put(&mut headers, start + class.sh_offset, class.word, out.len() as u64);
        order.put(&mut headers, start + class.sh_size, class.word, moved.len() as u64);
        out.extend_from_slice(&moved);
    }
    if sections.is_empty() {
        order.put(&mut out, class.e_shoff, class.word, 0);
        order.put(&mut out, class.e_shnum, 2, 0);
        order.put(&mut out, class.e_shstrndx, 2, 0);
        return Ok(out);
    }
    let start = headers.len();
    headers.resize(start + class.section, 0);
    titles.push(b".shstrtab");
    let (strings, places) = string_table(&titles);
    for (index, place) in places.into_iter().enumerate() {
        order.put(&mut headers, (index + 1) * class.section, 4, place as u64);
    }
    order.put(&mut headers, start + 4, 4, u64::from(elf::SHT_STRTAB.0));
    order.put(&mut headers, start + class.sh_offset, class.word, out.len() as u64);
    order.put(&mut headers, start + class.sh_size, class.word, strings.len() as u64);
    // sh_addralign, the last but one of the fields.
    order.put(&mut headers, start + class.section - 2 * class.word, class.word, 1);
    out.extend_from_slice(&strings);
    while !out.len().is_multiple_of(class.word) {
        out.push(0);
    }
    let (table, count) = (out.len(), headers.len() / class.section);
    out.extend_from_slice(&headers);
    order.put(&mut out, class.e_shoff, class.word, table as u64);
    order.put(&mut out, class.e_shnum, 2, count as u64);
    order.put(&mut out, class.e_shstrndx, 2, count as u64 - 1);
    Ok(out)
}

/// A string table in the order that LLVM gives it, so that the file is the one that its own tools make: sorted from the last letter
/// on, backwards; what another string ends with is not written again. Returns where each string is.
fn string_table(strings: &[&[u8]]) -> (Vec<u8>, Vec<usize>) {
    let mut order: Vec<usize> = (0..strings.len()).collect();
    order.sort_by(|a, b| strings[*b].iter().rev().cmp(strings[*a].iter().rev()));
    let (mut table, mut places) = (vec![0], vec![0; strings.len()]);
    let mut last: &[u8] = b"";
    for index in order {
        let string = strings[index];
        if !last.ends_with(string) {
            table.extend_from_slice(string);
            table.push(0);
            last = string;
        }
        places[index] = table.len() - string.len() - 1;
    }
    (table, places)
}

/// Sections that hold the names of functions: the symbol table, its strings, and the indices that did not fit into it.
fn names_of<H: FileHeader<Endian = Endianness>>(
    sections: &object::read::elf::SectionTable<'_, H>,
    endian: Endianness,
) -> Vec<usize> {
    let mut named = Vec::new();
    for (index, section) in sections.iter().enumerate() {
        if section.sh_type(endian) == elf::SHT_SYMTAB {
            named.push(index);
            named.push(usize::try_from(section.sh_link(endian)).unwrap_or(0));
        }
    }
    named
}

/// The header of a section as it stands in the file.
fn raw_header<'a, H: FileHeader<Endian = Endianness>>(
    header: &H,
    endian: Endianness,
    bytes: &'a [u8],
    index: usize,
    class: &Class,
) -> Result<&'a [u8], ElfError> {
    let table: u64 = header.e_shoff(endian).into();
    let start = usize::try_from(table)
        .ok()
        .and_then(|table| table.checked_add(index.checked_mul(class.section)?));
    start
        .and_then(|start| bytes.get(start..start.checked_add(class.section)?))
        .ok_or_else(|| outside("section headers"))
}

/// The symbol table without symbols of sections that are gone, and how many of them are local.
fn symbols(data: &[u8], fates: &[Fate], index_of: &[usize], order: Order, class: &Class) -> (Vec<u8>, u64) {
    let mut kept = Vec::with_capacity(data.len());
    let mut locals = 0;
    for symbol in data.chunks_exact(class.symbol) {
        let section = order.half(symbol, class.st_shndx);
        let new = match section {
            0 => Some(0),
            reserved if reserved >= elf::SHN_LORESERVE => Some(u64::from(reserved)),
            section => match fates.get(usize::from(section)) {
                Some(Fate::Loaded | Fate::Moved) => Some(index_of[usize::from(section)] as u64),
                _ => None,
            },
        };
        let Some(new) = new else { continue };
        let start = kept.len();
        kept.extend_from_slice(symbol);
        order.put(&mut kept, start + class.st_shndx, 2, new);
        // st_info: before st_shndx by two bytes in both classes; its upper half is the binding, 0 for local ones.
        if symbol[class.st_shndx - 2] >> 4 == elf::STB_LOCAL.0 {
            locals += 1;
        }
    }
    (kept, locals)
}

fn compare<H: FileHeader<Endian = Endianness>>(one: &[u8], other: &[u8], class: &Class) -> Result<bool, ElfError> {
    let (ends, mut blanked) = (
        [loaded_end::<H>(one, class)?, loaded_end::<H>(other, class)?],
        [one.to_vec(), other.to_vec()],
    );
    if ends[0] != ends[1] {
        return Ok(false);
    }
    for bytes in &mut blanked {
        let order = Order(Endianness::Little);
        order.put(bytes, class.e_shoff, class.word, 0);
        order.put(bytes, class.e_shnum, 2, 0);
        order.put(bytes, class.e_shstrndx, 2, 0);
    }
    // Segments lie before the end, and where is part of the program headers: equal bytes up to there are equal segments.
    Ok(blanked[0][..ends[0]] == blanked[1][..ends[1]])
}
