//! The size report: figures of real images add up, and what is made of them is what a fixed report gives.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::Path;

use serde_json::{Value, json};
use xtask::oci::layer::{Limits, write_tar};
use xtask::oci::layout::{index_json, list_images, load, marker};
use xtask::oci::{Digest, Entry, EntryKind, Image};
use xtask::publish::layout;
use xtask::report::{Bandwidth, Crates, ImageSize, Owned, PartName, Report, ShareKind, Subject, measure};

mod browser;
mod page;

/// Which compression a layer has.
#[derive(Clone, Copy, Debug)]
pub enum Packing {
    Plain,
    Gzip,
    Zstd,
}

/// One layer of an image that the test makes.
pub struct Made {
    pub packing: Packing,
    pub entries: Vec<Entry>,
    /// On top of the base, as its history says.
    pub app: bool,
}

pub fn made(packing: Packing, app: bool, entries: Vec<Entry>) -> Made {
    Made { packing, entries, app }
}

fn pack(packing: Packing, tar: &[u8]) -> (Vec<u8>, &'static str) {
    match packing {
        Packing::Plain => (tar.to_vec(), "application/vnd.oci.image.layer.v1.tar"),
        Packing::Gzip => {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
            encoder.write_all(tar).unwrap();
            (
                encoder.finish().unwrap(),
                "application/vnd.docker.image.rootfs.diff.tar.gzip",
            )
        }
        Packing::Zstd => (
            ruzstd::encoding::compress_to_vec(tar, ruzstd::encoding::CompressionLevel::Fastest),
            "application/vnd.oci.image.layer.v1.tar+zstd",
        ),
    }
}

/// Writes a layout with images by hand, as another tool would have: name, platform, configuration, layers.
pub fn write_layout(dir: &Path, images: &[(Option<&str>, Value, Value, Vec<Made>)]) {
    let blobs = dir.join("blobs/sha256");
    fs::create_dir_all(&blobs).unwrap();
    let put = |bytes: &[u8], media_type: &str| {
        let digest = Digest::of(bytes);
        fs::write(blobs.join(digest.hex()), bytes).unwrap();
        json!({"mediaType": media_type, "digest": digest.to_string(), "size": bytes.len()})
    };
    let mut manifests = Vec::new();
    for (name, platform, config, layers) in images {
        let (mut descriptors, mut diff_ids, mut history) = (Vec::new(), Vec::new(), Vec::new());
        for layer in layers {
            let tar = write_tar(&layer.entries, Vec::new()).unwrap();
            let (blob, media_type) = pack(layer.packing, &tar);
            descriptors.push(put(&blob, media_type));
            diff_ids.push(Digest::of(&tar).to_string());
            history.push(if layer.app {
                json!({"comment": "app layer"})
            } else {
                json!({"created_by": "base"})
            });
        }
        let mut document = platform.clone();
        document["config"] = config.clone();
        document["rootfs"] = json!({"type": "layers", "diff_ids": diff_ids});
        document["history"] = json!(history);
        let config = put(
            document.to_string().as_bytes(),
            "application/vnd.oci.image.config.v1+json",
        );
        let manifest = json!({"schemaVersion": 2, "config": config, "layers": descriptors});
        let mut descriptor = put(
            manifest.to_string().as_bytes(),
            "application/vnd.oci.image.manifest.v1+json",
        );
        if let Some(name) = name {
            descriptor["annotations"] = json!({"org.opencontainers.image.ref.name": name});
        }
        manifests.push(descriptor);
    }
    fs::write(dir.join("oci-layout"), marker()).unwrap();
    fs::write(dir.join("index.json"), index_json(manifests)).unwrap();
}

pub fn v6() -> Value {
    json!({"os": "linux", "architecture": "arm", "variant": "v6"})
}

/// The one image of a layout that the test makes.
fn image(config: Value, layers: Vec<Made>) -> Image {
    let temp = tempfile::tempdir().unwrap();
    write_layout(temp.path(), &[(None, v6(), config, layers)]);
    let store = layout::open(temp.path()).unwrap();
    let listed = list_images(&store).unwrap().remove(0);
    load(&store, &listed.manifest, listed.platform.unwrap(), &Limits::default()).unwrap()
}

fn measured(image: &Image, owned: Result<Vec<Owned>, String>) -> ImageSize {
    let subject = Subject {
        name: "sample".to_owned(),
        image,
        base: None,
        budget: None,
    };
    measure(
        &subject,
        Bandwidth::default(),
        &|_, _| owned.clone(),
        &Limits::default(),
    )
    .unwrap()
}

/// Numbers that look random and are the same in every run.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }

    fn bytes(&mut self, length: u64) -> Vec<u8> {
        // Of few values, so that it compresses, and differently in each file.
        let values = 1 + self.below(255);
        (0..length).map(|_| self.below(values) as u8).collect()
    }
}

/// A layer with files, links, directories, long names and whiteouts below `top`.
fn random(numbers: &mut Numbers, top: &str) -> Vec<Entry> {
    let mut entries = BTreeMap::new();
    entries.insert(top.to_owned(), Entry::directory(top, 0o755));
    for i in 0..numbers.below(40) {
        let long = "x".repeat(numbers.below(140) as usize);
        let path = format!("{top}/{i}{long}");
        let length = numbers.below(20_000);
        let entry = match numbers.below(6) {
            0 => Entry::directory(&path, 0o755),
            1 => Entry::symlink(&path, "target".repeat(1 + numbers.below(30) as usize)),
            2 => Entry::file(format!("{top}/.wh.{i}"), "", 0o644),
            3 if i > 0 => {
                let file = entries.values().find(|entry: &&Entry| {
                    matches!(entry.kind, EntryKind::File(_)) && !entry.path.contains(".wh.") && entry.path < path
                });
                match file.map(|file| file.path.clone()) {
                    Some(file) => Entry::new(&path, EntryKind::Hardlink(file), 0o644),
                    None => Entry::file(&path, numbers.bytes(length), 0o644),
                }
            }
            _ => Entry::file(&path, numbers.bytes(length), 0o644),
        };
        entries.insert(entry.path.clone(), entry);
    }
    entries.into_values().collect()
}

#[test]
fn all_figures_add_up_to_the_bytes_of_the_blobs() {
    let mut numbers = Numbers(1);
    for round in 0..12 {
        let packings = [Packing::Plain, Packing::Gzip, Packing::Zstd];
        let layers: Vec<Made> = (0..1 + numbers.below(4))
            .map(|i| {
                made(
                    packings[numbers.below(3) as usize],
                    i > 1,
                    random(&mut numbers, &format!("d{i}")),
                )
            })
            .collect();
        let image = image(json!({}), layers);
        let size = measured(&image, Err("no program".to_owned()));
        let blobs: u64 = image.blobs().map(|(_, bytes)| bytes.len() as u64).sum();
        assert_eq!(size.pull, blobs, "round {round}");
        assert_eq!(
            size.pull,
            size.documents + size.base_size.compressed + size.app_size.compressed
        );
        assert_eq!(size.update, size.documents + size.app_size.compressed);
        for (part, sum) in [(PartName::Base, size.base_size), (PartName::App, size.app_size)] {
            let shares = || size.shares.iter().filter(|share| share.part == part);
            assert_eq!(shares().map(|share| share.compressed).sum::<u64>(), sum.compressed);
            assert_eq!(shares().map(|share| share.unpacked).sum::<u64>(), sum.unpacked);
        }
        let unpacked: u64 = image.layers().iter().map(|layer| layer.unpacked_size()).sum();
        assert_eq!(size.unpacked(), unpacked);
        assert_eq!(
            size.deploy.first.card.written,
            size.deploy.first.card.overlay2 + size.pull - size.documents
        );
        assert!(size.deploy.first.card.overlay2 >= unpacked);
    }
}

#[test]
fn packages_are_found_in_the_databases_of_the_image() {
    let dpkg = vec![
        Entry::file("etc/motd", "hello", 0o644),
        Entry::file("usr/lib/libc.so.6", vec![7; 9_000], 0o755),
        Entry::file("usr/share/x/y", vec![1; 10], 0o644),
        Entry::file("var/lib/dpkg/info/libc6.list", "/usr/lib/libc.so.6\n", 0o644),
        Entry::file(
            "var/lib/dpkg/status",
            "Package: libc6\nStatus: install ok installed\nVersion: 2.41\n",
            0o644,
        ),
    ];
    let app = vec![
        Entry::directory("data", 0o755),
        Entry::file("srv/app", vec![9; 5_000], 0o755),
    ];
    let image = image(
        json!({"Entrypoint": ["/srv/app"]}),
        vec![made(Packing::Gzip, false, dpkg), made(Packing::Gzip, true, app)],
    );
    let size = measured(&image, Err("no symbols".to_owned()));
    let share = |part, name: &str| {
        size.shares
            .iter()
            .find(|share| share.part == part && share.name == name)
            .unwrap()
    };
    let libc = share(PartName::Base, "libc6");
    assert_eq!(
        (libc.kind, libc.version.as_deref(), libc.entries),
        (ShareKind::Package, Some("2.41"), 2)
    );
    assert_eq!(libc.unpacked, 9_000 + 19);
    assert_eq!(share(PartName::Base, "usr/share").kind, ShareKind::Files);
    assert_eq!(share(PartName::App, "srv/app").unpacked, 5_000);
    assert_eq!(share(PartName::App, "directories and links").kind, ShareKind::Links);
    let program = size.program.unwrap();
    assert_eq!((program.path.as_str(), program.bytes), ("srv/app", 5_000));
    assert!(program.sections.is_empty(), "it is no ELF file");
    assert!(matches!(program.crates, Crates::Unknown(why) if why.contains("not an ELF file")));
}

#[test]
fn every_byte_of_the_program_is_accounted_for_once() {
    let elf = include_bytes!("../fixtures/elf/v6-gnueabihf").to_vec();
    let length = elf.len() as u64;
    let text = xtask::elf::sections::sections(&elf).unwrap();
    let text = text.iter().find(|section| section.name == ".text").unwrap();
    let owned = |address, size, owner: &str| Owned {
        address,
        size,
        owner: owner.to_owned(),
    };
    // Two names for one place, one beyond the end of its section, one outside of all.
    let owned = vec![
        owned(text.address, 8, "first"),
        owned(text.address, 4, "shadowed"),
        owned(text.address + text.size - 4, 400, "last"),
        owned(u64::MAX - 3, 400, "nowhere"),
    ];
    for packing in [Packing::Plain, Packing::Gzip, Packing::Zstd] {
        let entries = vec![
            Entry::file("a", vec![0; 3_000], 0o644),
            Entry::file("bin/p", elf.clone(), 0o755),
        ];
        let image = image(json!({"Cmd": ["/bin/p"]}), vec![made(packing, false, entries)]);
        let program = measured(&image, Ok(owned.clone())).program.unwrap();
        let Crates::Known(crates) = &program.crates else {
            panic!("{program:?}")
        };
        for pieces in [&program.sections, crates] {
            assert_eq!(
                pieces.iter().map(|piece| piece.bytes).sum::<u64>(),
                length,
                "{packing:?}"
            );
            assert_eq!(
                pieces.iter().map(|piece| piece.compressed).sum::<u64>(),
                program.compressed,
                "{packing:?}"
            );
        }
        let bytes = |name: &str| crates.iter().find(|piece| piece.name == name).map(|piece| piece.bytes);
        assert_eq!(
            (bytes("first"), bytes("last"), bytes("shadowed"), bytes("nowhere")),
            (Some(8), Some(4), None, None)
        );
        assert_eq!(bytes("(.text without a symbol)"), Some(text.size - 12));
    }
}

#[test]
fn a_saved_report_stays_readable() {
    let text = include_str!("size/report.json");
    let report = Report::from_json(text.as_bytes()).unwrap();
    let value: Value = serde_json::from_str(text).unwrap();
    assert_eq!(serde_json::to_value(&report).unwrap(), value, "no field is lost");
    let again = Report::from_json(report.to_json().unwrap().as_bytes());
    assert_eq!(again, Ok(report));
    let with = |key: &str, new: Value| {
        let mut value = value.clone();
        value[key] = new;
        Report::from_json(value.to_string().as_bytes()).map(|_| ()).unwrap_err()
    };
    assert_eq!(with("version", json!(2)), "its version is 2, and this program reads 1");
    assert_eq!(
        with("version", Value::Null),
        "its version is missing, and this program reads 1"
    );
    assert_eq!(
        with("schema", json!("x")),
        "it is no size report: its `schema` is not `raspi-image-size`"
    );
    assert!(with("images", json!(1)).contains("invalid type"));
    assert!(Report::from_json(b"[]").is_err() && Report::from_json(b"").is_err());
    let mut later = value.clone();
    later["images"][0]["something"] = json!("of a later minor change");
    assert!(Report::from_json(later.to_string().as_bytes()).is_ok());
}

#[test]
fn every_field_is_in_the_document() {
    fn keys(value: &Value, found: &mut std::collections::BTreeSet<String>) {
        match value {
            Value::Object(fields) => fields.iter().for_each(|(key, value)| {
                found.insert(key.clone());
                keys(value, found);
            }),
            Value::Array(items) => items.iter().for_each(|item| keys(item, found)),
            _ => {}
        }
    }
    let mut found = std::collections::BTreeSet::new();
    keys(
        &serde_json::from_str(include_str!("size/report.json")).unwrap(),
        &mut found,
    );
    let document = include_str!("../../../docs/size-report.md");
    let missing: Vec<&String> = found
        .iter()
        .filter(|key| !document.contains(&format!("`{key}`")) && !document.contains(&format!("\"{key}\"")))
        .collect();
    assert!(
        missing.is_empty(),
        "docs/size-report.md does not say what these are: {missing:?}"
    );
}
