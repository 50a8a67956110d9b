//! The decoder against LLVM's disassembler, word for word.

mod real;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;

use xtask::isa::decode::{self, Feature, Features, Verdict};
use xtask::shell::Shell;

use crate::require::require;

/// What one of the two says of a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Says {
    /// The chip executes it.
    Has,
    /// The chip has such an instruction, but what it does with these operands is unpredictable. LLVM: "potentially undefined".
    Odd,
    /// The chip does not have it.
    Lacks,
}

use Says::{Has, Lacks, Odd};

/// Where we do not follow LLVM 14, and why. Anything else is a failure.
struct Disagreement {
    ours: Says,
    llvm: &'static [Says],
    names: &'static [&'static str],
    /// Which words, where it is not all of that name.
    only: fn(u32) -> bool,
    #[allow(dead_code)]
    why: &'static str,
}

const fn all(_: u32) -> bool {
    true
}

fn shifted_sp_or_pc(word: u32) -> bool {
    word & 0x10 == 0 && matches!(word & 15, 13 | 15) && word & 0xfe0 != 0
}

/// What LLVM cannot be asked is not compared: it has no verdict on coprocessors. What it prints as generic instruction of any
/// but 14 and 15 counts as refused, see [`ask`].
const ARM: &[Disagreement] = &[
    Disagreement {
        ours: Lacks,
        llvm: &[Has, Odd],
        names: &["strht", "ldrht", "ldrsbt/ldrsht"],
        only: |word| word >> 24 & 1 == 0 && word >> 21 & 1 == 1,
        why: "they came with ARMv6T2 (DDI 0406C A8.8.84); before, these bits were unpredictable; LLVM has no predicate there",
    },
    Disagreement {
        ours: Lacks,
        llvm: &[Has],
        names: &["vcvt (fixed point)"],
        only: |word| word & 0x0fba_0e50 == 0x0eba_0a40,
        why: "it came with VFPv3 (DDI 0406C A8.8.308); LLVM asks for VFPv2 only",
    },
    Disagreement {
        ours: Has,
        llvm: &[Odd],
        names: &["data processing", "compare", "mov/mvn"],
        only: shifted_sp_or_pc,
        why: "shifted SP and PC are deprecated, and defined, with a shift by a constant (DDI 0406C A5.2.1, D6.2)",
    },
    Disagreement {
        ours: Has,
        llvm: &[Odd],
        names: &["strd"],
        only: |word| word & 0x0040_000f == 0x0040_000f,
        why: "LLVM takes the low bits of the offset for a register, and that for PC",
    },
    Disagreement {
        ours: Has,
        llvm: &[Odd],
        names: &["mcrr2"],
        only: |word| word >> 12 & 15 == word >> 16 & 15,
        why: "the same register twice is unpredictable where it is written (mrrc2), not where it is read",
    },
    Disagreement {
        ours: Has,
        llvm: &[Odd],
        names: &["strht", "ldrht", "ldrsbt/ldrsht"],
        only: |word| word & 0x0040_000d == 0xd,
        why: "ARMv7: SP as an offset is deprecated, not unpredictable",
    },
    // Bits that should have a value (in parentheses in the manual) and do not: LLVM decides for each instruction anew whether
    // to ignore that, to warn, or not to know the instruction any more. To us it is unpredictable always.
    Disagreement {
        ours: Odd,
        llvm: &[Lacks],
        names: &[
            "bkpt",
            "blx",
            "bx",
            "bxj",
            "clrex",
            "clz",
            "cps",
            "hint",
            "ldrd",
            "ldrex",
            "ldrexb/ldrexh",
            "ldrexd",
            "mov/mvn",
            "mrs",
            "msr",
            "pld",
            "pldw",
            "pli",
            "rbit",
            "rev",
            "rev16/revsh",
            "rfe",
            "setend",
            "smc",
            "srs",
            "ssat16/usat16",
            "strd",
            "strex",
            "strexb/strexh",
            "strexd",
            "vcmp",
            "vmov",
            "vmov.32",
            "dmb",
            "dsb",
            "isb",
            "vmrs",
            "vmsr",
            "vmov (immediate)",
            "ldrht",
            "ldrsbt/ldrsht",
            "strht",
        ],
        only: all,
        why: "should-be bits, which are part of the encoding to LLVM; ldrd and strd: an odd first register",
    },
    Disagreement {
        ours: Odd,
        llvm: &[Has],
        names: &[
            "cps",
            "smulwy",
            "smulxy",
            "ldm (user registers)",
            "stm (user registers)",
            "ldrd",
        ],
        only: all,
        why: "should-be bits that LLVM does not look at; ldrd: base or offset among what is loaded",
    },
    Disagreement {
        ours: Odd,
        llvm: &[Has],
        names: &[
            "clz",
            "data processing",
            "ldc/stc",
            "ldc2/stc2",
            "ldm",
            "ldm (exception return)",
            "ldr/str",
            "ldrb/strb",
            "ldrex",
            "ldrexb/ldrexh",
            "ldrexd",
            "ldrh/strh",
            "ldrsb/ldrsh",
            "mcr",
            "mcr2",
            "mov/mvn",
            "msr",
            "pld",
            "pldw",
            "pli",
            "rbit",
            "rev",
            "rev16/revsh",
            "rfe",
            "sel",
            "smmla/smmul",
            "smmls",
            "stm",
            "strd",
            "strex",
            "strexb/strexh",
            "strexd",
            "umaal",
            "usad8/usada8",
            "vldm/vstm",
            "vmov",
            "vmov.32",
            "mls",
            "bfi",
            "bfc",
            "mcrr",
            "mcrr2",
            "sbfx",
            "ubfx",
            "ldrht",
            "strht",
            "ldrsbt/ldrsht",
            "bxj",
        ],
        only: all,
        why: "PC where the manual says `if n == 15 then UNPREDICTABLE`, and base registers that are written back over what was \
              loaded: LLVM knows that of some instructions only",
    },
    Disagreement {
        ours: Odd,
        llvm: &[Has],
        names: &[
            "long multiply",
            "smlald/smlsld",
            "smlalxy",
            "umaal",
            "mrrc",
            "mrrc2",
            "vmov",
        ],
        only: all,
        why: "both halves of a result in one register",
    },
    Disagreement {
        ours: Odd,
        llvm: &[Lacks],
        names: &[
            "ldm",
            "stm",
            "ldm (user registers)",
            "stm (user registers)",
            "vldm/vstm",
        ],
        only: all,
        why: "an empty list, or fldmx beyond d15, has no syntax",
    },
];

const THUMB: &[Disagreement] = &[
    Disagreement {
        ours: Lacks,
        llvm: &[Has],
        names: &["bl (far)", "blx (far)"],
        only: |word| word & 0x2800 != 0x2800,
        why: "before Thumb-2 the bits J1 and J2 were one, or the second half another instruction (DDI 0406C A8.8.25)",
    },
    Disagreement {
        ours: Lacks,
        llvm: &[Has, Odd],
        names: &["Thumb-2"],
        only: |word| word >> 26 == 0b111011 && word >> 9 & 7 == 5,
        why: "there are no coprocessors in Thumb-1; LLVM asks for VFPv2 only",
    },
    Disagreement {
        ours: Odd,
        llvm: &[Lacks],
        names: &["blx", "cps", "setend", "push", "pop", "ldm/stm"],
        only: all,
        why: "should-be bits, and empty lists",
    },
    Disagreement {
        ours: Odd,
        llvm: &[Has],
        names: &["add", "blx", "cmp", "cps"],
        only: all,
        why: "add of PC to PC, blx of PC, cmp of two low registers in the encoding for high ones, cps of nothing",
    },
];

/// With Thumb-2 its 32 bits are known as a group, and so LLVM is asked only whether we refuse too much.
const THUMB_V7: &[Disagreement] = &[Disagreement {
    ours: Has,
    llvm: &[Odd, Lacks],
    names: &[
        "Thumb-2", "clrex", "dmb", "dsb", "isb", "pld/pldw", "smc", "udf.w", "it",
    ],
    only: all,
    why: "the group is not taken apart; `it` with its conditions as well",
}];

/// splitmix64: the same words on every machine.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    fn word(&mut self) -> u32 {
        (self.next() >> 32) as u32
    }
}

/// `XTASK_ISA_WORDS` for a longer run.
fn amount() -> usize {
    let wanted = std::env::var("XTASK_ISA_WORDS").ok();
    wanted.and_then(|text| text.parse().ok()).unwrap_or(200_000)
}

/// Random words, and words that differ from a row of the tables in operands, or in one bit besides.
fn words(rows: impl Iterator<Item = (u32, u32)>, amount: usize) -> Vec<u32> {
    let mut random = Random(1176);
    let mut words: Vec<u32> = (0..amount).map(|_| random.word()).collect();
    for (mask, value) in rows {
        for _ in 0..amount / 1000 {
            let near = random.word() & !mask | value;
            let flipped = if random.word().is_multiple_of(4) {
                1 << (random.word() % 32)
            } else {
                0
            };
            words.push(near ^ flipped);
        }
    }
    words
}

fn llvm_mc() -> Option<PathBuf> {
    let shell = Shell::new(false);
    let versions = (14..=22).rev().map(|version| format!("llvm-mc-{version}"));
    let found = std::iter::once("llvm-mc".to_owned())
        .chain(versions)
        .find_map(|name| shell.which(&name));
    require("llvm-mc", found.is_some());
    found
}

/// What LLVM says of each instruction, with its text.
fn ask(program: &PathBuf, options: &[&str], instructions: &[Vec<u8>]) -> Vec<(Says, String)> {
    let directory = tempfile::tempdir().unwrap();
    let mut input = String::new();
    for bytes in instructions {
        let bytes: Vec<String> = bytes.iter().map(|byte| format!("{byte:#04x}")).collect();
        // In brackets, LLVM does not go on in the middle of what it could not read.
        writeln!(input, "[{}]", bytes.join(",")).unwrap();
    }
    std::fs::write(directory.path().join("in"), input).unwrap();
    let output = Shell::new(false)
        .command(program)
        .current_dir(directory.path())
        .arg("--disassemble")
        .args(options)
        .arg("in")
        .output()
        .unwrap();
    let mut said = vec![Has; instructions.len()];
    let errors = String::from_utf8(output.stderr).unwrap();
    for line in errors.lines() {
        let Some((line, text)) = line.strip_prefix("in:").and_then(|rest| rest.split_once(':')) else {
            assert!(!line.contains("error:"), "{line}");
            continue;
        };
        let line: usize = line.parse().unwrap();
        said[line - 1] = if text.contains("invalid instruction") {
            Lacks
        } else {
            Odd
        };
    }
    let text = String::from_utf8(output.stdout).unwrap();
    let mut lines = text
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with('.'));
    let answers = said
        .into_iter()
        .map(|said| match said {
            Lacks => (Lacks, String::new()),
            _ => {
                let text = lines.next().expect("a line for each instruction").replace('\t', " ");
                (if other_coprocessor(&text) { Lacks } else { said }, text)
            }
        })
        .collect();
    assert_eq!(lines.next(), None, "one line for each instruction");
    answers
}

/// A generic instruction of a coprocessor that the chip does not have, or of 10 and 11, which have no generic ones.
fn other_coprocessor(text: &str) -> bool {
    let mut parts = text.split_whitespace();
    let generic = ["cdp", "ldc", "stc", "mcr", "mrc", "mrrc"];
    let name = parts.next().unwrap_or_default();
    let coprocessor = parts.next().unwrap_or_default().trim_end_matches(',');
    generic.iter().any(|prefix| name.starts_with(prefix)) && !matches!(coprocessor, "p14" | "p15")
}

fn ours(verdict: Verdict) -> (Says, &'static str) {
    match verdict {
        Verdict::Known { name, .. } => (Has, name),
        Verdict::Unpredictable { name, .. } => (Odd, name),
        Verdict::Beyond { name, .. } => (Lacks, name),
        Verdict::Undefined => (Lacks, "undefined"),
    }
}

/// Fails with all disagreements that are not expected, each class with examples.
#[allow(clippy::print_stdout)]
fn compare(said: &[(u32, Verdict, Says, String)], expected: &[&[Disagreement]]) {
    let mut classes: BTreeMap<(Says, Says, &str), Vec<String>> = BTreeMap::new();
    let mut explained = 0;
    for (word, verdict, llvm, text) in said {
        let (ours, name) = ours(*verdict);
        let known = expected.iter().flat_map(|part| part.iter()).any(|entry| {
            entry.ours == ours && entry.llvm.contains(llvm) && entry.names.contains(&name) && (entry.only)(*word)
        });
        if ours == *llvm {
            continue;
        }
        if known {
            explained += 1;
            continue;
        }
        let class = classes.entry((ours, *llvm, name)).or_default();
        class.push(format!("{word:08x} {text}"));
    }
    let mut report = String::new();
    for ((ours, llvm, name), words) in &classes {
        writeln!(
            report,
            "{name}: we {ours:?}, LLVM {llvm:?}, {} words: {}",
            words.len(),
            words[..words.len().min(4)].join("; ")
        )
        .unwrap();
    }
    println!("{} instructions, {explained} explained disagreements", said.len());
    assert!(classes.is_empty(), "{report}");
}

fn compare_arm(options: &[&str], features: Features, amount: usize) {
    let Some(program) = llvm_mc() else { return };
    let words = words(decode::arm_patterns(), amount);
    let bytes: Vec<Vec<u8>> = words.iter().map(|word| word.to_le_bytes().to_vec()).collect();
    let answers = ask(&program, options, &bytes);
    let said: Vec<_> = words
        .iter()
        .zip(answers)
        .map(|(word, (llvm, text))| (*word, decode::arm(*word, features), llvm, text))
        .collect();
    compare(&said, &[ARM]);
}

fn compare_thumb(options: &[&str], features: Features, amount: usize, expected: &[&[Disagreement]]) {
    let Some(program) = llvm_mc() else { return };
    // All of 16 bits; of 32 bits as in ARM state.
    let narrow = (0..=u16::MAX).filter(|first| !decode::is_wide(*first));
    let mut instructions: Vec<(u16, u16)> = narrow.map(|first| (first, 0)).collect();
    let wide = words(decode::thumb_patterns(), amount).into_iter().map(|word| {
        let word = if word >> 27 > 0b11100 { word } else { word | 0xe800_0000 };
        ((word >> 16) as u16, word as u16)
    });
    instructions.extend(wide);
    let bytes: Vec<Vec<u8>> = instructions
        .iter()
        .map(|(first, second)| {
            let mut bytes = first.to_le_bytes().to_vec();
            if decode::is_wide(*first) {
                bytes.extend(second.to_le_bytes());
            }
            bytes
        })
        .collect();
    let answers = ask(&program, options, &bytes);
    let said: Vec<_> = instructions
        .iter()
        .zip(answers)
        .map(|((first, second), (llvm, text))| {
            let word = u32::from(*first) << 16 | u32::from(*second);
            (word, decode::thumb(*first, *second, features), llvm, text)
        })
        .collect();
    compare(&said, expected);
}

#[test]
fn arm_state_of_the_arm1176_is_what_llvm_says() {
    let options = ["-triple=armv6kz-none-linux-gnueabihf", "-mcpu=arm1176jzf-s"];
    compare_arm(&options, Features::ARM1176, amount());
}

#[test]
fn thumb_state_of_the_arm1176_is_what_llvm_says() {
    let options = ["-triple=thumbv6kz-none-linux-gnueabihf", "-mcpu=arm1176jzf-s"];
    compare_thumb(&options, Features::ARM1176, amount(), &[THUMB]);
}

const V7: &str = "-mattr=+vfp3d16,-d32,-neon,-mp,+trustzone";

#[test]
fn arm_state_of_armv7_without_neon_is_what_llvm_says() {
    compare_arm(
        &["-triple=armv7-none-linux-gnueabihf", V7],
        Features::ARMV7,
        amount() / 4,
    );
}

#[test]
fn thumb_state_of_armv7_without_neon_refuses_nothing_that_llvm_has() {
    let options = ["-triple=thumbv7-none-linux-gnueabihf", V7];
    compare_thumb(&options, Features::ARMV7, amount() / 4, &[ARM, THUMB, THUMB_V7]);
}

/// With all extensions: what we call undefined, no chip that LLVM knows has.
#[test]
fn what_is_undefined_is_unknown_to_llvm() {
    let extensions = "-mattr=+v8.6a,+neon,+crypto,+crc,+fullfp16,+fp16fml,+dotprod,+virtualization,+trustzone,+mp,+hwdiv-arm,\
                      +hwdiv,+i8mm,+bf16,+sb";
    let Some(program) = llvm_mc() else { return };
    let undefined: Vec<u32> = words(decode::arm_patterns(), amount() / 4)
        .into_iter()
        .filter(|word| decode::arm(*word, Features::ARM1176) == Verdict::Undefined)
        .collect();
    assert!(undefined.len() > 1000);
    let bytes: Vec<Vec<u8>> = undefined.iter().map(|word| word.to_le_bytes().to_vec()).collect();
    let answers = ask(&program, &["-triple=armv8.6a-none-linux-gnueabihf", extensions], &bytes);
    let known: Vec<String> = undefined
        .iter()
        .zip(answers)
        .filter(|(_, (said, _))| *said != Lacks)
        .map(|(word, (_, text))| format!("{word:08x} {text}"))
        .collect();
    assert!(known.is_empty(), "{}", known.join("\n"));
}

/// One extension more makes exactly that one no finding any more.
#[test]
fn features_are_judged_one_by_one() {
    let more = Features::ARMV7.with(&[Feature::Divide]);
    assert!(matches!(
        decode::arm(0xe730_f211, Features::ARMV7),
        Verdict::Beyond {
            needs: Feature::Divide,
            ..
        }
    ));
    assert!(matches!(decode::arm(0xe730_f211, more), Verdict::Known { .. }));
    assert!(matches!(
        decode::arm(0xeea1_0a00, more),
        Verdict::Beyond {
            needs: Feature::Vfp4,
            ..
        }
    ));
}
