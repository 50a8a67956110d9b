//! The Docker builder. With an engine: from nothing to nothing, killed on the way, over TCP, and the same bytes as the host's. Without
//! one: what docker/builder says is what xtask says.

use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::Value;
use xtask::engine::{Connection, Endpoint};
use xtask::plan::{CompilePlan, StdChoice, StdSource};
use xtask::policy::Policy;
use xtask::shell::{Command, Output, Shell};
use xtask::target::{Base, TARGETS};
use xtask::toolchain::rust_std::Compiler;

use super::{Workspace, code, script, xtask};
use crate::engine::{certificates, port};
use crate::require::{require, require_program};

/// Of images, volumes and containers of these tests.
const NAME: &str = "xtask-test";

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

fn policy() -> Policy {
    Policy::parse(&fs::read_to_string(repository().join("xtask.toml")).unwrap()).unwrap()
}

/// A fixture's workspace with the builder's files, whose images and caches have names of their own.
fn workspace(name: &str) -> Workspace {
    let workspace = Workspace::new();
    for file in xtask::context::files(repository(), "docker/builder").unwrap() {
        if let xtask::oci::layer::EntryKind::File(bytes) = file.kind {
            workspace.write(
                &format!("docker/builder/{}", file.path),
                std::str::from_utf8(&bytes).unwrap(),
            );
            if file.mode & 0o111 != 0 {
                use std::os::unix::fs::PermissionsExt;
                let path = workspace.path(&format!("docker/builder/{}", file.path));
                fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
            }
        }
    }
    workspace.write(".dockerignore", "target\n");
    workspace.edit("xtask.toml", "\nname = \"blog\"", &format!("\nname = \"{name}\""));
    workspace
}

/// `cargo xtask ARGS` with the engine of this machine.
fn run(workspace: &Workspace, args: &[&str]) -> Command {
    let command = xtask(&workspace.root, args).env("XTASK_CACHE_DIR", crate::chain::cache_dir());
    match std::env::var_os("DOCKER_HOST") {
        Some(host) => command.env("DOCKER_HOST", host),
        None => command,
    }
}

const IMAGE: [&str; 7] = [
    "image",
    "--builder",
    "docker",
    "--base",
    "scratch",
    "--platform",
    "linux/amd64",
];

/// These tests make a builder image and compile in it: ten minutes and more, on an engine whose containers reach the network. They
/// run when they are asked for, `XTASK_TEST_BUILDER=1`; nothing else calls them.
#[expect(clippy::print_stdout, reason = "shown with a failing test, as libtest does")]
fn has_engine() -> bool {
    if std::env::var_os("XTASK_TEST_BUILDER").is_none() {
        println!("skipped: XTASK_TEST_BUILDER is not set");
        return false;
    }
    require("a Docker engine (DOCKER_HOST)", Connection::from_environment().is_ok())
}

#[track_caller]
fn fine(output: &Output) {
    assert_eq!(code(output), 0, "{}\n{}", output.text(), output.error_text());
}

fn status(workspace: &Workspace) -> Value {
    let output = run(workspace, &["builder", "status", "--json"]).output().unwrap();
    fine(&output);
    serde_json::from_str(&output.text()).unwrap()
}

fn compiling(workspace: &Workspace) -> usize {
    status(workspace)["containers"].as_array().unwrap().len()
}

/// Waits for something that takes as long as the machine needs.
#[track_caller]
fn until(what: &str, mut done: impl FnMut() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(
            start.elapsed() < Duration::from_secs(300),
            "not within five minutes: {what}"
        );
        std::thread::sleep(Duration::from_millis(300));
    }
}

/// What a program of the last image prints when it runs here.
fn says(workspace: &Workspace) -> String {
    let program = workspace.path("target/builder/x86_64-unknown-linux-musl/blog");
    Shell::default().command(program).read().unwrap()
}

/// One test, because its parts share one builder image and its caches, and are about what one leaves to the next.
#[test]
fn a_builder_from_nothing_to_nothing() {
    if !has_engine() {
        return;
    }
    let workspace = workspace(NAME);
    let image = || run(&workspace, &IMAGE).output().unwrap();

    // Made, and a program with it.
    let first = image();
    fine(&first);
    let log = first.error_text();
    assert!(log.contains("Compiling blog v1.2.3"), "{log}");
    assert_eq!(says(&workspace), "ok");
    let found = status(&workspace);
    assert_eq!(found["ready"], true, "{found}");
    assert_eq!(found["caches"].as_array().unwrap().len(), 3, "{found}");
    assert_eq!(found["containers"].as_array().unwrap().len(), 0, "{found}");

    // Again: nothing is compiled, and the image is the same.
    let again = image();
    fine(&again);
    assert_eq!(again.text(), first.text());
    assert!(!again.error_text().contains("Compiling"), "{}", again.error_text());

    // Without what the last run left here, cargo is asked, and finds everything done.
    fs::remove_dir_all(workspace.path("target/builder")).unwrap();
    let fresh = image();
    fine(&fresh);
    assert_eq!(fresh.text(), first.text());
    assert!(
        !fresh.error_text().contains("Compiling blog v"),
        "{}",
        fresh.error_text()
    );

    // A line is edited: that crate is compiled, whatever time the file says it is from.
    workspace.edit("app/src/main.rs", "\"ok\"", "\"edited\"");
    let source = fs::File::options()
        .write(true)
        .open(workspace.path("app/src/main.rs"))
        .unwrap();
    source
        .set_modified(std::time::SystemTime::UNIX_EPOCH + Duration::from_secs(1))
        .unwrap();
    let edited = image();
    fine(&edited);
    let log = edited.error_text();
    assert_eq!(log.matches("   Compiling ").count(), 2, "ours and cargo's: {log}");
    assert_eq!(says(&workspace), "edited");

    // What cargo complains about arrives, and says where.
    workspace.edit("app/src/main.rs", "println!", "printn!");
    let output = image();
    assert_eq!(code(&output), 2);
    let log = output.error_text();
    assert!(
        log.contains("app/src/main.rs:3") && log.contains("could not compile blog"),
        "{log}"
    );
    assert_eq!(compiling(&workspace), 0, "nothing is left");
    workspace.edit("app/src/main.rs", "printn!", "println!");

    stopped_on_the_way(&workspace);
    over_tcp(&workspace);

    // And nothing is left.
    fine(&run(&workspace, &["builder", "prune", "--all"]).output().unwrap());
    let found = status(&workspace);
    assert_eq!(found["ready"], false, "{found}");
    assert_eq!(
        (
            found["caches"].as_array().unwrap().len(),
            found["images"].as_array().unwrap().len()
        ),
        (0, 0),
        "{found}"
    );
}

/// Ctrl-C, and death without a chance to clean up: the container ends, and the next run is right.
fn stopped_on_the_way(workspace: &Workspace) {
    workspace.write(
        "app/build.rs",
        "fn main() {\n    std::thread::sleep(std::time::Duration::from_secs(600));\n}\n",
    );
    for signal in [rustix::process::Signal::INT, rustix::process::Signal::KILL] {
        let mut running = run(workspace, &IMAGE).spawn(Stdio::null(), Stdio::null()).unwrap();
        until("a container that compiles", || compiling(workspace) == 1);
        running.signal(signal).unwrap();
        let status = running.wait().unwrap();
        if signal == rustix::process::Signal::INT {
            assert_eq!(status.code(), Some(2), "an error, not a death");
            assert_eq!(compiling(workspace), 0, "gone when we are");
        }
        until("its end", || compiling(workspace) == 0);
    }
    fs::remove_file(workspace.path("app/build.rs")).unwrap();
    workspace.edit("app/src/main.rs", "edited", "right");
    fine(&run(workspace, &IMAGE).output().unwrap());
    assert_eq!(says(workspace), "right");
}

/// An engine behind a port: nothing of the workspace is visible there, and it does not matter.
fn over_tcp(workspace: &Workspace) {
    let Endpoint::Unix(socket) = Connection::from_environment().unwrap().endpoint().clone() else {
        return;
    };
    let port = port(&socket, None);
    workspace.edit("app/src/main.rs", "right", "from afar");
    let output = run(workspace, &IMAGE)
        .env("DOCKER_HOST", format!("tcp://127.0.0.1:{port}"))
        .output()
        .unwrap();
    fine(&output);
    assert!(
        output.error_text().contains(&format!("tcp://127.0.0.1:{port}")),
        "{}",
        output.error_text()
    );
    assert_eq!(says(workspace), "from afar");
}

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
fn an_authority_that_the_builder_does_not_know_is_told_with_the_next_step() {
    if !has_engine() {
        return;
    }
    // Caches of its own: std's crates have to be fetched.
    let name = format!("{NAME}-untrusted");
    let workspace = workspace(&name);
    let output = run(&workspace, &["builder", "build"]).output().unwrap();
    fine(&output);
    let output = run(&workspace, &IMAGE)
        .args(["--std", "source"])
        .env("HTTPS_PROXY", format!("http://127.0.0.1:{}", untrusted_proxy()))
        .env("CARGO_NET_RETRY", "0")
        .output()
        .unwrap();
    assert_eq!(code(&output), 2);
    let log = output.error_text();
    assert!(
        log.contains("hint: the builder does not trust who answers: SSL_CERT_FILE="),
        "{log}"
    );
    fine(&run(&workspace, &["builder", "prune", "--all"]).output().unwrap());
}

#[test]
fn an_engine_that_is_not_there_is_named_with_the_other_builder() {
    let workspace = workspace(NAME);
    let output = run(&workspace, &IMAGE)
        .env("DOCKER_HOST", "unix:///nowhere/docker.sock")
        .output()
        .unwrap();
    assert_eq!(code(&output), 2);
    assert!(
        output.error_text().contains("/nowhere/docker.sock"),
        "{}",
        output.error_text()
    );
    // By itself, it is the host, in one line with the reason.
    let output = run(&workspace, &["image", "--builder", "auto", "--dry-run"])
        .env("DOCKER_HOST", "unix:///nowhere/docker.sock")
        .output()
        .unwrap();
    fine(&output);
    assert!(output.text().contains("on the host"), "{}", output.text());
    assert!(
        output
            .error_text()
            .contains("note: compiling on the host: no Docker engine answers"),
        "{}",
        output.error_text()
    );
}

/// The real program, with SQLite and all its crates: the same file and the same image from both builders.
#[test]
fn the_blog_is_the_same_from_both_builders() {
    if !has_engine() || !crate::chain::can_provision() {
        return;
    }
    let root = repository();
    let temp = tempfile::tempdir().unwrap();
    let made = |builder: &str| {
        let to = format!("oci:{}", temp.path().join(builder).display());
        let output = Shell::default()
            .command(env!("CARGO_BIN_EXE_xtask"))
            .current_dir(root)
            .env("XTASK_CACHE_DIR", crate::chain::cache_dir())
            .args(["image", "--base", "scratch", "--builder", builder, "--to", &to])
            .output()
            .unwrap();
        fine(&output);
        output.text().rsplit_once('@').unwrap().1.to_owned()
    };
    let host = made("host");
    let docker = made("docker");
    let triple = "arm-unknown-linux-musleabihf";
    let program = |path: &str| xtask::oci::Digest::of(&fs::read(root.join(path)).unwrap());
    assert_eq!(
        program(&format!("target/{triple}/release/blog")),
        program(&format!("target/builder/{triple}/blog")),
        "the programs differ"
    );
    assert_eq!(host, docker, "the same program gave different images");
}

#[test]
fn the_table_of_the_builder_is_that_of_xtask() {
    let bases = |platform, triple: &str| -> Vec<&str> {
        let of = |base: &Base| base.target(platform).is_some_and(|target| target.triple == triple);
        Base::ALL.into_iter().filter(of).map(Base::name).collect()
    };
    let rows: String = TARGETS
        .iter()
        .map(|target| {
            let bases = bases(target.platform, target.triple).join(",");
            format!(
                "{} {} {} {} {bases}\n",
                target.triple, target.zig_target, target.zig_cpu, target.platform
            )
        })
        .collect();
    assert_eq!(
        fs::read_to_string(repository().join("docker/builder/targets")).unwrap(),
        rows,
        "write the right side there"
    );
}

#[test]
fn the_tools_of_the_builder_are_those_of_xtask_toml() {
    let tools = policy().tools;
    let wanted: String = ["ziglang", "cargo-zigbuild"]
        .iter()
        .map(|name| {
            let hashes: String = tools[*name]
                .sha256
                .iter()
                .map(|hash| format!(" \\\n    --hash=sha256:{hash}"))
                .collect();
            format!("{name}=={}{hashes}\n", tools[*name].version)
        })
        .collect();
    let text = fs::read_to_string(repository().join("docker/builder/requirements.txt")).unwrap();
    let text: String = text
        .lines()
        .filter(|line| !line.starts_with('#'))
        .flat_map(|line| [line, "\n"])
        .collect();
    assert_eq!(text, wanted);
    let dockerfile = fs::read_to_string(repository().join("docker/Dockerfile")).unwrap();
    let image = policy().image;
    let compile = fs::read_to_string(repository().join("docker/builder/compile")).unwrap();
    for (name, value) in [("PACKAGE", &image.package), ("BINARY", &image.binary)] {
        assert!(
            compile.contains(&format!("${{{name}:-{value}}}")),
            "docker/builder/compile: {name}"
        );
    }
    assert!(dockerfile.contains(&format!("--from=compile --chmod=0755 {} ", image.compiled)));
}

/// A script of docker/builder with another place in the place of `/opt/builder` and the others.
fn moved(name: &str, home: &Path) -> std::path::PathBuf {
    let text = fs::read_to_string(repository().join("docker/builder").join(name)).unwrap();
    let home = home.display();
    let text = text
        .replace("/opt/builder", &format!("{home}/opt/builder"))
        .replace("/opt/rust", &format!("{home}/opt/rust"))
        .replace("/cache/", &format!("{home}/cache/"))
        .replace("/context/", &format!("{home}/context/"))
        .replace("/out", &format!("{home}/out"));
    let path = Path::new(&home.to_string()).join("opt/builder").join(name);
    script(&path, &text);
    path
}

/// Runs cc and linker of a triple with a stand-in for zig, here and as in the builder: the arguments are the same.
#[test]
fn zig_is_called_the_same_way_in_the_builder() {
    let temp = tempfile::tempdir().unwrap();
    let home = temp.path();
    let printing = "#!/bin/sh\nprintf '%s\\n' \"$@\"\n";
    script(&home.join("opt/builder/wheels/bin/cargo-zigbuild"), printing);
    for (name, text) in [("zig-version", "1"), ("rust-version", "2")] {
        fs::write(home.join("opt/builder").join(name), text).unwrap();
    }
    fs::copy(
        repository().join("docker/builder/targets"),
        home.join("opt/builder/targets"),
    )
    .unwrap();
    let zig = moved("zig", home);
    let mut cx = crate::http::cx(&home.join("cache"));
    cx.root = home.join("workspace");
    let ours = xtask::toolchain::zig::Zig {
        zig: "/zig".into(),
        wrapper: home.join("opt/builder/wheels/bin/cargo-zigbuild"),
        version: "1".to_owned(),
    };
    xtask::toolchain::zig::write_scripts(&cx, &ours).unwrap();
    let said = |program: &Path| {
        let command = Shell::default().command(program).args(["-c", "a b", "x.c"]);
        command.env_remove("XTASK_LINK_LINE").read().unwrap()
    };
    let names = TARGETS
        .iter()
        .flat_map(|target| ["cc", "link"].map(|kind| format!("{}-{kind}", target.triple)));
    for name in names.chain(["ar".to_owned()]) {
        let link = home.join("opt/builder").join(&name);
        std::os::unix::fs::symlink(&zig, &link).unwrap();
        let here = said(&cx.root.join(".tools").join(&name));
        assert!(here.contains("a b\nx.c"), "{here}");
        assert_eq!(said(&link), here, "{name}");
    }
}

/// Runs `compile` with a stand-in for cargo: its arguments are those of the host's build.
#[test]
fn cargo_is_called_the_same_way_in_the_builder() {
    if !require_program("rsync") || !require_program("flock") {
        return;
    }
    let temp = tempfile::tempdir().unwrap();
    let home = fs::canonicalize(temp.path()).unwrap();
    let printing = "#!/bin/sh\nprintf '%s\\n' \"$SOURCE_DATE_EPOCH\" \"$RUSTC_BOOTSTRAP\" \"$@\" >\"$SAID\"\nexit 7\n";
    script(&home.join("opt/rust/bin/cargo"), printing);
    script(
        &home.join("opt/rust/bin/rustc"),
        &format!("#!/bin/sh\necho '{}/sysroot'\n", home.display()),
    );
    fs::create_dir_all(home.join("context")).unwrap();
    fs::create_dir_all(home.join("opt/builder")).unwrap();
    fs::write(home.join("opt/builder/id"), "id\n").unwrap();
    let compile = moved("compile", &home);
    let policy = policy();
    for target in &TARGETS {
        for (std, word) in [(StdSource::Prebuilt, "prebuilt"), (StdSource::Source, "source")] {
            let said = home.join("said");
            let output = Shell::default()
                .command(&compile)
                .args([target.triple, word])
                // With it the script ends its process group when standard input ends, and this test would be in that group.
                .env_remove("XTASK_RECORD")
                .env("SAID", &said)
                .env_remove("RUSTC_BOOTSTRAP")
                .output()
                .unwrap();
            assert_eq!(output.status.code(), Some(7), "{}", output.error_text());
            let theirs = fs::read_to_string(&said).unwrap();

            let mut cx = crate::http::cx(&home.join("cache"));
            cx.root = repository().to_owned();
            let plan = crate::cli::builder::plan(&policy);
            let compiler = Compiler {
                version: String::new(),
                host: String::new(),
                sysroot: home.join("sysroot"),
            };
            let planned = CompilePlan {
                triple: target.triple.to_owned(),
                std: StdChoice::Auto,
                std_now: None,
            };
            let command = xtask::compile::build_command(&cx, &plan, &planned, std, &compiler).unwrap();
            let printing = home.join("print");
            script(
                &printing,
                "#!/bin/sh\nprintf '%s\\n' \"$SOURCE_DATE_EPOCH\" \"$RUSTC_BOOTSTRAP\" \"$@\"\n",
            );
            let ours = command
                .with_program(&printing)
                .env("RUSTC_BOOTSTRAP", if std == StdSource::Source { "1" } else { "" });
            // Places differ, and are replaced by the same names in both.
            let plain = |text: &str| -> Vec<String> {
                let replaced = |line: &str| match line.split_once(".rustflags=") {
                    Some((target, flags)) => {
                        let flags: Vec<String> = serde_json::from_str(flags).unwrap();
                        let names = flags
                            .iter()
                            .map(|flag| flag.rsplit_once('=').unwrap().1)
                            .filter(|name| *name != "/src/target");
                        format!("{target} {}", names.collect::<Vec<_>>().join(" "))
                    }
                    None => line.to_owned(),
                };
                // The messages are asked for with XTASK_RECORD.
                let words = ["--quiet", "--message-format", "json-render-diagnostics"];
                text.lines()
                    .map(replaced)
                    .filter(|line| !words.contains(&line.as_str()))
                    .collect()
            };
            assert_eq!(plain(&theirs), plain(&ours.read().unwrap()), "{} {word}", target.triple);
        }
    }
}

fn plan(policy: &Policy) -> xtask::plan::Plan {
    let facts = xtask::workspace::Facts {
        version: "1".to_owned(),
        revision: None,
        source_date_epoch: 0,
    };
    xtask::plan::resolve(&xtask::plan::Request::default(), policy, &facts, |_, _| None).unwrap()
}

#[test]
fn hadolint_has_nothing_to_say() {
    if !require_program("python3") {
        return;
    }
    let mut cx = crate::http::cx(&crate::chain::cache_dir());
    cx.root = repository().to_owned();
    let hadolint = match xtask::toolchain::pip::provision(&cx, "hadolint", &policy().tools["hadolint"]) {
        Ok(hadolint) => hadolint,
        Err(error) => {
            require(&format!("hadolint ({error})"), false);
            return;
        }
    };
    let check = |text: &str| {
        let output = Shell::default()
            .command(&hadolint)
            .args(["--no-color", "-"])
            .stdin_bytes(text)
            .output()
            .unwrap();
        (output.status.success(), output.text())
    };
    let (clean, said) = check(&fs::read_to_string(repository().join("docker/Dockerfile")).unwrap());
    assert!(clean, "{said}");
    assert!(!check("FROM debian\nRUN cd /tmp\n").0, "it is a judge");
}
