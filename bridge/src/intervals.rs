//! An unbounded set of sequence numbers, kept as disjoint half-open intervals.
//!
//! It answers membership, counts and differences: the arithmetic of dedupe and of the ledger. The tree has as many nodes as
//! there are holes. Unlike the receiver's bounded ranges, it forgets nothing: it is the truth about what was stored.

use std::collections::BTreeMap;

/// A set of `u64`, kept as `from..to` with no two touching.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Intervals {
    spans: BTreeMap<u64, u64>,
}

impl Intervals {
    /// Whether `x` is in the set.
    pub fn contains(&self, x: u64) -> bool {
        self.spans.range(..=x).next_back().is_some_and(|(_, &to)| x < to)
    }

    /// Adds `x`. Gives whether it was new.
    pub fn insert(&mut self, x: u64) -> bool {
        let new = !self.contains(x);
        if new {
            self.add(x, x.saturating_add(1));
        }
        new
    }

    /// Adds `from..to`.
    pub fn add(&mut self, from: u64, to: u64) {
        if to <= from {
            return;
        }
        let (mut from, mut to) = (from, to);
        while let Some((&f, &t)) = self.spans.range(..=to).next_back() {
            if t < from {
                break;
            }
            self.spans.remove(&f);
            from = from.min(f);
            to = to.max(t);
        }
        self.spans.insert(from, to);
    }

    /// The intervals, ascending.
    pub fn iter(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        self.spans.iter().map(|(&from, &to)| (from, to))
    }

    /// Numbers in the set at or above `from`.
    pub fn count_from(&self, from: u64) -> u64 {
        self.iter().map(|(f, t)| t.saturating_sub(f.max(from))).sum()
    }

    /// One past the highest number, 0 if the set is empty.
    pub fn end(&self) -> u64 {
        self.spans.last_key_value().map_or(0, |(_, &to)| to)
    }

    /// Numbers of this set that are not in `other`.
    pub fn minus(&self, other: &Intervals) -> Intervals {
        let mut left = Intervals::default();
        for (mut from, to) in self.iter() {
            let first = other.spans.range(..=from).next_back().map_or(from, |(&f, _)| f);
            for (&f, &t) in other.spans.range(first..to) {
                if t <= from {
                    continue;
                }
                left.add(from, f.min(to));
                from = from.max(t);
            }
            left.add(from, to);
        }
        left
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn both(ranges: &[(u64, u64)]) -> (Intervals, BTreeSet<u64>) {
        let (mut a, mut b) = (Intervals::default(), BTreeSet::new());
        for &(f, n) in ranges {
            a.add(f, f + n);
            b.extend(f..f + n);
        }
        (a, b)
    }

    fn ranges() -> impl Strategy<Value = Vec<(u64, u64)>> {
        prop::collection::vec((0u64..60, 0u64..8), 0..20)
    }

    proptest! {
        #[test]
        fn it_equals_a_plain_set(a in ranges(), b in ranges(), from in 0u64..70) {
            let ((a, pa), (b, pb)) = (both(&a), both(&b));
            for x in 0..80 {
                prop_assert_eq!(a.contains(x), pa.contains(&x));
                prop_assert_eq!(a.minus(&b).contains(x), pa.contains(&x) && !pb.contains(&x), "{}", x);
            }
            prop_assert_eq!(a.count_from(from), pa.range(from..).count() as u64);
            prop_assert_eq!(a.end(), pa.last().map_or(0, |x| x + 1));
            let spans: Vec<_> = a.iter().collect();
            for w in spans.windows(2) {
                prop_assert!(w[0].1 < w[1].0);
            }
        }

        #[test]
        fn a_number_is_new_once(xs in prop::collection::vec(0u64..40, 0..80)) {
            let (mut set, mut plain) = (Intervals::default(), BTreeSet::new());
            for x in xs {
                prop_assert_eq!(set.insert(x), plain.insert(x));
            }
        }
    }
}
