//! Tests that need something which a machine may lack.

use std::path::PathBuf;
use std::process::{Command, Stdio};

/// Whether the test can go on. Without `what` it says that it is skipped; with `XTASK_REQUIRE_ALL=1`, as in CI, that
/// is a failure.
#[allow(clippy::print_stderr)]
pub fn require(what: &str, present: bool) -> bool {
    if !present {
        let all = std::env::var_os("XTASK_REQUIRE_ALL").is_some_and(|value| value == "1");
        assert!(!all, "{what} is missing, and XTASK_REQUIRE_ALL=1 wants it");
        #[allow(clippy::print_stderr, reason = "a test speaks to whoever runs it")]
        {
            eprintln!("skipped: {what} is missing");
        }
        // `cargo xtask test` reads this file afterwards: libtest does not show what a passing test prints.
        if let Some(path) = std::env::var_os("XTASK_SKIPPED") {
            let test = std::thread::current().name().unwrap_or("a test").to_owned();
            let mut file = std::fs::OpenOptions::new()
                .append(true)
                .create(true)
                .open(path)
                .unwrap();
            std::io::Write::write_all(&mut file, format!("{test}: {what} is missing\n").as_bytes()).unwrap();
        }
    }
    present
}

/// A program on PATH, by the first of its names that is there.
pub fn program(names: &[&str]) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = names.iter().find_map(|name| {
        std::env::split_paths(&path)
            .map(|directory| directory.join(name))
            .find(|file| file.is_file())
    });
    require(names[0], found.is_some()).then_some(found).flatten()
}

/// Whether a program answers to these arguments.
pub fn works(program: &str, arguments: &[&str]) -> bool {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null());
    let run = command.stdout(Stdio::null()).stderr(Stdio::null()).status();
    run.is_ok_and(|status| status.success())
}
