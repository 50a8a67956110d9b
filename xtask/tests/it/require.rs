//! Tests that need something which a machine may lack.

/// Whether the test can go on. Without `what` it says that it is skipped; with `XTASK_REQUIRE_ALL=1`, as in CI, that is a failure.
#[allow(clippy::print_stderr)]
pub fn require(what: &str, present: bool) -> bool {
    if !present {
        let all = std::env::var_os("XTASK_REQUIRE_ALL").is_some_and(|value| value == "1");
        assert!(!all, "{what} is missing, and XTASK_REQUIRE_ALL=1 wants it");
        eprintln!("skipped: {what} is missing");
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

/// The same for a program on PATH.
pub fn require_program(name: &str) -> bool {
    require(name, xtask::shell::Shell::new(false).which(name).is_some())
}
