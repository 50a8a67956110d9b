//! The host, the builder container and `docker build` alone: the same programs, the same images.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use object::{Object, ObjectSection};
use serde_json::Value;
use xtask::builder::here::Here;
use xtask::elf::strip::{Keep, strip};
use xtask::engine::client::with_buildkit;
use xtask::oci::layer::{Entry, EntryKind, Limits};
use xtask::oci::layout::{list_images, load_image};
use xtask::oci::{Digest, Image, Tree};
use xtask::shell::Shell;
use xtask::target::{Base, Platform, TARGETS, Target};

use super::super::{Workspace, triples};
use super::seed::seed;
use super::{built, equip, executable, fine, has_engine, repository, run};
use crate::base_alpine::{Mirror, fixture, minirootfs};
use crate::chain::{self, can_provision, has_debian, has_raspbian};
use crate::require::{require, require_program};

fn sections(program: &[u8]) -> BTreeMap<String, Digest> {
    let file = object::File::parse(program).unwrap();
    let digest = |section: object::Section<'_, '_>| {
        let name = section.name().unwrap_or("?").to_owned();
        (name, Digest::of(section.data().unwrap_or_default()))
    };
    file.sections().map(digest).collect()
}

/// Two programs as the linker wrote them. What is packed of them is the same, byte for byte; what is not packed may differ in debug
/// information, since that of zig's C library names where zig lies, and in symbols that lie in it (AArch64 has such); the other
/// symbols are part of the comparison.
#[track_caller]
fn assert_same(what: &str, host: &Path, container: &Path) {
    let read = |path: &Path| fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let (host, container) = (read(host), read(container));
    let (ours, theirs) = (sections(&host), sections(&container));
    let parted: Vec<&String> = ours
        .keys()
        .chain(theirs.keys())
        .filter(|name| ours.get(*name) != theirs.get(*name))
        .collect();
    let packed = |linked: &[u8]| strip(linked, Keep::Names).unwrap();
    let (host, container) = (packed(&host), packed(&container));
    assert!(
        host == container,
        "{what}: {} bytes on the host, {} in the container, first other byte at {:?}, sections that differ: {parted:?}",
        host.len(),
        container.len(),
        host.iter().zip(&container).position(|(a, b)| a != b)
    );
    assert!(
        parted
            .iter()
            .all(|name| name.starts_with(".debug_") || name.as_str() == ".symtab"),
        "{what}: {parted:?}"
    );
}

/// Programs of both builders for a triple.
#[track_caller]
fn assert_made_the_same(triple: &str, host: &Path, container: &Path) {
    assert_same(
        triple,
        &host.join("target").join(triple).join("release/blog"),
        &container.join("target/builder").join(triple).join("blog"),
    );
}

fn kept(name: &str) -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("cli").join(name)
}

/// Makes `clone` a checkout of the repository as it is, changes included. A target directory that is there already stays, so that a
/// second test run is quick.
fn copy_to(clone: &Path) {
    let here = repository();
    if clone.is_dir() {
        for entry in fs::read_dir(clone)
            .unwrap()
            .flatten()
            .filter(|entry| entry.file_name() != "target")
        {
            let path = entry.path();
            if path.is_dir() {
                fs::remove_dir_all(path).unwrap()
            } else {
                fs::remove_file(path).unwrap()
            }
        }
    }
    fs::create_dir_all(clone).unwrap();
    let shell = Shell::default();
    let git = |args: &[&str]| shell.command("git").args(args).current_dir(here).read().unwrap();
    for name in git(&["ls-files", "-z"])
        .split('\0')
        .filter(|name| here.join(name).is_file())
    {
        fs::create_dir_all(clone.join(name).parent().unwrap()).unwrap();
        fs::copy(here.join(name), clone.join(name)).unwrap();
    }
    // The labels name the revision, so the clone must know it. A worktree's `.git` is a file, hence the question.
    let common = PathBuf::from(git(&["rev-parse", "--path-format=absolute", "--git-common-dir"]));
    fs::write(
        clone.join(".git"),
        format!("gitdir: {}\n", git(&["rev-parse", "--absolute-git-dir"])),
    )
    .unwrap();
    assert!(common.is_dir());
}

/// A stand-in for Alpine's mirror.
fn alpine() -> Mirror {
    let mirror = Mirror::new("armhf");
    mirror.release("3.24.1", "2026-08-20", &minirootfs("3.24.1", &fixture("v6-library")));
    mirror
}

/// The triple of the blog, on nothing and on Alpine. The small server has the others.
const BLOG: &str = "arm-unknown-linux-musleabihf";

/// The real program, with SQLite and all its crates: the same file and the same images from both builders, although path, home,
/// cargo's home and the place of the tool chain are others. The host's is the one of the main job's tests. That zig's C libraries come
/// out the same in a container is shown by `docker build` below, which begins with nothing, for musl and for glibc.
#[test]
fn the_blog_is_the_same_from_both_builders() {
    if !has_engine() || !require_program("docker") || !can_provision() {
        return;
    }
    let here = chain::image(Base::Scratch);
    let clone = Workspace {
        root: kept("blog"),
        _temp: None,
    };
    copy_to(&clone.root);
    built(&clone);
    seed();
    let args = [
        "image",
        "--base",
        "scratch",
        "--platform",
        "linux/arm/v6",
        "--builder",
        "docker",
    ];
    let there = run(&clone, &args).output().unwrap();
    fine(&there);
    let mirror = alpine();
    let on_alpine = |root: &Path, builder: &str| {
        let output = Shell::default()
            .command(env!("CARGO_BIN_EXE_xtask"))
            .current_dir(root)
            .env("XTASK_CACHE_DIR", chain::cache_dir())
            .env("XTASK_ALPINE_MIRROR", mirror.url())
            .args(["image", "--base", "alpine", "--platform", "linux/arm/v6", "--refresh"])
            .args(["--builder", builder, "--to", "oci:target/same-alpine"])
            .output()
            .unwrap();
        fine(&output);
        output.text()
    };
    assert_eq!(there.text().trim_end(), here, "the images differ");
    assert_eq!(
        on_alpine(&clone.root, "docker"),
        on_alpine(repository(), "host"),
        "the images differ"
    );
    assert_made_the_same(BLOG, repository(), &clone.root);
}

fn small(name: &str) -> Workspace {
    let workspace = Workspace::at_with(kept(name), &triples::FILES);
    equip(&workspace, "blog");
    Workspace {
        root: fs::canonicalize(&workspace.root).unwrap(),
        ..workspace
    }
}

/// Digests of the images of every triple that is not compared with the blog, as one builder makes them.
fn images(workspace: &Workspace, builder: &str) -> BTreeMap<(String, String), String> {
    // glibc is compiled for raspbian, once for all tests: as it is locked.
    let lock = fs::read_to_string(repository().join("docker/bases.lock")).unwrap();
    let mut parts = lock.split("[[base]]\n");
    let head = parts.next().unwrap();
    let raspbian = parts.find(|part| part.starts_with("base = \"raspbian\"\n")).unwrap();
    workspace.write("docker/bases.lock", &format!("{head}[[base]]\n{raspbian}"));
    let mut images = BTreeMap::new();
    for base in [Base::Scratch, Base::Debian, Base::Raspbian] {
        let to = format!("oci:target/same/{base}");
        let args = [
            "image",
            "--json",
            "--builder",
            builder,
            "--to",
            &to,
            "--base",
            base.name(),
        ];
        let mut image = run(workspace, &args);
        for platform in Platform::ALL {
            if base.target(platform).is_some_and(is_other) {
                image = image.args(["--platform", &platform.to_string()]);
            }
        }
        let output = image.output().unwrap();
        fine(&output);
        let made: Value = serde_json::from_str(&output.text()).unwrap();
        let text = |made: &Value, name: &str| made[name].as_str().unwrap().to_owned();
        images.extend(made.as_array().unwrap().iter().map(|made| {
            let of = (text(made, "base"), text(made, "platform"));
            (of, text(made, "digest"))
        }));
    }
    images
}

fn is_other(target: &Target) -> bool {
    target.triple != BLOG
}

/// Rust, std and a part in C, for every other triple, and the images of every base.
#[test]
fn a_small_server_and_its_images_are_the_same_for_every_other_triple() {
    if !has_engine() || !require_program("docker") || !can_provision() || !has_debian() || !has_raspbian() {
        return;
    }
    let (here, there) = (triples::workspace(), small("same"));
    let host = images(&here, "host");
    built(&there);
    // What zig made for it is there now.
    seed();
    let container = images(&there, "docker");
    for target in TARGETS.iter().filter(|target| is_other(target)) {
        assert_made_the_same(target.triple, &here.root, &there.root);
    }
    assert_eq!(host, container, "the same programs gave different images");
    assert_eq!(host.len(), TARGETS.len() - 1, "{host:?}");
}

/// Puts what commands need to get out where `cargo xtask` sends it, so that the engine knows the layers of the builder.
fn like_here(workspace: &Workspace) {
    fs::create_dir_all(workspace.path("docker/host")).unwrap();
    for entry in Here::read(None).unwrap().entries("docker/host") {
        if let EntryKind::File(bytes) = entry.kind {
            fs::write(workspace.path(&entry.path), bytes).unwrap();
            executable(&workspace.path(&entry.path), entry.mode);
        }
    }
}

/// `docker build` needs nothing of xtask, and gives the same: program, tree, modes, owners and configuration, on nothing and on the
/// same base.
#[test]
fn docker_alone_makes_the_same_image() {
    if !has_engine() {
        return;
    }
    let docker = with_buildkit(&Shell::default());
    let wanted = "a docker client with BuildKit (docker-buildx, or docker 20.10)";
    if !require(wanted, docker.is_ok()) || !can_provision() || !has_debian() {
        return;
    }
    let docker = docker.unwrap();
    let workspace = small("plain");
    built(&workspace);
    like_here(&workspace);
    let shell = Shell::default();
    let docker = |args: &[&str]| {
        shell
            .command(&docker)
            .env("DOCKER_BUILDKIT", "1")
            .args(args)
            .current_dir(&workspace.root)
    };
    let temp = tempfile::tempdir().unwrap();
    let base = temp.path().join("base.tar").display().to_string();
    let to = format!("docker-archive:{base}");
    fine(
        &run(
            &workspace,
            &["base", "export", "debian", &to, "--platform", "linux/amd64"],
        )
        .output()
        .unwrap(),
    );
    let loaded = docker(&["load", "--input", &base]).read().unwrap();
    let base = loaded.trim().rsplit_once(": ").unwrap().1.to_owned();
    // Where the engine has no bridge, only the network of its machine leads out.
    let bridges = docker(&["network", "ls", "--quiet", "--filter", "driver=bridge"])
        .read()
        .unwrap();
    let ours = [
        "image",
        "--builder",
        "host",
        "--platform",
        "linux/amd64",
        "--base",
        "scratch",
        "--base",
        "debian",
    ];
    // The second time after an edit: what the engine remembers of the first must not be taken for it.
    for (on, edited) in [(Base::Scratch, false), (Base::Debian, false), (Base::Scratch, true)] {
        if edited {
            workspace.edit("app/src/main.rs", "\\r\\n\\r\\nok\\n", "\\r\\n\\r\\nno\\n");
        }
        fine(&run(&workspace, &ours).output().unwrap());
        let name = format!("{}-plain:{on}", super::NAME);
        let arguments = [
            format!("BASE={on}"),
            format!("DEBIAN={base}"),
            "VERSION=1.2.3".to_owned(),
        ];
        let mut build = docker(&[
            "build",
            "--file",
            "docker/Dockerfile",
            "--platform",
            "linux/amd64",
            "--tag",
            &name,
        ]);
        for argument in &arguments {
            build = build.args(["--build-arg", argument]);
        }
        if bridges.trim().is_empty() {
            build = build.args(["--network", "host"]);
        }
        let output = build.arg(".").output().unwrap();
        assert!(output.status.success(), "{on}: {}", output.error_text());
        let saved = temp.path().join(format!("{on}.tar"));
        docker(&["save", &name, "--output", &saved.display().to_string()])
            .run()
            .unwrap();
        docker(&["image", "rm", &name]).read().unwrap();
        let layout = workspace.path(&format!("target/images/{on}-amd64"));
        let ours = load_image(
            &xtask::publish::layout::open(&layout).unwrap(),
            None,
            Platform::Amd64,
            &Limits::default(),
        );
        compare(on, &ours.unwrap(), &saved);
    }
    docker(&["image", "rm", &base]).read().unwrap();
}

/// Field by field; times apart, which are ours to set.
fn compare(on: Base, ours: &Image, saved: &Path) {
    let limits = Limits::default();
    let saved = xtask::publish::archive::open(saved).unwrap();
    let platform = list_images(&saved).unwrap()[0].platform.unwrap();
    assert_eq!(platform, Platform::Amd64);
    let theirs = load_image(&saved, None, platform, &limits).unwrap();
    let entries = |image: &Image| -> BTreeMap<String, Entry> {
        let tree = Tree::from_layers(image.layers(), &limits).unwrap();
        let timeless = |entry: &Entry| Entry {
            mtime: 0,
            ..entry.clone()
        };
        tree.entries()
            .map(|entry| (entry.path.clone(), timeless(entry)))
            .collect()
    };
    let (here, there) = (entries(ours), entries(&theirs));
    assert_eq!(
        here.keys().collect::<Vec<_>>(),
        there.keys().collect::<Vec<_>>(),
        "{on}"
    );
    for (path, entry) in &here {
        // Not with assert_eq: the program would be printed.
        assert!(
            there[path] == *entry,
            "{on}: /{path}: {:?} and {:?}",
            about(entry),
            about(&there[path])
        );
    }
    assert!(here.contains_key("usr/local/bin/blog"), "{on}");
    let config = |image: &Image| image.config_json()["config"].clone();
    let (mut here, mut there) = (config(ours), config(&theirs));
    // What xtask says of how it was made; docker build says nothing of that kind.
    for config in [&mut here, &mut there] {
        if let Some(labels) = config["Labels"].as_object_mut() {
            labels.retain(|name, _| !name.starts_with("xtask."));
        }
    }
    // Of Windows, says the image specification; BuildKit of old writes it for every command. No engine on Linux reads it.
    there.as_object_mut().unwrap().remove("ArgsEscaped");
    // Docker writes out what is empty (Hostname, OnBuild, ...).
    let keys = here.as_object().unwrap().clone();
    let empty = |value: &Value| {
        matches!(value, Value::Null | Value::Bool(false)) || value == "" || value.as_array().is_some_and(Vec::is_empty)
    };
    there
        .as_object_mut()
        .unwrap()
        .retain(|key, value| keys.contains_key(key) || !empty(value));
    assert_eq!(here, there, "{on}");
}

fn about(entry: &Entry) -> String {
    let kind = match &entry.kind {
        EntryKind::File(bytes) => Digest::of(bytes).to_string(),
        other => format!("{other:?}"),
    };
    format!("{:o} {}:{} {kind} {:?}", entry.mode, entry.uid, entry.gid, entry.xattrs)
}
