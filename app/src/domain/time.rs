//! Points in time: whole seconds in UTC, and how they are written.

use super::calendar::Civil;
use crate::clock;

/// Seconds since 1970 in UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Stamp(pub i64);

impl Stamp {
    /// Never before what is known to be past, even where the machine's clock is.
    pub fn now() -> Self {
        Self(clock::now())
    }

    /// `2026-07-05T14:03:00Z`, for feeds and `<time datetime>`.
    pub fn rfc3339(self) -> String {
        format!("{}Z", Civil::of(self.0))
    }

    /// `Sun, 05 Jul 2026 14:03:00 GMT` (RFC 9110, 5.6.7), for headers and RSS.
    pub fn http_date(self) -> String {
        Civil::of(self.0).http()
    }

    /// `2026-07-05 14:03 UTC`, for people. The zone is printed because Tor Browser hides the reader's own.
    pub fn human(self) -> String {
        let text = self.rfc3339();
        let part = |range| text.get(range).unwrap_or_default();
        let (day, minute) = (part(0..10), part(11..16));
        format!("{day} {minute} UTC")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn written_both_ways() {
        let stamp = Stamp(1_783_260_180);
        assert_eq!(stamp.rfc3339(), "2026-07-05T14:03:00Z");
        assert_eq!(stamp.human(), "2026-07-05 14:03 UTC");
        assert_eq!(stamp.http_date(), "Sun, 05 Jul 2026 14:03:00 GMT");
        assert_eq!(Stamp(i64::MAX).rfc3339(), "1970-01-01T00:00:00Z");
    }
}
