//! `blog export`: the whole blog in a form that outlives it.

use std::path::{Path, PathBuf};

use super::{Command, Operands, Opt};
use crate::cli::{self, Failure, Invocation, Outcome};
use crate::db;
use crate::domain::{hex, json};
use crate::export::{self, Exported, Format};
use crate::import::progress::Progress;

pub const COMMAND: Command = Command {
    name: "export",
    summary: "write the whole blog as JSON Lines, Markdown or pages",
    about: "PATH becomes a directory, or a zip when it ends in .zip; nothing is overwritten. SHA256SUMS in it has the hash\n\
            of every file. The same blog gives the same bytes.\n\
            jsonl     everything, for `blog import export`: drafts, trash, earlier versions, old addresses\n\
            markdown  a file for each post, as site generators read them, for `blog import markdown`\n\
            html      what readers see, as pages that open without a server",
    operands: Operands {
        usage: "PATH",
        count: (1, 1),
    },
    options: &[Opt {
        long: "format",
        value: "FORMAT",
        meaning: "jsonl (the default), markdown or html",
    }],
    json: true,
    examples: &[
        "blog export blog-export.zip",
        "blog export --format markdown --database /data/blog.db ./export",
    ],
    run,
};

fn run(invocation: &Invocation) -> Result<Outcome, Failure> {
    let settings = invocation.settings()?;
    let word = invocation.value("format")?.unwrap_or("jsonl");
    let format = Format::parse(word).ok_or_else(|| {
        Failure::usage(
            format!("--format: `{word}` is no format of an export"),
            "write jsonl, markdown or html",
        )
    })?;
    let to = invocation.operands.first().map(PathBuf::from).unwrap_or_default();
    let mut progress = Progress::new("exporting");
    let out = if format == Format::Html {
        export::html::run(&settings, &to, &mut progress)?
    } else {
        let mut open = db::Alone::existing(&settings.database)?;
        export::run(open.connection(), &settings.media.directory, &to, format, &mut progress)?
    };
    drop(progress);
    cli::print(&if invocation.json {
        as_json(&out, &to)
    } else {
        as_text(&out, &to)
    })?;
    Ok(if out.problems.is_empty() {
        Outcome::Fine
    } else {
        Outcome::Findings
    })
}

fn as_json(out: &Exported, to: &Path) -> String {
    let object = json::Object::new()
        .text("path", &to.to_string_lossy())
        .number("posts", out.posts)
        .number("images", out.images)
        .number("files", out.files)
        .number("bytes", out.bytes)
        .text("sha256sums", &hex::encode(&out.sums))
        .raw(
            "problems",
            &json::array(out.problems.iter().map(|problem| json::text(problem))),
        );
    object.end() + "\n"
}

fn as_text(out: &Exported, to: &Path) -> String {
    let mut text = format!(
        "{}: {} posts, {} images, {} bytes in {} files\nsha256 of SHA256SUMS: {}\n",
        to.display(),
        out.posts,
        out.images,
        out.bytes,
        out.files,
        hex::encode(&out.sums)
    );
    for problem in &out.problems {
        text.push_str(&format!("{problem}\n"));
    }
    text
}
