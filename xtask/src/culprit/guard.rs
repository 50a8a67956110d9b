//! Code beyond the chip that the tool chain itself brings along and keeps from being executed. It is not believed by its
//! name: each [`Guard`] holds only after the program was found to be as the guard says.
//!
//! * musl (`src/thread/arm/atomics.s`, `__set_thread_area.c`) has its compare-and-swap and its barrier three times, and puts
//!   the addresses of one pair into two variables when a thread is set up: those for v7 unless `AT_PLATFORM` says `v6`.
//! * LLVM's libunwind (`UnwindRegistersSave.S`, `UnwindRegistersRestore.S`, `Registers.hpp`) saves and restores D16 to D31
//!   once a frame's tables name one of them. Only code for a chip that has them writes such tables, and the tables of
//!   the program are all in the program.

use std::collections::BTreeSet;

use super::reach::{CallGraph, Function};
use super::unwind;

/// A reason why code that the chip lacks is not executed, with what it was checked against.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Guard {
    /// The tool chain's part: `musl`, `libunwind`.
    pub part: &'static str,
    /// Why the code is not executed, as a sentence.
    pub reason: &'static str,
}

const MUSL: Guard = Guard {
    part: "musl",
    reason: "musl puts this function's address into a pointer in __set_thread_area alone, which compares AT_PLATFORM with \
             \"v6\" first; words, references and comparisons were checked",
};

const UNWINDER: Guard = Guard {
    part: "libunwind",
    reason: "libunwind calls this function for frames whose tables name D16 to D31; all tables of the program were read, and \
             none does; words and callers were checked",
};

/// The words of a function, without what pads it.
struct Body {
    names: &'static [&'static str],
    words: &'static [u32],
}

const A_BARRIER_V7: Body = Body {
    names: &["__a_barrier_v7"],
    // dmb ish; bx lr
    words: &[0xf57f_f05b, 0xe12f_ff1e],
};

const A_CAS_V7: Body = Body {
    names: &["__a_cas_v7"],
    // mov r3, r0; dmb ish; 1: ldrex r0, [r2]; subs r0, r3, r0; strexeq r0, r1, [r2]; teqeq r0, #1; beq 1b; dmb ish; bx lr
    words: &[
        0xe1a0_3000,
        0xf57f_f05b,
        0xe192_0f9f,
        0xe053_0000,
        0x0182_0f91,
        0x0330_0001,
        0x0aff_fffa,
        0xf57f_f05b,
        0xe12f_ff1e,
    ],
};

const SAVE_VFP: Body = Body {
    names: &["_ZN9libunwind13Registers_arm9saveVFPv3EPv"],
    // vstmia r0, {d16-d31}; bx lr
    words: &[0xecc0_0b20, 0xe12f_ff1e],
};

const RESTORE_VFP: Body = Body {
    names: &["_ZN9libunwind13Registers_arm12restoreVFPv3EPv"],
    // vldmia r0, {d16-d31}; bx lr
    words: &[0xecd0_0b20, 0xe12f_ff1e],
};

/// Who may refer to musl's functions.
const CHOOSER: &str = "__set_thread_area";

/// Who may call libunwind's.
const UNWINDERS: [&str; 5] = [
    "_ZN9libunwind12UnwindCursorINS_17LocalAddressSpaceENS_13Registers_armEE11getFloatRegEi",
    "_ZN9libunwind12UnwindCursorINS_17LocalAddressSpaceENS_13Registers_armEE11setFloatRegEiy",
    "_ZN9libunwind12UnwindCursorINS_17LocalAddressSpaceENS_13Registers_armEE6jumptoEv",
    "_ZN9libunwind13Registers_arm16getFloatRegisterEi",
    "_ZN9libunwind13Registers_arm16setFloatRegisterEiy",
];

/// What is known of the function at an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Known {
    /// It has no guard that is known here.
    No,
    /// It is guarded, and this was checked.
    Guarded(Guard),
    /// It has the name of a function that is guarded elsewhere, but is not what that is.
    Not(String),
}

/// Looks at the function at `address` in a program. `bytes` are those of the program that `graph` was made of.
pub fn known(graph: &CallGraph, bytes: &[u8], address: u64) -> Known {
    let Some(function) = graph.function(address) else {
        return Known::No;
    };
    let is = |body: &Body| {
        let name = |name: &String| body.names.contains(&name.as_str());
        function.names.iter().any(name)
    };
    let checked = if is(&A_BARRIER_V7) {
        musl(graph, function, &A_BARRIER_V7).map(|()| MUSL)
    } else if is(&A_CAS_V7) {
        musl(graph, function, &A_CAS_V7).map(|()| MUSL)
    } else if is(&SAVE_VFP) {
        unwinder(graph, bytes, function, &SAVE_VFP).map(|()| UNWINDER)
    } else if is(&RESTORE_VFP) {
        unwinder(graph, bytes, function, &RESTORE_VFP).map(|()| UNWINDER)
    } else {
        return Known::No;
    };
    match checked {
        Ok(guard) => Known::Guarded(guard),
        Err(problem) => Known::Not(problem),
    }
}

fn has_words(graph: &CallGraph, function: &Function, body: &Body) -> Result<(), String> {
    let words = graph.words_of(function);
    let (own, rest) = words.split_at_checked(body.words.len()).unwrap_or((&[], &[]));
    // Behind the last instruction there may be padding: zeroes, or LLD's trap.
    let padding = |word: &u32| matches!(word, 0 | 0xd4d4_d4d4 | 0xe7ff_deff);
    if own != body.words || !rest.iter().all(padding) {
        return Err(format!("{} has other instructions than the known one", function.names[0]));
    }
    Ok(())
}

fn only(actual: &BTreeSet<String>, allowed: &[&str], what: &str) -> Result<(), String> {
    match actual.iter().find(|name| !allowed.contains(&name.as_str())) {
        Some(other) => Err(format!("{other} {what} too")),
        None => Ok(()),
    }
}

fn musl(graph: &CallGraph, function: &Function, body: &Body) -> Result<(), String> {
    has_words(graph, function, body)?;
    let referrers = graph.referrers(function.start);
    only(&referrers.branches, &[], "branches to it")?;
    only(&referrers.addresses, &[CHOOSER], "has its address")?;
    if referrers.data > 0 {
        return Err("its address is in data".to_owned());
    }
    let Some(chooser) = graph.named(CHOOSER) else {
        return Err(format!("there is no {CHOOSER}"));
    };
    // AT_PLATFORM is 15 (linux/auxvec.h). The compiler may compare by cmp or by teq, and the two letters one by one.
    let words = graph.words_of(chooser);
    for (what, value) in [("AT_PLATFORM", 15), ("'v'", u32::from(b'v')), ("'6'", u32::from(b'6'))] {
        let compares = |word: &u32| matches!(word >> 20 & 0xff, 0x35 | 0x33) && word & 0xfff == value;
        if !words.iter().any(compares) {
            return Err(format!("{CHOOSER} does not compare with {what}"));
        }
    }
    Ok(())
}

fn unwinder(graph: &CallGraph, bytes: &[u8], function: &Function, body: &Body) -> Result<(), String> {
    has_words(graph, function, body)?;
    let referrers = graph.referrers(function.start);
    only(&referrers.branches, &UNWINDERS, "calls it")?;
    only(&referrers.addresses, &[], "has its address")?;
    if referrers.data > 0 {
        return Err("its address is in data".to_owned());
    }
    match unwind::frames(bytes) {
        Ok(frames) => match frames.iter().find(|frame| frame.high_registers) {
            Some(frame) => Err(format!(
                "the tables for unwinding of the function at {:#x} name D16 to D31",
                frame.function
            )),
            None => Ok(()),
        },
        Err(problem) => Err(format!("the tables for unwinding cannot be read: {problem}")),
    }
}
