//! Bases out of a registry: the right variant, by digest, with the lock; and the next source when it has none.

use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex};

use xtask::base::chain;
use xtask::base::found::{Found, Want};
use xtask::base::lock::{Entry, Lock};
use xtask::base::{Request, catalogue, lock};
use xtask::oci::{Digest, media};
use xtask::target::{Base, Platform};

use crate::base_alpine::{Mirror, REQUEST, cx, fixture, minirootfs, policies, root};
use crate::http::server::Server;
use crate::registry::answer;
use crate::registry::content::Content;

/// An index as Alpine's, with something else for each variant; the manifest for v6.
fn alpine(version: &str) -> (Content, Digest) {
    let mut content = Content::default();
    let mut image = |platform, library| {
        let tar = root(version, &fixture(library));
        content.image(platform, &[(tar, media::DOCKER_LAYER_GZIP)])
    };
    let (v6, v7) = (image("linux/arm/v6", "v6-library"), image("linux/arm/v7", "v7"));
    let index = content.index(&[(v7, "linux/arm/v7"), (v6, "linux/arm/v6")]);
    content.tag("3.24", index);
    (content, v6)
}

/// A registry whose content a test changes.
fn serve(content: Content) -> (Arc<Mutex<Content>>, Server) {
    let content = Arc::new(Mutex::new(content));
    let served = Arc::clone(&content);
    let server = Server::start(move |seen| answer(&served.lock().unwrap(), seen));
    (content, server)
}

fn workspace(root: &Path, server: &Server, more: &str) {
    let registry = format!(
        "[[alpine.source]]\nkind = \"registry\"\nreference = \"{}/library/alpine:3.24\"\n",
        server.host()
    );
    fs::create_dir_all(root.join("docker")).unwrap();
    fs::write(root.join(catalogue::FILE), registry + more).unwrap();
}

fn newest(root: &Path) -> (String, Found) {
    let cx = cx(root, false);
    let catalogue = chain::catalogue(&cx).unwrap();
    let sources = catalogue.sources(Base::Alpine);
    let (source, found, failures) = chain::first_of(&cx, &policies(), &REQUEST, sources, Want::Newest).unwrap();
    assert!(failures.is_empty(), "{failures:?}");
    (source.to_string(), found)
}

#[test]
fn an_image_is_locked_by_the_digest_of_its_platform() {
    let (content, v6) = alpine("3.24.1");
    let (content, server) = serve(content);
    let dir = tempfile::tempdir().unwrap();
    workspace(dir.path(), &server, "");
    let (source, found) = newest(dir.path());
    assert_eq!(source, format!("registry {}/library/alpine:3.24", server.host()));
    assert_eq!(found.inputs[0].digest, v6.to_string());
    assert!(
        found.origin.ends_with(&format!("/library/alpine:3.24@{v6}")),
        "{}",
        found.origin
    );
    assert_eq!(found.owners["lib/ld-musl-armhf.so.1"], "musl", "v6, not v7");
    // Blob, media type and configuration are the registry's.
    assert_eq!(found.layers[0].media_type(), media::DOCKER_LAYER_GZIP);
    let blob = content.lock().unwrap().blobs[&found.layers[0].digest()].clone();
    assert_eq!(found.layers[0].blob()[..], blob[..]);
    assert_eq!(found.config["config"]["Env"][0], "A=b");
    let mut locked = Lock::default();
    locked.set(Entry::of(Base::Alpine, Platform::ArmV6, &source, &found));
    fs::write(dir.path().join(lock::FILE), locked.render()).unwrap();

    // The tag moves on; what is locked does not, with and without the cache, and needs no network with it.
    let (moved, _) = alpine("3.24.2");
    {
        let mut content = content.lock().unwrap();
        content.tags = moved.tags.clone();
        content.manifests.extend(moved.manifests);
        content.blobs.extend(moved.blobs);
    }
    let digest = found.layers[0].digest();
    let resolve = |offline| xtask::base::resolve(&cx(dir.path(), offline), &policies(), &REQUEST);
    assert_eq!(resolve(true).unwrap().image.layers[0].digest(), digest);
    fs::remove_dir_all(dir.path().join("cache")).unwrap();
    assert_eq!(resolve(false).unwrap().image.layers[0].digest(), digest);
    let asked: Vec<String> = server.seen().into_iter().map(|seen| seen.target).collect();
    assert!(asked.last().unwrap().contains("/blobs/"), "{asked:?}");
    let refresh = Request {
        refresh: true,
        ..REQUEST
    };
    let fresh = xtask::base::resolve(&cx(dir.path(), false), &policies(), &refresh).unwrap();
    assert_ne!(fresh.image.layers[0].digest(), digest);

    // The registry deletes it.
    content.lock().unwrap().manifests.remove(&v6);
    fs::remove_dir_all(dir.path().join("cache")).unwrap();
    let error = resolve(false).unwrap_err();
    assert!(error.to_string().contains(&v6.to_string()), "{error}");
    assert!(error.next_step().is_some(), "{error}");
}

#[test]
fn a_registry_without_the_variant_gives_way_to_the_archive() {
    let mut content = Content::default();
    let v7 = content.image("linux/arm/v7", &[(root("3.24.1", &fixture("v7")), media::LAYER_GZIP)]);
    // To an engine an arm without a variant is v7.
    let bare = content.image("linux/arm", &[(root("3.24.1", &fixture("v7")), media::LAYER_GZIP)]);
    let index = content.index(&[(v7, "linux/arm/v7"), (bare, "linux/arm")]);
    content.tag("3.24", index);
    let (_, server) = serve(content);
    let mirror = Mirror::new("armhf");
    mirror.release("3.24.1", "2026-08-20", &minirootfs("3.24.1", &fixture("v6-library")));
    let dir = tempfile::tempdir().unwrap();
    let archive = format!(
        "[[alpine.source]]\nkind = \"minirootfs\"\nmirror = \"{}\"\nbranch = \"v3.24\"\n",
        mirror.url()
    );
    workspace(dir.path(), &server, &archive);
    let online = cx(dir.path(), false);
    let catalogue = chain::catalogue(&online).unwrap();
    let sources = catalogue.sources(Base::Alpine);
    let (source, _, failures) = chain::first_of(&online, &policies(), &REQUEST, sources, Want::Last).unwrap();
    assert_eq!(source.to_string(), "minirootfs v3.24");
    let error = &failures[0].error;
    assert!(error.to_string().contains("linux/arm/v6"), "{error}");
}

#[test]
fn an_image_that_lies_about_its_content_is_refused() {
    let mut content = Content::default();
    // It says v6 and has no loader of Debian's.
    let image = content.image(
        "linux/arm/v6",
        &[(root("3.24.1", &fixture("v6-library")), media::LAYER_ZSTD)],
    );
    content.tag("3.24", image);
    let (_, server) = serve(content);
    let dir = tempfile::tempdir().unwrap();
    let location = format!("docker://{}/library/alpine:3.24", server.host())
        .parse()
        .unwrap();
    let open = |base| {
        let cx = cx(dir.path(), false);
        xtask::base::own::resolve(&cx, &location, Path::new(""), base, Platform::ArmV6)
    };
    let base = open(Base::Alpine).unwrap();
    assert_eq!(
        base.image.layers[0].media_type(),
        media::LAYER_ZSTD,
        "not compressed anew"
    );
    let error = open(Base::Debian).unwrap_err();
    assert!(error.to_string().contains("started by /lib/ld-linux.so.3"), "{error}");
    assert_eq!(error.next_step(), Some("it looks like `--base alpine`"));
}
