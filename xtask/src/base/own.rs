//! A base of the user's own (`--base-image`): an image from anywhere, or the tar of a root file system.
//!
//! Blobs stay as they are wherever they can be pulled as they are. A tar that is not in gzip is put into gzip, with the tar
//! inside untouched: engines before 23.0 read nothing newer, and whiteouts, links, attributes and owners come through whole.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use lzma_rust2::XzReader;
use serde_json::json;

use super::Resolved;
use super::content::{fits, inspect};
use super::found::{Found, Input, Want};
use super::pulled;
use crate::cx::Cx;
use crate::error::{Context, Error, Result};
use crate::oci::layer::{Layer, Limits, decompress, without_sparse};
use crate::oci::layout::load_image;
use crate::oci::location::Location;
use crate::oci::{Digest, Image, media};
use crate::publish::{archive, layout};
use crate::target::{Base, Platform};

/// Memory that an xz stream may ask for, in KiB: `xz -9` needs 65 MiB.
const XZ_MEMORY: u32 = 128 << 10;
const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What lies at `location` (`path` is where that is on this machine) as the base `base` for `platform`: refused when programs
/// for that base would not start on it.
pub fn resolve(cx: &Cx, location: &Location, path: &Path, base: Base, platform: Platform) -> Result<Resolved> {
    let mut found = open(cx, location, path, base, platform)?;
    let (tree, libraries) = inspect(&mut found)?;
    fits(base, platform, &tree, &libraries).map_err(|error| error.context(location.to_string()))?;
    Ok(Resolved::of(found))
}

/// Opens what lies at `location` for `platform`.
fn open(cx: &Cx, location: &Location, path: &Path, base: Base, platform: Platform) -> Result<Found> {
    cx.ui.step("Reading", &location.to_string());
    let limits = Limits::default();
    match location {
        Location::OciLayout(_) => {
            let image = load_image(&layout::open(path)?, None, platform, &limits)?;
            Ok(of_image(&image, "image"))
        }
        Location::DockerArchive(_) => {
            let image = load_image(&archive::open(path)?, None, platform, &limits)?;
            Ok(of_image(&image, "image"))
        }
        Location::Registry(reference) => pulled::image(cx, reference, base, platform, Want::Newest),
        Location::RootFileSystem(_) => root_file_system(path, &limits),
    }
}

/// A finished image as a base.
fn of_image(image: &Image, what: &str) -> Found {
    let digest = image.manifest().digest();
    Found {
        layers: image.layers().to_vec(),
        config: image.config_json(),
        // Not where it lay: that would put a path of this machine into the image.
        origin: format!("{what} {digest}"),
        packages: Vec::new(),
        owners: Default::default(),
        glibc: None,
        inputs: vec![Input {
            name: what.to_owned(),
            version: String::new(),
            architecture: String::new(),
            archive: None,
            file: String::new(),
            digest: digest.to_string(),
            size: image.pull_size(),
        }],
        date: String::new(),
    }
}

fn root_file_system(path: &Path, limits: &Limits) -> Result<Found> {
    let shown = path.display();
    let mut bytes = Vec::new();
    File::open(path)
        .context(|| format!("cannot read {shown}"))
        .hint("--base-image takes oci:PATH, docker-archive:PATH, docker://REFERENCE, or the path of a root file system's tar")?
        .take(limits.bytes + 1)
        .read_to_end(&mut bytes)
        .context(|| format!("cannot read {shown}"))?;
    if bytes.len() as u64 > limits.bytes {
        return Err(Error::new(format!(
            "{shown} is larger than {} bytes, which no base of this product may be",
            limits.bytes
        )));
    }
    let digest = Digest::of(&bytes);
    let origin = format!("root file system {digest}");
    let size = bytes.len() as u64;
    let layer = layer(bytes, &origin, limits).map_err(|error| {
        error.context(shown.to_string()).hint(
            "is it a tar (plain, gzip, xz or zstd) of a root file system? devices stay out: `tar --exclude=./dev/*`",
        )
    })?;
    Ok(Found {
        layers: vec![layer],
        config: json!({"config": {"Env": [PATH]}}),
        origin,
        packages: Vec::new(),
        owners: Default::default(),
        glibc: None,
        inputs: vec![Input {
            name: "root file system".to_owned(),
            version: String::new(),
            architecture: String::new(),
            archive: None,
            file: String::new(),
            digest: digest.to_string(),
            size,
        }],
        date: String::new(),
    })
}

/// One layer of a tar: the blob itself if it is in gzip and nothing has to be changed.
fn layer(bytes: Vec<u8>, origin: &str, limits: &Limits) -> Result<Layer> {
    let gzip = bytes.starts_with(&[0x1f, 0x8b]);
    let tar = match &bytes[..] {
        [0x1f, 0x8b, ..] => decompress(&bytes, media::LAYER_GZIP, limits)?,
        [0x28, 0xb5, 0x2f, 0xfd, ..] => decompress(&bytes, media::LAYER_ZSTD, limits)?,
        [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => {
            let mut tar = Vec::new();
            XzReader::new_mem_limit(&bytes[..], true, XZ_MEMORY)
                .take(limits.bytes + 1)
                .read_to_end(&mut tar)
                .context(|| "it cannot be decompressed")?;
            tar
        }
        _ => decompress(&bytes, media::LAYER_TAR, limits)?,
    };
    let plain = without_sparse(&tar, limits)?;
    let layer = match plain {
        None if gzip => Layer::from_blob(bytes, media::LAYER_GZIP, origin, limits)?,
        None => Layer::from_tar(&tar, origin, limits)?,
        Some(tar) => Layer::from_tar(&tar, origin, limits)?,
    };
    if layer.entries(limits)?.is_empty() {
        return Err(Error::new("it has no files"));
    }
    Ok(layer)
}
