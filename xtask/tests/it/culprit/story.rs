//! A crate that depends on the real ring by way of cookies: the program of fixtures/story, compiled and linked as an image's
//! would be. The first run compiles Rust's std where the component cannot be had; the target directory is kept.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use xtask::audit::waive::{CodeWaiver, Subject, waive};
use xtask::cache::Cache;
use xtask::compile::{Record, dependencies};
use xtask::culprit::guard::{Known, Program};
use xtask::culprit::list::{Culprit, Instruction, culprits};
use xtask::culprit::origin::Origin;
use xtask::cx::Cx;
use xtask::elf::strip::{Keep, same_code, strip};
use xtask::isa::decode::Features;
use xtask::isa::walk::walk;
use xtask::shell::Shell;
use xtask::ui::{Ui, Verbosity};

use crate::require::require_program;

const TRIPLE: &str = "arm-unknown-linux-musleabihf";

/// Settings of this repository that the story's workspace uses.
const SETTINGS: [&str; 6] = [
    "xtask.toml",
    "rust-toolchain.toml",
    ".cargo/config.toml",
    "docker/Dockerfile",
    "docker/rootfs/etc/passwd",
    "docker/rootfs/etc/group",
];

fn copy(from: &Path, to: &Path) {
    let text = fs::read(from).unwrap();
    // What is equal keeps its time, so that cargo has nothing to do.
    if fs::read(to).is_ok_and(|old| old == text) {
        return;
    }
    fs::create_dir_all(to.parent().unwrap()).unwrap();
    fs::write(to, text).unwrap();
}

fn copy_tree(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_tree(&entry.path(), &to);
        } else {
            copy(&entry.path(), &to);
        }
    }
}

/// Puts the story's workspace as the fixture has it.
fn put(root: &Path) {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    for path in SETTINGS {
        copy(&here.join("..").join(path), &root.join(path));
    }
    copy_tree(&here.join("tests/fixtures/story"), root);
    // One guard is about tables for unwinding, and programs for the Pi Zero have hardly any.
    let config = root.join(".cargo/config.toml");
    let text = fs::read_to_string(&config).unwrap();
    let with_tables = text.replace("-Cforce-unwind-tables=no", "-Cforce-unwind-tables=yes");
    assert_ne!(text, with_tables);
    fs::write(config, with_tables).unwrap();
}

fn cache() -> PathBuf {
    std::env::var_os("XTASK_CACHE_DIR").map_or_else(|| Cache::default_root().unwrap(), PathBuf::from)
}

/// The workspace in which the program was compiled; one test at a time has it.
fn compiled() -> Option<MutexGuard<'static, Cx>> {
    static STORY: OnceLock<Mutex<Cx>> = OnceLock::new();
    if !require_program("python3") {
        return None;
    }
    let story = STORY.get_or_init(|| {
        let root = Path::new(env!("CARGO_TARGET_TMPDIR")).join("culprit/story");
        put(&root);
        let root = fs::canonicalize(root).unwrap();
        // What becomes of the image is for other tests.
        let output = image(&root, &[]);
        assert!(matches!(output.status.code(), Some(0 | 1)), "{}", output.error_text());
        Mutex::new(Cx {
            shell: Shell::default(),
            ui: Ui::new(Verbosity::Quiet),
            cache: Cache::at(cache()),
            root,
            offline: false,
        })
    });
    let cx = story.lock().unwrap_or_else(PoisonError::into_inner);
    put(&cx.root);
    Some(cx)
}

fn image(root: &Path, args: &[&str]) -> xtask::shell::Output {
    Shell::default()
        .command(env!("CARGO_BIN_EXE_xtask"))
        .arg("image")
        .args(args)
        .current_dir(root)
        .env("XTASK_CACHE_DIR", cache())
        .env("XTASK_BUILDER", "host")
        .output()
        .unwrap()
}

/// What the chip lacks in a program, by who brought it.
fn accused(cx: &Cx, record: &Record, program: &[u8]) -> Vec<Culprit> {
    let walk = walk(program, Features::ARM1176).unwrap().unwrap();
    let instructions: Vec<Instruction> = walk
        .beyond
        .iter()
        .filter(|beyond| beyond.certain)
        .map(Instruction::from)
        .collect();
    culprits(program, &instructions, &record.evidence(cx, program)).unwrap()
}

fn waiver(version: &str, symbols: &[&str]) -> CodeWaiver {
    CodeWaiver {
        subject: Subject::Crate("ring".to_owned()),
        version: version.to_owned(),
        symbols: symbols.iter().map(|symbol| (*symbol).to_owned()).collect(),
        guard: "ring::cpu::arm asks getauxval(AT_HWCAP) for NEON".to_owned(),
        reason: "chosen at run time".to_owned(),
    }
}

#[test]
fn every_instruction_beyond_the_chip_has_its_crate_and_its_object() {
    let Some(cx) = compiled() else { return };
    let record = Record::read(&cx, TRIPLE).unwrap().unwrap();
    let program = record.program().unwrap().unwrap();
    let found = accused(&cx, &record, &program);
    let names: Vec<String> = found.iter().map(|culprit| culprit.origin.describe()).collect();
    assert_eq!(names[0], "ring 0.17.14", "{names:?}");
    let ring = &found[0];
    assert!(ring.open() > 500, "{}", ring.line());
    let objects: BTreeSet<&str> = ring
        .functions
        .iter()
        .map(|function| function.object.as_deref().unwrap())
        .collect();
    for expected in [
        "chacha-armv4-linux32.o",
        "sha256-armv4-linux32.o",
        "sha512-armv4-linux32.o",
    ] {
        assert!(objects.contains(expected), "{objects:?}");
    }
    for function in &ring.functions {
        assert!(function.accepted.is_none(), "{function:?}");
        assert!(function.symbol.is_some(), "{function:?}");
    }
    // The rest is the tool chain's, and what guards it was found.
    for culprit in &found[1..] {
        assert!(matches!(culprit.origin, Origin::Toolchain { .. }), "{}", culprit.line());
        assert_eq!(culprit.open(), 0, "{culprit:?}");
    }

    let graph = dependencies(&cx, &record.package, TRIPLE, &record.packages)
        .unwrap()
        .unwrap();
    assert_eq!(
        graph.path("ring", "0.17.14").unwrap(),
        ["blog", "web/cookies", "cookie/private", "ring 0.17.14"]
    );
    let ways = graph.ways_out("ring", "0.17.14");
    assert!(
        ways.contains(&"in the manifest of blog: leave out the feature `sessions` of web".to_owned()),
        "{ways:?}"
    );
    assert!(
        ways.contains(&"in the manifest of cookie: do without ring".to_owned()),
        "{ways:?}"
    );
}

#[test]
fn a_waiver_is_for_one_version_and_leaves_nothing_over() {
    let Some(cx) = compiled() else { return };
    let record = Record::read(&cx, TRIPLE).unwrap().unwrap();
    let program = record.program().unwrap().unwrap();
    let found = accused(&cx, &record, &program);
    let mut whole = found.clone();
    assert_eq!(waive(&mut whole, &[waiver("0.17.14", &["*"])]), [""; 0]);
    assert_eq!(whole[0].open(), 0);
    let mut wrong = found.clone();
    assert_eq!(
        waive(&mut wrong, &[waiver("0.17.13", &["*"])]),
        ["crate ring 0.17.13: it is 0.17.14 here"]
    );
    assert_eq!(wrong, found);
    let mut part = found.clone();
    assert_eq!(
        waive(&mut part, &[waiver("0.17.14", &["*ChaCha20_ctr32_neon"])]),
        [""; 0]
    );
    assert!(part[0].open() > 0 && part[0].open() < found[0].open());
}

/// The line that begins with `start`.
fn line<'a>(text: &'a str, start: &str) -> &'a str {
    text.lines()
        .find(|line| line.starts_with(start))
        .unwrap_or_else(|| panic!("no line begins with {start}:\n{text}"))
}

#[test]
fn the_image_is_refused_until_the_policy_says_why_not() {
    let Some(cx) = compiled() else { return };
    let run = |verb: &str, args: &[&str]| {
        let output = Shell::default()
            .command(env!("CARGO_BIN_EXE_xtask"))
            .arg(verb)
            .args(args)
            .current_dir(&cx.root)
            .env("XTASK_CACHE_DIR", cache())
            .env("XTASK_BUILDER", "host")
            .output()
            .unwrap();
        (output.status.code().unwrap(), output.text(), output.error_text())
    };
    let (code, out, error) = run("image", &[]);
    assert_eq!((code, out.as_str()), (1, ""), "{error}");
    let ring = line(&error, "brought by ring 0.17.14: ");
    assert!(ring.contains("sha256-armv4-linux32.o"), "{ring}");
    assert!(
        ring.ends_with("; blog -> web/cookies -> cookie/private -> ring 0.17.14"),
        "{ring}"
    );
    assert!(line(&error, "brought by musl (zig ").ends_with("; accepted"), "{error}");
    assert!(
        line(&error, "brought by libunwind (zig ").ends_with("; accepted"),
        "{error}"
    );

    let (code, out, error) = run("audit", &["--explain", "ring"]);
    assert_eq!(code, 1, "{error}");
    assert!(
        out.contains("how it got in: blog -> web/cookies -> cookie/private -> ring 0.17.14"),
        "{out}"
    );
    assert!(out.contains("leave out the feature `sessions` of web"), "{out}");
    assert!(
        out.contains("ring_core_0_17_14__ChaCha20_ctr32_neon (chacha-armv4-linux32.o)"),
        "{out}"
    );
    let (code, out, _) = run("audit", &["--explain", "__a_cas_v7"]);
    assert_eq!(code, 0, "a guarded function");
    assert!(out.contains("dmb") && out.contains("accepted: "), "{out}");
    let (code, _, error) = run("audit", &["--explain", "no-such-crate"]);
    assert_eq!(code, 2);
    assert!(
        error.contains("no-such-crate") && error.contains("ring 0.17.14"),
        "{error}"
    );

    let policy = fs::read_to_string(cx.root.join("xtask.toml")).unwrap();
    let with = |version: &str| {
        let waiver = format!(
            "{policy}\n[[audit.code-waivers]]\nplatform = \"linux/arm/v6\"\ncrate = \"ring\"\nversion = \"{version}\"\n\
             symbols = [\"ring_core_*_neon*\", \"._*\"]\nguard = \"ring::cpu::arm asks for AT_HWCAP\"\nreason = \"no NEON, no call\"\n"
        );
        fs::write(cx.root.join("xtask.toml"), waiver).unwrap();
    };
    with("0.17.14");
    let (code, out, error) = run("image", &[]);
    assert_eq!(code, 0, "{error}");
    assert_eq!(out.lines().count(), 1);
    let (code, out, error) = run("audit", &[]);
    assert_eq!(code, 0, "{out}{error}");
    let (code, _, error) = run("image", &["--strict"]);
    assert_eq!(code, 1, "{error}");
    assert!(!error.contains("accepted"), "{error}");
    assert_eq!(run("audit", &["--strict"]).0, 1);
    with("0.17.13");
    let (code, _, error) = run("image", &[]);
    assert_eq!(code, 1);
    assert!(error.contains("crate ring 0.17.13: it is 0.17.14 here"), "{error}");
    fs::write(cx.root.join("xtask.toml"), policy).unwrap();
}

/// Where the words of `pattern` stand in a file.
fn find(bytes: &[u8], pattern: &[u32]) -> usize {
    let pattern: Vec<u8> = pattern.iter().flat_map(|word| word.to_le_bytes()).collect();
    let mut found = (0..bytes.len() - pattern.len()).filter(|at| bytes[*at..].starts_with(&pattern));
    let at = found.next().unwrap();
    assert_eq!(found.next(), None);
    at
}

#[test]
fn a_guard_that_is_not_there_guards_nothing() {
    let Some(cx) = compiled() else { return };
    let record = Record::read(&cx, TRIPLE).unwrap().unwrap();
    let program = record.program().unwrap().unwrap();
    let walk = walk(&program, Features::ARM1176).unwrap().unwrap();
    let address = |name: &str| {
        let first = walk
            .beyond
            .iter()
            .find(|beyond| beyond.symbol.as_ref().is_some_and(|symbol| symbol.name.contains(name)));
        first.unwrap().address
    };
    let known = |bytes: &[u8], address| Program::new(bytes).unwrap().unwrap().known(address);
    let problem = |bytes: &[u8], address| match known(bytes, address) {
        Known::Not(_, problem) => problem,
        other => panic!("{other:?}"),
    };
    let (cas, save) = (address("__a_cas_v7"), address("saveVFPv3"));
    assert!(matches!(known(&program, cas), Known::Guarded(_)));
    assert!(matches!(known(&program, save), Known::Guarded(_)));

    // Other words under the same name.
    let mut other = program.clone();
    let at = find(&other, &[0xe1a0_3000, 0xf57f_f05b, 0xe192_0f9f]);
    other[at] = 1;
    assert_eq!(known(&other, cas), Known::No);

    // Somebody else has the address: the last word of the data segment.
    let start = u32::try_from(cas).unwrap() - 4;
    let elf = object::read::elf::ElfFile32::<object::Endianness>::parse(&program[..]).unwrap();
    let data = object::Object::section_by_name(&elf, ".data").unwrap();
    let (offset, size) = object::ObjectSection::file_range(&data).unwrap();
    let last = usize::try_from(offset + size).unwrap() / 4 * 4 - 4;
    let mut other = program.clone();
    other[last..last + 4].copy_from_slice(&start.to_le_bytes());
    assert!(problem(&other, cas).contains("its address is in data"));

    // It is chosen without looking at the chip: comparisons with 'v' are gone.
    let mut other = program.clone();
    let text = object::Object::section_by_name(&elf, ".text").unwrap();
    let (offset, size) = object::ObjectSection::file_range(&text).unwrap();
    for at in (offset..offset + size).step_by(4) {
        let at = usize::try_from(at).unwrap();
        let word = u32::from_le_bytes(other[at..at + 4].try_into().unwrap());
        if matches!(word >> 20 & 0xff, 0x35 | 0x33) && word & 0xfff == u32::from(b'v') {
            other[at] = 0;
        }
    }
    assert!(problem(&other, cas).contains("'v'"));

    // A table for unwinding that names D16: in the place of one that is in the index itself.
    let index = object::Object::section_by_name(&elf, ".ARM.exidx").unwrap();
    let (offset, size) = object::ObjectSection::file_range(&index).unwrap();
    let inline = (offset..offset + size)
        .step_by(8)
        .map(|at| usize::try_from(at).unwrap() + 4)
        .find(|at| {
            let word = u32::from_le_bytes(program[*at..*at + 4].try_into().unwrap());
            word >> 24 == 0x80
        });
    let mut other = program.clone();
    let at = inline.unwrap();
    other[at..at + 4].copy_from_slice(&0x80c8_00b0_u32.to_le_bytes());
    assert!(problem(&other, save).contains("name D16 to D31"));
    other[at..at + 4].copy_from_slice(&0x80ff_ffff_u32.to_le_bytes());
    assert!(problem(&other, save).contains("cannot be read"));
}

#[test]
fn without_the_map_nothing_is_guessed() {
    let Some(cx) = compiled() else { return };
    let record = Record::read(&cx, TRIPLE).unwrap().unwrap();
    let program = record.program().unwrap().unwrap();
    let shipped = strip(&program, Keep::Nothing).unwrap();
    assert!(same_code(&program, &shipped).unwrap());
    // A map of another link is not believed: one word moved is another program.
    let mut evidence = record.evidence(&cx, &program);
    assert!(
        evidence.map.as_ref().unwrap().is_of(&shipped),
        "the shipped file has the same sections"
    );
    evidence.map = None;
    let walk = walk(&program, Features::ARM1176).unwrap().unwrap();
    let instructions: Vec<Instruction> = walk.beyond.iter().map(Instruction::from).collect();
    for culprit in culprits(&program, &instructions, &evidence).unwrap() {
        match &culprit.origin {
            Origin::Unknown { tried } => assert!(tried.contains("no linker's map"), "{tried}"),
            // Known by its words.
            Origin::Toolchain { .. } => assert_eq!(culprit.open(), 0, "{culprit:?}"),
            other => panic!("{other:?}"),
        }
    }
    // In the stripped file the guards are still found.
    let stripped: Vec<Instruction> = instructions
        .iter()
        .cloned()
        .map(|instruction| Instruction {
            symbol: None,
            ..instruction
        })
        .collect();
    let accepted: usize = culprits(&shipped, &stripped, &evidence)
        .unwrap()
        .iter()
        .map(|culprit| culprit.instructions - culprit.open())
        .sum();
    assert!(accepted >= 3, "{accepted} instructions of musl and libunwind");
}
