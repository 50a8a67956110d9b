//! `cargo xtask base`: what bases are made of, and the lock that keeps it so.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use serde::Serialize;

use crate::base::catalogue::{Catalogue, Source};
use crate::base::chain::{self, Failure, Request};
use crate::base::found::Want;
use crate::base::lock::{self, Entry, Lock};
use crate::cache::write_atomically;
use crate::cli::{BaseSelection, BaseVerb};
use crate::cx::Cx;
use crate::error::{Context, Error, Result};
use crate::oci::image::MemoryFiles;
use crate::oci::layer::{LayerBuilder, Limits, decompress};
use crate::oci::{BaseImage, Destination, ImageName, Layer, Tree, assemble, dockerfile};
use crate::plan::image_tag;
use crate::policy::Policy;
use crate::publish::{archive, layout};
use crate::target::{Base, Platform};
use crate::ui::bytes;
use crate::verb::{Outcome, place, policy};

/// Runs the verb.
pub fn run(cx: &Cx, verb: &BaseVerb) -> Result<Outcome> {
    match verb {
        BaseVerb::List { json } => list(cx, *json),
        BaseVerb::Lock(selection) => write_missing(cx, selection),
        BaseVerb::Update { selection, dry_run } => update(cx, selection, *dry_run),
        BaseVerb::Verify { selection, json } => verify(cx, selection, *json),
        BaseVerb::Export {
            base,
            to,
            platform,
            debian_mirror,
        } => export(cx, *base, to, *platform, debian_mirror.as_deref()),
    }
}

/// One line of the list: a source of a base for a platform.
#[derive(Debug, Serialize)]
struct Row {
    base: Base,
    platform: Platform,
    /// `None` for scratch.
    source: Option<String>,
    /// Whether docker/bases.lock has it.
    locked: bool,
    /// What is locked.
    #[serde(flatten)]
    known: Option<Known>,
}

#[derive(Debug, Serialize)]
struct Known {
    origin: String,
    /// The day of the inputs.
    date: String,
    /// Days since then.
    age: u64,
    /// Older than `[base] max-age-days`.
    old: bool,
    /// Compressed bytes of all layers.
    size: u64,
    glibc: Option<String>,
    /// Digests of the layers, lowest first.
    layers: Vec<String>,
    packages: Vec<String>,
}

fn list(cx: &Cx, json: bool) -> Result<Outcome> {
    let policy = policy(cx)?;
    let (catalogue, lock) = (chain::catalogue(cx)?, chain::lock(cx)?);
    let today = chain::today();
    let mut rows = Vec::new();
    for base in Base::ALL {
        for platform in base.platforms() {
            if base == Base::Scratch {
                rows.push(Row {
                    base,
                    platform,
                    source: None,
                    locked: false,
                    known: None,
                });
            }
            for source in catalogue.sources(base) {
                let source = source.to_string();
                let entry = lock.get(base, platform, &source);
                let known = entry.map(|entry| Known {
                    origin: entry.origin.clone(),
                    date: entry.date.clone(),
                    age: entry.age(today),
                    old: entry.age(today) > policy.base.max_age_days,
                    size: entry.size(),
                    glibc: entry.glibc.clone(),
                    layers: entry.layers.iter().map(|layer| layer.digest.to_string()).collect(),
                    packages: entry.package_lines(),
                });
                rows.push(Row {
                    base,
                    platform,
                    source: Some(source),
                    locked: known.is_some(),
                    known,
                });
            }
        }
    }
    if json {
        cx.ui.result(&serde_json::to_string_pretty(&rows)?);
        return Ok(Outcome::Fine);
    }
    let head = ["base", "platform", "locked", "age", "pull", "source"].map(str::to_owned);
    let mut cells = vec![head];
    cells.extend(rows.iter().map(|row| {
        let known = row.known.as_ref();
        let age = |known: &Known| format!("{} d{}", known.age, if known.old { " !" } else { "" });
        let words = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
        [
            row.base.to_string(),
            row.platform.to_string(),
            known.map_or_else(|| "no".to_owned(), |known| known.date.clone()),
            words(known.map(age)),
            words(known.map(|known| bytes(known.size))),
            row.source.clone().unwrap_or_else(|| "nothing to fetch".to_owned()),
        ]
    }));
    cells[1..]
        .iter_mut()
        .filter(|cells| cells[0] == Base::Scratch.name())
        .for_each(|cells| cells[2] = "-".to_owned());
    let widths: Vec<usize> = (0..6)
        .map(|column| cells.iter().map(|row| row[column].chars().count()).max().unwrap_or(0))
        .collect();
    for row in &cells {
        let line: Vec<String> = row
            .iter()
            .zip(&widths)
            .map(|(cell, &width)| format!("{cell:<width$}"))
            .collect();
        cx.ui.result(line.join("  ").trim_end());
    }
    Ok(Outcome::Fine)
}

/// The bases and platforms that a selection means.
fn selected(lock: &Lock, selection: &BaseSelection, policy: &Policy) -> Result<Vec<(Base, Platform)>> {
    if selection.bases.contains(&Base::Scratch) {
        return Err(Error::new("scratch is nothing, so there is nothing to lock"));
    }
    let bases: BTreeSet<Base> = match selection.bases.is_empty() {
        true => Base::ALL.into_iter().filter(|base| *base != Base::Scratch).collect(),
        false => selection.bases.iter().copied().collect(),
    };
    let mut pairs = BTreeSet::new();
    for base in bases {
        let mut platforms: BTreeSet<Platform> = selection.platforms.iter().copied().collect();
        if platforms.is_empty() {
            let locked = lock.entries().iter().filter(|entry| entry.base == base);
            platforms = locked.map(|entry| entry.platform).collect();
        }
        if platforms.is_empty() {
            platforms = policy.defaults.platforms.iter().copied().collect();
        }
        for platform in platforms {
            if base.target(platform).is_some() {
                pairs.insert((base, platform));
            } else if selection.bases.contains(&base) && !selection.platforms.is_empty() {
                return Err(Error::new(format!("there is no base {base} for {platform}")));
            }
        }
    }
    Ok(pairs.into_iter().collect())
}

/// The sources of a base that a selection means, in order.
fn sources(catalogue: &Catalogue, base: Base, selection: &BaseSelection) -> Result<Vec<Source>> {
    let all = catalogue.sources(base);
    let Some(wanted) = &selection.source else {
        return Ok(all.to_vec());
    };
    let found: Vec<Source> = all
        .iter()
        .filter(|source| source.to_string() == *wanted)
        .cloned()
        .collect();
    let known: Vec<String> = all.iter().map(ToString::to_string).collect();
    match found.is_empty() && !selection.bases.is_empty() {
        true => Err(Error::new(format!("{base} has no source `{wanted}`"))
            .hint(format!("docker/bases.toml has: {}", known.join(", ")))),
        false => Ok(found),
    }
}

fn request<'a>(selection: &'a BaseSelection, base: Base, platform: Platform) -> Request<'a> {
    Request {
        debian_mirror: selection.debian_mirror.as_deref(),
        ..Request::new(base, platform)
    }
}

/// Writes the lock, unless it stays as it is.
fn store(cx: &Cx, before: &Lock, after: &Lock) -> Result<()> {
    if before == after {
        return Ok(());
    }
    let path = cx.root.join(lock::FILE);
    write_atomically(&path, after.render().as_bytes())?;
    cx.ui.step("Writing", lock::FILE);
    Ok(())
}

fn write_missing(cx: &Cx, selection: &BaseSelection) -> Result<Outcome> {
    let policy = policy(cx)?;
    let (catalogue, mut lock) = (chain::catalogue(cx)?, chain::lock(cx)?);
    let mut failed = Vec::new();
    for (base, platform) in selected(&lock, selection, &policy)? {
        let request = request(selection, base, platform);
        let sources = sources(&catalogue, base, selection)?;
        if sources.is_empty() {
            continue;
        }
        // An entry that this machine can use is enough; one for a source out of reach stays for the others.
        let usable = sources.iter().find_map(|source| {
            let entry = lock.get(base, platform, &source.to_string())?;
            let found = chain::give_locked(cx, &policy.base, &request, source, entry).ok()?;
            chain::difference(entry, &found).is_none().then_some(source)
        });
        if let Some(source) = usable {
            cx.ui.result(&format!("{base} {platform}: is locked ({source})"));
            continue;
        }
        let before = lock.clone();
        let missing: Vec<Source> = sources
            .iter()
            .filter(|source| lock.get(base, platform, &source.to_string()).is_none())
            .cloned()
            .collect();
        if missing.is_empty() {
            failed.push(
                Error::new(format!("{base} for {platform}: what is locked cannot be had here"))
                    .hint(format!("`cargo xtask base update {base}` locks what there is now")),
            );
            continue;
        }
        match chain::first_of(cx, &policy.base, &request, &missing, Want::Last) {
            Ok((source, found, failures)) => {
                tell(cx, &failures);
                let entry = Entry::of(base, platform, &source.to_string(), &found);
                cx.ui.result(&format!("{base} {platform}: {}", summary(&entry)));
                lock.set(entry);
                // At once: the next base may take minutes, or fail.
                store(cx, &before, &lock)?;
            }
            Err(error) => failed.push(error),
        }
    }
    finish(cx, failed)
}

/// `minirootfs v3.24 of 2026-08-20, 17 inputs, 3.2 MB`.
fn summary(entry: &Entry) -> String {
    format!(
        "{} of {}: {}, {} to pull",
        entry.source,
        entry.date,
        entry.origin,
        bytes(entry.size())
    )
}

fn tell(cx: &Cx, failures: &[Failure]) {
    for failure in failures {
        cx.ui.warn(&format!("{}: {}", failure.source, failure.error));
    }
}

/// All failures are shown; the last one ends the run.
fn finish(cx: &Cx, mut failed: Vec<Error>) -> Result<Outcome> {
    let Some(last) = failed.pop() else {
        return Ok(Outcome::Fine);
    };
    failed.iter().for_each(|error| cx.ui.error(error));
    Err(last)
}

fn update(cx: &Cx, selection: &BaseSelection, dry_run: bool) -> Result<Outcome> {
    let policy = policy(cx)?;
    let (catalogue, mut lock) = (chain::catalogue(cx)?, chain::lock(cx)?);
    let mut failed = Vec::new();
    for (base, platform) in selected(&lock, selection, &policy)? {
        let request = request(selection, base, platform);
        let sources = sources(&catalogue, base, selection)?;
        let before = lock.clone();
        // What docker/bases.toml no longer names, no build reads.
        let gone: Vec<String> = lock
            .of(base, platform)
            .map(|entry| entry.source.clone())
            .filter(|source| catalogue.sources(base).iter().all(|known| known.to_string() != *source))
            .collect();
        for source in gone {
            cx.ui
                .result(&format!("{base} {platform} {source}: is no source any more"));
            lock.remove(base, platform, &source);
        }
        let mut failures = Vec::new();
        let mut done = false;
        for source in &sources {
            let name = source.to_string();
            let old = lock.get(base, platform, &name).cloned();
            // Every source that is locked is asked, so that machines that use different ones stay together; of the others the
            // first that works is enough, and none if a locked one does.
            if old.is_none() && (done || lock.of(base, platform).next().is_some() && selection.source.is_none()) {
                continue;
            }
            match chain::give(cx, &policy.base, &request, source, Want::Newest) {
                Ok(found) => {
                    let new = Entry::of(base, platform, &name, &found);
                    show_difference(cx, old.as_ref(), &new);
                    lock.set(new);
                    done = true;
                }
                Err(error) => failures.push(Failure { source: name, error }),
            }
        }
        if done {
            tell(cx, &failures);
            if !dry_run {
                store(cx, &before, &lock)?;
            }
        } else if !sources.is_empty() {
            failed.push(chain::none_works(cx, &request, failures).context(format!("{base} for {platform}")));
        }
    }
    finish(cx, failed)
}

/// What an update changes, in words: packages that came, went or moved, and the layers.
fn show_difference(cx: &Cx, old: Option<&Entry>, new: &Entry) {
    let name = format!("{} {}", new.base, new.platform);
    let Some(old) = old else {
        cx.ui.result(&format!("{name}: new: {}", summary(new)));
        return;
    };
    if old == new {
        cx.ui
            .result(&format!("{name}: unchanged ({} of {})", new.source, new.date));
        return;
    }
    cx.ui.result(&format!(
        "{name}: {} of {}, was of {}; {} to pull, was {}",
        new.source,
        new.date,
        old.date,
        bytes(new.size()),
        bytes(old.size())
    ));
    for line in changes(&old.package_lines(), &new.package_lines()) {
        cx.ui.result(&format!("  {line}"));
    }
    let digests =
        |entry: &Entry| -> Vec<String> { entry.layers.iter().map(|layer| layer.digest.to_string()).collect() };
    if digests(old) != digests(new) {
        cx.ui.result(&format!(
            "  layers {} (was {})",
            digests(new).join(", "),
            digests(old).join(", ")
        ));
    }
}

/// `libc6 2.41-12 -> 2.41-13`, from two lists of `NAME VERSION ARCHITECTURE`.
fn changes(old: &[String], new: &[String]) -> Vec<String> {
    let split = |lines: &[String]| -> BTreeMap<String, String> {
        let pair = |line: &String| {
            let (name, version) = line.split_once(' ').unwrap_or((line, ""));
            (name.to_owned(), version.to_owned())
        };
        lines.iter().map(pair).collect()
    };
    let (old, new) = (split(old), split(new));
    let names: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    names
        .into_iter()
        .filter_map(|name| match (old.get(name), new.get(name)) {
            (Some(old), Some(new)) if old == new => None,
            (Some(old), Some(new)) => Some(format!("{name} {old} -> {new}")),
            (Some(old), None) => Some(format!("{name} {old} is gone")),
            (None, Some(new)) => Some(format!("{name} {new} is new")),
            (None, None) => None,
        })
        .collect()
}

/// One entry of the lock, compared.
#[derive(Debug, Serialize)]
struct Verified {
    base: Base,
    platform: Platform,
    source: String,
    /// `same`, `different`, `unavailable`.
    result: &'static str,
    /// What is different, or why it cannot be had.
    reason: Option<String>,
}

fn verify(cx: &Cx, selection: &BaseSelection, json: bool) -> Result<Outcome> {
    let policy = policy(cx)?;
    let (catalogue, lock) = (chain::catalogue(cx)?, chain::lock(cx)?);
    let mut verified = Vec::new();
    for (base, platform) in selected(&lock, selection, &policy)? {
        let request = request(selection, base, platform);
        for entry in lock.of(base, platform) {
            if selection.source.as_ref().is_some_and(|source| *source != entry.source) {
                continue;
            }
            let source = catalogue
                .sources(base)
                .iter()
                .find(|source| source.to_string() == entry.source);
            let found = match source {
                Some(source) => chain::give_locked(cx, &policy.base, &request, source, entry),
                None => Err(Error::new("docker/bases.toml does not name this source")),
            };
            let (result, reason) = match found {
                Ok(found) => match chain::difference(entry, &found) {
                    None => ("same", None),
                    Some(difference) => ("different", Some(difference)),
                },
                Err(error) => ("unavailable", Some(error.to_string())),
            };
            verified.push(Verified {
                base,
                platform,
                source: entry.source.clone(),
                result,
                reason,
            });
        }
    }
    if verified.is_empty() {
        return Err(Error::new(format!("{} has no entry for what was asked", lock::FILE))
            .hint("`cargo xtask base list` shows what it has; `cargo xtask base lock` writes what is missing"));
    }
    if json {
        cx.ui.result(&serde_json::to_string_pretty(&verified)?);
    } else {
        for item in &verified {
            let reason = item.reason.as_deref().map(|reason| format!(": {reason}"));
            cx.ui.result(&format!(
                "{} {} {}: {}{}",
                item.base,
                item.platform,
                item.source,
                item.result,
                reason.unwrap_or_default()
            ));
        }
    }
    let count = |result: &str| verified.iter().filter(|item| item.result == result).count();
    if count("different") > 0 {
        return Ok(Outcome::Findings);
    }
    match count("unavailable") {
        0 => Ok(Outcome::Fine),
        some => Err(Error::new(format!(
            "{some} of {} could not be had, so nothing is known of them",
            verified.len()
        ))
        .hint("name those that can: `cargo xtask base verify BASE --source SOURCE`")),
    }
}

fn export(cx: &Cx, base: Base, to: &str, platform: Platform, debian_mirror: Option<&str>) -> Result<Outcome> {
    let policy = policy(cx)?;
    if base == Base::Scratch {
        return Err(Error::new("scratch is nothing, so there is nothing to export"));
    }
    if base.target(platform).is_none() {
        return Err(Error::new(format!("there is no base {base} for {platform}")));
    }
    let root = [".tar", ".tar.gz"].iter().any(|end| to.ends_with(end)) && !to.contains(':');
    let destination = match root {
        true => None,
        false => Some(to.parse::<Destination>().map_err(|error| {
            Error::new(error.to_string()).hint("or a file that ends in .tar or .tar.gz, for the root file system alone")
        })?),
    };
    let request = Request {
        debian_mirror,
        ..Request::new(base, platform)
    };
    let resolved = chain::resolve(cx, &policy.base, &request)?;
    let tag = image_tag(base, platform);
    match destination {
        None => {
            let path = place(cx, to);
            let bytes = root_file_system(&resolved.image, to.ends_with(".tar.gz"))?;
            prepare(&path)?;
            write_atomically(&path, &bytes)?;
            cx.ui.result(to);
        }
        Some(destination) => {
            let name = ImageName::new(base.name(), &tag)?;
            // An image of the base alone: a stage that changes nothing.
            let stage = dockerfile::evaluate("FROM base:locked AS base\n", &BTreeMap::new(), "base")?;
            let labels = BTreeMap::from([("xtask.base".to_owned(), resolved.image.origin.clone())]);
            let image = assemble(resolved.image, &stage, &MemoryFiles::default(), platform, 0, &labels)?;
            match &destination {
                Destination::OciLayout(path) => drop(layout::write(&place(cx, path), &[(&name, &image)])?),
                Destination::DockerArchive(path) => drop(archive::write(&place(cx, path), &[(&name, &image)])?),
                other => {
                    return Err(Error::new(format!("a base is not exported to {other}"))
                        .hint("write it to docker-archive:PATH, and `docker load -i PATH`"));
                }
            }
            cx.ui.result(&format!("{destination}@{}", image.manifest().digest()));
        }
    }
    Ok(Outcome::Fine)
}

fn prepare(path: &Path) -> Result<()> {
    match path.parent() {
        Some(dir) if !dir.as_os_str().is_empty() => {
            fs::create_dir_all(dir).context(|| format!("cannot create {}", dir.display()))
        }
        _ => Ok(()),
    }
}

/// One layer is exported as it is; several are laid over each other.
fn root_file_system(image: &BaseImage, gzip: bool) -> Result<Vec<u8>> {
    let limits = Limits::default();
    let merged;
    let layer: &Layer = match &image.layers[..] {
        [layer] if !gzip || layer.media_type().ends_with("gzip") => layer,
        layers => {
            let mut builder = LayerBuilder::new(0);
            for entry in Tree::from_layers(layers, &limits)?.entries() {
                builder.add(entry.clone())?;
            }
            merged = builder.finish("export")?;
            &merged
        }
    };
    Ok(match gzip {
        true => layer.blob().to_vec(),
        false => decompress(layer.blob(), layer.media_type(), &limits)?,
    })
}

#[cfg(test)]
mod tests {
    use super::changes;

    #[test]
    fn an_update_is_told_package_by_package() {
        let lines = |lines: &[&str]| lines.iter().map(ToString::to_string).collect::<Vec<_>>();
        let old = lines(&["libc6 2.41-12 armel", "gone 1 all", "same 1 all"]);
        let new = lines(&["libc6 2.41-13 armel", "came 2 all", "same 1 all"]);
        assert_eq!(
            changes(&old, &new),
            [
                "came 2 all is new",
                "gone 1 all is gone",
                "libc6 2.41-12 armel -> 2.41-13 armel"
            ]
        );
    }
}
