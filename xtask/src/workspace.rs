//! Facts of the workspace that end up in an image: version, revision, time. Read once, before the plan.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::error::{Context, Error, Result};
use crate::shell::Shell;

/// What the source says about itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Facts {
    /// Version of the workspace, as in the root Cargo.toml.
    pub version: String,
    /// Git commit, `-dirty` appended when files that git tracks differ from it; `None` outside git.
    pub revision: Option<String>,
    /// Seconds since 1970 that stand for "now" in every output: SOURCE_DATE_EPOCH, else the commit's time, else 0.
    pub source_date_epoch: u64,
}

/// The end of the year 9999: times in images have four digits for the year.
const LAST_SECOND: u64 = 253_402_300_799;

/// Finds the workspace: the nearest directory upwards whose xtask.toml and Cargo.toml are there.
pub fn find_root(start: &Path) -> Result<PathBuf> {
    start
        .ancestors()
        .find(|dir| dir.join("xtask.toml").is_file() && dir.join("Cargo.toml").is_file())
        .map(Path::to_owned)
        .context(|| {
            format!(
                "{} is not inside the workspace: no xtask.toml beside a Cargo.toml upwards from there",
                start.display()
            )
        })
        .hint("run `cargo xtask` inside a clone of the repository")
}

/// Reads the facts. `epoch` is SOURCE_DATE_EPOCH if it is set.
pub fn facts(shell: &Shell, root: &Path, epoch: Option<&str>) -> Result<Facts> {
    let manifest = std::fs::read_to_string(root.join("Cargo.toml")).context(|| "cannot read the root Cargo.toml")?;
    let version = workspace_version(&manifest)?;
    let epoch = match epoch {
        Some(text) => match text.parse::<u64>() {
            Ok(seconds) if seconds <= LAST_SECOND => Some(seconds),
            _ => {
                return Err(Error::new(format!(
                    "SOURCE_DATE_EPOCH is `{text}`, not a number of seconds since 1970 and before the year 10000"
                ))
                .hint("unset it to use the time of the commit"));
            }
        },
        None => None,
    };
    let git = &|args: &[&str]| {
        let output = shell
            .command("git")
            .args(args)
            .current_dir(root)
            .env("LC_ALL", "C")
            // `git status` would write to the index, and fight over it with the user's own git.
            .env("GIT_OPTIONAL_LOCKS", "0")
            .output()
            .ok()?;
        output.status.success().then(|| output.text().trim().to_owned())
    };
    // What git does not know, but COPY and the compiler would take, makes the tree dirty as well. The questions take a while each, and
    // are asked at once.
    let asked: [&[&str]; 2] = [
        &["status", "--porcelain", "--untracked-files=no"],
        &["status", "--porcelain", "--untracked-files=all", "--", "app", "docker"],
    ];
    let (head, states) = std::thread::scope(|scope| {
        let states = asked.map(|args| scope.spawn(move || git(args)));
        let head = git(&["log", "-1", "--format=%H %ct"]);
        (head, states.map(|state| state.join().unwrap_or_default()))
    });
    let (revision, time) = match head.as_deref().and_then(|text| text.split_once(' ')) {
        Some((revision, time)) => {
            let dirty = states
                .iter()
                .any(|state| state.as_ref().is_none_or(|text| !text.is_empty()));
            (
                Some(format!("{revision}{}", if dirty { "-dirty" } else { "" })),
                time.parse().ok(),
            )
        }
        None => (None, None),
    };
    Ok(Facts {
        version,
        revision,
        source_date_epoch: epoch.or(time).unwrap_or(0),
    })
}

fn workspace_version(manifest: &str) -> Result<String> {
    #[derive(Deserialize)]
    struct Manifest {
        workspace: Workspace,
    }
    #[derive(Deserialize)]
    struct Workspace {
        package: Package,
    }
    #[derive(Deserialize)]
    struct Package {
        version: String,
    }
    let manifest: Manifest =
        toml::from_str(manifest).context(|| "the root Cargo.toml has no workspace.package.version")?;
    Ok(manifest.workspace.package.version)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_git_does_not_know_makes_what_is_built_dirty() {
        let dir = tempfile::tempdir().unwrap();
        let shell = Shell::default();
        let git = |args: &[&str]| {
            let who = ["-c", "user.name=a", "-c", "user.email=a@example.org"];
            shell
                .command("git")
                .args(who)
                .args(args)
                .current_dir(dir.path())
                .read()
                .unwrap()
        };
        std::fs::write(
            dir.path().join("Cargo.toml"),
            "[workspace.package]\nversion = \"1.2.3\"\n",
        )
        .unwrap();
        git(&["init", "-q"]);
        git(&["add", "."]);
        git(&["commit", "-qm", "x"]);
        let revision = || super::facts(&shell, dir.path(), None).unwrap().revision.unwrap();
        std::fs::write(dir.path().join("notes"), "not built").unwrap();
        assert!(!revision().ends_with("-dirty"));
        std::fs::create_dir_all(dir.path().join("docker/rootfs")).unwrap();
        std::fs::write(dir.path().join("docker/rootfs/.page.swp"), "copied").unwrap();
        assert!(revision().ends_with("-dirty"));
    }

    #[test]
    fn outside_git_the_epoch_is_given_or_zero() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(
            dir.path().join("Cargo.toml"),
            "[workspace.package]\nversion = \"1.2.3\"\n",
        )
        .unwrap();
        // A directory above may be a repository (a test run inside target/, say): keep git from looking there.
        let shell = Shell::default();
        let facts = super::facts(&shell, dir.path(), Some("86400")).unwrap();
        assert_eq!((facts.version.as_str(), facts.source_date_epoch), ("1.2.3", 86400));
        let error = super::facts(&shell, dir.path(), Some("yesterday")).unwrap_err();
        assert!(error.to_string().contains("`yesterday`"));
        for text in ["", "-1", "1e9", "253402300800"] {
            assert!(super::facts(&shell, dir.path(), Some(text)).is_err(), "{text}");
        }
    }
}
