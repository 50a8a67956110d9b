//! The emulated Pi Zero: real QEMU, the real kernel, images made here.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use xtask::boot::{self, BootOptions, KernelOptions, Problem};
use xtask::cx::Cx;
use xtask::oci::Digest;
use xtask::oci::layer::Entry;
use xtask::policy::Policy;
use xtask::run::{Ended, ImageSource, RunConfig, Service};
use xtask::shell::Shell;
use xtask::target::{Base, Platform};
use xtask::ui::{Ui, Verbosity};

use crate::chain;
use crate::require::require;

fn policy() -> Policy {
    Policy::parse(include_str!("../../../xtask.toml")).unwrap()
}

/// A root of its own, so that cards and consoles of parallel tests do not meet; the cache is everybody's.
fn cx(root: &Path) -> Cx {
    Cx {
        shell: Shell::default(),
        ui: Ui::new(Verbosity::Quiet),
        cache: xtask::cache::Cache::at(chain::cache_dir()),
        root: root.to_owned(),
        offline: false,
    }
}

fn options() -> BootOptions<'static> {
    BootOptions {
        service: Service {
            ready: "/ready".to_owned(),
            ..Service::default()
        },
        policy: policy().boot,
        kernel: KernelOptions::default(),
        port: 0,
        admin_port: 0,
        fresh: false,
        env: Vec::new(),
        args: Vec::new(),
        // The machine may be busy with a whole test suite.
        wait: Duration::from_secs(600),
        echo: false,
    }
}

/// Whether kernel and QEMU can be had.
fn can_boot() -> bool {
    let shell = Shell::default();
    require("apt-get", shell.which("apt-get").is_some())
        && require("setpriv", shell.which("setpriv").is_some())
        && chain::has_debian()
}

fn image(entries: Vec<Entry>, config: RunConfig) -> ImageSource {
    ImageSource {
        name: "test-armv6".to_owned(),
        platform: Platform::ArmV6,
        manifest: Digest::of(b"an image of a test"),
        config,
        layers: vec![Box::new(move || Ok(entries.clone()))],
    }
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

fn refused(cx: &Cx, image: &ImageSource) -> xtask::error::Error {
    match boot::boot(cx, image, &options(), &mut || false).unwrap() {
        Err(Problem::Image(error)) => error,
        other => panic!("{other:?}"),
    }
}

/// A program of the audit's fixtures; with `first`, another instruction where it begins.
fn program(first: Option<u32>) -> Vec<u8> {
    let mut bytes = fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/elf/v6")).unwrap();
    let word = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
    let (entry, headers) = (word(24), word(28) as usize);
    let count = u16::from_le_bytes(bytes[44..46].try_into().unwrap());
    let segment = (0..usize::from(count))
        .map(|index| headers + index * 32)
        .find(|at| word(*at) == 1 && (word(at + 8)..word(at + 8) + word(at + 16)).contains(&entry))
        .unwrap();
    let at = (entry - word(segment + 8) + word(segment + 4)) as usize;
    if let Some(instruction) = first {
        bytes[at..at + 4].copy_from_slice(&instruction.to_le_bytes());
    }
    bytes
}

#[test]
fn an_instruction_of_armv7_dies_and_is_reported_as_such() {
    if !can_boot() {
        return;
    }
    let root = tempfile::tempdir().unwrap();
    let cx = cx(root.path());
    let config = RunConfig {
        entrypoint: words(&["/server"]),
        ..RunConfig::default()
    };
    // movw r0, #0: every ARMv7 has it.
    let seven = image(
        vec![Entry::file("server", program(Some(0xE300_0000)), 0o755)],
        config.clone(),
    );
    let error = refused(&cx, &seven);
    assert!(error.to_string().contains("died of signal 4 (SIGILL)"), "{error}");
    assert!(error.to_string().contains("console.log"), "{error}");
    assert!(
        error.next_step().unwrap_or_default().contains("cargo xtask audit"),
        "{:?}",
        error.next_step()
    );
    // The same program without it ends as it wants to, so it was the instruction.
    let six = image(vec![Entry::file("server", program(None), 0o755)], config);
    let error = refused(&cx, &six);
    assert!(error.to_string().contains("ended with status 0"), "{error}");
}

#[test]
fn what_cannot_be_started_is_said_with_its_errno() {
    if !can_boot() {
        return;
    }
    let root = tempfile::tempdir().unwrap();
    let config = RunConfig {
        entrypoint: words(&["/server"]),
        ..RunConfig::default()
    };
    let other = fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/elf/amd64")).unwrap();
    let error = refused(
        &cx(root.path()),
        &image(vec![Entry::file("server", other, 0o755)], config),
    )
    .to_string();
    assert!(error.contains("ended with status 126"), "{error}");
    assert!(error.contains("cannot start /server: error 008"), "ENOEXEC: {error}");
}

/// What the program in the image saw, from the console.
fn said(console: &Path) -> Vec<String> {
    let text = fs::read_to_string(console).unwrap();
    let lines = text.lines().filter_map(|line| line.strip_prefix("| "));
    lines.map(str::to_owned).collect()
}

/// The busybox that came with the kernel.
fn busybox(cx: &Cx) -> Vec<u8> {
    let trees: Vec<PathBuf> = fs::read_dir(cx.cache.root().join("tree/boot"))
        .unwrap()
        .map(|entry| entry.unwrap().path().join("busybox"))
        .filter(|path| path.is_file())
        .collect();
    fs::read(&trees[0]).unwrap()
}

const SCRIPT: &str = r#"trap 'echo asked to stop; exit 7' USR1
echo "user $(id -u) $(id -g) $(id -G)"
echo "process $$"
echo "directory $(pwd)"
echo "variable $NAME"
echo "home $HOME"
echo "root $(ls / | tr '\n' ' ')"
echo "devices $(ls /dev | tr '\n' ' ')"
echo "before $(cat /data/file)"
echo "$*" >/data/file
echo "volume $(stat -c '%u:%g %a' /data)"
touch /outside && echo "/ can be written"
touch /sys/x 2>/dev/null || echo "/sys cannot be written"
i=0; while [ $i -lt 20000 ]; do i=$((i + 1)); done
busybox httpd -p 0.0.0.0:8080 -h /www
while :; do sleep 1; done
"#;

#[test]
fn the_image_is_run_as_its_configuration_says_and_its_volume_stays() {
    if !can_boot() {
        return;
    }
    let root = tempfile::tempdir().unwrap();
    let cx = cx(root.path());
    // Brings the kernel, and so busybox, into the cache.
    let nothing = image(Vec::new(), RunConfig::default());
    let error = boot::boot(&cx, &nothing, &options(), &mut || false)
        .err()
        .map(|error| error.to_string());
    assert!(error.is_some_and(|error| error.contains("neither Entrypoint nor Cmd")));
    let mut entries = vec![
        Entry::file("bin/busybox", busybox(&cx), 0o755),
        Entry::file("www/ready", "yes\n", 0o644),
        Entry::file("etc/passwd", "blog:x:1234:1235::/srv/blog:/bin/sh\n", 0o644),
        Entry::file("etc/group", "blog:x:1235:\nmore:x:1236:blog\n", 0o644),
        Entry::directory("data", 0o750).owned_by(1234, 1235),
        Entry::file("data/file", "from the image\n", 0o640).owned_by(1234, 1235),
        Entry::file("script", SCRIPT, 0o755),
    ];
    for applet in ["sh", "id", "ls", "tr", "cat", "stat", "touch", "sleep"] {
        entries.push(Entry::symlink(format!("bin/{applet}"), "busybox"));
    }
    let config = RunConfig {
        entrypoint: words(&["sh", "/script"]),
        cmd: words(&["written by", "'$quoted\" \\"]),
        env: words(&["PATH=/bin", "NAME=a 'b' $c \\ \"d\""]),
        user: "blog".to_owned(),
        working_dir: "/data".to_owned(),
        volumes: words(&["/data"]),
        exposed_ports: Vec::new(),
        stop_signal: "SIGUSR1".to_owned(),
    };
    let image = image(entries, config);
    let expected = |before: &str| {
        [
            "user 1234 1235 1235 1236",
            "process 1",
            "directory /data",
            "variable a 'b' $c \\ \"d\"",
            "home /srv/blog",
            "root bin data dev etc proc script sys www ",
            "devices fd full null ptmx pts random shm stderr stdin stdout tty urandom zero ",
            before,
            "volume 1234:1235 750",
            "/sys cannot be written",
        ]
        .map(str::to_owned)
        .to_vec()
    };
    let (mut machine, figures) = boot::boot(&cx, &image, &options(), &mut || false).unwrap().unwrap();
    assert_eq!(figures.cpu_part, boot::ARM1176);
    assert!(figures.rss > 0 && figures.peak_rss >= figures.rss, "{figures:?}");
    // Most of its work was to count to 20,000; a step is some hundred instructions, and no million.
    let work = machine.instructions().unwrap();
    assert!((2_000_000..20_000_000_000).contains(&work), "{work}");
    assert!((400_000..512 * 1024).contains(&figures.memory_kib), "{figures:?}");
    let mut stream = TcpStream::connect(("127.0.0.1", machine.port())).unwrap();
    stream.write_all(b"GET /ready HTTP/1.0\r\n\r\n").unwrap();
    let mut page = String::new();
    stream.read_to_string(&mut page).unwrap();
    assert!(page.ends_with("yes\n"), "{page}");
    let ended = machine.stop(Duration::from_secs(60), &mut || false).unwrap();
    assert_eq!(ended, Some(Ended::Exit(7)), "StopSignal is what the image says");
    let console = machine.console().to_owned();
    let pid = machine.pid();
    drop(machine);
    assert!(!Path::new(&format!("/proc/{pid}")).exists(), "QEMU is still running");
    let lines = said(&console);
    assert_eq!(lines.last().map(String::as_str), Some("asked to stop"));
    let before: Vec<String> = lines.iter().filter(|line| !line.contains("asked")).cloned().collect();
    assert_eq!(
        before
            .iter()
            .filter(|line| !line.contains("Permission denied"))
            .cloned()
            .collect::<Vec<_>>(),
        expected("before from the image")
    );

    // Another machine, the same card: the volume has what the first one wrote, word for word.
    let (mut machine, _) = boot::boot(&cx, &image, &options(), &mut || false).unwrap().unwrap();
    let error = boot::boot(&cx, &image, &options(), &mut || false)
        .unwrap_err()
        .to_string();
    assert!(error.contains("another machine uses the SD card"), "{error}");
    machine.cut_power().unwrap();
    let lines = said(&console);
    assert!(
        lines.contains(&"before written by '$quoted\" \\".to_owned()),
        "{lines:?}"
    );
}

#[test]
fn the_blog_keeps_an_acknowledged_post_through_a_power_cut() {
    if !can_boot() || !chain::can_provision() {
        return;
    }
    chain::image(Base::Scratch);
    let root = tempfile::tempdir().unwrap();
    let cx = cx(root.path());
    let dir = chain::repository().join("target/images/scratch-armv6");
    let image = ImageSource::from_layout(&dir, Some("scratch-armv6"), Base::Scratch, Platform::ArmV6).unwrap();
    let mut options = options();
    options.service.ready = policy().image.ready;
    // The owner signs in at a port of its own.
    options.service.admin_port = policy().image.admin_port;
    let checked = match boot::check(&cx, &image, &options, &mut || false).unwrap() {
        Ok(checked) => checked,
        Err(problem) => panic!("{problem:?}"),
    };
    assert_eq!(
        (checked.before.cpu_part.as_str(), checked.after.cpu_part.as_str()),
        ("0xb76", "0xb76")
    );
    assert_eq!(checked.stopped, "ended with status 0");
    // The whole process, before anybody has come: what 512 MB were promised.
    for figures in [&checked.before, &checked.after] {
        assert!((1..=8_000_000).contains(&figures.rss), "{figures:?}");
    }
    // The volume that is asked for does not outlive the machine: the check must see that the post is gone.
    options.service.volume = "/elsewhere".to_owned();
    let mut amnesiac = ImageSource::from_layout(&dir, Some("scratch-armv6"), Base::Scratch, Platform::ArmV6).unwrap();
    amnesiac.config.volumes.clear();
    match boot::check(&cx, &amnesiac, &options, &mut || false).unwrap() {
        Err(Problem::Image(error)) => {
            assert!(error.to_string().contains("the post is lost"), "{error}");
            assert!(
                root.path().join("target/boot/scratch-armv6/check.img").is_file(),
                "the card is kept"
            );
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn only_images_for_the_chip_are_booted_and_nothing_is_fetched_offline() {
    let root = tempfile::tempdir().unwrap();
    let mut cx = cx(root.path());
    let mut other = image(Vec::new(), RunConfig::default());
    other.platform = Platform::Arm64;
    let error = boot::boot(&cx, &other, &options(), &mut || false).unwrap_err();
    assert!(error.to_string().contains("linux/arm64"), "{error}");
    assert!(error.next_step().unwrap_or_default().contains("cargo xtask run"));

    let empty = tempfile::tempdir().unwrap();
    cx.cache = xtask::cache::Cache::at(empty.path());
    cx.offline = true;
    let nothing = image(Vec::new(), RunConfig::default());
    let error = boot::boot(&cx, &nothing, &options(), &mut || false).unwrap_err();
    assert!(error.to_string().contains("offline"), "{error}");
    assert!(
        error.next_step().unwrap_or_default().contains("--offline"),
        "{:?}",
        error.next_step()
    );
}

/// A gzip layer with `size` bytes that do not compress to nothing.
fn layer(size: usize) -> xtask::oci::Layer {
    let mut state = 1_u32;
    let content: Vec<u8> = std::iter::repeat_with(|| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 28) as u8
    })
    .take(size)
    .collect();
    let mut builder = xtask::oci::LayerBuilder::new(0);
    builder.add(Entry::file("content", content, 0o644)).unwrap();
    builder.finish("test").unwrap()
}

#[test]
fn unpacking_is_counted_once_and_more_is_more() {
    if !can_boot() {
        return;
    }
    let root = tempfile::tempdir().unwrap();
    let cx = cx(root.path());
    // Of a size that no other run had, so that the cache does not know it.
    let odd = 1_000_000 + std::process::id() as usize % 10_000;
    let (small, large) = ([layer(odd)], [layer(4 * odd)]);
    let count =
        |layers: &[xtask::oci::Layer]| boot::unpack::work(&cx, &policy().boot, KernelOptions::default(), layers);
    let more = count(&large).unwrap();
    let less = count(&small).unwrap();
    assert!(less > 10_000_000 && more > 2 * less, "{less} {more}");
    assert_eq!(boot::unpack::known(&cx, &policy().boot, &large), Some(more));
    let both = [small[0].clone(), large[0].clone()];
    assert_eq!(count(&both).unwrap(), less + more);
}
