//! What every page shares: the frame around it, its headers, and a post as pages show it.

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::http::header;
use askama::Template;

use super::style;
use crate::auth::{Owner, Visitor};
use crate::db::models::Post;
use crate::domain::{Zone, markup};
use crate::error::AppError;
use crate::startup::AppState;
use crate::words::{Choice, Words};

/// The frame: name of the blog, stylesheet, and what the owner sees more than others.
#[derive(Debug)]
pub struct Shell<'a> {
    pub site: &'a str,
    pub style: &'static str,
    /// The token for the owner's forms; `None` for readers.
    pub csrf: Option<String>,
    pub choice: Choice,
    pub words: &'static Words,
    /// What times are shown in.
    pub zone: Zone,
}

impl<'a> Shell<'a> {
    /// For a page that only the owner sees.
    pub fn owner(state: &'a AppState, owner: &Owner) -> Self {
        Self::new(state, Some(owner), owner.1)
    }

    /// For a page that everybody may see.
    pub fn visitor(state: &'a AppState, visitor: &Visitor) -> Self {
        Self::new(state, visitor.0.as_ref(), visitor.1)
    }

    pub fn new(state: &'a AppState, owner: Option<&Owner>, choice: Choice) -> Self {
        Self {
            choice,
            words: choice.lang.words(),
            zone: state.zone,
            site: &state.title,
            style: style::path(),
            csrf: owner.map(|owner| owner.0.csrf()),
        }
    }

    /// For `lang` of the page.
    pub fn lang(&self) -> &'static str {
        self.choice.lang.code()
    }

    /// An address on this blog, with the language the reader chose.
    pub fn to(&self, path: &str) -> String {
        if !self.choice.asked {
            return path.to_owned();
        }
        let (path, place) = path.split_at(path.find('#').unwrap_or(path.len()));
        let mark = if path.contains('?') { '&' } else { '?' };
        format!("{path}{mark}lang={}{place}", self.lang())
    }
}

pub fn render<T: Template>(status: StatusCode, template: &T) -> Result<HttpResponse, AppError> {
    Ok(respond(status, template.render()?))
}

/// A page readers see. Without the owner's token in it a browser may keep it for "back", which is slow over Tor.
pub fn render_public<T: Template>(template: &T, owner: Option<&Owner>) -> Result<HttpResponse, AppError> {
    let mut response = render(StatusCode::OK, template)?;
    if owner.is_none() {
        let headers = response.headers_mut();
        headers.insert(header::CACHE_CONTROL, header::HeaderValue::from_static("no-cache"));
        headers.insert(header::VARY, header::HeaderValue::from_static("cookie"));
    }
    Ok(response)
}

pub fn respond(status: StatusCode, html: String) -> HttpResponse {
    HttpResponse::build(status)
        .insert_header((header::CONTENT_TYPE, "text/html; charset=utf-8"))
        // A page may hold the owner's token: not even the browser keeps it on disk.
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .body(html)
}

/// After a form: the browser fetches the page anew, so "reload" sends nothing again.
pub fn redirect(to: &str) -> HttpResponse {
    HttpResponse::SeeOther()
        .insert_header((header::LOCATION, to))
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .finish()
}

/// A post, ready to be put into a template.
#[derive(Debug)]
pub struct Entry {
    pub id: i64,
    pub uuid: String,
    pub title: String,
    /// Safe HTML.
    pub html: String,
    pub published: Moment,
    pub edited: Option<Moment>,
    pub updated: String,
}

#[derive(Debug)]
pub struct Moment {
    pub machine: String,
    pub human: String,
}

impl From<&Post> for Entry {
    fn from(post: &Post) -> Self {
        let moment = |stamp: crate::domain::Stamp| Moment {
            machine: stamp.rfc3339(),
            human: stamp.human(),
        };
        Self {
            id: post.id,
            uuid: post.uuid.clone(),
            title: markup::excerpt(&post.body, 60),
            html: markup::html(&post.body),
            published: moment(post.published_at()),
            edited: post.edited_at().map(moment),
            updated: post.updated_at().rfc3339(),
        }
    }
}

pub fn set_cookie(response: &mut HttpResponse, cookie: &str) -> Result<(), AppError> {
    let value = header::HeaderValue::from_str(cookie).map_err(|error| AppError::Internal(Box::new(error)))?;
    response.headers_mut().append(header::SET_COOKIE, value);
    Ok(())
}
