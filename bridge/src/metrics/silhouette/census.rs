//! Censuses: a frame's colours, joined from their parts, each with its label. The exact silhouette is computed from them.
//!
//! Parts may come in any order; a picture and its labels give the same. A colour's label is its nearest centroid in integers,
//! the lowest label on a tie, as at the edge. Memory is that of one frame's unique colours.

use crate::metrics::silhouette::{self, Sample};
use firmware::color::{Space, distance2_q12};
use firmware::wire::census::read_part;
use firmware::wire::{WireError, rgb8};
use std::collections::BTreeSet;

/// A frame's colours, labelled.
#[derive(Debug, Clone)]
pub struct Colours {
    /// The frame (0 for pictures from files).
    pub frame: u64,
    /// Unique colours with their counts.
    pub samples: Vec<Sample>,
    /// Ids of the clusters over frames, by label.
    pub ids: Vec<u32>,
    /// The colour in which each label is drawn.
    pub palette: Vec<[u8; 3]>,
    /// The space in which the frame was clustered, and in which distances are meant.
    pub space: Space,
}

/// Why parts are not a census.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CensusError {
    /// A part cannot be read.
    #[error("a part of the census cannot be read: {0}")]
    Wire(WireError),
    /// Parts are missing.
    #[error("{have} of {want} parts of the census are there")]
    Incomplete {
        /// Parts that are there.
        have: usize,
        /// Parts in all.
        want: u16,
    },
    /// The parts contradict one another.
    #[error("the parts of the census contradict one another")]
    Inconsistent,
}

/// Joins the parts of one frame: (payload version, payload).
///
/// # Errors
/// [`CensusError`].
pub fn join<'a>(parts: impl Iterator<Item = (u8, &'a [u8])>) -> Result<Colours, CensusError> {
    let mut first = None;
    let (mut seen, mut counts) = (BTreeSet::new(), Vec::new());
    for (version, payload) in parts {
        let (head, colours) = read_part(version, payload).map_err(CensusError::Wire)?;
        if !seen.insert(head.part) {
            continue;
        }
        for c in colours {
            counts.push(c.map_err(CensusError::Wire)?);
        }
        let same = first.get_or_insert_with(|| head.clone());
        if (same.frame, same.parts, same.pixels, same.space, &same.centroids_q6)
            != (head.frame, head.parts, head.pixels, head.space, &head.centroids_q6)
        {
            return Err(CensusError::Inconsistent);
        }
    }
    let head = first.ok_or(CensusError::Incomplete { have: 0, want: 0 })?;
    if seen.len() != usize::from(head.parts) {
        return Err(CensusError::Incomplete { have: seen.len(), want: head.parts });
    }
    let pixels: u64 = counts.iter().map(|&(_, n)| u64::from(n)).sum();
    if pixels != u64::from(head.pixels) || head.centroids_q6.is_empty() {
        return Err(CensusError::Inconsistent);
    }
    let positions = positions(head.space, &head.centroids_q6);
    let samples = counts.into_iter().map(|(colour, count)| {
        let [_, r, g, b] = colour.to_be_bytes();
        Sample { rgb: [r, g, b], label: nearest(head.space.of_rgb([r, g, b]), &positions), count }
    });
    Ok(Colours {
        frame: head.frame,
        samples: samples.collect(),
        ids: head.ids.to_vec(),
        palette: head.centroids_q6.iter().map(|&c| rgb8(c)).collect(),
        space: head.space,
    })
}

/// The positions of centroids in their space.
pub fn positions(space: Space, centroids_q6: &[[u16; 3]]) -> Vec<[u16; 3]> {
    centroids_q6.iter().map(|&c| space.of_q6(c)).collect()
}

/// The label of the position nearest to a colour's own, the lowest on a tie.
pub fn nearest(colour: [u16; 3], positions: &[[u16; 3]]) -> u8 {
    let (mut best, mut least) = (0, None);
    for (label, position) in positions.iter().enumerate() {
        let distance2 = distance2_q12(colour, *position);
        if least.is_none_or(|least| distance2 < least) {
            (best, least) = (label, Some(distance2));
        }
    }
    u8::try_from(best).unwrap_or(u8::MAX)
}

/// The colours of a picture whose labels are given: both row-major, three bytes and one byte a pixel. `space` is where they
/// were clustered.
pub fn from_picture(rgb: &[u8], labels: &[u8], space: Space) -> Colours {
    let samples = silhouette::samples(rgb, labels);
    let last = samples.iter().map(|s| usize::from(s.label)).max().unwrap_or(0);
    let mut sums = vec![[0u64; 4]; last + 1];
    for sample in &samples {
        if let Some([r, g, b, n]) = sums.get_mut(usize::from(sample.label)) {
            for (sum, x) in [r, g, b].into_iter().zip(sample.rgb) {
                *sum += u64::from(x) * u64::from(sample.count);
            }
            *n += u64::from(sample.count);
        }
    }
    let mean = |s: &[u64; 4]| [s[0], s[1], s[2]].map(|x| ((x + s[3] / 2) / s[3].max(1)) as u8);
    let palette = sums.iter().map(mean).collect();
    Colours { frame: 0, samples, ids: (0..=last as u32).collect(), palette, space }
}

#[cfg(test)]
mod tests {
    use super::*;
    use firmware::frame::Frame;
    use firmware::limits::PAYLOAD_BYTES_MAX;
    use firmware::wire::CensusHead;
    use firmware::wire::census::Census;

    pub(crate) fn parts(width: usize, rgb: &[u8], centroids_q6: &[[u16; 3]]) -> Vec<Vec<u8>> {
        let frame = Frame::rgb(width, rgb.len() / 3 / width, rgb).unwrap();
        let head = CensusHead {
            frame: 3,
            part: 0,
            parts: 1,
            pixels: 0,
            colours: 0,
            in_part: 0,
            centroids_q6: heapless::Vec::from_slice(centroids_q6).unwrap(),
            ids: (0..centroids_q6.len() as u32).map(|i| i + 10).collect(),
            space: Default::default(),
        };
        let (mut scratch, mut buf) = (vec![0; frame.pixels()], vec![0; PAYLOAD_BYTES_MAX]);
        let mut census = Census::take(&frame, head, &mut scratch, &mut []).unwrap();
        let mut all = Vec::new();
        while let Some(n) = census.next_part(&mut buf).unwrap() {
            all.push(buf[..n].to_vec());
        }
        all
    }

    #[test]
    fn parts_come_together_in_any_order_with_labels_and_repeats_are_harmless() {
        let rgb: Vec<u8> = (0..60_000u32).flat_map(|i| [(i >> 8) as u8, (i * 7) as u8, (i & 255) as u8]).collect();
        let all = parts(300, &rgb, &[[0, 0, 0], [64, 64, 64], [16_320, 16_320, 16_320]]);
        assert!(all.len() > 2);
        let shuffled: Vec<(u8, &[u8])> = all.iter().rev().chain(&all[..1]).map(|p| (1, &p[..])).collect();
        let c = join(shuffled.iter().copied()).unwrap();
        assert_eq!(c.samples.iter().map(|s| s.count).sum::<u32>(), 60_000);
        assert_eq!((c.ids.as_slice(), c.palette[2]), (&[10, 11, 12][..], [255; 3]));
        let missing = join(shuffled.iter().skip(2).copied().take(1)).unwrap_err();
        assert!(matches!(missing, CensusError::Incomplete { have: 1, .. }), "{missing}");
        assert!(join(std::iter::once((9, &all[0][..]))).is_err());
    }

    #[test]
    fn a_centroid_brighter_than_white_is_refused() {
        // Found by fuzzing: its squared distance overflowed.
        let all = parts(1, &[0, 0, 0], &[[0, 16_321, 0]]);
        let joined = join(all.iter().map(|p| (1, &p[..])));
        assert_eq!(joined.err(), Some(CensusError::Wire(WireError::Inconsistent)));
        assert!(join(parts(1, &[0, 0, 0], &[[16_320; 3]]).iter().map(|p| (1, &p[..]))).is_ok());
    }

    #[test]
    fn a_census_in_cielab_is_labelled_and_scored_there() {
        // A saturated blue is nearer to violet in RGB, and to a darker blue in CIELAB.
        let centroids = [[40 * 64, 0, 150 * 64], [90 * 64, 0, 255 * 64]];
        let rgb = [[0, 0, 200], [90, 0, 255], [40, 0, 150], [10, 0, 210]];
        let frame = Frame::rgb(4, 1, rgb.as_flattened()).unwrap();
        let labels = |space: Space| {
            let head = CensusHead {
                frame: 3,
                part: 0,
                parts: 1,
                pixels: 0,
                colours: 0,
                in_part: 0,
                centroids_q6: heapless::Vec::from_slice(&centroids).unwrap(),
                ids: [1, 2].into_iter().collect(),
                space,
            };
            let (mut scratch, mut buf) = (vec![0; 4], vec![0; PAYLOAD_BYTES_MAX]);
            let mut census = Census::take(&frame, head, &mut scratch, &mut []).unwrap();
            let n = census.next_part(&mut buf).unwrap().unwrap();
            let version = CensusHead::version_in(space);
            let colours = join(std::iter::once((version, &buf[..n]))).unwrap();
            assert_eq!(colours.space, space);
            for s in &colours.samples {
                let oracle = |c: [u16; 3]| {
                    let (one, other) = (space.of_rgb(s.rgb), space.of_q6(c));
                    one.iter().zip(other).map(|(&a, b)| (f64::from(a) - f64::from(b)).powi(2)).sum::<f64>()
                };
                assert_eq!(s.label, u8::from(oracle(centroids[1]) < oracle(centroids[0])));
            }
            colours
        };
        let (in_rgb, in_lab) = (labels(Space::Rgb), labels(Space::Cielab));
        let exact = |c: &Colours| {
            let never = std::sync::atomic::AtomicBool::new(false);
            silhouette::exact_until(&c.samples, c.space, 1, &never).unwrap().values
        };
        // The definition, in Delta E.
        let place = |s: &Sample| Space::Cielab.of_rgb(s.rgb).map(|v| f64::from(v) / 64.0);
        let distance =
            |a: &Sample, b: &Sample| place(a).iter().zip(place(b)).map(|(a, b)| (a - b).powi(2)).sum::<f64>().sqrt();
        for (s, value) in in_lab.samples.iter().zip(exact(&in_lab)) {
            let mean = |own: bool| {
                let others = in_lab.samples.iter().filter(|o| (o.label == s.label) == own && o.rgb != s.rgb);
                let all: Vec<f64> = others.map(|o| distance(s, o)).collect();
                if all.is_empty() { None } else { Some(all.iter().sum::<f64>() / all.len() as f64) }
            };
            let want = mean(true).map_or(0.0, |a| {
                let b = mean(false).unwrap();
                (b - a) / a.max(b)
            });
            assert!((value - want).abs() < 1e-5, "{s:?}: {value}, not {want}");
        }
        assert_ne!(exact(&in_rgb), exact(&in_lab));
    }

    #[test]
    fn on_a_tie_the_lowest_label_wins() {
        assert_eq!(nearest([64; 3], &[[0, 0, 0], [128, 128, 128]]), 0);
        assert_eq!(nearest([64; 3], &[[0, 0, 0], [127, 128, 128]]), 1);
        assert_eq!(nearest([576; 3], &[[1, 1, 1], [1, 1, 1]]), 0);
    }

    #[test]
    fn a_picture_and_its_labels_give_the_same_kind_of_colours() {
        let c = from_picture(&[1, 1, 1, 3, 3, 3, 1, 1, 1, 9, 9, 9], &[0, 0, 0, 2], Space::Rgb);
        assert_eq!(c.samples.len(), 3);
        assert_eq!(c.samples[0], Sample { rgb: [1; 3], label: 0, count: 2 });
        assert_eq!(c.palette, [[2; 3], [0; 3], [9; 3]]);
    }
}
