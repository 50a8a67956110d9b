//! How an image was made, as SLSA provenance v1.
//!
//! There is no `startedOn` and no `invocationId`: the same source gives the same image, and says so in the same words. What
//! the audit found is a by-product, whole.

use base64::Engine;
use serde_json::{Value, json};

use super::crates::{Crate, From};
use super::{Material, Run, purl};
use crate::oci::{Digest, canonical_json};

/// The predicate.
pub(super) fn predicate(run: &Run<'_>) -> Value {
    let asked = run.asked;
    let mut predicate = json!({
        "buildDefinition": {
            "buildType": super::BUILD_TYPE,
            "externalParameters": {
                "base": asked.base,
                "baseImage": asked.base_image,
                "platform": asked.platform,
                "std": asked.std,
                "with": asked.with,
                "source": {"version": run.source.version, "revision": run.source.revision},
                "sourceDateEpoch": asked.source_date_epoch,
            },
            "internalParameters": {
                "builder": asked.builder,
                "package": asked.package,
                "binary": asked.binary,
                "profile": asked.profile,
                "std": run.tools.std,
                "base": run.base.origin,
            },
            "resolvedDependencies": dependencies(run),
        },
        "runDetails": {
            "builder": {
                "id": format!("urn:xtask:builder:{}", asked.builder),
                "version": {"xtask": env!("CARGO_PKG_VERSION")},
            },
            "byproducts": byproducts(run),
        },
    });
    if let Some(sqlite) = &asked.sqlite {
        predicate["buildDefinition"]["externalParameters"]["sqlite"] = sqlite.as_str().into();
    }
    predicate
}

/// `{"sha256": "..."}` of `sha256:...`.
fn digest(text: &str) -> Value {
    match text.split_once(':') {
        Some((algorithm, hex)) => json!({algorithm: hex}),
        None => json!({}),
    }
}

fn dependencies(run: &Run<'_>) -> Vec<Value> {
    let mut all = vec![source(run)];
    all.extend(run.base.inputs.iter().map(material));
    let libraries = run.crates.bundled.iter().filter_map(|bundled| bundled.library.as_ref());
    all.extend(libraries.map(|library| match &library.package {
        Some((package, sum)) => json!({
            "name": package.name,
            "uri": library.purl,
            "digest": digest(sum),
            "annotations": {"role": "linked", "version": package.version, "architecture": package.architecture},
        }),
        None => json!({
            "name": "libsqlite3.a",
            "uri": library.purl,
            "digest": digest(&library.digest),
            "annotations": {"role": "linked", "version": library.version},
        }),
    }));
    let base = run.image.base_layers().iter().enumerate();
    all.extend(base.map(|(index, layer)| {
        json!({
            "name": format!("base layer {}", index + 1),
            "digest": digest(&layer.digest().to_string()),
            "annotations": {"role": "base"},
        })
    }));
    let rustc = run.tools.rustc.split(" (").next().unwrap_or_default();
    let version = rustc.strip_prefix("rustc ").unwrap_or(rustc);
    for name in ["rustc", "rust-std"] {
        all.push(json!({
            "name": name,
            "uri": purl::plain("generic", name, version),
            "annotations": {"role": "toolchain", "version": run.tools.rustc},
        }));
    }
    for wheel in &run.tools.wheels {
        // Which of them it was depends on the machine; that they do the same is what is pinned.
        all.extend(wheel.sha256.iter().map(|hex| {
            json!({
                "name": wheel.name,
                "uri": purl::plain("pypi", &wheel.name, &wheel.version),
                "digest": {"sha256": hex},
                "annotations": {"role": "toolchain", "oneOf": wheel.sha256.len()},
            })
        }));
    }
    let crates = run.crates;
    for (role, list) in [
        ("linked", &crates.linked),
        ("macro", &crates.macros),
        ("build", &crates.build),
    ] {
        all.extend(
            list.iter()
                .filter(|one| one.from != From::Workspace && one.from != From::Std)
                .map(|one| krate(one, role)),
        );
    }
    all
}

/// The commit. Of a tree that differs from it, the commit is not the digest.
fn source(run: &Run<'_>) -> Value {
    let mut value = json!({"name": "source"});
    let revision = run.source.revision.as_deref();
    let dirty = revision.and_then(|revision| revision.strip_suffix("-dirty"));
    if let Some(repository) = &run.source.repository {
        value["uri"] = match revision {
            Some(revision) => format!("git+{repository}@{}", dirty.unwrap_or(revision)).into(),
            None => format!("git+{repository}").into(),
        };
    }
    match (revision, dirty) {
        (_, Some(commit)) => value["annotations"] = json!({"changedSince": {"gitCommit": commit}}),
        (Some(commit), None) => value["digest"] = json!({"gitCommit": commit}),
        (None, None) => value["annotations"] = json!({"revision": "unknown: it was built outside git"}),
    }
    value
}

fn material(material: &Material) -> Value {
    let mut value = json!({
        "name": material.name,
        "digest": digest(&material.digest),
        "annotations": {"role": "base"},
    });
    for (key, text) in [("version", &material.version), ("architecture", &material.architecture)] {
        if !text.is_empty() {
            value["annotations"][key] = text.as_str().into();
        }
    }
    value
}

fn krate(one: &Crate, role: &str) -> Value {
    let uri = match &one.from {
        From::Other(source) => source.clone(),
        _ => purl::krate(&one.name, &one.version),
    };
    let mut value = json!({"name": one.name, "uri": uri, "annotations": {"role": role}});
    if let Some(hex) = &one.checksum {
        value["digest"] = json!({"sha256": hex});
    }
    value
}

/// What came out besides the manifest: configuration, layers, program, and the verdict of the audit with its whole text.
fn byproducts(run: &Run<'_>) -> Vec<Value> {
    let image = run.image;
    let mut all = vec![json!({
        "name": "config",
        "mediaType": image.config().media_type(),
        "digest": digest(&image.config().digest().to_string()),
    })];
    let base = image.base_layers().len();
    for (index, layer) in image.layers().iter().enumerate() {
        all.push(json!({
            "name": format!("layer {}", index + 1),
            "mediaType": layer.oci_media_type(),
            "digest": digest(&layer.digest().to_string()),
            "annotations": {
                "diffId": layer.diff_id().to_string(),
                "of": if index < base { "base" } else { "app" },
            },
        }));
    }
    for file in run.verdict.files.iter().filter(|file| file.program) {
        all.push(json!({"name": format!("/{}", file.path), "digest": digest(&file.digest)}));
    }
    // A verdict is plain data; it always serialises.
    let verdict = canonical_json(&serde_json::to_value(run.verdict).unwrap_or_default());
    all.push(json!({
        "name": super::check::AUDIT,
        "mediaType": "application/json",
        "digest": digest(&Digest::of(&verdict).to_string()),
        "content": base64::engine::general_purpose::STANDARD.encode(&verdict),
        "annotations": {
            "findings": run.verdict.findings,
            "files": run.verdict.files.len(),
            "platform": run.verdict.platform.to_string(),
            "rules": run.verdict.rules,
            "tool": run.verdict.tool,
        },
    }));
    all
}
