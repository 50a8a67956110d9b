//! Floating point in ARM state, with a condition: coprocessors 10 (single) and 11 (double).

use super::feature::Feature::*;
use super::row::{Row, row};

/// Registers from the first to beyond the last one, or none.
fn singles(word: u32) -> bool {
    let first = (word >> 12 & 15) << 1 | word >> 22 & 1;
    let count = word & 0xff;
    count == 0 || first + count > 32
}

/// With an odd count of words it is `fldmx` or `fstmx`, which never knew d16.
fn doubles(word: u32) -> bool {
    let first = word >> 12 & 15 | (word >> 22 & 1) << 4;
    let count = (word & 0xff) >> 1;
    let last = if word & 1 == 1 { 16 } else { 32 };
    count == 0 || count > 16 || first + count > last
}

fn many_doubles(word: u32) -> bool {
    (word >> 12 & 15) + ((word & 0xff) >> 1).min(16) > 16
}

fn pair_of_singles(word: u32) -> bool {
    (word & 15) << 1 | word >> 5 & 1 == 31
}

fn two_singles_to_core(word: u32) -> bool {
    pair_of_singles(word) || two_to_core(word)
}

fn two_to_core(word: u32) -> bool {
    word >> 12 & 15 == word >> 16 & 15
}

pub const ROWS: &[Row] = &[
    // Two core registers.
    row("cccc 1100 0100 UUUU TTTT 1010 00m1 mmmm", "vmov", Vfp2).not_if(pair_of_singles),
    row("cccc 1100 0101 UUUU TTTT 1010 00m1 mmmm", "vmov", Vfp2).not_if(two_singles_to_core),
    row("cccc 1100 0100 UUUU TTTT 1011 00X1 mmmm", "vmov", Vfp2),
    row("cccc 1100 0101 UUUU TTTT 1011 00X1 mmmm", "vmov", Vfp2).not_if(two_to_core),
    // Memory.
    row("cccc 1101 ud0l nnnn dddd 1010 iiii iiii", "vldr/vstr", Vfp2),
    row("cccc 1101 uX0l nnnn dddd 1011 iiii iiii", "vldr/vstr", Vfp2),
    row("cccc 1100 1d0l nnnn dddd 1010 iiii iiii", "vldm/vstm", Vfp2).not_if(singles),
    row("cccc 1100 1d1l NNNN dddd 1010 iiii iiii", "vldm/vstm", Vfp2).not_if(singles),
    row("cccc 1101 0d1l NNNN dddd 1010 iiii iiii", "vldm/vstm", Vfp2).not_if(singles),
    row("cccc 1100 1X0l nnnn dddd 1011 iiii iiii", "vldm/vstm", Vfp2)
        .high_if(many_doubles)
        .not_if(doubles),
    row("cccc 1100 1X1l NNNN dddd 1011 iiii iiii", "vldm/vstm", Vfp2)
        .high_if(many_doubles)
        .not_if(doubles),
    row("cccc 1101 0X1l NNNN dddd 1011 iiii iiii", "vldm/vstm", Vfp2)
        .high_if(many_doubles)
        .not_if(doubles),
    // One core register.
    row("cccc 1110 000l nnnn TTTT 1010 n(00)1 (0000)", "vmov", Vfp2),
    row("cccc 1110 00x0 dddd TTTT 1011 X001 (0000)", "vmov.32", Vfp2),
    row("cccc 1110 00x1 nnnn TTTT 1011 X001 (0000)", "vmov.32", Vfp2),
    row("cccc 1110 0xx0 dddd TTTT 1011 xxx1 (0000)", "vmov.8/vmov.16", Neon),
    row("cccc 1110 xxx1 nnnn TTTT 1011 xxx1 (0000)", "vmov.8/vmov.16", Neon),
    row("cccc 1110 1xx0 dddd TTTT 1011 x0x1 (0000)", "vdup", Neon),
    row("cccc 1110 1110 000x TTTT 1010 (000)1 (0000)", "vmsr", Vfp2),
    row("cccc 1110 1110 1000 TTTT 1010 (000)1 (0000)", "vmsr", Vfp2),
    row("cccc 1110 1110 1001 TTTT 1010 (000)1 (0000)", "vmsr", Vfp2),
    row("cccc 1110 1110 1010 TTTT 1010 (000)1 (0000)", "vmsr", Vfp2),
    row("cccc 1110 1111 0001 tttt 1010 (000)1 (0000)", "vmrs", Vfp2),
    row("cccc 1110 1111 0000 TTTT 1010 (000)1 (0000)", "vmrs", Vfp2),
    row("cccc 1110 1111 0101 TTTT 1010 (000)1 (0000)", "vmrs", FpV8),
    row("cccc 1110 1111 011x TTTT 1010 (000)1 (0000)", "vmrs", Vfp2),
    row("cccc 1110 1111 100x TTTT 1010 (000)1 (0000)", "vmrs", Vfp2),
    row("cccc 1110 1111 1010 TTTT 1010 (000)1 (0000)", "vmrs", Vfp2),
    // Arithmetic.
    row("cccc 1110 0doo nnnn dddd 1010 nom0 mmmm", "vmla/vnmla/vmul/vadd", Vfp2),
    row("cccc 1110 0Xoo nnnn dddd 1011 XoX0 mmmm", "vmla/vnmla/vmul/vadd", Vfp2),
    row("cccc 1110 1d00 nnnn dddd 1010 n0m0 mmmm", "vdiv", Vfp2),
    row("cccc 1110 1X00 nnnn dddd 1011 X0X0 mmmm", "vdiv", Vfp2),
    row("cccc 1110 1X01 nnnn dddd 101s XoX0 mmmm", "vfnma/vfnms", Vfp4),
    row("cccc 1110 1X10 nnnn dddd 101s XoX0 mmmm", "vfma/vfms", Vfp4),
    row("cccc 1110 1d11 iiii dddd 1010 (0)0(0)0 iiii", "vmov (immediate)", Vfp3),
    row("cccc 1110 1X11 iiii dddd 1011 (0)0(0)0 iiii", "vmov (immediate)", Vfp3),
    row("cccc 1110 1d11 000x dddd 1010 x1m0 mmmm", "vmov/vabs/vneg/vsqrt", Vfp2),
    row("cccc 1110 1X11 000x dddd 1011 x1X0 mmmm", "vmov/vabs/vneg/vsqrt", Vfp2),
    row("cccc 1110 1d11 001x dddd 1010 t1m0 mmmm", "vcvtb/vcvtt", HalfPrecision),
    row("cccc 1110 1d11 001x dddd 1011 t1m0 mmmm", "vcvtb/vcvtt", FpV8),
    row("cccc 1110 1d11 0100 dddd 1010 e1m0 mmmm", "vcmp", Vfp2),
    row("cccc 1110 1X11 0100 dddd 1011 e1X0 mmmm", "vcmp", Vfp2),
    row("cccc 1110 1d11 0101 dddd 1010 e1(0)0 (0000)", "vcmp", Vfp2),
    row("cccc 1110 1X11 0101 dddd 1011 e1(0)0 (0000)", "vcmp", Vfp2),
    row("cccc 1110 1d11 0110 dddd 101s x1m0 mmmm", "vrintr/vrintz", FpV8),
    row("cccc 1110 1d11 0111 dddd 101s 01m0 mmmm", "vrintx", FpV8),
    row("cccc 1110 1X11 0111 dddd 1010 11m0 mmmm", "vcvt", Vfp2),
    row("cccc 1110 1d11 0111 dddd 1011 11X0 mmmm", "vcvt", Vfp2),
    row("cccc 1110 1d11 1000 dddd 1010 x1m0 mmmm", "vcvt", Vfp2),
    row("cccc 1110 1X11 1000 dddd 1011 x1m0 mmmm", "vcvt", Vfp2),
    row("cccc 1110 1d11 1001 dddd 1011 11m0 mmmm", "vjcvt", FpV8),
    row("cccc 1110 1d11 1x1x dddd 1010 x1i0 iiii", "vcvt (fixed point)", Vfp3),
    row("cccc 1110 1X11 1x1x dddd 1011 x1i0 iiii", "vcvt (fixed point)", Vfp3),
    row("cccc 1110 1d11 110x dddd 1010 x1m0 mmmm", "vcvt", Vfp2),
    row("cccc 1110 1d11 110x dddd 1011 x1X0 mmmm", "vcvt", Vfp2),
];
