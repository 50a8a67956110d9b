//! Running images: what is unpacked stays inside, and a real foreign server starts, serves, stops and dies.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use xtask::cache::Cache;
use xtask::cx::Cx;
use xtask::oci::dockerfile::evaluate;
use xtask::oci::image::MemoryFiles;
use xtask::oci::layer::{Entry, EntryKind};
use xtask::oci::{BaseImage, Digest, ImageName, assemble};
use xtask::run::{
    self, Confinement, Ended, ImageSource, Isolation, Namespaces, Paths, Processor, QemuUser, ReadLayer, RunConfig,
    RunOptions, Service,
};
use xtask::shell::{Running, Shell};
use xtask::target::{Base, Platform};
use xtask::ui::{Ui, Verbosity};

use crate::require::require;

fn cx(root: &Path) -> Cx {
    Cx {
        shell: Shell::default(),
        ui: Ui::new(Verbosity::Quiet),
        cache: Cache::at(root.join("cache")),
        root: root.to_owned(),
        offline: true,
    }
}

fn layers(layers: Vec<Vec<Entry>>) -> Vec<ReadLayer> {
    let read = |entries: Vec<Entry>| -> ReadLayer { Box::new(move || Ok(entries.clone())) };
    layers.into_iter().map(read).collect()
}

fn unpack(parent: &Path, content: Vec<Vec<Entry>>) -> xtask::error::Result<PathBuf> {
    run::unpack(parent, &"a".repeat(64), &layers(content), &[], &[], false).map(|rootfs| rootfs.path)
}

fn hard_link(path: &str, target: &str) -> Entry {
    Entry::new(path, EntryKind::Hardlink(target.to_owned()), 0o644)
}

fn whiteout(path: &str) -> Entry {
    Entry::new(path, EntryKind::Whiteout, 0)
}

#[test]
fn files_modes_times_and_links_arrive_and_privileges_do_not() {
    let dir = tempfile::tempdir().unwrap();
    let mut old = Entry::file("bin/tool", "x", 0o4755);
    old.mtime = 1_000_000_000;
    let root = unpack(
        dir.path(),
        vec![vec![
            Entry::directory("bin", 0o555),
            old,
            hard_link("bin/same", "bin/tool"),
            Entry::symlink("sbin", "bin"),
            Entry::file("secret", "s", 0o000),
            Entry::directory("tmp", 0o1777),
        ]],
    )
    .unwrap();
    let tool = root.join("bin/tool").metadata().unwrap();
    assert_eq!((tool.mode() & 0o7777, tool.mtime()), (0o755, 1_000_000_000));
    assert_eq!(tool.ino(), root.join("bin/same").metadata().unwrap().ino());
    assert_eq!(fs::read_link(root.join("sbin")).unwrap(), Path::new("bin"));
    let mode = |name: &str| root.join(name).metadata().unwrap().mode() & 0o7777;
    assert_eq!((mode("bin"), mode("secret"), mode("tmp")), (0o755, 0o400, 0o1777));
}

#[test]
fn a_link_out_of_the_image_leads_nowhere() {
    let dir = tempfile::tempdir().unwrap();
    let outside = dir.path().join("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("victim"), "whole").unwrap();
    let absolute = outside.to_str().unwrap();
    let parent = dir.path().join("images");
    let root = unpack(
        &parent,
        vec![
            vec![
                Entry::symlink("absolute", absolute),
                Entry::symlink("relative", "../../outside"),
                Entry::symlink("victim", format!("{absolute}/victim")),
            ],
            vec![
                Entry::file("absolute/new", "1", 0o644),
                Entry::file("relative/new", "2", 0o644),
                Entry::file("victim", "replaced, not written through", 0o644),
                whiteout("absolute/victim"),
                Entry::directory("relative", 0o700),
            ],
        ],
    )
    .unwrap();
    let mut names: Vec<_> = fs::read_dir(&outside)
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    names.sort();
    assert_eq!(names, ["victim"], "something was written outside");
    assert_eq!(fs::read_to_string(outside.join("victim")).unwrap(), "whole");
    // Where the container would have seen it: below the image's own root.
    let inside = root.join(absolute.trim_start_matches('/')).join("new");
    assert_eq!(fs::read_to_string(inside).unwrap(), "1");
    assert_eq!(fs::read_to_string(root.join("outside/new")).unwrap(), "2");
    assert!(root.join("victim").symlink_metadata().unwrap().is_file());
}

#[test]
fn hostile_entries_are_refused_and_leave_nothing_behind() {
    let loops = vec![
        Entry::symlink("a", "b"),
        Entry::symlink("b", "a"),
        Entry::file("a/x", "", 0o644),
    ];
    for (entries, wanted) in [
        (vec![Entry::file("../x", "", 0o644)], "not a path inside the image"),
        (vec![Entry::file("/etc/x", "", 0o644)], "not a path inside the image"),
        (vec![Entry::file("a/./x", "", 0o644)], "not a path inside the image"),
        (vec![whiteout("..")], "not a path inside the image"),
        (vec![hard_link("x", "../../etc/passwd")], "not a path inside the image"),
        (vec![hard_link("x", "etc/passwd")], "which the image does not have"),
        (
            vec![Entry::symlink("l", "/etc"), hard_link("x", "l/passwd")],
            "which the image does not have",
        ),
        (
            vec![Entry::file("f", "", 0o644), Entry::file("f/x", "", 0o644)],
            "not a directory",
        ),
        (loops, "too many symbolic links"),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let error = unpack(dir.path(), vec![entries.clone()]).unwrap_err().to_string();
        assert!(error.contains(wanted), "{entries:?}: {error}");
        let left: Vec<_> = fs::read_dir(dir.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        assert_eq!(left, ["lock"], "{entries:?}");
    }
}

#[test]
fn a_whiteout_hides_what_is_below_and_nothing_of_its_own_layer() {
    let dir = tempfile::tempdir().unwrap();
    let opaque = Entry::new("var", EntryKind::OpaqueDirectory, 0);
    let root = unpack(
        dir.path(),
        vec![
            vec![
                Entry::file("etc/gone", "1", 0o644),
                Entry::file("etc/again", "1", 0o644),
                Entry::file("etc/kept", "1", 0o644),
                Entry::file("var/old/deep", "1", 0o644),
            ],
            vec![
                Entry::file("etc/again", "2", 0o644),
                whiteout("etc/again"),
                whiteout("etc/gone"),
                whiteout("never/was"),
                Entry::file("var/new", "2", 0o644),
                opaque,
            ],
        ],
    )
    .unwrap();
    assert!(!root.join("etc/gone").exists() && root.join("etc/kept").exists() && !root.join("never").exists());
    assert_eq!(fs::read_to_string(root.join("etc/again")).unwrap(), "2");
    assert!(!root.join("var/old").exists() && root.join("var/new").exists());
}

#[test]
fn the_same_digest_is_unpacked_once_and_others_go_unless_they_run() {
    let dir = tempfile::tempdir().unwrap();
    let image = |digit: &str| {
        let content = layers(vec![vec![Entry::file("which", digit.to_owned(), 0o644)]]);
        run::unpack(dir.path(), &digit.repeat(64), &content, &["/data"], &["/.mark"], false).unwrap()
    };
    let first = image("1");
    assert!(!first.reused && first.path.join("data").is_dir() && first.path.join(".mark").is_file());
    assert!(first.path.ends_with(format!("rootfs-{}", "1".repeat(12))));
    let again: ReadLayer = Box::new(|| panic!("read although it is unpacked"));
    assert!(
        run::unpack(dir.path(), &"1".repeat(64), &[again], &[], &[], false)
            .unwrap()
            .reused
    );
    // What a killed run has left.
    fs::create_dir(dir.path().join(".unpack-killed")).unwrap();
    let second = image("2");
    assert!(first.path.exists(), "in use: must stay");
    assert!(!dir.path().join(".unpack-killed").exists());
    let gone = first.path.clone();
    drop(first);
    drop(second);
    image("2");
    assert!(!gone.exists(), "nobody runs it any more");
}

fn qemu_arm() -> Processor {
    Processor::Qemu(QemuUser {
        path: "/usr/bin/qemu-arm-static".into(),
        name: "qemu-arm",
        cpu: Platform::ArmV6.qemu().cpu,
        version: "7.2".into(),
        is_static: true,
    })
}

fn shown(confinement: &Confinement, processor: &Processor) -> Vec<String> {
    let config = RunConfig {
        entrypoint: vec!["/usr/local/bin/blog".into()],
        cmd: vec!["serve".into()],
        env: vec!["BLOG_LISTEN=0.0.0.0:8080".into(), "LD_PRELOAD=/lib/x.so".into()],
        ..RunConfig::default()
    };
    let program = config.program(&Service::default(), 9000, 9001, &[], &[]).unwrap();
    let paths = Paths {
        rootfs: Path::new("/ws/target/run/scratch-armv6/rootfs-1"),
        data: Path::new("/ws/data"),
        volume: "/data",
        program: "/usr/local/bin/blog",
        host_program: Path::new("/ws/target/run/scratch-armv6/rootfs-1/usr/local/bin/blog"),
    };
    let words = run::command_line(confinement, processor, &program, paths);
    words
        .into_iter()
        .map(|word| if word.contains('\n') { "SCRIPT".to_owned() } else { word })
        .collect()
}

fn tools() -> Namespaces {
    Namespaces {
        setpriv: "/usr/bin/setpriv".into(),
        unshare: "/usr/bin/unshare".into(),
        mount: "/usr/bin/mount".into(),
        env: "/usr/bin/env".into(),
        user: true,
    }
}

#[test]
fn an_armv6_image_runs_on_the_cpu_of_the_zero_and_on_no_other() {
    let words = shown(&Confinement::Chroot(tools()), &qemu_arm());
    insta::assert_snapshot!(words.join("\n"), @r"
    /usr/bin/setpriv
    --pdeathsig
    KILL
    /usr/bin/unshare
    --user
    --map-root-user
    --mount
    --pid
    --fork
    --kill-child
    /bin/sh
    -c
    SCRIPT
    sh
    /usr/bin/mount
    /usr/bin/qemu-arm-static
    /ws/target/run/scratch-armv6/rootfs-1
    /ws/data
    /data
    /usr/bin/env
    -u
    PWD
    -u
    OLDPWD
    -u
    SHLVL
    -u
    _
    /usr/bin/unshare
    --root=/ws/target/run/scratch-armv6/rootfs-1
    --wd=/
    --
    /.qemu-user
    -cpu
    arm1176
    -0
    /usr/local/bin/blog
    -E
    LD_PRELOAD=/lib/x.so
    /usr/local/bin/blog
    serve
    ");
    let prefix = Confinement::Prefix {
        setpriv: "/usr/bin/setpriv".into(),
    };
    let words = shown(&prefix, &qemu_arm());
    insta::assert_snapshot!(words.join(" "), @"/usr/bin/setpriv --pdeathsig KILL /usr/bin/qemu-arm-static -cpu arm1176 -0 /usr/local/bin/blog -E LD_PRELOAD=/lib/x.so -L /ws/target/run/scratch-armv6/rootfs-1 /ws/target/run/scratch-armv6/rootfs-1/usr/local/bin/blog serve");
    let words = shown(&prefix, &Processor::Host);
    insta::assert_snapshot!(words.join(" "), @"/usr/bin/setpriv --pdeathsig KILL /ws/target/run/scratch-armv6/rootfs-1/usr/local/bin/blog serve");
}

fn fixture(platform: Platform) -> Vec<u8> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/responder");
    fs::read(dir.join(format!("responder-{}", platform.slug()))).unwrap()
}

/// The responder of tests/fixtures as an image: see its source for what it answers.
fn responder(platform: Platform) -> ImageSource {
    let content = vec![
        Entry::file("usr/local/bin/responder", fixture(platform), 0o755),
        Entry::symlink("bin", "usr/local/bin"),
        Entry::directory("srv", 0o755),
    ];
    ImageSource {
        name: format!("responder-{}", platform.slug()),
        platform,
        manifest: Digest::of(platform.slug().as_bytes()),
        config: RunConfig {
            entrypoint: vec!["responder".into()],
            env: vec![
                "PATH=/bin".into(),
                "LISTEN=0.0.0.0:8080".into(),
                "STATE=/data".into(),
                "LD_PRELOAD=/no/such.so".into(),
            ],
            working_dir: "/srv".into(),
            ..RunConfig::default()
        },
        layers: layers(vec![content]),
    }
}

fn options(isolation: Isolation) -> RunOptions {
    RunOptions {
        port: 0,
        isolation,
        wait: Duration::from_secs(30),
        ..RunOptions::default()
    }
}

/// `GET path`: the body, or nothing when nobody answers.
fn get(port: u16, path: &str) -> Option<String> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).ok()?;
    stream
        .write_all(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n").as_bytes())
        .ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    Some(answer.split_once("\r\n\r\n")?.1.to_owned())
}

/// Which of the ways to run a platform are to be had here.
fn ways(platform: Platform) -> Vec<Isolation> {
    let dir = tempfile::tempdir().unwrap();
    let cx = cx(dir.path());
    let processor = run::find(&cx, platform, true);
    if !require(&format!("what runs {platform}"), processor.is_ok()) {
        return Vec::new();
    }
    let namespaces = run::choose(&cx, Isolation::Chroot);
    if require("user namespaces", namespaces.is_ok()) {
        vec![Isolation::Chroot, Isolation::Prefix]
    } else {
        vec![Isolation::Prefix]
    }
}

#[test]
fn an_armv6_server_answers_keeps_its_data_and_stops() {
    serves(Platform::ArmV6);
}

#[test]
#[cfg(target_arch = "x86_64")]
fn an_amd64_server_runs_without_qemu() {
    serves(Platform::Amd64);
}

fn serves(platform: Platform) {
    for isolation in ways(platform) {
        let dir = tempfile::tempdir().unwrap();
        let cx = cx(dir.path());
        let image = responder(platform);
        let options = options(isolation);
        let mut server = run::start(&cx, &image, &options).unwrap();
        let port = server.port();
        assert_eq!(server.url(), format!("http://127.0.0.1:{port}/"));
        assert!(server.first_answer().unwrap() < Duration::from_secs(30));
        let rss = server.rss().unwrap();
        assert!((10_000..200_000_000).contains(&rss), "{rss}");
        let exe = fs::read_link(format!("/proc/{}/exe", server.pid().unwrap())).unwrap();
        let exe = exe.file_name().unwrap().to_str().unwrap().to_owned();
        assert_eq!(exe.contains("qemu"), !run::host_runs(platform), "{exe}");

        let seen = get(port, "/env").unwrap();
        let line = |wanted: &str| seen.lines().any(|line| line == wanted);
        assert!(line(&format!("LISTEN=127.0.0.1:{port}")), "{seen}");
        assert!(line("LD_PRELOAD=/no/such.so"), "{seen}");
        let (variables, _) = seen.split_once("arg=").unwrap();
        assert_eq!(variables.lines().count(), 4, "only the image's own environment: {seen}");
        let chroot = isolation == Isolation::Chroot;
        if chroot {
            for wanted in [
                "STATE=/data",
                "cwd=/srv",
                "uid=0",
                "host=hidden",
                "urandom=there",
                "proc=there",
                "stdout=there",
            ] {
                assert!(line(wanted), "{wanted}: {seen}");
            }
            let hosts = Path::new("/etc/hosts").metadata().is_ok_and(|data| data.len() > 0);
            assert_eq!(line("hosts=there"), hosts, "{seen}");
        } else {
            assert!(seen.contains(&format!("STATE={}", dir.path().display())), "{seen}");
            assert!(
                seen.lines()
                    .any(|line| line.starts_with("cwd=/") && line.ends_with("/srv")),
                "{seen}"
            );
        }

        // Data outlives a stop and a power cut; a second run on the same data is refused.
        assert_eq!(get(port, "/count").unwrap(), "1");
        let taken = run::start(&cx, &image, &options).unwrap_err();
        assert!(
            taken.to_string().contains("another run uses the data directory"),
            "{taken}"
        );
        let stopped = server.stop().unwrap();
        assert_eq!(
            (stopped.ended, stopped.killed),
            (Ended::Exit(0), false),
            "{}",
            server.logs()
        );
        assert!(server.logs().contains("stopped in good order"), "{}", server.logs());
        assert!(get(port, "/healthz").is_none());
        drop(server);

        let mut server = run::start(&cx, &image, &options).unwrap();
        assert_eq!(get(server.port(), "/count").unwrap(), "2");
        assert_eq!(server.kill().unwrap(), Ended::Signal(9));
        assert!(!server.logs().contains("stopped in good order"));
        drop(server);

        let fresh = RunOptions {
            fresh: true,
            ..options.clone()
        };
        let server = run::start(&cx, &image, &fresh).unwrap();
        let (port, pid) = (server.port(), server.pid().unwrap());
        assert_eq!(get(port, "/count").unwrap(), "1");
        drop(server);
        assert!(!Path::new(&format!("/proc/{pid}")).exists(), "dropped and still there");

        // A directory of one's own is left alone by --fresh.
        let own = dir.path().join("own data");
        fs::create_dir(&own).unwrap();
        fs::write(own.join("count"), "41").unwrap();
        let own = RunOptions {
            data: Some(own),
            ..fresh
        };
        let server = run::start(&cx, &image, &own).unwrap();
        assert_eq!(get(server.port(), "/count").unwrap(), "42");
    }
}

#[test]
fn an_image_of_a_layout_runs_as_its_dockerfile_says() {
    for isolation in ways(Platform::ArmV6) {
        let dir = tempfile::tempdir().unwrap();
        let dockerfile = "FROM scratch AS final\nCOPY --from=compile /out/server /usr/local/bin/server\n\
            ENV LISTEN=0.0.0.0:8080 STATE=/data\nUSER 65532:65532\nVOLUME /data\nEXPOSE 8080\nSTOPSIGNAL SIGTERM\n\
            ENTRYPOINT [\"/usr/local/bin/server\"]\n";
        let stage = evaluate(dockerfile, &BTreeMap::new(), "final").unwrap();
        let bytes = EntryKind::File(fixture(Platform::ArmV6));
        let files = MemoryFiles::default().with(Some("compile"), "/out/server", bytes, 0o755);
        let none = BTreeMap::new();
        let image = assemble(BaseImage::scratch(), &stage, &files, Platform::ArmV6, 0, &none).unwrap();
        let layout = dir.path().join("images");
        let name: ImageName = "server:scratch-armv6".parse().unwrap();
        xtask::publish::layout::write(&layout, &[(&name, &image)]).unwrap();

        let source = ImageSource::from_layout(&layout, Some("scratch-armv6"), Base::Scratch, Platform::ArmV6).unwrap();
        assert_eq!(
            (source.name.as_str(), source.config.user.as_str()),
            ("scratch-armv6", "65532:65532")
        );
        let mut server = run::start(&cx(dir.path()), &source, &options(isolation)).unwrap();
        assert_eq!(get(server.port(), "/count").unwrap(), "1");
        assert_eq!(server.stop().unwrap().ended, Ended::Exit(0));
        let kept = dir.path().join("target/run/scratch-armv6/data/count");
        assert_eq!(fs::read_to_string(kept).unwrap(), "1");
        let missing = ImageSource::from_layout(&layout, None, Base::Scratch, Platform::Arm64).unwrap_err();
        assert!(missing.to_string().contains("no image for linux/arm64"), "{missing}");
    }
}

#[test]
fn code_that_the_zero_lacks_is_refused_and_named() {
    for isolation in ways(Platform::ArmV6) {
        let dir = tempfile::tempdir().unwrap();
        let cx = cx(dir.path());
        let v7 = RunOptions {
            args: vec!["v7".into()],
            ..options(isolation)
        };
        let error = run::start(&cx, &responder(Platform::ArmV6), &v7).unwrap_err();
        assert!(
            error.to_string().contains("died of signal 4 (SIGILL)"),
            "{isolation:?}: {error}"
        );
        assert!(error.next_step().unwrap().contains("cargo xtask audit"), "{error}");
        // The same code on the processor that has the instruction.
        let mut image = responder(Platform::ArmV6);
        image.platform = Platform::ArmV7;
        run::start(&cx, &image, &v7).unwrap();
    }
}

#[test]
fn a_server_that_fails_ignores_or_is_late_is_reported() {
    for isolation in ways(Platform::ArmV6) {
        let dir = tempfile::tempdir().unwrap();
        let cx = cx(dir.path());
        let image = responder(Platform::ArmV6);
        let deaf = RunOptions {
            args: vec!["deaf".into()],
            ..options(isolation)
        };
        let mut server = run::start(&cx, &image, &deaf).unwrap();
        let stopped = server.stop_within(Duration::from_millis(300), &mut || false).unwrap();
        assert_eq!((stopped.ended, stopped.killed), (Ended::Signal(9), true));
        drop(server);

        let nowhere = RunOptions {
            env: vec![("LISTEN".into(), "nowhere".into())],
            ..options(isolation)
        };
        let error = run::start(&cx, &image, &nowhere).unwrap_err().to_string();
        assert!(
            error.contains("ended with status 1") && error.contains("LISTEN has no port"),
            "{error}"
        );

        let elsewhere = RunOptions {
            env: vec![("LISTEN".into(), "127.0.0.2:0".into())],
            wait: Duration::from_millis(300),
            ..options(isolation)
        };
        let error = run::start(&cx, &image, &elsewhere).unwrap_err();
        assert!(error.to_string().contains("did not answer"), "{error}");

        let mut server = run::start(&cx, &image, &options(isolation)).unwrap();
        get(server.port(), "/exit");
        let begin = Instant::now();
        let ended = loop {
            if let Some(ended) = server.try_wait().unwrap() {
                break ended;
            }
            assert!(begin.elapsed() < Duration::from_secs(10));
            std::thread::sleep(Duration::from_millis(10));
        };
        assert_eq!(ended, Ended::Exit(3));
    }
}

#[test]
fn what_cannot_run_says_why() {
    let dir = tempfile::tempdir().unwrap();
    let cx = cx(dir.path());
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let taken = RunOptions {
        port: listener.local_addr().unwrap().port(),
        ..options(Isolation::Auto)
    };
    let error = run::start(&cx, &responder(Platform::ArmV6), &taken).unwrap_err();
    assert!(error.next_step().unwrap().contains("--port"), "{error}");

    let mut image = responder(Platform::ArmV6);
    image.config.entrypoint.clear();
    let error = run::start(&cx, &image, &options(Isolation::Auto)).unwrap_err();
    assert!(error.to_string().contains("neither Entrypoint nor Cmd"), "{error}");

    for isolation in ways(Platform::ArmV6) {
        let mut image = responder(Platform::ArmV6);
        image.config.entrypoint = vec!["absent".into()];
        let error = run::start(&cx, &image, &options(isolation)).unwrap_err();
        assert!(error.to_string().contains("has no program `absent`"), "{error}");
        image.config.entrypoint = vec!["/start.sh".into()];
        image.manifest = Digest::of(b"script");
        image.layers = layers(vec![vec![Entry::file("start.sh", "#!/bin/sh\n", 0o755)]]);
        let error = run::start(&cx, &image, &options(isolation)).unwrap_err();
        assert!(error.to_string().contains("is a script"), "{error}");
        // A volume that leads elsewhere cannot be mounted upon; prefix does not mount.
        image.config.entrypoint = vec!["/server".into()];
        image.manifest = Digest::of(b"link");
        let server = Entry::file("server", fixture(Platform::ArmV6), 0o755);
        image.layers = layers(vec![vec![server, Entry::symlink("data", "/etc")]]);
        match run::start(&cx, &image, &options(isolation)) {
            Err(error) if isolation == Isolation::Chroot => {
                assert!(error.to_string().contains("/data of the image is a link"), "{error}");
                run::start(&cx, &image, &options(Isolation::Auto)).unwrap();
            }
            started => drop(started.unwrap()),
        }
    }
}

/// Not a test of its own: what the tests below start as a process, to send it signals.
#[test]
fn child_that_runs() {
    let Some(dir) = std::env::var_os("XTASK_TEST_DIR").map(PathBuf::from) else {
        return;
    };
    let isolation = match std::env::var("XTASK_TEST_ISOLATION").as_deref() {
        Ok("chroot") => Isolation::Chroot,
        Ok("prefix") => Isolation::Prefix,
        _ => Isolation::Auto,
    };
    run::run(&cx(&dir), &responder(Platform::ArmV6), &options(isolation)).unwrap();
}

/// Starts the verb as a process and waits for the URL on its stdout; returns it with that stdout and the port.
fn started(dir: &Path, isolation: Isolation, path: &OsStr) -> (Running, impl BufRead, u16) {
    let name = if isolation == Isolation::Chroot {
        "chroot"
    } else {
        "prefix"
    };
    let mut child = Shell::default()
        .command(std::env::current_exe().unwrap())
        .args(["--exact", "run::child_that_runs", "--nocapture"])
        .env("XTASK_TEST_DIR", dir)
        .env("XTASK_TEST_ISOLATION", name)
        .env("PATH", path)
        .spawn(Stdio::piped(), Stdio::inherit())
        .unwrap();
    let mut stdout = BufReader::new(child.stdout().unwrap());
    let mut line = String::new();
    while stdout.read_line(&mut line).unwrap() > 0 {
        if let Some(rest) = line.trim_end().strip_prefix("http://127.0.0.1:") {
            return (child, stdout, rest.trim_end_matches('/').parse().unwrap());
        }
        line.clear();
    }
    panic!("no URL on stdout");
}

#[test]
fn ctrl_c_stops_the_server_in_good_order() {
    let path = std::env::var_os("PATH").unwrap();
    for isolation in ways(Platform::ArmV6) {
        for signal in [Signal::INT, Signal::TERM] {
            let dir = tempfile::tempdir().unwrap();
            let (mut child, _stdout, port) = started(dir.path(), isolation, &path);
            assert_eq!(get(port, "/healthz").unwrap(), "ok");
            child.signal(signal).unwrap();
            assert!(child.wait().unwrap().success());
            assert!(get(port, "/healthz").is_none());
        }
    }
}

#[test]
fn a_server_does_not_outlive_a_run_that_is_killed() {
    let path = std::env::var_os("PATH").unwrap();
    for isolation in ways(Platform::ArmV6) {
        let dir = tempfile::tempdir().unwrap();
        let (mut child, _stdout, port) = started(dir.path(), isolation, &path);
        child.signal(Signal::KILL).unwrap();
        child.wait().unwrap();
        let begin = Instant::now();
        while get(port, "/healthz").is_some() {
            assert!(
                begin.elapsed() < Duration::from_secs(5),
                "{isolation:?}: an orphan serves port {port}"
            );
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

#[test]
fn where_the_kernel_refuses_namespaces_auto_does_without() {
    if ways(Platform::ArmV6).is_empty() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    // As on Ubuntu 24.04: the namespace is made and the first mount in it is refused.
    let fake = dir.path().join("unshare");
    fs::write(&fake, "#!/bin/sh\necho 'mount: permission denied' >&2\nexit 32\n").unwrap();
    fs::set_permissions(&fake, fs::Permissions::from_mode(0o755)).unwrap();
    let mut path = dir.path().as_os_str().to_owned();
    path.push(":");
    path.push(std::env::var_os("PATH").unwrap());
    let (mut child, _stdout, port) = started(dir.path(), Isolation::Auto, &path);
    assert!(get(port, "/env").unwrap().contains("host=visible") || !Path::new("/etc/debian_version").exists());
    child.signal(Signal::TERM).unwrap();
    assert!(child.wait().unwrap().success());
}

#[test]
fn fixtures_are_what_can_be_committed() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/responder");
    for entry in fs::read_dir(dir).unwrap() {
        let entry = entry.unwrap();
        let data = entry.metadata().unwrap();
        assert!(data.len() < 30_000, "{:?}", entry.path());
        assert!(data.permissions().mode() & 0o6000 == 0);
    }
}
