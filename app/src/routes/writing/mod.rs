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

use crate::db::models::Post;
use crate::domain::{Kind, State, Visibility};

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
