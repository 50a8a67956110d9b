//! Programs that others wrote to judge feeds, microformats and accessibility: packages of Python's index through pip,
//! pinned, below the target directory.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;

use crate::require::{program, require};

/// With what they need themselves; one version each, so that a run judges like the one before.
const VALIDATORS: &[&str] = &["mf2py==2.0.2", "feedparser==6.0.14", "atoma==0.0.17", "html5lib==1.1"];
/// Grammars and schemas: libxml2 for RELAX NG, and JSON Schema. Wheels of the Pythons that Debian has and had.
const SCHEMAS: &[&str] = &[
    "lxml==6.0.2 --hash=sha256:de496365750cc472b4e7902a485d3f152ecf57bd3ba03ddd5578ed8ceb4c5964 \
     --hash=sha256:7d2de809c2ee3b888b59f995625385f74629707c9355e0ff856445cdcae682b7 \
     --hash=sha256:c371aa98126a0d4c739ca93ceffa0fd7a5d732e3ac66a46e74339acd4d334564 \
     --hash=sha256:90a345bbeaf9d0587a3aaffb7006aa39ccb6ff0e96a57286c0cb2fd1520ea192 \
     --hash=sha256:eb2a12d704f180a902d7fa778c6d71f36ceb7b0d317f34cdc76a5d05aa1dd1df \
     --hash=sha256:ef9266d2aa545d7374938fb5c484531ef5a2ec7f2d573e62f8ce722c735685fd \
     --hash=sha256:901e3b4219fa04ef766885fb40fa516a71662a4c61b80c94d25336b4934b71c0 \
     --hash=sha256:98a5e1660dc7de2200b00d53fa00bcd3c35a3608c305d45a7bbcaf29fa16e83d",
    "fastjsonschema==2.21.2 --hash=sha256:1c797122d0a86c5cace2e54bf4e819c36223b552017172f32c5c024a6b77e463",
];
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
    command.arg("--target").arg(&directory);
    if list.contains("--hash") {
        // Hashes are taken from a file only.
        let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("python-{name}.txt"));
        std::fs::write(&file, &list).unwrap();
        command.args(["--only-binary", ":all:", "--require-hashes", "--requirement"]);
        command.arg(file);
    } else {
        command.args(wanted);
    }
    let installed = command.status().is_ok_and(|status| status.success());
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
    run(packages("validators", VALIDATORS, true)?, script, input)
}

/// The same with lxml and fastjsonschema.
pub fn judge_by_schema(script: &str, input: &str) -> Option<String> {
    run(packages("schemas", SCHEMAS, false)?, script, input)
}

fn run(directory: PathBuf, script: &str, input: &str) -> Option<String> {
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
