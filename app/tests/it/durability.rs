//! What was acknowledged is kept, and stopping is orderly.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::app::{PASSWORD, TestApp, login, signal, write};
use crate::http;

#[test]
fn an_acknowledged_post_survives_a_kill() {
    let mut app = TestApp::start();
    for n in 1..=3 {
        let mut owner = app.reader();
        assert_eq!(login(&mut owner, PASSWORD).status, 303, "the password survives too");
        let path = write(&mut owner, &format!("acknowledged {n}"));
        app = app.kill_and_restart();
        assert!(app.reader().get(&path).body.contains(&format!("acknowledged {n}")));
    }
    assert_eq!(app.reader().get("/").body.matches("acknowledged").count(), 3);
}

#[test]
fn a_session_survives_a_restart() {
    let app = TestApp::start();
    let mut owner = app.owner();
    let app = app.kill_and_restart();
    owner.address = app.address.clone();
    assert_eq!(write(&mut owner, "still signed in"), "/posts/1");
}

#[test]
fn a_stop_signal_leaves_one_tidy_file() {
    for name in ["-TERM", "-INT"] {
        let mut app = TestApp::start();
        write(&mut app.owner(), "text");
        // A browser that keeps its connection open does not delay the stop.
        let mut idle = TcpStream::connect(&app.address).unwrap();
        idle.write_all(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n").unwrap();
        assert!(idle.read(&mut [0; 64]).unwrap() > 0);
        let started = Instant::now();
        signal(&app.child, name);
        assert!(app.child.wait().unwrap().success());
        assert!(started.elapsed() < Duration::from_secs(4), "{:?}", started.elapsed());
        let mut files: Vec<_> = std::fs::read_dir(app.directory.path())
            .unwrap()
            .map(|f| f.unwrap().file_name())
            .collect();
        files.sort();
        assert_eq!(files, ["blog.db", "blog.db.media"], "the write-ahead log is merged");
    }
}

#[test]
fn a_request_under_way_is_finished() {
    let mut app = TestApp::start();
    let mut owner = app.owner();
    let form = owner.get("/admin/new");
    let body = format!("csrf={}&key={}&body=under+way", form.field("csrf"), form.field("key"));
    let cookie = owner.cookie("blog_session").unwrap();
    let (first, rest) = body.split_at(40);

    let mut stream = TcpStream::connect(&app.address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let head = format!(
        "POST /admin/posts HTTP/1.1\r\nHost: 127.0.0.1\r\nCookie: blog_session={cookie}\r\nContent-Length: {}\r\n\
         Content-Type: application/x-www-form-urlencoded\r\n\r\n{first}",
        body.len()
    );
    stream.write_all(head.as_bytes()).unwrap();
    std::thread::sleep(Duration::from_millis(300));
    signal(&app.child, "-TERM");
    std::thread::sleep(Duration::from_millis(300));
    stream.write_all(rest.as_bytes()).unwrap();
    let mut bytes = Vec::new();
    let _ = stream.read_to_end(&mut bytes);
    assert_eq!(http::parse(&bytes).location(), "/posts/1");
    assert!(app.child.wait().unwrap().success());

    let app = app.kill_and_restart();
    assert!(app.reader().get("/posts/1").body.contains("under way"));
}

#[test]
fn every_table_is_strict_and_every_connection_careful() {
    use blog::db::connection::{APPLICATION_ID, reader, writer};
    use diesel::connection::SimpleConnection;
    use diesel::prelude::*;

    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = diesel::sql_types::Text)]
        value: String,
    }
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("blog.db").to_str().unwrap().to_owned();
    drop(blog::db::Db::open(&path).unwrap());
    let (mut writes, mut reads) = (writer(&path).unwrap(), reader(&path).unwrap());
    for connection in [&mut writes, &mut reads] {
        let mut is = |query: &str, expected: &str| {
            let query = format!("SELECT CAST(({query}) AS TEXT) AS value");
            let row: Row = diesel::sql_query(&query).get_result(connection).unwrap();
            assert_eq!(row.value, expected, "{query}");
        };
        is("SELECT journal_mode FROM pragma_journal_mode", "wal");
        // FULL
        is("SELECT synchronous FROM pragma_synchronous", "2");
        is("SELECT foreign_keys FROM pragma_foreign_keys", "1");
        is("SELECT timeout FROM pragma_busy_timeout", "5000");
        is("SELECT trusted_schema FROM pragma_trusted_schema", "0");
        is(
            "SELECT application_id FROM pragma_application_id",
            &APPLICATION_ID.to_string(),
        );
        is("SELECT user_version > 0 FROM pragma_user_version", "1");
        // diesel's own list of migrations, and the tables that SQLite makes for the search.
        is(
            "SELECT coalesce(group_concat(name), '') FROM pragma_table_list WHERE schema = 'main' AND type = 'table' \
             AND NOT strict AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' AND name <> '__diesel_schema_migrations'",
            "",
        );
        is(
            "SELECT count(*) > 10 FROM pragma_table_list WHERE schema = 'main' AND strict",
            "1",
        );
    }
    let refused = |connection: &mut SqliteConnection, statement: &str, why: &str| {
        let error = connection.batch_execute(statement).unwrap_err().to_string();
        assert!(error.contains(why), "{statement}: {error}");
    };
    refused(&mut writes, "INSERT INTO post_tags VALUES (99, 99)", "FOREIGN KEY");
    refused(
        &mut writes,
        "INSERT INTO tags VALUES (1, x'00ff', 'x')",
        "cannot store BLOB value in TEXT column",
    );
    refused(&mut reads, "INSERT INTO tags VALUES (1, 'x', 'x')", "readonly");
}
