//! Which Debian mirror apt on this machine is configured with: a pure reading of its source lists.
//!
//! Both formats of sources.list(5) are read, one-line and deb822. An entry is Debian's own when its suite is one of
//! Debian's releases and it is signed by Debian's archive key, or unsigned-by on a host that is Debian itself.

/// One repository that the host's apt knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// Base URI without a trailing slash.
    pub uri: String,
    /// Suites or code names.
    pub suites: Vec<String>,
    /// `Signed-By`: a key ring, fingerprints or an inlined key.
    pub signed_by: Option<String>,
}

/// Where Debian is served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mirrors {
    /// Base URI of the main archive (`dists/trixie` lies below).
    pub main: String,
    /// Base URI of the security archive, if the host has one.
    pub security: Option<String>,
}

/// The releases of which a mirror may speak. A mirror that serves one of them serves the suite that is asked for.
const RELEASES: [&str; 13] = [
    "buster",
    "bullseye",
    "bookworm",
    "trixie",
    "forky",
    "duke",
    "sid",
    "oldoldstable",
    "oldstable",
    "stable",
    "testing",
    "unstable",
    "experimental",
];

/// Reads a `*.list` file. Lines that make no sense are skipped, as apt itself will complain about them.
pub fn one_line(text: &str) -> Vec<Source> {
    text.lines().filter_map(one_line_entry).collect()
}

fn one_line_entry(line: &str) -> Option<Source> {
    let line = line.split('#').next()?.trim();
    let rest = line
        .strip_prefix("deb")
        .filter(|rest| rest.starts_with(char::is_whitespace))?
        .trim_start();
    let (options, rest) = match rest.strip_prefix('[') {
        Some(rest) => rest.split_once(']')?,
        None => ("", rest),
    };
    let mut words = rest.split_whitespace();
    let uri = words.next()?.trim_end_matches('/').to_owned();
    let suite = words.next()?.to_owned();
    if words.next().is_some_and(|component| component != "main") && !words.any(|component| component == "main") {
        return None;
    }
    let signed_by = options
        .split_whitespace()
        .find_map(|option| option.strip_prefix("signed-by="))
        .map(str::to_owned);
    Some(Source {
        uri,
        suites: vec![suite],
        signed_by,
    })
}

/// Reads a `*.sources` file (deb822). A file that cannot be parsed has no entries.
pub fn deb822(text: &str) -> Vec<Source> {
    let Ok(document) = text.parse::<deb822_fast::Deb822>() else {
        return Vec::new();
    };
    let mut sources = Vec::new();
    for paragraph in document.iter() {
        let words = |name: &str| -> Vec<String> {
            let value = paragraph.get(name).unwrap_or_default();
            value.split_whitespace().map(str::to_owned).collect()
        };
        let enabled = !paragraph
            .get("Enabled")
            .is_some_and(|value| ["no", "false", "off", "0"].contains(&value.trim()));
        let components = words("Components");
        if !enabled
            || !words("Types").iter().any(|kind| kind == "deb")
            || !components.iter().any(|component| component == "main")
        {
            continue;
        }
        for uri in words("URIs") {
            sources.push(Source {
                uri: uri.trim_end_matches('/').to_owned(),
                suites: words("Suites"),
                signed_by: paragraph.get("Signed-By").map(|value| value.trim().to_owned()),
            });
        }
    }
    sources
}

/// The value of `ID` in os-release(5), lower case; empty when there is none.
pub fn os_id(os_release: &str) -> String {
    os_release
        .lines()
        .find_map(|line| line.strip_prefix("ID="))
        .map(|value| value.trim().trim_matches(['"', '\'']).to_lowercase())
        .unwrap_or_default()
}

/// Picks Debian's mirrors; `None` when none of the sources is Debian's.
pub fn debian_mirrors(sources: &[Source], os_id: &str) -> Option<Mirrors> {
    let ours: Vec<&Source> = sources.iter().filter(|source| is_debian(source, os_id)).collect();
    // An entry that names Debian's key is surer than one that names none: third parties also use Debian's suite names.
    let pick = |security: bool| {
        let serving = |source: &&&Source| {
            source.suites.iter().any(|suite| {
                let is_security = suite.ends_with("-security") || suite.ends_with("/updates");
                release(suite).is_some() && is_security == security
            })
        };
        let mut found: Vec<&&Source> = ours.iter().filter(serving).collect();
        found.sort_by_key(|source| source.signed_by.is_none());
        found.first().map(|source| source.uri.clone())
    };
    Some(Mirrors {
        main: pick(false)?,
        security: pick(true),
    })
}

fn is_debian(source: &Source, os_id: &str) -> bool {
    let signed = match &source.signed_by {
        Some(key) => key.contains("debian-archive"),
        None => os_id == "debian",
    };
    signed && source.suites.iter().any(|suite| release(suite).is_some())
}

/// The release that a suite belongs to: `bookworm` of `bookworm-security`.
fn release(suite: &str) -> Option<&'static str> {
    let name = suite.split(['-', '/']).next()?;
    RELEASES.into_iter().find(|release| *release == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

    #[test]
    fn a_debian_host_in_the_deb822_format() {
        let text = format!(
            "Types: deb\n# a comment inside\nURIs: http://mirror.example/debian/\nSuites: bookworm bookworm-updates\n\
             Components: main\nSigned-By: {KEY}\n\nTypes: deb\nURIs: http://mirror.example/debian-security\n\
             Suites: bookworm-security\nComponents: main\nSigned-By: {KEY}\n"
        );
        assert_eq!(
            debian_mirrors(&deb822(&text), "debian"),
            Some(Mirrors {
                main: "http://mirror.example/debian".into(),
                security: Some("http://mirror.example/debian-security".into()),
            })
        );
    }

    #[test]
    fn a_debian_host_in_the_one_line_format() {
        let text = "# deb http://off.example/debian trixie main\n\
                    deb-src http://src.example/debian trixie main\n\
                    deb [arch=amd64] http://mirror.example/debian trixie contrib main # ours\n\
                    deb http://security.example/debian-security trixie-security main\n";
        let sources = one_line(text);
        assert_eq!(sources.len(), 2);
        let mirrors = debian_mirrors(&sources, "debian").unwrap();
        assert_eq!(mirrors.main, "http://mirror.example/debian");
        assert_eq!(
            mirrors.security.as_deref(),
            Some("http://security.example/debian-security")
        );
    }

    #[test]
    fn third_parties_that_use_debians_suite_names_are_not_debian() {
        let text = "deb [signed-by=/etc/apt/keyrings/engine.gpg] https://third.example/linux/debian bookworm main\n\
                    deb https://packages.example/apt cloud-sdk-bookworm main\n";
        assert_eq!(debian_mirrors(&one_line(text), "debian"), None);
    }

    #[test]
    fn the_entry_with_debians_key_wins_over_one_without_any() {
        let text = format!(
            "deb https://third.example/apt bookworm main\ndeb [signed-by={KEY}] http://mirror.example/debian sid main\n"
        );
        let mirrors = debian_mirrors(&one_line(&text), "debian").unwrap();
        assert_eq!(mirrors.main, "http://mirror.example/debian");
        assert_eq!(mirrors.security, None);
    }

    #[test]
    fn ubuntu_has_no_debian_mirror_unless_it_says_so() {
        let text = "Types: deb\nURIs: http://mirror.example/ubuntu\nSuites: noble noble-updates\nComponents: main\n\
                    Signed-By: /usr/share/keyrings/ubuntu-archive-keyring.gpg\n";
        assert_eq!(debian_mirrors(&deb822(text), "ubuntu"), None);
        assert_eq!(
            debian_mirrors(&one_line("deb http://x.example/debian sid main"), "ubuntu"),
            None
        );
    }

    #[test]
    fn disabled_and_source_only_entries_are_skipped() {
        let text = "Enabled: no\nTypes: deb\nURIs: http://a.example\nSuites: sid\nComponents: main\n\n\
                    Types: deb-src\nURIs: http://b.example\nSuites: sid\nComponents: main\n";
        assert_eq!(deb822(text), Vec::new());
        assert_eq!(
            one_line("debris http://a.example sid main\ndeb\ndeb [x http://a.example sid"),
            Vec::new()
        );
    }

    #[test]
    fn the_host_is_named_by_os_release() {
        assert_eq!(os_id("NAME=x\nID=\"Debian\"\n"), "debian");
        assert_eq!(os_id("ID_LIKE=debian\n"), "");
    }
}
