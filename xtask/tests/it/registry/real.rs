//! Debian's docker-registry, filled by skopeo: plain, with users, and with TLS.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use xtask::http::{Client, Options, Secret};
use xtask::oci::layer::Limits;
use xtask::oci::{Digest, Reference, media};
use xtask::registry::{Places, Pulled, Registry, Variants};
use xtask::shell::{Running, Shell};
use xtask::target::Platform;

use super::content::{Content, tar};
use super::text;
use crate::http::server::{Certificates, Waits};
use crate::http::{cx, options};
use crate::require::require_program;

/// A running docker-registry.
pub struct Real {
    _process: Running,
    pub host: String,
}

impl Real {
    /// Starts one on a free port; `more` is YAML for below `http:` and for `auth:`.
    pub fn start(dir: &Path, tls: Option<&Certificates>, users: Option<&str>) -> Self {
        Real::start_with(dir, tls, users, "")
    }

    /// The same with more YAML for below `storage:`.
    pub fn start_with(dir: &Path, tls: Option<&Certificates>, users: Option<&str>, storage: &str) -> Self {
        // The port is free now; who takes it in between makes the start fail, and another is tried.
        for _ in 0..5 {
            let port = std::net::TcpListener::bind("127.0.0.1:0")
                .unwrap()
                .local_addr()
                .unwrap()
                .port();
            let mut config = format!(
                "version: 0.1\nlog:\n  level: error\nstorage:\n  filesystem:\n    rootdirectory: {}\n{storage}http:\n  addr: 127.0.0.1:{port}\n",
                dir.join("storage").display()
            );
            if let Some(certificates) = tls {
                std::fs::write(dir.join("cert.pem"), &certificates.certificate).unwrap();
                std::fs::write(dir.join("key.pem"), &certificates.key).unwrap();
                let (cert, key) = (dir.join("cert.pem"), dir.join("key.pem"));
                config += &format!(
                    "  tls:\n    certificate: {}\n    key: {}\n",
                    cert.display(),
                    key.display()
                );
            }
            if let Some(users) = users {
                std::fs::write(dir.join("users"), users).unwrap();
                let file = dir.join("users");
                config += &format!(
                    "auth:\n  htpasswd:\n    realm: a registry, of a test\n    path: {}\n",
                    file.display()
                );
            }
            let file = dir.join("config.yml");
            std::fs::write(&file, config).unwrap();
            let command = Shell::new(false).command("docker-registry").arg("serve").arg(&file);
            let mut process = command.spawn(Stdio::null(), Stdio::null()).unwrap();
            let end = Instant::now() + Duration::from_secs(20);
            while Instant::now() < end && process.try_wait().unwrap().is_none() {
                if std::net::TcpStream::connect(("127.0.0.1", port)).is_ok() {
                    return Real {
                        _process: process,
                        host: format!("127.0.0.1:{port}"),
                    };
                }
                std::thread::sleep(Duration::from_millis(20));
            }
        }
        panic!("docker-registry does not start");
    }

    pub fn reference(&self, rest: &str) -> Reference {
        format!("{}/{rest}", self.host).parse().unwrap()
    }
}

/// Content with an index, put there by skopeo as it is. Returns the digest of the index.
fn fill(dir: &Path, real: &Real, credentials: Option<&str>) -> (Content, Digest) {
    let mut content = Content::default();
    let mut images = Vec::new();
    for platform in ["linux/arm/v6", "linux/arm/v7"] {
        let layers = [
            (tar("big", &crate::http::noise(200_000)), media::LAYER_GZIP),
            (tar("etc/platform", platform.as_bytes()), media::LAYER_ZSTD),
        ];
        images.push((content.image(platform, &layers), platform));
    }
    let index = content.index(&images);
    let layout: PathBuf = dir.join("layout");
    content.write_layout(&layout, index);
    let mut command = Shell::new(false).command("skopeo").args([
        "copy",
        "--quiet",
        "--insecure-policy",
        "--all",
        "--preserve-digests",
        "--dest-tls-verify=false",
    ]);
    if let Some(credentials) = credentials {
        command = command.args(["--dest-creds", credentials]);
    }
    let to = format!("docker://{}/a/b:tag", real.host);
    command.arg(format!("oci:{}", layout.display())).arg(to).read().unwrap();
    (content, index)
}

fn check(pulled: &Pulled, content: &Content, index: Digest) {
    assert_eq!(pulled.resolved.index, Some(index));
    assert_eq!(pulled.resolved.listed.as_deref(), Some("linux/arm/v6"));
    let base = pulled.to_base(&Limits::default()).unwrap();
    assert_eq!(base.layers.len(), 2);
    for layer in &base.layers {
        assert!(layer.blob()[..] == content.blobs[&layer.digest()][..]);
    }
}

pub fn registry(options: Options, places: Places) -> Registry {
    Registry::new(Client::new(options, Waits::new()), places, [])
}

pub fn user(host: &str, password: &str) -> Places {
    Places {
        environment: Some((host.to_owned(), "me".to_owned(), Secret::new(password))),
        files: Vec::new(),
    }
}

/// me:hunter2, with bcrypt, which is all that docker-registry reads.
pub const USERS: &str = "me:$2b$05$abcdefghijklmnopqrstuuoXuKqgZXLiJqzfmMXDDhSFPIvxV7t8.\n";

#[test]
fn debians_registry_serves_what_skopeo_put_there() {
    if !(require_program("docker-registry") && require_program("skopeo")) {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let real = Real::start(dir.path(), None, None);
    let (content, index) = fill(dir.path(), &real, None);
    let cx = cx(&dir.path().join("cache"));
    let registry = registry(options(), Places::default());
    let pulled = registry
        .pull(&cx, &real.reference("a/b:tag"), Platform::ArmV6, Variants::Exact)
        .unwrap();
    check(&pulled, &content, index);
    let error = registry
        .pull(&cx, &real.reference("a/b:other"), Platform::ArmV6, Variants::Exact)
        .unwrap_err();
    assert!(
        text(&error).contains("MANIFEST_UNKNOWN, manifest unknown"),
        "{}",
        text(&error)
    );
    let error = registry
        .pull(&cx, &real.reference("a/b:tag"), Platform::Arm64, Variants::Exact)
        .unwrap_err();
    assert!(
        text(&error).contains("there are: linux/arm/v6, linux/arm/v7"),
        "{}",
        text(&error)
    );
}

#[test]
fn debians_registry_wants_a_password() {
    if !(require_program("docker-registry") && require_program("skopeo")) {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let real = Real::start(dir.path(), None, Some(USERS));
    let (content, index) = fill(dir.path(), &real, Some("me:hunter2"));
    let cx = cx(&dir.path().join("cache"));
    let reference = real.reference("a/b:tag");
    let pull = |places| registry(options(), places).pull(&cx, &reference, Platform::ArmV6, Variants::Exact);
    let error = text(&pull(Places::default()).unwrap_err());
    assert!(
        error.contains("is refused") && error.contains("docker login"),
        "{error}"
    );
    let error = text(&pull(user(&real.host, "wr0ng")).unwrap_err());
    assert!(error.contains("is refused") && !error.contains("wr0ng"), "{error}");
    check(&pull(user(&real.host, "hunter2")).unwrap(), &content, index);
}

#[test]
fn debians_registry_with_a_companys_certificate() {
    if !(require_program("docker-registry") && require_program("skopeo")) {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let certificates = Certificates::new();
    let real = Real::start(dir.path(), Some(&certificates), Some(USERS));
    let (content, index) = fill(dir.path(), &real, Some("me:hunter2"));
    let cx = cx(&dir.path().join("cache"));
    let pull = |roots: &str| {
        let options = Options {
            roots: Some(roots.as_bytes().to_vec()),
            ..options()
        };
        let places = user(&real.host, "hunter2");
        registry(options, places).pull(&cx, &real.reference("a/b:tag"), Platform::ArmV6, Variants::Exact)
    };
    let error = text(&pull(&Certificates::new().authority).unwrap_err());
    assert!(
        error.contains("signed by an authority that this machine does not trust"),
        "{error}"
    );
    assert!(error.contains("SSL_CERT_FILE"), "{error}");
    check(&pull(&certificates.authority).unwrap(), &content, index);
}
