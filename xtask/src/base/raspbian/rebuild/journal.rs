//! Work in phases: what a killed run had finished is not done again, what it had only begun is begun anew.
//!
//! A work directory has `done/NAME` for each finished phase, `log/NAME.log` for what its commands printed, and `lock`. A phase
//! counts as finished only if all before it do. The lock is handed to every command that is started here, so that what a
//! killed run leaves running keeps the next run out until it has ended.

use std::fs::{self, File, TryLockError};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use indicatif::ProgressBar;
use rustix::io::FdFlags;

use crate::cache::{full_disk, write_atomically};
use crate::cx::Cx;
use crate::error::{Context, Error, Result};
use crate::shell::Command;
use crate::ui::Ui;

/// How often a running command is looked at.
const PAUSE: Duration = Duration::from_millis(150);
/// How often progress is told where there is no terminal to show it.
const TOLD: Duration = Duration::from_secs(60);
/// Lines of the log that an error shows.
const TAIL: usize = 12;
/// Bytes of the log from which they are taken.
const TAIL_BYTES: u64 = 8 << 10;

/// A directory in which one run works at a time.
#[derive(Debug)]
pub struct Work {
    dir: PathBuf,
    _lock: File,
}

/// What a phase does.
pub type Step<'a> = dyn Fn(&mut Stage<'_>) -> Result<()> + 'a;

/// One step of the work.
pub struct Phase<'a> {
    /// Name of its stamp and its log: `libgcc`.
    pub name: &'static str,
    /// What people read: `Compiling`, `libgcc 12.2.0`.
    pub verb: &'static str,
    /// See `verb`.
    pub what: String,
    /// Lines that its commands print, about; for the percentage.
    pub lines: u64,
    /// The work; it starts from what a killed run may have left of this very phase.
    pub run: Box<Step<'a>>,
}

impl std::fmt::Debug for Phase<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Phase")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// What a phase runs its commands with.
#[derive(Debug)]
pub struct Stage<'a> {
    log: File,
    log_path: PathBuf,
    ui: &'a Ui,
    bar: &'a ProgressBar,
    verb: &'static str,
    label: String,
    lines: u64,
    seen: u64,
    told: Instant,
}

impl Work {
    /// Opens the directory, makes it if need be, and waits until nobody else works in it.
    pub fn open(cx: &Cx, dir: &Path) -> Result<Work> {
        for name in ["done", "log"] {
            fs::create_dir_all(dir.join(name)).map_err(|error| full_disk(error, dir))?;
        }
        let path = dir.join("lock");
        let lock = File::create(&path).context(|| format!("cannot create {}", path.display()))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                cx.ui.note(&format!(
                    "another run, or what a killed one left running, works in {}: waiting for it",
                    dir.display()
                ));
                lock.lock().context(|| format!("cannot lock {}", path.display()))?;
            }
            Err(TryLockError::Error(error)) => {
                return Err(Error::from(error).context(format!("cannot lock {}", path.display())));
            }
        }
        // Without FD_CLOEXEC, commands inherit it, and flock(2) holds until the last of them has closed it.
        rustix::io::fcntl_setfd(&lock, FdFlags::empty()).context(|| format!("cannot keep {} open", path.display()))?;
        Ok(Work {
            dir: dir.to_owned(),
            _lock: lock,
        })
    }

    /// The directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Whether an earlier run has finished anything.
    pub fn begun(&self) -> bool {
        fs::read_dir(self.dir.join("done")).is_ok_and(|mut done| done.next().is_some())
    }

    fn stamp(&self, phase: &Phase<'_>) -> PathBuf {
        self.dir.join("done").join(phase.name)
    }

    /// Does what is not done yet, in order.
    pub fn run(&self, cx: &Cx, phases: &[Phase<'_>]) -> Result<()> {
        let done = phases.iter().take_while(|phase| self.stamp(phase).is_file()).count();
        if done > 0 && done < phases.len() {
            let names: Vec<&str> = phases[..done].iter().map(|phase| phase.name).collect();
            cx.ui.note(&format!(
                "going on after an earlier run, which had finished: {}",
                names.join(", ")
            ));
        }
        for phase in &phases[done..] {
            let stamp = self.stamp(phase);
            if stamp.exists() {
                fs::remove_file(&stamp).context(|| format!("cannot remove {}", stamp.display()))?;
            }
        }
        let begun = Instant::now();
        for (index, phase) in phases.iter().enumerate().skip(done) {
            let place = format!("{}/{}", index + 1, phases.len());
            let label = format!("{place} {}", phase.what);
            let bar = cx.ui.spinner(phase.verb, &label);
            let log_path = self.dir.join("log").join(format!("{}.log", phase.name));
            let mut stage = Stage {
                log: File::create(&log_path).map_err(|error| full_disk(error, &self.dir))?,
                log_path,
                ui: &cx.ui,
                bar: &bar,
                verb: phase.verb,
                label,
                lines: phase.lines,
                seen: 0,
                told: Instant::now(),
            };
            let started = Instant::now();
            let ended = (phase.run)(&mut stage);
            bar.finish_and_clear();
            ended.context(|| format!("{} {}", phase.verb.to_lowercase(), phase.what))?;
            self.finish(phase)?;
            if started.elapsed() >= Duration::from_secs(2) || cx.ui.is_terminal() {
                cx.ui.step(
                    "Done",
                    &format!(
                        "{place} {} in {} s, {} s in all",
                        phase.name,
                        started.elapsed().as_secs(),
                        begun.elapsed().as_secs()
                    ),
                );
            }
        }
        Ok(())
    }

    /// First the files, then the word that they are there.
    fn finish(&self, phase: &Phase<'_>) -> Result<()> {
        File::open(&self.dir)
            .and_then(|dir| Ok(rustix::fs::syncfs(dir)?))
            .map_err(|error| full_disk(error, &self.dir))?;
        write_atomically(&self.stamp(phase), phase.what.as_bytes())
    }
}

impl Stage<'_> {
    /// Runs a command with its output in the log, in a process group of its own: make has compilers below it. When it fails, the error
    /// has the end of the log and says where it is.
    pub fn run(&mut self, command: &Command) -> Result<()> {
        writeln!(self.log, "$ {}", command.line()).map_err(|error| full_disk(error, &self.log_path))?;
        let (stdout, stderr) = (self.log.try_clone()?, self.log.try_clone()?);
        let mut running = command.clone().as_group().spawn(stdout.into(), stderr.into())?;
        let mut reader = File::open(&self.log_path).context(|| format!("cannot read {}", self.log_path.display()))?;
        reader.seek(SeekFrom::End(0))?;
        let status = loop {
            self.count(&mut reader);
            if let Some(status) = running.try_wait()? {
                break status;
            }
            std::thread::sleep(PAUSE);
        };
        if status.success() {
            return Ok(());
        }
        let tail = self.tail();
        let error = Error::new(format!(
            "`{}` failed ({status})\n  {}",
            command.line(),
            tail.join("\n  ")
        ));
        Err(if tail.iter().any(|line| line.contains("No space left on device")) {
            error.hint("the disk is full: free some space (`cargo xtask cache prune` helps) and run again; it goes on from here")
        } else {
            error.hint(format!(
                "the whole log is {}; run again, and it goes on from this phase",
                self.log_path.display()
            ))
        })
    }

    fn count(&mut self, reader: &mut File) {
        let mut text = Vec::new();
        if reader.read_to_end(&mut text).is_ok() && !text.is_empty() {
            self.seen += text.iter().filter(|byte| **byte == b'\n').count() as u64;
            let percent = (self.seen * 100).checked_div(self.lines).unwrap_or(0).min(99);
            let message = format!("{}: {percent} %", self.label);
            if !self.ui.is_terminal() && self.told.elapsed() >= TOLD {
                self.told = Instant::now();
                self.ui.step(self.verb, &message);
            }
            self.bar.set_message(message);
        }
    }

    fn tail(&self) -> Vec<String> {
        let read = || -> std::io::Result<Vec<u8>> {
            let mut file = File::open(&self.log_path)?;
            let length = file.metadata()?.len();
            file.seek(SeekFrom::Start(length.saturating_sub(TAIL_BYTES)))?;
            let mut bytes = Vec::new();
            file.read_to_end(&mut bytes)?;
            Ok(bytes)
        };
        let text = String::from_utf8_lossy(&read().unwrap_or_default()).into_owned();
        let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
        lines[lines.len().saturating_sub(TAIL)..]
            .iter()
            .map(|line| (*line).to_owned())
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use std::process::Stdio;

    use super::*;
    use crate::cache::Cache;
    use crate::shell::Shell;
    use crate::ui::Verbosity;

    fn cx(dir: &Path) -> Cx {
        Cx {
            shell: Shell::default(),
            ui: Ui::new(Verbosity::Quiet),
            cache: Cache::at(dir.join("cache")),
            root: dir.to_owned(),
            offline: true,
        }
    }

    /// Each phase appends its letter to `trace`; the one called `breaks` does so and fails.
    fn phases<'a>(cx: &'a Cx, dir: &'a Path, breaks: &'a str) -> Vec<Phase<'a>> {
        ["a", "b", "c"]
            .map(|name| Phase {
                name,
                verb: "Doing",
                what: format!("thing {name}"),
                lines: 1,
                run: Box::new(move |stage| {
                    let script = r#"printf %s "$1" >>trace; echo "said by $1"; [ "$1" != "$2" ]"#;
                    let command = cx.shell.command("sh").args(["-c", script, "sh", name, breaks]);
                    stage.run(&command.current_dir(dir))
                }),
            })
            .into()
    }

    fn trace(dir: &Path) -> String {
        fs::read_to_string(dir.join("trace")).unwrap()
    }

    #[test]
    fn a_phase_that_failed_is_done_anew_and_those_before_it_are_not() {
        let dir = tempfile::tempdir().unwrap();
        let (dir, cx) = (dir.path(), cx(dir.path()));
        let work = Work::open(&cx, &dir.join("work")).unwrap();
        let error = work.run(&cx, &phases(&cx, dir, "b")).unwrap_err();
        assert_eq!(trace(dir), "ab");
        let text = error.to_string();
        assert!(text.starts_with("doing thing b: `sh -c "), "{text}");
        assert!(text.ends_with("said by b"), "the end of the log: {text}");
        assert!(error.next_step().unwrap().contains("log/b.log"));
        drop(work);

        let work = Work::open(&cx, &dir.join("work")).unwrap();
        work.run(&cx, &phases(&cx, dir, "")).unwrap();
        assert_eq!(trace(dir), "abbc");
        work.run(&cx, &phases(&cx, dir, "")).unwrap();
        assert_eq!(trace(dir), "abbc", "all is done");

        // Nothing is trusted behind a gap.
        fs::remove_file(work.dir().join("done/a")).unwrap();
        work.run(&cx, &phases(&cx, dir, "")).unwrap();
        assert_eq!(trace(dir), "abbcabc");
    }

    #[test]
    fn what_a_phase_starts_ends_with_us_by_a_signal() {
        let dir = tempfile::tempdir().unwrap();
        let (dir, cx) = (dir.path(), cx(dir.path()));
        let work = Work::open(&cx, &dir.join("work")).unwrap();
        // Fields 1 and 5 of proc_pid_stat(5): its id, and that of its process group.
        let script = "read -r id _ _ _ group _ </proc/$$/stat; [ $id = $group ]";
        let phase = Phase {
            name: "group",
            verb: "Doing",
            what: "it".to_owned(),
            lines: 0,
            run: Box::new(|stage| stage.run(&cx.shell.command("sh").args(["-c", script]))),
        };
        work.run(&cx, &[phase]).unwrap();
    }

    #[test]
    fn a_full_disk_is_said_to_be_one() {
        let dir = tempfile::tempdir().unwrap();
        let (dir, cx) = (dir.path(), cx(dir.path()));
        let work = Work::open(&cx, &dir.join("work")).unwrap();
        let phase = Phase {
            name: "fill",
            verb: "Filling",
            what: "the disk".to_owned(),
            lines: 0,
            run: Box::new(|stage| stage.run(&cx.shell.command("sh").args(["-c", "head -c 9 /dev/zero >/dev/full"]))),
        };
        let error = work.run(&cx, &[phase]).unwrap_err();
        assert!(error.next_step().unwrap().contains("the disk is full"), "{error}");
        assert!(!work.dir().join("done/fill").exists());
    }

    #[test]
    fn what_a_killed_run_left_running_keeps_the_next_one_out() {
        let dir = tempfile::tempdir().unwrap();
        let (dir, cx) = (dir.path(), cx(dir.path()));
        let at = dir.join("work");
        let work = Work::open(&cx, &at).unwrap();
        let mut left = cx
            .shell
            .command("sleep")
            .arg("60")
            .spawn(Stdio::null(), Stdio::null())
            .unwrap();
        drop(work);
        let other = File::open(at.join("lock")).unwrap();
        assert!(matches!(other.try_lock(), Err(TryLockError::WouldBlock)));
        left.signal(rustix::process::Signal::KILL).unwrap();
        left.wait().unwrap();
        // Commands that other tests start meanwhile inherit it as well, for as long as they take.
        other.lock().unwrap();
    }
}
