//! From a run of `cargo xtask image` to what is attested of its images.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::attest::bundled::{KNOWN, Library};
use crate::attest::crates::Crates;
use crate::attest::packages::Distribution;
use crate::attest::{Asked, Attestation, Base, Material, Run, Source, Tools, Wheel, attest};
use crate::audit::Binary;
use crate::audit::verdict::{Verdict, rules_version};
use crate::base::found::Input;
use crate::cache::{hash_file, key_of};
use crate::compile::{Artifact, Bill, Record, bill};
use crate::cx::Cx;
use crate::elf::Elf;
use crate::error::{Context, Error, Result};
use crate::oci::{Digest, Image, Location, Package};
use crate::plan::{ImagePlan, Plan};
use crate::policy::{Policy, SqliteChoice};

/// What the programs of a run are made of: cargo is asked once for each triple.
#[derive(Debug, Default)]
pub struct Bills(BTreeMap<String, Crates>);

impl Bills {
    /// What this program is made of. `sqlite` was linked in the place of the source that its crate carries.
    ///
    /// # Errors
    ///
    /// When cargo or Cargo.lock do not tell, or the library was not linked.
    pub fn of(&mut self, cx: &Cx, artifact: &Artifact, sqlite: Option<&Library>) -> Result<&Crates> {
        let triple = artifact.target.triple;
        if !self.0.contains_key(triple) {
            let mut crates =
                crates(cx, artifact).context(|| format!("cannot tell what the program for {triple} is made of"))?;
            if let Some(library) = sqlite {
                instead(&mut crates, library).map_err(|reason| {
                    Error::new(format!(
                        "the program for {triple} was not linked with SQLite {}, {}: {reason}",
                        library.version, library.origin
                    ))
                })?;
            }
            if let Err(reason) = &crates.edges {
                cx.ui.warn(&format!(
                    "the SBOM for {triple} says no dependencies between crates: {reason}"
                ));
            }
            self.0.insert(triple.to_owned(), crates);
        }
        self.0.get(triple).context(|| format!("{triple} was not compiled"))
    }
}

/// What a program is made of, kept from the last time: asking cargo takes longer than all else of a run in which nothing changed.
#[derive(Debug, Serialize, Deserialize)]
struct Kept {
    crates: Crates,
    /// SHA-256 of the manifests of this workspace, by their path in it. The others are of crates that Cargo.lock names by their
    /// checksum, and it is part of the key.
    manifests: BTreeMap<PathBuf, String>,
}

/// Bills of programs that were compiled here.
const KEPT: &str = "crates-program";

impl Kept {
    /// Everything that a bill depends on, but for the manifests that it names itself: the program and the linker's map, what cargo
    /// said of them, what cargo is told, and how all of that is read.
    fn key(cx: &Cx, artifact: &Artifact) -> Result<String> {
        let read = |name: &str| fs::read(cx.root.join(name)).unwrap_or_default();
        let record = Record {
            program: PathBuf::new(),
            ..artifact.record.clone()
        };
        Ok(key_of([
            rules_version().as_bytes(),
            include_bytes!("attested.rs"),
            include_bytes!("../compile/bill.rs"),
            include_bytes!("../compile/record.rs"),
            include_bytes!("../attest/crates.rs"),
            include_bytes!("../attest/bundled.rs"),
            &serde_json::to_vec(&record)?,
            Digest::of(&artifact.bytes).to_string().as_bytes(),
            artifact.record.map_digest(cx).unwrap_or_default().as_bytes(),
            &read("Cargo.toml"),
            &read("Cargo.lock"),
            &read(".cargo/config.toml"),
        ]))
    }

    fn new(cx: &Cx, bill: &Bill) -> Option<Kept> {
        // What is not known, or not in this workspace, is asked for each time.
        if bill.crates.edges.is_err() || bill.crates.traces.is_err() {
            return None;
        }
        let digest = |path: &PathBuf| {
            let inside = path.strip_prefix(&cx.root).ok()?.to_owned();
            Some((inside, hash_file(path).ok()?))
        };
        Some(Kept {
            crates: bill.crates.clone(),
            manifests: bill.manifests.iter().map(digest).collect::<Option<_>>()?,
        })
    }

    fn is_of(&self, cx: &Cx) -> bool {
        let same =
            |(path, digest): (&PathBuf, &String)| hash_file(&cx.root.join(path)).is_ok_and(|found| found == *digest);
        self.manifests.iter().all(same)
    }
}

fn crates(cx: &Cx, artifact: &Artifact) -> Result<Crates> {
    let key = Kept::key(cx, artifact)?;
    if let Some(kept) = cx.cache.record::<Kept>(KEPT, &key).filter(|kept| kept.is_of(cx)) {
        return Ok(kept.crates);
    }
    let bill = bill(cx, &artifact.record, &artifact.bytes)?;
    if let Some(kept) = Kept::new(cx, &bill) {
        // A record that is not written costs the next run some tenths of a second.
        let _ = cx.cache.put_record(KEPT, &key, &kept);
    }
    Ok(bill.crates)
}

/// Puts the library in the place of the source that the crate carries. The program has it, or it has no SQLite at all: that would
/// not be what was asked for.
fn instead(crates: &mut Crates, library: &Library) -> std::result::Result<(), &'static str> {
    let known = KNOWN
        .iter()
        .find(|known| known.name == "sqlite")
        .ok_or("no crate is known that links it")?;
    let of = crates.linked.iter().find(|one| one.name == known.package);
    let of = of.ok_or("no crate was compiled that links it")?.named();
    if let Ok(traces) = &crates.traces
        && !traces.foreign.contains_key(&of)
    {
        return Err("the linker's map shows no code of it");
    }
    crates.bundled.retain(|bundled| bundled.name != known.name);
    crates.bundled.push(known.linked(&of.1, library));
    crates.bundled.sort();
    Ok(())
}

/// What is known of a base beside its layers.
#[derive(Clone, Copy, Debug)]
pub struct OnBase<'a> {
    /// For people.
    pub origin: &'a str,
    /// Its packages.
    pub packages: &'a [Package],
    /// The package of each file.
    pub owners: &'a BTreeMap<String, String>,
    /// What it was made of.
    pub inputs: &'a [Input],
}

/// The documents of one image.
///
/// # Errors
///
/// When a layer of the base cannot be read.
#[allow(clippy::too_many_arguments)]
pub fn of(
    policy: &Policy,
    plan: &Plan,
    planned: &ImagePlan,
    base: OnBase<'_>,
    artifact: &Artifact,
    crates: &Crates,
    binary: &Binary,
    image: &Image,
    verdict: &Verdict,
) -> Result<Attestation> {
    let asked = Asked {
        base: planned.base.to_string(),
        platform: planned.platform.to_string(),
        with: planned.with.clone(),
        base_image: planned.base_image.as_ref().map(kind),
        std: plan
            .compile
            .iter()
            .find(|compile| compile.triple == planned.triple)
            .map(|compile| format!("{:?}", compile.std).to_lowercase())
            .unwrap_or_default(),
        package: plan.package.clone(),
        binary: plan.binary.clone(),
        profile: plan.profile.clone(),
        source_date_epoch: plan.source.source_date_epoch,
        builder: plan.builder.to_string(),
        sqlite: match &plan.sqlite {
            SqliteChoice::Bundled => None,
            SqliteChoice::System => Some("system".to_owned()),
            // A path of this machine is nobody's business.
            SqliteChoice::Own(_) => Some("own".to_owned()),
        },
    };
    let source = Source {
        version: plan.source.version.clone(),
        revision: plan.source.revision.clone(),
        repository: crates.repository.clone(),
    };
    let distribution = Distribution::read(image.base_layers())
        .map_err(|error| Error::new(error.to_string()))
        .context(|| format!("cannot read the base of {}", planned.name))?;
    let on = Base {
        origin: base.origin.to_owned(),
        packages: base.packages.to_vec(),
        distribution,
        inputs: base.inputs.iter().map(material).collect(),
        loaded: loaded(binary.bytes(), base.owners)?,
    };
    let wheel = |name: &str| -> Result<Wheel> {
        let tool = policy
            .tools
            .get(name)
            .context(|| format!("xtask.toml pins no tool `{name}`"))?;
        Ok(Wheel {
            name: tool.distribution.clone().unwrap_or_else(|| name.to_owned()),
            version: tool.version.clone(),
            sha256: tool.sha256.clone(),
        })
    };
    let tools = Tools {
        rustc: artifact.compiler.version.clone(),
        std: artifact.std.to_string(),
        wheels: vec![wheel("ziglang")?, wheel("cargo-zigbuild")?],
    };
    Ok(attest(&Run {
        name: &planned.name,
        image,
        asked: &asked,
        source: &source,
        base: &on,
        tools: &tools,
        crates,
        verdict,
    }))
}

/// A reference is for everybody; of a path only its kind is told, since it names a place on this machine.
fn kind(location: &Location) -> String {
    match location {
        Location::OciLayout(_) => "oci".to_owned(),
        Location::DockerArchive(_) => "docker-archive".to_owned(),
        Location::RootFileSystem(_) => "root file system".to_owned(),
        Location::Registry(_) => location.to_string(),
    }
}

fn material(input: &Input) -> Material {
    Material {
        name: input.name.clone(),
        version: input.version.clone(),
        architecture: input.architecture.clone(),
        digest: input.digest.clone(),
    }
}

/// The packages whose libraries the program names: DT_NEEDED and the loader.
fn loaded(program: &[u8], owners: &BTreeMap<String, String>) -> Result<Vec<String>> {
    let elf = Elf::parse(program).map_err(|error| Error::new(error.to_string()))?;
    let names: Vec<String> = elf.needed.iter().chain(&elf.interpreter).cloned().collect();
    let named = |path: &str| {
        let file = path.rsplit('/').next().unwrap_or(path);
        names.iter().any(|name| name.rsplit('/').next() == Some(file))
    };
    let packages: BTreeSet<&String> = owners
        .iter()
        .filter(|(path, _)| named(path))
        .map(|(_, package)| package)
        .collect();
    Ok(packages.into_iter().cloned().collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attest::crates::{Crate, From, Traces};
    use crate::cache::Cache;
    use crate::shell::Shell;
    use crate::ui::{Ui, Verbosity};

    fn bill(root: &std::path::Path) -> Bill {
        let one = |name: &str| Crate {
            name: name.to_owned(),
            version: "1.0.0".to_owned(),
            from: From::Workspace,
            licence: Some("MIT".to_owned()),
            checksum: None,
            features: Vec::new(),
        };
        let named = |name: &str| (name.to_owned(), "1.0.0".to_owned());
        Bill {
            crates: Crates {
                program: one("blog"),
                repository: None,
                linked: vec![one("db")],
                edges: Ok(vec![(named("blog"), named("db"))]),
                traces: Ok(Traces {
                    foreign: BTreeMap::from([(named("db"), BTreeSet::from(["part.o".to_owned()]))]),
                    ..Traces::default()
                }),
                bundled: Vec::new(),
                macros: Vec::new(),
                build: Vec::new(),
            },
            manifests: vec![root.join("app/Cargo.toml")],
        }
    }

    #[test]
    fn a_kept_bill_counts_until_a_manifest_changes() {
        let dir = tempfile::tempdir().unwrap();
        let manifest = dir.path().join("app/Cargo.toml");
        fs::create_dir(dir.path().join("app")).unwrap();
        fs::write(&manifest, "license = \"MIT\"").unwrap();
        let cx = Cx {
            shell: Shell::default(),
            ui: Ui::new(Verbosity::Quiet),
            cache: Cache::at(dir.path().join("cache")),
            root: dir.path().to_owned(),
            offline: true,
        };
        let made = bill(dir.path());
        cx.cache
            .put_record(KEPT, "key", &Kept::new(&cx, &made).unwrap())
            .unwrap();
        let kept: Kept = cx.cache.record(KEPT, "key").unwrap();
        assert_eq!(kept.crates, made.crates);
        assert!(kept.is_of(&cx));
        fs::write(&manifest, "license = \"BSD\"").unwrap();
        assert!(!kept.is_of(&cx));
        fs::remove_file(&manifest).unwrap();
        assert!(!kept.is_of(&cx));
        // A manifest elsewhere, or one that is gone: asked for each time. So is what could not be told.
        assert!(Kept::new(&cx, &made).is_none());
        let elsewhere = tempfile::tempdir().unwrap();
        fs::create_dir(elsewhere.path().join("app")).unwrap();
        fs::write(elsewhere.path().join("app/Cargo.toml"), "").unwrap();
        assert!(Kept::new(&cx, &bill(elsewhere.path())).is_none());
        fs::write(&manifest, "").unwrap();
        let mut untold = bill(dir.path());
        untold.crates.edges = Err("other features".to_owned());
        assert!(Kept::new(&cx, &untold).is_none());
    }
}
