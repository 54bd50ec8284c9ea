//! Collecting an iterator into a vector of fixed capacity.
//!
//! Inputs are items; the result is a vector of as many of them as it can hold. `collect` panics on one item too many,
//! and the core must not panic, so `gather` ignores items beyond the capacity.

use heapless::Vec;

/// Collects the first `N` of `items`, and ignores the rest.
pub(crate) fn gather<T, const N: usize>(items: impl Iterator<Item = T>) -> Vec<T, N> {
    let mut gathered = Vec::new();
    items.take(N).for_each(|item| {
        let _ = gathered.push(item);
    });
    gathered
}
