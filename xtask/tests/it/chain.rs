//! The main job from end to end: the blog is compiled for the Pi Zero, put into images, and served under an emulated
//! ARM1176; and the same source gives the same bytes in another place.
//!
//! The first test to need it compiles the blog, which takes minutes with a cold target directory and a second with a warm one.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;

use xtask::cache::Cache;
use xtask::cx::Cx;
use xtask::oci::image::MemoryFiles;
use xtask::oci::layer::EntryKind;
use xtask::oci::{BaseImage, assemble, dockerfile};
use xtask::run::{self, ImageSource, RunOptions};
use xtask::shell::{Command, Shell};
use xtask::target::{Base, Platform};
use xtask::ui::{Ui, Verbosity};

use crate::base_alpine::{Mirror, fixture, minirootfs};
use crate::require::require;

pub fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// The cache that `cargo xtask test` uses, so that nothing is fetched twice.
pub fn cache_dir() -> PathBuf {
    std::env::var_os("XTASK_CACHE_DIR").map_or_else(|| Cache::default_root().unwrap(), PathBuf::from)
}

fn xtask(root: &Path) -> Command {
    Shell::default()
        .command(env!("CARGO_BIN_EXE_xtask"))
        .current_dir(root)
        .env("XTASK_CACHE_DIR", cache_dir())
        .env("XTASK_BUILDER", "host")
}

/// Whether the tools can be had: they come through pip, and Debian's packages through apt-get.
pub fn can_provision() -> bool {
    let shell = Shell::default();
    require("python3", shell.which("python3").is_some()) && require("apt-get", shell.which("apt-get").is_some())
}

/// Whether the debian base can be made: Ubuntu's apt, for one, knows no mirror of Debian.
pub fn has_debian() -> bool {
    let mirrors = xtask::base::apt::mirrors(None);
    require("a Debian mirror (apt's, or XTASK_DEBIAN_MIRROR)", mirrors.is_ok())
}

/// Whether raspbian can be made, which here means compiled: minutes when the cache is cold.
pub fn has_raspbian() -> bool {
    let shell = Shell::default();
    let missing: Vec<&str> = ["cc", "make", "patch", "python3", "xz"]
        .into_iter()
        .filter(|name| shell.which(name).is_none())
        .collect();
    has_debian()
        && require(
            &format!("{missing:?}, with which glibc is compiled,"),
            missing.is_empty(),
        )
}

/// The bases that can be made here. Alpine's archive has a test of its own.
fn bases() -> Vec<Base> {
    let mut bases = vec![Base::Scratch];
    bases.extend(has_raspbian().then_some(Base::Raspbian));
    bases.extend(has_debian().then_some(Base::Debian));
    bases
}

/// Makes the image of the repository as it is, once; returns what `cargo xtask image` printed.
pub fn image(base: Base) -> &'static str {
    static SCRATCH: OnceLock<String> = OnceLock::new();
    static ALPINE: OnceLock<String> = OnceLock::new();
    static RASPBIAN: OnceLock<String> = OnceLock::new();
    static DEBIAN: OnceLock<String> = OnceLock::new();
    let made = match base {
        Base::Scratch => &SCRATCH,
        Base::Alpine => &ALPINE,
        Base::Raspbian => &RASPBIAN,
        Base::Debian => &DEBIAN,
    };
    made.get_or_init(|| {
        let args = ["image", "--base", base.name(), "--platform", "linux/arm/v6"];
        let mut output = xtask(&repository()).args(args).output().unwrap();
        // The mirror keeps only the newest versions. That what is locked went away is news for who keeps the lock, and no
        // fault of the program: here the newest do.
        if output.error_text().contains("has moved on") {
            output = xtask(&repository()).args(args).arg("--refresh").output().unwrap();
        }
        let said = output.error_text();
        assert!(output.status.success(), "{said}");
        // What depends on what is computed as cargo does it; for the blog's crates, the two must agree.
        assert!(!said.contains("says no dependencies"), "{said}");
        output.text().trim().to_owned()
    })
}

#[test]
fn each_image_is_one_line_and_a_second_run_changes_nothing() {
    if !can_provision() {
        return;
    }
    let mut lines = Vec::new();
    let mut again = xtask(&repository()).args(["image", "--offline"]);
    for base in bases() {
        let line = image(base);
        let start = format!("oci:target/images/{base}-armv6@sha256:");
        assert!(line.starts_with(&start) && line.lines().count() == 1, "{line}");
        lines.push(line);
        again = again.args(["--base", base.name()]);
    }
    assert_eq!(again.read().unwrap().lines().collect::<Vec<_>>(), lines);
}

#[test]
fn the_images_stay_in_their_budgets_and_pass_the_audit() {
    if !can_provision() {
        return;
    }
    for base in bases() {
        image(base);
        let tag = format!("oci:target/images/{base}-armv6");
        let size = xtask(&repository()).args(["size", &tag]).output().unwrap();
        assert!(size.status.success(), "{}{}", size.text(), size.error_text());
        let audit = xtask(&repository()).args(["audit", &tag]).output().unwrap();
        assert!(audit.status.success(), "{}", audit.text());
        let report = audit.text();
        assert!(
            report.contains(&format!("{base}-armv6/usr/local/bin/blog  layer "))
                && report.contains("no findings")
                && report.contains("every instruction"),
            "{report}"
        );
        assert!(
            base == Base::Scratch || report.contains("libc.so.6"),
            "the libraries of the base are looked at, too: {report}"
        );
    }
}

/// A page of the blog over plain HTTP: status, headers, body.
struct Page {
    status: u16,
    headers: String,
    body: String,
}

fn http(port: u16, method: &str, path: &str, cookie: &str, form: &str) -> Page {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\nCookie: {cookie}\r\n\
         Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n{form}",
        form.len()
    )
    .unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    let (headers, body) = text.split_once("\r\n\r\n").unwrap();
    let status = headers.split(' ').nth(1).unwrap().parse().unwrap();
    Page {
        status,
        headers: headers.to_owned(),
        body: body.to_owned(),
    }
}

impl Page {
    fn cookies(&self) -> String {
        let cookies = self.headers.lines().filter_map(|line| {
            let (name, value) = line.split_once(": ")?;
            name.eq_ignore_ascii_case("set-cookie")
                .then(|| value.split(';').next().unwrap_or_default())
        });
        cookies.collect::<Vec<_>>().join("; ")
    }

    fn hidden(&self, name: &str) -> String {
        let start = format!("name=\"{name}\" value=\"");
        let rest = self
            .body
            .split(&start)
            .nth(1)
            .unwrap_or_else(|| panic!("no field {name} in {}", self.body));
        rest.split('"').next().unwrap().to_owned()
    }
}

const PASSWORD: &str = "correct horse battery staple";

/// Signs in and posts `text`, as a browser would; returns only when the blog has acknowledged it.
fn post(port: u16, text: &str) {
    let page = http(port, "GET", "/login", "", "");
    let before = page.cookies();
    let form = format!("csrf={}&password={}", page.hidden("csrf"), PASSWORD.replace(' ', "+"));
    let signed_in = http(port, "POST", "/login", &before, &form);
    assert_eq!(signed_in.status, 303, "{}\n{}", signed_in.headers, signed_in.body);
    let cookie = signed_in.cookies();
    let page = http(port, "GET", "/admin/new", &cookie, "");
    let form = format!(
        "csrf={}&key={}&body={}",
        page.hidden("csrf"),
        page.hidden("key"),
        text.replace(' ', "+")
    );
    let made = http(port, "POST", "/admin/posts", &cookie, &form);
    assert_eq!(made.status, 303, "{}\n{}", made.headers, made.body);
}

fn serves_through_a_power_cut(base: Base) {
    if !can_provision() || (base != Base::Scratch && !has_debian()) {
        return;
    }
    image(base);
    let dir = repository().join(format!("target/images/{base}-armv6"));
    keeps_a_post_through_a_power_cut(base, &dir);
}

/// Serves the image of a layout, writes a post, kills the machine under it, and finds the post again.
fn keeps_a_post_through_a_power_cut(base: Base, dir: &Path) {
    let data = tempfile::tempdir().unwrap();
    let cx = Cx {
        shell: Shell::default(),
        ui: Ui::new(Verbosity::Quiet),
        cache: Cache::at(cache_dir()),
        root: repository(),
        offline: false,
    };
    let tag = format!("{base}-armv6");
    let image = ImageSource::from_layout(dir, Some(&tag), base, Platform::ArmV6).unwrap();
    let options = RunOptions {
        service: run::Service {
            admin_port: Some(8081),
            ..run::Service::default()
        },
        port: 0,
        data: Some(data.path().to_owned()),
        env: vec![
            ("BLOG_OWNER_PASSWORD".to_owned(), PASSWORD.to_owned()),
            ("BLOG_INSECURE_COOKIE".to_owned(), "1".to_owned()),
        ],
        echo: false,
        ..RunOptions::default()
    };
    let mut server = run::start(&cx, &image, &options).unwrap();
    let text = format!("written on {base} before the power went");
    assert_eq!(
        http(server.port(), "GET", "/login", "", "").status,
        404,
        "readers have no login page"
    );
    post(server.admin_port(), &text);
    server.kill().unwrap();
    // The data directory stays locked as long as there is a server object.
    drop(server);
    let mut server = run::start(&cx, &image, &options).unwrap();
    let page = http(server.port(), "GET", "/", "", "");
    assert_eq!(page.status, 200);
    assert!(page.body.contains(&text), "an acknowledged post is gone: {}", page.body);
    let feed = http(server.port(), "GET", "/feed.atom", "", "");
    assert!(feed.body.contains(&text), "{}", feed.body);
    let stopped = server.stop().unwrap();
    assert!(!stopped.killed, "SIGTERM must be enough: {}", server.logs());
}

#[test]
fn the_scratch_image_serves_through_a_power_cut() {
    serves_through_a_power_cut(Base::Scratch);
}

#[test]
fn the_debian_image_serves_through_a_power_cut() {
    serves_through_a_power_cut(Base::Debian);
}

#[test]
fn the_raspbian_image_serves_through_a_power_cut() {
    if has_raspbian() {
        serves_through_a_power_cut(Base::Raspbian);
    }
}

/// On a root file system in Alpine's shape; and the same with one library for ARMv7 in it is refused by its name.
#[test]
fn the_alpine_image_serves_through_a_power_cut_unless_a_library_is_for_v7() {
    if !can_provision() {
        return;
    }
    let mirror = Mirror::new("armhf");
    mirror.release("3.24.1", "2026-08-20", &minirootfs("3.24.1", &fixture("v6-library")));
    let out = tempfile::tempdir().unwrap();
    let dir = out.path().join("image");
    let make = || {
        xtask(&repository())
            .env("XTASK_ALPINE_MIRROR", mirror.url())
            .args([
                "image",
                "--base",
                "alpine",
                "--platform",
                "linux/arm/v6",
                "--refresh",
                "--to",
            ])
            .arg(format!("oci:{}", dir.display()))
            .output()
            .unwrap()
    };
    let made = make();
    assert!(made.status.success(), "{}", made.error_text());
    keeps_a_post_through_a_power_cut(Base::Alpine, &dir);

    mirror.release("3.24.2", "2026-08-21", &minirootfs("3.24.2", &fixture("v7")));
    let made = make();
    assert_eq!(made.status.code(), Some(1), "{}", made.error_text());
    let said = made.error_text();
    assert!(
        said.contains("lib/ld-musl-armhf.so.1") && said.contains("musl"),
        "{said}"
    );
    // The image of before is still there.
    keeps_a_post_through_a_power_cut(Base::Alpine, &dir);
}

/// Everything that decides the bytes of an image, with a fixed program: the description in docker/, the writers of layers,
/// configuration and manifest, and the compressor. A change here means that every user pulls everything anew: wanted?
#[test]
fn the_digest_of_an_image_with_a_fixed_program_does_not_move() {
    let root = repository();
    let text = fs::read_to_string(root.join("docker/Dockerfile")).unwrap();
    let args = [("BASE", "scratch"), ("VERSION", "1.2.3"), ("REVISION", "0123abcd")];
    let args = args.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    let stage = dockerfile::evaluate(&text, &args, "final").unwrap();
    let program = fs::read(root.join("xtask/tests/fixtures/elf/v6")).unwrap();
    let mut source = MemoryFiles::default()
        .with(Some("compile"), "/out/blog", EntryKind::File(program), 0o755)
        .with(Some("compile"), "/out/data", EntryKind::Directory, 0o755);
    for file in xtask::context::files(&root, "docker/rootfs").unwrap() {
        source = source.with(None, &format!("docker/rootfs/{}", file.path), file.kind, file.mode);
    }
    let labels = BTreeMap::from([("a.label".to_owned(), "of ours".to_owned())]);
    let image = assemble(
        BaseImage::scratch(),
        &stage,
        &source,
        Platform::ArmV6,
        1_000_000_000,
        &labels,
    )
    .unwrap();
    let digests = format!(
        "manifest {}\ndiff_id  {}",
        image.manifest().digest(),
        image.app_layers()[0].diff_id()
    );
    insta::assert_snapshot!(digests, @"
    manifest sha256:b93307f15dbf4ad69022dda5260ee87a75c344ede440408a3261870a191e1e81
    diff_id  sha256:e6bd95adce67dc58f4553170daeb26f4c45c21075523f381a7241c6c1560afb8
    ");
}
