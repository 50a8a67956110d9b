//! A running engine, through its API.

use std::io::ErrorKind;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

use bollard::models::ImageInspect;
use bollard::query_parameters::{ImportImageOptionsBuilder, RemoveImageOptions};
use bytes::Bytes;
use futures_util::{StreamExt, stream};

use crate::error::{Context, Error, Result};
use crate::oci::archive::archive;
use crate::oci::{Digest, Image, ImageName};
use crate::ui::Ui;

/// Where engines listen unless DOCKER_HOST says otherwise.
const DEFAULT_SOCKET: &str = "/var/run/docker.sock";
/// Seconds for one answer: a Pi unpacks an image for minutes.
const ANSWER: u64 = 600;
/// Seconds for a ping.
const PING: Duration = Duration::from_secs(5);
/// Bytes of one piece of an upload.
const PIECE: usize = 1 << 16;

/// An engine that answers.
#[derive(Debug)]
pub struct Daemon {
    docker: bollard::Docker,
    runtime: tokio::runtime::Runtime,
    socket: PathBuf,
}

/// What an engine says about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Engine {
    /// Version: `20.10.24`.
    pub version: String,
    /// The API version that is spoken with it.
    pub api: String,
    /// `linux/amd64`, in the engine's own words.
    pub platform: String,
    /// The socket.
    pub socket: String,
}

/// An image in an engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loaded {
    /// Its name there.
    pub name: ImageName,
    /// Its ID: what `docker run ID` takes and what never moves. The digest of the configuration on graph-driver stores, of the
    /// manifest on the containerd store.
    pub id: Digest,
}

impl Daemon {
    /// The engine that DOCKER_HOST names, or the default socket.
    pub fn from_environment() -> Result<Daemon> {
        let host = match std::env::var("DOCKER_HOST") {
            Ok(host) if !host.is_empty() => Some(host),
            _ => None,
        };
        Daemon::connect(host.as_deref())
    }

    /// The engine at `host` (`unix:///path`), or at the default socket. Fails when none answers.
    pub fn connect(host: Option<&str>) -> Result<Daemon> {
        let socket = match host {
            None => PathBuf::from(DEFAULT_SOCKET),
            Some(host) => match host.strip_prefix("unix://") {
                Some(path) if !path.is_empty() => PathBuf::from(path),
                _ => {
                    return Err(Error::new(format!("DOCKER_HOST={host} is not a unix:// socket")).hint(
                        "other transports are not spoken: write docker-archive:PATH and run `docker load -i PATH`, which knows them",
                    ));
                }
            },
        };
        let shown = socket.display();
        // Tried here first, because the client library does not tell these apart.
        if let Err(error) = UnixStream::connect(&socket) {
            let hint = match error.kind() {
                ErrorKind::PermissionDenied => {
                    "your user may not use the socket: join the group `docker` (and log in again), or use a rootless engine"
                }
                _ => {
                    "is the engine started? `sudo systemctl start docker`; another socket is named with DOCKER_HOST=unix:///PATH"
                }
            };
            return Err(Error::from(error)
                .context(format!("no Docker engine answers at {shown}"))
                .hint(hint));
        }
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .context(|| "cannot start the runtime for the Docker client")?;
        let docker = runtime.block_on(async {
            let docker =
                bollard::Docker::connect_with_unix(&format!("unix://{shown}"), ANSWER, bollard::API_DEFAULT_VERSION)?;
            match tokio::time::timeout(PING, docker.negotiate_version()).await {
                Ok(docker) => docker.map_err(Error::from),
                Err(_) => Err(Error::new(format!("it did not answer within {} s", PING.as_secs()))),
            }
        });
        let docker = docker
            .context(|| format!("what listens at {shown} does not answer as a Docker engine"))
            .hint("restart the engine, or name another with DOCKER_HOST=unix:///PATH")?;
        Ok(Daemon {
            docker,
            runtime,
            socket,
        })
    }

    /// Asks the engine what it is.
    pub fn ping(&self) -> Result<Engine> {
        let version = async {
            tokio::time::timeout(PING, self.docker.version())
                .await
                .map_err(|_| Error::new(format!("no answer within {} s", PING.as_secs())))?
                .map_err(Error::from)
        };
        let version = self
            .runtime
            .block_on(version)
            .context(|| format!("cannot ask the engine at {} for its version", self.socket.display()))?;
        Ok(Engine {
            version: version.version.unwrap_or_default(),
            api: self.docker.client_version().to_string(),
            platform: format!(
                "{}/{}",
                version.os.unwrap_or_default(),
                version.arch.unwrap_or_default()
            ),
            socket: self.socket.display().to_string(),
        })
    }

    /// Loads one image under its name, and makes sure that this name now is this image.
    pub fn load(&self, ui: &Ui, name: &ImageName, image: &Image) -> Result<Loaded> {
        let shown = self.socket.display();
        let said = self
            .load_archive(ui, archive(&[(name, image)])?)
            .context(|| format!("the engine at {shown} did not load {name}"))
            .hint("docker-archive:PATH writes the same image to a file for `docker load -i PATH`")?;
        let inspect = self
            .runtime
            .block_on(self.docker.inspect_image(&name.to_string()))
            .context(|| format!("the engine at {shown} said `{said}`, but has no {name}"))?;
        let id = check(&inspect, image).map_err(|reason| {
            Error::new(format!("the engine at {shown} has another {name}: {reason}"))
                .hint("another program may have moved the name at the same time; run again")
        })?;
        Ok(Loaded { name: name.clone(), id })
    }

    /// Sends an archive as `docker load` does; returns the last thing that the engine said.
    pub fn load_archive(&self, ui: &Ui, archive: Vec<u8>) -> Result<String> {
        let bytes = Bytes::from(archive);
        let bar = ui.bytes_bar("Loading", bytes.len() as u64);
        let counter = bar.clone();
        let pieces = (0..bytes.len()).step_by(PIECE).map(move |start| {
            let piece = bytes.slice(start..bytes.len().min(start + PIECE));
            counter.inc(piece.len() as u64);
            Ok::<_, std::io::Error>(piece)
        });
        let said = self.runtime.block_on(async {
            let options = ImportImageOptionsBuilder::default().build();
            let mut answers = self.docker.import_image_stream(options, stream::iter(pieces), None);
            let mut last = String::new();
            while let Some(answer) = answers.next().await {
                let answer = answer?;
                if let Some(text) = answer.stream.or(answer.status) {
                    text.trim().clone_into(&mut last);
                }
            }
            Ok::<_, Error>(last)
        });
        bar.finish_and_clear();
        said
    }

    /// Writes an image of the engine to `out`, as `docker save` does. Returns the bytes.
    pub fn save(&self, ui: &Ui, name: &ImageName, out: &mut dyn std::io::Write) -> Result<u64> {
        let shown = self.socket.display();
        let text = name.to_string();
        // Asked first: an engine begins to send before it knows what is missing.
        self.runtime
            .block_on(self.docker.inspect_image(&text))
            .context(|| format!("the engine at {shown} has no {name}"))
            .hint("`docker images` lists what it has; `docker pull` fetches")?;
        let spinner = ui.spinner("Saving", &text);
        let written = self.runtime.block_on(async {
            let mut pieces = self.docker.export_image(&text);
            let mut written = 0;
            while let Some(piece) = pieces.next().await {
                let piece = piece?;
                out.write_all(&piece)?;
                written += piece.len() as u64;
            }
            Ok::<_, Error>(written)
        });
        spinner.finish_and_clear();
        written.context(|| format!("the engine at {shown} did not give out {name}"))
    }

    /// Takes a name away; the image goes when it was the last.
    pub fn remove(&self, name: &ImageName) -> Result<()> {
        let text = name.to_string();
        let removed = self.docker.remove_image(&text, None::<RemoveImageOptions>, None);
        self.runtime
            .block_on(removed)
            .context(|| format!("the engine at {} did not remove {name}", self.socket.display()))?;
        Ok(())
    }
}

/// The image must have the ID and the platform that it was given.
fn check(inspect: &ImageInspect, image: &Image) -> Result<Digest, String> {
    let id: Digest = inspect
        .id
        .as_deref()
        .unwrap_or_default()
        .parse()
        .map_err(|error| format!("its ID: {error}"))?;
    let (config, manifest) = (image.config().digest(), image.manifest().digest());
    if id != config && id != manifest {
        return Err(format!(
            "its ID is {id}, expected {config} (or {manifest} on the containerd store)"
        ));
    }
    let platform = image.platform();
    let found = (
        inspect.architecture.as_deref(),
        inspect.variant.as_deref().filter(|variant| !variant.is_empty()),
    );
    if found != (Some(platform.architecture()), platform.variant()) {
        return Err(format!("its platform is {found:?}, expected {platform}"));
    }
    Ok(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(host: &str) -> Error {
        Daemon::connect(Some(host)).unwrap_err()
    }

    #[test]
    fn a_daemon_that_does_not_answer_is_named_with_the_next_step() {
        let dir = tempfile::tempdir().unwrap();
        let missing = dir.path().join("none.sock");
        let found = error(&format!("unix://{}", missing.display()));
        assert!(found.to_string().contains("none.sock"), "{found}");
        assert!(
            found
                .next_step()
                .is_some_and(|hint| hint.contains("is the engine started?"))
        );
        // A socket that nobody listens on any more.
        let stale = dir.path().join("stale.sock");
        drop(std::os::unix::net::UnixListener::bind(&stale).unwrap());
        let found = error(&format!("unix://{}", stale.display()));
        assert!(
            found
                .next_step()
                .is_some_and(|hint| hint.contains("is the engine started?"))
        );
        for host in ["tcp://127.0.0.1:2375", "ssh://pi", "unix://", "/var/run/docker.sock"] {
            assert!(
                error(host)
                    .next_step()
                    .is_some_and(|hint| hint.contains("docker-archive:")),
                "{host}"
            );
        }
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
}
