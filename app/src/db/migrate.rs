//! Bringing the database file up to the schema this program knows.

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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
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
}
