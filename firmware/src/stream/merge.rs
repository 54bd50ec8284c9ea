//! Taking clusters back: merging near duplicates, dropping clusters that the others cover, and merging the cheapest pair.
//!
//! DC-DP-means and the cover only open clusters. Lloyd's steps drift centroids together, and a passing colour leaves its
//! cluster behind; without these edits K would only grow. With `--refine none` the first two run before the clustering, so
//! the objective of a frame falls from its first sweep on; [`join_cheapest`] serves the refined streams.

use crate::cluster::{Cluster, Clusters};
use crate::color::{Q6, distance2_q12, ward_q12};
use crate::coreset::Point;
use crate::limits::CLUSTERS_MAX;

/// Pairs examined for merging in one frame: enough, as near duplicates arise one at a time.
const MERGE_TRIES: u32 = 8;

/// Merges near-duplicate clusters, closest first, where every point of both lies within `reach2_q12` of the merged
/// centroid: Lloyd's steps drift centroids together, and nothing else would ever merge them.
pub fn merge_close(points: &[Point], assign: &mut [u8], clusters: &mut Clusters, reach2_q12: u32) {
    let mut beyond = (0, 0, 0);
    for _ in 0..MERGE_TRIES {
        let Some(pair) = closest_pair(clusters, reach2_q12, beyond) else { return };
        let (_, i, j) = pair;
        let (Some(a), Some(b)) = (clusters.get(i).copied(), clusters.get(j).copied()) else { return };
        let merged = weighted_mean(a, b);
        let covered = points.iter().zip(assign.iter()).all(|(p, &label)| {
            let label = usize::from(label);
            (label != i && label != j) || distance2_q12(p.position_q6, merged) <= reach2_q12
        });
        if !covered {
            beyond = pair;
            continue;
        }
        // The heavier one's identity stays.
        let id = if a.weight >= b.weight { a.id } else { b.id };
        if let Some(c) = clusters.get_mut(i) {
            *c = Cluster { position_q6: merged, id, weight: a.weight.saturating_add(b.weight) };
        }
        remove(clusters, j);
        for label in assign.iter_mut() {
            *label = match usize::from(*label) {
                l if l == j => i as u8,
                l if l > j => *label - 1,
                _ => *label,
            };
        }
        beyond = (0, 0, 0);
    }
}

/// Removes a cluster; those behind it move up.
fn remove(clusters: &mut Clusters, place: usize) {
    let mut at = 0;
    clusters.retain(|_| {
        at += 1;
        at - 1 != place
    });
}

/// The closest pair of centroids within `reach2_q12` of one another, after `beyond` in the order (distance, i, j).
fn closest_pair(clusters: &Clusters, reach2_q12: u32, beyond: (u32, usize, usize)) -> Option<(u32, usize, usize)> {
    let pairs = clusters.iter().enumerate().flat_map(|(i, a)| {
        let later = clusters.iter().enumerate().skip(i + 1);
        later.map(move |(j, b)| (distance2_q12(a.position_q6, b.position_q6), i, j))
    });
    pairs.filter(|p| p.0 <= reach2_q12 && (beyond.2 == 0 || *p > beyond)).min()
}

fn weighted_mean(a: Cluster, b: Cluster) -> Q6 {
    let (wa, wb) = (u64::from(a.weight), u64::from(b.weight));
    let w = (wa + wb).max(1);
    let mut mean = [0; 3];
    for ((m, x), y) in mean.iter_mut().zip(a.position_q6).zip(b.position_q6) {
        *m = ((wa * u64::from(x) + wb * u64::from(y) + w / 2) / w) as u16;
    }
    mean
}

/// Drops the lightest cluster that the cover does not need: one whose every point of at least `w_open` pixels lies within
/// `reach2_q12` of another centroid. A cold start would not have opened it.
pub fn drop_redundant(points: &[Point], assign: &[u8], clusters: &mut Clusters, w_open: u32, reach2_q12: u32) {
    let mut needed = [false; CLUSTERS_MAX];
    for (p, &label) in points.iter().zip(assign).filter(|(p, _)| p.weight() >= w_open) {
        let own = usize::from(label);
        let Some(needed) = needed.get_mut(own).filter(|n| !**n) else { continue };
        let others = clusters.iter().enumerate().filter(|&(k, _)| k != own);
        *needed = others.map(|(_, c)| distance2_q12(p.position_q6, c.position_q6)).all(|d| d > reach2_q12);
    }
    let idle = clusters.iter().zip(needed).enumerate().filter(|(_, (_, needed))| !needed);
    if let Some((k, _)) = idle.min_by_key(|(_, (c, _))| c.weight)
        && clusters.len() > 1
    {
        remove(clusters, k);
    }
}

/// Merges the two clusters that cost least as one (Ward, 1963), if `is_kept` accepts the result; else tries the next pair,
/// a few times. The heavier one keeps its id. Returns true if a pair was merged.
#[inline(never)] // The merged clusters leave the stack with it.
pub fn join_cheapest(clusters: &mut Clusters, is_kept: impl Fn(&Clusters) -> bool) -> bool {
    let mut after = None;
    for _ in 0..MERGE_TRIES {
        let pairs = clusters.iter().enumerate().flat_map(|(i, a)| {
            let later = clusters.iter().enumerate().skip(i + 1);
            later.map(move |(j, b)| (ward_q12((a.position_q6, a.weight), (b.position_q6, b.weight)), i, j))
        });
        let next = pairs.filter(|pair| after.is_none_or(|after| *pair > after)).min();
        let Some((_, i, j)) = next else { return false };
        after = next;
        let (Some(&a), Some(&b)) = (clusters.get(i), clusters.get(j)) else { return false };
        let mut merged = clusters.clone();
        if let Some(c) = merged.get_mut(i) {
            let id = if a.weight >= b.weight { a.id } else { b.id };
            *c = Cluster { position_q6: weighted_mean(a, b), id, weight: a.weight.saturating_add(b.weight) };
        }
        remove(&mut merged, j);
        if is_kept(&merged) {
            *clusters = merged;
            return true;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clusters(of: &[(u32, u16, u32)]) -> Clusters {
        of.iter().map(|&(id, red, weight)| Cluster { position_q6: [red, 0, 0], id, weight }).collect()
    }

    fn ids(c: &Clusters) -> heapless::Vec<u32, 8> {
        c.iter().map(|c| c.id).collect()
    }

    #[test]
    fn near_duplicates_merge_only_while_the_merged_centroid_covers_both() {
        let point = |red: u16| Point::at([red, 0, 0], 1);
        let points = [point(0), point(100), point(200), point(2_000)];
        for (reach, want) in [(100u32, &[1, 3][..]), (99, &[1, 2, 3][..])] {
            let mut c = clusters(&[(1, 50, 2), (2, 200, 1), (3, 2_000, 1)]);
            let mut assign = [0, 0, 1, 2];
            merge_close(&points, &mut assign, &mut c, 150 * 150);
            assert_eq!(ids(&c).as_slice(), &[1, 3]);
            assert_eq!((c[0].position_q6[0], c[0].weight, assign), (100, 3, [0, 0, 0, 1]));
            let mut c = clusters(&[(1, 50, 2), (2, 100, 1), (3, 2_000, 1)]);
            merge_close(&points, &mut [0, 0, 1, 2], &mut c, reach * reach);
            // The merged centroid is at 67: the point at 200 is 133 away and uncovered at either reach.
            assert_eq!(ids(&c).as_slice(), &[1, 2, 3], "{want:?}");
        }
    }

    #[test]
    fn the_lightest_cluster_that_others_cover_goes_and_those_that_are_needed_stay() {
        let point = |red, weight| Point::at([red, 0, 0], weight);
        let points = [point(0, 9), point(100, 5), point(200, 9), point(5_000, 2)];
        let of = [(1, 0, 9), (2, 100, 5), (3, 200, 9), (4, 5_000, 2)];
        let ids_after = |w_open, reach: u32| {
            let mut c = clusters(&of);
            drop_redundant(&points, &[0, 1, 2, 3], &mut c, w_open, reach * reach);
            ids(&c)
        };
        assert_eq!(ids_after(1, 100).as_slice(), &[1, 3, 4], "all but 4 are covered by a neighbour; 2 is the lightest");
        assert_eq!(ids_after(1, 99).as_slice(), &[1, 2, 3, 4]);
        assert_eq!(ids_after(3, 99).as_slice(), &[1, 2, 3], "what 4 stands for is too little to have opened it");
    }

    #[test]
    fn the_cheapest_pair_that_may_merge_is_merged_and_the_heavier_ones_id_stays() {
        let of = [(1, 0, 9), (2, 100, 5), (3, 400, 9), (4, 550, 90)];
        let joined = |is_kept: &dyn Fn(&Clusters) -> bool| {
            let mut c = clusters(&of);
            (join_cheapest(&mut c, is_kept), ids(&c))
        };
        assert_eq!(joined(&|_| true), (true, heapless::Vec::from_array([1, 3, 4])), "1 and 2 cost least as one");
        // Something needs 2, as the cover may: the next pair merges instead.
        let needs_2 = |c: &Clusters| c.iter().any(|c| c.position_q6[0] == 100);
        assert_eq!(joined(&needs_2), (true, heapless::Vec::from_array([1, 2, 4])));
        assert_eq!(joined(&|_| false), (false, heapless::Vec::from_array([1, 2, 3, 4])), "nothing may merge");
    }
}
