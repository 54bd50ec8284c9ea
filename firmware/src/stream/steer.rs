//! Steering a warm stream: when clusters open, when they retire, and when a cold start replaces them.
//!
//! | state of the stream | test | when | what happens |
//! |---|---|---|---|
//! | a colour is missed | [`crate::cluster::cover`] on the cells, exact counts after labelling | every frame | the cluster that drifted is held, or a new one opens |
//! | a cluster has lost its support | weight below a quarter of `w_open` | every frame | it is dropped |
//! | too many clusters | more than [`CLUSTERS_SLACK`] above the last cold trial | every frame | a cold trial; the cheapest pairs merge as far as the cover allows |
//! | clusters have become poor | cost above a cold trial's, `BETTER_TRIALS` times in a row | every [`TRIAL_EVERY`] frames | swaps under the cover; if they do not suffice, the trial's clusters replace them |
//!
//! A cold trial clusters the same frame from nothing. Without it a warm stream only drifts from one local optimum to the
//! next, and K only grows: a passing colour opens a cluster that nothing takes back.

use crate::cluster::Clusters;

/// Frames between cold trials. A trial costs about as much as clustering a frame cold, so an eighth of that is added to
/// each frame.
pub const TRIAL_EVERY: u32 = 8;
/// Clusters that a warm stream may have more than the last cold trial before it tries again.
pub const CLUSTERS_SLACK: usize = 2;
/// Clusters that a warm stream may keep above the larger of the last two trials. Noise moves a trial's number of clusters by
/// a few from frame to frame; on three clips at lambda 50 a stream has 1.3 to 1.5 clusters more than cold starts with this.
const CLUSTERS_SURPLUS_MAX: usize = 1;
/// A trial is better if the stream costs more than one part in 2^5 (3 %) more. A stream's clusters have settled over many
/// frames and cost 4 to 13 % less than a cold start's (means of three clips at lambda 50), so this is rare; smaller gains are
/// not worth new labels.
const COST_SLACK_SHIFT: u32 = 5;
/// Trials in a row that must be better by cost before the stream's clusters are replaced: one frame's noise is no reason.
const BETTER_TRIALS: u32 = 3;

/// What steering remembers between frames.
#[derive(Debug, Clone, Copy, Default)]
pub struct Steer {
    frames_since_trial: u32,
    trial_clusters: usize,
    better_trials: u32,
    /// Pixels beyond lambda that a stream without a cover has accepted since its last change of clusters.
    accepted_beyond_px: u32,
}

/// What follows from a trial.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verdict {
    /// The stream's clusters have become poor: better ones replace them.
    pub replace: bool,
    /// Clusters that the stream has too many.
    pub surplus: usize,
}

/// Number of clusters and cost of a solution.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quality {
    /// Number of clusters.
    pub clusters: usize,
    /// Cost over the frame's cells, in 1/4096 squared levels.
    pub cost_q12: u64,
}

impl Quality {
    /// The cost that this solution would have with another number of clusters: in three dimensions the cost falls with
    /// about the power -2/3 of K (Zador, 1982), here to first order.
    fn cost_with(&self, clusters: usize) -> u64 {
        let k = self.clusters.max(1) as i64;
        let more = k - clusters as i64;
        let change = (self.cost_q12 as i64).checked_div(3 * k).unwrap_or(0).saturating_mul(2 * more);
        self.cost_q12.saturating_add_signed(change)
    }

    /// Returns true if this solution costs over 3 % more than a trial would with as many clusters.
    pub fn costs_more_than(self, trial: Quality) -> bool {
        self.cost_q12 > trial.cost_with(self.clusters) + (trial.cost_q12 >> COST_SLACK_SHIFT)
    }
}

impl Steer {
    /// A cold start is its own trial.
    pub fn after_cold(clusters: usize) -> Steer {
        Steer { trial_clusters: clusters, ..Steer::default() }
    }

    /// Returns true if the frame needs a cold trial. Called once in every warm frame.
    pub fn is_trial_due(&mut self, clusters: usize) -> bool {
        self.frames_since_trial += 1;
        self.frames_since_trial >= TRIAL_EVERY || clusters > self.trial_clusters + CLUSTERS_SLACK
    }

    /// Judges a trial.
    ///
    /// `covered`: the stream keeps the cover, so it never has too few clusters.
    pub fn judge(&mut self, stream: Quality, trial: Quality, covered: bool) -> Verdict {
        let expected = trial.clusters.max(self.trial_clusters);
        (self.frames_since_trial, self.trial_clusters) = (0, trial.clusters);
        let too_few = !covered && stream.clusters < trial.clusters;
        let too_costly = stream.costs_more_than(trial);
        self.better_trials = if too_few || too_costly { self.better_trials + 1 } else { 0 };
        let replace = self.better_trials >= BETTER_TRIALS;
        if replace {
            self.better_trials = 0;
        }
        Verdict { replace, surplus: stream.clusters.saturating_sub(expected + CLUSTERS_SURPLUS_MAX) }
    }

    /// Without a cover: returns true if so many more pixels lie beyond lambda than the stream has accepted that a new colour
    /// has appeared. The reference only falls, so slow growth adds up.
    pub fn has_newcomer(&mut self, beyond_px: u32, w_open: u32, changed: bool) -> bool {
        if changed {
            self.accepted_beyond_px = beyond_px;
        }
        self.accepted_beyond_px = self.accepted_beyond_px.min(beyond_px);
        // Noise moves pixels across lambda: an eighth of those accepted, and twice the support of a colour.
        beyond_px > self.accepted_beyond_px + self.accepted_beyond_px / 8 + 2 * w_open
    }
}

/// Drops clusters whose weight has fallen below `weight_min`, but never all of them.
pub fn drop_light(clusters: &mut Clusters, weight_min: u32) {
    if clusters.iter().any(|c| c.weight >= weight_min) {
        clusters.retain(|c| c.weight >= weight_min);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::Cluster;

    #[test]
    fn light_clusters_are_dropped_but_never_all_of_them() {
        let of = |id, weight| Cluster { position_q6: [0; 3], id, weight };
        let mut clusters: Clusters = [of(1, 3), of(2, 30)].into_iter().collect();
        drop_light(&mut clusters, 5);
        assert_eq!(clusters.iter().map(|c| c.id).collect::<heapless::Vec<_, 4>>().as_slice(), &[2]);
        drop_light(&mut clusters, 500);
        assert_eq!(clusters.len(), 1);
    }

    #[test]
    fn surplus_clusters_are_counted_at_once_and_a_better_cost_counts_at_the_third_time() {
        let of = |clusters, cost_q12| Quality { clusters, cost_q12 };
        let mut steer = Steer::after_cold(4);
        assert!(!steer.is_trial_due(6) && steer.is_trial_due(7), "three above the trial's four");
        assert_eq!(steer.judge(of(7, 100), of(6, 100), true), Verdict { replace: false, surplus: 0 });
        assert_eq!(steer.judge(of(8, 100), of(4, 100), true).surplus, 1, "one above the larger of 6 and 4");
        assert_eq!(steer.judge(of(8, 100), of(4, 100), true).surplus, 3, "both trials have four");
        let replaced = |stream, covered| {
            let mut steer = Steer::after_cold(4);
            (0..3).map(|_| steer.judge(stream, of(4, 1_200), covered).replace).collect()
        };
        let verdicts: [heapless::Vec<bool, 3>; 4] = [
            replaced(of(4, 1_300), true),
            replaced(of(4, 1_210), true),
            replaced(of(3, 1_200), true),
            replaced(of(3, 1_200), false),
        ];
        let want = [[false, false, true], [false; 3], [false; 3], [false, false, true]];
        assert_eq!(verdicts.each_ref().map(|v| v.as_slice()), want.each_ref().map(|w| w.as_slice()));
    }

    #[test]
    fn a_solution_of_more_clusters_is_expected_to_cost_less() {
        let trial = Quality { clusters: 12, cost_q12: 36_000 };
        assert_eq!((trial.cost_with(12), trial.cost_with(15), trial.cost_with(11)), (36_000, 30_000, 38_000));
    }

    #[test]
    fn without_a_cover_slow_growth_adds_up_to_a_newcomer() {
        let mut steer = Steer::after_cold(1);
        assert!(!steer.has_newcomer(100, 10, true));
        let grown = (0..50).map(|i| 100 + 2 * i).find(|&px| steer.has_newcomer(px, 10, false));
        assert_eq!(grown, Some(134), "an eighth of 100 and twice 10 above 100");
    }
}
