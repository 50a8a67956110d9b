//! What goes wrong outside: an authority that nobody trusts, a proxy that is not there, an engine without space, one that stops. Each
//! is told with the next step, and the caches stay.

use std::fs;
use std::path::PathBuf;
use std::process::Stdio;

use xtask::shell::{Output, Running, Shell};

use super::super::{Workspace, code};
use super::story::until;
use super::{IMAGE, NAME, built, executable, fine, has_engine, run, workspace};
use crate::engine::certificates;
use crate::require::{require, require_program};

/// A proxy that breaks TLS open with a certificate that nobody trusts, as a company's would without its certificate.
fn untrusted_proxy() -> u16 {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let dir = tempfile::tempdir().unwrap();
    let tls = tokio_rustls::TlsAcceptor::from(std::sync::Arc::new(certificates(dir.path(), "localhost")));
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    listener.set_nonblocking(true).unwrap();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            while let Ok((mut near, _)) = listener.accept().await {
                let tls = tls.clone();
                tokio::spawn(async move {
                    let mut request = Vec::new();
                    while !request.ends_with(b"\r\n\r\n") {
                        let Ok(byte) = near.read_u8().await else { return };
                        request.push(byte);
                    }
                    let _ = near.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").await;
                    drop(tls.accept(near).await);
                });
            }
        });
    });
    port
}

#[test]
fn a_network_in_trouble_is_told_with_the_next_step() {
    if !has_engine() {
        return;
    }
    // Caches of its own: std's crates have to be fetched.
    let workspace = workspace(&format!("{NAME}-network"));
    built(&workspace);
    let through = |port: u16| {
        let output = run(&workspace, &IMAGE)
            .args(["--std", "source"])
            .env("HTTPS_PROXY", format!("http://127.0.0.1:{port}"))
            .env("CARGO_NET_RETRY", "0")
            .output()
            .unwrap();
        assert_eq!(code(&output), 2);
        output.error_text()
    };
    let log = through(untrusted_proxy());
    assert!(
        log.contains("hint: the builder does not trust who answers: SSL_CERT_FILE="),
        "{log}"
    );
    // A port that was free a moment ago.
    let closed = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let log = through(closed);
    assert!(
        log.contains("hint: the container does not get out: are https_proxy"),
        "{log}"
    );
    fine(&run(&workspace, &["builder", "prune", "--all"]).output().unwrap());
}

/// An engine of the test's own, whose data lie on a file system that is soon full.
struct Engine {
    dir: tempfile::TempDir,
    running: Option<Running>,
}

impl Engine {
    /// `None` where it cannot be had.
    fn new() -> Option<Engine> {
        let root = rustix::process::geteuid().is_root();
        if !require("root, to start a Docker engine", root)
            || !require("dockerd", program().is_some())
            || !require_program("unshare")
        {
            return None;
        }
        let dir = tempfile::tempdir().unwrap();
        for name in ["data", "exec"] {
            fs::create_dir(dir.path().join(name)).unwrap();
        }
        let mounted = Shell::default()
            .command("mount")
            .args(["-t", "tmpfs", "-o", "size=512m", "none"])
            .arg(dir.path().join("data"))
            .output()
            .unwrap();
        // A container without CAP_SYS_ADMIN.
        if !require("leave to mount a tmpfs", mounted.status.success()) {
            return None;
        }
        let mut engine = Engine { dir, running: None };
        engine.start();
        Some(engine)
    }

    fn host(&self) -> String {
        format!("unix://{}", self.dir.path().join("socket").display())
    }

    fn start(&mut self) {
        let dir = self.dir.path();
        let at = |name: &str| dir.join(name).display().to_string();
        let log = fs::File::create(dir.join("log")).unwrap();
        // In a network of its own: an engine without a bridge takes away the one of another.
        let running = Shell::default()
            .command("unshare")
            .arg("--net")
            .arg(program().unwrap())
            .args([
                "--host",
                &self.host(),
                "--data-root",
                &at("data"),
                "--exec-root",
                &at("exec"),
            ])
            .args(["--pidfile", &at("pid"), "--bridge", "none", "--iptables=false"])
            .spawn(Stdio::null(), Stdio::from(log))
            .unwrap();
        self.running = Some(running);
        until("an engine that answers", || {
            let version = Shell::default()
                .command("docker")
                .args(["--host", &self.host(), "version"]);
            version.output().unwrap().status.success()
        });
    }

    /// As `systemctl stop docker` does it.
    fn stop(&mut self) {
        if let Some(mut running) = self.running.take() {
            let _ = running.signal(rustix::process::Signal::TERM);
            let _ = running.wait();
        }
    }

    fn run(&self, workspace: &Workspace, args: &[&str]) -> Output {
        run(workspace, args).env("DOCKER_HOST", self.host()).output().unwrap()
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.stop();
        // What the engine mounted below goes with it.
        let data = self.dir.path().join("data");
        let _ = Shell::default()
            .command("umount")
            .args(["--recursive"])
            .arg(data)
            .output();
    }
}

fn program() -> Option<PathBuf> {
    let shell = Shell::default();
    let path = ["dockerd", "/usr/sbin/dockerd", "/usr/local/sbin/dockerd"];
    path.iter().find_map(|name| shell.which(name))
}

/// A workspace whose builder is the base alone, with a command that does what the source says: it needs no network, and is there at
/// once.
pub(super) fn pretending(name: &str) -> Workspace {
    let workspace = workspace(name);
    let text = workspace.read("docker/Dockerfile");
    let (before, rest) = text.split_once("# pip, which fetches").unwrap();
    let (_, after) = rest.split_once("# Which triple is right").unwrap();
    let stage = "FROM --platform=${BUILDPLATFORM} ${BUILDER} AS builder\nCOPY docker/builder/ /opt/builder/\n\n#";
    workspace.write("docker/Dockerfile", &format!("{before}{stage}{after}"));
    workspace.write("docker/builder/compile", "#!/bin/sh\nset -eu\n. /context/app/does\n");
    executable(&workspace.path("docker/builder/compile"), 0o755);
    workspace
}

#[test]
fn an_engine_in_trouble_is_told_and_its_caches_stay() {
    let workspace = pretending(&format!("{NAME}-trouble"));
    if !has_engine() {
        return;
    }
    let Some(mut engine) = Engine::new() else { return };
    // The base, from the engine that has it.
    built(&workspace);
    let tar = engine.dir.path().join("base.tar");
    let docker = |args: &[&str]| Shell::default().command("docker").args(args).arg(&tar).run().unwrap();
    docker(&["save", "debian:trixie-slim", "--output"]);
    docker(&["--host", &engine.host(), "load", "--quiet", "--input"]);
    fs::remove_file(&tar).unwrap();
    fine(&run(&workspace, &["builder", "prune", "--all"]).output().unwrap());
    let does = |what: &str| workspace.write("app/does", what);
    let marked = |engine: &Engine| {
        does("cat /cache/target/mark >&2\nexit 7\n");
        let output = engine.run(&workspace, &IMAGE);
        assert_eq!(code(&output), 2);
        let log = output.error_text();
        assert!(log.contains("a mark\n") && log.contains("(exit code 7)"), "{log}");
        let status = engine.run(&workspace, &["builder", "status", "--json"]).text();
        assert!(status.contains("\"containers\": []"), "{status}");
    };

    // No space left, while compiling.
    does("echo a mark >/cache/target/mark\ncat /dev/zero >/cache/target/big\n");
    let output = engine.run(&workspace, &IMAGE);
    assert_eq!(code(&output), 2);
    let log = output.error_text();
    assert!(
        log.contains("hint: the engine's disk is full: `cargo xtask builder prune`"),
        "{log}"
    );
    // None even for the source.
    does(&format!("#{}\n", " ".repeat(1 << 20)));
    let output = engine.run(&workspace, &IMAGE);
    assert_eq!(code(&output), 2);
    let log = output.error_text();
    assert!(log.contains("hint: the engine's disk is full"), "{log}");
    let volumes = engine.dir.path().join("data/volumes");
    fs::remove_file(volumes.join(format!("{NAME}-trouble-builder-target/_data/big"))).unwrap();
    marked(&engine);

    // The engine is stopped while it compiles.
    does("echo compiling >&2\nsleep 600\n");
    let output = std::thread::scope(|scope| {
        let compiling_here = scope.spawn(|| engine_run(&engine.host(), &workspace));
        until("a container that compiles", || {
            let status = run(&workspace, &["builder", "status", "--json"]).env("DOCKER_HOST", engine.host());
            status.output().unwrap().text().contains("\"containers\": [\n    \"")
        });
        let pid = rustix::process::Pid::from_raw(engine.running.as_ref().unwrap().id().cast_signed()).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        compiling_here.join().unwrap()
    });
    assert_eq!(code(&output), 2);
    let log = output.error_text();
    assert!(
        log.contains("/socket stopped answering: ") && log.contains("hint: start it again"),
        "{log}"
    );
    engine.stop();
    engine.start();
    marked(&engine);
}

fn engine_run(host: &str, workspace: &Workspace) -> Output {
    run(workspace, &IMAGE).env("DOCKER_HOST", host).output().unwrap()
}
