//! `cargo xtask doctor --toolchain T`: what a tool chain puts into every program, judged before anything is built with it.
//!
//! Start files, the compiler's own library and libc are in every link, and no crate is to blame for them. Debian's cross
//! compiler for armhf has them for ARMv7, whatever `-march` says.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::audit::parts::{bitcode, parts};
use crate::audit::{Finding, Report, Rule, inspect};
use crate::cli::DoctorArgs;
use crate::cx::Cx;
use crate::error::{Context, Error, Result};
use crate::plan::{StdChoice, StdSource};
use crate::target::{Platform, TARGETS, Target};
use crate::toolchain::rust_std::{self, Compiler};
use crate::toolchain::zig;
use crate::verb::{Outcome, policy};

/// What a C compiler of GNU's puts into programs of its own accord or with `-static`, `-pie` and `-latomic`.
const GNU_PARTS: [&str; 15] = [
    "crt1.o",
    "Scrt1.o",
    "rcrt1.o",
    "crti.o",
    "crtn.o",
    "crtbegin.o",
    "crtbeginS.o",
    "crtbeginT.o",
    "crtend.o",
    "crtendS.o",
    "libgcc.a",
    "libgcc_eh.a",
    "libc.a",
    "libc_nonshared.a",
    "libatomic.a",
];
/// Without these it is no tool chain that could link a program.
const GNU_NEEDED: [&str; 2] = ["crt1.o", "libgcc.a"];

/// So many members of a part are named.
const NAMED: usize = 8;

/// One line of the table.
#[derive(Debug, Serialize)]
struct Part {
    /// `crt1.o`, `libcompiler_rt.a`.
    part: String,
    /// Where it lies; `None` for what the tool chain does not have.
    path: Option<String>,
    /// Members with machine code; 1 for an object file.
    members: usize,
    /// Those with findings.
    refused: usize,
    /// Members that are LLVM bitcode, which only the link will compile.
    bitcode: usize,
    /// What matters most of what was found.
    worst: Option<Finding>,
    /// The reports of members with findings.
    reports: Vec<Report>,
}

/// The whole answer.
#[derive(Debug, Serialize)]
struct Toolchain {
    /// What was named.
    toolchain: String,
    /// What it calls itself: `zig 0.17.1`, `arm-linux-gnueabihf-gcc 12`.
    description: String,
    /// What it was held against.
    platform: Platform,
    parts: Vec<Part>,
    notes: Vec<String>,
}

/// Prints the table. Exit code 1 when a part has a finding.
pub fn run(cx: &Cx, args: &DoctorArgs, name: &str) -> Result<Outcome> {
    let toolchain = match Target::from_triple(name) {
        Some(target) => ours(cx, args, target)?,
        None => gnu(cx, args, name)?,
    };
    if args.json {
        cx.ui.result(&serde_json::to_string_pretty(&toolchain)?);
    } else {
        cx.ui.result(toolchain.text().trim_end());
    }
    Ok(match toolchain.parts.iter().all(|part| part.refused == 0) {
        true => Outcome::Fine,
        false => Outcome::Findings,
    })
}

/// std and what zig links for a triple of this product.
fn ours(cx: &Cx, args: &DoctorArgs, target: &Target) -> Result<Toolchain> {
    let platform = args.platform.unwrap_or(target.platform);
    let compiler = Compiler::detect(cx)?;
    let zig = zig::provision(cx, &policy(cx)?)?;
    let mut toolchain = Toolchain {
        toolchain: target.triple.to_owned(),
        description: format!("{}, zig {} (-mcpu={})", compiler.version, zig.version, target.zig_cpu),
        platform,
        parts: Vec::new(),
        notes: Vec::new(),
    };
    for path in zig_inputs(cx, &zig, target)? {
        toolchain.parts.push(examine(&path, platform)?);
    }
    let std = std_files(cx, &compiler, target.triple)?;
    match std {
        Ok(files) => {
            for path in files {
                toolchain.parts.push(examine(&path, platform)?);
            }
        }
        Err(note) => toolchain.notes.push(note),
    }
    let compiled_later: usize = toolchain.parts.iter().map(|part| part.bitcode).sum();
    if compiled_later > 0 {
        toolchain.notes.push(format!(
            "{compiled_later} members are LLVM bitcode: link-time optimisation compiles them for {}, and the audit of the \
             program sees what became of them",
            target.triple
        ));
    }
    Ok(toolchain)
}

/// std as rustup has it, or as the last build made it from source. The inner error says why there is nothing to look at.
fn std_files(cx: &Cx, compiler: &Compiler, triple: &str) -> Result<Result<Vec<PathBuf>, String>> {
    let source = rust_std::ready(cx, compiler, triple, StdChoice::Auto);
    let directory = match source {
        Some(StdSource::Prebuilt) => compiler.sysroot.join("lib/rustlib").join(triple).join("lib"),
        _ => {
            let target = std::env::var_os("CARGO_TARGET_DIR").filter(|dir| !dir.is_empty());
            let target = target.map_or_else(|| cx.root.join("target"), PathBuf::from);
            target.join(triple).join("release/deps")
        }
    };
    let mut found = Vec::new();
    if directory.is_dir() {
        for entry in fs::read_dir(&directory).context(|| format!("cannot read {}", directory.display()))? {
            let path = entry.context(|| format!("cannot read {}", directory.display()))?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            // In a build's directory std lies between the crates of the program.
            let crate_name = name
                .strip_prefix("lib")
                .and_then(|name| name.split('-').next())
                .unwrap_or_default();
            let of_std = matches!(
                crate_name,
                "std"
                    | "core"
                    | "alloc"
                    | "compiler_builtins"
                    | "panic_abort"
                    | "panic_unwind"
                    | "std_detect"
                    | "unwind"
            );
            let prebuilt = source == Some(StdSource::Prebuilt);
            if name.ends_with(".rlib") && (of_std || prebuilt) {
                found.push(path);
            }
        }
    }
    found.sort();
    Ok(match found.is_empty() {
        false => Ok(found),
        true => Err(format!(
            "std for {triple} is not there yet, and was not looked at: `cargo xtask image` has rustup fetch it, or builds it \
             from source for the chip"
        )),
    })
}

/// Links a program of one line and reads from zig what it gave to the linker. zig builds these files when it first needs them.
fn zig_inputs(cx: &Cx, zig: &zig::Zig, target: &Target) -> Result<Vec<PathBuf>> {
    let work = cx.cache.temp_dir()?;
    let source = work.path().join("main.c");
    fs::write(&source, "int main(void) { return 0; }\n").context(|| format!("cannot write {}", source.display()))?;
    let global = cx.cache.root().join("zig/global");
    cx.ui.step("Linking", &format!("one line of C for {}", target.triple));
    // std unwinds with zig's libunwind (cargo-zigbuild turns -lgcc_s into it).
    let output = cx
        .shell
        .command(&zig.zig)
        .args(["cc", "-target", target.zig_target])
        .arg(format!("-mcpu={}", target.zig_cpu))
        .args(["-g0", "-O2", "main.c", "-lunwind", "-o", "main", "-v"])
        .env("ZIG_GLOBAL_CACHE_DIR", &global)
        .env("ZIG_LOCAL_CACHE_DIR", work.path().join("local"))
        .current_dir(work.path())
        .output()?;
    let said = output.error_text();
    if !output.status.success() {
        return Err(Error::new(format!(
            "zig cannot link a program for {}:\n{}",
            target.triple,
            said.trim_end()
        ))
        .hint("`cargo xtask cache prune` deletes what zig made, when it may be damaged"));
    }
    let inputs = linked(&said, work.path());
    if inputs.is_empty() {
        return Err(Error::new(format!(
            "zig {} did not say what it links for {}, so there is nothing to look at",
            zig.version, target.triple
        )));
    }
    Ok(inputs)
}

/// Object files and archives on the linker's line, without those below `work`. Shared libraries are not linked in: zig's are
/// lists of symbols.
fn linked(said: &str, work: &Path) -> Vec<PathBuf> {
    let line = said.lines().rev().find(|line| line.trim_start().starts_with("ld.lld "));
    let words = line.unwrap_or_default().split_whitespace();
    let mut seen = BTreeSet::new();
    words
        .filter(|word| word.ends_with(".o") || word.ends_with(".a"))
        .map(Path::new)
        .filter(|path| path.is_absolute() && !path.starts_with(work) && seen.insert(path.to_path_buf()))
        .map(Path::to_path_buf)
        .collect()
}

/// A cross compiler of GNU's: its program, the prefix of its name, or a directory that it is below.
fn gnu(cx: &Cx, args: &DoctorArgs, name: &str) -> Result<Toolchain> {
    let gcc = find_gcc(cx, name)?;
    let ask = |word: &str| {
        let said = cx.shell.command(&gcc).arg(word).env("LC_ALL", "C").read();
        said.context(|| format!("{} is no C compiler of GNU's", gcc.display()))
    };
    let machine = ask("-dumpmachine")?;
    let machine = machine.trim();
    let platform = match args.platform {
        Some(platform) => platform,
        None => platform_of(machine).ok_or_else(|| {
            Error::new(format!(
                "{} makes programs for {machine}, which is no platform of this product",
                gcc.display()
            ))
            .hint("`--platform` says what to hold it against")
        })?,
    };
    let version = ask("-dumpfullversion")?;
    let mut toolchain = Toolchain {
        toolchain: name.to_owned(),
        description: format!("gcc {} for {machine}, {}", version.trim(), gcc.display()),
        platform,
        parts: Vec::new(),
        notes: Vec::new(),
    };
    for part in GNU_PARTS {
        let path = ask(&format!("-print-file-name={part}"))?;
        let path = Path::new(path.trim());
        // gcc gives back the bare name of what it does not have.
        if path.is_absolute() && path.is_file() {
            toolchain.parts.push(examine(path, platform)?);
        } else if GNU_NEEDED.contains(&part) {
            return Err(
                Error::new(format!("{} has no {part}, so it cannot link a program", gcc.display()))
                    .hint("install the C library for it (Debian: libc6-dev-armhf-cross and libgcc-12-dev-armhf-cross)"),
            );
        } else {
            toolchain.parts.push(Part {
                part: part.to_owned(),
                path: None,
                members: 0,
                refused: 0,
                bitcode: 0,
                worst: None,
                reports: Vec::new(),
            });
        }
    }
    Ok(toolchain)
}

fn find_gcc(cx: &Cx, name: &str) -> Result<PathBuf> {
    let path = Path::new(name);
    if path.is_dir() {
        let mut found = Vec::new();
        for bin in [path.join("bin"), path.join("usr/bin"), path.to_owned()] {
            let Ok(entries) = fs::read_dir(&bin) else { continue };
            let names = entries
                .flatten()
                .map(|entry| entry.file_name().to_string_lossy().into_owned());
            found.extend(names.filter(|name| is_gcc(name)).map(|name| bin.join(name)));
        }
        found.sort();
        // `arm-linux-gnueabihf-gcc` before `arm-linux-gnueabihf-gcc-12`, which is the same.
        return found.into_iter().next().ok_or_else(|| {
            Error::new(format!("there is no cross gcc in {name}/bin, {name}/usr/bin or {name}"))
                .hint("name the compiler itself, or its prefix: arm-linux-gnueabihf")
        });
    }
    let spellings = [name.to_owned(), format!("{}-gcc", name.trim_end_matches('-'))];
    let found = spellings.iter().find_map(|spelling| match spelling.contains('/') {
        true => Some(PathBuf::from(spelling)).filter(|path| path.is_file()),
        false => cx.shell.which(spelling),
    });
    found.ok_or_else(|| {
        let triples: Vec<&str> = TARGETS.iter().map(|target| target.triple).collect();
        Error::new(format!(
            "{name} is no triple of this product, no directory, and no C compiler on PATH"
        ))
        .hint(format!(
            "the triples are {}; a compiler is named as arm-linux-gnueabihf or by its path",
            triples.join(", ")
        ))
    })
}

/// `arm-linux-gnueabihf-gcc`, with or without a version; not `-gcc-ar`.
fn is_gcc(name: &str) -> bool {
    match name.rsplit_once("-gcc") {
        Some((prefix, rest)) => {
            let version = rest.strip_prefix('-').unwrap_or(rest);
            prefix.contains('-') && version.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.')
        }
        None => false,
    }
}

/// What programs for a GNU machine are meant for here: a plain `arm` for the oldest chip.
fn platform_of(machine: &str) -> Option<Platform> {
    match machine.split('-').next()? {
        "armv7" | "armv7a" | "armv7l" => Some(Platform::ArmV7),
        "arm" | "armv6" | "armv6l" => Some(Platform::ArmV6),
        "aarch64" => Some(Platform::Arm64),
        "x86_64" => Some(Platform::Amd64),
        _ => None,
    }
}

/// Every member of one file. One that is neither object nor archive is a linker script, which is said.
fn examine(path: &Path, platform: Platform) -> Result<Part> {
    let bytes = fs::read(path).context(|| format!("cannot read {}", path.display()))?;
    let part = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let found = match parts(&bytes) {
        Ok(found) => found
            .iter()
            .map(|member| {
                // zig names members by their whole path.
                let own = |name: &str| {
                    name.rsplit('/')
                        .find(|name| !name.is_empty())
                        .unwrap_or_default()
                        .to_owned()
                };
                let name = member
                    .member
                    .map_or(part.clone(), |member| format!("{part}({})", own(member)));
                inspect(member.bytes, &name, platform, None, &[])
            })
            .collect(),
        Err(reason) => vec![Report::unreadable(&part, &bytes, platform, reason)],
    };
    let members = found.len();
    let reports: Vec<Report> = found.into_iter().filter(|report| !report.passed()).collect();
    let all = || reports.iter().flat_map(|report| &report.findings);
    // What the chip is said to be tells more than what follows from it.
    let worst = all()
        .find(|finding| finding.rule == Rule::CpuArch)
        .or_else(|| all().next())
        .cloned();
    Ok(Part {
        bitcode: bitcode(&bytes),
        part,
        path: Some(path.display().to_string()),
        members,
        refused: reports.len(),
        worst,
        reports,
    })
}

impl Toolchain {
    fn text(&self) -> String {
        let mut text = format!(
            "{}: {}, held against {}\n",
            self.toolchain, self.description, self.platform
        );
        let width = self.parts.iter().map(|part| part.part.len()).max().unwrap_or(0);
        let refused: usize = self.parts.iter().map(|part| part.refused).sum();
        for part in &self.parts {
            let mark = match (&part.path, part.members, part.refused) {
                (None, ..) | (_, 0, _) => "-   ",
                (_, _, 0) => "ok  ",
                _ => "FAIL",
            };
            let members = match (&part.path, part.members, part.bitcode) {
                (None, ..) => "not there".to_owned(),
                (_, 0, 0) => "no code".to_owned(),
                (_, 0, count) => format!("{count} of bitcode"),
                (_, 1, _) => "1 member".to_owned(),
                (_, count, _) => format!("{count} members"),
            };
            let worst = part.worst.as_ref().map_or(String::new(), |worst| {
                let title = worst.rule.title();
                format!(
                    "{} refused: {title}: {}, expected {}",
                    part.refused, worst.found, worst.expected
                )
            });
            let line = format!("  {mark}  {:<width$}  {members:<12}  {worst}", part.part);
            text.push_str(line.trim_end());
            text.push('\n');
            // When all are alike their names say nothing.
            if part.refused < part.members && part.refused <= NAMED {
                for report in &part.reports {
                    let found: Vec<String> = report
                        .findings
                        .iter()
                        .map(|f| format!("{}: {}", f.rule.title(), f.found))
                        .collect();
                    text.push_str(&format!("          {}: {}\n", report.file, found.join(", ")));
                }
            }
        }
        for note in &self.notes {
            text.push_str(&format!("note: {note}\n"));
        }
        match refused {
            0 => text.push_str("no findings\n"),
            count => {
                text.push_str(&format!("{count} members with findings\n"));
                let start = self
                    .parts
                    .iter()
                    .any(|part| part.refused > 0 && part.part.trim_start_matches(['S', 'r']).starts_with("crt"));
                text.push_str(&match start {
                    true => format!(
                        "hint: every program that is linked with it has code for a later chip than {} from its start files \
                         on; flags do not help, because these files were compiled before: take another tool chain\n",
                        self.platform
                    ),
                    false => "hint: the start files are fine, and these members are linked where they are asked for; a C library \
                              may choose them at run time: `cargo xtask audit` judges what became of them in a program\n"
                        .to_owned(),
                });
            }
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_line_of_the_linker_says_what_is_linked() {
        let said = "clang -cc1 x.o\nld.lld -o main /c/o/1/crt1.o local/main.o /w/local/m.o /c/libc.so.6 /c/o/2/libc.a /c/o/2/libc.a\n";
        let found = linked(said, Path::new("/w"));
        assert_eq!(found, ["/c/o/1/crt1.o", "/c/o/2/libc.a"].map(PathBuf::from));
    }

    #[test]
    fn a_compiler_is_told_from_its_tools() {
        for name in [
            "arm-linux-gnueabihf-gcc",
            "arm-linux-gnueabihf-gcc-12",
            "aarch64-unknown-linux-gnu-gcc-14.2.0",
        ] {
            assert!(is_gcc(name), "{name}");
        }
        for name in [
            "arm-linux-gnueabihf-gcc-ar-12",
            "gcc",
            "arm-linux-gnueabihf-ld",
            "arm-linux-gnueabihf-gccbug",
        ] {
            assert!(!is_gcc(name), "{name}");
        }
    }
}
