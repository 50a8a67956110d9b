//! SBOM and provenance: the same bytes from the same facts, in the forms that other tools read, and beside what they are about.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use serde_json::{Value, json};
use xtask::attest::bundled::Bundled;
use xtask::attest::check::{self, Facts};
use xtask::attest::crates::{Crate, Crates, From, Traces};
use xtask::attest::manifest::{attached, referrers, referrers_tag, with_referrers};
use xtask::attest::packages::Distribution;
use xtask::attest::{Asked, Attestation, Base, Material, PROVENANCE, Run, SPDX, Source, Tools, Wheel, attest};
use xtask::audit::inspect;
use xtask::audit::verdict::{Audited, Subject};
use xtask::oci::dockerfile::evaluate;
use xtask::oci::image::{Form, MemoryFiles, Package};
use xtask::oci::{BaseImage, Digest, EntryKind, Image, ImageIndex, ImageName, assemble};
use xtask::publish::{archive, attestations, layout};
use xtask::shell::Shell;
use xtask::target::Platform;

use crate::oci::image::EPOCH;
use crate::require::{require, require_program};

/// What is in the images of these tests.
pub const REVISION: &str = "1234567890123456789012345678901234567890";

/// A small static program for each platform.
pub fn program(platform: Platform) -> Vec<u8> {
    let name = match platform {
        Platform::Amd64 => "amd64",
        Platform::Arm64 => "arm64",
        Platform::ArmV7 => "v7",
        Platform::ArmV6 => "v6",
    };
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/elf");
    fs::read(dir.join(name)).unwrap()
}

/// An image of ours with that program in it; of `mode`, for a file of its root, the executable bit counts.
pub fn image(platform: Platform, mode: u32) -> Image {
    let text = include_str!("../../../docker/Dockerfile");
    let args = BTreeMap::from([("REVISION".to_owned(), REVISION.to_owned())]);
    let stage = evaluate(text, &args, "final").unwrap();
    let files = MemoryFiles::default()
        .with(
            None,
            "docker/rootfs/etc/passwd",
            EntryKind::File(b"root:x:0:0::/:\n".to_vec()),
            mode,
        )
        .with(Some("compile"), "out/blog", EntryKind::File(program(platform)), 0o755)
        .with(Some("compile"), "out/data", EntryKind::Directory, 0o755);
    let triple = match platform {
        Platform::Amd64 => "x86_64-unknown-linux-musl",
        Platform::ArmV7 => "armv7-unknown-linux-musleabihf",
        _ => "arm-unknown-linux-musleabihf",
    };
    let labels = BTreeMap::from([("xtask.binary.triple".to_owned(), triple.to_owned())]);
    assemble(BaseImage::scratch(), &stage, &files, platform, EPOCH, &labels).unwrap()
}

fn named(name: &str, version: &str, from: From, features: &[&str]) -> Crate {
    let registry = from == From::Registry;
    Crate {
        name: name.to_owned(),
        version: version.to_owned(),
        from,
        licence: registry.then(|| "MIT/Apache-2.0".to_owned()),
        checksum: registry.then(|| Digest::of(name.as_bytes()).hex()),
        features: features.iter().map(ToString::to_string).collect(),
    }
}

fn crates() -> Crates {
    let key = |name: &str, version: &str| (name.to_owned(), version.to_owned());
    Crates {
        program: named("blog", "0.1.0", From::Workspace, &[]),
        repository: Some("https://example.org/blog".to_owned()),
        linked: vec![
            named("cfg-if", "1.0.1", From::Registry, &[]),
            named("core", "0.0.0", From::Std, &[]),
            named("diesel", "2.3.3", From::Registry, &["sqlite"]),
            named("hashbrown", "0.15.4", From::Std, &[]),
            named("libsqlite3-sys", "0.38.1", From::Registry, &["bundled"]),
        ],
        edges: Ok(vec![
            (key("blog", "0.1.0"), key("diesel", "2.3.3")),
            (key("diesel", "2.3.3"), key("libsqlite3-sys", "0.38.1")),
            (key("diesel", "2.3.3"), key("diesel_derives", "2.3.1")),
        ]),
        traces: Ok(Traces {
            crates: BTreeSet::from([key("diesel", "2.3.3"), key("libsqlite3-sys", "0.38.1")]),
            parts: BTreeSet::from([key("musl", "zig 0.17.1"), key("compiler_rt", "zig 0.17.1")]),
            foreign: BTreeMap::from([(
                key("libsqlite3-sys", "0.38.1"),
                BTreeSet::from(["sqlite3.o".to_owned()]),
            )]),
        }),
        bundled: vec![Bundled {
            name: "sqlite".to_owned(),
            version: "3.53.2".to_owned(),
            licence: "blessing".to_owned(),
            cpe: "cpe:2.3:a:sqlite:sqlite:3.53.2:*:*:*:*:*:*:*".to_owned(),
            of: key("libsqlite3-sys", "0.38.1"),
            library: None,
        }],
        macros: vec![named("diesel_derives", "2.3.1", From::Registry, &[])],
        build: vec![named("cc", "1.2.40", From::Registry, &[])],
    }
}

/// What a run would say of an image: the audit is a real one of its program.
pub fn attestation(image: &Image, name: &ImageName) -> Attestation {
    attestation_at(image, name, Some(REVISION))
}

fn attestation_at(image: &Image, name: &ImageName, revision: Option<&str>) -> Attestation {
    let platform = image.platform();
    let mut subject = Subject::new(name.to_string(), platform);
    subject.layers = image.layers().iter().map(|layer| layer.digest().to_string()).collect();
    subject.files = vec![Audited {
        path: "usr/local/bin/blog".to_owned(),
        member: None,
        layer: 1,
        hidden_by: None,
        package: None,
        program: true,
        report: inspect(&program(platform), "blog", platform, None, &[]),
    }];
    let asked = Asked {
        base: "scratch".to_owned(),
        platform: platform.to_string(),
        with: Vec::new(),
        base_image: None,
        std: "auto".to_owned(),
        package: "blog".to_owned(),
        binary: "blog".to_owned(),
        profile: "release".to_owned(),
        source_date_epoch: EPOCH,
        builder: "host".to_owned(),
        sqlite: None,
    };
    let source = Source {
        version: "0.1.0".to_owned(),
        revision: revision.map(str::to_owned),
        repository: Some("https://example.org/blog".to_owned()),
    };
    let libc = Package {
        name: "libc6".to_owned(),
        version: "2.41-12+deb13u1".to_owned(),
        architecture: "armel".to_owned(),
    };
    let base = Base {
        origin: "Debian trixie armel, 1 package".to_owned(),
        inputs: vec![Material {
            name: libc.name.clone(),
            version: libc.version.clone(),
            architecture: libc.architecture.clone(),
            digest: Digest::of(b"deb").to_string(),
        }],
        packages: vec![libc],
        distribution: Distribution {
            id: "debian".to_owned(),
            version: "13".to_owned(),
            licences: BTreeMap::new(),
        },
        loaded: vec!["libc6".to_owned()],
    };
    let wheel = |name: &str, version: &str| Wheel {
        name: name.to_owned(),
        version: version.to_owned(),
        sha256: vec![Digest::of(name.as_bytes()).hex(), Digest::of(version.as_bytes()).hex()],
    };
    let tools = Tools {
        rustc: "rustc 1.95.0 (59807616e 2026-04-14)".to_owned(),
        std: "source".to_owned(),
        wheels: vec![wheel("ziglang", "0.17.1"), wheel("cargo-zigbuild", "0.24.0")],
    };
    let verdict = subject.verdict();
    attest(&Run {
        name,
        image,
        asked: &asked,
        source: &source,
        base: &base,
        tools: &tools,
        crates: &crates(),
        verdict: &verdict,
    })
}

pub fn name(text: &str) -> ImageName {
    text.parse().unwrap()
}

fn parse(bytes: &[u8]) -> Value {
    serde_json::from_slice(bytes).unwrap()
}

fn facts<'a>(image: &Image, layers: &'a [Digest], diff_ids: &'a [Digest]) -> Facts<'a> {
    Facts {
        manifest: image.manifest().digest(),
        config: image.config().digest(),
        layers,
        diff_ids,
        platform: "linux/arm/v6",
        revision: Some(REVISION),
    }
}

#[test]
fn the_same_facts_are_the_same_bytes_and_say_no_time_but_the_sources() {
    let image = image(Platform::ArmV6, 0o644);
    let blog = name("blog:scratch-armv6");
    let (first, second) = (attestation(&image, &blog), attestation(&image, &blog));
    assert_eq!(first, second);
    let document = parse(&first.spdx);
    assert_eq!(document["creationInfo"]["created"], "2023-11-14T22:13:20Z");
    let other = attestation(&self::image(Platform::ArmV6, 0o755), &blog);
    assert_ne!(parse(&other.spdx)["documentNamespace"], document["documentNamespace"]);
    let text = String::from_utf8([first.spdx, first.provenance].concat()).unwrap();
    for clock in ["startedOn", "finishedOn", "invocationId"] {
        assert!(!text.contains(clock), "{clock}");
    }
}

#[test]
fn the_sbom_has_what_is_in_the_image_and_nothing_that_only_made_it() {
    let image = image(Platform::ArmV6, 0o644);
    let document = parse(&attestation(&image, &name("blog:scratch-armv6")).spdx);
    let packages = document["packages"].as_array().unwrap();
    let line = |package: &Value| {
        let purl = package["externalRefs"][0]["referenceLocator"].as_str().unwrap_or("-");
        let digest = image.manifest().digest().hex();
        format!(
            "{} {}",
            package["SPDXID"].as_str().unwrap(),
            purl.replace(&digest, "HEX")
        )
    };
    let lines: Vec<String> = packages.iter().map(line).collect();
    insta::assert_snapshot!(lines.join("\n"));
    let relationships = document["relationships"].as_array().unwrap();
    let line = |relation: &Value| {
        let text = |key: &str| {
            relation[key]
                .as_str()
                .unwrap()
                .trim_start_matches("SPDXRef-")
                .to_owned()
        };
        format!(
            "{} {} {}",
            text("spdxElementId"),
            text("relationshipType"),
            text("relatedSpdxElement")
        )
    };
    let lines: Vec<String> = relationships.iter().map(line).collect();
    insta::assert_snapshot!(lines.join("\n"));
    // What a relationship names is there.
    let ids: BTreeSet<&str> = packages
        .iter()
        .filter_map(|package| package["SPDXID"].as_str())
        .collect();
    assert_eq!(ids.len(), packages.len());
    for relation in relationships {
        assert!(
            ids.contains(relation["relatedSpdxElement"].as_str().unwrap()),
            "{relation}"
        );
    }
    let all = document.to_string();
    for tool in ["diesel_derives", "pkg:cargo/cc@"] {
        assert!(!all.contains(tool), "{tool} is in no image");
    }
}

#[test]
fn the_provenance_has_every_material_with_its_digest_and_the_verdict_whole() {
    let image = image(Platform::ArmV6, 0o644);
    let statement = parse(&attestation(&image, &name("blog:scratch-armv6")).provenance);
    assert_eq!(
        statement["subject"][0]["digest"]["sha256"],
        image.manifest().digest().hex()
    );
    let definition = &statement["predicate"]["buildDefinition"];
    assert_eq!(definition["externalParameters"]["platform"], "linux/arm/v6");
    let materials = definition["resolvedDependencies"].as_array().unwrap();
    let by_role = |role: &str| -> Vec<&str> {
        let of = materials
            .iter()
            .filter(|material| material["annotations"]["role"] == role);
        of.map(|material| material["name"].as_str().unwrap()).collect()
    };
    assert_eq!(by_role("macro"), ["diesel_derives"]);
    assert_eq!(by_role("build"), ["cc"]);
    assert_eq!(by_role("linked"), ["cfg-if", "diesel", "libsqlite3-sys"]);
    assert_eq!(by_role("base"), ["libc6"]);
    assert_eq!(materials[0]["digest"]["gitCommit"], REVISION);
    let bare: Vec<&Value> = materials
        .iter()
        .filter(|material| material["digest"].is_null())
        .collect();
    // rustup vouches for these two, by a version.
    assert_eq!(
        bare.iter().map(|material| &material["name"]).collect::<Vec<_>>(),
        ["rustc", "rust-std"]
    );
    let verdict = check::verdict(&statement["predicate"]).unwrap();
    assert_eq!((verdict.findings, verdict.files.len()), (0, 1));

    let blog = name("blog:scratch-armv6");
    let dirty = parse(&attestation_at(&image, &blog, Some(&format!("{REVISION}-dirty"))).provenance);
    let source = &dirty["predicate"]["buildDefinition"]["resolvedDependencies"][0];
    assert_eq!(
        source["digest"],
        Value::Null,
        "a changed tree has not the commit's digest"
    );
    assert_eq!(source["annotations"]["changedSince"]["gitCommit"], REVISION);
}

#[test]
fn documents_about_another_image_are_told() {
    let image = image(Platform::ArmV6, 0o644);
    let (layers, ids): (Vec<Digest>, Vec<Digest>) = image
        .layers()
        .iter()
        .map(|layer| (layer.digest(), layer.diff_id()))
        .unzip();
    let facts = facts(&image, &layers, &ids);
    let blog = name("blog:scratch-armv6");
    let [(_, spdx), (_, provenance)] = attestation(&image, &blog).statements().unwrap();
    assert_eq!(check::statement(&parse(&spdx), SPDX, &facts), []);
    assert_eq!(check::statement(&parse(&provenance), PROVENANCE, &facts), []);
    let wrong = |statement: &Value, kind: &str| -> Vec<String> {
        check::statement(statement, kind, &facts)
            .into_iter()
            .map(|problem| problem.found)
            .collect()
    };
    let other = self::image(Platform::ArmV6, 0o755);
    let [(_, stray), (_, made)] = attestation(&other, &blog).statements().unwrap();
    let hex = other.manifest().digest().hex();
    assert_eq!(
        wrong(&parse(&stray), SPDX),
        [
            format!("its subject is sha256:{hex}"),
            format!("it describes sha256:{hex}")
        ]
    );
    let found = wrong(&parse(&made), PROVENANCE);
    assert!(found.iter().any(|line| line.starts_with("its diff_ids: ")), "{found:?}");
    assert!(found.iter().any(|line| line.starts_with("its config: ")), "{found:?}");
    for (path, value, said) in [
        ("/predicateType", json!("x"), "predicateType is `x`"),
        ("/_type", json!("x"), "_type is `x`"),
        ("/subject", json!([]), "its subject has no digest"),
        (
            "/predicate/buildDefinition/externalParameters/platform",
            json!("linux/arm/v7"),
            "it was made for linux/arm/v7",
        ),
        (
            "/predicate/buildDefinition/externalParameters/source/revision",
            json!("0"),
            "it is of revision 0",
        ),
        (
            "/predicate/runDetails/byproducts/3/content",
            json!("e30="),
            "audit.json: its content is",
        ),
        ("/predicate/runDetails/builder/id", json!(7), "it lacks buildType"),
    ] {
        let mut changed = parse(&provenance);
        *changed.pointer_mut(path).unwrap() = value;
        let found = wrong(&changed, PROVENANCE);
        assert!(found.iter().any(|line| line.starts_with(said)), "{path}: {found:?}");
    }
}

#[test]
fn an_index_carries_them_as_buildkit_would_and_a_registry_as_referrers() {
    let image = image(Platform::ArmV6, 0o644);
    let attestation = attestation(&image, &name("blog:scratch-armv6"));
    let digest = image.manifest().digest();
    let own = attached(&attestation, digest).unwrap();
    let index = ImageIndex::with_attached(vec![image.clone()], vec![own.clone()]).unwrap();
    let typed: oci_spec::image::ImageIndex = serde_json::from_slice(index.blob().bytes()).unwrap();
    let entry = &typed.manifests()[1];
    assert_eq!(entry.platform().as_ref().unwrap().os().to_string(), "unknown");
    assert_eq!(
        entry.annotations().as_ref().unwrap()["vnd.docker.reference.digest"],
        digest.to_string()
    );
    let manifest: oci_spec::image::ImageManifest = serde_json::from_slice(own.manifest().bytes()).unwrap();
    let kinds: Vec<&str> = manifest
        .layers()
        .iter()
        .map(|layer| layer.annotations().as_ref().unwrap()["in-toto.io/predicate-type"].as_str())
        .collect();
    assert_eq!(kinds, [SPDX, PROVENANCE]);
    assert!(
        manifest
            .layers()
            .iter()
            .all(|layer| layer.media_type().to_string() == "application/vnd.in-toto+json")
    );
    // What `docker buildx imagetools inspect --format {{json .SBOM}}` shows is the predicate.
    let sbom = own
        .blobs()
        .iter()
        .find(|blob| blob.digest().to_string() == manifest.layers()[0].digest().to_string());
    assert_eq!(parse(sbom.unwrap().bytes())["predicate"], parse(&attestation.spdx));

    let both = referrers(&attestation, image.manifest()).unwrap();
    let kinds: Vec<Value> = both
        .iter()
        .map(|one| parse(one.manifest().bytes())["artifactType"].clone())
        .collect();
    assert_eq!(kinds, ["application/spdx+json", "application/vnd.in-toto+json"]);
    assert!(
        both.iter()
            .all(|one| one.form() == Form::Referrer && one.subject() == digest)
    );
    assert_eq!(referrers_tag(digest), format!("sha256-{}", digest.hex()));
    let list = with_referrers(None, &both).unwrap();
    assert_eq!(
        with_referrers(Some(list.bytes()), &both).unwrap(),
        list,
        "each is there once"
    );
    let foreign = br#"{"schemaVersion":2,"manifests":[{"digest":"sha256:00","artifactType":"signature"}]}"#;
    let merged = parse(with_referrers(Some(foreign), &both).unwrap().bytes());
    assert_eq!(merged["manifests"][0]["artifactType"], "signature");
    assert_eq!(merged["manifests"].as_array().unwrap().len(), 3);
    assert_eq!(merged["manifests"][1]["artifactType"], "application/spdx+json");
    for wrong in [&b"{"[..], b"[]", br#"{"manifests":7}"#] {
        assert!(with_referrers(Some(wrong), &both).is_err());
    }
}

#[test]
fn beside_a_layout_and_an_archive_they_go_with_their_images() {
    let temp = tempfile::tempdir().unwrap();
    let (dir, tar) = (temp.path().join("layout"), temp.path().join("blog.tar"));
    let blog = name("blog:scratch-armv6");
    let (old, new) = (image(Platform::ArmV6, 0o644), image(Platform::ArmV6, 0o755));
    for image in [&old, &new] {
        let attestation = attestation(image, &blog);
        let digest = image.manifest().digest();
        layout::write(&dir, &[(&blog, image)]).unwrap();
        attestations::write_for_layout(&dir, &[(digest, &attestation)]).unwrap();
        archive::write(&tar, &[(&blog, image)]).unwrap();
        attestations::write_for_archive(&tar, &[(digest, &attestation)]).unwrap();
        for place in [dir.join(attestations::DIRECTORY), attestations::beside(&tar)] {
            let found = attestations::read(&place, digest).unwrap();
            assert_eq!(found.spdx.as_ref(), Some(&attestation.spdx));
            assert_eq!(found.provenance.as_ref(), Some(&attestation.provenance));
            assert_eq!(
                fs::read_dir(&place).unwrap().count(),
                2,
                "those of the image that is gone are gone"
            );
        }
    }
    let index = fs::read_to_string(dir.join("index.json")).unwrap();
    assert!(
        !index.contains("attestation"),
        "old engines would take it for an image: {index}"
    );
    if require_program("skopeo") {
        // The layout has one image as before: no name has to be given.
        let source = format!("oci:{}", dir.display());
        Shell::new(false)
            .command("skopeo")
            .args(["--override-arch", "arm", "inspect", &source])
            .read()
            .unwrap();
    }
}

/// Python packages that know the formats, by version and hash, in the target directory.
fn python() -> Option<&'static Path> {
    static PACKAGES: OnceLock<Option<PathBuf>> = OnceLock::new();
    let install = || {
        if !require_program("python3") {
            return None;
        }
        let list = include_str!("attest/requirements.txt");
        let digest = Digest::of(list.as_bytes()).hex();
        let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("python/attest-{}", &digest[..12]));
        let there = dir.join("complete").is_file() || {
            let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/attest/requirements.txt");
            let command = Shell::new(false)
                .command("python3")
                .args([
                    "-m",
                    "pip",
                    "install",
                    "--quiet",
                    "--upgrade",
                    "--require-hashes",
                    "--only-binary=:all:",
                ])
                .arg("--target")
                .arg(&dir)
                .arg("--requirement")
                .arg(file);
            command.output().is_ok_and(|output| output.status.success()) && fs::write(dir.join("complete"), "").is_ok()
        };
        require("the libraries of SPDX and in-toto through pip", there).then_some(dir)
    };
    PACKAGES.get_or_init(install).as_deref()
}

fn run_python(packages: &Path, script: &str, input: &Path) -> String {
    let output = Shell::new(false)
        .command("python3")
        .args(["-c", script])
        .arg(input)
        .env("PYTHONPATH", packages)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}\n{}", output.text(), output.error_text());
    output.text()
}

/// What the SPDX project's own library has to say against a document.
pub fn against_spdx_tools(document: &[u8]) -> Option<String> {
    let packages = python()?;
    let temp = tempfile::tempdir().unwrap();
    let path = temp.path().join("sbom.spdx.json");
    fs::write(&path, document).unwrap();
    let script = "import sys\n\
        from spdx_tools.spdx.parser.parse_anything import parse_file\n\
        from spdx_tools.spdx.validation.document_validator import validate_full_spdx_document\n\
        document = parse_file(sys.argv[1])\n\
        for message in validate_full_spdx_document(document): print(message.validation_message, message.context.spdx_id)\n\
        print(len(document.packages), 'packages')\n";
    Some(run_python(packages, script, &path))
}

#[test]
fn the_spdx_projects_own_library_finds_nothing_wrong() {
    let image = image(Platform::ArmV6, 0o644);
    let attestation = attestation(&image, &name("blog:scratch-armv6"));
    let Some(said) = against_spdx_tools(&attestation.spdx) else {
        return;
    };
    let count = parse(&attestation.spdx)["packages"].as_array().unwrap().len();
    assert_eq!(said, format!("{count} packages\n"));
    let mut damaged = parse(&attestation.spdx);
    damaged["packages"][0]["licenseDeclared"] = "no licence at all".into();
    let said = against_spdx_tools(damaged.to_string().as_bytes()).unwrap();
    assert!(
        said.lines().count() > 1,
        "it would say nothing against anything: {said}"
    );
}

#[test]
fn the_published_schema_of_in_toto_and_slsa_reads_the_statements() {
    let Some(packages) = python() else { return };
    let image = image(Platform::ArmV6, 0o644);
    let attestation = attestation(&image, &name("blog:scratch-armv6"));
    let temp = tempfile::tempdir().unwrap();
    let script = "import json, sys\n\
        from google.protobuf import json_format\n\
        from in_toto_attestation.v1 import statement, statement_pb2\n\
        from in_toto_attestation.predicates.provenance.v1 import provenance_pb2\n\
        text = open(sys.argv[1]).read()\n\
        found = json_format.Parse(text, statement_pb2.Statement())\n\
        statement.Statement.copy_from_pb(found).validate()\n\
        if 'slsa' in found.predicate_type:\n\
        \x20   made = json_format.ParseDict(json.loads(text)['predicate'], provenance_pb2.Provenance())\n\
        \x20   print(len(made.build_definition.resolved_dependencies), made.run_details.builder.id)\n\
        else: print(found.predicate_type)\n";
    for (kind, statement) in attestation.statements().unwrap() {
        let path = temp.path().join("statement.json");
        fs::write(&path, &statement).unwrap();
        let said = run_python(packages, script, &path);
        match kind {
            SPDX => assert_eq!(said.trim(), SPDX),
            _ => assert_eq!(said.trim(), "13 urn:xtask:builder:host"),
        }
    }
}
