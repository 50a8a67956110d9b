//! Of what a program was made, for its SBOM: cargo's messages say what was compiled, its metadata where that is from, the lock
//! file its checksums, and the linker's map what became part of the program.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use cargo_metadata::{Metadata, Package};
use serde::Deserialize;

use super::Record;
use super::record::{graph, metadata};
use crate::attest::bundled::{Bundled, KNOWN};
use crate::attest::crates::{Crate, Crates, From, Traces};
use crate::culprit::origin::Compiled;
use crate::cx::Cx;
use crate::error::{Context, Error, Result};

/// The checksums of Cargo.lock, by name, version and source.
type Checksums = BTreeMap<(String, String, String), String>;

/// What a program is made of, and where that is written.
#[derive(Clone, Debug)]
pub struct Bill {
    /// What it is made of.
    pub crates: Crates,
    /// The manifests that somebody may edit: those of packages that are not from a registry.
    pub manifests: Vec<PathBuf>,
}

/// What the program of a record is made of. `program` is the program with its names, for the linker's map to be held against.
///
/// # Errors
///
/// When cargo or Cargo.lock cannot be read, or know nothing of what was compiled.
pub fn bill(cx: &Cx, record: &Record, program: &[u8]) -> Result<Bill> {
    let metadata = metadata(cx, &record.triple)?;
    let sums = checksums(cx)?;
    // What std itself depends on is not in this workspace's metadata, and cargo says of it no more than name and version.
    let from_source = record.packages.iter().any(|compiled| compiled.std);
    let mut linked = Vec::new();
    let mut own = None;
    let mut bundled = Vec::new();
    for compiled in &record.packages {
        let one = describe(&metadata, &sums, compiled, from_source)?;
        bundled.extend(carried(&metadata, compiled)?);
        if compiled.name == record.package && one.from == From::Workspace {
            own = Some(one);
        } else {
            linked.push(one);
        }
    }
    linked.sort();
    linked.dedup_by_key(|one| one.named());
    let program_package = own.context(|| format!("cargo did not say that it compiled {}", record.package))?;
    let tools = |macros: bool| -> Result<Vec<Crate>> {
        let tools = record.tools.iter().filter(|tool| tool.macros == macros);
        tools
            .map(|tool| find(&metadata, &sums, &tool.name, &tool.version))
            .collect()
    };
    let edges = graph(&metadata, &record.package, &record.packages).map(|graph| graph.edges().into_iter().collect());
    let traces = Traces::read(&record.evidence(cx, program)).ok_or_else(|| "there is no map of this link".to_owned());
    if let Ok(traces) = &traces {
        // What is carried along and not linked is no part of the program.
        bundled.retain(|bundled| traces.foreign.contains_key(&bundled.of));
    }
    bundled.sort();
    let own = |one: &&Package| *one.name == record.package && metadata.workspace_members.contains(&one.id);
    let local = metadata.packages.iter().filter(|one| one.source.is_none());
    let manifests = local.map(|one| one.manifest_path.clone().into_std_path_buf()).collect();
    let crates = Crates {
        repository: metadata
            .packages
            .iter()
            .find(own)
            .and_then(|one| one.repository.clone()),
        program: program_package,
        linked,
        edges,
        traces,
        bundled,
        macros: tools(true)?,
        build: tools(false)?,
    };
    Ok(Bill { crates, manifests })
}

fn describe(metadata: &Metadata, sums: &Checksums, compiled: &Compiled, from_source: bool) -> Result<Crate> {
    let known = package(metadata, &compiled.name, &compiled.version).is_some();
    if compiled.std || (from_source && !known) {
        return Ok(Crate {
            name: compiled.name.clone(),
            version: compiled.version.clone(),
            from: From::Std,
            licence: None,
            checksum: None,
            features: compiled.features.clone(),
        });
    }
    let mut one = find(metadata, sums, &compiled.name, &compiled.version)?;
    one.features.clone_from(&compiled.features);
    one.features.sort();
    Ok(one)
}

fn package<'a>(metadata: &'a Metadata, name: &str, version: &str) -> Option<&'a Package> {
    let is = |one: &&Package| *one.name == name && one.version.to_string() == version;
    metadata.packages.iter().find(is)
}

fn find(metadata: &Metadata, sums: &Checksums, name: &str, version: &str) -> Result<Crate> {
    let found = package(metadata, name, version)
        .context(|| format!("cargo compiled {name} {version}, and its metadata does not have it"))
        .hint("did Cargo.lock change while it compiled? run again")?;
    let source = found.source.as_ref();
    let from = match source {
        None => From::Workspace,
        Some(source) if source.is_crates_io() => From::Registry,
        Some(source) => From::Other(source.repr.clone()),
    };
    let key = |source: &cargo_metadata::Source| (name.to_owned(), version.to_owned(), source.repr.clone());
    Ok(Crate {
        name: name.to_owned(),
        version: version.to_owned(),
        from,
        licence: found.license.clone(),
        checksum: source.and_then(|source| sums.get(&key(source)).cloned()),
        features: Vec::new(),
    })
}

/// Sources of others that a crate carries, where their version is known.
fn carried(metadata: &Metadata, compiled: &Compiled) -> Result<Option<Bundled>> {
    let known = KNOWN.iter().find(|known| {
        known.package == compiled.name && compiled.features.iter().any(|feature| feature == known.feature)
    });
    let Some(known) = known else { return Ok(None) };
    let Some(package) = package(metadata, &compiled.name, &compiled.version) else {
        return Ok(None);
    };
    let dir = package
        .manifest_path
        .parent()
        .context(|| format!("{} has no directory", package.manifest_path))?;
    let path = dir.join(known.file);
    let text = fs::read_to_string(&path)
        .context(|| format!("cannot read {path}, which says the version of {}", known.name))?;
    let found = known.read(&compiled.version, &text);
    found.map(Some).ok_or_else(|| {
        Error::new(format!("{path} does not say which {} it is", known.name))
            .hint("a new release of the crate has it elsewhere: say where in xtask/src/attest/bundled.rs")
    })
}

fn checksums(cx: &Cx) -> Result<Checksums> {
    #[derive(Deserialize)]
    struct Lock {
        #[serde(default)]
        package: Vec<Entry>,
    }
    #[derive(Deserialize)]
    struct Entry {
        name: String,
        version: String,
        source: Option<String>,
        checksum: Option<String>,
    }
    let text = fs::read_to_string(cx.root.join("Cargo.lock")).context(|| "cannot read Cargo.lock")?;
    let lock: Lock = toml::from_str(&text).context(|| "cannot make sense of Cargo.lock")?;
    let entries = lock.package.into_iter();
    let keyed = entries.filter_map(|entry| Some(((entry.name, entry.version, entry.source?), entry.checksum?)));
    Ok(keyed.collect())
}
