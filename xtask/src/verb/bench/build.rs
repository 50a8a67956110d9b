//! `cargo xtask image` against the cargo build inside it.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::figures::{Goal, Row, Unit, alternate};
use super::{DIR, PLATFORM, elsewhere, timed};
use crate::cli::ImageArgs;
use crate::compile;
use crate::cx::Cx;
use crate::error::{Context, Result};
use crate::policy::BuilderChoice;
use crate::shell::Command;
use crate::target::Base;
use crate::toolchain::rust_std::{self, Detected};
use crate::verb::{image, policy};

/// The line that an edit adds or takes away. It shifts the line numbers in every panic message below it.
const EDIT: &str = "// `cargo xtask bench` adds this line and takes it away again.\n";

/// An image when nothing has changed since the last one.
pub fn noop(cx: &Cx, runs: u16) -> Result<Row> {
    cx.ui.step("Measuring", "an image when nothing has changed");
    let ours = whole(cx, cx, "host");
    quiet(&ours)?;
    let theirs = bare(cx)?;
    quiet(&theirs)?;
    let (ours, theirs) = alternate(runs, || timed(|| quiet(&ours)), || timed(|| quiet(&theirs)))?;
    let goal = Goal::Relative {
        times: 2.0,
        more: Some(0.5),
    };
    Ok(Row::new(
        "no-op image",
        Unit::Seconds,
        ours,
        Some(("cargo build", theirs)),
        Some(goal),
        format!(
            "`cargo xtask image --base scratch --platform {PLATFORM}`, through cargo, from start to exit, against the `cargo build` \
             that it runs, with the same arguments; both were run once before"
        ),
    ))
}

/// An image after a one-line edit, in a copy of the workspace with a target directory of its own.
pub fn edit(cx: &Cx, runs: u16) -> Result<Row> {
    let what = "one-line edit";
    let goal = Some(Goal::Relative {
        times: 1.05,
        more: None,
    });
    let Some((copy, file)) = copied(cx)? else {
        let note = UNTRACKED;
        return Ok(Row::new(
            what,
            Unit::Seconds,
            None,
            Some(("cargo build", None)),
            goal,
            note,
        ));
    };
    let shown = file.strip_prefix(&copy).unwrap_or(&file).display().to_string();
    let there = elsewhere(cx, copy);
    cx.ui.step(
        "Compiling",
        &format!("a copy of the workspace in {DIR}/src; the first time takes minutes"),
    );
    let ours = whole(cx, &there, "host");
    quiet(&ours)?;
    let theirs = bare(&there)?;
    quiet(&theirs)?;
    cx.ui
        .step("Measuring", &format!("an image after a line of {shown} has changed"));
    let (ours, theirs) = alternate(
        runs,
        || flip(&file).and_then(|()| timed(|| quiet(&ours))),
        || flip(&file).and_then(|()| timed(|| quiet(&theirs))),
    )?;
    Ok(Row::new(
        what,
        Unit::Seconds,
        ours,
        Some(("cargo build", theirs)),
        goal,
        format!(
            "the same two commands, each after a comment line was added to or taken from {shown} in {DIR}/src; xtask itself is up to date"
        ),
    ))
}

/// Why there is nothing to edit.
pub(super) const UNTRACKED: &str = "the copy that is edited is made of what git tracks, and git does not answer here";

/// A copy of the workspace, and the file in it that is edited; `None` where git does not say what the workspace is.
pub(super) fn copied(cx: &Cx) -> Result<Option<(PathBuf, PathBuf)>> {
    let Some(files) = tracked(cx) else { return Ok(None) };
    let copy = cx.root.join(DIR).join("src");
    synchronise(&cx.root, &copy, &files)?;
    let package = policy(cx)?.image.package;
    let file = largest_source(&copy, &files, &package)?;
    Ok(Some((copy, file)))
}

/// `cargo xtask image` as the user of `here` types it, in the workspace `there`. The alias is spelled out, so that a copy is
/// worked on by the xtask of the original.
pub(super) fn whole(here: &Cx, there: &Cx, builder: &str) -> Command {
    let mut command = compile::cargo(here)
        .args(["run", "--quiet", "--package", "xtask"])
        .arg("--manifest-path")
        .arg(here.root.join("Cargo.toml"));
    if here.offline {
        command = command.arg("--offline");
    }
    command = command.args([
        "--",
        "image",
        "--builder",
        builder,
        "--base",
        Base::Scratch.name(),
        "--platform",
    ]);
    command = command
        .arg(PLATFORM.to_string())
        .arg("--cache-dir")
        .arg(here.cache.root());
    if here.offline {
        command = command.arg("--offline");
    }
    command.current_dir(&there.root)
}

/// The build inside it.
pub(super) fn bare(cx: &Cx) -> Result<Command> {
    let wanted = ImageArgs {
        bases: vec![Base::Scratch],
        platforms: vec![PLATFORM],
        builder: Some(BuilderChoice::Host),
        ..ImageArgs::default()
    };
    let (policy, compiler) = (policy(cx)?, Detected::default());
    let plan = image::resolve(cx, &wanted, &policy, &compiler)?;
    let compiler = compiler.get(cx)?;
    let planned = plan.compile.first().context(|| "the plan compiles nothing")?;
    let std = rust_std::provision(cx, compiler, &planned.triple, planned.std)?;
    compile::build_command(cx, &plan, planned, std, compiler, &[])
}

/// Runs it with its output kept, and shown when it fails.
pub(super) fn quiet(command: &Command) -> Result<()> {
    command.read().map(drop)
}

/// Names of the files that git tracks and that are there.
fn tracked(cx: &Cx) -> Option<BTreeSet<String>> {
    let git = cx
        .shell
        .command("git")
        .args(["ls-files", "-z"])
        .current_dir(&cx.root)
        .read()
        .ok()?;
    let names = git.split('\0').filter(|name| cx.root.join(name).is_file());
    Some(names.map(str::to_owned).filter(|name| !name.is_empty()).collect())
}

/// Makes `copy` hold these files and no others, writing only what differs: cargo goes by the time of the last change.
fn synchronise(root: &Path, copy: &Path, files: &BTreeSet<String>) -> Result<()> {
    for name in files {
        let (from, to) = (root.join(name), copy.join(name));
        let bytes = fs::read(&from).context(|| format!("cannot read {}", from.display()))?;
        if fs::read(&to).is_ok_and(|old| old == bytes) {
            continue;
        }
        if let Some(dir) = to.parent() {
            fs::create_dir_all(dir).context(|| format!("cannot create {}", dir.display()))?;
        }
        fs::copy(&from, &to).context(|| format!("cannot write {}", to.display()))?;
    }
    let mut left = Vec::new();
    surplus(copy, "", files, &mut left)?;
    for path in left {
        fs::remove_file(&path).context(|| format!("cannot remove {}", path.display()))?;
    }
    Ok(())
}

/// Files of the copy that are not in the original any more; what building leaves there is not looked at.
fn surplus(dir: &Path, name: &str, files: &BTreeSet<String>, found: &mut Vec<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(dir).context(|| format!("cannot read {}", dir.display()))? {
        let entry = entry?;
        let own = entry.file_name().to_string_lossy().into_owned();
        let below = if name.is_empty() { own } else { format!("{name}/{own}") };
        if matches!(below.as_str(), "target" | ".tools") {
            continue;
        }
        if entry.file_type()?.is_dir() {
            surplus(&entry.path(), &below, files, found)?;
        } else if !files.contains(&below) {
            found.push(entry.path());
        }
    }
    Ok(())
}

/// The largest source file of a package: most of the program is below its first line.
fn largest_source(root: &Path, files: &BTreeSet<String>, package: &str) -> Result<PathBuf> {
    #[derive(Deserialize)]
    struct Manifest {
        package: Option<Package>,
    }
    #[derive(Deserialize)]
    struct Package {
        name: String,
    }
    let is_its = |file: &&String| {
        let text = fs::read_to_string(root.join(file)).unwrap_or_default();
        let manifest = toml::from_str::<Manifest>(&text).ok();
        manifest
            .and_then(|manifest| manifest.package)
            .is_some_and(|found| found.name == package)
    };
    let manifests = files.iter().filter(|file| file.ends_with("Cargo.toml"));
    let manifest = manifests
        .into_iter()
        .find(is_its)
        .context(|| format!("no Cargo.toml here is of package {package}"))?;
    let source = format!("{}src/", manifest.trim_end_matches("Cargo.toml"));
    files
        .iter()
        .filter(|file| file.starts_with(&source) && file.ends_with(".rs"))
        .map(|file| root.join(file))
        .max_by_key(|file| file.metadata().map_or(0, |data| data.len()))
        .context(|| format!("{source} has no source file"))
}

/// Adds the line at the top, or takes it away.
pub(super) fn flip(file: &Path) -> Result<()> {
    let text = fs::read_to_string(file).context(|| format!("cannot read {}", file.display()))?;
    let text = match text.strip_prefix(EDIT) {
        Some(rest) => rest.to_owned(),
        None => format!("{EDIT}{text}"),
    };
    fs::write(file, text).context(|| format!("cannot write {}", file.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(dir: &Path, name: &str, text: &str) {
        let path = dir.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    #[test]
    fn the_copy_follows_the_original_and_keeps_what_was_built() {
        let dir = tempfile::tempdir().unwrap();
        let (root, copy) = (dir.path().join("a"), dir.path().join("b"));
        let files: BTreeSet<String> = ["Cargo.toml", "x/src/main.rs"].map(str::to_owned).into();
        put(&root, "Cargo.toml", "[package]\nname = 'blog'\n");
        put(&root, "x/src/main.rs", "new");
        put(&copy, "Cargo.toml", "[package]\nname = 'blog'\n");
        put(&copy, "x/src/main.rs", "old");
        put(&copy, "x/src/gone.rs", "");
        put(&copy, "target/built", "");
        let time = |name: &str| copy.join(name).metadata().unwrap().modified().unwrap();
        let before = time("Cargo.toml");
        synchronise(&root, &copy, &files).unwrap();
        assert_eq!(time("Cargo.toml"), before, "written although it was equal");
        assert_eq!(fs::read_to_string(copy.join("x/src/main.rs")).unwrap(), "new");
        assert!(!copy.join("x/src/gone.rs").exists());
        assert!(copy.join("target/built").exists());
    }

    #[test]
    fn the_edit_is_taken_back_by_the_next_one() {
        let dir = tempfile::tempdir().unwrap();
        let files: BTreeSet<String> = [
            "app/Cargo.toml",
            "app/src/a.rs",
            "app/src/b.rs",
            "x/Cargo.toml",
            "x/src/c.rs",
        ]
        .map(str::to_owned)
        .into();
        put(dir.path(), "app/Cargo.toml", "[package]\nname = 'blog'\n");
        put(dir.path(), "app/src/a.rs", "fn main() {}\n");
        put(dir.path(), "app/src/b.rs", "\n");
        put(dir.path(), "x/Cargo.toml", "[package]\nname = 'xtask'\n");
        put(
            dir.path(),
            "x/src/c.rs",
            "// longer than the other files, and of another package\n",
        );
        let file = largest_source(dir.path(), &files, "blog").unwrap();
        assert!(file.ends_with("app/src/a.rs"), "{file:?}");
        flip(&file).unwrap();
        assert!(fs::read_to_string(&file).unwrap().starts_with(EDIT));
        flip(&file).unwrap();
        assert_eq!(fs::read_to_string(&file).unwrap(), "fn main() {}\n");
        assert!(largest_source(dir.path(), &files, "server").is_err());
    }
}
