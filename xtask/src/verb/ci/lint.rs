//! The workflows, by the two programs that know them: actionlint (syntax, types of expressions, shell) and zizmor (security).

use std::fs;

use crate::cx::Cx;
use crate::error::{Context, Error, Result};
use crate::policy::policy_tool;
use crate::toolchain::pip;
use crate::verb::{Outcome, policy};

/// Where GitHub looks for workflows.
const WORKFLOWS: &str = ".github/workflows";

/// Runs both; the second also when the first has findings.
pub fn run(cx: &Cx) -> Result<Outcome> {
    let dir = cx.root.join(WORKFLOWS);
    let mut files: Vec<String> = fs::read_dir(&dir)
        .context(|| format!("cannot read {}", cx.show(&dir)))?
        .filter_map(|entry| entry.ok().map(|entry| entry.file_name().to_string_lossy().into_owned()))
        .filter(|name| name.ends_with(".yml") || name.ends_with(".yaml"))
        .map(|name| format!("{WORKFLOWS}/{name}"))
        .collect();
    files.sort();
    if files.is_empty() {
        return Err(Error::new(format!("there is no workflow in {WORKFLOWS}")));
    }
    let policy = policy(cx)?;
    // Without colour, and without what the machine has beside: shellcheck and pyflakes would make the result depend on it.
    let actionlint: &[&str] = &["-no-color", "-shellcheck=", "-pyflakes="];
    // Offline: whether an action's commit belongs to its repository only GitHub can tell.
    let zizmor: &[&str] = &["--offline", "--no-progress", "--color=never", "--persona=regular"];
    let mut outcome = Outcome::Fine;
    for (name, options) in [("actionlint", actionlint), ("zizmor", zizmor)] {
        let tool = policy_tool(&policy, name).map_err(Error::new)?;
        let program = pip::provision(cx, name, tool)?;
        cx.ui.step(
            "Checking",
            &format!("{} with {name} {}", files.join(", "), tool.version),
        );
        let output = cx
            .shell
            .command(&program)
            .args(options)
            .args(&files)
            .current_dir(&cx.root)
            // zizmor asks GitHub when it finds a token.
            .env_remove("GH_TOKEN")
            .env_remove("GITHUB_TOKEN")
            .output()?;
        let code = output.status.code();
        if code == Some(0) {
            continue;
        }
        cx.ui.text(&format!("{}{}", output.text(), output.error_text()));
        // actionlint: 1 findings, 2 and 3 its own trouble. zizmor: 10 to 14 findings by severity, others its own trouble.
        if !matches!((name, code), ("actionlint", Some(1)) | ("zizmor", Some(10..=14))) {
            // What actionlint refused zizmor may not be able to read at all.
            if outcome == Outcome::Findings {
                cx.ui.warn(&format!("{name} could not check it ({})", output.status));
                continue;
            }
            return Err(Error::new(format!("{name} failed ({})", output.status)));
        }
        cx.ui.warn(&format!("{name} has findings"));
        outcome = Outcome::Findings;
    }
    Ok(outcome)
}
