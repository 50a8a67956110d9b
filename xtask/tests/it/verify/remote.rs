//! The same in a registry: Debian's docker-registry, which has no referrers API, so that the tag schema is used.

use std::path::Path;

use xtask::oci::image::Attached;
use xtask::registry::Places;

use super::*;
use crate::http::{cx, options};
use crate::registry::real::{Real, registry};

/// Where docker-registry keeps a blob.
fn stored(dir: &Path, digest: Digest) -> PathBuf {
    let hex = digest.hex();
    dir.join("storage/docker/registry/v2/blobs/sha256")
        .join(&hex[..2])
        .join(&hex)
        .join("data")
}

fn online(case: &Case, args: &[&str]) -> Output {
    let cache = case.workspace.path("../cache");
    crate::cli::xtask(&case.workspace.root, args)
        .env("XTASK_CACHE_DIR", cache)
        .output()
        .unwrap()
}

#[test]
fn everything_that_was_pushed_is_read_again() {
    if !(require_program("docker-registry") && require_program("skopeo")) {
        return;
    }
    let temp = tempfile::tempdir().unwrap();
    let real = Real::start(temp.path(), None, None);
    let case = Case::new();
    let amd = image(Platform::Amd64, 0o644);
    let mut attachments = Vec::new();
    let mut lists = Vec::new();
    for image in [&case.image, &amd] {
        let attestation = attestation(image, &name("blog:1"));
        attachments.push(attached(&attestation, image.manifest().digest()).unwrap());
        let own = referrers(&attestation, image.manifest()).unwrap();
        lists.push((
            referrers_tag(image.manifest().digest()),
            with_referrers(None, &own).unwrap(),
        ));
        attachments.extend(own);
    }
    let index = ImageIndex::with_attached(vec![case.image.clone(), amd.clone()], attachments).unwrap();
    let cache = tempfile::tempdir().unwrap();
    let cx = cx(cache.path());
    let client = registry(options(), Places::default());
    let reference = real.reference("me/blog:1");
    let push = client.push_to(&cx, &reference);
    push.index(&index).unwrap();
    for image in [&case.image, &amd] {
        let subject = image.manifest().digest();
        let of = |attached: &&Attached| attached.form() == Form::Referrer && attached.subject() == subject;
        let own: Vec<Attached> = index.attached().iter().filter(of).cloned().collect();
        // The push did so: what is in the list is not listed again.
        let before = push.cost();
        push.list_referrers(subject, &own).unwrap();
        assert_eq!(
            (push.cost().bytes, push.cost().requests),
            (before.bytes, before.requests + 1)
        );
        let found = client.referrers(&cx, &reference, subject).unwrap();
        assert_eq!(found.len(), 2, "{found:?}");
    }

    let verify = |name: &str| {
        let output = online(&case, &["verify", "--json", name]);
        let text = output.text();
        let report: Value = serde_json::from_str(&text).unwrap_or_default();
        (code(&output), report)
    };
    let tagged = format!("{}/me/blog:1", real.host);
    let (status, report) = verify(&tagged);
    assert_eq!(status, 0, "{report:#}");
    let looked = report[0]["looked"].as_array().unwrap();
    let count = |start: &str| {
        looked
            .iter()
            .filter(|one| one["object"].as_str().unwrap().starts_with(start))
            .count()
    };
    assert_eq!((count("manifest "), count("audit of "), count("layer ")), (2, 2, 2));
    let of = |start: &str| {
        looked
            .iter()
            .filter(|one| one["object"].as_str().unwrap().starts_with(start))
            .count()
    };
    // Each is looked at as a manifest, and for each of its statements.
    assert_eq!((of("attestation manifest "), of("referrer ")), (2 + 4, 4 + 4));

    // skopeo sees two images and what is attached, as any tool of others does.
    let raw = xtask::shell::Shell::new(false)
        .command("skopeo")
        .args(["inspect", "--tls-verify=false", "--raw", &format!("docker://{tagged}")])
        .read()
        .unwrap();
    assert_eq!(raw.matches("attestation-manifest").count(), 2, "{raw}");

    // What the registry damages is found, though a cache has it whole.
    let layer = case.image.layers()[0].digest();
    let path = stored(temp.path(), layer);
    let whole = fs::read(&path).unwrap();
    let mut bytes = whole.clone();
    bytes[200] ^= 1;
    fs::write(&path, &bytes).unwrap();
    let (status, report) = verify(&tagged);
    assert_eq!(status, 1);
    has(&lines(&report[0]), "blob.digest", &layer.to_string());
    fs::write(&path, &whole[..whole.len() - 1]).unwrap();
    let found = lines(&verify(&tagged).1[0]);
    assert!(
        found
            .iter()
            .any(|line| line.starts_with("blob.") && line.contains(&layer.to_string())),
        "{found:?}"
    );
    fs::remove_file(&path).unwrap();
    let found = lines(&verify(&tagged).1[0]);
    has(&found, "blob.present", &layer.to_string());
    fs::write(&path, &whole).unwrap();

    // A referrer that is about another image.
    let (tag, _) = &lists[0];
    push.manifest(&lists[1].1).unwrap();
    push.tag(tag, &lists[1].1).unwrap();
    let found = lines(&verify(&tagged).1[0]);
    has(&found, "attestation.subject", &amd.manifest().digest().to_string());

    let output = online(&case, &["verify", &format!("{}/me/none:1", real.host)]);
    assert_eq!(code(&output), 2, "{}", output.text());
    assert!(output.error_text().contains("me/none"), "{}", output.error_text());
    let message = case.workspace.refused(&["verify", &tagged]);
    assert!(message.contains("--offline"), "{message}");
}
