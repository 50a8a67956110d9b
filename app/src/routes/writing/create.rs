//! `GET /admin/new`, `POST /admin/posts`: a new post, once per form however often it is sent.

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, web};

use super::compose::{self, Other, Purpose, Sheet};
use super::fields::{self, Pressed};
use crate::auth::{Owner, OwnerUpload};
use crate::db::models::Post;
use crate::db::queries::media;
use crate::db::queries::posts::find;
use crate::db::queries::writing::{self, Created, NewPost};
use crate::domain::{Kind, Problem, Stamp, Typed, hex, random};
use crate::error::AppError;
use crate::routes::media::Images;
use crate::routes::page;
use crate::routes::{Answer, Form};
use crate::startup::AppState;

/// An empty form; with `?reply_to=` one that continues a thread.
pub async fn new(request: HttpRequest, state: web::Data<AppState>, owner: Owner) -> Answer {
    let query = Form::parse(request.query_string().as_bytes());
    let mut typed = Typed::default();
    let mut after = None;
    if let Some(number) = query.get("reply_to") {
        let post = post_before(&state, number).await?.ok_or(AppError::NotFound)?;
        typed.reply_to = post.id.to_string();
        // A thread is seen by the same readers from its first post to its last.
        typed.visibility = post.visibility.word().to_owned();
        after = Some(post);
    }
    let sheet = Sheet::new(Purpose::New { key: None, after }, &typed);
    compose::show(StatusCode::OK, &state, &owner, sheet)
}

/// The post that a new one continues.
async fn post_before(state: &AppState, number: &str) -> Result<Option<Box<Post>>, AppError> {
    let Ok(id) = number.parse::<i64>() else {
        return Ok(None);
    };
    let post = state.db.read(move |connection| find(connection, id)).await?;
    let fits = |post: &Post| post.deleted_at().is_none() && post.kind != Kind::Page;
    Ok(post.filter(fits).map(Box::new))
}

pub async fn create(state: web::Data<AppState>, sent: OwnerUpload) -> Answer {
    let OwnerUpload { owner, form, uploads } = sent;
    let key = form
        .get("key")
        .and_then(hex::decode::<16>)
        .ok_or(AppError::BadRequest)?;
    let (typed, pressed) = (fields::typed(&form), Pressed::of(&form));
    let after = post_before(&state, &typed.reply_to).await?;
    let mut sheet = Sheet::new(
        Purpose::New {
            key: Some(key),
            after: after.clone(),
        },
        &typed,
    );
    sheet.images = Images::read(&state, &form, uploads, &owner.1.lang.words().media).await?;
    let images = sheet.images.attached();
    if let Some(status) = super::images_first(&mut sheet, pressed, &owner) {
        return compose::show(status, &state, &owner, sheet);
    }
    let parsed = fields::parse(&typed, pressed, None, state.zone).and_then(|parsed| {
        let gone = !typed.reply_to.is_empty() && after.is_none();
        if gone {
            Err(vec![Problem::NoSuchPost])
        } else {
            Ok(parsed)
        }
    });
    let (content, date) = match super::accepted(&mut sheet, parsed, pressed) {
        Ok(accepted) => accepted,
        Err(status) => return compose::show(status, &state, &owner, sheet),
    };
    let new = NewPost {
        key,
        form_hash: fields::hash(&form, &images),
        uuid: random::uuid()?,
        content,
        intent: pressed.intent(),
        date,
    };
    let (created, post) = state
        .db
        .write(move |connection| {
            let created = writing::create(connection, &new, Stamp::now())?;
            if let Created::New { id, .. } = &created {
                media::attach(connection, *id, &images)?;
            }
            let id = match &created {
                Created::New { id, .. } => Some(*id),
                Created::Again(id) | Created::Other(id) => *id,
                Created::Refused(_) => None,
            };
            let post = id.map(|id| find(connection, id)).transpose()?.flatten();
            Ok((created, post))
        })
        .await?;
    match created {
        Created::New { id, clock_behind } => {
            state.post_was_made(id, clock_behind);
        }
        Created::Again(_) => {}
        Created::Other(_) => {
            // A new key: whoever presses the button now means a second post.
            sheet.purpose = Purpose::New { key: None, after };
            sheet.notice = owner.1.lang.words().writing.sent_before;
            sheet.other = post.as_ref().map(Other::of);
            return compose::show(StatusCode::CONFLICT, &state, &owner, sheet);
        }
        Created::Refused(problem) => {
            sheet.problems = vec![problem];
            return compose::show(StatusCode::UNPROCESSABLE_ENTITY, &state, &owner, sheet);
        }
    }
    let address = post.as_ref().map_or("/".to_owned(), super::address_of);
    Ok(page::redirect(&address))
}
