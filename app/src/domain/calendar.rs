//! Days and times of day in the Gregorian calendar, and RFC 3339. What a blog with fixed distances from UTC needs of it is
//! small; a library with zones, spans and rounding is a thirtieth of the program. A test holds this against one.

use std::fmt;

const DAY: i64 = 24 * 60 * 60;
/// 400 years have so many days, and begin again with the same day of the week.
const DAYS_OF_400_YEARS: i64 = 146_097;
/// 0000-03-01, counted from 1970-01-01.
const FIRST_OF_MARCH: i64 = -719_468;

/// A day in the years 0000 to 9999.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Date {
    year: i16,
    month: i8,
    day: i8,
}

impl Date {
    /// None for a day that there is not.
    pub fn new(year: i16, month: i8, day: i8) -> Option<Self> {
        let fits = (0..=9999).contains(&year) && (1..=12).contains(&month);
        (fits && (1..=length(year, month)).contains(&day)).then_some(Self { year, month, day })
    }

    pub fn year(self) -> i16 {
        self.year
    }

    /// 1 to 12.
    pub fn month(self) -> i8 {
        self.month
    }

    /// 1 to 31.
    pub fn day(self) -> i8 {
        self.day
    }

    pub fn last_of_month(self) -> Self {
        let day = length(self.year, self.month);
        Self { day, ..self }
    }

    pub fn tomorrow(self) -> Option<Self> {
        Self::of_days(self.days() + 1)
    }

    /// Days since 1970-01-01. Years are taken to begin in March, so that the day of a leap year is the last of its year.
    pub fn days(self) -> i64 {
        let (month, day) = (i64::from(self.month), i64::from(self.day));
        let year = i64::from(self.year) - i64::from(month <= 2);
        let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
        let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
        let days = of_era * 365 + of_era / 4 - of_era / 100 + of_year;
        era * DAYS_OF_400_YEARS + days + FIRST_OF_MARCH
    }

    /// The other way round.
    pub fn of_days(days: i64) -> Option<Self> {
        let days = days.checked_sub(FIRST_OF_MARCH)?;
        let (era, day) = (days.div_euclid(DAYS_OF_400_YEARS), days.rem_euclid(DAYS_OF_400_YEARS));
        // Days that leap years have added before this one are taken away.
        let of_era = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
        let of_year = day - (365 * of_era + of_era / 4 - of_era / 100);
        let from_march = (5 * of_year + 2) / 153;
        let month = (from_march + 2) % 12 + 1;
        let year = era * 400 + of_era + i64::from(month <= 2);
        let day = of_year - (153 * from_march + 2) / 5 + 1;
        Self::new(
            i16::try_from(year).ok()?,
            i8::try_from(month).ok()?,
            i8::try_from(day).ok()?,
        )
    }
}

/// `2026-07-05`.
impl fmt::Display for Date {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}-{:02}-{:02}", self.year, self.month, self.day)
    }
}

fn length(year: i16, month: i8) -> i8 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// A day and a time of day, without a zone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Civil {
    pub date: Date,
    /// Seconds since midnight.
    pub seconds: u32,
}

impl Civil {
    /// `seconds` since 1970 in the zone that is meant. 1970 for what is not in the years 0000 to 9999.
    pub fn of(seconds: i64) -> Self {
        let at = |seconds: i64| {
            let date = Date::of_days(seconds.div_euclid(DAY))?;
            let seconds = u32::try_from(seconds.rem_euclid(DAY)).ok()?;
            Some(Self { date, seconds })
        };
        let start = Date {
            year: 1970,
            month: 1,
            day: 1,
        };
        at(seconds).unwrap_or(Self {
            date: start,
            seconds: 0,
        })
    }

    /// Seconds since 1970, in the same zone.
    pub fn stamp(self) -> i64 {
        self.date.days() * DAY + i64::from(self.seconds)
    }

    /// Hours, minutes and seconds.
    pub fn clock(self) -> (u32, u32, u32) {
        (self.seconds / 3600, self.seconds / 60 % 60, self.seconds % 60)
    }

    /// `Sun, 05 Jul 2026 14:03:00 GMT` (RFC 9110, 5.6.7), where the zone is UTC.
    pub fn http(self) -> String {
        const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
        let weekday = usize::try_from(self.date.days().rem_euclid(7)).ok();
        let weekday = weekday.and_then(|at| DAYS.get(at)).copied().unwrap_or_default();
        let month = usize::try_from(self.date.month - 1).ok();
        let month = month.and_then(|at| MONTHS.get(at)).copied().unwrap_or_default();
        let (hour, minute, second) = self.clock();
        let Date { year, day, .. } = self.date;
        format!("{weekday}, {day:02} {month} {year:04} {hour:02}:{minute:02}:{second:02} GMT")
    }
}

/// `2026-07-05T14:03:00`.
impl fmt::Display for Civil {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (hour, minute, second) = self.clock();
        write!(f, "{}T{hour:02}:{minute:02}:{second:02}", self.date)
    }
}

pub const MONTHS: [&str; 12] = [
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
];

/// Seconds since 1970 in UTC of a time with its distance from UTC: RFC 3339, and of ISO 8601 what is without `-` and `:`, or
/// without minutes and seconds. Fractions are left out, a leap second is the one before it, and the name of a zone in brackets
/// (RFC 9557) is passed over.
pub fn parse(text: &str) -> Option<i64> {
    match read(text)? {
        (civil, Some(offset)) => Some(civil.stamp() - offset),
        (_, None) => None,
    }
}

/// A day, or a day and a time of day, without a zone.
pub fn parse_local(text: &str) -> Option<Civil> {
    match read(text)? {
        (civil, None) => Some(civil),
        (_, Some(_)) => None,
    }
}

/// With the distance from UTC in seconds, where it has one.
fn read(text: &str) -> Option<(Civil, Option<i64>)> {
    let mut rest = Bytes(text.as_bytes());
    let year = i16::try_from(rest.number(4)?).ok()?;
    let dashes = rest.take(b"-").is_some();
    let month = i8::try_from(rest.number(2)?).ok()?;
    if dashes {
        rest.take(b"-")?;
    }
    let date = Date::new(year, month, i8::try_from(rest.number(2)?).ok()?)?;
    if rest.0.is_empty() {
        return Some((Civil { date, seconds: 0 }, None));
    }
    rest.take(b"Tt ")?;
    let (hour, minute, second) = rest.clock(23, 60)?;
    let seconds = hour * 3600 + minute * 60 + second.min(59);
    if rest.take(b".,").is_some() {
        let digits = rest.0.iter().take_while(|byte| byte.is_ascii_digit()).count();
        if !(1..=9).contains(&digits) {
            return None;
        }
        rest.0 = rest.0.get(digits..)?;
    }
    let civil = Civil { date, seconds };
    let offset = match rest.take(b"Zz+-") {
        None => None,
        Some(b'Z' | b'z') => Some(0),
        Some(sign) => {
            let (hours, minutes, seconds) = rest.clock(25, 59)?;
            let offset = i64::from(hours * 3600 + minutes * 60 + seconds);
            Some(if sign == b'-' { -offset } else { offset })
        }
    };
    let zone = offset.is_some() && rest.0.starts_with(b"[") && rest.0.ends_with(b"]");
    (rest.0.is_empty() || zone).then_some((civil, offset))
}

struct Bytes<'a>(&'a [u8]);

impl Bytes<'_> {
    fn take(&mut self, any: &[u8]) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        any.contains(first).then(|| {
            self.0 = rest;
            *first
        })
    }

    /// So many digits.
    fn number(&mut self, digits: usize) -> Option<u32> {
        let (number, rest) = self.0.split_at_checked(digits)?;
        let all = number.iter().all(u8::is_ascii_digit);
        self.0 = all.then_some(rest)?;
        Some(number.iter().fold(0, |sum, digit| sum * 10 + u32::from(digit - b'0')))
    }

    /// Hours, then minutes and seconds if they are there, with colons between them or without.
    fn clock(&mut self, most_hours: u32, most_seconds: u32) -> Option<(u32, u32, u32)> {
        let hours = self.number(2).filter(|hours| *hours <= most_hours)?;
        let colons = self.take(b":").is_some();
        if !colons && !self.0.first().is_some_and(u8::is_ascii_digit) {
            return Some((hours, 0, 0));
        }
        let minutes = self.number(2).filter(|minutes| *minutes <= 59)?;
        let more = match colons {
            true => self.take(b":").is_some(),
            false => self.0.first().is_some_and(u8::is_ascii_digit),
        };
        let seconds = match more {
            true => self.number(2).filter(|seconds| *seconds <= most_seconds)?,
            false => 0,
        };
        Some((hours, minutes, seconds))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use jiff::Timestamp;
    use jiff::civil::DateTime;

    use super::*;

    fn same(days: i64) {
        let date = Date::of_days(days).unwrap();
        assert_eq!(date.days(), days);
        let theirs = Timestamp::from_second(days * DAY).unwrap().to_string();
        assert_eq!(format!("{date}T00:00:00Z"), theirs);
    }

    #[test]
    fn days_are_those_of_jiff() {
        let first = Date::new(0, 1, 1).unwrap().days();
        let last = Date::new(9999, 12, 29).unwrap().days();
        (first..last).step_by(89).for_each(same);
        // All days of 1890 to 2110: 1900 and 2100 have no 29th of February, 2000 has.
        (-29_219..51_500).for_each(same);
        assert_eq!(Date::of_days(first - 1), None);
        assert_eq!(Date::of_days(last + 3), None);
        assert_eq!(Date::of_days(i64::MIN), None);
        for (year, month, day) in [
            (2026, 2, 29),
            (2100, 2, 29),
            (2026, 4, 31),
            (2026, 0, 1),
            (2026, 13, 1),
            (10_000, 1, 1),
        ] {
            assert_eq!(Date::new(year, month, day), None);
        }
        assert_eq!(Date::new(2024, 2, 29).unwrap().tomorrow(), Date::new(2024, 3, 1));
        assert_eq!(
            Date::new(2024, 2, 3).unwrap().last_of_month(),
            Date::new(2024, 2, 29).unwrap()
        );
        assert_eq!(Date::new(9999, 12, 31).unwrap().tomorrow(), None);
    }

    #[test]
    fn times_are_written_as_by_jiff() {
        let printer = jiff::fmt::rfc2822::DateTimePrinter::new();
        for step in 0..4_000 {
            let seconds = -3_000_000_000 + step * 2_345_679;
            let theirs = Timestamp::from_second(seconds).unwrap();
            let ours = Civil::of(seconds);
            assert_eq!(format!("{ours}Z"), theirs.to_string());
            assert_eq!(ours.http(), printer.timestamp_to_rfc9110_string(&theirs).unwrap());
            assert_eq!(ours.stamp(), seconds);
        }
        assert_eq!(Civil::of(i64::MAX).stamp(), 0);
        assert_eq!(Civil::of(i64::MIN).stamp(), 0);
    }

    #[test]
    fn what_is_read_is_what_jiff_reads() {
        let days = ["2026-07-05", "20260705", "2024-02-29", "0000-01-01", "9998-12-31"];
        let clocks = [
            "T14:03:00",
            "t14:03:00",
            " 14:03:00",
            "T140300",
            "T14:03",
            "T1403",
            "T14",
            "T23:59:60",
            "T00:00:00.5",
            "T00:00:00,123456789",
            "T14:03:59.999",
        ];
        let zones = [
            "Z",
            "z",
            "+00:00",
            "-00:00",
            "+09:00",
            "-0330",
            "+14",
            "+09:00[Asia/Tokyo]",
            "Z[UTC]",
            "+01:02:03",
        ];
        for day in days {
            assert_eq!(parse(day), None);
            let theirs = day.parse::<DateTime>().unwrap();
            assert_eq!(parse_local(day).unwrap().to_string(), theirs.to_string());
            for clock in clocks {
                let local = format!("{day}{clock}");
                assert_eq!(parse(&local), None, "{local}");
                let theirs = local
                    .parse::<DateTime>()
                    .unwrap()
                    .with()
                    .subsec_nanosecond(0)
                    .build()
                    .unwrap();
                assert_eq!(parse_local(&local).unwrap().to_string(), theirs.to_string(), "{local}");
                for zone in zones {
                    let text = format!("{local}{zone}");
                    let theirs = text.parse::<Timestamp>();
                    let theirs = theirs.unwrap_or_else(|error| panic!("{text}: {error}"));
                    let theirs = theirs.as_nanosecond().div_euclid(1_000_000_000);
                    assert_eq!(parse(&text).map(i128::from), Some(theirs), "{text}");
                }
            }
        }
    }

    #[test]
    fn what_is_no_time() {
        for text in [
            "",
            "2026",
            "2026-07",
            "2026-7-5",
            "2026-02-30T00:00:00Z",
            "2026-07-05T24:00:00Z",
            "2026-07-05T14:60:00Z",
            "2026-07-05T14:03:61Z",
            "2026-07-05T14:03:00",
            "2026-07-05X14:03:00Z",
            "2026-07-05T14:03:00.Z",
            "2026-07-05T14:03:00.1234567890Z",
            "2026-0705T14:03:00Z",
            "2026-07-05T14:03:00+9",
            "2026-07-05T14:03:00+09:60",
            "2026-07-05T14:03:00Z ",
            "2026-07-05T14:03:00Z[",
            "٢٠٢٦-07-05T14:03:00Z",
            "2026-07-05T14:3:00Z",
            "2026-07-05T",
            "2026-07-05TZ",
            "2026-07-05Z",
            "99999-01-01T00:00:00Z",
        ] {
            assert_eq!(parse(text), None, "{text}");
            assert!(text.parse::<Timestamp>().is_err(), "{text}");
        }
        for text in [
            "2026-07-05T14:03Z",
            "2026-07-05T14:03+09:00",
            "2026-07-05T",
            "14:03",
            "2026-07-05T14:03:",
            "now",
        ] {
            assert_eq!(parse_local(text), None, "{text}");
        }
    }
}
