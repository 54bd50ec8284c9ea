//! Gather: items into a vector of fixed size.
//!
//! Takes items. Gives a vector.
//! Touches nothing.
//! Never a panic, as `collect` would on one item too many: what finds no room is left out.

use heapless::Vec;

/// As many of `items` as there is room for.
pub(crate) fn gather<T, const N: usize>(items: impl Iterator<Item = T>) -> Vec<T, N> {
    let mut gathered = Vec::new();
    items.take(N).for_each(|item| {
        let _ = gathered.push(item);
    });
    gathered
}
