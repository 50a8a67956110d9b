//! Any bytes are read or refused, whichever platform they are held against: no panic, no long loop, no large allocation.
//!
//! The pure rooms are compiled in by themselves, without the rest of xtask: a run is ready in seconds.
#![no_main]
#![allow(dead_code, unused_imports)]

#[path = "../../xtask/src/audit/mod.rs"]
mod audit;
#[path = "../../xtask/src/culprit/mod.rs"]
mod culprit;
#[path = "../../xtask/src/target.rs"]
mod target;

use libfuzzer_sys::fuzz_target;
use machine_code::{elf, isa};

fuzz_target!(|bytes: &[u8]| {
    let _ = elf::arm::Attributes::parse(bytes, elf::Encoding::Little);
    for platform in [target::Platform::ArmV6, target::Platform::ArmV7] {
        let report = audit::inspect(bytes, "fuzzed", platform, None, &[]);
        assert!(!report.checks.is_empty());
        assert!(!report.text().is_empty());
    }
});
