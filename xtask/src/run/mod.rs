//! Running an image on the development machine: its own files, its own configuration, and for a foreign platform
//! qemu-user with the `-cpu` of the real chip, which refuses what the chip lacks.
//!
//! What differs from Docker on the Pi, on purpose: the network is the host's and the server listens on the loopback
//! address only; the user is the caller (root inside the namespace), whatever `User` says; what the server writes
//! outside its volume stays in the unpacked tree until the image changes or `--fresh`. It keeps a program to its image
//! for fidelity and tidiness; it is no security boundary against the image.

mod config;
mod isolation;
mod qemu;
mod server;
mod tree;
mod unpack;

use std::fmt;
use std::fs::{self, File, TryLockError};
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

pub use config::{Program, RunConfig, Service};
pub use isolation::{Confinement, Isolation, Namespaces, Paths, choose, command_line};
pub use qemu::{Processor, QemuUser, find, host_runs, installed};
pub use server::{Ended, Readiness, STOP_LIMIT, Server, Stopped, diagnosis, stop_signal};
pub use unpack::{Rootfs, unpack};

use crate::cx::Cx;
use crate::error::{Context, Error, Result};
use crate::oci::layer::{Entry, Layer, Limits};
use crate::oci::layout::load_image;
use crate::oci::{Digest, Image};
use crate::shell::signals::hold;
use crate::target::{Base, Platform};
use crate::ui::{Ui, Verbosity};
use tree::{Absent, Tree};
use unpack::Lock;

/// Reads one layer when it is needed.
pub type ReadLayer = Box<dyn Fn() -> Result<Vec<Entry>>>;

/// An image that can be run.
pub struct ImageSource {
    /// `<base>-<platform slug>`: names the directory below target/run.
    pub name: String,
    /// Its platform.
    pub platform: Platform,
    /// Digest of its manifest: decides whether what is unpacked is still the image.
    pub manifest: Digest,
    /// Its configuration.
    pub config: RunConfig,
    /// Its layers, bottom first.
    pub layers: Vec<ReadLayer>,
}

impl ImageSource {
    /// An image in memory. Its layers are taken apart only when it is not unpacked yet.
    ///
    /// # Errors
    /// A configuration that an engine could not run either.
    pub fn from_image(name: String, image: &Image) -> Result<ImageSource> {
        let config = image.config();
        let config = RunConfig::from_json(config.bytes())
            .context(|| format!("{name}: cannot read the configuration {}", config.digest()))?;
        let read = |layer: &Layer| -> ReadLayer {
            let layer = layer.clone();
            Box::new(move || Ok(layer.entries(&Limits::default())?))
        };
        Ok(ImageSource {
            name,
            platform: image.platform(),
            manifest: image.manifest().digest(),
            config,
            layers: image.layers().iter().map(read).collect(),
        })
    }

    /// The image for a base and platform in an OCI image layout; `reference` (a tag or a whole name) is needed when the
    /// layout has several for the platform.
    ///
    /// # Errors
    /// No such layout or image, several images, a damaged blob.
    pub fn from_layout(dir: &Path, reference: Option<&str>, base: Base, platform: Platform) -> Result<ImageSource> {
        let store = crate::publish::layout::open(dir)?;
        let image = load_image(&store, reference, platform, &Limits::default())?;
        ImageSource::from_image(format!("{base}-{}", platform.slug()), &image)
    }
}

impl fmt::Debug for ImageSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ImageSource")
            .field("name", &self.name)
            .field("platform", &self.platform)
            .field("manifest", &self.manifest)
            .field("config", &self.config)
            .field("layers", &self.layers.len())
            .finish()
    }
}

/// How it is to be run.
#[derive(Clone, Debug)]
pub struct RunOptions {
    /// How the server is reached, from xtask.toml.
    pub service: Service,
    /// `--port`: the published port on 127.0.0.1; 0 takes a free one.
    pub port: u16,
    /// `--admin-port`: the same for the owner's port, when the service has one.
    pub admin_port: u16,
    /// `--isolation`.
    pub isolation: Isolation,
    /// `--data`: where the volume's content is kept; by default `data` beside the unpacked tree.
    pub data: Option<PathBuf>,
    /// `--fresh`: unpack anew and empty the default data directory (never one given with `--data`).
    pub fresh: bool,
    /// `--env`: taken as they are, after the image's own.
    pub env: Vec<(String, String)>,
    /// Arguments after `--`, in the place of the image's `Cmd`.
    pub args: Vec<String>,
    /// `--wait`: how long the first answer may take.
    pub wait: Duration,
    /// Whether what the server prints goes to stderr; it is kept for [`Server::logs`] in any case.
    pub echo: bool,
}

impl Default for RunOptions {
    fn default() -> Self {
        RunOptions {
            service: Service::default(),
            port: 8080,
            admin_port: 0,
            isolation: Isolation::Auto,
            data: None,
            fresh: false,
            env: Vec::new(),
            args: Vec::new(),
            wait: Duration::from_secs(60),
            echo: true,
        }
    }
}

/// Starts the image's server and returns as soon as it answers.
///
/// The server dies with the calling thread: see [`Server`].
///
/// # Errors
/// Everything that [`launch`] says; a server that ends (with the end of its log and the likely reason) or does not
/// answer in time.
pub fn start(cx: &Cx, image: &ImageSource, options: &RunOptions) -> Result<Server> {
    let mut server = launch(cx, image, options)?;
    match server.wait_ready(options.wait, &mut || false)? {
        Readiness::Ready => Ok(server),
        Readiness::Ended(ended) => Err(server.ended_early(ended)),
        Readiness::Interrupted | Readiness::TimedOut => Err(no_answer(&server, options)),
    }
}

/// The verb: starts the server, prints its URL when it answers, and waits for Ctrl-C, SIGTERM or its end.
/// A second Ctrl-C kills it at once.
pub fn run(cx: &Cx, image: &ImageSource, options: &RunOptions) -> Result<()> {
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP]).context(|| "cannot listen for signals")?;
    let _hold = hold();
    let mut interrupted = move || signals.pending().next().is_some();
    let mut server = launch(cx, image, options)?;
    match server.wait_ready(options.wait, &mut interrupted)? {
        Readiness::Ready => {}
        Readiness::Interrupted => return stop(cx, &mut server, &mut interrupted),
        Readiness::TimedOut => return Err(no_answer(&server, options)),
        // Arguments of one's own may well name something that just does its work: `-- --version`.
        Readiness::Ended(ended) if ended.success() && !options.args.is_empty() => return Ok(()),
        Readiness::Ended(ended) => return Err(server.ended_early(ended)),
    }
    let after = server.first_answer().unwrap_or_default();
    let rss = server.rss().map(|rss| format!(", {} resident", crate::ui::bytes(rss)));
    cx.ui.step(
        "Answering",
        &format!(
            "after {:.2} s{}; Ctrl-C stops it",
            after.as_secs_f64(),
            rss.unwrap_or_default()
        ),
    );
    if server.admin_port() != server.port() {
        cx.ui
            .step("Owner", &format!("http://127.0.0.1:{}/", server.admin_port()));
    }
    cx.ui.result(&server.url());
    loop {
        if interrupted() {
            return stop(cx, &mut server, &mut interrupted);
        }
        match server.try_wait()? {
            None => std::thread::sleep(Duration::from_millis(50)),
            Some(ended) if ended.success() => return Ok(()),
            Some(ended) => return Err(server.ended_early(ended)),
        }
    }
}

fn stop(cx: &Cx, server: &mut Server, hurry: &mut dyn FnMut() -> bool) -> Result<()> {
    cx.ui.step("Stopping", "the server; Ctrl-C again kills it");
    let stopped = server.stop_within(STOP_LIMIT, hurry)?;
    if stopped.killed {
        cx.ui.warn("the server did not stop when asked to, and was killed");
    } else {
        cx.ui
            .step("Stopped", &format!("after {:.2} s", stopped.after.as_secs_f64()));
    }
    Ok(())
}

fn no_answer(server: &Server, options: &RunOptions) -> Error {
    let path = options.service.ready.trim_start_matches('/');
    let seconds = options.wait.as_secs();
    Error::new(format!("{}{path} did not answer within {seconds} s", server.url())).hint(
        "give it more time with `--wait SECONDS`; or does it listen elsewhere? `[image] port` in xtask.toml must be the \
         port that the image listens on",
    )
}

/// Starts the image's server; does not wait for anything.
///
/// # Errors
/// A port or data directory that is taken, an image without a program, a missing qemu-user, a kernel that refuses
/// (with `--isolation chroot`), what the disk says.
pub fn launch(cx: &Cx, image: &ImageSource, options: &RunOptions) -> Result<Server> {
    let volume = options.service.volume.as_str();
    if !volume.starts_with('/') || volume.trim_matches('/').is_empty() {
        return Err(Error::new(format!(
            "`[image] volume` is `{volume}`: expected an absolute path"
        )));
    }
    let home = utf8(&std::path::absolute(cx.root.join("target/run").join(&image.name))?)?;
    let stop_signal = stop_signal(&image.config.stop_signal)?;
    let port = free_port(options.port, "--port")?;
    let admin = match options.service.admin_port {
        Some(_) => free_port(options.admin_port, "--admin-port")?,
        None => 0,
    };
    let program = image
        .config
        .program(&options.service, port, admin, &options.args, &options.env)
        .context(|| format!("the image {} has neither Entrypoint nor Cmd", image.name))
        .hint("name the program after `--`")?;
    if program.port != port {
        cx.ui.warn(&format!(
            "nothing in the image's configuration names port {}, so it cannot be published elsewhere",
            program.port
        ));
        free_port(program.port, "--port")?;
    }

    let (data, data_lock) = data_directory(cx, &home, options)?;
    let directories = [&isolation::MOUNT_POINTS[..], &[volume, &program.working_dir]].concat();
    let rootfs = unpack(
        &home,
        &image.manifest.hex(),
        &image.layers,
        &directories,
        &isolation::FILES,
        options.fresh,
    )?;
    let tree = Tree::open(&rootfs.path)?;
    let (confinement, processor) = confine(cx, image, options, &tree)?;

    let inside = find_program(&tree, &program)?;
    let resolved = tree.resolve(&inside)?.unwrap_or_default();
    let host_program = tree.path().join(resolved);
    check_program(&host_program, &inside, &processor)?;
    let program = match &confinement {
        Confinement::Prefix { .. } => program.with_volume_at(volume, &data.to_string_lossy()),
        Confinement::Chroot(_) => program,
    };
    if !matches!(image.config.user.as_str(), "" | "0" | "0:0" | "root") {
        cx.ui.note(&format!(
            "the image's user {} is not kept: the server runs as you",
            image.config.user
        ));
    }

    let paths = Paths {
        rootfs: &rootfs.path,
        data: &data,
        volume,
        program: &inside,
        host_program: &host_program,
    };
    let words = command_line(&confinement, &processor, &program, paths);
    let (how, depth, directory) = match &confinement {
        Confinement::Chroot(_) => ("in a chroot", 2, PathBuf::from("/")),
        Confinement::Prefix { .. } => {
            let directory = tree.directory(&program.working_dir, Absent::Report)?;
            let directory = directory.map(|place| rootfs.path.join(place.path()));
            ("without a chroot", 0, directory.unwrap_or_else(|| rootfs.path.clone()))
        }
    };
    cx.ui.step(
        "Running",
        &format!(
            "{} ({}) on {} {how}, data in {}",
            image.name,
            image.platform,
            processor.describe(),
            cx.show(&data)
        ),
    );
    let mut command = cx
        .shell
        .command(&words[0])
        .args(&words[1..])
        .env_clear()
        .current_dir(directory);
    for (name, value) in isolation::environment(&confinement, &processor, &program) {
        command = command.env(name, value);
    }
    let (reader, writer) = std::io::pipe()?;
    let other = writer.try_clone()?;
    let started = Instant::now();
    let running = command.spawn_with(|process| {
        use std::os::unix::process::CommandExt;
        // A group of its own: Ctrl-C reaches xtask only, which then sends what the image asks for.
        process
            .stdout(Stdio::from(writer))
            .stderr(Stdio::from(other))
            .process_group(0);
    })?;
    let echo = options.echo && cx.ui.verbosity() > Verbosity::Quiet;
    Ok(Server {
        running,
        platform: image.platform,
        port: program.port,
        admin_port: program.admin_port,
        ready_path: options.service.ready.clone(),
        started,
        first_answer: None,
        stop_signal,
        depth,
        log: server::Log::read(reader, echo.then(|| Ui::new(cx.ui.verbosity()))),
        ended: None,
        _rootfs: rootfs,
        _data: data_lock,
    })
}

/// Decides between chroot and prefix and finds the qemu-user that suits. `auto` never fails for want of a chroot.
fn confine(cx: &Cx, image: &ImageSource, options: &RunOptions, tree: &Tree) -> Result<(Confinement, Processor)> {
    let volume = options.service.volume.as_str();
    let (confinement, mut refused) = choose(cx, options.isolation)?;
    if let Confinement::Chroot(_) = confinement {
        let blocked = isolation::MOUNT_POINTS.iter().chain([&volume]).find_map(|point| {
            let place = tree.directory(point, Absent::Report).ok().flatten();
            let whole = place.is_some_and(|place| place.path() == point.trim_matches('/'));
            (!whole).then(|| format!("{point} of the image is a link, so nothing can be mounted there"))
        });
        let processor = match blocked {
            Some(reason) => Err(Error::new(reason)),
            None => find(cx, image.platform, true),
        };
        match processor {
            Ok(processor) => return Ok((confinement, processor)),
            Err(error) if options.isolation == Isolation::Chroot => return Err(error),
            Err(error) => refused = Some(error.to_string()),
        }
    }
    if let Some(reason) = refused {
        let reason = reason.replace("\n  ", " ");
        cx.ui.note(&format!(
            "running without a chroot, among the files of this machine: {reason}"
        ));
    }
    let (confinement, _) = choose(cx, Isolation::Prefix)?;
    Ok((confinement, find(cx, image.platform, false)?))
}

/// The directory behind the volume, locked: two servers on one database would be no test of anything.
fn data_directory(cx: &Cx, home: &Path, options: &RunOptions) -> Result<(PathBuf, Lock)> {
    let data = match &options.data {
        Some(data) => utf8(&std::path::absolute(data)?)?,
        None => home.join("data"),
    };
    fs::create_dir_all(&data).context(|| format!("cannot create the data directory {}", data.display()))?;
    let lock = Lock(File::open(&data).context(|| format!("cannot open the data directory {}", data.display()))?);
    // A file system without locks does not keep anybody from running.
    if let Err(TryLockError::WouldBlock) = lock.0.try_lock() {
        return Err(
            Error::new(format!("another run uses the data directory {}", data.display()))
                .hint("stop it, or give this one its own with `--data DIR`"),
        );
    }
    if options.fresh {
        if options.data.is_some() {
            cx.ui.note(&format!(
                "--fresh leaves {} alone: it was given with --data",
                data.display()
            ));
        } else {
            for entry in fs::read_dir(&data)? {
                let path = entry?.path();
                let is_directory = fs::symlink_metadata(&path)?.is_dir();
                let removed = if is_directory {
                    fs::remove_dir_all(&path)
                } else {
                    fs::remove_file(&path)
                };
                removed.context(|| format!("cannot remove {}", path.display()))?;
            }
        }
    }
    Ok((data, lock))
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

/// Absolute path, inside the image, of the program: looked up in the image's PATH when its name has no slash.
fn find_program(tree: &Tree, program: &Program) -> Result<String> {
    let name = program.argv.first().map_or("", String::as_str);
    let candidates: Vec<String> = if name.starts_with('/') {
        vec![name.to_owned()]
    } else if name.contains('/') {
        vec![format!("{}/{name}", program.working_dir.trim_end_matches('/'))]
    } else {
        let path = program
            .variable("PATH")
            .unwrap_or("/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
        path.split(':')
            .filter(|dir| dir.starts_with('/'))
            .map(|dir| format!("{}/{name}", dir.trim_end_matches('/')))
            .collect()
    };
    for candidate in candidates {
        if let Ok(Some(found)) = tree.resolve(&candidate)
            && tree.path().join(found).is_file()
        {
            return Ok(candidate);
        }
    }
    Err(Error::new(format!("the image has no program `{name}`")))
}

/// qemu-user starts ELF programs and nothing else.
fn check_program(host: &Path, inside: &str, processor: &Processor) -> Result<()> {
    let mut magic = Vec::new();
    use std::io::Read;
    let file = File::open(host).context(|| format!("cannot read {inside}"))?;
    file.take(4).read_to_end(&mut magic)?;
    if *processor != Processor::Host && magic.starts_with(b"#!") {
        return Err(
            Error::new(format!("{inside} is a script, and qemu-user starts programs only"))
                .hint("name the interpreter in ENTRYPOINT, or a program after `--`"),
        );
    }
    Ok(())
}

fn utf8(path: &Path) -> Result<PathBuf> {
    let text = path.to_str();
    let text = text.context(|| format!("{} is not UTF-8, which running an image needs", path.display()))?;
    Ok(PathBuf::from(text))
}
