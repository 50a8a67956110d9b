//! Thumb state.

use super::feature::Feature::*;
use super::row::{Row, half, row};

fn cps(word: u32) -> bool {
    word & 7 == 0
}

fn no_list(word: u32) -> bool {
    word & 0xff == 0
}

fn no_list_with_link(word: u32) -> bool {
    word & 0x1ff == 0
}

/// `cmp` with a high register, of which there is none, or with PC.
fn compare_high(word: u32) -> bool {
    let n = word & 7 | word >> 4 & 8;
    let m = word >> 3 & 15;
    n < 8 && m < 8 || n == 15 || m == 15
}

fn both_pc(word: u32) -> bool {
    word & 0x87 == 0x87 && word >> 3 & 15 == 15
}

/// Of 16 bits, in the lower half.
pub const ROWS: &[Row] = &[
    half("000oo iiiii mmm ddd", "shift (immediate)", V4),
    half("00011 oo mmm nnn ddd", "add/sub", V4),
    half("001oo ddd iiii iiii", "mov/cmp/add/sub", V4),
    half("010000 oooo mmm ddd", "data processing", V4),
    half("010001 00 d mmmm ddd", "add", V4).not_if(both_pc),
    half("010001 01 n mmmm nnn", "cmp", V4).not_if(compare_high),
    half("010001 10 d mmmm ddd", "mov", V4),
    half("010001 11 0 mmmm (000)", "bx", V4),
    half("010001 11 1 mmmm (000)", "blx", V5).not_if(|word| word >> 3 & 15 == 15),
    half("01001 ttt iiii iiii", "ldr (literal)", V4),
    half("0101 ooo mmm nnn ttt", "load/store", V4),
    half("011b l iiiii nnn ttt", "load/store", V4),
    half("1000 l iiiii nnn ttt", "load/store", V4),
    half("1001 l ttt iiii iiii", "load/store", V4),
    half("1010 s ddd iiii iiii", "adr/add", V4),
    half("1011 0000 o iii iiii", "add/sub sp", V4),
    half("1011 x0i1 iiii innn", "cbz/cbnz", V6T2),
    half("1011 0010 oo mmm ddd", "sxth/sxtb/uxth/uxtb", V6),
    half("1011 010m llll llll", "push", V4).not_if(no_list_with_link),
    half("1011 0110 010 (1) e (000)", "setend", V6),
    half("1011 0110 011 i (0) aif", "cps", V6).not_if(cps),
    half("1011 0110 000 (1) i (000)", "setpan", V8),
    half("1011 1010 10 ii iiii", "hlt", V8),
    half("1011 1010 oo mmm ddd", "rev/rev16/revsh", V6),
    half("1011 110p llll llll", "pop", V4).not_if(no_list_with_link),
    half("1011 1110 iiii iiii", "bkpt", V5),
    half("1011 1111 hhhh 0000", "nop and hints", V6T2),
    half("1011 1111 cccc mmmm", "it", V6T2),
    half("1100 l nnn llll llll", "ldm/stm", V4).not_if(no_list),
    half("1101 1110 iiii iiii", "udf", V4),
    half("1101 1111 iiii iiii", "svc", V4),
    half("1101 cccc iiii iiii", "b", V4),
    half("11100 iii iiii iiii", "b", V4),
];

/// Of 32 bits, first halfword above. All but two are Thumb-2; they are told apart as far as they need more than that.
pub const WIDE: &[Row] = &[
    row("1111 0sii iiii iiii 1111 1iii iiii iiii", "bl", V4),
    row("1111 0sii iiii iiii 1110 1iii iiii iii0", "blx", V5),
    row("1111 0sii iiii iiii 11j1 jiii iiii iiii", "bl (far)", V6T2),
    row("1111 0sii iiii iiii 11j0 jiii iiii iii0", "blx (far)", V6T2),
    // Barriers and what is near them.
    row("1111 0011 1011 xxxx 10x0 xxxx 0010 xxxx", "clrex", V7),
    row("1111 0011 1011 xxxx 10x0 xxxx 0100 xxxx", "dsb", V7),
    row("1111 0011 1011 xxxx 10x0 xxxx 0101 xxxx", "dmb", V7),
    row("1111 0011 1011 xxxx 10x0 xxxx 0110 xxxx", "isb", V7),
    row("1111 0111 1110 iiii 1000 iiii iiii iiii", "hvc", Virtualization),
    row("1111 0111 1111 iiii 1000 xxxx xxxx xxxx", "smc", V6T2),
    row("1111 0111 1111 iiii 1010 iiii iiii iiii", "udf.w", V6T2),
    row("1111 1011 1001 nnnn xxxx dddd 1111 mmmm", "sdiv", Divide),
    row("1111 1011 1011 nnnn xxxx dddd 1111 mmmm", "udiv", Divide),
    row("1111 1010 110x nnnn xxxx dddd 10xx mmmm", "crc32", Crc),
    row("1110 1000 1100 nnnn tttt xxxx 10xx xxxx", "stl", V8),
    row("1110 1000 1101 nnnn tttt xxxx 10xx xxxx", "lda", V8),
    row("1110 1000 1100 nnnn tttt xxxx 11xx dddd", "stlex", V8),
    row("1110 1000 1101 nnnn tttt xxxx 11xx dddd", "ldaex", V8),
    row("1111 1000 10x1 nnnn 1111 iiii iiii iiii", "pld/pldw", V6T2),
    // NEON; coprocessors are where they are in ARM state, see `thumb`.
    row("111u 1111 xxxx xxxx xxxx xxxx xxxx xxxx", "NEON data processing", Neon),
    row("1111 1001 xxx0 xxxx xxxx xxxx xxxx xxxx", "vld/vst (elements)", Neon),
    row("1110 1xxx xxxx xxxx xxxx xxxx xxxx xxxx", "Thumb-2", V6T2),
    row("1111 xxxx xxxx xxxx xxxx xxxx xxxx xxxx", "Thumb-2", V6T2),
];
