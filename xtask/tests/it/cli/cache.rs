//! `cargo xtask cache` and `cargo xtask doctor`.

use std::fs::{self, File};
use std::path::Path;
use std::time::{Duration, SystemTime};

use serde_json::Value;
use xtask::cache::Cache;
use xtask::shell::Shell;

use super::{Workspace, code, fine, refused, script, snapshot};

const DAY: Duration = Duration::from_secs(86_400);

/// A cache with one of everything, and what killed runs leave.
fn filled(root: &Path) -> [std::path::PathBuf; 4] {
    let cache = Cache::at(root);
    let (_, blob) = cache.put_bytes(b"a wheel").unwrap();
    let tree = cache
        .tree("tool", "1", |dir| Ok(fs::write(dir.join("program"), "12345")?))
        .unwrap();
    cache.put_record("std-refused", "k", &true).unwrap();
    fs::create_dir_all(root.join("zig/global/o")).unwrap();
    fs::write(root.join("zig/global/o/libc.a"), "123").unwrap();
    fs::create_dir_all(root.join("tmp/.tmpKilled")).unwrap();
    fs::write(root.join("tmp/.tmpKilled/half"), "12").unwrap();
    [
        blob,
        tree,
        root.join("record/std-refused/k.json"),
        root.join("zig/global"),
    ]
}

#[test]
fn the_list_names_everything_and_prune_takes_it_away() {
    let workspace = Workspace::new();
    let root = workspace.path("../cache");
    let paths = filled(&root);
    let list = workspace.xtask(&["cache", "list"]).output().unwrap();
    insta::assert_snapshot!(list.text(), @r"
    blob           7 B  69f51477f05c46bfa5ff0027a1fcde274695311a38adfb85611ffeb93c8b146b
    tree           5 B  tool/1
    record         4 B  std-refused/k.json
    work           3 B  zig/global
    ");
    insta::assert_snapshot!(workspace.plain(&list.error_text()), @"       Total 19 B in [outside]/cache");
    let json: Value = serde_json::from_str(&fine(&workspace.xtask(&["cache", "list", "--json"]))).unwrap();
    let kinds: Vec<&str> = json
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| entry["kind"].as_str().unwrap())
        .collect();
    assert_eq!(kinds, ["blob", "tree", "record", "work"]);
    assert_eq!((&json[1]["name"], &json[1]["size"]), (&"tool/1".into(), &5.into()));

    let output = workspace.xtask(&["cache", "prune"]).output().unwrap();
    assert_eq!((code(&output), output.text().as_str()), (0, ""));
    insta::assert_snapshot!(workspace.plain(&output.error_text()), @"       Freed 21 B in [outside]/cache");
    assert!(paths.iter().all(|path| !path.exists()));
    assert_eq!(fine(&workspace.xtask(&["cache", "list", "--json"])), "[]\n");
    let files = Shell::default()
        .command("find")
        .arg(&root)
        .args(["-type", "f", "-printf", "%P"])
        .read()
        .unwrap();
    assert_eq!(files, "lock/in-use");
    assert!(!root.join("tmp/.tmpKilled").exists());
}

#[test]
fn only_what_was_not_used_lately_is_pruned() {
    let workspace = Workspace::new();
    let root = workspace.path("../cache");
    let paths = filled(&root);
    let age = |path: &Path, days: u32| {
        let time = SystemTime::now() - days * DAY;
        let times = fs::FileTimes::new().set_accessed(time).set_modified(time);
        File::open(path).unwrap().set_times(times).unwrap();
    };
    let [blob, tree, record, zig] = &paths;
    age(blob, 40);
    age(tree, 40);
    age(record, 10);
    for path in ["o/libc.a", "o", ""] {
        age(&zig.join(path), 40);
    }
    // Listing is not using.
    fine(&workspace.xtask(&["cache", "list"]));
    fine(
        &workspace
            .xtask(&["doctor"])
            .env("PATH", std::env::var_os("PATH").unwrap()),
    );
    // Using is.
    let used = Cache::at(&root);
    used.tree("tool", "1", |_| unreachable!("it is there")).unwrap();
    drop(used);
    fine(&workspace.xtask(&["cache", "prune", "--older-than", "30"]));
    assert_eq!(paths.each_ref().map(|path| path.exists()), [false, true, true, false]);
    assert!(
        !root.join("tmp/.tmpKilled").exists(),
        "what a killed run left is of no age"
    );
    // No number of days is too large, and none at all is everything.
    fine(&workspace.xtask(&["cache", "prune", "--older-than", "18446744073709551615"]));
    assert!(tree.exists());
    fine(&workspace.xtask(&["cache", "prune", "--older-than", "0"]));
    assert!(!tree.exists() && !record.exists());
}

#[test]
fn prune_waits_for_nobody_and_takes_nothing_away_under_a_run() {
    let workspace = Workspace::new();
    let root = workspace.path("../cache");
    let paths = filled(&root);
    let user = Cache::at(&root);
    user.has_tree("tool", "1").unwrap();
    insta::assert_snapshot!(workspace.plain(&refused(&workspace.xtask(&["cache", "prune"]))), @r"
    error: another run uses the cache [outside]/cache
    hint: nothing was deleted; run it again when that run has ended
    ");
    assert!(paths.iter().all(|path| path.exists()));
    drop(user);
    fine(&workspace.xtask(&["cache", "prune"]));
    assert!(paths.iter().all(|path| !path.exists()));
}

#[test]
fn a_cache_that_is_not_there_is_empty_and_stays_so() {
    let workspace = Workspace::new();
    assert_eq!(fine(&workspace.xtask(&["cache", "list"])), "");
    assert_eq!(fine(&workspace.xtask(&["cache", "list", "--json"])), "[]\n");
    fine(&workspace.xtask(&["cache", "prune"]));
    assert!(!workspace.path("../cache").exists());
}

#[test]
fn the_doctor_looks_and_changes_nothing() {
    let workspace = Workspace::new();
    let before = snapshot(&workspace.root);
    let output = workspace.xtask(&["doctor"]).output().unwrap();
    let shell = Shell::default();
    let whole = ["rustc", "rustup", "cc", "python3", "apt-get"]
        .iter()
        .all(|name| shell.which(name).is_some());
    assert_eq!(code(&output), i32::from(!whole), "{}", output.text());
    assert!(output.text().contains("fetch   ziglang"), "{}", output.text());
    let json: Value = serde_json::from_str(&workspace.xtask(&["doctor", "--json"]).output().unwrap().text()).unwrap();
    let zig = json
        .as_array()
        .unwrap()
        .iter()
        .find(|item| item["what"] == "ziglang")
        .unwrap();
    assert_eq!((&zig["found"], &zig["automatic"]), (&Value::Null, &true.into()));
    assert_eq!(snapshot(&workspace.root), before);
    assert!(!workspace.path("../cache").exists(), "not even an empty directory");
    // With a cache: not even a time.
    let root = workspace.path("../cache");
    filled(&root);
    let filled = snapshot(&root);
    workspace.xtask(&["doctor"]).output().unwrap();
    assert_eq!(snapshot(&root), filled);
}

#[test]
fn the_doctor_tells_what_is_missing_from_what_it_can_fetch() {
    let workspace = Workspace::new();
    let bin = workspace.path("../bin");
    for (name, answer) in [
        ("rustup", "rustup 1.99"),
        ("cc", ""),
        ("python3", "Python 3.99"),
        ("apt-get", ""),
        ("setpriv", ""),
    ] {
        script(&bin.join(name), &format!("#!/bin/sh\necho '{answer}'\n"));
    }
    let rustc = Shell::default().which("rustc").unwrap();
    std::os::unix::fs::symlink(rustc, bin.join("rustc")).unwrap();
    let doctor = || workspace.xtask(&["doctor"]).env("PATH", &bin).output().unwrap();
    // An engine and git are good to have; nothing fails without.
    let found = doctor();
    assert_eq!(code(&found), 0, "{}", found.text());
    assert!(found.text().contains("\nMISSING git "), "{}", found.text());
    for name in ["python3", "cc", "apt-get", "setpriv"] {
        let away = bin.join("away");
        fs::rename(bin.join(name), &away).unwrap();
        let found = doctor();
        assert_eq!(code(&found), 1, "{}", found.text());
        assert!(found.text().contains(&format!("\nMISSING {name} ")), "{}", found.text());
        fs::rename(&away, bin.join(name)).unwrap();
    }
}
