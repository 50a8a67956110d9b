//! `cargo xtask audit` of what others made: every layer, every kind of source, what must agree, and what cannot be read.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};
use tar::{EntryType, Header};
use xtask::oci::{Digest, canonical_json, media};
use xtask::publish::daemon::Daemon;
use xtask::shell::Shell;
use xtask::ui::{Ui, Verbosity};

use super::{Workspace, code, xtask};
use crate::registry::Content;
use crate::require::{require, require_program};

const V6: &[u8] = include_bytes!("../../fixtures/elf/v6");
const V7: &[u8] = include_bytes!("../../fixtures/elf/v7");
const HIDING: &[u8] = include_bytes!("../../fixtures/elf/v6-hiding-v7");
const AMD64: &[u8] = include_bytes!("../../fixtures/elf/amd64");

/// A tar in the form that `docker save` and `tar` write: GNU headers. A target makes a link.
fn tar(files: &[(&str, &[u8])], links: &[(&str, &str)]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (path, bytes) in files {
        let mut header = Header::new_gnu();
        header.set_mode(0o755);
        header.set_size(bytes.len() as u64);
        builder.append_data(&mut header, path, *bytes).unwrap();
    }
    for (path, target) in links {
        let mut header = Header::new_gnu();
        header.set_entry_type(EntryType::Symlink);
        header.set_size(0);
        builder.append_link(&mut header, path, target).unwrap();
    }
    builder.into_inner().unwrap()
}

/// An `ar` archive with one member in GNU's form.
fn ar(name: &str, member: &[u8]) -> Vec<u8> {
    let mut bytes = format!(
        "!<arch>\n{:<16}{:<12}{:<6}{:<6}{:<8}{:<10}`\n",
        format!("{name}/"),
        0,
        0,
        0,
        644,
        member.len()
    );
    if member.len() % 2 == 1 {
        bytes.push('\0');
    }
    let mut bytes = bytes.into_bytes();
    bytes.extend(member);
    bytes
}

fn config(platform: &Value, layers: &[Vec<u8>], entrypoint: &str) -> Value {
    let mut config = platform.clone();
    let diff_ids: Vec<String> = layers.iter().map(|layer| Digest::of(layer).to_string()).collect();
    config["rootfs"] = json!({"type": "layers", "diff_ids": diff_ids});
    config["config"] = json!({"Entrypoint": [entrypoint]});
    config
}

/// What `docker save` wrote before Docker 25: a directory for each layer, `manifest.json`, no digests.
fn old_archive(platform: &Value, layers: &[Vec<u8>], entrypoint: &str) -> Vec<u8> {
    let config = canonical_json(&config(platform, layers, entrypoint));
    let names: Vec<String> = (0..layers.len()).map(|n| format!("{n:064}/layer.tar")).collect();
    let manifest = canonical_json(&json!([{"Config": "c.json", "RepoTags": ["foreign:1"], "Layers": names}]));
    let mut files: Vec<(&str, &[u8])> = vec![("c.json", &config), ("manifest.json", &manifest)];
    files.extend(names.iter().map(String::as_str).zip(layers.iter().map(Vec::as_slice)));
    tar(&files, &[])
}

fn arm(variant: &str) -> Value {
    match variant {
        "" => json!({"os": "linux", "architecture": "arm"}),
        variant => json!({"os": "linux", "architecture": "arm", "variant": variant}),
    }
}

/// Two layers: the second hides a library of the first, and adds one of its own.
fn foreign() -> Vec<Vec<u8>> {
    let archive = ar("late.o", V7);
    let status = b"Package: oddlib\nVersion: 1.2-3\n";
    let first: Vec<(&str, &[u8])> = vec![
        ("bin/real", V6),
        ("usr/share/odd.dat", V7),
        ("var/lib/dpkg/status", status),
        ("var/lib/dpkg/info/oddlib:armhf.list", b"/.\n/usr/share/odd.dat\n"),
    ];
    let second: Vec<(&str, &[u8])> = vec![("usr/share/.wh.odd.dat", b""), ("opt/libx.a", &archive)];
    vec![tar(&first, &[("usr/bin/start", "/bin/real")]), tar(&second, &[])]
}

/// Exit code, parsed stdout and stderr of `audit ARGS --json`.
fn audited(workspace: &Workspace, args: &[&str]) -> (i32, Value, String) {
    let all: Vec<&str> = ["audit", "--json"].iter().chain(args).copied().collect();
    let output = workspace.xtask(&all).output().unwrap();
    let error = output.error_text();
    (
        code(&output),
        serde_json::from_str(&output.text()).unwrap_or_else(|_| panic!("{error}")),
        error,
    )
}

fn rules(findings: &Value) -> Vec<&str> {
    findings
        .as_array()
        .unwrap()
        .iter()
        .map(|finding| finding["rule"].as_str().unwrap())
        .collect()
}

#[track_caller]
fn file<'a>(subject: &'a Value, path: &str) -> &'a Value {
    let files = subject["files"].as_array().unwrap();
    files
        .iter()
        .find(|file| file["path"] == path)
        .unwrap_or_else(|| panic!("{path} is not in {files:#?}"))
}

#[test]
fn every_elf_file_of_every_layer_is_found_by_content() {
    let workspace = Workspace::new();
    fs::write(workspace.path("a.tar"), old_archive(&arm("v6"), &foreign(), "start")).unwrap();
    let (code, found, _) = audited(&workspace, &["docker-archive:a.tar"]);
    let subject = &found[0];
    assert_eq!((code, found.as_array().unwrap().len()), (1, 1));
    assert_eq!(
        (&subject["name"], &subject["platform"]),
        (&json!("docker.io/library/foreign:1"), &json!("linux/arm/v6"))
    );
    assert_eq!(subject["files"].as_array().unwrap().len(), 3, "{subject:#}");
    // Found through PATH and a link that is absolute inside the image.
    let program = file(subject, "bin/real");
    assert_eq!((&program["program"], &program["layer"]), (&json!(true), &json!(1)));
    assert!(rules(&program["report"]["findings"]).is_empty(), "{program:#}");
    // Nobody sees it in a container, and everybody pulls it.
    let hidden = file(subject, "usr/share/odd.dat");
    assert_eq!(
        (&hidden["hidden_by"], &hidden["package"]),
        (&json!(2), &json!("oddlib 1.2-3"))
    );
    assert!(rules(&hidden["report"]["findings"]).contains(&"arm.cpu-arch"));
    let member = file(subject, "opt/libx.a");
    assert_eq!((&member["member"], &member["layer"]), (&json!("late.o"), &json!(2)));
    assert!(rules(&member["report"]["findings"]).contains(&"arm.cpu-arch"));
    // For people: a line for the clean file, everything for the others.
    let output = workspace.xtask(&["audit", "docker-archive:a.tar"]).output().unwrap();
    let text = output.text();
    assert!(
        text.contains("ok    docker.io/library/foreign:1/bin/real  layer 1, what the image starts\n"),
        "{text}"
    );
    assert!(
        text.contains("usr/share/odd.dat  layer 1, hidden by layer 2, oddlib 1.2-3\n"),
        "{text}"
    );
    assert!(text.contains("libx.a(late.o): linux/arm/v6, "), "{text}");
    assert!(
        text.trim_end().lines().last().unwrap().starts_with("3 ELF files, "),
        "{text}"
    );
}

#[test]
fn one_thread_and_many_say_the_same_and_a_waiver_of_ours_is_not_for_others() {
    let workspace = Workspace::new();
    fs::write(workspace.path("a.tar"), old_archive(&arm("v6"), &foreign(), "start")).unwrap();
    let (_, one, _) = audited(&workspace, &["docker-archive:a.tar", "-j", "1"]);
    let (_, many, _) = audited(&workspace, &["docker-archive:a.tar", "--jobs", "7", "--strict"]);
    assert_eq!(one, many);
}

#[test]
fn what_names_the_platform_must_name_one() {
    let workspace = Workspace::new();
    let findings = |platform: Value, elf: &[u8], args: &[&str]| {
        let layers = [tar(&[("p", elf)], &[])];
        fs::write(workspace.path("a.tar"), old_archive(&platform, &layers, "/p")).unwrap();
        let args: Vec<&str> = ["docker-archive:a.tar"].iter().chain(args).copied().collect();
        let (code, found, _) = audited(&workspace, &args);
        let found = found[0].clone();
        let texts: Vec<String> = found["findings"]
            .as_array()
            .unwrap()
            .iter()
            .map(|finding| finding["found"].to_string())
            .collect();
        (code, found["platform"].as_str().unwrap().to_owned(), texts.join("; "))
    };
    let (code, platform, found) = findings(arm("v6"), V6, &[]);
    assert_eq!((code, platform.as_str(), found.as_str()), (0, "linux/arm/v6", ""));
    let (code, _, found) = findings(arm("v7"), V7, &[]);
    assert_eq!((code, found.as_str()), (0, ""));
    // The label of 2018: no variant, which engines take for v7, on code that a Zero could run.
    for variant in ["", "v7"] {
        let (code, platform, found) = findings(arm(variant), V6, &[]);
        assert_eq!((code, platform.as_str()), (1, "linux/arm/v7"));
        assert!(found.contains("all code is for linux/arm/v6 or earlier"), "{found}");
    }
    let (code, platform, found) = findings(arm(""), V6, &["--platform", "linux/arm/v6"]);
    assert_eq!((code, platform.as_str()), (1, "linux/arm/v6"));
    assert!(
        found.contains("linux/arm, which engines take for linux/arm/v7"),
        "{found}"
    );
    // What is made for an older chip is held against a newer one on request, and runs there.
    let (code, platform, found) = findings(arm("v5"), V6, &["--platform", "linux/arm/v6"]);
    assert_eq!((code, platform.as_str(), found.as_str()), (0, "linux/arm/v6", ""));
}

/// An image layout with one image, its index entry and labels as told.
fn layout(dir: &Path, platform: &Value, entry: Option<&Value>, label: Option<&str>) {
    layout_of(V6, dir, platform, entry, label);
}

fn layout_of(program: &[u8], dir: &Path, platform: &Value, entry: Option<&Value>, label: Option<&str>) {
    let layers = [tar(&[("p", program)], &[])];
    let mut config = config(platform, &layers, "/p");
    if let Some(label) = label {
        config["config"]["Labels"]["xtask.binary.triple"] = label.into();
    }
    let blobs = dir.join("blobs/sha256");
    fs::create_dir_all(&blobs).unwrap();
    let put = |bytes: &[u8], kind: &str| {
        let digest = Digest::of(bytes);
        fs::write(blobs.join(digest.hex()), bytes).unwrap();
        json!({"mediaType": kind, "digest": digest.to_string(), "size": bytes.len()})
    };
    let config = put(&canonical_json(&config), media::CONFIG);
    let layer = put(&layers[0], media::LAYER_TAR);
    let manifest = json!({"schemaVersion": 2, "mediaType": media::MANIFEST, "config": config, "layers": [layer]});
    let mut manifest = put(&canonical_json(&manifest), media::MANIFEST);
    if let Some(entry) = entry {
        manifest["platform"] = entry.clone();
    }
    fs::write(dir.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
    let index = json!({"schemaVersion": 2, "manifests": [manifest]});
    fs::write(dir.join("index.json"), canonical_json(&index)).unwrap();
}

#[test]
fn an_index_entry_or_a_label_that_says_otherwise_is_a_finding() {
    let workspace = Workspace::new();
    let dir = workspace.path("layout");
    let findings = || {
        let (code, found, _) = audited(&workspace, &["oci:layout"]);
        (code, found[0]["findings"].to_string())
    };
    layout(&dir, &arm("v6"), Some(&arm("v7")), None);
    let (status, found) = findings();
    assert_eq!(status, 1);
    assert!(
        found.contains("image.platform") && found.contains("the index entry says linux/arm/v7"),
        "{found}"
    );
    layout(
        &dir,
        &arm("v6"),
        Some(&arm("v6")),
        Some("armv7-unknown-linux-musleabihf"),
    );
    let (status, found) = findings();
    assert_eq!(status, 1);
    assert!(
        found.contains("says armv7-unknown-linux-musleabihf: linux/arm/v7"),
        "{found}"
    );
    layout(&dir, &arm("v6"), None, None);
    assert_eq!(findings(), (0, "[]".to_owned()));
}

/// An image that was pushed has neither names nor a record of its build here, and its own name begins with no base.
#[test]
fn what_every_chip_of_a_platform_has_is_allowed_in_images_from_elsewhere() {
    let workspace = Workspace::new();
    let mut program = V7.to_vec();
    // `vldr d16, [sp]` in the place of the first instruction.
    program[0xe4..0xe8].copy_from_slice(&[0x00, 0x0b, 0xdd, 0xed]);
    let label = Some("armv7-unknown-linux-musleabihf");
    layout_of(&program, &workspace.path("layout"), &arm("v7"), None, label);
    let (code, found, _) = audited(&workspace, &["oci:layout"]);
    assert_eq!(code, 0, "{found}");
    let (code, found, _) = audited(&workspace, &["oci:layout", "--strict"]);
    let found = found.to_string();
    assert!(code == 1 && found.contains("registers d16 to d31"), "{code} {found}");
    // The same program outside of any image.
    fs::create_dir_all(workspace.path("tree")).unwrap();
    fs::write(workspace.path("tree/program"), &program).unwrap();
    for source in ["tree/program", "tree"] {
        let (code, found, _) = audited(&workspace, &[source, "--platform", "linux/arm/v7"]);
        assert_eq!(code, 0, "{source}: {found}");
        let (code, found, _) = audited(&workspace, &[source, "--platform", "linux/arm/v7", "--strict"]);
        let found = found.to_string();
        assert!(code == 1 && found.contains("registers d16 to d31"), "{code} {found}");
    }
}

#[test]
fn a_damaged_or_missing_source_is_an_error_that_names_it() {
    let workspace = Workspace::new();
    let refused = |args: &[&str]| {
        let all: Vec<&str> = ["audit"].iter().chain(args).copied().collect();
        workspace.refused(&all)
    };
    for (source, said) in [
        ("ftp:x", "unknown scheme `ftp:` in `ftp:x`"),
        ("docker:x", "docker://NAME"),
        ("oci:", "needs a path"),
        ("none", "cannot read none"),
        ("oci:none", "none is not an OCI image layout"),
        ("docker-archive:none", "cannot read none"),
        (".", "there is no ELF file"),
    ] {
        if source == "." {
            fs::create_dir_all(workspace.path("empty")).unwrap();
            assert!(refused(&["empty"]).contains(said));
            continue;
        }
        let error = refused(&[source]);
        assert!(error.contains(said), "{source}: {error}");
    }
    let dir = workspace.path("layout");
    layout(&dir, &arm("v6"), None, None);
    let error = refused(&["oci:layout", "--platform", "linux/arm64"]);
    assert!(
        error.contains("no image for linux/arm64; there are: ") && error.contains("(linux/arm/v6)"),
        "{error}"
    );
    // What is an image after all is not taken for a tree of files without ELF files.
    assert!(refused(&["layout"]).contains("name it oci:layout"));
    let archive = old_archive(&arm("v6"), &[tar(&[("p", V6)], &[])], "/p");
    fs::write(workspace.path("a.tar"), &archive).unwrap();
    assert!(refused(&["a.tar"]).contains("name it docker-archive:a.tar"));
    for end in [700, archive.len() / 2] {
        fs::write(workspace.path("cut.tar"), &archive[..end]).unwrap();
        let error = refused(&["docker-archive:cut.tar"]);
        assert!(error.contains("docker-archive:cut.tar"), "{error}");
    }
    layout(&dir, &json!({"os": "linux", "architecture": "s390x"}), None, None);
    let error = refused(&["oci:layout"]);
    assert!(
        error.contains("no image for a platform that this product knows") && error.contains("linux/s390x"),
        "{error}"
    );
    // One byte of a layer.
    layout(&dir, &arm("v6"), None, None);
    let blob = dir.join("blobs/sha256").join(Digest::of(&tar(&[("p", V6)], &[])).hex());
    let mut bytes = fs::read(&blob).unwrap();
    bytes[1500] ^= 1;
    fs::write(&blob, &bytes).unwrap();
    let error = refused(&["oci:layout"]);
    assert!(
        error.contains("its content is sha256:") && error.contains("hint: "),
        "{error}"
    );
    fs::write(&blob, &bytes[..600]).unwrap();
    assert!(refused(&["oci:layout"]).contains("damaged tar"));
}

#[test]
fn an_engine_that_is_not_there_is_named() {
    let workspace = Workspace::new();
    let socket = workspace.path("none.sock");
    let host = format!("unix://{}", socket.display());
    let command = workspace.xtask(&["audit", "docker-daemon:x"]).env("DOCKER_HOST", &host);
    let error = super::refused(&command);
    assert!(error.contains("none.sock") && error.contains("hint: "), "{error}");
}

#[test]
fn a_tree_is_the_same_as_a_tar_in_any_compression_and_as_a_directory() {
    use std::io::Write;
    let workspace = Workspace::new();
    let root = tar(
        &[
            ("bin/p", V6),
            ("lib/late.so", V7),
            ("lib/hides", HIDING),
            ("lib/other", AMD64),
            ("etc/text", b"text"),
        ],
        &[],
    );
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&root).unwrap();
    let zstd = ruzstd::encoding::compress_to_vec(&root[..], ruzstd::encoding::CompressionLevel::Fastest);
    for (name, bytes) in [
        ("r.tar", root.clone()),
        ("r.tar.gz", gzip.finish().unwrap()),
        ("r.zst", zstd),
    ] {
        fs::write(workspace.path(name), bytes).unwrap();
    }
    for (path, bytes) in [
        ("bin/p", V6),
        ("lib/late.so", V7),
        ("lib/hides", HIDING),
        ("lib/other", AMD64),
        ("etc/text", b"text"),
    ] {
        let path = workspace.path("dir").join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }
    let mut sources = vec!["r.tar.gz", "r.zst", "dir"];
    if require_program("xz") {
        let xz = Shell::default()
            .command("xz")
            .args(["-k", "r.tar"])
            .current_dir(&workspace.root);
        xz.run().unwrap();
        sources.push("r.tar.xz");
    }
    // A link out of the tree is not followed.
    std::os::unix::fs::symlink("/", workspace.path("dir/out")).unwrap();
    let seen = |source: &str| {
        let (status, found, _) = audited(&workspace, &[source]);
        assert_eq!(status, 1);
        let files = found[0]["files"].as_array().unwrap();
        let mut seen: Vec<(String, usize)> = files
            .iter()
            .map(|file| {
                (
                    file["path"].as_str().unwrap().to_owned(),
                    rules(&file["report"]["findings"]).len(),
                )
            })
            .collect();
        seen.sort();
        seen
    };
    let plain = seen("r.tar");
    let clean: Vec<bool> = plain.iter().map(|(_, findings)| *findings == 0).collect();
    // `lib/hides` has attributes for ARMv6 and code for ARMv7.
    assert_eq!(clean, [true, false, false, false], "{plain:?}");
    for source in sources {
        assert_eq!(seen(source), plain, "{source}");
    }
    fs::write(workspace.path("r.tar"), &root[..root.len() - 1024]).unwrap();
    assert!(workspace.refused(&["audit", "r.tar"]).contains("r.tar is cut"));
}

#[test]
fn archives_of_objects_are_read_member_by_member() {
    let workspace = Workspace::new();
    let run = |name: &str, bytes: &[u8]| {
        fs::write(workspace.path(name), bytes).unwrap();
        let output = workspace.xtask(&["audit", name]).output().unwrap();
        (code(&output), output.text())
    };
    let (status, text) = run("good.a", &ar("x.o", V6));
    assert_eq!(status, 0, "{text}");
    assert!(text.contains("good.a(x.o)"), "{text}");
    let (status, text) = run("late.a", &ar("x.o", V7));
    assert!(status == 1 && text.contains("late.a(x.o): linux/arm/v6"), "{text}");
    // Nothing to look at is never nothing to find.
    for (name, bytes) in [
        ("empty.a", b"!<arch>\n".to_vec()),
        ("data.a", ar("x.o", b"data")),
        ("cut.a", ar("x.o", V6)[..200].to_vec()),
        ("thin.a", b"!<thin>\n".to_vec()),
    ] {
        let (status, text) = run(name, &bytes);
        assert!(status == 1 && text.contains("elf.readable"), "{name}: {text}");
    }
}

/// The parts of the SARIF 2.1.0 schema that findings use.
#[test]
fn sarif_says_what_the_report_says() {
    let workspace = Workspace::new();
    fs::write(workspace.path("a.tar"), old_archive(&arm("v6"), &foreign(), "/none")).unwrap();
    let (status, found, _) = audited(&workspace, &["docker-archive:a.tar", "--sarif", "out.sarif"]);
    assert_eq!(status, 1);
    let sarif: Value = serde_json::from_str(&workspace.read("out.sarif")).unwrap();
    assert_eq!(sarif["version"], "2.1.0");
    let run = &sarif["runs"][0];
    let driver = &run["tool"]["driver"];
    let rules = driver["rules"].as_array().unwrap();
    let artifacts = run["artifacts"].as_array().unwrap();
    let results = run["results"].as_array().unwrap();
    let all = |subject: &Value| {
        let files = subject["files"].as_array().unwrap().iter();
        let of_files: usize = files
            .map(|file| file["report"]["findings"].as_array().unwrap().len())
            .sum();
        of_files + subject["findings"].as_array().unwrap().len()
    };
    assert_eq!(results.len(), all(&found[0]));
    assert!(results.iter().any(|result| result["ruleId"] == "image.program"));
    let mut fingerprints = Vec::new();
    for result in results {
        let rule = usize::try_from(result["ruleIndex"].as_u64().unwrap()).unwrap();
        assert_eq!(rules[rule]["id"], result["ruleId"]);
        let place = &result["locations"][0]["physicalLocation"]["artifactLocation"];
        let index = usize::try_from(place["index"].as_u64().unwrap()).unwrap();
        assert_eq!(artifacts[index]["location"]["uri"], place["uri"]);
        assert!(result["message"]["text"].as_str().is_some_and(|text| !text.is_empty()));
        assert_eq!(result["level"], "error");
        fingerprints.push(result["partialFingerprints"].to_string());
    }
    // RFC 3986: a colon in the first segment would make a scheme of what is before it.
    for artifact in artifacts {
        let uri = artifact["location"]["uri"].as_str().unwrap();
        assert!(!uri.contains([':', ' ', '(']), "{uri}");
    }
    fingerprints.sort();
    let count = fingerprints.len();
    fingerprints.dedup();
    assert_eq!(fingerprints.len(), count, "two findings with one fingerprint");
}

#[test]
fn an_engine_gives_out_what_it_was_given() {
    let daemon = Daemon::from_environment();
    if !require("a Docker engine (DOCKER_HOST)", daemon.is_ok()) {
        return;
    }
    let daemon = daemon.unwrap();
    let ui = Ui::new(Verbosity::Quiet);
    let name = format!("xtask-audit-{}:1", std::process::id());
    let renamed = {
        let config = canonical_json(&config(&arm("v6"), &foreign(), "start"));
        let manifest = canonical_json(
            &json!([{"Config": "c.json", "RepoTags": [name], "Layers": ["0/layer.tar", "1/layer.tar"]}]),
        );
        let layers = foreign();
        tar(
            &[
                ("c.json", &config),
                ("manifest.json", &manifest),
                ("0/layer.tar", &layers[0]),
                ("1/layer.tar", &layers[1]),
            ],
            &[],
        )
    };
    daemon.load_archive(&ui, renamed).unwrap();
    let workspace = Workspace::new();
    let host = std::env::var("DOCKER_HOST").unwrap_or_default();
    let source = format!("docker-daemon:{name}");
    let output = workspace
        .xtask(&["audit", "--json", &source])
        .env("DOCKER_HOST", &host)
        .output()
        .unwrap();
    let missing = workspace
        .xtask(&["audit", "docker-daemon:xtask-none:1"])
        .env("DOCKER_HOST", &host);
    let error = super::refused(&missing);
    daemon.remove(&name.parse().unwrap()).unwrap();
    let found: Value = serde_json::from_str(&output.text()).unwrap_or_else(|_| panic!("{}", output.error_text()));
    assert_eq!((code(&output), found[0]["files"].as_array().unwrap().len()), (1, 3));
    assert_eq!(file(&found[0], "usr/share/odd.dat")["hidden_by"], 2);
    assert!(
        error.contains("has no xtask-none:1") && error.contains("hint: "),
        "{error}"
    );
}

#[test]
fn a_registry_is_asked_for_the_platform() {
    let mut content = Content::default();
    let v6 = content.image("linux/arm/v6", &[(tar(&[("lib/late", V7)], &[]), media::LAYER_GZIP)]);
    let v7 = content.image(
        "linux/arm/v7",
        &[(tar(&[("lib/late", V7)], &[]), media::DOCKER_LAYER_TAR)],
    );
    let index = content.index(&[(v6, "linux/arm/v6"), (v7, "linux/arm/v7")]);
    content.tags.insert("1".to_owned(), index);
    let served = content.clone();
    let server = crate::http::server::Server::start(move |seen| crate::registry::answer(&served, seen));
    let workspace = Workspace::new();
    let source = format!("docker://{}/some/image:1", server.host());
    let run = |args: &[&str]| {
        let all: Vec<&str> = ["audit", "--json", &source].iter().chain(args).copied().collect();
        let command = xtask(&workspace.root, &all).env("XTASK_CACHE_DIR", workspace.path("../cache"));
        let output = command.env("NO_PROXY", "127.0.0.1").output().unwrap();
        let error = output.error_text();
        let found: Value = serde_json::from_str(&output.text()).unwrap_or_else(|_| panic!("{error}"));
        (code(&output), found[0].clone())
    };
    let (status, found) = run(&[]);
    assert_eq!((status, &found["platform"]), (1, &json!("linux/arm/v6")));
    assert!(rules(&file(&found, "lib/late")["report"]["findings"]).contains(&"arm.cpu-arch"));
    let (status, found) = run(&["--platform", "linux/arm/v7"]);
    assert_eq!((status, &found["platform"]), (0, &json!("linux/arm/v7")), "{found:#}");
}

#[test]
fn everything_that_decides_a_verdict_is_in_its_version() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut missing = Vec::new();
    for room in [
        "audit",
        "culprit",
        "../machine-code/src/elf",
        "../machine-code/src/isa",
        "../machine-code/src/isa/decode",
        "../machine-code/src/isa/walk",
    ] {
        for entry in fs::read_dir(source.join(room)).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            let path = match room {
                "audit" => name.clone(),
                room => format!("../{room}/{name}"),
            };
            let listed = xtask::audit::verdict::RULES.iter().any(|(listed, _)| *listed == path);
            if name.ends_with(".rs") && name != "tests.rs" && !listed {
                missing.push(path);
            }
        }
    }
    assert!(
        missing.is_empty(),
        "add to RULES in xtask/src/audit/verdict.rs: {missing:?}"
    );
}

/// Debian's cross compiler for armhf is one for ARMv7 (Debian's armhf), whatever `-march` it is given.
#[test]
fn a_tool_chain_is_judged_before_anything_is_built_with_it() {
    if !require_program("apt-get") || !require_program("dpkg-deb") {
        return;
    }
    let shell = Shell::default();
    let depends = shell
        .command("apt-cache")
        .args(["depends", "gcc-arm-linux-gnueabihf"])
        .output()
        .unwrap();
    let text = depends.text();
    let compiler = text.lines().filter_map(|line| line.trim().strip_prefix("Depends: "));
    let compiler = compiler
        .into_iter()
        .find(|name| name.starts_with("gcc-") && name.ends_with("-arm-linux-gnueabihf"));
    let version = compiler.and_then(|name| name.split('-').nth(1)).unwrap_or_default();
    let temp = tempfile::tempdir().unwrap();
    let packages = [
        format!("gcc-{version}-arm-linux-gnueabihf"),
        format!("libgcc-{version}-dev-armhf-cross"),
        "libc6-dev-armhf-cross".to_owned(),
    ];
    let fetched = shell
        .command("apt-get")
        .arg("download")
        .args(&packages)
        .current_dir(temp.path())
        .output()
        .unwrap();
    if !require("gcc-arm-linux-gnueabihf in apt's archive", fetched.status.success()) {
        return;
    }
    for entry in fs::read_dir(temp.path()).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "deb") {
            shell
                .command("dpkg-deb")
                .arg("-x")
                .arg(&path)
                .arg(temp.path().join("root"))
                .run()
                .unwrap();
        }
    }
    let workspace = Workspace::new();
    let root = temp.path().join("root");
    let root = root.to_str().unwrap();
    let output = workspace
        .xtask(&["doctor", "--toolchain", root, "--json"])
        .output()
        .unwrap();
    assert_eq!(code(&output), 1, "{}", output.error_text());
    let found: Value = serde_json::from_str(&output.text()).unwrap();
    assert_eq!(found["platform"], "linux/arm/v6");
    for name in [
        "crt1.o",
        "crti.o",
        "crtbegin.o",
        "libgcc.a",
        "libc.a",
        "libc_nonshared.a",
    ] {
        let parts = found["parts"].as_array().unwrap();
        let part = parts.iter().find(|part| part["part"] == name).unwrap();
        assert!(part["refused"].as_u64().unwrap() > 0, "{part:#}");
        assert_eq!(
            (&part["worst"]["rule"], &part["worst"]["found"]),
            (&json!("arm.cpu-arch"), &json!("v7")),
            "{name}"
        );
    }
    let text = workspace
        .xtask(&["doctor", "--toolchain", root])
        .output()
        .unwrap()
        .text();
    assert!(
        text.contains("FAIL  crt1.o") && text.contains("flags do not help"),
        "{text}"
    );
    // Without its C library it is no tool chain.
    fs::remove_dir_all(temp.path().join("root/usr/arm-linux-gnueabihf")).unwrap();
    assert!(
        workspace
            .refused(&["doctor", "--toolchain", root])
            .contains("has no crt1.o")
    );
}

#[test]
fn what_is_no_tool_chain_is_named() {
    let workspace = Workspace::new();
    let error = workspace.refused(&["doctor", "--toolchain", "none"]);
    assert!(
        error.contains("none is no triple") && error.contains("arm-unknown-linux-musleabihf"),
        "{error}"
    );
    fs::create_dir_all(workspace.path("empty")).unwrap();
    assert!(
        workspace
            .refused(&["doctor", "--toolchain", "empty"])
            .contains("there is no cross gcc in empty/bin")
    );
    let error = workspace.refused(&["doctor", "--toolchain", "/bin/sh"]);
    assert!(error.contains("/bin/sh is no C compiler of GNU's"), "{error}");
}
