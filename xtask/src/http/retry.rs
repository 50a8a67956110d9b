//! What is tried again, and when: exponential waits with jitter, `Retry-After`, and an end of patience.

use std::fmt;
use std::time::{Duration, SystemTime};

use ureq::http::{HeaderMap, StatusCode, header};

use super::Client;
use super::failure::Failure;
use crate::cx::Cx;
use crate::error::{Error, Result};
use crate::ui::Ui;

/// Time, as far as a client needs it: passed in, so that a test with `Retry-After: 3600` takes no hour.
pub trait Timer: fmt::Debug + Send + Sync {
    /// The clock: for dates in `Retry-After` and for the end of a token.
    fn now(&self) -> SystemTime;
    /// Waits.
    fn sleep(&self, time: Duration);
    /// A number in 0..1, so that many clients do not come back in step.
    fn jitter(&self) -> f64;
}

/// The machine's clock.
#[derive(Clone, Copy, Debug)]
pub struct SystemTimer;

impl Timer for SystemTimer {
    fn now(&self) -> SystemTime {
        SystemTime::now()
    }

    fn sleep(&self, time: Duration) {
        std::thread::sleep(time);
    }

    fn jitter(&self) -> f64 {
        use std::hash::{BuildHasher, Hasher};
        // The standard library seeds every hash map; no generator of random numbers is needed for this.
        let random = std::collections::hash_map::RandomState::new().build_hasher().finish();
        (random >> 11) as f64 / (1u64 << 53) as f64
    }
}

/// How often, and how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retry {
    /// Attempts without progress, the first included.
    pub attempts: u32,
    /// The wait after the first; each later one is twice as long.
    pub first: Duration,
    /// No wait of our own is longer.
    pub longest: Duration,
    /// No `Retry-After` longer than this is waited for.
    pub patience: Duration,
}

impl Default for Retry {
    /// Five attempts, some 8 seconds in all, unless the server asks for more: Docker Hub's limit on abuse asks for 60.
    fn default() -> Self {
        Retry {
            attempts: 5,
            first: Duration::from_millis(500),
            longest: Duration::from_secs(20),
            patience: Duration::from_secs(180),
        }
    }
}

impl Retry {
    pub(super) fn tries(self) -> Tries {
        Tries {
            retry: self,
            count: 1,
            renewed: 0,
        }
    }
}

/// The attempts of one request, or of what takes several.
#[derive(Clone, Debug)]
pub struct Tries {
    retry: Retry,
    count: u32,
    renewed: u32,
}

/// A server that sends a little and breaks off, again and again, is given up as well.
const RENEWALS: u32 = 100;

impl Tries {
    /// Attempts so far.
    pub(super) fn count(&self) -> u32 {
        self.count
    }

    /// There was progress: failures are counted anew.
    pub fn progress(&mut self) {
        if self.renewed < RENEWALS && self.count > 1 {
            self.renewed += 1;
            self.count = 1;
        }
    }

    /// Whether another attempt may be made after a wait that the server asks for.
    pub(super) fn allow(&self, after: Option<Duration>) -> bool {
        self.count < self.retry.attempts && after.is_none_or(|after| after <= self.retry.patience)
    }

    /// The same for who does not know whether it may pass: waits, at least as long as the server asks for, or gives the error back
    /// when the attempts are used up.
    pub fn pause(&mut self, client: &Client, cx: &Cx, error: Error, after: Option<Duration>) -> Result<()> {
        self.again(client.timer().as_ref(), Failure::later(error), after, &cx.ui)
    }

    /// Waits before the next attempt, or gives the failure back as the error of them all.
    pub(super) fn again(
        &mut self,
        timer: &dyn Timer,
        failure: Failure,
        after: Option<Duration>,
        ui: &Ui,
    ) -> Result<()> {
        if !failure.is_passing() || !self.allow(after) {
            return Err(failure.after(self.count));
        }
        let wait = self.wait(timer.jitter(), after);
        ui.note(&format!(
            "{}; trying again in {:.1} s",
            failure.text(),
            wait.as_secs_f64()
        ));
        timer.sleep(wait);
        self.count += 1;
        Ok(())
    }

    /// Twice as long each time; half of it is left to chance. What the server asks for is the least, and gets a little on top,
    /// or all its clients would be back at the same moment.
    fn wait(&self, jitter: f64, after: Option<Duration>) -> Duration {
        let doubled = self
            .retry
            .first
            .saturating_mul(1 << (self.count - 1).min(16))
            .min(self.retry.longest);
        let own = doubled.mul_f64(0.5 + jitter.clamp(0.0, 1.0) / 2.0);
        match after {
            Some(after) => after + self.retry.first.mul_f64(jitter.clamp(0.0, 1.0)),
            None => own,
        }
    }
}

/// Statuses that ask to come back (RFC 9110; 425 of RFC 8470; 52x are a content network's for an origin that is silent).
pub(super) fn means_later(status: StatusCode) -> bool {
    matches!(status.as_u16(), 408 | 425 | 429 | 500 | 502..=504 | 520..=524)
}

/// `Retry-After`: seconds or an HTTP date (RFC 9110, 10.2.3). What cannot be read counts as absent.
pub(super) fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let text = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = httpdate::parse_http_date(text).ok()?;
    Some(date.duration_since(now).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_and_have_an_end() {
        let mut tries = Retry::default().tries();
        let mut waits = Vec::new();
        for _ in 0..12 {
            waits.push(tries.wait(1.0, None).as_millis());
            tries.count += 1;
        }
        assert_eq!(waits[..7], [500, 1000, 2000, 4000, 8000, 16000, 20000]);
        assert_eq!(waits[11], 20000);
        assert_eq!(Retry::default().tries().wait(0.0, None).as_millis(), 250);
        assert_eq!(
            Retry::default()
                .tries()
                .wait(0.0, Some(Duration::from_secs(60)))
                .as_secs(),
            60
        );
        assert!(!Retry::default().tries().allow(Some(Duration::from_secs(3600))));
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let now = httpdate::parse_http_date("Sun, 06 Nov 1994 08:49:37 GMT").unwrap();
        let read = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::RETRY_AFTER, text.parse().unwrap());
            retry_after(&headers, now).map(|time| time.as_secs())
        };
        assert_eq!(read("60"), Some(60));
        assert_eq!(read("Sun, 06 Nov 1994 08:50:07 GMT"), Some(30));
        assert_eq!(read("Sun, 06 Nov 1994 08:00:00 GMT"), Some(0));
        assert_eq!(read("soon"), None);
        assert_eq!(read("-5"), None);
        assert_eq!(retry_after(&HeaderMap::new(), now), None);
    }
}
