//! The command line: exit codes and what is said on the way out.

use std::io::Write;
use std::process::{Output, Stdio};

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel::sqlite::SqliteConnection;

use crate::app::{PASSWORD, TestApp, login, program};

fn run(arguments: &[&str]) -> (i32, String) {
    answer(program().args(arguments).output().unwrap())
}

fn answer(output: Output) -> (i32, String) {
    let text = [output.stdout, output.stderr].concat();
    (output.status.code().unwrap(), String::from_utf8(text).unwrap())
}

fn database(directory: &tempfile::TempDir, sql: &str) -> String {
    let path = directory.path().join("blog.db").to_str().unwrap().to_owned();
    SqliteConnection::establish(&path).unwrap().batch_execute(sql).unwrap();
    path
}

#[test]
fn help_and_version() {
    let (code, text) = run(&["--help"]);
    assert_eq!(code, 0);
    for word in [
        "owner set",
        "health",
        "BLOG_DATABASE",
        "--insecure-cookie",
        "BLOG_OWNER_PASSWORD",
    ] {
        assert!(text.contains(word), "{word}");
    }
    for command in blog::command::COMMANDS {
        let words: Vec<_> = command.name.split(' ').chain(["--help"]).collect();
        let (code, text) = run(&words);
        assert_eq!(code, 0, "{text}");
        assert!(
            text.starts_with(command.summary) && text.contains("\nExamples:\n  "),
            "{text}"
        );
    }
    assert_eq!(
        run(&["--version"]),
        (0, format!("blog {}\n", env!("CARGO_PKG_VERSION")))
    );
}

#[test]
fn mistakes_are_named_and_exit_with_2() {
    for (arguments, named) in [
        (["--frobnicate"].as_slice(), "--frobnicate"),
        (&["sail"], "sail"),
        (&["--listen", "here"], "here"),
        (&["--listen"], "--listen"),
        (&["owner", "set"], "--password-stdin"),
        (&["health", "--url", "https://x"], "https://x"),
        (&["health", "--url", "http://blog.example:80/"], "blog.example"),
        (&["--database", "/no/such/place/blog.db"], "/no/such/place"),
        (&["--database", "/"], "/"),
    ] {
        let (code, text) = run(arguments);
        assert_eq!(code, 2, "{arguments:?}: {text}");
        assert!(text.contains(named), "{arguments:?}: {text}");
    }
    let (_, text) = run(&["--database", "/no/such/place/blog.db"]);
    assert!(text.contains("\nhint: "), "{text}");
}

#[test]
fn config_shows_what_is_in_force_and_no_secret() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("blog.conf");
    std::fs::write(&file, "title = \"My notes\"\nowner-password = correct horse battery\n").unwrap();
    let file = file.to_str().unwrap();
    let mut command = program();
    command.args(["config", "--config", file, "--listen", "[::1]:81"]);
    command.env("BLOG_BASE_URL", "http://x.onion").env("BLOG_TITEL", "x");
    let (code, text) = answer(command.output().unwrap());
    assert_eq!(code, 0, "{text}");
    let row = |key: &str| {
        let line = text.lines().find(|line| line.split(' ').next() == Some(key)).unwrap();
        line.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    assert_eq!(row("title"), format!("title My notes {file}:1"));
    assert_eq!(row("listen"), "listen [::1]:81 --listen");
    assert_eq!(row("base-url"), "base-url http://x.onion BLOG_BASE_URL");
    assert_eq!(row("database"), "database ./blog.db default");
    assert_eq!(row("owner-password"), format!("owner-password (set) {file}:2"));
    assert!(text.contains("BLOG_TITEL") && !text.contains("horse"), "{text}");

    let (_, text) = answer(command.arg("--json").output().unwrap());
    let all: serde_json::Value = serde_json::from_str(&text).unwrap();
    let rows = all["settings"].as_array().unwrap();
    assert_eq!(rows.len(), blog::settings::TABLE.len());
    assert!(
        rows.iter()
            .any(|row| row["key"] == "title" && row["value"] == "My notes")
    );
    assert!(!text.contains("horse"));

    std::fs::write(file, "title = a\ntitel = b\n").unwrap();
    let (code, text) = run(&["config", "--config", file]);
    assert_eq!(code, 2);
    assert!(
        text.contains(&format!("{file}:2")) && text.contains("titel") && text.contains("\nhint: "),
        "{text}"
    );
    assert_eq!(run(&["config", "--config", "/no/such/file"]).0, 2);
}

#[test]
fn the_readme_has_every_setting() {
    let readme = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../README.md")).unwrap();
    let rows: Vec<_> = readme.lines().filter(|line| line.starts_with("| `BLOG_")).collect();
    let wanted: Vec<_> = blog::settings::TABLE.iter().map(row).collect();
    assert_eq!(rows, wanted, "the rows of README.md should be:\n{}", wanted.join("\n"));
}

/// A setting as README.md has it.
fn row(setting: &blog::settings::Setting) -> String {
    let flag = if setting.is_flag {
        format!(" `--{}` ", setting.key)
    } else {
        " ".to_owned()
    };
    let default = match setting.default {
        "" => "none".to_owned(),
        default => format!("`{default}`"),
    };
    let image = match setting.image {
        "" => String::new(),
        image => format!(" (in the image `{image}`)"),
    };
    format!(
        "| `{}` |{flag}| {default}{image} | {} |",
        setting.variable(),
        setting.meaning
    )
}

#[test]
fn a_port_in_use_is_explained() {
    let app = TestApp::start();
    let other = app.directory.path().join("other.db");
    let (code, text) = run(&[
        "--listen",
        &app.address,
        "--admin-listen",
        "off",
        "--database",
        other.to_str().unwrap(),
    ]);
    assert_eq!(code, 2);
    assert!(text.contains(&app.address) && text.contains("\nhint: "), "{text}");
}

#[test]
fn health_tells_by_its_exit_code() {
    let mut app = TestApp::start();
    let url = format!("http://{}/healthz", app.address);
    assert_eq!(run(&["health", "--admin-listen", "off", "--listen", &app.address]).0, 0);
    assert_eq!(run(&["health", "--url", &url]).0, 0);
    assert_eq!(
        run(&["health", "--url", &format!("http://{}/nothing", app.address)]).0,
        1
    );
    let by_name = url.replace("127.0.0.1", "localhost");
    assert_ne!(by_name, url);
    assert_eq!(run(&["health", "--url", &by_name]).0, 0);
    let everywhere = app.address.replace("127.0.0.1", "0.0.0.0");
    assert_eq!(run(&["health", "--admin-listen", "off", "--listen", &everywhere]).0, 0);
    app.terminate();
    assert_eq!(run(&["health", "--admin-listen", "off", "--listen", &app.address]).0, 1);
}

#[test]
fn a_newer_database_is_refused_and_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let mut app = TestApp::start_in(directory, &[], None);
    app.terminate();
    let path = database(
        &app.directory,
        "INSERT INTO __diesel_schema_migrations (version) VALUES ('9999'); PRAGMA wal_checkpoint(TRUNCATE)",
    );
    let before = std::fs::read(&path).unwrap();
    let (code, text) = run(&["--database", &path, "--listen", "127.0.0.1:0", "--admin-listen", "off"]);
    assert_eq!(code, 2);
    assert!(
        text.contains("newer") && text.contains("9999") && text.contains("\nhint: "),
        "{text}"
    );
    assert_eq!(std::fs::read(&path).unwrap(), before);
}

#[test]
fn a_database_of_another_program_is_refused_and_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let path = database(&directory, "CREATE TABLE cats (name TEXT)");
    let before = std::fs::read(&path).unwrap();
    let (code, text) = run(&["--database", &path, "--listen", "127.0.0.1:0", "--admin-listen", "off"]);
    assert_eq!(code, 2);
    assert!(text.contains("some other program"), "{text}");
    assert_eq!(std::fs::read(&path).unwrap(), before);

    std::fs::write(&path, "this is not a database, only some text that is long enough").unwrap();
    assert_eq!(
        run(&["--database", &path, "--listen", "127.0.0.1:0", "--admin-listen", "off"]).0,
        2
    );
}

#[test]
fn owner_set_changes_the_password_and_signs_everybody_out() {
    let app = TestApp::start();
    let mut owner = app.owner();
    let path = app.database();
    let set = |password: &str| {
        let mut child = program()
            .args(["owner", "set", "--password-stdin", "--database", path.to_str().unwrap()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        writeln!(child.stdin.take().unwrap(), "{password}").unwrap();
        answer(child.wait_with_output().unwrap())
    };
    let (code, text) = set("short");
    assert_eq!(code, 2, "{text}");
    assert_eq!(
        owner.get("/admin/new").status,
        200,
        "a refused password changes nothing"
    );

    let (code, text) = set("another long password");
    assert_eq!(code, 0, "{text}");
    assert!(!text.contains("another long"));
    assert_eq!(owner.get("/admin/new").location(), "/login");
    assert_eq!(login(&mut app.reader(), PASSWORD).status, 403);
    assert_eq!(login(&mut app.reader(), "another long password").status, 303);
}

#[test]
fn the_password_in_the_environment_is_for_the_first_start_only() {
    let mut app = TestApp::start();
    app.terminate();
    let directory = std::mem::replace(&mut app.directory, tempfile::tempdir().unwrap());
    let app = TestApp::start_in(directory, &[], Some("some other password"));
    assert_eq!(login(&mut app.reader(), "some other password").status, 403);
    assert_eq!(login(&mut app.reader(), PASSWORD).status, 303);
    assert!(!app.log().contains("some other password"));

    let output = program()
        .args(["--listen", "127.0.0.1:0", "--admin-listen", "off", "--database"])
        .arg(app.directory.path().join("fresh.db"))
        .env("BLOG_OWNER_PASSWORD", "short")
        .output()
        .unwrap();
    assert_eq!(answer(output).0, 2);
}
