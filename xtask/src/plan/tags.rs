//! Under which tags a push publishes images. Pure: version, base and platforms in, names out.

use std::collections::BTreeSet;

use semver::Version;
use serde::{Deserialize, Serialize};

use crate::target::{Base, Platform};

/// The tags of the index of one base, and of its images.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tags {
    /// Names of one version, which do not move: `1.2.3-alpine`, and `1.2.3` for the default base.
    pub exact: Vec<String>,
    /// One for each image: `1.2.3-alpine-armv6`. Engines before 20.10 take the wrong image out of an index.
    pub platforms: Vec<(Platform, String)>,
    /// Names that move to the newest: `1.2-alpine`, `1-alpine`, `alpine`; `1.2`, `1` and `latest` for the default base.
    pub floating: Vec<String>,
}

impl Tags {
    /// All of them, those that move last.
    pub fn all(&self) -> impl Iterator<Item = &str> {
        let platforms = self.platforms.iter().map(|(_, tag)| tag);
        self.exact
            .iter()
            .chain(platforms)
            .chain(&self.floating)
            .map(String::as_str)
    }
}

/// The newest release in `there` that keeps a moving tag of `base` where it is: one that the tag stands for, too, and that is
/// newer than `version`. `1.2-alpine` and `alpine` stand for what is named `1.2.3-alpine`, `1.2` and `latest` for `1.2.3`.
/// Pre-releases move nothing, and keep nothing.
pub fn newer<'a>(tag: &str, version: &str, base: Base, there: &'a [String]) -> Option<&'a str> {
    let number = |text: &str| {
        let version = Version::parse(&text.replace('_', "+")).ok()?;
        let release = version.pre.is_empty();
        release.then_some([version.major, version.minor, version.patch])
    };
    let ours = number(version)?;
    let suffix = format!("-{base}");
    let based = tag == base.to_string() || tag.ends_with(&suffix);
    let stem = tag.strip_suffix(&suffix).unwrap_or(tag);
    // Of a word, all versions.
    let scope: Vec<u64> = stem.split('.').map_while(|part| part.parse().ok()).collect();
    let named = |other: &'a String| {
        let plain = || {
            let another = |base: &Base| other.ends_with(&format!("-{base}"));
            (!Base::ALL.iter().any(another)).then_some(other.as_str())
        };
        let stem = if based { other.strip_suffix(&suffix) } else { plain() };
        let number = number(stem?)?;
        (number > ours && number.starts_with(&scope)).then_some((number, other.as_str()))
    };
    there.iter().filter_map(named).max().map(|(_, tag)| tag)
}

/// Tags for `base`.
///
/// `asked` are the user's own (`--tag`): they take the place of the version and of all that moves, and stand without the base
/// when `plain` says so. Without them the version gives the names, and `plain` says that this is the default base.
///
/// A version before 1.0.0 has no name for its major version, which promises nothing; a pre-release moves nothing at all. `+`,
/// which no tag may have, becomes `_`.
///
/// # Errors
/// When the version is none, or a tag does not follow the grammar, in words for the user.
pub fn tags(version: &str, asked: &[String], base: Base, plain: bool, platforms: &[Platform]) -> Result<Tags, String> {
    let mut tags = Tags::default();
    let mut add = |stem: &str, floating: bool| {
        let list = if floating { &mut tags.floating } else { &mut tags.exact };
        list.push(format!("{stem}-{base}"));
        if plain {
            list.push(stem.to_owned());
        }
    };
    let mut exact: Vec<String> = asked.to_vec();
    if asked.is_empty() {
        let number = Version::parse(version)
            .map_err(|error| format!("the version `{version}` is not one of Semantic Versioning: {error}"))?;
        let whole = version.replace('+', "_");
        add(&whole, false);
        exact.push(whole);
        if number.pre.is_empty() {
            add(&format!("{}.{}", number.major, number.minor), true);
            if number.major > 0 {
                add(&number.major.to_string(), true);
            }
            tags.floating.push(base.to_string());
            if plain {
                tags.floating.push("latest".to_owned());
            }
        }
    } else {
        asked.iter().for_each(|tag| add(tag, false));
    }
    for stem in &exact {
        let named = platforms
            .iter()
            .map(|platform| (*platform, format!("{stem}-{base}-{}", platform.slug())));
        tags.platforms.extend(named);
    }
    let mut seen = BTreeSet::new();
    tags.exact.retain(|tag| seen.insert(tag.clone()));
    tags.platforms.retain(|(_, tag)| seen.insert(tag.clone()));
    let wrong = tags
        .all()
        .find(|tag| !crate::oci::reference::is_tag(tag))
        .map(str::to_owned);
    match wrong {
        Some(wrong) => Err(format!(
            "`{wrong}` cannot be a tag: at most 128 letters, digits, `_`, `.` and `-`, not starting with `.` or `-`"
        )),
        None => Ok(tags),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOTH: [Platform; 2] = [Platform::ArmV6, Platform::Arm64];

    fn shown(version: &str, asked: &[&str], base: Base, plain: bool) -> String {
        let asked: Vec<String> = asked.iter().map(|tag| (*tag).to_owned()).collect();
        let tags = tags(version, &asked, base, plain, &BOTH).unwrap();
        let platforms: Vec<&str> = tags.platforms.iter().map(|(_, tag)| tag.as_str()).collect();
        format!(
            "{} | {} | {}",
            tags.exact.join(" "),
            platforms.join(" "),
            tags.floating.join(" ")
        )
    }

    #[test]
    fn a_release_has_names_that_move() {
        assert_eq!(
            shown("1.2.3", &[], Base::Alpine, false),
            "1.2.3-alpine | 1.2.3-alpine-armv6 1.2.3-alpine-arm64 | 1.2-alpine 1-alpine alpine"
        );
        assert_eq!(
            shown("1.2.3", &[], Base::Scratch, true),
            "1.2.3-scratch 1.2.3 | 1.2.3-scratch-armv6 1.2.3-scratch-arm64 | 1.2-scratch 1.2 1-scratch 1 scratch latest"
        );
    }

    #[test]
    fn what_is_no_release_moves_nothing() {
        assert_eq!(
            shown("1.2.3-rc.1+git.5", &[], Base::Scratch, true),
            "1.2.3-rc.1_git.5-scratch 1.2.3-rc.1_git.5 | 1.2.3-rc.1_git.5-scratch-armv6 1.2.3-rc.1_git.5-scratch-arm64 | "
        );
        assert_eq!(
            shown("0.1.0", &[], Base::Scratch, true),
            "0.1.0-scratch 0.1.0 | 0.1.0-scratch-armv6 0.1.0-scratch-arm64 | 0.1-scratch 0.1 scratch latest",
            "0 promises nothing"
        );
    }

    #[test]
    fn a_moving_tag_does_not_go_back() {
        let there: Vec<String> = [
            "1.2.10",
            "1.2.9",
            "1.2.10-scratch",
            "1.3.0-scratch",
            "1.3.0-alpine",
            "2.0.0_b7",
            "2.0.0_b7-scratch",
            "3.0.0-rc.1",
            "3.0.0-rc.1-scratch",
            "9.9.9-alpine",
            "1.2.11-scratch-armv6",
            "latest",
            "sha256-00",
            "4",
        ]
        .map(str::to_owned)
        .into();
        let newer = |tag, version| newer(tag, version, Base::Scratch, &there);
        assert_eq!(newer("1.2", "1.2.9"), Some("1.2.10"), "numbers, not letters");
        assert_eq!(newer("1.2", "1.2.10"), None, "the same version is pushed again");
        assert_eq!(newer("1.2-scratch", "1.2.11"), None, "the newest of its own row");
        assert_eq!(newer("1-scratch", "1.2.11"), Some("1.3.0-scratch"));
        assert_eq!(newer("1", "1.2.11"), None, "1.3.0 is there for scratch alone");
        assert_eq!(newer("latest", "1.2.11"), Some("2.0.0_b7"));
        assert_eq!(newer("scratch", "1.2.11"), Some("2.0.0_b7-scratch"));
        assert_eq!(
            newer("latest", "2.0.1+x"),
            None,
            "neither a pre-release nor another base keeps it"
        );
        assert_eq!(newer("0.1", "0.1.0"), None);
        assert_eq!(newer("latest", "no version"), None);
    }

    #[test]
    fn the_users_own_tags_stand_alone() {
        assert_eq!(
            shown("1.2.3", &["nightly", "nightly"], Base::Debian, true),
            "nightly-debian nightly | nightly-debian-armv6 nightly-debian-arm64 | "
        );
        assert_eq!(
            shown("no version", &["x"], Base::Debian, false),
            "x-debian | x-debian-armv6 x-debian-arm64 | "
        );
    }

    #[test]
    fn what_no_registry_takes_is_refused_before_the_work() {
        let error = |version: &str, asked: &[String]| tags(version, asked, Base::Alpine, false, &BOTH).unwrap_err();
        assert!(error("one", &[]).contains("`one` is not one of Semantic Versioning"));
        assert!(error("1.0.0", &["a b".to_owned()]).contains("`a b-alpine` cannot be a tag"));
        let long = "x".repeat(120);
        assert!(
            error("1.0.0", std::slice::from_ref(&long)).contains("at most 128"),
            "with base and platform it is too long"
        );
    }
}
