//! `--sqlite`: a library of somebody else's in the place of the bundled source. What cannot be linked is refused before anything
//! is compiled, and what can is linked, audited and run on the chip.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use xtask::oci::layer::Limits;
use xtask::oci::layout::{list_images, load};
use xtask::publish::layout;
use xtask::shell::Shell;
use xtask::target::Platform;

use super::whole::run;
use super::{Workspace, code, fine};
use crate::require::require_program;

const V6: &[u8] = include_bytes!("../../fixtures/elf/v6");
const V7: &[u8] = include_bytes!("../../fixtures/elf/v7");
const OLD: &[u8] = include_bytes!("../../fixtures/elf/v6-version-old.o");
const GLIBC: &[u8] = include_bytes!("../../fixtures/elf/v6-version-glibc.o");

/// An `ar` archive in GNU's form.
fn ar(members: &[(&str, &[u8])]) -> Vec<u8> {
    let mut bytes = b"!<arch>\n".to_vec();
    for (name, member) in members {
        let size = member.len();
        bytes.extend(
            format!(
                "{:<16}{:<12}{:<6}{:<6}{:<8}{size:<10}`\n",
                format!("{name}/"),
                0,
                0,
                0,
                644
            )
            .bytes(),
        );
        bytes.extend(*member);
        bytes.extend(vec![b'\n'; size % 2]);
    }
    bytes
}

/// A workspace whose lock file has the crate.
fn workspace(members: &[(&str, &[u8])]) -> Workspace {
    let workspace = Workspace::new();
    let lock = workspace.read("Cargo.lock");
    workspace.write(
        "Cargo.lock",
        &format!("{lock}\n[[package]]\nname = \"libsqlite3-sys\"\nversion = \"0.38.2\"\n"),
    );
    fs::create_dir_all(workspace.path("sysroot/usr/lib/arm-linux-gnueabihf")).unwrap();
    fs::write(
        workspace.path("sysroot/usr/lib/arm-linux-gnueabihf/libsqlite3.a"),
        ar(members),
    )
    .unwrap();
    workspace
}

const IMAGE: [&str; 3] = ["image", "--sqlite", "sysroot"];

#[test]
fn a_member_for_another_chip_is_named_and_nothing_is_compiled() {
    let workspace = workspace(&[("alter.o", V6), ("btree.o", V7), ("where.o", V7)]);
    let output = workspace.xtask(&IMAGE).output().unwrap();
    let said = output.error_text();
    assert_eq!((code(&output), output.text()), (1, String::new()), "{said}");
    assert!(said.contains("libsqlite3.a(btree.o): linux/arm/v6"), "{said}");
    assert!(
        said.contains("arm.cpu-arch") && !said.contains("the base was made"),
        "{said}"
    );
    assert!(
        said.contains("libsqlite3.a(btree.o) and 1 more of its 3 members cannot run on linux/arm/v6"),
        "{said}"
    );
    assert!(
        said.contains("compile it for this chip, or leave --sqlite out"),
        "{said}"
    );
    assert!(!workspace.path("target/xtask").exists() && !workspace.path(".tools/ar").exists());
}

#[test]
fn what_cannot_be_linked_is_refused_with_the_next_step() {
    for (members, said) in [
        (
            &[("fox.o", V6)][..],
            "the library has no `sqlite3_version`: it is not SQLite",
        ),
        (
            &[("main.o", OLD)],
            "it is SQLite 3.8.0, and libsqlite3-sys needs 3.34.1",
        ),
        (
            &[("main.o", GLIBC)],
            "libsqlite3.a(main.o) wants `fcntl64`, so it was compiled for glibc; arm-unknown-linux-musleabihf is linked with musl",
        ),
        (&[("main.bc", b"BC\xc0\xde0000")], "has LLVM bitcode"),
        (&[("readme", b"text")], "has no machine code"),
        (&[], "has no machine code"),
    ] {
        let message = workspace(members).refused(&IMAGE);
        assert!(
            message.contains(said) && message.contains("hint: "),
            "{said}: {message}"
        );
    }
    let workspace = workspace(&[]);
    for (args, said) in [
        (&["image", "--sqlite", "target"][..], "--sqlite target: "),
        (
            &["image", "--sqlite", "docker"],
            "--sqlite docker: there is no libsqlite3.a in it",
        ),
        (
            &["image", "--sqlite", "system"],
            "--sqlite system: Debian's libsqlite3.a was compiled for glibc, and arm-unknown-linux-musleabihf",
        ),
    ] {
        let message = workspace.refused(args);
        assert!(message.contains(said), "{args:?}: {message}");
    }
    // A program without SQLite would not follow the choice.
    let message = Workspace::new().refused(&IMAGE);
    assert!(message.contains("Cargo.lock has no libsqlite3-sys"), "{message}");
    // xtask.toml's default is the same.
    let workspace = Workspace::new();
    workspace.edit("xtask.toml", "sqlite = \"bundled\"", "sqlite = \"./sysroot\"");
    let plan: Value = serde_json::from_str(&fine(&workspace.xtask(&["image", "--dry-run", "--json"]))).unwrap();
    assert_eq!(plan["sqlite"], "./sysroot");
    let plan = fine(&workspace.xtask(&["image", "--dry-run", "--sqlite", "bundled"]));
    assert!(!plan.contains("SQLite"), "{plan}");
}

/// A program that says of which SQLite it is, and searches.
const PROGRAM: &str = r#"//! Says what SQLite it has, and whether that finds something.
use std::ffi::CStr;
use std::ptr::null_mut;

use libsqlite3_sys as sqlite;

fn main() {
    let sql = c"CREATE VIRTUAL TABLE t USING fts5 (a, tokenize = 'trigram'); INSERT INTO t VALUES ('quick brown fox');";
    // SAFETY: the strings end with NUL, and the database is open for as long as it is used.
    unsafe {
        let mut database = null_mut();
        assert_eq!(sqlite::sqlite3_open(c":memory:".as_ptr(), &mut database), sqlite::SQLITE_OK);
        assert_eq!(
            sqlite::sqlite3_exec(database, sql.as_ptr(), None, null_mut(), null_mut()),
            sqlite::SQLITE_OK
        );
        let version = CStr::from_ptr(sqlite::sqlite3_libversion()).to_str().unwrap();
        let own = sqlite::sqlite3_compileoption_used(c"MAX_ATTACHED=7".as_ptr());
        println!("SQLite {version}, own: {own}");
    }
}
"#;

/// The directory of the crate's source, as cargo has it.
fn crate_source(workspace: &Workspace) -> PathBuf {
    let metadata = Shell::default()
        .command("cargo")
        .args(["metadata", "--offline", "--format-version", "1"])
        .current_dir(&workspace.root)
        .read()
        .unwrap();
    let metadata: Value = serde_json::from_str(&metadata).unwrap();
    let packages = metadata["packages"].as_array().unwrap();
    let manifest = packages.iter().find(|one| one["name"] == "libsqlite3-sys").unwrap()["manifest_path"].clone();
    Path::new(manifest.as_str().unwrap()).parent().unwrap().to_owned()
}

#[test]
fn a_library_for_the_zero_is_linked_told_of_and_runs_on_its_chip() {
    if !require_program("python3") {
        return;
    }
    let manifest = "[package]\nname = \"blog\"\nversion.workspace = true\nedition = \"2024\"\n\n[dependencies]\n\
                    libsqlite3-sys = { version = \"0.38.2\", features = [\"bundled\"] }\n";
    // cargo takes the versions that are locked, and drops what is not needed.
    let lock = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../Cargo.lock")).unwrap();
    let root = Path::new(env!("CARGO_TARGET_TMPDIR")).join("cli/sqlite");
    let _ = fs::remove_file(root.join("Cargo.lock"));
    let workspace = Workspace::at_with(
        root,
        &[
            ("app/Cargo.toml", manifest),
            ("app/src/main.rs", PROGRAM),
            ("Cargo.lock", &lock),
        ],
    );
    let source = crate_source(&workspace);
    fine(&run(&workspace, &["setup"]));
    let tool = |name: &str| Shell::default().command(workspace.path(".tools").join(name));
    let library = workspace.path("own/libsqlite3.a");
    if !library.exists() {
        fs::create_dir_all(workspace.path("own")).unwrap();
        tool("arm-unknown-linux-musleabihf-cc")
            .args([
                "-c",
                "-O1",
                "-DSQLITE_ENABLE_FTS5",
                "-DSQLITE_MAX_ATTACHED=7",
                "-DSQLITE_OMIT_LOAD_EXTENSION",
                "-o",
            ])
            .arg(workspace.path("own/sqlite3.o"))
            .arg(source.join("sqlite3/sqlite3.c"))
            .run()
            .unwrap();
        tool("ar")
            .arg("rcs")
            .arg(&library)
            .arg(workspace.path("own/sqlite3.o"))
            .run()
            .unwrap();
    }
    fine(&run(&workspace, &["image", "--sqlite", "own"]));
    let ran = run(&workspace, &["run", "--isolation", "prefix", "--", "x"])
        .output()
        .unwrap();
    // What the program says goes to stderr, as the output of everything that is started does.
    let said = ran.error_text();
    assert!(code(&ran) == 0 && said.contains("own: 1"), "{said}");
    let version = said.split_once("SQLite ").unwrap().1.split(',').next().unwrap();

    let dir = workspace.path("target/images/scratch-armv6");
    let store = layout::open(&dir).unwrap();
    let listed = list_images(&store).unwrap();
    let image = load(&store, &listed[0].manifest, Platform::ArmV6, &Limits::default()).unwrap();
    let label = image.config_json()["config"]["Labels"]["xtask.sqlite"]
        .as_str()
        .unwrap()
        .to_owned();
    assert!(
        label.starts_with(&format!("{version}, a library of the builder's own, sha256:")),
        "{label}"
    );
    let documents = fs::read_dir(dir.join("attestations"))
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let spdx = documents
        .into_iter()
        .find(|path| path.to_string_lossy().ends_with(".spdx.json"))
        .unwrap();
    let spdx: Value = serde_json::from_slice(&fs::read(spdx).unwrap()).unwrap();
    let packages = spdx["packages"].as_array().unwrap();
    let sqlite = packages.iter().find(|one| one["name"] == "sqlite").unwrap();
    assert_eq!(sqlite["versionInfo"], version);
    assert!(
        sqlite["sourceInfo"]
            .as_str()
            .unwrap()
            .starts_with("a library of the builder's own, sha256:"),
        "{sqlite}"
    );
}
