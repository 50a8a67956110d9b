//! Stripping: the same code, nothing else.

use std::fs;
use std::path::Path;

use xtask::elf::Elf;
use xtask::elf::strip::{Keep, same_code, strip};
use xtask::shell::Shell;

use crate::require::require;

fn fixture(name: &str) -> Vec<u8> {
    fs::read(
        Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("tests/fixtures/elf")
            .join(name),
    )
    .unwrap()
}

const FIXTURES: [&str; 9] = [
    "amd64",
    "amd64-gnu",
    "arm64",
    "v6",
    "v6-gnueabi",
    "v6-gnueabihf",
    "v6-library",
    "v7",
    "v7-neon",
];

#[test]
fn what_is_loaded_and_what_it_says_of_itself_stays() {
    for name in FIXTURES {
        let bytes = fixture(name);
        let shipped = strip(&bytes, Keep::Nothing).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert!(same_code(&bytes, &shipped).unwrap(), "{name}");
        let (before, after) = (Elf::parse(&bytes).unwrap(), Elf::parse(&shipped).unwrap());
        assert!(!after.symbols, "{name}");
        assert_eq!(
            Elf {
                sections: 0,
                symbols: false,
                ..after
            },
            Elf {
                sections: 0,
                symbols: false,
                ..before
            },
            "{name}"
        );
    }
}

/// `docker build` alone strips with the tool that comes with Rust, and its image is to be the same.
#[test]
fn the_file_is_that_of_rusts_own_tool() {
    let shell = Shell::default();
    let sysroot = shell.command("rustc").args(["--print", "sysroot"]).read().unwrap();
    let sysroot = Path::new(sysroot.trim());
    let hosts = fs::read_dir(sysroot.join("lib/rustlib")).unwrap().flatten();
    let tool = hosts
        .map(|host| host.path().join("bin/rust-objcopy"))
        .find(|tool| tool.is_file());
    if !require("rust-objcopy of rustc's own", tool.is_some()) {
        return;
    }
    let temp = tempfile::tempdir().unwrap();
    let shipped = temp.path().join("shipped");
    for name in FIXTURES.iter().chain(&["v6-symbols"]) {
        let bytes = fixture(name);
        fs::write(temp.path().join("linked"), &bytes).unwrap();
        let tool = shell.command(tool.as_ref().unwrap()).arg("--strip-all");
        tool.arg(temp.path().join("linked"))
            .arg(&shipped)
            .env("LD_LIBRARY_PATH", sysroot.join("lib"))
            .run()
            .unwrap();
        assert!(
            fs::read(&shipped).unwrap() == strip(&bytes, Keep::Nothing).unwrap(),
            "{name}"
        );
    }
}

#[test]
fn stripping_twice_is_stripping_once() {
    for name in FIXTURES {
        let bytes = fixture(name);
        let named = strip(&bytes, Keep::Names).unwrap();
        assert_eq!(strip(&named, Keep::Names).unwrap(), named, "{name}");
        let shipped = strip(&bytes, Keep::Nothing).unwrap();
        assert_eq!(strip(&shipped, Keep::Nothing).unwrap(), shipped, "{name}");
        assert_eq!(strip(&named, Keep::Nothing).unwrap(), shipped, "{name}");
        assert!(same_code(&named, &shipped).unwrap(), "{name}");
    }
}

#[test]
fn another_instruction_is_other_code() {
    let bytes = fixture("v6");
    let shipped = strip(&bytes, Keep::Nothing).unwrap();
    let entry = 0x18;
    let mut other = shipped.clone();
    other[entry] ^= 4;
    assert!(!same_code(&bytes, &other).unwrap(), "another entry point");
    // The last loaded byte: the code of this file is behind its headers.
    let end = (0..shipped.len())
        .rev()
        .find(|at| {
            let mut other = shipped.clone();
            other[*at] ^= 1;
            !same_code(&bytes, &other).unwrap_or(true)
        })
        .unwrap();
    assert!(end > 84, "no byte of code counts");
    assert!(!same_code(&bytes, &fixture("v6-soft")).unwrap());
    assert!(!same_code(&bytes, &fixture("arm64")).unwrap());
}

#[test]
fn what_is_no_whole_program_is_an_error() {
    assert!(strip(b"#!/bin/sh\n", Keep::Nothing).is_err());
    for name in FIXTURES {
        let bytes = fixture(name);
        for length in 0..bytes.len() {
            let cut = &bytes[..length];
            // Cut files are refused, or what is left has the same code: nothing in between, and no panic.
            if let Ok(shipped) = strip(cut, Keep::Nothing) {
                assert!(same_code(cut, &shipped).unwrap(), "{name}, {length} bytes");
            }
        }
        let mut object = bytes.clone();
        object[16] = 1;
        object[17] = 0;
        assert!(strip(&object, Keep::Nothing).is_err(), "{name} as ET_REL");
    }
}

#[test]
fn lies_in_the_headers_are_errors_or_harmless() {
    let mut state = 0x5eed_u64;
    let mut next = |bound: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % bound as u64) as usize
    };
    for name in ["v6", "v6-gnueabi", "amd64-gnu"] {
        let bytes = fixture(name);
        for _ in 0..20_000 {
            let mut lie = bytes.clone();
            for _ in 0..=next(3) {
                let at = next(lie.len());
                lie[at] = [0, 0xff, 0x80, 1][next(4)];
            }
            for keep in [Keep::Names, Keep::Nothing] {
                if let Ok(shipped) = strip(&lie, keep) {
                    assert!(same_code(&lie, &shipped).unwrap());
                    assert!(
                        shipped.len() <= lie.len() + 4096,
                        "{} became {}",
                        lie.len(),
                        shipped.len()
                    );
                }
            }
        }
    }
}
