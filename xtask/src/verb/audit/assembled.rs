//! The image that is about to be written: the same look at every ELF file of every layer, with what was found before kept.

use std::collections::BTreeMap;

use super::look::{Memory, Settings, look};
use crate::audit::accuse::CodePolicy;
use crate::audit::verdict::{Subject, rules_version};
use crate::audit::{Report, Rule, Waiver};
use crate::cache::key_of;
use crate::culprit::origin::Origin;
use crate::cx::Cx;
use crate::error::Result;
use crate::oci::layer::{EntryKind, Layer, Limits};
use crate::oci::overlay::Overlay;
use crate::oci::{Image, Package};
use crate::plan::ImagePlan;
use crate::policy::Policy;
use crate::source::{Item, Kind};

/// Reports without findings, in the cache, by the digest of the file, what it was held against, and the rules of this program. A
/// report with findings is made anew each time, so that it is shown as it is now.
#[derive(Debug)]
pub struct Kept<'a> {
    /// Where the cache is.
    pub cx: &'a Cx,
    /// Reports of this run, of whose files more is known than their bytes: the program's, which was judged with its names.
    pub known: &'a [Report],
}

impl Kept<'_> {
    fn key(digest: &str, settings: &Settings<'_>, waivers: &[Waiver], code: &CodePolicy) -> Option<String> {
        let waivers = serde_json::to_string(waivers).ok()?;
        let of_code = format!("{code:?}");
        let against = format!("{} {:?}", settings.platform, settings.float_abi);
        Some(key_of([rules_version(), digest, &against, &waivers, &of_code]))
    }
}

impl Memory for Kept<'_> {
    fn recall(&self, digest: &str, settings: &Settings<'_>, waivers: &[Waiver], code: &CodePolicy) -> Option<Report> {
        let same = |report: &&Report| report.digest == digest && report.platform == settings.platform;
        if let Some(known) = self.known.iter().find(same) {
            return Some(known.clone());
        }
        let report: Report = self
            .cx
            .cache
            .record("audit", &Self::key(digest, settings, waivers, code)?)?;
        (report.passed() && same(&&report)).then_some(report)
    }

    fn keep(&self, report: &Report, settings: &Settings<'_>, waivers: &[Waiver], code: &CodePolicy) {
        if let Some(key) = Self::key(&report.digest, settings, waivers, code).filter(|_| report.passed()) {
            // A record that is not written costs the next run some milliseconds.
            let _ = self.cx.cache.put_record("audit", &key, report);
        }
    }
}

/// What is known of an image beside its layers.
#[derive(Clone, Copy, Debug)]
pub struct About<'a> {
    /// xtask.toml.
    pub policy: &'a Policy,
    /// What it is meant to be.
    pub planned: &'a ImagePlan,
    /// The package of each file of the base.
    pub owners: &'a BTreeMap<String, String>,
    /// The packages of the base.
    pub packages: &'a [Package],
    /// Whether waivers are ignored.
    pub strict: bool,
}

impl About<'_> {
    /// Name and version of the package that a file is of.
    fn package(&self, path: &str) -> Option<(String, String)> {
        let name = self.owners.get(path)?;
        let found = self.packages.iter().find(|package| package.name == *name);
        Some((
            name.clone(),
            found.map(|package| package.version.clone()).unwrap_or_default(),
        ))
    }

    /// What the policy says to the code of a file.
    fn code(&self, path: &str) -> CodePolicy {
        CodePolicy {
            strict: self.strict,
            origin: self
                .package(path)
                .map(|(name, version)| Origin::Package { name, version }),
            waivers: self.policy.base_code_waivers(self.planned.platform, path),
            ..CodePolicy::default()
        }
    }
}

/// Looks at all of these layers, for an image of this plan. `known` are reports of this run.
pub fn layers(cx: &Cx, about: &About<'_>, layers: &[Layer], known: &[Report]) -> Result<Subject> {
    let planned = about.planned;
    let waivers = |path: &str| match about.strict {
        true => Vec::new(),
        false => about.policy.base_waivers(planned.platform, path),
    };
    let code = |path: &str| about.code(path);
    let kept = Kept { cx, known };
    let settings = Settings {
        platform: planned.platform,
        float_abi: planned.target().and_then(|target| target.float_abi),
        prefix: format!("{}/", planned.name.tag()),
        given: false,
        waivers: &waivers,
        code: &code,
        memory: Some(&kept),
        jobs: std::thread::available_parallelism().map_or(1, usize::from),
    };
    let limits = Limits::default();
    let mut overlay = Overlay::default();
    let looked = look(&settings, |gather| {
        for (index, layer) in layers.iter().enumerate() {
            for entry in layer.entries(&limits)? {
                let bytes = match &entry.kind {
                    EntryKind::File(bytes) => &bytes[..],
                    _ => &[],
                };
                let kind = match &entry.kind {
                    EntryKind::File(bytes) => Kind::File(bytes.len() as u64),
                    EntryKind::Directory => Kind::Directory,
                    EntryKind::Symlink(target) => Kind::Symlink(target.clone()),
                    EntryKind::Hardlink(target) => Kind::Hardlink(target.clone()),
                    EntryKind::Whiteout => Kind::Whiteout,
                    EntryKind::OpaqueDirectory => Kind::OpaqueDirectory,
                };
                let mut content = bytes;
                let item = Item {
                    path: entry.path.clone(),
                    kind,
                    content: &mut content,
                };
                gather.take(index + 1, item)?;
            }
            overlay.apply(index + 1, gather.changes());
        }
        Ok(())
    })?;
    let mut subject = Subject::new(planned.name.to_string(), planned.platform);
    subject.layers = layers.iter().map(|layer| layer.digest().to_string()).collect();
    subject.files = looked.files;
    for (file, number) in subject.files.iter_mut().zip(&looked.numbers) {
        file.hidden_by = overlay.hidden_by(*number);
        file.program = known.iter().any(|report| report.digest == file.report.digest);
        file.package = about
            .package(&file.path)
            .map(|(name, version)| format!("{name} {version}").trim_end().to_owned());
    }
    Ok(subject)
}

/// The whole image. Its platform, configuration and index entry agree by construction; that what was audited is in it is looked
/// at once more.
pub fn image(cx: &Cx, about: &About<'_>, image: &Image, program: &Report) -> Result<Subject> {
    let mut subject = layers(cx, about, image.layers(), std::slice::from_ref(program))?;
    subject.manifest = Some(image.manifest().digest().to_string());
    let there = subject
        .files
        .iter()
        .any(|file| file.program && file.hidden_by.is_none());
    subject.check(
        there,
        Rule::Program,
        match there {
            true => format!("{} is in the image", program.digest),
            false => format!("{} is not in the image", program.digest),
        },
        "the program that was audited",
        "the final stage of the Dockerfile must COPY it from the stage `compile`",
    );
    Ok(subject)
}
