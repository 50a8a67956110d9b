//! docker/bases.toml: the sources of each base, in order. From text to values, every unknown key refused.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::target::Base;

/// Path of the file in the workspace.
pub const FILE: &str = "docker/bases.toml";

/// The sources of all bases.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Catalogue(BTreeMap<Base, Vec<Source>>);

/// Where a base can be had.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Source {
    /// An image of a registry.
    Registry {
        /// As for docker: `docker.io/library/alpine:3.24`.
        reference: String,
    },
    /// Alpine's root file system.
    Minirootfs {
        /// URL below which the branches lie.
        mirror: String,
        /// `v3.24`, or `edge`.
        branch: String,
    },
    /// Debian's packages through apt, from the mirror that apt is configured with.
    DebianArchive,
    /// Raspbian's packages.
    RaspbianArchive {
        /// URLs below which `dists` lies, in the order in which they are tried.
        mirrors: Vec<String>,
    },
    /// glibc from Debian's source, compiled here.
    RaspbianRebuilt,
}

impl fmt::Display for Source {
    /// What identifies it in the lock. A mirror does not: the same files lie on all of them.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Source::Registry { reference } => write!(f, "registry {reference}"),
            Source::Minirootfs { branch, .. } => write!(f, "minirootfs {branch}"),
            Source::DebianArchive => f.write_str("debian-archive"),
            Source::RaspbianArchive { .. } => f.write_str("raspbian-archive"),
            Source::RaspbianRebuilt => f.write_str("raspbian-rebuilt"),
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Section {
    source: Vec<Source>,
}

impl Catalogue {
    /// Parses docker/bases.toml. The error names line and key.
    pub fn parse(text: &str) -> Result<Catalogue, String> {
        let sections: BTreeMap<Base, Section> = toml::from_str(text).map_err(|error| error.to_string())?;
        let mut catalogue = BTreeMap::new();
        for (base, section) in sections {
            let mut seen = Vec::new();
            for source in &section.source {
                let name = source.to_string();
                if !can_give(source, base) {
                    return Err(format!("[[{base}.source]]: `{name}` is not a source of {base}"));
                }
                if seen.contains(&name) {
                    return Err(format!("[[{base}.source]]: `{name}` stands there twice"));
                }
                check(source).map_err(|error| format!("[[{base}.source]] {name}: {error}"))?;
                seen.push(name);
            }
            catalogue.insert(base, section.source);
        }
        Ok(Catalogue(catalogue))
    }

    /// The sources of a base, in order; empty when there are none.
    pub fn sources(&self, base: Base) -> &[Source] {
        self.0.get(&base).map_or(&[], Vec::as_slice)
    }
}

fn can_give(source: &Source, base: Base) -> bool {
    match source {
        Source::Registry { .. } => base != Base::Scratch,
        Source::Minirootfs { .. } => base == Base::Alpine,
        Source::DebianArchive => base == Base::Debian,
        Source::RaspbianArchive { .. } | Source::RaspbianRebuilt => base == Base::Raspbian,
    }
}

fn check(source: &Source) -> Result<(), String> {
    match source {
        Source::Registry { reference } if reference.contains('@') => Err(format!(
            "`{reference}` has a digest: write the tag here, the digest belongs to {}",
            super::lock::FILE
        )),
        Source::Minirootfs { mirror, branch } => {
            is_mirror(mirror)?;
            let plain = |c: char| c.is_ascii_alphanumeric() || ".-_".contains(c);
            match !branch.is_empty() && !branch.starts_with('.') && branch.chars().all(plain) {
                true => Ok(()),
                false => Err(format!("`{branch}` is not a branch of Alpine: v3.24, edge")),
            }
        }
        Source::RaspbianArchive { mirrors } if mirrors.is_empty() => Err("`mirrors` is empty".to_owned()),
        Source::RaspbianArchive { mirrors } => mirrors.iter().try_for_each(|mirror| is_mirror(mirror)),
        _ => Ok(()),
    }
}

/// Whether a text can be the URL of a mirror; for flags and variables as well.
pub fn is_mirror(url: &str) -> Result<(), String> {
    let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
    match rest {
        Some(rest) if !rest.is_empty() && !url.contains(|c: char| c.is_whitespace() || c.is_control()) => Ok(()),
        _ => Err(format!(
            "`{}` is not the URL of a mirror: https://HOST/PATH",
            crate::error::redact(url)
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = include_str!("../../../docker/bases.toml");

    #[test]
    fn every_base_but_scratch_has_a_source_in_this_repository() {
        let catalogue = Catalogue::parse(TEXT).unwrap();
        for base in Base::ALL {
            assert_eq!(catalogue.sources(base).is_empty(), base == Base::Scratch, "{base}");
        }
        let names: Vec<String> = catalogue
            .sources(Base::Alpine)
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(names, ["registry docker.io/library/alpine:3.24", "minirootfs v3.24"]);
    }

    #[test]
    fn what_makes_no_sense_is_refused_with_its_place() {
        let registry = "kind = \"registry\"\nreference = \"x\"\n";
        for (text, wanted) in [
            (
                "[[fedora.source]]\nkind = \"debian-archive\"".to_owned(),
                "unknown variant `fedora`",
            ),
            ("[[debian.source]]\nkind = \"ftp\"".to_owned(), "unknown variant `ftp`"),
            (
                "[[alpine.source]]\nkind = \"debian-archive\"".to_owned(),
                "is not a source of alpine",
            ),
            (format!("[[scratch.source]]\n{registry}"), "is not a source of scratch"),
            (
                format!("[[alpine.source]]\n{registry}[[alpine.source]]\n{registry}"),
                "twice",
            ),
            (
                format!("[[alpine.source]]\n{registry}colour = 1"),
                "unknown field `colour`",
            ),
            (
                "[[alpine.source]]\nkind = \"minirootfs\"\nmirror = \"ftp://x\"\nbranch = \"v3\"".to_owned(),
                "not the URL of a mirror",
            ),
            (
                "[[alpine.source]]\nkind = \"minirootfs\"\nmirror = \"https://x\"\nbranch = \"../v3\"".to_owned(),
                "not a branch",
            ),
            (
                "[[raspbian.source]]\nkind = \"raspbian-archive\"\nmirrors = []".to_owned(),
                "`mirrors` is empty",
            ),
            (
                "[[alpine.source]]\nkind = \"registry\"\nreference = \"a@sha256:0\"".to_owned(),
                "has a digest",
            ),
        ] {
            let error = Catalogue::parse(&text).unwrap_err();
            assert!(error.contains(wanted), "{text}: {error}");
        }
    }
}
