//! Whether the SQLite that is linked can do what the blog needs. The bundled source can; a library of somebody else's
//! (`cargo xtask image --sqlite`) was compiled with options of its own.

use std::sync::OnceLock;

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel::sqlite::SqliteConnection;

use crate::cli::Failure;

/// What is needed, for people, and statements that fail without it. They run in this order, in one database in memory.
const NEEDED: [(&str, &str); 5] = [
    (
        "STRICT tables (SQLite 3.37)",
        "CREATE TABLE probe (a INTEGER PRIMARY KEY, b TEXT NOT NULL) STRICT",
    ),
    (
        "RETURNING (SQLite 3.35)",
        "INSERT INTO probe VALUES (1, 'x') ON CONFLICT DO NOTHING RETURNING a",
    ),
    (
        "full-text search by trigrams (SQLite 3.34 with SQLITE_ENABLE_FTS5)",
        "CREATE VIRTUAL TABLE search USING fts5 (b, content = 'probe', content_rowid = 'a', tokenize = 'trigram case_sensitive 1')",
    ),
    (
        "triggers",
        "CREATE TRIGGER probe_insert AFTER INSERT ON probe BEGIN INSERT INTO search (rowid, b) VALUES (new.a, new.b); END",
    ),
    (
        "a search that is kept by triggers",
        "INSERT INTO probe VALUES (2, 'quick brown fox')",
    ),
];

/// Options without which it works, and not as the blog needs it.
const REFUSED: [(&str, &str); 3] = [
    ("THREADSAFE=0", "use by several threads"),
    ("OMIT_WAL", "the write-ahead log"),
    ("OMIT_FOREIGN_KEY", "foreign keys"),
];

#[derive(QueryableByName)]
struct Text {
    #[diesel(sql_type = diesel::sql_types::Text)]
    value: String,
}

/// Looks once in a process.
///
/// # Errors
/// When something is missing: which, and in which SQLite.
pub fn check() -> Result<(), Failure> {
    static FOUND: OnceLock<Result<(), String>> = OnceLock::new();
    FOUND.get_or_init(|| missing(&NEEDED)).clone().map_err(|message| {
        Failure::usage(
            message,
            "link another SQLite: `cargo xtask image` without --sqlite takes the one that comes with the source",
        )
    })
}

/// The error names the SQLite and the first thing that it lacks.
fn missing(needed: &[(&str, &str)]) -> Result<(), String> {
    let failed = |error: &dyn std::fmt::Display| format!("SQLite does not work: {error}");
    let mut memory = SqliteConnection::establish(":memory:").map_err(|error| failed(&error))?;
    let version = diesel::sql_query("SELECT sqlite_version() AS value")
        .get_result::<Text>(&mut memory)
        .map_err(|error| failed(&error))?
        .value;
    // Nothing where it was compiled without SQLITE_ENABLE_COMPILEOPTION_DIAGS: then the probes alone tell.
    let options: Vec<Text> = diesel::sql_query("SELECT compile_options AS value FROM pragma_compile_options")
        .load(&mut memory)
        .unwrap_or_default();
    for (option, what) in REFUSED {
        if options.iter().any(|line| line.value == option) {
            return Err(format!(
                "SQLite {version} was compiled with {option}, and the blog needs {what}"
            ));
        }
    }
    for (what, sql) in needed {
        memory
            .batch_execute(sql)
            .map_err(|error| format!("SQLite {version} lacks what the blog needs, {what}: {error}"))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_bundled_one_has_everything_and_what_is_missing_is_named() {
        check().unwrap();
        let wanted = [
            NEEDED[0],
            ("a tokenizer of tomorrow", "CREATE VIRTUAL TABLE t USING fts9 (b)"),
        ];
        let message = missing(&wanted).unwrap_err();
        assert!(message.starts_with("SQLite 3."), "{message}");
        assert!(
            message.contains("lacks what the blog needs, a tokenizer of tomorrow: no such module: fts9"),
            "{message}"
        );
    }
}
