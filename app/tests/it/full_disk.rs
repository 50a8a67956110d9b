//! A disk that is really full: a file system of a few megabytes in a mount namespace of the program's own, which is gone
//! when the program is.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use crate::app::{PASSWORD, TestApp, login, program, write};
use crate::listeners::reader_of;
use crate::require::{require, works};

const JPEG: &[u8] = include_bytes!("../fixtures/images/baseline.jpg");

const UNSHARE: [&str; 3] = ["--user", "--map-root-user", "--mount"];
const MOUNT: &str = "mount -t tmpfs -o size=12m,mode=700 blog \"$1\" && shift && exec \"$@\"";

fn can_mount() -> bool {
    let mut probe = vec!["--user", "--map-root-user", "--mount", "sh", "-c"];
    probe.push("mount -t tmpfs -o size=1m probe /mnt");
    require("mount namespaces (unshare)", works("unshare", &probe))
}

/// The program on a small disk, and where this process sees that disk.
fn start() -> Option<(TestApp, PathBuf)> {
    if !can_mount() {
        return None;
    }
    let directory = tempfile::tempdir().unwrap();
    let mut command = Command::new("unshare");
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("BLOG_")) {
        command.env_remove(name);
    }
    command
        .env("BLOG_PASSWORD_COST", "1M:1")
        .args(UNSHARE)
        .args(["sh", "-c", MOUNT, "sh"])
        .arg(directory.path())
        .arg(program().get_program())
        .stdin(Stdio::null());
    let app = TestApp::start_as(command, directory, &[], Some(PASSWORD));
    let disk = PathBuf::from(format!(
        "/proc/{}/root{}",
        app.child.id(),
        app.directory.path().display()
    ));
    assert!(disk.join("blog.db").exists(), "{}", disk.display());
    assert!(!app.database().exists(), "the disk is the program's own");
    Some((app, disk))
}

/// Takes all the room there is.
fn fill(disk: &Path) {
    let mut filler = File::create(disk.join("filler")).unwrap();
    for piece in [1 << 16, 1 << 12, 1] {
        let bytes = vec![7; piece];
        while filler.write_all(&bytes).is_ok() {}
    }
}

#[test]
fn what_was_acknowledged_stays_and_writing_goes_on_when_there_is_room() {
    let Some((app, disk)) = start() else { return };
    let mut owner = app.owner();
    assert_eq!(write(&mut owner, "before"), "/posts/1");
    let form = owner.get("/admin/new");
    let (csrf, key) = (form.field("csrf"), form.field("key"));
    let (csrf, key) = (csrf.as_str(), key.as_str());
    fill(&disk);

    // Whatever the log had room for is acknowledged; then comes the page that says so, and nothing else.
    let mut posts = 1;
    let text = "once upon a time ".repeat(3000);
    let page = loop {
        let key = format!("{posts:032x}");
        let answer = owner.post("/admin/posts", &[("csrf", csrf), ("key", &key), ("body", &text)]);
        if answer.status != 303 {
            break answer;
        }
        posts += 1;
        assert!(posts < 300, "the disk is never full");
    };
    assert_eq!(page.status, 503, "{}", page.body);
    assert!(page.body.contains("<h1>Nothing can be saved now</h1>"), "{}", page.body);
    assert!(page.header("retry-after").is_some());

    // Images: the bytes, the cleaned file, the row.
    let fields = [
        ("csrf", csrf),
        ("key", key),
        ("body", "with an image"),
        ("alt0", "a picture"),
    ];
    let image = owner.upload("/admin/posts", &fields, &[("file", "a.jpg", JPEG)]);
    assert_eq!(image.status, 503, "{}", image.body);
    assert!(image.body.contains("Nothing can be saved now"));
    assert_eq!(
        owner
            .upload("/admin/media", &[("csrf", csrf)], &[("file", "a.jpg", JPEG)])
            .status,
        503
    );
    let stored = || fs::read_dir(disk.join("blog.db.media")).unwrap().count();
    assert_eq!(stored(), 0, "nothing is left of what was not taken");
    // A session: the password is right, and the page says why it does not help.
    let mut other = app.reader();
    let refused = login(&mut other, PASSWORD);
    assert_eq!(refused.status, 503, "{}", refused.body);
    assert!(refused.body.contains("Nothing can be saved now"));
    assert!(other.cookie("blog_session").is_none());

    // Reading goes on, for the owner, too; and the owner is told.
    for path in [
        "/",
        "/posts/1",
        "/feed.atom",
        "/search?q=before",
        "/admin",
        "/admin/new",
    ] {
        assert_eq!(owner.get(path).status, 200, "{path}");
    }
    assert_eq!(app.reader().get("/posts/1").status, 200);
    let health = app.reader().get("/healthz");
    assert_eq!(
        (health.status, health.body.as_str()),
        (200, "degraded: nothing is saved, the disk is full\n")
    );
    assert!(owner.get("/admin/metrics").body.contains("\nblog_read_only 1\n"));
    assert!(owner.get("/admin/status").body.contains("Nothing can be written"));

    // There is room again: nothing has to be started or pressed.
    fs::remove_file(disk.join("filler")).unwrap();
    assert_eq!(app.reader().get("/healthz").body, "ok\n");
    let posted = owner.upload("/admin/posts", &fields, &[("file", "a.jpg", JPEG)]);
    posts += 1;
    assert_eq!(posted.location(), format!("/posts/{posts}"));
    assert_eq!(stored(), 1);
    assert_eq!(login(&mut other, PASSWORD).location(), "/");
    app.log_with("changes are saved again");
    for id in 1..=posts {
        assert_eq!(
            app.reader().get(&format!("/posts/{id}")).status,
            200,
            "post {id} was acknowledged"
        );
    }
    let copy = TempDir::new().unwrap();
    for name in ["blog.db", "blog.db-wal"] {
        fs::copy(disk.join(name), copy.path().join(name)).unwrap();
    }
    crate::crash::copy(&disk.join("blog.db.media"), &copy.path().join("blog.db.media"));
    let check = program()
        .args(["check", "--database"])
        .arg(copy.path().join("blog.db"))
        .output()
        .unwrap();
    assert!(check.status.success(), "{}", String::from_utf8_lossy(&check.stdout));
}

/// A small disk that stays when the program on it ends.
struct Disk {
    directory: TempDir,
    holder: Child,
}

impl Disk {
    fn new() -> Option<Self> {
        if !can_mount() {
            return None;
        }
        let directory = tempfile::tempdir().unwrap();
        let holder = Command::new("unshare")
            .args(UNSHARE)
            .args(["sh", "-c", MOUNT, "sh"])
            .arg(directory.path())
            .args(["sh", "-c", "echo mounted; exec cat"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut disk = Self { directory, holder };
        let mut line = [0; 8];
        disk.holder.stdout.as_mut().unwrap().read_exact(&mut line).unwrap();
        Some(disk)
    }

    /// Where this process sees it.
    fn path(&self) -> PathBuf {
        PathBuf::from(format!(
            "/proc/{}/root{}",
            self.holder.id(),
            self.directory.path().display()
        ))
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new("nsenter");
        command
            .args(["--user", "--mount", "--preserve-credentials", "--target"])
            .arg(self.holder.id().to_string())
            .arg(program().get_program())
            .args(words)
            .env("BLOG_PASSWORD_COST", "1M:1")
            .stdin(Stdio::null());
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("BLOG_")) {
            command.env_remove(name);
        }
        command
    }

    /// The blog on this disk. Its own directory is another one, and empty.
    fn blog(&self, password: Option<&str>) -> TestApp {
        self.blog_with(password, &[])
    }

    fn blog_with(&self, password: Option<&str>, options: &[&str]) -> TestApp {
        let database = self.directory.path().join("blog.db");
        let options = [&["--database", database.to_str().unwrap()], options].concat();
        TestApp::start_as(self.command(&[]), tempfile::tempdir().unwrap(), &options, password)
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}

#[test]
fn a_start_on_a_full_disk_reads_and_comes_back() {
    let Some(disk) = Disk::new() else { return };
    let mut app = disk.blog(Some(PASSWORD));
    let mut owner = app.owner();
    assert_eq!(write(&mut owner, "before #tag"), "/posts/1");
    assert!(app.terminate().success());
    // Stopped in order: the database alone, for which SQLite makes two files that there is no room for.
    assert!(!disk.path().join("blog.db-wal").exists());
    fill(&disk.path());

    let mut app = disk.blog(None);
    app.log_with("nothing is saved until there is room again");
    // The session of the last run goes on.
    owner.address.clone_from(&app.address);
    for path in [
        "/",
        "/posts/1",
        "/feed.atom",
        "/search?q=before",
        "/tags/tag",
        "/admin",
        "/admin/new",
    ] {
        let page = owner.get(path);
        assert_eq!(page.status, 200, "{path}: {}", page.body);
    }
    assert!(app.reader().get("/posts/1").body.contains("before"));
    let health = app.reader().get("/healthz");
    assert_eq!(
        (health.status, health.body.as_str()),
        (200, "degraded: nothing is saved, the disk is full\n")
    );
    let form = owner.get("/admin/new");
    let (csrf, key) = (form.field("csrf"), form.field("key"));
    let fields = [("csrf", csrf.as_str()), ("key", &key), ("body", "after")];
    let page = owner.post("/admin/posts", &fields);
    assert_eq!(page.status, 503, "{}", page.body);
    assert!(page.body.contains("<h1>Nothing can be saved now</h1>"), "{}", page.body);
    assert!(owner.get("/admin/status").body.contains("Nothing can be written"));
    assert!(owner.get("/admin/metrics").body.contains("\nblog_read_only 1\n"));
    let refused = login(&mut app.reader(), PASSWORD);
    assert_eq!(refused.status, 503);
    // Ends in order, and begins again in the same way.
    assert!(app.terminate().success());
    let app = disk.blog(None);
    owner.address.clone_from(&app.address);
    assert_eq!(owner.get("/posts/1").status, 200);

    // Nobody asks for its health, nobody writes.
    fs::remove_file(disk.path().join("filler")).unwrap();
    app.log_with("changes are saved again");
    assert_eq!(app.reader().get("/healthz").body, "ok\n");
    assert_eq!(owner.post("/admin/posts", &fields).location(), "/posts/2");
    assert!(app.reader().get("/").body.contains("after"));
    assert!(app.reader().get("/search?q=after").body.contains("/posts/2"));
    let other = "ab".repeat(16);
    let image = [
        ("csrf", csrf.as_str()),
        ("key", &other),
        ("body", "image"),
        ("alt0", "a picture"),
    ];
    assert_eq!(
        owner
            .upload("/admin/posts", &image, &[("file", "a.jpg", JPEG)])
            .location(),
        "/posts/3"
    );
}

#[test]
fn a_first_start_on_a_full_disk_begins_when_there_is_room() {
    let Some(disk) = Disk::new() else { return };
    fill(&disk.path());
    let app = disk.blog_with(Some(PASSWORD), &["--listen", "127.0.0.2:0"]);
    let page = reader_of(&app).get("/");
    assert_eq!(page.status, 503, "{}", page.body);
    assert!(page.body.contains("<h1>Nothing can be read now</h1>"), "{}", page.body);
    assert!(page.header("content-security-policy").is_some());
    for path in ["/", "/posts/1", "/login", "/admin", "/feed.atom"] {
        let page = app.reader().get(path);
        if path == "/admin" {
            // Without a session nobody is asked what is there.
            assert_eq!(page.location(), "/login");
            continue;
        }
        assert_eq!(page.status, 503, "{path}: {}", page.body);
        assert!(
            page.body.contains("<h1>Nothing can be read now</h1>"),
            "{path}: {}",
            page.body
        );
        assert_eq!(page.header("retry-after"), Some("60"));
    }
    let health = app.reader().get("/healthz");
    assert_eq!(
        (health.status, health.body.as_str()),
        (503, "degraded: nothing can be read, the disk is full\n")
    );
    // Other commands say it in a line.
    let place = disk.directory.path().join("blog.db");
    let output = disk
        .command(&["owner", "set", "--database"])
        .arg(&place)
        .output()
        .unwrap();
    assert!(!output.status.success());

    fs::remove_file(disk.path().join("filler")).unwrap();
    app.log_with("owner password set");
    let mut owner = app.owner();
    assert_eq!(write(&mut owner, "at last"), "/posts/1");
    assert_eq!(app.reader().get("/healthz").body, "ok\n");
}

/// Killed, so that the last posts are in the write-ahead log alone, and the disk full when it starts again.
#[test]
fn a_start_after_a_kill_on_a_full_disk_has_every_post() {
    let Some(disk) = Disk::new() else { return };
    let mut app = disk.blog(Some(PASSWORD));
    let mut owner = app.owner();
    write(&mut owner, "in the log alone");
    app.child.kill().unwrap();
    app.child.wait().unwrap();
    assert!(disk.path().join("blog.db-wal").metadata().unwrap().len() > 0);
    fill(&disk.path());
    let app = disk.blog(None);
    assert!(app.reader().get("/posts/1").body.contains("in the log alone"));
    assert_eq!(
        app.reader().get("/healthz").body,
        "degraded: nothing is saved, the disk is full\n"
    );
    fs::remove_file(disk.path().join("filler")).unwrap();
    assert_eq!(app.reader().get("/healthz").body, "ok\n");
    owner.address.clone_from(&app.address);
    assert_eq!(write(&mut owner, "and on"), "/posts/2");
}

/// The error of the image's disk alone: the database has room, so texts are saved.
#[test]
fn an_image_that_does_not_fit_is_no_failure_of_the_program() {
    let Some((app, disk)) = start() else { return };
    let mut owner = app.owner();
    let csrf = owner.get("/admin/media").field("csrf");
    fill(&disk);
    let answer = owner.upload("/admin/media", &[("csrf", &csrf)], &[("file", "a.jpg", JPEG)]);
    assert_eq!(answer.status, 503, "{}", answer.body);
    let log = app.log_with("status=503");
    assert!(log.contains("the disk is full"), "{log}");
    assert!(!log.contains("request failed"), "{log}");
}
