//! `blog check`: whether the database and the images are what they should be.

use std::fs;
use std::path::Path;

use diesel::sqlite::SqliteConnection;

use super::findings::Findings;
use super::{Command, Operands, Opt};
use crate::backup::Image;
use crate::cli::{Failure, Invocation, Outcome};
use crate::db::lock::Lock;
use crate::db::queries::{integrity, search};
use crate::db::{self, connection, migrate};
use crate::domain::hex;
use crate::media::Format;
use crate::settings::Settings;

pub const COMMAND: Command = Command {
    name: "check",
    summary: "look whether database and images are sound",
    about: "It may run while the blog does. With --repair it mends what can be mended without losing anything: images that\n\
            no post ever had, what killed commands left behind, indexes.",
    operands: Operands::NONE,
    options: &[Opt {
        long: "repair",
        value: "",
        meaning: "mend what can be mended without a loss",
    }],
    json: true,
    examples: &["blog check --database /data/blog.db", "blog check --repair --json"],
    run,
};

const RESTORE: &str = "restore a backup: `blog restore`; or copy out what can be read: `blog export`";

fn run(invocation: &Invocation) -> Result<Outcome, Failure> {
    let settings = invocation.settings()?;
    let repair = invocation.has("repair");
    let path = Path::new(&settings.database);
    if !path.is_file() {
        return Err(Failure::usage(
            format!("there is no database {}", settings.database),
            "name it with --database or BLOG_DATABASE",
        ));
    }
    let _lock = Lock::shared(path)?;
    let mut findings = Findings::default();
    match connection::reader(&settings.database) {
        Ok(mut open) => {
            if let Err(error) = database(&mut open, &settings, repair, &mut findings) {
                findings.fail("database", format!("cannot be read: {error}"), RESTORE);
            }
        }
        Err(failure) => findings.fail("database", failure.message, RESTORE),
    }
    leftovers(path, repair, &mut findings);
    findings.print(invocation.json)
}

fn database(
    open: &mut SqliteConnection,
    settings: &Settings,
    repair: bool,
    findings: &mut Findings,
) -> diesel::QueryResult<()> {
    if integrity::application_id(open)? != i64::from(connection::APPLICATION_ID) {
        findings.fail(
            "database",
            "it is a database of some other program",
            "choose another file with --database or BLOG_DATABASE",
        );
        return Ok(());
    }
    let damage = integrity::damage(open)?;
    if damage.is_empty() {
        findings.ok("database", "integrity_check finds nothing");
    }
    for line in damage {
        // Rows are whole, and an index can be made from them again.
        let index = line.contains("missing from index") || line.contains("wrong # of entries in index");
        if index && repair && reindex(settings) {
            findings.ok("database", format!("{line}: the index was made anew"));
        } else if index {
            findings.fail("database", line, "`blog check --repair` makes the index anew");
        } else {
            findings.fail("database", line, RESTORE);
        }
    }
    let dangling = integrity::dangling(open)?;
    if dangling.is_empty() {
        findings.ok("references", "every row refers to rows that are there");
    }
    for line in dangling {
        findings.fail("references", line, RESTORE);
    }
    if schema(open, findings)? {
        search_index(settings, repair, findings);
    }
    images(open, settings, repair, findings)
}

fn reindex(settings: &Settings) -> bool {
    let mended = connection::writer(&settings.database).map(|mut open| integrity::reindex(&mut open).is_ok());
    mended.unwrap_or(false)
}

/// Whether the tables are those that this program's migrations make. True when they are.
fn schema(open: &mut SqliteConnection, findings: &mut Findings) -> diesel::QueryResult<bool> {
    let fresh = db::Alone::in_memory().and_then(|mut fresh| {
        let connection = fresh.connection();
        let failed = |error: diesel::result::Error| Failure::fatal(error.to_string());
        Ok((
            integrity::schema(connection).map_err(failed)?,
            integrity::user_version(connection).map_err(failed)?,
        ))
    });
    let (wanted, version) = match fresh {
        Ok(fresh) => fresh,
        Err(failure) => {
            findings.fail("schema", format!("cannot be compared: {}", failure.message), "");
            return Ok(false);
        }
    };
    match migrate::standing(open) {
        Ok(migrate::Standing::Current) => {}
        Ok(migrate::Standing::Behind(count)) => {
            findings.warn(
                "schema",
                format!("{count} migrations are to come"),
                "they are made when the blog starts next",
            );
            return Ok(false);
        }
        Ok(migrate::Standing::Ahead(version)) => {
            findings.fail(
                "schema",
                format!("it was written by a newer blog (it has migration {version})"),
                "run that newer version, or restore a backup from before it ran",
            );
            return Ok(false);
        }
        Err(error) => {
            findings.fail(
                "schema",
                format!("the list of migrations cannot be read: {error}"),
                RESTORE,
            );
            return Ok(false);
        }
    }
    let found = integrity::schema(open)?;
    let short = |line: &String| line.split(':').next().unwrap_or_default().to_owned();
    let missing = wanted.iter().filter(|line| !found.contains(line));
    let extra = found.iter().filter(|line| !wanted.contains(line));
    let mut differ: Vec<String> = missing.map(short).collect();
    for name in extra.map(short) {
        if !differ.contains(&name) {
            differ.push(format!("{name} (not of this program)"));
        }
    }
    let stored = integrity::user_version(open)?;
    if stored != version {
        differ.push(format!("user_version is {stored}, not {version}"));
    }
    if differ.is_empty() {
        findings.ok("schema", format!("as the migrations make it, version {version}"));
    } else {
        findings.fail("schema", format!("differs: {}", differ.join(", ")), RESTORE);
    }
    Ok(differ.is_empty())
}

/// Whether every post can be found by every word of it.
fn search_index(settings: &Settings, repair: bool, findings: &mut Findings) {
    let asked = connection::writer(&settings.database)
        .map_err(|failure| failure.message)
        .and_then(|mut open| {
            let problem = search::check(&mut open).map_err(|error| error.to_string())?;
            if problem.is_none() || !repair {
                return Ok(problem.map(|problem| (problem, false)));
            }
            open.immediate_transaction(|open| {
                search::rebuild(open)?;
                search::refresh(open, i64::MAX)
            })
            .map_err(|error: diesel::result::Error| error.to_string())?;
            Ok(problem.map(|problem| (problem, true)))
        });
    match asked {
        Ok(None) => findings.ok("search", "every post is in the search index"),
        Ok(Some((problem, true))) => findings.ok("search", format!("{problem}: it was made anew")),
        Ok(Some((problem, false))) => findings.fail("search", problem, "`blog check --repair` makes the index anew"),
        Err(error) => findings.fail("search", format!("the index cannot be checked: {error}"), RESTORE),
    }
}

fn images(
    open: &mut SqliteConnection,
    settings: &Settings,
    repair: bool,
    findings: &mut Findings,
) -> diesel::QueryResult<()> {
    let directory = &settings.media.directory;
    let (mut sound, mut last) = (0, 0);
    loop {
        let rows = integrity::images(open, last, 500)?;
        let Some(end) = rows.last() else { break };
        last = end.id;
        for row in &rows {
            let Some(image) = Image::of(row) else {
                findings.fail(
                    "images",
                    format!("row {} is none that an image can have", row.id),
                    RESTORE,
                );
                continue;
            };
            match crate::backup::hash(&directory.join(&image.file)) {
                Ok(hash) if hash == image.sha256 => sound += 1,
                Ok(_) => findings.fail("images", format!("{} is damaged", image.file), RESTORE),
                Err(error) => findings.fail("images", format!("{} cannot be read: {error}", image.file), RESTORE),
            }
        }
    }
    findings.ok("images", format!("{sound} are what their names say"));
    if !directory.is_dir() {
        return Ok(());
    }
    let store = match settings.media.open() {
        Ok(store) => store,
        Err(failure) => {
            findings.fail("images", failure.message, "");
            return Ok(());
        }
    };
    let mut failed = None;
    let orphans = store.orphans(|hash, _: Format| {
        integrity::has_image(open, hash).unwrap_or_else(|error| {
            failed = Some(error);
            true
        })
    });
    if let Some(error) = failed {
        return Err(error);
    }
    for path in orphans.unwrap_or_default() {
        let name = path
            .file_name()
            .map(|name| name.to_string_lossy().into_owned())
            .unwrap_or_default();
        // What has not the name of an image was put there by somebody.
        let ours = name.split('.').next().and_then(hex::decode::<32>).is_some();
        if !ours {
            findings.warn(
                "images",
                format!("{name} is none of the blog's files"),
                "move it elsewhere",
            );
        } else if repair && fs::remove_file(&path).is_ok() {
            findings.ok("images", format!("{name} belonged to no post and was removed"));
        } else {
            findings.warn(
                "images",
                format!("{name} belongs to no post"),
                "`blog check --repair` removes it; an upload or import that was killed leaves such files",
            );
        }
    }
    Ok(())
}

/// What a killed `blog restore` leaves beside the database.
fn leftovers(database: &Path, repair: bool, findings: &mut Findings) {
    let mut name = database.as_os_str().to_owned();
    name.push(".restoring");
    let path = Path::new(&name);
    if !path.exists() {
        return;
    }
    if repair && fs::remove_file(path).is_ok() {
        findings.ok("files", format!("{} was left behind and was removed", path.display()));
    } else {
        findings.warn(
            "files",
            format!("{} was left behind by a restore that was killed", path.display()),
            "restore again, or remove it with `blog check --repair`",
        );
    }
}
