//! What was pushed, as others see it: docker, podman and skopeo pull it, from registries with and without users and TLS.

use std::path::Path;

use serde_json::Value;
use xtask::http::Options;
use xtask::oci::image::Form;
use xtask::oci::pick::{Engine, Host, Offer, Said, pick};
use xtask::oci::{Digest, Image, ImageIndex, Reference};
use xtask::shell::{Command, Output, Shell};
use xtask::target::Platform;

use super::super::real::{Real, USERS, registry, user};
use super::{anonymous, text};
use crate::http::server::Certificates;
use crate::http::{cx, options};
use crate::oci::image::{about, sample};
use crate::require::{require, require_program};

/// One image for each platform, and an attestation for each.
fn index() -> ImageIndex {
    let images: Vec<Image> = Platform::ALL.map(sample).into();
    let attached = images
        .iter()
        .map(|image| about(image, Form::Attestation, &image.platform().to_string()));
    let attached = attached.collect();
    ImageIndex::with_attached(images, attached).unwrap()
}

fn output(command: Command) -> Output {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}\n{}", command.line(), output.error_text());
    output
}

fn skopeo(arguments: &[&str]) -> Command {
    Shell::new(false)
        .command("skopeo")
        .arg("--insecure-policy")
        .args(arguments)
}

/// podman with a storage of its own.
fn podman(dir: &Path, arguments: &[&str]) -> Command {
    let root = |name: &str| dir.join(name).display().to_string();
    Shell::new(false)
        .command("podman")
        .args([
            "--root",
            &root("root"),
            "--runroot",
            &root("runroot"),
            "--storage-driver",
            "vfs",
        ])
        .args(["--events-backend", "file", "--cgroup-manager", "cgroupfs"])
        .args(arguments)
        .env("TMPDIR", dir)
}

fn config(image: &Image) -> Value {
    image.config_json()
}

#[test]
fn docker_takes_the_right_image_for_each_platform() {
    let docker = Shell::new(false).which("docker").is_some_and(|_| {
        let version = Shell::new(false).command("docker").arg("version").output();
        version.is_ok_and(|output| output.status.success())
    });
    if !(require_program("docker-registry") && require("a Docker daemon", docker)) {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let real = Real::start(dir.path(), None, None);
    let cx = cx(&dir.path().join("cache"));
    let index = index();
    let to = real.reference("push-test/blog:1.0");
    anonymous().push_to(&cx, &to).index(&index).unwrap();
    let docker = |arguments: &[&str]| Shell::new(false).command("docker").args(arguments);
    let name = to.to_string();
    let offers: Vec<Offer> = index
        .images()
        .iter()
        .map(|image| {
            let said = serde_json::from_slice::<Said>(image.config().bytes()).unwrap();
            Offer {
                listed: Some(said),
                config: None,
            }
        })
        .collect();
    for image in index.images() {
        let platform = image.platform();
        output(docker(&["pull", "--quiet", "--platform", &platform.to_string(), &name]));
        let id = output(docker(&["image", "inspect", "--format", "{{.Id}}", &name])).text();
        output(docker(&["image", "rm", &name]));
        // What a graph-driver store calls an image is the digest of its configuration.
        assert_eq!(id.trim(), image.config().digest().to_string(), "{platform}");
    }
    // What it takes unasked is what `image resolve` says of this machine.
    if cfg!(target_arch = "x86_64") {
        output(docker(&["pull", "--quiet", &name]));
        let id = output(docker(&["image", "inspect", "--format", "{{.Id}}", &name])).text();
        output(docker(&["image", "rm", &name]));
        let taken = pick(Host::Pc, Engine::V20, &offers).unwrap();
        assert_eq!(id.trim(), index.images()[taken].config().digest().to_string());
    }
    // An index that lacks v6 gives a Pi Zero with 20.10 what it cannot run, and this engine shows it.
    let version = output(docker(&["version", "--format", "{{.Server.Version}}"])).text();
    if version.starts_with("20.10") {
        let v7 = ImageIndex::new(vec![sample(Platform::ArmV7), sample(Platform::Amd64)]).unwrap();
        let to = real.reference("push-test/blog:v7");
        anonymous().push_to(&cx, &to).index(&v7).unwrap();
        let pulled = docker(&["pull", "--quiet", "--platform", "linux/arm/v6", &to.to_string()])
            .output()
            .unwrap();
        let _ = docker(&["image", "rm", &to.to_string()]).output();
        let offers = ["v7", ""].map(|variant| Offer {
            listed: Some(Said {
                os: "linux".to_owned(),
                architecture: if variant.is_empty() { "amd64" } else { "arm" }.to_owned(),
                variant: variant.to_owned(),
            }),
            config: None,
        });
        assert_eq!(pick(Host::PiZero, Engine::V20, &offers), Some(0));
        // The fallback finds it; the check of the configuration that came with 20.10 then says what is wrong.
        let said = pulled.error_text();
        assert!(pulled.status.success() || said.contains("linux/arm/v7"), "{said}");
    }
}

#[test]
fn podman_and_skopeo_pull_from_a_registry_with_users_and_a_companys_certificate() {
    if !(require_program("docker-registry") && require_program("skopeo") && require_program("podman")) {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let certificates = Certificates::new();
    let real = Real::start(dir.path(), Some(&certificates), Some(USERS));
    let authority = dir.path().join("certs/ca.crt");
    std::fs::create_dir_all(authority.parent().unwrap()).unwrap();
    std::fs::write(&authority, &certificates.authority).unwrap();
    let certs = authority.parent().unwrap().display().to_string();
    let effects = cx(&dir.path().join("cache"));
    let index = index();
    let to = real.reference("a/b:1.0");
    let with = |roots: &str, secret: &str| {
        let options = Options {
            roots: Some(roots.as_bytes().to_vec()),
            ..options()
        };
        registry(options, user(&real.host, secret))
            .push_to(&effects, &to)
            .index(&index)
            .map_err(|error| text(&error))
    };
    let stranger = with(&Certificates::new().authority, "hunter2").unwrap_err();
    assert!(
        stranger.contains("does not trust") && !stranger.contains("hunter2"),
        "{stranger}"
    );
    let wrong = with(&certificates.authority, "wr0ng").unwrap_err();
    assert!(
        wrong.contains("does not let you push") && !wrong.contains("wr0ng"),
        "{wrong}"
    );
    with(&certificates.authority, "hunter2").unwrap();

    let name = format!("docker://{to}");
    let raw = output(skopeo(&[
        "inspect",
        "--raw",
        "--creds",
        "me:hunter2",
        "--cert-dir",
        &certs,
        &name,
    ]));
    assert_eq!(raw.stdout, index.blob().bytes());
    for image in index.images() {
        let platform = image.platform();
        let copy = dir.path().join(platform.slug()).display().to_string();
        let select = ["--override-os", "linux", "--override-arch", platform.architecture()];
        let select: Vec<&str> = match platform.variant() {
            Some(variant) => select.into_iter().chain(["--override-variant", variant]).collect(),
            None => select.into(),
        };
        let to = format!("oci:{copy}:x");
        let arguments = [
            "copy",
            "--quiet",
            "--src-creds",
            "me:hunter2",
            "--src-cert-dir",
            &certs,
            &name,
            &to,
        ];
        output(skopeo(&[&select[..], &arguments[..]].concat()));
        let found = output(skopeo(&["inspect", "--raw", &to]));
        assert_eq!(Digest::of(&found.stdout), image.manifest().digest(), "{platform}");
    }
    let pulled = index
        .images()
        .iter()
        .find(|image| image.platform() == Platform::ArmV6)
        .unwrap();
    let pull = [
        "pull",
        "--quiet",
        "--platform",
        "linux/arm/v6",
        "--creds",
        "me:hunter2",
        "--cert-dir",
        &certs,
    ];
    let id = output(podman(dir.path(), &[&pull[..], &[&to.to_string()]].concat())).text();
    assert_eq!(format!("sha256:{}", id.trim()), pulled.config().digest().to_string());
    let told = output(podman(dir.path(), &["image", "inspect", id.trim()])).text();
    let told: Value = serde_json::from_str(&told).unwrap();
    assert_eq!(told[0]["Labels"], config(pulled)["config"]["Labels"]);
    // vfs leaves files that only it may remove, where it runs as another user.
    output(podman(dir.path(), &["image", "rm", "--all"]));
}

#[test]
fn a_registry_that_is_read_only_says_so() {
    if !require_program("docker-registry") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let real = Real::start_with(
        dir.path(),
        None,
        None,
        "  maintenance:\n    readonly:\n      enabled: true\n",
    );
    let effects = cx(&dir.path().join("cache"));
    let to = real.reference("a/b:1.0");
    let image = sample(Platform::ArmV6);
    let error = text(&anonymous().push_to(&effects, &to).image(&image).unwrap_err());
    assert!(error.contains("it is read-only"), "{error}");
    // A name that the grammar refuses never gets there; one that this registry refuses is said in its words.
    assert!(
        format!("{}/{}", real.host, "a".repeat(256))
            .parse::<Reference>()
            .is_err()
    );
}
