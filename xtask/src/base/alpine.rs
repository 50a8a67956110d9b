//! Alpine's root file system, from its own archive: `alpine-minirootfs-VERSION-ARCH.tar.gz` becomes the base layer as it is.
//!
//! Alpine signs it with OpenPGP, by a key that no system has by itself. What is checked is the SHA-512 of the release file
//! that lies beside it, so the first time trusts the mirror's TLS certificate; from then on the lock has the SHA-512, and a
//! mirror is not trusted at all.

use std::fs;

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::catalogue::is_mirror;
use super::found::{Found, Input, Want};
use super::installed::installed;
use super::lock;
use crate::cache::key_of;
use crate::cx::Cx;
use crate::error::{Context, Error, Result, redact};
use crate::http::{Checksum, Client, Wanted};
use crate::oci::layer::{Layer, Limits};
use crate::oci::{Tree, media};
use crate::target::Platform;

/// Names the mirror for every verb that makes a base: a copy nearer by, or a stand-in for tests.
const MIRROR_VARIABLE: &str = "XTASK_ALPINE_MIRROR";
const NAME: &str = "alpine-minirootfs";
/// Longest release file that is read; the real ones have 5 kB.
const RELEASES: u64 = 1 << 20;
/// Largest archive; the real ones have 4 MB.
const ARCHIVE: u64 = 64 << 20;

/// What the release file says, as the cache remembers it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Release {
    input: Input,
    date: String,
}

/// The root file system of a branch (`v3.24`) for a platform. The variable XTASK_ALPINE_MIRROR wins over `mirror`.
pub fn minirootfs(cx: &Cx, mirror: &str, branch: &str, platform: Platform, want: Want<'_>) -> Result<Found> {
    let mirror = match std::env::var(MIRROR_VARIABLE) {
        Ok(named) if !named.is_empty() => {
            is_mirror(&named).map_err(|error| Error::new(format!("{MIRROR_VARIABLE}: {error}")))?;
            named
        }
        _ => mirror.to_owned(),
    };
    let architecture = platform.alpine_architecture();
    let directory = format!("{}/{branch}/releases/{architecture}", mirror.trim_end_matches('/'));
    let client = Client::from_environment();
    let key = key_of([&mirror, branch, architecture]);
    let release = match want {
        Want::Locked(inputs) => Release {
            input: locked(inputs)?,
            date: String::new(),
        },
        Want::Last if let Some(known) = cx.cache.record("alpine", &key) => known,
        Want::Last | Want::Newest => {
            let url = format!("{directory}/latest-releases.yaml");
            cx.ui.step("Resolving", &format!("Alpine {branch} {architecture}"));
            let text = client.get(cx, &url, RELEASES).hint(&format!(
                "is the network there, and has the mirror {branch} for {architecture}? {MIRROR_VARIABLE} names another mirror"
            ))?;
            let release = newest(&String::from_utf8_lossy(&text), architecture)
                .map_err(|error| Error::new(format!("{}: {error}", redact(&url))))
                .hint("is it a mirror of Alpine? XTASK_ALPINE_MIRROR names another")?;
            cx.cache.put_record("alpine", &key, &release)?;
            release
        }
    };
    let Release { input, date } = release;
    let wanted = Wanted {
        checksum: Checksum::parse(input.digest.rsplit(':').next().unwrap_or_default())?,
        size: Some(input.size),
        limit: ARCHIVE,
        label: input.file.clone(),
    };
    let path = client
        .download(cx, &format!("{directory}/{}", input.file), &wanted)
        .context(|| format!("Alpine {} {architecture}", input.version))
        .hint(&format!(
            "a mirror that no longer has it has moved on: `cargo xtask base update alpine` takes what it has; \
             {MIRROR_VARIABLE} names another mirror"
        ))?;
    let origin = format!("Alpine {} {architecture} minirootfs", input.version);
    let blob = fs::read(&path).context(|| format!("cannot read {}", path.display()))?;
    let layer = Layer::from_blob(blob, media::LAYER_GZIP, &origin, &Limits::default())
        .context(|| format!("{} cannot be a layer", input.file))?;
    let (packages, owners) = installed(&Tree::from_layers([&layer], &Limits::default())?);
    Ok(Found {
        layers: vec![layer],
        // As in Alpine's own image.
        config: json!({"config": {"Env": [PATH], "Cmd": ["/bin/sh"]}}),
        origin,
        packages,
        owners,
        glibc: None,
        inputs: vec![input],
        date,
    })
}

const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

fn locked(inputs: &[Input]) -> Result<Input> {
    match inputs {
        [input] if input.name == NAME && is_file_name(&input.file) => Ok(input.clone()),
        _ => Err(Error::new(format!(
            "{}: the entry does not name one {NAME}",
            lock::FILE
        ))),
    }
}

fn is_file_name(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-+~".contains(c);
    !name.is_empty() && !name.starts_with('.') && name.chars().all(plain)
}

/// The root file system in `latest-releases.yaml`. Of YAML only what that file has is read: a list of mappings from words to
/// words, with texts of several lines, which are passed over.
fn newest(text: &str, architecture: &str) -> Result<Release, String> {
    let mut items: Vec<Vec<(&str, &str)>> = Vec::new();
    for line in text.lines() {
        let line = line.trim_end();
        let pair = if let Some(rest) = line.strip_prefix('-').filter(|_| line != "---") {
            items.push(Vec::new());
            rest.trim_start()
        } else {
            match line.strip_prefix("  ") {
                // Deeper in: a line of a text.
                Some(rest) if !rest.starts_with([' ', '\t']) => rest,
                _ => continue,
            }
        };
        if let (Some(item), Some((key, value))) = (items.last_mut(), pair.split_once(':')) {
            item.push((key.trim(), value.trim().trim_matches('"')));
        }
    }
    let field = |item: &[(&str, &str)], name: &str| {
        let mut values = item.iter().filter(|(key, _)| *key == name).map(|(_, value)| *value);
        match (values.next(), values.next()) {
            (Some(value), None) => Ok(value.to_owned()),
            (None, _) => Err(format!("the release has no `{name}`")),
            _ => Err(format!("the release has `{name}` twice")),
        }
    };
    let mut found = items
        .iter()
        .filter(|item| item.contains(&("flavor", NAME)) && item.contains(&("arch", architecture)));
    let item = match (found.next(), found.next()) {
        (Some(item), None) => item,
        (None, _) => return Err(format!("it names no {NAME} for {architecture}")),
        _ => return Err(format!("it names several {NAME} for {architecture}")),
    };
    let version = field(item, "version")?;
    let file = field(item, "file")?;
    if !is_file_name(&file) || !file.starts_with(NAME) || !file.ends_with(".tar.gz") {
        return Err(format!("`{file}` is not a file name of {NAME}"));
    }
    let size = field(item, "size")?;
    let size = size
        .parse()
        .ok()
        .filter(|size| (1..=ARCHIVE).contains(size))
        .ok_or_else(|| format!("`{size}` is not the size of {NAME}"))?;
    let sha512 = field(item, "sha512")?;
    if sha512.len() != 128 || !sha512.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
        return Err(format!("`{sha512}` is not a SHA-512"));
    }
    let date = field(item, "date")?;
    if lock::day_number(&date).is_none() {
        return Err(format!("`{date}` is not a day"));
    }
    Ok(Release {
        input: Input {
            name: NAME.to_owned(),
            version,
            architecture: architecture.to_owned(),
            archive: None,
            file,
            digest: format!("sha512:{sha512}"),
            size,
        },
        date,
    })
}

#[cfg(test)]
mod tests {
    use super::newest;

    fn releases() -> String {
        let item = |flavor: &str, sum: char| {
            format!(
                "-\n  title: \"{flavor}\"\n  desc: |\n        file: not this one\n        and chroots.\n  branch: v3.24\n  \
                 arch: armhf\n  version: 3.24.2\n  flavor: {flavor}\n  file: {flavor}-3.24.2-armhf.tar.gz\n  \
                 date: 2026-08-20\n  time: 11:12:13\n  size: 3255452\n  sha256: {}\n  sha512: {}\n",
                sum.to_string().repeat(64),
                sum.to_string().repeat(128)
            )
        };
        format!("---\n{}{}", item("alpine-rpi", '1'), item("alpine-minirootfs", '2'))
    }

    #[test]
    fn the_root_file_system_is_found_among_the_releases() {
        let release = newest(&releases(), "armhf").unwrap();
        assert_eq!(release.input.file, "alpine-minirootfs-3.24.2-armhf.tar.gz");
        assert_eq!(release.input.version, "3.24.2");
        assert_eq!(release.input.size, 3_255_452);
        assert_eq!(release.input.digest, format!("sha512:{}", "2".repeat(128)));
        assert_eq!(release.date, "2026-08-20");
    }

    #[test]
    fn a_release_file_that_makes_no_sense_is_refused() {
        let good = releases();
        for (text, wanted) in [
            (good.replace("armhf", "armv7"), "no alpine-minirootfs for armhf"),
            (good.replace("2026-08-20", "tomorrow"), "`tomorrow` is not a day"),
            (
                good.replace("file: alpine-mini", "file: ../alpine-mini"),
                "not a file name",
            ),
            (good.replace("size: 3255452", "size: 99999999999"), "is not the size"),
            (good.replace("sha512: 2", "sha512: x"), "is not a SHA-512"),
            (good.replace("  sha512:", "  sha1024:"), "no `sha512`"),
            (good.replace("alpine-rpi", "alpine-minirootfs"), "several"),
            ("<html>not found</html>".to_owned(), "no alpine-minirootfs"),
        ] {
            let error = newest(&text, "armhf").unwrap_err();
            assert!(error.contains(wanted), "{wanted}: {error}");
        }
    }
}
