//! `blog backup` and `blog restore`.

use std::path::{Path, PathBuf};

use super::{Command, Operands, Opt};
use crate::backup::{self, Made, Plan, Restored};
use crate::cli::{self, Failure, Invocation, Outcome};
use crate::domain::{Stamp, json};

pub const BACKUP: Command = Command {
    name: "backup",
    summary: "copy the blog, restore the copy, and keep it if it works",
    about: "It may run while the blog does. The place given holds the newest backups and the images of all of them; what\n\
            is on another disk than the blog survives the death of the blog's. While the blog runs it makes backups by\n\
            itself if BLOG_BACKUP_DIR is set.",
    operands: Operands::NONE,
    options: &[
        Opt {
            long: "to",
            value: "DIRECTORY",
            meaning: "where to (else BLOG_BACKUP_DIR)",
        },
        Opt {
            long: "keep",
            value: "NUMBER",
            meaning: "how many to keep (else BLOG_BACKUP_KEEP)",
        },
    ],
    json: true,
    examples: &["blog backup --to /media/usb/blog --keep 30", "blog backup --json"],
    run: make,
};

pub const RESTORE: Command = Command {
    name: "restore",
    summary: "make a backup the blog again",
    about: "PATH is a backup's .db file, or the directory with the backups, of which the newest is taken. The blog must\n\
            not be running. Nothing changes until the backup was seen to work; the database that was there is kept\n\
            beside the new one.",
    operands: Operands {
        usage: "PATH",
        count: (1, 1),
    },
    options: &[],
    json: true,
    examples: &["blog restore --database /data/blog.db /media/usb/blog"],
    run: restore,
};

fn make(invocation: &Invocation) -> Result<Outcome, Failure> {
    let settings = invocation.settings()?;
    let to = match invocation.raw("to") {
        Some(to) => PathBuf::from(to),
        None => settings.backup.to.clone().ok_or_else(|| {
            Failure::usage(
                "nobody said where to put the backup".to_owned(),
                "name a directory with --to or BLOG_BACKUP_DIR",
            )
        })?,
    };
    let keep = match invocation.value("keep")? {
        Some(text) => text.parse().ok().filter(|keep| *keep > 0).ok_or_else(|| {
            Failure::usage(
                format!("--keep: `{text}` is no number of backups"),
                "write a number from 1 on",
            )
        })?,
        None => settings.backup.keep,
    };
    let database = PathBuf::from(&settings.database);
    let plan = Plan {
        media: settings.media.directory.clone(),
        database,
        to,
        keep,
    };
    let made = backup::run(&plan, Stamp::now())?;
    cli::print(&if invocation.json {
        made_json(&made)
    } else {
        made_text(&made)
    })?;
    Ok(outcome(&made.problems))
}

fn restore(invocation: &Invocation) -> Result<Outcome, Failure> {
    let settings = invocation.settings()?;
    let from = invocation.operands.first().map(PathBuf::from).unwrap_or_default();
    let database = Path::new(&settings.database);
    let done = backup::restore(&from, database, &settings.media.directory, Stamp::now())?;
    cli::print(&if invocation.json {
        restored_json(&done, database)
    } else {
        restored_text(&done, database)
    })?;
    Ok(outcome(&done.problems))
}

fn outcome(problems: &[String]) -> Outcome {
    if problems.is_empty() {
        Outcome::Fine
    } else {
        Outcome::Findings
    }
}

fn list(lines: &[String]) -> String {
    json::array(lines.iter().map(|line| json::text(line)))
}

fn made_json(made: &Made) -> String {
    let object = json::Object::new()
        .text("path", &made.path.to_string_lossy())
        .number("bytes", made.bytes)
        .number("posts", made.posts)
        .number("images", made.images)
        .raw("removed", &list(&made.removed))
        .raw("problems", &list(&made.problems));
    object.end() + "\n"
}

fn made_text(made: &Made) -> String {
    let mut text = format!(
        "{}: {} posts, {} images, {} bytes; restored and found whole\n",
        made.path.display(),
        made.posts,
        made.images,
        made.bytes
    );
    for name in &made.removed {
        text.push_str(&format!("removed {name}\n"));
    }
    for problem in &made.problems {
        text.push_str(&format!("not in it: {problem}\n"));
    }
    text
}

fn restored_json(done: &Restored, database: &Path) -> String {
    let aside = done.aside.as_ref().map(|path| path.to_string_lossy().into_owned());
    let object = json::Object::new()
        .text("from", &done.from.to_string_lossy())
        .text("database", &database.to_string_lossy())
        .number("posts", done.posts)
        .number("images", done.images)
        .maybe_text("aside", aside.as_deref())
        .raw("problems", &list(&done.problems));
    object.end() + "\n"
}

fn restored_text(done: &Restored, database: &Path) -> String {
    let mut text = format!(
        "{} is {} now: {} posts, {} images\n",
        database.display(),
        done.from.display(),
        done.posts,
        done.images
    );
    if let Some(aside) = &done.aside {
        text.push_str(&format!("what was there is {}\n", aside.display()));
    }
    for problem in &done.problems {
        text.push_str(&format!("not restored: {problem}\n"));
    }
    text
}
