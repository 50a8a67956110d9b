//! What each platform can execute, and the words for it.
//!
//! [`Isa::limits`] answers for one ARM build attribute, [`decode`] for one instruction. [`walk`] finds the instructions of a file.

pub mod decode;
pub mod walk;

use crate::elf::arm::{Attributes, Value, tag, tag_name};

/// The instruction set of a platform.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Isa {
    /// ARMv6KZ, Thumb-1, VFPv2 (ARM1176JZF-S).
    ArmV6,
    /// ARMv7-A, Thumb-2, VFPv3-D16: no NEON, no divide.
    ArmV7,
    /// ARMv8-A, 64 bits.
    A64,
    /// x86-64, first level.
    X86_64,
}

/// Values of one tag that a chip can live with.
#[derive(Debug, PartialEq, Eq)]
pub struct Limit {
    /// Tag number.
    pub tag: u64,
    /// Allowed values. A tag that is absent has the value 0.
    pub allowed: &'static [u64],
    /// The allowed values in words.
    pub expected: &'static str,
    /// Whether the tag must be there: without it, the attributes say nothing.
    pub required: bool,
}

const fn limit(tag: u64, allowed: &'static [u64], expected: &'static str) -> Limit {
    Limit {
        tag,
        allowed,
        expected,
        required: false,
    }
}

/// 7 is v6KZ and 9 is v6K: the numbers do not ascend. 8 is v6T2 (Thumb-2, which the ARM1176 lacks), 11 and 12 are
/// microcontrollers. `exactly v6` would refuse code compiled for the very chip.
///
/// `Tag_THUMB_ISA_use` 3 means "whatever Thumb `Tag_CPU_arch` has", which is Thumb-1 for all that is allowed there.
/// TrustZone (`Tag_Virtualization_use` 1) is part of v6KZ.
const ARM_V6: [Limit; 16] = [
    Limit {
        tag: tag::CPU_ARCH,
        allowed: &[0, 1, 2, 3, 4, 5, 6, 7, 9],
        expected: "at most v6KZ",
        required: true,
    },
    limit(tag::CPU_ARCH_PROFILE, &[0, b'S' as u64], "none (profiles came with v7)"),
    limit(tag::THUMB_ISA_USE, &[0, 1, 3], "at most Thumb-1"),
    limit(tag::FP_ARCH, &[0, 1, 2], "at most VFPv2"),
    limit(tag::ADVANCED_SIMD_ARCH, &[0], "none"),
    limit(tag::WMMX_ARCH, &[0], "none"),
    limit(tag::FP_HP_EXTENSION, &[0], "not used"),
    limit(tag::MPEXTENSION_USE, &[0], "not used"),
    limit(tag::MPEXTENSION_USE_OLD, &[0], "not used"),
    limit(tag::DIV_USE, &[0, 1], "not used"),
    limit(tag::DSP_EXTENSION, &[0], "not used"),
    limit(tag::MVE_ARCH, &[0], "none"),
    limit(tag::PAC_EXTENSION, &[0], "not used"),
    limit(tag::BTI_EXTENSION, &[0], "not used"),
    limit(tag::T2EE_USE, &[0], "not used"),
    limit(tag::VIRTUALIZATION_USE, &[0, 1], "at most TrustZone"),
];

/// The baseline of Debian's armhf and of Docker's `linux/arm/v7`. `Tag_FP_arch` 3 is VFPv3 with 32 registers, which needs
/// NEON's register file; 4 is VFPv3-D16.
const ARM_V7: [Limit; 15] = [
    Limit {
        tag: tag::CPU_ARCH,
        allowed: &[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10],
        expected: "at most v7",
        required: true,
    },
    limit(
        tag::CPU_ARCH_PROFILE,
        &[0, b'A' as u64, b'S' as u64],
        "application or none",
    ),
    limit(tag::THUMB_ISA_USE, &[0, 1, 2, 3], "at most Thumb-2"),
    limit(tag::FP_ARCH, &[0, 1, 2, 4], "at most VFPv3-D16"),
    limit(tag::ADVANCED_SIMD_ARCH, &[0], "none"),
    limit(tag::WMMX_ARCH, &[0], "none"),
    limit(tag::FP_HP_EXTENSION, &[0], "not used"),
    limit(tag::MPEXTENSION_USE, &[0], "not used"),
    limit(tag::MPEXTENSION_USE_OLD, &[0], "not used"),
    limit(tag::DIV_USE, &[0, 1], "not used"),
    limit(tag::DSP_EXTENSION, &[0], "not used"),
    limit(tag::MVE_ARCH, &[0], "none"),
    limit(tag::PAC_EXTENSION, &[0], "not used"),
    limit(tag::BTI_EXTENSION, &[0], "not used"),
    limit(tag::VIRTUALIZATION_USE, &[0, 1], "at most TrustZone"),
];

impl Isa {
    /// The limits on build attributes; empty where there are no build attributes.
    pub fn limits(self) -> &'static [Limit] {
        match self {
            Isa::ArmV6 => &ARM_V6,
            Isa::ArmV7 => &ARM_V7,
            Isa::A64 | Isa::X86_64 => &[],
        }
    }

    /// What [`decode`] needs to know of the chip; nothing for instruction sets that it does not know.
    pub fn features(self) -> Option<decode::Features> {
        match self {
            Isa::ArmV6 => Some(decode::Features::ARM1176),
            Isa::ArmV7 => Some(decode::Features::ARMV7),
            Isa::A64 | Isa::X86_64 => None,
        }
    }

    /// `e_machine` and class in bits.
    pub fn machine(self) -> (u16, u8) {
        match self {
            Isa::ArmV6 | Isa::ArmV7 => (40, 32),
            Isa::A64 => (183, 64),
            Isa::X86_64 => (62, 64),
        }
    }
}

/// What a file says on a limit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Whether every value that any scope gives is allowed.
    pub allowed: bool,
    /// The values in words, each once.
    pub found: String,
}

impl Limit {
    /// Holds the limit against all scopes of a file: one section that needs more is enough to need more.
    pub fn judge(&self, attributes: &Attributes) -> Verdict {
        let mut values: Vec<u64> = attributes.numbers(self.tag).collect();
        values.sort_unstable();
        values.dedup();
        if values.is_empty() {
            return Verdict {
                allowed: !self.required,
                found: "absent".to_owned(),
            };
        }
        let words: Vec<String> = values.iter().map(|value| value_name(self.tag, *value)).collect();
        Verdict {
            allowed: values.iter().all(|value| self.allowed.contains(value)),
            found: words.join(", "),
        }
    }
}

/// The words of the specification, as readelf prints them, for the value of a tag.
pub fn value_name(tag: u64, value: u64) -> String {
    let names: &[&str] = match tag {
        tag::CPU_ARCH => &[
            "pre-v4",
            "v4",
            "v4T",
            "v5T",
            "v5TE",
            "v5TEJ",
            "v6",
            "v6KZ",
            "v6T2",
            "v6K",
            "v7",
            "v6-M",
            "v6S-M",
            "v7E-M",
            "v8-A",
            "v8-R",
            "v8-M.baseline",
            "v8-M.mainline",
            "v8.1-A",
            "v8.2-A",
            "v8.3-A",
            "v8.1-M.mainline",
            "v9-A",
        ],
        tag::CPU_ARCH_PROFILE => match u8::try_from(value) {
            Ok(0) => &["none"],
            Ok(b'A') => return "application".to_owned(),
            Ok(b'R') => return "real-time".to_owned(),
            Ok(b'M') => return "microcontroller".to_owned(),
            Ok(b'S') => return "application or real-time".to_owned(),
            _ => &[],
        },
        tag::ARM_ISA_USE => &["no", "yes"],
        tag::THUMB_ISA_USE => &["no", "Thumb-1", "Thumb-2", "as Tag_CPU_arch has it"],
        tag::FP_ARCH => &[
            "none",
            "VFPv1",
            "VFPv2",
            "VFPv3",
            "VFPv3-D16",
            "VFPv4",
            "VFPv4-D16",
            "FP for ARMv8",
            "FP for ARMv8, D16",
        ],
        tag::WMMX_ARCH => &["none", "WMMXv1", "WMMXv2"],
        tag::ADVANCED_SIMD_ARCH => &[
            "none",
            "NEONv1",
            "NEONv1 with fused MAC",
            "NEON for ARMv8",
            "NEON for ARMv8.1",
        ],
        tag::ABI_VFP_ARGS => &[
            "core registers",
            "VFP registers",
            "tool chain's own",
            "compatible with both",
        ],
        tag::CPU_UNALIGNED_ACCESS => &["none", "v6"],
        tag::FP_HP_EXTENSION => &["as Tag_FP_arch has it", "used", "ARMv8.2 half precision"],
        tag::MPEXTENSION_USE | tag::MPEXTENSION_USE_OLD | tag::DSP_EXTENSION | tag::T2EE_USE => &["not used", "used"],
        tag::PAC_EXTENSION | tag::BTI_EXTENSION => &["not used", "used as hints", "used"],
        tag::DIV_USE => &["as Tag_CPU_arch has it", "not used", "used (v7-A with divide)"],
        tag::MVE_ARCH => &["none", "MVE integer", "MVE integer and floating point"],
        tag::VIRTUALIZATION_USE => &[
            "none",
            "TrustZone",
            "virtualization extensions",
            "TrustZone and virtualization extensions",
        ],
        _ => &[],
    };
    match usize::try_from(value).ok().and_then(|index| names.get(index)) {
        Some(name) => (*name).to_owned(),
        None => format!("unknown value {value}"),
    }
}

/// One attribute for people: `Tag_CPU_arch: v6KZ`.
pub fn describe(tag: u64, value: &Value) -> String {
    let name = tag_name(tag);
    match value {
        Value::Number(number) => match value_name(tag, *number) {
            unknown if unknown.starts_with("unknown") => format!("{name}: {number}"),
            words => format!("{name}: {words}"),
        },
        Value::Text(text) => format!("{name}: \"{text}\""),
        Value::Compatibility(flag, vendor) => format!("{name}: {flag}, \"{vendor}\""),
    }
}
