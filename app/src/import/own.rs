//! The blog's own export as JSON Lines. Into an empty blog it comes back as it was, with its numbers and its name; into
//! one that has posts, each post gets a new number where its own is taken.

use std::collections::HashMap;

use serde_json::Value;

use super::lines::Lines;
use super::pictures::Pictures;
use super::{BATCH, Target};
use crate::archive::Archive;
use crate::cli::Failure;
use crate::db::queries::transfer::{self, MediaRow, PostRow, RevisionRow};
use crate::domain::{Kind, State, Visibility, hex};
use crate::export::jsonl::{FILE, FORMAT};

const MISSING: (&str, &str) = (
    "missing-image",
    "images whose file is not in the export, or that are no images",
);
const SLUG: (&str, &str) = ("slug-taken", "pages whose address is taken here: they got another one");

/// What is known while an export is read.
struct Reading {
    /// Numbers in the export, and here.
    numbers: HashMap<i64, i64>,
    /// Posts that answer others: number here, and the numbers of those in the export.
    links: Vec<(i64, Option<i64>, Option<i64>)>,
    /// Hash in the export, number here.
    images: HashMap<Vec<u8>, i64>,
    tags: HashMap<String, String>,
    /// The export brings its name and its numbers along.
    whole: bool,
}

pub fn run(archive: &mut Archive, target: &mut Target<'_>, pictures: &Pictures) -> Result<(), Failure> {
    if !archive.enter(&[FILE])? {
        return Err(Failure::usage(
            format!("{} is no export of a blog: it has no {FILE}", archive.label()),
            &archive.hint_beside("name what `blog export --format jsonl` wrote; `blog import markdown` reads Markdown"),
        ));
    }
    // Read to the end first: what is damaged stops the import before anything is written.
    check(archive)?;
    let mut state = Reading {
        numbers: HashMap::new(),
        links: Vec::new(),
        images: HashMap::new(),
        tags: HashMap::new(),
        whole: transfer::is_empty(target.connection).map_err(super::read_failed)?,
    };
    let mut lines = Lines::new(archive.read(FILE)?, FILE);
    let mut more = true;
    while more {
        let mut batch = Vec::with_capacity(BATCH);
        while batch.len() < BATCH && more {
            match lines.next_value().map_err(|problem| damaged(archive, &problem))? {
                Some(value) => batch.push(value),
                None => more = false,
            }
        }
        target.in_transaction(|target| {
            for value in &batch {
                one(archive, target, pictures, &mut state, value)?;
            }
            Ok(())
        })?;
        target.progress.at(target.report.read, 0);
    }
    if target.dry_run {
        return Ok(());
    }
    for links in state.links.chunks(BATCH) {
        target.in_transaction(|target| {
            for (id, reply_to, thread) in links {
                let here = |number: &Option<i64>| number.and_then(|number| state.numbers.get(&number).copied());
                transfer::set_thread(target.connection, *id, here(reply_to), here(thread))?;
            }
            Ok(())
        })?;
    }
    Ok(())
}

/// Whether every line is one that can be understood.
fn check(archive: &Archive) -> Result<(), Failure> {
    let mut lines = Lines::new(archive.read(FILE)?, FILE);
    let mut first = true;
    while let Some(value) = lines.next_value().map_err(|problem| damaged(archive, &problem))? {
        let said = |problem: &str| damaged(archive, &lines.said(problem));
        match kind(&value) {
            "blog" if first && value.get("format").and_then(Value::as_u64) == Some(FORMAT) => {}
            "blog" if first => return Err(said("was written by a newer blog")),
            _ if first => return Err(said("is not the beginning of an export")),
            "post" => {
                post(&value).ok_or_else(|| said("is no post"))?;
            }
            "media" => {
                media(&value).ok_or_else(|| said("is no image"))?;
            }
            "tag" => {}
            _ => return Err(said("is of a kind that this blog does not know")),
        }
        first = false;
    }
    if first {
        return Err(damaged(archive, &format!("{FILE} is empty")));
    }
    Ok(())
}

fn damaged(archive: &Archive, problem: &str) -> Failure {
    Failure::usage(
        format!("{}: {problem}", archive.label()),
        "nothing was imported; SHA256SUMS in the export tells which file changed",
    )
}

fn one(
    archive: &Archive,
    target: &mut Target<'_>,
    pictures: &Pictures,
    state: &mut Reading,
    value: &Value,
) -> Result<(), super::BatchError> {
    match kind(value) {
        "blog" => {
            if let (true, false, Some(uuid), Some(time)) = (
                state.whole,
                target.dry_run,
                text(value, "uuid"),
                number(value, "created_at"),
            ) {
                transfer::rename_site(target.connection, &uuid, time)?;
            }
        }
        "tag" => {
            if let (Some(folded), Some(name)) = (text(value, "folded"), text(value, "name")) {
                if !target.dry_run {
                    transfer::make_tag(target.connection, &folded, &name)?;
                }
                state.tags.insert(folded, name);
            }
        }
        "media" => {
            if let Some(row) = media(value) {
                image(archive, target, pictures, state, &row)?;
            }
        }
        _ => {
            if let Some(whole) = post(value) {
                insert(target, state, &whole)?;
            }
        }
    }
    Ok(())
}

fn image(
    archive: &Archive,
    target: &mut Target<'_>,
    pictures: &Pictures,
    state: &mut Reading,
    row: &MediaRow,
) -> Result<(), super::BatchError> {
    let name = crate::export::image_name(&row.sha256, &row.mime);
    match pictures.take(archive, &name, target.now)? {
        Ok(mut found) => {
            target.report.images += 1;
            found.created_at = row.created_at;
            if !target.dry_run {
                let id = transfer::make_media(target.connection, &found)?;
                state.images.insert(row.sha256.clone(), id);
            }
        }
        Err(why) => target.report.leave_out(MISSING, format!("{name}: {why}")),
    }
    Ok(())
}

/// A post as the export has it.
struct Exported {
    id: i64,
    row: PostRow,
    tags: Vec<String>,
    images: Vec<(Vec<u8>, String)>,
    old_ids: Vec<(String, String)>,
    revisions: Vec<RevisionRow>,
}

fn insert(target: &mut Target<'_>, state: &mut Reading, post: &Exported) -> Result<(), super::BatchError> {
    target.report.read += 1;
    let mut row = post.row.clone();
    let links = (row.reply_to.take(), row.thread.take());
    let here = match transfer::find_uuid(target.connection, &row.uuid)? {
        Some(place) => {
            target.report.already += 1;
            place.id
        }
        None => {
            target.report.imported += 1;
            if target.dry_run {
                return Ok(());
            }
            if let Some(slug) = row.slug.clone()
                && transfer::has_slug(target.connection, &slug)?
            {
                let uuid = row.uuid.get(..8).unwrap_or_default();
                row.slug = Some(format!("{slug}-{uuid}"));
                target.report.note(SLUG, &slug);
            }
            let taken = transfer::has_id(target.connection, post.id)?;
            let id = transfer::insert(target.connection, &row, (!taken).then_some(post.id))?;
            for folded in &post.tags {
                let name = state.tags.get(folded).unwrap_or(folded);
                target.tag(id, folded, name)?;
            }
            for (position, (hash, alt)) in (0..).zip(&post.images) {
                if let Some(image) = state.images.get(hash) {
                    transfer::attach(target.connection, id, position, *image, alt)?;
                }
            }
            for (source, old_id) in &post.old_ids {
                transfer::remember(target.connection, source, old_id, id)?;
            }
            for revision in &post.revisions {
                transfer::add_revision(target.connection, id, revision)?;
            }
            id
        }
    };
    state.numbers.insert(post.id, here);
    if links.0.is_some() || links.1.is_some() {
        state.links.push((here, links.0, links.1));
    }
    Ok(())
}

fn post(value: &Value) -> Option<Exported> {
    let list = |key: &str| value.get(key).and_then(Value::as_array).cloned().unwrap_or_default();
    let row = PostRow {
        uuid: text(value, "uuid").filter(|uuid| uuid.len() == 36)?,
        kind: Kind::parse(&text(value, "kind")?)?,
        state: State::parse(&text(value, "state")?)?,
        visibility: Visibility::parse(&text(value, "visibility")?)?,
        title: text(value, "title"),
        slug: text(value, "slug"),
        link: text(value, "link"),
        lang: text(value, "lang"),
        body: text(value, "body")?,
        created_at: number(value, "created_at")?,
        published_at: number(value, "published_at"),
        edited_at: number(value, "edited_at"),
        deleted_at: number(value, "deleted_at"),
        pinned_at: number(value, "pinned_at"),
        reply_to: number(value, "reply_to"),
        thread: number(value, "thread"),
    };
    let images = list("images");
    let images = images.iter().map(|image| Some((hash(image)?, text(image, "alt")?)));
    let old_ids = list("old_ids");
    let old_ids = old_ids.iter().map(|old| Some((text(old, "source")?, text(old, "id")?)));
    let revisions = list("revisions");
    let revisions = revisions.iter().map(|revision| {
        Some(RevisionRow {
            title: text(revision, "title"),
            link: text(revision, "link"),
            body: text(revision, "body")?,
            replaced_at: number(revision, "replaced_at")?,
        })
    });
    Some(Exported {
        id: number(value, "id").filter(|id| *id > 0)?,
        row,
        tags: list("tags")
            .iter()
            .map(|tag| tag.as_str().map(str::to_owned))
            .collect::<Option<_>>()?,
        images: images.collect::<Option<_>>()?,
        old_ids: old_ids.collect::<Option<_>>()?,
        revisions: revisions.collect::<Option<_>>()?,
    })
}

fn media(value: &Value) -> Option<MediaRow> {
    Some(MediaRow {
        sha256: hash(value)?,
        mime: text(value, "mime")?,
        width: number(value, "width")?,
        height: number(value, "height")?,
        bytes: number(value, "bytes")?,
        created_at: number(value, "created_at")?,
    })
}

fn hash(value: &Value) -> Option<Vec<u8>> {
    hex::decode::<32>(value.get("sha256")?.as_str()?).map(|hash| hash.to_vec())
}

fn kind(value: &Value) -> &str {
    value.get("type").and_then(Value::as_str).unwrap_or_default()
}

fn text(value: &Value, key: &str) -> Option<String> {
    value.get(key)?.as_str().map(str::to_owned)
}

fn number(value: &Value, key: &str) -> Option<i64> {
    value.get(key)?.as_i64()
}
