//! `cargo xtask builder`: what the engine has of the Docker builder, making it, and removing it.

use std::collections::HashMap;

use bollard::query_parameters::{
    ListContainersOptionsBuilder, ListImagesOptionsBuilder, ListVolumesOptionsBuilder, RemoveImageOptionsBuilder,
    RemoveVolumeOptions,
};
use serde::Serialize;

use crate::builder::here::Here;
use crate::builder::image::{self, LABEL_STAGE, Wanted};
use crate::builder::{LABEL, container};
use crate::cli::BuilderVerb;
use crate::cx::Cx;
use crate::engine::Connection;
use crate::error::{Context, Result};
use crate::ui::bytes;
use crate::verb::{Outcome, policy};

/// What an engine has.
#[derive(Debug, Serialize)]
struct Status {
    /// Where the engine listens.
    engine: String,
    /// The image that this workspace needs.
    image: String,
    /// Whether it is there.
    ready: bool,
    /// What it is made on.
    base: String,
    /// Whether that is there.
    base_ready: bool,
    /// Builder images, the one in use included.
    images: Vec<Found>,
    /// Names of the volumes.
    caches: Vec<String>,
    /// Containers that compile now.
    containers: Vec<String>,
}

#[derive(Debug, Serialize)]
struct Found {
    name: String,
    id: String,
    size: u64,
    in_use: bool,
}

/// Runs the verb.
pub fn run(cx: &Cx, verb: &BuilderVerb) -> Result<Outcome> {
    let policy = policy(cx)?;
    let wanted = Wanted::read(cx, &policy)?;
    let connection = Connection::from_environment()?;
    match verb {
        BuilderVerb::Status { json } => {
            let status = status(&connection, &wanted)?;
            match json {
                true => cx.ui.result(&serde_json::to_string_pretty(&status)?),
                false => show(cx, &status),
            }
        }
        BuilderVerb::Build { force } => {
            if *force || image::ready(&connection, &wanted)?.is_none() {
                image::build(cx, &policy, &connection, &wanted, &Here::read(None)?)?;
            }
            cx.ui.result(&wanted.image());
        }
        BuilderVerb::Prune { all } => prune(cx, &connection, &wanted, *all)?,
    }
    Ok(Outcome::Fine)
}

fn filters(wanted: &Wanted) -> HashMap<String, Vec<String>> {
    HashMap::from([("label".to_owned(), vec![format!("{LABEL}={}", wanted.name)])])
}

fn status(connection: &Connection, wanted: &Wanted) -> Result<Status> {
    let docker = &connection.docker;
    let filters = filters(wanted);
    let (images, volumes, containers) = connection
        .runtime
        .block_on(async {
            let images = ListImagesOptionsBuilder::default().filters(&filters).build();
            let volumes = ListVolumesOptionsBuilder::default().filters(&filters).build();
            // Those that run: what was made and never started compiles nothing.
            let containers = ListContainersOptionsBuilder::default().filters(&filters).build();
            Ok::<_, crate::error::Error>((
                docker.list_images(Some(images)).await?,
                docker.list_volumes(Some(volumes)).await?,
                docker.list_containers(Some(containers)).await?,
            ))
        })
        .context(|| format!("cannot ask the engine at {} what it has", connection.endpoint()))?;
    let image = wanted.image();
    let of_builder = |name: &&String| {
        name.rsplit_once(':')
            .is_some_and(|(repository, _)| repository.ends_with(&wanted.name))
    };
    let images = images.iter().filter_map(|found| {
        let name = found.repo_tags.iter().find(of_builder)?;
        Some(Found {
            name: name.clone(),
            id: found.id.clone(),
            size: found.size.unsigned_abs(),
            in_use: name.ends_with(&image),
        })
    });
    let mut caches: Vec<String> = volumes
        .volumes
        .unwrap_or_default()
        .into_iter()
        .map(|volume| volume.name)
        .collect();
    caches.sort();
    Ok(Status {
        engine: connection.endpoint().to_string(),
        ready: image::ready(connection, wanted)?.is_some(),
        base: wanted.stage.base_image.clone(),
        base_ready: image::find(connection, &wanted.stage.base_image)?.is_some(),
        images: images.collect(),
        caches,
        containers: containers.into_iter().filter_map(|container| container.id).collect(),
        image,
    })
}

fn show(cx: &Cx, status: &Status) {
    let there = |there: bool| if there { "there" } else { "missing" };
    cx.ui.result(&format!("engine     {}", status.engine));
    cx.ui
        .result(&format!("builder    {} ({})", status.image, there(status.ready)));
    cx.ui
        .result(&format!("made on    {} ({})", status.base, there(status.base_ready)));
    for image in &status.images {
        let old = if image.in_use {
            "in use"
        } else {
            "not used by this workspace"
        };
        cx.ui
            .result(&format!("image      {}, {}, {old}", image.name, bytes(image.size)));
    }
    for cache in &status.caches {
        cx.ui.result(&format!("cache      {cache}"));
    }
    for container in &status.containers {
        cx.ui
            .result(&format!("compiling  {}", &container[..12.min(container.len())]));
    }
}

fn prune(cx: &Cx, connection: &Connection, wanted: &Wanted, all: bool) -> Result<()> {
    let status = status(connection, wanted)?;
    let docker = &connection.docker;
    let failed = |what: &str| format!("the engine at {} did not remove {what}", connection.endpoint());
    connection.runtime.block_on(async {
        if all {
            for id in &container::all(connection, LABEL, &wanted.name).await? {
                container::remove(connection, id).await;
                cx.ui.step("Removed", &format!("container {id}"));
            }
        }
        for image in status.images.iter().filter(|image| all || !image.in_use) {
            let options = RemoveImageOptionsBuilder::default().force(true).build();
            docker
                .remove_image(&image.name, Some(options), None)
                .await
                .context(|| failed(&image.name))?;
            cx.ui
                .step("Removed", &format!("image {}, {}", image.name, bytes(image.size)));
        }
        // What an engine without BuildKit keeps of other stages.
        let unnamed = HashMap::from([
            ("dangling".to_owned(), vec!["true".to_owned()]),
            ("label".to_owned(), vec![LABEL_STAGE.to_owned()]),
        ]);
        let options = ListImagesOptionsBuilder::default().filters(&unnamed).build();
        for stage in docker.list_images(Some(options)).await? {
            let options = RemoveImageOptionsBuilder::default().force(true).build();
            docker
                .remove_image(&stage.id, Some(options), None)
                .await
                .context(|| failed(&stage.id))?;
            cx.ui.step(
                "Removed",
                &format!("a stage of a build, {}", bytes(stage.size.unsigned_abs())),
            );
        }
        for cache in status.caches.iter().filter(|_| all) {
            docker
                .remove_volume(cache, None::<RemoveVolumeOptions>)
                .await
                .context(|| failed(cache))
                .hint("`cargo xtask builder status` shows what is compiling")?;
            cx.ui.step("Removed", &format!("cache {cache}"));
        }
        Ok(())
    })
}
