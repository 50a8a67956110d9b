//! Whether a chip has an instruction, for ARM and Thumb.
//!
//! The tables are data: a row is an encoding as the ARM Architecture Reference Manual draws it (DDI 0406 for A32 and Thumb
//! up to ARMv7, DDI 0487 for ARMv8), with the part of the architecture that introduced it. The first row that matches
//! decides. What no platform of ours has (NEON, the 32-bit encodings of Thumb-2) is known by its group only, as far as a
//! report needs it.
//!
//! A generic disassembler does not answer this question: LLVM, and whatever was made after it, prints what VFPv2 does not
//! have as generic coprocessor instructions (`cdp p11, ...`), and believes in every coprocessor. So `tests/it/isa.rs`
//! compares with LLVM, and names the classes where it is not followed.
//!
//! With [`Feature::V6T2`], `Known` for 32 bits of Thumb-2 means that no extension beyond it is needed; whether the rest of the
//! word is allocated is not looked at.

mod arm;
pub mod feature;
mod row;
mod thumb;
mod unconditional;
mod vfp;

use std::sync::LazyLock;

pub use feature::{Feature, Features};
use row::{Row, Table};

/// What a chip makes of an instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It has it.
    Known {
        /// Mnemonic or group.
        name: &'static str,
        /// What it came with.
        since: Feature,
    },
    /// Other chips have it.
    Beyond {
        /// Mnemonic or group.
        name: &'static str,
        /// What this chip lacks.
        needs: Feature,
    },
    /// It has the instruction, but not with these operands: what happens is not defined, and may change from chip to chip.
    Unpredictable {
        /// Mnemonic or group.
        name: &'static str,
        /// What it came with.
        since: Feature,
    },
    /// No chip is known to have it.
    Undefined,
}

static CONDITIONAL: LazyLock<Table> = LazyLock::new(|| Table::new(20, &[vfp::ROWS, arm::ROWS]));
static UNCONDITIONAL: LazyLock<Table> = LazyLock::new(|| Table::new(20, &[unconditional::ROWS]));
static THUMB: LazyLock<Table> = LazyLock::new(|| Table::new(8, &[thumb::ROWS]));
static THUMB_WIDE: LazyLock<Table> = LazyLock::new(|| Table::new(20, &[thumb::WIDE]));

/// An instruction in ARM state.
pub fn arm(word: u32, features: Features) -> Verdict {
    let table = if word >> 28 == 15 { &UNCONDITIONAL } else { &CONDITIONAL };
    table.judge(word, features)
}

/// Whether an instruction in Thumb state that begins with this halfword has another one. Chips without Thumb-2 execute the
/// halves of `bl` one after the other, but always find them together.
pub fn is_wide(first: u16) -> bool {
    first >> 11 > 0b11100
}

/// An instruction in Thumb state. `second` is the halfword that follows; it counts only if [`is_wide`] says so.
pub fn thumb(first: u16, second: u16, features: Features) -> Verdict {
    let word = u32::from(first) << 16 | u32::from(second);
    if is_wide(first) {
        match word >> 26 {
            // Coprocessors: the same bits as in ARM state, once there is Thumb-2.
            0b111011 | 0b111111 if features.has(Feature::V6T2) && word >> 24 & 3 != 3 => arm(word, features),
            _ => THUMB_WIDE.judge(word, features),
        }
    } else {
        THUMB.judge(u32::from(first), features)
    }
}

/// All rows in ARM state as mask and value, for tests that stay near them.
pub fn arm_patterns() -> impl Iterator<Item = (u32, u32)> {
    let conditional = vfp::ROWS.iter().chain(arm::ROWS).map(pattern);
    let unconditional = unconditional::ROWS.iter().map(pattern);
    conditional
        .map(|(mask, value)| (mask | 0xf000_0000, value | 0xe000_0000))
        .chain(unconditional)
}

/// All rows of wide instructions in Thumb state as mask and value, for tests that stay near them.
pub fn thumb_patterns() -> impl Iterator<Item = (u32, u32)> {
    thumb::WIDE.iter().map(pattern)
}

fn pattern(row: &Row) -> (u32, u32) {
    (row.mask, row.value)
}

#[cfg(test)]
mod tests;
