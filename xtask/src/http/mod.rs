//! HTTP: the one client. It owns TLS, proxies, timeouts, retries, redirects, and what of a request may be shown.
//!
//! Who fetches bytes or files needs [`Client::get`] and [`Client::download`]; who speaks a protocol (a registry's) builds a
//! [`Request`] and sends it. Certificates are the system's (`SSL_CERT_FILE` and `SSL_CERT_DIR` as OpenSSL reads them); proxies
//! are those of `HTTP_PROXY`, `HTTPS_PROXY`, `ALL_PROXY` and `NO_PROXY`, in either case, as curl reads them, but loopback
//! is always reached directly, as Docker and Go do it.
//!
//! What fails for a while (a connection that is reset or silent, 408, 429, 5xx) is tried again after growing waits, or
//! after what `Retry-After` says. What fails for good (a name that does not resolve, a refused connection, a certificate that
//! is not trusted, other answers) is not. Credentials go to the scheme, host and port that they were meant for and, after
//! a redirect, nowhere else; nothing that was reached by HTTPS redirects to plain HTTP.

mod agent;
mod download;
mod failure;
mod forward;
mod message;
mod retry;
mod secret;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use url::Url;

pub use download::{Checksum, Opener, Wanted};
pub use failure::clean;
pub use message::{Body, Request, Response, Watch, same_origin, shown};
pub use retry::{Retry, SystemTimer, Timer, Tries};
pub use secret::Secret;
pub use ureq::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};

use crate::cx::Cx;
use crate::error::{Context, Error, Result};
use agent::Agents;

/// Redirects that are followed; browsers follow 20.
const REDIRECTS: usize = 10;

/// How a client behaves. [`Options::from_environment`] is what the program uses; tests shorten and replace.
#[derive(Clone, Debug)]
pub struct Options {
    /// Which proxies are used.
    pub proxies: Proxies,
    /// PEM certificates to trust instead of the system's.
    pub roots: Option<Vec<u8>>,
    /// How long a name lookup and a connection may take, each.
    pub connect: Duration,
    /// How long a connection may be silent.
    pub idle: Duration,
    /// What is tried again, how often and when.
    pub retry: Retry,
}

/// The values of the proxy variables; empty is unset.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Proxies {
    /// For `http://` (`HTTP_PROXY`).
    pub http: String,
    /// For `https://` (`HTTPS_PROXY`).
    pub https: String,
    /// Where the other two are empty (`ALL_PROXY`).
    pub all: String,
    /// Hosts, domains and networks that are reached directly (`NO_PROXY`).
    pub no: String,
}

impl fmt::Debug for Proxies {
    /// They may hold passwords.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let clean = crate::error::redact;
        f.debug_struct("Proxies")
            .field("http", &clean(&self.http))
            .field("https", &clean(&self.https))
            .field("all", &clean(&self.all))
            .field("no", &self.no)
            .finish()
    }
}

impl Proxies {
    /// Lower case wins, as in curl. `HTTP_PROXY` in upper case is ignored in a CGI program, where the `Proxy:` header of
    /// a request sets it (httpoxy).
    pub fn from_environment() -> Self {
        let get = |name: &str| {
            let value = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
            value(&name.to_lowercase())
                .or_else(|| value(name).filter(|_| name != "HTTP_PROXY" || value("REQUEST_METHOD").is_none()))
                .unwrap_or_default()
        };
        Proxies {
            http: get("HTTP_PROXY"),
            https: get("HTTPS_PROXY"),
            all: get("ALL_PROXY"),
            no: get("NO_PROXY"),
        }
    }
}

impl Options {
    /// No proxy, the system's certificates, patience for a slow registry.
    pub fn new() -> Self {
        Options {
            proxies: Proxies::default(),
            roots: None,
            connect: Duration::from_secs(20),
            idle: Duration::from_secs(60),
            retry: Retry::default(),
        }
    }

    /// The same with the proxies of the environment.
    pub fn from_environment() -> Self {
        Options {
            proxies: Proxies::from_environment(),
            ..Options::new()
        }
    }
}

impl Default for Options {
    fn default() -> Self {
        Options::new()
    }
}

/// The client. Cheap to make: certificates are read when the first HTTPS connection needs them. Connections are kept and
/// used again; it may be used from several threads.
pub struct Client {
    agents: Agents,
    retry: Retry,
    timer: Arc<dyn Timer>,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("retry", &self.retry)
            .finish_non_exhaustive()
    }
}

impl Client {
    /// A client that waits by `timer`'s clock.
    pub fn new(options: Options, timer: Arc<dyn Timer>) -> Self {
        Client {
            retry: options.retry,
            agents: Agents::new(options),
            timer,
        }
    }

    /// The client that the program uses.
    pub fn from_environment() -> Self {
        Client::new(Options::from_environment(), Arc::new(SystemTimer))
    }

    /// The clock that it waits by.
    pub fn timer(&self) -> &Arc<dyn Timer> {
        &self.timer
    }

    /// Attempts for something that takes several requests.
    pub fn tries(&self) -> Tries {
        self.retry.tries()
    }

    /// GET: the body, at most `limit` bytes of it. Everything but 200 is an error that names the URL. `--offline` is one too.
    pub fn get(&self, cx: &Cx, url: &str, limit: u64) -> Result<Vec<u8>> {
        let url = parse(url)?;
        online(cx, &url)?;
        let mut tries = self.retry.tries();
        loop {
            let response = self.send_within(cx, &Request::get(url.clone()), &mut tries)?;
            if response.status() != StatusCode::OK {
                return Err(response.into_error());
            }
            match response.bytes(limit) {
                Ok(bytes) => return Ok(bytes),
                // The head came, the body broke off.
                Err(failure) => tries.again(self.timer.as_ref(), failure, None, &cx.ui)?,
            }
        }
    }

    /// Sends a request and follows redirects of GET and HEAD. Any status is an answer; those that mean "later" are tried
    /// again first, until the patience ends. An error means that there was no answer.
    pub fn send(&self, cx: &Cx, request: &Request) -> Result<Response> {
        self.send_within(cx, request, &mut self.retry.tries())
    }

    fn send_within(&self, cx: &Cx, request: &Request, tries: &mut retry::Tries) -> Result<Response> {
        online(cx, request.url())?;
        loop {
            match self.follow(cx, request) {
                Ok(response) if !retry::means_later(response.status()) => return Ok(response),
                Ok(response) => {
                    let after = retry::retry_after(response.headers(), self.timer.now());
                    if !request.may_repeat() || !tries.allow(after) {
                        return Ok(response.after(tries.count()));
                    }
                    let failure = failure::Failure::later(response.into_error());
                    tries.again(self.timer.as_ref(), failure, after, &cx.ui)?;
                }
                Err(failure) if request.may_repeat() => tries.again(self.timer.as_ref(), failure, None, &cx.ui)?,
                Err(failure) => return Err(failure.into()),
            }
        }
    }

    /// Whether a server speaks TLS: false only if it answers with something else. A certificate that is not trusted, or no
    /// answer, is an error.
    pub fn speaks_tls(&self, cx: &Cx, url: &Url) -> Result<bool> {
        online(cx, url)?;
        let mut tries = self.retry.tries();
        loop {
            match self.agents.send(&Request::head(url.clone())) {
                Ok(_) => return Ok(true),
                Err(failure) if failure.is_plain() => return Ok(false),
                Err(failure) => tries.again(self.timer.as_ref(), failure, None, &cx.ui)?,
            }
        }
    }

    /// One attempt, with its redirects.
    fn follow(&self, cx: &Cx, request: &Request) -> std::result::Result<Response, failure::Failure> {
        let mut request = request.clone();
        for _ in 0..REDIRECTS {
            cx.ui.command(&format!("{} {}", request.method(), shown(request.url())));
            let response = self.agents.send(&request)?;
            let Some(location) = response.location() else {
                return Ok(response);
            };
            let target = location.map_err(failure::Failure::fatal)?;
            request = request.redirected(target).map_err(failure::Failure::fatal)?;
        }
        Err(failure::Failure::fatal(Error::new(format!(
            "{} redirects more than {REDIRECTS} times",
            shown(request.url())
        ))))
    }
}

/// A URL of HTTP or HTTPS with a host.
pub fn parse(text: &str) -> Result<Url> {
    let named = || format!("`{}` is not an HTTP address", crate::error::redact(text));
    let url = Url::parse(text).context(named)?;
    match (url.scheme(), url.host_str()) {
        ("http" | "https", Some(host)) if !host.is_empty() => Ok(url),
        _ => Err(Error::new(named())),
    }
}

/// Whether a host is this machine: `localhost`, 127.0.0.0/8, ::1. Plain HTTP to it crosses no wire.
pub fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(url::Host::Domain(name)) => {
            let name = name.trim_end_matches('.');
            name == "localhost" || name.ends_with(".localhost")
        }
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

fn online(cx: &Cx, url: &Url) -> Result<()> {
    if cx.offline {
        return Err(
            Error::new(format!("{} is needed, and --offline forbids it", shown(url)))
                .hint("run once without --offline; what was fetched is kept in the cache"),
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_checked_and_never_shown_with_secrets() {
        assert!(parse("https://host/x").is_ok());
        for wrong in ["", "host", "ftp://host/", "file:///etc", "http://", "https://:443/"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
        let error = parse("gopher://user:secret@host/").unwrap_err().to_string();
        assert!(!error.contains("secret"), "{error}");
    }

    #[test]
    fn loopback_is_known_in_every_spelling() {
        for (url, expected) in [
            ("http://localhost:5000/", true),
            ("http://127.9.9.9/", true),
            ("http://[::1]:1/", true),
            ("http://registry.localhost/", true),
            ("http://localhost.example/", false),
            ("http://10.0.0.1/", false),
            ("http://[::2]/", false),
        ] {
            assert_eq!(is_loopback(&parse(url).unwrap()), expected, "{url}");
        }
    }

    #[test]
    fn proxies_do_not_show_their_passwords() {
        let proxies = Proxies {
            https: "http://me:hush@proxy:3128".to_owned(),
            ..Proxies::default()
        };
        let text = format!("{proxies:?}");
        assert!(text.contains("proxy:3128") && !text.contains("hush"), "{text}");
    }
}
