//! The HTTP client against servers that misbehave, certificates that nobody knows, and proxies.

pub mod server;
pub mod wire;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use server::{Certificates, Fault, Reply, Seen, Server, Waits};
use sha2::Digest as _;
use xtask::cache::{Cache, hex};
use xtask::cx::Cx;
use xtask::error::Error;
use xtask::http::{Checksum, Client, Options, Proxies, Request, Wanted, parse};
use xtask::shell::Shell;
use xtask::ui::{Ui, Verbosity};

/// Effects with a cache of their own.
pub fn cx(cache: &Path) -> Cx {
    Cx {
        shell: Shell::new(false),
        ui: Ui::new(Verbosity::Quiet),
        cache: Cache::at(cache),
        root: cache.to_owned(),
        offline: false,
    }
}

/// Options of a test: a machine without certificates will do.
pub fn options() -> Options {
    Options {
        roots: Some(Certificates::new().authority.into()),
        idle: Duration::from_secs(20),
        ..Options::new()
    }
}

/// The same where a server stalls: silence is noticed soon, but not so soon that a busy machine makes it.
pub fn impatient() -> Options {
    Options {
        idle: Duration::from_millis(1500),
        ..options()
    }
}

fn client(waits: &Arc<Waits>) -> Client {
    Client::new(options(), Arc::clone(waits) as _)
}

fn text(error: &Error) -> String {
    format!("{error} | {}", error.next_step().unwrap_or_default())
}

/// Bytes that are not all alike.
pub fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let next = |_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    (0..length).map(next).collect()
}

fn wanted(bytes: &[u8]) -> Wanted {
    Wanted {
        checksum: Checksum::Sha256(hex(&sha2::Sha256::digest(bytes))),
        size: Some(bytes.len() as u64),
        limit: 1 << 20,
        label: "a file".to_owned(),
    }
}

/// A server that gives these replies one after the other, then the last one again and again.
fn script(replies: Vec<Reply>) -> Server {
    let next = AtomicUsize::new(0);
    Server::start(move |_| {
        let index = next.fetch_add(1, Ordering::SeqCst).min(replies.len() - 1);
        replies[index].clone()
    })
}

#[test]
fn what_passes_is_tried_again_after_growing_waits() {
    let dir = tempfile::tempdir().unwrap();
    let (cx, waits) = (cx(dir.path()), Waits::new());
    let server = script(vec![
        Reply::new(500, "oops"),
        Reply::new(502, "<html>"),
        Reply::new(503, "").header("Retry-After", "7"),
        Reply::new(429, "Too Many Requests").header("Retry-After", "60"),
        Reply::new(200, "at last"),
    ]);
    let bytes = client(&waits).get(&cx, &server.url("/x"), 100).unwrap();
    assert_eq!(bytes, b"at last");
    // Ours double; those of the server are kept, with a little on top.
    assert_eq!(waits.seconds(), [0.5, 1.0, 7.5, 60.5]);
    // One connection serves all of them.
    assert_eq!(server.connections(), 1);
}

#[test]
fn patience_has_an_end_and_the_error_says_what_came() {
    let dir = tempfile::tempdir().unwrap();
    let (cx, waits) = (cx(dir.path()), Waits::new());
    let server = script(vec![Reply::new(503, "under\nrepair \u{1b}[31m")]);
    let error = client(&waits).get(&cx, &server.url("/x?token=abc"), 100).unwrap_err();
    let message = text(&error);
    assert!(message.contains("GET http://127.0.0.1"), "{message}");
    assert!(
        message.contains("/x?... answers 503 Service Unavailable (5 attempts): under repair [31m"),
        "{message}"
    );
    assert!(!message.contains("abc"), "{message}");
    assert_eq!(server.seen().len(), 5);
    // Nobody waits for an hour.
    let server = script(vec![Reply::new(429, "").header("Retry-After", "3600")]);
    assert!(client(&waits).get(&cx, &server.url("/"), 100).is_err());
    assert_eq!(server.seen().len(), 1);
}

#[test]
fn what_stays_is_not_tried_again() {
    let dir = tempfile::tempdir().unwrap();
    let (cx, waits) = (cx(dir.path()), Waits::new());
    for status in [400, 401, 403, 404, 410, 418, 501] {
        let server = script(vec![Reply::new(status, "no")]);
        let error = client(&waits).get(&cx, &server.url("/"), 100).unwrap_err();
        assert!(error.to_string().contains(&format!("answers {status}")), "{error}");
        assert_eq!(server.seen().len(), 1, "{status}");
    }
    let closed = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let error = client(&waits).get(&cx, &format!("http://{closed}/"), 100).unwrap_err();
    assert!(text(&error).contains("refused"), "{}", text(&error));
    assert!(
        text(&error).contains("check the spelling and the network"),
        "{}",
        text(&error)
    );
    let error = client(&waits)
        .get(&cx, "http://no-such-host.invalid/", 100)
        .unwrap_err();
    assert!(error.to_string().contains("no-such-host.invalid"), "{error}");
    assert!(waits.seconds().is_empty());
}

#[test]
fn a_body_that_breaks_off_or_stops_is_fetched_again() {
    let dir = tempfile::tempdir().unwrap();
    let (cx, waits) = (cx(dir.path()), Waits::new());
    let body = noise(100_000);
    let server = script(vec![
        Reply::new(200, body.clone()).fault(Fault::Reset(1000)),
        Reply::new(200, body.clone()).fault(Fault::Close(2000)),
        Reply::new(200, body.clone()).fault(Fault::Stall(0)),
        Reply::new(200, body.clone()),
    ]);
    assert!(
        Client::new(impatient(), waits.clone())
            .get(&cx, &server.url("/"), 1 << 20)
            .unwrap()
            == body
    );
    assert_eq!(waits.seconds().len(), 3);
}

#[test]
fn a_body_has_a_limit() {
    let dir = tempfile::tempdir().unwrap();
    let (cx, waits) = (cx(dir.path()), Waits::new());
    let server = script(vec![Reply::new(200, "12345")]);
    assert_eq!(client(&waits).get(&cx, &server.url("/"), 5).unwrap(), b"12345");
    let error = client(&waits).get(&cx, &server.url("/"), 4).unwrap_err();
    assert!(error.to_string().contains("more than the 4 bytes"), "{error}");
}

#[test]
fn offline_says_what_is_missing() {
    let dir = tempfile::tempdir().unwrap();
    let mut cx = cx(dir.path());
    cx.offline = true;
    let error = client(&Waits::new())
        .get(&cx, "http://mirror.example/x", 1)
        .unwrap_err();
    assert!(
        text(&error).contains("http://mirror.example/x is needed, and --offline forbids it"),
        "{}",
        text(&error)
    );
}

#[test]
fn a_download_goes_on_where_it_broke_off() {
    let dir = tempfile::tempdir().unwrap();
    let (cx, waits) = (cx(dir.path()), Waits::new());
    let body = noise(300_000);
    let count = AtomicUsize::new(0);
    let server = {
        let body = body.clone();
        Server::start(move |seen| {
            let reply = Reply::ranged(seen, &body);
            match count.fetch_add(1, Ordering::SeqCst) {
                0 => reply.fault(Fault::Reset(100_000)),
                1 => reply.fault(Fault::Stall(50_000)),
                2 => Reply::new(503, ""),
                3 => reply.fault(Fault::Close(50_000)),
                _ => reply,
            }
        })
    };
    let path = Client::new(impatient(), waits.clone())
        .download(&cx, &server.url("/file"), &wanted(&body))
        .unwrap();
    assert!(std::fs::read(&path).unwrap() == body);
    assert!(path.starts_with(dir.path().join("sha256")));
    let starts: Vec<Option<usize>> = server.seen().iter().map(Seen::range).collect();
    assert_eq!(
        starts,
        [None, Some(100_000), Some(150_000), Some(150_000), Some(200_000)]
    );
    // The second time it is there; nobody is asked, also offline.
    let offline = Cx {
        offline: true,
        ..self::cx(dir.path())
    };
    Client::new(impatient(), waits.clone())
        .download(&offline, &server.url("/file"), &wanted(&body))
        .unwrap();
    assert_eq!(server.seen().len(), 5);
    assert_eq!(std::fs::read_dir(dir.path().join("tmp")).unwrap().count(), 0);
}

#[test]
fn a_later_run_goes_on_too_and_trusts_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let waits = Waits::new();
    let body = noise(200_000);
    let broken = {
        let body = body.clone();
        Server::start(move |seen| match seen.range() {
            None => Reply::ranged(seen, &body).fault(Fault::Close(120_000)),
            Some(_) => Reply::new(404, "gone"),
        })
    };
    assert!(
        client(&waits)
            .download(&cx(dir.path()), &broken.url("/"), &wanted(&body))
            .is_err()
    );
    let whole = {
        let body = body.clone();
        Server::start(move |seen| Reply::ranged(seen, &body))
    };
    let path = client(&waits)
        .download(&cx(dir.path()), &whole.url("/"), &wanted(&body))
        .unwrap();
    assert!(std::fs::read(path).unwrap() == body);
    assert_eq!(
        whole.seen().iter().map(Seen::range).collect::<Vec<_>>(),
        [Some(120_000)]
    );

    // What lies there may be anything: then the file is fetched once more, from the start.
    let other = noise(150_001);
    let partial = cx(dir.path())
        .cache
        .partial(&format!("sha256-{}", hex(&sha2::Sha256::digest(&other))))
        .unwrap();
    std::fs::write(&partial, vec![0; 1000]).unwrap();
    let server = {
        let other = other.clone();
        Server::start(move |seen| Reply::ranged(seen, &other))
    };
    let path = client(&waits)
        .download(&cx(dir.path()), &server.url("/"), &wanted(&other))
        .unwrap();
    assert!(std::fs::read(path).unwrap() == other);
    assert_eq!(
        server.seen().iter().map(Seen::range).collect::<Vec<_>>(),
        [Some(1000), None]
    );
}

#[test]
fn a_server_without_ranges_is_asked_from_the_start() {
    let dir = tempfile::tempdir().unwrap();
    let (cx, waits) = (cx(dir.path()), Waits::new());
    let body = noise(90_000);
    let server = script(vec![
        Reply::new(200, body.clone()).fault(Fault::Close(40_000)),
        Reply::new(200, body.clone()),
    ]);
    let path = client(&waits).download(&cx, &server.url("/"), &wanted(&body)).unwrap();
    assert!(std::fs::read(path).unwrap() == body);
}

#[test]
fn a_file_that_is_not_the_one_is_refused_and_not_kept() {
    let dir = tempfile::tempdir().unwrap();
    let (cx, waits) = (cx(dir.path()), Waits::new());
    let good = noise(5000);
    let refused = |body: &[u8], size: Option<u64>| {
        let server = script(vec![Reply::new(200, body)]);
        let wanted = Wanted { size, ..wanted(&good) };
        let error = client(&waits).download(&cx, &server.url("/"), &wanted).unwrap_err();
        assert!(cx.cache.get(&hex(&sha2::Sha256::digest(body))).unwrap().is_none());
        text(&error)
    };
    let mut bad = good.clone();
    bad[4321] ^= 1;
    assert!(
        refused(&bad, Some(5000)).contains("sha256 of the 5000 bytes is"),
        "a flipped bit"
    );
    assert!(
        refused(&bad, None).contains("sha256 of the 5000 bytes is"),
        "without a size"
    );
    let long = [good.clone(), b"x".to_vec()].concat();
    assert!(
        refused(&long, Some(5000)).contains("more than the 5000 bytes"),
        "too long"
    );
    assert!(
        refused(&good[..4999], None).contains("sha256 of the 4999 bytes"),
        "too short"
    );
    let short = refused(&good[..4000], Some(5000));
    assert!(
        short.contains("4000 bytes came, 5000 were expected") || short.contains("sha256"),
        "{short}"
    );
    // Nothing of it stands in the way of the good one.
    let server = script(vec![Reply::new(200, good.clone())]);
    client(&waits).download(&cx, &server.url("/"), &wanted(&good)).unwrap();
}

#[test]
fn sha512_is_enough_to_find_a_file_again() {
    let dir = tempfile::tempdir().unwrap();
    let (cx, waits) = (cx(dir.path()), Waits::new());
    let body = noise(10_000);
    let server = script(vec![Reply::new(200, body.clone())]);
    let wanted = Wanted {
        checksum: Checksum::parse(&hex(&sha2::Sha512::digest(&body))).unwrap(),
        size: None,
        ..wanted(&body)
    };
    let first = client(&waits).download(&cx, &server.url("/"), &wanted).unwrap();
    let again = client(&waits).download(&cx, &server.url("/"), &wanted).unwrap();
    assert_eq!(first, again);
    assert_eq!(server.seen().len(), 1);
    // A damaged one is set aside and fetched again.
    std::fs::write(&first, b"damaged").unwrap();
    let third = client(&waits).download(&cx, &server.url("/"), &wanted).unwrap();
    assert!(std::fs::read(third).unwrap() == body);
    assert_eq!(server.seen().len(), 2);
}

#[test]
fn two_downloads_of_one_file_fetch_it_once() {
    let dir = tempfile::tempdir().unwrap();
    let body = noise(400_000);
    let server = {
        let body = body.clone();
        Server::start(move |seen| Reply::ranged(seen, &body))
    };
    let client = client(&Waits::new());
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                client
                    .download(&cx(dir.path()), &server.url("/"), &wanted(&body))
                    .unwrap()
            });
        }
    });
    assert_eq!(server.seen().len(), 1);
}

#[test]
fn redirects_are_followed_and_take_no_credentials_along() {
    let dir = tempfile::tempdir().unwrap();
    let (cx, waits) = (cx(dir.path()), Waits::new());
    let elsewhere = Server::start(|_| Reply::new(200, "blob"));
    let there = elsewhere.url("/signed?key=secret");
    let server = Server::start(move |seen| match seen.target.as_str() {
        "/far" => Reply::new(307, "").header("Location", &there),
        "/near" => Reply::new(302, "").header("Location", "../target"),
        "/loop" => Reply::new(301, "").header("Location", "/loop"),
        "/odd" => Reply::new(302, "").header("Location", "file:///etc/passwd"),
        "/none" => Reply::new(308, ""),
        _ => Reply::new(200, "here"),
    });
    let send = |path: &str| {
        let request = Request::get(parse(&server.url(path)).unwrap())
            .authorize("Bearer t0ken")
            .unwrap();
        client(&waits).send(&cx, &request)
    };
    assert_eq!(send("/near").unwrap().into_bytes(10).unwrap(), b"here");
    assert_eq!(
        server.seen().last().unwrap().header("authorization"),
        Some("Bearer t0ken")
    );
    assert_eq!(send("/far").unwrap().into_bytes(10).unwrap(), b"blob");
    assert_eq!(elsewhere.seen()[0].header("authorization"), None);
    for (path, reason) in [
        ("/loop", "redirects more than 10 times"),
        ("/odd", "redirects to no address"),
        ("/none", "redirects to no address"),
    ] {
        let error = send(path).unwrap_err();
        assert!(error.to_string().contains(reason), "{error}");
    }
}

#[test]
fn a_certificate_is_trusted_only_if_its_authority_is() {
    let dir = tempfile::tempdir().unwrap();
    let (cx, waits) = (cx(dir.path()), Waits::new());
    let certificates = Certificates::new();
    let server = Server::start_tls(&certificates, |_| Reply::new(200, "sealed"));
    let with = |roots: Option<&str>| {
        let roots = roots.map(|pem| pem.as_bytes().to_vec());
        Client::new(Options { roots, ..options() }, waits.clone()).get(&cx, &server.url("/"), 10)
    };
    assert_eq!(with(Some(&certificates.authority)).unwrap(), b"sealed");
    let error = with(Some(&Certificates::new().authority)).unwrap_err();
    assert!(
        text(&error).contains("signed by an authority that this machine does not trust"),
        "{}",
        text(&error)
    );
    assert!(text(&error).contains("SSL_CERT_FILE"), "{}", text(&error));
    // One of yesterday or of tomorrow: most often it is the clock here that is off.
    for certificates in [Certificates::valid(1990, 2000), Certificates::valid(3000, 4000)] {
        let server = Server::start_tls(&certificates, |_| Reply::new(200, "sealed"));
        let roots = Some(certificates.authority.clone().into_bytes());
        let client = Client::new(Options { roots, ..options() }, waits.clone());
        let error = text(&client.get(&cx, &server.url("/"), 10).unwrap_err());
        assert!(
            error.contains("is not valid today") && error.contains("check this machine's clock"),
            "{error}"
        );
        assert!(server.seen().is_empty());
    }
    // Speaking HTTPS to a server that does not.
    let plain = Server::start(|_| Reply::new(200, ""));
    let url = plain.url("/").replace("http:", "https:");
    let roots = Some(certificates.authority.clone().into_bytes());
    let error = Client::new(Options { roots, ..options() }, waits.clone())
        .get(&cx, &url, 10)
        .unwrap_err();
    assert!(text(&error).contains("does not speak HTTPS"), "{}", text(&error));
    assert!(waits.seconds().is_empty(), "no certificate gets better by waiting");
}

#[test]
fn https_does_not_redirect_to_http() {
    let dir = tempfile::tempdir().unwrap();
    let certificates = Certificates::new();
    let plain = Server::start(|_| Reply::new(200, ""));
    let location = plain.url("/");
    let server = Server::start_tls(&certificates, move |_| {
        Reply::new(302, "").header("Location", &location)
    });
    let roots = Some(certificates.authority.clone().into_bytes());
    let error = Client::new(Options { roots, ..options() }, Waits::new())
        .get(&cx(dir.path()), &server.url("/"), 10)
        .unwrap_err();
    assert!(error.to_string().contains("which is not HTTPS"), "{error}");
    assert!(plain.seen().is_empty());
}

/// A proxy: plain requests are answered here, tunnels are refused, and all is written down.
fn proxy() -> Server {
    Server::start(|seen| match seen.method.as_str() {
        "CONNECT" => Reply::new(407, "who are you?"),
        _ => Reply::new(200, "by proxy"),
    })
}

fn through(proxies: Proxies) -> Client {
    Client::new(
        Options {
            proxies,
            roots: Some(Certificates::new().authority.into()),
            ..options()
        },
        Waits::new(),
    )
}

#[test]
fn plain_http_goes_to_the_proxy_with_the_whole_address() {
    let dir = tempfile::tempdir().unwrap();
    let cx = cx(dir.path());
    let proxy = proxy();
    let client = through(Proxies {
        http: format!("http://me:pa%40ss@{}", proxy.host()),
        no: "inside.example,10.0.0.0/8,.corp".to_owned(),
        ..Proxies::default()
    });
    assert_eq!(
        client.get(&cx, "http://mirror.invalid:8080/a?b=c", 100).unwrap(),
        b"by proxy"
    );
    let seen = &proxy.seen()[0];
    assert_eq!(
        (seen.method.as_str(), seen.target.as_str()),
        ("GET", "http://mirror.invalid:8080/a?b=c")
    );
    assert_eq!(seen.header("host"), Some("mirror.invalid:8080"));
    assert_eq!(seen.header("proxy-authorization"), Some("Basic bWU6cGFAc3M="));
    // Two more, one after the other: each has its own first line.
    for _ in 0..2 {
        client.get(&cx, "http://mirror.invalid/", 100).unwrap();
    }
    assert_eq!(proxy.seen().len(), 3);
}

#[test]
fn https_goes_through_a_tunnel() {
    let dir = tempfile::tempdir().unwrap();
    let proxy = proxy();
    for proxies in [
        Proxies {
            https: format!("http://me:pw@{}", proxy.host()),
            ..Proxies::default()
        },
        Proxies {
            all: format!("http://me:pw@{}", proxy.host()),
            ..Proxies::default()
        },
    ] {
        let error = through(proxies)
            .get(&cx(dir.path()), "https://mirror.invalid/x", 100)
            .unwrap_err();
        assert!(text(&error).contains("the proxy refuses"), "{}", text(&error));
        assert!(!text(&error).contains("pw"), "{}", text(&error));
    }
    for seen in proxy.seen() {
        assert_eq!(
            (seen.method.as_str(), seen.target.as_str()),
            ("CONNECT", "mirror.invalid:443")
        );
        assert_eq!(seen.header("proxy-authorization"), Some("Basic bWU6cHc="));
    }
    assert_eq!(proxy.seen().len(), 2);
}

#[test]
fn loopback_and_no_proxy_are_reached_directly() {
    let dir = tempfile::tempdir().unwrap();
    let cx = cx(dir.path());
    let (proxy, server) = (proxy(), Server::start(|_| Reply::new(200, "direct")));
    let client = through(Proxies {
        all: format!("http://{}", proxy.host()),
        no: "inside.invalid,10.0.0.0/8,.corp.invalid".to_owned(),
        ..Proxies::default()
    });
    assert_eq!(client.get(&cx, &server.url("/"), 100).unwrap(), b"direct");
    // These are not there, so reaching for them directly fails.
    for url in ["http://inside.invalid/", "http://a.corp.invalid/"] {
        assert!(client.get(&cx, url, 100).is_err(), "{url}");
    }
    assert!(proxy.seen().is_empty(), "{:?}", proxy.seen());
    assert_eq!(client.get(&cx, "http://outside.invalid/", 100).unwrap(), b"by proxy");
}
