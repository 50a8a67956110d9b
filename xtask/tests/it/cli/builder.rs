//! The Docker builder. Without an engine: what docker/builder says is what xtask says. With one: `story` goes from nothing to nothing,
//! `same` compares bytes and images, `trouble` lets networks, disks and engines fail, `podman` is another engine.

use std::fs;
use std::path::Path;
use std::sync::Mutex;

use xtask::engine::Connection;
use xtask::plan::{CompilePlan, StdChoice, StdSource};
use xtask::policy::Policy;
use xtask::shell::{Command, Output, Shell};
use xtask::target::{Base, TARGETS};
use xtask::toolchain::rust_std::Compiler;

use super::{Workspace, code, script, xtask};
use crate::require::{require, require_program};

mod podman;
mod same;
mod seed;
mod story;
mod trouble;

/// Of images, volumes and containers of these tests.
const NAME: &str = "xtask-test";

const IMAGE: [&str; 7] = [
    "image",
    "--builder",
    "docker",
    "--base",
    "scratch",
    "--platform",
    "linux/amd64",
];

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

fn policy() -> Policy {
    Policy::parse(&fs::read_to_string(repository().join("xtask.toml")).unwrap()).unwrap()
}

/// Gives a workspace the files of the builder, and its images and caches a name of their own.
fn equip(workspace: &Workspace, name: &str) {
    for file in xtask::context::files(repository(), "docker/builder").unwrap() {
        if let xtask::oci::layer::EntryKind::File(bytes) = file.kind {
            let path = format!("docker/builder/{}", file.path);
            workspace.write(&path, std::str::from_utf8(&bytes).unwrap());
            executable(&workspace.path(&path), file.mode);
        }
    }
    workspace.write(".dockerignore", "target\n");
    workspace.edit("xtask.toml", "\nname = \"blog\"", &format!("\nname = \"{name}\""));
}

fn executable(path: &Path, mode: u32) {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// A small workspace with the builder's files.
fn workspace(name: &str) -> Workspace {
    let workspace = Workspace::new();
    equip(&workspace, name);
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

fn has_engine() -> bool {
    require("a Docker engine (DOCKER_HOST)", Connection::from_environment().is_ok())
}

/// The builder image for a workspace. Several tests want it, each by a name of its own: the first makes it, and the engine has its
/// layers when the others ask.
fn built(workspace: &Workspace) {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _turn = ONE_AT_A_TIME.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    fine(&run(workspace, &["builder", "build"]).output().unwrap());
}

#[track_caller]
fn fine(output: &Output) {
    assert_eq!(code(output), 0, "{}\n{}", output.text(), output.error_text());
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

/// Older engines look at the part alone to know whether anything has changed: <https://github.com/moby/buildkit/issues/4123>.
#[test]
fn no_command_sees_the_whole_context_and_a_part_of_it() {
    let dockerfile = fs::read_to_string(repository().join("docker/Dockerfile")).unwrap();
    let commands = dockerfile.replace("\\\n", "");
    let mut whole = 0;
    for run in commands.lines().filter(|line| line.starts_with("RUN ")) {
        let mounts: Vec<&str> = run
            .split_whitespace()
            .filter(|word| word.starts_with("--mount=type=bind"))
            .collect();
        let is_whole = |mount: &&str| {
            let mut source = mount
                .split(',')
                .filter_map(|part| part.strip_prefix("source=").or(part.strip_prefix("src=")));
            source.all(|source| matches!(source, "." | "./" | "/"))
        };
        if mounts.iter().any(is_whole) {
            whole += 1;
            assert_eq!(
                mounts.len(),
                1,
                "give the command the files of the part by their place in the context: {run}"
            );
        }
    }
    assert_eq!(whole, 1, "the program is compiled from the whole context");
}

/// As files, here in another place than /run/host, which is where `cargo xtask` puts them.
#[test]
fn with_host_gives_a_command_what_the_machine_gave() {
    let temp = tempfile::tempdir().unwrap();
    fs::write(temp.path().join("ca.crt"), "a certificate\n").unwrap();
    fs::write(
        temp.path().join("env"),
        "https_proxy=http://proxy.example:3128\nnot a line of it",
    )
    .unwrap();
    let said = |files: &Path| {
        Shell::default()
            .command(repository().join("docker/builder/with-host"))
            .args([
                "sh",
                "-c",
                "echo \"proxy ${https_proxy-none}\"; tail -n 1 \"${CARGO_HTTP_CAINFO:-/dev/null}\"",
            ])
            .env("HOST_FILES", files)
            .env_remove("https_proxy")
            .read()
            .unwrap()
    };
    assert_eq!(said(temp.path()), "proxy http://proxy.example:3128\na certificate");
    let nothing = said(&temp.path().join("none"));
    assert!(
        nothing.starts_with("proxy none") && !nothing.contains("a certificate"),
        "{nothing}"
    );
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
    let said = |program: &Path, glibc: Option<&str>| {
        let command = Shell::default().command(program).args(["-c", "a b", "x.c"]);
        let command = match glibc {
            Some(version) => command.env("XTASK_GLIBC", version),
            None => command.env_remove("XTASK_GLIBC"),
        };
        command.env_remove("XTASK_LINK_LINE").read().unwrap()
    };
    let names = TARGETS
        .iter()
        .flat_map(|target| ["cc", "link"].map(|kind| format!("{}-{kind}", target.triple)));
    for name in names.chain(["ar".to_owned()]) {
        let link = home.join("opt/builder").join(&name);
        std::os::unix::fs::symlink(&zig, &link).unwrap();
        for glibc in [None, Some("2.41")] {
            let here = said(&cx.root.join(".tools").join(&name), glibc);
            assert!(here.contains("a b\nx.c"), "{here}");
            // What links with glibc follows; nothing is compiled against another one's headers.
            let follows = name.contains("-gnu") && name.ends_with("-link") && glibc.is_some();
            assert_eq!(here.contains("2.41"), follows, "{name}: {here}");
            assert_eq!(said(&link, glibc), here, "{name}");
            // Half a minute for each triple, spent on a library that nothing is linked from.
            let spared = here.contains("-fno-sanitize=undefined");
            assert_eq!(spared, name.ends_with("-link"), "{name}: {here}");
        }
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
    // Two registries, one of them a mirror.
    for registry in ["first-1949cf8c6b5b557f", "mirror-0123456789abcdef"] {
        fs::create_dir_all(home.join("cache/cargo/registry/src").join(registry)).unwrap();
    }
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
            let command = xtask::compile::build_command(&cx, &plan, &planned, std, &compiler, &[]).unwrap();
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
                        let names = flags.iter().map(|flag| flag.rsplit_once('=').unwrap().1);
                        let mut names: Vec<_> = names.filter(|name| *name != "/src/target").collect();
                        // However many registries there are.
                        names.dedup();
                        format!("{target} {}", names.join(" "))
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
