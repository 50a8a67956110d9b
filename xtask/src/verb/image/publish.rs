//! Images to where they go; those that share a destination go there together.

use std::collections::BTreeMap;

use super::Finished;
use crate::attest::Attestation;
use crate::cx::Cx;
use crate::error::Result;
use crate::oci::{Destination, Digest, Image, ImageName, Reference};
use crate::publish::daemon::Daemon;
use crate::publish::{archive, attestations, layout};
use crate::registry::{Journal, Registry};
use crate::verb::place;
use crate::verb::push::{JOURNAL, indexed, origin};

/// Writes every image to its destinations. Returns the references of each.
pub(super) fn publish(cx: &Cx, images: &[Finished<'_>]) -> Result<Vec<Vec<String>>> {
    let mut by_destination: BTreeMap<String, (&Destination, Vec<usize>)> = BTreeMap::new();
    for (index, finished) in images.iter().enumerate() {
        for destination in &finished.planned.destinations {
            by_destination
                .entry(destination.to_string())
                .or_insert((destination, Vec::new()))
                .1
                .push(index);
        }
    }
    let mut references = vec![Vec::new(); images.len()];
    for (text, (destination, members)) in &by_destination {
        let group: Vec<(&ImageName, &Image)> = members
            .iter()
            .map(|&i| (&images[i].planned.name, &images[i].image))
            .collect();
        cx.ui.step("Writing", text);
        let verdicts = members.iter().map(|&i| {
            let verdict = serde_json::to_value(&images[i].verdict)?;
            Ok((images[i].image.manifest().digest(), verdict))
        });
        let verdicts: Vec<(Digest, serde_json::Value)> = verdicts.collect::<Result<_>>()?;
        let attested: Vec<(Digest, &Attestation)> = members
            .iter()
            .map(|&i| (images[i].image.manifest().digest(), &images[i].attestation))
            .collect();
        match destination {
            Destination::OciLayout(path) => {
                layout::write(&place(cx, path), &group)?;
                layout::write_audit(&place(cx, path), &verdicts)?;
                attestations::write_for_layout(&place(cx, path), &attested)?;
            }
            Destination::DockerArchive(path) => {
                archive::write(&place(cx, path), &group)?;
                archive::write_audit(&place(cx, path), &verdicts)?;
                attestations::write_for_archive(&place(cx, path), &attested)?;
            }
            Destination::DockerDaemon(name) => {
                let daemon = Daemon::from_environment()?;
                for (&index, (_, image)) in members.iter().zip(&group) {
                    let loaded = daemon.load(&cx.ui, name, image)?;
                    // What the engine itself calls it: only that can be given to `docker run`.
                    references[index].push(format!("{text}@{}", loaded.id));
                }
                continue;
            }
            Destination::Registry(reference) => {
                let pushed = push(cx, reference, members.iter().map(|&i| &images[i]))?;
                members
                    .iter()
                    .for_each(|&index| references[index].push(format!("docker://{pushed}")));
                continue;
            }
        }
        for &index in members {
            references[index].push(format!("{text}@{}", images[index].image.manifest().digest()));
        }
    }
    Ok(references)
}

/// The tag names an index, also of one image: the attestations are in it.
fn push<'a>(cx: &Cx, to: &Reference, images: impl Iterator<Item = &'a Finished<'a>>) -> Result<Reference> {
    let images: Vec<&Finished<'_>> = images.collect();
    let registry = Registry::from_environment();
    let push = registry
        .push_to(cx, to)
        .mounting(images.iter().filter_map(|finished| origin(finished)))
        .journal(Journal::at(cx.root.join(JOURNAL)));
    let pushed = push.index(&indexed(&images)?)?;
    Ok(to.with_digest(pushed.digest))
}
