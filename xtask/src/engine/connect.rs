//! A connection to an engine that answers.

use std::io::ErrorKind;
use std::net::{TcpStream, ToSocketAddrs};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use super::ssh::Relay;
use super::{Endpoint, Settings, Tls};
use crate::error::{Context, Error, Result};
use crate::shell::Shell;

/// Seconds for one answer: a Pi unpacks an image for minutes.
const ANSWER: u64 = 600;
/// How long a first answer may take, and a connection. Podman asks several programs for their versions first, and a machine that
/// compiles lets it wait.
const PING: Duration = Duration::from_secs(15);
/// The same over ssh, whose handshake takes a Pi seconds.
const FAR: Duration = Duration::from_secs(45);

/// An engine that answers.
#[derive(Debug)]
pub struct Connection {
    /// The client; its futures run on `runtime`.
    pub docker: bollard::Docker,
    /// What the client's futures run on.
    pub runtime: tokio::runtime::Runtime,
    endpoint: Endpoint,
    /// Lives as long as the connection.
    _relay: Option<Relay>,
}

impl Connection {
    /// The engine that the environment means.
    pub fn from_environment() -> Result<Connection> {
        Connection::chosen(&Settings::from_environment())
    }

    /// The engine that these settings mean.
    pub fn chosen(settings: &Settings) -> Result<Connection> {
        let (endpoint, why) = settings.choose()?;
        Connection::to(endpoint, &why)
    }

    /// The engine at `endpoint`, which `why` names. Fails when none answers, with the next step.
    pub fn to(endpoint: Endpoint, why: &str) -> Result<Connection> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .context(|| "cannot start the runtime for the Docker client")?;
        let relay = reachable(&endpoint, why)?;
        let patience = if relay.is_some() { FAR } else { PING };
        let answered = runtime.block_on(async {
            let docker = client(&endpoint, relay.as_ref())?;
            match tokio::time::timeout(patience, docker.negotiate_version()).await {
                Ok(docker) => docker.map_err(Error::from),
                Err(_) => Err(Error::new(format!("it did not answer within {} s", patience.as_secs()))),
            }
        });
        let docker = answered.map_err(|error| explain(error, &endpoint, relay.as_ref()))?;
        Ok(Connection {
            docker,
            runtime,
            endpoint,
            _relay: relay,
        })
    }

    /// Where it listens.
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// How long a short question may take.
    pub fn patience(&self) -> Duration {
        match self.endpoint {
            Endpoint::Ssh(_) => FAR,
            _ => PING,
        }
    }
}

/// Tried before the client library is asked, because that does not tell why a connection failed.
fn reachable(endpoint: &Endpoint, why: &str) -> Result<Option<Relay>> {
    match endpoint {
        Endpoint::Unix(path) => {
            UnixStream::connect(path).map_err(|error| {
                let hint = match error.kind() {
                    ErrorKind::PermissionDenied => {
                        "your user may not use the socket: join the group `docker` (and log in again), or use a rootless engine"
                    }
                    _ => {
                        "is the engine started? `sudo systemctl start docker`; another is named with DOCKER_HOST=unix:///PATH, \
                         tcp://HOST:PORT or ssh://USER@HOST"
                    }
                };
                no_engine(error.into(), endpoint, why).hint(hint)
            })?;
            Ok(None)
        }
        Endpoint::Tcp { address, tls } => {
            if let Some(tls) = tls {
                present(tls)?;
            }
            tcp(address).map_err(|error| {
                no_engine(error, endpoint, why)
                    .hint("is that host up, and does its engine listen there? `ssh://USER@HOST` needs no open port")
            })?;
            Ok(None)
        }
        Endpoint::Ssh(ssh) => Relay::open(&Shell::default(), ssh).map(Some),
    }
}

fn no_engine(error: Error, endpoint: &Endpoint, why: &str) -> Error {
    let meant = match why {
        "the engine of this machine" => String::new(),
        why => format!(" ({why})"),
    };
    error.context(format!("no Docker engine answers at {endpoint}{meant}"))
}

fn tcp(address: &str) -> Result<()> {
    let mut last = Error::new("the name has no address");
    for address in address.to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, PING) {
            Ok(_) => return Ok(()),
            Err(error) => last = error.into(),
        }
    }
    Err(last)
}

fn present(tls: &Tls) -> Result<()> {
    for path in [&tls.ca, &tls.cert, &tls.key] {
        std::fs::File::open(path)
            .context(|| format!("cannot read the certificate {}", path.display()))
            .hint("DOCKER_CERT_PATH names the directory with ca.pem, cert.pem and key.pem")?;
    }
    Ok(())
}

fn client(endpoint: &Endpoint, relay: Option<&Relay>) -> Result<bollard::Docker> {
    let version = bollard::API_DEFAULT_VERSION;
    let unix = |path: &Path| bollard::Docker::connect_with_unix(&format!("unix://{}", path.display()), ANSWER, version);
    Ok(match (endpoint, relay) {
        (_, Some(relay)) => unix(&relay.socket())?,
        (Endpoint::Unix(path), None) => unix(path)?,
        (Endpoint::Tcp { address, tls: None }, None) => {
            bollard::Docker::connect_with_http(&format!("tcp://{address}"), ANSWER, version)?
        }
        (
            Endpoint::Tcp {
                address,
                tls: Some(tls),
            },
            None,
        ) => bollard::Docker::connect_with_ssl(
            &format!("tcp://{address}"),
            &tls.key,
            &tls.cert,
            &tls.ca,
            ANSWER,
            version,
        )?,
        (Endpoint::Ssh(_), None) => return Err(Error::new("ssh without its relay")),
    })
}

fn explain(error: Error, endpoint: &Endpoint, relay: Option<&Relay>) -> Error {
    let said = relay.and_then(Relay::said);
    let text = format!("what listens at {endpoint} does not answer as a Docker engine");
    match (endpoint, said) {
        (Endpoint::Ssh(ssh), Some(said)) => Error::new(said)
            .context(format!("no Docker engine answers at {endpoint}"))
            .hint(format!(
                "try `ssh {} docker version`: it must work without a question, and docker must be in the PATH there",
                ssh.host
            )),
        (Endpoint::Tcp { tls: Some(_), .. }, _) => error.context(text).hint(
            "does ca.pem sign for the engine's certificate, with this host's name in it, and does the engine accept cert.pem?",
        ),
        (Endpoint::Tcp { tls: None, .. }, _) => error
            .context(text)
            .hint("does it expect TLS? then set DOCKER_TLS_VERIFY=1 and DOCKER_CERT_PATH"),
        _ => error
            .context(text)
            .hint("restart the engine, or name another with DOCKER_HOST"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(host: &str) -> Error {
        let settings = Settings {
            host: Some(host.to_owned()),
            ..Settings::default()
        };
        Connection::chosen(&settings).unwrap_err()
    }

    fn hint(host: &str) -> String {
        error(host).next_step().unwrap_or_default().to_owned()
    }

    #[test]
    fn an_engine_that_does_not_answer_is_named_with_the_next_step() {
        let dir = tempfile::tempdir().unwrap();
        let missing = dir.path().join("none.sock");
        let found = error(&format!("unix://{}", missing.display()));
        assert!(found.to_string().contains("none.sock (DOCKER_HOST)"), "{found}");
        assert!(
            found
                .next_step()
                .is_some_and(|hint| hint.contains("is the engine started?"))
        );
        // A socket that nobody listens on any more.
        let stale = dir.path().join("stale.sock");
        drop(std::os::unix::net::UnixListener::bind(&stale).unwrap());
        assert!(hint(&format!("unix://{}", stale.display())).contains("is the engine started?"));
        for host in ["unix://", "/var/run/docker.sock", "fd://"] {
            assert!(hint(host).contains("docker-archive:"), "{host}");
        }
        // A port where nobody listens.
        let port = std::net::TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap();
        let found = error(&format!("tcp://{port}"));
        assert!(
            found
                .to_string()
                .contains("no Docker engine answers at tcp://127.0.0.1:"),
            "{found}"
        );
        assert!(found.next_step().is_some_and(|hint| hint.contains("ssh://")));
    }

    #[test]
    fn something_else_on_the_socket_is_not_an_engine() {
        use std::io::Write;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("other.sock");
        let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let _ = stream.map(|mut stream| stream.write_all(b"220 mail ready\r\n"));
            }
        });
        let found = error(&format!("unix://{}", path.display()));
        assert!(
            found.to_string().contains("does not answer as a Docker engine"),
            "{found}"
        );
    }

    #[test]
    fn certificates_that_are_missing_are_named() {
        let dir = tempfile::tempdir().unwrap();
        let settings = Settings {
            host: Some("tcp://127.0.0.1:1".to_owned()),
            tls_verify: true,
            cert_path: Some(dir.path().to_owned()),
            ..Settings::default()
        };
        let found = Connection::chosen(&settings).unwrap_err();
        assert!(found.to_string().contains("ca.pem"), "{found}");
    }
}
