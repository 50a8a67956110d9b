//! What `cargo xtask audit` says of images: no pass without a program that was looked at.

use std::collections::BTreeMap;

use xtask::oci::dockerfile::evaluate;
use xtask::oci::image::MemoryFiles;
use xtask::oci::{BaseImage, Entry, EntryKind, LayerBuilder, assemble};
use xtask::publish::layout;
use xtask::target::Platform;

use super::{Workspace, code};

const V6: &[u8] = include_bytes!("../../fixtures/elf/v6");
const V7: &[u8] = include_bytes!("../../fixtures/elf/v7");
const EPOCH: u64 = 1_700_000_000;

/// A layout with one image for ARMv6 on a base of these entries, `/a` copied on top.
fn layout(workspace: &Workspace, name: &str, entries: Vec<Entry>, entrypoint: &str, labels: &[(&str, &str)]) {
    let mut builder = LayerBuilder::new(EPOCH);
    for entry in entries {
        builder.add(entry).unwrap();
    }
    let mut base = BaseImage::scratch();
    base.layers = vec![builder.finish("base").unwrap()];
    base.config["config"]["Entrypoint"] = serde_json::json!([entrypoint]);
    let stage = evaluate("FROM base:1\nCOPY a /a\n", &BTreeMap::new(), "").unwrap();
    let files = MemoryFiles::default().with(None, "a", EntryKind::File(b"text".to_vec()), 0o644);
    let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    let labels = labels.iter().map(owned).collect();
    let image = assemble(base, &stage, &files, Platform::ArmV6, EPOCH, &labels).unwrap();
    layout::write(&workspace.path("layout"), &[(&name.parse().unwrap(), &image)]).unwrap();
}

/// Exit code, stdout and stderr of the audit of a layout with that image.
fn audit(name: &str, entries: Vec<Entry>, entrypoint: &str, triple: Option<&str>) -> (i32, String, String) {
    let labels: Vec<_> = triple
        .map(|triple| ("xtask.binary.triple", triple))
        .into_iter()
        .collect();
    labelled(name, entries, entrypoint, &labels)
}

fn labelled(name: &str, entries: Vec<Entry>, entrypoint: &str, labels: &[(&str, &str)]) -> (i32, String, String) {
    let workspace = Workspace::new();
    layout(&workspace, name, entries, entrypoint, labels);
    let output = workspace.xtask(&["audit", "oci:layout"]).output().unwrap();
    (code(&output), output.text(), output.error_text())
}

const TRIPLE: Option<&str> = Some("arm-unknown-linux-musleabihf");

#[test]
fn a_layout_without_an_image_is_an_error() {
    let workspace = Workspace::new();
    workspace.write("layout/oci-layout", r#"{"imageLayoutVersion":"1.0.0"}"#);
    workspace.write("layout/index.json", r#"{"schemaVersion":2,"manifests":[]}"#);
    let said = workspace.refused(&["audit", "oci:layout"]);
    assert!(said.contains("there is no image in oci:layout"), "{said}");
}

#[test]
fn a_program_that_is_no_whole_elf_file_is_a_finding() {
    for bytes in [&b"#!/bin/sh\n"[..], b"", &V6[..V6.len() / 2], &V6[..3]] {
        let (code, out, _) = audit("blog:scratch-armv6", vec![Entry::file("p", bytes, 0o755)], "/p", TRIPLE);
        assert_eq!(code, 1, "{out}");
        assert!(
            out.contains("scratch-armv6/p: ") && out.contains("elf.readable"),
            "{out}"
        );
    }
}

#[test]
fn a_program_that_is_not_there_is_a_finding() {
    let dangling = || {
        vec![
            Entry::symlink("p", "q"),
            Entry::symlink("loop", "loop"),
            Entry::directory("d", 0o755),
        ]
    };
    for (entrypoint, said) in [
        ("/none", "there is no /none"),
        ("/p", "/p leads to /q, which is not there"),
        ("/loop", "/loop is a loop of symbolic links"),
        ("/d", "/d is a directory"),
    ] {
        let (code, out, _) = audit("blog:scratch-armv6", dangling(), entrypoint, TRIPLE);
        assert_eq!(code, 1, "{out}");
        assert!(out.contains(said), "{out}");
    }
}

#[test]
fn a_program_behind_links_is_held_against_the_whole_policy() {
    let links = |bytes: &[u8]| {
        vec![
            Entry::file("file", bytes, 0o755),
            Entry::new("hard", EntryKind::Hardlink("file".to_owned()), 0o755),
            Entry::symlink("soft", "hard"),
        ]
    };
    for entrypoint in ["/file", "/hard", "/soft"] {
        let (code, out, error) = audit("blog:scratch-armv6", links(V7), entrypoint, TRIPLE);
        assert_eq!(code, 1, "{out}");
        assert!(
            out.contains("(arm-unknown-linux-musleabihf)") && out.contains("arm.cpu-arch"),
            "{out}"
        );
        assert!(out.contains("Interpreter"), "{out}");
        assert!(!error.contains("was not checked"), "{error}");
    }
}

#[test]
fn what_cannot_be_checked_is_told() {
    let program = || vec![Entry::file("p", V6, 0o755)];
    // A label that names nothing cannot agree with the configuration.
    for (name, triple, expected, reason) in [
        (
            "blog:scratch-armv6",
            None,
            0,
            "the image has no label xtask.binary.triple",
        ),
        ("blog:scratch-armv6", Some("z80"), 1, "names no known target: \"z80\""),
        (
            "blog:latest",
            TRIPLE,
            0,
            "neither the label xtask.base nor the beginning of the name latest says a base",
        ),
    ] {
        let (code, out, error) = audit(name, program(), "/p", triple);
        assert_eq!(code, expected, "{out}");
        assert!(
            error.contains("how it is linked (interpreter, libraries, glibc) was not checked"),
            "{error}"
        );
        assert!(error.contains(reason), "{error}");
    }
}

/// Names of images in a registry are versions, `latest` or digests; the label says on which base one is.
#[test]
fn the_base_of_an_image_is_what_its_label_says() {
    let linked = include_bytes!("../../fixtures/elf/v6-gnueabihf");
    for (base, allowed) in [
        ("scratch", false),
        ("Alpine 3.24.2 armhf minirootfs", false),
        ("docker.io/library/alpine:3.24@sha256:00", false),
        ("Raspbian trixie armhf, 3 packages", true),
    ] {
        let labels = [
            ("xtask.binary.triple", "arm-unknown-linux-gnueabihf"),
            ("xtask.base", base),
        ];
        // The name is wrong on purpose.
        for name in ["blog:latest", "blog:debian-1"] {
            let (code, out, error) = labelled(name, vec![Entry::file("p", linked, 0o755)], "/p", &labels);
            assert!(!error.contains("was not checked"), "{base}: {error}");
            // glibc is a finding in any case: no package says which one there is.
            assert_eq!(code, 1, "{base}: {out}");
            assert_eq!(out.contains("link.needed"), !allowed, "{base}: {out}");
        }
    }
}
