//! Blinking: whether a condition that holds and fails is off, steady or blinking, and how fast.
//!
//! Inputs are a condition's truth and the capture time of each frame; the result is a [`Pattern`]. A condition that stays as it
//! is for [`HOLD_US`] is steady or off. One that changes at least five times, in periods that fit each other, blinks.
//! What fits neither leaves the pattern as it was. Times are integers and arguments, memory is fixed, and nothing is allocated.
//!
//! A period that the camera missed (a lost frame, a phase that is shorter than the time between two frames) counts as two, and
//! phases that are much shorter than the others (a disturbed frame) are left out.

use firmware::wire::Pattern;

/// A truth that lasts so long is none of a blinking condition: at 0.5 Hz the longer phase lasts 1.2 s if it is 60 % of the
/// period. Two lost frames at 15 frames a second and the irregularity of frame times are added.
pub const HOLD_US: u64 = 1_450_000;
/// Changes of which the periods are made: 7 periods at most, which gives the rate to 5 % at 15 frames a second and 5 Hz.
const EDGES_MAX: usize = 16;
/// Changes at least: two periods, so that one phase more or less is no blinking.
const EDGES_MIN: usize = 5;
/// Changes that are older are not looked at. At 0.5 Hz it holds two periods; a faster rate replaces a slower one within it.
const HISTORY_US: u64 = 5_000_000;
/// A phase that is shorter than this part of the median phase is a disturbance. Phases of 40 and 60 % differ by 1.5.
const GLITCH_PART: u64 = 5;
/// A period fits if it differs from one or two median periods by at most this part of one, in percent: at 15 frames a second
/// and 5 Hz a period is 2, 3 or 4 frames long.
const TOLERANCE_PERCENT: u64 = 42;
/// Periods that must fit, in percent. With a lost frame in 20, at most one period in 5 is odd.
const FITTING_PERCENT: usize = 70;
/// The part of the time that the condition must hold, and fail, at least, in percent: less is a disturbance.
const PHASE_PERCENT: u64 = 15;

/// What is remembered of a condition.
#[derive(Debug, Clone, Default)]
pub struct Blink {
    holds: bool,
    /// When the last frame was captured.
    seen_us: Option<u64>,
    /// When the present truth began.
    since_us: u64,
    /// When the truth changed, oldest first. The last one led to the present truth.
    edges_us: heapless::Vec<u64, EDGES_MAX>,
    pattern: Pattern,
}

impl Blink {
    /// The pattern after the last frame.
    pub fn pattern(&self) -> Pattern {
        self.pattern
    }

    /// Takes whether the condition holds in a frame that was captured at `at_us`. Gives the pattern.
    pub fn step(&mut self, holds: bool, at_us: u64) -> Pattern {
        // The change came between the two frames. With a clock that was set, or frames too far apart, the time is unknown.
        let Some(gap_us) = self.seen_us.and_then(|seen_us| at_us.checked_sub(seen_us)).filter(|gap| *gap < HOLD_US)
        else {
            *self = Blink { holds, seen_us: Some(at_us), since_us: at_us, pattern: self.pattern, ..Blink::default() };
            return self.pattern;
        };
        self.seen_us = Some(at_us);
        if holds != self.holds {
            (self.holds, self.since_us) = (holds, at_us - gap_us / 2);
            self.changed();
        } else if at_us - self.since_us >= HOLD_US {
            self.edges_us.clear();
            self.pattern = if holds { Pattern::Steady } else { Pattern::Off };
        }
        self.pattern
    }

    /// The truth has changed.
    fn changed(&mut self) {
        let oldest_us = self.since_us.saturating_sub(HISTORY_US);
        let first = self.edges_us.iter().position(|edge_us| *edge_us >= oldest_us).unwrap_or(self.edges_us.len());
        let first = first.max((self.edges_us.len() + 1).saturating_sub(EDGES_MAX));
        self.edges_us.drain(..first);
        // There is room: one of the oldest has gone.
        let _ = self.edges_us.push(self.since_us);
        if let Some(rate_millihz) = rate_millihz(&self.edges_us) {
            self.pattern = Pattern::Blinking { rate_millihz };
        }
    }
}

/// The rate of a condition that changed at `edges_us`. None: it does not blink.
fn rate_millihz(edges_us: &[u64]) -> Option<u32> {
    let edges = without_glitches(edges_us);
    if edges.len() < EDGES_MIN {
        return None;
    }
    // Phases take turns.
    let phases = || edges.iter().zip(edges.iter().skip(1)).map(|(from, to)| to - from);
    let (one_us, other_us) = (phases().step_by(2).sum::<u64>(), phases().skip(1).step_by(2).sum::<u64>());
    if one_us.min(other_us) * 100 < (one_us + other_us) * PHASE_PERCENT {
        return None;
    }
    let periods: heapless::Vec<u64, EDGES_MAX> = edges.iter().zip(edges.iter().skip(2)).map(|(a, b)| b - a).collect();
    // Frames that all have one capture time have no rate.
    let median_us = median(&periods).filter(|us| *us > 0)?;
    let (mut fitting, mut cycles, mut sum_us) = (0, 0, 0);
    for &period_us in &periods {
        let n = ((period_us + median_us / 2) / median_us).clamp(1, 2);
        if period_us.abs_diff(n * median_us) * 100 <= median_us * TOLERANCE_PERCENT {
            (fitting, cycles, sum_us) = (fitting + 1, cycles + n, sum_us + period_us);
        }
    }
    let is_regular = fitting * 100 >= periods.len() * FITTING_PERCENT && sum_us > 0;
    is_regular.then(|| u32::try_from((cycles * 1_000_000_000 + sum_us / 2) / sum_us).unwrap_or(u32::MAX))
}

/// The changes without those around phases that are much shorter than the others.
fn without_glitches(edges_us: &[u64]) -> heapless::Vec<u64, EDGES_MAX> {
    let phases: heapless::Vec<u64, EDGES_MAX> =
        edges_us.iter().zip(edges_us.iter().skip(1)).map(|(from, to)| to - from).collect();
    let shortest_us = median(&phases).unwrap_or(0) / GLITCH_PART;
    let mut kept = heapless::Vec::<u64, EDGES_MAX>::new();
    for &edge_us in edges_us {
        match kept.last() {
            Some(last_us) if edge_us - last_us < shortest_us => drop(kept.pop()),
            // There is a place for each.
            _ => drop(kept.push(edge_us)),
        }
    }
    kept
}

/// The lower of the middle values.
fn median(values: &[u64]) -> Option<u64> {
    let mut sorted: heapless::Vec<u64, EDGES_MAX> = values.iter().copied().take(EDGES_MAX).collect();
    sorted.sort_unstable();
    sorted.get(sorted.len().checked_sub(1)? / 2).copied()
}

#[cfg(test)]
#[path = "blink_tests.rs"]
mod tests;
