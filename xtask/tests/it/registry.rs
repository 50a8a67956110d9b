//! Registries: one in this process with a script of faults, and Debian's docker-registry.

pub mod content;
mod environment;
mod push;
pub mod real;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

pub use content::Content;
use content::tar;
pub use real::{Real, USERS};
use xtask::cx::Cx;
use xtask::error::Error;
use xtask::http::{Client, Options, Proxies, Secret};
use xtask::oci::layer::Limits;
use xtask::oci::reference::HUB;
use xtask::oci::{Digest, Reference, media};
use xtask::registry::{Places, Pulled, Registry, Variants};
use xtask::target::Platform;

use crate::http::server::{Fault, Reply, Seen, Server, Waits};
use crate::http::{cx, impatient, options};

/// What a registry answers when nothing goes wrong.
pub fn answer(content: &Content, seen: &Seen) -> Reply {
    let error = |code: &str| {
        let body = format!(r#"{{"errors":[{{"code":"{code}","message":"what was asked for"}}]}}"#);
        Reply::new(404, body).header("Content-Type", "application/json")
    };
    let path = seen.target.split('?').next().unwrap();
    if path == "/v2/" {
        return Reply::new(200, "{}");
    }
    if let Some((_, target)) = path.rsplit_once("/manifests/") {
        let digest = content.tags.get(target).copied().or_else(|| target.parse().ok());
        return match digest.and_then(|digest| Some((digest, content.manifests.get(&digest)?))) {
            Some((digest, (media_type, bytes))) => Reply::new(200, bytes.clone())
                .header("Content-Type", media_type)
                .header("Docker-Content-Digest", digest),
            None => error("MANIFEST_UNKNOWN"),
        };
    }
    if let Some((_, digest)) = path.rsplit_once("/blobs/") {
        return match digest
            .parse::<Digest>()
            .ok()
            .and_then(|digest| content.blobs.get(&digest))
        {
            Some(bytes) => Reply::ranged(seen, bytes),
            None => error("BLOB_UNKNOWN"),
        };
    }
    error("NAME_INVALID")
}

/// A registry with this content and no faults.
fn serve(content: &Content) -> Server {
    let content = content.clone();
    Server::start(move |seen| answer(&content, seen))
}

fn reference(server: &Server, rest: &str) -> Reference {
    format!("{}/{rest}", server.host()).parse().unwrap()
}

pub fn registry(waits: &Arc<Waits>, places: Places) -> Registry {
    Registry::new(Client::new(options(), Arc::clone(waits) as _), places, [])
}

fn anonymous() -> Registry {
    registry(&Waits::new(), Places::default())
}

fn pull(registry: &Registry, cx: &Cx, reference: &Reference) -> Result<Pulled, Error> {
    registry.pull(cx, reference, Platform::ArmV6, Variants::Exact)
}

pub fn text(error: &Error) -> String {
    format!("{error} | {}", error.next_step().unwrap_or_default())
}

fn password(host: &str) -> Places {
    Places {
        environment: Some((host.to_owned(), "me".to_owned(), Secret::new("hunter2"))),
        files: Vec::new(),
    }
}

fn requests(server: &Server) -> Vec<String> {
    let line = |seen: &Seen| format!("{} {}", seen.method, seen.target);
    server.seen().iter().map(line).collect()
}

/// The entries of `etc/platform` in the pulled layers.
fn platform_of(pulled: &Pulled) -> String {
    let base = pulled.to_base(&Limits::default()).unwrap();
    let mut entries = base
        .layers
        .iter()
        .flat_map(|layer| layer.entries(&Limits::default()).unwrap());
    let file = entries.rfind(|entry| entry.path == "etc/platform").unwrap();
    match file.kind {
        xtask::oci::EntryKind::File(bytes) => String::from_utf8(bytes).unwrap(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_right_variant_is_pulled_and_found_again_without_a_network() {
    let dir = tempfile::tempdir().unwrap();
    let mut cx = cx(dir.path());
    let mut content = Content::default();
    let index = content.usual();
    let server = serve(&content);
    let registry = anonymous();
    let reference = reference(&server, "a/b");
    let pulled = pull(&registry, &cx, &reference).unwrap();
    assert_eq!(pulled.resolved.index, Some(index));
    assert_eq!(pulled.resolved.listed.as_deref(), Some("linux/arm/v6"));
    assert_eq!(
        pulled.resolved.reference.to_string(),
        format!("{}/a/b:latest@{index}", server.host())
    );
    assert_eq!(Digest::of(&pulled.manifest), pulled.resolved.manifest);
    assert_eq!(platform_of(&pulled), "linux/arm/v6");
    for layer in &pulled.layers {
        assert!(std::fs::read(&layer.path).unwrap() == content.blobs[&layer.digest]);
    }
    let base = pulled.to_base(&Limits::default()).unwrap();
    let digests: Vec<Digest> = base.layers.iter().map(|layer| layer.digest()).collect();
    assert_eq!(
        digests,
        pulled.layers.iter().map(|layer| layer.digest).collect::<Vec<_>>()
    );
    assert_eq!(base.layers[0].created_by(), "step 0");
    assert_eq!(base.config["config"]["Env"][0], "A=b");

    // By tag, one HEAD tells that all of it is here: Docker Hub counts GETs.
    let before = server.seen().len();
    let again = pull(&registry, &cx, &reference).unwrap();
    assert_eq!(again.resolved, pulled.resolved);
    assert_eq!(requests(&server)[before..], ["HEAD /v2/a/b/manifests/latest"]);
    // By digest nobody is asked.
    cx.offline = true;
    let before = server.seen().len();
    let offline = pull(&registry, &cx, &pulled.resolved.reference).unwrap();
    assert_eq!(offline.resolved.manifest, pulled.resolved.manifest);
    assert_eq!(server.seen().len(), before);
    // A tag can mean anything tomorrow.
    let error = text(&pull(&registry, &cx, &reference).unwrap_err());
    assert!(error.contains("--offline") && error.contains("by digest"), "{error}");
    // What is not here is named.
    let error = registry
        .pull(&cx, &pulled.resolved.reference, Platform::ArmV7, Variants::Exact)
        .unwrap_err();
    assert!(text(&error).contains("--offline forbids it"), "{}", text(&error));
}

#[test]
fn resolving_fetches_no_layer() {
    let dir = tempfile::tempdir().unwrap();
    let cx = cx(dir.path());
    let mut content = Content::default();
    let index = content.usual();
    let server = serve(&content);
    let found = anonymous()
        .resolve(&cx, &reference(&server, "x"), Platform::ArmV7, Variants::Exact)
        .unwrap();
    assert_eq!(
        (found.index, found.listed.as_deref()),
        (Some(index), Some("linux/arm/v7"))
    );
    assert!(!requests(&server).iter().any(|line| line.contains("/blobs/")));
    let seen = server.seen();
    let manifest = seen.iter().find(|seen| seen.method == "GET").unwrap();
    let accepted: Vec<&str> = manifest
        .headers
        .iter()
        .filter(|(name, _)| name == "accept")
        .map(|(_, v)| &v[..])
        .collect();
    assert_eq!(
        accepted,
        [
            media::INDEX,
            media::MANIFEST,
            media::DOCKER_INDEX,
            media::DOCKER_MANIFEST
        ]
    );
}

#[test]
fn layers_of_every_kind_keep_their_bytes_and_media_types() {
    let dir = tempfile::tempdir().unwrap();
    let cx = cx(dir.path());
    let mut content = Content::default();
    let kinds = [media::LAYER_TAR, media::LAYER_GZIP, media::LAYER_ZSTD];
    let docker = [
        media::DOCKER_LAYER_TAR,
        media::DOCKER_LAYER_GZIP,
        media::DOCKER_LAYER_ZSTD,
    ];
    for (name, kinds) in [("oci", kinds), ("docker", docker)] {
        let layers: Vec<_> = kinds
            .iter()
            .map(|kind| (tar("etc/platform", kind.as_bytes()), *kind))
            .collect();
        let image = content.image("linux/arm/v6", &layers);
        content.tag(name, image);
    }
    let server = serve(&content);
    for (name, kinds) in [("oci", kinds), ("docker", docker)] {
        let pulled = pull(&anonymous(), &cx, &reference(&server, &format!("x:{name}"))).unwrap();
        assert_eq!(pulled.resolved.index, None);
        let base = pulled.to_base(&Limits::default()).unwrap();
        let found: Vec<&str> = base.layers.iter().map(|layer| layer.media_type()).collect();
        assert_eq!(found, kinds);
        for layer in &base.layers {
            assert!(
                layer.blob()[..] == content.blobs[&layer.digest()][..],
                "the blob is what was pulled"
            );
        }
    }
}

#[test]
fn what_a_zero_cannot_run_is_not_pulled() {
    let dir = tempfile::tempdir().unwrap();
    let cx = cx(dir.path());
    let mut content = Content::default();
    let one = |platform: &str, content: &mut Content| {
        let layer = tar("etc/platform", platform.as_bytes());
        content.image(platform, &[(layer, media::DOCKER_LAYER_GZIP)])
    };
    let (v5, v7) = (one("linux/arm/v5", &mut content), one("linux/arm/v7", &mut content));
    let bare = one("linux/arm", &mut content);
    for (tag, index) in [
        ("debian", content.index(&[(v7, "linux/arm/v7"), (v5, "linux/arm/v5")])),
        ("v7", content.index(&[(v7, "linux/arm/v7")])),
        ("bare-index", content.index(&[(bare, "linux/arm")])),
        // The index claims what the configuration denies.
        ("liar", content.index(&[(v7, "linux/arm/v6")])),
        ("old", content.index(&[(bare, "linux/arm/v6")])),
    ] {
        content.tag(tag, index);
    }
    content.tag("bare", bare);
    content.tag("single-v7", v7);
    let server = serve(&content);
    let try_pull = |tag: &str, variants| {
        anonymous().pull(&cx, &reference(&server, &format!("x:{tag}")), Platform::ArmV6, variants)
    };
    for (tag, expected) in [
        (
            "debian",
            "it has nothing for linux/arm/v6; there are: linux/arm/v7, linux/arm/v5 | linux/arm/v5 would run",
        ),
        ("v7", "there are: linux/arm/v7 | an `arm` without a variant means v7"),
        (
            "bare-index",
            "there are: linux/arm | an `arm` without a variant means v7",
        ),
        (
            "liar",
            "its configuration says linux/arm/v7, the index linux/arm/v6: one of them is wrong",
        ),
        (
            "bare",
            "it is for linux/arm, and linux/arm/v6 is wanted | an `arm` without a variant means v7",
        ),
        ("single-v7", "it is for linux/arm/v7, and linux/arm/v6 is wanted"),
    ] {
        let error = text(&try_pull(tag, Variants::Exact).unwrap_err());
        assert!(error.contains(expected), "{tag}: {error}");
        assert!(error.contains(&server.host()), "{tag}: {error}");
    }
    assert!(!requests(&server).iter().any(|line| {
        content
            .blobs
            .iter()
            .any(|(digest, bytes)| bytes.starts_with(&[0x1f, 0x8b]) && line.contains(&digest.hex()))
    }));
    // v5 is taken where it is asked for, and an index may know more than an old configuration.
    let pulled = try_pull("debian", Variants::Older).unwrap();
    assert_eq!(
        (platform_of(&pulled).as_str(), pulled.resolved.listed.as_deref()),
        ("linux/arm/v5", Some("linux/arm/v5"))
    );
    assert_eq!(platform_of(&try_pull("old", Variants::Exact).unwrap()), "linux/arm");
}

#[test]
fn blobs_survive_what_networks_do() {
    let dir = tempfile::tempdir().unwrap();
    let cx = cx(dir.path());
    let mut content = Content::default();
    let big = tar("etc/platform", &crate::http::noise(500_000));
    let image = content.image("linux/arm/v6", &[(big, media::LAYER_TAR)]);
    content.tag("latest", image);
    let (waits, count) = (Waits::new(), AtomicUsize::new(0));
    let server = {
        let content = content.clone();
        Server::start(move |seen| {
            let reply = answer(&content, seen);
            // The layer is the one blob that is not JSON.
            if !seen.target.contains("/blobs/") || reply.body.first() == Some(&b'{') {
                return reply;
            }
            match count.fetch_add(1, Ordering::SeqCst) {
                0 => Reply::new(429, "You have reached your limit.\n").header("Retry-After", "60"),
                1 => reply.fault(Fault::Reset(100_000)),
                2 => Reply::new(500, "oops"),
                3 => Reply::new(502, "<html>bad gateway</html>"),
                4 => reply.fault(Fault::Stall(100_000)),
                5 => Reply::new(503, "").header("Retry-After", "5"),
                6 => reply.fault(Fault::Close(100_000)),
                _ => reply,
            }
        })
    };
    let pulled = pull(
        &Registry::new(Client::new(impatient(), waits.clone()), Places::default(), []),
        &cx,
        &reference(&server, "x"),
    )
    .unwrap();
    assert!(std::fs::read(&pulled.layers[0].path).unwrap() == content.blobs[&pulled.layers[0].digest]);
    let starts: Vec<usize> = server.seen().iter().filter_map(Seen::range).collect();
    assert_eq!(starts, [100_000, 100_000, 100_000, 200_000, 200_000, 300_000]);
    assert!(
        waits.seconds().contains(&60.5) && waits.seconds().contains(&5.5),
        "{:?}",
        waits.seconds()
    );
}

#[test]
fn nothing_is_believed() {
    let dir = tempfile::tempdir().unwrap();
    let mut content = Content::default();
    content.usual();
    let other = content.image("linux/arm/v6", &[(tar("etc/platform", b"evil"), media::LAYER_GZIP)]);
    let (other_type, other_bytes) = content.manifests[&other].clone();
    let content = Arc::new(content);
    type Spoil = Box<dyn Fn(&Seen, Reply) -> Reply + Send + Sync>;
    let spoilt = |spoil: Spoil| {
        let content = Arc::clone(&content);
        let server = Server::start(move |seen| spoil(seen, answer(&content, seen)));
        let fresh = tempfile::tempdir_in(dir.path()).unwrap();
        let result = pull(&anonymous(), &cx(fresh.path()), &reference(&server, "x"));
        // Whatever came, the cache has nothing that is not what it is called.
        for entry in std::fs::read_dir(fresh.path().join("sha256")).into_iter().flatten() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            assert_eq!(Digest::of(&std::fs::read(&path).unwrap()).hex(), name);
        }
        result
    };
    let header = |name: &'static str, value: String| {
        move |mut reply: Reply| {
            reply.headers.retain(|(header, _)| header != name);
            if !value.is_empty() {
                reply.headers.push((name.to_owned(), value.clone()));
            }
            reply
        }
    };
    let lie = header("Docker-Content-Digest", other.to_string());
    let get = |seen: &Seen| seen.method == "GET" && seen.target.contains("/manifests/");
    // GET has another digest in its header than in its body.
    let error = text(&spoilt(Box::new(move |seen, reply| if get(seen) { lie(reply) } else { reply })).unwrap_err());
    assert!(
        error.contains("the registry says") && error.contains("damaged or lies"),
        "{error}"
    );
    // The body is another manifest, without a header that would give it away.
    let (kind, bytes) = (other_type.clone(), other_bytes.clone());
    let swap = move |seen: &Seen, reply: Reply| match get(seen) {
        true => Reply::new(200, bytes.clone()).header("Content-Type", &kind),
        false => reply,
    };
    let error = text(&spoilt(Box::new(swap)).unwrap_err());
    assert!(
        error.contains(&format!("the registry sends {other} instead")),
        "{error}"
    );
    // A layer with a flipped bit, and one that is cut short.
    let flip = |seen: &Seen, mut reply: Reply| {
        if seen.target.contains("/blobs/") && reply.body.first() == Some(&0x1f) {
            let last = reply.body.len() - 1;
            reply.body[last] ^= 1;
        }
        reply
    };
    let error = text(&spoilt(Box::new(flip)).unwrap_err());
    assert!(
        error.contains("expected") && error.contains("distrust the server"),
        "{error}"
    );
    let cut = |seen: &Seen, mut reply: Reply| {
        if seen.target.contains("/blobs/") && reply.body.first() == Some(&0x1f) {
            reply.body.truncate(50);
        }
        reply
    };
    let error = text(&spoilt(Box::new(cut)).unwrap_err());
    assert!(error.contains("50 bytes came"), "{error}");
    // HEAD without a digest, without a length, or not at all: GET will do.
    let bare = header("Docker-Content-Digest", String::new());
    assert!(spoilt(Box::new(move |_, reply| bare(reply))).is_ok());
    let refuse = |seen: &Seen, reply| {
        if seen.method == "HEAD" {
            Reply::new(405, "")
        } else {
            reply
        }
    };
    assert!(spoilt(Box::new(refuse)).is_ok());
    // Schema 1, and a type that contradicts the body.
    let old = |seen: &Seen, reply: Reply| match seen.target.contains("/manifests/") {
        true => Reply::new(200, r#"{"schemaVersion":1,"fsLayers":[]}"#),
        false => reply,
    };
    let error = text(&spoilt(Box::new(old)).unwrap_err());
    assert!(error.contains("schema 1"), "{error}");
    let mistyped = header("Content-Type", media::MANIFEST.to_owned());
    let error = text(&spoilt(Box::new(move |_, reply| mistyped(reply))).unwrap_err());
    assert!(error.contains("and the registry that it is"), "{error}");
}

/// A token server and a registry that wants its tokens. `lives` is how many requests a token is good for.
struct Guarded {
    tokens: Server,
    registry: Server,
}

fn guarded(content: &Content, lives: usize, wanted: &'static str) -> Guarded {
    let issued = Arc::new(Mutex::new(Vec::<usize>::new()));
    let tokens = {
        let issued = Arc::clone(&issued);
        Server::start(move |seen| {
            let given = seen.header("authorization").unwrap_or("nothing");
            let body = String::from_utf8_lossy(&seen.body);
            if !(given == wanted || wanted == "POST" && body.contains("refresh_token=id%2Fent%2Bity")) {
                return Reply::new(401, r#"{"details":"incorrect username or password"}"#);
            }
            let mut issued = issued.lock().unwrap();
            issued.push(lives);
            let name = if seen.method == "POST" { "access_token" } else { "token" };
            Reply::new(
                200,
                format!(r#"{{"{name}":"t0ken-{}","expires_in":300}}"#, issued.len()),
            )
        })
    };
    let realm = tokens.url("/token?x=y");
    let content = content.clone();
    let registry = Server::start(move |seen| {
        if seen.target == "/v2/" {
            return Reply::new(401, "");
        }
        let mut issued = issued.lock().unwrap();
        let number = seen
            .header("authorization")
            .and_then(|text| text.strip_prefix("Bearer t0ken-"));
        let number: Option<usize> = number.and_then(|number| number.parse().ok());
        match number.and_then(|number| issued.get_mut(number - 1)) {
            Some(left) if *left > 0 => {
                *left -= 1;
                answer(&content, seen)
            }
            _ => Reply::new(401, r#"{"errors":[{"code":"UNAUTHORIZED"}]}"#).header(
                "WWW-Authenticate",
                format!(
                    r#"Bearer realm="{realm}",service="the registry",scope="repository:a/b:pull",error="invalid_token""#
                ),
            ),
        }
    });
    Guarded { tokens, registry }
}

#[test]
fn a_token_is_got_once_and_used_for_all() {
    let dir = tempfile::tempdir().unwrap();
    let cx = cx(dir.path());
    let mut content = Content::default();
    content.usual();
    let guarded = guarded(&content, 100, "nothing");
    let waits = Waits::new();
    let registry = registry(&waits, Places::default());
    let reference = reference(&guarded.registry, "a/b");
    pull(&registry, &cx, &reference).unwrap();
    assert_eq!(
        requests(&guarded.tokens),
        ["GET /token?x=y&service=the+registry&scope=repository%3Aa%2Fb%3Apull"]
    );
    let denied = guarded
        .registry
        .seen()
        .iter()
        .filter(|seen| seen.header("authorization").is_none())
        .count();
    assert_eq!(denied, 1, "the first request");
    // Its life is over by our clock: another is got before it is refused.
    waits.pass(Duration::from_secs(280));
    registry
        .resolve(&cx, &reference, Platform::ArmV7, Variants::Exact)
        .unwrap();
    assert_eq!(guarded.tokens.seen().len(), 2);
}

#[test]
fn a_token_that_ends_in_the_middle_is_replaced() {
    let dir = tempfile::tempdir().unwrap();
    let cx = cx(dir.path());
    let mut content = Content::default();
    content.usual();
    // HEAD, index, manifest, configuration and two layers: every second request needs a new token.
    let guarded = guarded(&content, 2, "nothing");
    let pulled = pull(&anonymous(), &cx, &reference(&guarded.registry, "a/b")).unwrap();
    assert_eq!(platform_of(&pulled), "linux/arm/v6");
    assert!(
        (3..=4).contains(&guarded.tokens.seen().len()),
        "{:?}",
        requests(&guarded.tokens)
    );
    // Tokens that are never good are not asked for again and again.
    let useless = self::guarded(&content, 0, "nothing");
    let error = text(&pull(&anonymous(), &cx, &reference(&useless.registry, "a/b")).unwrap_err());
    assert!(
        error.contains("is refused") && error.contains("docker login"),
        "{error}"
    );
    assert_eq!(useless.tokens.seen().len(), 2, "one for HEAD, one for GET");
}

#[test]
fn user_and_password_go_to_the_token_server() {
    let dir = tempfile::tempdir().unwrap();
    let cx = cx(dir.path());
    let mut content = Content::default();
    content.usual();
    let guarded = guarded(&content, 100, "Basic bWU6aHVudGVyMg==");
    let reference = reference(&guarded.registry, "a/b");
    let host = guarded.registry.host();
    pull(&registry(&Waits::new(), password(&host)), &cx, &reference).unwrap();
    // The registry never saw them.
    for seen in guarded.registry.seen() {
        assert!(!format!("{seen:?}").contains("bWU6aHVudGVyMg"));
    }
    // A wrong one is said to be wrong, and shown nowhere.
    let wrong = Places {
        environment: Some((host.clone(), "me".to_owned(), Secret::new("wr0ng"))),
        files: Vec::new(),
    };
    let places = format!("{wrong:?}");
    let other = tempfile::tempdir().unwrap();
    let error = pull(&registry(&Waits::new(), wrong), &self::cx(other.path()), &reference).unwrap_err();
    let said = text(&error);
    assert!(
        said.contains(&format!("{host} does not accept the user or the password")),
        "{said}"
    );
    assert!(said.contains("docker login"), "{said}");
    for secret in ["wr0ng", "bWU6d3IwbmcK", "bWU6d3IwbmM"] {
        assert!(!format!("{said} {error:?} {places}").contains(secret), "{said}");
    }
    // Those of another registry are nobody's.
    let error = pull(
        &registry(&Waits::new(), password("ghcr.io")),
        &self::cx(other.path()),
        &reference,
    )
    .unwrap_err();
    assert!(text(&error).contains("is refused"), "{}", text(&error));
}

#[test]
fn an_identity_token_is_exchanged_and_a_registry_token_is_sent() {
    let dir = tempfile::tempdir().unwrap();
    let mut content = Content::default();
    content.usual();
    let guarded = guarded(&content, 100, "POST");
    let host = guarded.registry.host();
    let with = |entry: &str| {
        let file = dir.path().join("config.json");
        std::fs::write(&file, format!(r#"{{"auths":{{"{host}":{entry}}}}}"#)).unwrap();
        let places = Places {
            environment: None,
            files: vec![file],
        };
        let fresh = tempfile::tempdir_in(dir.path()).unwrap();
        pull(
            &registry(&Waits::new(), places),
            &cx(fresh.path()),
            &reference(&guarded.registry, "a/b"),
        )
    };
    with(r#"{"identitytoken":"id/ent+ity"}"#).unwrap();
    let seen = guarded.tokens.seen();
    assert_eq!(seen[0].method, "POST");
    assert_eq!(
        seen[0].header("content-type"),
        Some("application/x-www-form-urlencoded")
    );
    let body = String::from_utf8_lossy(&seen[0].body).into_owned();
    assert_eq!(
        body,
        "grant_type=refresh_token&client_id=raspi-image&service=the+registry\
         &scope=repository%3Aa%2Fb%3Apull&refresh_token=id%2Fent%2Bity"
    );
    // A token that is given as it is goes nowhere but to the registry.
    with(r#"{"registrytoken":"t0ken-1"}"#).unwrap();
    assert_eq!(guarded.tokens.seen().len(), 1);
}

#[test]
fn basic_is_answered_and_blobs_elsewhere_get_no_credentials() {
    let dir = tempfile::tempdir().unwrap();
    let cx = cx(dir.path());
    let mut content = Content::default();
    content.usual();
    let content = Arc::new(content);
    let cdn = {
        let content = Arc::clone(&content);
        Server::start(move |seen| match seen.header("authorization") {
            // What signed addresses do when they see two signatures.
            Some(_) => Reply::new(400, "only one auth mechanism allowed"),
            None => answer(&content, seen),
        })
    };
    let elsewhere = cdn.url("");
    let server = Server::start(move |seen| match seen.header("authorization") {
        Some("Basic bWU6aHVudGVyMg==") if seen.target.contains("/blobs/") => {
            Reply::new(307, "").header("Location", format!("{elsewhere}{}?sig=abc", seen.target))
        }
        Some("Basic bWU6aHVudGVyMg==") => answer(&content, seen),
        _ => Reply::new(401, "").header("WWW-Authenticate", r#"Negotiate, Basic realm="x, y""#),
    });
    let reference = reference(&server, "a/b");
    let pulled = pull(&registry(&Waits::new(), password(&server.host())), &cx, &reference).unwrap();
    assert_eq!(platform_of(&pulled), "linux/arm/v6");
    assert_eq!(cdn.seen().len(), 3);
    let error = text(&pull(&anonymous(), &cx, &reference).unwrap_err());
    assert!(error.contains("is refused: GET http://127.0.0.1"), "{error}");
    assert!(error.contains(&format!("docker login {}", server.host())), "{error}");
}

#[test]
fn refusals_say_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let cx = cx(dir.path());
    let with = |status: u16, body: &'static str| {
        let server = Server::start(move |_| Reply::new(status, body));
        text(&pull(&anonymous(), &cx, &reference(&server, "a/b:c")).unwrap_err())
    };
    let missing = with(
        404,
        r#"{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown","detail":{}}]}"#,
    );
    assert!(missing.starts_with("there is no 127.0.0.1:"), "{missing}");
    assert!(
        missing.contains("MANIFEST_UNKNOWN, manifest unknown") && missing.contains("check name and tag"),
        "{missing}"
    );
    let denied = with(
        403,
        r#"{"errors":[{"code":"DENIED","message":"requested access is denied"}]}"#,
    );
    assert!(
        denied.contains("is refused") && denied.contains("it is private, or it does not exist"),
        "{denied}"
    );
    let broken = with(500, "<html><body>nginx</body></html>");
    assert!(
        broken.contains("answers 500 Internal Server Error (5 attempts)") && !broken.contains("nginx"),
        "{broken}"
    );
    assert!(with(429, "slow down").contains("has had enough requests for now"));
    assert!(with(200, "hello").contains("it is no manifest"));
}

/// Docker Hub without a network: its name leads to a proxy, and the proxy is ours.
#[test]
fn docker_hub_goes_by_two_names_and_has_a_limit() {
    let dir = tempfile::tempdir().unwrap();
    let cx = cx(dir.path());
    let host = format!("registry-1.{HUB}");
    let proxy = Server::start(|seen| {
        let limited = Reply::new(
            429,
            r#"{"errors":[{"code":"TOOMANYREQUESTS","message":"You have reached your pull rate limit."}]}"#,
        );
        match seen.target.ends_with("/manifests/latest") {
            true => limited
                .header("ratelimit-limit", "100;w=21600")
                .header("Retry-After", "9999"),
            false => Reply::new(404, ""),
        }
    });
    let options = Options {
        proxies: Proxies {
            http: format!("http://{}", proxy.host()),
            ..Proxies::default()
        },
        ..options()
    };
    let registry = Registry::new(Client::new(options, Waits::new()), Places::default(), [host.clone()]);
    let error = text(&pull(&registry, &cx, &"alpine".parse().unwrap()).unwrap_err());
    assert_eq!(
        proxy.seen()[0].target,
        format!("http://{host}/v2/library/alpine/manifests/latest")
    );
    assert!(error.contains("Docker Hub's limit is reached (100;w=21600)"), "{error}");
    assert!(
        error.contains("You have reached your pull rate limit") && error.contains("100 pulls in 6 hours"),
        "{error}"
    );
}

#[test]
fn plain_http_is_for_loopback_or_where_it_is_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let cx = cx(dir.path());
    let proxy = Server::start(|_| Reply::new(404, ""));
    let with = |plain: &[&str]| {
        let proxies = Proxies {
            all: format!("http://{}", proxy.host()),
            ..Proxies::default()
        };
        let client = Client::new(Options { proxies, ..options() }, Waits::new());
        let registry = Registry::new(client, Places::default(), plain.iter().map(|host| (*host).to_owned()));
        text(&pull(&registry, &cx, &"registry.invalid:5000/a".parse().unwrap()).unwrap_err())
    };
    with(&[]);
    assert_eq!(
        proxy.seen().last().unwrap().method,
        "CONNECT",
        "TLS is spoken through the proxy"
    );
    with(&["registry.invalid:5000"]);
    assert_eq!(
        proxy.seen().last().unwrap().target,
        "http://registry.invalid:5000/v2/a/manifests/latest"
    );
}
