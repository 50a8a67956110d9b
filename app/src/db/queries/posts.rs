//! One post, as it is.

use diesel::prelude::*;
use diesel::sqlite::SqliteConnection;

use crate::db::models::Post;
use crate::db::run::RunQueryDsl;
use crate::db::schema::posts;

pub fn find(connection: &mut SqliteConnection, id: i64) -> QueryResult<Option<Post>> {
    posts::table
        .find(id)
        .select(Post::as_select())
        .first(connection)
        .optional()
}
