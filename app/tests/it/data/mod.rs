//! Data in and out: imports, exports, backups, checks. All of it through the real program.

pub mod archives;
mod backup;
mod check;
mod export;
mod markdown;
mod mastodon;
mod mirror;
mod x_archive;
mod x_large;

use std::path::{Path, PathBuf};
use std::process::Command;

use diesel::prelude::*;
use diesel::sql_types::Text;
use diesel::sqlite::SqliteConnection;

use crate::app::program;

/// A directory with a database that commands work on.
pub struct Place {
    pub directory: tempfile::TempDir,
}

/// What a command said.
#[derive(Debug)]
pub struct Said {
    pub code: i32,
    pub out: String,
    pub err: String,
}

#[derive(QueryableByName)]
struct Line {
    #[diesel(sql_type = Text)]
    value: String,
}

impl Place {
    pub fn new() -> Self {
        Self {
            directory: tempfile::tempdir().unwrap(),
        }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub fn database(&self) -> PathBuf {
        self.path("blog.db")
    }

    pub fn command(&self, words: &[&str]) -> Command {
        let mut command = program();
        command.args(words).arg("--database").arg(self.database());
        command.current_dir(self.directory.path());
        command
    }

    pub fn blog(&self, words: &[&str]) -> Said {
        let output = self.command(words).output().unwrap();
        Said {
            code: output.status.code().unwrap_or(-1),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// A command that must succeed: its JSON.
    pub fn json(&self, words: &[&str]) -> serde_json::Value {
        let said = self.blog(&[words, &["--json"]].concat());
        assert_eq!(said.code, 0, "{words:?}: {said:?}");
        serde_json::from_str(&said.out).unwrap()
    }

    /// The column `value` of a query.
    pub fn sql(&self, query: &str) -> Vec<String> {
        sql(&self.database(), query)
    }

    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }
}

pub fn sql(database: &Path, query: &str) -> Vec<String> {
    let mut connection = SqliteConnection::establish(database.to_str().unwrap()).unwrap();
    diesel::sql_query("PRAGMA busy_timeout = 5000")
        .execute(&mut connection)
        .unwrap();
    let lines: Vec<Line> = diesel::sql_query(query).load(&mut connection).unwrap();
    lines.into_iter().map(|line| line.value).collect()
}

/// Changes the database behind the program's back.
pub fn execute(database: &Path, statements: &str) {
    use diesel::connection::SimpleConnection;
    let mut connection = SqliteConnection::establish(database.to_str().unwrap()).unwrap();
    connection.batch_execute(statements).unwrap();
}

/// A PNG of one colour, another one for each `seed`, with a text in it that must not survive.
pub fn png(seed: u8) -> Vec<u8> {
    use std::io::Write;
    let mut png = b"\x89PNG\r\n\x1a\n".to_vec();
    let mut chunk = |kind: &[u8; 4], content: &[u8]| {
        png.extend(u32::try_from(content.len()).unwrap().to_be_bytes());
        let mut crc = flate2::Crc::new();
        crc.update(kind);
        crc.update(content);
        png.extend(kind);
        png.extend(content);
        png.extend(crc.sum().to_be_bytes());
    };
    chunk(b"IHDR", &[0, 0, 0, 2, 0, 0, 0, 1, 8, 2, 0, 0, 0]);
    chunk(b"tEXt", b"Comment\0taken at home");
    let mut data = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::new(6));
    data.write_all(&[0, seed, 1, 2, seed, 3, 4]).unwrap();
    chunk(b"IDAT", &data.finish().unwrap());
    chunk(b"IEND", b"");
    png
}

/// Packs files into a zip.
pub fn zip(path: &Path, files: &[(&str, &[u8])]) {
    let mut zip = blog::archive::Zip::new(std::fs::File::create(path).unwrap());
    for (name, content) in files {
        zip.add(name, &mut &**content, true).unwrap();
    }
    zip.finish().unwrap();
}
