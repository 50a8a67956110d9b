//! docker/bases.lock: what each source of a base gave, so that a later build takes the same. Text in, values out, and back.
//!
//! An entry belongs to base, platform and source, because machines differ in what they reach: one entry each for the archive
//! that the release machine reads and for what a laptop behind a firewall has to compile.

use std::fmt::Write;

use serde::{Deserialize, Serialize};

use super::found::{Found, Input};
use crate::oci::Digest;
use crate::oci::image::Package;
use crate::target::{Base, Platform};

/// Path of the file in the workspace.
pub const FILE: &str = "docker/bases.lock";

const VERSION: u32 = 1;

/// The whole file: entries sorted by base, platform and source, each combination once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lock(Vec<Entry>);

/// What one source gave for one base and platform.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// Base.
    pub base: Base,
    /// Platform.
    pub platform: Platform,
    /// The source, as [`super::catalogue::Source`] is displayed.
    pub source: String,
    /// For people.
    pub origin: String,
    /// The day of the inputs, `2026-09-12`.
    pub date: String,
    /// Version of its glibc.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub glibc: Option<String>,
    /// Layers, lowest first.
    pub layers: Vec<LockedLayer>,
    /// What it is made of.
    pub inputs: Vec<Input>,
    /// What is in it, where that is something else: `musl 1.2.5-r21 armhf`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub packages: Vec<String>,
}

/// A layer as an engine knows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LockedLayer {
    /// Of the compressed blob.
    pub digest: Digest,
    /// Of the tar.
    pub diff_id: Digest,
    /// Bytes of the blob.
    pub size: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    version: u32,
    #[serde(default)]
    base: Vec<Entry>,
}

impl Entry {
    /// What is to be written down of a base that was found.
    pub fn of(base: Base, platform: Platform, source: &str, found: &Found) -> Entry {
        let inputs = {
            let mut inputs = found.inputs.clone();
            inputs.sort();
            inputs
        };
        let same = |package: &Package| {
            inputs
                .iter()
                .any(|input| input.name == package.name && input.version == package.version)
        };
        let packages = match found.packages.iter().all(same) {
            true => Vec::new(),
            false => found.packages.iter().map(in_words).collect(),
        };
        Entry {
            base,
            platform,
            source: source.to_owned(),
            origin: found.origin.clone(),
            date: found.date.clone(),
            glibc: found.glibc.clone(),
            layers: found
                .layers
                .iter()
                .map(|layer| LockedLayer {
                    digest: layer.digest(),
                    diff_id: layer.diff_id(),
                    size: layer.size(),
                })
                .collect(),
            inputs,
            packages,
        }
    }

    /// Compressed bytes of all layers.
    pub fn size(&self) -> u64 {
        self.layers.iter().map(|layer| layer.size).sum()
    }

    /// Days between the day of the inputs and `today` (days since 1970-01-01).
    pub fn age(&self, today: u64) -> u64 {
        today.saturating_sub(day_number(&self.date).unwrap_or(0))
    }

    /// What is in the base, one line a package: `libc6 2.41-12 armel`.
    pub fn package_lines(&self) -> Vec<String> {
        match self.packages.is_empty() {
            false => self.packages.clone(),
            true => self
                .inputs
                .iter()
                .map(|input| format!("{} {} {}", input.name, input.version, input.architecture))
                .collect(),
        }
    }
}

fn in_words(package: &Package) -> String {
    format!("{} {} {}", package.name, package.version, package.architecture)
}

impl Lock {
    /// Parses docker/bases.lock. The error names what is wrong and where.
    pub fn parse(text: &str) -> Result<Lock, String> {
        let file: File = toml::from_str(text).map_err(|error| error.to_string())?;
        if file.version != VERSION {
            return Err(format!(
                "it is of version {}, and this program knows version {VERSION}",
                file.version
            ));
        }
        let mut lock = Lock::default();
        for entry in file.base {
            let name = format!("{} {} {}", entry.base, entry.platform, entry.source);
            if day_number(&entry.date).is_none() {
                return Err(format!("{name}: `{}` is not a day: 2026-09-12", entry.date));
            }
            if entry.layers.is_empty() || entry.inputs.is_empty() {
                return Err(format!("{name}: no layers, or no inputs"));
            }
            if let Some(input) = entry.inputs.iter().find(|input| !is_hash(&input.digest)) {
                return Err(format!(
                    "{name}: {}: `{}` is not a digest: expected sha256: or sha512: and hex",
                    input.name, input.digest
                ));
            }
            if lock.get(entry.base, entry.platform, &entry.source).is_some() {
                return Err(format!("{name}: it is there twice"));
            }
            lock.set(entry);
        }
        Ok(lock)
    }

    /// The text of the file: the same entries always give the same bytes.
    pub fn render(&self) -> String {
        let mut text = format!(
            "# What each source of docker/bases.toml gave, and what builds take again. Written by `cargo xtask base lock` and\n\
             # `cargo xtask base update`; belongs into the repository.\nversion = {VERSION}\n"
        );
        for entry in &self.0 {
            let _ = writeln!(text, "\n[[base]]");
            let platform = entry.platform.to_string();
            let mut pairs = vec![
                ("base", entry.base.name()),
                ("platform", &platform),
                ("source", &entry.source),
                ("origin", &entry.origin),
                ("date", &entry.date),
            ];
            pairs.extend(entry.glibc.as_deref().map(|glibc| ("glibc", glibc)));
            for (key, value) in pairs {
                let _ = writeln!(text, "{key} = {}", quoted(value));
            }
            text.push_str("layers = [\n");
            for layer in &entry.layers {
                let _ = writeln!(
                    text,
                    "    {{ digest = \"{}\", diff_id = \"{}\", size = {} }},",
                    layer.digest, layer.diff_id, layer.size
                );
            }
            text.push_str("]\ninputs = [\n");
            for input in &entry.inputs {
                let mut fields = vec![
                    ("name", input.name.as_str()),
                    ("version", &input.version),
                    ("architecture", &input.architecture),
                ];
                fields.extend(input.archive.as_deref().map(|archive| ("archive", archive)));
                if !input.file.is_empty() {
                    fields.push(("file", &input.file));
                }
                fields.push(("digest", &input.digest));
                let fields: String = fields
                    .into_iter()
                    .map(|(key, value)| format!("{key} = {}, ", quoted(value)))
                    .collect();
                let _ = writeln!(text, "    {{ {fields}size = {} }},", input.size);
            }
            text.push_str("]\n");
            if !entry.packages.is_empty() {
                text.push_str("packages = [\n");
                for package in &entry.packages {
                    let _ = writeln!(text, "    {},", quoted(package));
                }
                text.push_str("]\n");
            }
        }
        text
    }

    /// All entries, sorted.
    pub fn entries(&self) -> &[Entry] {
        &self.0
    }

    /// The entries of a base for a platform.
    pub fn of(&self, base: Base, platform: Platform) -> impl Iterator<Item = &Entry> {
        let wanted = move |entry: &&Entry| entry.base == base && entry.platform == platform;
        self.0.iter().filter(wanted)
    }

    /// The entry of a source.
    pub fn get(&self, base: Base, platform: Platform, source: &str) -> Option<&Entry> {
        self.of(base, platform).find(|entry| entry.source == source)
    }

    /// Puts an entry in the place of the one for the same base, platform and source.
    pub fn set(&mut self, entry: Entry) {
        let key = |entry: &Entry| (entry.base, entry.platform, entry.source.clone());
        match self.0.binary_search_by_key(&key(&entry), key) {
            Ok(at) => self.0[at] = entry,
            Err(at) => self.0.insert(at, entry),
        }
    }

    /// Takes an entry out.
    pub fn remove(&mut self, base: Base, platform: Platform, source: &str) {
        self.0
            .retain(|entry| !(entry.base == base && entry.platform == platform && entry.source == source));
    }
}

/// A basic string of TOML. JSON's escapes are among TOML's; DEL, which JSON leaves alone, is not allowed bare.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string().replace('\u{7f}', "\\u007f")
}

fn is_hash(text: &str) -> bool {
    let hex = |hex: &str, length| hex.len() == length && hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    match text.split_once(':') {
        Some(("sha256", digits)) => hex(digits, 64),
        Some(("sha512", digits)) => hex(digits, 128),
        _ => false,
    }
}

/// Days since 1970-01-01 of `2026-09-12`; `None` for what is not a day. Howard Hinnant's days_from_civil.
pub fn day_number(date: &str) -> Option<u64> {
    let plain = date.len() == 10 && date.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-');
    let mut parts = date.split('-').map(|part| part.parse::<u64>().ok());
    let (Some(Some(year)), Some(Some(month)), Some(Some(day)), None, true) =
        (parts.next(), parts.next(), parts.next(), parts.next(), plain)
    else {
        return None;
    };
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let longest = [31, if leap { 29 } else { 28 }, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let length = *longest.get(usize::try_from(month).ok()?.checked_sub(1)?)?;
    if year < 1970 || !(1..=length).contains(&day) {
        return None;
    }
    let shifted = if month <= 2 { year - 1 } else { year };
    let (era, year_of_era) = (shifted / 400, shifted % 400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    (era * 146_097 + day_of_era).checked_sub(719_468)
}

/// The day in a date of RFC 5322, as signed releases write it: `2026-09-12` of `Sat, 12 Sep 2026 07:55:41 UTC`.
pub fn day_of_rfc5322(text: &str) -> Option<String> {
    const MONTHS: [&str; 12] = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ];
    let rest = text.split_once(", ").map_or(text, |(_, rest)| rest);
    let mut words = rest.split_whitespace();
    let day: u32 = words.next()?.parse().ok()?;
    let month = words.next()?;
    let month = MONTHS.iter().position(|name| *name == month)? + 1;
    let year: u32 = words.next()?.parse().ok()?;
    let date = format!("{year:04}-{month:02}-{day:02}");
    day_number(&date).map(|_| date)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oci::time::rfc3339;

    fn entry(base: Base, platform: Platform, source: &str) -> Entry {
        Entry {
            base,
            platform,
            source: source.to_owned(),
            origin: "a \"quoted\" \u{7f} origin".to_owned(),
            date: "2026-09-12".to_owned(),
            glibc: (base == Base::Debian).then(|| "2.41".to_owned()),
            layers: vec![LockedLayer {
                digest: Digest::of(b"blob"),
                diff_id: Digest::of(b"tar"),
                size: 4,
            }],
            inputs: vec![Input {
                name: "libc6".to_owned(),
                version: "2.41-12".to_owned(),
                architecture: "armel".to_owned(),
                archive: Some("main".to_owned()),
                file: "pool/main/g/glibc/x.deb".to_owned(),
                digest: Digest::of(b"deb").to_string(),
                size: 3,
            }],
            packages: vec!["a 1 x".to_owned()],
        }
    }

    #[test]
    fn the_file_is_sorted_and_reads_back() {
        let mut lock = Lock::default();
        lock.set(entry(Base::Debian, Platform::Amd64, "debian-archive"));
        lock.set(entry(Base::Debian, Platform::ArmV6, "debian-archive"));
        lock.set(entry(Base::Alpine, Platform::ArmV7, "minirootfs v3.24"));
        lock.set(entry(Base::Alpine, Platform::ArmV7, "minirootfs v3.24"));
        let text = lock.render();
        assert_eq!(Lock::parse(&text).as_ref(), Ok(&lock), "{text}");
        assert_eq!(Lock::parse(&text).unwrap().render(), text);
        let order: Vec<_> = lock
            .entries()
            .iter()
            .map(|entry| (entry.base, entry.platform))
            .collect();
        assert_eq!(
            order,
            [
                (Base::Alpine, Platform::ArmV7),
                (Base::Debian, Platform::ArmV6),
                (Base::Debian, Platform::Amd64)
            ]
        );
        lock.remove(Base::Alpine, Platform::ArmV7, "minirootfs v3.24");
        assert_eq!(lock.entries().len(), 2);
    }

    #[test]
    fn a_broken_lock_is_refused_and_says_why() {
        let mut lock = Lock::default();
        lock.set(entry(Base::Debian, Platform::ArmV6, "debian-archive"));
        let good = lock.render();
        let table = good.split_once("\n[[base]]").unwrap().1;
        for (text, wanted) in [
            (good.replace("version = 1\n", "version = 2\n"), "version 2"),
            (good.replace("2026-09-12", "2026-02-30"), "not a day"),
            (good.replace("linux/arm/v6", "linux/arm"), "unknown variant `linux/arm`"),
            (good.replace("size = 3", "size = -3"), "invalid value"),
            (
                good.replacen("digest = \"sha256:", "digest = \"sha256:0", 1),
                "is not a digest",
            ),
            (
                good.replace("archive = \"main\"", "colour = \"main\""),
                "unknown field `colour`",
            ),
            (format!("{good}\n[[base]]{table}"), "twice"),
            (good[..good.len() - 30].to_owned(), "TOML parse error"),
            (String::new(), "missing field `version`"),
        ] {
            let error = Lock::parse(&text).unwrap_err();
            assert!(error.contains(wanted), "{wanted}: {error}");
        }
        let named = good.replace(&Digest::of(b"deb").to_string(), "sha256:12");
        let error = Lock::parse(&named).unwrap_err();
        assert!(error.contains("debian linux/arm/v6 debian-archive: libc6"), "{error}");
    }

    #[test]
    fn days_are_counted_as_calendars_do() {
        for day in [0, 59, 789, 11_016, 11_017, 20_000, 47_540] {
            let date = &rfc3339(day * 86_400)[..10];
            assert_eq!(day_number(date), Some(day), "{date}");
        }
        for bad in [
            "",
            "2026-9-12",
            "2026-13-01",
            "2025-02-29",
            "1969-12-31",
            "2026-09-12T",
            "+026-09-12",
        ] {
            assert_eq!(day_number(bad), None, "{bad}");
        }
        assert_eq!(
            day_of_rfc5322("Sat, 12 Sep 2026 07:55:41 UTC").as_deref(),
            Some("2026-09-12")
        );
        assert_eq!(day_of_rfc5322("Sat, 31 Sep 2026 07:55:41 UTC"), None);
        assert_eq!(day_of_rfc5322("2026-09-12"), None);
        let entry = entry(Base::Debian, Platform::ArmV6, "x");
        assert_eq!(entry.age(day_number("2026-09-22").unwrap()), 10);
        assert_eq!(entry.age(0), 0);
    }
}
