//! Program headers: what the kernel and the dynamic loader map.

use object::elf;
use object::endian::Endianness;
use object::read::elf::{FileHeader, ProgramHeader};

use super::{ElfError, is_elf};

/// One program header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment {
    /// `PT_LOAD`, or the number of one without a name here.
    pub kind: String,
    /// `r`, `w` and `x`, or `-` in their places.
    pub flags: String,
    /// Where its bytes begin in the file.
    pub offset: u64,
    /// Where it is loaded.
    pub address: u64,
    /// Bytes in the file.
    pub file_size: u64,
    /// Bytes in memory; what is more than in the file is zero (`.bss`).
    pub memory_size: u64,
}

/// The entry point, and the program headers in the order of the file.
///
/// # Errors
/// When the header cannot be read, or the table lies outside of the file.
pub fn segments(bytes: &[u8]) -> Result<(u64, Vec<Segment>), ElfError> {
    match (is_elf(bytes), bytes.get(4)) {
        (true, Some(1)) => read::<elf::FileHeader32<Endianness>>(bytes),
        (true, Some(2)) => read::<elf::FileHeader64<Endianness>>(bytes),
        _ => Err(ElfError::Header),
    }
}

fn read<H: FileHeader<Endian = Endianness>>(bytes: &[u8]) -> Result<(u64, Vec<Segment>), ElfError> {
    let header = H::parse(bytes).map_err(|_| ElfError::Header)?;
    let endian = header.endian().map_err(|_| ElfError::Header)?;
    let table = header
        .program_headers(endian, bytes)
        .map_err(|error| ElfError::invalid("program headers", error.to_string()))?;
    let segment = |segment: &H::ProgramHeader| {
        let flags = segment.p_flags(endian);
        let flag = |bit, letter: char| if flags.contains(bit) { letter } else { '-' };
        Segment {
            kind: name(segment.p_type(endian)),
            flags: [flag(elf::PF_R, 'r'), flag(elf::PF_W, 'w'), flag(elf::PF_X, 'x')]
                .iter()
                .collect(),
            offset: segment.p_offset(endian).into(),
            address: segment.p_vaddr(endian).into(),
            file_size: segment.p_filesz(endian).into(),
            memory_size: segment.p_memsz(endian).into(),
        }
    };
    Ok((header.e_entry(endian).into(), table.iter().map(segment).collect()))
}

fn name(kind: elf::ProgramType) -> String {
    match kind {
        elf::PT_LOAD => "PT_LOAD",
        elf::PT_DYNAMIC => "PT_DYNAMIC",
        elf::PT_INTERP => "PT_INTERP",
        elf::PT_NOTE => "PT_NOTE",
        elf::PT_PHDR => "PT_PHDR",
        elf::PT_TLS => "PT_TLS",
        elf::PT_GNU_EH_FRAME => "PT_GNU_EH_FRAME",
        elf::PT_GNU_STACK => "PT_GNU_STACK",
        elf::PT_GNU_RELRO => "PT_GNU_RELRO",
        elf::PT_ARM_EXIDX => "PT_ARM_EXIDX",
        other => return format!("type {:#x}", other.0),
    }
    .to_owned()
}
