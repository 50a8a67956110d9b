//! ARM state, with a condition: everything but floating point.

use super::feature::Feature::{self, *};
use super::row::{Row, row};

/// The register whose number begins at this bit.
const fn r(word: u32, bit: u32) -> u32 {
    word >> bit & 15
}

/// A load or store that writes its base back: PC cannot be the base, and not what is transferred either.
fn writes_back_over(word: u32) -> bool {
    let post = word >> 24 & 1 == 0;
    let writes = post || word >> 21 & 1 == 1;
    writes && (r(word, 16) == 15 || r(word, 16) == r(word, 12))
}

/// `ldrd`: an even register and the next one, neither of them base or offset.
fn load_pair(word: u32) -> bool {
    let (t, n, m) = (r(word, 12), r(word, 16), r(word, 0));
    let register = word >> 22 & 1 == 0;
    store_pair(word) || register && (m == t || m == t | 1) || writes(word) && n == t | 1
}

fn store_pair(word: u32) -> bool {
    let (t, n, m) = (r(word, 12), r(word, 16), r(word, 0));
    let register = word >> 22 & 1 == 0;
    t & 1 == 1
        || t == 14
        || register && m == 15
        || post_and_writes(word)
        || writes(word) && (n == 15 || n == t || n == t | 1)
}

fn writes(word: u32) -> bool {
    word >> 24 & 1 == 0 || word >> 21 & 1 == 1
}

fn post_and_writes(word: u32) -> bool {
    word >> 24 & 1 == 0 && word >> 21 & 1 == 1
}

/// Both halves of the result in one register.
fn same_halves(word: u32) -> bool {
    r(word, 16) == r(word, 12)
}

/// The status register of a store must not be what is stored, nor the address.
fn status(word: u32) -> bool {
    r(word, 12) == r(word, 16) || r(word, 12) == r(word, 0)
}

fn status_pair(word: u32) -> bool {
    let t = r(word, 0);
    status(word) || t & 1 == 1 || t == 14 || r(word, 12) == t | 1
}

fn odd_pair(word: u32) -> bool {
    let t = r(word, 12);
    t & 1 == 1 || t == 14
}

fn swap(word: u32) -> bool {
    r(word, 16) == r(word, 12) || r(word, 16) == r(word, 0)
}

fn no_list(word: u32) -> bool {
    word & 0xffff == 0
}

/// Nothing is loaded, or the base is both loaded and written back.
fn load_list(word: u32) -> bool {
    no_list(word) || word >> 21 & 1 == 1 && word >> r(word, 16) & 1 == 1
}

fn same_two(word: u32) -> bool {
    r(word, 12) == r(word, 16)
}

/// A bit field that ends before it begins, or outside.
fn field_reversed(word: u32) -> bool {
    (word >> 16 & 31) < (word >> 7 & 31)
}

fn field_too_wide(word: u32) -> bool {
    (word >> 16 & 31) + (word >> 7 & 31) > 31
}

fn no_mask(word: u32) -> bool {
    r(word, 16) == 0
}

const fn dp(pattern: &str, name: &'static str) -> Row {
    row(pattern, name, V4)
}

const fn v(pattern: &str, name: &'static str, needs: Feature) -> Row {
    row(pattern, name, needs)
}

pub const ROWS: &[Row] = &[
    // Multiplication.
    v("cccc 0000 000s DDDD (0000) MMMM 1001 NNNN", "mul", V4),
    v("cccc 0000 001s DDDD AAAA MMMM 1001 NNNN", "mla", V4),
    v("cccc 0000 0100 HHHH LLLL MMMM 1001 NNNN", "umaal", V6).not_if(same_halves),
    v("cccc 0000 0110 DDDD AAAA MMMM 1001 NNNN", "mls", V6T2),
    v("cccc 0000 1oos HHHH LLLL MMMM 1001 NNNN", "long multiply", V4).not_if(same_halves),
    // Exclusive and swap. ARMv8 gave meaning to two bits that should have been one.
    v("cccc 0001 1xx0 NNNN (1111) (11)00 1001 TTTT", "stl", V8),
    v("cccc 0001 1xx1 NNNN TTTT (11)00 1001 (1111)", "lda", V8),
    v("cccc 0001 1xx0 NNNN DDDD (11)10 1001 TTTT", "stlex", V8),
    v("cccc 0001 1xx1 NNNN TTTT (11)10 1001 (1111)", "ldaex", V8),
    v("cccc 0001 0b00 NNNN TTTT (0000) 1001 MMMM", "swp", V4).not_if(swap),
    v("cccc 0001 1000 NNNN DDDD (1111) 1001 TTTT", "strex", V6).not_if(status),
    v("cccc 0001 1001 NNNN TTTT (1111) 1001 (1111)", "ldrex", V6),
    v("cccc 0001 1010 NNNN DDDD (1111) 1001 TTTT", "strexd", V6K).not_if(status_pair),
    v("cccc 0001 1011 NNNN TTTT (1111) 1001 (1111)", "ldrexd", V6K).not_if(odd_pair),
    v("cccc 0001 11h0 NNNN DDDD (1111) 1001 TTTT", "strexb/strexh", V6K).not_if(status),
    v("cccc 0001 11h1 NNNN TTTT (1111) 1001 (1111)", "ldrexb/ldrexh", V6K),
    // Halfwords, signed bytes, pairs.
    v("cccc 0000 u010 nnnn TTTT (0000) 1011 MMMM", "strht", V6T2).not_if(writes_back_over),
    v("cccc 0000 u110 nnnn TTTT iiii 1011 iiii", "strht", V6T2).not_if(writes_back_over),
    v("cccc 0000 u011 nnnn TTTT (0000) 1011 MMMM", "ldrht", V6T2).not_if(writes_back_over),
    v("cccc 0000 u111 nnnn TTTT iiii 1011 iiii", "ldrht", V6T2).not_if(writes_back_over),
    v("cccc 0000 u011 nnnn TTTT (0000) 11h1 MMMM", "ldrsbt/ldrsht", V6T2).not_if(writes_back_over),
    v("cccc 0000 u111 nnnn TTTT iiii 11h1 iiii", "ldrsbt/ldrsht", V6T2).not_if(writes_back_over),
    v("cccc 000p u0wl nnnn TTTT (0000) 1011 MMMM", "ldrh/strh", V4).not_if(writes_back_over),
    v("cccc 000p u1wl nnnn TTTT iiii 1011 iiii", "ldrh/strh", V4).not_if(writes_back_over),
    v("cccc 000p u0w1 nnnn TTTT (0000) 11h1 MMMM", "ldrsb/ldrsh", V4).not_if(writes_back_over),
    v("cccc 000p u1w1 nnnn TTTT iiii 11h1 iiii", "ldrsb/ldrsh", V4).not_if(writes_back_over),
    v("cccc 000p u0w0 nnnn tttt (0000) 1101 mmmm", "ldrd", V5).not_if(load_pair),
    v("cccc 000p u1w0 nnnn tttt iiii 1101 iiii", "ldrd", V5).not_if(load_pair),
    v("cccc 000p u0w0 nnnn tttt (0000) 1111 mmmm", "strd", V5).not_if(store_pair),
    v("cccc 000p u1w0 nnnn tttt iiii 1111 iiii", "strd", V5).not_if(store_pair),
    // What would be comparisons that set no flags.
    v(
        "cccc 0001 0r00 mmmm DDDD (00)1m 0000 (0000)",
        "mrs (banked)",
        Virtualization,
    ),
    v(
        "cccc 0001 0r10 mmmm (1111)(00)1m 0000 NNNN",
        "msr (banked)",
        Virtualization,
    ),
    v("cccc 0001 0r00 (1111) DDDD (00)0(0) 0000 (0000)", "mrs", V4),
    v("cccc 0001 0r10 mmmm (1111)(00)0(0) 0000 NNNN", "msr", V4).not_if(no_mask),
    v("(1110) 0001 0ss0 NNNN DDDD (00)c(0) 0100 MMMM", "crc32", Crc),
    v("cccc 0001 0010 (1111 1111 1111) 0001 mmmm", "bx", V4),
    v("cccc 0001 0110 (1111) DDDD (1111) 0001 MMMM", "clz", V5),
    v("cccc 0001 0010 (1111 1111 1111) 0010 MMMM", "bxj", V5),
    v("cccc 0001 0010 (1111 1111 1111) 0011 MMMM", "blx", V5),
    v(
        "cccc 0001 0oo0 NNNN DDDD (0000) 0101 MMMM",
        "saturating add and subtract",
        V5,
    ),
    v("cccc 0001 0110 (0000 0000 0000) 0110 (1110)", "eret", Virtualization),
    v("(1110) 0001 0000 iiii iiii iiii 0111 iiii", "hlt", V8),
    v("(1110) 0001 0010 iiii iiii iiii 0111 iiii", "bkpt", V5),
    v("(1110) 0001 0100 iiii iiii iiii 0111 iiii", "hvc", Virtualization),
    v("cccc 0001 0110 (0000 0000 0000) 0111 iiii", "smc", Security),
    v("cccc 0001 0000 DDDD AAAA MMMM 1yx0 NNNN", "smlaxy", V5),
    v("cccc 0001 0010 DDDD AAAA MMMM 1y00 NNNN", "smlawy", V5),
    v("cccc 0001 0010 DDDD (0000) MMMM 1y10 NNNN", "smulwy", V5),
    v("cccc 0001 0100 HHHH LLLL MMMM 1yx0 NNNN", "smlalxy", V5).not_if(same_halves),
    v("cccc 0001 0110 DDDD (0000) MMMM 1yx0 NNNN", "smulxy", V5),
    v("cccc 0011 0000 iiii DDDD iiii iiii iiii", "movw", V6T2),
    v("cccc 0011 0100 iiii DDDD iiii iiii iiii", "movt", V6T2),
    v("cccc 0011 0010 0000 (1111)(0000) iiii iiii", "hint", V6K),
    v("cccc 0011 0r10 mmmm (1111) iiii iiii iiii", "msr", V4).not_if(no_mask),
    // Data processing.
    dp("cccc 0001 0oo1 nnnn (0000) iiii itt0 mmmm", "compare"),
    dp("cccc 0001 0oo1 NNNN (0000) SSSS 0tt1 MMMM", "compare"),
    dp("cccc 0001 1o1s (0000) dddd iiii itt0 mmmm", "mov/mvn"),
    dp("cccc 0001 1o1s (0000) DDDD SSSS 0tt1 MMMM", "mov/mvn"),
    dp("cccc 0000 ooos nnnn dddd iiii itt0 mmmm", "data processing"),
    dp("cccc 0000 ooos NNNN DDDD SSSS 0tt1 MMMM", "data processing"),
    dp("cccc 0001 1o0s nnnn dddd iiii itt0 mmmm", "data processing"),
    dp("cccc 0001 1o0s NNNN DDDD SSSS 0tt1 MMMM", "data processing"),
    dp("cccc 0011 0oo1 nnnn (0000) iiii iiii iiii", "compare"),
    dp("cccc 0011 1o1s (0000) dddd iiii iiii iiii", "mov/mvn"),
    dp("cccc 0010 ooos nnnn dddd iiii iiii iiii", "data processing"),
    dp("cccc 0011 1o0s nnnn dddd iiii iiii iiii", "data processing"),
    // Words and bytes.
    v("cccc 010p u1wl nnnn TTTT iiii iiii iiii", "ldrb/strb", V4).not_if(writes_back_over),
    v("cccc 010p u0wl nnnn tttt iiii iiii iiii", "ldr/str", V4).not_if(writes_back_over),
    v("cccc 011p u1wl nnnn TTTT iiii itt0 MMMM", "ldrb/strb", V4).not_if(writes_back_over),
    v("cccc 011p u0wl nnnn tttt iiii itt0 MMMM", "ldr/str", V4).not_if(writes_back_over),
    // Media.
    v(
        "cccc 0110 0u01 NNNN DDDD (1111) 0oo1 MMMM",
        "parallel add and subtract",
        V6,
    ),
    v(
        "cccc 0110 0u01 NNNN DDDD (1111) 1001 MMMM",
        "parallel add and subtract",
        V6,
    ),
    v(
        "cccc 0110 0u01 NNNN DDDD (1111) 1111 MMMM",
        "parallel add and subtract",
        V6,
    ),
    v(
        "cccc 0110 0u1h NNNN DDDD (1111) 0oo1 MMMM",
        "parallel add and subtract",
        V6,
    ),
    v(
        "cccc 0110 0u1h NNNN DDDD (1111) 1001 MMMM",
        "parallel add and subtract",
        V6,
    ),
    v(
        "cccc 0110 0u1h NNNN DDDD (1111) 1111 MMMM",
        "parallel add and subtract",
        V6,
    ),
    v("cccc 0110 1000 NNNN DDDD iiii it01 MMMM", "pkhbt/pkhtb", V6),
    v("cccc 0110 1000 NNNN DDDD (1111) 1011 MMMM", "sel", V6),
    v("cccc 0110 1u00 nnnn DDDD rr(00) 0111 MMMM", "sxtab16/uxtab16", V6),
    v(
        "cccc 0110 1u1h nnnn DDDD rr(00) 0111 MMMM",
        "sxtab/sxtah/uxtab/uxtah",
        V6,
    ),
    v("cccc 0110 1u1i iiii DDDD iiii is01 NNNN", "ssat/usat", V6),
    v("cccc 0110 1u10 iiii DDDD (1111) 0011 NNNN", "ssat16/usat16", V6),
    v("cccc 0110 1011 (1111) DDDD (1111) 0011 MMMM", "rev", V6),
    v("cccc 0110 1111 (1111) DDDD (1111) 0011 MMMM", "rbit", V6T2),
    v("cccc 0110 1x11 (1111) DDDD (1111) 1011 MMMM", "rev16/revsh", V6),
    v("cccc 0111 0000 DDDD aaaa MMMM 0xx1 NNNN", "smlad/smlsd", V6),
    v("cccc 0111 0001 DDDD (1111) MMMM 0001 NNNN", "sdiv", Divide),
    v("cccc 0111 0011 DDDD (1111) MMMM 0001 NNNN", "udiv", Divide),
    v("cccc 0111 0100 HHHH LLLL MMMM 0xx1 NNNN", "smlald/smlsld", V6).not_if(same_halves),
    v("cccc 0111 0101 DDDD aaaa MMMM 00r1 NNNN", "smmla/smmul", V6),
    v("cccc 0111 0101 DDDD AAAA MMMM 11r1 NNNN", "smmls", V6),
    v("cccc 0111 1000 DDDD aaaa MMMM 0001 NNNN", "usad8/usada8", V6),
    v("cccc 0111 101w wwww DDDD llll l101 NNNN", "sbfx", V6T2).not_if(field_too_wide),
    v("cccc 0111 110w wwww DDDD llll l001 1111", "bfc", V6T2).not_if(field_reversed),
    v("cccc 0111 110w wwww DDDD llll l001 nnnn", "bfi", V6T2).not_if(field_reversed),
    v("cccc 0111 111w wwww DDDD llll l101 NNNN", "ubfx", V6T2).not_if(field_too_wide),
    // Undefined for ever, which is what it is for.
    v("1110 0111 1111 iiii iiii iiii 1111 iiii", "udf", V4),
    // Several registers.
    v("cccc 100p u0w0 NNNN llll llll llll llll", "stm", V4).not_if(no_list),
    v("cccc 100p u0w1 NNNN llll llll llll llll", "ldm", V4).not_if(load_list),
    v("cccc 100p u1(0)0 NNNN llll llll llll llll", "stm (user registers)", V4).not_if(no_list),
    v("cccc 100p u1(0)1 NNNN 0lll llll llll llll", "ldm (user registers)", V4).not_if(no_list),
    v("cccc 100p u1w1 NNNN 1lll llll llll llll", "ldm (exception return)", V4),
    // Branches and calls.
    v("cccc 101l iiii iiii iiii iiii iiii iiii", "b/bl", V4),
    v("cccc 1111 iiii iiii iiii iiii iiii iiii", "svc", V4),
    // Coprocessors 14 and 15, which are the system; 10 and 11 are in another table.
    v("cccc 1100 0100 UUUU TTTT 111p oooo mmmm", "mcrr", V5),
    v("cccc 1100 0101 UUUU TTTT 111p oooo mmmm", "mrrc", V5).not_if(same_two),
    v("cccc 110p u1wl nnnn dddd 111p iiii iiii", "ldc/stc", V4).not_if(pc_written),
    v("cccc 1101 uxwl nnnn dddd 111p iiii iiii", "ldc/stc", V4).not_if(pc_written),
    v("cccc 1100 1xwl nnnn dddd 111p iiii iiii", "ldc/stc", V4).not_if(pc_written),
    v("cccc 1100 0x1l nnnn dddd 111p iiii iiii", "ldc/stc", V4).not_if(pc_written),
    v("cccc 1110 oooo nnnn dddd 111p ooo0 mmmm", "cdp", V4),
    v("cccc 1110 ooo0 nnnn TTTT 111p ooo1 mmmm", "mcr", V4),
    v("cccc 1110 ooo1 nnnn tttt 111p ooo1 mmmm", "mrc", V4),
    // What VFPv2 leaves of 10 and 11 is nothing that a chip would have.
    v("cccc 11xx xxxx xxxx xxxx 101x xxxx xxxx", "floating point", FpV8),
    v(
        "cccc 11xx xxxx xxxx xxxx 1001 xxxx xxxx",
        "half-precision arithmetic",
        FpV8,
    ),
    v("cccc 1100 000x xxxx xxxx pppp xxxx xxxx", "unallocated", Coprocessor),
    v(
        "cccc 110x xxxx nnnn tttt pppp iiii iiii",
        "ldc/stc/mcrr/mrrc",
        Coprocessor,
    ),
    v("cccc 1110 xxxx nnnn tttt pppp oooo mmmm", "cdp/mcr/mrc", Coprocessor),
];

/// A coprocessor's load or store that writes PC back.
fn pc_written(word: u32) -> bool {
    word >> 21 & 1 == 1 && r(word, 16) == 15
}
