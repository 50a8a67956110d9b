//! The Docker builder against `docker build` with the same Dockerfile, and so with the same cache mounts.

use std::fs;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use super::build::{UNTRACKED, copied, quiet, whole};
use super::figures::{Goal, Row, Unit, alternate};
use super::{PLATFORM, elsewhere, timed};
use crate::builder::here::Here;
use crate::builder::image::network;
use crate::cache::write_with_mode;
use crate::cx::Cx;
use crate::engine::Connection;
use crate::engine::client::with_buildkit;
use crate::error::{Context, Result};
use crate::oci::layer::EntryKind;
use crate::shell::Command;
use crate::target::Base;

const WHATS: [(&str, f64); 2] = [
    ("no-op image through the builder", 0.5),
    ("one-line edit through the builder", 0.8),
];
/// The line that an edit puts first, before a number.
const EDIT: &str = "// `cargo xtask bench` writes this line anew:";
const THEIRS: &str = "docker build";

/// An image when nothing has changed, and after a line has.
pub fn measure(cx: &Cx, runs: u16) -> Result<Vec<Row>> {
    let nothing = |note: String| {
        WHATS.map(|(what, times)| {
            Row::new(
                what,
                Unit::Seconds,
                None,
                Some((THEIRS, None)),
                goal(times),
                note.clone(),
            )
        })
    };
    let connection = match Connection::from_environment() {
        Ok(connection) => connection,
        Err(error) => return Ok(nothing(error.to_string()).into()),
    };
    let docker = match with_buildkit(&cx.shell) {
        Ok(docker) => docker,
        Err(error) => return Ok(nothing(error.to_string()).into()),
    };
    let Some((copy, file)) = copied(cx)? else {
        return Ok(nothing(UNTRACKED.to_owned()).into());
    };
    let there = elsewhere(cx, copy);
    let here = Here::read(None)?;
    let network = network(&connection, &here)?;
    like_here(&there.root, &here)?;
    let (ours, theirs) = (whole(cx, &there, "docker"), plain(cx, &docker, &there.root, network));
    cx.ui.step(
        "Compiling",
        "in the builder and with docker build; the first time takes minutes",
    );
    quiet(&ours)?;
    if let Err(error) = quiet(&theirs) {
        return Ok(nothing(error.to_string()).into());
    }
    let note = format!(
        "`cargo xtask image --builder docker --base scratch --platform {PLATFORM}`, through cargo, with audit and layout, against \
         `docker build -f docker/Dockerfile`, which does neither; the engine and the caches are warm"
    );
    let mut rows = Vec::new();
    for (index, (what, times)) in WHATS.into_iter().enumerate() {
        cx.ui.step("Measuring", what);
        let edit = || if index == 0 { Ok(()) } else { renew(&file) };
        let (ours, theirs) = alternate(
            runs,
            || edit().and_then(|()| timed(|| quiet(&ours))),
            || edit().and_then(|()| timed(|| quiet(&theirs))),
        )?;
        rows.push(Row::new(
            what,
            Unit::Seconds,
            ours,
            Some((THEIRS, theirs)),
            goal(times),
            note.clone(),
        ));
    }
    Ok(rows)
}

/// Gives the file another first line than it ever had: both sides remember what they have compiled before.
fn renew(file: &Path) -> Result<()> {
    let text = fs::read_to_string(file).context(|| format!("cannot read {}", file.display()))?;
    let rest = match text.split_once('\n') {
        Some((first, rest)) if first.starts_with(EDIT) => rest,
        _ => text.as_str(),
    };
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_nanos();
    fs::write(file, format!("{EDIT} {now}\n{rest}")).context(|| format!("cannot write {}", file.display()))
}

fn goal(times: f64) -> Option<Goal> {
    Some(Goal::Relative { times, more: None })
}

/// Puts what commands need to get out where `cargo xtask` sends it: what the engine has built for the one it knows for the other.
fn like_here(root: &Path, here: &Here) -> Result<()> {
    for entry in here.entries("docker/host") {
        if let EntryKind::File(bytes) = entry.kind {
            write_with_mode(&root.join(&entry.path), &bytes, entry.mode)?;
        }
    }
    Ok(())
}

/// `docker build` of the same image.
fn plain(cx: &Cx, docker: &Path, root: &Path, network: Option<&str>) -> Command {
    let mut command = cx
        .shell
        .command(docker)
        .env("DOCKER_BUILDKIT", "1")
        .args([
            "build",
            "--quiet",
            "--file",
            "docker/Dockerfile",
            "--tag",
            "xtask-bench",
            "--platform",
        ])
        .arg(PLATFORM.to_string())
        .args(["--build-arg", &format!("BASE={}", Base::Scratch)]);
    if let Some(network) = network {
        command = command.args(["--network", network]);
    }
    command.arg(".").current_dir(root)
}
