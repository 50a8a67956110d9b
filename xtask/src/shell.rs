//! The only module that starts processes. Commands are shown with `-v` and named whole in errors.

pub mod signals;

use std::ffi::{OsStr, OsString};
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command as Process, ExitStatus, Stdio};

use crate::error::{Context, Error, Result};
use crate::ui::{Ui, Verbosity};
use signals::Group;

/// Starts commands. Holds nothing but how to show them, so tests can make one freely.
#[derive(Clone, Debug, Default)]
pub struct Shell {
    echo: bool,
}

/// One command to be run.
#[derive(Clone, Debug)]
pub struct Command {
    program: OsString,
    args: Vec<OsString>,
    envs: Vec<(OsString, Option<OsString>)>,
    clear: bool,
    dir: Option<PathBuf>,
    stdin: Option<Vec<u8>>,
    echo: bool,
    group: bool,
}

/// What a command printed and how it ended.
#[derive(Clone, Debug)]
pub struct Output {
    /// How it ended.
    pub status: ExitStatus,
    /// All of stdout.
    pub stdout: Vec<u8>,
    /// All of stderr.
    pub stderr: Vec<u8>,
}

impl Output {
    /// stdout as text, invalid UTF-8 replaced.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    /// stderr as text, invalid UTF-8 replaced.
    pub fn error_text(&self) -> String {
        String::from_utf8_lossy(&self.stderr).into_owned()
    }
}

impl Shell {
    /// `echo`: show every command on stderr (`-v`).
    pub fn new(echo: bool) -> Self {
        Shell { echo }
    }

    /// A command with nothing but its program.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        Command {
            program: program.as_ref().to_owned(),
            args: Vec::new(),
            envs: Vec::new(),
            clear: false,
            dir: None,
            stdin: None,
            echo: self.echo,
            group: false,
        }
    }

    /// The program's full path if PATH has it.
    pub fn which(&self, program: &str) -> Option<PathBuf> {
        self.every(program).into_iter().next()
    }

    /// Every one of that name on PATH, in its order.
    pub fn every(&self, program: &str) -> Vec<PathBuf> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        std::env::split_paths(&path)
            .map(|dir| dir.join(program))
            .filter(|file| is_executable(file))
            .collect()
    }
}

fn is_executable(file: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    file.metadata()
        .is_ok_and(|data| data.is_file() && data.permissions().mode() & 0o111 != 0)
}

impl Command {
    /// The same command with another program, a wrapper or a stand-in say.
    #[must_use]
    pub fn with_program(mut self, program: impl AsRef<OsStr>) -> Self {
        self.program = program.as_ref().to_owned();
        self
    }

    /// Adds one argument.
    #[must_use]
    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.args.push(arg.as_ref().to_owned());
        self
    }

    /// Adds arguments.
    #[must_use]
    pub fn args<I: IntoIterator<Item = A>, A: AsRef<OsStr>>(mut self, args: I) -> Self {
        self.args.extend(args.into_iter().map(|arg| arg.as_ref().to_owned()));
        self
    }

    /// Sets a variable.
    #[must_use]
    pub fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.envs
            .push((name.as_ref().to_owned(), Some(value.as_ref().to_owned())));
        self
    }

    /// Removes a variable.
    #[must_use]
    pub fn env_remove(mut self, name: impl AsRef<OsStr>) -> Self {
        self.envs.push((name.as_ref().to_owned(), None));
        self
    }

    /// Starts from an empty environment.
    #[must_use]
    pub fn env_clear(mut self) -> Self {
        self.clear = true;
        self
    }

    /// Runs in `dir`.
    #[must_use]
    pub fn current_dir(mut self, dir: impl AsRef<Path>) -> Self {
        self.dir = Some(dir.as_ref().to_owned());
        self
    }

    /// Bytes for its standard input; without them it gets none.
    #[must_use]
    pub fn stdin_bytes(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.stdin = Some(bytes.into());
        self
    }

    /// A process group of its own, so that what it starts ends, too, when a signal ends us. Not for what may ask at a terminal: such a
    /// group is in the background there.
    #[must_use]
    pub fn as_group(mut self) -> Self {
        self.group = true;
        self
    }

    /// The command as one line, quoted where a shell needs it. Variables are not part of it: they may hold secrets.
    pub fn line(&self) -> String {
        let mut line = quoted(&self.program);
        for arg in &self.args {
            line.push(' ');
            line.push_str(&quoted(arg));
        }
        line
    }

    #[allow(clippy::disallowed_methods)]
    fn process(&self) -> Process {
        if self.echo {
            Ui::new(Verbosity::Verbose).command(&self.line());
        }
        let mut process = Process::new(&self.program);
        process.args(&self.args);
        if self.clear {
            process.env_clear();
        }
        for (name, value) in &self.envs {
            match value {
                Some(value) => process.env(name, value),
                None => process.env_remove(name),
            };
        }
        if let Some(dir) = &self.dir {
            process.current_dir(dir);
        }
        process.stdin(if self.stdin.is_some() {
            Stdio::piped()
        } else {
            Stdio::null()
        });
        process
    }

    fn spawn_process(&self, process: &mut Process) -> Result<(Child, Option<Group>)> {
        use std::os::unix::process::CommandExt;
        let spawned = match self.group {
            true => {
                Group::of(|| process.process_group(0).spawn(), Child::id).map(|(child, group)| (child, Some(group)))
            }
            false => process.spawn().map(|child| (child, None)),
        };
        let (mut child, group) = spawned.map_err(|error| {
            let missing = error.kind() == std::io::ErrorKind::NotFound;
            let error = Error::new(format!("cannot start `{}`: {error}", self.line()));
            if missing {
                error.hint(format!(
                    "is `{}` installed and in PATH?",
                    self.program.to_string_lossy()
                ))
            } else {
                error
            }
        })?;
        if let (Some(bytes), Some(mut pipe)) = (self.stdin.clone(), child.stdin.take()) {
            // A thread, so that a child that writes before it has read everything cannot block us; a child that
            // does not want its input is not an error.
            std::thread::spawn(move || {
                let _ = pipe.write_all(&bytes);
            });
        }
        Ok((child, group))
    }

    fn check(&self, status: ExitStatus, stderr: &[u8]) -> Result<()> {
        if status.success() {
            return Ok(());
        }
        let text = String::from_utf8_lossy(stderr);
        let lines: Vec<&str> = text
            .lines()
            .map(str::trim_end)
            .filter(|line| !line.is_empty())
            .collect();
        let tail = lines[lines.len().saturating_sub(12)..].join("\n  ");
        let mut message = format!("`{}` failed ({status})", self.line());
        if !tail.is_empty() {
            message.push_str("\n  ");
            message.push_str(&tail);
        }
        Err(Error::new(message))
    }

    /// Runs it with its output going to our stderr (stdout is for results only). Fails unless it exits with 0.
    pub fn run(&self) -> Result<()> {
        let stderr = std::io::stderr();
        let mut process = self.process();
        use std::os::fd::AsFd;
        process.stdout(Stdio::from(stderr.as_fd().try_clone_to_owned()?));
        let (mut child, _group) = self.spawn_process(&mut process)?;
        let status = child.wait()?;
        self.check(status, &[])
    }

    /// Runs it and returns what it printed, however it ended.
    pub fn output(&self) -> Result<Output> {
        let mut process = self.process();
        process.stdout(Stdio::piped()).stderr(Stdio::piped());
        let (child, _group) = self.spawn_process(&mut process)?;
        let output = child.wait_with_output()?;
        Ok(Output {
            status: output.status,
            stdout: output.stdout,
            stderr: output.stderr,
        })
    }

    /// Runs it and returns its stdout without the final newline. Fails, with the end of stderr, unless it exits with 0.
    pub fn read(&self) -> Result<String> {
        let output = self.output()?;
        self.check(output.status, &output.stderr)?;
        Ok(output.text().trim_end_matches('\n').to_owned())
    }

    /// Runs it, giving each line of stdout to `line` as it comes; stderr goes to ours (cargo's progress, say).
    pub fn lines(&self, mut line: impl FnMut(&str) -> Result<()>) -> Result<ExitStatus> {
        let mut process = self.process();
        process.stdout(Stdio::piped());
        let (mut child, _group) = self.spawn_process(&mut process)?;
        let stdout = child
            .stdout
            .take()
            .context(|| format!("`{}` has no stdout", self.line()))?;
        let mut failed = Ok(());
        for text in BufReader::new(stdout).lines() {
            failed = text.map_err(Error::from).and_then(|text| line(&text));
            if failed.is_err() {
                break;
            }
        }
        if failed.is_err() {
            let _ = child.kill();
        }
        let status = child.wait()?;
        failed.map(|()| status)
    }

    /// Starts it and leaves it running. Output: as `stdout` says for stdout, ours for stderr.
    pub fn spawn(&self, stdout: Stdio, stderr: Stdio) -> Result<Running> {
        let mut process = self.process();
        process.stdout(stdout).stderr(stderr);
        self.running(&mut process)
    }

    /// As `spawn`, after `configure` has had its say (`pre_exec` and the like).
    pub fn spawn_with(&self, configure: impl FnOnce(&mut Process)) -> Result<Running> {
        let mut process = self.process();
        configure(&mut process);
        self.running(&mut process)
    }

    fn running(&self, process: &mut Process) -> Result<Running> {
        let (child, group) = self.spawn_process(process)?;
        Ok(Running {
            child,
            line: self.line(),
            _group: group,
        })
    }
}

/// A child that is running; killed when dropped, so that nothing outlives the run.
#[derive(Debug)]
pub struct Running {
    child: Child,
    line: String,
    _group: Option<Group>,
}

impl Running {
    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Its command line, for messages.
    pub fn line(&self) -> &str {
        &self.line
    }

    /// Its piped stdout, once.
    pub fn stdout(&mut self) -> Option<impl Read + use<>> {
        self.child.stdout.take()
    }

    /// Its piped stderr, once.
    pub fn stderr(&mut self) -> Option<impl Read + use<>> {
        self.child.stderr.take()
    }

    /// Its exit status if it has ended.
    pub fn try_wait(&mut self) -> Result<Option<ExitStatus>> {
        Ok(self.child.try_wait()?)
    }

    /// Waits for it to end.
    pub fn wait(&mut self) -> Result<ExitStatus> {
        Ok(self.child.wait()?)
    }

    /// Sends a signal.
    pub fn signal(&self, signal: rustix::process::Signal) -> Result<()> {
        if let Some(pid) = rustix::process::Pid::from_raw(self.child.id().cast_signed()) {
            rustix::process::kill_process(pid, signal).context(|| format!("cannot signal `{}`", self.line))?;
        }
        Ok(())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

fn quoted(word: &OsStr) -> String {
    let text = word.to_string_lossy();
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:,+@%^".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        text.into_owned()
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_names_the_command_and_the_end_of_stderr() {
        let error = Shell::default()
            .command("sh")
            .args(["-c", "echo no such luck >&2; exit 3"])
            .read()
            .unwrap_err();
        let text = error.to_string();
        assert!(text.contains("sh -c 'echo no such luck >&2; exit 3'"), "{text}");
        assert!(text.contains("exit status: 3"), "{text}");
        assert!(text.ends_with("no such luck"), "{text}");
    }

    #[test]
    fn a_missing_program_is_said_to_be_missing() {
        let error = Shell::default().command("no-such-program-here").read().unwrap_err();
        assert!(error.next_step().is_some_and(|hint| hint.contains("installed")));
    }

    #[test]
    fn lines_arrive_one_by_one_and_input_is_passed() {
        let mut seen = Vec::new();
        let status = Shell::default()
            .command("cat")
            .stdin_bytes("a\nb\n")
            .lines(|line| {
                seen.push(line.to_owned());
                Ok(())
            })
            .unwrap();
        assert!(status.success());
        assert_eq!(seen, ["a", "b"]);
    }
}
