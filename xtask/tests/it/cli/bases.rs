//! `cargo xtask base`, and bases as `cargo xtask image` takes them: from a stand-in of Alpine's archive, locked, updated, verified,
//! exported and given back; and what is wrong is refused before anything is compiled.

use std::fs;

use serde_json::Value;
use xtask::oci::layer::{Entry, Limits, write_tar};
use xtask::oci::layout::load_image;
use xtask::oci::media;
use xtask::shell::Shell;
use xtask::target::Platform;

use super::whole::{built, run};
use super::{Workspace, code, fine, refused};
use crate::base_alpine::{Mirror, fixture, minirootfs};
use crate::http::server::Server;
use crate::registry::Real;
use crate::registry::answer;
use crate::registry::content::Content;
use crate::require::require_program;

/// Only the stand-in as a source: a registry that cannot be reached takes its time to say so.
fn only_the_archive(workspace: &Workspace) {
    workspace.write(
        "docker/bases.toml",
        "[[alpine.source]]\nkind = \"minirootfs\"\nmirror = \"https://mirror.invalid/alpine\"\nbranch = \"v3.24\"\n",
    );
}

#[test]
fn a_base_is_locked_updated_verified_and_exported() {
    let mirror = Mirror::new("armhf");
    mirror.release("3.24.1", "2026-08-20", &minirootfs("3.24.1", &fixture("v6-library")));
    let workspace = Workspace::new();
    only_the_archive(&workspace);
    let cache = workspace.path("../cache");
    let run = |args: &[&str]| {
        super::xtask(&workspace.root, args)
            .env("XTASK_CACHE_DIR", &cache)
            .env("XTASK_ALPINE_MIRROR", mirror.url())
    };
    let list = |column: &str| -> Value {
        let rows: Value = serde_json::from_str(&fine(&run(&["base", "list", "--json"]))).unwrap();
        let row = rows
            .as_array()
            .unwrap()
            .iter()
            .find(|row| row["base"] == "alpine" && row["platform"] == "linux/arm/v6")
            .unwrap();
        row[column].clone()
    };
    assert_eq!(list("locked"), false);
    let locked = fine(&run(&["base", "lock", "alpine"]));
    assert!(
        locked.starts_with("alpine linux/arm/v6: minirootfs v3.24 of 2026-08-20: Alpine 3.24.1 armhf minirootfs"),
        "{locked}"
    );
    let first = workspace.read("docker/bases.lock");
    assert_eq!(list("locked"), true);
    assert_eq!(
        list("packages"),
        serde_json::json!(["alpine-release 3.24-r0 armhf", "musl 1.2.5-r21 armhf"])
    );
    assert_eq!(
        fine(&run(&["base", "lock", "alpine"])),
        "alpine linux/arm/v6: is locked (minirootfs v3.24)\n"
    );
    assert_eq!(
        fine(&run(&["base", "verify", "--offline"])),
        "alpine linux/arm/v6 minirootfs v3.24: same\n"
    );

    // The mirror moves on: an update says what is different, and a dry run writes nothing.
    let moved = minirootfs("3.24.2", &[fixture("v6-library"), vec![0; 100]].concat());
    mirror.release("3.24.2", "2026-09-01", &moved);
    let told = fine(&run(&["base", "update", "--dry-run"]));
    assert!(
        told.starts_with("alpine linux/arm/v6: minirootfs v3.24 of 2026-09-01, was of 2026-08-20;"),
        "{told}"
    );
    assert!(told.contains("\n  layers sha256:"), "{told}");
    assert_eq!(workspace.read("docker/bases.lock"), first);
    assert_eq!(fine(&run(&["base", "update"])), told);
    let second = workspace.read("docker/bases.lock");
    assert!(
        second.contains("Alpine 3.24.2") && !second.contains("3.24.1"),
        "{second}"
    );
    let told = fine(&run(&["base", "update"]));
    assert_eq!(
        told,
        "alpine linux/arm/v6: unchanged (minirootfs v3.24 of 2026-09-01)\n"
    );
    assert_eq!(workspace.read("docker/bases.lock"), second);

    // A lock that says something else is found out.
    let archive = xtask::oci::Digest::of(&moved).hex();
    workspace.edit("docker/bases.lock", &archive, &"0".repeat(64));
    let output = run(&["base", "verify", "alpine", "--json"]).output().unwrap();
    assert_eq!(code(&output), 1, "{}", output.error_text());
    let verified: Value = serde_json::from_str(&output.text()).unwrap();
    assert_eq!(verified[0]["result"], "different");
    workspace.write("docker/bases.lock", &second);

    // Exported, it is the archive again; and an image that others read.
    assert_eq!(
        fine(&run(&["base", "export", "alpine", "out/root.tar.gz", "--offline"])),
        "out/root.tar.gz\n"
    );
    assert_eq!(fs::read(workspace.path("out/root.tar.gz")).unwrap(), moved);
    fine(&run(&["base", "export", "alpine", "out/root.tar"]));
    let tar = fs::read(workspace.path("out/root.tar")).unwrap();
    assert!(xtask::oci::layer::read_tar(&tar, &Default::default()).unwrap().len() > 5);
    let line = fine(&run(&["base", "export", "alpine", "oci:out/alpine"]));
    assert!(line.starts_with("oci:out/alpine@sha256:"), "{line}");
    let blob = workspace.path(&format!("out/alpine/blobs/sha256/{archive}"));
    assert_eq!(fs::read(blob).unwrap(), moved, "the layer is untouched");

    // What is old is used, and said to be old.
    workspace.edit("docker/bases.lock", "2026-09-01", "2020-09-01");
    assert_eq!(list("old"), true);
    let output = run(&["base", "export", "alpine", "out/old.tar"]).output().unwrap();
    assert_eq!(code(&output), 0, "{}", output.error_text());
    let said = output.error_text();
    assert!(
        said.contains("is of 2020-09-01") && said.contains("cargo xtask base update alpine"),
        "{said}"
    );
    workspace.write("docker/bases.lock", &second);

    // Without the cache and without the mirror nothing is known, and that is no success.
    mirror.put("alpine-minirootfs-3.24.2-armhf.tar.gz", "");
    fs::remove_dir_all(&cache).unwrap();
    let output = run(&["base", "verify"]).output().unwrap();
    assert_eq!(code(&output), 2, "{}", output.text());
    assert!(
        output.text().contains("minirootfs v3.24: unavailable: "),
        "{}",
        output.text()
    );
}

#[test]
fn what_cannot_be_locked_is_refused() {
    let workspace = Workspace::new();
    let bad = |args: &[&str], word: &str| {
        let text = workspace.refused(args);
        assert!(text.contains(word), "{word}: {text}");
        assert!(!workspace.path("docker/bases.lock").exists());
        text
    };
    bad(&["base", "lock", "gentoo"], "unknown base `gentoo`");
    bad(&["base", "lock", "scratch"], "scratch is nothing");
    bad(
        &["base", "update", "raspbian", "--platform", "linux/arm/v7"],
        "there is no base raspbian for linux/arm/v7",
    );
    bad(
        &["image", "--base", "raspbian", "--platform", "linux/arm64"],
        "take `--base debian`",
    );
    bad(&["base", "lock", "alpine", "--source", "ftp"], "minirootfs v3.24");
    bad(&["base", "export", "alpine", "somewhere"], ".tar.gz");
    bad(&["base", "verify"], "cargo xtask base lock");
    let text = bad(&["base", "lock", "alpine"], "no source works");
    for source in ["registry docker.io/library/alpine:3.24 (", "minirootfs v3.24 ("] {
        assert!(text.contains(source), "{text}");
    }
    assert!(text.contains("hint: run once without --offline"), "{text}");

    workspace.edit("docker/bases.toml", "kind = \"minirootfs\"", "kind = \"ftp\"");
    bad(&["base", "list"], "unknown variant `ftp`");
    fs::remove_file(workspace.path("docker/bases.toml")).unwrap();
    bad(&["base", "list"], "git checkout docker/bases.toml");
}

#[test]
fn an_image_on_alpine_is_made_and_one_with_a_v7_library_is_not() {
    let Some(workspace) = built() else { return };
    let mirror = Mirror::new("x86_64");
    mirror.release("3.24.1", "2026-08-20", &minirootfs("3.24.1", &fixture("amd64-gnu")));
    only_the_archive(&workspace);
    let image = [
        "image",
        "--base",
        "alpine",
        "--platform",
        "linux/amd64",
        "--to",
        "oci:target/out/image",
    ];
    let output = run(&workspace, &image)
        .env("XTASK_ALPINE_MIRROR", mirror.url())
        .output()
        .unwrap();
    assert_eq!(code(&output), 0, "{}", output.error_text());
    let said = output.error_text();
    assert!(
        said.contains("docker/bases.lock has no entry, so this is what minirootfs v3.24 gave"),
        "{said}"
    );
    let config = fs::read_dir(workspace.path("target/out/image/blobs/sha256"))
        .unwrap()
        .map(|entry| fs::read(entry.unwrap().path()).unwrap())
        .find_map(|bytes| {
            serde_json::from_slice::<Value>(&bytes)
                .ok()
                .filter(|json| json["rootfs"].is_object())
        })
        .unwrap();
    assert_eq!(
        config["config"]["Labels"]["xtask.base"],
        "Alpine 3.24.1 x86_64 minirootfs"
    );
    assert_eq!(
        config["config"]["Env"][0].as_str().unwrap().split('=').next(),
        Some("PATH")
    );
    assert_eq!(config["rootfs"]["diff_ids"].as_array().unwrap().len(), 2);

    // The same with code for another machine in it: refused, naming file and package, and nothing is compiled or written.
    mirror.release("3.24.2", "2026-08-21", &minirootfs("3.24.2", &fixture("v7")));
    fs::remove_dir_all(workspace.path("target/out")).unwrap();
    let output = run(&workspace, &[&image[..], &["--refresh"]].concat())
        .env("XTASK_ALPINE_MIRROR", mirror.url())
        .output()
        .unwrap();
    assert_eq!(code(&output), 1, "{}", output.error_text());
    let said = output.error_text();
    assert!(
        said.contains("/lib/ld-musl-armhf.so.1") && said.contains("package: musl"),
        "{said}"
    );
    assert!(!workspace.path("target/out").exists());
}

#[test]
fn a_root_file_system_of_the_users_own_is_a_base() {
    let Some(workspace) = built() else { return };
    let entries = [
        Entry::directory("lib", 0o755),
        Entry::file(
            "lib/ld-musl.so",
            [&fixture("amd64-gnu")[..], b"musl libc (x)\0"].concat(),
            0o755,
        ),
    ];
    let tar = write_tar(&entries, Vec::new()).unwrap();
    fs::create_dir_all(workspace.path("target/out")).unwrap();
    fs::write(workspace.path("target/out/base.tar"), &tar).unwrap();
    let image = |base: &str, platform: &str| {
        let args = [
            "image",
            "--base",
            base,
            "--base-image",
            "target/out/base.tar",
            "--platform",
            platform,
            "--to",
            "oci:target/out/own",
        ];
        run(&workspace, &args)
    };
    fine(&image("alpine", "linux/amd64"));
    // The image is a base as well, whole.
    let args = [
        "image",
        "--base",
        "alpine",
        "--platform",
        "linux/amd64",
        "--to",
        "docker-archive:target/out/own.tar",
    ];
    let from = |location: &str| run(&workspace, &[&args[..], &["--base-image", location]].concat());
    fine(&from("oci:target/out/own"));
    fine(&from("docker-archive:target/out/own.tar"));

    // So is an image of a registry; its layers, environment and history come along, and the Dockerfile adds to them.
    let mut content = Content::default();
    let pulled = content.image("linux/amd64", &[(tar, media::DOCKER_LAYER_GZIP)]);
    content.tag("1", pulled);
    let layer = content.blobs.keys().copied().collect::<Vec<_>>();
    let server = Server::start(move |seen| answer(&content, seen));
    fine(&from(&format!("docker://{}/library/x:1", server.host())));
    let store = xtask::publish::archive::open(&workspace.path("target/out/own.tar")).unwrap();
    let made = load_image(&store, None, Platform::Amd64, &Limits::default()).unwrap();
    assert!(layer.contains(&made.layers()[0].digest()), "untouched");
    assert_eq!((made.base_layers().len(), made.layers().len()), (1, 2));
    let config = made.config_json();
    assert_eq!(config["config"]["Env"][0], "A=b");
    assert!(
        config["config"]["Env"]
            .to_string()
            .contains("BLOG_DATABASE=/data/blog.db")
    );
    assert_eq!(config["history"][0]["created_by"], "step 0");
    let origin = config["config"]["Labels"]["xtask.base"].as_str().unwrap();
    assert!(origin.ends_with(&format!("/library/x:1@{pulled}")), "{origin}");

    let output = image("alpine", "linux/arm/v6").output().unwrap();
    assert_eq!(code(&output), 1, "{}", output.error_text());
    assert!(
        output.error_text().contains("/lib/ld-musl.so of the base"),
        "{}",
        output.error_text()
    );
    let error = refused(&image("debian", "linux/amd64"));
    assert!(
        error.contains("started by /lib64/ld-linux-x86-64.so.2, which is not there: it has musl"),
        "{error}"
    );
    assert!(error.contains("hint: it looks like `--base alpine`"), "{error}");
    let error = refused(&from("oci:nowhere"));
    assert!(error.contains("nowhere"), "{error}");
    // `--platform` says amd64; the layout has nothing else.
    let args = [
        "image",
        "--base",
        "alpine",
        "--platform",
        "linux/arm64",
        "--base-image",
        "oci:target/out/own",
    ];
    let error = refused(&run(&workspace, &args));
    assert!(
        error.contains("linux/arm64") && error.contains("linux/amd64"),
        "{error}"
    );
}

#[test]
fn the_layers_of_a_registrys_base_are_fetched_once_and_mounted_where_they_are() {
    if !(require_program("docker-registry") && require_program("skopeo")) {
        return;
    }
    let Some(workspace) = built() else { return };
    let temp = tempfile::tempdir().unwrap();
    // No run before has this layer in the cache.
    let mark = format!("musl libc ({})\0", temp.path().display());
    let entries = [
        Entry::directory("lib", 0o755),
        Entry::file(
            "lib/ld-musl.so",
            [&fixture("amd64-gnu")[..], mark.as_bytes()].concat(),
            0o755,
        ),
    ];
    let mut content = Content::default();
    let tar = write_tar(&entries, Vec::new()).unwrap();
    let base = content.image("linux/amd64", &[(tar, media::LAYER_GZIP)]);
    content.tag("1", base);
    content.write_layout(&temp.path().join("base"), base);
    let real = Real::start(temp.path(), None, None);
    let server = Server::start(move |seen| answer(&content, seen));
    let image = |from: &str, to: &str| {
        let (from, to) = (format!("docker://{from}"), format!("docker://{to}"));
        let args = [
            "image",
            "--base",
            "alpine",
            "--platform",
            "linux/amd64",
            "--base-image",
            &from,
            "--to",
            &to,
        ];
        let output = run(&workspace, &args).output().unwrap();
        assert_eq!(code(&output), 0, "{}", output.error_text());
        output.error_text()
    };
    let one = format!("{}/library/x:1", server.host());
    let (first, second) = (format!("{}/me/blog:1", real.host), format!("{}/me/blog:2", real.host));
    let blobs = || {
        let seen = server.seen();
        let all = seen
            .iter()
            .filter(|seen| seen.method == "GET" && seen.target.contains("/blobs/"));
        all.map(|seen| seen.target.clone()).collect::<Vec<_>>()
    };
    let said = image(&one, &first);
    assert!(said.contains("Uploaded base layer"), "{said}");
    let fetched = blobs();
    let mut once = fetched.clone();
    once.sort();
    once.dedup();
    assert_eq!(
        (once.len(), fetched.len()),
        (2, 2),
        "layer and configuration: {fetched:?}"
    );
    image(&one, &second);
    assert_eq!(blobs(), fetched, "from then on they are here");

    // Where the base lies in the same registry, not a byte of it goes out.
    let there = format!("{}/library/base:1", real.host);
    let copy = ["copy", "--quiet", "--insecure-policy", "--dest-tls-verify=false"];
    let from = format!("oci:{}", temp.path().join("base").display());
    let skopeo = Shell::new(false).command("skopeo").args(copy);
    skopeo.arg(from).arg(format!("docker://{there}")).read().unwrap();
    let said = image(&there, &format!("{}/new/blog:1", real.host));
    assert!(
        said.contains("Mounted base layer") && !said.contains("Uploaded base layer"),
        "{said}"
    );
}
