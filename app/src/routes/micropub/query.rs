//! `GET /micropub?q=`: what there is to know before posting, and a post as it was written.

use actix_web::HttpRequest;
use actix_web::http::StatusCode;
use diesel::prelude::*;
use diesel::sqlite::SqliteConnection;
use serde_json::Value;

use super::address::Addresses;
use super::refusal::Refusal;
use super::{Outcome, json};
use crate::auth::bearer;
use crate::auth::scope::Scope;
use crate::db::models::{Attached, Post};
use crate::db::queries::writing::Current;
use crate::db::queries::{media, posts, reading, shelves};
use crate::domain::json::{Object, array, text};
use crate::domain::{Content, Kind, State, Visibility};
use crate::micropub::Properties;
use crate::micropub::meaning::{PAGES, POSTS};
use crate::routes::Form;
use crate::startup::AppState;

/// Tags that a program offers; more are typed.
const MOST_TAGS: i64 = 1000;
/// Posts in one list, if the program does not say how many it wants, and if it wants more.
const LISTED: i64 = 20;
const MOST_LISTED: i64 = 100;

pub async fn answer(request: &HttpRequest, state: &AppState) -> Outcome {
    let program = bearer::program_of(request, None).await?;
    let query = Form::parse(request.query_string().as_bytes());
    let addresses = Addresses::of(request, state);
    let body = match query.get("q").unwrap_or_default() {
        "config" => config(&addresses),
        "syndicate-to" => Object::new().raw("syndicate-to", "[]").end(),
        "channel" => Object::new().raw("channels", &channels()).end(),
        "category" => {
            let counts = state
                .db
                .read(|connection| reading::tag_counts(connection, MOST_TAGS))
                .await?;
            let names = counts.into_iter().map(|tag| text(&tag.name));
            Object::new().raw("categories", &array(names)).end()
        }
        "source" => {
            // It may be a draft, or for the owner's eyes.
            program.needs(Scope::Read).or_else(|_| program.needs(Scope::Update))?;
            let wanted: Vec<String> = query
                .fields()
                .filter(|(name, _)| matches!(*name, "properties" | "properties[]"))
                .map(|(_, value)| value.to_owned())
                .collect();
            match query.get("url").filter(|url| !url.is_empty()) {
                Some(url) => source(state, &addresses, url, &wanted).await?,
                None => list(state, &addresses, &query, &wanted).await?,
            }
        }
        _ => {
            let text = "q is config, source, syndicate-to, category or channel";
            return Err(Refusal::invalid(text));
        }
    };
    Ok(json(StatusCode::OK, body))
}

fn config(addresses: &Addresses) -> String {
    let kinds = [
        ("note", "Note"),
        ("article", "Article"),
        ("bookmark", "Link"),
        ("photo", "Images"),
        ("reply", "Next post of a thread"),
    ];
    let kinds = kinds.map(|(kind, name)| Object::new().text("type", kind).text("name", name).end());
    let words = |words: &[&str]| array(words.iter().map(|word| text(word)));
    Object::new()
        .text("media-endpoint", &addresses.here("/micropub/media"))
        .raw("syndicate-to", "[]")
        .raw("channels", &channels())
        .raw("post-types", &array(kinds))
        .raw(
            "q",
            &words(&["config", "source", "syndicate-to", "category", "channel"]),
        )
        .raw("visibility", &words(&["public", "unlisted", "private"]))
        .end()
}

fn channels() -> String {
    let channel = |uid: &str, name: &str| Object::new().text("uid", uid).text("name", name).end();
    array([channel(POSTS, "Posts"), channel(PAGES, "Static pages")])
}

/// One post as it was written, whoever may see it.
async fn source(state: &AppState, addresses: &Addresses, url: &str, wanted: &[String]) -> Result<String, Refusal> {
    let (names, url) = (addresses.clone(), url.to_owned());
    let found = state
        .db
        .read(move |connection| match names.post(connection, &url)? {
            Some(post) => written(connection, &names, post),
            None => Ok(None),
        })
        .await?;
    let properties = found.ok_or_else(|| Refusal::invalid("url: there is no such post on this blog"))?;
    Ok(item(properties, wanted))
}

/// The posts that are not in the trash, from the last made to the first, a page at a time (the extension "Query for Post
/// List": `limit`, `after`, `post-status`; `paging` says what `after` is on the next page).
async fn list(state: &AppState, addresses: &Addresses, query: &Form, wanted: &[String]) -> Result<String, Refusal> {
    let number = |name: &str| match query.get(name).filter(|text| !text.is_empty()) {
        None => Ok(None),
        Some(text) => match text.parse::<i64>() {
            Ok(number) if number > 0 => Ok(Some(number)),
            _ => Err(Refusal::invalid(format!("{name} is a number from 1 on"))),
        },
    };
    let limit = number("limit")?.unwrap_or(LISTED).min(MOST_LISTED);
    let after = number("after")?;
    let wanted_state = match query.get("post-status").filter(|word| !word.is_empty()) {
        None => None,
        Some(word) => {
            let problem = || Refusal::invalid("post-status is draft, scheduled or published");
            Some(State::parse(word).ok_or_else(problem)?)
        }
    };
    let names = addresses.clone();
    let (items, last) = state
        .db
        .read(move |connection| {
            let mut posts = shelves::kept(connection, wanted_state, after, limit + 1)?;
            let more = i64::try_from(posts.len()).is_ok_and(|found| found > limit);
            if more {
                posts.pop();
            }
            let last = posts.last().filter(|_| more).map(|post| post.id);
            let items = posts
                .into_iter()
                .filter_map(|post| written(connection, &names, post).transpose())
                .collect::<Result<Vec<_>, _>>()?;
            Ok((items, last))
        })
        .await?;
    let items = array(items.into_iter().map(|properties| item(properties, wanted)));
    let paging = last.map_or_else(Object::new, |last| Object::new().text("after", &last.to_string()));
    Ok(Object::new().raw("items", &items).raw("paging", &paging.end()).end())
}

/// The properties of a post, and which one it answers.
fn written(connection: &mut SqliteConnection, addresses: &Addresses, post: Post) -> QueryResult<Option<Properties>> {
    let attached = media::of_post(connection, post.id)?;
    let before = match post.reply_to {
        Some(id) => posts::find(connection, id)?,
        None => None,
    };
    let current = Current::load(connection, post.id)?;
    Ok(current.map(|current| {
        let mut properties = properties_of(&current, &attached, addresses, true);
        if let Some(before) = before {
            properties.set("in-reply-to", vec![addresses.of_post(&before).into()]);
        }
        properties
    }))
}

/// `wanted`: the properties that were asked for; none means all.
fn item(properties: Properties, wanted: &[String]) -> String {
    let shown = |name: &str| wanted.is_empty() || wanted.iter().any(|wanted| wanted == name);
    let mut object = Object::new();
    for (name, values) in properties.into_pairs() {
        if shown(&name) {
            object = object.raw(&name, &array(values.iter().map(Value::to_string)));
        }
    }
    let properties = object.end();
    let all = Object::new();
    // Section 3.7: the type is told when no list of properties was sent.
    let all = if wanted.is_empty() {
        all.raw("type", "[\"h-entry\"]")
    } else {
        all
    };
    all.raw("properties", &properties).end()
}

/// A post as a program would have sent it. `whole`: with what only the blog can say, and with the tags of the text.
pub fn properties_of(current: &Current, attached: &[Attached], addresses: &Addresses, whole: bool) -> Properties {
    let Current { post, content } = current;
    let mut properties = Properties::default();
    let mut put = |name: &str, value: &str| {
        if !value.is_empty() {
            properties.set(name, vec![value.into()]);
        }
    };
    put("name", content.title.as_deref().unwrap_or_default());
    put("content", &content.body);
    put("bookmark-of", content.link.as_deref().unwrap_or_default());
    if post.kind == Kind::Page {
        put("mp-channel", PAGES);
        put("mp-slug", content.slug.as_deref().unwrap_or_default());
    }
    let status = match post.state {
        State::Draft => "draft",
        State::Scheduled => "scheduled",
        State::Published => "published",
    };
    put("post-status", status);
    put("visibility", Visibility::word(content.visibility));
    put("published", &post.date().map_or(String::new(), |date| date.rfc3339()));
    if whole {
        put(
            "updated",
            &post.edited_at().map_or(String::new(), |date| date.rfc3339()),
        );
        put("url", &addresses.of_post(post));
        put("uid", &format!("urn:uuid:{}", post.uuid));
    }
    let tags: Vec<Value> = if whole {
        content.tags.iter().map(|tag| tag.name.clone().into()).collect()
    } else {
        let beside = Content::tags_beside(&content.body, &content.tags);
        beside.split_whitespace().map(Value::from).collect()
    };
    if !tags.is_empty() {
        properties.set("category", tags);
    }
    let photo = |image: &Attached| {
        let mut photo = serde_json::Map::new();
        photo.insert("value".to_owned(), addresses.public(&image.medium.path()).into());
        photo.insert("alt".to_owned(), image.alt.clone().into());
        Value::Object(photo)
    };
    if !attached.is_empty() {
        properties.set("photo", attached.iter().map(photo).collect());
    }
    properties
}
