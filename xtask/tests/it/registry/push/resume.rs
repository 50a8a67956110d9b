//! Pushes whose process dies, and the next one that goes on.

use std::path::Path;
use std::process::Stdio;
use std::sync::{Arc, Mutex};

use xtask::http::Client;
use xtask::oci::{Digest, ImageIndex, Reference};
use xtask::registry::{Action, Journal, Places, Registry, Sent};
use xtask::shell::Shell;
use xtask::target::Platform;

use super::super::real::Real;
use super::{Script, State, anonymous, images, pulled_back, reference, text, upload_registry, wanted};
use crate::http::server::{Reply, Server, Waits};
use crate::http::wire::Wire;
use crate::http::{cx, noise, options};
use crate::oci::image::sample;
use crate::require::require_program;

const CHUNK: usize = 1000;
const SIZE: usize = 10_500;
/// Registry and directory, for the process that is killed.
const HOST: &str = "XTASK_TEST_PUSH_HOST";
const DIR: &str = "XTASK_TEST_PUSH_DIR";

fn push(server: &Server, dir: &Path, bytes: &[u8]) -> Result<Sent, String> {
    let cx = cx(&dir.join("cache"));
    let to = reference(server, "a/b");
    let registry = anonymous();
    let push = registry
        .push_to(&cx, &to)
        .chunk(CHUNK)
        .journal(Journal::at(dir.join("push")));
    push.blob(&wanted(bytes)).map_err(|error| text(&error))
}

fn notes(dir: &Path) -> usize {
    std::fs::read_dir(dir.join("push")).map_or(0, Iterator::count)
}

/// The first byte of each PATCH.
fn starts(server: &Server) -> Vec<usize> {
    let seen = server.seen();
    let starts = seen
        .iter()
        .filter_map(|seen| seen.header("content-range")?.split_once('-')?.0.parse().ok());
    starts.collect()
}

/// Fails for good at the `nth` PATCH, and at all later ones while `down` is set.
fn goes_down(nth: usize, down: &Arc<Mutex<bool>>) -> Box<Script> {
    let down = Arc::clone(down);
    Box::new(
        move |seen, count, go| match seen.method == "PATCH" && count >= nth && *down.lock().unwrap() {
            true => Reply::new(503, "for maintenance"),
            false => go(),
        },
    )
}

#[test]
fn a_push_goes_on_where_the_one_before_it_gave_up() {
    let bytes = noise(SIZE);
    let dir = tempfile::tempdir().unwrap();
    let (state, down): (Arc<Mutex<State>>, _) = (Arc::default(), Arc::new(Mutex::new(true)));
    let server = upload_registry(&state, goes_down(4, &down));
    assert!(
        push(&server, dir.path(), &bytes)
            .unwrap_err()
            .contains("for maintenance")
    );
    assert_eq!(notes(dir.path()), 1);
    // What is to be done now is less.
    let to = reference(&server, "a/b");
    let (registry, effects) = (anonymous(), cx(&dir.path().join("cache")));
    let again = registry
        .push_to(&effects, &to)
        .chunk(CHUNK)
        .journal(Journal::at(dir.path().join("push")));
    let planned = again.survey(&[wanted(&bytes)]).unwrap();
    assert_eq!((&planned[0].action, planned[0].send), (&Action::Resume(4000), 6500));
    // Another blob has nothing to do with it.
    *down.lock().unwrap() = false;
    let other = noise(SIZE + 1);
    assert_eq!(push(&server, dir.path(), &other), Ok(Sent::Uploaded));
    let before = server.seen().len();
    assert_eq!(push(&server, dir.path(), &bytes), Ok(Sent::Uploaded));
    let methods: Vec<String> = server.seen()[before..].iter().map(|seen| seen.method.clone()).collect();
    assert_eq!(methods[..3], ["HEAD", "GET", "PATCH"], "no new upload was begun");
    let state = state.lock().unwrap();
    assert!(state.content.blobs[&Digest::of(&bytes)] == bytes);
    assert_eq!(state.taken, bytes.len() + other.len());
    assert_eq!(notes(dir.path()), 0, "what is done is forgotten");
}

#[test]
fn an_upload_that_ran_out_in_the_meantime_is_begun_anew() {
    let bytes = noise(SIZE);
    for spoil in ["gone", "another's", "refused"] {
        let dir = tempfile::tempdir().unwrap();
        let (state, down): (Arc<Mutex<State>>, _) = (Arc::default(), Arc::new(Mutex::new(true)));
        let server = upload_registry(&state, goes_down(4, &down));
        push(&server, dir.path(), &bytes).unwrap_err();
        *down.lock().unwrap() = false;
        match spoil {
            "gone" => state.lock().unwrap().uploads[0] = None,
            // The registry mixes them up: the digest tells, and the rest is sent once more.
            "another's" => state.lock().unwrap().uploads[0].as_mut().unwrap()[5] ^= 1,
            _ => *down.lock().unwrap() = false,
        }
        let sent = push(&server, dir.path(), &bytes);
        assert_eq!(sent, Ok(Sent::Uploaded), "{spoil}");
        assert!(
            state.lock().unwrap().content.blobs[&Digest::of(&bytes)] == bytes,
            "{spoil}"
        );
        assert_eq!(notes(dir.path()), 0, "{spoil}");
    }
}

#[test]
fn a_journal_that_cannot_be_written_ends_the_push_and_sets_no_tag() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("push"), "a file where a directory should be").unwrap();
    let state: Arc<Mutex<State>> = Arc::default();
    let server = upload_registry(&state, Box::new(|_, _, go| go()));
    let error = push(&server, dir.path(), &noise(SIZE)).unwrap_err();
    assert!(error.contains("cannot") && error.contains("push"), "{error}");
    assert!(state.lock().unwrap().content.blobs.is_empty());
}

/// The process that is killed: pushes what the other one wants, and ends.
#[test]
fn the_pushing_process() {
    let (Ok(host), Some(dir)) = (std::env::var(HOST), std::env::var_os(DIR)) else {
        return;
    };
    let dir = Path::new(&dir);
    let cx = cx(&dir.join("cache"));
    let registry = Registry::new(Client::new(options(), Waits::new()), Places::default(), []);
    let to: Reference = format!("{host}/a/b:1.0").parse().unwrap();
    let push = registry.push_to(&cx, &to).journal(Journal::at(dir.join("push")));
    match std::fs::read(dir.join("blob")) {
        Ok(bytes) => push.chunk(CHUNK).blob(&wanted(&bytes)).map(drop),
        Err(_) => push.chunk(1 << 20).index(&killed_index(dir)).map(drop),
    }
    .map_err(|error| text(&error))
    .unwrap();
}

fn killed_index(dir: &Path) -> ImageIndex {
    images(&dir.join("images"))
}

/// Starts the process above; it is killed as soon as it is in `victim` and somebody signals it.
fn child(host: &str, dir: &Path, victim: &Mutex<Option<u32>>) -> bool {
    let mut process = Shell::new(false)
        .command(std::env::current_exe().unwrap())
        .args(["--exact", "registry::push::resume::the_pushing_process"])
        .env(HOST, host)
        .env(DIR, dir)
        .spawn(Stdio::null(), Stdio::null())
        .unwrap();
    *victim.lock().unwrap() = Some(process.id());
    let status = process.wait().unwrap();
    *victim.lock().unwrap() = None;
    status.success()
}

/// kill -9, and not an instant later than the registry wants it.
fn kill(victim: &Mutex<Option<u32>>) {
    let id = victim
        .lock()
        .unwrap()
        .and_then(|id| rustix::process::Pid::from_raw(id.cast_signed()));
    if let Some(id) = id {
        rustix::process::kill_process(id, rustix::process::Signal::KILL).unwrap();
    }
}

#[test]
fn a_push_that_is_killed_at_any_point_goes_on_and_sends_no_acknowledged_piece_twice() {
    let bytes = noise(SIZE);
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("blob"), &bytes).unwrap();
    let state: Arc<Mutex<State>> = Arc::default();
    let victim: Arc<Mutex<Option<u32>>> = Arc::default();
    // At each request but HEAD the process dies twice: before the registry has taken it, and before it has answered.
    let (target, deaths) = (
        Arc::clone(&victim),
        Mutex::new(std::collections::BTreeMap::<String, usize>::new()),
    );
    let server = upload_registry(
        &state,
        Box::new(move |seen, _, go| {
            if seen.method == "HEAD" {
                return go();
            }
            let what = format!("{} {}", seen.method, seen.header("content-range").unwrap_or_default());
            let death = {
                let mut deaths = deaths.lock().unwrap();
                let death = deaths.entry(what).or_default();
                *death += 1;
                *death
            };
            match death {
                1 => {
                    kill(&target);
                    Reply::new(500, "")
                }
                2 => {
                    let reply = go();
                    kill(&target);
                    reply
                }
                _ => go(),
            }
        }),
    );
    let mut started = 0;
    while !child(&server.host(), dir.path(), &victim) {
        started += 1;
        assert!(started < 60, "it never ends: {:?}", starts(&server));
    }
    assert!(started > 20, "it was killed {started} times only");
    let state = state.lock().unwrap();
    assert!(state.content.blobs[&Digest::of(&bytes)] == bytes);
    // The upload that was begun when the process died before it had noted the address is lost; it had no byte.
    assert_eq!(state.taken, SIZE, "pieces begin at {:?}", starts(&server));
    assert_eq!(notes(dir.path()), 0);
}

#[test]
fn debians_registry_has_all_of_it_after_any_number_of_deaths() {
    if !require_program("docker-registry") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let index = killed_index(dir.path());
    let real = Real::start(dir.path(), None, None);
    let wire = Wire::to(&real.host);
    let victim: Arc<Mutex<Option<u32>>> = Arc::default();
    // In the middle of pieces, between them, in the middle of documents.
    for after in [
        200, 3_000, 400_000, 1_500_000, 2_200_000, 5_000_000, 9_000_000, 9_440_500, 9_443_000,
    ] {
        let target = Arc::clone(&victim);
        wire.cut_after(after, move || kill(&target));
        child(&wire.host(), dir.path(), &victim);
        let to = real.reference("a/b:1.0");
        let cx = cx(&dir.path().join("asking"));
        let registry = anonymous();
        let named = registry.push_to(&cx, &to).named(&to).unwrap();
        let whole = named.is_none() || named == Some(index.blob().digest());
        assert!(whole, "after {after} bytes there is a tag for half an index");
    }
    assert!(
        child(&wire.host(), dir.path(), &victim),
        "nothing is in its way any more"
    );
    let to = real.reference("a/b:1.0");
    pulled_back(&anonymous(), &cx(&dir.path().join("pulled")), &to, &index);
    assert_eq!(notes(dir.path()), 0);
    // And once more: questions, and not one byte of a blob.
    let (registry, effects) = (anonymous(), cx(&dir.path().join("cache")));
    let push = registry.push_to(&effects, &to);
    push.index(&index).unwrap();
    assert_eq!(push.cost().bytes, 0);
}

#[test]
fn a_second_push_sends_what_is_new_and_no_more() {
    let dir = tempfile::tempdir().unwrap();
    let state: Arc<Mutex<State>> = Arc::default();
    let server = upload_registry(&state, Box::new(|_, _, go| go()));
    let to = reference(&server, "a/b:1");
    let (registry, effects) = (anonymous(), cx(dir.path()));
    let first = ImageIndex::new(Platform::ALL.map(sample).into()).unwrap();
    registry.push_to(&effects, &to).index(&first).unwrap();
    let push = registry.push_to(&effects, &to);
    push.index(&first).unwrap();
    assert_eq!(push.cost().bytes, 0);
    // One image of four is another: its layer, configuration and manifest, and the index, under its digest and its tag.
    let mut images: Vec<_> = first.images()[1..].to_vec();
    let changed = crate::oci::image::changed(Platform::ArmV6);
    images.push(changed.clone());
    let second = ImageIndex::new(images).unwrap();
    let push = registry.push_to(&effects, &to);
    push.index(&second).unwrap();
    let json = changed.config().bytes().len() + changed.manifest().bytes().len() + 2 * second.blob().bytes().len();
    let layer: u64 = changed.app_layers().iter().map(|layer| layer.size()).sum();
    assert_eq!(push.cost().bytes, layer + json as u64);
}
