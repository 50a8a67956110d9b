//! The SBOM as an SPDX 2.3 document (ISO/IEC 5962, JSON form).

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::crates::{Crate, From, Traces, licence};
use super::{Run, hex, purl};
use crate::culprit::graph::Named;
use crate::oci::{Digest, canonical_json, time};

const NOBODY: &str = "NOASSERTION";
const IMAGE: &str = "SPDXRef-Image";
const PROGRAM: &str = "SPDXRef-Program";
/// The list that identifiers of licences are of. `blessing`, `Unicode-3.0` and the rest are in it.
const LICENCE_LIST: &str = "3.26";

/// Packages and relationships, each once, in the order of their identifiers.
#[derive(Default)]
struct Document {
    packages: BTreeMap<String, Value>,
    /// From, kind and to, with a comment: the first one says most.
    relationships: BTreeMap<(String, &'static str, String), &'static str>,
}

/// The document of a run.
pub(super) fn document(run: &Run<'_>) -> Value {
    let mut document = Document::default();
    let program = document.image(run);
    document.crates(run, &program);
    document.parts(run);
    document.base(run);
    let relationships: Vec<Value> = document
        .relationships
        .iter()
        .map(|((from, kind, to), comment)| {
            let mut value = json!({"spdxElementId": from, "relationshipType": kind, "relatedSpdxElement": to});
            if !comment.is_empty() {
                value["comment"] = (*comment).into();
            }
            value
        })
        .collect();
    let tool = concat!("Tool: xtask-", env!("CARGO_PKG_VERSION"));
    let mut value = json!({
        "spdxVersion": "SPDX-2.3",
        "dataLicense": "CC0-1.0",
        "SPDXID": "SPDXRef-DOCUMENT",
        "name": run.name.to_string(),
        "creationInfo": {
            "created": time::rfc3339(run.asked.source_date_epoch),
            "creators": [tool],
            "licenseListVersion": LICENCE_LIST,
        },
        "packages": document.packages.into_values().collect::<Vec<_>>(),
        "relationships": relationships,
    });
    // Two documents must not share a namespace, and one must not have two: the content decides.
    let digest = Digest::of(&canonical_json(&value)).hex();
    let name: String = plain(&run.name.to_string());
    value["documentNamespace"] = format!("https://spdx.org/spdxdocs/{name}-{}", uuid(&digest)).into();
    value
}

/// A UUID of version 8 (RFC 9562: the content is the maker's business) from the first bits of a digest.
fn uuid(hex: &str) -> String {
    format!(
        "{}-{}-8{}-8{}-{}",
        &hex[..8],
        &hex[8..12],
        &hex[13..16],
        &hex[17..20],
        &hex[20..32]
    )
}

/// What an SPDX identifier may have.
fn plain(text: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || c == '.' { c } else { '-' };
    text.chars().map(plain).collect()
}

/// An identifier that no other component has: two names may become one when their odd characters go.
fn id(kind: &str, name: &str, version: &str) -> String {
    let whole = format!("{kind}/{name}@{version}");
    let digest = Digest::of(whole.as_bytes()).hex();
    format!("SPDXRef-{kind}-{}-{}-{}", plain(name), plain(version), &digest[..8])
}

fn crate_id(named: &Named) -> String {
    id("Crate", &named.0, &named.1)
}

/// A package with the members that every one has.
fn package(id: &str, name: &str, version: &str, purpose: &str, licence: Option<String>) -> Value {
    let mut value = json!({
        "SPDXID": id,
        "name": name,
        "downloadLocation": NOBODY,
        "filesAnalyzed": false,
        "licenseConcluded": NOBODY,
        "licenseDeclared": licence.unwrap_or_else(|| NOBODY.to_owned()),
        "copyrightText": NOBODY,
        "supplier": NOBODY,
        "primaryPackagePurpose": purpose,
    });
    if !version.is_empty() {
        value["versionInfo"] = version.into();
    }
    value
}

fn refer(value: &mut Value, purl: &str) {
    let reference = json!({
        "referenceCategory": "PACKAGE-MANAGER", "referenceType": "purl", "referenceLocator": purl,
    });
    match value["externalRefs"].as_array_mut() {
        Some(references) => references.push(reference),
        None => value["externalRefs"] = json!([reference]),
    }
}

fn checksum(value: &mut Value, digest: &str) {
    if let Some((algorithm, hex)) = digest.split_once(':') {
        value["checksums"] = json!([{"algorithm": algorithm.to_uppercase(), "checksumValue": hex}]);
    }
}

impl Document {
    fn add(&mut self, value: Value) {
        let id = value["SPDXID"].as_str().unwrap_or_default().to_owned();
        self.packages.insert(id, value);
    }

    fn relate(&mut self, from: &str, kind: &'static str, to: &str, comment: &'static str) {
        let key = (from.to_owned(), kind, to.to_owned());
        self.relationships.entry(key).or_insert(comment);
    }

    /// The image and its program. Returns name and version of the latter.
    fn image(&mut self, run: &Run<'_>) -> Named {
        let labels = &run.image.config_json()["config"]["Labels"];
        let declared = labels["org.opencontainers.image.licenses"].as_str().and_then(licence);
        let mut image = package(IMAGE, run.name.name(), &run.source.version, "CONTAINER", declared);
        checksum(&mut image, &format!("sha256:{}", hex(run.image)));
        refer(&mut image, &purl::image(run.name, run.image));
        image["comment"] = format!("for {}, on {}", run.asked.platform, run.base.origin).into();
        self.add(image);
        self.relate("SPDXRef-DOCUMENT", "DESCRIBES", IMAGE, "");

        let own = &run.crates.program;
        let mut program = package(
            PROGRAM,
            &own.name,
            &own.version,
            "APPLICATION",
            own.licence.as_deref().and_then(licence),
        );
        if let Some(file) = run.verdict.files.iter().find(|file| file.program) {
            checksum(&mut program, &file.digest);
            program["packageFileName"] = format!("/{}", file.path).into();
        }
        // What the registry has under this name is somebody else's.
        refer(&mut program, &purl::plain("generic", &own.name, &own.version));
        self.add(program);
        self.relate(IMAGE, "CONTAINS", PROGRAM, "");
        own.named()
    }

    fn crates(&mut self, run: &Run<'_>, program: &Named) {
        let crates = run.crates;
        let none = Traces::default();
        let traces = crates.traces.as_ref();
        for one in &crates.linked {
            let named = one.named();
            let id = crate_id(&named);
            let mut value = package(
                &id,
                &one.name,
                &one.version,
                "LIBRARY",
                one.licence.as_deref().and_then(licence),
            );
            origin(&mut value, one);
            let mut comment = Vec::new();
            if !one.features.is_empty() {
                comment.push(format!("features: {}", one.features.join(", ")));
            }
            if let Some(objects) = traces.unwrap_or(&none).foreign.get(&named) {
                let objects: Vec<&str> = objects.iter().map(String::as_str).collect();
                comment.push(format!("C or assembly of its own: {}", objects.join(", ")));
            }
            if !comment.is_empty() {
                value["comment"] = comment.join("; ").into();
            }
            self.add(value);
            // Of std's own crates nothing more is asked: they come with it.
            let (kind, why) = match traces {
                Ok(_) if one.from == From::Std => ("STATIC_LINK", "part of Rust's std"),
                Ok(traces) if traces.crates.contains(&named) => ("STATIC_LINK", "the linker's map shows code of it"),
                Ok(_) => (
                    "DEPENDS_ON",
                    "compiled for the program; the linker's map shows no function of it: inlined, types and constants \
                     alone, or not used",
                ),
                Err(_) => (
                    "STATIC_LINK",
                    "compiled for the program; there is no linker's map to look into",
                ),
            };
            self.relate(PROGRAM, kind, &id, why);
        }
        let ids: BTreeSet<Named> = crates.linked.iter().map(Crate::named).collect();
        for (from, to) in crates.edges.iter().flatten() {
            let to_id = crate_id(to);
            if from == program && ids.contains(to) {
                self.relate(PROGRAM, "DEPENDS_ON", &to_id, "a direct dependency");
            } else if ids.contains(from) && ids.contains(to) {
                self.relate(&crate_id(from), "DEPENDS_ON", &to_id, "");
            }
        }
        for bundled in &crates.bundled {
            let id = id("Bundled", &bundled.name, &bundled.version);
            let licence = Some(bundled.licence.clone());
            let mut value = package(&id, &bundled.name, &bundled.version, "LIBRARY", licence);
            let generic = purl::plain("generic", &bundled.name, &bundled.version);
            let library = bundled.library.as_ref();
            refer(&mut value, library.map_or(&generic, |library| &library.purl));
            if let Some(library) = library {
                value["sourceInfo"] = library.origin.as_str().into();
                checksum(&mut value, &library.digest);
            }
            value["externalRefs"].as_array_mut().into_iter().for_each(|references| {
                references.push(json!({
                    "referenceCategory": "SECURITY", "referenceType": "cpe23Type", "referenceLocator": bundled.cpe,
                }));
            });
            self.add(value);
            let of = crate_id(&bundled.of);
            match library {
                None => self.relate(&of, "CONTAINS", &id, "its source, compiled along"),
                Some(_) => self.relate(
                    &of,
                    "DEPENDS_ON",
                    &id,
                    "linked in the place of the source that it carries",
                ),
            }
            self.relate(PROGRAM, "STATIC_LINK", &id, "");
        }
    }

    /// What the tool chain brought: std, the C library, start files, helpers of the compiler.
    fn parts(&mut self, run: &Run<'_>) {
        let rustc = run.tools.rustc.split(" (").next().unwrap_or_default();
        let version = rustc.strip_prefix("rustc ").unwrap_or(rustc);
        let std = id("Toolchain", "rust-std", version);
        let mut value = package(&std, "rust-std", version, "LIBRARY", licence("MIT OR Apache-2.0"));
        refer(&mut value, &purl::plain("generic", "rust-std", version));
        value["comment"] = match run.tools.std.as_str() {
            "source" => "compiled from Rust's source along with the program",
            _ => "as the Rust project compiled it",
        }
        .into();
        self.add(value);
        self.relate(PROGRAM, "STATIC_LINK", &std, "");
        for (part, version) in run.crates.traces.iter().flat_map(|traces| &traces.parts) {
            if part == "std" {
                continue;
            }
            let id = id("Toolchain", part, version);
            let mut value = package(&id, part, "", "LIBRARY", None);
            // Its own version is nowhere said; the tool chain's decides it.
            value["comment"] = format!("as {version} has it").into();
            refer(&mut value, &purl::plain("generic", part, ""));
            self.add(value);
            self.relate(PROGRAM, "STATIC_LINK", &id, "the linker's map shows code of it");
        }
    }

    fn base(&mut self, run: &Run<'_>) {
        let distribution = &run.base.distribution;
        for one in &run.base.packages {
            let id = id("Package", &format!("{}-{}", one.name, one.architecture), &one.version);
            let declared = distribution.licences.get(&one.name);
            let declared = declared.and_then(|text| licence(text));
            let mut value = package(&id, &one.name, &one.version, "LIBRARY", declared);
            if distribution.kind() == "deb" {
                value["licenseComments"] = format!("/usr/share/doc/{}/copyright", one.name).into();
            }
            if !distribution.id.is_empty() {
                let kind = distribution.kind();
                refer(
                    &mut value,
                    &purl::package(one, kind, &distribution.id, &distribution.version),
                );
            }
            let input = run.base.inputs.iter().find(|input| {
                input.name == one.name && input.version == one.version && input.architecture == one.architecture
            });
            if let Some(input) = input {
                checksum(&mut value, &input.digest);
            }
            self.add(value);
            self.relate(IMAGE, "CONTAINS", &id, "");
            if run.base.loaded.contains(&one.name) {
                self.relate(PROGRAM, "DYNAMIC_LINK", &id, "");
            }
        }
    }
}

/// Where a crate is from: as a package URL where a database knows it, as a location where it can be fetched.
fn origin(value: &mut Value, one: &Crate) {
    match &one.from {
        From::Registry => {
            refer(value, &purl::krate(&one.name, &one.version));
            if let Some(hex) = &one.checksum {
                checksum(value, &format!("sha256:{hex}"));
            }
        }
        From::Std if one.version != "0.0.0" => refer(value, &purl::krate(&one.name, &one.version)),
        From::Std => value["comment"] = "part of Rust's source".into(),
        From::Other(source) if source.starts_with("git+") => value["downloadLocation"] = source.as_str().into(),
        From::Other(source) => value["sourceInfo"] = source.as_str().into(),
        From::Workspace => refer(value, &purl::plain("generic", &one.name, &one.version)),
    }
}
