//! Conditions of events: what is measured of a frame, compared with limits, and joined by and, or and not.
//!
//! A [`Condition`] is a list of steps behind one another, made once by the parser. Inputs are a report; results are whether it
//! holds, and its first measure. Nothing is allocated and nothing is remembered from frame to frame. A measure that a frame
//! does not have makes its comparison false, whichever way it is.

use firmware::wire::{NamedShare, RegionShare, Report};

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Measure {
    /// The part of a region that has a named colour, 0 to 1.
    Share {
        /// Index of the colour.
        colour: u8,
        /// Index of the region.
        region: u8,
    },
    /// Delta E 2000 between a named colour and the mean of the pixels of a region that have it.
    De00 {
        /// Index of the colour.
        colour: u8,
        /// Index of the region.
        region: u8,
    },
    /// Clusters of the frame.
    Clusters,
    /// Colours that the palette misses.
    Missed,
    /// The silhouette estimate, -1 to 1.
    Silhouette,
}

impl Measure {
    /// Its value in a frame. None: the frame has none (no pixel of the colour, fewer than two clusters).
    pub fn value(self, report: &Report) -> Option<f64> {
        match self {
            Measure::Share { colour, region } => {
                let region = of_region(report, region)?;
                let pixels = of_colour(region, colour).map_or(0, |named| named.pixels);
                Some(f64::from(pixels) / f64::from(region.pixels.max(1)))
            }
            Measure::De00 { colour, region } => {
                of_colour(of_region(report, region)?, colour).map(|named| f64::from(named.de00_q6) / 64.0)
            }
            Measure::Clusters => Some(report.palette.len() as f64),
            Measure::Missed => report.missed.map(f64::from),
            Measure::Silhouette => report.silhouette_ppm.map(|ppm| f64::from(ppm) / 1e6),
        }
    }
}

fn of_region(report: &Report, region: u8) -> Option<&RegionShare> {
    report.regions.iter().find(|share| share.region == region)
}

fn of_colour(region: &RegionShare, colour: u8) -> Option<&NamedShare> {
    region.named.iter().find(|named| named.colour == colour)
}

/// How a measure is compared with its limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Relation {
    /// `<`
    Below,
    /// `<=`
    AtMost,
    /// `>`
    Above,
    /// `>=`
    AtLeast,
}

impl Relation {
    /// Whether it is so.
    pub fn holds(self, value: f64, limit: f64) -> bool {
        match self {
            Relation::Below => value < limit,
            Relation::AtMost => value <= limit,
            Relation::Above => value > limit,
            Relation::AtLeast => value >= limit,
        }
    }
}

/// A step of a condition. Each takes its operands from a stack of truths and leaves one there.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Step {
    /// A comparison.
    Test {
        /// Left of the relation.
        measure: Measure,
        /// How it is compared.
        relation: Relation,
        /// Right of the relation.
        limit: f64,
    },
    /// Of the last two.
    And,
    /// Of the last two.
    Or,
    /// Of the last.
    Not,
}

/// A condition. The parser makes it, and sees to it that at most 64 truths are on its stack.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Condition {
    steps: Vec<Step>,
}

impl Condition {
    /// One of steps in the order in which they are done.
    pub(super) fn new(steps: Vec<Step>) -> Condition {
        Condition { steps }
    }

    /// Whether it holds for a frame.
    pub fn holds(&self, report: &Report) -> bool {
        // The last truth is the lowest bit.
        let mut truths = 0u64;
        for step in &self.steps {
            truths = match *step {
                Step::Test { measure, relation, limit } => {
                    let holds = measure.value(report).is_some_and(|value| relation.holds(value, limit));
                    truths << 1 | u64::from(holds)
                }
                Step::And => truths >> 1 & (truths | !1),
                Step::Or => truths >> 1 | truths & 1,
                Step::Not => truths ^ 1,
            };
        }
        truths & 1 == 1
    }

    /// The value of its first measure in a frame, in millionths.
    pub fn first_value_micro(&self, report: &Report) -> Option<i64> {
        let first = self.steps.iter().find_map(|step| match step {
            Step::Test { measure, .. } => Some(*measure),
            _ => None,
        })?;
        first.value(report).map(|value| (value * 1e6).round() as i64)
    }
}
