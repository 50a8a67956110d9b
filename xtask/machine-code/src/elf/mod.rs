//! Reading ELF files: pure, from bytes to facts.
//!
//! What is read is what the kernel and the dynamic loader act on: program headers and the dynamic segment. Section headers
//! are used only for what exists nowhere else (build attributes, symbol table). Everything is bounded by the size of the
//! file or by a constant named here; a lie in the file is an error that names it, never a panic.

pub mod arm;
pub mod code;
mod dynamic;
pub mod object_file;
pub mod sections;
pub mod segments;
pub mod strip;

use std::collections::{BTreeMap, BTreeSet};

use object::elf;
use object::endian::Endianness;
use object::read::elf::{FileHeader, ProgramHeader, SectionHeader};

/// Longest string that is read from a file: `PATH_MAX`.
pub const MAX_STRING: usize = 4096;
/// Most strings, version needs or notes that are read from a file.
pub const MAX_ENTRIES: usize = 4096;

/// Why a file could not be read as ELF.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ElfError {
    /// The first four bytes are not `\x7fELF`.
    #[error("not an ELF file: it begins with `{start}`")]
    NotElf {
        /// The first bytes, escaped.
        start: String,
    },
    /// Class, data encoding or version are none that exist, or the header is cut.
    #[error("the ELF header is cut short or of an unknown class, encoding or version")]
    Header,
    /// A table or field that does not lie in the file or contradicts itself.
    #[error("{what}: {why}")]
    Invalid {
        /// The table, segment or field.
        what: &'static str,
        /// What is wrong with it.
        why: String,
    },
    /// The build attributes could not be read.
    #[error(".ARM.attributes: {0}")]
    Attributes(#[from] arm::AttributesError),
}

impl ElfError {
    pub fn invalid(what: &'static str, why: impl Into<String>) -> Self {
        ElfError::Invalid { what, why: why.into() }
    }
}

/// Byte order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// `ELFDATA2LSB`.
    Little,
    /// `ELFDATA2MSB`.
    Big,
}

/// `e_type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `ET_REL`: an object file.
    Relocatable,
    /// `ET_EXEC`: a program at a fixed address.
    Executable,
    /// `ET_DYN`: a shared library or a position-independent program.
    Dynamic,
    /// `ET_CORE`, `ET_NONE` or a number that no specification knows.
    Other(u16),
}

/// What `PT_GNU_STACK` asks of the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stack {
    /// The stack may be executed.
    Executable,
    /// The stack may not be executed.
    NotExecutable,
    /// There is no `PT_GNU_STACK`: the kernel decides, and on 32-bit ARM its answer is an executable stack.
    Unstated,
}

/// Which relocated data is read-only once the program runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Relro {
    /// There is no `PT_GNU_RELRO`.
    None,
    /// `PT_GNU_RELRO`, but the procedure linkage table stays writable.
    Partial,
    /// `PT_GNU_RELRO` and immediate binding.
    Full,
}

/// A library that is loaded for a reason other than `DT_NEEDED`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loaded {
    /// `DT_AUDIT`, `DT_DEPAUDIT`, `DT_FILTER` or `DT_AUXILIARY`.
    pub tag: &'static str,
    /// Name as in the file.
    pub name: String,
}

/// The facts of an ELF file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Elf {
    /// `EI_CLASS` in bits: 32 or 64.
    pub class: u8,
    /// `EI_DATA`.
    pub encoding: Encoding,
    /// `EI_OSABI`: 0 System V, 3 GNU.
    pub os_abi: u8,
    /// `e_type`.
    pub kind: Kind,
    /// `e_machine`: 40 ARM, 62 x86-64, 183 AArch64.
    pub machine: u16,
    /// `e_flags`.
    pub flags: u32,
    /// `PT_INTERP`.
    pub interpreter: Option<String>,
    /// Whether there is a `PT_DYNAMIC`.
    pub dynamic: bool,
    /// `DT_NEEDED`, in the order of the file.
    pub needed: Vec<String>,
    /// Libraries that are loaded without being needed.
    pub loaded: Vec<Loaded>,
    /// `DT_SONAME`.
    pub soname: Option<String>,
    /// `DT_RPATH`.
    pub rpath: Vec<String>,
    /// `DT_RUNPATH`.
    pub runpath: Vec<String>,
    /// `DF_1_PIE`: an `ET_DYN` that is a program.
    pub pie: bool,
    /// `.gnu.version_r`: library -> versions needed from it.
    pub version_needs: BTreeMap<String, BTreeSet<String>>,
    /// `PT_GNU_STACK`.
    pub stack: Stack,
    /// `PT_GNU_RELRO` and immediate binding.
    pub relro: Relro,
    /// Whether some `PT_LOAD` is both writable and executable.
    pub writable_code: bool,
    /// `NT_GNU_BUILD_ID` in hexadecimal.
    pub build_id: Option<String>,
    /// Number of section headers; 0 when they were stripped.
    pub sections: usize,
    /// Whether there is a symbol table (`SHT_SYMTAB`).
    pub symbols: bool,
    /// Build attributes of 32-bit ARM; `None` when the file has no such section.
    pub attributes: Option<arm::Attributes>,
}

/// Whether the bytes begin like an ELF file.
pub fn is_elf(bytes: &[u8]) -> bool {
    bytes.starts_with(&elf::ELFMAG)
}

impl Elf {
    /// Reads the facts. Whether they are the right ones is for `audit` to say.
    pub fn parse(bytes: &[u8]) -> Result<Self, ElfError> {
        if !is_elf(bytes) {
            let start = &bytes[..bytes.len().min(8)];
            return Err(ElfError::NotElf {
                start: start.escape_ascii().to_string(),
            });
        }
        match bytes.get(4) {
            Some(1) => parse::<elf::FileHeader32<Endianness>>(bytes),
            Some(2) => parse::<elf::FileHeader64<Endianness>>(bytes),
            _ => Err(ElfError::Header),
        }
    }

    /// Neither an interpreter nor a needed library: nothing but the kernel runs it. Holds for static-pie too.
    pub fn is_static(&self) -> bool {
        self.interpreter.is_none() && self.needed.is_empty() && self.loaded.is_empty()
    }

    /// A program, as opposed to an object file or a shared library. The kernel starts any `ET_DYN`; linkers mark those that
    /// are meant to be started by an interpreter or `DF_1_PIE`.
    pub fn is_program(&self) -> bool {
        match self.kind {
            Kind::Executable => true,
            Kind::Dynamic => self.pie || (self.interpreter.is_some() && self.soname.is_none()),
            Kind::Relocatable | Kind::Other(_) => false,
        }
    }

    /// EABI version of 32-bit ARM: the top byte of `e_flags`.
    pub fn eabi(&self) -> u8 {
        self.flags.to_be_bytes()[0]
    }

    /// `EF_ARM_ABI_FLOAT_HARD`.
    pub fn has_hard_float_flag(&self) -> bool {
        self.flags & elf::EF_ARM_ABI_FLOAT_HARD != 0
    }

    /// `EF_ARM_ABI_FLOAT_SOFT`.
    pub fn has_soft_float_flag(&self) -> bool {
        self.flags & elf::EF_ARM_ABI_FLOAT_SOFT != 0
    }
}

fn parse<H: FileHeader<Endian = Endianness>>(bytes: &[u8]) -> Result<Elf, ElfError> {
    let header = H::parse(bytes).map_err(|_| ElfError::Header)?;
    let endian = header.endian().map_err(|_| ElfError::Header)?;
    let segments = header
        .program_headers(endian, bytes)
        .map_err(|error| ElfError::invalid("program headers", error.to_string()))?;
    let sections = header
        .section_headers(endian, bytes)
        .map_err(|error| ElfError::invalid("section headers", error.to_string()))?;
    let image = dynamic::Image::<H>::new(bytes, endian, segments)?;
    let linking = match only(segments, endian, elf::PT_DYNAMIC, "PT_DYNAMIC")? {
        Some(segment) => image.dynamic(segment)?,
        None => dynamic::Linking::default(),
    };
    let interpreter = match only(segments, endian, elf::PT_INTERP, "PT_INTERP")? {
        Some(segment) => Some(interpreter(segment, endian, bytes)?),
        None => None,
    };
    let has = |wanted| segments.iter().any(|segment| segment.p_type(endian) == wanted);
    let both = elf::PF_W | elf::PF_X;
    Ok(Elf {
        class: if header.is_type_64() { 64 } else { 32 },
        encoding: encoding(endian),
        os_abi: header.e_ident().os_abi.0,
        kind: match header.e_type(endian) {
            elf::ET_REL => Kind::Relocatable,
            elf::ET_EXEC => Kind::Executable,
            elf::ET_DYN => Kind::Dynamic,
            other => Kind::Other(other.0),
        },
        machine: header.e_machine(endian).0,
        flags: header.e_flags(endian).0,
        interpreter,
        dynamic: has(elf::PT_DYNAMIC),
        needed: linking.needed,
        loaded: linking.loaded,
        soname: linking.soname,
        rpath: linking.rpath,
        runpath: linking.runpath,
        pie: linking.pie,
        version_needs: linking.version_needs,
        stack: stack(segments, endian),
        relro: match (has(elf::PT_GNU_RELRO), linking.bind_now) {
            (false, _) => Relro::None,
            (true, false) if has(elf::PT_DYNAMIC) => Relro::Partial,
            (true, _) => Relro::Full,
        },
        writable_code: segments
            .iter()
            .any(|segment| segment.p_type(endian) == elf::PT_LOAD && segment.p_flags(endian).contains(both)),
        build_id: build_id::<H>(segments, endian, bytes),
        sections: sections.len(),
        symbols: sections
            .iter()
            .any(|section| section.sh_type(endian) == elf::SHT_SYMTAB),
        attributes: match header.e_machine(endian) {
            elf::EM_ARM => attributes(sections, endian, bytes)?,
            _ => None,
        },
    })
}

fn encoding(endian: Endianness) -> Encoding {
    match endian {
        Endianness::Little => Encoding::Little,
        Endianness::Big => Encoding::Big,
    }
}

/// The one segment of a type that may stand only once: loaders differ in which of two they believe.
fn only<'a, P: ProgramHeader<Endian = Endianness>>(
    segments: &'a [P],
    endian: Endianness,
    kind: elf::ProgramType,
    name: &'static str,
) -> Result<Option<&'a P>, ElfError> {
    let mut found = segments.iter().filter(|segment| segment.p_type(endian) == kind);
    match (found.next(), found.next()) {
        (segment, None) => Ok(segment),
        _ => Err(ElfError::invalid(name, "more than one segment of this type")),
    }
}

fn interpreter<P: ProgramHeader<Endian = Endianness>>(
    segment: &P,
    endian: Endianness,
    bytes: &[u8],
) -> Result<String, ElfError> {
    let data = segment
        .data(endian, bytes)
        .map_err(|()| ElfError::invalid("PT_INTERP", "lies outside of the file"))?;
    // The kernel wants one path that ends exactly where the segment ends.
    match data.split_last() {
        Some((0, path)) if path.len() <= MAX_STRING && !path.contains(&0) => {
            text(path).ok_or_else(|| ElfError::invalid("PT_INTERP", "the path is not UTF-8"))
        }
        _ => Err(ElfError::invalid("PT_INTERP", "is not one NUL-terminated path")),
    }
}

fn text(bytes: &[u8]) -> Option<String> {
    std::str::from_utf8(bytes).ok().map(str::to_owned)
}

fn stack<P: ProgramHeader<Endian = Endianness>>(segments: &[P], endian: Endianness) -> Stack {
    segments
        .iter()
        .filter(|segment| segment.p_type(endian) == elf::PT_GNU_STACK)
        .fold(Stack::Unstated, |stack, segment| {
            if stack == Stack::Executable || segment.p_flags(endian).contains(elf::PF_X) {
                Stack::Executable
            } else {
                Stack::NotExecutable
            }
        })
}

/// The build ID. Nothing depends on it, so notes that cannot be read are as good as none.
fn build_id<H: FileHeader<Endian = Endianness>>(
    segments: &[H::ProgramHeader],
    endian: Endianness,
    bytes: &[u8],
) -> Option<String> {
    let mut left = MAX_ENTRIES;
    for segment in segments {
        let Ok(Some(mut notes)) = segment.notes(endian, bytes) else {
            continue;
        };
        while let Ok(Some(note)) = notes.next() {
            left = left.checked_sub(1)?;
            if note.name() == elf::ELF_NOTE_GNU
                && note.n_type(endian) == elf::NT_GNU_BUILD_ID
                && note.desc().len() <= 64
            {
                return Some(note.desc().iter().map(|byte| format!("{byte:02x}")).collect());
            }
        }
    }
    None
}

fn attributes<S: SectionHeader<Endian = Endianness>>(
    sections: &[S],
    endian: Endianness,
    bytes: &[u8],
) -> Result<Option<arm::Attributes>, ElfError> {
    let mut found = sections
        .iter()
        .filter(|section| section.sh_type(endian) == elf::SHT_ARM_ATTRIBUTES);
    let (Some(section), more) = (found.next(), found.next()) else {
        return Ok(None);
    };
    if more.is_some() {
        return Err(ElfError::invalid(
            ".ARM.attributes",
            "more than one section of this type",
        ));
    }
    let data = section
        .data(endian, bytes)
        .map_err(|_| ElfError::invalid(".ARM.attributes", "lies outside of the file"))?;
    Ok(Some(arm::Attributes::parse(data, encoding(endian))?))
}
