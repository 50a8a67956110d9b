//! The dynamic segment: what the loader (ld.so) is told to do.

use std::collections::{BTreeMap, BTreeSet};

use object::elf;
use object::endian::Endianness;
use object::pod;
use object::read::elf::{Dyn, FileHeader, ProgramHeader};

use super::{ElfError, Loaded, MAX_ENTRIES, MAX_STRING, text};

/// What the dynamic segment says.
#[derive(Debug, Default)]
pub(super) struct Linking {
    pub(super) needed: Vec<String>,
    pub(super) loaded: Vec<Loaded>,
    pub(super) soname: Option<String>,
    pub(super) rpath: Vec<String>,
    pub(super) runpath: Vec<String>,
    pub(super) pie: bool,
    pub(super) bind_now: bool,
    pub(super) version_needs: BTreeMap<String, BTreeSet<String>>,
}

/// The file as it lies in memory.
pub(super) struct Image<'a, H: FileHeader> {
    bytes: &'a [u8],
    endian: Endianness,
    loads: Vec<&'a H::ProgramHeader>,
}

impl<'a, H: FileHeader<Endian = Endianness>> Image<'a, H> {
    /// `PT_LOAD` must ascend without overlap, as the specification says: otherwise what a reader finds at an address is not
    /// what the kernel maps there.
    pub(super) fn new(bytes: &'a [u8], endian: Endianness, segments: &'a [H::ProgramHeader]) -> Result<Self, ElfError> {
        let loads: Vec<&H::ProgramHeader> = segments
            .iter()
            .filter(|segment| segment.p_type(endian) == elf::PT_LOAD)
            .collect();
        let mut end = 0u64;
        for segment in &loads {
            let start: u64 = segment.p_vaddr(endian).into();
            let size: u64 = segment.p_memsz(endian).into();
            if start < end {
                return Err(ElfError::invalid(
                    "PT_LOAD",
                    format!("the segment at {start:#x} overlaps or precedes the one before it"),
                ));
            }
            end = start
                .checked_add(size)
                .ok_or_else(|| ElfError::invalid("PT_LOAD", "a segment runs past the end of the address space"))?;
            if size < segment.p_filesz(endian).into() {
                return Err(ElfError::invalid("PT_LOAD", "p_filesz is greater than p_memsz"));
            }
        }
        Ok(Image { bytes, endian, loads })
    }

    /// All file bytes from an address to the end of its segment.
    fn at_address(&self, address: u64) -> Option<&'a [u8]> {
        self.loads.iter().find_map(|segment| {
            let (offset, size) = segment.file_range(self.endian);
            let inside = address.checked_sub(segment.p_vaddr(self.endian).into())?;
            let length = size.checked_sub(inside).filter(|length| *length > 0)?;
            let start = usize::try_from(offset.checked_add(inside)?).ok()?;
            let end = start.checked_add(usize::try_from(length).ok()?)?;
            self.bytes.get(start..end)
        })
    }

    /// Reads the dynamic segment.
    pub(super) fn dynamic(&self, segment: &H::ProgramHeader) -> Result<Linking, ElfError> {
        let data = segment
            .data(self.endian, self.bytes)
            .map_err(|()| ElfError::invalid("PT_DYNAMIC", "lies outside of the file"))?;
        // ld.so goes by the address, readelf by the offset: they must mean the same bytes.
        let mapped = self
            .at_address(segment.p_vaddr(self.endian).into())
            .and_then(|mapped| mapped.get(..data.len()));
        if !mapped.is_some_and(|mapped| std::ptr::eq(mapped, data)) {
            return Err(ElfError::invalid(
                "PT_DYNAMIC",
                "its offset and its address are not the same place",
            ));
        }
        let entries: &[H::Dyn] = pod::slice_from_all_bytes(data)
            .map_err(|()| ElfError::invalid("PT_DYNAMIC", "is not a whole number of entries"))?;
        let end = entries
            .iter()
            .position(|entry| entry.d_tag(self.endian) == elf::DT_NULL)
            .ok_or_else(|| ElfError::invalid("PT_DYNAMIC", "has no DT_NULL at its end"))?;
        let entries = &entries[..end];
        let value = |tag| {
            let found = entries.iter().rfind(|entry| entry.d_tag(self.endian) == tag)?;
            Some(found.val(self.endian))
        };
        let flags = value(elf::DT_FLAGS).unwrap_or(0);
        let flags_1 = value(elf::DT_FLAGS_1).unwrap_or(0);
        let mut linking = Linking {
            pie: flags_1 & elf::DF_1_PIE.0 != 0,
            bind_now: value(elf::DT_BIND_NOW).is_some()
                || flags & elf::DF_BIND_NOW.0 != 0
                || flags_1 & elf::DF_1_NOW.0 != 0,
            ..Linking::default()
        };
        let strings = self.strings(value(elf::DT_STRTAB), value(elf::DT_STRSZ))?;
        let mut count = 0;
        for entry in entries {
            let tag = entry.d_tag(self.endian);
            let Some(name) = string_tag(tag) else { continue };
            count += 1;
            if count > MAX_ENTRIES {
                return Err(ElfError::invalid(
                    "PT_DYNAMIC",
                    format!("has more than {MAX_ENTRIES} names"),
                ));
            }
            let string = strings.get(entry.val(self.endian), name)?;
            match tag {
                elf::DT_NEEDED => linking.needed.push(string),
                elf::DT_SONAME => linking.soname = Some(string),
                elf::DT_RPATH => linking.rpath.push(string),
                elf::DT_RUNPATH => linking.runpath.push(string),
                _ => linking.loaded.push(Loaded {
                    tag: name,
                    name: string,
                }),
            }
        }
        if let Some(address) = value(elf::DT_VERNEED) {
            let count = value(elf::DT_VERNEEDNUM).unwrap_or(0);
            linking.version_needs = self.version_needs(address, count, &strings)?;
        }
        Ok(linking)
    }

    fn strings(&self, address: Option<u64>, size: Option<u64>) -> Result<Strings<'a>, ElfError> {
        let (Some(address), Some(size)) = (address, size) else {
            return Ok(Strings { data: &[] });
        };
        let data = self
            .at_address(address)
            .zip(usize::try_from(size).ok())
            .and_then(|(data, size)| data.get(..size))
            .ok_or_else(|| ElfError::invalid("DT_STRTAB", "lies outside of the file"))?;
        Ok(Strings { data })
    }

    /// Walks the chain of `Elf_Verneed` and, in each, the chain of `Elf_Vernaux`. Offsets are unsigned and relative to the
    /// entry, so a chain only goes forward; both counts are bounded besides.
    fn version_needs(
        &self,
        address: u64,
        count: u64,
        strings: &Strings<'_>,
    ) -> Result<BTreeMap<String, BTreeSet<String>>, ElfError> {
        const WHAT: &str = "DT_VERNEED";
        let outside = || ElfError::invalid(WHAT, "an entry lies outside of the file");
        let too_many = || ElfError::invalid(WHAT, format!("has more than {MAX_ENTRIES} entries"));
        let data = self.at_address(address).ok_or_else(outside)?;
        let mut needs: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        let mut left = MAX_ENTRIES;
        let mut at = 0usize;
        for index in 0..count {
            left = left.checked_sub(1).ok_or_else(too_many)?;
            let entry = data.get(at..).ok_or_else(outside)?;
            let (need, _) = pod::from_bytes::<elf::Verneed<Endianness>>(entry).map_err(|()| outside())?;
            if need.vn_version.get(self.endian) != elf::VER_NEED_CURRENT {
                return Err(ElfError::invalid(WHAT, "an entry is not of version 1"));
            }
            let file = strings.get(need.vn_file.get(self.endian).into(), "vn_file")?;
            let versions = needs.entry(file).or_default();
            let mut name_at = need.vn_aux.get(self.endian);
            let mut entry = entry;
            for index in 0..need.vn_cnt.get(self.endian) {
                left = left.checked_sub(1).ok_or_else(too_many)?;
                entry = entry.get(name_at as usize..).ok_or_else(outside)?;
                let (name, _) = pod::from_bytes::<elf::Vernaux<Endianness>>(entry).map_err(|()| outside())?;
                versions.insert(strings.get(name.vna_name.get(self.endian).into(), "vna_name")?);
                name_at = name.vna_next.get(self.endian);
                if name_at == 0 && index + 1 < need.vn_cnt.get(self.endian) {
                    return Err(ElfError::invalid(WHAT, "a list of versions ends before its count"));
                }
            }
            let next = need.vn_next.get(self.endian) as usize;
            if next == 0 {
                if index + 1 < count {
                    return Err(ElfError::invalid(WHAT, "the list of libraries ends before its count"));
                }
                break;
            }
            at = at.checked_add(next).ok_or_else(outside)?;
        }
        Ok(needs)
    }
}

/// The name of a dynamic tag whose value is a string, if it matters here.
fn string_tag(tag: elf::DynamicTag) -> Option<&'static str> {
    match tag {
        elf::DT_NEEDED => Some("DT_NEEDED"),
        elf::DT_SONAME => Some("DT_SONAME"),
        elf::DT_RPATH => Some("DT_RPATH"),
        elf::DT_RUNPATH => Some("DT_RUNPATH"),
        elf::DT_AUDIT => Some("DT_AUDIT"),
        elf::DT_DEPAUDIT => Some("DT_DEPAUDIT"),
        elf::DT_AUXILIARY => Some("DT_AUXILIARY"),
        elf::DT_FILTER => Some("DT_FILTER"),
        _ => None,
    }
}

/// The dynamic string table.
struct Strings<'a> {
    data: &'a [u8],
}

impl Strings<'_> {
    fn get(&self, offset: u64, what: &'static str) -> Result<String, ElfError> {
        let rest = usize::try_from(offset).ok().and_then(|offset| self.data.get(offset..));
        let rest = rest.ok_or_else(|| ElfError::invalid(what, "its name lies outside of the string table"))?;
        let head = &rest[..rest.len().min(MAX_STRING + 1)];
        let length = head.iter().position(|byte| *byte == 0).ok_or_else(|| {
            ElfError::invalid(
                what,
                format!("its name does not end within {MAX_STRING} bytes or the string table"),
            )
        })?;
        text(&head[..length]).ok_or_else(|| ElfError::invalid(what, "its name is not UTF-8"))
    }
}
