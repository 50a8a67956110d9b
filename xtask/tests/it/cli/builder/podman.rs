//! The builder in Podman, which answers otherwise than Docker here and there: from a base to a container that compiles, and to nothing.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use xtask::builder::debian;
use xtask::engine::{Connection, Settings};
use xtask::shell::{Command, Running, Shell};

use super::super::stops::that_ignores_nothing;
use super::super::{Workspace, code, script};
use super::story::until;
use super::trouble::pretending;
use super::{IMAGE, NAME, built, fine, has_engine, repository, run};
use crate::require::{require, require_program};

/// Podman wants limits raised in containers, which not every root may: they are left as they are.
const RUNTIME: &str = r#"#!/bin/sh
before=
for word in "$@"; do
    if [ "$before" = --bundle ]; then
        sed -i 's/"rlimits":\[[^]]*\],//; s/,"rlimits":\[[^]]*\]//' "$word/config.json"
    fi
    before=$word
done
exec RUNTIME "$@"
"#;

/// `podman system service` with a storage of the test's own.
struct Podman {
    /// Socket, settings and log: a short path.
    dir: tempfile::TempDir,
    /// Images and containers. Not below /tmp: Podman 4.3 empties a root file system that lies below a place that RUN mounts over.
    storage: tempfile::TempDir,
    driver: &'static str,
    running: Running,
}

impl Podman {
    /// `None` where it cannot be had.
    fn start() -> Option<Podman> {
        let root = rustix::process::geteuid().is_root();
        if !require("root, to start Podman", root)
            || !require_program("podman")
            || !require("runc or crun", runtime().is_some())
        {
            return None;
        }
        let dir = tempfile::tempdir().unwrap();
        let target = Path::new(env!("CARGO_TARGET_TMPDIR"));
        let storage = tempfile::tempdir_in(match target.starts_with("/tmp") {
            true => Path::new("/var/tmp"),
            false => target,
        })
        .unwrap();
        let at = |name: &str| dir.path().join(name);
        let runtime = runtime().unwrap().display().to_string();
        script(&at("runtime"), &RUNTIME.replace("RUNTIME", &runtime));
        fs::write(
            at("containers.conf"),
            format!(
                "[engine]\ncgroup_manager = \"cgroupfs\"\nevents_logger = \"file\"\nruntime = \"{}\"\n",
                at("runtime").display()
            ),
        )
        .unwrap();
        fs::create_dir(storage.path().join("tmp")).unwrap();
        let log = fs::File::create(at("log")).unwrap();
        // Layers that are copied take longer, and can be had everywhere.
        let overlay = Podman::command(dir.path(), storage.path(), "overlay")
            .arg("info")
            .output()
            .unwrap();
        let driver = if overlay.status.success() { "overlay" } else { "vfs" };
        let running = Podman::command(dir.path(), storage.path(), driver)
            .args(["system", "service", "--time", "0"])
            .arg(format!("unix://{}", at("socket").display()))
            .spawn(Stdio::null(), Stdio::from(log))
            .unwrap();
        until("a Podman that listens", || at("socket").exists());
        Some(Podman {
            dir,
            storage,
            driver,
            running,
        })
    }

    fn command(dir: &Path, storage: &Path, driver: &str) -> Command {
        let at = |name: &str| storage.join(name).display().to_string();
        Shell::default()
            .command("podman")
            .args([
                "--root",
                &at("root"),
                "--runroot",
                &at("runroot"),
                "--storage-driver",
                driver,
            ])
            .env("CONTAINERS_CONF", dir.join("containers.conf"))
            .env("TMPDIR", at("tmp"))
    }

    fn host(&self) -> String {
        format!("unix://{}", self.dir.path().join("socket").display())
    }

    fn run(&self, workspace: &Workspace, args: &[&str]) -> Command {
        run(workspace, args).env("DOCKER_HOST", self.host())
    }

    fn status(&self, workspace: &Workspace) -> serde_json::Value {
        let output = self.run(workspace, &["builder", "status", "--json"]).output().unwrap();
        fine(&output);
        serde_json::from_str(&output.text()).unwrap()
    }
}

impl Drop for Podman {
    fn drop(&mut self) {
        // What a failed test leaves running, and what is mounted for it.
        let _ = Podman::command(self.dir.path(), self.storage.path(), self.driver)
            .args(["rm", "--all", "--force", "--time", "0"])
            .output();
        let _ = self.running.signal(rustix::process::Signal::TERM);
        let _ = self.running.wait();
        let _ = Shell::default()
            .command("umount")
            .arg("--recursive")
            .arg(self.storage.path().join("root/overlay"))
            .output();
    }
}

fn runtime() -> Option<PathBuf> {
    let shell = Shell::default();
    let path = ["runc", "crun", "/usr/sbin/runc", "/usr/bin/crun"];
    path.iter().find_map(|name| shell.which(name))
}

const BASE: &str = "debian:trixie-slim";

/// As those of docker/Dockerfile, without what takes a network.
const STAGES: &str = "\
FROM --platform=${BUILDPLATFORM} ${BUILDER} AS wheels
RUN mkdir /wheels
LABEL

FROM --platform=${BUILDPLATFORM} ${BUILDER} AS builder
COPY docker/builder/with-host /opt/builder/
RUN --mount=type=bind,source=docker/host,target=/run/host --mount=type=tmpfs,target=/tmp /opt/builder/with-host true
COPY --from=wheels /wheels/ /opt/builder/wheels/
COPY docker/builder/ /opt/builder/
RUN mkdir -p /opt/rust/bin && ln -s /bin/true /opt/rust/bin/rustc && /opt/builder/finish
";

/// An imported base gets its name, a stage that mounts over /tmp leaves a /tmp, what the command says arrives, its caches stay,
/// Ctrl-C ends it, and in the end nothing is there.
#[test]
fn podman_builds_runs_and_forgets() {
    let workspace = pretending(&format!("{NAME}-podman"));
    if !has_engine() {
        return;
    }
    let Some(podman) = Podman::start() else { return };
    // The base, from the engine that has it.
    built(&workspace);
    fine(&run(&workspace, &["builder", "prune", "--all"]).output().unwrap());
    let docker = |args: &[&str]| Shell::default().command("docker").args(args).read().unwrap();
    let container = docker(&["create", BASE, "true"]);
    let tar = podman.dir.path().join("base.tar");
    docker(&["export", "--output", &tar.display().to_string(), &container]);
    docker(&["rm", &container]);
    let settings = Settings {
        host: Some(podman.host()),
        ..Settings::default()
    };
    let connection = Connection::chosen(&settings).unwrap();
    debian::import(
        &connection,
        BASE,
        fs::read(&tar).unwrap(),
        &["CMD [\"bash\"]".to_owned()],
    )
    .unwrap();
    let dockerfile = fs::read_to_string(repository().join("docker/Dockerfile")).unwrap();
    let label = dockerfile
        .lines()
        .find(|line| line.starts_with("LABEL xtask.builder.stage="))
        .unwrap();
    let text = workspace.read("docker/Dockerfile");
    let (before, rest) = text
        .split_once("FROM --platform=${BUILDPLATFORM} ${BUILDER} AS builder\n")
        .unwrap();
    let (_, after) = rest.split_once("\n\n").unwrap();
    workspace.write(
        "docker/Dockerfile",
        &format!("{before}{}\n{after}", STAGES.replace("LABEL", label)),
    );
    let does = |what: &str| workspace.write("app/does", what);
    let said = || {
        let output = podman.run(&workspace, &IMAGE).output().unwrap();
        assert_eq!(code(&output), 2, "nothing was compiled");
        output.error_text()
    };
    does("ls -ld /tmp >&2\necho of old >/cache/target/mark\nexit 7\n");
    let log = said();
    assert!(
        log.contains("drwxrwxrwt") && log.contains("could not compile blog"),
        "{log}"
    );
    let found = podman.status(&workspace);
    assert!(found["ready"] == true && found["base_ready"] == true, "{found}");
    assert_eq!(found["containers"].as_array().unwrap().len(), 0, "{found}");
    assert_eq!(found["caches"].as_array().unwrap().len(), 3, "{found}");

    // The image is not made again, and the caches are as they were.
    does("cat /cache/target/mark >&2\nexit 7\n");
    let log = said();
    assert!(log.contains("of old\n") && !log.contains("Building"), "{log}");

    does("sleep 600\n");
    let dir = tempfile::tempdir().unwrap();
    let mut running = podman
        .run(&workspace, &IMAGE)
        .with_program(that_ignores_nothing(dir.path()))
        .spawn(Stdio::null(), Stdio::null())
        .unwrap();
    let compiling = || podman.status(&workspace)["containers"].as_array().unwrap().len();
    until("a container that compiles", || compiling() == 1);
    running.signal(rustix::process::Signal::INT).unwrap();
    assert_eq!(running.wait().unwrap().code(), Some(2), "an error, not a death");
    assert_eq!(compiling(), 0, "gone when we are");

    fine(&podman.run(&workspace, &["builder", "prune", "--all"]).output().unwrap());
    let found = podman.status(&workspace);
    assert!(
        found["ready"] == false && found["images"].as_array().unwrap().is_empty(),
        "{found}"
    );
    assert!(found["caches"].as_array().unwrap().is_empty(), "{found}");
    let images = Podman::command(podman.dir.path(), podman.storage.path(), podman.driver).args([
        "images",
        "--all",
        "--format",
        "{{.Repository}}",
    ]);
    assert_eq!(images.read().unwrap(), "docker.io/library/debian", "the base alone");
}
