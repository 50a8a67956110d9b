//! Booting an image on an emulated Raspberry Pi Zero: QEMU's `raspi0` (ARM1176, 512 MB) with Debian's kernel for that board.
//!
//! This is the proof that qemu-user cannot give: the processor is the chip's for the kernel as well, the image's program
//! runs as its user, with its entry point, environment, working directory and volumes, as process 1 of a container; and
//! the power can be cut. What it does not show is speed, timing, and the caches of the real chip.
//!
//! `kernel` provides what is booted, `initramfs` puts it and the image into one archive, `card` makes the SD card that
//! the volumes are on, `machine` runs QEMU, `browser` visits the server, `check` cuts the power.

mod browser;
mod card;
mod check;
mod cpio;
mod initramfs;
mod kernel;
mod launcher;
mod machine;
pub mod unpack;
mod user;

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use serde::Serialize;

pub use card::{mke2fs_cached, mke2fs_installed};
pub use check::{Checked, check};
pub use kernel::{Options as KernelOptions, cached as kernel_cached};
pub use machine::{Machine, Status, qemu_cached, qemu_installed};

use crate::cx::Cx;
use crate::error::{Context, Error, Result};
use crate::oci::tree::Tree;
use crate::policy::BootPolicy;
use crate::run::{Ended, ImageSource, Service, diagnosis, stop_signal};
use crate::target::Platform;
use card::Card;
use initramfs::{Parts, initramfs};
use machine::{Halt, Setup};

/// `CPU part` of the ARM1176 (ARM DDI 0301H, c0 Main ID Register).
pub const ARM1176: &str = "0xb76";

/// How an image is booted.
#[derive(Clone, Debug)]
pub struct BootOptions<'a> {
    /// How the server is reached, from xtask.toml.
    pub service: Service,
    /// `[boot]`.
    pub policy: BootPolicy,
    /// Where the kernel comes from.
    pub kernel: KernelOptions<'a>,
    /// Port on 127.0.0.1; 0 takes a free one.
    pub port: u16,
    /// The same for the owner's port, when the service has one.
    pub admin_port: u16,
    /// An empty SD card.
    pub fresh: bool,
    /// Variables, after the image's own.
    pub env: Vec<(String, String)>,
    /// Arguments in the place of the image's `Cmd`.
    pub args: Vec<String>,
    /// How long the first answer may take, from switching on.
    pub wait: Duration,
    /// Whether what the server prints goes to stderr.
    pub echo: bool,
}

/// Why an image is not served, when the work itself could be done.
#[derive(Debug)]
pub enum Problem {
    /// The caller did not want to wait any longer.
    Interrupted,
    /// It does not run on this chip, or does not answer: what was seen, and the next step.
    Image(Error),
}

/// What was measured. Times are the emulator's on this machine; memory is what it would be on a Pi.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Figures {
    /// `<base>-<platform slug>`.
    pub image: String,
    /// Digest of its manifest.
    pub manifest: String,
    /// Where the server answers, or answered.
    pub url: String,
    /// Where the owner signs in.
    pub admin_url: String,
    /// QEMU's version.
    pub qemu: String,
    /// The kernel's release.
    pub kernel: String,
    /// `CPU part`, as the guest reads it.
    pub cpu_part: String,
    /// Memory that the kernel has, in KiB.
    pub memory_kib: u64,
    /// From switching on to process 1.
    pub boot_seconds: f64,
    /// From switching on to the first answer.
    pub answer_seconds: f64,
    /// From the start of the server to its first answer.
    pub server_seconds: f64,
    /// Resident memory of the server after its first answer, in bytes.
    pub rss: u64,
    /// The most it has had.
    pub peak_rss: u64,
}

/// A place for one machine: what it is made of, and where its card and its console lie.
pub(crate) struct Place {
    pub(crate) directory: PathBuf,
    pub(crate) card: &'static str,
    pub(crate) console: &'static str,
}

impl Place {
    /// target/boot/NAME, with names for card and console.
    pub(crate) fn new(cx: &Cx, image: &ImageSource, card: &'static str, console: &'static str) -> Result<Place> {
        let directory = std::path::absolute(cx.root.join("target/boot").join(&image.name))?;
        fs::create_dir_all(&directory).context(|| format!("cannot create {}", directory.display()))?;
        Ok(Place {
            directory,
            card,
            console,
        })
    }
}

/// Four nanoseconds an instruction, and the clock of this machine while the board idles.
const CLOCK: &str = "shift=2,sleep=on";
/// How many of them an instruction takes: two to the power of `shift`.
const NANOSECONDS: u64 = 4;
/// How long the kernel may take to start process 1; it takes 5 to 10 s. An emulator that stands still before it has touched
/// anything of the image or the card is switched off and on again.
const KERNEL: Duration = Duration::from_secs(60);
/// How often the machine is switched on.
const TRIES: u32 = 3;

/// Boots the image and returns when its server answers. The card is target/boot/NAME/card.img and stays.
///
/// # Errors
/// What is needed cannot be had; an image that no engine could run; a guest that does not come up. What is the image's own
/// fault is a [`Problem`].
pub fn boot(
    cx: &Cx,
    image: &ImageSource,
    options: &BootOptions<'_>,
    interrupted: &mut dyn FnMut() -> bool,
) -> Result<std::result::Result<(Machine, Figures), Problem>> {
    let place = Place::new(cx, image, "card.img", "console.log")?;
    boot_at(cx, image, options, &place, interrupted)
}

pub(crate) fn boot_at(
    cx: &Cx,
    image: &ImageSource,
    options: &BootOptions<'_>,
    place: &Place,
    interrupted: &mut dyn FnMut() -> bool,
) -> Result<std::result::Result<(Machine, Figures), Problem>> {
    if image.platform != Platform::ArmV6 {
        return Err(Error::new(format!(
            "{} is for {}, and a Pi Zero is {}",
            image.name,
            image.platform,
            Platform::ArmV6
        ))
        .hint(format!(
            "`cargo xtask run --platform {}` serves it under the CPU of its platform",
            image.platform
        )));
    }
    let qemu = machine::qemu(cx)?;
    let kernel = kernel::provide(cx, &options.policy, options.kernel)?;
    let archive = archive(image, &kernel, options)?;
    cx.ui.step(
        "Booting",
        &format!(
            "{} on an emulated Raspberry Pi Zero (QEMU {}, Linux {})",
            image.name,
            qemu.version,
            kernel.release()
        ),
    );
    let mut tries = 1;
    let mut fresh = options.fresh;
    let mut machine = loop {
        let card = Card::open(cx, &place.directory.join(place.card), options.policy.card_mib, fresh)?;
        let setup = Setup {
            kernel: &kernel,
            qemu: &qemu,
            initramfs: &archive,
            card,
            console: place.directory.join(place.console),
            port: options.port,
            guest_port: options.service.port,
            admin: options.service.admin_port.map(|guest| (options.admin_port, guest)),
            clock: CLOCK,
            echo: options.echo,
        };
        let mut machine = Machine::start(cx, setup)?;
        let patience = options.wait.min(KERNEL);
        match machine.wait_up(patience, interrupted) {
            Ok(false) if tries < TRIES && options.wait > KERNEL => {
                cx.ui.note(&format!(
                    "the emulated kernel stands still after {} s; switching off and on again",
                    patience.as_secs()
                ));
                drop(machine);
                fresh = false;
                tries += 1;
            }
            Ok(_) => break machine,
            Err(halt) => return halted(cx, &machine, halt, options).map(Err),
        }
    };
    drop(archive);
    if let Err(halt) = machine.wait_ready(&options.service.ready, options.wait, interrupted) {
        return halted(cx, &machine, halt, options).map(Err);
    }
    if machine.cpu_part() != ARM1176 {
        return Err(Error::new(format!(
            "the emulated processor says that it is part {}, and the ARM1176 is {ARM1176}",
            machine.cpu_part()
        ))
        .hint("is `qemu-system-arm` in PATH a QEMU of your own making?"));
    }
    let status = match machine.status() {
        Ok(status) => status,
        Err(error) => return Err(with_console(cx, &machine, error)),
    };
    let seconds = |duration: Option<Duration>| duration.unwrap_or_default().as_secs_f64();
    let round = |seconds: f64| (seconds * 1000.0).round() / 1000.0;
    let answer = seconds(machine.first_answer());
    let figures = Figures {
        image: image.name.clone(),
        manifest: image.manifest.to_string(),
        url: machine.url(),
        admin_url: format!("http://127.0.0.1:{}/", machine.admin_port()),
        qemu: qemu.version,
        kernel: machine.kernel(),
        cpu_part: machine.cpu_part(),
        memory_kib: machine.memory_kib(),
        boot_seconds: round(seconds(machine.up())),
        answer_seconds: round(answer),
        server_seconds: round(answer - seconds(machine.program_started())),
        rss: status.rss,
        peak_rss: status.peak_rss,
    };
    Ok(Ok((machine, figures)))
}

/// The image, as an engine would run it, and what boots it.
fn archive(image: &ImageSource, kernel: &kernel::Kernel, options: &BootOptions<'_>) -> Result<Vec<u8>> {
    let mut tree = Tree::default();
    for (index, read) in image.layers.iter().enumerate() {
        let layer = read().and_then(|entries| Ok(tree.apply(entries)?));
        layer.context(|| format!("{}: layer {} of {}", image.name, index + 1, image.layers.len()))?;
    }
    let service = &options.service;
    let program = image
        .config
        .contained(service.port, &options.args, &options.env)
        .context(|| format!("the image {} has neither Entrypoint nor Cmd", image.name))
        .hint("name the program after `--`")?;
    let wrong = |reason: String| Error::new(format!("{}: {reason}", image.name));
    let (identity, home) = user::resolve(&image.config.user, &tree).map_err(wrong)?;
    let mut volumes = image.config.volumes.clone();
    if !volumes.contains(&service.volume) {
        volumes.push(service.volume.clone());
    }
    // What lies above is mounted first.
    volumes.sort();
    let parts = Parts {
        tree,
        program,
        identity,
        home,
        volumes: &volumes,
        stop_signal: stop_signal(&image.config.stop_signal)?.as_raw(),
        busybox: &kernel.busybox()?,
        modules: &kernel.modules()?,
    };
    initramfs(parts).map_err(wrong)
}

/// A machine that came to a halt: the image's fault is a problem, everything else an error.
fn halted(cx: &Cx, machine: &Machine, halt: Halt, options: &BootOptions<'_>) -> Result<Problem> {
    let seconds = options.wait.as_secs();
    let image = |error: Error| Ok(Problem::Image(with_console(cx, machine, error)));
    match halt {
        Halt::Interrupted => Ok(Problem::Interrupted),
        Halt::Ended(ended) => image(ended_early(machine, ended)),
        Halt::TimedOut if machine.program_started().is_some() => image(
            Error::new(format!(
                "the server runs, and {} did not answer within {seconds} s of switching on",
                options.service.ready
            ))
            .hint("give it more time with `--wait SECONDS`; or does it listen elsewhere? `[image] port` in xtask.toml must be the port that the image listens on"),
        ),
        Halt::TimedOut => Err(with_console(
            cx,
            machine,
            Error::new(format!("the emulated Pi Zero did not come up within {seconds} s"))
                .hint("give it more time with `--wait SECONDS`"),
        )),
        Halt::Failed(reason) => Err(with_console(cx, machine, Error::new(format!("the guest stopped: {reason}")))),
        Halt::Panic => Err(with_console(
            cx,
            machine,
            Error::new("the kernel of the guest panicked")
                .hint("another kernel may help: `cargo xtask boot --refresh`, or another `suite` in `[boot]` of xtask.toml"),
        )),
        Halt::Closed => Err(with_console(cx, machine, Error::new("QEMU ended by itself"))),
    }
}

/// What became of a machine that was serving: `None` while it goes on. A server that ends with status 0 has done what it
/// wanted to, and is a problem all the same: on the Pi it would be started again.
pub fn halted_later(cx: &Cx, machine: &mut Machine) -> Result<Option<Problem>> {
    match machine.halted() {
        None => Ok(None),
        Some(Halt::Ended(ended)) => Ok(Some(Problem::Image(with_console(
            cx,
            machine,
            ended_early(machine, ended),
        )))),
        Some(halt) => Err(with_console(
            cx,
            machine,
            Error::new(format!("the emulated Pi Zero went away: {halt:?}")),
        )),
    }
}

fn ended_early(machine: &Machine, ended: Ended) -> Error {
    let log = machine.last_lines(usize::MAX).join("\n");
    let error = Error::new(format!("on the Pi Zero, the server {ended}"));
    match diagnosis(ended, &log, Platform::ArmV6) {
        Some(hint) => error.hint(hint),
        None => error,
    }
}

/// Adds the end of the console and where the whole of it is.
pub(crate) fn with_console(cx: &Cx, machine: &Machine, error: Error) -> Error {
    let lines: Vec<String> = machine
        .last_lines(12)
        .into_iter()
        .map(|line| machine::printable(&line))
        .collect();
    let place = cx.show(machine.console());
    let hint = error.next_step().map(str::to_owned);
    let console = match lines.is_empty() {
        true => format!("the console is empty: {place}"),
        false => format!("the end of the console, {place}:\n  {}", lines.join("\n  ")),
    };
    let error = Error::new(format!("{error}\n{console}"));
    match hint {
        Some(hint) => error.hint(hint),
        None => error.hint(format!("the whole console is in {place}")),
    }
}
