//! Tests that need something this machine may lack say so, and are skipped; with `XTASK_REQUIRE_ALL=1` they fail instead.

/// Whether to go on. `what` is what the test needs; CI sets `XTASK_REQUIRE_ALL=1`, so that nothing is skipped unseen.
#[allow(clippy::print_stderr)]
pub fn require(what: &str, present: bool) -> bool {
    if present {
        return true;
    }
    let all = std::env::var_os("XTASK_REQUIRE_ALL").is_some_and(|value| value == "1");
    assert!(!all, "XTASK_REQUIRE_ALL=1, but this is not to be had: {what}");
    eprintln!("skipped: this is not to be had: {what}");
    false
}
