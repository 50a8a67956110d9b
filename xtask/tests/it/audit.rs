//! The audit against real ELF files (tests/fixtures/elf) and handmade ones, one fault each.

mod builder;
mod code;
mod hostile;

use std::path::Path;

use builder::{Builder, Tags};
use xtask::audit::{Binary, Depth, Expectation, Outcome, Report, Rule, audit, inspect};
use xtask::elf::{Elf, Kind, Relro, Stack, arm, is_elf};
use xtask::target::{FloatAbi, Platform, TARGETS, Target};

fn fixture(name: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures/elf")
        .join(name);
    std::fs::read(&path).unwrap()
}

fn expectation(file: &str, triple: &str) -> Expectation {
    let target: &'static Target = Target::from_triple(triple).unwrap();
    let is_glibc = target.interpreter.is_some();
    Expectation {
        waivers: Vec::new(),
        file: file.to_owned(),
        platform: target.platform,
        target,
        needed_allowed: if is_glibc {
            vec!["libc.so.6".to_owned(), "ld-linux*.so.*".to_owned()]
        } else {
            Vec::new()
        },
        glibc: is_glibc.then(|| "2.41-12+deb13u1".to_owned()),
    }
}

const MUSL: &str = "arm-unknown-linux-musleabihf";
const HARD: &str = "arm-unknown-linux-gnueabihf";
const SOFT: &str = "arm-unknown-linux-gnueabi";

fn ids(result: &Result<Binary, Box<Report>>) -> Vec<&'static str> {
    match result {
        Ok(_) => Vec::new(),
        Err(report) => rule_ids(report),
    }
}

fn rule_ids(report: &Report) -> Vec<&'static str> {
    report.findings.iter().map(|finding| finding.rule.id()).collect()
}

/// The rules that a file violates for a triple.
fn found(bytes: Vec<u8>, triple: &str) -> Vec<&'static str> {
    ids(&audit(bytes, &expectation("x", triple)))
}

#[test]
fn real_binaries_pass_for_their_own_target() {
    for (name, triple) in [
        ("v6", MUSL),
        ("v7", "armv7-unknown-linux-musleabihf"),
        ("v6", "armv7-unknown-linux-musleabihf"),
        ("v6-gnueabi", SOFT),
        ("v6-gnueabihf", HARD),
        ("arm64", "aarch64-unknown-linux-musl"),
        ("amd64", "x86_64-unknown-linux-musl"),
        ("amd64-gnu", "x86_64-unknown-linux-gnu"),
    ] {
        let bytes = fixture(name);
        let binary = audit(bytes.clone(), &expectation(name, triple)).unwrap_or_else(|report| panic!("{report}"));
        assert_eq!(binary.bytes(), bytes, "{name}");
        assert_eq!(binary.digest(), binary.report().digest);
        assert!(binary.report().passed());
    }
}

#[test]
fn real_binaries_of_other_chips_are_refused_with_every_reason() {
    let machine = ["elf.class", "elf.machine"];
    for (name, triple, wanted) in [
        (
            "v7-neon",
            MUSL,
            &[
                "arm.cpu-arch",
                "arm.cpu-profile",
                "arm.thumb",
                "arm.fp-arch",
                "arm.simd",
                "arm.fp-hp",
                "arm.mp",
                "arm.div",
                "arm.virtualization",
            ][..],
        ),
        (
            "v7",
            MUSL,
            &["arm.cpu-arch", "arm.cpu-profile", "arm.thumb", "arm.fp-arch"],
        ),
        ("v6t2", MUSL, &["arm.cpu-arch", "arm.thumb"]),
        ("v6-soft", MUSL, &["arm.float-flag", "arm.vfp-args"]),
        ("v6-library", MUSL, &["elf.type"]),
        ("arm64", MUSL, &machine),
        ("amd64", MUSL, &machine),
        (
            "v6-gnueabi",
            MUSL,
            &[
                "arm.float-flag",
                "arm.vfp-args",
                "link.interpreter",
                "link.needed",
                "link.glibc",
            ],
        ),
        (
            "v6-gnueabi",
            HARD,
            &["arm.float-flag", "arm.vfp-args", "link.interpreter"],
        ),
        (
            // No VFP tag here: the attributes are those of crt1.o, which is written in assembler. The flag speaks.
            "v6-gnueabihf",
            SOFT,
            &["arm.float-flag", "link.interpreter"],
        ),
        ("v6", HARD, &["link.interpreter"]),
        (
            "v7-neon",
            "armv7-unknown-linux-musleabihf",
            &[
                "arm.fp-arch",
                "arm.simd",
                "arm.fp-hp",
                "arm.mp",
                "arm.div",
                "arm.virtualization",
            ],
        ),
    ] {
        assert_eq!(found(fixture(name), triple), wanted, "{name} for {triple}");
    }
}

#[test]
fn the_facts_of_real_files() {
    let elf = Elf::parse(&fixture("v6-gnueabihf")).unwrap();
    assert_eq!(
        (elf.class, elf.machine, elf.eabi(), elf.kind),
        (32, 40, 5, Kind::Executable)
    );
    assert!(elf.has_hard_float_flag() && !elf.has_soft_float_flag());
    assert_eq!(elf.interpreter.as_deref(), Some("/lib/ld-linux-armhf.so.3"));
    assert_eq!(elf.needed, ["libc.so.6"]);
    let versions: Vec<&String> = elf.version_needs["libc.so.6"].iter().collect();
    assert_eq!(versions, ["GLIBC_2.34", "GLIBC_2.4"]);
    assert_eq!((elf.stack, elf.relro), (Stack::NotExecutable, Relro::Full));
    assert!(!elf.is_static() && elf.dynamic && !elf.symbols && elf.sections > 10 && !elf.writable_code);
    let attributes = elf.attributes.unwrap();
    assert_eq!(attributes.text(arm::tag::CPU_NAME), Some("arm1176jzf-s"));
    assert_eq!(attributes.numbers(arm::tag::CPU_ARCH).collect::<Vec<_>>(), [6]);
    assert_eq!(attributes.unknown(), [0u64; 0]);

    assert!(Elf::parse(&fixture("v6")).unwrap().is_static());
    assert!(!Elf::parse(&fixture("v6-library")).unwrap().is_program());
    assert!(is_elf(&fixture("amd64")) && !is_elf(b"#!/bin/sh\n") && !is_elf(b"\x7fEL"));
}

/// Attributes are no proof: LLD kept those of the first object.
#[test]
fn code_that_the_attributes_do_not_own_up_to_is_found() {
    let report = audit(fixture("v6-hiding-v7"), &expectation("v6-hiding-v7", MUSL)).unwrap_err();
    assert_eq!(report.depth, Depth::Instructions);
    assert_eq!(rule_ids(&report), ["code.beyond"]);
    assert_eq!(
        report.findings[0].found,
        "function at 0x200fc: 2 instructions, ARMv6T2, NEON, first movw at 0x200fc (2a 00 00 e3)"
    );
    assert_eq!(report.code.unwrap().functions[0].instructions.len(), 2);
    // It is what it says for the other chip, but for NEON.
    let report = audit(
        fixture("v6-hiding-v7"),
        &expectation("v6-hiding-v7", "armv7-unknown-linux-musleabihf"),
    );
    assert_eq!(
        report.unwrap_err().findings[0].found,
        "function at 0x200fc: 1 instruction, NEON, first NEON data processing at 0x20100 (00 08 20 f2)"
    );
}

/// Where no decoder knows the platform, the report says so.
#[test]
fn what_was_not_looked_at_is_said() {
    let binary = audit(fixture("arm64"), &expectation("arm64", "aarch64-unknown-linux-musl")).unwrap();
    assert_eq!(binary.report().depth, Depth::Tags);
    let text = binary.report().text();
    assert!(text.contains("instructions not decoded"), "{text}");
    assert!(
        text.contains("not decoded: for linux/arm64 the tool chain is believed"),
        "{text}"
    );
}

#[test]
fn the_report_reads_as_a_table() {
    let good = audit(fixture("v6"), &expectation("blog", MUSL)).unwrap();
    insta::assert_snapshot!(good.report().text(), @r#"
    blog: linux/arm/v6 (arm-unknown-linux-musleabihf), 652 bytes, sha256:e57f9b2dcbbe112102d4a4bae8e8696a3c077a2cfbc7b139b6b60b84b18fcdc7
      ok    ELF file                yes
      ok    Target's platform       linux/arm/v6 (arm-unknown-linux-musleabihf)
      ok    Class                   ELF32
      ok    Data                    little endian
      ok    Machine                 ARM
      ok    Type                    EXEC (program)
      ok    EABI version            5
      ok    Float ABI flag          hard
      ok    Build attributes        present, for arm1176jzf-s
      ok    Tag_CPU_arch            v6
      ok    Tag_CPU_arch_profile    absent
      ok    Tag_THUMB_ISA_use       Thumb-1
      ok    Tag_FP_arch             VFPv2
      ok    Tag_Advanced_SIMD_arch  absent
      ok    Tag_Virtualization_use  TrustZone
      ok    Tag_ABI_VFP_args        VFP registers
      ok    Unknown tags            none
      -     Instructions            4 by control flow
      ok    Beyond the chip         none
      ok    Interpreter             none
      ok    Needed libraries        none
      ok    RPATH, RUNPATH          none
      ok    glibc version           none needed
      ok    GLIBC_PRIVATE           none
      ok    Stack                   not executable
      -     RELRO                   none
      -     Writable code           none
      -     PIE                     no
      -     Build ID                none
      -     Symbols                 stripped, 6 section headers
    no findings (headers, build attributes and every instruction)
    "#);
    let bad = audit(fixture("v7"), &expectation("blog", MUSL)).unwrap_err();
    insta::assert_snapshot!(bad.text(), @r#"
    blog: linux/arm/v6 (arm-unknown-linux-musleabihf), 636 bytes, sha256:05ad980a8bb5cbfd602f8225a4f7c7da43241a5d7eeaa4e980ecb14ba0fe4622
      ok    ELF file                yes
      ok    Target's platform       linux/arm/v6 (arm-unknown-linux-musleabihf)
      ok    Class                   ELF32
      ok    Data                    little endian
      ok    Machine                 ARM
      ok    Type                    EXEC (program)
      ok    EABI version            5
      ok    Float ABI flag          hard
      ok    Build attributes        present
      FAIL  Tag_CPU_arch            v7                                        expected at most v6KZ
      FAIL  Tag_CPU_arch_profile    application                               expected none (profiles came with v7)
      FAIL  Tag_THUMB_ISA_use       Thumb-2                                   expected at most Thumb-1
      FAIL  Tag_FP_arch             VFPv3-D16                                 expected at most VFPv2
      ok    Tag_Advanced_SIMD_arch  absent
      ok    Tag_ABI_VFP_args        VFP registers
      ok    Unknown tags            none
      -     Instructions            4 by control flow
      ok    Beyond the chip         none
      ok    Interpreter             none
      ok    Needed libraries        none
      ok    RPATH, RUNPATH          none
      ok    glibc version           none needed
      ok    GLIBC_PRIVATE           none
      ok    Stack                   not executable
      -     RELRO                   none
      -     Writable code           none
      -     PIE                     no
      -     Build ID                none
      -     Symbols                 stripped, 6 section headers
    arm.cpu-arch: Tag_CPU_arch: v7, expected at most v6KZ
    arm.cpu-profile: Tag_CPU_arch_profile: application, expected none (profiles came with v7)
    arm.thumb: Tag_THUMB_ISA_use: Thumb-2, expected at most Thumb-1
    arm.fp-arch: Tag_FP_arch: VFPv3-D16, expected at most VFPv2
    hint: an object in the link was compiled for a later chip than linux/arm/v6 promises; `cargo tree -i cc` names the crates that compile C
    4 findings (headers, build attributes and every instruction)
    "#);
    let none = audit(b"#!/bin/sh\necho".to_vec(), &expectation("blog", MUSL)).unwrap_err();
    insta::assert_snapshot!(none.text(), @r#"
    blog: linux/arm/v6 (arm-unknown-linux-musleabihf), 14 bytes, sha256:7ef6608f4dce32b17b2f4081ee79ffc9c9b0d0f641dc68e014fb20c6b23c8dd3
      FAIL  ELF file  not an ELF file: it begins with `#!/bin/s`  expected a whole ELF file
    elf.readable: ELF file: not an ELF file: it begins with `#!/bin/s`, expected a whole ELF file
    hint: nothing else could be checked; `readelf -aW FILE` shows how far it can be read
    1 finding (headers and build attributes; instructions not decoded)
    "#);
}

#[test]
fn the_report_is_json_and_back() {
    let report = audit(fixture("v6t2"), &expectation("blog", MUSL)).unwrap_err();
    let json = serde_json::to_string_pretty(&report).unwrap();
    assert_eq!(serde_json::from_str::<Report>(&json).unwrap(), *report);
    let value: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(value["depth"], "instructions");
    assert_eq!(value["code"]["arm"], 4);
    assert_eq!(value["platform"], "linux/arm/v6");
    insta::assert_json_snapshot!(value["findings"], @r#"
    [
      {
        "expected": "at most v6KZ",
        "found": "v6T2",
        "hint": "an object in the link was compiled for a later chip than linux/arm/v6 promises; `cargo tree -i cc` names the crates that compile C",
        "rule": "arm.cpu-arch"
      },
      {
        "expected": "at most Thumb-1",
        "found": "Thumb-2",
        "hint": "an object in the link was compiled for a later chip than linux/arm/v6 promises; `cargo tree -i cc` names the crates that compile C",
        "rule": "arm.thumb"
      }
    ]
    "#);
    for rule in Rule::ALL {
        assert_eq!(serde_json::to_value(rule).unwrap(), rule.id());
    }
}

#[test]
fn a_kept_report_counts_for_that_very_program_alone() {
    let linked = fixture("v6");
    let audited = || audit(linked.clone(), &expectation("blog", MUSL)).unwrap();
    let shipped = audited().stripped().unwrap();
    let kept = || -> Report { serde_json::from_str(&serde_json::to_string(shipped.report()).unwrap()).unwrap() };
    let again = Binary::remembered(&linked, kept()).unwrap();
    assert_eq!((again.bytes(), again.report()), (shipped.bytes(), shipped.report()));
    // Another program, other shipped bytes, a report with findings, and one of a program that is not shipped so.
    assert!(Binary::remembered(&fixture("v7"), kept()).is_none());
    let mut other = kept();
    other.digest = "sha256:00".to_owned();
    assert!(Binary::remembered(&linked, other).is_none());
    let mut other = kept();
    other.findings = audit(fixture("v6t2"), &expectation("blog", MUSL)).unwrap_err().findings;
    assert!(Binary::remembered(&linked, other).is_none());
    assert!(Binary::remembered(&linked, audited().report().clone()).is_none());
}

#[test]
fn handmade_files_pass_when_nothing_is_wrong() {
    assert_eq!(found(Builder::v6().build(), MUSL), [""; 0]);
    assert_eq!(found(Builder::v6_glibc().build(), HARD), [""; 0]);
    assert_eq!(found(Builder::v6_armel().build(), SOFT), [""; 0]);
    assert_eq!(found(Builder::amd64().build(), "x86_64-unknown-linux-musl"), [""; 0]);
    // A flag of its own is new for soft float; older linkers set none.
    let mut old = Builder::v6_armel();
    old.flags = 0x0500_0000;
    assert_eq!(found(old.build(), SOFT), [""; 0]);
    // static-pie
    let mut pie = Builder::v6();
    pie.kind = 3;
    pie.dynamic = Some(vec![(0x6fff_fffb, 0x0800_0000)]);
    assert_eq!(found(pie.build(), MUSL), [""; 0]);
}

#[test]
fn each_fault_gives_its_own_rule() {
    type Fault = fn(&mut Builder);
    let faults: &[(&str, Fault)] = &[
        ("elf.encoding", |elf| {
            elf.big = true;
            elf.attributes = Some(Tags::v6().section_in(u32::to_be_bytes));
        }),
        ("elf.machine", |elf| elf.machine = 183),
        ("elf.machine", |elf| elf.machine = 60_000),
        ("elf.type", |elf| elf.kind = 1),
        ("elf.type", |elf| elf.kind = 3),
        ("elf.type", |elf| elf.kind = 4),
        ("elf.type", |elf| elf.kind = 0xfe00),
        ("arm.eabi", |elf| elf.flags = 0x0400_0400),
        ("arm.float-flag", |elf| elf.flags = 0x0500_0200),
        ("arm.float-flag", |elf| elf.flags = 0x0500_0000),
        ("arm.float-flag", |elf| elf.flags = 0x0500_0600),
        ("arm.attributes", |elf| elf.attributes = None),
        ("arm.attributes", |elf| elf.attributes = Some(vec![b'A'])),
        ("elf.readable", |elf| elf.attributes = Some(Vec::new())),
        ("elf.readable", |elf| elf.attributes = Some(vec![b'B'])),
        ("elf.readable", |elf| {
            elf.interpreter = Some("/lib/ld-linux.so.3".into());
            elf.interpreters = 2;
        }),
        ("link.interpreter", |elf| {
            elf.interpreter = Some("/lib/ld-musl-armhf.so.1".into())
        }),
        ("harden.stack", |elf| elf.stack = Some(7)),
        ("harden.stack", |elf| elf.stack = None),
    ];
    for (index, (rule, fault)) in faults.iter().enumerate() {
        let mut elf = Builder::v6();
        fault(&mut elf);
        assert_eq!(found(elf.build(), MUSL), [*rule], "fault {index}");
    }
}

#[test]
fn each_attribute_that_the_chip_lacks_gives_its_own_rule() {
    for (rule, tag, value) in [
        ("arm.cpu-arch", 6, 8),
        ("arm.cpu-arch", 6, 10),
        ("arm.cpu-arch", 6, 11),
        ("arm.cpu-arch", 6, 14),
        ("arm.cpu-arch", 6, 99),
        ("arm.cpu-profile", 7, 0x41),
        ("arm.cpu-profile", 7, 0x4d),
        ("arm.thumb", 9, 2),
        ("arm.thumb", 9, 4),
        ("arm.fp-arch", 10, 3),
        ("arm.fp-arch", 10, 4),
        ("arm.fp-arch", 10, 5),
        ("arm.fp-arch", 10, 7),
        ("arm.wmmx", 11, 1),
        ("arm.simd", 12, 1),
        ("arm.vfp-args", 28, 0),
        ("arm.vfp-args", 28, 2),
        ("arm.fp-hp", 36, 1),
        ("arm.mp", 42, 1),
        ("arm.mp", 70, 1),
        ("arm.div", 44, 2),
        ("arm.extension", 46, 1),
        ("arm.extension", 48, 1),
        ("arm.extension", 50, 1),
        ("arm.extension", 52, 2),
        ("arm.extension", 66, 1),
        ("arm.virtualization", 68, 3),
        ("arm.unknown-tag", 31 + 23, 0),
        ("arm.unknown-tag", 128 + 40, 0),
    ] {
        let mut elf = Builder::v6();
        elf.attributes = Some(Tags::v6().number(tag, value).section());
        assert_eq!(found(elf.build(), MUSL), [rule], "tag {tag} = {value}");
    }
    // The other end of each range.
    for (tag, value) in [
        (6, 0),
        (6, 7),
        (6, 9),
        (7, 0x53),
        (9, 0),
        (9, 3),
        (10, 1),
        (12, 0),
        (28, 3),
        (34, 1),
        (44, 1),
        (68, 1),
        (126, 5),
        (128 + 64, 5),
    ] {
        let mut elf = Builder::v6();
        elf.attributes = Some(Tags::v6().number(tag, value).section());
        assert_eq!(found(elf.build(), MUSL), [""; 0], "tag {tag} = {value}");
    }
}

#[test]
fn attributes_of_one_section_count_and_so_does_the_second_of_two_values() {
    let with = |tags: Tags| {
        let mut elf = Builder::v6();
        elf.attributes = Some(tags.section());
        found(elf.build(), MUSL)
    };
    assert_eq!(with(Tags::v6().scope(2, &[1, 0]).number(6, 10)), ["arm.cpu-arch"]);
    assert_eq!(with(Tags::v6().scope(3, &[5, 6, 0]).number(12, 1)), ["arm.simd"]);
    assert_eq!(
        with(Tags::v6().number(6, 6).number(6, 10).number(6, 6)),
        ["arm.cpu-arch"]
    );
    assert_eq!(with(Tags::default().number(28, 1)), ["arm.cpu-arch"]);
    assert_eq!(with(Tags::v6().text(129 + 32, "x")), ["arm.unknown-tag"]);
    assert_eq!(with(Tags::v6().text(129 + 64, "x")), [""; 0]);
    assert_eq!(with(Tags::v6().compatibility(1, "gnu")), [""; 0]);
    assert_eq!(with(Tags::v6().compatibility(2, "other")), ["arm.compatibility"]);
}

#[test]
fn each_way_to_need_what_the_base_lacks_is_found() {
    let check = |wanted: &[&str], change: &dyn Fn(&mut Builder)| {
        let mut elf = Builder::v6_glibc();
        change(&mut elf);
        assert_eq!(found(elf.build(), HARD), wanted);
    };
    check(&["link.needed"], &|elf| elf.needed.push("libssl.so.3".into()));
    check(&["link.needed"], &|elf| elf.needed.push("/tmp/libc.so.6".into()));
    check(&["link.needed"], &|elf| elf.needed.push("ld-linux/../x.so.6".into()));
    check(&["link.needed"], &|elf| {
        elf.other.push((0x6fff_fefc, "libaudit.so".into()))
    });
    check(&["link.needed"], &|elf| {
        elf.other.push((0x7fff_ffff, "libc.so.6".into()))
    });
    check(&["link.rpath"], &|elf| elf.other.push((15, "/build/lib".into())));
    check(&["link.rpath"], &|elf| elf.other.push((29, "$ORIGIN".into())));
    check(&["link.interpreter"], &|elf| {
        elf.interpreter = Some("/lib/ld-linux.so.3".into())
    });
    check(&["elf.type", "link.interpreter"], &|elf| {
        elf.kind = 3;
        elf.interpreter = None;
    });
    check(&["link.glibc"], &|elf| elf.version("libc.so.6", "GLIBC_2.42"));
    check(&["link.glibc"], &|elf| elf.version("libc.so.6", "GLIBC_3.0"));
    check(&["link.glibc"], &|elf| elf.version("libc.so.6", "GLIBC_ABI_TOMORROW"));
    check(&["link.glibc"], &|elf| {
        elf.version("ld-linux-armhf.so.3", "GLIBC_2.100")
    });
    check(&["link.glibc-private"], &|elf| {
        elf.version("libc.so.6", "GLIBC_PRIVATE")
    });
    check(&["link.needed"], &|elf| elf.version("libgcc_s.so.1", "GCC_3.5"));
    check(&[], &|elf| elf.version("libc.so.6", "GLIBC_2.41"));
    check(&[], &|elf| elf.version("libc.so.6", "GLIBC_ABI_DT_RELR"));
    check(&[], &|elf| elf.kind = 3);
    // A static target allows no library, whatever the policy says.
    let mut elf = Builder::v6();
    elf.needed.push("libc.so.6".into());
    let mut expected = expectation("x", MUSL);
    expected.needed_allowed = vec!["*".to_owned()];
    assert_eq!(ids(&audit(elf.build(), &expected)), ["link.needed"]);
}

#[test]
fn the_base_decides_on_glibc() {
    let with = |version: &str, glibc: Option<&str>| {
        let mut elf = Builder::v6_glibc();
        elf.version("libc.so.6", version);
        let mut expected = expectation("x", HARD);
        expected.glibc = glibc.map(str::to_owned);
        ids(&audit(elf.build(), &expected))
    };
    assert_eq!(with("GLIBC_2.28", Some("2.28")), [""; 0]);
    assert_eq!(with("GLIBC_2.28", Some("2.9")), ["link.glibc"]);
    assert_eq!(with("GLIBC_2.28", None), ["link.glibc"]);
    assert_eq!(with("GLIBC_2.28", Some("trixie")), ["link.glibc"]);
    assert_eq!(with("GLIBC_ABI_DT_RELR", Some("2.35")), ["link.glibc"]);
    assert_eq!(with("GLIBC_ABI_DT_RELR", Some("2.36")), [""; 0]);
}

#[test]
fn the_target_must_be_of_the_image_s_platform() {
    let mut expected = expectation("x", MUSL);
    expected.platform = Platform::ArmV7;
    assert_eq!(ids(&audit(fixture("v6"), &expected)), ["expectation.target"]);
}

#[test]
fn files_of_a_base_are_inspected_without_regard_to_linking() {
    for (name, platform, float_abi, wanted) in [
        ("v6-library", Platform::ArmV6, Some(FloatAbi::Hard), &[][..]),
        ("v6-library", Platform::ArmV6, None, &[]),
        (
            "v6-library",
            Platform::ArmV6,
            Some(FloatAbi::Soft),
            &["arm.float-flag", "arm.vfp-args"],
        ),
        ("v6-gnueabi", Platform::ArmV6, None, &[]),
        (
            "v6-gnueabi",
            Platform::ArmV7,
            Some(FloatAbi::Hard),
            &["arm.float-flag", "arm.vfp-args"],
        ),
        ("v7", Platform::ArmV7, None, &[]),
        ("v6t2", Platform::ArmV6, None, &["arm.cpu-arch", "arm.thumb"]),
        ("arm64", Platform::Arm64, None, &[]),
        ("arm64", Platform::ArmV7, None, &["elf.class", "elf.machine"]),
        ("v6", Platform::Amd64, None, &["elf.class", "elf.machine"]),
    ] {
        let report = inspect(&fixture(name), name, platform, float_abi, &[]);
        assert_eq!(rule_ids(&report), wanted, "{name} {platform}");
    }
    // Flag and attribute that disagree.
    let mut elf = Builder::v6();
    elf.flags = 0x0500_0200;
    assert_eq!(
        rule_ids(&inspect(&elf.build(), "x", Platform::ArmV6, None, &[])),
        ["arm.vfp-args"]
    );
    let mut elf = Builder::v6();
    elf.attributes = None;
    assert_eq!(
        rule_ids(&inspect(&elf.build(), "x", Platform::ArmV6, None, &[])),
        ["arm.attributes"]
    );
    assert_eq!(
        rule_ids(&inspect(b"text", "x", Platform::ArmV6, None, &[])),
        ["elf.readable"]
    );
}

#[test]
fn every_target_has_an_audit_and_every_finding_a_hint() {
    for target in &TARGETS {
        let result = audit(fixture("v7-neon"), &expectation("x", target.triple));
        let Err(report) = result else {
            panic!("{} accepts NEON", target.triple)
        };
        for finding in &report.findings {
            assert!(!finding.hint.is_empty() && !finding.expected.is_empty(), "{finding:?}");
        }
        let failed = report.checks.iter().filter(|check| check.outcome == Outcome::Failed);
        assert_eq!(failed.count(), report.findings.len());
        assert!(report.checks.is_sorted_by_key(|check| check.rule));
    }
}

#[test]
fn a_name_in_the_file_cannot_forge_a_line_of_the_table() {
    let mut elf = Builder::v6_glibc();
    elf.needed.push("x\n  ok    Type\x1b[2J\u{202e}".into());
    let report = audit(elf.build(), &expectation("x", HARD)).unwrap_err();
    let text = report.text();
    assert!(
        !text.contains("\n  ok    Type\x1b") && !text.contains('\u{202e}'),
        "{text}"
    );
    assert!(text.contains("x\\n  ok    Type\\u{1b}[2J\\u{202e}"), "{text}");
}
