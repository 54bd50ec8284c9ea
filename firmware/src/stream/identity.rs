//! Identity: which cluster of this frame is which of the frames before.
//!
//! A warm start carries ids along. A cluster that has just opened takes the id of the nearest cluster that has recently gone
//! and is within reach, closest pairs first, one to one; otherwise it gets the next unused id. So a cold start, a swap or a
//! colour that comes back keeps its id. The reach is lambda, also for clusters that went earlier: a centroid within lambda
//! covers the colour, and a cluster often drifts before it goes, so the same colour opens again at some distance from where
//! the cluster went. An id is never used for two clusters of one frame.

use crate::cluster::{Cluster, Clusters};
use crate::color::{Q6, distance2_q12};
use crate::gather::gather;
use crate::limits::CLUSTERS_MAX;
use heapless::Vec;

/// Clusters that have gone and whose ids may come back. At 30 frames a second a colour that flickers is among the last few;
/// when full, the oldest is forgotten.
const GONE_MAX: usize = 64;

/// What is remembered of clusters: the next unused id, and those that have gone.
#[derive(Debug, Clone, Default)]
pub struct Identity {
    next_id: u32,
    gone: Vec<Cluster, GONE_MAX>,
}

/// Ids that changed with a frame.
#[derive(Debug, Clone, Default)]
pub struct Changes {
    /// Ids that the frame before did not have.
    pub births: Vec<u32, CLUSTERS_MAX>,
    /// Ids that the frame before had and this one has not.
    pub deaths: Vec<u32, CLUSTERS_MAX>,
}

impl Identity {
    /// Nothing has been seen; ids begin at 0.
    pub const fn new() -> Identity {
        Identity { next_id: 0, gone: Vec::new() }
    }

    /// Moves the clusters that have gone to another space.
    pub fn move_points(&mut self, moved: impl Fn(Q6) -> Q6) {
        self.gone.iter_mut().for_each(|c| c.position_q6 = moved(c.position_q6));
    }

    /// Gives every new cluster an id. `previous` are the clusters of the frame before; `reach2_q12` is the squared distance
    /// within which a new cluster may take an id of one of them, or of a cluster that went earlier. Returns what changed.
    #[inline(never)] // Its lists of pairs leave the stack with it.
    pub fn identify(&mut self, previous: &[Cluster], clusters: &mut Clusters, reach2_q12: u32) -> Changes {
        self.adopt(previous, clusters, reach2_q12);
        for cluster in clusters.iter_mut().filter(|c| c.id == Cluster::NEW) {
            cluster.id = self.next_id;
            self.next_id = self.next_id.wrapping_add(1) % Cluster::NEW;
        }
        self.remember_gone(previous, clusters);
        Changes { births: not_in(previous, clusters), deaths: not_in(clusters, previous) }
    }

    /// Gives new clusters the ids of old ones that are within reach, closest pairs first.
    fn adopt(&self, previous: &[Cluster], clusters: &mut Clusters, reach2_q12: u32) {
        let is_free = |old: &&Cluster| clusters.iter().all(|c| c.id != old.id);
        let mut free: Vec<Cluster, { CLUSTERS_MAX + GONE_MAX }> =
            gather(previous.iter().chain(&self.gone).filter(is_free).copied());
        // The nearest free old cluster of each new one; only those whose choice was taken choose again.
        let nearest = |c: &Cluster, free: &[Cluster]| {
            let choices = free.iter().map(|old| (distance2_q12(c.position_q6, old.position_q6), old.id));
            let within = choices.filter(|(distance2, _)| *distance2 <= reach2_q12);
            if c.id == Cluster::NEW { within.min() } else { None }
        };
        let mut choices: Vec<Option<(u32, u32)>, CLUSTERS_MAX> = gather(clusters.iter().map(|c| nearest(c, &free)));
        while let Some((k, (_, id))) =
            choices.iter().enumerate().filter_map(|(k, choice)| Some((k, (*choice)?))).min_by_key(|(k, c)| (c.0, *k))
        {
            if let Some(cluster) = clusters.get_mut(k) {
                cluster.id = id;
            }
            free.retain(|old| old.id != id);
            for (choice, cluster) in choices.iter_mut().zip(clusters.iter()) {
                if choice.is_some_and(|c| c.1 == id) {
                    *choice = nearest(cluster, &free);
                }
            }
        }
    }

    /// Remembers the clusters that went with this frame, and forgets those that came back.
    fn remember_gone(&mut self, previous: &[Cluster], clusters: &Clusters) {
        self.gone.retain(|gone| clusters.iter().all(|c| c.id != gone.id));
        for old in previous.iter().filter(|old| clusters.iter().all(|c| c.id != old.id)) {
            if self.gone.is_full() {
                let mut place = 0;
                self.gone.retain(|_| {
                    place += 1;
                    place > 1
                });
            }
            let _ = self.gone.push(*old);
        }
    }
}

/// The ids in `now` that are not in `before`.
fn not_in(before: &[Cluster], now: &[Cluster]) -> Vec<u32, CLUSTERS_MAX> {
    gather(now.iter().map(|c| c.id).filter(|id| before.iter().all(|o| o.id != *id)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clusters(of: &[(u32, u16)]) -> Clusters {
        of.iter().map(|&(id, red)| Cluster { position_q6: [red, 0, 0], id, weight: 1 }).collect()
    }

    fn ids(clusters: &Clusters) -> Vec<u32, 8> {
        clusters.iter().map(|c| c.id).collect()
    }

    #[test]
    fn new_clusters_take_the_ids_of_the_nearest_old_ones_one_to_one() {
        let mut identity = Identity { next_id: 6, ..Identity::new() };
        let old = clusters(&[(3, 0), (5, 1_000)]);
        let mut new = clusters(&[(Cluster::NEW, 990), (Cluster::NEW, 900), (Cluster::NEW, 9_000)]);
        let changes = identity.identify(&old, &mut new, 1_000 * 1_000);
        // 990 is closest to 5; 900 would be closer to 5 than to 3 and gets 3; 9,000 is out of reach.
        assert_eq!((ids(&new).as_slice(), changes.births.as_slice()), (&[5, 3, 6][..], &[6][..]));
        assert!(changes.deaths.is_empty());
    }

    #[test]
    fn a_colour_that_comes_back_has_its_id_again() {
        let mut identity = Identity::new();
        let mut first = clusters(&[(Cluster::NEW, 0), (Cluster::NEW, 5_000)]);
        identity.identify(&[], &mut first, 1_000_000);
        let mut without = clusters(&[(0, 0)]);
        assert_eq!(identity.identify(&first, &mut without, 1_000_000).deaths.as_slice(), &[1]);
        for _ in 0..100 {
            let before = without.clone();
            identity.identify(&before, &mut without, 1_000_000);
        }
        let mut again = clusters(&[(0, 0), (Cluster::NEW, 5_900)]);
        assert_eq!(identity.identify(&without, &mut again, 1_000_000).births.as_slice(), &[1]);
        assert_eq!(ids(&again).as_slice(), &[0, 1]);
        // Out of reach it is another colour.
        let mut other = clusters(&[(0, 0), (Cluster::NEW, 9_000)]);
        identity.identify(&without, &mut other, 1_000_000);
        assert_eq!(ids(&other).as_slice(), &[0, 2]);
    }
}
