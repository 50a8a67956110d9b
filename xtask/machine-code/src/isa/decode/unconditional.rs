//! ARM state, where the condition would be 1111.

use super::feature::Feature::*;
use super::row::{Row, row};

/// Mode without `imod` and the other ways round: `cps` that changes nothing it says.
fn cps(word: u32) -> bool {
    let (imod, mode_too, flags, mode) = (word >> 18 & 3, word >> 17 & 1 == 1, word >> 6 & 7, word & 31);
    mode != 0 && !mode_too
        || imod & 2 == 2 && flags == 0
        || imod & 2 == 0 && flags != 0
        || imod == 1
        || imod == 0 && !mode_too
}

fn same_two(word: u32) -> bool {
    word >> 12 & 15 == word >> 16 & 15
}

fn pc_written(word: u32) -> bool {
    word >> 21 & 1 == 1 && word >> 16 & 15 == 15
}

pub const ROWS: &[Row] = &[
    row("1111 0001 0000 (000)1 (0000 00)e(0) 0000 (0000)", "setend", V6),
    row("1111 0001 0000 iim0 (0000 000)a if0m mmmm", "cps", V6).not_if(cps),
    row("1111 0001 0001 (0000 0000 00)i(0) 0000 (0000)", "setpan", V8),
    // NEON: what belongs to a later extension is named, the rest is known as a whole.
    row("1111 0011 1d11 ss00 dddd 0011 ooi0 mmmm", "aes", Crypto),
    row("1111 0011 1d11 ss01 dddd 0010 11m0 mmmm", "sha1h", Crypto),
    row("1111 0011 1d11 ss10 dddd 0011 1qm0 mmmm", "sha1su1/sha256su0", Crypto),
    row("1111 001u 0dss nnnn dddd 1100 n1m0 mmmm", "sha1/sha256", Crypto),
    row("1111 001x xxxx xxxx xxxx xxxx xxxx xxxx", "NEON data processing", Neon),
    row("1111 0100 xxx0 xxxx xxxx xxxx xxxx xxxx", "vld/vst (elements)", Neon),
    // Hints for the cache.
    row("1111 0101 u101 nnnn (1111) iiii iiii iiii", "pld", V5),
    row("1111 0111 u101 nnnn (1111) iiii itt0 MMMM", "pld", V5),
    row("1111 0101 u001 nnnn (1111) iiii iiii iiii", "pldw", Multiprocessing),
    row("1111 0111 u001 nnnn (1111) iiii itt0 MMMM", "pldw", Multiprocessing),
    row("1111 0100 u101 nnnn (1111) iiii iiii iiii", "pli", V7),
    row("1111 0110 u101 nnnn (1111) iiii itt0 MMMM", "pli", V7),
    row(
        "1111 0100 u001 xxxx xxxx xxxx xxxx xxxx",
        "memory hint",
        Multiprocessing,
    ),
    row(
        "1111 0110 u001 xxxx xxxx xxxx xxx0 xxxx",
        "memory hint",
        Multiprocessing,
    ),
    row("1111 0101 0111 (1111 1111 0000) 0001 (1111)", "clrex", V6K),
    row("1111 0101 0111 (1111 1111 0000) 0100 oooo", "dsb", V7),
    row("1111 0101 0111 (1111 1111 0000) 0101 oooo", "dmb", V7),
    row("1111 0101 0111 (1111 1111 0000) 0110 oooo", "isb", V7),
    row("1111 0101 0111 (1111 1111 0000) 0111 (0000)", "sb", V8),
    // Exceptions and calls.
    row("1111 100p u1w0 (1101 0000 0101 000)m mmmm", "srs", V6),
    row("1111 100p u0w1 NNNN (0000 1010 0000 0000)", "rfe", V6),
    row("1111 101h iiii iiii iiii iiii iiii iiii", "blx", V5),
    // Floating point of ARMv8, and NEON of its extensions.
    row("1111 1110 0dcc nnnn dddd 10ss n0m0 mmmm", "vsel", FpV8),
    row("1111 1110 1d00 nnnn dddd 10ss nom0 mmmm", "vmaxnm/vminnm", FpV8),
    row("1111 1110 1d11 0000 dddd 1010 x1m0 mmmm", "vmovx/vins", FpV8),
    row("1111 1110 1d11 10rr dddd 10ss 01m0 mmmm", "vrint", FpV8),
    row(
        "1111 1110 1d11 11rr dddd 10ss x1m0 mmmm",
        "vcvta/vcvtn/vcvtp/vcvtm",
        FpV8,
    ),
    row(
        "1111 110x xxxx nnnn dddd 1x0x xxxx mmmm",
        "NEON (extensions of ARMv8)",
        Neon,
    ),
    row(
        "1111 1110 xxxx nnnn dddd 100x xxxx mmmm",
        "NEON (extensions of ARMv8)",
        Neon,
    ),
    row(
        "1111 1110 xxxx nnnn dddd 1101 xxxx mmmm",
        "NEON (extensions of ARMv8)",
        Neon,
    ),
    // Coprocessors 14 and 15.
    row("1111 1100 0100 UUUU TTTT 111p oooo mmmm", "mcrr2", V6),
    row("1111 1100 0101 UUUU TTTT 111p oooo mmmm", "mrrc2", V6).not_if(same_two),
    row("1111 1101 uxwl nnnn dddd 111p iiii iiii", "ldc2/stc2", V5).not_if(pc_written),
    row("1111 1100 1xwl nnnn dddd 111p iiii iiii", "ldc2/stc2", V5).not_if(pc_written),
    row("1111 1100 0x1l nnnn dddd 111p iiii iiii", "ldc2/stc2", V5).not_if(pc_written),
    row("1111 1110 oooo nnnn dddd 111p ooo0 mmmm", "cdp2", V5),
    row("1111 1110 ooo0 nnnn TTTT 111p ooo1 mmmm", "mcr2", V5),
    row("1111 1110 ooo1 nnnn tttt 111p ooo1 mmmm", "mrc2", V5),
    row(
        "1111 11xx xxxx xxxx xxxx 101x xxxx xxxx",
        "NEON (extensions of ARMv8)",
        Neon,
    ),
    row(
        "1111 110x xxxx nnnn tttt pppp iiii iiii",
        "ldc2/stc2/mcrr2/mrrc2",
        Coprocessor,
    ),
    row("1111 1110 xxxx nnnn tttt pppp oooo mmmm", "cdp2/mcr2/mrc2", Coprocessor),
];
