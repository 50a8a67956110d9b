//! Markdown files with a head, as site generators read them: one for each post, by year; pages, drafts and the trash in
//! directories of their own. Earlier versions of a text are not in it: JSON Lines has them.

use diesel::sqlite::SqliteConnection;

use super::front_matter::FrontMatter;
use super::{ExportError, Exported, PAGE, image_name};
use crate::archive::Tree;
use crate::db::queries::transfer::{self, WholePost};
use crate::domain::{Kind, Stamp, State};
use crate::import::progress::Progress;

/// Says which blog this is, for reading it back.
pub const SITE: &str = "site.md";

pub fn write(
    connection: &mut SqliteConnection,
    tree: &mut Tree,
    out: &mut Exported,
    progress: &mut Progress,
) -> Result<(), ExportError> {
    let (uuid, created_at) = transfer::site(connection)?;
    let names = transfer::all_tags(connection)?;
    let mut site = FrontMatter::default();
    site.push_text("site_uuid", &uuid);
    site.push_text("site_created", &Stamp(created_at).rfc3339());
    tree.add(SITE, &mut site.write().as_bytes(), true)?;

    let total = u64::try_from(transfer::count(connection)?).unwrap_or_default();
    let mut last = 0;
    loop {
        let posts = transfer::posts_after(connection, last, PAGE)?;
        let Some(end) = posts.last() else {
            return Ok(());
        };
        last = end.id;
        for post in &posts {
            let text = file(post, &names);
            tree.add(&file_name(post), &mut text.as_bytes(), true)?;
            out.posts += 1;
        }
        progress.at(out.posts, total);
    }
}

/// Sorted by name they are sorted by date.
fn file_name(post: &WholePost) -> String {
    let row = &post.row;
    let number = format!("{:06}.md", post.id);
    let date = Stamp(row.published_at.unwrap_or(row.created_at)).rfc3339();
    let date = date.get(..10).unwrap_or_default();
    if row.deleted_at.is_some() {
        return format!("trash/{number}");
    }
    match (row.state, row.kind) {
        (State::Draft, _) => format!("drafts/{number}"),
        (_, Kind::Page) => format!("pages/{number}"),
        _ => format!("posts/{}/{date}-{number}", date.get(..4).unwrap_or_default()),
    }
}

fn file(post: &WholePost, names: &[(String, String)]) -> String {
    let row = &post.row;
    let time = |seconds: i64| Stamp(seconds).rfc3339();
    let mut head = FrontMatter::default();
    head.maybe_text("title", row.title.as_deref());
    if let Some(date) = row.published_at {
        head.push_text("date", &time(date));
    }
    if let Some(edited) = row.edited_at {
        head.push_text("lastmod", &time(edited));
    }
    if row.state == State::Draft {
        head.push_text("draft", "true");
    }
    let tag = |folded: &String| {
        let known = names.iter().find(|(other, _)| other == folded);
        known.map_or_else(|| folded.clone(), |(_, name)| name.clone())
    };
    head.push_list("tags", post.tags.iter().map(tag).collect());
    head.maybe_text("slug", row.slug.as_deref());
    head.maybe_text("link", row.link.as_deref());
    head.maybe_text("lang", row.lang.as_deref());
    head.push_text("kind", row.kind.word());
    head.push_text("state", row.state.word());
    head.push_text("visibility", row.visibility.word());
    head.push_text("id", &post.id.to_string());
    head.push_text("uuid", &row.uuid);
    head.push_text("created", &time(row.created_at));
    for (key, value) in [("deleted", row.deleted_at), ("pinned", row.pinned_at)] {
        if let Some(value) = value {
            head.push_text(key, &time(value));
        }
    }
    for (key, value) in [("reply_to", row.reply_to), ("thread", row.thread)] {
        if let Some(value) = value {
            head.push_text(key, &value.to_string());
        }
    }
    let images = post.images.iter();
    head.push_list(
        "images",
        images.clone().map(|(hash, mime, _)| image_name(hash, mime)).collect(),
    );
    head.push_list("alts", images.map(|(_, _, alt)| alt.clone()).collect());
    head.push_list(
        "old_ids",
        post.old_ids
            .iter()
            .map(|(source, id)| format!("{source}:{id}"))
            .collect(),
    );
    format!("{}\n{}\n", head.write(), row.body)
}
