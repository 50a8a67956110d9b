//! A base out of a registry: pulled by digest, its layers and configuration as they are.

use serde::{Deserialize, Serialize};

use super::content::{fits, inspect};
use super::found::{Found, Input, Want};
use super::lock;
use crate::cache::key_of;
use crate::cx::Cx;
use crate::error::{Context, Error, Result};
use crate::oci::Reference;
use crate::oci::layer::Limits;
use crate::registry::{Registry, Variants};
use crate::target::{Base, Platform};

/// What a tag meant when it was asked for last.
#[derive(Debug, Serialize, Deserialize)]
struct Meaning {
    /// Of the manifest for the platform.
    manifest: String,
}

/// The image behind `reference` (as for docker) for a platform.
///
/// The digest that is locked is that of the manifest of this platform, not of the index: an index changes whenever any of its
/// platforms does.
pub fn image(cx: &Cx, reference: &str, base: Base, platform: Platform, want: Want<'_>) -> Result<Found> {
    let reference: Reference = reference.parse().map_err(|error| {
        Error::new(format!("{error}"))
            .hint("a reference is written as for docker: alpine:3.24, docker.io/library/alpine:3.24")
    })?;
    let registry = Registry::from_environment();
    // Debian's images for this chip say v5: soft float, which is what its programs are.
    let variants = match base {
        Base::Debian => Variants::Older,
        _ => Variants::Exact,
    };
    let key = key_of([reference.to_string(), platform.to_string()]);
    let remembered: Option<Meaning> = match want {
        Want::Last => cx.cache.record("pulled", &key),
        _ => None,
    };
    let pinned = match (want, remembered) {
        (Want::Locked(inputs), _) => with_digest(&reference, &locked(inputs)?)?,
        (_, Some(meaning)) => with_digest(&reference, &meaning.manifest)?,
        _ => {
            cx.ui.step("Resolving", &format!("{reference} for {platform}"));
            let resolved = registry.resolve(cx, &reference, platform, variants)?;
            reference.with_digest(resolved.manifest)
        }
    };
    let pulled = registry.pull(cx, &pinned, platform, variants)?;
    let manifest = pulled.resolved.manifest;
    if !matches!(want, Want::Locked(_)) {
        let meaning = Meaning {
            manifest: manifest.to_string(),
        };
        cx.cache.put_record("pulled", &key, &meaning)?;
    }
    let image = pulled.to_base(&Limits::default())?;
    let size = pulled.manifest.len() as u64;
    let created = image.config["created"].as_str().unwrap_or_default();
    let date = created.get(..10).filter(|day| lock::day_number(day).is_some());
    let input = Input {
        name: reference.name(),
        version: reference.tag().unwrap_or_default().to_owned(),
        architecture: platform.to_string(),
        archive: None,
        file: String::new(),
        digest: manifest.to_string(),
        size,
    };
    let mut found = Found {
        // With the digest, so that the label says which of all images that ever had this tag.
        origin: pinned.to_string(),
        // Images that are made reproducibly may say 1970 or nothing: their age is not known then.
        date: date.unwrap_or("1970-01-01").to_owned(),
        layers: image.layers,
        config: image.config,
        packages: Vec::new(),
        owners: Default::default(),
        glibc: None,
        inputs: vec![input],
    };
    let (tree, libraries) = inspect(&mut found)?;
    fits(base, platform, &tree, &libraries).map_err(|error| error.context(pinned.to_string()))?;
    Ok(found)
}

fn locked(inputs: &[Input]) -> Result<String> {
    match inputs {
        [input] => Ok(input.digest.clone()),
        _ => Err(Error::new(format!("{}: the entry does not name one image", lock::FILE))),
    }
}

fn with_digest(reference: &Reference, digest: &str) -> Result<Reference> {
    let digest = digest
        .parse()
        .context(|| format!("{}: {reference} is not locked by a SHA-256", lock::FILE))?;
    Ok(reference.with_digest(digest))
}
