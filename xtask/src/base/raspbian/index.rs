//! Reading an archive's `Release` and `Packages`, and choosing packages. Pure.
//!
//! What is needed is a handful of packages from one suite, so one version each: no solver, but every constraint is checked.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

use deb822_fast::{Deb822, Paragraph};

use crate::base::found::Input;
use crate::base::lock::{day_number, day_of_rfc5322};

/// The packages of this archive for this machine are called so; it means ARMv6 here.
pub const ARCHITECTURE: &str = "armhf";

/// A signed release.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Release {
    /// Day it was made: `2026-09-12`.
    pub day: String,
    /// Day after which it counts no more, if it says.
    pub valid_until: Option<String>,
    /// Whether files lie under their hash as well.
    pub by_hash: bool,
    /// SHA-256 and size of each index, by path.
    files: BTreeMap<String, (String, u64)>,
}

/// One index that can be fetched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Index {
    /// Path below `dists/SUITE/`.
    pub path: String,
    /// The same by its hash, if the archive has that: unlike the name, this never changes under a reader.
    pub by_hash: Option<String>,
    /// SHA-256 in hex.
    pub sha256: String,
    /// Bytes.
    pub size: u64,
}

impl Release {
    /// Reads the text that was signed. It must be the suite that was asked for, with packages for [`ARCHITECTURE`].
    pub fn parse(text: &str, suite: &str) -> Result<Release, String> {
        let paragraph: Paragraph = text
            .parse()
            .map_err(|_| "the signed text is not a release".to_owned())?;
        let field = |name: &str| paragraph.get(name).map(str::trim).unwrap_or_default();
        if field("Codename") != suite {
            return Err(format!("it calls itself `{}`, not `{suite}`", field("Codename")));
        }
        let architectures: Vec<&str> = field("Architectures").split_whitespace().collect();
        if !architectures.contains(&ARCHITECTURE) {
            return Err(format!(
                "it has no packages for {ARCHITECTURE}, only for {}",
                architectures.join(", ")
            ));
        }
        let day = |name: &str| {
            let text = field(name);
            day_of_rfc5322(text).ok_or_else(|| format!("its {name} `{text}` is not a date"))
        };
        let mut files = BTreeMap::new();
        for line in field("SHA256").lines().filter(|line| !line.trim().is_empty()) {
            let words: Vec<&str> = line.split_whitespace().collect();
            let [hash, size, path] = words[..] else {
                return Err(format!("its list of files has the line `{}`", line.trim()));
            };
            let size = size
                .parse()
                .map_err(|_| format!("the size of {path} is not a number"))?;
            if !is_sha256(hash) || !is_plain(path) {
                return Err(format!("its list of files has the line `{}`", line.trim()));
            }
            files.insert(path.to_owned(), (hash.to_owned(), size));
        }
        Ok(Release {
            day: day("Date")?,
            valid_until: match field("Valid-Until") {
                "" => None,
                _ => Some(day("Valid-Until")?),
            },
            by_hash: field("Acquire-By-Hash") == "yes",
            files,
        })
    }

    /// Fails for a release that is out of date, or from the future, on the day `today` (days since 1970-01-01).
    pub fn check_date(&self, today: u64) -> Result<(), String> {
        let number = |day: &str| day_number(day).unwrap_or(0);
        // A day's grace, for clocks and time zones.
        if number(&self.day) > today + 1 {
            return Err(format!(
                "it is dated {}, which is still to come: is this machine's clock right?",
                self.day
            ));
        }
        match &self.valid_until {
            Some(day) if number(day) < today => Err(format!(
                "it was made on {} and counts until {day}: the mirror is stale, or somebody serves an old state",
                self.day
            )),
            _ => Ok(()),
        }
    }

    /// The index of packages, in the best compression that can be read.
    pub fn packages(&self) -> Result<Index, String> {
        let plain = format!("main/binary-{ARCHITECTURE}/Packages");
        let found = [".xz", ".gz", ""]
            .into_iter()
            .find_map(|suffix| self.files.get_key_value(&format!("{plain}{suffix}")));
        let (path, (sha256, size)) = found.ok_or_else(|| format!("it does not list {plain}"))?;
        let directory = path.rsplit_once('/').map_or("", |(directory, _)| directory);
        Ok(Index {
            path: path.clone(),
            by_hash: self.by_hash.then(|| format!("{directory}/by-hash/SHA256/{sha256}")),
            sha256: sha256.clone(),
            size: *size,
        })
    }
}

/// What `Packages` says of one package.
#[derive(Clone, Debug)]
struct Stanza {
    input: Input,
    depends: Vec<Vec<Relation>>,
    provides: Vec<Relation>,
}

/// `libc6 (>= 2.41)`.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Relation {
    name: String,
    constraint: Option<(String, String)>,
}

/// The packages `wanted` with all that they depend on, except `omit` and what only that needs; sorted by name.
pub fn choose(packages: &str, wanted: &[String], omit: &[String]) -> Result<Vec<Input>, String> {
    let stanzas = stanzas(packages)?;
    let by_name: BTreeMap<&str, &Stanza> = newest(&stanzas);
    let mut chosen: BTreeMap<&str, &Stanza> = BTreeMap::new();
    let mut todo: Vec<(&str, String)> = Vec::new();
    for name in wanted {
        todo.push((name, "[base.raspbian] in xtask.toml".to_owned()));
    }
    let omitted: BTreeSet<&str> = omit
        .iter()
        .map(String::as_str)
        .filter(|name| !wanted.iter().any(|wanted| wanted == name))
        .collect();
    while let Some((name, why)) = todo.pop() {
        if chosen.contains_key(name) {
            continue;
        }
        let stanza = by_name
            .get(name)
            .ok_or_else(|| format!("the archive has no package {name}, which {why} asks for"))?;
        chosen.insert(name, stanza);
        for alternatives in &stanza.depends {
            let provider = |relation: &Relation| {
                if omitted.contains(relation.name.as_str()) {
                    return Some(None);
                }
                if let Some(found) = by_name.get(relation.name.as_str())
                    && relation.allows(&found.input.version)
                {
                    return Some(Some(found.input.name.as_str()));
                }
                let provides = |stanza: &&&Stanza| stanza.provides.iter().any(|provided| provided.stands_for(relation));
                let mut providers = by_name
                    .values()
                    .filter(provides)
                    .map(|stanza| stanza.input.name.as_str());
                providers
                    .clone()
                    .find(|name| omitted.contains(name))
                    .map(|_| None)
                    .or_else(|| providers.next().map(Some))
            };
            // What is chosen or left out already satisfies before anything new does; else the first that can.
            let known = alternatives.iter().find_map(|relation| {
                provider(relation).filter(|found| found.is_none_or(|name| chosen.contains_key(name)))
            });
            match known.or_else(|| alternatives.iter().find_map(provider)) {
                Some(None) => {}
                Some(Some(found)) => todo.push((found, stanza.input.name.clone())),
                None => {
                    let names: Vec<String> = alternatives.iter().map(ToString::to_string).collect();
                    return Err(format!(
                        "{} needs {}, which the archive does not have",
                        name,
                        names.join(" or ")
                    ));
                }
            }
        }
    }
    Ok(chosen.values().map(|stanza| stanza.input.clone()).collect())
}

fn newest(stanzas: &[Stanza]) -> BTreeMap<&str, &Stanza> {
    let mut by_name: BTreeMap<&str, &Stanza> = BTreeMap::new();
    for stanza in stanzas {
        let best = by_name.entry(&stanza.input.name).or_insert(stanza);
        if compare(&stanza.input.version, &best.input.version) == Ordering::Greater {
            *best = stanza;
        }
    }
    by_name
}

fn stanzas(text: &str) -> Result<Vec<Stanza>, String> {
    let mut found = Vec::new();
    let document: Deb822 = text
        .parse()
        .map_err(|_| "its list of packages cannot be read".to_owned())?;
    for paragraph in document.iter() {
        let field = |name: &str| paragraph.get(name).map(str::trim).unwrap_or_default();
        let name = field("Package");
        let architecture = field("Architecture");
        if ![ARCHITECTURE, "all"].contains(&architecture) {
            continue;
        }
        let file = field("Filename");
        let size = field("Size").parse();
        let (Ok(size), true, true) = (size, is_sha256(field("SHA256")), is_plain(file)) else {
            return Err(format!(
                "its list of packages describes {name} without file, size or SHA-256"
            ));
        };
        let mut depends = relations(field("Pre-Depends"));
        depends.extend(relations(field("Depends")));
        found.push(Stanza {
            input: Input {
                name: name.to_owned(),
                version: field("Version").to_owned(),
                architecture: architecture.to_owned(),
                archive: None,
                file: file.to_owned(),
                digest: format!("sha256:{}", field("SHA256")),
                size,
            },
            depends,
            provides: relations(field("Provides")).into_iter().flatten().collect(),
        });
    }
    Ok(found)
}

fn relations(field: &str) -> Vec<Vec<Relation>> {
    let clauses = field.split(',').filter(|clause| !clause.trim().is_empty());
    clauses
        .map(|clause| clause.split('|').map(Relation::parse).collect())
        .collect()
}

impl Relation {
    /// `name[:architecture] [(operator version)]` (Debian policy 7.1); lists of architectures do not occur in binary packages.
    fn parse(text: &str) -> Relation {
        let (name, constraint) = match text.split_once('(') {
            Some((name, rest)) => {
                let rest = rest.split(')').next().unwrap_or_default().trim();
                let at = rest.find(|c: char| !"<>=".contains(c)).unwrap_or(rest.len());
                (name, Some((rest[..at].to_owned(), rest[at..].trim().to_owned())))
            }
            None => (text, None),
        };
        Relation {
            name: name.trim().split(':').next().unwrap_or_default().to_owned(),
            constraint,
        }
    }

    fn allows(&self, version: &str) -> bool {
        let Some((operator, wanted)) = &self.constraint else {
            return true;
        };
        let order = compare(version, wanted);
        match operator.as_str() {
            "<<" => order == Ordering::Less,
            "<=" => order != Ordering::Greater,
            "=" => order == Ordering::Equal,
            ">=" => order != Ordering::Less,
            ">>" => order == Ordering::Greater,
            _ => false,
        }
    }

    /// Whether what a package provides satisfies `wanted`: with a constraint only if it is provided with a version.
    fn stands_for(&self, wanted: &Relation) -> bool {
        self.name == wanted.name
            && match (&self.constraint, &wanted.constraint) {
                (_, None) => true,
                (Some((_, version)), Some(_)) => wanted.allows(version),
                (None, Some(_)) => false,
            }
    }
}

impl std::fmt::Display for Relation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.name)?;
        match &self.constraint {
            Some((operator, version)) => write!(f, " ({operator} {version})"),
            None => Ok(()),
        }
    }
}

/// The order of Debian's versions (deb-version(7)).
pub fn compare(left: &str, right: &str) -> Ordering {
    fn split(version: &str) -> (u64, &str, &str) {
        let (epoch, rest) = version.split_once(':').unwrap_or(("0", version));
        let (upstream, revision) = rest.rsplit_once('-').unwrap_or((rest, "0"));
        (epoch.parse().unwrap_or(0), upstream, revision)
    }
    let (left, right) = (split(left), split(right));
    left.0
        .cmp(&right.0)
        .then_with(|| part(left.1, right.1))
        .then_with(|| part(left.2, right.2))
}

fn part(mut left: &str, mut right: &str) -> Ordering {
    // `~` comes before the end, the end before letters, letters before the rest.
    let weight = |byte: Option<u8>| match byte {
        Some(b'~') => -1,
        None => 0,
        Some(byte) if byte.is_ascii_alphabetic() => i32::from(byte),
        Some(byte) => i32::from(byte) + 256,
    };
    let digits = |text: &str| text.bytes().take_while(u8::is_ascii_digit).count();
    let words = |text: &str| text.bytes().take_while(|byte| !byte.is_ascii_digit()).count();
    while !left.is_empty() || !right.is_empty() {
        let (a, b) = (&left[..words(left)], &right[..words(right)]);
        for at in 0..a.len().max(b.len()) {
            let order = weight(a.as_bytes().get(at).copied()).cmp(&weight(b.as_bytes().get(at).copied()));
            if order != Ordering::Equal {
                return order;
            }
        }
        (left, right) = (&left[a.len()..], &right[b.len()..]);
        let (a, b) = (&left[..digits(left)], &right[..digits(right)]);
        (left, right) = (&left[a.len()..], &right[b.len()..]);
        let (a, b) = (a.trim_start_matches('0'), b.trim_start_matches('0'));
        let order = a.len().cmp(&b.len()).then_with(|| a.cmp(b));
        if order != Ordering::Equal {
            return order;
        }
    }
    Ordering::Equal
}

fn is_sha256(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// A relative path that stays where it is put, and needs no quoting in a URL.
pub fn is_plain(path: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-+~".contains(c);
    !path.is_empty()
        && path
            .split('/')
            .all(|part| !part.is_empty() && !part.starts_with('.') && part.chars().all(plain))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stanza(name: &str, version: &str, more: &str) -> String {
        format!(
            "Package: {name}\nVersion: {version}\nArchitecture: armhf\n{more}Filename: pool/{name}_{version}.deb\n\
             Size: 7\nSHA256: {}\n\n",
            "a".repeat(64)
        )
    }

    fn names(packages: &str, wanted: &[&str], omit: &[&str]) -> Result<String, String> {
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let chosen = choose(packages, &owned(wanted), &owned(omit))?;
        let names: Vec<String> = chosen
            .iter()
            .map(|input| format!("{} {}", input.name, input.version))
            .collect();
        Ok(names.join(", "))
    }

    #[test]
    fn dependencies_come_along_and_what_is_omitted_does_not() {
        let packages = [
            stanza("libc6", "2.41-12", "Depends: libgcc-s1, awk\n"),
            stanza("libgcc-s1", "14.2", "Depends: gcc-14-base (= 14.2), libc6 (>= 2.35)\n"),
            stanza("gcc-14-base", "14.2", ""),
            stanza("gcc-14-base", "14.1", ""),
            stanza("mawk", "1", "Provides: awk\nDepends: libm\n"),
            stanza("other", "1", ""),
        ]
        .concat();
        assert_eq!(
            names(&packages, &["libc6"], &["mawk"]).unwrap(),
            "gcc-14-base 14.2, libc6 2.41-12, libgcc-s1 14.2"
        );
        let error = names(&packages, &["libc6"], &[]).unwrap_err();
        assert!(
            error.contains("mawk needs libm, which the archive does not have"),
            "{error}"
        );
        let error = names(&packages, &["nothing"], &[]).unwrap_err();
        assert!(
            error.contains("has no package nothing, which [base.raspbian]"),
            "{error}"
        );
    }

    #[test]
    fn a_constraint_that_the_archive_cannot_meet_is_an_error_and_not_ignored() {
        let packages = stanza("a", "1", "Depends: b (>= 2) | c\n") + &stanza("b", "1.9", "");
        let error = names(&packages, &["a"], &[]).unwrap_err();
        assert!(error.contains("a needs b (>= 2) or c"), "{error}");
        let packages = packages + &stanza("d", "1", "Provides: c, b (= 2.1)\n");
        assert_eq!(names(&packages, &["a"], &[]).unwrap(), "a 1, d 1");
    }

    #[test]
    fn hostile_descriptions_are_refused() {
        for (from, to) in [
            ("pool/a_1.deb", "../../etc/passwd"),
            ("pool/a_1.deb", "pool/a?x=1"),
            ("Size: 7", "Size: many"),
            ("SHA256: a", "SHA256: Z"),
        ] {
            let packages = stanza("a", "1", "").replace(from, to);
            assert!(names(&packages, &["a"], &[]).is_err(), "{to}");
        }
    }

    #[test]
    fn versions_are_ordered_as_dpkg_does() {
        let ascending = [
            "0~~",
            "0~~a",
            "0~",
            "0",
            "0a",
            "0+",
            "1.0~rc1-1",
            "1.0-1",
            "1.0-1+b1",
            "1.0-1.1",
            "1.0+x-1",
            "1.2",
            "1.10",
            "2.36-9+deb12u9",
            "2.36-9+deb12u14",
            "2.41-12+rpi1",
            "1:0.1",
        ];
        for pair in ascending.windows(2) {
            assert_eq!(compare(pair[0], pair[1]), Ordering::Less, "{pair:?}");
            assert_eq!(compare(pair[1], pair[0]), Ordering::Greater, "{pair:?}");
        }
        assert_eq!(compare("0:1.0", "1.00-0"), Ordering::Equal);
    }

    fn release(more: &str) -> String {
        format!(
            "Origin: Raspbian\nCodename: trixie\nDate: Sat, 12 Sep 2026 07:55:41 UTC\nArchitectures: armhf\n{more}SHA256:\n {} 12 \
             main/binary-armhf/Packages.xz\n {} 99 main/binary-armhf/Packages\n",
            "b".repeat(64),
            "c".repeat(64)
        )
    }

    #[test]
    fn a_release_is_held_against_what_was_asked_for() {
        let parsed = Release::parse(&release("Acquire-By-Hash: yes\n"), "trixie").unwrap();
        let index = parsed.packages().unwrap();
        assert_eq!((index.path.as_str(), index.size), ("main/binary-armhf/Packages.xz", 12));
        let by_hash = format!("main/binary-armhf/by-hash/SHA256/{}", "b".repeat(64));
        assert_eq!(index.by_hash, Some(by_hash));
        assert_eq!(
            Release::parse(&release(""), "trixie")
                .unwrap()
                .packages()
                .unwrap()
                .by_hash,
            None
        );
        for (text, reason) in [
            (
                release("").replace("armhf\n", "arm64 amd64\n"),
                "no packages for armhf, only for arm64, amd64",
            ),
            (release("").replace(": trixie", ": forky"), "`forky`, not `trixie`"),
            (release("").replace("12 Sep", "12 Foo"), "Date"),
            (release("").replace(" 12 main", " x main"), "not a number"),
            (release("").replace("main/binary-armhf/Packages.xz", "../x"), "../x"),
        ] {
            let error = Release::parse(&text, "trixie").unwrap_err();
            assert!(error.contains(reason), "{error}");
        }
    }

    #[test]
    fn a_release_counts_between_two_days() {
        let today = |day: &str| day_number(day).unwrap();
        let parsed = Release::parse(&release("Valid-Until: Sat, 19 Sep 2026 07:55:41 UTC\n"), "trixie").unwrap();
        assert_eq!(parsed.check_date(today("2026-09-19")), Ok(()));
        assert_eq!(parsed.check_date(today("2026-09-11")), Ok(()));
        let error = parsed.check_date(today("2026-09-20")).unwrap_err();
        assert!(error.contains("until 2026-09-19"), "{error}");
        assert!(parsed.check_date(today("2026-09-10")).unwrap_err().contains("clock"));
        let forever = Release::parse(&release(""), "trixie").unwrap();
        assert_eq!(forever.check_date(today("2030-01-01")), Ok(()));
    }
}
