//! Raspbian's archive as a stand-in on loopback, with a key like Raspbian's: one that vouches for itself with SHA-1.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::sync::{Arc, Mutex};

use sha2::Digest as _;
use tempfile::TempDir;
use xtask::base::exclude::Excludes;
use xtask::base::found::{Found, Want};
use xtask::base::lock::day_number;
use xtask::base::raspbian::{self, Source};
use xtask::cache::{Cache, hex};
use xtask::cx::Cx;
use xtask::error::Error;
use xtask::oci::layer::{Entry, EntryKind, Limits, write_tar};
use xtask::policy::{Policy, RaspbianPolicy};
use xtask::shell::{Command, Shell};
use xtask::ui::{Ui, Verbosity};

use crate::base_alpine::fixture;
use crate::http::server::{Reply, Server};
use crate::require::require_program;

type Files = Arc<Mutex<BTreeMap<String, Vec<u8>>>>;

/// A key of somebody's, in a home of its own.
struct Key {
    home: TempDir,
    fingerprint: String,
}

impl Key {
    /// A key whose signatures of itself are SHA-1, as Raspbian's of 2012 are.
    fn new(name: &str) -> Key {
        let home = tempfile::tempdir().unwrap();
        let mut key = Key {
            home,
            fingerprint: String::new(),
        };
        key.gpg()
            .args([
                "--cert-digest-algo",
                "SHA1",
                "--allow-weak-key-signatures",
                "--quick-gen-key",
            ])
            .args([name, "rsa2048", "sign", "never"])
            .read()
            .unwrap();
        let listed = key.gpg().args(["--with-colons", "--list-keys"]).read().unwrap();
        let fingerprint = listed
            .lines()
            .find_map(|line| line.strip_prefix("fpr:::::::::"))
            .unwrap();
        key.fingerprint = fingerprint.trim_end_matches(':').to_owned();
        key
    }

    fn gpg(&self) -> Command {
        Shell::default()
            .command("gpg")
            .args([
                "--batch",
                "--quiet",
                "--yes",
                "--pinentry-mode",
                "loopback",
                "--passphrase",
                "",
                "--homedir",
            ])
            .arg(self.home.path())
    }

    fn public(&self) -> Vec<u8> {
        self.gpg().args(["--armor", "--export"]).output().unwrap().stdout
    }

    fn sign(&self, text: &str, digest: &str) -> Vec<u8> {
        let output = self
            .gpg()
            .args(["--digest-algo", digest, "--clearsign", "--output", "-"])
            .stdin_bytes(text)
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", output.error_text());
        output.stdout
    }
}

impl Drop for Key {
    /// The agent that gpg started goes with its directory.
    fn drop(&mut self) {
        let _ = Shell::default()
            .command("gpgconf")
            .arg("--homedir")
            .arg(self.home.path())
            .args(["--kill", "all"])
            .output();
    }
}

/// A package of one file list.
fn deb(control: &str, entries: &[Entry]) -> Vec<u8> {
    let gzip = |tar: Vec<u8>| {
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(&tar).unwrap();
        gzip.finish().unwrap()
    };
    let control = write_tar(&[Entry::file("control", control, 0o644)], Vec::new()).unwrap();
    let data = write_tar(entries, Vec::new()).unwrap();
    packed(&gzip(control), &gzip(data))
}

fn packed(control: &[u8], data: &[u8]) -> Vec<u8> {
    let mut archive = ar::Builder::new(Vec::new());
    for (name, bytes) in [
        ("debian-binary", &b"2.0\n"[..]),
        ("control.tar.gz", control),
        ("data.tar.gz", data),
    ] {
        let header = ar::Header::new(name.as_bytes().to_vec(), bytes.len() as u64);
        archive.append(&header, bytes).unwrap();
    }
    archive.into_inner().unwrap()
}

/// An archive with the three packages that the base wants, and two that it leaves out.
struct Mirror {
    files: Files,
    server: Server,
    key: Key,
    architecture: &'static str,
    dates: String,
    debs: BTreeMap<&'static str, (String, Vec<u8>)>,
}

impl Mirror {
    fn new() -> Mirror {
        let files: Files = Arc::default();
        let served = Arc::clone(&files);
        let server = Server::start(move |seen| match served.lock().unwrap().get(&seen.target) {
            Some(bytes) => Reply::ranged(seen, bytes),
            None => Reply::new(404, "not here"),
        });
        let mut mirror = Mirror {
            files,
            server,
            key: Key::new("Raspbian of this test <x@mirror.example>"),
            architecture: "armhf",
            dates: "Date: Sat, 12 Sep 2026 07:55:41 UTC\n".to_owned(),
            debs: BTreeMap::new(),
        };
        mirror.package(
            "base-files",
            "13.8+rpi1",
            "Pre-Depends: awk\n",
            &[
                Entry::directory("usr", 0o755),
                Entry::directory("usr/lib", 0o755),
                Entry::symlink("lib", "usr/lib"),
                Entry::directory("etc", 0o755),
                Entry::file("etc/os-release", "ID=raspbian\n", 0o644),
            ],
        );
        mirror.package("mawk", "1.3", "Provides: awk\n", &[Entry::file("mawk", "", 0o755)]);
        mirror.package(
            "libc6",
            "2.41-12+rpi1",
            "Depends: libgcc-s1\n",
            &[Entry::file("lib/ld-linux-armhf.so.3", fixture("v6-library"), 0o755)],
        );
        mirror.package("libgcc-s1", "14.2.0-19+rpi1", "Depends: libc6 (>= 2.35)\n", &[]);
        mirror.package("unwanted", "1", "", &[]);
        mirror.release("SHA512");
        mirror
    }

    fn url(&self) -> String {
        self.server.url("/raspbian")
    }

    fn put(&self, path: &str, bytes: impl Into<Vec<u8>>) {
        self.files.lock().unwrap().insert(path.to_owned(), bytes.into());
    }

    fn package(&mut self, name: &'static str, version: &str, more: &str, entries: &[Entry]) {
        let control = format!("Package: {name}\nVersion: {version}\nArchitecture: armhf\n{more}");
        let bytes = deb(&control, entries);
        self.raw(name, version, &control, bytes);
    }

    fn raw(&mut self, name: &'static str, version: &str, control: &str, bytes: Vec<u8>) {
        let file = format!("pool/main/{name}_{version}_armhf.deb");
        self.put(&format!("/raspbian/{file}"), bytes.clone());
        let stanza = format!(
            "{control}Filename: {file}\nSize: {}\nSHA256: {}\n",
            bytes.len(),
            hex(&sha2::Sha256::digest(&bytes))
        );
        self.debs.insert(name, (stanza, bytes));
    }

    fn packages(&self) -> String {
        let stanzas: Vec<&str> = self.debs.values().map(|(stanza, _)| stanza.as_str()).collect();
        stanzas.join("\n")
    }

    /// Writes and signs the indexes anew.
    fn release(&self, digest: &str) {
        let packages = self.packages();
        let index = format!("main/binary-{}/Packages", self.architecture);
        let release = format!(
            "Origin: Raspbian\nSuite: stable\nCodename: trixie\n{}Architectures: {}\nComponents: main\nSHA256:\n {} {} {index}\n",
            self.dates,
            self.architecture,
            hex(&sha2::Sha256::digest(&packages)),
            packages.len(),
        );
        self.put(&format!("/raspbian/dists/trixie/{index}"), packages);
        self.put("/raspbian/dists/trixie/InRelease", self.key.sign(&release, digest));
        self.put("/raspbian.public.key", self.key.public());
    }
}

fn policy(mirror: &Mirror) -> RaspbianPolicy {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../xtask.toml")).unwrap();
    RaspbianPolicy {
        key: mirror.key.fingerprint.clone(),
        ..Policy::parse(&text).unwrap().base.raspbian
    }
}

fn cx(cache: &Path, offline: bool) -> Cx {
    Cx {
        shell: Shell::default(),
        ui: Ui::new(Verbosity::Quiet),
        cache: Cache::at(cache),
        root: Path::new(env!("CARGO_MANIFEST_DIR")).join(".."),
        offline,
    }
}

fn give(cx: &Cx, mirror: &Mirror, policy: &RaspbianPolicy, want: Want<'_>) -> Result<Found, Error> {
    let source = Source {
        mirrors: &[mirror.url()],
        excludes: &Excludes::default(),
        today: day_number("2026-09-20").unwrap(),
    };
    raspbian::archive(cx, &source, policy, want)
}

fn refused(mirror: &Mirror, policy: &RaspbianPolicy) -> Error {
    let cache = tempfile::tempdir().unwrap();
    let error = give(&cx(cache.path(), false), mirror, policy, Want::Last).unwrap_err();
    assert!(error.next_step().is_some(), "{error}: no next step");
    error
}

fn can_sign() -> bool {
    require_program("gpg") && require_program("gpgv")
}

#[test]
fn a_key_that_vouches_for_itself_with_sha1_is_trusted_by_its_fingerprint() {
    if !can_sign() {
        return;
    }
    let mirror = Mirror::new();
    // The key is of the kind in question: digest algorithm 2 in its own signature.
    let listed = mirror.key.gpg().args(["--export"]).output().unwrap().stdout;
    let listed = mirror
        .key
        .gpg()
        .arg("--list-packets")
        .stdin_bytes(listed)
        .read()
        .unwrap();
    assert!(listed.contains("digest algo 2,"), "{listed}");

    let (policy, cache) = (policy(&mirror), tempfile::tempdir().unwrap());
    let found = give(&cx(cache.path(), false), &mirror, &policy, Want::Last).unwrap();
    let names: Vec<&str> = found.packages.iter().map(|package| package.name.as_str()).collect();
    assert_eq!(
        names,
        ["base-files", "libc6", "libgcc-s1"],
        "what is omitted and unwanted stays out"
    );
    assert_eq!(found.origin, "Raspbian trixie armhf, 3 packages");
    assert_eq!(
        (found.date.as_str(), found.glibc.as_deref()),
        ("2026-09-12", Some("2.41"))
    );
    let entries = found.layers[0].entries(&Limits::default()).unwrap();
    let loader = entries
        .iter()
        .find(|entry| entry.path == "usr/lib/ld-linux-armhf.so.3")
        .unwrap();
    assert_eq!(
        loader.kind,
        EntryKind::File(fixture("v6-library")),
        "through the merged /usr"
    );
    assert_eq!(found.owners["usr/lib/ld-linux-armhf.so.3"], "libc6");

    // Locked, offline, and with a mirror that has nothing any more: the same.
    mirror.files.lock().unwrap().clear();
    let again = give(&cx(cache.path(), true), &mirror, &policy, Want::Locked(&found.inputs)).unwrap();
    assert_eq!(again.layers[0].digest(), found.layers[0].digest());
    let again = give(&cx(cache.path(), true), &mirror, &policy, Want::Last).unwrap();
    assert_eq!(again.layers[0].digest(), found.layers[0].digest());

    // A machine that never had them hears that the mirror has moved on.
    let empty = tempfile::tempdir().unwrap();
    let error = give(&cx(empty.path(), false), &mirror, &policy, Want::Locked(&found.inputs)).unwrap_err();
    assert!(
        error.to_string().contains("base-files 13.8+rpi1 of Raspbian"),
        "{error}"
    );
    assert!(
        error.next_step().unwrap().contains("base update raspbian"),
        "{:?}",
        error.next_step()
    );
}

#[test]
fn what_is_not_signed_by_the_pinned_key_is_refused() {
    if !can_sign() {
        return;
    }
    let mirror = Mirror::new();
    let pinned = policy(&mirror);

    // The key of Raspbian itself is pinned, and this one is another.
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../xtask.toml")).unwrap();
    let real = Policy::parse(&text).unwrap().base.raspbian;
    assert_eq!(real.key, "A0DA38D0D76E8B5D638872819165938D90FDDD2E");
    let error = refused(&mirror, &real);
    assert!(
        error.to_string().contains(&format!("signed by {}", pinned.key)),
        "{error}"
    );
    assert!(error.to_string().contains(&real.key), "{error}");

    // One letter of what was signed.
    let path = "/raspbian/dists/trixie/InRelease";
    let signed = mirror.files.lock().unwrap()[path].clone();
    let text = String::from_utf8(signed.clone()).unwrap();
    mirror.put(path, text.replace("Suite: stable", "Suite: stabbe"));
    let error = refused(&mirror, &pinned);
    assert!(
        error.to_string().contains("the signature does not fit the text"),
        "{error}"
    );

    // What stands around the signed text was not signed.
    let evil = text.replace(
        "-----BEGIN PGP SIGNED MESSAGE-----",
        "Codename: trixie\n-----BEGIN PGP SIGNED MESSAGE-----",
    );
    mirror.put(
        path,
        evil.replace("Codename: trixie\n-----", "Date: Fri, 18 Sep 2026 07:55:41 UTC\n-----"),
    );
    let cache = tempfile::tempdir().unwrap();
    let found = give(&cx(cache.path(), false), &mirror, &pinned, Want::Last).unwrap();
    assert_eq!(found.date, "2026-09-12", "only the signed part is read");

    // No signature at all.
    let (_, body) = text.split_once("\n\n").unwrap();
    let (body, _) = body.split_once("-----BEGIN PGP SIGNATURE-----").unwrap();
    mirror.put(path, body);
    let error = refused(&mirror, &pinned);
    assert!(error.to_string().contains("not signed"), "{error}");

    // The right key, but SHA-1 for the text itself.
    mirror.release("SHA1");
    let error = refused(&mirror, &pinned);
    assert!(error.to_string().contains("too weak"), "{error}");
    mirror.put(path, signed);
    give(&cx(cache.path(), false), &mirror, &pinned, Want::Newest).unwrap();

    // A fingerprint that cannot be one.
    let short = RaspbianPolicy {
        key: "90FDDD2E".to_owned(),
        ..pinned
    };
    assert!(refused(&mirror, &short).to_string().contains("is not a fingerprint"));
}

#[test]
fn indexes_and_packages_must_be_what_was_signed() {
    if !can_sign() {
        return;
    }
    let mut mirror = Mirror::new();
    let policy = policy(&mirror);
    let index = "/raspbian/dists/trixie/main/binary-armhf/Packages";
    let good = mirror.files.lock().unwrap()[index].clone();
    mirror.put(
        index,
        String::from_utf8(good.clone()).unwrap().replace("2.41-12", "2.42-12"),
    );
    let error = refused(&mirror, &policy);
    assert!(error.to_string().contains("main/binary-armhf/Packages"), "{error}");
    assert!(error.to_string().contains("sha256"), "{error}");
    mirror.put(index, good);

    let file = "/raspbian/pool/main/libc6_2.41-12+rpi1_armhf.deb";
    let good = mirror.files.lock().unwrap()[file].clone();
    let mut bad = good.clone();
    *bad.last_mut().unwrap() ^= 1;
    mirror.put(file, bad);
    let error = refused(&mirror, &policy);
    assert!(error.to_string().contains("libc6 2.41-12+rpi1"), "{error}");
    mirror.put(file, good);

    // Signed, but hostile: a file that would land outside, which no writer of ours makes.
    let mut header = tar::Header::new_ustar();
    header.set_size(1);
    header.set_mode(0o644);
    header.as_mut_bytes()[..17].copy_from_slice(b"../../etc/evil\0\0\0");
    header.set_cksum();
    let mut tar = tar::Builder::new(Vec::new());
    tar.append(&header, &b"x"[..]).unwrap();
    let gzip = |bytes: &[u8]| {
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(bytes).unwrap();
        gzip.finish().unwrap()
    };
    let control = "Package: libgcc-s1\nVersion: 14.3\nArchitecture: armhf\n";
    let control_tar = write_tar(&[Entry::file("control", control, 0o644)], Vec::new()).unwrap();
    let hostile = packed(&gzip(&control_tar), &gzip(&tar.into_inner().unwrap()));
    mirror.raw("libgcc-s1", "14.3", control, hostile);
    mirror.release("SHA256");
    let cache = tempfile::tempdir().unwrap();
    let error = give(&cx(cache.path(), false), &mirror, &policy, Want::Last).unwrap_err();
    assert!(
        error.to_string().contains("libgcc-s1 14.3") && error.to_string().contains("../"),
        "{error}"
    );
}

#[test]
fn releases_out_of_date_and_archives_without_armhf_are_refused() {
    if !can_sign() {
        return;
    }
    let mut mirror = Mirror::new();
    let pinned = policy(&mirror);
    mirror.dates += "Valid-Until: Sat, 19 Sep 2026 07:55:41 UTC\n";
    mirror.release("SHA512");
    let error = refused(&mirror, &pinned);
    assert!(error.to_string().contains("counts until 2026-09-19"), "{error}");
    assert!(error.next_step().unwrap().contains("accept-expired"), "{error}");
    let lenient = RaspbianPolicy {
        accept_expired: true,
        ..pinned.clone()
    };
    let cache = tempfile::tempdir().unwrap();
    give(&cx(cache.path(), false), &mirror, &lenient, Want::Last).unwrap();

    mirror.architecture = "arm64";
    mirror.release("SHA512");
    let error = refused(&mirror, &lenient);
    assert!(
        error.to_string().contains("no packages for armhf, only for arm64"),
        "{error}"
    );

    let other = RaspbianPolicy {
        suite: "bookworm".to_owned(),
        ..pinned
    };
    let error = refused(&mirror, &other);
    assert!(error.to_string().contains("dists/bookworm/InRelease"), "{error}");
}

#[test]
fn every_mirror_that_was_tried_is_named() {
    if !can_sign() {
        return;
    }
    let mirror = Mirror::new();
    let policy = policy(&mirror);
    let cache = tempfile::tempdir().unwrap();
    let nowhere = "http://127.0.0.1:1/raspbian".to_owned();
    let mirrors = [nowhere.clone(), mirror.url()];
    let excludes = Excludes::default();
    let source = |mirrors| Source {
        mirrors,
        excludes: &excludes,
        today: day_number("2026-09-20").unwrap(),
    };
    let found = raspbian::archive(&cx(cache.path(), false), &source(&mirrors), &policy, Want::Last).unwrap();
    assert_eq!(found.packages.len(), 3, "the second has it");
    let cache = tempfile::tempdir().unwrap();
    let mirrors = [nowhere, mirror.server.url("/elsewhere")];
    let error = raspbian::archive(&cx(cache.path(), false), &source(&mirrors), &policy, Want::Last).unwrap_err();
    for url in &mirrors {
        assert!(error.to_string().contains(url), "{error}");
    }
    assert!(error.next_step().is_some(), "{error}");
}
