//! `POST /logout`: ends the session, here and in the database.

use actix_web::web;

use crate::auth::session::COOKIE;
use crate::auth::{OwnerForm, cookie};
use crate::db::queries::sessions;
use crate::routes::Answer;
use crate::routes::page;
use crate::startup::AppState;

pub async fn logout(state: web::Data<AppState>, sent: OwnerForm) -> Answer {
    let hash = sent.owner.0.hash();
    state
        .db
        .write(move |connection| sessions::end(connection, &hash))
        .await?;
    let mut response = page::redirect("/");
    page::set_cookie(&mut response, &cookie::write(COOKIE, "", 0, state.secure_cookie))?;
    Ok(response)
}
