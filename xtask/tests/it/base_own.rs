//! Bases of the user's own: odd tars that must come through whole, and bases that must be refused.

use std::fs;
use std::path::{Path, PathBuf};

use xtask::base::{Resolved, own};
use xtask::cache::Cache;
use xtask::cx::Cx;
use xtask::error::Error;
use xtask::oci::layer::{Entry, EntryKind, Limits, decompress, read_tar, write_tar};
use xtask::oci::{Location, media};
use xtask::shell::Shell;
use xtask::target::{Base, Platform};
use xtask::ui::{Ui, Verbosity};

use crate::require::require_program;

const LIMITS: Limits = Limits {
    bytes: 64 << 20,
    entries: 10_000,
    path: 4096,
};

fn cx(cache: &Path) -> Cx {
    Cx {
        shell: Shell::default(),
        ui: Ui::new(Verbosity::Quiet),
        cache: Cache::at(cache),
        root: Path::new(env!("CARGO_MANIFEST_DIR")).join(".."),
        offline: true,
    }
}

fn open(path: &Path, base: Base) -> Result<Resolved, Error> {
    let cache = tempfile::tempdir().unwrap();
    let location = Location::RootFileSystem(path.display().to_string());
    own::resolve(&cx(cache.path()), &location, path, base, Platform::ArmV6)
}

fn fixture(name: &str) -> Vec<u8> {
    fs::read(
        Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("tests/fixtures/elf")
            .join(name),
    )
    .unwrap()
}

/// An ELF file that says of itself what the C library says.
fn libc(banner: &str) -> Vec<u8> {
    [fixture("v6-library"), banner.as_bytes().to_vec(), vec![0]].concat()
}

const GLIBC: &str = "GNU C Library (Debian GLIBC 2.36-9) stable release version 2.36.";
const MUSL: &str = "musl libc (armhf)\nVersion %s";

/// A root file system with a C library of the wanted kind.
fn tree(loader: &str, banner: &str) -> Vec<Entry> {
    vec![
        Entry::directory("lib", 0o755),
        Entry::file(loader, libc(banner), 0o755),
        Entry::directory("lib/apk", 0o755),
        Entry::directory("lib/apk/db", 0o755),
        Entry::file(
            "lib/apk/db/installed",
            format!("P:libc\nV:1-r0\nA:armhf\nF:lib\nR:{}\n", &loader[4..]),
            0o644,
        ),
    ]
}

fn write(dir: &Path, name: &str, bytes: &[u8]) -> PathBuf {
    let path = dir.join(name);
    fs::write(&path, bytes).unwrap();
    path
}

#[test]
fn a_gzipped_tar_is_the_layer_byte_for_byte_and_any_other_keeps_its_tar() {
    let dir = tempfile::tempdir().unwrap();
    let tar = write_tar(&tree("lib/ld-musl-armhf.so.1", MUSL), Vec::new()).unwrap();

    // Not as this program would compress it.
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut gzip, &tar).unwrap();
    let gzip = gzip.finish().unwrap();
    let base = open(&write(dir.path(), "base.tar.gz", &gzip), Base::Alpine).unwrap();
    let layer = &base.image.layers[0];
    assert_eq!(layer.blob()[..], gzip[..]);
    assert_eq!(layer.media_type(), media::LAYER_GZIP);
    assert_eq!(base.image.glibc, None);
    assert_eq!(base.owners["lib/ld-musl-armhf.so.1"], "libc");
    assert_eq!(base.image.packages[0].version, "1-r0");
    // No path of this machine gets into an image.
    assert!(
        base.image.origin.starts_with("root file system sha256:"),
        "{}",
        base.image.origin
    );

    let zstd = ruzstd::encoding::compress_to_vec(&tar[..], ruzstd::encoding::CompressionLevel::Fastest);
    let mut files = vec![
        write(dir.path(), "base.tar", &tar),
        write(dir.path(), "base.zst", &zstd),
    ];
    if require_program("xz") {
        let packed = Shell::default()
            .command("xz")
            .args(["-9", "--keep"])
            .arg(&files[0])
            .output()
            .unwrap();
        assert!(packed.status.success(), "{}", packed.error_text());
        files.push(dir.path().join("base.tar.xz"));
    }
    for file in files {
        let base = open(&file, Base::Alpine).unwrap();
        let layer = &base.image.layers[0];
        assert_eq!(layer.media_type(), media::LAYER_GZIP, "{}", file.display());
        assert_eq!(decompress(layer.blob(), media::LAYER_GZIP, &LIMITS).unwrap(), tar);
    }
}

#[test]
fn everything_odd_that_tar_writes_survives() {
    if !require_program("tar") || !require_program("truncate") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("root");
    let long = format!("{}/{}", "d".repeat(120), "f".repeat(200));
    fs::create_dir_all(root.join("lib")).unwrap();
    fs::create_dir_all(root.join("d".repeat(120))).unwrap();
    fs::write(root.join("lib/ld-musl-armhf.so.1"), libc(MUSL)).unwrap();
    fs::write(root.join(&long), "long").unwrap();
    fs::write(root.join("umlaut-ü"), "u").unwrap();
    fs::hard_link(root.join(&long), root.join("zz-linked")).unwrap();
    std::os::unix::fs::symlink("x".repeat(300), root.join("far")).unwrap();
    fs::write(root.join(".wh.removed"), "").unwrap();
    fs::create_dir(root.join("emptied")).unwrap();
    fs::write(root.join("emptied/.wh..wh..opq"), "").unwrap();
    // Data, a hole, data, a hole up to the end; and one with more pieces than fit into a header.
    let sparse = root.join("sparse");
    fs::write(&sparse, "begin").unwrap();
    let shell = Shell::default();
    let truncate = |path: &Path, size: &str| shell.command("truncate").args(["-s", size]).arg(path).run().unwrap();
    truncate(&sparse, "300000");
    let mut file = fs::OpenOptions::new().append(true).open(&sparse).unwrap();
    std::io::Write::write_all(&mut file, b"middle").unwrap();
    truncate(&sparse, "1000000");
    let pieces = root.join("pieces");
    fs::write(&pieces, "").unwrap();
    for piece in 1..30 {
        truncate(&pieces, &(piece * 100_000).to_string());
        let mut file = fs::OpenOptions::new().append(true).open(&pieces).unwrap();
        std::io::Write::write_all(&mut file, format!("piece {piece}").as_bytes()).unwrap();
    }
    let mut seen = Vec::new();
    for format in ["gnu", "posix"] {
        let path = dir.path().join(format!("{format}.tar"));
        shell
            .command("tar")
            .args([
                "--sparse",
                "--sort=name",
                "--owner=u:3000000",
                "--group=g:4000000",
                "--format",
                format,
                "-C",
            ])
            .arg(&root)
            .arg("-cf")
            .arg(&path)
            .arg(".")
            .run()
            .unwrap();
        let tar = fs::read(&path).unwrap();
        assert!(
            tar.len() < 1_000_000,
            "{format}: tar found no holes, so nothing is tested"
        );
        assert!(
            read_tar(&tar, &LIMITS).is_err(),
            "{format}: a sparse file is not read as something else"
        );
        let base = open(&path, Base::Alpine).unwrap();
        let entries = base.image.layers[0].entries(&LIMITS).unwrap();
        let get = |path: &str| {
            entries
                .iter()
                .find(|entry| entry.path == path)
                .unwrap_or_else(|| panic!("{path}"))
        };
        for name in ["sparse", "pieces"] {
            let content = fs::read(root.join(name)).unwrap();
            assert!(get(name).kind == EntryKind::File(content), "{format} {name}");
        }
        assert_eq!(
            (get("sparse").uid, get("sparse").gid),
            (3_000_000, 4_000_000),
            "{format}"
        );
        assert_eq!(get(&long).kind, EntryKind::File(b"long".to_vec()));
        assert_eq!(get("zz-linked").kind, EntryKind::Hardlink(long.clone()));
        assert_eq!(get("far").kind, EntryKind::Symlink("x".repeat(300)));
        assert_eq!(get("umlaut-ü").kind, EntryKind::File(b"u".to_vec()));
        assert_eq!(get("removed").kind, EntryKind::Whiteout);
        assert!(
            entries
                .iter()
                .any(|entry| entry.path == "emptied" && entry.kind == EntryKind::OpaqueDirectory)
        );
        let mut plain: Vec<Entry> = entries.into_iter().map(|entry| Entry { mtime: 0, ..entry }).collect();
        plain.sort_by(|a, b| {
            a.path
                .cmp(&b.path)
                .then(format!("{:?}", a.kind).cmp(&format!("{:?}", b.kind)))
        });
        seen.push(plain);
    }
    assert!(seen[0] == seen[1], "both formats say the same");
}

#[test]
fn attributes_survive() {
    let dir = tempfile::tempdir().unwrap();
    let mut entries = tree("lib/ld-musl-armhf.so.1", MUSL);
    let mut capable = Entry::file("ping", "elf", 0o4755).owned_by(70_000, 5_000_000_000);
    capable
        .xattrs
        .insert("security.capability".to_owned(), vec![1, 0, 0, 2, 0, 0x20, 0, 0]);
    capable.mtime = 1_700_000_000;
    entries.push(capable.clone());
    let tar = write_tar(&entries, Vec::new()).unwrap();
    let base = open(&write(dir.path(), "x.tar", &tar), Base::Alpine).unwrap();
    let found = base.image.layers[0].entries(&LIMITS).unwrap();
    assert_eq!(found.iter().find(|entry| entry.path == "ping"), Some(&capable));
}

#[test]
fn a_base_on_which_the_program_would_not_start_is_refused_with_the_one_that_fits() {
    let dir = tempfile::tempdir().unwrap();
    let tar = |name: &str, entries: &[Entry]| write(dir.path(), name, &write_tar(entries, Vec::new()).unwrap());
    let musl = tar("musl.tar", &tree("lib/ld-musl-armhf.so.1", MUSL));
    let hard = tar("hard.tar", &tree("lib/ld-linux-armhf.so.3", GLIBC));
    let soft = tar("soft.tar", &tree("lib/ld-linux.so.3", GLIBC));
    let none = tar("none.tar", &[Entry::file("README", "x", 0o644)]);

    assert_eq!(
        open(&hard, Base::Raspbian).unwrap().image.glibc.as_deref(),
        Some("2.36")
    );
    assert_eq!(open(&soft, Base::Debian).unwrap().image.glibc.as_deref(), Some("2.36"));
    open(&musl, Base::Alpine).unwrap();
    // A static program needs nothing of it.
    open(&none, Base::Alpine).unwrap();

    let refused = |path: &Path, base| {
        let error = open(path, base).unwrap_err();
        (error.to_string(), error.next_step().unwrap_or_default().to_owned())
    };
    let (error, hint) = refused(&musl, Base::Debian);
    assert!(
        error.ends_with("started by /lib/ld-linux.so.3, which is not there: it has musl"),
        "{error}"
    );
    assert_eq!(hint, "it looks like `--base alpine`");
    let (error, hint) = refused(&hard, Base::Debian);
    assert!(
        error.contains("/lib/ld-linux.so.3, which is not there: it has glibc 2.36"),
        "{error}"
    );
    assert_eq!(hint, "it looks like `--base raspbian`");
    let (error, hint) = refused(&soft, Base::Raspbian);
    assert!(error.contains("/lib/ld-linux-armhf.so.3"), "{error}");
    assert_eq!(hint, "it looks like `--base debian`");
    let (error, hint) = refused(&soft, Base::Alpine);
    assert!(error.contains("a base with musl, and this has glibc 2.36"), "{error}");
    assert_eq!(hint, "it looks like `--base debian`");
    let (error, _) = refused(&none, Base::Raspbian);
    assert!(error.contains("it has no C library that is known"), "{error}");
}

#[test]
fn what_is_no_base_is_named_with_the_next_step() {
    let dir = tempfile::tempdir().unwrap();
    let refused = |name: &str, bytes: &[u8]| {
        let error = open(&write(dir.path(), name, bytes), Base::Alpine).unwrap_err();
        assert!(error.to_string().contains(name), "{error}");
        assert!(error.next_step().is_some(), "{error}");
        error.to_string()
    };
    assert!(refused("text", b"this is no tar").contains("damaged tar"));
    refused("gzip", b"\x1f\x8bjunk");
    refused("zstd", b"\x28\xb5\x2f\xfdjunk");
    refused("xz", b"\xfd7zXZ\0junk");
    assert!(refused("empty", &[0; 1024]).contains("it has no files"));
    let mut device = tar::Header::new_gnu();
    device.set_path("dev/null").unwrap();
    device.set_entry_type(tar::EntryType::Char);
    device.set_size(0);
    device.set_cksum();
    let devices = [device.as_bytes().to_vec(), vec![0; 1024]].concat();
    assert!(refused("devices", &devices).contains("dev/null: a character device"));
    let outside = dir.path().join("absent.tar.gz");
    let error = open(&outside, Base::Alpine).unwrap_err();
    assert!(error.to_string().contains("absent.tar.gz") && error.next_step().unwrap().contains("docker-archive:PATH"));

    // A directory that is no image layout.
    let location: Location = format!("oci:{}", dir.path().display()).parse().unwrap();
    let error = own::resolve(&cx(dir.path()), &location, dir.path(), Base::Alpine, Platform::ArmV6).unwrap_err();
    assert!(error.to_string().contains("is not an OCI image layout"), "{error}");
}
