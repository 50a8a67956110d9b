//! One builder from nothing to nothing: made, used again, after an edit, stopped on the way, over TCP, removed.

use std::fs;
use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::Value;
use xtask::engine::{Connection, Endpoint};
use xtask::shell::Shell;

use super::super::stops::that_ignores_nothing;
use super::super::{Workspace, code};
use super::{IMAGE, NAME, built, fine, has_engine, run, workspace};
use crate::engine::{certificates, local_ssh, port};

pub(super) fn status(workspace: &Workspace) -> Value {
    let output = run(workspace, &["builder", "status", "--json"]).output().unwrap();
    fine(&output);
    serde_json::from_str(&output.text()).unwrap()
}

pub(super) fn compiling(workspace: &Workspace) -> usize {
    status(workspace)["containers"].as_array().unwrap().len()
}

/// Waits for something that takes as long as the machine needs.
#[track_caller]
pub(super) fn until(what: &str, mut done: impl FnMut() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(
            start.elapsed() < Duration::from_secs(300),
            "not within five minutes: {what}"
        );
        std::thread::sleep(Duration::from_millis(300));
    }
}

/// What a program of the last image prints when it runs here.
fn says(workspace: &Workspace) -> String {
    let program = workspace.path("target/builder/x86_64-unknown-linux-musl/blog");
    Shell::default().command(program).read().unwrap()
}

/// One test, because its parts share one builder image and its caches, and are about what one leaves to the next.
#[test]
fn a_builder_from_nothing_to_nothing() {
    if !has_engine() {
        return;
    }
    let workspace = workspace(NAME);
    let image = || run(&workspace, &IMAGE).output().unwrap();
    // Of a run that was killed.
    fine(&run(&workspace, &["builder", "prune", "--all"]).output().unwrap());
    built(&workspace);

    // A program is made with it.
    let first = image();
    fine(&first);
    let log = first.error_text();
    assert!(log.contains("Compiling blog v1.2.3"), "{log}");
    assert_eq!(says(&workspace), "ok");
    let found = status(&workspace);
    assert_eq!(found["ready"], true, "{found}");
    assert_eq!(found["caches"].as_array().unwrap().len(), 3, "{found}");
    assert_eq!(found["containers"].as_array().unwrap().len(), 0, "{found}");
    let told = run(&workspace, &["builder", "status"]).output().unwrap().text();
    let lines = [
        format!("builder    {} (there)", found["image"].as_str().unwrap()),
        format!("cache      {NAME}-builder-cargo"),
        format!("cache      {NAME}-builder-target"),
        format!("cache      {NAME}-builder-zig"),
    ];
    assert!(lines.iter().all(|line| told.lines().any(|told| told == line)), "{told}");

    // Again: nothing is compiled, and the image is the same.
    let again = image();
    fine(&again);
    assert_eq!(again.text(), first.text());
    assert!(!again.error_text().contains("Compiling"), "{}", again.error_text());

    // Without what the last run left here, cargo is asked, and finds everything done.
    fs::remove_dir_all(workspace.path("target/builder")).unwrap();
    let fresh = image();
    fine(&fresh);
    assert_eq!(fresh.text(), first.text());
    assert!(
        !fresh.error_text().contains("Compiling blog v"),
        "{}",
        fresh.error_text()
    );

    // A line is edited: that crate is compiled, whatever time the file says it is from.
    workspace.edit("app/src/main.rs", "\"ok\"", "\"edited\"");
    let source = fs::File::options()
        .write(true)
        .open(workspace.path("app/src/main.rs"))
        .unwrap();
    source
        .set_modified(std::time::SystemTime::UNIX_EPOCH + Duration::from_secs(1))
        .unwrap();
    let edited = image();
    fine(&edited);
    let log = edited.error_text();
    assert_eq!(log.matches("   Compiling ").count(), 2, "ours and cargo's: {log}");
    assert_eq!(says(&workspace), "edited");

    // What cargo complains about arrives, and says where.
    workspace.edit("app/src/main.rs", "println!", "printn!");
    let output = image();
    assert_eq!(code(&output), 2);
    let log = output.error_text();
    assert!(
        log.contains("app/src/main.rs:3") && log.contains("could not compile blog"),
        "{log}"
    );
    assert_eq!(compiling(&workspace), 0, "nothing is left");
    workspace.edit("app/src/main.rs", "printn!", "println!");

    stopped_on_the_way(&workspace);
    from_afar(&workspace);

    // And nothing is left.
    fine(&run(&workspace, &["builder", "prune", "--all"]).output().unwrap());
    let found = status(&workspace);
    assert_eq!(found["ready"], false, "{found}");
    assert_eq!(
        (
            found["caches"].as_array().unwrap().len(),
            found["images"].as_array().unwrap().len()
        ),
        (0, 0),
        "{found}"
    );
}

/// Ctrl-C, and death without a chance to clean up: the container ends, and the next run is right.
fn stopped_on_the_way(workspace: &Workspace) {
    workspace.write(
        "app/build.rs",
        "fn main() {\n    std::thread::sleep(std::time::Duration::from_secs(600));\n}\n",
    );
    let dir = tempfile::tempdir().unwrap();
    let start = that_ignores_nothing(dir.path());
    for signal in [rustix::process::Signal::INT, rustix::process::Signal::KILL] {
        let mut running = run(workspace, &IMAGE)
            .with_program(&start)
            .spawn(Stdio::null(), Stdio::null())
            .unwrap();
        until("a container that compiles", || compiling(workspace) == 1);
        running.signal(signal).unwrap();
        let status = running.wait().unwrap();
        if signal == rustix::process::Signal::INT {
            assert_eq!(status.code(), Some(2), "an error, not a death");
            assert_eq!(compiling(workspace), 0, "gone when we are");
        }
        until("its end", || compiling(workspace) == 0);
    }
    fs::remove_file(workspace.path("app/build.rs")).unwrap();
    workspace.edit("app/src/main.rs", "edited", "right");
    fine(&run(workspace, &IMAGE).output().unwrap());
    assert_eq!(says(workspace), "right");
}

/// An engine that is somewhere else: nothing of the workspace is visible there, and it does not matter.
fn from_afar(workspace: &Workspace) {
    let Endpoint::Unix(socket) = Connection::from_environment().unwrap().endpoint().clone() else {
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    let at = |port: u16| format!("tcp://127.0.0.1:{port}");
    let open = at(port(&socket, None));
    let secured = at(port(&socket, Some(certificates(dir.path(), "127.0.0.1"))));
    local_ssh(dir.path(), &socket);
    let path = std::env::var("PATH").unwrap();
    let ways = [
        (open.as_str(), vec![]),
        (
            &secured,
            vec![
                ("DOCKER_TLS_VERIFY", "1".to_owned()),
                ("DOCKER_CERT_PATH", dir.path().display().to_string()),
            ],
        ),
        (
            "ssh://me@drawer",
            vec![("PATH", format!("{}:{path}", dir.path().display()))],
        ),
    ];
    let mut said = "right".to_owned();
    for (host, variables) in ways {
        let there = |args: &[&str]| {
            let command = run(workspace, args).env("DOCKER_HOST", host);
            let set = |command: xtask::shell::Command, (name, value): &(&str, String)| command.env(name, value);
            let output = variables.iter().fold(command, set).output().unwrap();
            fine(&output);
            output.error_text()
        };
        workspace.edit("app/src/main.rs", &said, host);
        host.clone_into(&mut said);
        let log = there(&IMAGE);
        assert!(log.contains(&format!("at {host}\n")), "{log}");
        assert_eq!(says(workspace), host);
        // BuildKit's session goes the same way.
        there(&["builder", "build", "--force"]);
    }
}
