//! The report: what is known of one frame.
//!
//! [`Report`] is what [`crate::node::Node::step`] returns, and the layout of payload version 3 on the wire. Fields are
//! encoded in the order in which they stand here, so none may move; [`Colorimetry`] comes last, and only if it is not empty. The types are here and not in `wire`, which re-exports
//! them, because clustering needs them without the wire format. With the feature `wire` they implement serde's traits.

mod colorimetry;
mod method;

pub use crate::color::Space;
use crate::color::lab_q6;
pub use colorimetry::Colorimetry;
pub use method::{Method, Refine};

use crate::limits::{CLUSTERS_MAX, NAMED_MAX, REGIONS_MAX};
use heapless::Vec;

/// One cluster of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "wire", derive(serde::Serialize, serde::Deserialize))]
pub struct Swatch {
    /// The cluster's identity over frames.
    pub id: u32,
    /// Centroid: red, green, blue in 1/64 levels, 0 to 16,320.
    pub rgb_q6: [u16; 3],
    /// Pixels that are nearest to it.
    pub pixels: u32,
}

impl Swatch {
    /// The centroid rounded to 8-bit levels: the colour it is drawn in.
    pub fn rgb8(&self) -> [u8; 3] {
        rgb8(self.rgb_q6)
    }
}

/// A centroid in 1/64 levels rounded to 8-bit levels.
pub fn rgb8(rgb_q6: [u16; 3]) -> [u8; 3] {
    rgb_q6.map(|c| ((u32::from(c) + 32) >> 6).min(255) as u8)
}

/// Microseconds that the stages of one frame took.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[cfg_attr(feature = "wire", derive(serde::Serialize, serde::Deserialize))]
pub struct Micros {
    /// Pixels to coreset.
    pub coreset: u32,
    /// Coreset to clusters.
    pub cluster: u32,
    /// Clusters to the label of every pixel.
    pub label: u32,
    /// From pixels in memory to labels in memory.
    pub total: u32,
}

/// How much of a region has one named colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "wire", derive(serde::Serialize, serde::Deserialize))]
pub struct NamedShare {
    /// Index of the colour; `status` has its name.
    pub colour: u8,
    /// Pixels of the region that have it.
    pub pixels: u32,
    /// Delta E 2000 between their mean colour and it, in 1/64: how far the colour has drifted, whatever the noise.
    pub de00_q6: u16,
}

/// What is known of one region of the picture.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "wire", derive(serde::Serialize, serde::Deserialize))]
pub struct RegionShare {
    /// Index of the region; `status` has its name.
    pub region: u8,
    /// Pixels that were counted in it.
    pub pixels: u32,
    /// The named colours that were found in it, by index. A pixel has at most one.
    pub named: Vec<NamedShare, NAMED_MAX>,
}

/// What is known of one frame: the `metrics` record.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "wire", derive(serde::Serialize, serde::Deserialize))]
pub struct Report {
    /// The source's frame number, from 0.
    pub frame: u64,
    /// Frames lost so far since the source was opened: overruns of the camera, and records that were refused.
    pub dropped: u64,
    /// Width in pixels.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
    /// Coreset method in force.
    pub method: Method,
    /// Distance in force, in 1/64 of the units of the space: levels of 8-bit RGB, or Delta E.
    pub lambda_q6: u32,
    /// Coreset size asked for.
    pub coreset_size: u32,
    /// Pixels that a colour needs to open a cluster: the support of promise 1.
    pub w_open: u32,
    /// What was done after DC-DP-means.
    pub refine: Refine,
    /// Seed in force (of the methods that draw).
    pub seed: u64,
    /// Started from the last frame's centroids.
    pub warm: bool,
    /// Coreset points used.
    pub coreset_points: u32,
    /// The certificate, in 1/4096 squared levels: moving every pixel to its coreset point costs exactly this. For any
    /// centroids, the square roots of the frame's cost and of the coreset's differ by at most its square root.
    /// None if the method certifies nothing.
    pub scatter_q12: Option<u64>,
    /// Iterations of DC-DP-means. Reports of version 2 counted refinement's sweeps here too.
    pub iterations: u32,
    /// DC-DP-means stopped because nothing changed any more, not at the cap.
    pub converged: bool,
    /// Sweeps of the refinement over the cells. 0 in reports of versions 1 and 2.
    pub sweeps: u32,
    /// The cap on clusters was reached while a colour was still missed.
    pub saturated: bool,
    /// Pixels farther than lambda from their centroid, exact. None in reports of versions 1 and 2, which did not count
    /// them.
    pub beyond_px: Option<u32>,
    /// Colours that the palette misses: cells of 16 levels a side with at least `w_open` pixels that are all farther than
    /// lambda from every palette entry. None in reports of versions 1 and 2, which did not count them.
    pub missed: Option<u32>,
    /// Sum over all pixels of the squared distance to their centroid, exact, in 1/4096 squared levels.
    pub sse_q12: u64,
    /// Largest squared distance of a pixel to its centroid, exact, in 1/4096 squared levels.
    pub max_distance2_q12: u32,
    /// Silhouette estimate from the coreset in millionths, -1,000,000 to 1,000,000; none with fewer than 2 clusters.
    pub silhouette_ppm: Option<i32>,
    /// How long it took.
    pub micros: Micros,
    /// The clusters, by label.
    pub palette: Vec<Swatch, CLUSTERS_MAX>,
    /// Ids of clusters that the frame before did not have.
    pub births: Vec<u32, CLUSTERS_MAX>,
    /// Ids of clusters that the frame before had and this one has not.
    pub deaths: Vec<u32, CLUSTERS_MAX>,
    /// What is known of the configured regions; empty without any.
    pub regions: Vec<RegionShare, REGIONS_MAX>,
    /// What is known of colours as people see them. On the wire it comes behind the rest, and only if it is not empty.
    #[cfg_attr(feature = "wire", serde(skip))]
    pub colorimetry: Colorimetry,
}

impl Report {
    /// Pixels that were counted: those of the frame that no mask hides.
    pub fn pixels(&self) -> u64 {
        self.palette.iter().map(|swatch| u64::from(swatch.pixels)).sum()
    }

    /// Where a palette entry lies in CIELAB: L, a and b in 1/64, exact; none if the report is in RGB. The report need not carry
    /// it, because a centroid lies where its RGB colour does.
    pub fn lab_q6(&self, swatch: &Swatch) -> Option<[i16; 3]> {
        let space = self.colorimetry.space;
        (space == Space::Cielab).then(|| lab_q6(space.of_q6(swatch.rgb_q6)))
    }
}
