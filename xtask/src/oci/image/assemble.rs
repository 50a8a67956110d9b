//! From a base, a final stage and files to an image.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::config::{check_platform, configuration};
use super::copy::Placer;
use super::{BaseImage, Blob, CopySource, Image};
use crate::oci::dockerfile::FinalStage;
use crate::oci::layer::{Compressed, EntryKind, Layer, LayerError, Limits};
use crate::oci::tree::Tree;
use crate::oci::{canonical_json, media};
use crate::target::Platform;

/// Why an image cannot be assembled.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AssembleError {
    /// A `COPY` that cannot be carried out.
    #[error("line {line}: COPY {path}: {message}")]
    Copy {
        /// Line of the Dockerfile.
        line: usize,
        /// The source, with `--from`.
        path: String,
        /// What is wrong.
        message: String,
    },
    /// The program that an instruction names is not there.
    #[error("{instruction} runs {program}, {problem}")]
    Program {
        /// `ENTRYPOINT`, `CMD` or `HEALTHCHECK`.
        instruction: &'static str,
        /// Absolute path.
        program: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// The base is for other machines.
    #[error("the base image {base} is for {found}, which does not run on {platform}")]
    BasePlatform {
        /// Origin of the base.
        base: String,
        /// Its platform.
        found: String,
        /// The platform of the image.
        platform: Platform,
    },
    /// The configuration of the base makes no sense.
    #[error("the configuration of the base image {base} is malformed at `{key}`")]
    BaseConfig {
        /// Origin of the base.
        base: String,
        /// Path of the key.
        key: String,
    },
    /// A layer cannot be read or written.
    #[error(transparent)]
    Layer(#[from] LayerError),
}

/// Puts one layer with all that the stage copies on the layers of the base.
///
/// `created` (SOURCE_DATE_EPOCH) is the only time in it; `labels` come on top of those of the stage.
pub fn assemble(
    base: BaseImage,
    stage: &FinalStage,
    source: &dyn CopySource,
    platform: Platform,
    created: u64,
    labels: &BTreeMap<String, String>,
) -> Result<Image, AssembleError> {
    assemble_with(base, stage, source, platform, created, labels, &|_| None)
}

/// The same; the app layer is not compressed again when `compressed` knows it.
pub fn assemble_with(
    base: BaseImage,
    stage: &FinalStage,
    source: &dyn CopySource,
    platform: Platform,
    created: u64,
    labels: &BTreeMap<String, String>,
    compressed: Compressed<'_>,
) -> Result<Image, AssembleError> {
    check_platform(&base, platform)?;
    let mut placer = Placer::new(Tree::from_layers(&base.layers, &Limits::default())?, created);
    for copy in &stage.copies {
        placer.copy(copy, source)?;
    }
    check_programs(placer.tree(), stage)?;
    let texts: Vec<&str> = stage.copies.iter().map(|copy| copy.text.as_str()).collect();
    let app = placer.finish(texts.join("; "), compressed)?;
    let config = configuration(
        &base,
        &stage.config,
        labels,
        platform,
        created,
        app.as_ref(),
        &stage.history,
    )?;
    let base_layers = base.layers.len();
    let layers: Vec<Layer> = base.layers.into_iter().chain(app).collect();
    let config = Blob::new(canonical_json(&config), media::CONFIG);
    let descriptors: Vec<Value> = layers
        .iter()
        .map(|layer| {
            json!({"mediaType": layer.oci_media_type(), "digest": layer.digest().to_string(), "size": layer.size()})
        })
        .collect();
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": media::MANIFEST,
        "config": config.descriptor(),
        "layers": descriptors,
    });
    let manifest = Blob::new(canonical_json(&manifest), media::MANIFEST);
    Ok(Image::from_parts(platform, config, manifest, layers, base_layers))
}

/// What the stage says is run must be in the image: the shell form on a base without a shell is found here, not on the Pi.
fn check_programs(tree: &Tree, stage: &FinalStage) -> Result<(), AssembleError> {
    let config = &stage.config;
    let entrypoint = config.entrypoint.as_deref().unwrap_or_default();
    let mut programs = vec![("ENTRYPOINT", entrypoint.first())];
    if entrypoint.is_empty() {
        programs.push(("CMD", config.cmd.as_deref().unwrap_or_default().first()));
    }
    let shell = "/bin/sh".to_owned();
    match config.healthcheck.as_ref().map(|check| &check.test[..]) {
        Some([kind, program, ..]) if kind == "CMD" => programs.push(("HEALTHCHECK", Some(program))),
        Some([kind, ..]) if kind == "CMD-SHELL" => programs.push(("HEALTHCHECK", Some(&shell))),
        _ => {}
    }
    for (instruction, program) in programs {
        let Some(program) = program.filter(|program| program.starts_with('/')) else {
            continue;
        };
        let found = tree.resolve(program, true).and_then(|path| tree.get(&path));
        let problem = match found.map(|entry| (&entry.kind, entry.mode)) {
            Some((EntryKind::File(_), mode)) if mode & 0o111 != 0 => continue,
            Some((EntryKind::File(_), _)) => "which is not executable (--chmod=0755?)",
            Some(_) => "which is not a file",
            None => "which the image does not have",
        };
        return Err(AssembleError::Program {
            instruction,
            program: program.clone(),
            problem,
        });
    }
    Ok(())
}
