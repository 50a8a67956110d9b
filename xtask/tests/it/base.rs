//! The `debian` base out of Debian's real archive, and archives that must be refused.

use std::fs;
use std::path::Path;

use xtask::base::debian::{self, DebianBase, Options};
use xtask::cache::Cache;
use xtask::cx::Cx;
use xtask::error::Error;
use xtask::oci::layer::{Entry, EntryKind, Limits};
use xtask::policy::DebianPolicy;
use xtask::shell::Shell;
use xtask::target::Platform;
use xtask::toolchain::debs;
use xtask::ui::{Ui, Verbosity};

use crate::require::require;

fn cx(cache: &Path, offline: bool) -> Cx {
    Cx {
        shell: Shell::default(),
        ui: Ui::new(Verbosity::Quiet),
        cache: Cache::at(cache),
        root: Path::new(env!("CARGO_MANIFEST_DIR")).join(".."),
        offline,
    }
}

/// `[base.debian]` of the repository's own xtask.toml.
fn policy() -> DebianPolicy {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../xtask.toml");
    let all: toml::Table = fs::read_to_string(path).unwrap().parse().unwrap();
    all["base"]["debian"].clone().try_into().unwrap()
}

/// The network, apt and a consistent mirror are not ours to test: without them a test is skipped, for any other reason it
/// fails.
fn available<T>(result: Result<T, Error>) -> Option<T> {
    const ABSENT: [&str; 9] = [
        "cannot start `apt",
        "is not configured with a mirror",
        "Could not resolve",
        "Could not connect",
        "Unable to connect",
        "Connection failed",
        "Temporary failure",
        "unexpected size",
        "Hash Sum mismatch",
    ];
    match result {
        Ok(value) => Some(value),
        Err(error) if ABSENT.iter().any(|text| error.to_string().contains(text)) => {
            require(&format!("Debian's archive through apt ({error})"), false);
            None
        }
        Err(error) => panic!("{error} (hint: {:?})", error.next_step()),
    }
}

fn entries(base: &DebianBase) -> Vec<Entry> {
    base.layer.entries(&Limits::default()).unwrap()
}

/// Follows links within the tree, as the kernel would at run time.
fn resolve<'a>(entries: &'a [Entry], path: &str) -> Option<&'a Entry> {
    let mut todo: Vec<String> = path.split('/').rev().map(str::to_owned).collect();
    let mut at: Vec<String> = Vec::new();
    for _ in 0..100 {
        let Some(part) = todo.pop() else {
            let path = at.join("/");
            return entries.iter().find(|entry| entry.path == path);
        };
        match part.as_str() {
            "" | "." => continue,
            ".." => {
                at.pop();
                continue;
            }
            _ => at.push(part),
        }
        let path = at.join("/");
        if let EntryKind::Symlink(target) = &entries.iter().find(|entry| entry.path == path)?.kind {
            at.pop();
            if target.starts_with('/') {
                at.clear();
            }
            todo.extend(target.split('/').rev().map(str::to_owned));
        }
    }
    None
}

#[test]
fn debian_armel_is_small_complete_reproducible_and_works_offline() {
    let policy = policy();
    let cache = tempfile::tempdir().unwrap();
    // What an application may ask for on top, and what the base then has of it.
    let with = ["ca-certificates", "tzdata"].map(str::to_owned);
    let options = Options {
        with: &with,
        ..Options::default()
    };
    let online = cx(cache.path(), false);
    let Some(base) = available(debian::build(&online, Platform::ArmV6, &policy, options)) else {
        return;
    };

    // Complete: the loader through the merged /usr, the C library, certificates, zones, licences, the list of packages.
    let found = entries(&base);
    for path in [
        "lib/ld-linux.so.3",
        "lib/arm-linux-gnueabi/libc.so.6",
        "usr/lib/arm-linux-gnueabi/libgcc_s.so.1",
        "etc/ssl/certs/ca-certificates.crt",
        "etc/localtime",
        "etc/os-release",
        "usr/share/zoneinfo/Asia/Tokyo",
        "usr/share/doc/libgcc-s1/copyright",
        "usr/share/doc/libc6/copyright",
        "var/lib/dpkg/status.d/libc6",
    ] {
        let entry = resolve(&found, path).unwrap_or_else(|| panic!("{path} is missing"));
        assert!(
            matches!(&entry.kind, EntryKind::File(bytes) if !bytes.is_empty()),
            "{path}"
        );
    }
    assert_eq!(resolve(&found, "tmp").unwrap().mode, 0o1777);
    assert_eq!(resolve(&found, "root").unwrap().mode, 0o700);
    assert_eq!(base.owners["usr/lib/arm-linux-gnueabi/libc.so.6"], "libc6");
    assert_eq!(base.glibc, "2.41");
    assert!(
        base.packages
            .iter()
            .all(|package| ["armel", "all"].contains(&package.architecture.as_str()))
    );

    // Only what a server needs.
    for path in [
        "bin/sh",
        "bin/bash",
        "bin/dash",
        "usr/bin/dpkg",
        "usr/bin/perl",
        "usr/bin/openssl",
    ] {
        assert!(resolve(&found, path).is_none(), "{path} has no place in the base");
    }
    let programs: Vec<&str> = found
        .iter()
        .filter(|entry| ["usr/bin/", "usr/sbin/"].iter().any(|dir| entry.path.starts_with(dir)))
        .map(|entry| entry.path.as_str())
        .collect();
    assert_eq!(programs, Vec::<&str>::new());
    assert!(base.layer.size() < 5_200_000, "{} bytes", base.layer.size());
    let setuid = found.iter().filter(|entry| entry.mode & 0o6000 != 0).count();
    assert_eq!(setuid, 0);

    // Offline, from the cache: the same; and even when only the packages are left.
    let offline = cx(cache.path(), true);
    let again = debian::build(&offline, Platform::ArmV6, &policy, options).unwrap();
    assert_eq!(again.layer.digest(), base.layer.digest());
    let resolved = xtask::base::debian::found(&offline, Platform::ArmV6, &policy, options).unwrap();
    assert_eq!(resolved.layers[0].digest(), base.layer.digest());
    assert_eq!(resolved.glibc.as_deref(), Some("2.41"));
    assert!(
        resolved.origin.starts_with("Debian trixie armel, "),
        "{}",
        resolved.origin
    );
    fs::remove_dir_all(cache.path().join("tree")).unwrap();
    let again = debian::build(&offline, Platform::ArmV6, &policy, options).unwrap();
    assert_eq!(again.layer.digest(), base.layer.digest());

    // A damaged layer is made again; a damaged package is noticed, and fetched again at the same version.
    let tree = fs::read_dir(cache.path().join("tree/base-debian"))
        .unwrap()
        .next()
        .unwrap()
        .unwrap()
        .path();
    fs::write(tree.join("layer.tar.gz"), b"damaged").unwrap();
    let libc = base.packages.iter().find(|package| package.name == "libc6").unwrap();
    fs::write(cache.path().join("sha256").join(&libc.sha256), b"damaged").unwrap();
    let error = debian::build(&offline, Platform::ArmV6, &policy, options).unwrap_err();
    assert!(
        error.to_string().contains("libc6") && error.to_string().contains("offline"),
        "{error}"
    );
    let mended = debian::build(&online, Platform::ArmV6, &policy, options).unwrap();
    assert_eq!(mended.layer.digest(), base.layer.digest());

    // In another place, with a blank in its name and nothing to start from: the same bytes.
    let elsewhere = tempfile::Builder::new().prefix("another place ").tempdir().unwrap();
    let Some(other) = available(debian::build(
        &cx(elsewhere.path(), false),
        Platform::ArmV6,
        &policy,
        options,
    )) else {
        return;
    };
    assert_eq!(other.packages, base.packages);
    assert_eq!(other.layer.digest(), base.layer.digest());
}

#[test]
fn packages_can_be_added_and_unknown_ones_are_named() {
    let policy = policy();
    let cache = tempfile::tempdir().unwrap();
    let cx = cx(cache.path(), false);
    let with = ["busybox-static".to_owned()];
    let options = Options {
        with: &with,
        ..Options::default()
    };
    let Some(base) = available(debian::build(&cx, Platform::ArmV6, &policy, options)) else {
        return;
    };
    assert!(resolve(&entries(&base), "bin/busybox").is_some());

    let with = ["no-such-package-here".to_owned()];
    let options = Options {
        with: &with,
        ..Options::default()
    };
    let error = debian::build(&cx, Platform::ArmV6, &policy, options).unwrap_err();
    assert!(
        error.to_string().ends_with("has no package no-such-package-here"),
        "{error}"
    );
}

#[test]
fn nothing_is_fetched_offline() {
    let cache = tempfile::tempdir().unwrap();
    let cx = cx(cache.path(), true);
    let error = debian::build(&cx, Platform::ArmV6, &policy(), Options::default()).unwrap_err();
    assert!(error.to_string().contains("trixie armel"), "{error}");
    assert!(error.next_step().unwrap().contains("--offline"));
    let error = debs::fetch(&cx, "netbase", &["etc/services"]).unwrap_err();
    assert!(error.to_string().contains("netbase"), "{error}");
}

fn has_apt() -> bool {
    // Ubuntu has the keys in a package, which is fetched.
    let cache = tempfile::tempdir().unwrap();
    let found = Path::new("/usr/bin/apt-get").exists() && xtask::base::apt::keyring(&cx(cache.path(), false)).is_ok();
    require("apt and Debian's archive keys", found)
}

#[test]
fn a_mirror_that_does_not_answer_is_named_without_its_password() {
    if !has_apt() {
        return;
    }
    let cache = tempfile::tempdir().unwrap();
    let options = Options {
        mirror: Some("http://me:secret@127.0.0.1:1/"),
        ..Options::default()
    };
    let error = debian::build(&cx(cache.path(), false), Platform::ArmV6, &policy(), options).unwrap_err();
    let text = error.to_string();
    assert!(text.contains("http://127.0.0.1:1"), "{text}");
    assert!(!text.contains("secret"), "{text}");
    assert!(error.next_step().unwrap().contains("--debian-mirror"));
}

/// A tiny archive on disk with one package list; signed by whoever `sign` is.
fn archive(dir: &Path, sign: impl Fn(&Path)) {
    for suite in [
        "trixie",
        "trixie-updates",
        "stable",
        "stable-updates",
        "oldstable",
        "oldstable-updates",
    ] {
        let dists = dir.join("dists").join(suite);
        let lists = dists.join("main/binary-armel");
        fs::create_dir_all(&lists).unwrap();
        let packages =
            "Package: libc6\nVersion: 2.41-1\nArchitecture: armel\nFilename: pool/libc6.deb\nSize: 1\nSHA256: 00\n";
        fs::write(lists.join("Packages"), packages).unwrap();
        let release = format!(
            "Origin: Debian\nSuite: stable\nCodename: {suite}\nDate: Sat, 12 Sep 2026 07:55:41 UTC\nArchitectures: armel\n\
             Components: main\nSHA256:\n {} {} main/binary-armel/Packages\n",
            xtask::cache::hash_file(&lists.join("Packages")).unwrap(),
            packages.len()
        );
        fs::write(dists.join("Release"), release).unwrap();
        sign(&dists);
    }
}

fn refused(archive: &Path) -> Error {
    let cache = tempfile::tempdir().unwrap();
    let mirror = format!("file://{}", archive.display());
    let options = Options {
        mirror: Some(&mirror),
        ..Options::default()
    };
    let error = debian::build(&cx(cache.path(), false), Platform::ArmV6, &policy(), options).unwrap_err();
    assert!(error.to_string().contains(&mirror), "{error}");
    assert!(
        error.next_step().unwrap().contains("signature"),
        "{error} / {:?}",
        error.next_step()
    );
    error
}

#[test]
fn an_archive_without_a_signature_is_refused() {
    if !has_apt() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    archive(dir.path(), |_| {});
    let error = refused(dir.path());
    assert!(error.to_string().contains("not signed"), "{error}");
}

#[test]
fn an_archive_signed_by_somebody_else_is_refused() {
    let shell = Shell::default();
    let gpg = shell.command("gpg").arg("--version").read().is_ok();
    if !has_apt() || !require("gpg", gpg) {
        return;
    }
    let home = tempfile::tempdir().unwrap();
    let gpg = || {
        shell
            .command("gpg")
            .args([
                "--batch",
                "--quiet",
                "--yes",
                "--pinentry-mode",
                "loopback",
                "--passphrase",
                "",
                "--homedir",
            ])
            .arg(home.path())
    };
    gpg()
        .args([
            "--quick-gen-key",
            "Not Debian <x@mirror.example>",
            "ed25519",
            "sign",
            "never",
        ])
        .read()
        .unwrap();
    let dir = tempfile::tempdir().unwrap();
    archive(dir.path(), |dists| {
        gpg()
            .args(["--clearsign", "-o"])
            .arg(dists.join("InRelease"))
            .arg(dists.join("Release"))
            .read()
            .unwrap();
    });
    // The agent that gpg started goes with its directory.
    let error = refused(dir.path());
    let _ = shell
        .command("gpgconf")
        .arg("--homedir")
        .arg(home.path())
        .args(["--kill", "all"])
        .output();
    assert!(
        ["NO_PUBKEY", "Missing key"]
            .iter()
            .any(|text| error.to_string().contains(text)),
        "{error}"
    );
    let hint = error.next_step().unwrap();
    assert!(
        hint.contains("older than trixie: install a newer debian-archive-keyring"),
        "{hint}"
    );
}

#[test]
fn a_package_list_swapped_under_debians_own_signature_is_refused() {
    let Some(mirrors) = available(xtask::base::apt::mirrors(None)) else {
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    archive(dir.path(), |_| {});
    for suite in ["trixie", "trixie-updates"] {
        let dists = dir.path().join("dists").join(suite);
        let signed = Shell::default()
            .command("/usr/lib/apt/apt-helper")
            .args(["-o", "APT::Sandbox::User=", "download-file"])
            .arg(format!("{}/dists/{suite}/InRelease", mirrors.main))
            .arg(dists.join("InRelease"))
            .read();
        if !has_apt() || !require("Debian's archive through apt", signed.is_ok()) {
            return;
        }
        let lists = dists.join("main/binary-armel");
        fs::rename(lists.join("Packages"), lists.join("Packages.xz")).unwrap();
    }
    let cache = tempfile::tempdir().unwrap();
    let mirror = format!("file://{}", dir.path().display());
    let mut policy = policy();
    policy.aliases.clear();
    let options = Options {
        mirror: Some(&mirror),
        ..Options::default()
    };
    let error = debian::build(&cx(cache.path(), false), Platform::ArmV6, &policy, options).unwrap_err();
    let text = error.to_string();
    assert!(text.contains(&mirror), "{text}");
    assert!(
        text.contains("unexpected size") || text.contains("Hash Sum mismatch"),
        "{text}"
    );
    assert!(!cache.path().join("record").exists(), "nothing of it may be kept");
}

#[test]
fn a_package_of_the_hosts_own_archive_is_unpacked_once() {
    let cache = tempfile::tempdir().unwrap();
    let online = cx(cache.path(), false);
    let wanted = "usr/share/doc/netbase/copyright";
    let Some(tree) = available(debs::fetch(&online, "netbase", &[wanted])) else {
        return;
    };
    assert!(tree.join(wanted).is_file());
    let offline = cx(cache.path(), true);
    assert_eq!(debs::fetch(&offline, "netbase", &[wanted]).unwrap(), tree);
    fs::remove_file(tree.join(wanted)).unwrap();
    assert_eq!(debs::fetch(&offline, "netbase", &[wanted]).unwrap(), tree);
    assert!(tree.join(wanted).is_file(), "a tree with a hole is made again");
    let error = debs::fetch(&offline, "netbase", &["usr/bin/no-such-program"]).unwrap_err();
    assert!(
        error.to_string().contains("netbase") && error.to_string().contains("no-such-program"),
        "{error}"
    );
    let first = debs::fetch_first(&offline, &[("no-such-package", "x"), ("netbase", wanted)]).unwrap();
    assert_eq!(first, tree.join(wanted));
}
