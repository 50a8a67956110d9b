//! The host, the builder container and `docker build` alone: the same programs, the same images.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use object::{Object, ObjectSection};
use serde_json::Value;
use xtask::builder;
use xtask::builder::here::Here;
use xtask::cache::Cache;
use xtask::compile::{Artifact, compile};
use xtask::cx::Cx;
use xtask::elf::strip::{Keep, strip};
use xtask::engine::client::with_buildkit;
use xtask::oci::layer::{Entry, EntryKind, Limits};
use xtask::oci::layout::{list_images, load_image};
use xtask::oci::{Digest, Image, Tree};
use xtask::plan::{Builder, Plan, Request, StdChoice, StdSource, resolve};
use xtask::policy::Policy;
use xtask::shell::Shell;
use xtask::target::{Base, Platform, TARGETS};
use xtask::toolchain::rust_std::{self, Compiler};
use xtask::toolchain::zig;
use xtask::ui::{Ui, Verbosity};
use xtask::workspace::Facts;

use super::super::Workspace;
use super::{built, equip, executable, fine, is_asked_for, repository, run};
use crate::chain::{cache_dir, can_provision, has_debian};
use crate::require::require;

/// What is audited and packed of a program as the linker wrote it; debug information of zig's libc names places.
fn shipped(path: &Path) -> Vec<u8> {
    let linked = fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    strip(&linked, Keep::Names).unwrap()
}

/// Two programs are one, or the test says where they part.
#[track_caller]
fn assert_same(what: &str, host: &[u8], container: &[u8]) {
    if host == container {
        return;
    }
    let sections = |bytes: &[u8]| -> BTreeMap<String, Digest> {
        let file = object::File::parse(bytes).unwrap();
        let digest = |section: object::Section<'_, '_>| {
            let name = section.name().unwrap_or("?").to_owned();
            (name, Digest::of(section.data().unwrap_or_default()))
        };
        file.sections().map(digest).collect()
    };
    let (ours, theirs) = (sections(host), sections(container));
    let parted: Vec<&String> = ours
        .keys()
        .filter(|name| ours.get(*name) != theirs.get(*name))
        .collect();
    panic!(
        "{what}: {} bytes on the host, {} in the container, first other byte at {:?}, sections that differ: {parted:?}",
        host.len(),
        container.len(),
        host.iter().zip(container).position(|(a, b)| a != b)
    );
}

/// The real program, with SQLite and all its crates: the same file and the same image from both builders, although path, home,
/// cargo's home and the place of the tool chain are others.
#[test]
fn the_blog_is_the_same_from_both_builders() {
    if !is_asked_for() || !can_provision() {
        return;
    }
    let root = repository();
    let temp = tempfile::tempdir().unwrap();
    let made = |builder: &str| {
        let to = format!("oci:{}", temp.path().join(builder).display());
        let output = Shell::default()
            .command(env!("CARGO_BIN_EXE_xtask"))
            .current_dir(root)
            .env("XTASK_CACHE_DIR", cache_dir())
            .args(["image", "--base", "scratch", "--builder", builder, "--to", &to])
            .output()
            .unwrap();
        fine(&output);
        output.text().rsplit_once('@').unwrap().1.to_owned()
    };
    let host = made("host");
    let container = made("docker");
    let triple = "arm-unknown-linux-musleabihf";
    let program = |path: &str| shipped(&root.join(path));
    assert_same(
        triple,
        &program(&format!("target/{triple}/release/blog")),
        &program(&format!("target/builder/{triple}/blog")),
    );
    assert_eq!(host, container, "the same program gave different images");
}

fn small(name: &str) -> Workspace {
    let root = Path::new(env!("CARGO_TARGET_TMPDIR")).join("cli").join(name);
    let workspace = Workspace::at_with(root, &[("app/src/main.rs", super::super::triples::SERVER)]);
    equip(&workspace, &format!("{}-{name}", super::NAME));
    Workspace {
        root: fs::canonicalize(&workspace.root).unwrap(),
        ..workspace
    }
}

/// Compiles what has its std at hand, or can be given it. Building std takes minutes for each triple; that it is the same is shown
/// by the blog.
fn on_the_host(cx: &Cx, policy: &Policy, plan: &mut Plan) -> BTreeMap<String, Artifact> {
    let zig = zig::provision(cx, policy).unwrap();
    let compiler = Compiler::detect(cx).unwrap();
    let std = |triple: &str| rust_std::provision(cx, &compiler, triple, StdChoice::Auto).unwrap();
    plan.compile
        .retain(|planned| std(&planned.triple) == StdSource::Prebuilt);
    let made = plan.compile.iter().map(|planned| {
        let artifact = compile(cx, plan, planned, StdSource::Prebuilt, &compiler, &zig, &[]).unwrap();
        (planned.triple.clone(), artifact)
    });
    made.collect()
}

#[test]
fn a_small_server_is_the_same_for_every_triple_with_std() {
    if !is_asked_for() || !can_provision() {
        return;
    }
    let workspace = small("same");
    built(&workspace);
    let cx = Cx {
        shell: Shell::default(),
        ui: Ui::new(Verbosity::Quiet),
        cache: Cache::at(cache_dir()),
        root: workspace.root.clone(),
        offline: false,
    };
    let policy = Policy::parse(&workspace.read("xtask.toml")).unwrap();
    let request = Request {
        bases: Base::ALL.to_vec(),
        platforms: Platform::ALL.to_vec(),
        where_possible: true,
        builder: Some(Builder::Docker),
        ..Request::default()
    };
    let facts = Facts {
        version: "1.2.3".to_owned(),
        revision: None,
        source_date_epoch: 0,
    };
    let mut plan = resolve(&request, &policy, &facts, |_, _| None).unwrap();
    let mut triples: Vec<&str> = plan.compile.iter().map(|planned| planned.triple.as_str()).collect();
    let mut all: Vec<&str> = TARGETS.iter().map(|target| target.triple).collect();
    triples.sort_unstable();
    all.sort_unstable();
    assert_eq!(triples, all);
    let host = on_the_host(&cx, &policy, &mut plan);
    assert!(!host.is_empty());
    let container = builder::compile(&cx, &policy, &plan, None, &BTreeMap::new()).unwrap();
    for (triple, ours) in &host {
        let theirs = &container[triple];
        assert_eq!(
            ours.std, theirs.std,
            "{triple}: std is from elsewhere, so the programs may differ"
        );
        assert_eq!(ours.compiler.version, theirs.compiler.version, "{triple}");
        assert_same(triple, &ours.bytes, &theirs.bytes);
    }
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
    if !is_asked_for() {
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
    fine(&run(&workspace, &ours).output().unwrap());
    for on in [Base::Scratch, Base::Debian] {
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
    fine(&run(&workspace, &["builder", "prune", "--all"]).output().unwrap());
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
