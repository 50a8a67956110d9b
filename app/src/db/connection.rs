//! Opening the database file: what every connection is told first, and whether the file is ours.

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel::sqlite::SqliteConnection;

use super::features;
use crate::cli::Failure;

/// `blog` in ASCII; the first migration writes it into the file.
pub const APPLICATION_ID: i32 = 0x626c_6f67;

/// For the one connection that writes.
pub fn writer(path: &str) -> Result<SqliteConnection, Failure> {
    let mut connection = open(path)?;
    refuse_foreign(&mut connection, path)?;
    configure(&mut connection).map_err(|error| unusable(path, &error.to_string()))?;
    Ok(connection)
}

/// For reading only: a mistake in a query cannot become a second writer.
pub fn reader(path: &str) -> Result<SqliteConnection, Failure> {
    let mut connection = open(path)?;
    configure(&mut connection)
        .and_then(|()| connection.batch_execute("PRAGMA query_only = ON"))
        .map_err(|error| unusable(path, &error.to_string()))?;
    Ok(connection)
}

/// For reading a file that nobody changes: no lock is taken and nothing is made beside it. What is in the write-ahead log
/// is not seen.
pub fn unchanging(path: &str) -> QueryResult<SqliteConnection> {
    // https://sqlite.org/uri.html; only `?`, `#` and `%` would be more than a part of the name.
    let mut name = String::new();
    for c in path.chars() {
        match c {
            '?' | '#' | '%' => name.push_str(&format!("%{:02X}", u32::from(c))),
            c => name.push(c),
        }
    }
    let start = if path.starts_with('/') { "" } else { "./" };
    let opened = SqliteConnection::establish(&format!("file:{start}{name}?immutable=1&mode=ro"));
    let mut connection = opened.map_err(|error| diesel::result::Error::QueryBuilderError(Box::new(error)))?;
    for pragma in [
        "PRAGMA query_only = ON",
        "PRAGMA trusted_schema = OFF",
        "PRAGMA cache_size = -1024",
    ] {
        connection.batch_execute(pragma)?;
    }
    Ok(connection)
}

/// Whose file it is, as far as it says so itself.
pub fn application_id(connection: &mut SqliteConnection) -> QueryResult<i32> {
    let row = diesel::sql_query("SELECT application_id AS value FROM pragma_application_id");
    row.get_result::<Number>(connection).map(|row| row.value)
}

fn open(path: &str) -> Result<SqliteConnection, Failure> {
    // Before a file is made that another SQLite would have to read.
    features::check()?;
    let file = Path::new(path);
    let parent = file.parent().filter(|parent| !parent.as_os_str().is_empty());
    if let Some(parent) = parent.filter(|parent| !parent.is_dir()) {
        return Err(Failure::usage(
            format!(
                "cannot open the database {path}: there is no directory {}",
                parent.display()
            ),
            "make the directory, or choose another file with --database or BLOG_DATABASE",
        ));
    }
    // SQLite reads "file:x" and ":memory:" as more than names. A leading "./" makes every name a plain one.
    let plain = if file.is_absolute() {
        path.to_owned()
    } else {
        format!("./{path}")
    };
    let failed = |error: &dyn std::fmt::Display| unusable(path, &error.to_string());
    // Sessions and the password's hash are nobody else's to read; SQLite gives its -wal and -shm the same mode.
    // A file that is there is not touched: to open and close it would drop the locks that SQLite holds on it.
    if !file.exists() {
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(false).mode(0o600);
        options.open(file).map_err(|error| failed(&error))?;
    }
    let mut connection = SqliteConnection::establish(&plain).map_err(|error| failed(&error))?;
    // Before anything is asked: whatever comes next waits for a lock instead of failing.
    connection
        .batch_execute("PRAGMA busy_timeout = 5000")
        .map_err(|error| failed(&error))?;
    Ok(connection)
}

/// One statement each.
fn configure(connection: &mut SqliteConnection) -> QueryResult<()> {
    for pragma in [
        "PRAGMA journal_mode = WAL",
        // A post that was acknowledged survives a power cut; NORMAL would not promise that.
        "PRAGMA synchronous = FULL",
        "PRAGMA foreign_keys = ON",
        "PRAGMA trusted_schema = OFF",
        // 1 MiB, not SQLite's 2: three connections share a machine with 512 MB.
        "PRAGMA cache_size = -1024",
    ] {
        connection.batch_execute(pragma)?;
    }
    Ok(())
}

#[derive(QueryableByName)]
struct Number {
    #[diesel(sql_type = diesel::sql_types::Integer)]
    value: i32,
}

/// Runs before anything is written, so that a wrong path harms nobody's file.
fn refuse_foreign(connection: &mut SqliteConnection, path: &str) -> Result<(), Failure> {
    let id = application_id(connection).map_err(|error| unusable(path, &error.to_string()))?;
    let mut number = |query: &str| {
        diesel::sql_query(query)
            .get_result::<Number>(connection)
            .map(|row| row.value)
            .map_err(|error| unusable(path, &error.to_string()))
    };
    if id == APPLICATION_ID || id == 0 && number("SELECT count(*) AS value FROM sqlite_schema")? == 0 {
        return Ok(());
    }
    // A blog whose migrations were all taken back keeps only the list of them.
    let known = number("SELECT count(*) AS value FROM sqlite_schema WHERE name = '__diesel_schema_migrations'")?;
    if id == 0 && known == 1 {
        return Ok(());
    }
    Err(Failure::usage(
        format!("{path} is a database of some other program"),
        "choose another file with --database or BLOG_DATABASE",
    ))
}

fn unusable(path: &str, error: &str) -> Failure {
    Failure::usage(
        format!("cannot use the database {path}: {error}"),
        "the file and its directory must be readable and writable for the user that runs the blog",
    )
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::os::unix::fs::PermissionsExt;
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_new_file_is_for_its_user_alone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("blog.db").to_str().unwrap().to_owned();
        let mut writer = writer(&path).unwrap();
        writer.batch_execute("CREATE TABLE t (a)").unwrap();
        for suffix in ["", "-wal", "-shm"] {
            let mode = std::fs::metadata(format!("{path}{suffix}"))
                .unwrap()
                .permissions()
                .mode();
            assert_eq!(mode & 0o777, 0o600, "{suffix}");
        }
    }

    #[test]
    fn a_file_that_nobody_changes_is_read_alone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a?b#c%41 d.db").to_str().unwrap().to_owned();
        let mut writer = writer(&path).unwrap();
        writer
            .batch_execute("PRAGMA application_id = 7; CREATE TABLE t (a)")
            .unwrap();
        drop(writer);
        let before = std::fs::read_dir(directory.path()).unwrap().count();
        let mut connection = unchanging(&path).unwrap();
        assert_eq!(application_id(&mut connection).unwrap(), 7);
        assert!(connection.batch_execute("CREATE TABLE u (a)").is_err());
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), before);
        assert!(unchanging("/none/x.db").is_err());
    }

    #[test]
    fn a_locked_file_is_waited_for() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("blog.db").to_str().unwrap().to_owned();
        let mut other = SqliteConnection::establish(&path).unwrap();
        other
            .batch_execute("PRAGMA application_id = 1651273575; CREATE TABLE t (a); BEGIN EXCLUSIVE")
            .unwrap();
        let release = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(200));
            other.batch_execute("COMMIT").unwrap();
        });
        writer(&path).unwrap();
        release.join().unwrap();
    }
}
