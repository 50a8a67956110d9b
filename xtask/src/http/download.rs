//! Downloads into the cache: by checksum, resumed where they broke off, also by a later run.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::Digest as _;

use super::failure::Failure;
use super::message::{Request, Response, shown};
use super::{Client, HeaderValue, StatusCode, header, parse};
use crate::cache::{full_disk, hex};
use crate::cx::Cx;
use crate::error::{Context, Error, Result};

/// What a file must hash to, in lower-case hex. Upper case is accepted and lowered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Checksum {
    /// SHA-256, 64 digits.
    Sha256(String),
    /// SHA-512, 128 digits: Alpine's.
    Sha512(String),
}

impl Checksum {
    /// From hex digits; the length says which.
    pub fn parse(text: &str) -> Result<Self> {
        let text = text.trim().to_ascii_lowercase();
        let digits = text.bytes().all(|byte| byte.is_ascii_hexdigit());
        match text.len() {
            64 if digits => Ok(Checksum::Sha256(text)),
            128 if digits => Ok(Checksum::Sha512(text)),
            _ => Err(Error::new(format!(
                "`{text}` is no checksum: expected 64 or 128 hex digits"
            ))),
        }
    }

    fn name(&self) -> &'static str {
        match self {
            Checksum::Sha256(_) => "sha256",
            Checksum::Sha512(_) => "sha512",
        }
    }

    fn value(&self) -> &str {
        match self {
            Checksum::Sha256(hex) | Checksum::Sha512(hex) => hex,
        }
    }
}

/// A file to be had.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// What it must hash to.
    pub checksum: Checksum,
    /// Its size in bytes, if that is known; anything else is an error then.
    pub size: Option<u64>,
    /// No more than this is ever written.
    pub limit: u64,
    /// What to call it in progress lines: `layer sha256:12ab…`.
    pub label: String,
}

/// What a SHA-512 is in the cache, which goes by SHA-256.
#[derive(Deserialize, Serialize)]
struct Known {
    sha256: String,
}

impl Client {
    /// The file that `wanted` describes, from the cache or from `url`: its path in the cache. It was hashed just now; one whose
    /// checksum is wrong is an error and is not kept. What is half fetched is gone on with by the next call, or run.
    pub fn download(&self, cx: &Cx, url: &str, wanted: &Wanted) -> Result<PathBuf> {
        let request = Request::get(parse(url)?);
        self.download_with(cx, wanted, &mut |range| {
            let request = match range {
                Some(range) => request.clone().header(header::RANGE, range),
                None => request.clone(),
            };
            self.send(cx, &request)
        })
    }

    /// The same for who has to say more than a URL: `open` sends the request, with this `Range` if there is one.
    pub fn download_with(&self, cx: &Cx, wanted: &Wanted, open: &mut Opener<'_>) -> Result<PathBuf> {
        if let Some(path) = cached(cx, &wanted.checksum)? {
            return Ok(path);
        }
        let name = format!("{}-{}", wanted.checksum.name(), wanted.checksum.value());
        let _lock = cx.cache.lock(&format!("download-{name}"))?;
        // Another run may have fetched it while this one waited.
        if let Some(path) = cached(cx, &wanted.checksum)? {
            return Ok(path);
        }
        let partial = cx.cache.partial(&name)?;
        let resumed = self.fetch(cx, wanted, &partial, open)?;
        let path = match keep(cx, wanted, &partial) {
            // What an earlier run left may have been another file of that address: once more, from the start.
            Err(_) if resumed => {
                self.fetch(cx, wanted, &partial, open)?;
                keep(cx, wanted, &partial)?
            }
            result => result?,
        };
        Ok(path)
    }

    /// Completes `partial`. Whether anything of it was there before.
    fn fetch(&self, cx: &Cx, wanted: &Wanted, partial: &Path, open: &mut Opener<'_>) -> Result<bool> {
        let mut file = OpenOptions::new()
            .create(true)
            .append(true)
            .open(partial)
            .context(|| format!("cannot write {}", partial.display()))?;
        let mut have = file.metadata()?.len();
        if have > wanted.size.unwrap_or(wanted.limit) {
            file.set_len(0)?;
            have = 0;
        }
        let resumed = have > 0;
        let bar = cx.ui.bytes_bar("Fetching", wanted.size.unwrap_or(0));
        bar.set_message(wanted.label.clone());
        let mut tries = self.retry.tries();
        let mut anew = false;
        while wanted.size != Some(have) || have == 0 {
            if wanted.size == Some(0) {
                break;
            }
            let range = (have > 0)
                .then(|| HeaderValue::from_str(&format!("bytes={have}-")))
                .transpose()?;
            let response = open(range)?;
            let start = match response.status() {
                StatusCode::OK => 0,
                StatusCode::PARTIAL_CONTENT => {
                    content_range(&response).filter(|&start| start == have).context(|| {
                        format!(
                            "{} answers with another part than the one asked for",
                            shown(response.url())
                        )
                    })?
                }
                // Nothing is left to send: either it was whole, which the checksum will tell, or it is not the same file.
                StatusCode::RANGE_NOT_SATISFIABLE if have > 0 && wanted.size.is_none() => break,
                StatusCode::RANGE_NOT_SATISFIABLE if have > 0 && !anew => {
                    anew = true;
                    file.set_len(0)?;
                    have = 0;
                    continue;
                }
                _ => return Err(response.into_error()),
            };
            if start == 0 && have > 0 {
                file.set_len(0)?;
                have = 0;
            }
            bar.set_position(have);
            if wanted.size.is_none()
                && let Some(length) = response.content_length()
            {
                bar.set_length(have + length);
            }
            let before = have;
            match pour(response, &mut file, &mut have, wanted, &bar) {
                Ok(()) if wanted.size.is_none() => break,
                // A part may be shorter than what was asked for (RFC 9110, 15.3.7), but not empty, and a whole is the whole.
                Ok(()) if wanted.size != Some(have) && (start == 0 || have == before) => {
                    return Err(Error::new(format!(
                        "{}: {have} bytes came, {} were expected",
                        wanted.label,
                        wanted.size.unwrap_or_default()
                    )));
                }
                Ok(()) => {}
                Err(Poured::Disk(error)) => return Err(error),
                Err(Poured::Network(failure)) => {
                    if have > before {
                        tries.progress();
                    }
                    tries.again(self.timer.as_ref(), failure, None, &cx.ui)?;
                }
            }
        }
        bar.finish_and_clear();
        file.sync_all().map_err(|error| full_disk(error, partial))?;
        Ok(resumed)
    }
}

/// Sends the request for a file, or with a `Range` for the rest of it.
pub type Opener<'a> = dyn FnMut(Option<HeaderValue>) -> Result<Response> + 'a;

enum Poured {
    Network(Failure),
    Disk(Error),
}

fn pour(
    mut response: Response,
    file: &mut File,
    have: &mut u64,
    wanted: &Wanted,
    bar: &indicatif::ProgressBar,
) -> std::result::Result<(), Poured> {
    let limit = wanted.size.unwrap_or(wanted.limit);
    let mut buffer = vec![0; 1 << 16];
    loop {
        let count = response.read(&mut buffer).map_err(Poured::Network)?;
        if count == 0 {
            return Ok(());
        }
        if *have + count as u64 > limit {
            return Err(Poured::Disk(Error::new(format!(
                "{} sends more than the {limit} bytes that were expected",
                shown(response.url())
            ))));
        }
        file.write_all(&buffer[..count])
            .map_err(|error| Poured::Disk(full_disk(error, Path::new(&wanted.label))))?;
        *have += count as u64;
        bar.set_position(*have);
    }
}

fn content_range(response: &Response) -> Option<u64> {
    // bytes 100-199/200
    let range = response.text_header("content-range")?.trim().strip_prefix("bytes ")?;
    range.split_once('-')?.0.trim().parse().ok()
}

fn cached(cx: &Cx, checksum: &Checksum) -> Result<Option<PathBuf>> {
    match checksum {
        Checksum::Sha256(hex) => cx.cache.get(hex),
        Checksum::Sha512(hex) => match cx.cache.record::<Known>("sha512", hex) {
            Some(known) => cx.cache.get(&known.sha256),
            None => Ok(None),
        },
    }
}

/// Hashes the complete file and gives it its name; what is not what was wanted is deleted.
fn keep(cx: &Cx, wanted: &Wanted, partial: &Path) -> Result<PathBuf> {
    let failed = || format!("cannot read {}", partial.display());
    let mut file = File::open(partial).context(failed)?;
    let (mut short, mut long) = (sha2::Sha256::new(), sha2::Sha512::new());
    let wants_long = matches!(wanted.checksum, Checksum::Sha512(_));
    let mut buffer = vec![0; 1 << 16];
    let mut size = 0;
    loop {
        let count = file.read(&mut buffer).context(failed)?;
        if count == 0 {
            break;
        }
        size += count as u64;
        short.update(&buffer[..count]);
        if wants_long {
            long.update(&buffer[..count]);
        }
    }
    let sha256 = hex(&short.finalize());
    let found = if wants_long {
        hex(&long.finalize())
    } else {
        sha256.clone()
    };
    if found != wanted.checksum.value() {
        fs::remove_file(partial).context(|| format!("cannot delete {}", partial.display()))?;
        let (name, expected) = (wanted.checksum.name(), wanted.checksum.value());
        let text = format!(
            "{}: {name} of the {size} bytes is {found}, expected {expected}",
            wanted.label
        );
        return Err(Error::new(text)
            .hint("the download was damaged or replaced; try again, and distrust the server if it happens twice"));
    }
    let path = cx.cache.adopt(partial, &sha256)?;
    if wants_long {
        cx.cache
            .put_record("sha512", wanted.checksum.value(), &Known { sha256 })?;
    }
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::Checksum;

    #[test]
    fn checksums_are_known_by_their_length() {
        assert_eq!(
            Checksum::parse(&"A".repeat(64)).unwrap(),
            Checksum::Sha256("a".repeat(64))
        );
        assert_eq!(
            Checksum::parse(&format!(" {}\n", "0".repeat(128))).unwrap(),
            Checksum::Sha512("0".repeat(128))
        );
        for wrong in ["", "../../etc/passwd", &"g".repeat(64), &"0".repeat(63)] {
            assert!(Checksum::parse(wrong).is_err(), "{wrong}");
        }
    }
}
