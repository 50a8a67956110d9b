//! Which container engine is meant, and how to reach it: as `docker` itself decides it.
//!
//! `DOCKER_HOST` names one; else `DOCKER_CONTEXT`, else the context that `docker context use` chose; else the engine of this
//! machine: Docker's socket, the socket of a rootless Docker, Podman's. Spoken are `unix://`, `tcp://` (with TLS where
//! `DOCKER_TLS_VERIFY` or the context asks for it) and `ssh://`, which runs `docker system dial-stdio` over there.

pub mod client;
mod connect;
mod context;
mod ssh;

use std::env;
use std::fmt;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result, redact};

pub use connect::Connection;

/// Docker's socket unless something else is said.
const DEFAULT_SOCKET: &str = "/var/run/docker.sock";
/// Ports that IANA has for Docker's API, without and with TLS.
const PORTS: (u16, u16) = (2375, 2376);

/// Where an engine listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// A socket of this machine.
    Unix(PathBuf),
    /// A port.
    Tcp {
        /// `HOST:PORT`.
        address: String,
        /// Certificates; without them the connection is in plain text.
        tls: Option<Tls>,
    },
    /// Another machine, which is reached as `ssh` is configured for it.
    Ssh(Ssh),
}

/// The certificates of a connection with TLS: PEM files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tls {
    /// Who signs for the engine; the system's authorities count as well.
    pub ca: PathBuf,
    /// What this side shows.
    pub cert: PathBuf,
    /// Its key.
    pub key: PathBuf,
}

impl Tls {
    /// The names that docker gives these files.
    fn of(dir: &Path) -> Tls {
        Tls {
            ca: dir.join("ca.pem"),
            cert: dir.join("cert.pem"),
            key: dir.join("key.pem"),
        }
    }
}

/// `ssh://[USER@]HOST[:PORT][/SOCKET]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ssh {
    /// The user there; else as ssh is configured.
    pub user: Option<String>,
    /// Name, address, or `Host` of ssh's configuration.
    pub host: String,
    /// The port; else as ssh is configured.
    pub port: Option<u16>,
    /// The socket over there; else what `docker` uses there.
    pub socket: Option<String>,
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Endpoint::Unix(path) => write!(f, "{}", path.display()),
            Endpoint::Tcp { address, .. } => write!(f, "tcp://{address}"),
            Endpoint::Ssh(ssh) => {
                f.write_str("ssh://")?;
                if let Some(user) = &ssh.user {
                    write!(f, "{user}@")?;
                }
                f.write_str(&ssh.host)?;
                if let Some(port) = ssh.port {
                    write!(f, ":{port}")?;
                }
                f.write_str(ssh.socket.as_deref().unwrap_or_default())
            }
        }
    }
}

/// What decides between engines. Empty variables count as unset.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// `DOCKER_HOST`.
    pub host: Option<String>,
    /// `DOCKER_CONTEXT`.
    pub context: Option<String>,
    /// Whether `DOCKER_TLS_VERIFY` is set.
    pub tls_verify: bool,
    /// `DOCKER_CERT_PATH`.
    pub cert_path: Option<PathBuf>,
    /// `DOCKER_CONFIG`, else `~/.docker`.
    pub config: Option<PathBuf>,
    /// `XDG_RUNTIME_DIR`: rootless engines have their sockets there.
    pub runtime_dir: Option<PathBuf>,
}

impl Settings {
    /// The variables of the environment.
    pub fn from_environment() -> Settings {
        let text = |name: &str| env::var(name).ok().filter(|value| !value.is_empty());
        let path = |name: &str| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        Settings {
            host: text("DOCKER_HOST"),
            context: text("DOCKER_CONTEXT"),
            tls_verify: text("DOCKER_TLS_VERIFY").is_some(),
            cert_path: path("DOCKER_CERT_PATH"),
            config: path("DOCKER_CONFIG").or_else(|| env::home_dir().map(|home| home.join(".docker"))),
            runtime_dir: path("XDG_RUNTIME_DIR"),
        }
    }

    /// The engine that these settings mean, and in what words: `DOCKER_HOST`, ``the context `pi` ``. An engine of this machine
    /// is the first socket that exists; when none does, Docker's own is named.
    pub fn choose(&self) -> Result<(Endpoint, String)> {
        if let Some(host) = &self.host {
            return Ok((self.host_endpoint(host)?, "DOCKER_HOST".to_owned()));
        }
        if let Some((endpoint, name)) = context::chosen(self)? {
            return Ok((endpoint, format!("the context `{name}`")));
        }
        let in_runtime = |name: &str| self.runtime_dir.as_ref().map(|dir| dir.join(name));
        let candidates = [
            Some(PathBuf::from(DEFAULT_SOCKET)),
            in_runtime("docker.sock"),
            in_runtime("podman/podman.sock"),
            Some(PathBuf::from("/run/podman/podman.sock")),
        ];
        let found = candidates.into_iter().flatten().find(|path| path.exists());
        Ok((
            Endpoint::Unix(found.unwrap_or_else(|| DEFAULT_SOCKET.into())),
            "the engine of this machine".to_owned(),
        ))
    }

    /// What `DOCKER_HOST` says, with the certificates that the other variables name.
    fn host_endpoint(&self, host: &str) -> Result<Endpoint> {
        let tls = || {
            let dir = self.cert_path.clone().or_else(|| self.config.clone());
            dir.map(|dir| Tls::of(&dir)).ok_or_else(|| {
                Error::new("DOCKER_TLS_VERIFY is set, and nothing says where the certificates are")
                    .hint("set DOCKER_CERT_PATH to the directory with ca.pem, cert.pem and key.pem")
            })
        };
        let tls = if self.tls_verify { Some(tls()?) } else { None };
        parse(host, tls).map_err(|reason| {
            Error::new(format!("DOCKER_HOST={}: {reason}", redact(host))).hint(
                "it takes unix:///PATH, tcp://HOST:PORT or ssh://USER@HOST; or write docker-archive:PATH and run \
                 `docker load -i PATH` where the engine is",
            )
        })
    }
}

/// Reads an address. `tls` is used where the address leaves the choice (`tcp://`); `https://` needs it.
pub fn parse(text: &str, tls: Option<Tls>) -> Result<Endpoint, String> {
    let (scheme, rest) = text.split_once("://").ok_or("it has no scheme")?;
    match scheme {
        "unix" if rest.starts_with('/') => Ok(Endpoint::Unix(rest.into())),
        "unix" => Err("the path of a socket is absolute: unix:///PATH".to_owned()),
        "tcp" | "http" | "https" => {
            if scheme == "https" && tls.is_none() {
                return Err("https needs certificates: set DOCKER_TLS_VERIFY=1 and DOCKER_CERT_PATH".to_owned());
            }
            let tls = tls.filter(|_| scheme != "http");
            let authority = rest.trim_end_matches('/');
            if authority.is_empty() || authority.contains(['/', '@', '?', '#']) || has_space(authority) {
                return Err("expected HOST:PORT after the scheme".to_owned());
            }
            let (host, port) = host_and_port(authority)?;
            let port = port.unwrap_or(if tls.is_some() { PORTS.1 } else { PORTS.0 });
            Ok(Endpoint::Tcp {
                address: format!("{host}:{port}"),
                tls,
            })
        }
        "ssh" => {
            let (authority, socket) = match rest.find('/') {
                Some(at) => (&rest[..at], Some(&rest[at..])),
                None => (rest, None),
            };
            let (user, place) = match authority.rsplit_once('@') {
                Some((user, place)) => (Some(user), place),
                None => (None, authority),
            };
            let (host, port) = host_and_port(place)?;
            if user.is_some_and(|user| user.contains(':')) {
                return Err("ssh takes no password in the address: use a key".to_owned());
            }
            // Both become arguments of ssh, and must not become options.
            let word = |text: &str| !text.is_empty() && !text.starts_with('-') && !has_space(text);
            if !word(host) || user.is_some_and(|user| !word(user)) {
                return Err("expected [USER@]HOST[:PORT] after ssh://".to_owned());
            }
            Ok(Endpoint::Ssh(Ssh {
                user: user.map(str::to_owned),
                host: host.trim_matches(['[', ']']).to_owned(),
                port,
                socket: socket.filter(|path| *path != "/").map(str::to_owned),
            }))
        }
        other => Err(format!("`{other}` is not spoken")),
    }
}

fn has_space(text: &str) -> bool {
    text.contains(|c: char| c.is_whitespace() || c.is_control())
}

/// `HOST`, `HOST:PORT`, `[IPV6]`, `[IPV6]:PORT`.
fn host_and_port(text: &str) -> Result<(&str, Option<u16>), String> {
    let split = if text.starts_with('[') {
        let end = text.find(']').ok_or("the bracket of the address is not closed")?;
        text.split_at(end + 1)
    } else {
        text.split_at(text.find(':').unwrap_or(text.len()))
    };
    let port = match split.1.strip_prefix(':') {
        None if split.1.is_empty() => None,
        Some(port) => Some(port.parse().map_err(|_| format!("`{port}` is not a port"))?),
        None => return Err(format!("`{}` follows the address", split.1)),
    };
    if split.0.is_empty() {
        return Err("the host is missing".to_owned());
    }
    Ok((split.0, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_as_docker_reads_them() {
        let tls = Tls::of(Path::new("/certs"));
        for (text, shown) in [
            ("unix:///run/x.sock", "/run/x.sock"),
            ("tcp://pi:2375", "tcp://pi:2375"),
            ("tcp://pi", "tcp://pi:2375"),
            ("tcp://[::1]:9", "tcp://[::1]:9"),
            ("http://127.0.0.1:80/", "tcp://127.0.0.1:80"),
            ("ssh://me@pi:22/run/docker.sock", "ssh://me@pi:22/run/docker.sock"),
            ("ssh://pi", "ssh://pi"),
        ] {
            assert_eq!(parse(text, None).unwrap().to_string(), shown);
        }
        assert_eq!(
            parse("tcp://pi", Some(tls.clone())).unwrap(),
            Endpoint::Tcp {
                address: "pi:2376".to_owned(),
                tls: Some(tls)
            }
        );
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for wrong in [
            "",
            "/run/docker.sock",
            "unix://docker.sock",
            "npipe:////./pipe/docker_engine",
            "tcp://",
            "tcp://pi:port",
            "tcp://me:secret@pi:1",
            "tcp://pi/path",
            "tcp://[::1",
            "https://pi",
            "ssh://",
            "ssh://-oProxyCommand=sh",
            "ssh://-l@pi",
            "ssh://me:secret@pi",
            "ssh://pi:99999",
        ] {
            assert!(parse(wrong, None).is_err(), "{wrong}");
        }
    }

    #[test]
    fn docker_host_comes_first_and_does_not_show_secrets() {
        let settings = Settings {
            host: Some("tcp://pi:1".to_owned()),
            context: Some("other".to_owned()),
            ..Settings::default()
        };
        let (endpoint, why) = settings.choose().unwrap();
        assert_eq!(
            (endpoint.to_string().as_str(), why.as_str()),
            ("tcp://pi:1", "DOCKER_HOST")
        );
        let settings = Settings {
            host: Some("tcp://me:secret@pi:1".to_owned()),
            ..Settings::default()
        };
        let error = settings.choose().unwrap_err().to_string();
        assert!(!error.contains("secret"), "{error}");
    }

    #[test]
    fn tls_takes_its_certificates_from_where_docker_does() {
        let mut settings = Settings {
            host: Some("tcp://pi".to_owned()),
            tls_verify: true,
            config: Some("/me/.docker".into()),
            ..Settings::default()
        };
        let ca = |settings: &Settings| match settings.choose().unwrap().0 {
            Endpoint::Tcp { tls: Some(tls), .. } => tls.ca,
            other => panic!("{other}"),
        };
        assert_eq!(ca(&settings), Path::new("/me/.docker/ca.pem"));
        settings.cert_path = Some("/certs".into());
        assert_eq!(ca(&settings), Path::new("/certs/ca.pem"));
        settings.cert_path = None;
        settings.config = None;
        assert!(
            settings
                .choose()
                .unwrap_err()
                .next_step()
                .unwrap()
                .contains("DOCKER_CERT_PATH")
        );
    }

    #[test]
    fn without_settings_it_is_the_first_socket_that_exists() {
        let dir = tempfile::tempdir().unwrap();
        let settings = Settings {
            runtime_dir: Some(dir.path().to_owned()),
            ..Settings::default()
        };
        let (endpoint, _) = settings.choose().unwrap();
        if !Path::new(DEFAULT_SOCKET).exists() && !Path::new("/run/podman/podman.sock").exists() {
            assert_eq!(endpoint, Endpoint::Unix(DEFAULT_SOCKET.into()));
            std::fs::create_dir(dir.path().join("podman")).unwrap();
            let socket = dir.path().join("podman/podman.sock");
            let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
            assert_eq!(settings.choose().unwrap().0, Endpoint::Unix(socket));
        } else {
            assert!(matches!(endpoint, Endpoint::Unix(_)));
        }
    }
}
