//! Every other target: a small server is compiled, audited, packed and answers under the CPU of its platform. The triples of the
//! Pi Zero itself and static amd64 have tests with more to them.
//!
//! The first run compiles Rust's std for five triples where the component cannot be had; the target directory is kept.

use std::path::{Path, PathBuf};

use xtask::audit::{Expectation, audit};
use xtask::cache::Cache;
use xtask::cx::Cx;
use xtask::policy::Policy;
use xtask::run::{ImageSource, RunOptions, start};
use xtask::shell::Shell;
use xtask::target::{Base, Platform, Target};
use xtask::ui::{Ui, Verbosity};

use crate::chain::has_debian;
use crate::require::require_program;

use super::{Workspace, fine};

pub const SERVER: &str = r#"//! A server of one sentence.
use std::io::{Read, Write};

fn main() -> std::io::Result<()> {
    let address = std::env::var("BLOG_LISTEN").unwrap_or_else(|_| "127.0.0.1:8080".to_owned());
    for stream in std::net::TcpListener::bind(address)?.incoming() {
        let mut stream = stream?;
        let _ = stream.read(&mut [0; 1024])?;
        stream.write_all(b"HTTP/1.0 200 OK\r\nContent-Length: 3\r\n\r\nok\n")?;
    }
    Ok(())
}
"#;

fn workspace() -> Workspace {
    let root = Path::new(env!("CARGO_TARGET_TMPDIR")).join("cli/triples");
    let mut workspace = Workspace::at(root, None);
    workspace.write("app/src/main.rs", SERVER);
    workspace.root = std::fs::canonicalize(&workspace.root).unwrap();
    workspace
}

fn cache() -> PathBuf {
    std::env::var_os("XTASK_CACHE_DIR").map_or_else(|| Cache::default_root().unwrap(), PathBuf::from)
}

#[test]
fn every_other_platform_gets_a_server_that_answers() {
    if !require_program("python3") || !require_program("apt-get") {
        return;
    }
    let workspace = workspace();
    let xtask = |args: &[&str]| super::xtask(&workspace.root, args).env("XTASK_CACHE_DIR", cache());
    let mut images = vec![(Base::Scratch, Platform::ArmV7), (Base::Scratch, Platform::Arm64)];
    let arm = ["--platform", "linux/arm/v7", "--platform", "linux/arm64"];
    let image = |bases: &[&str]| fine(&xtask(&[&["image"], bases, &arm].concat()));
    let made = if has_debian() {
        images.extend([Platform::ArmV7, Platform::Arm64, Platform::Amd64].map(|platform| (Base::Debian, platform)));
        fine(&xtask(&["image", "--base", "debian", "--platform", "linux/amd64"]));
        image(&["--base", "scratch", "--base", "debian"])
    } else {
        image(&["--base", "scratch"])
    };
    assert_eq!(made.lines().count(), if images.len() == 5 { 4 } else { 2 }, "{made}");
    let cx = Cx {
        shell: Shell::default(),
        ui: Ui::new(Verbosity::Quiet),
        cache: Cache::at(cache()),
        root: workspace.root.clone(),
        offline: false,
    };
    for (base, platform) in images {
        let tag = format!("{base}-{}", platform.slug());
        let dir = workspace.path("target/images").join(&tag);
        let image = ImageSource::from_layout(&dir, Some(&tag), base, platform).unwrap();
        let options = RunOptions {
            port: 0,
            fresh: true,
            echo: false,
            ..RunOptions::default()
        };
        let mut server = start(&cx, &image, &options).unwrap_or_else(|error| panic!("{tag}: {error}"));
        // It knows no signals: what matters here is that it answered.
        server.kill().unwrap();
    }
}

/// What people do who never use xtask but for its set-up. glibc with hard float is no base yet, so this is its only user.
#[test]
fn plain_cargo_links_an_armv6_program_once_the_tools_are_there() {
    if !require_program("python3") {
        return;
    }
    let workspace = workspace();
    fine(&super::xtask(&workspace.root, &["setup"]).env("XTASK_CACHE_DIR", cache()));
    let target = Target::from_triple("arm-unknown-linux-gnueabihf").unwrap();
    let shell = Shell::default();
    let sysroot = shell
        .command("rustc")
        .args(["--print", "sysroot"])
        .current_dir(&workspace.root)
        .read()
        .unwrap();
    let mut cargo = shell
        .command("cargo")
        .args(["build", "--release", "--package", "blog", "--target", target.triple])
        .current_dir(&workspace.root);
    // Where rustup has no std for this triple, it is built, as `cargo xtask image` would.
    if !Path::new(&sysroot).join("lib/rustlib").join(target.triple).is_dir() {
        cargo = cargo.env("RUSTC_BOOTSTRAP", "1").arg("-Zbuild-std=std,panic_abort");
    }
    fine(&cargo);
    let program = workspace.path("target").join(target.triple).join("release/blog");
    let policy = Policy::parse(&workspace.read("xtask.toml")).unwrap();
    let expectation = Expectation {
        file: program.display().to_string(),
        platform: target.platform,
        target,
        needed_allowed: policy.needed(Base::Debian).to_vec(),
        glibc: Some("2.28".to_owned()),
        waivers: policy.waivers(target.triple),
    };
    if let Err(report) = audit(std::fs::read(&program).unwrap(), &expectation) {
        panic!("{report}");
    }
}
