//! JSON Lines: one line for the blog, one for each tag, image and post. Nothing is left out but what signs somebody in,
//! so `blog import export` makes the same blog of it.

use diesel::sqlite::SqliteConnection;

use super::{ExportError, Exported, PAGE, Pieces};
use crate::archive::Tree;
use crate::cli::Failure;
use crate::db::queries::transfer::{self, MediaRow, WholePost};
use crate::domain::{hex, json};
use crate::import::progress::Progress;

/// The file with the lines.
pub const FILE: &str = "blog.jsonl";
/// What the lines look like. A reader refuses a number that it does not know.
pub const FORMAT: u64 = 1;

/// What comes next.
enum Part {
    Head,
    Media(i64),
    Posts(i64),
    Done,
}

pub fn write(
    connection: &mut SqliteConnection,
    tree: &mut Tree,
    out: &mut Exported,
    progress: &mut Progress,
) -> Result<(), ExportError> {
    let total = u64::try_from(transfer::count(connection)?).unwrap_or_default();
    let mut part = Part::Head;
    let mut failed = None;
    let mut lines = Pieces::new(|| {
        let piece = piece(connection, &mut part, out);
        progress.at(out.posts, total);
        piece.map_err(|error| {
            failed = Some(error);
            std::io::Error::other("the database")
        })
    });
    let added = tree.add(FILE, &mut lines, true);
    if let Some(error) = failed {
        return Err(error.into());
    }
    added?;
    Ok(())
}

fn piece(connection: &mut SqliteConnection, part: &mut Part, out: &mut Exported) -> diesel::QueryResult<Vec<u8>> {
    let mut text = String::new();
    while text.is_empty() {
        match *part {
            Part::Head => {
                let (uuid, created_at) = transfer::site(connection)?;
                let site = json::Object::new().text("type", "blog").number("format", FORMAT);
                text.push_str(&site.text("uuid", &uuid).number("created_at", created_at).end());
                text.push('\n');
                for (folded, name) in transfer::all_tags(connection)? {
                    let tag = json::Object::new().text("type", "tag").text("folded", &folded);
                    text.push_str(&tag.text("name", &name).end());
                    text.push('\n');
                }
                *part = Part::Media(0);
            }
            Part::Media(last) => {
                let rows = transfer::media_after(connection, last, PAGE)?;
                *part = rows.last().map_or(Part::Posts(0), |(id, _)| Part::Media(*id));
                for (_, row) in rows {
                    text.push_str(&media_line(&row));
                }
            }
            Part::Posts(last) => {
                let posts = transfer::posts_after(connection, last, PAGE)?;
                *part = posts.last().map_or(Part::Done, |post| Part::Posts(post.id));
                out.posts += posts.len() as u64;
                for post in posts {
                    text.push_str(&post_line(&post));
                }
            }
            Part::Done => return Ok(Vec::new()),
        }
    }
    Ok(text.into_bytes())
}

fn media_line(row: &MediaRow) -> String {
    let line = json::Object::new()
        .text("type", "media")
        .text("sha256", &hex::encode(&row.sha256))
        .text("mime", &row.mime)
        .number("width", row.width)
        .number("height", row.height)
        .number("bytes", row.bytes)
        .number("created_at", row.created_at);
    line.end() + "\n"
}

fn post_line(post: &WholePost) -> String {
    let row = &post.row;
    let tags = json::array(post.tags.iter().map(|tag| json::text(tag)));
    let images = json::array(post.images.iter().map(|(sha256, _, alt)| {
        json::Object::new()
            .text("sha256", &hex::encode(sha256))
            .text("alt", alt)
            .end()
    }));
    let old_ids = json::array(
        post.old_ids
            .iter()
            .map(|(source, id)| json::Object::new().text("source", source).text("id", id).end()),
    );
    let revisions = json::array(post.revisions.iter().map(|revision| {
        json::Object::new()
            .maybe_text("title", revision.title.as_deref())
            .maybe_text("link", revision.link.as_deref())
            .text("body", &revision.body)
            .number("replaced_at", revision.replaced_at)
            .end()
    }));
    let line = json::Object::new()
        .text("type", "post")
        .number("id", post.id)
        .text("uuid", &row.uuid)
        .text("kind", row.kind.word())
        .text("state", row.state.word())
        .text("visibility", row.visibility.word())
        .maybe_text("title", row.title.as_deref())
        .maybe_text("slug", row.slug.as_deref())
        .maybe_text("link", row.link.as_deref())
        .maybe_text("lang", row.lang.as_deref())
        .text("body", &row.body)
        .number("created_at", row.created_at)
        .maybe_number("published_at", row.published_at)
        .maybe_number("edited_at", row.edited_at)
        .maybe_number("deleted_at", row.deleted_at)
        .maybe_number("pinned_at", row.pinned_at)
        .maybe_number("reply_to", row.reply_to)
        .maybe_number("thread", row.thread)
        .raw("tags", &tags)
        .raw("images", &images)
        .raw("old_ids", &old_ids)
        .raw("revisions", &revisions);
    line.end() + "\n"
}

impl From<ExportError> for Failure {
    fn from(error: ExportError) -> Self {
        match error {
            ExportError::Database(error) => Self::fatal(format!("cannot read the database: {error}")),
            ExportError::Other(failure) => failure,
        }
    }
}
