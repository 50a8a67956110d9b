//! The plan: everything that `cargo xtask image` will do, decided before anything is done. Pure and serialisable;
//! `--dry-run` prints it, and the run follows the same value.

pub mod tags;

use std::collections::BTreeSet;
use std::fmt::{self, Write};

use serde::{Deserialize, Serialize};

use crate::oci::{Destination, ImageName, Location};
use crate::policy::{Policy, SqliteChoice};
use crate::target::{Base, Platform, Target};
use crate::workspace::Facts;

/// Where `std` comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StdSource {
    /// The component `rust-std-<triple>`.
    Prebuilt,
    /// `-Zbuild-std` from the component `rust-src`; the stable compiler is asked for it with RUSTC_BOOTSTRAP=1.
    Source,
}

impl fmt::Display for StdSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            StdSource::Prebuilt => "prebuilt",
            StdSource::Source => "source",
        })
    }
}

/// `--std`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum StdChoice {
    /// The component if it is there or can be added, else from source.
    Auto,
    /// The component or an error.
    Prebuilt,
    /// From source.
    Source,
}

/// Where the program is compiled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Builder {
    /// By cargo on this machine.
    Host,
    /// In a container of the builder image.
    Docker,
}

impl Builder {
    /// For people: `on the host`.
    fn place(self) -> &'static str {
        match self {
            Builder::Host => "on the host",
            Builder::Docker => "with docker",
        }
    }
}

impl fmt::Display for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Builder::Host => "host",
            Builder::Docker => "docker",
        })
    }
}

/// What the user asked for, with nothing defaulted yet.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// `--base`, in order.
    pub bases: Vec<Base>,
    /// `--platform`, in order.
    pub platforms: Vec<Platform>,
    /// `--to`.
    pub destinations: Vec<Destination>,
    /// `--load`.
    pub load: bool,
    /// `--with`.
    pub with: Vec<String>,
    /// `--base-image`.
    pub base_image: Option<Location>,
    /// `--std`.
    pub std: Option<StdChoice>,
    /// `platforms` are a wish that nobody wrote out: what a base has no program for is left out.
    pub where_possible: bool,
    /// What `--builder` comes to; the host when nothing is said.
    pub builder: Option<Builder>,
    /// `--sqlite`.
    pub sqlite: Option<SqliteChoice>,
}

/// All the work of one run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Plan {
    /// Version of this structure.
    pub schema: u32,
    /// Cargo package and binary.
    pub package: String,
    /// Binary target of the package.
    pub binary: String,
    /// Cargo profile.
    pub profile: String,
    /// Where everything is compiled.
    pub builder: Builder,
    /// Which SQLite the program is linked with.
    #[serde(default)]
    pub sqlite: SqliteChoice,
    /// The source, as it will be labelled.
    pub source: Facts,
    /// Triples to compile, each once.
    pub compile: Vec<CompilePlan>,
    /// Images to make, in the order of the index.
    pub images: Vec<ImagePlan>,
}

/// One compilation.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CompilePlan {
    /// Rust target triple.
    pub triple: String,
    /// How std is to be had.
    pub std: StdChoice,
    /// What that comes to here and now; `None` when rustup has to be asked first.
    pub std_now: Option<StdSource>,
}

/// One image.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ImagePlan {
    /// Base by name.
    pub base: Base,
    /// OCI platform.
    pub platform: Platform,
    /// Triple of the binary in it.
    pub triple: String,
    /// Repository name and tag: `blog:scratch-armv6`.
    pub name: ImageName,
    /// Libraries that the binary may need.
    pub needed: Vec<String>,
    /// Packages added to the base.
    pub with: Vec<String>,
    /// A base of the user's own, in the place of the one that the sources give.
    pub base_image: Option<Location>,
    /// Compressed bytes it may have.
    pub budget: Option<u64>,
    /// Where it goes.
    pub destinations: Vec<Destination>,
}

impl ImagePlan {
    /// `scratch-armv6`: tag, directory name.
    pub fn tag(&self) -> String {
        image_tag(self.base, self.platform)
    }

    /// The row of its triple; `None` in a plan that was not made by [`resolve`].
    pub fn target(&self) -> Option<&'static Target> {
        Target::from_triple(&self.triple)
    }
}

/// Tag and directory name of an image.
pub fn image_tag(base: Base, platform: Platform) -> String {
    format!("{base}-{}", platform.slug())
}

/// Resolves a request. `std_now` tells what std of a triple comes to on this machine.
///
/// # Errors
/// When the request contradicts itself, in words for the user.
pub fn resolve(
    request: &Request,
    policy: &Policy,
    facts: &Facts,
    std_now: impl Fn(&str, StdChoice) -> Option<StdSource>,
) -> Result<Plan, String> {
    let bases = unique(if request.bases.is_empty() {
        &policy.defaults.bases
    } else {
        &request.bases
    });
    let platforms = unique(if request.platforms.is_empty() {
        &policy.defaults.platforms
    } else {
        &request.platforms
    });
    if !request.with.is_empty() && !bases.contains(&Base::Debian) {
        let names: Vec<&str> = bases.iter().map(|base| base.name()).collect();
        return Err(format!(
            "--with adds packages of Debian's archive, and {} takes none: add `--base debian`",
            names.join(" or ")
        ));
    }
    if let Some(image) = &request.base_image {
        match request.bases[..] {
            [base] if base != Base::Scratch => {}
            _ => {
                return Err(format!(
                    "--base-image {image}: say with one --base which kind it is (alpine for static programs; raspbian or \
                     debian for those that need glibc)"
                ));
            }
        }
        if !request.with.is_empty() {
            return Err("--with adds packages of Debian's archive, and cannot do so to --base-image".to_owned());
        }
    }
    let mut images = Vec::new();
    for &base in &bases {
        for &platform in &platforms {
            let Some(target) = base.target(platform) else {
                if request.where_possible && base.platforms().any(|platform| platforms.contains(&platform)) {
                    continue;
                }
                let known: Vec<String> = base.platforms().map(|platform| platform.to_string()).collect();
                return Err(format!(
                    "there is no base {base} for {platform}, only for {}: for {platform} take `--base debian`",
                    known.join(", ")
                ));
            };
            let tag = image_tag(base, platform);
            let name = ImageName::new(&policy.image.name, &tag).map_err(|error| format!("[image] name: {error}"))?;
            let mut destinations = request.destinations.clone();
            if request.load {
                destinations.push(Destination::DockerDaemon(name.clone()));
            }
            // Twice the same is once.
            let mut seen = BTreeSet::new();
            destinations.retain(|to| seen.insert(to.to_string()));
            if destinations.is_empty() {
                destinations.push(Destination::OciLayout(format!("target/images/{tag}")));
            }
            images.push(ImagePlan {
                base,
                platform,
                triple: target.triple.to_owned(),
                name,
                needed: policy.needed(base).to_vec(),
                with: if base == Base::Debian {
                    request.with.clone()
                } else {
                    Vec::new()
                },
                base_image: request.base_image.clone(),
                budget: policy.budget.get(&base).map(|budget| budget.pull),
                destinations,
            });
        }
    }
    if images.len() > 1
        && request
            .destinations
            .iter()
            .any(|to| matches!(to, Destination::DockerDaemon(_)))
    {
        return Err(
            "--to docker-daemon:NAME names one image, and this makes several: use --load, which gives each its own tag"
                .to_owned(),
        );
    }
    if bases.len() > 1
        && let Some(Destination::Registry(reference)) = request
            .destinations
            .iter()
            .find(|to| matches!(to, Destination::Registry(_)))
    {
        return Err(format!(
            "--to docker://{reference} names the images of one base, and this makes several: use `cargo xtask push`, which gives \
             each base its own tags"
        ));
    }
    let sqlite = request.sqlite.clone().unwrap_or_else(|| policy.defaults.sqlite.clone());
    let builder = request.builder.unwrap_or(Builder::Host);
    let std = request.std.unwrap_or(StdChoice::Auto);
    let triples: BTreeSet<&str> = images.iter().map(|image| image.triple.as_str()).collect();
    let compile = triples
        .into_iter()
        .map(|triple| CompilePlan {
            triple: triple.to_owned(),
            std,
            std_now: std_now(triple, std),
        })
        .collect();
    Ok(Plan {
        schema: 1,
        package: policy.image.package.clone(),
        binary: policy.image.binary.clone(),
        profile: "release".to_owned(),
        builder,
        sqlite,
        source: facts.clone(),
        compile,
        images,
    })
}

fn unique<T: Copy + Ord>(items: &[T]) -> Vec<T> {
    items.iter().copied().collect::<BTreeSet<T>>().into_iter().collect()
}

impl Plan {
    /// The plan in words, one line a step.
    pub fn text(&self) -> String {
        let mut text = String::new();
        let source = &self.source;
        let revision = source.revision.as_deref().unwrap_or("no revision");
        let _ = writeln!(
            text,
            "source   {} {} ({revision}), SOURCE_DATE_EPOCH={}",
            self.package, source.version, source.source_date_epoch
        );
        for compile in &self.compile {
            let std = match compile.std_now {
                Some(source) => format!("std: {source}"),
                None => "std: by rustup, else built from rust-src".to_owned(),
            };
            let sqlite = match &self.sqlite {
                SqliteChoice::Bundled => String::new(),
                other => format!(", SQLite: {other}"),
            };
            let _ = writeln!(
                text,
                "compile  {} --bin {} for {} {} ({std}{sqlite})",
                self.package,
                self.binary,
                compile.triple,
                self.builder.place()
            );
        }
        for compile in &self.compile {
            let _ = writeln!(text, "audit    {}/{}", compile.triple, self.binary);
        }
        for image in &self.images {
            let with = if image.with.is_empty() {
                String::new()
            } else {
                format!(" with {}", image.with.join(", "))
            };
            let from = image.base_image.as_ref().map(|image| format!(" from {image}"));
            let _ = writeln!(
                text,
                "assemble {} for {} on {}{with}{}",
                image.name,
                image.platform,
                image.base,
                from.unwrap_or_default()
            );
            for destination in &image.destinations {
                let _ = writeln!(text, "publish  {} to {destination}", image.name);
            }
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy() -> Policy {
        Policy::parse(include_str!("../../xtask.toml")).unwrap()
    }

    fn facts() -> Facts {
        Facts {
            version: "0.1.0".into(),
            revision: Some("abc".into()),
            source_date_epoch: 7,
        }
    }

    fn none(_: &str, _: StdChoice) -> Option<StdSource> {
        None
    }

    #[test]
    fn nothing_asked_for_means_a_scratch_image_for_the_zero() {
        let plan = resolve(&Request::default(), &policy(), &facts(), none).unwrap();
        insta::assert_snapshot!(plan.text(), @r"
        source   blog 0.1.0 (abc), SOURCE_DATE_EPOCH=7
        compile  blog --bin blog for arm-unknown-linux-musleabihf on the host (std: by rustup, else built from rust-src)
        audit    arm-unknown-linux-musleabihf/blog
        assemble blog:scratch-armv6 for linux/arm/v6 on scratch
        publish  blog:scratch-armv6 to oci:target/images/scratch-armv6
        ");
    }

    #[test]
    fn a_triple_is_compiled_once_and_the_order_is_that_of_the_index() {
        let request = Request {
            bases: vec![Base::Debian, Base::Scratch, Base::Debian],
            platforms: vec![Platform::Amd64, Platform::ArmV6],
            ..Request::default()
        };
        let plan = resolve(&request, &policy(), &facts(), |_, _| Some(StdSource::Source)).unwrap();
        let tags: Vec<String> = plan.images.iter().map(ImagePlan::tag).collect();
        assert_eq!(tags, ["scratch-armv6", "scratch-amd64", "debian-armv6", "debian-amd64"]);
        assert_eq!(plan.compile.len(), 4);
    }

    #[test]
    fn the_plan_survives_json() {
        let plan = resolve(
            &Request {
                load: true,
                ..Request::default()
            },
            &policy(),
            &facts(),
            none,
        )
        .unwrap();
        let text = serde_json::to_string(&plan).unwrap();
        let again: Plan = serde_json::from_str(&text).unwrap();
        assert_eq!(again.text(), plan.text());
    }

    #[test]
    fn another_sqlite_is_in_the_plan() {
        let request = Request {
            sqlite: Some("./sysroot".parse().unwrap()),
            ..Request::default()
        };
        let plan = resolve(&request, &policy(), &facts(), none).unwrap();
        assert!(plan.text().contains(", SQLite: ./sysroot)"), "{}", plan.text());
        let again: Plan = serde_json::from_str(&serde_json::to_string(&plan).unwrap()).unwrap();
        assert_eq!(again.sqlite, SqliteChoice::Own("./sysroot".to_owned()));
    }

    #[test]
    fn raspbian_is_for_the_zero_alone() {
        let request = |platform| Request {
            bases: vec![Base::Raspbian],
            platforms: vec![platform],
            ..Request::default()
        };
        let plan = resolve(&request(Platform::ArmV6), &policy(), &facts(), none).unwrap();
        assert_eq!(plan.images[0].triple, "arm-unknown-linux-gnueabihf");
        let error = resolve(&request(Platform::ArmV7), &policy(), &facts(), none).unwrap_err();
        assert_eq!(
            error,
            "there is no base raspbian for linux/arm/v7, only for linux/arm/v6: for linux/arm/v7 take `--base debian`"
        );
    }

    #[test]
    fn a_base_of_the_users_own_needs_its_kind() {
        let request = |bases: &[Base]| Request {
            bases: bases.to_vec(),
            base_image: Some("./rootfs.tar".parse().unwrap()),
            ..Request::default()
        };
        let plan = resolve(&request(&[Base::Debian]), &policy(), &facts(), none).unwrap();
        assert!(
            plan.text().contains("for linux/arm/v6 on debian from ./rootfs.tar"),
            "{}",
            plan.text()
        );
        for bases in [&[][..], &[Base::Scratch], &[Base::Alpine, Base::Debian]] {
            let error = resolve(&request(bases), &policy(), &facts(), none).unwrap_err();
            assert!(error.contains("which kind it is"), "{error}");
        }
    }

    #[test]
    fn a_registry_takes_the_platforms_of_one_base() {
        let request = |bases: &[Base]| Request {
            bases: bases.to_vec(),
            platforms: vec![Platform::ArmV6, Platform::Arm64],
            destinations: vec!["docker://localhost:5000/blog:1".parse().unwrap()],
            ..Request::default()
        };
        let plan = resolve(&request(&[Base::Scratch]), &policy(), &facts(), none).unwrap();
        assert_eq!(plan.images.len(), 2);
        let error = resolve(&request(&[Base::Scratch, Base::Alpine]), &policy(), &facts(), none).unwrap_err();
        assert!(error.contains("use `cargo xtask push`"), "{error}");
        // What nobody wrote out is left out where a base has no program for it; what nobody has is an error all the same.
        let wish = |platforms: &[Platform]| Request {
            bases: vec![Base::Raspbian],
            platforms: platforms.to_vec(),
            where_possible: true,
            ..Request::default()
        };
        let plan = resolve(&wish(&Platform::ALL), &policy(), &facts(), none).unwrap();
        assert_eq!(plan.images.len(), 1);
        assert!(resolve(&wish(&[Platform::Amd64]), &policy(), &facts(), none).is_err());
    }

    #[test]
    fn packages_for_scratch_are_refused() {
        let request = Request {
            with: vec!["busybox".into()],
            ..Request::default()
        };
        let error = resolve(&request, &policy(), &facts(), none).unwrap_err();
        assert!(error.contains("--base debian"), "{error}");
    }
}
