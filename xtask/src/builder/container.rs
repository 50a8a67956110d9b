//! One command in a container of an engine: what it reads is sent as a tar, what it says arrives while it runs, and whatever happens
//! here, the container ends and is removed.

use std::collections::HashMap;

use bollard::container::{AttachContainerResults, LogOutput};
use bollard::models::{
    ContainerCreateBody, ContainerSummary, ContainerSummaryStateEnum, HostConfig, HostConfigLogConfig, Mount,
    MountType, VolumeCreateRequest,
};
use bollard::query_parameters::{
    AttachContainerOptions, ListContainersOptionsBuilder, RemoveContainerOptionsBuilder, StartContainerOptions,
    UploadToContainerOptionsBuilder, WaitContainerOptions,
};
use bytes::Bytes;
use futures_util::{StreamExt, stream};

use super::image::is_podman;
use super::trouble;
use crate::engine::Connection;
use crate::error::{Context, Error, Result};
use crate::shell::signals::{hold, stopped};
use crate::ui::Ui;

/// Bytes of one piece of an upload.
const PIECE: usize = 1 << 16;
/// How often it is asked whether the engine is still there.
const PULSE: std::time::Duration = std::time::Duration::from_secs(30);
const START_AGAIN: &str = "start it again, and run again: the caches are in its volumes";
/// The exit code of what was killed.
pub const KILLED: i64 = 137;
/// Bytes of what was said last that are kept for errors.
const TAIL: usize = 1 << 14;

/// What is to be run.
#[derive(Clone, Debug)]
pub struct Job<'a> {
    /// Name or ID.
    pub image: &'a str,
    /// Command and arguments.
    pub command: Vec<String>,
    /// `NAME=VALUE`.
    pub env: Vec<String>,
    /// Named volumes and where they are mounted.
    pub volumes: Vec<(String, String)>,
    /// Files of the container's own, unpacked at `/` before it starts.
    pub files: Vec<u8>,
    /// `host`, or the engine's default.
    pub network: Option<&'a str>,
    /// What marks container and volumes as ours.
    pub label: (&'a str, &'a str),
    /// Whether stderr shows as it comes; its end is in [`Ended`] either way.
    pub shown: bool,
    /// Whether the container stays after it ended, so that its file system can be taken out.
    pub keep: bool,
}

/// What came of it.
#[derive(Clone, Debug)]
pub struct Ended {
    /// All of stdout.
    pub stdout: Vec<u8>,
    /// The end of stderr.
    pub said: String,
    /// Exit code, where the engine told it.
    pub code: Option<i64>,
    /// The container, when it was to be kept.
    pub container: String,
}

/// Runs it. stderr goes to ours as it comes.
///
/// # Errors
/// When the engine fails or a signal asks us to stop. A command that fails is no error here.
pub fn run(ui: &Ui, connection: &Connection, job: &Job<'_>) -> Result<Ended> {
    let _hold = hold();
    let podman = is_podman(connection)?;
    connection.runtime.block_on(async {
        sweep(connection, job.label).await;
        volumes(connection, job).await?;
        let created = connection.docker.create_container(None, body(job)).await.context(|| {
            format!(
                "the engine at {} cannot make a container of {}",
                connection.endpoint(),
                job.image
            )
        })?;
        let ended = tokio::select! {
            ended = drive(ui, connection, job, &created.id, podman) => ended,
            stopped = stopped() => Err(stopped),
        };
        if ended.is_err() || !job.keep {
            remove(connection, &created.id).await;
        }
        ended
    })
}

/// Makes the volumes that are missing. Podman makes them without labels when a container names them.
async fn volumes(connection: &Connection, job: &Job<'_>) -> Result<()> {
    let (name, value) = job.label;
    for (volume, _) in &job.volumes {
        let wanted = VolumeCreateRequest {
            name: Some(volume.clone()),
            labels: Some(HashMap::from([(name.to_owned(), value.to_owned())])),
            ..VolumeCreateRequest::default()
        };
        connection
            .docker
            .create_volume(wanted)
            .await
            .map_err(|error| explained(error.into()))
            .context(|| {
                format!(
                    "the engine at {} cannot make the volume {volume}",
                    connection.endpoint()
                )
            })?;
    }
    Ok(())
}

/// Every container with a label, running or not.
///
/// # Errors
/// Those of the engine.
pub async fn all(connection: &Connection, name: &str, value: &str) -> Result<Vec<String>> {
    let found = labelled(connection, (name, value)).await?;
    Ok(found.into_iter().filter_map(|container| container.id).collect())
}

async fn labelled(connection: &Connection, (name, value): (&str, &str)) -> Result<Vec<ContainerSummary>> {
    let filters = HashMap::from([("label".to_owned(), vec![format!("{name}={value}")])]);
    let options = ListContainersOptionsBuilder::default()
        .all(true)
        .filters(&filters)
        .build();
    Ok(connection.docker.list_containers(Some(options)).await?)
}

/// So long after it was made, a container that was never started belongs to nobody: the source is sent in seconds.
const STALE_SECONDS: i64 = 600;

/// Removes containers that were made and never started: of a run that was killed in between, which nothing else ends. What the
/// engine does not tell is left to `cargo xtask builder prune`.
async fn sweep(connection: &Connection, label: (&str, &str)) {
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap_or_default();
    let limit = i64::try_from(now.as_secs()).unwrap_or_default() - STALE_SECONDS;
    for container in labelled(connection, label).await.unwrap_or_default() {
        let never_started = container.state == Some(ContainerSummaryStateEnum::CREATED);
        if let Some(id) = container
            .id
            .filter(|_| never_started && container.created.is_some_and(|time| time < limit))
        {
            remove(connection, &id).await;
        }
    }
}

/// Stops a container if it runs, and removes it. One that is gone already is fine; an engine that is gone cannot be helped.
pub async fn remove(connection: &Connection, id: &str) {
    let options = RemoveContainerOptionsBuilder::default().force(true).v(false).build();
    let gone = async {
        let _ = connection.docker.remove_container(id, Some(options)).await;
        // The engine may be removing it by itself already.
        while connection.docker.inspect_container(id, None).await.is_ok() {
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    };
    let _ = tokio::time::timeout(connection.patience(), gone).await;
}

fn body(job: &Job<'_>) -> ContainerCreateBody {
    let (name, value) = job.label;
    let mounts = job.volumes.iter().map(|(volume, target)| Mount {
        source: Some(volume.clone()),
        target: Some(target.clone()),
        typ: Some(MountType::VOLUME),
        ..Mount::default()
    });
    ContainerCreateBody {
        image: Some(job.image.to_owned()),
        cmd: Some(job.command.clone()),
        env: Some(job.env.clone()),
        labels: Some(HashMap::from([(name.to_owned(), value.to_owned())])),
        attach_stdin: Some(true),
        attach_stdout: Some(true),
        attach_stderr: Some(true),
        open_stdin: Some(true),
        // When the connection goes, stdin ends, and with it the command.
        stdin_once: Some(true),
        // An engine that is stopped need not wait for it: cargo's caches bear that.
        stop_signal: Some("SIGKILL".to_owned()),
        host_config: Some(HostConfig {
            mounts: Some(mounts.collect()),
            auto_remove: Some(!job.keep),
            network_mode: job.network.map(str::to_owned),
            log_config: Some(HostConfigLogConfig {
                typ: Some("none".to_owned()),
                config: None,
            }),
            ..HostConfig::default()
        }),
        ..ContainerCreateBody::default()
    }
}

async fn drive(ui: &Ui, connection: &Connection, job: &Job<'_>, id: &str, podman: bool) -> Result<Ended> {
    let lost = || format!("the engine at {} stopped answering", connection.endpoint());
    let cannot_start = || {
        format!(
            "the engine at {} cannot start a container of {}",
            connection.endpoint(),
            job.image
        )
    };
    let docker = &connection.docker;
    let files = Bytes::from(job.files.clone());
    let pieces: Vec<Bytes> = (0..files.len())
        .step_by(PIECE)
        .map(|start| files.slice(start..files.len().min(start + PIECE)))
        .collect();
    let place = UploadToContainerOptionsBuilder::default().path("/").build();
    docker
        .upload_to_container(id, Some(place), bollard::body_stream(stream::iter(pieces)))
        .await
        .map_err(|error| explained(error.into()))
        .context(|| format!("cannot send the source to the engine at {}", connection.endpoint()))?;
    let attach = AttachContainerOptions {
        stream: true,
        stdin: true,
        stdout: true,
        stderr: true,
        ..AttachContainerOptions::default()
    };
    let AttachContainerResults { mut output, input } = docker
        .attach_container(id, Some(attach))
        .await
        .map_err(|error| explained(error.into()))
        .context(cannot_start)?;
    docker
        .start_container(id, None::<StartContainerOptions>)
        .await
        .map_err(|error| explained(error.into()))
        .context(cannot_start)?;
    let mut wait = docker.wait_container(
        id,
        Some(WaitContainerOptions {
            // Podman tells the exit code of one that it removes only so.
            condition: if job.keep { "not-running" } else { "removed" }.to_owned(),
        }),
    );
    let (mut stdout, mut said) = (Vec::new(), Vec::new());
    let mut code = None;
    let mut waiting = true;
    let mut pulse = tokio::time::interval_at(tokio::time::Instant::now() + PULSE, PULSE);
    loop {
        tokio::select! {
            piece = output.next() => match piece {
                Some(Ok(LogOutput::StdErr { message })) => {
                    if job.shown {
                        ui.text(&String::from_utf8_lossy(&message));
                    }
                    said.extend_from_slice(&message);
                    if said.len() > 2 * TAIL {
                        said.drain(..said.len() - TAIL);
                    }
                }
                Some(Ok(LogOutput::StdOut { message } | LogOutput::Console { message })) => stdout.extend_from_slice(&message),
                Some(Ok(LogOutput::StdIn { .. })) => {}
                Some(Err(error)) => return Err(Error::from(error).context(lost()).hint(START_AGAIN)),
                None => break,
            },
            // A machine that vanished closes nothing.
            _ = pulse.tick() => alive(connection, None).await.context(lost).hint(START_AGAIN)?,
            // Podman 4.3 waits by asking itself without a pause, which takes half a processor: there only when the streams have ended.
            status = wait.next(), if waiting && !podman => {
                waiting = false;
                code = exit_code(status);
            }
        }
    }
    if waiting {
        // The streams end a moment before the container does.
        code = tokio::time::timeout(connection.patience(), wait.next())
            .await
            .ok()
            .and_then(exit_code);
    }
    drop(input);
    if matches!(code, None | Some(KILLED)) {
        alive(connection, code).await.context(lost).hint(START_AGAIN)?;
    }
    Ok(Ended {
        stdout,
        said: String::from_utf8_lossy(&said).into_owned(),
        code,
        container: id.to_owned(),
    })
}

/// Whether the engine still answers. One that is being stopped kills its containers first, and answers for a while.
async fn alive(connection: &Connection, code: Option<i64>) -> Result<()> {
    let questions = if code == Some(KILLED) { 15 } else { 1 };
    for question in 0..questions {
        if question > 0 {
            tokio::time::sleep(std::time::Duration::from_millis(200)).await;
        }
        tokio::time::timeout(connection.patience(), connection.docker.ping())
            .await
            .map_err(|_| Error::new("no answer"))
            .and_then(|answer| answer.map_err(Error::from))?;
    }
    Ok(())
}

fn exit_code(status: Option<Result<bollard::models::ContainerWaitResponse, bollard::errors::Error>>) -> Option<i64> {
    match status? {
        Ok(ended) => Some(ended.status_code),
        Err(bollard::errors::Error::DockerContainerWaitError { code, .. }) => Some(code),
        Err(_) => None,
    }
}

fn explained(error: Error) -> Error {
    match trouble::next_step(&error.to_string()) {
        Some(hint) => error.hint(hint),
        None => error,
    }
}
