//! Where the code of a 32-bit ARM file lies, and where it begins: spans of executable bytes, mapping symbols, names, and every
//! address that the file itself says is jumped to.
//!
//! What the kernel maps executable is code (`PT_LOAD` with `PF_X`); section headers only say which part of it is meant to be.
//! Mapping symbols: ELF for the Arm Architecture (ARM IHI 0044), "Mapping symbols". Index tables: ARM IHI 0038.

use std::sync::Arc;

use object::elf;
use object::endian::Endianness;
use object::read::elf::{FileHeader, ProgramHeader, SectionHeader};

use super::{ElfError, Encoding};

type Header = elf::FileHeader32<Endianness>;
type Segment = elf::ProgramHeader32<Endianness>;
type Section = elf::SectionHeader32<Endianness>;

/// Distance between the sections of an object file, which all begin at 0: they must not look like neighbours.
const APART: u32 = 0x1_0000;
/// Most segments of one kind that are looked at. Linkers make one or two.
const MAX_SEGMENTS: usize = 64;

/// Executable bytes without a gap and of one section.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span<'a> {
    /// Address of the first byte. In an object file sections are laid out one after the other.
    pub address: u32,
    /// What the file itself calls it: the same, or in an object file 0.
    pub shown: u32,
    /// The bytes, as many as the file has.
    pub bytes: &'a [u8],
    /// Name of the section; `None` where no section header speaks of these bytes.
    pub section: Option<Arc<str>>,
    /// Whether code is to be expected: an executable section, or bytes that no section claims.
    pub expected: bool,
}

impl Span<'_> {
    /// Address behind the last byte.
    pub fn end(&self) -> u32 {
        self.address + self.bytes.len() as u32
    }
}

/// What a mapping symbol says of the bytes from it to the next one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mapping {
    /// `$a`
    Arm,
    /// `$t`
    Thumb,
    /// `$d`
    Data,
}

/// A symbol that names code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name {
    /// Address without the Thumb bit.
    pub address: u32,
    /// Size in bytes; 0 when it is not known.
    pub size: u32,
    /// The name.
    pub name: Arc<str>,
    /// `STT_FUNC` or `STT_GNU_IFUNC`, as opposed to a label of an assembler.
    pub function: bool,
}

/// Why an address is taken for the beginning of code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Origin {
    /// `e_entry`, `DT_INIT`, a function's symbol, an entry of `DT_INIT_ARRAY`, a resolver: the loader or a caller jumps there.
    Called,
    /// `.ARM.exidx` has an entry with instructions for unwinding.
    Unwound,
    /// A relocated word points there, or a symbol without a type.
    Pointed,
    /// `.ARM.exidx` says that it cannot be unwound (linkers make such entries for what had none); or a word of data that looks
    /// like the address.
    Guessed,
}

/// An address at which code begins, or may begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Start {
    /// How sure that is.
    pub origin: Origin,
    /// Address without the Thumb bit.
    pub address: u32,
    /// The state, where the file says it.
    pub thumb: Option<bool>,
}

/// Everything that a walk through the code needs of a file.
#[derive(Clone, Debug)]
pub struct Code<'a> {
    /// Byte order of instructions. `EF_ARM_BE8` has them little in a big-endian file.
    pub instructions: Encoding,
    /// Byte order of data.
    pub data: Encoding,
    /// An object file.
    pub relocatable: bool,
    /// By address, none touching another's bytes.
    pub spans: Vec<Span<'a>>,
    /// Mapping symbols by address, each within a span, with the index of that span.
    pub marks: Vec<(u32, Mapping, usize)>,
    /// Names by address.
    pub names: Vec<Name>,
    /// Where code begins, surest first.
    pub starts: Vec<Start>,
    /// Places of object files that the linker will fill in, by address: what stands there now is no target.
    pub relocated: Vec<u32>,
}

impl<'a> Code<'a> {
    /// Reads a 32-bit ARM file; `None` for a file of another machine or class.
    pub fn parse(bytes: &'a [u8]) -> Result<Option<Self>, ElfError> {
        if bytes.get(4) != Some(&1) || !super::is_elf(bytes) {
            return Ok(None);
        }
        let header = Header::parse(bytes).map_err(|_| ElfError::Header)?;
        let endian = header.endian().map_err(|_| ElfError::Header)?;
        if header.e_machine(endian) != elf::EM_ARM {
            return Ok(None);
        }
        let reader = Reader::new(header, endian, bytes)?;
        let spans = reader.spans()?;
        let mut code = Code {
            instructions: match (endian, header.e_flags(endian).contains(elf::EF_ARM_BE8)) {
                (Endianness::Big, false) => Encoding::Big,
                _ => Encoding::Little,
            },
            data: super::encoding(endian),
            relocatable: reader.relocatable,
            spans,
            marks: Vec::new(),
            names: Vec::new(),
            starts: Vec::new(),
            relocated: Vec::new(),
        };
        if !reader.relocatable {
            let entry = header.e_entry(endian);
            if entry != 0 {
                code.start(Origin::Called, entry, Some(entry & 1 == 1));
            }
        }
        reader.symbols(&mut code)?;
        if reader.relocatable {
            reader.relocated(&mut code)?;
        } else {
            reader.dynamic(&mut code);
            reader.index_table(&mut code);
            reader.pointers(&mut code);
        }
        code.marks
            .sort_by_key(|(address, mapping, span)| (*span, *address, *mapping));
        code.marks.dedup();
        code.names
            .sort_by(|a, b| (a.address, !a.function, &a.name).cmp(&(b.address, !b.function, &b.name)));
        code.starts.sort_unstable();
        code.starts.dedup();
        code.relocated.sort_unstable();
        code.relocated.dedup();
        Ok(Some(code))
    }

    /// The span that holds an address.
    pub fn span_at(&self, address: u32) -> Option<usize> {
        let index = self
            .spans
            .partition_point(|span| span.address <= address)
            .checked_sub(1)?;
        let span = &self.spans[index];
        ((address - span.address) < span.bytes.len() as u32).then_some(index)
    }

    fn start(&mut self, origin: Origin, address: u32, thumb: Option<bool>) {
        let address = address & !1;
        // In ARM state an address that is no multiple of four is no beginning.
        if thumb == Some(false) && address & 3 != 0 {
            return;
        }
        if self.span_at(address).is_some() {
            self.starts.push(Start { origin, address, thumb });
        }
    }
}

struct Reader<'a> {
    bytes: &'a [u8],
    endian: Endianness,
    relocatable: bool,
    headers: u32,
    segments: &'a [Segment],
    /// What is in memory, by address.
    loads: Vec<(u32, &'a [u8])>,
    sections: &'a [Section],
    names: object::read::StringTable<'a>,
    /// Where each section lies: its address, or in an object file the place it was given. 0 for what is not executable there.
    placed: Vec<u32>,
}

impl<'a> Reader<'a> {
    fn new(header: &'a Header, endian: Endianness, bytes: &'a [u8]) -> Result<Self, ElfError> {
        let segments = header
            .program_headers(endian, bytes)
            .map_err(|error| ElfError::invalid("program headers", error.to_string()))?;
        let sections = header
            .section_headers(endian, bytes)
            .map_err(|error| ElfError::invalid("section headers", error.to_string()))?;
        let names = header.section_strings(endian, bytes, sections).unwrap_or_default();
        let relocatable = header.e_type(endian) == elf::ET_REL;
        let mut next = APART;
        let placed = sections
            .iter()
            .map(|section| {
                if !relocatable {
                    return section.sh_addr(endian);
                }
                let flags = section.sh_flags(endian);
                if !flags.contains(elf::SHF_EXECINSTR) || section.sh_type(endian) == elf::SHT_NOBITS {
                    return 0;
                }
                let place = next;
                let size = section.sh_size(endian).min(bytes.len() as u32).next_multiple_of(APART);
                next = next.saturating_add(size).saturating_add(APART);
                place
            })
            .collect();
        let phdrs = header.e_phoff(endian).saturating_add(32 * segments.len() as u32);
        let mut loads: Vec<(u32, &[u8])> = segments
            .iter()
            .filter(|segment| segment.p_type(endian) == elf::PT_LOAD)
            .filter_map(|segment| Some((segment.p_vaddr(endian), segment.data(endian, bytes).ok()?)))
            .collect();
        loads.sort_by_key(|(address, _)| *address);
        Ok(Reader {
            bytes,
            endian,
            relocatable,
            loads,
            headers: phdrs.max(52),
            segments,
            sections,
            names,
            placed,
        })
    }

    fn word(&self, bytes: &[u8]) -> u32 {
        let bytes = [bytes[0], bytes[1], bytes[2], bytes[3]];
        match self.endian {
            Endianness::Little => u32::from_le_bytes(bytes),
            Endianness::Big => u32::from_be_bytes(bytes),
        }
    }

    fn slice(&self, offset: u32, size: u32) -> Option<&'a [u8]> {
        let start = offset as usize;
        self.bytes.get(start..start.checked_add(size as usize)?)
    }

    /// File bytes from an address to the end of its segment.
    fn memory(&self, address: u32) -> Option<&'a [u8]> {
        let index = self
            .loads
            .partition_point(|(start, _)| *start <= address)
            .checked_sub(1)?;
        let (start, bytes) = self.loads[index];
        bytes
            .get((address - start) as usize..)
            .filter(|bytes| !bytes.is_empty())
    }

    fn memory_word(&self, address: u32) -> Option<u32> {
        self.memory(address)?.get(..4).map(|bytes| self.word(bytes))
    }

    fn section_name(&self, section: &Section) -> Arc<str> {
        let name = section.name(self.endian, self.names).unwrap_or_default();
        String::from_utf8_lossy(&name[..name.len().min(super::MAX_STRING)]).into()
    }

    fn spans(&self) -> Result<Vec<Span<'a>>, ElfError> {
        let spans = if self.relocatable {
            self.sections_of_object()?
        } else {
            self.segments_of_program()?
        };
        // Otherwise a small file could ask for any amount of work: many segments may show the same bytes.
        let total: usize = spans.iter().map(|span| span.bytes.len()).sum();
        if total > self.bytes.len() {
            return Err(ElfError::invalid(
                "executable code",
                format!("{total} bytes are mapped from a file of {}", self.bytes.len()),
            ));
        }
        Ok(spans)
    }

    fn sections_of_object(&self) -> Result<Vec<Span<'a>>, ElfError> {
        let mut spans = Vec::new();
        for (section, place) in self.sections.iter().zip(&self.placed) {
            if *place == 0 || section.sh_size(self.endian) == 0 {
                continue;
            }
            let bytes = section
                .data(self.endian, self.bytes)
                .map_err(|_| ElfError::invalid("an executable section", "lies outside of the file"))?;
            if place.checked_add(bytes.len() as u32).is_none() {
                return Err(ElfError::invalid(
                    "executable sections",
                    "are larger than an address space",
                ));
            }
            spans.push(Span {
                address: *place,
                shown: 0,
                bytes,
                section: Some(self.section_name(section)),
                expected: true,
            });
        }
        Ok(spans)
    }

    fn segments_of_program(&self) -> Result<Vec<Span<'a>>, ElfError> {
        let endian = self.endian;
        // What sections say of addresses: sorted, so that each segment is cut in one pass.
        let mut claims: Vec<(u32, u32, &Section)> = self
            .sections
            .iter()
            .filter(|section| {
                section.sh_flags(endian).contains(elf::SHF_ALLOC)
                    && section.sh_type(endian) != elf::SHT_NOBITS
                    && section.sh_size(endian) > 0
            })
            .filter_map(|section| {
                let start = section.sh_addr(endian);
                Some((start, start.checked_add(section.sh_size(endian))?, section))
            })
            .collect();
        claims.sort_by_key(|(start, end, _)| (*start, *end));
        let executable =
            |segment: &&Segment| segment.p_type(endian) == elf::PT_LOAD && segment.p_flags(endian).contains(elf::PF_X);
        if self.segments.iter().filter(executable).count() > MAX_SEGMENTS {
            return Err(ElfError::invalid(
                "PT_LOAD",
                format!("more than {MAX_SEGMENTS} executable segments"),
            ));
        }
        let mut spans = Vec::new();
        let mut last = 0;
        for segment in self.segments.iter().filter(executable) {
            let (offset, size) = (segment.p_offset(endian), segment.p_filesz(endian));
            let bytes = self
                .slice(offset, size)
                .ok_or_else(|| ElfError::invalid("PT_LOAD", "an executable segment lies outside of the file"))?;
            let start = segment.p_vaddr(endian);
            let end = start
                .checked_add(size)
                .filter(|_| start >= last)
                .ok_or_else(|| ElfError::invalid("PT_LOAD", "executable segments overlap or do not ascend"))?;
            last = end;
            let mut at = start;
            let mut piece = |from: u32, to: u32, section: Option<&Section>| {
                if from < to {
                    spans.push(Span {
                        address: from,
                        shown: from,
                        bytes: &bytes[(from - start) as usize..(to - start) as usize],
                        section: section.map(|section| self.section_name(section)),
                        expected: section.is_none_or(|section| section.sh_flags(endian).contains(elf::SHF_EXECINSTR)),
                    });
                }
            };
            // The file's own headers are no code, wherever they are mapped.
            let headers = if offset < self.headers {
                start.saturating_add(self.headers - offset).min(end)
            } else {
                start
            };
            for &(from, to, section) in &claims {
                // A claim that overlaps the one before it counts for what is left of it.
                let (from, to) = (from.max(at), to.min(end));
                if from >= to {
                    continue;
                }
                if at < headers.min(from) {
                    at = headers.min(from);
                }
                piece(at, from, None);
                piece(from, to, Some(section));
                at = to;
            }
            at = at.max(headers);
            piece(at, end, None);
        }
        Ok(spans)
    }

    fn symbols(&self, code: &mut Code<'a>) -> Result<(), ElfError> {
        for kind in [elf::SHT_SYMTAB, elf::SHT_DYNSYM] {
            for section in self
                .sections
                .iter()
                .filter(|section| section.sh_type(self.endian) == kind)
            {
                let outside = || ElfError::invalid("symbol table", "lies outside of the file");
                let table = section.data(self.endian, self.bytes).map_err(|_| outside())?;
                let strings = self
                    .sections
                    .get(section.sh_link(self.endian) as usize)
                    .and_then(|strings| strings.data(self.endian, self.bytes).ok())
                    .ok_or_else(outside)?;
                self.table(table, strings, code);
            }
        }
        Ok(())
    }

    /// Symbols: `st_name`, `st_value`, `st_size`, `st_info`, `st_other`, `st_shndx`.
    fn table(&self, table: &[u8], strings: &[u8], code: &mut Code<'a>) {
        let mut named = 0;
        for symbol in table.chunks_exact(16) {
            let section = match self.endian {
                Endianness::Little => u16::from_le_bytes([symbol[14], symbol[15]]),
                Endianness::Big => u16::from_be_bytes([symbol[14], symbol[15]]),
            };
            let (value, size) = (self.word(&symbol[4..]), self.word(&symbol[8..]));
            let (bind, kind) = (symbol[12] >> 4, symbol[12] & 15);
            // Only a section of its own places a symbol: undefined, absolute and common ones are elsewhere. With more than
            // 65279 sections the number is in another table, and the address alone must do; not in object files.
            let (defined, in_section) = (section != 0, section < 0xff00);
            if !defined || !matches!(kind, 0 | 2 | 10) || !(in_section || section == 0xffff && !self.relocatable) {
                continue;
            }
            let place = match self.relocatable {
                true => match self.placed.get(section as usize) {
                    Some(place) if *place != 0 => value.checked_add(*place),
                    _ => None,
                },
                false => Some(value),
            };
            let Some(value) = place else { continue };
            let Some(span) = code.span_at(value & !1) else { continue };
            let rest = strings.get(self.word(symbol) as usize..).unwrap_or_default();
            let rest = &rest[..rest.len().min(super::MAX_STRING)];
            let name = &rest[..rest.iter().position(|byte| *byte == 0).unwrap_or(rest.len())];
            if let Some(mapping) = mapping(name) {
                // They are local and have no type (ARM IHI 0044); anything else of that name is just a name.
                if bind == 0 && kind == 0 {
                    code.marks.push((value, mapping, span));
                    continue;
                }
            }
            let function = kind != 0;
            if function {
                code.start(Origin::Called, value, Some(value & 1 == 1));
            } else if code.spans[span].expected && name != b"$x" {
                code.start(Origin::Pointed, value, None);
            }
            // Symbols may share a name, but not as often as it takes to fill the memory.
            named += name.len();
            if !name.is_empty() && named <= 4 * self.bytes.len() {
                code.names.push(Name {
                    address: value & !1,
                    size,
                    name: String::from_utf8_lossy(name).into(),
                    function,
                });
            }
        }
    }

    /// What the linker will fill in.
    fn relocated(&self, code: &mut Code<'a>) -> Result<(), ElfError> {
        for section in self.sections {
            let entry = match section.sh_type(self.endian) {
                elf::SHT_REL => 8,
                elf::SHT_RELA => 12,
                _ => continue,
            };
            let Some(place) = self
                .placed
                .get(section.sh_info(self.endian) as usize)
                .filter(|place| **place != 0)
            else {
                continue;
            };
            let table = section
                .data(self.endian, self.bytes)
                .map_err(|_| ElfError::invalid("relocations", "lie outside of the file"))?;
            for relocation in table.chunks_exact(entry) {
                // R_ARM_V4BX (40) marks a `bx` and changes nothing; R_ARM_NONE neither.
                if !matches!(self.word(&relocation[4..]) & 0xff, 0 | 40) {
                    code.relocated.extend(place.checked_add(self.word(relocation)));
                }
            }
        }
        Ok(())
    }

    /// What the loader calls or relocates. What cannot be read gives no start; `Elf::parse` says what is wrong with it.
    fn dynamic(&self, code: &mut Code<'a>) {
        let find = |kind| self.segments.iter().find(|segment| segment.p_type(self.endian) == kind);
        let entries: Vec<(u32, u32)> = find(elf::PT_DYNAMIC)
            .and_then(|segment| self.slice(segment.p_offset(self.endian), segment.p_filesz(self.endian)))
            .unwrap_or_default()
            .chunks_exact(8)
            .map(|entry| (self.word(entry), self.word(&entry[4..])))
            .take_while(|(tag, _)| *tag != 0)
            .collect();
        let value = |wanted| entries.iter().rfind(|(tag, _)| *tag == wanted).map(|(_, value)| *value);
        let part = |address, size| {
            let memory = self.memory(value(address)?)?;
            Some(&memory[..memory.len().min(value(size)? as usize)])
        };
        for tag in [12, 13] {
            // DT_INIT, DT_FINI
            if let Some(address) = value(tag).filter(|address| *address != 0) {
                code.start(Origin::Called, address, Some(address & 1 == 1));
            }
        }
        for (array, size) in [(25, 27), (26, 28), (32, 33)] {
            // DT_INIT_ARRAY, DT_FINI_ARRAY, DT_PREINIT_ARRAY
            for address in part(array, size).unwrap_or_default().chunks_exact(4) {
                let address = self.word(address);
                code.start(Origin::Called, address, Some(address & 1 == 1));
            }
        }
        // DT_REL, DT_JMPREL; and without PT_DYNAMIC, as in static programs, the sections of what the program relocates itself.
        let mut tables: Vec<(&[u8], usize)> = Vec::new();
        for (table, size, entry) in [
            (17, 18, 8),
            (7, 8, 12),
            (23, 2, if value(20) == Some(7) { 12 } else { 8 }),
        ] {
            tables.extend(part(table, size).map(|table| (table, entry)));
        }
        for section in self.sections {
            let entry = match section.sh_type(self.endian) {
                elf::SHT_REL => 8,
                elf::SHT_RELA => 12,
                _ => continue,
            };
            if section.sh_flags(self.endian).contains(elf::SHF_ALLOC) && entries.is_empty() {
                tables.extend(section.data(self.endian, self.bytes).ok().map(|table| (table, entry)));
            }
        }
        for (table, entry) in tables {
            for relocation in table.chunks_exact(entry) {
                let addend = match entry {
                    12 => Some(self.word(&relocation[8..])),
                    _ => self.memory_word(self.word(relocation)),
                };
                let origin = match self.word(&relocation[4..]) & 0xff {
                    // R_ARM_JUMP_SLOT: the first entry of the PLT, until it is bound; R_ARM_IRELATIVE: a resolver.
                    22 | 160 => Origin::Called,
                    // R_ARM_RELATIVE
                    23 => Origin::Pointed,
                    _ => continue,
                };
                if let Some(address) = addend.filter(|address| *address != 0) {
                    code.start(origin, address, Some(address & 1 == 1));
                }
            }
        }
        // DT_RELR, DT_RELRSZ: an even word is an address, an odd one a bitmap of the words behind it.
        let mut next = 0u32;
        for word in part(36, 35).unwrap_or_default().chunks_exact(4) {
            let word = self.word(word);
            let mut pointed = |place: u32| {
                if let Some(address) = self.memory_word(place).filter(|address| *address != 0) {
                    code.start(Origin::Pointed, address, Some(address & 1 == 1));
                }
            };
            if word & 1 == 0 {
                pointed(word);
                next = word.wrapping_add(4);
            } else {
                (1..32)
                    .filter(|bit| word >> bit & 1 == 1)
                    .for_each(|bit| pointed(next.wrapping_add(4 * (bit - 1))));
                next = next.wrapping_add(4 * 31);
            }
        }
        // Without section headers the symbols must be found as the loader does.
        if self.sections.is_empty()
            && let (Some(symbols), Some(strings)) = (value(6), part(5, 10))
            && let Some(table) = self.memory(symbols)
        {
            let count = self
                .symbol_count(value(4), value(0x6fff_fef5))
                .min(table.len() as u32 / 16);
            self.table(&table[..count as usize * 16], strings, code);
        }
    }

    /// DT_HASH says how many symbols there are; DT_GNU_HASH only where the last chain ends.
    fn symbol_count(&self, hash: Option<u32>, gnu: Option<u32>) -> u32 {
        if let Some(chains) = hash.and_then(|hash| self.memory_word(hash.checked_add(4)?)) {
            return chains;
        }
        let count = || {
            let memory = self.memory(gnu?)?;
            let word = |index: usize| memory.get(4 * index..4 * index + 4).map(|bytes| self.word(bytes));
            let (buckets, first, filter) = (word(0)? as usize, word(1)?, word(2)? as usize);
            let chains = filter.checked_add(buckets)?.checked_add(4)?;
            if chains > memory.len() / 4 {
                return None;
            }
            let highest = (chains - buckets..chains).filter_map(word).max()?;
            let mut at = highest.checked_sub(first)?;
            while word(chains.checked_add(at as usize)?)? & 1 == 0 {
                at += 1;
            }
            first.checked_add(at)?.checked_add(1)
        };
        count().unwrap_or(0)
    }

    /// The index table has a place for nearly every function, but not its state.
    fn index_table(&self, code: &mut Code<'a>) {
        let tables = |segment: &&Segment| segment.p_type(self.endian) == elf::PT_ARM_EXIDX;
        for segment in self.segments.iter().filter(tables).take(MAX_SEGMENTS) {
            let base = segment.p_vaddr(self.endian);
            let Some(table) = self.slice(segment.p_offset(self.endian), segment.p_filesz(self.endian)) else {
                continue;
            };
            for (index, entry) in table.chunks_exact(8).enumerate() {
                let place = base.wrapping_add(8 * index as u32);
                // prel31: 31 bits, signed, from where they stand.
                let address = place.wrapping_add(((self.word(entry) << 1) as i32 >> 1) as u32);
                let cannot_unwind = self.word(&entry[4..]) == 1;
                let origin = if cannot_unwind {
                    Origin::Guessed
                } else {
                    Origin::Unwound
                };
                code.start(origin, address, None);
            }
        }
    }

    /// Words of data that look like addresses of code, for programs at a fixed address, which need no relocations.
    fn pointers(&self, code: &mut Code<'a>) {
        if code.marks.is_empty() {
            let data = |segment: &&Segment| {
                let (kind, flags) = (segment.p_type(self.endian), segment.p_flags(self.endian));
                kind == elf::PT_LOAD && flags.contains(elf::PF_W) && !flags.contains(elf::PF_X)
            };
            for segment in self.segments.iter().filter(data).take(MAX_SEGMENTS) {
                let data = self.slice(segment.p_offset(self.endian), segment.p_filesz(self.endian));
                for word in data.unwrap_or_default().chunks_exact(4) {
                    let address = self.word(word);
                    if code.span_at(address & !1).is_some_and(|span| code.spans[span].expected) {
                        code.start(Origin::Guessed, address, Some(address & 1 == 1));
                    }
                }
            }
        }
    }
}

/// `$a`, `$t`, `$d`, and the same with a dot and anything behind it.
fn mapping(name: &[u8]) -> Option<Mapping> {
    let mapping = match name.get(..2)? {
        b"$a" => Mapping::Arm,
        b"$t" => Mapping::Thumb,
        b"$d" => Mapping::Data,
        _ => return None,
    };
    matches!(name.get(2), None | Some(b'.')).then_some(mapping)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mapping_symbols_may_have_a_suffix() {
        assert_eq!(mapping(b"$a"), Some(Mapping::Arm));
        assert_eq!(mapping(b"$t.12"), Some(Mapping::Thumb));
        assert_eq!(mapping(b"$d.realdata"), Some(Mapping::Data));
        for other in [&b"$x"[..], b"$", b"", b"$ab", b"a$a"] {
            assert_eq!(mapping(other), None);
        }
    }
}
