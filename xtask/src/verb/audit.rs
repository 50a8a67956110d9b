//! `cargo xtask audit`: ELF files, or the program of an image, against a platform.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::audit::{self, Check, Depth, Expectation, Finding, Report, Rule, audit, inspect, inspect_file};
use crate::cli::AuditArgs;
use crate::cx::Cx;
use crate::elf::is_elf;
use crate::error::{Context, Error, Result};
use crate::oci::layer::{EntryKind, Limits};
use crate::oci::layout::{BlobStore, list_images, load_image};
use crate::oci::{Digest, Tree};
use crate::plan::image_tag;
use crate::policy::Policy;
use crate::publish::layout;
use crate::target::{Base, Platform, Target};
use crate::verb::{Outcome, place, policy};

/// The label that says what the program was compiled for.
const TRIPLE: &str = "xtask.binary.triple";

/// Prints a report for every file; exit code 1 when any has a finding.
pub fn run(cx: &Cx, args: &AuditArgs) -> Result<Outcome> {
    let policy = policy(cx)?;
    let mut reports = Vec::new();
    let mut inputs = args.inputs.clone();
    if inputs.is_empty() {
        inputs = built(cx);
        if inputs.is_empty() {
            return Err(Error::new("there is no image in target/images to audit")
                .hint("make one: `cargo xtask image`, or name a FILE"));
        }
    }
    for input in &inputs {
        match input.strip_prefix("oci:") {
            Some(dir) => reports.extend(image(cx, &policy, &place(cx, dir))?),
            None => reports.push(file(Path::new(input), args.platform)?),
        }
    }
    if args.json {
        cx.ui.result(&serde_json::to_string_pretty(&reports)?);
    } else {
        let texts: Vec<String> = reports
            .iter()
            .map(|report| report.text().trim_end().to_owned())
            .collect();
        cx.ui.result(&texts.join("\n\n"));
    }
    Ok(if reports.iter().all(Report::passed) {
        Outcome::Fine
    } else {
        Outcome::Findings
    })
}

/// The layouts that `cargo xtask image` makes by default and that are there.
pub fn built(cx: &Cx) -> Vec<String> {
    let mut found = Vec::new();
    for base in Base::ALL {
        for platform in Platform::ALL {
            let dir = cx.root.join("target/images").join(image_tag(base, platform));
            if dir.join("index.json").is_file() {
                found.push(format!("oci:{}", dir.display()));
            }
        }
    }
    found
}

/// A file says nothing of the image it is meant for, so only what the platform can execute is judged.
fn file(path: &Path, platform: Platform) -> Result<Report> {
    let bytes = fs::read(path).context(|| format!("cannot read {}", path.display()))?;
    Ok(inspect_file(&bytes, &path.display().to_string(), platform))
}

/// The program of every image of a layout, whatever kind of file it is, and every other ELF file. The program is held
/// against the whole policy, when name and labels say what it was made for; the others against the platform.
fn image(cx: &Cx, policy: &Policy, dir: &Path) -> Result<Vec<Report>> {
    let store = layout::open(dir).hint("expected oci:PATH with the directory of an OCI image layout")?;
    let limits = Limits::default();
    let mut reports = Vec::new();
    let images = list_images(&store)?;
    if images.is_empty() {
        return Err(Error::new(format!("there is no image in {}", store.origin()))
            .hint("make one: `cargo xtask image`, or name another layout"));
    }
    for listed in images {
        let name = listed.name.as_deref().unwrap_or("unnamed");
        let Some(platform) = listed.platform else {
            return Err(Error::new(format!(
                "{}: {name} is for a platform that this product does not know",
                dir.display()
            )));
        };
        let image = load_image(&store, listed.name.as_deref(), platform, &limits)?;
        let config = image.config_json();
        let tree = Tree::from_layers(image.layers(), &limits)?;
        let program = Program::find(&config, &tree);
        for layer in image.layers() {
            for entry in layer.entries(&limits)? {
                let EntryKind::File(bytes) = &entry.kind else { continue };
                let started = matches!(&program, Ok(program) if program.path == entry.path && program.bytes == bytes);
                if is_elf(bytes) && !started {
                    let file = format!("{name}/{}", entry.path);
                    let waivers = policy.base_waivers(platform, &entry.path);
                    reports.push(inspect(bytes, &file, platform, None, &waivers));
                }
            }
        }
        reports.push(match program {
            Ok(program) => program.report(cx, policy, name, platform, &config),
            Err(problem) => nothing_to_start(name, platform, problem),
        });
    }
    Ok(reports)
}

/// The file that an engine starts.
struct Program<'a> {
    path: String,
    bytes: &'a Vec<u8>,
}

impl<'a> Program<'a> {
    /// Links followed as inside the image; the error says what is there instead.
    fn find(config: &Value, tree: &'a Tree) -> std::result::Result<Self, String> {
        let config = &config["config"];
        let named = ["Entrypoint", "Cmd"].iter().find_map(|key| config[key][0].as_str());
        let named = named.ok_or("neither ENTRYPOINT nor CMD names a program")?;
        let path = tree
            .resolve(named, true)
            .ok_or_else(|| format!("{named} is a loop of symbolic links"))?;
        match tree.get(&path).map(|entry| &entry.kind) {
            Some(EntryKind::File(bytes)) => Ok(Program { path, bytes }),
            Some(other) => Err(format!("{named} is {}", other.describe())),
            None if tree.is_directory(&path) => Err(format!("{named} is a directory")),
            None if path == named.trim_start_matches('/') => Err(format!("there is no {named}")),
            None => Err(format!("{named} leads to /{path}, which is not there")),
        }
    }

    fn report(&self, cx: &Cx, policy: &Policy, name: &str, platform: Platform, config: &Value) -> Report {
        let file = format!("{name}/{}", self.path);
        let label = |key: &str| config["config"]["Labels"][key].as_str();
        let base = Base::ALL
            .into_iter()
            .find(|base| name.starts_with(base.name()))
            .ok_or_else(|| format!("the name {name} begins with no base"));
        let target = label(TRIPLE)
            .ok_or_else(|| format!("the image has no label {TRIPLE}"))
            .and_then(|triple| {
                Target::from_triple(triple)
                    .ok_or_else(|| format!("the label {TRIPLE} names no known target: {triple:?}"))
            });
        let (base, target) = match (base, target) {
            (Ok(base), Ok(target)) => (base, target),
            (Err(reason), _) | (_, Err(reason)) => {
                cx.ui.warn(&format!(
                    "{file}: how it is linked (interpreter, libraries, glibc) was not checked: {reason}"
                ));
                return inspect(self.bytes, &file, platform, None, &[]);
            }
        };
        let glibc = label("xtask.base.packages")
            .unwrap_or_default()
            .split(' ')
            .find_map(|package| package.strip_prefix("libc6="));
        let expectation = Expectation {
            file,
            platform,
            target,
            needed_allowed: policy.needed(base).to_vec(),
            glibc: glibc.map(str::to_owned),
            waivers: policy.waivers(target.triple),
        };
        match audit(self.bytes.clone(), &expectation) {
            Ok(binary) => binary.report().clone(),
            Err(report) => *report,
        }
    }
}

/// For an image without a program: one finding, so that nothing to look at is never taken for nothing to find.
fn nothing_to_start(name: &str, platform: Platform, problem: String) -> Report {
    let (rule, expected) = (Rule::Readable, "a program that can be started".to_owned());
    Report {
        file: name.to_owned(),
        size: 0,
        digest: Digest::of(b"").to_string(),
        audited: None,
        platform,
        triple: None,
        depth: Depth::Tags,
        checks: vec![Check {
            rule,
            outcome: audit::Outcome::Failed,
            found: problem.clone(),
            expected: Some(expected.clone()),
            waived: None,
        }],
        findings: vec![Finding {
            rule,
            found: problem,
            expected,
            hint: "ENTRYPOINT must name a file that COPY puts into the image, by its absolute path".to_owned(),
        }],
        code: None,
    }
}
