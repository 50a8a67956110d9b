//! How much there is of everything.

use diesel::prelude::*;
use diesel::sqlite::SqliteConnection;

use crate::db::run::RunQueryDsl;
use crate::db::schema::{api_tokens, media, posts, sessions};
use crate::domain::{Stamp, State};

/// Rows, and bytes where it says so.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counts {
    pub published: i64,
    pub drafts: i64,
    pub scheduled: i64,
    pub trash: i64,
    pub sessions: i64,
    pub tokens: i64,
    pub images: i64,
    pub image_bytes: i64,
}

pub fn all(connection: &mut SqliteConnection) -> QueryResult<Counts> {
    let mut of_state = |state: State| {
        posts::table
            .filter(posts::state.eq(state))
            .filter(posts::deleted_at.is_null())
            .count()
            .get_result::<i64>(connection)
    };
    let (published, drafts) = (of_state(State::Published)?, of_state(State::Draft)?);
    let scheduled = of_state(State::Scheduled)?;
    Ok(Counts {
        published,
        drafts,
        scheduled,
        trash: posts::table
            .filter(posts::deleted_at.is_not_null())
            .count()
            .get_result(connection)?,
        sessions: sessions::table
            .filter(sessions::expires_at.gt(Stamp::now().0))
            .count()
            .get_result(connection)?,
        tokens: api_tokens::table.count().get_result(connection)?,
        images: media::table.count().get_result(connection)?,
        image_bytes: media::table
            .select(diesel::dsl::sql::<diesel::sql_types::BigInt>("coalesce(sum(bytes), 0)"))
            .first(connection)?,
    })
}
