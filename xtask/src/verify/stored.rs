//! Everything that a store has under one index: each blob is read to its end, once, and held against whatever names it.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read};

use serde::Deserialize;
use serde_json::Value;

use super::{Report, Rule};
use crate::oci::claims::Claim;
use crate::oci::digest::DigestReader;
use crate::oci::image::{REFERENCE_DIGEST, REFERENCE_TYPE};
use crate::oci::layout::{CONTAINERD_NAME, DEPTH, Descriptor, REF_NAME, platform_of, shown};
use crate::oci::{Digest, media};

/// Longest index, manifest or configuration that is read.
const JSON: u64 = 4 << 20;
/// Longest attestation that is read.
pub const ATTESTATION: u64 = 64 << 20;
/// Most bytes that a layer may unpack to.
const UNPACKED: u64 = 64 << 30;
/// Most documents below one index.
const DOCUMENTS: usize = 4096;

const AGAIN: &str = "it was damaged where it lies or on its way: make or push it again";
const MADE: &str = "whoever made it did not make its parts together: make the image anew";

/// Where bytes come from.
pub trait Contents {
    /// `index.json`, or the one entry for what a reference names.
    fn index(&self) -> Vec<u8>;
    /// The bytes of a blob, unchecked.
    ///
    /// # Errors
    ///
    /// Why there are none.
    fn read(&self, digest: &Digest) -> Result<Box<dyn Read + '_>, String>;
    /// What is inside, whatever it is compressed with.
    ///
    /// # Errors
    ///
    /// When it cannot even be begun.
    fn unpack<'a>(&self, reader: Box<dyn Read + 'a>) -> io::Result<Box<dyn Read + 'a>>;
}

/// An image that can be looked into further.
#[derive(Clone, Debug)]
pub struct Found {
    /// What is said of it.
    pub claim: Claim,
    /// Whether every byte of its layers is what it should be.
    pub whole: bool,
}

/// A manifest that is about an image.
#[derive(Clone, Debug)]
pub struct About {
    /// The image's manifest.
    pub subject: Digest,
    /// `attestation manifest sha256:...`.
    pub object: String,
    /// Its statements: what an annotation or the media type says they are, and their bytes.
    pub statements: Vec<(String, Vec<u8>)>,
}

/// All that the index led to.
#[derive(Debug, Default)]
pub struct Stored {
    /// Images.
    pub images: Vec<Found>,
    /// What is attached to them.
    pub about: Vec<About>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Index {
    #[serde(default)]
    schema_version: u32,
    #[serde(default)]
    media_type: String,
    manifests: Vec<Descriptor>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Manifest {
    #[serde(default)]
    schema_version: u32,
    #[serde(default)]
    media_type: String,
    config: Descriptor,
    layers: Vec<Descriptor>,
    subject: Option<Descriptor>,
}

/// Reads everything below the index. What is wrong goes into the report.
pub fn check(contents: &dyn Contents, report: &mut Report) -> Stored {
    let mut walk = Walk {
        contents,
        report,
        stored: Stored::default(),
        seen: BTreeSet::new(),
        layers: BTreeMap::new(),
    };
    let bytes = contents.index();
    walk.index("index.json", &bytes, None, None, 0);
    walk.stored
}

/// Reads a manifest that is about an image, from outside any index: a referrer.
pub fn referrer(
    contents: &dyn Contents,
    descriptor: &Descriptor,
    subject: Digest,
    report: &mut Report,
) -> Option<About> {
    let mut walk = Walk {
        contents,
        report,
        stored: Stored::default(),
        seen: BTreeSet::new(),
        layers: BTreeMap::new(),
    };
    let object = format!("referrer {}", descriptor.digest);
    walk.about(&object, descriptor, subject);
    walk.stored.about.pop()
}

struct Walk<'a> {
    contents: &'a dyn Contents,
    report: &'a mut Report,
    stored: Stored,
    /// Manifests and indexes that were looked at.
    seen: BTreeSet<Digest>,
    /// Layers that were looked at: what they unpack to, and whether size and digest were right.
    layers: BTreeMap<Digest, (Result<Digest, String>, bool)>,
}

impl Walk<'_> {
    /// A document: its size and digest are checked; it is read on whatever they are, since more may be wrong.
    fn document(&mut self, object: &str, descriptor: &Descriptor, limit: u64) -> Option<Vec<u8>> {
        if descriptor.size > limit {
            let found = format!("its descriptor says {} bytes", descriptor.size);
            self.report
                .find(Rule::Size, object, found, format!("at most {limit}"), MADE);
            return None;
        }
        let mut bytes = Vec::new();
        let read = self.contents.read(&descriptor.digest).and_then(|reader| {
            let mut reader = reader.take(limit + 1);
            reader.read_to_end(&mut bytes).map_err(|error| error.to_string())
        });
        if let Err(reason) = read {
            self.report
                .find(Rule::Present, object, reason, "a blob that can be read", AGAIN);
            return None;
        }
        self.held(object, descriptor, Digest::of(&bytes), bytes.len() as u64);
        Some(bytes)
    }

    fn held(&mut self, object: &str, descriptor: &Descriptor, digest: Digest, size: u64) -> bool {
        if size != descriptor.size {
            let expected = format!("{}, as its descriptor says", descriptor.size);
            self.report
                .find(Rule::Size, object, format!("{size} bytes"), expected, AGAIN);
        }
        if digest != descriptor.digest {
            let found = format!("its content is {digest}");
            self.report
                .find(Rule::Digest, object, found, descriptor.digest.to_string(), AGAIN);
        }
        size == descriptor.size && digest == descriptor.digest
    }

    fn parse<T: serde::de::DeserializeOwned>(&mut self, object: &str, bytes: &[u8], what: &str) -> Option<T> {
        match serde_json::from_slice(bytes) {
            Ok(value) => Some(value),
            Err(error) => {
                self.report.find(Rule::Document, object, error.to_string(), what, MADE);
                None
            }
        }
    }

    /// `mediaType` may be left out, but not be another than whoever names the document says.
    fn kind(&mut self, object: &str, schema: u32, own: &str, said: &str) {
        if schema != 2 {
            self.report
                .find(Rule::Document, object, format!("schemaVersion {schema}"), "2", MADE);
        }
        if !own.is_empty() && own != said {
            self.report.find(
                Rule::Document,
                object,
                format!("mediaType `{own}`"),
                format!("`{said}`, as it is listed"),
                MADE,
            );
        }
    }

    fn index(
        &mut self,
        object: &str,
        bytes: &[u8],
        said: Option<&str>,
        above: Option<(&str, Option<&str>)>,
        depth: usize,
    ) {
        let before = self.report.findings.len();
        let Some(index) = self.parse::<Index>(object, bytes, "an image index") else {
            return;
        };
        self.kind(
            object,
            index.schema_version,
            &index.media_type,
            said.unwrap_or(media::INDEX),
        );
        let mut platforms = BTreeSet::new();
        let mut attached = false;
        let mut runnable = BTreeSet::new();
        for entry in &index.manifests {
            if entry.annotations.contains_key(REFERENCE_TYPE) {
                attached = true;
                continue;
            }
            runnable.insert(entry.digest);
            if attached {
                let found = format!("{} stands behind what is attached to images", entry.digest);
                self.report.find(
                    Rule::Order,
                    object,
                    found,
                    "images first: old engines go by the order",
                    MADE,
                );
            }
            // The names of a layout are several images for one platform; those of an index are not.
            if let Some(platform) = entry.platform.as_ref().filter(|_| said.is_some())
                && !platforms.insert(shown(platform))
            {
                let found = format!("{} is there twice", shown(platform));
                self.report.find(Rule::Order, object, found, "each platform once", MADE);
            }
        }
        let counts = (runnable.len(), index.manifests.len() - runnable.len());
        self.report
            .look(object, format!("{} listed, {} attached", counts.0, counts.1), before);
        for entry in index.manifests {
            if self.seen.len() >= DOCUMENTS {
                let found = format!("more than {DOCUMENTS} documents");
                self.report.find(Rule::Document, object, found, "fewer", MADE);
                return;
            }
            if let Some(kind) = entry.annotations.get(REFERENCE_TYPE) {
                self.attached(object, &entry, kind, &runnable);
                continue;
            }
            let named = entry
                .annotations
                .get(CONTAINERD_NAME)
                .or_else(|| entry.annotations.get(REF_NAME));
            let tag = entry.annotations.get(REF_NAME).map(String::as_str);
            let names = named.map(|name| (name.as_str(), tag)).or(above);
            match entry.media_type.as_str() {
                media::INDEX | media::DOCKER_INDEX => {
                    if !self.seen.insert(entry.digest) {
                        continue;
                    }
                    let object = format!("index {}", entry.digest);
                    if depth >= DEPTH {
                        let found = format!("nested more than {DEPTH} deep");
                        self.report.find(Rule::Document, &object, found, "fewer levels", MADE);
                    } else if let Some(bytes) = self.document(&object, &entry, JSON) {
                        self.index(&object, &bytes, Some(&entry.media_type), names, depth + 1);
                    }
                }
                media::MANIFEST | media::DOCKER_MANIFEST => self.image(&entry, names),
                other => {
                    let found = format!("`{other}`");
                    let object = format!("{object}, entry {}", entry.digest);
                    self.report
                        .find(Rule::Document, &object, found, "an image, or an index", MADE);
                }
            }
        }
    }

    /// An entry that is about another one of the same index.
    fn attached(&mut self, index: &str, entry: &Descriptor, kind: &str, runnable: &BTreeSet<Digest>) {
        let object = format!("attestation manifest {}", entry.digest);
        let before = self.report.findings.len();
        if kind != "attestation-manifest" {
            // By the rules of BuildKit, anything else is to be ignored.
            self.report
                .look(&object, format!("ignored: {REFERENCE_TYPE} is `{kind}`"), before);
            return;
        }
        let platform = entry.platform.as_ref().map(shown).unwrap_or_default();
        if platform != "unknown/unknown" {
            let found = format!("its platform is {platform}");
            self.report.find(
                Rule::Order,
                &object,
                found,
                "unknown/unknown, so that no engine takes it",
                MADE,
            );
        }
        let subject = entry.annotations.get(REFERENCE_DIGEST);
        match subject.and_then(|text| text.parse::<Digest>().ok()) {
            Some(subject) => {
                if !runnable.contains(&subject) {
                    let found = format!("it is about {subject}");
                    self.report
                        .find(Rule::Subject, &object, found, format!("an image of {index}"), MADE);
                }
                self.about(&object, entry, subject);
            }
            None => {
                let found = format!("{REFERENCE_DIGEST} names no manifest");
                self.report
                    .find(Rule::Subject, &object, found, "the digest of an image", MADE);
            }
        }
    }

    /// A manifest about an image, with its statements.
    fn about(&mut self, object: &str, entry: &Descriptor, subject: Digest) {
        let before = self.report.findings.len();
        let Some(bytes) = self.document(object, entry, JSON) else {
            return;
        };
        let Some(manifest) = self.parse::<Manifest>(object, &bytes, "a manifest") else {
            return;
        };
        self.kind(object, manifest.schema_version, &manifest.media_type, &entry.media_type);
        if let Some(other) = manifest.subject.filter(|other| other.digest != subject) {
            let found = format!("its subject is {}", other.digest);
            self.report
                .find(Rule::Subject, object, found, subject.to_string(), MADE);
        }
        self.document(
            &format!("{object}, configuration {}", manifest.config.digest),
            &manifest.config,
            JSON,
        );
        let mut statements = Vec::new();
        for layer in &manifest.layers {
            let name = format!("{object}, statement {}", layer.digest);
            if let Some(bytes) = self.document(&name, layer, ATTESTATION) {
                let kind = layer.annotations.get("in-toto.io/predicate-type");
                statements.push((kind.unwrap_or(&layer.media_type).clone(), bytes));
            }
        }
        self.report.look(
            object,
            format!("{} statements about {subject}", statements.len()),
            before,
        );
        self.stored.about.push(About {
            subject,
            object: object.to_owned(),
            statements,
        });
    }

    fn image(&mut self, entry: &Descriptor, names: Option<(&str, Option<&str>)>) {
        // A manifest under several names is one image.
        if !self.seen.insert(entry.digest) {
            return;
        }
        let object = format!("manifest {}", entry.digest);
        let before = self.report.findings.len();
        let Some(bytes) = self.document(&object, entry, JSON) else {
            self.report.look(&object, "not read", before);
            return;
        };
        let Some(manifest) = self.parse::<Manifest>(&object, &bytes, "an image manifest") else {
            self.report.look(&object, "not read", before);
            return;
        };
        self.kind(
            &object,
            manifest.schema_version,
            &manifest.media_type,
            &entry.media_type,
        );
        self.family(&object, entry, &manifest);
        self.report.look(
            &object,
            format!("{} bytes, {} layers", bytes.len(), manifest.layers.len()),
            before,
        );

        let name = format!("configuration {}", manifest.config.digest);
        let before = self.report.findings.len();
        let config = self.document(&name, &manifest.config, JSON);
        let config = config.and_then(|bytes| self.parse::<Value>(&name, &bytes, "an image configuration"));
        let Some(config) = config else {
            self.report.look(&name, "not read", before);
            for layer in &manifest.layers {
                self.layer(layer, None);
            }
            return;
        };
        let ids = config.pointer("/rootfs/diff_ids").cloned();
        let diff_ids: Option<Vec<Digest>> = ids.and_then(|ids| serde_json::from_value(ids).ok());
        self.config(&name, &config, diff_ids.as_deref(), manifest.layers.len());
        self.report.look(
            &name,
            format!("{} bytes, for {}", manifest.config.size, shown(&config)),
            before,
        );
        let mut whole = self.report.findings.len() == before;
        for (number, layer) in manifest.layers.iter().enumerate() {
            let diff_id = diff_ids.as_ref().and_then(|ids| ids.get(number)).copied();
            whole &= self.layer(layer, diff_id);
        }
        self.stored.images.push(Found {
            claim: Claim {
                name: names.map(|(name, _)| name.to_owned()),
                tag: names.and_then(|(_, tag)| tag).map(str::to_owned),
                entry: entry.platform.as_ref().map(shown),
                manifest: entry.clone(),
                said: shown(&config),
                platform: platform_of(&config),
                config,
                config_digest: manifest.config.digest,
                layers: manifest.layers,
                diff_ids: diff_ids.unwrap_or_default(),
            },
            whole,
        });
    }

    /// Some registries refuse an image with Docker's types in OCI's manifest.
    fn family(&mut self, object: &str, entry: &Descriptor, manifest: &Manifest) {
        let docker = |kind: &str| kind.starts_with("application/vnd.docker.");
        let own = docker(&entry.media_type);
        let parts = manifest.layers.iter().chain([&manifest.config]);
        if let Some(other) = parts.into_iter().find(|part| docker(&part.media_type) != own) {
            let found = format!("{} is `{}`", other.digest, other.media_type);
            self.report.find(
                Rule::Config,
                object,
                found,
                "media types of one family, Docker's or OCI's",
                MADE,
            );
        }
    }

    fn config(&mut self, object: &str, config: &Value, diff_ids: Option<&[Digest]>, layers: usize) {
        match diff_ids {
            None => self.report.find(
                Rule::Config,
                object,
                "no list of digests at rootfs.diff_ids",
                "one for each layer",
                MADE,
            ),
            Some(ids) if ids.len() != layers => {
                let found = format!("{} diff_ids", ids.len());
                self.report.find(
                    Rule::Config,
                    object,
                    found,
                    format!("{layers}, one for each layer"),
                    MADE,
                );
            }
            Some(_) => {}
        }
        let steps = config["history"].as_array();
        let filled = steps.map(|steps| steps.iter().filter(|step| step["empty_layer"] != true).count());
        if let Some(filled) = filled.filter(|filled| *filled != layers) {
            let found = format!("{filled} steps of the history have a layer");
            self.report.find(Rule::Config, object, found, format!("{layers}"), MADE);
        }
        for key in ["os", "architecture"] {
            if config[key].as_str().is_none_or(str::is_empty) {
                self.report.find(
                    Rule::Config,
                    object,
                    format!("no `{key}`"),
                    "the platform of the image",
                    MADE,
                );
            }
        }
        if config["created"].as_str() == Some("") {
            self.report.find(
                Rule::Config,
                object,
                "`created` is empty",
                "a time, or nothing",
                "`docker load` of old engines cannot read it",
            );
        }
    }

    /// Whether a layer is what it should be.
    fn layer(&mut self, layer: &Descriptor, diff_id: Option<Digest>) -> bool {
        let object = format!("layer {}", layer.digest);
        let before = self.report.findings.len();
        let first = !self.layers.contains_key(&layer.digest);
        if first {
            let found = self.unpack(&object, layer);
            self.layers.insert(layer.digest, found);
        }
        let Some((unpacked, right)) = self.layers.get(&layer.digest).cloned() else {
            return false;
        };
        match (&unpacked, diff_id) {
            (Err(reason), _) if first && right => {
                self.report.find(
                    Rule::Document,
                    &object,
                    reason.clone(),
                    "a layer that can be unpacked",
                    AGAIN,
                );
            }
            (Ok(found), Some(wanted)) if *found != wanted => {
                let found = format!("it unpacks to {found}");
                self.report.find(
                    Rule::DiffId,
                    &object,
                    found,
                    format!("{wanted}, as the configuration says"),
                    MADE,
                );
            }
            _ => {}
        }
        if first || self.report.findings.len() > before {
            let found = match &unpacked {
                Ok(digest) => format!("{} bytes, unpacks to {digest}", layer.size),
                Err(_) => "not unpacked".to_owned(),
            };
            self.report.look(&object, found, before);
        }
        right && unpacked.is_ok() && self.report.findings.len() == before
    }

    /// Reads a layer to its end: what it unpacks to, and whether size and digest are those of the descriptor.
    fn unpack(&mut self, object: &str, layer: &Descriptor) -> (Result<Digest, String>, bool) {
        let reader = match self.contents.read(&layer.digest) {
            Ok(reader) => reader,
            Err(reason) => {
                self.report
                    .find(Rule::Present, object, reason.clone(), "a blob that can be read", AGAIN);
                return (Err(reason), false);
            }
        };
        // One byte more than it should have shows that it is too long.
        let mut blob = DigestReader::new(reader.take(layer.size.saturating_add(1)));
        let unpacked = (|| -> io::Result<Digest> {
            let inside = self.contents.unpack(Box::new(&mut blob))?;
            let mut inside = DigestReader::new(inside.take(UNPACKED));
            io::copy(&mut inside, &mut io::sink())?;
            let (digest, size) = inside.finish();
            match size < UNPACKED {
                true => Ok(digest),
                false => Err(io::Error::other("it unpacks to more than the limit")),
            }
        })();
        let rest = io::copy(&mut blob, &mut io::sink());
        let (digest, size) = blob.finish();
        if let Err(error) = rest {
            self.report.find(
                Rule::Present,
                object,
                error.to_string(),
                "a blob that can be read",
                AGAIN,
            );
            return (Err(error.to_string()), false);
        }
        let right = self.held(object, layer, digest, size);
        (unpacked.map_err(|error| error.to_string()), right)
    }
}
