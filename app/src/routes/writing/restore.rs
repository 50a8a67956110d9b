//! `POST /admin/posts/{id}/restore`: out of the trash, as it was.

use actix_web::web;

use crate::auth::OwnerForm;
use crate::db::queries::{posts, trash};
use crate::error::AppError;
use crate::routes::Answer;
use crate::routes::page;
use crate::routes::posts::PostId;
use crate::startup::AppState;

pub async fn restore(state: web::Data<AppState>, id: PostId, _checked: OwnerForm) -> Answer {
    let post = state
        .db
        .write(move |connection| {
            trash::restore(connection, id.0)?;
            posts::find(connection, id.0)
        })
        .await?;
    let post = post.ok_or(AppError::NotFound)?;
    // What was scheduled may be due by now.
    state.schedule.notify_one();
    Ok(page::redirect(&super::address_of(&post)))
}
