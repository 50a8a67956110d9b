//! The program dies at every write step, and the disk forgets what was not synced: nothing that was acknowledged is lost,
//! nothing is there by half. `fixtures/fault.c` is preloaded into the real program and counts its steps. What is left is
//! looked at by the test itself, which is quicker than another start of the program.

mod backup;
mod import;
mod server;

use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use blog::media::store::parse_name;
use blog::media::{Limits, Store};
use diesel::prelude::*;
use diesel::sqlite::SqliteConnection;

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

/// As in `fault.c`.
const CONTROL_SIZE: usize = 65536;

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
        let mut words = [0, step, salt].map(u64::to_ne_bytes).concat();
        words.resize(CONTROL_SIZE, 0);
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

    /// What each step was, by its letter: write, truncate, sync, name, exit.
    pub fn letters(&self) -> Vec<u8> {
        let bytes = std::fs::read(&self.control).unwrap();
        let letters = bytes[24..].iter().copied();
        letters.take_while(|letter| *letter != 0).collect()
    }

    /// Runs a command of the program to its end, or to its death. True: it died.
    pub fn run(&self, words: &[&str]) -> (bool, Output) {
        let mut command = self.program();
        command.args(words).current_dir(&self.directory);
        let output = command.stdin(std::process::Stdio::null()).output().unwrap();
        let died = output.status.signal() == Some(9);
        assert!(died || output.status.success(), "{words:?}: {output:?}");
        self.after();
        (died, output)
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

/// Every disk there is.
pub const DISKS: [Disk; 5] = [Disk::Keeps, Disk::Loses, Disk::Mixes(1), Disk::Mixes(2), Disk::Mixes(3)];

/// The points of a run that takes these steps: all that change a name or a size or promise something, on every disk, and
/// of the plain writes one in `stride`, each time on another disk.
pub fn choose(letters: &[u8], stride: usize) -> Vec<(Disk, u64)> {
    let mut points = Vec::new();
    let mut writes = 0;
    for (n, letter) in letters.iter().enumerate() {
        for disk in DISKS {
            writes += usize::from(*letter == b'w');
            if *letter != b'w' || writes % stride == 0 {
                points.push((disk, n as u64 + 1));
            }
        }
    }
    points
}

/// Tries points, by as many threads as there are cores. Answers with how many of them the program came to.
pub fn try_all(points: &[(Disk, u64)], point: impl Fn(Disk, u64) -> bool + Sync) -> u64 {
    let (next, died) = (AtomicUsize::new(0), AtomicU64::new(0));
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(4);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let Some((disk, step)) = points.get(next.fetch_add(1, Ordering::Relaxed)) {
                    died.fetch_add(u64::from(point(*disk, *step)), Ordering::Relaxed);
                }
            });
        }
    });
    died.into_inner()
}

/// A database that is whole, as this process finds it.
pub struct Found {
    database: PathBuf,
    connection: SqliteConnection,
}

impl Found {
    pub fn open(database: &Path) -> Self {
        let connection = SqliteConnection::establish(database.to_str().unwrap()).unwrap();
        let mut found = Self {
            database: database.to_owned(),
            connection,
        };
        assert_eq!(
            found.text("SELECT integrity_check AS value FROM pragma_integrity_check"),
            "ok"
        );
        assert_eq!(
            found.text("SELECT \"table\" AS value FROM pragma_foreign_key_check"),
            ""
        );
        found
    }

    /// The column `value` of all rows, with bars between them.
    pub fn text(&mut self, query: &str) -> String {
        #[derive(QueryableByName)]
        struct Row {
            #[diesel(sql_type = diesel::sql_types::Text)]
            value: String,
        }
        let query = format!("SELECT CAST(coalesce(group_concat(value, '|'), '') AS TEXT) AS value FROM ({query})");
        let row = diesel::sql_query(query).get_result::<Row>(&mut self.connection);
        row.unwrap().value
    }

    pub fn number(&mut self, query: &str) -> u64 {
        self.text(query).parse().unwrap()
    }

    /// No row without its file, whole and right, in the directory beside the database.
    pub fn has_its_images(&mut self) {
        let store = Store::open(&Store::beside(self.database.to_str().unwrap()), Limits::default()).unwrap();
        let names =
            "SELECT lower(hex(sha256)) || CASE mime WHEN 'image/png' THEN '.png' ELSE '.jpg' END AS value FROM media";
        for name in self.text(names).split('|').filter(|name| !name.is_empty()) {
            let (hash, format) = parse_name(name).unwrap();
            assert_eq!(store.verify(&hash, format).unwrap(), Some(true), "{name}");
        }
    }
}

/// Nothing but images is in the directory for them.
pub fn nothing_is_left_over(media: &Path) {
    let entries = std::fs::read_dir(media).unwrap();
    let left: Vec<_> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| parse_name(name).is_none())
        .collect();
    assert!(left.is_empty(), "{left:?}");
}

/// Says where it happened when `check` fails.
pub fn at<T>(disk: Disk, step: u64, when: &str, check: impl FnOnce() -> T) -> T {
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(check))
        .unwrap_or_else(|_| panic!("{disk:?}, step {step}, {when}"))
}
