//! What a stage that is built by an engine depends on: its part of the Dockerfile, the files that it copies, the image below.

use std::collections::BTreeMap;

use parse_dockerfile::{Instruction, Source};

use super::{DockerfileError, Evaluator, Result, evaluator};

/// A stage that an engine builds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BuiltStage {
    /// The image at the bottom: `debian:trixie-slim`.
    pub base_image: String,
    /// The Dockerfile up to the end of the stage.
    pub text: String,
    /// What is copied from the build context, here and in the stages before: relative paths of files and directories.
    pub sources: Vec<String>,
}

/// Looks at the stage `name` with the build arguments `args`; nothing of it is evaluated but its `FROM` and the sources of `COPY`.
///
/// # Errors
/// When there is no such stage, or it is built on another stage.
pub fn built_stage(text: &str, args: &BTreeMap<String, String>, name: &str) -> Result<BuiltStage> {
    let file = super::parse(text)?;
    let evaluator = evaluator(&file, text, args)?;
    let index = evaluator.index(name)?;
    let from = evaluator.stages[index].0;
    let at = from.from.span.clone();
    let base_image = evaluator.expand(&at, &from.image.value, &evaluator.global)?;
    if evaluator.find(&base_image).is_some() || base_image.is_empty() {
        return Err(evaluator.error(
            &at,
            format!("the stage `{name}` is built on `{base_image}`: expected an image"),
        ));
    }
    let end = evaluator
        .stages
        .get(index + 1)
        .map_or(evaluator.text.len(), |(from, _)| from.from.span.start);
    Ok(BuiltStage {
        base_image,
        text: evaluator.text[..end].to_owned(),
        sources: sources(&evaluator, index)?,
    })
}

fn sources(evaluator: &Evaluator<'_, '_>, last: usize) -> Result<Vec<String>, DockerfileError> {
    let mut found: Vec<String> = Vec::new();
    for (_, instructions) in &evaluator.stages[..=last] {
        for instruction in *instructions {
            let Instruction::Copy(copy) = instruction else { continue };
            if copy.options.iter().any(|flag| flag.name.value == "from") {
                continue;
            }
            for source in &copy.src {
                if let Source::Path(path) = source {
                    let path = path.value.trim_matches('/').to_owned();
                    if !found.contains(&path) {
                        found.push(path);
                    }
                }
            }
        }
    }
    Ok(found)
}
