//! Manifests and indexes as registries send them, and the choice of a platform. No effects here.

use serde::Deserialize;

use crate::error::{Context, Error, Result};
use crate::oci::image::REFERENCE_TYPE;
use crate::oci::{Digest, media};
use crate::target::Platform;

/// Longest manifest or index that is read: what registries accept (distribution-spec, 4 MiB).
pub const LONGEST: u64 = 4 << 20;
/// What is asked for.
pub const ACCEPT: [&str; 4] = [
    media::INDEX,
    media::MANIFEST,
    media::DOCKER_INDEX,
    media::DOCKER_MANIFEST,
];

/// Which variants of `arm` will do.
///
/// An `arm` without a variant is v7 (containerd/platforms, `normalizeArch`), so it never stands for v6.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Variants {
    /// The platform's own. What an image is built on should say what it is.
    #[default]
    Exact,
    /// Also older ones, as an engine takes them: v6 for v7, then v5 for both. v5 is Debian's soft-float `armel`.
    Older,
}

/// A descriptor.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// Media type of the blob.
    #[serde(default)]
    pub media_type: String,
    /// Digest of the blob.
    pub digest: Digest,
    /// Bytes of the blob.
    pub size: u64,
    /// For what it is, in an index.
    #[serde(default)]
    pub platform: Option<PlatformOf>,
    /// Annotations.
    #[serde(default)]
    pub annotations: std::collections::BTreeMap<String, String>,
}

/// `platform` of a descriptor, and the same members of a configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct PlatformOf {
    /// `linux`.
    #[serde(default)]
    pub os: String,
    /// `arm`.
    #[serde(default)]
    pub architecture: String,
    /// `v6`.
    #[serde(default)]
    pub variant: String,
}

impl std::fmt::Display for PlatformOf {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        if !self.variant.is_empty() {
            write!(f, "/{}", self.variant)?;
        }
        Ok(())
    }
}

impl PlatformOf {
    /// How good it is for `wanted`: 0 is exact, more is older; `None` will not do.
    fn rank(&self, wanted: Platform, variants: Variants) -> Option<usize> {
        if self.os != wanted.os() || self.architecture != wanted.architecture() {
            return None;
        }
        let order: &[&str] = match wanted {
            Platform::ArmV6 => &["v6", "v5"],
            Platform::ArmV7 => &["v7", "v6", "v5"],
            Platform::Arm64 => &["v8"],
            Platform::Amd64 => &["v1"],
        };
        let variant = match (wanted, self.variant.as_str()) {
            (Platform::ArmV6 | Platform::ArmV7, "") => "v7",
            (Platform::Arm64, "") => "v8",
            (Platform::Amd64, "") => "v1",
            (_, variant) => variant,
        };
        let rank = order.iter().position(|known| *known == variant)?;
        (rank == 0 || variants == Variants::Older).then_some(rank)
    }
}

/// A manifest or an index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Document {
    /// Several images.
    Index(Vec<Descriptor>),
    /// One image.
    Manifest {
        /// Its configuration.
        config: Descriptor,
        /// Its layers, lowest first.
        layers: Vec<Descriptor>,
    },
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Raw {
    #[serde(default)]
    schema_version: u32,
    #[serde(default)]
    media_type: String,
    manifests: Option<Vec<Descriptor>>,
    config: Option<Descriptor>,
    layers: Option<Vec<Descriptor>>,
    fs_layers: Option<serde_json::Value>,
}

impl Document {
    /// Reads one. `content_type` is the registry's word for it, if it is known; it must not contradict the document's own.
    pub fn parse(bytes: &[u8], content_type: Option<&str>) -> Result<Document> {
        let raw: Raw = serde_json::from_slice(bytes).context(|| "it is no manifest")?;
        if raw.schema_version == 1 || raw.fs_layers.is_some() {
            return Err(
                Error::new("it is a manifest of schema 1, which has no digests to rely on")
                    .hint("pull it with an old Docker, and push it with a new one"),
            );
        }
        if raw.schema_version != 2 {
            return Err(Error::new(format!(
                "its schemaVersion is {}, and 2 is understood",
                raw.schema_version
            )));
        }
        let content_type = content_type.map(|text| text.split(';').next().unwrap_or_default().trim());
        let said = match (raw.media_type.as_str(), content_type) {
            ("", content_type) => content_type.unwrap_or_default(),
            // Some proxies and file servers say what they say for all JSON.
            (own, Some(other)) if ACCEPT.contains(&other) && other != own => {
                return Err(Error::new(format!(
                    "it says that it is {own}, and the registry that it is {other}"
                )));
            }
            (own, _) => own,
        };
        // A document that can be read both ways would be one image to us and another to somebody else (CVE-2021-41190).
        let known = |index: bool| match said {
            media::INDEX | media::DOCKER_INDEX => index,
            media::MANIFEST | media::DOCKER_MANIFEST => !index,
            // Without a media type its shape decides.
            "" | "application/json" => true,
            _ => false,
        };
        match (raw.manifests, raw.config, raw.layers) {
            (Some(manifests), None, None) if known(true) => Ok(Document::Index(manifests)),
            (None, Some(config), Some(layers)) if known(false) => Ok(Document::Manifest { config, layers }),
            (Some(_), _, Some(_)) | (Some(_), Some(_), _) => Err(Error::new(
                "it is an index and a manifest at once, which cannot be trusted",
            )),
            _ => Err(Error::new(format!("it is no image and no index (`{said}`)"))),
        }
    }
}

/// The best entry of an index for a platform. Attestations and what is unknown are passed over.
pub fn choose(entries: &[Descriptor], wanted: Platform, variants: Variants) -> Result<&Descriptor> {
    let runnable: Vec<&Descriptor> = entries
        .iter()
        .filter(|entry| !entry.annotations.contains_key(REFERENCE_TYPE))
        .collect();
    let ranked = runnable.iter().filter_map(|entry| {
        let rank = entry.platform.as_ref()?.rank(wanted, variants)?;
        Some((rank, *entry))
    });
    // The first of equals, as engines take it.
    if let Some((_, entry)) = ranked.min_by_key(|(rank, _)| *rank) {
        return Ok(entry);
    }
    let mut found: Vec<String> = runnable
        .iter()
        .map(|entry| match &entry.platform {
            Some(platform) => platform.to_string(),
            None => "one without a platform".to_owned(),
        })
        .collect();
    found.dedup();
    let has = |text: &str| found.iter().any(|found| found == text);
    let error = Error::new(match found.is_empty() {
        true => format!("it has nothing for {wanted}: the index is empty"),
        false => format!("it has nothing for {wanted}; there are: {}", found.join(", ")),
    });
    Err(match wanted {
        Platform::ArmV6 if has("linux/arm/v5") && variants == Variants::Exact => error.hint(
            "linux/arm/v5 would run on this chip, without its floating point unit; it is taken only where asked for",
        ),
        Platform::ArmV6 if has("linux/arm/v7") || has("linux/arm") => error.hint(
            "an `arm` without a variant means v7, and v7 does not run on an ARMv6 chip: Alpine has v6, Debian has not",
        ),
        _ => error,
    })
}

/// Holds the platform of a configuration against what was chosen. Returns whether the configuration itself says all of it:
/// old images have the variant in the index alone.
pub fn agrees(config: &PlatformOf, listed: Option<&PlatformOf>, wanted: Platform, variants: Variants) -> Result<bool> {
    if config.rank(wanted, variants).is_some() && listed.is_none_or(|listed| listed.rank(wanted, variants).is_some()) {
        // Both say so, but do they say the same?
        let same = listed.is_none_or(|listed| listed.rank(wanted, variants) == config.rank(wanted, variants));
        return match (same, listed) {
            (false, Some(listed)) => Err(Error::new(format!(
                "its configuration says {config}, the index {listed}: one of them is wrong"
            ))),
            _ => Ok(true),
        };
    }
    if let Some(listed) = listed {
        let silent = config.variant.is_empty() && config.os == listed.os && config.architecture == listed.architecture;
        if silent {
            return Ok(false);
        }
        return Err(Error::new(format!(
            "its configuration says {config}, the index {listed}: one of them is wrong"
        )));
    }
    let error = Error::new(format!("it is for {config}, and {wanted} is wanted"));
    Err(match config.variant.is_empty() && config.architecture == "arm" {
        true => error.hint("an `arm` without a variant means v7"),
        false => error,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn index(platforms: &[&str]) -> Vec<Descriptor> {
        let entry = |(number, platform): (usize, &&str)| {
            let mut parts = platform.split('/').map(str::to_owned);
            let mut next = || parts.next().unwrap_or_default();
            Descriptor {
                media_type: media::MANIFEST.to_owned(),
                digest: Digest::of(&[number as u8]),
                size: 1,
                platform: Some(PlatformOf {
                    os: next(),
                    architecture: next(),
                    variant: next(),
                }),
                annotations: Default::default(),
            }
        };
        platforms.iter().enumerate().map(entry).collect()
    }

    fn chosen(platforms: &[&str], wanted: Platform, variants: Variants) -> Option<usize> {
        let entries = index(platforms);
        let found = choose(&entries, wanted, variants).ok()?.digest;
        entries.iter().position(|entry| entry.digest == found)
    }

    #[test]
    fn v6_takes_v6_and_never_v7() {
        use Variants::{Exact, Older};
        let alpine = ["linux/amd64", "linux/arm/v6", "linux/arm/v7", "linux/arm64/v8"];
        let debian = ["linux/amd64", "linux/arm/v5", "linux/arm/v7", "linux/arm64/v8"];
        assert_eq!(chosen(&alpine, Platform::ArmV6, Exact), Some(1));
        assert_eq!(chosen(&alpine, Platform::ArmV7, Exact), Some(2));
        assert_eq!(chosen(&alpine, Platform::Arm64, Exact), Some(3));
        assert_eq!(chosen(&alpine, Platform::Amd64, Exact), Some(0));
        assert_eq!(chosen(&debian, Platform::ArmV6, Exact), None);
        assert_eq!(chosen(&debian, Platform::ArmV6, Older), Some(1));
        assert_eq!(
            chosen(&["linux/arm/v5", "linux/arm/v6"], Platform::ArmV6, Older),
            Some(1)
        );
        assert_eq!(
            chosen(&["linux/arm/v5", "linux/arm/v6"], Platform::ArmV7, Older),
            Some(1)
        );
        for bad in [
            "linux/arm",
            "linux/arm/v7",
            "linux/arm/v8",
            "linux/arm64",
            "windows/arm/v6",
            "linux/arm/V6",
            "unknown/unknown",
        ] {
            assert_eq!(chosen(&[bad], Platform::ArmV6, Older), None, "{bad}");
        }
        // Without a variant it is v7, and the first of equals is taken.
        assert_eq!(chosen(&["linux/arm", "linux/arm/v7"], Platform::ArmV7, Exact), Some(0));
        // amd64/v3 has instructions that not every PC has.
        assert_eq!(chosen(&["linux/amd64/v3"], Platform::Amd64, Older), None);
        assert_eq!(chosen(&[], Platform::ArmV6, Older), None);
    }

    #[test]
    fn what_is_missing_is_said_with_what_is_there() {
        let error = choose(
            &index(&["linux/arm/v7", "linux/arm64"]),
            Platform::ArmV6,
            Variants::Exact,
        )
        .unwrap_err();
        assert_eq!(
            error.to_string(),
            "it has nothing for linux/arm/v6; there are: linux/arm/v7, linux/arm64"
        );
        assert!(error.next_step().unwrap().contains("means v7"));
        let error = choose(&index(&["linux/arm/v5"]), Platform::ArmV6, Variants::Exact).unwrap_err();
        assert!(error.next_step().unwrap().contains("linux/arm/v5 would run"));
    }

    #[test]
    fn attestations_are_no_images() {
        let mut entries = index(&["linux/arm/v6", "linux/arm/v6"]);
        entries[0]
            .annotations
            .insert(REFERENCE_TYPE.to_owned(), "attestation-manifest".to_owned());
        let found = choose(&entries, Platform::ArmV6, Variants::Exact).unwrap();
        assert_eq!(found.digest, entries[1].digest);
    }

    #[test]
    fn configuration_and_index_must_agree() {
        let of = |text: &str| index(&[text])[0].platform.clone().unwrap();
        let check = |config: &str, listed: Option<&str>, wanted| {
            agrees(&of(config), listed.map(of).as_ref(), wanted, Variants::Older)
        };
        assert!(check("linux/arm/v6", Some("linux/arm/v6"), Platform::ArmV6).unwrap());
        assert!(check("linux/arm/v6", None, Platform::ArmV6).unwrap());
        // Old images say it in the index alone.
        assert!(!check("linux/arm", Some("linux/arm/v6"), Platform::ArmV6).unwrap());
        for (config, listed) in [
            ("linux/arm/v7", Some("linux/arm/v6")),
            ("linux/arm/v5", Some("linux/arm/v6")),
            ("linux/amd64", Some("linux/arm/v6")),
            ("linux/arm", None),
            ("linux/arm/v7", None),
        ] {
            assert!(check(config, listed, Platform::ArmV6).is_err(), "{config} {listed:?}");
        }
        assert!(check("linux/arm64", Some("linux/arm64/v8"), Platform::Arm64).unwrap());
    }

    #[test]
    fn documents_are_what_they_say() {
        let descriptor = json!({"mediaType": media::MANIFEST, "digest": Digest::of(b"").to_string(), "size": 0});
        let read = |value: serde_json::Value, content_type: Option<&str>| {
            Document::parse(&serde_json::to_vec(&value).unwrap(), content_type)
        };
        let index = json!({"schemaVersion": 2, "mediaType": media::INDEX, "manifests": [descriptor]});
        assert!(matches!(read(index.clone(), None), Ok(Document::Index(list)) if list.len() == 1));
        assert!(read(index.clone(), Some("application/json")).is_ok());
        assert!(read(index.clone(), Some(&format!("{}; charset=utf-8", media::INDEX))).is_ok());
        let bare = json!({"schemaVersion": 2, "manifests": []});
        assert!(read(bare.clone(), Some(media::DOCKER_INDEX)).is_ok() && read(bare, None).is_ok());
        let error = |value, content_type| read(value, content_type).unwrap_err().to_string();
        assert!(error(index, Some(media::MANIFEST)).contains("and the registry that it is"));
        let both = json!({"schemaVersion": 2, "manifests": [], "config": descriptor, "layers": []});
        assert!(error(both, None).contains("at once"));
        assert!(error(json!({"schemaVersion": 1, "fsLayers": []}), None).contains("schema 1"));
        assert!(error(json!({"schemaVersion": 3}), None).contains("schemaVersion is 3"));
        let wrong = json!({"schemaVersion": 2, "mediaType": media::MANIFEST, "manifests": []});
        assert!(error(wrong, None).contains("no image and no index"));
        let chart = json!({"schemaVersion": 2, "mediaType": "x/y", "config": descriptor, "layers": []});
        assert!(error(chart, None).contains("`x/y`"));
        assert!(Document::parse(b"<html>", None).is_err());
    }
}
