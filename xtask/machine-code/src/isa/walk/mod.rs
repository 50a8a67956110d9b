//! Every instruction of an ARM file that a chip lacks, and how sure it is that the words are instructions at all.
//!
//! Code and data lie between each other, and only the assembler knew which is which. What is taken for code, surest first:
//!
//! 1. [`Evidence::Mapped`]: mapping symbols (`$a`, `$t`) say so.
//! 2. [`Evidence::Reached`]: control flow leads there from where the file says that it begins (entry point, symbols of
//!    functions, what the loader calls), or from mapped code. Words that such code loads relative to PC are data; after a call
//!    that may not return, the words behind it count only if they read as instructions up to the next one that does not fall
//!    through.
//! 3. [`Evidence::Pointed`]: a table of unwinding or a relocated word points there, and it reads as code in the same sense.
//! 4. [`Evidence::Reads`]: nothing leads there, but a run of at least [`MIN_RUN`] words reads as code. Random words do not: half
//!    of them must have the condition "always", which is one in sixteen of all words.
//! 5. [`Evidence::Unreached`]: none of this. It may be data (tables in `.text` are), so a word there that would be beyond the
//!    chip is counted and listed, and is no finding.
//!
//! In a file with mapping symbols `$d` is believed, unless control flow says otherwise.

mod flow;
mod gaps;
mod judge;
mod jumps;
mod registers;
mod step;

use std::sync::Arc;

use super::decode::{Feature, Features};
use crate::elf::ElfError;
use crate::elf::code::Code;

pub use gaps::MIN_RUN;

/// State of the processor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum State {
    /// Instructions of 32 bits.
    Arm,
    /// Instructions of 16 bits, and with Thumb-2 of 32.
    Thumb,
}

/// Why words are taken for instructions. The order is from sure to doubtful.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Evidence {
    /// A mapping symbol says so.
    Mapped,
    /// Control flow from where execution is known to begin.
    Reached,
    /// An unwinding table or a pointer leads there, and it reads as code.
    Pointed,
    /// Nothing leads there, but it reads as code.
    Reads,
    /// Nothing at all: it may be data.
    Unreached,
}

/// The name of what an address is in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Symbol {
    /// As in the symbol table, not demangled.
    pub name: Arc<str>,
    /// Bytes from the symbol to the address.
    pub offset: u64,
}

/// One instruction that a chip lacks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Beyond {
    /// Address as the file gives it; in an object file the offset in its section.
    pub address: u64,
    /// The instruction. Of 32 bits in Thumb state, the first halfword is the upper one.
    pub word: u32,
    /// Bytes: 2 or 4.
    pub width: u8,
    /// In which state it would be executed.
    pub state: State,
    /// Mnemonic or group.
    pub name: &'static str,
    /// What the chip lacks.
    pub needs: Feature,
    /// The function around it, where there are symbols.
    pub symbol: Option<Symbol>,
    /// Name of its section, where there are section headers.
    pub section: Option<Arc<str>>,
    /// Where the function around it begins, as far as that is known: for groups where there are no symbols.
    pub function: Option<u64>,
    /// Why it is taken for an instruction.
    pub evidence: Evidence,
    /// Whether it surely is one: [`Evidence::Mapped`] or [`Evidence::Reached`].
    pub certain: bool,
}

impl Beyond {
    /// The bytes as they stand in a little-endian file.
    pub fn bytes(&self) -> Vec<u8> {
        bytes_of(self.word, self.width, self.state)
    }
}

/// An instruction in code that is no defined one on any chip, or unpredictable on this.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Odd {
    /// As in [`Beyond`].
    pub address: u64,
    /// As in [`Beyond`].
    pub word: u32,
    /// As in [`Beyond`].
    pub width: u8,
    /// As in [`Beyond`].
    pub state: State,
    /// Mnemonic or group; `None` for an undefined word.
    pub name: Option<&'static str>,
    /// As in [`Beyond`].
    pub symbol: Option<Symbol>,
    /// As in [`Beyond`].
    pub evidence: Evidence,
}

impl Odd {
    /// The bytes as they stand in a little-endian file.
    pub fn bytes(&self) -> Vec<u8> {
        bytes_of(self.word, self.width, self.state)
    }
}

fn bytes_of(word: u32, width: u8, state: State) -> Vec<u8> {
    match (state, width) {
        (_, 2) => (word as u16).to_le_bytes().to_vec(),
        (State::Thumb, _) => [((word >> 16) as u16).to_le_bytes(), (word as u16).to_le_bytes()].concat(),
        (State::Arm, _) => word.to_le_bytes().to_vec(),
    }
}

/// How code was told from data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// By mapping symbols, and control flow into what they call data.
    MappingSymbols,
    /// By control flow alone.
    ControlFlow,
    /// There is no executable byte.
    NoCode,
}

/// What was looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Instructions in ARM state that were judged: all but unreached ones.
    pub arm: u64,
    /// The same in Thumb state.
    pub thumb: u64,
    /// Of both, those that read as code only ([`Evidence::Pointed`] and [`Evidence::Reads`]).
    pub presumed: u64,
    /// Bytes of data between them: literals, tables, padding, `$d`.
    pub data: u64,
    /// Bytes where code is expected that nothing leads to and that do not read as code.
    pub unreached: u64,
    /// Bytes of executable segments in sections that are not executable, and were not reached: read-only data that older linkers
    /// put beside the code.
    pub beside: u64,
}

/// The result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Walk {
    /// What the chip lacks, by address. All of it, certain or not.
    pub beyond: Vec<Beyond>,
    /// Undefined words in code, by address.
    pub undefined: Vec<Odd>,
    /// Unpredictable instructions in code, by address.
    pub unpredictable: Vec<Odd>,
    /// What was looked at.
    pub counts: Counts,
    /// How.
    pub method: Method,
}

/// Judges every executable byte of a file; `None` for a file that is not 32-bit ARM.
///
/// # Errors
///
/// What [`Code::parse`] cannot read.
pub fn walk(bytes: &[u8], features: Features) -> Result<Option<Walk>, ElfError> {
    Ok(Code::parse(bytes)?.map(|code| flow::walk(&code, features)))
}
