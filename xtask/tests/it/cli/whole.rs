//! From source to image on a server of one line: results, repetition, damage, refusal and runs that are killed.
//!
//! The first run compiles Rust's std where the component cannot be had; the target directory is kept between test runs.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use serde_json::Value;
use xtask::cache::Cache;
use xtask::shell::{Command, Shell};

use crate::require::require_program;

use super::stops::ends_with_all_it_started;
use super::{Workspace, code, fine, refused, snapshot};

const IMAGE: [&str; 3] = ["image", "--platform", "linux/amd64"];
const LAYOUT: &str = "target/images/scratch-amd64";

/// The workspace in which the image of linux/amd64 was made. One test at a time has it; what a test changes is put back.
pub(super) fn built() -> Option<MutexGuard<'static, Workspace>> {
    static WORKSPACE: OnceLock<Mutex<Workspace>> = OnceLock::new();
    if !require_program("python3") {
        return None;
    }
    let lock = WORKSPACE.get_or_init(|| {
        let root = Path::new(env!("CARGO_TARGET_TMPDIR")).join("cli/workspace");
        Mutex::new(Workspace::at(root, None))
    });
    // A test that failed is no reason for the others to.
    let workspace = lock.lock().unwrap_or_else(PoisonError::into_inner);
    // Writes what differs from the original.
    Workspace::at(workspace.root.clone(), None);
    let _ = fs::remove_dir_all(workspace.path("target/images"));
    let _ = fs::remove_dir_all(workspace.path("target/out"));
    fine(&run(&workspace, &IMAGE));
    Some(workspace)
}

/// With the cache that all tests share: the tools are too large to be fetched for one.
pub fn run(workspace: &Workspace, args: &[&str]) -> Command {
    let cache = std::env::var_os("XTASK_CACHE_DIR").map_or_else(|| Cache::default_root().unwrap(), PathBuf::from);
    super::xtask(&workspace.root, args).env("XTASK_CACHE_DIR", cache)
}

fn digest(line: &str) -> &str {
    line.trim_end().split_once('@').unwrap().1
}

#[test]
fn stdout_is_one_line_for_each_destination_and_a_second_run_says_the_same() {
    let Some(workspace) = built() else { return };
    let first = fine(&run(&workspace, &IMAGE));
    assert_eq!(first.lines().count(), 1, "{first}");
    assert!(first.starts_with(&format!("oci:{LAYOUT}@sha256:")), "{first}");
    let before = snapshot(&workspace.path("target/images"));
    let again = run(&workspace, &[&IMAGE[..], &["--offline", "--quiet"]].concat())
        .output()
        .unwrap();
    assert_eq!((again.text(), again.error_text()), (first.clone(), String::new()));
    let content = |paths: &[String]| {
        paths
            .iter()
            .filter(|line| line.contains("/blobs/sha256/"))
            .cloned()
            .collect::<Vec<_>>()
    };
    assert_eq!(
        content(&snapshot(&workspace.path("target/images"))),
        content(&before),
        "blobs are not written twice"
    );

    let both = [
        "--to",
        "oci:target/out/layout",
        "--to",
        "docker-archive:target/out/blog.tar",
        "--to",
        "oci:target/out/layout",
    ];
    let text = fine(&run(&workspace, &[&IMAGE[..], &both].concat()));
    let mut lines: Vec<&str> = text.lines().collect();
    lines.sort();
    assert_eq!(lines.len(), 2, "{text}");
    assert!(lines.iter().all(|line| digest(line) == digest(&first)), "{text}");
    assert!(
        lines[0].starts_with("docker-archive:target/out/blog.tar@") && lines[1].starts_with("oci:target/out/layout@")
    );
    assert!(workspace.path("target/out/blog.tar").is_file());

    let json: Value = serde_json::from_str(&fine(&run(&workspace, &[&IMAGE[..], &["--json"]].concat()))).unwrap();
    assert_eq!(json[0]["digest"], digest(&first));
    assert_eq!(json[0]["references"], serde_json::json!([first.trim_end()]));
    assert_eq!(json[0]["platform"], "linux/amd64");
    // Relative destinations are relative to where the user stands, the default one is not.
    let inside =
        run(&workspace, &[&IMAGE[..], &["--to", "oci:../target/out/here"]].concat()).current_dir(workspace.path("app"));
    assert_eq!(digest(&fine(&inside)), digest(&first));
    assert!(workspace.path("target/out/here/index.json").is_file());
    let inside = run(&workspace, &IMAGE).current_dir(workspace.path("app"));
    assert_eq!(fine(&inside), first);
    let sized = run(&workspace, &["size", first.split('@').next().unwrap()]).current_dir(workspace.path("app"));
    assert!(fine(&sized).contains("scratch-amd64"));
}

#[test]
fn a_damaged_blob_is_named_and_the_next_image_mends_it() {
    let Some(workspace) = built() else { return };
    let blobs = workspace.path(LAYOUT).join("blobs/sha256");
    let mut damaged = 0;
    for entry in fs::read_dir(&blobs).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        let whole = fs::read(&path).unwrap();
        let mut bytes = whole.clone();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        fs::write(&path, &bytes).unwrap();
        for args in [
            &["size"][..],
            &["audit"],
            &["size", "--json"],
            &["audit", &format!("oci:{LAYOUT}")],
        ] {
            let message = refused(&run(&workspace, args));
            assert!(message.contains(&name) && message.contains("damaged"), "{message}");
        }
        fine(&run(&workspace, &[&IMAGE[..], &["--offline"]].concat()));
        assert_eq!(fs::read(&path).unwrap(), whole);
        damaged += 1;
    }
    assert_eq!(damaged, 3, "manifest, configuration, one layer");
    fs::remove_file(blobs.read_dir().unwrap().next().unwrap().unwrap().path()).unwrap();
    assert!(refused(&run(&workspace, &["size"])).contains("does not exist"));
    fine(&run(&workspace, &[&IMAGE[..], &["--offline"]].concat()));
    fine(&run(&workspace, &["size"]));
    assert!(fine(&run(&workspace, &["audit"])).contains("scratch-amd64/usr/local/bin/blog"));
}

#[test]
fn what_the_audit_refuses_is_not_written() {
    let Some(workspace) = built() else { return };
    let before = snapshot(&workspace.path("target/images"));
    let waiver = "[[audit.waivers]]\ntriple = \"x86_64-unknown-linux-musl\"\nrule = \"elf.machine\"\nfound = \"a toaster\"\n\
                  reason = \"the test\"\n\n[budget]";
    workspace.edit("xtask.toml", "[budget]", waiver);
    let output = run(&workspace, &IMAGE).output().unwrap();
    let text = output.error_text();
    assert_eq!((code(&output), output.text().as_str()), (1, ""), "{text}");
    assert!(text.contains("elf.machine = a toaster does not occur"), "{text}");
    assert!(
        text.contains("warning: blog:scratch-amd64: blog is not for linux/amd64; no image was written"),
        "{text}"
    );
    let elsewhere = run(
        &workspace,
        &[&IMAGE[..], &["--to", "oci:target/out/none", "--json"]].concat(),
    )
    .output()
    .unwrap();
    assert_eq!((code(&elsewhere), elsewhere.text().as_str()), (1, ""));
    assert!(!workspace.path("target/out/none").exists());
    assert_eq!(
        snapshot(&workspace.path("target/images")),
        before,
        "the old image stays as it was"
    );
    let audit = run(&workspace, &["audit"]).output().unwrap();
    assert_eq!(
        code(&audit),
        1,
        "the image is held against the same policy: {}",
        audit.text()
    );
}

#[test]
fn an_image_over_its_budget_is_a_finding_and_does_not_compile_is_an_error() {
    let Some(workspace) = built() else { return };
    fine(&run(&workspace, &["size"]));
    workspace.set_budget("1_000");
    let output = run(&workspace, &["size"]).output().unwrap();
    assert_eq!(code(&output), 1, "{}", output.text());
    let warning = output.error_text();
    assert!(
        warning.contains("warning: scratch-amd64 is ")
            && warning.contains(" over its budget of 1.0 kB (xtask.toml, [budget])"),
        "{warning}"
    );
    let json: Value = serde_json::from_str(&run(&workspace, &["size", "--json"]).output().unwrap().text()).unwrap();
    assert_eq!(json["images"][0]["budget"], 1000);

    let before = snapshot(&workspace.path("target/images"));
    workspace.edit("app/src/main.rs", "println!", "no_such_macro!");
    let message = refused(&run(&workspace, &IMAGE));
    assert!(message.contains("cannot find macro `no_such_macro`"), "{message}");
    assert!(
        message.contains("error: cargo could not compile blog for x86_64-unknown-linux-musl\nhint: "),
        "{message}"
    );
    assert_eq!(snapshot(&workspace.path("target/images")), before);
}

/// Killed at moments from the start to the end; the layout is right or not there, and the next run needs no cleaning.
#[test]
fn a_killed_run_leaves_nothing_that_the_next_would_trust() {
    let Some(workspace) = built() else { return };
    let layout = workspace.path(LAYOUT);
    let start = std::time::Instant::now();
    let before = fine(&run(&workspace, &IMAGE));
    let whole = start.elapsed();
    const MOMENTS: u32 = 12;
    for moment in 0..MOMENTS {
        // In the second half it must also compile.
        if moment == MOMENTS / 2 {
            workspace.edit("app/src/main.rs", "ok", "well");
        }
        if moment % 2 == 0 {
            let _ = fs::remove_dir_all(&layout);
        }
        let mut killed = run(&workspace, &IMAGE).spawn(Stdio::null(), Stdio::null()).unwrap();
        std::thread::sleep(Duration::from_millis(10) + whole * (moment % 6 * 2 + 1) / 11);
        killed.signal(rustix::process::Signal::KILL).unwrap();
        killed.wait().unwrap();
        if layout.join("index.json").exists() {
            fine(&run(&workspace, &["size"]));
        }
    }
    let after = fine(&run(&workspace, &IMAGE));
    let unfinished = layout.join("blobs/sha256/.tmpKilled");
    fs::write(&unfinished, "half a bl").unwrap();
    assert_eq!(fine(&run(&workspace, &IMAGE)), after);
    assert!(!unfinished.exists());
    assert_ne!(digest(&before), digest(&after), "the source has changed");
    let fresh = fine(&run(
        &workspace,
        &[&IMAGE[..], &["--to", "oci:target/out/fresh"]].concat(),
    ));
    assert_eq!(digest(&fresh), digest(&after));
    fine(&run(&workspace, &["size"]));
    let list = |dir: &Path| {
        let shell = Shell::default();
        shell
            .command("find")
            .args([".", "-type", "f", "!", "-name", ".tmp*"])
            .current_dir(dir)
            .read()
            .unwrap()
    };
    let found = list(&layout);
    assert!(
        list(&workspace.path("target/out/fresh"))
            .lines()
            .all(|file| found.contains(file)),
        "{found}"
    );
}

#[test]
fn a_signal_ends_the_compilers_too() {
    let Some(workspace) = built() else { return };
    ends_with_all_it_started(&workspace.path("target/stops"), || run(&workspace, &IMAGE));
}
