//! Tests that need something which a machine may lack.

/// Whether the test can go on. Without `what` it says that it is skipped; with `XTASK_REQUIRE_ALL=1`, as in CI, that is a failure.
#[allow(clippy::print_stderr)]
pub fn require(what: &str, present: bool) -> bool {
    if !present {
        let all = std::env::var_os("XTASK_REQUIRE_ALL").is_some_and(|value| value == "1");
        assert!(!all, "{what} is missing, and XTASK_REQUIRE_ALL=1 wants it");
        eprintln!("skipped: {what} is missing");
    }
    present
}

/// The same for a program on PATH.
pub fn require_program(name: &str) -> bool {
    require(name, xtask::shell::Shell::new(false).which(name).is_some())
}
