//! Debian's glibc and libgcc_s, compiled for ARMv6 with hard float, the way Raspbian is made.
//!
//! [`inputs`] chooses sources and tools of Debian's archive (through apt, signatures checked), [`needs`] looks at the host,
//! [`recipe`] has the phases, [`journal`] runs them so that a killed run is taken up again, [`root`] makes a layer of the
//! result. What was compiled is kept by the hashes of everything it was made of; the work directory goes when it is done.

mod inputs;
mod journal;
mod needs;
mod recipe;
mod root;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::json;

use self::inputs::Inputs;
use self::journal::Work;
use self::needs::Host;
use self::recipe::Recipe;
use crate::base::apt;
use crate::base::debian::{PATH, release_day};
use crate::base::found::{Found, Want};
use crate::base::rootfs::{RULES_VERSION, upstream_version};
use crate::cache::{key_of, write_atomically};
use crate::cx::Cx;
use crate::error::{Context, Error, Result};
use crate::oci::layer::{Layer, Limits};
use crate::oci::{Digest, media};
use crate::policy::RebuildPolicy;

/// What the cache keeps beside the layer.
#[derive(Debug, Serialize, Deserialize)]
struct Sheet {
    digest: String,
    owners: BTreeMap<String, String>,
}

/// The base; with a warm cache nothing is compiled, fetched or asked. `mirror` is that of `--debian-mirror`.
pub fn rebuild(cx: &Cx, policy: &RebuildPolicy, mirror: Option<&str>, want: Want<'_>) -> Result<Found> {
    let host = needs::host()?;
    let inputs = match Inputs::choose(cx, policy, &host, mirror, want) {
        Ok(inputs) => inputs,
        // A host that could not compile anyway should hear that first.
        Err(error) => return Err(needs::programs(cx).err().unwrap_or(error)),
    };
    let compiled = compile(cx, policy, &host, mirror, &inputs)?;
    let origin = root::origin(&inputs)?;
    let (layer, owners) = layer(cx, policy, &inputs, &compiled, &origin)?;
    let date = match want {
        Want::Locked(_) => String::new(),
        _ => release_day(&inputs.resolution.release)?,
    };
    Ok(Found {
        layers: vec![layer],
        config: json!({"config": {"Env": [PATH]}}),
        origin,
        packages: root::packages(&inputs, policy)?,
        owners,
        glibc: Some(upstream_version(inputs.glibc()?).to_owned()),
        inputs: inputs.for_lock(),
        date,
    })
}

/// Everything that decides the compiled bytes.
fn compile_key(inputs: &Inputs) -> String {
    let needed = inputs.needed();
    let mut parts = vec![recipe::VERSION, recipe::TRIPLET];
    parts.extend(recipe::FLAGS);
    parts.extend(needed.packages.iter().map(|deb| deb.sha256.as_str()));
    key_of(parts)
}

/// The directory with the compiled files.
fn compile(cx: &Cx, policy: &RebuildPolicy, host: &Host, mirror: Option<&str>, inputs: &Inputs) -> Result<PathBuf> {
    const NAME: &str = "raspbian-glibc";
    let key = compile_key(inputs);
    if let Some(tree) = cx.cache.has_tree(NAME, &key) {
        cx.cache.used(&tree);
        return Ok(tree);
    }
    needs::programs(cx)?;
    needs::glibc(cx, upstream_version(inputs.glibc()?))?;
    let dir = cx.cache.work(NAME, &key)?;
    let tree = cx.cache.tree(NAME, &key, |result| {
        let work = Work::open(cx, &dir)?;
        if !work.begun() {
            needs::room(&dir)?;
        }
        let recipe = prepare(cx, policy, host, mirror, inputs, &dir)?;
        work.run(cx, &recipe.phases())?;
        copy(&work.dir().join("out"), result)
    })?;
    if dir.exists() {
        cx.cache.remove(&dir)?;
    }
    Ok(tree)
}

fn prepare<'a>(
    cx: &'a Cx,
    policy: &RebuildPolicy,
    host: &Host,
    mirror: Option<&str>,
    inputs: &Inputs,
    dir: &Path,
) -> Result<Recipe<'a>> {
    // make, the shell and configure all take some characters for their own.
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+@".contains(c);
    if !dir.to_str().is_some_and(|dir| dir.chars().all(plain)) {
        return Err(Error::new(format!(
            "glibc cannot be compiled in {}: make would take some of these characters for its own",
            dir.display()
        ))
        .hint("choose a cache directory with a plain name, with --cache-dir DIR"));
    }
    let needed = inputs.needed();
    let paths = apt::fetch(cx, &inputs::request(policy, host, mirror), &needed)?;
    let path_of = |wanted: &apt::Deb| {
        let place = needed.packages.iter().position(|deb| deb == wanted);
        place
            .and_then(|place| paths.get(place).cloned())
            .context(|| format!("{} was not fetched", wanted.filename))
    };
    let tools = needed
        .packages
        .iter()
        .zip(&paths)
        .filter(|(deb, _)| deb.architecture != apt::SOURCE)
        .map(|(_, path)| path.clone());
    Ok(Recipe {
        cx,
        host: host.clone(),
        dir: dir.to_owned(),
        gcc: policy.gcc.clone(),
        glibc_version: inputs.glibc()?.to_owned(),
        gcc_version: inputs.version(&policy.gcc_source())?.to_owned(),
        tools: tools.collect(),
        orig: path_of(inputs.source_file(".orig.tar.xz")?)?,
        debian: path_of(inputs.source_file(".debian.tar.xz")?)?,
        jobs: std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
    })
}

/// Copies the two levels of `out/`.
fn copy(from: &Path, to: &Path) -> Result<()> {
    for directory in fs::read_dir(from).context(|| format!("cannot read {}", from.display()))? {
        let directory = directory?;
        let target = to.join(directory.file_name());
        fs::create_dir_all(&target)?;
        for file in fs::read_dir(directory.path())? {
            let file = file?;
            fs::copy(file.path(), target.join(file.file_name()))
                .map_err(|error| crate::cache::full_disk(error, &target))?;
        }
    }
    Ok(())
}

/// The layer, kept in the cache.
fn layer(
    cx: &Cx,
    policy: &RebuildPolicy,
    inputs: &Inputs,
    compiled: &Path,
    origin: &str,
) -> Result<(Layer, BTreeMap<String, String>)> {
    let mut parts = vec![compile_key(inputs), root::VERSION.to_owned(), RULES_VERSION.to_owned()];
    parts.push(policy.suite.clone());
    parts.extend(policy.libraries.iter().cloned());
    let key = key_of(parts);
    for _ in 0..2 {
        let tree = cx.cache.tree("base-raspbian", &key, |dir| {
            let (layer, owners) = root::pack(compiled, inputs, policy)?;
            let sheet = Sheet {
                digest: layer.digest().to_string(),
                owners,
            };
            write_atomically(&dir.join("layer.tar.gz"), layer.blob())?;
            write_atomically(&dir.join("base.json"), &serde_json::to_vec_pretty(&sheet)?)
        })?;
        match open(&tree, origin) {
            Ok(found) => return Ok(found),
            Err(error) => {
                cx.ui.warn(&format!("{error}; making it again"));
                cx.cache.remove(&tree)?;
            }
        }
    }
    Err(Error::new(format!(
        "{origin}: what was just written to the cache cannot be read back"
    ))
    .hint("is the disk failing? choose another with --cache-dir DIR"))
}

fn open(tree: &Path, origin: &str) -> Result<(Layer, BTreeMap<String, String>)> {
    let sheet = fs::read(tree.join("base.json")).context(|| format!("cannot read {}", tree.display()))?;
    let sheet: Sheet = serde_json::from_slice(&sheet).context(|| format!("damaged: {}", tree.display()))?;
    let path = tree.join("layer.tar.gz");
    let blob = fs::read(&path).context(|| format!("cannot read {}", path.display()))?;
    if Digest::of(&blob).to_string() != sheet.digest {
        return Err(Error::new(format!("damaged in the cache: {}", path.display())));
    }
    let layer = Layer::from_blob(blob, media::LAYER_GZIP, origin, &Limits::default())?;
    Ok((layer, sheet.owners))
}
