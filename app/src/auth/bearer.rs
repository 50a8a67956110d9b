//! Programs that post: the token they send, and what it allows.

use std::time::Instant;

use actix_web::HttpRequest;
use actix_web::http::header;
use sha2::{Digest, Sha256};

use super::scope::{Scope, Scopes};
use super::session::Token;
use crate::db::queries::tokens;
use crate::domain::{Stamp, hex};
use crate::error::AppError;
use crate::startup::{AppState, state};

/// Says what it is, so that it is found where it should not be.
const PREFIX: &str = "blog_";
/// How exactly the list of tokens says when one was used, in seconds: each change is a write to an SD card.
const TOUCH: i64 = 3600;

/// A token as a program sends it: 32 random bytes.
#[derive(Clone, Copy)]
pub struct ApiKey([u8; 32]);

impl std::fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ApiKey(..)")
    }
}

impl ApiKey {
    /// Made of the key of the form that asked for it.
    pub fn of(key: &Token) -> Self {
        let hash = Sha256::new()
            .chain_update("api key")
            .chain_update([0])
            .chain_update(key.reveal());
        Self(hash.finalize().into())
    }

    pub fn parse(text: &str) -> Option<Self> {
        hex::decode(text.strip_prefix(PREFIX)?).map(Self)
    }

    /// What the program sends.
    pub fn reveal(&self) -> String {
        format!("{PREFIX}{}", hex::encode(&self.0))
    }

    /// What goes into the database.
    pub fn hash(&self) -> [u8; 32] {
        Sha256::new()
            .chain_update("api token")
            .chain_update([0])
            .chain_update(self.0)
            .finalize()
            .into()
    }
}

/// A program that may do something.
#[derive(Debug, Clone)]
pub struct Program {
    /// Of its token.
    pub id: i64,
    pub scopes: Scopes,
}

/// Why a program may not.
#[derive(Debug)]
pub enum Denied {
    /// It sent no token.
    NoToken,
    /// It sent one that is not (or no longer) known.
    Unknown,
    /// There were many of those: wait so many seconds.
    TooMany(u64),
    /// The token does not allow this.
    Scope(Scope),
    Internal(AppError),
}

impl Program {
    pub fn needs(&self, scope: Scope) -> Result<(), Denied> {
        if self.scopes.has(scope) {
            Ok(())
        } else {
            Err(Denied::Scope(scope))
        }
    }
}

/// Who sent this: `Authorization: Bearer`, or the field `access_token` of a form (RFC 6750). A token that is right is
/// never held up by those that are wrong.
pub async fn program_of(request: &HttpRequest, field: Option<&str>) -> Result<Program, Denied> {
    let state = state(request).map_err(Denied::Internal)?;
    let sent = match (header_token(request), field) {
        (Some(token), None) | (None, Some(token)) => token,
        (None, None) => return Err(Denied::NoToken),
        // RFC 6750, section 2: one way or the other.
        (Some(_), Some(_)) => return Err(Denied::Unknown),
    };
    let Some(key) = ApiKey::parse(sent) else {
        return Err(wrong(state));
    };
    let now = Stamp::now();
    let hash = key.hash();
    let found = state
        .db
        .read(move |connection| tokens::find(connection, &hash, now))
        .await;
    let Some(token) = found.map_err(Denied::Internal)? else {
        return Err(wrong(state));
    };
    if token.used_at().is_none_or(|used| now.0 - used.0 >= TOUCH) {
        // That it was used is worth knowing, not worth failing for.
        if let Err(error) = state
            .db
            .write(move |connection| tokens::touch(connection, token.id, now))
            .await
        {
            tracing::warn!(error = %error, "cannot note that a token was used");
        }
    }
    Ok(Program {
        id: token.id,
        scopes: Scopes::parse(&token.scopes),
    })
}

fn header_token(request: &HttpRequest) -> Option<&str> {
    let value = request.headers().get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(token.trim())
}

fn wrong(state: &AppState) -> Denied {
    let now = Instant::now();
    tracing::warn!("unknown token");
    match state.token_throttle.admit(now) {
        Ok(permit) => {
            permit.was_wrong(now);
            Denied::Unknown
        }
        Err(super::throttle::Refused::Pause(wait)) => Denied::TooMany(wait.as_secs() + 1),
        Err(super::throttle::Refused::Busy) => Denied::TooMany(1),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_two_faces_differ_and_debug_shows_none() {
        let form = Token::generate().unwrap();
        let key = ApiKey::of(&form);
        assert_eq!(ApiKey::parse(&key.reveal()).unwrap().hash(), key.hash());
        assert!(!key.reveal().contains(&form.reveal()) && !key.reveal().contains(&hex::encode(&key.hash())));
        assert_eq!(format!("{key:?}"), "ApiKey(..)");
        assert!(ApiKey::parse(&hex::encode(&[0; 32])).is_none());
        assert!(ApiKey::parse("blog_00").is_none());
    }
}
