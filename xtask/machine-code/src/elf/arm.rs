//! The build attributes of 32-bit ARM (`.ARM.attributes`): "Addenda to, and Errata in, the ABI for the Arm Architecture"
//! (ARM IHI 0045), chapter "Representing build attributes in ELF files".
//!
//! Attributes say what the producer was *permitted* to use. In a linked file they say what the linker kept: LLD keeps the
//! attributes of the first object it meets, GNU ld merges. So they can condemn a binary, but never acquit it alone.

use super::Encoding;

/// Why build attributes could not be read. Offsets are in bytes from the start of the section.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AttributesError {
    /// The section is longer than any linker makes it.
    #[error("the section has {size} bytes, more than the {MAX_SIZE} that are read")]
    TooLong {
        /// Size of the section in bytes.
        size: usize,
    },
    /// The first byte is not `A`.
    #[error("format version {found:#04x} instead of 0x41 (`A`)")]
    Version {
        /// The byte found; 0 when the section is empty.
        found: u8,
    },
    /// The data ends in the middle of something.
    #[error("offset {offset:#x}: {what} runs past the end of what encloses it")]
    Cut {
        /// Where it starts.
        offset: usize,
        /// What was being read.
        what: &'static str,
    },
    /// A length field that is smaller than what it counts.
    #[error("offset {offset:#x}: a {what} of {length} bytes cannot hold its own header")]
    Length {
        /// Where the length stands.
        offset: usize,
        /// What has this length.
        what: &'static str,
        /// The value found.
        length: u32,
    },
    /// A number that does not fit 64 bits.
    #[error("offset {offset:#x}: a ULEB128 number does not fit 64 bits")]
    Number {
        /// Where the number starts.
        offset: usize,
    },
    /// A string that is not UTF-8.
    #[error("offset {offset:#x}: {what} is not UTF-8")]
    Text {
        /// Where the string starts.
        offset: usize,
        /// What was being read.
        what: &'static str,
    },
    /// A sub-subsection that is neither of a file nor of sections nor of symbols.
    #[error("offset {offset:#x}: scope tag {tag} is none of Tag_File, Tag_Section, Tag_Symbol")]
    Scope {
        /// Where the tag stands.
        offset: usize,
        /// The tag found.
        tag: u8,
    },
    /// A tag that cannot stand where an attribute is expected, so that its value cannot be skipped either.
    #[error("offset {offset:#x}: tag {tag} is not the tag of an attribute")]
    Tag {
        /// Where the tag stands.
        offset: usize,
        /// The tag found.
        tag: u64,
    },
}

/// Longest section that is read. Real ones have less than 200 bytes.
pub const MAX_SIZE: usize = 1 << 20;

/// Tag numbers of the `aeabi` subsection (ARM IHI 0045, table 1).
pub mod tag {
    /// NTBS: the name that the user gave.
    pub const CPU_RAW_NAME: u64 = 4;
    /// NTBS: the CPU's official name.
    pub const CPU_NAME: u64 = 5;
    /// Architecture version.
    pub const CPU_ARCH: u64 = 6;
    /// Architecture profile, an ASCII letter.
    pub const CPU_ARCH_PROFILE: u64 = 7;
    /// Whether ARM instructions may be used.
    pub const ARM_ISA_USE: u64 = 8;
    /// Which Thumb instructions may be used.
    pub const THUMB_ISA_USE: u64 = 9;
    /// Which VFP instructions may be used.
    pub const FP_ARCH: u64 = 10;
    /// Which wireless-MMX instructions may be used.
    pub const WMMX_ARCH: u64 = 11;
    /// Which NEON instructions may be used.
    pub const ADVANCED_SIMD_ARCH: u64 = 12;
    /// How floating-point arguments are passed.
    pub const ABI_VFP_ARGS: u64 = 28;
    /// A number and the name of a tool chain.
    pub const COMPATIBILITY: u64 = 32;
    /// Whether unaligned data may be accessed.
    pub const CPU_UNALIGNED_ACCESS: u64 = 34;
    /// Which half-precision instructions may be used.
    pub const FP_HP_EXTENSION: u64 = 36;
    /// Whether PLDW may be used.
    pub const MPEXTENSION_USE: u64 = 42;
    /// Whether SDIV and UDIV may be used.
    pub const DIV_USE: u64 = 44;
    /// Whether the DSP instructions of the M profile may be used.
    pub const DSP_EXTENSION: u64 = 46;
    /// Which M-profile vector instructions may be used.
    pub const MVE_ARCH: u64 = 48;
    /// Whether pointer authentication may be used.
    pub const PAC_EXTENSION: u64 = 50;
    /// Whether branch-target identification may be used.
    pub const BTI_EXTENSION: u64 = 52;
    /// NTBS of a tag and its value: what this code is compatible with besides.
    pub const ALSO_COMPATIBLE_WITH: u64 = 65;
    /// Whether ThumbEE may be used.
    pub const T2EE_USE: u64 = 66;
    /// Whether SMC, HVC, ERET may be used.
    pub const VIRTUALIZATION_USE: u64 = 68;
    /// What is now 42, as specification r2.07 numbered it.
    pub const MPEXTENSION_USE_OLD: u64 = 70;
}

/// The names of all tags that the specification (2025Q1) defines, by number.
const NAMES: [(u64, &str); 47] = [
    (4, "Tag_CPU_raw_name"),
    (5, "Tag_CPU_name"),
    (6, "Tag_CPU_arch"),
    (7, "Tag_CPU_arch_profile"),
    (8, "Tag_ARM_ISA_use"),
    (9, "Tag_THUMB_ISA_use"),
    (10, "Tag_FP_arch"),
    (11, "Tag_WMMX_arch"),
    (12, "Tag_Advanced_SIMD_arch"),
    (13, "Tag_PCS_config"),
    (14, "Tag_ABI_PCS_R9_use"),
    (15, "Tag_ABI_PCS_RW_data"),
    (16, "Tag_ABI_PCS_RO_data"),
    (17, "Tag_ABI_PCS_GOT_use"),
    (18, "Tag_ABI_PCS_wchar_t"),
    (19, "Tag_ABI_FP_rounding"),
    (20, "Tag_ABI_FP_denormal"),
    (21, "Tag_ABI_FP_exceptions"),
    (22, "Tag_ABI_FP_user_exceptions"),
    (23, "Tag_ABI_FP_number_model"),
    (24, "Tag_ABI_align_needed"),
    (25, "Tag_ABI_align_preserved"),
    (26, "Tag_ABI_enum_size"),
    (27, "Tag_ABI_HardFP_use"),
    (28, "Tag_ABI_VFP_args"),
    (29, "Tag_ABI_WMMX_args"),
    (30, "Tag_ABI_optimization_goals"),
    (31, "Tag_ABI_FP_optimization_goals"),
    (32, "Tag_compatibility"),
    (34, "Tag_CPU_unaligned_access"),
    (36, "Tag_FP_HP_extension"),
    (38, "Tag_ABI_FP_16bit_format"),
    (42, "Tag_MPextension_use"),
    (44, "Tag_DIV_use"),
    (46, "Tag_DSP_extension"),
    (48, "Tag_MVE_arch"),
    (50, "Tag_PAC_extension"),
    (52, "Tag_BTI_extension"),
    (64, "Tag_nodefaults"),
    (65, "Tag_also_compatible_with"),
    (66, "Tag_T2EE_use"),
    (67, "Tag_conformance"),
    (68, "Tag_Virtualization_use"),
    (70, "Tag_MPextension_use_old"),
    (72, "Tag_FramePointer_use"),
    (74, "Tag_BTI_use"),
    (76, "Tag_PACRET_use"),
];

/// `Tag_CPU_arch` for 6; `Tag 77` for one that the specification does not define.
pub fn tag_name(tag: u64) -> String {
    match NAMES.iter().find(|(number, _)| *number == tag) {
        Some((_, name)) => (*name).to_owned(),
        None => format!("Tag {tag}"),
    }
}

/// Whether the specification defines this tag.
pub fn is_known(tag: u64) -> bool {
    NAMES.iter().any(|(number, _)| *number == tag)
}

/// Whether a consumer that does not know this tag must stop: tags 0-63, and N ≥ 128 like N modulo 128.
pub fn must_be_understood(tag: u64) -> bool {
    tag % 128 < 64
}

/// The value of an attribute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// ULEB128.
    Number(u64),
    /// NUL-terminated byte string.
    Text(String),
    /// `Tag_compatibility`: a flag and the tool chain it speaks of.
    Compatibility(u64, String),
}

/// What a group of attributes speaks of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// The whole file.
    File,
    /// These sections.
    Sections(Vec<u64>),
    /// These symbols.
    Symbols(Vec<u64>),
}

/// Attributes of one scope, in the order of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// What they speak of.
    pub scope: Scope,
    /// Tag and value. A tag may stand more than once.
    pub attributes: Vec<(u64, Value)>,
}

/// All build attributes of a file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Attributes {
    /// The groups of all `aeabi` subsections, in the order of the file.
    pub groups: Vec<Group>,
    /// Names of the subsections that belong to other vendors; their content is private and not read.
    pub vendors: Vec<String>,
}

impl Attributes {
    /// Reads the content of a section of type `SHT_ARM_ATTRIBUTES`.
    pub fn parse(section: &[u8], encoding: Encoding) -> Result<Self, AttributesError> {
        if section.len() > MAX_SIZE {
            return Err(AttributesError::TooLong { size: section.len() });
        }
        let version = section.first().copied().unwrap_or(0);
        if version != b'A' {
            return Err(AttributesError::Version { found: version });
        }
        let mut attributes = Attributes::default();
        let mut reader = Reader {
            data: section,
            at: 1,
            encoding,
        };
        while !reader.is_empty() {
            let mut subsection = reader.enclosed("subsection", 0)?;
            let vendor = subsection.text("a vendor name")?;
            if vendor != "aeabi" {
                attributes.vendors.push(vendor);
                continue;
            }
            while !subsection.is_empty() {
                attributes.groups.push(Group::parse(&mut subsection)?);
            }
        }
        Ok(attributes)
    }

    /// Every value that any scope gives to `tag`, in the order of the file. Numbers only.
    pub fn numbers(&self, tag: u64) -> impl Iterator<Item = u64> + '_ {
        self.all().filter_map(move |(found, value)| match value {
            Value::Number(number) if found == tag => Some(*number),
            _ => None,
        })
    }

    /// The first string that any scope gives to `tag`.
    pub fn text(&self, tag: u64) -> Option<&str> {
        self.all().find_map(|(found, value)| match value {
            Value::Text(text) if found == tag => Some(text.as_str()),
            _ => None,
        })
    }

    /// The tags that the specification does not define, sorted, each once.
    pub fn unknown(&self) -> Vec<u64> {
        let mut tags: Vec<u64> = self.all().map(|(tag, _)| tag).filter(|tag| !is_known(*tag)).collect();
        tags.sort_unstable();
        tags.dedup();
        tags
    }

    /// Every attribute of every scope, in the order of the file.
    pub fn all(&self) -> impl Iterator<Item = (u64, &Value)> + '_ {
        self.groups
            .iter()
            .flat_map(|group| group.attributes.iter().map(|(tag, value)| (*tag, value)))
    }
}

impl Group {
    fn parse(subsection: &mut Reader<'_>) -> Result<Self, AttributesError> {
        let offset = subsection.at;
        let tag = subsection.byte("a scope tag")?;
        let mut reader = subsection.enclosed("sub-subsection", 1)?;
        let scope = match tag {
            1 => Scope::File,
            2 => Scope::Sections(reader.indices()?),
            3 => Scope::Symbols(reader.indices()?),
            tag => return Err(AttributesError::Scope { offset, tag }),
        };
        let mut attributes = Vec::new();
        while !reader.is_empty() {
            attributes.push(reader.attribute()?);
        }
        Ok(Group { scope, attributes })
    }
}

/// Reads forward through a slice; `at` never passes its end, and every read moves it.
struct Reader<'a> {
    data: &'a [u8],
    at: usize,
    encoding: Encoding,
}

impl<'a> Reader<'a> {
    fn is_empty(&self) -> bool {
        self.at >= self.data.len()
    }

    fn byte(&mut self, what: &'static str) -> Result<u8, AttributesError> {
        let byte = *self
            .data
            .get(self.at)
            .ok_or(AttributesError::Cut { offset: self.at, what })?;
        self.at += 1;
        Ok(byte)
    }

    /// What a `uint32` length encloses. The length counts itself and `before` bytes in front of it.
    fn enclosed(&mut self, what: &'static str, before: usize) -> Result<Reader<'a>, AttributesError> {
        let offset = self.at;
        let cut = AttributesError::Cut { offset, what };
        let field = self.data[offset..].first_chunk::<4>().ok_or(cut.clone())?;
        let length = match self.encoding {
            Encoding::Little => u32::from_le_bytes(*field),
            Encoding::Big => u32::from_be_bytes(*field),
        };
        let header = before + field.len();
        let content = usize::try_from(length)
            .ok()
            .and_then(|length| length.checked_sub(header))
            .ok_or(AttributesError::Length { offset, what, length })?;
        let start = offset + field.len();
        let end = start.checked_add(content).ok_or(cut.clone())?;
        let data = self.data.get(..end).ok_or(cut)?;
        self.at = end;
        Ok(Reader {
            data,
            at: start,
            encoding: self.encoding,
        })
    }

    fn number(&mut self) -> Result<u64, AttributesError> {
        let offset = self.at;
        let mut number = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte("a ULEB128 number")?;
            let bits = u64::from(byte & 0x7f);
            if shift == 63 && bits > 1 {
                return Err(AttributesError::Number { offset });
            }
            number |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok(number);
            }
        }
        Err(AttributesError::Number { offset })
    }

    fn text(&mut self, what: &'static str) -> Result<String, AttributesError> {
        let offset = self.at;
        let text = std::str::from_utf8(self.string(what)?).map_err(|_| AttributesError::Text { offset, what })?;
        Ok(text.to_owned())
    }

    /// The bytes up to a NUL, which is passed over.
    fn string(&mut self, what: &'static str) -> Result<&'a [u8], AttributesError> {
        let offset = self.at;
        let rest = &self.data[offset..];
        let length = rest
            .iter()
            .position(|byte| *byte == 0)
            .ok_or(AttributesError::Cut { offset, what })?;
        self.at = offset + length + 1;
        Ok(&rest[..length])
    }

    /// Section or symbol numbers up to the 0 that ends them.
    fn indices(&mut self) -> Result<Vec<u64>, AttributesError> {
        let mut indices = Vec::new();
        loop {
            match self.number()? {
                0 => return Ok(indices),
                index => indices.push(index),
            }
        }
    }

    fn attribute(&mut self) -> Result<(u64, Value), AttributesError> {
        let offset = self.at;
        let tag = self.number()?;
        let value = match tag {
            // Not attributes; and below 33 nothing says how to skip the value of a tag that one does not know.
            0..=3 => return Err(AttributesError::Tag { offset, tag }),
            tag::CPU_RAW_NAME | tag::CPU_NAME => Value::Text(self.text("a string")?),
            tag::COMPATIBILITY => Value::Compatibility(self.number()?, self.text("a tool chain's name")?),
            6..=31 => Value::Number(self.number()?),
            _ if tag % 2 == 0 => Value::Number(self.number()?),
            // `Tag_also_compatible_with` holds another tag and its value: bytes, not text.
            tag::ALSO_COMPATIBLE_WITH => Value::Text(escape(self.string("a tag and its value")?)),
            _ => Value::Text(self.text("a string")?),
        };
        Ok((tag, value))
    }
}

fn escape(bytes: &[u8]) -> String {
    bytes.escape_ascii().to_string()
}
