//! The owner's password: argon2id, 19 MiB and two passes, kept as a PHC string.

use argon2::password_hash::phc::PasswordHash;
use argon2::{Argon2, PasswordHasher, PasswordVerifier};

use crate::cli::Failure;
use crate::domain::random;

/// In characters. The login is open to the whole network, so short ones are not accepted.
const SHORTEST: usize = 12;
/// In bytes. Longer input is refused before it is hashed.
const LONGEST: usize = 1024;

/// Checked when there is no owner, so that the answer takes as long as any other.
const NOBODY: &str =
    "$argon2id$v=19$m=19456,t=2,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

/// A password that is good enough to be set.
pub struct NewPassword(String);

impl std::fmt::Debug for NewPassword {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("NewPassword(..)")
    }
}

impl NewPassword {
    pub fn parse(typed: &str) -> Result<Self, Failure> {
        if typed.chars().count() < SHORTEST || typed.len() > LONGEST {
            return Err(Failure::usage(
                format!("the password must have {SHORTEST} characters or more, and {LONGEST} bytes at most"),
                "four or five random words make a good one",
            ));
        }
        Ok(Self(typed.to_owned()))
    }

    /// One that is the owner's already. None when it would not be accepted today: it keeps its hash.
    pub fn known(typed: String) -> Option<Self> {
        Self::parse(&typed).ok()
    }
}

pub fn hash(password: &NewPassword) -> Result<String, Failure> {
    let salt = random::bytes::<16>().map_err(|error| Failure::fatal(error.to_string()))?;
    Argon2::default()
        .hash_password_with_salt(password.0.as_bytes(), &salt)
        .map(|hash| hash.to_string())
        .map_err(|error| Failure::fatal(format!("cannot hash the password: {error}")))
}

/// True when new hashes are made differently: the next login makes a new one.
pub fn is_outdated(hash: &str) -> bool {
    let Ok(old) = PasswordHash::new(hash) else {
        return false;
    };
    match PasswordHash::new(NOBODY) {
        Ok(today) => (old.algorithm, old.version, old.params) != (today.algorithm, today.version, today.params),
        Err(_) => false,
    }
}

/// Takes the same time whether or not there is an owner. Slow and large: never on the event loop.
pub fn verify(typed: &str, owner: Option<&str>) -> bool {
    if typed.len() > LONGEST {
        return false;
    }
    let Ok(hash) = PasswordHash::new(owner.unwrap_or(NOBODY)) else {
        return false;
    };
    Argon2::default().verify_password(typed.as_bytes(), &hash).is_ok() && owner.is_some()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn only_the_right_one() {
        let hash = hash(&NewPassword::parse("correct horse battery").unwrap()).unwrap();
        assert!(hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{hash}");
        assert!(verify("correct horse battery", Some(&hash)));
        assert!(!verify("correct horse batterx", Some(&hash)));
        assert!(!verify("", Some(&hash)));
        assert!(!verify("anything", None));
        assert!(!verify("anything", Some("not a hash")));
    }

    #[test]
    fn the_stand_in_costs_as_much_as_a_real_one() {
        let hash = PasswordHash::new(NOBODY).unwrap();
        let real = Argon2::default().hash_password_with_salt(b"x", &[1; 16]).unwrap();
        assert_eq!(hash.params, real.params);
        assert_eq!(hash.hash.unwrap().len(), real.hash.unwrap().len());
    }

    #[test]
    fn older_hashes_are_known_as_such() {
        let weak = Argon2::new(
            argon2::Algorithm::Argon2id,
            argon2::Version::V0x13,
            argon2::Params::new(8192, 1, 1, None).unwrap(),
        );
        let old = weak
            .hash_password_with_salt(b"correct horse battery", &[1; 16])
            .unwrap();
        let old = old.to_string();
        assert!(is_outdated(&old), "{old}");
        assert!(
            verify("correct horse battery", Some(&old)),
            "it is checked with its own cost"
        );
        let new = hash(&NewPassword::parse("correct horse battery").unwrap()).unwrap();
        assert!(!is_outdated(&new));
        assert!(!is_outdated("not a hash"));
    }

    #[test]
    fn weak_ones_are_refused() {
        assert!(NewPassword::parse("short").is_err());
        assert!(NewPassword::parse(&"x".repeat(LONGEST + 1)).is_err());
        assert!(NewPassword::parse("正しい馬の電池とホチキス").is_ok());
    }
}
