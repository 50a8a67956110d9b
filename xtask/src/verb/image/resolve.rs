//! `cargo xtask image resolve`: which image of an index each machine would be given.

use serde::Serialize;

use crate::cli::{Engine, Host, ResolveArgs};
use crate::cx::Cx;
use crate::error::{Context, Error, Result};
use crate::oci::layout::{BlobStore, read_blob};
use crate::oci::pick::{Offer, Said, pick};
use crate::oci::{Digest, Reference};
use crate::publish::layout;
use crate::registry::{Document, Registry};
use crate::verb::{Outcome, place};

/// Longest document of a layout that is read.
const LONGEST: u64 = 4 << 20;

/// What one machine would be given by one engine.
#[derive(Debug, Serialize)]
struct Answer {
    host: Host,
    engine: Engine,
    /// The manifest; nothing where the engine finds none.
    manifest: Option<Digest>,
    /// What it says it is for.
    platform: Option<String>,
    /// Whether the machine executes that.
    runs: Option<bool>,
}

/// What can be taken: the entries of an index, or one image.
struct Found {
    entries: Vec<(Digest, Offer)>,
    single: bool,
}

/// Runs the verb.
pub fn run(cx: &Cx, args: &ResolveArgs) -> Result<Outcome> {
    let found = match args.reference.strip_prefix("oci:") {
        Some(path) => of_layout(cx, path)?,
        None => of_registry(cx, &args.reference)?,
    };
    let hosts = if args.hosts.is_empty() {
        &Host::ALL[..]
    } else {
        &args.hosts
    };
    let engines = if args.engines.is_empty() {
        &Engine::ALL[..]
    } else {
        &args.engines
    };
    let offers: Vec<Offer> = found.entries.iter().map(|(_, offer)| offer.clone()).collect();
    let mut answers = Vec::new();
    for &host in hosts {
        for &engine in engines {
            // One image without an index is taken whatever it is for.
            let taken = if found.single {
                Some(0)
            } else {
                pick(host, engine, &offers)
            };
            let said = taken.and_then(|at| offers[at].listed.as_ref().or(offers[at].config.as_ref()));
            answers.push(Answer {
                host,
                engine,
                manifest: taken.map(|at| found.entries[at].0),
                platform: said.map(ToString::to_string),
                runs: taken.map(|_| said.is_some_and(|said| host.runs(said))),
            });
        }
    }
    let wrong: Vec<&Answer> = answers.iter().filter(|answer| answer.runs == Some(false)).collect();
    let missing = !args.hosts.is_empty() && answers.iter().any(|answer| answer.manifest.is_none());
    if args.json {
        cx.ui.result(&serde_json::to_string_pretty(&answers)?);
    } else {
        table(hosts, engines, &answers)
            .iter()
            .for_each(|line| cx.ui.result(line));
    }
    for answer in &wrong {
        let (host, engine) = (answer.host.name(), answer.engine.name());
        let platform = answer
            .platform
            .as_deref()
            .unwrap_or("an image that does not say what it is for");
        let way = match answer.host {
            // 19.03 knows --platform where its experimental features are on.
            Host::PiZero if answer.engine == Engine::V19 => ": there, name the image's own tag (...-armv6)",
            Host::PiZero => ": there, name the image's own tag (...-armv6), or pull with --platform linux/arm/v6",
            _ => "",
        };
        cx.ui.warn(&format!(
            "Engine {engine} on {host} would run {platform}, which does not run there{way}"
        ));
    }
    Ok(match wrong.is_empty() && !missing {
        true => Outcome::Fine,
        false => Outcome::Findings,
    })
}

fn table(hosts: &[Host], engines: &[Engine], answers: &[Answer]) -> Vec<String> {
    let cell = |answer: &Answer| {
        let platform = answer.platform.clone();
        match (&answer.manifest, answer.runs) {
            (None, _) => "none".to_owned(),
            (_, Some(false)) => format!("{} WRONG", platform.unwrap_or_else(|| "no platform".to_owned())),
            _ => platform.unwrap_or_default(),
        }
    };
    let cells: Vec<String> = answers.iter().map(cell).collect();
    let width = cells.iter().map(String::len).max().unwrap_or(0).max(5);
    let row = |name: &str, cells: Vec<&str>| {
        let cells: String = cells.iter().map(|cell| format!("  {cell:<width$}")).collect();
        format!("{name:<7}{cells}").trim_end().to_owned()
    };
    let head = row("", engines.iter().map(|engine| engine.name()).collect());
    let rows = hosts.iter().zip(cells.chunks(engines.len()));
    let rows = rows.map(|(host, cells)| row(host.name(), cells.iter().map(String::as_str).collect()));
    [head].into_iter().chain(rows).collect()
}

fn of_registry(cx: &Cx, text: &str) -> Result<Found> {
    let reference: Reference = text
        .parse()
        .hint("what is asked for is [docker://]NAME[:TAG], as for docker, or oci:PATH")?;
    let registry = Registry::from_environment();
    let (digest, document) = registry.inspect(cx, &reference)?;
    let config = |digest: Digest| registry.platform(cx, &reference.with_digest(digest));
    found(digest, document, &config)
}

fn of_layout(cx: &Cx, path: &str) -> Result<Found> {
    let store = layout::open(&place(cx, path))?;
    let read = |digest: &Digest, size: u64| {
        let longest = || format!("{}: {digest} has {size} bytes", store.origin());
        (size <= LONGEST).then_some(()).context(longest)?;
        Ok::<_, Error>(read_blob(&store, digest, size)?)
    };
    let bytes = store.index().map_err(Error::new).context(|| store.origin())?;
    let mut document = Document::parse(&bytes, None).context(|| store.origin())?;
    let mut digest = Digest::of(&bytes);
    // The index of a layout lists names; one name that is an index is what a registry would serve.
    while let Document::Index(entries) = &document
        && let [entry] = &entries[..]
    {
        digest = entry.digest;
        document = Document::parse(&read(&entry.digest, entry.size)?, None).context(|| store.origin())?;
    }
    let entries = match &document {
        Document::Index(entries) => entries.clone(),
        Document::Manifest { .. } => Vec::new(),
    };
    let config = |digest: Digest| {
        let size = entries
            .iter()
            .find(|entry| entry.digest == digest)
            .map(|entry| entry.size);
        let manifest = match (&document, size) {
            (Document::Index(_), Some(size)) => {
                Document::parse(&read(&digest, size)?, None).context(|| store.origin())?
            }
            _ => document.clone(),
        };
        match manifest {
            Document::Manifest { config, .. } => {
                let said: Said = serde_json::from_slice(&read(&config.digest, config.size)?)?;
                Ok(Some(said))
            }
            Document::Index(_) => Ok(None),
        }
    };
    found(digest, document.clone(), &config)
}

fn found(digest: Digest, document: Document, config: &dyn Fn(Digest) -> Result<Option<Said>>) -> Result<Found> {
    let entries = match document {
        Document::Manifest { .. } => {
            let offer = Offer {
                listed: None,
                config: config(digest)?,
            };
            return Ok(Found {
                entries: vec![(digest, offer)],
                single: true,
            });
        }
        Document::Index(entries) => entries,
    };
    let mut offers = Vec::new();
    for entry in entries {
        let listed = entry.platform.map(|platform| Said {
            os: platform.os,
            architecture: platform.architecture,
            variant: platform.variant,
        });
        let config = match listed {
            None => config(entry.digest)?,
            Some(_) => None,
        };
        offers.push((entry.digest, Offer { listed, config }));
    }
    Ok(Found {
        entries: offers,
        single: false,
    })
}
