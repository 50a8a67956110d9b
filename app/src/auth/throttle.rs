//! Slows down guessing: one password at a time, and a growing pause after wrong ones.
//!
//! Behind an onion service every reader has the same address, so the pause is for everyone who tries to sign in.
//! Whoever is signed in already never meets it. A new login is not promised: somebody patient, who guesses again the moment
//! each pause ends, leaves the owner no moment in between, and so keeps them out for as long as it goes on.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Wrong passwords before the first pause: an owner who mistypes twice should notice nothing.
const FREE: u32 = 3;
/// The longest pause: it bounds guessing to 2,880 a day. An owner with whom nobody competes waits half a minute.
const LONGEST: Duration = Duration::from_secs(30);
/// After this long without a wrong password, counting starts again.
const FORGET: Duration = Duration::from_secs(15 * 60);

#[derive(Debug, Clone, Default)]
pub struct Throttle(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    checking: bool,
    wrong: u32,
    last_wrong: Option<Instant>,
}

/// The right to check one password. The next check waits until it is gone.
#[derive(Debug)]
pub struct Permit(Throttle);

/// Why no password is checked now.
#[derive(Debug, PartialEq, Eq)]
pub enum Refused {
    /// There were wrong ones; this long is left of the pause.
    Pause(Duration),
    /// Another check is running. Says nothing of wrong passwords.
    Busy,
}

impl Throttle {
    pub fn admit(&self, now: Instant) -> Result<Permit, Refused> {
        self.with(|state| {
            if let Some(last) = state.last_wrong {
                let since = now.saturating_duration_since(last);
                if since >= FORGET {
                    state.wrong = 0;
                }
                let pause = pause(state.wrong);
                if since < pause {
                    return Err(Refused::Pause(pause - since));
                }
            }
            if state.checking {
                // Each check takes 19 MiB; two at once would be a way to use up the machine.
                return Err(Refused::Busy);
            }
            state.checking = true;
            Ok(Permit(self.clone()))
        })
    }

    fn with<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Permit {
    pub fn was_wrong(&self, now: Instant) {
        self.0.with(|state| {
            state.wrong = state.wrong.saturating_add(1);
            state.last_wrong = Some(now);
        });
    }

    pub fn was_right(&self) {
        self.0.with(|state| {
            state.wrong = 0;
            state.last_wrong = None;
        });
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.with(|state| state.checking = false);
    }
}

fn pause(wrong: u32) -> Duration {
    match wrong.checked_sub(FREE) {
        None => Duration::ZERO,
        Some(doublings) => Duration::from_secs(1 << doublings.min(10)).min(LONGEST),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_pause_grows_to_a_bound_and_is_forgotten() {
        let throttle = Throttle::default();
        let mut now = Instant::now();
        let mut pauses = Vec::new();
        for _ in 0..12 {
            if let Err(Refused::Pause(wait)) = throttle.admit(now) {
                pauses.push(wait.as_secs());
                now += wait;
            }
            throttle.admit(now).unwrap().was_wrong(now);
        }
        assert_eq!(pauses, [1, 2, 4, 8, 16, 30, 30, 30, 30]);
        throttle.admit(now).unwrap_err();
        throttle.admit(now + FORGET).unwrap();
    }

    #[test]
    fn one_at_a_time() {
        let throttle = Throttle::default();
        let now = Instant::now();
        let permit = throttle.admit(now).unwrap();
        assert_eq!(throttle.admit(now).unwrap_err(), Refused::Busy);
        drop(permit);
        throttle.admit(now).unwrap();
    }

    #[test]
    fn a_right_password_ends_the_pause() {
        let throttle = Throttle::default();
        let now = Instant::now();
        for _ in 0..2 {
            throttle.admit(now).unwrap().was_wrong(now);
        }
        throttle.admit(now).unwrap().was_right();
        for _ in 0..3 {
            throttle.admit(now).unwrap().was_wrong(now);
        }
        throttle.admit(now).unwrap_err();
    }
}
