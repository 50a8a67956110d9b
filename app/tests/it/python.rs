//! Programs that others wrote to judge feeds, microformats and accessibility: packages of Python's index through pip,
//! pinned, below the target directory.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;

use crate::require::{program, require};

/// With what they need themselves; one version each, so that a run judges like the one before.
const VALIDATORS: &[&str] = &["mf2py==2.0.2", "feedparser==6.0.14", "atoma==0.0.17", "html5lib==1.1"];
/// Carries Deque's axe-core; nothing of it is run but that file.
const AXE: &[&str] = &["axe-playwright-python==0.1.8"];

/// Installs packages once.
fn packages(name: &str, wanted: &[&str], with_dependencies: bool) -> Option<PathBuf> {
    static LOCK: Mutex<()> = Mutex::new(());
    let _one = LOCK.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let python = program(&["python3"])?;
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("python-{name}"));
    let done = directory.join(".installed");
    let list = wanted.join("\n");
    if std::fs::read_to_string(&done).is_ok_and(|there| there == list) {
        return Some(directory);
    }
    let mut command = Command::new(python);
    command.args([
        "-m",
        "pip",
        "install",
        "--quiet",
        "--upgrade",
        "--disable-pip-version-check",
    ]);
    if !with_dependencies {
        command.arg("--no-deps");
    }
    let installed = command
        .arg("--target")
        .arg(&directory)
        .args(wanted)
        .status()
        .is_ok_and(|status| status.success());
    if installed {
        std::fs::write(&done, list).unwrap();
    }
    require(&format!("{name} through pip"), installed).then_some(directory)
}

/// The script of axe-core.
pub fn axe() -> Option<String> {
    let directory = packages("axe", AXE, false)?;
    Some(std::fs::read_to_string(directory.join("axe_playwright_python/axe.min.js")).unwrap())
}

/// Runs a script with the validators; it gets `input` and answers with what it prints.
pub fn judge(script: &str, input: &str) -> Option<String> {
    let directory = packages("validators", VALIDATORS, true)?;
    let mut child = Command::new(program(&["python3"])?)
        .args(["-W", "ignore", "-c", script])
        .env("PYTHONPATH", directory)
        .env("PYTHONIOENCODING", "utf-8")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Some(String::from_utf8(output.stdout).unwrap())
}
