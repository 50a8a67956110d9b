//! Sinks: what they write is read again by us and by the tools of others, and what is damaged is named.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde_json::{Value, json};
use xtask::oci::archive::Archive;
use xtask::oci::dockerfile::evaluate;
use xtask::oci::image::{Form, MemoryFiles};
use xtask::oci::layer::{Limits, write_tar};
use xtask::oci::layout::{BlobStore, LayoutError, list_images, load_image};
use xtask::oci::{BaseImage, Digest, Entry, EntryKind, Image, ImageIndex, ImageName, Tree, assemble};
use xtask::publish::daemon::Daemon;
use xtask::publish::{archive, layout};
use xtask::shell::Shell;
use xtask::target::Platform;
use xtask::ui::{Ui, Verbosity};

use crate::oci::image::{about, sample};
use crate::require::{require, require_program};

fn name(text: &str) -> ImageName {
    text.parse().unwrap()
}

fn load(dir: &Path, name: Option<&str>, platform: Platform) -> Result<Image, LayoutError> {
    load_image(&layout::open(dir).unwrap(), name, platform, &Limits::default())
}

fn tree(dir: &Path) -> Vec<(String, Vec<u8>)> {
    let mut files = Vec::new();
    let mut todo = vec![dir.to_owned()];
    while let Some(next) = todo.pop() {
        for entry in fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => todo.push(path),
                false => files.push((
                    path.strip_prefix(dir).unwrap().display().to_string(),
                    fs::read(&path).unwrap(),
                )),
            }
        }
    }
    files.sort();
    files
}

#[test]
fn a_list_of_verdicts_that_is_none_is_replaced() {
    let temp = tempfile::tempdir().unwrap();
    let image = sample(Platform::ArmV6);
    layout::write(temp.path(), &[(&name("blog:a"), &image)]).unwrap();
    let digest = image.manifest().digest();
    let file = temp.path().join(layout::AUDIT);
    for old in ["[]", "7", "null", "{}", "{\"images\":[1]}", "{"] {
        fs::write(&file, old).unwrap();
        layout::write_audit(temp.path(), &[(digest, json!("fine"))]).unwrap();
        let written: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
        assert_eq!(
            written,
            json!({"schema": 1, "images": {digest.to_string(): "fine"}}),
            "{old}"
        );
    }
}

#[test]
fn a_layout_is_written_added_to_and_read() {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path().join("new/layout");
    let (v6, v7) = (sample(Platform::ArmV6), sample(Platform::ArmV7));
    let (six, seven) = (name("blog:1-armv6"), name("blog:1-armv7"));
    let written = layout::write(&dir, &[(&six, &v6)]).unwrap();
    assert_eq!(written[0].to_string(), format!("blog@{}", v6.manifest().digest()));
    layout::write(&dir, &[(&seven, &v7)]).unwrap();
    let index = ImageIndex::new(vec![v7.clone(), v6.clone()]).unwrap();
    layout::write_index(&dir, &name("blog:1"), &index).unwrap();

    // The order of publishing does not show, and a second run changes nothing.
    let other = temp.path().join("other");
    fs::create_dir(&other).unwrap();
    layout::write_index(&other, &name("blog:1"), &index).unwrap();
    layout::write(&other, &[(&seven, &v7), (&six, &v6)]).unwrap();
    layout::write(&other, &[(&seven, &v7)]).unwrap();
    assert_eq!(tree(&dir), tree(&other));

    let found = load(&dir, Some("1-armv6"), Platform::ArmV6).unwrap();
    assert_eq!(found.manifest(), v6.manifest());
    assert_eq!(found.config(), v6.config());
    assert_eq!(found.layers()[0].digest(), v6.layers()[0].digest());
    assert_eq!((found.base_layers().len(), found.app_layers().len()), (0, 1));
    assert_eq!(found.pull_size(), v6.pull_size());
    let full = load(&dir, Some("docker.io/library/blog:1"), Platform::ArmV7).unwrap();
    assert_eq!(full.manifest(), v7.manifest());
    // The same manifest under two names is one image.
    assert!(load(&dir, None, Platform::ArmV6).is_ok());
    let error = load(&dir, None, Platform::Amd64).unwrap_err().to_string();
    assert!(
        error.contains("no image for linux/amd64; there are: 1 (linux/arm/v6), 1 (linux/arm/v7)"),
        "{error}"
    );

    // A name that moves.
    layout::write(&dir, &[(&six, &v7)]).unwrap();
    let names: Vec<_> = list_images(&layout::open(&dir).unwrap()).unwrap();
    assert_eq!(names.len(), 4);
    assert!(load(&dir, Some("1-armv6"), Platform::ArmV6).is_err());
}

#[test]
fn what_is_not_a_layout_is_left_alone() {
    let temp = tempfile::tempdir().unwrap();
    let image = sample(Platform::ArmV6);
    let name = name("blog");
    let refused = |dir: &Path| layout::write(dir, &[(&name, &image)]).unwrap_err();
    let file = temp.path().join("file");
    fs::write(&file, "mine").unwrap();
    assert!(refused(&file).to_string().contains("is a file"));
    let full = temp.path().join("full");
    fs::create_dir(&full).unwrap();
    fs::write(full.join("thesis.tex"), "mine").unwrap();
    let error = refused(&full);
    assert!(error.to_string().contains("is not an OCI image layout") && error.next_step().is_some());
    assert_eq!(tree(&full).len(), 1);
    let newer = temp.path().join("newer");
    fs::create_dir(&newer).unwrap();
    fs::write(newer.join("oci-layout"), r#"{"imageLayoutVersion":"2.0.0"}"#).unwrap();
    assert!(refused(&newer).to_string().contains("version 2.0.0"));
    fs::write(newer.join("oci-layout"), "{").unwrap();
    assert!(refused(&newer).to_string().contains("not an OCI image layout"));
    fs::write(newer.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
    fs::write(newer.join("index.json"), "[]").unwrap();
    assert!(refused(&newer).to_string().contains("index.json is malformed"));
    assert_eq!(fs::read(newer.join("index.json")).unwrap(), b"[]");
    assert!(
        layout::open(&full)
            .unwrap_err()
            .to_string()
            .contains("not an OCI image layout")
    );
    // Killed right after the marker: the next run goes on.
    fs::remove_file(newer.join("index.json")).unwrap();
    layout::write(&newer, &[(&name, &image)]).unwrap();
}

#[test]
fn every_damaged_blob_is_named() {
    let temp = tempfile::tempdir().unwrap();
    let image = sample(Platform::ArmV6);
    let blobs: Vec<(Digest, Vec<u8>)> = image.blobs().map(|(digest, bytes)| (digest, bytes.to_vec())).collect();
    for (digest, bytes) in blobs {
        for change in 0..3 {
            let dir = temp.path().join(format!("{}-{change}", digest.hex()));
            layout::write(&dir, &[(&name("blog"), &image)]).unwrap();
            let path = dir.join("blobs/sha256").join(digest.hex());
            let mut changed = bytes.clone();
            match change {
                0 => changed[bytes.len() / 2] ^= 1,
                1 => changed.truncate(bytes.len() - 1),
                _ => changed.push(0),
            }
            fs::write(&path, changed).unwrap();
            let error = load(&dir, None, Platform::ArmV6).unwrap_err();
            assert!(
                matches!(&error, LayoutError::Damaged { digest: named, .. } if *named == digest),
                "{error}"
            );
            // Publishing again repairs it.
            layout::write(&dir, &[(&name("blog"), &image)]).unwrap();
            load(&dir, None, Platform::ArmV6).unwrap();
            fs::remove_file(&path).unwrap();
            let error = load(&dir, None, Platform::ArmV6).unwrap_err().to_string();
            assert!(
                error.contains(&digest.to_string()) && error.contains("does not exist"),
                "{error}"
            );
        }
    }
}

/// A store whose documents can say anything.
struct Liar {
    index: Value,
    blobs: Vec<Vec<u8>>,
}

impl Liar {
    fn add(&mut self, media_type: &str, bytes: Vec<u8>) -> Value {
        let descriptor =
            json!({"mediaType": media_type, "digest": Digest::of(&bytes).to_string(), "size": bytes.len()});
        self.blobs.push(bytes);
        descriptor
    }

    fn of(image: &Image, config: impl FnOnce(&mut Value), manifest: impl FnOnce(&mut Value)) -> Liar {
        let mut liar = Liar {
            index: json!({}),
            blobs: image.blobs().map(|(_, bytes)| bytes.to_vec()).collect(),
        };
        let mut changed = image.config_json();
        config(&mut changed);
        let descriptor = liar.add(image.config().media_type(), changed.to_string().into_bytes());
        let mut changed: Value = serde_json::from_slice(image.manifest().bytes()).unwrap();
        changed["config"] = descriptor;
        manifest(&mut changed);
        let descriptor = liar.add(image.manifest().media_type(), changed.to_string().into_bytes());
        liar.index = json!({"schemaVersion": 2, "manifests": [descriptor]});
        liar
    }

    fn error(&self) -> String {
        load_image(self, None, Platform::ArmV6, &Limits::default())
            .unwrap_err()
            .to_string()
    }
}

impl BlobStore for Liar {
    fn origin(&self) -> String {
        "liar".to_owned()
    }

    fn index(&self) -> Result<Vec<u8>, String> {
        Ok(self.index.to_string().into_bytes())
    }

    fn blob(&self, digest: &Digest, _: u64) -> Result<Vec<u8>, String> {
        let found = self.blobs.iter().find(|bytes| Digest::of(bytes) == *digest);
        found.cloned().ok_or_else(|| "no such blob".to_owned())
    }
}

#[test]
fn documents_that_disagree_are_found_out() {
    let image = sample(Platform::ArmV6);
    let other = format!("sha256:{}", "0".repeat(64));
    let same = |_: &mut Value| {};
    let diff = Liar::of(&image, |config| config["rootfs"]["diff_ids"][0] = json!(other), same);
    assert!(diff.error().contains("unpacks to sha256:"), "{}", diff.error());
    let count = Liar::of(&image, |config| config["rootfs"]["diff_ids"] = json!([]), same);
    assert!(count.error().contains("0 diff_ids for 1 layers"));
    let none = Liar::of(&image, |config| config["rootfs"] = json!(null), same);
    assert!(none.error().contains("rootfs.diff_ids"));
    // Without a variant it is a v7 image, whatever was meant.
    let variant = Liar::of(&image, |config| config["variant"] = json!(null), same);
    assert!(variant.error().contains("linux/arm/v7"), "{}", variant.error());
    let mut platform = Liar::of(&image, same, same);
    platform.index["manifests"][0]["platform"] = json!({"os": "linux", "architecture": "arm", "variant": "v7"});
    assert!(
        platform
            .error()
            .contains("says linux/arm/v7, the configuration linux/arm/v6"),
        "{}",
        platform.error()
    );
    let schema = Liar::of(&image, same, |manifest| manifest["schemaVersion"] = json!(1));
    assert!(schema.error().contains("schemaVersion"));
    let kind = Liar::of(&image, same, |manifest| {
        manifest["layers"][0]["mediaType"] = json!("text/plain")
    });
    assert!(kind.error().contains("text/plain"));
    let size = Liar::of(&image, same, |manifest| {
        manifest["layers"][0]["size"] = json!(1_u64 << 50)
    });
    assert!(size.error().contains("limit"), "{}", size.error());
    let digest = Liar::of(&image, same, |manifest| {
        manifest["config"]["digest"] = json!("sha256:../../etc/passwd")
    });
    assert!(digest.error().contains("is not a digest"), "{}", digest.error());
    let mut huge = Liar::of(&image, same, same);
    huge.index["manifests"][0]["size"] = json!(1_u64 << 40);
    assert!(huge.error().contains("make sense"));
    for (index, wanted) in [
        (json!([]), "index.json is malformed"),
        (
            json!({"schemaVersion": 2, "manifests": [{"mediaType": "x", "digest": other, "size": 1}]}),
            "`x` is not",
        ),
        (json!({"schemaVersion": 2, "manifests": []}), "there are: none"),
    ] {
        let liar = Liar { index, blobs: vec![] };
        assert!(liar.error().contains(wanted), "{}", liar.error());
    }
    // Indexes in indexes, and an attestation next to the image.
    let mut nested = Liar::of(&image, same, same);
    let attestation =
        json!({"mediaType": "any", "digest": other, "size": 1, "annotations": {"vnd.docker.reference.type": "x"}});
    nested.index["manifests"].as_array_mut().unwrap().push(attestation);
    for depth in 0..6 {
        assert_eq!(
            load_image(&nested, None, Platform::ArmV6, &Limits::default()).is_ok(),
            depth <= 4,
            "{depth}"
        );
        let bytes = nested.index.to_string().into_bytes();
        let descriptor = nested.add("application/vnd.oci.image.index.v1+json", bytes);
        nested.index = json!({"schemaVersion": 2, "manifests": [descriptor]});
    }
}

#[test]
fn two_images_for_one_platform_must_be_named() {
    let temp = tempfile::tempdir().unwrap();
    let (one, two) = (sample(Platform::ArmV6), sample(Platform::ArmV6));
    let mut index = ImageIndex::new(vec![one]).unwrap().images().to_vec();
    index.push(two);
    let store = Liar::of(
        &index[0],
        |config| config["created"] = json!("2000-01-01T00:00:00Z"),
        |_| {},
    );
    layout::write(temp.path(), &[(&name("blog:a"), &index[0])]).unwrap();
    let second = load_image(&store, None, Platform::ArmV6, &Limits::default()).unwrap();
    layout::write(temp.path(), &[(&name("blog:b"), &second)]).unwrap();
    let error = load(temp.path(), None, Platform::ArmV6).unwrap_err().to_string();
    assert!(
        error.contains("several images for linux/arm/v6: a (linux/arm/v6), b"),
        "{error}"
    );
    assert!(load(temp.path(), Some("b"), Platform::ArmV6).is_ok());
}

#[test]
fn skopeo_reads_and_copies_the_layout() {
    if !require_program("skopeo") {
        return;
    }
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path().join("layout");
    let image = sample(Platform::ArmV6);
    layout::write(&dir, &[(&name("blog:v6"), &image)]).unwrap();
    let attached = [Form::Attestation, Form::Referrer].map(|form| about(&image, form, "sbom"));
    let index = ImageIndex::with_attached(vec![image.clone(), sample(Platform::Arm64)], attached.into()).unwrap();
    layout::write_index(&dir, &name("blog:all"), &index).unwrap();
    let shell = Shell::new(false);
    let source = format!("oci:{}:v6", dir.display());
    let output = shell
        .command("skopeo")
        .args(["inspect", "--raw", &source])
        .output()
        .unwrap();
    assert_eq!(output.stdout, image.manifest().bytes(), "{}", output.error_text());
    let output = shell
        .command("skopeo")
        .args(["inspect", "--config", &source])
        .output()
        .unwrap();
    let config: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        (&config["architecture"], &config["variant"]),
        (&json!("arm"), &json!("v6"))
    );
    for target in ["copy:v6", "second:all"] {
        let tag = target.rsplit(':').next().unwrap();
        let source = format!("oci:{}:{tag}", dir.display());
        let target = format!("oci:{}/{target}", temp.path().display());
        let copy = shell
            .command("skopeo")
            .args(["copy", "--all", "--preserve-digests", &source, &target]);
        let output = copy.output().unwrap();
        assert!(output.status.success(), "{}", output.error_text());
    }
    assert_eq!(
        load(&temp.path().join("copy"), None, Platform::ArmV6)
            .unwrap()
            .manifest(),
        image.manifest()
    );
    assert!(load(&temp.path().join("second"), Some("all"), Platform::Arm64).is_ok());
}

#[test]
fn umoci_unpacks_the_layout() {
    if !require_program("umoci") {
        return;
    }
    use std::os::unix::fs::PermissionsExt;
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path().join("layout");
    layout::write(&dir, &[(&name("blog:v6"), &sample(Platform::ArmV6))]).unwrap();
    let bundle = temp.path().join("bundle");
    let image = format!("{}:v6", dir.display());
    let command = Shell::new(false)
        .command("umoci")
        .args(["unpack", "--rootless", "--image", &image]);
    let output = command.arg(&bundle).output().unwrap();
    assert!(output.status.success(), "{}", output.error_text());
    let blog = bundle.join("rootfs/usr/local/bin/blog");
    assert_eq!(fs::read(&blog).unwrap(), "program ".repeat(100).into_bytes());
    assert_eq!(blog.metadata().unwrap().permissions().mode() & 0o7777, 0o755);
    let config: Value = serde_json::from_slice(&fs::read(bundle.join("config.json")).unwrap()).unwrap();
    assert_eq!(config["process"]["args"], json!(["/usr/local/bin/blog", "serve"]));
}

#[test]
fn an_archive_is_written_and_read() {
    let temp = tempfile::tempdir().unwrap();
    let path = temp.path().join("new/blog.tar");
    let (v6, v7) = (sample(Platform::ArmV6), sample(Platform::ArmV7));
    let (six, seven) = (name("me/blog:1-armv6"), name("me/blog:1-armv7"));
    archive::write(&path, &[(&six, &v6), (&seven, &v7)]).unwrap();
    let first = fs::read(&path).unwrap();
    archive::write(&path, &[(&six, &v6), (&seven, &v7)]).unwrap();
    assert_eq!(fs::read(&path).unwrap(), first);
    let read = |path: &Path, platform| load_image(&archive::open(path).unwrap(), None, platform, &Limits::default());
    for image in [&v6, &v7] {
        assert_eq!(read(&path, image.platform()).unwrap().manifest(), image.manifest());
    }
    let gzip = temp.path().join("blog.tar.gz");
    let mut writer = flate2::write::GzEncoder::new(fs::File::create(&gzip).unwrap(), flate2::Compression::fast());
    std::io::Write::write_all(&mut writer, &first).unwrap();
    writer.finish().unwrap();
    assert_eq!(read(&gzip, Platform::ArmV6).unwrap().manifest(), v6.manifest());

    let mine = temp.path().join("thesis.pdf");
    fs::write(&mine, "mine").unwrap();
    let error = archive::write(&mine, &[(&six, &v6)]).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("thesis.pdf exists and is not an image archive"),
        "{error}"
    );
    assert_eq!(fs::read(&mine).unwrap(), b"mine");
    assert!(
        archive::write(temp.path(), &[(&six, &v6)])
            .unwrap_err()
            .to_string()
            .contains("is a directory")
    );
    for end in (0..first.len()).step_by(333) {
        fs::write(&mine, &first[..end]).unwrap();
        if let Ok(archive) = archive::open(&mine) {
            let _ = load_image(&archive, None, Platform::ArmV6, &Limits::default());
        }
    }
}

/// What Docker before 25 saves: no index, layers as plain tars, equal layers as links.
#[test]
fn an_archive_of_an_old_engine_is_read() {
    let image = sample(Platform::ArmV6);
    let tar = xtask::oci::layer::decompress(
        image.layers()[0].blob(),
        image.layers()[0].media_type(),
        &Limits::default(),
    )
    .unwrap();
    let mut config = image.config_json();
    let diff_id = config["rootfs"]["diff_ids"][0].clone();
    config["rootfs"]["diff_ids"] = json!([diff_id, diff_id]);
    config["history"] = json!([]);
    let manifest = json!([{"Config": "c.json", "RepoTags": ["blog:1"], "Layers": ["a/layer.tar", "b/layer.tar"]}]);
    let entries = [
        Entry::file("a/layer.tar", tar, 0o644),
        Entry::symlink("b/layer.tar", "../a/layer.tar"),
        Entry::file("c.json", config.to_string(), 0o644),
        Entry::file("manifest.json", manifest.to_string(), 0o644),
    ];
    let bytes = write_tar(&entries, Vec::new()).unwrap();
    let archive = Archive::read(&bytes, "old", &Limits::default()).unwrap();
    let read = load_image(&archive, Some("1"), Platform::ArmV6, &Limits::default()).unwrap();
    assert_eq!(read.layers().len(), 2);
    assert_eq!(read.layers()[1].diff_id(), image.layers()[0].diff_id());
    let bytes = write_tar(&entries[1..], Vec::new()).unwrap();
    let error = Archive::read(&bytes, "old", &Limits::default())
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("a/layer.tar, which the archive does not have"),
        "{error}"
    );
    let error = Archive::read(&[0; 1024], "empty", &Limits::default())
        .unwrap_err()
        .to_string();
    assert!(error.contains("neither index.json nor manifest.json"), "{error}");
}

#[test]
fn skopeo_reads_the_archive_both_ways() {
    if !require_program("skopeo") {
        return;
    }
    let temp = tempfile::tempdir().unwrap();
    let path = temp.path().join("blog.tar");
    let image = sample(Platform::ArmV6);
    archive::write(&path, &[(&name("blog:v6"), &image)]).unwrap();
    let shell = Shell::new(false);
    for source in [
        format!("docker-archive:{}", path.display()),
        format!("oci-archive:{}", path.display()),
    ] {
        let output = shell
            .command("skopeo")
            .args(["inspect", "--config", &source])
            .output()
            .unwrap();
        let config: Value =
            serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", output.error_text()));
        assert_eq!(
            config["rootfs"]["diff_ids"],
            image.config_json()["rootfs"]["diff_ids"],
            "{source}"
        );
        let target = format!("dir:{}", temp.path().join("out").display());
        let output = shell
            .command("skopeo")
            .args(["copy", &source, &target])
            .output()
            .unwrap();
        assert!(output.status.success(), "{source}: {}", output.error_text());
    }
}

/// The engine at DOCKER_HOST, else at the default socket.
fn engine() -> Option<Daemon> {
    let daemon = Daemon::from_environment();
    require("a Docker engine (DOCKER_HOST)", daemon.is_ok()).then(|| daemon.unwrap())
}

#[test]
fn a_real_engine_loads_the_image_as_it_is() {
    let Some(daemon) = engine() else {
        return;
    };
    let engine = daemon.ping().unwrap();
    assert!(engine.version.starts_with(|c: char| c.is_ascii_digit()), "{engine:?}");
    let ui = Ui::new(Verbosity::Quiet);
    for platform in Platform::ALL {
        let image = sample(platform);
        let name = name(&format!("xtask-test/blog:{}", platform.slug()));
        let loaded = daemon.load(&ui, &name, &image).unwrap();
        assert!([image.config().digest(), image.manifest().digest()].contains(&loaded.id));
        assert_eq!(daemon.load(&ui, &name, &image).unwrap(), loaded);
        daemon.remove(&name).unwrap();
    }
}

#[test]
fn what_a_real_engine_says_against_an_archive_is_told() {
    let Some(daemon) = engine() else {
        return;
    };
    let ui = Ui::new(Verbosity::Quiet);
    let image = sample(Platform::ArmV6);
    let bytes = xtask::oci::archive::archive(&[(&name("xtask-test/damaged:1"), &image)]).unwrap();
    // The configuration claims another layer than there is.
    let diff_id = image.layers()[0].diff_id().hex();
    let at = bytes
        .windows(64)
        .position(|window| window == diff_id.as_bytes())
        .unwrap();
    let mut changed = bytes.clone();
    changed[at..at + 64].copy_from_slice("0".repeat(64).as_bytes());
    for archive in [
        changed,
        b"this is not an archive".to_vec(),
        bytes[..bytes.len() / 2].to_vec(),
    ] {
        let error = daemon.load_archive(&ui, archive).unwrap_err().to_string();
        assert!(error.len() > "Docker stream error: ".len(), "{error}");
    }
}

/// The evaluator and `assemble` against the builder that they imitate: same tree, same configuration. The classic builder is asked,
/// because it needs nothing but an engine; it lacks `--chmod` and named contexts, and it pulls stages that are not used.
#[test]
fn a_real_engine_builds_the_same_image_from_the_dockerfile() {
    use std::os::unix::fs::PermissionsExt;
    let Some(daemon) = engine().filter(|_| require_program("docker")) else {
        return;
    };
    let temp = tempfile::tempdir().unwrap();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("docker");
    let mut source = MemoryFiles::default()
        .with(Some("compile"), "out/blog", EntryKind::File(b"blog".to_vec()), 0o755)
        .with(Some("compile"), "out/data", EntryKind::Directory, 0o755);
    let put = |path: &str, bytes: &[u8], mode: u32| {
        let file = temp.path().join(path);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(&file, bytes).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
    };
    for (path, bytes) in tree(&root.join("rootfs")) {
        let path = format!("docker/rootfs/{path}");
        put(&path, &bytes, 0o644);
        source = source.with(None, &path, EntryKind::File(bytes), 0o644);
    }
    put("cmp/out/blog", b"blog", 0o755);
    fs::create_dir(temp.path().join("cmp/out/data")).unwrap();
    let text = fs::read_to_string(root.join("Dockerfile")).unwrap();
    let stage = evaluate(&text, &BTreeMap::new(), "final").unwrap();
    let others = |line: &&str| !line.contains(" AS base-") || line.contains(" AS base-scratch");
    // The stages that compile need BuildKit; they are tried in `builder.rs`.
    let (arguments, stages) = text.split_once("# pip, which fetches").unwrap();
    let (_, stages) = stages.split_once("# The stages below have no RUN").unwrap();
    let classic: Vec<&str> = arguments.lines().chain(stages.lines().skip(1)).filter(others).collect();
    let classic = classic
        .join("\n")
        .replace(
            "FROM scratch AS base-scratch",
            "FROM scratch AS compile\nCOPY cmp/out /out\nFROM scratch AS base-scratch",
        )
        .replace("--chmod=0755 ", "");
    put("Dockerfile", classic.as_bytes(), 0o644);

    let name = name("xtask-test/classic:1");
    let shell = Shell::new(false);
    let build = shell
        .command("docker")
        .env("DOCKER_BUILDKIT", "0")
        .args(["build", "-t", &name.to_string()]);
    let output = build.arg(temp.path()).output().unwrap();
    assert!(output.status.success(), "{}{}", output.text(), output.error_text());
    let saved = temp.path().join("saved.tar");
    let save = shell
        .command("docker")
        .args(["save", &name.to_string(), "-o"])
        .arg(&saved);
    assert!(save.output().unwrap().status.success());
    daemon.remove(&name).unwrap();

    let saved = archive::open(&saved).unwrap();
    let platform = list_images(&saved).unwrap()[0].platform.unwrap();
    let limits = Limits::default();
    let theirs = load_image(&saved, None, platform, &limits).unwrap();
    let ours = assemble(BaseImage::scratch(), &stage, &source, platform, 0, &BTreeMap::new()).unwrap();
    let entries = |image: &Image| -> Vec<Entry> {
        let tree = Tree::from_layers(image.layers(), &limits).unwrap();
        let timeless = |entry: &Entry| Entry {
            mtime: 0,
            ..entry.clone()
        };
        tree.entries().map(timeless).collect()
    };
    assert_eq!(entries(&ours), entries(&theirs));
    let mut config = theirs.config_json()["config"].clone();
    let keys = ours.config_json()["config"].as_object().unwrap().clone();
    // Docker writes out what is empty (Hostname, OnBuild, ...).
    config.as_object_mut().unwrap().retain(|key, _| keys.contains_key(key));
    assert_eq!(config, Value::Object(keys));
}
