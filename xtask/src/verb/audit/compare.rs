//! `cargo xtask audit --compare A B`: what two programs, images or file trees have differently.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use serde::Serialize;

use crate::cx::Cx;
use crate::error::{Context, Error, Result};
use crate::oci::claims::Claim;
use crate::oci::layer::Limits;
use crate::oci::layout::load;
use crate::oci::{Digest, Image};
use crate::source::stream::decompress;
use crate::source::{self, LARGEST_FILE, Opened, Rootfs, Source, Store};
use crate::target::Platform;
use crate::verb::{Outcome, place};
use crate::verify::compare::text::text;
use crate::verify::compare::{Difference, Headers, Kind, images, only, programs, tars};

/// What a file or an image of a registry is for when nothing is said.
const DEFAULT: Platform = Platform::ArmV6;

/// Two things, and what of them differs.
#[derive(Debug, Serialize)]
struct Compared {
    /// As given.
    a: String,
    /// As given.
    b: String,
    /// Whether every byte that counts is the same.
    equal: bool,
    /// What both are when they are equal.
    #[serde(skip_serializing_if = "Option::is_none")]
    same: Option<String>,
    /// All of them, the first first.
    differences: Vec<Difference>,
}

/// Prints what differs; exit code 1 when something does.
///
/// # Errors
/// When one of the two cannot be read, or they are of kinds that cannot be compared.
pub fn run(cx: &Cx, a: &str, b: &str, platform: Option<Platform>, json: bool) -> Result<Outcome> {
    let open = |text: &str| {
        let source = text.parse::<Source>().map_err(Error::new)?;
        let opened = source::open(cx, &source, platform.unwrap_or(DEFAULT), &|path| place(cx, path))?;
        Ok::<_, Error>((source, opened))
    };
    let (x, y) = (open(a)?, open(b)?);
    let (same, differences) = match (&x.1, &y.1) {
        (Opened::File(ours), Opened::File(theirs)) => files(ours, theirs)?,
        (Opened::Images(ours), Opened::Images(theirs)) => stores(cx, (&x.0, ours), (&y.0, theirs), platform)?,
        (Opened::Rootfs(ours), Opened::Rootfs(theirs)) => trees(ours, theirs)?,
        (ours, theirs) => {
            return Err(
                Error::new(format!("{} is {}, and {} is {}", x.0, kind(ours), y.0, kind(theirs)))
                    .hint("compare a program with a program, an image with an image, a file tree with a file tree"),
            );
        }
    };
    let compared = Compared {
        a: x.0.to_string(),
        b: y.0.to_string(),
        equal: differences.is_empty(),
        same: differences.is_empty().then_some(same),
        differences,
    };
    if json {
        cx.ui.result(&serde_json::to_string_pretty(&compared)?);
    } else if let Some(same) = &compared.same {
        cx.ui.result(&format!("equal: {same}"));
    } else {
        let count = compared.differences.len();
        let what = if count == 1 { "difference" } else { "differences" };
        cx.ui.result(&format!(
            "A {}\nB {}\n{count} {what} (A / B):\n",
            compared.a, compared.b
        ));
        cx.ui.result(text(&compared.differences).trim_end());
    }
    Ok(match compared.equal {
        true => Outcome::Fine,
        false => Outcome::Findings,
    })
}

fn kind(opened: &Opened) -> &'static str {
    match opened {
        Opened::Images(_) => "an image",
        Opened::Rootfs(_) => "a file tree",
        Opened::File(_) => "a file",
    }
}

fn files(a: &Path, b: &Path) -> Result<(String, Vec<Difference>)> {
    let (x, y) = (read(a)?, read(b)?);
    let named = |path: &Path| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let (ours, theirs) = (named(a), named(b));
    let title = match ours == theirs {
        true => ours,
        false => format!("{ours} / {theirs}"),
    };
    let found = programs(&title, &x, &y).map_err(|(first, error)| {
        let path = if first { a } else { b };
        Error::new(format!("{}: {error}", path.display())).hint(format!(
            "expected an ELF file, or {}; `cmp` compares other files",
            source::SCHEMES
        ))
    })?;
    Ok((format!("{} bytes, {}", x.len(), Digest::of(&x)), found))
}

fn read(path: &Path) -> Result<Vec<u8>> {
    let cannot = || format!("cannot read {}", path.display());
    let mut bytes = Vec::new();
    let file = File::open(path).context(cannot)?;
    file.take(LARGEST_FILE + 1).read_to_end(&mut bytes).context(cannot)?;
    if bytes.len() as u64 > LARGEST_FILE {
        return Err(Error::new(format!(
            "{} has more than {LARGEST_FILE} bytes",
            path.display()
        )));
    }
    Ok(bytes)
}

/// Trees. Two tars are compared byte for byte; what a directory has of its own, owners and times, says nothing of it.
fn trees(a: &Rootfs, b: &Rootfs) -> Result<(String, Vec<Difference>)> {
    let limits = Limits::default();
    if let (Rootfs::Tar(ours), Rootfs::Tar(theirs)) = (a, b) {
        let (x, y) = (unpacked(ours, &limits)?, unpacked(theirs, &limits)?);
        let same = format!("a tar of {} bytes, {}", x.len(), Digest::of(&x));
        return Ok((same, tars("tar", &x, &y, Headers::All)));
    }
    let tar = |tree: &Rootfs| match tree {
        Rootfs::Tar(path) => unpacked(path, &limits),
        Rootfs::Directory(path) => {
            let layer = tree.layer(0, &limits)?;
            crate::oci::layer::decompress(layer.blob(), layer.media_type(), &limits)
                .context(|| format!("cannot pack {}", path.display()))
        }
    };
    let (x, y) = (tar(a)?, tar(b)?);
    let same = "the same tree: paths, kinds, modes as far as a program may be run, and contents".to_owned();
    Ok((same, tars("tree", &x, &y, Headers::Tree)))
}

/// The tar, which was read to its end.
fn unpacked(path: &Path, limits: &Limits) -> Result<Vec<u8>> {
    let name = path.display().to_string();
    Rootfs::Tar(path.to_owned()).walk(&source::Bounds::default(), &mut |_| Ok(()))?;
    let mut bytes = Vec::new();
    let file = File::open(path).context(|| format!("cannot read {name}"))?;
    decompress(file)
        .and_then(|reader| reader.take(limits.bytes + 1).read_to_end(&mut bytes))
        .context(|| format!("cannot unpack {name}"))?;
    if bytes.len() as u64 > limits.bytes {
        return Err(Error::new(format!(
            "{name} unpacks to more than {} bytes",
            limits.bytes
        )));
    }
    Ok(bytes)
}

/// The images of two stores: with one each that pair, else those of the same platform, and among several of a platform those of
/// the same tag.
fn stores(
    cx: &Cx,
    a: (&Source, &Store),
    b: (&Source, &Store),
    platform: Option<Platform>,
) -> Result<(String, Vec<Difference>)> {
    let (ours, theirs) = (chosen(cx, a, platform)?, chosen(cx, b, platform)?);
    if let ([x], [y]) = (&ours[..], &theirs[..]) {
        let (x, y) = (image(a, x)?, image(b, y)?);
        return Ok((same(&x), images(&x, &y)));
    }
    let mut all: Vec<String> = Vec::new();
    let several = [&ours, &theirs].into_iter().any(|claims| {
        claims
            .iter()
            .any(|claim| claims.iter().filter(|other| other.said == claim.said).count() > 1)
    });
    for claim in ours.iter().chain(&theirs) {
        let key = key(claim, several);
        if !all.contains(&key) {
            all.push(key);
        }
    }
    let mut found = Vec::new();
    let mut equal = Vec::new();
    for wanted in all {
        let of = |claims: &[Claim]| claims.iter().find(|claim| key(claim, several) == wanted).cloned();
        let title = format!("image for {}", wanted.trim_end());
        match (of(&ours), of(&theirs)) {
            (Some(x), Some(y)) => {
                let (x, y) = (image(a, &x)?, image(b, &y)?);
                let differences = images(&x, &y);
                if differences.is_empty() {
                    equal.push(same(&x));
                }
                found.extend(differences.into_iter().map(|difference| Difference {
                    place: format!("{title}, {}", difference.place),
                    ..difference
                }));
            }
            (x, _) => found.push(only(Kind::Entry, title, "the image", x.is_some())),
        }
    }
    Ok((equal.join(", "), found))
}

/// What makes two images a pair.
fn key(claim: &Claim, several: bool) -> String {
    match several {
        true => format!("{} {}", claim.said, claim.tag.clone().unwrap_or_default()),
        false => claim.said.clone(),
    }
}

fn same(image: &Image) -> String {
    format!("the image {}", image.manifest().digest())
}

fn chosen(cx: &Cx, (source, store): (&Source, &Store), platform: Option<Platform>) -> Result<Vec<Claim>> {
    let claims = store.claims()?;
    for skipped in &claims.skipped {
        cx.ui.warn(&format!("{source}: not compared: {skipped}"));
    }
    let said: Vec<String> = claims.images.iter().map(|claim| claim.said.clone()).collect();
    let fits = |claim: &Claim| platform.is_none_or(|wanted| claim.platform == Some(wanted));
    let chosen: Vec<Claim> = claims.images.into_iter().filter(fits).collect();
    match (chosen.is_empty(), platform) {
        (false, _) => Ok(chosen),
        (true, Some(wanted)) if !said.is_empty() => Err(Error::new(format!(
            "{source} has no image for {wanted}; there are: {}",
            said.join(", ")
        ))
        .hint("leave `--platform` out to compare all that both have")),
        _ => Err(Error::new(format!("there is no image in {source}")).hint("make one: `cargo xtask image`")),
    }
}

fn image((source, store): (&Source, &Store), claim: &Claim) -> Result<Image> {
    let platform = claim
        .platform
        .context(|| {
            format!(
                "{source}: {} is for {}, which this product does not know",
                claim.title(),
                claim.said
            )
        })
        .hint("`--platform` chooses among several images")?;
    load(store, &claim.manifest, platform, &Limits::default()).context(|| format!("{source}: {}", claim.title()))
}
