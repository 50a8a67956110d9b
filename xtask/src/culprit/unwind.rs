//! The tables for unwinding of 32-bit ARM: which registers each function's frame restores (EHABI 32, sections 5 to 7, 10.3).

use object::Endianness;
use object::elf;
use object::read::elf::{FileHeader, ProgramHeader};

use crate::elf::ElfError;

type Header = elf::FileHeader32<Endianness>;

/// What the tables say of one function.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Its first address.
    pub function: u64,
    /// Whether a register of D16 to D31 is restored.
    pub high_registers: bool,
}

/// Every entry of `PT_ARM_EXIDX`. Empty when the program has no such tables.
///
/// # Errors
///
/// For tables that lie outside of the file or use what the specification reserves: then nothing is known.
pub fn frames(bytes: &[u8]) -> Result<Vec<Frame>, ElfError> {
    let header = Header::parse(bytes).map_err(|_| ElfError::Header)?;
    let endian = header.endian().map_err(|_| ElfError::Header)?;
    let segments = header
        .program_headers(endian, bytes)
        .map_err(|error| ElfError::invalid("program headers", error.to_string()))?;
    let mut loaded = Vec::new();
    for segment in segments.iter().filter(|segment| segment.p_type(endian) == elf::PT_LOAD) {
        let data = segment
            .data(endian, bytes)
            .map_err(|()| ElfError::invalid("PT_LOAD", "lies outside of the file"))?;
        loaded.push((segment.p_vaddr(endian), data));
    }
    let word = |address: u32| -> Result<u32, ElfError> {
        loaded
            .iter()
            .find_map(|(start, data)| {
                let at = address.checked_sub(*start)? as usize;
                let word: [u8; 4] = data.get(at..at.checked_add(4)?)?.try_into().ok()?;
                Some(match endian {
                    Endianness::Little => u32::from_le_bytes(word),
                    Endianness::Big => u32::from_be_bytes(word),
                })
            })
            .ok_or_else(|| ElfError::invalid("tables for unwinding", format!("there is nothing at {address:#x}")))
    };
    // An offset of 31 bits from the word's own address.
    let relative = |address: u32, word: u32| address.wrapping_add(((word << 1) as i32 >> 1) as u32);
    let mut frames = Vec::new();
    for segment in segments
        .iter()
        .filter(|segment| segment.p_type(endian) == elf::PT_ARM_EXIDX)
    {
        let start = segment.p_vaddr(endian);
        for entry in 0..segment.p_memsz(endian) / 8 {
            let at = start.wrapping_add(entry * 8);
            let function = relative(at, word(at)?);
            let second = word(at.wrapping_add(4))?;
            let opcodes = match second {
                // EXIDX_CANTUNWIND
                1 => Vec::new(),
                // The compact form in the entry itself: routine 0, three opcodes.
                inline if inline >> 31 == 1 => compact(inline, |_| Err(reserved(function)), function)?,
                offset => {
                    let table = relative(at.wrapping_add(4), offset);
                    let first = word(table)?;
                    if first >> 31 == 1 {
                        compact(first, |number| word(table.wrapping_add(4 * (number + 1))), function)?
                    } else {
                        // A routine of its own (C++, Rust). What follows is up to it; those of GNU and LLVM have the
                        // number of further words in the first byte, as routine 1 has.
                        let first = word(table.wrapping_add(4))?;
                        let mut opcodes = first.to_be_bytes()[1..].to_vec();
                        for number in 0..first >> 24 {
                            opcodes.extend(word(table.wrapping_add(4 * (number + 2)))?.to_be_bytes());
                        }
                        opcodes
                    }
                }
            };
            frames.push(Frame {
                function: u64::from(function & !1),
                high_registers: high_registers(&opcodes).ok_or_else(|| reserved(function))?,
            });
        }
    }
    Ok(frames)
}

fn reserved(function: u32) -> ElfError {
    ElfError::invalid(
        "tables for unwinding",
        format!("those of the function at {function:#x} use what is reserved"),
    )
}

/// The opcodes of the routines 0, 1 and 2; `more(n)` is the nth word behind the first.
fn compact(first: u32, more: impl Fn(u32) -> Result<u32, ElfError>, function: u32) -> Result<Vec<u8>, ElfError> {
    let bytes = first.to_be_bytes();
    match first >> 24 & 0x7f {
        0 => Ok(bytes[1..].to_vec()),
        1 | 2 => {
            let mut opcodes = bytes[2..].to_vec();
            for number in 0..u32::from(bytes[1]) {
                opcodes.extend(more(number)?.to_be_bytes());
            }
            Ok(opcodes)
        }
        _ => Err(reserved(function)),
    }
}

/// Whether the opcodes pop one of D16 to D31. `None` for opcodes that are reserved or cut short.
fn high_registers(opcodes: &[u8]) -> Option<bool> {
    let mut bytes = opcodes.iter().copied();
    let mut high = false;
    while let Some(opcode) = bytes.next() {
        match opcode {
            // Stack pointer; r4 to r15; r4 to r11.
            0x00..=0x7f | 0xa0..=0xaf => {}
            0x80..=0x8f => {
                bytes.next()?;
            }
            0x90..=0x9f => {
                if matches!(opcode, 0x9d | 0x9f) {
                    return None;
                }
            }
            // Finish: what follows is filling.
            0xb0 => return Some(high),
            0xb1 => {
                let mask = bytes.next()?;
                // 0xb1 0x00 and 0xb1 0b1xxx0000 are spare, the latter but for what LLVM made of it.
                if mask == 0 || mask & 0xf0 != 0 {
                    return None;
                }
            }
            0xb2 => while bytes.next()? & 0x80 != 0 {},
            // D0 to D15 by FSTMX; return address authentication.
            0xb3 => {
                bytes.next()?;
            }
            0xb4 => {}
            // D8 to D15.
            0xb8..=0xbf | 0xd0..=0xd7 => {}
            // Wireless MMX: not D registers.
            0xc0..=0xc5 => {}
            0xc6 | 0xc7 => {
                bytes.next()?;
            }
            // D16 + s to D16 + s + c.
            0xc8 => {
                bytes.next()?;
                high = true;
            }
            // D s to D s + c.
            0xc9 => {
                let range = bytes.next()?;
                high |= (range >> 4) + (range & 15) > 15;
            }
            _ => return None,
        }
    }
    Some(high)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn registers_are_read_from_the_opcodes() {
        let cases: [(&[u8], Option<bool>); 9] = [
            (&[0xa8, 0xb0, 0xb0], Some(false)),
            (&[0x84, 0x0d, 0xb0, 0xc8], Some(false)),
            (&[0xc8, 0x00, 0xb0], Some(true)),
            (&[0xc9, 0x83, 0xb0], Some(false)),
            (&[0xc9, 0xf1, 0xb0], Some(true)),
            (&[0xb2, 0x80, 0x01, 0xc8, 0x01], Some(true)),
            (&[0xc8], None),
            (&[0xff], None),
            (&[], Some(false)),
        ];
        for (opcodes, expected) in cases {
            assert_eq!(high_registers(opcodes), expected, "{opcodes:02x?}");
        }
    }

    #[test]
    fn what_is_no_program_is_an_error() {
        assert!(frames(b"").is_err());
        assert!(frames(b"\x7fELF").is_err());
    }
}
