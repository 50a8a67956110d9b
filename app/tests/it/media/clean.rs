//! Files that Pillow made, before and after; Pillow and exiftool say what is the same and what is left.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use blog::media::{Failed, Refused};

use super::clean;
use crate::require::{require, works};

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/images.py");

/// A Python that has Pillow: the one in front, or the system's.
fn python() -> Option<&'static str> {
    ["python3", "/usr/bin/python3"]
        .into_iter()
        .find(|python| works(python, &["-c", "import PIL.ImageCms, PIL._webp"]))
}

fn run(python: &str, arguments: &[&str]) -> String {
    let run = Command::new(python).arg(SCRIPT).args(arguments).output().unwrap();
    let text = String::from_utf8_lossy(&run.stdout).into_owned();
    assert!(
        run.status.success(),
        "{arguments:?}: {text}{}",
        String::from_utf8_lossy(&run.stderr)
    );
    text
}

fn files(directory: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap());
    entries
        .filter(|entry| entry.file_type().unwrap().is_file())
        .map(|entry| {
            (
                entry.file_name().into_string().unwrap(),
                std::fs::read(entry.path()).unwrap(),
            )
        })
        .collect()
}

#[test]
fn the_pixels_stay_and_all_else_goes() {
    let python = python();
    if !require("a Python with Pillow (python3-pil)", python.is_some())
        || !require("exiftool (libimage-exiftool-perl)", works("exiftool", &["-ver"]))
    {
        return;
    }
    let python = python.unwrap();
    let directory = tempfile::tempdir().unwrap();
    let (before, after) = (directory.path().join("before"), directory.path().join("after"));
    std::fs::create_dir(&after).unwrap();
    run(python, &["make", before.to_str().unwrap()]);
    let images = files(&before);
    assert!(images.len() > 40, "{}", images.len());

    let mut sizes = String::new();
    for (name, bytes) in &images {
        let (picture, out) = clean(bytes).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert!(name.ends_with(picture.format.extension()), "{name}");
        assert!(out.len() <= bytes.len(), "{name}");
        assert_eq!(clean(&out).unwrap().1, out, "{name} is not settled");
        std::fs::write(after.join(name), &out).unwrap();
        sizes.push_str(&format!("{name} {} {}\n", picture.width, picture.height));
    }
    let seen = run(python, &["compare", before.to_str().unwrap(), after.to_str().unwrap()]);
    assert_eq!(seen, sizes);

    for (name, bytes) in files(&before.join("refused")) {
        let error = clean(&bytes).unwrap_err();
        let Failed::Refused(refused) = error else {
            panic!("{name}: {error}")
        };
        let expected = match name.rsplit_once('.').unwrap() {
            (_, "gif") => Refused::Other("GIF"),
            (_, "bmp") => Refused::Other("BMP"),
            (_, "tif") => Refused::Other("TIFF"),
            _ => Refused::Animated,
        };
        assert_eq!(refused, expected, "{name}");
    }
}
