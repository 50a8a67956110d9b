//! `cargo xtask doctor`: what is there, what is missing, how each would be had. Looks, and changes nothing.

use serde::Serialize;

use crate::boot;
use crate::cli::DoctorArgs;
use crate::cx::Cx;
use crate::error::Result;
use crate::plan::{StdChoice, StdSource};
use crate::publish::daemon::Daemon;
use crate::run;
use crate::target::{Platform, TARGETS};
use crate::toolchain::rust_std::{self, Compiler};
use crate::toolchain::{debs, pip};
use crate::verb::{Outcome, policy, toolchain};

/// One line of the report.
#[derive(Debug, Serialize)]
struct Item {
    what: String,
    needed_for: &'static str,
    found: Option<String>,
    /// How it would be had, or what to do.
    remedy: Option<String>,
    /// Whether `cargo xtask` gets it by itself when it is needed.
    automatic: bool,
}

/// Prints the report. Exit code 1 when something is missing that `cargo xtask` cannot get by itself.
pub fn run(cx: &Cx, args: &DoctorArgs) -> Result<Outcome> {
    if let Some(name) = &args.toolchain {
        return toolchain::run(cx, args, name);
    }
    let items = examine(cx)?;
    if args.json {
        cx.ui.result(&serde_json::to_string_pretty(&items)?);
    } else {
        for item in &items {
            let (mark, text) = match (&item.found, item.automatic) {
                (Some(found), _) => ("ok     ", found.clone()),
                (None, true) => (
                    "fetch  ",
                    format!("missing; {}", item.remedy.as_deref().unwrap_or_default()),
                ),
                (None, false) => ("MISSING", item.remedy.clone().unwrap_or_default()),
            };
            cx.ui.result(&format!("{mark} {:<34} {text}", item.what));
        }
    }
    let lost = items.iter().any(|item| {
        item.found.is_none() && !item.automatic && !["boot", "docker", "labels", "isolation"].contains(&item.needed_for)
    });
    Ok(if lost { Outcome::Findings } else { Outcome::Fine })
}

fn examine(cx: &Cx) -> Result<Vec<Item>> {
    let mut items = Vec::new();
    let mut add = |what: &str, needed_for, found: Option<String>, remedy: &str, automatic| {
        items.push(Item {
            what: what.to_owned(),
            needed_for,
            found,
            remedy: Some(remedy.to_owned()),
            automatic,
        });
    };
    let version = |program: &str, args: &[&str]| {
        let output = cx.shell.command(program).args(args).output().ok()?;
        output
            .status
            .success()
            .then(|| output.text().lines().next().unwrap_or_default().trim().to_owned())
    };
    let compiler = Compiler::detect(cx);
    add(
        "rustc",
        "compile",
        compiler.as_ref().ok().map(|compiler| compiler.version.clone()),
        "install Rust with rustup; rust-toolchain.toml names the version",
        false,
    );
    add(
        "rustup",
        "std",
        version("rustup", &["--version"]),
        "install Rust with rustup, or a Rust with rust-src",
        false,
    );
    add(
        "cc",
        "compile",
        cx.shell.which("cc").map(|path| path.display().to_string()),
        "install a C compiler: rustc links with it",
        false,
    );
    add(
        "git",
        "labels",
        version("git", &["--version"]),
        "install git: it names the revision in the labels",
        false,
    );
    let python = version("python3", &["--version"]);
    add(
        "python3",
        "fetch",
        python.clone(),
        "install python3: pip fetches zig",
        false,
    );
    let module = version("python3", &["-m", "pip", "--version"]).or_else(|| {
        let tree = debs::cached(cx, "python3-pip-whl", &["usr/share/python-wheels"])?;
        Some(format!("Debian's wheel in {}", tree.display()))
    });
    add(
        "pip",
        "fetch",
        module,
        "Debian's wheel of it (python3-pip-whl, by apt-get download)",
        python.is_some(),
    );
    let apt = cx.shell.which("apt-get").map(|path| path.display().to_string());
    add(
        "apt-get",
        "fetch",
        apt.clone(),
        "a Debian-like system: bases and qemu-user come from its archive",
        false,
    );
    for (name, tool) in &policy(cx)?.tools {
        let found = pip::program(cx, name, tool).map(|path| format!("{} in {}", tool.version, path.display()));
        add(
            name,
            "compile",
            found,
            &format!("version {} by pip, when it is needed", tool.version),
            true,
        );
    }
    if let Ok(compiler) = &compiler {
        for target in &TARGETS {
            let found = rust_std::ready(cx, compiler, target.triple, StdChoice::Auto).map(|source| match source {
                StdSource::Prebuilt => "rustup's component".to_owned(),
                StdSource::Source => "built from rust-src".to_owned(),
            });
            add(
                &format!("std {}", target.triple),
                "compile",
                found,
                "by rustup target add, else built from rust-src, when it is needed",
                true,
            );
        }
    }
    for (name, needed_for, remedy) in [
        ("setpriv", "run", "install util-linux: nothing is run without it"),
        (
            "unshare",
            "isolation",
            "install util-linux: without it, images run without a chroot",
        ),
        (
            "mount",
            "isolation",
            "install mount: without it, images run without a chroot",
        ),
    ] {
        let found = cx.shell.which(name).map(|path| path.display().to_string());
        add(name, needed_for, found, remedy, false);
    }
    for platform in [Platform::ArmV6, Platform::Arm64, Platform::Amd64] {
        if run::host_runs(platform) {
            continue;
        }
        let program = platform.qemu().program;
        let fetched = || {
            let (fixed, plain) = (format!("usr/bin/{program}-static"), format!("usr/bin/{program}"));
            [("qemu-user-static", fixed), ("qemu-user", plain)]
                .iter()
                .find_map(|(package, path)| Some(debs::cached(cx, package, &[path])?.join(path)))
        };
        let found = run::installed(cx, platform).or_else(fetched);
        let found = found.map(|path| path.display().to_string());
        add(
            program,
            "run",
            found,
            "qemu-user by apt-get download, when it is needed",
            apt.is_some(),
        );
    }
    for (what, found, remedy) in [
        (
            "qemu-system-arm",
            boot::qemu_installed(cx).or_else(|| boot::qemu_cached(cx)),
            "the package qemu-system-arm and its libraries by apt-get, when it is needed",
        ),
        (
            "mke2fs",
            boot::mke2fs_installed(cx).or_else(|| boot::mke2fs_cached(cx)),
            "the package e2fsprogs by apt-get, when it is needed",
        ),
    ] {
        let found = found.map(|path| path.display().to_string());
        add(what, "boot", found, remedy, apt.is_some());
    }
    add(
        "kernel of a Pi Zero",
        "boot",
        boot::kernel_cached(cx, &policy(cx)?.boot).map(|release| format!("Linux {release} of Debian")),
        "Debian armel's, by apt, when it is needed",
        apt.is_some(),
    );
    let daemon = Daemon::from_environment()
        .and_then(|daemon| daemon.ping())
        .map(|engine| format!("{} (API {}) at {}", engine.version, engine.api, engine.endpoint));
    add(
        "Docker daemon",
        "docker",
        daemon.as_ref().ok().cloned(),
        &daemon
            .as_ref()
            .err()
            .map(|error| format!("--load needs one: {error}"))
            .unwrap_or_default(),
        false,
    );
    add(
        "cache directory",
        "fetch",
        Some(cx.cache.root().display().to_string()),
        "",
        false,
    );
    Ok(items)
}
