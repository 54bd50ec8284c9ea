//! Roll-ups: what many reports of a device were like within a minute or an hour.
//!
//! A [`RollUp`] is a sum of reports: adding two roll-ups gives the roll-up of both sets. They are written in the same
//! transaction as the rows they count, so they are exact, and they stay when the rows are pruned.

use crate::json::ReportJson;
use serde::Serialize;

/// Microseconds of a minute.
pub const MINUTE_US: u64 = 60_000_000;
/// Microseconds of an hour.
pub const HOUR_US: u64 = 60 * MINUTE_US;

/// Largest RMS that is counted, in 8-bit levels: the distance from black to white is 442.
pub(super) const RMS_MAX: f64 = 442.0;

/// Sums over the reports of one device within one minute or hour.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub struct RollUp {
    /// Reports.
    pub reports: u64,
    /// Sum of their numbers of clusters.
    pub clusters_sum: u64,
    /// Fewest clusters of a report.
    pub clusters_min: u32,
    /// Most clusters of a report.
    pub clusters_max: u32,
    /// Sum of their RMS, in 8-bit levels.
    pub rms_sum: f64,
    /// Highest RMS, in 8-bit levels.
    pub rms_max: f64,
    /// Missed colours of all reports that counted them.
    pub missed_sum: u64,
    /// Pixels beyond lambda of all reports that counted them.
    pub beyond_px_sum: u64,
    /// Sum of the frames' processing times, in microseconds.
    pub micros_sum: u64,
    /// Longest processing time of a frame, in microseconds.
    pub micros_max: u32,
    /// Sum of the silhouette estimates.
    pub silhouette_sum: f64,
    /// Reports with a silhouette estimate.
    pub silhouettes: u64,
}

/// What a roll-up counts of a report.
#[derive(Debug, Clone, PartialEq)]
pub struct Numbers {
    /// Clusters.
    pub clusters: u32,
    /// Root of the mean squared distance, in 8-bit levels.
    pub rms: f64,
    /// Colours that the palette misses, if the edge counted them.
    pub missed: Option<u32>,
    /// Pixels beyond lambda, if the edge counted them.
    pub beyond_px: Option<u32>,
    /// The frame's processing time, in microseconds.
    pub micros_total: u32,
    /// The estimate, if there is one.
    pub silhouette_estimate: Option<f64>,
}

impl RollUp {
    /// Adds a report.
    pub fn add(&mut self, r: &ReportJson) {
        self.add_numbers(&Numbers {
            clusters: r.clusters,
            rms: r.rms,
            missed: r.missed,
            beyond_px: r.beyond_px,
            micros_total: r.micros.total,
            silhouette_estimate: r.silhouette_estimate,
        });
    }

    /// Adds a report by its numbers.
    pub fn add_numbers(&mut self, n: &Numbers) {
        self.clusters_min = if self.reports == 0 { n.clusters } else { self.clusters_min.min(n.clusters) };
        self.clusters_max = self.clusters_max.max(n.clusters);
        self.reports += 1;
        self.clusters_sum += u64::from(n.clusters);
        // Anybody may write to a topic: what cannot be an RMS must not make the sums infinite, which no store takes.
        let rms = if (0.0..=RMS_MAX).contains(&n.rms) { n.rms } else { 0.0 };
        self.rms_sum += rms;
        self.rms_max = self.rms_max.max(rms);
        self.missed_sum += u64::from(n.missed.unwrap_or(0));
        self.beyond_px_sum += u64::from(n.beyond_px.unwrap_or(0));
        self.micros_sum += u64::from(n.micros_total);
        self.micros_max = self.micros_max.max(n.micros_total);
        if let Some(silhouette) = n.silhouette_estimate.filter(|s| (-1.0..=1.0).contains(s)) {
            self.silhouette_sum += silhouette;
            self.silhouettes += 1;
        }
    }

    /// Adds the sums of other reports.
    pub fn add_all(&mut self, other: &RollUp) {
        if other.reports == 0 {
            return;
        }
        self.clusters_min =
            if self.reports == 0 { other.clusters_min } else { self.clusters_min.min(other.clusters_min) };
        self.clusters_max = self.clusters_max.max(other.clusters_max);
        self.rms_max = self.rms_max.max(other.rms_max);
        self.micros_max = self.micros_max.max(other.micros_max);
        self.rms_sum += other.rms_sum;
        self.silhouette_sum += other.silhouette_sum;
        for (sum, more) in [
            (&mut self.reports, other.reports),
            (&mut self.clusters_sum, other.clusters_sum),
            (&mut self.missed_sum, other.missed_sum),
            (&mut self.beyond_px_sum, other.beyond_px_sum),
            (&mut self.micros_sum, other.micros_sum),
            (&mut self.silhouettes, other.silhouettes),
        ] {
            *sum = sum.saturating_add(more);
        }
    }
}
