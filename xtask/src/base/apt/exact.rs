//! Packages and source packages by name, without what they depend on: what is needed to compile something, not to run it.

use std::fmt::Write as _;

use super::output::{described, printed_uris};
use super::{Archive, Deb, RECORD_VERSION, Request, Resolution, State, chosen_mirror, mirror_variable, mirrors};
use crate::base::sources::Mirrors;
use crate::cache::key_of;
use crate::cx::Cx;
use crate::error::{Context, Error, Result, redact};

/// The architecture of a file of a source package in a [`Resolution`].
pub const SOURCE: &str = "source";

/// The newest version of each package of the request, and no other package (`omit` has no meaning here); of each source
/// package in `sources`, all its files, as packages of the architecture [`SOURCE`]. Kept in the cache like [`super::resolve`].
pub fn resolve_exactly(cx: &Cx, request: &Request<'_>, sources: &[&str], refresh: bool) -> Result<Resolution> {
    let mut parts = vec![
        RECORD_VERSION.to_owned(),
        request.suite.to_owned(),
        request.architecture.to_owned(),
        request.packages.join(" "),
        sources.join(" "),
    ];
    parts.extend(chosen_mirror(request.mirror, mirror_variable()));
    let key = key_of(parts);
    if !refresh && let Some(known) = cx.cache.record::<Resolution>("debian-exact", &key) {
        return Ok(known);
    }
    let what = match sources {
        [] => request.packages.join(", "),
        sources => format!("source of {} and tools", sources.join(", ")),
    };
    if cx.offline {
        return Err(Error::new(format!(
            "Debian {} {}: which versions there are is not in the cache, and this run is offline ({what})",
            request.suite, request.architecture
        ))
        .hint("run once without --offline"));
    }
    cx.ui.step(
        "Resolving",
        &format!("{what}, Debian {} {}", request.suite, request.architecture),
    );
    let mirrors = mirrors(request.mirror)?;
    let state = State::open(cx, request.architecture)?;
    let release = state.update_of(cx, request, &mirrors, &["deb", "deb-src"])?;
    let mut packages = state.candidates(cx, request, &mirrors)?;
    for source in sources {
        packages.extend(state.source(cx, source, request, &mirrors)?);
    }
    packages.sort();
    let resolution = Resolution {
        suite: request.suite.to_owned(),
        architecture: request.architecture.to_owned(),
        release,
        packages,
    };
    cx.cache.put_record("debian-exact", &key, &resolution)?;
    Ok(resolution)
}

impl State {
    fn candidates(&self, cx: &Cx, request: &Request<'_>, mirrors: &Mirrors) -> Result<Vec<Deb>> {
        let shown = self
            .command(cx, "apt-cache")
            .args(["show", "--no-all-versions", "--"])
            .args(request.packages)
            .output()?
            .text();
        let chosen = named(&shown)?;
        let missing: Vec<&str> = request
            .packages
            .iter()
            .map(String::as_str)
            .filter(|name| !chosen.iter().any(|(found, _)| found == name))
            .collect();
        if !missing.is_empty() {
            return Err(Error::new(format!(
                "Debian {} {} has no package {}",
                request.suite,
                request.architecture,
                missing.join(", ")
            ))
            .hint("[base.raspbian.rebuild] in xtask.toml names suite and tools; both must be of one release"));
        }
        let uris = self
            .command(cx, "apt-get")
            .args(["download", "--print-uris", "-qq", "--"])
            .args(request.packages)
            .read()?;
        described(&shown, &chosen, &printed_uris(&uris), mirrors)
    }

    fn source(&self, cx: &Cx, name: &str, request: &Request<'_>, mirrors: &Mirrors) -> Result<Vec<Deb>> {
        let printed = self
            .command(cx, "apt-get")
            .args(["source", "--download-only", "--print-uris", "-qq", "--", name])
            .read()
            .context(|| format!("Debian {}: the source package {name}", request.suite))?;
        source_files(name, &printed, mirrors)
    }
}

/// Name and version of each stanza.
fn named(shown: &str) -> Result<Vec<(String, String)>> {
    let document: deb822_fast::Deb822 = shown
        .parse()
        .map_err(|error| Error::new(format!("cannot read what apt-cache printed: {error:?}")))?;
    let pair = |paragraph: &deb822_fast::Paragraph| {
        Some((
            paragraph.get("Package")?.to_owned(),
            paragraph.get("Version")?.to_owned(),
        ))
    };
    Ok(document.iter().filter_map(pair).collect())
}

/// `'URI' glibc_2.36-9.dsc 3317 SHA256:...` -> the files of the source package, each with its hash of the signed index.
fn source_files(name: &str, printed: &str, mirrors: &Mirrors) -> Result<Vec<Deb>> {
    let strange = || Error::new(format!("apt printed no files for the source package {name}: {printed}"));
    let mut files = Vec::new();
    for line in printed.lines().filter_map(|line| line.strip_prefix('\'')) {
        let (uri, rest) = line.split_once('\'').ok_or_else(strange)?;
        let [file, size, hash] = rest.split_whitespace().collect::<Vec<_>>()[..] else {
            return Err(strange());
        };
        let sha256 = hash
            .strip_prefix("SHA256:")
            .context(|| format!("the signed index has no SHA-256 of {file}"))?;
        let below = |base: &str| {
            redact(uri)
                .strip_prefix(&format!("{}/", redact(base)))
                .map(str::to_owned)
        };
        let security = mirrors.security.as_deref().and_then(below);
        let (archive, filename) = match (security, below(&mirrors.main)) {
            (Some(filename), _) => (Archive::Security, filename),
            (None, Some(filename)) => (Archive::Main, filename),
            (None, None) => return Err(strange()),
        };
        files.push((file, archive, decoded(&filename), sha256, size.parse()?));
    }
    let version = files
        .iter()
        .find_map(|(file, ..)| file.strip_suffix(".dsc")?.strip_prefix(&format!("{name}_")))
        .ok_or_else(strange)?
        .to_owned();
    let deb = |(_, archive, filename, sha256, size): (&str, Archive, String, &str, u64)| Deb {
        name: name.to_owned(),
        version: version.clone(),
        architecture: SOURCE.to_owned(),
        archive,
        filename,
        sha256: sha256.to_owned(),
        size,
    };
    Ok(files.into_iter().map(deb).collect())
}

/// Undoes percent-encoding (RFC 3986, 2.1), in which apt prints `+` and `~`.
fn decoded(text: &str) -> String {
    let mut clean = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('%') {
        clean.push_str(before);
        match after.get(..2).and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(byte) if byte.is_ascii_graphic() => {
                clean.push(char::from(byte));
                rest = &after[2..];
            }
            _ => {
                clean.push('%');
                rest = after;
            }
        }
    }
    let _ = clean.write_str(rest);
    clean
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_files_of_a_source_package_keep_their_hash_and_archive() {
        let printed = "'http://m.example/debian-security/pool/updates/main/g/glibc/glibc_2.36-9%2bdeb12u14.dsc' \
                       glibc_2.36-9+deb12u14.dsc 3317 SHA256:aa\n\
                       'http://m.example/debian/pool/main/g/glibc/glibc_2.36.orig.tar.xz' glibc_2.36.orig.tar.xz 18 SHA256:bb\n";
        let mirrors = Mirrors {
            main: "http://user:pw@m.example/debian".into(),
            security: Some("http://m.example/debian-security".into()),
        };
        let files = source_files("glibc", printed, &mirrors).unwrap();
        assert_eq!(files.len(), 2);
        assert_eq!(files[0].version, "2.36-9+deb12u14");
        assert_eq!(files[0].filename, "pool/updates/main/g/glibc/glibc_2.36-9+deb12u14.dsc");
        assert_eq!((files[0].archive, files[1].archive), (Archive::Security, Archive::Main));
        assert_eq!((files[1].sha256.as_str(), files[1].size), ("bb", 18));
        for bad in [
            "",
            "'http://other.example/x.dsc' glibc_1.dsc 1 SHA256:aa\n",
            &printed.replace("SHA256", "MD5Sum"),
        ] {
            assert!(source_files("glibc", bad, &mirrors).is_err(), "{bad}");
        }
    }

    #[test]
    fn percent_encoding_is_undone_and_nonsense_is_kept() {
        assert_eq!(decoded("a%2bb%7ec"), "a+b~c");
        assert_eq!(decoded("100%"), "100%");
        assert_eq!(decoded("%zz%00"), "%zz%00");
    }
}
