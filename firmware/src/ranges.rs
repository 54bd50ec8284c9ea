//! Ranges: which sequence numbers of a stream are settled, as a few half-open intervals.
//!
//! Takes sequence numbers. Gives the floor (all below it is settled), gaps and intervals.
//! Touches its own array of at most `N` intervals; beyond that the highest is forgotten.
//! Never grows, and forgetting never invents: it only makes a record be sent again.

use heapless::Vec;

/// A set of `u64`, kept as sorted, disjoint, non-adjacent half-open intervals above a floor.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Ranges<const N: usize> {
    floor: u64,
    above: Vec<(u64, u64), N>,
}

impl<const N: usize> Ranges<N> {
    /// The set of everything below `floor`.
    pub const fn below(floor: u64) -> Self {
        Ranges { floor, above: Vec::new() }
    }

    /// The lowest number that is not in the set.
    pub fn floor(&self) -> u64 {
        self.floor
    }

    /// The intervals above the floor, ascending; each is `from..to`.
    pub fn above(&self) -> &[(u64, u64)] {
        &self.above
    }

    /// Whether `x` is in the set.
    pub fn contains(&self, x: u64) -> bool {
        if x < self.floor {
            return true;
        }
        let i = self.above.partition_point(|&(_, to)| to <= x);
        self.above.get(i).is_some_and(|&(from, _)| from <= x)
    }

    /// The lowest number from `x` on that is not in the set.
    pub fn gap_from(&self, x: u64) -> u64 {
        let x = x.max(self.floor);
        let i = self.above.partition_point(|&(_, to)| to <= x);
        match self.above.get(i) {
            Some(&(from, to)) if from <= x => to,
            _ => x,
        }
    }

    /// Adds `from..to`. Past `N` intervals the highest is forgotten.
    pub fn insert(&mut self, from: u64, to: u64) {
        if to <= from || to <= self.floor {
            return;
        }
        let (mut from, mut to) = (from.max(self.floor), to);
        // All intervals that touch from..to melt into one.
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
            return;
        }
        if self.above.is_full() {
            if first == self.above.len() {
                return; // It would be the highest: forget it at once.
            }
            self.above.pop();
        }
        // Cannot fail: there is room, and `first` is at most the length.
        let _ = self.above.insert(first, (from, to));
    }

    /// Takes `x` out again (a transmission that was lost). Below the floor the floor comes down to `x`,
    /// and what lay between is kept as an interval.
    pub fn remove(&mut self, x: u64) {
        if x < self.floor {
            let old = self.floor;
            self.floor = x;
            self.insert(x + 1, old);
            return;
        }
        let i = self.above.partition_point(|&(_, to)| to <= x);
        let Some(&(from, to)) = self.above.get(i) else { return };
        if x < from {
            return;
        }
        self.above.remove(i);
        // Highest first, so that what may be forgotten is the highest.
        self.insert(from, x);
        self.insert(x + 1, to);
    }

    /// Raises the floor to `floor` if it is lower: all below counts as settled.
    pub fn raise(&mut self, floor: u64) {
        self.insert(self.floor, floor);
    }

    /// Forgets all below `limit`: the floor is then 0, or what it was above `limit` becomes an interval.
    pub fn forget_below(&mut self, limit: u64) {
        let floor = core::mem::take(&mut self.floor);
        self.above.retain(|r| r.1 > limit);
        if let Some(first) = self.above.first_mut() {
            first.0 = first.0.max(limit);
        }
        self.insert(limit, floor);
    }

    /// Forgets all at and above `floor`, which becomes the floor: another journal knows nothing of it.
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
        Remove(u64),
        Raise(u64),
        ForgetBelow(u64),
    }

    fn action() -> impl Strategy<Value = Action> {
        prop_oneof![
            (0u64..60, 1u64..6).prop_map(|(a, n)| Action::Insert(a, a + n)),
            (0u64..60).prop_map(Action::Remove),
            (0u64..20).prop_map(Action::Raise),
            (0u64..30).prop_map(Action::ForgetBelow),
        ]
    }

    proptest! {
        #[test]
        fn it_equals_a_plain_set_as_long_as_nothing_is_forgotten(actions in prop::collection::vec(action(), 1..60)) {
            let (mut ranges, mut plain) = (Ranges::<40>::below(0), BTreeSet::new());
            for a in actions {
                match a {
                    Action::Insert(f, t) => { ranges.insert(f, t); plain.extend(f..t); }
                    Action::Remove(x) => { ranges.remove(x); plain.remove(&x); }
                    Action::Raise(x) => { ranges.raise(x); plain.extend(0..x); }
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
        fn a_full_set_forgets_but_never_invents(actions in prop::collection::vec(action(), 1..60)) {
            let (mut ranges, mut plain) = (Ranges::<3>::below(0), BTreeSet::new());
            for a in actions {
                match a {
                    Action::Insert(f, t) => { ranges.insert(f, t); plain.extend(f..t); }
                    Action::Remove(x) => { ranges.remove(x); plain.remove(&x); }
                    Action::Raise(x) => { ranges.raise(x); plain.extend(0..x); }
                    Action::ForgetBelow(x) => { ranges.forget_below(x); plain.retain(|&p| p >= x); }
                }
                for x in 0..70 {
                    prop_assert!(!ranges.contains(x) || plain.contains(&x), "{} invented by {:?}", x, ranges);
                }
            }
        }
    }

    #[test]
    fn past_its_capacity_the_highest_interval_is_the_one_forgotten() {
        let mut r = Ranges::<2>::below(0);
        r.insert(10, 11);
        r.insert(20, 21);
        r.insert(30, 31);
        assert_eq!(r.above(), [(10, 11), (20, 21)]);
        r.insert(5, 6);
        assert_eq!(r.above(), [(5, 6), (10, 11)]);
        r.insert(0, 5);
        assert_eq!((r.floor(), r.above()), (6, &[(10, 11)][..]));
    }
}
