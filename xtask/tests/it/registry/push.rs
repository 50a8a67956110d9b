//! Pushing, to a registry with a script of faults and to Debian's.

mod faults;
mod listed;
mod pulled;
mod resume;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};

use serde_json::Value;
use xtask::cx::Cx;
use xtask::error::Error;
use xtask::oci::layer::Limits;
use xtask::oci::{Digest, Image, ImageIndex, Reference, layout, media};
use xtask::registry::{Content as Wanted, Places, Registry, Sent, Variants};
use xtask::shell::Shell;
use xtask::target::Platform;

use super::content::{Content, tar};
use super::real::{Real, USERS, user};
use super::{answer, password, registry, text};
use crate::http::server::{Fault, Reply, Seen, Server, Waits};
use crate::http::{cx, noise, options};
use crate::require::require_program;

/// What the registry holds, and the uploads that are open.
#[derive(Default)]
struct State {
    content: Content,
    /// Blobs of another repository, which can be mounted.
    others: BTreeMap<Digest, Vec<u8>>,
    uploads: Vec<Option<Vec<u8>>>,
    /// Bytes that PATCH and PUT took.
    taken: usize,
}

/// What goes wrong. It sees the request, and how many of its method came before; it may answer in the registry's place, or
/// change what the registry answers.
type Script = dyn Fn(&Seen, usize, &mut dyn FnMut() -> Reply) -> Reply + Send + Sync;

fn upload_registry(state: &Arc<Mutex<State>>, script: Box<Script>) -> Server {
    let state = Arc::clone(state);
    let counts: Mutex<BTreeMap<String, usize>> = Mutex::default();
    Server::start(move |seen| {
        let count = {
            let mut counts = counts.lock().unwrap();
            let count = counts.entry(seen.method.clone()).or_default();
            *count += 1;
            *count - 1
        };
        script(seen, count, &mut || take(&mut state.lock().unwrap(), seen))
    })
}

fn parameter(seen: &Seen, name: &str) -> Option<String> {
    let query = seen.target.split_once('?')?.1;
    let found = url::form_urlencoded::parse(query.as_bytes()).find(|(key, _)| key == name);
    found.map(|(_, value)| value.into_owned())
}

/// A registry that does what the specification says.
fn take(state: &mut State, seen: &Seen) -> Reply {
    let path = seen.target.split('?').next().unwrap();
    let at = |number: usize, have: usize| {
        let reply = Reply::new(202, "").header("Range", format!("0-{}", have.saturating_sub(1)));
        // Relative, as it may be, with a state that must come back.
        reply.header("Location", format!("/v2/a/b/blobs/uploads/{number}?_state=x%2Fy"))
    };
    if seen.method == "POST" {
        let mount: Option<Digest> = parameter(seen, "mount").and_then(|digest| digest.parse().ok());
        if let Some((digest, bytes)) = mount.and_then(|digest| Some((digest, state.others.get(&digest)?))) {
            state.content.blobs.insert(digest, bytes.clone());
            return Reply::new(201, "").header("Location", "/blob");
        }
        state.uploads.push(Some(Vec::new()));
        return at(state.uploads.len() - 1, 0);
    }
    if let Some((_, number)) = path.rsplit_once("/uploads/") {
        assert_eq!(parameter(seen, "_state").as_deref(), Some("x/y"), "{}", seen.target);
        let number: usize = number.parse().unwrap();
        let Some(upload) = &mut state.uploads[number] else {
            return Reply::new(404, r#"{"errors":[{"code":"BLOB_UPLOAD_UNKNOWN"}]}"#);
        };
        if seen.method == "GET" {
            return Reply {
                status: 204,
                ..at(number, upload.len())
            };
        }
        if let Some(range) = seen.header("content-range")
            && range.split('-').next() != Some(&upload.len().to_string())
        {
            return Reply {
                status: 416,
                ..at(number, upload.len())
            };
        }
        upload.extend(&seen.body);
        state.taken += seen.body.len();
        if seen.method == "PATCH" {
            return at(number, upload.len());
        }
        let bytes = std::mem::take(upload);
        state.uploads[number] = None;
        let digest = Digest::of(&bytes);
        if parameter(seen, "digest") != Some(digest.to_string()) {
            return Reply::new(
                400,
                r#"{"errors":[{"code":"DIGEST_INVALID","message":"not what it says"}]}"#,
            );
        }
        state.content.blobs.insert(digest, bytes);
        return Reply::new(201, "").header("Docker-Content-Digest", digest);
    }
    if seen.method == "PUT" {
        let target = path.rsplit_once("/manifests/").unwrap().1;
        let digest = Digest::of(&seen.body);
        // A registry refuses what it does not have all of.
        let document: Value = serde_json::from_slice(&seen.body).unwrap();
        for list in ["layers", "manifests"] {
            for part in document[list]
                .as_array()
                .into_iter()
                .flatten()
                .chain([&document["config"]])
            {
                let Some(part) = part["digest"].as_str().map(|text| text.parse::<Digest>().unwrap()) else {
                    continue;
                };
                if !(state.content.blobs.contains_key(&part) || state.content.manifests.contains_key(&part)) {
                    return Reply::new(404, r#"{"errors":[{"code":"MANIFEST_BLOB_UNKNOWN"}]}"#);
                }
            }
        }
        let kind = seen.header("content-type").unwrap().to_owned();
        state.content.manifests.insert(digest, (kind, seen.body.clone()));
        if target.parse::<Digest>().is_err() {
            state.content.tag(target, digest);
        }
        return Reply::new(201, "").header("Docker-Content-Digest", digest);
    }
    answer(&state.content, seen)
}

fn push_blob(server: &Server, bytes: &[u8], from: Option<&str>) -> Result<Sent, Error> {
    let dir = tempfile::tempdir().unwrap();
    let (to, from) = (reference(server, "a/b"), from.map(|from| reference(server, from)));
    anonymous()
        .push_to(&cx(dir.path()), &to)
        .mounting(from)
        .blob(&wanted(bytes))
}

fn wanted(bytes: &[u8]) -> Wanted {
    Wanted::new(Arc::from(bytes), Digest::of(bytes), "a blob")
}

fn reference(server: &Server, rest: &str) -> Reference {
    format!("{}/{rest}", server.host()).parse().unwrap()
}

fn anonymous() -> Registry {
    registry(&Waits::new(), Places::default())
}

fn methods(server: &Server) -> String {
    server
        .seen()
        .iter()
        .map(|seen| seen.method.clone())
        .collect::<Vec<_>>()
        .join(" ")
}

/// Three chunks: 8 MiB, 8 MiB, and the rest. No chunk's length is a multiple of the pattern's, so none passes for another.
fn large() -> Vec<u8> {
    let mut bytes = noise(65_521).repeat(321);
    bytes.truncate((20 << 20) + 12_345);
    bytes
}

#[test]
fn what_is_there_is_not_sent() {
    let state: Arc<Mutex<State>> = Arc::default();
    let server = upload_registry(&state, Box::new(|_, _, go| go()));
    let bytes = noise(5000);
    assert_eq!(push_blob(&server, &bytes, None).unwrap(), Sent::Uploaded);
    assert_eq!(methods(&server), "HEAD POST PUT HEAD", "small ones go in one PUT");
    assert_eq!(push_blob(&server, &bytes, None).unwrap(), Sent::Present);
    assert_eq!(state.lock().unwrap().taken, 5000);
    assert_eq!(push_blob(&server, b"", None).unwrap(), Sent::Uploaded);
    // 201 is a mount; 202 begins an upload, which goes on.
    let other = noise(6000);
    state.lock().unwrap().others.insert(Digest::of(&other), other.clone());
    assert_eq!(push_blob(&server, &other, Some("c/d")).unwrap(), Sent::Mounted);
    assert_eq!(push_blob(&server, &noise(7000), Some("c/d")).unwrap(), Sent::Uploaded);
    assert_eq!(state.lock().unwrap().taken, 12_000);
    assert!(
        server
            .seen()
            .iter()
            .any(|seen| seen.target.contains("?mount=sha256%3A") && seen.target.ends_with("&from=c%2Fd"))
    );
}

#[test]
fn large_blobs_go_in_chunks_and_no_acknowledged_one_twice() {
    let bytes = large();
    // Each of these happens once, in the middle of the blob.
    let faults: Vec<(&str, Box<Script>)> = vec![
        ("nothing", Box::new(|_, _, go| go())),
        (
            "503 before it was taken",
            Box::new(|seen, count, go| match (&seen.method[..], count) {
                ("PATCH", 1) => Reply::new(503, "").header("Retry-After", "1"),
                _ => go(),
            }),
        ),
        (
            "500 after it was taken",
            Box::new(|seen, count, go| {
                let reply = go();
                if seen.method == "PATCH" && count == 1 {
                    Reply::new(500, "")
                } else {
                    reply
                }
            }),
        ),
        (
            "reset after it was taken",
            Box::new(|seen, count, go| {
                let reply = go();
                match (&seen.method[..], count) {
                    ("PATCH", 1) => Reply {
                        body: b"xx".to_vec(),
                        ..reply
                    }
                    .fault(Fault::Reset(0)),
                    _ => reply,
                }
            }),
        ),
        (
            "no Location",
            Box::new(|seen, count, go| {
                let mut reply = go();
                if seen.method == "PATCH" && count == 1 {
                    reply.headers.retain(|(name, _)| name != "Location");
                }
                reply
            }),
        ),
        (
            "the last PUT is lost",
            Box::new(|seen, count, go| {
                let reply = go();
                if seen.method == "PUT" && count == 0 {
                    Reply::new(502, "")
                } else {
                    reply
                }
            }),
        ),
        (
            "an end that comes early",
            Box::new(|seen, count, go| {
                if seen.method == "PUT" && count == 0 {
                    Reply::new(500, "")
                } else {
                    go()
                }
            }),
        ),
    ];
    for (name, script) in faults {
        let state: Arc<Mutex<State>> = Arc::default();
        let server = upload_registry(&state, script);
        assert_eq!(
            push_blob(&server, &bytes, None).map_err(|error| text(&error)).unwrap(),
            Sent::Uploaded,
            "{name}"
        );
        let state = state.lock().unwrap();
        assert!(state.content.blobs[&Digest::of(&bytes)] == bytes, "{name}");
        assert_eq!(state.taken, bytes.len(), "{name}: {}", methods(&server));
    }
}

#[test]
fn a_short_acknowledgement_is_believed_and_a_lost_upload_begun_again() {
    let bytes = large();
    // The registry takes the first half of the second chunk, and says so.
    let state: Arc<Mutex<State>> = Arc::default();
    let held = Arc::clone(&state);
    let server = upload_registry(
        &state,
        Box::new(move |seen, count, go| {
            let reply = go();
            if seen.method != "PATCH" || count != 1 {
                return reply;
            }
            let mut state = held.lock().unwrap();
            let upload = state.uploads[0].as_mut().unwrap();
            upload.truncate(12 << 20);
            let mut reply = reply;
            reply.headers.retain(|(name, _)| name != "Range");
            reply.header("Range", format!("0-{}", (12 << 20) - 1))
        }),
    );
    assert_eq!(push_blob(&server, &bytes, None).unwrap(), Sent::Uploaded);
    let starts: Vec<String> = server
        .seen()
        .iter()
        .filter_map(|seen| Some(seen.header("content-range")?.split_once('-')?.0.to_owned()))
        .collect();
    assert_eq!(starts, ["0", "8388608", "12582912", "20971520"]);
    // Its uploads live for a short time only.
    let state: Arc<Mutex<State>> = Arc::default();
    let held = Arc::clone(&state);
    let server = upload_registry(
        &state,
        Box::new(move |seen, count, go| {
            if seen.method == "PATCH" && count == 1 {
                held.lock().unwrap().uploads[0] = None;
            }
            go()
        }),
    );
    assert_eq!(push_blob(&server, &bytes, None).unwrap(), Sent::Uploaded);
    assert_eq!(state.lock().unwrap().uploads.len(), 2);
}

#[test]
fn a_push_that_cannot_be_is_given_up_and_says_why() {
    let bytes = noise(1000);
    let with = |script: Box<Script>| {
        let server = upload_registry(&Arc::default(), script);
        let error = push_blob(&server, &bytes, None).unwrap_err();
        (text(&error), server.seen().len())
    };
    let denied = |seen: &Seen, _: usize, go: &mut dyn FnMut() -> Reply| match &seen.method[..] {
        "POST" => Reply::new(403, r#"{"errors":[{"code":"DENIED","message":"read only"}]}"#),
        _ => go(),
    };
    let (error, requests) = with(Box::new(denied));
    assert!(
        error.contains("you may not push to") && error.contains("DENIED, read only"),
        "{error}"
    );
    assert_eq!(requests, 2);
    let (error, requests) = with(Box::new(|seen, _, go| match &seen.method[..] {
        "PUT" => Reply::new(400, r#"{"errors":[{"code":"DIGEST_INVALID"}]}"#),
        _ => go(),
    }));
    assert!(error.contains("DIGEST_INVALID"), "{error}");
    assert_eq!(requests, 3);
    let (error, _) = with(Box::new(|seen, _, go| match &seen.method[..] {
        "PUT" => Reply::new(503, "never"),
        _ => go(),
    }));
    assert!(
        error.contains("gave up after 5 attempts") && error.contains("503"),
        "{error}"
    );
    // It says yes, and forgets.
    let (error, _) = with(Box::new(|seen, _, go| match &seen.method[..] {
        "PUT" => Reply::new(201, ""),
        _ => go(),
    }));
    assert!(error.contains("does not have it"), "{error}");
}

#[test]
fn a_token_that_ends_in_the_middle_of_an_upload_is_replaced() {
    let issued = Arc::new(Mutex::new(Vec::<usize>::new()));
    let tokens = {
        let issued = Arc::clone(&issued);
        Server::start(move |_| {
            let mut issued = issued.lock().unwrap();
            // Good for two requests each.
            issued.push(2);
            Reply::new(200, format!(r#"{{"token":"t0ken-{}"}}"#, issued.len()))
        })
    };
    let realm = tokens.url("/token");
    let state: Arc<Mutex<State>> = Arc::default();
    let server = upload_registry(
        &state,
        Box::new(move |seen, _, go| {
            let number = seen
                .header("authorization")
                .and_then(|text| text.strip_prefix("Bearer t0ken-"));
            let number: Option<usize> = number.and_then(|number| number.parse().ok());
            let mut issued = issued.lock().unwrap();
            match number.and_then(|number| issued.get_mut(number - 1)) {
                Some(left) if *left > 0 => {
                    *left -= 1;
                    go()
                }
                _ => Reply::new(401, "").header("WWW-Authenticate", format!(r#"Bearer realm="{realm}",service="s""#)),
            }
        }),
    );
    let bytes = large();
    assert_eq!(push_blob(&server, &bytes, Some("c/d")).unwrap(), Sent::Uploaded);
    let state = state.lock().unwrap();
    assert!(state.content.blobs[&Digest::of(&bytes)] == bytes);
    assert_eq!(state.taken, bytes.len(), "{}", methods(&server));
    let asked: Vec<String> = tokens.seen().iter().map(|seen| seen.target.clone()).collect();
    let push = "scope=repository%3Aa%2Fb%3Apull%2Cpush";
    assert!(asked.iter().all(|target| target.contains(push)), "{asked:?}");
    // A mount needs the right to read the other repository as well.
    assert!(
        asked
            .iter()
            .any(|target| target.contains(&format!("{push}&scope=repository%3Ac%2Fd%3Apull"))),
        "{asked:?}"
    );
}

#[test]
fn uploads_elsewhere_get_no_credentials() {
    let state: Arc<Mutex<State>> = Arc::default();
    let storage = upload_registry(&state, Box::new(|_, _, go| go()));
    let place = storage.url("");
    let server = upload_registry(
        &state,
        Box::new(move |seen, _, go| match seen.header("authorization") {
            None => Reply::new(401, "").header("WWW-Authenticate", "Basic realm=x"),
            Some(_) => {
                let mut reply = go();
                for (name, value) in &mut reply.headers {
                    if name == "Location" {
                        *value = format!("{place}{value}");
                    }
                }
                reply
            }
        }),
    );
    let dir = tempfile::tempdir().unwrap();
    let bytes = noise(1000);
    let registry = registry(&Waits::new(), password(&server.host()));
    let sent = registry
        .push_to(&cx(dir.path()), &reference(&server, "a/b"))
        .blob(&wanted(&bytes));
    assert_eq!(sent.unwrap(), Sent::Uploaded);
    assert_eq!(methods(&storage), "PUT");
    assert!(storage.seen()[0].header("authorization").is_none());
}

/// Images of one content, as the product has them.
fn images(dir: &Path) -> ImageIndex {
    let mut content = Content::default();
    let big = tar("big", &noise((9 << 20) + 1));
    let one = |platform: Platform, content: &mut Content| {
        let name = platform.to_string();
        let layers = [
            (big.clone(), media::LAYER_TAR),
            (tar("etc/platform", name.as_bytes()), media::LAYER_GZIP),
        ];
        let image = content.image(&name, &layers);
        let place = dir.join(platform.slug());
        content.write_layout(&place, image);
        let store = xtask::publish::layout::open(&place).unwrap();
        layout::load_image(&store, None, platform, &Limits::default()).unwrap()
    };
    let images: Vec<Image> = [Platform::ArmV7, Platform::ArmV6]
        .map(|platform| one(platform, &mut content))
        .into();
    ImageIndex::new(images).unwrap()
}

fn pulled_back(registry: &Registry, cx: &Cx, reference: &Reference, index: &ImageIndex) {
    for image in index.images() {
        let pulled = registry.pull(cx, reference, image.platform(), Variants::Exact).unwrap();
        assert_eq!(pulled.resolved.index, Some(index.blob().digest()));
        assert_eq!(pulled.resolved.manifest, image.manifest().digest());
        let base = pulled.to_base(&Limits::default()).unwrap();
        let digests = |layers: &[xtask::oci::Layer]| layers.iter().map(|layer| layer.digest()).collect::<Vec<_>>();
        assert_eq!(digests(&base.layers), digests(image.layers()));
    }
}

#[test]
fn an_index_is_pushed_from_the_bottom_up_and_pulled_again() {
    let dir = tempfile::tempdir().unwrap();
    let index = images(dir.path());
    let state: Arc<Mutex<State>> = Arc::default();
    let server = upload_registry(&state, Box::new(|_, _, go| go()));
    let to = reference(&server, "a/b:1.0");
    let cx = cx(&dir.path().join("cache"));
    let pushed = anonymous().push_to(&cx, &to).index(&index).unwrap();
    assert_eq!(
        pushed.to_string(),
        format!("{}/a/b@{}", server.host(), index.blob().digest())
    );
    let manifests: Vec<String> = server
        .seen()
        .iter()
        .filter(|seen| seen.method == "PUT" && seen.target.contains("/manifests/"))
        .map(|seen| seen.target.rsplit_once('/').unwrap().1.to_owned())
        .collect();
    let digest = |image: &Image| image.manifest().digest().to_string();
    let [first, second] = index.images() else {
        panic!("two images")
    };
    assert_eq!(
        manifests,
        [
            digest(first),
            digest(second),
            index.blob().digest().to_string(),
            "1.0".to_owned()
        ]
    );
    pulled_back(&anonymous(), &cx, &to, &index);
    // Again: nothing but questions and manifests.
    let taken = state.lock().unwrap().taken;
    anonymous().push_to(&cx, &to).index(&index).unwrap();
    assert_eq!(state.lock().unwrap().taken, taken);
    // A registry that forgets a manifest is found out before the tag is set.
    let forgetful = upload_registry(
        &Arc::default(),
        Box::new(|seen, _, go| {
            let forgets = seen.method == "PUT" && seen.target.contains("/manifests/");
            if forgets { Reply::new(201, "") } else { go() }
        }),
    );
    let error = text(
        &anonymous()
            .push_to(&cx, &reference(&forgetful, "a/b:1.0"))
            .index(&index)
            .unwrap_err(),
    );
    assert!(error.contains("was pushed, and the registry has nothing"), "{error}");
    assert!(!forgetful.seen().iter().any(|seen| seen.target.ends_with("/1.0")));
}

#[test]
fn debians_registry_takes_a_push_and_skopeo_reads_it() {
    if !(require_program("docker-registry") && require_program("skopeo")) {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let index = images(&dir.path().join("images"));
    let real = Real::start(dir.path(), None, Some(USERS));
    let cx = cx(&dir.path().join("cache"));
    let to = real.reference("a/b:1.0");
    let with = |secret: &str| super::real::registry(options(), user(&real.host, secret));
    let error = text(&with("wr0ng").push_to(&cx, &to).index(&index).unwrap_err());
    assert!(
        error.contains("does not let you push") && !error.contains("wr0ng"),
        "{error}"
    );
    with("hunter2").push_to(&cx, &to).index(&index).unwrap();
    pulled_back(&with("hunter2"), &cx, &to, &index);
    let raw = Shell::new(false)
        .command("skopeo")
        .args(["inspect", "--raw", "--tls-verify=false", "--creds", "me:hunter2"])
        .arg(format!("docker://{}/a/b:1.0", real.host))
        .output()
        .unwrap();
    assert_eq!(Digest::of(&raw.stdout), index.blob().digest(), "{}", raw.error_text());
    // Into another repository the layers are mounted: nothing is sent twice.
    let other = real.reference("c/d:1.0");
    let image = &index.images()[0];
    let layer = &image.layers()[0];
    let sent = with("hunter2")
        .push_to(&cx, &other)
        .mounting([to])
        .blob(&wanted(layer.blob()))
        .unwrap();
    assert_eq!(sent, Sent::Mounted);
}
