//! Whether somebody is the owner: the password and, where there is one, the second factor. One check at a time.

use std::time::Instant;

use actix_web::{rt, web};
use sha2::{Digest, Sha256};

use super::password::{self, NewPassword};
use super::throttle::Refused;
use super::totp::{self, Secret};
use crate::db::queries::{owner, second_factor};
use crate::domain::Stamp;
use crate::error::AppError;
use crate::startup::AppState;

/// What was typed.
pub struct Typed {
    pub password: String,
    /// Of the authenticator app, or a recovery code.
    pub code: String,
}

impl std::fmt::Debug for Typed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Typed(..)")
    }
}

/// What fits the second factor.
enum Factor {
    /// There is none.
    NotAsked,
    Step(i64),
    Recovery([u8; 32]),
}

/// The hash that the database keeps of a recovery code.
pub fn recovery_hash(code: &str) -> [u8; 32] {
    Sha256::new()
        .chain_update("recovery")
        .chain_update([0])
        .chain_update(totp::tidy(code))
        .finalize()
        .into()
}

/// True for the owner. A wrong answer counts for the throttle, whatever was wrong about it, and does not tell what.
///
/// # Errors
/// A pause after wrong answers; another check that is running.
pub async fn is_owner(state: &web::Data<AppState>, typed: Typed) -> Result<bool, AppError> {
    let state = state.clone();
    let permit = state.throttle.admit(Instant::now()).map_err(|refused| match refused {
        Refused::Pause(wait) => AppError::TooManyLogins {
            seconds: wait.as_secs() + 1,
        },
        Refused::Busy => AppError::LoginBusy,
    })?;
    // A task of its own: if the browser hangs up, the check runs on and still counts as the one.
    let task = rt::spawn(async move {
        let right = examine(&state, typed).await;
        match &right {
            Ok(true) => permit.was_right(),
            Ok(false) => permit.was_wrong(Instant::now()),
            // Nothing was learned.
            Err(_) => {}
        }
        right
    });
    task.await.map_err(|error| AppError::Internal(Box::new(error)))?
}

async fn examine(state: &AppState, typed: Typed) -> Result<bool, AppError> {
    let (hash, second) = state
        .db
        .read(|connection| Ok((owner::password_hash(connection)?, second_factor::get(connection)?)))
        .await?;
    let cost = state.password_cost;
    // The code is looked at even when the password is wrong: how long the answer takes tells nothing.
    let examined = web::block(move || {
        let right = password::verify(&typed.password, hash.as_deref(), cost);
        let renewed = match &hash {
            Some(hash) if right && password::is_outdated(hash, cost) => NewPassword::known(typed.password),
            _ => None,
        };
        let factor = match second {
            None => Some(Factor::NotAsked),
            Some((secret, last)) => match Secret::of_bytes(secret).check(&typed.code, Stamp::now(), last) {
                Some(step) => Some(Factor::Step(step)),
                None if totp::tidy(&typed.code).len() == 12 => Some(Factor::Recovery(recovery_hash(&typed.code))),
                None => None,
            },
        };
        (right, factor, renewed.map(|password| password::hash(&password, cost)))
    });
    let (right, factor, renewed) = examined.await?;
    let Some(factor) = factor.filter(|_| right) else {
        return Ok(false);
    };
    let renewed = match renewed {
        Some(Ok(hash)) => Some(hash),
        // The old hash is as good as it was.
        Some(Err(_)) | None => None,
    };
    if matches!(factor, Factor::NotAsked) && renewed.is_none() {
        return Ok(true);
    }
    state
        .db
        .write(move |connection| {
            let right = match &factor {
                Factor::NotAsked => true,
                Factor::Step(step) => second_factor::use_step(connection, *step)?,
                Factor::Recovery(hash) => second_factor::use_recovery_code(connection, hash)?,
            };
            if let (true, Some(hash)) = (right, &renewed) {
                owner::renew(connection, hash)?;
            }
            Ok(right)
        })
        .await
}
