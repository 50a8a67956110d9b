//! Why there is no answer, in words, and whether trying again can help.

use std::io::ErrorKind;

use ureq::Timeout;
use url::Url;

use super::message::shown;
use crate::error::Error;

/// A failed attempt.
#[derive(Debug)]
pub struct Failure {
    error: Error,
    passing: bool,
    /// The other side answered TLS with something else.
    plain: bool,
}

impl Failure {
    /// The same would happen again.
    pub(super) fn fatal(error: Error) -> Self {
        Failure {
            error,
            passing: false,
            plain: false,
        }
    }

    /// It may be gone in a while.
    pub(super) fn later(error: Error) -> Self {
        Failure {
            error,
            passing: true,
            plain: false,
        }
    }

    /// Whether another attempt makes sense.
    pub(super) fn is_passing(&self) -> bool {
        self.passing
    }

    /// Whether the server speaks no TLS at all.
    pub(super) fn is_plain(&self) -> bool {
        self.plain
    }

    /// What happened.
    pub(super) fn text(&self) -> String {
        self.error.to_string()
    }

    /// The error of `count` attempts.
    pub(super) fn after(self, count: u32) -> Error {
        match count {
            0 | 1 => self.error,
            count => self.error.context(format!("gave up after {count} attempts")),
        }
    }

    /// From a body that is being read.
    pub(super) fn body(url: &Url, error: std::io::Error) -> Self {
        match error.get_ref().is_some_and(|inner| inner.is::<ureq::Error>()) {
            true => match error.into_inner().map(|inner| inner.downcast::<ureq::Error>()) {
                Some(Ok(error)) => Failure::new(url, *error),
                _ => Failure::later(Error::new(format!("{}: the connection broke off", shown(url)))),
            },
            false => Failure::new(url, ureq::Error::Io(error)),
        }
    }

    /// From a request that was not answered.
    pub(super) fn new(url: &Url, error: ureq::Error) -> Self {
        let host = url.host_str().unwrap_or_default();
        let said = |text: String| Error::new(format!("{}: {text}", shown(url)));
        match error {
            ureq::Error::Io(error) => io(url, error),
            ureq::Error::Rustls(error) => tls(url, &error),
            ureq::Error::Timeout(Timeout::Resolve) => Failure::later(said(format!("looking up {host} took too long"))),
            ureq::Error::Timeout(Timeout::Connect) => {
                Failure::later(said(format!("{host} does not answer")).hint(REACH))
            }
            ureq::Error::Timeout(_) => Failure::later(said("the connection went silent".to_owned())),
            ureq::Error::HostNotFound => Failure::fatal(said(format!("there is no host {host}")).hint(REACH)),
            ureq::Error::ConnectProxyFailed(reason) => Failure::fatal(
                said(format!("the proxy refuses: {}", clean(&reason)))
                    .hint("see HTTPS_PROXY, ALL_PROXY and NO_PROXY, and whether the proxy wants a user and password"),
            ),
            // The server closed a kept connection, or sent something that is not HTTP.
            ureq::Error::ConnectionFailed | ureq::Error::BodyStalled => {
                Failure::later(said("the connection broke off".to_owned()))
            }
            ureq::Error::Protocol(error) => Failure::fatal(said(format!("not HTTP: {}", clean(&error.to_string())))),
            other => Failure::fatal(said(clean(&other.to_string()))),
        }
    }
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Error {
        failure.error
    }
}

const REACH: &str = "check the spelling and the network; behind a proxy set HTTPS_PROXY, and NO_PROXY for hosts inside";

fn io(url: &Url, error: std::io::Error) -> Failure {
    if let Some(inner) = error.get_ref() {
        if let Some(tls_error) = inner.downcast_ref::<rustls::Error>() {
            return tls(url, tls_error);
        }
        if inner.is::<ureq::Error>() {
            return Failure::body(url, error);
        }
    }
    let passing = matches!(
        error.kind(),
        ErrorKind::ConnectionReset
            | ErrorKind::ConnectionAborted
            | ErrorKind::BrokenPipe
            | ErrorKind::UnexpectedEof
            | ErrorKind::TimedOut
            | ErrorKind::WouldBlock
            | ErrorKind::Interrupted
    );
    let text = match error.kind() {
        ErrorKind::UnexpectedEof => "the connection was closed in the middle".to_owned(),
        _ => clean(&error.to_string()),
    };
    let said = Error::new(format!("{}: {text}", shown(url)));
    match passing {
        true => Failure::later(said),
        false => Failure::fatal(said.hint(REACH)),
    }
}

fn tls(url: &Url, error: &rustls::Error) -> Failure {
    use rustls::CertificateError as Certificate;
    let host = url.host_str().unwrap_or_default();
    let said = |text: String| Error::new(format!("{}: {text}", shown(url)));
    let mut failure = Failure::fatal(match error {
        rustls::Error::InvalidCertificate(Certificate::UnknownIssuer | Certificate::BadSignature) => said(format!(
            "the certificate of {host} is signed by an authority that this machine does not trust"
        ))
        .hint(
            "if it is yours or your company's, add it to the system's certificates (`update-ca-certificates`), \
                 or name a PEM file with it in SSL_CERT_FILE",
        ),
        rustls::Error::InvalidCertificate(
            Certificate::Expired
            | Certificate::ExpiredContext { .. }
            | Certificate::NotValidYet
            | Certificate::NotValidYetContext { .. },
        ) => said(format!("the certificate of {host} is not valid today"))
            .hint("check this machine's clock first, then tell who runs the server"),
        rustls::Error::InvalidCertificate(
            Certificate::NotValidForName | Certificate::NotValidForNameContext { .. },
        ) => said(format!("the certificate is for another host than {host}")),
        rustls::Error::InvalidMessage(_) => {
            said(format!("{host} does not speak HTTPS on this port")).hint("is it a server for plain HTTP?")
        }
        other => said(format!("no secure connection: {}", clean(&other.to_string()))),
    });
    failure.plain = matches!(error, rustls::Error::InvalidMessage(_));
    failure
}

/// Text from elsewhere: on one line, without control characters, URLs without credentials, and not endless.
pub fn clean(text: &str) -> String {
    let words: String = text
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .take(400)
        .collect();
    crate::error::redact(words.split_whitespace().collect::<Vec<_>>().join(" ").as_str())
}
