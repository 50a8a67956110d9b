//! A disk that is really full: a file system of a few megabytes in a mount namespace of the program's own, which is gone
//! when the program is.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tempfile::TempDir;

use crate::app::{PASSWORD, TestApp, login, program, write};
use crate::require::{require, works};

const JPEG: &[u8] = include_bytes!("../fixtures/images/baseline.jpg");

const UNSHARE: [&str; 3] = ["--user", "--map-root-user", "--mount"];
const MOUNT: &str = "mount -t tmpfs -o size=12m,mode=700 blog \"$1\" && shift && exec \"$@\"";

/// The program on a small disk, and where this process sees that disk.
fn start() -> Option<(TestApp, PathBuf)> {
    let mut probe = vec!["--user", "--map-root-user", "--mount", "sh", "-c"];
    probe.push("mount -t tmpfs -o size=1m probe /mnt");
    if !require("mount namespaces (unshare)", works("unshare", &probe)) {
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
