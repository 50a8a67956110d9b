//! `cargo xtask image`: plan, compile, audit, assemble, publish.

mod publish;
mod resolve;
mod sqlite;

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use serde::Serialize;

use crate::attest::Attestation;
use crate::attest::bundled::Library;
use crate::audit::verdict::Verdict;
use crate::audit::{Binary, Expectation};
use crate::base;
use crate::builder::{self, choice};
use crate::cache::key_of;
use crate::cli::{ImageArgs, ImageVerb};
use crate::compile::{Artifact, compile};
use crate::context;
use crate::cx::Cx;
use crate::error::{Context, Error, Result};
use crate::oci::dockerfile::{self, FinalStage};
use crate::oci::image::{BaseImage, CopySource, MemoryFiles, Package, SourceFile, assemble_with};
use crate::oci::layer::EntryKind;
use crate::oci::{Destination, Digest, Image, Location};
use crate::plan::{self, Builder, ImagePlan, Plan, Request};
use crate::policy::Policy;
use crate::publish::daemon::Daemon;
use crate::publish::{archive, layout};
use crate::registry::Registry;
use crate::sysroot::StandIn;
use crate::toolchain::rust_std::{self, Compiler, Detected};
use crate::toolchain::zig;
use crate::ui::bytes;
use crate::verb::audit::assembled;
use crate::verb::{Outcome, attested, code, place, policy};
use crate::workspace;

/// What is told of an image that was made.
#[derive(Debug, Serialize)]
pub struct Made {
    /// `scratch`, `debian`.
    pub base: String,
    /// Where the base came from.
    pub origin: String,
    /// OCI platform.
    pub platform: String,
    /// Triple of the program.
    pub triple: String,
    /// Digest of the manifest.
    pub digest: String,
    /// Bytes that an engine without any of it pulls.
    pub pull_size: u64,
    /// One a destination, as printed.
    pub references: Vec<String>,
    /// Packages of the base.
    pub packages: Vec<Package>,
}

/// Runs the verb.
pub fn run(cx: &Cx, args: &ImageArgs) -> Result<Outcome> {
    if let Some(ImageVerb::Resolve(args)) = &args.verb {
        return resolve::run(cx, args);
    }
    let policy = policy(cx)?;
    let compiler = Detected::default();
    let plan = resolve(cx, args, &policy, &compiler)?;
    if args.dry_run {
        let text = if args.json {
            serde_json::to_string_pretty(&plan)?
        } else {
            plan.text().trim_end().to_owned()
        };
        cx.ui.result(&text);
        return Ok(Outcome::Fine);
    }
    let Some(made) = make(cx, args, &policy, &plan, &compiler)? else {
        return Ok(Outcome::Findings);
    };
    if args.json {
        cx.ui.result(&serde_json::to_string_pretty(&made)?);
    } else {
        made.iter()
            .flat_map(|made| &made.references)
            .for_each(|reference| cx.ui.result(reference));
    }
    Ok(Outcome::Fine)
}

/// The plan for these arguments.
pub fn resolve(cx: &Cx, args: &ImageArgs, policy: &Policy, compiler: &Detected) -> Result<Plan> {
    // What is not UTF-8 is not a number either, and is refused as such.
    let epoch = std::env::var_os("SOURCE_DATE_EPOCH").map(|value| value.to_string_lossy().into_owned());
    let facts = workspace::facts(&cx.shell, &cx.root, epoch.as_deref())?;
    if facts.revision.is_none() && cx.root.join(".git").exists() {
        cx.ui.warn(
            "git does not tell the commit of this clone, so the image names none: is git installed, and the clone yours?",
        );
    }
    let (builder, why) = choice::choose(cx, policy, args.builder.unwrap_or(policy.builder.default));
    if let Some(why) = why {
        cx.ui.note(&why);
    }
    let request = Request {
        bases: args.bases.clone(),
        platforms: args.platforms.clone(),
        destinations: args.destinations.clone(),
        load: args.load,
        with: args.with.clone(),
        base_image: args.base_image.clone(),
        std: args.std,
        where_possible: args.where_possible,
        builder: Some(builder),
        sqlite: args.sqlite.clone(),
    };
    let compiler = match builder {
        Builder::Host => Some(compiler.get(cx)?),
        Builder::Docker => None,
    };
    plan::resolve(&request, policy, &facts, |triple, choice| {
        compiler.and_then(|compiler| rust_std::ready(cx, compiler, triple, choice))
    })
    .map_err(Error::new)
}

/// An image that is audited and assembled, and written nowhere yet.
#[derive(Debug)]
pub struct Finished<'a> {
    /// Its part of the plan.
    pub planned: &'a ImagePlan,
    /// The image.
    pub image: Image,
    /// Where the base came from.
    pub origin: String,
    /// Packages of the base.
    pub packages: Vec<Package>,
    /// What the audit of the whole image found.
    pub verdict: Verdict,
    /// Its SBOM and its provenance.
    pub attestation: Attestation,
}

/// Does what the plan says. `None` when the audit had findings, which were shown.
pub fn make(cx: &Cx, args: &ImageArgs, policy: &Policy, plan: &Plan, compiler: &Detected) -> Result<Option<Vec<Made>>> {
    check_destinations(cx, plan)?;
    let Some(images) = finish(cx, args, policy, plan, compiler)? else {
        return Ok(None);
    };
    let references = publish::publish(cx, &images)?;
    let made = images.into_iter().zip(references).map(|(finished, references)| {
        let (planned, image) = (finished.planned, &finished.image);
        cx.ui.step(
            "Image",
            &format!(
                "{} for {}: {} to pull",
                planned.name,
                planned.platform,
                bytes(image.pull_size())
            ),
        );
        Made {
            base: planned.base.to_string(),
            origin: finished.origin,
            platform: planned.platform.to_string(),
            triple: planned.triple.clone(),
            digest: image.manifest().digest().to_string(),
            pull_size: image.pull_size(),
            references,
            packages: finished.packages,
        }
    });
    Ok(Some(made.collect()))
}

/// Compiles, audits and assembles what the plan says, and writes nothing. `None` when the audit had findings, which were shown.
pub fn finish<'a>(
    cx: &Cx,
    args: &ImageArgs,
    policy: &Policy,
    plan: &'a Plan,
    compiler: &Detected,
) -> Result<Option<Vec<Finished<'a>>>> {
    // What can be wrong without compiling is found before compiling.
    let stages = stages(cx, policy, plan)?;
    check_sources(cx, policy, &stages)?;
    let Some(libraries) = sqlite::choose(cx, policy, plan, args.debian_mirror.as_deref(), args.refresh)? else {
        return Ok(None);
    };
    let mut bases = Vec::new();
    let mut refused = false;
    for planned in &plan.images {
        let base = resolve_base(cx, args, policy, planned)?;
        refused |= !base_runs(cx, policy, planned, &base, args.strict)?;
        bases.push(base);
    }
    if refused {
        return Ok(None);
    }
    let artifacts = match plan.builder {
        Builder::Host => on_the_host(
            cx,
            policy,
            plan,
            compiler.get(cx)?,
            &stand_ins(plan, &bases, &libraries),
        )?,
        Builder::Docker => {
            let libraries = stand_ins(plan, &bases, &libraries);
            builder::compile(cx, policy, plan, args.debian_mirror.as_deref(), &libraries)?
        }
    };
    let mut images = Vec::new();
    let mut bills = attested::Bills::default();
    for ((planned, stage), base) in plan.images.iter().zip(&stages).zip(bases) {
        let artifact = artifacts
            .get(planned.triple.as_str())
            .context(|| format!("{} was not compiled", planned.triple))?;
        let base::Resolved {
            image: base,
            owners,
            inputs,
        } = base;
        match audited(cx, policy, artifact, planned, &base, args.strict)? {
            Ok(binary) => {
                let origin = base.origin.clone();
                let packages = base.packages.clone();
                let library = libraries.get(&planned.triple).map(|chosen| &chosen.library);
                let image = pack(cx, policy, plan, planned, stage, &binary, base, artifact, library)?;
                let about = assembled::About {
                    policy,
                    planned,
                    owners: &owners,
                    packages: &packages,
                    strict: args.strict,
                };
                let whole = assembled::image(cx, &about, &image, binary.report())?;
                if !whole.passed() {
                    cx.ui.text(&whole.text());
                    cx.ui.warn(&format!(
                        "{}: the image is not for {}; no image was written",
                        planned.name, planned.platform
                    ));
                    refused = true;
                    continue;
                }
                let verdict = whole.verdict();
                let on = attested::OnBase {
                    origin: &origin,
                    packages: &packages,
                    owners: &owners,
                    inputs: &inputs,
                };
                let crates = bills.of(cx, artifact, library)?;
                let attestation = attested::of(policy, plan, planned, on, artifact, crates, &binary, &image, &verdict)?;
                images.push(Finished {
                    planned,
                    image,
                    origin,
                    packages,
                    verdict,
                    attestation,
                });
            }
            Err(report) => {
                cx.ui.text(&report.text());
                cx.ui.warn(&format!(
                    "{}: {} is not for {}; no image was written",
                    planned.name, plan.binary, planned.platform
                ));
                refused = true;
            }
        }
    }
    if refused {
        return Ok(None);
    }
    Ok(Some(images))
}

/// Libraries in the place of the bundled source, by triple. All images of a triple have the same base, or bases without glibc.
fn stand_ins(plan: &Plan, bases: &[base::Resolved], libraries: &sqlite::Libraries) -> BTreeMap<String, StandIn> {
    let mut found = BTreeMap::new();
    for (planned, base) in plan.images.iter().zip(bases) {
        if let (Some(chosen), Some(target)) = (libraries.get(&planned.triple), planned.target()) {
            let library = chosen.stand_in(target, base.image.glibc.as_deref());
            found.insert(planned.triple.clone(), library);
        }
    }
    found
}

/// Compiles every triple of the plan with cargo, here.
fn on_the_host(
    cx: &Cx,
    policy: &Policy,
    plan: &Plan,
    compiler: &Compiler,
    libraries: &BTreeMap<String, StandIn>,
) -> Result<BTreeMap<String, Artifact>> {
    let zig = zig::provision(cx, policy)?;
    let mut artifacts = BTreeMap::new();
    for planned in &plan.compile {
        let std = rust_std::provision(cx, compiler, &planned.triple, planned.std)?;
        let environment = match libraries.get(&planned.triple) {
            Some(library) => library.stage(cx)?,
            None => Vec::new(),
        };
        let artifact = compile(cx, plan, planned, std, compiler, &zig, &environment)?;
        artifacts.insert(planned.triple.clone(), artifact);
    }
    Ok(artifacts)
}

/// The base that the plan names: the user's own, or what its sources give.
fn resolve_base(cx: &Cx, args: &ImageArgs, policy: &Policy, planned: &ImagePlan) -> Result<base::Resolved> {
    if let Some(location) = &planned.base_image {
        let path = match location {
            Location::OciLayout(path) | Location::DockerArchive(path) | Location::RootFileSystem(path) => {
                place(cx, path)
            }
            Location::Registry(_) => PathBuf::new(),
        };
        return base::own::resolve(cx, location, &path, planned.base, planned.platform);
    }
    let request = base::Request {
        with: &planned.with,
        debian_mirror: args.debian_mirror.as_deref(),
        refresh: args.refresh,
        ..base::Request::new(planned.base, planned.platform)
    };
    base::resolve(cx, &policy.base, &request)
}

/// Whether the platform can execute every ELF file of a base. One that it cannot is shown with the package that it is from.
fn base_runs(cx: &Cx, policy: &Policy, planned: &ImagePlan, base: &base::Resolved, strict: bool) -> Result<bool> {
    let about = assembled::About {
        policy,
        planned,
        owners: &base.owners,
        packages: &base.image.packages,
        strict,
    };
    let found = assembled::layers(cx, &about, &base.image.layers, &[])?;
    for file in found.files.iter().filter(|file| !file.report.passed()) {
        let package = file.package.as_deref().unwrap_or("no package");
        cx.ui.text(&file.report.text());
        cx.ui.warn(&format!(
            "{}: /{} of the base (package: {package}) is not for {}; no image was written",
            planned.name, file.path, planned.platform
        ));
    }
    Ok(found.passed())
}

/// The final stage as it is for each image: the base is a build argument.
pub fn stages(cx: &Cx, policy: &Policy, plan: &Plan) -> Result<Vec<FinalStage>> {
    let path = cx.root.join(&policy.image.dockerfile);
    let text = fs::read_to_string(&path).context(|| format!("cannot read {}", cx.show(&path)))?;
    let stage = |image: &ImagePlan| {
        let args = BTreeMap::from([
            ("BASE".to_owned(), image.base.to_string()),
            ("VERSION".to_owned(), plan.source.version.clone()),
            ("REVISION".to_owned(), plan.source.revision.clone().unwrap_or_default()),
        ]);
        dockerfile::evaluate(&text, &args, &policy.image.stage)
            .map_err(|error| Error::new(format!("{}: {error}", policy.image.dockerfile)))
    };
    plan.images.iter().map(stage).collect()
}

/// A `COPY` of what is not there is said before the work.
fn check_sources(cx: &Cx, policy: &Policy, stages: &[FinalStage]) -> Result<()> {
    let context = BuildContext::new(cx, policy, Vec::new());
    for copy in stages.iter().flat_map(|stage| &stage.copies) {
        for path in &copy.sources {
            context.files(copy.from.as_deref(), path).map_err(|message| {
                let from = copy
                    .from
                    .as_ref()
                    .map(|from| format!("--from={from} "))
                    .unwrap_or_default();
                Error::new(format!(
                    "{}: line {}: COPY {from}{path}: {message}",
                    policy.image.dockerfile, copy.line
                ))
                .hint(match copy.from {
                    None => "the build context is the root of the workspace".to_owned(),
                    Some(_) => format!(
                        "`compile` is the only other place: it has {} and {}",
                        policy.image.compiled, policy.image.data
                    ),
                })
            })?;
        }
    }
    Ok(())
}

/// A destination that cannot work is said before the work.
fn check_destinations(cx: &Cx, plan: &Plan) -> Result<()> {
    for destination in plan.images.iter().flat_map(|image| &image.destinations) {
        match destination {
            Destination::OciLayout(path) => layout::check(&place(cx, path))?,
            Destination::DockerArchive(path) => archive::check(&place(cx, path))?,
            Destination::DockerDaemon(_) => {
                Daemon::from_environment()?;
            }
            // A wrong password is found here, not after the work.
            Destination::Registry(reference) => {
                Registry::from_environment().push_to(cx, reference).named(reference)?;
            }
        }
    }
    Ok(())
}

fn audited(
    cx: &Cx,
    policy: &Policy,
    artifact: &Artifact,
    planned: &ImagePlan,
    base: &BaseImage,
    strict: bool,
) -> Result<std::result::Result<Binary, Box<crate::audit::Report>>> {
    let expectation = Expectation {
        file: format!(
            "{}/{}",
            artifact.target.triple,
            artifact.path.file_name().unwrap_or_default().to_string_lossy()
        ),
        platform: planned.platform,
        target: artifact.target,
        needed_allowed: planned.needed.clone(),
        glibc: base.glibc.clone(),
        waivers: match strict {
            true => Vec::new(),
            false => policy.waivers(artifact.target.triple),
        },
    };
    code::audited(cx, policy, &artifact.bytes, &expectation, &artifact.record, strict)
}

#[allow(clippy::too_many_arguments)]
fn pack(
    cx: &Cx,
    policy: &Policy,
    plan: &Plan,
    planned: &ImagePlan,
    stage: &FinalStage,
    binary: &Binary,
    base: BaseImage,
    artifact: &Artifact,
    sqlite: Option<&Library>,
) -> Result<Image> {
    cx.ui
        .step("Assembling", &format!("{} on {}", planned.name, base.origin));
    let source = BuildContext::new(cx, policy, binary.bytes().to_vec());
    let labels = labels(&base, artifact, sqlite);
    // The compressor is part of the key: another version of it may give other bytes, and the bytes must not depend on what
    // this machine did before.
    let lock = fs::read(cx.root.join("Cargo.lock")).context(|| "cannot read Cargo.lock")?;
    let key = |diff_id: &Digest| key_of([diff_id.hex().as_bytes(), &lock[..]]);
    let compressed = |diff_id: &Digest| {
        let blob: String = cx.cache.record("layer", &key(diff_id))?;
        fs::read(cx.cache.get(&blob).ok()??).ok()
    };
    let image = assemble_with(
        base,
        stage,
        &source,
        planned.platform,
        plan.source.source_date_epoch,
        &labels,
        &compressed,
    )
    .map_err(|error| Error::new(format!("{}: {error}", policy.image.dockerfile)))
    .context(|| format!("cannot assemble {}", planned.name))?;
    for layer in image.app_layers() {
        if cx.cache.record::<String>("layer", &key(&layer.diff_id())).is_none() {
            let (blob, _) = cx.cache.put_bytes(layer.blob())?;
            cx.cache.put_record("layer", &key(&layer.diff_id()), &blob)?;
        }
    }
    Ok(image)
}

/// Labels that say how the image was made; those that name the source are in the Dockerfile.
fn labels(base: &BaseImage, artifact: &Artifact, sqlite: Option<&Library>) -> BTreeMap<String, String> {
    let mut labels = BTreeMap::from([
        ("xtask.base".to_owned(), base.origin.clone()),
        ("xtask.binary.triple".to_owned(), artifact.target.triple.to_owned()),
        ("xtask.rustc".to_owned(), artifact.compiler.version.clone()),
        ("xtask.rust-std".to_owned(), artifact.std.to_string()),
        (
            "xtask.zig".to_owned(),
            artifact.record.linker.trim_start_matches("zig ").to_owned(),
        ),
    ]);
    if let Some(library) = sqlite {
        labels.insert(
            "xtask.sqlite".to_owned(),
            format!("{}, {}", library.version, library.origin),
        );
    }
    if !base.packages.is_empty() {
        let packages: Vec<String> = base
            .packages
            .iter()
            .map(|package| format!("{}={}", package.name, package.version))
            .collect();
        labels.insert("xtask.base.packages".to_owned(), packages.join(" "));
    }
    labels
}

/// Where COPY takes files from: the workspace, and the virtual stage `compile`.
#[derive(Debug)]
pub struct BuildContext {
    root: PathBuf,
    compiled: MemoryFiles,
}

impl BuildContext {
    /// The workspace, and `program` where `compile` leaves it.
    pub fn new(cx: &Cx, policy: &Policy, program: Vec<u8>) -> Self {
        let compile = Some("compile");
        BuildContext {
            root: cx.root.clone(),
            compiled: MemoryFiles::default()
                .with(compile, &policy.image.compiled, EntryKind::File(program), 0o755)
                .with(compile, &policy.image.data, EntryKind::Directory, 0o755),
        }
    }
}

impl CopySource for BuildContext {
    fn files(&self, from: Option<&str>, source: &str) -> Result<Vec<SourceFile>, String> {
        match from {
            None => context::files(&self.root, source),
            Some(_) => self.compiled.files(from, source),
        }
    }
}
