//! `blog doctor`: whether the place where the blog lives is fit for it.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::time::{Duration, Instant};

use super::findings::Findings;
use super::{Command, Operands};
use crate::archive::sync_parent;
use crate::auth::password::{self, Cost, NewPassword};
use crate::backup;
use crate::cli::{Failure, Invocation, Outcome};
use crate::db::connection;
use crate::db::lock::Lock;
use crate::db::queries::{integrity, owner};
use crate::domain::Stamp;
use crate::listen::{Audience, Listen};
use crate::settings::{Settings, Source};

pub const COMMAND: Command = Command {
    name: "doctor",
    summary: "look whether settings, disk, clock and backups are in order",
    about: "It changes nothing; it writes, syncs and removes a small file to see that this works. `blog check` looks into\n\
            the database itself.",
    operands: Operands::NONE,
    options: &[],
    json: true,
    examples: &["blog doctor", "blog doctor --json --database /data/blog.db"],
    run,
};

/// 2026-01-01: this program is not older.
const EARLIEST: i64 = 1_767_225_600;
/// Below this the next post may be the last.
const LITTLE: u64 = 16 << 20;
/// A sign-in that takes longer is worth a word.
const SLOW: Duration = Duration::from_secs(5);

fn run(invocation: &Invocation) -> Result<Outcome, Failure> {
    let settings = invocation.settings()?;
    let mut findings = Findings::default();
    let now = Stamp::now();
    given(&settings, &mut findings);
    let newest = database(&settings, &mut findings);
    disk(&settings, &mut findings);
    clock(now, newest, &mut findings);
    backups(&settings, now, &mut findings);
    password(settings.password_cost, &mut findings)?;
    addresses(&settings, &mut findings);
    findings.print(invocation.json)
}

fn given(settings: &Settings, findings: &mut Findings) {
    let own = settings
        .in_force
        .iter()
        .filter(|row| row.source != Source::Default)
        .count();
    findings.ok(
        "settings",
        format!("{own} are set, all valid; `blog config` shows them"),
    );
    for name in &settings.unknown_variables {
        findings.warn(
            "settings",
            format!("{name} is set and is no setting"),
            "`blog config` lists those there are",
        );
    }
}

/// Answers with the date of the newest post.
fn database(settings: &Settings, findings: &mut Findings) -> i64 {
    let path = Path::new(&settings.database);
    if !path.exists() {
        findings.warn(
            "database",
            format!("{} is not there yet", settings.database),
            "the first start makes it; or name another with --database or BLOG_DATABASE",
        );
        return 0;
    }
    for path in [path, settings.media.directory.as_path()] {
        match fs::metadata(path) {
            Ok(meta) if meta.mode() & 0o077 != 0 => findings.warn(
                "permissions",
                format!(
                    "{} can be read by others on this machine (mode {:o})",
                    path.display(),
                    meta.mode() & 0o777
                ),
                "take that away: chmod go= FILE",
            ),
            Ok(_) => findings.ok("permissions", format!("{} is for its owner alone", path.display())),
            // No image yet.
            Err(_) => {}
        }
    }
    let asked = || -> Result<(i64, bool), Failure> {
        let _lock = Lock::shared(path)?;
        let mut open = connection::reader(&settings.database)?;
        let failed = |error: diesel::result::Error| Failure::fatal(error.to_string());
        let newest = integrity::newest_post(&mut open).map_err(failed)?;
        Ok((newest, owner::password_hash(&mut open).map_err(failed)?.is_some()))
    };
    match asked() {
        Ok((newest, has_owner)) => {
            findings.ok("database", format!("{} opens", settings.database));
            if !has_owner {
                findings.warn(
                    "owner",
                    "nobody can sign in: there is no password",
                    "`blog owner set` sets one",
                );
            }
            newest
        }
        Err(failure) => {
            findings.fail("database", failure.message, "`blog check` tells more");
            0
        }
    }
}

fn disk(settings: &Settings, findings: &mut Findings) {
    let database = Path::new(&settings.database);
    let place = database.parent().filter(|parent| !parent.as_os_str().is_empty());
    let place = place.unwrap_or(Path::new("."));
    match probe(place) {
        Ok(()) => findings.ok("disk", format!("{} takes writes and syncs", place.display())),
        Err(error) => findings.fail(
            "disk",
            format!("{}: writing and syncing fails: {error}", place.display()),
            "the directory must be there and be writable for the user that runs the blog",
        ),
    }
    let size = fs::metadata(database).map_or(0, |meta| meta.len());
    match free(place) {
        Ok(free) if free < LITTLE => findings.fail(
            "disk",
            format!("{} has {} MiB free", place.display(), free >> 20),
            "make room: soon nothing can be written any more",
        ),
        Ok(free) if free < size.saturating_mul(2) => findings.warn(
            "disk",
            format!(
                "{} has {} MiB free, less than twice the database",
                place.display(),
                free >> 20
            ),
            "a restore needs that much; make room, or move the blog to a larger disk",
        ),
        Ok(free) => findings.ok("disk", format!("{} has {} MiB free", place.display(), free >> 20)),
        Err(error) => findings.warn("disk", format!("nobody knows how much is free: {error}"), ""),
    }
}

/// The way every file of the blog goes: written, synced, renamed, its directory synced.
fn probe(place: &Path) -> io::Result<()> {
    let (first, second) = (place.join(".doctor-new"), place.join(".doctor"));
    let written = || -> io::Result<()> {
        let mut options = OpenOptions::new();
        let mut file = options
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&first)?;
        file.write_all(b"blog doctor\n")?;
        file.sync_all()?;
        fs::rename(&first, &second)?;
        sync_parent(&second)
    };
    let done = written();
    for path in [&first, &second] {
        let _ = fs::remove_file(path);
    }
    done
}

/// Bytes that this user may still write.
fn free(place: &Path) -> io::Result<u64> {
    let stat = rustix::fs::statvfs(place)?;
    Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
}

fn clock(now: Stamp, newest: i64, findings: &mut Findings) {
    let shown = now.human();
    if now.0 < EARLIEST {
        findings.fail(
            "clock",
            format!("it says {shown}, before this program was made"),
            "set the clock; a Pi without network has none that runs without power",
        );
    } else if now.0 < newest {
        findings.warn(
            "clock",
            format!("it says {shown}, before the newest post ({})", Stamp(newest).human()),
            "set the clock; until then new posts get the date of the newest one",
        );
    } else {
        findings.ok("clock", format!("it says {shown}, after the newest post"));
    }
}

fn backups(settings: &Settings, now: Stamp, findings: &mut Findings) {
    let Some(to) = &settings.backup.to else {
        findings.warn(
            "backup",
            "the running blog makes none",
            "name a directory on another disk with BLOG_BACKUP_DIR",
        );
        return;
    };
    let newest = match backup::list(to) {
        Ok(all) => all.last().cloned(),
        Err(failure) => {
            findings.fail(
                "backup",
                failure.message,
                "the directory must be readable for the user that runs the blog",
            );
            return;
        }
    };
    let Some(newest) = newest else {
        findings.warn(
            "backup",
            format!("there is none in {} yet", to.display()),
            "the first one is made a minute after the start; or `blog backup` now",
        );
        return;
    };
    let age = now.0 - newest.made_at.0;
    let most = i64::try_from(settings.backup.every.as_secs())
        .unwrap_or(i64::MAX)
        .saturating_mul(2);
    let text = format!("the newest in {} is of {}", to.display(), newest.made_at.human());
    if age > most {
        findings.fail(
            "backup",
            format!("{text}: it should be newer"),
            "look into the log of the blog, or run `blog backup`",
        );
    } else if age < 0 {
        findings.warn(
            "backup",
            format!("{text}, which is yet to come"),
            "the clock was or is wrong",
        );
    } else {
        findings.ok("backup", text);
    }
    let device = |path: &Path| fs::metadata(path).map(|meta| meta.dev()).ok();
    if device(to).is_some() && device(to) == device(Path::new(&settings.database)) {
        findings.warn(
            "backup",
            "backups lie on the same disk as the blog",
            "they help after a mistake, not after the disk's death: choose another disk",
        );
    }
}

/// What signing in takes on this machine, with the password that it would be.
fn password(cost: Cost, findings: &mut Findings) -> Result<(), Failure> {
    let example = NewPassword::parse("only to see how long it takes")?;
    let started = Instant::now();
    password::hash(&example, cost)?;
    let took = started.elapsed();
    let (seconds, tenths) = (took.as_secs(), took.subsec_millis() / 100);
    let text = format!(
        "checking one takes {seconds}.{tenths} s and {} MB here (BLOG_PASSWORD_COST={cost})",
        u64::from(cost.memory) * 1_048_576 / 1_000_000
    );
    if cost.is_weak() {
        findings.warn(
            "password",
            format!("{text}, which makes guessing cheap for whoever has a copy of the database"),
            "OWASP's least are 19M:2, 12M:3, 9M:4 and 7M:5; with less, take a password of six random words",
        );
    } else if took >= SLOW {
        findings.warn(
            "password",
            format!("{text}, and one is checked at a time"),
            "it is the price of a sign-in, which lasts for weeks; 7M:5 takes as long and less memory",
        );
    } else {
        findings.ok("password", text);
    }
    Ok(())
}

/// Behind Tor nothing but this machine needs to reach the blog.
fn addresses(settings: &Settings, findings: &mut Findings) {
    for (key, listen, audience) in settings.listeners() {
        let near = match listen {
            Listen::Off => {
                findings.ok("network", format!("{key} is off"));
                continue;
            }
            Listen::Tcp(address) => address.ip().is_loopback(),
            Listen::Unix(_) => true,
        };
        let whom = match audience {
            Audience::Readers => "for readers",
            Audience::Everybody => "for everybody",
        };
        if near {
            findings.ok(
                "network",
                format!("{key} {listen}, {whom}, is reached from this machine alone"),
            );
        } else {
            findings.warn(
                "network",
                format!("{key} {listen}, {whom}, may be reached from other machines"),
                "behind Tor listen on 127.0.0.1; in a container publish the port on 127.0.0.1 alone",
            );
        }
    }
    let onion = |url: &str| url.trim_end_matches('/').ends_with(".onion");
    if settings.base_url.is_empty() {
        findings.warn(
            "network",
            "the blog does not know its own address, so links in feeds are relative",
            "set BLOG_BASE_URL to http://YOUR-ADDRESS.onion",
        );
    } else if onion(&settings.base_url) && settings.base_url.starts_with("https://") {
        findings.warn(
            "network",
            format!("{} is an onion address with https", settings.base_url),
            "Tor encrypts already; without a certificate for it write http://",
        );
    } else {
        findings.ok("network", format!("links in feeds begin with {}", settings.base_url));
    }
    if !settings.secure_cookie {
        findings.warn(
            "network",
            "the cookie of the owner is sent over plain http to any address",
            "leave BLOG_INSECURE_COOKIE out: Tor Browser counts onion addresses as secure",
        );
    }
}
