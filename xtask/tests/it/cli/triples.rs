//! Every other target: a small server is compiled, audited, packed and answers under the CPU of its platform. The triples of the
//! Pi Zero itself and static amd64 have tests with more to them.
//!
//! The first run compiles Rust's std for five triples where the component cannot be had; the target directory is kept.

use std::fs;
use std::path::{Path, PathBuf};

use xtask::audit::{Expectation, audit};
use xtask::cache::{Cache, hash_file};
use xtask::cx::Cx;
use xtask::policy::Policy;
use xtask::run::{ImageSource, RunOptions, start};
use xtask::shell::Shell;
use xtask::target::{Base, Platform, Target};
use xtask::ui::{Ui, Verbosity};

use crate::chain::{can_provision, has_debian};
use crate::require::require_program;

use super::{Workspace, fine};

const SERVER: &str = r#"//! A server of one sentence.
use std::io::{Read, Write};

unsafe extern "C" {
    fn part(text: *const std::ffi::c_char) -> usize;
}

fn main() -> std::io::Result<()> {
    assert_eq!(unsafe { part(c"ok".as_ptr()) }, 2 + "src/part.c".len() + 1);
    let address = std::env::var("BLOG_LISTEN").unwrap_or_else(|_| "127.0.0.1:8080".to_owned());
    for stream in std::net::TcpListener::bind(address)?.incoming() {
        let mut stream = stream?;
        let _ = stream.read(&mut [0; 1024])?;
        stream.write_all(b"HTTP/1.0 200 OK\r\nContent-Length: 3\r\n\r\nok\n")?;
    }
    Ok(())
}
"#;

/// Compiles the part in C with what .cargo/config.toml and xtask name for the triple.
const BUILD: &str = r#"use std::env::var;

fn main() {
    let out = var("OUT_DIR").unwrap();
    let triple = var("TARGET").unwrap().replace('-', "_");
    let run = |tool: &str, args: &[&str]| {
        let program = var(format!("{tool}_{triple}")).unwrap();
        assert!(std::process::Command::new(program).args(args).status().unwrap().success());
    };
    let (object, archive) = (format!("{out}/part.o"), format!("{out}/libpart.a"));
    run("CC", &["-Os", "-c", "src/part.c", "-o", &object]);
    run("AR", &["crs", &archive, &object]);
    println!("cargo:rustc-link-search=native={out}");
    println!("cargo:rustc-link-lib=static=part");
}
"#;

const PART: &str = "#include <string.h>\n\nstatic const char name[] = __FILE__;\n\n\
                    size_t part(const char *text) {\n    return strlen(text) + sizeof name;\n}\n";

/// A small server in Rust, with a part in C.
pub const FILES: [(&str, &str); 3] = [
    ("app/src/main.rs", SERVER),
    ("app/build.rs", BUILD),
    ("app/src/part.c", PART),
];

/// Where all triples are compiled on the host, by these tests and by those that compare.
pub fn workspace() -> Workspace {
    let root = Path::new(env!("CARGO_TARGET_TMPDIR")).join("cli/triples");
    let mut workspace = Workspace::at_with(root, &FILES);
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
        // Apart from what xtask compiles, which is told other flags.
        .args(["--target-dir", "target/plain"])
        .current_dir(&workspace.root);
    // Where rustup has no std for this triple, it is built, as `cargo xtask image` would.
    if !Path::new(&sysroot).join("lib/rustlib").join(target.triple).is_dir() {
        cargo = cargo.env("RUSTC_BOOTSTRAP", "1").arg("-Zbuild-std=std,panic_abort");
    }
    fine(&cargo);
    let program = workspace.path("target/plain").join(target.triple).join("release/blog");
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

/// Another directory, another home, another cargo home, another place of the toolchain: the same bytes. Of the blog, that is shown by
/// the builder container, where all of these are others, too.
#[test]
fn two_clones_in_different_places_give_the_same_bytes() {
    if !can_provision() {
        return;
    }
    let here = workspace();
    let image = |workspace: &Workspace| {
        super::xtask(
            &workspace.root,
            &["image", "--base", "scratch", "--platform", "linux/arm/v7"],
        )
        .env("XTASK_CACHE_DIR", cache())
        .args(["--to", "oci:target/clones"])
    };
    let first = fine(&image(&here));
    let tmp = Path::new(env!("CARGO_TARGET_TMPDIR")).join("another/user's/place to clone into");
    let shell = Shell::default();
    let clone = Workspace::at_with(tmp.join("clone"), &FILES);

    let home = tmp.join("home");
    let cargo_home = home.join("cargo of another user");
    fs::create_dir_all(cargo_home.join("registry")).unwrap();
    let real =
        std::env::var_os("CARGO_HOME").map_or_else(|| std::env::home_dir().unwrap().join(".cargo"), PathBuf::from);
    for part in ["registry/index", "registry/cache", "config.toml", "credentials.toml"] {
        let link = cargo_home.join(part);
        if real.join(part).exists() && !link.exists() {
            std::os::unix::fs::symlink(real.join(part), link).unwrap();
        }
    }
    let sysroot = PathBuf::from(
        shell
            .command("rustc")
            .args(["--print", "sysroot"])
            .current_dir(&here.root)
            .read()
            .unwrap(),
    );
    let toolchain = home.join("toolchain");
    if !toolchain.is_dir() {
        // Hard links: a gigabyte that need not be copied. Another file system would need real copies.
        let linked = shell
            .command("cp")
            .arg("-al")
            .arg(fs::canonicalize(&sysroot).unwrap())
            .arg(&toolchain)
            .output()
            .unwrap();
        if !linked.status.success() {
            let _ = fs::remove_dir_all(&toolchain);
            shell
                .command("cp")
                .arg("-a")
                .arg(fs::canonicalize(&sysroot).unwrap())
                .arg(&toolchain)
                .run()
                .unwrap();
        }
    }
    let path = format!("{}:{}", toolchain.join("bin").display(), std::env::var("PATH").unwrap());
    let second = image(&clone)
        .arg("--offline")
        .env("HOME", &home)
        .env("CARGO_HOME", &cargo_home)
        .env("PATH", path)
        .env("CARGO", toolchain.join("bin/cargo"))
        .env("RUSTC", toolchain.join("bin/rustc"))
        .env_remove("RUSTUP_TOOLCHAIN")
        .env_remove("RUSTUP_HOME");
    assert_eq!(fine(&second), first, "the same program gave different images");
    let program = "target/armv7-unknown-linux-musleabihf/release/blog";
    assert_eq!(
        hash_file(&here.path(program)).unwrap(),
        hash_file(&clone.path(program)).unwrap(),
        "the programs differ: compare {} and {}",
        here.path(program).display(),
        clone.path(program).display()
    );
}
