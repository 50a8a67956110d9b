//! `cargo xtask size` on layouts that nobody here made: several images, foreign ones, what changed, what is too large.

use std::fs;

use serde_json::{Value, json};
use xtask::oci::Entry;

use super::{Workspace, code, fine};
use crate::size::{Made, Packing, made, v6, write_layout};

fn program(bytes: usize) -> Vec<Made> {
    // Of all values, so that it does not compress.
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 56) as u8
    };
    let content: Vec<u8> = (0..bytes).map(|_| next()).collect();
    vec![
        made(
            Packing::Gzip,
            false,
            vec![Entry::file("etc/base", vec![b'b'; 4_000], 0o644)],
        ),
        made(Packing::Gzip, true, vec![Entry::file("app", content, 0o755)]),
    ]
}

fn config() -> Value {
    json!({"Entrypoint": ["/app"]})
}

fn write(workspace: &Workspace, path: &str, images: &[(Option<&str>, Value, Value, Vec<Made>)]) {
    write_layout(&workspace.path(path), images);
}

#[test]
fn all_images_of_a_layout_are_measured_the_smallest_first() {
    let workspace = Workspace::new();
    let amd64 = json!({"os": "linux", "architecture": "amd64"});
    let other = json!({"os": "linux", "architecture": "s390x"});
    let images = [
        (Some("large"), v6(), config(), program(9_000)),
        (Some("small"), v6(), config(), program(1_000)),
        // One name for two platforms, as an index has it, and two without a name.
        (Some("large"), amd64.clone(), config(), program(8_000)),
        (None, amd64.clone(), config(), program(2_000)),
        (None, amd64, config(), program(3_000)),
        (Some("mainframe"), other, config(), program(1)),
    ];
    write(&workspace, "foreign", &images);
    let output = workspace.xtask(&["size", "oci:foreign", "--json"]).output().unwrap();
    assert_eq!(code(&output), 0, "{}", output.error_text());
    assert!(
        output.error_text().contains("mainframe is left out"),
        "{}",
        output.error_text()
    );
    let report: Value = serde_json::from_str(&output.text()).unwrap();
    assert_eq!(
        (&report["schema"], &report["version"]),
        (&json!("raspi-image-size"), &json!(1))
    );
    let images = report["images"].as_array().unwrap();
    let pulls: Vec<u64> = images.iter().map(|image| image["pull"].as_u64().unwrap()).collect();
    assert!(pulls.len() == 5 && pulls.is_sorted(), "{pulls:?}");
    assert_eq!(
        (&images[0]["image"], &images[4]["image"]),
        (&json!("small"), &json!("large"))
    );
    assert!(images[1]["image"].as_str().unwrap().starts_with("sha256:"));
    assert_eq!(images[0]["program"]["path"], "app");
    let table = fine(&workspace.xtask(&["size", "oci:foreign", "--bandwidth", "1Mbit/s"]));
    assert!(table.contains("1 Mbit/s") && table.contains("small"), "{table}");
    let nothing = workspace.refused(&["size", "oci:foreign", "--bandwidth", "fast"]);
    assert!(
        nothing.contains("`fast` is no bandwidth: expected for example 20Mbit/s"),
        "{nothing}"
    );
}

#[test]
fn an_archive_is_measured_like_the_layout_in_it() {
    let workspace = Workspace::new();
    write(
        &workspace,
        "layout",
        &[(Some("scratch-armv6"), v6(), config(), program(5_000))],
    );
    let tar = workspace.path("saved.tar");
    let mut archive = tar::Builder::new(fs::File::create(&tar).unwrap());
    archive.append_dir_all("", workspace.path("layout")).unwrap();
    archive.finish().unwrap();
    let report = |images: &str| fine(&workspace.xtask(&["size", images, "--json"]));
    assert_eq!(report("docker-archive:saved.tar"), report("oci:layout"));
    let against = fine(&workspace.xtask(&["size", "oci:layout", "--against", "docker-archive:saved.tar"]));
    assert!(
        against.contains("scratch-armv6 (linux/arm/v6) the same bytes"),
        "{against}"
    );
}

#[test]
fn a_layout_without_a_known_image_is_refused() {
    let workspace = Workspace::new();
    let other = json!({"os": "plan9", "architecture": "arm"});
    write(&workspace, "foreign", &[(Some("x"), other, config(), program(1))]);
    let text = workspace.refused(&["size", "oci:foreign"]);
    assert!(
        text.contains("error: there is no image in oci:foreign\nhint: make one:"),
        "{text}"
    );
}

#[test]
fn what_is_saved_is_compared_with_and_growth_is_named() {
    let workspace = Workspace::new();
    let write = |size| {
        write(
            &workspace,
            "layout",
            &[(Some("scratch-armv6"), v6(), config(), program(size))],
        )
    };
    write(5_000);
    fine(&workspace.xtask(&["size", "oci:layout", "--save", "before.json"]));
    let saved = fs::read(workspace.path("before.json")).unwrap();
    let same = fine(&workspace.xtask(&["size", "oci:layout", "--against", "before.json", "--save", "again.json"]));
    assert!(
        same.contains("since before.json\n  scratch-armv6 (linux/arm/v6) the same bytes"),
        "{same}"
    );
    assert_eq!(
        fs::read(workspace.path("again.json")).unwrap(),
        saved,
        "the same figures give the same bytes"
    );

    fs::rename(workspace.path("layout"), workspace.path("old")).unwrap();
    write(7_000);
    for against in ["before.json", "oci:old"] {
        let grown = fine(&workspace.xtask(&["size", "oci:layout", "--against", against]));
        assert!(grown.contains("  +  pull "), "{grown}");
        assert!(
            grown
                .lines()
                .any(|line| line.contains("+  pulled: app ") && line.ends_with(" kB")),
            "{grown}"
        );
    }

    workspace.set_budget("{ pull = 6_000, app = 100, crates = { diesel = 1 } }");
    let output = workspace
        .xtask(&["size", "oci:layout", "--against", "before.json"])
        .output()
        .unwrap();
    assert_eq!(code(&output), 1, "{}", output.error_text());
    let warning = output.error_text();
    for expected in [
        "warning: scratch-armv6 is 2.1 kB over its budget of 6.0 kB (xtask.toml, [budget]); since before.json grew app by 2.0 kB",
        "warning: scratch-armv6: app is 7.0 kB over its budget of 100 B (xtask.toml, [budget]); since before.json grew app by 2.0 kB",
        "warning: scratch-armv6: the budget for crates.diesel cannot be checked: the program cannot be read",
    ] {
        assert!(warning.contains(expected), "{expected} is not in\n{warning}");
    }
    let output = workspace.xtask(&["size", "oci:layout", "--json"]).output().unwrap();
    assert_eq!(code(&output), 1);
    let report: Value = serde_json::from_str(&output.text()).unwrap();
    let keys: Vec<&Value> = report["over"]
        .as_array()
        .unwrap()
        .iter()
        .map(|breach| &breach["key"])
        .collect();
    assert_eq!(keys, ["pull", "app", "crates.diesel"]);
    let message = report["over"][0]["message"].as_str().unwrap();
    let (before, after) = message.split_once("; largest: app 7.1 kB, etc ").expect(message);
    assert!(
        before.ends_with("(xtask.toml, [budget])") && after.contains(", end of archive and stream "),
        "{message}"
    );
}

#[test]
fn the_page_is_written_whole_or_not_at_all() {
    let workspace = Workspace::new();
    write(
        &workspace,
        "layout",
        &[(Some("scratch-armv6"), v6(), config(), program(5_000))],
    );
    let page = || fs::read_to_string(workspace.path("size.html")).unwrap();
    let table = fine(&workspace.xtask(&["size", "oci:layout", "--html", "size.html"]));
    assert!(table.starts_with("image "), "the table is there all the same: {table}");
    let first = page();
    assert!(first.starts_with("<!DOCTYPE html>") && first.ends_with("</html>\n") && first.contains("scratch-armv6"));
    fine(&workspace.xtask(&["size", "oci:layout", "--html", "size.html"]));
    assert_eq!(page(), first);
    let names: Vec<_> = fs::read_dir(&workspace.root)
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert!(
        !names.iter().any(|name| name.to_string_lossy().starts_with(".tmp")),
        "{names:?}"
    );

    for (file, message) in [
        ("missing/size.html", "error: cannot write missing/size.html: "),
        ("app", "error: app is a directory\nhint: name a file in it"),
    ] {
        for option in ["--html", "--save"] {
            let text = workspace.refused(&["size", "oci:layout", option, file]);
            assert!(text.contains(message), "{text}");
        }
    }
}

#[test]
fn what_cannot_be_compared_with_is_refused() {
    let workspace = Workspace::new();
    write(
        &workspace,
        "layout",
        &[(Some("scratch-armv6"), v6(), config(), program(10))],
    );
    workspace.write("note.json", "{}");
    workspace.write("later.json", r#"{"schema": "raspi-image-size", "version": 9}"#);
    workspace.write("text.json", "hello");
    for (against, message) in [
        ("missing.json", "error: cannot read missing.json: No such file"),
        (
            "note.json",
            "error: note.json: it is no size report: its `schema` is not `raspi-image-size`\nhint: write it anew",
        ),
        (
            "later.json",
            "error: later.json: its version is 9, and this program reads 1\nhint: write it anew",
        ),
        ("text.json", "error: text.json: expected value at line 1"),
        ("oci:missing", "error: missing is not an OCI image layout"),
    ] {
        let text = workspace.refused(&["size", "oci:layout", "--against", against]);
        assert!(text.contains(message), "{text}");
    }
}
