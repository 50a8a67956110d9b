//! `cargo xtask audit --compare A B`: programs, images and trees.

use std::collections::BTreeMap;
use std::fs;

use serde_json::Value;
use xtask::oci::dockerfile::evaluate;
use xtask::oci::image::MemoryFiles;
use xtask::oci::layer::write_tar;
use xtask::oci::{BaseImage, Entry, EntryKind, Image, LayerBuilder, assemble};
use xtask::publish::{archive, layout};
use xtask::target::Platform;

use super::{Workspace, code, fine};

const V6: &[u8] = include_bytes!("../../fixtures/elf/v6");
const V7: &[u8] = include_bytes!("../../fixtures/elf/v7");
const SYMBOLS: &[u8] = include_bytes!("../../fixtures/elf/v6-symbols");
const OTHER_SYMBOLS: &[u8] = include_bytes!("../../fixtures/elf/v6-other-symbols");
const EPOCH: u64 = 1_700_000_000;

fn bytes(workspace: &Workspace, path: &str, bytes: &[u8]) {
    let path = workspace.path(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, bytes).unwrap();
}

/// Exit code and stdout.
fn compare(workspace: &Workspace, args: &[&str]) -> (i32, String) {
    let output = workspace
        .xtask(&[&["audit", "--compare"][..], args].concat())
        .output()
        .unwrap();
    (code(&output), workspace.plain(&output.text()))
}

/// An image of a base layer with one file, and of a program.
fn image(platform: Platform, text: &str, program: &[u8], mode: u32, user: &str) -> Image {
    let mut builder = LayerBuilder::new(EPOCH);
    builder.add(Entry::file("etc/motd", text, 0o644)).unwrap();
    let mut base = BaseImage::scratch();
    base.layers = vec![builder.finish("base").unwrap()];
    let dockerfile = format!("FROM base:1\nCOPY p /p\nUSER {user}\nENTRYPOINT [\"/p\"]\n");
    let stage = evaluate(&dockerfile, &BTreeMap::new(), "").unwrap();
    let files = MemoryFiles::default().with(None, "p", EntryKind::File(program.to_vec()), mode);
    assemble(base, &stage, &files, platform, EPOCH, &BTreeMap::new()).unwrap()
}

fn layouts(workspace: &Workspace, name: &str, images: &[(&str, &Image)]) {
    let named: Vec<_> = images
        .iter()
        .map(|(name, image)| (name.parse().unwrap(), *image))
        .collect();
    let named: Vec<_> = named.iter().map(|(name, image)| (name, *image)).collect();
    layout::write(&workspace.path(name), &named).unwrap();
}

#[test]
fn two_programs_part_at_a_byte_and_everything_else_is_told() {
    let workspace = Workspace::new();
    bytes(&workspace, "old/blog", SYMBOLS);
    bytes(&workspace, "new/blog", OTHER_SYMBOLS);
    let (ended, out) = compare(&workspace, &["old/blog", "new/blog"]);
    assert_eq!(ended, 1, "{out}");
    insta::assert_snapshot!(out.trim_end());
    // Equal: one line.
    bytes(&workspace, "copy", SYMBOLS);
    let (ended, out) = compare(&workspace, &["old/blog", "copy"]);
    assert_eq!((ended, out.lines().count()), (0, 1), "{out}");
    assert!(
        out.starts_with(&format!("equal: {} bytes, sha256:", SYMBOLS.len())),
        "{out}"
    );
}

#[test]
fn a_program_for_another_chip_differs_in_its_build_attributes() {
    let workspace = Workspace::new();
    bytes(&workspace, "v6", V6);
    bytes(&workspace, "v7", V7);
    let (ended, out) = compare(&workspace, &["v6", "v7", "--json"]);
    assert_eq!(ended, 1, "{out}");
    let report: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(report["equal"], false);
    let found = |field: &str| {
        let all = report["differences"].as_array().unwrap();
        let one = all.iter().find(|found| found["field"] == field);
        one.unwrap_or_else(|| panic!("no {field} in {out}")).clone()
    };
    let cpu = found("Tag_CPU_arch");
    assert_eq!((&cpu["kind"], &cpu["b"]), (&"attribute".into(), &"10".into()));
    assert_ne!(cpu["a"], cpu["b"]);
    assert_eq!(report["differences"][0]["kind"], "content");
    assert!(
        report["differences"][0]["field"]
            .as_str()
            .unwrap()
            .starts_with("content at offset 0x")
    );
}

#[test]
fn two_images_are_compared_down_to_the_program() {
    let workspace = Workspace::new();
    let a = image(Platform::ArmV6, "hello", SYMBOLS, 0o755, "65532:65532");
    let b = image(Platform::ArmV6, "hullo", OTHER_SYMBOLS, 0o700, "0:0");
    layouts(&workspace, "a", &[("blog:scratch-armv6", &a)]);
    layouts(&workspace, "b", &[("blog:scratch-armv6", &b)]);
    let (ended, out) = compare(&workspace, &["oci:a", "oci:b"]);
    assert_eq!(ended, 1, "{out}");
    insta::assert_snapshot!(out.trim_end());
    // The same image in another place, by another name, is the same.
    let name = "other:name".parse().unwrap();
    archive::write(&workspace.path("a.tar"), &[(&name, &a)]).unwrap();
    let out = fine(&workspace.xtask(&["audit", "--compare", "oci:a", "docker-archive:a.tar"]));
    assert_eq!(out.trim_end(), format!("equal: the image {}", a.manifest().digest()));
}

#[test]
fn images_of_several_platforms_are_compared_one_by_one() {
    let workspace = Workspace::new();
    let of = |platform, text| image(platform, text, V6, 0o755, "0:0");
    let (v6, v7) = (of(Platform::ArmV6, "a"), of(Platform::ArmV7, "a"));
    layouts(&workspace, "a", &[("blog:v6", &v6), ("blog:v7", &v7)]);
    layouts(
        &workspace,
        "b",
        &[("blog:v6", &v6), ("blog:v7", &of(Platform::ArmV7, "b"))],
    );
    layouts(&workspace, "c", &[("blog:1", &v6)]);
    let (ended, out) = compare(&workspace, &["oci:a", "oci:b"]);
    assert_eq!(ended, 1, "{out}");
    assert!(out.contains("image for linux/arm/v7, layer 1, etc/motd\n"), "{out}");
    assert!(!out.contains("linux/arm/v6"), "{out}");
    let (ended, out) = compare(&workspace, &["oci:a", "oci:c"]);
    assert_eq!(ended, 1, "{out}");
    assert!(
        out.contains("image for linux/arm/v7\n  the image: there / not there"),
        "{out}"
    );
    let (ended, out) = compare(&workspace, &["oci:a", "oci:c", "--platform", "linux/arm/v6"]);
    assert_eq!((ended, out.lines().count()), (0, 1), "{out}");
}

#[test]
fn trees_are_compared_whether_they_are_tars_or_directories() {
    let workspace = Workspace::new();
    let entries = |text: &str| [Entry::directory("d", 0o755), Entry::file("d/f", text, 0o644)];
    let tar = |text: &str, mtime| {
        let mut entries = entries(text);
        entries[1].mtime = mtime;
        write_tar(&entries, Vec::new()).unwrap()
    };
    bytes(&workspace, "one.tar", &tar("text", 7));
    bytes(&workspace, "two.tar", &tar("text", 8));
    bytes(&workspace, "three.tar", &tar("next", 8));
    bytes(&workspace, "tree/d/f", b"text");
    let (ended, out) = compare(&workspace, &["one.tar", "two.tar"]);
    assert_eq!(ended, 1, "{out}");
    assert!(out.contains("tar, d/f\n  mtime in the tar header: 7 / 8"), "{out}");
    let (ended, out) = compare(&workspace, &["one.tar", "tree"]);
    assert_eq!((ended, out.lines().count()), (0, 1), "{out}");
    let (ended, out) = compare(&workspace, &["tree", "three.tar"]);
    assert_eq!(ended, 1, "{out}");
    assert!(
        out.contains("1 difference (A / B):") && out.contains("tree, d/f\n  content at offset 0x0: 74 65 78 74"),
        "{out}"
    );
}

#[test]
fn what_cannot_be_compared_is_named() {
    let workspace = Workspace::new();
    layouts(
        &workspace,
        "a",
        &[("blog:1", &image(Platform::ArmV6, "a", V6, 0o755, "0:0"))],
    );
    bytes(&workspace, "v6", V6);
    bytes(&workspace, "cut", &V6[..40]);
    bytes(&workspace, "tree/f", b"text");
    workspace.write("text", "text");
    for (args, said) in [
        (&["v6", "text"][..], "text: not an ELF file: it begins with `text`"),
        (&["cut", "v6"], "cut: the ELF header is cut short"),
        (&["v6", "missing"], "missing"),
        (&["v6", "oci:a"], "v6 is a file, and oci:a is an image"),
        (&["tree", "oci:a"], "tree is a file tree, and oci:a is an image"),
        (&["oci:a", "oci:none"], "none"),
        (
            &["oci:a", "oci:a", "--platform", "linux/amd64"],
            "has no image for linux/amd64",
        ),
        (&["v6", "ftp://x"], "unknown scheme `ftp:`"),
    ] {
        let message = workspace.refused(&[&["audit", "--compare"][..], args].concat());
        assert!(message.contains(said), "{args:?}: {message}");
        assert!(
            message.contains("hint: ") || message.contains("expected "),
            "{args:?}: {message}"
        );
    }
    for args in [&["v6"][..], &["v6", "v6", "v6"], &["v6", "v6", "--strict"]] {
        let output = workspace
            .xtask(&[&["audit", "--compare"][..], args].concat())
            .output()
            .unwrap();
        assert_eq!(code(&output), 2, "{args:?}");
    }
}
