//! Steps of a history: sums over the reports of equal steps of time.
//!
//! PostgreSQL computes them itself, so that a step is one row that leaves it. SQLite, which would sort the rows for that, gives its
//! rows one by one to [`StepSums::add_report`]. Values that cannot be are left out as in roll-ups.

use super::rollup::{Numbers, RollUp};

/// Equal steps of time within a range, in microseconds since the Unix epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Steps {
    /// Where the range and its first step begin.
    pub from_us: u64,
    /// The range's end, which is not in it.
    pub to_us: u64,
    /// Length of a step, at least 1.
    pub step_us: u64,
}

impl Steps {
    /// The number of the step that has a time, if it is in the range.
    pub fn step_of(&self, at_us: u64) -> Option<u64> {
        (self.from_us..self.to_us).contains(&at_us).then(|| (at_us - self.from_us) / self.step_us.max(1))
    }
}

/// Sums over the reports of one step.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct StepSums {
    /// What roll-ups have, too.
    pub sums: RollUp,
    /// Sums of the stages' times, in microseconds: coreset, cluster, label.
    pub stages_us: [u64; 3],
}

impl StepSums {
    /// Adds a report: its numbers, and the times of its stages.
    pub fn add_report(&mut self, numbers: &Numbers, stages_us: [u64; 3]) {
        self.sums.add_numbers(numbers);
        for (sum, us) in self.stages_us.iter_mut().zip(stages_us) {
            *sum = sum.saturating_add(us);
        }
    }

    /// Adds the reports of another part of the step.
    pub fn add(&mut self, other: &StepSums) {
        self.sums.add_all(&other.sums);
        for (sum, more) in self.stages_us.iter_mut().zip(other.stages_us) {
            *sum = sum.saturating_add(more);
        }
    }
}
