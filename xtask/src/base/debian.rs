//! The `debian` base: packages of Debian's archive, unpacked into one layer that depends on nothing else.

use std::collections::BTreeMap;
use std::fs;

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::apt::{self, Request};
use super::exclude::Excludes;
use super::found::{Found, Want};
use super::lock;
use super::rootfs::{RULES_VERSION, Rootfs, glibc_version};
use crate::cache::{key_of, write_atomically};
use crate::cx::Cx;
use crate::deb::Deb;
use crate::error::{Context, Error, Result};
use crate::oci::image::Package;
use crate::oci::layer::{Layer, LayerBuilder, Limits};
use crate::oci::media;
use crate::policy::DebianPolicy;
use crate::target::Platform;

/// Flags that concern this base.
#[derive(Clone, Copy, Debug)]
pub struct Options<'a> {
    /// Packages on top of the policy's (`--with`).
    pub with: &'a [String],
    /// `URL[,SECURITY_URL]` instead of the host's mirror (`--debian-mirror`).
    pub mirror: Option<&'a str>,
    /// Which versions.
    pub want: Want<'a>,
}

impl Default for Options<'_> {
    fn default() -> Self {
        Options {
            with: &[],
            mirror: None,
            want: Want::Last,
        }
    }
}

/// The base, ready to be built upon.
#[derive(Clone, Debug)]
pub struct DebianBase {
    /// The one layer.
    pub layer: Layer,
    /// What it consists of, sorted by name.
    pub packages: Vec<apt::Deb>,
    /// glibc's upstream version: `2.41`.
    pub glibc: String,
    /// For people: `Debian trixie armel, 9 packages`.
    pub origin: String,
    /// The package of each file and link.
    pub owners: BTreeMap<String, String>,
    /// The day of the signed release: `2026-09-12`.
    pub date: String,
}

/// What the cache keeps beside the layer.
#[derive(Debug, Serialize, Deserialize)]
struct Sheet {
    digest: String,
    diff_id: String,
    glibc: String,
    packages: Vec<apt::Deb>,
    owners: BTreeMap<String, String>,
}

/// Resolves, fetches and packs the base; with a warm cache it only reads one file.
pub fn build(cx: &Cx, platform: Platform, policy: &DebianPolicy, options: Options<'_>) -> Result<DebianBase> {
    let mut packages = policy.packages.clone();
    for name in options.with {
        if !is_package_name(name) {
            return Err(Error::new(format!("--with {name}: not the name of a package"))
                .hint("Debian's package names are lower-case letters, digits, `+`, `-` and `.`"));
        }
        if !packages.contains(name) {
            packages.push(name.clone());
        }
    }
    let request = Request {
        suite: &policy.suite,
        aliases: &policy.aliases,
        architecture: platform.debian_architecture(),
        packages: &packages,
        omit: &policy.omit,
        mirror: options.mirror,
    };
    let (resolution, date) = match options.want {
        Want::Locked(inputs) => (apt::locked(request.suite, request.architecture, inputs)?, String::new()),
        want => {
            let resolution = apt::resolve(cx, &request, want == Want::Newest)?;
            let date = release_day(&resolution.release)?;
            (resolution, date)
        }
    };
    let glibc = glibc_version(
        resolution
            .packages
            .iter()
            .map(|package| (package.name.as_str(), package.version.as_str())),
    )?;
    let mut key: Vec<&str> = vec![RULES_VERSION];
    key.extend(resolution.packages.iter().map(|package| package.sha256.as_str()));
    for (mark, patterns) in [("exclude", &policy.exclude), ("keep", &policy.keep)] {
        key.push(mark);
        key.extend(patterns.iter().map(String::as_str));
    }
    let key = key_of(key);
    let origin = format!(
        "Debian {} {}, {} packages",
        resolution.suite,
        resolution.architecture,
        resolution.packages.len()
    );
    for _ in 0..2 {
        let tree = cx.cache.tree("base-debian", &key, |dir| {
            let paths = apt::fetch(cx, &request, &resolution)?;
            cx.ui.step("Unpacking", &origin);
            let excludes = Excludes::new(&policy.exclude, &policy.keep);
            let packages: Vec<(&str, &str)> = resolution
                .packages
                .iter()
                .map(|package| (package.name.as_str(), package.version.as_str()))
                .collect();
            let (layer, owners) = pack(cx, &excludes, &packages, &paths, &origin)?;
            let sheet = Sheet {
                digest: layer.digest().to_string(),
                diff_id: layer.diff_id().to_string(),
                glibc: glibc.clone(),
                packages: resolution.packages.clone(),
                owners,
            };
            write_atomically(&dir.join("layer.tar.gz"), layer.blob())?;
            write_atomically(&dir.join("base.json"), &serde_json::to_vec_pretty(&sheet)?)
        })?;
        match open(&tree, &origin) {
            Ok((layer, sheet)) => {
                return Ok(DebianBase {
                    layer,
                    packages: sheet.packages,
                    glibc: sheet.glibc,
                    origin,
                    owners: sheet.owners,
                    date,
                });
            }
            Err(error) => {
                cx.ui.warn(&format!("{error}; making it again"));
                fs::remove_dir_all(&tree).context(|| format!("cannot remove {}", tree.display()))?;
            }
        }
    }
    Err(Error::new(format!(
        "{origin}: what was just written to the cache cannot be read back"
    ))
    .hint("is the disk failing? choose another with --cache-dir DIR"))
}

/// The base as a source gives it. With [`Want::Locked`] the date is empty: the lock knows it.
pub fn found(cx: &Cx, platform: Platform, policy: &DebianPolicy, options: Options<'_>) -> Result<Found> {
    let debian = build(cx, platform, policy, options)?;
    let package = |deb: &apt::Deb| Package {
        name: deb.name.clone(),
        version: deb.version.clone(),
        architecture: deb.architecture.clone(),
    };
    Ok(Found {
        packages: debian.packages.iter().map(package).collect(),
        inputs: debian.packages.iter().map(apt::Deb::input).collect(),
        layers: vec![debian.layer],
        config: json!({"config": {"Env": [PATH]}}),
        origin: debian.origin,
        owners: debian.owners,
        glibc: Some(debian.glibc),
        date: debian.date,
    })
}

/// The search path of Debian's shells, for images that have none.
pub(super) const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The day in `13.7, Sat, 12 Sep 2026 07:55:41 UTC`.
pub(super) fn release_day(release: &str) -> Result<String> {
    release
        .split_once(", ")
        .and_then(|(_, date)| lock::day_of_rfc5322(date))
        .context(|| format!("the signed release has no date that can be read: {release}"))
}

fn open(tree: &std::path::Path, origin: &str) -> Result<(Layer, Sheet)> {
    let sheet = fs::read(tree.join("base.json")).context(|| format!("cannot read {}", tree.display()))?;
    let sheet: Sheet = serde_json::from_slice(&sheet).context(|| format!("damaged: {}", tree.display()))?;
    let path = tree.join("layer.tar.gz");
    let blob = fs::read(&path).context(|| format!("cannot read {}", path.display()))?;
    let digest = crate::oci::Digest::of(&blob).to_string();
    if digest != sheet.digest {
        return Err(Error::new(format!("damaged in the cache: {}", path.display())));
    }
    let layer = Layer::from_blob(blob, media::LAYER_GZIP, origin, &Limits::default())?;
    if layer.diff_id().to_string() != sheet.diff_id {
        return Err(Error::new(format!("damaged in the cache: {}", path.display())));
    }
    Ok((layer, sheet))
}

/// One layer of packages (name and version), from their files in the same order.
pub(super) fn pack(
    cx: &Cx,
    excludes: &Excludes,
    packages: &[(&str, &str)],
    paths: &[std::path::PathBuf],
    origin: &str,
) -> Result<(Layer, BTreeMap<String, String>)> {
    let mut unpacked = Vec::new();
    for ((name, version), path) in packages.iter().zip(paths) {
        let bytes = fs::read(path).context(|| format!("cannot read {}", path.display()))?;
        let deb = Deb::read(&format!("{name} {version}"), &bytes)?;
        if deb.field("Package").as_deref() != Some(name) || deb.field("Version").as_deref() != Some(version) {
            return Err(Error::new(format!(
                "the file of {name} {version} says that it is {} {}",
                deb.field("Package").unwrap_or_default(),
                deb.field("Version").unwrap_or_default()
            )));
        }
        for path in deb.setuid() {
            cx.ui
                .warn(&format!("/{path} of {name} runs with the rights of its owner"));
        }
        unpacked.push(((*name).to_owned(), deb));
    }
    let tree = Rootfs::assemble(&unpacked, excludes)?;
    let mut builder = LayerBuilder::new(tree.latest());
    for entry in tree.entries().values() {
        builder.add(entry.clone())?;
    }
    Ok((builder.finish(origin)?, tree.owners().clone()))
}

/// Debian policy 5.6.7: at least two characters, the first a letter or digit.
fn is_package_name(name: &str) -> bool {
    name.len() >= 2
        && name.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
        && name
            .chars()
            .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "+-.".contains(c))
}

#[cfg(test)]
mod tests {
    use super::is_package_name;

    #[test]
    fn a_package_name_cannot_be_an_option_or_a_request_to_remove() {
        assert!(is_package_name("libstdc++6") && is_package_name("0ad"));
        for bad in [
            "", "x", "-y", "Busybox", "a b", "x=1", "x/sid", "../x", "x:armhf", "x,y",
        ] {
            assert!(!is_package_name(bad), "{bad}");
        }
    }
}
