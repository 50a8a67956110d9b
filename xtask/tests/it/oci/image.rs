use std::collections::BTreeMap;

use serde_json::{Value, json};
use xtask::oci::dockerfile::evaluate;
use xtask::oci::image::{AssembleError, Attached, Blob, Form, IndexError, MemoryFiles};
use xtask::oci::layer::Limits;
use xtask::oci::{
    BaseImage, Digest, Entry, EntryKind, Image, ImageIndex, LayerBuilder, Tree, assemble, canonical_json, media,
};
use xtask::target::Platform;

pub const EPOCH: u64 = 1_700_000_000;

/// The sample after a change of its program.
pub fn changed(platform: Platform) -> Image {
    let stage = evaluate(include_str!("../../../../docker/Dockerfile"), &BTreeMap::new(), "final").unwrap();
    let program = EntryKind::File(b"another program".to_vec());
    let files = files().with(Some("compile"), "out/blog", program, 0o700);
    assemble(BaseImage::scratch(), &stage, &files, platform, EPOCH, &BTreeMap::new()).unwrap()
}

pub fn files() -> MemoryFiles {
    let file = |text: &str| EntryKind::File(text.as_bytes().to_vec());
    MemoryFiles::default()
        .with(None, "docker/rootfs/etc/passwd", file("root:x:0:0::/:\n"), 0o640)
        .with(Some("compile"), "out/blog", file(&"program ".repeat(100)), 0o700)
        .with(Some("compile"), "out/data", EntryKind::Directory, 0o777)
}

pub fn sample(platform: Platform) -> Image {
    let text = include_str!("../../../../docker/Dockerfile");
    let stage = evaluate(text, &BTreeMap::new(), "final").unwrap();
    let labels = BTreeMap::from([("org.opencontainers.image.revision".to_owned(), "abc".to_owned())]);
    assemble(BaseImage::scratch(), &stage, &files(), platform, EPOCH, &labels).unwrap()
}

fn base(entries: Vec<Entry>, config: Value) -> BaseImage {
    let mut builder = LayerBuilder::new(EPOCH);
    for entry in entries {
        builder.add(entry).unwrap();
    }
    let mut base = BaseImage::scratch();
    base.layers = vec![builder.finish("base").unwrap()];
    base.config = config;
    base.origin = "test base".to_owned();
    base
}

fn build(base: BaseImage, dockerfile: &str, files: &MemoryFiles) -> Result<Image, AssembleError> {
    let stage = evaluate(&format!("FROM base:1\n{dockerfile}"), &BTreeMap::new(), "").unwrap();
    assemble(base, &stage, files, Platform::ArmV6, EPOCH, &BTreeMap::new())
}

/// `path mode uid:gid kind` of the layers on top of the base.
fn app(image: &Image) -> Vec<String> {
    let tree = Tree::from_layers(image.app_layers(), &Limits::default()).unwrap();
    tree.entries()
        .map(|e| format!("{} {:o} {}:{} {:?}", e.path, e.mode, e.uid, e.gid, e.kind))
        .collect()
}

#[test]
fn the_image_of_the_real_dockerfile_is_a_constant() {
    let image = sample(Platform::ArmV6);
    assert_eq!(
        app(&image),
        [
            "data 755 65532:65532 Directory",
            "etc 755 0:0 Directory",
            "etc/passwd 644 0:0 File(15 bytes)",
            "usr 755 0:0 Directory",
            "usr/local 755 0:0 Directory",
            "usr/local/bin 755 0:0 Directory",
            "usr/local/bin/blog 755 0:0 File(800 bytes)",
        ]
    );
    let config = serde_json::to_string_pretty(&image.config_json()).unwrap();
    insta::assert_snapshot!("config", config);
    insta::assert_snapshot!("manifest", std::str::from_utf8(image.manifest().bytes()).unwrap());
    assert_eq!(sample(Platform::ArmV6).manifest().digest(), image.manifest().digest());
    assert_ne!(sample(Platform::ArmV7).manifest().digest(), image.manifest().digest());
    assert!(sample(Platform::Arm64).config_json().get("variant").is_none());
    let typed: oci_spec::image::ImageConfiguration = serde_json::from_slice(image.config().bytes()).unwrap();
    assert_eq!(typed.variant().as_deref(), Some("v6"));
    let typed: oci_spec::image::ImageManifest = serde_json::from_slice(image.manifest().bytes()).unwrap();
    assert_eq!(typed.layers().len(), 1);
}

#[test]
fn copies_land_where_docker_puts_them() {
    let file = |text: &str| EntryKind::File(text.as_bytes().to_vec());
    let files = MemoryFiles::default()
        .with(None, "a", file("a"), 0o600)
        .with(None, "tool", file("t"), 0o711)
        .with(None, "tree/lib/x", file("x"), 0o600)
        .with(None, "tree/tmp/y", file("y"), 0o600)
        .with(None, "tree/link", EntryKind::Symlink("lib/x".to_owned()), 0o777);
    let usrmerged = || {
        let mut tmp = Entry::directory("tmp", 0o1777);
        tmp.mtime = 5;
        base(
            vec![
                Entry::directory("usr/lib", 0o755),
                Entry::symlink("lib", "usr/lib"),
                Entry::symlink("var/run", "/run"),
                Entry::directory("run", 0o711),
                Entry::file("etc/old", "old", 0o600),
                Entry::symlink("etc/link", "old"),
                tmp,
            ],
            json!({}),
        )
    };
    let go = |dockerfile: &str| build(usrmerged(), dockerfile, &files).map(|image| app(&image));
    assert_eq!(
        go("COPY a /lib/\n").unwrap(),
        [
            "usr 755 0:0 Directory",
            "usr/lib 755 0:0 Directory",
            "usr/lib/a 644 0:0 File(1 bytes)"
        ]
    );
    assert_eq!(go("COPY a /lib\n").unwrap()[2], "usr/lib/a 644 0:0 File(1 bytes)");
    assert_eq!(
        go("COPY tool /var/run/new/tool\n").unwrap(),
        [
            "run 711 0:0 Directory",
            "run/new 755 0:0 Directory",
            "run/new/tool 755 0:0 File(1 bytes)"
        ]
    );
    assert_eq!(
        go("COPY --chown=7:8 --chmod=0440 tree /\n").unwrap(),
        [
            "link 777 7:8 Symlink(\"lib/x\")",
            "tmp 440 7:8 Directory",
            "tmp/y 440 7:8 File(1 bytes)",
            "usr 755 0:0 Directory",
            "usr/lib 440 7:8 Directory",
            "usr/lib/x 440 7:8 File(1 bytes)",
        ]
    );
    assert_eq!(go("COPY tree/ /\n").unwrap()[1], "tmp 1777 0:0 Directory");
    // The destination itself may be a link to a file; the file it names is written.
    assert_eq!(go("COPY a /etc/link\n").unwrap()[1], "etc/old 644 0:0 File(1 bytes)");
    // A later COPY sees what an earlier one made, and replaces it.
    assert_eq!(
        go("COPY tree /t/\nCOPY a /t/lib/x\n").unwrap()[2],
        "t/lib/x 644 0:0 File(1 bytes)"
    );
    assert_eq!(go("COPY a tool /d/\n").unwrap().len(), 3);
    assert_eq!(go("COPY --chown=5 a /n/m/\n").unwrap()[0], "n 755 5:5 Directory");
    assert_eq!(go("WORKDIR /w\nCOPY a b\n").unwrap()[1], "w/b 644 0:0 File(1 bytes)");

    for (dockerfile, wanted) in [
        (
            "\nCOPY missing /x\n",
            "line 3: COPY missing: the build context has no such file",
        ),
        (
            "COPY --from=compile out/blog /x\n",
            "line 2: COPY --from=compile out/blog: there is no stage or build context `compile`",
        ),
        ("COPY a /etc/old/x\n", "etc/old"),
        (
            "COPY tree /etc/old\n",
            "cannot put a directory at /etc/old, which is a file",
        ),
        ("COPY a /x\nCOPY tree /x/y\n", "x"),
        ("COPY a /.wh.etc\n", ".wh."),
        (
            "ENTRYPOINT [\"/nope\"]\n",
            "ENTRYPOINT runs /nope, which the image does not have",
        ),
        ("COPY a /a\nCMD [\"/a\"]\n", "CMD runs /a, which is not executable"),
        ("ENTRYPOINT run\n", "ENTRYPOINT runs /bin/sh"),
        (
            "COPY tool /tool\nENTRYPOINT [\"/tool\"]\nHEALTHCHECK CMD x\n",
            "HEALTHCHECK runs /bin/sh",
        ),
    ] {
        let error = go(dockerfile).unwrap_err().to_string();
        assert!(error.contains(wanted), "{dockerfile}: {error}");
    }
}

#[test]
fn the_configuration_of_the_base_is_edited_not_replaced() {
    let config = json!({
        "architecture": "arm", "os": "linux", "variant": "v5", "created": "2001-01-01T00:00:00Z", "docker_version": "1",
        "config": {
            "Env": ["PATH=/bin", "A=1"], "Labels": {"a": "1", "b": "1"}, "ExposedPorts": {"1/tcp": {}}, "Volumes": null,
            "Cmd": ["base"], "User": "u", "Hostname": "h", "OnBuild": ["RUN x"], "StopSignal": "SIGINT",
        },
        "history": [{"created_by": "one"}, {"created_by": "two", "empty_layer": true}],
    });
    let with = |dockerfile: &str| {
        let files = MemoryFiles::default().with(None, "e", EntryKind::File(vec![1]), 0o755);
        build(
            base(vec![Entry::directory("d", 0o755)], config.clone()),
            dockerfile,
            &files,
        )
        .unwrap()
    };
    let image = with("ENV A=2 C=3\nLABEL b=2\nEXPOSE 2\nVOLUME /v\nCOPY e /e\nENTRYPOINT [\"/e\"]\n");
    let json = image.config_json();
    assert_eq!(
        json["config"],
        json!({
            "Env": ["PATH=/bin", "A=2", "C=3"], "Labels": {"a": "1", "b": "2"}, "ExposedPorts": {"1/tcp": {}, "2/tcp": {}},
            "Volumes": {"/v": {}}, "Entrypoint": ["/e"], "User": "u", "StopSignal": "SIGINT",
        })
    );
    assert_eq!(json["variant"], "v6");
    assert_eq!(json["created"], "2023-11-14T22:13:20Z");
    assert!(json.get("docker_version").is_none());
    assert_eq!(json["history"][0]["created_by"], "one");
    assert_eq!(json["history"][2]["created_by"], "COPY e /e");
    assert_eq!(json["rootfs"]["diff_ids"].as_array().unwrap().len(), 2);
    assert_eq!((image.base_layers().len(), image.app_layers().len()), (1, 1));
    // Nothing copied: no layer, and the base's CMD stays.
    let image = with("LABEL x=y\n");
    assert_eq!(
        (image.layers().len(), &image.config_json()["config"]["Cmd"]),
        (1, &json!(["base"]))
    );

    for (key, value, wanted) in [
        (
            "architecture",
            json!("amd64"),
            "is for linux/amd64, which does not run on linux/arm/v6",
        ),
        ("variant", json!("v7"), "linux/arm/v7"),
        ("variant", json!(null), "linux/arm/v7"),
        ("os", json!("windows"), "windows"),
        ("config", json!([1]), "malformed at `config`"),
        ("config", json!({"Env": [1]}), "malformed at `config.Env`"),
        ("config", json!({"Labels": "x"}), "malformed at `config.Labels`"),
    ] {
        let mut config = config.clone();
        config[key] = value;
        let base = base(vec![Entry::directory("d", 0o755)], config);
        let error = build(base, "LABEL a=b\n", &MemoryFiles::default())
            .unwrap_err()
            .to_string();
        assert!(error.contains(wanted), "{error}");
    }
}

#[test]
fn an_index_has_each_platform_once_and_in_order() {
    assert_eq!(ImageIndex::new(vec![]).unwrap_err(), IndexError::Empty);
    let twice = vec![sample(Platform::ArmV6), sample(Platform::ArmV6)];
    assert_eq!(ImageIndex::new(twice).unwrap_err(), IndexError::Twice(Platform::ArmV6));
    let index = ImageIndex::new(Platform::ALL.into_iter().rev().map(sample).collect()).unwrap();
    let order: Vec<Platform> = index.images().iter().map(Image::platform).collect();
    assert_eq!(order, Platform::ALL);
    let typed: oci_spec::image::ImageIndex = serde_json::from_slice(index.blob().bytes()).unwrap();
    assert_eq!(
        typed.manifests()[0].platform().as_ref().unwrap().variant().as_deref(),
        Some("v6")
    );
}

/// Something that is about an image: a manifest with one blob.
pub fn about(image: &Image, form: Form, text: &str) -> Attached {
    let blob = Blob::new(text.as_bytes().to_vec(), "application/vnd.in-toto+json");
    let config = Blob::new(b"{}".to_vec(), media::CONFIG);
    let mut document = json!({
        "schemaVersion": 2,
        "mediaType": media::MANIFEST,
        "config": config.descriptor(),
        "layers": [blob.descriptor()],
    });
    if form == Form::Referrer {
        document["artifactType"] = "application/vnd.in-toto+json".into();
        document["subject"] = image.manifest().descriptor();
    }
    let manifest = Blob::new(canonical_json(&document), media::MANIFEST);
    Attached::new(form, image.manifest().digest(), manifest, vec![blob, config]).unwrap()
}

#[test]
fn attestations_come_behind_all_images_and_referrers_not_at_all() {
    let images: Vec<Image> = [Platform::Arm64, Platform::ArmV6].map(sample).into();
    let attached = || {
        let mut all = vec![about(&images[1], Form::Referrer, "r")];
        all.extend(
            images
                .iter()
                .map(|image| about(image, Form::Attestation, &image.platform().to_string())),
        );
        all
    };
    let index = ImageIndex::with_attached(images.clone(), attached()).unwrap();
    let typed: oci_spec::image::ImageIndex = serde_json::from_slice(index.blob().bytes()).unwrap();
    let shown: Vec<String> = typed
        .manifests()
        .iter()
        .map(|entry| {
            let platform = entry.platform().as_ref().unwrap();
            let notes = entry.annotations().clone().unwrap_or_default();
            let about = notes.get("vnd.docker.reference.digest").cloned().unwrap_or_default();
            let kind = notes.get("vnd.docker.reference.type").cloned().unwrap_or_default();
            format!("{}/{} {kind} {about}", platform.os(), platform.architecture())
        })
        .collect();
    let digest = |at: usize| images[at].manifest().digest();
    assert_eq!(
        shown,
        [
            "linux/arm  ".to_owned(),
            "linux/arm64  ".to_owned(),
            format!("unknown/unknown attestation-manifest {}", digest(1)),
            format!("unknown/unknown attestation-manifest {}", digest(0)),
        ]
    );
    let mut turned = attached();
    turned.reverse();
    let again = ImageIndex::with_attached(images.iter().rev().cloned().collect(), turned).unwrap();
    assert_eq!(again.blob().digest(), index.blob().digest());
    let stray = about(&sample(Platform::Amd64), Form::Attestation, "x");
    let error = ImageIndex::with_attached(images, vec![stray]).unwrap_err();
    assert!(matches!(error, IndexError::Subject { subject, .. } if subject != Digest::of(b"")));
}
