//! Who refers to a function, and whether anything does: the call graph of a linked ARM program that has its symbols.
//!
//! A function can be executed when a branch leads to it or its address is somewhere. Addresses are looked for in a way that
//! finds too many rather than too few: every aligned word of loaded data and every literal among the code counts when its
//! value, alone or added to a program counter that the same function adds to something, or to the start of the GOT, lies in
//! the function. So "nothing leads to it" holds for everything that compilers and assemblers write; it does not hold
//! for a program that computes addresses in other ways, and needs symbols to know functions.

use std::collections::BTreeSet;

use object::Endianness;
use object::elf;
use object::read::elf::{FileHeader, ProgramHeader, SectionHeader, Sym};

use crate::elf::ElfError;

type Header = elf::FileHeader32<Endianness>;

/// Most functions of a program that are looked at.
const MAX_FUNCTIONS: usize = 1 << 20;

/// A function of the program: what lies between its symbol and the next one's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Function {
    /// First address.
    pub start: u64,
    /// The address behind it.
    pub end: u64,
    /// Its symbols; several when they have one address.
    pub names: Vec<String>,
}

/// What leads to a function.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Referrers {
    /// Functions that branch to it, by their first names.
    pub branches: BTreeSet<String>,
    /// Functions that have its address among their literals or compute it.
    pub addresses: BTreeSet<String>,
    /// Number of words of data that are its address.
    pub data: usize,
}

/// The functions of a program and what leads to what.
#[derive(Clone, Debug)]
pub struct CallGraph {
    functions: Vec<Function>,
    words: Vec<Words>,
    /// From, to, how.
    edges: Vec<(u32, u32, Link)>,
    /// To which function a word of data points, and whether it is its very address; once a word.
    data: Vec<(u32, bool)>,
    /// Functions that may run into the next one.
    open: Vec<bool>,
    reached: Vec<bool>,
}

/// How one function leads to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Link {
    Branch,
    /// The very address.
    Address,
    /// An address inside of it: enough to execute it, but no pointer to the function.
    Inside,
}

/// Loaded bytes by address.
#[derive(Clone, Debug)]
struct Words {
    start: u64,
    bytes: Vec<u8>,
}

/// What the bytes at an address are, as the mapping symbols say (AAELF32, "Mapping symbols").
#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Arm,
    Thumb,
    Data,
}

impl CallGraph {
    /// Reads a program. `None` when it is not 32-bit little-endian ARM or has no symbols for its code: then nothing can be
    /// said.
    ///
    /// # Errors
    ///
    /// For tables that lie outside of the file.
    pub fn of(bytes: &[u8]) -> Result<Option<CallGraph>, ElfError> {
        if bytes.get(4) != Some(&1) {
            return Ok(None);
        }
        let header = Header::parse(bytes).map_err(|_| ElfError::Header)?;
        let Ok(endian @ Endianness::Little) = header.endian() else {
            return Ok(None);
        };
        let linked = matches!(header.e_type(endian), elf::ET_EXEC | elf::ET_DYN);
        if header.e_machine(endian) != elf::EM_ARM || !linked {
            return Ok(None);
        }
        let wrong = |what: &'static str| move |why: object::read::Error| ElfError::invalid(what, why.to_string());
        let sections = header.sections(endian, bytes).map_err(wrong("section headers"))?;
        let symbols = sections
            .symbols(endian, bytes, elf::SHT_SYMTAB)
            .map_err(wrong("symbols"))?;
        let mut starts: Vec<(u64, String)> = Vec::new();
        let mut marks: Vec<(u64, State)> = Vec::new();
        for symbol in symbols.iter() {
            let Ok(name) = symbols.symbol_name(endian, symbol) else {
                continue;
            };
            let name = String::from_utf8_lossy(name);
            let address = u64::from(symbol.st_value(endian));
            if let Some(state) = mapping(&name) {
                marks.push((address, state));
            } else if symbol.st_type() == elf::STT_FUNC && symbol.st_shndx(endian) != elf::SHN_UNDEF {
                starts.push((address & !1, name.into_owned()));
            }
        }
        if starts.is_empty() || marks.is_empty() || starts.len() > MAX_FUNCTIONS {
            return Ok(None);
        }
        let segments = header
            .program_headers(endian, bytes)
            .map_err(wrong("program headers"))?;
        let mut words = Vec::new();
        for segment in segments {
            if segment.p_type(endian) == elf::PT_LOAD {
                let data = segment
                    .data(endian, bytes)
                    .map_err(|()| ElfError::invalid("PT_LOAD", "lies outside of the file"))?;
                words.push(Words {
                    start: segment.p_vaddr(endian).into(),
                    bytes: data.to_vec(),
                });
            }
        }
        let range = |section: &elf::SectionHeader32<Endianness>| {
            let (start, size) = (u64::from(section.sh_addr(endian)), u64::from(section.sh_size(endian)));
            (start, start.saturating_add(size))
        };
        let code: Vec<(u64, u64)> = sections
            .iter()
            .filter(|section| section.sh_flags(endian).contains(elf::SHF_EXECINSTR))
            .map(range)
            .collect();
        let named = |wanted: &[u8]| {
            sections.iter().find_map(|section| {
                let name = sections.section_name(endian, section).ok()?;
                (name == wanted).then(|| range(section))
            })
        };
        let mut graph = CallGraph {
            functions: functions(starts, &code),
            words,
            edges: Vec::new(),
            data: Vec::new(),
            open: Vec::new(),
            reached: Vec::new(),
        };
        marks.sort_by_key(|(address, _)| *address);
        let tables = Tables {
            got: named(b".got").map(|(start, _)| start),
            index: named(b".ARM.exidx"),
            unwinding: named(b".ARM.extab"),
        };
        graph.code(&marks, tables.got);
        graph.tables(&tables);
        let exported: Vec<u64> = sections
            .symbols(endian, bytes, elf::SHT_DYNSYM)
            .map(|table| {
                table
                    .iter()
                    .filter(|symbol| symbol.st_shndx(endian) != elf::SHN_UNDEF)
                    .map(|symbol| u64::from(symbol.st_value(endian)))
                    .collect()
            })
            .unwrap_or_default();
        graph.walk(u64::from(header.e_entry(endian)), &exported);
        Ok(Some(graph))
    }

    /// The function at an address.
    pub fn function(&self, address: u64) -> Option<&Function> {
        self.index(address).map(|index| &self.functions[index as usize])
    }

    /// The function of a name.
    pub fn named(&self, name: &str) -> Option<&Function> {
        self.functions
            .iter()
            .find(|function| function.names.iter().any(|own| own == name))
    }

    /// Whether something leads from the entry point, from data or from an exported symbol to the function at an address.
    /// `None` when there is no function.
    pub fn is_reached(&self, address: u64) -> Option<bool> {
        self.index(address).map(|index| self.reached[index as usize])
    }

    /// What leads to the function at an address, itself left out.
    pub fn referrers(&self, address: u64) -> Referrers {
        let mut referrers = Referrers::default();
        let Some(wanted) = self.index(address) else {
            return referrers;
        };
        for (from, to, link) in &self.edges {
            if *to == wanted && from != to {
                let name = || self.functions[*from as usize].names[0].clone();
                match link {
                    Link::Branch => referrers.branches.insert(name()),
                    Link::Address => referrers.addresses.insert(name()),
                    Link::Inside => false,
                };
            }
        }
        referrers.data = self.data.iter().filter(|data| **data == (wanted, true)).count();
        referrers
    }

    /// The words of a function, in ARM state or data.
    pub fn words_of(&self, function: &Function) -> Vec<u32> {
        (function.start..function.end)
            .step_by(4)
            .map_while(|address| self.word(address))
            .collect()
    }

    /// Names in the order of addresses, for looking around in.
    pub fn functions(&self) -> &[Function] {
        &self.functions
    }

    fn index(&self, address: u64) -> Option<u32> {
        let behind = self.functions.partition_point(|function| function.start <= address);
        let index = behind.checked_sub(1)?;
        (address < self.functions[index].end).then(|| u32::try_from(index).ok())?
    }

    fn link(&self, to: u32, value: u32) -> Link {
        if u64::from(value & !1) == self.functions[to as usize].start {
            Link::Address
        } else {
            Link::Inside
        }
    }

    /// The loaded word at an address.
    pub fn word(&self, address: u64) -> Option<u32> {
        let words = self
            .words
            .iter()
            .find(|words| words.start <= address && address - words.start < words.bytes.len() as u64)?;
        let at = usize::try_from(address - words.start).ok()?;
        let bytes = words.bytes.get(at..at + 4)?;
        Some(u32::from_le_bytes(bytes.try_into().ok()?))
    }

    /// Branches, literals and computed addresses of all code.
    fn code(&mut self, marks: &[(u64, State)], got: Option<u64>) {
        let mut edges = BTreeSet::new();
        let mut open = Vec::with_capacity(self.functions.len());
        for (from, function) in self.functions.iter().enumerate() {
            let from_index = from as u32;
            let mut literals: Vec<u32> = Vec::new();
            let mut bases: Vec<u64> = vec![0];
            bases.extend(got);
            // Halves of `movw` and `movt`.
            let (mut low, mut high): (Vec<u32>, Vec<u32>) = (Vec::new(), Vec::new());
            let mut branch = |to: Option<u64>| {
                if let Some(to) = to.and_then(|to| self.index(to)) {
                    edges.insert((from_index, to, Link::Branch));
                }
            };
            let mut address = function.start;
            let mut ended = false;
            while address < function.end {
                match state(marks, address) {
                    State::Data => {
                        literals.extend(self.word(address & !3));
                        address = (address & !3) + 4;
                        continue;
                    }
                    State::Arm => {
                        let Some(word) = self.word(address) else { break };
                        branch(arm_branch(word, address));
                        ended = leaves(word);
                        if adds_pc(word) {
                            bases.push(address + 8);
                        }
                        if let Some(value) = pc_immediate(word, address) {
                            literals.push(value);
                        }
                        match word >> 20 & 0xff {
                            0x30 if word >> 28 != 15 => low.push(word >> 4 & 0xf000 | word & 0xfff),
                            0x34 if word >> 28 != 15 => high.push(word >> 4 & 0xf000 | word & 0xfff),
                            _ => {}
                        }
                        address += 4;
                    }
                    State::Thumb => {
                        let half = |at: u64| {
                            let word = self.word(at & !3)?;
                            Some(if at & 2 == 0 { word & 0xffff } else { word >> 16 })
                        };
                        let Some(first) = half(address) else { break };
                        let wide = first >> 11 > 0b11100;
                        let second = if wide { half(address + 2).unwrap_or(0) } else { 0 };
                        branch(thumb_branch(first, second, address));
                        // b, bx, pop {..., pc}
                        ended = first >> 11 == 0b11100 || first & 0xff80 == 0x4700 || first & 0xff00 == 0xbd00;
                        // add rd, pc
                        if first & 0xff78 == 0x4478 {
                            bases.push(address + 4);
                        }
                        if first >> 11 == 0b10100 {
                            literals.push((((address + 4) & !3) + u64::from(first & 0xff) * 4) as u32);
                        }
                        if wide {
                            let value =
                                (first & 15) << 12 | (first >> 10 & 1) << 11 | (second >> 12 & 7) << 8 | second & 0xff;
                            match first & 0xfbf0 {
                                0xf240 => low.push(value),
                                0xf2c0 => high.push(value),
                                _ => {}
                            }
                        }
                        address += if wide { 4 } else { 2 };
                    }
                }
            }
            open.push(!ended);
            for high in &high {
                literals.extend(low.iter().map(|low| high << 16 | low));
            }
            literals.sort_unstable();
            literals.dedup();
            for literal in literals {
                for base in &bases {
                    let value = literal.wrapping_add(*base as u32);
                    if let Some(to) = self.index(u64::from(value & !1)) {
                        edges.insert((from_index, to, self.link(to, value)));
                    }
                }
            }
        }
        self.edges = edges.into_iter().collect();
        self.open = open;
    }

    /// Addresses in data: pointers, and what the tables for unwinding refer to. The index of those tables has every function,
    /// and is no reason to call one.
    fn tables(&mut self, tables: &Tables) {
        let inside =
            |range: Option<(u64, u64)>, address: u64| range.is_some_and(|(start, end)| (start..end).contains(&address));
        let mut data = Vec::new();
        for words in &self.words {
            // Words are aligned by address, whatever the segment begins with.
            let skip = (words.start.wrapping_neg() & 3) as usize;
            for (number, word) in words.bytes.get(skip..).unwrap_or_default().chunks_exact(4).enumerate() {
                let address = words.start + skip as u64 + number as u64 * 4;
                let word = u32::from_le_bytes([word[0], word[1], word[2], word[3]]);
                // What is in a function was looked at as its code.
                if inside(tables.index, address) || self.index(address).is_some() {
                    continue;
                }
                if inside(tables.unwinding, address) {
                    // The personality routine: 31 bits, relative to the word (EHABI 32, "prel31").
                    let offset = u64::from(word << 1) as i64;
                    let relative = (offset as u32 as i32 >> 1) as i64;
                    let routine = address.wrapping_add_signed(relative) as u32;
                    data.extend(
                        self.index(u64::from(routine & !1))
                            .map(|to| (to, self.link(to, routine) == Link::Address)),
                    );
                }
                data.extend(
                    self.index(u64::from(word & !1))
                        .map(|to| (to, self.link(to, word) == Link::Address)),
                );
            }
        }
        self.data = data;
    }

    fn walk(&mut self, entry: u64, exported: &[u64]) {
        let mut reached = vec![false; self.functions.len()];
        let mut open: Vec<u32> = self.data.iter().map(|(to, _)| *to).collect();
        open.extend(self.index(entry & !1));
        open.extend(exported.iter().filter_map(|address| self.index(address & !1)));
        let mut next: Vec<Vec<u32>> = vec![Vec::new(); self.functions.len()];
        for (from, to, _) in &self.edges {
            next[*from as usize].push(*to);
        }
        // Code that runs into the next function, as crti.o's and some assembler does.
        for index in 1..self.functions.len() {
            if self.functions[index - 1].end == self.functions[index].start && self.open[index - 1] {
                next[index - 1].push(index as u32);
            }
        }
        while let Some(index) = open.pop() {
            if !std::mem::replace(&mut reached[index as usize], true) {
                open.extend(&next[index as usize]);
            }
        }
        self.reached = reached;
    }
}

/// Whether control never gets behind an instruction in ARM state.
fn leaves(word: u32) -> bool {
    let always = word >> 28 == 14;
    let leaves = word & 0x0fff_fff0 == 0x012f_ff10 // bx
        || word & 0x0f00_0000 == 0x0a00_0000 // b
        || word & 0x0e10_8000 == 0x0810_8000 // ldm with pc
        || word & 0x0fff_f000 == 0x049d_f000 // pop {pc}
        || word & 0x0def_f000 == 0x01a0_f000; // mov pc
    always && leaves
}

struct Tables {
    got: Option<u64>,
    index: Option<(u64, u64)>,
    unwinding: Option<(u64, u64)>,
}

/// `$a`, `$t`, `$d`, each also with a suffix.
fn mapping(name: &str) -> Option<State> {
    let (kind, rest) = name.strip_prefix('$').and_then(|rest| rest.split_at_checked(1))?;
    if !rest.is_empty() && !rest.starts_with('.') {
        return None;
    }
    match kind {
        "a" => Some(State::Arm),
        "t" => Some(State::Thumb),
        "d" => Some(State::Data),
        _ => None,
    }
}

fn state(marks: &[(u64, State)], address: u64) -> State {
    let behind = marks.partition_point(|(mark, _)| *mark <= address);
    behind.checked_sub(1).map_or(State::Arm, |index| marks[index].1)
}

/// Functions by address, each as long as it is to the next or to the end of its section.
fn functions(mut starts: Vec<(u64, String)>, code: &[(u64, u64)]) -> Vec<Function> {
    starts.sort();
    let mut functions: Vec<Function> = Vec::new();
    for (start, name) in starts {
        match functions.last_mut() {
            Some(last) if last.start == start => last.names.push(name),
            _ => {
                let Some((_, end)) = code.iter().find(|(first, end)| (*first..*end).contains(&start)) else {
                    continue;
                };
                if let Some(last) = functions.last_mut() {
                    last.end = last.end.min(start);
                }
                functions.push(Function {
                    start,
                    end: *end,
                    names: vec![name],
                });
            }
        }
    }
    functions
}

/// `b`, `bl`, `blx` with an offset.
pub(super) fn arm_branch(word: u32, address: u64) -> Option<u64> {
    if word >> 25 & 7 != 0b101 {
        return None;
    }
    let offset = i64::from((word << 8) as i32 >> 6);
    let half = if word >> 28 == 15 {
        u64::from(word >> 24 & 1) << 1
    } else {
        0
    };
    Some((address + 8 + half).wrapping_add_signed(offset) & 0xffff_ffff)
}

/// `add` and `sub` of registers with the program counter among them; the value is that of the instruction, plus 8.
pub(super) fn adds_pc(word: u32) -> bool {
    let add = word & 0x0fe0_0010 == 0x0080_0000;
    add && word >> 28 != 15 && (word >> 16 & 15 == 15 || word & 15 == 15)
}

/// `adr`: what `add` or `sub` of an immediate makes of the program counter.
fn pc_immediate(word: u32, address: u64) -> Option<u32> {
    let value = (word & 0xff).rotate_right((word >> 8 & 15) * 2);
    let pc = address as u32 + 8;
    match word & 0x0fef_0000 {
        _ if word >> 28 == 15 => None,
        0x028f_0000 => Some(pc.wrapping_add(value)),
        0x024f_0000 => Some(pc.wrapping_sub(value)),
        _ => None,
    }
}

/// `b`, `bl`, `blx`, `cbz` with an offset.
fn thumb_branch(first: u32, second: u32, address: u64) -> Option<u64> {
    let pc = address + 4;
    let to = |offset: i64| Some(pc.wrapping_add_signed(offset) & 0xffff_ffff);
    match first >> 11 {
        0b11100 => to(i64::from((first << 21) as i32 >> 20)),
        0b11010 | 0b11011 if first >> 8 & 15 < 14 => to(i64::from((first << 24) as i32 >> 23)),
        0b10110 if first & 0xf500 == 0xb100 => to(i64::from((first >> 9 & 1) << 6 | (first >> 3 & 31) << 1)),
        0b11110 if second >> 15 == 1 => {
            let sign = first >> 10 & 1;
            let (j1, j2) = (second >> 13 & 1, second >> 11 & 1);
            let conditional = second >> 12 & 1 == 0 && second >> 14 & 1 == 0;
            let offset = if conditional {
                if first >> 7 & 7 == 7 {
                    return None;
                }
                let bits = sign << 20 | j2 << 19 | j1 << 18 | (first & 0x3f) << 12 | (second & 0x7ff) << 1;
                (bits << 11) as i32 >> 11
            } else {
                let (i1, i2) = (1 ^ j1 ^ sign, 1 ^ j2 ^ sign);
                let bits = sign << 24 | i1 << 23 | i2 << 22 | (first & 0x3ff) << 12 | (second & 0x7ff) << 1;
                (bits << 7) as i32 >> 7
            };
            // `blx` goes to ARM state, whose words are aligned.
            let aligned = if second >> 12 & 5 == 4 { pc & !3 } else { pc };
            Some(aligned.wrapping_add_signed(i64::from(offset)) & 0xffff_ffff)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn branches_lead_where_the_manual_says() {
        assert_eq!(arm_branch(0xeaff_fffe, 0x1000), Some(0x1000), "b .");
        assert_eq!(arm_branch(0xeb00_0001, 0x1000), Some(0x100c), "bl .+12");
        assert_eq!(arm_branch(0xfb00_0000, 0x1000), Some(0x100a), "blx .+10");
        assert_eq!(arm_branch(0xe1a0_0000, 0x1000), None, "nop");
        assert_eq!(thumb_branch(0xe7fe, 0, 0x1000), Some(0x1000), "b .");
        assert_eq!(thumb_branch(0xd0fe, 0, 0x1000), Some(0x1000), "beq .");
        assert_eq!(thumb_branch(0xde00, 0, 0x1000), None, "udf");
        assert_eq!(thumb_branch(0xf7ff, 0xfffe, 0x1000), Some(0x1000), "bl .");
        assert_eq!(thumb_branch(0xf000, 0xe802, 0x1002), Some(0x1008), "blx .+6");
        assert_eq!(thumb_branch(0xf43f, 0xaffe, 0x1000), Some(0x1000), "beq.w .");
        assert_eq!(thumb_branch(0xb100, 0, 0x1000), Some(0x1004), "cbz r0, .+4");
    }

    #[test]
    fn addresses_that_are_computed_are_seen() {
        assert!(adds_pc(0xe08f_0000) && adds_pc(0xe080_000f) && !adds_pc(0xe080_0001));
        assert_eq!(pc_immediate(0xe28f_0004, 0x1000), Some(0x100c), "adr r0, .+12");
        assert_eq!(pc_immediate(0xe24f_0004, 0x1000), Some(0x1004), "adr r0, .+4");
        assert_eq!(pc_immediate(0xe280_0004, 0x1000), None);
    }

    #[test]
    fn nothing_is_said_of_other_files() {
        assert!(CallGraph::of(b"").unwrap().is_none());
        assert!(CallGraph::of(b"\x7fELF\x01").is_err());
    }
}
