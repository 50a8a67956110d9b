//! One image as a whole: every layer, what it starts, and whether all that names its platform names the same.

use super::look::{Gather, Looked, Memory, Settings, look};
use crate::audit::accuse::CodePolicy;
use crate::audit::packages::Owners;
use crate::audit::verdict::{Audited, Subject};
use crate::audit::{Expectation, Report, Rule, Waiver, audit_with, inspect_with};
use crate::compile::Record;
use crate::cx::Cx;
use crate::error::{Error, Result};
use crate::oci::claims::Claim;
use crate::oci::overlay::{Node, Overlay};
use crate::policy::Policy;
use crate::source::{Bounds, Kind, LARGEST_FILE, Store};
use crate::target::{Base, Platform, Target};
use crate::verb::code::audited;

/// The label that says what the program was compiled for. An image that has it is one of ours, and the policy is for it.
pub const TRIPLE: &str = "xtask.binary.triple";
/// The label that says where the base came from.
const BASE: &str = "xtask.base";
/// Where an engine looks for a program without a `/` when the image sets no PATH.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// How it is looked at.
#[allow(missing_debug_implementations, reason = "it holds a trait object")]
pub struct How<'a> {
    /// xtask.toml.
    pub policy: &'a Policy,
    /// Whether waivers are ignored.
    pub strict: bool,
    /// Threads.
    pub jobs: usize,
    /// Verdicts of earlier runs.
    pub memory: Option<&'a (dyn Memory + Sync)>,
}

/// Looks through one image of a store.
pub fn image(
    cx: &Cx,
    store: &Store,
    source: &str,
    claim: &Claim,
    platform: Platform,
    how: &How<'_>,
) -> Result<Subject> {
    let ours = claim.label(TRIPLE);
    let name = match ours {
        Some(_) => claim.tag.clone().unwrap_or_else(|| claim.title()),
        None => claim.title(),
    };
    let mut subject = Subject::new(source.to_owned(), platform);
    subject.name = claim.name.is_some().then(|| name.clone());
    subject.manifest = Some(claim.manifest.digest.to_string());
    subject.layers = claim.layers.iter().map(|layer| layer.digest.to_string()).collect();
    let waivers = |path: &str| match (ours, how.strict) {
        (Some(_), false) => how.policy.base_waivers(platform, path),
        _ => Vec::new(),
    };
    let code = |path: &str| CodePolicy {
        waivers: match ours {
            Some(_) => how.policy.base_code_waivers(platform, path),
            None => Vec::new(),
        },
        strict: how.strict,
        ..CodePolicy::default()
    };
    let settings = Settings {
        platform,
        float_abi: ours.and_then(Target::from_triple).and_then(|target| target.float_abi),
        prefix: format!("{name}/"),
        given: false,
        waivers: &waivers,
        code: &code,
        memory: how.memory,
        jobs: how.jobs,
    };
    let mut overlay = Overlay::default();
    let mut looked = look(&settings, |gather: &mut Gather| {
        for layer in 0..claim.layers.len() {
            store.walk_layer(claim, layer, &Bounds::default(), &mut |item| {
                gather.take(layer + 1, item)
            })?;
            overlay.apply(layer + 1, gather.changes());
        }
        Ok(())
    })?;
    let owners = Owners::read(&looked.records);
    for (file, number) in looked.files.iter_mut().zip(&looked.numbers) {
        file.hidden_by = overlay.hidden_by(*number);
        file.package = owners.of(&file.path);
    }
    platforms(&mut subject, claim, ours, &looked);
    program(
        cx,
        &mut subject,
        store,
        claim,
        &name,
        how,
        &overlay,
        &mut looked,
        &owners,
    )?;
    subject.files = looked.files;
    Ok(subject)
}

/// Docker's reading (containerd/platforms, normalizeArch): an arm without a variant is v7, arm64's v8 may be left out.
fn normal(text: &str) -> &str {
    match text {
        "linux/arm" => "linux/arm/v7",
        "linux/arm64/v8" => "linux/arm64",
        other => other,
    }
}

fn variant(text: &str) -> Option<u8> {
    normal(text).strip_prefix("linux/arm/v")?.parse().ok()
}

/// Whether index entry, configuration, label and code agree.
fn platforms(subject: &mut Subject, claim: &Claim, triple: Option<&str>, looked: &Looked) {
    let rule = Rule::Platform;
    let platform = subject.platform;
    let said = match claim.said.as_str() {
        "linux/arm" => "linux/arm, which engines take for linux/arm/v7".to_owned(),
        said => said.to_owned(),
    };
    if let Some(entry) = &claim.entry {
        subject.check(
            normal(entry) == normal(&claim.said),
            rule,
            format!("the index entry says {entry}"),
            &format!("what the configuration says: {said}"),
            "an engine chooses by the index and runs by the configuration: make the image anew, or mend the index",
        );
    }
    // What is made for an older chip runs on a newer one, and engines know it.
    let wanted = platform.to_string();
    let fits = match (variant(&claim.said), variant(&wanted)) {
        (Some(image), Some(wanted)) => image <= wanted,
        _ => normal(&claim.said) == normal(&wanted),
    };
    subject.check(
        fits,
        rule,
        format!("the configuration says {said}"),
        &wanted,
        "an engine on that platform refuses the image, or warns and runs it: build it with `--platform`, or take the image \
         of that platform",
    );
    if let Some(triple) = triple {
        let found = Target::from_triple(triple).map(|target| target.platform.to_string());
        let agrees = found
            .as_deref()
            .is_some_and(|found| normal(found) == normal(&claim.said));
        let found = found.unwrap_or_else(|| "no platform that is known".to_owned());
        subject.check(
            agrees,
            rule,
            format!("the label {TRIPLE} says {triple}: {found}"),
            &format!("what the configuration says: {said}"),
            "label and configuration were not made together: make the image with `cargo xtask image`",
        );
    }
    if platform == Platform::ArmV7 && !looked.files.is_empty() {
        subject.check(
            looked.beyond_v6,
            rule,
            match looked.beyond_v6 {
                true => "the code is for linux/arm/v7".to_owned(),
                false => "all code is for linux/arm/v6 or earlier".to_owned(),
            },
            &format!("code for what the configuration says: {said}"),
            "a Pi Zero could run the image, and no engine on it takes it: label it linux/arm/v6 (with `--platform` when it \
             is built; engines take an arm without a variant for v7)",
        );
    }
}

/// Finds what the image starts. A program of ours is held against the whole policy.
#[allow(clippy::too_many_arguments)]
fn program(
    cx: &Cx,
    subject: &mut Subject,
    store: &Store,
    claim: &Claim,
    name: &str,
    how: &How<'_>,
    overlay: &Overlay,
    looked: &mut Looked,
    owners: &Owners,
) -> Result<()> {
    let config = &claim.config["config"];
    let word = ["Entrypoint", "Cmd"].iter().find_map(|key| config[key][0].as_str());
    let ours = claim.label(TRIPLE);
    let expected = "a program that can be started";
    let hint = "ENTRYPOINT must name a file that COPY puts into the image, by its absolute path";
    let (number, path) = match word.map(|word| (word, find(config, overlay, word))) {
        Some((_, Ok(found))) => found,
        Some((_, Err(problem))) => {
            subject.check(false, Rule::Program, problem, expected, hint);
            return Ok(());
        }
        // A base has nothing to start, and that is all right as long as there was something to look at.
        None => {
            let passed = ours.is_none() && !looked.files.is_empty();
            let found = "neither ENTRYPOINT nor CMD names a program".to_owned();
            subject.check(passed, Rule::Program, found, expected, hint);
            return Ok(());
        }
    };
    let place = looked.numbers.iter().position(|other| *other == number);
    if ours.is_some() {
        let bytes = content(store, claim, number)?;
        let report = full(cx, subject.platform, claim, name, &path, bytes, how, owners)?;
        subject.check(true, Rule::Program, format!("/{path}"), expected, hint);
        match place {
            Some(place) => {
                looked.files[place].report = report;
                looked.files[place].program = true;
            }
            None => {
                looked.numbers.push(number);
                looked.files.push(Audited {
                    path,
                    member: None,
                    layer: 0,
                    hidden_by: None,
                    package: None,
                    program: true,
                    report,
                });
            }
        }
        return Ok(());
    }
    cx.ui.note(&format!(
        "{name}/{path}: how it is linked (interpreter, libraries, glibc) was not checked: the image has no label {TRIPLE}"
    ));
    if let Some(place) = place {
        looked.files[place].program = true;
        subject.check(true, Rule::Program, format!("/{path}"), expected, hint);
        return Ok(());
    }
    let Some(line) = looked.scripts.get(&number) else {
        let found = format!("/{path} is neither an ELF file nor a script");
        subject.check(false, Rule::Readable, found, expected, hint);
        return Ok(());
    };
    let mut words = line.split_whitespace();
    let interpreter = match (words.next(), words.next()) {
        (Some("/usr/bin/env" | "/bin/env"), Some(name)) => name,
        (Some(path), _) => path,
        (None, _) => "",
    };
    let started = find(config, overlay, interpreter).ok();
    let started = started.and_then(|(number, _)| looked.numbers.iter().position(|other| *other == number));
    if let Some(place) = started {
        looked.files[place].program = true;
    }
    let found = format!("/{path}, a script for {interpreter}");
    subject.check(
        started.is_some(),
        Rule::Program,
        found,
        "a script whose interpreter is an ELF file of the image",
        hint,
    );
    Ok(())
}

/// A word of ENTRYPOINT or CMD as the engine finds it: by PATH when it has no `/`, links followed.
fn find(config: &serde_json::Value, overlay: &Overlay, word: &str) -> Result<(usize, String), String> {
    let at = |path: &str| -> Result<(usize, String), String> {
        let found = overlay
            .resolve(path)
            .ok_or_else(|| format!("{word} is a loop of symbolic links"))?;
        match overlay.get(&found) {
            Some(Node::File(number)) => Ok((*number, found)),
            _ if overlay.is_directory(&found) => Err(format!("{word} is a directory")),
            Some(_) => Err(format!("{word} is no file")),
            None if found == word.trim_start_matches('/') => Err(format!("there is no {word}")),
            None => Err(format!("{word} leads to /{found}, which is not there")),
        }
    };
    if word.starts_with('/') {
        return at(word);
    }
    if word.contains('/') {
        let directory = config["WorkingDir"].as_str().unwrap_or("/");
        return at(&format!("{directory}/{word}"));
    }
    let variables = config["Env"].as_array().map_or(&[][..], Vec::as_slice);
    let path = variables
        .iter()
        .filter_map(|line| line.as_str()?.strip_prefix("PATH="))
        .next_back();
    let path = path.unwrap_or(PATH);
    let found = path
        .split(':')
        .find_map(|directory| at(&format!("{directory}/{word}")).ok());
    found.ok_or_else(|| format!("there is no {word} in {path}"))
}

/// The bytes of one file, by its number: the layers are gone through once more.
fn content(store: &Store, claim: &Claim, number: usize) -> Result<Vec<u8>> {
    let mut count = 0;
    let mut bytes = Vec::new();
    for layer in 0..claim.layers.len() {
        let mut found = false;
        store.walk_layer(claim, layer, &Bounds::default(), &mut |item| {
            if matches!(item.kind, Kind::File(_)) {
                if count == number {
                    found = true;
                    std::io::Read::read_to_end(&mut std::io::Read::take(item.content, LARGEST_FILE), &mut bytes)?;
                }
                count += 1;
            }
            Ok(())
        })?;
        if found {
            return Ok(bytes);
        }
    }
    Err(Error::new(format!("{} changed while it was read", claim.title())).hint("run again"))
}

/// The base that an image is on: by the label that says where that came from, else by the name that `cargo xtask image` gives it.
/// The label is `scratch`, `Debian trixie armel, 7 packages`, or a reference such as `docker.io/library/alpine:3.24@sha256:...`.
fn base(claim: &Claim, name: &str) -> Option<Base> {
    let said = claim.label(BASE).unwrap_or_default();
    let first = said.split([' ', '@']).next().unwrap_or_default();
    let last = first.rsplit('/').next().unwrap_or_default();
    let word = last.split(':').next().unwrap_or_default();
    let by_label = Base::ALL
        .into_iter()
        .find(|base| base.name().eq_ignore_ascii_case(word));
    by_label.or_else(|| Base::ALL.into_iter().find(|base| name.starts_with(base.name())))
}

/// The whole audit, as before an image is written.
#[allow(clippy::too_many_arguments)]
fn full(
    cx: &Cx,
    platform: Platform,
    claim: &Claim,
    name: &str,
    path: &str,
    bytes: Vec<u8>,
    how: &How<'_>,
    owners: &Owners,
) -> Result<Report> {
    let code = CodePolicy {
        strict: how.strict,
        // Of every program for that chip, whoever made it; waivers are for ours.
        allowed: how.policy.allowed(platform),
        ..CodePolicy::default()
    };
    let file = format!("{name}/{path}");
    let base = base(claim, name).ok_or_else(|| {
        format!("neither the label {BASE} nor the beginning of the name {name} says a base that is known")
    });
    let triple = claim.label(TRIPLE).unwrap_or_default();
    let target =
        Target::from_triple(triple).ok_or_else(|| format!("the label {TRIPLE} names no known target: {triple:?}"));
    let (base, target) = match (base, target) {
        (Ok(base), Ok(target)) => (base, target),
        (Err(reason), _) | (_, Err(reason)) => {
            cx.ui.warn(&format!(
                "{file}: how it is linked (interpreter, libraries, glibc) was not checked: {reason}"
            ));
            return Ok(inspect_with(&bytes, &file, platform, None, &[], &code));
        }
    };
    let glibc = claim
        .label("xtask.base.packages")
        .unwrap_or_default()
        .split(' ')
        .find_map(|package| package.strip_prefix("libc6="));
    let waivers: Vec<Waiver> = match how.strict {
        true => Vec::new(),
        false => how.policy.waivers(target.triple),
    };
    let expectation = Expectation {
        file,
        platform,
        target,
        needed_allowed: how.policy.needed(base).to_vec(),
        glibc: glibc.or_else(|| owners.version("libc6")).map(str::to_owned),
        waivers,
    };
    // Of a program that was compiled here there is one with names, which tells more.
    let record = Record::find(cx, &bytes)?;
    let named = match &record {
        Some(record) => record.program()?,
        None => None,
    };
    let result = match (&record, named) {
        (Some(record), Some(named)) => audited(cx, how.policy, &named, &expectation, record, how.strict)?,
        _ => {
            let code = CodePolicy {
                waivers: how.policy.code_waivers(platform),
                ..code
            };
            audit_with(bytes, &expectation, &code)
        }
    };
    Ok(match result {
        Ok(binary) => binary.report().clone(),
        Err(report) => *report,
    })
}
