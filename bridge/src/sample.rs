//! A consistent report for unit tests.
//!
//! It depends on the given frame number only. It is built with tests alone, never into a program.

use firmware::wire::{Method, Micros, Refine, Report, Swatch};

/// A report of `frame`: 12 by 8 pixels in two clusters.
pub(crate) fn report(frame: u64) -> Report {
    let palette = [([16_320, 0, 33], 60), ([64, 128, 1], 36)];
    Report {
        frame,
        dropped: 2,
        width: 12,
        height: 8,
        method: Method::Octree,
        lambda_q6: 3_200,
        coreset_size: 1_000,
        w_open: 4,
        refine: Refine::Cover,
        seed: u64::MAX,
        warm: true,
        coreset_points: 90,
        scatter_q12: Some(4_096),
        iterations: 36,
        converged: true,
        sweeps: 0,
        saturated: false,
        beyond_px: Some(0),
        missed: Some(0),
        sse_q12: 96 * 4_096 * 4,
        max_distance2_q12: 4_096 * 25,
        births: Default::default(),
        deaths: Default::default(),
        regions: Default::default(),
        colorimetry: Default::default(),
        silhouette_ppm: Some(500_000),
        micros: Micros { coreset: 1, cluster: 2, label: 3, total: 4_100 },
        palette: palette.iter().zip(7..).map(|(&(rgb_q6, pixels), id)| Swatch { id, rgb_q6, pixels }).collect(),
    }
}
