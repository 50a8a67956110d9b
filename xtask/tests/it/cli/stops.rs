//! A signal that ends the program ends what it started for its work: cargo, and the compilers below it.

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use xtask::shell::Command;

use super::{Workspace, script};

/// A stand-in for cargo: it starts a compiler, says the ids of both, and does not end by itself.
const CARGO: &str = "#!/bin/sh\necho $$ >>\"$IDS\"\nsh -c 'echo $$ >>\"$IDS\"; exec sleep 600'\nexit 1\n";

fn until<T>(what: &str, mut found: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + Duration::from_secs(60);
    loop {
        if let Some(found) = found() {
            return found;
        }
        assert!(Instant::now() < end, "{what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Whether a process runs. One that ended, and that nobody has asked about yet, does not.
fn runs(id: &str) -> bool {
    let status = fs::read_to_string(format!("/proc/{id}/status")).unwrap_or_default();
    status
        .lines()
        .any(|line| line.starts_with("State:") && !line.contains('Z'))
}

/// `cargo xtask` that takes signals as they are: whoever started this test may have chosen to ignore some of them, as `nohup` and
/// shells without job control do.
pub fn that_ignores_nothing(dir: &Path) -> PathBuf {
    let start = dir.join("start");
    let program = env!("CARGO_BIN_EXE_xtask");
    let text = format!("#!/bin/sh\nexec env --default-signal=HUP,INT,TERM '{program}' \"$@\"\n");
    script(&start, &text);
    start
}

/// Runs a command that calls cargo, which a stand-in is found for as CARGO and in PATH, and ends it with each signal.
#[track_caller]
pub fn ends_with_all_it_started(dir: &Path, command: impl Fn() -> Command) {
    let (cargo, ids) = (dir.join("bin/cargo"), dir.join("ids"));
    script(&cargo, CARGO);
    let path = std::env::var("PATH").unwrap_or_default();
    let start = that_ignores_nothing(dir);
    for signal in [Signal::TERM, Signal::INT, Signal::HUP] {
        let _ = fs::remove_file(&ids);
        let mut running = command()
            .with_program(&start)
            .env("CARGO", &cargo)
            .env("PATH", format!("{}:{path}", cargo.parent().unwrap().display()))
            .env("IDS", &ids)
            .spawn(Stdio::null(), Stdio::piped())
            .unwrap();
        let started: Vec<String> = until("cargo was not called", || {
            let text = fs::read_to_string(&ids).unwrap_or_default();
            let found: Vec<String> = text.split_whitespace().map(str::to_owned).collect();
            let ended = running.try_wait().unwrap();
            assert!(ended.is_none() || found.len() == 2, "it ended before: {ended:?}");
            (found.len() == 2 && text.ends_with('\n')).then_some(found)
        });
        assert!(started.iter().all(|id| runs(id)), "{started:?}");
        running.signal(signal).unwrap();
        assert_eq!(running.wait().unwrap().signal(), Some(signal.as_raw()));
        until("cargo or the compiler still runs", || {
            started.iter().all(|id| !runs(id)).then_some(())
        });
    }
}

#[test]
fn a_test_run() {
    let workspace = Workspace::new();
    ends_with_all_it_started(&workspace.path(".."), || workspace.xtask(&["test", "--only", "fmt"]));
}
