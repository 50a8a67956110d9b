//! `cargo xtask push`: images of all platforms, one index for each base, into registries.
//!
//! Everything is there by digest, and was read back, before the first tag is set; the tags that move are set last of all.

mod dry;

use std::collections::BTreeMap;

use serde::Serialize;

use crate::attest::manifest;
use crate::cli::{ImageArgs, PushArgs};
use crate::cx::Cx;
use crate::error::{Context, Error, Result};
use crate::oci::image::{Blob, ImageIndex};
use crate::oci::{Digest, Reference};
use crate::plan::Plan;
use crate::plan::tags::{Tags, newer, tags};
use crate::policy::Policy;
use crate::registry::{Content, Cost, Journal, Push, Registry, Tagged};
use crate::target::Base;
use crate::toolchain::rust_std::Detected;
use crate::verb::image::{self, Finished};
use crate::verb::{Outcome, policy};

/// Where it is noted how far uploads came, below the workspace.
pub const JOURNAL: &str = "target/push";

/// What is published of one base.
struct Publication {
    base: Base,
    index: ImageIndex,
    tags: Tags,
}

impl Publication {
    /// Tags that do not move, with what they name.
    fn exact(&self) -> impl Iterator<Item = (&str, &Blob)> {
        let of = |platform| {
            self.index
                .images()
                .iter()
                .find(move |image| image.platform() == platform)
        };
        let platforms = self.tags.platforms.iter();
        let platforms = platforms.filter_map(move |(platform, tag)| Some((tag.as_str(), of(*platform)?.manifest())));
        platforms.chain(self.tags.exact.iter().map(|tag| (tag.as_str(), self.index.blob())))
    }

    /// Tags that move, but those that are kept where they are.
    fn floating<'a>(&'a self, kept: &'a [Kept]) -> impl Iterator<Item = (&'a str, &'a Blob)> {
        let moves = |tag: &&String| !kept.iter().any(|kept| kept.tag == **tag);
        let tags = self.tags.floating.iter().filter(moves);
        tags.map(|tag| (tag.as_str(), self.index.blob()))
    }
}

/// A tag that would move, and stays where it is.
#[derive(Clone, Serialize)]
struct Kept {
    tag: String,
    /// The release that it stands for, too, and that is newer.
    newer: String,
}

/// The moving tags that stay where they are, because the repository has a newer release that they stand for; and how many
/// requests it took to know.
fn kept(
    cx: &Cx,
    push: &Push<'_>,
    args: &PushArgs,
    plan: &Plan,
    publications: &[Publication],
) -> Result<(Vec<Kept>, u64)> {
    if args.move_back || publications.iter().all(|one| one.tags.floating.is_empty()) {
        return Ok((Vec::new(), 0));
    }
    let listing = push.tags()?;
    let Some(there) = listing.tags else {
        cx.ui
            .warn("the registry does not list tags: if a newer release is there, tags such as `latest` move back");
        return Ok((Vec::new(), listing.requests));
    };
    let version = &plan.source.version;
    let of = |one: &Publication| {
        let tags = one.tags.floating.iter();
        let kept = tags.filter_map(|tag| Some((tag, newer(tag, version, one.base, &there)?)));
        let kept = kept.map(|(tag, newer)| Kept {
            tag: tag.clone(),
            newer: newer.to_owned(),
        });
        kept.collect::<Vec<Kept>>()
    };
    Ok((publications.iter().flat_map(of).collect(), listing.requests))
}

/// What is told of one base in one repository.
#[derive(Serialize)]
struct Told {
    repository: String,
    base: Base,
    /// `NAME:TAG@DIGEST`, what stdout has without --json.
    reference: String,
    /// Of the index.
    digest: Digest,
    tags: Vec<String>,
    /// Tags that stay with a newer release.
    kept: Vec<Kept>,
    images: Vec<TellImage>,
    /// Attestations, in the index and beside it.
    attached: Vec<Digest>,
}

#[derive(Serialize)]
struct TellImage {
    platform: String,
    digest: Digest,
    tags: Vec<String>,
}

#[derive(Serialize)]
struct Report {
    schema: u32,
    indexes: Vec<Told>,
    /// Over all repositories.
    cost: Cost,
}

/// Runs the verb.
pub fn run(cx: &Cx, args: &PushArgs) -> Result<Outcome> {
    let policy = policy(cx)?;
    let repositories = repositories(&policy, args)?;
    let compiler = Detected::default();
    let wanted = image_args(&policy, args);
    let plan = image::resolve(cx, &wanted, &policy, &compiler)?;
    let tags = all_tags(&policy, args, &plan)?;
    clean(&plan, args)?;
    let registry = Registry::from_environment();
    for to in &repositories {
        cx.ui.step("Asking", &to.name());
        // A wrong password or name is found before the work.
        push_to(cx, &registry, to, &[], &[]).named(to)?;
    }
    let Some(finished) = image::finish(cx, &wanted, &policy, &plan, &compiler)? else {
        return Ok(Outcome::Findings);
    };
    let origins: Vec<Reference> = finished.iter().filter_map(origin).collect();
    let publications = publications(&finished, tags)?;
    let to_all = repositories.iter().enumerate();
    let to_all = to_all.map(|(at, to)| (to, push_to(cx, &registry, to, &origins, &repositories[..at])));
    if args.dry_run {
        let survey = |(to, push): (&Reference, Push<'_>)| {
            let kept = kept(cx, &push, args, &plan, &publications)?;
            dry::survey(&push, to, &publications, kept)
        };
        dry::tell(cx, &to_all.map(survey).collect::<Result<Vec<_>>>()?, args.json)?;
        return Ok(Outcome::Fine);
    }
    let mut report = Report {
        schema: 1,
        indexes: Vec::new(),
        cost: Cost::default(),
    };
    for (to, push) in to_all {
        // A registry that cannot say it is found out before the first byte.
        let (kept, _) = kept(cx, &push, args, &plan, &publications)?;
        publish(cx, &push, to, &publications, &kept)?;
        let cost = push.cost();
        report.cost.bytes += cost.bytes;
        report.cost.requests += cost.requests;
        let sent = crate::ui::bytes(cost.bytes);
        cx.ui.step(
            "Pushed",
            &format!("{}: {sent} in {} requests", to.name(), cost.requests),
        );
        for publication in &publications {
            let told = tell(to, publication, &kept)?;
            if !args.json {
                cx.ui.result(&told.reference);
            }
            report.indexes.push(told);
        }
    }
    if args.json {
        cx.ui.result(&serde_json::to_string_pretty(&report)?);
    }
    Ok(Outcome::Fine)
}

/// The repository that the base of an image came from, if it came from one.
pub fn origin(finished: &Finished<'_>) -> Option<Reference> {
    let origin: Reference = finished.origin.parse().ok()?;
    // `scratch` reads like a name, too.
    origin.digest().is_some().then_some(origin)
}

/// A push that mounts what the repositories before it, or the base's own, have.
fn push_to<'a>(
    cx: &'a Cx,
    registry: &'a Registry,
    to: &'a Reference,
    origins: &[Reference],
    before: &[Reference],
) -> Push<'a> {
    registry
        .push_to(cx, to)
        .mounting(before.iter().chain(origins).cloned())
        .journal(Journal::at(cx.root.join(JOURNAL)))
}

/// Blobs, documents, tags that do not move, tags that do.
fn publish(cx: &Cx, push: &Push<'_>, to: &Reference, publications: &[Publication], kept: &[Kept]) -> Result<()> {
    push.blobs(&Content::of_indexes(publications.iter().map(|one| &one.index)))?;
    publications.iter().try_for_each(|one| push.documents(&one.index))?;
    let exact = publications.iter().flat_map(Publication::exact);
    let floating = publications.iter().flat_map(|one| one.floating(kept));
    for (tag, document) in exact.chain(floating) {
        let what = match push.tag(tag, document)? {
            Tagged::Same => continue,
            Tagged::New => String::new(),
            Tagged::Moved(from) => format!(" (was {from})"),
        };
        cx.ui.step("Tagged", &format!("{}:{tag}{what}", to.name()));
    }
    for Kept { tag, newer } in kept {
        cx.ui.note(&format!(
            "{}:{tag} stays where it is: {newer} is newer (--move-back moves it)",
            to.name()
        ));
    }
    Ok(())
}

/// Where to: the command line's, else those of xtask.toml.
fn repositories(policy: &Policy, args: &PushArgs) -> Result<Vec<Reference>> {
    let (named, from) = match args.repositories.is_empty() {
        true => (&policy.push.repositories, "xtask.toml, [push] repositories"),
        false => (&args.repositories, "--repository"),
    };
    if named.is_empty() {
        return Err(Error::new("nothing says where the images go")
            .hint("name it: --repository docker.io/USER/blog, or `repositories` in [push] of xtask.toml"));
    }
    let mut found: Vec<Reference> = Vec::new();
    for text in named {
        let reference: Reference = text.parse().context(|| from.to_owned()).hint(
            "a repository is written as for docker: docker.io/USER/blog, ghcr.io/USER/blog, localhost:5000/blog",
        )?;
        let last = text.rsplit('/').next().unwrap_or_default();
        if last.contains([':', '@']) && text.contains('/') || reference.digest().is_some() {
            return Err(Error::new(format!("{from}: `{text}` has a tag"))
                .hint("leave it out: the version gives the tags, or --tag does"));
        }
        if !found.iter().any(|known| known.name() == reference.name()) {
            found.push(reference);
        }
    }
    Ok(found)
}

fn image_args(policy: &Policy, args: &PushArgs) -> ImageArgs {
    let or = |bases: &Vec<Base>, default: &Vec<Base>| {
        if bases.is_empty() {
            default.clone()
        } else {
            bases.clone()
        }
    };
    ImageArgs {
        bases: or(&args.bases, &policy.push.bases),
        where_possible: args.platforms.is_empty(),
        platforms: match args.platforms.is_empty() {
            true => policy.push.platforms.clone(),
            false => args.platforms.clone(),
        },
        builder: args.builder,
        sqlite: args.sqlite.clone(),
        ..ImageArgs::default()
    }
}

/// The tags of each base. No two bases may claim the same.
fn all_tags(policy: &Policy, args: &PushArgs, plan: &Plan) -> Result<BTreeMap<Base, Tags>> {
    let mut bases: BTreeMap<Base, Vec<_>> = BTreeMap::new();
    for image in &plan.images {
        bases.entry(image.base).or_default().push(image.platform);
    }
    let alone = bases.len() == 1 && !args.tags.is_empty();
    let named = |(base, platforms): (Base, Vec<_>)| {
        let plain = alone || base == policy.push.default_base;
        let tags = tags(&plan.source.version, &args.tags, base, plain, &platforms).map_err(Error::new)?;
        Ok((base, tags))
    };
    let all: BTreeMap<Base, Tags> = bases.into_iter().map(named).collect::<Result<_>>()?;
    let mut seen = BTreeMap::new();
    for (base, tags) in &all {
        for tag in tags.all() {
            if let Some(other) = seen.insert(tag, *base).filter(|other| other != base) {
                return Err(
                    Error::new(format!("the tag `{tag}` would name images of {other} and of {base}"))
                        .hint("choose another --tag"),
                );
            }
        }
    }
    Ok(all)
}

/// What is published can be made again from the commit that it names.
fn clean(plan: &Plan, args: &PushArgs) -> Result<()> {
    let revision = plan.source.revision.as_deref();
    if args.allow_dirty || args.dry_run || revision.is_some_and(|revision| !revision.ends_with("-dirty")) {
        return Ok(());
    }
    let why = match revision {
        Some(_) => "files differ from the commit that the images would name",
        None => "git names no commit that the images are made of",
    };
    Err(Error::new(format!("{why}: nobody could make them again")).hint("commit first, or say --allow-dirty"))
}

fn publications(finished: &[Finished<'_>], mut tags: BTreeMap<Base, Tags>) -> Result<Vec<Publication>> {
    let mut images: BTreeMap<Base, Vec<&Finished<'_>>> = BTreeMap::new();
    for one in finished {
        images.entry(one.planned.base).or_default().push(one);
    }
    let publication = |(base, images): (Base, Vec<&Finished<'_>>)| {
        Ok(Publication {
            base,
            index: indexed(&images)?,
            tags: tags.remove(&base).unwrap_or_default(),
        })
    };
    images.into_iter().map(publication).collect()
}

/// The index of images, with the attestations of each: in the index, and as referrers.
pub fn indexed(images: &[&Finished<'_>]) -> Result<ImageIndex> {
    let mut attached = Vec::new();
    for one in images {
        let manifest = one.image.manifest();
        attached.push(manifest::attached(&one.attestation, manifest.digest()).map_err(Error::new)?);
        attached.extend(manifest::referrers(&one.attestation, manifest).map_err(Error::new)?);
    }
    let images = images.iter().map(|one| one.image.clone()).collect();
    Ok(ImageIndex::with_attached(images, attached)?)
}

fn tell(to: &Reference, publication: &Publication, kept: &[Kept]) -> Result<Told> {
    let digest = publication.index.blob().digest();
    let tag = publication.tags.exact.last().context(|| "an index without a tag")?;
    let images = publication.index.images().iter().map(|image| {
        let tags = publication.tags.platforms.iter();
        let tags = tags.filter(|(platform, _)| *platform == image.platform());
        TellImage {
            platform: image.platform().to_string(),
            digest: image.manifest().digest(),
            tags: tags.map(|(_, tag)| tag.clone()).collect(),
        }
    });
    let attached = publication.index.attached().iter();
    let moved: Vec<String> = publication.floating(kept).map(|(tag, _)| tag.to_owned()).collect();
    let own = |kept: &&Kept| publication.tags.floating.contains(&kept.tag);
    Ok(Told {
        repository: to.name(),
        base: publication.base,
        reference: format!("{}@{digest}", to.with_tag(tag)?),
        digest,
        tags: [&publication.tags.exact[..], &moved].concat(),
        kept: kept.iter().filter(own).cloned().collect(),
        images: images.collect(),
        attached: attached.map(|attached| attached.manifest().digest()).collect(),
    })
}
