//! What every page shares: the frame around it and its headers.

use std::sync::Arc;

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::http::header;
use askama::Template;

use super::style;
use crate::auth::{Owner, Visitor};
use crate::db::queries::reading::MenuItem;
use crate::domain::{Cursor, Zone};
use crate::error::AppError;
use crate::listen::Audience;
use crate::startup::AppState;
use crate::words::{Choice, Lang, Words};

/// The frame: name of the blog, stylesheet, and what the owner sees more than others.
#[derive(Debug)]
pub struct Shell<'a> {
    pub site: &'a str,
    pub style: &'static str,
    /// The configured address; empty when there is none.
    pub base: &'a str,
    /// Whether programs may post at this address.
    pub takes_programs: bool,
    /// The token for the owner's forms; `None` for readers.
    pub csrf: Option<String>,
    /// Whether there is a place to sign in at, and somebody who might.
    pub signs_in: bool,
    pub choice: Choice,
    /// What this page has of its query besides the language, for the links to the other languages. Whatever else a reader
    /// sent is not in it, so that it makes no other page. None: no such links.
    pub here: Option<String>,
    pub menu: Arc<Vec<MenuItem>>,
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
        let mut shell = Self::new(state, visitor.0.as_ref(), visitor.1);
        shell.here = Some(String::new());
        shell
    }

    /// The same for a page that begins somewhere in a list.
    pub fn from(mut self, before: Option<Cursor>) -> Self {
        self.here = Some(before.map_or_else(String::new, |before| format!("before={before}")));
        self
    }

    /// The same with the menu of static pages.
    pub fn reading(state: &'a AppState, visitor: &Visitor, menu: Arc<Vec<MenuItem>>) -> Self {
        let mut shell = Self::visitor(state, visitor);
        shell.menu = menu;
        shell
    }

    pub fn new(state: &'a AppState, owner: Option<&Owner>, choice: Choice) -> Self {
        Self {
            choice,
            here: None,
            menu: Arc::default(),
            base: &state.base_url,
            words: choice.lang.words(),
            zone: state.zone,
            site: &state.title,
            style: style::path(),
            takes_programs: state.audience == Audience::Everybody,
            signs_in: owner.is_none() && state.audience == Audience::Everybody,
            csrf: owner.map(|owner| owner.0.csrf()),
        }
    }

    /// For `lang` of the page.
    pub fn lang(&self) -> &'static str {
        self.choice.lang.code()
    }

    /// The address of a static page.
    pub fn page(&self, slug: &str) -> String {
        self.to(&format!("/{slug}"))
    }

    /// This page in another language.
    pub fn switch(&self, lang: &Lang) -> String {
        let here = self.here.as_deref().unwrap_or_default();
        let join = if here.is_empty() { "" } else { "&" };
        format!("?{here}{join}lang={}", lang.code())
    }

    pub fn languages(&self) -> [Lang; 2] {
        Lang::ALL
    }

    /// Behind an address without a query: the language the reader chose.
    pub fn with_lang(&self) -> &'static str {
        match (self.choice.asked, self.choice.lang) {
            (false, _) => "",
            (true, Lang::En) => "?lang=en",
            (true, Lang::Ja) => "?lang=ja",
        }
    }

    /// Behind an address with one.
    pub fn and_lang(&self) -> &'static str {
        match (self.choice.asked, self.choice.lang) {
            (false, _) => "",
            (true, Lang::En) => "&lang=en",
            (true, Lang::Ja) => "&lang=ja",
        }
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

pub fn set_cookie(response: &mut HttpResponse, cookie: &str) -> Result<(), AppError> {
    let value = header::HeaderValue::from_str(cookie).map_err(|error| AppError::Internal(Box::new(error)))?;
    response.headers_mut().append(header::SET_COOKIE, value);
    Ok(())
}
