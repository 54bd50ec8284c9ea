//! The timing of an event: when a condition that holds or fails begins or ends it.
//!
//! Inputs are a condition's truth and the capture time of each frame; the result is a change, or none. A condition has to hold
//! for a while before the event begins, and to fail for a while before it ends. Times are arguments. A clock that is set back
//! starts the wait anew.

use firmware::wire::EventChange;

/// How long a condition has to hold or to fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Waits {
    /// Microseconds for which it holds before the event begins.
    pub for_us: u64,
    /// Microseconds for which it fails before the event ends.
    pub clear_us: u64,
}

/// Whether an event is active, and since when its condition has differed from that.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Timing {
    is_active: bool,
    differs_since_us: Option<u64>,
}

impl Timing {
    /// Whether the event is active.
    pub fn is_active(&self) -> bool {
        self.is_active
    }

    /// Takes whether the condition holds in a frame that was captured at `at_us`. Gives a change if there is one.
    pub fn step(&mut self, holds: bool, at_us: u64, waits: Waits) -> Option<EventChange> {
        if holds == self.is_active {
            self.differs_since_us = None;
            return None;
        }
        let since_us = self.differs_since_us.filter(|since_us| *since_us <= at_us).unwrap_or(at_us);
        self.differs_since_us = Some(since_us);
        let wait_us = if holds { waits.for_us } else { waits.clear_us };
        if at_us - since_us < wait_us {
            return None;
        }
        (self.is_active, self.differs_since_us) = (holds, None);
        Some(if holds { EventChange::Begin } else { EventChange::End })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use EventChange::{Begin, End};
    use proptest::prelude::*;

    /// Changes, with the place of their frames.
    fn run(waits: Waits, frames: &[(u64, bool)]) -> Vec<(usize, EventChange)> {
        let mut timing = Timing::default();
        let step = |(n, &(at, holds)): (usize, &(u64, bool))| timing.step(holds, at, waits).map(|change| (n, change));
        frames.iter().enumerate().filter_map(step).collect()
    }

    #[test]
    fn an_event_begins_and_ends_only_after_its_waits() {
        let waits = Waits { for_us: 500, clear_us: 2_000 };
        let flicker = [(0, true), (499, true), (600, false), (700, true), (1_199, true)];
        assert_eq!(run(waits, &flicker), []);
        let holds = [(0, true), (500, true), (600, false), (2_599, false), (2_600, false), (2_601, false)];
        assert_eq!(run(waits, &holds), [(1, Begin), (4, End)]);
        let at_once = [(0, false), (1, true), (2, true), (3, false)];
        assert_eq!(run(Waits::default(), &at_once), [(1, Begin), (3, End)]);
    }

    #[test]
    fn a_clock_that_is_set_back_starts_the_wait_anew() {
        let waits = Waits { for_us: 500, clear_us: 0 };
        assert_eq!(run(waits, &[(9_000, true), (100, true), (599, true), (600, true)]), [(3, Begin)]);
    }

    proptest! {
        /// Begin and end take turns. Each comes with the first frame of a run of equal truths that is as old as its wait.
        #[test]
        fn begin_and_end_take_turns_and_come_neither_early_nor_late(
            gaps in prop::collection::vec((0u64..3_000, any::<bool>()), 0..200), for_us in 0u64..5_000, clear_us in 0u64..5_000,
        ) {
            let mut at = 0;
            let frames: Vec<_> = gaps.iter().map(|&(gap, holds)| { at += gap; (at, holds) }).collect();
            let mut changes = run(Waits { for_us, clear_us }, &frames).into_iter().peekable();
            let (mut is_active, mut start) = (false, 0);
            for (n, &(at, holds)) in frames.iter().enumerate() {
                if n > 0 && frames[n - 1].1 != holds {
                    start = n;
                }
                let is_due = holds != is_active && at - frames[start].0 >= if holds { for_us } else { clear_us };
                let change = changes.next_if(|(of, _)| *of == n).map(|(_, change)| change);
                prop_assert_eq!(change, is_due.then_some(if holds { Begin } else { End }));
                is_active ^= is_due;
            }
            prop_assert_eq!(changes.next(), None);
        }
    }
}
