//! A set of sequence numbers as a few half-open intervals above a floor.
//!
//! [`Ranges`] keeps at most `N` intervals above its floor. A full set forgets its highest interval when a lower one is added.
//! It never contains a number that was not added, so forgetting can only make a record be sent again.

use heapless::Vec;

/// A set of `u64`: everything below the floor, and sorted, disjoint, non-adjacent half-open intervals above it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Ranges<const N: usize> {
    floor: u64,
    above: Vec<(u64, u64), N>,
}

impl<const N: usize> Ranges<N> {
    /// Creates the set of everything below `floor`.
    pub const fn below(floor: u64) -> Self {
        Ranges { floor, above: Vec::new() }
    }

    /// Returns the lowest number that is not in the set.
    pub fn floor(&self) -> u64 {
        self.floor
    }

    /// Returns the intervals above the floor, ascending; each is `from..to`.
    pub fn above(&self) -> &[(u64, u64)] {
        &self.above
    }

    /// Returns true if `x` is in the set.
    pub fn contains(&self, x: u64) -> bool {
        if x < self.floor {
            return true;
        }
        let i = self.above.partition_point(|&(_, to)| to <= x);
        self.above.get(i).is_some_and(|&(from, _)| from <= x)
    }

    /// Returns the lowest number from `x` on that is not in the set.
    pub fn gap_from(&self, x: u64) -> u64 {
        let x = x.max(self.floor);
        let i = self.above.partition_point(|&(_, to)| to <= x);
        match self.above.get(i) {
            Some(&(from, to)) if from <= x => to,
            _ => x,
        }
    }

    /// Adds `from..to`. If the set is full, it forgets its highest interval and returns it; that can be `from..to` itself.
    pub fn insert(&mut self, from: u64, to: u64) -> Option<(u64, u64)> {
        if to <= from || to <= self.floor {
            return None;
        }
        let (mut from, mut to) = (from.max(self.floor), to);
        // All intervals that overlap or touch from..to become one.
        let first = self.above.partition_point(|&(_, t)| t < from);
        let last = self.above.partition_point(|&(f, _)| f <= to);
        for &(f, t) in self.above.get(first..last).unwrap_or(&[]) {
            from = from.min(f);
            to = to.max(t);
        }
        for _ in first..last {
            self.above.remove(first);
        }
        if from <= self.floor {
            self.floor = to;
            return None;
        }
        let mut forgotten = None;
        if self.above.is_full() {
            if first == self.above.len() {
                return Some((from, to));
            }
            forgotten = self.above.pop();
        }
        // Cannot fail: there is room, and `first` is at most the length.
        let _ = self.above.insert(first, (from, to));
        forgotten
    }

    /// Removes everything below `limit`. The floor becomes 0 unless it was above `limit`; then `limit..floor` becomes an
    /// interval.
    pub fn forget_below(&mut self, limit: u64) {
        let floor = core::mem::take(&mut self.floor);
        self.above.retain(|r| r.1 > limit);
        if let Some(first) = self.above.first_mut() {
            first.0 = first.0.max(limit);
        }
        self.insert(limit, floor);
    }

    /// Makes the set that of everything below `floor`.
    pub fn reset(&mut self, floor: u64) {
        self.floor = floor;
        self.above.clear();
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    #[derive(Debug, Clone)]
    enum Action {
        Insert(u64, u64),
        ForgetBelow(u64),
    }

    fn action() -> impl Strategy<Value = Action> {
        prop_oneof![
            (0u64..60, 1u64..6).prop_map(|(a, n)| Action::Insert(a, a + n)),
            (0u64..30).prop_map(Action::ForgetBelow),
        ]
    }

    proptest! {
        #[test]
        fn equals_a_plain_set_while_nothing_is_forgotten(actions in prop::collection::vec(action(), 1..60)) {
            let (mut ranges, mut plain) = (Ranges::<40>::below(0), BTreeSet::new());
            for a in actions {
                match a {
                    Action::Insert(f, t) => { ranges.insert(f, t); plain.extend(f..t); }
                    Action::ForgetBelow(x) => { ranges.forget_below(x); plain.retain(|&p| p >= x); }
                }
                for x in 0..70 {
                    prop_assert_eq!(ranges.contains(x), plain.contains(&x), "{} in {:?}", x, ranges);
                    prop_assert_eq!(ranges.gap_from(x), (x..).find(|g| !plain.contains(g)).unwrap());
                }
                prop_assert_eq!(ranges.floor(), (0..).find(|g| !plain.contains(g)).unwrap());
                for w in ranges.above().windows(2) {
                    prop_assert!(w[0].1 < w[1].0);
                }
            }
        }

        #[test]
        fn a_full_set_contains_only_what_was_inserted(actions in prop::collection::vec(action(), 1..60)) {
            let (mut ranges, mut plain) = (Ranges::<3>::below(0), BTreeSet::new());
            for a in actions {
                match a {
                    Action::Insert(f, t) => {
                        plain.extend(f..t);
                        if let Some((f, t)) = ranges.insert(f, t) {
                            prop_assert!((f..t).all(|x| plain.remove(&x)), "{f}..{t} was not in the set");
                        }
                    }
                    Action::ForgetBelow(x) => { ranges.forget_below(x); plain.retain(|&p| p >= x); }
                }
                for x in 0..70 {
                    prop_assert!(!ranges.contains(x) || plain.contains(&x), "{} invented by {:?}", x, ranges);
                }
            }
        }
    }

    #[test]
    fn a_full_set_forgets_its_highest_interval_and_returns_it() {
        let mut r = Ranges::<2>::below(0);
        assert_eq!(r.insert(10, 11), None);
        assert_eq!(r.insert(20, 21), None);
        assert_eq!(r.insert(30, 31), Some((30, 31)));
        assert_eq!(r.above(), [(10, 11), (20, 21)]);
        assert_eq!(r.insert(5, 6), Some((20, 21)));
        assert_eq!(r.above(), [(5, 6), (10, 11)]);
        assert_eq!(r.insert(0, 5), None);
        assert_eq!((r.floor(), r.above()), (6, &[(10, 11)][..]));
    }
}
