//! From a run of `cargo xtask image` to what is attested of its images.

use std::collections::{BTreeMap, BTreeSet};

use crate::attest::bundled::{KNOWN, Library};
use crate::attest::crates::Crates;
use crate::attest::packages::Distribution;
use crate::attest::{Asked, Attestation, Base, Material, Run, Source, Tools, Wheel, attest};
use crate::audit::Binary;
use crate::audit::verdict::Verdict;
use crate::base::found::Input;
use crate::compile::{Artifact, bill};
use crate::cx::Cx;
use crate::elf::Elf;
use crate::error::{Context, Error, Result};
use crate::oci::{Image, Location, Package};
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
            let mut crates = bill(cx, &artifact.record, &artifact.bytes)
                .context(|| format!("cannot tell what the program for {triple} is made of"))?;
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
