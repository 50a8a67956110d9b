//! What a release consists of: version, tag, and the images of each base. Pure; `cargo xtask plan` prints it, and the workflows
//! take their matrix from it.

use std::fmt::Write;

use serde::{Deserialize, Serialize};

use crate::policy::ReleasePolicy;
use crate::target::{Base, Platform};

/// A release, as `[release]` of xtask.toml and the version of the workspace make it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Release {
    /// Version of the workspace (semver 2.0).
    pub version: String,
    /// The git tag of that version: `v` and the version.
    pub tag: String,
    /// Whether the version is a pre-release: it moves no floating tag.
    pub prerelease: bool,
    /// In the shape that GitHub's `strategy.matrix` takes.
    pub matrix: Matrix,
}

/// `strategy.matrix` of GitHub Actions: one job an entry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Matrix {
    /// One a base.
    pub include: Vec<Row>,
}

/// The images of one base.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Row {
    /// The base.
    pub base: Base,
    /// Its platforms, in the order of an index.
    pub platforms: Vec<Platform>,
}

/// The release of a version. Platforms for which a base does not exist are left out of its row.
///
/// # Errors
/// When a base of the policy has no platform left, in words for the user.
pub fn resolve(policy: &ReleasePolicy, version: &str) -> Result<Release, String> {
    let mut include: Vec<Row> = Vec::new();
    for &base in &policy.bases {
        if include.iter().any(|row| row.base == base) {
            return Err(format!("[release] bases of xtask.toml has {base} twice"));
        }
        let platforms: Vec<Platform> = base
            .platforms()
            .filter(|platform| policy.platforms.contains(platform))
            .collect();
        if platforms.is_empty() {
            return Err(format!(
                "[release] of xtask.toml: there is no base {base} for any of its platforms"
            ));
        }
        include.push(Row { base, platforms });
    }
    Ok(Release {
        version: version.to_owned(),
        tag: format!("v{version}"),
        // Semver 2.0, 9: a hyphen after the patch version; one behind `+` belongs to build metadata.
        prerelease: version.split('+').next().unwrap_or_default().contains('-'),
        matrix: Matrix { include },
    })
}

impl Release {
    /// What is wrong with a git tag, if it is not that of this version.
    pub fn refuse(&self, tag: &str) -> Option<String> {
        let name = tag.strip_prefix("refs/tags/").unwrap_or(tag);
        (name != self.tag).then(|| {
            format!(
                "the tag {name} is not that of version {}, which is {}",
                self.version, self.tag
            )
        })
    }

    /// In words, one line each.
    pub fn text(&self) -> String {
        let kind = if self.prerelease { ", a pre-release" } else { "" };
        let mut text = format!("version  {} (tag {}{kind})\n", self.version, self.tag);
        for row in &self.matrix.include {
            let platforms: Vec<String> = row.platforms.iter().map(Platform::to_string).collect();
            let _ = writeln!(text, "{:<8} {}", row.base.name(), platforms.join(", "));
        }
        text
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn policy(bases: &[Base]) -> ReleasePolicy {
        ReleasePolicy {
            bases: bases.to_vec(),
            platforms: vec![Platform::Amd64, Platform::ArmV6],
        }
    }

    #[test]
    fn a_base_has_the_platforms_that_exist_for_it_in_index_order() {
        let release = resolve(&policy(&[Base::Alpine, Base::Raspbian]), "1.2.3").unwrap();
        assert_eq!(
            release.text(),
            "version  1.2.3 (tag v1.2.3)\nalpine   linux/arm/v6, linux/amd64\nraspbian linux/arm/v6\n"
        );
        let json = serde_json::to_string(&release).unwrap();
        assert_eq!(
            json,
            r#"{"version":"1.2.3","tag":"v1.2.3","prerelease":false,"matrix":{"include":[{"base":"alpine","platforms":["linux/arm/v6","linux/amd64"]},{"base":"raspbian","platforms":["linux/arm/v6"]}]}}"#
        );
    }

    #[test]
    fn contradictions_are_refused() {
        let twice = resolve(&policy(&[Base::Alpine, Base::Alpine]), "1.2.3").unwrap_err();
        assert!(twice.contains("alpine twice"), "{twice}");
        let none = ReleasePolicy {
            bases: vec![Base::Raspbian],
            platforms: vec![Platform::Amd64],
        };
        assert!(resolve(&none, "1.2.3").unwrap_err().contains("raspbian"));
    }

    #[test]
    fn a_tag_is_the_version_or_refused() {
        let release = resolve(&policy(&[Base::Scratch]), "1.2.3-rc.1+x-y").unwrap();
        assert!(release.prerelease);
        assert_eq!(release.refuse("v1.2.3-rc.1+x-y"), None);
        assert_eq!(release.refuse("refs/tags/v1.2.3-rc.1+x-y"), None);
        let refusal = release.refuse("v1.2.3").unwrap();
        assert!(
            refusal.contains("v1.2.3 is not that of version 1.2.3-rc.1+x-y"),
            "{refusal}"
        );
        assert!(!resolve(&policy(&[Base::Scratch]), "1.2.3+x-y").unwrap().prerelease);
    }
}
