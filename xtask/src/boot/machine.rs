//! One emulated Raspberry Pi Zero: a qemu-system-arm process, its serial line, and the port that its server is reached by.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::browser::Browser;
use super::card::Card;
use super::kernel::Kernel;
use crate::cx::Cx;
use crate::error::{Context, Error, Result};
use crate::run::Ended;
use crate::shell::Running;
use crate::toolchain::closure::{self, Program};
use crate::ui::{Ui, Verbosity};

const PROGRAM: &str = "qemu-system-arm";
const POLL: Duration = Duration::from_millis(10);
/// Lines of the console that are kept for messages; all of them are in the file.
const LINES: usize = 400;
/// Without the blacklist the kernel takes QEMU's missing power domains for a broken bus, and panics within a second.
const KERNEL_ARGUMENTS: &str =
    "console=ttyAMA0,115200 initcall_blacklist=bcm2835_power_driver_init quiet panic=-1 rdinit=/init";

/// A qemu-system-arm that starts.
#[derive(Clone, Debug)]
pub(super) struct Qemu {
    program: Program,
    /// As it says itself: `7.2.22`.
    pub(super) version: String,
}

/// The one in PATH; nothing is fetched.
pub fn qemu_installed(cx: &Cx) -> Option<PathBuf> {
    cx.shell.which(PROGRAM)
}

/// What was fetched before.
pub fn qemu_cached(cx: &Cx) -> Option<PathBuf> {
    closure::known(cx, PROGRAM, &format!("usr/bin/{PROGRAM}")).map(|program| program.path)
}

/// PATH's, else Debian's package of it in the cache, with what it needs.
pub(super) fn qemu(cx: &Cx) -> Result<Qemu> {
    if let Some(path) = qemu_installed(cx) {
        let program = Program {
            path,
            libraries: Default::default(),
        };
        let version = version(cx, &program)?;
        return Ok(Qemu { program, version });
    }
    let works = |program: &Program| version(cx, program).map(|_| ());
    let program = closure::fetch(cx, PROGRAM, &format!("usr/bin/{PROGRAM}"), works)?;
    let version = version(cx, &program)?;
    Ok(Qemu { program, version })
}

fn version(cx: &Cx, program: &Program) -> Result<String> {
    let command = cx.shell.command(&program.path).arg("--version");
    let text = command.env("LD_LIBRARY_PATH", &program.libraries).read()?;
    let version = text
        .strip_prefix("QEMU emulator version ")
        .and_then(|rest| rest.split_whitespace().next());
    version
        .map(str::to_owned)
        .context(|| format!("{} is no QEMU: it says `{text}`", program.path.display()))
}

/// What the serial line has said so far.
#[derive(Debug, Default)]
struct Seen {
    lines: VecDeque<String>,
    up: Option<Duration>,
    kernel: Option<String>,
    cpu: Option<String>,
    memory_kib: Option<u64>,
    started: Option<Duration>,
    ended: Option<Ended>,
    failed: Option<String>,
    panic: bool,
    closed: bool,
}

/// What the server costs, by the guest's own account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Status {
    /// Resident memory in bytes.
    pub rss: u64,
    /// The most that it ever was.
    pub peak_rss: u64,
}

/// Why a machine does not go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Halt {
    /// The caller did not want to wait any longer.
    Interrupted,
    /// The image's program ended.
    Ended(Ended),
    /// The guest cannot do its work, and says why.
    Failed(String),
    /// The kernel panicked.
    Panic,
    /// QEMU ended.
    Closed,
    /// Nothing happened in time.
    TimedOut,
}

/// How a machine is started.
pub(super) struct Setup<'a> {
    pub(super) kernel: &'a Kernel,
    pub(super) qemu: &'a Qemu,
    /// cpio archive.
    pub(super) initramfs: &'a [u8],
    pub(super) card: Card,
    /// Where the console is written to.
    pub(super) console: PathBuf,
    /// Port on 127.0.0.1; 0 takes a free one.
    pub(super) port: u16,
    /// Port that the server listens on in the guest.
    pub(super) guest_port: u16,
    /// The same two for the owner's port.
    pub(super) admin: Option<(u16, u16)>,
    /// How instructions drive the board's clock: the value of `-icount`.
    pub(super) clock: &'a str,
    /// Whether the server's output goes to stderr.
    pub(super) echo: bool,
}

/// A running machine. Dropping it cuts the power.
///
/// The thread that started it must live as long: the kernel kills QEMU when that thread ends, however it ends.
#[derive(Debug)]
pub struct Machine {
    running: Running,
    /// Port of this machine that takes commands for the guest.
    control: u16,
    seen: Arc<Mutex<Seen>>,
    started: Instant,
    port: u16,
    admin_port: Option<u16>,
    console: PathBuf,
    first_answer: Option<Duration>,
    _initramfs: tempfile::NamedTempFile,
    _card: Card,
}

impl Machine {
    /// Switches it on.
    pub(super) fn start(cx: &Cx, setup: Setup<'_>) -> Result<Machine> {
        let setpriv = cx
            .shell
            .which("setpriv")
            .context(|| "`setpriv` is not in PATH, and without it QEMU could outlive this program")
            .hint("install util-linux")?;
        let parent = setup.console.parent().unwrap_or(Path::new("."));
        // It may hold a password; only its owner reads it, and it goes with the machine.
        let mut initramfs = tempfile::Builder::new().prefix(".initramfs-").tempfile_in(parent)?;
        initramfs
            .write_all(setup.initramfs)
            .map_err(|error| crate::cache::full_disk(error, parent))?;
        let log = File::create(&setup.console).context(|| format!("cannot write {}", setup.console.display()))?;
        let port = free_port(setup.port, "--port")?;
        let (admin_port, admin) = match setup.admin {
            None => (None, String::new()),
            Some((port, guest)) => {
                let port = free_port(port, "--admin-port")?;
                (Some(port), format!(",hostfwd=tcp:127.0.0.1:{port}-:{guest}"))
            }
        };
        let control = free_port(0, "--port")?;
        let words: [(&str, String); 5] = [
            ("-kernel", utf8(&setup.kernel.image())?),
            ("-dtb", utf8(&setup.kernel.device_tree())?),
            ("-initrd", utf8(initramfs.path())?),
            (
                "-drive",
                format!("if=sd,format=raw,file={}", utf8(setup.card.path())?.replace(',', ",,")),
            ),
            // Nothing goes out: what is emulated cannot reach anybody but through the forwarded ports.
            (
                "-netdev",
                format!(
                    "user,id=net,restrict=on,hostfwd=tcp:127.0.0.1:{port}-:{},hostfwd=tcp:127.0.0.1:{control}-:1{admin}",
                    setup.guest_port
                ),
            ),
        ];
        let mut command = cx
            .shell
            .command(setpriv)
            .args(["--pdeathsig", "KILL", "--"])
            .arg(&setup.qemu.program.path)
            .args([
                "-M",
                "raspi0",
                "-nodefaults",
                "-display",
                "none",
                "-monitor",
                "none",
                "-serial",
                "stdio",
            ])
            // The console only speaks: this board's first serial line belongs to its Bluetooth chip, so the kernel prints on it
            // and reads nothing. Commands go over the network.
            .args(["-no-reboot", "-append", KERNEL_ARGUMENTS]);
        for (flag, value) in words {
            command = command.arg(flag).arg(value);
        }
        // The board's timer fires when its counter equals a number that the kernel has just written. Where the counter follows
        // this machine's clock, a busy machine lets it pass that number first, and the kernel sleeps for an hour. Where
        // instructions drive it, nothing can come between.
        command = command.args(["-icount", setup.clock]);
        command = command.args(["-device", "usb-net,netdev=net"]);
        if !setup.qemu.program.libraries.is_empty() {
            command = command.env("LD_LIBRARY_PATH", &setup.qemu.program.libraries);
        }
        let (reader, writer) = std::io::pipe()?;
        let other = writer.try_clone()?;
        let started = Instant::now();
        let running = command.spawn_with(|process| {
            use std::os::unix::process::CommandExt;
            // A group of its own: Ctrl-C reaches xtask only, which then asks the server to stop.
            process
                .stdout(Stdio::from(writer))
                .stderr(Stdio::from(other))
                .process_group(0);
        })?;
        let seen = Arc::new(Mutex::new(Seen::default()));
        let shared = Arc::clone(&seen);
        let echo = (setup.echo && cx.ui.verbosity() > Verbosity::Quiet).then(|| Ui::new(cx.ui.verbosity()));
        std::thread::spawn(move || listen(reader, log, &shared, started, echo));
        Ok(Machine {
            running,
            control,
            seen,
            started,
            port,
            admin_port,
            console: setup.console,
            first_answer: None,
            _initramfs: initramfs,
            _card: setup.card,
        })
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// `http://127.0.0.1:PORT/`
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}/", self.port)
    }

    /// The forwarded port of this machine.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The forwarded port where the owner signs in: one of its own, or the same.
    pub fn admin_port(&self) -> u16 {
        self.admin_port.unwrap_or(self.port)
    }

    /// Process id of QEMU.
    pub fn pid(&self) -> u32 {
        self.running.id()
    }

    /// File with all that the serial line said.
    pub fn console(&self) -> &Path {
        &self.console
    }

    /// The end of what the serial line said.
    pub fn last_lines(&self, count: usize) -> Vec<String> {
        let seen = self.seen();
        let lines = seen.lines.iter().skip(seen.lines.len().saturating_sub(count));
        lines.cloned().collect()
    }

    /// From switching on to the first answer.
    pub fn first_answer(&self) -> Option<Duration> {
        self.first_answer
    }

    /// From switching on to process 1.
    pub fn up(&self) -> Option<Duration> {
        self.seen().up
    }

    /// From switching on to the start of the image's program.
    pub fn program_started(&self) -> Option<Duration> {
        self.seen().started
    }

    /// The kernel's release, as the guest says it.
    pub fn kernel(&self) -> String {
        self.seen().kernel.clone().unwrap_or_default()
    }

    /// `CPU part` of the guest's /proc/cpuinfo: `0xb76` is the ARM1176.
    pub fn cpu_part(&self) -> String {
        self.seen().cpu.clone().unwrap_or_default()
    }

    /// `MemTotal` of the guest in KiB.
    pub fn memory_kib(&self) -> u64 {
        self.seen().memory_kib.unwrap_or_default()
    }

    /// Why it does not go on, if it does not.
    pub(super) fn halted(&mut self) -> Option<Halt> {
        let gone = !matches!(self.running.try_wait(), Ok(None));
        let seen = self.seen();
        if let Some(ended) = seen.ended {
            return Some(Halt::Ended(ended));
        }
        if let Some(reason) = &seen.failed {
            return Some(Halt::Failed(reason.clone()));
        }
        // The panic's own lines are still coming as long as QEMU runs.
        match (seen.panic, seen.closed, gone) {
            (true, true, _) => Some(Halt::Panic),
            (false, true, true) => Some(Halt::Closed),
            _ => None,
        }
    }

    /// Waits until `ready` says so.
    pub(super) fn wait(
        &mut self,
        limit: Duration,
        interrupted: &mut dyn FnMut() -> bool,
        ready: &mut dyn FnMut(&mut Machine) -> bool,
    ) -> std::result::Result<(), Halt> {
        let begin = Instant::now();
        loop {
            if interrupted() {
                return Err(Halt::Interrupted);
            }
            if ready(self) {
                return Ok(());
            }
            if let Some(halt) = self.halted() {
                return Err(halt);
            }
            if begin.elapsed() > limit {
                return Err(Halt::TimedOut);
            }
            std::thread::sleep(POLL);
        }
    }

    /// Waits until process 1 runs, at most `limit`; `false` when it does not by then.
    pub(super) fn wait_up(
        &mut self,
        limit: Duration,
        interrupted: &mut dyn FnMut() -> bool,
    ) -> std::result::Result<bool, Halt> {
        match self.wait(limit, interrupted, &mut |machine| machine.seen().up.is_some()) {
            Ok(()) => Ok(true),
            Err(Halt::TimedOut) => Ok(false),
            Err(halt) => Err(halt),
        }
    }

    /// Waits until the server answers GET `path` with a success, at most `limit`.
    pub(super) fn wait_ready(
        &mut self,
        path: &str,
        limit: Duration,
        interrupted: &mut dyn FnMut() -> bool,
    ) -> std::result::Result<(), Halt> {
        let begin = Instant::now();
        self.wait(limit, interrupted, &mut |machine| machine.seen().started.is_some())?;
        let left = limit.saturating_sub(begin.elapsed());
        self.wait(left, interrupted, &mut |machine| {
            let mut browser = Browser::new(machine.port, Duration::from_secs(5));
            let answered = browser.get(path).is_ok_and(|page| (200..400).contains(&page.status));
            if answered {
                machine.first_answer = Some(machine.started.elapsed());
            }
            answered
        })
    }

    /// One command, and what the guest answers.
    fn command(&mut self, word: &str) -> Result<String> {
        let limit = Duration::from_secs(30);
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, self.control));
        let ask = || -> Result<String> {
            let mut stream = TcpStream::connect_timeout(&address, limit)?;
            stream.set_read_timeout(Some(limit))?;
            stream.write_all(format!("{word}\n").as_bytes())?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer)?;
            match answer.is_empty() {
                true => Err(Error::new("the guest gave no answer")),
                false => Ok(answer),
            }
        };
        // The guest may be about to listen.
        let begin = Instant::now();
        loop {
            match ask() {
                Ok(answer) => return Ok(answer),
                Err(error) if begin.elapsed() > limit || self.halted().is_some() => {
                    return Err(error.context(format!("the guest did not do `{word}`")));
                }
                Err(_) => std::thread::sleep(Duration::from_millis(200)),
            }
        }
    }

    /// Asks the guest what the server costs.
    pub fn status(&mut self) -> Result<Status> {
        let answer = self.command("status")?;
        let mut kib = answer.split_whitespace().map(|text| text.parse::<u64>().ok());
        match (kib.next().flatten(), kib.next().flatten()) {
            (Some(rss), Some(peak)) => Ok(Status {
                rss: rss * 1024,
                peak_rss: peak * 1024,
            }),
            _ => Err(Error::new(format!(
                "the guest does not know what its server costs: {answer:?}"
            ))),
        }
    }

    /// Instructions that the server has executed so far, the kernel's on its behalf among them: its processor time by the
    /// guest's account, known to a hundredth of a second, which is 2.5 million instructions.
    pub fn instructions(&mut self) -> Result<u64> {
        let answer = self.command("times")?;
        let ticks: Vec<u64> = answer.split_whitespace().map_while(|text| text.parse().ok()).collect();
        match ticks[..] {
            [user, system] => Ok((user + system) * (10_000_000 / super::NANOSECONDS)),
            _ => Err(Error::new(format!(
                "the guest does not know how long its server has run: {answer:?}"
            ))),
        }
    }

    /// Has the guest send the image's StopSignal, and kills the server after `limit`, or when `hurry` says so. The card is
    /// unmounted afterwards. `None` when the guest did not say how it ended; the power is cut in any case.
    pub fn stop(&mut self, limit: Duration, hurry: &mut dyn FnMut() -> bool) -> Result<Option<Ended>> {
        let never = &mut |_: &mut Machine| false;
        let mut halt = Halt::TimedOut;
        if self.command("stop").is_ok() {
            halt = self.wait(limit, hurry, never).err().unwrap_or(halt);
        }
        if matches!(halt, Halt::TimedOut | Halt::Interrupted) && self.command("kill").is_ok() {
            halt = self
                .wait(Duration::from_secs(10), &mut || false, never)
                .err()
                .unwrap_or(halt);
        }
        self.cut_power()?;
        Ok(match halt {
            Halt::Ended(ended) => Some(ended),
            _ => None,
        })
    }

    /// SIGKILL to QEMU: what the guest has not written to the card by now is gone. Returns when it has ended.
    pub fn cut_power(&mut self) -> Result<()> {
        if self.running.try_wait()?.is_none() {
            self.running.signal(Signal::KILL)?;
            self.running.wait()?;
        }
        Ok(())
    }
}

/// Reads the serial line to its end.
fn listen(from: impl Read, mut log: File, seen: &Mutex<Seen>, started: Instant, echo: Option<Ui>) {
    let mut from = BufReader::new(from);
    let mut bytes = Vec::new();
    // A line of any length, in pieces.
    while let Ok(1..) = from.by_ref().take(1 << 16).read_until(b'\n', &mut bytes) {
        let line = String::from_utf8_lossy(&bytes)
            .trim_end_matches(['\r', '\n'])
            .to_owned();
        bytes.clear();
        // The console is for people who look for a fault; a full disk is not one of the guest.
        let _ = writeln!(log, "{line}");
        if let (Some(ui), Some(text)) = (&echo, line.strip_prefix("| ")) {
            ui.text(&format!("{}\n", printable(text)));
        }
        let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.take(&line, started.elapsed());
    }
    seen.lock().unwrap_or_else(PoisonError::into_inner).closed = true;
}

impl Seen {
    fn take(&mut self, line: &str, at: Duration) {
        if self.lines.len() == LINES {
            self.lines.pop_front();
        }
        self.lines.push_back(line.to_owned());
        self.panic |= !line.starts_with("| ") && line.contains("Kernel panic - not syncing");
        let Some((word, rest)) = line
            .strip_prefix("@xtask ")
            .map(|said| said.split_once(' ').unwrap_or((said, "")))
        else {
            return;
        };
        let kib = |text: Option<&str>| text.and_then(|text| text.parse::<u64>().ok());
        match word {
            "up" => self.up = Some(at),
            "kernel" => self.kernel = Some(rest.to_owned()),
            "cpu" => self.cpu = Some(rest.to_owned()),
            "memory" => self.memory_kib = kib(Some(rest)),
            "started" => self.started = Some(at),
            // A shell reports signal N as 128 + N.
            "ended" => {
                self.ended = rest.parse().ok().map(|code| match code {
                    129..=192 => Ended::Signal(code - 128),
                    code => Ended::Exit(code),
                });
            }
            "failed" => self.failed = Some(rest.to_owned()),
            _ => {}
        }
    }
}

/// What a guest says does not move the cursor of a terminal.
pub(super) fn printable(line: &str) -> String {
    let show = |c: char| if c.is_control() && c != '\t' { '\u{fffd}' } else { c };
    line.chars().map(show).collect()
}

/// The port if nothing listens on it; 0 asks the kernel for one.
fn free_port(port: u16, option: &str) -> Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))
        .context(|| format!("cannot publish port {port} on 127.0.0.1"))
        .hint(&format!(
            "choose another with `{option} N`, or any free one with `{option} 0`"
        ))?;
    Ok(listener.local_addr()?.port())
}

fn utf8(path: &Path) -> Result<String> {
    let text = path.to_str();
    text.map(str::to_owned)
        .context(|| format!("{} is not UTF-8, which QEMU needs", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_guest_is_understood_and_its_server_cannot_speak_for_it() {
        let mut seen = Seen::default();
        for line in [
            "@xtask up 3.20",
            "@xtask cpu 0xb76",
            "@xtask memory 437736",
            "| @xtask ended 0",
            "| Kernel panic - not syncing: said the server",
            "@xtask no-such-word",
            "@xtask",
        ] {
            seen.take(line, Duration::from_secs(4));
        }
        assert_eq!(
            (seen.up, seen.ended, seen.panic),
            (Some(Duration::from_secs(4)), None, false)
        );
        assert_eq!((seen.cpu.as_deref(), seen.memory_kib), (Some("0xb76"), Some(437_736)));
        seen.take("@xtask ended 132", Duration::ZERO);
        assert_eq!(seen.ended, Some(Ended::Signal(4)));
        seen.take(
            "[    0.9] Kernel panic - not syncing: Attempted to kill init!",
            Duration::ZERO,
        );
        assert!(seen.panic);
    }

    #[test]
    fn only_the_last_lines_are_kept() {
        let mut seen = Seen::default();
        for number in 0..LINES + 5 {
            seen.take(&number.to_string(), Duration::ZERO);
        }
        assert_eq!((seen.lines.len(), seen.lines[0].as_str()), (LINES, "5"));
    }
}
