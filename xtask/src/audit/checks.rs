//! The checks themselves. Each adds one line to the report, passed or not.

use object::elf as constants;

use super::code::like;
use super::glibc::{self, Need, Version};
use super::report::{Check, Finding, Outcome, Rule};
use super::{Expectation, Waiver};
use crate::elf::arm::{self, Attributes, Value, tag};
use crate::elf::{Elf, Encoding, Kind, Relro, Stack};
use crate::isa::{self, Isa};
use crate::target::{FloatAbi, Platform, Target};

/// Where a file comes from, and so who can repair it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// Compiled here.
    Compiled,
    /// Part of a base image.
    Base,
    /// Named on the command line.
    Given,
}

/// Collects checks and findings for one file.
pub(super) struct Checks {
    isa: Isa,
    platform: Platform,
    origin: Origin,
    checks: Vec<Check>,
    findings: Vec<Finding>,
}

impl Checks {
    pub(super) fn new(platform: Platform, origin: Origin) -> Self {
        Checks {
            isa: Isa::from(platform),
            platform,
            origin,
            checks: Vec::new(),
            findings: Vec::new(),
        }
    }

    /// All checks in the order of the rules, and the findings among them.
    pub(super) fn finish(mut self) -> (Vec<Check>, Vec<Finding>) {
        self.checks.sort_by_key(|check| check.rule);
        self.findings.sort_by_key(|finding| finding.rule);
        (self.checks, self.findings)
    }

    pub(super) fn isa(&self) -> Isa {
        self.isa
    }

    pub(super) fn platform(&self) -> Platform {
        self.platform
    }

    pub(super) fn check(
        &mut self,
        rule: Rule,
        passed: bool,
        found: impl Into<String>,
        expected: impl Into<String>,
        hint: &str,
    ) {
        let (found, expected) = (found.into(), expected.into());
        if !passed {
            self.findings.push(Finding {
                rule,
                found: found.clone(),
                expected: expected.clone(),
                hint: hint.to_owned(),
            });
        }
        self.checks.push(Check {
            rule,
            outcome: if passed { Outcome::Passed } else { Outcome::Failed },
            found,
            expected: Some(expected),
            waived: None,
        });
    }

    /// Takes away the findings that the policy waives. A waiver holds for one rule and one found value; one that
    /// matches nothing is a finding itself, so that the policy never says more than is so.
    pub(super) fn waive(&mut self, waivers: &[Waiver]) {
        for waiver in waivers {
            let hit = |rule: Rule, found: &str| {
                // What is found in code has addresses in it, which a pattern leaves open.
                let code = rule.id().starts_with("code.");
                rule.id() == waiver.rule && (found == waiver.found || code && like(&waiver.found, found))
            };
            let before = self.findings.len();
            self.findings.retain(|finding| !hit(finding.rule, &finding.found));
            if self.findings.len() == before {
                self.check(
                    Rule::Waiver,
                    false,
                    format!("{} = {} does not occur", waiver.rule, waiver.found),
                    "every waiver to match a finding",
                    "take the waiver out of [[audit.waivers]] in xtask.toml",
                );
                continue;
            }
            for check in self.checks.iter_mut().filter(|check| hit(check.rule, &check.found)) {
                check.outcome = Outcome::Waived;
                check.waived = Some(waiver.reason.clone());
            }
        }
    }

    /// One finding less: the check was waived.
    pub(super) fn accept(&mut self, rule: Rule, found: &str, reason: &str) {
        self.findings
            .retain(|finding| !(finding.rule == rule && finding.found == found));
        for check in &mut self.checks {
            if check.rule == rule && check.found == found {
                check.outcome = Outcome::Waived;
                check.waived = Some(reason.to_owned());
            }
        }
    }

    pub(super) fn note(&mut self, rule: Rule, found: impl Into<String>) {
        self.checks.push(Check {
            rule,
            outcome: Outcome::Noted,
            found: found.into(),
            expected: None,
            waived: None,
        });
    }

    /// Reads the file; without this, nothing else can be checked.
    pub(super) fn readable(&mut self, bytes: &[u8]) -> Option<Elf> {
        let elf = Elf::parse(bytes);
        let found = match &elf {
            Ok(_) => "yes".to_owned(),
            Err(error) => error.to_string(),
        };
        self.check(
            Rule::Readable,
            elf.is_ok(),
            found,
            "a whole ELF file",
            "nothing else could be checked; `readelf -aW FILE` shows how far it can be read",
        );
        elf.ok()
    }

    /// The target fits the platform of the image.
    pub(super) fn target(&mut self, target: &Target) {
        self.check(
            Rule::Target,
            target.platform == self.platform,
            format!("{} ({})", target.platform, target.triple),
            self.platform.to_string(),
            "the binary was compiled for another platform than the image is made for",
        );
    }

    /// Class, encoding, machine.
    pub(super) fn identity(&mut self, elf: &Elf) {
        let (machine, class) = self.isa.machine();
        let compiled = match self.origin {
            Origin::Compiled => "the file was compiled for another machine: compare `--target` with the platform",
            Origin::Base => "the base was made for another machine, or holds a file that was",
            Origin::Given => "the file was made for another machine: say which one it is for with `--platform`",
        };
        self.check(
            Rule::Class,
            elf.class == class,
            format!("ELF{}", elf.class),
            format!("ELF{class}"),
            compiled,
        );
        self.check(
            Rule::Encoding,
            elf.encoding == Encoding::Little,
            match elf.encoding {
                Encoding::Little => "little endian",
                Encoding::Big => "big endian",
            },
            "little endian",
            compiled,
        );
        self.check(
            Rule::Machine,
            elf.machine == machine,
            machine_name(elf.machine),
            machine_name(machine),
            compiled,
        );
    }

    /// A file that the kernel can start.
    pub(super) fn program(&mut self, elf: &Elf) {
        let found = match elf.kind {
            Kind::Relocatable => "REL (object file)".to_owned(),
            Kind::Executable => "EXEC (program)".to_owned(),
            Kind::Dynamic if elf.is_program() => "DYN (position-independent program)".to_owned(),
            Kind::Dynamic => "DYN (shared library)".to_owned(),
            Kind::Other(number) => format!("unknown type {number}"),
        };
        self.check(
            Rule::Type,
            elf.is_program(),
            found,
            "EXEC or DYN, a program",
            "the file is not the output of a `[[bin]]` target",
        );
    }

    /// What only 32-bit ARM has. Nothing when the platform or the file is another machine's: that is a finding already.
    pub(super) fn arm(&mut self, elf: &Elf, float_abi: Option<FloatAbi>) {
        if self.isa.limits().is_empty() || elf.machine != self.isa.machine().0 {
            return;
        }
        self.check(
            Rule::Eabi,
            elf.eabi() == 5,
            elf.eabi().to_string(),
            "5",
            "the file was made by a tool chain for an ABI that Linux no longer has",
        );
        self.float_flag(elf, float_abi);
        let found = match &elf.attributes {
            Some(attributes) if !attributes.groups.is_empty() => attributes
                .text(tag::CPU_NAME)
                .map_or("present".to_owned(), |name| format!("present, for {name}")),
            Some(_) => "empty".to_owned(),
            None => "absent".to_owned(),
        };
        self.check(
            Rule::Attributes,
            elf.attributes
                .as_ref()
                .is_some_and(|attributes| !attributes.groups.is_empty()),
            found,
            "present",
            "without .ARM.attributes nothing says which chip the code is for: do not strip section headers \
             (`strip` keeps them, `sstrip` and `llvm-strip --strip-sections` do not)",
        );
        if let Some(attributes) = elf.attributes.as_ref().filter(|found| !found.groups.is_empty()) {
            self.limits(attributes);
            self.vfp_args(elf, attributes, float_abi);
            self.unknown_tags(attributes);
        }
    }

    fn float_flag(&mut self, elf: &Elf, float_abi: Option<FloatAbi>) {
        let found = match (elf.has_hard_float_flag(), elf.has_soft_float_flag()) {
            (true, false) => "hard",
            (false, true) => "soft",
            (false, false) => "none",
            (true, true) => "hard and soft",
        };
        // Object files carry no flag; old linkers set none for soft float.
        let relocatable = elf.kind == Kind::Relocatable && found == "none";
        let (passed, expected) = match float_abi {
            Some(FloatAbi::Hard) => (found == "hard" || relocatable, "hard"),
            Some(FloatAbi::Soft) => (found == "soft" || found == "none", "soft or none"),
            None => (found != "hard and soft", "hard, soft or none"),
        };
        self.check(
            Rule::FloatFlag,
            passed,
            found,
            expected,
            "floating-point arguments would be passed in other registers than the rest of the system expects: \
             compile for the triple of this base (`…eabihf` is hard, `…eabi` is soft)",
        );
    }

    fn limits(&mut self, attributes: &Attributes) {
        for limit in self.isa.limits() {
            let verdict = limit.judge(attributes);
            let rule = match limit.tag {
                tag::CPU_ARCH => Rule::CpuArch,
                tag::CPU_ARCH_PROFILE => Rule::CpuProfile,
                tag::THUMB_ISA_USE => Rule::Thumb,
                tag::FP_ARCH => Rule::FpArch,
                tag::ADVANCED_SIMD_ARCH => Rule::Simd,
                tag::WMMX_ARCH => Rule::Wmmx,
                tag::FP_HP_EXTENSION => Rule::FpHalf,
                tag::MPEXTENSION_USE | tag::MPEXTENSION_USE_OLD => Rule::Mp,
                tag::DIV_USE => Rule::Div,
                tag::VIRTUALIZATION_USE => Rule::Virtualization,
                _ => Rule::Extension,
            };
            let hint = match verdict.found.as_str() {
                "absent" => "the attributes do not say which architecture the code is for".to_owned(),
                _ => self.later_chip(),
            };
            // Rules that stand for several tags say which.
            let found = if rule.title() == arm::tag_name(limit.tag) {
                verdict.found.clone()
            } else {
                format!("{}: {}", arm::tag_name(limit.tag), verdict.found)
            };
            // What is absent and may be absent is not worth a line, except for the tags that people ask for.
            let telling = matches!(
                rule,
                Rule::CpuArch | Rule::CpuProfile | Rule::Thumb | Rule::FpArch | Rule::Simd
            );
            if telling || !verdict.allowed || verdict.found != "absent" {
                self.check(rule, verdict.allowed, found, limit.expected, &hint);
            }
        }
    }

    pub(super) fn later_chip(&self) -> String {
        let platform = self.platform;
        match self.origin {
            Origin::Compiled => format!(
                "an object in the link was compiled for a later chip than {platform} promises; \
                 `cargo tree -i cc` names the crates that compile C"
            ),
            Origin::Base => format!("the base was made for later chips than {platform} promises: take another one"),
            Origin::Given => {
                format!("the file, or a library in its link, was compiled for a later chip than {platform} promises")
            }
        }
    }

    fn vfp_args(&mut self, elf: &Elf, attributes: &Attributes, float_abi: Option<FloatAbi>) {
        let mut values: Vec<u64> = attributes.numbers(tag::ABI_VFP_ARGS).collect();
        values.sort_unstable();
        values.dedup();
        let words: Vec<String> = values
            .iter()
            .map(|value| isa::value_name(tag::ABI_VFP_ARGS, *value))
            .collect();
        let found = match words.is_empty() {
            true => "absent".to_owned(),
            false => words.join(", "),
        };
        // 3 is code that passes no floating-point arguments at all. Absent means 0 in an object file, but nothing in a linked
        // one: LLD keeps the attributes of the first object, with glibc that is the assembler's crt1.o. The flag is better
        // evidence then, because linkers compare the tags of all objects before they set it.
        let all = |wanted: u64| values.iter().all(|value| *value == wanted || *value == 3);
        let hard = all(1) && (!values.is_empty() || elf.has_hard_float_flag());
        let soft = all(0);
        let (passed, expected) = match float_abi {
            Some(FloatAbi::Hard) => (hard, "VFP registers"),
            Some(FloatAbi::Soft) => (soft, "core registers"),
            None if elf.has_hard_float_flag() => (hard, "VFP registers, as the float ABI flag says"),
            None if elf.has_soft_float_flag() => (soft, "core registers, as the float ABI flag says"),
            None => (hard || soft, "VFP registers or core registers"),
        };
        self.check(
            Rule::VfpArgs,
            passed,
            found,
            expected,
            "an object in the link passes floating-point arguments in other registers than the rest: \
             look for `-mfloat-abi` in CFLAGS",
        );
    }

    fn unknown_tags(&mut self, attributes: &Attributes) {
        for (_, value) in attributes.all() {
            if let Value::Compatibility(flag, vendor) = value {
                self.check(
                    Rule::Compatibility,
                    *flag <= 1,
                    format!("{flag}, \"{vendor}\""),
                    "0 or 1",
                    "the file follows a private arrangement of its tool chain instead of the ABI",
                );
            }
        }
        let (strict, harmless): (Vec<u64>, Vec<u64>) = attributes
            .unknown()
            .into_iter()
            .partition(|tag| arm::must_be_understood(*tag));
        let numbers = |tags: &[u64]| {
            let tags: Vec<String> = tags.iter().map(u64::to_string).collect();
            list(&tags)
        };
        let found = match (strict.is_empty(), harmless.is_empty()) {
            (true, true) => "none".to_owned(),
            (true, false) => format!("{} (may be ignored)", numbers(&harmless)),
            (false, _) => numbers(&strict),
        };
        self.check(
            Rule::UnknownTag,
            strict.is_empty(),
            found,
            "none that must be understood",
            "the file says something on its demands that this program cannot read; `readelf -A FILE` may",
        );
    }

    /// Interpreter, libraries and versions.
    pub(super) fn linking(&mut self, elf: &Elf, expectation: &Expectation) {
        let wanted = expectation.target.interpreter;
        self.check(
            Rule::Interpreter,
            elf.interpreter.as_deref() == wanted,
            elf.interpreter.as_deref().unwrap_or("none"),
            wanted.unwrap_or("none (static)"),
            "the base has no such loader: the kernel would answer `No such file or directory` for the program itself",
        );
        self.needed(elf, expectation);
        let paths: Vec<&str> = elf.rpath.iter().chain(&elf.runpath).map(String::as_str).collect();
        self.check(
            Rule::Rpath,
            paths.is_empty(),
            list(&paths),
            "none",
            "libraries would be looked for in directories of the machine that compiled: drop `-rpath` from the link",
        );
        self.glibc(elf, expectation.glibc.as_deref());
    }

    fn needed(&mut self, elf: &Elf, expectation: &Expectation) {
        let is_static = expectation.target.interpreter.is_none();
        let allowed = |name: &str| {
            !is_static
                && expectation
                    .needed_allowed
                    .iter()
                    .any(|pattern| glibc::matches(pattern, name))
        };
        let mut bad: Vec<String> = Vec::new();
        for name in elf.needed.iter().chain(elf.version_needs.keys()) {
            if !allowed(name) && !bad.contains(name) {
                bad.push(name.clone());
            }
        }
        bad.extend(
            elf.loaded
                .iter()
                .map(|loaded| format!("{} {}", loaded.tag, loaded.name)),
        );
        let found = list(if bad.is_empty() { &elf.needed } else { &bad });
        let expected = match (is_static, expectation.needed_allowed.is_empty()) {
            (true, _) | (_, true) => "none".to_owned(),
            _ => format!("only {}", expectation.needed_allowed.join(", ")),
        };
        self.check(
            Rule::Needed,
            bad.is_empty(),
            found,
            expected,
            "the base does not have these libraries: link them statically, or add them to the base and to \
             `[audit.needed]` in xtask.toml",
        );
    }

    fn glibc(&mut self, elf: &Elf, base: Option<&str>) {
        let mut highest: Option<(Version, &str)> = None;
        let mut private: Vec<&str> = Vec::new();
        let mut unknown: Vec<&str> = Vec::new();
        let mut others: Vec<String> = Vec::new();
        for (library, versions) in &elf.version_needs {
            for name in versions {
                match glibc::need(name) {
                    Some(Need::AtLeast(version)) => {
                        if highest.as_ref().is_none_or(|(found, _)| *found < version) {
                            highest = Some((version, name));
                        }
                    }
                    Some(Need::Private) => private.push(library.as_str()),
                    Some(Need::Unknown) => unknown.push(name),
                    None => others.push(format!("{library} {name}")),
                }
            }
        }
        let installed = base.and_then(Version::of_package);
        let fits = match (&highest, &installed) {
            (None, _) => true,
            (Some((needed, _)), Some(installed)) => needed <= installed,
            (Some(_), None) => false,
        };
        let found = match (&highest, unknown.is_empty()) {
            (_, false) => list(&unknown),
            (Some((_, name)), true) => (*name).to_owned(),
            (None, true) => "none needed".to_owned(),
        };
        let expected = match (base, &installed) {
            (_, Some(installed)) => format!("at most {installed}"),
            (Some(text), None) => format!("at most the base's, which is unreadable: `{text}`"),
            (None, None) => "none: the base has no glibc that is known".to_owned(),
        };
        self.check(
            Rule::Glibc,
            fits && unknown.is_empty(),
            found,
            expected,
            "the loader would refuse the program (`version … not found`): compile for an older glibc \
             (the suffix of zig's target) or take a newer base",
        );
        self.check(
            Rule::GlibcPrivate,
            private.is_empty(),
            list(&private),
            "none",
            "the program uses what glibc keeps to itself and would run with the very build it was linked against only",
        );
        if !others.is_empty() {
            self.note(Rule::Versions, list(&others));
        }
    }

    /// The stack must not be executable; the rest is for information.
    pub(super) fn hardening(&mut self, elf: &Elf) {
        self.check(
            Rule::Stack,
            elf.stack == Stack::NotExecutable,
            match elf.stack {
                Stack::Executable => "executable",
                Stack::NotExecutable => "not executable",
                Stack::Unstated => "no PT_GNU_STACK",
            },
            "not executable",
            "an object written in assembler lacks `.section .note.GNU-stack,\"\",%progbits`; \
             `-Wl,-z,noexecstack` overrides it",
        );
        self.note(
            Rule::Relro,
            match elf.relro {
                Relro::None => "none",
                Relro::Partial => "partial",
                Relro::Full => "full",
            },
        );
        self.note(Rule::WritableCode, if elf.writable_code { "yes" } else { "none" });
        self.note(
            Rule::Pie,
            match elf.kind {
                Kind::Dynamic => "yes",
                _ => "no",
            },
        );
        self.note(Rule::BuildId, elf.build_id.as_deref().unwrap_or("none"));
        let symbols = if elf.symbols { "symbol table" } else { "stripped" };
        self.note(Rule::Symbols, format!("{symbols}, {} section headers", elf.sections));
    }
}

/// Names for a cell of the table. How many there are is up to the file, so not all of them are shown.
fn list<S: AsRef<str>>(names: &[S]) -> String {
    const SHOWN: usize = 16;
    let shown: Vec<&str> = names.iter().take(SHOWN).map(AsRef::as_ref).collect();
    match names.len().checked_sub(SHOWN) {
        _ if names.is_empty() => "none".to_owned(),
        None | Some(0) => shown.join(", "),
        Some(more) => format!("{} and {more} more", shown.join(", ")),
    }
}

/// Names of the machines that turn up in images for ARM.
fn machine_name(machine: u16) -> String {
    let name = match constants::Machine(machine) {
        constants::EM_386 => "Intel 80386",
        constants::EM_ARM => "ARM",
        constants::EM_X86_64 => "x86-64",
        constants::EM_AARCH64 => "AArch64",
        constants::EM_RISCV => "RISC-V",
        constants::EM_MIPS => "MIPS",
        constants::EM_PPC64 => "PowerPC64",
        constants::EM_S390 => "S/390",
        constants::EM_BPF => "BPF",
        _ => return format!("unknown machine {machine}"),
    };
    name.to_owned()
}
