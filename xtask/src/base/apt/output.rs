//! Reading and writing apt's texts. Pure.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::{Archive, Deb};
use crate::base::sources::Mirrors;
use crate::error::{Context, Error, Result, redact};
use crate::shell::Output;

/// `Version, Date` of the release called `suite`. The alias of a release moves on with the next release, so what was signed
/// must be the release that was asked for, and so must its updates.
pub(super) fn signed_release(texts: &[String], suite: &str) -> Result<String> {
    let known = [
        suite.to_owned(),
        format!("{suite}-updates"),
        format!("{suite}-security"),
    ];
    let mut release = None;
    for text in texts {
        let field = |name: &str| {
            text.lines()
                .find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
                .unwrap_or_default()
                .trim()
        };
        let codename = field("Codename");
        if !known.iter().any(|name| name == codename) {
            return Err(Error::new(format!(
                "the mirror's signed release calls itself `{codename}`, not `{suite}`"
            )));
        }
        if codename == suite {
            release = Some(format!("{}, {}", field("Version"), field("Date")));
        }
    }
    release
        .context(|| format!("the mirror has no signed release that calls itself `{suite}`"))
        .hint("--debian-mirror URL names another mirror")
}

/// The lines in which apt complains, without credentials.
pub(super) fn complaints(output: &Output) -> String {
    let all = format!("{}\n{}", output.error_text(), output.text());
    let mut lines: Vec<&str> = all
        .lines()
        .filter_map(|line| line.strip_prefix("E: ").or_else(|| line.strip_prefix("W: ")))
        .map(str::trim)
        .collect();
    lines.dedup();
    if lines.is_empty() {
        lines = all.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    }
    lines.truncate(6);
    redact(&lines.join("; "))
}

/// dpkg status in which the omitted packages are installed, newer than anything, providing what the real ones provide.
pub(super) fn installed(shown: &str, omitted: &[&String], architecture: &str) -> String {
    let mut provides: BTreeMap<&str, String> = BTreeMap::new();
    let document = shown.parse::<deb822_fast::Deb822>().ok();
    for paragraph in document.iter().flat_map(deb822_fast::Deb822::iter) {
        if let (Some(name), Some(value)) = (paragraph.get("Package"), paragraph.get("Provides")) {
            provides.insert(name, value.split_whitespace().collect::<Vec<_>>().join(" "));
        }
    }
    omitted.iter().fold(String::new(), |mut text, name| {
        let _ = write!(
            text,
            "Package: {name}\nStatus: install ok installed\nArchitecture: {architecture}\nMulti-Arch: foreign\n\
             Version: 9999:0\nMaintainer: nobody\nDescription: left out of the image\n"
        );
        if let Some(value) = provides.get(name.as_str()) {
            let _ = writeln!(text, "Provides: {value}");
        }
        text.push('\n');
        text
    })
}

/// `Inst libc6 (2.41-12 Debian:13.7/stable [armel])` -> name and version.
pub(super) fn simulated_installs(text: &str) -> Vec<(String, String)> {
    text.lines()
        .filter_map(|line| {
            let (name, rest) = line.strip_prefix("Inst ")?.split_once(' ')?;
            let version = rest.split_once('(')?.1.split_whitespace().next()?;
            let name = name.split(':').next()?;
            Some((name.to_owned(), version.to_owned()))
        })
        .collect()
}

/// `'URI' name.deb 1234 MD5Sum:...` -> URI.
pub(super) fn printed_uris(text: &str) -> Vec<String> {
    text.lines()
        .filter_map(|line| Some(line.strip_prefix('\'')?.split_once('\'')?.0.to_owned()))
        .collect()
}

/// Joins what apt chose with the hashes of the signed index.
pub(super) fn described(
    shown: &str,
    chosen: &[(String, String)],
    uris: &[String],
    mirrors: &Mirrors,
) -> Result<Vec<Deb>> {
    let document: deb822_fast::Deb822 = shown
        .parse()
        .map_err(|error| Error::new(format!("cannot read what apt-cache printed: {error:?}")))?;
    let mut packages = Vec::new();
    for (name, version) in chosen {
        let deb = document
            .iter()
            .filter(|paragraph| {
                paragraph.get("Package") == Some(name.as_str()) && paragraph.get("Version") == Some(version.as_str())
            })
            .find_map(|paragraph| {
                let filename = paragraph.get("Filename")?.trim_start_matches("./");
                let archive = archive_of(filename, uris, mirrors)?;
                Some(Deb {
                    name: name.clone(),
                    version: version.clone(),
                    architecture: paragraph.get("Architecture")?.to_owned(),
                    archive,
                    filename: filename.to_owned(),
                    sha256: paragraph.get("SHA256")?.to_owned(),
                    size: paragraph.get("Size")?.parse().ok()?,
                })
            })
            .context(|| format!("apt chose {name} {version} but its index does not describe it"))?;
        packages.push(deb);
    }
    Ok(packages)
}

fn archive_of(filename: &str, uris: &[String], mirrors: &Mirrors) -> Option<Archive> {
    let decoded = |text: &str| {
        text.replace("%2b", "+")
            .replace("%2B", "+")
            .replace("%7e", "~")
            .replace("%7E", "~")
    };
    let served = |base: &str| {
        // apt leaves the credentials out of what it prints.
        let uri = format!("{}/{filename}", redact(base));
        uris.iter().any(|found| decoded(&redact(found)) == decoded(&uri))
    };
    match &mirrors.security {
        Some(security) if served(security) => Some(Archive::Security),
        _ => served(&mirrors.main).then_some(Archive::Main),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn apts_plan_is_joined_with_the_hashes_of_the_index() {
        let simulated = "NOTE: This is only a simulation!\n\
                         Inst libc6 (2.41-12 Debian:13.7/stable [armel]) []\n\
                         Inst zlib1g:armel [1:1.2] (1:1.3+b1 Debian-Security:13/stable [armel])\nConf libc6 (2.41-12)\n";
        let chosen = simulated_installs(simulated);
        assert_eq!(chosen[1], ("zlib1g".to_owned(), "1:1.3+b1".to_owned()));
        let uris = printed_uris(
            "'http://m.example/debian/pool/libc6_2.41-12_armel.deb' libc6_2.41-12_armel.deb 12 MD5Sum:0\n\
             'http://m.example/debian-security/pool/zlib1g_1.3%2bb1_armel.deb' zlib1g_1%3a1.3+b1_armel.deb 5 \n",
        );
        let shown = "Package: libc6\nVersion: 2.41-12\nArchitecture: armel\nFilename: pool/libc6_2.41-12_armel.deb\n\
                     Size: 12\nSHA256: aa\n\nPackage: zlib1g\nVersion: 1:1.3+b1\nArchitecture: armel\n\
                     Filename: pool/zlib1g_1.3+b1_armel.deb\nSize: 5\nSHA256: bb\n";
        let mirrors = Mirrors {
            main: "http://user:pw@m.example/debian".into(),
            security: Some("http://m.example/debian-security".into()),
        };
        let packages = described(shown, &chosen, &uris, &mirrors).unwrap();
        assert_eq!(packages[0].archive, Archive::Main);
        assert_eq!(packages[0].sha256, "aa");
        assert_eq!(packages[1].archive, Archive::Security);
        let error = described("", &chosen, &uris, &mirrors).unwrap_err();
        assert!(error.to_string().contains("libc6 2.41-12"), "{error}");
    }

    #[test]
    fn an_alias_that_has_moved_on_is_not_the_release_asked_for() {
        let release = |codename: &str| {
            format!(
                "-----BEGIN PGP SIGNED MESSAGE-----\n\nCodename: {codename}\nVersion: 13.7\nDate: Sat, 12 Sep 2026\n"
            )
        };
        let texts = [release("trixie-security"), release("trixie")];
        assert_eq!(signed_release(&texts, "trixie").unwrap(), "13.7, Sat, 12 Sep 2026");
        let error = signed_release(&[release("trixie"), release("forky-security")], "trixie").unwrap_err();
        assert!(error.to_string().contains("`forky-security`, not `trixie`"), "{error}");
        assert!(signed_release(&[release("trixie-updates")], "trixie").is_err());
        assert!(signed_release(&[], "trixie").is_err());
    }

    #[test]
    fn omitted_packages_count_as_installed_and_provide_what_the_real_ones_do() {
        let shown = "Package: mawk\nVersion: 1\nProvides: awk\n";
        let (mawk, dpkg) = ("mawk".to_owned(), "dpkg".to_owned());
        let status = installed(shown, &[&mawk, &dpkg], "armel");
        assert_eq!(status.matches("Provides: awk").count(), 1);
        assert_eq!(status.matches("Version: 9999:0").count(), 2);
        assert!(status.contains("Package: dpkg\nStatus: install ok installed\nArchitecture: armel\n"));
    }
}
