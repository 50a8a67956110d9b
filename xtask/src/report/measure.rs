//! From an image to its figures.

use std::collections::BTreeMap;

use super::packages::Owners;
use super::program::Attribution;
use super::stream::{Extent, ExtentKind, StreamError, extents, positions};
use super::{Bandwidth, Deploy, ImageSize, LayerSize, PartName, PartSize, Program, Share, ShareKind, deploy, program};
use crate::oci::layer::{EntryKind, LayerError, Limits, decompress};
use crate::oci::{Image, Layer, Tree};

/// The largest group of files that no package owns is a directory of this depth: `usr/share`.
const DEPTH: usize = 2;

/// Why an image could not be measured.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MeasureError {
    /// A layer that cannot be read.
    #[error(transparent)]
    Layer(#[from] LayerError),
    /// A layer whose stream cannot be divided.
    #[error(transparent)]
    Stream(#[from] StreamError),
}

/// What is measured, and what is known about it beside its bytes.
#[derive(Clone, Debug)]
pub struct Subject<'a> {
    /// Its name in the layout, or the digest.
    pub name: String,
    /// The image.
    pub image: &'a Image,
    /// The base's name, if it is one of ours.
    pub base: Option<String>,
    /// `[budget]` for the whole pull.
    pub budget: Option<u64>,
}

/// A layer, taken apart.
struct Apart<'a> {
    layer: &'a Layer,
    part: PartName,
    length: u64,
    entries: Vec<Extent>,
}

/// Measures one image. `attribute` says which crates the program's code came from, given its path and bytes, or why that is not
/// known.
pub fn measure(
    subject: &Subject<'_>,
    bandwidth: Bandwidth,
    attribute: &dyn Fn(&str, &[u8]) -> Attribution,
    limits: &Limits,
) -> Result<ImageSize, MeasureError> {
    let image = subject.image;
    let tree = Tree::from_layers(image.layers(), limits)?;
    let owners = Owners::of(&tree);
    let base_layers = image.base_layers().len();
    let mut apart = Vec::new();
    for (index, layer) in image.layers().iter().enumerate() {
        let tar = decompress(layer.blob(), layer.media_type(), limits)?;
        apart.push(Apart {
            layer,
            part: if index < base_layers {
                PartName::Base
            } else {
                PartName::App
            },
            length: tar.len() as u64,
            entries: extents(&tar)?,
        });
    }
    let mut layers = Vec::new();
    let mut shares = Shares::default();
    for apart in &apart {
        layers.push(shares.add(apart, &owners)?);
    }
    let size = |part| PartSize {
        compressed: layers
            .iter()
            .filter(|layer| layer.part == part)
            .map(|layer| layer.compressed)
            .sum(),
        unpacked: layers
            .iter()
            .filter(|layer| layer.part == part)
            .map(|layer| layer.unpacked)
            .sum(),
    };
    let documents = (image.config().bytes().len() + image.manifest().bytes().len()) as u64;
    let sizes = |part: Option<PartName>| -> Vec<(u64, u64)> {
        let wanted = apart.iter().filter(|apart| part.is_none_or(|part| part == apart.part));
        wanted
            .map(|apart| (apart.layer.size(), deploy::blocks(&apart.entries)))
            .collect()
    };
    let config = image.config_json();
    let label = |key: &str| config["config"]["Labels"][key].as_str();
    let source: Vec<&str> = ["org.opencontainers.image.version", "org.opencontainers.image.revision"]
        .into_iter()
        .filter_map(label)
        .filter(|text| !text.is_empty())
        .collect();
    let app_size = size(PartName::App);
    Ok(ImageSize {
        image: subject.name.clone(),
        platform: image.platform().to_string(),
        digest: image.manifest().digest().to_string(),
        base: subject.base.clone(),
        origin: label("xtask.base").map(str::to_owned),
        source: (!source.is_empty()).then(|| source.join(" ")),
        pull: image.pull_size(),
        update: documents + app_size.compressed,
        documents,
        base_size: size(PartName::Base),
        app_size,
        budget: subject.budget,
        layers,
        shares: shares.sorted(),
        program: find_program(&config, &tree, &apart, attribute)?,
        deploy: Deploy {
            first: deploy::pull(bandwidth, documents, &sizes(None)),
            update: deploy::pull(bandwidth, documents, &sizes(Some(PartName::App))),
            unpack: None,
        },
    })
}

/// Shares by part, kind and name.
#[derive(Default)]
struct Shares(BTreeMap<(PartName, ShareKind, String), Share>);

impl Shares {
    fn add(&mut self, apart: &Apart<'_>, owners: &Owners) -> Result<LayerSize, MeasureError> {
        let layer = apart.layer;
        let ends: Vec<u64> = apart.entries.iter().map(|entry| entry.end).collect();
        let (cost, division) = positions(layer.blob(), layer.media_type(), apart.length, &ends)?;
        let (mut before, mut unpacked, mut files) = (0, 0, 0);
        for (entry, after) in apart.entries.iter().zip(cost) {
            let size = match entry.kind {
                ExtentKind::File => entry.data.end - entry.data.start,
                _ => 0,
            };
            files += u64::from(entry.kind == ExtentKind::File);
            unpacked += size;
            let (kind, name, version) = match owners.owner(&entry.path) {
                Some(package) => (ShareKind::Package, package.name.clone(), Some(package.version.clone())),
                None if entry.kind != ExtentKind::File => (ShareKind::Links, "directories and links".to_owned(), None),
                None if apart.part == PartName::App => (ShareKind::Files, entry.path.clone(), None),
                None => (ShareKind::Files, directory(&entry.path), None),
            };
            self.put(apart.part, kind, name, version, (1, after - before, size));
            before = after;
        }
        let rest = layer.size() - before;
        self.put(
            apart.part,
            ShareKind::Framing,
            "end of archive and stream".to_owned(),
            None,
            (0, rest, 0),
        );
        Ok(LayerSize {
            digest: layer.digest().to_string(),
            diff_id: layer.diff_id().to_string(),
            part: apart.part,
            compressed: layer.size(),
            unpacked,
            files,
            division,
        })
    }

    fn put(&mut self, part: PartName, kind: ShareKind, name: String, version: Option<String>, sums: (u64, u64, u64)) {
        let share = self.0.entry((part, kind, name.clone())).or_insert(Share {
            part,
            kind,
            name,
            version,
            entries: 0,
            compressed: 0,
            unpacked: 0,
        });
        share.entries += sums.0;
        share.compressed += sums.1;
        share.unpacked += sums.2;
    }

    fn sorted(self) -> Vec<Share> {
        let mut shares: Vec<Share> = self.0.into_values().collect();
        shares.sort_by(|a, b| (a.part, b.compressed, a.kind, &a.name).cmp(&(b.part, a.compressed, b.kind, &b.name)));
        shares
    }
}

/// `usr/share/zoneinfo/UTC` -> `usr/share`; a file nearer to the root stands for itself.
fn directory(path: &str) -> String {
    let parts: Vec<&str> = path.split('/').collect();
    parts[..DEPTH.min(parts.len().saturating_sub(1)).max(1)].join("/")
}

/// The file that an engine starts, in the uppermost layer that has it.
fn find_program(
    config: &serde_json::Value,
    tree: &Tree,
    apart: &[Apart<'_>],
    attribute: &dyn Fn(&str, &[u8]) -> Attribution,
) -> Result<Option<Program>, MeasureError> {
    let named = ["Entrypoint", "Cmd"]
        .iter()
        .find_map(|key| config["config"][key][0].as_str());
    let Some(path) = named.and_then(|named| tree.resolve(named, true)) else {
        return Ok(None);
    };
    let Some(EntryKind::File(bytes)) = tree.get(&path).map(|entry| &entry.kind) else {
        return Ok(None);
    };
    let place = |apart: &Apart<'_>| {
        let found = apart
            .entries
            .iter()
            .rfind(|entry| entry.path == path && entry.kind == ExtentKind::File)?;
        Some(found.data.clone())
    };
    let Some((apart, place)) = apart.iter().rev().find_map(|apart| Some((apart, place(apart)?))) else {
        // Only another name of a hard link: which of them its bytes were spent on would be arbitrary.
        return Ok(None);
    };
    let cost = |ends: &[u64]| -> Result<Vec<u64>, StreamError> {
        let ends: Vec<u64> = std::iter::once(&0).chain(ends).map(|end| place.start + end).collect();
        let layer = apart.layer;
        positions(layer.blob(), layer.media_type(), apart.length, &ends).map(|(found, _)| found)
    };
    Ok(Some(program::account(&path, bytes, attribute(&path, bytes), &cost)?))
}

#[cfg(test)]
mod tests {
    use super::directory;

    #[test]
    fn files_without_a_package_are_grouped_by_directory() {
        assert_eq!(directory("usr/share/zoneinfo/UTC"), "usr/share");
        assert_eq!(directory("etc/ssl/certs"), "etc/ssl");
        assert_eq!(directory("etc/passwd"), "etc");
        assert_eq!(directory("init"), "init");
    }
}
