//! A running engine, through its API.

use bollard::models::ImageInspect;
use bollard::query_parameters::{ImportImageOptionsBuilder, RemoveImageOptions};
use bytes::Bytes;
use futures_util::{StreamExt, stream};

use crate::engine::{Connection, Endpoint};
use crate::error::{Context, Error, Result};
use crate::oci::archive::archive;
use crate::oci::{Digest, Image, ImageName};
use crate::ui::Ui;

/// Bytes of one piece of an upload.
const PIECE: usize = 1 << 16;

/// An engine that answers.
#[derive(Debug)]
pub struct Daemon {
    connection: Connection,
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
    /// Where it listens: a path, `tcp://HOST:PORT` or `ssh://HOST`.
    pub endpoint: String,
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
    /// The engine that the environment means, as `docker` would choose it. Fails when none answers.
    pub fn from_environment() -> Result<Daemon> {
        Connection::from_environment().map(Daemon::over)
    }

    /// The engine behind a connection.
    pub fn over(connection: Connection) -> Daemon {
        Daemon { connection }
    }

    /// Asks the engine what it is.
    pub fn ping(&self) -> Result<Engine> {
        let patience = self.connection.patience();
        let version = async {
            tokio::time::timeout(patience, self.connection.docker.version())
                .await
                .map_err(|_| Error::new(format!("no answer within {} s", patience.as_secs())))?
                .map_err(Error::from)
        };
        let version = self
            .connection
            .runtime
            .block_on(version)
            .context(|| format!("cannot ask the engine at {} for its version", self.endpoint()))?;
        Ok(Engine {
            version: version.version.unwrap_or_default(),
            api: self.connection.docker.client_version().to_string(),
            platform: format!(
                "{}/{}",
                version.os.unwrap_or_default(),
                version.arch.unwrap_or_default()
            ),
            endpoint: self.endpoint().to_string(),
        })
    }

    /// Loads one image under its name, and makes sure that this name now is this image.
    pub fn load(&self, ui: &Ui, name: &ImageName, image: &Image) -> Result<Loaded> {
        let shown = self.endpoint();
        let said = self
            .load_archive(ui, archive(&[(name, image)])?)
            .context(|| format!("the engine at {shown} did not load {name}"))
            .hint("docker-archive:PATH writes the same image to a file for `docker load -i PATH`")?;
        let inspect = self
            .connection
            .runtime
            .block_on(self.connection.docker.inspect_image(&name.to_string()))
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
        let said = self.connection.runtime.block_on(async {
            let options = ImportImageOptionsBuilder::default().build();
            let mut answers = self
                .connection
                .docker
                .import_image_stream(options, stream::iter(pieces), None);
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

    /// Where the engine listens.
    pub fn endpoint(&self) -> &Endpoint {
        self.connection.endpoint()
    }

    /// Writes an image of the engine to `out`, as `docker save` does. Returns the bytes.
    pub fn save(&self, ui: &Ui, name: &ImageName, out: &mut dyn std::io::Write) -> Result<u64> {
        let shown = self.endpoint();
        let text = name.to_string();
        // Asked first: an engine begins to send before it knows what is missing.
        self.connection
            .runtime
            .block_on(self.connection.docker.inspect_image(&text))
            .context(|| format!("the engine at {shown} has no {name}"))
            .hint("`docker images` lists what it has; `docker pull` fetches")?;
        let spinner = ui.spinner("Saving", &text);
        let written = self.connection.runtime.block_on(async {
            let mut pieces = self.connection.docker.export_image(&text);
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
        let removed = self
            .connection
            .docker
            .remove_image(&text, None::<RemoveImageOptions>, None);
        self.connection
            .runtime
            .block_on(removed)
            .context(|| format!("the engine at {} did not remove {name}", self.endpoint()))?;
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
    // Podman 4 does not tell the variant. The ID stands for the configuration, which has it.
    let variant = found.1.is_none() || found.1 == platform.variant();
    if found.0 != Some(platform.architecture()) || !variant {
        return Err(format!("its platform is {found:?}, expected {platform}"));
    }
    Ok(id)
}
