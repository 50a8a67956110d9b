//! Alpine's archive as a stand-in on loopback: what a good one gives, what a bad one gets, and what the lock keeps.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex};

use sha2::Digest as _;
use xtask::base::chain::{self, Request};
use xtask::base::found::{Found, Want};
use xtask::base::lock::{Entry as Locked, Lock};
use xtask::base::{alpine, catalogue};
use xtask::cache::{Cache, hex};
use xtask::cx::Cx;
use xtask::error::Error;
use xtask::oci::layer::{Entry, write_tar};
use xtask::policy::{BasePolicies, Policy};
use xtask::shell::Shell;
use xtask::target::{Base, Platform};
use xtask::ui::{Ui, Verbosity};

use crate::http::server::{Fault, Reply, Server};

pub fn fixture(name: &str) -> Vec<u8> {
    fs::read(
        Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("tests/fixtures/elf")
            .join(name),
    )
    .unwrap()
}

/// A root file system in Alpine's shape, as a tar. `library` is an ELF file for the platform.
pub fn root(version: &str, library: &[u8]) -> Vec<u8> {
    let installed = "C:Q1x=\nP:musl\nV:1.2.5-r21\nA:armhf\nF:lib\nR:ld-musl-armhf.so.1\n\nP:alpine-release\nV:3.24-r0\n\
                     A:armhf\nF:etc\nR:alpine-release\n";
    let loader = [library, b"musl libc (armhf)\nVersion %s\0"].concat();
    let entries = [
        Entry::directory("etc", 0o755),
        Entry::file("etc/alpine-release", format!("{version}\n"), 0o644),
        Entry::directory("lib", 0o755),
        Entry::directory("lib/apk", 0o755),
        Entry::directory("lib/apk/db", 0o755),
        Entry::file("lib/apk/db/installed", installed, 0o644),
        Entry::file("lib/ld-musl-armhf.so.1", loader, 0o755),
        Entry::symlink("lib/libc.musl-armhf.so.1", "ld-musl-armhf.so.1"),
        Entry::directory("tmp", 0o1777),
    ];
    write_tar(&entries, Vec::new()).unwrap()
}

/// The same, not compressed as this program would.
pub fn minirootfs(version: &str, library: &[u8]) -> Vec<u8> {
    let tar = root(version, library);
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut gzip, &tar).unwrap();
    gzip.finish().unwrap()
}

/// The release file that names this archive.
fn releases(version: &str, architecture: &str, date: &str, archive: &[u8]) -> String {
    format!(
        "---\n-\n  title: \"Mini root filesystem\"\n  desc: |\n        Minimal root filesystem.\n  branch: v3.24\n  \
         arch: {architecture}\n  version: {version}\n  flavor: alpine-minirootfs\n  \
         file: alpine-minirootfs-{version}-{architecture}.tar.gz\n  date: {date}\n  size: {}\n  sha256: {}\n  sha512: {}\n",
        archive.len(),
        hex(&sha2::Sha256::digest(archive)),
        hex(&sha2::Sha512::digest(archive)),
    )
}

/// A mirror with `v3.24` for one architecture.
pub struct Mirror {
    files: Arc<Mutex<BTreeMap<String, Vec<u8>>>>,
    server: Server,
    architecture: &'static str,
}

impl Mirror {
    pub fn new(architecture: &'static str) -> Self {
        let files: Arc<Mutex<BTreeMap<String, Vec<u8>>>> = Arc::default();
        let served = Arc::clone(&files);
        let server = Server::start(move |seen| match served.lock().unwrap().get(&seen.target) {
            Some(bytes) => Reply::ranged(seen, bytes),
            None => Reply::new(404, "not here"),
        });
        Mirror {
            files,
            server,
            architecture,
        }
    }

    pub fn url(&self) -> String {
        self.server.url("/alpine")
    }

    fn path(&self, name: &str) -> String {
        format!("/alpine/v3.24/releases/{}/{name}", self.architecture)
    }

    pub fn put(&self, name: &str, bytes: impl Into<Vec<u8>>) {
        self.files.lock().unwrap().insert(self.path(name), bytes.into());
    }

    fn remove(&self, name: &str) {
        self.files.lock().unwrap().remove(&self.path(name)).unwrap();
    }

    /// Makes this archive the newest release.
    pub fn release(&self, version: &str, date: &str, archive: &[u8]) {
        self.put(
            "latest-releases.yaml",
            releases(version, self.architecture, date, archive),
        );
        self.put(
            &format!("alpine-minirootfs-{version}-{}.tar.gz", self.architecture),
            archive,
        );
    }
}

pub fn cx(root: &Path, offline: bool) -> Cx {
    Cx {
        shell: Shell::default(),
        ui: Ui::new(Verbosity::Quiet),
        cache: Cache::at(root.join("cache")),
        root: root.to_owned(),
        offline,
    }
}

pub fn policies() -> BasePolicies {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../xtask.toml");
    Policy::parse(&fs::read_to_string(path).unwrap()).unwrap().base
}

fn get(cx: &Cx, mirror: &str, want: Want<'_>) -> Result<Found, Error> {
    alpine::minirootfs(cx, mirror, "v3.24", Platform::ArmV6, want)
}

#[test]
fn the_archive_becomes_the_layer_and_needs_no_network_the_second_time() {
    let mirror = Mirror::new("armhf");
    let archive = minirootfs("3.24.1", &fixture("v6-library"));
    mirror.release("3.24.1", "2026-08-20", &archive);
    let dir = tempfile::tempdir().unwrap();
    let found = get(&cx(dir.path(), false), &mirror.url(), Want::Last).unwrap();
    assert_eq!(found.layers.len(), 1);
    assert_eq!(found.layers[0].blob()[..], archive[..], "byte for byte");
    assert_eq!(found.origin, "Alpine 3.24.1 armhf minirootfs");
    assert_eq!(found.date, "2026-08-20");
    assert_eq!(found.owners["lib/ld-musl-armhf.so.1"], "musl");
    let packages: Vec<&str> = found.packages.iter().map(|package| package.name.as_str()).collect();
    assert_eq!(packages, ["alpine-release", "musl"]);
    assert_eq!(found.config["config"]["Cmd"][0], "/bin/sh");
    assert_eq!(
        found.inputs[0].digest,
        format!("sha512:{}", hex(&sha2::Sha512::digest(&archive)))
    );

    let asked = mirror.server.seen().len();
    assert_eq!(asked, 2, "the release file and the archive");
    let offline = cx(dir.path(), true);
    for want in [Want::Last, Want::Locked(&found.inputs)] {
        let again = get(&offline, &mirror.url(), want).unwrap();
        assert_eq!(again.layers[0].digest(), found.layers[0].digest());
    }
    assert_eq!(mirror.server.seen().len(), asked);
    let error = get(&offline, &mirror.url(), Want::Newest).unwrap_err();
    assert!(error.to_string().contains("offline"), "{error}");
}

#[test]
fn a_mirror_that_is_wrong_is_refused_and_leaves_nothing() {
    let archive = minirootfs("3.24.1", &fixture("v6-library"));
    let name = "alpine-minirootfs-3.24.1-armhf.tar.gz";
    let refused = |damage: &dyn Fn(&Mirror), words: &[&str]| {
        let mirror = Mirror::new("armhf");
        mirror.release("3.24.1", "2026-08-20", &archive);
        damage(&mirror);
        let dir = tempfile::tempdir().unwrap();
        let error = get(&cx(dir.path(), false), &mirror.url(), Want::Last).unwrap_err();
        let text = format!("{error} | {}", error.next_step().unwrap_or_default());
        for word in words {
            assert!(text.contains(word), "{word}: {text}");
        }
        let kept = fs::read_dir(dir.path().join("cache/sha256")).map_or(0, Iterator::count);
        assert_eq!(kept, 0, "{text}");
    };
    // Other bytes of the same length, fewer, and none.
    let mut swapped = archive.clone();
    *swapped.last_mut().unwrap() ^= 1;
    refused(&|mirror| mirror.put(name, swapped.clone()), &["sha512", name]);
    refused(&|mirror| mirror.put(name, &archive[..100]), &[name]);
    refused(
        &|mirror| mirror.remove(name),
        &["404", "cargo xtask base update alpine"],
    );
    refused(
        &|mirror| mirror.remove("latest-releases.yaml"),
        &["404", "has the mirror v3.24 for armhf", "XTASK_ALPINE_MIRROR"],
    );
    refused(
        &|mirror| mirror.put("latest-releases.yaml", "<html>welcome to the hotel</html>"),
        &["names no alpine-minirootfs for armhf", "is it a mirror of Alpine?"],
    );
    // A release of another architecture in the place of this one.
    refused(
        &|mirror| {
            mirror.put(
                "latest-releases.yaml",
                releases("3.24.1", "armv7", "2026-08-20", &archive),
            )
        },
        &["names no alpine-minirootfs for armhf"],
    );
}

#[test]
fn a_download_that_breaks_off_is_gone_on_with() {
    let archive = minirootfs("3.24.1", &fixture("v6-library"));
    let text = releases("3.24.1", "armhf", "2026-08-20", &archive);
    let whole = archive.clone();
    let server = Server::start(move |seen| match seen.target.ends_with(".yaml") {
        true => Reply::new(200, text.clone()),
        false if seen.range().is_none() => Reply::ranged(seen, &whole).fault(Fault::Close(500)),
        false => Reply::ranged(seen, &whole),
    });
    let dir = tempfile::tempdir().unwrap();
    let found = get(&cx(dir.path(), false), &server.url(""), Want::Last).unwrap();
    assert_eq!(found.layers[0].blob()[..], archive[..]);
    assert_eq!(server.seen().last().unwrap().range(), Some(500));
}

/// A workspace as far as bases are concerned.
fn workspace(root: &Path, mirrors: &[(&str, &str)]) {
    fs::create_dir_all(root.join("docker")).unwrap();
    let sources: String = mirrors
        .iter()
        .map(|(mirror, branch)| {
            format!("[[alpine.source]]\nkind = \"minirootfs\"\nmirror = \"{mirror}\"\nbranch = \"{branch}\"\n")
        })
        .collect();
    fs::write(root.join(catalogue::FILE), sources).unwrap();
}

fn lock(root: &Path, found: &Found) {
    let mut lock = Lock::default();
    lock.set(Locked::of(Base::Alpine, Platform::ArmV6, "minirootfs v3.24", found));
    fs::write(root.join(xtask::base::lock::FILE), lock.render()).unwrap();
}

pub const REQUEST: Request<'static> = Request {
    base: Base::Alpine,
    platform: Platform::ArmV6,
    with: &[],
    debian_mirror: None,
    refresh: false,
};

#[test]
fn what_is_locked_stays_when_the_mirror_moves_on() {
    let mirror = Mirror::new("armhf");
    let old = minirootfs("3.24.1", &fixture("v6-library"));
    mirror.release("3.24.1", "2026-08-20", &old);
    let dir = tempfile::tempdir().unwrap();
    workspace(dir.path(), &[(&mirror.url(), "v3.24")]);
    let found = get(&cx(dir.path(), false), &mirror.url(), Want::Newest).unwrap();
    lock(dir.path(), &found);
    let digest = found.layers[0].digest();

    // A day later, with another cache.
    mirror.release("3.24.2", "2026-08-21", &minirootfs("3.24.2", &fixture("v6-library")));
    fs::remove_dir_all(dir.path().join("cache")).unwrap();
    let policies = policies();
    let online = cx(dir.path(), false);
    let resolved = xtask::base::resolve(&online, &policies, &REQUEST).unwrap();
    assert_eq!(resolved.image.layers[0].digest(), digest);
    let before = fs::read(dir.path().join(xtask::base::lock::FILE)).unwrap();
    let newest = Request {
        refresh: true,
        ..REQUEST
    };
    let resolved = xtask::base::resolve(&online, &policies, &newest).unwrap();
    assert_eq!(resolved.image.origin, "Alpine 3.24.2 armhf minirootfs");
    assert_eq!(
        fs::read(dir.path().join(xtask::base::lock::FILE)).unwrap(),
        before,
        "a build writes no lock"
    );

    // The mirror deletes what was locked: the cache still has it; without the cache it is said plainly.
    mirror.remove("alpine-minirootfs-3.24.1-armhf.tar.gz");
    xtask::base::resolve(&cx(dir.path(), true), &policies, &REQUEST).unwrap();
    fs::remove_dir_all(dir.path().join("cache")).unwrap();
    let error = xtask::base::resolve(&cx(dir.path(), false), &policies, &REQUEST).unwrap_err();
    assert!(
        error.to_string().contains("3.24.1") && error.to_string().contains("404"),
        "{error}"
    );
    assert!(
        error.next_step().unwrap().contains("cargo xtask base update alpine"),
        "{error}"
    );
}

#[test]
fn a_layer_that_is_not_the_locked_one_is_refused() {
    let mirror = Mirror::new("armhf");
    mirror.release("3.24.1", "2026-08-20", &minirootfs("3.24.1", &fixture("v6-library")));
    let dir = tempfile::tempdir().unwrap();
    workspace(dir.path(), &[(&mirror.url(), "v3.24")]);
    let found = get(&cx(dir.path(), false), &mirror.url(), Want::Newest).unwrap();
    lock(dir.path(), &found);
    let path = dir.path().join(xtask::base::lock::FILE);
    let text = fs::read_to_string(&path).unwrap();
    let diff_id = found.layers[0].diff_id().hex();
    fs::write(&path, text.replace(&diff_id, &"0".repeat(64))).unwrap();
    let error = xtask::base::resolve(&cx(dir.path(), false), &policies(), &REQUEST).unwrap_err();
    assert!(
        error.to_string().contains("is not what docker/bases.lock says"),
        "{error}"
    );
    assert!(
        error.next_step().unwrap().contains("cargo xtask base update alpine"),
        "{error}"
    );

    fs::write(&path, &text[..text.len() - 20]).unwrap();
    let error = xtask::base::resolve(&cx(dir.path(), false), &policies(), &REQUEST).unwrap_err();
    assert!(error.to_string().starts_with("docker/bases.lock: "), "{error}");
    assert!(
        error.next_step().unwrap().contains("git checkout docker/bases.lock"),
        "{error}"
    );
}

#[test]
fn the_first_source_that_works_is_taken_and_all_are_named_when_none_does() {
    let good = Mirror::new("armhf");
    good.release("3.24.1", "2026-08-20", &minirootfs("3.24.1", &fixture("v6-library")));
    let dir = tempfile::tempdir().unwrap();
    workspace(dir.path(), &[(&good.url(), "v3.99"), (&good.url(), "v3.24")]);
    let policies = policies();
    let online = cx(dir.path(), false);
    let sources = chain::catalogue(&online).unwrap();
    let sources = sources.sources(Base::Alpine);
    let (source, found, failures) = chain::first_of(&online, &policies, &REQUEST, sources, Want::Last).unwrap();
    assert_eq!(source.to_string(), "minirootfs v3.24");
    assert_eq!(failures.len(), 1);
    assert!(failures[0].source == "minirootfs v3.99" && failures[0].error.to_string().contains("404"));
    xtask::base::resolve(&online, &policies, &REQUEST).unwrap();

    workspace(dir.path(), &[(&good.url(), "v3.99"), (&good.url(), "v3.98")]);
    let error = xtask::base::resolve(&online, &policies, &REQUEST).unwrap_err();
    let text = error.to_string();
    assert!(
        text.contains("minirootfs v3.99 (") && text.contains("minirootfs v3.98 ("),
        "{text}"
    );
    let hint = error.next_step().unwrap();
    assert!(
        hint.contains("XTASK_ALPINE_MIRROR") && hint.contains("--base-image"),
        "{hint}"
    );

    // What is locked is not replaced by a source that happens to answer.
    lock(dir.path(), &found);
    workspace(dir.path(), &[(&good.url(), "v3.24")]);
    good.remove("alpine-minirootfs-3.24.1-armhf.tar.gz");
    fs::remove_dir_all(dir.path().join("cache")).unwrap();
    let other = "[[alpine.source]]\nkind = \"minirootfs\"\nmirror = \"http://127.0.0.1:9\"\nbranch = \"edge\"\n";
    let path = dir.path().join(catalogue::FILE);
    fs::write(&path, format!("{other}{}", fs::read_to_string(&path).unwrap())).unwrap();
    let error = xtask::base::resolve(&online, &policies, &REQUEST).unwrap_err();
    assert!(!error.to_string().contains("edge"), "{error}");
    assert!(error.to_string().contains("as docker/bases.lock has it"), "{error}");
}
