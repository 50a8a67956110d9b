//! The page with the form: for a new post, for an old one, with a preview, with what is wrong, with what was there.

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use askama::Template;

use super::fields;
use crate::auth::Owner;
use crate::db::models::Post;
use crate::domain::markup::{self, Place};
use crate::domain::{Content, Problem, State, Typed, Visibility, hex, random};
use crate::error::AppError;
use crate::routes::media::Images;
use crate::routes::page::{self, Shell};
use crate::startup::AppState;
use crate::words::Writing;

/// What the form is for.
#[derive(Debug)]
pub enum Purpose {
    New {
        /// None: a form that was never sent.
        key: Option<[u8; 16]>,
        /// The post that the new one continues.
        after: Option<Box<Post>>,
    },
    Edit {
        id: i64,
        state: State,
        version: String,
        cancel: String,
    },
}

/// A form to be shown.
#[derive(Debug)]
pub struct Sheet<'a> {
    pub purpose: Purpose,
    pub typed: &'a Typed,
    pub problems: Vec<Problem>,
    pub images: Images,
    /// What is wrong with them, in the words of the page.
    pub image_problem: Option<String>,
    /// A sentence above the form that is about no field.
    pub notice: &'static str,
    pub preview: Option<Content>,
    /// What is saved already, when the form says something else.
    pub other: Option<Other>,
}

#[derive(Debug)]
pub struct Other {
    pub address: String,
    pub title: String,
    pub body: String,
}

impl Other {
    pub fn of(post: &Post) -> Self {
        Self {
            address: super::address_of(post),
            title: post.title.clone().unwrap_or_default(),
            body: post.body.clone(),
        }
    }
}

impl<'a> Sheet<'a> {
    pub fn new(purpose: Purpose, typed: &'a Typed) -> Self {
        Self {
            purpose,
            typed,
            problems: Vec::new(),
            images: Images::default(),
            image_problem: None,
            notice: "",
            preview: None,
            other: None,
        }
    }
}

#[derive(Template)]
#[template(path = "admin/compose.html")]
struct Compose<'a> {
    shell: Shell<'a>,
    words: &'static Writing,
    heading: &'static str,
    action: String,
    csrf: String,
    key: String,
    version: String,
    publish: &'static str,
    draft: &'static str,
    cancel: String,
    id: Option<i64>,
    typed: &'a Typed,
    visibilities: [(&'static str, &'static str, bool); 3],
    zone: String,
    is_open: bool,
    notice: &'static str,
    problems: Vec<(&'static str, String)>,
    images: Images,
    preview: Option<Preview>,
    after: Option<(i64, String)>,
    other: Option<Other>,
}

struct Preview {
    title: String,
    link: String,
    html: String,
}

impl Compose<'_> {
    fn is_wrong(&self, field: &str) -> bool {
        self.problems.iter().any(|(name, _)| *name == field)
    }
}

pub fn show(status: StatusCode, state: &AppState, owner: &Owner, sheet: Sheet<'_>) -> Result<HttpResponse, AppError> {
    let shell = Shell::owner(state, owner);
    let words = &shell.words.writing;
    let typed = sheet.typed;
    let mut problems: Vec<_> = sheet
        .problems
        .iter()
        .map(|problem| (problem.field(), words.problem(problem)))
        .collect();
    let post_state = match &sheet.purpose {
        Purpose::New { .. } => None,
        Purpose::Edit { state, .. } => Some(*state),
    };
    let is_open = fields::has_more(typed, post_state) || problems.iter().any(|(field, _)| *field != "body");
    problems.extend(sheet.image_problem.map(|problem| ("file", problem)));
    let mut images = sheet.images;
    for (n, item) in (1..).zip(&mut images.items) {
        item.label = (shell.words.media.image)(n);
    }
    let (heading, action, cancel) = match &sheet.purpose {
        Purpose::New { after: None, .. } => (words.new_post, "/admin/posts".to_owned(), "/".to_owned()),
        Purpose::New { after: Some(_), .. } => (words.continue_thread, "/admin/posts".to_owned(), "/".to_owned()),
        Purpose::Edit { id, cancel, .. } => (words.edit_post, format!("/admin/posts/{id}/edit"), cancel.clone()),
    };
    let (publish, draft) = match post_state {
        None => (words.post, words.save_draft),
        Some(State::Draft) => (words.publish, words.save_draft),
        Some(State::Scheduled | State::Published) => (words.save, words.back_to_draft),
    };
    let (mut key, mut version, mut after, mut id) = (String::new(), String::new(), None, None);
    match sheet.purpose {
        Purpose::New {
            key: known,
            after: post,
        } => {
            let known = match known {
                Some(known) => known,
                None => random::bytes()?,
            };
            key = hex::encode(&known);
            after = post.map(|post| (post.id, markup::excerpt(&post.body, 100)));
        }
        Purpose::Edit {
            version: known,
            id: post,
            ..
        } => {
            version = known;
            id = Some(post);
        }
    }
    let chosen = Visibility::parse(&typed.visibility).unwrap_or(Visibility::Public);
    let visibility = |value: Visibility, label| (value.word(), label, value == chosen);
    let compose = Compose {
        words,
        heading,
        action,
        csrf: owner.0.csrf(),
        key,
        version,
        publish,
        draft,
        cancel,
        id,
        typed,
        visibilities: [
            visibility(Visibility::Public, words.public),
            visibility(Visibility::Unlisted, words.unlisted),
            visibility(Visibility::Private, words.private),
        ],
        zone: shell.zone.name(),
        is_open,
        notice: sheet.notice,
        problems,
        images,
        preview: sheet.preview.map(|content| Preview {
            title: content.title.unwrap_or_default(),
            link: content.link.unwrap_or_default(),
            html: markup::html_at(&content.body, Place::LIST),
        }),
        after,
        other: sheet.other,
        shell,
    };
    page::render(status, &compose)
}
