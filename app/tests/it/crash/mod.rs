//! The program dies at every single write step, and the disk forgets what was not synced: nothing that was acknowledged
//! is lost, nothing is there by half. `fixtures/fault.c` is preloaded into the real program and counts its steps.

mod server;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use crate::app::program;
use crate::require::{require, works};

/// What the disk does when the program dies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Disk {
    /// It keeps what was written: `kill -9`.
    Keeps,
    /// It loses everything that was not synced: a power cut, at its worst.
    Loses,
    /// It loses some of it, and writes some by half. The number makes it another some.
    Mixes(u64),
}

/// The preloaded library, compiled once. `None`: there is no C compiler.
fn library() -> Option<&'static Path> {
    static LIBRARY: OnceLock<Option<PathBuf>> = OnceLock::new();
    LIBRARY
        .get_or_init(|| {
            if !require("a C compiler (cc)", works("cc", &["--version"])) {
                return None;
            }
            let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/fault.c");
            let library = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("fault-{}.so", std::process::id()));
            let run = Command::new("cc")
                .args([
                    "-std=gnu11",
                    "-O1",
                    "-Wall",
                    "-Wextra",
                    "-Werror",
                    "-fPIC",
                    "-shared",
                    "-o",
                ])
                .args([&library, Path::new(source)])
                .output()
                .unwrap();
            assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
            Some(library)
        })
        .as_deref()
}

/// One run of the program that ends at a step of its own.
pub struct Fault {
    /// Where the program works; only what happens there counts.
    pub directory: PathBuf,
    control: PathBuf,
    disk: Disk,
}

impl Fault {
    /// For a program that works in `directory`; what the fault needs itself lies in `beside`.
    pub fn new(directory: &Path, beside: &Path, disk: Disk, step: u64) -> Option<Self> {
        library()?;
        let control = beside.join("control");
        let salt = if let Disk::Mixes(salt) = disk { salt } else { 0 };
        let words = [0, step, salt].map(u64::to_ne_bytes).concat();
        std::fs::write(&control, words).unwrap();
        std::fs::create_dir_all(beside.join("stash")).unwrap();
        let directory = directory.canonicalize().unwrap();
        Some(Self {
            directory,
            control,
            disk,
        })
    }

    /// The program with the fault in it.
    pub fn program(&self) -> Command {
        let mut command = program();
        let mode = match self.disk {
            Disk::Keeps => "kill",
            Disk::Loses => "lost",
            Disk::Mixes(_) => "mixed",
        };
        command
            .env("LD_PRELOAD", library().unwrap())
            .env("FAULT_DIR", &self.directory)
            .env("FAULT_CONTROL", &self.control)
            .env("FAULT_STASH", self.control.with_file_name("stash"))
            .env("FAULT_MODE", mode);
        command
    }

    /// Steps that the program has made so far.
    pub fn steps(&self) -> u64 {
        let words = std::fs::read(&self.control).unwrap();
        u64::from_ne_bytes(words[..8].try_into().unwrap())
    }

    /// After the program has died: what lies in memory alone is gone, too, when the power went.
    pub fn after(&self) {
        if self.disk == Disk::Keeps {
            return;
        }
        for entry in std::fs::read_dir(&self.directory).unwrap() {
            let path = entry.unwrap().path();
            if path.to_string_lossy().ends_with("-shm") {
                std::fs::remove_file(path).unwrap();
            }
        }
    }
}

/// Copies a directory with everything in it.
pub fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}
