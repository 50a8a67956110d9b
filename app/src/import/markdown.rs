//! Markdown files with a head: what `blog export --format markdown` wrote, and what Jekyll and Hugo keep.

use std::collections::HashMap;

use super::incoming::Incoming;
use super::pictures::Pictures;
use super::{BATCH, BatchError, Target};
use crate::archive::Archive;
use crate::cli::Failure;
use crate::db::queries::transfer::{self, Place};
use crate::domain::calendar;
use crate::domain::tag::Tag;
use crate::domain::{Kind, Stamp, State, Visibility};
use crate::export::front_matter::FrontMatter;
use crate::export::markdown::SITE;

/// As in the table `old_ids`: the id there is the path of the file.
pub const SOURCE: &str = "markdown";
/// No text that somebody wrote is longer.
const MOST_BYTES: u64 = 4 << 20;

type Reason = (&'static str, &'static str);
const NOT_TEXT: Reason = ("not-text", "files that are not UTF-8 or too large");
const NO_DATE: Reason = ("no-date", "files without a date: they got today's");
const EMPTY: Reason = ("empty", "files with neither text nor an image");
const SLUG: Reason = ("slug-taken", "pages whose address is taken here: they became drafts");
const TAG: Reason = ("tag", "tags that are none here: only letters, digits and _ make one");
const IMAGE: Reason = ("missing-image", "images whose file is not there, or that are no images");

struct Reading {
    /// Number in the export, and here.
    numbers: HashMap<i64, i64>,
    /// Posts that answer others: number here, and the numbers of those in the export.
    links: Vec<(i64, Option<i64>, Option<i64>)>,
    whole: bool,
    visibility: Visibility,
}

pub fn run(
    archive: &mut Archive,
    target: &mut Target<'_>,
    pictures: &Pictures,
    visibility: Visibility,
) -> Result<(), Failure> {
    archive.enter(&[SITE])?;
    let mut files = Vec::new();
    walk(archive, "", &mut files, 0)?;
    if files.is_empty() {
        return Err(Failure::usage(
            format!("{} has no .md files in it", archive.label()),
            &archive.hint_beside("name the directory with the posts"),
        ));
    }
    let mut reading = Reading {
        numbers: HashMap::new(),
        links: Vec::new(),
        whole: transfer::is_empty(target.connection).map_err(super::read_failed)?,
        visibility,
    };
    let total = files.len() as u64;
    for (number, batch) in files.chunks(BATCH).enumerate() {
        target.in_transaction(|target| {
            for name in batch {
                one(archive, target, pictures, &mut reading, name)?;
            }
            Ok(())
        })?;
        target.progress.at((number * BATCH) as u64, total);
    }
    if target.dry_run {
        return Ok(());
    }
    for links in reading.links.chunks(BATCH) {
        target.in_transaction(|target| {
            for (id, reply_to, thread) in links {
                let here = |number: &Option<i64>| number.and_then(|number| reading.numbers.get(&number).copied());
                transfer::set_thread(target.connection, *id, here(reply_to), here(thread))?;
            }
            Ok(())
        })?;
    }
    Ok(())
}

/// All Markdown files, in the order of their names, which is mostly that of their dates.
fn walk(archive: &Archive, place: &str, files: &mut Vec<String>, depth: usize) -> Result<(), Failure> {
    for name in archive.files(place)? {
        let is_text = name.ends_with(".md") || name.ends_with(".markdown");
        if is_text && !name.starts_with('.') {
            files.push(format!("{place}{name}"));
        }
    }
    if depth < 16 {
        for name in archive.directories(place)? {
            if !name.starts_with('.') {
                walk(archive, &format!("{place}{name}/"), files, depth + 1)?;
            }
        }
    }
    Ok(())
}

fn one(
    archive: &Archive,
    target: &mut Target<'_>,
    pictures: &Pictures,
    reading: &mut Reading,
    name: &str,
) -> Result<(), BatchError> {
    let small = archive.size(name)?.is_some_and(|size| size <= MOST_BYTES);
    let text = if small {
        String::from_utf8(archive.bytes(name, MOST_BYTES)?).ok()
    } else {
        None
    };
    let Some(text) = text else {
        target.report.leave_out(NOT_TEXT, name);
        return Ok(());
    };
    let (head, body) = FrontMatter::split(&text);
    if name == SITE && head.text("site_uuid").is_some() {
        if let (true, false, Some(uuid)) = (reading.whole, target.dry_run, head.text("site_uuid")) {
            let created = head.text("site_created").and_then(time).unwrap_or(target.now.0);
            transfer::rename_site(target.connection, uuid, created)?;
        }
        return Ok(());
    }
    target.report.read += 1;
    let uuid = head.text("uuid").filter(|uuid| uuid.len() == 36);
    let known = match uuid {
        Some(uuid) => transfer::find_uuid(target.connection, uuid)?,
        None => target.known(SOURCE, name)?,
    };
    let number = |key: &str| {
        head.text(key)
            .and_then(|text| text.parse::<i64>().ok())
            .filter(|id| *id > 0)
    };
    let here = match known {
        Some(place) => {
            target.report.already += 1;
            place
        }
        None => match insert(archive, target, pictures, reading, name, &head, body)? {
            Some(place) => place,
            None => return Ok(()),
        },
    };
    if let (Some(old), Some(_)) = (number("id"), uuid) {
        reading.numbers.insert(old, here.id);
        let links = (number("reply_to"), number("thread"));
        if links != (None, None) {
            reading.links.push((here.id, links.0, links.1));
        }
    }
    Ok(())
}

fn insert(
    archive: &Archive,
    target: &mut Target<'_>,
    pictures: &Pictures,
    reading: &Reading,
    name: &str,
    head: &FrontMatter,
    body: &str,
) -> Result<Option<Place>, BatchError> {
    let text = |key: &str| head.text(key).map(str::to_owned);
    let is_own = head.text("uuid").is_some_and(|uuid| uuid.len() == 36);
    let draft = head.is_true("draft") || head.text("published") == Some("false");
    let date = head.text("date").and_then(time).or_else(|| date_of_name(name));
    if date.is_none() && !draft && !is_own {
        target.report.note(NO_DATE, name);
    }
    let body = if is_own {
        let body = body.strip_prefix('\n').unwrap_or(body);
        body.strip_suffix('\n').unwrap_or(body).to_owned()
    } else {
        body.replace("\r\n", "\n").trim_matches(['\n', ' ']).to_owned()
    };
    let mut incoming = Incoming::note(body, Stamp(date.unwrap_or(target.now.0)), target.now)?;
    let row = &mut incoming.row;
    row.title = text("title");
    row.link = text("link").or_else(|| text("external-url"));
    row.lang = text("lang").filter(|lang| lang.len() <= 12);
    row.edited_at = head
        .text("lastmod")
        .and_then(time)
        .filter(|edited| is_own || date.is_some_and(|date| *edited > date));
    let kind = head
        .text("kind")
        .or_else(|| head.text("layout"))
        .or_else(|| head.text("type"));
    row.kind = match (kind.and_then(Kind::parse), &row.title, &row.link) {
        (Some(kind), ..) => kind,
        (None, _, Some(_)) => Kind::Link,
        (None, Some(_), None) => Kind::Article,
        (None, None, None) => Kind::Note,
    };
    if is_own || row.kind == Kind::Page {
        row.slug = text("slug").or_else(|| (!is_own).then(|| slug_of_name(name)));
    }
    row.visibility = head
        .text("visibility")
        .and_then(Visibility::parse)
        .unwrap_or(reading.visibility);
    row.state = match head.text("state").and_then(State::parse) {
        Some(state) => state,
        None if draft => State::Draft,
        None => State::Published,
    };
    if is_own {
        row.published_at = date;
        row.uuid = text("uuid").unwrap_or_default();
        row.created_at = head.text("created").and_then(time).unwrap_or(target.now.0);
        row.deleted_at = head.text("deleted").and_then(time);
        row.pinned_at = head.text("pinned").and_then(time);
    }
    // What the tables ask for.
    let lacks = row.kind == Kind::Page && (row.slug.is_none() || row.title.is_none())
        || row.kind == Kind::Article && row.title.is_none()
        || row.kind == Kind::Link && row.link.is_none()
        || row.published_at.is_none();
    if let Some(slug) = row.slug.clone()
        && transfer::has_slug(target.connection, &slug)?
    {
        target.report.note(SLUG, name);
        row.slug = None;
        row.state = State::Draft;
    } else if lacks {
        row.state = State::Draft;
    }
    if row.state == State::Draft && !is_own {
        row.published_at = None;
    }

    for word in head.list("tags").iter().chain(&head.list("categories")) {
        match Tag::parse(&word.replace([' ', '-'], "_")) {
            Some(tag) => incoming.tags.push(tag),
            None => target.report.leave_out(TAG, word),
        }
    }
    let alts = head.list("alts");
    for (position, image) in head.list("images").iter().enumerate() {
        match pictures.take(archive, image.trim_start_matches('/'), target.now)? {
            Ok(row) => incoming
                .images
                .push((row, alts.get(position).cloned().unwrap_or_default())),
            Err(why) => target.report.leave_out(IMAGE, format!("{image}: {why}")),
        }
    }
    if incoming.row.body.is_empty() && incoming.images.is_empty() && incoming.row.title.is_none() && !is_own {
        target.report.leave_out(EMPTY, name);
        return Ok(None);
    }
    let old_ids = head.list("old_ids");
    if !is_own {
        incoming.names.push((SOURCE.to_owned(), name.to_owned()));
    }
    for old in &old_ids {
        if let Some((source, id)) = old
            .split_once(':')
            .filter(|(source, id)| !source.is_empty() && !id.is_empty())
        {
            incoming.names.push((source.to_owned(), id.to_owned()));
        }
    }
    let wanted = head
        .text("id")
        .and_then(|id| id.parse::<i64>().ok())
        .filter(|id| is_own && *id > 0);
    if let Some(id) = wanted
        && !transfer::has_id(target.connection, id)?
    {
        incoming.id = Some(id);
    }
    incoming.insert(target).map(Some)
}

/// `2020-01-02`, `2020-01-02 03:04:05 +0900`, `2020-01-02T03:04:05Z`. A time without a zone is in UTC.
fn time(text: &str) -> Option<i64> {
    let text = text.trim();
    if let Some(time) = calendar::parse(text) {
        return Some(time);
    }
    let date = text.get(..10)?;
    let rest = text.get(10..)?.trim_start_matches(['T', ' ']);
    let (clock, zone) = match rest.find([' ', '+', '-', 'Z']) {
        Some(at) => (&rest[..at], rest[at..].trim()),
        None => (rest, ""),
    };
    let clock = match clock.len() {
        0 => "00:00:00".to_owned(),
        5 => format!("{clock}:00"),
        _ => clock.to_owned(),
    };
    let zone = match zone {
        "" | "Z" | "UTC" => "+00:00".to_owned(),
        zone if zone.len() == 5 => format!("{}:{}", zone.get(..3)?, zone.get(3..)?),
        zone => zone.to_owned(),
    };
    let whole = format!("{date}T{clock}{zone}");
    calendar::parse(&whole)
}

/// Jekyll's `2020-01-02-title.md`.
fn date_of_name(path: &str) -> Option<i64> {
    let name = path.rsplit('/').next()?;
    name.get(10..).filter(|rest| rest.starts_with(['-', '_', '.']))?;
    time(name.get(..10)?)
}

/// What an address can be made of: the file's name in lower case, without its date.
fn slug_of_name(path: &str) -> String {
    let name = path.rsplit('/').next().unwrap_or_default();
    let name = name.rsplit_once('.').map_or(name, |(stem, _)| stem);
    let name = if name == "index" || name == "_index" {
        path.rsplit('/').nth(1).unwrap_or("page")
    } else {
        name
    };
    let plain = |c: char| {
        if c.is_ascii_alphanumeric() {
            c.to_ascii_lowercase()
        } else {
            '-'
        }
    };
    let slug: String = name.chars().map(plain).collect();
    let slug = slug.trim_matches('-');
    if slug.is_empty() {
        "page".to_owned()
    } else {
        slug.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_heads_and_names() {
        for (text, seconds) in [
            ("1970-01-02", Some(86_400)),
            ("1970-01-02T00:00:01Z", Some(86_401)),
            ("1970-01-02 09:00:01 +0900", Some(86_401)),
            ("1970-01-02T09:00:01+09:00", Some(86_401)),
            ("1970-01-02 00:01", Some(86_460)),
            ("January 2", None),
            ("日本語日本語", None),
        ] {
            assert_eq!(time(text), seconds, "{text}");
        }
        assert_eq!(date_of_name("_posts/1970-01-02-hello.md"), Some(86_400));
        assert_eq!(date_of_name("_posts/hello.md"), None);
    }

    #[test]
    fn addresses_of_names() {
        assert_eq!(slug_of_name("a/About Me.md"), "about-me");
        assert_eq!(slug_of_name("a/contact/index.md"), "contact");
        assert_eq!(slug_of_name("日本.md"), "page");
    }
}
