//! `cargo xtask verify`: what is whole passes, each kind of tampering is named, and a rebuild finds the field that differs.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use xtask::attest::Attestation;
use xtask::attest::manifest::{attached, referrers, referrers_tag, with_referrers};
use xtask::oci::image::{Blob, Form};
use xtask::oci::layer::Limits;
use xtask::oci::layout::load_image;
use xtask::oci::{Digest, Image, ImageIndex, canonical_json, media};
use xtask::publish::{archive, attestations, layout};
use xtask::shell::Output;
use xtask::target::Platform;
use xtask::verify::compare::compare;

use crate::attest::{attestation, image, name};
use crate::cli::{Workspace, code};
use crate::require::require_program;

mod rebuild;
mod remote;

/// A layout with one image of ours, and what `verify` says of it.
struct Case {
    workspace: Workspace,
    image: Image,
    attestation: Attestation,
}

impl Case {
    fn new() -> Case {
        let workspace = Workspace::new();
        let image = image(Platform::ArmV6, 0o644);
        let attestation = attestation(&image, &name("blog:scratch-armv6"));
        let case = Case {
            workspace,
            image,
            attestation,
        };
        case.write();
        case
    }

    fn dir(&self) -> PathBuf {
        self.workspace.path("layout")
    }

    fn write(&self) {
        let blog = name("blog:scratch-armv6");
        layout::write(&self.dir(), &[(&blog, &self.image)]).unwrap();
        let digest = self.image.manifest().digest();
        attestations::write_for_layout(&self.dir(), &[(digest, &self.attestation)]).unwrap();
    }

    fn blob(&self, digest: Digest) -> PathBuf {
        self.dir().join("blobs/sha256").join(digest.hex())
    }

    fn document(&self, kind: &str) -> PathBuf {
        self.dir()
            .join(format!("attestations/{}.{kind}", self.image.manifest().digest().hex()))
    }

    fn verify(&self, args: &[&str]) -> Output {
        self.workspace.xtask(&[&["verify"], args].concat()).output().unwrap()
    }

    /// The findings on the layout, as `rule: object: found`.
    #[track_caller]
    fn findings(&self) -> Vec<String> {
        let output = self.verify(&["--json", "oci:layout"]);
        assert_eq!(code(&output), 1, "{}\n{}", output.text(), output.error_text());
        let report: Value = serde_json::from_str(&output.text()).unwrap();
        lines(&report[0])
    }
}

fn lines(report: &Value) -> Vec<String> {
    let text = |value: &Value, key: &str| value[key].as_str().unwrap().to_owned();
    let findings = report["findings"].as_array().unwrap();
    findings
        .iter()
        .map(|finding| {
            assert!(
                !text(finding, "hint").is_empty() && !text(finding, "expected").is_empty(),
                "{finding}"
            );
            format!(
                "{}: {}: {}",
                text(finding, "rule"),
                text(finding, "object"),
                text(finding, "found")
            )
        })
        .collect()
}

#[track_caller]
fn has(findings: &[String], rule: &str, said: &str) {
    let found = findings
        .iter()
        .any(|line| line.starts_with(&format!("{rule}: ")) && line.contains(said));
    assert!(found, "{rule} {said}: {findings:#?}");
}

/// Replaces the JSON of a blob and everything above it that names it, so that digests are right and only the change is wrong.
fn rewrite(
    case: &Case,
    config: impl FnOnce(&mut Value),
    manifest: impl FnOnce(&mut Value),
    entry: impl FnOnce(&mut Value),
) {
    let read = |path: &Path| -> Value { serde_json::from_slice(&fs::read(path).unwrap()).unwrap() };
    let put = |value: &Value, kind: &str| {
        let blob = Blob::new(canonical_json(value), kind);
        fs::write(case.blob(blob.digest()), blob.bytes()).unwrap();
        blob.descriptor()
    };
    let mut document = read(&case.blob(case.image.config().digest()));
    config(&mut document);
    let mut own = read(&case.blob(case.image.manifest().digest()));
    own["config"] = put(&document, media::CONFIG);
    manifest(&mut own);
    let descriptor = put(&own, media::MANIFEST);
    let index = case.dir().join("index.json");
    let mut whole = read(&index);
    for (key, value) in descriptor.as_object().unwrap() {
        whole["manifests"][0][key] = value.clone();
    }
    entry(&mut whole["manifests"][0]);
    fs::write(index, canonical_json(&whole)).unwrap();
}

fn nothing(_: &mut Value) {}

#[test]
fn what_is_whole_passes_in_every_form() {
    let case = Case::new();
    let output = case.verify(&["oci:layout"]);
    let text = output.text();
    assert_eq!(code(&output), 0, "{text}\n{}", output.error_text());
    let plain = [case.image.manifest(), case.image.config()]
        .iter()
        .fold(text, |text, blob| text.replace(&blob.digest().to_string(), "[digest]"));
    let layer = &case.image.layers()[0];
    let plain = plain
        .replace(&layer.digest().to_string(), "[layer]")
        .replace(&layer.diff_id().to_string(), "[diff_id]");
    insta::with_settings!({filters => vec![(r"\d+ bytes", "[bytes]")]}, {
        insta::assert_snapshot!(plain);
    });

    // Beside an archive.
    let tar = case.workspace.path("blog.tar");
    let digest = case.image.manifest().digest();
    archive::write(&tar, &[(&name("blog:scratch-armv6"), &case.image)]).unwrap();
    attestations::write_for_archive(&tar, &[(digest, &case.attestation)]).unwrap();
    let output = case.verify(&["docker-archive:blog.tar"]);
    assert_eq!(code(&output), 0, "{}\n{}", output.text(), output.error_text());
    fs::remove_dir_all(attestations::beside(&tar)).unwrap();
    let output = case.verify(&["docker-archive:blog.tar"]);
    assert_eq!(code(&output), 1);
    assert!(output.text().contains("attestation.present: "), "{}", output.text());
}

#[test]
fn a_flipped_byte_is_found_in_every_blob_and_document() {
    let case = Case::new();
    let layer = case.image.layers()[0].digest();
    for digest in [case.image.manifest().digest(), case.image.config().digest(), layer] {
        let path = case.blob(digest);
        let whole = fs::read(&path).unwrap();
        let mut bytes = whole.clone();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        fs::write(&path, &bytes).unwrap();
        let findings = case.findings();
        has(&findings, "blob.digest", &digest.to_string());
        // Another length is another finding, and both are told.
        bytes.push(0);
        fs::write(&path, &bytes).unwrap();
        let findings = case.findings();
        has(&findings, "blob.size", &digest.to_string());
        has(&findings, "blob.digest", &digest.to_string());
        fs::remove_file(&path).unwrap();
        has(&case.findings(), "blob.present", &digest.to_string());
        fs::write(&path, &whole).unwrap();
    }
    assert_eq!(code(&case.verify(&["oci:layout"])), 0);
}

#[test]
fn everything_that_is_wrong_is_told_at_once() {
    let case = Case::new();
    fs::remove_file(case.document("spdx.json")).unwrap();
    let layer = case.blob(case.image.layers()[0].digest());
    let mut bytes = fs::read(&layer).unwrap();
    bytes[100] ^= 1;
    fs::write(&layer, bytes).unwrap();
    let provenance = case.document("provenance.json");
    let text = fs::read_to_string(&provenance).unwrap();
    fs::write(&provenance, text.replace("\"linux/arm/v6\"", "\"linux/arm/v7\"")).unwrap();
    let findings = case.findings();
    has(&findings, "attestation.present", "no SBOM");
    has(&findings, "blob.digest", "its content is");
    has(&findings, "attestation.subject", "it was made for linux/arm/v7");
    let output = case.verify(&["oci:layout"]);
    assert!(
        output.text().contains("not made: the image is damaged"),
        "{}",
        output.text()
    );
}

#[test]
fn a_wrong_size_a_wrong_diff_id_and_a_missing_one_are_named() {
    let case = Case::new();
    rewrite(
        &case,
        nothing,
        |manifest| manifest["layers"][0]["size"] = 7.into(),
        nothing,
    );
    has(&case.findings(), "blob.size", "layer sha256:");
    case.write();
    let wrong = Digest::of(b"other").to_string();
    rewrite(
        &case,
        |config| config["rootfs"]["diff_ids"][0] = wrong.as_str().into(),
        nothing,
        nothing,
    );
    has(&case.findings(), "layer.diff-id", "it unpacks to");
    case.write();
    rewrite(
        &case,
        |config| config["rootfs"]["diff_ids"] = json!([]),
        nothing,
        nothing,
    );
    has(&case.findings(), "image.config", "0 diff_ids");
    case.write();
    rewrite(
        &case,
        nothing,
        |manifest| manifest["mediaType"] = media::DOCKER_MANIFEST.into(),
        nothing,
    );
    has(&case.findings(), "document", "mediaType");
}

#[test]
fn a_swapped_variant_is_found_wherever_it_is_swapped() {
    let case = Case::new();
    rewrite(&case, nothing, nothing, |entry| {
        entry["platform"]["variant"] = "v7".into()
    });
    has(&case.findings(), "audit", "the index entry says linux/arm/v7");
    case.write();
    rewrite(
        &case,
        |config| config["variant"] = "v7".into(),
        nothing,
        |entry| entry["platform"]["variant"] = "v7".into(),
    );
    let findings = case.findings();
    has(
        &findings,
        "audit",
        "the label xtask.binary.triple says arm-unknown-linux-musleabihf: linux/arm/v6",
    );
    has(&findings, "audit", "all code is for linux/arm/v6 or earlier");
}

#[test]
fn attestations_that_are_gone_or_of_another_image_are_named() {
    let case = Case::new();
    let other = image(Platform::ArmV6, 0o755);
    let stray = attestation(&other, &name("blog:scratch-armv6"));
    fs::write(case.document("spdx.json"), &stray.spdx).unwrap();
    let hex = other.manifest().digest().hex();
    has(
        &case.findings(),
        "attestation.subject",
        &format!("it describes sha256:{hex}"),
    );
    fs::write(case.document("provenance.json"), &stray.provenance).unwrap();
    let findings = case.findings();
    has(
        &findings,
        "attestation.subject",
        &format!("its subject is sha256:{hex}"),
    );
    has(&findings, "attestation.subject", "its layers: ");
    fs::write(case.document("provenance.json"), "{").unwrap();
    has(&case.findings(), "document", "provenance of");
    fs::remove_dir_all(case.dir().join("attestations")).unwrap();
    let findings = case.findings();
    assert_eq!(findings.len(), 2, "{findings:?}");
    has(&findings, "attestation.present", "no SBOM");
    has(&findings, "attestation.present", "no provenance");
}

#[test]
fn a_verdict_on_other_files_is_no_verdict() {
    let case = Case::new();
    let path = case.document("provenance.json");
    let mut statement: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    let products = statement["predicate"]["runDetails"]["byproducts"]
        .as_array_mut()
        .unwrap();
    let product = products
        .iter_mut()
        .find(|product| product["name"] == "audit.json")
        .unwrap();
    let mut verdict = xtask::attest::check::verdict(&json!({"runDetails": {"byproducts": [product.clone()]}})).unwrap();
    verdict.files[0].digest = Digest::of(b"another program").to_string();
    let bytes = canonical_json(&serde_json::to_value(&verdict).unwrap());
    use base64::Engine;
    product["content"] = base64::engine::general_purpose::STANDARD.encode(&bytes).into();
    product["digest"]["sha256"] = Digest::of(&bytes).hex().into();
    fs::write(&path, canonical_json(&statement)).unwrap();
    has(&case.findings(), "attestation.verdict", "/usr/local/bin/blog");
}

#[test]
fn an_index_with_attestations_is_looked_through_whole() {
    let case = Case::new();
    let seven = image(Platform::ArmV7, 0o644);
    let made = |image: &Image| {
        let attestation = attestation(image, &name("blog:1"));
        attached(&attestation, image.manifest().digest()).unwrap()
    };
    let amd = image(Platform::Amd64, 0o644);
    let index = ImageIndex::with_attached(
        vec![case.image.clone(), amd.clone()],
        vec![made(&case.image), made(&amd)],
    );
    let index = index.unwrap();
    let dir = case.workspace.path("index");
    layout::write_index(&dir, &name("blog:1"), &index).unwrap();
    let verify = || {
        let output = case.verify(&["--json", "oci:index"]);
        let report: Value = serde_json::from_str(&output.text()).unwrap();
        (code(&output), lines(&report[0]))
    };
    assert_eq!(verify(), (0, Vec::new()));

    // A statement that is damaged, in a manifest that is not.
    let statement = index.attached()[0]
        .blobs()
        .iter()
        .find(|blob| blob.media_type().contains("in-toto"))
        .unwrap();
    let path = dir.join("blobs/sha256").join(statement.digest().hex());
    fs::write(
        &path,
        String::from_utf8(statement.bytes().to_vec())
            .unwrap()
            .replace("SPDX-2.3", "SPDX-2.4"),
    )
    .unwrap();
    let (status, findings) = verify();
    assert_eq!(status, 1);
    has(&findings, "blob.digest", &statement.digest().to_string());
    fs::write(&path, statement.bytes()).unwrap();

    // Attestations in front, two of one platform, one about nothing.
    let write = |entries: Vec<Value>| {
        let document = json!({"schemaVersion": 2, "mediaType": media::INDEX, "manifests": entries});
        let blob = Blob::new(canonical_json(&document), media::INDEX);
        fs::write(dir.join("blobs/sha256").join(blob.digest().hex()), blob.bytes()).unwrap();
        let mut own = blob.descriptor();
        own["annotations"] = json!({"org.opencontainers.image.ref.name": "1"});
        let index = json!({"schemaVersion": 2, "mediaType": media::INDEX, "manifests": [own]});
        fs::write(dir.join("index.json"), canonical_json(&index)).unwrap();
    };
    let document: Value = serde_json::from_slice(index.blob().bytes()).unwrap();
    let entries = document["manifests"].as_array().unwrap().clone();
    let mut turned = entries.clone();
    turned.reverse();
    write(turned);
    has(&verify().1, "index.order", "stands behind what is attached");
    write([entries.clone(), vec![entries[0].clone()]].concat());
    has(&verify().1, "index.order", "linux/arm/v6 is there twice");
    let mut stray = entries.clone();
    stray[2]["annotations"]["vnd.docker.reference.digest"] = seven.manifest().digest().to_string().into();
    write(stray);
    let findings = verify().1;
    has(&findings, "attestation.subject", &seven.manifest().digest().to_string());
    has(&findings, "attestation.present", "no SBOM");
    let mut named = entries;
    named[2]["platform"] = json!({"os": "linux", "architecture": "arm", "variant": "v6"});
    write(named);
    has(&verify().1, "index.order", "its platform is linux/arm/v6");
}

#[test]
fn images_of_others_need_no_attestation_and_bad_input_is_told() {
    let case = Case::new();
    let plain = crate::oci::image::sample(Platform::ArmV6);
    layout::write(&case.workspace.path("other"), &[(&name("x:1"), &plain)]).unwrap();
    let output = case.verify(&["--json", "oci:other"]);
    let report: Value = serde_json::from_str(&output.text()).unwrap();
    assert!(
        lines(&report[0]).iter().all(|line| line.starts_with("audit: ")),
        "{report}"
    );
    for (input, said) in [
        ("layout", "its kind is not said"),
        ("oci:nowhere", "is not an OCI image layout"),
        ("Not A Name", "is not"),
    ] {
        let message = case.workspace.refused(&["verify", input]);
        assert!(
            message.contains(said) && message.contains("hint: "),
            "{input}: {message}"
        );
    }
    let message = case.workspace.refused(&["verify"]);
    assert!(message.contains("there is no image in target/images"), "{message}");
}

#[test]
fn two_images_differ_first_where_their_layers_do() {
    let (a, b) = (image(Platform::ArmV6, 0o644), image(Platform::ArmV6, 0o755));
    assert_eq!(compare(&a, &a), None);
    let found = compare(&a, &b).unwrap();
    assert_eq!(
        (found.place.as_str(), found.field.as_str()),
        ("layer 1, etc/passwd", "mode in the tar header")
    );
    assert_eq!((found.a.as_str(), found.b.as_str()), ("0644", "0755"));
    // The configuration comes after the layers, and the manifest follows both.
    let case = Case::new();
    rewrite(
        &case,
        |config| config["config"]["User"] = "0:0".into(),
        nothing,
        nothing,
    );
    let other = load_image(
        &layout::open(&case.dir()).unwrap(),
        None,
        Platform::ArmV6,
        &Limits::default(),
    )
    .unwrap();
    let found = compare(&case.image, &other).unwrap();
    assert_eq!(
        (found.place.as_str(), found.field.as_str()),
        ("configuration", "/config/User")
    );
    assert_eq!((found.a.as_str(), found.b.as_str()), ("\"65532:65532\"", "\"0:0\""));
}
