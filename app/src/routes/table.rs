//! Every address there is, in two groups: what readers may ask for, and what is the owner's. A listener for readers has
//! the first group alone; to it the addresses of the second do not exist.

use std::future::ready;

use actix_web::{HttpResponse, guard, web};

use super::{access, feeds, health, media, micropub, not_found, reading, session, style, writing};
use crate::error::AppError;
use crate::listen::Audience;

/// An address with what answers there.
pub struct Route {
    /// As actix-web writes patterns: `/posts/{id}`.
    pub path: &'static str,
    /// For GET and HEAD.
    pub get: Option<fn() -> actix_web::Route>,
    pub post: Option<fn() -> actix_web::Route>,
}

impl std::fmt::Debug for Route {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Route({} {})", self.path, self.allowed())
    }
}

impl Route {
    /// For `Allow`.
    pub fn allowed(&self) -> &'static str {
        match (self.get, self.post) {
            (Some(_), None) => "GET, HEAD",
            (None, _) => "POST",
            (Some(_), Some(_)) => "GET, HEAD, POST",
        }
    }
}

macro_rules! routes {
    (@verb) => { None };
    (@verb $handler:expr) => { Some(|| web::to($handler)) };
    ($($path:literal $(get $get:path)? $(, $(post $post:path)?)?;)*) => {
        &[$(Route {
            path: $path,
            get: routes!(@verb $($get)?),
            post: routes!(@verb $($($post)?)?),
        },)*]
    };
}

/// For everybody.
pub const READING: &[Route] = routes! {
    "/" get reading::front::front;
    "/tags" get reading::tags::all;
    "/tags/{tag}" get reading::tags::one;
    "/archive" get reading::archive::all;
    "/search" get reading::search::search;
    "/feed.atom" get feeds::atom::all;
    "/feed.rss" get feeds::rss::all;
    "/feed.json" get feeds::json::all;
    "/tags/{tag}/feed.atom" get feeds::atom::tagged;
    "/tags/{tag}/feed.rss" get feeds::rss::tagged;
    "/tags/{tag}/feed.json" get feeds::json::tagged;
    "/twtxt.txt" get feeds::twtxt::show;
    "/opensearch.xml" get feeds::opensearch::show;
    "/healthz" get health::show;
    "/style-{hash}.css" get style::show;
    "/media/{name}" get media::show::show;
    "/posts/{id}" get reading::post::by_id;
    "/u/{uuid}" get reading::post::by_uuid;
    "/old/{source}/{id}" get reading::old::by_source;
    "/{user}/status/{id}" get reading::old::status;
    "/{year:\\d{4}}" get reading::archive::span;
    "/{year:\\d{4}}/{month:\\d{2}}" get reading::archive::span;
    "/{year:\\d{4}}/{month:\\d{2}}/{day:\\d{2}}" get reading::archive::span;
    "/{slug}" get reading::post::by_slug;
};

/// For the owner, and signing in.
pub const WRITING: &[Route] = routes! {
    "/login" get session::login_form::login_form, post session::login::login;
    "/logout", post session::logout::logout;
    "/admin" get writing::desk::desk;
    "/admin/new" get writing::create::new;
    "/admin/drafts" get writing::shelf::drafts;
    "/admin/scheduled" get writing::shelf::scheduled;
    "/admin/pages" get writing::shelf::pages;
    "/admin/trash" get writing::shelf::trash;
    "/admin/posts", post writing::create::create;
    "/admin/posts/{id}/edit" get writing::edit::edit, post writing::edit::update;
    "/admin/posts/{id}/delete" get writing::discard::ask, post writing::discard::discard;
    "/admin/posts/{id}/restore", post writing::restore::restore;
    "/admin/posts/{id}/purge" get writing::purge::ask, post writing::purge::purge;
    "/admin/posts/{id}/pin", post writing::pin::pin;
    "/admin/posts/{id}/history" get writing::history::list;
    "/admin/posts/{id}/history/{revision}" get writing::history::show;
    "/admin/posts/{id}/history/{revision}/restore", post writing::history::restore;
    "/admin/media" get media::list::list, post media::add::add;
    "/admin/media/delete", post media::delete::delete;
    "/admin/sessions" get access::sessions::list;
    "/admin/sessions/revoke", post access::sessions::revoke;
    "/admin/tokens" get access::tokens::list, post access::tokens::create;
    "/admin/tokens/revoke", post access::tokens::revoke;
    "/admin/two-factor" get access::two_factor::show, post access::two_factor::change;
    "/admin/status" get access::status::show;
    "/admin/metrics" get access::metrics::show;
    "/micropub" get micropub::get, post micropub::post;
    "/micropub/media", post micropub::media::post;
};

/// Registers the routes. The owner's come first: no page of a reader's can take their addresses.
pub fn register(config: &mut web::ServiceConfig, audience: Audience) {
    let writing = match audience {
        Audience::Readers => &[],
        Audience::Everybody => WRITING,
    };
    for route in writing.iter().chain(READING) {
        let allowed = route.allowed();
        let refuse = move || ready(Err::<HttpResponse, _>(AppError::WrongMethod { allowed }));
        let mut resource = web::resource(route.path).default_service(web::to(refuse));
        if let Some(get) = route.get {
            resource = resource.route(get().guard(guard::Any(guard::Get()).or(guard::Head())));
        }
        if let Some(post) = route.post {
            resource = resource.route(post().guard(guard::Post()));
        }
        config.service(resource);
    }
    config.default_service(web::to(not_found));
}
