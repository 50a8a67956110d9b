//! The time, on a machine whose clock stands still while its power is off.
//!
//! A Pi Zero starts with the time of its last shutdown, or with 1970, and has the right one only when something on the
//! network has told it. Two things are known to lie in the past: the program's own file, and the newest post. From the
//! latest of them on, a clock that cannot be stopped is counted; the later of that and the machine's clock is the time.

use std::sync::{Mutex, PoisonError};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// Seconds since 1970 that were known to be past, and when that became known.
static FLOOR: Mutex<Option<(i64, Instant)>> = Mutex::new(None);

/// Less than this is no reason to warn: clocks are set in steps.
const TOLERANCE: i64 = 120;

/// Milliseconds since 1970, by the machine's clock alone: for the log.
pub fn machine_millis() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or_default()
}

/// Seconds since 1970: never before anything that is known to be past.
pub fn now() -> i64 {
    (machine_millis() / 1000).max(floor().unwrap_or(0))
}

/// This moment is past.
pub fn is_past(seconds: i64) {
    let mut known = FLOOR.lock().unwrap_or_else(PoisonError::into_inner);
    if known.is_none_or(|known| counted(known) < seconds) {
        *known = Some((seconds, Instant::now()));
    }
}

/// The program's file was written before it was started; in an image it has the time of the commit.
pub fn program_is_past() {
    let written = std::env::current_exe()
        .and_then(|path| path.metadata()?.modified())
        .ok()
        .and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    if let Some(seconds) = written.and_then(|since| i64::try_from(since.as_secs()).ok()) {
        is_past(seconds);
    }
}

/// By how many seconds the machine's clock is known to lag, when it is worth a warning.
pub fn behind() -> Option<i64> {
    let lag = floor()? - machine_millis() / 1000;
    (lag > TOLERANCE).then_some(lag)
}

fn floor() -> Option<i64> {
    let known = *FLOOR.lock().unwrap_or_else(PoisonError::into_inner);
    known.map(counted)
}

fn counted((seconds, since): (i64, Instant)) -> i64 {
    seconds.saturating_add(i64::try_from(since.elapsed().as_secs()).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_past_stays_past() {
        // The state is the process's own; the machine that tests has a clock that is later than this.
        is_past(1_000_000_000);
        assert_eq!(behind(), None);
        assert!(now() >= machine_millis() / 1000);
        assert_eq!(counted((5, Instant::now())), 5);
        assert_eq!(counted((i64::MAX, Instant::now())), i64::MAX);
    }
}
