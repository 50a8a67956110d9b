//! Bringing the database file up to the schema this program knows.

use diesel::RunQueryDsl as _;
use diesel::migration::{Migration, MigrationSource};
use diesel::sqlite::{Sqlite, SqliteConnection};
use diesel_migrations::{EmbeddedMigrations, MigrationHarness, embed_migrations};

use crate::cli::Failure;

const MIGRATIONS: EmbeddedMigrations = embed_migrations!("migrations");

type AnyError = Box<dyn std::error::Error + Send + Sync>;

pub fn run(connection: &mut SqliteConnection, path: &str) -> Result<(), Failure> {
    let failed = |error: AnyError| Failure::fatal(format!("cannot bring the database {path} up to date: {error}"));
    if let Some(version) = unknown_version(connection).map_err(failed)? {
        return Err(Failure::usage(
            format!("the database {path} was written by a newer blog (it has migration {version})"),
            "run that newer version, or restore a copy of the file from before it ran",
        ));
    }
    connection.run_pending_migrations(MIGRATIONS).map_err(failed)?;
    Ok(())
}

/// A migration in the file that this program does not have. Going on would write what the newer one cannot read.
fn unknown_version(connection: &mut SqliteConnection) -> Result<Option<String>, AnyError> {
    let known = MigrationSource::<Sqlite>::migrations(&MIGRATIONS)?;
    let applied = connection.applied_migrations()?;
    let unknown = applied
        .iter()
        .find(|version| known.iter().all(|migration| migration.name().version() != **version));
    Ok(unknown.map(ToString::to_string))
}

/// How a database stands to the migrations of this program.
#[derive(Debug, PartialEq, Eq)]
pub enum Standing {
    Current,
    /// So many are still to be made.
    Behind(usize),
    /// It has one that this program does not know.
    Ahead(String),
}

/// Looks and changes nothing.
pub fn standing(connection: &mut SqliteConnection) -> Result<Standing, AnyError> {
    let known = MigrationSource::<Sqlite>::migrations(&MIGRATIONS)?;
    let rows: Vec<Version> =
        diesel::sql_query("SELECT version AS value FROM __diesel_schema_migrations ORDER BY version")
            .load(connection)?;
    let is_known = |row: &&Version| {
        known
            .iter()
            .any(|migration| migration.name().version().to_string() == row.value)
    };
    if let Some(unknown) = rows.iter().find(|row| !is_known(row)) {
        return Ok(Standing::Ahead(unknown.value.clone()));
    }
    Ok(match known.len() - rows.len() {
        0 => Standing::Current,
        count => Standing::Behind(count),
    })
}

#[derive(diesel::QueryableByName)]
struct Version {
    #[diesel(sql_type = diesel::sql_types::Text)]
    value: String,
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use diesel::connection::SimpleConnection;
    use diesel::migration::MigrationConnection;
    use diesel::prelude::*;

    use super::*;

    #[derive(QueryableByName, Debug, PartialEq)]
    struct Entry {
        #[diesel(sql_type = diesel::sql_types::Text)]
        name: String,
        #[diesel(sql_type = diesel::sql_types::Text)]
        sql: String,
    }

    fn schema(connection: &mut SqliteConnection) -> Vec<Entry> {
        diesel::sql_query(
            "SELECT name, sql FROM sqlite_schema \
             WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' \
             UNION ALL SELECT 'application_id', application_id FROM pragma_application_id \
             ORDER BY name",
        )
        .load(connection)
        .unwrap()
    }

    #[test]
    fn down_undoes_up() {
        let connection = &mut SqliteConnection::establish(":memory:").unwrap();
        connection.run_pending_migrations(MIGRATIONS).unwrap();
        let up = schema(connection);
        assert!(
            up.iter()
                .any(|entry| entry.name == "posts" && entry.sql.contains("STRICT"))
        );
        assert!(up.iter().any(|entry| entry.sql == "1651273575"));

        connection.revert_all_migrations(MIGRATIONS).unwrap();
        let down = schema(connection);
        let names: Vec<_> = down.iter().map(|entry| entry.name.as_str()).collect();
        assert_eq!(names, ["__diesel_schema_migrations", "application_id"]);
        assert_eq!(down[1].sql, "0");

        connection.run_pending_migrations(MIGRATIONS).unwrap();
        assert_eq!(schema(connection), up);
    }

    #[test]
    fn each_step_down_undoes_its_step_up() {
        let connection = &mut SqliteConnection::establish(":memory:").unwrap();
        connection.setup().unwrap();
        let mut steps = vec![schema(connection)];
        for migration in MigrationSource::<Sqlite>::migrations(&MIGRATIONS).unwrap() {
            connection.run_migration(&migration).unwrap();
            steps.push(schema(connection));
        }
        steps.pop();
        while let Some(before) = steps.pop() {
            connection.revert_last_migration(MIGRATIONS).unwrap();
            assert_eq!(schema(connection), before);
        }
    }

    #[test]
    fn posts_survive_the_way_up_and_down() {
        let connection = &mut SqliteConnection::establish(":memory:").unwrap();
        connection.batch_execute("PRAGMA foreign_keys = ON").unwrap();
        connection.run_next_migration(MIGRATIONS).unwrap();
        let key = "x'00112233445566778899aabbccddeeff'";
        connection
            .batch_execute(&format!(
                "INSERT INTO posts (id, uuid, body, created_at, edited_at)
                     VALUES (7, '0b1d9d2e-3f9a-4c39-8f6c-0d7c6a3e5f10', 'text', 100, 200);
                 INSERT INTO compose_keys VALUES ({key}, zeroblob(32), 7, 100);"
            ))
            .unwrap();
        let same = |connection: &mut SqliteConnection, time: &str| {
            diesel::sql_query(format!(
                "SELECT p.uuid || p.body AS name, p.id || ' ' || p.{time} || ' ' || p.edited_at || ' ' || k.post_id AS sql
                 FROM posts p JOIN compose_keys k"
            ))
            .get_result::<Entry>(connection)
            .unwrap()
        };
        let before = same(connection, "created_at");
        assert_eq!(before.sql, "7 100 200 7");
        connection.run_pending_migrations(MIGRATIONS).unwrap();
        assert_eq!(same(connection, "published_at"), before);
        while connection.applied_migrations().unwrap().len() > 1 {
            connection.revert_last_migration(MIGRATIONS).unwrap();
        }
        assert_eq!(same(connection, "created_at"), before);
    }
}
