//! Registries (OCI distribution-spec, and what Docker's registries do besides).
//!
//! [`Registry`] is a conversation with registries: it finds credentials, gets and keeps tokens, and sends what `http` sends.
//! [`Registry::resolve`] says which digests a reference has for a platform; [`Registry::pull`] puts them into the cache. Nothing
//! is believed: manifests, configurations and layers must have the digest that they were asked by.
//!
//! Plain HTTP is spoken with loopback, where HTTPS is tried first, and with hosts in `XTASK_PLAIN_HTTP` (separated by commas).

mod challenge;
mod credentials;
mod document;
mod pull;
mod push;
mod refusal;
mod token;
mod whole;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Mutex, PoisonError};

use url::Url;

pub use challenge::{Challenge, parse as parse_challenges};
pub use credentials::{Credential, Places};
pub use document::{Document, Variants};
pub use pull::{Pulled, PulledLayer, Resolved};
pub use push::{Action, Content, Cost, Journal, Listing, Planned, Push, Quota, Sent, Tagged};
pub use refusal::refusal;
pub use whole::Whole;

use crate::cx::Cx;
use crate::error::Result;
use crate::http::{Client, Request, Response, StatusCode, header, is_loopback, parse, same_origin};
use crate::oci::Reference;
use crate::oci::reference::HUB;
use crate::target::Platform;
use token::Grants;

/// What a token is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Access {
    /// Reading a repository.
    Pull,
    /// Reading and writing it.
    Push,
}

/// A conversation with any number of registries.
pub struct Registry {
    client: Client,
    places: Places,
    plain: BTreeSet<String>,
    grants: Grants,
    schemes: Mutex<BTreeMap<String, &'static str>>,
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registry")
            .field("client", &self.client)
            .finish_non_exhaustive()
    }
}

/// The image behind a reference, for a platform, in the cache: [`Registry::pull`] with the user's settings and exact variants.
pub fn pull(cx: &Cx, reference: &Reference, platform: Platform) -> Result<Pulled> {
    Registry::from_environment().pull(cx, reference, platform, Variants::Exact)
}

/// Its digests alone: [`Registry::resolve`] with the user's settings and exact variants.
pub fn resolve(cx: &Cx, reference: &Reference, platform: Platform) -> Result<Resolved> {
    Registry::from_environment().resolve(cx, reference, platform, Variants::Exact)
}

impl Registry {
    /// `plain`: hosts, with their ports, that are spoken to without TLS although they are not this machine.
    pub fn new(client: Client, places: Places, plain: impl IntoIterator<Item = String>) -> Self {
        Registry {
            client,
            places,
            plain: plain.into_iter().collect(),
            grants: Grants::default(),
            schemes: Mutex::default(),
        }
    }

    /// With the user's proxies, certificates and credentials.
    pub fn from_environment() -> Self {
        let plain = std::env::var("XTASK_PLAIN_HTTP").unwrap_or_default();
        let plain = plain.split(',').map(str::trim).filter(|host| !host.is_empty());
        Registry::new(
            Client::from_environment(),
            Places::from_environment(),
            plain.map(str::to_owned).collect::<Vec<_>>(),
        )
    }

    /// The client below.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// `path` (`manifests/latest`, `blobs/sha256:...`) of the reference's repository.
    pub fn url(&self, cx: &Cx, reference: &Reference, path: &str) -> Result<Url> {
        let root = self.root(cx, reference.registry())?;
        parse(&format!("{root}/v2/{}/{path}", reference.repository()))
    }

    /// Scheme and host of a registry's interface.
    fn root(&self, cx: &Cx, registry: &str) -> Result<String> {
        let host = match registry {
            // Docker Hub's interface has a name of its own.
            HUB => format!("registry-1.{HUB}"),
            host => host.to_owned(),
        };
        if self.plain.contains(&host) {
            return Ok(format!("http://{host}"));
        }
        let secure = parse(&format!("https://{host}/v2/"))?;
        if !is_loopback(&secure) {
            return Ok(format!("https://{host}"));
        }
        let known = |schemes: &BTreeMap<String, &'static str>| schemes.get(&host).copied();
        let mut schemes = self.schemes.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(scheme) = known(&schemes) {
            return Ok(format!("{scheme}://{host}"));
        }
        let scheme = if self.client.speaks_tls(cx, &secure)? {
            "https"
        } else {
            "http"
        };
        schemes.insert(host.clone(), scheme);
        Ok(format!("{scheme}://{host}"))
    }

    /// Sends a request about a repository, with what the registry wants to see: nothing at first, then, after a 401, what its
    /// challenge asks for. What was granted is kept for this process, and asked for anew when it has run out. An answer of any
    /// status is an answer; [`refusal()`] makes an error of it.
    pub fn call(
        &self,
        cx: &Cx,
        reference: &Reference,
        access: &[(&Reference, Access)],
        request: &Request,
    ) -> Result<Response> {
        // A place that a registry sends uploads to may be another server, which gets no credentials.
        let own = parse(&self.root(cx, reference.registry())?)?;
        if !same_origin(request.url(), &own) {
            return self.client.send(cx, request);
        }
        let now = self.client.timer().now();
        let key = (reference.registry().to_owned(), token::scopes(access));
        let granted = self.grants.get(&key, now);
        let response = match &granted {
            Some(authorization) => self
                .client
                .send(cx, &request.clone().authorize(authorization.expose())?)?,
            None => self.client.send(cx, request)?,
        };
        // After a redirect it is another server that says no, and no credentials are meant for that one.
        if response.status() != StatusCode::UNAUTHORIZED || !same_origin(response.url(), request.url()) {
            return Ok(response);
        }
        let headers = response.headers().get_all(header::WWW_AUTHENTICATE);
        let challenges = parse_challenges(headers.iter().filter_map(|value| value.to_str().ok()));
        let renewed = self.grants.renew(&key, granted.as_ref(), now, || {
            token::grant(self, cx, reference, access, request.url(), &challenges)
        })?;
        match renewed {
            Some(authorization) => self
                .client
                .send(cx, &request.clone().authorize(authorization.expose())?),
            None => Ok(response),
        }
    }
}
