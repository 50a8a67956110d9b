//! Code beyond the chip that the tool chain itself brings along and keeps from being executed. It is neither known nor
//! believed by its name: each [`Guard`] holds only after the words around the function, everything that refers to it, and
//! what decides at run time were found to be as the guard says. So it can be checked in a stripped program, too.
//!
//! * musl (`src/thread/arm/atomics.s`, `__set_thread_area.c`) has its compare-and-swap and its barrier three times, and puts
//!   the addresses of one pair into two variables when a thread is set up: those for v7 unless `AT_PLATFORM` says `v6`.
//! * LLVM's libunwind (`UnwindRegistersSave.S`, `UnwindRegistersRestore.S`, `Registers.hpp`) saves and restores D16 to D31
//!   once a frame's tables name one of them. Only code for a chip that has them writes such tables, and the tables of
//!   the program are all in the program.

use object::Endianness;
use object::elf;
use object::read::elf::{FileHeader, ProgramHeader};

use super::reach::{adds_pc, arm_branch};
use super::unwind;
use crate::elf::ElfError;

type Header = elf::FileHeader32<Endianness>;

/// A reason why code that the chip lacks is not executed, with what it was checked against.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Guard {
    /// The tool chain's part: `musl`, `libunwind`.
    pub part: &'static str,
    /// The function, by its name in the part's source.
    pub function: &'static str,
    /// Why it is not executed, as a sentence.
    pub reason: &'static str,
}

const MUSL: &str = "its address is in __set_thread_area alone, which compares AT_PLATFORM with \"v6\" before it is used; words, \
                    references and comparisons were checked";

const UNWINDER: &str = "it is called for frames whose tables name D16 to D31; all tables of the program were read and none does; \
                        words and references were checked";

/// A function by its words and by those in front of it, which belong to the same object.
struct Body {
    guard: Guard,
    before: &'static [u32],
    words: &'static [u32],
    check: fn(&Program<'_>, &References) -> Result<(), String>,
}

const BX_LR: u32 = 0xe12f_ff1e;

const BODIES: [Body; 4] = [
    Body {
        guard: Guard {
            part: "musl",
            function: "__a_barrier_v7",
            reason: MUSL,
        },
        // __a_barrier_v6: mcr p15, 0, r0, c7, c10, 5; bx lr
        before: &[0xee07_0fba, BX_LR],
        // dmb ish; bx lr
        words: &[0xf57f_f05b, BX_LR],
        check: musl,
    },
    Body {
        guard: Guard {
            part: "musl",
            function: "__a_cas_v7",
            reason: MUSL,
        },
        // The end of __a_cas_v6: beq 1b; mcr p15, 0, r0, c7, c10, 5; bx lr
        before: &[0x0aff_fffa, 0xee07_0fba, BX_LR],
        // mov r3, r0; dmb ish; 1: ldrex r0, [r2]; subs r0, r3, r0; strexeq r0, r1, [r2]; teqeq r0, #1; beq 1b; dmb ish; bx lr
        words: &[
            0xe1a0_3000,
            0xf57f_f05b,
            0xe192_0f9f,
            0xe053_0000,
            0x0182_0f91,
            0x0330_0001,
            0x0aff_fffa,
            0xf57f_f05b,
            BX_LR,
        ],
        check: musl,
    },
    Body {
        guard: Guard {
            part: "libunwind",
            function: "libunwind::Registers_arm::saveVFPv3",
            reason: UNWINDER,
        },
        // saveVFPWithFSTMD, saveVFPWithFSTMX: vstmia r0, {d0-d15}; bx lr, twice
        before: &[0xec80_0b20, BX_LR, 0xec80_0b20, BX_LR],
        // vstmia r0, {d16-d31}; bx lr
        words: &[0xecc0_0b20, BX_LR],
        check: unwinder,
    },
    Body {
        guard: Guard {
            part: "libunwind",
            function: "libunwind::Registers_arm::restoreVFPv3",
            reason: UNWINDER,
        },
        // restoreVFPWithFLDMD, restoreVFPWithFLDMX
        before: &[0xec90_0b20, BX_LR, 0xec90_0b20, BX_LR],
        // vldmia r0, {d16-d31}; bx lr
        words: &[0xecd0_0b20, BX_LR],
        check: unwinder,
    },
];

/// What is known of the code at an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Known {
    /// It is no code that is known here.
    No,
    /// It is guarded, and this was checked.
    Guarded(Guard),
    /// It is the code of a guarded function, but the guard is not there.
    Not(Guard, String),
}

/// Where a loaded word is.
#[derive(Clone, Copy)]
struct Segment<'a> {
    start: u32,
    bytes: &'a [u8],
    code: bool,
}

/// The loaded words of a 32-bit little-endian ARM program, to look for guards in.
pub struct Program<'a> {
    file: &'a [u8],
    segments: Vec<Segment<'a>>,
}

impl std::fmt::Debug for Program<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Program({} segments)", self.segments.len())
    }
}

/// Everything that refers to an address: where a branch to it is, where its value is among code, and how often in data.
#[derive(Debug, Default)]
struct References {
    branches: Vec<u32>,
    literals: Vec<u32>,
    data: usize,
}

impl<'a> Program<'a> {
    /// `None` for other machines.
    ///
    /// # Errors
    ///
    /// For headers and segments that lie outside of the file.
    pub fn new(file: &'a [u8]) -> Result<Option<Program<'a>>, ElfError> {
        if file.get(4) != Some(&1) {
            return Ok(None);
        }
        let header = Header::parse(file).map_err(|_| ElfError::Header)?;
        let Ok(endian @ Endianness::Little) = header.endian() else {
            return Ok(None);
        };
        if header.e_machine(endian) != elf::EM_ARM {
            return Ok(None);
        }
        let mut segments = Vec::new();
        for segment in header
            .program_headers(endian, file)
            .map_err(|error| ElfError::invalid("program headers", error.to_string()))?
        {
            if segment.p_type(endian) == elf::PT_LOAD {
                segments.push(Segment {
                    start: segment.p_vaddr(endian),
                    bytes: segment
                        .data(endian, file)
                        .map_err(|()| ElfError::invalid("PT_LOAD", "lies outside of the file"))?,
                    code: segment.p_flags(endian).contains(elf::PF_X),
                });
            }
        }
        Ok(Some(Program { file, segments }))
    }

    /// What is known of the instruction at an address.
    pub fn known(&self, address: u64) -> Known {
        let Ok(address) = u32::try_from(address) else {
            return Known::No;
        };
        for body in &BODIES {
            for at in 0..body.words.len() as u32 {
                let Some(start) = address.checked_sub(4 * at) else {
                    continue;
                };
                if self.is(body, start) {
                    return match (body.check)(self, &self.references(start)) {
                        Ok(()) => Known::Guarded(body.guard),
                        Err(problem) => Known::Not(body.guard, problem),
                    };
                }
            }
        }
        Known::No
    }

    fn word(&self, address: u32) -> Option<u32> {
        self.segments.iter().find_map(|segment| {
            let at = address.checked_sub(segment.start)? as usize;
            let bytes: [u8; 4] = segment.bytes.get(at..at.checked_add(4)?)?.try_into().ok()?;
            Some(u32::from_le_bytes(bytes))
        })
    }

    fn is(&self, body: &Body, start: u32) -> bool {
        let Some(first) = start.checked_sub(4 * body.before.len() as u32) else {
            return false;
        };
        let expected = body.before.iter().chain(body.words);
        expected
            .enumerate()
            .all(|(number, word)| self.word(first.wrapping_add(4 * number as u32)) == Some(*word))
    }

    /// Looks at every aligned word, whether it is code or data: that finds too much rather than too little.
    fn references(&self, wanted: u32) -> References {
        let mut found = References::default();
        for segment in &self.segments {
            let skip = segment.start.wrapping_neg() & 3;
            let mut address = segment.start.wrapping_add(skip);
            for bytes in segment.bytes.get(skip as usize..).unwrap_or_default().chunks_exact(4) {
                let word = u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
                if !segment.code {
                    found.data += usize::from(word & !1 == wanted);
                } else if word & !1 == wanted {
                    found.literals.push(address);
                } else if word >> 25 & 7 == 0b101 {
                    if arm_branch(word, u64::from(address)) == Some(u64::from(wanted)) {
                        found.branches.push(address);
                    }
                } else {
                    // Position-independent code: a literal that is relative to an instruction in front of it.
                    let user = wanted.wrapping_sub(8).wrapping_sub(word) & !1;
                    if address.wrapping_sub(user) <= 4 * NEAR && self.word(user).is_some_and(adds_pc) {
                        found.literals.push(address);
                    }
                }
                address = address.wrapping_add(4);
            }
        }
        found
    }

    /// Whether one of the words in front of an address compares a register with a value.
    fn compares(&self, before: u32, value: u32) -> bool {
        (1..NEAR).any(|number| {
            let word = before.checked_sub(4 * number).and_then(|at| self.word(at));
            // cmp, teq
            word.is_some_and(|word| matches!(word >> 20 & 0xff, 0x35 | 0x33) && word & 0xfff == value)
        })
    }
}

/// How far literals may be from what uses them, in words: `ldr` reaches 4095 bytes.
const NEAR: u32 = 1024;

fn musl(program: &Program<'_>, references: &References) -> Result<(), String> {
    if let Some(branch) = references.branches.first() {
        return Err(format!("the code at {branch:#x} branches to it"));
    }
    if references.data > 0 {
        return Err("its address is in data".to_owned());
    }
    if references.literals.is_empty() {
        // Nothing refers to it: no guard is needed.
        return Ok(());
    }
    for literal in &references.literals {
        // AT_PLATFORM is 15 (linux/auxvec.h).
        for (what, value) in [("AT_PLATFORM", 15), ("'v'", u32::from(b'v')), ("'6'", u32::from(b'6'))] {
            if !program.compares(*literal, value) {
                return Err(format!(
                    "its address is at {literal:#x}, and nothing in front of that compares with {what}"
                ));
            }
        }
    }
    Ok(())
}

fn unwinder(program: &Program<'_>, references: &References) -> Result<(), String> {
    if references.data + references.literals.len() > 0 {
        return Err("its address is taken".to_owned());
    }
    match unwind::frames(program.file) {
        Ok(frames) => match frames.iter().find(|frame| frame.high_registers) {
            Some(frame) => Err(format!(
                "the tables for unwinding of the function at {:#x} name D16 to D31",
                frame.function
            )),
            None => Ok(()),
        },
        Err(problem) => Err(format!("the tables for unwinding cannot be read: {problem}")),
    }
}
