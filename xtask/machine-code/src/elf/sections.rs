//! What a file is made of: its sections by place, and the symbols that name parts of them. For accounts of size, not for audits:
//! section headers say nothing that a kernel believes.

use object::elf;
use object::endian::Endianness;
use object::read::elf::{FileHeader, SectionHeader, Sym};

use super::{ElfError, is_elf};

/// A section that has bytes in the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Section {
    /// `.text`.
    pub name: String,
    /// Where it is loaded; 0 for one that is not.
    pub address: u64,
    /// Where its bytes begin in the file.
    pub offset: u64,
    /// How many there are.
    pub size: u64,
}

/// A symbol with a size: a function or an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Symbol {
    /// As in the file, mangled.
    pub name: String,
    /// Without the bit that marks Thumb.
    pub address: u64,
    /// Bytes.
    pub size: u64,
}

/// The sections that lie in the file, by place. Those that claim a place outside of it are an error.
pub fn sections(bytes: &[u8]) -> Result<Vec<Section>, ElfError> {
    match class(bytes)? {
        32 => read_sections::<elf::FileHeader32<Endianness>>(bytes),
        _ => read_sections::<elf::FileHeader64<Endianness>>(bytes),
    }
}

/// The symbols of `.symtab` that have an address and a size, by address; none when the file was stripped.
pub fn symbols(bytes: &[u8]) -> Result<Vec<Symbol>, ElfError> {
    match class(bytes)? {
        32 => read_symbols::<elf::FileHeader32<Endianness>>(bytes),
        _ => read_symbols::<elf::FileHeader64<Endianness>>(bytes),
    }
}

fn class(bytes: &[u8]) -> Result<u8, ElfError> {
    match (is_elf(bytes), bytes.get(4)) {
        (true, Some(1)) => Ok(32),
        (true, Some(2)) => Ok(64),
        (true, _) => Err(ElfError::Header),
        (false, _) => Err(ElfError::NotElf {
            start: bytes[..bytes.len().min(8)].escape_ascii().to_string(),
        }),
    }
}

fn read_sections<H: FileHeader<Endian = Endianness>>(bytes: &[u8]) -> Result<Vec<Section>, ElfError> {
    let invalid = |error: object::Error| ElfError::invalid("section headers", error.to_string());
    let header = H::parse(bytes).map_err(|_| ElfError::Header)?;
    let endian = header.endian().map_err(|_| ElfError::Header)?;
    let table = header.sections(endian, bytes).map_err(invalid)?;
    let mut found = Vec::new();
    for section in table.iter() {
        let (offset, size): (u64, u64) = (section.sh_offset(endian).into(), section.sh_size(endian).into());
        let empty = matches!(section.sh_type(endian), elf::SHT_NULL | elf::SHT_NOBITS);
        if empty || size == 0 {
            continue;
        }
        if offset.checked_add(size).is_none_or(|end| end > bytes.len() as u64) {
            return Err(ElfError::invalid(
                "section headers",
                "a section lies outside of the file",
            ));
        }
        let name = table.section_name(endian, section).map_err(invalid)?;
        found.push(Section {
            name: String::from_utf8_lossy(name).into_owned(),
            address: section.sh_addr(endian).into(),
            offset,
            size,
        });
    }
    found.sort_by_key(|section| (section.offset, section.size));
    Ok(found)
}

fn read_symbols<H: FileHeader<Endian = Endianness>>(bytes: &[u8]) -> Result<Vec<Symbol>, ElfError> {
    let invalid = |error: object::Error| ElfError::invalid("symbol table", error.to_string());
    let header = H::parse(bytes).map_err(|_| ElfError::Header)?;
    let endian = header.endian().map_err(|_| ElfError::Header)?;
    let thumb = u64::from(header.e_machine(endian) == elf::EM_ARM);
    let table = header
        .sections(endian, bytes)
        .and_then(|sections| sections.symbols(endian, bytes, elf::SHT_SYMTAB))
        .map_err(invalid)?;
    let mut found = Vec::new();
    for symbol in table.iter() {
        let size: u64 = symbol.st_size(endian).into();
        let function = symbol.st_type() == elf::STT_FUNC;
        if symbol.st_shndx(endian) == elf::SHN_UNDEF || size == 0 || !(function || symbol.st_type() == elf::STT_OBJECT)
        {
            continue;
        }
        let address: u64 = symbol.st_value(endian).into();
        let name = symbol.name(endian, table.strings()).map_err(invalid)?;
        found.push(Symbol {
            name: String::from_utf8_lossy(name).into_owned(),
            address: if function { address & !thumb } else { address },
            size,
        });
    }
    found.sort_by(|a, b| (a.address, b.size, &a.name).cmp(&(b.address, a.size, &b.name)));
    Ok(found)
}
