//! `--dry-run`: what would be sent, blob by blob, and nothing sent.

use serde::Serialize;

use super::{Kept, Publication};
use crate::cx::Cx;
use crate::error::Result;
use crate::oci::image::Form;
use crate::oci::{Digest, Reference};
use crate::registry::{Content, Planned, Push, Quota};
use crate::ui::bytes;

/// What one repository would be sent.
#[derive(Serialize)]
pub struct Survey {
    repository: String,
    blobs: Vec<Planned>,
    documents: Vec<Planned>,
    tags: Vec<Tag>,
    /// Tags that stay with a newer release.
    kept: Vec<Kept>,
    /// Bytes that would be sent.
    bytes: u64,
    /// Requests that it would take.
    requests: u64,
    /// Pulls that are left, where the registry tells.
    quota: Option<Quota>,
}

#[derive(Serialize)]
struct Tag {
    tag: String,
    /// What it would name.
    digest: Digest,
    /// What it names now.
    now: Option<Digest>,
}

/// Prints what pushes would do.
pub fn tell(cx: &Cx, surveys: &[Survey], json: bool) -> Result<()> {
    if json {
        cx.ui.result(&serde_json::to_string_pretty(surveys)?);
    } else {
        surveys.iter().flat_map(lines).for_each(|line| cx.ui.result(&line));
    }
    Ok(())
}

/// Looks at one repository. `kept` are tags that stay where they are, and what it took to know.
pub fn survey(
    push: &Push<'_>,
    to: &Reference,
    publications: &[Publication],
    (kept, listed): (Vec<Kept>, u64),
) -> Result<Survey> {
    let blobs = push.survey(&Content::of_indexes(publications.iter().map(|one| &one.index)))?;
    let mut documents = Vec::new();
    for publication in publications {
        for image in publication.index.images() {
            let label = format!("manifest of {}, {}", publication.base, image.platform());
            // The manifest and the configuration are read back.
            documents.push(push.survey_document(image.manifest(), &label, 2)?);
        }
        for attached in publication.index.attached() {
            if attached.form() == Form::Attestation {
                documents.push(push.survey_document(attached.manifest(), "attestation", 1)?);
            }
        }
        documents.push(push.survey_document(publication.index.blob(), &format!("index of {}", publication.base), 1)?);
    }
    let (referrers, asked) = push.survey_referrers(publications.iter().map(|one| &one.index))?;
    documents.extend(referrers);
    let mut tags = Vec::new();
    let exact = publications.iter().flat_map(Publication::exact);
    for (tag, document) in exact.chain(publications.iter().flat_map(|one| one.floating(&kept))) {
        let size = document.bytes().len() as u64;
        let now = push.named(&to.with_tag(tag)?)?;
        let digest = document.digest();
        tags.push((
            Tag {
                tag: tag.to_owned(),
                digest,
                now,
            },
            // Asked, set, and asked again.
            if now == Some(digest) { (0, 1) } else { (size, 3) },
        ));
    }
    let planned = || blobs.iter().chain(&documents);
    Ok(Survey {
        repository: to.name(),
        bytes: planned().map(|one| one.send).sum::<u64>() + tags.iter().map(|(_, (bytes, _))| bytes).sum::<u64>(),
        requests: asked
            + listed
            + planned().map(|one| one.requests).sum::<u64>()
            + tags.iter().map(|(_, (_, count))| count).sum::<u64>(),
        quota: push.quota()?,
        blobs,
        documents,
        tags: tags.into_iter().map(|(tag, _)| tag).collect(),
        kept,
    })
}

fn lines(survey: &Survey) -> Vec<String> {
    let mut lines = vec![survey.repository.clone()];
    lines.extend(survey.blobs.iter().chain(&survey.documents).map(Planned::line));
    for tag in &survey.tags {
        let change = match tag.now {
            Some(now) if now == tag.digest => "names it already".to_owned(),
            Some(now) => format!("moves from {now}"),
            None => "is new".to_owned(),
        };
        lines.push(format!("tag     {} {change}", tag.tag));
    }
    for Kept { tag, newer } in &survey.kept {
        lines.push(format!("tag     {tag} stays where it is: {newer} is newer"));
    }
    lines.push(format!(
        "total   {} to send in {} requests",
        bytes(survey.bytes),
        survey.requests
    ));
    if let Some(quota) = &survey.quota {
        let hours = match quota.window {
            0 => String::new(),
            seconds => format!(" in {} h", seconds / 3600),
        };
        lines.push(format!(
            "quota   {} of {} pulls left{hours}; a push needs none",
            quota.remaining, quota.limit
        ));
    }
    lines
}
