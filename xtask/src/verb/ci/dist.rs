//! What a release hands out for each base: archives for `docker load`, verdicts, sizes, checksums; made, audited and booted.

use std::collections::BTreeSet;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::Path;

use super::sums;
use crate::cli::{BootArgs, DistArgs, ImageArgs, SizeArgs};
use crate::cx::Cx;
use crate::error::{Context, Error, Result};
use crate::oci::Destination;
use crate::plan::image_tag;
use crate::policy::BuilderChoice;
use crate::release::Row;
use crate::report::{Report, table};
use crate::target::Platform;
use crate::verb::{Outcome, boot, image, plan, policy, size};

/// Makes everything for each base. A base whose image is refused, does not boot or is over its budget leaves no list of
/// checksums, so nothing of it can be released.
pub fn run(cx: &Cx, args: &DistArgs, builder: Option<BuilderChoice>) -> Result<Outcome> {
    let policy = policy(cx)?;
    let release = plan::resolve(cx, &policy)?;
    let rows: Vec<&Row> = release
        .matrix
        .include
        .iter()
        .filter(|row| args.bases.is_empty() || args.bases.contains(&row.base))
        .collect();
    if let Some(base) = args.bases.iter().find(|base| rows.iter().all(|row| row.base != **base)) {
        return Err(Error::new(format!("{base} is not a base of the release"))
            .hint("`[release]` of xtask.toml has them; `cargo xtask plan` shows them"));
    }
    let out = std::path::absolute(&args.out).context(|| format!("cannot tell where {} is", args.out.display()))?;
    fs::create_dir_all(&out).context(|| format!("cannot make {}", args.out.display()))?;
    let mut outcome = Outcome::Fine;
    for row in rows {
        let stem = format!(
            "{}-{}-{}",
            policy.image.name.replace('/', "-"),
            release.version,
            row.base
        );
        if of_base(cx, args, builder, row, &stem, &out)? == Outcome::Findings {
            cx.ui.warn(&format!("{}: not fit for a release", row.base));
            outcome = Outcome::Findings;
        }
    }
    Ok(outcome)
}

fn of_base(
    cx: &Cx,
    args: &DistArgs,
    builder: Option<BuilderChoice>,
    row: &Row,
    stem: &str,
    out: &Path,
) -> Result<Outcome> {
    let list = format!("{stem}{}", sums::LIST);
    // What an earlier run vouched for it does not vouch for any longer.
    match fs::remove_file(out.join(&list)) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(Error::from(error).context(format!("cannot remove {list}")));
        }
        _ => {}
    }
    let mut files = BTreeSet::new();
    let mut layouts = Vec::new();
    for &platform in &row.platforms {
        let archive = format!("{stem}-{}.tar", platform.slug());
        let layout = format!("target/images/{}", image_tag(row.base, platform));
        let wanted = ImageArgs {
            bases: vec![row.base],
            platforms: vec![platform],
            destinations: vec![
                Destination::OciLayout(layout.clone()),
                Destination::DockerArchive(out.join(&archive).display().to_string()),
            ],
            builder,
            ..ImageArgs::default()
        };
        if image::run(cx, &wanted)? == Outcome::Findings {
            return Ok(Outcome::Findings);
        }
        files.insert(format!("{archive}.audit.json"));
        files.extend(attestations(out, &archive)?);
        files.insert(archive);
        layouts.push(format!("oci:{layout}"));
        if platform == Platform::ArmV6
            && !args.no_boot
            && boot::run(cx, &boot_check(row, platform))? == Outcome::Findings
        {
            return Ok(Outcome::Findings);
        }
    }
    let (save, html) = (format!("{stem}-size.json"), format!("{stem}-size.html"));
    let sizes = SizeArgs {
        layouts,
        html: Some(out.join(&html)),
        save: Some(out.join(&save)),
        ..SizeArgs::default()
    };
    let affordable = size::run(cx, &sizes)?;
    summarise(cx, row, &out.join(&save))?;
    if affordable == Outcome::Findings {
        return Ok(Outcome::Findings);
    }
    files.extend([save, html]);
    sums::write(out, &list, &files)?;
    cx.ui.step("Written", &format!("{} files and {list}", files.len()));
    Ok(Outcome::Fine)
}

/// SBOM and provenance of an archive: files beside it instead of a directory, because a release page has no directories.
fn attestations(out: &Path, archive: &str) -> Result<Vec<String>> {
    let dir = out.join(format!("{archive}.attestations"));
    let mut names = Vec::new();
    for entry in fs::read_dir(&dir).context(|| format!("cannot read {}", dir.display()))? {
        let path = entry?.path();
        let file = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        // DIGEST.spdx.json, DIGEST.provenance.json
        let kind = file
            .split_once('.')
            .context(|| format!("{} is no attestation", path.display()))?
            .1;
        let name = format!("{archive}.{kind}");
        fs::rename(&path, out.join(&name)).context(|| format!("cannot move {}", path.display()))?;
        names.push(name);
    }
    fs::remove_dir(&dir).context(|| format!("cannot remove {}", dir.display()))?;
    if names.len() != 2 {
        return Err(Error::new(format!(
            "{archive} has {} attestations, not an SBOM and a provenance",
            names.len()
        )));
    }
    Ok(names)
}

fn boot_check(row: &Row, platform: Platform) -> BootArgs {
    BootArgs {
        base: row.base,
        platform,
        check: true,
        port: None,
        admin_port: None,
        fresh: false,
        env: Vec::new(),
        wait: 600,
        debian_mirror: None,
        refresh: false,
        json: false,
        args: Vec::new(),
    }
}

/// In GitHub Actions, the sizes as part of the page of the run.
fn summarise(cx: &Cx, row: &Row, report: &Path) -> Result<()> {
    let Some(file) = std::env::var_os("GITHUB_STEP_SUMMARY").filter(|file| !file.is_empty()) else {
        return Ok(());
    };
    let text = fs::read(report).context(|| format!("cannot read {}", cx.show(report)))?;
    let report = Report::from_json(&text).map_err(Error::new)?;
    let text = format!("### {}\n\n```text\n{}\n```\n\n", row.base, table(&report).trim_end());
    OpenOptions::new()
        .append(true)
        .create(true)
        .open(&file)
        .and_then(|mut file| file.write_all(text.as_bytes()))
        .context(|| format!("cannot write {} (GITHUB_STEP_SUMMARY)", Path::new(&file).display()))
}
