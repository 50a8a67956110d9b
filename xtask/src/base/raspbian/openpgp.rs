//! A signed release, checked against one key that is pinned by its fingerprint.
//!
//! Raspbian's key is of 2012 and has signed its own name and its expiry with SHA-1. Verifiers that have a policy (Sequoia's, so
//! apt's from Debian 13 on) refuse it for that. Here the fingerprint is the trust, and what a key says of itself counts for
//! nothing; only the signature of the release matters, and that must use a hash of the SHA-2 family. gpgv does exactly this:
//! it takes every key of the ring that it is given for a good one and reports which key signed, and with which hash.

use std::fs;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::cx::Cx;
use crate::error::{Context, Error, Result};
use crate::toolchain::debs;

/// OpenPGP's numbers of hashes (RFC 9580, 9.5) that a signature of data may have: SHA-256, -384, -512, -224.
const HASHES: [u32; 4] = [8, 9, 10, 11];

/// The text of a cleartext-signed message (RFC 9580, 7), if the key with this fingerprint has signed it. `key` is a public key,
/// armoured or not; whatever else it holds has no say. `what` is for messages.
pub fn signed_text(cx: &Cx, what: &str, message: &[u8], key: &[u8], fingerprint: &str) -> Result<String> {
    let dir = cx.cache.temp_dir()?;
    let path = |name: &str| dir.path().join(name);
    fs::write(path("key.gpg"), binary(key)?)?;
    fs::write(path("message"), message)?;
    let gpgv = match cx.shell.which("gpgv") {
        Some(gpgv) => gpgv,
        None => debs::fetch_first(cx, &[("gpgv", "usr/bin/gpgv")])
            .context(|| "gpgv, which checks signatures, is not on this machine")?,
    };
    let output = cx
        .shell
        .command(gpgv)
        .arg("--homedir")
        .arg(dir.path())
        .arg("--keyring")
        .arg(path("key.gpg"))
        .args(["--status-fd", "1", "--output"])
        .arg(path("text"))
        .arg(path("message"))
        .env("LC_ALL", "C")
        .output()?;
    judge(&output.text(), fingerprint)
        .map_err(|reason| Error::new(format!("{what}: {reason}")))
        .hint("do not trust this mirror; docker/bases.toml names others, and [base.raspbian] in xtask.toml the key")?;
    let text = fs::read(path("text")).context(|| format!("{what}: gpgv gave no text"))?;
    String::from_utf8(text).context(|| format!("{what}: the signed text is not UTF-8"))
}

/// What gpgv said (GnuPG's doc/DETAILS, "VALIDSIG"): the error is the reason for distrust.
fn judge(status: &str, fingerprint: &str) -> Result<(), String> {
    let lines: Vec<Vec<&str>> = status
        .lines()
        .filter_map(|line| line.strip_prefix("[GNUPG:] "))
        .map(|line| line.split_whitespace().collect())
        .collect();
    let with = |keyword: &str| lines.iter().find(|words| words.first() == Some(&keyword));
    if let Some(words) = ["BADSIG", "EXPSIG", "REVKEYSIG"].into_iter().find_map(with) {
        let what = match words[0] {
            "BADSIG" => "the signature does not fit the text",
            "EXPSIG" => "the signature has expired",
            _ => "the key has been revoked",
        };
        return Err(format!("{what} (key {})", words.get(1).unwrap_or(&"?")));
    }
    let valid = lines.iter().filter(|words| words.first() == Some(&"VALIDSIG"));
    let mut others = Vec::new();
    for words in valid {
        let [_, key, _, _, _, _, _, _, hash, class, ..] = words[..] else {
            return Err(format!(
                "gpgv said something that is not understood: {}",
                words.join(" ")
            ));
        };
        // The very key, not one of which the ring says that it belongs to it.
        if key != fingerprint {
            others.push(key);
            continue;
        }
        if !["00", "01"].contains(&class) {
            return Err(format!("it is a signature of class {class}, not of a text"));
        }
        return match hash.parse().is_ok_and(|hash| HASHES.contains(&hash)) {
            true => Ok(()),
            false => Err(format!(
                "the text is signed with hash algorithm {hash}, which is too weak (wanted: SHA-2)"
            )),
        };
    }
    let pinned = format!("and the pinned key is {fingerprint}");
    if !others.is_empty() {
        return Err(format!("it is signed by {}, {pinned}", others.join(", ")));
    }
    match with("ERRSIG").or_else(|| with("NO_PUBKEY")) {
        Some(words) => Err(format!(
            "it is signed by a key that the mirror does not offer ({}), {pinned}",
            words.get(1).unwrap_or(&"?")
        )),
        None => Err("it is not signed".to_owned()),
    }
}

/// A public key without its armour (RFC 9580, 6.2). The checksum at its end says nothing that the fingerprint does not.
fn binary(key: &[u8]) -> Result<Vec<u8>> {
    const BEGIN: &str = "-----BEGIN PGP PUBLIC KEY BLOCK-----";
    let Some(text) = std::str::from_utf8(key).ok().filter(|text| text.contains(BEGIN)) else {
        return Ok(key.to_vec());
    };
    let broken = || Error::new("the armour of the public key is broken");
    let (_, rest) = text.split_once(BEGIN).ok_or_else(broken)?;
    let (body, _) = rest
        .split_once("-----END PGP PUBLIC KEY BLOCK-----")
        .ok_or_else(broken)?;
    let mut lines = body.lines().map(str::trim);
    // Headers, if any, end with an empty line.
    lines.by_ref().skip(1).find(|line| line.is_empty()).ok_or_else(broken)?;
    let data: String = lines.take_while(|line| !line.starts_with('=')).collect();
    STANDARD.decode(data).map_err(|_| broken())
}

/// Whether a text can be a fingerprint of version 4: 40 hexadecimal digits, upper case.
pub fn is_fingerprint(text: &str) -> bool {
    text.len() == 40 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'A'..=b'F'))
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "A0DA38D0D76E8B5D638872819165938D90FDDD2E";

    fn valid(key: &str, hash: u32) -> String {
        format!("[GNUPG:] NEWSIG\n[GNUPG:] GOODSIG 1 x\n[GNUPG:] VALIDSIG {key} 2026-01-01 1 0 4 0 1 {hash} 01 {KEY}\n")
    }

    #[test]
    fn only_the_pinned_key_and_a_strong_hash_count() {
        assert_eq!(judge(&valid(KEY, 10), KEY), Ok(()));
        let other = "0".repeat(40);
        for (status, reason) in [
            (String::new(), "it is not signed"),
            // A subkey of which the ring claims that it is the pinned key's.
            (valid(&other, 10), "it is signed by 0000"),
            (valid(KEY, 2), "hash algorithm 2, which is too weak"),
            ("[GNUPG:] BADSIG 90FDDD2E x\n".to_owned(), "does not fit"),
            (format!("{}[GNUPG:] EXPSIG 90FDDD2E x\n", valid(KEY, 10)), "has expired"),
            ("[GNUPG:] ERRSIG ABCD 1 10 01 1 9\n".to_owned(), "does not offer (ABCD)"),
            ("[GNUPG:] VALIDSIG\n".to_owned(), "not understood"),
            (valid(KEY, 10).replace(" 01 ", " 10 "), "class 10"),
        ] {
            let error = judge(&status, KEY).unwrap_err();
            assert!(error.contains(reason), "{status}: {error}");
        }
    }

    #[test]
    fn armour_is_taken_off() {
        let armoured = "-----BEGIN PGP PUBLIC KEY BLOCK-----\nVersion: x\n\naGVs\nbG8=\n=abcd\n-----END PGP PUBLIC KEY BLOCK-----\n";
        assert_eq!(binary(armoured.as_bytes()).unwrap(), b"hello");
        assert_eq!(
            binary(&armoured.replace("Version: x\n", "").into_bytes()).unwrap(),
            b"hello"
        );
        assert_eq!(binary(b"\x99\x01\x0d").unwrap(), b"\x99\x01\x0d");
        for broken in [armoured.replace("aGVs", "a*Vs"), armoured.replace("-----END", "")] {
            assert!(binary(broken.as_bytes()).is_err(), "{broken}");
        }
        assert!(is_fingerprint(KEY) && !is_fingerprint(&KEY.to_lowercase()) && !is_fingerprint("90FDDD2E"));
    }
}
