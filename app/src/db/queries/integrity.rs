//! What a database can say about its own health, and what must be the same in a copy of it.

use diesel::prelude::*;
use diesel::sql_types::{BigInt, Text};
use diesel::sqlite::SqliteConnection;

use crate::db::run::RunQueryDsl;
use crate::db::schema::media;

#[derive(QueryableByName)]
struct Line {
    #[diesel(sql_type = Text)]
    value: String,
}

#[derive(QueryableByName)]
struct Complaint {
    #[diesel(sql_type = Text)]
    integrity_check: String,
}

#[derive(QueryableByName)]
struct Number {
    #[diesel(sql_type = BigInt)]
    value: i64,
}

/// What SQLite finds wrong with the file (`integrity_check`), at most 20 lines; none when it is sound.
pub fn damage(connection: &mut SqliteConnection) -> QueryResult<Vec<String>> {
    let lines: Vec<Complaint> = diesel::sql_query("PRAGMA integrity_check(20)").load(connection)?;
    let lines = lines.into_iter().map(|line| line.integrity_check);
    Ok(lines.filter(|line| line != "ok").collect())
}

/// Rows that refer to rows that are not there: `table: parent, count`.
pub fn dangling(connection: &mut SqliteConnection) -> QueryResult<Vec<String>> {
    let lines: Vec<Line> = diesel::sql_query(
        "SELECT \"table\" || ' refers to ' || count(*) || ' rows of ' || \"parent\" || ' that are not there' AS value \
         FROM pragma_foreign_key_check GROUP BY \"table\", \"parent\"",
    )
    .load(connection)?;
    Ok(lines.into_iter().map(|line| line.value).collect())
}

/// Name and number of rows of every table, but those in which the search index keeps itself: their rows are merged and
/// split as posts are written.
pub fn counts(connection: &mut SqliteConnection) -> QueryResult<Vec<(String, i64)>> {
    let tables: Vec<Line> = diesel::sql_query(
        "SELECT name AS value FROM pragma_table_list \
         WHERE schema = 'main' AND type IN ('table', 'virtual') AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' ORDER BY name",
    )
    .load(connection)?;
    let mut counts = Vec::with_capacity(tables.len());
    for table in tables {
        let name = table.value.replace('"', "\"\"");
        let count = number(connection, &format!("SELECT count(*) AS value FROM \"{name}\""))?;
        counts.push((table.value, count));
    }
    Ok(counts)
}

/// The texts of all tables, indexes and triggers, with their names.
pub fn schema(connection: &mut SqliteConnection) -> QueryResult<Vec<String>> {
    let lines: Vec<Line> = diesel::sql_query(
        "SELECT type || ' ' || name || ': ' || coalesce(sql, '') AS value FROM sqlite_schema \
         WHERE name NOT LIKE 'sqlite\\_%' ESCAPE '\\' ORDER BY type, name",
    )
    .load(connection)?;
    Ok(lines.into_iter().map(|line| line.value).collect())
}

pub fn application_id(connection: &mut SqliteConnection) -> QueryResult<i64> {
    number(connection, "SELECT application_id AS value FROM pragma_application_id")
}

pub fn user_version(connection: &mut SqliteConnection) -> QueryResult<i64> {
    number(connection, "SELECT user_version AS value FROM pragma_user_version")
}

/// Another number once another connection has changed the database (<https://sqlite.org/pragma.html#pragma_data_version>).
pub fn data_version(connection: &mut SqliteConnection) -> QueryResult<i64> {
    number(connection, "SELECT data_version AS value FROM pragma_data_version")
}

/// Lets nobody else write until this connection is closed. Waits for who is writing, as long as its `busy_timeout` says.
pub fn hold_writers(connection: &mut SqliteConnection) -> QueryResult<()> {
    diesel::connection::SimpleConnection::batch_execute(connection, "BEGIN IMMEDIATE")
}

/// The date of the newest post that is out.
pub fn newest_post(connection: &mut SqliteConnection) -> QueryResult<i64> {
    number(
        connection,
        "SELECT coalesce(max(published_at), 0) AS value FROM posts WHERE state = 'published'",
    )
}

/// An image as the database knows it.
#[derive(Debug, Clone, PartialEq, Eq, Queryable)]
pub struct Image {
    pub id: i64,
    pub sha256: Vec<u8>,
    pub mime: String,
    pub bytes: i64,
}

/// Images with a number above `after`, in order.
pub fn images(connection: &mut SqliteConnection, after: i64, limit: i64) -> QueryResult<Vec<Image>> {
    media::table
        .filter(media::id.gt(after))
        .order(media::id)
        .limit(limit)
        .select((media::id, media::sha256, media::mime, media::bytes))
        .load(connection)
}

/// Whether there is an image with this hash.
pub fn has_image(connection: &mut SqliteConnection, sha256: &[u8]) -> QueryResult<bool> {
    diesel::select(diesel::dsl::exists(media::table.filter(media::sha256.eq(sha256)))).get_result(connection)
}

/// Makes every index anew from its table.
pub fn reindex(connection: &mut SqliteConnection) -> QueryResult<()> {
    diesel::sql_query("REINDEX").execute(connection).map(|_| ())
}

/// Writes a clean copy into a new file. Waits for nobody and holds up nobody.
pub fn copy_into(connection: &mut SqliteConnection, path: &str) -> QueryResult<()> {
    diesel::sql_query("VACUUM INTO ?")
        .bind::<Text, _>(path)
        .execute(connection)
        .map(|_| ())
}

fn number(connection: &mut SqliteConnection, query: &str) -> QueryResult<i64> {
    diesel::sql_query(query)
        .get_result::<Number>(connection)
        .map(|row| row.value)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn how_the_search_index_keeps_itself_is_not_counted() {
        let mut connection = SqliteConnection::establish(":memory:").unwrap();
        crate::db::migrate::run(&mut connection, ":memory:").unwrap();
        let counts = counts(&mut connection).unwrap();
        let names: Vec<&str> = counts.iter().map(|(name, _)| name.as_str()).collect();
        assert!(!names.iter().any(|name| name.starts_with("search_index_")), "{names:?}");
        assert!(
            names.contains(&"posts") && names.contains(&"search_index") && names.len() > 8,
            "{names:?}"
        );
    }
}
