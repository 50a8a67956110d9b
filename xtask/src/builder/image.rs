//! The builder image: the stage `builder` of docker/Dockerfile, named by what it is made of.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::hash::{BuildHasher, Hasher, RandomState};

use bollard::models::{BuildInfoAux, ImageInspect};
use bollard::query_parameters::{BuildImageOptionsBuilder, BuilderVersion, CreateImageOptionsBuilder};
use bytes::Bytes;
use futures_util::StreamExt;

use super::here::Here;
use super::source::{tar, with_parents};
use super::{LABEL, debian, trouble};
use crate::cache::key_of;
use crate::context;
use crate::cx::Cx;
use crate::engine::Connection;
use crate::error::{Context, Error, Result};
use crate::oci::dockerfile::{BuiltStage, built_stage};
use crate::oci::layer::{Entry, EntryKind};
use crate::policy::Policy;
use crate::shell::signals;

/// The label of a stage that is no image of its own. docker/Dockerfile says it.
pub const LABEL_STAGE: &str = "xtask.builder.stage";
/// The label with the key of what an image is made of.
const KEY: &str = "xtask.builder.key";
/// Where the Dockerfile mounts what [`Here`] gives.
const HERE: &str = "docker/host";
/// Lines of a build that are shown when it fails.
const LAST: usize = 25;

/// What the builder image is to be.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// `blog-builder`: of images, volumes and labels.
    pub name: String,
    /// Key of everything that the image is made of.
    pub key: String,
    /// Its stage.
    pub stage: BuiltStage,
    dockerfile: String,
    files: Vec<Entry>,
}

impl Wanted {
    /// Reads the Dockerfile and what the stage copies.
    ///
    /// # Errors
    /// When there is no such stage, or a file of it is missing.
    pub fn read(cx: &Cx, policy: &Policy) -> Result<Wanted> {
        let dockerfile = policy.image.dockerfile.clone();
        let path = cx.root.join(&dockerfile);
        let text = fs::read_to_string(&path).context(|| format!("cannot read {}", cx.show(&path)))?;
        let stage = built_stage(&text, &BTreeMap::new(), &policy.builder.stage)
            .map_err(|error| Error::new(format!("{dockerfile}: {error}")))?;
        let mut files = Vec::new();
        for source in &stage.sources {
            for file in context::files(&cx.root, source)
                .map_err(|message| Error::new(format!("{dockerfile}: COPY {source}: {message}")))?
            {
                let name = match file.path.is_empty() {
                    true => source.clone(),
                    false => format!("{source}/{}", file.path),
                };
                files.push(Entry::new(name, file.kind, file.mode));
            }
        }
        let mut parts: Vec<Vec<u8>> = vec![stage.text.clone().into_bytes()];
        for file in &files {
            parts.push(format!("{} {:o}", file.path, file.mode).into_bytes());
            match &file.kind {
                EntryKind::File(bytes) => parts.push(bytes.clone()),
                EntryKind::Symlink(target) => parts.push(target.clone().into_bytes()),
                _ => {}
            }
        }
        Ok(Wanted {
            name: format!("{}-builder", policy.image.name),
            key: key_of(parts),
            stage,
            dockerfile,
            files,
        })
    }

    /// `blog-builder:0123456789ab`.
    pub fn image(&self) -> String {
        format!("{}:{}", self.name, &self.key[..12])
    }

    /// Names and places of the volumes.
    pub fn volumes(&self) -> Vec<(String, String)> {
        ["/cache/cargo", "/cache/target", "/cache/zig"]
            .iter()
            .map(|place| {
                (
                    format!("{}-{}", self.name, place.trim_start_matches("/cache/")),
                    (*place).to_owned(),
                )
            })
            .collect()
    }
}

/// An image by name; `None` when the engine has none.
pub fn find(connection: &Connection, name: &str) -> Result<Option<ImageInspect>> {
    match connection.runtime.block_on(connection.docker.inspect_image(name)) {
        Ok(image) => Ok(Some(image)),
        Err(bollard::errors::Error::DockerResponseServerError { status_code: 404, .. }) => Ok(None),
        Err(error) => {
            Err(Error::from(error).context(format!("cannot ask the engine at {} for {name}", connection.endpoint())))
        }
    }
}

/// The builder image if the engine has it, made of the very same.
pub fn ready(connection: &Connection, wanted: &Wanted) -> Result<Option<ImageInspect>> {
    let labelled = |image: &ImageInspect| {
        let labels = image.config.as_ref().and_then(|config| config.labels.as_ref());
        labels
            .and_then(|labels| labels.get(KEY))
            .is_some_and(|key| *key == wanted.key)
    };
    Ok(find(connection, &wanted.image())?.filter(labelled))
}

/// Builds it, whatever is there; the base is pulled or made first if it is missing.
pub fn build(cx: &Cx, policy: &Policy, connection: &Connection, wanted: &Wanted, here: &Here) -> Result<()> {
    if cx.offline {
        return Err(Error::new(format!(
            "the engine at {} has no builder image {}, and making it needs the network",
            connection.endpoint(),
            wanted.image()
        ))
        .hint("run once without --offline, or compile with --builder host"));
    }
    let base = &wanted.stage.base_image;
    if find(connection, base)?.is_none()
        && let Err(pull) = pull(cx, connection, base)
    {
        cx.ui.note(&format!(
            "{base} cannot be pulled ({pull}); it is made from Debian's archive"
        ));
        debian::make(cx, policy, connection, wanted, base, here)?;
    }
    let mut files = with_parents(&wanted.dockerfile, wanted.stage.text.clone().into_bytes(), 0o644);
    files.extend(wanted.files.iter().flat_map(|entry| match &entry.kind {
        EntryKind::File(bytes) => with_parents(&entry.path, bytes.clone(), entry.mode),
        _ => vec![entry.clone()],
    }));
    files.push(Entry::directory(HERE, 0o755));
    files.extend(here.entries(HERE));
    let podman = is_podman(connection)?;
    let network = network(connection, here)?;
    let options = BuildImageOptionsBuilder::default()
        .dockerfile(&wanted.dockerfile)
        .t(&wanted.image())
        .target(&policy.builder.stage)
        .rm(true)
        .forcerm(true)
        .networkmode(network.unwrap_or_default())
        .labels(&HashMap::from([
            (LABEL, wanted.name.as_str()),
            (KEY, wanted.key.as_str()),
        ]));
    // Of this build alone.
    let session = format!("xtask-{:016x}", RandomState::new().build_hasher().finish());
    let options = match podman {
        true => options.build(),
        false => options
            .version(BuilderVersion::BuilderBuildKit)
            .session(&session)
            .build(),
    };
    cx.ui.step(
        "Building",
        &format!("{} on {base}; this takes minutes once", wanted.image()),
    );
    let body = bollard::body_full(Bytes::from(tar(&unique(files))?));
    let mut log = Log::default();
    connection
        .runtime
        .block_on(async {
            let work = async {
                let mut answers = connection.docker.build_image(options, None, Some(body));
                while let Some(answer) = answers.next().await {
                    let answer = answer.map_err(|error| log.failure(error.into()))?;
                    log.take(cx, &answer);
                }
                Ok(())
            };
            tokio::select! {
                done = work => done,
                stopped = signals::stopped() => Err(stopped),
            }
        })
        .context(|| {
            format!(
                "the engine at {} did not build {}",
                connection.endpoint(),
                wanted.image()
            )
        })?;
    if ready(connection, wanted)?.is_none() {
        return Err(log
            .failure(Error::new(format!(
                "the build ended, and there is no {}",
                wanted.image()
            )))
            .hint("is the engine being stopped? Run again"));
    }
    Ok(())
}

/// A directory or file that is there twice is there once.
fn unique(files: Vec<Entry>) -> Vec<Entry> {
    let by_path: BTreeMap<String, Entry> = files.into_iter().map(|entry| (entry.path.clone(), entry)).collect();
    by_path.into_values().collect()
}

/// What a build says, from either kind of engine.
#[derive(Debug, Default)]
struct Log {
    shown: std::collections::BTreeSet<String>,
    lines: Vec<String>,
}

impl Log {
    fn take(&mut self, cx: &Cx, answer: &bollard::models::BuildInfo) {
        if let Some(text) = &answer.stream {
            for line in text.lines().filter(|line| !line.trim().is_empty()) {
                if line.starts_with("STEP ") || line.starts_with("Step ") {
                    cx.ui.step("Builder", line);
                }
                self.line(cx, line);
            }
        }
        let Some(BuildInfoAux::BuildKit(status)) = &answer.aux else {
            return;
        };
        for vertex in &status.vertexes {
            let name = vertex.name.split_whitespace().collect::<Vec<_>>().join(" ");
            let ours = name.starts_with('[') && !name.starts_with("[internal]");
            if ours && vertex.started.is_some() && !vertex.cached && self.shown.insert(vertex.digest.clone()) {
                let short: String = name.chars().take(100).collect();
                cx.ui.step("Builder", &short);
            }
            if !vertex.error.is_empty() {
                self.lines.push(vertex.error.clone());
            }
        }
        for log in &status.logs {
            for line in String::from_utf8_lossy(&log.msg).lines() {
                self.line(cx, line);
            }
        }
    }

    fn line(&mut self, cx: &Cx, line: &str) {
        cx.ui.detail(line);
        self.lines.push(line.to_owned());
    }

    /// The error with what was said last.
    fn failure(&self, error: Error) -> Error {
        let last = self.lines[self.lines.len().saturating_sub(LAST)..].join("\n  ");
        let hint = trouble::next_step(&format!("{last}\n{error}"));
        let error = match last.is_empty() {
            true => error,
            false => Error::new(format!("{error}\n  {last}")),
        };
        match hint {
            Some(hint) => error.hint(hint),
            None => error.hint("`-v` shows all that the build says"),
        }
    }
}

/// Pulls an image.
fn pull(cx: &Cx, connection: &Connection, name: &str) -> Result<()> {
    let (repository, tag) = name.rsplit_once(':').unwrap_or((name, "latest"));
    let spinner = cx.ui.spinner("Pulling", name);
    let options = CreateImageOptionsBuilder::default()
        .from_image(repository)
        .tag(tag)
        .build();
    let pulled = connection.runtime.block_on(async {
        let work = async {
            let mut answers = connection.docker.create_image(Some(options), None, None);
            while let Some(answer) = answers.next().await {
                if let Some(status) = answer?.status {
                    spinner.set_message(format!("{name}: {status}"));
                }
            }
            Ok(())
        };
        tokio::select! {
            done = work => done,
            stopped = signals::stopped() => Err(stopped),
        }
    });
    spinner.finish_and_clear();
    pulled
}

/// Whether the engine could pull an image: it asks the registry, and fetches nothing.
pub fn can_be_pulled(connection: &Connection, name: &str) -> bool {
    let asked = connection.docker.inspect_registry_image(name, None);
    let asked = async { tokio::time::timeout(connection.patience(), asked).await };
    matches!(connection.runtime.block_on(asked), Ok(Ok(_)))
}

/// Whether the engine is Podman: it builds as the classic builder is asked, and has no sessions.
pub fn is_podman(connection: &Connection) -> Result<bool> {
    let version = connection
        .runtime
        .block_on(connection.docker.version())
        .context(|| format!("cannot ask the engine at {} for its version", connection.endpoint()))?;
    let components = version.components.unwrap_or_default();
    Ok(components.iter().any(|component| component.name.contains("Podman")))
}

/// The network that containers need: `host` where the engine has no bridge, or where only this machine's own network leads to the
/// proxy; else the engine's default.
pub fn network(connection: &Connection, here: &Here) -> Result<Option<&'static str>> {
    if here.has_local_proxy() {
        return Ok(Some("host"));
    }
    let networks = connection
        .runtime
        .block_on(connection.docker.list_networks(None))
        .context(|| format!("cannot ask the engine at {} for its networks", connection.endpoint()))?;
    let bridged = networks
        .iter()
        .any(|network| network.driver.as_deref() == Some("bridge"));
    Ok((!bridged).then_some("host"))
}
