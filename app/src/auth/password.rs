//! The owner's password: argon2id with a cost that is a setting, kept as a PHC string.

use argon2::password_hash::phc::PasswordHash;
use argon2::{Algorithm, Argon2, Params, PasswordHasher, PasswordVerifier, Version};

use crate::cli::Failure;
use crate::domain::random;

/// In characters. The login is open to the whole network, so short ones are not accepted.
const SHORTEST: usize = 12;
/// In bytes. Longer input is refused before it is hashed.
const LONGEST: usize = 1024;

/// What one look at a password costs: the owner now and then, whoever guesses each time. The product of both is what
/// counts; memory is what makes guessing on many small processors dear.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cost {
    /// In MiB.
    pub memory: u32,
    pub passes: u32,
}

impl Cost {
    /// The least of OWASP's list (Password Storage Cheat Sheet, argon2id), in its first line; the others are 12M:3, 9M:4
    /// and 7M:5, about as dear. An emulated Pi Zero took 3.3 s for the first.
    pub const DEFAULT: Self = Self { memory: 19, passes: 2 };

    /// Takes `19M:2`: 1 to 256 MiB, 1 to 32 passes.
    pub fn parse(text: &str) -> Option<Self> {
        let (memory, passes) = text.split_once("M:")?;
        let number = |text: &str, most: u32| {
            let plain = text.bytes().all(|byte| byte.is_ascii_digit());
            text.parse().ok().filter(|number| plain && (1..=most).contains(number))
        };
        Some(Self {
            memory: number(memory, 256)?,
            passes: number(passes, 32)?,
        })
    }

    /// Whether OWASP would call it too little.
    pub fn is_weak(self) -> bool {
        self.memory * self.passes < 7 * 5
    }

    fn argon2(self) -> Argon2<'static> {
        let params = Params::new(self.memory * 1024, self.passes, 1, None).unwrap_or(Params::DEFAULT);
        Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
    }
}

impl std::fmt::Display for Cost {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}M:{}", self.memory, self.passes)
    }
}

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

pub fn hash(password: &NewPassword, cost: Cost) -> Result<String, Failure> {
    let salt = random::bytes::<16>().map_err(|error| Failure::fatal(error.to_string()))?;
    cost.argon2()
        .hash_password_with_salt(password.0.as_bytes(), &salt)
        .map(|hash| hash.to_string())
        .map_err(|error| Failure::fatal(format!("cannot hash the password: {error}")))
}

/// True when new hashes are made differently: the next login makes a new one.
pub fn is_outdated(hash: &str, cost: Cost) -> bool {
    let Ok(old) = PasswordHash::new(hash) else {
        return false;
    };
    let number = |name: &str| old.params.get_decimal(name);
    let today = [("m", cost.memory * 1024), ("t", cost.passes), ("p", 1)];
    old.algorithm.as_str() != "argon2id"
        || old.version != Some(19)
        || today.iter().any(|(name, value)| number(name) != Some(*value))
}

/// Takes the same time whether or not there is an owner. Slow and large: never on the event loop.
pub fn verify(typed: &str, owner: Option<&str>, cost: Cost) -> bool {
    if typed.len() > LONGEST {
        return false;
    }
    match owner {
        // It costs what it would if there were one.
        None => {
            let _ = std::hint::black_box(cost.argon2().hash_password_with_salt(typed.as_bytes(), &[0; 16]));
            false
        }
        Some(hash) => {
            PasswordHash::new(hash).is_ok_and(|hash| Argon2::default().verify_password(typed.as_bytes(), &hash).is_ok())
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const CHEAP: Cost = Cost { memory: 1, passes: 1 };

    #[test]
    fn only_the_right_one() {
        let hash = hash(&NewPassword::parse("correct horse battery").unwrap(), CHEAP).unwrap();
        assert!(hash.starts_with("$argon2id$v=19$m=1024,t=1,p=1$"), "{hash}");
        let verify = |typed, owner| verify(typed, owner, CHEAP);
        assert!(verify("correct horse battery", Some(&hash)));
        assert!(!verify("correct horse batterx", Some(&hash)));
        assert!(!verify("", Some(&hash)));
        assert!(!verify("anything", None));
        assert!(!verify("anything", Some("not a hash")));
    }

    #[test]
    fn costs() {
        assert_eq!(Cost::parse("19M:2"), Some(Cost::DEFAULT));
        assert_eq!(Cost::DEFAULT.to_string(), "19M:2");
        let hash = hash(&NewPassword::parse("correct horse battery").unwrap(), Cost::DEFAULT).unwrap();
        assert!(hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{hash}");
        for wrong in [
            "", "19", "19M", "M:2", "0M:1", "1M:0", "257M:1", "1M:33", "19M:+2", "19K:2", "1M:1M:1",
        ] {
            assert_eq!(Cost::parse(wrong), None, "{wrong}");
        }
        let weak = |text| Cost::parse(text).unwrap().is_weak();
        assert!(weak("19M:1") && weak("7M:4"));
        assert!(!["19M:2", "12M:3", "9M:4", "7M:5", "46M:1"].into_iter().any(weak));
    }

    #[test]
    fn other_costs_are_known_as_such() {
        let password = NewPassword::parse("correct horse battery").unwrap();
        let old = hash(&password, CHEAP).unwrap();
        let today = Cost { memory: 2, passes: 1 };
        assert!(is_outdated(&old, today), "{old}");
        assert!(is_outdated(&old, Cost { memory: 1, passes: 2 }), "{old}");
        assert!(
            verify("correct horse battery", Some(&old), today),
            "it is checked with its own cost"
        );
        assert!(!is_outdated(&hash(&password, today).unwrap(), today));
        assert!(!is_outdated("not a hash", today));
    }

    #[test]
    fn weak_ones_are_refused() {
        assert!(NewPassword::parse("short").is_err());
        assert!(NewPassword::parse(&"x".repeat(LONGEST + 1)).is_err());
        assert!(NewPassword::parse("正しい馬の電池とホチキス").is_ok());
    }
}
