//! What an instruction can need of a chip.

use std::fmt;

/// A part of the architecture, as the ARM Architecture Reference Manual names what introduced an encoding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Feature {
    /// ARMv4 and before, with Thumb-1.
    V4,
    /// ARMv5: `clz`, `blx`, `ldrd`, saturating and halfword arithmetic, `bxj`.
    V5,
    /// ARMv6: media instructions, `ldrex`, `cps`, `setend`.
    V6,
    /// ARMv6K: hints, `clrex`, `ldrexd` and its relatives.
    V6K,
    /// Security extension: `smc`.
    Security,
    /// ARMv6T2: Thumb-2, and what came to ARM state with it (`movw`, `ubfx`, `mls`, `rbit`).
    V6T2,
    /// ARMv7: barriers, `pli`.
    V7,
    /// Multiprocessing extension: `pldw`.
    Multiprocessing,
    /// `sdiv` and `udiv`.
    Divide,
    /// Virtualization extension: `hvc`, `eret`, banked registers.
    Virtualization,
    /// ARMv8 and later.
    V8,
    /// ARMv8 `crc32`.
    Crc,
    /// ARMv8 AES and SHA.
    Crypto,
    /// VFPv2, with 16 double registers.
    Vfp2,
    /// VFPv3: immediates, fixed point.
    Vfp3,
    /// Registers d16 to d31.
    D32,
    /// Conversions from and to half precision.
    HalfPrecision,
    /// VFPv4: fused multiply-add.
    Vfp4,
    /// Floating point of ARMv8 and later: `vsel`, `vrint`, arithmetic in half precision.
    FpV8,
    /// Advanced SIMD, any version.
    Neon,
    /// A coprocessor that is neither 10 and 11 (floating point) nor 14 and 15 (system).
    Coprocessor,
}

impl Feature {
    /// In words, for a report.
    pub fn name(self) -> &'static str {
        match self {
            Feature::V4 => "ARMv4",
            Feature::V5 => "ARMv5",
            Feature::V6 => "ARMv6",
            Feature::V6K => "ARMv6K",
            Feature::Security => "security extension",
            Feature::V6T2 => "ARMv6T2",
            Feature::V7 => "ARMv7",
            Feature::Multiprocessing => "multiprocessing extension",
            Feature::Divide => "divide",
            Feature::Virtualization => "virtualization extension",
            Feature::V8 => "ARMv8",
            Feature::Crc => "CRC32",
            Feature::Crypto => "cryptography extension",
            Feature::Vfp2 => "VFPv2",
            Feature::Vfp3 => "VFPv3",
            Feature::D32 => "registers d16 to d31",
            Feature::HalfPrecision => "half precision",
            Feature::Vfp4 => "VFPv4",
            Feature::FpV8 => "ARMv8 floating point",
            Feature::Neon => "NEON",
            Feature::Coprocessor => "another coprocessor",
        }
    }
}

impl fmt::Display for Feature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What a chip has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Features(u32);

impl Features {
    /// A chip that has nothing, so that every instruction is beyond it: for lists of all there is.
    pub const NONE: Features = Features(0);

    /// ARM1176JZF-S.
    pub const ARM1176: Features = Features(0).with(&[
        Feature::V4,
        Feature::V5,
        Feature::V6,
        Feature::V6K,
        Feature::Security,
        Feature::Vfp2,
    ]);

    /// ARMv7-A with VFPv3-D16 and nothing else.
    pub const ARMV7: Features = Features::ARM1176.with(&[Feature::V6T2, Feature::V7, Feature::Vfp3]);

    /// These and more.
    #[must_use]
    pub const fn with(self, more: &[Feature]) -> Features {
        let mut bits = self.0;
        let mut at = 0;
        while at < more.len() {
            bits |= 1 << more[at] as u32;
            at += 1;
        }
        Features(bits)
    }

    /// Whether it is among them.
    pub const fn has(self, feature: Feature) -> bool {
        self.0 >> feature as u32 & 1 == 1
    }
}
