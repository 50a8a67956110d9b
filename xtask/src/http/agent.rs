//! Connections: TLS with the system's certificates, and through the proxy that is meant for an address.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use base64::Engine as _;
use hyper_util::client::proxy::matcher::{Intercept, Matcher};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use ureq::Agent;
use ureq::config::Config;
use ureq::http::Uri;
use ureq::tls::{Certificate, RootCerts, TlsConfig};
use ureq::unversioned::resolver::DefaultResolver;
use ureq::unversioned::transport::DefaultConnector;
use url::Url;

use super::failure::Failure;
use super::forward;
use super::message::{Request, Response, shown};
use super::{Options, is_loopback};
use crate::error::{Context, Error, Result};

/// One pool of connections for each way out: direct, and each proxy.
pub(super) struct Agents {
    options: Options,
    matcher: Matcher,
    made: Mutex<BTreeMap<Way, Agent>>,
}

/// How an address is reached. The key holds what tells two proxies apart, without their passwords.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Way {
    /// TLS needs the certificates; what is reached without it must not fail for want of them.
    tls: bool,
    proxy: Option<(String, bool)>,
}

impl Agents {
    pub(super) fn new(options: Options) -> Self {
        let proxies = &options.proxies;
        let matcher = Matcher::builder()
            .http(proxies.http.as_str())
            .https(proxies.https.as_str())
            .all(proxies.all.as_str())
            .no(proxies.no.as_str())
            .build();
        Agents {
            options,
            matcher,
            made: Mutex::default(),
        }
    }

    /// Sends once. An answer of any status is an answer; redirects are the caller's.
    pub(super) fn send(&self, request: &Request) -> std::result::Result<Response, Failure> {
        let url = request.url();
        let agent = self.agent(url).map_err(Failure::fatal)?;
        let mut builder = ureq::http::Request::builder()
            .method(request.method().clone())
            .uri(target(url).map_err(Failure::fatal)?);
        for (name, value) in request.headers() {
            builder = builder.header(name, value);
        }
        let named = |error: ureq::http::Error| Failure::fatal(Error::from(error).context(shown(url)));
        let answer = match request.body_ref().open().map_err(Failure::fatal)? {
            None => agent.run(builder.body(()).map_err(named)?),
            Some(mut body) => {
                let builder = builder.header("content-length", request.body_ref().length());
                let body = ureq::SendBody::from_reader(&mut body);
                agent.run(builder.body(body).map_err(named)?)
            }
        };
        let answer = answer.map_err(|error| Failure::new(url, error))?;
        Ok(Response::new(request.method().clone(), url.clone(), answer))
    }

    fn agent(&self, url: &Url) -> Result<Agent> {
        let proxy = match is_loopback(url) {
            true => None,
            false => self.matcher.intercept(&target(url)?),
        };
        let tls = url.scheme() == "https";
        // A plain request goes to the proxy itself (RFC 9112, 3.2.2): many allow CONNECT for port 443 only.
        let forwarded = !tls
            && proxy
                .as_ref()
                .is_some_and(|proxy| proxy.uri().scheme_str() == Some("http"));
        let way = Way {
            tls: tls
                || proxy
                    .as_ref()
                    .is_some_and(|proxy| proxy.uri().scheme_str() == Some("https")),
            proxy: proxy.as_ref().map(|proxy| (proxy.uri().to_string(), forwarded)),
        };
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(agent) = made.get(&way) {
            return Ok(agent.clone());
        }
        let config = self.config(way.tls)?;
        let agent = match proxy {
            None => Agent::with_parts(config.build(), DefaultConnector::default(), DefaultResolver::default()),
            Some(proxy) if forwarded => forward::agent(config.build(), &proxy),
            Some(proxy) => {
                let config = config.proxy(Some(connect_proxy(&proxy)?)).build();
                Agent::with_parts(config, DefaultConnector::default(), DefaultResolver::default())
            }
        };
        made.insert(way, agent.clone());
        Ok(agent)
    }

    fn config(&self, tls: bool) -> Result<ureq::config::ConfigBuilder<ureq::typestate::AgentScope>> {
        let mut config = Config::builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .proxy(None)
            // Bytes as they are: they have digests, and parts of them are asked for.
            .accept_encoding("identity")
            .user_agent(concat!("raspi-image/", env!("CARGO_PKG_VERSION")))
            .timeout_resolve(Some(self.options.connect))
            .timeout_connect(Some(self.options.connect))
            .timeout_per_read(Some(self.options.idle))
            .timeout_per_write(Some(self.options.idle));
        if tls {
            let roots = match &self.options.roots {
                Some(pem) => pem_certificates(pem)?,
                None => system_certificates()?,
            };
            let tls = TlsConfig::builder()
                .root_certs(RootCerts::new_with_certs(&roots))
                .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()));
            config = config.tls_config(tls.build());
        }
        Ok(config)
    }
}

/// The address without user and password, which are never sent by accident.
fn target(url: &Url) -> Result<Uri> {
    let mut url = url.clone();
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url.set_fragment(None);
    url.as_str()
        .parse()
        .context(|| format!("{} is not an HTTP address", shown(&url)))
}

fn connect_proxy(proxy: &Intercept) -> Result<ureq::Proxy> {
    let uri = proxy.uri();
    let named = || format!("the proxy {uri} cannot be used");
    let protocol = match uri.scheme_str() {
        Some("http") => ureq::ProxyProtocol::Http,
        Some("https") => ureq::ProxyProtocol::Https,
        Some("socks4") => ureq::ProxyProtocol::Socks4,
        Some("socks4a") => ureq::ProxyProtocol::Socks4A,
        Some("socks5" | "socks5h") => ureq::ProxyProtocol::Socks5,
        _ => {
            return Err(
                Error::new(named()).hint("a proxy is http://HOST:PORT, https://HOST:PORT or socks5://HOST:PORT")
            );
        }
    };
    let mut builder = ureq::Proxy::builder(protocol).host(uri.host().unwrap_or_default());
    if let Some(port) = uri.port_u16() {
        builder = builder.port(port);
    }
    let basic = proxy.basic_auth().and_then(|header| {
        let bytes = base64::prelude::BASE64_STANDARD
            .decode(header.as_bytes().strip_prefix(b"Basic ")?)
            .ok()?;
        let text = String::from_utf8(bytes).ok()?;
        let (user, password) = text.split_once(':')?;
        Some((user.to_owned(), password.to_owned()))
    });
    let raw = proxy
        .raw_auth()
        .map(|(user, password)| (user.to_owned(), password.to_owned()));
    if let Some((user, password)) = basic.or(raw) {
        builder = builder.username(&user).password(&password);
    }
    builder.build().context(named)
}

fn system_certificates() -> Result<Vec<Certificate<'static>>> {
    let found = rustls_native_certs::load_native_certs();
    if found.certs.is_empty() {
        let reason: Vec<String> = found.errors.iter().map(ToString::to_string).collect();
        let more = if reason.is_empty() {
            String::new()
        } else {
            format!(": {}", reason.join("; "))
        };
        return Err(Error::new(format!("this machine has no certificates to trust{more}"))
            .hint("install the package ca-certificates, or name a PEM file in SSL_CERT_FILE"));
    }
    Ok(found
        .certs
        .iter()
        .map(|der| Certificate::from_der(der).to_owned())
        .collect())
}

fn pem_certificates(pem: &[u8]) -> Result<Vec<Certificate<'static>>> {
    CertificateDer::pem_slice_iter(pem)
        .map(|der| Ok(Certificate::from_der(&der.context(|| "the certificates to trust are not PEM")?).to_owned()))
        .collect()
}
