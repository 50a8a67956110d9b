//! Cut, flipped and lying files: an error or a finding, never a panic, never a long loop.

use std::path::Path;

use super::builder::{Builder, Tags};
use super::{HARD, MUSL, expectation, fixture};
use xtask::audit::{audit, inspect};
use xtask::elf::arm::{Attributes, AttributesError, MAX_SIZE};
use xtask::elf::{Elf, Encoding, MAX_ENTRIES};
use xtask::isa::decode::Features;
use xtask::isa::walk::walk;
use xtask::target::Platform;

/// xorshift64: the same mutations on every machine.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }
}

fn seeds() -> Vec<Vec<u8>> {
    vec![
        fixture("v6"),
        fixture("v6-gnueabi"),
        fixture("amd64-gnu"),
        Builder::v6_glibc().build(),
        Builder::amd64().build(),
    ]
}

#[test]
fn every_prefix_is_read_or_refused() {
    for seed in seeds() {
        for length in 0..seed.len() {
            let report = inspect(&seed[..length], "cut", Platform::ArmV6, None, &[]);
            assert!(!report.checks.is_empty());
            // The section headers of these files come last or before what they name: cut, an ARM file cannot pass.
            if seed[18] == 40 {
                assert!(!report.passed(), "{length} of {} bytes pass", seed.len());
            }
        }
    }
}

#[test]
fn flipped_bytes_are_read_or_refused() {
    let mut random = Random(0x5eed_0000_0000_0001);
    for seed in seeds() {
        for _ in 0..40_000 {
            let mut bytes = seed.clone();
            for _ in 0..=random.below(4) {
                let at = random.below(bytes.len());
                bytes[at] = match random.below(4) {
                    0 => 0,
                    1 => 0xff,
                    2 => bytes[at].wrapping_add(1),
                    _ => random.next() as u8,
                };
            }
            let _ = Elf::parse(&bytes);
        }
        // The whole way through, words of the report included.
        for _ in 0..2_000 {
            let mut bytes = seed.clone();
            let at = random.below(bytes.len());
            bytes[at] = random.next() as u8;
            if let Err(report) = audit(bytes, &expectation("flipped", HARD)) {
                assert!(report.text().lines().count() > 2);
            }
        }
    }
}

#[test]
fn flipped_attributes_are_read_or_refused() {
    let mut random = Random(0x5eed_0000_0000_0002);
    let seed = Tags::v6()
        .scope(2, &[1, 2, 0])
        .compatibility(1, "gnu")
        .text(65, "x")
        .section();
    for _ in 0..100_000 {
        let mut bytes = seed.clone();
        let at = random.below(bytes.len());
        bytes[at] = random.next() as u8;
        bytes.truncate(1 + random.below(bytes.len()));
        let _ = Attributes::parse(&bytes, Encoding::Little);
    }
}

/// The message with which a handmade file is refused.
fn refused(elf: &Builder, change: impl Fn(&mut Vec<u8>)) -> String {
    let mut bytes = elf.build();
    change(&mut bytes);
    Elf::parse(&bytes).unwrap_err().to_string()
}

fn patch(bytes: &mut [u8], at: usize, with: &[u8]) {
    bytes[at..at + with.len()].copy_from_slice(with);
}

#[test]
fn a_lie_is_named() {
    let plain = Builder::v6();
    assert_eq!(
        refused(&plain, |bytes| bytes.clear()),
        "not an ELF file: it begins with ``"
    );
    assert_eq!(
        refused(&plain, |bytes| bytes[0] = b'X'),
        "not an ELF file: it begins with `XELF\\x01\\x01\\x01\\x00`"
    );
    let header = "the ELF header is cut short or of an unknown class, encoding or version";
    assert_eq!(refused(&plain, |bytes| bytes[4] = 3), header);
    assert_eq!(refused(&plain, |bytes| bytes[5] = 0), header);
    assert_eq!(refused(&plain, |bytes| bytes[6] = 9), header);
    assert_eq!(refused(&plain, |bytes| bytes.truncate(51)), header);
    // e_phnum, e_phentsize, e_shnum.
    let huge = refused(&plain, |bytes| patch(bytes, 44, &[0xfe, 0xff]));
    assert!(huge.starts_with("program headers: "), "{huge}");
    let entry = refused(&plain, |bytes| patch(bytes, 42, &[31, 0]));
    assert!(entry.starts_with("program headers: "), "{entry}");
    let sections = refused(&plain, |bytes| patch(bytes, 48, &[0xfe, 0xff]));
    assert!(sections.starts_with("section headers: "), "{sections}");
}

/// Offset of the first segment of a type in a 32-bit little-endian file of `Builder`.
fn segment(bytes: &[u8], kind: u32) -> usize {
    let found = (52..).step_by(32).find(|at| bytes[*at..*at + 4] == kind.to_le_bytes());
    found.unwrap()
}

#[test]
fn a_dynamic_segment_that_two_readers_would_read_differently_is_refused() {
    let elf = Builder::v6_glibc();
    let message = refused(&elf, |bytes| {
        let at = segment(bytes, 2);
        let address = u32::from_le_bytes(bytes[at + 8..at + 12].try_into().unwrap()) - 8;
        patch(bytes, at + 8, &address.to_le_bytes());
    });
    assert_eq!(message, "PT_DYNAMIC: its offset and its address are not the same place");
    let message = refused(&elf, |bytes| {
        let at = segment(bytes, 2);
        patch(bytes, at + 16, &16u32.to_le_bytes());
    });
    assert_eq!(message, "PT_DYNAMIC: has no DT_NULL at its end");
    let message = refused(&elf, |bytes| {
        let at = segment(bytes, 0x6474_e551);
        let load = bytes[52..84].to_vec();
        patch(bytes, at, &load);
    });
    assert_eq!(
        message,
        "PT_LOAD: the segment at 0x10000 overlaps or precedes the one before it"
    );
    let message = refused(&elf, |bytes| {
        let at = segment(bytes, 0x6474_e551);
        let dynamic = segment(bytes, 2);
        let dynamic = bytes[dynamic..dynamic + 32].to_vec();
        patch(bytes, at, &dynamic);
    });
    assert_eq!(message, "PT_DYNAMIC: more than one segment of this type");
    let message = refused(&elf, |bytes| {
        let at = segment(bytes, 3);
        let size = u32::from_le_bytes(bytes[at + 16..at + 20].try_into().unwrap()) - 1;
        patch(bytes, at + 16, &size.to_le_bytes());
    });
    assert_eq!(message, "PT_INTERP: is not one NUL-terminated path");
}

#[test]
fn version_needs_cannot_loop() {
    let elf = Builder::v6_glibc();
    // The one Elf_Verneed is found by its bytes: version 1, one name.
    let need = |bytes: &[u8]| bytes.windows(4).rposition(|window| window == [1, 0, 1, 0]).unwrap();
    let set_count = |bytes: &mut Vec<u8>, count: u32| {
        let tag = 0x6fff_ffffu32.to_le_bytes();
        let at = bytes.windows(4).rposition(|window| window == tag).unwrap();
        patch(bytes, at + 4, &count.to_le_bytes());
    };
    // More entries than the chain has.
    let message = refused(&elf, |bytes| set_count(bytes, u32::MAX));
    assert_eq!(message, "DT_VERNEED: the list of libraries ends before its count");
    let message = refused(&elf, |bytes| {
        let at = need(bytes);
        patch(bytes, at + 2, &[0xff, 0xff]);
    });
    assert_eq!(message, "DT_VERNEED: a list of versions ends before its count");
    // A chain that would go back: offsets are unsigned, so it leaves the file.
    let message = refused(&elf, |bytes| {
        let at = need(bytes);
        set_count(bytes, u32::MAX);
        patch(bytes, at + 12, &(-16i32).to_le_bytes());
    });
    assert_eq!(message, "DT_VERNEED: an entry lies outside of the file");
    let message = refused(&elf, |bytes| {
        let at = need(bytes);
        patch(bytes, at + 4, &0xffff_0000u32.to_le_bytes());
    });
    assert_eq!(message, "vn_file: its name lies outside of the string table");
}

#[test]
fn more_names_than_any_linker_writes_are_refused() {
    let mut elf = Builder::v6_glibc();
    elf.needed = vec!["libc.so.6".to_owned(); MAX_ENTRIES + 1];
    assert_eq!(refused(&elf, |_| ()), "PT_DYNAMIC: has more than 4096 names");
    let mut elf = Builder::v6_glibc();
    elf.needed = vec!["x".repeat(5000)];
    assert_eq!(
        refused(&elf, |_| ()),
        "DT_NEEDED: its name does not end within 4096 bytes or the string table"
    );
    let mut elf = Builder::v6_glibc();
    for index in 0..=MAX_ENTRIES {
        elf.version("libc.so.6", &format!("V{index}"));
    }
    assert_eq!(refused(&elf, |_| ()), "DT_VERNEED: has more than 4096 entries");
    // Many, but not too many: the report stays readable.
    let mut elf = Builder::v6_glibc();
    elf.needed = (0..1000).map(|index| format!("lib{index}.so")).collect();
    let report = audit(elf.build(), &expectation("x", HARD)).unwrap_err();
    assert!(report.text().contains("and 984 more"), "{report}");
}

#[test]
fn faults_of_the_attributes_are_named_with_their_offset() {
    let parse = |bytes: &[u8]| Attributes::parse(bytes, Encoding::Little).unwrap_err();
    assert_eq!(parse(b""), AttributesError::Version { found: 0 });
    assert_eq!(
        parse(&vec![b'A'; MAX_SIZE + 1]),
        AttributesError::TooLong { size: MAX_SIZE + 1 }
    );
    for (bytes, message) in [
        (
            &b"A\x01"[..],
            "offset 0x1: subsection runs past the end of what encloses it",
        ),
        (
            b"A\xff\xff\xff\xffaeabi\0",
            "offset 0x1: subsection runs past the end of what encloses it",
        ),
        (
            b"A\x03\0\0\0aeabi\0",
            "offset 0x1: a subsection of 3 bytes cannot hold its own header",
        ),
        (
            b"A\x09\0\0\0aeabi",
            "offset 0x5: a vendor name runs past the end of what encloses it",
        ),
        (
            b"A\x0b\0\0\0aeabi\0\x01",
            "offset 0xc: sub-subsection runs past the end of what encloses it",
        ),
        (
            b"A\x0f\0\0\0aeabi\0\x01\0\0\0\0",
            "offset 0xc: a sub-subsection of 0 bytes cannot hold its own header",
        ),
        (
            b"A\x0f\0\0\0aeabi\0\x07\x05\0\0\0",
            "offset 0xb: scope tag 7 is none of Tag_File, Tag_Section, Tag_Symbol",
        ),
        (
            b"A\x10\0\0\0aeabi\0\x01\x06\0\0\0\x06",
            "offset 0x11: a ULEB128 number runs past the end of what encloses it",
        ),
        (
            b"A\x11\0\0\0aeabi\0\x01\x07\0\0\0\x00\x01",
            "offset 0x10: tag 0 is not the tag of an attribute",
        ),
        (
            b"A\x10\0\0\0aeabi\0\x02\x06\0\0\0\x05",
            "offset 0x11: a ULEB128 number runs past the end of what encloses it",
        ),
        (
            b"A\x1b\0\0\0aeabi\0\x01\x11\0\0\0\x06\xff\xff\xff\xff\xff\xff\xff\xff\xff\x7f\x00",
            "offset 0x11: a ULEB128 number does not fit 64 bits",
        ),
        (
            b"A\x12\0\0\0aeabi\0\x01\x08\0\0\0\x05\xff\0",
            "offset 0x11: a string is not UTF-8",
        ),
    ] {
        assert_eq!(parse(bytes).to_string(), message);
    }
    let foreign = Attributes::parse(b"A\x09\0\0\0gnu\0\xff", Encoding::Little).unwrap();
    assert_eq!(
        (foreign.vendors.as_slice(), foreign.groups.len()),
        (&["gnu".to_owned()][..], 0)
    );
}

#[test]
fn big_endian_attributes_are_read_as_such() {
    let section = Tags::v6().section_in(u32::to_be_bytes);
    assert!(Attributes::parse(&section, Encoding::Big).is_ok());
    assert!(Attributes::parse(&section, Encoding::Little).is_err());
    let mut elf = Builder::v6();
    elf.big = true;
    elf.attributes = Some(section);
    let report = audit(elf.build(), &expectation("x", MUSL)).unwrap_err();
    let rules: Vec<&str> = report.findings.iter().map(|finding| finding.rule.id()).collect();
    assert_eq!(rules, ["elf.encoding"]);
}

/// A part of what the fuzzer (`fuzz/`) made of the fixtures, chosen for the branches that it takes.
#[test]
fn what_the_fuzzer_found_is_read_or_refused() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/fuzz");
    let mut count = 0;
    for file in std::fs::read_dir(directory).unwrap() {
        let bytes = std::fs::read(file.unwrap().path()).unwrap();
        for platform in Platform::ALL {
            let report = inspect(&bytes, "fuzzed", platform, None, &[]);
            assert!(!report.checks.is_empty() && !report.text().is_empty());
        }
        count += 1;
    }
    assert!(count > 20, "{count} files");
}

/// Sections, symbols, segments and tables that lie about code: cost and result stay bounded by the file.
#[test]
fn lies_about_code_are_bounded() {
    let mut random = Random(0x5eed_0000_0000_0007);
    for seed in [fixture("v6-hiding-v7"), fixture("v6-gnueabi"), fixture("v6-library")] {
        for _ in 0..3_000 {
            let mut bytes = seed.clone();
            // Words of headers and tables: offsets, sizes, addresses, counts, relocations, index tables.
            for _ in 0..=random.below(3) {
                let at = random.below(bytes.len() / 4) * 4;
                let word = match random.below(4) {
                    0 => 0xffff_ffff,
                    1 => 0x8000_0000,
                    2 => random.below(bytes.len()) as u32,
                    _ => random.next() as u32,
                };
                bytes[at..at + 4].copy_from_slice(&word.to_le_bytes());
            }
            if let Ok(Some(walk)) = walk(&bytes, Features::ARM1176) {
                let counts = walk.counts;
                assert!(counts.data + counts.unreached + counts.beside <= bytes.len() as u64);
                assert!(walk.beyond.len() <= 2 * bytes.len(), "one a halfword and state at most");
            }
        }
    }
}
