//! Everything that a registry, or a network before it, does wrong, one at a time.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use xtask::http::Client;
use xtask::oci::Digest;
use xtask::registry::{Content as Wanted, Places, Registry, Sent, Tagged};
use xtask::target::Platform;

use super::{Script, State, anonymous, images, reference, take, text, upload_registry, wanted};
use crate::http::server::{Fault, Reply, Seen, Server, Waits};
use crate::http::wire::Wire;
use crate::http::{cx, impatient, noise};
use crate::oci::image::sample;

/// Bytes of one PATCH in these tests.
const CHUNK: usize = 1000;
/// Five chunks and a bit.
const SIZE: usize = 5123;

/// Pushes a blob in small pieces. Returns what became of it, and the waits.
fn push(host: &str, bytes: &[u8]) -> (Result<Sent, String>, Vec<f64>) {
    let dir = tempfile::tempdir().unwrap();
    let waits = Waits::new();
    let registry = Registry::new(Client::new(impatient(), waits.clone()), Places::default(), []);
    let to = format!("{host}/a/b").parse().unwrap();
    let sent = registry.push_to(&cx(dir.path()), &to).chunk(CHUNK).blob(&wanted(bytes));
    (sent.map_err(|error| text(&error)), waits.seconds())
}

/// Answers `reply` in the registry's place to one request: the `nth` of its method.
fn once(method: &'static str, nth: usize, reply: Reply) -> Box<Script> {
    Box::new(move |seen, count, go| match seen.method == method && count == nth {
        true => reply.clone(),
        false => go(),
    })
}

#[test]
fn every_request_of_an_upload_may_fail_for_a_while() {
    let bytes = noise(SIZE);
    for (method, nth) in [
        ("HEAD", 0),
        ("POST", 0),
        ("PATCH", 0),
        ("PATCH", 3),
        ("PUT", 0),
        ("HEAD", 1),
    ] {
        for (reply, least) in [
            // Docker Hub's limit on abuse: plain text, and a minute.
            (Reply::new(429, "Too Many Requests\n").header("Retry-After", "60"), 60.0),
            (Reply::new(503, "<html>busy</html>").header("Retry-After", "7"), 7.0),
            (Reply::new(500, r#"{"errors":[{"code":"UNKNOWN"}]}"#), 0.0),
            (Reply::new(502, ""), 0.0),
            (Reply::new(408, ""), 0.0),
            (Reply::new(200, "no end").fault(Fault::Close(2)), 0.0),
            (Reply::new(202, "no end").fault(Fault::Reset(2)), 0.0),
        ] {
            // A head that came whole is an answer; only where it is not what is hoped for can it be told.
            if reply.fault.is_some() && method != "PUT" {
                continue;
            }
            let state: Arc<Mutex<State>> = Arc::default();
            let name = format!("{method} {nth}: {} {:?}", reply.status, reply.fault);
            let server = upload_registry(&state, once(method, nth, reply));
            let (sent, waits) = push(&server.host(), &bytes);
            if name.starts_with("PUT 0: 200") {
                // It said yes, and has nothing.
                assert!(sent.unwrap_err().contains("does not have it"), "{name}");
                continue;
            }
            assert_eq!(sent, Ok(Sent::Uploaded), "{name}");
            assert!(
                waits.iter().any(|wait| *wait >= least && *wait < least + 21.0),
                "{name}: {waits:?}"
            );
            let state = state.lock().unwrap();
            assert!(state.content.blobs[&Digest::of(&bytes)] == bytes, "{name}");
            assert_eq!(state.taken, SIZE, "{name}: something was taken twice");
        }
    }
}

#[test]
fn what_is_asked_for_longer_than_anybody_waits_is_an_error() {
    let reply = Reply::new(429, "come back tomorrow").header("Retry-After", "86400");
    let server = upload_registry(&Arc::default(), once("PATCH", 2, reply));
    let (sent, waits) = push(&server.host(), &noise(SIZE));
    let error = sent.unwrap_err();
    assert!(error.contains("429") && error.contains("come back tomorrow"), "{error}");
    assert_eq!(waits, [] as [f64; 0]);
}

#[test]
fn a_line_that_goes_silent_or_breaks_in_the_middle_of_a_body() {
    let bytes = noise(400_000);
    for (name, script) in [
        (
            "silence",
            once("PATCH", 1, Reply::new(202, "xx").fault(Fault::Stall(0))),
        ),
        (
            "nothing",
            Box::new(|_: &Seen, _: usize, go: &mut dyn FnMut() -> Reply| go()) as Box<Script>,
        ),
    ] {
        let state: Arc<Mutex<State>> = Arc::default();
        let server = upload_registry(&state, script);
        let wire = Wire::to(&server.host());
        if name == "nothing" {
            // In the middle of the third piece.
            wire.cut_after(250_000, || ());
        }
        let dir = tempfile::tempdir().unwrap();
        let registry = Registry::new(Client::new(impatient(), Waits::new()), Places::default(), []);
        let to = format!("{}/a/b", wire.host()).parse().unwrap();
        let sent = registry
            .push_to(&cx(dir.path()), &to)
            .chunk(100_000)
            .blob(&wanted(&bytes))
            .map_err(|error| text(&error));
        assert_eq!(sent, Ok(Sent::Uploaded), "{name}");
        let state = state.lock().unwrap();
        assert!(state.content.blobs[&Digest::of(&bytes)] == bytes, "{name}");
        assert_eq!(state.taken, bytes.len(), "{name}");
    }
}

#[test]
fn a_registry_that_disagrees_on_the_place_is_asked() {
    let bytes = noise(SIZE);
    for nth in [0, 2, 4] {
        let state: Arc<Mutex<State>> = Arc::default();
        // Without a word on how much it has: that is to be asked for.
        let server = upload_registry(&state, once("PATCH", nth, Reply::new(416, "")));
        assert_eq!(push(&server.host(), &bytes).0, Ok(Sent::Uploaded));
        assert_eq!(state.lock().unwrap().taken, SIZE);
        assert!(
            server
                .seen()
                .iter()
                .any(|seen| seen.method == "GET" && seen.target.contains("/uploads/"))
        );
    }
    // One that says it has more than there is knows something else by this name.
    let state: Arc<Mutex<State>> = Arc::default();
    let server = upload_registry(
        &state,
        Box::new(|seen, count, go| match (&seen.method[..], count) {
            ("PATCH", 1) => Reply::new(500, ""),
            ("GET", 0) => Reply::new(204, "").header("Range", "0-999999"),
            _ => go(),
        }),
    );
    assert_eq!(push(&server.host(), &bytes).0, Ok(Sent::Uploaded));
    assert_eq!(state.lock().unwrap().uploads.len(), 2, "begun again");
}

#[test]
fn an_upload_that_is_complete_early() {
    let bytes = noise(SIZE);
    let state: Arc<Mutex<State>> = Arc::default();
    let held = Arc::clone(&state);
    let whole = bytes.clone();
    let server = upload_registry(
        &state,
        Box::new(move |seen, _, go| {
            let reply = go();
            let mut state = held.lock().unwrap();
            let complete =
                seen.method == "PATCH" && state.uploads[0].as_ref().is_some_and(|upload| upload.len() == SIZE);
            if !complete {
                return reply;
            }
            state.content.blobs.insert(Digest::of(&whole), whole.clone());
            Reply::new(201, "")
        }),
    );
    assert_eq!(push(&server.host(), &bytes).0, Ok(Sent::Uploaded));
    assert!(!server.seen().iter().any(|seen| seen.method == "PUT"));
    // One that says so too early is found out.
    let server = upload_registry(&Arc::default(), once("PATCH", 1, Reply::new(201, "")));
    let error = push(&server.host(), &bytes).0.unwrap_err();
    assert!(error.contains("does not have it"), "{error}");
}

#[test]
fn a_mount_that_is_refused_becomes_an_upload() {
    let bytes = noise(SIZE);
    for status in [400, 401, 403, 404, 405] {
        let state: Arc<Mutex<State>> = Arc::default();
        let server = upload_registry(
            &state,
            Box::new(move |seen, _, go| match seen.target.contains("mount=") {
                true => Reply::new(status, ""),
                false => go(),
            }),
        );
        assert_eq!(
            super::push_blob(&server, &bytes, Some("c/d")).unwrap(),
            Sent::Uploaded,
            "{status}"
        );
        assert_eq!(state.lock().unwrap().taken, SIZE);
    }
}

#[test]
fn heads_without_a_length_will_do_and_a_wrong_length_will_not() {
    let bytes = noise(SIZE);
    let state: Arc<Mutex<State>> = Arc::default();
    state
        .lock()
        .unwrap()
        .content
        .blobs
        .insert(Digest::of(&bytes), bytes.clone());
    let head = |reply: Reply| upload_registry(&state, once("HEAD", 0, reply));
    let server = head(Reply::new(200, "").header("Transfer-Encoding", "chunked"));
    assert_eq!(push(&server.host(), &bytes).0, Ok(Sent::Present));
    let server = head(Reply::new(200, "").header("Content-Length", "5"));
    let error = push(&server.host(), &bytes).0.unwrap_err();
    assert!(error.contains("with 5 bytes, and it has 5123"), "{error}");
}

#[test]
fn an_upload_that_is_redirected_takes_no_credentials_along() {
    // 307 at each step, to a server of somebody else.
    for method in ["HEAD", "POST", "PATCH", "PUT"] {
        let state: Arc<Mutex<State>> = Arc::default();
        let there = upload_registry(&state, Box::new(|_, _, go| go()));
        let (place, here) = (there.url(""), Arc::clone(&state));
        let server = Server::start(move |seen| {
            if seen.header("authorization").is_none() {
                return Reply::new(401, "").header("WWW-Authenticate", "Basic realm=x");
            }
            match seen.method == method {
                true => Reply::new(307, "").header("Location", format!("{place}{}", seen.target)),
                false => take(&mut here.lock().unwrap(), seen),
            }
        });
        let dir = tempfile::tempdir().unwrap();
        let registry = super::registry(&Waits::new(), super::password(&server.host()));
        let bytes = noise(SIZE);
        let sent = registry
            .push_to(&cx(dir.path()), &reference(&server, "a/b"))
            .chunk(CHUNK)
            .blob(&wanted(&bytes))
            .map_err(|error| text(&error));
        assert_eq!(sent, Ok(Sent::Uploaded), "{method}");
        assert!(
            state.lock().unwrap().content.blobs[&Digest::of(&bytes)] == bytes,
            "{method}"
        );
        let seen = there.seen();
        assert!(seen.iter().any(|seen| seen.method == method), "{method}");
        assert!(
            seen.iter().all(|seen| seen.header("authorization").is_none()),
            "{method}"
        );
    }
}

#[test]
fn a_registry_that_names_another_digest_gets_no_tag() {
    let dir = tempfile::tempdir().unwrap();
    let cx = cx(&dir.path().join("cache"));
    let index = images(dir.path());
    let other = Digest::of(b"something else");
    let puts = |seen: &Seen| seen.method == "PUT" && seen.target.contains("/manifests/");
    let lies: [(&str, Box<Script>); 3] = [
        (
            "in the answer to the PUT",
            Box::new(move |seen, _, go| match puts(seen) {
                true => Reply::new(201, "").header("Docker-Content-Digest", other),
                false => go(),
            }),
        ),
        (
            "it serves something else",
            Box::new(move |seen, _, go| {
                let reply = go();
                match seen.method == "GET" && seen.target.contains("/manifests/") {
                    true => Reply::new(200, "{}"),
                    false => reply,
                }
            }),
        ),
        (
            "the configuration is another",
            Box::new(move |seen, _, go| {
                let reply = go();
                match seen.method == "GET" && seen.target.contains("/blobs/sha256") {
                    true => Reply::new(200, "{}"),
                    false => reply,
                }
            }),
        ),
    ];
    for (name, script) in lies {
        let state: Arc<Mutex<State>> = Arc::default();
        let server = upload_registry(&state, script);
        let error = anonymous()
            .push_to(&cx, &reference(&server, "a/b:1.0"))
            .index(&index)
            .unwrap_err();
        assert!(
            text(&error).contains("was pushed, and the registry has"),
            "{name}: {}",
            text(&error)
        );
        assert!(state.lock().unwrap().content.tags.is_empty(), "{name}");
    }
}

#[test]
fn the_tag_stays_where_it_was_when_a_push_cannot_be_finished() {
    let dir = tempfile::tempdir().unwrap();
    let cx = cx(&dir.path().join("cache"));
    let index = images(dir.path());
    let error = |code: &str, message: &str| format!(r#"{{"errors":[{{"code":"{code}","message":"{message}"}}]}}"#);
    let begin = |seen: &Seen| seen.method == "POST";
    let manifest = |seen: &Seen| seen.method == "PUT" && seen.target.contains("/manifests/");
    type When = fn(&Seen) -> bool;
    let cases: [(&str, When, Reply, &str); 8] = [
        (
            "wrong password",
            begin,
            Reply::new(401, error("UNAUTHORIZED", "who are you")),
            "does not let you push",
        ),
        (
            "no permission",
            begin,
            Reply::new(403, error("DENIED", "requested access is denied")),
            "you may not push to",
        ),
        (
            "no repository",
            begin,
            Reply::new(404, error("NAME_UNKNOWN", "no such name")),
            "there is no repository",
        ),
        (
            "a bad name",
            begin,
            Reply::new(400, error("NAME_INVALID", "too long")),
            "NAME_INVALID, too long",
        ),
        (
            "read-only",
            begin,
            Reply::new(405, error("UNSUPPORTED", "unsupported")),
            "it is read-only",
        ),
        (
            "full",
            begin,
            Reply::new(507, "no space left on device"),
            "has no space left",
        ),
        (
            "full, as docker-registry says it",
            begin,
            Reply::new(500, error("UNKNOWN", "no space left on device")),
            "no space left",
        ),
        (
            "no permission for manifests",
            manifest,
            Reply::new(403, error("DENIED", "no")),
            "you may not push to",
        ),
    ];
    for (name, when, reply, said) in cases {
        let state: Arc<Mutex<State>> = Arc::default();
        let old = Digest::of(b"old");
        state
            .lock()
            .unwrap()
            .content
            .manifests
            .insert(old, ("x".to_owned(), b"old".to_vec()));
        state.lock().unwrap().content.tag("1.0", old);
        let server = upload_registry(
            &state,
            Box::new(move |seen, _, go| if when(seen) { reply.clone() } else { go() }),
        );
        let error = anonymous()
            .push_to(&cx, &reference(&server, "a/b:1.0"))
            .index(&index)
            .unwrap_err();
        assert!(text(&error).contains(said), "{name}: {}", text(&error));
        assert_eq!(state.lock().unwrap().content.tags["1.0"], old, "{name}");
        assert!(
            !server
                .seen()
                .iter()
                .any(|seen| seen.target.ends_with("/manifests/1.0") && seen.method == "PUT")
        );
    }
}

#[test]
fn tokens_are_good_whatever_the_servers_clock_says() {
    // Issued a day ago or tomorrow by its clock: only how long it lives counts, by ours.
    for issued in ["2023-11-13T22:13:20Z", "2023-11-15T22:13:20Z"] {
        let count = Arc::new(AtomicUsize::new(0));
        let tokens = {
            let count = Arc::clone(&count);
            Server::start(move |_| {
                count.fetch_add(1, Ordering::SeqCst);
                Reply::new(
                    200,
                    format!(r#"{{"token":"t0ken","expires_in":300,"issued_at":"{issued}"}}"#),
                )
            })
        };
        let (realm, state) = (tokens.url("/token"), Arc::<Mutex<State>>::default());
        let server = upload_registry(
            &state,
            Box::new(move |seen, _, go| match seen.header("authorization") {
                Some("Bearer t0ken") => go(),
                _ => Reply::new(401, "").header("WWW-Authenticate", format!(r#"Bearer realm="{realm}""#)),
            }),
        );
        assert_eq!(push(&server.host(), &noise(SIZE)).0, Ok(Sent::Uploaded));
        assert_eq!(count.load(Ordering::SeqCst), 1, "{issued}");
    }
}

#[test]
fn tags_say_what_they_moved_from() {
    let dir = tempfile::tempdir().unwrap();
    let cx = cx(dir.path());
    let state: Arc<Mutex<State>> = Arc::default();
    let server = upload_registry(&state, Box::new(|_, _, go| go()));
    let to = reference(&server, "a/b");
    let registry = anonymous();
    let push = registry.push_to(&cx, &to);
    let (one, two) = (sample(Platform::ArmV6), sample(Platform::ArmV7));
    for image in [&one, &two] {
        push.blobs(&Wanted::of_image(image)).unwrap();
        push.image_manifest(image).unwrap();
    }
    assert_eq!(push.tag("t", one.manifest()).unwrap(), Tagged::New);
    assert_eq!(push.tag("t", one.manifest()).unwrap(), Tagged::Same);
    assert_eq!(
        push.tag("t", two.manifest()).unwrap(),
        Tagged::Moved(one.manifest().digest())
    );
    assert!(text(&push.tag("a b", two.manifest()).unwrap_err()).contains("is not a tag"));
}

#[test]
fn a_survey_says_what_the_push_then_costs() {
    let dir = tempfile::tempdir().unwrap();
    let cx = cx(dir.path());
    let state: Arc<Mutex<State>> = Arc::default();
    let server = upload_registry(&state, Box::new(|_, _, go| go()));
    let (here, there) = (noise(SIZE), noise(900));
    state
        .lock()
        .unwrap()
        .content
        .blobs
        .insert(Digest::of(&here), here.clone());
    let large = noise(3 * CHUNK + 1);
    let to = reference(&server, "a/b:1");
    let contents = [&here, &there, &large].map(|bytes| wanted(bytes));
    let registry = anonymous();
    let survey = registry.push_to(&cx, &to).chunk(CHUNK).survey(&contents).unwrap();
    let shown: Vec<String> = survey
        .iter()
        .map(|planned| planned.line().replace(&planned.digest.to_string()[..19], "DIGEST"))
        .collect();
    assert_eq!(
        shown,
        [
            "exists  a blob DIGEST (5.1 kB): 0 B to send, 1 request",
            "upload  a blob DIGEST (900 B): 900 B to send, 4 requests",
            "upload  a blob DIGEST (3.0 kB): 3.0 kB to send, 8 requests",
        ]
    );
    assert!(
        !server.seen().iter().any(|seen| seen.method != "HEAD"),
        "nothing is sent"
    );
    let push = registry.push_to(&cx, &to).chunk(CHUNK);
    push.blobs(&contents).unwrap();
    assert_eq!(
        push.cost().bytes,
        survey.iter().map(|planned| planned.send).sum::<u64>()
    );
    assert_eq!(
        push.cost().requests,
        survey.iter().map(|planned| planned.requests).sum::<u64>()
    );
    // What is left of a quota is read off a HEAD, which is no pull.
    assert_eq!(push.quota().unwrap(), None);
    let server = Server::start(|_| {
        Reply::new(404, "")
            .header("ratelimit-limit", "100;w=21600")
            .header("ratelimit-remaining", "76;w=21600")
    });
    let to = reference(&server, "a/b");
    let quota = registry.push_to(&cx, &to).quota().unwrap().unwrap();
    assert_eq!((quota.limit, quota.remaining, quota.window), (100, 76, 21_600));
    assert!(server.seen().iter().all(|seen| seen.method == "HEAD"));
}

#[test]
fn a_blob_of_another_registry_is_sent_on_piece_by_piece() {
    let dir = tempfile::tempdir().unwrap();
    let cx = cx(dir.path());
    let bytes = noise(SIZE);
    for parts in [true, false] {
        let held = bytes.clone();
        let source = Server::start(move |seen| {
            let range = seen.header("range").filter(|_| parts).and_then(|range| {
                let (start, end) = range.strip_prefix("bytes=")?.split_once('-')?;
                Some(start.parse::<usize>().ok()?..end.parse::<usize>().ok()? + 1)
            });
            match range {
                Some(range) => Reply::new(206, &held[range]),
                None => Reply::new(200, &held[..]),
            }
        });
        let state: Arc<Mutex<State>> = Arc::default();
        let server = upload_registry(&state, Box::new(|_, _, go| go()));
        let content = Wanted::of_repository(
            &reference(&source, "x/y"),
            Digest::of(&bytes),
            SIZE as u64,
            "a base layer",
        );
        let registry = anonymous();
        let to = reference(&server, "a/b");
        let sent = registry.push_to(&cx, &to).chunk(CHUNK).blob(&content).unwrap();
        assert_eq!(sent, Sent::Uploaded);
        assert!(state.lock().unwrap().content.blobs[&Digest::of(&bytes)] == bytes);
        let fetched = source.seen().iter().filter(|seen| seen.method == "GET").count();
        assert_eq!(fetched, if parts { 6 } else { 1 }, "nothing is fetched twice");
        assert!(!dir.path().join("sha256").exists(), "nothing of it is stored");
    }
    // In the same registry it is mounted, and not one byte of it is fetched.
    let state: Arc<Mutex<State>> = Arc::default();
    state.lock().unwrap().others.insert(Digest::of(&bytes), bytes.clone());
    let server = upload_registry(&state, Box::new(|_, _, go| go()));
    let from = reference(&server, "c/d");
    let content = Wanted::of_repository(&from, Digest::of(&bytes), SIZE as u64, "a base layer");
    let to = reference(&server, "a/b");
    let sent = anonymous().push_to(&cx, &to).mounting([from]).blob(&content).unwrap();
    assert_eq!(sent, Sent::Mounted);
    assert!(!server.seen().iter().any(|seen| seen.method == "GET"));
}
