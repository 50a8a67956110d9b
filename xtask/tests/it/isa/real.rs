//! Real code: Debian's libraries word by word against LLVM, and a program with symbols against the same one without.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use xtask::base::apt;
use xtask::cache::Cache;
use xtask::cx::Cx;
use xtask::deb::Deb;
use xtask::isa::decode::{self, Features};
use xtask::isa::walk::{Beyond, Evidence, Method, State, Walk, walk};
use xtask::oci::layer::EntryKind;
use xtask::policy::Policy;
use xtask::shell::Shell;
use xtask::target::Platform;
use xtask::toolchain::zig;
use xtask::ui::{Ui, Verbosity};

use super::{ARM, Disagreement, THUMB, THUMB_V7, V7, ask, compare, llvm_mc};
use crate::chain::has_debian;
use crate::require::require_program;

const PACKAGES: [&str; 4] = ["busybox-static", "libc6", "libgcc-s1", "libssl3t64"];

/// Of these packages, what is large or does something special.
const FILES: [&str; 6] = [
    "busybox",
    "ld-linux",
    "libc.so.6",
    "libcrypto.so",
    "libgcc_s.so",
    "libssl.so",
];

fn context(root: &Path) -> Cx {
    let cache = std::env::var_os("XTASK_CACHE_DIR").map_or_else(|| Cache::default_root().unwrap(), PathBuf::from);
    Cx {
        shell: Shell::default(),
        ui: Ui::new(Verbosity::Quiet),
        cache: Cache::at(cache),
        root: root.to_owned(),
        offline: false,
    }
}

fn policy() -> Policy {
    let settings = Path::new(env!("CARGO_MANIFEST_DIR")).join("../xtask.toml");
    Policy::parse(&std::fs::read_to_string(settings).unwrap()).unwrap()
}

/// The ARM files of Debian's packages, whole: name and bytes.
fn debian_files(platform: Platform) -> Vec<(String, Vec<u8>)> {
    let temp = tempfile::tempdir().unwrap();
    let cx = context(temp.path());
    let policy = policy().base.debian;
    let packages = PACKAGES.map(str::to_owned);
    let mirror = std::env::var("XTASK_DEBIAN_MIRROR").ok();
    let request = apt::Request {
        suite: &policy.suite,
        aliases: &policy.aliases,
        architecture: platform.debian_architecture(),
        packages: &packages,
        omit: &policy.omit,
        mirror: mirror.as_deref(),
    };
    let resolution = apt::resolve(&cx, &request, false).unwrap();
    let mut files = Vec::new();
    for (package, path) in resolution
        .packages
        .iter()
        .zip(apt::fetch(&cx, &request, &resolution).unwrap())
    {
        if !PACKAGES.contains(&package.name.as_str()) {
            continue;
        }
        let deb = Deb::read(&package.name, &std::fs::read(path).unwrap()).unwrap();
        for entry in deb.entries {
            if let EntryKind::File(bytes) = entry.kind
                && bytes.starts_with(b"\x7fELF")
                && entry
                    .path
                    .rsplit('/')
                    .next()
                    .is_some_and(|name| FILES.iter().any(|known| name.starts_with(known)))
            {
                files.push((entry.path, bytes));
            }
        }
    }
    files.sort();
    assert!(files.iter().any(|(path, _)| path.ends_with("libcrypto.so.3")));
    files
}

/// Every instruction: none is known to a chip that has nothing.
fn instructions(bytes: &[u8]) -> Walk {
    walk(bytes, Features::NONE).unwrap().unwrap()
}

fn share(part: u64, whole: u64) -> f64 {
    part as f64 / whole.max(1) as f64
}

/// What a chip has, LLVM's options for it in both states, and where LLVM is not followed.
type Chip<'a> = (Features, [&'a str; 2], &'a [&'a [Disagreement]]);

fn agree(platform: Platform, chips: &[Chip<'_>]) {
    if !has_debian() || !require_program("apt-get") {
        return;
    }
    let Some(program) = llvm_mc() else { return };
    let mut words: BTreeSet<(State, u8, u32)> = BTreeSet::new();
    for (path, bytes) in debian_files(platform) {
        let walk = instructions(&bytes);
        assert_eq!(walk.method, Method::ControlFlow, "{path}");
        // What is neither code nor data is a remainder, in a file without a single name of a static function.
        let code = 4 * walk.counts.arm + 2 * walk.counts.thumb;
        assert!(
            share(walk.counts.unreached, code) < 0.02,
            "{path}: {} of {code} bytes not reached",
            walk.counts.unreached
        );
        let code = walk.beyond.iter().filter(|word| word.evidence != Evidence::Unreached);
        words.extend(code.map(|found| (found.state, found.width, found.word)));
    }
    assert!(words.len() > 50_000, "{} different instructions", words.len());
    for (features, triples, expected) in chips {
        for (state, options) in [State::Arm, State::Thumb].into_iter().zip(triples) {
            let mut words: Vec<&(State, u8, u32)> = words.iter().filter(|(found, ..)| *found == state).collect();
            // LLVM remembers `it` for what is on the next lines.
            words.sort_by_key(|(_, width, word)| *width == 2 && *word >> 8 == 0xbf);
            let bytes: Vec<Vec<u8>> = words
                .iter()
                .map(|(state, width, word)| in_memory(*state, *width, *word))
                .collect();
            let options: Vec<&str> = options.split(' ').collect();
            let answers = ask(&program, &options, &bytes);
            let said: Vec<_> = words
                .iter()
                .zip(answers)
                .map(|((state, width, word), (llvm, text))| {
                    let (key, verdict) = match (state, width) {
                        (State::Arm, _) => (*word, decode::arm(*word, *features)),
                        (State::Thumb, 2) => (*word << 16, decode::thumb(*word as u16, 0, *features)),
                        _ => (*word, decode::thumb((*word >> 16) as u16, *word as u16, *features)),
                    };
                    (key, verdict, llvm, text)
                })
                .collect();
            compare(&said, expected);
        }
    }
}

fn in_memory(state: State, width: u8, word: u32) -> Vec<u8> {
    match (state, width) {
        (_, 2) => (word as u16).to_le_bytes().to_vec(),
        (State::Thumb, _) => [((word >> 16) as u16).to_le_bytes(), (word as u16).to_le_bytes()].concat(),
        (State::Arm, _) => word.to_le_bytes().to_vec(),
    }
}

const ARM1176: [&str; 2] = [
    "-triple=armv6kz-none-linux-gnueabihf -mcpu=arm1176jzf-s",
    "-triple=thumbv6kz-none-linux-gnueabihf -mcpu=arm1176jzf-s",
];

#[test]
fn every_instruction_of_debian_s_armel_is_what_llvm_says() {
    agree(Platform::ArmV6, &[(Features::ARM1176, ARM1176, &[ARM, THUMB])]);
}

#[test]
fn every_instruction_of_debian_s_armhf_is_what_llvm_says() {
    let arm = format!("-triple=armv7-none-linux-gnueabihf {V7}");
    let thumb = format!("-triple=thumbv7-none-linux-gnueabihf {V7}");
    agree(
        Platform::ArmV7,
        &[
            (Features::ARM1176, ARM1176, &[ARM, THUMB]),
            (Features::ARMV7, [&arm, &thumb], &[ARM, THUMB, THUMB_V7]),
        ],
    );
}

/// What is beyond the chip in Debian's armel is known one by one; the same libraries for ARMv7 are beyond it everywhere.
#[test]
fn debian_s_armel_is_for_the_pi_zero_and_its_armhf_is_not() {
    if !has_debian() || !require_program("apt-get") {
        return;
    }
    for (path, bytes) in debian_files(Platform::ArmV6) {
        let walk = walk(&bytes, Features::ARM1176).unwrap().unwrap();
        let found: Vec<&Beyond> = walk
            .beyond
            .iter()
            .filter(|found| found.evidence != Evidence::Unreached)
            .collect();
        // Registers of other chips, saved and restored if AT_HWCAP has them: see [[audit.base-waivers]] in xtask.toml.
        let saved =
            |found: &&&Beyond| ["vldm/vstm", "ldc/stc/mcrr/mrrc", "ldc2/stc2/mcrr2/mrrc2"].contains(&found.name);
        assert_eq!(found.iter().filter(saved).count(), found.len(), "{path}: {found:#?}");
        assert!(found.len() <= 75, "{path}: {}", found.len());
        assert!(
            walk.undefined.is_empty() && walk.unpredictable.is_empty(),
            "{path}: {walk:#?}"
        );
    }
    for (path, bytes) in debian_files(Platform::ArmV7) {
        let walk = walk(&bytes, Features::ARM1176).unwrap().unwrap();
        assert!(walk.beyond.iter().any(|found| found.certain), "{path}");
    }
}

const PROGRAM: &str = r#"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <math.h>
#include <pthread.h>
static int compare(const void *a, const void *b) { return *(const int *)a - *(const int *)b; }
static void *work(void *value) { return (void *)((long)value * 2); }
int main(int argc, char **argv) {
    int numbers[8] = {3, 1, 4, 1, 5, 9, 2, 6};
    qsort(numbers, 8, sizeof *numbers, compare);
    pthread_t thread;
    void *result = 0;
    if (!pthread_create(&thread, 0, work, (void *)21)) pthread_join(thread, &result);
    switch (argc) {
    case 1: puts("one"); break;
    case 2: puts(strerror(atoi(argv[1]))); break;
    case 3: printf("%g\n", sin(strtod(argv[1], 0))); break;
    case 4: puts(getenv(argv[3])); break;
    case 5: printf("%s %d\n", argv[4], argc); break;
    }
    printf("%d %ld %f\n", numbers[0], (long)result, pow(numbers[1], 0.5));
    return 0;
}
"#;

/// Mapping symbols are the truth; without them, what was found must be nearly that.
#[test]
fn without_symbols_the_same_code_is_found() {
    if !require_program("python3") {
        return;
    }
    let temp = tempfile::tempdir().unwrap();
    let cx = context(temp.path());
    let zig = zig::provision(&cx, &policy()).unwrap().zig;
    std::fs::write(temp.path().join("program.c"), PROGRAM).unwrap();
    let caches = cx.cache.root().join("zig");
    for (target, cpu) in [
        ("arm-linux-musleabihf", "arm1176jzf_s"),
        ("thumb-linux-musleabihf", "cortex_a7"),
    ] {
        let make = |name: &str, option: &str| {
            let command = cx.shell.command(&zig).current_dir(temp.path());
            let output = command
                .env("ZIG_GLOBAL_CACHE_DIR", caches.join("global"))
                .env("ZIG_LOCAL_CACHE_DIR", caches.join("local"))
                .args([
                    "cc",
                    "-static",
                    "-Os",
                    "-g0",
                    "program.c",
                    "-target",
                    target,
                    "-o",
                    name,
                    option,
                ])
                .arg(format!("-mcpu={cpu}"))
                .output()
                .unwrap();
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            std::fs::read(temp.path().join(name)).unwrap()
        };
        let (named, bare) = (make("named", "-lc"), make("bare", "-Wl,-s"));
        let list = |bytes: &[u8], features: Features| -> BTreeMap<u64, State> {
            let walk = walk(bytes, features).unwrap().unwrap();
            let code = walk
                .beyond
                .into_iter()
                .filter(|word| word.evidence != Evidence::Unreached);
            code.map(|word| (word.address, word.state)).collect()
        };
        let (truth, found) = (list(&named, Features::NONE), list(&bare, Features::NONE));
        assert!(truth.len() > 5000, "{}", truth.len());
        let wrong = found
            .iter()
            .filter(|(address, state)| truth.get(address) != Some(state))
            .count();
        let missed = truth.keys().filter(|address| !found.contains_key(address)).count();
        assert!(
            wrong * 1000 <= truth.len(),
            "{target}: {wrong} of {} words of data taken for code",
            truth.len()
        );
        assert!(
            missed * 100 <= truth.len(),
            "{target}: {missed} of {} instructions not found",
            truth.len()
        );
        // What counts is the same.
        let beyond = |bytes: &[u8]| list(bytes, Features::ARM1176);
        if cpu == "arm1176jzf_s" {
            assert_eq!(beyond(&named), beyond(&bare));
        }
    }
}
