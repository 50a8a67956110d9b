//! From a base by name to a base image: the lock first, then the sources in their order.
//!
//! What is locked is what is taken. When docker/bases.lock has entries for a base and platform, the sources that it names are
//! tried in the order of docker/bases.toml, and no others: a source that does not answer for an hour must not change the
//! image. When it has none, the first source that works gives what it has, and that is said. Nothing here writes the lock.

use std::collections::BTreeMap;
use std::fs;
use std::time::SystemTime;

use super::catalogue::{self, Catalogue, Source};
use super::exclude::Excludes;
use super::found::{Found, Want};
use super::lock::{self, Entry, Lock};
use super::{Resolved, alpine, debian, pulled, raspbian};
use crate::cx::Cx;
use crate::error::{Context, Error, Result};
use crate::oci::image::BaseImage;
use crate::policy::BasePolicies;
use crate::target::{Base, Platform};

/// Which base, and what flags say about it.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// The base.
    pub base: Base,
    /// The platform.
    pub platform: Platform,
    /// Packages on top of the policy's (`--with`); for `debian` alone.
    pub with: &'a [String],
    /// `--debian-mirror`.
    pub debian_mirror: Option<&'a str>,
    /// Take what the sources have now, whatever is locked (`--refresh`).
    pub refresh: bool,
}

impl Request<'_> {
    /// A base as the policy has it, without flags.
    pub fn new(base: Base, platform: Platform) -> Self {
        Request {
            base,
            platform,
            with: &[],
            debian_mirror: None,
            refresh: false,
        }
    }

    fn name(&self) -> String {
        format!("{} for {}", self.base, self.platform)
    }
}

/// Reads docker/bases.toml.
pub fn catalogue(cx: &Cx) -> Result<Catalogue> {
    let path = cx.root.join(catalogue::FILE);
    let text = fs::read_to_string(&path)
        .context(|| format!("cannot read {}", path.display()))
        .hint("it says where bases come from: `git checkout docker/bases.toml` brings it back")?;
    Catalogue::parse(&text).map_err(|error| {
        Error::new(format!("{}: {}", catalogue::FILE, error.trim_end())).hint(
            "its comments say what each kind of source needs; `git diff docker/bases.toml` shows what changed here",
        )
    })
}

/// Reads docker/bases.lock; one that is not there locks nothing.
pub fn lock(cx: &Cx) -> Result<Lock> {
    let path = cx.root.join(lock::FILE);
    let text = match fs::read_to_string(&path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Lock::default()),
        text => text.context(|| format!("cannot read {}", path.display()))?,
    };
    Lock::parse(&text).map_err(|error| {
        Error::new(format!("{}: {}", lock::FILE, error.trim_end())).hint(
            "`git checkout docker/bases.lock` brings the last good one back; or delete it, and `cargo xtask base lock` \
             writes a new one",
        )
    })
}

/// Days since 1970-01-01, for ages in messages; it has no part in any image.
pub fn today() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs() / 86_400)
}

/// What one source has.
pub fn give(cx: &Cx, policy: &BasePolicies, request: &Request<'_>, source: &Source, want: Want<'_>) -> Result<Found> {
    match source {
        Source::DebianArchive => {
            let options = debian::Options {
                with: request.with,
                mirror: request.debian_mirror,
                want,
            };
            debian::found(cx, request.platform, &policy.debian, options)
        }
        Source::Registry { reference } => pulled::image(cx, reference, request.base, request.platform, want),
        Source::Minirootfs { mirror, branch } => alpine::minirootfs(cx, mirror, branch, request.platform, want),
        Source::RaspbianArchive { mirrors } => {
            let source = raspbian::Source {
                mirrors,
                // Raspbian's packages are Debian's, compiled again: what a server does not need is the same.
                excludes: &Excludes::new(&policy.debian.exclude, &policy.debian.keep),
                today: today(),
            };
            raspbian::archive(cx, &source, &policy.raspbian, want)
        }
        Source::RaspbianRebuilt => raspbian::rebuild(cx, &policy.raspbian.rebuild, request.debian_mirror, want),
    }
}

/// Exactly what an entry of the lock says, from its source.
pub fn give_locked(
    cx: &Cx,
    policy: &BasePolicies,
    request: &Request<'_>,
    source: &Source,
    entry: &Entry,
) -> Result<Found> {
    let found = give(cx, policy, request, source, Want::Locked(&entry.inputs))?;
    Ok(Found {
        date: entry.date.clone(),
        ..found
    })
}

/// What differs between the layers that were locked and those that were made or pulled; `None` when nothing does.
pub fn difference(entry: &Entry, found: &Found) -> Option<String> {
    if entry.layers.len() != found.layers.len() {
        return Some(format!(
            "{} layers instead of {}",
            found.layers.len(),
            entry.layers.len()
        ));
    }
    entry.layers.iter().zip(&found.layers).find_map(|(locked, layer)| {
        if locked.diff_id != layer.diff_id() {
            return Some(format!("layer {} instead of {}", layer.digest(), locked.digest));
        }
        (locked.digest != layer.digest()).then(|| {
            format!(
                "the layer has the same files in another compression, {} instead of {}",
                layer.digest(),
                locked.digest
            )
        })
    })
}

/// A source that was tried in vain.
#[derive(Debug)]
pub struct Failure {
    /// As [`Source`] is displayed.
    pub source: String,
    /// Why.
    pub error: Error,
}

/// The reasons in one line: `minirootfs v3.24 (cannot connect), raspbian-rebuilt (no gcc)`.
fn reasons(failures: &[Failure]) -> String {
    let reasons: Vec<String> = failures
        .iter()
        .map(|failure| format!("{} ({})", failure.source, failure.error))
        .collect();
    reasons.join(", ")
}

/// What the sources have now: the first that works, after those that do not.
pub fn first_of<'a>(
    cx: &Cx,
    policy: &BasePolicies,
    request: &Request<'_>,
    sources: &'a [Source],
    want: Want<'_>,
) -> Result<(&'a Source, Found, Vec<Failure>)> {
    let mut failures = Vec::new();
    for source in sources {
        match give(cx, policy, request, source, want) {
            Ok(found) => return Ok((source, found, failures)),
            Err(error) => failures.push(Failure {
                source: source.to_string(),
                error,
            }),
        }
    }
    Err(none_works(cx, request, failures).context(request.name()))
}

/// The error when no source works: each with its reason, and the one step that would help here.
pub fn none_works(cx: &Cx, request: &Request<'_>, mut failures: Vec<Failure>) -> Error {
    if failures.len() == 1 {
        // Nothing to choose from: the source's own words are best.
        let failure = failures.remove(0);
        return failure.error;
    }
    if failures.is_empty() {
        return Error::new(format!("{} names no source of {}", catalogue::FILE, request.base))
            .hint("its comments say which kinds there are");
    }
    let error = Error::new(format!("no source works: {}", reasons(&failures)));
    if cx.offline {
        return error.hint("run once without --offline, so that it is in the cache");
    }
    // Further down the list stands what asks for least of the network.
    let own = failures.iter().rev().find_map(|failure| failure.error.next_step());
    let file = "or fetch a root file system elsewhere and give it with --base-image FILE.tar.gz";
    error.hint(own.map_or_else(|| file.to_owned(), |own| format!("{own}; {file}")))
}

/// The base image that a request names.
pub fn resolve(cx: &Cx, policy: &BasePolicies, request: &Request<'_>) -> Result<Resolved> {
    if request.base == Base::Scratch {
        return Ok(Resolved {
            image: BaseImage::scratch(),
            owners: BTreeMap::new(),
            inputs: Vec::new(),
        });
    }
    let catalogue = catalogue(cx)?;
    let lock = lock(cx)?;
    let sources = catalogue.sources(request.base);
    let locked: Vec<(&Source, &Entry)> = sources
        .iter()
        .filter_map(|source| {
            let entry = lock.get(request.base, request.platform, &source.to_string())?;
            Some((source, entry))
        })
        .collect();
    let name = request.name();
    if request.refresh || !request.with.is_empty() || locked.is_empty() {
        let want = match request.refresh {
            true => Want::Newest,
            false => Want::Last,
        };
        let (source, found, failures) = first_of(cx, policy, request, sources, want)?;
        if request.refresh {
            cx.ui.note(&format!(
                "{name}: what {source} has now, not what {} says; `cargo xtask base update {}` writes it there",
                lock::FILE,
                request.base
            ));
        } else if locked.is_empty() {
            cx.ui.note(&format!(
                "{name}: {} has no entry, so this is what {source} gave; `cargo xtask base lock {}` keeps it",
                lock::FILE,
                request.base
            ));
        } else {
            cx.ui.note(&format!(
                "{name} with {}: {} does not speak of added packages, so this is what {source} gave",
                request.with.join(", "),
                lock::FILE
            ));
        }
        tell_failures(cx, &name, source, &failures);
        return Ok(Resolved::of(found));
    }
    let mut failures = Vec::new();
    for (source, entry) in locked {
        let found = match give_locked(cx, policy, request, source, entry) {
            Ok(found) => found,
            Err(error) => {
                failures.push(Failure {
                    source: source.to_string(),
                    error,
                });
                continue;
            }
        };
        if let Some(difference) = difference(entry, &found) {
            return Err(Error::new(format!(
                "{name} from {source} is not what {} says: {difference}",
                lock::FILE
            ))
            .hint(format!(
                "its settings in xtask.toml, or this program, changed since it was locked: \
                 `cargo xtask base update {}` shows what is different and locks it anew",
                request.base
            )));
        }
        tell_failures(cx, &name, source, &failures);
        let age = entry.age(today());
        // An image may say 1970, which is to say nothing.
        if age > policy.max_age_days && entry.date.as_str() > "1980-01-02" {
            cx.ui.warn(&format!(
                "{name}: what {} says is of {}, {age} days ago ([base] max-age-days is {}): \
                 `cargo xtask base update {}`",
                lock::FILE,
                entry.date,
                policy.max_age_days,
                request.base
            ));
        }
        return Ok(Resolved::of(found));
    }
    let others = sources.len() > failures.len();
    let error = none_works(cx, request, failures).context(format!("{name}, as {} has it", lock::FILE));
    Err(match others {
        true => error.hint(format!(
            "other sources of {} are not locked: `cargo xtask base lock {}` takes one that works here, and writes it down",
            request.base, request.base
        )),
        false => error,
    })
}

fn tell_failures(cx: &Cx, name: &str, source: &Source, failures: &[Failure]) {
    if !failures.is_empty() {
        cx.ui.note(&format!(
            "{name} is from {source}, because these do not work here: {}",
            reasons(failures)
        ));
    }
}
