//! A server that was started: whether it answers, what it costs, how it is stopped.

use std::collections::VecDeque;
use std::fmt;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal};

use super::unpack::{Lock, Rootfs};
use crate::error::{Context, Error, Result};
use crate::shell::Running;
use crate::target::Platform;
use crate::ui::Ui;

/// How long a server may take to stop before it is killed, as `docker stop`.
pub const STOP_LIMIT: Duration = Duration::from_secs(10);

const POLL: Duration = Duration::from_millis(10);

/// How a program ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// By itself, with this status.
    Exit(i32),
    /// Of this signal.
    Signal(i32),
}

impl Ended {
    /// Status 0.
    pub fn success(self) -> bool {
        self == Ended::Exit(0)
    }

    /// A shell on the way reports signal N as status 128 + N.
    fn from_status(status: ExitStatus) -> Ended {
        match (status.code(), status.signal()) {
            (Some(code @ 129..=192), _) => Ended::Signal(code - 128),
            (Some(code), _) => Ended::Exit(code),
            (None, signal) => Ended::Signal(signal.unwrap_or(0)),
        }
    }
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Ended::Exit(code) => write!(f, "ended with status {code}"),
            Ended::Signal(number) => {
                let name = match number {
                    4 => " (SIGILL)",
                    6 => " (SIGABRT)",
                    7 => " (SIGBUS)",
                    8 => " (SIGFPE)",
                    9 => " (SIGKILL)",
                    11 => " (SIGSEGV)",
                    15 => " (SIGTERM)",
                    _ => "",
                };
                write!(f, "died of signal {number}{name}")
            }
        }
    }
}

/// What waiting for the first answer came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Readiness {
    /// It answers.
    Ready,
    /// It ended first.
    Ended(Ended),
    /// The caller did not want to wait any longer.
    Interrupted,
    /// It runs, and does not answer.
    TimedOut,
}

/// How a server was stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stopped {
    /// How it ended.
    pub ended: Ended,
    /// From the signal to the end.
    pub after: Duration,
    /// Whether it had to be killed because it ignored the signal.
    pub killed: bool,
}

/// A running server. Dropping it kills it.
///
/// The thread that started it must live as long: the kernel kills the server when that thread ends, which is what
/// makes sure that it never outlives xtask, however xtask ends.
#[derive(Debug)]
pub struct Server {
    pub(super) running: Running,
    pub(super) platform: Platform,
    pub(super) port: u16,
    pub(super) admin_port: Option<u16>,
    pub(super) ready_path: String,
    pub(super) started: Instant,
    pub(super) first_answer: Option<Duration>,
    pub(super) stop_signal: Signal,
    /// How many processes stand between `running` and the program itself.
    pub(super) depth: usize,
    pub(super) log: Log,
    pub(super) ended: Option<Ended>,
    pub(super) _rootfs: Rootfs,
    pub(super) _data: Lock,
}

impl Server {
    /// `http://127.0.0.1:PORT/`
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}/", self.port)
    }

    /// The published port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The port where the owner signs in: one of its own, or the same.
    pub fn admin_port(&self) -> u16 {
        self.admin_port.unwrap_or(self.port)
    }

    /// Process id, on the host, of the program itself (of qemu-user when that runs it).
    pub fn pid(&self) -> Result<u32> {
        let mut pid = self.running.id();
        for _ in 0..self.depth {
            pid = child_of(pid)?.context(|| format!("`{}` has no child process", self.running.line()))?;
        }
        Ok(pid)
    }

    /// Resident memory in bytes: of the program, and of qemu-user around it.
    pub fn rss(&self) -> Result<u64> {
        let path = format!("/proc/{}/status", self.pid()?);
        let text = fs::read_to_string(&path).context(|| format!("cannot read {path}"))?;
        let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok())
            .map(|kib| kib * 1024)
            .context(|| format!("{path} has no VmRSS: the process is ending"))
    }

    /// From the start of the process to its first answer.
    pub fn first_answer(&self) -> Option<Duration> {
        self.first_answer
    }

    /// The end of what it printed, stdout and stderr in the order in which they came.
    pub fn logs(&self) -> String {
        self.log.text()
    }

    /// How it ended, if it did.
    pub fn try_wait(&mut self) -> Result<Option<Ended>> {
        if self.ended.is_none()
            && let Some(status) = self.running.try_wait()?
        {
            self.ended = Some(Ended::from_status(status));
            self.log.finish();
        }
        Ok(self.ended)
    }

    /// Waits until the server answers, at most `limit`.
    pub fn wait_ready(&mut self, limit: Duration, interrupted: &mut dyn FnMut() -> bool) -> Result<Readiness> {
        loop {
            if interrupted() {
                return Ok(Readiness::Interrupted);
            }
            let answers = answers(self.port, &self.ready_path);
            let elapsed = self.started.elapsed();
            // After the question, so that a foreign server on the port is not taken for one that has ended.
            if let Some(ended) = self.try_wait()? {
                return Ok(Readiness::Ended(ended));
            }
            if answers {
                self.first_answer = Some(elapsed);
                return Ok(Readiness::Ready);
            }
            if elapsed > limit {
                return Ok(Readiness::TimedOut);
            }
            std::thread::sleep(POLL);
        }
    }

    /// Sends the image's StopSignal and waits; kills it after [`STOP_LIMIT`].
    pub fn stop(&mut self) -> Result<Stopped> {
        self.stop_within(STOP_LIMIT, &mut || false)
    }

    /// As `stop`, with another limit; `hurry` cuts the waiting short.
    pub fn stop_within(&mut self, limit: Duration, hurry: &mut dyn FnMut() -> bool) -> Result<Stopped> {
        let begin = Instant::now();
        let mut killed = false;
        if self.try_wait()?.is_none() {
            // No such process yet (it is still being started) or any more: the limit settles both.
            let pid = self.pid().ok().and_then(|pid| Pid::from_raw(pid.cast_signed()));
            match pid {
                Some(pid) => match rustix::process::kill_process(pid, self.stop_signal) {
                    Ok(()) | Err(rustix::io::Errno::SRCH) => {}
                    Err(error) => return Err(Error::from(error).context("cannot send the stop signal")),
                },
                None => self.send_kill()?,
            }
        }
        loop {
            if let Some(ended) = self.try_wait()? {
                let after = begin.elapsed();
                return Ok(Stopped { ended, after, killed });
            }
            if !killed && (begin.elapsed() > limit || hurry()) {
                self.send_kill()?;
                killed = true;
            }
            std::thread::sleep(POLL);
        }
    }

    /// SIGKILL: what a power cut leaves of the server's data. Returns when it is gone.
    pub fn kill(&mut self) -> Result<Ended> {
        let begin = Instant::now();
        if self.try_wait()?.is_none() {
            self.send_kill()?;
        }
        loop {
            if let Some(ended) = self.try_wait()? {
                return Ok(ended);
            }
            if begin.elapsed() > Duration::from_secs(5) {
                self.running.signal(Signal::KILL)?;
            }
            std::thread::sleep(POLL);
        }
    }

    /// Kills the program: process 1 of its namespace then ends, the kernel ends the rest of the namespace with it, and
    /// unshare, which waits for that, reports the signal. Killing unshare would do as well, with nothing to wait for.
    fn send_kill(&self) -> Result<()> {
        match self.pid().ok().and_then(|pid| Pid::from_raw(pid.cast_signed())) {
            Some(pid) => match rustix::process::kill_process(pid, Signal::KILL) {
                Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
                Err(error) => Err(Error::from(error).context("cannot kill the server")),
            },
            None => self.running.signal(Signal::KILL),
        }
    }

    /// The error for a server that ended when it should have served.
    pub fn ended_early(&self, ended: Ended) -> Error {
        let log = self.logs();
        let lines: Vec<&str> = log.lines().collect();
        let tail = lines[lines.len().saturating_sub(8)..].join("\n  ");
        let tail = if tail.is_empty() {
            String::new()
        } else {
            format!("\n  {tail}")
        };
        let error = Error::new(format!("the server {ended}{tail}"));
        match diagnosis(ended, &log, self.platform) {
            Some(hint) => error.hint(hint),
            None => error,
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // `Running` would kill it too, but not wait for what is inside the namespace.
        let _ = self.kill();
    }
}

/// The next step after an early end.
pub fn diagnosis(ended: Ended, log: &str, platform: Platform) -> Option<String> {
    let lower = log.to_lowercase();
    if lower.contains("address already in use") || lower.contains("address in use") || lower.contains("addrinuse") {
        return Some(
            "something else listens on that port: choose another with `--port N`, or any with `--port 0`".into(),
        );
    }
    if lower.contains("could not open '/lib") {
        return Some("the program is linked dynamically and the image lacks its loader: build it for this base".into());
    }
    if lower.contains("invalid elf image for this architecture") {
        return Some(format!("the program in the image was not compiled for {platform}"));
    }
    match ended {
        Ended::Signal(4 | 11) => Some(format!(
            "most likely the program used an instruction that the processor of {platform} does not have: \
             `cargo xtask audit` names it"
        )),
        Ended::Signal(9) => Some("it was killed: is there enough memory?".into()),
        Ended::Exit(126 | 127) => Some("the image's entrypoint could not be started".into()),
        Ended::Exit(_) | Ended::Signal(_) => None,
    }
}

/// Whether an HTTP server on the loopback address says that it is ready. Any answer below 500 will do: a server
/// without that path is up as well. So will a server that accepts and does not speak HTTP.
fn answers(port: u16, path: &str) -> bool {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let limit = Duration::from_secs(5);
    let Ok(mut stream) = TcpStream::connect_timeout(&address, limit) else {
        return false;
    };
    let request = format!("GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n\r\n");
    let mut head = Vec::new();
    let asked = stream
        .set_read_timeout(Some(limit))
        .and_then(|()| stream.write_all(request.as_bytes()))
        .and_then(|()| stream.take(12).read_to_end(&mut head));
    match (asked, head.strip_prefix(b"HTTP/1.")) {
        (Ok(_), Some(rest)) => rest.get(2).is_some_and(|class| (b'2'..b'5').contains(class)),
        (Ok(count), None) => count > 0,
        (Err(_), _) => false,
    }
}

/// The first child of a process.
fn child_of(parent: u32) -> Result<Option<u32>> {
    let mut children = Vec::new();
    for entry in fs::read_dir("/proc").context(|| "cannot read /proc")? {
        let Some(pid) = entry?.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
        // pid (name, which may hold anything) state ppid ...; a process may end while we look.
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let ppid = stat.rsplit_once(") ").and_then(|(_, rest)| rest.split(' ').nth(1));
        if ppid.and_then(|ppid| ppid.parse().ok()) == Some(parent) {
            children.push(pid);
        }
    }
    Ok(children.into_iter().min())
}

/// What a server printed, the newest part of it.
#[derive(Debug)]
pub(super) struct Log {
    lines: Arc<Mutex<VecDeque<String>>>,
    reader: Option<JoinHandle<()>>,
}

const LOG_LINES: usize = 2_000;

impl Log {
    /// Reads until every writer is gone. `echo` shows the lines as they come.
    pub(super) fn read(from: impl Read + Send + 'static, echo: Option<Ui>) -> Log {
        let lines = Arc::new(Mutex::new(VecDeque::new()));
        let shared = Arc::clone(&lines);
        let reader = std::thread::spawn(move || {
            let mut from = BufReader::new(from);
            let mut line = Vec::new();
            // A line of any length, in pieces.
            while let Ok(1..) = from.by_ref().take(1 << 16).read_until(b'\n', &mut line) {
                let text = String::from_utf8_lossy(&line).into_owned();
                line.clear();
                if let Some(ui) = &echo {
                    ui.text(&text);
                }
                let mut lines = shared.lock().unwrap_or_else(PoisonError::into_inner);
                if lines.len() == LOG_LINES {
                    lines.pop_front();
                }
                lines.push_back(text);
            }
        });
        Log {
            lines,
            reader: Some(reader),
        }
    }

    fn text(&self) -> String {
        let lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        lines.iter().map(String::as_str).collect()
    }

    /// Takes in the rest after the process has ended; a grandchild that keeps the pipe open is not waited for.
    fn finish(&mut self) {
        if let Some(reader) = self.reader.take() {
            let begin = Instant::now();
            while !reader.is_finished() && begin.elapsed() < Duration::from_millis(500) {
                std::thread::sleep(Duration::from_millis(1));
            }
        }
    }
}

/// The signal of an image's `StopSignal`: `SIGTERM`, `TERM` or `15`. Empty is SIGTERM.
///
/// # Errors
/// A name or number that is not known.
pub fn stop_signal(text: &str) -> Result<Signal> {
    let name = text.strip_prefix("SIG").unwrap_or(text);
    let signal = match name {
        "" | "TERM" => Some(Signal::TERM),
        "INT" => Some(Signal::INT),
        "QUIT" => Some(Signal::QUIT),
        "HUP" => Some(Signal::HUP),
        "USR1" => Some(Signal::USR1),
        "USR2" => Some(Signal::USR2),
        "KILL" => Some(Signal::KILL),
        "WINCH" => Some(Signal::WINCH),
        number => number.parse().ok().and_then(Signal::from_named_raw),
    };
    signal.context(|| format!("the image's StopSignal `{text}` is not a signal that this program knows"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_are_known_by_name_and_number() {
        assert_eq!(stop_signal("").unwrap(), Signal::TERM);
        assert_eq!(stop_signal("SIGQUIT").unwrap(), Signal::QUIT);
        assert_eq!(stop_signal("INT").unwrap(), Signal::INT);
        assert_eq!(stop_signal("15").unwrap(), Signal::TERM);
        assert!(stop_signal("SIGNOPE").is_err() && stop_signal("0").is_err());
    }

    #[test]
    fn an_end_through_a_shell_reads_as_the_end_itself() {
        assert_eq!(Ended::from_status(ExitStatus::from_raw(132 << 8)), Ended::Signal(4));
        assert_eq!(Ended::from_status(ExitStatus::from_raw(4)), Ended::Signal(4));
        assert_eq!(Ended::from_status(ExitStatus::from_raw(3 << 8)), Ended::Exit(3));
    }

    #[test]
    fn the_end_suggests_the_next_step() {
        let hint = |ended, log| diagnosis(ended, log, Platform::ArmV6).unwrap_or_default();
        assert!(hint(Ended::Signal(4), "").contains("cargo xtask audit"));
        assert!(hint(Ended::Signal(11), "").contains("linux/arm/v6"));
        assert!(hint(Ended::Exit(1), "Os { code: 98, kind: AddrInUse }").contains("--port"));
        assert!(hint(Ended::Exit(255), "qemu-arm: Could not open '/lib/ld-linux.so.3'").contains("loader"));
        assert_eq!(diagnosis(Ended::Exit(1), "no such table", Platform::ArmV6), None);
    }
}
