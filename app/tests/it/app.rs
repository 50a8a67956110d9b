//! Starts the program on a free port with a database of its own, and stops it in the end.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};

use tempfile::TempDir;

use crate::http::{Browser, Response};

pub const PASSWORD: &str = "correct horse battery staple";

pub struct TestApp {
    pub directory: TempDir,
    pub address: String,
    pub child: Child,
    log: Arc<Mutex<String>>,
}

/// The program with no settings but those given.
pub fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_blog"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("BLOG_") {
            command.env_remove(name);
        }
    }
    // What it costs to guess a password is not what most tests are about.
    command.env("BLOG_PASSWORD_COST", "1M:1");
    command
}

impl TestApp {
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    pub fn start_with(options: &[&str]) -> Self {
        Self::start_in(tempfile::tempdir().unwrap(), options, Some(PASSWORD))
    }

    pub fn start_in(directory: TempDir, options: &[&str], password: Option<&str>) -> Self {
        Self::start_as(program(), directory, options, password)
    }

    /// The same for a command that ends as the program: its process becomes the program's.
    pub fn start_as(mut command: Command, directory: TempDir, options: &[&str], password: Option<&str>) -> Self {
        command.arg("--database").arg(directory.path().join("blog.db"));
        command
            // The same place twice: one listener for everybody. Of options given twice the last one counts.
            .args(["--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"])
            .args(options)
            .stderr(Stdio::piped());
        if let Some(password) = password {
            command.env("BLOG_OWNER_PASSWORD", password);
        }
        let mut child = command.spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let mut start = String::new();
        let address = loop {
            let line = lines
                .next()
                .unwrap_or_else(|| panic!("did not start: {start}"))
                .unwrap();
            start.push_str(&line);
            start.push('\n');
            if let Some((_, rest)) = line.split_once("msg=listening addr=")
                && let Some((address, "everybody")) = rest.split_once(" serves=")
            {
                break address.to_owned();
            }
        };
        let log = Arc::new(Mutex::new(start));
        let sink = log.clone();
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                let mut log = sink.lock().unwrap();
                log.push_str(&line);
                log.push('\n');
            }
        });
        Self {
            directory,
            address,
            child,
            log,
        }
    }

    pub fn database(&self) -> PathBuf {
        self.directory.path().join("blog.db")
    }

    /// The first value of a query on the database, read beside the running program.
    pub fn rows(&self, query: &str) -> String {
        use diesel::prelude::*;
        #[derive(diesel::QueryableByName)]
        struct Row {
            #[diesel(sql_type = diesel::sql_types::Text)]
            value: String,
        }
        let path = self.database();
        let mut connection = diesel::sqlite::SqliteConnection::establish(path.to_str().unwrap()).unwrap();
        let query = format!("SELECT CAST(value AS TEXT) AS value FROM ({query})");
        diesel::sql_query(query)
            .get_result::<Row>(&mut connection)
            .unwrap()
            .value
    }

    /// Changes the database beside the running program: what time or damage would do.
    pub fn change(&self, statement: &str) {
        use diesel::connection::SimpleConnection;
        use diesel::prelude::*;
        let path = self.database();
        let mut connection = diesel::sqlite::SqliteConnection::establish(path.to_str().unwrap()).unwrap();
        connection.batch_execute("PRAGMA busy_timeout = 5000").unwrap();
        connection.batch_execute(statement).unwrap();
    }

    pub fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    /// The log, once `text` is in it: lines arrive a moment after the response they tell of.
    pub fn log_with(&self, text: &str) -> String {
        for _ in 0..200 {
            let log = self.log();
            if log.contains(text) {
                return log;
            }
            std::thread::sleep(std::time::Duration::from_millis(25));
        }
        panic!("{text} is not in the log: {}", self.log());
    }

    pub fn reader(&self) -> Browser {
        Browser {
            address: self.address.clone(),
            cookies: Vec::new(),
        }
    }

    /// A browser with the owner signed in.
    pub fn owner(&self) -> Browser {
        let mut browser = self.reader();
        let response = login(&mut browser, PASSWORD);
        assert_eq!(response.location(), "/");
        browser
    }

    pub fn terminate(&mut self) -> ExitStatus {
        signal(&self.child, "-TERM");
        self.child.wait().unwrap()
    }

    /// Stops the program the hard way and starts it again on the same file.
    pub fn kill_and_restart(mut self) -> Self {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        let directory = std::mem::replace(&mut self.directory, tempfile::tempdir().unwrap());
        Self::start_in(directory, &[], None)
    }
}

impl Drop for TestApp {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub fn signal(child: &Child, name: &str) {
    let status = Command::new("kill")
        .args([name, &child.id().to_string()])
        .status()
        .unwrap();
    assert!(status.success());
}

pub fn login(browser: &mut Browser, password: &str) -> Response {
    let csrf = browser.get("/login").field("csrf");
    browser.post("/login", &[("csrf", &csrf), ("password", password)])
}

/// Writes a post through the form and answers with its address.
pub fn write(owner: &mut Browser, text: &str) -> String {
    let form = owner.get("/admin/new");
    let (csrf, key) = (form.field("csrf"), form.field("key"));
    let response = owner.post("/admin/posts", &[("csrf", &csrf), ("key", &key), ("body", text)]);
    response.location().to_owned()
}
