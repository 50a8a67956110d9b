//! Figures: samples, medians, goals, and the table of them. Values only.

use std::fmt::Write;

use serde::Serialize;

use crate::error::Result;
use crate::ui::bytes;

/// Measurements of one thing, in the order in which they were taken.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(transparent)]
pub struct Samples(Vec<f64>);

impl Samples {
    /// At least one sample; `None` without.
    pub fn new(values: Vec<f64>) -> Option<Samples> {
        (!values.is_empty()).then_some(Samples(values))
    }

    /// All of them.
    pub fn values(&self) -> &[f64] {
        &self.0
    }

    /// The middle one; of an even number the mean of the two in the middle.
    pub fn median(&self) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        let middle = sorted.len() / 2;
        if sorted.len() % 2 == 1 {
            sorted[middle]
        } else {
            (sorted[middle - 1] + sorted[middle]) / 2.0
        }
    }
}

/// Measures two things in turn, `runs` times each: A B A B, so that whatever else the machine does meets both alike.
pub fn alternate(
    runs: u16,
    mut ours: impl FnMut() -> Result<f64>,
    mut theirs: impl FnMut() -> Result<f64>,
) -> Result<(Option<Samples>, Option<Samples>)> {
    let (mut a, mut b) = (Vec::new(), Vec::new());
    for _ in 0..runs {
        a.push(ours()?);
        b.push(theirs()?);
    }
    Ok((Samples::new(a), Samples::new(b)))
}

/// What a sample counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Unit {
    /// Seconds of the wall clock.
    Seconds,
    /// Bytes.
    Bytes,
    /// Answers a second.
    PerSecond,
    /// Instructions of a processor.
    Instructions,
}

impl Unit {
    fn text(self, value: f64) -> String {
        match self {
            Unit::Seconds if value < 1.0 => format!("{:.0} ms", value * 1e3),
            Unit::Seconds => format!("{value:.2} s"),
            Unit::Bytes => bytes(value.round() as u64),
            Unit::PerSecond if value < 100.0 => format!("{value:.1}/s"),
            Unit::PerSecond => format!("{value:.0}/s"),
            Unit::Instructions if value < 1e6 => format!("{:.0} k", value / 1e3),
            Unit::Instructions => format!("{:.1} M", value / 1e6),
        }
    }
}

/// What the figures are held against.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Goal {
    /// At most `times` theirs, and at most `more` above theirs.
    Relative {
        /// Factor on theirs.
        times: f64,
        /// Allowed difference, in the unit of the row.
        more: Option<f64>,
    },
    /// At most this.
    Limit(f64),
    /// At least so many times theirs: where more is better.
    AtLeast(f64),
}

/// One line of the result.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// What was measured.
    pub what: String,
    /// Of all samples.
    pub unit: Unit,
    /// Ours; none when it could not be measured here.
    pub ours: Option<Samples>,
    /// What it is compared with, in words.
    pub against: Option<String>,
    /// Theirs; none when it is absent.
    pub theirs: Option<Samples>,
    /// Median of ours by median of theirs, or by the limit.
    pub ratio: Option<f64>,
    /// The goal, if there is one.
    pub goal: Option<Goal>,
    /// Whether it is met; none when something is absent.
    pub met: Option<bool>,
    /// How it was measured, or why it was not.
    pub note: String,
}

impl Row {
    /// A row that compares with another program, or with nothing when `against` is none.
    pub fn new(
        what: impl Into<String>,
        unit: Unit,
        ours: Option<Samples>,
        against: Option<(&str, Option<Samples>)>,
        goal: Option<Goal>,
        note: impl Into<String>,
    ) -> Row {
        let (against, theirs) = against.map_or((None, None), |(name, theirs)| (Some(name.to_owned()), theirs));
        let a = ours.as_ref().map(Samples::median);
        let b = match goal {
            Some(Goal::Limit(limit)) => Some(limit),
            _ => theirs.as_ref().map(Samples::median),
        };
        let pair = a.zip(b).filter(|(_, b)| *b > 0.0);
        let met = goal.zip(pair).map(|(goal, (a, b))| match goal {
            Goal::Limit(limit) => a <= limit,
            Goal::AtLeast(times) => a >= b * times,
            Goal::Relative { times, more } => a <= b * times && more.is_none_or(|more| a - b <= more),
        });
        Row {
            what: what.into(),
            unit,
            against,
            ratio: pair.map(|(a, b)| a / b),
            ours,
            theirs,
            goal,
            met,
            note: note.into(),
        }
    }

    fn cells(&self) -> [String; 7] {
        let absent = |samples: &Option<Samples>| {
            let median = samples.as_ref().map(|samples| self.unit.text(samples.median()));
            median.unwrap_or_else(|| "absent".to_owned())
        };
        let goal = match self.goal {
            None => "-".to_owned(),
            Some(Goal::Limit(limit)) => format!("at most {}", self.unit.text(limit)),
            Some(Goal::AtLeast(times)) => format!("at least {times} x"),
            Some(Goal::Relative { times, more: None }) => format!("at most {times} x"),
            Some(Goal::Relative {
                times,
                more: Some(more),
            }) => format!("at most {times} x and {} more", self.unit.text(more)),
        };
        [
            self.what.clone(),
            absent(&self.ours),
            self.against.clone().unwrap_or_else(|| "-".to_owned()),
            if self.against.is_some() {
                absent(&self.theirs)
            } else {
                "-".to_owned()
            },
            self.ratio.map_or("-".to_owned(), |ratio| format!("{ratio:.2}")),
            goal,
            match self.met {
                Some(true) => "met",
                Some(false) => "NOT MET",
                None => "-",
            }
            .to_owned(),
        ]
    }
}

/// The rows as a table, and below it how each was measured.
pub fn table(rows: &[Row]) -> String {
    let head = ["what", "ours", "against", "theirs", "ratio", "goal", ""].map(str::to_owned);
    let lines: Vec<[String; 7]> = std::iter::once(head).chain(rows.iter().map(Row::cells)).collect();
    let width = |column: usize| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..7).map(width).collect();
    let mut text = String::new();
    for line in &lines {
        let mut out = String::new();
        for (column, cell) in line.iter().enumerate() {
            let width = widths[column];
            // Numbers to the right.
            let _ = if matches!(column, 1 | 3 | 4) {
                write!(out, "{cell:>width$}  ")
            } else {
                write!(out, "{cell:<width$}  ")
            };
        }
        text.push_str(out.trim_end());
        text.push('\n');
    }
    text.push('\n');
    for row in rows {
        let _ = writeln!(text, "{}: {}", row.what, row.note);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples(values: &[f64]) -> Option<Samples> {
        Samples::new(values.to_vec())
    }

    #[test]
    fn the_median_is_the_middle_whatever_the_order() {
        assert_eq!(samples(&[3.0, 1.0, 100.0]).unwrap().median(), 3.0);
        assert_eq!(samples(&[4.0, 1.0, 2.0, 100.0]).unwrap().median(), 3.0);
        assert_eq!(samples(&[7.0]).unwrap().median(), 7.0);
        assert_eq!(samples(&[]), None);
    }

    #[test]
    fn both_are_measured_in_turn() {
        let order = std::cell::RefCell::new(String::new());
        let measure = |name: char| {
            order.borrow_mut().push(name);
            Ok(1.0)
        };
        let (ours, theirs) = alternate(3, || measure('a'), || measure('b')).unwrap();
        assert_eq!(order.into_inner(), "ababab");
        assert_eq!(ours, theirs);
        assert_eq!(ours, samples(&[1.0; 3]));
    }

    #[test]
    fn a_goal_is_met_missed_or_cannot_be_told() {
        let relative = |ours: f64, theirs: Option<f64>, times, more| {
            let theirs = theirs.and_then(|theirs| samples(&[theirs]));
            let goal = Some(Goal::Relative { times, more });
            Row::new("x", Unit::Seconds, samples(&[ours]), Some(("y", theirs)), goal, "").met
        };
        assert_eq!(relative(2.0, Some(1.0), 2.0, None), Some(true));
        assert_eq!(relative(2.0, Some(1.0), 2.0, Some(0.5)), Some(false));
        assert_eq!(relative(1.4, Some(1.0), 2.0, Some(0.5)), Some(true));
        assert_eq!(relative(0.3, Some(0.1), 2.0, Some(0.5)), Some(false));
        assert_eq!(relative(1.0, None, 2.0, None), None);
        let at_least = |ours: f64| {
            let theirs = Some(("y", samples(&[100.0])));
            Row::new(
                "x",
                Unit::PerSecond,
                samples(&[ours]),
                theirs,
                Some(Goal::AtLeast(0.6)),
                "",
            )
            .met
        };
        assert_eq!((at_least(60.0), at_least(59.0)), (Some(true), Some(false)));
        let limit = |ours: &[f64]| Row::new("x", Unit::Bytes, samples(ours), None, Some(Goal::Limit(10.0)), "").met;
        assert_eq!(
            (limit(&[10.0]), limit(&[11.0]), limit(&[])),
            (Some(true), Some(false), None)
        );
    }

    #[test]
    fn what_is_absent_is_called_absent() {
        let goal = |times| Some(Goal::Relative { times, more: None });
        let rows = [
            Row::new(
                "no-op image",
                Unit::Seconds,
                samples(&[0.7, 0.6, 0.9]),
                Some(("cargo build", samples(&[0.4, 0.35, 0.5]))),
                Some(Goal::Relative {
                    times: 2.0,
                    more: Some(0.5),
                }),
                "warm",
            ),
            Row::new(
                "assembly",
                Unit::Seconds,
                samples(&[0.2]),
                Some(("docker", None)),
                goal(0.2),
                "no daemon",
            ),
            Row::new(
                "pull",
                Unit::Bytes,
                samples(&[1.1e6]),
                None,
                Some(Goal::Limit(1e6)),
                "all blobs",
            ),
            Row::new("first answer", Unit::Seconds, None, None, None, "no qemu"),
        ];
        insta::assert_snapshot!(table(&rows), @r"
        what             ours  against      theirs  ratio  goal
        no-op image    700 ms  cargo build  400 ms   1.75  at most 2 x and 500 ms more  met
        assembly       200 ms  docker       absent      -  at most 0.2 x                -
        pull          1.10 MB  -                 -   1.10  at most 1.00 MB              NOT MET
        first answer   absent  -                 -      -  -                            -

        no-op image: warm
        assembly: no daemon
        pull: all blobs
        first answer: no qemu
        ");
    }
}
