//! The token of a session: the browser holds it, the database only its hash.

use sha2::{Digest, Sha256};

use crate::domain::hex;
use crate::domain::random::{self, NoRandom};

/// The cookie of a signed-in browser.
pub const COOKIE: &str = "blog_session";
/// The cookie that ties a login form to the browser that asked for it.
pub const LOGIN_COOKIE: &str = "blog_login";
/// 30 days.
pub const LIFE_SECONDS: i64 = 30 * 24 * 3600;
/// An hour to type a password.
pub const LOGIN_LIFE_SECONDS: i64 = 3600;

/// 32 random bytes.
#[derive(Clone, Copy)]
pub struct Token([u8; 32]);

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Token(..)")
    }
}

impl Token {
    pub fn generate() -> Result<Self, NoRandom> {
        random::bytes().map(Self)
    }

    pub fn parse(text: &str) -> Option<Self> {
        hex::decode(text).map(Self)
    }

    /// What goes into the cookie.
    pub fn reveal(&self) -> String {
        hex::encode(&self.0)
    }

    /// What goes into the database.
    pub fn hash(&self) -> [u8; 32] {
        self.derive("session")
    }

    /// What goes into this browser's forms. It is a hash, so a page that leaks does not give the session away.
    pub fn csrf(&self) -> String {
        hex::encode(&self.derive("form"))
    }

    fn derive(&self, purpose: &str) -> [u8; 32] {
        Sha256::new()
            .chain_update(purpose)
            .chain_update([0])
            .chain_update(self.0)
            .finalize()
            .into()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_three_faces_differ_and_debug_shows_none() {
        let token = Token::generate().unwrap();
        let (cookie, stored, form) = (token.reveal(), hex::encode(&token.hash()), token.csrf());
        assert!(cookie != stored && stored != form && cookie != form);
        assert_eq!(Token::parse(&cookie).unwrap().hash(), token.hash());
        assert_eq!(format!("{token:?}"), "Token(..)");
        assert!(Token::parse("short").is_none());
    }
}
