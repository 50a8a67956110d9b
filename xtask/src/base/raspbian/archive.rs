//! Raspbian's packages, from Raspbian's own archive.
//!
//! The way from the pinned fingerprint to a file: the key signs `InRelease` ([`super::openpgp`]), which has the hash of
//! `Packages`, which has the hash of each package. apt is not used: from Debian 13 on it refuses this key, and elsewhere it
//! need not be there. Nothing of a package is run.

use std::fs;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::index::{self, Index, Release, is_plain};
use super::openpgp::{is_fingerprint, signed_text};
use crate::base::catalogue::is_mirror;
use crate::base::debian::{PATH, pack};
use crate::base::exclude::Excludes;
use crate::base::found::{Found, Input, Want};
use crate::base::lock;
use crate::base::rootfs::glibc_version;
use crate::cache::key_of;
use crate::cx::Cx;
use crate::error::{Context, Error, Result, redact};
use crate::http::{Checksum, Client, Wanted};
use crate::oci::image::Package;
use crate::policy::RaspbianPolicy;

/// Names the mirror for every verb that makes a base: one nearer by, or a stand-in for tests.
const MIRROR_VARIABLE: &str = "XTASK_RASPBIAN_MIRROR";
/// Changes whenever the meaning of a stored choice does.
const RECORD_VERSION: &str = "1";
/// Where the public key lies, beside the archive's directory.
const KEY: &str = "raspbian.public.key";
/// Longest public key that is read; the real one has 2 kB.
const KEY_SIZE: u64 = 1 << 20;
/// Longest `InRelease`; the real ones have 60 kB.
const RELEASE_SIZE: u64 = 8 << 20;
/// Longest `Packages`, compressed or not; the real one has 15 MB with xz and 80 MB without.
const PACKAGES_SIZE: u64 = 512 << 20;
/// Largest package of a base.
const DEB_SIZE: u64 = 256 << 20;
/// Memory that an xz stream may ask for, in KiB.
const XZ_MEMORY: u32 = 256 << 10;

/// Where and what, besides the policy.
#[derive(Clone, Copy, Debug)]
pub struct Source<'a> {
    /// URLs below which `dists` lies; the first that answers is used.
    pub mirrors: &'a [String],
    /// Paths that stay out of the base.
    pub excludes: &'a Excludes,
    /// Days since 1970-01-01, to tell whether a release still counts.
    pub today: u64,
}

/// What the archive gave, as the cache remembers it.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Chosen {
    inputs: Vec<Input>,
    date: String,
}

/// The base. The variable XTASK_RASPBIAN_MIRROR wins over the mirrors.
pub fn archive(cx: &Cx, source: &Source<'_>, policy: &RaspbianPolicy, want: Want<'_>) -> Result<Found> {
    if !is_fingerprint(&policy.key) {
        return Err(Error::new(format!(
            "xtask.toml: base.raspbian.key: `{}` is not a fingerprint",
            policy.key
        ))
        .hint("it has 40 hexadecimal digits in upper case, without blanks"));
    }
    let named = std::env::var(MIRROR_VARIABLE).ok().filter(|named| !named.is_empty());
    let mirrors: Vec<String> = match named {
        Some(named) => {
            is_mirror(&named).map_err(|error| Error::new(format!("{MIRROR_VARIABLE}: {error}")))?;
            vec![named]
        }
        None => source.mirrors.to_vec(),
    };
    let client = Client::from_environment();
    let key = record_key(policy, &mirrors);
    let chosen = match want {
        Want::Locked(inputs) => Chosen {
            inputs: inputs.to_vec(),
            date: String::new(),
        },
        Want::Last if let Some(known) = cx.cache.record("raspbian", &key) => known,
        Want::Last | Want::Newest => {
            let chosen = first(&mirrors, |mirror| choose(cx, &client, mirror, source.today, policy))?;
            cx.cache.put_record("raspbian", &key, &chosen)?;
            chosen
        }
    };
    let paths = fetch(cx, &client, &mirrors, &chosen.inputs)?;
    let origin = format!("Raspbian {} armhf, {} packages", policy.suite, chosen.inputs.len());
    let names: Vec<(&str, &str)> = chosen
        .inputs
        .iter()
        .map(|input| (input.name.as_str(), input.version.as_str()))
        .collect();
    cx.ui.step("Unpacking", &origin);
    let (layer, owners) = pack(cx, source.excludes, &names, &paths, &origin)?;
    let package = |input: &Input| Package {
        name: input.name.clone(),
        version: input.version.clone(),
        architecture: input.architecture.clone(),
    };
    Ok(Found {
        layers: vec![layer],
        config: json!({"config": {"Env": [PATH]}}),
        origin,
        packages: chosen.inputs.iter().map(package).collect(),
        owners,
        glibc: Some(glibc_version(names.iter().copied())?),
        inputs: chosen.inputs,
        date: chosen.date,
    })
}

fn record_key(policy: &RaspbianPolicy, mirrors: &[String]) -> String {
    key_of([
        RECORD_VERSION,
        &policy.suite,
        &policy.key,
        &policy.packages.join(" "),
        &policy.omit.join(" "),
        &mirrors.join(" "),
    ])
}

/// What the first mirror gives that gives anything; all that were tried are named when none does.
fn first<T>(mirrors: &[String], give: impl Fn(&str) -> Result<T>) -> Result<T> {
    let mut failures = Vec::new();
    let mut hint = None;
    for mirror in mirrors {
        match give(mirror.trim_end_matches('/')) {
            Ok(value) => return Ok(value),
            Err(error) => {
                hint = error.next_step().map(str::to_owned);
                failures.push(error.to_string());
            }
        }
    }
    let error = Error::new(match failures.is_empty() {
        true => "no mirror of Raspbian is named".to_owned(),
        false => failures.join("; "),
    });
    Err(error.hint(hint.unwrap_or_else(|| {
        format!("is the network there? docker/bases.toml names the mirrors, and {MIRROR_VARIABLE} another one")
    })))
}

/// Reads one mirror's signed indexes and chooses packages.
fn choose(cx: &Cx, client: &Client, mirror: &str, today: u64, policy: &RaspbianPolicy) -> Result<Chosen> {
    let suite = &policy.suite;
    let dists = format!("{mirror}/dists/{suite}");
    let named = redact(&dists);
    cx.ui
        .step("Resolving", &format!("Raspbian {suite} from {}", redact(mirror)));
    let message = client.get(cx, &format!("{dists}/InRelease"), RELEASE_SIZE)?;
    let beside = mirror.rsplit_once('/').map_or(mirror, |(parent, _)| parent);
    let key = client.get(cx, &format!("{beside}/{KEY}"), KEY_SIZE)?;
    let what = format!("{named}/InRelease");
    let text = signed_text(cx, &what, &message, &key, &policy.key)?;
    let wrong = |reason: String| Error::new(format!("{what}: {reason}"));
    let release = Release::parse(&text, suite)
        .map_err(wrong)
        .hint("[base.raspbian] in xtask.toml says which suite is wanted; docker/bases.toml names the mirrors")?;
    if let Err(reason) = release.check_date(today) {
        match policy.accept_expired {
            true => cx.ui.warn(&format!(
                "{what}: {reason}; taken all the same, as base.raspbian.accept-expired says"
            )),
            false => {
                return Err(wrong(reason)).hint(
                    "try another mirror (XTASK_RASPBIAN_MIRROR=URL), or, if this one is a snapshot on purpose, set \
                     accept-expired = true in [base.raspbian] of xtask.toml",
                );
            }
        }
    }
    let index = release.packages().map_err(wrong)?;
    let packages = read_index(cx, client, &dists, &index)?;
    let inputs = index::choose(&packages, &policy.packages, &policy.omit)
        .map_err(|reason| Error::new(format!("{named}/{}: {reason}", index.path)))
        .hint("[base.raspbian] in xtask.toml lists packages, and those that stay out (`omit`)")?;
    Ok(Chosen {
        inputs,
        date: release.day,
    })
}

fn read_index(cx: &Cx, client: &Client, dists: &str, index: &Index) -> Result<String> {
    let wanted = Wanted {
        checksum: Checksum::parse(&index.sha256)?,
        size: Some(index.size),
        limit: PACKAGES_SIZE,
        label: index.path.clone(),
    };
    let by_name = || client.download(cx, &format!("{dists}/{}", index.path), &wanted);
    let path = match &index.by_hash {
        // Not every mirror copies that directory.
        Some(path) => client
            .download(cx, &format!("{dists}/{path}"), &wanted)
            .or_else(|_| by_name()),
        None => by_name(),
    };
    let path = path
        .context(|| format!("{}/{}, as the signed release describes it", redact(dists), index.path))
        .hint("the mirror is in the middle of an update, or was tampered with: try again later, or another one")?;
    let bytes = fs::read(&path).context(|| format!("cannot read {}", path.display()))?;
    let text = unpacked(&index.path, &bytes).context(|| format!("cannot unpack {}", index.path))?;
    String::from_utf8(text).context(|| format!("{} is not UTF-8", index.path))
}

fn unpacked(name: &str, bytes: &[u8]) -> Result<Vec<u8>> {
    use std::io::Read as _;
    let mut text = Vec::new();
    let limit = PACKAGES_SIZE + 1;
    match name.rsplit_once('.') {
        Some((_, "xz")) => lzma_rust2::XzReader::new_mem_limit(bytes, true, XZ_MEMORY)
            .take(limit)
            .read_to_end(&mut text)?,
        Some((_, "gz")) => flate2::read::MultiGzDecoder::new(bytes)
            .take(limit)
            .read_to_end(&mut text)?,
        _ => bytes.take(limit).read_to_end(&mut text)?,
    };
    match text.len() as u64 > PACKAGES_SIZE {
        true => Err(Error::new("it unpacks to more than any list of packages has")),
        false => Ok(text),
    }
}

/// The packages, in order, from the cache or the first mirror that has them.
fn fetch(cx: &Cx, client: &Client, mirrors: &[String], inputs: &[Input]) -> Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    for input in inputs {
        if !is_plain(&input.file) {
            return Err(Error::new(format!(
                "{}: `{}` is not a file of an archive",
                lock::FILE,
                input.file
            )));
        }
        let wanted = Wanted {
            checksum: Checksum::parse(input.digest.trim_start_matches("sha256:"))?,
            size: Some(input.size),
            limit: DEB_SIZE,
            label: format!("{} {}", input.name, input.version),
        };
        let path = first(mirrors, |mirror| {
            client.download(cx, &format!("{mirror}/{}", input.file), &wanted)
        });
        let path = path.context(|| format!("{} {} of Raspbian", input.name, input.version)).map_err(|error| {
            match error.to_string().contains("404") {
                true => Error::new(error.to_string()).hint(
                    "a mirror keeps only the newest versions, and this one has moved on: `cargo xtask base update raspbian` \
                     takes those",
                ),
                false => error,
            }
        });
        paths.push(path?);
    }
    Ok(paths)
}
