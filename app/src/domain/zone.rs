//! The zone that times are shown in: a fixed distance from UTC, because the program has no database of zones.
//! It is printed beside every time, for Tor Browser hides the reader's own.

use super::Stamp;
use super::calendar::{self, Civil, Date};

/// Seconds to add to UTC.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Zone(i32);

impl Zone {
    /// Takes `+09:00`, `-03:30` and `UTC`. At most 14 hours, as there are.
    pub fn parse(text: &str) -> Option<Self> {
        if matches!(text, "UTC" | "Z") {
            return Some(Self::default());
        }
        let sign = match text.as_bytes().first()? {
            b'+' => 1,
            b'-' => -1,
            _ => return None,
        };
        let (hours, minutes) = text.get(1..)?.split_once(':')?;
        let number = |text: &str, most: i32| {
            let digits = text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_digit());
            text.parse::<i32>().ok().filter(|value| digits && *value <= most)
        };
        let seconds = number(hours, 14)? * 3600 + number(minutes, 59)? * 60;
        (seconds <= 14 * 3600).then_some(Self(sign * seconds))
    }

    /// `UTC` or `UTC+09:00`.
    pub fn name(self) -> String {
        if self == Self::default() {
            return "UTC".to_owned();
        }
        let (sign, minutes) = self.minutes();
        format!("UTC{sign}{:02}:{:02}", minutes / 60, minutes % 60)
    }

    fn minutes(self) -> (char, i32) {
        let seconds = self.0;
        (if seconds < 0 { '-' } else { '+' }, seconds.abs() / 60)
    }

    /// `2026-07-05 23:03 UTC+09:00`, for people.
    pub fn human(self, stamp: Stamp) -> String {
        let time = self.civil(stamp);
        let (hour, minute, _) = time.clock();
        format!("{} {hour:02}:{minute:02} {}", time.date, self.name())
    }

    /// `2026-07-05T23:03:00+09:00` (RFC 3339), for `<time datetime>`.
    pub fn machine(self, stamp: Stamp) -> String {
        if self == Self::default() {
            return stamp.rfc3339();
        }
        let (sign, minutes) = self.minutes();
        format!("{}{sign}{:02}:{:02}", self.civil(stamp), minutes / 60, minutes % 60)
    }

    /// `2026-07-05T23:03`, what a field of the type `datetime-local` holds.
    pub fn field(self, stamp: Stamp) -> String {
        let time = self.civil(stamp);
        let (hour, minute, _) = time.clock();
        format!("{}T{hour:02}:{minute:02}", time.date)
    }

    /// The other way round; seconds may be there.
    pub fn parse_field(self, text: &str) -> Option<Stamp> {
        let time = calendar::parse_local(text)?;
        Some(self.stamp(time))
    }

    /// The day on which something happened here.
    pub fn date(self, stamp: Stamp) -> Date {
        self.civil(stamp).date
    }

    /// The first second of a day here.
    pub fn start_of(self, date: Date) -> Stamp {
        self.stamp(Civil { date, seconds: 0 })
    }

    /// Seconds to add to UTC.
    pub fn seconds(self) -> i32 {
        self.0
    }

    fn civil(self, stamp: Stamp) -> Civil {
        Civil::of(stamp.0.saturating_add(i64::from(self.0)))
    }

    fn stamp(self, time: Civil) -> Stamp {
        Stamp(time.stamp() - i64::from(self.0))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const NOON: Stamp = Stamp(1_783_260_180);

    #[test]
    fn written_in_the_zone() {
        let japan = Zone::parse("+09:00").unwrap();
        assert_eq!(japan.human(NOON), "2026-07-05 23:03 UTC+09:00");
        assert_eq!(japan.machine(NOON), "2026-07-05T23:03:00+09:00");
        assert_eq!(japan.field(NOON), "2026-07-05T23:03");
        assert_eq!(japan.parse_field("2026-07-05T23:03"), Some(NOON));
        assert_eq!(Zone::default().human(NOON), "2026-07-05 14:03 UTC");
        assert_eq!(Zone::default().machine(NOON), "2026-07-05T14:03:00Z");
        let west = Zone::parse("-03:30").unwrap();
        assert_eq!(west.machine(NOON), "2026-07-05T10:33:00-03:30");
    }

    #[test]
    fn days_begin_at_midnight_here() {
        let japan = Zone::parse("+09:00").unwrap();
        let date = Date::new(2026, 7, 5).unwrap();
        let start = japan.start_of(date);
        assert_eq!(start.rfc3339(), "2026-07-04T15:00:00Z");
        assert_eq!(japan.date(start), date);
        assert_eq!(japan.date(Stamp(start.0 - 1)), Date::new(2026, 7, 4).unwrap());
    }

    #[test]
    fn what_is_no_zone() {
        for text in [
            "", "+9", "09:00", "+09:60", "+15:00", "+14:30", "JST", "+0x:00", "+009:00", "é9:00",
        ] {
            assert_eq!(Zone::parse(text), None, "{text}");
        }
        assert_eq!(Zone::parse("UTC"), Some(Zone::default()));
    }
}
