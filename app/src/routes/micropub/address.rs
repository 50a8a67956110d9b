//! Addresses in what programs send and get: of posts and images of this blog, and of no other.

use actix_web::HttpRequest;
use actix_web::http::header;
use diesel::prelude::*;
use diesel::sqlite::SqliteConnection;

use crate::db::models::Post;
use crate::db::queries::{posts, reading};
use crate::media::store::{Hash, parse_name};
use crate::routes::reading::post::path;
use crate::startup::AppState;

/// Under which names the blog is known.
#[derive(Debug, Clone)]
pub struct Addresses {
    /// For readers, then for the owner, then as this request has it; without a slash at the end.
    known: Vec<String>,
    /// Of this listener.
    here: String,
}

impl Addresses {
    /// The envelope has made sure that the name in `Host` is one of the blog's.
    pub fn of(request: &HttpRequest, state: &AppState) -> Self {
        let host = request.headers().get(header::HOST).and_then(|host| host.to_str().ok());
        let asked = format!("http://{}", host.unwrap_or("localhost"));
        let configured = [state.base_url.as_str(), state.admin_url.as_str()];
        let configured = configured.into_iter().filter(|url| !url.is_empty());
        let mut known: Vec<String> = configured.map(|url| url.trim_end_matches('/').to_owned()).collect();
        let here = if state.admin_url.is_empty() {
            asked.clone()
        } else {
            state.admin_url.trim_end_matches('/').to_owned()
        };
        known.push(asked);
        Self { known, here }
    }

    /// Where readers find what has this path.
    pub fn public(&self, path: &str) -> String {
        format!("{}{path}", self.known.first().map_or("", String::as_str))
    }

    /// The same on this listener.
    pub fn here(&self, path: &str) -> String {
        format!("{}{path}", self.here)
    }

    pub fn of_post(&self, post: &Post) -> String {
        self.public(&path(post))
    }

    /// The path of an address of this blog; of another's, nothing.
    fn path<'a>(&self, url: &'a str) -> Option<&'a str> {
        let plain = url.split(['?', '#']).next().unwrap_or_default();
        if plain.starts_with('/') && !plain.starts_with("//") {
            return Some(plain);
        }
        let rest = |base: &String| {
            let rest = plain.get(base.len()..)?;
            let same = plain.get(..base.len())?.eq_ignore_ascii_case(base);
            (same && rest.starts_with('/')).then_some(rest)
        };
        self.known.iter().chain([&self.here]).find_map(rest)
    }

    /// The image that has this address.
    pub fn image(&self, url: &str) -> Option<Hash> {
        let name = self.path(url)?.strip_prefix("/media/")?;
        parse_name(name).map(|(hash, _)| hash)
    }

    /// The post that has this address, whoever may see it.
    pub fn post(&self, connection: &mut SqliteConnection, url: &str) -> QueryResult<Option<Post>> {
        let Some(path) = self.path(url).and_then(|path| path.strip_prefix('/')) else {
            return Ok(None);
        };
        let number = |text: &str| text.parse::<i64>().ok().filter(|id| *id > 0);
        match path.split_once('/') {
            None => reading::by_slug(connection, path),
            Some(("u", uuid)) => reading::by_uuid(connection, uuid),
            Some(("posts", id)) => number(id).map_or(Ok(None), |id| posts::find(connection, id)),
            Some(("admin", rest)) => {
                let id = rest.strip_prefix("posts/").and_then(|rest| rest.strip_suffix("/edit"));
                id.and_then(number).map_or(Ok(None), |id| posts::find(connection, id))
            }
            Some(_) => Ok(None),
        }
    }
}
