//! What there is to audit in one file, told by its content: an ELF file, the members of an `ar` archive, or nothing.

use object::read::archive::ArchiveFile;
use object::{Object, ObjectSection, SectionKind};

use crate::elf::is_elf;

/// Most members that one archive may have: libc.a has some two thousand.
const MEMBERS: usize = 100_000;

/// One ELF file, or one member of an archive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part<'a> {
    /// The member's name as the archive has it; `None` for a file of its own.
    pub member: Option<&'a str>,
    /// Its bytes.
    pub bytes: &'a [u8],
}

/// Whether the first bytes of a file say that [`parts`] should see all of it. Eight are enough.
pub fn is_code(start: &[u8]) -> bool {
    is_elf(start) || start.starts_with(b"!<arch>\n") || start.starts_with(b"!<thin>\n")
}

/// The parts of a file. Members without machine code (rustc's metadata, objects of nothing but data) are left out. The error
/// says why an archive cannot be read to its end, or that it is a thin one, whose members are elsewhere.
pub fn parts(bytes: &[u8]) -> Result<Vec<Part<'_>>, String> {
    if is_elf(bytes) {
        return Ok(vec![Part { member: None, bytes }]);
    }
    if !is_code(bytes) {
        return Ok(Vec::new());
    }
    let archive = ArchiveFile::parse(bytes).map_err(|error| format!("damaged ar archive: {error}"))?;
    if archive.is_thin() {
        return Err("a thin ar archive: its members are files of their own, elsewhere".to_owned());
    }
    let mut found = Vec::new();
    for (count, member) in archive.members().enumerate() {
        if count >= MEMBERS {
            return Err(format!("an ar archive with more than {MEMBERS} members"));
        }
        let member = member.map_err(|error| format!("damaged ar archive: {error}"))?;
        let content = member
            .data(bytes)
            .map_err(|error| format!("damaged ar archive: {error}"))?;
        if is_elf(content) && has_code(content) {
            let name = std::str::from_utf8(member.name()).unwrap_or("(a name that is not UTF-8)");
            found.push(Part {
                member: Some(name),
                bytes: content,
            });
        }
    }
    Ok(found)
}

/// Whether an object file has a byte to execute. One that cannot be read has, so that somebody looks at it.
fn has_code(bytes: &[u8]) -> bool {
    match object::File::parse(bytes) {
        Err(_) => true,
        Ok(file) => file
            .sections()
            .any(|section| section.kind() == SectionKind::Text && section.size() > 0),
    }
}

/// How many members of an archive are LLVM bitcode (`BC` 0xc0 0xde): what link-time optimisation will compile, and nobody can
/// judge before.
pub fn bitcode(bytes: &[u8]) -> usize {
    let Ok(archive) = ArchiveFile::parse(bytes) else {
        return 0;
    };
    let members = archive.members().take(MEMBERS).filter_map(Result::ok);
    let is_bitcode = |content: &[u8]| content.starts_with(b"BC\xc0\xde");
    members
        .filter(|member| member.data(bytes).is_ok_and(is_bitcode))
        .count()
}
