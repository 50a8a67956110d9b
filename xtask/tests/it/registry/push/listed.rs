//! What is listed: referrers, by the registry or by a tag, and tags.

use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use xtask::attest::manifest::referrers_tag;
use xtask::oci::image::Form;
use xtask::oci::{Digest, ImageIndex, media};
use xtask::target::Platform;

use super::{Script, State, anonymous, reference, text, upload_registry};
use crate::http::cx;
use crate::http::server::{Reply, Seen};
use crate::oci::image::{about, sample};

/// An image with an attestation and two referrers.
fn index() -> ImageIndex {
    let image = sample(Platform::ArmV6);
    let attached = [
        about(&image, Form::Attestation, "sbom"),
        about(&image, Form::Referrer, "sbom"),
        about(&image, Form::Referrer, "provenance"),
    ];
    ImageIndex::with_attached(vec![image], attached.into()).unwrap()
}

fn tag(index: &ImageIndex) -> String {
    referrers_tag(index.images()[0].manifest().digest())
}

fn is_list(seen: &Seen) -> bool {
    seen.target.contains("/manifests/sha256-")
}

/// The digests of the list under a tag.
fn listed(state: &Mutex<State>, tag: &str) -> Vec<String> {
    let state = state.lock().unwrap();
    let list: Value = serde_json::from_slice(&state.content.manifests[&state.content.tags[tag]].1).unwrap();
    let entries = list["manifests"].as_array().unwrap();
    entries
        .iter()
        .map(|entry| entry["digest"].as_str().unwrap().to_owned())
        .collect()
}

fn own(index: &ImageIndex) -> Vec<String> {
    let referrers = index.attached().iter().filter(|one| one.form() == Form::Referrer);
    referrers.map(|one| one.manifest().digest().to_string()).collect()
}

/// Puts a list of one signature of somebody else under the tag.
fn foreign(state: &Mutex<State>, tag: &str, name: &str) -> Digest {
    let content = &mut state.lock().unwrap().content;
    let signature = content.manifest(&json!({"schemaVersion": 2, "signed": name}), media::MANIFEST);
    let entry = json!({"mediaType": media::MANIFEST, "digest": signature.to_string(), "size": 1, "artifactType": "x/signature",
                       "annotations": {"by": name}});
    let list =
        json!({"schemaVersion": 2, "mediaType": media::INDEX, "manifests": [entry], "annotations": {"kept": "yes"}});
    let list = content.manifest(&list, media::INDEX);
    content.tag(tag, list);
    signature
}

/// A registry without the API, that answers so, and otherwise by the script.
fn without(answer: Reply, script: Box<Script>) -> Box<Script> {
    Box::new(move |seen, count, go| match seen.target.contains("/referrers/") {
        true => answer.clone(),
        false => script(seen, count, go),
    })
}

fn none() -> Reply {
    Reply::new(404, "404 page not found")
}

#[test]
fn a_registry_that_lists_referrers_gets_no_tag_for_them() {
    let dir = tempfile::tempdir().unwrap();
    let index = index();
    let state: Arc<Mutex<State>> = Arc::default();
    let server = upload_registry(
        &state,
        without(
            Reply::new(200, r#"{"schemaVersion":2,"manifests":[]}"#),
            Box::new(|_, _, go| go()),
        ),
    );
    let to = reference(&server, "a/b:1");
    anonymous().push_to(&cx(dir.path()), &to).index(&index).unwrap();
    let state = state.lock().unwrap();
    for attached in index.attached() {
        assert!(state.content.manifests.contains_key(&attached.manifest().digest()));
    }
    assert_eq!(state.content.tags.keys().collect::<Vec<_>>(), ["1"]);
    assert_eq!(state.content.tags["1"], index.blob().digest());
}

#[test]
fn where_the_registry_lists_none_a_tag_does() {
    let dir = tempfile::tempdir().unwrap();
    let index = index();
    for no in [
        none(),
        Reply::new(400, ""),
        Reply::new(405, ""),
        Reply::new(406, ""),
        Reply::new(501, ""),
        Reply::new(200, "<html>a page for people</html>"),
    ] {
        let (status, state) = (no.status, Arc::<Mutex<State>>::default());
        let server = upload_registry(&state, without(no, Box::new(|_, _, go| go())));
        let (cx, to, registry) = (cx(dir.path()), reference(&server, "a/b:1"), anonymous());
        let push = registry.push_to(&cx, &to);
        let (planned, asked) = push.survey_referrers([&index]).unwrap();
        push.index(&index).unwrap();
        assert_eq!(listed(&state, &tag(&index)), own(&index), "{status}");
        // As the API would have it: with artifact type and annotations.
        let subject = index.images()[0].manifest().digest();
        let found = registry.referrers(&cx, &to, subject).unwrap();
        assert_eq!(found[0]["artifactType"], "application/vnd.in-toto+json", "{status}");
        // Again: asked, and not one byte.
        let before = server.seen().len();
        let again = registry.push_to(&cx, &to);
        again.index(&index).unwrap();
        assert_eq!(again.cost().bytes, 0, "{status}");
        let wrote = |seen: &Seen| seen.method == "PUT" || seen.method == "POST";
        assert!(!server.seen()[before..].iter().any(wrote), "{status}");
        // What was announced for referrers is what they were.
        assert_eq!(asked, 1);
        let listing = planned.iter().find(|one| one.label == "list of referrers").unwrap();
        assert_eq!(listing.requests, 3);
        let (planned, _) = again.survey_referrers([&index]).unwrap();
        assert!(
            planned.iter().all(|one| one.send == 0 && one.requests == 1),
            "{planned:?}"
        );
    }
    // No API is not the same as no permission.
    let state: Arc<Mutex<State>> = Arc::default();
    let server = upload_registry(&state, without(Reply::new(403, ""), Box::new(|_, _, go| go())));
    let to = reference(&server, "a/b:1");
    let error = anonymous().push_to(&cx(dir.path()), &to).index(&index).unwrap_err();
    assert!(text(&error).contains("you may not push"), "{}", text(&error));
    assert!(state.lock().unwrap().content.tags.is_empty());
}

#[test]
fn what_others_list_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let index = index();
    let tag = tag(&index);
    let push = |script: Box<Script>, state: &Arc<Mutex<State>>| {
        let server = upload_registry(state, without(none(), script));
        let to = reference(&server, "a/b:1");
        anonymous()
            .push_to(&cx(dir.path()), &to)
            .index(&index)
            .map_err(|error| text(&error))
    };
    let all = |other: &Digest| [vec![other.to_string()], own(&index)].concat();

    // It was there before.
    let state: Arc<Mutex<State>> = Arc::default();
    let other = foreign(&state, &tag, "before");
    push(Box::new(|_, _, go| go()), &state).unwrap();
    assert_eq!(listed(&state, &tag), all(&other));
    let list = {
        let state = state.lock().unwrap();
        state.content.manifests[&state.content.tags[&tag]].1.clone()
    };
    let list: Value = serde_json::from_slice(&list).unwrap();
    assert_eq!(
        (&list["annotations"]["kept"], &list["manifests"][0]["annotations"]["by"]),
        (&"yes".into(), &"before".into())
    );

    // It comes between our reading and our writing, and the registry knows If-Match.
    let state: Arc<Mutex<State>> = Arc::default();
    let first = foreign(&state, &tag, "first");
    let (inner, name, came) = (Arc::clone(&state), tag.clone(), Arc::new(Mutex::new(None)));
    let others = Arc::clone(&came);
    push(
        Box::new(move |seen, _, go| {
            if !is_list(seen) {
                return go();
            }
            let etag = |state: &Mutex<State>| format!("\"{}\"", state.lock().unwrap().content.tags[&name]);
            if seen.method == "PUT" {
                let mut came = others.lock().unwrap();
                if came.is_none() {
                    *came = Some(foreign(&inner, &name, "meanwhile"));
                }
                if seen.header("if-match") != Some(&etag(&inner)) {
                    return Reply::new(412, "");
                }
                return go();
            }
            go().header("ETag", etag(&inner))
        }),
        &state,
    )
    .unwrap();
    let meanwhile = came.lock().unwrap().unwrap();
    assert_ne!(first, meanwhile);
    assert_eq!(listed(&state, &tag), all(&meanwhile));

    // Somebody else overwrites ours: it is added to theirs.
    let state: Arc<Mutex<State>> = Arc::default();
    let (inner, name, came) = (Arc::clone(&state), tag.clone(), Arc::new(Mutex::new(None)));
    let others = Arc::clone(&came);
    push(
        Box::new(move |seen, _, go| {
            let reply = go();
            let mut came = others.lock().unwrap();
            if is_list(seen) && seen.method == "PUT" && came.is_none() {
                *came = Some(foreign(&inner, &name, "after"));
            }
            reply
        }),
        &state,
    )
    .unwrap();
    assert_eq!(listed(&state, &tag), all(&came.lock().unwrap().unwrap()));

    // Who does that for ever is told, and no tag of ours is set.
    let state: Arc<Mutex<State>> = Arc::default();
    let (inner, name) = (Arc::clone(&state), tag.clone());
    let error = push(
        Box::new(move |seen, _, go| {
            let reply = go();
            if is_list(seen) && seen.method == "PUT" {
                foreign(&inner, &name, "again");
            }
            reply
        }),
        &state,
    )
    .unwrap_err();
    assert!(error.contains("is not in it") && error.contains("try again"), "{error}");
    assert!(!state.lock().unwrap().content.tags.contains_key("1"));

    // Something else under that tag is not replaced.
    let state: Arc<Mutex<State>> = Arc::default();
    let image = {
        let content = &mut state.lock().unwrap().content;
        let image = content.image("linux/amd64", &[]);
        content.tag(&tag, image);
        image
    };
    let error = push(Box::new(|_, _, go| go()), &state).unwrap_err();
    assert!(error.contains("is no list of referrers"), "{error}");
    assert_eq!(state.lock().unwrap().content.tags.get(&tag), Some(&image));
}

#[test]
fn tags_are_listed_over_all_pages() {
    let dir = tempfile::tempdir().unwrap();
    let cx = cx(dir.path());
    let list = |reply: fn(&Seen) -> Reply| {
        let server = crate::http::server::Server::start(reply);
        let to = reference(&server, "a/b");
        let found = anonymous().push_to(&cx, &to).tags();
        found
            .map(|listing| (listing.tags, listing.requests))
            .map_err(|error| text(&error))
    };
    let pages = list(|seen| match seen.target.split_once("?last=") {
        None => Reply::new(200, r#"{"name":"a/b","tags":["1","2"]}"#)
            .header("Link", r#"</v2/a/b/tags/list?last=2&n=2>; rel="next""#),
        Some(_) => Reply::new(200, r#"{"name":"a/b","tags":["3"]}"#),
    });
    assert_eq!(pages.unwrap(), (Some(["1", "2", "3"].map(str::to_owned).into()), 2));
    let empty = list(|_| Reply::new(200, r#"{"name":"a/b","tags":null}"#));
    assert_eq!(empty.unwrap(), (Some(Vec::new()), 1));
    let new = list(|_| Reply::new(404, r#"{"errors":[{"code":"NAME_UNKNOWN"}]}"#));
    assert_eq!(new.unwrap(), (Some(Vec::new()), 1));
    assert_eq!(list(|_| Reply::new(405, "")).unwrap(), (None, 1));
    assert!(
        list(|_| Reply::new(200, "<html>"))
            .unwrap_err()
            .contains("is malformed")
    );
    // Neither round in circles nor to somebody else.
    for link in [
        "</v2/a/b/tags/list>; rel=next",
        "<http://127.0.0.2:1/v2/a/b/tags/list>; rel=next",
    ] {
        let server =
            crate::http::server::Server::start(move |_| Reply::new(200, r#"{"tags":[]}"#).header("Link", link));
        let to = reference(&server, "a/b");
        let error = anonymous().push_to(&cx, &to).tags().unwrap_err();
        assert!(text(&error).contains("goes on at"), "{}", text(&error));
    }
}
