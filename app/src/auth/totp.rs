//! One-time passwords of RFC 6238: HMAC-SHA-1, 30 seconds, six digits. That is what every authenticator app can do.

use hmac::{Hmac, KeyInit, Mac};
use sha1::Sha1;
use subtle::ConstantTimeEq;

use crate::domain::Stamp;
use crate::domain::random::{self, NoRandom};

/// In seconds (RFC 6238, section 4.1).
const STEP: i64 = 30;
/// How many steps a single code may be early or late (section 5.2).
const WINDOW: i64 = 1;
/// How far ahead of this machine's clock two consecutive codes are looked for: a week. The Pi has no clock that runs
/// without power, and a code from the phone is then the better clock (section 6). Two codes in a row are guessed with a
/// chance of one in fifty million.
const AHEAD: i64 = 7 * 24 * 3600 / STEP;
/// And how far behind: a day.
const BEHIND: i64 = 24 * 3600 / STEP;

const ALPHABET: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

/// The secret that the owner's phone and the blog share: 20 bytes, the length of the hash (RFC 4226, section 4).
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Vec<u8>);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(..)")
    }
}

impl Secret {
    pub fn generate() -> Result<Self, NoRandom> {
        Ok(Self(random::bytes::<20>()?.to_vec()))
    }

    /// From the database.
    pub fn of_bytes(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }

    /// For the database.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// Base32 without padding (RFC 4648), as people type it; spaces are nothing.
    pub fn parse(text: &str) -> Option<Self> {
        let (mut bytes, mut buffer, mut bits) = (Vec::new(), 0u32, 0);
        for byte in text.bytes().filter(|byte| *byte != b' ') {
            let value = ALPHABET
                .iter()
                .position(|letter| *letter == byte.to_ascii_uppercase())?;
            buffer = (buffer << 5 | u32::try_from(value).ok()?) & 0xfff;
            bits += 5;
            if bits >= 8 {
                bits -= 8;
                bytes.push(u8::try_from(buffer >> bits & 0xff).ok()?);
            }
        }
        (bytes.len() == 20).then_some(Self(bytes))
    }

    /// In groups of four.
    pub fn base32(&self) -> String {
        let text = encode(&self.0);
        let groups = text.as_bytes().chunks(4).map(String::from_utf8_lossy);
        groups.collect::<Vec<_>>().join(" ")
    }

    /// What authenticator apps read: `otpauth://totp/Blog?secret=...`.
    pub fn uri(&self, title: &str) -> String {
        let mut label = String::new();
        for byte in title.bytes() {
            if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
                label.push(char::from(byte));
            } else {
                label.push_str(&format!("%{byte:02X}"));
            }
        }
        format!("otpauth://totp/{label}?secret={}&issuer={label}", encode(&self.0))
    }

    /// What the phone shows at this moment.
    pub fn code_at(&self, now: Stamp) -> String {
        format!("{:06}", self.code(now.0.div_euclid(STEP)))
    }

    fn code(&self, step: i64) -> u32 {
        let Ok(mut mac) = Hmac::<Sha1>::new_from_slice(&self.0) else {
            // HMAC takes keys of every length.
            return u32::MAX;
        };
        mac.update(&step.to_be_bytes());
        let hash = mac.finalize().into_bytes();
        let start = usize::from(hash[19] & 15);
        let word = hash[start..start + 4]
            .iter()
            .fold(0u32, |word, byte| word << 8 | u32::from(*byte));
        (word & 0x7fff_ffff) % 1_000_000
    }

    /// The step to remember when what was typed is right: one code that fits now, or two consecutive ones, which may be
    /// from a clock that runs ahead of this machine's. Nothing from `last` or before it is right again.
    pub fn check(&self, typed: &str, now: Stamp, last: i64) -> Option<i64> {
        let digits: String = typed.chars().filter(|c| !c.is_whitespace() && *c != '-').collect();
        let is_number = digits.bytes().all(|byte| byte.is_ascii_digit());
        let current = now.0.div_euclid(STEP);
        match (is_number, digits.len()) {
            (true, 6) => {
                let steps = current - WINDOW..=current + WINDOW;
                steps.filter(|step| *step > last).find(|step| self.is(*step, &digits))
            }
            (true, 12) => {
                let (first, second) = digits.split_at(6);
                let mut steps = (current - BEHIND).max(last + 1)..=(current + AHEAD).max(last + AHEAD);
                let found = steps.find(|step| self.is(*step, first) && self.is(*step + 1, second));
                found.map(|step| step + 1)
            }
            _ => None,
        }
    }

    fn is(&self, step: i64, digits: &str) -> bool {
        format!("{:06}", self.code(step))
            .as_bytes()
            .ct_eq(digits.as_bytes())
            .into()
    }
}

/// Base32 in upper case, without padding.
fn encode(bytes: &[u8]) -> String {
    let (mut text, mut buffer, mut bits) = (String::new(), 0u32, 0);
    for byte in bytes {
        buffer = (buffer << 8 | u32::from(*byte)) & 0xffff;
        bits += 8;
        while bits >= 5 {
            bits -= 5;
            text.push(char::from(ALPHABET[(buffer >> bits & 31) as usize]));
        }
    }
    if bits > 0 {
        text.push(char::from(ALPHABET[(buffer << (5 - bits) & 31) as usize]));
    }
    text
}

/// A recovery code as it is shown: 60 random bits in three groups.
pub fn recovery_code() -> Result<String, NoRandom> {
    let text = encode(&random::bytes::<8>()?).to_lowercase();
    Ok(format!("{}-{}-{}", &text[..4], &text[4..8], &text[8..12]))
}

/// A recovery code as it is hashed: however it was typed.
pub fn tidy(code: &str) -> String {
    let letters = code.chars().filter(char::is_ascii_alphanumeric);
    letters.map(|c| c.to_ascii_lowercase()).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// RFC 6238, appendix B; the last six of its eight digits.
    const VECTORS: [(i64, &str); 6] = [
        (59, "287082"),
        (1_111_111_109, "081804"),
        (1_111_111_111, "050471"),
        (1_234_567_890, "005924"),
        (2_000_000_000, "279037"),
        (20_000_000_000, "353130"),
    ];

    fn secret() -> Secret {
        Secret::of_bytes(b"12345678901234567890".to_vec())
    }

    #[test]
    fn the_vectors_of_the_rfc() {
        for (time, code) in VECTORS {
            assert_eq!(secret().check(code, Stamp(time), 0), Some(time / 30), "{time}");
        }
        assert_eq!(secret().base32(), "GEZD GNBV GY3T QOJQ GEZD GNBV GY3T QOJQ");
        assert_eq!(Secret::parse("gezd gnbv GY3T QOJQ GEZDGNBVGY3TQOJQ"), Some(secret()));
        for bad in ["", "GEZD", "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJ1", "あ"] {
            assert_eq!(Secret::parse(bad), None, "{bad}");
        }
        assert_eq!(
            secret().uri("My blog"),
            "otpauth://totp/My%20blog?secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ&issuer=My%20blog"
        );
    }

    fn at(step: i64) -> String {
        secret().code_at(Stamp(step * 30))
    }

    #[test]
    fn a_code_works_once_and_for_a_minute_and_a_half() {
        let now = Stamp(3_000_000_000);
        let step = now.0 / 30;
        for offset in -3..=3 {
            let wanted = (-1..=1).contains(&offset).then_some(step + offset);
            assert_eq!(secret().check(&at(step + offset), now, 0), wanted, "{offset}");
        }
        assert_eq!(secret().check(&at(step), now, step), None, "it was used");
        assert_eq!(secret().check(&at(step - 1), now, step), None, "a later one was used");
        assert_eq!(secret().check(&at(step + 1), now, step), Some(step + 1));
        let spaced = format!(" {} {}", &at(step)[..3], &at(step)[3..]);
        assert_eq!(secret().check(&spaced, now, 0), Some(step));
        for bad in ["", "12345", "1234567", "abcdef", "１２３４５６"] {
            assert_eq!(secret().check(bad, now, 0), None, "{bad}");
        }
    }

    #[test]
    fn two_codes_in_a_row_make_up_for_a_clock_that_lags() {
        let now = Stamp(3_000_000_000);
        let ahead = now.0 / 30 + 2 * 24 * 120;
        let pair = format!("{} {}", at(ahead), at(ahead + 1));
        assert_eq!(secret().check(&pair, now, 0), Some(ahead + 1));
        assert_eq!(secret().check(&pair, now, ahead + 1), None, "they were used");
        // The next pair works, though this machine's clock still lags.
        let next = format!("{}{}", at(ahead + 2), at(ahead + 3));
        assert_eq!(secret().check(&next, now, ahead + 1), Some(ahead + 3));
        let not_consecutive = format!("{} {}", at(ahead), at(ahead + 2));
        assert_eq!(secret().check(&not_consecutive, now, 0), None);
        let too_far = now.0 / 30 + AHEAD + 10;
        assert_eq!(
            secret().check(&format!("{}{}", at(too_far), at(too_far + 1)), now, 0),
            None
        );
    }

    #[test]
    fn recovery_codes() {
        let code = recovery_code().unwrap();
        assert_eq!(code.len(), 14, "{code}");
        assert_eq!(tidy(&code.to_uppercase().replace('-', " ")), tidy(&code));
        assert_ne!(code, recovery_code().unwrap());
    }
}
