//! `blog import ...`: posts from elsewhere. They go into the database directly, so it works on another machine than the
//! one that serves the blog, and beside a blog that is running.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use super::{Command, Operands, Opt};
use crate::archive::Archive;
use crate::cli::{self, Failure, Invocation, Outcome};
use crate::db;
use crate::domain::{Stamp, Visibility};
use crate::import::pictures::Pictures;
use crate::import::progress::Progress;
use crate::import::report::Report;
use crate::import::{Target, markdown, mastodon, own, x};

const DRY_RUN: Opt = Opt {
    long: "dry-run",
    value: "",
    meaning: "read everything, write nothing, and tell what would be done",
};
const VISIBILITY: Opt = Opt {
    long: "visibility",
    value: "WORD",
    meaning: "public (the default), unlisted or private",
};
const REPLIES: Opt = Opt {
    long: "include-replies",
    value: "",
    meaning: "take replies to others along",
};
const RETWEETS: Opt = Opt {
    long: "include-retweets",
    value: "",
    meaning: "take reposts of others along, as posts of your own",
};

pub const X_ARCHIVE: Command = Command {
    name: "import x-archive",
    summary: "bring the posts of an archive of X (Twitter) here",
    about: "PATH is the zip as it was downloaded, or the directory that it was unpacked into. Short links are replaced by\n\
            what they stand for, long posts are completed, images come with their descriptions, threads stay threads,\n\
            and old links resolve under /old/x/ID. It may be killed and run again: nothing comes twice.",
    operands: Operands {
        usage: "PATH",
        count: (1, 1),
    },
    options: &[DRY_RUN, VISIBILITY, REPLIES, RETWEETS],
    json: true,
    examples: &[
        "blog import x-archive --dry-run twitter-2026-07-05.zip",
        "blog import x-archive --database ./blog.db twitter-2026-07-05.zip",
    ],
    run: |invocation| {
        let options = x::Options {
            retweets: invocation.has("include-retweets"),
            replies: invocation.has("include-replies"),
            visibility: visibility(invocation)?,
        };
        run(invocation, |archive, target, pictures, place| {
            x::run(archive, target, pictures, options, place)
        })
    },
};

pub const MASTODON: Command = Command {
    name: "import mastodon",
    summary: "bring the posts of an archive of Mastodon here",
    about: "PATH is the archive, unpacked or as a zip (one that is a .tar.gz is to be unpacked first). Posts for\n\
            followers and direct messages become private. It may be run again: nothing comes twice.",
    operands: Operands {
        usage: "PATH",
        count: (1, 1),
    },
    options: &[DRY_RUN, REPLIES],
    json: true,
    examples: &["blog import mastodon ./archive-20260705"],
    run: |invocation| {
        let options = mastodon::Options {
            replies: invocation.has("include-replies"),
        };
        run(invocation, |archive, target, pictures, place| {
            mastodon::run(archive, target, pictures, options, place)
        })
    },
};

pub const MARKDOWN: Command = Command {
    name: "import markdown",
    summary: "bring Markdown files with a head (Jekyll, Hugo, blog export) here",
    about: "Every .md file below PATH becomes a post. What has a title is an article, what has none a note; `draft: true`\n\
            makes a draft. It may be run again: nothing comes twice.",
    operands: Operands {
        usage: "PATH",
        count: (1, 1),
    },
    options: &[DRY_RUN, VISIBILITY],
    json: true,
    examples: &["blog import markdown ./content/posts"],
    run: |invocation| {
        let visibility = visibility(invocation)?;
        run(invocation, |archive, target, pictures, _| {
            markdown::run(archive, target, pictures, visibility)
        })
    },
};

pub const EXPORT: Command = Command {
    name: "import export",
    summary: "bring back what `blog export --format jsonl` wrote",
    about: "Into a blog without posts everything comes back as it was, numbers and name included. Into another one the\n\
            posts are added.",
    operands: Operands {
        usage: "PATH",
        count: (1, 1),
    },
    options: &[DRY_RUN],
    json: true,
    examples: &["blog import export --database ./new.db blog-export.zip"],
    run: |invocation| {
        run(invocation, |archive, target, pictures, _| {
            own::run(archive, target, pictures)
        })
    },
};

fn visibility(invocation: &Invocation) -> Result<Visibility, Failure> {
    let word = invocation.value("visibility")?.unwrap_or("public");
    Visibility::parse(word).ok_or_else(|| {
        Failure::usage(
            format!("--visibility: `{word}` is no visibility"),
            "write public, unlisted or private",
        )
    })
}

fn run(
    invocation: &Invocation,
    import: impl FnOnce(&mut Archive, &mut Target<'_>, &Pictures, &Path) -> Result<(), Failure>,
) -> Result<Outcome, Failure> {
    let settings = invocation.settings()?;
    let path = invocation.operands.first().map(PathBuf::from).unwrap_or_default();
    let mut archive = Archive::open(&path)?;
    let database = Path::new(&settings.database);
    let place = database.parent().filter(|parent| !parent.as_os_str().is_empty());
    let dry_run = invocation.has("dry-run");
    // A dry run may be asked for before there is a blog at all.
    let mut open = if dry_run && !database.exists() {
        db::Alone::in_memory()?
    } else {
        db::Alone::open(&settings.database)?
    };
    let mut progress = Progress::new("importing");
    let mut target = Target {
        connection: open.connection(),
        now: Stamp::now(),
        dry_run,
        report: Report {
            dry_run,
            ..Report::default()
        },
        progress: &mut progress,
        tags: HashMap::new(),
    };
    let pictures = Pictures::new(&settings.media, dry_run)?;
    import(&mut archive, &mut target, &pictures, place.unwrap_or(Path::new(".")))?;
    let report = std::mem::take(&mut target.report);
    drop(progress);
    cli::print(&if invocation.json {
        report.json()
    } else {
        report.to_string()
    })?;
    Ok(Outcome::Fine)
}
