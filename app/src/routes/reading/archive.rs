//! `GET /archive`: the years with their months; `/2026`, `/2026/07`, `/2026/07/05`: the posts of that time.

use actix_web::{HttpRequest, web};
use askama::Template;

use super::{List, Part, before, key_from, newest, render};
use crate::auth::Visitor;
use crate::db::queries::archive::{self, Day};
use crate::db::queries::reading::{self, Span};
use crate::domain::calendar::Date;
use crate::domain::{Stamp, Zone};
use crate::error::AppError;
use crate::routes::Answer;
use crate::routes::entry::Entry;
use crate::routes::page::Shell;
use crate::startup::AppState;
use crate::words::Reading;

/// A year, a month or a day, as the archive links to it.
#[derive(Debug, Clone)]
pub struct Period {
    pub label: String,
    pub path: String,
    /// 0 where it is not counted.
    pub posts: i64,
}

/// What the numbers in the address say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum When {
    Year(i16),
    Month(i16, i8),
    Day(i16, i8, i8),
}

impl When {
    fn parse(request: &HttpRequest) -> Option<Self> {
        let number = |name| -> Option<i16> { request.match_info().get(name)?.parse().ok() };
        let part = |name| number(name).and_then(|value| i8::try_from(value).ok());
        let year = number("year")?;
        let has = |name| request.match_info().get(name).is_some();
        let when = match (has("month"), has("day")) {
            (false, _) => Self::Year(year),
            (true, false) => Self::Month(year, part("month")?),
            (true, true) => Self::Day(year, part("month")?, part("day")?),
        };
        when.first().map(|_| when)
    }

    fn first(self) -> Option<Date> {
        match self {
            Self::Year(year) => Date::new(year, 1, 1),
            Self::Month(year, month) => Date::new(year, month, 1),
            Self::Day(year, month, day) => Date::new(year, month, day),
        }
    }

    fn span(self, zone: Zone) -> Option<Span> {
        let first = self.first()?;
        let next = match self {
            Self::Year(year) => Date::new(year + 1, 1, 1)?,
            Self::Month(..) => first.last_of_month().tomorrow()?,
            Self::Day(..) => first.tomorrow()?,
        };
        Some(Span {
            from: zone.start_of(first),
            until: zone.start_of(next),
        })
    }

    /// The period of the same length with this moment in it.
    fn of_same_length(self, stamp: Stamp, zone: Zone) -> Self {
        let date = zone.date(stamp);
        match self {
            Self::Year(_) => Self::Year(date.year()),
            Self::Month(..) => Self::Month(date.year(), date.month()),
            Self::Day(..) => Self::Day(date.year(), date.month(), date.day()),
        }
    }

    fn wider(self) -> Option<Self> {
        match self {
            Self::Year(_) => None,
            Self::Month(year, _) => Some(Self::Year(year)),
            Self::Day(year, month, _) => Some(Self::Month(year, month)),
        }
    }

    fn path(self) -> String {
        match self {
            Self::Year(year) => format!("/{year:04}"),
            Self::Month(year, month) => format!("/{year:04}/{month:02}"),
            Self::Day(year, month, day) => format!("/{year:04}/{month:02}/{day:02}"),
        }
    }

    fn label(self, words: &Reading) -> String {
        let (pattern, year, month, day) = match self {
            Self::Year(year) => (words.year, year, 1, 1),
            Self::Month(year, month) => (words.month, year, month, 1),
            Self::Day(year, month, day) => (words.day, year, month, day),
        };
        let name = usize::try_from(month - 1).ok().and_then(|at| words.months.get(at));
        pattern
            .replace("{year}", &year.to_string())
            .replace("{month}", name.copied().unwrap_or_default())
            .replace("{day}", &day.to_string())
    }

    fn period(self, words: &Reading, posts: i64) -> Period {
        Period {
            label: self.label(words),
            path: self.path(),
            posts,
        }
    }
}

fn date_of(day: Day) -> Option<Date> {
    Date::of_days(day.day)
}

/// Adds the days up to longer periods; both run from the newest to the oldest.
fn sum(days: &[Day], of: impl Fn(Date) -> When) -> Vec<(When, i64)> {
    let mut sums: Vec<(When, i64)> = Vec::new();
    for day in days {
        let Some(when) = date_of(*day).map(&of) else { continue };
        match sums.last_mut() {
            Some((last, posts)) if *last == when => *posts += day.posts,
            _ => sums.push((when, day.posts)),
        }
    }
    sums
}

#[derive(Template)]
#[template(path = "archive.html")]
struct Archive<'a> {
    shell: Shell<'a>,
    years: Vec<(Period, Vec<Period>)>,
}

/// `GET /archive`
pub async fn all(request: HttpRequest, state: web::Data<AppState>, visitor: Visitor) -> Answer {
    super::answer(&request, &state, &visitor, "/archive".to_owned(), async |menu| {
        let offset = i64::from(state.zone.seconds());
        let days = state
            .db
            .read(move |connection| archive::days(connection, Span::ALWAYS, offset))
            .await?;
        let shell = Shell::reading(&state, &visitor, menu);
        let words = &shell.words.reading;
        let months = sum(&days, |date| When::Month(date.year(), date.month()));
        let years = sum(&days, |date| When::Year(date.year()))
            .into_iter()
            .map(|(year, posts)| {
                let own = months.iter().filter(|(month, _)| month.wider() == Some(year));
                let months = own.map(|(month, posts)| month.period(words, *posts)).collect();
                (year.period(words, posts), months)
            });
        let years = years.collect();
        render(&Archive { shell, years }, None)
    })
    .await
}

/// `GET /{year}`, `/{year}/{month}` and `/{year}/{month}/{day}`
pub async fn span(request: HttpRequest, state: web::Data<AppState>, visitor: Visitor) -> Answer {
    let when = When::parse(&request).ok_or(AppError::NotFound)?;
    let before = before(&request)?;
    let zone = state.zone;
    let span = when.span(zone).ok_or(AppError::NotFound)?;
    super::answer(
        &request,
        &state,
        &visitor,
        key_from(&when.path(), before),
        async |menu| {
            let limit = super::PER_PAGE as i64 + 1;
            let offset = i64::from(zone.seconds());
            let (days, neighbours, part) = state
                .db
                .read(move |connection| {
                    let posts = reading::page(connection, span, before, limit)?;
                    Ok((
                        archive::days(connection, span, offset)?,
                        archive::neighbours(connection, span)?,
                        Part::new(connection, posts)?,
                    ))
                })
                .await?;
            if days.is_empty() {
                return Err(AppError::NotFound);
            }
            let modified = newest(&part.posts);
            let shell = Shell::reading(&state, &visitor, menu).from(before);
            let words = &shell.words.reading;
            let parts = match when {
                When::Year(_) => sum(&days, |date| When::Month(date.year(), date.month())),
                When::Month(..) => sum(&days, |date| When::Day(date.year(), date.month(), date.day())),
                When::Day(..) => Vec::new(),
            };
            let near = |stamp: Option<Stamp>| stamp.map(|stamp| when.of_same_length(stamp, zone).period(words, 0));
            let label = when.label(words);
            let path = when.path();
            let list = List {
                title: format!("{label} – {}", shell.site),
                heading: Some(label),
                feeds: String::new(),
                parts: parts
                    .into_iter()
                    .map(|(part, posts)| part.period(words, posts))
                    .collect(),
                earlier: near(neighbours.0),
                later: near(neighbours.1),
                wider: when.wider().map(|wider| wider.period(words, 0)),
                entries: part.posts.into_iter().map(|shown| Entry::listed(shown, zone)).collect(),
                older: part.older.map(|older| shell.to(&format!("{path}?before={older}"))),
                first: shell.to(&path),
                is_first: before.is_none(),
                shell,
            };
            render(&list, modified)
        },
    )
    .await
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::words::Lang;

    #[test]
    fn days_add_up_to_months_and_years() {
        let day = |day, posts| Day { day, posts };
        // 2026-01-02, 2026-01-01, 2025-12-31
        let days = [day(20_455, 2), day(20_454, 3), day(20_453, 4)];
        let years = sum(&days, |date| When::Year(date.year()));
        assert_eq!(years, [(When::Year(2026), 5), (When::Year(2025), 4)]);
        let months = sum(&days, |date| When::Month(date.year(), date.month()));
        assert_eq!(months, [(When::Month(2026, 1), 5), (When::Month(2025, 12), 4)]);
    }

    #[test]
    fn spans_follow_each_other() {
        let zone = Zone::parse("+09:00").unwrap();
        let span = When::Month(2026, 2).span(zone).unwrap();
        assert_eq!(span.from.rfc3339(), "2026-01-31T15:00:00Z");
        assert_eq!(span.until, When::Month(2026, 3).span(zone).unwrap().from);
        assert_eq!(When::Day(2026, 2, 28).span(zone).unwrap().until, span.until);
        assert_eq!(
            When::Year(2026).span(zone).unwrap().from,
            When::Day(2026, 1, 1).span(zone).unwrap().from
        );
        assert!(When::Day(2026, 2, 29).span(zone).is_none());
        assert!(When::Month(2026, 13).span(zone).is_none());
    }

    #[test]
    fn labels_in_both_languages() {
        let label = |when: When, lang: Lang| when.label(&lang.words().reading);
        assert_eq!(label(When::Day(2026, 7, 5), Lang::En), "5 July 2026");
        assert_eq!(label(When::Day(2026, 7, 5), Lang::Ja), "2026年7月5日");
        assert_eq!(label(When::Month(2026, 12), Lang::Ja), "2026年12月");
        assert_eq!(When::Month(987, 1).path(), "/0987/01");
    }
}
