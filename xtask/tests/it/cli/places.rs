//! Destinations that cannot work are refused before the minutes that compiling takes; and what the environment may lack.

use std::fs;

use super::{Workspace, fine, refused, snapshot};

/// The message; and nothing was fetched, compiled or changed.
#[track_caller]
fn refused_at_once(workspace: &Workspace, args: &[&str]) -> String {
    let before = snapshot(&workspace.root);
    let message = workspace.refused(args);
    assert_eq!(snapshot(&workspace.root), before);
    assert!(!workspace.path("../cache").exists());
    message
}

#[test]
fn places_that_hold_something_else_are_left_alone() {
    let workspace = Workspace::new();
    let to = |destination: &str| refused_at_once(&workspace, &["image", "--to", destination]);
    insta::assert_snapshot!(to("oci:Cargo.toml"), @r"
    error: Cargo.toml is a file, not a directory
    hint: choose another path, or docker-archive:PATH for a single file
    ");
    insta::assert_snapshot!(to("oci:Cargo.toml/images"), @r"
    error: cannot look at Cargo.toml/images: Not a directory (os error 20)
    hint: choose another path
    ");
    insta::assert_snapshot!(to("oci:app"), @r"
    error: app exists and is not an OCI image layout
    hint: choose a new or empty directory; nothing in it was changed
    ");
    insta::assert_snapshot!(to("docker-archive:app"), @r"
    error: app is a directory, and an archive is a file
    hint: name a file, or write a directory with oci:PATH
    ");
    insta::assert_snapshot!(to("docker-archive:Cargo.toml"), @r"
    error: Cargo.toml exists and is not an image archive
    hint: choose another path, or delete the file; it was not changed
    ");
    insta::assert_snapshot!(to("docker-archive:Cargo.toml/blog.tar"), @r"
    error: cannot look at Cargo.toml/blog.tar: Not a directory (os error 20)
    hint: choose another path
    ");
}

/// Nobody, not even root, makes files in /sys.
#[test]
fn places_that_cannot_be_written_are_said_at_once() {
    let workspace = Workspace::new();
    for destination in ["oci:/sys/images/blog", "docker-archive:/sys/blog.tar"] {
        let message = refused_at_once(&workspace, &["image", "--to", destination]);
        assert!(message.starts_with("error: cannot write in /sys: "), "{message}");
        assert!(
            message.ends_with("hint: choose a path where you may write\n"),
            "{message}"
        );
    }
}

#[test]
fn a_daemon_that_does_not_answer_is_said_at_once() {
    let workspace = Workspace::new();
    for to in [&["image", "--load"][..], &["image", "--to", "docker-daemon:blog"]] {
        let command = workspace.xtask(to).env("DOCKER_HOST", "unix:///nonexistent.sock");
        insta::allow_duplicates! {
            insta::assert_snapshot!(refused(&command), @r"
            error: no Docker engine answers at /nonexistent.sock (DOCKER_HOST): No such file or directory (os error 2)
            hint: is the engine started? `sudo systemctl start docker`; another is named with DOCKER_HOST=unix:///PATH, tcp://HOST:PORT or ssh://USER@HOST
            ");
        }
        let command = workspace.xtask(to).env("DOCKER_HOST", "tcp://127.0.0.1:1");
        assert!(refused(&command).contains("hint: is that host up, and does its engine listen there?"));
    }
    assert!(!workspace.path("target").exists() && !workspace.path("../cache").exists());
}

#[test]
fn a_dry_run_touches_nothing_and_says_the_same_in_words_and_json() {
    let workspace = Workspace::new();
    let before = snapshot(&workspace.root);
    let args = [
        "image",
        "--dry-run",
        "--base",
        "debian",
        "--base",
        "scratch",
        "--to",
        "oci:out",
        "--to",
        "oci:out",
    ];
    insta::assert_snapshot!(words_of(&fine(&workspace.xtask(&args))), @r"
    source   blog 1.2.3 (no revision), SOURCE_DATE_EPOCH=0
    compile  blog --bin blog for arm-unknown-linux-gnueabi on the host
    compile  blog --bin blog for arm-unknown-linux-musleabihf on the host
    audit    arm-unknown-linux-gnueabi/blog
    audit    arm-unknown-linux-musleabihf/blog
    assemble blog:scratch-armv6 for linux/arm/v6 on scratch
    publish  blog:scratch-armv6 to oci:out
    assemble blog:debian-armv6 for linux/arm/v6 on debian
    publish  blog:debian-armv6 to oci:out
    ");
    let json: serde_json::Value =
        serde_json::from_str(&fine(&workspace.xtask(&[&args[..], &["--json"]].concat()))).unwrap();
    assert_eq!(json["images"][1]["name"], "blog:debian-armv6");
    assert_eq!(json["images"][0]["destinations"], serde_json::json!(["oci:out"]));
    assert_eq!(snapshot(&workspace.root), before);
    assert!(!workspace.path("../cache").exists());
}

/// Without where std comes from: that depends on the machine.
fn words_of(plan: &str) -> String {
    let words = plan.lines().map(|line| line.split(" (std:").next().unwrap_or_default());
    words.collect::<Vec<_>>().join("\n")
}

#[test]
fn git_and_home_may_be_missing() {
    let workspace = Workspace::new();
    let bin = workspace.path("../bin");
    fs::create_dir(&bin).unwrap();
    let which = |name| xtask::shell::Shell::default().which(name).unwrap();
    for name in ["rustc", "cargo"] {
        std::os::unix::fs::symlink(which(name), bin.join(name)).unwrap();
    }
    let dry = || workspace.xtask(&["image", "--dry-run"]);
    let plan = fine(&dry().env("PATH", &bin));
    assert!(
        plan.starts_with("source   blog 1.2.3 (no revision), SOURCE_DATE_EPOCH=0\n"),
        "{plan}"
    );
    // A clone whose commit cannot be told is worth a word: the image is another than its neighbour's.
    fs::create_dir(workspace.path(".git")).unwrap();
    let output = dry().env("PATH", &bin).output().unwrap();
    assert!(
        output
            .error_text()
            .contains("warning: git does not tell the commit of this clone"),
        "{}",
        output.error_text()
    );
    let nothing = dry().env("PATH", workspace.path("../nothing"));
    insta::assert_snapshot!(refused(&nothing), @r"
    warning: git does not tell the commit of this clone, so the image names none: is git installed, and the clone yours?
    error: cannot start `rustc --print sysroot`: No such file or directory (os error 2)
    hint: is `rustc` installed and in PATH?
    ");
    // The password file knows where home is; neither it nor XDG_CACHE_HOME need be right for a dry run.
    fine(
        &dry()
            .env_remove("HOME")
            .env_remove("XDG_CACHE_HOME")
            .env_remove("XTASK_CACHE_DIR"),
    );
    let elsewhere = workspace.xtask(&["doctor", "--json"]).env_remove("XTASK_CACHE_DIR");
    let output = elsewhere
        .env("XDG_CACHE_HOME", workspace.path("../xdg"))
        .output()
        .unwrap();
    assert!(output.text().contains("xdg/raspi-image"), "{}", output.text());
    assert!(!workspace.path("../xdg").exists());
}

#[test]
fn a_result_that_is_lost_is_an_error() {
    let workspace = Workspace::new();
    let sh = |redirect: &str| {
        let line = format!("\"$0\" image --dry-run {redirect}");
        let shell = xtask::shell::Shell::default();
        let command = shell.command("sh").args(["-c", &line, env!("CARGO_BIN_EXE_xtask")]);
        command.current_dir(&workspace.root).output().unwrap()
    };
    let full = sh(">/dev/full");
    assert_eq!(full.status.code(), Some(2));
    assert!(
        full.error_text()
            .contains("error: cannot write the result to stdout: No space left"),
        "{}",
        full.error_text()
    );
    // A reader that has seen enough is none.
    let closed = sh("| true");
    assert_eq!((closed.status.code(), closed.error_text().as_str()), (Some(0), ""));
}
