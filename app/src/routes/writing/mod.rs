//! Writing: the owner's desk, the form for every kind of post, and what can be done to a post afterwards.

pub mod compose;
pub mod create;
pub mod desk;
pub mod discard;
pub mod edit;
pub mod fields;
pub mod history;
pub mod pin;
pub mod purge;
pub mod restore;
pub mod shelf;

use actix_web::http::StatusCode;

use self::compose::Sheet;
use self::fields::Pressed;
use crate::auth::Owner;
use crate::db::models::Post;
use crate::domain::{Content, Kind, Problem, Stamp, State, Visibility};

/// What is wrong with the images of a form goes onto its page. A status: there is nothing to do but to show it again.
fn images_first(sheet: &mut Sheet<'_>, pressed: Pressed, owner: &Owner) -> Option<StatusCode> {
    let words = &owner.1.lang.words().media;
    if pressed != Pressed::Images {
        sheet.image_problem = sheet.images.problem(words);
        return None;
    }
    sheet.image_problem = sheet.images.refusals(words);
    let refused = sheet.image_problem.is_some();
    Some(if refused {
        StatusCode::UNPROCESSABLE_ENTITY
    } else {
        StatusCode::OK
    })
}

/// The post and its date, if they are to be saved. A status: the form is shown again, with what is wrong or as a preview.
fn accepted(
    sheet: &mut Sheet<'_>,
    parsed: Result<(Content, Option<Stamp>), Vec<Problem>>,
    pressed: Pressed,
) -> Result<(Content, Option<Stamp>), StatusCode> {
    let (content, date) = parsed.map_err(|problems| {
        sheet.problems = problems;
        StatusCode::UNPROCESSABLE_ENTITY
    })?;
    if sheet.image_problem.is_some() {
        return Err(StatusCode::UNPROCESSABLE_ENTITY);
    }
    if pressed == Pressed::Preview {
        sheet.preview = Some(content);
        return Err(StatusCode::OK);
    }
    Ok((content, date))
}

/// Where its owner finds a post.
pub fn address_of(post: &Post) -> String {
    if post.deleted_at().is_some() {
        return "/admin/trash".to_owned();
    }
    match (post.state, post.kind, post.visibility) {
        (State::Draft, ..) => "/admin/drafts".to_owned(),
        (State::Scheduled, ..) => "/admin/scheduled".to_owned(),
        (State::Published, Kind::Page, _) => match &post.slug {
            Some(slug) => format!("/{slug}"),
            None => "/admin/pages".to_owned(),
        },
        (State::Published, _, Visibility::Unlisted) => format!("/u/{}", post.uuid),
        (State::Published, ..) => format!("/posts/{}", post.id),
    }
}
