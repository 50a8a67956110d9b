//! Programs made from source with the product's zig: what the audit refuses dies on an ARM1176, and what it passes runs.

use std::path::{Path, PathBuf};

use xtask::audit::code::Function;
use xtask::audit::{Report, inspect};
use xtask::cache::Cache;
use xtask::cx::Cx;
use xtask::policy::Policy;
use xtask::shell::Shell;
use xtask::target::Platform;
use xtask::toolchain::{debs, zig};
use xtask::ui::{Ui, Verbosity};

use crate::require::require_program;

/// A function `seven` that returns 42, and what the audit must say of it.
struct Case {
    name: &'static str,
    /// Assembler. It begins with `.arch armv7-a` and NEON unless it says otherwise.
    source: &'static str,
    /// What the platform lacks of it. A program with any must die, one without must return 42.
    lacks: &'static [&'static str],
}

const fn case(name: &'static str, source: &'static str, lacks: &'static [&'static str]) -> Case {
    Case { name, source, lacks }
}

const CASES: &[Case] = &[
    case("movw", "movw r0,#42\n bx lr", &["ARMv6T2"]),
    case("movt", "mov r0,#42\n movt r1,#1\n bx lr", &["ARMv6T2"]),
    case("bit fields", "mov r0,#42\n ubfx r1,r0,#1,#2\n bx lr", &["ARMv6T2"]),
    case("barrier", "mov r0,#42\n dmb ish\n bx lr", &["ARMv7"]),
    case(
        "divide",
        ".arch_extension idiv\n mov r0,#42\n udiv r1,r0,r0\n bx lr",
        &["divide"],
    ),
    case("neon", "mov r0,#42\n vadd.i32 d0,d0,d0\n bx lr", &["NEON"]),
    case("vfpv3", "mov r0,#42\n vmov.f64 d0,#1.0\n bx lr", &["VFPv3"]),
    case("d16", "mov r0,#42\n vldr d16,[sp]\n bx lr", &["registers d16 to d31"]),
    case(
        "thumb-2",
        "b 1f\n .thumb\n .thumb_func\n1: movw r0,#42\n bx lr",
        &["ARMv6T2"],
    ),
    case(
        "it",
        "bl in_thumb\n pop {pc}\n.thumb\n.thumb_func\nin_thumb: cmp r0,r0\n it eq\n moveq r0,#42\n bx lr",
        &["ARMv6T2"],
    ),
    case(
        "cbz",
        "bl in_thumb\n pop {pc}\n.thumb\n.thumb_func\nin_thumb: movs r0,#42\n cbz r0,1f\n1: bx lr",
        &["ARMv6T2"],
    ),
    // What its author wrote as words of data is executed all the same.
    case("words", "mov r0,#42\n .word 0xf57ff05b\n bx lr", &["ARMv7"]),
    // Reached through a register only.
    case(
        "pointer",
        "ldr r1,=far\n push {lr}\n blx r1\n pop {pc}\n .pool\nfar: movw r0,#42\n bx lr",
        &["ARMv6T2"],
    ),
    // A tag is no proof of the contrary either.
    case("tag", "mov r0,#42\n bx lr", &[]),
    // `ldr` of a word that would be NEON.
    case("literal", "ldr r1,1f\n mov r0,#42\n bx lr\n1: .word 0xf2200800", &[]),
    // Behind a call that does not return.
    case(
        "pool",
        "push {lr}\n cmp sp,#0\n bleq stop\n b 2f\nstop: b stop\n1: .word 0xf57ff05b\n2: ldr r1,1b\n mov r0,#42\n pop {pc}",
        &[],
    ),
    case(
        "branches",
        "mov r1,#2\n cmp r1,#3\n addls pc,pc,r1,lsl #2\n b 9f\n b 9f\n b 9f\n b 1f\n b 9f\n9: mov r0,#1\n bx lr\n1: mov r0,#42\n bx lr",
        &[],
    ),
    case(
        "addresses",
        "mov r1,#1\n cmp r1,#2\n ldrls pc,[pc,r1,lsl #2]\n b 9f\n .word 9f,1f,9f\n9: mov r0,#1\n bx lr\n1: dmb ish\n mov r0,#42\n bx lr",
        &["ARMv7"],
    ),
    // Nobody reads it, nothing leads there: it may be data.
    case("data", "mov r0,#42\n bx lr\n .word 0xf57ff05b", &[]),
    // The linker's own way from one state to the other.
    case(
        "veneer",
        ".arch armv6\n b in_thumb\n.thumb\n.thumb_func\n.globl in_thumb\n.type in_thumb,%function\nin_thumb: movs r0,#42\n bx lr",
        &[],
    ),
];

/// What qemu's arm1176 executes although the chip has it not (qemu 7.2: `it` and `cbz` are decoded whatever the chip).
const TOLERATED: [&str; 2] = ["it", "cbz"];

/// In ARM state, and free of what the cases are about.
const CALL: &str = ".syntax unified\n.arch armv6\n.text\n.globl _start\n.type _start,%function\n_start: push {lr}\n bl seven\n \
                    mov r7,#1\n svc #0\n";

pub struct Tools {
    zig: PathBuf,
    cache: PathBuf,
    temp: tempfile::TempDir,
}

impl Tools {
    fn new() -> Option<Tools> {
        if !require_program("python3") {
            return None;
        }
        let root = std::env::var_os("XTASK_CACHE_DIR").map_or_else(|| Cache::default_root().unwrap(), PathBuf::from);
        let temp = tempfile::tempdir().unwrap();
        let cx = context(&root, temp.path());
        let settings = Path::new(env!("CARGO_MANIFEST_DIR")).join("../xtask.toml");
        let policy = Policy::parse(&std::fs::read_to_string(settings).unwrap()).unwrap();
        let zig = zig::provision(&cx, &policy).unwrap().zig;
        let cache = root.join("zig");
        Some(Tools { zig, cache, temp })
    }

    /// Compiles and links; returns the file's path.
    fn make(&self, name: &str, sources: &[(&str, &str)], options: &[&str]) -> PathBuf {
        let dir = self.temp.path();
        let output = dir.join(name);
        let mut command = Shell::default()
            .command(&self.zig)
            .current_dir(dir)
            .env("ZIG_GLOBAL_CACHE_DIR", self.cache.join("global"))
            .env("ZIG_LOCAL_CACHE_DIR", self.cache.join("local"))
            .args(["cc", "-target", "arm-linux-musleabihf", "-nostdlib", "-g0", "-o"])
            .arg(&output);
        // LLD keeps the tags of the first.
        if !options.iter().any(|option| option.starts_with("-mcpu")) {
            command = command.arg("-mcpu=arm1176jzf_s");
        }
        for (file, text) in sources {
            std::fs::write(dir.join(file), text).unwrap();
            command = command.arg(file);
        }
        let result = command.args(options).output().unwrap();
        assert!(
            result.status.success(),
            "{name}: {}",
            String::from_utf8_lossy(&result.stderr)
        );
        output
    }
}

fn context(cache: &Path, root: &Path) -> Cx {
    Cx {
        shell: Shell::default(),
        ui: Ui::new(Verbosity::Quiet),
        cache: Cache::at(cache),
        root: root.to_owned(),
        offline: false,
    }
}

fn report(bytes: &[u8], name: &str) -> Report {
    inspect(bytes, name, Platform::ArmV6, None, &[])
}

fn functions(report: &Report) -> &[Function] {
    &report.code.as_ref().unwrap().functions
}

/// What the platform lacks, each once.
fn lacks(report: &Report) -> Vec<&str> {
    let instructions = functions(report).iter().flat_map(|function| &function.instructions);
    let mut needs: Vec<&str> = instructions.map(|instruction| instruction.needs.as_str()).collect();
    needs.sort_unstable();
    needs.dedup();
    needs
}

#[test]
fn what_is_refused_dies_and_what_passes_runs() {
    let Some(tools) = Tools::new() else { return };
    let cx = context(&tools.cache.join(".."), tools.temp.path());
    let installed = ["qemu-arm-static", "qemu-arm"]
        .into_iter()
        .find_map(|name| cx.shell.which(name));
    let packages = [
        ("qemu-user-static", "usr/bin/qemu-arm-static"),
        ("qemu-user", "usr/bin/qemu-arm"),
    ];
    let qemu = installed.unwrap_or_else(|| debs::fetch_first(&cx, &packages).unwrap());
    let mut wrong = Vec::new();
    for case in CASES {
        let seven = format!(
            ".syntax unified\n.arch armv7-a\n.fpu neon\n.text\n.globl seven\n.type seven,%function\nseven: {}\n",
            case.source
        );
        let source = match case.source.strip_prefix("bl in_thumb\n") {
            Some(rest) => seven.replace(case.source, &format!("push {{lr}}\n bl in_thumb\n{rest}")),
            None => seven,
        };
        for (kind, option) in [("named", "-Wl,--no-gc-sections"), ("stripped", "-Wl,-s")] {
            let name = format!("{} {kind}", case.name);
            let path = tools.make(
                "program",
                &[("call.s", CALL), ("seven.s", &source)],
                &["-static", option],
            );
            let bytes = std::fs::read(&path).unwrap();
            let report = report(&bytes, &name);
            if lacks(&report) != case.lacks {
                wrong.push(format!(
                    "{name}: {:?}, expected {:?}\n{report}",
                    lacks(&report),
                    case.lacks
                ));
            }
            if kind == "named" {
                continue;
            }
            // The same without section headers: tags are gone, instructions are not.
            let mut bare = bytes;
            bare[32..36].fill(0);
            bare[48..52].fill(0);
            let report = inspect(&bare, &name, Platform::ArmV6, None, &[]);
            if lacks(&report) != case.lacks {
                wrong.push(format!(
                    "{name}, no sections: {:?}, expected {:?}\n{report}",
                    lacks(&report),
                    case.lacks
                ));
            }
            let command = Shell::default().command(&qemu).args(["-cpu", "arm1176"]).arg(&path);
            let code = command.output().unwrap().status.code();
            let died = code != Some(42);
            if died == case.lacks.is_empty() && !TOLERATED.contains(&case.name) {
                wrong.push(format!("{name}: the program ended with {code:?}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn functions_are_named_in_libraries_and_object_files() {
    let Some(tools) = Tools::new() else { return };
    let source = ".syntax unified\n.arch armv7-a\n.fpu neon\n.section .text.one,\"ax\"\n.globl plain\n.type plain,%function\n\
                  plain: mov r0,#1\n bl elsewhere\n bx lr\n.size plain,.-plain\n.section .text.two,\"ax\"\n.globl sum\n\
                  .type sum,%function\nsum: vld1.8 {d0},[r0]\n vadd.i8 d0,d0,d0\n vst1.8 {d0},[r0]\n bx lr\n.size sum,.-sum\n";
    // Opened by name at run time: nothing in any program leads to it.
    let library = tools.make("plugin.so", &[("sum.s", source)], &["-shared"]);
    let object = tools.make("sum.o", &[("sum.s", source)], &["-c"]);
    for (path, at) in [(&library, None), (&object, Some(0))] {
        let report = report(&std::fs::read(path).unwrap(), "sum");
        let [function] = functions(&report) else {
            panic!("{report}")
        };
        assert_eq!(function.symbol.as_deref(), Some("sum"), "{report}");
        assert!(function.certain);
        assert_eq!(function.instructions.len(), 3);
        assert_eq!(
            at.unwrap_or(function.instructions[0].address),
            function.instructions[0].address
        );
        let finding = report
            .findings
            .iter()
            .find(|finding| finding.rule.id() == "code.beyond")
            .unwrap();
        let start = format!("{:#x}", function.instructions[0].address);
        assert_eq!(
            finding.found,
            format!("sum: 3 instructions, NEON, first vld/vst (elements) at {start} (0f 07 20 f4)")
        );
    }
    let report = report(&std::fs::read(&object).unwrap(), "sum.o");
    assert_eq!(functions(&report)[0].section.as_deref(), Some(".text.two"));
}

/// LLD writes its own code for the latest chip that any object names: one object of another chip is in the veneers of all.
#[test]
fn veneers_of_the_linker_are_judged_and_tags_alone_are_no_code() {
    let Some(tools) = Tools::new() else { return };
    let veneer = ".syntax unified\n.text\n.globl seven\n.type seven,%function\nseven: b in_thumb\n.thumb\n.thumb_func\n\
                  .globl in_thumb\n.type in_thumb,%function\nin_thumb: movs r0,#42\n bx lr\n";
    for (cpu, wanted) in [("arm1176jzf_s", &[][..]), ("generic+v7a", &["ARMv6T2"])] {
        let cpu = format!("-mcpu={cpu}");
        tools.make("seven.o", &[("seven.s", veneer)], &["-c", &cpu]);
        let path = tools.make("program", &[("call.s", CALL)], &["-static", "seven.o"]);
        let report = report(&std::fs::read(path).unwrap(), "veneer");
        assert_eq!(lacks(&report), wanted, "{report}");
        let named = |function: &Function| {
            function
                .symbol
                .as_deref()
                .unwrap_or_default()
                .contains("Thunk_in_thumb")
        };
        assert!(functions(&report).iter().all(named), "{report}");
    }
    // The other way round: nothing but the tag says v7.
    let program = tools.make(
        "program",
        &[
            ("call.s", CALL),
            ("seven.s", "seven: mov r0,#42\n bx lr\n.globl seven\n"),
        ],
        &["-static", "-mcpu=generic+v7a"],
    );
    let report = report(&std::fs::read(program).unwrap(), "tag");
    assert!(
        report
            .findings
            .iter()
            .any(|finding| finding.rule.id() == "arm.cpu-arch"),
        "{report}"
    );
    assert_eq!(lacks(&report), [""; 0]);
}

/// The text names some functions, the JSON all of them.
#[test]
fn only_the_text_is_cut() {
    let Some(tools) = Tools::new() else { return };
    let mut source = ".syntax unified\n.arch armv7-a\n.text\n".to_owned();
    for index in 0..40 {
        source += &format!(
            ".globl f{index}\n.type f{index},%function\nf{index}: movw r0,#1\n bx lr\n.size f{index},.-f{index}\n"
        );
    }
    let library = tools.make("many.so", &[("many.s", &source)], &["-shared"]);
    let report = report(&std::fs::read(library).unwrap(), "many");
    assert_eq!(functions(&report).len(), 40);
    let text = report.text();
    assert!(
        text.contains("f15: 1 instruction") && !text.contains("f16: 1 instruction"),
        "{text}"
    );
    assert!(
        text.contains("code.beyond: and 24 more functions; `--json` lists them all"),
        "{text}"
    );
}
