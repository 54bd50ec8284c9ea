//! Steps of a history: sums over the reports of equal steps of time, as both databases compute them.
//!
//! The database sums, so that a step is one row that leaves it, however many reports it has. [`sums_sql`] is the query of both.
//! Values that cannot be are left out as in roll-ups, since a sum that overflows is an error in PostgreSQL.

use super::rollup::{RMS_MAX, RollUp};

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

/// Sums over the reports of one step.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct StepSums {
    /// What roll-ups have, too.
    pub sums: RollUp,
    /// Sums of the stages' times, in microseconds: coreset, cluster, label.
    pub stages_us: [u64; 3],
}

impl StepSums {
    /// Adds the reports of another part of the step.
    pub fn add(&mut self, other: &StepSums) {
        self.sums.add_all(&other.sums);
        for (sum, more) in self.stages_us.iter_mut().zip(other.stages_us) {
            *sum = sum.saturating_add(more);
        }
    }
}

/// The query of a range's sums by step: the step's number, the columns of a roll-up, and the times of the three stages.
/// Parameters, each behind `mark`: 1 stream, 2 first and 3 last sequence number, 4 `from_us`, 5 `to_us`, 6 `step_us`.
pub(super) fn sums_sql(mark: char) -> String {
    // PostgreSQL keeps 32 bits in a signed number.
    let bits = |column: &str| format!("(CAST({column} AS BIGINT) & 4294967295)");
    let sum = |column: &str| format!("CAST(coalesce(sum({}), 0) AS BIGINT)", bits(column));
    let [clusters, micros] = ["clusters", "micros_total"].map(bits);
    let rms = format!("CASE WHEN rms BETWEEN 0 AND {RMS_MAX} THEN rms ELSE 0 END");
    let silhouette = "CASE WHEN silhouette_estimate BETWEEN -1 AND 1 THEN silhouette_estimate END";
    format!(
        "SELECT (captured_at_us - {mark}4) / {mark}6 AS step, count(*), {}, min({clusters}), max({clusters}), sum({rms}), \
         max({rms}), {}, {}, {}, max({micros}), coalesce(sum({silhouette}), 0.0), count({silhouette}), {}, {}, {} \
         FROM report_rows WHERE sid = {mark}1 AND seq BETWEEN {mark}2 AND {mark}3 AND captured_at_us >= {mark}4 \
         AND captured_at_us < {mark}5 GROUP BY step ORDER BY step",
        sum("clusters"),
        sum("missed"),
        sum("beyond_px"),
        sum("micros_total"),
        sum("micros_coreset"),
        sum("micros_cluster"),
        sum("micros_label"),
    )
}
